/* api_fork_purge.c - a fork at the moment at which another thread gives memory back: what
 * it had in hand is found again in the child, or counted. The moment is forced by hooks
 * that wait for it. */
#include "child.h"
#include "os_fixture.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static test_os_t g_own;
static hak_os_t g_strict;
static atomic_bool g_armed, g_after, g_inside, g_open;
static test_os_kind_t g_kind; /* of the hook that waits */

/* Before or after the hook has acted. */
static void wait_here(test_os_kind_t kind, bool after) {
  if (kind != g_kind || after != atomic_load(&g_after) ||
      !atomic_exchange(&g_armed, false)) {
    return;
  }
  atomic_store(&g_inside, true);
  while (!atomic_load(&g_open)) usleep(100);
}

static int slow_purge(void *ctx, void *ptr, size_t size) {
  wait_here(TEST_OS_PURGE, false);
  int error = g_strict.purge(ctx, ptr, size);
  wait_here(TEST_OS_PURGE, true);
  return error;
}

static int slow_release(void *ctx, void *ptr, size_t size) {
  wait_here(TEST_OS_RELEASE, false);
  int error = g_strict.release(ctx, ptr, size);
  wait_here(TEST_OS_RELEASE, true);
  return error;
}

static int slow_commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  wait_here(TEST_OS_COMMIT, false);
  int error = g_strict.commit(ctx, ptr, size, zeroed);
  wait_here(TEST_OS_COMMIT, true);
  return error;
}

static void make_slow(hak_os_t *hooks) {
  g_strict = *hooks;
  hooks->purge = slow_purge;
  hooks->release = slow_release;
  hooks->commit = slow_commit;
}

