/* pool_large.c - blocks of whole OS pages: spans, runs and mappings, and how they
 * change their sizes. */
#include "pool_fixture.h"

#include "heap/lifecycle.h"
#include "pages/idle.h"
#include "pool/large.h"
#include "superslab/region.h"
#include "superslab/tails.h"

static int setup(void **state) {
  (void)state;
  test_over_os(0);
  test_pool_begin();
  return 0;
}

static int teardown(void **state) {
  CHECK(hak_pool_is_valid(&g_pool) && hak_regions_are_valid());
  CHECK_EQ(hak_load_relaxed(&g_pool.taken), 0);
  CHECK_EQ(hak_load_relaxed(&g_pool.run_bytes), 0);
  CHECK_EQ(hak_load_relaxed(&g_pool.tail_bytes), 0);
  return test_over_os_teardown(state);
}

static hak_place_t place_of(const void *block) {
  hak_place_t place = hak_locate((uintptr_t)block);
  CHECK(place.start == (const char *)block);
  CHECK_EQ(place.cls, HAK_CLASS_LARGE);
  return place;
}

static char *get(size_t size, size_t alignment) {
  bool zeroed = false;
  char *block = hak_large_alloc(&g_pool, size, alignment, false, &zeroed);
  CHECK(block != NULL && hak_is_aligned((uintptr_t)block, alignment));
  hak_place_t place = place_of(block);
  size_t usable = hak_large_usable(&place);
  CHECK_EQ(usable, hak_align_up(size, 4096));
  CHECK_EQ(hak_large_good_size(hak_lifecycle_os(), size), usable);
  if (zeroed) CHECK(test_is_zero(block, usable));
  test_fill_sparse(block, usable, size);
  return block;
}

static void put(void *block) {
  hak_place_t place = place_of(block);
  CHECK(hak_large_claim(&place));
  hak_large_free(&g_pool, &place);
  CHECK_EQ(hak_locate((uintptr_t)block).cls, HAK_CLASS_NONE);
  CHECK(!hak_large_claim(&place));
}

static hak_extent_kind_t kind_of(const void *block) {
  hak_place_t place = place_of(block);
  return (hak_extent_kind_t)hak_load_relaxed(&place.extent->kind);
}

static void alloc__chooses_spans_runs_and_mappings_by_size(void **state) {
  (void)state;
  static const struct {
    size_t size;
    hak_extent_kind_t kind;
  } cases[] = {{32 * KIB + 1, HAK_EXTENT_SLABS},
               {MIB, HAK_EXTENT_SLABS},
               {MIB + 1, HAK_EXTENT_RUN},
               {5 * MIB, HAK_EXTENT_RUN},
               {32 * MIB, HAK_EXTENT_RUN},
               {32 * MIB + 1, HAK_EXTENT_MAPPING},
               {50 * MIB + 9999, HAK_EXTENT_MAPPING}};
  char *blocks[TEST_COUNT(cases)];
  for (size_t i = 0; i < TEST_COUNT(cases); i++) {
    blocks[i] = get(cases[i].size, 64 * KIB);
    CHECK_EQ(kind_of(blocks[i]), cases[i].kind);
    /* Interior addresses lead to the same block. */
    hak_place_t inside = hak_locate((uintptr_t)blocks[i] + cases[i].size - 1);
    CHECK(inside.start == blocks[i]);
    CHECK_EQ(hak_large_usable(&inside), hak_align_up(cases[i].size, 4096));
  }
  for (size_t i = 0; i < TEST_COUNT(cases); i++) {
    size_t usable = hak_align_up(cases[i].size, 4096);
    CHECK(test_verify_sparse(blocks[i], usable, cases[i].size));
    put(blocks[i]);
  }
}

static void alloc__keeps_every_alignment(void **state) {
  (void)state;
  char *blocks[15];
  size_t n = 0;
  for (size_t alignment = 4096; alignment <= 64 * MIB; alignment *= 2) {
    blocks[n++] = get(100 * KIB, alignment);
  }
  while (n > 0) put(blocks[--n]);
}

