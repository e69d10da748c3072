/* superslab_tails.c - pages behind the ends of blocks: when they go, and who takes them.
 * The blocks are the test's own, in a pool of its own. */
#include "pool_fixture.h"

#include "heap/lifecycle.h"
#include "pages/clock.h"
#include "superslab/huge.h"
#include "superslab/locate.h"
#include "superslab/region.h"
#include "superslab/tails.h"

enum {
  SLABS = 16
};
#define SPAN (SLABS * HAK_SLAB_SIZE)
#define EVERYTHING ((size_t)1 << 40)

static void forget(void) {
  CHECK_EQ(hak_idle_allowance(UINT64_MAX), 0);
  CHECK_EQ(hak_idle_shrink_allowance(UINT64_MAX), 0);
}

static int setup(void **state) {
  (void)state;
  test_over_os(0);
  test_pool_begin();
  forget();
  hak_clock_refresh();
  return 0;
}

/* A block of so many bytes in `slabs` slabs, all pages of which are there. */
static hak_tail_t block_in(unsigned slabs, size_t bytes) {
  bool zeroed;
  hak_slab_t *slab =
      hak_pool_get(&g_pool, slabs, HAK_SLAB_SIZE, slabs * HAK_SLAB_SIZE, false, &zeroed);
  CHECK(slab != NULL);
  hak_slab_set_span(slab, slabs);
  hak_store_relaxed(&slab->capacity, 1);
  hak_store_relaxed(&slab->usable, (uint32_t)bytes);
  hak_store_relaxed(&slab->cls, HAK_CLASS_LARGE);
  size_t pages = hak_os_pages(hak_lifecycle_os(), bytes);
  return (hak_tail_t){hak_slab_superslab(slab), slab->slot, slabs, pages, pages};
}

static void end(const hak_tail_t *tail) {
  hak_slab_t *slab = &tail->ss->slabs[tail->first];
  hak_tail_end(&g_pool, tail);
  hak_slab_set_class(slab, HAK_CLASS_NONE);
  hak_pool_put(&g_pool, slab, tail->count);
}

static uint64_t noted(void) { return hak_load_relaxed(&g_pool.tail_bytes); }
static uint64_t came(void) { return hak_load_relaxed(&g_pool.tails_came); }
static uint64_t purges(void) { return g_os.calls[TEST_OS_PURGE]; }

static void tail__of_a_block_that_begins_stays_while_there_are_few(void **state) {
  (void)state;
  hak_tail_t tail = block_in(SLABS, SPAN / 4);
  hak_tail_begin(&g_pool, &tail, false);
  CHECK_EQ(purges(), 0);
  CHECK_EQ(noted(), SPAN / 4 * 3);
  end(&tail);
  CHECK_EQ(noted(), 0);
  /* One that is short is not noted, and stays where there are many. */
  tail = block_in(SLABS, SPAN - HAK_SLAB_SIZE);
  hak_store_relaxed(&g_pool.tail_bytes, 64 * MIB);
  hak_tail_begin(&g_pool, &tail, true);
  CHECK_EQ(purges(), 0);
  CHECK_EQ(noted(), 64 * MIB);
  hak_store_relaxed(&g_pool.tail_bytes, 0);
  end(&tail);
}

static void tail__of_a_block_that_shrank_goes_at_once(void **state) {
  (void)state;
  hak_tail_t tail = block_in(SLABS, SPAN / 4);
  hak_tail_begin(&g_pool, &tail, true);
  CHECK_EQ(purges(), 1);
  CHECK_EQ(noted(), 0);
  end(&tail);
}

/* What is regretted later is what was a mistake. */
static void tails__that_are_many_are_no_blocks_that_shrank(void **state) {
  (void)state;
  hak_tail_t tail = block_in(SLABS, SPAN / 4);
  hak_store_relaxed(&g_pool.tail_bytes, 64 * MIB);
  hak_tail_begin(&g_pool, &tail, false);
  CHECK_EQ(purges(), 1);
  CHECK_EQ(noted(), 64 * MIB);
  hak_idle_note_grown(MIB);
  CHECK_EQ(hak_idle_shrink_allowance(hak_clock_cached()), 0);
  hak_store_relaxed(&g_pool.tail_bytes, 0);
  end(&tail);
}

