/* superslab_retention_calls.c - what one call gives back: in which order, how much, and
 * when the next one may. By a clock that the test sets. */
#include "clock.h"
#include "pool_fixture.h"

#include <string.h>

#include "heap/lifecycle.h"
#include "pages/mapping.h"
#include "superslab/pool_prefault.h"
#include "superslab/region.h"
#include "superslab/retention.h"

#define NS_PER_MS ((uint64_t)1000000)

enum {
  DECAY_MS = 1000,
  SECOND_US = 1000000,
  SPANS = 16,
  SPAN_SLABS = 8
};
#define SPAN ((size_t)SPAN_SLABS * HAK_SLAB_SIZE)

static hak_slab_t *g_spans[SPANS]; /* 512 KiB each, in use */

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  g_os.hooks.now_ns = test_clock_ns;
  test_pass_ms(100000); /* far from what the last test did */
  CHECK_EQ(test_os_init(&g_os), 0);
  test_pool_begin();
  test_set(HAK_OPTION_PURGE_MODE, 1);
  test_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS);
  test_set(HAK_OPTION_PURGE_SURPLUS, 0);
  test_set(HAK_OPTION_PURGE_CALL_US, 0);
  test_set(HAK_OPTION_RETAIN_BYTES, 0);
  test_set(HAK_OPTION_RETAIN_BYTES_MAX, (int64_t)GIB);
  test_set(HAK_OPTION_RETAIN_SHARE, 0);
  test_set(HAK_OPTION_HUGE_SPLIT, 24);
  hak_clock_refresh();
  bool zeroed;
  for (int i = 0; i < SPANS; i++) {
    g_spans[i] = hak_pool_get(&g_pool, SPAN_SLABS, HAK_SLAB_SIZE, SPAN, false, &zeroed);
    CHECK(g_spans[i] != NULL);
  }
  return 0;
}

/* The span is idle from now on. No SuperSlab becomes free as long as every fourth is in
 * use. */
static void put(int i) {
  hak_clock_refresh();
  hak_pool_put(&g_pool, g_spans[i], SPAN_SLABS);
}

/* So many spans are, 12 at most. */
static void put_many(int count) {
  for (int i = 0; count > 0; i++) {
    if (i % 4 == 0) continue;
    put(i);
    count--;
  }
}

static hak_superslab_t *superslab_take(void) {
  bool zeroed;
  hak_superslab_t *ss = hak_region_acquire(hak_lifecycle_os(), 1, HAK_SUPERSLAB_SIZE,
                                           HAK_EXTENT_RUN, NULL, false);
  CHECK(ss != NULL);
  CHECK(hak_superslab_commit(ss, 0, HAK_SUPERSLAB_SLABS, HAK_SUPERSLAB_SIZE / 4096, false,
                             &zeroed));
  return ss;
}

static hak_mapping_t *mapping_take(size_t size) {
  bool zeroed;
  hak_mapping_t *mapping =
      hak_mapping_acquire(hak_lifecycle_os(), NULL, NULL, size, 1, false, &zeroed);
  CHECK(mapping != NULL);
  return mapping;
}

static void superslab_put(hak_superslab_t *ss) {
  hak_region_give(ss, 1, test_clock_ns(NULL));
}
static void mapping_put(hak_mapping_t *mapping) {
  hak_mapping_give(mapping, test_clock_ns(NULL));
}

static uint64_t in_pool(void) { return g_pool.empty * HAK_SLAB_SIZE; }
static uint64_t in_mappings(void) { return hak_load_relaxed(&hak_mappings_retained); }
static uint64_t purges(void) { return g_os.calls[TEST_OS_PURGE]; }

static size_t give_due(size_t most, size_t slabs) {
  return hak_retention_give_due(most, &slabs);
}

static void trim(void) { hak_retention_trim(&g_pool); }
static void trim_often(void) {
  for (int i = 0; i < 50; i++) trim();
}

/* --- order and bounds ----------------------------------------------------------------
 */

/* What goes is a slab at least, and no more: what was over counts for what comes next. */
static void collect__of_a_byte_takes_one_slab_of_one_kind(void **state) {
  (void)state;
  put_many(4);
  hak_superslab_t *ss = superslab_take();
  hak_mapping_t *mapping = mapping_take(3 * MIB);
  superslab_put(ss);
  mapping_put(mapping);
  size_t slabs = 1000;
  CHECK_EQ(hak_retention_collect(&g_pool, UINT64_MAX, 1, &slabs), HAK_SLAB_SIZE);
  CHECK_EQ(in_mappings(), 3 * MIB);
  CHECK_EQ(in_pool(), 4 * SPAN);
}