static void alloc__commits_no_more_than_its_pages(void **state) {
  (void)state;
  uint64_t before = hak_load_relaxed(&hak_slots_committed);
  char *span = get(100 * KIB, 4096);
  CHECK_EQ(hak_load_relaxed(&hak_slots_committed) - before, 100 * KIB);
  put(span);
}

static void alloc__that_the_os_refuses_gives_null_and_takes_nothing(void **state) {
  (void)state;
  const size_t sizes[] = {100 * KIB, 5 * MIB, 40 * MIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *block = NULL;
    for (uint64_t nth = 1; block == NULL; nth++) {
      bool zeroed;
      uint64_t failures = g_os.failures;
      test_os_fail(&g_os, TEST_FAIL_NTH, TEST_OS_ALL_KINDS, nth);
      block = hak_large_alloc(&g_pool, sizes[i], 4096, false, &zeroed);
      test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
      CHECK(block != NULL || g_os.failures > failures);
      if (block == NULL) CHECK_EQ(hak_regions.in_use, 0);
      CHECK(hak_pool_is_valid(&g_pool) && hak_regions_are_valid());
    }
    put(block);
  }
}

static void alloc__of_more_than_there_are_addresses_is_refused(void **state) {
  (void)state;
  bool zeroed;
  for (size_t less = 0; less < 4096; less += 511) {
    size_t size = test_opaque(SIZE_MAX - less);
    CHECK(hak_large_alloc(&g_pool, size, 1, false, &zeroed) == NULL);
    CHECK(hak_large_map(&g_pool, size, 1, false, &zeroed) == NULL);
  }
}

/* --- resizing ------------------------------------------------------------------------
 */

static size_t resize(char *block, size_t least, size_t want) {
  hak_place_t place = place_of(block);
  size_t usable = hak_large_resize(&g_pool, &place, least, want);
  place = place_of(block);
  if (usable != 0) CHECK_EQ(hak_large_usable(&place), usable);
  return usable;
}

static void span__grows_and_shrinks_where_it_is(void **state) {
  (void)state;
  char *block = get(100 * KIB, 4096);
  size_t kept = 100 * KIB;
  CHECK_EQ(resize(block, 900 * KIB, 900 * KIB), 900 * KIB);
  CHECK(test_verify_sparse(block, kept, kept));
  CHECK_EQ(resize(block, MIB + 1, MIB + 1), 0); /* no span is as large */
  CHECK_EQ(resize(block, 900 * KIB, 4 * MIB), MIB);
  CHECK_EQ(hak_load_relaxed(&g_pool.taken), 16);
  CHECK_EQ(resize(block, 10 * KIB, 10 * KIB), 12 * KIB);
  CHECK_EQ(hak_load_relaxed(&g_pool.taken), 1);
  CHECK_EQ(hak_locate((uintptr_t)block + 64 * KIB).cls, HAK_CLASS_NONE);
  char *behind = get(64 * KIB, 4096); /* the slab behind it */
  CHECK(behind == block + 64 * KIB);
  CHECK_EQ(resize(block, 65 * KIB, 65 * KIB), 0);
  CHECK_EQ(resize(block, 20 * KIB, 900 * KIB), 64 * KIB);
  put(behind);
  put(block);
}

static void resize__to_more_than_there_are_addresses_changes_nothing(void **state) {
  (void)state;
  const size_t sizes[] = {100 * KIB, 3 * MIB, 40 * MIB}; /* a span, a run, a mapping */
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *block = get(sizes[i], 1);
    for (size_t less = 0; less < 4096; less += 511) {
      size_t most = test_opaque(SIZE_MAX - less);
      hak_place_t place = place_of(block);
      bool lost;
      CHECK_EQ(resize(block, most, most), 0);
      CHECK_EQ(resize(block, sizes[i], most), 0);
      CHECK(hak_large_remap(&g_pool, &place, most, &lost) == NULL && !lost);
    }
    hak_place_t place = place_of(block);
    CHECK_EQ(hak_large_usable(&place), sizes[i]);
    CHECK(test_verify_sparse(block, sizes[i], sizes[i]));
    put(block);
  }
}

