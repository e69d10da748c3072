#include "external/external_region.h"

#include <errno.h>

#include "pages/clock.h"
#include "pages/meta.h"
#include "pages/registry.h"
#include "superslab/pool_slots.h"
#include "superslab/region.h"
#include "superslab/region_growth.h"
#include "superslab/region_release.h"
#include "superslab/tree.h"

static hak_external_region_t *all, *unused; /* [lock: external ranges] */

static uintptr_t first_unit(const void *memory) {
  return hak_align_up((uintptr_t)memory, HAK_SUPERSLAB_SIZE);
}

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

/* Slots of the annex that could be had for slabs, as far as bytes say. */
static uint64_t free_in_annex(hak_external_region_t *region) {
  uint64_t slots = hak_load_relaxed(&region->annexed);
  uint64_t used = hak_external_live_bytes(region->annex) >> HAK_SLAB_SHIFT;
  return slots > used ? slots - used : 0;
}

static void count_used(const hak_os_t *os, int64_t slots) {
  hak_external_region_t *region = hak_external_region_of(os);
  uint64_t used = hak_add_relaxed(&region->used, (uint64_t)slots) + (uint64_t)slots;
  hak_budget_t *budget = region->budget;
  if (budget == NULL) return; /* there is no heap, or none any more */
  uint64_t free = free_in_annex(region);
  used = used > free ? used - free : 0; /* read while they change */
  bool is_short = hak_load_relaxed(&budget->hard) != HAK_BUDGET_NONE;
  /* Two threads may cross a line at once and leave the wrong limit; the next change
   * mends it. */
  if (!is_short && used * EIGHTHS > region->slots * SHORT_FROM) {
    hak_budget_set_limits(budget, 0, LIMIT_FACTOR * (region->slots << HAK_SLAB_SHIFT));
  } else if (is_short && used * EIGHTHS < region->slots * SHORT_TO) {
    hak_budget_set_limits(budget, 0, 0);
  }
}

/* --- the annex ------------------------------------------------------------------- */

static hak_superslab_t *superslab_at(const char *address) {
  return hak_superslab_of_extent(hak_registry_extent((uintptr_t)address));
}

/* So many slots are about to be the annex's, or to be so no more: what counts them as
 * used or not, which comes next, looks whether the region is short. In the other order
 * it would see as many in use too much. */
static void count_annexed(hak_external_region_t *region, int64_t slots) {
  hak_count_own(&region->annexed, (uint64_t)slots);
}

/* Wholly the annex's. */
static bool is_annexed(const hak_superslab_t *ss) {
  return hak_load_relaxed(&((hak_superslab_t *)ss)->extent.kind) == HAK_EXTENT_EXTERNAL;
}

/* The notes of slots side by side say that they are the annex's, or no more. They do so
 * in its whole units too: of a block that is in use there nothing changes then when its
 * unit becomes the pool's, which who looks it up at that moment may not have seen yet. */
static void set_annexed(const char *start, size_t slots, bool annexed) {
  uint32_t note = annexed ? HAK_CLASS_EXTERNAL + 1 : 0;
  hak_registry_set_notes((uintptr_t)start, slots, note, 0);
}

static void give_locked(hak_external_region_t *region, const char *units,
                        uint32_t count) {
  hak_lock_assert_held(&region->annex->lock);
  set_annexed(units, (size_t)count * HAK_SUPERSLAB_SLABS, false);
  count_annexed(region, -(int64_t)count * HAK_SUPERSLAB_SLABS);
  hak_region_give(superslab_at(units), count, hak_clock_cached());
}

/* Lends whole units to the region. Where slots of one are the pool's that has to be asked
 * for single slots. */
