#include "tiny/hold.h"

#include "base/option.h"
#include "superslab/locate.h"
#include "tiny/partial_list.h"
#include "tiny/spill.h"
#include "tiny/stray.h"
#include "tiny/trim.h"

/* A slab's holder hears of it when all but an eighth of its blocks are home. */
enum {
  HELD_BACK_SHIFT = 3
};

static hak_central_t *central_of(const hak_cache_t *cache, uint32_t cls) {
  return &cache->store->centrals[cls];
}

HAK_SLOW void hak_thread_defer_report(hak_thread_t *me, void *heap, hak_error_t error,
                                      const void *block, const char *text) {
  if (me->deferred.error != 0) return;
  me->to_report = 1;
  me->deferred.error = error;
  me->deferred.heap = heap;
  me->deferred.block = block;
  me->deferred.text = text;
}

HAK_SLOW void hak_hold_report_bad(hak_thread_t *me, const hak_cache_t *cache,
                                  const void *block) {
  hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_CORRUPT_BLOCK, block,
                          "a free block was written to, or freed twice");
}

static HAK_SLOW void report_surplus(hak_thread_t *me, const hak_cache_t *cache,
                                    const hak_batch_t *run) {
  hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_DOUBLE_FREE, run->first,
                          "more blocks of a slab were freed than were given out");
}

/* What comes home is the first of those that are. */
static bool is_there(const hak_batch_t *run, const void *head) {
  return run->first == head || run->last == head;
}

uint32_t hak_hold_magazine_blocks(uint32_t cls) {
  uint32_t most = (uint32_t)hak_option(MAGAZINE_BLOCKS);
  uint32_t least = (uint32_t)hak_option(BIN_BLOCKS_MIN);
  uint32_t blocks = (uint32_t)hak_option(BIN_BYTES) / hak_class_size(cls);
  if (blocks < least) blocks = least;
  return blocks < most ? blocks : most;
}

void hak_hold_set_entry(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                        uint64_t entry) {
  HAK_COUNT(me, entry_writes, slab->span);
  if (cache->lookup != NULL) {
    /* Its entries are unowned at all times; the lookup cache says what they would. */
    hak_list_t *bin = &cache->bins[hak_slab_class(slab)].list;
    hak_lookup_redirect(cache->lookup, hak_slab_start(slab), slab->span,
                        entry != 0 ? &slab->list : bin);
    return;
  }
  hak_registry_set_entries((uintptr_t)hak_slab_start(slab), slab->span, entry);
}

/* --- the queue of held slabs ------------------------------------------- */

static void enqueue(hak_hold_t *hold, hak_slab_t *slab) {
  hak_assert(slab->queue == HAK_QUEUE_NONE);
  slab->queue = HAK_QUEUE_HELD;
  slab->next = NULL;
  slab->prev = hold->last;
  if (hold->last != NULL) {
    hold->last->next = slab;
  } else {
    hold->first = slab;
  }
  hold->last = slab;
  hold->slabs++;
}

static void dequeue(hak_hold_t *hold, hak_slab_t *slab) {
  hak_assert(slab->queue == HAK_QUEUE_HELD);
  if (slab->next != NULL) {
    slab->next->prev = slab->prev;
  } else {
    hold->last = slab->prev;
  }
  if (slab->prev != NULL) {
    slab->prev->next = slab->next;
  } else {
    hold->first = slab->next;
  }
  slab->queue = HAK_QUEUE_NONE;
  hold->slabs--;
}

hak_slab_t *hak_hold_dequeue(const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_slab_t *slab = hold->first;
  if (slab != NULL) dequeue(hold, slab);
  return slab;
}

void hak_hold_requeue(const hak_cache_t *cache, hak_slab_t *slab, uint32_t cls) {
  enqueue(&cache->holds[cls], slab);
}

/* --- birth and end ------------------------------------------------------ */

