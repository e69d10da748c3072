/* heap_fork_lost.c - what the child of a fork makes of threads that are not there: of
 * those that were in the middle of a change, and of those that were not. */
#include "os_fixture.h"
#include "threads.h"

#include <hakmem/introspect.h>

#include <errno.h>
#include <pthread.h>

#include "child.h"
#include "heap/lifecycle.h"
#include "heap/thread.h"
#include "heap/threads.h"
#include "superslab/region.h"
#include "superslab/region_map.h"
#include "tiny/refill.h"

enum {
  RUN = 2 /* SuperSlabs */
};

static pthread_barrier_t g_met, g_over;
static hak_heap_t *g_heap;

static hak_shared_pool_t *pool_of(hak_heap_t *handle) {
  return &hak_heap_record(handle)->store->pool;
}

static uint32_t in_use(void) {
  hak_lock_acquire(&hak_regions.lock);
  uint32_t count = hak_regions.in_use;
  hak_lock_release(&hak_regions.lock);
  return count;
}

/* Runs `middle` in a thread's slow path, where the thread stays while `child` runs. */
static void fork_amid(test_thread_fn *middle, int (*child)(void *ctx), void *ctx) {
  pthread_t thread;
  CHECK_EQ(pthread_barrier_init(&g_met, NULL, 2), 0);
  CHECK_EQ(pthread_barrier_init(&g_over, NULL, 2), 0);
  test_threads_begin(&thread, 1, middle, ctx);
  pthread_barrier_wait(&g_met);
  test_child_must_succeed(child, ctx, 60);
  pthread_barrier_wait(&g_over);
  test_threads_end(&thread, 1);
}

static void wait_here(void) {
  pthread_barrier_wait(&g_met);
  pthread_barrier_wait(&g_over);
}

static uint64_t lost_bytes(void) { return test_stats().fork_lost_bytes; }

/* --- address space in hand
 * --------------------------------------------------------------- */

typedef struct in_hand {
  void *heap_id; /* NULL: of no heap yet, or none any more */
  bool refused;  /* the system takes no pages back */
  uint32_t before;
} in_hand_t;

static void *acquire_run(void *ctx) {
  const in_hand_t *hand = ctx;
  hak_thread_t *me = hak_thread_enter();
  hak_superslab_t *ss = hak_region_acquire(hak_lifecycle_os(), RUN, HAK_SUPERSLAB_SIZE,
                                           HAK_EXTENT_RUN, hand->heap_id, false);
  CHECK(me != NULL && ss != NULL);
  CHECK_EQ(in_use(), hand->before + RUN);
  for (int i = 0; i < RUN; i++) {
    bool zeroed;
    size_t pages = HAK_SUPERSLAB_SIZE / g_os.hooks.page_size;
    CHECK(hak_superslab_commit(&ss[i], 0, HAK_SUPERSLAB_SLABS, pages, false, &zeroed));
  }
  if (hand->refused) {
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_PURGE | 1u << TEST_OS_RELEASE,
                 1);
  }
  wait_here();
  hak_region_give(ss, RUN, 0);
  hak_thread_leave(me, "test");
  return NULL;
}

