#include "superslab/region_release.h"

#include "base/wait.h"
#include "os/reservation.h"
#include "pages/meta.h"
#include "pages/registry.h"
#include "superslab/huge.h"
#include "superslab/region_growth.h"

/* True if no thread gives pages of one of the region's SuperSlabs back at this moment.
 * All others are in the map but for those that a fork has lost. */
static bool is_quiet_locked(hak_region_t *region) {
  hak_lock_assert_held(&hak_regions.lock);
  if (region->free_count == region->count) return true;
  for (uint32_t i = 0; i < hak_region_ready(region); i++) {
    if (region->superslabs[i].purging != NULL) return false;
  }
  return true;
}

/* Takes all SuperSlabs of the region out of the map, for good. */
static HAK_SLOW void empty_locked(hak_region_t *region) {
  hak_lock_assert_held(&hak_regions.lock);
  hak_regions.in_use -= region->count - region->free_count;
  for (uint32_t i = 0; i < region->count; i++) {
    bool ready = i < hak_region_ready(region);
    hak_superslab_t *ss = &region->superslabs[i];
    if (hak_region_is_free(region, i)) {
      hak_region_set_free(region, i, false);
      if (ready && ss->queue != NULL) hak_superslab_dequeue(ss);
      if (ready) hak_superslab_take_locked(&hak_regions.lock, ss, 0, HAK_SUPERSLAB_SLABS);
    }
    if (ready) hak_superslab_forget(ss);
  }
  region->free_count = region->count = 0;
  hak_store_relaxed(&region->ready, 0);
}

/* Takes the region out of use. The range passes to what is being released under the same
 * hold of the lock as the last look at it, so that nobody comes in between: a fork finds
 * it here or there. */
static HAK_SLOW hak_os_note_t *take_down_locked(hak_region_t *region) {
  hak_lock_assert_held(&hak_regions.lock);
  uintptr_t base = (uintptr_t)region->base;
  hak_registry_set_extent(base, (size_t)region->count << HAK_SUPERSLAB_SHIFT, NULL);
  hak_huge_end_region_locked(region);
  empty_locked(region);
  hak_sub_relaxed(&hak_regions_reserved, region->size);
  hak_os_note_t *note = hak_os_release_begin(region->os, region->start, region->size);
  region->start = NULL;
  region->os = NULL;
  region->reviving = true; /* until end_down */
  region->gone = hak_load_relaxed(&hak_regions.readers.turn);
  return note;
}

/* Somebody may be at records of regions. Readers who come later are at those of what they
 * find ready. */
static bool is_looked_at_locked(void) {
  hak_lock_assert_held(&hak_regions.lock);
  return !hak_readers_none(&hak_regions.readers);
}

/* Gives back the pages of the records of SuperSlabs, but for those that they share with
 * the region's. Whoever comes late reads of SuperSlabs that nobody has. */
static HAK_SLOW size_t purge_records(hak_region_t *region) {
  enum {
    PAGE = 4096
  };
  uintptr_t records = (uintptr_t)region->superslabs;
  uintptr_t from = hak_align_up(records, PAGE);
  uintptr_t end = records + region->records * sizeof(hak_superslab_t);
  end = hak_align_down(end, PAGE);
  bool ok = end > from && hak_os_may_give() &&
            hak_meta_purge(hak_registry_os(), (void *)from, end - from);
  return ok ? end - from : 0;
}

/* The rest of what take_down_locked began, for which the region's record is needed. */
static HAK_SLOW void end_down(hak_region_t *region, hak_os_note_t *note) {
  /* Memory of the caller's has no guards. */
  size_t size = region->size == 0 ? 0 : region->size - 2 * HAK_REGION_GUARD;
  /* Before the range goes, and the next one there may be somebody's. */
  hak_registry_purge((uintptr_t)region->base, size);
  hak_os_release_end(note);
  /* The region of a heap that ends is taken down beside visitors and readers too, who may
   * be at its records. Those who come from now on find no SuperSlab ready. */
  hak_lock_acquire(&hak_regions.lock);
  bool alone = !is_looked_at_locked();
  hak_lock_release(&hak_regions.lock);
  size_t bare = alone ? purge_records(region) : 0;
  hak_lock_acquire(&hak_regions.lock);
  region->bare = bare;
  region->reviving = false;
  hak_lock_release(&hak_regions.lock);
}

