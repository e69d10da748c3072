/* api_own_hooks.c - hooks of a heap's own are called to its end and never after, whatever
 * they refuse and whoever is inside them. */
#include "records.h"
#include "strict_os.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* Hooks that note calls after they were to be dead. */
static test_os_t g_os;
static atomic_bool g_dead, g_inside, g_open, g_gate, g_commit_gate;
static atomic_int g_late;
static hak_os_t g_strict; /* what is behind them */

static hak_heap_t *g_ends; /* a heap that the purge hook wants to end; or NULL */
static int g_refused;

static void use(void) {
  if (atomic_load(&g_dead)) atomic_fetch_add(&g_late, 1);
}

/* What the hooks gave and did not get back. */
typedef struct range {
  void *base;
  size_t size;
} range_t;
static range_t g_ranges[64];

static void *own_reserve(void *ctx, size_t size, size_t alignment) {
  use();
  void *base = g_strict.reserve(ctx, size, alignment);
  for (size_t i = 0; base != NULL && i < TEST_COUNT(g_ranges); i++) {
    if (g_ranges[i].base != NULL) continue;
    g_ranges[i] = (range_t){base, size};
    break;
  }
  return base;
}

static int own_release(void *ctx, void *ptr, size_t size) {
  use();
  int error = g_strict.release(ctx, ptr, size);
  for (size_t i = 0; error == 0 && i < TEST_COUNT(g_ranges); i++) {
    if (g_ranges[i].base == ptr) g_ranges[i].base = NULL;
  }
  return error;
}

static void release_by_hand(void) {
  for (size_t i = 0; i < TEST_COUNT(g_ranges); i++) {
    range_t *range = &g_ranges[i];
    if (range->base == NULL) continue;
    CHECK_EQ(g_strict.release(&g_os, range->base, range->size), 0);
    range->base = NULL;
  }
  test_os_close(&g_os);
}

/* At the gate a hook waits, after it has called the library itself. */
static int own_commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  use();
  if (atomic_exchange(&g_commit_gate, false)) {
    CHECK_EQ(hak_heap_destroy(test_heap(0, "beside", NULL)), 0);
    hak_free(hak_alloc(100));
    atomic_store(&g_inside, true);
    while (!atomic_load(&g_open)) usleep(100);
  }
  return g_strict.commit(ctx, ptr, size, zeroed);
}

/* The first thread that comes while the gate is shut waits there. */
static int own_purge(void *ctx, void *ptr, size_t size) {
  use();
  if (g_ends != NULL) {
    g_refused += hak_heap_destroy(g_ends) == EBUSY && hak_heap_reset(g_ends) == EBUSY;
  }
  if (atomic_exchange(&g_gate, false)) {
    atomic_store(&g_inside, true);
    while (!atomic_load(&g_open)) usleep(100);
    use();
  }
  return g_strict.purge(ctx, ptr, size);
}

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  g_strict = g_os.hooks;
  g_os.hooks.reserve = own_reserve;
  g_os.hooks.release = own_release;
  g_os.hooks.commit = own_commit;
  g_os.hooks.purge = own_purge;
  atomic_store(&g_dead, false);
  atomic_store(&g_inside, false);
  atomic_store(&g_open, false);
  atomic_store(&g_gate, false);
  atomic_store(&g_commit_gate, false);
  atomic_store(&g_late, 0);
  return 0;
}

static hak_heap_t *make(hak_heap_t *parent) {
  return test_heap_make((hak_heap_config_t){.parent = parent, .os = &g_os.hooks});
}

/* Everything that gives memory back or tries again, after the end. */
static void check_dead(size_t ranges) {
  atomic_store(&g_dead, true);
  hak_free(hak_alloc(300 * MIB));
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  hak_thread_idle();
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(atomic_load(&g_late), 0);
  CHECK_EQ(g_os.ranges, ranges);
}

static void refuse(test_os_mode_t mode, uint64_t n) {
  test_os_fail(&g_os, mode, 1u << TEST_OS_RELEASE, n);
}

/* A region and a mapping. */
static void fill(hak_heap_t *heap) {
  CHECK(hak_heap_alloc(heap, 1000) != NULL && hak_heap_alloc(heap, 40 * MIB) != NULL);
}

