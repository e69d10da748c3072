/* scatter.h - how blocks are cut in a hardened build: clean, and in random order.
 *
 * Depends on: os, superslab, commit, live, seal, slab.   Used by: hold, prewarm, refill.
 */
#ifndef HAK_TINY_SCATTER_H
#define HAK_TINY_SCATTER_H

#include "tiny/slab.h"

/* Links `n` blocks of the slab that lie side by side from `block` on, all of which are
 * home, into a list in random order, and clears them. A block that the program has, as it
 * was counted as home in the place of another one, is reported and stays out. Returns the
 * list. Cost: O(n), and the bytes of the blocks. */
void *hak_scatter(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                  char *block, uint32_t n);

/* All blocks of the slab are home, and it is about to end: their links go, and if nothing
 * else is there its slots are clean. For hardened builds, and nothing in others. */
void hak_scatter_end_slow(const hak_cache_t *cache, hak_slab_t *slab);
HAK_HOT void hak_scatter_end(const hak_cache_t *cache, hak_slab_t *slab) {
  if (HAK_CHECKS >= 3) hak_scatter_end_slow(cache, slab);
}

#endif
