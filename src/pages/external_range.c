#include "pages/external_range.h"

#include <errno.h>

#include "base/wait.h"
#include "pages/registry.h"

/* Guards the list and its count of changes, the ranges that units name, and what is
 * marked [lock: external ranges] in the records of external ranges and regions. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_EXTERNAL_RANGES);
static hak_external_range_link_t first; /* [lock: external ranges] the lowest of all */
static hak_atomic_u64_t changes; /* [lock: external ranges] odd while the list changes */

hak_lock_t *hak_external_ranges_lock(void) { return &lock; }

static uintptr_t base_of(hak_external_range_t *range) {
  return (uintptr_t)hak_load_acquire(&range->extent.block);
}
static uintptr_t end_of(hak_external_range_t *range) {
  return base_of(range) + hak_load_acquire(&range->extent.size);
}

/* --- lookup -------------------------------------------------------------------- */

/* A quarter of a second, in which whoever is at a change has run; in a handler that
 * interrupted the change it would never end. */
enum {
  TRIES = 320
};

/* Acquire, all: each is read before the count of changes is read again; pairs with
 * the releases of the writers. */
static hak_external_range_t *search(hak_external_range_link_t *lowest,
                                    uintptr_t address) {
  hak_external_range_t *range = hak_load_acquire(lowest);
  while (range != NULL && address >= base_of(range)) {
    if (address < end_of(range)) return range;
    hak_external_range_t *next = hak_load_acquire(&range->next);
    /* The search goes upwards only, so that it has an end where it reads the list in
     * the middle of a change. */
    if (next != NULL && base_of(next) <= base_of(range)) return NULL;
    range = next;
  }
  return NULL;
}

hak_external_range_t *hak_external_range_find(hak_external_range_link_t *lowest,
                                              uintptr_t address) {
  hak_external_range_t *range = NULL;
  unsigned rounds = 0;
  for (int i = 0; i < TRIES; i++) {
    /* Acquire: pairs with end_change_locked; the list is as whole as it was left. */
    uint64_t before = hak_load_acquire(&changes);
    range = search(lowest, address);
    if (before % 2 == 0 && hak_load_relaxed(&changes) == before) break;
    hak_wait_step(&rounds);
  }
  return range;
}

/* --- changes --------------------------------------------------------------------- */

/* Every store in between is a release, so that whoever has seen one of them sees the
 * odd count. */
static void begin_change_locked(void) {
  hak_lock_assert_held(&lock);
  hak_store_relaxed(&changes, hak_load_relaxed(&changes) + 1);
}
/* Release: publishes the list to hak_external_range_find. */
static void end_change_locked(void) {
  hak_lock_assert_held(&lock);
  hak_store_release(&changes, hak_load_relaxed(&changes) + 1);
}

static uintptr_t first_unit(uintptr_t address) {
  return hak_align_down(address, HAK_SUPERSLAB_SIZE);
}

/* The link that the external range belongs behind; NULL if another one is in the way. */
static hak_external_range_link_t *place_locked(uintptr_t base, uintptr_t end) {
  hak_lock_assert_held(&lock);
  hak_external_range_link_t *at = &first;
  hak_external_range_t *above = hak_load_relaxed(at);
  while (above != NULL && end_of(above) <= base) {
    at = &above->next;
    above = hak_load_relaxed(at);
  }
  return above != NULL && base_of(above) < end ? NULL : at;
}

/* True if some of it is the library's own. A mapping may end in the middle of a unit,
 * and what lies behind is somebody else's. */
static bool is_ours(uintptr_t base, uintptr_t end) {
  for (uintptr_t unit = first_unit(base); unit < end; unit += HAK_SUPERSLAB_SIZE) {
    hak_extent_t *extent = hak_registry_extent(unit);
    if (extent == NULL) continue;
    if (hak_load_relaxed(&extent->kind) != HAK_EXTENT_MAPPING) return true;
    uintptr_t block = (uintptr_t)hak_load_relaxed(&extent->block);
    if (block != 0 && base < block + hak_load_relaxed(&extent->size)) return true;
  }
  return false;
}

int hak_external_range_add(const hak_os_t *os, hak_external_range_t *range, void *memory,
                           size_t size) {
  uintptr_t base = (uintptr_t)memory, end = base + size;
  if (end < base || end >> HAK_ADDRESS_BITS != 0) return EINVAL;
  if (!hak_registry_cover(os, base, size)) return ENOMEM;
  if (is_ours(base, end)) return EINVAL;
  hak_lock_acquire(&lock);
  hak_external_range_link_t *at = place_locked(base, end);
  if (at != NULL) {
    begin_change_locked();
    hak_store_release(&range->extent.kind, HAK_EXTENT_EXTERNAL);
    hak_store_release(&range->extent.block, memory);
    hak_store_release(&range->extent.size, size);
    hak_store_release(&range->next, hak_load_relaxed(at));
    hak_store_release(at, range);
    for (uintptr_t unit = first_unit(base); unit < end; unit += HAK_SUPERSLAB_SIZE) {
      hak_external_range_link_t *lowest = hak_registry_external(unit);
      hak_external_range_t *other = hak_load_relaxed(lowest);
      if (other == NULL || base_of(other) > base) hak_store_release(lowest, range);
    }
    end_change_locked();
  }
  hak_lock_release(&lock);
  return at != NULL ? 0 : EINVAL;
}

void hak_external_range_remove(hak_external_range_t *range) {
  hak_lock_acquire(&lock);
  uintptr_t base = base_of(range), end = end_of(range);
  hak_external_range_t *next = hak_load_relaxed(&range->next);
  hak_external_range_link_t *at = &first;
  while (hak_load_relaxed(at) != range) at = &hak_load_relaxed(at)->next;
  begin_change_locked();
  hak_store_release(at, next);
  for (uintptr_t unit = first_unit(base); unit < end; unit += HAK_SUPERSLAB_SIZE) {
    hak_external_range_link_t *lowest = hak_registry_external(unit);
    if (hak_load_relaxed(lowest) != range) continue;
    bool shared = next != NULL && base_of(next) < unit + HAK_SUPERSLAB_SIZE;
    hak_store_release(lowest, shared ? next : NULL);
  }
  hak_store_release(&range->extent.size, 0);
  end_change_locked();
  hak_lock_release(&lock);
}

void hak_external_ranges_stop(void) { hak_store_relaxed(&first, NULL); }
