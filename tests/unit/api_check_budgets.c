/* api_check_budgets.c - hak_check adds budgets up along their chains: it finds a charge
 * that nobody has, one that was taken back twice, one of another heap's, and says nothing
 * while all is right, whatever others do. */
#include "support.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "heap/heap.h"

static hak_budget_t *budget_of(hak_heap_t *handle) {
  return &hak_heap_record(handle)->store->pool.budget;
}

static void expect_wrong(void) {
  test_reports_begin();
  CHECK_EQ(hak_check(NULL), EFAULT);
  test_reports_end(1, HAK_ERROR_BAD_STATE);
}

static void check__finds_a_level_that_is_charged_too_much_or_too_little(void **state) {
  (void)state;
  hak_heap_t *parent = test_heap(0, "parent", NULL);
  hak_heap_t *child = test_heap(0, "child", parent);
  CHECK(hak_heap_alloc(child, 3000) != NULL && hak_heap_alloc(child, 40 << 20) != NULL);
  CHECK_EQ(hak_check(NULL), 0);
  hak_budget_t *levels[] = {budget_of(parent), budget_of(child)};
  for (size_t i = 0; i < TEST_COUNT(levels); i++) {
    hak_add_relaxed(&levels[i]->charged, 4096);
    expect_wrong();
    hak_sub_relaxed(&levels[i]->charged, 8192);
    expect_wrong();
    hak_add_relaxed(&levels[i]->charged, 4096);
    CHECK_EQ(hak_check(NULL), 0);
  }
  CHECK_EQ(hak_heap_destroy(child), 0);
  /* As it was where a released heap's charge went to another chain. */
  hak_sub_relaxed(&budget_of(parent)->charged, 300 << 20);
  expect_wrong();
  hak_add_relaxed(&budget_of(parent)->charged, 300 << 20);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(parent), 0);
}

static void check__finds_memory_that_is_charged_to_the_wrong_heap(void **state) {
  (void)state;
  hak_heap_t *one = test_heap(0, "one", NULL), *two = test_heap(0, "two", NULL);
  static const size_t sizes[] = {100, 3 << 20, 40 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *block = hak_heap_alloc(one, sizes[i]);
    CHECK(block != NULL && hak_heap_alloc(two, 100) != NULL);
    hak_budget_uncharge(budget_of(one), 4096);
    CHECK(hak_budget_charge(budget_of(two), 4096));
    expect_wrong();
    hak_budget_uncharge(budget_of(two), 4096);
    CHECK(hak_budget_charge(budget_of(one), 4096));
    CHECK_EQ(hak_check(NULL), 0);
    hak_free(block);
  }
  CHECK_EQ(hak_heap_destroy(one), 0);
  CHECK_EQ(hak_heap_destroy(two), 0);
}

static atomic_bool g_stop;

static void *work(void *parent) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)&rng);
  while (!atomic_load(&g_stop)) {
    hak_heap_t *heap = test_heap(0, "busy", parent);
    for (int i = 0; i < 40; i++) {
      void *block = hak_heap_alloc(heap, test_random_size(&rng, 48 << 20));
      if (i % 2 == 0) hak_free(block);
    }
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  return NULL;
}

static void check__beside_threads_at_work_says_nothing(void **state) {
  (void)state;
  hak_heap_t *parent = test_heap(0, "parent", NULL);
  pthread_t threads[2];
  atomic_store(&g_stop, false);
  test_threads_begin(threads, 2, work, parent);
  for (size_t i = test_scale(200); i > 0; i--) CHECK_EQ(hak_check(NULL), 0);
  atomic_store(&g_stop, true);
  test_threads_end(threads, 2);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(parent), 0);
}

TEST_MAIN(T(check__finds_a_level_that_is_charged_too_much_or_too_little),
          T(check__finds_memory_that_is_charged_to_the_wrong_heap),
          T(check__beside_threads_at_work_says_nothing))
