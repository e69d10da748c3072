#include "tiny/refill.h"

#include "base/option.h"
#include "tiny/capacity.h"
#include "tiny/commit.h"
#include "tiny/depot.h"
#include "tiny/far.h"
#include "tiny/flush.h"
#include "tiny/hold.h"
#include "tiny/hole_map.h"
#include "tiny/holes.h"
#include "tiny/home.h"
#include "tiny/partial_list.h"
#include "tiny/quota.h"
#include "tiny/recall.h"
#include "tiny/scatter.h"
#include "tiny/single.h"
#include "tiny/slab.h"
#include "tiny/stray.h"
#include "tiny/transfer.h"
#include "tiny/trim.h"

/* A list of free blocks that are out of their slabs, for a bin. */
typedef struct batch {
  void *list;
  uint32_t count; /* blocks, at most: after misuse there are fewer */
} batch_t;

static const batch_t nothing = {HAK_LINK_END, 0};

/* A stage is about to take so many blocks off a list, which the bin gets. */
static HAK_WARM void note_in_hand(hak_thread_t *me, uint32_t cls, uint32_t blocks) {
  hak_compiler_fence();
  me->in_hand = (uint64_t)blocks * hak_class_size(cls);
  hak_compiler_fence();
}

/* Links n blocks that lie side by side; the last one is linked to `next`. */
static void link_fresh(hak_thread_t *me, char *block, uint32_t size, uint32_t n,
                       const void *next) {
  for (; n > 1; n--, block += size) hak_link_write(&me->key, block, block + size);
  hak_link_write(&me->key, block, next);
}

/* Links n blocks that lie side by side into a list that begins at one of them, which
 * depends on the heap: heaps then use different cache sets first. The blocks before it
 * come last. Returns the list. */
static char *link_coloured(hak_thread_t *me, const hak_cache_t *cache, char *block,
                           uint32_t size, uint32_t n) {
  uint32_t skip = cache->store->pool.colour * HAK_CACHE_LINE / size % n;
  char *first = block + (size_t)skip * size;
  link_fresh(me, first, size, n - skip, skip == 0 ? HAK_LINK_END : block);
  if (skip > 0) link_fresh(me, block, size, skip, HAK_LINK_END);
  return first;
}

/* Links n blocks that lie side by side and were carved before. Each must have a link,
 * unless a block in use was counted as home in the place of another one; such a block is
 * reported and stays out. Returns the list. */
static void *link_recarved(hak_thread_t *me, const hak_cache_t *cache, char *block,
                           uint32_t size, uint32_t n) {
  void *first = HAK_LINK_END, *last = NULL;
  for (; n > 0; n--, block += size) {
    if (HAK_UNLIKELY(hak_link_is_bad(&me->key, hak_link_read(&me->key, block)))) {
      hak_list_report_bad(me, cache, block);
      continue;
    }
    if (last == NULL) {
      first = block;
    } else {
      hak_link_write(&me->key, last, block);
    }
    last = block;
  }
  if (last != NULL) hak_link_write(&me->key, last, HAK_LINK_END);
  return first;
}

/* How many blocks to carve at once. In a heap that may stay small it is a little at
 * first, and then as much as has been carved already; else it is as much as refills of
 * the class were asked for lately, and of a thread's first slab of the class no more than
 * has been carved already. Blocks that are never needed would still pass through the bin
 * and through the processor's caches, and of many young threads each would have pages
 * that it never needs. */