/* A pool's, a mapping, a free SuperSlab and a pool's, each a little younger. */
static hak_superslab_t *make_one_after_the_other(void) {
  hak_superslab_t *ss = superslab_take();
  hak_mapping_t *mapping = mapping_take(3 * MIB);
  put(1);
  test_pass_ms(10);
  mapping_put(mapping);
  test_pass_ms(10);
  hak_clock_refresh();
  superslab_put(ss);
  test_pass_ms(10);
  put(5);
  test_pass_ms(2 * DECAY_MS);
  return ss;
}

static void due__goes_in_the_order_of_its_age_wherever_it_lies(void **state) {
  (void)state;
  hak_superslab_t *ss = make_one_after_the_other();
  CHECK_EQ(give_due(SPAN, SIZE_MAX), SPAN);
  CHECK_EQ(in_pool(), SPAN);
  CHECK_EQ(in_mappings(), 3 * MIB);
  CHECK_EQ(give_due(3 * MIB, SIZE_MAX), 3 * MIB);
  CHECK_EQ(in_mappings(), 0);
  CHECK(hak_regions.retained.first == ss);
  CHECK_EQ(give_due(HAK_SUPERSLAB_SIZE, SIZE_MAX), HAK_SUPERSLAB_SIZE);
  CHECK(hak_regions.retained.first == NULL);
  CHECK_EQ(in_pool(), SPAN);
  CHECK_EQ(give_due(SIZE_MAX, SIZE_MAX), SPAN);
}

static void due__goes_in_one_call_wherever_it_lies(void **state) {
  (void)state;
  (void)make_one_after_the_other();
  uint64_t all = hak_retained_bytes();
  CHECK_EQ(give_due(SIZE_MAX, SIZE_MAX), all);
  CHECK_EQ(hak_retained_bytes(), 0);
}

/* A byte of what is old, and none of what is too much besides. */
static void due__takes_no_more_than_it_is_told_of_either_kind(void **state) {
  (void)state;
  test_set(HAK_OPTION_RETAIN_BYTES_MAX, (int64_t)SPAN);
  put(1);
  test_pass_ms(2 * DECAY_MS);
  for (int i = 5; i < 12; i++) {
    if (i % 4 != 0) put(i);
  }
  uint64_t idle = hak_retained_bytes();
  CHECK_EQ(give_due(1, SIZE_MAX), HAK_SLAB_SIZE);
  CHECK_EQ(hak_retained_bytes(), idle - HAK_SLAB_SIZE);
  CHECK_EQ(hak_retention_due_in(), 0);
}

/* --- when there is no use in a further try --------------------------------------------
 */

static void due__stays_so_where_nothing_was_asked_for_or_something_went(void **state) {
  (void)state;
  put_many(4);
  test_pass_ms(2 * DECAY_MS);
  CHECK_EQ(give_due(0, SIZE_MAX), 0);
  CHECK_EQ(hak_retention_due_in(), 0);
  CHECK_EQ(give_due(SPAN, SIZE_MAX), SPAN);
  CHECK_EQ(hak_retention_due_in(), 0);
  CHECK_EQ(give_due(SIZE_MAX, SIZE_MAX), 3 * SPAN);
}

static void refuse(bool refused) {
  test_os_fail(&g_os, refused ? TEST_FAIL_FROM_NTH : TEST_FAIL_NONE, 1u << TEST_OS_PURGE,
               1);
}

/* A look that finds nothing due, or ends before it has seen anything, says nothing of the
 * hooks, nor do those that come at one moment say more than one of them: the wait after a
 * refusal stays short. */
static void due__comes_back_soon_after_a_first_refusal(void **state) {
  (void)state;
  put_many(4);
  for (int i = 0; i < 16; i++) {
    bool none = i < 8;
    test_set(HAK_OPTION_PURGE_DECAY_MS, none ? 1000 * DECAY_MS : DECAY_MS);
    test_set(HAK_OPTION_RETAIN_BYTES_MAX, (int64_t)(none ? GIB : SPAN));
    test_pass_ms(5 * DECAY_MS);
    CHECK_EQ(give_due(SIZE_MAX, none ? SIZE_MAX : 0), 0);
  }
  test_pass_ms(5 * DECAY_MS);
  refuse(true);
  for (int i = 0; i < 8; i++) {
    CHECK_EQ(give_due(SIZE_MAX, SIZE_MAX), 0);
    CHECK(hak_retention_due_in() < DECAY_MS * NS_PER_MS / 10);
  }
}

/* A call that asks for nothing says nothing of them either, and it stays long. */
static void due__comes_late_where_hooks_refused_often(void **state) {
  (void)state;
  test_set(HAK_OPTION_RETAIN_BYTES_MAX, (int64_t)SPAN);
  put_many(4);
  refuse(true);
  for (int i = 0; i < 8; i++) {
    test_pass_ms(5 * DECAY_MS);
    CHECK_EQ(give_due(0, SIZE_MAX), 0);
    CHECK_EQ(give_due(SIZE_MAX, SIZE_MAX), 0);
  }
  CHECK(hak_retention_due_in() > DECAY_MS * NS_PER_MS);
}

