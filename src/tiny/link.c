#include "tiny/link.h"

/* Its word is no link under any secret: see below, and the static thread states,
 * whose secret is 0. */
const uint64_t hak_link_end[2] = {1, 0};

hak_link_key_t hak_link_key_make(uint64_t random) {
#if HAK_CHECKS == 0
  (void)random;
  return (hak_link_key_t){0, 0};
#else
  /* Bit 63 set, 62 and the lowest bits fixed: 0 (a block in use), 1 (the list's
   * end), small numbers, pointers and all ones then read as bad links. */
  uint64_t secret = (random | (uint64_t)1 << 63) & ~((uint64_t)1 << 62) & ~(uint64_t)7;
  return (hak_link_key_t){secret | 5, HAK_LINK_BAD_BITS};
#endif
}
