/* api_maintenance.c - giving back by the clock: what hak_collect calls due, what
 * hak_purge_due says of it, and the library's own thread, with forks and shutdowns. Each
 * case runs in a child of its own. */
#include "child.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  BLOCKS = 20000,
  SIZE = 1000,
  MANY_MS = 3600000
};
static void *g_blocks[BLOCKS];

static void take(hak_heap_t *heap) {
  for (size_t i = 0; i < BLOCKS; i++) {
    g_blocks[i] = hak_heap_alloc(heap, SIZE);
    CHECK(g_blocks[i] != NULL);
    memset(g_blocks[i], 1, SIZE);
  }
}

/* All but one in `stay`. */
static void give(size_t stay) {
  for (size_t i = 0; i < BLOCKS; i++) {
    if (i % stay != 0) hak_free(g_blocks[i]);
  }
}

/* Memory stays for so long, but for what the test gives back itself. */
static void begin(int64_t decay_ms) {
  test_set(HAK_OPTION_PURGE_MODE, 0);
  test_set(HAK_OPTION_PURGE_SURPLUS, 0);
  test_set(HAK_OPTION_PURGE_DECAY_MS, decay_ms);
  test_set(HAK_OPTION_RETAIN_BYTES, (int64_t)MIB);
  test_set(HAK_OPTION_PURGE_HOLES, 0);
}

/* Lies idle in a heap that nobody uses any more; the bytes. None of it is due before they
 * are known, however slow the machine is. */
static uint64_t make_idle(void) {
  int64_t decay_ms = hak_option_get(HAK_OPTION_PURGE_DECAY_MS);
  test_set(HAK_OPTION_PURGE_DECAY_MS, 86400000);
  hak_heap_t *quiet = hak_heap_create(NULL);
  CHECK(quiet != NULL);
  take(quiet);
  give(1000);
  hak_thread_idle();
  uint64_t idle = test_stats().retained_bytes;
  CHECK_MSG(idle > 8 * MIB, "%llu", (unsigned long long)idle);
  test_set(HAK_OPTION_PURGE_DECAY_MS, decay_ms);
  return idle;
}

/* Until no more than that lies idle; false after ten seconds. */
static bool falls_to(uint64_t bytes) {
  for (int i = 0; i < 1000; i++) {
    if (test_stats().retained_bytes <= bytes) return true;
    usleep(10000);
  }
  return false;
}

/* ---- hak_collect and what is due --------------------------------------------- */

TEST_IN_CHILD(collect__leaves_what_is_young_unless_told_all, 30) {
  begin(MANY_MS);
  uint64_t idle = make_idle();
  CHECK_EQ(hak_collect(NULL, SIZE_MAX, 0), 0);
  CHECK_EQ(test_stats().retained_bytes, idle);
  CHECK(hak_purge_due() > MANY_MS / 2);
  CHECK_EQ(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL), idle);
  CHECK_EQ(test_stats().retained_bytes, 0);
  CHECK_EQ(hak_purge_due(), -1);
}

/* A program that calls when something is due ends up without what its bins grew by. */
TEST_IN_CHILD(due__is_what_grown_bins_keep, 30) {
  enum {
    COUNT = 256
  };
  static void *blocks[COUNT];
  begin(50);
  test_set(HAK_OPTION_LEAN_MS, 0);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < COUNT; i++) CHECK((blocks[i] = hak_alloc(64 * KIB)) != NULL);
    for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
  }
  CHECK(test_stats().cached_bytes >= MIB);
  for (int ms; (ms = hak_purge_due()) >= 0;) {
    usleep((unsigned)ms * 1000);
    (void)hak_collect(NULL, SIZE_MAX, 0);
  }
  CHECK_EQ(test_stats().cached_bytes, 0);
}

static void *collect_old(void *ctx) {
  (void)ctx;
  CHECK(hak_collect(NULL, SIZE_MAX, 0) > 0);
  return NULL;
}

