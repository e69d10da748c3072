/* fuzz.h - what every fuzzer is: a function that takes bytes, and bytes drawn as numbers.
 *
 * An input never makes a fuzzer fail by being odd: all that the bytes say is legal, or is
 * refused by the library as it promises. A fault of the library's is a check that fails,
 * a broken assertion, or a signal.
 */
#ifndef HAKMEM_TEST_FUZZ_H
#define HAKMEM_TEST_FUZZ_H

#include "support.h"

/* The name that libFuzzer calls. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct fuzz_input {
  const uint8_t *data;
  size_t left;
} fuzz_input_t;

/* A number below `limit`, of as few bytes as it takes; 0 once there are no more. */
static inline uint64_t fuzz_below(fuzz_input_t *input, uint64_t limit) {
  uint64_t value = 0;
  for (uint64_t rest = limit - 1; rest > 0; rest >>= 8) {
    uint8_t byte = 0;
    if (input->left > 0) {
      byte = *input->data++;
      input->left--;
    }
    value = value << 8 | byte;
  }
  return value % limit;
}

#endif /* HAKMEM_TEST_FUZZ_H */
