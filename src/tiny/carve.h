/* carve.h - blocks that are cut from a slab, and how many at a time.
 *
 * Depends on: base, capacity, commit, far, hold, scatter, slab.   Used by: refill.
 *
 * Access: the thread that calls holds the slab, and has the thread cache.
 */
#ifndef HAK_TINY_CARVE_H
#define HAK_TINY_CARVE_H

#include "tiny/capacity.h"
#include "tiny/far.h"

/* Notes that so many blocks are about to be taken off a list, or out of a slab, which a
 * bin gets; 0: it has them. */
void hak_carve_note(hak_thread_t *me, uint32_t cls, uint32_t blocks);

/* How many blocks a refill brings of a class whose slabs the thread shares: as many
 * as it has had, and a little at first. 0: it does not share them, or the class is cut
 * to a quota, and what fits into the bin is for that to say. */
uint32_t hak_carve_few_slow(const hak_cache_t *cache, uint32_t cls);
HAK_HOT uint32_t hak_carve_few(const hak_cache_t *cache, uint32_t cls) {
  bool shares = HAK_UNLIKELY(cache->holds[cls].shared < HAK_SHARED_ENOUGH);
  return shares ? hak_carve_few_slow(cache, cls) : 0;
}

/* How many of `wish` blocks a refill may bring: in a heap with a limit as many as the bin
 * may have, unless the quota affords all; else all. */
HAK_HOT uint32_t hak_carve_most(const hak_cache_t *cache, uint32_t cls, uint32_t wish) {
  const hak_hold_t *hold = &cache->holds[cls];
  uint32_t batch = hak_bin_batch(&cache->bins[cls]);
  if (HAK_LIKELY(hold->quota == 0) || wish <= batch) return wish;
  return hold->far == HAK_FAR && hak_far_affords(cache, cls, wish) ? wish : batch;
}

/* Links n blocks that lie side by side; the last one is linked to `next`. */
void hak_carve_link(hak_thread_t *me, char *block, uint32_t size, uint32_t n,
                    const void *next);

/* Carves blocks, `most` of them at most. Their list, and how many they are; HAK_LINK_END
 * and 0 if memory is short. They stay noted (hak_carve_note) until the caller has put
 * them where they belong. */
void *hak_carve(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                hak_slab_t *slab, uint32_t most, uint32_t *count);

#endif
