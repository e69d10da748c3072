/* external_malloced.c - blocks that are malloc's, by their records: what is no block of
 * theirs, and moves that malloc refuses. */
#include "support.h"

#include <string.h>

#include "external/malloced.h"
#include "heap/heap.h"
#include "heap/lifecycle.h"

static hak_malloced_t *begin(hak_heap_t *heap) {
  hak_malloced_t *malloced = hak_heap_malloced(hak_heap_record(heap));
  CHECK(malloced != NULL && hak_malloced_is_valid(malloced));
  return malloced;
}

static uint64_t charged(hak_heap_t *heap) {
  return hak_load_relaxed(&hak_heap_record(heap)->store->pool.budget.charged);
}

static void free__of_what_is_no_block_does_nothing(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  hak_malloced_t *malloced = begin(heap);
  char local[64], *block = hak_malloced_alloc(malloced, 100, 0, false);
  CHECK(block != NULL);
  memset(local, 1, sizeof local);
  CHECK(!hak_malloced_free(local + 16));
  CHECK(!hak_malloced_free(block + 16));
  CHECK(!hak_malloced_free(NULL));
  CHECK_EQ(hak_malloced_blocks(malloced), 1);
  CHECK(hak_malloced_free(block));
  CHECK_EQ(hak_malloced_blocks(malloced), 0);
  CHECK(hak_malloced_is_valid(malloced));
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void move__that_malloc_refuses_leaves_the_block_and_its_charge(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  hak_malloced_t *malloced = begin(heap);
  char *block = hak_malloced_alloc(malloced, 100, 0, false), local;
  CHECK(block != NULL);
  test_fill(block, 100, 1);
  uint64_t before = charged(heap);
  CHECK(hak_malloced_move(malloced, block, test_opaque(SIZE_MAX / 4), 0) == NULL);
  CHECK(hak_malloced_move(malloced, &local, 200, 0) == NULL);
  CHECK_EQ(charged(heap), before);
  CHECK_EQ(hak_malloced_bytes(malloced), 100);
  CHECK(hak_malloced_is_valid(malloced) && test_verify(block, 100, 1));
  CHECK((block = hak_malloced_move(malloced, block, 300, 0)) != NULL);
  CHECK(test_verify(block, 100, 1));
  CHECK_EQ(charged(heap), before + 200);
  CHECK((block = hak_malloced_move(malloced, block, 50, 64)) != NULL);
  CHECK_EQ(charged(heap), before - 50);
  CHECK(hak_malloced_free(block));
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

int main(void) {
  test_begin();
  CHECK_EQ(hak_option_set(HAK_OPTION_BACKEND, HAK_BACKEND_MALLOC), 0);
  test_start();
  const struct CMUnitTest tests[] = {
      T(free__of_what_is_no_block_does_nothing),
      T(move__that_malloc_refuses_leaves_the_block_and_its_charge)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