static uint32_t carve_blocks(const hak_cache_t *cache, uint32_t cls, uint32_t carved) {
  enum {
    FIRST = 512, /* bytes */
    /* Bytes; so many cache lines that a thread seldom uses those at the ends, which it
     * may share with other threads. */
    THREADS_FIRST = 2048
  };
  uint32_t size = hak_class_size(cls);
  uint32_t most = (uint32_t)hak_option(CARVE_BYTES) / size, wish;
  if (cache->store->pool.starts_small) {
    wish = carved * size < FIRST ? FIRST / size : carved;
  } else {
    /* Without what is being asked for now: a thread's first block of the class may be the
     * only one. A period of the class may have ended just before. */
    const hak_hold_t *hold = &cache->holds[cls];
    uint32_t batch = hak_bin_batch(&cache->bins[cls]);
    wish = hold->given + hold->given_before;
    wish = wish > batch ? wish - batch : 0;
    if (wish > carved && hold->credit <= 0 && hold->first == NULL) wish = carved;
    if (wish < THREADS_FIRST / size) wish = THREADS_FIRST / size;
  }
  if (wish > most) wish = most;
  return wish > 0 ? wish : 1;
}

/* How many blocks a refill brings of a class whose slabs the thread shares: as many
 * as it has had, and a little at first. 0: it does not share them. */
static HAK_SLOW uint32_t few_of_shared(const hak_cache_t *cache, uint32_t cls) {
  enum {
    FIRST = 512 /* bytes */
  };
  if (!hak_capacity_is_shared(cache, cls)) return 0;
  uint32_t had = cache->holds[cls].shared, size = hak_class_size(cls);
  if (had > 0) return had;
  return size < FIRST ? FIRST / size : 1;
}
HAK_HOT uint32_t few_of(const hak_cache_t *cache, uint32_t cls) {
  bool shares = HAK_UNLIKELY(cache->holds[cls].shared < HAK_SHARED_ENOUGH);
  return shares ? few_of_shared(cache, cls) : 0;
}

/* How many of `wish` blocks a refill may bring: in a heap with a limit as many as the bin
 * may have, unless the quota affords all; else all. */
static uint32_t most_of(const hak_cache_t *cache, uint32_t cls, uint32_t wish) {
  const hak_hold_t *hold = &cache->holds[cls];
  uint32_t batch = hak_bin_batch(&cache->bins[cls]);
  if (HAK_LIKELY(hold->quota == 0) || wish <= batch) return wish;
  return hold->far == HAK_FAR && hak_far_affords(cache, cls, wish) ? wish : batch;
}

/* Carves blocks from a slab that this thread holds; none if memory is short. */
static batch_t carve(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                     hak_slab_t *slab) {
  HAK_COUNT(me, refill_carve, 1);
  uint32_t size = hak_class_size(cls), carved = hak_slab_carved(slab);
  uint32_t left = hak_slab_capacity(slab) - carved, n = few_of(cache, cls);
  if (HAK_LIKELY(n == 0)) n = carve_blocks(cache, cls, carved);
  if (n > left) n = left;
  n = most_of(cache, cls, n);
  n = hak_commit_blocks(me, cache, slab, n);
  if (HAK_UNLIKELY(n == 0)) return nothing;
  char *block = hak_slab_start(slab) + (size_t)carved * size;
  void *first = block;
  if (HAK_CHECKS >= 3) {
    first = hak_scatter(me, cache, slab, block, n);
  } else if (HAK_CHECKS >= 1 && slab->dirty) {
    first = link_recarved(me, cache, block, size, n);
  } else {
    first = link_coloured(me, cache, block, size, n);
  }
  note_in_hand(me, cls, n);
  hak_slab_carve(slab, n);
  if (carved + n == hak_slab_capacity(slab)) {
    cache->holds[cls].current = NULL;
    slab->dirty = 0;
    if (slab->queue == HAK_QUEUE_NONE) hak_hold_let_go(me, cache, slab, cls);
  }
  return (batch_t){first, n};
}

/* Empties a magazine that was sifted. */
static batch_t from_magazine(hak_thread_t *me, uint32_t cls, hak_magazine_t *magazine) {
  uint32_t count = hak_load_relaxed(&magazine->count);
  note_in_hand(me, cls, count);
  return (batch_t){hak_magazine_link(me, magazine), count};
}

/* The blocks of a magazine from the transfer cache. They would have to go home again but
 * for one, where nothing is kept. */
