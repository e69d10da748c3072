#include "tiny/hold.h"

#include "base/check.h"
#include "base/report.h"
#include "pages/clock.h"
#include "pages/idle.h"
#include "superslab/clean.h"
#include "superslab/huge.h"
#include "superslab/locate.h"
#include "superslab/tails.h"
#include "tiny/commit.h"
#include "tiny/hole_map.h"
#include "tiny/lean.h"
#include "tiny/partial_list.h"
#include "tiny/scatter.h"
#include "tiny/stray.h"

/* With less room in its budget a heap has short spans. */
#define HAK_ROOM_FOR_LONG_SPANS (64 * HAK_MIB)

enum {
  /* A slab is sparse with less than this share of its blocks out. */
  SPARSE_SHARE = 4,
  SPARSE_AT_ONCE = 8, /* slabs that one refill puts on the partial list at most */
  SPARSE_KEPT = 2     /* slabs that a thread serves itself from, sparse or not */
};

static hak_central_t *central_of(const hak_cache_t *cache, uint32_t cls) {
  return &cache->store->centrals[cls];
}

void hak_hold_set_entry(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                        uint64_t entry) {
  HAK_COUNT(me, entry_writes, hak_slab_span(slab));
  if (cache->lookup != NULL) {
    /* Entries of a serial heap's slabs are always unowned. The lookup cache says which
     * list an entry would name. */
    hak_list_t *bin = &cache->bins[hak_slab_class(slab)].list;
    hak_lookup_redirect(cache->lookup, hak_slab_start(slab), hak_slab_span(slab),
                        entry != 0 ? &slab->list : bin);
    return;
  }
  hak_registry_set_entries((uintptr_t)hak_slab_start(slab), hak_slab_span(slab), entry);
}

void hak_hold_name_bin_locked(hak_thread_t *me, const hak_cache_t *cache,
                              hak_slab_t *slab) {
  hak_lock_assert_held(&central_of(cache, hak_slab_class(slab))->lock);
  uint64_t entry = hak_cache_entry(cache, hak_slab_class(slab));
  if (entry == 0) return;
  if (HAK_LIKELY(hak_registry_entry(me->registry, (uintptr_t)hak_slab_start(slab)) != 0))
    return;
  hak_hold_set_entry(me, cache, slab, entry);
}

void hak_hold_name(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  uint32_t cls = hak_slab_class(slab);
  if (HAK_LIKELY(cache->holds[cls].far == HAK_FAR_NOT)) {
    hak_hold_set_entry(me, cache, slab, hak_entry_local(me, slab));
  } else {
    hak_hold_set_entry(me, cache, slab, hak_cache_entry(cache, cls));
  }
}

HAK_SLOW void hak_hold_name_late_slow(hak_thread_t *me, const hak_cache_t *cache,
                                      hak_slab_t *slab) {
  hak_central_t *central = central_of(cache, hak_slab_class(slab));
  if (hak_word_is_mine(cache, hak_load_relaxed(&slab->word))) {
    if (slab->queue == HAK_QUEUE_NONE) {
      hak_hold_set_entry(me, cache, slab, hak_cache_entry(cache, hak_slab_class(slab)));
    } else {
      hak_hold_name(me, cache, slab);
    }
    return;
  }
  /* What another thread holds it names itself. A FULL slab may be claimed meanwhile, by
   * whom its entries are written. */
  hak_lock_acquire(&central->lock);
  if (hak_word_state(hak_load_relaxed(&slab->word)) == HAK_SLAB_PARTIAL) {
    hak_hold_name_bin_locked(me, cache, slab);
  }
  hak_lock_release(&central->lock);
}

/* --- the queue of held slabs ------------------------------------------- */

