#include "external/external_region.h"

#include <errno.h>

#include "pages/meta.h"
#include "superslab/region_growth.h"
#include "superslab/region_release.h"

static hak_external_region_t *all, *unused; /* [lock: external ranges] */

/* --- few slots left ------------------------------------------------------------------
 */

enum {
  /* An external region is short of slots from the moment when three quarters are in use
   * until no more than five eighths are: bins that are cut and made whole again give
   * all back each time. With an earlier start, a few threads with a slab of each class
   * would make the smallest external regions short. */
  EIGHTHS = 8,
  SHORT_FROM = 6,
  SHORT_TO = 5,
  /* The limit of a heap that is short. Threads may then cache a quarter of the region,
   * the quota that they have of such a limit: with less, several threads would meet at
   * the gives to the partial list for each few blocks. */
  LIMIT_FACTOR = 4
};

static void count_used(const hak_os_t *os, int64_t slots) {
  hak_external_region_t *region = hak_external_region_of(os);
  uint64_t used = hak_add_relaxed(&region->used, (uint64_t)slots) + (uint64_t)slots;
  hak_budget_t *budget = region->budget;
  if (budget == NULL) return; /* there is no heap, or none any more */
  bool is_short = hak_load_relaxed(&budget->hard) != HAK_BUDGET_NONE;
  /* Two threads may cross a line at once and leave the wrong limit; the next change
   * mends it. */
  if (!is_short && used * EIGHTHS > region->slots * SHORT_FROM) {
    hak_budget_set_limits(budget, 0, LIMIT_FACTOR * (region->slots << HAK_SLAB_SHIFT));
  } else if (is_short && used * EIGHTHS < region->slots * SHORT_TO) {
    hak_budget_set_limits(budget, 0, 0);
  }
}

/* --- records --------------------------------------------------------------------- */

static hak_external_region_t *record_get(const hak_os_t *os) {
  hak_lock_acquire(hak_external_ranges_lock());
  hak_external_region_t *region = unused;
  if (region != NULL) unused = region->next_unused;
  hak_lock_release(hak_external_ranges_lock());
  if (region != NULL) return region;
  region = hak_meta_alloc(os, sizeof *region, HAK_CACHE_LINE);
  if (region == NULL) return NULL;
  region->hooks.os = (hak_os_t){.struct_size = sizeof region->hooks.os,
                                .flags = HAK_OS_FIXED,
                                .page_size = os->page_size,
                                .granularity = os->granularity};
  region->hooks.count_used = count_used;
  hak_lock_acquire(hak_external_ranges_lock());
  region->next = all;
  all = region;
  hak_lock_release(hak_external_ranges_lock());
  return region;
}

static void record_put(hak_external_region_t *region) {
  hak_lock_acquire(hak_external_ranges_lock());
  region->next_unused = unused;
  unused = region;
  hak_lock_release(hak_external_ranges_lock());
}

/* A fork may come between the two steps of either function: its child then does not
 * return what was not borrowed, and may leave borrowed what it will not use. */
static void borrow(hak_external_region_t *region, void *memory, size_t size) {
  hak_os_borrow(memory, size);
  hak_compiler_fence();
  region->borrowed = true;
}

static void give_back(hak_external_region_t *region) {
  if (!region->borrowed) return;
  region->borrowed = false;
  hak_compiler_fence();
  hak_os_return(hak_load_relaxed(&region->range.extent.block),
                hak_external_region_bytes(region));
}

void hak_external_regions_stop(void) {
  for (hak_external_region_t *region = all; region != NULL; region = region->next) {
    give_back(region);
  }
  all = unused = NULL;
}

/* --- life -------------------------------------------------------------------------- */

static uintptr_t first_unit(const void *memory) {
  return hak_align_up((uintptr_t)memory, HAK_SUPERSLAB_SIZE);
}

size_t hak_external_region_units(const void *memory, size_t size) {
  uintptr_t from = (uintptr_t)memory, first = first_unit(memory);
  if (from + size < from || first < from || first > from + size) return 0;
  return (from + size - first) >> HAK_SUPERSLAB_SHIFT;
}

HAK_SLOW hak_external_region_t *hak_external_region_open(const hak_os_t *os, void *memory,
                                                         size_t size, int *error) {
  size_t units = hak_external_region_units(memory, size);
  *error = EINVAL;
  if (units > UINT32_MAX) return NULL;
  *error = ENOMEM;
  hak_external_region_t *region = record_get(os);
  if (region == NULL) return NULL;
  region->slots = (uint64_t)units * HAK_SUPERSLAB_SLABS;
  hak_store_relaxed(&region->used, 0);
  region->budget = NULL;
  *error = hak_external_range_add(os, &region->range, memory, size);
  if (*error != 0) {
    record_put(region);
    return NULL;
  }
  if (!hak_region_lay(&region->hooks.os, (char *)first_unit(memory), (uint32_t)units)) {
    hak_external_range_remove(&region->range);
    record_put(region);
    *error = ENOMEM;
    return NULL;
  }
  borrow(region, memory, size);
  return region;
}

void hak_external_region_serve(hak_external_region_t *region, hak_budget_t *budget) {
  region->budget = budget;
}

void hak_external_region_close(hak_external_region_t *region) {
  hak_regions_end(&region->hooks.os);
  give_back(region);
  hak_external_range_remove(&region->range);
  record_put(region);
}

void hak_external_regions_close_unserved(void) {
  for (hak_external_region_t *region = all; region != NULL; region = region->next) {
    if (hak_external_region_bytes(region) > 0 && region->budget == NULL)
      hak_external_region_close(region);
  }
}

uint64_t hak_external_region_quota(const hak_os_t *os) {
  enum {
    GROWN_QUOTA = 32
  };
  const hak_external_region_t *region = hak_external_region_of(os);
  uint64_t users = hak_load_relaxed(&region->budget->users);
  return (region->slots << HAK_SLAB_SHIFT) / (GROWN_QUOTA * (users == 0 ? 1 : users));
}
