/* external_region.c - memory of the caller's as whole SuperSlabs: which units it has, who
 * may have it, that nobody asks for pages, and when it is short. The library runs over
 * hooks of the test, and nothing is allocated from it. */
#include "os_fixture.h"

#include <errno.h>
#include <string.h>

#include "external/external_region.h"
#include "heap/lifecycle.h"
#include "pages/meta.h"
#include "superslab/huge.h"
#include "superslab/locate.h"
#include "superslab/pool_growth.h"
#include "superslab/region.h"
#include "superslab/shared_pool.h"

enum {
  UNIT = 2 << 20,
  UNITS = 6
};

static _Alignas(UNIT) char g_memory[UNITS * UNIT];
static hak_shared_pool_t g_pool; /* of the heap that the region serves */
static char g_heap;              /* an address for that */

static int setup(void **state) {
  (void)state;
  test_over_os(0);
  memset(&g_pool, 0, sizeof g_pool);
  hak_pool_init(&g_pool, NULL, &g_heap);
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
  hak_external_region_serve(external_region, &g_pool.budget);
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

/* Whatever others have: it is not the library's to advise. */
static void memory__of_the_callers_asks_for_no_huge_pages(void **state) {
  (void)state;
  int64_t purge = hak_option_get(HAK_OPTION_PURGE_MODE);
  int64_t huge = hak_option_get(HAK_OPTION_HUGE_PAGES);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 1), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, 2), 0);
  hak_superslab_t *ss = acquire(open_all(), 1);
  CHECK(ss != NULL);
  uint64_t count = hak_load_relaxed(&hak_huge_superslabs);
  CHECK(!hak_pool_choose_pages(&g_pool, ss, true));
  CHECK(!hak_superslab_is_huge(ss));
  CHECK_EQ(hak_load_relaxed(&hak_huge_superslabs), count);
  /* Nor is anything of it charged. */
  hak_budget_t budget = {.hard = 1, .soft = HAK_BUDGET_NONE};
  CHECK(hak_superslab_charge_all_to(ss, 1, &budget));
  CHECK_EQ(hak_load_relaxed(&budget.charged), 0);
  hak_region_give(ss, 1, 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, purge), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, huge), 0);
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

static void use_up_line(void) {
  CHECK(hak_meta_alloc(hak_lifecycle_os(), HAK_CACHE_LINE, HAK_CACHE_LINE) != NULL);
}

/* There is room for records of so many lines in all, and for more only from the system.
 */
static void leave_lines(uint64_t lines) {
  uint64_t before = hak_load_relaxed(&hak_meta_committed);
  while (hak_load_relaxed(&hak_meta_committed) == before) use_up_line();
  uint64_t more = hak_load_relaxed(&hak_meta_committed) - before;
  for (uint64_t left = more / HAK_CACHE_LINE - 1; left > lines; left--) use_up_line();
}

/* The region's own record comes first; where its annex has none it is kept. */
static void open__with_memory_for_some_records_changes_nothing(void **state) {
  (void)state;
  enum {
    HEAD_LINES = 100 /* more than what the annex notes of its pages */
  };
  const uint64_t most = sizeof(hak_external_region_t) + sizeof(hak_external_heap_t);
  for (uint64_t lines = 0; lines <= most / HAK_CACHE_LINE + HEAD_LINES; lines++) {
    int error = 0;
    CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
    CHECK_EQ(test_os_init(&g_os), 0);
    leave_lines(lines);
    test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
    CHECK(hak_external_region_open(hak_lifecycle_os(), g_memory, sizeof g_memory,
                                   &error) == NULL);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    CHECK_EQ(error, ENOMEM);
    hak_external_regions_close_unserved();
    hak_external_region_serve(open_all(), NULL);
    hak_external_regions_close_unserved();
  }
}

/* Of no program's memory; more units than are counted. */
static void open__of_absurd_sizes_is_refused(void **state) {
  (void)state;
  int error = 0;
  CHECK(hak_external_region_open(hak_lifecycle_os(), g_memory,
                                 test_opaque((size_t)1 << 60), &error) == NULL);
  CHECK_EQ(error, EINVAL);
  hak_external_region_close(open_all());
}

/* What the annex of a region has of its own serves the next one. */
static void open__again_takes_no_more_memory_for_records(void **state) {
  (void)state;
  hak_external_region_t *region = open_all();
  hak_external_region_serve(region, NULL);
  hak_external_region_close(region);
  hak_free(hak_alloc(1));
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  for (int i = 0; i < 1000; i++) {
    region = open_all();
    hak_external_region_serve(region, NULL);
    hak_external_region_close(region);
  }
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
}

