/* api_lifecycle.c - hak_init, hak_shutdown and what comes after. Every case runs
 * in a child of a process that never used hakmem. */
#include "child.h"
#include "strict_os.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static test_os_t g_os;

static int init_child(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_init(test_config()), 0);
  CHECK_EQ(hak_init(test_config()), EALREADY);
  CHECK_EQ(hak_init(NULL), EALREADY);
  hak_free(hak_alloc(100));
  CHECK_EQ(hak_init(NULL), EALREADY);
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(hak_shutdown(0), EINVAL);
  CHECK_EQ(hak_init(test_config()), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  return 0;
}

static void init__is_possible_once_until_shutdown(void **state) {
  (void)state;
  test_child_must_succeed(init_child, NULL, 10);
}

static int late_init_child(void *ctx) {
  (void)ctx;
  void *block = hak_alloc(10);
  CHECK(block != NULL);
  CHECK_EQ(hak_init(NULL), EALREADY);
  hak_free(block);
  return 0;
}

static void init__after_the_first_allocation_is_too_late(void **state) {
  (void)state;
  test_child_must_succeed(late_init_child, NULL, 10);
}

static int shutdown_unused_child(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_shutdown(0), EINVAL);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), EINVAL);
  return 0;
}

static void shutdown__of_what_never_started_is_invalid(void **state) {
  (void)state;
  test_child_must_succeed(shutdown_unused_child, NULL, 10);
}

#define EXPECT_EINVAL(config)              \
  do {                                     \
    errno = TEST_ERRNO;                    \
    CHECK_EQ(hak_init(&(config)), EINVAL); \
    CHECK_EQ(errno, TEST_ERRNO);           \
  } while (0)

static int bad_config_child(void *ctx) {
  (void)ctx;
  test_os_open(&g_os, 0);
  const hak_config_t good = {
      .struct_size = sizeof good, .flags = HAK_INIT_NO_ENV, .os = &g_os.hooks};
  hak_config_t config = good;
  config.struct_size = 0;
  EXPECT_EINVAL(config);
  config.struct_size = 4;
  EXPECT_EINVAL(config);
  config = good;
  config.flags = 0x80000000u;
  EXPECT_EINVAL(config);

  hak_os_t os = g_os.hooks;
  config = good;
  config.os = &os;
  os.struct_size = 0;
  EXPECT_EINVAL(config);
  os = g_os.hooks;
  os.flags = 1;
  EXPECT_EINVAL(config);
  const size_t wrong_pages[] = {0, 1, 512, 2048, 4095, 5000, 12288, 131072, SIZE_MAX};
  for (size_t i = 0; i < TEST_COUNT(wrong_pages); i++) {
    os = g_os.hooks;
    os.page_size = wrong_pages[i];
    EXPECT_EINVAL(config);
  }
  os = g_os.hooks;
  os.granularity = 12345;
  EXPECT_EINVAL(config);
  os = g_os.hooks;
  os.reserve = NULL;
  EXPECT_EINVAL(config);
  os = g_os.hooks;
  os.release = NULL;
  EXPECT_EINVAL(config);
  os = g_os.hooks;
  os.commit = NULL;
  EXPECT_EINVAL(config);
  os = g_os.hooks;
  os.purge = NULL;
  EXPECT_EINVAL(config);
  os = g_os.hooks;
  os.now_ns = NULL;
  EXPECT_EINVAL(config);
  CHECK_EQ(test_os_calls(&g_os), 0);
  /* After all this the library starts. */
  CHECK_EQ(hak_init(&good), 0);
  hak_free(hak_alloc(1));
  return 0;
}

static void init__bad_configurations_are_invalid(void **state) {
  (void)state;
  test_child_must_succeed(bad_config_child, NULL, 10);
}

static void use_all_tiers(void) {
  static const size_t sizes[] = {16,     500,     3000,    30000,
                                 100000, 1 << 20, 5 << 20, 50 << 20};
  void *blocks[TEST_COUNT(sizes)];
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    blocks[i] = hak_alloc(sizes[i]);
    CHECK(blocks[i] != NULL);
    test_fill_sparse(blocks[i], sizes[i], i);
  }
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    CHECK(test_verify_sparse(blocks[i], sizes[i], i));
    if (i % 2 == 0) {
      hak_free(blocks[i]); /* the rest goes with the shutdown */
    }
  }
}

