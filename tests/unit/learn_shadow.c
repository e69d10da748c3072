/* learn_shadow.c - what stays of waves, with and without groups, in cases that can be
 * worked out by hand. */
#include "support.h"

#include <math.h>
#include <string.h>

#include "learn/shadow.h"

enum {
  PAGE = 4096,
  SIZE = 1000, /* of blocks: five lie in a page, or partly */
};
#define PEAK ((double)(16 << 20))
#define ROUNDED 1.09 /* bytes that a block takes for each that is asked for */

static hak_shadow_left_t g_left;

static int setup(void **state) {
  (void)state;
  static _Alignas(HAK_CACHE_LINE) char memory[64 << 10];
  CHECK(hak_shadow_bytes <= sizeof memory);
  memset(memory, 0, sizeof memory);
  hak_shadow_start(memory);
  memset(&g_left, 0, sizeof g_left);
  return 0;
}

static uint32_t g_fills; /* the group that takes holes of group 0, or 0 */

/* A wave: places in two groups, of which shares stay. */
static void wave(uint64_t clock, double goes, double stays, uint32_t group) {
  uint32_t size = hak_shadow_size_of(SIZE);
  hak_shadow_begin(g_fills);
  hak_shadow_add(0, size, PEAK, goes);
  hak_shadow_add(group, size, PEAK / 16, stays);
  uint32_t of = hak_shadow_wave_of(clock);
  g_left.bytes[of][0] += PEAK * goes;
  g_left.bytes[of][group] += PEAK / 16 * stays;
  hak_shadow_end(&g_left, clock, PAGE);
}

static void expect(double value, double expected) {
  CHECK_MSG(fabs(value - expected) <= 0.05 * expected + 1, "%.0f, not %.0f", value,
            expected);
}

/* Of all in one heap, in bytes that were asked for. */
static double together(void) {
  double live = 0;
  for (uint32_t i = 0; i < HAK_SHADOW_WAVES; i++) {
    for (uint32_t g = 0; g < HAK_GROUPS; g++) live += g_left.bytes[i][g];
  }
  return hak_shadow_together_rate() * live / ROUNDED;
}

/* The share of pages that keep one of five blocks. */
static double kept_of_five(double p) {
  double q = 1 - p;
  return 1 - q * q * q * q * q;
}

static void sizes__are_four_to_a_doubling(void **state) {
  (void)state;
  CHECK_EQ(hak_shadow_size_of(1), 0);
  CHECK_EQ(hak_shadow_size_of(16), 0);
  for (uint32_t i = 0; i < 11; i++) {
    CHECK_EQ(hak_shadow_size_of((double)(32 << i)), 4 + 4 * i);
    CHECK_EQ(hak_shadow_size_of((double)(32 << i) - 1), 3 + 4 * i);
  }
  CHECK(hak_shadow_size_of(57344) < HAK_SHADOW_SIZES);
  CHECK_EQ(hak_shadow_size_of(1e12), HAK_SHADOW_SIZES - 1);
}

static void one_wave__leaves_what_its_pages_keep(void **state) {
  (void)state;
  wave(10, 0, 1, 0);
  double all = PEAK * 17 / 16, share = kept_of_five(1. / 17);
  expect(together(), all * share);
  expect(hak_shadow_apart(), all * share);
  expect(hak_shadow_together_rate(), ROUNDED * all * share / (PEAK / 16));
  CHECK(fabs(hak_shadow_saves()) < 1);
  CHECK(hak_shadow_rate(0) == hak_shadow_together_rate() && hak_shadow_rate(1) == 0);
}

static void place__that_is_apart_leaves_no_more_than_it_has(void **state) {
  (void)state;
  wave(10, 0, 1, 1);
  double slabs = 5 * 65536; /* used in part */
  expect(hak_shadow_apart(), PEAK / 16 + slabs);
  CHECK(together() > 3 * hak_shadow_apart());
  CHECK(hak_shadow_rate(0) == 0);
  expect(hak_shadow_rate(1), ROUNDED + slabs / (PEAK / 16));
  expect(hak_shadow_saves(), ROUNDED * (together() - PEAK / 16) - slabs);
}

