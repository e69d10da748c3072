#include "pages/mapping_ranges.h"

typedef struct lowest {
  hak_mapping_range_t *ranges;
  size_t count, most;
} lowest_t;

/* Keeps the ranges in order, and the lowest of them if they do not all fit. */
static void insert(lowest_t *lowest, hak_mapping_t *mapping, bool used) {
  hak_mapping_range_t range = {mapping->extent.base, hak_mapping_committed(mapping),
                               mapping->extent.os,
                               hak_load_relaxed(&mapping->extent.heap), 0};
  if (used) range.usable = hak_load_relaxed(&mapping->extent.size);
  size_t at = lowest->count;
  if (at == lowest->most) {
    if (lowest->ranges[at - 1].base < range.base) return;
    at--;
  } else {
    lowest->count++;
  }
  for (; at > 0 && lowest->ranges[at - 1].base > range.base; at--) {
    lowest->ranges[at] = lowest->ranges[at - 1];
  }
  lowest->ranges[at] = range;
}

/* Those whose first byte is at `from` or above: the lowest `most`, in order, and how many
 * these are. */
static size_t find(uintptr_t from, hak_mapping_range_t *ranges, size_t most) {
  lowest_t lowest = {ranges, 0, most};
  /* The caller may be a crash handler, and the thread that it stopped may have the lock.
   */
  if (!hak_lock_try_briefly(&hak_mappings.lock)) return 0;
  hak_mapping_t *mapping = hak_mappings.used;
  for (; mapping != NULL; mapping = mapping->next_used) {
    if ((uintptr_t)mapping->extent.base >= from) insert(&lowest, mapping, true);
  }
  for (mapping = hak_mappings.kept; mapping != NULL; mapping = mapping->next) {
    if ((uintptr_t)mapping->extent.base >= from) insert(&lowest, mapping, false);
  }
  hak_lock_release_unranked(&hak_mappings.lock);
  return lowest.count;
}

HAK_SLOW void hak_mapping_visit_ranges(hak_mapping_range_fn *fn, void *ctx) {
  enum {
    AT_ONCE = 64
  };
  hak_mapping_range_t ranges[AT_ONCE];
  uintptr_t from = 0;
  size_t count;
  do {
    count = find(from, ranges, AT_ONCE);
    for (size_t i = 0; i < count; i++) {
      fn(&ranges[i], ctx);
      from = (uintptr_t)ranges[i].base + 1;
    }
  } while (count == AT_ONCE);
}