static int look_at_run(void *ctx) {
  const in_hand_t *hand = ctx;
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(in_use(), hand->before + (hand->refused ? RUN : 0));
  CHECK((lost_bytes() > 0) == hand->refused);
  void *block = hak_heap_calloc(g_heap, 1, 3 * MIB);
  CHECK(block != NULL && test_is_zero(block, 3 * MIB));
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void runs__that_a_lost_thread_had_in_hand_are_free(void **state) {
  (void)state;
  g_heap = test_heap(0, NULL, NULL);
  hak_free(hak_heap_alloc(g_heap, 100));
  in_hand_t hand = {NULL, false, in_use()};
  fork_amid(acquire_run, look_at_run, &hand);
  hand.heap_id = hak_heap_id(hak_heap_record(g_heap));
  fork_amid(acquire_run, look_at_run, &hand);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static void runs__whose_pages_nobody_takes_back_stay_out_of_use(void **state) {
  (void)state;
  g_heap = test_heap(0, NULL, NULL);
  hak_free(hak_heap_alloc(g_heap, 100));
  in_hand_t hand = {hak_heap_id(hak_heap_record(g_heap)), true, in_use()};
  fork_amid(acquire_run, look_at_run, &hand);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static hak_slab_t *g_slab;

static void *take_slot(void *ctx) {
  const in_hand_t *hand = ctx;
  bool zeroed;
  hak_thread_t *me = hak_thread_enter();
  g_slab = hak_pool_get(pool_of(g_heap), 1, HAK_SLAB_SIZE, HAK_SLAB_SIZE, false, &zeroed);
  CHECK(me != NULL && g_slab != NULL);
  if (hand->refused) {
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_PURGE | 1u << TEST_OS_RELEASE,
                 1);
  }
  wait_here();
  hak_pool_put(pool_of(g_heap), g_slab, 1);
  hak_thread_leave(me, "test");
  return NULL;
}

static int look_at_slot(void *ctx) {
  const in_hand_t *hand = ctx;
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_check(NULL), 0);
  hak_superslab_t *ss = hak_slab_superslab(g_slab);
  bool is_free = (hak_superslab_free(ss) >> (g_slab - ss->slabs) & 1) != 0;
  CHECK_EQ(is_free, !hand->refused);
  CHECK((lost_bytes() > 0) == hand->refused);
  return 0;
}

static void slots__that_a_lost_thread_had_in_hand_are_free(void **state) {
  (void)state;
  g_heap = test_heap(0, NULL, NULL);
  void *block = hak_heap_alloc(g_heap, 100);
  for (int refused = 0; refused < 2; refused++) {
    in_hand_t hand = {NULL, refused != 0, 0};
    fork_amid(take_slot, look_at_slot, &hand);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  }
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

/* --- lists
 * ------------------------------------------------------------------------------- */

static void *stay_inside(void *ctx) {
  (void)ctx;
  hak_thread_t *me = hak_thread_enter();
  CHECK(me != NULL);
  wait_here();
  hak_thread_leave(me, "test");
  return NULL;
}

static pthread_barrier_t g_cached;

/* A thread outside of all calls, which has freed blocks. */
static void *stay_outside(void *ctx) {
  (void)ctx;
  char *blocks[200], *of_heap[200];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc(400);
    of_heap[i] = hak_heap_alloc(g_heap, 400);
    CHECK(blocks[i] != NULL && of_heap[i] != NULL);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    hak_free(blocks[i]);
    hak_free(of_heap[i]);
  }
  pthread_barrier_wait(&g_cached);
  pthread_barrier_wait(&g_cached);
  return NULL;
}

static int look_at_lists(void *ctx) {
  (void)ctx;
  CHECK_EQ(lost_bytes(), 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_heap_live_blocks(g_heap), 0);
  CHECK_EQ(test_heap_stats(g_heap).live_blocks, 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_stats().live_blocks, 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void lists__of_threads_outside_of_calls_are_not_lost(void **state) {
  (void)state;
  g_heap = test_heap(0, NULL, NULL);
  hak_free(hak_heap_alloc(g_heap, 400));
  hak_free(hak_alloc(400));
  pthread_t thread;
  CHECK_EQ(pthread_barrier_init(&g_cached, NULL, 2), 0);
  test_threads_begin(&thread, 1, stay_outside, NULL);
  pthread_barrier_wait(&g_cached);
  fork_amid(stay_inside, look_at_lists, NULL);
  pthread_barrier_wait(&g_cached);
  test_threads_end(&thread, 1);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static pthread_barrier_t g_ended;
static bool g_inside;

/* Has had a cache of a heap that is gone, and one of g_heap. */
static void *stay_with_caches(void *ctx) {
  void *blocks[200];
  for (int round = 0; round < 2; round++) {
    hak_heap_t *heap = round == 0 ? ctx : g_heap;
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_heap_alloc(heap, 400);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
    if (round == 0) {
      pthread_barrier_wait(&g_ended);
      pthread_barrier_wait(&g_ended);
    }
  }
  if (g_inside) return stay_inside(NULL);
  wait_here();
  return NULL;
}

static int look_at_caches(void *ctx) {
  (void)ctx;
  CHECK((lost_bytes() > 0) == g_inside && lost_bytes() < MIB);
  CHECK_EQ(hak_check(NULL), 0);
  hak_heap_t *heap = test_heap(0, NULL, NULL); /* in the record of the one that is gone */
  hak_free(hak_heap_alloc(heap, 400));
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void fork_with_caches(void) {
  hak_heap_t *gone = test_heap(0, NULL, NULL);
  pthread_t thread;
  CHECK_EQ(pthread_barrier_init(&g_met, NULL, 2), 0);
  CHECK_EQ(pthread_barrier_init(&g_over, NULL, 2), 0);
  CHECK_EQ(pthread_barrier_init(&g_ended, NULL, 2), 0);
  test_threads_begin(&thread, 1, stay_with_caches, gone);
  pthread_barrier_wait(&g_ended);
  CHECK_EQ(hak_heap_destroy(gone), 0);
  (void)hak_collect(NULL, SIZE_MAX,
                    HAK_COLLECT_ALL); /* the pages of its record go, too */
  pthread_barrier_wait(&g_ended);
  pthread_barrier_wait(&g_met);
  test_child_must_succeed(look_at_caches, NULL, 60);
  pthread_barrier_wait(&g_over);
  test_threads_end(&thread, 1);
}

static void caches__of_heaps_that_are_gone_are_not_looked_at(void **state) {
  (void)state;
  test_keep_unused(true);
  g_heap = test_heap(0, NULL, NULL);
  g_inside = true;
  fork_with_caches();
  g_inside = false;
  fork_with_caches();
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static int look_at_kept(void *ctx) {
  const uint64_t *kept = ctx;
  hak_heap_t *samples = hak_heap_samples(hak_heap_get_default());
  CHECK_EQ(test_stats().live_blocks, 0);
  CHECK_EQ(hak_load_relaxed(&samples->store->pool.taken), *kept);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_load_relaxed(&samples->store->pool.taken), 0);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

/* What was kept of samples with a span to themselves, of which no thread knows. */
static void samples__that_were_kept_are_free(void **state) {
  (void)state;
  HAK_SITE(place);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  hak_free(hak_alloc_at(8000, &place));
  hak_heap_t *samples = hak_heap_samples(hak_heap_get_default());
  uint64_t kept = hak_load_relaxed(&samples->store->pool.taken);
  CHECK(kept > 0);
  fork_amid(stay_inside, look_at_kept, &kept);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 262144), 0);
}

/* --- blocks
 * ------------------------------------------------------------------------------ */

enum {
  BLOCKS = HAK_CLASSES + 3, /* of each class, and larger ones */
  ENCLOSED = 12 * MIB,
  ANNEXED = 100
};
static _Alignas(2 * 1024 * 1024) char g_memory[ENCLOSED];
static char *g_blocks[BLOCKS];
static hak_heap_t *g_enclosed;
static char *g_annexed[ANNEXED];
static size_t g_annexed_count;

static size_t size_of(uint32_t i) {
  static const size_t larger[] = {2 * MIB - 64 * KIB, 5 * MIB, 40 * MIB};
  return i < HAK_CLASSES ? hak_class_size(i) - 16 * (i > 4) : larger[i - HAK_CLASSES];
}

static void make_blocks(void) {
  for (uint32_t i = 0; i < BLOCKS; i++) {
    CHECK((g_blocks[i] = hak_heap_alloc(g_heap, size_of(i))) != NULL);
    test_fill_sparse(g_blocks[i], size_of(i), i);
  }
}

static void verify_blocks(void) {
  for (uint32_t i = 0; i < BLOCKS; i++) {
    CHECK(test_verify_sparse(g_blocks[i], size_of(i), i));
  }
  for (size_t i = 0; i < g_annexed_count; i++) {
    CHECK(test_verify(g_annexed[i], 200 * KIB, i));
  }
}

static int look_at_blocks(void *ctx) {
  const hak_stats_t *before = ctx;
  CHECK_EQ(hak_check(NULL), 0);
  verify_blocks();
  hak_stats_t now = test_heap_stats(g_heap);
  CHECK_EQ(now.live_blocks, before->live_blocks);
  CHECK_EQ(now.live_bytes, before->live_bytes);
  CHECK_EQ(now.committed_bytes, before->committed_bytes);
  /* What is enclosed has no room but between the blocks that it has. */
  while (hak_heap_alloc(g_enclosed, 1000) != NULL) {}
  verify_blocks();
  for (uint32_t i = 0; i < BLOCKS; i++) hak_free(g_blocks[i]);
  CHECK_EQ(test_heap_live_blocks(g_heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(g_enclosed), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

/* A thread is lost in a slow path, so that all there is is looked at. */
static void blocks__of_all_kinds_are_left_as_they_are(void **state) {
  (void)state;
  test_keep_unused(true);
  g_heap = test_heap(0, NULL, NULL);
  make_blocks();
  /* Its large blocks take slots between its small ones at last. */
  CHECK((g_enclosed = test_heap_in(g_memory, sizeof g_memory, 0, NULL)) != NULL);
  CHECK(hak_heap_alloc(g_enclosed, 1000) != NULL);
  for (g_annexed_count = 0; g_annexed_count < ANNEXED; g_annexed_count++) {
    char *block = hak_heap_alloc(g_enclosed, 200 * KIB);
    if (block == NULL) break;
    test_fill(block, 200 * KIB, g_annexed_count);
    g_annexed[g_annexed_count] = block;
  }
  hak_stats_t before = test_heap_stats(g_heap);
  fork_amid(stay_inside, look_at_blocks, &before);
  verify_blocks();
  CHECK_EQ(hak_heap_destroy(g_enclosed), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

/* --- who forks
 * --------------------------------------------------------------------------- */

static int look_at_users(void *ctx) {
  (void)ctx;
  CHECK(hak_thread_self->kind != HAK_THREAD_ATTACHED);
  CHECK_EQ(hak_load_relaxed(&hak_heap_get_default()->store->pool.budget.users), 0);
  hak_free(hak_alloc(100));
  CHECK_EQ(hak_load_relaxed(&hak_heap_get_default()->store->pool.budget.users), 1);
  return 0;
}

static void *fork_unattached(void *ctx) {
  (void)ctx;
  test_child_must_succeed(look_at_users, NULL, 60);
  return NULL;
}

static void users__are_none_where_a_thread_forks_that_is_not_attached(void **state) {
  (void)state;
  hak_free(hak_alloc(100));
  test_thread_run(fork_unattached, NULL);
}

static int look_from_inside(void *ctx) {
  CHECK_EQ(lost_bytes(), 0);
  hak_registry_done(ctx);
  hak_thread_leave(hak_thread_self, "test");
  CHECK_EQ(lost_bytes(), 0);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

/* As out of a hook: its own lists, and what it has in hand, are not lost. */
static void nothing__is_lost_of_the_thread_that_forks_in_a_slow_path(void **state) {
  (void)state;
  hak_free(hak_alloc(400)); /* lies in a bin */
  hak_thread_t *me = hak_thread_enter();
  hak_spare_leaves_t own;
  CHECK(me != NULL && hak_registry_prepare(MIB, &own));
  test_child_must_succeed(look_from_inside, &own, 60);
  hak_registry_done(&own);
  hak_thread_leave(me, "test");
}

static int look_from_shared(void *shared) {
  CHECK_EQ(lost_bytes(), 0);
  CHECK_EQ(hak_load_relaxed(&((hak_thread_t *)shared)->busy), 1);
  hak_thread_leave(shared, "test");
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void *fork_with_shared(void *ctx) {
  (void)ctx;
  hak_thread_t *shared = hak_thread_enter_started();
  CHECK(shared == hak_threads_shared());
  void *block = hak_refill_bin(shared, &shared->cache, hak_class_of(400));
  CHECK(block != NULL); /* and others lie in the bin */
  test_child_must_succeed(look_from_shared, shared, 60);
  hak_thread_leave(shared, "test");
  hak_free(block);
  return NULL;
}

/* As out of a hook of a thread that has no state of its own. */
static void nothing__is_lost_of_the_shared_state_where_its_user_forks(void **state) {
  (void)state;
  hak_free(hak_alloc(100));
  hak_thread_exit(); /* what this thread has would be lost */
  test_thread_run(fork_with_shared, NULL);
}

static int look_at_budget(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_check(NULL), 0);
  hak_add_relaxed(&pool_of(g_heap)->budget.charged, 4096);
  test_reports_begin();
  CHECK_EQ(hak_check(NULL), EFAULT);
  test_reports_end(1, HAK_ERROR_BAD_STATE);
  return 0;
}

/* No state of a thread that is not there seems to be at work for good. */
static void check__of_a_child_finds_a_wrong_budget(void **state) {
  (void)state;
  g_heap = test_heap(0, NULL, NULL);
  hak_free(hak_heap_alloc(g_heap, 100));
  test_child_must_succeed(look_at_budget, NULL, 60);
  fork_amid(stay_inside, look_at_budget, NULL);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

#define P(function) TEST_OVER_OS(function, 0)

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      P(runs__that_a_lost_thread_had_in_hand_are_free),
      P(runs__whose_pages_nobody_takes_back_stay_out_of_use),
      P(slots__that_a_lost_thread_had_in_hand_are_free),
      P(lists__of_threads_outside_of_calls_are_not_lost),
      P(samples__that_were_kept_are_free),
      P(caches__of_heaps_that_are_gone_are_not_looked_at),
      P(blocks__of_all_kinds_are_left_as_they_are),
      P(nothing__is_lost_of_the_thread_that_forks_in_a_slow_path),
      P(nothing__is_lost_of_the_shared_state_where_its_user_forks),
      P(check__of_a_child_finds_a_wrong_budget),
      P(users__are_none_where_a_thread_forks_that_is_not_attached),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
