/* superslab_refused.c - when free memory is due beside memory that hooks refuse to take:
 * by a clock that the test sets. */
#include "clock.h"
#include "pool_fixture.h"

#include "heap/lifecycle.h"
#include "superslab/region.h"
#include "superslab/retention.h"

#define NS_PER_MS ((uint64_t)1000000)

enum {
  DECAY_MS = 1000,
  AT_ONCE = 512, /* refusals that a call takes */
  MANY = AT_ONCE + 8
};

static const char *g_taken; /* the one SuperSlab whose pages the hooks take */
static bool g_takes_all;
static int (*g_purge)(void *ctx, void *ptr, size_t size);

static int purge_one(void *ctx, void *ptr, size_t size) {
  const char *at = ptr;
  bool taken = g_takes_all ||
               (g_taken != NULL && at >= g_taken && at < g_taken + HAK_SUPERSLAB_SIZE);
  return taken ? g_purge(ctx, ptr, size) : -1;
}

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  g_os.hooks.now_ns = test_clock_ns;
  g_purge = g_os.hooks.purge;
  g_os.hooks.purge = purge_one;
  g_taken = NULL;
  g_takes_all = false;
  test_pass_ms(100000); /* far from what the last test did */
  CHECK_EQ(test_os_init(&g_os), 0);
  test_pool_begin();
  test_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS);
  test_set(HAK_OPTION_RETAIN_BYTES, 0);
  test_set(HAK_OPTION_RETAIN_SHARE, 0);
  return 0;
}

static hak_superslab_t *take(void) {
  bool zeroed;
  hak_superslab_t *ss = hak_region_acquire(hak_lifecycle_os(), 1, HAK_SUPERSLAB_SIZE,
                                           HAK_EXTENT_RUN, NULL, false);
  CHECK(ss != NULL);
  CHECK(hak_superslab_commit(ss, 0, HAK_SUPERSLAB_SLABS, HAK_SUPERSLAB_SIZE / 4096, false,
                             &zeroed));
  return ss;
}

static void give(hak_superslab_t *ss) { hak_region_give(ss, 1, test_clock_ns(NULL)); }

/* So many lie idle from now on, and the hooks refuse them. */
static void make_refused(size_t count) {
  static hak_superslab_t *all[MANY];
  for (size_t i = 0; i < count; i++) all[i] = take();
  for (size_t i = 0; i < count; i++) give(all[i]);
}

static size_t collect(void) {
  size_t slabs = SIZE_MAX;
  return hak_retention_give_due(SIZE_MAX, &slabs);
}

static uint64_t due_ms(void) { return hak_retention_due_in() / NS_PER_MS; }

/* What a loop does that sleeps until something is due: until that is in so long. */
static void wait_until_due_in(uint64_t ms) {
  enum {
    TIMES = 100
  };
  int times = 0;
  for (uint64_t due = due_ms(); due < ms && times < TIMES; due = due_ms(), times++) {
    test_pass_ms(due + 1);
    CHECK_EQ(collect(), 0);
  }
  CHECK(times < TIMES);
}

static void collect__asks_for_what_is_behind_refused_superslabs(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_SURPLUS, 0);
  make_refused(4);
  hak_superslab_t *ss = take();
  g_taken = ss->extent.base;
  give(ss);
  test_pass_ms(2 * DECAY_MS);
  CHECK_EQ(collect(), HAK_SUPERSLAB_SIZE);
}

static void count_event(hak_event_t event, const void *address, size_t size, void *ctx) {
  (void)event;
  (void)address;
  (void)size;
  ++*(unsigned *)ctx;
}

static void collect__tells_of_nothing_that_did_not_go(void **state) {
  (void)state;
  unsigned events = 0;
  make_refused(4);
  test_pass_ms(2 * DECAY_MS);
  hak_set_event_hook(count_event, &events);
  CHECK_EQ(collect(), 0);
  hak_set_event_hook(NULL, NULL);
  CHECK_EQ(events, 0);
}

/* Only refusals are bounded. */
static void purge__of_many_superslabs_ends_with_the_last(void **state) {
  (void)state;
  static hak_superslab_t *all[MANY];
  bool zeroed;
  for (size_t i = 0; i < MANY; i++) {
    all[i] = hak_region_acquire(hak_lifecycle_os(), 1, HAK_SUPERSLAB_SIZE, HAK_EXTENT_RUN,
                                NULL, false);
    CHECK(all[i] != NULL && hak_superslab_commit(all[i], 0, 1, 1, false, &zeroed));
  }
  for (size_t i = 0; i < MANY; i++) give(all[i]);
  g_takes_all = true;
  size_t slabs = SIZE_MAX;
  CHECK_EQ(hak_region_purge(UINT64_MAX, SIZE_MAX, &slabs), MANY * (size_t)4096);
}

/* However late it is due again what was refused. */
static void due__comes_in_time_for_what_there_was_no_call_for(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_SURPLUS, 1);
  hak_superslab_t *ss = take();
  make_refused(MANY);
  for (int i = 0; i < 12; i++) {
    CHECK_EQ(collect(), 0);
    CHECK(due_ms() <= DECAY_MS); /* for those that it did not ask for */
    test_pass_ms(due_ms() + 1);
  }
  g_taken = ss->extent.base;
  give(ss);
  size_t given = 0;
  for (int i = 0; i < 4; i++) {
    given += collect();
    test_pass_ms(due_ms() + 1);
  }
  CHECK_EQ(given, HAK_SUPERSLAB_SIZE);
}

static void due__is_as_late_as_before_where_more_is_refused(void **state) {
  (void)state;
  test_set(HAK_OPTION_PURGE_SURPLUS, 1);
  hak_superslab_t *ss = take();
  make_refused(4);
  wait_until_due_in(4 * DECAY_MS);
  give(ss);
  CHECK(due_ms() < DECAY_MS / 10);
  CHECK_EQ(collect(), 0);
  CHECK(due_ms() > DECAY_MS / 2);
}

#define R(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(R(collect__asks_for_what_is_behind_refused_superslabs),
                R(collect__tells_of_nothing_that_did_not_go),
                R(purge__of_many_superslabs_ends_with_the_last),
                R(due__comes_in_time_for_what_there_was_no_call_for),
                R(due__is_as_late_as_before_where_more_is_refused))
