/* flush.h - what a thread cache keeps is given up: a bin, a class, all of a heap.
 *
 * Depends on: base, superslab, bin, capacity, hold, home, single, stray, transfer.
 * Used by: tiny, heap.
 */
#ifndef HAK_TINY_FLUSH_H
#define HAK_TINY_FLUSH_H

#include "tiny/bin.h"

/* Sends a list of at most `count` blocks home: runs of slabs that this thread holds or
 * may claim to them, the others into its magazine. True if any block found such a
 * slab. */
bool hak_flush_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls, void *list,
                    uint32_t count);

/* Room in a bin whose list is empty: less while it spills, none while it gathers. */
void hak_flush_set_room(hak_bin_t *bin);

/* All blocks of a bin go home, the way they would if it were full. */
void hak_flush_bin(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* Blocks came home to a slab that few others keep from coming free, and these may lie in
 * the bin: then it is emptied. Follows whatever brings blocks home (hold.h). */
HAK_HOT void hak_flush_pinned(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (HAK_LIKELY(cache->holds[cls].pins == 0)) return;
  cache->holds[cls].pins = 0;
  hak_flush_bin(me, cache, cls);
}

/* Everything that this thread keeps of the class becomes everybody's: bins,
 * magazine, held slabs. */
void hak_flush_class(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

/* The same for all classes. */
void hak_flush_all(hak_thread_t *me, const hak_cache_t *cache);

/* The same, and what lies in the heap's transfer cache goes home too. */
void hak_flush_heap(hak_thread_t *me, const hak_cache_t *cache);
/* Only what lies in the transfer cache. Needs no bins. */
void hak_flush_transfer(hak_thread_t *me, const hak_cache_t *cache);

/* What the thread keeps, or what lies in the heap's transfer cache, as far as `*work`
 * goes, which falls by one for each block and each slab; true if nothing is left. */
bool hak_flush_some(hak_thread_t *me, const hak_cache_t *cache, size_t *work);
bool hak_flush_transfer_some(hak_thread_t *me, const hak_cache_t *cache, size_t *work);

#endif
