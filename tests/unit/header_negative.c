/* header_negative.c - what hakmem.h says of bad arguments, for the functions whose own
 * tests do not ask it: absurd sizes, pointers that are not ours, heaps that are gone. */
#include "support.h"

#include <errno.h>
#include <string.h>

static int g_foreign[64];

static hak_heap_t *make(hak_heap_t *parent) { return test_heap(0, NULL, parent); }

static hak_heap_t *make_stale(void) {
  hak_heap_t *heap = make(NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  return heap;
}

#define EXPECT_NULL(error, call) \
  do {                           \
    errno = TEST_ERRNO;          \
    CHECK((call) == NULL);       \
    CHECK_EQ(errno, error);      \
  } while (0)

static const size_t g_absurd[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX - 4096, SIZE_MAX - 1,
                                  SIZE_MAX};

static void absurd_sizes__are_out_of_memory_in_every_heap_function(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  HAK_SITE(site);
  for (size_t i = 0; i < TEST_COUNT(g_absurd); i++) {
    size_t size = test_opaque(g_absurd[i]);
    EXPECT_NULL(ENOMEM, hak_heap_alloc(heap, size));
    EXPECT_NULL(ENOMEM, hak_heap_calloc(heap, 1, size));
    EXPECT_NULL(ENOMEM, hak_heap_calloc(heap, size, 2));
    EXPECT_NULL(ENOMEM, hak_heap_realloc(heap, NULL, size));
    EXPECT_NULL(ENOMEM, hak_heap_aligned_alloc(heap, 64, size));
    EXPECT_NULL(ENOMEM, hak_allocx(heap, size, 0, HAK_ZERO, NULL));
    EXPECT_NULL(ENOMEM, hak_alloc_at(size, &site));
    EXPECT_NULL(ENOMEM, hak_alloc_named(size, &site));
    CHECK_EQ(hak_good_size(size), 0);
    unsigned char *block = hak_heap_alloc(heap, 100);
    test_fill(block, 100, i);
    EXPECT_NULL(ENOMEM, hak_heap_realloc(heap, block, size));
    CHECK_EQ(hak_resize_in_place(block, size, size), 0);
    CHECK(test_verify(block, 100, i));
    hak_heap_free(heap, block);
  }
  CHECK_EQ(g_reports.count, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void bad_alignments__are_invalid_in_every_heap_function(void **state) {
  (void)state;
  static const size_t wrong[] = {
      3, 24, 4095, HAK_ALIGNMENT_MAX + 1, HAK_ALIGNMENT_MAX * 2, SIZE_MAX};
  hak_heap_t *heap = make(NULL);
  void *block = hak_heap_alloc(heap, 100);
  for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
    EXPECT_NULL(EINVAL, hak_heap_aligned_alloc(heap, wrong[i], 64));
    EXPECT_NULL(EINVAL, hak_allocx(heap, 64, wrong[i], 0, NULL));
    EXPECT_NULL(EINVAL, hak_reallocx(heap, block, 200, wrong[i], 0, NULL));
  }
  CHECK_EQ(g_reports.count, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void foreign_pointers__are_named_by_the_functions_of_heaps(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  int local[4];
  void *const foreign[] = {g_foreign,
                           local,
                           (void *)1,
                           (void *)4096,
                           (void *)(uintptr_t)0x0000800000000000,
                           (void *)(uintptr_t)0xdeadbeefdeadbee0,
                           (void *)UINTPTR_MAX};
  unsigned count = 0;
  for (size_t i = 0; i < TEST_COUNT(foreign); i++) {
    void *p = foreign[i];
    hak_heap_free(heap, p);
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_heap_free");
    hak_heap_free(NULL, p);
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_heap_free");
    EXPECT_NULL(EINVAL, hak_heap_realloc(heap, p, 100));
    test_expect_report(++count, HAK_ERROR_FOREIGN_POINTER, p, "hak_heap_realloc");
    CHECK(hak_heap_of(p) == NULL);
    CHECK_EQ(hak_move_hint(p), 0);
  }
  CHECK_EQ(g_reports.count, count);
  CHECK(hak_heap_of(NULL) == NULL);
  CHECK_EQ(hak_move_hint(NULL), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void interior_pointers__are_named_by_the_functions_of_heaps(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  static const size_t sizes[] = {100000, 3 << 20, 50 << 20};
  unsigned count = 0;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    unsigned char *block = hak_heap_alloc(heap, sizes[i]);
    test_fill_sparse(block, sizes[i], i);
    hak_heap_free(heap, block + 4096);
    test_expect_report(++count, HAK_ERROR_INTERIOR_POINTER, block + 4096,
                       "hak_heap_free");
    EXPECT_NULL(EINVAL, hak_heap_realloc(heap, block + 1, 10));
    test_expect_report(++count, HAK_ERROR_INTERIOR_POINTER, block + 1,
                       "hak_heap_realloc");
    CHECK(g_reports.last.heap == heap);
    CHECK(test_verify_sparse(block, sizes[i], i));
    hak_heap_free(heap, block);
    CHECK_EQ(g_reports.count, count);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static bool no_block(const hak_block_t *block, void *ctx) {
  (void)block;
  (void)ctx;
  CHECK(!"a block of a heap that is gone");
  return false;
}

static void no_text(const char *text, size_t length, void *ctx) {
  (void)text;
  (void)length;
  (void)ctx;
  CHECK(!"statistics of a heap that is gone");
}

static void stale_heaps__are_invalid_wherever_no_block_is_asked_for(void **state) {
  (void)state;
  hak_heap_t *stale = make_stale(), *released = make(NULL);
  CHECK_EQ(hak_heap_release(released), 0);
  hak_heap_t *const gone[] = {stale, released};
  for (size_t i = 0; i < TEST_COUNT(gone); i++) {
    hak_stats_t stats = {.struct_size = sizeof stats};
    CHECK_EQ(hak_stats_get(gone[i], &stats), EINVAL);
    CHECK_EQ(hak_stats_print(gone[i], HAK_FORMAT_TEXT, no_text, NULL), EINVAL);
    CHECK_EQ(hak_stats_print(gone[i], HAK_FORMAT_JSON, no_text, NULL), EINVAL);
    CHECK_EQ(hak_heap_visit(gone[i], no_block, NULL, 0), EINVAL);
    CHECK_EQ(hak_check(gone[i]), EINVAL);
    CHECK_EQ(hak_heap_reset(gone[i]), EINVAL);
    CHECK_EQ(hak_heap_release(gone[i]), EINVAL);
    CHECK_EQ(hak_heap_destroy(gone[i]), EINVAL);
    CHECK(hak_heap_name(gone[i]) == NULL);
    errno = 0;
    CHECK_EQ(hak_collect(gone[i], SIZE_MAX, 0), 0);
    CHECK_EQ(errno, EINVAL);
    hak_heap_config_t config = {.struct_size = sizeof config, .parent = gone[i]};
    EXPECT_NULL(EINVAL, hak_heap_create(&config));
  }
  CHECK_EQ(g_reports.count, 0);
}

static void null__is_no_heap_that_ends_or_has_a_name(void **state) {
  (void)state;
  CHECK_EQ(hak_heap_reset(NULL), EINVAL);
  CHECK_EQ(hak_heap_release(NULL), EINVAL);
  CHECK_EQ(hak_heap_destroy(NULL), EINVAL);
  CHECK_EQ(g_reports.count, 0);
}

static void collect__unknown_flags_are_invalid_and_nothing_is_given(void **state) {
  (void)state;
  for (unsigned flag = 1; flag != 0; flag <<= 1) {
    if (flag == HAK_COLLECT_ALL) continue;
    errno = 0;
    CHECK_EQ(hak_collect(NULL, SIZE_MAX, flag), 0);
    CHECK_EQ(errno, EINVAL);
  }
}

static void sites__count_what_was_given_only(void **state) {
  (void)state;
  HAK_SITE(site);
  hak_free(hak_alloc_at(10, NULL));
  hak_free(hak_alloc_at(10, &site));
  CHECK_EQ(hak_site_count(&site), 1);
}

#define M(function) \
  cmocka_unit_test_setup_teardown(function, test_reports_setup, test_reports_teardown)

TEST_MAIN(M(absurd_sizes__are_out_of_memory_in_every_heap_function),
          M(bad_alignments__are_invalid_in_every_heap_function),
          M(foreign_pointers__are_named_by_the_functions_of_heaps),
          M(interior_pointers__are_named_by_the_functions_of_heaps),
          M(stale_heaps__are_invalid_wherever_no_block_is_asked_for),
          M(null__is_no_heap_that_ends_or_has_a_name),
          M(collect__unknown_flags_are_invalid_and_nothing_is_given),
          M(sites__count_what_was_given_only))
