/* given_back.c - misuse of freed blocks whose pages were given back while their slab is
 * in use: such a block has no link and no mark, so that it cannot say that it is free.
 * Full checks and hardened builds name it all the same. */
#include "child.h"

#include <string.h>

#ifndef TEST_CHECKS
#define TEST_CHECKS 1
#endif

static const size_t sizes[] = {16, 48, 1000, 3000, 8192, 28000};

enum {
  BYTES = 4 << 20,
  MOST = 8192
};
static char *g_blocks[MOST];
static size_t g_size, g_count;
static hak_heap_t *g_heap;

/* One block in so many stays: some in each slab, and pages between them. */
static size_t kept_each(void) { return g_size < 4096 ? 16384 / g_size : 4; }

static void fill(size_t i) {
  g_blocks[i] = hak_heap_alloc(g_heap, g_size);
  test_fill_sparse(g_blocks[i], g_size, i);
}

/* A freed block has neither a link nor a mark: the page where it begins was given back.
 */
static bool is_away(const char *block) {
  uint64_t words[2];
  memcpy(words, block, sizeof words);
  return words[0] == 0 && words[1] == 0;
}

/* A freed block that lies in pages that are gone, or NULL where none ever are. */
static char *free_most(size_t size) {
  char *away = NULL;
  g_size = size;
  g_count = BYTES / size < MOST ? BYTES / size : MOST;
  g_heap = test_heap(0, "heap", NULL);
  for (size_t i = 0; i < g_count; i++) fill(i);
  for (size_t i = 0; i < g_count; i++) {
    if (i % kept_each() != 0) hak_free(g_blocks[i]);
  }
  hak_collect(g_heap, SIZE_MAX, HAK_COLLECT_ALL);
  if (test_stats().hole_bytes == 0) return NULL;
  for (size_t i = g_count / 2; i < g_count && away == NULL; i++) {
    if (i % kept_each() != 0 && is_away(g_blocks[i])) away = g_blocks[i];
  }
  CHECK_MSG(away != NULL, "%zu: all are there", size);
  return away;
}

/* Blocks serve as before, and none has two owners. */
static void use_again(void) {
  for (size_t i = 0; i < g_count; i++) {
    if (i % kept_each() != 0) fill(i);
  }
  for (size_t i = 0; i < g_count; i++) {
    CHECK(test_verify_sparse(g_blocks[i], g_size, i));
    hak_free(g_blocks[i]);
  }
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static void expect_named(hak_error_t error, const char *block) {
  CHECK_MSG(g_reports.count == 1, "%zu: %u reports", g_size, g_reports.count);
  CHECK_EQ(g_reports.last.error, error);
  CHECK_MSG(g_reports.last.address == block, "%zu: %p", g_size, g_reports.last.address);
}

/* ---- To free or to ask about it again ------------------------------------------------
 */

static void by_free(char *block) { hak_free(block); }
static void by_sized_free(char *block) { hak_free_sized(block, g_size); }
static void by_heap_free(char *block) { hak_heap_free(g_heap, block); }
static void past_caches(char *block) { CHECK_EQ(hak_freex(block, HAK_NO_CACHE), 0); }
static void by_size(char *block) { CHECK_EQ(hak_usable_size(block), 0); }
static void by_realloc(char *block) { CHECK(hak_realloc(block, 2 * g_size) == NULL); }
static void by_resize(char *block) { CHECK_EQ(hak_resize_in_place(block, 1, g_size), 0); }

static int second_child(void *ctx) {
  (void)ctx;
  static void (*const acts[])(char *) = {
      by_free, by_sized_free, by_heap_free, past_caches, by_size, by_realloc, by_resize};
  test_start();
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    for (size_t act = 0; act < TEST_COUNT(acts); act++) {
      char *away = free_most(sizes[k]);
      if (away == NULL) return 0;
      test_reports_begin();
      acts[act](away);
      expect_named(HAK_ERROR_DOUBLE_FREE, away);
      use_again();
      CHECK_EQ(g_reports.count, 1);
    }
  }
  return 0;
}

static void second_free__of_a_block_that_was_given_back_is_named(void **state) {
  (void)state;
  if (TEST_CHECKS < 2) skip();
  test_child_must_succeed(second_child, NULL, 60);
}

/* ---- To write to it ------------------------------------------------------------------
 */

static int write_child(void *ctx) {
  (void)ctx;
  static const size_t places[] = {0, 3, 15};
  test_start();
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    for (size_t place = 0; place < TEST_COUNT(places); place++) {
      char *away = free_most(sizes[k]);
      if (away == NULL) return 0;
      test_reports_begin();
      away[places[place]] = 0x41;
      use_again();
      expect_named(HAK_ERROR_CORRUPT_BLOCK, away);
    }
  }
  return 0;
}

static void write__to_a_block_that_was_given_back_is_named(void **state) {
  (void)state;
  if (TEST_CHECKS < 2) skip();
  test_child_must_succeed(write_child, NULL, 60);
}

static int unwritten_child(void *ctx) {
  (void)ctx;
  test_start();
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    char *away = free_most(sizes[k]);
    if (away == NULL) return 0;
    test_reports_begin();
    use_again();
    CHECK_EQ(g_reports.count, 0);
  }
  return 0;
}

static void block__that_was_given_back_serves_without_a_report(void **state) {
  (void)state;
  test_child_must_succeed(unwritten_child, NULL, 60);
}

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      T(second_free__of_a_block_that_was_given_back_is_named),
      T(write__to_a_block_that_was_given_back_is_named),
      T(block__that_was_given_back_serves_without_a_report)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
