/* reclaim.h - slabs whose holder is not there any more: in the child of a fork, where
 * a thread was in the middle of a slow path.
 *
 * Depends on: superslab, bin, hold, hole_map, partial_list, slab.   Used by: heap.
 *
 * Such a thread stopped between two instructions. Its own lists are given up, as a
 * block may be on two of them, or on none. Its slabs are not given up: whatever is found
 * on a slab's list or in its word is free, since a block leaves the list before anybody
 * else can get it, and its link is written before it comes there. Blocks that are found
 * nowhere stay out.
 *
 * Cost: a walk over the free blocks of the slab.
 */
#ifndef HAK_TINY_RECLAIM_H
#define HAK_TINY_RECLAIM_H

#include "tiny/bin.h"

/* Makes a slab everybody's again: it is full, on the partial list, or back in the pool
 * then. `cache` is of the slab's heap, and `me` is the only thread. */
void hak_reclaim_slab(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);

/* Notes in each held slab that one block may be neither listed nor out: the holder
 * stopped outside of slow paths, perhaps after it counted a block as home and before it
 * listed the block. */
void hak_reclaim_mark_unsure(const hak_hold_t *hold);

/* The bin of a thread that stopped outside of slow paths: if it was about to allocate
 * from what it had freed, no block is on two lists from here on, and the one that it was
 * taking is on none. */
void hak_reclaim_mend(const hak_thread_t *me, hak_bin_t *bin);

/* Bytes of the blocks on the lists of a thread cache and in its magazines, at most. */
uint64_t hak_reclaim_cached(hak_bin_t *bins, hak_hold_t *holds);

#endif
