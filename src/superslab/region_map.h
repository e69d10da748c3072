/* region_map.h - which SuperSlabs of a region nobody has, and which have records.
 *
 * Depends on: base, superslab.   Used by: region, region_new.
 *
 * Everything but the way from region to region is under the regions' lock.
 */
#ifndef HAK_SUPERSLAB_REGION_MAP_H
#define HAK_SUPERSLAB_REGION_MAP_H

#include "superslab/region.h"

#define HAK_REGION_WORD_BITS 64

/* Acquire, both: pair with the releases in region_new.c. */
HAK_HOT hak_region_t *hak_region_first(void) {
  return hak_load_acquire(&hak_regions.first);
}
HAK_HOT hak_region_t *hak_region_next(hak_region_t *region) {
  return hak_load_acquire(&region->next);
}

/* Records that may be touched. */
HAK_HOT uint32_t hak_region_ready(hak_region_t *region) {
  return hak_load_relaxed(&region->ready);
}

HAK_HOT bool hak_region_is_free(const hak_region_t *region, uint32_t i) {
  return (region->free[i / HAK_REGION_WORD_BITS] >> (i % HAK_REGION_WORD_BITS) & 1) != 0;
}
void hak_region_set_free(hak_region_t *region, uint32_t i, bool free);

/* Index of the lowest fitting run, or the region's `count` if there is none. */
uint32_t hak_region_find_run(const hak_region_t *region, uint32_t count,
                             size_t alignment);

/* Makes records of SuperSlabs from the from-th to before the to-th, the region's first
 * at `base`. */
void hak_region_init_records(hak_region_t *region, uint32_t from, uint32_t to, char *base,
                             const hak_os_t *os);

/* Takes a run out of the map, or puts it back. Records that are not ready must be made
 * before they are touched. */
void hak_region_take_run_locked(hak_region_t *region, uint32_t at, uint32_t count);
void hak_region_untake_run_locked(hak_region_t *region, uint32_t at, uint32_t count);

#endif
