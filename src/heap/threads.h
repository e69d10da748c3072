/* threads.h - the states of all threads: codes, the list, and the one that is shared.
 *
 * Depends on: base, tiny, thread_state.
 * Used by: cache_index, kind, thread_end, fork_caches, fork, lifecycle, thread, api.
 *
 * States are never unmapped before shutdown, and stay in the list. A thread that gets no
 * state of its own, for want of codes or memory, or because its destructors are running,
 * uses the one that such threads share, one at a time, for the length of one call.
 *
 * Access: the list is read without a lock; which state serves which thread is guarded by
 * the threads' lock. Who uses the shared state has its lease. A lease rather than a lock,
 * since hooks run while it is out.
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
/* Sums of all states' counters; takes no lock. */
void hak_threads_sum(hak_counts_t *sum, uint32_t *attached);
/* Calls `visit` for every state ever made; takes no lock. */
void hak_threads_visit(void (*visit)(hak_thread_t *thread, void *ctx), void *ctx);

/* Memory for the cache indices below `indices` in all states, those to come included;
 * false if it is short, or another thread is at it. No lock held. */
bool hak_threads_commit_indices(uint32_t indices);

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
