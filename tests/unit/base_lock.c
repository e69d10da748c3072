/* base_lock.c - the lock of slow paths, and the lease: one holder at a time, whose writes
 * the next one sees, a count of those that had to wait, and sleep without an alarm. */
#include "child.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
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
  hak_lock_init(&g_lock, HAK_RANK_POOL);
  g_rounds = test_scale(50000);
  for (int i = 0; i < THREADS; i++) {
    void *tries = some_try && i % 2 == 0 ? &g_lock : NULL;
    CHECK_EQ(pthread_create(&threads[i], NULL, worker_main, tries), 0);
  }
  test_threads_end(threads, THREADS);
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
  hak_lock_init(&g_lock, HAK_RANK_POOL);
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
  hak_lock_init(&g_lock, HAK_RANK_POOL);
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

/* --- sleep ------------------------------------------------------------------------ */

enum {
  SLEEPERS = 8
};

static hak_lease_t g_lease;
static hak_atomic_u32_t g_through;

typedef struct sleeper {
  pthread_t thread;
  bool lease;   /* or the lock */
  long wakes;   /* times it went to sleep and was woken */
  double spent; /* seconds of a processor */
} sleeper_t;

static double seconds_of(struct timeval time) {
  return (double)time.tv_sec + 1e-6 * (double)time.tv_usec;
}

static void *sleeper_main(void *argument) {
  sleeper_t *me = argument;
  struct rusage usage;
  errno = TEST_ERRNO;
  if (me->lease) {
    hak_lease_take(&g_lease);
    hak_add_relaxed(&g_through, 1);
    hak_lease_give(&g_lease);
  } else {
    hak_lock_acquire(&g_lock);
    hak_add_relaxed(&g_through, 1);
    hak_lock_release(&g_lock);
  }
  CHECK_EQ(errno, TEST_ERRNO);
  getrusage(RUSAGE_THREAD, &usage);
  me->wakes = usage.ru_nvcsw;
  me->spent = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
  return NULL;
}

/* While one thread has it for a while, all others sleep; then each of them has it, woken
 * a few times at most. A waiter that looks now and then would be so hundreds of times. */
static void sleep_and_go_through(bool lease) {
  sleeper_t sleepers[SLEEPERS];
  hak_lock_init(&g_lock, HAK_RANK_POOL);
  hak_lease_reset(&g_lease);
  hak_store_relaxed(&g_through, 0);
  uint64_t before = hak_load_relaxed(&hak_lock_contended);
  if (lease) {
    hak_lease_take(&g_lease);
  } else {
    hak_lock_acquire(&g_lock);
  }
  for (int i = 0; i < SLEEPERS; i++) {
    sleepers[i] = (sleeper_t){.lease = lease};
    CHECK_EQ(pthread_create(&sleepers[i].thread, NULL, sleeper_main, &sleepers[i]), 0);
  }
  double end = test_seconds() + 10;
  while (hak_load_relaxed(&hak_lock_contended) < before + SLEEPERS &&
         test_seconds() < end) {
    usleep(100);
  }
  usleep(100000);
  CHECK_EQ(hak_load_relaxed(&g_through), 0);
  CHECK_EQ(hak_load_relaxed(&hak_lock_contended), before + SLEEPERS);
  if (lease) {
    CHECK(hak_lease_is_out(&g_lease) && !hak_lease_try(&g_lease));
    hak_lease_give(&g_lease);
  } else {
    hak_lock_release(&g_lock);
  }
  for (int i = 0; i < SLEEPERS; i++) pthread_join(sleepers[i].thread, NULL);
  CHECK_EQ(hak_load_relaxed(&g_through), SLEEPERS);
  for (int i = 0; i < SLEEPERS; i++) {
    CHECK(sleepers[i].wakes <= 4 * SLEEPERS);
    CHECK(sleepers[i].spent < 0.05);
  }
  CHECK(!hak_lease_is_out(&g_lease) && hak_load_relaxed(&g_lock.held) == HAK_WORD_FREE);
}

static void waiters__of_a_lock_sleep_until_they_are_woken(void **state) {
  (void)state;
  sleep_and_go_through(false);
}

static void waiters__of_a_lease_sleep_until_they_are_woken(void **state) {
  (void)state;
  sleep_and_go_through(true);
}

