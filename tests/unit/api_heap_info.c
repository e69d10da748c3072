/* api_heap_info.c - what a heap is called and part of, what it had at most, and what its
 * size classes have. */
#include "support.h"
#include "threads.h"

#include <errno.h>
#include <string.h>

static hak_heap_t *make(hak_heap_t *parent, const char *name) {
  return test_heap_make((hak_heap_config_t){.parent = parent, .name = name});
}

static void parent__is_the_heap_that_was_given(void **state) {
  (void)state;
  hak_heap_t *top = make(NULL, "top"), *middle = make(top, "middle");
  hak_heap_t *serial =
      test_heap_make((hak_heap_config_t){.parent = middle, .flags = HAK_HEAP_SERIAL});
  CHECK(hak_heap_parent(top) == NULL);
  CHECK(hak_heap_parent(middle) == top && hak_heap_parent(serial) == middle);
  CHECK(hak_heap_parent(NULL) == NULL && hak_heap_parent(hak_heap_default()) == NULL);
  CHECK_EQ(hak_heap_release(serial), 0);
  CHECK(hak_heap_parent(serial) == NULL); /* its handle is no heap any more */
  CHECK_EQ(hak_heap_destroy(middle), 0);
  hak_heap_t *below_default = make(hak_heap_default(), NULL);
  CHECK(hak_heap_parent(below_default) == hak_heap_default());
  CHECK_EQ(hak_heap_destroy(below_default), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
}

static void name__can_be_changed_and_is_cut(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL, "before");
  const char *before = hak_heap_name(heap);
  CHECK_EQ(hak_heap_set_name(heap, "0123456789012345678901234567890123456789"), 0);
  CHECK(strcmp(hak_heap_name(heap), "0123456789012345678901234567890") == 0);
  CHECK(strcmp(before, "before") == 0); /* until it is named once more */
  CHECK_EQ(hak_heap_set_name(heap, NULL), 0);
  CHECK(strcmp(hak_heap_name(heap), "") == 0);
  CHECK_EQ(hak_heap_set_name(NULL, "main"), 0);
  CHECK(strcmp(hak_heap_name(hak_heap_default()), "main") == 0);
  CHECK_EQ(hak_heap_set_name(NULL, "default"), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_set_name(heap, "late"), EINVAL);
  heap = make(NULL, NULL); /* whose record has had names */
  CHECK(strcmp(hak_heap_name(heap), "") == 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Between two characters, wherever the 31st byte falls. */
static void name__is_not_cut_within_a_character(void **state) {
  (void)state;
  for (size_t first = 0; first < 4; first++) {
    char name[80] = "";
    for (size_t i = 0; i < first; i++) strcat(name, "-");
    for (size_t i = 0; i < 12; i++) strcat(name, "\xe2\x82\xac");
    hak_heap_t *heap = make(NULL, name);
    size_t whole = first + (31 - first) / 3 * 3;
    CHECK_EQ(strlen(hak_heap_name(heap)), whole);
    CHECK(memcmp(hak_heap_name(heap), name, whole) == 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void user__pointer_goes_with_the_heap(void **state) {
  (void)state;
  int here;
  hak_heap_t *heap = make(NULL, NULL);
  CHECK(hak_heap_user(heap) == NULL);
  CHECK_EQ(hak_heap_set_user(heap, &here), 0);
  CHECK(hak_heap_user(heap) == &here);
  CHECK_EQ(hak_heap_reset(heap), 0);
  CHECK(hak_heap_user(heap) == &here);
  CHECK_EQ(hak_heap_set_user(NULL, state), 0);
  CHECK(hak_heap_user(hak_heap_default()) == state);
  CHECK_EQ(hak_heap_set_user(NULL, NULL), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK(hak_heap_user(heap) == NULL);
  CHECK_EQ(hak_heap_set_user(heap, &here), EINVAL);
  heap = make(NULL, NULL);
  CHECK(hak_heap_user(heap) == NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* What a heap had at most covers those below it, and what came between two looks. */
static void peak__is_the_most_that_was_charged(void **state) {
  (void)state;
  hak_heap_t *top = make(NULL, "top"), *low = make(top, "low"), *other = make(NULL, NULL);
  CHECK_EQ(test_heap_stats(top).peak_committed_bytes, 0);
  hak_free(hak_heap_alloc(low, 5 * MIB));
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  void *block = hak_heap_alloc(top, 1 * MIB);
  hak_stats_t t = test_heap_stats(top), l = test_heap_stats(low);
  CHECK(t.committed_bytes < 2 * MIB && l.committed_bytes == 0);
  CHECK(t.peak_committed_bytes >= 5 * MIB && t.peak_committed_bytes < 6 * MIB);
  CHECK(l.peak_committed_bytes >= 5 * MIB && l.peak_committed_bytes < 6 * MIB);
  CHECK_EQ(test_heap_stats(other).peak_committed_bytes, 0);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(low), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
  CHECK_EQ(hak_heap_destroy(other), 0);
}

enum {
  CLASSES_MOST = 128
};

static void classes__have_what_was_allocated(void **state) {
  (void)state;
  static hak_class_stats_t rows[CLASSES_MOST];
  static const size_t sizes[] = {16, 100, 1000, 5000, 30000, 100000};
  hak_heap_t *top = make(NULL, NULL), *low = make(top, NULL);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (size_t k = 0; k < 10 + i; k++) {
      void *block = hak_heap_alloc(k % 2 == 0 ? top : low, sizes[i]);
      CHECK(block != NULL);
      if (k >= 5 + i) hak_free(block);
    }
  }
  rows[0].struct_size = sizeof rows[0];
  size_t count = hak_stats_classes(top, rows, CLASSES_MOST);
  CHECK(count > 20 && count < CLASSES_MOST);
  uint64_t live = 0, bytes = 0, cached = 0, free_bytes = 0;
  for (size_t c = 0; c < count; c++) {
    CHECK_EQ(rows[c].struct_size, sizeof rows[c]);
    CHECK(c == 0 || rows[c].size > rows[c - 1].size);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      if (rows[c].size == hak_good_size(sizes[i])) CHECK_EQ(rows[c].live_blocks, 5 + i);
    }
    live += rows[c].live_blocks;
    bytes += rows[c].live_blocks * rows[c].size;
    cached += rows[c].cached_blocks * rows[c].size;
    free_bytes += rows[c].free_blocks * rows[c].size;
  }
  hak_stats_t s = test_heap_stats(top);
  CHECK_EQ(live, s.live_blocks);
  CHECK_EQ(bytes, s.live_bytes);
  CHECK_EQ(cached, s.cached_bytes);
  CHECK_EQ(free_bytes, s.free_bytes);
  rows[0].struct_size = sizeof rows[0];
  CHECK_EQ(hak_stats_classes(low, rows, 1), count); /* no more than there is room for */
  CHECK_EQ(hak_stats_classes(NULL, NULL, 0), count);
  CHECK_EQ(hak_heap_destroy(low), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
}

static void classes__of_no_heap_and_in_short_records_are_invalid(void **state) {
  (void)state;
  hak_class_stats_t row = {.struct_size = sizeof row - 1};
  errno = 0;
  CHECK(hak_stats_classes(NULL, &row, 1) == 0 && errno == EINVAL);
  errno = 0;
  CHECK(hak_stats_classes(NULL, NULL, 1) == 0 && errno == EINVAL);
  /* Records whose fields would not be aligned. */
  hak_class_stats_t rows[4] = {{.struct_size = sizeof row + 4}};
  errno = 0;
  CHECK(hak_stats_classes(NULL, rows, 3) == 0 && errno == EINVAL);
  CHECK_EQ(rows[0].size, 0);
  char *odd = (char *)rows + 4;
  const uint32_t size = sizeof row;
  memcpy(odd, &size, sizeof size);
  errno = 0;
  CHECK(hak_stats_classes(NULL, (hak_class_stats_t *)(void *)odd, 2) == 0 &&
        errno == EINVAL);
  hak_heap_t *heap = make(NULL, NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  row.struct_size = sizeof row;
  errno = 0;
  CHECK(hak_stats_classes(heap, &row, 1) == 0 && errno == EINVAL);
}

/* A caller of a later version has longer records. */
static void classes__lie_as_far_apart_as_the_caller_s_records(void **state) {
  (void)state;
  struct later {
    hak_class_stats_t row;
    uint64_t more;
  } rows[3];
  memset(rows, 0x77, sizeof rows);
  rows[0].row.struct_size = sizeof rows[0];
  CHECK(hak_stats_classes(NULL, &rows[0].row, TEST_COUNT(rows)) > TEST_COUNT(rows));
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    CHECK_EQ(rows[i].row.struct_size, sizeof rows[i]);
    CHECK_EQ(rows[i].more, 0x7777777777777777u);
    CHECK(i == 0 || rows[i].row.size > rows[i - 1].row.size);
  }
}

TEST_MAIN(T(parent__is_the_heap_that_was_given), T(name__can_be_changed_and_is_cut),
          T(name__is_not_cut_within_a_character), T(user__pointer_goes_with_the_heap),
          T(peak__is_the_most_that_was_charged), T(classes__have_what_was_allocated),
          T(classes__of_no_heap_and_in_short_records_are_invalid),
          T(classes__lie_as_far_apart_as_the_caller_s_records))
