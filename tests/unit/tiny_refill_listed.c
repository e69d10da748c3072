/* tiny_refill_listed.c - what refills get from the partial list: which of its slabs come
 * first, which blocks of them, and what becomes of the slab. */
#include "slab_fixture.h"

#include "threads.h"
#include "tiny/capacity.h"
#include "tiny/commit.h"
#include "tiny/hole_map.h"
#include "tiny/holes.h"
#include "tiny/leave.h"
#include "tiny/partial_list.h"
#include "tiny/refill.h"

enum {
  SIZE = 1024,
  CAPACITY = 64,
  CUT = 12, /* blocks of a slab that is partly carved: three pages */
  FEW = 4
};

/* What was purged may be written to at once, as with the system's own hooks. */
static int setup(void **state) {
  test_os_open(&g_os, TEST_OS_PURGE_NOOP);
  CHECK_EQ(test_os_init(&g_os), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0);
  CHECK_EQ(hak_thread_init(), 0);
  g_me = hak_thread_self;
  g_cache = &g_me->cache;
  g_class = hak_class_of((size_t)(uintptr_t)*state);
  hak_capacity_begin(g_cache, g_class);
  g_central = &g_cache->store->centrals[g_class];
  return 0;
}

static void *refill(void) { return hak_refill_bin(g_me, g_cache, g_class); }

static void share(void) { test_hold()->shared = FEW; }
static void share_no_more(void) { test_hold()->shared = HAK_SHARED_NOT; }

/* Takes a refill's blocks out of the bin; how many there are, which all are of the slab.
 */
static uint32_t take_any(hak_slab_t *slab) {
  uint32_t count = 0;
  for (void *block = refill(); block != NULL; count++) {
    CHECK(hak_slab_of(block) == slab);
    if (hak_bin_pop_fails(&g_me->key, test_bin(), &block)) block = NULL;
  }
  CHECK(hak_partial_is_valid(g_central));
  return count;
}
/* They were on the slab's list, or are cut. */
static uint32_t take(hak_slab_t *slab) {
  uint32_t before = hak_slab_out(slab), count = take_any(slab);
  CHECK_EQ(hak_slab_out(slab) - before, count);
  return count;
}
static uint32_t take_shared(hak_slab_t *slab) {
  share();
  uint32_t count = take(slab);
  share_no_more();
  CHECK(test_hold()->first == NULL && test_hold()->current == NULL);
  return count;
}

static bool is_listed(hak_slab_t *slab) {
  return hak_word_state(hak_load_relaxed(&slab->word)) == HAK_SLAB_PARTIAL;
}
static bool is_mine(hak_slab_t *slab) {
  return hak_load_relaxed(&slab->word) == hak_word_mine(g_cache);
}

/* A wholly carved slab on the partial list, whose first blocks are free. */
static hak_slab_t *listed(uint32_t free) {
  hak_slab_t *slab = test_slab_full();
  hak_hold_let_go(g_me, g_cache, slab, g_class);
  test_slab_home_elsewhere(slab, 0, free);
  CHECK_EQ(slab->queue, HAK_QUEUE_PARTIAL);
  return slab;
}

/* A slab of this thread that is partly carved; its first blocks are free. */
static hak_slab_t *current(uint32_t free) {
  hak_slab_t *slab = hak_hold_new(g_me, g_cache, g_class);
  hak_slab_carve(slab, CUT);
  test_hold()->current = slab;
  if (free > 0) test_slab_home(slab, 0, free);
  return slab;
}
/* One on the partial list. */
static hak_slab_t *uncarved(uint32_t free) {
  hak_slab_t *slab = current(free);
  hak_hold_list_all(g_me, g_cache, g_class);
  CHECK_EQ(slab->queue, HAK_QUEUE_UNCARVED);
  return slab;
}

/* Few blocks of it are out, and another slab has room for them. */
static hak_slab_t *leaving(hak_slab_t **other) {
  hak_slab_t *slab = listed(CAPACITY - 2);
  *other = listed(CAPACITY - 2);
  CHECK(hak_leave(g_me, g_cache, false, slab, g_class));
  CHECK(hak_leave_begun(slab));
  return slab;
}

/* Takes it off the list. */
static void hold_listed_locked(hak_slab_t *slab) {
  hak_lock_assert_held(&g_central->lock);
  hak_partial_remove_locked(g_central, slab);
  hak_slab_partial_to_held_locked(g_cache, slab);
}
static void hold_listed(hak_slab_t *slab) {
  hak_lock_acquire(&g_central->lock);
  hold_listed_locked(slab);
  hak_lock_release(&g_central->lock);
}

static void home(hak_slab_t *slab) { test_slab_home(slab, 0, hak_slab_carved(slab)); }

