/* api_os_hooks.c - hooks in all variants: page sizes, far addresses, no remap, no
 * purge, bounded memory. Each case runs in a child of its own. */
#include "child.h"
#include "os_fixture.h"
#include "shadow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Random operations over hooks of these flags, then everything goes back. */
static int variant_child(void *ctx) {
  unsigned flags = *(unsigned *)ctx;
  test_over_os(flags);
  shadow_t shadow;
  shadow_open(&shadow, test_seed() + flags, SHADOW_OPTIONS | SHADOW_THREAD | SHADOW_ALONE,
              800);
  for (int phase = 0; phase < 4; phase++) {
    shadow_run(&shadow, test_scale(8000));
    if (phase == 2) {
      shadow_empty(&shadow);
    }
    test_os_advance_ms(&g_os, 5000);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  }
  shadow_close(&shadow);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(test_live_bytes(), 0);
  hak_stats_t stats = test_stats();
  CHECK_EQ(stats.reserved_bytes, g_os.reserved_bytes);
  CHECK_EQ(stats.committed_bytes, g_os.committed_bytes);
  CHECK_EQ(stats.os_reserve, g_os.calls[TEST_OS_RESERVE]);
  CHECK_EQ(stats.os_release, g_os.calls[TEST_OS_RELEASE]);
  CHECK_EQ(stats.os_commit, g_os.calls[TEST_OS_COMMIT]);
  CHECK_EQ(stats.os_purge, g_os.calls[TEST_OS_PURGE]);
  CHECK_EQ(stats.os_remap, g_os.calls[TEST_OS_REMAP]);
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(g_os.ranges, 0);
  CHECK_EQ(g_os.committed_bytes, 0);
  return 0;
}

static void count_text(const char *text, size_t length, void *ctx) {
  (void)text;
  *(size_t *)ctx += length;
}

/* Memory for a report of all heaps is refused at any call: nothing is written, nothing is
 * kept. */
static int report_child(void *ctx) {
  (void)ctx;
  test_os_open(&g_os, 0);
  hak_config_t config = {.struct_size = sizeof config, .os = &g_os.hooks};
  CHECK_EQ(hak_init(&config), 0);
  hak_heap_t *heap = test_heap(0, "heap", NULL);
  CHECK(hak_heap_alloc(heap, 100) != NULL);
  size_t reserved = g_os.reserved_bytes, committed = g_os.committed_bytes;
  for (uint64_t n = 1; n <= 4; n++) {
    test_os_fail(&g_os, TEST_FAIL_NTH, 1u << TEST_OS_RESERVE | 1u << TEST_OS_COMMIT, n);
    size_t length = 0;
    int error = hak_heaps_print(HAK_FORMAT_JSON, count_text, &length);
    CHECK_EQ(error, n <= 2 ? ENOMEM : 0);
    CHECK((length == 0) == (error != 0));
    CHECK_EQ(g_os.reserved_bytes, reserved);
    CHECK_EQ(g_os.committed_bytes, committed);
  }
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(g_os.ranges, 0);
  return 0;
}

static void report__of_all_heaps_survives_refusals(void **state) {
  (void)state;
  test_child_must_succeed(report_child, NULL, 60);
}

static void run_variant(unsigned flags) {
  test_child_must_succeed(variant_child, &flags, 60);
}

static void hooks__strict_ones_see_no_breach(void **state) {
  (void)state;
  run_variant(0);
}

static void hooks__pages_of_16k_are_served(void **state) {
  (void)state;
  run_variant(TEST_OS_PAGE_16K);
}

static void hooks__pages_of_64k_are_served(void **state) {
  (void)state;
  run_variant(TEST_OS_PAGE_64K);
}

static void hooks__addresses_may_lie_far_apart(void **state) {
  (void)state;
  run_variant(TEST_OS_FAR);
  run_variant(TEST_OS_FAR | TEST_OS_PAGE_16K | TEST_OS_NO_REMAP);
}

static void hooks__purge_may_do_nothing(void **state) {
  (void)state;
  run_variant(TEST_OS_PURGE_NOOP);
}

static void hooks__remap_may_be_missing(void **state) {
  (void)state;
  run_variant(TEST_OS_NO_REMAP);
}