static void span__that_may_not_grow_leaves_the_slots_behind_it(void **state) {
  (void)state;
  char *block = get(100 * KIB, 1);
  uint64_t taken = hak_load_relaxed(&g_pool.taken);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_COMMIT, 1);
  CHECK_EQ(resize(block, 300 * KIB, 300 * KIB), 0);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_load_relaxed(&g_pool.taken), taken);
  CHECK_EQ(resize(block, 300 * KIB, 300 * KIB), 300 * KIB);
  put(block);
}

static void run__shrinks_and_grows_within_its_superslabs(void **state) {
  (void)state;
  char *block = get(7 * MIB, 4096);
  CHECK_EQ(hak_regions.in_use, 4);
  CHECK_EQ(resize(block, 8 * MIB, 8 * MIB), 8 * MIB);
  CHECK_EQ(resize(block, 8 * MIB + 1, 8 * MIB + 1), 0);
  CHECK_EQ(resize(block, 3 * MIB, 3 * MIB), 3 * MIB);
  CHECK_EQ(hak_regions.in_use, 2);
  CHECK(test_verify_sparse_prefix(block, 7 * MIB, 3 * MIB, 7 * MIB));
  CHECK_EQ(hak_locate((uintptr_t)block + 5 * MIB).cls, HAK_CLASS_NONE);
  CHECK_EQ(resize(block, 3 * MIB, 20 * MIB), 4 * MIB);
  put(block);
  CHECK_EQ(hak_regions.in_use, 0);
}

/* --- pages behind the end of blocks --------------------------------------------------
 */

enum {
  RUNS = 24
};

/* Leaves SuperSlabs behind all of whose pages are there. */
static void leave_pages(void) {
  char *blocks[RUNS];
  for (int i = 0; i < RUNS; i++) blocks[i] = get(4 * MIB, 4096);
  for (int i = 0; i < RUNS; i++) put(blocks[i]);
}

static uint64_t in_use(void) {
  return hak_load_relaxed(&hak_slots_committed) - hak_load_relaxed(&hak_slots_retained);
}

/* It was no mistake to give back what was needed again. */
static void forget_regret(void) { CHECK_EQ(hak_idle_allowance(UINT64_MAX), 0); }

static void tails__that_are_many_are_given_back(void **state) {
  (void)state;
  const size_t sizes[] = {MIB + 64 * KIB, 3 * MIB / 2, 2 * MIB + 64 * KIB, 3 * MIB};
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    leave_pages();
    forget_regret();
    char *blocks[RUNS];
    for (int i = 0; i < RUNS; i++) blocks[i] = get(sizes[k], 4096);
    size_t live = RUNS * sizes[k];
    CHECK(in_use() >= live && in_use() <= live + live / 8 + HAK_TAILS_LEAST);
    CHECK(hak_load_relaxed(&g_pool.tail_bytes) <= HAK_TAILS_LEAST + live / 16);
    for (int i = 0; i < RUNS; i++) {
      CHECK(test_verify_sparse(blocks[i], sizes[k], sizes[k]));
      put(blocks[i]);
    }
  }
}

/* Blocks of many sizes in slots that change: what goes behind one is another one's. */
static void tails__that_other_blocks_need_again_are_kept(void **state) {
  (void)state;
  enum {
    ROUNDS = 400,
    WARM_UP = 200
  };
  test_rng_t rng = test_rng(test_seed(), 0);
  char *blocks[RUNS] = {NULL};
  uint64_t purged = 0, purges[2] = {0};
  for (int i = 0; i < ROUNDS; i++) {
    char **block = &blocks[test_below(&rng, RUNS)];
    size_t size = MIB + (size_t)test_below(&rng, 3 * MIB / 4096) * 4096;
    if (*block != NULL) put(*block);
    *block = get(size, 4096);
    uint64_t now = g_os.calls[TEST_OS_PURGE];
    purges[i >= WARM_UP] += now - purged;
    purged = now;
  }
  CHECK_MSG(purges[1] * 2 <= purges[0], "%llu purges, then %llu",
            (unsigned long long)purges[0], (unsigned long long)purges[1]);
  for (int i = 0; i < RUNS; i++) {
    if (blocks[i] != NULL) put(blocks[i]);
  }
}

