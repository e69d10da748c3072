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

#define NS_PER_US ((uint64_t)1000)
/* Between two sweeps, and between two pieces of one, at least. */
#define PERIOD_LEAST_NS ((uint64_t)10000000)
#define PIECE_PERIOD_NS ((uint64_t)1000000)

enum {
  PATIENCE_MOST = 8 /* decays between two sweeps */
};

static hak_atomic_u32_t busy;    /* [any] 1: a thread sweeps; it owns what follows */
static hak_atomic_u64_t next_at; /* [any] ns; written by who sweeps */
static uint32_t at_heap;         /* [owner: who sweeps] the heap to go on with; 0, with
                                    at_class 0: a sweep begins */
static uint32_t at_class;        /* [owner: who sweeps] the class of it */
static bool aged;                /* [owner: who sweeps] some of it is due the next time */
static uint32_t patience = 1;    /* [owner: who sweeps] decays between two sweeps */

bool hak_hole_sweep_is_time(void) {
  return hak_load_relaxed(&hak_idle_others) != HAK_IDLE_NO_OTHERS &&
         hak_clock_cached() >= hak_load_relaxed(&next_at) && hak_option(PURGE_HOLES) != 0;
}

uint64_t hak_hole_sweep_due_in(void) {
  if (hak_load_relaxed(&hak_idle_others) == HAK_IDLE_NO_OTHERS ||
      hak_option(PURGE_HOLES) == 0) {
    return UINT64_MAX;
  }
  uint64_t now = hak_clock_cached(), next = hak_load_relaxed(&next_at);
  return next > now ? next - now : 0;
}

void hak_hole_sweep_forget(void) {
  hak_store_relaxed(&busy, 0);
  hak_store_relaxed(&next_at, 0);
  at_heap = at_class = 0;
  patience = 1;
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

/* A heap that somebody else works at is left to the next sweep. */
static bool sweep_heap(hak_thread_t *me, hak_heap_t *heap, hak_hole_bounds_t *bounds) {
  if (hak_load_relaxed(&heap->store->pool.superslabs) == 0) return true;
  if (!hak_heap_try_lease(heap)) {
    aged = true;
    return true;
  }
  bool done = !hak_heap_is_used(heap) || sweep_classes(me, heap, &at_class, bounds);
  hak_heap_unlease(heap);
  return done;
}

/* --- all heaps -----------------------------------------------------------------------
 */

static void begin(void) {
  aged = false;
  hak_idle_set_others(HAK_IDLE_OTHERS_SEEN);
}

/* The time of the next sweep. */
static uint64_t period(void) {
  uint64_t made = hak_load_relaxed(&hak_holes_made);
  uint64_t needed = hak_load_relaxed(&hak_holes_needed);
  hak_store_relaxed(&hak_holes_made, made / 2);
  hak_store_relaxed(&hak_holes_needed, needed / 2);
  if (made != 0 && needed > made / 2) {
    if (patience < PATIENCE_MOST) patience *= 2;
  } else if (patience > 1) {
    patience /= 2;
  }
  uint64_t ns = hak_idle_decay() * patience;
  return ns > PERIOD_LEAST_NS ? ns : PERIOD_LEAST_NS;
}

static void end(void) {
  /* Relaxed: what comes in between is found once more comes. */
  uint32_t seen = HAK_IDLE_OTHERS_SEEN;
  if (!aged && hak_cas_relaxed(&hak_idle_others, &seen, HAK_IDLE_NO_OTHERS)) {
    hak_idle_look();
  }
  hak_store_relaxed(&next_at, hak_clock_cached() + period());
}

/* Goes on with the sweep; true if that was all of it. */
static bool sweep(hak_thread_t *me, hak_hole_bounds_t *bounds) {
  if (at_heap == 0 && at_class == 0) begin();
  for (; at_heap < hak_heaps_made(); at_heap++, at_class = 0) {
    hak_heap_t *heap = hak_heap_at(at_heap);
    bool done = heap == NULL || sweep_heap(me, heap, bounds);
    if (bounds->aged) aged = true;
    if (!done) return false;
  }
  at_heap = at_class = 0;
  end();
  return true;
}

/* Acquire and release pair with each other: one sweeper sees what the last one left. */
static bool try_begin(void) {
  uint32_t none = 0;
  return hak_load_relaxed(&busy) == 0 && hak_cas_acquire(&busy, &none, 1);
}
static void leave(void) { hak_store_release(&busy, 0); }

static void go_on(hak_thread_t *me, hak_hole_bounds_t *bounds) {
  bool done = sweep(me, bounds);
  if (!done) hak_store_relaxed(&next_at, hak_clock_cached() + PIECE_PERIOD_NS);
}

void hak_hole_sweep_step(hak_thread_t *me) {
  if (!hak_hole_sweep_is_time() || !hak_os_may_give() || !try_begin()) return;
  uint64_t us = (uint64_t)hak_option(PURGE_CALL_US);
  hak_hole_bounds_t bounds = {.bytes = SIZE_MAX, .slabs = SIZE_MAX};
  if (us != 0) bounds.end = hak_sys_fine_ns() + us * NS_PER_US;
  go_on(me, &bounds);
  leave();
}

size_t hak_hole_sweep_due(hak_thread_t *me, size_t max_bytes, size_t *slabs) {
  if (max_bytes == 0 || *slabs == 0 || !hak_hole_sweep_is_time() || !try_begin())
    return 0;
  hak_hole_bounds_t bounds = {.bytes = max_bytes, .slabs = *slabs};
  go_on(me, &bounds);
  leave();
  *slabs = bounds.slabs;
  return bounds.given;
}

size_t hak_hole_sweep_all(hak_thread_t *me, size_t max_bytes) {
  if (max_bytes == 0 || hak_option(PURGE_HOLES) == 0 || !try_begin()) return 0;
  hak_hole_bounds_t bounds = {.bytes = max_bytes, .slabs = SIZE_MAX, .all = true};
  at_heap = at_class = 0;
  go_on(me, &bounds);
  leave();
  return bounds.given;
}
