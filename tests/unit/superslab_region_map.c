/* superslab_region_map.c - which SuperSlabs of a region are free, against an array of
 * bools. The region is the test's own and has no records. */
#include "support.h"

#include <stdlib.h>

#include "superslab/region_map.h"

enum {
  COUNT = 150 /* SuperSlabs: two words of the map and a part of a third */
};

static hak_region_t *g_region;
static bool g_free[COUNT];

/* All are free; the first lies `first` SuperSlabs behind a multiple of 1 GiB. */
static int make_region(size_t first) {
  g_region = calloc(1, sizeof *g_region + 3 * sizeof g_region->free[0]);
  CHECK(g_region != NULL);
  g_region->base = (char *)(0x100000000000 + first * HAK_SUPERSLAB_SIZE);
  g_region->count = g_region->free_count = COUNT;
  for (uint32_t i = 0; i < COUNT; i++) {
    hak_region_set_free(g_region, i, true);
    g_free[i] = true;
  }
  return 0;
}

static int setup(void **state) {
  (void)state;
  return make_region(0);
}

static int teardown(void **state) {
  (void)state;
  free(g_region);
  return 0;
}

static void change(uint32_t at, uint32_t count, bool take) {
  hak_lock_acquire(&hak_regions.lock);
  uint32_t in_use = hak_regions.in_use;
  if (take) {
    hak_region_take_run_locked(g_region, at, count);
  } else {
    hak_region_untake_run_locked(g_region, at, count);
  }
  CHECK_EQ(hak_regions.in_use, take ? in_use + count : in_use - count);
  hak_lock_release(&hak_regions.lock);
  for (uint32_t i = at; i < at + count; i++) g_free[i] = !take;
}

/* The lowest run at the alignment, one place after the other; COUNT if there is none. */
static uint32_t find(uint32_t count, size_t alignment) {
  for (uint32_t at = 0; at + count <= COUNT; at++) {
    if ((uintptr_t)(g_region->base + at * HAK_SUPERSLAB_SIZE) % alignment != 0) continue;
    uint32_t n = 0;
    while (n < count && g_free[at + n]) n++;
    if (n == count) return at;
  }
  return COUNT;
}

static void check_find(uint32_t count, size_t alignment) {
  CHECK_EQ(hak_region_find_run(g_region, count, alignment), find(count, alignment));
}

static void bit__of_one_superslab_is_set_and_no_other(void **state) {
  (void)state;
  static const uint32_t at[] = {0, 1, 63, 64, 127, 128, COUNT - 1};
  for (size_t k = 0; k < TEST_COUNT(at); k++) {
    hak_region_set_free(g_region, at[k], false);
    for (uint32_t i = 0; i < COUNT; i++) {
      CHECK_EQ(hak_region_is_free(g_region, i), i != at[k]);
    }
    hak_region_set_free(g_region, at[k], true);
    CHECK(hak_region_is_free(g_region, at[k]));
  }
}

static void run__is_the_lowest_that_fits_across_words_of_the_map(void **state) {
  (void)state;
  CHECK_EQ(hak_region_find_run(g_region, COUNT, HAK_SUPERSLAB_SIZE), 0);
  CHECK_EQ(hak_region_find_run(g_region, COUNT + 1, HAK_SUPERSLAB_SIZE), COUNT);
  change(0, 60, true);
  change(64, 1, true);
  CHECK_EQ(hak_region_find_run(g_region, 4, HAK_SUPERSLAB_SIZE), 60);
  CHECK_EQ(hak_region_find_run(g_region, 5, HAK_SUPERSLAB_SIZE), 65);
  CHECK_EQ(hak_region_find_run(g_region, 85, HAK_SUPERSLAB_SIZE), 65);
  CHECK_EQ(hak_region_find_run(g_region, 86, HAK_SUPERSLAB_SIZE), COUNT);
  change(64, 1, false);
  CHECK_EQ(hak_region_find_run(g_region, 86, HAK_SUPERSLAB_SIZE), 60);
}

static void run__is_aligned_in_memory_and_not_in_the_region(void **state) {
  (void)state;
  teardown(NULL);
  make_region(3);
  CHECK_EQ(hak_region_find_run(g_region, 1, HAK_SUPERSLAB_SIZE), 0);
  CHECK_EQ(hak_region_find_run(g_region, 1, 2 * HAK_SUPERSLAB_SIZE), 1);
  CHECK_EQ(hak_region_find_run(g_region, 1, 8 * HAK_SUPERSLAB_SIZE), 5);
  CHECK_EQ(hak_region_find_run(g_region, COUNT - 5, 8 * HAK_SUPERSLAB_SIZE), 5);
  CHECK_EQ(hak_region_find_run(g_region, COUNT - 4, 8 * HAK_SUPERSLAB_SIZE), COUNT);
  CHECK_EQ(hak_region_find_run(g_region, 1, 512 * HAK_SUPERSLAB_SIZE), COUNT);
}

static void taken_run__is_counted_and_comes_back(void **state) {
  (void)state;
  change(10, 100, true);
  CHECK_EQ(g_region->free_count, COUNT - 100);
  CHECK(hak_region_is_free(g_region, 9) && !hak_region_is_free(g_region, 10));
  CHECK(!hak_region_is_free(g_region, 109) && hak_region_is_free(g_region, 110));
  change(50, 20, false);
  CHECK_EQ(g_region->free_count, COUNT - 80);
  CHECK_EQ(hak_region_find_run(g_region, 20, HAK_SUPERSLAB_SIZE), 50);
  change(10, 40, false);
  change(70, 40, false);
  CHECK_EQ(g_region->free_count, COUNT);
}

static void changes__in_any_order_agree_with_an_array(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 1);
  for (size_t n = 0; n < test_scale(20000); n++) {
    uint32_t at = (uint32_t)test_below(&rng, COUNT);
    uint32_t most = 0, count;
    while (at + most < COUNT && g_free[at + most] == g_free[at]) most++;
    count = 1 + (uint32_t)test_below(&rng, most);
    change(at, count, g_free[at]);
    for (uint32_t wanted = 1; wanted <= 64; wanted *= 2) {
      check_find(wanted, HAK_SUPERSLAB_SIZE);
      check_find(wanted, wanted * HAK_SUPERSLAB_SIZE);
    }
  }
}

#define R(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(R(bit__of_one_superslab_is_set_and_no_other),
                R(run__is_the_lowest_that_fits_across_words_of_the_map),
                R(run__is_aligned_in_memory_and_not_in_the_region),
                R(taken_run__is_counted_and_comes_back),
                R(changes__in_any_order_agree_with_an_array))
