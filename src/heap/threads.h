/* threads.h - the states of all threads: codes, places, and the one that is shared.
 *
 * Depends on: base, os, pages, tiny, thread_range, thread_state.
 * Used by: cache_index, kind, thread_end, fork_caches, fork, lifecycle, thread, api.
 *
 * States are never unmapped before shutdown, and keep their places. One that no thread
 * has may become bare: its pages go, with those of its caches, and come again as it
 * serves the next thread; a thread that ended leaves nothing resident. A thread that gets
 * no state of its own, for want of codes or memory, or because its destructors are
 * running, uses the one that such threads share, one at a time, for the length of one
 * call.
 *
 * Access: places are read without a lock; which state serves which thread is guarded by
 * the threads' lock. Who uses the shared state has its turn. A turn rather than a lock,
 * since hooks run while it is out, and may call the library.
 */
#ifndef HAK_HEAP_THREADS_H
#define HAK_HEAP_THREADS_H

#include "heap/thread_state.h"

/* A state for a thread whose pointer to its state is at `tls`, as at its beginning; NULL
 * if codes or memory are short. May call the OS: no lock held. */
hak_thread_t *hak_threads_get(hak_thread_t **tls);
/* The state waits for the next thread. It keeps nothing any more. */
void hak_threads_put(hak_thread_t *state);

/* Attached states other than the caller's. */
uint32_t hak_threads_others(void);
/* Sums of all states' counters. */
void hak_threads_sum(hak_counts_t *sum, uint32_t *attached);
/* Calls `visit`, with no lock held, for every state that has pages; none becomes bare
 * meanwhile. */
void hak_threads_visit(void (*visit)(hak_thread_t *thread, void *ctx), void *ctx);

/* Memory for the cache indices below `indices` in all states, those to come included;
 * false if it is short, or another thread is at it. No lock held. */
bool hak_threads_commit_indices(uint32_t indices);

/* --- pages of what nobody uses ---- */

/* The right to call the next two, which one thread has at a time; false, at once, if
 * another one has it, or commits indices. */
bool hak_threads_try_memory(void);
void hak_threads_end_memory(void);
/* Gives pages of states that no thread has back, and those of their caches, up to
 * max_bytes; *looks counts down with each. Returns the bytes. May call the OS: no lock
 * held. */
size_t hak_threads_purge(size_t max_bytes, size_t *looks);
/* The same of all threads' caches of the heap of this index, which is none now: the
 * caller has taken its record, so that none becomes of it meanwhile. If *looks is 0 then,
 * there may be more of them. */
size_t hak_threads_purge_caches(uint32_t index, size_t *looks);

/* The state that threads without one share; takes the lease only where said so. */
hak_thread_t *hak_threads_shared(void);
hak_thread_t *hak_threads_lease_shared(void);
bool hak_threads_try_lease_shared(void);
void hak_threads_unlease_shared(void);

/* At the start: makes the shared state; false if memory is short. `at_end` is called in
 * each thread that has a state of its own when it ends. */
bool hak_threads_start(const hak_os_t *os, void (*at_end)(void *state));
/* At shutdown: no thread has a state from here on, and their memory is released. */
void hak_threads_stop(void);
hak_lock_t *hak_threads_lock(void);

/* --- in the child of a fork; see fork.c ---- */

/* The state is that of a thread that is not there, or such a thread may have been using
 * it. */
bool hak_threads_is_lost(hak_thread_t *state);
/* As hak_thread_state_reset, for any state that is in the list. */
void hak_threads_reset(hak_thread_t *state);
/* From here on no state is a lost thread's. `reuse`: they may serve other threads. */
void hak_threads_forget_lost(bool reuse);

#endif
