/* api_budget_hooks.c - budgets as the operating system sees them: what the hooks count
 * as committed, and charges when hooks refuse. */
#include "os_fixture.h"

#include <errno.h>
#include <string.h>

static uint64_t charge_of(hak_heap_t *heap) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(heap, &stats), 0);
  return stats.committed_bytes;
}

static hak_heap_t *make(size_t hard) {
  return test_heap_make((hak_heap_config_t){.hard_limit = hard});
}

static int teardown(void **state) {
  (void)state;
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(g_os.committed_bytes, 0);
  test_os_close(&g_os);
  return 0;
}

static void *alloc_linked(hak_heap_t *heap, size_t size, void **list) {
  void **block = hak_heap_alloc(heap, size);
  if (block == NULL) return NULL;
  *block = *list;
  *list = block;
  return block;
}
static void free_list(void **list) {
  while (*list != NULL) {
    void **block = *list;
    *list = *block;
    hak_free(block);
  }
}

/* Bytes that the process has for its tables, whatever heaps do. */
static uint64_t tables(void) { return test_stats().metadata_bytes; }

static void committed__is_never_more_than_is_charged(void **state) {
  (void)state;
  enum {
    LIMIT = 9 << 20
  };
  static const size_t sizes[] = {16, 1000, 9000, 40000, 300000, 1500000, 3 << 20};
  hak_heap_t *heap = make(LIMIT);
  test_rng_t rng = test_rng(test_seed(), 1);
  void *lists[TEST_COUNT(sizes)] = {NULL};
  hak_free(hak_alloc(100));
  uint64_t before = g_os.committed_bytes - tables();
  size_t refused = 0;
  for (size_t i = test_scale(4000); i > 0; i--) {
    size_t k = test_below(&rng, TEST_COUNT(sizes));
    if (test_below(&rng, 40) == 0) {
      free_list(&lists[k]);
    } else {
      refused += alloc_linked(heap, sizes[k], &lists[k]) == NULL;
    }
    uint64_t charge = charge_of(heap);
    CHECK(charge <= LIMIT);
    /* What went back to the regions is committed, but nobody's. */
    uint64_t unowned = test_stats().retained_bytes;
    CHECK(g_os.committed_bytes - tables() <= before + charge + unowned);
  }
  CHECK(refused > 0);
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) free_list(&lists[k]);
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(charge_of(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void failures__of_the_hooks_leave_no_charge_behind(void **state) {
  (void)state;
  static const size_t sizes[] = {48, 3000, 30000, 100000, 700000, 1700000, 5 << 20};
  static const unsigned kinds[] = {1u << TEST_OS_COMMIT, 1u << TEST_OS_PURGE,
                                   1u << TEST_OS_RESERVE, 1u << TEST_OS_REMAP,
                                   TEST_OS_ALL_KINDS};
  for (size_t round = 0; round < test_scale(60); round++) {
    hak_heap_t *heap = make(24 * MIB);
    void *list = NULL;
    test_os_fail(&g_os, TEST_FAIL_RANDOM, kinds[round % TEST_COUNT(kinds)], 50);
    for (size_t i = 0; i < 60; i++) {
      void **block = alloc_linked(heap, sizes[(i + round) % TEST_COUNT(sizes)], &list);
      if (block == NULL) continue;
      list = *block; /* moves */
      void **grown = hak_realloc(block, 2 * sizes[(i + round) % TEST_COUNT(sizes)]);
      if (grown != NULL) block = grown;
      *block = list;
      list = block;
      if (i % 7 == 0) (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
      CHECK(charge_of(heap) <= 24 * MIB);
    }
    CHECK_EQ(hak_check(NULL), 0);
    if (round % 3 == 0) {
      list = NULL;
      CHECK_EQ(hak_heap_reset(heap), 0);
    }
    free_list(&list);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    CHECK_EQ(charge_of(heap), 0);
    CHECK(hak_heap_alloc(heap, 20 * MIB) != NULL);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void manual_mode__meets_limits_without_giving_back(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  /* Memory with pages that others left is no reason to fail. */
  hak_heap_t *before = make(0);
  for (int i = 0; i < 3000; i++) CHECK(hak_heap_alloc(before, KIB) != NULL);
  CHECK_EQ(hak_heap_destroy(before), 0);
  uint64_t purges = g_os.calls[TEST_OS_PURGE];
  hak_heap_t *heap = make(MIB);
  void *list = NULL;
  for (int round = 0; round < 3; round++) {
    size_t count = 0;
    while (alloc_linked(heap, KIB, &list) != NULL) count++;
    CHECK(count >= 850);
    free_list(&list);
    count = 0;
    while (alloc_linked(heap, 40000, &list) != NULL) count++;
    CHECK(count >= 10);
    free_list(&list);
  }
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], purges);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 1), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

#define H(test) cmocka_unit_test_setup_teardown(test, test_over_os_setup, teardown)

TEST_MAIN_FRESH(H(committed__is_never_more_than_is_charged),
                H(failures__of_the_hooks_leave_no_charge_behind),
                H(manual_mode__meets_limits_without_giving_back))
