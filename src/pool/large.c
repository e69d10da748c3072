#include "pool/large.h"

#include <string.h>

#include "base/check.h"
#include "base/option.h"
#include "pages/density.h"
#include "pages/mapping_move.h"
#include "superslab/clean.h"
#include "superslab/huge.h"
#include "superslab/pool_growth.h"
#include "superslab/region.h"
#include "superslab/tails.h"

size_t hak_large_good_size(const hak_os_t *os, size_t size) {
  return hak_align_up(size, os->page_size);
}

/* The slots where a block of a span ends. */
static hak_tail_t span_tail(hak_slab_t *slab, size_t usable) {
  size_t pages = hak_os_pages(hak_slab_superslab(slab)->extent.os, usable);
  return (hak_tail_t){hak_slab_superslab(slab), slab->slot, hak_slab_span(slab), pages,
                      pages};
}

HAK_HOT bool span_has_tail(size_t usable) { return usable % HAK_SLAB_SIZE != 0; }

static void span_tail_begin(hak_shared_pool_t *pool, hak_slab_t *slab, size_t usable,
                            bool shrunk) {
  if (!span_has_tail(usable)) return;
  hak_tail_t tail = span_tail(slab, usable);
  hak_tail_begin(pool, &tail, shrunk);
}

static void span_tail_end(hak_shared_pool_t *pool, hak_slab_t *slab, size_t usable) {
  if (!span_has_tail(usable)) return;
  hak_tail_t tail = span_tail(slab, usable);
  hak_tail_end(pool, &tail);
}

static void span_hold(hak_slab_t *slab) {
  hak_tail_hold(hak_slab_superslab(slab), slab->slot);
}
static void span_let_go(hak_slab_t *slab) {
  hak_tail_let_go(hak_slab_superslab(slab), slab->slot);
}

/* A block begins in a span from the pool. */
static void *span_begin(hak_shared_pool_t *pool, hak_slab_t *slab, unsigned span,
                        size_t usable, bool *zeroed) {
  char *start = hak_slab_start(slab);
  hak_slab_set_span(slab, span);
  hak_store_relaxed(&slab->capacity, 1);
  hak_store_relaxed(&slab->usable, (uint32_t)usable);
  hak_locate_set_class((uintptr_t)start, span, HAK_CLASS_LARGE);
  hak_clean_begin(hak_slab_superslab(slab), slab->slot, 0, usable, *zeroed);
  span_tail_begin(pool, slab, usable, false);
  /* Release: pairs with span_at of superslab/tails.c, which may take the tail from now
   * on.
   */
  hak_store_release(&slab->cls, HAK_CLASS_LARGE);
  return start;
}

static void *span_alloc(hak_shared_pool_t *pool, size_t usable, size_t alignment,
                        bool no_grow, bool *zeroed) {
  unsigned span = (unsigned)hak_div_up(usable, HAK_SLAB_SIZE);
  hak_slab_t *slab = hak_pool_get(pool, span, alignment, usable, no_grow, zeroed);
  return slab == NULL ? NULL : span_begin(pool, slab, span, usable, zeroed);
}

/* Commits the first pages of one of the SuperSlabs of a run. Where the heap cannot pay
 * for them although it has paid for what they all brought along, pages behind the block's
 * end go: those of the run's `last` SuperSlab, which needs `last_pages`. */
static bool commit_part(hak_superslab_t *ss, size_t pages, hak_superslab_t *last,
                        size_t last_pages, bool no_grow, bool *zeroed) {
  if (HAK_LIKELY(hak_superslab_is_all_used(ss))) {
    *zeroed = false;
    return true;
  }
  if (hak_tail_commit(ss, 0, HAK_SUPERSLAB_SLABS, pages, no_grow, zeroed)) return true;
  return !no_grow && hak_tail_give(last, 0, HAK_SUPERSLAB_SLABS, last_pages) &&
         hak_superslab_commit(ss, 0, HAK_SUPERSLAB_SLABS, pages, no_grow, zeroed);
}

/* Chooses the pages of a SuperSlab of a run of which so many bytes will be used. The
 * tail of a block never has huge ones. *dense: what is expected of such blocks. */
static void choose_pages(hak_shared_pool_t *pool, hak_superslab_t *ss, size_t used,
                         size_t usable, int *dense) {
  if (*dense < 0 && pool->huge_pages == HAK_HUGE_DEFAULT && hak_option(HUGE_PAGES) == 1 &&
      hak_superslab_committed(ss) == 0) {
    *dense = hak_density_is_dense(pool->os, usable);
  }
  bool full = hak_density_is_full(used, HAK_SUPERSLAB_SIZE);
  if (hak_pool_choose_pages(pool, ss, *dense == 1 && full)) hak_superslab_commit_huge(ss);
}

