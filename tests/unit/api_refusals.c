/* api_refusals.c - what is asked for and cannot be had, by every name that the library
 * has for it: sizes that wrap, memory that has come to its end, ends and limits that are
 * refused. Nothing of it changes anything. */
#include "os_fixture.h"

#include <errno.h>
#include <string.h>

#include <hakmem/introspect.h>

static hak_site_t g_site = {.file = __FILE__, .line = 1, .name = "a place"};
static hak_heap_t *g_heap;

#define REFUSED(call)                                         \
  do {                                                        \
    errno = 0;                                                \
    CHECK_MSG((call) == NULL, "%s gave a block", #call);      \
    CHECK_MSG(errno == ENOMEM, "%s: errno %d", #call, errno); \
  } while (0)

static void products__that_wrap_are_refused_by_every_name(void **state) {
  (void)state;
  g_heap = test_heap(0, NULL, NULL);
  /* What is left of each product would be a small block. */
  const size_t count = test_opaque(SIZE_MAX / 16 + 2), size = 16;
  char *block = hak_alloc(100);
  test_fill(block, 100, 1);
  REFUSED(hak_calloc(count, size));
  REFUSED(hak_calloc_at(count, size, &g_site));
  REFUSED(hak_heap_calloc(g_heap, count, size));
  REFUSED(hak_heap_calloc_at(g_heap, count, size, &g_site));
  REFUSED(hak_reallocarray(block, count, size));
  REFUSED(hak_reallocarray(NULL, count, size));
  REFUSED(hak_reallocarray_at(block, count, size, &g_site));
  REFUSED(hak_reallocarray_at(NULL, count, size, &g_site));
  CHECK(test_verify(block, 100, 1));
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static const size_t g_sizes[] = {16, 128, 5000, 40000, 300 * KIB, 3 * MIB};

/* Until nothing is left of any of the sizes. */
static void use_up(void) {
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  for (size_t i = TEST_COUNT(g_sizes); i-- > 0;) {
    while (hak_alloc(g_sizes[i]) != NULL) continue;
    while (hak_heap_alloc(g_heap, g_sizes[i]) != NULL) continue;
    while (hak_aligned_alloc(64, g_sizes[i]) != NULL) continue;
    while (hak_heap_aligned_alloc(g_heap, 64, g_sizes[i]) != NULL) continue;
  }
}

static void refuse_size(size_t size) {
  size_t usable;
  REFUSED(hak_alloc(size));
  REFUSED(hak_alloc_at(size, &g_site));
  REFUSED(hak_alloc_named(size, &g_site));
  REFUSED(hak_alloc_usable(size, &usable));
  REFUSED(hak_calloc(1, size));
  REFUSED(hak_calloc_at(1, size, &g_site));
  REFUSED(hak_realloc(NULL, size));
  REFUSED(hak_aligned_alloc(64, size));
  REFUSED(hak_aligned_alloc_at(64, size, &g_site));
  REFUSED(hak_heap_alloc(g_heap, size));
  REFUSED(hak_heap_alloc_at(g_heap, size, &g_site));
  REFUSED(hak_heap_calloc(g_heap, 1, size));
  REFUSED(hak_heap_calloc_at(g_heap, 1, size, &g_site));
  REFUSED(hak_heap_aligned_alloc(g_heap, 64, size));
  REFUSED(hak_allocx(g_heap, size, 64, HAK_ZERO, NULL));
}

static void memory__that_has_come_to_its_end_is_null_by_every_name(void **state) {
  (void)state;
  g_heap = test_heap(0, NULL, NULL);
  char *small = hak_alloc(64), *large = hak_alloc(200 * KIB), text[5000];
  char *of_heap = hak_heap_alloc(g_heap, 64);
  test_fill(small, 64, 1);
  test_fill(large, 200 * KIB, 2);
  test_fill(of_heap, 64, 3);
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = '\0';
  use_up();
  for (size_t i = 0; i < TEST_COUNT(g_sizes); i++) refuse_size(g_sizes[i]);
  REFUSED(hak_strdup(text));
  REFUSED(hak_strdup_at(text, &g_site));
  REFUSED(hak_strndup(text, 4990));
  REFUSED(hak_strndup_at(text, 4990, &g_site));
  REFUSED(hak_realloc(small, 5000));
  REFUSED(hak_realloc_at(small, 40000, &g_site));
  REFUSED(hak_reallocarray(small, 3, 1 << 20));
  REFUSED(hak_heap_realloc(g_heap, of_heap, 5000));
  REFUSED(hak_heap_realloc_at(g_heap, of_heap, 300 * KIB, &g_site));
  REFUSED(hak_realloc(large, 3 * MIB));
  REFUSED(hak_aligned_realloc(small, 64, 5000));
  CHECK(test_verify(small, 64, 1) && test_verify(of_heap, 64, 3));
  CHECK(test_verify(large, 200 * KIB, 2));
  CHECK_EQ(hak_check(NULL), 0);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK((small = hak_realloc(small, 5000)) != NULL && test_verify(small, 64, 1));
  CHECK((large = hak_realloc(large, 3 * MIB)) != NULL);
  CHECK(test_verify(large, 200 * KIB, 2));
}

static bool count_block(const hak_block_t *block, void *ctx) {
  (void)block;
  ++*(unsigned *)ctx;
  return true;
}

static void visit__without_memory_for_its_notes_visits_nothing(void **state) {
  (void)state;
  g_heap = test_heap(0, NULL, NULL);
  void *blocks[200], *large = hak_heap_alloc(g_heap, 40 * MIB);
  CHECK(large != NULL);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_heap_alloc(g_heap, 80);
  for (size_t i = 0; i < TEST_COUNT(blocks); i += 2) hak_free(blocks[i]);
  size_t reserved = g_os.reserved_bytes;
  for (uint64_t n = 1; n <= 2; n++) {
    unsigned visited = 0;
    test_os_fail(&g_os, TEST_FAIL_NTH, 1u << TEST_OS_RESERVE | 1u << TEST_OS_COMMIT, n);
    CHECK_EQ(hak_heap_visit(g_heap, count_block, &visited, 0), ENOMEM);
    CHECK_EQ(visited, 0);
    CHECK_EQ(g_os.reserved_bytes, reserved);
  }
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  unsigned visited = 0;
  CHECK_EQ(hak_heap_visit(g_heap, count_block, &visited, 0), 0);
  CHECK_EQ(visited, TEST_COUNT(blocks) / 2 + 1);
  CHECK_EQ(g_os.reserved_bytes, reserved);
}

static _Alignas(2 * MIB) char g_memory[10 * MIB];

static void limits__of_memory_that_is_the_limit_are_refused_and_not_kept(void **state) {
  (void)state;
  for (size_t size = 512 * KIB; size <= sizeof g_memory; size += 19 * 512 * KIB) {
    hak_heap_t *heap = test_heap_in(g_memory, size, 0, NULL);
    CHECK(heap != NULL);
    CHECK_EQ(hak_heap_set_limits(heap, 0, 1), EINVAL);
    CHECK_EQ(hak_heap_set_limits(heap, 1, 0), EINVAL);
    for (int i = 0; i < 20; i++) CHECK(hak_heap_alloc(heap, 10000) != NULL);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static uint64_t given_back(void) {
  return g_os.calls[TEST_OS_PURGE] + g_os.calls[TEST_OS_RELEASE];
}

/* Free memory of many sizes, of two heaps. */
static void leave_much_free(void) {
  void *blocks[2][40];
  for (size_t i = 0; i < TEST_COUNT(blocks[0]); i++) {
    blocks[0][i] = hak_alloc(2000 << i % 10);
    blocks[1][i] = hak_heap_alloc(g_heap, 2000 << i % 10);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks[0]); i++) {
    hak_free(blocks[0][i]);
    hak_free(blocks[1][i]);
  }
}

static void purging__by_hand_is_left_alone_by_requests_that_are_refused(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  g_heap = test_heap(0, NULL, NULL);
  leave_much_free();
  test_os_advance_ms(&g_os, 100000);
  uint64_t before = given_back();
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RESERVE | 1u << TEST_OS_COMMIT,
               1);
  for (int i = 0; i < 3; i++) {
    REFUSED(hak_alloc(100 * MIB));
    REFUSED(hak_heap_alloc(g_heap, 100 * MIB));
    while (hak_heap_alloc(g_heap, 30000) != NULL) continue;
    REFUSED(hak_heap_alloc(g_heap, 30000));
  }
  CHECK_EQ(given_back(), before);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  hak_heap_t *limited = test_heap_make((hak_heap_config_t){.hard_limit = MIB});
  while (hak_heap_alloc(limited, 5000) != NULL) continue;
  REFUSED(hak_heap_alloc(limited, 200 * KIB));
  CHECK_EQ(given_back(), before);
  CHECK(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL) > 0);
  CHECK(given_back() > before);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 1), 0);
}

