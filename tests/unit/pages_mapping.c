/* pages_mapping.c - mappings of their own: acquired, given back, kept for reuse,
 * resized and purged. The library runs over hooks of the test. */
#include "os_fixture.h"

#include "heap/lifecycle.h"
#include "pages/mapping.h"
#include "pages/mapping_move.h"
#include "pages/meta.h"
#include "superslab/locate.h"

static char g_heap; /* an address for a heap */

static int teardown(void **state) {
  (void)test_over_os_teardown(state);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), 0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_committed), 0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), 0);
  return 0;
}

static void check_mapping(hak_mapping_t *m, size_t size) {
  uintptr_t base = (uintptr_t)m->extent.base;
  CHECK(hak_is_aligned(base, HAK_SUPERSLAB_SIZE));
  CHECK_EQ(hak_load_relaxed(&m->extent.size), size);
  CHECK(m->committed >= size && m->reserved >= m->committed);
  const uintptr_t places[] = {base, base + size / 2, base + size - 1};
  for (size_t i = 0; i < TEST_COUNT(places); i++) {
    hak_place_t place = hak_locate(places[i]);
    CHECK(place.extent == &m->extent && place.start == m->extent.base);
    CHECK_EQ(place.cls, HAK_CLASS_LARGE);
  }
}

static hak_mapping_t *get(size_t size, size_t alignment) {
  bool zeroed = false;
  hak_mapping_t *m = hak_mapping_acquire(hak_lifecycle_os(), NULL, &g_heap, size,
                                         alignment, false, &zeroed);
  if (m == NULL) return NULL;
  check_mapping(m, size);
  CHECK(hak_is_aligned((uintptr_t)m->extent.base, alignment));
  CHECK(hak_load_relaxed(&m->extent.heap) == (void *)&g_heap);
  if (zeroed) CHECK(test_is_zero(m->extent.base, size));
  test_fill_sparse(m->extent.base, size, size);
  return m;
}

static void check_gone(uintptr_t address) {
  CHECK_EQ(hak_locate(address).cls, HAK_CLASS_NONE);
  CHECK(hak_locate(address).start == NULL);
}

static void acquire__gives_zero_memory_at_the_alignment(void **state) {
  (void)state;
  for (size_t alignment = 64 * KIB; alignment <= 64 * MIB; alignment *= 4) {
    bool zeroed = false;
    size_t size = 3 * MIB + 4096;
    hak_mapping_t *m = hak_mapping_acquire(hak_lifecycle_os(), NULL, &g_heap, size,
                                           alignment, false, &zeroed);
    CHECK(m != NULL && zeroed);
    CHECK(hak_is_aligned((uintptr_t)m->extent.base, alignment));
    CHECK(test_is_zero(m->extent.base, size));
    check_mapping(m, size);
    CHECK_EQ(m->committed, size);
  }
  CHECK_EQ(hak_load_relaxed(&hak_mappings_committed), 6 * (3 * MIB + 4096));
}

/* These hooks take back whole reservations only, so nothing is cut. */
static void kept_mapping__gives_pages_back_that_the_next_block_does_not_need(
    void **state) {
  (void)state;
  hak_mapping_t *m = get(8 * MIB, 64 * KIB);
  CHECK(m != NULL);
  char *base = m->extent.base;
  hak_mapping_give(m, 1);
  check_gone((uintptr_t)base);
  CHECK(hak_locate((uintptr_t)base).extent != NULL); /* still ours */
  CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), 8 * MIB);
  uint64_t calls = test_os_calls(&g_os), purges = g_os.calls[TEST_OS_PURGE];
  hak_mapping_t *again = get(7 * MIB + 512 * KIB, 64 * KIB);
  CHECK(again == m && again->extent.base == base);
  CHECK_EQ(test_os_calls(&g_os), calls);
  CHECK_EQ(m->committed, 8 * MIB); /* an eighth more than it needs costs no call */
  hak_mapping_give(m, 1);
  again = get(4 * MIB, 64 * KIB);
  CHECK(again == m && again->extent.base == base);
  CHECK_EQ(m->committed, 4 * MIB);
  CHECK_EQ(test_os_calls(&g_os), calls + 1);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], purges + 1);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), 0);
  hak_mapping_give(m, 1);
  CHECK(get(4 * MIB - 4096, 64 * KIB) != m); /* more than half of it would be left */
}