/* ---- Bounded memory --------------------------------------------------- */

static int exhaust_child(void *ctx) {
  size_t size = *(size_t *)ctx;
  test_os_open(&g_os, TEST_OS_LIMITED);
  g_os.limit = 96 * MIB;
  CHECK_EQ(test_os_init(&g_os), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_REGION_BYTES, 4 * MIB), 0);
  size_t capacity = g_os.limit / size + 1;
  void **blocks = calloc(capacity, sizeof *blocks);
  size_t first = 0;
  for (int round = 0; round < 3; round++) {
    size_t count = 0;
    for (;;) {
      errno = TEST_ERRNO;
      void *block = hak_alloc(size);
      if (block == NULL) {
        CHECK_EQ(errno, ENOMEM);
        break;
      }
      CHECK(count < capacity);
      test_fill_sparse(block, size, count);
      blocks[count++] = block;
    }
    CHECK_MSG(count > 0, "no block of %zu from %zu", size, g_os.limit);
    CHECK_EQ(hak_check(NULL), 0);
    /* One block less, one block more. */
    CHECK(test_verify_sparse(blocks[count / 2], size, count / 2));
    hak_free(blocks[count / 2]);
    blocks[count / 2] = hak_alloc(size);
    CHECK(blocks[count / 2] != NULL);
    test_fill_sparse(blocks[count / 2], size, count / 2);
    for (size_t i = 0; i < count; i++) {
      CHECK(test_verify_sparse(blocks[i], size, i));
      hak_free(blocks[i]);
    }
    CHECK_EQ(test_live_blocks(), 0);
    /* Exhaustion costs nothing for good. */
    CHECK_MSG(round == 0 || count >= first - first / 10, "%zu blocks of %zu, then %zu",
              first, size, count);
    if (round == 0) {
      first = count;
    }
  }
  /* Nor does it bind the memory to one size. */
  void *other = hak_alloc(size > MIB ? 1000 : 8 * MIB);
  CHECK(other != NULL);
  hak_free(other);
  free(blocks);
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(g_os.ranges, 0);
  return 0;
}

static void hooks__exhausted_memory_is_null_and_comes_back(void **state) {
  (void)state;
  size_t sizes[] = {64, 1000, 20000, 32768, 100000, 1 << 20, 3 << 20, 40 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    test_child_must_succeed(exhaust_child, &sizes[i], 60);
  }
}

static int tiny_limit_child(void *ctx) {
  size_t limit = *(size_t *)ctx;
  test_os_open(&g_os, TEST_OS_LIMITED);
  g_os.limit = limit;
  int error = test_os_init(&g_os);
  CHECK(error == 0 || error == ENOMEM);
  if (error == 0) {
    errno = TEST_ERRNO;
    void *block = hak_alloc(100);
    CHECK(block != NULL || errno == ENOMEM);
    hak_free(block);
    CHECK_EQ(hak_check(NULL), 0);
  }
  /* With more memory the same process goes on. */
  g_os.limit = SIZE_MAX;
  if (error != 0) {
    CHECK_EQ(test_os_init(&g_os), 0);
  }
  void *block = hak_alloc(100);
  CHECK(block != NULL);
  hak_free(block);
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(g_os.ranges, 0);
  return 0;
}

static void hooks__too_little_memory_to_start_is_out_of_memory(void **state) {
  (void)state;
  size_t limits[] = {0,       65536,   131072,  262144,   524288,   1 << 20,
                     2 << 20, 4 << 20, 8 << 20, 16 << 20, 32 << 20, 48 << 20};
  for (size_t i = 0; i < TEST_COUNT(limits); i++) {
    test_child_must_succeed(tiny_limit_child, &limits[i], 20);
  }
}

/* ---- Giving back ------------------------------------------------------ */