/* As in the child of a fork amid the end of another heap. */
static void close_unserved__leaves_alone_what_serves_a_heap(void **state) {
  (void)state;
  hak_external_region_t *region = open_all();
  CHECK(acquire(region, 1) != NULL);
  hak_external_regions_close_unserved();
  hak_externals_close_unserved();
  CHECK(hak_external_bytes(region->annex) > 0);
  CHECK(acquire(region, UNITS - 1) != NULL && acquire(region, 1) == NULL);
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
    CHECK(hak_superslab_charge_to(ss, &g_pool.budget) &&
          hak_superslab_budget(ss) == NULL);
    CHECK(hak_superslab_commit(ss, 0, HAK_SUPERSLAB_SLABS, 512, true, &zeroed));
    CHECK(!zeroed && hak_superslab_purge(ss, 0, HAK_SUPERSLAB_SLABS) == 0);
    CHECK_EQ(hak_locate((uintptr_t)g_memory + 5 * UNIT).extent->os ==
                 &external_region->hooks.os,
             1);
    hak_region_give(ss, UNITS, 0);
  }
  CHECK_EQ(hak_load_relaxed(&hak_slots_retained), retained);
  CHECK_EQ(hak_load_relaxed(&g_pool.budget.charged), 0);
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
  CHECK(!hak_budget_is_limited(&g_pool.budget));
  hak_superslab_t *more = acquire(external_region, 1);
  CHECK(hak_budget_is_limited(&g_pool.budget));
  CHECK(hak_budget_quota(&g_pool.budget) <= UNITS * UNIT / 4);
  CHECK(hak_load_relaxed(&g_pool.budget.hard) >= UNITS * UNIT); /* never met */
  hak_region_give(more, 1, 0);
  CHECK(hak_budget_is_limited(&g_pool.budget)); /* not at once */
  hak_region_give(most, 4, 0);
  CHECK(!hak_budget_is_limited(&g_pool.budget));
}

static void share__of_growth_is_divided_by_the_users(void **state) {
  (void)state;
  hak_external_region_t *external_region = open_all();
  uint64_t alone = hak_external_region_quota(&external_region->hooks.os);
  CHECK(alone > 0 && alone <= UNITS * UNIT / 16);
  hak_budget_count_user(&g_pool.budget, 1);
  CHECK_EQ(hak_external_region_quota(&external_region->hooks.os), alone);
  hak_budget_count_user(&g_pool.budget, 3);
  CHECK_EQ(hak_external_region_quota(&external_region->hooks.os), alone / 4);
}

/* --- the annex ---------------------------------------------------------------------- */

static hak_external_region_t *open_in(char *memory, size_t size) {
  int error;
  hak_external_region_t *region =
      hak_external_region_open(hak_lifecycle_os(), memory, size, &error);
  CHECK(region != NULL);
  hak_external_set_heap(region->annex, &g_heap);
  hak_external_region_serve(region, &g_pool.budget);
  g_pool.os = &region->hooks.os;
  return region;
}

static hak_slab_t *get(unsigned span) {
  bool zeroed;
  size_t bytes = span * HAK_SLAB_SIZE;
  hak_slab_t *slab = hak_pool_get(&g_pool, span, HAK_SLAB_SIZE, bytes, false, &zeroed);
  CHECK(slab == NULL || test_is_within(hak_slab_start(slab), g_memory, sizeof g_memory));
  return slab;
}

static void *take(hak_external_region_t *region, size_t size) {
  return hak_external_region_alloc(region, size, 0);
}

static void check(hak_external_region_t *region) {
  CHECK(hak_external_is_valid(region->annex) && hak_pool_is_valid(&g_pool));
  CHECK(hak_regions_are_valid());
}

/* All blocks and slabs are gone. */
static void check_empty(hak_external_region_t *region) {
  check(region);
  CHECK(hak_external_is_empty(region->annex));
  CHECK_EQ(hak_load_relaxed(&g_pool.taken), g_pool.in_hand);
}

static void end(hak_external_region_t *region) {
  hak_pool_gone_t gone = {0, 0};
  hak_pool_clear(&g_pool, false, &gone);
  hak_external_region_clear(region);
  check_empty(region);
  CHECK_EQ(g_pool.in_hand, 0);
  CHECK_EQ(hak_load_relaxed(&region->used), 0);
  hak_external_region_serve(region, NULL);
  hak_external_region_close(region);
}

static uint32_t note_class(const char *address) {
  hak_leaf_t *leaf;
  size_t offset;
  return hak_locate_class(hak_registry_root(), (uintptr_t)address, &leaf, &offset);
}