/* The hooks refuse what lies beyond the ceiling: a call tries, and those that follow it
 * at once do not. */
static void surplus__that_is_refused_is_not_tried_by_each_call(void **state) {
  (void)state;
  static const int splits[] = {0,
                               1000}; /* is left alone, for all that is known; is not */
  test_set(HAK_OPTION_PURGE_SURPLUS, 1);
  put_many(12);
  refuse(true);
  for (size_t i = 0; i < TEST_COUNT(splits); i++) {
    test_set(HAK_OPTION_HUGE_SPLIT, splits[i]);
    test_pass_ms(100);
    hak_clock_refresh();
    put(i == 0 ? 4 : 8);
    trim();
    uint64_t before = purges();
    CHECK(before > 0);
    trim_often();
    CHECK_EQ(purges(), before);
  }
  refuse(false);
  test_pass_ms(100);
  trim();
  CHECK_EQ(hak_retained_bytes(), hak_idle_ceiling());
}

/* What came later is as due as what went. */
static void surplus__goes_again_at_the_same_moment(void **state) {
  (void)state;
  test_set(HAK_OPTION_RETAIN_BYTES_MAX, (int64_t)(4 * SPAN));
  for (int i = 0; i < 12; i++) {
    if (i % 4 == 0) continue;
    put(i);
    if (i % 2 == 0) trim();
  }
  trim();
  CHECK_EQ(hak_retained_bytes(), 4 * SPAN);
}

/* Single slabs that come and go would each cost a call. */
static void surplus__of_a_little_stays(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_SURPLUS, 1);
  put_many(9); /* 4.5 MiB of 8 */
  trim_often();
  CHECK_EQ(hak_retained_bytes(), 9 * SPAN);
  CHECK_EQ(purges(), 0);
}

/* --- where a call works ---------------------------------------------------------------
 */

/* Its own calls give back nothing of other pools; those of others do. */
static void calls__in_a_pool_that_keeps_all_give_nothing(void **state) {
  (void)state;
  static hak_shared_pool_t keeps;
  memset(&keeps, 0, sizeof keeps);
  hak_pool_init(&keeps, hak_lifecycle_os(), &keeps);
  hak_pool_keep_all(&keeps);
  put_many(8);
  test_pass_ms(4 * DECAY_MS);
  CHECK(!hak_retention_is_time(&keeps));
  hak_retention_trim(&keeps);
  CHECK_EQ(hak_retained_bytes(), 8 * SPAN);
  CHECK(hak_retention_is_time(&g_pool));
  trim();
  CHECK_EQ(hak_retained_bytes(), 0);
}

/* What is old goes with the first call that may. */
static void calls__where_purging_is_manual_put_nothing_off(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_MODE, 0);
  put_many(8);
  for (int i = 0; i < 400; i++) {
    test_pass_ms(10);
    trim();
  }
  CHECK_EQ(hak_retained_bytes(), 8 * SPAN);
  test_set(HAK_OPTION_PURGE_MODE, 1);
  trim();
  CHECK_EQ(hak_retained_bytes(), 0);
}

/* --- how often ------------------------------------------------------------------------
 */

/* A share of it: the next one goes when time has passed. */
static void old__goes_once_at_a_moment(void **state) {
  (void)state;
  static const int bounds_us[] = {0, SECOND_US};
  put_many(12);
  test_pass_ms(DECAY_MS - 20);
  trim(); /* looks, too early */
  for (size_t i = 0; i < TEST_COUNT(bounds_us); i++) {
    test_set(HAK_OPTION_PURGE_CALL_US, bounds_us[i]);
    uint64_t before = hak_retained_bytes();
    test_pass_ms(30);
    trim();
    uint64_t left = hak_retained_bytes();
    CHECK(left < before && left > 0);
    trim_often();
    CHECK_EQ(hak_retained_bytes(), left);
    test_pass_ms(-1); /* a thread that read the clock before another one's look */
    trim_often();
    CHECK_EQ(hak_retained_bytes(), left);
    test_pass_ms(1);
  }
}

/* What is too much goes at once, and takes nothing with it that may stay a while. */
static void surplus__is_no_look_at_what_is_old(void **state) {
  (void)state;
  test_set(HAK_OPTION_RETAIN_BYTES_MAX, (int64_t)(10 * SPAN));
  put_many(10);
  test_pass_ms(DECAY_MS - 5);
  trim(); /* too early */
  CHECK_EQ(hak_retained_bytes(), 10 * SPAN);
  test_pass_ms(10);
  put(14);
  trim();
  CHECK_EQ(hak_retained_bytes(), 10 * SPAN);
}