static void begin(void) {
  test_os_open(&g_os, 0);
  test_os_open(&g_own, 0);
  make_slow(&g_os.hooks);
  make_slow(&g_own.hooks);
  CHECK_EQ(test_os_init(&g_os), 0);
  /* It goes when it is collected. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
}

static hak_heap_t *make_own(void) {
  return test_heap_make((hak_heap_config_t){.os = &g_own.hooks});
}

/* Memory that a collection gives back: slots of a SuperSlab in use, SuperSlabs that
 * nobody has, a kept mapping. */
typedef enum what {
  IN_POOL,
  IN_REGION,
  IN_MAPPING
} what_t;

static void make_free(hak_heap_t *heap, what_t what) {
  static void *held[400];
  if (what == IN_REGION) {
    hak_free(hak_heap_alloc(heap, 6 * MIB));
  } else if (what == IN_MAPPING) {
    hak_free(hak_heap_alloc(heap, 40 * MIB));
  } else {
    for (size_t i = 0; i < TEST_COUNT(held); i++) {
      CHECK((held[i] = hak_heap_alloc(heap, 30000)) != NULL);
    }
    for (size_t i = 0; i < TEST_COUNT(held); i++) {
      if (i % 100 != 0) hak_free(held[i]);
    }
    hak_thread_idle();
  }
}

static size_t g_collect_bytes;

static void *collect(void *ctx) {
  (void)ctx;
  (void)hak_collect(NULL, g_collect_bytes, HAK_COLLECT_ALL);
  return NULL;
}

/* Begins a thread, and returns once it waits before or after that hook has acted. */
static pthread_t start_until(test_os_kind_t kind, bool after, test_thread_fn *run,
                             void *ctx) {
  g_kind = kind;
  atomic_store(&g_after, after);
  atomic_store(&g_inside, false);
  atomic_store(&g_open, false);
  atomic_store(&g_armed, true);
  pthread_t thread;
  test_threads_begin(&thread, 1, run, ctx);
  while (!atomic_load(&g_inside)) usleep(100);
  return thread;
}

/* Lets it go on. */
static void finish(pthread_t thread) {
  atomic_store(&g_open, true);
  test_threads_end(&thread, 1);
}

/* Committed for anything but the library's own records: how many of these there are
 * depends on where the system places what. */
static uint64_t committed_for_blocks(void) {
  hak_stats_t stats = test_stats();
  return stats.committed_bytes - stats.metadata_bytes;
}

/* The child's figures after a collection, in what it returns through a pipe. */
typedef struct report {
  uint64_t committed, lost, unreleased;
  double destroy_seconds;
  size_t own_ranges;
} report_t;

static report_t child_report(hak_heap_t *own) {
  report_t report = {0};
  CHECK_EQ(hak_check(NULL), 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_check(NULL), 0);
  hak_stats_t stats = test_stats();
  report.committed = committed_for_blocks();
  report.lost = stats.fork_lost_bytes;
  report.unreleased = stats.unreleased_bytes;
  /* All of it serves. */
  for (size_t size = 1000; size < 50 * MIB; size *= 3) {
    unsigned char *block = hak_heap_alloc(own, size);
    CHECK(block != NULL);
    test_fill_sparse(block, size, size);
    CHECK(test_verify_sparse(block, size, size));
    hak_free(block);
  }
  hak_thread_idle();
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  uint64_t again = committed_for_blocks(); /* none of it is kept */
  CHECK_MSG(again <= report.committed + 192 * KIB, "%llu bytes committed, then %llu",
            (unsigned long long)report.committed, (unsigned long long)again);
  if (own != NULL) {
    double begun = test_seconds();
    CHECK_EQ(hak_heap_destroy(own), 0);
    report.destroy_seconds = test_seconds() - begun;
    report.own_ranges = g_own.ranges;
  }
  CHECK_EQ(hak_check(NULL), 0);
  return report;
}

static report_t fork_and_report(hak_heap_t *own) {
  int pipes[2];
  CHECK_EQ(pipe(pipes), 0);
  pid_t pid = test_fork();
  if (pid == 0) {
    report_t report = child_report(own);
    CHECK_EQ(write(pipes[1], &report, sizeof report), sizeof report);
    _exit(0);
  }
  test_fork_end(pid);
  report_t report;
  CHECK_EQ(read(pipes[0], &report, sizeof report), sizeof report);
  close(pipes[0]);
  close(pipes[1]);
  return report;
}

typedef struct purge_case {
  what_t what;
  bool own, after, manual;
  size_t bytes; /* to be collected */
} purge_case_t;

/* The parent's figures once the other thread is done and all is collected. */
static int purge_child(void *ctx) {
  const purge_case_t *c = ctx;
  begin();
  /* So that mappings of hooks of its own are kept. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, !c->manual), 0);
  hak_heap_t *own = c->own ? make_own() : NULL;
  CHECK(hak_heap_alloc(own, 100) != NULL);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  make_free(own, c->what);
  g_collect_bytes = c->bytes;
  pthread_t thread = start_until(TEST_OS_PURGE, c->after, collect, NULL);
  report_t child = fork_and_report(own);
  finish(thread);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  hak_stats_t parent = test_stats();
  uint64_t committed = committed_for_blocks();
  CHECK_MSG(child.committed <= committed + 128 * KIB,
            "%llu bytes are committed in the child, %llu in the parent",
            (unsigned long long)child.committed, (unsigned long long)committed);
  CHECK_MSG(child.lost <= 256 * KIB, "%llu bytes are lost",
            (unsigned long long)child.lost);
  CHECK_EQ(child.unreleased, 0);
  CHECK_MSG(child.destroy_seconds < 0.5, "the end took %.3f s", child.destroy_seconds);
  CHECK_EQ(child.own_ranges, 0);
  CHECK_EQ(parent.fork_lost_bytes, 0);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void fork__beside_a_purge_loses_nothing(void **state) {
  (void)state;
  for (int what = IN_POOL; what <= IN_MAPPING; what++) {
    for (int i = 0; i < 8; i++) {
      purge_case_t c = {(what_t)what, i & 1, (i & 2) != 0, (i & 4) != 0, SIZE_MAX};
      if (what == IN_MAPPING) c.bytes = 8 * MIB; /* else it is released as a whole */
      if (what == IN_MAPPING && c.own && !c.manual) continue; /* none is kept */
      test_child_must_succeed(purge_child, &c, 60);
    }
  }
}