static void annex__has_all_that_is_free_and_lends_it(void **state) {
  (void)state;
  hak_external_region_t *region = open_in(g_memory, sizeof g_memory);
  char *all = take(region, sizeof g_memory);
  CHECK(all == g_memory && get(1) == NULL && take(region, 1) == NULL);
  /* Notes say so before any unit is the pool's as well: none has to change then. */
  for (size_t at = 0; at < sizeof g_memory; at += HAK_SLAB_SIZE) {
    CHECK_EQ(note_class(g_memory + at), HAK_CLASS_EXTERNAL);
  }
  CHECK(hak_external_free(region->annex, all) && !hak_external_free(region->annex, all));
  hak_slab_t *slab = get(1);
  CHECK(hak_slab_start(slab) == g_memory);
  /* Its chunk is in use, and is no block. */
  CHECK(!hak_external_free(region->annex, g_memory));
  CHECK_EQ(hak_external_resize(region->annex, g_memory, 1, 1), 0);
  CHECK(take(region, sizeof g_memory) == NULL);
  char *rest = take(region, sizeof g_memory - HAK_SLAB_SIZE);
  CHECK(rest == g_memory + HAK_SLAB_SIZE);
  check(region);
  CHECK(hak_external_free(region->annex, rest));
  /* From in front of a slab and from behind it. */
  hak_slab_t *low = get(1), *high = get(1);
  CHECK(low == high - 1);
  hak_pool_put(&g_pool, low, 1);
  CHECK(take(region, sizeof g_memory) == NULL);
  check(region);
  hak_pool_put(&g_pool, high, 1);
  hak_pool_put(&g_pool, slab, 1);
  check_empty(region);
  slab = get(16); /* of another SuperSlab, whose rest is free too */
  CHECK(slab != NULL && take(region, sizeof g_memory) == NULL);
  hak_pool_put(&g_pool, slab, 16);
  CHECK(take(region, sizeof g_memory) == g_memory);
  check(region);
  end(region);
  region = open_in(g_memory, sizeof g_memory);
  CHECK(acquire(region, UNITS) != NULL && take(region, 1) == NULL);
  hak_external_region_serve(region, NULL);
}

static bool count_block(char *block, size_t size, void *count) {
  CHECK(block != NULL && size == UNIT / 4 * 3);
  ++*(size_t *)count;
  return true;
}

/* However much is free elsewhere meanwhile. */
static void annex__gives_a_request_one_block(void **state) {
  (void)state;
  hak_external_region_t *region = open_in(g_memory, sizeof g_memory);
  CHECK(take(region, UNIT / 4) != NULL); /* all units are the annex's */
  hak_superslab_t *ss = hak_region_acquire(&region->hooks.os, 1, HAK_SUPERSLAB_SIZE,
                                           HAK_EXTENT_RUN, &g_heap, false);
  CHECK(ss != NULL);
  hak_region_give(ss, 1, 0);
  CHECK(take(region, UNIT / 4) != NULL);
  CHECK_EQ(hak_external_live_blocks(region->annex), 2);
  hak_slab_t *slab = get(1);
  CHECK(slab != NULL && get(1) != NULL);
  hak_pool_put(&g_pool, slab, 1);
  CHECK(take(region, UNIT / 4) != NULL);
  CHECK_EQ(hak_external_live_blocks(region->annex), 3);
  check(region);
  end(region);
}

static void annex__lends_slots_where_no_unit_is_free(void **state) {
  (void)state;
  enum {
    SIZE = UNIT / 4 * 3,
    BLOCKS = UNITS * UNIT / SIZE,
    SLOTS = BLOCKS / 2 * (SIZE / HAK_SLAB_SIZE)
  };
  hak_external_region_t *region = open_in(g_memory, sizeof g_memory);
  char *blocks[BLOCKS];
  hak_slab_t *slabs[SLOTS + 1];
  for (size_t i = 0; i < BLOCKS; i++) CHECK((blocks[i] = take(region, SIZE)) != NULL);
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < BLOCKS; i += 2) {
      CHECK(hak_external_free(region->annex, blocks[i]));
    }
    size_t count = 0, visited = 0;
    while ((slabs[count] = get(1)) != NULL) count++;
    CHECK_EQ(count, SLOTS);
    check(region);
    hak_external_visit(region->annex, count_block, &visited);
    CHECK_EQ(visited, BLOCKS / 2);
    for (size_t i = 0; i < BLOCKS; i++) {
      CHECK_EQ(hak_locate((uintptr_t)blocks[i] + 4096).cls,
               i % 2 == 0 ? HAK_CLASS_NONE : HAK_CLASS_EXTERNAL);
    }
    CHECK(take(region, SIZE) == NULL);
    for (size_t i = 0; i < count; i++) hak_pool_put(&g_pool, slabs[i], 1);
    check(region);
    for (size_t i = 0; i < BLOCKS; i += 2)
      CHECK((blocks[i] = take(region, SIZE)) != NULL);
    CHECK(take(region, 1) == NULL);
  }
  for (size_t i = 0; i < BLOCKS; i++) CHECK(hak_external_free(region->annex, blocks[i]));
  check_empty(region);
  /* Spans of several slots lie in one SuperSlab each. */
  size_t count = 0;
  while ((slabs[count] = get(5)) != NULL) {
    CHECK(slabs[count]->slot + 5 <= HAK_SUPERSLAB_SLABS);
    count++;
  }
  CHECK_EQ(count, UNITS * (HAK_SUPERSLAB_SLABS / 5));
  check(region);
  end(region);
}