static batch_t from_transfer(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (hak_cache_is_shared_way(cache)) return nothing;
  hak_magazine_t *magazine = hak_transfer_take(cache, cls);
  if (magazine == NULL) return nothing;
  note_in_hand(me, cls, hak_load_relaxed(&magazine->count));
  HAK_COUNT(me, refill_transfer, 1);
  hak_magazine_sift(me, cache, cls, magazine);
  uint32_t count = hak_load_relaxed(&magazine->count);
  uint32_t most = most_of(cache, cls, count);
  if (HAK_UNLIKELY(count > most)) {
    hak_store_relaxed(&magazine->count, most);
    hak_home_blocks(me, cache, cls, &magazine->blocks[most], count - most);
    hak_flush_pinned(me, cache, cls);
  }
  batch_t batch = from_magazine(me, cls, magazine);
  hak_hold_t *hold = &cache->holds[cls];
  if (hak_load_relaxed(&hold->magazine) == NULL) {
    hak_store_relaxed(&hold->magazine, magazine);
  } else {
    hak_magazine_put(me, magazine);
  }
  return batch;
}

/* The first blocks of a slab's list, so that a bin stays bounded in bytes; the slab goes
 * into the queue. */
static batch_t part_of_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                            hak_slab_t *slab, uint32_t most) {
  uint32_t count;
  note_in_hand(me, cls, most);
  void *first = hak_slab_take_some(me, cache, slab, most, &count);
  hak_hold_requeue(cache, slab, cls);
  return (batch_t){first, count};
}

/* True if a bin may not get a slab's list of so many blocks as a whole. Else it does even
 * if the bin's own lists may not be as long: what is left of the slab would take the
 * blocks that the thread frees, past a bin that is then refilled again and again. */
static bool is_parted(const hak_cache_t *cache, uint32_t cls, uint32_t free) {
  uint32_t few = few_of(cache, cls);
  if (HAK_UNLIKELY(few != 0)) return free > few;
  return most_of(cache, cls, free) < free;
}

/* The list of a partly free slab of this thread. */
static batch_t from_held(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_slab_t *slab = hak_hold_dequeue(me, cache, cls);
  if (slab == NULL) return nothing;
  HAK_COUNT(me, refill_partial, 1);
  hak_hold_t *hold = &cache->holds[cls];
  uint32_t carved = hak_slab_carved(slab), free = carved - hak_slab_out(slab);
  uint32_t few = few_of(cache, cls);
  uint32_t most = HAK_LIKELY(few == 0) ? hak_bin_batch(&cache->bins[cls]) : few;
  if (is_parted(cache, cls, free)) {
    hold->given += most;
    return part_of_list(me, cache, cls, slab, most);
  }
  hold->given += free;
  note_in_hand(me, cls, free);
  void *list = hak_slab_take_list(slab);
  if (hak_slab_refill_remote(me, cache, slab)) {
    hak_hold_requeue(cache, slab, cls);
    return (batch_t){list, free};
  }
  hak_hold_set_entry(me, cache, slab, hak_cache_entry(cache, cls));
  if (carved == hak_slab_capacity(slab)) hak_hold_let_go(me, cache, slab, cls);
  return (batch_t){list, free};
}

/* The list of a wholly carved slab on the partial list. The slab is full then, or this
 * thread holds it if its list is too long for a bin. */
