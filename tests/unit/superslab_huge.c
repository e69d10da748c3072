/* superslab_huge.c - which SuperSlabs ask for huge pages: what the system is told, and
 * how often, and what is counted. */
#include "syscalls.h"

#include "heap/lifecycle.h"
#include "superslab/huge.h"
#include "superslab/region.h"
#include "superslab/region_release.h"

static hak_superslab_t *g_ss;

static hak_superslab_t *take(void) {
  hak_superslab_t *ss = hak_region_acquire(hak_lifecycle_os(), 1, HAK_SUPERSLAB_SIZE,
                                           HAK_EXTENT_RUN, NULL, false);
  CHECK(ss != NULL);
  return ss;
}

static int setup(void **state) {
  (void)state;
  test_set(HAK_OPTION_HUGE_PAGES, 1);
  test_set(HAK_OPTION_PURGE_MODE, 1);
  CHECK_EQ(hak_init(NULL), 0);
  g_ss = take();
  CHECK(!hak_superslab_is_huge(g_ss));
  return 0;
}

static int teardown(void **state) {
  (void)state;
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  return 0;
}

/* Calls that advise, since the last look. */
static uint64_t advised(void) {
  static uint64_t last;
  uint64_t all = test_syscalls(TEST_MADVISE), more = all - last;
  last = all;
  return more;
}

static uint64_t pieces(void) { return hak_load_relaxed(&hak_huge_pieces); }
static uint64_t superslabs(void) { return hak_load_relaxed(&hak_huge_superslabs); }
static uint32_t parts(void) { return hak_load_relaxed(&g_ss->parts); }

static void commit(unsigned first, unsigned count) {
  bool zeroed;
  CHECK(hak_superslab_commit(g_ss, first, count, count * HAK_SLAB_SIZE / 4096, false,
                             &zeroed));
}

static void barred__threads_change_nothing(void **state) {
  (void)state;
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  CHECK(!hak_huge_set(g_ss, true));
  hak_huge_mend(g_ss);
  CHECK(!hak_superslab_is_huge(g_ss));
  CHECK_EQ(superslabs(), 0);
  hak_os_leave(before);
  CHECK(hak_huge_set(g_ss, true));
  before = hak_os_enter(HAK_OS_BARRED);
  CHECK(hak_huge_set(g_ss, false));
  hak_os_leave(before);
  CHECK(hak_superslab_is_huge(g_ss));
}

static void set__tells_the_system_what_changes(void **state) {
  (void)state;
  (void)advised();
  CHECK(!hak_huge_set(g_ss, false));
  CHECK_EQ(advised(), 0);
  CHECK(hak_huge_set(g_ss, true));
  CHECK_EQ(advised(), 1);
  CHECK(hak_huge_set(g_ss, true));
  CHECK_EQ(advised(), 0);
  CHECK(!hak_huge_set(g_ss, false));
  CHECK_EQ(advised(), 1);
  /* There are as many pieces as there may be. */
  hak_store_relaxed(&hak_huge_pieces, HAK_HUGE_PIECES);
  CHECK(!hak_huge_set(g_ss, true));
  hak_huge_mend(g_ss);
  CHECK_EQ(advised(), 0);
  CHECK_EQ(superslabs(), 0);
  hak_store_relaxed(&hak_huge_pieces, 0);
}

/* A huge page comes at once only where the table of small ones may be there still. */
static void begin__asks_for_a_page_at_once_where_there_were_small_ones(void **state) {
  (void)state;
  (void)advised();
  CHECK(hak_huge_begin(g_ss, true));
  CHECK_EQ(advised(), 1);
  commit(0, HAK_SUPERSLAB_SLABS);
  CHECK_EQ(hak_superslab_purge(g_ss, 0, HAK_SUPERSLAB_SLABS), HAK_SUPERSLAB_SIZE);
  (void)advised();
  CHECK(hak_huge_begin(g_ss, true));
  CHECK_EQ(advised(), 0); /* it had huge ones */
  CHECK(!hak_huge_set(g_ss, false));
  (void)advised();
  CHECK(!hak_huge_begin(g_ss, false));
  CHECK_EQ(advised(), 0);
  CHECK(hak_huge_begin(g_ss, true));
  CHECK_EQ(advised(), 2);
}

