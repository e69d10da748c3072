#include "tiny/holes.h"

#include <string.h>

#include "base/event.h"
#include "base/sys.h"
#include "os/os.h"
#include "pages/idle.h"
#include "superslab/huge.h"
#include "tiny/hold.h"
#include "tiny/hole_map.h"
#include "tiny/partial_list.h"

hak_atomic_u64_t hak_holes_needed;

enum {
  BLOCKS_MAX = HAK_SLAB_SIZE / 8,
  BITS = 64,
  PER_WALK = 32 /* what it counts as to look a slab through */
};

/* What is free in one span. */
typedef struct look {
  hak_slab_t *slab;
  char *start;
  unsigned shift;                      /* of a page */
  uint16_t fresh[HAK_SUPERSLAB_SLABS]; /* pages that are to become holes, by slab */
  uint64_t free[BLOCKS_MAX / BITS];    /* blocks, by index */
} look_t;

bool hak_holes_may_be(const hak_store_t *store) {
  const hak_os_t *os = store->pool.os;
  return !hak_pool_is_enclosed(&store->pool) && hak_os_keeps_zeroes(os);
}

static bool is_free(const look_t *look, uint32_t index) {
  return (look->free[index / BITS] >> (index % BITS) & 1) != 0;
}

/* Asks for the cache lines of all links at once. On the walk over the list each would be
 * waited for in its turn. */
static void fetch(const look_t *look) {
  size_t size = hak_list_block_size(&look->slab->list);
  size_t step = size < HAK_CACHE_LINE ? HAK_CACHE_LINE : size;
  size_t end = hak_slab_carved(look->slab) * size;
  for (size_t at = 0; at < end; at += step) __builtin_prefetch(look->start + at);
}

/* Notes the blocks that are on the list or put away. False if these are not as many as
 * the slab's counts say: then something was misused, and whoever takes the blocks reports
 * it. */
static bool find_free(hak_thread_t *me, look_t *look) {
  hak_slab_t *slab = look->slab;
  uint32_t cls = hak_slab_class(slab), carved = hak_slab_carved(slab), count = 0;
  size_t size = hak_list_block_size(&slab->list);
  memset(look->free, 0, hak_div_up(carved, BITS) * sizeof look->free[0]);
  fetch(look);
  for (const void *block = slab->list.head; block != HAK_LINK_END; count++) {
    size_t offset = (size_t)((const char *)block - look->start);
    if (offset >= (size_t)hak_slab_span(slab) << HAK_SLAB_SHIFT) return false;
    uint32_t index = hak_class_index(cls, offset);
    if (index * size != offset || index >= carved || is_free(look, index)) return false;
    look->free[index / BITS] |= (uint64_t)1 << (index % BITS);
    const void *next = hak_link_read(&me->key, block);
    if (hak_link_is_broken(&me->key, block, next)) return false;
    block = next;
  }
  if (hak_hole_map_any(slab)) {
    for (uint32_t i = 0; i < carved; i++) {
      if (!hak_hole_has(slab, look->shift, i * size)) continue;
      if (is_free(look, i)) return false;
      look->free[i / BITS] |= (uint64_t)1 << (i % BITS);
      count++;
    }
  }
  return count == carved - hak_slab_out(slab);
}

/* Every block that lies in the page, or partly, is free. The end of a span, where no
 * block fits, is nobody's. */
static bool is_free_page(const look_t *look, size_t page) {
  uint32_t cls = hak_slab_class(look->slab), carved = hak_slab_carved(look->slab);
  size_t from = page << look->shift;
  uint32_t first = hak_class_index(cls, from);
  uint32_t last = hak_class_index(cls, from + ((size_t)1 << look->shift) - 1);
  if (first >= carved) return false;
  if (last >= carved) last = carved - 1;
  for (uint32_t i = first; i <= last; i++) {
    if (!is_free(look, i)) return false;
  }
  return true;
}

static size_t pages_of(const look_t *look) {
  return (size_t)hak_slab_span(look->slab) << (HAK_SLAB_SHIFT - look->shift);
}
static size_t per_slab(const look_t *look) {
  return (size_t)1 << (HAK_SLAB_SHIFT - look->shift);
}
static bool is_fresh(const look_t *look, size_t page) {
  return (look->fresh[page / per_slab(look)] >> page % per_slab(look) & 1) != 0;
}

/* Finds the pages that are to become holes; false if there are none. */
static bool find_pages(look_t *look) {
  bool any = false;
  for (size_t page = 0; page < pages_of(look); page++) {
    if (hak_hole_at(look->slab, look->shift, page) || !is_free_page(look, page)) continue;
    look->fresh[page / per_slab(look)] |= (uint16_t)(1u << page % per_slab(look));
    any = true;
  }
  return any;
}

/* Gives the fresh pages back, a run of them at a time. False if the system refuses. */
static bool purge(const look_t *look, const hak_os_t *os, size_t *given) {
  size_t pages = pages_of(look);
  for (size_t page = 0; page < pages; page++) {
    if (!is_fresh(look, page)) continue;
    size_t end = page + 1;
    while (end < pages && is_fresh(look, end)) end++;
    char *from = look->start + (page << look->shift);
    size_t bytes = (end - page) << look->shift;
    if (!hak_os_purge(os, from, bytes)) return false;
    *given += bytes;
    hak_event_emit(HAK_EVENT_PURGE, from, bytes);
    page = end;
  }
  return true;
}

