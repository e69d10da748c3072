#include "tiny/spill.h"

#include "superslab/locate.h"
#include "tiny/capacity.h"
#include "tiny/depot.h"
#include "tiny/far.h"
#include "tiny/flush.h"
#include "tiny/hold.h"
#include "tiny/home.h"
#include "tiny/lean.h"
#include "tiny/quota.h"
#include "tiny/recall.h"
#include "tiny/single.h"
#include "tiny/transfer.h"

enum {
  /* A thread whose bin has spilled so often, without an allocation in between, may never
   * allocate of the class again. Then the blocks that lie ready go home too, as each may
   * keep a slab from becoming free. */
  SPILLS_PATIENCE = 16,
  HELD_FACTOR = 64 /* times slabs_most: a longer queue is shortened */
};

/* Sends the first block of the list home if this thread holds its slab or can claim it,
 * so that later frees go straight to the slab. True if the list is that block shorter. */
static bool convert(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                    void **list) {
  void *block = *list;
  hak_slab_t *slab = hak_slab_of(block);
  if (!hak_stray_starts(slab, cls, hak_slab_start(slab), block)) return false;
  uint64_t word = hak_load_relaxed(&slab->word);
  bool mine = hak_word_is_mine(cache, word) && slab->queue == HAK_QUEUE_NONE;
  if (!mine && (!hak_word_is_full(word) || !hak_hold_claim(me, cache, slab, cls))) {
    return false;
  }
  if (HAK_UNLIKELY(hak_list_take_fails(me, cache, list, &block))) return false;
  hak_hold_home(me, cache, (hak_batch_t){slab, block, block, 1});
  hak_flush_pinned(me, cache, cls);
  return true;
}

/* The thread keeps little of the class from here on: the bin's lists go home, and `list`,
 * which was the bin's. */
static void become_lean(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                        void *list, uint32_t count) {
  hak_bin_t *bin = &cache->bins[cls];
  bin->spilling = 1;
  hak_lean_hear(cache, cls);
  hak_flush_set_room(bin);
  bool own = hak_flush_list(me, cache, cls, list, count);
  hak_flush_bin(me, cache, cls);
  hak_lean_shrink(cache, cls);
  if (!own) bin->spilling = HAK_BIN_GATHERS;
  hak_flush_set_room(bin);
}

/* The bin's list is full, and some blocks are left of its ready list: the full one takes
 * its place. So what comes and goes fits into both lists, if it can, and no list comes
 * and goes with it. Returns what was left; `full` itself, and nothing changes, if that is
 * more than a list has. O(list). */
static hak_depot_list_t rest_of(const hak_thread_t *me, hak_bin_t *bin,
                                hak_depot_list_t full) {
  hak_depot_list_t rest = {bin->ready, 0};
  for (void *block = rest.list; block != HAK_LINK_END; rest.count++) {
    if (rest.count == full.count) return full;
    block = hak_link_read(&me->key, block);
    if (HAK_UNLIKELY(hak_link_is_bad(&me->key, block))) return full;
  }
  bin->ready = full.list;
  hak_store_relaxed(&bin->ready_count, (uint16_t)full.count);
  return rest;
}