static void kept_mapping__that_wastes_least_is_taken(void **state) {
  (void)state;
  hak_mapping_t *m[3] = {get(12 * MIB, 1), get(8 * MIB, 1), get(10 * MIB, 1)};
  for (int i = 0; i < 3; i++) hak_mapping_give(m[i], 1);
  CHECK(get(8 * MIB, 1) == m[1]);
  CHECK(get(8 * MIB, 1) == m[2]);
  CHECK(get(8 * MIB, 1) == m[0]);
}

static void give__keeps_nothing_over_huge_retain_bytes(void **state) {
  (void)state;
  int64_t before = hak_option_get(HAK_OPTION_HUGE_RETAIN_BYTES);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_RETAIN_BYTES, 8 * (int64_t)MIB), 0);
  hak_mapping_t *kept = get(8 * MIB, 1), *gone = get(8 * MIB + 4096, 1);
  uintptr_t base = (uintptr_t)gone->extent.base;
  uint64_t releases = g_os.calls[TEST_OS_RELEASE];
  hak_mapping_give(kept, 1);
  CHECK_EQ(g_os.calls[TEST_OS_RELEASE], releases);
  hak_mapping_give(gone, 1);
  CHECK_EQ(g_os.calls[TEST_OS_RELEASE], releases + 1);
  CHECK(hak_locate(base).extent == NULL);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), 8 * MIB);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_RETAIN_BYTES, before), 0);
}

static void no_grow__takes_a_kept_mapping_or_nothing(void **state) {
  (void)state;
  bool zeroed;
  const hak_os_t *os = hak_lifecycle_os();
  uint64_t calls = test_os_calls(&g_os);
  CHECK(hak_mapping_acquire(os, NULL, &g_heap, 4 * MIB, 1, true, &zeroed) == NULL);
  CHECK_EQ(test_os_calls(&g_os), calls);
  hak_mapping_t *m = get(4 * MIB, 1);
  hak_mapping_give(m, 1);
  calls = test_os_calls(&g_os);
  CHECK(hak_mapping_acquire(os, NULL, &g_heap, 4 * MIB, 1, true, &zeroed) == m);
  CHECK(!zeroed);
  CHECK_EQ(test_os_calls(&g_os), calls);
}

/* --- resizing --------------------------------------------------------------------- */

static void resize__in_place_keeps_the_address_and_the_contents(void **state) {
  (void)state;
  size_t size = 8 * MIB;
  hak_mapping_t *m = get(size, 1);
  char *base = m->extent.base;
  CHECK(hak_mapping_resize(m, 2 * MIB, false) == base);
  check_mapping(m, 2 * MIB);
  CHECK_EQ(m->committed, 2 * MIB); /* the tail's pages went */
  CHECK_EQ(hak_load_relaxed(&hak_mappings_committed), 2 * MIB);
  CHECK(test_verify_sparse_prefix(base, size, 2 * MIB, size));
  CHECK(hak_mapping_resize(m, 5 * MIB, false) == base);
  check_mapping(m, 5 * MIB);
  CHECK(test_verify_sparse_prefix(base, size, 2 * MIB, size));
  test_fill_sparse(base, 5 * MIB, 1);
  CHECK(hak_mapping_resize(m, 8 * MIB, false) == base);
  CHECK(test_verify_sparse(base, 5 * MIB, 1));
  CHECK(hak_mapping_resize(m, 8 * MIB + 4096, false) == NULL);
  check_mapping(m, 8 * MIB);
}

static void resize__that_may_move_takes_the_pages_along(void **state) {
  (void)state;
  size_t size = 4 * MIB;
  hak_mapping_t *m = get(size, 1), *in_the_way = get(4 * MIB, 1);
  CHECK(in_the_way != NULL);
  const size_t sizes[] = {20 * MIB, 21 * MIB + 4096, 5 * MIB, 64 * MIB, 64 * KIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    uintptr_t old = (uintptr_t)m->extent.base;
    char *moved = hak_mapping_resize(m, sizes[i], true);
    CHECK(moved != NULL && moved == m->extent.base);
    check_mapping(m, sizes[i]);
    size_t kept = sizes[i] < size ? sizes[i] : size;
    CHECK(test_verify_sparse_prefix(moved, size, kept, i == 0 ? size : i));
    if ((uintptr_t)moved != old) CHECK(hak_locate(old).extent == NULL);
    size = sizes[i];
    test_fill_sparse(moved, size, i + 1);
    CHECK_EQ(hak_load_relaxed(&hak_mappings_committed), m->committed + 4 * MIB);
    CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), m->reserved + 4 * MIB);
  }
}