/* Others have part of the page. */
static void tail__in_a_huge_page_goes_with_all_of_it_only(void **state) {
  (void)state;
  static const unsigned slabs[] = {SLABS, HAK_SUPERSLAB_SLABS};
  for (size_t i = 0; i < TEST_COUNT(slabs); i++) {
    size_t bytes = slabs[i] * HAK_SLAB_SIZE;
    hak_tail_t tail = block_in(slabs[i], bytes / 4);
    hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
    CHECK(hak_huge_set(tail.ss, true));
    hak_tail_begin(&g_pool, &tail, true);
    CHECK_EQ(purges(), i);
    CHECK_EQ(noted(), i == 0 ? bytes / 4 * 3 : 0);
    CHECK_EQ(hak_superslab_is_huge(tail.ss), i == 0);
    hak_huge_set(tail.ss, false);
    hak_os_leave(before);
    end(&tail);
  }
}

static void give__is_for_who_may_ask_the_system(void **state) {
  (void)state;
  hak_tail_t tail = block_in(SLABS, SPAN / 4);
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  CHECK(!hak_tail_give(tail.ss, tail.first, tail.count, tail.pages));
  hak_os_leave(before);
  CHECK_EQ(purges(), 0);
  CHECK_EQ(hak_load_relaxed(&tail.ss->parts), HAK_PARTS_STAY);
  CHECK(hak_tail_give(tail.ss, tail.first, tail.count, tail.pages));
  CHECK(!hak_tail_give(tail.ss, tail.first, tail.count, tail.pages)); /* it has gone */
  CHECK_EQ(purges(), 1);
  end(&tail);
}

/* Nobody is charged for it, so it makes no room in a budget. */
static void give__is_of_no_use_where_nobody_is_charged(void **state) {
  (void)state;
  hak_superslab_t *ss = hak_region_acquire(hak_lifecycle_os(), 1, HAK_SUPERSLAB_SIZE,
                                           HAK_EXTENT_RUN, NULL, false);
  bool zeroed;
  CHECK(ss != NULL && hak_superslab_commit(ss, 0, SLABS, SPAN / 4096, false, &zeroed));
  CHECK(!hak_tail_give(ss, 0, SLABS, 1));
  CHECK_EQ(purges(), 0);
  hak_region_give(ss, 1, hak_clock_cached());
}

/* Only a budget has room when a tail goes. */
static void commit__that_the_system_refuses_costs_no_tail(void **state) {
  (void)state;
  hak_tail_t tail = block_in(2, 2 * HAK_SLAB_SIZE);
  size_t pages = HAK_SLAB_SIZE / 4096;
  CHECK_EQ(hak_superslab_purge(tail.ss, tail.first, 1), HAK_SLAB_SIZE);
  uint64_t before = purges();
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_COMMIT, 1);
  bool zeroed;
  CHECK(!hak_tail_commit(tail.ss, tail.first, 2, pages, false, &zeroed));
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(purges(), before);
  CHECK(hak_tail_commit(tail.ss, tail.first, 2, pages, false, &zeroed));
  end(&tail);
}

/* There each block has slots of its own pages, and what goes was no mistake. */
static void tails__of_a_pool_that_fits_are_not_regretted(void **state) {
  (void)state;
  for (int fits = 0; fits <= 1; fits++) {
    forget();
    g_pool.fits = fits != 0;
    hak_tail_t tail = block_in(SLABS, SPAN / 4);
    hak_store_relaxed(&g_pool.tail_bytes, 64 * MIB);
    hak_tail_begin(&g_pool, &tail, false);
    CHECK_EQ(purges(), fits + 1);
    hak_idle_note_needed(MIB);
    CHECK_EQ(hak_idle_allowance(hak_clock_cached()) == 0, fits != 0);
    hak_store_relaxed(&g_pool.tail_bytes, 0);
    end(&tail);
  }
  g_pool.fits = false;
  forget();
}

/* --- whatever tails there are ------------------------------------------------------ */

static size_t no_class(uint32_t cls, bool *is_noted) {
  (void)cls;
  *is_noted = false;
  return 0;
}

