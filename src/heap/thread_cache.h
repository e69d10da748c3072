/* thread_cache.h - what a thread keeps of each heap beside the default one.
 *
 * Depends on: base, pages, tiny, bins, cache_index, thread_state.
 * Used by: kind, give_up, hole_sweep, fork_caches, collect, pressure, api.
 *
 * A thread that often allocates from a heap, or frees blocks of it, has a thread cache of
 * it: bins and what it holds. Where the heap has a cache index, the bins lie there; see
 * cache_index.h. A serial heap has one cache of itself instead (serial.h).
 *
 * A thread cache is earned by use (HEAP_CACHE_AFTER). A thread that touches a heap now
 * and then goes the shared way: it takes each block from the partial list and brings each
 * one home, and keeps nothing of the heap between two calls.
 *
 * Access: a thread cache belongs to its thread. Who tears a heap down clears those of
 * all threads, under the heap's lease, while nobody uses the heap; a thread that gives
 * one up (give_up.h) takes the lease, and looks whether the heap is still there.
 */
#ifndef HAK_HEAP_THREAD_CACHE_H
#define HAK_HEAP_THREAD_CACHE_H

#include "heap/thread_state.h"

/* A thread cache in working order: the one there is, or a new one; NULL if memory is
 * short. */
hak_thread_cache_t *hak_cache_make(hak_thread_t *me, hak_heap_t *heap);

/* The thread's cache of a pooled heap, made if there is none; NULL if memory for one is
 * short, and nothing has changed. */
HAK_HOT const hak_cache_t *hak_cache_get(hak_thread_t *me, hak_heap_t *heap) {
  if (heap->store == me->store) return &me->cache;
  hak_thread_cache_t *cache = hak_cache_find(me, heap);
  if (HAK_UNLIKELY(cache == NULL)) cache = hak_cache_make(me, heap);
  return HAK_UNLIKELY(cache == NULL) ? NULL : &cache->cache;
}
/* The same for one more block that the thread allocates or frees. NULL too if that is so
 * seldom that the block goes the shared way. */
const hak_cache_t *hak_cache_get_earned(hak_thread_t *me, hak_heap_t *heap);
/* A cache that needs no memory of its own: it has no bins and holds no slabs, but blocks
 * can be sent home with it. */
hak_cache_t hak_cache_bare(hak_thread_t *me, hak_heap_t *heap);

/* A list that had no room is the default heap's: one of its bins, or of its slabs. */
HAK_HOT bool hak_cache_is_default(hak_thread_t *me, hak_list_t *list) {
  if ((size_t)((char *)list - (char *)me->bins) < sizeof me->bins) return true;
  if (hak_cache_is_indexed(me, list)) return false;
  hak_superslab_t *ss = hak_slab_superslab((hak_slab_t *)(void *)list);
  return hak_load_relaxed(&ss->extent.heap) == me->store->pool.heap;
}
HAK_HOT bool hak_cache_has_bin(const hak_thread_cache_t *cache, const hak_list_t *list) {
  return (size_t)((const char *)list - (const char *)cache->cache.bins) <
         HAK_CLASSES * sizeof(hak_bin_t);
}

/* While hidden, allocations of this thread from the heap take the slow path, whatever
 * its bins have; the default heap's do not. */
void hak_cache_hide(hak_thread_t *me, hak_heap_t *heap, bool hidden);

/* The thread gives all that it keeps in the cache to everybody; `leave`: and it is no
 * user of the heap any more, as happens anyhow where the heap is released. That heap may
 * end by it, which is the caller's to see to. Takes the heap's lease. */
void hak_cache_give_up(hak_thread_t *me, hak_thread_cache_t *cache, bool leave);
/* What the thread caches of the heap and what lies in the heap's transfer cache goes home
 * to the slabs. Under the heap's lease. */
void hak_cache_drain(hak_thread_t *me, hak_heap_t *heap);

/* Forgets what a thread keeps of a heap: its blocks are gone. `me` takes what is
 * of use elsewhere. Under the heap's lease. `end`: the heap goes too. */
void hak_cache_clear(hak_thread_t *me, hak_thread_t *thread, hak_heap_t *heap, bool end);

#endif