/* With `false` and with `true` as what its argument points to. */
static void in_both_cases(int (*function)(void *ctx)) {
  static bool cases[] = {false, true};
  for (size_t i = 0; i < 2; i++) test_child_must_succeed(function, &cases[i], 60);
}

/* ---- Memory that is made ready ---------------------------------------------- */

static void *prefault(void *heap) {
  CHECK_EQ(hak_heap_prefault(heap, 4 * MIB), 0);
  return NULL;
}

static int prefault_child(void *ctx) {
  begin();
  hak_heap_t *own = *(bool *)ctx ? make_own() : hak_heap_create(NULL);
  CHECK(own != NULL && hak_heap_alloc(own, 100) != NULL);
  pthread_t thread = start_until(TEST_OS_COMMIT, true, prefault, own);
  report_t child = fork_and_report(own);
  finish(thread);
  /* There the heap gives back what nobody asked to keep. */
  CHECK_MSG(child.committed <= MIB, "%llu bytes", (unsigned long long)child.committed);
  CHECK(child.destroy_seconds < 0.5);
  CHECK_EQ(child.own_ranges, 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(test_stats().committed_bytes >= 4 * MIB);
  return 0;
}

static void fork__beside_a_prefault_leaves_no_memory_kept(void **state) {
  (void)state;
  in_both_cases(prefault_child);
}

/* ---- Ranges that are being released -------------------------------------------- */

static void *free_block(void *block) {
  hak_free(block);
  return NULL;
}

/* Whether the range has gone is not known there: it is said to be lost, once. */
static int release_child(void *ctx) {
  begin();
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_RETAIN_BYTES, 0), 0);
  void *block = hak_alloc(40 * MIB);
  pthread_t thread = start_until(TEST_OS_RELEASE, *(bool *)ctx, free_block, block);
  report_t child = fork_and_report(NULL);
  finish(thread);
  CHECK_MSG(child.lost >= 40 * MIB && child.lost <= 41 * MIB, "%llu bytes are lost",
            (unsigned long long)child.lost);
  CHECK_EQ(child.unreleased, 0);
  hak_stats_t parent = test_stats();
  CHECK(child.committed <= committed_for_blocks() + 128 * KIB);
  CHECK_EQ(parent.unreleased_bytes, 0);
  return 0;
}

static void fork__beside_a_release_says_what_may_be_lost(void **state) {
  (void)state;
  in_both_cases(release_child);
}

/* The end of a heap with hooks of its own, at each of its releases. */
static void *destroy(void *heap) {
  CHECK_EQ(hak_heap_destroy(heap), 0);
  return NULL;
}

static int end_child(void *ctx) {
  begin();
  hak_heap_t *heap = make_own();
  CHECK(hak_heap_alloc(heap, 100) != NULL && hak_heap_alloc(heap, 40 * MIB) != NULL);
  size_t ranges = g_own.ranges;
  pthread_t thread = start_until(TEST_OS_RELEASE, *(bool *)ctx, destroy, heap);
  pid_t pid = test_fork();
  if (pid == 0) {
    /* It is brought to its end; but for the one that was under way nothing is left. */
    CHECK(ranges > 1 && g_own.ranges <= 1);
    CHECK(test_stats().fork_lost_bytes >= 40 * MIB);
    CHECK_EQ(hak_check(NULL), 0);
    hak_heap_t *next = make_own();
    CHECK(hak_heap_alloc(next, 100) != NULL);
    CHECK_EQ(hak_heap_destroy(next), 0);
    CHECK(g_own.ranges <= 1);
    _exit(0);
  }
  test_fork_end(pid);
  finish(thread);
  CHECK_EQ(g_own.ranges, 0);
  return 0;
}

static void fork__beside_the_end_of_hooks_ends_them(void **state) {
  (void)state;
  in_both_cases(end_child);
}

/* ---- Pages that move ---------------------------------------------------------- */

