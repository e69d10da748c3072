/* api_unreleased.c - what the hooks refuse to take back, or may not be given back, is
 * told, found again, and given back in the end. */
#include "child.h"
#include "os_fixture.h"

#include <string.h>

enum {
  BLOCKS = 150
};

static void begin(void) {
  test_over_os(0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_RETAIN_BYTES, 0), 0);
}

static void end(void) {
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(g_os.ranges, 0);
  CHECK_EQ(test_stats().unreleased_bytes, 0);
  test_os_close(&g_os);
}

TEST_IN_CHILD(collect__gives_back_whatever_was_refused_before, 60) {
  begin();
  static void *blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++) CHECK((blocks[i] = hak_alloc(40 * MIB)) != NULL);
  hak_stats_t full = test_stats();
  CHECK_EQ(full.unreleased_bytes, 0);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RELEASE, 1);
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  hak_stats_t refused = test_stats();
  CHECK_EQ(refused.unreleased_bytes, BLOCKS * 40 * MIB);
  CHECK_EQ(refused.reserved_bytes + refused.unreleased_bytes, g_os.reserved_bytes);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_collect(NULL, 0, HAK_COLLECT_ALL), 0);
  CHECK_EQ(test_stats().unreleased_bytes, BLOCKS * 40 * MIB);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_stats().unreleased_bytes, 0);
  CHECK_EQ(test_stats().reserved_bytes, g_os.reserved_bytes);
  end();
}

TEST_IN_CHILD(shutdown__leaves_nothing_that_was_refused_before, 60) {
  begin();
  static void *blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++) CHECK((blocks[i] = hak_alloc(40 * MIB)) != NULL);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RELEASE, 1);
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  end();
}

/* By a limit, then by the system: before anything is reserved, or given back at once. */
TEST_IN_CHILD(manual_purging__makes_no_refused_request_cost_address_space, 60) {
  begin();
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = 8 * MIB};
  hak_heap_t *limited = hak_heap_create(&config);
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(limited != NULL && heap != NULL);
  CHECK(hak_heap_alloc(limited, 100) != NULL && hak_heap_alloc(heap, 100) != NULL);
  CHECK(hak_heap_alloc(limited, 40 * MIB) == NULL);
  size_t ranges = g_os.ranges, bytes = g_os.reserved_bytes;
  uint64_t reserves = g_os.calls[TEST_OS_RESERVE];
  for (int i = 0; i < 200; i++) CHECK(hak_heap_alloc(limited, 40 * MIB) == NULL);
  CHECK_EQ(g_os.calls[TEST_OS_RESERVE], reserves);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_COMMIT, 1);
  for (int i = 0; i < 200; i++) {
    CHECK(hak_heap_alloc(heap, (40 + (size_t)i) * MIB) == NULL);
    CHECK(hak_heap_alloc(heap, 20 * MIB) == NULL);
  }
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  hak_stats_t stats = test_stats();
  CHECK_EQ(stats.unreleased_bytes, 0);
  CHECK_EQ(stats.reserved_bytes, g_os.reserved_bytes);
  /* Address space for SuperSlabs may have come to stay. */
  CHECK_MSG(g_os.ranges <= ranges + 2 && g_os.reserved_bytes < bytes + GIB,
            "%zu ranges, then %zu; %zu bytes more", ranges, g_os.ranges,
            g_os.reserved_bytes - bytes);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(limited), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  end();
}

/* A kept mapping that is too small, or that a limit has no room for, is kept on. */
TEST_IN_CHILD(kept_mapping__stays_kept_where_a_limit_refuses_it, 60) {
  test_over_os(0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  hak_free(hak_alloc(40 * MIB));
  uint64_t retained = test_stats().retained_bytes;
  CHECK(retained >= 40 * MIB);
  hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = 38 * MIB};
  hak_heap_t *limited = hak_heap_create(&config);
  CHECK(hak_heap_alloc(limited, 39 * MIB) == NULL);
  CHECK_EQ(test_stats().retained_bytes, retained);
  void *block = hak_alloc(40 * MIB);
  CHECK(block != NULL);
  hak_free(block);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(limited), 0);
  end();
}

static void stats__of_callers_that_know_less_end_before_the_new_figure(void **state) {
  (void)state;
  hak_stats_t stats;
  memset(&stats, 0xab, sizeof stats);
  stats.struct_size = offsetof(hak_stats_t, unreleased_bytes);
  CHECK_EQ(hak_stats_get(NULL, &stats), 0);
  CHECK_EQ(stats.unreleased_bytes, 0xabababababababab);
  stats.struct_size = sizeof stats;
  CHECK_EQ(hak_stats_get(NULL, &stats), 0);
  CHECK_EQ(stats.unreleased_bytes, 0);
}

TEST_MAIN_FRESH(T(stats__of_callers_that_know_less_end_before_the_new_figure),
                T(collect__gives_back_whatever_was_refused_before),
                T(shutdown__leaves_nothing_that_was_refused_before),
                T(manual_purging__makes_no_refused_request_cost_address_space),
                T(kept_mapping__stays_kept_where_a_limit_refuses_it))
