#include "superslab/region.h"

#include <sched.h>

#include "base/check.h"
#include "base/event.h"
#include "base/option.h"
#include "superslab/region_map.h"
#include "superslab/region_new.h"

hak_regions_t hak_regions = {.lock = HAK_LOCK_INIT(HAK_RANK_REGIONS)};
hak_atomic_u64_t hak_regions_reserved, hak_regions_head_committed;

/* Makes the records of the first `count` SuperSlabs usable; called and returns
 * with the lock held, which it drops for the OS. */
static bool ready_records(hak_region_t *region, uint32_t count) {
  while (hak_region_ready(region) < count) {
    size_t need = (size_t)((char *)&region->superslabs[count] - (char *)region);
    size_t have = region->head_committed;
    if (region->records == 0 && have < need) {
      size_t want = hak_align_up(need, region->os->page_size) - have;
      bool zeroed;
      hak_lock_release(&hak_regions.lock);
      bool ok = hak_os_commit(region->os, (char *)region + have, want, &zeroed);
      if (ok && !zeroed) __builtin_memset((char *)region + have, 0, want);
      hak_lock_acquire(&hak_regions.lock);
      if (!ok) return false;
      region->head_committed = have + want;
      hak_add_relaxed(&hak_regions_head_committed, want);
    }
    hak_region_init_records(region, hak_region_ready(region), count, region->base,
                            region->os);
    /* Release: pairs with hak_region_visit, which reads the records. */
    hak_store_release(&region->ready, count);
  }
  return true;
}

/* Of a run that was taken out of its region's map: names its owner and lets go of the
 * lock. */
static void hand_out(hak_superslab_t *ss, uint32_t count, hak_extent_kind_t kind,
                     void *heap) {
  hak_superslab_take_all_locked(ss, count);
  for (uint32_t i = 0; i < count; i++) {
    hak_store_relaxed(&ss[i].extent.heap, heap);
    hak_store_relaxed(&ss[i].extent.block, NULL);
    hak_store_relaxed(&ss[i].extent.kind, kind);
  }
  hak_lock_release(&hak_regions.lock);
  for (uint32_t i = 0; i < count; i++) {
    hak_registry_set_extent((uintptr_t)ss[i].extent.base, HAK_SUPERSLAB_SIZE,
                            &ss[i].extent);
  }
  hak_event_emit(HAK_EVENT_SUPERSLAB_NEW, ss->extent.base,
                 (size_t)count << HAK_SUPERSLAB_SHIFT);
}

static hak_superslab_t *acquire(const hak_os_t *os, uint32_t count, size_t alignment,
                                hak_extent_kind_t kind, void *heap, bool small,
                                bool no_grow) {
  hak_region_t *region;
  uint32_t at = 0;
  hak_lock_acquire(&hak_regions.lock);
  for (bool grown = false;; grown = true) {
    for (region = hak_region_first(); region != NULL; region = hak_region_next(region)) {
      if (region->os != os || region->small != (small && hak_region_is_common(os)))
        continue;
      at = hak_region_find_run(region, count, alignment);
      if (at < region->count) break;
    }
    if (region != NULL) break;
    if (no_grow || grown || !hak_region_grow_locked(os, count, alignment, small)) {
      hak_lock_release(&hak_regions.lock);
      return NULL;
    }
  }
  hak_region_take_run_locked(region, at, count);
  /* Committing records drops the lock; one thread at a time does it. */
  while (hak_region_ready(region) < at + count && hak_regions.readying) {
    hak_lock_release(&hak_regions.lock);
    hak_cpu_relax();
    hak_lock_acquire(&hak_regions.lock);
  }
  if (hak_region_ready(region) < at + count) {
    bool ok = !no_grow;
    if (ok) {
      hak_regions.readying = true;
      ok = ready_records(region, at + count);
      hak_regions.readying = false;
    }
    if (!ok) {
      hak_region_untake_run_locked(region, at, count);
      hak_lock_release(&hak_regions.lock);
      return NULL;
    }
  }
  hak_superslab_t *ss = &region->superslabs[at];
  hand_out(ss, count, kind, heap);
  return ss;
}

