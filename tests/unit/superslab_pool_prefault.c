/* superslab_pool_prefault.c - calls that make memory ready at the same time: each keeps
 * what it made ready, and none what another one was only about to. */
#include "child.h"
#include "strict_os.h"

#include "heap/heap.h"
#include "superslab/pool_prefault.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

static test_os_t g_process, g_os;
static int (*g_commit)(void *ctx, void *ptr, size_t size, bool *zeroed);
static void *(*g_reserve)(void *ctx, size_t size, size_t alignment);

static int setup(void **state) {
  (void)state;
  test_os_open(&g_process, 0);
  CHECK_EQ(test_os_init(&g_process), 0);
  test_os_open(&g_os, 0);
  g_commit = g_os.hooks.commit;
  g_reserve = g_os.hooks.reserve;
  return 0;
}

static int teardown(void **state) {
  (void)state;
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  test_os_close(&g_os);
  test_os_close(&g_process);
  return 0;
}

static hak_heap_t *make(void) {
  return test_heap_make((hak_heap_config_t){.os = &g_os.hooks});
}

static hak_shared_pool_t *pool_of(hak_heap_t *heap) {
  return &hak_heap_record(heap)->store->pool;
}

/* ---- Two threads, the first to begin being the first to end -------------- */

enum {
  CALLS = 2
};
static atomic_int g_inside[CALLS], g_open[CALLS], g_errors[CALLS];
static _Thread_local int g_call = -1; /* which of them this thread makes */
static hak_heap_t *g_heap;

static int gated_commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  if (g_call >= 0 && atomic_exchange(&g_inside[g_call], 1) == 0) {
    while (atomic_load(&g_open[g_call]) == 0) usleep(100);
  }
  return g_commit(ctx, ptr, size, zeroed);
}

static void *prefault(void *ctx) {
  g_call = (int)(intptr_t)ctx;
  atomic_store(&g_errors[g_call],
               hak_heap_prefault(g_heap, (size_t)(g_call + 1) * 4 * MIB));
  return NULL;
}

static void begin(pthread_t *thread, int call) {
  CHECK_EQ(pthread_create(thread, NULL, prefault, (void *)(intptr_t)call), 0);
  while (atomic_load(&g_inside[call]) == 0) usleep(100);
}

static void finish(pthread_t thread, int call) {
  atomic_store(&g_open[call], 1);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(atomic_load(&g_errors[call]), 0);
}

