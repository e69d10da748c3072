#include "superslab/region.h"

#include "base/check.h"
#include "base/event.h"
#include "base/option.h"
#include "os/reservation.h"
#include "pages/clock.h"
#include "superslab/clean.h"
#include "superslab/huge.h"
#include "superslab/region_growth.h"

/* Makes the records of the first `count` SuperSlabs where they are not made. */
static void make_ready_locked(hak_region_t *region, uint32_t count) {
  hak_lock_assert_held(&hak_regions.lock);
  if (hak_region_ready(region) >= count) return;
  hak_region_init_records(region, hak_region_ready(region), count, region->base,
                          region->os);
  /* Release: pairs with hak_region_visit, which reads the records. */
  hak_store_release(&region->ready, count);
}

/* Names the owner of a run that was taken out of its region's map, and lets go of the
 * lock. */
static void hand_out_locked(hak_superslab_t *ss, uint32_t count, hak_extent_kind_t kind,
                            void *heap) {
  hak_lock_assert_held(&hak_regions.lock);
  hak_superslab_take_all_locked(&hak_regions.lock, ss, count);
  for (uint32_t i = 0; i < count; i++) {
    hak_store_relaxed(&ss[i].extent.heap, heap);
    hak_store_relaxed(&ss[i].extent.block, NULL);
    /* Release: pairs with visitors, who read where the SuperSlab lies if it is
     * somebody's; that may be new as well. */
    hak_store_release(&ss[i].extent.kind, kind);
  }
  hak_lock_release(&hak_regions.lock);
  for (uint32_t i = 0; i < count; i++) {
    hak_registry_set_unit((uintptr_t)ss[i].extent.base, &ss[i].extent);
  }
}

static void tell_new(const hak_superslab_t *ss, uint32_t count) {
  hak_event_emit(HAK_EVENT_SUPERSLAB_NEW, ss->extent.base,
                 (size_t)count << HAK_SUPERSLAB_SHIFT);
}

/* What a run is to be like. */
typedef struct wish {
  const hak_os_t *os;
  uint32_t count;
  size_t alignment;
} wish_t;

/* Takes the lowest such run out of the map of the oldest region that has one, whose
 * place there is *at; NULL if none has. */
static hak_region_t *take_locked(const wish_t *wish, uint32_t *at) {
  hak_lock_assert_held(&hak_regions.lock);
  for (hak_region_t *region = hak_region_first(); region != NULL;
       region = hak_region_next(region)) {
    if (region->os != wish->os) continue;
    *at = hak_region_find_run(region, wish->count, wish->alignment);
    if (*at >= region->count) continue;
    hak_region_take_run_locked(region, *at, wish->count);
    return region;
  }
  return NULL;
}

/* Takes such a run out of a new region, if others that came here first have not made
 * one that will do. Called and returns with the lock held, which it drops. */
static hak_region_t *take_new_locked(const wish_t *wish, uint32_t *at) {
  hak_lock_assert_held(&hak_regions.lock);
  hak_lock_release(&hak_regions.lock);
  hak_turn_t *turn = hak_region_turn(wish->os);
  hak_lock_acquire(&hak_regions.lock);
  hak_region_t *region = take_locked(wish, at);
  if (region == NULL && hak_region_grow_locked(wish->os, wish->count, wish->alignment)) {
    region = take_locked(wish, at);
  }
  hak_lock_release(&hak_regions.lock);
  hak_turn_give(turn, turn != NULL);
  hak_lock_acquire(&hak_regions.lock);
  return region;
}

static hak_superslab_t *acquire(const wish_t *wish, hak_extent_kind_t kind, void *heap,
                                bool no_grow) {
  uint32_t at = 0, count = wish->count;
  hak_lock_acquire(&hak_regions.lock);
  hak_region_t *region = take_locked(wish, &at);
  if (region == NULL && !no_grow && !hak_os_is_barred()) {
    region = take_new_locked(wish, &at);
  }
  if (region == NULL) {
    hak_lock_release(&hak_regions.lock);
    return NULL;
  }
  make_ready_locked(region, at + count);
  hak_superslab_t *ss = &region->superslabs[at];
  hand_out_locked(ss, count, kind, heap);
  tell_new(ss, count);
  return ss;
}

hak_superslab_t *hak_region_acquire(const hak_os_t *os, uint32_t count, size_t alignment,
                                    hak_extent_kind_t kind, void *heap, bool no_grow) {
  return acquire(&(wish_t){os, count, alignment}, kind, heap, no_grow);
}

hak_superslab_t *hak_region_acquire_committed(const hak_os_t *os, void *heap,
                                              unsigned span, size_t alignment,
                                              size_t pages) {
  enum {
    LOOKS = 64
  };
  hak_lock_acquire(&hak_regions.lock);
  hak_superslab_t *ss = hak_regions.retained.last;
  int looks = 0;
  while (ss != NULL && looks < LOOKS &&
         (ss->extent.os != os ||
          hak_superslab_find(ss, HAK_ALL_SLOTS, span, alignment, pages) < 0)) {
    looks++;
    ss = ss->prev;
  }
  if (ss == NULL || looks == LOOKS) {
    hak_lock_release(&hak_regions.lock);
    return NULL;
  }
  hak_region_take_run_locked(hak_region_of(ss), hak_superslab_index(ss), 1);
  hand_out_locked(ss, 1, HAK_EXTENT_SLABS, heap);
  tell_new(ss, 1);
  return ss;
}

