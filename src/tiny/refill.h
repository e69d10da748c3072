/* refill.h - where an allocation finds a block when its bin has none ready.
 *
 * Depends on: base, bin, capacity, flush, hold, home, partial_list, quota, single, slab,
 * stray, transfer, trim.
 * Used by: api.
 *
 * The stages of one refill, cheapest first: the bin's other lists, the thread's own
 * magazine, one from the transfer cache, a slab that the thread holds, the partial list,
 * the slab that is being carved, a new one from the pool.
 */
#ifndef HAK_TINY_REFILL_H
#define HAK_TINY_REFILL_H

#include "tiny/bin.h"

/* A block of the class, and others for the bin behind it; NULL if memory is short. No
 * lock held. */
void *hak_refill_bin(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

#endif