TEST_IN_CHILD(collect__of_any_thread_takes_what_is_old_in_a_quiet_heap, 30) {
  begin(50);
  make_idle();
  usleep(120000);
  CHECK_EQ(hak_purge_due(), 0);
  test_thread_run(collect_old, NULL);
  uint64_t left = test_stats().retained_bytes;
  CHECK_MSG(left <= MIB + 64 * KIB, "%llu", (unsigned long long)left);
  CHECK_EQ(hak_purge_due(), -1);
}

/* What a frame frees and the next one needs stays, bins and all. */
TEST_IN_CHILD(collect__once_a_frame_costs_no_call_to_the_system, 60) {
  test_set(HAK_OPTION_PURGE_DECAY_MS, MANY_MS);
  /* In a hardened build it is chance which blocks wait, so one frame in twenty leaves
   * more slabs free than any frame before, and what is more than that goes. */
  test_set(HAK_OPTION_QUARANTINE_BYTES, 0);
  uint64_t purges = 0;
  for (int frame = 0; frame < 40; frame++) {
    take(NULL);
    give(SIZE_MAX);
    hak_free(g_blocks[0]);
    (void)hak_collect(NULL, 16 * MIB, 0);
    if (frame == 20) purges = test_stats().os_purge;
  }
  CHECK_EQ(test_stats().os_purge, purges);
}

TEST_IN_CHILD(idle__gives_back_what_is_due, 30) {
  test_set(HAK_OPTION_PURGE_DECAY_MS, MANY_MS);
  take(NULL);
  give(SIZE_MAX);
  hak_free(g_blocks[0]);
  hak_thread_idle();
  hak_stats_t stats = test_stats();
  /* Beyond what is in use, and a little. */
  CHECK_MSG(stats.retained_bytes <= stats.committed_bytes / 2 + MIB, "%llu of %llu",
            (unsigned long long)stats.retained_bytes,
            (unsigned long long)stats.committed_bytes);
}

/* ---- The thread ---------------------------------------------------------------- */

TEST_IN_CHILD(maintenance__gives_back_while_all_threads_sleep, 30) {
  begin(50);
  make_idle();
  CHECK_EQ(hak_maintenance_start(20), 0);
  CHECK_EQ(hak_maintenance_start(20), EALREADY);
  CHECK(falls_to(MIB + 64 * KIB));
  CHECK_EQ(test_stats().threads, 1);
  CHECK_EQ(hak_maintenance_stop(), 0);
  CHECK_EQ(hak_maintenance_stop(), EINVAL);
  CHECK_EQ(hak_check(NULL), 0);
}

static uint64_t cached(hak_heap_t *heap) {
  hak_stats_t stats = HAK_STATS_INIT;
  CHECK_EQ(hak_stats_get(heap, &stats), 0);
  return stats.cached_bytes;
}

/* What a thread caches of a limited heap is a sixteenth of the limit at most. What lies
 * in depots beside that is nobody's. */
TEST_IN_CHILD(maintenance__sends_home_what_nobody_takes_out_of_depots, 60) {
  enum {
    FRAMES = 20,
    FRAME = 2000 /* blocks, twice the quota */
  };
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.hard_limit = 16 * MIB;
  uint64_t quota = config.hard_limit / 16;
  test_set(HAK_OPTION_PURGE_DECAY_MS, MANY_MS);
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  for (int frame = 0; frame < FRAMES; frame++) {
    for (size_t i = 0; i < FRAME; i++) g_blocks[i] = hak_heap_alloc(heap, SIZE);
    for (size_t i = 0; i < FRAME; i++) hak_free(g_blocks[i]);
  }
  CHECK_MSG(cached(heap) > quota, "%llu", (unsigned long long)cached(heap));
  test_set(HAK_OPTION_PURGE_DECAY_MS, 20);
  CHECK_EQ(hak_maintenance_start(1), 0);
  for (int i = 0; i < 2000 && cached(heap) > quota; i++) usleep(10000);
  CHECK_MSG(cached(heap) <= quota, "%llu", (unsigned long long)cached(heap));
}

TEST_IN_CHILD(maintenance__arguments_are_checked, 30) {
  CHECK_EQ(hak_maintenance_start(0), EINVAL);
  CHECK_EQ(hak_maintenance_start(86400001u), EINVAL);
  CHECK_EQ(hak_maintenance_stop(), EINVAL);
}

