/* superslab_region.c - SuperSlabs out of address space. The library runs over hooks
 * of the test, and nothing is allocated from it. */
#include "os_fixture.h"

#include "base/option.h"
#include "heap/lifecycle.h"
#include "superslab/huge.h"
#include "superslab/locate.h"
#include "superslab/region.h"

enum {
  RUNS = 100
};

typedef struct run {
  hak_superslab_t *first;
  uint32_t count;
} run_t;

static run_t g_runs[RUNS];
static size_t g_run_count;
static char g_heap; /* an address for a heap */

static int setup_over(unsigned flags, size_t limit) {
  test_os_open(&g_os, flags);
  g_os.limit = limit;
  CHECK_EQ(hak_option_set(HAK_OPTION_REGION_BYTES, 32 * (int64_t)MIB), 0);
  CHECK_EQ(test_os_init(&g_os), 0);
  g_run_count = 0;
  return 0;
}

static int setup(void **state) {
  (void)state;
  return setup_over(0, SIZE_MAX);
}

static int setup_limited(void **state) {
  (void)state;
  return setup_over(TEST_OS_LIMITED, 100 * MIB);
}

static int setup_far(void **state) {
  (void)state;
  return setup_over(TEST_OS_LIMITED | TEST_OS_FAR, 100 * MIB);
}

static hak_superslab_t *acquire(uint32_t count, size_t alignment, bool no_grow) {
  return hak_region_acquire(hak_lifecycle_os(), count, alignment, HAK_EXTENT_RUN, &g_heap,
                            no_grow);
}

static size_t regions(void) {
  size_t n = 0;
  for (hak_region_t *r = hak_load_relaxed(&hak_regions.first); r != NULL; n++) {
    r = hak_load_relaxed(&r->next);
  }
  return n;
}

static bool run_is_taken(const char *base) {
  for (size_t i = 0; i < g_run_count; i++) {
    size_t bytes = (size_t)g_runs[i].count << HAK_SUPERSLAB_SHIFT;
    if ((size_t)(base - g_runs[i].first->extent.base) < bytes) return true;
  }
  return false;
}

/* The lowest fitting place of the oldest region that has one, or NULL. */
static char *expected_place(uint32_t count, size_t alignment) {
  for (hak_region_t *r = hak_load_relaxed(&hak_regions.first); r != NULL;
       r = hak_load_relaxed(&r->next)) {
    for (uint32_t i = 0; i + count <= r->count; i++) {
      char *base = r->base + (size_t)i * HAK_SUPERSLAB_SIZE;
      uint32_t n = 0;
      if (!hak_is_aligned((uintptr_t)base, alignment)) continue;
      while (n < count && !run_is_taken(base + n * HAK_SUPERSLAB_SIZE)) n++;
      if (n == count) return base;
    }
  }
  return NULL;
}

static void check_run(hak_superslab_t *ss, uint32_t count, size_t alignment) {
  CHECK(hak_is_aligned((uintptr_t)ss->extent.base, alignment));
  for (uint32_t i = 0; i < count; i++) {
    char *base = ss->extent.base + i * HAK_SUPERSLAB_SIZE;
    CHECK(ss[i].extent.base == base && hak_superslab_at(ss, i) == &ss[i]);
    CHECK(!run_is_taken(base));
    CHECK_EQ(ss[i].free, 0);
    CHECK_EQ(hak_load_relaxed(&ss[i].extent.kind), HAK_EXTENT_RUN);
    CHECK(hak_load_relaxed(&ss[i].extent.heap) == (void *)&g_heap);
    CHECK(hak_locate((uintptr_t)base).extent == &ss[i].extent);
    CHECK(hak_locate((uintptr_t)base + HAK_SUPERSLAB_SIZE - 1).extent == &ss[i].extent);
  }
}

static void check_sums(void) {
  uint32_t in_use = 0;
  for (size_t i = 0; i < g_run_count; i++) in_use += g_runs[i].count;
  CHECK_EQ(hak_regions.in_use, in_use);
  CHECK(hak_regions_are_valid());
}

/* Acquires, and holds the place against the model; false for NULL. */
static bool get(uint32_t count, size_t alignment) {
  char *expected = expected_place(count, alignment);
  hak_superslab_t *ss = acquire(count, alignment, false);
  if (ss == NULL) return false;
  if (expected != NULL) CHECK(ss->extent.base == expected);
  check_run(ss, count, alignment);
  CHECK(g_run_count < RUNS);
  g_runs[g_run_count++] = (run_t){ss, count};
  return true;
}