static batch_t from_listed(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_central_t *central = &cache->store->centrals[cls];
  if (hak_load_relaxed(&central->groups) == 0) return nothing;
  batch_t batch = nothing;
  HAK_COUNT(me, shelf_visits, 1);
  hak_lock_acquire(&central->lock);
  hak_slab_t *slab = hak_partial_first_locked(central);
  if (slab != NULL) {
    hak_partial_remove_locked(central, slab);
    uint32_t carved = hak_slab_carved(slab), free = carved - hak_slab_out(slab);
    bool holes = hak_hole_map_any(slab);
    if (holes || is_parted(cache, cls, free)) {
      /* The list is too long for a bin, or not whole, so this thread holds the slab. */
      hak_slab_partial_to_held_locked(cache, slab);
      hak_lock_release(&central->lock);
      if (HAK_UNLIKELY(holes)) hak_holes_end(me, slab);
      cache->holds[cls].credit--;
      hak_hold_requeue(cache, slab, cls);
      hak_hold_name(me, cache, slab);
      return from_held(me, cache, cls);
    }
    hak_hold_name_bin_locked(me, cache, slab);
    note_in_hand(me, cls, free);
    batch = (batch_t){hak_slab_partial_to_full_locked(cache, slab), free};
    cache->holds[cls].credit++;
    HAK_COUNT(me, refill_shelf, 1);
  }
  hak_lock_release(&central->lock);
  return batch;
}

/* Slabs that are leaving come after those that were never wholly carved. */
static batch_t from_partial(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_central_t *central = &cache->store->centrals[cls];
  bool leaving_only = hak_load_relaxed(&central->groups) == (uint32_t)1
                                                                << HAK_PARTIAL_LEAVING;
  if (leaving_only && hak_load_relaxed(&central->uncarved) != NULL) return nothing;
  return from_listed(me, cache, cls);
}

/* Takes a partly carved slab off the partial list and holds it, if `free` one with free
 * blocks among the first few; NULL if there is none. */
static hak_slab_t *take_uncarved(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                                 bool free) {
  enum {
    LOOKS = 64
  };
  hak_central_t *central = &cache->store->centrals[cls];
  if (hak_load_relaxed(&central->uncarved) == NULL) return NULL;
  HAK_COUNT(me, shelf_visits, 1);
  hak_lock_acquire(&central->lock);
  hak_slab_t *slab = hak_load_relaxed(&central->uncarved);
  int looks = 0;
  while (free && slab != NULL && hak_slab_out(slab) == hak_slab_carved(slab)) {
    slab = ++looks < LOOKS ? slab->next : NULL;
  }
  if (slab != NULL) {
    hak_partial_remove_locked(central, slab);
    hak_hold_name_bin_locked(me, cache, slab);
    hak_slab_partial_to_held_locked(cache, slab);
  }
  hak_lock_release(&central->lock);
  return slab;
}

/* The free blocks of a partly carved slab, which is the current one from here on. */
static batch_t from_uncarved(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                             hak_slab_t *slab) {
  cache->holds[cls].current = slab;
  uint32_t free = hak_slab_carved(slab) - hak_slab_out(slab);
  if (free == 0) return nothing;
  uint32_t few = few_of(cache, cls);
  if (HAK_UNLIKELY(few != 0 && free > few)) {
    return part_of_list(me, cache, cls, slab, few);
  }
  if (free > most_of(cache, cls, free)) {
    return part_of_list(me, cache, cls, slab, hak_bin_batch(&cache->bins[cls]));
  }
  note_in_hand(me, cls, free);
  return (batch_t){hak_slab_take_list(slab), free};
}

/* Carves blocks of a slab that stays on the partial list, as far as its pages go. */
static HAK_SLOW batch_t carve_listed_locked(hak_thread_t *me, const hak_cache_t *cache,
                                            hak_central_t *central, hak_slab_t *slab,
                                            uint32_t n) {
  hak_lock_assert_held(&central->lock);
  if (HAK_CHECKS >= 3 || slab->dirty) return nothing;
  uint32_t carved = hak_slab_carved(slab), left = hak_slab_capacity(slab) - carved;
  if (n > left) n = left;
  size_t size = hak_list_block_size(&slab->list), start = carved * size;
  if (start + n * size > hak_commit_bytes(cache, slab)) return nothing;
  HAK_COUNT(me, refill_carve, 1);
  if (n == left) hak_partial_remove_locked(central, slab);
  char *block = hak_slab_start(slab) + start;
  link_fresh(me, block, (uint32_t)size, n, HAK_LINK_END);
  note_in_hand(me, hak_slab_class(slab), n);
  hak_slab_carve(slab, n);
  if (n == left) (void)hak_slab_partial_to_full_locked(cache, slab);
  return (batch_t){block, n};
}

