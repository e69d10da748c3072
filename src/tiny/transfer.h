/* transfer.h - whole magazines of foreign blocks change threads.
 *
 * Depends on: base, capacity, home, magazine, stray.   Used by: tiny.
 *
 * A heap and class has a few places for full magazines. One thread fills a magazine and
 * puts it into a free place with a release compare-and-swap; another takes it out with an
 * acquire exchange. There is no list, so nothing can be popped twice. If nobody takes
 * magazines whose blocks are scattered over many slabs, half of the places are shut,
 * since full magazines would keep slabs from becoming free for nothing. A thread that
 * takes a magazine opens places again.
 */
#ifndef HAK_TINY_TRANSFER_H
#define HAK_TINY_TRANSFER_H

#include "tiny/magazine.h"

/* Adds a block to this thread's magazine of the class, without touching it. */
void hak_transfer_add(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                      void *block);

/* Takes a full magazine of the class, or NULL. */
hak_magazine_t *hak_transfer_take_slow(const hak_cache_t *cache, uint32_t cls);
HAK_HOT hak_magazine_t *hak_transfer_take(const hak_cache_t *cache, uint32_t cls) {
  hak_central_t *central = &cache->store->centrals[cls];
  if (HAK_LIKELY(hak_load_relaxed(&central->hint) <= 0 &&
                 hak_load_relaxed(&central->shut) != HAK_TRANSFER_PLACES)) {
    return NULL;
  }
  return hak_transfer_take_slow(cache, cls);
}
/* Takes a full magazine, or NULL; looks at every place, as the hint may be stale. */
hak_magazine_t *hak_transfer_take_any(hak_central_t *central);

/* Sends a magazine's blocks home; returns the number of runs that this took, which is
 * high where the blocks are scattered. The magazine must not be the thread's own. */
uint32_t hak_transfer_empty(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                            hak_magazine_t *magazine);
/* The same for a magazine out of a place, which is then one of the thread's spare ones.
 */
void hak_transfer_send(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       hak_magazine_t *magazine);

#endif
