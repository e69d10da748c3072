/* superslab_retention.c - when free memory goes back: by a clock that the test sets. */
#include "pool_fixture.h"

#include "heap/lifecycle.h"
#include "pages/mapping.h"
#include "superslab/region.h"
#include "superslab/retention.h"

#define NS_PER_MS ((uint64_t)1000000)

static uint64_t g_now_ms = 1000000;

static uint64_t now_ns(void *ctx) {
  (void)ctx;
  return g_now_ms * NS_PER_MS;
}

static void set_options(int64_t mode, int64_t decay_ms, int64_t retain, int64_t most) {
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, mode), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, decay_ms), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, retain), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES_MAX, most), 0);
}

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  g_os.hooks.now_ns = now_ns;
  g_now_ms += 100000; /* far from what the last test did */
  CHECK_EQ(test_os_init(&g_os), 0);
  test_pool_begin();
  set_options(1, 1000, 2 * (int64_t)MIB, (int64_t)GIB);
  return 0;
}

enum {
  SPANS = 16
};

/* 16 spans of 512 KiB, all but every fourth given back: 6 MiB lie idle, in
 * SuperSlabs that stay the pool's. */
static hak_slab_t *g_spans[SPANS];
#define SPAN_SLABS 8
#define IDLE (12 * 512 * KIB)

static void take_spans(void) {
  for (int i = 0; i < SPANS; i++) {
    bool zeroed;
    g_spans[i] = hak_pool_get(&g_pool, SPAN_SLABS, HAK_SLAB_SIZE,
                              SPAN_SLABS * HAK_SLAB_SIZE, false, &zeroed);
    CHECK(g_spans[i] != NULL);
  }
}

static void make_idle(void) {
  take_spans();
  hak_clock_refresh();
  for (int i = 0; i < SPANS; i++) {
    if (i % 4 != 0) hak_pool_put(&g_pool, g_spans[i], SPAN_SLABS);
  }
  CHECK_EQ(hak_retained_bytes(), IDLE);
}

/* Ticks every 10 ms of the hooks' clock. */
static void pass_ms(uint64_t ms) {
  for (uint64_t end = g_now_ms + ms; g_now_ms < end; g_now_ms += 10) {
    hak_retention_trim(&g_pool);
  }
  CHECK(hak_pool_is_valid(&g_pool));
}

static void idle_memory__stays_until_the_decay_and_goes_to_the_cap_after(void **state) {
  (void)state;
  make_idle();
  pass_ms(990);
  CHECK_EQ(hak_retained_bytes(), IDLE);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], 0);
  pass_ms(200); /* looks come every eighth of the decay */
  CHECK_EQ(hak_retained_bytes(), 2 * MIB);
  pass_ms(5000); /* the cap has no limit of time */
  CHECK_EQ(hak_retained_bytes(), 2 * MIB);
}

static void idle_memory__below_the_cap_stays_for_ever(void **state) {
  (void)state;
  set_options(1, 1000, IDLE, (int64_t)GIB);
  make_idle();
  CHECK_EQ(hak_load_relaxed(&hak_retained_over), 0);
  pass_ms(10000);
  CHECK_EQ(hak_retained_bytes(), IDLE);
}

static void idle_memory__goes_as_a_whole_where_the_cap_is_zero(void **state) {
  (void)state;
  set_options(1, 1000, 0, (int64_t)GIB);
  make_idle();
  pass_ms(1200);
  CHECK_EQ(hak_retained_bytes(), 0);
  CHECK_EQ(test_stats().slabs_purged, 12 * SPAN_SLABS);
}

static void idle_memory__beyond_the_most_goes_at_once(void **state) {
  (void)state;
  set_options(1, 1000, 2 * (int64_t)MIB, 4 * (int64_t)MIB);
  make_idle();
  hak_retention_trim(&g_pool);
  CHECK_EQ(hak_retained_bytes(), 4 * MIB);
  pass_ms(990);
  CHECK_EQ(hak_retained_bytes(), 4 * MIB);
  pass_ms(200);
  CHECK_EQ(hak_retained_bytes(), 2 * MIB);
}

static void manual_mode__gives_nothing_back(void **state) {
  (void)state;
  set_options(0, 1000, 0, 0);
  make_idle();
  pass_ms(10000);
  CHECK_EQ(hak_retained_bytes(), IDLE);
  size_t slabs = 1000;
  CHECK_EQ(hak_retention_collect(&g_pool, UINT64_MAX, IDLE, &slabs), 0);
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  CHECK_EQ(hak_retention_collect(&g_pool, UINT64_MAX, IDLE, &slabs), IDLE);
  hak_os_leave(before);
  CHECK_EQ(hak_retained_bytes(), 0);
}

