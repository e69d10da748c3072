/* thread.h - thread states: attach, exit, idle.
 *
 * Depends on: base, os, superslab, tiny, heap.   Used by: lifecycle, api.
 *
 * Life: no state (the TLS pointer names a static one that sends everything to
 * slow paths) -> attached by the first call -> everything given up at exit; the
 * state and its code wait for the next thread. A thread that gets no state, for
 * want of codes or memory, or because its destructors are running, uses the one
 * that such threads share, one at a time, for the length of one call.
 */
#ifndef HAK_HEAP_THREAD_H
#define HAK_HEAP_THREAD_H

#include "heap/lifecycle.h"
#include "heap/thread_cache.h"
#include "superslab/retention.h"

extern _Thread_local hak_thread_t *hak_thread_self;

/* See lifecycle.h. */
HAK_HOT hak_stay_t hak_stay(void) {
  if (HAK_LIKELY(hak_thread_self->kind == HAK_THREAD_ATTACHED)) return HAK_STAY_ATTACHED;
  return hak_stay_slow();
}
HAK_HOT hak_stay_t hak_stay_started(void) {
  if (HAK_LIKELY(hak_thread_self->kind == HAK_THREAD_ATTACHED)) return HAK_STAY_ATTACHED;
  return hak_stay_started_slow();
}

/* Live large blocks outside of classes: the one place where they are counted. */
HAK_HOT void hak_thread_count_large(hak_thread_t *me, int64_t blocks, int64_t bytes) {
  HAK_COUNT(me, large_blocks, blocks);
  HAK_COUNT(me, large_bytes, bytes);
}

/* The state for one slow call: the thread's own, made if need be, or the shared
 * one. NULL: the library could not start. Every enter is followed by a leave,
 * which reports what was found to be wrong on behalf of `function`. */
hak_thread_t *hak_thread_enter_slow(void);
/* As enter, but never starts the library or makes a state. */
hak_thread_t *hak_thread_enter_started(void);
void hak_thread_leave_slow(hak_thread_t *me, const char *function);

HAK_HOT hak_thread_t *hak_thread_enter(void) {
  hak_thread_t *me = hak_thread_self;
  if (HAK_UNLIKELY(me->kind != HAK_THREAD_ATTACHED)) return hak_thread_enter_slow();
  hak_store_relaxed(&me->busy, 1);
  hak_compiler_fence();
  return me;
}
HAK_HOT void hak_thread_leave(hak_thread_t *me, const char *function) {
  hak_compiler_fence();
  hak_store_relaxed(&me->busy, 0);
  if (HAK_UNLIKELY(me->to_report != 0)) hak_thread_leave_slow(me, function);
}

/* Gives back what is due, if it is time to look. No slow path begun, no lock held. */
void hak_thread_trim_slow(hak_shared_pool_t *pool);
HAK_HOT void hak_thread_trim(hak_shared_pool_t *pool) {
  if (HAK_UNLIKELY(hak_load_relaxed(&hak_retained_over) != 0)) {
    hak_thread_trim_slow(pool);
  }
}

/* Makes and gives up the calling thread's state; false: out of memory. */
bool hak_thread_attach(void);
void hak_thread_detach(void);

/* Everything that the thread cached or held of one heap, or of all, becomes
 * everybody's. */
void hak_thread_flush_one(hak_thread_t *me, hak_heap_t *heap);
void hak_thread_flush(hak_thread_t *me);

/* Likewise what lies in the state that threads without one share, of one heap or of all
 * (NULL), unless such a thread is using it now. */
void hak_thread_flush_shared(const hak_thread_t *me, hak_heap_t *heap,
                             const char *function);

/* Attached states other than the caller's. */
uint32_t hak_threads_others(void);

/* Sums of all states' counters; takes no lock. */
void hak_threads_sum(hak_counts_t *sum, uint32_t *attached);
/* Calls `visit` for every state ever made; takes no lock. */
void hak_threads_visit(void (*visit)(hak_thread_t *thread, void *ctx), void *ctx);

/* Memory for the slots below `indices` in all states, those to come included; false
 * if it is short, or another thread is at it. No lock held. */
bool hak_threads_commit_indices(uint32_t indices);

/* Start and end of the library: the module's own part. */
bool hak_threads_start(const hak_os_t *os);
/* Points every attached thread's TLS back at the static state. */
void hak_threads_stop(void);

hak_lock_t *hak_threads_lock(void);

/* In the child of a fork; see fork.c. The state that threads without one share; the
 * state of a thread that is not there, or that such a one may have been using; what
 * such a state keeps goes to everybody, or is dropped; from here on there are no such
 * states, and what they were may serve other threads. */
hak_thread_t *hak_threads_shared(void);
bool hak_thread_is_lost(hak_thread_t *state);
void hak_thread_leave_heaps(hak_thread_t *me);
void hak_thread_reset(hak_thread_t *me);
void hak_threads_forget_lost(bool reuse);

#endif
