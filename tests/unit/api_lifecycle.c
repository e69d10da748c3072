/* api_lifecycle.c - hak_init, hak_shutdown and what comes after. Every case runs
 * in a child of a process that never used hakmem. */
#include "child.h"
#include "os_fixture.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

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

TEST_IN_CHILD(init__after_the_first_allocation_is_too_late, 10) {
  void *block = hak_alloc(10);
  CHECK(block != NULL);
  CHECK_EQ(hak_init(NULL), EALREADY);
  hak_free(block);
}

/* --- calls that may come first: which start the library, and read the environment --- */

static void write_nothing(const char *text, size_t length, void *ctx) {
  (void)text;
  (void)length;
  (void)ctx;
}
static bool visit_nothing(const hak_block_t *block, void *ctx) {
  (void)block;
  (void)ctx;
  return true;
}

static char asks_at[16]; /* no block */
static void ask_usable_size(void) { CHECK_EQ(hak_usable_size(NULL), 0); }
static void ask_good_size(void) { CHECK_EQ(hak_good_size(97), 97); }
static void ask_heap_of(void) {
  CHECK(hak_heap_of(NULL) == NULL && hak_heap_of(asks_at) == NULL);
}
static void ask_current(void) { CHECK(hak_heap_current() == NULL); }
static void ask_info(void) {
  hak_block_t info = {.struct_size = sizeof info};
  CHECK(hak_ptr_info(asks_at, &info) != 0);
}
static void free_null(void) {
  hak_free(NULL);
  hak_free_sized(NULL, 10);
}
static void ask_stats(void) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(NULL, &stats), 0);
  CHECK_EQ(stats.committed_bytes, 0);
  hak_class_stats_t rows[2] = {{.struct_size = sizeof rows[0]}};
  CHECK_EQ(hak_stats_classes(NULL, rows, 2), 0);
}
static void print(void) {
  CHECK_EQ(hak_stats_print(NULL, HAK_FORMAT_JSON, write_nothing, NULL), 0);
  CHECK_EQ(hak_heaps_print(HAK_FORMAT_TEXT, write_nothing, NULL), 0);
}
static void ask_due(void) { CHECK_EQ(hak_purge_due(), -1); }
static void collect(void) {
  CHECK_EQ(hak_collect(NULL, SIZE_MAX, 0), 0);
  CHECK_EQ(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL), 0);
}
static void go_idle(void) {
  hak_thread_idle();
  hak_thread_exit();
}
static void check(void) { CHECK_EQ(hak_check(NULL), 0); }
static void visit(void) { (void)hak_heap_visit(NULL, visit_nothing, NULL, 0); }
static void ask_option(void) {
  CHECK_EQ(hak_option_get(HAK_OPTION_BIN_BLOCKS), 32);
  CHECK_EQ(hak_option_get(HAK_OPTION_BACKEND), HAK_BACKEND_AUTO);
}

static void allocate(void) { CHECK(hak_alloc(97) != NULL); }
static void reallocate(void) { CHECK(hak_realloc(NULL, 97) != NULL); }
static void make_heap(void) { CHECK(hak_heap_create(NULL) != NULL); }
static void ask_default(void) { CHECK(hak_heap_default() != NULL); }
static void prefault(void) { CHECK_EQ(hak_heap_prefault(NULL, 1), 0); }
static void prewarm(void) { (void)hak_heap_prewarm(NULL, 97, 1); }
static void ask_name(void) { CHECK(strcmp(hak_heap_name(NULL), "default") == 0); }
static void attach(void) { CHECK_EQ(hak_thread_init(), 0); }
static void maintain(void) { CHECK_EQ(hak_maintenance_start(1000), 0); }

static void (*const asks[])(void) = {
    ask_usable_size, ask_good_size, ask_heap_of, ask_current, ask_info,
    free_null,       ask_stats,     print,       ask_due,     collect,
    go_idle,         check,         ask_option};
static void (*const starts[])(void) = {allocate, reallocate, make_heap, ask_default,
                                       prefault, prewarm,    attach,    maintain,
                                       visit,    ask_name};

