#include "tiny/refill.h"

#include "base/option.h"
#include "tiny/capacity.h"
#include "tiny/carve.h"
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

/* Carves blocks from a slab that this thread holds; none if memory is short. */
static batch_t carve(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                     hak_slab_t *slab) {
  batch_t batch;
  batch.list = hak_carve(me, cache, cls, slab, UINT32_MAX, &batch.count);
  return batch;
}

/* Empties a magazine that was sifted. */
static batch_t from_magazine(hak_thread_t *me, uint32_t cls, hak_magazine_t *magazine) {
  uint32_t count = hak_load_relaxed(&magazine->count);
  hak_carve_note(me, cls, count);
  return (batch_t){hak_magazine_link(me, magazine), count};
}

/* The blocks of a magazine from the transfer cache. They would have to go home again but
 * for one, where nothing is kept. */
static batch_t from_transfer(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (hak_cache_is_shared_way(cache)) return nothing;
  hak_magazine_t *magazine = hak_transfer_take(cache, cls);
  if (magazine == NULL) return nothing;
  hak_carve_note(me, cls, hak_load_relaxed(&magazine->count));
  HAK_COUNT(me, refill_transfer, 1);
  hak_magazine_sift(me, cache, cls, magazine);
  uint32_t count = hak_load_relaxed(&magazine->count);
  uint32_t most = hak_carve_most(cache, cls, count);
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
  hak_carve_note(me, cls, most);
  void *first = hak_slab_take_some(me, cache, slab, most, &count);
  hak_hold_requeue(cache, slab, cls);
  return (batch_t){first, count};
}

/* True if a bin may not get a slab's list of so many blocks as a whole. Else it does even
 * if the bin's own lists may not be as long: what is left of the slab would take the
 * blocks that the thread frees, past a bin that is then refilled again and again. */
static bool is_parted(const hak_cache_t *cache, uint32_t cls, uint32_t free) {
  uint32_t few = hak_carve_few(cache, cls);
  if (HAK_UNLIKELY(few != 0)) return free > few;
  return hak_carve_most(cache, cls, free) < free;
}

/* The list of a partly free slab of this thread. */
static batch_t from_held(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_slab_t *slab = hak_hold_dequeue(me, cache, cls);
  if (slab == NULL) return nothing;
  HAK_COUNT(me, refill_partial, 1);
  hak_hold_t *hold = &cache->holds[cls];
  uint32_t carved = hak_slab_carved(slab), free = carved - hak_slab_out(slab);
  uint32_t few = hak_carve_few(cache, cls);
  uint32_t most = HAK_LIKELY(few == 0) ? hak_bin_batch(&cache->bins[cls]) : few;
  if (is_parted(cache, cls, free)) {
    hold->given += most;
    return part_of_list(me, cache, cls, slab, most);
  }
  hold->given += free;
  hak_carve_note(me, cls, free);
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
    hak_carve_note(me, cls, free);
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
  uint32_t few = hak_carve_few(cache, cls);
  if (HAK_UNLIKELY(few != 0 && free > few)) {
    return part_of_list(me, cache, cls, slab, few);
  }
  if (free > hak_carve_most(cache, cls, free)) {
    return part_of_list(me, cache, cls, slab, hak_bin_batch(&cache->bins[cls]));
  }
  hak_carve_note(me, cls, free);
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
  hak_carve_link(me, block, (uint32_t)size, n, HAK_LINK_END);
  hak_carve_note(me, hak_slab_class(slab), n);
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
      hak_carve_note(me, cls, free);
      batch = (batch_t){hak_slab_partial_to_full_locked(cache, slab), free};
    } else {
      hak_carve_note(me, cls, few);
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
      hak_carve_most(cache, cls, remote_now) == remote_now) {
    uint32_t count;
    hak_carve_note(me, cls, remote_now);
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
    hak_carve_note(me, cls, batch.count);
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
  uint32_t few = hak_carve_few(cache, cls);
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
  if (HAK_UNLIKELY(few != 0) && batch.list == HAK_LINK_END)
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
    hak_carve_note(me, cls, 0);
    if (!stored) hak_far_settle(me, cache, cls);
  }
  hak_carve_note(me, cls, 0);
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

/* Whether the bin has come here because flips are used up, and its list serves. */
static bool flips(const hak_cache_t *cache, uint32_t cls) {
  const hak_bin_t *bin = &cache->bins[cls];
  return cls < HAK_TINY_CLASSES && cache->pace != NULL &&
         hak_load_relaxed(&cache->pace->flips) < 0 && bin->ready == HAK_LINK_END &&
         bin->list.head != HAK_LINK_END;
}

/* The last block that lies ready in the bin, NULL if there is none. False if there are
 * more than a few, or they are not what they should be. */
static bool find_last(hak_thread_t *me, hak_bin_t *bin, uint32_t few, void **last) {
  *last = NULL;
  for (void *block = bin->ready; block != HAK_LINK_END; few--) {
    void *next = hak_link_read(&me->key, block);
    if (few == 0 || hak_link_is_broken(&me->key, block, next)) return false;
    *last = block;
    block = next;
  }
  return true;
}

/* A bin that flips with every few allocations gets more blocks to serve from, out of the
 * pages of the slab that is being carved. A thread that frees what it has just allocated
 * would else go on so for good: what it took before decides by chance how many blocks
 * are left to it, and each flip costs as much as several allocations. */
static HAK_SLOW void top_up(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  enum {
    FEW = 8,         /* blocks */
    SIZE_MOST = 256, /* bytes: larger ones cost more where the cache has them not */
    BYTES = 1024     /* for all that a bin is given */
  };
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  uint32_t size = hak_class_size(cls), count = 0;
  void *last;
  if (size > SIZE_MOST || !hak_capacity_is_begun(cache, cls)) return;
  hak_slab_t *slab = hold->current;
  if (slab == NULL || hak_capacity_is_cut(hold) || hak_capacity_is_shared(cache, cls) ||
      !find_last(me, bin, FEW, &last)) {
    return;
  }
  size_t cut = (size_t)hak_slab_carved(slab) * size;
  size_t left = (hak_commit_bytes(cache, slab) - cut) / size;
  uint32_t most = left < BYTES / size ? (uint32_t)left : BYTES / size;
  void *list = most == 0 ? HAK_LINK_END : hak_carve(me, cache, cls, slab, most, &count);
  if (last == NULL) {
    bin->ready = list;
  } else {
    hak_link_write(&me->key, last, list);
  }
  count += hak_load_relaxed(&bin->ready_count);
  hak_store_relaxed(&bin->ready_count, (uint16_t)count);
  hak_carve_note(me, cls, 0);
  hak_far_settle(me, cache, cls);
}

HAK_WARM void *hak_refill_bin(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  bool few = flips(cache, cls);
  void *block = refill(me, cache, cls);
  count_way(me, cache, cls);
  if (HAK_UNLIKELY(few)) top_up(me, cache, cls);
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