hak_superslab_t *hak_region_acquire(const hak_os_t *os, uint32_t count, size_t alignment,
                                    hak_extent_kind_t kind, void *heap, bool no_grow) {
  return acquire(os, count, alignment, kind, heap, false, no_grow);
}

hak_superslab_t *hak_region_acquire_small(const hak_os_t *os, uint32_t count,
                                          size_t alignment, hak_extent_kind_t kind,
                                          void *heap, bool no_grow) {
  return acquire(os, count, alignment, kind, heap, true, no_grow);
}

hak_superslab_t *hak_region_acquire_committed(const hak_os_t *os, void *heap,
                                              unsigned slots) {
  enum {
    LOOKS = 64
  };
  hak_lock_acquire(&hak_regions.lock);
  hak_superslab_t *ss = hak_regions.retained.last;
  int looks = 0;
  while (ss != NULL && looks < LOOKS &&
         (ss->extent.os != os || hak_longest_run(hak_load_relaxed(&ss->whole)) < slots)) {
    looks++;
    ss = ss->prev;
  }
  if (ss == NULL || looks == LOOKS) {
    hak_lock_release(&hak_regions.lock);
    return NULL;
  }
  hak_region_take_run_locked(ss->region, ss->index, 1);
  hand_out(ss, 1, HAK_EXTENT_SLABS, heap);
  return ss;
}

static void give_locked(hak_superslab_t *ss, uint32_t count, uint64_t now) {
  for (uint32_t i = 0; i < count; i++) {
    hak_store_relaxed(&ss[i].extent.kind, HAK_EXTENT_FREE);
    hak_store_relaxed(&ss[i].extent.heap, NULL);
  }
  hak_superslab_uncharge_all(ss, count);
  hak_superslab_put_all_locked(ss, count, now);
  hak_region_untake_run_locked(ss->region, ss->index, count);
}

void hak_region_give(hak_superslab_t *ss, uint32_t count, uint64_t now) {
  hak_lock_acquire(&hak_regions.lock);
  give_locked(ss, count, now);
  hak_lock_release(&hak_regions.lock);
}

size_t hak_region_purge(uint64_t before, size_t max_bytes, size_t *slabs) {
  size_t given = 0;
  hak_lock_acquire(&hak_regions.lock);
  while (given < max_bytes && *slabs >= HAK_SUPERSLAB_SLABS) {
    hak_superslab_t *ss = hak_regions.retained.first;
    if (ss == NULL || ss->idle_since > before) break;
    uint64_t idle_since = ss->idle_since;
    hak_region_take_run_locked(ss->region, ss->index, 1);
    hak_superslab_take_locked(ss, 0, HAK_SUPERSLAB_SLABS);
    hak_lock_release(&hak_regions.lock);
    *slabs -= HAK_SUPERSLAB_SLABS;
    unsigned first = 0;
    size_t got = 0;
    /* Within one slab of the bound, from the front. */
    while (first < HAK_SUPERSLAB_SLABS && given + got < max_bytes) {
      unsigned n = HAK_SUPERSLAB_SLABS - first;
      size_t left = max_bytes - given - got;
      if (left < (size_t)n << HAK_SLAB_SHIFT) {
        n = (unsigned)hak_div_up(left, HAK_SLAB_SIZE);
      }
      got += hak_superslab_purge(ss, first, n);
      first += n;
    }
    given += got;
    if (got > 0) {
      hak_event_emit(HAK_EVENT_SUPERSLAB_RELEASE, ss->extent.base, HAK_SUPERSLAB_SIZE);
      hak_event_emit(HAK_EVENT_PURGE, ss->extent.base, got);
    }
    hak_lock_acquire(&hak_regions.lock);
    hak_superslab_put_locked(ss, 0, HAK_SUPERSLAB_SLABS, idle_since);
    hak_region_untake_run_locked(ss->region, ss->index, 1);
    if (got == 0) break; /* the OS refuses: do not go round for ever */
  }
  hak_lock_release(&hak_regions.lock);
  return given;
}

