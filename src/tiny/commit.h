/* commit.h - the pages of a slab come as it is carved.
 *
 * Depends on: base, os, superslab, bin.   Used by: tiny.
 *
 * A new slab has the pages of its first blocks, and is charged no more. Carving goes on
 * to where the pages end, and then more of them are committed: in a heap with a limit
 * that is not far (far.h) those that one more block needs, else COMMIT_BYTES at once.
 * Where a program's hooks commit, which may cost a call to the system, a slab without a
 * limit has all its pages from the start. So what a heap is charged is about what it has
 * touched, and a heap with a small limit has room for one block each of many classes.
 *
 * A slab that comes from the pool with more pages keeps them until memory is short
 * (hak_hold_shed). If pages are refused the slab stays as it is, and is carved on when
 * there is room.
 *
 *     carved x block size <= bytes committed from the start of the span
 *
 * Access: the caller holds the slab.
 */
#ifndef HAK_TINY_COMMIT_H
#define HAK_TINY_COMMIT_H

#include "tiny/bin.h"

/* Bytes that a new span of so many slabs begins with; no more than one block needs if
 * the OS may not be asked for them. */
size_t hak_commit_first(const hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                        unsigned span);

/* How many of the next `n` blocks may be carved: what is missing of their pages has been
 * committed, as far as memory allows; 0 if it does not. n > 0. No lock held. */
uint32_t hak_commit_blocks_slow(hak_thread_t *me, const hak_cache_t *cache,
                                hak_slab_t *slab, uint32_t n);
HAK_HOT uint32_t hak_commit_blocks(hak_thread_t *me, const hak_cache_t *cache,
                                   hak_slab_t *slab, uint32_t n) {
  if (HAK_LIKELY(hak_superslab_is_whole(hak_slab_superslab(slab), slab->slot,
                                        hak_slab_span(slab))))
    return n;
  return hak_commit_blocks_slow(me, cache, slab, n);
}

/* Commits all pages of the span; false if memory is short. No lock held. */
bool hak_commit_whole(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);

/* Bytes of whole pages behind the last block of the span. */
size_t hak_commit_tail(const hak_cache_t *cache, hak_slab_t *slab);
/* Between the two nobody takes these (superslab/tails.h): pages of the span come or go,
 * or it ends. The second one is told what the first one returned. */
bool hak_commit_hold(const hak_cache_t *cache, hak_slab_t *slab);
void hak_commit_let_go(hak_slab_t *slab, bool held);

/* Bytes from the span's start that may be touched. */
size_t hak_commit_bytes(const hak_cache_t *cache, hak_slab_t *slab);

#endif
