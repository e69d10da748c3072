/* link.h - the link in a freed block: the one place that writes and reads it.
 *
 * Depends on: base, seal.   Used by: tiny, heap, api.
 *
 * HAK_CHECKS chooses what freed memory says about itself:
 *   0 off      a plain pointer, NULL at the list's end.
 *   1 default  the pointer xor a secret. An allocation reads the link of the
 *              block that it gives anyway: if the bits that no pointer to a
 *              block has are set, the block was written to since it was freed:
 *              after the free, or by its next owner where it is on a list twice.
 *              Blocks over HAK_TINY_MAX are given out with a word that is no link.
 *   2 full     also a mark in the second word: every free looks for it and sets
 *              it, every allocation looks for it and takes it away. It is a keyed hash
 *              of the block's address (seal.h): one who has seen marks and links can
 *              make no other block look free.
 *   3 hardened the link is hidden by a word that depends on the block, and the second
 *              word is its seal: a keyed hash of the block's address and of where the
 *              link leads (seal.h). Who knows links and their seals can make none for
 *              another place. A link without its seal reads as a bad one. Whether a
 *              block is free is not asked of the block at all: see live.h.
 *
 * A list ends at HAK_LINK_END, a word that never decodes: taking from an empty
 * list and meeting a bad link are one branch.
 */
#ifndef HAK_TINY_LINK_H
#define HAK_TINY_LINK_H

#include "base/atomic.h"
#include "base/bits.h"
#include "base/check.h"
#include "base/sys.h"
#include "tiny/seal.h"

/* Two words that are part of every thread's hot state. */
typedef struct hak_link_key {
  uint64_t secret; /* [const] */
  uint64_t bad;    /* [const] bits that are zero in every pointer to a block */
} hak_link_key_t;

/* Bits that are zero in every pointer to a block: those above user addresses, and those
 * below the least block's alignment. */
#if defined(__x86_64__)
#define HAK_LINK_BAD_BITS 0xffff800000000007u
#else
#define HAK_LINK_BAD_BITS 0xffff000000000007u
#endif

/* The words behind HAK_LINK_END; see link.c. Not HAK_EXTERN, as clang then saves a
 * register in the fast path of hak_heap_alloc. */
extern const uint64_t hak_link_end[2];

#if HAK_CHECKS == 0
#define HAK_LINK_END NULL
#else
#define HAK_LINK_END ((void *)(uintptr_t)hak_link_end)
#endif

/* Makes the key of a process from random bits. */
hak_link_key_t hak_link_key_make(uint64_t random);

/* The mark of a freed block's second word, in full checks. */
#if HAK_CHECKS == 2
HAK_HOT uint64_t hak_link_mark(const void *block) { return hak_seal_mark(block); }
HAK_HOT void hak_link_mark_freed(const hak_link_key_t *key, void *block) {
  (void)key;
  ((uint64_t *)block)[1] = hak_link_mark(block);
}
HAK_HOT bool hak_link_is_marked(const hak_link_key_t *key, const void *block) {
  (void)key;
  return hak_equals_relaxed(hak_link_mark(block), (hak_atomic_u64_t *)block + 1);
}
HAK_HOT void hak_link_unmark(void *block) { ((uint64_t *)block)[1] = 0; }
/* So many bytes were copied into the block. Where they were never written they may be
 * what lay there before, also the mark of a block that was freed at this very address. A
 * guarded block may be too small for a mark. */
HAK_HOT void hak_link_unmark_copy(const hak_link_key_t *key, void *block, size_t bytes) {
  if (bytes >= 2 * sizeof(uint64_t) && hak_link_is_marked(key, block)) {
    hak_link_unmark(block);
  }
}
/* Marks the block; true if it was marked before, by whatever thread. Of two threads one
 * is told so: unless there is but one, that takes a locked instruction. */