static void enqueue(hak_hold_t *hold, hak_slab_t *slab) {
  hak_assert(slab->queue == HAK_QUEUE_NONE);
  slab->queue = HAK_QUEUE_HELD;
  slab->aged = 0;
  slab->next = NULL;
  slab->prev = hold->last;
  if (hold->last != NULL) {
    hold->last->next = slab;
  } else {
    hold->first = slab;
  }
  hold->last = slab;
  hold->slabs++;
  hak_idle_note_others();
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

void hak_hold_requeue(const hak_cache_t *cache, hak_slab_t *slab, uint32_t cls) {
  enqueue(&cache->holds[cls], slab);
}

/* --- birth and end ------------------------------------------------------ */

/* In a hardened build the span may be of a larger block that was freed, of which nothing
 * is left but what was written to it since. */
static void look_at_span(hak_thread_t *me, const hak_shared_pool_t *pool,
                         hak_slab_t *slab, unsigned span) {
  if (HAK_CHECKS < 3) return;
  hak_superslab_t *ss = hak_slab_superslab(slab);
  uint32_t slots = hak_mask32(slab->slot, span);
  const void *written = hak_clean_find(ss, slots);
  if (HAK_UNLIKELY(written != NULL)) {
    hak_thread_defer_report(me, pool->heap, HAK_ERROR_CORRUPT_BLOCK, written,
                            HAK_TEXT_WRITTEN);
  }
  hak_superslab_soil(ss, slots);
}

/* Which spans of a class are short: a heap's first one, and where threads free each
 * other's blocks its first eight. Of many classes each such thread may need no more than
 * a few blocks, and the rest of a long span serves no other class. */
static bool is_early(const hak_cache_t *cache, uint32_t cls, uint32_t had) {
  enum {
    EARLY = 8
  };
  return had == 0 || (had < EARLY && hak_cache_is_exchanged(cache, cls));
}

hak_slab_t *hak_hold_new(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_shared_pool_t *pool = &cache->store->pool;
  const hak_geometry_t *geometry = &cache->store->geometry[cls];
  bool zeroed;
  bool early = is_early(cache, cls, hak_store_begin_span(cache->store, cls));
  /* If the heap has few slots, long spans of many classes would leave most of them
   * unused; near a limit, and where each slot is to fit one block, long spans would
   * seldom become free for other classes. */
  bool is_short =
      hak_pool_is_enclosed(pool)
          ? hak_budget_is_limited(&pool->budget)
          : pool->fits || hak_budget_room(&pool->budget) < HAK_ROOM_FOR_LONG_SPANS;
  unsigned span = early || is_short ? geometry->span_first : geometry->span_next;
  hak_slab_t *slab =
      hak_pool_get(pool, span, HAK_SLAB_SIZE, hak_commit_first(me, cache, cls, span),
                   me->no_grow != 0, &zeroed);
  if (slab == NULL && span > geometry->span_first) {
    span = geometry->span_first;
    slab = hak_pool_get(pool, span, HAK_SLAB_SIZE, hak_commit_first(me, cache, cls, span),
                        me->no_grow != 0, &zeroed);
  }
  if (slab == NULL) {
    hak_store_end_span(cache->store, cls);
    return NULL;
  }
  HAK_COUNT(me, slab_fresh, 1);
  look_at_span(me, pool, slab, span);
  hak_lean_note_begun(me);
  hak_slab_begin(cache, slab, cls, span);
  hak_tail_came(pool, hak_commit_tail(cache, slab));
  hak_locate_set_class((uintptr_t)hak_slab_start(slab), span, cls);
  hak_hold_set_entry(me, cache, slab, hak_cache_entry(cache, cls));
  return slab;
}

/* Blocks over HAK_TINY_MAX do not say any more that they are free. One that was freed
 * twice is in another thread's bin too, which takes what was freed last first: that comes
 * before the span serves anew, and would be given out. In a hardened build a seal does
 * the same.
 */
static HAK_SLOW void spoil_blocks(hak_slab_t *slab) {
  bool tell =
      HAK_CHECKS >= 1 && HAK_CHECKS < 3 && hak_slab_class(slab) >= HAK_TINY_CLASSES;
  if (!tell || hak_hole_map_any(slab)) return;
  char *block = hak_slab_start(slab);
  for (uint32_t n = hak_slab_carved(slab); n > 0; n--) {
    hak_link_spoil(block);
    block += hak_list_block_size(&slab->list);
  }
}

void hak_hold_retire(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  HAK_COUNT(me, slab_retired, 1);
  hak_lean_note_given(me);
  hak_store_end_span(cache->store, hak_slab_class(slab));
  hak_hold_set_entry(me, cache, slab, 0);
  if (cache->lookup != NULL) {
    hak_lookup_forget(cache->lookup, hak_slab_start(slab), hak_slab_span(slab));
  }
  hak_locate_set_class((uintptr_t)hak_slab_start(slab), hak_slab_span(slab),
                       HAK_CLASS_NONE);
  spoil_blocks(slab);
  bool held = hak_commit_hold(cache, slab);
  hak_scatter_end(cache, slab);
  hak_slab_end(slab);
  hak_commit_let_go(slab, held);
  hak_pool_put(&cache->store->pool, slab, hak_slab_span(slab));
}

/* Every block of a slab of the queue is home. The slab is carved again, in address order,
 * if the thread has no other to carve; else, and where the thread is lean, it goes back
 * to the pool. */
static void slab_empty(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab) {
  uint32_t cls = hak_slab_class(slab);
  hak_hold_t *hold = &cache->holds[cls];
  bool lean = hold->lean != HAK_LEAN_NOT;
  bool whole = hak_slab_carved(slab) == hak_slab_capacity(slab);
  if (!whole && !lean) return; /* the current slab */
  if (HAK_UNLIKELY(!hak_slab_all_home(me, cache, slab))) return;
  dequeue(hold, slab);
  if (!lean && hold->current == NULL) {
    hak_slab_carve_anew(slab);
    hold->current = slab;
    hak_hold_set_entry(me, cache, slab, hak_cache_entry(cache, cls));
    return;
  }
  if (hold->current == slab) hold->current = NULL;
  hak_clock_refresh();
  hak_hold_retire(me, cache, slab);
}

/* --- blocks that come home ---------------------------------------------- */

bool hak_hold_claim(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                    uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  if (hold->credit <= 0 || !hak_slab_claim(cache, slab)) return false;
  hold->credit--;
  HAK_COUNT(me, slab_claims, 1);
  return true;
}

void hak_hold_let_go(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                     uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  if (HAK_LIKELY(hak_slab_let_go(me, cache, slab))) {
    HAK_COUNT(me, slab_let_go, 1);
    hold->credit++;
    return;
  }
  /* Blocks have come home meanwhile, so the slab is kept. */
  enqueue(hold, slab);
  hak_hold_name(me, cache, slab);
}

static void list_one(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                     bool aged);

/* Does what is due when few blocks of a slab of the queue are out. `early` says that by
 * the slab's own list some still are; others may have pushed them onto the word. */
static void slab_reached(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                         bool early) {
  uint32_t cls = hak_slab_class(slab);
  hak_hold_t *hold = &cache->holds[cls];
  if (hold->lean == HAK_LEAN_NOT && !me->in_parts && hak_lean_begins(cache, cls)) {
    hak_lean_hear(cache, cls);
  }
  if (early) {
    hak_slab_join_remote(me, cache, slab);
    if (hak_slab_out(slab) > 0 && hold->slabs > hold->slabs_most) {
      list_one(me, cache, slab, false);
      return;
    }
    if (hak_slab_out(slab) > 0) {
      /* The blocks that are out may lie in this thread's own bin. */
      if (!me->in_parts) hold->pins = 1;
      return;
    }
  }
  slab_empty(me, cache, slab);
}

void hak_hold_home(hak_thread_t *me, const hak_cache_t *cache, hak_batch_t run) {
  hak_slab_t *slab = run.slab;
  if (HAK_UNLIKELY(!hak_slab_accepts(me, cache, &run))) return;
  HAK_COUNT(me, free_local, run.count);
  uint32_t out = hak_slab_out(slab) - run.count;
  uint32_t held_back = hak_load_relaxed(&slab->held_back);
  if (slab->queue == HAK_QUEUE_NONE) {
    enqueue(&cache->holds[hak_slab_class(slab)], slab);
    hak_hold_name(me, cache, slab);
    held_back = hak_lean_hears_at(cache, slab);
    if (held_back >= out) held_back = 0;
  }
  if (HAK_LIKELY(out > held_back)) {
    hak_slab_come_home(me, &run, held_back);
  } else {
    hak_slab_come_home(me, &run, 0);
    slab_reached(me, cache, slab, held_back != 0);
  }
}

void hak_hold_event(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                    void *block) {
  if (HAK_UNLIKELY(!hak_slab_undo_push(me, cache, slab, block))) return;
  if (HAK_UNLIKELY(
          !hak_stray_starts(slab, hak_slab_class(slab), hak_slab_start(slab), block))) {
    hak_stray_report(me, cache, block);
    return;
  }
  hak_hold_home(me, cache, (hak_batch_t){slab, block, block, 1});
}

/* Brings a run home to a slab that nobody holds; false if the slab has a holder now. */
static bool home_listed_locked(hak_thread_t *me, const hak_cache_t *cache,
                               hak_central_t *central, const hak_batch_t *run,
                               uint64_t *word) {
  hak_lock_assert_held(&central->lock);
  hak_slab_t *slab = run->slab;
  if (hak_word_is_full(*word)) {
    if (!hak_slab_full_to_partial_locked(me, cache, run, word)) return false;
    HAK_COUNT(me, slab_shelved, 1);
    if (hak_slab_out(slab) == 0 && hak_slab_all_home(me, cache, slab)) {
      hak_hold_retire(me, cache, slab);
    } else {
      hak_partial_add_locked(central, slab);
    }
    return true;
  }
  if (hak_word_state(*word) == HAK_SLAB_PARTIAL) {
    if (HAK_UNLIKELY(!hak_slab_accepts(me, cache, run) ||
                     !hak_slab_none_is_away(me, cache, run))) {
      return true;
    }
    HAK_COUNT(me, free_shelved, run->count);
    uint32_t out = hak_slab_out(slab);
    hak_slab_come_home(me, run, 0);
    bool home = hak_slab_out(slab) == 0 && hak_slab_all_home(me, cache, slab);
    hak_partial_regroup_locked(central, slab, out);
    if (home) {
      hak_partial_remove_locked(central, slab);
      hak_hold_retire(me, cache, slab);
    }
    return true;
  }
  if (hak_word_state(*word) == HAK_SLAB_FREE) {
    hak_slab_report_surplus(me, cache, run->first);
    return true;
  }
  return false;
}

void hak_hold_home_any(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       hak_batch_t run, bool *locked) {
  hak_central_t *central = central_of(cache, cls);
  uint64_t word = hak_load_relaxed(&run.slab->word);
  for (;;) {
    if (hak_word_is_mine(cache, word) ||
        (hak_word_is_full(word) && hak_hold_claim(me, cache, run.slab, cls))) {
      /* hak_hold_home may put a slab on this partial list, and so needs the lock itself.
       */
      if (*locked) hak_lock_release(&central->lock);
      *locked = false;
      hak_hold_home(me, cache, run);
      return;
    }
    if (hak_slab_push_remote(me, cache, &run, &word)) return;
    if (!*locked) {
      hak_lock_acquire(&central->lock);
      *locked = true;
      HAK_COUNT(me, shelf_visits, 1);
      word = hak_load_relaxed(&run.slab->word);
    }
    if (home_listed_locked(me, cache, central, &run, &word)) return;
  }
}

/* --- giving up ----------------------------------------------------------- */

/* True if the slab's entries name a bin although the cache has none, as a thread without
 * a cache held the slab for one block: its other blocks go where they went before. */
static bool names_bin(const hak_thread_t *me, const hak_cache_t *cache,
                      hak_slab_t *slab) {
  if (cache->lookup != NULL || cache->entry != 0) return false;
  uintptr_t start = (uintptr_t)hak_slab_start(slab);
  return (hak_registry_entry(me->registry, start) & HAK_MODE_CACHED) != 0;
}

/* HELD -> PARTIAL, for a slab that is in no queue; false if every block is home instead,
 * and the caller must retire the slab. */
static bool list_locked(hak_thread_t *me, const hak_cache_t *cache,
                        hak_central_t *central, hak_slab_t *slab, bool aged) {
  hak_lock_assert_held(&central->lock);
  hak_slab_hear_last(slab);
  if (!names_bin(me, cache, slab)) {
    hak_hold_set_entry(me, cache, slab, hak_cache_entry(cache, hak_slab_class(slab)));
  }
  if (!hak_slab_held_to_partial_locked(me, cache, slab)) return false;
  if (aged) {
    hak_partial_add_aged_locked(central, slab);
  } else {
    hak_partial_add_locked(central, slab);
  }
  HAK_COUNT(me, slab_shelved, 1);
  cache->holds[hak_slab_class(slab)].credit++;
  return true;
}

/* Puts a slab of the queue on the partial list. */
static void list_one(hak_thread_t *me, const hak_cache_t *cache, hak_slab_t *slab,
                     bool aged) {
  uint32_t cls = hak_slab_class(slab);
  hak_central_t *central = central_of(cache, cls);
  hak_hold_t *hold = &cache->holds[cls];
  dequeue(hold, slab);
  if (slab == hold->current) hold->current = NULL;
  hak_lock_acquire(&central->lock);
  HAK_COUNT(me, shelf_visits, 1);
  bool listed = list_locked(me, cache, central, slab, aged);
  hak_lock_release(&central->lock);
  if (!listed) hak_hold_retire(me, cache, slab);
}

/* True if so many blocks of the slab are home that it may become free if it is left
 * alone. A slab that is not wholly carved serves anyway. */
static bool is_sparse(hak_slab_t *slab) {
  uint32_t out = hak_slab_out(slab); /* 0: the slab was made ready in advance */
  return out > 0 && out * SPARSE_SHARE < hak_slab_capacity(slab) &&
         hak_slab_carved(slab) == hak_slab_capacity(slab);
}

hak_slab_t *hak_hold_dequeue(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  for (int i = 0; i < SPARSE_AT_ONCE && hold->slabs > SPARSE_KEPT; i++) {
    hak_slab_t *slab = hold->first;
    if (HAK_LIKELY(!is_sparse(slab))) break;
    list_one(me, cache, slab, false);
  }
  hak_slab_t *slab = hold->first;
  if (slab != NULL) dequeue(hold, slab);
  return slab;
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
    if (!list_locked(me, cache, central, slab, false)) {
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

/* Blocks of the slab that are in use: what others freed is not, and joins its list when
 * it is next taken from, or listed. */
static uint32_t in_use(hak_slab_t *slab) {
  uint64_t remote = hak_word_remote_count(hak_load_relaxed(&slab->word));
  return hak_slab_out(slab) - (uint32_t)remote;
}

/* True if the slab did not change since the last look; notes what it is like now. */
static bool is_still(hak_slab_t *slab, uint32_t used) {
  bool still = slab->aged != 0 && hak_load_relaxed(&slab->usable) == used;
  slab->aged = 1;
  hak_store_relaxed(&slab->usable, used);
  return still;
}

bool hak_hold_list_still(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  size_t page = cache->store->pool.os->page_size;
  bool others = false;
  for (hak_slab_t *slab = hold->first, *next; slab != NULL; slab = next) {
    next = slab->next;
    uint32_t used = in_use(slab);
    size_t free = hak_slab_carved(slab) - used;
    if (hak_slab_carved(slab) != hak_slab_capacity(slab) ||
        free * hak_list_block_size(&slab->list) < page) {
      continue;
    }
    if (is_still(slab, used)) {
      list_one(me, cache, slab, true);
    } else {
      others = true;
    }
  }
  return others;
}

/* --- pages that are not carved ----------------------------------------------- */

static size_t pages_carved(const hak_cache_t *cache, hak_slab_t *slab) {
  return hak_os_pages(cache->store->pool.os,
                      (size_t)hak_slab_carved(slab) * hak_list_block_size(&slab->list));
}

/* Holds a partly carved slab of the partial list that has more pages than it needs. */
static hak_slab_t *take_loose(const hak_cache_t *cache, hak_central_t *central) {
  hak_lock_acquire(&central->lock);
  hak_slab_t *slab = hak_load_relaxed(&central->uncarved);
  size_t page = cache->store->pool.os->page_size;
  while (slab != NULL &&
         hak_commit_bytes(cache, slab) <= pages_carved(cache, slab) * page) {
    slab = slab->next;
  }
  if (slab != NULL) {
    hak_partial_remove_locked(central, slab);
    hak_slab_partial_to_held_locked(cache, slab);
  }
  hak_lock_release(&central->lock);
  return slab;
}

/* Puts a slab back that was taken off the partial list for a while. */
static void put_back(hak_thread_t *me, const hak_cache_t *cache, hak_central_t *central,
                     hak_slab_t *slab) {
  hak_lock_acquire(&central->lock);
  bool listed = hak_slab_held_to_partial_locked(me, cache, slab);
  if (listed) hak_partial_add_locked(central, slab);
  hak_lock_release(&central->lock);
  if (!listed) hak_hold_retire(me, cache, slab);
}

size_t hak_hold_shed(hak_thread_t *me, const hak_cache_t *cache) {
  size_t given = 0;
  if (hak_pool_is_enclosed(&cache->store->pool) || !hak_os_may_give()) return 0;
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    if (!hak_store_has_spans(cache->store, cls)) continue;
    hak_central_t *central = central_of(cache, cls);
    hak_slab_t *slab;
    size_t got = 1;
    while (got != 0 && (slab = take_loose(cache, central)) != NULL) {
      bool held = hak_commit_hold(cache, slab);
      got = hak_huge_purge_tail(hak_slab_superslab(slab), slab->slot, hak_slab_span(slab),
                                pages_carved(cache, slab));
      hak_commit_let_go(slab, held);
      /* Blocks that were carved there before have no links any more. */
      slab->dirty = 0;
      put_back(me, cache, central, slab);
      given += got;
    }
  }
  return given;
}

/* --- checks ---------------------------------------------------------------- */

bool hak_hold_is_valid(hak_thread_t *me, const hak_cache_t *cache) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    hak_hold_t *hold = &cache->holds[cls];
    uint32_t slabs = 0;
    for (hak_slab_t *slab = hold->first; slab != NULL; slab = slab->next) {
      if (slab->queue != HAK_QUEUE_HELD || !hak_slab_is_valid(me, cache, slab))
        return false;
      if (hak_slab_carved(slab) < hak_slab_capacity(slab) && slab != hold->current)
        return false;
      slabs++;
    }
    if (slabs != hold->slabs) return false;
    if (hold->current != NULL && !hak_slab_is_valid(me, cache, hold->current))
      return false;
  }
  return true;
}