static void tails__of_spans_are_given_back_as_well(void **state) {
  (void)state;
  enum {
    SPANS = 600
  };
  static char *blocks[SPANS];
  leave_pages();
  for (int i = 0; i < SPANS; i++) blocks[i] = get(68 * KIB, 4096);
  size_t live = SPANS * 68 * KIB;
  CHECK(in_use() <= live + live / 4 + HAK_TAILS_LEAST);
  for (int i = 0; i < SPANS; i++) put(blocks[i]);
}

static void tails__of_large_blocks_in_turn_cost_no_call(void **state) {
  (void)state;
  const size_t sizes[] = {4 * MIB, 3 * MIB, 2 * MIB + 64 * KIB, 7 * MIB, 3 * MIB / 2};
  put(get(8 * MIB, 4096));
  uint64_t calls = test_os_calls(&g_os);
  for (int i = 0; i < 50; i++) put(get(sizes[(size_t)i % TEST_COUNT(sizes)], 4096));
  CHECK_EQ(test_os_calls(&g_os), calls);
}

static void shrinking__gives_the_pages_of_spans_and_runs_back(void **state) {
  (void)state;
  char *run = get(4 * MIB, 4096), *span = get(128 * KIB, 4096);
  uint64_t purges = g_os.calls[TEST_OS_PURGE];
  CHECK_EQ(resize(run, 4 * MIB - 128 * KIB, 4 * MIB - 128 * KIB), 4 * MIB - 128 * KIB);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], purges); /* so little may stay */
  CHECK_EQ(resize(run, 2 * MIB + 4096, 2 * MIB + 4096), 2 * MIB + 4096);
  CHECK_EQ(resize(span, 68 * KIB, 68 * KIB), 68 * KIB);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], purges + 2);
  CHECK_EQ(in_use(), 2 * MIB + 4096 + 68 * KIB);
  CHECK_EQ(resize(run, 4 * MIB, 4 * MIB), 4 * MIB);
  CHECK(test_verify_sparse_prefix(run, 4 * MIB, 2 * MIB + 4096, 4 * MIB));
  put(run);
  put(span);
}

/* The first round's purge is regretted; the ones after it cost nothing. */
static void shrinking__that_is_needed_again_keeps_its_pages(void **state) {
  (void)state;
  char *run = get(4 * MIB, 4096), *span = get(128 * KIB, 4096);
  uint64_t calls = 0;
  for (int i = 0; i < 10; i++) {
    CHECK_EQ(resize(run, 2 * MIB + 4096, 2 * MIB + 4096), 2 * MIB + 4096);
    CHECK_EQ(resize(run, 4 * MIB, 4 * MIB), 4 * MIB);
    CHECK_EQ(resize(span, 68 * KIB, 68 * KIB), 68 * KIB);
    CHECK_EQ(resize(span, 128 * KIB, 128 * KIB), 128 * KIB);
    if (i == 0) {
      CHECK_EQ(g_os.calls[TEST_OS_PURGE],
               1); /* the span's is within what the run's was */
      calls = test_os_calls(&g_os);
    }
  }
  CHECK_EQ(test_os_calls(&g_os), calls);
  put(run);
  put(span);
}

static void remap__moves_mappings_only(void **state) {
  (void)state;
  char *span = get(100 * KIB, 4096), *run = get(3 * MIB, 4096);
  hak_place_t place = place_of(span);
  bool lost;
  CHECK(hak_large_remap(&g_pool, &place, 50 * MIB, &lost) == NULL);
  place = place_of(run);
  CHECK(hak_large_remap(&g_pool, &place, 50 * MIB, &lost) == NULL);
  bool zeroed;
  char *mapping = hak_large_map(&g_pool, 2 * MIB, 4096, false, &zeroed);
  CHECK(mapping != NULL && zeroed);
  CHECK_EQ(kind_of(mapping), HAK_EXTENT_MAPPING);
  test_fill_sparse(mapping, 2 * MIB, 5);
  place = place_of(mapping);
  char *moved = hak_large_remap(&g_pool, &place, 50 * MIB + 1, &lost);
  CHECK(moved != NULL);
  CHECK(test_verify_sparse(moved, 2 * MIB, 5));
  place = place_of(moved);
  CHECK_EQ(hak_large_usable(&place), 50 * MIB + 4096);
  CHECK(hak_large_remap(&g_pool, &place, SIZE_MAX, &lost) == NULL);
  put(moved);
  put(span);
  put(run);
}

