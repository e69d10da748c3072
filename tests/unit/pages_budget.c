/* pages_budget.c - budgets: chains of counters with limits. */
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "pages/budget.h"

static hak_budget_t g_top, g_middle, g_low;

static void begin(uint32_t fixed) {
  hak_budget_t *all[] = {&g_top, &g_middle, &g_low};
  for (size_t i = 0; i < TEST_COUNT(all); i++) {
    memset(all[i], 0, sizeof *all[i]);
    hak_budget_init(all[i]);
    all[i]->fixed = fixed;
    hak_budget_begin(all[i], i == 0 ? NULL : all[i - 1]);
  }
}

static uint64_t charged(hak_budget_t *budget) {
  return hak_load_relaxed(&budget->charged);
}
static void check_charged(uint64_t top, uint64_t middle, uint64_t low) {
  CHECK_EQ(charged(&g_top), top);
  CHECK_EQ(charged(&g_middle), middle);
  CHECK_EQ(charged(&g_low), low);
}

static void charge__counts_at_every_level_above(void **state) {
  (void)state;
  begin(0);
  CHECK(hak_budget_charge(&g_low, 100));
  CHECK(hak_budget_charge(&g_middle, 10));
  check_charged(110, 110, 100);
  hak_budget_uncharge(&g_low, 60);
  check_charged(50, 50, 40);
  hak_budget_uncharge(&g_low, 40);
  hak_budget_uncharge(&g_middle, 10);
  check_charged(0, 0, 0);
  CHECK(hak_budget_charge(NULL, 100));
  hak_budget_uncharge(NULL, 100);
}

static void charge__that_any_level_refuses_changes_nothing(void **state) {
  (void)state;
  hak_budget_t *levels[] = {&g_top, &g_middle, &g_low};
  for (size_t i = 0; i < TEST_COUNT(levels); i++) {
    begin(7);
    hak_budget_set_limits(levels[i], 0, 1007);
    CHECK(hak_budget_is_limited(&g_low));
    CHECK(hak_budget_charge(&g_low, 900));
    CHECK_EQ(hak_budget_room(&g_low), 100);
    hak_budget_call_t call;
    hak_budget_call_begin(&call);
    CHECK(!hak_budget_charge(&g_low, 101));
    hak_budget_call_end(&call);
    CHECK(call.refused_by == levels[i]);
    check_charged(907, 907, 907);
    CHECK(hak_budget_charge(&g_low, 100));
    check_charged(1007, 1007, 1007);
    CHECK_EQ(hak_budget_room(&g_low), 0);
    CHECK(!hak_budget_charge(&g_low, 1) && !hak_budget_charge(&g_low, SIZE_MAX - 7));
  }
}

static void set_limits__below_use_stops_growth_until_under(void **state) {
  (void)state;
  begin(0);
  CHECK(hak_budget_charge(&g_low, 1000));
  hak_budget_set_limits(&g_middle, 0, 500);
  CHECK_EQ(hak_budget_room(&g_low), 0);
  CHECK(!hak_budget_charge(&g_low, 1));
  CHECK(hak_budget_charge(&g_top, 1));
  hak_budget_uncharge(&g_low, 501);
  CHECK(hak_budget_charge(&g_low, 1));
  CHECK(!hak_budget_charge(&g_low, 1));
  hak_budget_set_limits(&g_middle, 0, 0);
  CHECK(hak_budget_charge(&g_low, 1 << 20));
}

static void fixed__is_charged_while_there_is_anything(void **state) {
  (void)state;
  begin(100);
  CHECK(hak_budget_charge(&g_low, 5));
  check_charged(105, 105, 105);
  CHECK(hak_budget_charge(&g_low, 5));
  CHECK(hak_budget_charge(&g_top, 1));
  check_charged(211, 110, 110);
  hak_budget_uncharge(&g_low, 10);
  check_charged(101, 0, 0);
  hak_budget_set_limits(&g_low, 0, 104);
  CHECK(!hak_budget_charge(&g_low, 5));
  CHECK(hak_budget_charge(&g_low, 4));
  hak_budget_uncharge(&g_low, 4);
  hak_budget_uncharge(&g_top, 1);
  check_charged(0, 0, 0);
  /* Nothing is not anything. */
  CHECK(hak_budget_charge(&g_low, 0));
  check_charged(0, 0, 0);
  hak_budget_uncharge(&g_low, 0);
  check_charged(0, 0, 0);
}

