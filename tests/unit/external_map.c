/* external_map.c - chunks in two bits per granule, held against a plain list. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "external/external_map.h"

enum {
  GRANULES = 4000
};

static hak_atomic_u64_t g_words[2 * (GRANULES / 64 + 1)];
static hak_external_map_t g_map;

static void begin(size_t granules) {
  memset(g_words, 0, sizeof g_words);
  g_map = (hak_external_map_t){g_words, g_words + hak_external_map_words(granules),
                               granules, HAK_GRANULE_SHIFT};
  hak_external_map_init(&g_map);
  CHECK(hak_external_map_is_valid(&g_map));
}

static void check_chunk(size_t at, size_t length) {
  CHECK(hak_external_map_is_start(&g_map, at));
  CHECK_EQ(hak_external_map_length(&g_map, at), length);
  CHECK_EQ(hak_external_map_before(&g_map, at + length), at);
  CHECK_EQ(hak_external_map_around(&g_map, at), at);
  CHECK_EQ(hak_external_map_around(&g_map, at + length / 2), at);
  CHECK_EQ(hak_external_map_around(&g_map, at + length - 1), at);
}

static void init__is_one_free_chunk(void **state) {
  (void)state;
  for (size_t granules = 1; granules <= 300; granules++) {
    begin(granules);
    check_chunk(0, granules);
    CHECK(!hak_external_map_is_used(&g_map, 0));
    CHECK(hak_external_map_is_used(&g_map, granules));
  }
}

static void length__is_right_for_every_place_and_length(void **state) {
  (void)state;
  for (size_t at = 0; at < 130; at++) {
    for (size_t length = 1; length < 400; length++) {
      begin(GRANULES);
      if (at > 0) hak_external_map_set(&g_map, 0, at, true);
      hak_external_map_set(&g_map, at + length, GRANULES - at - length, true);
      hak_external_map_set(&g_map, at, length, false);
      check_chunk(at, length);
      if (at > 0) check_chunk(0, at);
      check_chunk(at + length, GRANULES - at - length);
      CHECK(!hak_external_map_is_used(&g_map, at));
    }
  }
}

/* Chunks split and join at random; a list of what starts where says what is right. */
static void chunks__split_and_join_as_a_plain_list_does(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 31);
  static bool starts[GRANULES + 1];
  memset(starts, 0, sizeof starts);
  starts[0] = starts[GRANULES] = true;
  begin(GRANULES);
  for (size_t n = 0; n < test_scale(20000); n++) {
    size_t at = (size_t)test_below(&rng, GRANULES), from = at, end = at + 1;
    while (!starts[from]) from--;
    while (!starts[end]) end++;
    check_chunk(from, end - from);
    if (from != at && test_below(&rng, 2) == 0) {
      hak_external_map_set(&g_map, at, end - at, true);
      hak_external_map_set(&g_map, from, at - from, true);
      starts[at] = true;
    } else if (end < GRANULES) {
      size_t further = end + 1;
      while (!starts[further]) further++;
      hak_external_map_join(&g_map, end);
      hak_external_map_set(&g_map, from, further - from, true);
      starts[end] = false;
    }
  }
  for (size_t at = 0; at < GRANULES; at++) {
    CHECK_EQ(hak_external_map_is_start(&g_map, at), starts[at]);
  }
}

static void is_valid__sees_a_start_that_is_missing(void **state) {
  (void)state;
  begin(1000);
  hak_external_map_set(&g_map, 500, 500, true);
  hak_external_map_set(&g_map, 0, 500, true);
  CHECK(hak_external_map_is_valid(&g_map));
  hak_external_map_join(&g_map, 500);
  CHECK(!hak_external_map_is_valid(&g_map));
}

static void is_valid__sees_free_neighbours(void **state) {
  (void)state;
  begin(1000);
  hak_external_map_set(&g_map, 10, 990, false);
  hak_external_map_set(&g_map, 0, 10, false);
  CHECK(!hak_external_map_is_valid(&g_map));
}

TEST_MAIN_FRESH(T(init__is_one_free_chunk),
                T(length__is_right_for_every_place_and_length),
                T(chunks__split_and_join_as_a_plain_list_does),
                T(is_valid__sees_a_start_that_is_missing),
                T(is_valid__sees_free_neighbours))