/* --- claims ------------------------------------------------------------------------ */

static void claim__is_had_once_and_takes_the_block_from_all_others(void **state) {
  (void)state;
  const size_t sizes[] = {100 * KIB, 5 * MIB, 40 * MIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *block = get(sizes[i], 4096);
    hak_place_t first = place_of(block), second = first;
    CHECK(hak_large_claim(&first));
    uint64_t taken = hak_load_relaxed(&g_pool.taken), in_use = hak_regions.in_use;
    CHECK(!hak_large_claim(&second));
    CHECK_EQ(hak_locate((uintptr_t)block).cls, HAK_CLASS_NONE);
    CHECK_EQ(hak_load_relaxed(&g_pool.taken), taken);
    CHECK_EQ(hak_regions.in_use, in_use);
    hak_large_free(&g_pool, &first);
    CHECK(!hak_large_claim(&second));
    char *again = get(sizes[i], 4096);
    put(again);
  }
}

static uint64_t committed(void) { return hak_load_relaxed(&hak_slots_committed); }

/* A SuperSlab that is not to have huge pages gets those that the block needs. */
static void run__that_has_small_pages_has_no_more_than_its_bytes(void **state) {
  (void)state;
  char *block = get(2 * MIB + 64 * KIB, 4096);
  CHECK_EQ(committed(), 2 * MIB + 64 * KIB);
  put(block);
}

/* It could pay for what its SuperSlabs bring along, and not for what they lack, not even
 * when what lies behind its end goes. */
static void run__that_the_budget_refuses_takes_nothing(void **state) {
  (void)state;
  const size_t size = 2 * MIB + 64 * KIB, records = 2 * sizeof(hak_superslab_t);
  hak_superslab_t *ss = hak_region_acquire(hak_lifecycle_os(), 2, HAK_SUPERSLAB_SIZE,
                                           HAK_EXTENT_RUN, NULL, false);
  bool zeroed;
  CHECK(ss != NULL && hak_superslab_commit(ss + 1, 0, HAK_SUPERSLAB_SLABS,
                                           HAK_SUPERSLAB_SIZE / 4096, false, &zeroed));
  hak_region_give(ss, 2, hak_clock_cached());
  for (size_t more = 0; more <= 64 * KIB; more += 32 * KIB) {
    hak_budget_set_limits(&g_pool.budget, 0, 2 * MIB + records + more);
    char *block = hak_large_alloc(&g_pool, size, 4096, false, &zeroed);
    CHECK_EQ(block != NULL, more == 64 * KIB);
    if (block != NULL) test_fill_sparse(block, size, 1);
    if (block != NULL) put(block);
    CHECK_EQ(hak_load_relaxed(&g_pool.budget.charged), 0);
  }
}

/* Where more is likely to follow, what is asked for is asked for all the same. */
static void growing__blocks_are_as_they_were_asked_for(void **state) {
  (void)state;
  bool zeroed;
  CHECK(hak_large_alloc_growing(&g_pool, test_opaque(SIZE_MAX), 1, false, &zeroed) ==
        NULL);
  CHECK(hak_large_alloc_growing(&g_pool, 128 * KIB, 1, true, &zeroed) == NULL);
  CHECK_EQ(hak_load_relaxed(&g_pool.superslabs), 0);
  char *first = get(64 * KIB, 4096);
  for (size_t alignment = 64 * KIB; alignment <= MIB; alignment *= 2) {
    char *block = hak_large_alloc_growing(&g_pool, 64 * KIB, alignment, false, &zeroed);
    CHECK(block != NULL && hak_is_aligned((uintptr_t)block, alignment));
    put(block);
  }
  put(first);
}