static int cycles_child(void *ctx) {
  (void)ctx;
  test_os_open(&g_os, 0);
  uint64_t calls = 0;
  for (int cycle = 0; cycle < 200; cycle++) {
    CHECK_EQ(test_os_init(&g_os), 0);
    use_all_tiers();
    CHECK_EQ(hak_shutdown(0), 0);
    CHECK_EQ(g_os.ranges, 0);
    CHECK_EQ(g_os.reserved_bytes, 0);
    CHECK_EQ(g_os.committed_bytes, 0);
    if (cycle == 1) {
      calls = test_os_calls(&g_os);
    }
  }
  /* Each cycle is like the first: nothing grows. */
  CHECK(test_os_calls(&g_os) <= calls * 101 + 200);
  test_os_close(&g_os);
  return 0;
}

static void shutdown__two_hundred_cycles_leave_no_mapping(void **state) {
  (void)state;
  test_child_must_succeed(cycles_child, NULL, 60);
}

static int lazy_restart_child(void *ctx) {
  (void)ctx;
  for (int cycle = 0; cycle < 20; cycle++) {
    use_all_tiers();
    CHECK(test_live_blocks() >= 1);
    CHECK_EQ(hak_shutdown(0), 0);
  }
  unsigned char *block = hak_alloc(100);
  CHECK(block != NULL);
  CHECK_EQ(test_live_blocks(), 1);
  hak_free(block);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void shutdown__the_next_allocation_starts_afresh(void **state) {
  (void)state;
  test_child_must_succeed(lazy_restart_child, NULL, 30);
}

static int free_after_shutdown_child(void *ctx) {
  size_t size = *(size_t *)ctx;
  CHECK_EQ(hak_init(test_config()), 0);
  void *block = hak_alloc(size);
  CHECK_EQ(hak_shutdown(0), 0);
  hak_free(block);
  return 0;
}

static void free__after_shutdown_is_named(void **state) {
  (void)state;
  size_t sizes[] = {16, 5000, 100000, 50 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    test_child_must_abort(free_after_shutdown_child, &sizes[i],
                          "hakmem: use after shutdown: address 0x",
                          ", in hak_free: ", NULL);
  }
}

static int queries_after_shutdown_child(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_init(test_config()), 0);
  void *block = hak_alloc(100);
  CHECK_EQ(hak_shutdown(0), 0);
  hak_block_t info = {.struct_size = sizeof info};
  CHECK_EQ(hak_ptr_info(block, &info), ENOENT);
  CHECK(hak_heap_of(block) == NULL);
  CHECK_EQ(hak_move_hint(block), 0);
  test_reports_t reports = {0};
  hak_set_error_handler(test_count_report, &reports);
  CHECK(hak_realloc(block, 50) == NULL);
  CHECK_EQ(reports.count, 1);
  CHECK_EQ(hak_usable_size(block), 0);
  CHECK_EQ(reports.count, 2);
  hak_free(NULL);
  CHECK_EQ(reports.count, 2);
  return 0;
}

static void queries__after_shutdown_find_nothing(void **state) {
  (void)state;
  test_child_must_succeed(queries_after_shutdown_child, NULL, 10);
}

/* ---- Other threads ---------------------------------------------------- */

typedef struct waiter {
  pthread_barrier_t ready, go;
  _Atomic(void *) block;
} waiter_t;

static void *attached_thread(void *argument) {
  waiter_t *w = argument;
  void *block = hak_alloc(100);
  hak_free(block);
  pthread_barrier_wait(&w->ready);
  pthread_barrier_wait(&w->go);
  /* After a forced shutdown: as if nothing had been. */
  block = hak_alloc(100);
  test_fill(block, 100, 1);
  CHECK(test_verify(block, 100, 1));
  hak_free(block);
  return NULL;
}

static int busy_child(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_init(test_config()), 0);
  waiter_t w;
  pthread_barrier_init(&w.ready, NULL, 2);
  pthread_barrier_init(&w.go, NULL, 2);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, attached_thread, &w), 0);
  pthread_barrier_wait(&w.ready);
  void *block = hak_alloc(50);
  test_fill(block, 50, 2);
  CHECK_EQ(hak_shutdown(0), EBUSY);
  /* Refused means that nothing has changed. */
  CHECK(test_verify(block, 50, 2));
  hak_free(block);
  CHECK_EQ(hak_check(NULL), 0);
  pthread_barrier_wait(&w.go);
  pthread_join(thread, NULL);
  CHECK_EQ(hak_shutdown(0), 0);
  return 0;
}

