/* tiny_lookup_cache.c - a lookup cache knows what it has learnt, and takes no other
 * address for it. */
#include "support.h"

#include <stdlib.h>

#include "tiny/lookup_cache.h"

static hak_lookup_t *lookup_new(void) {
  hak_lookup_t *lookup = calloc(1, sizeof *lookup);
  CHECK(lookup != NULL);
  hak_lookup_begin(lookup);
  return lookup;
}

static const void *slab_at(uintptr_t number) {
  return (const void *)(number << HAK_SLAB_SHIFT);
}

static void lookup_cache__of_zeroes_knows_no_address(void **state) {
  (void)state;
  hak_lookup_t *lookup = lookup_new();
  hak_list_t *list;
  test_rng_t rng = test_rng(test_seed(), 1);
  for (uintptr_t number = 0; number < 3 * HAK_LOOKUP_PLACES; number++) {
    CHECK(hak_lookup_misses(lookup, slab_at(number), &list));
  }
  for (int i = 0; i < 100000; i++) {
    uintptr_t value = test_random(&rng) >> test_below(&rng, 64);
    CHECK(hak_lookup_misses(lookup, (const void *)value, &list));
  }
  free(lookup);
}

static void lookup_cache__serves_all_of_a_slab_and_nothing_beside_it(void **state) {
  (void)state;
  hak_lookup_t *lookup = lookup_new();
  hak_list_t list = {0}, *found = NULL;
  uintptr_t number = ((uintptr_t)1 << 30) + 77, first = number << HAK_SLAB_SHIFT;
  hak_lookup_learn(lookup, (const void *)(first + 4711), &list);
  for (uintptr_t at = 0; at < HAK_SLAB_SIZE; at += 8) {
    CHECK(!hak_lookup_misses(lookup, (const void *)(first + at), &found));
    CHECK(found == &list);
  }
  CHECK(hak_lookup_misses(lookup, (const void *)(first - 1), &found));
  CHECK(hak_lookup_misses(lookup, (const void *)(first + HAK_SLAB_SIZE), &found));
  for (int bit = 0; bit < 64; bit++) {
    uintptr_t other = first ^ (uintptr_t)1 << bit;
    CHECK_EQ(hak_lookup_misses(lookup, (const void *)other, &found),
             bit >= HAK_SLAB_SHIFT);
  }
  free(lookup);
}

static void lookup_cache__gives_a_place_to_the_last_who_wants_it(void **state) {
  (void)state;
  hak_lookup_t *lookup = lookup_new();
  hak_list_t a = {0}, b = {0}, *found = NULL;
  hak_lookup_learn(lookup, slab_at(5), &a);
  hak_lookup_learn(lookup, slab_at(5 + HAK_LOOKUP_PLACES), &b);
  CHECK(hak_lookup_misses(lookup, slab_at(5), &found));
  CHECK(!hak_lookup_misses(lookup, slab_at(5 + HAK_LOOKUP_PLACES), &found) &&
        found == &b);
  free(lookup);
}

static void lookup_cache__forgets_slabs_that_it_is_told_to_and_no_others(void **state) {
  (void)state;
  hak_lookup_t *lookup = lookup_new();
  hak_list_t list = {0}, *found = NULL;
  uintptr_t base = (uintptr_t)1 << 28; /* its place is the first */
  for (uintptr_t i = 0; i < HAK_LOOKUP_PLACES; i++) {
    hak_lookup_learn(lookup, slab_at(base + i), &list);
  }
  hak_list_t other = {0};
  hak_lookup_redirect(lookup, slab_at(base + 20), 3, &other);
  hak_lookup_redirect(lookup, slab_at(base + 2 * HAK_LOOKUP_PLACES + 30), 3, &other);
  for (uintptr_t i = 0; i < HAK_LOOKUP_PLACES; i++) {
    CHECK(!hak_lookup_misses(lookup, slab_at(base + i), &found));
    CHECK(found == (i >= 20 && i < 23 ? &other : &list));
  }
  hak_lookup_forget(lookup, slab_at(base + 10), 5);
  /* Forgets slabs that share places with those that are known. */
  hak_lookup_forget(lookup, slab_at(base + HAK_LOOKUP_PLACES), HAK_LOOKUP_PLACES);
  for (uintptr_t i = 0; i < HAK_LOOKUP_PLACES; i++) {
    CHECK_EQ(hak_lookup_misses(lookup, slab_at(base + i), &found), i >= 10 && i < 15);
  }
  hak_lookup_clear(lookup);
  for (uintptr_t i = 0; i < HAK_LOOKUP_PLACES; i++) {
    CHECK(hak_lookup_misses(lookup, slab_at(base + i), &found));
    CHECK(hak_lookup_misses(lookup, slab_at(i), &found));
  }
  free(lookup);
}

/* Pages of a cache of which little is known stay as they are. */
static void clear__writes_only_where_something_was_known(void **state) {
  (void)state;
  hak_lookup_t *lookup = lookup_new();
  hak_list_t list = {0}, *found = NULL;
  hak_lookup_learn(lookup, slab_at(5), &list);
  hak_lookup_clear(lookup);
  CHECK(hak_lookup_misses(lookup, slab_at(5), &found));
  for (uintptr_t i = 1; i < HAK_LOOKUP_PLACES; i++) {
    CHECK_EQ(lookup->places[i].number == 0, i != 5);
  }
  free(lookup);
}

TEST_MAIN_FRESH(T(lookup_cache__of_zeroes_knows_no_address),
                T(lookup_cache__serves_all_of_a_slab_and_nothing_beside_it),
                T(lookup_cache__gives_a_place_to_the_last_who_wants_it),
                T(lookup_cache__forgets_slabs_that_it_is_told_to_and_no_others),
                T(clear__writes_only_where_something_was_known))