/* Looks a slab through that this thread holds. Returns the bytes that went. */
static HAK_SLOW size_t look_through(hak_thread_t *me, const hak_os_t *os,
                                    hak_slab_t *slab) {
  look_t look = {.slab = slab, .start = hak_slab_start(slab)};
  size_t given = 0, pages = 0;
  look.shift = hak_hole_page_shift(slab);
  if (slab->unsure != 0 || !find_free(me, &look) || !find_pages(&look)) return 0;
  hak_huge_before_part_goes(hak_slab_superslab(slab));
  for (unsigned i = 0; i < hak_slab_span(slab); i++) {
    uint32_t holes = hak_load_relaxed(&slab[i].holes) | look.fresh[i];
    pages += hak_count_bits(look.fresh[i]);
    hak_store_relaxed(&slab[i].holes, (uint16_t)holes);
  }
  hak_add_relaxed(&hak_hole_bytes, pages << look.shift);
  hak_slab_tell_starts(slab);
  /* The child of a fork must find each block on the list or put away; it finds those that
   * are both, too. */
  hak_compiler_fence();
  hak_slab_put_away(me, slab);
  hak_compiler_fence();
  if (!purge(&look, os, &given)) hak_slab_bring_back(me, slab);
  hak_huge_after_part_went(hak_slab_superslab(slab));
  return given;
}

void hak_holes_end(hak_thread_t *me, hak_slab_t *slab) {
  hak_add_relaxed(&hak_holes_needed, hak_slab_bring_back(me, slab));
}

/* The free blocks of a listed slab may have a page for themselves. */
static bool may_have_pages(hak_slab_t *slab, size_t page) {
  size_t free = hak_slab_carved(slab) - hak_slab_out(slab);
  return free * hak_list_block_size(&slab->list) >= page;
}

/* Puts the slab back that was held. Blocks that came home meanwhile make it one that was
 * not looked through. */
static void put_back(hak_thread_t *me, const hak_cache_t *cache, hak_central_t *central,
                     hak_slab_t *slab, uint32_t out) {
  hak_lock_acquire(&central->lock);
  bool listed = hak_slab_held_to_partial_locked(me, cache, slab);
  if (listed && hak_slab_out(slab) == out) {
    hak_partial_add_looked_locked(central, slab);
  } else if (listed) {
    hak_partial_add_locked(central, slab);
  }
  hak_lock_release(&central->lock);
  if (!listed) hak_hold_retire(me, cache, slab);
}

static void spend(hak_hole_bounds_t *bounds, size_t slabs) {
  bounds->slabs -= slabs < bounds->slabs ? slabs : bounds->slabs;
  bounds->begun = true;
}
/* Not before something was done: calls that have hardly any time get on. */
static bool is_over(const hak_hole_bounds_t *bounds) {
  return bounds->begun && (bounds->bytes == 0 || bounds->slabs == 0 ||
                           (bounds->end != 0 && hak_sys_fine_ns() >= bounds->end));
}

/* Holds the next slab that is due and may have pages to give back; NULL if there is none
 * among the next few. *more: there are others. */
static hak_slab_t *take_due(const hak_cache_t *cache, hak_central_t *central,
                            hak_hole_bounds_t *bounds, bool *more) {
  enum {
    AT_ONCE = 64
  };
  size_t page = cache->store->pool.os->page_size;
  hak_slab_t *slab = NULL;
  hak_lock_acquire(&central->lock);
  for (int i = 0; i < AT_ONCE; i++) {
    slab = hak_partial_due_locked(central, bounds->all);
    spend(bounds, 1);
    *more = slab != NULL;
    if (slab == NULL || may_have_pages(slab, page)) break;
    hak_partial_looked_locked(central, slab);
    slab = NULL;
  }
  if (slab != NULL) {
    hak_partial_remove_locked(central, slab);
    hak_slab_partial_to_held_locked(cache, slab);
  }
  hak_lock_release(&central->lock);
  return slab;
}

bool hak_holes_look(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                    hak_hole_bounds_t *bounds) {
  if (!hak_store_has_spans(cache->store, cls)) return true;
  hak_central_t *central = &cache->store->centrals[cls];
  for (bool more = true; more;) {
    if (is_over(bounds)) return false;
    hak_slab_t *slab = take_due(cache, central, bounds, &more);
    if (slab == NULL) continue;
    uint32_t out = hak_slab_out(slab);
    size_t got = look_through(me, cache->store->pool.os, slab);
    spend(bounds, PER_WALK);
    bounds->given += got;
    bounds->bytes -= got < bounds->bytes ? got : bounds->bytes;
    put_back(me, cache, central, slab, out);
  }
  if (!bounds->all) {
    hak_lock_acquire(&central->lock);
    if (hak_partial_age_locked(central)) bounds->aged = true;
    hak_lock_release(&central->lock);
  }
  return true;
}
