#include "tiny/link.h"

/* The first word must be a bad link under any secret, as a pop from an empty list reads
 * it. It is: with secrets that are made below, bit 63 is set in what it decodes to; and
 * the key of the static thread state, whose secret is 0, takes every set bit for bad. */
const uint64_t hak_link_end[2] = {1, 0};

hak_link_key_t hak_link_key_make(uint64_t random) {
#if HAK_CHECKS == 0
  (void)random;
  return (hak_link_key_t){0, 0};
#else
  /* In a secret bit 63 is set, bit 62 is clear, and the lowest three bits are 5. So 0 (a
   * block in use), 1 (the list's end), small numbers, pointers and all ones are read as
   * bad links. */
  uint64_t secret = (random | (uint64_t)1 << 63) & ~((uint64_t)1 << 62) & ~(uint64_t)7;
  return (hak_link_key_t){secret | 5, HAK_LINK_BAD_BITS};
#endif
}