static void destroy__tries_again_what_was_refused_before_it_returns(void **state) {
  (void)state;
  uint64_t bytes = test_stats().unreleased_bytes;
  hak_heap_t *heap = make(NULL);
  fill(heap);
  refuse(TEST_FAIL_NTH, 1);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(g_os.ranges, 0);
  CHECK_EQ(test_stats().unreleased_bytes, bytes);
  check_dead(0);
  test_os_close(&g_os);
}

static void destroy__gives_up_what_is_refused_for_good(void **state) {
  (void)state;
  uint64_t bytes = test_stats().unreleased_bytes;
  hak_heap_t *heap = make(NULL);
  fill(heap);
  size_t ranges = g_os.ranges, reserved = g_os.reserved_bytes;
  refuse(TEST_FAIL_FROM_NTH, 1);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  refuse(TEST_FAIL_NONE, 0);
  check_dead(ranges);
  CHECK_EQ(test_stats().unreleased_bytes - bytes, reserved);
  /* The address space is the hooks' again: other heaps with the same ones go on. */
  atomic_store(&g_dead, false);
  heap = make(NULL);
  fill(heap);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(g_os.ranges, ranges);
  release_by_hand();
}

static void orphan__ends_with_its_hooks_at_the_last_free(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  void *small = hak_heap_alloc(heap, 1000), *large = hak_heap_alloc(heap, 40 * MIB);
  CHECK_EQ(hak_heap_release(heap), 0);
  hak_free(large);
  refuse(TEST_FAIL_NTH, 1);
  hak_free(small);
  hak_thread_idle();
  CHECK_EQ(g_os.ranges, 0);
  check_dead(0);
  test_os_close(&g_os);
}

/* A free may give nothing back then, and nobody may call the hooks once they have ended:
 * so the heap ends where something may be. */
static void orphan__ends_at_a_collection_where_purging_is_manual(void **state) {
  (void)state;
  int64_t mode = hak_option_get(HAK_OPTION_PURGE_MODE);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  hak_heap_t *heap = make(NULL);
  void *small = hak_heap_alloc(heap, 1000), *large = hak_heap_alloc(heap, 40 * MIB);
  CHECK_EQ(hak_heap_release(heap), 0);
  uint64_t calls = g_os.calls[TEST_OS_RELEASE] + g_os.calls[TEST_OS_PURGE];
  hak_free(large);
  hak_free(small);
  hak_thread_idle();
  CHECK_EQ(g_os.calls[TEST_OS_RELEASE] + g_os.calls[TEST_OS_PURGE], calls);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(g_os.ranges, 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, mode), 0);
  check_dead(0);
  test_os_close(&g_os);
}

static void shutdown__is_the_end_of_all_hooks(void **state) {
  (void)state;
  fill(make(NULL));
  size_t ranges = g_os.ranges;
  refuse(TEST_FAIL_FROM_NTH, 1);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  refuse(TEST_FAIL_NONE, 0);
  test_restart();
  check_dead(ranges);
  release_by_hand();
}

/* ---- A thread inside -------------------------------------------------------- */

static size_t g_collect_bytes;
static atomic_int g_error;
static atomic_bool g_returned;

static void *collect(void *ctx) {
  (void)ctx;
  (void)hak_collect(NULL, g_collect_bytes, HAK_COLLECT_ALL);
  return NULL;
}

static void *destroy(void *heap) {
  atomic_store(&g_error, hak_heap_destroy(heap));
  atomic_store(&g_dead, true);
  atomic_store(&g_returned, true);
  return NULL;
}

/* The heap has free memory, whose pages another thread begins to give back. */
static void destroy_beside_purge(hak_heap_t *heap, size_t collect_bytes) {
  g_collect_bytes = collect_bytes;
  atomic_store(&g_gate, true);
  pthread_t collector, destroyer;
  CHECK_EQ(pthread_create(&collector, NULL, collect, NULL), 0);
  while (!atomic_load(&g_inside)) usleep(100);
  CHECK_EQ(pthread_create(&destroyer, NULL, destroy, heap), 0);
  usleep(50000);
  CHECK(!atomic_load(&g_returned));
  atomic_store(&g_open, true);
  CHECK_EQ(pthread_join(destroyer, NULL), 0);
  CHECK_EQ(pthread_join(collector, NULL), 0);
  atomic_store(&g_returned, false);
  CHECK_EQ(atomic_load(&g_error), 0);
  check_dead(0);
  test_os_close(&g_os);
}

