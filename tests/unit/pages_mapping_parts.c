/* pages_mapping_parts.c - kept mappings over the system's own hooks: cut, joined, and
 * displaced by new need. */
#include "support.h"

#include <string.h>

#include "heap/lifecycle.h"
#include "os/os.h"
#include "pages/mapping.h"
#include "pages/mapping_move.h"
#include "pages/mapping_parts.h"
#include "superslab/locate.h"

#define CHECK_COMMITTED(bytes) CHECK_EQ(hak_load_relaxed(&hak_mappings_committed), bytes)
#define CHECK_KEPT(bytes) CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), bytes)

static int setup(void **state) {
  (void)state;
  CHECK_EQ(hak_init(NULL), 0);
  CHECK(hak_os_is_divisible(hak_lifecycle_os()));
  /* No second passes for what is in use lately. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 86400000), 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 1000), 0);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK_COMMITTED(0);
  CHECK_KEPT(0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), 0);
  return 0;
}

static hak_mapping_t *get(size_t size) {
  bool zeroed;
  hak_mapping_t *m = hak_mapping_acquire(hak_lifecycle_os(), NULL, NULL, size,
                                         HAK_SLAB_SIZE, false, &zeroed);
  CHECK(m != NULL);
  char *base = m->extent.base;
  CHECK(hak_locate((uintptr_t)base).extent == &m->extent);
  CHECK(hak_locate((uintptr_t)base + size - 1).extent == &m->extent);
  CHECK(m->committed >= size && m->committed - size <= hak_mapping_slack(size));
  test_fill_sparse(base, size, size);
  return m;
}

static void give(hak_mapping_t *m) {
  CHECK(test_verify_sparse(m->extent.base, hak_load_relaxed(&m->extent.size),
                           hak_load_relaxed(&m->extent.size)));
  hak_mapping_give(m, hak_os_now(hak_lifecycle_os()));
}

static uint64_t os_calls(void) {
  return hak_load_relaxed(&hak_os_counts.reserve) +
         hak_load_relaxed(&hak_os_counts.release) +
         hak_load_relaxed(&hak_os_counts.commit) +
         hak_load_relaxed(&hak_os_counts.purge) + hak_load_relaxed(&hak_os_counts.remap);
}

static void kept_mapping__serves_a_smaller_block_by_its_first_part(void **state) {
  (void)state;
  hak_mapping_t *m = get(100 * MIB);
  char *base = m->extent.base;
  give(m);
  uint64_t calls = os_calls();
  hak_mapping_t *first = get(40 * MIB), *second = get(30 * MIB);
  CHECK(first->extent.base == base && second->extent.base == base + 40 * MIB);
  CHECK_EQ(os_calls(), calls);
  CHECK_KEPT(30 * MIB);
  CHECK_COMMITTED(100 * MIB);
  give(first);
  give(second);
  CHECK_KEPT(100 * MIB);
  m = get(100 * MIB); /* whose parts are joined */
  CHECK(m->extent.base == base);
  CHECK_EQ(os_calls(), calls);
  CHECK_KEPT(0);
  give(m);
}

static void blocks_in_turn__of_any_sizes_cost_no_call_once_the_largest_was_there(
    void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 1);
  uint64_t calls = 0;
  for (int i = 0; i < 400; i++) {
    size_t size = i == 0 ? 200 * MIB : 33 * MIB + test_below(&rng, 167 * MIB);
    if (i == 20) calls = os_calls(); /* the records of parts are there */
    give(get(hak_align_up(size, 4096)));
    CHECK(hak_load_relaxed(&hak_mappings_committed) <= 200 * MIB);
  }
  CHECK_EQ(os_calls(), calls);
}

/* Mappings without pages, which fit better, do not take the place of those with pages. */
static void kept_mapping__with_pages_comes_before_one_without(void **state) {
  (void)state;
  hak_mapping_t *m[3] = {get(44 * MIB), get(90 * MIB), get(64 * MIB)};
  for (uint64_t i = 0; i < 3; i++) hak_mapping_give(m[i], i + 1);
  size_t slabs = SIZE_MAX;
  CHECK_EQ(hak_mapping_purge(1, 43 * MIB, &slabs), 43 * MIB); /* most of the first */
  uint64_t calls = 0;
  for (int i = 0; i < 40; i++) {
    if (i == 8) calls = os_calls();
    give(get(33 * MIB + (size_t)(i % 5) * 10 * MIB));
  }
  CHECK_EQ(os_calls(), calls);
}

