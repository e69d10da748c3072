/* superslab_superslab.c - the slots of one SuperSlab and their states, against a
 * model that knows each slot. No library runs: the SuperSlab is the test's own. */
#include "strict_os.h"

#include <string.h>

#include "os/reservation.h"
#include "superslab/superslab.h"

static const unsigned g_page_flags[] = {0, TEST_OS_PAGE_16K, TEST_OS_PAGE_64K};

typedef struct model {
  bool free, purged;
  size_t committed; /* pages */
} model_t;

static test_os_t g_os;
static hak_superslab_t g_ss;
static hak_lock_t g_lock = HAK_LOCK_INIT(HAK_RANK_POOL); /* its owner's */
static hak_superslab_queue_t g_queue;
static model_t g_model[HAK_SUPERSLAB_SLABS];
static size_t g_per_slab;
static uint64_t g_now;

static void open_superslab(unsigned flags) {
  test_os_open(&g_os, flags);
  memset(&g_ss, 0, sizeof g_ss);
  memset(&g_queue, 0, sizeof g_queue);
  g_per_slab = HAK_SLAB_SIZE / g_os.hooks.page_size;
  char *base = hak_os_reserve(&g_os.hooks, HAK_SUPERSLAB_SIZE, HAK_SUPERSLAB_SIZE);
  CHECK(base != NULL);
  hak_superslab_init(&g_ss, NULL, 3, base, &g_os.hooks);
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    g_model[i] = (model_t){true, false, 0};
  }
}

static void close_superslab(void) {
  hak_os_unreserve(&g_os.hooks, g_ss.extent.base, HAK_SUPERSLAB_SIZE);
  test_os_close(&g_os);
  hak_store_relaxed(&hak_slots_committed, 0);
  hak_store_relaxed(&hak_slots_retained, 0);
}

/* What a pool does after each change of slots. */
static void requeue(void) {
  if (g_ss.queue != NULL) hak_superslab_dequeue(&g_ss);
  if (g_ss.retained != 0) hak_superslab_enqueue(&g_queue, &g_ss);
}

static hak_slot_states_t states(void) {
  hak_slot_states_t sum = {0};
  hak_superslab_add_states(&g_ss, &sum);
  return sum;
}

static void check_all(void) {
  size_t active = 0, empty = 0, purged = 0, pages = 0, idle = 0;
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    const model_t *m = &g_model[i];
    CHECK_EQ(g_ss.free >> i & 1, m->free);
    CHECK_EQ(g_ss.retained >> i & 1, m->free && m->committed > 0);
    CHECK_EQ(g_ss.slabs[i].committed, m->committed);
    CHECK_EQ(g_ss.slabs[i].slot, i);
    active += !m->free;
    empty += m->free && m->committed > 0;
    purged += m->free && m->committed == 0 && m->purged;
    pages += m->committed;
    if (m->free) idle += m->committed;
  }
  CHECK(hak_superslab_is_valid(&g_ss));
  CHECK_EQ(states().active, active);
  CHECK_EQ(states().empty, empty);
  CHECK_EQ(states().purged, purged);
  CHECK_EQ(states().unused, HAK_SUPERSLAB_SLABS - active - empty - purged);
  CHECK_EQ(hak_load_relaxed(&hak_slots_committed), pages * g_os.hooks.page_size);
  CHECK_EQ(hak_load_relaxed(&hak_slots_retained), idle * g_os.hooks.page_size);
  CHECK_EQ(g_os.committed_bytes, pages * g_os.hooks.page_size);
}

/* --- operations on both ------------------------------------------------------- */

static void take(unsigned first, unsigned count) {
  hak_lock_acquire(&g_lock);
  hak_superslab_take_locked(&g_lock, &g_ss, first, count);
  hak_lock_release(&g_lock);
  requeue();
  for (unsigned i = first; i < first + count; i++) g_model[i].free = false;
}

static void put(unsigned first, unsigned count) {
  hak_lock_acquire(&g_lock);
  hak_superslab_put_locked(&g_lock, &g_ss, first, count, ++g_now);
  hak_lock_release(&g_lock);
  requeue();
  CHECK_EQ(g_ss.idle_since, g_now);
  for (unsigned i = first; i < first + count; i++) g_model[i].free = true;
}

/* Bytes that were said to be zero are; then all of them are dirtied. */
static void use_pages(unsigned first, size_t pages, bool zeroed) {
  char *start = hak_superslab_slot(&g_ss, first);
  size_t bytes = pages * g_os.hooks.page_size;
  if (zeroed) CHECK(test_is_zero(start, bytes));
  memset(start, 0x5a, bytes);
}