/* --- which slab comes first ----------------------------------------------------------
 */

static void slab__that_is_carved_comes_before_one_that_is_not(void **state) {
  (void)state;
  hak_slab_t *partly = uncarved(2), *whole = listed(3);
  CHECK_EQ(take(whole), 3);
  CHECK_EQ(take(partly), 2);
  home(partly);
  home(whole);
}

static void slab__that_leaves_comes_after_those_that_stay(void **state) {
  (void)state;
  hak_slab_t *other, *slab = leaving(&other), *partly = uncarved(3);
  CHECK_EQ(take(other), CAPACITY - 2);
  CHECK_EQ(take(partly), 3);
  CHECK(hak_leave_begun(slab));
  while (test_hold()->current != NULL) (void)take(partly);
  CHECK(hak_leave_begun(slab));
  CHECK_EQ(take(slab), CAPACITY - 2); /* before a new one begins */
  home(slab);
  home(other);
  home(partly);
}

/* What comes home to it is in this thread's hands anyway. */
static void slab__that_is_carved_by_this_thread_comes_before_the_list(void **state) {
  (void)state;
  hak_slab_t *whole = listed(3), *mine = current(0);
  CHECK(take(mine) > 0);
  CHECK(is_listed(whole));
  CHECK_EQ(hak_slab_out(whole), CAPACITY - 3);
  home(mine);
  test_slab_home(whole, 3, CAPACITY);
}

/* --- classes whose slabs the thread shares --------------------------------------------
 */

/* Refills have taken from the list without holding a slab, or carved. */
static hak_stats_t expect_step(hak_stats_t before, uint64_t listed, uint64_t carved) {
  hak_stats_t now = test_stats();
  CHECK_EQ(now.refill_shelf - before.refill_shelf, listed);
  CHECK_EQ(now.refill_carve - before.refill_carve, carved);
  CHECK_EQ(now.refill_partial, before.refill_partial);
  CHECK_EQ(now.refill_slab, before.refill_slab);
  return now;
}

static void shared_slab__on_the_partial_list_gives_a_few_blocks_and_stays(void **state) {
  (void)state;
  hak_slab_t *slab = listed(2 * FEW + 2);
  hak_stats_t before = test_stats();
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(take_shared(slab), FEW);
    before = expect_step(before, 1, 0); /* nobody holds it meanwhile */
    CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_PARTIAL, 0));
    CHECK(hak_partial_is_valid(g_central));
  }
  CHECK_EQ(take_shared(slab), 2);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_FULL, 0));
  home(slab);
}

static void shared_slab__that_is_partly_carved_gives_a_few_blocks_and_stays(
    void **state) {
  (void)state;
  hak_slab_t *slab = uncarved(FEW + 2);
  static const uint32_t counts[] = {FEW, 2, FEW};
  hak_stats_t before = test_stats();
  for (size_t i = 0; i < TEST_COUNT(counts); i++) {
    CHECK(hak_load_relaxed(&g_central->uncarved) == slab);
    CHECK_EQ(take_shared(slab), counts[i]);
    before = expect_step(before, i < 2, i == 2);
    CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_PARTIAL, 0));
    CHECK(hak_partial_is_valid(g_central));
  }
  home(slab);
}

static void shared_slab__that_leaves_comes_after_those_that_stay(void **state) {
  (void)state;
  hak_slab_t *other, *slab = leaving(&other), *partly = uncarved(FEW + 2);
  CHECK_EQ(take(other), CAPACITY - 2);
  CHECK_EQ(take_shared(partly), FEW);
  CHECK(is_listed(partly));
  CHECK_EQ(take_shared(partly), 2);
  CHECK(hak_leave_begun(slab));
  home(partly);
  CHECK_EQ(take_shared(slab), FEW); /* from here on it stays */
  CHECK(is_listed(slab) && !hak_leave_begun(slab));
  CHECK_EQ(take(slab), CAPACITY - 2 - FEW);
  home(slab);
  home(other);
}

/* Nobody holds it meanwhile, and it is as full in the end as if somebody did. */
static void shared_slab__is_carved_where_it_lies(void **state) {
  (void)state;
  share();
  char *first = refill();
  hak_slab_t *slab = hak_slab_of(first);
  void *block;
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  uint32_t carved = hak_slab_carved(slab);
  CHECK(is_listed(slab));
  CHECK_EQ(carved, FEW);
  for (; carved < CAPACITY; carved += FEW) {
    CHECK(hak_load_relaxed(&g_central->uncarved) == slab);
    uint64_t slabs = test_stats().slab_shelved;
    CHECK_EQ(take_shared(slab), FEW);
    if (HAK_CHECKS < 3) CHECK_EQ(test_stats().slab_shelved, slabs);
    CHECK_EQ(hak_slab_carved(slab), carved + FEW);
  }
  CHECK(hak_load_relaxed(&g_central->uncarved) == NULL);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_FULL, 0));
  home(slab);
}