static bool lend(const hak_os_t *os, uint32_t count, size_t alignment) {
  hak_external_region_t *region = hak_external_region_of(os);
  hak_external_heap_t *annex = region->annex;
  size_t size = (size_t)count << HAK_SUPERSLAB_SHIFT;
  hak_lock_acquire(&annex->lock);
  const char *units = hak_external_lend_locked(annex, size, alignment);
  bool whole = units != NULL;
  for (uint32_t i = 0; i < count && whole; i++) {
    whole = is_annexed(superslab_at(units) + i);
  }
  if (whole) {
    give_locked(region, units, count);
  } else if (units != NULL) {
    hak_external_take_back_locked(annex, units, size);
  }
  hak_lock_release(&annex->lock);
  return whole;
}

static hak_superslab_t *lend_slots(hak_shared_pool_t *pool, unsigned span,
                                   size_t alignment) {
  hak_external_region_t *region = hak_external_region_of(pool->os);
  /* At a multiple of a power of two that is as large they are all in one SuperSlab. */
  unsigned slots = span == 1 ? 1 : 2u << hak_highest_bit(span - 1);
  size_t size = slots * HAK_SLAB_SIZE;
  hak_lock_acquire(&region->annex->lock);
  const char *start =
      hak_external_lend_locked(region->annex, size, alignment > size ? alignment : size);
  hak_superslab_t *ss = NULL;
  if (start != NULL) {
    ss = superslab_at(start);
    if (is_annexed(ss)) hak_pool_adopt_locked(pool, ss);
    set_annexed(start, slots, false);
    count_annexed(region, -(int64_t)slots);
    unsigned first = (unsigned)((size_t)(start - ss->extent.base) >> HAK_SLAB_SHIFT);
    hak_pool_put_in_hand_locked(pool, ss, hak_mask32(first, slots), hak_clock_cached());
  }
  hak_lock_release(&region->annex->lock);
  return ss;
}

/* All units that are free in the region are the annex's; false if there is none. */
static bool take_units_locked(hak_external_region_t *region) {
  hak_lock_assert_held(&region->annex->lock);
  for (bool any = false;; any = true) {
    count_annexed(region, HAK_SUPERSLAB_SLABS);
    hak_superslab_t *ss = hak_region_take_one(&region->hooks.os, HAK_EXTENT_EXTERNAL);
    if (ss == NULL) {
      count_annexed(region, -HAK_SUPERSLAB_SLABS);
      return any;
    }
    hak_superslab_soil(ss, HAK_ALL_SLOTS);
    set_annexed(ss->extent.base, HAK_SUPERSLAB_SLABS, true);
    hak_external_take_back_locked(region->annex, ss->extent.base, HAK_SUPERSLAB_SIZE);
  }
}

static void take_slots_locked(hak_external_region_t *region, hak_shared_pool_t *pool,
                              hak_superslab_t *ss) {
  hak_lock_assert_held(&pool->lock);
  uint32_t slots = hak_superslab_free(ss);
  count_annexed(region, hak_count_bits(slots));
  hak_pool_take_in_hand_locked(pool, ss, slots);
  hak_superslab_soil(ss, slots);
  while (slots != 0) {
    unsigned first = hak_lowest_bit(slots), count = hak_lowest_run(slots);
    const char *start = hak_superslab_slot(ss, first);
    slots &= ~hak_mask32(first, count);
    set_annexed(start, count, true);
    hak_external_take_back_locked(region->annex, start, count * HAK_SLAB_SIZE);
  }
}

/* All slots that the heap's pool has free are the annex's; false if there is none. */
static bool take_slots(hak_external_region_t *region) {
  hak_shared_pool_t *pool = hak_pool_of_budget(region->budget);
  const char *at = NULL;
  hak_superslab_t *ss;
  bool any = false;
  hak_lock_acquire(&pool->lock);
  hak_lock_acquire(&region->annex->lock);
  while ((ss = hak_tree_above(pool->root, at)) != NULL) {
    at = ss->extent.base;
    if (hak_superslab_free(ss) == 0) continue;
    take_slots_locked(region, pool, ss);
    any = true;
  }
  hak_lock_release(&region->annex->lock);
  hak_lock_release(&pool->lock);
  return any;
}

