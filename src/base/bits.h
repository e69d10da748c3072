/* bits.h - size arithmetic and bit searches.
 *
 * Depends on: compiler.   Used by: everything.
 */
#ifndef HAK_BASE_BITS_H
#define HAK_BASE_BITS_H

#include "base/compiler.h"

HAK_HOT bool hak_is_power_of_two(size_t x) { return x != 0 && (x & (x - 1)) == 0; }

/* `align` is a power of two. */
HAK_HOT size_t hak_align_up(size_t x, size_t align) {
  return (x + align - 1) & ~(align - 1);
}
HAK_HOT size_t hak_align_down(size_t x, size_t align) { return x & ~(align - 1); }
HAK_HOT bool hak_is_aligned(size_t x, size_t align) { return (x & (align - 1)) == 0; }

HAK_HOT size_t hak_div_up(size_t x, size_t by) { return x / by + (x % by != 0); }

/* The upper half of the product. */
HAK_HOT uint64_t hak_mul_high(uint64_t a, uint64_t b) {
  __extension__ typedef unsigned __int128 wide_t;
  return (uint64_t)((wide_t)a * b >> 64);
}

/* x != 0 in all three. */
HAK_HOT unsigned hak_lowest_bit(uint64_t x) { return (unsigned)__builtin_ctzll(x); }
HAK_HOT unsigned hak_highest_bit(uint64_t x) {
  return (unsigned)__builtin_clzll(x) ^ 63u; /* one instruction on x86-64 */
}
/* Without the instruction that not every processor has, compilers call a function. */
HAK_HOT unsigned hak_count_bits(uint64_t x) {
#if defined(__POPCNT__) || !defined(__x86_64__)
  return (unsigned)__builtin_popcountll(x);
#else
  x -= x >> 1 & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return (unsigned)(x * 0x0101010101010101u >> 56);
#endif
}

/* `count` ones from bit `first` up; count + first <= 32. */
HAK_HOT uint32_t hak_mask32(unsigned first, unsigned count) {
  return (count >= 32 ? UINT32_MAX : ((uint32_t)1 << count) - 1) << first;
}

/* How many ones begin at the lowest one; the highest one. x is not 0. */
HAK_HOT unsigned hak_lowest_run(uint32_t x) {
  uint32_t rest = ~(x >> hak_lowest_bit(x));
  return rest == 0 ? 32 : hak_lowest_bit(rest);
}
HAK_HOT uint32_t hak_highest_one(uint32_t x) { return (uint32_t)1 << hak_highest_bit(x); }

/* Bit i of the result is set where bits i .. i+count-1 of x all are. */
HAK_HOT uint32_t hak_run_starts(uint32_t x, unsigned count) {
  unsigned have = 1;
  while (have < count && x != 0) {
    unsigned step = count - have < have ? count - have : have;
    x &= x >> step;
    have += step;
  }
  return x;
}

/* Length of the longest run of ones: starts of runs of 2, 4, 8, 16 by doubling, then
 * back down from the longest there are. */
HAK_HOT unsigned hak_longest_run(uint32_t x) {
  if (x == UINT32_MAX) return 32;
  if (x == 0) return 0;
  uint32_t starts[5];
  unsigned top = 0;
  starts[0] = x;
  while (top < 4 && (starts[top] & starts[top] >> (1u << top)) != 0) {
    starts[top + 1] = starts[top] & starts[top] >> (1u << top);
    top++;
  }
  unsigned length = 1u << top;
  uint32_t run = starts[top];
  while (top-- > 0) {
    uint32_t longer = run & starts[top] >> length;
    if (longer != 0) {
      run = longer;
      length += 1u << top;
    }
  }
  return length;
}

/* (x & *mask) != 0, in one instruction where compilers make two of it. */
HAK_HOT bool hak_has_bits(uint64_t x, const uint64_t *mask) {
#if defined(__x86_64__)
  bool has;
  __asm__("testq %1, %2" : "=@ccnz"(has) : "r"(x), "m"(*mask));
  return has;
#else
  return (x & *mask) != 0;
#endif
}

HAK_HOT bool hak_mul_overflows(size_t a, size_t b, size_t *product) {
  return __builtin_mul_overflow(a, b, product);
}

/* Spreads the bits of x; for hashes and seeds, not for secrets. */
HAK_HOT uint64_t hak_mix64(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/* Goes on with a hash of bytes, of the same kind. */
HAK_HOT uint64_t hak_hash_bytes(uint64_t so_far, const void *bytes, size_t length) {
  const char *at = bytes;
  for (uint64_t word = 0; length > 0; word = 0) {
    size_t some = length < sizeof word ? length : sizeof word;
    __builtin_memcpy(&word, at, some);
    so_far = hak_mix64(so_far ^ word) + some;
    at += some;
    length -= some;
  }
  return so_far;
}

#endif