/* One that brings pages along keeps them, unless its heap asks for others. */
HAK_HOT bool may_choose(const hak_shared_pool_t *pool, const hak_superslab_t *ss) {
  return hak_load_relaxed(&((hak_superslab_t *)ss)->whole) == 0 ||
         pool->huge_pages != HAK_HUGE_DEFAULT;
}

static void *run_alloc(hak_shared_pool_t *pool, size_t usable, size_t alignment,
                       bool no_grow, bool *zeroed) {
  uint32_t n = (uint32_t)hak_div_up(usable, HAK_SUPERSLAB_SIZE);
  if (alignment < HAK_SUPERSLAB_SIZE) alignment = HAK_SUPERSLAB_SIZE;
  hak_superslab_t *ss =
      hak_region_acquire(pool->os, n, alignment, HAK_EXTENT_RUN, pool->heap, no_grow);
  if (ss == NULL) return NULL;
  size_t pages = hak_os_pages(pool->os, usable);
  size_t per_superslab = hak_os_pages(pool->os, HAK_SUPERSLAB_SIZE);
  size_t last_pages = pages - (n - 1) * per_superslab;
  int dense = -1; /* not asked yet */
  *zeroed = true;
  /* If all are not charged together they are charged piece by piece: of what they have
   * brought along some may go. */
  bool all_charged = hak_superslab_charge_all_to(ss, n, &pool->budget);
  for (uint32_t i = 0; i < n; i++) {
    size_t part = pages < per_superslab ? pages : per_superslab;
    bool zero;
    bool charged = all_charged || hak_superslab_charge_to(&ss[i], &pool->budget);
    if (charged && !no_grow && may_choose(pool, &ss[i])) {
      choose_pages(pool, &ss[i], part * pool->os->page_size, usable, &dense);
    }
    if (!charged || !commit_part(&ss[i], part, &ss[n - 1], last_pages, no_grow, &zero)) {
      hak_region_give(ss, n, hak_clock_cached());
      return NULL;
    }
    *zeroed = *zeroed && zero;
    hak_clean_begin(&ss[i], 0, 0, part * pool->os->page_size, zero);
    pages -= part;
  }
  hak_store_relaxed(&ss->extent.size, usable);
  for (uint32_t i = 0; i < n; i++)
    hak_store_relaxed(&ss[i].extent.block, ss->extent.base);
  if (dense >= 0) hak_density_note(ss->extent.base, usable, dense == 1);
  hak_add_relaxed(&pool->run_bytes, usable);
  hak_tail_t tail = hak_tail_of_run(ss, usable);
  hak_tail_begin(pool, &tail, false);
  hak_pool_add_run(pool, ss); /* from now on its tail may be taken */
  return ss->extent.base;
}

/* The block is a run rather than a mapping. */
static bool is_run(size_t usable, size_t alignment) {
  size_t most = (size_t)hak_option(LARGE_MAX_BYTES);
  return usable <= most && alignment <= most;
}

void *hak_large_alloc(hak_shared_pool_t *pool, size_t size, size_t alignment,
                      bool no_grow, bool *zeroed) {
  size_t usable = hak_large_good_size(pool->os, size);
  if (usable < size) return NULL;
  if (alignment < HAK_SLAB_SIZE) alignment = HAK_SLAB_SIZE;
  void *block;
  if (usable <= HAK_LARGE_SPAN_MAX && alignment <= HAK_SUPERSLAB_SIZE) {
    block = span_alloc(pool, usable, alignment, no_grow, zeroed);
  } else if (is_run(usable, alignment)) {
    block = run_alloc(pool, usable, alignment, no_grow, zeroed);
  } else {
    return hak_large_map(pool, size, alignment, no_grow, zeroed);
  }
  return block;
}

/* What has grown once mostly goes on, and is copied again with every few slabs where
 * others lie behind it. */