/* A block in use that was counted as home has no link: that is seen when it is carved. */
static void shared_slab__that_is_carved_anew_is_looked_at(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) skip();
  hak_slab_t *slab = test_slab_full();
  home(slab);
  CHECK(test_hold()->current == slab && slab->dirty != 0);
  void *block = refill();
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  uint32_t carved = hak_slab_carved(slab);
  hak_hold_list_all(g_me, g_cache, g_class);
  uint64_t *written = (uint64_t *)(void *)test_slab_block(slab, carved + 1);
  uint64_t link = *written;
  *written = 0x4141414141414141;
  share();
  CHECK(refill() == test_slab_block(slab, carved));
  test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, written);
  share_no_more();
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) CHECK(block != written);
  CHECK_EQ(hak_slab_carved(slab), carved + FEW);
  *written = link;
  home(slab);
}

/* None of its blocks is touched before there is its page. */
static void shared_slab__gets_the_pages_that_it_has_not(void **state) {
  (void)state;
  hak_slab_t *slab = uncarved(0);
  CHECK(hak_hold_shed(g_me, g_cache) > 0);
  CHECK_EQ(hak_commit_bytes(g_cache, slab), CUT * SIZE);
  CHECK_EQ(take_shared(slab), FEW);
  CHECK(hak_commit_bytes(g_cache, slab) >= (CUT + FEW) * SIZE);
  CHECK_EQ(take_shared(slab), FEW);
  home(slab);
}

enum {
  HOLED = CAPACITY / 2 + 2 /* free blocks, all but two of which lie in holes */
};
static hak_slab_t *with_holes(void) {
  hak_slab_t *slab = listed(HOLED);
  hak_hole_bounds_t bounds = {.bytes = SIZE_MAX, .slabs = SIZE_MAX, .all = true};
  CHECK(hak_holes_look(g_me, g_cache, g_class, &bounds));
  CHECK_EQ(bounds.given, CAPACITY / 2 * SIZE);
  CHECK(hak_hole_map_any(slab));
  return slab;
}

static void slab__with_holes_serves_all_of_its_free_blocks(void **state) {
  (void)state;
  hak_slab_t *slab = with_holes();
  CHECK_EQ(take(slab), HOLED);
  CHECK(!hak_hole_map_any(slab));
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_FULL, 0));
  home(slab);
}

static void shared_slab__with_holes_has_none_any_more(void **state) {
  (void)state;
  hak_slab_t *slab = with_holes();
  CHECK_EQ(take_shared(slab), FEW);
  CHECK(is_listed(slab) && !hak_hole_map_any(slab));
  CHECK_EQ(take(slab), HOLED - FEW);
  home(slab);
}

/* --- slabs of this thread -------------------------------------------------------------
 */

static void held_slab__gives_what_others_freed_after_its_list(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_slab_home(slab, 0, 5);
  test_slab_home_elsewhere(slab, 5, 8);
  CHECK_EQ(take_any(slab), 5);
  CHECK(is_mine(slab));
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 3); /* they are its list now */
  CHECK_EQ(take(slab), 3);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_FULL, 0));
  home(slab);
}

static void current_slab__gives_its_list_and_is_gone_on_with(void **state) {
  (void)state;
  hak_slab_t *slab = current(3);
  CHECK_EQ(take(slab), 3);
  CHECK(is_mine(slab) && test_hold()->current == slab);
  CHECK(refill() == test_slab_block(slab, CUT));
  void *block;
  while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
  home(slab);
}

/* A slab that this thread carves, and that has no page more; the OS gives none. */
static hak_slab_t *refused(void) {
  hak_slab_t *slab = uncarved(0);
  CHECK(hak_hold_shed(g_me, g_cache) > 0);
  hold_listed(slab);
  test_hold()->current = slab;
  return slab;
}
static void refuse(void) {
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
}

static void current_slab__whose_pages_are_refused_is_listed_and_others_serve(
    void **state) {
  (void)state;
  hak_slab_t *whole = listed(3), *partly = current(2);
  hold_listed(whole);
  hak_hold_list_all(g_me, g_cache, g_class);
  hak_slab_t *slab = refused();
  hak_lock_acquire(&g_central->lock);
  hak_slab_held_to_partial_locked(g_me, g_cache, whole);
  hak_partial_add_locked(g_central, whole);
  hak_lock_release(&g_central->lock);
  refuse();
  CHECK_EQ(take(whole), 3);
  CHECK(is_listed(slab) && test_hold()->current == NULL);
  CHECK_EQ(take(partly), 2);
  CHECK(is_mine(partly) && test_hold()->current == partly);
  CHECK(refill() == NULL);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  home(slab);
  home(partly);
  home(whole);
}

