#include "superslab/region_map.h"

#include "base/sys.h"

hak_regions_t hak_regions = {.lock = HAK_LOCK_INIT(HAK_RANK_REGIONS)};
hak_atomic_u64_t hak_regions_reserved;

void hak_region_set_free(hak_region_t *region, uint32_t i, bool free) {
  uint64_t bit = (uint64_t)1 << (i % HAK_REGION_WORD_BITS);
  if (free) {
    region->free[i / HAK_REGION_WORD_BITS] |= bit;
  } else {
    region->free[i / HAK_REGION_WORD_BITS] &= ~bit;
  }
}

static uint32_t next_free(const hak_region_t *region, uint32_t i) {
  for (uint32_t w = i / HAK_REGION_WORD_BITS;
       w < hak_div_up(region->count, HAK_REGION_WORD_BITS); w++) {
    uint64_t bits = region->free[w];
    if (w == i / HAK_REGION_WORD_BITS) bits &= ~(uint64_t)0 << (i % HAK_REGION_WORD_BITS);
    if (bits != 0) return w * HAK_REGION_WORD_BITS + hak_lowest_bit(bits);
  }
  return region->count;
}

uint32_t hak_region_find_run(const hak_region_t *region, uint32_t count,
                             size_t alignment) {
  if (region->free_count < count) return region->count;
  size_t step = alignment >> HAK_SUPERSLAB_SHIFT;
  size_t origin = (uintptr_t)region->base >> HAK_SUPERSLAB_SHIFT;
  for (uint32_t i = next_free(region, 0); i < region->count;) {
    uint32_t at = (uint32_t)(hak_align_up(origin + i, step) - origin), n = 0;
    while (n < count && at + n < region->count && hak_region_is_free(region, at + n)) n++;
    if (n == count) return at;
    if (at + n >= region->count) break;
    i = next_free(region, at + n);
  }
  return region->count;
}

void hak_region_init_records(hak_region_t *region, uint32_t from, uint32_t to, char *base,
                             const hak_os_t *os) {
  for (uint32_t i = from; i < to; i++) {
    hak_superslab_init(&region->superslabs[i], region, i,
                       base + ((size_t)i << HAK_SUPERSLAB_SHIFT), os);
    hak_store_relaxed(&region->superslabs[i].huge, i >= region->huge_from);
  }
}

void hak_region_take_run_locked(hak_region_t *region, uint32_t at, uint32_t count) {
  hak_lock_assert_held(&hak_regions.lock);
  for (uint32_t i = at; i < at + count; i++) {
    hak_region_set_free(region, i, false);
    if (i < hak_region_ready(region)) {
      hak_superslab_t *ss = &region->superslabs[i];
      if (ss->queue != NULL) hak_superslab_dequeue(ss);
    }
  }
  region->free_count -= count;
  hak_regions.in_use += count;
}

void hak_region_untake_run_locked(hak_region_t *region, uint32_t at, uint32_t count) {
  hak_lock_assert_held(&hak_regions.lock);
  for (uint32_t i = at; i < at + count; i++) {
    hak_region_set_free(region, i, true);
    if (i < hak_region_ready(region) &&
        hak_superslab_retained(&region->superslabs[i]) != 0) {
      hak_superslab_enqueue(&hak_regions.retained, &region->superslabs[i]);
    }
  }
  region->free_count += count;
  hak_regions.in_use -= count;
}

/* Under the lock, so that no region is about to go. */
uint64_t hak_regions_visit_begin(void) {
  hak_lock_acquire(&hak_regions.lock);
  uint64_t visit = hak_readers_enter(&hak_regions.readers);
  hak_lock_release(&hak_regions.lock);
  return visit;
}

void hak_regions_visit_end(uint64_t visit) {
  hak_readers_leave(&hak_regions.readers, visit);
}