static void destroy__waits_for_who_purges_a_superslab(void **state) {
  (void)state;
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  hak_heap_t *heap = make(NULL);
  hak_free(hak_heap_alloc(heap, 6 * MIB)); /* three that are free */
  destroy_beside_purge(heap, SIZE_MAX);
}

static void destroy__waits_for_who_purges_a_mapping(void **state) {
  (void)state;
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  int64_t mode = hak_option_get(HAK_OPTION_PURGE_MODE);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  hak_heap_t *heap = make(NULL);
  hak_free(hak_heap_alloc(heap, 40 * MIB)); /* kept, as nothing may go */
  destroy_beside_purge(heap, 8 * MIB);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, mode), 0);
}

static void *alloc_mapping(void *heap) { return hak_heap_alloc(heap, 3 * MIB); }

/* What a call inside the hook leaves is that call, not the one that the hook is for. */
static void check__knows_a_thread_at_work_whose_hook_called_the_library(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  CHECK(hak_heap_alloc(heap, 10) != NULL);
  atomic_store(&g_commit_gate, true);
  pthread_t thread;
  test_threads_begin(&thread, 1, alloc_mapping, heap);
  while (!atomic_load(&g_inside)) usleep(100);
  CHECK_EQ(hak_check(NULL), 0); /* charged already, but no memory yet */
  atomic_store(&g_open, true);
  test_threads_end(&thread, 1);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  check_dead(0);
  test_os_close(&g_os);
}

/* Whose turn it is to give pages back is in a heap that would end under it. */
static void destroy__is_refused_inside_a_purge_of_its_pages(void **state) {
  (void)state;
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  hak_heap_t *heap = make(NULL);
  void *stays = hak_heap_alloc(heap, 100 * KIB), *part = hak_heap_alloc(heap, 512 * KIB);
  CHECK(stays != NULL && part != NULL);
  hak_free(part);                          /* slabs */
  hak_free(hak_heap_alloc(heap, 4 * MIB)); /* SuperSlabs */
  g_ends = heap;
  g_refused = 0;
  (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(g_refused >= 2);
  g_ends = NULL;
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  check_dead(0);
  test_os_close(&g_os);
}

/* Heaps with hooks of ever other contexts leave no record each. */
static void copies__of_hooks_serve_later_heaps_with_other_ones(void **state) {
  (void)state;
  test_os_t others[8];
  uint64_t metadata = 0;
  for (size_t i = 0; i < 4000; i++) {
    test_os_t *os = &others[i % TEST_COUNT(others)];
    if (i < TEST_COUNT(others)) test_os_open(os, 0);
    void *ctx = os->hooks.ctx;
    hak_heap_config_t config = {.struct_size = sizeof config, .os = &os->hooks};
    os->hooks.granularity = (size_t)4096 << (i % 8);
    hak_heap_t *heap = hak_heap_create(&config);
    CHECK(heap != NULL && hak_heap_alloc(heap, 100) != NULL);
    CHECK(os->ranges > 0 && os->hooks.ctx == ctx);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    CHECK_EQ(os->ranges, 0);
    if (i == 100) metadata = test_record_bytes();
  }
  CHECK_EQ(test_record_bytes(), metadata);
  for (size_t i = 0; i < TEST_COUNT(others); i++) test_os_close(&others[i]);
  test_os_close(&g_os);
}

#define M(function) cmocka_unit_test_setup_teardown(function, setup, NULL)

TEST_MAIN(M(destroy__tries_again_what_was_refused_before_it_returns),
          M(destroy__gives_up_what_is_refused_for_good),
          M(orphan__ends_with_its_hooks_at_the_last_free),
          M(orphan__ends_at_a_collection_where_purging_is_manual),
          M(destroy__waits_for_who_purges_a_superslab),
          M(destroy__waits_for_who_purges_a_mapping),
          M(destroy__is_refused_inside_a_purge_of_its_pages),
          M(check__knows_a_thread_at_work_whose_hook_called_the_library),
          M(copies__of_hooks_serve_later_heaps_with_other_ones),
          M(shutdown__is_the_end_of_all_hooks))