/* In a heap without a limit they come with many others; what is refused leaves those that
 * there are. */
static void pages__of_all_blocks_that_are_asked_for_come(void **state) {
  (void)state;
  enum {
    PAGES = 3,
    LEFT = 2,
    MORE = 8
  };
  hak_slab_t *slab = hak_hold_new(g_me, g_cache, g_class);
  hak_slab_carve(slab, PAGES * 4096 / SIZE - LEFT);
  test_hold()->current = slab;
  hak_hold_list_all(g_me, g_cache, g_class);
  CHECK(hak_hold_shed(g_me, g_cache) > 0);
  hold_listed(slab);
  test_hold()->current = slab;
  CHECK_EQ(hak_commit_bytes(g_cache, slab), PAGES * 4096);
  refuse();
  CHECK_EQ(hak_commit_blocks(g_me, g_cache, slab, 1), 1);
  CHECK_EQ(hak_commit_blocks(g_me, g_cache, slab, MORE), LEFT);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_commit_blocks(g_me, g_cache, slab, MORE), MORE);
  home(slab);
}

/* --- what another thread took meanwhile -----------------------------------------------
 */

typedef struct meanwhile {
  hak_slab_t *slab; /* that this thread takes off the list */
  hak_atomic_u32_t locked;
} meanwhile_t;

static uint64_t visits(void) { return hak_load_relaxed(&g_me->counts.shelf_visits); }

/* Takes the slab once the other thread has seen that the list has one, and waits for the
 * lock. */
static void *take_first(void *ctx) {
  meanwhile_t *m = ctx;
  hak_lock_acquire(&g_central->lock);
  uint64_t before = visits();
  hak_store_release(&m->locked, 1);
  while (visits() == before) {}
  hold_listed_locked(m->slab);
  hak_lock_release(&g_central->lock);
  return NULL;
}

static void slab__that_another_thread_takes_first_is_done_without(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    meanwhile_t m = {i % 2 == 0 ? listed(3) : uncarved(3), 0};
    pthread_t thread;
    test_threads_begin(&thread, 1, take_first, &m);
    while (hak_load_acquire(&m.locked) == 0) {}
    if (i >= 2) share();
    hak_slab_t *other = hak_slab_of(refill());
    share_no_more();
    test_threads_end(&thread, 1);
    CHECK(other != m.slab && is_mine(m.slab));
    CHECK_EQ(hak_slab_carved(m.slab) - hak_slab_out(m.slab), 3);
    void *block;
    while (!hak_bin_pop_fails(&g_me->key, test_bin(), &block)) {}
    home(other);
    if (test_hold()->current != NULL) hak_hold_list_all(g_me, g_cache, g_class);
    if (i % 2 == 1) test_hold()->current = m.slab;
    hak_hold_requeue(g_cache, m.slab, g_class);
    test_slab_home(m.slab, 3, hak_slab_carved(m.slab));
    (void)hak_collect(NULL, 0, HAK_COLLECT_ALL);
    CHECK_EQ(test_class_spans(), 0);
  }
}

#define H(function)                                                             \
  cmocka_unit_test_prestate_setup_teardown(function, setup, test_slab_teardown, \
                                           (void *)(uintptr_t)SIZE)

TEST_MAIN_FRESH(
    H(slab__that_is_carved_comes_before_one_that_is_not),
    H(slab__that_leaves_comes_after_those_that_stay),
    H(slab__that_is_carved_by_this_thread_comes_before_the_list),
    H(shared_slab__on_the_partial_list_gives_a_few_blocks_and_stays),
    H(shared_slab__that_is_partly_carved_gives_a_few_blocks_and_stays),
    H(shared_slab__that_leaves_comes_after_those_that_stay),
    H(shared_slab__is_carved_where_it_lies),
    H(shared_slab__that_is_carved_anew_is_looked_at),
    TEST_OF_SLABS(shared_slab__gets_the_pages_that_it_has_not, SIZE),
    TEST_OF_SLABS(current_slab__whose_pages_are_refused_is_listed_and_others_serve, SIZE),
    H(slab__with_holes_serves_all_of_its_free_blocks),
    H(shared_slab__with_holes_has_none_any_more),
    H(held_slab__gives_what_others_freed_after_its_list),
    H(current_slab__gives_its_list_and_is_gone_on_with),
    TEST_OF_SLABS(pages__of_all_blocks_that_are_asked_for_come, SIZE),
    H(slab__that_another_thread_takes_first_is_done_without))
