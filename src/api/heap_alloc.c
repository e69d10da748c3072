/* heap_alloc.c - blocks from heaps by handle.
 *
 * hak_heap_alloc -> the heap's cache index leads to a bin with a block: done
 *   alloc_flip -> the list that frees have made meanwhile
 *   hak_api_heap_slow -> the handle is looked at; malloced.c and external.c for a heap
 *       whose blocks are malloc's, or in memory of the caller's; else this thread's cache
 *       of the heap, whose bins lie elsewhere if the heap has no cache index -> its
 *       refill, as hak_alloc's
 *     -> hak_api_small: makes the thread cache; gives up caches; NULL
 *
 * Serial heaps go by serial.c, from hak_heap_alloc on; hak_heap_free is there too.
 */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "base/report.h"
#include "heap/cache_index.h"
#include "heap/pressure.h"
#include "tiny/refill.h"

/* After so many allocations a thread cache without an index looks for one. */
enum {
  LONELY_MAX = 1024
};

static HAK_SLOW void seek_index(hak_thread_t *me, hak_thread_cache_t *cache) {
  hak_busy_begin(me);
  hak_cache_index_seek(me, cache);
  hak_busy_end(me);
}

/* The first block that the thread takes of a group: the bins there are its own at once,
 * as it will free the block into them anyway. */
static HAK_SLOW hak_thread_cache_t *make_cache(hak_thread_t *me, hak_heap_t *heap) {
  if (!hak_heap_is_group(heap)) return NULL;
  hak_busy_begin(me);
  hak_thread_cache_t *cache = hak_cache_make(me, heap);
  hak_busy_end(me);
  return cache;
}

void *hak_api_ready(hak_heap_t *heap, uint32_t cls) {
  hak_thread_t *me = hak_thread_self;
  if (me->kind != HAK_THREAD_ATTACHED) return NULL;
  if (hak_budget_is_forbidden(&heap->store->pool.budget)) return NULL;
  const hak_cache_t *cache = hak_kind_cache_made(me, heap);
  return cache == NULL ? NULL : hak_api_pop(&me->key, &me->pace, &cache->bins[cls], cls);
}

/* The thread's cache of the heap has no index, or no block is ready. */
HAK_WARM void *hak_api_class(hak_heap_t *heap, uint32_t cls) {
  hak_thread_t *me = hak_thread_self;
  if (HAK_UNLIKELY(me->kind != HAK_THREAD_ATTACHED || hak_event_wanted() ||
                   heap->store == me->store || hak_budget_calls != NULL)) {
    return hak_api_small(heap, cls, false);
  }
  hak_thread_cache_t *cache = hak_cache_find(me, heap);
  if (HAK_UNLIKELY(cache == NULL)) cache = make_cache(me, heap);
  if (HAK_UNLIKELY(cache == NULL)) return hak_api_small(heap, cls, false);
  void *block;
  if (hak_load_relaxed(&cache->index) == HAK_CACHE_INDICES) {
    if (HAK_UNLIKELY(++cache->lonely >= LONELY_MAX)) seek_index(me, cache);
    block = hak_api_pop(&me->key, &me->pace, &cache->cache.bins[cls], cls);
    if (HAK_LIKELY(block != NULL)) return block;
  }
  hak_busy_begin(me);
  block = hak_refill_bin(me, &cache->cache, cls);
  hak_thread_leave(me, HAK_IN_ALLOC);
  /* What the cache keeps from here on is to have a turn, though nothing else lies idle.
   */
  hak_idle_note_others();
  if (HAK_UNLIKELY(block == NULL)) return hak_api_small(heap, cls, false);
  hak_thread_trim(&heap->store->pool);
  hak_pressure_soft(heap);
  return block;
}

/* A handle of any kind, and any size. */
HAK_WARM void *hak_api_heap_slow(hak_heap_t *handle, size_t size) {
  if (handle == NULL) return hak_alloc(size);
  if (hak_handle_is_serial(handle)) return hak_api_serial_alloc(handle, size);
  hak_heap_t *heap = hak_heap_record(handle);
  if (HAK_UNLIKELY(hak_heap_handle(heap) != handle)) {
    return hak_api_heap_or_report(handle, "hak_heap_alloc");
  }
  if (hak_heap_is_watched(heap)) return hak_api_watched_alloc(heap, size, 0, 0, NULL);
  if (HAK_UNLIKELY(!hak_kind_has_slabs(heap))) {
    return hak_api_alloc_elsewhere(heap, size, 0, 0);
  }
  if (HAK_UNLIKELY(hak_api_is_large(heap, size))) {
    bool zeroed;
    return hak_api_large(heap, size, 0, false, &zeroed);
  }
  uint32_t cls = hak_store_class(heap->store, size == 0 ? 1 : size);
  /* hak_heap_alloc has not looked at bins of larger classes. */
  if (size - 1 >= HAK_TINY_MAX) {
    hak_thread_t *me = hak_thread_self;
    hak_bin_t *bins = hak_index_bins(me, hak_load_relaxed(&heap->index_at));
    void *block = hak_api_pop(&me->key, &me->pace, &bins[cls], cls);
    if (HAK_LIKELY(block != NULL)) return block;
  }
  if (HAK_UNLIKELY(hak_api_guard_is_due())) {
    void *block = hak_api_guarded(heap, size, 0);
    if (block != NULL) return block;
  }
  return hak_api_class(heap, cls);
}