static void annex__lends_nothing_outside_of_units(void **state) {
  (void)state;
  hak_external_region_t *region = open_in(g_memory + 4096, sizeof g_memory - 8192);
  char *all = take(region, sizeof g_memory - 8192);
  CHECK(all == g_memory + 4096 && hak_external_free(region->annex, all));
  hak_slab_t *slab;
  size_t count = 0;
  for (; (slab = get(1)) != NULL; count++) {
    CHECK(test_is_within(hak_slab_start(slab), g_memory + UNIT, (UNITS - 2) * UNIT));
  }
  CHECK_EQ(count, (UNITS - 2) * HAK_SUPERSLAB_SLABS);
  CHECK(take(region, UNIT - 4096) != NULL && take(region, UNIT - 4096) != NULL);
  check(region);
  end(region);
}

static void budget__has_a_limit_while_large_blocks_leave_little(void **state) {
  (void)state;
  hak_external_region_t *region = open_in(g_memory, sizeof g_memory);
  CHECK(take(region, 4096) != NULL); /* all units are the annex's now */
  CHECK(!hak_budget_is_limited(&g_pool.budget));
  void *most = take(region, 4 * UNIT);
  CHECK(!hak_budget_is_limited(&g_pool.budget));
  CHECK(take(region, UNIT) != NULL && hak_budget_is_limited(&g_pool.budget));
  CHECK(hak_external_free(region->annex, most));
  CHECK(!hak_budget_is_limited(&g_pool.budget));
  end(region);
}

/* Slots that change hands are in use neither before nor after, nor in between. */
static void budget__has_no_limit_because_slots_change_hands(void **state) {
  (void)state;
  enum {
    ALL = UNITS * HAK_SUPERSLAB_SLABS,
    LEFT = ALL * 7 / 12, /* below five eighths, where a limit ends */
    USED = ALL * 11 / 16 /* below three quarters, where one begins */
  };
  hak_external_region_t *region = open_in(g_memory, sizeof g_memory);
  hak_slab_t *slabs[ALL];
  for (size_t i = 0; i < ALL; i++) CHECK((slabs[i] = get(1)) != NULL);
  CHECK(hak_budget_is_limited(&g_pool.budget));
  for (size_t i = 0; i < ALL - LEFT; i++) hak_pool_put(&g_pool, slabs[2 * i], 1);
  for (size_t i = 0; i < USED - LEFT; i++) CHECK((slabs[2 * i] = get(1)) != NULL);
  for (int round = 0; round < 2; round++) {
    CHECK(!hak_budget_is_limited(&g_pool.budget));
    CHECK(take(region, UNIT) == NULL); /* all that is free is the annex's now */
    CHECK(!hak_budget_is_limited(&g_pool.budget));
    CHECK((slabs[0] = get(1)) != NULL && !hak_budget_is_limited(&g_pool.budget));
    hak_pool_put(&g_pool, slabs[0], 1);
  }
  check(region);
  end(region);
}

#define P(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      T(units__are_the_whole_ones_inside),
      P(open__twice_over_the_same_memory_is_refused),
      P(open__without_memory_for_records_changes_nothing),
      P(open__with_memory_for_some_records_changes_nothing),
      P(open__of_absurd_sizes_is_refused),
      P(open__again_takes_no_more_memory_for_records),
      P(close_unserved__leaves_alone_what_serves_a_heap),
      P(superslabs__need_no_call_have_no_pages_and_promise_no_zeroes),
      P(memory__of_the_callers_asks_for_no_huge_pages),
      P(budget__has_a_limit_while_slots_are_few),
      P(share__of_growth_is_divided_by_the_users),
      P(annex__has_all_that_is_free_and_lends_it),
      P(annex__gives_a_request_one_block),
      P(annex__lends_slots_where_no_unit_is_free),
      P(annex__lends_nothing_outside_of_units),
      P(budget__has_a_limit_while_large_blocks_leave_little),
      P(budget__has_no_limit_because_slots_change_hands)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
