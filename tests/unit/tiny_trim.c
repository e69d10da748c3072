/* tiny_trim.c - now and then a thread gives up half of what it holds beyond its use. */
#include "slab_fixture.h"

#include "tiny/capacity.h"
#include "tiny/partial_list.h"
#include "tiny/trim.h"

enum {
  SIZE = 1024, /* 64 blocks a slab, 32 a list of the bin */
  SLABS = 20,
  FREE = 8 /* blocks that are home, of each */
};

static hak_slab_t *g_slabs[SLABS];

static void hold_slabs(void) {
  CHECK_EQ(hak_bin_capacity(&g_cache->bins[g_class]), 32);
  for (size_t i = 0; i < SLABS; i++) {
    g_slabs[i] = test_slab_full();
    test_slab_home(g_slabs[i], 0, FREE);
  }
  CHECK_EQ(test_hold()->slabs, SLABS);
  test_hold()->given = test_hold()->given_before = 0;
}

static int teardown(void **state) {
  for (size_t i = 0; i < SLABS && g_slabs[i] != NULL; i++) {
    test_slab_home(g_slabs[i], FREE, 64);
    g_slabs[i] = NULL;
  }
  return test_slab_teardown(state);
}

/* Allowed are two lists of the bin, 64 blocks: half of what is beyond goes, and one slab
 * more, but not at the first look. */
static void surplus__goes_by_halves_from_the_second_look_on(void **state) {
  (void)state;
  static const uint32_t left[] = {20, 13, 10, 8, 8, 8};
  hold_slabs();
  for (size_t i = 0; i < TEST_COUNT(left); i++) {
    hak_trim_class(g_me, g_cache, g_class);
    CHECK_EQ(test_hold()->slabs, left[i]);
    CHECK_EQ(g_central->listed, SLABS - left[i]);
  }
  CHECK_EQ(test_hold()->surplus_periods, 0);
  CHECK(hak_partial_is_valid(g_central) && hak_hold_is_valid(g_me, g_cache));
}

static void use__of_this_and_the_last_period_allows_twice_as_much(void **state) {
  (void)state;
  hold_slabs();
  test_hold()->given = 48; /* 2 x 48 + 64 are the 160 that are free */
  for (int i = 0; i < 2; i++) {
    hak_trim_class(g_me, g_cache, g_class);
    CHECK_EQ(test_hold()->given, 0);
    CHECK_EQ(test_hold()->given_before, i == 0 ? 48 : 0);
    CHECK_EQ(test_hold()->surplus_periods, 0);
  }
  test_hold()->given = 47;
  hak_trim_class(g_me, g_cache, g_class);
  CHECK_EQ(test_hold()->surplus_periods, 1);
  CHECK_EQ(test_hold()->slabs, SLABS);
}

static void surplus__that_was_used_meanwhile_starts_anew(void **state) {
  (void)state;
  hold_slabs();
  hak_trim_class(g_me, g_cache, g_class);
  CHECK_EQ(test_hold()->surplus_periods, 1);
  test_hold()->given = 1000;
  hak_trim_class(g_me, g_cache, g_class);
  CHECK_EQ(test_hold()->surplus_periods, 0);
  hak_trim_class(g_me, g_cache, g_class); /* the last period still counts */
  hak_trim_class(g_me, g_cache, g_class);
  CHECK_EQ(test_hold()->slabs, SLABS);
  hak_trim_class(g_me, g_cache, g_class);
  CHECK_EQ(test_hold()->slabs, 13);
}

static void hint__is_made_new_for_this_class_and_each_16th_time_for_all(void **state) {
  (void)state;
  uint32_t other = hak_class_of(64), none = hak_class_of(3000);
  hak_central_t *others = &g_cache->store->centrals[other];
  hak_central_t *unused = &g_cache->store->centrals[none];
  hold_slabs();
  void *block = hak_alloc(64); /* keeps its slab */
  CHECK_EQ(hak_load_relaxed(hak_store_spans(g_cache->store, other)), 1);
  CHECK_EQ(hak_load_relaxed(hak_store_spans(g_cache->store, none)), 0);
  g_me->trims = 0;
  for (int i = 1; i <= 17; i++) {
    hak_store_relaxed(&g_central->hint, 0);
    hak_store_relaxed(&others->hint, -1);
    hak_trim_class(g_me, g_cache, g_class);
    CHECK_EQ(hak_load_relaxed(&g_central->hint), HAK_TRANSFER_PLACES);
    CHECK_EQ(hak_load_relaxed(&others->hint), i == 16 ? HAK_TRANSFER_PLACES : -1);
    CHECK_EQ(hak_load_relaxed(&unused->hint), 0);
  }
  hak_store_relaxed(&g_central->hint, 3); /* it names a place: nobody has to look */
  hak_trim_class(g_me, g_cache, g_class);
  CHECK_EQ(hak_load_relaxed(&g_central->hint), 3);
  hak_free(block);
}

static void look_at_bin(void) {
  g_me->looks = HAK_TRIM_CALLS * g_class - 1;
  hak_trim_bin(g_me, g_cache);
}

/* Refills of a thread that uses many classes would else empty bins that it comes back to.
 */
static void bin__is_looked_at_in_one_call_of_16(void **state) {
  (void)state;
  const hak_bin_t *bin = &g_cache->bins[g_class];
  hak_free(hak_alloc(SIZE)); /* the class begins */
  test_hold()->taken = 10;
  CHECK(hak_capacity_grow(g_cache, g_class) > 0);
  uint32_t grown = bin->capacity;
  test_hold()->seen = 0;
  g_me->looks = HAK_TRIM_CALLS * g_class;
  for (int i = 1; i < HAK_TRIM_CALLS; i++) hak_trim_bin(g_me, g_cache);
  CHECK_EQ(test_hold()->seen, 0);
  look_at_bin();
  CHECK(test_hold()->seen != 0 && bin->capacity == grown);
  look_at_bin(); /* it was not touched between the two */
  CHECK_EQ(bin->capacity, test_hold()->capacity_least);
}

#define H(function) TEST_OF_CLASS_ENDED(function, SIZE, teardown)

TEST_MAIN_FRESH(H(surplus__goes_by_halves_from_the_second_look_on),
                H(use__of_this_and_the_last_period_allows_twice_as_much),
                H(surplus__that_was_used_meanwhile_starts_anew),
                H(hint__is_made_new_for_this_class_and_each_16th_time_for_all),
                H(bin__is_looked_at_in_one_call_of_16))
