/* base_bits.c - size arithmetic and bit searches against models that look at one
 * bit at a time. */
#include "support.h"

#include "base/bits.h"

static bool naive_bit(uint32_t x, unsigned i) { return (x >> i & 1) != 0; }

/* Length of the run of ones that begins at bit `first`. */
static unsigned naive_run(uint32_t x, unsigned first) {
  unsigned n = 0;
  while (first + n < 32 && naive_bit(x, first + n)) n++;
  return n;
}

static void check_runs(uint32_t x) {
  unsigned runs[32], longest = 0;
  for (unsigned i = 0; i < 32; i++) {
    runs[i] = naive_run(x, i);
    if (runs[i] > longest) longest = runs[i];
  }
  CHECK_EQ(hak_longest_run(x), longest);
  for (unsigned count = 1; count <= 32; count++) {
    uint32_t starts = 0;
    for (unsigned i = 0; i < 32; i++) starts |= (uint32_t)(runs[i] >= count) << i;
    CHECK_EQ(hak_run_starts(x, count), starts);
  }
}

static void runs__of_every_16_bit_word_at_both_ends_are_those_of_the_model(void **state) {
  (void)state;
  for (uint32_t x = 0; x <= UINT16_MAX; x++) {
    check_runs(x);
    check_runs(x << 16);
  }
}

static void runs__of_random_words_are_those_of_the_model(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 1);
  for (size_t n = test_scale(20000); n > 0; n--) {
    uint32_t x = (uint32_t)test_random(&rng);
    check_runs(x);
    check_runs(x | (uint32_t)test_random(&rng) | (uint32_t)test_random(&rng));
    check_runs(x & (uint32_t)test_random(&rng));
  }
  /* A single run of every length at every place. */
  for (unsigned first = 0; first < 32; first++) {
    for (unsigned count = 1; first + count <= 32; count++) {
      check_runs(hak_mask32(first, count));
      check_runs(~hak_mask32(first, count));
    }
  }
}

static void mask32__has_exactly_the_bits_asked_for(void **state) {
  (void)state;
  for (unsigned first = 0; first < 32; first++) {
    for (unsigned count = 0; first + count <= 32; count++) {
      uint32_t mask = hak_mask32(first, count);
      for (unsigned i = 0; i < 32; i++) {
        CHECK_EQ(naive_bit(mask, i), i >= first && i < first + count);
      }
    }
  }
}

static void bit_search__finds_the_lowest_the_highest_and_the_number(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 2);
  for (size_t n = 0; n < test_scale(20000); n++) {
    uint64_t x = test_random(&rng) >> test_below(&rng, 64) << test_below(&rng, 64);
    if (x == 0) x = (uint64_t)1 << n % 64;
    unsigned lowest = 64, highest = 0, count = 0;
    for (unsigned i = 0; i < 64; i++) {
      if ((x >> i & 1) == 0) continue;
      if (lowest == 64) lowest = i;
      highest = i;
      count++;
    }
    CHECK_EQ(hak_lowest_bit(x), lowest);
    CHECK_EQ(hak_highest_bit(x), highest);
    CHECK_EQ(hak_count_bits(x), count);
  }
}

static void has_bits__is_true_exactly_where_a_bit_is_shared(void **state) {
  (void)state;
  for (unsigned i = 0; i < 64; i++) {
    uint64_t mask = (uint64_t)1 << i, none = 0;
    CHECK(!hak_has_bits(UINT64_MAX, &none));
    CHECK(!hak_has_bits(~mask, &mask));
    CHECK(hak_has_bits(mask, &mask));
    CHECK(hak_has_bits(UINT64_MAX, &mask));
    CHECK(!hak_has_bits(0, &mask));
  }
}

static void align__gives_the_nearest_multiples(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 3);
  for (unsigned shift = 0; shift <= 40; shift++) {
    size_t align = (size_t)1 << shift;
    for (int n = 0; n < 200; n++) {
      size_t x = (size_t)(test_random(&rng) >> (8 + test_below(&rng, 50)));
      if (n < 5) x = align * 3 + (size_t)n - 2;
      size_t up = hak_align_up(x, align), down = hak_align_down(x, align);
      CHECK(up % align == 0 && down % align == 0);
      CHECK(up >= x && up - x < align);
      CHECK(down <= x && x - down < align);
      CHECK_EQ(hak_is_aligned(x, align), x % align == 0);
      CHECK_EQ(hak_div_up(x, align), x / align + (x % align != 0));
    }
  }
}

static void power_of_two__is_said_of_powers_of_two_only(void **state) {
  (void)state;
  CHECK(!hak_is_power_of_two(0));
  for (size_t x = 1; x <= 70000; x++) {
    CHECK_EQ(hak_is_power_of_two(x), hak_count_bits(x) == 1);
  }
  for (unsigned i = 0; i < 64; i++) {
    size_t x = (size_t)1 << i;
    CHECK(hak_is_power_of_two(x));
    CHECK(i < 1 || !hak_is_power_of_two(x | 1));
    CHECK(i < 2 || !hak_is_power_of_two(x - 1));
  }
}

static void mul__says_when_a_product_does_not_fit(void **state) {
  (void)state;
  size_t product = 0;
  CHECK(!hak_mul_overflows(SIZE_MAX, 1, &product) && product == SIZE_MAX);
  CHECK(!hak_mul_overflows(SIZE_MAX / 2, 2, &product) && product == SIZE_MAX - 1);
  CHECK(hak_mul_overflows(SIZE_MAX / 2 + 1, 2, &product));
  CHECK(hak_mul_overflows((size_t)1 << 32, (size_t)1 << 32, &product));
  CHECK(!hak_mul_overflows(0, SIZE_MAX, &product) && product == 0);
}

/* Every step of the mix can be undone, so no two values meet; and a change of
 * one bit must reach about half of the others. */
static void mix64__keeps_values_apart_and_spreads_each_bit(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 4);
  for (unsigned bit = 0; bit < 64; bit++) {
    unsigned changed = 0;
    for (int n = 0; n < 100; n++) {
      uint64_t x = test_random(&rng);
      uint64_t difference = hak_mix64(x) ^ hak_mix64(x ^ (uint64_t)1 << bit);
      CHECK(difference != 0);
      changed += hak_count_bits(difference);
    }
    CHECK_MSG(changed > 2400 && changed < 4000, "bit %u changes %u of 6400", bit,
              changed);
  }
}

TEST_MAIN(T(runs__of_every_16_bit_word_at_both_ends_are_those_of_the_model),
          T(runs__of_random_words_are_those_of_the_model),
          T(mask32__has_exactly_the_bits_asked_for),
          T(bit_search__finds_the_lowest_the_highest_and_the_number),
          T(has_bits__is_true_exactly_where_a_bit_is_shared),
          T(align__gives_the_nearest_multiples),
          T(power_of_two__is_said_of_powers_of_two_only),
          T(mul__says_when_a_product_does_not_fit),
          T(mix64__keeps_values_apart_and_spreads_each_bit))