hak_slab_t *hak_hold_new(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_central_t *central = central_of(cache, cls);
  hak_shared_pool_t *pool = &cache->store->pool;
  const hak_geometry_t *geometry = &cache->store->geometry[cls];
  bool zeroed;
  /* Counted before there is one: who has the pool's lock then knows all classes
   * that have slabs; see hak_forking_prepare. */
  bool first = hak_add_relaxed(&central->spans, 1) == 0;
  /* Where slots are few, long spans of many classes would leave most of each unused. */
  bool is_short = hak_pool_is_enclosed(pool) && hak_budget_is_limited(&pool->budget);
  unsigned span = first || is_short ? geometry->span_first : geometry->span_next;
  hak_slab_t *slab = hak_pool_get(pool, span, HAK_SLAB_SIZE, span * HAK_SLAB_SIZE,
                                  me->no_grow != 0, &zeroed);
  if (slab == NULL && span > geometry->span_first) {
    span = geometry->span_first;
    slab = hak_pool_get(pool, span, HAK_SLAB_SIZE, span * HAK_SLAB_SIZE, me->no_grow != 0,
                        &zeroed);
  }
  if (slab == NULL) {
    hak_sub_relaxed(&central->spans, 1);
    return NULL;
  }
  HAK_COUNT(me, slab_fresh, 1);
  if (!me->no_grow) hak_pool_densify(pool, slab);
  uint32_t size = hak_class_size(cls);
  slab->list.head = HAK_LINK_END;
  hak_store_relaxed(&slab->carved, 0);
  hak_store_relaxed(&slab->capacity, (uint32_t)(span * HAK_SLAB_SIZE / size));
  slab->list.block_size = size;
  hak_slab_set_class(slab, cls);
  slab->span = (uint8_t)span;
  slab->queue = HAK_QUEUE_NONE;
  slab->dirty = 0;
  slab->unsure = 0;
  hak_slab_set_out(slab, 0, 0);
  /* Relaxed: nobody else has a block of it. */
  hak_store_relaxed(&slab->word, hak_word_mine(cache));
  hak_locate_set_class((uintptr_t)hak_slab_start(slab), span, cls);
  hak_hold_set_entry(me, cache, slab, hak_cache_entry(cache, cls));
  return slab;
}

void hak_hold_retire(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  HAK_COUNT(me, slab_retired, 1);
  hak_sub_relaxed(&central_of(cache, hak_slab_class(slab))->spans, 1);
  hak_hold_set_entry(me, cache, slab, 0);
  if (cache->lookup != NULL) {
    hak_lookup_forget(cache->lookup, hak_slab_start(slab), slab->span);
  }
  hak_locate_set_class((uintptr_t)hak_slab_start(slab), slab->span, HAK_CLASS_NONE);
  /* Relaxed: the pool's lock orders it for the next holder. */
  hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_FREE, 0));
  hak_pool_put(&cache->store->pool, slab, slab->span);
}

/* Every block of a slab of this thread is home. It is carved again, in address
 * order, if the thread has no other to carve. */
static void slab_empty(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  uint32_t cls = hak_slab_class(slab);
  hak_hold_t *hold = &cache->holds[cls];
  if (slab->queue == HAK_QUEUE_HELD) {
    if (hak_slab_carved(slab) < hak_slab_capacity(slab)) return; /* current: goes on */
    if (HAK_UNLIKELY(!hak_stray_all_home(me, cache, slab))) return;
    dequeue(hold, slab);
  }
  slab->list.head = HAK_LINK_END;
  hak_store_relaxed(&slab->carved, 0);
  /* A block that is listed nowhere has no link to look at. */
  slab->dirty = slab->unsure == 0;
  slab->unsure = 0;
  hak_slab_set_out(slab, 0, 0);
  if (hold->current == slab || hold->current == NULL) {
    hold->current = slab;
    hak_hold_set_entry(me, cache, slab, hak_cache_entry(cache, cls));
    return;
  }
  hak_clock_refresh();
  hak_hold_retire(me, cache, slab);
}

/* --- the holder's side of the word -------------------------------------- */

void *hak_hold_take_remote(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                           uint32_t *count) {
  uint64_t word = hak_load_relaxed(&slab->word);
  *count = 0;
  if (HAK_LIKELY(hak_word_remote_count(word) == 0)) return NULL;
  /* Acquire: pairs with the release in push_remote; the links are seen. Only
   * the holder changes the upper half, so an exchange loses nothing. */
  word = hak_exchange_acquire(&slab->word, hak_word_mine(cache));
  uint32_t n = hak_word_remote_count(word);
  char *head = hak_slab_start(slab) + ((size_t)(hak_word_remote_head(word) - 1) << 3);
  if (HAK_UNLIKELY(n > hak_slab_out(slab))) {
    report_surplus(me, cache, &(hak_batch_t){slab, head, head, n});
    return NULL;
  }
  *count = n;
  return head;
}

