#include "superslab/region_growth.h"

#include "base/option.h"
#include "os/guarded.h"
#include "pages/mapping.h"
#include "pages/meta.h"
#include "superslab/huge.h"

/* Bytes of a region's record in front of those of its SuperSlabs. */
static size_t head_size(uint32_t count) {
  return hak_align_up(sizeof(hak_region_t) + hak_div_up(count, HAK_REGION_WORD_BITS) * 8,
                      HAK_CACHE_LINE);
}

/* Reserves *size bytes that the registry covers. Smaller ones, of at least `least` bytes,
 * are tried where a large one is refused or leaves no room for what covers it; *size is
 * then what was got. NULL if memory is short. */
static char *reserve_covered(const hak_os_t *os, size_t *size, size_t least) {
  for (;;) {
    char *start = hak_os_reserve(os, *size, HAK_SUPERSLAB_SIZE);
    if (start != NULL) {
      if (hak_registry_cover(os, (uintptr_t)start, *size)) return start;
      hak_os_unreserve(os, start, *size);
    }
    if (*size == least) return NULL;
    *size = *size / 2 < least ? least : hak_align_down(*size / 2, HAK_SUPERSLAB_SIZE);
  }
}

/* The smallest empty record for so many SuperSlabs, or NULL. None serves again while
 * somebody may be reading what it said of its last range. There may always be somebody,
 * so of each record it is asked whether they have left who came before its range went. */
static hak_region_t *empty_record_locked(uint32_t count) {
  hak_lock_assert_held(&hak_regions.lock);
  uint32_t turn = hak_readers_turn(&hak_regions.readers);
  hak_region_t *best = NULL;
  for (hak_region_t *region = hak_region_first(); region != NULL;
       region = hak_region_next(region)) {
    if (region->os != NULL || region->records < count || region->reviving) continue;
    if (!hak_readers_left(turn, region->gone)) continue;
    if (best == NULL || region->records < best->records) best = region;
  }
  return best;
}

/* An empty record for so many SuperSlabs, or a new one. */
static hak_region_t *record_get(uint32_t count) {
  hak_lock_acquire(&hak_regions.lock);
  hak_region_t *region = empty_record_locked(count);
  size_t bare = region != NULL ? region->bare : 0;
  if (region != NULL) {
    region->reviving = true;
    region->bare = 0;
  }
  hak_lock_release(&hak_regions.lock);
  if (bare != 0) hak_meta_reuse(bare);
  if (region != NULL) return region;
  size_t size = head_size(count) + count * sizeof(hak_superslab_t);
  region = hak_meta_alloc_pages(hak_registry_os(), size);
  if (region == NULL) return NULL;
  region->records = count;
  region->superslabs = (hak_superslab_t *)(void *)((char *)region + head_size(count));
  return region;
}

/* Fills in an empty or new record, which nobody uses for as long as it names no hooks.
 * Under the lock, as one that served before is still linked. */
static void lay_out(hak_region_t *region, char *start, size_t size, char *base,
                    uint32_t units) {
  hak_lock_acquire(&hak_regions.lock);
  region->start = start;
  region->base = base;
  region->size = size;
  region->count = units;
  region->unadvised = false;
  region->huge_from = units;
  hak_lock_release(&hak_regions.lock);
}

/* A reservation of about `size` bytes that holds at least `count` SuperSlabs at the
 * alignment, with a record that is still to be added. */
static hak_region_t *region_new(const hak_os_t *os, size_t size, uint32_t count,
                                size_t alignment) {
  size_t least = ((size_t)count << HAK_SUPERSLAB_SHIFT) + 2 * HAK_REGION_GUARD;
  if (alignment > HAK_SUPERSLAB_SIZE) least += alignment;
  if (size < least) size = least;
  char *start = reserve_covered(os, &size, least);
  if (start == NULL) return NULL;
  char *base = start + HAK_REGION_GUARD;
  size_t bytes = size - 2 * HAK_REGION_GUARD;
  uint32_t units = (uint32_t)(bytes >> HAK_SUPERSLAB_SHIFT);
  bool guarded = hak_guard(os, start, HAK_REGION_GUARD) &&
                 hak_guard(os, base + bytes, HAK_REGION_GUARD);
  hak_region_t *region = guarded ? record_get(units) : NULL;
  if (region == NULL) {
    hak_os_unreserve(os, start, size);
    return NULL;
  }
  lay_out(region, start, size, base, units);
  return region;
}

static void link_locked(hak_region_t *region) {
  hak_lock_assert_held(&hak_regions.lock);
  if (hak_regions.last != NULL) {
    /* Release, both: publish the region to hak_region_visit. */
    hak_store_release(&hak_regions.last->next, region);
  } else {
    hak_store_release(&hak_regions.first, region);
  }
  hak_regions.last = region;
}

