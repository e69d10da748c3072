/* spill.h - what a free does that finds no room: blocks leave a bin for its other lists,
 * for a magazine, or for their slabs.
 *
 * Depends on: superslab, capacity, depot, far, flush, hold, home, lean, quota, recall,
 * single, stray, transfer.
 * Used by: api.
 */
#ifndef HAK_TINY_SPILL_H
#define HAK_TINY_SPILL_H

#include "tiny/stray.h"

/* The common case of a free into a bin that gathers (HAK_BIN_GATHERS) in the default
 * heap: puts the block into the thread's magazine. In any other case it returns false and
 * changes nothing. Blocks in a magazine are looked at when they go home, or by the thread
 * that takes them. */
HAK_HOT bool hak_spill_gathers(hak_thread_t *me, hak_bin_t *bin, void *block) {
  const hak_hold_t *hold = &me->holds[bin - me->bins];
  if (bin->spilling != HAK_BIN_GATHERS || hold->credit > 0 || hold->current != NULL ||
      hold->first != NULL) {
    return false;
  }
  hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
  if (magazine == NULL) return false;
  uint32_t count = hak_load_relaxed(&magazine->count);
  if (count + 1 >= hold->magazine_blocks) return false;
  hak_store_relaxed(&bin->list.room, 0);
  HAK_COUNT(me, slow_free, 1);
  if (hak_stray_tells((uint32_t)(bin - me->bins))) {
    hak_link_write(&me->key, block, HAK_LINK_END);
  }
  magazine->blocks[count] = block;
  hak_store_relaxed(&magazine->count, count + 1);
  return true;
}

/* Frees a block, whatever the state of its bin. */
void hak_spill_free(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                    void *block);

/* Frees a block for which its list, of a bin or of a slab, had no room. */
void hak_spill_event(hak_thread_t *me, const hak_cache_t *cache, hak_list_t *list,
                     void *block);

#endif