static void memory__that_is_used_again_starts_anew(void **state) {
  (void)state;
  make_idle();
  for (int round = 0; round < 5; round++) {
    pass_ms(600);
    CHECK_EQ(hak_retained_bytes(), IDLE);
    hak_slab_t *used[SPANS];
    for (int i = 0; i < 12; i++) {
      bool zeroed;
      used[i] = hak_pool_get(&g_pool, SPAN_SLABS, HAK_SLAB_SIZE, 4096, true, &zeroed);
      CHECK(used[i] != NULL);
    }
    hak_clock_refresh();
    for (int i = 0; i < 12; i++) hak_pool_put(&g_pool, used[i], SPAN_SLABS);
  }
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], 0);
  pass_ms(1200);
  CHECK_EQ(hak_retained_bytes(), 2 * MIB);
}

static void collect__obeys_bytes_slabs_and_time(void **state) {
  (void)state;
  set_options(1, 1000, 0, 0);
  make_idle();
  uint64_t idle = hak_clock_cached();
  size_t slabs = 1000;
  CHECK_EQ(hak_retention_collect(&g_pool, idle - 1, GIB, &slabs), 0);
  CHECK_EQ(slabs, 1000);
  CHECK_EQ(hak_retention_collect(&g_pool, idle, 0, &slabs), 0);
  CHECK_EQ(hak_retention_collect(&g_pool, idle, MIB, &slabs), MIB);
  CHECK_EQ(slabs, 1000 - 16);
  slabs = 5;
  CHECK_EQ(hak_retention_collect(&g_pool, idle, GIB, &slabs), 5 * HAK_SLAB_SIZE);
  CHECK_EQ(slabs, 0);
  CHECK_EQ(hak_retention_collect(&g_pool, idle, GIB, &slabs), 0);
  CHECK_EQ(hak_retained_bytes(), IDLE - MIB - 5 * HAK_SLAB_SIZE);
}

static void collect__takes_free_superslabs_then_mappings_then_slabs(void **state) {
  (void)state;
  set_options(1, 1000, 0, 0);
  make_idle();
  const hak_os_t *os = hak_lifecycle_os();
  bool zeroed;
  hak_superslab_t *ss =
      hak_region_acquire(os, 1, HAK_SUPERSLAB_SIZE, HAK_EXTENT_RUN, NULL, false);
  hak_mapping_t *mapping =
      hak_mapping_acquire(os, NULL, NULL, 3 * MIB, 1, false, &zeroed);
  CHECK(ss != NULL && mapping != NULL);
  CHECK(hak_superslab_commit(ss, 0, 32, HAK_SUPERSLAB_SIZE / 4096, false, &zeroed));
  hak_region_give(ss, 1, 1);
  hak_mapping_give(mapping, 1);
  CHECK_EQ(hak_retained_bytes(), IDLE + 5 * MIB);
  size_t slabs = 1000;
  CHECK_EQ(hak_retention_collect(&g_pool, UINT64_MAX, 2 * MIB, &slabs), 2 * MIB);
  CHECK(hak_regions.retained.first == NULL);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), 3 * MIB);
  CHECK_EQ(hak_retention_collect(&g_pool, UINT64_MAX, 3 * MIB, &slabs), 3 * MIB);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), 0);
  CHECK_EQ(hak_retained_bytes(), IDLE);
}

static void refusal__of_the_os_keeps_the_sums_and_is_tried_again(void **state) {
  (void)state;
  make_idle();
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_PURGE, 1);
  pass_ms(2000);
  CHECK(g_os.calls[TEST_OS_PURGE] > 0);
  CHECK(g_os.calls[TEST_OS_PURGE] < 50);
  CHECK_EQ(hak_retained_bytes(), IDLE);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  pass_ms(2000);
  CHECK_EQ(hak_retained_bytes(), 2 * MIB);
}

#define R(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(R(idle_memory__stays_until_the_decay_and_goes_to_the_cap_after),
                R(idle_memory__below_the_cap_stays_for_ever),
                R(idle_memory__goes_as_a_whole_where_the_cap_is_zero),
                R(idle_memory__beyond_the_most_goes_at_once),
                R(manual_mode__gives_nothing_back),
                R(memory__that_is_used_again_starts_anew),
                R(collect__obeys_bytes_slabs_and_time),
                R(collect__takes_free_superslabs_then_mappings_then_slabs),
                R(refusal__of_the_os_keeps_the_sums_and_is_tried_again))