/* Gives the last `count` SuperSlabs of a run back. */
static void give(size_t index, uint32_t count, uint64_t now) {
  run_t *run = &g_runs[index];
  run->count -= count;
  hak_superslab_t *ss = hak_superslab_at(run->first, run->count);
  hak_region_give(ss, count, now);
  CHECK_EQ(hak_load_relaxed(&ss->extent.kind), HAK_EXTENT_FREE);
  if (run->count == 0) *run = g_runs[--g_run_count];
}

static bool commit_all(hak_superslab_t *ss) {
  bool zeroed;
  return hak_superslab_commit(ss, 0, HAK_SUPERSLAB_SLABS, HAK_SUPERSLAB_SIZE / 4096,
                              false, &zeroed);
}

/* --- tests -------------------------------------------------------------------- */

static void acquire__takes_the_lowest_fitting_run_of_the_oldest_region(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 1);
  for (size_t n = test_scale(2000); n > 0; n--) {
    if (test_below(&rng, 2) == 0 && g_run_count < 40) {
      uint32_t count = 1 + (uint32_t)test_below(&rng, test_below(&rng, 3) == 0 ? 9 : 2);
      size_t alignment = HAK_SUPERSLAB_SIZE << (test_below(&rng, 4) == 0 ? 2 : 0);
      CHECK(get(count, alignment));
    } else if (g_run_count > 0) {
      size_t i = (size_t)test_below(&rng, g_run_count);
      uint32_t all = g_runs[i].count;
      give(i, test_below(&rng, 3) == 0 ? 1 + (uint32_t)test_below(&rng, all) : all, n);
    }
    check_sums();
  }
  while (g_run_count > 0) give(0, g_runs[0].count, 1);
  check_sums();
}

/* What is reserved and not used stays in proportion to what is used. */
static void acquire__grows_by_a_share_of_what_is_in_use(void **state) {
  (void)state;
  CHECK_EQ(regions(), 0);
  for (uint64_t reserved = 0, used = 0; used < 2 * GIB; used += 32 * MIB) {
    CHECK(get(16, HAK_SUPERSLAB_SIZE));
    uint64_t now = hak_load_relaxed(&hak_regions_reserved);
    uint64_t share = hak_align_down(used / 2, HAK_SUPERSLAB_SIZE);
    if (now != reserved) CHECK_EQ(now - reserved, share < 32 * MIB ? 32 * MIB : share);
    CHECK(now <= used + share + 64 * MIB);
    reserved = now;
  }
  CHECK_MSG(regions() <= 16, "%zu regions", regions());
  check_sums();
}

static void acquire__grows_by_the_percentage_that_is_set(void **state) {
  (void)state;
  int64_t before = hak_option_get(HAK_OPTION_REGION_PERCENT);
  CHECK_EQ(hak_option_set(HAK_OPTION_REGION_PERCENT, 400), 0);
  CHECK(get(100, HAK_SUPERSLAB_SIZE) && get(1, HAK_SUPERSLAB_SIZE));
  CHECK_EQ(hak_load_relaxed(&hak_regions_reserved), (200 + 800) * MIB);
  CHECK_EQ(hak_option_set(HAK_OPTION_REGION_PERCENT, 0), 0);
  CHECK(get(500, HAK_SUPERSLAB_SIZE) && get(1, HAK_SUPERSLAB_SIZE));
  CHECK_EQ(hak_load_relaxed(&hak_regions_reserved), (200 + 800 + 1000) * MIB);
  CHECK_EQ(hak_option_set(HAK_OPTION_REGION_PERCENT, before), 0);
  check_sums();
}

static void acquire__gets_runs_larger_than_a_region_and_large_alignments(void **state) {
  (void)state;
  CHECK(get(100, HAK_SUPERSLAB_SIZE));
  CHECK(get(1, 64 * MIB));
  CHECK(get(33, 256 * MIB));
  check_sums();
}

static void acquire__without_growth_asks_nobody(void **state) {
  (void)state;
  uint64_t calls = test_os_calls(&g_os);
  CHECK(acquire(1, HAK_SUPERSLAB_SIZE, true) == NULL);
  CHECK_EQ(test_os_calls(&g_os), calls);
  CHECK(get(2, HAK_SUPERSLAB_SIZE));
  give(0, 2, 1);
  calls = test_os_calls(&g_os);
  hak_superslab_t *ss = acquire(2, HAK_SUPERSLAB_SIZE, true);
  CHECK(ss != NULL);
  check_run(ss, 2, HAK_SUPERSLAB_SIZE);
  CHECK(acquire(17, HAK_SUPERSLAB_SIZE, true) == NULL);
  CHECK_EQ(test_os_calls(&g_os), calls);
  hak_region_give(ss, 2, 1);
  check_sums();
}

