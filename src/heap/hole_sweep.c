#include "heap/hole_sweep.h"

#include "base/option.h"
#include "base/sys.h"
#include "heap/heap.h"
#include "heap/kind.h"
#include "heap/thread_cache.h"
#include "os/os.h"
#include "pages/clock.h"
#include "pages/idle.h"
#include "superslab/pool_prefault.h"
#include "tiny/capacity.h"
#include "tiny/hold.h"

#define NS_PER_US ((uint64_t)1000)
#define PERIOD_LEAST_NS ((uint64_t)10000000) /* between two sweeps */

enum {
  PATIENCE_MOST = 16, /* half decays between two sweeps */
  PER_DECAY = 2,
  TURNS = 3 * HAK_SHARED_CLASSES /* of caches, before nothing is waited for */
};

static hak_atomic_ptr_t sweeper;  /* [any] hak_os_self of the thread that sweeps, and owns
                                     what follows; NULL */
static uint32_t at_heap;          /* [owner: who sweeps] the heap to go on with; 0, with
                                     at_class 0: a sweep begins */
static uint32_t at_class;         /* [owner: who sweeps] the class of it */
static hak_atomic_u32_t aged;     /* [any] 1: some of it is due the next time */
static hak_atomic_u32_t sweeps;   /* [any] so many were begun; written by who sweeps */
static hak_atomic_u64_t last_end; /* [any] ns; written by who sweeps */
static uint32_t in_vain;          /* [owner: who sweeps] sweeps that found nothing */
static hak_atomic_u32_t patience = 1; /* [any] half decays between two sweeps; written by
                                         who sweeps */
static uint32_t turned;               /* [owner: who sweeps] hak_idle_turned when one last
                                         found something */
static uint64_t unspent;              /* [owner: who sweeps] ns; see period */

/* By what the option is now. */
static uint64_t period(void) {
  uint64_t ns = hak_idle_decay() / PER_DECAY * hak_load_relaxed(&patience);
  return ns > PERIOD_LEAST_NS ? ns : PERIOD_LEAST_NS;
}

uint64_t hak_hole_sweep_due_in(void) {
  if (hak_load_relaxed(&hak_idle_others) == HAK_IDLE_NO_OTHERS ||
      hak_option(PURGE_HOLES) == 0) {
    return UINT64_MAX;
  }
  uint64_t passed = hak_clock_cached() - hak_load_relaxed(&last_end), wait = period();
  return passed < wait ? wait - passed : 0;
}

bool hak_hole_sweep_is_time(void) { return hak_hole_sweep_due_in() == 0; }

void hak_hole_sweep_forget(void) {
  hak_store_relaxed(&sweeper, NULL);
  hak_store_relaxed(&last_end, 0);
  at_heap = at_class = in_vain = 0;
  hak_store_relaxed(&patience, 1);
  unspent = 0;
}

/* Relaxed: the thread that swept is lost, or nobody else is there. A thread that forked
 * in a hook while it swept goes on with what is its own. */
void hak_hole_sweep_forget_lost(void) {
  const void *by = hak_load_relaxed(&sweeper);
  if (by != NULL && by != hak_os_self()) hak_hole_sweep_forget();
}

/* --- one heap ------------------------------------------------------------------------
 */

/* From the class `cls` on; false, and *cls is where to go on, if the bounds were reached.
 */
static bool sweep_classes(hak_thread_t *me, hak_heap_t *heap, uint32_t *cls,
                          hak_hole_bounds_t *bounds) {
  if (!hak_kind_has_thread_caches(heap) || !hak_holes_may_be(heap->store) ||
      hak_pool_keeps_some(&heap->store->pool)) {
    return true;
  }
  hak_cache_t bare = hak_cache_bare(me, heap);
  for (; *cls < HAK_SHARED_CLASSES; ++*cls) {
    if (!hak_holes_look(me, &bare, *cls, bounds)) return false;
  }
  return true;
}

void hak_hole_sweep_leased(hak_thread_t *me, hak_heap_t *heap,
                           hak_hole_bounds_t *bounds) {
  uint32_t cls = 0;
  if (hak_option(PURGE_HOLES) != 0) sweep_classes(me, heap, &cls, bounds);
}

