/* heap_thread.c - what a slow path does beside its own work: what is due and nothing
 * else, and what the threads without a state share. What it calls is counted here. */
#include "support.h"

#include "base/report.h"
#include "heap/give_up.h"
#include "heap/hole_sweep.h"
#include "heap/thread.h"
#include "heap/thread_state.h"
#include "heap/threads.h"
#include "superslab/retention.h"

static bool g_time, g_sweep;
static int g_gave_up, g_trimmed, g_swept, g_flushed;

bool __wrap_hak_retention_is_time(const hak_shared_pool_t *pool);
bool __wrap_hak_retention_is_time(const hak_shared_pool_t *pool) {
  (void)pool;
  return g_time;
}
bool __wrap_hak_hole_sweep_is_time(void);
bool __wrap_hak_hole_sweep_is_time(void) { return g_sweep; }
bool __wrap_hak_hole_sweep_is_news(const hak_thread_t *me);
bool __wrap_hak_hole_sweep_is_news(const hak_thread_t *me) {
  (void)me;
  return false;
}
void __wrap_hak_give_up_some(hak_thread_t *me);
void __wrap_hak_give_up_some(hak_thread_t *me) {
  CHECK_EQ(hak_load_relaxed(&me->busy), 1);
  g_gave_up++;
}
void __wrap_hak_retention_trim_slow(const hak_shared_pool_t *pool);
void __wrap_hak_retention_trim_slow(const hak_shared_pool_t *pool) {
  (void)pool;
  g_trimmed++;
}
void __wrap_hak_hole_sweep_step(hak_thread_t *me);
void __wrap_hak_hole_sweep_step(hak_thread_t *me) {
  CHECK_EQ(hak_load_relaxed(&me->busy), 1);
  g_swept++;
}
void __wrap_hak_give_up_all(hak_thread_t *me);
void __real_hak_give_up_all(hak_thread_t *me);
void __wrap_hak_give_up_all(hak_thread_t *me) {
  g_flushed += me == hak_threads_shared();
  __real_hak_give_up_all(me);
}

/* Each of the three alone, and all of them at once. */
static void trim__does_what_is_due_and_nothing_else(void **state) {
  (void)state;
  CHECK_EQ(hak_thread_init(), 0);
  hak_thread_t *me = hak_thread_self;
  hak_shared_pool_t *pool = &me->store->pool;
  for (unsigned due = 0; due < 8; due++) {
    uint32_t before = me->to_empty, owed = me->turns.owed;
    me->to_empty = due & 1;
    me->turns.owed = 0;
    g_time = (due & 2) != 0;
    g_sweep = (due & 4) != 0;
    g_gave_up = g_trimmed = g_swept = 0;
    hak_thread_trim_slow(pool);
    me->to_empty = before;
    me->turns.owed = owed;
    CHECK_EQ(g_gave_up, (due & 1) != 0);
    CHECK_EQ(g_trimmed, (due & 2) != 0);
    CHECK_EQ(g_swept, (due & 4) != 0);
    CHECK_EQ(hak_load_relaxed(&me->busy), 0);
  }
}

/* Whoever is using the shared state, this thread or another one, has it for himself. */
static void shared_state__is_flushed_unless_somebody_uses_it(void **state) {
  (void)state;
  CHECK_EQ(hak_thread_init(), 0);
  g_flushed = 0;
  (void)hak_threads_lease_shared();
  hak_thread_flush_shared(NULL, "test");
  hak_threads_unlease_shared();
  CHECK_EQ(g_flushed, 0);
  hak_thread_flush_shared(NULL, "test");
  CHECK_EQ(g_flushed, 1);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN(T(trim__does_what_is_due_and_nothing_else),
          T(shared_state__is_flushed_unless_somebody_uses_it))
