/* thread.h - a thread in the library: it gets a state, and is in a slow path.
 *
 * Depends on: base, os, pages, superslab, give_up, hole_sweep, lifecycle, records,
 * thread_end, thread_state, threads. Used by: collect, pressure, api.
 *
 * Life: no state (the TLS pointer names a static one that sends everything to slow paths)
 * -> attached by the first call -> everything given up at exit (thread_end.h).
 */
#ifndef HAK_HEAP_THREAD_H
#define HAK_HEAP_THREAD_H

#include "heap/thread_state.h"
#include "superslab/retention.h"

/* The state for one slow call: the thread's own, made if need be, or the shared
 * one. NULL: the library could not start. Every enter is followed by a leave,
 * which reports what was found to be wrong on behalf of `function`. */
hak_thread_t *hak_thread_enter_slow(void);
/* The same, but never starts the library or makes a state. */
hak_thread_t *hak_thread_enter_started(void);
void hak_thread_leave_slow(hak_thread_t *me, const char *function);

HAK_HOT hak_thread_t *hak_thread_enter(void) {
  hak_thread_t *me = hak_thread_self;
  if (HAK_UNLIKELY(me->kind != HAK_THREAD_ATTACHED)) return hak_thread_enter_slow();
  hak_busy_begin(me);
  hak_compiler_fence();
  return me;
}
HAK_HOT void hak_thread_leave(hak_thread_t *me, const char *function) {
  hak_compiler_fence();
  hak_busy_end(me);
  if (HAK_UNLIKELY(me->to_report != 0)) hak_thread_leave_slow(me, function);
}

/* Gives back what is due, if it is time to look. No slow path begun, no lock held. */
void hak_thread_trim_slow(hak_shared_pool_t *pool);
HAK_HOT void hak_thread_trim(hak_shared_pool_t *pool) {
  if (HAK_UNLIKELY(hak_load_relaxed(&hak_retained_over) != HAK_IDLE_FEW)) {
    hak_thread_trim_slow(pool);
  }
}

/* Makes and gives up the calling thread's state; false: out of memory. */
bool hak_thread_attach(void);
void hak_thread_detach(void);

/* What lies in the state that threads without one share, of one heap or of all (NULL),
 * becomes everybody's, unless such a thread, or this one, is using the state now. */
void hak_thread_flush_shared(hak_heap_t *heap, const char *function);

#endif
