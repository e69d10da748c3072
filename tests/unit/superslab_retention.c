/* superslab_retention.c - when free memory goes back: by a clock that the test sets. */
#include "pool_fixture.h"

#include <string.h>

#include "heap/lifecycle.h"
#include "pages/mapping.h"
#include "superslab/huge.h"
#include "superslab/pool_prefault.h"
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

/* What goes at once, and what part of the memory in use stays; most tests have neither.
 */
static void set_policy(int64_t surplus, int64_t share) {
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, surplus), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_SHARE, share), 0);
}

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  g_os.hooks.now_ns = now_ns;
  g_now_ms += 100000; /* far from what the last test did */
  CHECK_EQ(test_os_init(&g_os), 0);
  test_pool_begin();
  set_options(1, 1000, 2 * (int64_t)MIB, (int64_t)GIB);
  set_policy(0, 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_SPLIT, 24), 0);
  /* How much one call gives back does not depend on how busy the machine is. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_CALL_US, 0), 0);
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

/* Takes and gives back what make_idle leaves idle, or makes it idle at first. */
static void make_idle_again(int round);

static void make_idle(void) {
  take_spans();
  hak_clock_refresh();
  for (int i = 0; i < SPANS; i++) {
    if (i % 4 != 0) hak_pool_put(&g_pool, g_spans[i], SPAN_SLABS);
  }
  CHECK_EQ(hak_retained_bytes(), IDLE);
}

static void make_idle_again(int round) {
  if (round == 0) take_spans();
  for (int i = 0; i < SPANS; i++) {
    bool zeroed;
    if (i % 4 == 0 || round == 0) continue;
    g_spans[i] = hak_pool_get(&g_pool, SPAN_SLABS, HAK_SLAB_SIZE,
                              SPAN_SLABS * HAK_SLAB_SIZE, false, &zeroed);
    CHECK(g_spans[i] != NULL);
  }
  hak_clock_refresh();
  for (int i = 0; i < SPANS; i++) {
    if (i % 4 != 0) hak_pool_put(&g_pool, g_spans[i], SPAN_SLABS);
  }
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

/* --- in proportion to what is in use --------------------------------------------------
 */

static void floor__is_a_share_of_what_is_in_use(void **state) {
  (void)state;
  set_options(1, 1000, 0, (int64_t)GIB);
  set_policy(0, 4);
  make_idle();
  uint64_t used = hak_load_relaxed(&hak_slots_committed) - IDLE;
  CHECK(used >= 2 * MIB);
  CHECK_EQ(hak_idle_floor(), used / 4);
  pass_ms(3000);
  CHECK_EQ(hak_retained_bytes(), hak_div_up(used / 4, HAK_SLAB_SIZE) * HAK_SLAB_SIZE);
}

static void surplus__goes_at_once_down_to_what_is_in_use(void **state) {
  (void)state;
  set_policy(1, 0);
  make_idle();
  uint64_t used = hak_load_relaxed(&hak_slots_committed) - IDLE;
  CHECK_EQ(hak_load_relaxed(&hak_retained_over), HAK_IDLE_SURPLUS);
  for (int i = 0; i < 100; i++) hak_retention_trim(&g_pool); /* no time passes */
  CHECK_EQ(hak_retained_bytes(), used > 2 * MIB ? used : 2 * MIB);
  CHECK_EQ(hak_load_relaxed(&hak_retained_over) == HAK_IDLE_SURPLUS, false);
}

static bool ask_for_huge_pages(hak_superslab_t *ss, void *ctx) {
  ++*(int *)ctx;
  return hak_huge_set(ss, true);
}

static bool count_huge(hak_superslab_t *ss, void *ctx) {
  *(int *)ctx += hak_superslab_is_huge(ss);
  return true;
}

/* Mostly the rest of such a SuperSlab is about to be free. */
static void surplus__splits_huge_pages_only_where_it_stays(void **state) {
  (void)state;
  set_policy(1, 0);
  make_idle();
  int huge = 0, left = 0;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  hak_pool_visit(&g_pool, ask_for_huge_pages, &huge);
  hak_os_leave(before);
  for (int i = 0; i < 100; i++) hak_retention_trim(&g_pool); /* no time passes */
  CHECK_EQ(hak_retained_bytes(), IDLE);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], 0);
  pass_ms(100);
  CHECK_EQ(hak_retained_bytes(), 2 * MIB);
  hak_pool_visit(&g_pool, count_huge, &left);
  CHECK(left < huge);
}

