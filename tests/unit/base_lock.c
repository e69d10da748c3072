/* base_lock.c - the lock of slow paths: one holder at a time, whose writes the next
 * one sees, and a count of those that had to wait. */
#include "child.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/lock.h"

enum {
  THREADS = 4
};

static hak_lock_t g_lock;
static uint64_t g_plain[8]; /* under the lock, without atomics */
static hak_atomic_u32_t g_inside;
static size_t g_rounds;

static void *worker_main(void *argument) {
  bool tries = argument != NULL;
  for (size_t n = 0; n < g_rounds; n++) {
    if (tries) {
      while (!hak_lock_try(&g_lock)) hak_cpu_relax();
    } else {
      hak_lock_acquire(&g_lock);
    }
    CHECK_EQ(hak_add_relaxed(&g_inside, 1), 0);
    for (size_t i = 0; i < TEST_COUNT(g_plain); i++) g_plain[i]++;
    hak_sub_relaxed(&g_inside, 1);
    hak_lock_release(&g_lock);
  }
  return NULL;
}

static void run_workers(bool some_try) {
  pthread_t threads[THREADS];
  memset(g_plain, 0, sizeof g_plain);
  hak_lock_init(&g_lock, HAK_RANK_HEAP);
  g_rounds = test_scale(50000);
  for (int i = 0; i < THREADS; i++) {
    void *tries = some_try && i % 2 == 0 ? &g_lock : NULL;
    CHECK_EQ(pthread_create(&threads[i], NULL, worker_main, tries), 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (size_t i = 0; i < TEST_COUNT(g_plain); i++) {
    CHECK_EQ(g_plain[i], THREADS * g_rounds);
  }
  CHECK(hak_lock_try(&g_lock));
  hak_lock_release(&g_lock);
}

static void lock__lets_one_thread_in_at_a_time(void **state) {
  (void)state;
  run_workers(false);
}

static void lock__tried_and_acquired_lets_one_thread_in_at_a_time(void **state) {
  (void)state;
  run_workers(true);
}

static void lock__that_is_free_is_taken_without_a_count(void **state) {
  (void)state;
  hak_lock_init(&g_lock, HAK_RANK_HEAP);
  uint64_t before = hak_load_relaxed(&hak_lock_contended);
  for (int i = 0; i < 100; i++) {
    hak_lock_acquire(&g_lock);
    hak_lock_release(&g_lock);
  }
  CHECK_EQ(hak_load_relaxed(&hak_lock_contended), before);
}

static void *waiter_main(void *argument) {
  hak_atomic_u32_t *got = argument;
  hak_lock_acquire(&g_lock);
  hak_store_relaxed(got, 1);
  hak_lock_release(&g_lock);
  return NULL;
}

static void lock__that_is_held_is_waited_for_and_the_wait_is_counted_once(void **state) {
  (void)state;
  hak_lock_init(&g_lock, HAK_RANK_HEAP);
  uint64_t before = hak_load_relaxed(&hak_lock_contended);
  static hak_atomic_u32_t got;
  hak_store_relaxed(&got, 0);
  hak_lock_acquire(&g_lock);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, waiter_main, &got), 0);
  double end = test_seconds() + 10;
  while (hak_load_relaxed(&hak_lock_contended) == before && test_seconds() < end) {
    usleep(100);
  }
  CHECK_EQ(hak_load_relaxed(&hak_lock_contended), before + 1);
  usleep(5000); /* long enough to go through spins and yields to sleep */
  CHECK_EQ(hak_load_relaxed(&got), 0);
  hak_lock_release(&g_lock);
  pthread_join(thread, NULL);
  CHECK_EQ(hak_load_relaxed(&got), 1);
  CHECK_EQ(hak_load_relaxed(&hak_lock_contended), before + 1);
}

static void *trier_main(void *argument) {
  bool *got = argument;
  *got = hak_lock_try(&g_lock);
  return NULL;
}

static void try__fails_at_once_on_a_held_lock(void **state) {
  (void)state;
  bool got = true;
  pthread_t thread;
  hak_lock_init(&g_lock, HAK_RANK_HEAP);
  hak_lock_acquire(&g_lock);
  CHECK_EQ(pthread_create(&thread, NULL, trier_main, &got), 0);
  pthread_join(thread, NULL);
  CHECK(!got);
  hak_lock_release(&g_lock);
}

/* Two locks, the lower rank first; both orders of release are right. */
static void ranks__may_be_taken_upwards(void **state) {
  (void)state;
  hak_lock_t low = HAK_LOCK_INIT(HAK_RANK_SHELF), high = HAK_LOCK_INIT(HAK_RANK_HEAP);
  for (int i = 0; i < 2; i++) {
    hak_lock_acquire(&low);
    hak_lock_acquire(&high);
    hak_lock_release(i == 0 ? &high : &low);
    hak_lock_release(i == 0 ? &low : &high);
  }
}

#if HAK_ASSERTS >= 2
static int ranks_child(void *ctx) {
  const hak_rank_t *ranks = ctx;
  hak_lock_t first = HAK_LOCK_INIT(ranks[0]), second = HAK_LOCK_INIT(ranks[1]);
  hak_lock_acquire(&first);
  hak_lock_acquire(&second);
  return 0;
}

static void ranks__taken_downwards_or_twice_stop_the_program(void **state) {
  (void)state;
  hak_rank_t down[2] = {HAK_RANK_HEAP, HAK_RANK_SHELF};
  hak_rank_t twice[2] = {HAK_RANK_SHELF, HAK_RANK_SHELF};
  test_child_must_abort(ranks_child, down, "held_ranks", NULL);
  test_child_must_abort(ranks_child, twice, "held_ranks", NULL);
}
#else
static void ranks__taken_downwards_or_twice_stop_the_program(void **state) {
  (void)state;
  skip(); /* only where full asserts are on */
}
#endif

TEST_MAIN_FRESH(T(lock__lets_one_thread_in_at_a_time),
                T(lock__tried_and_acquired_lets_one_thread_in_at_a_time),
                T(lock__that_is_free_is_taken_without_a_count),
                T(lock__that_is_held_is_waited_for_and_the_wait_is_counted_once),
                T(try__fails_at_once_on_a_held_lock), T(ranks__may_be_taken_upwards),
                T(ranks__taken_downwards_or_twice_stop_the_program))