static bool commit(unsigned first, unsigned count, size_t pages, bool no_grow) {
  bool zeroed = false, fresh = true, ready = true;
  size_t left = pages;
  for (unsigned i = first; left > 0; i++) {
    size_t want = left < g_per_slab ? left : g_per_slab;
    fresh = fresh && g_model[i].committed == 0 && !g_model[i].purged;
    ready = ready && g_model[i].committed >= want;
    left -= want;
  }
  uint64_t calls = test_os_calls(&g_os);
  bool ok = hak_superslab_commit(&g_ss, first, count, pages, no_grow, &zeroed);
  if (no_grow) CHECK_EQ(test_os_calls(&g_os), calls);
  CHECK_EQ(ok, ready || !no_grow);
  if (!ok) return false;
  if (fresh) CHECK(zeroed);
  left = pages;
  for (unsigned i = first; left > 0; i++) {
    size_t want = left < g_per_slab ? left : g_per_slab;
    if (g_model[i].committed < want) g_model[i].committed = want;
    left -= want;
  }
  use_pages(first, pages, zeroed);
  return true;
}

static void purge(unsigned first, unsigned count, size_t pages) {
  size_t expected = 0, left = pages;
  for (unsigned i = first; i < first + count; i++) {
    size_t keep = left < g_per_slab ? left : g_per_slab;
    left -= keep;
    if (g_model[i].committed <= keep) continue;
    expected += g_model[i].committed - keep;
    g_model[i].committed = keep;
    if (keep == 0) g_model[i].purged = true;
  }
  size_t given = pages == 0 ? hak_superslab_purge(&g_ss, first, count)
                            : hak_superslab_purge_tail(&g_ss, first, count, pages);
  CHECK_EQ(given, expected * g_os.hooks.page_size);
}

/* --- tests ---------------------------------------------------------------------- */

static void slot__goes_through_unused_active_empty_and_purged(void **state) {
  (void)state;
  open_superslab(0);
  check_all();
  take(5, 2);
  check_all();
  put(5, 2); /* never committed: unused again */
  check_all();
  CHECK_EQ(states().empty, 0);
  CHECK_EQ(states().purged, 0);
  take(5, 2);
  CHECK(commit(5, 2, g_per_slab + 1, false));
  check_all();
  put(5, 2);
  check_all();
  CHECK_EQ(states().empty, 2);
  take(6, 1); /* the pages are still there */
  CHECK(commit(6, 1, 1, true));
  CHECK(!commit(6, 1, 2, true));
  check_all();
  purge(6, 1, 0);
  check_all();
  CHECK_EQ(states().purged, 0); /* it is active */
  put(6, 1);
  check_all();
  CHECK_EQ(states().purged, 1);
  CHECK_EQ(states().empty, 1);
  take(5, 2);
  check_all();
  CHECK_EQ(states().purged, 0);
  CHECK(commit(5, 2, 2 * g_per_slab, false));
  put(5, 2);
  check_all();
  close_superslab();
}

/* A random run of slots that are all free, or all taken; 0 if the first is not. */
static unsigned random_run(test_rng_t *rng, bool free, unsigned *first) {
  *first = (unsigned)test_below(rng, HAK_SUPERSLAB_SLABS);
  unsigned most = 1 + (unsigned)test_below(rng, HAK_SUPERSLAB_SLABS), count = 0;
  while (count < most && *first + count < HAK_SUPERSLAB_SLABS &&
         g_model[*first + count].free == free) {
    count++;
  }
  return count;
}

static void run_random(unsigned flags, uint64_t salt) {
  open_superslab(flags);
  test_rng_t rng = test_rng(test_seed(), salt);
  unsigned first, count;
  for (size_t n = test_scale(3000); n > 0; n--) {
    unsigned op = (unsigned)test_below(&rng, 10);
    count = random_run(&rng, op < 3, &first);
    if (count == 0) continue;
    size_t pages = (size_t)test_below(&rng, count * g_per_slab + 1);
    if (op < 3) {
      take(first, count);
    } else if (op < 6) {
      put(first, count);
    } else if (op < 8) {
      commit(first, count, pages, false);
    } else if (op < 9) {
      commit(first, count, pages, true);
    } else {
      purge(first, count, test_below(&rng, 2) == 0 ? 0 : pages);
    }
    check_all();
  }
  close_superslab();
}