static void *alloc(hak_external_region_t *region, size_t size, size_t alignment) {
  hak_external_heap_t *annex = region->annex;
  hak_lock_acquire(&annex->lock);
  void *block = hak_external_alloc_locked(annex, size, alignment);
  if (block == NULL && take_units_locked(region)) {
    block = hak_external_alloc_locked(annex, size, alignment);
  }
  hak_lock_release(&annex->lock);
  return block;
}

void *hak_external_region_alloc(hak_external_region_t *region, size_t size,
                                size_t alignment) {
  void *block = alloc(region, size, alignment);
  if (block == NULL && take_slots(region)) block = alloc(region, size, alignment);
  return block;
}

/* Whoever comes behind a fork in between finds the heap ended or reset once more. */
void hak_external_region_clear(hak_external_region_t *region) {
  hak_external_heap_t *annex = region->annex;
  uintptr_t unit = first_unit(hak_load_relaxed(&annex->range.extent.block));
  hak_lock_acquire(&annex->lock);
  for (uint64_t i = 0; i < region->slots; i += HAK_SUPERSLAB_SLABS) {
    const hak_superslab_t *ss = superslab_at((const char *)unit);
    if (ss != NULL && is_annexed(ss)) give_locked(region, (const char *)unit, 1);
    unit += HAK_SUPERSLAB_SIZE;
  }
  count_annexed(region, -(int64_t)hak_load_relaxed(&region->annexed));
  count_used(&region->hooks.os, 0);
  hak_lock_release(&annex->lock);
  hak_external_clear(annex);
}

/* --- records --------------------------------------------------------------------- */

static HAK_SLOW hak_external_region_t *record_new(const hak_os_t *os) {
  hak_external_region_t *region = hak_meta_alloc(os, sizeof *region, HAK_CACHE_LINE);
  if (region == NULL) return NULL;
  region->hooks.os = (hak_os_t){.struct_size = sizeof region->hooks.os,
                                .flags = HAK_OS_FIXED,
                                .page_size = os->page_size,
                                .granularity = os->granularity};
  region->hooks.count_used = count_used;
  region->hooks.lend = lend;
  region->hooks.lend_slots = lend_slots;
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

static hak_external_region_t *record_get(const hak_os_t *os) {
  hak_lock_acquire(hak_external_ranges_lock());
  hak_external_region_t *region = unused;
  if (region != NULL) unused = region->next_unused;
  hak_lock_release(hak_external_ranges_lock());
  if (region == NULL) region = record_new(os);
  if (region == NULL || region->annex != NULL) return region;
  region->annex = hak_external_make_annex(os, &region->hooks);
  if (region->annex != NULL) return region;
  record_put(region);
  return NULL;
}

void hak_external_regions_stop(void) { all = unused = NULL; }

/* --- life -------------------------------------------------------------------------- */

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
  hak_store_relaxed(&region->annexed, 0);
  region->budget = NULL;
  *error = hak_external_open_annex(os, region->annex, memory, size);
  if (*error != 0) {
    record_put(region);
    return NULL;
  }
  if (!hak_region_lay(&region->hooks.os, (char *)first_unit(memory), (uint32_t)units)) {
    hak_external_close(region->annex);
    record_put(region);
    *error = ENOMEM;
    return NULL;
  }
  return region;
}

void hak_external_region_serve(hak_external_region_t *region, hak_budget_t *budget) {
  region->budget = budget;
}

void hak_external_region_close(hak_external_region_t *region) {
  hak_external_region_clear(region);
  hak_regions_end(&region->hooks.os);
  hak_external_close(region->annex);
  record_put(region);
}

void hak_external_regions_close_unserved(void) {
  for (hak_external_region_t *region = all; region != NULL; region = region->next) {
    if (region->annex == NULL) continue; /* there was no memory for its record */
    if (hak_external_bytes(region->annex) > 0 && region->budget == NULL) {
      hak_external_region_close(region);
    }
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
