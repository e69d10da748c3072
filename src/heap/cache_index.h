/* cache_index.h - which heaps have their bins at the same place in every thread state.
 *
 * Depends on: bins, thread_state, threads.
 * Used by: thread_cache, teardown, fork_caches, lifecycle, api.
 *
 * A heap with a cache index has its bins at that index of every thread state, so the
 * registry's entries can name them and frees take the fast path; its entry in
 * `bins_at` (HAK_INDEX_FIRST + index) leads hak_heap_alloc there. The bins of a heap
 * without one lie in the thread cache's own record, and both calls find them by a slow
 * path.
 *
 * Indices go to the heaps that are used first. A busy heap without one takes that of a
 * heap whose only user is the thread that asks. Other threads need not be told: a thread
 * without a cache of the heap has no room in the bins there, so a free that read an entry
 * of the old heap asks the registry again.
 *
 * Access: the table is guarded by the heaps' lock. What happens to a thread cache here
 * happens to the calling thread's.
 */
#ifndef HAK_HEAP_CACHE_INDEX_H
#define HAK_HEAP_CACHE_INDEX_H

#include "heap/thread_state.h"

/* The bins of a cache that begins: at its heap's index, which it is given if one is free,
 * else in the cache's own record. May commit memory in all states. No lock held. */
void hak_cache_index_begin(hak_thread_t *me, hak_thread_cache_t *cache);
/* The heap may be worth an index: takes a free one, or that of a heap which only this
 * thread uses. No lock and no lease held. */
void hak_cache_index_seek(hak_thread_t *me, hak_thread_cache_t *cache);
/* The cache ends, and its bins are empty: the thread is no user of its index, if it has
 * one, any more. */
void hak_cache_index_leave(hak_thread_t *me, hak_thread_cache_t *cache);
/* The heap that the cache is of goes, under its lease: no thread finds bins there. */
void hak_cache_index_clear(hak_thread_t *thread, hak_thread_cache_t *cache);
/* While hidden, hak_heap_alloc of this thread takes the slow path. */
void hak_cache_index_hide(hak_thread_t *me, hak_thread_cache_t *cache, bool hidden);
/* A heap that goes gives its index back. */
void hak_cache_index_free(hak_heap_t *heap);

/* At shutdown: no heap has an index, and no state has memory for any. */
void hak_cache_indices_stop(void);

/* --- in the child of a fork; see fork_caches.h ---- */

/* What the registry's entries are for the first class of the heap's index; 0: it has no
 * index. */
uint64_t hak_cache_index_entry(hak_heap_t *heap);
/* Drops what the state keeps at the index of the cache, and at that of its heap: its
 * thread may have been on the way from one to the other. */
void hak_cache_index_drop(hak_thread_t *thread, hak_thread_cache_t *cache);
/* No index has a user until hak_cache_index_recount has been told of each thread cache;
 * an index that a lost thread was taking from a heap is free. */
void hak_cache_indices_recount(void);
void hak_cache_index_recount(hak_thread_cache_t *cache);

#endif