static void *(*g_remap)(void *ctx, void *ptr, size_t old_size, size_t new_size);

static void *slow_remap(void *ctx, void *ptr, size_t old_size, size_t new_size) {
  void *moved = g_remap(ctx, ptr, old_size, new_size);
  wait_here(TEST_OS_REMAP, true);
  return moved;
}

static void *grow(void *block) {
  hak_free(hak_realloc(block, 90 * MIB));
  return NULL;
}

TEST_IN_CHILD(fork__beside_pages_that_move_gives_their_block_up, 60) {
  test_os_open(&g_os, 0);
  make_slow(&g_os.hooks);
  g_remap = g_os.hooks.remap;
  g_os.hooks.remap = slow_remap;
  CHECK_EQ(test_os_init(&g_os), 0);
  hak_heap_t *heap = hak_heap_create(NULL);
  void *block = hak_heap_alloc(heap, 40 * MIB);
  pthread_t thread = start_until(TEST_OS_REMAP, true, grow, block);
  pid_t pid = test_fork();
  if (pid == 0) {
    CHECK(hak_heap_of(block) == NULL);
    hak_stats_t stats = test_stats();
    /* Two leaves of the registry are mapped besides: 2.2 MiB each in full checks. */
    CHECK(stats.fork_lost_bytes >= 40 * MIB && stats.fork_lost_bytes <= 45 * MIB);
    CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
    CHECK_EQ(test_heap_stats(heap).committed_bytes, 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    void *other = hak_alloc(40 * MIB); /* not where the pages were */
    CHECK(other != NULL);
    test_fill_sparse(other, 40 * MIB, 3);
    CHECK_EQ(hak_check(NULL), 0);
    _exit(0);
  }
  test_fork_end(pid);
  finish(thread);
  CHECK_EQ(hak_check(NULL), 0);
}

/* ---- A fork out of a hook ------------------------------------------------------- */

static hak_heap_t *g_heap;
static pid_t g_pid;

/* This thread is at a purge of its own, another one is at the same. */
static int forking_purge(void *ctx, void *ptr, size_t size) {
  if (atomic_load(&g_inside) && g_pid == 0) {
    g_pid = test_fork();
    if (g_pid == 0) {
      g_pid = -1;
      return g_strict.purge(ctx, ptr, size);
    }
    return g_strict.purge(ctx, ptr, size);
  }
  return slow_purge(ctx, ptr, size);
}

TEST_IN_CHILD(fork__out_of_a_purge_beside_another_one_counts_that, 60) {
  test_os_open(&g_own, 0);
  test_os_open(&g_os, 0);
  make_slow(&g_own.hooks);
  g_own.hooks.purge = forking_purge;
  CHECK_EQ(test_os_init(&g_os), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  g_heap = make_own();
  CHECK(hak_heap_alloc(g_heap, 100) != NULL);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  hak_free(hak_heap_alloc(g_heap, 8 * MIB));
  g_collect_bytes = SIZE_MAX;
  pthread_t thread = start_until(TEST_OS_PURGE, false, collect, NULL);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  if (g_pid == -1) {
    /* What the other one had is given up and counted, and nobody waits for it. */
    CHECK(test_stats().fork_lost_bytes >= 2 * MIB);
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(hak_heap_destroy(g_heap), 0);
    CHECK_EQ(g_own.ranges, 0);
    CHECK_EQ(hak_check(NULL), 0);
    _exit(0);
  }
  CHECK(g_pid > 0);
  test_fork_end(g_pid);
  finish(thread);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
  CHECK_EQ(g_own.ranges, 0);
}

TEST_MAIN_FRESH(T(fork__beside_a_purge_loses_nothing),
                T(fork__beside_a_prefault_leaves_no_memory_kept),
                T(fork__beside_a_release_says_what_may_be_lost),
                T(fork__beside_the_end_of_hooks_ends_them),
                T(fork__beside_pages_that_move_gives_their_block_up),
                T(fork__out_of_a_purge_beside_another_one_counts_that))