static void surplus__splits_huge_pages_at_once_where_little_is_in_use(void **state) {
  (void)state;
  set_policy(1, 0);
  set_options(1, 1000, 0, (int64_t)GIB);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_SPLIT, 3), 0);
  make_idle();
  int huge = 0;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  hak_pool_visit(&g_pool, ask_for_huge_pages, &huge);
  hak_os_leave(before);
  hak_retention_trim(&g_pool); /* finds nothing that may go */
  CHECK_EQ(hak_retained_bytes(), IDLE);
  for (int i = 0; i < SPANS; i += 8) {
    hak_pool_put(&g_pool, g_spans[i], SPAN_SLABS / 2);
    hak_pool_put(&g_pool, g_spans[i + 4], SPAN_SLABS / 2);
  }
  for (int i = 0; i < 100; i++) hak_retention_trim(&g_pool); /* no time passes */
  CHECK_EQ(hak_retained_bytes(), hak_idle_ceiling());
}

static void surplus__splits_huge_pages_at_once_if_the_option_says_so(void **state) {
  (void)state;
  set_policy(1, 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_SPLIT, 0), 0);
  make_idle();
  int huge = 0;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  hak_pool_visit(&g_pool, ask_for_huge_pages, &huge);
  hak_os_leave(before);
  for (int i = 0; i < 100; i++) hak_retention_trim(&g_pool); /* no time passes */
  CHECK_EQ(hak_retained_bytes(), hak_idle_ceiling());
}

/* While all is freed at random each SuperSlab has some slots in use nearly to the end.
 * What is left of it then is about to be free, so its huge page stays whole, and it goes
 * as one with all the others. */
static void surplus__that_is_freed_at_random_goes_in_whole_superslabs(void **state) {
  (void)state;
  enum {
    SUPERSLABS = 16,
    SLOTS = SUPERSLABS * HAK_SUPERSLAB_SLABS
  };
  static hak_slab_t *slots[SLOTS];
  set_policy(1, 0);
  for (int i = 0; i < SLOTS; i++) {
    bool zeroed;
    slots[i] = hak_pool_get(&g_pool, 1, HAK_SLAB_SIZE, HAK_SLAB_SIZE, false, &zeroed);
    CHECK(slots[i] != NULL);
  }
  int asked = 0, huge = 0;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  hak_pool_visit(&g_pool, ask_for_huge_pages, &asked);
  hak_pool_visit(&g_pool, count_huge, &huge);
  hak_os_leave(before);
  CHECK(huge >= SUPERSLABS);
  uint64_t random = 1;
  for (int left = SLOTS; left > 0; left--) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    int i = (int)((random >> 33) % (unsigned)left);
    hak_pool_put(&g_pool, slots[i], 1);
    slots[i] = slots[left - 1];
    hak_retention_trim(&g_pool); /* no time passes */
  }
  CHECK(hak_retained_bytes() < 2 * MIB + HAK_SUPERSLAB_SIZE);
  CHECK(g_os.calls[TEST_OS_PURGE] <= SUPERSLABS);
}

/* Rounds that use and free the same memory: the first is regretted, and the allowance
 * that comes of it covers the next ones. */
static void surplus__that_is_needed_again_is_allowed_for(void **state) {
  (void)state;
  set_policy(1, 0);
  make_idle();
  hak_retention_trim(&g_pool);
  uint64_t left = hak_retained_bytes(), calls = g_os.calls[TEST_OS_PURGE];
  CHECK(left < IDLE);
  CHECK_EQ(hak_idle_allowance(hak_clock_cached()), 0);
  for (int round = 0; round < 5; round++) {
    g_now_ms += 100;
    hak_slab_t *again[12];
    for (int i = 0; i < 12; i++) {
      bool zeroed;
      again[i] = hak_pool_get(&g_pool, SPAN_SLABS, HAK_SLAB_SIZE,
                              SPAN_SLABS * HAK_SLAB_SIZE, false, &zeroed);
      CHECK(again[i] != NULL);
    }
    for (int i = 0; i < 12; i++) hak_pool_put(&g_pool, again[i], SPAN_SLABS);
    for (int i = 0; i < 10; i++) hak_retention_trim(&g_pool);
    CHECK_EQ(hak_retained_bytes(), IDLE);
  }
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], calls);
  CHECK_EQ(hak_idle_allowance(hak_clock_cached()), IDLE - left);
}

