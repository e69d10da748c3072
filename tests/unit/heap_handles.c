/* heap_handles.c - handles of heaps: what they are made of, and records whose tags are
 * used up. */
#include "support.h"

#include <errno.h>

#include "heap/heap.h"

static hak_heap_t *make(bool serial) {
  hak_heap_t *heap = test_heap(serial ? HAK_HEAP_SERIAL : 0, NULL, NULL);
  CHECK_EQ(hak_handle_is_serial(heap), serial);
  return heap;
}

static void handles__lead_to_their_record_under_any_tag(void **state) {
  (void)state;
  hak_heap_t *handle = make(false), *record = hak_heap_record(handle);
  CHECK((uintptr_t)record % HAK_CACHE_LINE == 0);
  const uint32_t tags[] = {0,       1,      0x7fff, 0x8000,
                           0x12345, 0x7fff, 0x8001, HAK_HANDLE_TAG_MAX};
  for (size_t i = 0; i < TEST_COUNT(tags); i++) {
    uintptr_t made = hak_handle_make(record, tags[i]);
    CHECK(hak_heap_record((void *)made) == record);
    CHECK(hak_heap_record((void *)(made | HAK_HANDLE_SERIAL)) == record);
    CHECK(!hak_handle_is_serial((void *)made));
    for (size_t j = 0; j < i; j++) {
      CHECK((made == hak_handle_make(record, tags[j])) == (tags[i] == tags[j]));
    }
  }
  CHECK((hak_handle_make(record, 0)) == (uintptr_t)record);
  CHECK(hak_heap_record(hak_heap_default()) == hak_heap_default());
  CHECK_EQ(hak_heap_destroy(handle), 0);
}

/* The next heap of the record has its last tag. */
static void wear(hak_heap_t *handle) {
  hak_heap_record(handle)->tag = HAK_HANDLE_TAG_MAX - 1;
  CHECK_EQ(hak_heap_destroy(handle), 0);
}

/* A heap in a record with its last tag. */
static hak_heap_t *make_last(bool serial) {
  wear(make(serial));
  hak_heap_t *handle = make(serial);
  CHECK_EQ(hak_heap_record(handle)->tag, HAK_HANDLE_TAG_MAX);
  return handle;
}

static void check_works(hak_heap_t *handle) {
  const size_t sizes[] = {1, 100, 5000, 200000, 3 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *block = hak_heap_alloc(handle, sizes[i]);
    CHECK(block != NULL);
    CHECK(hak_heap_of(block) == handle);
    test_fill_sparse(block, sizes[i], i);
    CHECK(test_verify_sparse(block, sizes[i], i));
    hak_heap_free(handle, block);
  }
  CHECK_EQ(test_heap_live_blocks(handle), 0);
  CHECK_EQ(hak_check(handle), 0);
}

static void check_stale(hak_heap_t *handle) {
  test_reports_begin();
  errno = 0;
  CHECK(hak_heap_alloc(handle, 10) == NULL && errno == EINVAL);
  CHECK(hak_heap_alloc(handle, 5000) == NULL);
  CHECK_EQ(hak_heap_destroy(handle), EINVAL);
  test_reports_end(2, HAK_ERROR_STALE_HEAP);
}

static void last_tag__serves_like_any_other(void **state) {
  (void)state;
  for (int serial = 0; serial < 2; serial++) {
    hak_heap_t *handle = make_last(serial);
    check_works(handle);
    hak_heap_t *child = test_heap(0, NULL, handle);
    check_works(child);
    CHECK_EQ(hak_heap_destroy(handle), EBUSY);
    CHECK_EQ(hak_heap_destroy(child), 0);
    CHECK_EQ(hak_heap_destroy(handle), 0);
    CHECK(!hak_heap_is_ending(hak_heap_record(handle)));
    check_stale(handle);
  }
}

static void worn_records__wait_until_there_are_many_and_begin_anew(void **state) {
  (void)state;
  enum {
    ROUNDS = 8 * HAK_HEAPS_WORN
  };
  static hak_heap_t *gone[ROUNDS];
  uint32_t before = hak_heaps_made();
  for (int i = 0; i < ROUNDS; i++) {
    gone[i] = make_last(i % 2 != 0);
    CHECK_EQ(hak_heap_destroy(gone[i]), 0);
    check_stale(gone[i]);
  }
  /* However many heaps there were, so many records are there and not one more. */
  CHECK(hak_heaps_made() <= before + HAK_HEAPS_WORN + 1);
  uint32_t made = hak_heaps_made();
  for (int i = 0; i < 4 * HAK_HEAPS_WORN; i++) {
    CHECK_EQ(hak_heap_destroy(make_last(false)), 0);
  }
  CHECK_EQ(hak_heaps_made(), made);
  /* The one that comes next has waited longest; its tags begin anew. */
  hak_heap_t *handle = make(false);
  CHECK_EQ(hak_heap_record(handle)->tag, 1);
  for (int i = 0; i < ROUNDS; i++) CHECK(gone[i] != handle);
  check_works(handle);
  CHECK_EQ(hak_heap_destroy(handle), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN(T(handles__lead_to_their_record_under_any_tag),
          T(last_tag__serves_like_any_other),
          T(worn_records__wait_until_there_are_many_and_begin_anew))
