/* canary.h - the last word of each block of a hardened build, which is the library's.
 *
 * Depends on: base, seal.   Used by: heap, api.
 *
 * A block is given out with its canary behind the bytes that the program may use, and has
 * to come back with it. What `bytes` means here is all of the block, canary included;
 * what the program is told is HAK_CANARY_BYTES less.
 */
#ifndef HAK_TINY_CANARY_H
#define HAK_TINY_CANARY_H

#include "base/check.h"
#include "tiny/seal.h"

/* What the program may use of a block that has so many bytes; 0 stays 0. */
HAK_HOT size_t hak_canary_below(size_t bytes) {
  return HAK_CHECKS < 3 || bytes == 0 ? bytes : bytes - HAK_CANARY_BYTES;
}

HAK_HOT uint64_t *hak_canary_at(const void *block, size_t bytes) {
  return (uint64_t *)(uintptr_t)((const char *)block + bytes - HAK_CANARY_BYTES);
}
HAK_HOT void hak_canary_write(void *block, size_t bytes) {
  if (HAK_CHECKS >= 3) *hak_canary_at(block, bytes) = hak_seal_canary(block);
}
HAK_HOT bool hak_canary_is_whole(const void *block, size_t bytes) {
  return HAK_CHECKS < 3 || *hak_canary_at(block, bytes) == hak_seal_canary(block);
}

#endif