static void allowance__halves_with_each_decay_without_need(void **state) {
  (void)state;
  hak_clock_refresh();
  uint64_t now = hak_clock_cached(), decay = hak_idle_decay();
  hak_slab_t *span = NULL;
  bool zeroed;
  hak_idle_note_given(64 * MIB, now);
  for (int i = 0; i < 32; i++) {
    span = hak_pool_get(&g_pool, 32, HAK_SLAB_SIZE, HAK_SUPERSLAB_SIZE, false, &zeroed);
    CHECK(span != NULL);
  }
  CHECK_EQ(hak_idle_allowance(now), 64 * MIB);
  CHECK_EQ(hak_idle_allowance(now + decay), 64 * MIB);
  CHECK_EQ(hak_idle_allowance(now + decay + 1), 32 * MIB);
  CHECK_EQ(hak_idle_allowance(now + 2 * decay + 2), 16 * MIB);
  CHECK_EQ(hak_idle_allowance(now + 4 * decay + 3), 4 * MIB);
  /* What was given back longer ago than a decay is not regretted. */
  hak_idle_note_given(64 * MIB, now);
  g_now_ms += 1001;
  span = hak_pool_get(&g_pool, 32, HAK_SLAB_SIZE, HAK_SUPERSLAB_SIZE, false, &zeroed);
  CHECK(span != NULL);
  CHECK_EQ(hak_idle_allowance(now + 4 * decay + 3), 4 * MIB);
}

/* More than is committed need not be allowed for. */
static void allowance__is_no_more_than_there_is(void **state) {
  (void)state;
  make_idle();
  uint64_t all = hak_load_relaxed(&hak_slots_committed);
  for (int i = 0; i < 3; i++) hak_idle_allow(IDLE);
  CHECK_EQ(hak_idle_allowance(hak_clock_cached()), all);
}

/* What only the allowance has kept is of use: it is not forgotten. */
static void allowance__that_is_made_use_of_stays(void **state) {
  (void)state;
  set_policy(1, 0);
  make_idle();
  hak_idle_allow(IDLE);
  uint64_t allowed = hak_idle_allowance(hak_clock_cached());
  for (int round = 0; round < 5; round++) {
    g_now_ms += 900;
    hak_clock_refresh();
    bool zeroed;
    hak_slab_t *span = hak_pool_get(&g_pool, SPAN_SLABS, HAK_SLAB_SIZE,
                                    SPAN_SLABS * HAK_SLAB_SIZE, false, &zeroed);
    CHECK(span != NULL);
    hak_pool_put(&g_pool, span, SPAN_SLABS);
    CHECK_EQ(hak_idle_allowance(hak_clock_cached()), allowed);
  }
}

/* What a pool keeps is in use, for both lines. */
static void idle__is_not_what_a_pool_keeps(void **state) {
  (void)state;
  make_idle();
  uint64_t all = hak_load_relaxed(&hak_slots_committed);
  CHECK_EQ(hak_idle_bytes(), IDLE);
  hak_pool_keep_all(&g_pool);
  CHECK_EQ(hak_retained_bytes(), IDLE);
  CHECK(hak_idle_bytes() <= IDLE - all / 2);
  uint64_t some = hak_idle_bytes();
  CHECK(hak_idle_ceiling() >= all - some);
  CHECK(hak_pool_is_valid(&g_pool));
  bool zeroed;
  hak_slab_t *span = hak_pool_get(&g_pool, SPAN_SLABS, HAK_SLAB_SIZE,
                                  SPAN_SLABS * HAK_SLAB_SIZE, false, &zeroed);
  CHECK(span != NULL && hak_pool_is_valid(&g_pool));
  hak_pool_put(&g_pool, span, SPAN_SLABS);
  CHECK_EQ(hak_idle_bytes(), some);
  hak_lock_acquire(&g_pool.lock);
  g_pool.kept_slabs = 0;
  hak_pool_kept_changed_locked(&g_pool);
  hak_lock_release(&g_pool.lock);
  CHECK_EQ(hak_idle_bytes(), IDLE);
}

/* --- all pools ------------------------------------------------------------------------
 */

static hak_shared_pool_t g_quiet;

/* A pool that nobody comes to any more, with `count` of 8 slabs idle in each SuperSlab.
 */
static void make_quiet_pool(void) {
  memset(&g_quiet, 0, sizeof g_quiet);
  hak_pool_init(&g_quiet, hak_lifecycle_os(), &g_quiet);
  hak_slab_t *spans[SPANS];
  for (int i = 0; i < SPANS; i++) {
    bool zeroed;
    spans[i] = hak_pool_get(&g_quiet, SPAN_SLABS, HAK_SLAB_SIZE,
                            SPAN_SLABS * HAK_SLAB_SIZE, false, &zeroed);
    CHECK(spans[i] != NULL);
  }
  hak_clock_refresh();
  for (int i = 0; i < SPANS; i++) {
    if (i % 4 != 0) hak_pool_put(&g_quiet, spans[i], SPAN_SLABS);
  }
}

static uint64_t retained_of(hak_shared_pool_t *pool) {
  return pool->empty * HAK_SLAB_SIZE;
}