static void soft__alarms_when_crossed_and_at_each_step_beyond(void **state) {
  (void)state;
  begin(0);
  hak_budget_set_limits(&g_middle, 1600, 0);
  CHECK(hak_budget_charge(&g_low, 1600));
  CHECK(hak_budget_take_alarm(&g_low) == NULL);
  CHECK(hak_budget_charge(&g_low, 1));
  CHECK_EQ(hak_load_relaxed(&hak_budget_alarms), 1);
  CHECK(hak_budget_take_alarm(&g_top) == NULL);
  CHECK(hak_budget_take_alarm(&g_low) == &g_middle);
  CHECK(hak_budget_take_alarm(&g_low) == NULL);
  CHECK_EQ(hak_load_relaxed(&hak_budget_alarms), 0);
  hak_budget_uncharge(&g_low, 100);      /* 1501: not yet a sixteenth below */
  CHECK(hak_budget_charge(&g_low, 125)); /* a sixty-fourth above the first alarm */
  CHECK(hak_budget_take_alarm(&g_low) == NULL);
  CHECK(hak_budget_charge(&g_low, 1));
  CHECK(hak_budget_take_alarm(&g_low) == &g_middle);
  /* Somebody has acted: the next step counts from what is left. */
  hak_budget_uncharge(&g_low, 37);
  hak_budget_rearm(&g_middle); /* 1590 */
  CHECK(hak_budget_charge(&g_low, 25));
  CHECK(hak_budget_take_alarm(&g_low) == NULL);
  CHECK(hak_budget_charge(&g_low, 1));
  CHECK(hak_budget_take_alarm(&g_low) == &g_middle);
  hak_budget_uncharge(&g_low, 116); /* 1500 */
  CHECK(hak_budget_charge(&g_low, 101));
  CHECK(hak_budget_take_alarm(&g_low) == &g_middle);
  hak_budget_uncharge(&g_low, 1601);
  /* An alarm that nobody took ends with its level. */
  CHECK(hak_budget_charge(&g_low, 1601));
  hak_budget_uncharge(&g_low, 1601);
  CHECK_EQ(hak_load_relaxed(&hak_budget_alarms), 1);
  hak_budget_begin(&g_middle, NULL);
  CHECK_EQ(hak_load_relaxed(&hak_budget_alarms), 0);
}

static void share__is_the_smallest_of_the_levels_by_their_users(void **state) {
  (void)state;
  begin(0);
  CHECK_EQ(hak_budget_quota(&g_low), HAK_BUDGET_NONE);
  hak_budget_set_limits(&g_middle, 0, 1 << 20);
  CHECK_EQ(hak_budget_quota(&g_low), 1 << 16);
  hak_budget_count_user(&g_low, 1);
  CHECK_EQ(hak_budget_quota(&g_low), 1 << 16);
  hak_budget_count_user(&g_low, 1);
  hak_budget_count_user(&g_middle, 1);
  CHECK_EQ(hak_load_relaxed(&g_middle.users), 3);
  CHECK_EQ(hak_budget_quota(&g_low), 1 << 14); /* for four: rounded up */
  hak_budget_set_limits(&g_top, 0, 1 << 16);
  CHECK_EQ(hak_budget_quota(&g_low), 1 << 10);
  hak_budget_set_limits(&g_low, 0, 1);
  CHECK_EQ(hak_budget_quota(&g_low), 1);
  hak_budget_count_user(&g_low, -2);
  hak_budget_count_user(&g_middle, -1);
  CHECK_EQ(hak_load_relaxed(&g_top.users), 0);
}

static void grant__is_bounded_for_all_threads_together(void **state) {
  (void)state;
  begin(0);
  CHECK(hak_budget_quota_take(&g_low, 1 << 30));
  hak_budget_quota_return(&g_low, 1 << 30);
  hak_budget_set_limits(&g_middle, 0, 1600);
  CHECK(hak_budget_quota_take(&g_low, 60) && hak_budget_quota_take(&g_middle, 40));
  CHECK(!hak_budget_quota_take(&g_low, 1) && hak_budget_quota_take(&g_top, 1));
  hak_budget_quota_return(&g_low, 60);
  CHECK(!hak_budget_quota_take(&g_low, 61) && hak_budget_quota_take(&g_low, 60));
  CHECK_EQ(hak_load_relaxed(&g_top.cached), 101);
  /* A limit that is lowered below what is cached: nothing more until it is under. */
  hak_budget_set_limits(&g_middle, 0, 800);
  CHECK(!hak_budget_quota_take(&g_low, 1));
  hak_budget_quota_return(&g_low, 50);
  CHECK(!hak_budget_quota_take(&g_low, 1));
  hak_budget_quota_return(&g_low, 10);
  CHECK(hak_budget_quota_take(&g_low, 10) && !hak_budget_quota_take(&g_low, 1));
  hak_budget_set_limits(&g_middle, 0, 1600);
  CHECK(hak_budget_quota_take(&g_low, 50));
  hak_budget_quota_return(&g_low, 60);
  hak_budget_quota_return(&g_middle, 40);
  hak_budget_quota_return(&g_top, 1);
  CHECK_EQ(hak_load_relaxed(&g_top.cached) + hak_load_relaxed(&g_low.cached), 0);
}

