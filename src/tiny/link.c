#include "tiny/link.h"

/* Its words decode to the secret, which has bad bits. */
const uint64_t hak_link_end[2] = {0, 0};

hak_link_key_t hak_link_key_make(uint64_t random) {
#if HAK_CHECKS == 0
  (void)random;
  return (hak_link_key_t){0, 0};
#else
  /* Bits 63, 62 and 0: neither zero, nor a small number or pointer, nor all
   * ones decode to something good. */
  return (hak_link_key_t){(random | (uint64_t)1 << 63 | 1) & ~((uint64_t)1 << 62),
                          HAK_LINK_BAD_BITS};
#endif
}