/* Puts what others have pushed onto the slab's own list. */
static void join_remote(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  uint32_t count, taken = 0;
  void *first = hak_hold_take_remote(me, cache, slab, &count), *list = first,
       *last = NULL;
  if (first == NULL) return;
  /* At a broken link the rest is given up and stays out. */
  for (void *block; taken < count && list != HAK_LINK_END; taken++) {
    if (HAK_UNLIKELY(hak_hold_take_fails(me, cache, &list, &block))) break;
    last = block;
  }
  if (HAK_UNLIKELY(taken == 0)) return;
  hak_link_write(&me->key, last, slab->list.head);
  hak_compiler_fence(); /* see hak_reclaim_slab */
  slab->list.head = first;
  hak_slab_set_out(slab, hak_slab_out(slab) - taken, 0);
}

bool hak_hold_claim(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                    uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  if (hold->credit <= 0) return false;
  uint64_t full = hak_word_make(HAK_SLAB_FULL, 0);
  /* Acquire: pairs with the releases in hak_hold_let_go and take_listed. */
  if (!hak_cas_acquire(&slab->word, &full, hak_word_mine(cache))) return false;
  hold->credit--;
  HAK_COUNT(me, slab_claims, 1);
  return true;
}

void hak_hold_let_go(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                     uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  uint64_t mine = hak_word_mine(cache);
  /* Release: publishes list and counts to whoever claims or gives to the partial list it.
   */
  if (HAK_LIKELY(hak_cas_release(&slab->word, &mine, hak_word_make(HAK_SLAB_FULL, 0)))) {
    HAK_COUNT(me, slab_let_go, 1);
    hold->credit++;
    return;
  }
  /* Blocks have come home meanwhile: keep it. */
  uint32_t count;
  void *first = hak_hold_take_remote(me, cache, slab, &count);
  slab->list.head = first == NULL ? HAK_LINK_END : first;
  hak_slab_set_out(slab, hak_slab_carved(slab) - count, 0);
  enqueue(hold, slab);
  hak_hold_set_entry(me, cache, slab, hak_entry_local(me, slab));
}

static void list_one(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab);

/* So many blocks are out that the holder wanted to hear of it. */
static void slab_reached(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                         uint32_t out) {
  bool held_back = hak_load_relaxed(&slab->held_back) != 0;
  hak_slab_set_out(slab, out, 0);
  if (held_back) {
    join_remote(me, cache, slab);
    if (hak_slab_out(slab) > 0 && slab->queue == HAK_QUEUE_HELD &&
        cache->holds[hak_slab_class(slab)].slabs >
            cache->holds[hak_slab_class(slab)].slabs_most) {
      list_one(me, cache, slab);
      return;
    }
    if (hak_slab_out(slab) > 0) {
      /* The rest may lie in this thread's own bin and pin the slab. */
      if (!me->in_parts) hak_spill_bin(me, cache, hak_slab_class(slab));
      return;
    }
  }
  if (hak_slab_out(slab) == 0) slab_empty(me, cache, slab);
}

void hak_hold_home(hak_thread_t *me, const hak_cache_t *cache, hak_batch_t run) {
  hak_slab_t *slab = run.slab;
  uint32_t out = hak_slab_out(slab);
  if (HAK_UNLIKELY(run.count > out || is_there(&run, slab->list.head))) {
    report_surplus(me, cache, &run);
    return;
  }
  HAK_COUNT(me, free_local, run.count);
  hak_link_write(&me->key, run.last, slab->list.head);
  hak_compiler_fence(); /* see hak_reclaim_slab */
  slab->list.head = run.first;
  out -= run.count;
  uint32_t held_back = hak_load_relaxed(&slab->held_back);
  if (slab->queue == HAK_QUEUE_NONE) {
    enqueue(&cache->holds[hak_slab_class(slab)], slab);
    hak_hold_set_entry(me, cache, slab, hak_entry_local(me, slab));
    uint32_t carved = hak_slab_carved(slab), eighth = carved >> HELD_BACK_SHIFT;
    held_back = carved == hak_slab_capacity(slab) && out > eighth ? eighth : 0;
    hak_store_relaxed(&slab->held_back, held_back);
  }
  if (HAK_LIKELY(out > held_back)) {
    hak_slab_set_out(slab, out, held_back);
  } else {
    slab_reached(me, cache, slab, out);
  }
}

void hak_hold_event(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                    void *block) {
  int32_t room = hak_load_relaxed(&slab->list.room);
  if (HAK_UNLIKELY(room < -1)) {
    hak_store_relaxed(&slab->list.room, -1);
    report_surplus(me, cache, &(hak_batch_t){slab, block, block, 1});
    return;
  }
  hak_store_relaxed(&slab->list.room, 0); /* the block is still out */
  if (HAK_UNLIKELY(!hak_stray_starts(slab, hak_slab_start(slab), block))) {
    hak_stray_report(me, cache, block);
    return;
  }
  hak_hold_home(me, cache, (hak_batch_t){slab, block, block, 1});
}

