/* hole_sweep.h - when slabs are looked through for whole free pages, in all heaps.
 *
 * Depends on: base, os, pages, superslab, tiny, heap, kind, thread_cache, thread_state.
 * Used by: thread, collect, maintenance, fork, lifecycle, api.
 *
 * A *sweep* goes through the partial lists of all heaps whose threads have caches. What
 * has lain there unchanged since the last one is looked through (tiny/holes.h). Sweeps
 * are half of PURGE_DECAY_MS apart, so a free page goes after that time or twice as much.
 * A sweep is done in pieces of PURGE_CALL_US at the ends of slow paths, as long as there
 * are lists that changed since they were looked at.
 *
 * What a thread holds nobody else may look at. With each sweep the thread itself puts on
 * the partial lists what it holds and what did not change since the sweep before.
 *
 * Where what went is needed again so much that it takes a twentieth of the time to give
 * it back and to touch it anew, sweeps are further apart, up to eight decays. What was
 * not spent of the twentieth counts for later, so load that comes now and then is no
 * reason.
 *
 * Thread-safe; one thread sweeps at a time.
 */
#ifndef HAK_HEAP_HOLE_SWEEP_H
#define HAK_HEAP_HOLE_SWEEP_H

#include "heap/thread_state.h"
#include "tiny/holes.h"

/* There is something to sweep, and it is time, by the cached clock. */
bool hak_hole_sweep_is_time(void);
/* There was a sweep since what this thread holds was looked at last. */
bool hak_hole_sweep_is_news(const hak_thread_t *me);
/* A piece of a sweep, if it is time, and of what the thread holds. In a slow path, no
 * lock held. */
void hak_hole_sweep_step(hak_thread_t *me);
/* The rest of a sweep, if it is time, up to max_bytes and *slabs looked at. Returns the
 * bytes. */
size_t hak_hole_sweep_due(hak_thread_t *me, size_t max_bytes, size_t *slabs);
/* A whole sweep of everything, at once, up to max_bytes. Returns the bytes. */
size_t hak_hole_sweep_all(hak_thread_t *me, size_t max_bytes);
/* Looks through all that a heap has, as far as the bounds say. Under the heap's lease. */
void hak_hole_sweep_leased(hak_thread_t *me, hak_heap_t *heap, hak_hole_bounds_t *bounds);
/* Nanoseconds until it is time; UINT64_MAX: never, as things are. */
uint64_t hak_hole_sweep_due_in(void);

/* At shutdown: nobody sweeps. */
void hak_hole_sweep_forget(void);
/* In the child of a fork: a thread that swept and is not there does not any more. */
void hak_hole_sweep_forget_lost(void);

#endif
