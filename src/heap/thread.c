#include "heap/thread.h"

#include "base/report.h"
#include "base/sys.h"
#include "heap/give_up.h"
#include "heap/hole_sweep.h"
#include "heap/lifecycle.h"
#include "heap/records.h"
#include "heap/thread_end.h"
#include "heap/threads.h"
#include "os/os.h"
#include "pages/budget.h"
#include "pages/idle.h"

/* --- a state of its own --------------------------------------------------------------
 */

bool hak_thread_attach(void) {
  hak_stay_t stay = hak_lifecycle_stay();
  bool ok = stay == HAK_STAY_ATTACHED ||
            (stay == HAK_STAY_COUNTED && (hak_thread_is_ending() || hak_thread_begin()));
  hak_stay_end(stay);
  return ok;
}

HAK_SLOW void hak_thread_detach(void) {
  hak_thread_t *me = hak_thread_self;
  if (me->kind != HAK_THREAD_ATTACHED) return;
  /* Within a hook or callback: the call that it is part of goes on with the state, and
   * stays by it. */
  if (hak_stay_is_inside()) return;
  hak_sys_thread_end_set(NULL);
  hak_thread_end(me);
}

/* --- one slow call -------------------------------------------------------------------
 */

/* Whoever uses the shared state stays until the call is over. */
HAK_SLOW hak_thread_t *hak_thread_enter_slow(void) {
  hak_thread_t *me;
  hak_stay_t stay = hak_lifecycle_stay();
  if (stay == HAK_STAY_NONE) return NULL;
  if (!hak_thread_is_ending() && hak_thread_begin()) {
    hak_stay_end(stay);
    me = hak_thread_self;
  } else {
    me = hak_threads_lease_shared();
  }
  hak_busy_begin(me);
  return me;
}

hak_thread_t *hak_thread_enter_started(void) {
  hak_stay_t stay = hak_stay();
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return NULL;
  hak_thread_t *me =
      stay == HAK_STAY_ATTACHED ? hak_thread_self : hak_threads_lease_shared();
  hak_busy_begin(me);
  return me;
}

static void leave_shared(void) {
  hak_threads_unlease_shared();
  hak_stay_end_slow();
}

HAK_SLOW void hak_thread_leave_slow(hak_thread_t *me, const char *function) {
  hak_thread_report(me, function, me == hak_threads_shared() ? leave_shared : NULL);
}

enum {
  RECORDS = 8 /* that one call gives back at most, caches included, in some 40 us */
};

HAK_SLOW void hak_thread_trim_slow(hak_shared_pool_t *pool) {
  /* Blocks that a thread has kept for a decay pin slabs that might be free by now; those
   * that it needs come back with a refill or two. */
  bool kept = hak_give_up_is_due(hak_thread_self, pool);
  /* Reads the clock, if any memory may be given back. */
  bool is_time = hak_retention_is_time(pool);
  bool holes = hak_os_may_give() && !pool->keeps_all &&
               (hak_hole_sweep_is_time() || hak_hole_sweep_is_news(hak_thread_self));
  if (!kept && !is_time && !holes) return;
  hak_thread_t *me = hak_thread_enter_started();
  if (me == NULL) return;
  if (kept) hak_give_up_some(me);
  if (is_time) {
    size_t records = RECORDS;
    hak_retention_trim_slow(pool);
    hak_records_give(SIZE_MAX, &records, false);
  }
  if (holes) hak_hole_sweep_step(me);
  /* Or no call would come here, once sweeps have found nothing. */
  if (me->turns.owed != 0) hak_idle_note_others();
  hak_thread_leave(me, HAK_IN_ALLOC);
}

void hak_thread_flush_shared(hak_heap_t *heap, const char *function) {
  hak_thread_t *shared = hak_threads_shared();
  if (!hak_threads_try_lease_shared()) return;
  hak_busy_begin(shared);
  hak_compiler_fence();
  if (heap != NULL) {
    hak_give_up_one(shared, heap);
  } else {
    hak_give_up_all(shared);
  }
  hak_compiler_fence();
  hak_busy_end(shared);
  hak_thread_report(shared, function, hak_threads_unlease_shared);
}
