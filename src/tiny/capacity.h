/* capacity.h - how many blocks a bin may keep: it follows demand.
 *
 * Depends on: base, thread cache, spill.   Used by: tiny, heap.
 *
 * A bin begins with a least capacity. Where it overflows, and refills lately
 * brought blocks from below, it was too small for what the thread does: it grows
 * by what came, if that is little enough to be kept and the thread has not grown
 * its bins by BIN_GROWTH_BYTES yet. A thread that frees far more than that, or
 * that only frees, gains nothing from a larger bin: its blocks go home.
 *
 * A bin that has grown and was not touched between two looks gives its blocks
 * back and is small again. Looks come with slow paths, one class at a time.
 *
 * Bins of the single classes begin with no room at all. They grow when a block has
 * to be brought from the pool although others went there: by as many as went.
 *
 * What is granted is counted: three lists of the capacity, against BIN_GROWTH_BYTES
 * for the bins of one thread cache and BIN_GROWTH_ALL_BYTES for the process.
 */
#ifndef HAK_TINY_CAPACITY_H
#define HAK_TINY_CAPACITY_H

#include "tiny/bin.h"

/* Blocks that a bin of the class may keep without demand. */
uint32_t hak_capacity_least(uint32_t cls);

/* That capacity, and room for it; none in a heap with a limit (quota.h). The bin's list
 * is empty. */
void hak_capacity_reset(const hak_cache_t *cache, uint32_t cls);

/* The bin's list is full and others lie behind it: how many blocks more it may
 * take; 0: none. */
uint32_t hak_capacity_grow(const hak_cache_t *cache, uint32_t cls);

/* A bin of a single class has nothing to give. */
void hak_capacity_grow_single(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Bins of the single classes grow here: those of the default heap, and of a serial
 * heap. */
HAK_HOT bool hak_capacity_has_singles(const hak_thread_t *me, const hak_cache_t *cache) {
  return cache->store == me->store || cache->lookup != NULL;
}

/* What was granted to bins that have been emptied and made small in another way. */
void hak_capacity_give_back(uint64_t *grown);

/* At shutdown, and in the child of a fork: what is granted to the threads that there
 * are. */
void hak_capacity_recount(uint64_t bytes);

/* Every so many calls, looks at the next class. */
void hak_capacity_look_slow(hak_thread_t *me, const hak_cache_t *cache);
enum {
  HAK_LOOK_CALLS = 16
};
HAK_HOT void hak_capacity_look(hak_thread_t *me, const hak_cache_t *cache) {
  if (HAK_UNLIKELY(++me->looks % HAK_LOOK_CALLS == 0)) hak_capacity_look_slow(me, cache);
}

#endif