/* Or the kernel would fill what went. */
static void mend__leaves_what_has_lost_parts_alone(void **state) {
  (void)state;
  hak_huge_before_part_goes(g_ss);
  (void)advised();
  hak_huge_mend(g_ss);
  CHECK_EQ(advised(), 0);
  CHECK_EQ(parts(), HAK_PARTS_GONE);
  CHECK(!hak_superslab_is_huge(g_ss));
  hak_store_relaxed(&g_ss->parts, HAK_PARTS_STAY);
  hak_huge_mend(g_ss);
  CHECK_EQ(advised(), 2);
  CHECK(hak_superslab_is_huge(g_ss));
}

static void part__that_goes_makes_pages_small_each_time(void **state) {
  (void)state;
  (void)advised();
  hak_huge_before_part_goes(g_ss);
  CHECK_EQ(advised(), 0);
  /* A heap that wants huge pages got it with what it has. */
  for (int i = 0; i < 2; i++) {
    CHECK(hak_huge_set(g_ss, true));
    hak_huge_before_part_goes(g_ss);
    CHECK(!hak_superslab_is_huge(g_ss));
    CHECK_EQ(parts(), HAK_PARTS_GONE);
  }
}

static void slots__that_are_all_that_has_pages_go_as_a_whole(void **state) {
  (void)state;
  CHECK(hak_huge_set(g_ss, true));
  commit(0, 8);
  hak_huge_before_slots_go(g_ss, hak_mask32(0, 8));
  CHECK(hak_superslab_is_huge(g_ss));
  hak_huge_before_slots_go(g_ss, hak_mask32(0, 7));
  CHECK(!hak_superslab_is_huge(g_ss));
}

/* --- regions --------------------------------------------------------------------------
 */

/* All that there is of the last one has gone. */
static void give_regions(void) {
  hak_region_give(g_ss, 1, 0);
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  hak_regions_release_all();
  hak_os_leave(before);
}

static void region__asks_for_small_pages_where_there_may_be_huge_ones(void **state) {
  (void)state;
  for (int mode = 0; mode <= 1; mode++) {
    give_regions();
    test_set(HAK_OPTION_HUGE_PAGES, mode);
    (void)advised();
    g_ss = take();
    bool asks = mode == 1 || hak_os_is_huge_unasked(hak_lifecycle_os());
    CHECK_EQ(advised(), asks);
  }
}

static void region__is_advised_once_as_soon_as_that_may_be(void **state) {
  (void)state;
  give_regions();
  test_set(HAK_OPTION_PURGE_MODE, 0);
  test_set(HAK_OPTION_HUGE_PAGES, 2);
  (void)advised();
  g_ss = take();
  hak_regions_advise();
  CHECK_EQ(advised(), 0);
  CHECK_EQ(superslabs(), 0);
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  hak_regions_advise();
  CHECK_EQ(advised(), 1);
  uint64_t count = superslabs();
  CHECK(count > 0 && pieces() == 1);
  hak_regions_advise();
  hak_os_leave(before);
  CHECK_EQ(advised(), 0);
  CHECK_EQ(superslabs(), count);
  CHECK_EQ(pieces(), 1);
}

static void region__that_ends_counts_no_more(void **state) {
  (void)state;
  hak_superslab_t *others[4] = {take(), take(), take(), take()};
  CHECK(hak_huge_set(others[0], true) && hak_huge_set(others[1], true));
  CHECK(hak_huge_set(others[3], true));
  CHECK_EQ(superslabs(), 3);
  CHECK_EQ(pieces(), 2);
  for (size_t i = 0; i < TEST_COUNT(others); i++) hak_region_give(others[i], 1, 0);
  give_regions();
  CHECK_EQ(superslabs(), 0);
  CHECK_EQ(pieces(), 0);
  g_ss = take();
}

#define H(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(H(barred__threads_change_nothing), H(set__tells_the_system_what_changes),
                H(begin__asks_for_a_page_at_once_where_there_were_small_ones),
                H(mend__leaves_what_has_lost_parts_alone),
                H(part__that_goes_makes_pages_small_each_time),
                H(slots__that_are_all_that_has_pages_go_as_a_whole),
                H(region__asks_for_small_pages_where_there_may_be_huge_ones),
                H(region__is_advised_once_as_soon_as_that_may_be),
                H(region__that_ends_counts_no_more))