/* Makes room for a block in a bin whose `list`, of so many blocks, is full. */
static void make_room_for(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                          uint32_t count) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  void *list = bin->list.head;
  bin->list.head = HAK_LINK_END;
  hak_bin_set_room(bin, hak_bin_capacity(bin));
  if (HAK_UNLIKELY(list == HAK_LINK_END)) return; /* emptied, as a limit came or went */
  if (!bin->spilling) {
    if (bin->ready == HAK_LINK_END) {
      bin->ready = list;
      hak_store_relaxed(&bin->ready_count, (uint16_t)count);
      return;
    }
    bool asks = hold->patience == 0 && hold->taken != 0;
    uint32_t more = hak_capacity_grow(cache, cls);
    if (more > 0) {
      bin->list.head = list;
      hak_store_relaxed(&bin->armed, (uint16_t)(count + more));
      hak_store_relaxed(&bin->list.room, (int32_t)more);
      return;
    }
    /* Blocks of a heap whose limit is far are for any thread. */
    if (HAK_UNLIKELY(hold->far != HAK_FAR_NOT)) {
      hak_depot_list_t rest = {list, count};
      if (asks) rest = rest_of(me, bin, rest);
      if (hak_depot_put(me, cache, cls, rest)) return;
      list = rest.list;
      count = rest.count;
    }
    bool full = hold->spare != HAK_LINK_END || hak_lean_is_early(cls);
    if (full && hak_lean_begins(cache, cls)) {
      become_lean(me, cache, cls, list, count);
      return;
    }
    bool cut = hold->far == HAK_FAR_NO_ROOM; /* it was granted two lists */
    if (hold->spare == HAK_LINK_END && !cut) {
      /* Other threads may soon have blocks of the slab, where a depot has some. */
      if (hold->far == HAK_FAR_NOT && convert(me, cache, cls, &list)) count--;
      /* The spare list is still empty: blocks that come home only empty bins. */
      hold->spare = list;
      hak_store_relaxed(&hold->spare_count, count);
      return;
    }
    bin->spilling = 1;
    if (!cut) {
      void *older = hold->spare; /* of as many blocks, or of fewer */
      uint32_t n = hak_load_relaxed(&hold->spare_count);
      hold->spare = list;
      hak_store_relaxed(&hold->spare_count, count);
      list = older;
      count = n;
    }
  }
  hak_flush_set_room(bin);
  bool own = hak_flush_list(me, cache, cls, list, count);
  if (own && bin->spilling < SPILLS_PATIENCE && ++bin->spilling == SPILLS_PATIENCE) {
    hak_flush_bin(me, cache, cls);
  }
  if (own) return;
  /* No block was of a slab that this thread can have: the thread only frees blocks of the
   * class that others allocate. Its bin takes no more until it allocates. */
  bin->spilling = HAK_BIN_GATHERS;
  hak_flush_bin(me, cache, cls);
}

/* Nothing is ready: the list that is full takes its place, and what is kept stays as it
 * is. */
static bool flips(hak_bin_t *bin, uint32_t cls) {
  if (bin->ready != HAK_LINK_END || bin->spilling) return false;
  if (hak_class_is_single(cls)) return false;
  void *list = bin->list.head;
  if (list == HAK_LINK_END) return false;
  hak_store_relaxed(&bin->ready_count, (uint16_t)hak_bin_listed(bin));
  /* In this order a fork in between leaves the blocks on both lists; see bin.h. */
  bin->ready = list;
  hak_compiler_fence();
  bin->list.head = HAK_LINK_END;
  hak_bin_set_room(bin, bin->capacity);
  return true;
}

static void make_room(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  if (HAK_UNLIKELY(hold->slabs > HELD_FACTOR * hold->slabs_most)) {
    hak_hold_list(me, cache, cls, hold->slabs_most / 4);
  }
  hak_quota_follow(me, cache, cls);
  /* One list at a time is in hand. */
  uint32_t count = hak_bin_listed(&cache->bins[cls]);
  hak_thread_take_in_hand(me, cls, count);
  make_room_for(me, cache, cls, count);
  hak_thread_take_in_hand(me, cls, -(int64_t)count);
}

/* Sends a block home whose bin has a capacity of 0. Of no single class: see push. */
static void home_one(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                     void *block) {
  hak_home_blocks(me, cache, cls, &block, 1);
  hak_flush_pinned(me, cache, cls);
}

/* Puts a block of a slab that this thread cannot have into the thread's magazine. */
static void add_foreign(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                        void *block) {
  hak_transfer_add(me, cache, cls, block);
  hak_flush_pinned(me, cache, cls);
}

/* One list has all that may be kept of a single class. What a limit that has come or gone
 * makes of the bin is seen here. */
static void push_single(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                        void *block) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_quota_follow(me, cache, cls);
  if (hak_load_relaxed(&bin->list.room) <= 0) {
    hak_single_home(me, cache, cls, block);
    return;
  }
  hak_count_own(&bin->list.room, -1);
  hak_list_push(&me->key, &bin->list, block);
}