static void requests__that_may_not_grow_ask_the_system_for_nothing(void **state) {
  (void)state;
  g_heap = test_heap(0, NULL, NULL);
  leave_much_free();
  test_os_advance_ms(&g_os, 100000);
  uint64_t before = test_os_calls(&g_os);
  for (size_t i = 0; i < TEST_COUNT(g_sizes); i++) {
    for (int n = 0; n < 3000; n++)
      if (hak_allocx(g_heap, g_sizes[i], 0, HAK_NO_GROW, NULL) == NULL) break;
  }
  REFUSED(hak_allocx(g_heap, 100 * MIB, 0, HAK_NO_GROW, NULL));
  REFUSED(hak_allocx(NULL, 100 * MIB, 0, HAK_NO_GROW, NULL));
  CHECK_EQ(test_os_calls(&g_os), before);
}

static char *g_large;
static unsigned g_asked;

static int grow_inside(hak_heap_t *heap, size_t needed, int kind, void *ctx) {
  (void)needed;
  (void)kind;
  (void)ctx;
  g_asked++;
  size_t usable = hak_usable_size(g_large);
  CHECK_EQ(hak_resize_in_place(g_large, usable + 1, usable + 70000), 0);
  CHECK(hak_realloc(g_large, usable + 1) == NULL);
  CHECK(hak_heap_alloc(heap, 10) == NULL);
  CHECK(hak_resize_in_place(g_large, usable, usable) == usable);
  return 0;
}

static void callbacks__grow_no_block_of_the_heap_that_asks_them(void **state) {
  (void)state;
  g_heap = test_heap_make(
      (hak_heap_config_t){.hard_limit = 8 * MIB, .on_pressure = grow_inside});
  g_large = hak_heap_alloc(g_heap, 3 * MIB);
  CHECK(g_large != NULL);
  REFUSED(hak_heap_alloc(g_heap, 20 * MIB));
  CHECK(g_asked > 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

#define P(function) TEST_OVER_OS(function, 0)

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      P(products__that_wrap_are_refused_by_every_name),
      P(memory__that_has_come_to_its_end_is_null_by_every_name),
      P(visit__without_memory_for_its_notes_visits_nothing),
      P(purging__by_hand_is_left_alone_by_requests_that_are_refused),
      P(requests__that_may_not_grow_ask_the_system_for_nothing),
      P(callbacks__grow_no_block_of_the_heap_that_asks_them),
      P(limits__of_memory_that_is_the_limit_are_refused_and_not_kept),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