/* A few blocks of a slab on the partial list, which nobody holds meanwhile. */
static HAK_SLOW batch_t from_shared(hak_thread_t *me, const hak_cache_t *cache,
                                    uint32_t cls, uint32_t few) {
  hak_central_t *central = &cache->store->centrals[cls];
  if (hak_load_relaxed(&central->groups) == 0 &&
      hak_load_relaxed(&central->uncarved) == NULL) {
    return nothing;
  }
  batch_t batch = nothing;
  HAK_COUNT(me, shelf_visits, 1);
  hak_lock_acquire(&central->lock);
  hak_slab_t *slab = hak_partial_first_locked(central);
  bool carved = slab != NULL;
  if (!carved) slab = hak_load_relaxed(&central->uncarved);
  bool leaving = carved && slab->group == HAK_PARTIAL_LEAVING;
  if (slab != NULL && !leaving && !hak_hole_map_any(slab)) {
    uint32_t out = hak_slab_out(slab), free = hak_slab_carved(slab) - out;
    hak_hold_name_bin_locked(me, cache, slab);
    if (free != 0) HAK_COUNT(me, refill_shelf, 1);
    if (free == 0) {
      batch = carve_listed_locked(me, cache, central, slab, few);
    } else if (carved && free <= few) {
      hak_partial_remove_locked(central, slab);
      note_in_hand(me, cls, free);
      batch = (batch_t){hak_slab_partial_to_full_locked(cache, slab), free};
    } else {
      note_in_hand(me, cls, few);
      batch.list = hak_slab_take_some(me, cache, slab, few, &batch.count);
      hak_partial_regroup_locked(central, slab, out);
    }
  }
  hak_lock_release(&central->lock);
  return batch;
}

/* A new slab is the current one from here on; NULL if memory is short. */
static hak_slab_t *begin_current(hak_thread_t *me, const hak_cache_t *cache,
                                 uint32_t cls) {
  hak_slab_t *slab = hak_hold_new(me, cache, cls);
  if (slab == NULL) return NULL;
  HAK_COUNT(me, refill_slab, 1);
  cache->holds[cls].current = slab;
  return slab;
}

/* The current slab's next pages are refused: it waits on the partial list, and what the
 * heap has of the class elsewhere serves, or slots that have pages. */
static HAK_SLOW batch_t from_elsewhere(hak_thread_t *me, const hak_cache_t *cache,
                                       uint32_t cls) {
  hak_hold_list_all(me, cache, cls);
  batch_t batch = from_listed(me, cache, cls);
  if (batch.list != HAK_LINK_END) return batch;
  hak_slab_t *slab = take_uncarved(me, cache, cls, true);
  if (slab != NULL) return from_uncarved(me, cache, cls, slab);
  slab = begin_current(me, cache, cls);
  return slab == NULL ? nothing : carve(me, cache, cls, slab);
}

/* Blocks of the slab that is being carved. If there is none, a partly carved slab of the
 * partial list is carved from here on, or a new one. */
static batch_t from_current(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_slab_t *slab = hold->current;
  if (slab == NULL) {
    slab = take_uncarved(me, cache, cls, false);
    if (slab != NULL) {
      batch_t batch = from_uncarved(me, cache, cls, slab);
      if (batch.list != HAK_LINK_END) return batch;
    } else {
      slab = begin_current(me, cache, cls);
      if (slab == NULL) return nothing;
    }
  }
  /* Others may free more of its blocks meanwhile, which is then seen when the thread
   * gives something up. */
  uint32_t remote_now = (uint32_t)hak_word_remote_count(hak_load_relaxed(&slab->word));
  if (HAK_LIKELY(!hak_capacity_is_cut(hold)) &&
      most_of(cache, cls, remote_now) == remote_now) {
    uint32_t count;
    note_in_hand(me, cls, remote_now);
    void *remote = hak_slab_take_remote(me, cache, slab, &count);
    if (remote != NULL)
      return (batch_t){remote, count}; /* the blocks count as out already */
  }
  batch_t batch = carve(me, cache, cls, slab);
  return HAK_LIKELY(batch.list != HAK_LINK_END) ? batch : from_elsewhere(me, cache, cls);
}

