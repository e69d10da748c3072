/* quota.h - what a thread caches of a heap with a hard limit: a quota of the limit.
 *
 * Depends on: capacity, flush, hold, magazine.   Used by: tiny.
 *
 * What lies in one thread's caches no other thread can have, and a heap that may not
 * grow must not lose much to that. Of such a heap a thread keeps no slabs between two
 * calls: a refill takes what fits into the bin, and the rest of the slab is at once
 * everybody's, on the partial list. What fills a bin goes straight home. Bins and
 * magazines are cut to the quota that the budget gives each thread (pages/budget.h): a
 * class that is used takes a part of what other classes have left, down to nothing, where
 * every block comes from the partial list and goes back there.
 *
 *     granted == sum over classes of 4 x capacity x block size <= share
 *     sum over threads of granted == the budget's `cached` <= limit / 16
 *
 * The quota changes as threads come and go. A thread sees it at the next refill or
 * overflow of a class, and gives back what its other classes have too much.
 */
#ifndef HAK_TINY_QUOTA_H
#define HAK_TINY_QUOTA_H

#include "tiny/capacity.h"

/* Before a refill, or where the bin has no room: its capacity follows the limits of
 * the heap. Blocks that are too many go home. */
void hak_quota_follow_slow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);
HAK_HOT void hak_quota_follow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (HAK_UNLIKELY(hak_capacity_is_cut(&cache->holds[cls]) ||
                   hak_budget_is_limited(&cache->store->pool.budget))) {
    hak_quota_follow_slow(me, cache, cls);
  }
}

/* After a refill: the thread holds no slab of the class any more. */
void hak_quota_let_go(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls);

#endif
