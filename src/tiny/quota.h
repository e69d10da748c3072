/* quota.h - what a thread caches of a heap with a hard limit: a quota of the limit.
 *
 * Depends on: capacity, depot, far, flush, hold, magazine.   Used by: tiny.
 *
 * What lies in one thread's caches no other thread can have, and a heap that may not
 * grow must not lose much to that. While the limit is far a class is cached as without
 * one, within the quota (far.h). Else the thread keeps no slabs of the heap between two
 * calls: a refill takes what fits into the bin, and the slab goes back to the partial
 * list at once, for everybody. Blocks that overflow a bin go straight to their slabs.
 * Bins and magazines are cut to the quota that the budget gives each thread
 * (pages/budget.h). A class that is used takes a part of what other classes have left. If
 * that is nothing, every block comes from the partial list and goes back there.
 *
 *     granted == 4 x capacity x block size, for a class that is cut so
 *     sum over classes of granted <= quota
 *     sum over threads of that == the budget's `cached` <= limit / 16
 *
 * The quota changes as threads come and go. A thread sees the new quota at its next
 * refill or overflow of a class, and then empties the bins that were cut to another one.
 * There it also sees that the limit has come near, or is far again, and empties the
 * class.
 */
#ifndef HAK_TINY_QUOTA_H
#define HAK_TINY_QUOTA_H

#include "tiny/capacity.h"

/* Lets the class be cached as the heap's limit is now; to be called before a refill,
 * and where the bin has no room. Blocks that are too many go home. */
void hak_quota_follow_slow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
HAK_HOT void hak_quota_follow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (HAK_UNLIKELY(cache->holds[cls].quota != 0 ||
                   hak_budget_is_limited(&cache->store->pool.budget))) {
    hak_quota_follow_slow(me, cache, cls);
  }
}

/* Now and then, while bins serve a thread without refills: empties bins that were cut to
 * another quota, as others may wait for theirs. */
void hak_quota_look_slow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
HAK_HOT void hak_quota_look(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (HAK_UNLIKELY(hak_budget_is_limited(&cache->store->pool.budget))) {
    hak_quota_look_slow(me, cache, cls);
  }
}

/* After a refill: the thread gives up the slabs of the class that it holds. */
void hak_quota_let_go(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

#endif
