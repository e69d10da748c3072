/* api_shutdown_beside.c - hak_shutdown(0) beside threads that are not attached: whatever
 * they call, it is refused or comes before or after, and nobody is hurt. Each case runs
 * in a child for a while. */
#include "child.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum {
  THREADS = 2,
  SECONDS = 60 /* of a child, at most */
};

static atomic_bool g_stop;
static atomic_size_t g_rounds;

/* Blocks of before are named; nothing else may be. */
static void only_after_shutdown(const hak_error_info_t *info, void *ctx) {
  (void)ctx;
  CHECK_MSG(info->error == HAK_ERROR_AFTER_SHUTDOWN ||
                info->error == HAK_ERROR_FOREIGN_POINTER ||
                info->error == HAK_ERROR_STALE_HEAP,
            "%s in %s", info->text, info->function);
}

/* --- what the others do ---------------------------------------------------------------
 */

static void ask_about_addresses(void) {
  for (uintptr_t at = 0x7f0000000000u; at < 0x7f0040000000u; at += 4096u * 1024) {
    hak_block_t block = {.struct_size = sizeof block};
    int error = hak_ptr_info((void *)at, &block);
    CHECK(error == 0 || error == ENOENT);
    (void)hak_heap_of((void *)at);
    (void)hak_move_hint((void *)at);
  }
}

static void free_what_is_foreign(void) {
  int local = 0;
  for (int i = 0; i < 100; i++) {
    hak_free(&local);
    CHECK_EQ(hak_usable_size(&local), 0);
    CHECK(hak_realloc(&local, 10) == NULL);
    CHECK_EQ(hak_resize_in_place(&local, 1, 2), 0);
  }
}

static bool any_heap(hak_heap_t *heap, void *ctx) {
  (void)heap;
  (void)ctx;
  return true;
}

static void write_nowhere(const char *text, size_t length, void *ctx) {
  (void)text;
  (void)length;
  (void)ctx;
}

static void ask_for_figures(void) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(NULL, &stats), 0);
  CHECK_EQ(hak_stats_print(NULL, HAK_FORMAT_JSON, write_nowhere, NULL), 0);
  CHECK_EQ(hak_visit_heaps(any_heap, NULL), 0);
  CHECK(hak_good_size(100000) >= 100000);
  CHECK_EQ(hak_check(NULL), 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  hak_thread_idle();
}

static void *first_block(void *arg) {
  (void)arg;
  char *block = hak_alloc(100);
  CHECK(block != NULL);
  memset(block, 1, 100);
  hak_thread_exit();
  return NULL;
}

static void *first_heap(void *arg) {
  (void)arg;
  /* To be shut down here would be its user's fault: so it is attached until it ends. */
  CHECK_EQ(hak_thread_init(), 0);
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(heap != NULL);
  char *block = hak_heap_alloc(heap, 5000);
  CHECK(block != NULL);
  memset(block, 1, 5000);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  return NULL;
}

static void begin_and_end(void) { test_thread_run(first_block, NULL); }
static void begin_with_a_heap(void) { test_thread_run(first_heap, NULL); }

static pthread_key_t g_late;

/* Runs again until the library's own destructor has run. */
static void use_late(void *value) {
  static _Thread_local int calls;
  if (calls++ < 2) {
    pthread_setspecific(g_late, value);
    return;
  }
  hak_free(hak_alloc(100));
  hak_free(hak_calloc(1, 100000));
}

static void *end_late(void *arg) {
  pthread_setspecific(g_late, &g_late);
  return arg;
}

static void use_in_late_destructors(void) { test_thread_run(end_late, NULL); }

static void fork_now(void) {
  pid_t child = test_fork();
  if (child == 0) {
    char *block = hak_alloc(1000);
    CHECK(block != NULL);
    memset(block, 1, 1000);
    hak_free(block);
    CHECK_EQ(hak_check(NULL), 0);
    _exit(0);
  }
  test_fork_end(child);
}

/* --- the one that shuts down
 * ------------------------------------------------------------ */

typedef void(act_fn)(void);

static void *others(void *act) {
  while (!atomic_load(&g_stop)) {
    (*(act_fn **)act)();
    atomic_fetch_add(&g_rounds, 1);
  }
  return NULL;
}

static int beside_child(void *act) {
  hak_set_error_handler(only_after_shutdown, NULL);
  CHECK_EQ(pthread_key_create(&g_late, use_late), 0);
  pthread_t threads[THREADS];
  test_threads_begin(threads, THREADS, others, act);
  size_t done = 0, refused = 0;
  double end = test_seconds() + (double)test_scale(100) / 100;
  while (test_seconds() < end || done == 0) {
    char *block = hak_alloc(64);
    CHECK(block != NULL);
    memset(block, 1, 64);
    int error = hak_shutdown(0);
    CHECK(error == 0 || error == EBUSY || error == EINVAL);
    done += error == 0;
    refused += error == EBUSY;
    if (error == EBUSY) CHECK_EQ(block[63], 1);
    usleep(refused % 16 == 0 ? 200 : 0);
  }
  atomic_store(&g_stop, true);
  test_threads_end(threads, THREADS);
  CHECK(atomic_load(&g_rounds) > 0);
  return 0;
}