HAK_SLOW hak_superslab_t *hak_region_take_one(const hak_os_t *os,
                                              hak_extent_kind_t kind) {
  uint32_t at;
  hak_lock_acquire(&hak_regions.lock);
  hak_region_t *region = take_locked(&(wish_t){os, 1, HAK_SUPERSLAB_SIZE}, &at);
  if (region == NULL) {
    hak_lock_release(&hak_regions.lock);
    return NULL;
  }
  hand_out_locked(&region->superslabs[at], 1, kind, NULL);
  return &region->superslabs[at];
}

static void give_locked(hak_superslab_t *ss, uint32_t count, uint64_t now) {
  hak_lock_assert_held(&hak_regions.lock);
  for (uint32_t i = 0; i < count; i++) {
    hak_store_relaxed(&ss[i].extent.kind, HAK_EXTENT_FREE);
    hak_store_relaxed(&ss[i].extent.heap, NULL);
  }
  hak_superslab_uncharge_all(ss, count);
  hak_superslab_put_all_locked(&hak_regions.lock, ss, count, now);
  hak_region_untake_run_locked(hak_region_of(ss), hak_superslab_index(ss), count);
}

hak_atomic_u64_t hak_regions_given;

void hak_region_give(hak_superslab_t *ss, uint32_t count, uint64_t now) {
  hak_lock_acquire(&hak_regions.lock);
  give_locked(ss, count, now);
  if (hak_superslab_retained(ss) != 0) hak_count_own(&hak_regions_given, 1);
  hak_lock_release(&hak_regions.lock);
}

/* Gives pages of a free SuperSlab back, which the caller has taken: `most` bytes, or up
 * to a slab more, from the front. */
static size_t purge_front(hak_superslab_t *ss, size_t most) {
  unsigned first = 0;
  size_t got = 0;
  while (first < HAK_SUPERSLAB_SLABS && got < most) {
    unsigned n = HAK_SUPERSLAB_SLABS - first;
    size_t left = most - got;
    if (left < (size_t)n << HAK_SLAB_SHIFT) {
      n = (unsigned)hak_div_up(left, HAK_SLAB_SIZE);
    }
    hak_huge_before_slots_go(ss, hak_mask32(first, n));
    got += hak_superslab_purge(ss, first, n);
    first += n;
  }
  return got;
}

static size_t purge(uint64_t before, size_t max_bytes, size_t *slabs, bool huge_whole) {
  enum {
    REFUSALS = 512 /* that a call takes: do not go round for ever */
  };
  size_t given = 0;
  uint32_t refusals = 0;
  hak_lock_acquire(&hak_regions.lock);
  while (given < max_bytes && *slabs >= HAK_SUPERSLAB_SLABS) {
    hak_superslab_t *ss = hak_regions.retained.first;
    if (ss == NULL || ss->idle_since > before) break;
    uint64_t idle_since = ss->idle_since;
    hak_region_take_run_locked(hak_region_of(ss), hak_superslab_index(ss), 1);
    hak_superslab_take_locked(&hak_regions.lock, ss, 0, HAK_SUPERSLAB_SLABS);
    ss->purging = hak_os_self();
    hak_lock_release(&hak_regions.lock);
    *slabs -= HAK_SUPERSLAB_SLABS;
    bool whole = huge_whole && hak_superslab_is_huge(ss);
    size_t got = purge_front(ss, whole ? HAK_SUPERSLAB_SIZE : max_bytes - given);
    given += got;
    if (got > 0) {
      hak_event_emit(HAK_EVENT_SUPERSLAB_RELEASE, ss->extent.base, HAK_SUPERSLAB_SIZE);
      hak_event_emit(HAK_EVENT_PURGE, ss->extent.base, got);
    }
    hak_lock_acquire(&hak_regions.lock);
    ss->purging = NULL;
    /* What hooks refuse is not to be in the way of what others would take. */
    if (got == 0) idle_since = hak_clock_cached();
    hak_superslab_put_locked(&hak_regions.lock, ss, 0, HAK_SUPERSLAB_SLABS, idle_since);
    hak_region_untake_run_locked(hak_region_of(ss), hak_superslab_index(ss), 1);
    if (got == 0 && ++refusals == REFUSALS) break;
  }
  hak_lock_release(&hak_regions.lock);
  return given;
}

size_t hak_region_purge(uint64_t before, size_t max_bytes, size_t *slabs) {
  return purge(before, max_bytes, slabs, false);
}

size_t hak_region_purge_whole(uint64_t before, size_t max_bytes, size_t *slabs) {
  return purge(before, max_bytes, slabs, true);
}

