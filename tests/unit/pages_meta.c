/* pages_meta.c - memory for the library's own records: zeroed, aligned, side by side, and
 * given back as a whole. */
#include "os_fixture.h"

#include <string.h>

#include "pages/meta.h"

enum {
  RECORDS = 2000
};

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  return 0;
}

static int setup_dirty(void **state) {
  (void)state;
  test_os_open(&g_os, TEST_OS_DIRTY);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  hak_meta_stop();
  CHECK_EQ(hak_load_relaxed(&hak_meta_reserved), 0);
  CHECK_EQ(hak_load_relaxed(&hak_meta_committed), 0);
  test_os_close(&g_os);
  return 0;
}

static void records__of_any_size_and_alignment_are_zeroed_and_apart(void **state) {
  (void)state;
  static unsigned char *records[RECORDS];
  static size_t sizes[RECORDS];
  test_rng_t rng = test_rng(test_seed(), 1);
  for (size_t i = 0; i < RECORDS; i++) {
    size_t alignment = (size_t)1 << test_below(&rng, 13);
    sizes[i] = 1 + (size_t)test_below(&rng, i % 100 == 0 ? 300 * KIB : 3000);
    records[i] = hak_meta_alloc(&g_os.hooks, sizes[i], alignment);
    CHECK(records[i] != NULL && (uintptr_t)records[i] % alignment == 0);
    CHECK(test_is_zero(records[i], sizes[i]));
    test_fill(records[i], sizes[i], i);
  }
  for (size_t i = 0; i < RECORDS; i++) CHECK(test_verify(records[i], sizes[i], i));
}

static void bytes__are_what_the_hooks_have_given(void **state) {
  (void)state;
  CHECK_EQ(hak_load_relaxed(&hak_meta_reserved), 0);
  for (size_t i = 0; i < 300; i++) {
    CHECK(hak_meta_alloc(&g_os.hooks, 1000, 8) != NULL);
    CHECK_EQ(hak_load_relaxed(&hak_meta_reserved), g_os.reserved_bytes);
    CHECK_EQ(hak_load_relaxed(&hak_meta_committed), g_os.committed_bytes);
  }
  CHECK(g_os.committed_bytes >= 300 * 1000);
  CHECK(g_os.calls[TEST_OS_RESERVE] < 10); /* most records cost no call */
}

static void refusal__gives_null_and_the_next_record_serves(void **state) {
  (void)state;
  for (int round = 0; round < 20; round++) {
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
    size_t ready = 0; /* what there is serves until it is used up */
    while (hak_meta_alloc(&g_os.hooks, 100 * KIB, 64) != NULL) CHECK(++ready < 100);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    char *record = hak_meta_alloc(&g_os.hooks, 100 * KIB, 64);
    CHECK(record != NULL && test_is_zero(record, 100 * KIB));
    memset(record, 0xff, 100 * KIB);
    CHECK_EQ(hak_load_relaxed(&hak_meta_reserved), g_os.reserved_bytes);
    CHECK_EQ(hak_load_relaxed(&hak_meta_committed), g_os.committed_bytes);
  }
}

/* The chunk was reserved for nothing, and goes back. */
static void refusal__of_pages_leaves_no_address_space(void **state) {
  (void)state;
  for (int i = 0; i < 20; i++) {
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_COMMIT, 1);
    CHECK(hak_meta_alloc(&g_os.hooks, 100 * KIB, 64) == NULL);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    CHECK_EQ(g_os.reserved_bytes, 0);
    CHECK_EQ(hak_load_relaxed(&hak_meta_reserved), 0);
  }
  CHECK(hak_meta_alloc(&g_os.hooks, 100 * KIB, 64) != NULL);
}

static void purge__is_for_pages_that_are_records_and_read_as_zero(void **state) {
  (void)state;
  void *record = hak_meta_alloc_pages(&g_os.hooks, 8 * KIB);
  CHECK(record != NULL);
  CHECK(!hak_meta_purge(&g_os.hooks, record, 8 * KIB)); /* these hooks bring garbage */
  static hak_os_t large; /* for as long as there are records */
  large = *hak_os_default();
  large.page_size = 64 * KIB;
  record = hak_meta_alloc_pages(&large, 8 * KIB);
  CHECK(record != NULL);
  memset(record, 0x5a, 8 * KIB);
  CHECK(!hak_meta_purge(&large, record, 8 * KIB)); /* others have some of its page */
  CHECK_EQ(*(unsigned char *)record, 0x5a);
}

#define M(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(M(records__of_any_size_and_alignment_are_zeroed_and_apart),
                M(bytes__are_what_the_hooks_have_given),
                M(refusal__gives_null_and_the_next_record_serves),
                M(refusal__of_pages_leaves_no_address_space),
                M(purge__is_for_pages_that_are_records_and_read_as_zero),
                cmocka_unit_test_setup_teardown(
                    records__of_any_size_and_alignment_are_zeroed_and_apart, setup_dirty,
                    teardown))
