/* api_check.c - hak_check finds what is wrong in a heap, says so of the heap that is
 * asked for and of no other, and returns an error then. */
#include "support.h"
#include "threads.h"

#include <errno.h>

#include "external/external_heap.h"
#include "heap/heap.h"
#include "heap/kind.h"
#include "heap/thread.h"
#include "tiny/hold.h"
#include "tiny/size_class.h"

enum {
  SIZE = 1000
};

/* So many reports, each of that heap, and an error if there are some. */
static void expect(hak_heap_t *asked, unsigned reports, const hak_heap_t *wrong) {
  test_reports_begin();
  CHECK_EQ(hak_check(asked), reports > 0 ? EFAULT : 0);
  if (reports > 0) CHECK(g_reports.last.heap == wrong);
  test_reports_end(reports, HAK_ERROR_BAD_STATE);
}

static void check__of_a_heap_tells_of_its_own_state_alone(void **state) {
  (void)state;
  hak_heap_t *wrong = test_heap(0, "wrong", NULL), *right = test_heap(0, "right", NULL);
  CHECK(hak_heap_alloc(wrong, SIZE) != NULL && hak_heap_alloc(right, SIZE) != NULL);
  expect(NULL, 0, NULL);
  hak_shared_pool_t *pool = &hak_heap_record(wrong)->store->pool;
  hak_add_relaxed(&pool->taken, 1);
  expect(right, 0, NULL);
  expect(wrong, 1, wrong);
  expect(NULL, 1, wrong);
  hak_sub_relaxed(&pool->taken, 1);
  expect(NULL, 0, NULL);
  CHECK_EQ(hak_heap_destroy(wrong), 0);
  CHECK_EQ(hak_heap_destroy(right), 0);
}

static void check__finds_what_the_thread_holds_wrong(void **state) {
  (void)state;
  for (uint32_t flags = 0; flags <= HAK_HEAP_SERIAL; flags += HAK_HEAP_SERIAL) {
    hak_heap_t *heap = test_heap(flags, "heap", NULL);
    for (int i = 0; i < 1000; i++) CHECK(hak_heap_alloc(heap, SIZE) != NULL);
    const hak_cache_t *cache =
        hak_kind_cache_made(hak_thread_self, hak_heap_record(heap));
    CHECK(cache != NULL);
    hak_hold_t *hold = &cache->holds[hak_class_of(SIZE)];
    hold->slabs++;
    expect(heap, 1, heap);
    /* What a serial heap keeps is looked at where it is named: it is its user's. */
    expect(NULL, flags == 0 ? 1 : 0, heap);
    hold->slabs--;
    expect(heap, 0, NULL);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void check__finds_little_memory_of_the_callers_wrong(void **state) {
  (void)state;
  static char memory[1 << 20];
  hak_heap_t *heap = test_heap_in(memory, sizeof memory, 0, NULL);
  CHECK(heap != NULL && hak_heap_alloc(heap, SIZE) != NULL);
  expect(heap, 0, NULL);
  hak_external_heap_t *external = hak_heap_external(hak_heap_record(heap));
  hak_add_relaxed(&external->blocks, 1);
  expect(heap, 1, heap);
  expect(NULL, 1, heap);
  hak_sub_relaxed(&external->blocks, 1);
  expect(heap, 0, NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void *check_serial(void *heap) {
  CHECK(hak_thread_self->kind != HAK_THREAD_ATTACHED);
  CHECK_EQ(hak_check(heap), 0);
  CHECK(hak_thread_self->kind != HAK_THREAD_ATTACHED);
  return NULL;
}

/* A thread that has not allocated anything may have the heap now. */
static void check__of_a_serial_heap_is_right_on_a_thread_without_a_state(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(HAK_HEAP_SERIAL, "serial", NULL);
  static void *blocks[5000];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++)
    CHECK((blocks[i] = hak_heap_alloc(heap, SIZE)) != NULL);
  for (size_t i = 0; i < TEST_COUNT(blocks); i += 2) hak_free(blocks[i]);
  test_thread_run(check_serial, heap);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(check__of_a_heap_tells_of_its_own_state_alone),
          T(check__finds_what_the_thread_holds_wrong),
          T(check__finds_little_memory_of_the_callers_wrong),
          T(check__of_a_serial_heap_is_right_on_a_thread_without_a_state))