/* No block is ready: the list that frees have made. A call in its last place has
 * hak_heap_alloc save no registers. */
static HAK_WARM void *alloc_flip(hak_heap_t *handle, size_t size) {
  hak_thread_t *me = hak_thread_self;
  hak_heap_t *heap = hak_heap_record(handle);
  size_t at = hak_index_step(me, hak_load_relaxed(&heap->index_at), (size - 1) >> 3);
  void *block;
  if (HAK_UNLIKELY(hak_bin_flip_is_due(&me->key, &me->pace.flips, hak_index_bin(me, at),
                                       &block))) {
    return hak_api_heap_slow(handle, size);
  }
  return block;
}

/* The way of hardened builds. */
static HAK_WARM void *alloc_hardened(hak_heap_t *handle, size_t size) {
  if (handle == NULL) return hak_alloc(size);
  hak_heap_t *heap = hak_api_heap_or_report(handle, "hak_heap_alloc");
  return heap == NULL ? NULL : hak_api_alloc(heap, size, 0, 0);
}

/* The serial arm: no look for the thread's state, and nothing that locks. */
HAK_HOT void *serial_alloc(hak_heap_t *handle, size_t size, size_t step) {
  hak_heap_t *heap = hak_heap_record(handle);
  if (HAK_UNLIKELY(heap->serial_handle != handle)) {
    return hak_api_serial_alloc(handle, size);
  }
  hak_serial_t *serial = hak_heap_own_serial(heap);
  void *block;
  hak_serial_begin(serial);
  bool empty = hak_bin_pop_is_due(&serial->key, &serial->pace.flips,
                                  serial->bin_of_step[step], &block);
  hak_serial_leave(serial);
  if (HAK_UNLIKELY(empty)) {
    return hak_api_serial_alloc(handle, size);
  }
  HAK_OPAQUE(block); /* else the last instructions are shared with the other arm's */
  return block;
}

/* Fast when the thread's bin of the class has a block ready. A heap without a cache
 * index, a thread's first use of the heap and an empty bin all leave through
 * hak_api_heap_slow: where a thread has no bins at an index, the index leads to empty
 * ones. The handle of a serial heap is negative, so it takes its own path before the
 * thread's state is looked for. */
HAK_ENTRY void *hak_heap_alloc(hak_heap_t *handle, size_t size) {
  if (HAK_CHECKS >= 3) return alloc_hardened(handle, size);
  size_t step = (size - 1) >> 3;
  HAK_OPAQUE(step);
  if (HAK_UNLIKELY(step >= HAK_TINY_STEPS)) return hak_api_heap_slow(handle, size);
  if (HAK_UNLIKELY((intptr_t)handle <= 0)) {
    return handle == NULL ? hak_alloc(size) : serial_alloc(handle, size, step);
  }
  hak_heap_t *heap = hak_heap_record(handle);
  if (HAK_UNLIKELY(!hak_heap_is_named(heap, handle)))
    return hak_api_heap_slow(handle, size);
  hak_thread_t *me = hak_thread_self;
  size_t at = hak_index_step(me, hak_load_relaxed(&heap->index_at), step);
  void *block = *hak_index_ready(me, at), *next;
  if (HAK_UNLIKELY(hak_link_next_fails(&me->key, block, &next))) {
    return alloc_flip(handle, size);
  }
  HAK_EACH_SUM(at);
  *hak_index_ready(me, at) = next;
  hak_link_unmark(block);
  return block;
}

void *hak_heap_calloc(hak_heap_t *handle, size_t count, size_t size) {
  size_t bytes;
  if (HAK_UNLIKELY(hak_mul_overflows(count, size, &bytes))) return hak_fail(ENOMEM);
  if (HAK_LIKELY(bytes <= HAK_TINY_MAX)) {
    void *block = hak_heap_alloc(handle, bytes);
    if (HAK_LIKELY(block != NULL)) memset(block, 0, bytes);
    return block;
  }
  hak_heap_t *heap = hak_api_heap_or_report(handle, "hak_heap_calloc");
  return heap == NULL ? NULL : hak_api_alloc(heap, bytes, 0, HAK_ZERO);
}

void *hak_heap_realloc(hak_heap_t *heap, void *ptr, size_t size) {
  if (ptr == NULL) return hak_heap_alloc(heap, size);
  return hak_api_resize(ptr, size, "hak_heap_realloc");
}

void *hak_heap_aligned_alloc(hak_heap_t *handle, size_t alignment, size_t size) {
  if (HAK_UNLIKELY(!hak_api_alignment_is_valid(alignment))) return NULL;
  hak_heap_t *heap = hak_api_heap_or_report(handle, "hak_heap_aligned_alloc");
  return heap == NULL ? NULL : hak_api_alloc(heap, size, alignment, 0);
}