static size_t take_all(size_t most, bool short_too, bool kept_too) {
  return hak_tail_take_all(&g_pool, no_class, most, short_too, kept_too);
}

static void take_all__takes_what_came_and_no_more_than_it_may(void **state) {
  (void)state;
  enum {
    FEW = SLABS / 2
  };
  const size_t bytes = FEW * HAK_SLAB_SIZE, tail = bytes / 4 * 3;
  hak_tail_t tails[3];
  for (int i = 0; i < 3; i++) {
    tails[i] = block_in(FEW, bytes / 4);
    hak_tail_begin(&g_pool, &tails[i], false);
  }
  CHECK_EQ(noted(), 3 * tail);
  CHECK(came() != 0);
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  CHECK_EQ(take_all(EVERYTHING, false, false), 0);
  hak_os_leave(before);
  hak_tail_hold(tails[1].ss, tails[1].first); /* its end is somebody's for now */
  CHECK_EQ(take_all(1, false, false), tail);
  CHECK(came() != 0);
  CHECK_EQ(take_all(EVERYTHING, false, false), tail);
  CHECK_EQ(noted(), tail);
  CHECK_EQ(came(), 0);
  hak_tail_let_go(tails[1].ss, tails[1].first);
  CHECK_EQ(take_all(EVERYTHING, false, false), 0); /* none came */
  hak_tail_came(&g_pool, MIB);
  CHECK_EQ(take_all(EVERYTHING, false, false), tail);
  CHECK_EQ(noted(), 0);
  CHECK_EQ(purges(), 3);
  for (int i = 0; i < 3; i++) end(&tails[i]);
}

static void take_all__leaves_what_is_kept_unless_that_is_to_go(void **state) {
  (void)state;
  hak_tail_t tail = block_in(SLABS, SPAN / 4);
  hak_tail_begin(&g_pool, &tail, false);
  g_pool.kept_slabs = 1;
  CHECK_EQ(take_all(EVERYTHING, false, false), 0);
  g_pool.kept_slabs = 0;
  g_pool.keeps_all = true;
  CHECK_EQ(take_all(EVERYTHING, false, false), 0);
  CHECK(came() != 0);
  CHECK_EQ(take_all(EVERYTHING, false, true), SPAN / 4 * 3);
  g_pool.keeps_all = false;
  end(&tail);
}

/* The page would have to be split for little. */
static void take_all__splits_huge_pages_for_long_tails_or_where_it_is_told_to(
    void **state) {
  (void)state;
  hak_tail_t tail = block_in(SLABS, SPAN - HAK_SLAB_SIZE);
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  CHECK(hak_huge_set(tail.ss, true));
  hak_tail_begin(&g_pool, &tail, false);
  CHECK_EQ(take_all(EVERYTHING, false, false), 0);
  CHECK(hak_superslab_is_huge(tail.ss));
  CHECK(came() != 0); /* for a look that takes it */
  CHECK_EQ(take_all(EVERYTHING, true, false), HAK_SLAB_SIZE);
  CHECK(!hak_superslab_is_huge(tail.ss));
  end(&tail);
  /* Without huge pages it goes in any case. */
  tail = block_in(SLABS, SPAN - HAK_SLAB_SIZE);
  hak_huge_set(tail.ss, false);
  hak_tail_begin(&g_pool, &tail, false);
  CHECK_EQ(take_all(EVERYTHING, false, false), HAK_SLAB_SIZE);
  end(&tail);
  tail = block_in(SLABS, SPAN / 4);
  CHECK(hak_huge_set(tail.ss, true));
  hak_tail_begin(&g_pool, &tail, false);
  CHECK_EQ(take_all(EVERYTHING, false, false), SPAN / 4 * 3);
  hak_os_leave(before);
  end(&tail);
}

static size_t quarter(uint32_t cls, bool *is_noted) {
  (void)cls;
  *is_noted = false;
  return SPAN / 4;
}