/* A hole that is too narrow for that is left to others. */
static void growing__blocks_have_room_behind_them(void **state) {
  (void)state;
  bool zeroed;
  char *first = get(64 * KIB, 4096), *hole = get(128 * KIB, 4096);
  char *last = get(64 * KIB, 4096);
  put(hole);
  char *block = hak_large_alloc_growing(&g_pool, 64 * KIB, 1, false, &zeroed);
  CHECK(block != NULL && block != hole);
  test_fill_sparse(block, 64 * KIB, 64 * KIB);
  char *later = get(64 * KIB, 4096);
  CHECK_EQ(resize(block, 512 * KIB, 512 * KIB), 512 * KIB);
  CHECK(test_verify_sparse_prefix(block, 64 * KIB, 64 * KIB, 64 * KIB));
  put(later);
  put(block);
  put(last);
  put(first);
}

static void span__that_gets_no_pages_stays_what_it_is(void **state) {
  (void)state;
  char *block = get(100 * KIB, 4096), *behind = get(64 * KIB, 4096);
  uint64_t taken = hak_load_relaxed(&g_pool.taken);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  CHECK_EQ(resize(block, 120 * KIB, 120 * KIB), 0); /* in slabs that it has */
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(hak_pool_is_valid(&g_pool));
  CHECK_EQ(hak_load_relaxed(&g_pool.taken), taken);
  hak_place_t place = place_of(block);
  CHECK_EQ(hak_large_usable(&place), 100 * KIB);
  CHECK(test_verify_sparse(block, 100 * KIB, 100 * KIB));
  CHECK(test_verify_sparse(behind, 64 * KIB, 64 * KIB));
  CHECK_EQ(resize(block, 120 * KIB, 120 * KIB), 120 * KIB);
  put(behind);
  put(block);
}

/* Pages of a program's hooks may not read as zero when they come back. */
static void renew__is_for_memory_of_the_systems(void **state) {
  (void)state;
  char *block = get(MIB, 4096);
  hak_place_t place = place_of(block);
  uint64_t before = g_os.calls[TEST_OS_PURGE];
  CHECK(!hak_large_renew(&place, 0));
  test_set(HAK_OPTION_ZERO_PURGE_BYTES, (int64_t)MIB); /* the system's would go */
  CHECK(!hak_large_renew(&place, 0));
  test_set(HAK_OPTION_ZERO_PURGE_BYTES, 8 * (int64_t)MIB);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], before);
  put(block);
}

/* Only what grows again was given back by mistake. */
static void run__that_shrinks_twice_regrets_nothing(void **state) {
  (void)state;
  char *block = get(8 * MIB, 4096);
  for (size_t size = 7 * MIB + MIB / 4; size > 2 * MIB; size -= 2 * MIB) {
    hak_place_t place = place_of(block);
    CHECK_EQ(hak_large_resize(&g_pool, &place, size, size), size);
    CHECK(!hak_large_grows_again(1));
  }
  put(block);
}

#define L(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(L(alloc__chooses_spans_runs_and_mappings_by_size),
                L(alloc__keeps_every_alignment), L(alloc__commits_no_more_than_its_pages),
                L(alloc__that_the_os_refuses_gives_null_and_takes_nothing),
                L(alloc__of_more_than_there_are_addresses_is_refused),
                L(span__grows_and_shrinks_where_it_is),
                L(resize__to_more_than_there_are_addresses_changes_nothing),
                L(span__that_may_not_grow_leaves_the_slots_behind_it),
                L(run__shrinks_and_grows_within_its_superslabs),
                L(tails__that_are_many_are_given_back),
                L(tails__that_other_blocks_need_again_are_kept),
                L(tails__of_spans_are_given_back_as_well),
                L(tails__of_large_blocks_in_turn_cost_no_call),
                L(shrinking__gives_the_pages_of_spans_and_runs_back),
                L(shrinking__that_is_needed_again_keeps_its_pages),
                L(remap__moves_mappings_only),
                L(run__that_has_small_pages_has_no_more_than_its_bytes),
                L(run__that_the_budget_refuses_takes_nothing),
                L(growing__blocks_are_as_they_were_asked_for),
                L(growing__blocks_have_room_behind_them),
                L(span__that_gets_no_pages_stays_what_it_is),
                L(renew__is_for_memory_of_the_systems),
                L(run__that_shrinks_twice_regrets_nothing),
                L(claim__is_had_once_and_takes_the_block_from_all_others))