/* --- calls of so many microseconds ----------------------------------------------------
 */

static void call__that_is_over_leaves_surplus_and_age_to_the_next(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_CALL_US, 1);
  test_set(HAK_OPTION_RETAIN_BYTES_MAX, (int64_t)(4 * SPAN));
  put_many(12);
  test_pass_ms(4 * DECAY_MS);
  trim();
  CHECK_EQ(hak_retained_bytes(), 12 * SPAN - HAK_SLAB_SIZE);
  for (int i = 0; i < 200; i++) trim(); /* at the same time */
  CHECK_EQ(hak_retained_bytes(), 0);
}

static void call__that_is_over_leaves_surplus_to_the_next(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_CALL_US, 1);
  test_set(HAK_OPTION_RETAIN_BYTES_MAX, (int64_t)(4 * SPAN));
  put_many(12);
  for (int i = 0; i < 200; i++) trim(); /* at the same time, and nothing is old */
  CHECK_EQ(hak_retained_bytes(), 4 * SPAN);
}

/* What calls without a bound took is no measure. */
static void call__with_a_second_gives_all(void **state) {
  (void)state;
  for (int round = 0; round < 2; round++) {
    test_set(HAK_OPTION_PURGE_CALL_US, round == 0 ? 0 : SECOND_US);
    for (int i = 8 * round; i < 8 * round + 8; i++) {
      if (i % 4 != 0) put(i);
    }
    test_pass_ms(4 * DECAY_MS);
    trim();
    CHECK_EQ(hak_retained_bytes(), 0);
  }
}

/* A call in vain puts off the next one by a part of the decay, which is set anew. */
static void due__is_told_by_the_decay_that_is_set_meanwhile(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_DECAY_MS, 86400000);
  CHECK_EQ(give_due(SIZE_MAX, SIZE_MAX), 0);
  put_many(12);
  CHECK(hak_retention_due_in() > DECAY_MS * NS_PER_MS);
  test_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS);
  CHECK_EQ(hak_retention_due_in(), DECAY_MS * NS_PER_MS);
  test_set(HAK_OPTION_PURGE_SURPLUS, 1);
  trim();
  CHECK_EQ(hak_retained_bytes(), hak_idle_ceiling());
}

/* Nor is a pool that was looked at in vain left alone by the decay of before. */
static void old__goes_by_the_decay_that_is_set_meanwhile(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_DECAY_MS, 86400000);
  test_set(HAK_OPTION_PURGE_SURPLUS, 1);
  test_set(HAK_OPTION_RETAIN_BYTES_MAX, 0);
  test_set(HAK_OPTION_HUGE_SPLIT, 0);
  put_many(4);
  refuse(true);
  CHECK_EQ(give_due(SIZE_MAX, SIZE_MAX), 0);
  refuse(false);
  test_set(HAK_OPTION_RETAIN_BYTES_MAX, (int64_t)GIB);
  test_set(HAK_OPTION_PURGE_SURPLUS, 0);
  test_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS);
  test_pass_ms(2 * DECAY_MS);
  CHECK_EQ(give_due(SIZE_MAX, SIZE_MAX), 4 * SPAN);
}

static void call__with_a_bound_survives_refusals(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_CALL_US, SECOND_US);
  put_many(8);
  refuse(true);
  test_pass_ms(4 * DECAY_MS);
  trim();
  CHECK_EQ(hak_retained_bytes(), 8 * SPAN);
  refuse(false);
  test_pass_ms(4 * DECAY_MS);
  trim();
  CHECK_EQ(hak_retained_bytes(), 0);
}

#define R(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(R(collect__of_a_byte_takes_one_slab_of_one_kind),
                R(due__goes_in_the_order_of_its_age_wherever_it_lies),
                R(due__takes_no_more_than_it_is_told_of_either_kind),
                R(due__stays_so_where_nothing_was_asked_for_or_something_went),
                R(due__goes_in_one_call_wherever_it_lies),
                R(due__comes_back_soon_after_a_first_refusal),
                R(due__comes_late_where_hooks_refused_often),
                R(surplus__goes_again_at_the_same_moment),
                R(call__that_is_over_leaves_surplus_to_the_next),
                R(surplus__that_is_refused_is_not_tried_by_each_call),
                R(surplus__of_a_little_stays),
                R(calls__in_a_pool_that_keeps_all_give_nothing),
                R(calls__where_purging_is_manual_put_nothing_off),
                R(old__goes_once_at_a_moment), R(surplus__is_no_look_at_what_is_old),
                R(call__that_is_over_leaves_surplus_and_age_to_the_next),
                R(call__with_a_second_gives_all),
                R(due__is_told_by_the_decay_that_is_set_meanwhile),
                R(old__goes_by_the_decay_that_is_set_meanwhile),
                R(call__with_a_bound_survives_refusals))