static void slots__follow_the_model_through_random_changes(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(g_page_flags); i++) {
    run_random(g_page_flags[i], i);
    run_random(g_page_flags[i] | TEST_OS_PURGE_NOOP, 10 + i);
  }
}

/* A span is committed in as few calls as its uncommitted pages have pieces. */
static void commit__of_fresh_slots_is_one_call(void **state) {
  (void)state;
  open_superslab(0);
  take(0, HAK_SUPERSLAB_SLABS);
  CHECK(commit(2, 10, 10 * g_per_slab - 3, false));
  CHECK_EQ(g_os.calls[TEST_OS_COMMIT], 1);
  CHECK(commit(2, 10, 10 * g_per_slab - 3, false));
  CHECK_EQ(g_os.calls[TEST_OS_COMMIT], 1);
  CHECK(commit(0, 14, 14 * g_per_slab, false));
  CHECK_EQ(g_os.calls[TEST_OS_COMMIT], 3); /* in front and behind */
  purge(0, HAK_SUPERSLAB_SLABS, 0);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], 1);
  check_all();
  close_superslab();
}

static void commit_huge__commits_all_once_and_says_that_it_is_zero(void **state) {
  (void)state;
  open_superslab(0);
  take(0, HAK_SUPERSLAB_SLABS);
  hak_superslab_commit_huge(&g_ss);
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) g_model[i].committed = g_per_slab;
  check_all();
  bool zeroed = false;
  CHECK(hak_superslab_commit(&g_ss, 4, 2, 2 * g_per_slab, true, &zeroed) && zeroed);
  use_pages(4, 2 * g_per_slab, zeroed);
  CHECK(hak_superslab_commit(&g_ss, 4, 2, 2 * g_per_slab, true, &zeroed) && !zeroed);
  CHECK(hak_superslab_commit(&g_ss, 5, 2, 2 * g_per_slab, true, &zeroed) && !zeroed);
  /* Who has slots may write to all their pages, whatever part was asked for. */
  CHECK(hak_superslab_commit(&g_ss, 8, 4, 1, true, &zeroed) && zeroed);
  CHECK(hak_superslab_commit(&g_ss, 10, 1, 1, true, &zeroed) && !zeroed);
  hak_superslab_commit_huge(&g_ss); /* has pages: nothing to do */
  CHECK_EQ(g_os.calls[TEST_OS_COMMIT], 1);
  check_all();
  purge(0, HAK_SUPERSLAB_SLABS, 0);
  check_all();
  hak_superslab_commit_huge(&g_ss);
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) g_model[i].committed = g_per_slab;
  CHECK(hak_superslab_commit(&g_ss, 0, 1, g_per_slab, true, &zeroed) && !zeroed);
  check_all();
  close_superslab();
}

/* The SuperSlab's record is charged to a budget of its own, which is made; returns what
 * that comes to. */
static uint64_t charge_record(hak_budget_t *budget) {
  memset(budget, 0, sizeof *budget);
  hak_budget_init(budget);
  hak_budget_begin(budget, NULL);
  CHECK(hak_superslab_charge_to(&g_ss, budget));
  return hak_load_relaxed(&budget->charged);
}

/* Neither pages nor charges are left where the budget refuses, or the hooks do. */
static void commit_huge__that_is_refused_changes_nothing(void **state) {
  (void)state;
  open_superslab(0);
  hak_budget_t budget;
  const uint64_t record = charge_record(&budget);
  take(0, HAK_SUPERSLAB_SLABS);
  hak_budget_set_limits(&budget, 0, HAK_SUPERSLAB_SIZE);
  hak_superslab_commit_huge(&g_ss);
  CHECK_EQ(g_os.calls[TEST_OS_COMMIT], 0);
  hak_budget_set_limits(&budget, 0, 0);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_COMMIT, 1);
  hak_superslab_commit_huge(&g_ss);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  check_all();
  CHECK_EQ(hak_load_relaxed(&budget.charged), record);
  hak_superslab_commit_huge(&g_ss);
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) g_model[i].committed = g_per_slab;
  check_all();
  CHECK_EQ(hak_load_relaxed(&budget.charged), record + HAK_SUPERSLAB_SIZE);
  hak_superslab_uncharge_all(&g_ss, 1);
  CHECK_EQ(hak_load_relaxed(&budget.charged), 0);
  close_superslab();
}

/* Slots whose pages nobody is charged for are charged again before they serve, or do not
 * serve. */