/* A list that other blocks made room for, in a heap whose limit is far. */
static batch_t from_depot(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (hak_class_is_single(cls) || hak_depot_is_empty(&cache->store->centrals[cls])) {
    return nothing;
  }
  uint32_t most = hak_bin_batch(&cache->bins[cls]);
  hak_depot_list_t list = hak_depot_take(me, cache, cls, most);
  return (batch_t){list.list, list.count};
}

/* Blocks from the first stage that has any (refill.h), for a bin that is empty. *stored:
 * a depot had them, and what the thread keeps is its bin as it was. */
static batch_t next_batch(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                          bool *stored) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  hak_quota_follow(me, cache, cls);
  bin->spilling = 0;
  hold->lean = HAK_LEAN_NOT;
  hak_bin_set_room(bin, hak_bin_capacity(bin));
  if (hold->spare != HAK_LINK_END) {
    HAK_COUNT(me, refill_spare, 1);
    batch_t batch = {hold->spare, hak_load_relaxed(&hold->spare_count)};
    note_in_hand(me, cls, batch.count);
    hold->spare = HAK_LINK_END;
    hak_store_relaxed(&hold->spare_count, 0);
    hold->taken += batch.count;
    return batch;
  }
  bool far = hold->far != HAK_FAR_NOT;
  if (HAK_UNLIKELY(far)) {
    batch_t batch = from_depot(me, cache, cls);
    hold->taken += batch.count;
    *stored = batch.list != HAK_LINK_END;
    if (*stored) return batch;
  }
  hak_trim_bin(me, cache);
  if (hak_class_is_single(cls)) {
    hak_capacity_grow_single(me, cache, cls);
    void *block = hak_single_new(me, cache, cls);
    if (block == NULL) return nothing;
    hak_link_write(&me->key, block, HAK_LINK_END);
    return (batch_t){block, 1};
  }
  uint32_t few = few_of(cache, cls);
  hold->given += HAK_LIKELY(few == 0) ? hak_bin_batch(bin) : few;
  if (!hak_cache_is_shared_way(cache) &&
      hold->given >= (uint64_t)hak_option(TRIM_REFILLS) * hak_bin_batch(bin)) {
    hak_trim_class(me, cache, cls);
  }
  hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
  if (magazine != NULL && hak_load_relaxed(&magazine->count) > 0) {
    HAK_COUNT(me, refill_magazine, 1);
    hak_magazine_sift(me, cache, cls, magazine);
    batch_t batch = from_magazine(me, cls, magazine);
    if (HAK_LIKELY(batch.list != HAK_LINK_END)) return batch;
  }
  batch_t batch = from_transfer(me, cache, cls);
  if (HAK_UNLIKELY(few != 0) && batch.list == HAK_LINK_END && !hak_capacity_is_cut(hold))
    batch = from_shared(me, cache, cls, few);
  if (batch.list == HAK_LINK_END) batch = from_held(me, cache, cls);
  if (batch.list == HAK_LINK_END && hold->current == NULL)
    batch = from_partial(me, cache, cls);
  if (batch.list == HAK_LINK_END) batch = from_current(me, cache, cls);
  hold->taken += batch.count;
  if (HAK_UNLIKELY(far)) hak_depot_note_missed(cache, cls, batch.count);
  return batch;
}

/* Gives up a list from which nothing can be taken although it has blocks: the link of its
 * first block is broken, or leads to the block itself. */
static void give_up(hak_thread_t *me, const hak_cache_t *cache, void **list) {
  if (HAK_LIKELY(*list == HAK_LINK_END)) return;
  hak_list_report_bad(me, cache, *list);
  *list = HAK_LINK_END;
}

