#include "tiny/flush.h"

#include "base/report.h"
#include "superslab/locate.h"
#include "tiny/capacity.h"
#include "tiny/depot.h"
#include "tiny/far.h"
#include "tiny/hold.h"
#include "tiny/home.h"
#include "tiny/single.h"
#include "tiny/stray.h"
#include "tiny/transfer.h"

enum {
  LIST_AHEAD = 4 /* blocks of a list whose slabs are fetched early */
};

static HAK_SLOW void report_cycle(hak_thread_t *me, const hak_cache_t *cache,
                                  const void *block) {
  hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_DOUBLE_FREE, block,
                          HAK_TEXT_LISTED);
}

/* Fetches the record of the slab that a block of a list will go home to. Returns the next
 * block, or HAK_LINK_END where the list ends or has a bad link: the caller finds that bad
 * link again when it takes the block. */
HAK_HOT void *expect_next(const hak_thread_t *me, void *block) {
  if (block == HAK_LINK_END) return block;
  __builtin_prefetch(hak_slab_of(block), 1);
  void *next = hak_link_read(&me->key, block);
  return HAK_UNLIKELY(hak_link_is_bad(&me->key, next)) ? HAK_LINK_END : next;
}

static void flush_singles(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                          void *list, uint32_t count) {
  for (; list != HAK_LINK_END; count--) {
    void *block;
    if (HAK_UNLIKELY(count == 0)) {
      report_cycle(me, cache, list);
      return;
    }
    if (HAK_UNLIKELY(hak_list_take_fails(me, cache, &list, &block))) return;
    hak_single_home(me, cache, cls, block);
  }
}

/* Sends home blocks of a class whose slabs threads share. What hak_home_list does too,
 * but runs stay linked as they are: a thirtieth of what a short thread costs. */
static HAK_SLOW void flush_shared(hak_thread_t *me, const hak_cache_t *cache,
                                  uint32_t cls, void *list, uint32_t count) {
  bool locked = false;
  for (; list != HAK_LINK_END && count > 0; count--) {
    void *block;
    if (HAK_UNLIKELY(hak_list_take_fails(me, cache, &list, &block))) break;
    hak_slab_t *slab = hak_slab_of(block);
    char *start = hak_slab_start(slab);
    if (HAK_UNLIKELY(!hak_stray_starts(slab, cls, start, block))) {
      hak_stray_report(me, cache, block);
      continue;
    }
    hak_batch_t run = {slab, block, block, 1};
    for (; count > 1 && list != HAK_LINK_END && hak_home_is_in_span(slab, start, list) &&
           hak_stray_starts(slab, cls, start, list);
         count--) {
      if (HAK_UNLIKELY(hak_list_take_fails(me, cache, &list, &block))) break;
      run.last = block;
      run.count++;
    }
    hak_hold_home_any(me, cache, cls, run, &locked);
  }
  if (locked) hak_lock_release(&cache->store->centrals[cls].lock);
  if (HAK_UNLIKELY(list != HAK_LINK_END)) report_cycle(me, cache, list);
}

bool hak_flush_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls, void *list,
                    uint32_t count) {
  hak_stray_cut_cycle(me, cache, list, count);
  if (hak_class_is_single(cls)) {
    flush_singles(me, cache, cls, list, count);
    return true;
  }
  if (HAK_UNLIKELY(hak_capacity_is_shared(cache, cls))) {
    flush_shared(me, cache, cls, list, count);
    return true;
  }
  if (HAK_UNLIKELY(hak_capacity_is_cut(&cache->holds[cls]))) {
    hak_home_list(me, cache, cls, list, count);
    hak_flush_pinned(me, cache, cls);
    return true;
  }
  bool own = false;
  void *ahead = list;
  uint32_t lead = 0; /* blocks from the list's first to `ahead` */
  while (list != HAK_LINK_END) {
    void *block = list;
    if (HAK_UNLIKELY(count == 0)) {
      report_cycle(me, cache, block);
      return own;
    }
    for (; lead <= LIST_AHEAD; lead++) ahead = expect_next(me, ahead);
    if (HAK_UNLIKELY(hak_list_take_fails(me, cache, &list, &block))) return own;
    lead--;
    count--;
    hak_slab_t *slab = hak_slab_of(block);
    char *start = hak_slab_start(slab);
    if (HAK_UNLIKELY(!hak_stray_starts(slab, cls, start, block))) {
      hak_stray_report(me, cache, block);
      continue;
    }
    uint64_t word = hak_load_relaxed(&slab->word);
    if (HAK_LIKELY(hak_word_is_mine(cache, word)) ||
        (hak_word_is_full(word) && hak_hold_claim(me, cache, slab, cls))) {
      hak_batch_t run = {slab, block, block, 1};
      for (;
           count > 0 && list != HAK_LINK_END && hak_home_is_in_span(slab, start, list) &&
           hak_stray_starts(slab, cls, start, list);
           count--) {
        if (HAK_UNLIKELY(hak_list_take_fails(me, cache, &list, &block))) break;
        run.last = block;
        run.count++;
      }
      own = true;
      /* Blocks that went home may not be looked at: their slab may be another heap's. */
      bool passed = run.count > lead;
      ahead = passed ? list : ahead;
      lead = passed ? 0 : lead - (run.count - 1);
      hak_hold_home(me, cache, run);
    } else {
      hak_transfer_add(me, cache, cls, block);
    }
    hak_flush_pinned(me, cache, cls);
  }
  return own;
}