static void resize__that_fails_changes_nothing(void **state) {
  (void)state;
  size_t size = 4 * MIB;
  hak_mapping_t *m = get(size, 1);
  char *base = m->extent.base;
  const unsigned kinds = 1u << TEST_OS_REMAP | 1u << TEST_OS_COMMIT;
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, kinds, 1);
  CHECK(hak_mapping_resize(m, 20 * MIB, true) == NULL);
  CHECK(hak_mapping_resize(m, 20 * MIB, false) == NULL);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(m->extent.base == base);
  check_mapping(m, size);
  CHECK(test_verify_sparse(base, size, size));
  CHECK(hak_mapping_resize(m, SIZE_MAX - 4095, true) == NULL);
  CHECK(hak_mapping_resize(m, SIZE_MAX - 4095, false) == NULL);
  check_mapping(m, size);
}

static void resize__without_remap_fails_and_changes_nothing(void **state) {
  (void)state;
  size_t size = 4 * MIB;
  hak_mapping_t *m = get(size, 1);
  CHECK(hak_mapping_resize(m, 20 * MIB, true) == NULL);
  check_mapping(m, size);
  CHECK(test_verify_sparse(m->extent.base, size, size));
}

/* --- purging and failures ------------------------------------------------------------
 */

static void purge__takes_the_oldest_within_time_and_bytes(void **state) {
  (void)state;
  hak_mapping_t *m[4];
  for (size_t i = 0; i < 4; i++) m[i] = get(4 * MIB, 1);
  for (uint64_t i = 0; i < 4; i++) hak_mapping_give(m[i], 10 * (i + 1));
  uintptr_t first = (uintptr_t)m[0]->extent.base, last = (uintptr_t)m[3]->extent.base;
  size_t slabs = 1000;
  CHECK_EQ(hak_mapping_purge(9, SIZE_MAX, &slabs), 0);
  CHECK_EQ(slabs, 1000);
  CHECK_EQ(hak_mapping_purge(100, 64 * KIB - 1, &slabs), 0); /* never more than asked */
  CHECK_EQ(hak_mapping_purge(10, 4 * MIB - 1, &slabs), 63 * 64 * KIB);
  CHECK_EQ(m[0]->committed, 64 * KIB);
  CHECK_EQ(hak_mapping_purge(10, SIZE_MAX, &slabs), 64 * KIB);
  CHECK_EQ(slabs, 1000 - 64);
  CHECK(hak_locate(first).extent == NULL);
  CHECK_EQ(hak_mapping_purge(100, 5 * MIB, &slabs), 5 * MIB);
  CHECK(hak_locate(last).extent != NULL);
  slabs = 47; /* so many are looked at, and then no more */
  CHECK_EQ(hak_mapping_purge(100, SIZE_MAX, &slabs), 47 * 64 * KIB);
  CHECK_EQ(slabs, 0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), 4 * MIB + 64 * KIB);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_committed), 4 * MIB + 64 * KIB);
}

static void failures__give_null_and_leak_nothing(void **state) {
  (void)state;
  for (uint64_t nth = 1; nth < 6; nth++) {
    size_t ranges = g_os.ranges;
    uint64_t failures = g_os.failures;
    uint64_t reserved = hak_load_relaxed(&hak_mappings_reserved);
    test_os_fail(&g_os, TEST_FAIL_NTH, TEST_OS_ALL_KINDS, nth);
    hak_mapping_t *m = get(6 * MIB, 1);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    CHECK_EQ(m == NULL, g_os.failures > failures);
    if (m != NULL) return;
    CHECK(g_os.ranges <= ranges + 2); /* the library's own: records, a leaf */
    CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), reserved);
  }
  CHECK_MSG(false, "no mapping after five calls to the hooks");
}

/* A request that is refused leaves nothing: neither a charge, nor a record. */
static void failures__leave_no_charge_and_no_record(void **state) {
  (void)state;
  static hak_budget_t budget;
  hak_budget_init(&budget);
  hak_budget_begin(&budget, NULL);
  const unsigned kinds[] = {1u << TEST_OS_RESERVE, 1u << TEST_OS_COMMIT};
  bool zeroed;
  uint64_t records = 0;
  for (size_t i = 0; i < 2000; i++) {
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, kinds[i % 2], 1);
    CHECK(hak_mapping_acquire(hak_lifecycle_os(), &budget, &g_heap, 6 * MIB, 1, false,
                              &zeroed) == NULL);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    CHECK_EQ(hak_load_relaxed(&budget.charged), 0);
    if (i == 1) records = hak_load_relaxed(&hak_meta_committed);
  }
  CHECK_EQ(hak_load_relaxed(&hak_meta_committed), records);
}