static void prefaults__that_overlap_keep_what_they_asked_for_and_no_more(void **state) {
  (void)state;
  g_os.hooks.commit = gated_commit;
  g_heap = make();
  pthread_t threads[CALLS];
  for (int i = 0; i < CALLS; i++) begin(&threads[i], i);
  for (int i = 0; i < CALLS; i++) finish(threads[i], i);
  (void)hak_collect(g_heap, SIZE_MAX, HAK_COLLECT_ALL);
  size_t kept = g_os.committed_bytes;
  CHECK_MSG(kept >= 8 * MIB && kept <= 8 * MIB + 128 * KIB, "%zu bytes are kept", kept);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_prefault(g_heap, 0), 0);
  (void)hak_collect(g_heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(g_os.committed_bytes, 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
  CHECK_EQ(g_os.ranges, 0);
}

static void prefault__that_fails_leaves_another_ones_memory_kept(void **state) {
  (void)state;
  g_os.hooks.commit = gated_commit;
  for (int i = 0; i < CALLS; i++) {
    atomic_store(&g_inside[i], 0);
    atomic_store(&g_open[i], 0);
  }
  g_heap = make();
  pthread_t threads[CALLS];
  for (int i = 0; i < CALLS; i++) begin(&threads[i], i);
  finish(threads[0], 0);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_COMMIT, 1);
  atomic_store(&g_open[1], 1);
  CHECK_EQ(pthread_join(threads[1], NULL), 0);
  CHECK_EQ(atomic_load(&g_errors[1]), ENOMEM);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  (void)hak_collect(g_heap, SIZE_MAX, HAK_COLLECT_ALL);
  size_t kept = g_os.committed_bytes;
  CHECK_MSG(kept >= 4 * MIB && kept <= 4 * MIB + 128 * KIB, "%zu bytes are kept", kept);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static void prefault__without_address_space_fails(void **state) {
  (void)state;
  g_heap = make();
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RESERVE, 1);
  CHECK(!hak_pool_prefault(pool_of(g_heap), 4 * MIB));
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK(hak_pool_prefault(pool_of(g_heap), 4 * MIB));
  CHECK(g_os.committed_bytes >= 4 * MIB);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

/* ---- A reservation inside another one's ---------------------------------- */

static atomic_int g_nested;

/* One that succeeds while the outer one is at its first range, which then fails. */
static void *nesting_reserve(void *ctx, size_t size, size_t alignment) {
  if (atomic_exchange(&g_nested, 0) == 1) {
    CHECK(hak_pool_reserve(pool_of(g_heap), 4 * MIB));
    return NULL;
  }
  return g_reserve(ctx, size, alignment);
}

static void reserve__that_fails_leaves_another_ones_address_space_kept(void **state) {
  (void)state;
  g_os.hooks.reserve = nesting_reserve;
  g_heap = make();
  int64_t bytes = hak_option_get(HAK_OPTION_REGION_BYTES);
  CHECK_EQ(hak_option_set(HAK_OPTION_REGION_BYTES, 4 * MIB), 0);
  g_os.flags |= TEST_OS_LIMITED;
  g_os.limit = 4 * MIB;
  atomic_store(&g_nested, 1);
  CHECK(!hak_pool_reserve(pool_of(g_heap), 40 * MIB));
  void *block = hak_heap_alloc(g_heap, 100 * KIB);
  CHECK(block != NULL);
  hak_free(block);
  hak_thread_idle();
  (void)hak_collect(g_heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_load_relaxed(&pool_of(g_heap)->superslabs), 2);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_REGION_BYTES, bytes), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

#define M(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* ---- What is not to be kept any more ------------------------------------- */

static void prefault_of_nothing__lets_go_of_what_has_no_pages(void **state) {
  (void)state;
  hak_heap_config_t config = {
      .struct_size = sizeof config, .os = &g_os.hooks, .reserve = 8 << 20};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  CHECK(test_heap_stats(heap).committed_bytes > 0); /* records */
  CHECK_EQ(hak_heap_prefault(heap, 0), 0);
  CHECK_EQ(test_heap_stats(heap).committed_bytes, 0);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void purge__lets_go_of_what_a_reset_had_kept(void **state) {
  (void)state;
  hak_heap_t *heap = make();
  for (int i = 0; i < 100; i++) CHECK(hak_heap_alloc(heap, 50000) != NULL);
  CHECK_EQ(hak_heap_reset(heap), 0);
  CHECK(test_heap_stats(heap).committed_bytes > 0);
  (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_heap_stats(heap).committed_bytes, 0);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- What is in hand ------------------------------------------------------ */

static int (*g_purge)(void *ctx, void *ptr, size_t size);
static bool g_beside;

/* While slots are in hand, another thread checks the pool, and gives back what it may. */
static int purge_beside(void *ctx, void *ptr, size_t size) {
  if (g_beside) {
    g_beside = false;
    size_t slabs = SIZE_MAX;
    CHECK(hak_pool_is_valid(pool_of(g_heap)));
    (void)hak_pool_purge(pool_of(g_heap), UINT64_MAX, SIZE_MAX, &slabs);
  }
  return g_purge(ctx, ptr, size);
}

static void purges__at_once_leave_what_is_kept(void **state) {
  (void)state;
  static void *blocks[20];
  g_purge = g_os.hooks.purge;
  g_os.hooks.purge = purge_beside;
  g_heap = make();
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0); /* only the purges below */
  CHECK_EQ(hak_heap_prefault(g_heap, 4 * MIB), 0);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK((blocks[i] = hak_heap_alloc(g_heap, 500000)) != NULL);
  }
  for (size_t i = 1; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  g_beside = true;
  size_t slabs = SIZE_MAX;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  (void)hak_pool_purge(pool_of(g_heap), UINT64_MAX, MIB, &slabs);
  (void)hak_pool_purge(pool_of(g_heap), UINT64_MAX, SIZE_MAX, &slabs);
  hak_os_leave(before);
  CHECK(!g_beside);
  CHECK(hak_pool_is_valid(pool_of(g_heap)));
  const hak_shared_pool_t *pool = pool_of(g_heap);
  CHECK_EQ((pool->taken + pool->empty) * HAK_SLAB_SIZE, 4 * MIB);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

/* ---- What stays kept ------------------------------------------------------ */

static void keep_all__stays_whatever_is_let_go_of(void **state) {
  (void)state;
  g_heap = make();
  hak_shared_pool_t *pool = pool_of(g_heap);
  hak_pool_keep_all(pool);
  CHECK(hak_pool_keeps_some(pool));
  hak_pool_keep_none(pool);
  CHECK(hak_pool_keeps_some(pool));
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

/* What was asked for first stays, where less is asked for after that, or more in vain. */
static void prefaults__one_after_the_other_keep_the_largest_that_was_made(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  g_heap = make();
  hak_shared_pool_t *pool = pool_of(g_heap);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_COMMIT, 1);
  CHECK(!hak_pool_prefault(pool, 8 * MIB));
  CHECK(!hak_pool_keeps_some(pool));
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(hak_pool_prefault(pool, 4 * MIB));
  CHECK(hak_pool_prefault(pool, MIB));
  size_t slabs = SIZE_MAX;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  (void)hak_pool_purge(pool, UINT64_MAX, SIZE_MAX, &slabs);
  hak_os_leave(before);
  CHECK_EQ(pool->empty * HAK_SLAB_SIZE, 4 * MIB);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static void prefault__makes_what_is_reserved_ready_first(void **state) {
  (void)state;
  g_heap = test_heap_make(
      (hak_heap_config_t){.os = &g_os.hooks, .reserve = 4 * HAK_SUPERSLAB_SIZE});
  hak_shared_pool_t *pool = pool_of(g_heap);
  CHECK_EQ(hak_load_relaxed(&pool->superslabs), 4);
  CHECK(hak_pool_prefault(pool, 4 * HAK_SUPERSLAB_SIZE));
  CHECK_EQ(hak_load_relaxed(&pool->superslabs), 4);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

/* ---- In the child of a fork ------------------------------------------------ */

/* A call that was here is not there any more. */
static void forget_in_a_child(void) {
  if (!g_beside) return;
  g_beside = false;
  pid_t child = test_fork();
  if (child == 0) {
    hak_shared_pool_t *pool = pool_of(g_heap);
    CHECK(pool->in_hand == 0 && !hak_pool_keeps_some(pool));
    CHECK(!hak_pool_forget_lost(pool));
    _exit(0);
  }
  test_fork_end(child);
}
static int purge_forked(void *ctx, void *ptr, size_t size) {
  forget_in_a_child();
  return g_purge(ctx, ptr, size);
}
static void *reserve_forked(void *ctx, size_t size, size_t alignment) {
  forget_in_a_child();
  return g_reserve(ctx, size, alignment);
}

static void fork__amid_a_purge_finds_what_was_in_hand(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  g_purge = g_os.hooks.purge;
  g_os.hooks.purge = purge_forked;
  g_heap = make();
  void *block = hak_heap_alloc(g_heap, 500000), *stays = hak_heap_alloc(g_heap, 500000);
  CHECK(block != NULL && stays != NULL);
  hak_free(block);
  g_beside = true;
  size_t slabs = SIZE_MAX;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  (void)hak_pool_purge(pool_of(g_heap), UINT64_MAX, SIZE_MAX, &slabs);
  hak_os_leave(before);
  CHECK(!g_beside);
  CHECK(!hak_pool_forget_lost(pool_of(g_heap)));
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static void fork__amid_a_reservation_forgets_the_call(void **state) {
  (void)state;
  g_os.hooks.reserve = reserve_forked;
  g_heap = make();
  g_beside = true;
  CHECK(hak_pool_reserve(pool_of(g_heap), HAK_SUPERSLAB_SIZE));
  CHECK(!g_beside);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

TEST_MAIN_FRESH(M(keep_all__stays_whatever_is_let_go_of),
                M(prefaults__one_after_the_other_keep_the_largest_that_was_made),
                M(prefault__makes_what_is_reserved_ready_first),
                M(fork__amid_a_purge_finds_what_was_in_hand),
                M(fork__amid_a_reservation_forgets_the_call),
                M(prefaults__that_overlap_keep_what_they_asked_for_and_no_more),
                M(prefault__that_fails_leaves_another_ones_memory_kept),
                M(prefault__without_address_space_fails),
                M(reserve__that_fails_leaves_another_ones_address_space_kept),
                M(prefault_of_nothing__lets_go_of_what_has_no_pages),
                M(purge__lets_go_of_what_a_reset_had_kept),
                M(purges__at_once_leave_what_is_kept))
