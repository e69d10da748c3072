#include "tiny/seal.h"

#include "base/check.h"
#include "base/sys.h"

hak_seal_keys_t hak_seal_keys;

void hak_seal_start(void) {
  if (HAK_CHECKS < 2) return;
  uint64_t random[6];
  hak_sys_random(random, 6);
  /* The factors are odd. */
  for (int i = 0; i < 2; i++) {
    hak_seal_keys.seal[i] = random[i];
    hak_seal_keys.pad[i] = random[2 + i] | (uint64_t)i;
    hak_seal_keys.canary[i] = random[4 + i] | (uint64_t)i;
  }
}

HAK_SLOW uint64_t hak_seal_random(void) {
  static hak_atomic_u64_t count; /* [any] relaxed: each caller gets another number */
  uint64_t n = hak_add_relaxed(&count, 1);
  /* No link leads to 1. */
  return hak_seal_of_words(n, 1) | 1;
}
