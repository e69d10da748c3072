#include "heap/give_up.h"

#include "heap/kind.h"
#include "heap/teardown.h"
#include "heap/thread_cache.h"
#include "pages/clock.h"
#include "pages/idle.h"
#include "tiny/flush.h"

/* Under the lease, like what is kept of other heaps: a visit may be reading it. */
static void flush_default(hak_thread_t *me) {
  hak_heap_t *heap = hak_heap_get_default();
  hak_heap_lease(heap);
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

/* What one call of hak_give_up_some is about. */
typedef struct some {
  hak_thread_t *me;
  uint32_t cls;
  bool transfer; /* the heaps' transfer caches too */
} some_t;

static void flush_blocks(hak_thread_cache_t *cache, void *ctx) {
  const some_t *some = ctx;
  if (hak_load_relaxed(&cache->heap_id) == NULL) return;
  if (hak_heap_is_orphan(cache->heap)) {
    flush(some->me, cache, false);
  } else {
    hak_cache_give_up_blocks(some->me, cache, some->cls, some->transfer);
  }
}

/* How many classes have their turn in the transfer caches, whichever thread comes first:
 * each within a decay, but for threads that come seldom. */
static uint32_t transfer_turns(void) {
  enum {
    MOST = 16
  };
  /* ns. Policy: of threads that come at once each may have the turns. */
  static hak_atomic_u64_t last;
  uint64_t now = hak_clock_cached(), decay = hak_idle_decay(), turns = MOST;
  uint64_t passed = now - hak_load_relaxed(&last);
  if (passed < decay) turns = passed * HAK_SHARED_CLASSES / decay;
  if (turns > 0) hak_store_relaxed(&last, now);
  return turns < MOST ? (uint32_t)turns : MOST;
}

static void give_up_blocks(hak_thread_t *me, uint32_t cls, bool transfer) {
  some_t some = {me, cls, transfer};
  hak_heap_t *heap = hak_heap_get_default();
  /* This is no call to wait in: it may be any allocation or free. */
  if (hak_heap_try_lease(heap)) {
    hak_flush_blocks(me, &me->cache, cls);
    if (transfer) hak_flush_transfer_class(me, &me->cache, cls);
    hak_heap_unlease(heap);
  }
  hak_caches_visit(me, flush_blocks, &some);
}

void hak_give_up_some(hak_thread_t *me) {
  static hak_atomic_u32_t next;
  for (uint32_t turns = transfer_turns(); turns > 0; turns--) {
    give_up_blocks(me, hak_add_relaxed(&next, 1) % HAK_SHARED_CLASSES, true);
  }
  for (; me->to_empty > 0; me->to_empty--) {
    give_up_blocks(me, me->emptied, false);
    me->emptied = (me->emptied + 1) % HAK_CLASSES;
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
