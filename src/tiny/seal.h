/* seal.h - keyed hashes of a hardened build: seals of links, words that hide links, the
 * words of canaries, and random numbers; and the marks of freed blocks in full checks.
 *
 * Depends on: base.   Used by: canary, link, scatter, quarantine, heap.
 *
 * A seal is SipHash-1-3 of two words, less the word that tells the length, as all
 * messages are equally long. It has a key of 128 bits from the system; no seal, nor any
 * number of them, says what that of other words is. The words of canaries and of what
 * hides a link are cheaper: one multiplication. Each depends on the block's address, so
 * that one who has seen the word of one block knows nothing of another's.
 *
 * Cost: a seal 70 instructions, the others 5. No function here waits or allocates.
 */
#ifndef HAK_TINY_SEAL_H
#define HAK_TINY_SEAL_H

#include "base/atomic.h"
#include "base/compiler.h"

typedef struct hak_seal_keys {
  uint64_t seal[2], pad[2], canary[2]; /* [const] from one start to the next */
} hak_seal_keys_t;
/* All zero before the first start. */
HAK_EXTERN hak_seal_keys_t hak_seal_keys;

/* Chooses new keys, in a full or hardened build. No block is given out at that time. */
void hak_seal_start(void);

HAK_HOT uint64_t hak_seal_turn(uint64_t x, unsigned bits) {
  return x << bits | x >> (64 - bits);
}
HAK_HOT void hak_seal_round(uint64_t v[4]) {
  v[0] += v[1];
  v[1] = hak_seal_turn(v[1], 13) ^ v[0];
  v[0] = hak_seal_turn(v[0], 32);
  v[2] += v[3];
  v[3] = hak_seal_turn(v[3], 16) ^ v[2];
  v[0] += v[3];
  v[3] = hak_seal_turn(v[3], 21) ^ v[0];
  v[2] += v[1];
  v[1] = hak_seal_turn(v[1], 17) ^ v[2];
  v[2] = hak_seal_turn(v[2], 32);
}
HAK_HOT uint64_t hak_seal_of_words(uint64_t a, uint64_t b) {
  const uint64_t *key = hak_seal_keys.seal;
  uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
                   key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
  v[3] ^= a;
  hak_seal_round(v);
  v[0] ^= a;
  v[3] ^= b;
  hak_seal_round(v);
  v[0] ^= b;
  v[2] ^= 0xff;
  for (int i = 0; i < 3; i++) hak_seal_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The seal of a link in `block` that leads to `next`. */
HAK_HOT uint64_t hak_seal(const void *block, const void *next) {
  return hak_seal_of_words((uintptr_t)block, (uintptr_t)next);
}

HAK_HOT uint64_t hak_seal_fold(const void *block, const uint64_t key[2]) {
  __extension__ typedef unsigned __int128 wide_t;
  wide_t product = (wide_t)((uintptr_t)block ^ key[0]) * key[1];
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}
/* What hides a link in `block`. */
HAK_HOT uint64_t hak_seal_pad(const void *block) {
  return hak_seal_fold(block, hak_seal_keys.pad);
}
/* The mark of `block` while it is free, in full checks. */
HAK_HOT uint64_t hak_seal_mark(const void *block) {
  return hak_seal_fold(block, hak_seal_keys.canary);
}
/* The canary of `block`. The bytes next to the block, and last, are not zero, so that a
 * zero that is written there is seen. */
HAK_HOT uint64_t hak_seal_canary(const void *block) {
  return hak_seal_fold(block, hak_seal_keys.canary) | 0x0100000000000001u;
}

/* A number that nobody can tell before. */
uint64_t hak_seal_random(void);
/* The next number of a series that began with one of those; cheaper, and for many numbers
 * of which each alone tells little. */
HAK_HOT uint64_t hak_seal_next(uint64_t *series) {
  *series ^= *series << 13;
  *series ^= *series >> 7;
  *series ^= *series << 17;
  return *series;
}

#endif
