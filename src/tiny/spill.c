#include "tiny/spill.h"

#include "superslab/locate.h"
#include "tiny/capacity.h"
#include "tiny/hold.h"
#include "tiny/partial_list.h"
#include "tiny/quota.h"
#include "tiny/single.h"
#include "tiny/transfer.h"

/* While a bin spills, its list is looked at after an eighth of the blocks. A
 * thread that has spilled so often without allocating may never do so again:
 * then what lies ready goes home too, as every block of it may pin a slab. */
enum {
  SPILLING_SHARE = 8,
  SPILLS_PATIENCE = 16,
  LIST_AHEAD = 4, /* blocks of a list whose slabs are fetched early */
  HELD_FACTOR = 64
};

static HAK_SLOW void report_cycle(hak_thread_t *me, const hak_cache_t *cache,
                                  const void *block) {
  hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_DOUBLE_FREE, block,
                          "the block is on a list of free blocks already");
}

static size_t span_bytes(const hak_slab_t *slab) {
  return (size_t)slab->span << HAK_SLAB_SHIFT;
}

static bool is_in_span(const hak_slab_t *slab, const char *start, const void *block) {
  return (size_t)((const char *)block - start) < span_bytes(slab);
}

/* What homecoming will write to: blocks that go home one by one lie anywhere, and so do
 * the records of their slabs. */
HAK_HOT void expect(const void *block) {
  __builtin_prefetch(hak_slab_of(block), 1);
  __builtin_prefetch(block, 1);
}

/* Likewise for a block of a list; the next one, or HAK_LINK_END where the list ends,
 * well or badly: whoever comes there looks again. */
HAK_HOT void *expect_next(const hak_thread_t *me, void *block) {
  if (block == HAK_LINK_END) return block;
  __builtin_prefetch(hak_slab_of(block), 1);
  void *next = hak_link_read(&me->key, block);
  return HAK_UNLIKELY(hak_link_is_bad(&me->key, next)) ? HAK_LINK_END : next;
}

static void spill_singles(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                          void *list, uint32_t count) {
  for (; list != HAK_LINK_END; count--) {
    void *block;
    if (HAK_UNLIKELY(count == 0)) {
      report_cycle(me, cache, list);
      return;
    }
    if (HAK_UNLIKELY(hak_hold_take_fails(me, cache, &list, &block))) return;
    hak_single_home(me, cache, cls, block);
  }
}

/* Sends a list of at most `count` blocks home: runs of slabs that this thread
 * holds or may claim to them, the others into its magazine. True if any block
 * found such a slab. */
static bool spill_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       void *list, uint32_t count) {
  hak_stray_cut_cycle(me, cache, list, count);
  if (hak_class_is_single(cls)) {
    spill_singles(me, cache, cls, list, count);
    return true;
  }
  if (HAK_UNLIKELY(hak_quota_is_cut(&cache->holds[cls]))) {
    hak_quota_send_home(me, cache, cls, list, count);
    return true;
  }
  bool own = false;
  void *ahead = list;
  for (int i = 0; i < LIST_AHEAD; i++) ahead = expect_next(me, ahead);
  while (list != HAK_LINK_END) {
    void *block = list;
    if (HAK_UNLIKELY(count == 0)) {
      report_cycle(me, cache, block);
      return own;
    }
    ahead = expect_next(me, ahead);
    if (HAK_UNLIKELY(hak_hold_take_fails(me, cache, &list, &block))) return own;
    count--;
    hak_slab_t *slab = hak_slab_of(block);
    char *start = hak_slab_start(slab);
    if (HAK_UNLIKELY(!hak_stray_starts(slab, start, block))) {
      hak_stray_report(me, cache, block);
      continue;
    }
    uint64_t word = hak_load_relaxed(&slab->word);
    if (HAK_LIKELY(hak_word_is_mine(cache, word)) ||
        (word == hak_word_make(HAK_SLAB_FULL, 0) &&
         hak_hold_claim(me, cache, slab, cls))) {
      hak_batch_t run = {slab, block, block, 1};
      for (; count > 0 && list != HAK_LINK_END && is_in_span(slab, start, list) &&
             hak_stray_starts(slab, start, list);
           count--) {
        if (HAK_UNLIKELY(hak_hold_take_fails(me, cache, &list, &block))) break;
        run.last = block;
        run.count++;
      }
      own = true;
      hak_hold_home(me, cache, run);
    } else {
      hak_transfer_add(me, cache, cls, block);
    }
  }
  return own;
}