static HAK_WARM void *refill(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  bool mid = cls >= HAK_TINY_CLASSES;
  void **first = mid ? &bin->list.head : &bin->ready;
  void **second = mid ? &bin->ready : &bin->list.head;
  for (;;) {
    void *block;
    if (!hak_bin_take_fails(&me->key, bin, cls, &block)) {
      if (HAK_LIKELY(!hak_stray_is_other(cls, block) && !hak_stray_refuses(cls, block))) {
        return block;
      }
      hak_stray_report(me, cache, block);
      hak_stray_leave(&me->key, bin, cls, block);
      continue;
    }
    if (HAK_UNLIKELY(*first != HAK_LINK_END)) {
      give_up(me, cache, first);
      continue;
    }
    give_up(me, cache, second);
    HAK_COUNT(me, slow_alloc, 1);
    hak_capacity_begin(cache, cls);
    bool shares = hak_capacity_is_shared(cache, cls);
    bool stored = false;
    batch_t batch = next_batch(me, cache, cls, &stored);
    if (HAK_UNLIKELY(shares || (hak_capacity_is_cut(&cache->holds[cls]) && !stored))) {
      hak_quota_let_go(me, cache, cls);
      if (shares) hak_capacity_note_shared(cache, cls, batch.count);
    }
    if (batch.list == HAK_LINK_END) break;
    bin->ready = batch.list;
    hak_store_relaxed(&bin->ready_count,
                      (uint16_t)(batch.count - 1)); /* less the one taken next */
    note_in_hand(me, cls, 0);
    if (!stored) hak_far_settle(me, cache, cls);
  }
  note_in_hand(me, cls, 0);
  return NULL;
}

/* Counts the allocations that the bin now serves before it comes here again. If it came
 * because flips are used up, its list stands for those that the others brought: bins come
 * here as often as they flip. Over HAK_TINY_MAX it is known what a flip stands for. */
static void count_way(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  bool due = cache->pace != NULL && hak_load_relaxed(&cache->pace->flips) < 0;
  int64_t served = due && cls >= HAK_TINY_CLASSES
                       ? HAK_POPS_OF_FLIP
                       : 1 + hak_load_relaxed(&cache->bins[cls].ready_count);
  me->guard.left -= due ? served * (1 + (int64_t)me->guard.flips) : served;
}

HAK_WARM void *hak_refill_bin(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  void *block = refill(me, cache, cls);
  count_way(me, cache, cls);
  /* Only now, as a bin that is filled has its room. */
  if (cache->pace != NULL && hak_load_relaxed(&cache->pace->flips) < 0) {
    hak_recall_look(me, cache);
    hak_quota_look(me, cache, cls);
  } else {
    hak_recall(me, cache, cls);
  }
  return block;
}

/* A bin and a hold of this one class, which are cut to nothing as in a heap whose limit
 * grants no quota: one block is taken, and the slab goes back to the partial list.
 * Nothing looks at other classes of such a cache. */
void *hak_refill_one(hak_thread_t *me, hak_store_t *store, uint32_t cls, uint64_t entry) {
  hak_bin_t bin = {.list = {HAK_LINK_END, 0, hak_class_size(cls)}, .ready = HAK_LINK_END};
  hak_hold_t hold = {.spare = HAK_LINK_END,
                     .quota = HAK_QUOTA_NONE,
                     .magazine_blocks = 1,
                     .shared = HAK_SHARED_NOT};
  hak_cache_t cache = {
      (hak_bin_t *)((uintptr_t)&bin - cls * sizeof bin),
      (hak_hold_t *)((uintptr_t)&hold - cls * sizeof hold),
      store,
      entry,
      NULL,
      NULL,
      NULL,
      me->code,
      NULL,
  };
  void *block = hak_refill_bin(me, &cache, cls);
  hak_assert(bin.ready == HAK_LINK_END && bin.list.head == HAK_LINK_END);
  hak_assert(hold.first == NULL && hold.current == NULL);
  return block;
}
