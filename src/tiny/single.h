/* single.h - the classes over 56 KiB: each block has a span to itself.
 *
 * Depends on: base, superslab, bin, capacity, slab.   Used by: tiny, api.
 *
 * Bins keep such blocks like any others, so that they come and go without a lock.
 * Below the bins there is only the pool: a span is FULL while its block is out and
 * FREE otherwise; it has no holder, and no other thread waits for it. Its entry is
 * that of the bin in the first unit and unowned in the others, where no block
 * starts.
 *
 * A pointer into a block's first unit that is freed lands in the bin; it is found
 * when it is to be given out (stray.h), or goes home.
 */
#ifndef HAK_TINY_SINGLE_H
#define HAK_TINY_SINGLE_H

#include "tiny/bin.h"

/* A span from the pool: its block, or NULL. No lock held. */
void *hak_single_new(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* A block goes back to the pool, whoever allocated it. No lock held. */
void hak_single_home(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                     void *block);

#endif