/* A heap was passed: there may be thousands, none of which has anything. */
static bool is_over(hak_hole_bounds_t *bounds) {
  enum {
    HEAPS = 64 /* between two looks at the clock */
  };
  if (bounds->slabs > 0) bounds->slabs--;
  if (bounds->slabs == 0) return true;
  return bounds->end != 0 && at_heap % HEAPS == 0 && hak_sys_fine_ns() >= bounds->end;
}

/* A heap that somebody else works at is left to the next sweep. */
static bool sweep_heap(hak_thread_t *me, hak_heap_t *heap, hak_hole_bounds_t *bounds) {
  if (hak_load_relaxed(&heap->store->pool.superslabs) == 0) return true;
  if (!hak_heap_try_lease(heap)) {
    hak_store_relaxed(&aged, 1);
    return true;
  }
  bool done = !hak_heap_is_used(heap) || sweep_classes(me, heap, &at_class, bounds);
  hak_heap_unlease(heap);
  return done;
}

/* --- what a thread holds ---------------------------------------------------------------
 */

bool hak_hole_sweep_is_news(const hak_thread_t *me) {
  return me->sweep != (uint16_t)hak_load_relaxed(&sweeps) &&
         me->kind == HAK_THREAD_ATTACHED;
}

static void list_still(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (!hak_capacity_is_begun(cache, cls) || cache->holds[cls].first == NULL ||
      !hak_holes_may_be(cache->store)) {
    return;
  }
  if (hak_hold_list_still(me, cache, cls)) hak_store_relaxed(&aged, 1);
}

static void list_cache(hak_thread_cache_t *cache, void *ctx) {
  hak_heap_t *heap = cache->heap;
  if (hak_load_relaxed(&cache->heap_id) == NULL) return;
  if (!hak_heap_try_lease(heap)) {
    hak_store_relaxed(&aged, 1);
    return;
  }
  if (hak_load_relaxed(&cache->heap_id) != NULL && !hak_heap_is_orphan(heap)) {
    uint64_t rest = cache->begun[0] & (((uint64_t)1 << HAK_SHARED_CLASSES) - 1);
    for (; rest != 0; rest &= rest - 1) {
      list_still(ctx, &cache->cache, hak_lowest_bit(rest));
    }
  }
  hak_heap_unlease(heap);
}

/* One class of the default heap after the other, as far as time allows, then the rest,
 * some heaps in each call. */
static void list_held(hak_thread_t *me, uint64_t end) {
  hak_heap_t *heap = hak_heap_get_default();
  if (me->sweep_heap == 0) {
    if (!hak_heap_try_lease(heap)) return;
    bool late = false;
    for (; me->sweep_class < HAK_SHARED_CLASSES && !late; me->sweep_class++) {
      list_still(me, &me->cache, me->sweep_class);
      late = end != 0 && hak_sys_fine_ns() >= end;
    }
    hak_heap_unlease(heap);
    if (late) return;
  }
  me->sweep_class = 0;
  me->sweep_heap = hak_caches_visit_chunk(me, me->sweep_heap, list_cache, me);
  if (me->sweep_heap == 0) me->sweep = (uint16_t)hak_load_relaxed(&sweeps);
}

/* --- all heaps -----------------------------------------------------------------------
 */

static void begin(void) {
  hak_count_own(&sweeps, 1);
  hak_idle_set_others(HAK_IDLE_OTHERS_SEEN);
}

/* How long it is to the next sweep. What was needed again cost a call and a fault for
 * each page or so: if that was more than a twentieth of the time, it takes twice as long.
 * Of the twentieth what was not spent counts for later, as much as comes to be between
 * two sweeps at the most: so load that comes once in some seconds costs no patience. */