/* What leads to an address so far away cannot be had. */
static void failures__of_a_leaf_leave_no_address_space(void **state) {
  (void)state;
  size_t ranges = g_os.ranges;
  for (size_t i = 0; i < 20; i++) {
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RESERVE, 2);
    CHECK(get(6 * MIB, 1) == NULL);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    CHECK(g_os.ranges <= ranges + 1); /* a chunk of records */
  }
}

static void resize__that_is_refused_is_not_charged(void **state) {
  (void)state;
  static hak_budget_t budget;
  hak_budget_init(&budget);
  hak_budget_begin(&budget, NULL);
  bool zeroed;
  hak_mapping_t *m = hak_mapping_acquire(hak_lifecycle_os(), &budget, &g_heap, 4 * MIB, 1,
                                         false, &zeroed);
  CHECK(m != NULL && hak_mapping_resize(m, 2 * MIB, false) != NULL);
  uint64_t charged = hak_load_relaxed(&budget.charged);
  const unsigned kinds[] = {1u << TEST_OS_COMMIT, 1u << TEST_OS_REMAP};
  for (size_t i = 0; i < TEST_COUNT(kinds); i++) {
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, kinds[i], 1);
    CHECK(hak_mapping_resize(m, i == 0 ? 4 * MIB : 9 * MIB, i != 0) == NULL);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    CHECK(hak_load_relaxed(&budget.charged) <= charged + (i == 0 ? 0 : 2 * MIB));
  }
  hak_mapping_give(m, 1);
  CHECK_EQ(hak_load_relaxed(&budget.charged), 0);
}

static void purge__that_is_refused_counts_nothing(void **state) {
  (void)state;
  hak_mapping_give(get(8 * MIB, 1), 1);
  size_t slabs = SIZE_MAX;
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_PURGE, 1);
  CHECK_EQ(hak_mapping_purge(UINT64_MAX, 2 * MIB, &slabs), 0);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_committed), 8 * MIB);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), 8 * MIB);
}

static void kept_mapping__serves_only_the_alignment_that_it_has(void **state) {
  (void)state;
  hak_mapping_t *m[8];
  for (size_t i = 0; i < TEST_COUNT(m); i++) m[i] = get(4 * MIB, 1);
  for (size_t i = 0; i < TEST_COUNT(m); i++) hak_mapping_give(m[i], 1);
  for (size_t alignment = 4 * MIB; alignment <= GIB; alignment *= 2) {
    CHECK(get(4 * MIB, alignment) != NULL); /* looks at it */
  }
}

static bool count_visit(hak_mapping_t *mapping, void *ctx) {
  (void)mapping;
  return --*(int *)ctx > 0;
}

static void visit__sees_mappings_in_use_only(void **state) {
  (void)state;
  hak_mapping_t *m[5];
  for (size_t i = 0; i < 5; i++) m[i] = get(4 * MIB, 1);
  hak_mapping_give(m[0], 1);
  hak_mapping_give(m[3], 1);
  int left = 100;
  hak_mapping_visit(count_visit, &left);
  CHECK_EQ(left, 97);
  left = 2;
  hak_mapping_visit(count_visit, &left);
  CHECK_EQ(left, 0);
}

#define M(function) TEST_OVER_OS_ENDED(function, 0, teardown)

TEST_MAIN_FRESH(
    M(acquire__gives_zero_memory_at_the_alignment),
    M(kept_mapping__gives_pages_back_that_the_next_block_does_not_need),
    M(kept_mapping__that_wastes_least_is_taken),
    M(give__keeps_nothing_over_huge_retain_bytes),
    M(no_grow__takes_a_kept_mapping_or_nothing),
    M(resize__in_place_keeps_the_address_and_the_contents),
    M(resize__that_may_move_takes_the_pages_along), M(resize__that_fails_changes_nothing),
    TEST_OVER_OS_ENDED(resize__without_remap_fails_and_changes_nothing, TEST_OS_NO_REMAP,
                       teardown),
    M(purge__takes_the_oldest_within_time_and_bytes),
    M(failures__give_null_and_leak_nothing), M(failures__leave_no_charge_and_no_record),
    TEST_OVER_OS_ENDED(failures__of_a_leaf_leave_no_address_space, TEST_OS_FAR, teardown),
    M(resize__that_is_refused_is_not_charged), M(purge__that_is_refused_counts_nothing),
    M(kept_mapping__serves_only_the_alignment_that_it_has),
    M(visit__sees_mappings_in_use_only))