void hak_region_visit(bool (*visit)(hak_superslab_t *ss, void *ctx), void *ctx) {
  for (hak_region_t *region = hak_region_first(); region != NULL;
       region = hak_region_next(region)) {
    uint32_t ready = hak_load_acquire(&region->ready);
    for (uint32_t i = 0; i < ready; i++) {
      if (!visit(&region->superslabs[i], ctx)) return;
    }
  }
}

/* All its SuperSlabs are out of the map, for good. Another thread that gives pages of
 * one back is done with it soon; if not, it is in the parent of a fork. */
static bool empty_locked(hak_region_t *region) {
  enum {
    TRIES = 100000
  };
  for (int i = 0; region->free_count < region->count; i++) {
    if (i == TRIES) return false;
    hak_lock_release(&hak_regions.lock);
    sched_yield();
    hak_lock_acquire(&hak_regions.lock);
  }
  hak_region_take_run_locked(region, 0, region->count);
  hak_regions.in_use -= region->count;
  for (uint32_t i = 0; i < hak_region_ready(region); i++) {
    hak_superslab_take_locked(&region->superslabs[i], 0, HAK_SUPERSLAB_SLABS);
    hak_superslab_forget(&region->superslabs[i]);
  }
  return true;
}

static void end_own(hak_region_t *region) {
  uintptr_t base = (uintptr_t)region->base;
  hak_registry_set_extent(base, (size_t)region->count << HAK_SUPERSLAB_SHIFT, NULL);
  hak_sub_relaxed(&hak_regions_reserved, region->size);
  hak_os_release(region->os, region->start, region->size);
  hak_lock_acquire(&hak_regions.lock);
  hak_store_relaxed(&region->ready, 0);
  region->count = 0;
  region->start = NULL;
  region->os = NULL;
  hak_lock_release(&hak_regions.lock);
}

bool hak_regions_end(const hak_os_t *os) {
  bool all = true;
  hak_region_t *region = hak_region_first();
  for (; region != NULL; region = hak_region_next(region)) {
    hak_lock_acquire(&hak_regions.lock);
    bool its = region->os == os, empty = its && empty_locked(region);
    hak_lock_release(&hak_regions.lock);
    if (empty) end_own(region);
    all = all && its == empty;
  }
  return all;
}

bool hak_regions_are_valid(void) {
  bool valid = true;
  hak_lock_acquire(&hak_regions.lock);
  uint32_t in_use = 0;
  for (hak_region_t *region = hak_region_first(); region != NULL;
       region = hak_region_next(region)) {
    uint32_t free_count = 0;
    for (uint32_t i = 0; i < region->count; i++) {
      bool free = hak_region_is_free(region, i);
      free_count += free;
      if (i >= hak_region_ready(region)) continue;
      hak_superslab_t *ss = &region->superslabs[i];
      if (free &&
          (hak_load_relaxed(&ss->extent.kind) != HAK_EXTENT_FREE ||
           hak_superslab_free(ss) != HAK_ALL_SLOTS || !hak_superslab_is_valid(ss))) {
        valid = false;
      }
    }
    if (free_count != region->free_count) valid = false;
    in_use += region->count - free_count;
  }
  if (in_use != hak_regions.in_use) valid = false;
  hak_lock_release(&hak_regions.lock);
  return valid;
}

void hak_regions_release(void) {
  for (hak_region_t *region = hak_region_first(); region != NULL;) {
    hak_region_t *next = hak_region_next(region);
    hak_sub_relaxed(&hak_regions_reserved, region->start == NULL ? 0 : region->size);
    hak_sub_relaxed(&hak_regions_head_committed, region->head_committed);
    if (region->start != NULL) hak_os_release(region->os, region->start, region->size);
    region = next;
  }
  hak_store_relaxed(&hak_regions.first, NULL);
  hak_regions.last = NULL;
  hak_regions.next_size = 0;
  hak_store_relaxed(&hak_regions.has_common, 0);
  hak_regions.in_use = 0;
  hak_regions.retained = (hak_superslab_queue_t){NULL, NULL};
}