static void quiet_pool__gives_back_when_another_one_is_worked_in(void **state) {
  (void)state;
  set_options(1, 1000, 0, (int64_t)GIB);
  make_quiet_pool();
  CHECK_EQ(retained_of(&g_quiet), IDLE);
  pass_ms(900);
  CHECK_EQ(retained_of(&g_quiet), IDLE);
  pass_ms(1100);
  CHECK_EQ(retained_of(&g_quiet), 0);
  CHECK(hak_pool_is_valid(&g_quiet));
}

static void retain_bytes_max__takes_from_the_oldest_wherever_it_lies(void **state) {
  (void)state;
  set_options(1, 100000, 0, 8 * (int64_t)MIB);
  make_quiet_pool();
  g_now_ms += 500;
  for (int round = 0; round < 20; round++) {
    make_idle_again(round);
    for (int i = 0; i < 4; i++) hak_retention_trim(&g_pool);
    CHECK_EQ(retained_of(&g_pool), IDLE);
  }
  CHECK_EQ(hak_retained_bytes(), 8 * MIB);
  CHECK_EQ(retained_of(&g_quiet), 2 * MIB);
}

static void pools__that_keep_their_pages_do_not_hide_others(void **state) {
  (void)state;
  set_options(1, 1000, 0, (int64_t)GIB);
  make_quiet_pool();
  hak_pool_keep_all(&g_quiet);
  g_now_ms += 20;
  make_idle_again(0);
  pass_ms(2500);
  CHECK_EQ(retained_of(&g_quiet), IDLE);
  CHECK_EQ(retained_of(&g_pool), 0);
}

static void call__is_over_in_its_time_and_the_next_one_goes_on(void **state) {
  (void)state;
  set_options(1, 1000, 0, (int64_t)GIB);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_CALL_US, 1), 0);
  make_idle();
  g_now_ms += 3000;
  uint64_t before = hak_retained_bytes();
  hak_retention_trim(&g_pool);
  CHECK(hak_retained_bytes() > 0); /* a piece, and not all */
  CHECK(hak_retained_bytes() < before);
  for (int i = 0; i < 200; i++) hak_retention_trim(&g_pool); /* at the same time */
  CHECK_EQ(hak_retained_bytes(), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_CALL_US, 0), 0);
}

static void due__says_when_there_will_be_something(void **state) {
  (void)state;
  CHECK_EQ(hak_retention_due_in(), UINT64_MAX);
  make_idle();
  CHECK_EQ(hak_retention_due_in(), 1000 * NS_PER_MS);
  g_now_ms += 400;
  CHECK_EQ(hak_retention_due_in(), 600 * NS_PER_MS);
  size_t slabs = SIZE_MAX;
  CHECK_EQ(hak_retention_give_due(SIZE_MAX, &slabs), 0);
  g_now_ms += 700;
  CHECK_EQ(hak_retention_due_in(), 0);
  CHECK_EQ(hak_retention_give_due(SIZE_MAX, &slabs), IDLE - 2 * MIB);
  CHECK_EQ(hak_retention_due_in(), UINT64_MAX);
}

/* While a call gives back, others free: what is younger than the call is no reason for it
 * to look again and again. */
static void pool__that_is_younger_than_the_call_is_looked_at_once(void **state) {
  (void)state;
  make_idle();
  uint64_t before = g_now_ms * NS_PER_MS - 1;
  hak_pool_idle_t idle = {before, before, true};
  size_t slabs = SIZE_MAX;
  bool any;
  CHECK_EQ(hak_pool_purge_oldest(idle, SIZE_MAX, &slabs, &any), 0);
  CHECK(any);
  CHECK_EQ(hak_pool_purge_oldest(idle, SIZE_MAX, &slabs, &any), 0);
  CHECK(!any);
  pass_ms(1400);
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
                R(refusal__of_the_os_keeps_the_sums_and_is_tried_again),
                R(floor__is_a_share_of_what_is_in_use),
                R(surplus__goes_at_once_down_to_what_is_in_use),
                R(surplus__splits_huge_pages_only_where_it_stays),
                R(surplus__splits_huge_pages_at_once_where_little_is_in_use),
                R(surplus__splits_huge_pages_at_once_if_the_option_says_so),
                R(surplus__that_is_freed_at_random_goes_in_whole_superslabs),
                R(surplus__that_is_needed_again_is_allowed_for),
                R(allowance__halves_with_each_decay_without_need),
                R(allowance__is_no_more_than_there_is),
                R(allowance__that_is_made_use_of_stays),
                R(idle__is_not_what_a_pool_keeps),
                R(quiet_pool__gives_back_when_another_one_is_worked_in),
                R(retain_bytes_max__takes_from_the_oldest_wherever_it_lies),
                R(pools__that_keep_their_pages_do_not_hide_others),
                R(pool__that_is_younger_than_the_call_is_looked_at_once),
                R(call__is_over_in_its_time_and_the_next_one_goes_on),
                R(due__says_when_there_will_be_something))
