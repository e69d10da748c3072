/* pressure.h - what a request does when memory is short: when a limit of a heap refuses
 * it, or the OS.
 *
 * Depends on: base, superslab, tiny, collect, give_up, groups, heap, kind, thread,
 * thread_cache.
 * Used by: api.
 *
 * A request that fails goes on in this order:
 *   1. The thread gives up what it caches of the heap, and what lies in the heap's
 *      transfer cache goes home. Where a limit refused, the same is done for all heaps
 *      that the refusing level covers, and their free slabs go back to the OS; where the
 *      OS refused, the thread gives up what it caches of all heaps, and idle memory goes
 *      back to the OS.
 *      Without growth allowed, or in memory of the caller's, caches alone are given up;
 *      with manual purging nothing goes back to the OS.
 *      Pages of partly carved slabs that were not carved yet go with the free slabs.
 *   2. The request is tried once more. If that fails a block that is free in a group
 *      serves a request to the default heap. Where the OS refused, everything that
 *      hak_collect finds goes back, and it is tried again. If that fails a free block of
 * a larger class serves a request for a smaller one: of up to twice the size, and of any
 * shared class once several callbacks have freed something in vain.
 *   3. The callback of the refusing level is asked, and the request is tried once more if
 *      the callback says that something was freed; HAK_PRESSURE_ROUNDS times at most.
 *   4. The request fails with ENOMEM.
 * Callbacks run with no lock or lease held and no slow path begun.
 */
#ifndef HAK_HEAP_PRESSURE_H
#define HAK_HEAP_PRESSURE_H

#include "heap/heap.h"

/* Callbacks that one request makes at a limit, at most. */
enum {
  HAK_PRESSURE_ROUNDS = 64
};

/* One attempt at a request to a heap: a block, or NULL, and in the call the level that
 * was in the way, if one was. No slow path begun. */
typedef void *(hak_attempt_fn)(hak_heap_t *heap, const void *request,
                               hak_budget_call_t *call);
/* Steps 3 and 4 around attempts that do the others; `needed` bytes is what callbacks are
 * told. NULL and errno = ENOMEM in the end; else errno is as it was. A request that is a
 * part of another one leaves the callbacks to that one. */
void *hak_pressure_request(hak_heap_t *heap, size_t needed, hak_attempt_fn *attempt,
                           const void *request);

/* What takes a block for a request, or returns NULL. In a slow path of the thread. */
typedef void *(hak_take_fn)(hak_thread_t *me, hak_heap_t *heap, const void *request);
/* What takes another block than the one that is wanted; `rounds` callbacks were asked. */
typedef void *(hak_other_fn)(hak_thread_t *me, hak_heap_t *heap, const void *request,
                             uint32_t rounds);
/* An attempt with steps 1 and 2: takes, and takes once more after the thread has given up
 * its caches; if that fails it takes by `other`, which may be NULL. `no_grow`: the OS is
 * not asked, nor is anybody else. */
void *hak_pressure_take(hak_heap_t *heap, hak_take_fn *take, hak_other_fn *other,
                        const void *request, bool no_grow, hak_budget_call_t *call);

/* Makes what room there is below `level`, one of those that `heap` is charged to, without
 * asking anybody. */
void hak_pressure_relieve(hak_thread_t *me, hak_heap_t *heap, hak_budget_t *level);

/* Acts on soft limits that were crossed. No slow path begun. */
void hak_pressure_soft_slow(hak_heap_t *heap);
HAK_HOT void hak_pressure_soft(hak_heap_t *heap) {
  if (HAK_UNLIKELY(hak_load_relaxed(&hak_budget_alarms) != 0)) {
    hak_pressure_soft_slow(heap);
  }
}

#endif
