/* fork_caches.h - caches of heaps in the child of a fork.
 *
 * Depends on: tiny, cache_index, serial, thread_cache, thread_state, threads.
 * Used by: fork.
 *
 * The child runs alone: nothing here takes a lock. Threads of the parent may have been
 * stopped between any two instructions, so counts of users are made anew from what there
 * is.
 */
#ifndef HAK_HEAP_FORK_CACHES_H
#define HAK_HEAP_FORK_CACHES_H

#include "heap/thread_state.h"

/* Drops what a state keeps of all heaps but the default one, wherever its thread was
 * stopped. */
void hak_fork_drop_caches(hak_thread_t *thread);
/* Counts anew who has a cache of which heap, and mends cache indices that were on their
 * way from one heap to another. */
void hak_fork_recount_caches(void);
/* Bytes by which the bins of a state, or of all serial heaps, have grown; see
 * capacity.h. */
uint64_t hak_fork_grown_bytes(hak_thread_t *thread);
uint64_t hak_fork_grown_bytes_serial(void);
/* A cache for slabs of the heap that other threads are to find: like a bare one, but
 * their entries lead to the heap's cache index, if it has one. */
hak_cache_t hak_fork_cache_for_others(hak_thread_t *me, hak_heap_t *heap);

#endif
