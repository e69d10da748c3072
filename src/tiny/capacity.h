/* capacity.h - how many blocks a bin may keep: it follows demand.
 *
 * Depends on: base, external, bin.   Used by: tiny, heap.
 *
 * A bin begins with a least capacity. Where it overflows, and refills lately
 * brought blocks from below, it was too small for what the thread does: it grows
 * by what came, if that is little enough to be kept and the thread has not grown
 * its bins by BIN_GROWTH_BYTES yet. A thread that frees far more than that, or
 * that only frees, gains nothing from a larger bin: its blocks go home.
 *
 * A bin that has grown and was not touched between two looks gives its blocks
 * back and is small again (trim.h).
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

/* --- of a heap with a limit ---- */

enum {
  HAK_QUOTA_LISTS = 4, /* three of the bin, and the magazine */
  HAK_QUOTA_NONE = 1   /* as a quota: there is a limit, and nothing was granted yet */
};

/* The class's bin is cut to a quota; see quota.h. */
HAK_HOT bool hak_capacity_is_cut(const hak_hold_t *hold) { return hold->quota != 0; }

/* Bytes of a quota that the class's bin was granted. */
HAK_HOT uint64_t hak_capacity_granted(const hak_bin_t *bin, const hak_hold_t *hold) {
  if (HAK_LIKELY(!hak_capacity_is_cut(hold))) return 0;
  return (uint64_t)HAK_QUOTA_LISTS * bin->capacity * bin->list.block_size;
}
/* All bins together, of a thread cache that may be another thread's. */
uint64_t hak_capacity_quotas(const hak_bin_t *bins, const hak_hold_t *holds);

#endif