/* Spans of small blocks are not noted when they begin, but where each has one block. */
static void take_all__takes_off_what_was_noted_and_no_more(void **state) {
  (void)state;
  for (int fits = 0; fits <= 1; fits++) {
    hak_tail_t tail = block_in(SLABS, SPAN / 4);
    hak_slab_t *slab = &tail.ss->slabs[tail.first];
    hak_slab_set_class(slab, 1);
    hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_FULL, 0));
    hak_store_relaxed(&g_pool.tail_bytes, SPAN);
    hak_tail_came(&g_pool, SPAN);
    g_pool.fits = fits != 0;
    CHECK_EQ(hak_tail_take_all(&g_pool, quarter, EVERYTHING, false, false), SPAN / 4 * 3);
    CHECK_EQ(noted(), fits != 0 ? SPAN / 4 : SPAN);
    g_pool.fits = false;
    hak_store_relaxed(&g_pool.tail_bytes, 0);
    hak_slab_forget(slab);
    end(&tail);
  }
}

/* A record that is read while it changes may say what cannot be. */
static void take_all__believes_no_span_that_leaves_its_superslab(void **state) {
  (void)state;
  hak_tail_t tail = block_in(SLABS, SPAN - HAK_SLAB_SIZE), other = block_in(SLABS, SPAN);
  CHECK(other.ss == tail.ss && other.first == SLABS);
  hak_slab_t *slab = &tail.ss->slabs[other.first];
  hak_slab_set_span(slab, SLABS + 1);
  hak_store_relaxed(&slab->usable, (uint32_t)HAK_SLAB_SIZE);
  hak_tail_begin(&g_pool, &tail, false);
  CHECK_EQ(take_all(EVERYTHING, false, false), HAK_SLAB_SIZE);
  hak_slab_set_span(slab, SLABS);
  end(&tail);
  end(&other);
}

static void take_all__passes_over_runs_that_are_held(void **state) {
  (void)state;
  hak_superslab_t *runs[2];
  for (int i = 0; i < 2; i++) {
    bool zeroed;
    runs[i] = hak_region_acquire(hak_lifecycle_os(), 1, HAK_SUPERSLAB_SIZE,
                                 HAK_EXTENT_RUN, g_pool.heap, false);
    CHECK(runs[i] != NULL && hak_superslab_charge_to(runs[i], &g_pool.budget));
    CHECK(hak_superslab_commit(runs[i], 0, HAK_SUPERSLAB_SLABS, HAK_SUPERSLAB_SIZE / 4096,
                               false, &zeroed));
    hak_store_relaxed(&runs[i]->extent.size, HAK_SUPERSLAB_SIZE / 4 * 3);
    hak_tail_t tail = hak_tail_of_run(runs[i], HAK_SUPERSLAB_SIZE / 4 * 3);
    hak_tail_begin(&g_pool, &tail, false);
    hak_pool_add_run(&g_pool, runs[i]);
  }
  hak_tail_hold(runs[1], 0);
  CHECK_EQ(take_all(EVERYTHING, false, false), HAK_SUPERSLAB_SIZE / 4);
  CHECK_EQ(hak_superslab_committed(runs[1]), HAK_SUPERSLAB_SIZE);
  hak_tail_let_go(runs[1], 0);
  CHECK_EQ(noted(), HAK_SUPERSLAB_SIZE / 4);
  for (int i = 0; i < 2; i++) {
    hak_pool_remove_run(&g_pool, runs[i]);
    hak_region_give(runs[i], 1, hak_clock_cached());
  }
}

#define L(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(L(tail__of_a_block_that_begins_stays_while_there_are_few),
                L(tail__of_a_block_that_shrank_goes_at_once),
                L(tails__that_are_many_are_no_blocks_that_shrank),
                L(tail__in_a_huge_page_goes_with_all_of_it_only),
                L(give__is_for_who_may_ask_the_system),
                L(give__is_of_no_use_where_nobody_is_charged),
                L(commit__that_the_system_refuses_costs_no_tail),
                L(tails__of_a_pool_that_fits_are_not_regretted),
                L(take_all__takes_off_what_was_noted_and_no_more),
                L(take_all__believes_no_span_that_leaves_its_superslab),
                L(take_all__passes_over_runs_that_are_held),
                L(take_all__takes_what_came_and_no_more_than_it_may),
                L(take_all__leaves_what_is_kept_unless_that_is_to_go),
                L(take_all__splits_huge_pages_for_long_tails_or_where_it_is_told_to))