TEST_IN_CHILD(collect__gives_back_what_it_says_and_at_most_what_was_asked, 30) {
  test_over_os(0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
  static void *blocks[2000];
  hak_free(hak_alloc(1));
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  size_t base = g_os.committed_bytes;
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc(20000 + 10 * i);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    hak_free(blocks[i]);
  }
  test_os_advance_ms(&g_os, 100000);
  size_t before = g_os.committed_bytes;
  size_t some = hak_collect(NULL, 4 * MIB, 0);
  CHECK_MSG(some <= 4 * MIB + 2 * MIB, "asked for 4 MiB at most, gave %zu", some);
  CHECK(some > 0);
  CHECK_EQ(before - g_os.committed_bytes, some);
  for (int i = 0; i < 20; i++) {
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  }
  CHECK_MSG(g_os.committed_bytes <= base + 2 * MIB,
            "%zu bytes committed, %zu at the start", g_os.committed_bytes, base);
  CHECK_EQ(hak_collect(NULL, 0, HAK_COLLECT_ALL), 0);
}

TEST_IN_CHILD(large_blocks__alternating_cost_no_os_call, 20) {
  /* On a busy machine a round may take as long as what is unused stays. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 86400000), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  test_over_os(0);
  /* After one round of it, alternating large blocks cost no call any more. */
  static const size_t sizes[] = {100000, 1 << 20, 3 << 20, 10 << 20};
  uint64_t calls = 0;
  for (int round = 0; round < 20; round++) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      void *block = hak_alloc(sizes[i]);
      CHECK(block != NULL);
      hak_free(block);
    }
    if (round == 1) {
      calls = test_os_calls(&g_os);
    }
  }
  CHECK_EQ(test_os_calls(&g_os), calls);
}

TEST_IN_CHILD(prewarm__commits_at_start_what_is_used_later, 20) {
  CHECK_EQ(hak_option_set(HAK_OPTION_PREWARM_BYTES, 8 * MIB), 0);
  test_over_os(0);
  CHECK(g_os.committed_bytes >= 8 * MIB);
  uint64_t calls = test_os_calls(&g_os);
  static void *blocks[1000];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc(4000);
    CHECK(blocks[i] != NULL);
  }
  /* Its own thread's state may still need one. */
  CHECK_MSG(test_os_calls(&g_os) <= calls + 4, "%llu calls after prewarming",
            (unsigned long long)(test_os_calls(&g_os) - calls));
}

/* So many that the thread looks at what it holds before it has used them up; and so many
 * that they come and go at several places before they lie at ones that stay. */
TEST_IN_CHILD(prewarm__of_many_blocks_makes_all_of_them_ready, 60) {
  static const struct {
    size_t limit, size, count;
  } some[] = {{0, 1035, 52000},
              {0, 828, 52000},
              {256 * MIB, 1000, 5000},
              {256 * MIB, 272, 52000},
              {64 * MIB, 72, 52000}};
  static void *blocks[52000];
  /* What a heap before has left is not given back in the midst of the next one's calls.
   */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 86400000), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  test_over_os(0);
  for (size_t i = 0; i < TEST_COUNT(some); i++) {
    hak_heap_config_t config = {.name = "many", .hard_limit = some[i].limit};
    hak_heap_t *heap = test_heap_make(config);
    CHECK_EQ(hak_heap_prewarm(heap, some[i].size, some[i].count), some[i].count);
    uint64_t calls = test_os_calls(&g_os);
    for (size_t k = 0; k < some[i].count; k++) {
      blocks[k] = hak_heap_alloc(heap, some[i].size);
      CHECK(blocks[k] != NULL);
    }
    CHECK_MSG(test_os_calls(&g_os) == calls, "%zu of %zu B: %llu calls", some[i].count,
              some[i].size, (unsigned long long)(test_os_calls(&g_os) - calls));
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

TEST_MAIN_FRESH(T(hooks__strict_ones_see_no_breach), T(hooks__pages_of_16k_are_served),
                T(report__of_all_heaps_survives_refusals),
                T(hooks__pages_of_64k_are_served), T(hooks__addresses_may_lie_far_apart),
                T(hooks__purge_may_do_nothing), T(hooks__remap_may_be_missing),
                T(hooks__exhausted_memory_is_null_and_comes_back),
                T(hooks__too_little_memory_to_start_is_out_of_memory),
                T(collect__gives_back_what_it_says_and_at_most_what_was_asked),
                T(large_blocks__alternating_cost_no_os_call),
                T(prewarm__commits_at_start_what_is_used_later),
                T(prewarm__of_many_blocks_makes_all_of_them_ready))