HAK_HOT bool hak_link_mark_again(const hak_link_key_t *key, void *block) {
  (void)key;
  uint64_t mark = hak_link_mark(block);
  if (!hak_sys_is_alone()) {
    HAK_OPAQUE(block); /* else the word's address is made for the other arm too */
    return hak_exchange_relaxed((hak_atomic_u64_t *)block + 1, mark) == mark;
  }
  hak_atomic_u64_t *word = (hak_atomic_u64_t *)block + 1;
  bool marked = hak_equals_relaxed(mark, word);
  hak_store_relaxed(word, mark);
  return marked;
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
HAK_HOT void hak_link_unmark_copy(const hak_link_key_t *key, void *block, size_t bytes) {
  (void)key;
  (void)block;
  (void)bytes;
}
HAK_HOT void hak_link_unmark(void *block) {
  if (HAK_CHECKS >= 3) ((uint64_t *)block)[1] = 0;
}
#endif

/* A block's link is the next block's address xor the secret. */
HAK_HOT uint64_t hak_link_xor(const hak_link_key_t *key, uint64_t x) {
#if HAK_CHECKS == 0
  (void)key;
#elif defined(__x86_64__)
  /* The operand is in memory, since compilers would load the secret into a register
   * first, to save a load in code that seldom runs. */
  __asm__("xorq %1, %0" : "+r"(x) : "m"(key->secret));
#else
  x ^= key->secret;
#endif
  return x;
}
/* True if `next`, which was read as a link, cannot be a pointer to a block. */
HAK_HOT bool hak_link_is_bad(const hak_link_key_t *key, const void *next) {
  return HAK_CHECKS != 0 && hak_has_bits((uintptr_t)next, &key->bad);
}
/* True if `next`, which was read in `block` as its link, is bad, or the block has no
 * mark: the block is not free, or was written to since its free. */
HAK_HOT bool hak_link_is_broken(const hak_link_key_t *key, const void *block,
                                const void *next) {
  return hak_link_is_bad(key, next) ||
         (HAK_CHECKS == 2 && !hak_link_is_marked(key, block));
}
/* Writes a word into the block that is a bad link under any secret, so that a block in
 * use does not look free. */
HAK_HOT void hak_link_spoil(void *block) {
  if (HAK_CHECKS != 0) *(uint64_t *)block = 0;
}
#if HAK_CHECKS >= 3
HAK_HOT void hak_link_write(const hak_link_key_t *key, void *block, const void *next) {
  uint64_t *words = block;
  words[0] = hak_link_xor(key, (uintptr_t)next) ^ hak_seal_pad(block);
  words[1] = hak_seal(block, next);
}
HAK_HOT void *hak_link_read(const hak_link_key_t *key, const void *block) {
  const uint64_t *words = block;
  uint64_t next = hak_link_xor(key, words[0] ^ hak_seal_pad(block));
  bool sealed = words[1] == hak_seal(block, (const void *)(uintptr_t)next);
  return (void *)(uintptr_t)(HAK_LIKELY(sealed) ? next : HAK_LINK_BAD_BITS);
}
#else
HAK_HOT void hak_link_write(const hak_link_key_t *key, void *block, const void *next) {
  *(uint64_t *)block = hak_link_xor(key, (uintptr_t)next);
  hak_link_mark_freed(key, block);
}
HAK_HOT void *hak_link_read(const hak_link_key_t *key, const void *block) {
  return (void *)(uintptr_t)hak_link_xor(key, *(const uint64_t *)block);
}
#endif

/* Writes the link of a block that has its mark, if blocks have one. */
HAK_HOT void hak_link_write_marked(const hak_link_key_t *key, void *block,
                                   const void *next) {
#if HAK_CHECKS == 2
  *(uint64_t *)block = hak_link_xor(key, (uintptr_t)next);
#else
  hak_link_write(key, block, next);
#endif
}

/* What hak_link_read gives of a block that is just being taken off its list, and may have
 * no mark any more. */
HAK_HOT void *hak_link_peek(const hak_link_key_t *key, const void *block) {
  uint64_t word = *(const uint64_t *)block;
#if HAK_CHECKS >= 3
  word ^= hak_seal_pad(block);
#endif
  return (void *)(uintptr_t)hak_link_xor(key, word);
}

/* Both: takes the first block off the list. True if the list is empty or the block's link
 * is broken; nothing is changed then. hak_link_next_fails leaves it to the caller to make
 * `next` the first one, and to call hak_link_unmark. */
#if HAK_CHECKS == 0
HAK_HOT bool hak_link_next_fails(const hak_link_key_t *key, void *first, void **next) {
  (void)key;
  if (HAK_UNLIKELY(first == NULL)) return true;
  *next = *(void **)first;
  return false;
}
HAK_HOT bool hak_link_pop_fails(const hak_link_key_t *key, void **list, void **block) {
  (void)key;
  *block = *list;
  if (HAK_UNLIKELY(*block == NULL)) return true;
  *list = *(void **)*block;
  return false;
}
#else
HAK_HOT bool hak_link_next_fails(const hak_link_key_t *key, void *first, void **next) {
  *next = hak_link_read(key, first);
  return HAK_UNLIKELY(hak_link_is_broken(key, first, *next));
}
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