void hak_flush_set_room(hak_bin_t *bin) {
  uint32_t blocks = hak_bin_capacity(bin);
  if (bin->spilling != 0) blocks = (uint32_t)hak_div_up(blocks, HAK_SPILLING_SHARE);
  hak_bin_set_room(bin, bin->spilling == HAK_BIN_GATHERS ? 0 : blocks);
}

void hak_flush_bin(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (!hak_capacity_has_begun(cache, cls)) return;
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  void *list = bin->list.head, *ready = bin->ready, *spare = hold->spare;
  uint32_t n_list = hak_bin_listed(bin), n_ready = hak_load_relaxed(&bin->ready_count);
  uint32_t n_spare = hak_load_relaxed(&hold->spare_count);
  int64_t all = (int64_t)n_list + n_ready + n_spare;
  hak_thread_take_in_hand(me, cls, all);
  bin->list.head = HAK_LINK_END;
  bin->ready = HAK_LINK_END;
  hold->spare = HAK_LINK_END;
  hak_store_relaxed(&bin->ready_count, 0);
  hak_store_relaxed(&hold->spare_count, 0);
  hak_flush_set_room(bin);
  if (list != HAK_LINK_END) hak_flush_list(me, cache, cls, list, n_list);
  if (ready != HAK_LINK_END) hak_flush_list(me, cache, cls, ready, n_ready);
  if (spare != HAK_LINK_END) hak_flush_list(me, cache, cls, spare, n_spare);
  hak_thread_take_in_hand(me, cls, -all);
}

void hak_flush_blocks(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (!hak_capacity_has_begun(cache, cls)) return;
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  while (bin->list.head != HAK_LINK_END || bin->ready != HAK_LINK_END ||
         hold->spare != HAK_LINK_END) {
    hak_flush_bin(me, cache, cls);
  }
  hak_store_relaxed(&bin->ready_count, 0); /* the list that it counted was used up */
  hak_magazine_t *magazine;
  while ((magazine = hak_load_relaxed(&hold->magazine)) != NULL) {
    int64_t count = hak_load_relaxed(&magazine->count);
    hak_thread_take_in_hand(me, cls, count);
    hak_store_relaxed(&hold->magazine, NULL);
    hak_transfer_empty(me, cache, cls, magazine);
    hak_thread_take_in_hand(me, cls, -count);
    hak_magazine_put(me, magazine);
  }
  hak_far_settle(me, cache, cls);
}

/* Puts a list into the depot; true, and the list is empty, if there is room. */
static bool store(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls, void **list,
                  uint32_t count) {
  if (*list == HAK_LINK_END || count == 0) return false;
  if (!hak_depot_put(me, cache, cls, (hak_depot_list_t){*list, count})) return false;
  *list = HAK_LINK_END;
  return true;
}

void hak_flush_store(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  if (hold->far == HAK_FAR_NOT || hak_class_is_single(cls)) return;
  /* What is left of `ready` is no more than there was when it was counted. */
  void *rest;
  uint32_t left =
      hak_list_cut(me, cache, bin->ready, hak_load_relaxed(&bin->ready_count), &rest);
  if (store(me, cache, cls, &bin->ready, left)) {
    hak_store_relaxed(&bin->ready_count, 0);
  }
  if (store(me, cache, cls, &hold->spare, hak_load_relaxed(&hold->spare_count))) {
    hak_store_relaxed(&hold->spare_count, 0);
  }
  if (store(me, cache, cls, &bin->list.head, hak_bin_listed(bin))) {
    hak_flush_set_room(bin);
  }
}