/* The child of a fork gives up what was taken before, with waiters that it has not. */
static int child_main(void *ctx) {
  (void)ctx;
  hak_lease_reset(&g_lease);
  hak_lock_release_unranked(&g_lock);
  if (!hak_lease_try(&g_lease) || !hak_lock_try(&g_lock)) return 1;
  hak_lease_give(&g_lease);
  hak_lock_release(&g_lock);
  return hak_lease_is_out(&g_lease) || hak_load_relaxed(&g_lock.held) != HAK_WORD_FREE;
}

static void fork__leaves_locks_and_leases_without_waiters(void **state) {
  (void)state;
  sleeper_t on_lock = {.lease = false}, on_lease = {.lease = true};
  hak_lock_init(&g_lock, HAK_RANK_POOL);
  uint64_t before = hak_load_relaxed(&hak_lock_contended);
  hak_lock_acquire_unranked(&g_lock);
  hak_lease_take(&g_lease);
  CHECK_EQ(pthread_create(&on_lock.thread, NULL, sleeper_main, &on_lock), 0);
  CHECK_EQ(pthread_create(&on_lease.thread, NULL, sleeper_main, &on_lease), 0);
  double end = test_seconds() + 10;
  while (hak_load_relaxed(&hak_lock_contended) < before + 2 && test_seconds() < end) {
    usleep(100);
  }
  usleep(10000);
  test_child_must_succeed(child_main, NULL, 20);
  hak_lease_give(&g_lease);
  hak_lock_release_unranked(&g_lock);
  pthread_join(on_lock.thread, NULL);
  pthread_join(on_lease.thread, NULL);
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
  hak_lock_init(&g_lock, HAK_RANK_POOL);
  hak_lock_acquire(&g_lock);
  CHECK_EQ(pthread_create(&thread, NULL, trier_main, &got), 0);
  pthread_join(thread, NULL);
  CHECK(!got);
  hak_lock_release(&g_lock);
}

/* Two locks, the lower rank first; both orders of release are right. */
static void ranks__may_be_taken_upwards(void **state) {
  (void)state;
  hak_lock_t low = HAK_LOCK_INIT(HAK_RANK_PARTIAL_LIST),
             high = HAK_LOCK_INIT(HAK_RANK_POOL);
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
  hak_rank_t down[2] = {HAK_RANK_POOL, HAK_RANK_PARTIAL_LIST};
  hak_rank_t twice[2] = {HAK_RANK_PARTIAL_LIST, HAK_RANK_PARTIAL_LIST};
  test_child_must_abort(ranks_child, down, "held_ranks", NULL);
  test_child_must_abort(ranks_child, twice, "held_ranks", NULL);
}

/* The lock's own thread may ask; so may not who lets it go, who has another lock of its
 * rank, nor the thread of a fork. */
static int held_child(void *ctx) {
  int way = *(const int *)ctx;
  hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_POOL), other = HAK_LOCK_INIT(HAK_RANK_POOL);
  hak_lock_acquire(&lock);
  hak_lock_assert_held(&lock);
  hak_lock_release(&lock);
  if (way == 1) hak_lock_acquire(&other);
  if (way == 2) hak_lock_acquire_unranked(&lock);
  if (way < 3) hak_lock_assert_held(&lock);
  return 0;
}

static void held__a_lock_that_the_thread_does_not_have_stops_the_program(void **state) {
  (void)state;
  for (int way = 0; way < 3; way++) {
    test_child_must_abort(held_child, &way, "held_locks", NULL);
  }
  int none = 3;
  test_child_must_succeed(held_child, &none, 20);
}
#else
static void ranks__taken_downwards_or_twice_stop_the_program(void **state) {
  (void)state;
  skip(); /* only where full asserts are on */
}
static void held__a_lock_that_the_thread_does_not_have_stops_the_program(void **state) {
  (void)state;
  skip(); /* only where full asserts are on */
}
#endif

TEST_MAIN_FRESH(T(lock__lets_one_thread_in_at_a_time),
                T(lock__tried_and_acquired_lets_one_thread_in_at_a_time),
                T(lock__that_is_free_is_taken_without_a_count),
                T(lock__that_is_held_is_waited_for_and_the_wait_is_counted_once),
                T(waiters__of_a_lock_sleep_until_they_are_woken),
                T(waiters__of_a_lease_sleep_until_they_are_woken),
                T(fork__leaves_locks_and_leases_without_waiters),
                T(try__fails_at_once_on_a_held_lock), T(ranks__may_be_taken_upwards),
                T(ranks__taken_downwards_or_twice_stop_the_program),
                T(held__a_lock_that_the_thread_does_not_have_stops_the_program))