static void new_need__displaces_what_is_kept(void **state) {
  (void)state;
  hak_mapping_t *m[8];
  size_t live = 0;
  for (size_t i = 0; i < TEST_COUNT(m); i++) {
    give(get(120 * MIB));
    m[i] = get(61 * MIB);
    live += 61 * MIB;
    size_t committed = hak_load_relaxed(&hak_mappings_committed);
    CHECK(committed <= live + 120 * MIB);
  }
  /* The parts that were kept went, and no block has more than it needs. */
  CHECK(hak_load_relaxed(&hak_mappings_retained) <= 120 * MIB);
  for (size_t i = 0; i < TEST_COUNT(m); i++) give(m[i]);
}

static void growing_sizes__keep_an_eighth_more_than_the_largest(void **state) {
  (void)state;
  for (size_t size = 40 * MIB; size < 250 * MIB; size += size / 5) {
    size_t pages = hak_align_up(size, 4096);
    give(get(pages));
    CHECK(hak_load_relaxed(&hak_mappings_committed) <= pages + pages / 8 + HAK_SLAB_SIZE);
  }
}

static void what_was_in_use_lately__counts_until_nothing_is_kept(void **state) {
  (void)state;
  hak_mapping_t *m[4];
  for (size_t i = 0; i < 4; i++) m[i] = get(50 * MIB);
  for (size_t i = 0; i < 4; i++) give(m[i]);
  CHECK_KEPT(200 * MIB);
  give(get(150 * MIB)); /* from parts that lie side by side, or instead of them */
  CHECK(hak_load_relaxed(&hak_mappings_committed) <= 200 * MIB);
  size_t slabs = SIZE_MAX;
  hak_mapping_purge(UINT64_MAX, SIZE_MAX, &slabs);
  CHECK_COMMITTED(0);
  give(get(40 * MIB));
  give(get(50 * MIB)); /* would be kept besides if 200 still counted */
  CHECK(hak_load_relaxed(&hak_mappings_committed) <= 57 * MIB);
}

static void parts__go_back_each_at_its_own_age(void **state) {
  (void)state;
  hak_mapping_t *m = get(100 * MIB);
  hak_mapping_give(m, 10);
  m = get(40 * MIB);
  hak_mapping_give(m, 20);
  size_t slabs = SIZE_MAX;
  CHECK_EQ(hak_mapping_purge(15, SIZE_MAX, &slabs), 60 * MIB);
  CHECK_KEPT(40 * MIB);
  CHECK_EQ(hak_mapping_purge(20, SIZE_MAX, &slabs), 40 * MIB);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), 0);
}

static void shrinking__gives_pages_back_at_once_beyond_an_eighth(void **state) {
  (void)state;
  hak_mapping_t *m = get(64 * MIB);
  uint64_t calls = os_calls();
  CHECK(hak_mapping_resize(m, 57 * MIB, false) != NULL);
  CHECK_COMMITTED(64 * MIB);
  CHECK_EQ(os_calls(), calls);
  CHECK(hak_mapping_resize(m, 50 * MIB, false) != NULL);
  CHECK_COMMITTED(50 * MIB);
  CHECK(hak_mapping_resize(m, MIB, false) != NULL);
  CHECK_COMMITTED(MIB);
  CHECK(test_verify_sparse_prefix(m->extent.base, 64 * MIB, MIB, 64 * MIB));
  hak_mapping_give(m, 1);
}

/* The block takes the pages behind it, which nobody uses, and leaves the rest of them. */
static void growing__takes_the_kept_pages_behind_the_block(void **state) {
  (void)state;
  hak_mapping_t *m = get(64 * MIB);
  char *base = m->extent.base;
  give(m);
  m = get(2 * MIB);
  CHECK(m->extent.base == base);
  uint64_t calls = os_calls();
  for (size_t size = 4 * MIB; size <= 64 * MIB; size *= 2) {
    CHECK(hak_mapping_resize(m, size, false) == base);
    CHECK(test_verify_sparse_prefix(base, size / 2, size / 2, size / 2));
    test_fill_sparse(base, size, size);
    CHECK(hak_locate((uintptr_t)base + size - 1).extent == &m->extent);
    CHECK_COMMITTED(64 * MIB);
    CHECK_KEPT(64 * MIB - size);
  }
  CHECK(hak_mapping_resize(m, 66 * MIB, false) == NULL);
  CHECK_EQ(os_calls(), calls);
  give(m);
  CHECK_KEPT(64 * MIB);
}