uint64_t hak_region_oldest(void) {
  hak_lock_acquire(&hak_regions.lock);
  const hak_superslab_t *oldest = hak_regions.retained.first;
  uint64_t since = oldest == NULL ? UINT64_MAX : oldest->idle_since;
  hak_lock_release(&hak_regions.lock);
  return since;
}

void hak_region_visit(bool (*visit)(hak_superslab_t *ss, void *ctx), void *ctx) {
  uint64_t entered = hak_readers_enter(&hak_regions.readers);
  bool go_on = true;
  for (hak_region_t *region = hak_region_first(); region != NULL && go_on;
       region = hak_region_next(region)) {
    uint32_t ready = hak_load_acquire(&region->ready);
    for (uint32_t i = 0; i < ready && go_on; i++) {
      go_on = visit(&region->superslabs[i], ctx);
    }
  }
  hak_readers_leave(&hak_regions.readers, entered);
}

/* A SuperSlab is out of the map because a lost thread was giving its pages back. True
 * if it is to go back there. */
static HAK_SLOW bool mend_purged(hak_superslab_t *ss, bool inside, uint64_t *lost) {
  hak_superslab_mend(ss);
  uint64_t bytes = inside ? hak_superslab_committed(ss)
                          : hak_superslab_purge_lost(ss, 0, HAK_SUPERSLAB_SLABS);
  *lost += bytes;
  ss->purging = NULL;
  return !inside && bytes == 0;
}

static HAK_SLOW void put_back(hak_region_t *region, uint32_t i) {
  hak_superslab_t *ss = &region->superslabs[i];
  hak_lock_acquire(&hak_regions.lock);
  if (i < hak_region_ready(region) && hak_superslab_free(ss) != HAK_ALL_SLOTS) {
    hak_superslab_put_locked(&hak_regions.lock, ss, 0, HAK_SUPERSLAB_SLABS,
                             ss->idle_since);
  }
  hak_region_untake_run_locked(region, i, 1);
  hak_lock_release(&hak_regions.lock);
}

HAK_SLOW uint64_t hak_regions_recover(bool inside) {
  uint64_t lost = 0;
  for (hak_region_t *region = hak_region_first(); region != NULL;
       region = hak_region_next(region)) {
    if (region->os == NULL) continue; /* an empty record, which somebody was filling */
    for (uint32_t i = 0; i < region->count; i++) {
      hak_superslab_t *ss = &region->superslabs[i];
      bool ready = i < hak_region_ready(region);
      if (hak_region_is_free(region, i) ||
          (ready && (hak_load_relaxed(&ss->extent.kind) != HAK_EXTENT_FREE ||
                     ss->purging == hak_os_self()))) {
        continue;
      }
      /* If it is not ready, a lost thread waited for its record, and would have had it.
       */
      bool taken = ready && hak_superslab_free(ss) != HAK_ALL_SLOTS;
      if (!taken || mend_purged(ss, inside, &lost)) put_back(region, i);
    }
  }
  return lost;
}

void hak_regions_forget_others(void) {
  hak_turn_forget_others(&hak_regions.growing);
  hak_turn_forget_others(&hak_regions.growing_own);
  hak_readers_reset(&hak_regions.readers);
}

HAK_SLOW bool hak_regions_are_valid(void) {
  bool valid = true;
  hak_lock_acquire(&hak_regions.lock);
  uint32_t in_use = 0;
  for (hak_region_t *region = hak_region_first(); region != NULL;
       region = hak_region_next(region)) {
    if (region->os == NULL) continue;
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

HAK_SLOW const void *hak_regions_find_written(void) {
  if (HAK_CHECKS < 3) return NULL;
  const void *found = NULL;
  hak_lock_acquire(&hak_regions.lock);
  for (hak_region_t *region = hak_region_first(); region != NULL && found == NULL;
       region = hak_region_next(region)) {
    uint32_t ready = region->os == NULL ? 0 : hak_region_ready(region);
    for (uint32_t i = 0; i < ready && found == NULL; i++) {
      if (!hak_region_is_free(region, i)) continue;
      found = hak_clean_find(&region->superslabs[i], HAK_ALL_SLOTS);
    }
  }
  hak_lock_release(&hak_regions.lock);
  return found;
}

HAK_SLOW void hak_regions_stop(void) {
  for (hak_region_t *region = hak_region_first(); region != NULL;) {
    hak_region_t *next = hak_region_next(region);
    hak_lock_acquire(&hak_regions.lock);
    hak_huge_end_region_locked(region);
    hak_lock_release(&hak_regions.lock);
    /* One that names a range and no hooks was being filled in by a thread that a fork has
     * lost. */
    if (region->os != NULL) {
      hak_sub_relaxed(&hak_regions_reserved, region->size);
      hak_os_release(region->os, region->start, region->size);
    }
    region = next;
  }
  hak_store_relaxed(&hak_regions.first, NULL);
  hak_regions.last = NULL;
  hak_regions.in_use = 0;
  hak_regions.retained = (hak_superslab_queue_t){NULL, NULL};
}
