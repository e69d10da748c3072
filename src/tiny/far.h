/* far.h - what a thread caches of a heap whose hard limit is far: as much as without a
 * limit, as long as the quota lasts.
 *
 * Depends on: capacity, commit, hold, transfer.   Used by: tiny.
 *
 * While more than an eighth of the limit is left (hak_budget_is_far), and the quota is
 * HAK_FAR_LEAST at least, a class is cached as in a heap without a limit: its bin begins
 * with the least capacity, or what the quota has room for, and grows with demand, slabs
 * are held between two calls, lists of slabs come whole, and pages come COMMIT_BYTES at a
 * time. All of it counts against the quota:
 *
 *     kept == 2 x capacity x block size
 *             + blocks in `spare` and the magazine, and in `ready` beyond the capacity
 *             + slabs in the queue + pages of the current slab
 *     kept <= granted    at the end of each call that changes what is kept
 *
 * What is not granted is not kept: the bin does not grow, a list comes in parts, and full
 * lists go into the class's depot (depot.h). Slabs are kept while all that the thread has
 * is a quarter of its quota at most. Where it is more, they go to the partial list, and
 * the class is cut with the bin that it has, which still grows; after many refills it is
 * tried again. A class whose quota is smaller is cut so from the start. Of three quarters
 * of what all threads may cache bins grow and slabs are held; the rest is for classes
 * that begin, as threads that stand still give nothing back. Once the limit is near, the
 * class is emptied at its next refill or overflow, and cut as quota.h says. So threads
 * that stand still keep no more of a heap than they would near its limit.
 */
#ifndef HAK_TINY_FAR_H
#define HAK_TINY_FAR_H

#include "tiny/capacity.h"

/* Bytes; with a smaller quota a class holds no slabs, though the limit is far, and with
 * one that is smaller still it is cut as if the limit were near. */
#define HAK_FAR_LEAST ((uint64_t)256 << 10)
#define HAK_FAR_NO_ROOM_LEAST ((uint64_t)4 << 10)

/* True if classes with that quota are cached as far as the limit is; `was`: they are. */
HAK_HOT bool hak_far_is(hak_budget_t *budget, uint64_t quota, bool was) {
  return quota >= HAK_FAR_NO_ROOM_LEAST && hak_budget_is_far(budget, was);
}

/* Lets a class that keeps nothing, and was granted nothing, be cached so. False, and
 * nothing has changed, if its least bin needs more than `most` bytes of the quota, or
 * they are not granted. */
bool hak_far_begin(const hak_cache_t *cache, uint32_t cls, uint64_t quota, uint64_t most);

/* Bytes that the class keeps. */
uint64_t hak_far_kept(const hak_cache_t *cache, uint32_t cls);

/* True if the bin, which is empty, may be given so many blocks at once. For a class of
 * HAK_FAR. */
bool hak_far_affords(const hak_cache_t *cache, uint32_t cls, uint32_t blocks);

/* To be called after what changed the slabs or blocks that are kept: makes the grant fit
 * them. If the quota does not, slabs go to the partial list and the class is cut. May
 * take its lock. */
void hak_far_settle_slow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
HAK_HOT void hak_far_settle(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (HAK_UNLIKELY(cache->holds[cls].far == HAK_FAR)) hak_far_settle_slow(me, cache, cls);
}

#endif
