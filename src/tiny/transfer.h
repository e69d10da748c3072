/* transfer.h - whole magazines of foreign blocks change threads.
 *
 * Depends on: base, capacity, home, magazine, stray.   Used by: tiny.
 *
 * A magazine is filled by one thread, put into a free slot with a release
 * compare-and-swap, and taken out by another with an acquire exchange: no list,
 * so nothing can be popped twice. Where nobody takes magazines whose blocks are
 * scattered over many slabs, half of the slots are shut, since full ones would
 * pin slabs for nothing; a taker opens them again.
 */
#ifndef HAK_TINY_TRANSFER_H
#define HAK_TINY_TRANSFER_H

#include "tiny/magazine.h"

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
/* A full magazine where the hint may be stale: looks at every place. */
hak_magazine_t *hak_transfer_take_any(hak_central_t *central);

/* Sends a magazine's blocks home; how many slabs they were of. It must be in no
 * one's reach: homecoming blocks may fill the thread's magazine anew. */
uint32_t hak_transfer_empty(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                            hak_magazine_t *magazine);

#endif
