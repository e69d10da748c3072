/* Keyed hashes: what they depend on, and that keys change. */
#include "support.h"

#include <string.h>

#include "base/bits.h"
#include "tiny/link.h"
#include "tiny/seal.h"

enum {
  BITS = 48,
  PAIRS = 64
};

/* A place like that of a block. */
static void *place(uint64_t i) { return (void *)(uintptr_t)(0x7f0000000000u + 16 * i); }

static void seal__changes_with_each_bit_of_both_words(void **state) {
  (void)state;
  uint64_t changed = 0;
  uint32_t count = 0;
  for (uint64_t i = 0; i < PAIRS; i++) {
    for (int bit = 4; bit < BITS; bit++) {
      uintptr_t flip = (uintptr_t)1 << bit;
      uint64_t seal = hak_seal(place(i), place(i + 1));
      void *a = (void *)((uintptr_t)place(i) ^ flip);
      void *b = (void *)((uintptr_t)place(i + 1) ^ flip);
      uint64_t with_a = seal ^ hak_seal(a, place(i + 1));
      uint64_t with_b = seal ^ hak_seal(place(i), b);
      CHECK(with_a != 0 && with_b != 0 && with_a != with_b);
      changed += hak_count_bits(with_a) + hak_count_bits(with_b);
      count += 2;
    }
  }
  /* Half of 64 bits each, in the mean. */
  double mean = (double)changed / count;
  CHECK_MSG(mean > 31 && mean < 33, "%.2f bits", mean);
}

static void canary__has_no_zero_where_it_is_written_to_first(void **state) {
  (void)state;
  if (HAK_CHECKS < 3) skip(); /* there are no keys */
  hak_free(hak_alloc(1));     /* the library starts */
  for (uint64_t i = 0; i < 10000; i++) {
    uint64_t canary = hak_seal_canary(place(i));
    CHECK((canary & 0xff) != 0 && canary >> 56 != 0);
    CHECK(canary != hak_seal_canary(place(i + 1)));
  }
}

static void keys__are_others_after_another_start(void **state) {
  (void)state;
  if (HAK_CHECKS < 3) skip();
  hak_free(hak_alloc(1));
  hak_seal_keys_t before = hak_seal_keys;
  CHECK_EQ(hak_shutdown(0), 0);
  test_start();
  hak_free(hak_alloc(1));
  for (int i = 0; i < 2; i++) {
    CHECK(before.seal[i] != hak_seal_keys.seal[i]);
    CHECK(before.pad[i] != hak_seal_keys.pad[i]);
    CHECK(before.canary[i] != hak_seal_keys.canary[i]);
  }
}

static void link__is_read_only_where_it_was_written_and_with_its_seal(void **state) {
  (void)state;
  if (HAK_CHECKS < 3) skip();
  hak_link_key_t key = hak_link_key_make(42);
  uint64_t block[2], other[2];
  hak_link_write(&key, block, place(7));
  CHECK(hak_link_read(&key, block) == place(7));
  memcpy(other, block, sizeof other); /* the words of one block in another */
  CHECK(hak_link_is_bad(&key, hak_link_read(&key, other)));
  for (int bit = 0; bit < 128; bit++) {
    block[bit / 64] ^= (uint64_t)1 << (bit % 64);
    CHECK(hak_link_is_bad(&key, hak_link_read(&key, block)));
    block[bit / 64] ^= (uint64_t)1 << (bit % 64);
  }
  CHECK(hak_link_read(&key, block) == place(7));
}

TEST_MAIN(T(seal__changes_with_each_bit_of_both_words),
          T(canary__has_no_zero_where_it_is_written_to_first),
          T(keys__are_others_after_another_start),
          T(link__is_read_only_where_it_was_written_and_with_its_seal))
