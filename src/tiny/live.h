/* live.h - which blocks the program has, as a hardened build knows it: a bit for each 16
 * bytes, beside the slabs' records and not in the blocks.
 *
 * Depends on: base, superslab.   Used by: tiny, heap, api.
 *
 * Whatever lists of free blocks say, a block is given out only if its bit is clear, and
 * freed only if it is set: each is one atomic step, so of two that give out one block, or
 * free it, one is found. No block has two owners, and no address has one that is no
 * block.
 *
 * Invariant: a bit that is set is that of the start of a carved block, which the program
 * has, or which was given up after a report.
 *
 * Other builds keep no bits; what is here does nothing there, and says yes.
 *
 * Access: [any] the bits, relaxed: whoever gets a block from another thread was told by
 * it. Those of a span are cleared by who begins it, when no block of it is out.
 */
#ifndef HAK_TINY_LIVE_H
#define HAK_TINY_LIVE_H

#include "base/check.h"
#include "superslab/superslab.h"

#if HAK_CHECKS >= 3
HAK_HOT hak_atomic_u64_t *hak_live_word(hak_slab_t *slab, const void *block,
                                        uint64_t *bit) {
  size_t at = (uintptr_t)block % HAK_SUPERSLAB_SIZE / HAK_LIVE_GRAIN;
  *bit = (uint64_t)1 << (at % 64);
  return &hak_slab_superslab(slab)->live[at / 64];
}
/* The block, of the span that `slab` is the first of, comes to the program, or leaves it.
 * False if it has it already, or has not. */
HAK_HOT bool hak_live_begin(hak_slab_t *slab, const void *block) {
  uint64_t bit;
  hak_atomic_u64_t *word = hak_live_word(slab, block, &bit);
  return (hak_or_relaxed(word, bit) & bit) == 0;
}
HAK_HOT bool hak_live_end(hak_slab_t *slab, const void *block) {
  uint64_t bit;
  hak_atomic_u64_t *word = hak_live_word(slab, block, &bit);
  return (hak_and_relaxed(word, ~bit) & bit) != 0;
}
/* The program has the block. */
HAK_HOT bool hak_live_is(hak_slab_t *slab, const void *block) {
  uint64_t bit;
  return (hak_load_relaxed(hak_live_word(slab, block, &bit)) & bit) != 0;
}
/* The program has no block of a span that begins. */
HAK_HOT void hak_live_clear(hak_slab_t *slab, unsigned span) {
  hak_superslab_t *ss = hak_slab_superslab(slab);
  size_t first = slab->slot * HAK_LIVE_SLAB_WORDS;
  for (size_t i = 0; i < span * HAK_LIVE_SLAB_WORDS; i++) {
    hak_store_relaxed(&ss->live[first + i], 0);
  }
}
#else
HAK_HOT bool hak_live_begin(hak_slab_t *slab, const void *block) {
  (void)slab;
  (void)block;
  return true;
}
HAK_HOT bool hak_live_end(hak_slab_t *slab, const void *block) {
  (void)slab;
  (void)block;
  return true;
}
HAK_HOT bool hak_live_is(hak_slab_t *slab, const void *block) {
  (void)slab;
  (void)block;
  return true;
}
HAK_HOT void hak_live_clear(hak_slab_t *slab, unsigned span) {
  (void)slab;
  (void)span;
}
#endif

#endif
