/* caller.c - records of places that are known by a code address alone.
 *
 * hak_site_of_caller -> the address's place in the table has its record: done
 *   find_slow -> one of the next places has it, or is free and becomes its
 *
 * The table is static, so what it is made of is there from the beginning, stays over a
 * shutdown and a fork as a program's own records do, and costs memory where it is used.
 * A program that calls none of this links none of it.
 */
#include "api/api.h"
#include "base/bits.h"
#include "learn/origin.h"

enum {
  SLOTS = HAK_ORIGINS, /* a power of two; more would have no origin of their own */
  SLOTS_BITS = 12,
  SEARCHED = 32 /* slots that an address may be in */
};
_Static_assert(SLOTS == 1 << SLOTS_BITS, "an index has so many bits");

/* A record without texts, whose last word is set once, when the slot is taken: see
 * origin.h. On a line of its own, as the words of one place are looked at together. */
typedef struct slot {
  _Alignas(HAK_CACHE_LINE) hak_site_t site;
} slot_t;
static slot_t slots[SLOTS];
static hak_site_t others = {NULL, 0, "(other callers)", {0}};

HAK_HOT uint32_t index_of(uint64_t word) {
  return (uint32_t)(word * 0x9e3779b97f4a7c15u >> (64 - SLOTS_BITS));
}
HAK_HOT hak_atomic_u64_t *word_of(slot_t *slot) {
  return hak_origin_address_word(&slot->site);
}

/* The slot of the address now, if it was free or is the address's already. */
static bool take(slot_t *slot, uint64_t word) {
  uint64_t now = hak_load_relaxed(word_of(slot));
  /* Relaxed: nothing but the word itself is published. */
  if (now == 0 && hak_cas_relaxed(word_of(slot), &now, word)) return true;
  return now == word;
}

static HAK_SLOW hak_site_t *find_slow(uint64_t word) {
  if (word == 0) return &others; /* it would be a free slot's */
  uint32_t first = index_of(word);
  for (uint32_t i = 0; i < SEARCHED; i++) {
    slot_t *slot = &slots[(first + i) % SLOTS];
    if (take(slot, word)) return &slot->site;
  }
  return &others;
}

/* Fast when the address is where its search begins. */
HAK_ENTRY hak_site_t *hak_site_of_caller(const void *address) {
  uint64_t word = ~(uint64_t)(uintptr_t)address;
  slot_t *slot = &slots[index_of(word)];
  if (HAK_LIKELY(word != 0 && hak_load_relaxed(word_of(slot)) == word)) {
    return &slot->site;
  }
  return find_slow(word);
}
