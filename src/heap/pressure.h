/* pressure.h - what happens at the limits of a heap.
 *
 * Depends on: base, superslab, tiny, heap, thread cache, thread.   Used by: api.
 *
 * A request that a hard limit refuses goes on in this order: what this thread caches
 * of the heap and what lies in its transfer cache goes home, free slabs go back to the
 * OS, of all heaps that the refusing level covers; once more; then the level's
 * callback, and once more, so often at most; then NULL. Callbacks run with no lock or
 * lease held and no slow path begun.
 */
#ifndef HAK_HEAP_PRESSURE_H
#define HAK_HEAP_PRESSURE_H

#include "heap/thread.h"

/* Callbacks that one request makes at a hard limit, at most. */
enum {
  HAK_PRESSURE_ROUNDS = 3
};

/* Makes what room there is below `level`, one of those that `heap` is charged to,
 * without asking anybody. */
void hak_pressure_relieve(hak_thread_t *me, hak_heap_t *heap, hak_budget_t *level);

/* Runs the level's callback, if it has one, in the middle of a request to `heap`; true
 * if it says that something was freed. */
bool hak_pressure_call(hak_heap_t *heap, hak_budget_t *level, size_t needed, int kind);

/* Acts on soft limits that were crossed. No slow path begun. */
void hak_pressure_soft_slow(hak_heap_t *heap);
HAK_HOT void hak_pressure_soft(hak_heap_t *heap) {
  if (HAK_UNLIKELY(hak_load_relaxed(&hak_budget_alarms) != 0)) {
    hak_pressure_soft_slow(heap);
  }
}

#endif
