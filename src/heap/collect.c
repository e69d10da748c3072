#include "heap/collect.h"

#include "base/option.h"
#include "heap/give_up.h"
#include "heap/groups.h"
#include "heap/harden.h"
#include "heap/hole_sweep.h"
#include "heap/kind.h"
#include "heap/records.h"
#include "heap/teardown.h"
#include "heap/thread.h"
#include "heap/thread_cache.h"
#include "heap/threads.h"
#include "os/reservation.h"
#include "pages/mapping.h"
#include "superslab/region.h"
#include "superslab/region_release.h"
#include "superslab/retention.h"
#include "superslab/tails.h"
#include "tiny/flush.h"
#include "tiny/size_class.h"

/* What work costs, in slabs looked at. */
enum {
  PER_BLOCK = 4,  /* a block that goes home, a slab that is given up */
  PER_HEAP = 512, /* its transfer cache and this thread's thread cache of it */
  PER_EMPTY_HEAP = 4,
  FOR_HOLES = 4 /* one part in so many is for holes, however many heaps there are */
};

typedef struct collecting {
  hak_thread_t *me;
  size_t max_bytes, given;
  size_t slabs; /* may still be looked at; SIZE_MAX at first if all may */
  bool all;     /* whatever is due */
  bool caches;  /* are given up too */
} collecting_t;

static bool is_done(const collecting_t *c) {
  return c->given >= c->max_bytes || c->slabs == 0;
}

static void spend(collecting_t *c, size_t slabs) {
  c->slabs -= slabs < c->slabs ? slabs : c->slabs;
}

/* Free SuperSlabs, kept mappings, and with `pool` not NULL its slots. */
static void purge_on(collecting_t *c, hak_shared_pool_t *pool,
                     hak_retention_terms_t terms) {
  size_t most = c->max_bytes - c->given;
  if (terms.bytes < most) most = terms.bytes;
  if (most == 0 || c->slabs == 0) return;
  size_t given = hak_region_purge(terms.before, most, &c->slabs);
  if (given < most) given += hak_mapping_purge(terms.before, most - given, &c->slabs);
  if (given < most && pool != NULL) {
    given += hak_pool_purge(pool, terms.before, most - given, &c->slabs);
  }
  c->given += given;
}

static void purge(collecting_t *c, hak_shared_pool_t *pool) {
  if (is_done(c)) return;
  if (c->all) {
    purge_on(c, pool, (hak_retention_terms_t){UINT64_MAX, SIZE_MAX});
    return;
  }
  purge_on(c, pool, hak_retention_old());
  if (is_done(c)) return;
  size_t before = c->given;
  hak_retention_terms_t surplus = hak_retention_surplus();
  purge_on(c, pool, surplus);
  hak_idle_note_given(c->given - before, surplus.before);
}

/* Free SuperSlabs and mappings of the process; where what is due of all heaps is wanted,
 * what is due of any. */
static void purge_free(collecting_t *c, bool any) {
  if (c->all || !any) {
    purge(c, NULL);
  } else if (!is_done(c)) {
    c->given += hak_retention_give_due(c->max_bytes - c->given, &c->slabs);
  }
}

static void purge_pool(collecting_t *c, hak_heap_t *heap) {
  purge(c, &heap->store->pool);
}

/* Pages of free blocks, where all that can go is to. Under the heap's lease. */
static void purge_holes(collecting_t *c, hak_heap_t *heap) {
  if (is_done(c) || !c->all) return;
  hak_hole_bounds_t bounds = {
      .bytes = c->max_bytes - c->given, .slabs = SIZE_MAX, .all = true};
  hak_hole_sweep_leased(c->me, heap, &bounds);
  c->given += bounds.given;
}

/* What lies behind the ends of its blocks, likewise. */
static void purge_tails(collecting_t *c, hak_heap_t *heap) {
  hak_shared_pool_t *pool = &heap->store->pool;
  if (is_done(c) || !c->all) return;
  c->given +=
      hak_tail_take_all(pool, hak_class_bytes, c->max_bytes - c->given, false, false);
}

/* Those of all heaps. */
static void purge_all_holes(collecting_t *c) {
  if (is_done(c)) return;
  size_t most = c->max_bytes - c->given;
  c->given += c->all ? hak_hole_sweep_all(c->me, most)
                     : hak_hole_sweep_due(c->me, most, &c->slabs);
}

/* What this thread and the transfer cache have cached of a heap: as much of it as there
 * is work left, and what PER_HEAP is worth, which is spent by now: calls that may do very
 * little would never come to its end. `bare`: the thread has nothing. */
static void empty_caches(collecting_t *c, const hak_cache_t *cache, bool bare) {
  size_t work = c->slabs / PER_BLOCK + PER_HEAP / PER_BLOCK;
  size_t before = work;
  bool all = bare || hak_flush_some(c->me, cache, &work);
  if (all) all = hak_flush_transfer_some(c->me, cache, &work);
  /* Slabs that the transfer cache's blocks came home to may be this thread's now. */
  if (all && !bare) hak_flush_some(c->me, cache, &work);
  spend(c, (before - work) * PER_BLOCK);
}

static void collect_default(collecting_t *c) {
  hak_heap_t *heap = hak_heap_get_default();
  purge_pool(c, heap);
  if (!c->caches) return;
  spend(c, PER_HEAP);
  hak_harden_release(c->me);
  if (hak_thread_lease(c->me, heap)) {
    empty_caches(c, &c->me->cache, false);
    purge_holes(c, heap);
    purge_tails(c, heap);
    hak_heap_unlease(heap);
  }
  purge_pool(c, heap);
}