TEST_IN_CHILD(maintenance__ends_with_the_library_and_starts_with_it_again, 60) {
  for (int round = 0; round < 20; round++) {
    begin(1);
    make_idle();
    CHECK_EQ(hak_maintenance_start(1), 0);
    usleep((unsigned)round * 300);
    CHECK_EQ(hak_shutdown(0), 0);
    CHECK_EQ(hak_maintenance_stop(), EINVAL);
  }
}

TEST_IN_CHILD(maintenance__child_of_a_fork_has_none_and_may_start_its_own, 60) {
  begin(50);
  CHECK_EQ(hak_maintenance_start(1), 0);
  for (int round = 0; round < 30; round++) {
    uint64_t idle = round % 10 == 0 ? make_idle() : 0;
    pid_t pid = test_fork();
    if (pid == 0) {
      CHECK_EQ(hak_maintenance_stop(), EINVAL);
      if (idle == 0) make_idle();
      /* ThreadSanitizer allows no new thread in the child of a fork beside threads. */
      if (!TEST_TSAN) {
        CHECK_EQ(hak_maintenance_start(10), 0);
        CHECK(falls_to(MIB + 64 * KIB));
      }
      CHECK_EQ(hak_check(NULL), 0);
      CHECK_EQ(hak_shutdown(0), 0);
      _exit(0);
    }
    test_fork_end(pid);
  }
  CHECK_EQ(hak_maintenance_stop(), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Idle memory that a heap is to keep is nothing that a loop should call again for. */
TEST_IN_CHILD(due__is_not_now_again_where_nothing_may_go, 60) {
  hak_heap_config_t config = {
      .struct_size = sizeof config, .prefault = 16 * MIB, .flags = HAK_HEAP_NO_PURGE};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL && test_stats().retained_bytes >= 16 * MIB);
  while (hak_collect(NULL, SIZE_MAX, 0) != 0) {}
  CHECK(hak_purge_due() != 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* --- hooks that refuse -------------------------------------------------------------- */

static int g_purges;
static bool g_refuses;
static int purge_or_refuse(void *ctx, void *ptr, size_t size) {
  g_purges++;
  return g_refuses ? -1 : hak_os_default()->purge(ctx, ptr, size);
}

/* A heap with hooks of its own that refuse has so much idle. */
static hak_heap_t *make_refused(void) {
  static hak_os_t os;
  os = *hak_os_default();
  os.purge = purge_or_refuse;
  g_refuses = true;
  hak_heap_config_t config = {.struct_size = sizeof config, .os = &os};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  take(heap);
  give(1000);
  hak_thread_idle();
  CHECK(test_stats().retained_bytes > 8 * MIB);
  return heap;
}

/* How often a program that sleeps until something is due wakes, of so many ms. */
static int wakes(int ms) {
  int times = 0;
  for (int due; ms > 0; ms -= due, times++) {
    due = hak_purge_due();
    CHECK(due >= 0 && times < 1000);
    if (due > ms) due = ms;
    usleep((unsigned)due * 1000);
    hak_collect(NULL, SIZE_MAX, 0);
  }
  return times;
}

TEST_IN_CHILD(due__is_later_each_time_that_hooks_refuse, 60) {
  enum {
    WAKES_MOST = 12 /* 16, 32 ... ms; some wakes are for holes, and other heaps */
  };
  test_set(HAK_OPTION_PURGE_DECAY_MS, 20);
  hak_heap_t *heap = make_refused();
  int times = wakes(3000);
  CHECK_MSG(times <= WAKES_MOST, "%d", times);
  /* A collection asks at once, and what goes is over. */
  int before = g_purges;
  hak_collect(NULL, SIZE_MAX, 0);
  CHECK(g_purges > before);
  g_refuses = false;
  CHECK(hak_collect(NULL, SIZE_MAX, 0) > 4 * MIB);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(due__comes_in_time_for_what_lies_idle_beside_refused_memory, 60) {
  enum {
    LATE_MS = 200
  };
  test_set(HAK_OPTION_PURGE_DECAY_MS, 20);
  hak_heap_t *heap = make_refused();
  wakes(1300);
  CHECK(hak_purge_due() > LATE_MS);
  size_t refused = test_stats().retained_bytes;
  make_idle();
  CHECK(hak_purge_due() < LATE_MS);
  wakes(LATE_MS);
  CHECK_MSG(test_stats().retained_bytes <= refused + 2 * MIB, "%llu for %zu",
            (unsigned long long)test_stats().retained_bytes, refused);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Free SuperSlabs that hooks refuse are not in the way of others. */
TEST_IN_CHILD(collect__gives_back_what_is_younger_than_refused_memory, 60) {
  test_set(HAK_OPTION_PURGE_DECAY_MS, 20);
  hak_heap_t *heap = make_refused();
  for (size_t i = 0; i < BLOCKS; i += 1000) hak_free(g_blocks[i]);
  hak_thread_idle();
  size_t refused = test_stats().retained_bytes;
  hak_heap_t *other = hak_heap_create(NULL);
  take(other);
  give(SIZE_MAX);
  hak_free(g_blocks[0]);
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_MSG(test_stats().retained_bytes <= refused + MIB, "%llu for %zu",
            (unsigned long long)test_stats().retained_bytes, refused);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_destroy(other), 0);
}

/* The loop of docs/IDLE.md: until nothing is due. Returns what was given back. */
static size_t collect_what_is_due(void) {
  enum {
    IN_VAIN_MOST = 200 /* calls in a row that find nothing although something is due */
  };
  size_t given = 0;
  for (int due, in_vain = 0; (due = hak_purge_due()) >= 0;) {
    if (due > 0) usleep((unsigned)due * 1000);
    size_t more = hak_collect(NULL, SIZE_MAX, 0);
    given += more;
    in_vain = due == 0 && more == 0 ? in_vain + 1 : 0;
    CHECK_MSG(in_vain < IN_VAIN_MOST, "%zu bytes given back", given);
  }
  return given;
}

/* Each call looks at little, or there are more heaps than one call looks at: what lies in
 * holes has its turn all the same. */
TEST_IN_CHILD(due__is_reached_however_little_a_call_looks_at, 60) {
  enum {
    HEAPS = 200
  };
  for (int round = 0; round < 2; round++) {
    test_set(HAK_OPTION_PURGE_DECAY_MS, 30);
    test_set(HAK_OPTION_COLLECT_SLABS, round == 0 ? 32 : 16384);
    hak_heap_t *heaps[HEAPS];
    for (size_t i = 0; i < HEAPS; i++) {
      heaps[i] = hak_heap_create(NULL);
      CHECK(hak_heap_alloc(heaps[i], 100) != NULL);
    }
    take(heaps[0]);
    for (size_t i = 0; i < BLOCKS; i++) {
      if (i % 50 != 0) hak_free(g_blocks[i]);
    }
    hak_thread_idle();
    collect_what_is_due();
    for (size_t i = 0; i < HEAPS; i++) CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
  }
}

/* What the ended thread had on its stack is no leak. */
static void end_at_exit(void) { _exit(0); }

/* The process ends with its last thread, though the library's goes on. */
TEST_IN_CHILD(maintenance__keeps_no_process_alive_whose_threads_have_ended, 60) {
  if (TEST_TSAN) return; /* it has a thread of its own, which counts */
  pid_t pid = test_fork();
  if (pid == 0) {
    int error = hak_maintenance_start(5);
    if (error != 0 || atexit(end_at_exit) != 0) _exit(1);
    pthread_exit(NULL);
  }
  test_fork_end(pid);
}

static void *start_and_stop(void *ctx) {
  (void)ctx;
  for (int i = 0; i < 200; i++) {
    int error = hak_maintenance_start(1);
    CHECK(error == 0 || error == EALREADY || error == EBUSY);
    error = hak_maintenance_stop();
    CHECK(error == 0 || error == EINVAL || error == EBUSY);
  }
  return NULL;
}

TEST_IN_CHILD(maintenance__any_threads_start_and_stop_it, 60) {
  begin(1);
  make_idle();
  pthread_t threads[4];
  test_threads_begin(threads, TEST_COUNT(threads), start_and_stop, NULL);
  test_threads_end(threads, TEST_COUNT(threads));
  CHECK_EQ(hak_check(NULL), 0);
}

/* Some of these find the library shut down, some that others are at it. */
static void *shut_down_and_start(void *ctx) {
  (void)ctx;
  for (int i = 0; i < 100; i++) {
    int error = hak_shutdown(0);
    CHECK(error == 0 || error == EINVAL || error == EBUSY);
    error = hak_maintenance_start(1);
    CHECK(error == 0 || error == EALREADY || error == EBUSY || error == ENOMEM);
    hak_free(hak_alloc(100));
    hak_thread_exit();
  }
  return NULL;
}

TEST_IN_CHILD(maintenance__works_on_after_shutdowns_that_met_its_start, 120) {
  pthread_t threads[3];
  begin(1);
  hak_thread_exit();
  test_threads_begin(threads, TEST_COUNT(threads), shut_down_and_start, NULL);
  test_threads_end(threads, TEST_COUNT(threads));
  begin(MANY_MS);
  int error = hak_maintenance_start(1);
  CHECK(error == 0 || error == EALREADY);
  make_idle();
  test_set(HAK_OPTION_PURGE_DECAY_MS, 50);
  CHECK(falls_to(MIB + 64 * KIB));
  CHECK_EQ(hak_check(NULL), 0);
}

/* ---- A quiet heap that ends while others give its pages back ------------------------
 */

static void *work_on(void *ctx) {
  for (int i = 0; i < 300; i++) {
    void *block = hak_heap_alloc(ctx, 100000);
    CHECK(block != NULL);
    hak_free(block);
    (void)hak_collect(NULL, SIZE_MAX, 0);
  }
  return NULL;
}

TEST_IN_CHILD(heap__may_end_while_any_thread_gives_its_pages_back, 60) {
  test_set(HAK_OPTION_PURGE_DECAY_MS, 0);
  test_set(HAK_OPTION_RETAIN_BYTES, 0);
  test_set(HAK_OPTION_RETAIN_SHARE, 0);
  CHECK_EQ(hak_maintenance_start(1), 0);
  pthread_t threads[3];
  test_threads_begin(threads, TEST_COUNT(threads), work_on, NULL);
  for (int i = 0; i < 60; i++) {
    hak_heap_t *heap = hak_heap_create(NULL);
    CHECK(heap != NULL);
    take(heap);
    give(100);
    if (i % 3 == 0) CHECK_EQ(hak_heap_reset(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  test_threads_end(threads, TEST_COUNT(threads));
  CHECK_EQ(hak_maintenance_stop(), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN_FRESH(T(collect__leaves_what_is_young_unless_told_all),
                T(due__is_what_grown_bins_keep),
                T(collect__of_any_thread_takes_what_is_old_in_a_quiet_heap),
                T(collect__once_a_frame_costs_no_call_to_the_system),
                T(idle__gives_back_what_is_due),
                T(due__is_not_now_again_where_nothing_may_go),
                T(due__is_later_each_time_that_hooks_refuse),
                T(due__comes_in_time_for_what_lies_idle_beside_refused_memory),
                T(collect__gives_back_what_is_younger_than_refused_memory),
                T(due__is_reached_however_little_a_call_looks_at),
                T(maintenance__keeps_no_process_alive_whose_threads_have_ended),
                T(maintenance__gives_back_while_all_threads_sleep),
                T(maintenance__sends_home_what_nobody_takes_out_of_depots),
                T(maintenance__arguments_are_checked),
                T(maintenance__ends_with_the_library_and_starts_with_it_again),
                T(maintenance__child_of_a_fork_has_none_and_may_start_its_own),
                T(maintenance__any_threads_start_and_stop_it),
                T(maintenance__works_on_after_shutdowns_that_met_its_start),
                T(heap__may_end_while_any_thread_gives_its_pages_back))