/* Links the region, or brings its record back to life. */
static void add_locked(hak_region_t *region, const hak_os_t *os) {
  hak_lock_assert_held(&hak_regions.lock);
  region->os = os;
  region->free_count = region->count;
  for (uint32_t i = 0; i < region->count; i++) hak_region_set_free(region, i, true);
  if (!region->reviving) link_locked(region);
  region->reviving = false;
  /* Nothing was reserved for memory of the caller's. */
  hak_add_relaxed(&hak_regions_reserved, region->size);
}

bool hak_region_lay(const hak_os_t *os, char *base, uint32_t count) {
  hak_region_t *region = record_get(count);
  if (region == NULL) return false;
  lay_out(region, base, 0, base, count);
  hak_region_init_records(region, 0, count, base, os);
  hak_lock_acquire(&hak_regions.lock);
  add_locked(region, os);
  /* Release: pairs with hak_region_visit, which reads the records. */
  hak_store_release(&region->ready, count);
  hak_lock_release(&hak_regions.lock);
  /* Nobody else has its units, whether they are used or not. */
  for (uint32_t i = 0; i < count; i++) {
    hak_superslab_t *ss = &region->superslabs[i];
    hak_registry_set_extent((uintptr_t)ss->extent.base, HAK_SUPERSLAB_SIZE, &ss->extent);
  }
  return true;
}

hak_turn_t *hak_region_turn(const hak_os_t *os) {
  if (hak_os_is_fixed(os)) return NULL;
  if (hak_region_is_common(os)) {
    return hak_turn_take(&hak_regions.growing) ? &hak_regions.growing : NULL;
  }
  hak_turn_t *turn = &hak_regions.growing_own;
  if (!hak_turn_try(turn)) {
    /* Relaxed: if it is out of date, one more or one less waits. */
    bool same = hak_load_relaxed(&hak_regions.own) == os;
    if (!same || !hak_turn_take(turn)) return NULL;
  }
  hak_store_relaxed(&hak_regions.own, os);
  return turn;
}

/* --- how much ---------------------------------------------------------------------- */

size_t hak_region_next_size_locked(void) {
  hak_lock_assert_held(&hak_regions.lock);
  uint64_t least = (uint64_t)hak_option(REGION_BYTES);
  uint64_t most = (uint64_t)hak_option(REGION_BYTES_MAX);
  uint64_t used = (uint64_t)hak_regions.in_use << HAK_SUPERSLAB_SHIFT;
  uint64_t share = used * (uint64_t)hak_option(REGION_PERCENT) / 100;
  if (share < least) return (size_t)least;
  return (size_t)(share < most ? share : most);
}

/* Where the process may have so much address space and no more, others need some of it
 * too, and what is reserved now cannot be reserved for a large block later. */
static size_t within_limit(const hak_os_t *os, size_t size) {
  enum {
    SHARE = 8 /* of what is left that is taken at a time */
  };
  size_t limit = hak_os_limit(os);
  if (limit == SIZE_MAX) return size;
  size_t reserved = (size_t)(hak_load_relaxed(&hak_regions_reserved) +
                             hak_load_relaxed(&hak_mappings_reserved) +
                             hak_load_relaxed(&hak_meta_reserved) +
                             hak_load_relaxed(&hak_registry_reserved) +
                             hak_load_relaxed(&hak_os_unreleased_bytes));
  size_t left = limit > reserved ? limit - reserved : 0;
  return size < left / SHARE ? size : left / SHARE;
}

/* Memory that does not grow may have lent some. */
static bool lend(const hak_os_t *os, uint32_t count, size_t alignment) {
  hak_lock_release(&hak_regions.lock);
  bool any = hak_fixed_os_of(os)->lend(os, count, alignment);
  hak_lock_acquire(&hak_regions.lock);
  return any;
}

bool hak_region_grow_locked(const hak_os_t *os, uint32_t count, size_t alignment) {
  hak_lock_assert_held(&hak_regions.lock);
  if (hak_os_is_fixed(os)) return lend(os, count, alignment);
  bool common = hak_region_is_common(os);
  size_t size = common ? hak_region_next_size_locked() : (size_t)hak_option(REGION_BYTES);
  hak_lock_release(&hak_regions.lock);
  size = hak_align_down(within_limit(os, size), HAK_SUPERSLAB_SIZE);
  hak_region_t *region = region_new(os, size, count, alignment);
  if (region != NULL && common) hak_huge_begin_region(region, os);
  hak_lock_acquire(&hak_regions.lock);
  if (region == NULL) return false;
  add_locked(region, os);
  return true;
}

void hak_region_prepare(const hak_os_t *os) {
  hak_lock_acquire(&hak_regions.lock);
  hak_region_grow_locked(os, 1, HAK_SUPERSLAB_SIZE);
  hak_lock_release(&hak_regions.lock);
}