static void callback__forbids_its_level_and_those_below(void **state) {
  (void)state;
  begin(0);
  hak_budget_call_t request, callback, nested;
  hak_budget_call_begin(&request);
  CHECK(!hak_budget_is_forbidden(&g_low));
  hak_budget_call_begin(&callback);
  callback.inside = &g_middle;
  CHECK(hak_budget_is_forbidden(&g_low) && hak_budget_is_forbidden(&g_middle));
  CHECK(!hak_budget_is_forbidden(&g_top));
  /* What is refused to it is no reason for a request. */
  hak_budget_set_limits(&g_top, 0, 10);
  CHECK(!hak_budget_charge(&g_top, 11));
  CHECK(callback.refused_by == NULL && request.refused_by == NULL);
  hak_budget_call_begin(&nested);
  CHECK(!hak_budget_charge(&g_top, 11));
  CHECK(nested.refused_by == &g_top && callback.refused_by == NULL);
  CHECK(hak_budget_is_forbidden(&g_low));
  hak_budget_call_end(&nested);
  hak_budget_call_end(&callback);
  CHECK(!hak_budget_is_forbidden(&g_low));
  hak_budget_call_end(&request);
  CHECK(hak_budget_calls == NULL);
}

/* ---- races ---------------------------------------------------------------- */

enum {
  THREADS = 8,
  LIMIT_TOP = 20000,
  LIMIT_MIDDLE = 15000,
  LIMIT_LOW = 9000
};
static atomic_bool g_stop;

static void *watch(void *arg) {
  (void)arg;
  while (!atomic_load(&g_stop)) {
    CHECK(charged(&g_top) <= LIMIT_TOP);
    CHECK(charged(&g_middle) <= LIMIT_MIDDLE);
    CHECK(charged(&g_low) <= LIMIT_LOW);
  }
  return NULL;
}

static void *churn(void *arg) {
  hak_budget_t *levels[] = {&g_top, &g_middle, &g_low};
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)arg);
  size_t held[3] = {0}, refused = 0;
  for (size_t i = test_scale(300000); i > 0; i--) {
    size_t level = test_below(&rng, 3), bytes = 1 + test_below(&rng, 2000);
    if (held[level] > 0 && test_below(&rng, 2) == 0) {
      if (bytes > held[level]) bytes = held[level];
      hak_budget_uncharge(levels[level], bytes);
      held[level] -= bytes;
    } else if (hak_budget_charge(levels[level], bytes)) {
      held[level] += bytes;
    } else {
      refused++;
    }
  }
  for (size_t level = 0; level < 3; level++) {
    hak_budget_uncharge(levels[level], held[level]);
  }
  CHECK(refused > 0);
  return NULL;
}

static void race__no_level_is_ever_above_its_limit(void **state) {
  (void)state;
  begin(50);
  hak_budget_set_limits(&g_top, LIMIT_TOP / 2, LIMIT_TOP);
  hak_budget_set_limits(&g_middle, 0, LIMIT_MIDDLE);
  hak_budget_set_limits(&g_low, LIMIT_LOW / 2, LIMIT_LOW);
  pthread_t watcher, threads[THREADS];
  CHECK_EQ(pthread_create(&watcher, NULL, watch, NULL), 0);
  for (size_t i = 0; i < THREADS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0);
  }
  test_threads_end(threads, THREADS);
  atomic_store(&g_stop, true);
  CHECK_EQ(pthread_join(watcher, NULL), 0);
  check_charged(0, 0, 0);
  while (hak_budget_take_alarm(&g_low) != NULL) {}
  CHECK_EQ(hak_load_relaxed(&hak_budget_alarms), 0);
}

TEST_MAIN_FRESH(T(charge__counts_at_every_level_above),
                T(charge__that_any_level_refuses_changes_nothing),
                T(set_limits__below_use_stops_growth_until_under),
                T(fixed__is_charged_while_there_is_anything),
                T(soft__alarms_when_crossed_and_at_each_step_beyond),
                T(share__is_the_smallest_of_the_levels_by_their_users),
                T(grant__is_bounded_for_all_threads_together),
                T(callback__forbids_its_level_and_those_below),
                T(race__no_level_is_ever_above_its_limit))