void *hak_large_alloc_growing(hak_shared_pool_t *pool, size_t size, size_t alignment,
                              bool no_grow, bool *zeroed) {
  size_t usable = hak_large_good_size(pool->os, size);
  if (usable >= size && usable <= HAK_LARGE_SPAN_MAX && alignment <= HAK_SLAB_SIZE &&
      !no_grow) {
    unsigned span = (unsigned)hak_div_up(usable, HAK_SLAB_SIZE);
    unsigned room = (unsigned)(HAK_LARGE_SPAN_MAX / HAK_SLAB_SIZE);
    hak_slab_t *slab = hak_pool_get_roomy(pool, span, room, usable, zeroed);
    if (slab != NULL) return span_begin(pool, slab, span, usable, zeroed);
  }
  return hak_large_alloc(pool, size, alignment, no_grow, zeroed);
}

bool hak_large_renew(const hak_place_t *place, size_t from) {
  const hak_os_t *os = place->extent->os;
  char *start = place->start + from;
  size_t bytes = hak_large_usable(place) - from;
  /* Hooks of a program's own may have pages that do not read as zero afterwards. What is
   * part of a huge page stays, as the page would have to be split. */
  if (!hak_os_is_divisible(os) || !hak_os_may_give() ||
      (place->slab != NULL && hak_superslab_is_huge(hak_slab_superslab(place->slab))) ||
      hak_density_way(os, start, bytes, (size_t)hak_option(ZERO_PURGE_BYTES)) ==
          HAK_DENSITY_CLEAR) {
    return false;
  }
  return hak_os_purge(os, start, bytes); /* which keeps zeroes */
}

static void note_mapped(hak_shared_pool_t *pool, int64_t blocks, size_t now,
                        size_t before) {
  hak_add_relaxed(&pool->mapped_blocks, (uint64_t)blocks);
  hak_add_relaxed(&pool->mapped_bytes, (uint64_t)now - (uint64_t)before);
}

void *hak_large_map(hak_shared_pool_t *pool, size_t size, size_t alignment, bool no_grow,
                    bool *zeroed) {
  size_t usable = hak_large_good_size(pool->os, size);
  if (usable < size) return NULL;
  if (alignment < HAK_SLAB_SIZE) alignment = HAK_SLAB_SIZE;
  hak_mapping_t *mapping = hak_mapping_acquire(pool->os, &pool->budget, pool->heap,
                                               usable, alignment, no_grow, zeroed);
  if (mapping == NULL) return NULL;
  if (pool->huge_pages != HAK_HUGE_DEFAULT && !no_grow) {
    hak_mapping_advise(mapping, pool->huge_pages == HAK_HUGE_ALWAYS);
  }
  note_mapped(pool, 1, usable, 0);
  return mapping->extent.base;
}

void *hak_large_guarded(hak_shared_pool_t *pool, hak_cell_ask_t *ask) {
  ask->os = pool->os;
  ask->budget = &pool->budget;
  ask->heap_id = pool->heap;
  void *block = hak_cell_begin(ask);
  if (block != NULL) note_mapped(pool, 1, ask->usable, 0);
  return block;
}

bool hak_large_is_run(const hak_place_t *place) {
  return place->slab == NULL && hak_load_relaxed(&place->extent->kind) == HAK_EXTENT_RUN;
}

bool hak_large_grows_again(size_t bytes) {
  return hak_idle_shrink_allowance(hak_clock_cached()) >= bytes;
}

size_t hak_large_usable(const hak_place_t *place) {
  if (place->slab != NULL) {
    return hak_load_relaxed(&place->slab->usable);
  }
  return hak_load_relaxed(&place->extent->size);
}

bool hak_large_is_clean(const hak_place_t *place) {
  if (place->slab != NULL || hak_large_is_run(place)) return true;
  return ((const hak_mapping_t *)(const void *)place->extent)->clean;
}

bool hak_large_claim(const hak_place_t *place) {
  /* Relaxed, both: who frees a block properly has seen what was done to it. */
  if (place->slab != NULL) {
    uint8_t large = HAK_CLASS_LARGE;
    return hak_cas_relaxed(&place->slab->cls, &large, HAK_CLASS_NONE);
  }
  void *start = place->start;
  return hak_cas_relaxed(&place->extent->block, &start, NULL);
}

static void span_free(hak_shared_pool_t *pool, hak_slab_t *slab, char *start) {
  unsigned span = hak_slab_span(slab);
  span_hold(slab);
  span_tail_end(pool, slab, hak_load_relaxed(&slab->usable));
  hak_slab_set_class(slab, HAK_CLASS_NONE);
  span_let_go(slab);
  hak_locate_set_class((uintptr_t)start, span, HAK_CLASS_NONE);
  hak_pool_put(pool, slab, span);
}

/* --- freeing and resizing ---------------------------------------------------- */

