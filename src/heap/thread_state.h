/* thread_state.h - all that one thread keeps: its state, and its caches of heaps.
 *
 * Depends on: base, os, pages, tiny, bins, heap.
 * Used by: threads, cache_index, thread_cache, kind, give_up, thread_end, phase, stay,
 * fork_caches, fork, thread.
 *
 * A thread state begins with what the tiny layer knows of it (bin.h). Behind that lie the
 * thread's caches of other heaps than the default one, found by the heap's index, and
 * room for bins at cache indices (cache_index.h). The state reserves address space for
 * the indices that it has room for and commits it when they are used. A thread cache
 * stays with the state when its heap goes, and serves the next heap of the same record.
 *
 * Life: reserved -> among all states (threads.h) -> serves one thread after another, and
 * is bare between two if its pages were given back -> released at shutdown.
 *
 * Access: a state and its caches belong to their thread, except where marked; whoever
 * tears a pooled heap down clears its caches in all states, under the heap's lease.
 */
#ifndef HAK_HEAP_THREAD_STATE_H
#define HAK_HEAP_THREAD_STATE_H

#include "heap/heap.h"
#include "tiny/bin.h"

typedef struct hak_thread_cache {
  hak_heap_t *heap;         /* [const] while the cache has pages; NULL: it has none, and
                               all of it reads as zero */
  hak_atomic_ptr_t heap_id; /* of the heap that the cache is of; NULL: of none now */
  hak_atomic_u32_t index;   /* the heap's cache index; HAK_NO_INDEX: none */
  uint64_t grown;           /* see hak_cache_t */
  uint64_t begun[HAK_CLASS_WORDS]; /* the same */
  uint32_t lonely; /* allocations without a cache index since one was last sought */
  hak_cache_t cache;
  hak_hold_t holds[HAK_CLASSES];
  hak_bin_t own[HAK_CLASSES]; /* in use while the heap has no cache index */
} hak_thread_cache_t;

#define HAK_NO_INDEX HAK_CACHE_INDICES

enum {
  HAK_CACHE_CHUNK = 128,
  HAK_CACHE_CHUNKS = HAK_HEAPS_MAX / HAK_CACHE_CHUNK
};
typedef struct hak_cache_chunk {
  struct hak_cache_chunk *next; /* [owner] of a bare state; see hak_thread_state_strip */
  uint32_t number;              /* [const] heaps of lower indices, / HAK_CACHE_CHUNK */
  _Atomic(hak_thread_cache_t *) caches[HAK_CACHE_CHUNK];
  uint8_t uses[HAK_CACHE_CHUNK]; /* [owner] of heaps without a cache: see has_earned */
  uint8_t when[HAK_CACHE_CHUNK]; /* [owner] of which heap and time `uses` are */
} hak_cache_chunk_t;

typedef hak_bin_t hak_indexed_bins_t[HAK_CLASSES];

/* A state as a whole. What a thread needs that has caches of a few heaps lies together:
 * the last of the chunks, which are the first heaps', and the first indices. Of a thread
 * without any nobody looks at these pages (`chunks` in hak_thread_t). */
typedef struct hak_thread_state {
  hak_thread_t thread;
  _Atomic(hak_cache_chunk_t *) chunks[HAK_CACHE_CHUNKS]; /* see hak_thread_chunk */
  hak_indexed_bins_t indices[HAK_CACHE_INDICES];
} hak_thread_state_t;

/* The state of threads that have none; never written to. */
HAK_EXTERN hak_thread_t hak_thread_none;
/* The calling thread's. */
extern _Thread_local hak_thread_t *hak_thread_self;

HAK_HOT hak_thread_state_t *hak_thread_state(hak_thread_t *me) {
  return (hak_thread_state_t *)(void *)me;
}

/* Where the state's chunk of a number is found. */
HAK_HOT _Atomic(hak_cache_chunk_t *) *hak_thread_chunk(hak_thread_t *me,
                                                       uint32_t number) {
  return &hak_thread_state(me)->chunks[HAK_CACHE_CHUNKS - 1 - number];
}

/* What stands in `bins_at` for bins. */
HAK_HOT int64_t hak_index_to(const hak_thread_t *me, const hak_bin_t *bins) {
  return (const char *)bins - (const char *)me->empty;
}
HAK_HOT hak_atomic_i64_t *hak_index_entry(hak_thread_t *me, uint32_t index_at) {
  return (hak_atomic_i64_t *)(void *)((char *)me + index_at);
}
/* The bins of the heap whose `index_at` is given. Relaxed: the caller uses the heap, and
 * then nobody tears it down. */
HAK_HOT hak_bin_t *hak_index_bins(hak_thread_t *me, uint32_t index_at) {
  int64_t to = hak_load_relaxed(hak_index_entry(me, index_at));
  return to == 0 ? hak_thread_none.bins : (hak_bin_t *)(void *)((char *)me->empty + to);
}
/* Where in the thread's state, or beside it, the bin is that serves a step of a tiny
 * class; less HAK_INDEX_PAST, so that one table serves all heaps. */
#define HAK_INDEX_PAST (offsetof(hak_thread_t, empty) - offsetof(hak_thread_t, bins))
HAK_HOT size_t hak_index_step(hak_thread_t *me, uint32_t index_at, size_t step) {
  return hak_sum_relaxed(hak_bin_offset_of_step[step],
                         (hak_atomic_u64_t *)hak_index_entry(me, index_at));
}
/* What lies so many bytes into that bin. As a number: bins may lie before the state, and
 * then the sum wraps. */