/* From here on what the environment says counts. */
static void check_environment_is_read(void) {
  CHECK_EQ(hak_option_get(HAK_OPTION_BIN_BLOCKS), 20);
  CHECK_EQ(hak_option_get(HAK_OPTION_BACKEND), HAK_BACKEND_MALLOC);
  CHECK_EQ(hak_good_size(97), 97);
}
static void set_environment(void) {
  CHECK_EQ(setenv("HAKMEM_BIN_BLOCKS", "20", 1), 0);
  CHECK_EQ(setenv("HAKMEM_BACKEND", "malloc", 1), 0);
}

static int ask_first(void *ctx) {
  set_environment();
  (*(void (*const *)(void))ctx)();
  long i = (void (*const *)(void))ctx - asks;
  CHECK_MSG(hak_option_get(HAK_OPTION_BIN_BLOCKS) == 32, "call %ld", i);
  CHECK_EQ(hak_init(NULL), 0);
  check_environment_is_read();
  return 0;
}
static void ask__never_starts_the_library(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(asks); i++) {
    test_child_must_succeed(ask_first, (void *)(uintptr_t)&asks[i], 10);
  }
}

static int need_first(void *ctx) {
  set_environment();
  (*(void (*const *)(void))ctx)();
  check_environment_is_read();
  CHECK_EQ(hak_init(NULL), EALREADY);
  return 0;
}
static void need__starts_the_library(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(starts); i++) {
    test_child_must_succeed(need_first, (void *)(uintptr_t)&starts[i], 10);
  }
}

/* They may be of malloc's blocks, or of guarded ones. */
TEST_IN_CHILD(good_size__before_the_start_knows_of_options_in_the_environment, 10) {
  CHECK(hak_good_size(97) > 97);
  CHECK_EQ(setenv("HAKMEM_TEST_NOTHING", "1", 1), 0); /* the tests' own */
  CHECK(hak_good_size(97) > 97);
  CHECK_EQ(setenv("HAKMEM_GUARD_SAMPLE", "1", 1), 0);
  CHECK_EQ(hak_good_size(97), 97);
  char *block = hak_alloc(97);
  CHECK_EQ(hak_good_size(97), 97);
  hak_free(block);
}

TEST_IN_CHILD(shutdown__of_what_never_started_is_invalid, 10) {
  CHECK_EQ(hak_shutdown(0), EINVAL);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), EINVAL);
}

#define EXPECT_EINVAL(config)              \
  do {                                     \
    errno = TEST_ERRNO;                    \
    CHECK_EQ(hak_init(&(config)), EINVAL); \
    CHECK_EQ(errno, TEST_ERRNO);           \
  } while (0)

