#include "tiny/far.h"

#include "tiny/commit.h"
#include "tiny/hold.h"
#include "tiny/magazine.h"

enum {
  LISTS = 3, /* of a bin */
  /* A grant of which less than a quarter is needed is halved, and halved again. */
  SURPLUS = 4
};

static uint64_t least_bytes(uint32_t cls, uint32_t capacity) {
  if (capacity == 0) return 0;
  return (uint64_t)(LISTS * capacity + hak_magazine_blocks(cls)) * hak_class_size(cls);
}

bool hak_far_begin(const hak_cache_t *cache, uint32_t cls, uint64_t quota,
                   uint64_t most) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  uint32_t blocks = hak_capacity_least(cls);
  uint64_t bytes = least_bytes(cls, blocks);
  if (bytes > most) return false;
  if (bytes != 0 && !hak_budget_quota_take(&cache->store->pool.budget, bytes)) {
    return false;
  }
  hold->quota = quota;
  hold->granted = bytes;
  hold->far = HAK_FAR;
  hold->capacity_least = blocks;
  hold->magazine_blocks = hak_magazine_blocks(cls);
  bin->capacity = (uint16_t)blocks;
  bin->spilling = 0;
  hak_bin_set_room(bin, blocks);
  return true;
}

static uint64_t beyond(uint32_t blocks, const hak_bin_t *bin) {
  return blocks > bin->capacity ? (uint64_t)(blocks - bin->capacity) : 0;
}

uint64_t hak_far_kept(const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  uint64_t bytes = least_bytes(cls, bin->capacity);
  bytes += beyond(hak_load_relaxed(&bin->ready_count), bin) * hak_class_size(cls);
  bytes += beyond(hak_load_relaxed(&hold->spare_count), bin) * hak_class_size(cls);
  if (hak_class_is_single(cls)) return bytes;
  bytes += (uint64_t)hold->slabs * cache->store->geometry[cls].span_next * HAK_SLAB_SIZE;
  hak_slab_t *current = hold->current;
  if (current != NULL && current->queue == HAK_QUEUE_NONE) {
    bytes += hak_commit_bytes(cache, current);
  }
  return bytes;
}

bool hak_far_affords(const hak_cache_t *cache, uint32_t cls, uint32_t blocks) {
  return hak_capacity_widen(
      cache, cls, hak_far_kept(cache, cls) + (uint64_t)blocks * hak_class_size(cls));
}

/* To ask for each slab, and to give it up again, would cost more than to hold none. */
static void end_far(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_hold_list_all(me, cache, cls);
  hold->credit = 0;
  hold->far = HAK_FAR_NO_ROOM;
  hold->far_looks = 0;
}

void hak_far_settle_slow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  uint64_t kept = hak_far_kept(cache, cls);
  if (HAK_UNLIKELY(kept > hold->granted)) {
    if (hak_capacity_widen(cache, cls, kept) || hak_class_is_single(cls)) return;
    end_far(me, cache, cls);
  } else if (HAK_UNLIKELY(kept < hold->granted / SURPLUS)) {
    uint64_t less = hold->granted / 2;
    hold->granted -= less;
    hak_budget_quota_return(&cache->store->pool.budget, less);
  }
}