static void exhaustion__gives_null_and_ends_when_memory_comes_back(void **state) {
  (void)state;
  while (get(3, HAK_SUPERSLAB_SIZE)) check_sums();
  CHECK(g_run_count > 3);
  check_sums();
  CHECK(!get(3, HAK_SUPERSLAB_SIZE));
  give(1, 3, 1);
  CHECK(get(3, HAK_SUPERSLAB_SIZE));
  g_os.limit += 16 * MIB;
  CHECK(get(3, HAK_SUPERSLAB_SIZE));
  check_sums();
}

/* A region that takes all that may be reserved would leave nothing for the registry's
 * leaf, which each has here: it lies where none has been. */
static void exhaustion__leaves_room_for_what_covers_a_region(void **state) {
  (void)state;
  CHECK(get(3, HAK_SUPERSLAB_SIZE));
  while (regions() == 1) {
    g_os.limit = g_os.reserved_bytes + 16 * MIB;
    CHECK(get(3, HAK_SUPERSLAB_SIZE));
    check_sums();
  }
  CHECK(g_os.limit - g_os.reserved_bytes < 8 * MIB);
}

static void failures__leave_regions_as_they_were(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 2);
  unsigned refused = 0;
  for (size_t n = test_scale(1000); n > 0; n--) {
    if (g_run_count < 60 && test_below(&rng, 3) != 0) {
      uint64_t failures = g_os.failures;
      test_os_fail(&g_os, TEST_FAIL_RANDOM, TEST_OS_ALL_KINDS, 50);
      bool got = get(1 + (uint32_t)test_below(&rng, 20), HAK_SUPERSLAB_SIZE);
      test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
      CHECK(got || g_os.failures > failures);
      refused += !got;
    } else if (g_run_count > 0) {
      size_t i = (size_t)test_below(&rng, g_run_count);
      give(i, g_runs[i].count, n);
    }
    check_sums();
  }
  CHECK(refused > 0);
}

static void purge__obeys_time_bytes_and_slabs(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    CHECK(get(1, HAK_SUPERSLAB_SIZE));
    CHECK(commit_all(g_runs[i].first));
  }
  for (uint64_t i = 4; i > 0; i--) give((size_t)(i - 1), 1, 10 * i);
  CHECK_EQ(hak_load_relaxed(&hak_slots_retained), 4 * HAK_SUPERSLAB_SIZE);
  size_t slabs = SIZE_MAX;
  CHECK_EQ(hak_region_purge(9, SIZE_MAX, &slabs), 0);
  CHECK_EQ(slabs, SIZE_MAX);
  CHECK_EQ(hak_region_purge(10, SIZE_MAX, &slabs), HAK_SUPERSLAB_SIZE);
  CHECK_EQ(slabs, SIZE_MAX - HAK_SUPERSLAB_SLABS);
  slabs = HAK_SUPERSLAB_SLABS - 1; /* not enough for a whole one */
  CHECK_EQ(hak_region_purge(100, SIZE_MAX, &slabs), 0);
  slabs = 2 * HAK_SUPERSLAB_SLABS - 1;
  CHECK_EQ(hak_region_purge(100, HAK_SLAB_SIZE + 1, &slabs), 2 * HAK_SLAB_SIZE);
  CHECK_EQ(slabs, HAK_SUPERSLAB_SLABS - 1);
  check_sums();
  slabs = SIZE_MAX;
  CHECK_EQ(hak_region_purge(100, SIZE_MAX, &slabs),
           3 * HAK_SUPERSLAB_SIZE - 2 * HAK_SLAB_SIZE);
  CHECK_EQ(hak_load_relaxed(&hak_slots_retained), 0);
  CHECK(hak_regions.retained.first == NULL);
  check_sums();
}

static void purge__takes_a_superslab_with_huge_pages_as_a_whole(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) {
    CHECK(get(1, HAK_SUPERSLAB_SIZE));
    CHECK(commit_all(g_runs[i].first));
  }
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  CHECK(hak_huge_set(g_runs[0].first, true));
  hak_superslab_t *huge = g_runs[0].first;
  give(1, 1, 20);
  give(0, 1, 10);
  size_t slabs = SIZE_MAX;
  CHECK_EQ(hak_region_purge_whole(100, HAK_SLAB_SIZE, &slabs), HAK_SUPERSLAB_SIZE);
  CHECK(hak_superslab_is_huge(huge));
  CHECK_EQ(hak_region_purge_whole(100, HAK_SLAB_SIZE, &slabs), HAK_SLAB_SIZE);
  hak_os_leave(before);
  check_sums();
}