uint32_t hak_spill_blocks(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                          void **blocks, uint32_t count) {
  enum {
    AHEAD = 8
  };
  bool locked = false;
  uint32_t slabs = 0;
  for (uint32_t i = 0; i < count && i < AHEAD; i++) expect(blocks[i]);
  for (uint32_t i = 0; i < count;) {
    if (i + AHEAD < count) expect(blocks[i + AHEAD]);
    void *block = blocks[i++];
    hak_slab_t *slab = hak_slab_of(block);
    char *start = hak_slab_start(slab);
    if (HAK_UNLIKELY(!hak_stray_starts(slab, start, block))) {
      hak_stray_report(me, cache, block);
      continue;
    }
    hak_batch_t run = {slab, block, block, 1};
    while (i < count && is_in_span(slab, start, blocks[i]) &&
           hak_stray_starts(slab, start, blocks[i]) && blocks[i] != run.first) {
      hak_link_write(&me->key, blocks[i], run.first);
      run.first = blocks[i++];
      run.count++;
    }
    hak_hold_home_any(me, cache, cls, run, &locked);
    slabs++;
  }
  if (locked) hak_lock_release(&cache->store->centrals[cls].lock);
  return slabs;
}

/* Of an empty list. */
static void set_room(hak_bin_t *bin) {
  uint32_t blocks = hak_bin_capacity(bin);
  if (bin->spilling != 0) blocks = (blocks + SPILLING_SHARE - 1) / SPILLING_SHARE;
  hak_bin_set_room(bin, bin->spilling == HAK_BIN_GATHERS ? 0 : blocks);
}

void hak_spill_bin(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  void *list = bin->list.head, *ready = bin->ready, *spare = hold->spare;
  uint32_t n_list = hak_bin_listed(bin), n_ready = hak_load_relaxed(&bin->ready_count);
  uint32_t n_spare = hak_load_relaxed(&hold->spare_count);
  bin->list.head = HAK_LINK_END;
  bin->ready = HAK_LINK_END;
  hold->spare = HAK_LINK_END;
  hak_store_relaxed(&bin->ready_count, 0);
  hak_store_relaxed(&hold->spare_count, 0);
  set_room(bin);
  if (list != HAK_LINK_END) spill_list(me, cache, cls, list, n_list);
  if (ready != HAK_LINK_END) spill_list(me, cache, cls, ready, n_ready);
  if (spare != HAK_LINK_END) spill_list(me, cache, cls, spare, n_spare);
}

/* Sends the first block home if its slab can be had, so that later frees of the
 * slab go straight there; the rest of the list. */
static bool convert(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                    void **list) {
  void *block = *list;
  hak_slab_t *slab = hak_slab_of(block);
  if (!hak_stray_starts(slab, hak_slab_start(slab), block)) return false;
  uint64_t word = hak_load_relaxed(&slab->word);
  bool mine = hak_word_is_mine(cache, word) && slab->queue == HAK_QUEUE_NONE;
  if (!mine && (word != hak_word_make(HAK_SLAB_FULL, 0) ||
                !hak_hold_claim(me, cache, slab, cls))) {
    return false;
  }
  if (HAK_UNLIKELY(hak_hold_take_fails(me, cache, list, &block))) return false;
  hak_hold_home(me, cache, (hak_batch_t){slab, block, block, 1});
  return true;
}

void hak_spill_full(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  if (HAK_UNLIKELY(hold->slabs > HELD_FACTOR * hold->slabs_most)) {
    hak_hold_list(me, cache, cls, hold->slabs_most / 4);
  }
  hak_quota_follow(me, cache, cls);
  void *list = bin->list.head;
  uint32_t count = hak_bin_listed(bin);
  bin->list.head = HAK_LINK_END;
  hak_bin_set_room(bin, hak_bin_capacity(bin));
  if (HAK_UNLIKELY(list == HAK_LINK_END)) return; /* a limit came, or went */
  if (!bin->spilling) {
    if (bin->ready == HAK_LINK_END) {
      bin->ready = list;
      hak_store_relaxed(&bin->ready_count, (uint16_t)count);
      return;
    }
    uint32_t more = hak_capacity_grow(cache, cls);
    if (more > 0) {
      bin->list.head = list;
      hak_store_relaxed(&bin->armed, (uint16_t)(count + more));
      hak_store_relaxed(&bin->list.room, (int32_t)more);
      return;
    }
    if (hold->spare == HAK_LINK_END) {
      if (convert(me, cache, cls, &list)) count--;
      /* Homecoming may have filled the spare list meanwhile; it never does, as
       * it only empties bins, but what is there is not to be lost. */
      hold->spare = list;
      hak_store_relaxed(&hold->spare_count, count);
      return;
    }
    bin->spilling = 1;
    void *older = hold->spare;
    uint32_t n = hak_load_relaxed(&hold->spare_count);
    hold->spare = list;
    hak_store_relaxed(&hold->spare_count, count);
    list = older;
    count = n;
  }
  set_room(bin);
  bool own = spill_list(me, cache, cls, list, count);
  if (own && bin->spilling < SPILLS_PATIENCE && ++bin->spilling == SPILLS_PATIENCE) {
    hak_spill_bin(me, cache, cls);
  }
  if (own) return;
  /* Everything was foreign: of this class the thread only frees what others
   * allocate, and its bin takes no more until it allocates. */
  bin->spilling = HAK_BIN_GATHERS;
  hak_spill_bin(me, cache, cls);
}