/* Under the heap's lease, so that it stays. */
static void collect_leased(collecting_t *c, hak_heap_t *heap, bool named) {
  /* What a heap keeps itself is only touched where the caller named the heap, and so has
   * it. */
  if (!hak_kind_has_thread_caches(heap)) {
    if (named && c->caches) hak_kind_flush_leased(c->me, heap);
    purge_tails(c, heap);
    purge_pool(c, heap);
    return;
  }
  if (!c->caches) {
    purge_pool(c, heap);
    return;
  }
  hak_thread_cache_t *cache = hak_cache_find(c->me, heap);
  if (cache != NULL) {
    empty_caches(c, &cache->cache, false);
  } else {
    hak_cache_t bare = hak_cache_bare(c->me, heap);
    empty_caches(c, &bare, true);
  }
  purge_holes(c, heap);
  purge_tails(c, heap);
  purge_pool(c, heap);
}

/* `named`: by the caller, who waits until nobody tears it down; else it is left to the
 * next round. */
static void collect_heap(collecting_t *c, hak_heap_t *heap, bool named) {
  bool done = !named && !c->caches; /* what is due is not looked for heap by heap */
  hak_shared_pool_t *pool = &heap->store->pool;
  if (done ||
      hak_load_relaxed(&pool->superslabs) + hak_load_relaxed(&pool->run_bytes) == 0) {
    spend(c, PER_EMPTY_HEAP);
  } else if (named ? hak_thread_lease(c->me, heap) : hak_heap_try_lease(heap)) {
    spend(c, PER_HEAP);
    if (hak_heap_is_used(heap)) collect_leased(c, heap, named);
    hak_heap_unlease(heap);
  }
  if (hak_heap_is_orphan(heap)) {
    hak_give_up_cache(c->me, heap);
    hak_teardown_orphan(c->me, heap); /* what a free could not end */
  }
}

/* With the heaps whose blocks are its own to the program. */
static HAK_SLOW void collect_named(collecting_t *c, hak_heap_t *heap) {
  if (heap == hak_heap_get_default()) {
    collect_default(c);
  } else {
    collect_heap(c, heap, true);
  }
  for (uint32_t i = 0; i < HAK_HEAP_PARTS; i++) {
    hak_heap_t *part = hak_heap_part(heap, i);
    if (part != NULL) collect_heap(c, part, true);
  }
}

/* The heap with which the next call goes on. */
static hak_atomic_u32_t next_heap;

static void collect_all(collecting_t *c) {
  uint32_t made = hak_heaps_made(), at = hak_load_relaxed(&next_heap);
  for (uint32_t i = 0; i < made && c->given < c->max_bytes; i++, at++) {
    if (i > 0 && c->slabs == 0) break;
    if (at >= made) at = 0;
    hak_heap_t *heap = hak_heap_at(at);
    if (heap == hak_heap_get_default()) continue;
    if (heap != NULL) collect_heap(c, heap, false);
  }
  hak_store_relaxed(&next_heap, at < made ? at : 0);
}

/* What the process has, heap by heap. A call whose work the default heap alone takes, or
 * all but what is too little for another heap, leaves the others to the next one. */
static void collect_process(collecting_t *c) {
  static hak_atomic_u32_t others_first;
  bool others = !c->all && hak_load_relaxed(&others_first) != 0;
  if (!others) collect_default(c);
  hak_store_relaxed(&others_first, !others && c->slabs <= PER_HEAP);
  collect_all(c);
}

/* Records that no heap and no thread has. */
static void purge_records(collecting_t *c) {
  if (!is_done(c)) {
    c->given += hak_records_give(c->max_bytes - c->given, &c->slabs, c->caches);
  }
}

/* A thread that has made no refill since calls a decay ago does not need what it has
 * cached: ns until then. */
static HAK_SLOW uint64_t quiet_in(hak_thread_t *me) {
  uint64_t now = hak_clock_cached(), decay = hak_idle_decay();
  if (me->looks != me->quiet_looks || me->quiet_since == 0) {
    me->quiet_looks = me->looks;
    me->quiet_since = now;
  }
  uint64_t quiet = now - me->quiet_since;
  return quiet < decay ? decay - quiet : 0;
}

HAK_SLOW uint64_t hak_collect_bins_due_in(void) {
  hak_thread_t *me = hak_thread_self;
  return me->grown == 0 ? UINT64_MAX : quiet_in(me);
}

HAK_SLOW size_t hak_collect_memory(hak_thread_t *me, hak_heap_t *heap, size_t max_bytes,
                                   bool all) {
  hak_clock_refresh();
  size_t slabs = all ? SIZE_MAX : (size_t)hak_option(COLLECT_SLABS);
  collecting_t c = {me, max_bytes, 0, slabs, all, all || quiet_in(me) == 0};
  if (c.caches) hak_thread_flush_shared(heap, "hak_collect");
  if (max_bytes > 0) hak_os_retry_releases(all);
  size_t kept = all || heap != NULL ? 0 : hak_div_up(c.slabs, FOR_HOLES);
  c.slabs -= kept;
  purge_free(&c, heap == NULL);
  if (heap == NULL) {
    collect_process(&c);
  } else {
    collect_named(&c, heap);
  }
  purge_free(&c, heap == NULL); /* what came free by then */
  c.slabs += kept;
  if (heap == NULL) purge_all_holes(&c);
  if (heap == NULL) purge_records(&c);
  if (heap == NULL && all && !is_done(&c)) hak_regions_release_all();
  return c.given;
}