HAK_HOT void *hak_index_field(hak_thread_t *me, size_t at, size_t field) {
  return (void *)((uintptr_t)me + at + (HAK_INDEX_PAST + field));
}
HAK_HOT hak_bin_t *hak_index_bin(hak_thread_t *me, size_t at) {
  return hak_index_field(me, at, 0);
}
HAK_HOT void **hak_index_ready(hak_thread_t *me, size_t at) {
  return hak_index_field(me, at, offsetof(hak_bin_t, ready));
}
HAK_HOT void **hak_index_last(hak_thread_t *me, size_t at) {
  return hak_index_field(me, at, offsetof(hak_bin_t, list.head));
}
HAK_HOT hak_atomic_i32_t *hak_index_room(hak_thread_t *me, size_t at) {
  return hak_index_field(me, at, offsetof(hak_bin_t, list.room));
}
/* The list belongs to a bin that lies at a cache index of the state. */
HAK_HOT bool hak_cache_is_indexed(hak_thread_t *me, const hak_list_t *list) {
  size_t offset =
      (size_t)((const char *)list - (const char *)hak_thread_state(me)->indices);
  return offset < me->room * sizeof(hak_indexed_bins_t);
}

/* The thread's cache of the heap of this index, or NULL if it never had one. */
HAK_HOT hak_thread_cache_t *hak_cache_at(hak_thread_t *me, uint32_t index) {
  /* Acquire, both: pair with cache_new, for those who look from outside. */
  hak_cache_chunk_t *chunk =
      hak_load_acquire(hak_thread_chunk(me, index / HAK_CACHE_CHUNK));
  return chunk == NULL ? NULL : hak_load_acquire(&chunk->caches[index % HAK_CACHE_CHUNK]);
}
/* The thread's cache of this heap, or NULL: one of an earlier heap of the same record is
 * none. */
HAK_HOT hak_thread_cache_t *hak_cache_find(hak_thread_t *me, hak_heap_t *heap) {
  hak_thread_cache_t *cache = hak_cache_at(me, heap->index);
  bool is_of = cache != NULL && hak_load_relaxed(&cache->heap_id) == hak_heap_id(heap);
  return is_of ? cache : NULL;
}
/* The thread cache's bins, for those who look from outside. */
HAK_HOT hak_bin_t *hak_cache_bins(hak_thread_t *thread, hak_thread_cache_t *cache) {
  /* Acquire: pairs with enter (cache_index.c); the bins there are seen. */
  uint32_t index = hak_load_acquire(&cache->index);
  return index < HAK_CACHE_INDICES ? hak_thread_state(thread)->indices[index]
                                   : cache->own;
}
/* All thread caches that a thread state ever had; takes no lock. O(heaps ever made). */
void hak_caches_visit(hak_thread_t *thread,
                      void (*visit)(hak_thread_cache_t *cache, void *ctx), void *ctx);
/* Those of HAK_CACHE_CHUNK heaps, from the number `first` on, which is a multiple of
 * that. The number to go on with; 0: these were the last. */
uint32_t hak_caches_visit_chunk(hak_thread_t *thread, uint32_t first,
                                void (*visit)(hak_thread_cache_t *cache, void *ctx),
                                void *ctx);

/* Live large blocks outside of classes: the one place where they are counted. */
HAK_HOT void hak_thread_count_large(hak_thread_t *me, int64_t blocks, int64_t bytes) {
  HAK_COUNT(me, large_blocks, blocks);
  HAK_COUNT(me, large_bytes, bytes);
}

/* Bytes of address space of a state with `room` cache indices. */
size_t hak_thread_range_size(uint32_t room);
/* At shutdown, or while no state is there. */
void hak_thread_range_release(const hak_os_t *os, char *range, uint32_t room);
/* A state there, zeroed. NULL if memory is short, and the range has gone then. */
hak_thread_t *hak_thread_state_new(const hak_os_t *os, char *range, uint32_t room);
/* At shutdown, or before anybody had it. */
void hak_thread_state_release(const hak_os_t *os, hak_thread_t *thread, uint32_t room);
/* Memory for the cache indices below `indices`, for which the state has room; what is
 * there stays as it is. False if it is short. One thread at a time; may call the OS: no
 * lock held. */
bool hak_thread_state_commit(const hak_os_t *os, hak_thread_t *thread, uint32_t indices);
/* The state keeps nothing of the default heap, as at its beginning. */
void hak_thread_state_reset(hak_thread_t *thread);

/* hak_heap_lease for emptying caches. False, at once, if somebody has the lease and this
 * thread is in a hook of another call, which that may be. `me`: what is emptied is of
 * this state. */
bool hak_thread_lease(hak_thread_t *me, hak_heap_t *heap);

/* --- pages of what nobody uses; see hak_threads_purge ---- */

/* Gives the pages of a cache back that is of no heap, if it has any and they may go, for
 * one of *looks, and adds them to *given. False if there is no look left for it. */
bool hak_thread_cache_purge(const hak_os_t *os, hak_thread_cache_t *cache, size_t *looks,
                            size_t *given);
/* The same of all caches of a state that serves no thread. False if there were too few
 * looks for all. */
bool hak_thread_caches_purge(const hak_os_t *os, hak_thread_t *thread, size_t *looks,
                             size_t *given);
/* A list of the state's chunks, which its pages are to go without. */
hak_cache_chunk_t *hak_thread_state_strip(hak_thread_t *thread);
/* Gives the state's pages back, which read as zero from here on. The bytes; 0: they may
 * not go now. */
size_t hak_thread_state_purge(const hak_os_t *os, hak_thread_t *thread);
/* A state that was stripped, and has lost `bytes` of its pages, has its chunks again, and
 * memory for so many indices. */
void hak_thread_state_dress(hak_thread_t *thread, hak_cache_chunk_t *chunks,
                            uint32_t indices, size_t bytes);

#endif