static void commit__of_slots_that_no_budget_has_room_for_fails(void **state) {
  (void)state;
  open_superslab(0);
  take(0, 4);
  CHECK(commit(0, 4, 4 * g_per_slab, false));
  hak_budget_t budget;
  const uint64_t record = charge_record(&budget);
  bool zeroed;
  hak_budget_set_limits(&budget, 0, record + 4 * HAK_SLAB_SIZE - 1);
  CHECK(!hak_superslab_commit(&g_ss, 0, 4, 4 * g_per_slab, true, &zeroed));
  CHECK_EQ(hak_load_relaxed(&budget.charged), record);
  hak_budget_set_limits(&budget, 0, record + 4 * HAK_SLAB_SIZE);
  CHECK(hak_superslab_commit(&g_ss, 0, 4, 4 * g_per_slab, true, &zeroed));
  CHECK(hak_superslab_commit(&g_ss, 0, 4, 4 * g_per_slab, true, &zeroed)); /* once */
  CHECK_EQ(hak_load_relaxed(&budget.charged), record + 4 * HAK_SLAB_SIZE);
  hak_superslab_uncharge_all(&g_ss, 1);
  CHECK_EQ(hak_load_relaxed(&budget.charged), 0);
  hak_superslab_uncharge_all(&g_ss, 1); /* nobody is charged */
  close_superslab();
}

static void commit__that_the_os_refuses_keeps_states_and_sums_true(void **state) {
  (void)state;
  open_superslab(0);
  take(0, 12);
  CHECK(commit(4, 1, g_per_slab, false)); /* parts the range in two calls */
  for (uint64_t nth = 1; nth <= 2; nth++) {
    test_os_fail(&g_os, TEST_FAIL_NTH, 1u << TEST_OS_COMMIT, nth);
    bool zeroed;
    CHECK(!hak_superslab_commit(&g_ss, 0, 12, 12 * g_per_slab, false, &zeroed));
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    for (unsigned i = 0; nth == 2 && i < 4; i++) g_model[i].committed = g_per_slab;
    check_all();
  }
  CHECK(commit(0, 12, 12 * g_per_slab, false));
  check_all();
  close_superslab();
}

static void purge__that_the_os_refuses_changes_nothing(void **state) {
  (void)state;
  open_superslab(0);
  take(0, 4);
  CHECK(commit(0, 4, 4 * g_per_slab, false));
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_PURGE, 1);
  CHECK_EQ(hak_superslab_purge(&g_ss, 0, 4), 0);
  check_all();
  CHECK_EQ(hak_superslab_purge_tail(&g_ss, 0, 4, 7), 0);
  check_all();
  put(0, 4);
  check_all();
  close_superslab();
}

/* Pages that the system never gave may be given back along with others. */
static void purge__of_the_systems_pages_is_one_call_for_all(void **state) {
  (void)state;
  static const unsigned spans[][3] = {
      {0, 1, 2}, {1, 1, 1}, {3, 2, 20}, {9, 1, 16}, {30, 2, 20}};
  const hak_os_t *os = hak_os_default();
  size_t page = os->page_size, bytes = 0;
  if (page != 4 * KIB) return;
  memset(&g_ss, 0, sizeof g_ss);
  memset(&g_queue, 0, sizeof g_queue);
  char *base = hak_os_reserve(os, HAK_SUPERSLAB_SIZE, HAK_SUPERSLAB_SIZE);
  CHECK(base != NULL);
  hak_superslab_init(&g_ss, NULL, 3, base, os);
  take(0, HAK_SUPERSLAB_SLABS);
  for (size_t i = 0; i < TEST_COUNT(spans); i++) {
    const unsigned *span = spans[i];
    bool zeroed;
    CHECK(hak_superslab_commit(&g_ss, span[0], span[1], span[2], false, &zeroed));
    memset(hak_superslab_slot(&g_ss, span[0]), 0x5a, span[2] * page);
    bytes += span[2] * page;
  }
  for (int all = 0; all <= 1; all++) { /* a span but for its first pages; and the rest */
    uint64_t calls = hak_load_relaxed(&hak_os_counts.purge);
    uint64_t purged = hak_load_relaxed(&hak_os_counts.purged_bytes);
    size_t gone = all != 0 ? hak_superslab_purge(&g_ss, 0, HAK_SUPERSLAB_SLABS)
                           : hak_superslab_purge_tail(&g_ss, 3, 2, 3);
    CHECK_EQ(gone, all != 0 ? bytes : 17 * page);
    CHECK_EQ(hak_load_relaxed(&hak_os_counts.purge) - calls, 1);
    CHECK_EQ(hak_load_relaxed(&hak_os_counts.purged_bytes) - purged, gone);
    bytes -= gone;
    CHECK_EQ(hak_superslab_committed(&g_ss), bytes);
    CHECK(test_is_zero(hak_superslab_slot(&g_ss, 4), HAK_SLAB_SIZE));
    CHECK_EQ(hak_superslab_slot(&g_ss, 3)[0], all != 0 ? 0 : 0x5a);
    CHECK_EQ(hak_superslab_slot(&g_ss, 30)[0], all != 0 ? 0 : 0x5a);
  }
  CHECK(test_is_zero(base, HAK_SUPERSLAB_SIZE));
  put(0, HAK_SUPERSLAB_SLABS);
  CHECK(hak_superslab_is_valid(&g_ss));
  hak_slot_states_t states = {0}; /* those that never had pages are none that lost them */
  hak_superslab_add_states(&g_ss, &states);
  CHECK_EQ(states.purged, 7);
  CHECK_EQ(states.unused, HAK_SUPERSLAB_SLABS - 7);
  hak_os_unreserve(os, base, HAK_SUPERSLAB_SIZE);
}

