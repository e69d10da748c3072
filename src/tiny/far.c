#include "tiny/far.h"

#include "tiny/commit.h"
#include "tiny/hold.h"
#include "tiny/transfer.h"

enum {
  SURPLUS = 2,    /* a grant of which less than half is needed becomes what is needed, */
  AHEAD = 4,      /* and a quarter more */
  SMALLER = 4,    /* a bin that is not granted is tried with that part of its blocks */
  SLABS_SHARE = 4 /* of a quota slabs may have what bins leave of a quarter */
};

static uint64_t least_bytes(uint32_t cls, uint32_t capacity) {
  return (uint64_t)HAK_FAR_LISTS * capacity * hak_class_size(cls);
}

bool hak_far_begin(const hak_cache_t *cache, uint32_t cls, uint64_t quota,
                   uint64_t most) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  hak_budget_t *budget = &cache->store->pool.budget;
  uint32_t least = hak_capacity_least(cls);
  uint64_t fits = most / least_bytes(cls, 1);
  uint32_t blocks = fits < least ? (uint32_t)fits : least;
  while (blocks > 0 && !hak_budget_quota_take(budget, least_bytes(cls, blocks))) {
    blocks /= SMALLER;
  }
  uint64_t bytes = least_bytes(cls, blocks);
  if (blocks == 0 && least != 0) return false;
  hold->quota = quota;
  hold->granted = bytes;
  hold->far = quota >= HAK_FAR_LEAST ? HAK_FAR : HAK_FAR_NO_ROOM;
  hold->capacity_least = blocks;
  hold->magazine_blocks = hak_magazine_blocks(cls);
  bin->capacity = (uint16_t)blocks;
  bin->spilling = 0;
  hak_bin_set_room(bin, blocks);
  return true;
}

static uint64_t carried(const hak_hold_t *hold) {
  hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
  return magazine == NULL ? 0 : hak_load_relaxed(&magazine->count);
}

static uint64_t beyond(uint32_t blocks, const hak_bin_t *bin) {
  return blocks > bin->capacity ? (uint64_t)(blocks - bin->capacity) : 0;
}

static uint64_t slab_bytes(const hak_cache_t *cache, uint32_t cls) {
  if (hak_class_is_single(cls)) return 0;
  hak_hold_t *hold = &cache->holds[cls];
  uint64_t bytes =
      (uint64_t)hold->slabs * cache->store->geometry[cls].span_next * HAK_SLAB_SIZE;
  hak_slab_t *current = hold->current;
  if (current != NULL && current->queue == HAK_QUEUE_NONE) {
    bytes += hak_commit_bytes(cache, current);
  }
  return bytes;
}

uint64_t hak_far_kept(const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  uint64_t bytes = least_bytes(cls, bin->capacity);
  uint64_t more = beyond(hak_load_relaxed(&bin->ready_count), bin) +
                  hak_load_relaxed(&hold->spare_count) + carried(hold);
  bytes += more * hak_class_size(cls);
  return bytes + slab_bytes(cache, cls);
}

bool hak_far_affords(const hak_cache_t *cache, uint32_t cls, uint32_t blocks) {
  return hak_capacity_widen(
      cache, cls, hak_far_kept(cache, cls) + (uint64_t)blocks * hak_class_size(cls));
}

/* The class is granted no more than so many bytes. */
static void narrow(const hak_cache_t *cache, uint32_t cls, uint64_t most) {
  hak_hold_t *hold = &cache->holds[cls];
  if (hold->granted <= most) return;
  hak_budget_quota_return(&cache->store->pool.budget, hold->granted - most);
  hold->granted = most;
}

/* To ask for each slab, and to give it up again, would cost more than to hold none. */
static void end_far(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_hold_list_all(me, cache, cls);
  hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
  if (magazine != NULL) hak_transfer_empty(me, cache, cls, magazine);
  cache->bins[cls].spilling = 0;
  hold->credit = 0;
  hold->far = HAK_FAR_NO_ROOM;
  hold->far_looks = 0;
  narrow(cache, cls, hak_far_kept(cache, cls));
}

void hak_far_settle_slow(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  uint64_t kept = hak_far_kept(cache, cls);
  if (HAK_UNLIKELY(kept > hold->granted)) {
    bool fits = slab_bytes(cache, cls) == 0 ||
                hak_capacity_quotas(cache->holds) + (kept - hold->granted) <=
                    hold->quota / SLABS_SHARE;
    if (fits && hak_capacity_widen(cache, cls, kept)) return;
    if (!hak_class_is_single(cls)) end_far(me, cache, cls);
  } else if (HAK_UNLIKELY(kept < hold->granted / SURPLUS)) {
    narrow(cache, cls, kept + kept / AHEAD);
  }
}
