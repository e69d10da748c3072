#include "heap/give_up.h"

#include "heap/harden.h"
#include "heap/kind.h"
#include "heap/teardown.h"
#include "heap/thread_cache.h"
#include "pages/clock.h"
#include "pages/idle.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"

/* Under the lease, like what is kept of other heaps: a visit may be reading it. */
static void flush_default(hak_thread_t *me) {
  hak_heap_t *heap = hak_heap_get_default();
  hak_harden_release(me);
  if (!hak_thread_lease(me, heap)) return;
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

/* Classes whose turn it is, of the default heap: first and count. */
typedef struct turns {
  uint32_t kept, n_kept;           /* in what the thread has cached */
  uint32_t transfers, n_transfers; /* in that and in the transfer caches */
} turns_t;

static void flush_turns(hak_thread_t *me, const turns_t *turns) {
  for (uint32_t i = 0; i < turns->n_transfers; i++) {
    uint32_t cls = (turns->transfers + i) % HAK_SHARED_CLASSES;
    hak_flush_kept(me, &me->cache, cls);
    hak_flush_unused_class(me, &me->cache, cls);
  }
  for (uint32_t i = 0; i < turns->n_kept; i++) {
    hak_flush_kept(me, &me->cache, (turns->kept + i) % HAK_CLASSES);
  }
}

/* Samples that were freed are kept in depots; of their heap no thread has a cache. */
static HAK_SLOW void flush_samples(hak_thread_t *me, const turns_t *turns,
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

/* ns; when a thread last had turns of what all threads share. Policy: of threads that
 * come at once each may have them. */
static hak_atomic_u64_t turns_at;

static void give_up_some_of_default(hak_thread_t *me, uint64_t now) {
  turns_t turns = {.kept = me->emptied, .n_kept = me->to_empty};
  turns.n_transfers =
      hak_idle_turns(now - hak_load_relaxed(&turns_at), HAK_SHARED_CLASSES);
  if (turns.n_transfers > 0) {
    hak_store_relaxed(&turns_at, now);
    turns.transfers =
        hak_add_relaxed(&hak_idle_turned, turns.n_transfers) % HAK_SHARED_CLASSES;
  }
  me->emptied = (turns.kept + turns.n_kept) % HAK_CLASSES;
  hak_heap_t *heap = hak_heap_get_default();
  if (hak_heap_try_lease(heap)) {
    flush_turns(me, &turns);
    hak_heap_unlease(heap);
  }
  flush_samples(me, &turns, hak_heap_samples(heap));
}

/* --- turns of heaps ---------------------------------------------------------------- */

/* What a call may do for other heaps than the default one, in units of some 10 ns. */
enum {
  LOOKS = 2048,
  PER_CACHE = 32,
  PER_CLASS = 8,
  PER_BLOCK = 4 /* that goes home */
};

/* So many classes of all heaps are to have their turn besides. No more than all; and of a
 * thread with very many heaps so few that it is busy with them for a small part of the
 * time, however short the decay is. */
static void owe_turns(hak_thread_t *me, uint32_t classes, uint64_t now) {
  enum {
    NS_PER_HEAP = 10000
  };
  hak_turns_t *turns = &me->turns;
  uint64_t all = (uint64_t)hak_heaps_made() * HAK_CLASSES;
  uint64_t more = (uint64_t)hak_heaps_made() * classes;
  uint64_t most = (now - turns->counted_at) / NS_PER_HEAP * HAK_CLASSES;
  turns->owed += more < most ? more : most;
  if (turns->owed > all) turns->owed = all;
  turns->counted_at = now;
}

/* Once in a decay, whichever thread comes to the heap. */
static bool begin_transfers(hak_heap_t *heap) {
  enum {
    SHIFT = 20 /* from ns to units that 32 bits count for weeks */
  };
  uint32_t now = (uint32_t)(hak_clock_cached() >> SHIFT);
  uint32_t passed = now - hak_load_relaxed(&heap->turned_at);
  if (passed < hak_idle_decay() >> SHIFT) return false;
  hak_store_relaxed(&heap->turned_at, now);
  return true;
}

static int64_t blocks_kept(const hak_cache_t *cache, uint32_t cls) {
  hak_bin_t *bin = &cache->bins[cls];
  return (int64_t)hak_bin_listed(bin) + hak_load_relaxed(&bin->ready_count) +
         hak_load_relaxed(&cache->holds[cls].spare_count);
}

static void have_turn(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                      int64_t *looks) {
  *looks -= PER_CLASS;
  if (hak_capacity_has_begun(cache, cls)) {
    *looks -= PER_BLOCK * blocks_kept(cache, cls);
    hak_flush_kept(me, cache, cls);
  }
  if (!me->turns.transfers || cls >= HAK_SHARED_CLASSES) return;
  if (!hak_store_has_spans(cache->store, cls)) return;
  int64_t magazines = hak_load_relaxed(&cache->store->centrals[cls].hint);
  *looks -= PER_BLOCK * HAK_MAGAZINE_BLOCKS * magazines;
  hak_flush_unused_class(me, cache, cls);
}

/* The first class from `cls` on of which the cache may keep something. */
static uint32_t next_kept(const hak_cache_t *cache, uint32_t cls) {
  for (uint32_t i = cls / 64; i < HAK_CLASS_WORDS; i++, cls = 64 * i) {
    uint64_t rest = hak_flush_may_keep(cache, i) >> cls % 64 << cls % 64;
    if (rest != 0) return 64 * i + hak_lowest_bit(rest);
  }
  return HAK_CLASSES;
}

/* Classes below `end` have their turn. Returns with which to go on. This is no call to
 * wait in: it may be any allocation or free. */
static uint32_t have_turns(hak_thread_t *me, hak_thread_cache_t *cache, uint32_t cls,
                           uint32_t end, int64_t *looks) {
  hak_heap_t *heap = cache->heap;
  if (hak_load_relaxed(&cache->heap_id) == NULL) return end;
  *looks -= PER_CACHE;
  if (hak_heap_is_orphan(heap)) {
    flush(me, cache, false);
    return end;
  }
  if (!hak_heap_try_lease(heap)) {
    *looks = 0; /* its turn is the next call's */
    return cls;
  }
  /* Still set: then the heap has not gone meanwhile. */
  if (hak_load_relaxed(&cache->heap_id) == NULL) cls = end;
  if (cls == 0) me->turns.transfers = begin_transfers(heap);
  while (*looks > 0 && cls < end) {
    cls = next_kept(&cache->cache, cls);
    if (cls < end) have_turn(me, &cache->cache, cls++, looks);
  }
  hak_heap_unlease(heap);
  return cls < end ? cls : end;
}

/* What is left when the looks are used up has its turn in the next calls. */
static void give_up_owed(hak_thread_t *me) {
  hak_turns_t *turns = &me->turns;
  uint32_t made = hak_heaps_made();
  if (hak_load_relaxed(&me->chunks) == 0) turns->owed = 0;
  for (int64_t looks = LOOKS; turns->owed > 0 && looks > 0; looks--) {
    if (turns->cls == HAK_CLASSES) {
      turns->cls = 0;
      turns->heap++;
    }
    if (turns->heap >= made) turns->heap = 0;
    uint32_t end = HAK_CLASSES;
    if (turns->owed < end - turns->cls) end = turns->cls + (uint32_t)turns->owed;
    hak_thread_cache_t *cache = hak_cache_at(me, turns->heap);
    if (cache != NULL) end = have_turns(me, cache, turns->cls, end, &looks);
    turns->owed -= end - turns->cls;
    turns->cls = end;
  }
}

void hak_give_up_some(hak_thread_t *me) {
  uint64_t now = hak_clock_cached();
  if (me->to_empty > 0) {
    owe_turns(me, me->to_empty, now);
    give_up_some_of_default(me, now);
    me->to_empty = 0;
  }
  give_up_owed(me);
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
  hak_busy_begin(me);
  flush_default(me);
  hak_caches_visit(me, leave_each, me);
}

const hak_cache_t *hak_cache_to_free(hak_thread_t *me, hak_heap_t *heap, bool keep) {
  if (keep) return hak_kind_cache_earned(me, heap);
  hak_give_up_cache(me, heap);
  return NULL;
}