void hak_flush_kept(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_flush_store(me, cache, cls);
  hak_flush_blocks(me, cache, cls);
}

void hak_flush_class(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_capacity_begin(cache, cls);
  /* Most of its blocks are of slabs that it shared, and take the shorter way. */
  if (cache->holds[cls].shared == HAK_SHARED_ENOUGH) cache->holds[cls].shared = 0;
  hak_flush_blocks(me, cache, cls);
  hak_hold_list_all(me, cache, cls);
  cache->holds[cls].pins = 0;
  cache->bins[cls].spilling = 0;
  hak_capacity_reset(cache, cls);
}

uint64_t hak_flush_may_keep(const hak_cache_t *cache, uint32_t i) {
  if (cache->begun == NULL) return UINT64_MAX;
  return cache->begun[i] | (i == 0 ? hak_load_relaxed(&cache->store->begun) : 0);
}

HAK_SLOW void hak_flush_all(hak_thread_t *me, const hak_cache_t *cache) {
  for (uint32_t i = 0; i < HAK_CLASS_WORDS; i++) {
    for (uint64_t rest = hak_flush_may_keep(cache, i); rest != 0; rest &= rest - 1) {
      uint32_t cls = 64 * i + hak_lowest_bit(rest);
      if (cls >= HAK_CLASSES) break;
      if (hak_capacity_has_begun(cache, cls)) hak_flush_class(me, cache, cls);
    }
  }
  hak_magazines_return(me);
}

/* --- a part at a time ----------------------------------------------------------- */

/* Takes the first blocks off a list of at most `known`, as many as there is work for;
 * *list is what is left, and *count how many they are. Where misuse has made the list
 * longer than it can be, the rest is given up. */
static HAK_SLOW void *take_part(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                                void **list, uint32_t known, size_t work,
                                uint32_t *count) {
  void *first = *list;
  hak_thread_take_in_hand(me, cls, work < known ? (int64_t)work : known);
  hak_stray_cut_cycle(me, cache, first, known);
  *count = hak_list_cut(me, cache, first, work < known ? work : known, list);
  if (HAK_UNLIKELY(*count == known && *list != HAK_LINK_END)) {
    report_cycle(me, cache, *list);
    *list = HAK_LINK_END;
  }
  return first;
}

/* Sends one list of a bin home, or as much of it as there is work for. */
static HAK_SLOW void flush_part(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                                size_t *work) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  void *list;
  uint32_t known, count;
  size_t most = *work;
  if (hold->spare != HAK_LINK_END) {
    known = hak_load_relaxed(&hold->spare_count);
    list = take_part(me, cache, cls, &hold->spare, known, *work, &count);
    bool gone = hold->spare == HAK_LINK_END;
    hak_store_relaxed(&hold->spare_count, gone ? 0 : known - count);
  } else if (bin->ready != HAK_LINK_END) {
    known = hak_load_relaxed(&bin->ready_count);
    list = take_part(me, cache, cls, &bin->ready, known, *work, &count);
    bool gone = bin->ready == HAK_LINK_END;
    hak_store_relaxed(&bin->ready_count, (uint16_t)(gone ? 0 : known - count));
  } else {
    known = hak_bin_listed(bin);
    list = take_part(me, cache, cls, &bin->list.head, known, *work, &count);
    bool gone = bin->list.head == HAK_LINK_END;
    hak_bin_set_room(bin, hak_bin_capacity(bin));
    if (!gone) {
      hak_store_relaxed(&bin->list.room,
                        (int32_t)hak_bin_capacity(bin) - (int32_t)(known - count));
    }
  }
  *work -= count;
  if (count > 0) hak_flush_list(me, cache, cls, list, count);
  hak_thread_take_in_hand(me, cls, most < known ? -(int64_t)most : -(int64_t)known);
}

/* Gives up what the thread keeps of a class, as far as *work goes; true if that was all.
 */
