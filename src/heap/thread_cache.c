#include "heap/thread_cache.h"

#include "base/check.h"
#include "base/option.h"
#include "heap/bins.h"
#include "heap/cache_index.h"
#include "pages/clock.h"
#include "pages/meta.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/magazine.h"

/* --- one thread cache ------------------------------------------------------------- */

/* The chunk with the heap's place, made if there is none; NULL if memory is short. */
static hak_cache_chunk_t *chunk_of(hak_thread_t *me, hak_heap_t *heap) {
  _Atomic(hak_cache_chunk_t *) *chunk_at =
      hak_thread_chunk(me, heap->index / HAK_CACHE_CHUNK);
  hak_cache_chunk_t *chunk = hak_load_relaxed(chunk_at);
  if (HAK_LIKELY(chunk != NULL)) return chunk;
  chunk = hak_meta_alloc(me->store->pool.os, sizeof *chunk, HAK_CACHE_LINE);
  if (chunk == NULL) return NULL;
  chunk->number = heap->index / HAK_CACHE_CHUNK;
  hak_store_relaxed(&me->chunks, 1);
  /* Release: publishes to hak_cache_at. */
  hak_store_release(chunk_at, chunk);
  return chunk;
}

static hak_thread_cache_t *cache_new(hak_thread_t *me, hak_heap_t *heap) {
  hak_cache_chunk_t *chunk = chunk_of(me, heap);
  if (chunk == NULL) return NULL;
  hak_thread_cache_t *cache = hak_meta_alloc_pages(me->store->pool.os, sizeof *cache);
  if (cache == NULL) return NULL;
  cache->heap = heap;
  hak_store_relaxed(&cache->index, HAK_NO_INDEX);
  /* Release: publishes to hak_cache_at. */
  hak_store_release(&chunk->caches[heap->index % HAK_CACHE_CHUNK], cache);
  return cache;
}

void hak_cache_hide(hak_thread_t *me, hak_heap_t *heap, bool hidden) {
  hak_thread_cache_t *cache = hak_cache_find(me, heap); /* of the default heap: none */
  if (cache != NULL) hak_cache_index_hide(me, cache, hidden);
}

hak_thread_cache_t *hak_cache_make(hak_thread_t *me, hak_heap_t *heap) {
  hak_thread_cache_t *cache = hak_cache_at(me, heap->index);
  if (cache == NULL) cache = cache_new(me, heap);
  if (cache == NULL) return NULL;
  if (cache->heap == NULL) { /* its pages were given back */
    hak_meta_reuse(sizeof *cache);
    cache->heap = heap;
    hak_store_relaxed(&cache->index, HAK_NO_INDEX);
  }
  cache->grown = 0;
  hak_assert(hak_load_relaxed(&cache->index) == HAK_NO_INDEX);
  cache->cache =
      (hak_cache_t){cache->own,    cache->holds, heap->store, 0,           NULL,
                    &cache->grown, &me->pace,    me->code,    cache->begun};
  cache->lonely = 0;
  hak_budget_count_user(&heap->store->pool.budget, 1);
  hak_holds_forget(cache->holds, cache->begun);
  /* Release: pairs with those who look from outside and read of which heap it is. */
  hak_store_release(&cache->heap_id, hak_heap_id(heap));
  hak_add_relaxed(&heap->caches, 1);
  hak_cache_index_begin(me, cache);
  return cache;
}

/* Counts a block that goes to or from a heap of which the thread has no cache. True if
 * they come so fast that the thread is to have one. Heaps and times are told apart by one
 * byte: where it is the same by chance, a cache comes a few blocks early. */
static bool has_earned(hak_thread_t *me, hak_heap_t *heap) {
  enum {
    PERIOD_SHIFT = 27 /* nanoseconds: an eighth of a second */
  };
  /* Each of its frees is to be seen. */
  hak_assert(!hak_heap_is_samples(heap));
  if (hak_heap_is_watched(heap)) return false;
  uint32_t after = (uint32_t)hak_option(HEAP_CACHE_AFTER),
           i = heap->index % HAK_CACHE_CHUNK;
  /* A heap in memory of the caller's asks for all that it needs with the first block. */
  if (hak_pool_is_enclosed(&heap->store->pool)) return true;
  hak_cache_chunk_t *chunk = chunk_of(me, heap);
  if (chunk == NULL) return false;
  hak_clock_refresh();
  uint8_t now = (uint8_t)((hak_clock_cached() >> PERIOD_SHIFT) + heap->tag);
  if (chunk->when[i] != now) chunk->uses[i] = 0;
  chunk->when[i] = now;
  if (chunk->uses[i] >= after) return true;
  chunk->uses[i]++;
  return false;
}

