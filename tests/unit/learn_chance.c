/* learn_chance.c - distances between picked bytes, and the chance of a block. */
#include "support.h"

#include "learn/chance.h"

static void distance__has_the_mean_that_is_asked_for(void **state) {
  (void)state;
  enum {
    DRAWS = 100000
  };
  const uint64_t means[] = {100, 4096, 262144, 1 << 30};
  for (size_t i = 0; i < TEST_COUNT(means); i++) {
    uint64_t random = 1;
    double sum = 0, short_ones = 0;
    for (int k = 0; k < DRAWS; k++) {
      int64_t distance = hak_chance_distance(&random, means[i]);
      CHECK(distance >= 1);
      sum += (double)distance;
      short_ones += (double)distance < (double)means[i] * 0.69314718;
    }
    /* The standard deviation of the mean is a 316th; half are below the median. */
    double mean = sum / DRAWS / (double)means[i];
    CHECK_MSG(mean > 0.985 && mean < 1.015, "%f of %llu", mean,
              (unsigned long long)means[i]);
    CHECK(short_ones > 0.49 * DRAWS && short_ones < 0.51 * DRAWS);
  }
}

static void distance__is_the_same_in_each_run(void **state) {
  (void)state;
  uint64_t a = 7, b = 7;
  for (int i = 0; i < 100; i++) {
    CHECK_EQ(hak_chance_distance(&a, 1000), hak_chance_distance(&b, 1000));
  }
  CHECK_EQ(a, b);
}

static void chance__is_that_of_an_exponential_distance(void **state) {
  (void)state;
  const struct {
    size_t size;
    double way, p;
  } known[] = {{1, 1. / 262144, 3.81469e-6}, {2621, 0.01, 0.00995017},
               {131072, 0.5, 0.393469},      {262144, 1, 0.632121},
               {1 << 20, 4, 0.981684},       {1 << 30, 4096, 1}};
  for (size_t i = 0; i < TEST_COUNT(known); i++) {
    double ratio = hak_chance_of(known[i].size, 262144) / known[i].p;
    CHECK_MSG(ratio > 0.9998 && ratio < 1.0002, "%zu: %f", known[i].size, ratio);
  }
  CHECK(hak_chance_of(1, 1) == 1 && hak_chance_of(64, 1) == 1);
}

/* Of blocks that a mean distance picked, a longer one picks as many as it picks of all.
 */
static void again__has_the_chance_of_the_longer_distance(void **state) {
  (void)state;
  enum {
    DRAWS = 200000,
    MEAN = 262144
  };
  const size_t sizes[] = {1, 1000, 30000, 200000, 1 << 20, 8 << 20};
  const uint64_t longer[] = {MEAN + MEAN / 4, 4 * MEAN, 8 * MEAN};
  uint64_t random = 1;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (size_t k = 0; k < TEST_COUNT(longer); k++) {
      double p = hak_chance_of(sizes[i], longer[k]) / hak_chance_of(sizes[i], MEAN);
      double seen = 0;
      for (int n = 0; n < DRAWS; n++) {
        seen += hak_chance_again(&random, sizes[i], MEAN, longer[k]);
      }
      double off = seen - p * DRAWS;
      CHECK_MSG(off * off <= 16 * DRAWS * p * (1 - p) + 1, "%zu: %f of %f", sizes[i],
                seen, p * DRAWS);
    }
  }
}

TEST_MAIN(T(distance__has_the_mean_that_is_asked_for),
          T(distance__is_the_same_in_each_run),
          T(chance__is_that_of_an_exponential_distance),
          T(again__has_the_chance_of_the_longer_distance))