/* --- the process's hooks ----------------------------------------------------------- */

/* Nothing of the region is in use, nor has been since `before`; only if `pages` may pages
 * be left. */
static bool is_idle_locked(hak_region_t *region, uint64_t before, bool pages) {
  hak_lock_assert_held(&hak_regions.lock);
  if (region->os != hak_registry_os() || region->free_count < region->count) return false;
  for (uint32_t i = 0; i < hak_region_ready(region); i++) {
    hak_superslab_t *ss = &region->superslabs[i];
    if (ss->idle_since > before || (hak_superslab_retained(ss) != 0 && !pages))
      return false;
  }
  return true;
}

/* Free SuperSlabs of all regions over the process's hooks. */
static uint64_t free_locked(void) {
  hak_lock_assert_held(&hak_regions.lock);
  uint64_t count = 0;
  for (hak_region_t *region = hak_region_first(); region != NULL;
       region = hak_region_next(region)) {
    if (region->os == hak_registry_os()) count += region->free_count;
  }
  return count;
}

/* The youngest region before `next` (of all if NULL) whose SuperSlabs are all free and
 * can be spared; NULL if there is none. To know more of it takes a look at each of them.
 */
static hak_region_t *last_free_locked(const hak_region_t *next, uint64_t spare) {
  hak_lock_assert_held(&hak_regions.lock);
  hak_region_t *last = NULL;
  for (hak_region_t *region = hak_region_first(); region != next && region != NULL;
       region = hak_region_next(region)) {
    if (region->count <= spare && region->free_count == region->count) last = region;
  }
  return last;
}

/* The youngest region that may go, taken down; NULL if none may. */
static HAK_SLOW hak_region_t *take_down_one(uint64_t before, bool all,
                                            hak_os_note_t **note) {
  hak_lock_acquire(&hak_regions.lock);
  uint64_t keep = all ? 0 : hak_region_next_size_locked() >> HAK_SUPERSLAB_SHIFT;
  uint64_t have = is_looked_at_locked() ? 0 : free_locked();
  hak_region_t *last = NULL;
  if (have > keep) last = last_free_locked(NULL, have - keep);
  while (last != NULL && !is_idle_locked(last, before, all)) {
    last = last_free_locked(last, have - keep);
  }
  if (last != NULL) *note = take_down_locked(last);
  hak_lock_release(&hak_regions.lock);
  return last;
}

HAK_SLOW bool hak_region_release(uint64_t before) {
  hak_os_note_t *note;
  hak_region_t *region = NULL;
  if (hak_os_may_give()) region = take_down_one(before, false, &note);
  if (region != NULL) end_down(region, note);
  return region != NULL;
}

HAK_SLOW void hak_regions_release_all(void) {
  hak_os_note_t *note;
  hak_region_t *region;
  while (hak_os_may_give() && (region = take_down_one(UINT64_MAX, true, &note)) != NULL) {
    end_down(region, note);
  }
}

/* --- a heap's own hooks ------------------------------------------------------------ */

/* In the child of a fork a SuperSlab may be left that a lost thread had and the hooks did
 * not take back: it is charged until its region goes. */
static void uncharge_lost_locked(hak_region_t *region) {
  hak_lock_assert_held(&hak_regions.lock);
  for (uint32_t i = 0; i < hak_region_ready(region); i++) {
    hak_superslab_uncharge_all(&region->superslabs[i], 1);
  }
}

static HAK_SLOW hak_os_note_t *end_own(hak_region_t *region) {
  unsigned rounds = 0;
  hak_lock_acquire(&hak_regions.lock);
  while (!is_quiet_locked(region)) {
    hak_lock_release(&hak_regions.lock);
    hak_wait_step(&rounds);
    hak_lock_acquire(&hak_regions.lock);
  }
  uncharge_lost_locked(region);
  hak_os_note_t *note = take_down_locked(region);
  hak_lock_release(&hak_regions.lock);
  return note;
}

void hak_regions_end(const hak_os_t *os) {
  hak_region_t *region = hak_region_first();
  for (; region != NULL; region = hak_region_next(region)) {
    hak_lock_acquire(&hak_regions.lock);
    bool its = region->os == os;
    hak_lock_release(&hak_regions.lock);
    if (its) end_down(region, end_own(region));
  }
}
