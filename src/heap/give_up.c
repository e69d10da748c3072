#include "heap/give_up.h"

#include "heap/harden.h"
#include "heap/kind.h"
#include "heap/teardown.h"
#include "heap/thread_cache.h"
#include "pages/clock.h"
#include "pages/idle.h"
#include "tiny/flush.h"

/* Under the lease, like what is kept of other heaps: a visit may be reading it. */
static void flush_default(hak_thread_t *me) {
  hak_heap_t *heap = hak_heap_get_default();
  hak_harden_release(me);
  hak_heap_lease(heap);
  /* Slabs that its blocks come home to may become this thread's. */
  hak_flush_own(me, &me->cache);
  hak_flush_all(me, &me->cache);
  hak_heap_unlease(heap);
}

static void flush(hak_thread_t *me, hak_thread_cache_t *cache, bool leave) {
  hak_heap_t *heap = cache->heap;
  if (hak_load_relaxed(&cache->heap_id) == NULL) return; /* of no heap now */
  hak_cache_give_up(me, cache, leave);
  if (hak_heap_is_orphan(heap)) hak_teardown_orphan(me, heap);
}

void hak_give_up_cache(hak_thread_t *me, hak_heap_t *heap) {
  hak_thread_cache_t *cache = hak_cache_at(me, heap->index);
  if (cache != NULL) flush(me, cache, false);
}

void hak_give_up_and_leave(hak_thread_t *me, hak_heap_t *heap) {
  hak_thread_cache_t *cache = hak_cache_at(me, heap->index);
  if (cache != NULL) flush(me, cache, true);
}

void hak_give_up_one(hak_thread_t *me, hak_heap_t *heap) {
  if (heap->store == me->store) {
    flush_default(me);
  } else {
    hak_give_up_cache(me, heap);
  }
}

static void flush_each(hak_thread_cache_t *cache, void *me) { flush(me, cache, false); }
static void leave_each(hak_thread_cache_t *cache, void *me) { flush(me, cache, true); }

void hak_give_up_all(hak_thread_t *me) {
  flush_default(me);
  hak_caches_visit(me, flush_each, me);
}

static void flush_turns(hak_thread_t *me, const hak_turns_t *turns,
                        const hak_cache_t *cache) {
  for (uint32_t i = 0; i < turns->n_transfers; i++) {
    uint32_t cls = (turns->transfers + i) % HAK_SHARED_CLASSES;
    hak_flush_kept(me, cache, cls);
    hak_flush_unused_class(me, cache, cls);
  }
  for (uint32_t i = 0; i < turns->n_kept; i++) {
    hak_flush_kept(me, cache, (turns->kept + i) % HAK_CLASSES);
  }
}

/* Samples that were freed are kept in depots; of their heap no thread has a cache. */
static HAK_SLOW void flush_samples(hak_thread_t *me, const hak_turns_t *turns,
                                   hak_heap_t *samples) {
  if (samples == NULL || turns->n_transfers == 0) return;
  if (!hak_heap_try_lease(samples)) return;
  hak_cache_t bare = hak_cache_bare(me, samples);
  for (uint32_t i = 0; i < turns->n_transfers; i++) {
    uint32_t cls = (turns->transfers + i) % HAK_SHARED_CLASSES;
    hak_flush_unused_class(me, &bare, cls);
  }
  hak_heap_unlease(samples);
}

typedef struct pass {
  hak_thread_t *me;
  uint32_t looks; /* at a class of a cache */
} pass_t;

/* This is no call to wait in: it may be any allocation or free. */
static void flush_turns_of(hak_thread_cache_t *cache, void *ctx) {
  pass_t *pass = ctx;
  hak_thread_t *me = pass->me;
  hak_heap_t *heap = cache->heap;
  if (hak_load_relaxed(&cache->heap_id) == NULL) return;
  pass->looks += me->turns.n_kept + me->turns.n_transfers;
  if (hak_heap_is_orphan(heap)) {
    flush(me, cache, false);
    return;
  }
  if (!hak_heap_try_lease(heap)) return;
  /* Still set: then the heap has not gone meanwhile. */
  if (hak_load_relaxed(&cache->heap_id) != NULL)
    flush_turns(me, &me->turns, &cache->cache);
  hak_heap_unlease(heap);
}

/* A thread that works with thousands of heaps does not come to all of them in one call:
 * the next ones go on, with the same classes. */
static void flush_caches(hak_thread_t *me) {
  enum {
    LOOKS = 2048 /* after which a call leaves the rest to the next; some 0.1 us each */
  };
  pass_t pass = {.me = me};
  do {
    me->turns_from = hak_caches_visit_chunk(me, me->turns_from, flush_turns_of, &pass);
  } while (me->turns_from != 0 && pass.looks < LOOKS);
}

/* ns; when a thread last had turns of what all threads share. Policy: of threads that
 * come at once each may have them. */
static hak_atomic_u64_t turns_at;

void hak_give_up_some(hak_thread_t *me) {
  static hak_atomic_u32_t next;
  uint64_t now = hak_clock_cached();
  hak_turns_t turns = {.kept = me->emptied, .n_kept = me->to_empty};
  turns.n_transfers =
      hak_idle_turns(now - hak_load_relaxed(&turns_at), HAK_SHARED_CLASSES);
  if (turns.n_transfers > 0) {
    hak_store_relaxed(&turns_at, now);
    turns.transfers = hak_add_relaxed(&next, turns.n_transfers) % HAK_SHARED_CLASSES;
  }
  me->emptied = (turns.kept + turns.n_kept) % HAK_CLASSES;
  me->to_empty = 0;
  hak_heap_t *heap = hak_heap_get_default();
  if (hak_heap_try_lease(heap)) {
    flush_turns(me, &turns, &me->cache);
    hak_heap_unlease(heap);
  }
  flush_samples(me, &turns, hak_heap_samples(heap));
  if (me->turns_from == 0) me->turns = turns;
  flush_caches(me);
}

static hak_atomic_u64_t unused_at; /* ns */

HAK_SLOW bool hak_give_up_unused_is_time(void) {
  uint64_t now = hak_clock_cached(), decay = hak_idle_decay();
  return now - hak_load_relaxed(&turns_at) >= decay &&
         now - hak_load_relaxed(&unused_at) >= decay;
}

HAK_SLOW void hak_give_up_unused(hak_thread_t *me) {
  hak_store_relaxed(&unused_at, hak_clock_cached());
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap == NULL || hak_load_relaxed(&heap->store->pool.superslabs) == 0 ||
        !hak_kind_has_thread_caches(heap) || !hak_heap_try_lease(heap)) {
      continue;
    }
    /* A released heap has no depots, and may end with a block that comes home. */
    hak_cache_t bare = hak_cache_bare(me, heap);
    if (hak_heap_is_used(heap) && !hak_heap_is_orphan(heap))
      hak_flush_unused_depots(me, &bare);
    hak_heap_unlease(heap);
  }
}

void hak_give_up_at_end(hak_thread_t *me) {
  hak_store_relaxed(&me->busy, 1);
  flush_default(me);
  hak_caches_visit(me, leave_each, me);
}

const hak_cache_t *hak_cache_to_free(hak_thread_t *me, hak_heap_t *heap, bool keep) {
  if (keep) return hak_kind_cache_earned(me, heap);
  hak_give_up_cache(me, heap);
  return NULL;
}