static void beside(act_fn *act) { test_child_must_succeed(beside_child, &act, SECONDS); }

static void shutdown__beside_questions_about_addresses(void **state) {
  (void)state;
  beside(ask_about_addresses);
}
static void shutdown__beside_frees_of_foreign_pointers(void **state) {
  (void)state;
  beside(free_what_is_foreign);
}
static void shutdown__beside_questions_for_figures(void **state) {
  (void)state;
  beside(ask_for_figures);
}
static void shutdown__beside_threads_that_begin(void **state) {
  (void)state;
  beside(begin_and_end);
}
static void shutdown__beside_threads_that_make_heaps(void **state) {
  (void)state;
  beside(begin_with_a_heap);
}
static void shutdown__beside_late_destructors(void **state) {
  (void)state;
  beside(use_in_late_destructors);
}
static void shutdown__beside_forks(void **state) {
  (void)state;
  if (TEST_TSAN) skip(); /* a child of several threads may not begin new ones there */
  beside(fork_now);
}

/* --- who is attached never notices
 * ------------------------------------------------------- */

static void *try_to_shut_down(void *arg) {
  (void)arg;
  while (!atomic_load(&g_stop)) CHECK_EQ(hak_shutdown(0), EBUSY);
  return NULL;
}

TEST_IN_CHILD(shutdown__that_is_refused_is_not_noticed, SECONDS) {
  hak_heap_t *parent = test_heap(0, "parent", NULL);
  void *block = hak_alloc(100);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, try_to_shut_down, NULL), 0);
  for (double end = test_seconds() + (double)test_scale(100) / 100;
       test_seconds() < end;) {
    CHECK(hak_heap_of(block) == hak_heap_default());
    CHECK_EQ(strcmp(hak_heap_name(parent), "parent"), 0);
    hak_heap_t *heap = test_heap(0, "child", parent);
    CHECK(hak_heap_alloc(heap, 3000) != NULL);
    CHECK(hak_heap_calloc(heap, 1, 3 << 20) != NULL);
    CHECK_EQ(hak_heap_set_limits(heap, 0, 64 << 20), 0);
    CHECK_EQ(hak_heap_reset(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    hak_stats_t stats = {.struct_size = sizeof stats};
    CHECK(hak_stats_get(NULL, &stats) == 0 && stats.live_blocks >= 1);
  }
  if (!TEST_TSAN) fork_now();
  atomic_store(&g_stop, true);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  hak_free(block);
}

/* --- handlers of errors that leave by longjmp
 * ------------------------------------------------------- */

static jmp_buf g_out;
static hak_heap_t *g_little; /* in memory of the test's */
static void *g_beside;       /* a block of it; the one before was written to when free */

static void leave(const hak_error_info_t *info, void *ctx) {
  (void)info;
  (void)ctx;
  longjmp(g_out, 1);
}

/* A thread that is not attached, and is reported to have done something wrong. */
static void *do_wrong(void *kind) {
  static int foreign[4];
  if (setjmp(g_out) != 0) return NULL;
  switch (*(int *)kind) {
    case 0:
      hak_free(foreign);
      break;
    case 1:
      (void)hak_usable_size(foreign);
      break;
    case 2:
      (void)hak_realloc(foreign, 10);
      break;
    case 3:
      (void)hak_resize_in_place(foreign, 1, 2);
      break;
    case 4:
      (void)hak_freex(foreign, HAK_NO_CACHE);
      break;
    case 5:
      hak_free_aligned_sized(foreign, 8, 8);
      break;
    case 6:
      hak_heap_free(g_little, foreign);
      break;
    default: /* the call goes on where the handler returns */
      hak_free(g_beside);
      break;
  }
  fail();
  return NULL;
}

TEST_IN_CHILD(shutdown__after_handlers_that_have_left_by_longjmp, SECONDS) {
  static char memory[1 << 20];
  hak_set_error_handler(leave, NULL);
  for (int kind = 0; kind < 8; kind++) {
    hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
    config.memory = memory;
    config.memory_size = sizeof memory;
    g_little = hak_heap_create(&config);
    char *block = hak_heap_alloc(g_little, 100);
    g_beside = hak_heap_alloc(g_little, 100);
    CHECK(block != NULL && g_beside != NULL);
    hak_free(block);
    memset(block, 0x55, 16);
    test_thread_run(do_wrong, &kind);
    CHECK_MSG(hak_shutdown(0) == 0, "kind %d", kind);
  }
}

TEST_MAIN_FRESH(T(shutdown__beside_questions_about_addresses),
                T(shutdown__beside_frees_of_foreign_pointers),
                T(shutdown__beside_questions_for_figures),
                T(shutdown__beside_threads_that_begin),
                T(shutdown__beside_threads_that_make_heaps),
                T(shutdown__beside_late_destructors), T(shutdown__beside_forks),
                T(shutdown__that_is_refused_is_not_noticed),
                T(shutdown__after_handlers_that_have_left_by_longjmp))