static void is_valid__sees_each_broken_rule(void **state) {
  (void)state;
  open_superslab(0);
  take(0, 4);
  CHECK(commit(0, 4, 4 * g_per_slab, false));
  put(0, 2);
  CHECK(hak_superslab_is_valid(&g_ss));
  hak_superslab_t good = g_ss;
  g_ss.retained |= 1u << 3; /* of a taken slot */
  CHECK(!hak_superslab_is_valid(&g_ss));
  g_ss = good;
  g_ss.retained &= ~1u; /* committed and free, but not counted */
  CHECK(!hak_superslab_is_valid(&g_ss));
  g_ss = good;
  g_ss.slabs[1].committed = 0;
  CHECK(!hak_superslab_is_valid(&g_ss));
  g_ss = good;
  g_ss.queue = NULL; /* nobody would ever purge it */
  CHECK(!hak_superslab_is_valid(&g_ss));
  g_ss = good;
  check_all();
  close_superslab();
}

static void queue__has_the_longest_idle_in_front(void **state) {
  (void)state;
  static hak_superslab_t ss[6];
  hak_superslab_queue_t queue = {NULL, NULL};
  static const uint64_t idle[] = {50, 60, 70, 10, 65, 5};
  static const int order[] = {5, 3, 0, 1, 2, 4}; /* late ones go to the end */
  for (int i = 0; i < 6; i++) {
    ss[i].idle_since = idle[i];
    hak_superslab_enqueue(&queue, &ss[i]);
  }
  for (int gone = 0; gone < 6; gone++) {
    hak_superslab_t *at = queue.first, *prev = NULL;
    for (int i = 0; i < 6; i++) {
      if (ss[order[i]].queue == NULL) continue;
      CHECK(at == &ss[order[i]] && at->prev == prev && at->queue == &queue);
      prev = at;
      at = at->next;
    }
    CHECK(at == NULL && queue.last == prev);
    hak_superslab_dequeue(&ss[(gone * 5 + 2) % 6]);
  }
  CHECK(queue.first == NULL && queue.last == NULL);
}

/* In the child of a fork: what is known of slots without pages stays. */
static void mend__leaves_purged_slots_purged(void **state) {
  (void)state;
  open_superslab(0);
  take(0, 4);
  CHECK(commit(0, 2, 2 * g_per_slab, false));
  purge(0, 1, 0);
  hak_superslab_mend(&g_ss);
  put(0, 4);
  check_all();
  CHECK_EQ(states().purged, 1);
  take(1, 1);
  purge(1, 1, 0);
  close_superslab();
}

TEST_MAIN_FRESH(T(slot__goes_through_unused_active_empty_and_purged),
                T(slots__follow_the_model_through_random_changes),
                T(commit__of_fresh_slots_is_one_call),
                T(commit_huge__commits_all_once_and_says_that_it_is_zero),
                T(commit_huge__that_is_refused_changes_nothing),
                T(commit__of_slots_that_no_budget_has_room_for_fails),
                T(commit__that_the_os_refuses_keeps_states_and_sums_true),
                T(purge__that_the_os_refuses_changes_nothing),
                T(purge__of_the_systems_pages_is_one_call_for_all),
                T(is_valid__sees_each_broken_rule),
                T(queue__has_the_longest_idle_in_front),
                T(mend__leaves_purged_slots_purged))