static uint32_t run_length(size_t usable) {
  return (uint32_t)hak_div_up(usable, HAK_SUPERSLAB_SIZE);
}

/* A mapping is uncounted last, as a heap without blocks may end. Release: pairs with
 * hak_kind_is_empty. */
static void uncount_mapped(hak_shared_pool_t *pool, size_t usable) {
  hak_sub_relaxed(&pool->mapped_bytes, usable);
  hak_sub_release(&pool->mapped_blocks, 1);
}

/* In a hardened build a freed block is empty; one that is guarded is closed. */
static void empty(const hak_place_t *place) {
  if (HAK_CHECKS < 3 || hak_cells_have(place->start)) return;
  if (!hak_large_renew(place, 0)) memset(place->start, 0, hak_large_usable(place));
}

void hak_large_free(hak_shared_pool_t *pool, const hak_place_t *place) {
  empty(place);
  hak_clock_refresh();
  size_t usable = hak_large_usable(place);
  if (place->slab != NULL) {
    span_free(pool, place->slab, place->start);
    return;
  }
  hak_extent_t *extent = place->extent;
  if (hak_load_relaxed(&extent->kind) == HAK_EXTENT_MAPPING) {
    ((hak_mapping_t *)(void *)extent)->emptied = HAK_CHECKS >= 3;
    hak_mapping_give((hak_mapping_t *)(void *)extent, hak_clock_cached());
    uncount_mapped(pool, usable);
    return;
  }
  hak_superslab_t *ss = hak_superslab_of_extent(extent);
  uint32_t n = run_length(usable);
  hak_tail_hold(ss, 0);
  hak_pool_remove_run(pool, ss);
  hak_tail_t tail = hak_tail_of_run(ss, usable);
  hak_tail_end(pool, &tail);
  hak_tail_let_go(ss, 0);
  hak_sub_relaxed(&pool->run_bytes, usable);
  for (uint32_t i = 0; i < n; i++) hak_store_relaxed(&ss[i].extent.block, NULL);
  if (hak_density_freed(pool->os, ss->extent.base, usable)) {
    /* It was hardly touched: to keep its pages would serve nobody. */
    for (uint32_t i = 0; i < n; i++) hak_superslab_purge(&ss[i], 0, HAK_SUPERSLAB_SLABS);
  }
  hak_region_give(ss, n, hak_clock_cached());
}

/* What a block has no longer is empty, as freed blocks are. */
HAK_HOT void clear_rest(char *block, size_t now, size_t before) {
  if (HAK_CHECKS >= 3 && now < before) memset(block + now, 0, before - now);
}

static size_t span_resize(hak_shared_pool_t *pool, const hak_place_t *place,
                          size_t min_usable, size_t usable) {
  hak_slab_t *slab = place->slab;
  hak_superslab_t *ss = hak_slab_superslab(slab);
  if (usable > HAK_LARGE_SPAN_MAX) usable = HAK_LARGE_SPAN_MAX;
  if (usable < min_usable) return 0;
  unsigned have = hak_slab_span(slab), want = (unsigned)hak_div_up(usable, HAK_SLAB_SIZE);
  if (want > have && !hak_pool_extend(pool, slab, have, want - have)) {
    want = have;
    usable = have * HAK_SLAB_SIZE;
    if (usable < min_usable) return 0;
  }
  bool zeroed;
  if (!hak_tail_commit(ss, slab->slot, want, hak_os_pages(pool->os, usable), false,
                       &zeroed)) {
    if (want > have) hak_pool_put(pool, slab + have, want - have);
    return 0;
  }
  if (want < have) {
    hak_locate_set_class((uintptr_t)place->start + want * HAK_SLAB_SIZE, have - want,
                         HAK_CLASS_NONE);
  }
  size_t before = hak_load_relaxed(&slab->usable);
  if (usable > before) hak_idle_note_grown(usable - before);
  clear_rest(place->start, usable, before);
  hak_clean_begin(ss, slab->slot, before, usable, false);
  hak_slab_set_span(slab, want);
  hak_store_relaxed(&slab->usable, (uint32_t)usable);
  hak_locate_set_class((uintptr_t)place->start, want, HAK_CLASS_LARGE);
  if (want < have) {
    hak_clock_refresh();
    hak_pool_put(pool, slab + want, have - want);
  }
  return usable;
}

