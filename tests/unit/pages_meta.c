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
  CHECK(g_os.committed_bytes <= 300 * 1000 + 64 * KIB); /* each is cut once */
  CHECK(g_os.calls[TEST_OS_RESERVE] < 10);              /* most records cost no call */
}

/* Where a record's place begins behind what is committed, more has to be. */
static void record__of_a_large_alignment_has_pages(void **state) {
  (void)state;
  for (int i = 0; i < 10; i++) {
    unsigned char *record = hak_meta_alloc(&g_os.hooks, 100, 64 * KIB);
    CHECK(record != NULL && (uintptr_t)record % (64 * KIB) == 0);
    CHECK(test_is_zero(record, 100));
    memset(record, 1, 100);
  }
}

/* Heaps have hooks of their own, whose memory ends with them. */
static void records__come_from_the_hooks_that_they_are_asked_of(void **state) {
  (void)state;
  static test_os_t other;
  test_os_open(&other, 0);
  for (int i = 0; i < 20; i++) {
    test_os_t *os = i % 2 == 0 ? &g_os : &other;
    size_t calls = test_os_calls(i % 2 == 0 ? &other : &g_os);
    CHECK(hak_meta_alloc(&os->hooks, 3000, 64) != NULL);
    CHECK_EQ(test_os_calls(i % 2 == 0 ? &other : &g_os), calls);
    CHECK(os->reserved_bytes > 0);
    CHECK_EQ(hak_load_relaxed(&hak_meta_reserved),
             g_os.reserved_bytes + other.reserved_bytes);
  }
  hak_meta_stop();
  test_os_close(&other);
}

/* A hook that needs a record itself gets one of its own. */
static hak_os_t g_nesting;
static unsigned char *g_nested;

static int commit_and_nest(void *ctx, void *ptr, size_t size, bool *zeroed) {
  if (g_nested == NULL) {
    g_nested = ptr; /* no third time */
    g_nested = hak_meta_alloc(&g_nesting, 1000, 64);
    CHECK(g_nested != NULL);
    memset(g_nested, 0x5a, 1000);
  }
  return g_os.hooks.commit(ctx, ptr, size, zeroed);
}
static void record__that_a_hook_needs_on_the_way_is_its_own(void **state) {
  (void)state;
  g_nesting = g_os.hooks;
  g_nesting.commit = commit_and_nest;
  for (int when = 0; when < 100; when += 9) {
    hak_meta_stop();
    for (int i = 0; i < 100; i++) {
      g_nested = i == when ? NULL : (unsigned char *)1;
      unsigned char *record = hak_meta_alloc(&g_nesting, 1000, 64);
      CHECK(record != NULL && test_is_zero(record, 1000));
      memset(record, 0x11, 1000);
      if (i != when || g_nested == NULL) continue;
      CHECK(record + 1000 <= g_nested || g_nested + 1000 <= record);
      for (int k = 0; k < 1000; k++) CHECK_EQ(g_nested[k], 0x5a);
    }
  }
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

/* The range was there, but its head was not to be had. */
static void refusal__of_a_head_gives_the_range_back(void **state) {
  (void)state;
  void *record = NULL;
  unsigned refused = 0;
  for (; record == NULL; refused += record == NULL) {
    CHECK_EQ(g_os.reserved_bytes, 0);
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RESERVE | 1u << TEST_OS_COMMIT,
                 refused + 1);
    record = hak_meta_alloc_pages(&g_os.hooks, 8 * KIB);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    CHECK_EQ(hak_load_relaxed(&hak_meta_reserved), g_os.reserved_bytes);
    CHECK_EQ(hak_load_relaxed(&hak_meta_committed), g_os.committed_bytes);
  }
  CHECK(refused >= 4); /* a range and its memory, and the same for the head */
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

static void purge__that_may_not_be_now_takes_nothing_off(void **state) {
  (void)state;
  const hak_os_t *os = hak_os_default();
  unsigned char *record = hak_meta_alloc_pages(os, 8 * KIB);
  CHECK(record != NULL);
  memset(record, 0x5a, 8 * KIB);
  uint64_t committed = hak_load_relaxed(&hak_meta_committed);
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  CHECK(!hak_meta_purge(os, record, 8 * KIB));
  hak_os_leave(before);
  CHECK_EQ(hak_load_relaxed(&hak_meta_committed), committed);
  CHECK_EQ(record[8 * KIB - 1], 0x5a);
  before = hak_os_enter(HAK_OS_GIVING);
  CHECK(hak_meta_purge(os, record, 8 * KIB) && test_is_zero(record, 8 * KIB));
  hak_os_leave(before);
  CHECK_EQ(hak_load_relaxed(&hak_meta_committed), committed - 8 * KIB);
}

/* The range's head lies elsewhere, so that no page is used for that alone. */
static void page__of_a_record_is_the_first_of_its_range(void **state) {
  (void)state;
  size_t reserved = 0;
  for (int i = 0; i < 200; i++) {
    char *record = hak_meta_alloc_pages(&g_os.hooks, 4 * KIB);
    CHECK(record != NULL);
    if (g_os.reserved_bytes != reserved) CHECK_EQ((uintptr_t)record % (64 * KIB), 0);
    reserved = g_os.reserved_bytes;
  }
  CHECK(g_os.calls[TEST_OS_RESERVE] > 2);
}

#define M(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(M(records__of_any_size_and_alignment_are_zeroed_and_apart),
                M(bytes__are_what_the_hooks_have_given),
                M(record__of_a_large_alignment_has_pages),
                M(page__of_a_record_is_the_first_of_its_range),
                M(records__come_from_the_hooks_that_they_are_asked_of),
                M(record__that_a_hook_needs_on_the_way_is_its_own),
                M(refusal__gives_null_and_the_next_record_serves),
                M(refusal__of_pages_leaves_no_address_space),
                M(refusal__of_a_head_gives_the_range_back),
                M(purge__is_for_pages_that_are_records_and_read_as_zero),
                M(purge__that_may_not_be_now_takes_nothing_off),
                cmocka_unit_test_setup_teardown(
                    records__of_any_size_and_alignment_are_zeroed_and_apart, setup_dirty,
                    teardown))
