/* transfer.h - whole magazines of foreign blocks change threads.
 *
 * Depends on: central cache, thread cache, spill.   Used by: spill, refill, heap.
 *
 * A magazine is filled by one thread, put into a free slot with a release
 * compare-and-swap, and taken out by another with an acquire exchange: no list,
 * so nothing can be popped twice. Where nobody takes magazines whose blocks are
 * scattered over many slabs, half of the slots are shut, since full ones would
 * pin slabs for nothing; a taker opens them again.
 */
#ifndef HAK_TINY_TRANSFER_H
#define HAK_TINY_TRANSFER_H

#include "tiny/bin.h"

/* An empty magazine, or NULL if memory is short. */
hak_magazine_t *hak_magazine_get(hak_thread_t *me, const hak_cache_t *cache);
/* Sees to it that so many lie ready for whoever needs one first; false if memory is
 * short. No lock held. */
bool hak_magazines_prepare(const hak_os_t *os, uint32_t count);
void hak_magazine_put(hak_thread_t *me, hak_magazine_t *magazine);
/* Gives a thread's few empty ones to the process. */
void hak_magazines_return(hak_thread_t *me);
/* Forgets all of them; their memory has been released. */
void hak_magazines_stop(void);
hak_lock_t *hak_magazines_lock(void);

/* Adds a block to this thread's magazine of the class, without touching it. */
void hak_transfer_add(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                      void *block);

/* A full magazine of the class, or NULL. */
hak_magazine_t *hak_transfer_take_slow(const hak_cache_t *cache, uint32_t cls);
HAK_HOT hak_magazine_t *hak_transfer_take(const hak_cache_t *cache, uint32_t cls) {
  hak_central_t *central = &cache->store->centrals[cls];
  if (HAK_LIKELY(hak_load_relaxed(&central->hint) <= 0 &&
                 hak_load_relaxed(&central->shut) != HAK_TRANSFER_PLACES)) {
    return NULL;
  }
  return hak_transfer_take_slow(cache, cls);
}
/* Likewise when the hint may be stale: looks at every slot. */
hak_magazine_t *hak_transfer_take_any(hak_central_t *central);

/* Sends a magazine's blocks home; how many slabs they were of. It must be in no
 * one's reach: homecoming blocks may fill the thread's magazine anew. */
uint32_t hak_magazine_empty(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                            hak_magazine_t *magazine);

/* Leaves in a magazine what says that it is free; see stray.h. */
void hak_magazine_sift(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       hak_magazine_t *magazine);
/* Links a magazine's blocks into a list, HAK_LINK_END if there are none, and empties it.
 */
void *hak_magazine_link(hak_thread_t *me, hak_magazine_t *magazine);

#endif