static void shutdown__is_refused_while_others_are_attached(void **state) {
  (void)state;
  test_child_must_succeed(busy_child, NULL, 10);
}

static int force_child(void *ctx) {
  (void)ctx;
  test_os_open(&g_os, 0);
  for (int cycle = 0; cycle < 20; cycle++) {
    CHECK_EQ(test_os_init(&g_os), 0);
    waiter_t w[4];
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
      pthread_barrier_init(&w[i].ready, NULL, 2);
      pthread_barrier_init(&w[i].go, NULL, 2);
      CHECK_EQ(pthread_create(&threads[i], NULL, attached_thread, &w[i]), 0);
      pthread_barrier_wait(&w[i].ready);
    }
    CHECK_EQ(hak_shutdown(0), EBUSY);
    CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
    CHECK_EQ(g_os.ranges, 0);
    CHECK_EQ(test_os_init(&g_os), 0);
    for (size_t i = 0; i < 4; i++) {
      pthread_barrier_wait(&w[i].go);
      pthread_join(threads[i], NULL);
    }
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(test_live_blocks(), 0);
    CHECK_EQ(hak_shutdown(0), 0);
    CHECK_EQ(g_os.ranges, 0);
  }
  return 0;
}

static void shutdown__forced_lets_other_threads_attach_anew(void **state) {
  (void)state;
  test_child_must_succeed(force_child, NULL, 30);
}

static void *leave_thread(void *argument) {
  waiter_t *w = argument;
  hak_free(hak_alloc(64));
  hak_thread_exit();
  pthread_barrier_wait(&w->ready);
  pthread_barrier_wait(&w->go);
  return NULL;
}

static int left_child(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_init(test_config()), 0);
  waiter_t w;
  pthread_barrier_init(&w.ready, NULL, 2);
  pthread_barrier_init(&w.go, NULL, 2);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, leave_thread, &w), 0);
  pthread_barrier_wait(&w.ready);
  CHECK_EQ(hak_shutdown(0), 0);
  pthread_barrier_wait(&w.go);
  pthread_join(thread, NULL);
  return 0;
}

static void shutdown__threads_that_left_do_not_count(void **state) {
  (void)state;
  test_child_must_succeed(left_child, NULL, 10);
}

static int unknown_flags_child(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_init(test_config()), 0);
  CHECK_EQ(hak_shutdown(0x80u), EINVAL);
  hak_free(hak_alloc(1));
  CHECK_EQ(hak_shutdown(0), 0);
  return 0;
}

static void shutdown__unknown_flags_are_invalid(void **state) {
  (void)state;
  test_child_must_succeed(unknown_flags_child, NULL, 10);
}

static int version_child(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_version(), HAK_VERSION);
  CHECK(hak_os_default() != NULL);
  CHECK_EQ(hak_os_default()->struct_size, sizeof(hak_os_t));
  CHECK(hak_os_default()->reserve != NULL && hak_os_default()->now_ns != NULL);
  hak_config_t config = {.struct_size = sizeof config, .os = hak_os_default()};
  CHECK_EQ(hak_init(&config), 0);
  use_all_tiers();
  CHECK_EQ(hak_shutdown(0), 0);
  return 0;
}

static void version__is_that_of_the_header_and_the_default_hooks_serve(void **state) {
  (void)state;
  test_child_must_succeed(version_child, NULL, 10);
}

static int at_exit_child(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_init(test_config()), 0);
  static void *block;
  block = hak_alloc(1000);
  /* exit, not _exit: destructors and handlers run with the library in use. */
  exit(block == NULL);
}

static void exit__with_live_blocks_is_clean(void **state) {
  (void)state;
  test_child_must_succeed(at_exit_child, NULL, 10);
}

TEST_MAIN_FRESH(T(init__is_possible_once_until_shutdown),
                T(init__after_the_first_allocation_is_too_late),
                T(init__bad_configurations_are_invalid),
                T(shutdown__of_what_never_started_is_invalid),
                T(shutdown__two_hundred_cycles_leave_no_mapping),
                T(shutdown__the_next_allocation_starts_afresh),
                T(free__after_shutdown_is_named), T(queries__after_shutdown_find_nothing),
                T(shutdown__is_refused_while_others_are_attached),
                T(shutdown__forced_lets_other_threads_attach_anew),
                T(shutdown__threads_that_left_do_not_count),
                T(shutdown__unknown_flags_are_invalid),
                T(version__is_that_of_the_header_and_the_default_hooks_serve),
                T(exit__with_live_blocks_is_clean))
