/* refill.h - where an allocation finds a block when its bin has none ready.
 *
 * Depends on: base, bin, capacity, carve, commit, depot, far, flush, hold, hole_map,
 * holes, home, partial_list, quota, recall, single, slab, stray, transfer, trim. Used
 * by: heap, api.
 *
 * The stages of one refill, cheapest first: the bin's other lists, the thread's own
 * magazine, a magazine from the transfer cache, a slab that the thread holds, the partial
 * list, the slab that is being carved, a new slab from the pool.
 *
 * A thread that shares slabs of a class (capacity.h) holds none of them: a refill takes a
 * few blocks off a slab, which goes back to the partial list at once.
 */
#ifndef HAK_TINY_REFILL_H
#define HAK_TINY_REFILL_H

#include "tiny/bin.h"

/* Returns a block of the class, and puts more into the bin; NULL if memory is short. No
 * lock is held. */
void *hak_refill_bin(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* A block of the class past any cache of the heap; NULL if memory is short. `entry` is
 * what slabs' entries are to say that nobody holds: that of the cache of the heap that
 * the thread has (hak_cache_t), or 0 if it has none. No lock is held. Costs what a slab
 * costs that is taken from the partial list and put back there. */
void *hak_refill_one(hak_thread_t *me, hak_store_t *store, uint32_t cls, uint64_t entry);

#endif
