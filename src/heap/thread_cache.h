/* thread_cache.h - what a thread keeps of each heap beside the default one.
 *
 * Depends on: base, pages, pool, tiny, heap, serial, teardown.   Used by: thread,
 * teardown, api.
 *
 * A thread that allocates from a heap, or frees blocks of it, has a thread cache of it:
 * bins and what it holds. Fronts are found by the heap's index and stay with the
 * thread state. The bins of a heap that has a slot lie at the slot's place in
 * every thread state, so the registry's entries can name them and frees take the
 * fast path; a way leads hak_heap_alloc there. Of heaps without a slot the bins
 * lie in the thread cache's own record, and both go by a slow path that finds it.
 *
 * Slots go to the heaps that are used first. A busy heap without one takes that
 * of a heap whose only user is the thread that asks. This needs no word with
 * others: a thread without a thread cache in the slot has no room there, so a free that
 * read an entry of the old heap asks the registry again.
 *
 * Access: a thread cache belongs to its thread. Who tears a heap down clears those of
 * all threads, under the heap's lease, while nobody uses the heap; a thread that
 * flushes one (at exit, idle, collect) takes the lease, and looks whether the
 * heap is still there.
 */
#ifndef HAK_HEAP_THREAD_CACHE_H
#define HAK_HEAP_THREAD_CACHE_H

#include "heap/heap.h"
#include "pool/large.h"
#include "tiny/bin.h"

typedef struct hak_thread_cache {
  hak_heap_t *heap;       /* [const] */
  hak_atomic_ptr_t mark;  /* of the heap that lives there; NULL: cleared */
  hak_atomic_u32_t index; /* HAK_CACHE_INDICES: none */
  uint64_t grown;         /* see hak_cache_t */
  uint32_t lonely;        /* allocations without a slot since it was last sought */
  hak_cache_t cache;
  hak_hold_t holds[HAK_CLASSES];
  hak_bin_t own[HAK_CLASSES];
} hak_thread_cache_t;

enum {
  HAK_CACHE_CHUNK = 256,
  HAK_CACHE_CHUNKS = HAK_HEAPS_MAX / HAK_CACHE_CHUNK
};
typedef struct hak_cache_chunk {
  _Atomic(hak_thread_cache_t *) caches[HAK_CACHE_CHUNK];
} hak_cache_chunk_t;

/* Slots are committed so many at a time, in all thread states alike. */
enum {
  HAK_CACHE_INDEX_GROUP = 64
};
typedef hak_bin_t hak_indexed_bins_t[HAK_CLASSES];

/* A state as a whole: what the tiny layer knows of it comes first. */
typedef struct hak_thread_state {
  hak_thread_t thread;
  uint32_t indices_ready; /* [lock: threads] slots with memory, once published */
  _Atomic(hak_cache_chunk_t *) chunks[HAK_CACHE_CHUNKS]; /* by the heap's index */
  hak_indexed_bins_t indices[HAK_CACHE_INDICES];
} hak_thread_state_t;

HAK_HOT hak_thread_state_t *hak_thread_state(hak_thread_t *me) {
  return (hak_thread_state_t *)(void *)me;
}

/* The thread's front of the heap of this index, or NULL if it never had one. */
HAK_HOT hak_thread_cache_t *hak_cache_at(hak_thread_t *me, uint32_t index) {
  /* Acquire, both: pair with cache_new, for those who look from outside. */
  hak_cache_chunk_t *chunk =
      hak_load_acquire(&hak_thread_state(me)->chunks[index / HAK_CACHE_CHUNK]);
  return chunk == NULL ? NULL : hak_load_acquire(&chunk->caches[index % HAK_CACHE_CHUNK]);
}
/* Likewise if it is of the heap that now lives there. */
HAK_HOT hak_thread_cache_t *hak_cache_find(hak_thread_t *me, hak_heap_t *heap) {
  hak_thread_cache_t *cache = hak_cache_at(me, heap->index);
  return cache != NULL && hak_load_relaxed(&cache->mark) == hak_heap_id(heap) ? cache
                                                                              : NULL;
}

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
/* A cache that needs no memory of its own: it has no bins and holds no slabs, but blocks
 * can be sent home with it. */
hak_cache_t hak_cache_bare(hak_thread_t *me, hak_heap_t *heap);

/* A list in the thread state that is a slot's. */
HAK_HOT bool hak_cache_is_indexed(hak_thread_t *me, const hak_list_t *list) {
  size_t offset =
      (size_t)((const char *)list - (const char *)hak_thread_state(me)->indices);
  return offset < sizeof hak_thread_state(me)->indices;
}

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

/* Bins and holds of a thread that keeps nothing. */
void hak_cache_init(hak_bin_t *bins, hak_hold_t *holds, hak_store_t *store);

/* While hidden, allocations of this thread from the heap take the slow path, whatever
 * its bins have; the default heap's do not. */
void hak_cache_hide(hak_thread_t *me, hak_heap_t *heap, bool hidden);

/* The thread gives all it keeps of one heap, or of all but the default heap, to
 * everybody. Takes the heap's lease. */
void hak_cache_flush(hak_thread_t *me, hak_heap_t *heap);
/* As the first, and the thread is no user of the heap any more; memory for a thread cache
 * is there if it becomes one again. */
void hak_cache_leave(hak_thread_t *me, hak_heap_t *heap);
/* As the first, and what lies in the heap's transfer cache goes home too. Under the
 * heap's lease. */
void hak_cache_drain(hak_thread_t *me, hak_heap_t *heap);
void hak_caches_flush(hak_thread_t *me);
/* Likewise at the thread's end: its places in slots are given up too. */
void hak_caches_leave(hak_thread_t *me);

/* The thread cache's bins, for those who look from outside. */
HAK_HOT hak_bin_t *hak_cache_bins(hak_thread_t *thread, hak_thread_cache_t *cache) {
  uint32_t index = hak_load_relaxed(&cache->index);
  return index < HAK_CACHE_INDICES ? hak_thread_state(thread)->indices[index]
                                   : cache->own;
}
/* All thread caches that a thread state ever had; takes no lock. */
void hak_caches_visit(hak_thread_t *thread,
                      void (*visit)(hak_thread_cache_t *cache, void *ctx), void *ctx);

/* The heap may be worth a slot: takes a free one, or that of a heap which only
 * this thread uses. */
void hak_cache_seek_index(hak_thread_t *me, hak_thread_cache_t *cache);

/* Forgets what a thread keeps of a heap: its blocks are gone. `me` takes what is
 * of use elsewhere. Under the heap's lease. `end`: the heap goes too. */
void hak_cache_clear(hak_thread_t *me, hak_thread_t *thread, hak_heap_t *heap, bool end);
/* A heap that goes gives its slot back. */
void hak_cache_free_index(hak_heap_t *heap);

void hak_cache_indices_stop(void);

/* --- in the child of a fork; see fork.c ---- */

/* Drops what a state keeps of all heaps but the default one, wherever its thread was
 * stopped. */
void hak_caches_drop(hak_thread_t *thread);
/* Counts anew who has a thread cache of which heap, and mends slots that were on their
 * way from one to another. */
void hak_caches_recount(void);
/* A cache for slabs of the heap that other threads are to find: like a bare one, but
 * their entries lead to the heap's slot, if it has one. */
hak_cache_t hak_cache_for_others(hak_thread_t *me, hak_heap_t *heap);

#endif
