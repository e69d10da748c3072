/* harden.c - what leaves a list of free blocks in a hardened build is looked at before
 * the program has it. Lists are sealed, so no program brings them to lead astray: here
 * what a list would have led to is handed over by itself. */
#include "heap/harden.h"

#include <string.h>

#include "child.h"
#include "heap/heap.h"
#include "strict_os.h"
#include "tiny/slab.h"

enum {
  SIZE = 100
};

static uint32_t class_of(const void *block) { return hak_locate((uintptr_t)block).cls; }

/* The block is no free one of the default heap's, and is reported as such. */
static void expect_refused(uint32_t cls, void *block) {
  test_reports_begin();
  CHECK(!hak_harden_give(NULL, cls, block));
  test_reports_end_at(HAK_ERROR_CORRUPT_BLOCK, block);
}

TEST_IN_CHILD(list__that_leads_to_what_is_no_free_block_is_named, 60) {
  test_start();
  char *block = hak_alloc(SIZE), *small = hak_alloc(24), *large = hak_alloc(3 * MIB);
  hak_heap_t *heap = test_heap(0, "heap", NULL);
  char *others = hak_heap_alloc(heap, SIZE);
  CHECK(block != NULL && small != NULL && large != NULL && others != NULL);
  uint32_t cls = class_of(block);
  hak_free(small);
  test_fill(block, SIZE, 1);
  test_fill(large, SIZE, 2);
  expect_refused(cls, block);      /* the program has it */
  expect_refused(cls, block + 16); /* none begins there */
  expect_refused(cls, small);      /* too small */
  expect_refused(cls, large);      /* of no class */
  expect_refused(cls, others);     /* another heap's */
  expect_refused(cls, &cls);       /* not the library's */
  hak_slab_t *slab = hak_locate((uintptr_t)block).slab;
  CHECK(hak_slab_carved(slab) < hak_slab_capacity(slab));
  char *start = hak_slab_start(slab);
  size_t step = hak_class_size(cls);
  expect_refused(cls, start + hak_slab_carved(slab) * step); /* not cut yet */
  CHECK(test_verify(block, SIZE, 1) && test_verify(large, SIZE, 2));
  hak_free(others);
  hak_free(large);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Their hooks bring pages that nobody wrote to, and that are not zeroed. */
TEST_IN_CHILD(pages__that_hooks_bring_to_a_block_that_grows_are_not_looked_at, 60) {
  static test_os_t os;
  test_os_open(&os, TEST_OS_DIRTY);
  CHECK_EQ(test_os_init(&os), 0);
  test_reports_begin();
  for (size_t size = 20 * MIB; size <= 80 * MIB; size += 20 * MIB) {
    char *block = hak_alloc(size - 4 * MIB);
    CHECK(block != NULL);
    block = hak_realloc(block, size);
    CHECK(block != NULL);
    size_t now = hak_resize_in_place(block, size + 64 * KIB, 2 * size);
    CHECK(now == 0 || now >= size + 64 * KIB);
    hak_free(block);
  }
  CHECK_EQ(g_reports.count, 0);
  CHECK_EQ(hak_shutdown(0), 0);
  test_os_close(&os);
}

/* Blocks over 56 KiB do not wait, however much may: their memory serves at once. */
TEST_IN_CHILD(quarantine__has_no_blocks_with_spans_of_their_own, 60) {
  static const size_t sizes[] = {60000, 200000, 900000, 3 * MIB};
  test_start();
  CHECK_EQ(hak_option_set(HAK_OPTION_QUARANTINE_BYTES, 16 * MIB), 0);
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    for (size_t i = 0; i < 64; i++) {
      char *block = hak_alloc(sizes[k]);
      CHECK(block != NULL);
      memset(block, 0x5a, sizes[k]);
      hak_free(block);
    }
    CHECK_EQ(test_live_blocks(), 0);
    size_t committed = test_stats().committed_bytes;
    CHECK_MSG(committed < 8 * MIB, "%zu: %zu KiB", sizes[k], committed >> 10);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      T(list__that_leads_to_what_is_no_free_block_is_named),
      T(pages__that_hooks_bring_to_a_block_that_grows_are_not_looked_at),
      T(quarantine__has_no_blocks_with_spans_of_their_own),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
