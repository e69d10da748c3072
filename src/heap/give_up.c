#include "heap/give_up.h"

#include "heap/kind.h"
#include "heap/teardown.h"
#include "heap/thread_cache.h"
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
