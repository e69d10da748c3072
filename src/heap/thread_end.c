#include "heap/thread_end.h"

#include "base/report.h"
#include "heap/give_up.h"
#include "heap/threads.h"
#include "superslab/retention.h"
#include "tiny/capacity.h"

/* No slow path makes a state for the thread. */
static _Thread_local bool is_ending;

bool hak_thread_is_ending(void) { return is_ending; }

bool hak_thread_begin(void) {
  hak_thread_t *state = hak_threads_get(&hak_thread_self);
  if (state == NULL) return false;
  /* Hooks that allocate have attached this thread while they brought memory for it. */
  bool has_one = hak_thread_self->kind == HAK_THREAD_ATTACHED;
  if (has_one || !hak_sys_thread_end_set(state)) {
    hak_threads_put(state);
    return has_one;
  }
  hak_thread_self = state;
  return true;
}

void hak_thread_report(hak_thread_t *me, const char *function, void (*leave)(void)) {
  struct hak_deferred found = me->deferred;
  me->deferred.error = 0;
  if (me != hak_threads_shared()) me->to_report = 0;
  if (leave != NULL) leave();
  if (found.error == 0) return;
  hak_report((hak_error_t)found.error, found.block, found.heap, function, found.text);
}

/* What was found to be wrong with blocks is known when they have gone home; a handler
 * that allocates finds the thread without a state, and ending. */
static void give_up(hak_thread_t *me) {
  hak_give_up_at_end(me);
  hak_capacity_note_end(me->looks);
  const hak_shared_pool_t *pool = &me->store->pool;
  hak_thread_self = &hak_thread_none;
  is_ending = true;
  /* The program may have no thread that calls later. What a hook allocates meanwhile is
   * not this state's any more. */
  hak_retention_trim(pool);
  hak_compiler_fence();
  hak_store_relaxed(&me->busy, 0);
  if (HAK_UNLIKELY(me->to_report != 0)) hak_thread_report(me, "hak_thread_exit", NULL);
}

void hak_thread_end(hak_thread_t *me) {
  give_up(me);
  is_ending = false;
  hak_threads_put(me);
}

void hak_thread_at_end(void *state) {
  hak_thread_t *me = state;
  if (me != hak_thread_self) return;
  give_up(me);
  hak_threads_put(me);
}