/* A range with other pages than its neighbours is a mapping for the kernel, of which a
 * process has only so many. */
static void huge__superslabs_lie_in_so_many_pieces_and_no_more(void **state) {
  (void)state;
  CHECK(get(8, HAK_SUPERSLAB_SIZE));
  hak_superslab_t *ss = g_runs[0].first;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  uint64_t pieces = hak_load_relaxed(&hak_huge_pieces);
  hak_store_relaxed(&hak_huge_pieces, HAK_HUGE_PIECES - 2);
  CHECK(hak_huge_set(&ss[1], true) && hak_huge_set(&ss[3], true));
  CHECK(!hak_huge_set(&ss[6], true) && !hak_superslab_is_huge(&ss[6]));
  CHECK(hak_huge_set(&ss[2], true)); /* three become one piece */
  CHECK_EQ(hak_load_relaxed(&hak_huge_pieces), HAK_HUGE_PIECES - 1);
  CHECK(hak_huge_set(&ss[6], true));
  CHECK(hak_huge_set(&ss[2], false)); /* it would be one piece more */
  for (unsigned i = 1; i < 8; i++) CHECK(i == 2 || !hak_huge_set(&ss[i], false));
  CHECK(!hak_huge_set(&ss[2], false));
  CHECK_EQ(hak_load_relaxed(&hak_huge_pieces), HAK_HUGE_PIECES - 2);
  hak_store_relaxed(&hak_huge_pieces, pieces);
  hak_os_leave(before);
  give(0, 8, 1);
}

static bool count_visit(hak_superslab_t *ss, void *ctx) {
  (void)ss;
  return --*(int *)ctx > 0;
}

static void visit__sees_every_superslab_ever_used_until_told_to_stop(void **state) {
  (void)state;
  CHECK(get(5, HAK_SUPERSLAB_SIZE));
  give(0, 5, 1);
  int left = 100;
  hak_region_visit(count_visit, &left);
  CHECK_EQ(left, 95);
  left = 3;
  hak_region_visit(count_visit, &left);
  CHECK_EQ(left, 0);
}

/* Looks at so many: the next one is no better for not having been looked at. */
static void acquire_committed__takes_only_what_it_has_seen_to_fit(void **state) {
  (void)state;
  enum {
    LOOKS = 64,
    MORE = LOOKS + 2
  };
  hak_superslab_t *all[MORE];
  bool zeroed;
  for (int i = 0; i < MORE; i++) {
    CHECK((all[i] = acquire(1, HAK_SUPERSLAB_SIZE, false)) != NULL);
    CHECK(hak_superslab_commit(all[i], 0, 1, 1, false, &zeroed));
  }
  for (int i = 0; i < MORE; i++) hak_region_give(all[i], 1, (uint64_t)i + 1);
  uint32_t in_use = hak_regions.in_use;
  CHECK(hak_region_acquire_committed(hak_lifecycle_os(), &g_heap, 1, HAK_SLAB_SIZE, 2) ==
        NULL);
  CHECK_EQ(hak_regions.in_use, in_use);
  CHECK(hak_region_acquire_committed(hak_lifecycle_os(), &g_heap, 1, HAK_SLAB_SIZE, 1) ==
        all[MORE - 1]);
  CHECK(hak_regions_are_valid());
}

#define R(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)
#define LIMITED(function) \
  cmocka_unit_test_setup_teardown(function, setup_limited, test_over_os_teardown)

TEST_MAIN_FRESH(
    R(acquire__takes_the_lowest_fitting_run_of_the_oldest_region),
    R(acquire__grows_by_a_share_of_what_is_in_use),
    R(acquire__grows_by_the_percentage_that_is_set),
    R(acquire__gets_runs_larger_than_a_region_and_large_alignments),
    R(acquire__without_growth_asks_nobody),
    R(acquire_committed__takes_only_what_it_has_seen_to_fit),
    LIMITED(exhaustion__gives_null_and_ends_when_memory_comes_back),
    cmocka_unit_test_setup_teardown(exhaustion__leaves_room_for_what_covers_a_region,
                                    setup_far, test_over_os_teardown),
    R(failures__leave_regions_as_they_were), R(purge__obeys_time_bytes_and_slabs),
    R(purge__takes_a_superslab_with_huge_pages_as_a_whole),
    R(huge__superslabs_lie_in_so_many_pieces_and_no_more),
    R(visit__sees_every_superslab_ever_used_until_told_to_stop))