static size_t run_resize(hak_superslab_t *ss, size_t old_usable, size_t min_usable,
                         size_t usable) {
  uint32_t have = run_length(old_usable), want = have;
  if (usable <= have * HAK_SUPERSLAB_SIZE) {
    want = run_length(usable);
  } else {
    usable = have * HAK_SUPERSLAB_SIZE;
    if (usable < min_usable) return 0;
  }
  size_t pages = hak_os_pages(ss->extent.os, usable);
  size_t per_superslab = hak_os_pages(ss->extent.os, HAK_SUPERSLAB_SIZE);
  for (uint32_t i = 0; i < want; i++) {
    size_t part = pages < per_superslab ? pages : per_superslab;
    bool zero;
    if (!hak_tail_commit(&ss[i], 0, HAK_SUPERSLAB_SLABS, part, false, &zero)) return 0;
    if (usable > old_usable) {
      size_t here = i * HAK_SUPERSLAB_SIZE;
      size_t had = old_usable > here ? old_usable - here : 0;
      hak_clean_begin(&ss[i], 0, had, part * ss->extent.os->page_size, had == 0 && zero);
    }
    pages -= part;
  }
  if (usable > old_usable) hak_idle_note_grown(usable - old_usable);
  clear_rest(ss->extent.base, usable, old_usable);
  hak_store_relaxed(&ss->extent.size, usable);
  if (want < have) {
    for (uint32_t i = want; i < have; i++) hak_store_relaxed(&ss[i].extent.block, NULL);
    hak_clock_refresh();
    hak_region_give(hak_superslab_at(ss, want), have - want, hak_clock_cached());
  }
  return usable;
}

/* To a usable size that is not the old one. */
static HAK_SLOW size_t resize_to(hak_shared_pool_t *pool, const hak_place_t *place,
                                 size_t min_usable, size_t usable) {
  size_t old_usable = hak_large_usable(place), now;
  hak_extent_t *head = place->extent;
  if (place->slab != NULL) {
    span_hold(place->slab);
    span_tail_end(pool, place->slab, old_usable);
    now = span_resize(pool, place, min_usable, usable);
    span_tail_begin(pool, place->slab, now == 0 ? old_usable : now,
                    now != 0 && now < old_usable);
    span_let_go(place->slab);
  } else if (hak_load_relaxed(&head->kind) == HAK_EXTENT_RUN) {
    hak_superslab_t *ss = hak_superslab_of_extent(head);
    hak_tail_hold(ss, 0);
    hak_tail_t tail = hak_tail_of_run(ss, old_usable);
    hak_tail_end(pool, &tail);
    now = run_resize(ss, old_usable, min_usable, usable);
    hak_add_relaxed(&pool->run_bytes, now == 0 ? 0 : now - old_usable);
    tail = hak_tail_of_run(ss, now == 0 ? old_usable : now);
    hak_tail_begin(pool, &tail, now != 0 && now < old_usable);
    hak_tail_let_go(ss, 0);
  } else {
    hak_mapping_t *mapping = (hak_mapping_t *)(void *)head;
    if (hak_mapping_resize(mapping, usable, false) == NULL) {
      usable = min_usable;
      if (hak_mapping_resize(mapping, usable, false) == NULL) return 0;
    }
    note_mapped(pool, 0, usable, old_usable);
    now = usable;
  }
  return now;
}

size_t hak_large_resize(hak_shared_pool_t *pool, const hak_place_t *place,
                        size_t min_size, size_t want_size) {
  size_t min_usable = hak_large_good_size(pool->os, min_size);
  size_t usable = hak_large_good_size(pool->os, want_size);
  if (usable < want_size) return 0;
  if (usable == 0) usable = pool->os->page_size;
  if (usable == hak_large_usable(place)) return usable;
  return resize_to(pool, place, min_usable, usable);
}

void *hak_large_remap(hak_shared_pool_t *pool, const hak_place_t *place, size_t size,
                      bool *lost) {
  *lost = false;
  hak_extent_t *head = place->extent;
  if (hak_load_relaxed(&head->kind) != HAK_EXTENT_MAPPING) return NULL;
  size_t usable = hak_large_good_size(head->os, size);
  if (usable < size) return NULL;
  hak_mapping_t *mapping = (hak_mapping_t *)(void *)head;
  size_t old_usable = hak_load_relaxed(&head->size);
  void *block = hak_mapping_resize(mapping, usable, true);
  if (block != NULL) note_mapped(pool, 0, usable, old_usable);
  if (mapping->lost) {
    *lost = true;
    hak_mapping_give(mapping, 0);
    note_mapped(pool, -1, 0, old_usable);
  }
  return block;
}