/* The pages behind the block stay kept where its budget has no room for them, and are
 * taken once it has: first for those that the block's own range lacks. */
static void growing__leaves_the_kept_pages_that_no_budget_has_room_for(void **state) {
  (void)state;
  hak_mapping_t *m = get(64 * MIB);
  char *base = m->extent.base;
  give(m);
  hak_budget_t budget;
  memset(&budget, 0, sizeof budget);
  hak_budget_init(&budget);
  hak_budget_begin(&budget, NULL);
  const size_t record = sizeof *m;
  bool zeroed;
  m = hak_mapping_acquire(hak_lifecycle_os(), &budget, NULL, 16 * MIB, HAK_SLAB_SIZE,
                          false, &zeroed);
  CHECK(m != NULL && m->extent.base == base);
  CHECK(hak_mapping_resize(m, 2 * MIB, false) == base);
  CHECK_EQ(hak_load_relaxed(&budget.charged), 2 * MIB + record);
  CHECK_KEPT(48 * MIB);
  test_fill_sparse(base, 2 * MIB, 1);
  const struct {
    size_t limit, charged;
  } steps[] = {{10 * MIB, 2 * MIB}, {17 * MIB, 16 * MIB}};
  for (size_t i = 0; i < TEST_COUNT(steps); i++) {
    hak_budget_set_limits(&budget, 0, steps[i].limit);
    CHECK(hak_mapping_resize(m, 18 * MIB, false) == NULL);
    CHECK_EQ(hak_load_relaxed(&budget.charged), steps[i].charged + record);
    CHECK_EQ(hak_load_relaxed(&m->extent.size), 2 * MIB);
    CHECK_EQ(m->reserved, 16 * MIB);
    CHECK_KEPT(48 * MIB);
  }
  hak_budget_set_limits(&budget, 0, 0);
  CHECK(hak_mapping_resize(m, 18 * MIB, false) == base);
  CHECK_EQ(hak_load_relaxed(&budget.charged), 18 * MIB + record);
  CHECK(test_verify_sparse_prefix(base, 2 * MIB, 2 * MIB, 1));
  CHECK_KEPT(46 * MIB);
  hak_mapping_give(m, 1);
  CHECK_EQ(hak_load_relaxed(&budget.charged), 0);
}

/* What goes with the block's first shrink is needed again, so that it stays at the next:
 * first as a tail that is kept, then as one that is no surplus. */
static void blocks_that_shrink_and_grow__cost_no_call_after_some_rounds(void **state) {
  (void)state;
  hak_mapping_t *m = get(64 * MIB);
  char *base = m->extent.base;
  uint64_t calls = 0;
  for (int i = 0; i < 20; i++) {
    if (i == 2) calls = os_calls();
    CHECK(hak_mapping_resize(m, 9 * MIB, false) == base);
    CHECK(hak_load_relaxed(&m->committed) <= 11 * MIB);
    CHECK(hak_mapping_resize(m, 64 * MIB, false) == base);
    test_fill_sparse(base, 64 * MIB, 64 * MIB);
  }
  CHECK_EQ(os_calls(), calls);
  give(m);
}

#define P(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(P(kept_mapping__serves_a_smaller_block_by_its_first_part),
                P(blocks_in_turn__of_any_sizes_cost_no_call_once_the_largest_was_there),
                P(kept_mapping__with_pages_comes_before_one_without),
                P(new_need__displaces_what_is_kept),
                P(growing_sizes__keep_an_eighth_more_than_the_largest),
                P(what_was_in_use_lately__counts_until_nothing_is_kept),
                P(parts__go_back_each_at_its_own_age),
                P(shrinking__gives_pages_back_at_once_beyond_an_eighth),
                P(growing__takes_the_kept_pages_behind_the_block),
                P(growing__leaves_the_kept_pages_that_no_budget_has_room_for),
                P(blocks_that_shrink_and_grow__cost_no_call_after_some_rounds))