const hak_cache_t *hak_cache_get_earned(hak_thread_t *me, hak_heap_t *heap) {
  if (heap->store == me->store) return &me->cache;
  hak_thread_cache_t *cache = hak_cache_find(me, heap);
  if (HAK_LIKELY(cache != NULL)) return &cache->cache;
  return has_earned(me, heap) ? hak_cache_get(me, heap) : NULL;
}

/* The cache's pages may go as soon as the heap has gone, which is pinned till then. */
static void leave_heap(hak_thread_cache_t *cache, hak_heap_t *heap) {
  hak_store_relaxed(&cache->heap_id, NULL);
  hak_budget_count_user(&heap->store->pool.budget, -1);
  hak_heap_unpin(heap);
}

/* No thread cache: nothing is held, as by threads without a state, so credit is 0 and
 * never changes. */
hak_cache_t hak_cache_bare(hak_thread_t *me, hak_heap_t *heap) {
  return (hak_cache_t){
      me->bins, hak_thread_none.holds, heap->store, 0, NULL, NULL, NULL, me->code, NULL};
}

/* --- giving up ---------------------------------------------------------------- */

void hak_cache_give_up(hak_thread_t *me, hak_thread_cache_t *cache, bool leave) {
  hak_heap_t *heap = cache->heap;
  if (hak_load_relaxed(&cache->heap_id) == NULL) return;
  if (!hak_thread_lease(me, heap)) return;
  /* Still set: then the heap has not gone meanwhile. */
  if (hak_load_relaxed(&cache->heap_id) != NULL) {
    bool orphan = hak_heap_is_orphan(heap);
    /* Slabs that its blocks come home to may become this thread's. */
    hak_flush_own(me, &cache->cache);
    /* Nobody takes what lies in a released heap's transfer cache. */
    (orphan ? hak_flush_heap : hak_flush_all)(me, &cache->cache);
    if (leave || orphan) {
      hak_cache_index_leave(me, cache);
      leave_heap(cache, heap);
    }
  }
  hak_heap_unlease(heap);
}

void hak_cache_drain(hak_thread_t *me, hak_heap_t *heap) {
  if (heap->store == me->store) {
    hak_flush_heap(me, &me->cache);
    return;
  }
  hak_thread_cache_t *cache = hak_cache_find(me, heap);
  if (cache != NULL) {
    hak_flush_heap(me, &cache->cache);
  } else {
    hak_cache_t bare = hak_cache_bare(me, heap);
    hak_flush_transfer(me, &bare);
  }
}

/* --- teardown ----------------------------------------------------------------- */

void hak_cache_clear(hak_thread_t *me, hak_thread_t *thread, hak_heap_t *heap, bool end) {
  hak_thread_cache_t *cache = hak_cache_find(thread, heap);
  if (cache == NULL) return;
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_hold_t *hold = &cache->holds[cls];
    hak_bin_t *bin = &cache->cache.bins[cls];
    if (hold->magazine_blocks == 0) { /* it has not begun */
      hak_bin_init(bin, end ? 0 : hak_bin_capacity(bin));
      continue;
    }
    hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
    bool limited = hold->quota != 0;
    if (limited) hak_capacity_reset(&cache->cache, cls); /* gives back its grants */
    limited = hold->quota != 0;
    hak_bin_init(bin, end || limited ? 0 : hak_bin_capacity(bin));
    hak_hold_init(hold);
    hold->quota = limited ? HAK_QUOTA_NONE : 0;
    if (magazine != NULL) hak_magazine_put(me, magazine);
  }
  if (!end) return;
  hak_capacity_give_back(&cache->grown);
  hak_cache_index_clear(thread, cache);
  leave_heap(cache, heap);
}
