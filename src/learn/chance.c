#include "learn/chance.h"

#include <string.h>

/* The natural logarithm of 0 < x <= 1, to 6 digits: that of the power of two, and a
 * series for what is left, which lies between 1 and 2. */
static double logarithm(double x) {
  enum {
    FRACTION_BITS = 52,
    BIAS = 1023
  };
  const double log_2 = 0.69314718055994531;
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  int exponent = (int)(bits >> FRACTION_BITS) - BIAS;
  bits = (bits & (((uint64_t)1 << FRACTION_BITS) - 1)) | (uint64_t)BIAS << FRACTION_BITS;
  double rest;
  memcpy(&rest, &bits, sizeof rest);
  double y = (rest - 1) / (rest + 1), z = y * y;
  return exponent * log_2 +
         2 * y * (1 + z * (1. / 3 + z * (1. / 5 + z * (1. / 7 + z * (1. / 9 + z / 11)))));
}

/* Of 53 bits, so that it is neither 0 nor over 1. */
static double next(uint64_t *random) {
  uint64_t x = *random;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  *random = x;
  return ((double)(x >> 11) + 1) / 9007199254740993.0;
}

int64_t hak_chance_distance(uint64_t *random, uint64_t mean) {
  double distance = -logarithm(next(random)) * (double)mean;
  return distance < 1 ? 1 : (int64_t)distance;
}

/* For a small part of the way the series is exact; the chance of twice the way is that of
 * one half, or else of the other. */
HAK_WARM double hak_chance_of(size_t size, uint64_t mean) {
  if (mean == 1) return 1;
  double way = (double)size / (double)mean;
  if (way > 40) return 1;
  int doublings = 0;
  for (; way > 1. / 64; way /= 2) doublings++;
  double p = way * (1 - way / 2 * (1 - way / 3 * (1 - way / 4)));
  for (; doublings > 0; doublings--) p *= 2 - p;
  return p;
}

/* The chance lies between mean / longer and (mean + size) / longer, as x / (1 - exp(-x))
 * lies between 1 and 1 + x. */
HAK_SLOW bool hak_chance_again(uint64_t *random, size_t size, uint64_t mean,
                               uint64_t longer) {
  double u = next(random), all = u * (double)longer;
  if (all <= (double)mean) return true;
  if (all > (double)mean + (double)size) return false;
  return u * hak_chance_of(size, mean) <= hak_chance_of(size, longer);
}