/* A block that its bin has no place for at any time. */
static void home_one(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                     void *block) {
  if (hak_class_is_single(cls)) {
    hak_single_home(me, cache, cls, block);
  } else {
    hak_spill_blocks(me, cache, cls, &block, 1);
  }
}

static void push(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls, void *block) {
  hak_bin_t *bin = &cache->bins[cls];
  if (HAK_UNLIKELY(hak_load_relaxed(&bin->list.room) <= 0)) {
    hak_spill_full(me, cache, cls);
    if (bin->capacity == 0) {
      home_one(me, cache, cls, block);
      return;
    }
    if (bin->spilling == HAK_BIN_GATHERS) {
      hak_transfer_add(me, cache, cls, block);
      return;
    }
  }
  hak_count_own(&bin->list.room, -1);
  hak_list_push(&me->key, &bin->list, block);
}

void hak_spill_free(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                    void *block) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  if (hak_class_is_single(cls) && (bin->spilling || bin->capacity == 0)) {
    hak_single_home(me, cache, cls, block);
    return;
  }
  if (!bin->spilling || hak_quota_is_cut(hold)) {
    push(me, cache, cls, block);
    return;
  }
  if (hold->credit > 0 || hold->current != NULL || hold->first != NULL) {
    uint64_t word = hak_load_relaxed(&hak_slab_of(block)->word);
    if (hak_word_is_mine(cache, word) ||
        (word == hak_word_make(HAK_SLAB_FULL, 0) && hold->credit > 0)) {
      if (bin->spilling == HAK_BIN_GATHERS) {
        bin->spilling = 1;
        set_room(bin);
      }
      push(me, cache, cls, block);
      return;
    }
  }
  /* From here on frees of the class pass its bin by: what is there would stay. */
  if (bin->list.head != HAK_LINK_END) hak_spill_bin(me, cache, cls);
  hak_transfer_add(me, cache, cls, block);
}

void hak_spill_event(hak_thread_t *me, const hak_cache_t *cache, hak_list_t *list,
                     void *block) {
  HAK_COUNT(me, slow_event, 1);
  size_t offset = (size_t)((char *)list - (char *)cache->bins);
  if (offset < HAK_CLASSES * sizeof(hak_bin_t)) {
    uint32_t cls = (uint32_t)(offset / sizeof(hak_bin_t));
    hak_store_relaxed(&list->room, 0);
    if (cache->bins[cls].spilling == HAK_BIN_GATHERS) {
      hak_spill_free(me, cache, cls, block);
    } else {
      push(me, cache, cls, block);
    }
  } else {
    hak_hold_event(me, cache, (hak_slab_t *)(void *)list, block);
  }
}

void hak_spill_class(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  while (bin->list.head != HAK_LINK_END || bin->ready != HAK_LINK_END ||
         hold->spare != HAK_LINK_END) {
    hak_spill_bin(me, cache, cls);
  }
  hak_store_relaxed(&bin->ready_count, 0); /* of a list that was used up */
  hak_magazine_t *magazine;
  while ((magazine = hak_load_relaxed(&hold->magazine)) != NULL) {
    hak_store_relaxed(&hold->magazine, NULL);
    hak_magazine_empty(me, cache, cls, magazine);
    hak_magazine_put(me, magazine);
  }
  hak_hold_list_all(me, cache, cls);
  bin->spilling = 0;
  hak_capacity_reset(cache, cls);
}

void hak_spill_all(hak_thread_t *me, const hak_cache_t *cache) {
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) hak_spill_class(me, cache, cls);
  hak_magazines_return(me);
}

/* --- a part at a time ----------------------------------------------------------- */

/* Cuts the first blocks off a list, as many as there is work for; *rest is the list
 * behind them. 0: there is none but what is given up. */
static uint32_t cut(hak_thread_t *me, const hak_cache_t *cache, void *list, size_t most,
                    void **rest) {
  void *last = NULL, *block;
  uint32_t count = 0;
  while (count < most && list != HAK_LINK_END &&
         !hak_hold_take_fails(me, cache, &list, &block)) {
    last = block;
    count++;
  }
  if (last != NULL) hak_link_write(&me->key, last, HAK_LINK_END);
  *rest = list;
  return count;
}