static void adapt(uint64_t now) {
  enum {
    PAGE = 4096,
    NS_PER_PAGE = 2000,
    SHARE = 20
  };
  uint64_t cost = hak_exchange_relaxed(&hak_holes_needed, 0) / PAGE * NS_PER_PAGE;
  uint64_t half = hak_idle_decay() / PER_DECAY, most = half * PATIENCE_MOST / SHARE;
  uint64_t may = unspent + (now - hak_load_relaxed(&last_end)) / SHARE;
  hak_store_relaxed(&last_end, now);
  unspent = cost > may ? 0 : may - cost < most ? may - cost : most;
  uint32_t halves = hak_load_relaxed(&patience);
  if (cost > may) {
    if (halves < PATIENCE_MOST) halves *= 2;
  } else if (halves > 1) {
    halves /= 2;
  }
  hak_store_relaxed(&patience, halves);
}

/* Threads look at what they hold after a sweep has begun, so one more is to find nothing
 * before there is nothing to wait for. And what they cache goes home class by class, by
 * turns that come with calls: what these leave in transfer caches has its turn after a
 * decay, and then the slabs are there to be looked at. */
static void end(void) {
  enum {
    IN_VAIN = 2
  };
  /* Relaxed: what comes in between is found once more comes. */
  uint32_t seen = HAK_IDLE_OTHERS_SEEN, now = hak_load_relaxed(&hak_idle_turned);
  bool any = hak_load_relaxed(&aged) != 0 || hak_load_relaxed(&hak_idle_others) != seen;
  hak_store_relaxed(&aged, 0);
  if (any) turned = now;
  in_vain = any ? 0 : in_vain + 1;
  if (in_vain >= IN_VAIN && now - turned >= TURNS &&
      hak_cas_relaxed(&hak_idle_others, &seen, HAK_IDLE_NO_OTHERS)) {
    hak_idle_look();
  }
  adapt(hak_clock_cached());
}

/* Goes on with the sweep, as far as the bounds say. */
static HAK_SLOW void sweep(hak_thread_t *me, hak_hole_bounds_t *bounds) {
  if (at_heap == 0 && at_class == 0) begin();
  while (at_heap < hak_heaps_made()) {
    hak_heap_t *heap = hak_heap_at(at_heap);
    bool done = heap == NULL || sweep_heap(me, heap, bounds);
    if (bounds->aged) hak_store_relaxed(&aged, 1);
    if (!done) return;
    at_heap++;
    at_class = 0;
    if (is_over(bounds)) return;
  }
  at_heap = at_class = 0;
  end();
}

/* Acquire and release pair with each other: one sweeper sees what the last one left. */
static bool try_begin(void) {
  void *none = NULL;
  return hak_load_relaxed(&sweeper) == NULL &&
         hak_cas_acquire(&sweeper, &none, (void *)hak_os_self());
}
static void leave(void) { hak_store_release(&sweeper, NULL); }

void hak_hole_sweep_step(hak_thread_t *me) {
  if (!hak_os_may_give()) return;
  uint64_t us = (uint64_t)hak_option(PURGE_CALL_US);
  hak_hole_bounds_t bounds = {.bytes = SIZE_MAX, .slabs = SIZE_MAX};
  if (us != 0) bounds.end = hak_sys_fine_ns() + us * NS_PER_US;
  if (hak_hole_sweep_is_news(me)) list_held(me, bounds.end);
  if (!hak_hole_sweep_is_time() || !try_begin()) return;
  sweep(me, &bounds);
  leave();
}

size_t hak_hole_sweep_due(hak_thread_t *me, size_t max_bytes, size_t *slabs) {
  if (max_bytes == 0 || *slabs == 0 || !hak_hole_sweep_is_time() || !try_begin())
    return 0;
  hak_hole_bounds_t bounds = {.bytes = max_bytes, .slabs = *slabs};
  turned =
      hak_load_relaxed(&hak_idle_turned) - TURNS; /* which calls like this do without */
  sweep(me, &bounds);
  leave();
  *slabs = bounds.slabs;
  return bounds.given;
}

size_t hak_hole_sweep_all(hak_thread_t *me, size_t max_bytes) {
  if (max_bytes == 0 || hak_option(PURGE_HOLES) == 0 || !try_begin()) return 0;
  hak_hole_bounds_t bounds = {.bytes = max_bytes, .slabs = SIZE_MAX, .all = true};
  at_heap = at_class = 0;
  sweep(me, &bounds);
  leave();
  return bounds.given;
}
