/* blocks.h - how many blocks of each class there are, and where.
 *
 * Depends on: heap, tiny.   Used by: stats, tree_take.
 *
 * Sums over slabs and over what is cached; nothing is kept twice. Other threads may be at
 * work: figures that they change meanwhile are off by what they move at this moment.
 */
#ifndef HAK_API_BLOCKS_H
#define HAK_API_BLOCKS_H

#include "heap/heap.h"
#include "tiny/hold.h"

/* Blocks, by class. */
typedef struct hak_blocks {
  uint64_t out[HAK_CLASSES];    /* not in their slabs */
  uint64_t free[HAK_CLASSES];   /* in slabs in use */
  uint64_t cached[HAK_CLASSES]; /* in bins, magazines and transfer caches */
} hak_blocks_t;

/* Adds a span of which `carved` blocks were ever given out. */
void hak_blocks_add_slab(hak_blocks_t *blocks, hak_slab_t *slab, uint32_t cls,
                         uint32_t carved);
/* Adds what a cache has. `walk`: its lists do not change at this moment. */
void hak_blocks_add_bins(hak_blocks_t *blocks, const hak_link_key_t *key, hak_bin_t *bins,
                         hak_hold_t *holds, bool walk);
/* Adds what a thread has in quarantine, all of it the default heap's. */
void hak_blocks_add_quarantine(hak_blocks_t *blocks, hak_thread_t *thread);
/* Adds what waits in the heap for other threads. */
void hak_blocks_add_transfer(hak_blocks_t *blocks, hak_heap_t *heap);

/* Of one class: cached, never more than are out of their slabs; the program's. */
HAK_HOT uint64_t hak_blocks_cached(const hak_blocks_t *blocks, uint32_t cls) {
  uint64_t out = blocks->out[cls], cached = blocks->cached[cls];
  return cached < out ? cached : out;
}
HAK_HOT uint64_t hak_blocks_live(const hak_blocks_t *blocks, uint32_t cls) {
  return blocks->out[cls] - hak_blocks_cached(blocks, cls);
}

#endif
