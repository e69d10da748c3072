/* spill.h - what a free does that finds no room: blocks leave a bin for its other lists,
 * for a magazine, or for their slabs.
 *
 * Depends on: superslab, capacity, depot, far, flush, hold, home, lean, quota, recall,
 * single, stray, transfer.
 * Used by: api.
 */
#ifndef HAK_TINY_SPILL_H
#define HAK_TINY_SPILL_H

#include "tiny/capacity.h"
#include "tiny/stray.h"

/* Puts a block of the default heap into the thread's magazine. False, and nothing
 * changes, if there is none, or that block would fill it. */
HAK_HOT bool hak_spill_add(hak_thread_t *me, uint32_t cls, void *block) {
  const hak_hold_t *hold = &me->holds[cls];
  hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
  if (magazine == NULL) return false;
  uint32_t count = hak_load_relaxed(&magazine->count);
  if (count + 1 >= hold->magazine_blocks) return false;
  HAK_COUNT(me, slow_free, 1);
  if (hak_stray_tells(cls)) hak_link_write(&me->key, block, HAK_LINK_END);
  magazine->blocks[count] = block;
  hak_store_relaxed(&magazine->count, count + 1);
  return true;
}

/* The common case of a free into a bin that gathers (HAK_BIN_GATHERS) in the default
 * heap: puts the block into the thread's magazine. In any other case it returns false and
 * changes nothing. Blocks in a magazine are looked at when they go home, or by the thread
 * that takes them. */
HAK_HOT bool hak_spill_gathers(hak_thread_t *me, hak_bin_t *bin, void *block) {
  uint32_t cls = (uint32_t)(bin - me->bins);
  const hak_hold_t *hold = &me->holds[cls];
  if (bin->spilling != HAK_BIN_GATHERS || hold->credit > 0 || hold->current != NULL ||
      hold->first != NULL || !hak_spill_add(me, cls, block)) {
    return false;
  }
  hak_store_relaxed(&bin->list.room, 0);
  return true;
}

/* A thread passes on blocks of slabs that another one holds while its bin has others to
 * use: whoever uses such a block frees it the slow way, and where many threads replace
 * each other's blocks, the same few would come back to each of them for good. */
HAK_HOT bool hak_spill_has_more(const hak_cache_t *cache, uint32_t cls) {
  const hak_bin_t *bin = &cache->bins[cls];
  return !bin->spilling && bin->list.head != HAK_LINK_END && !hak_class_is_single(cls) &&
         !hak_capacity_is_cut(&cache->holds[cls]);
}
HAK_HOT bool hak_spill_is_others(const hak_cache_t *cache, const hak_slab_t *slab) {
  uint64_t word = hak_load_relaxed(&slab->word);
  return hak_word_state(word) == HAK_SLAB_HELD && !hak_word_is_mine(cache, word);
}
/* The common case of that in the default heap; false, and nothing changes, in any other
 * one. */
HAK_HOT bool hak_spill_passes_on(hak_thread_t *me, uint32_t cls, const hak_slab_t *slab,
                                 void *block) {
  return hak_spill_has_more(&me->cache, cls) && hak_spill_is_others(&me->cache, slab) &&
         hak_spill_add(me, cls, block);
}

/* Frees a block, whatever the state of its bin. */
void hak_spill_free(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                    void *block);

/* Frees a block for which its list, of a bin or of a slab, had no room. */
void hak_spill_event(hak_thread_t *me, const hak_cache_t *cache, hak_list_t *list,
                     void *block);

#endif