/* --- other threads' side ------------------------------------------------ */

/* Pushes a run onto the word of a slab that another thread holds; false if the
 * slab is no longer held. *word is what was last seen. */
static bool push_remote(hak_thread_t *me, const hak_cache_t *cache,
                        const hak_batch_t *run, uint64_t *word) {
  char *start = hak_slab_start(run->slab);
  while (hak_word_state(*word) == HAK_SLAB_HELD) {
    uint32_t head = hak_word_remote_head(*word);
    uint32_t count = hak_word_remote_count(*word) + run->count;
    void *next = head == 0 ? HAK_LINK_END : start + ((size_t)(head - 1) << 3);
    if (HAK_UNLIKELY(count > hak_slab_capacity(run->slab) || is_there(run, next))) {
      report_surplus(me, cache, run);
      return true;
    }
    hak_link_write(&me->key, run->last, next);
    uint32_t first = (uint32_t)(((char *)run->first - start) >> 3) + 1;
    uint64_t with = (hak_word_owner(*word) << HAK_WORD_HOLDER_SHIFT) |
                    (uint64_t)count << HAK_WORD_COUNT_SHIFT | first;
    /* Release: publishes the links to hak_hold_take_remote. */
    if (hak_cas_release(&run->slab->word, word, with)) {
      HAK_COUNT(me, free_remote, run->count);
      return true;
    }
  }
  return false;
}

/* With the partial list's lock: a run comes home to a slab that nobody holds; false if
 * it has a holder now. */
static bool home_listed(hak_thread_t *me, const hak_cache_t *cache,
                        hak_central_t *central, const hak_batch_t *run, uint64_t *word) {
  hak_slab_t *slab = run->slab;
  if (*word == hak_word_make(HAK_SLAB_FULL, 0)) {
    /* Acquire: pairs with hak_hold_let_go; a claimer may come first. */
    if (!hak_cas_acquire(&slab->word, word, hak_word_make(HAK_SLAB_PARTIAL, 0))) {
      return false;
    }
    HAK_COUNT(me, slab_shelved, 1);
    hak_link_write(&me->key, run->last, HAK_LINK_END);
    slab->list.head = run->first;
    uint32_t carved = hak_slab_carved(slab);
    if (run->count > carved) report_surplus(me, cache, run);
    hak_slab_set_out(slab, run->count < carved ? carved - run->count : 0, 0);
    if (hak_slab_out(slab) == 0 && hak_stray_all_home(me, cache, slab)) {
      hak_hold_retire(me, cache, slab);
    } else {
      hak_partial_add_locked(central, slab);
    }
    return true;
  }
  if (hak_word_state(*word) == HAK_SLAB_PARTIAL) {
    uint32_t out = hak_slab_out(slab);
    if (HAK_UNLIKELY(run->count > out || is_there(run, slab->list.head))) {
      report_surplus(me, cache, run);
      return true;
    }
    HAK_COUNT(me, free_shelved, run->count);
    hak_link_write(&me->key, run->last, slab->list.head);
    slab->list.head = run->first;
    hak_slab_set_out(slab, out - run->count, 0);
    if (out == run->count && hak_stray_all_home(me, cache, slab)) {
      hak_partial_remove_locked(central, slab);
      hak_hold_retire(me, cache, slab);
    }
    return true;
  }
  if (hak_word_state(*word) == HAK_SLAB_FREE) {
    report_surplus(me, cache, run);
    return true;
  }
  return false;
}

void hak_hold_home_any(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       hak_batch_t run, bool *locked) {
  hak_central_t *central = central_of(cache, cls);
  uint64_t word = hak_load_relaxed(&run.slab->word);
  for (;;) {
    if (hak_word_is_mine(cache, word) || (word == hak_word_make(HAK_SLAB_FULL, 0) &&
                                          hak_hold_claim(me, cache, run.slab, cls))) {
      /* It may send more home, and to this partial list. */
      if (*locked) hak_lock_release(&central->lock);
      *locked = false;
      hak_hold_home(me, cache, run);
      return;
    }
    if (push_remote(me, cache, &run, &word)) return;
    if (!*locked) {
      hak_lock_acquire(&central->lock);
      *locked = true;
      HAK_COUNT(me, shelf_visits, 1);
      word = hak_load_relaxed(&run.slab->word);
    }
    if (home_listed(me, cache, central, &run, &word)) return;
  }
}

