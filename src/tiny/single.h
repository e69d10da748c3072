/* single.h - the classes over 56 KiB: each block has a span to itself.
 *
 * Depends on: base, superslab, bin, capacity, lean, slab.   Used by: tiny, api.
 *
 * In heaps of samples (heap/samples.h) blocks over 4 KiB have one, too, but no bins; some
 * wait in depots.
 *
 * Bins keep such blocks like any others, so that they come and go without a lock.
 * Below the bins there is only the pool: a span is FULL while its block is out and
 * FREE otherwise; it has no holder, and no other thread waits for it. The registry's
 * entry of its first slab names the bin. The entries of its other slabs are unowned,
 * as no block starts there.
 *
 * A stray pointer into the first slab of a block, if it is freed, lands in the bin. It
 * is found when it is to be given out (stray.h), or when it goes home.
 */
#ifndef HAK_TINY_SINGLE_H
#define HAK_TINY_SINGLE_H

#include "tiny/bin.h"

/* Gets a span from the pool; returns its block, or NULL if memory is short. No lock is
 * held. */
void *hak_single_new(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Gives a block's span back to the pool, whoever allocated the block. Reports a block
 * that is free already. No lock is held. */
void hak_single_home(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                     void *block);

/* The block of the span, which is the caller's, is one of this smaller single class from
 * here on, and stays where it is. Slabs that it needs no longer go to the pool. No lock
 * is held. */
HAK_SLOW void hak_single_shrink(hak_thread_t *me, hak_shared_pool_t *pool,
                                hak_slab_t *slab, uint32_t cls);

#endif
