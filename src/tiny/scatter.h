/* scatter.h - how blocks are cut in a hardened build: clean, and in random order.
 *
 * Depends on: live, seal, slab.   Used by: prewarm, refill.
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

#endif