/* One list of a bin, or a part of it. */
static void spill_part(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       size_t *work) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  void *list, *rest;
  uint32_t count;
  if (hold->spare != HAK_LINK_END) {
    list = hold->spare;
    count = cut(me, cache, list, *work, &rest);
    hold->spare = rest;
    uint32_t n = hak_load_relaxed(&hold->spare_count);
    n = rest == HAK_LINK_END || n < count ? 0 : n - count;
    hak_store_relaxed(&hold->spare_count, n);
  } else if (bin->ready != HAK_LINK_END) {
    list = bin->ready;
    count = cut(me, cache, list, *work, &rest);
    bin->ready = rest;
    uint32_t n = hak_load_relaxed(&bin->ready_count);
    n = rest == HAK_LINK_END || n < count ? 0 : n - count;
    hak_store_relaxed(&bin->ready_count, (uint16_t)n);
  } else {
    list = bin->list.head;
    count = cut(me, cache, list, *work, &rest);
    bin->list.head = rest;
    uint32_t listed = hak_bin_listed(bin);
    hak_bin_set_room(bin, hak_bin_capacity(bin));
    if (rest != HAK_LINK_END && listed > count) {
      hak_store_relaxed(&bin->list.room,
                        (int32_t)hak_bin_capacity(bin) - (int32_t)(listed - count));
    }
  }
  *work -= count;
  if (count > 0) spill_list(me, cache, cls, list, count);
}

static bool spill_class_some(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                             size_t *work) {
  hak_bin_t *bin = &cache->bins[cls];
  hak_hold_t *hold = &cache->holds[cls];
  while (*work > 0 && (bin->list.head != HAK_LINK_END || bin->ready != HAK_LINK_END ||
                       hold->spare != HAK_LINK_END)) {
    spill_part(me, cache, cls, work);
  }
  if (*work > HAK_MAGAZINE_BLOCKS && hold->slabs > *work - HAK_MAGAZINE_BLOCKS) {
    hak_hold_list(me, cache, cls, (uint32_t)(*work - HAK_MAGAZINE_BLOCKS));
    *work = 0;
  }
  if (*work <= HAK_MAGAZINE_BLOCKS) return false;
  *work -= hold->slabs;
  /* What is left is little. */
  hak_spill_class(me, cache, cls);
  return true;
}

bool hak_spill_some(hak_thread_t *me, const hak_cache_t *cache, size_t *work) {
  me->mask &= ~(uint64_t)HAK_MODE_CACHED;
  me->in_parts = 1;
  bool all = true;
  for (uint32_t cls = 0; cls < HAK_CLASSES && all; cls++) {
    all = spill_class_some(me, cache, cls, work);
  }
  me->in_parts = 0;
  hak_magazines_return(me);
  return all;
}

bool hak_spill_transfer_some(hak_thread_t *me, const hak_cache_t *cache, size_t *work) {
  me->in_parts = 1;
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    hak_central_t *central = &cache->store->centrals[cls];
    if (hak_load_relaxed(&central->spans) == 0) continue;
    for (int i = 0; i<HAK_TRANSFER_PLACES && * work> HAK_MAGAZINE_BLOCKS; i++) {
      hak_magazine_t *magazine = hak_transfer_take_any(central);
      if (magazine == NULL) break;
      *work -= hak_load_relaxed(&magazine->count);
      hak_magazine_empty(me, cache, cls, magazine);
      hak_magazine_put(me, magazine);
    }
  }
  me->in_parts = 0;
  return *work > HAK_MAGAZINE_BLOCKS;
}

static void spill_transfer(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_central_t *central = &cache->store->centrals[cls];
  if (hak_load_relaxed(&central->spans) == 0) return;
  for (int i = 0; i < HAK_TRANSFER_PLACES; i++) {
    hak_magazine_t *magazine = hak_transfer_take_any(central);
    if (magazine == NULL) break;
    hak_magazine_empty(me, cache, cls, magazine);
    hak_magazine_put(me, magazine);
  }
}

void hak_spill_transfer(hak_thread_t *me, const hak_cache_t *cache) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) spill_transfer(me, cache, cls);
}

void hak_spill_heap(hak_thread_t *me, const hak_cache_t *cache) {
  hak_spill_all(me, cache);
  /* Magazines that this thread had to give up may lie in the slots now, and
   * what comes home from there may pass through its bins again. */
  hak_spill_transfer(me, cache);
  hak_spill_all(me, cache);
}
