/* external_region.c - memory of the caller's as whole SuperSlabs: which units it has, who
 * may have it, that nobody asks for pages, and when it is short. The library runs over
 * hooks of the test, and nothing is allocated from it. */
#include "os_fixture.h"

#include <errno.h>
#include <string.h>

#include "external/external_region.h"
#include "heap/lifecycle.h"
#include "superslab/locate.h"
#include "superslab/region.h"

enum {
  UNIT = 2 << 20,
  UNITS = 6
};

static _Alignas(UNIT) char g_memory[UNITS * UNIT];
static hak_budget_t g_budget;
static char g_heap; /* an address for a heap */

static int setup(void **state) {
  (void)state;
  test_over_os(0);
  hak_budget_init(&g_budget);
  return 0;
}

static int teardown(void **state) {
  CHECK(hak_regions_are_valid());
  return test_over_os_teardown(state);
}

static hak_external_region_t *open_all(void) {
  int error;
  hak_external_region_t *external_region =
      hak_external_region_open(hak_lifecycle_os(), g_memory, sizeof g_memory, &error);
  CHECK(external_region != NULL);
  hak_external_region_serve(external_region, &g_budget);
  return external_region;
}

static hak_superslab_t *acquire(hak_external_region_t *external_region, uint32_t count) {
  return hak_region_acquire(&external_region->hooks.os, count, HAK_SUPERSLAB_SIZE,
                            HAK_EXTENT_RUN, &g_heap, true);
}

static void units__are_the_whole_ones_inside(void **state) {
  (void)state;
  CHECK_EQ(hak_external_region_units(g_memory, sizeof g_memory), UNITS);
  CHECK_EQ(hak_external_region_units(g_memory + 1, sizeof g_memory - 1), UNITS - 1);
  CHECK_EQ(hak_external_region_units(g_memory + 1, sizeof g_memory - 2), UNITS - 2);
  CHECK_EQ(hak_external_region_units(g_memory + 1, UNIT - 2), 0);
  CHECK_EQ(hak_external_region_units(g_memory, 0), 0);
  CHECK_EQ(hak_external_region_units(g_memory, test_opaque(SIZE_MAX)), 0);
  CHECK_EQ(hak_external_region_units((void *)test_opaque(SIZE_MAX - 100), 100), 0);
  CHECK_EQ(hak_external_region_units((void *)test_opaque(SIZE_MAX - 3 * UNIT + 1),
                                     3 * UNIT - 1),
           2);
}

static void open__twice_over_the_same_memory_is_refused(void **state) {
  (void)state;
  int error = 0;
  hak_external_region_t *external_region = open_all();
  CHECK(hak_external_region_open(hak_lifecycle_os(), g_memory + UNIT, 4 * UNIT, &error) ==
        NULL);
  CHECK_EQ(error, EINVAL);
  hak_external_region_serve(external_region, NULL);
  hak_external_region_close(external_region);
  CHECK(open_all() == external_region); /* its record is used again */
}

static void open__without_memory_for_records_changes_nothing(void **state) {
  (void)state;
  int error = 0;
  hak_external_region_t *external_region = NULL;
  for (uint64_t n = 1; external_region == NULL; n++) {
    CHECK(n < 20);
    CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
    CHECK_EQ(test_os_init(&g_os), 0);
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, n);
    external_region =
        hak_external_region_open(hak_lifecycle_os(), g_memory, sizeof g_memory, &error);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    CHECK(external_region != NULL || error == ENOMEM);
    if (external_region != NULL) hak_external_region_close(external_region);
    hak_external_region_serve(open_all(), NULL);
    hak_external_regions_close_unserved();
  }
}

static void superslabs__need_no_call_have_no_pages_and_promise_no_zeroes(void **state) {
  (void)state;
  memset(g_memory, 0xa5, sizeof g_memory);
  hak_external_region_t *external_region = open_all();
  uint64_t calls = test_os_calls(&g_os);
  uint64_t retained = hak_load_relaxed(&hak_slots_retained);
  for (int round = 0; round < 2; round++) {
    hak_superslab_t *ss = acquire(external_region, UNITS);
    CHECK(ss != NULL && ss->extent.base == g_memory &&
          acquire(external_region, 1) == NULL);
    CHECK(!hak_superslab_is_huge(ss));
    bool zeroed = true;
    CHECK(hak_superslab_charge_to(ss, &g_budget) && hak_superslab_budget(ss) == NULL);
    CHECK(hak_superslab_commit(ss, 0, HAK_SUPERSLAB_SLABS, 512, true, &zeroed));
    CHECK(!zeroed && hak_superslab_purge(ss, 0, HAK_SUPERSLAB_SLABS) == 0);
    CHECK_EQ(hak_locate((uintptr_t)g_memory + 5 * UNIT).extent->os ==
                 &external_region->hooks.os,
             1);
    hak_region_give(ss, UNITS, 0);
  }
  CHECK_EQ(hak_load_relaxed(&hak_slots_retained), retained);
  CHECK_EQ(hak_load_relaxed(&g_budget.charged), 0);
  CHECK_EQ((unsigned char)g_memory[UNIT], 0xa5);
  hak_external_region_serve(external_region, NULL);
  hak_external_region_close(external_region);
  CHECK(hak_locate((uintptr_t)g_memory).extent == NULL);
  CHECK_EQ(test_os_calls(&g_os), calls);
}

static void budget__has_a_limit_while_slots_are_few(void **state) {
  (void)state;
  hak_external_region_t *external_region = open_all();
  hak_superslab_t *most = acquire(external_region, 4);
  CHECK(!hak_budget_is_limited(&g_budget));
  hak_superslab_t *more = acquire(external_region, 1);
  CHECK(hak_budget_is_limited(&g_budget));
  CHECK(hak_budget_quota(&g_budget) <= UNITS * UNIT / 4);
  CHECK(hak_load_relaxed(&g_budget.hard) >= UNITS * UNIT); /* never met */
  hak_region_give(more, 1, 0);
  CHECK(hak_budget_is_limited(&g_budget)); /* not at once */
  hak_region_give(most, 4, 0);
  CHECK(!hak_budget_is_limited(&g_budget));
}

static void share__of_growth_is_divided_by_the_users(void **state) {
  (void)state;
  hak_external_region_t *external_region = open_all();
  uint64_t alone = hak_external_region_quota(&external_region->hooks.os);
  CHECK(alone > 0 && alone <= UNITS * UNIT / 16);
  hak_budget_count_user(&g_budget, 1);
  CHECK_EQ(hak_external_region_quota(&external_region->hooks.os), alone);
  hak_budget_count_user(&g_budget, 3);
  CHECK_EQ(hak_external_region_quota(&external_region->hooks.os), alone / 4);
}

#define P(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      T(units__are_the_whole_ones_inside),
      P(open__twice_over_the_same_memory_is_refused),
      P(open__without_memory_for_records_changes_nothing),
      P(superslabs__need_no_call_have_no_pages_and_promise_no_zeroes),
      P(budget__has_a_limit_while_slots_are_few),
      P(share__of_growth_is_divided_by_the_users)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