/* Half of a few bytes may be in slabs that are used in part, and no more. */
static void few_bytes__that_are_apart_have_few_slabs(void **state) {
  (void)state;
  const double few = 65536;
  uint32_t size = hak_shadow_size_of(SIZE);
  hak_shadow_begin(0);
  hak_shadow_add(1, size, few, 1);
  g_left.bytes[0][1] = few;
  hak_shadow_end(&g_left, 10, PAGE);
  expect(hak_shadow_rate(1), ROUNDED + 1);
}

/* What goes lies in holes of the default heap, though it was led to a group, and what
 * stays there is scattered among it. */
static void places__that_fill_holes_save_nothing(void **state) {
  (void)state;
  uint32_t size = hak_shadow_size_of(SIZE);
  for (uint32_t fills = 0; fills <= 2; fills += 2) {
    hak_shadow_begin(fills);
    hak_shadow_add(0, size, PEAK / 16, 1);
    hak_shadow_add(2, size, PEAK, 0);
    g_left.bytes[0][0] = PEAK / 16;
    hak_shadow_end(&g_left, 10, PAGE);
    if (fills == 0) CHECK(hak_shadow_saves() > PEAK / 8);
    if (fills == 2) CHECK(fabs(hak_shadow_saves()) < 1);
    CHECK(fills == 0 || hak_shadow_rate(2) == hak_shadow_rate(0));
    expect(hak_shadow_apart(), PEAK / 16);
    (void)setup(NULL);
  }
}

static void wave__that_fits_into_holes_takes_few_further_pages(void **state) {
  (void)state;
  wave(10, 0, 1, 0);
  double first = together();
  wave(20, 0, 1, 0);
  double second = together();
  /* Pages that are not kept already: the same share of them is kept by the second one. */
  double all = PEAK * 17 / 16 + PEAK / 16, share = kept_of_five(1. / 17);
  expect(second, first + (all - first) * share);
}

static void wave__whose_blocks_are_gone_leaves_nothing(void **state) {
  (void)state;
  wave(10, 0, 1, 0);
  wave(20, 0, 1, 1);
  CHECK(hak_shadow_apart() > PEAK / 8);
  g_left.bytes[0][0] = 0; /* of the first one */
  wave(30, 0, 1, 1);
  expect(hak_shadow_apart(), 2 * PEAK / 16 + 5 * 65536);
  CHECK(together() > 3 * hak_shadow_apart());
}

static void waves__are_told_apart_by_their_ends_and_the_oldest_are_one(void **state) {
  (void)state;
  CHECK_EQ(hak_shadow_wave_of(5), 0);
  for (uint32_t i = 0; i < HAK_SHADOW_WAVES; i++) {
    wave(10 * (i + 1), 0, 1, 1);
    for (uint32_t k = 0; k <= i && i + 1 < HAK_SHADOW_WAVES; k++) {
      CHECK_EQ(hak_shadow_wave_of(10 * (k + 1)), k);
    }
  }
  /* About to be one: the first and the second. */
  CHECK_EQ(hak_shadow_wave_of(10), 0);
  CHECK_EQ(hak_shadow_wave_of(20), 0);
  CHECK_EQ(hak_shadow_wave_of(21), 1);
  CHECK_EQ(hak_shadow_wave_of(1000), HAK_SHADOW_WAVES - 1);
  double before = hak_shadow_apart();
  g_left.bytes[0][1] += g_left.bytes[1][1];
  for (uint32_t i = 1; i + 1 < HAK_SHADOW_WAVES; i++) {
    g_left.bytes[i][1] = g_left.bytes[i + 1][1];
  }
  g_left.bytes[HAK_SHADOW_WAVES - 1][1] = 0;
  wave(1000, 0, 1, 1);
  expect(hak_shadow_apart(), before + PEAK / 16);
}

#define S(function) cmocka_unit_test_setup_teardown(function, setup, setup)

TEST_MAIN(T(sizes__are_four_to_a_doubling), S(one_wave__leaves_what_its_pages_keep),
          S(place__that_is_apart_leaves_no_more_than_it_has),
          S(few_bytes__that_are_apart_have_few_slabs),
          S(places__that_fill_holes_save_nothing),
          S(wave__that_fits_into_holes_takes_few_further_pages),
          S(wave__whose_blocks_are_gone_leaves_nothing),
          S(waves__are_told_apart_by_their_ends_and_the_oldest_are_one))