/* Pushes a block onto its bin, or where it goes if the bin can make no room. */
static void push(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls, void *block) {
  hak_bin_t *bin = &cache->bins[cls];
  if (HAK_UNLIKELY(hak_load_relaxed(&bin->list.room) <= 0) &&
      !hak_recall_ends(cache, cls)) {
    if (hak_class_is_single(cls)) {
      push_single(me, cache, cls, block);
      return;
    }
    make_room(me, cache, cls);
    if (bin->capacity == 0) {
      home_one(me, cache, cls, block);
      return;
    }
    if (bin->spilling == HAK_BIN_GATHERS) {
      add_foreign(me, cache, cls, block);
      return;
    }
  }
  hak_count_own(&bin->list.room, -1);
  hak_list_push(&me->key, &bin->list, block);
}

static void spill(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls, void *block) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  if (hak_spill_has_more(cache, cls) && hak_spill_is_others(cache, hak_slab_of(block))) {
    add_foreign(me, cache, cls, block);
    return;
  }
  if (hak_capacity_is_cut(hold) || !bin->spilling) {
    push(me, cache, cls, block);
    return;
  }
  if (hold->credit > 0 || hold->current != NULL || hold->first != NULL) {
    uint64_t word = hak_load_relaxed(&hak_slab_of(block)->word);
    if (hak_word_is_mine(cache, word) || (hak_word_is_full(word) && hold->credit > 0)) {
      if (bin->spilling == HAK_BIN_GATHERS) {
        bin->spilling = 1;
        hak_flush_set_room(bin);
      }
      push(me, cache, cls, block);
      return;
    }
  }
  /* From here on frees of the class go past its bin, and blocks there would stay. */
  if (bin->list.head != HAK_LINK_END) hak_flush_bin(me, cache, cls);
  add_foreign(me, cache, cls, block);
}

/* The thread is, or becomes, lean in a class of which its bin has blocks. */
static void drop_bin(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  if (!hak_capacity_has_begun(cache, cls)) return;
  bool empty = bin->list.head == HAK_LINK_END && bin->ready == HAK_LINK_END &&
               hold->spare == HAK_LINK_END && hak_load_relaxed(&hold->magazine) == NULL;
  if (empty || bin->spilling == HAK_BIN_GATHERS || !hak_lean_drop(me, cache, cls)) return;
  bin->spilling = 1;
  hak_flush_blocks(me, cache, cls);
  hak_lean_shrink(cache, cls);
  hak_flush_set_room(bin);
}

/* What lies in the bins goes home of all classes, where the thread seems to drop what it
 * has. Of single classes that is all that it keeps, and they are never lean. */
static HAK_SLOW void drop(hak_thread_t *me, const hak_cache_t *cache) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    drop_bin(me, cache, cls);
    hak_far_settle(me, cache, cls);
  }
  for (uint32_t cls = HAK_SHARED_CLASSES; cls < HAK_CLASSES; cls++) {
    if (cache->bins[cls].list.head != HAK_LINK_END) hak_flush_bin(me, cache, cls);
  }
  me->dropped = 0;
}

void hak_spill_free(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                    void *block) {
  hak_capacity_begin(cache, cls);
  spill(me, cache, cls, block);
  hak_far_settle(me, cache, cls);
  if (hak_lean_drops(me)) drop(me, cache);
}

void hak_spill_event(hak_thread_t *me, const hak_cache_t *cache, hak_list_t *list,
                     void *block) {
  HAK_COUNT(me, slow_event, 1);
  size_t offset = (size_t)((char *)list - (char *)cache->bins);
  if (offset < HAK_CLASSES * sizeof(hak_bin_t)) {
    uint32_t cls = (uint32_t)(offset / sizeof(hak_bin_t));
    hak_store_relaxed(&list->room, 0);
    hak_capacity_begin(cache, cls);
    bool same = false;
    if (cache->bins[cls].spilling == HAK_BIN_GATHERS) {
      spill(me, cache, cls, block);
    } else {
      same = hak_recall_ends(cache, cls) || flips(&cache->bins[cls], cls);
      push(me, cache, cls, block);
    }
    if (!same) hak_far_settle(me, cache, cls);
    hak_recall(me, cache, cls);
  } else {
    hak_slab_t *slab = (hak_slab_t *)(void *)list;
    uint32_t cls = hak_slab_class(slab);
    hak_hold_event(me, cache, slab, block);
    hak_flush_pinned(me, cache, cls);
    hak_far_settle(me, cache, cls);
  }
  if (hak_lean_drops(me)) drop(me, cache);
}