static bool flush_class_some(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                             size_t *work) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  if (!hak_capacity_has_begun(cache, cls)) return *work > HAK_MAGAZINE_BLOCKS;
  while (*work > 0 && (bin->list.head != HAK_LINK_END || bin->ready != HAK_LINK_END ||
                       hold->spare != HAK_LINK_END)) {
    flush_part(me, cache, cls, work);
  }
  if (*work > HAK_MAGAZINE_BLOCKS && hold->slabs > *work - HAK_MAGAZINE_BLOCKS) {
    hak_hold_list(me, cache, cls, (uint32_t)(*work - HAK_MAGAZINE_BLOCKS));
    *work = 0;
  }
  if (*work <= HAK_MAGAZINE_BLOCKS) return false;
  *work -= hold->slabs;
  /* No more than a magazine and a few slabs are left. */
  hak_flush_class(me, cache, cls);
  return true;
}

bool hak_flush_some(hak_thread_t *me, const hak_cache_t *cache, size_t *work) {
  me->mask &= ~(uint64_t)HAK_MODE_CACHED;
  me->in_parts = 1;
  bool all = true;
  for (uint32_t cls = 0; cls < HAK_CLASSES && all; cls++) {
    all = flush_class_some(me, cache, cls, work);
  }
  me->in_parts = 0;
  hak_magazines_return(me);
  return all;
}

bool hak_flush_transfer_some(hak_thread_t *me, const hak_cache_t *cache, size_t *work) {
  me->in_parts = 1;
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    if (!hak_store_has_spans(cache->store, cls)) continue;
    hak_central_t *central = &cache->store->centrals[cls];
    for (int i = 0; *work > HAK_MAGAZINE_BLOCKS && i < HAK_TRANSFER_PLACES; i++) {
      hak_magazine_t *magazine = hak_transfer_take_any(central);
      if (magazine == NULL) break;
      *work -= hak_load_relaxed(&magazine->count);
      hak_transfer_send(me, cache, cls, magazine);
    }
    if (*work > HAK_MAGAZINE_BLOCKS) {
      size_t most = *work - HAK_MAGAZINE_BLOCKS;
      *work -= most;
      hak_depot_send_some(me, cache, cls, &most);
      *work += most;
    }
  }
  me->in_parts = 0;
  return *work > HAK_MAGAZINE_BLOCKS;
}

static void flush_places(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_central_t *central = &cache->store->centrals[cls];
  for (int i = 0; i < HAK_TRANSFER_PLACES; i++) {
    hak_magazine_t *magazine = hak_transfer_take_any(central);
    if (magazine == NULL) break;
    hak_transfer_send(me, cache, cls, magazine);
    hak_flush_pinned(me, cache, cls);
  }
}

void hak_flush_unused_class(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  if (!hak_store_has_spans(cache->store, cls)) return;
  flush_places(me, cache, cls);
  hak_depot_send_unused(me, cache, cls);
  hak_flush_pinned(me, cache, cls);
}

HAK_SLOW void hak_flush_unused_depots(hak_thread_t *me, const hak_cache_t *cache) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    if (!hak_store_has_spans(cache->store, cls) ||
        hak_depot_is_empty(&cache->store->centrals[cls])) {
      continue;
    }
    hak_depot_send_unused(me, cache, cls);
    hak_flush_pinned(me, cache, cls);
  }
}

void hak_flush_own(hak_thread_t *me, const hak_cache_t *cache) {
  uint64_t rest = hak_load_relaxed(&cache->store->begun);
  for (; rest != 0; rest &= rest - 1) {
    uint32_t cls = hak_lowest_bit(rest);
    if (!hak_store_has_spans(cache->store, cls)) continue;
    hak_depot_send_own(me, cache, cls);
    hak_flush_pinned(me, cache, cls);
  }
}

void hak_flush_transfer(hak_thread_t *me, const hak_cache_t *cache) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    if (!hak_store_has_spans(cache->store, cls)) continue;
    flush_places(me, cache, cls);
    hak_depot_send_home(me, cache, cls);
    hak_flush_pinned(me, cache, cls);
  }
}

void hak_flush_heap(hak_thread_t *me, const hak_cache_t *cache) {
  hak_flush_all(me, cache);
  /* Magazines that this thread gave up may lie in the transfer cache now, and slabs that
   * their blocks come home to may become this thread's. */
  hak_flush_transfer(me, cache);
  hak_flush_all(me, cache);
}
