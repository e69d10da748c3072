#include "heap/maintenance.h"

#include <errno.h>

#include "base/gate.h"
#include "base/sys.h"
#include "heap/give_up.h"
#include "heap/hole_sweep.h"
#include "heap/lifecycle.h"
#include "heap/records.h"
#include "heap/stay.h"
#include "heap/thread.h"
#include "heap/thread_end.h"
#include "os/reservation.h"
#include "superslab/retention.h"

enum {
  PHASE_BITS = 2,
  NAP_NS = 10000000, /* between two looks whether to end, where nobody can be woken */
  PAUSE_STEPS = 100, /* a piece of work is over soon, unless it is in a hook */
  PIECE_BYTES = 32 << 20
};
typedef enum phase {
  NONE = 0,
  CHANGING,
  RUNNING
} phase_t;

static hak_atomic_u64_t state;  /* [any] the process, and above it phase_t */
static hak_atomic_u32_t to_end; /* [any] 1: the thread is to end; it sleeps on the word */
static hak_atomic_ptr_t worker; /* [owner: the thread] hak_os_self of it */
static hak_gate_t work;         /* open while it may work */
static uint64_t thread, period; /* [owner: who is at a change]; ns */

static uint64_t here(phase_t phase) { return hak_sys_process() << PHASE_BITS | phase; }

/* What is said of another process is nothing here. */
static phase_t phase_now(uint64_t now) {
  bool mine = now >> PHASE_BITS == hak_sys_process();
  return mine ? (phase_t)(now & (((uint64_t)1 << PHASE_BITS) - 1)) : NONE;
}

/* Begins a change out of that phase; 0 or the error of one that is not possible. */
static int change_from(phase_t from, int error) {
  /* Relaxed: who is refused looks at nothing. */
  uint64_t now = hak_load_relaxed(&state);
  phase_t phase = phase_now(now);
  if (phase == CHANGING) return EBUSY;
  if (phase != from) return error;
  /* Acquire: pairs with end_change; what the last change made. */
  return hak_cas_acquire(&state, &now, here(CHANGING)) ? 0 : EBUSY;
}

/* Release: publishes the change to change_from. */
static void end_change(phase_t phase) { hak_store_release(&state, here(phase)); }

/* --- the thread --------------------------------------------------------------------- */

static bool is_to_end(void) { return hak_load_relaxed(&to_end) != 0; }

static void sleep_a_period(void) {
  if (is_to_end() || hak_sys_wait_for(&to_end, 0, period)) return;
  for (uint64_t slept = 0; slept < period && !is_to_end(); slept += NAP_NS) {
    hak_sys_sleep(period - slept < NAP_NS ? period - slept : NAP_NS);
  }
}

/* A piece of what is due; false if that is all. */
static bool give_back(void) {
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  size_t slabs = SIZE_MAX; /* no bound, whatever one call takes of it */
  hak_os_retry_releases(false);
  bool more = hak_retention_give_due(PIECE_BYTES, &slabs) >= PIECE_BYTES;
  /* The state that threads without one share has what it takes to read free blocks. */
  bool unused = hak_give_up_unused_is_time(), holes = hak_hole_sweep_is_time();
  if (hak_records_give(PIECE_BYTES, &slabs, false) >= PIECE_BYTES) more = true;
  hak_thread_t *me = unused || holes ? hak_thread_enter_started() : NULL;
  if (me != NULL) {
    if (unused) hak_give_up_unused(me);
    if (hak_hole_sweep_due(me, PIECE_BYTES, &slabs) >= PIECE_BYTES) more = true;
    hak_thread_leave(me, "hak_maintenance_start");
  }
  hak_os_leave(before);
  return more;
}

/* A handler of the program's that allocated has attached the thread. */
static void detach(void) {
  hak_thread_t *me = hak_thread_self;
  if (me->kind != HAK_THREAD_ATTACHED) return;
  hak_sys_thread_end_set(NULL);
  hak_thread_end(me);
}

/* True if there is more to do. */
static bool work_once(void) {
  if (!hak_gate_enter(&work)) return false;
  bool more = false;
  if (hak_stay_try()) {
    more = give_back();
    hak_stay_end_slow();
  }
  detach();
  hak_gate_leave(&work);
  return more;
}

static HAK_SLOW void *run(void *unused) {
  hak_store_relaxed(&worker, (void *)hak_os_self());
  while (!is_to_end()) {
    sleep_a_period();
    if (!is_to_end() && hak_sys_thread_is_last()) hak_sys_thread_exit_last();
    while (!is_to_end() && work_once()) {}
  }
  return unused;
}

/* --- changes -------------------------------------------------------------------------
 */

static bool is_worker(void) { return hak_load_relaxed(&worker) == (void *)hak_os_self(); }

static bool pause_work(void) {
  if (phase_now(hak_load_relaxed(&state)) != RUNNING) return true;
  if (is_worker()) return false;
  hak_gate_close(&work);
  if (hak_gate_wait(&work, PAUSE_STEPS)) return true;
  hak_gate_open(&work);
  return false;
}

/* Whoever else pauses it meanwhile, or ends and begins it: a thread that comes in beside
 * a shutdown finds the library closed. */
static void resume_work(void) { hak_gate_open(&work); }

/* The code that the thread runs is about to go. If it does not come out of a hook it
 * stays what it was, to be ended later. */
static HAK_SLOW void end_before_unload(void) {
  enum {
    MOST_NS = 1000000000
  };
  if (is_worker() || change_from(RUNNING, EINVAL) != 0) return;
  hak_store_relaxed(&to_end, 1);
  hak_sys_wake(&to_end);
  end_change(hak_sys_thread_join_within(thread, MOST_NS) ? NONE : RUNNING);
}

static const hak_companion_t companion = {pause_work, resume_work, hak_maintenance_end};

int hak_maintenance_begin(uint64_t period_ns) {
  int error = change_from(NONE, EALREADY);
  if (error != 0) return error;
  hak_lifecycle_accompany(&companion);
  hak_sys_thread_before_unload(end_before_unload);
  period = period_ns;
  hak_store_relaxed(&to_end, 0);
  hak_store_relaxed(&worker, NULL);
  hak_gate_recount(&work, 0); /* a thread lost in a fork may have been inside */
  hak_gate_open(&work);
  error = hak_sys_thread_begin(&thread, "hakmem", run);
  end_change(error == 0 ? RUNNING : NONE);
  return error;
}

int hak_maintenance_end(void) {
  if (phase_now(hak_load_relaxed(&state)) == RUNNING && is_worker()) return EDEADLK;
  int error = change_from(RUNNING, EINVAL);
  if (error != 0) return error;
  hak_store_relaxed(&to_end, 1);
  hak_sys_wake(&to_end);
  hak_sys_thread_join(thread);
  end_change(NONE);
  return 0;
}
