/* link.h - the link in a freed block: the one place that writes and reads it.
 *
 * Depends on: base.   Used by: tiny, heap, api.
 *
 * HAK_CHECKS chooses what freed memory says about itself:
 *   0 off      a plain pointer, NULL at the list's end.
 *   1 default  the pointer xor a secret. An allocation reads the link of the
 *              block that it gives anyway: if the bits that no pointer of ours
 *              has are set, the block was written to since it was freed: after
 *              the free, or by its next owner where it is on a list twice.
 *              Larger blocks are given out with a word that no link is.
 *   2 full     also a mark in the second word, which every free looks for and
 *              sets, and every allocation looks for and takes away.
 *
 * A list ends at HAK_LINK_END, a word that never decodes: taking from an empty
 * list and meeting a bad link are one branch.
 */
#ifndef HAK_TINY_LINK_H
#define HAK_TINY_LINK_H

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"

/* Two words that are part of every thread's hot state. */
typedef struct hak_link_key {
  uint64_t secret;
  uint64_t bad; /* bits that are zero in every pointer of ours */
} hak_link_key_t;

/* What every pointer to a block has as zeroes: bits above user addresses, and
 * those below the least block's alignment. */
#if defined(__x86_64__)
#define HAK_LINK_BAD_BITS 0xffff800000000007u
#else
#define HAK_LINK_BAD_BITS 0xffff000000000007u
#endif

extern const uint64_t hak_link_end[2];

#if HAK_CHECKS == 0
#define HAK_LINK_END NULL
#else
#define HAK_LINK_END ((void *)(uintptr_t)hak_link_end)
#endif

/* A secret of random bits. */
hak_link_key_t hak_link_key_make(uint64_t random);

/* The mark of a freed block's second word, in full checks. */
#if HAK_CHECKS >= 2
HAK_HOT uint64_t hak_link_mark(const hak_link_key_t *key, const void *block) {
  return ~((uintptr_t)block * 3) ^ key->secret;
}
HAK_HOT void hak_link_mark_freed(const hak_link_key_t *key, void *block) {
  ((uint64_t *)block)[1] = hak_link_mark(key, block);
}
HAK_HOT bool hak_link_is_marked(const hak_link_key_t *key, const void *block) {
  return ((const uint64_t *)block)[1] == hak_link_mark(key, block);
}
HAK_HOT void hak_link_unmark(void *block) { ((uint64_t *)block)[1] = 0; }
/* Marks the block; true if it was marked before, by whatever thread. */
HAK_HOT bool hak_link_mark_again(const hak_link_key_t *key, void *block) {
  uint64_t mark = hak_link_mark(key, block);
  return hak_exchange_relaxed((hak_atomic_u64_t *)block + 1, mark) == mark;
}
#else
HAK_HOT void hak_link_mark_freed(const hak_link_key_t *key, void *block) {
  (void)key;
  (void)block;
}
HAK_HOT bool hak_link_is_marked(const hak_link_key_t *key, const void *block) {
  (void)key;
  (void)block;
  return false;
}
HAK_HOT void hak_link_unmark(void *block) { (void)block; }
#endif

/* A block's link is the next block's address xor the secret. */
HAK_HOT uint64_t hak_link_xor(const hak_link_key_t *key, uint64_t x) {
#if HAK_CHECKS == 0
  (void)key;
#elif defined(__x86_64__)
  /* Compilers load the secret first, to save a load in code that seldom runs. */
  __asm__("xorq %1, %0" : "+r"(x) : "m"(key->secret));
#else
  x ^= key->secret;
#endif
  return x;
}
HAK_HOT bool hak_link_is_bad(const hak_link_key_t *key, const void *next) {
  return HAK_CHECKS != 0 && hak_has_bits((uintptr_t)next, &key->bad);
}
/* The link that was read in `block` is bad, or the block says so in another way: it is
 * not free, or was written to since. */
HAK_HOT bool hak_link_is_broken(const hak_link_key_t *key, const void *block,
                                const void *next) {
  return hak_link_is_bad(key, next) ||
         (HAK_CHECKS >= 2 && !hak_link_is_marked(key, block));
}
/* The block is given out with no link in it: a word that is bad under any secret. */
HAK_HOT void hak_link_spoil(void *block) {
  if (HAK_CHECKS != 0) *(uint64_t *)block = 0;
}
HAK_HOT void hak_link_write(const hak_link_key_t *key, void *block, const void *next) {
  *(uint64_t *)block = hak_link_xor(key, (uintptr_t)next);
  hak_link_mark_freed(key, block);
}
HAK_HOT void *hak_link_read(const hak_link_key_t *key, const void *block) {
  return (void *)(uintptr_t)hak_link_xor(key, *(const uint64_t *)block);
}

/* True if the list is empty or the first block's link is broken (nothing is
 * changed), else the block is taken off and is the caller's. */
#if HAK_CHECKS == 0
HAK_HOT bool hak_link_pop_fails(const hak_link_key_t *key, void **list, void **block) {
  (void)key;
  *block = *list;
  if (HAK_UNLIKELY(*block == NULL)) return true;
  *list = *(void **)*block;
  return false;
}
#else
HAK_HOT bool hak_link_pop_fails(const hak_link_key_t *key, void **list, void **block) {
  void *first = *list;
  void *next = hak_link_read(key, first);
  *block = first;
  if (HAK_UNLIKELY(hak_link_is_broken(key, first, next))) return true;
  *list = next;
  hak_link_unmark(first);
  return false;
}
#endif

#endif