TEST_IN_CHILD(init__bad_configurations_are_invalid, 10) {
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

TEST_IN_CHILD(shutdown__two_hundred_cycles_leave_no_mapping, 60) {
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
}

TEST_IN_CHILD(shutdown__the_next_allocation_starts_afresh, 30) {
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

TEST_IN_CHILD(queries__after_shutdown_find_nothing, 10) {
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

/* Begins a thread, and returns once it has come to its first barrier. */
static pthread_t start_waiter(waiter_t *w, test_thread_fn *function) {
  pthread_t thread;
  pthread_barrier_init(&w->ready, NULL, 2);
  pthread_barrier_init(&w->go, NULL, 2);
  test_threads_begin(&thread, 1, function, w);
  pthread_barrier_wait(&w->ready);
  return thread;
}

static void finish_waiter(waiter_t *w, pthread_t thread) {
  pthread_barrier_wait(&w->go);
  test_threads_end(&thread, 1);
}

TEST_IN_CHILD(shutdown__is_refused_while_others_are_attached, 10) {
  CHECK_EQ(hak_init(test_config()), 0);
  waiter_t w;
  pthread_t thread = start_waiter(&w, attached_thread);
  void *block = hak_alloc(50);
  test_fill(block, 50, 2);
  CHECK_EQ(hak_shutdown(0), EBUSY);
  /* Refused means that nothing has changed. */
  CHECK(test_verify(block, 50, 2));
  hak_free(block);
  CHECK_EQ(hak_check(NULL), 0);
  finish_waiter(&w, thread);
  CHECK_EQ(hak_shutdown(0), 0);
}

TEST_IN_CHILD(shutdown__forced_lets_other_threads_attach_anew, 30) {
  test_os_open(&g_os, 0);
  for (int cycle = 0; cycle < 20; cycle++) {
    CHECK_EQ(test_os_init(&g_os), 0);
    waiter_t w[4];
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
      threads[i] = start_waiter(&w[i], attached_thread);
    }
    CHECK_EQ(hak_shutdown(0), EBUSY);
    CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
    CHECK_EQ(g_os.ranges, 0);
    CHECK_EQ(test_os_init(&g_os), 0);
    for (size_t i = 0; i < 4; i++) {
      finish_waiter(&w[i], threads[i]);
    }
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(test_live_blocks(), 0);
    CHECK_EQ(hak_shutdown(0), 0);
    CHECK_EQ(g_os.ranges, 0);
  }
}

static void *leave_thread(void *argument) {
  waiter_t *w = argument;
  hak_free(hak_alloc(64));
  hak_thread_exit();
  pthread_barrier_wait(&w->ready);
  pthread_barrier_wait(&w->go);
  return NULL;
}

TEST_IN_CHILD(shutdown__threads_that_left_do_not_count, 10) {
  CHECK_EQ(hak_init(test_config()), 0);
  waiter_t w;
  pthread_t thread = start_waiter(&w, leave_thread);
  CHECK_EQ(hak_shutdown(0), 0);
  finish_waiter(&w, thread);
}

TEST_IN_CHILD(shutdown__unknown_flags_are_invalid, 10) {
  CHECK_EQ(hak_init(test_config()), 0);
  CHECK_EQ(hak_shutdown(0x80u), EINVAL);
  hak_free(hak_alloc(1));
  CHECK_EQ(hak_shutdown(0), 0);
}

/* --- a thread's end -------------------------------------------------------------------
 */

static pthread_key_t g_late;

/* Once the library's own destructor has run nothing would detach the thread. */
static void attach_late(void *again) {
  if (again != &g_late) {
    CHECK_EQ(pthread_setspecific(g_late, &g_late), 0);
    return;
  }
  CHECK_EQ(test_stats().threads, 1);
  CHECK_EQ(hak_thread_init(), 0);
  hak_free(hak_alloc(100));
  CHECK_EQ(test_stats().threads, 1);
}

static void *end_late(void *ctx) {
  CHECK_EQ(hak_thread_init(), 0);
  CHECK_EQ(pthread_setspecific(g_late, ctx), 0);
  return NULL;
}

TEST_IN_CHILD(attach__at_the_end_of_a_thread_leaves_none, 10) {
  int first;
  CHECK_EQ(hak_thread_init(), 0);
  CHECK_EQ(pthread_key_create(&g_late, attach_late), 0);
  test_thread_run(end_late, &first);
  CHECK_EQ(hak_shutdown(0), 0);
}

TEST_IN_CHILD(version__is_that_of_the_header_and_the_default_hooks_serve, 10) {
  CHECK_EQ(hak_version(), HAK_VERSION);
  CHECK(hak_os_default() != NULL);
  CHECK_EQ(hak_os_default()->struct_size, sizeof(hak_os_t));
  CHECK(hak_os_default()->reserve != NULL && hak_os_default()->now_ns != NULL);
  hak_config_t config = {.struct_size = sizeof config, .os = hak_os_default()};
  CHECK_EQ(hak_init(&config), 0);
  use_all_tiers();
  CHECK_EQ(hak_shutdown(0), 0);
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
                T(ask__never_starts_the_library), T(need__starts_the_library),
                T(good_size__before_the_start_knows_of_options_in_the_environment),
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
                T(attach__at_the_end_of_a_thread_leaves_none),
                T(version__is_that_of_the_header_and_the_default_hooks_serve),
                T(exit__with_live_blocks_is_clean))
