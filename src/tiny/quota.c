#include "tiny/quota.h"

#include "tiny/capacity.h"
#include "tiny/depot.h"
#include "tiny/far.h"
#include "tiny/flush.h"
#include "tiny/hold.h"
#include "tiny/magazine.h"

enum {
  PART_OF_REST = 4, /* a class takes a quarter of what other classes have left */
  FAR_AGAIN = 512   /* refills and overflows after which a quota may do that did not */
};

static uint64_t bytes_of(uint32_t cls, uint64_t blocks) {
  return HAK_QUOTA_LISTS * blocks * hak_class_size(cls);
}

/* Sets the capacity of a bin that is empty and was granted nothing. */
static void set_capacity(const hak_cache_t *cache, uint32_t cls, uint64_t quota,
                         uint32_t blocks) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  hak_budget_t *budget = &cache->store->pool.budget;
  if (blocks > 0 && !hak_budget_quota_take(budget, bytes_of(cls, blocks))) blocks = 0;
  uint32_t least = hak_magazine_blocks(cls), carried = blocks == 0 ? 1 : blocks;
  hold->quota = quota;
  hold->granted = bytes_of(cls, blocks);
  hold->capacity_least = blocks;
  hold->magazine_blocks = carried < least ? carried : least;
  bin->capacity = (uint16_t)blocks;
  bin->spilling = 0;
  hak_bin_set_room(bin, blocks);
}

/* Empties the bins of classes that were cut to another quota, or to none. Returns the
 * bytes that the others may cache. */
static uint64_t settle(hak_thread_t *me, const hak_cache_t *cache, uint64_t quota,
                       bool far) {
  uint64_t granted = 0;
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_bin_t *bin = &cache->bins[cls];
    hak_hold_t *hold = &cache->holds[cls];
    if (hold->quota == quota) {
      granted += hold->granted;
    } else if (bin->capacity != 0 || hold->granted != 0) {
      if (far) hak_flush_store(me, cache, cls);
      hak_flush_class(me, cache, cls); /* gives back what it was granted */
    }
  }
  return granted;
}

/* True if the class was granted what a class begins with whose limit is far. */
static bool bin_is_least(const hak_cache_t *cache, uint32_t cls) {
  return cache->bins[cls].capacity >= hak_capacity_least(cls) &&
         hak_far_kept(cache, cls) <= cache->holds[cls].granted;
}

/* Nobody takes what lies in the depot of a class whose limit is near, or has gone. */
static void close_depot(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (hak_class_is_single(cls)) return;
  hak_depot_send_home(me, cache, cls);
  hak_flush_pinned(me, cache, cls);
}

void hak_quota_follow_slow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_budget_t *budget = &cache->store->pool.budget;
  hak_hold_t *hold = &cache->holds[cls];
  if (hak_cache_is_shared_way(cache)) return; /* it keeps nothing anyway */
  hak_capacity_begin(cache, cls);
  if (!hak_budget_is_limited(budget)) {
    hak_flush_class(me, cache, cls); /* makes the bin what it is without a limit */
    close_depot(me, cache, cls);
    return;
  }
  uint64_t quota = hak_budget_quota(budget);
  bool far = hak_far_is(budget, quota, hold->far != HAK_FAR_NOT);
  if (!far) close_depot(me, cache, cls);
  bool again = hold->far == HAK_FAR_NO_ROOM && ++hold->far_looks >= FAR_AGAIN &&
               (quota >= HAK_FAR_LEAST || cache->bins[cls].capacity == 0);
  if (again) hold->far_looks = 0;
  if (HAK_LIKELY(hold->quota == quota && (hold->far != HAK_FAR_NOT) == far)) {
    if (!again) return;
    if (bin_is_least(cache, cls)) {
      hold->far = HAK_FAR;
      return;
    }
  }
  if (hold->granted != 0) {
    if (far) hak_flush_store(me, cache, cls);
    hak_flush_class(me, cache, cls);
  }
  uint64_t granted = settle(me, cache, quota, far);
  uint64_t left = (quota > granted ? quota - granted : 0) / PART_OF_REST;
  if (far && hak_far_begin(cache, cls, quota, left)) return;
  uint64_t fits = left / bytes_of(cls, 1);
  uint32_t most = hak_capacity_least(cls);
  set_capacity(cache, cls, quota, fits < most ? (uint32_t)fits : most);
  hold->far = far ? HAK_FAR_NO_ROOM : HAK_FAR_NOT;
}

void hak_quota_look_slow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_budget_t *budget = &cache->store->pool.budget;
  uint64_t quota = hak_budget_quota(budget);
  /* The others were settled where this class came to its quota. */
  if (HAK_LIKELY(cache->holds[cls].quota == quota)) return;
  (void)settle(me, cache, quota, hak_far_is(budget, quota, true));
}

void hak_quota_let_go(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_list_all(me, cache, cls); /* of a single class there is none */
  /* Nothing is to be claimed either. */
  cache->holds[cls].credit = 0;
}