/* --- giving up ----------------------------------------------------------- */

/* HELD -> PARTIAL, for a slab in no queue, under the partial list's lock; false if it
 * is wholly free instead and the caller must retire it. */
static bool list_locked(hak_thread_t *me, const hak_cache_t *cache,
                        hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  hak_slab_set_out(slab, hak_slab_out(slab), 0);
  hak_hold_set_entry(me, cache, slab, hak_cache_entry(cache, hak_slab_class(slab)));
  uint64_t mine;
  do {
    join_remote(me, cache, slab);
    if (hak_slab_out(slab) == 0 && hak_stray_all_home(me, cache, slab)) return false;
    mine = hak_word_mine(cache);
    /* Relaxed: who meets the slab as PARTIAL has the lock. */
  } while (!hak_cas_relaxed(&slab->word, &mine, hak_word_make(HAK_SLAB_PARTIAL, 0)));
  hak_partial_add_locked(central, slab);
  HAK_COUNT(me, slab_shelved, 1);
  cache->holds[hak_slab_class(slab)].credit++;
  return true;
}

/* A slab in the queue, wholly carved: others may have its free blocks. */
static void list_one(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  uint32_t cls = hak_slab_class(slab);
  hak_central_t *central = central_of(cache, cls);
  dequeue(&cache->holds[cls], slab);
  hak_lock_acquire(&central->lock);
  HAK_COUNT(me, shelf_visits, 1);
  bool listed = list_locked(me, cache, central, slab);
  hak_lock_release(&central->lock);
  if (!listed) hak_hold_retire(me, cache, slab);
}

void hak_hold_list(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                   uint32_t count) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_central_t *central = central_of(cache, cls);
  hak_slab_t *empty = NULL;
  hak_lock_acquire(&central->lock);
  HAK_COUNT(me, shelf_visits, 1);
  while (count-- > 0 && hold->first != NULL) {
    hak_slab_t *slab = hold->first;
    dequeue(hold, slab);
    if (slab == hold->current) hold->current = NULL;
    if (!list_locked(me, cache, central, slab)) {
      slab->next = empty;
      empty = slab;
    }
  }
  hak_lock_release(&central->lock);
  if (empty != NULL) hak_clock_refresh();
  while (empty != NULL) {
    hak_slab_t *slab = empty;
    empty = slab->next;
    hak_hold_retire(me, cache, slab);
  }
}

void hak_hold_list_all(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_slab_t *current = hold->current;
  if (current != NULL && current->queue == HAK_QUEUE_NONE) enqueue(hold, current);
  if (hold->first != NULL) hak_hold_list(me, cache, cls, UINT32_MAX);
  hold->current = NULL;
}

/* --- checks ---------------------------------------------------------------- */

/* blocks on the list == carved - out, each a block of the slab. */
static bool slab_is_valid(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  uint32_t carved = hak_slab_carved(slab), out = hak_slab_out(slab), listed = 0;
  if (carved > hak_slab_capacity(slab) || out > carved) return false;
  const char *start = hak_slab_start(slab);
  for (const void *block = slab->list.head; block != HAK_LINK_END; listed++) {
    size_t offset = (size_t)((const char *)block - start);
    if (offset >= (size_t)slab->span << HAK_SLAB_SHIFT || listed == carved ||
        !hak_class_is_start(hak_slab_class(slab), offset) ||
        hak_class_index(hak_slab_class(slab), offset) >= carved) {
      return false;
    }
    block = hak_link_read(&me->key, block);
    if (hak_link_is_bad(&me->key, block)) return false;
  }
  return listed <= carved - out && listed + slab->unsure >= carved - out &&
         hak_word_is_mine(cache, hak_load_relaxed(&slab->word)) &&
         hak_word_remote_count(hak_load_relaxed(&slab->word)) <= out;
}

bool hak_hold_is_valid(hak_thread_t *me, const hak_cache_t *cache) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    hak_hold_t *hold = &cache->holds[cls];
    uint32_t slabs = 0;
    for (hak_slab_t *slab = hold->first; slab != NULL; slab = slab->next) {
      if (slab->queue != HAK_QUEUE_HELD || !slab_is_valid(me, cache, slab)) return false;
      if (hak_slab_carved(slab) < hak_slab_capacity(slab) && slab != hold->current)
        return false;
      slabs++;
    }
    if (slabs != hold->slabs) return false;
    if (hold->current != NULL && !slab_is_valid(me, cache, hold->current)) return false;
  }
  return true;
}
