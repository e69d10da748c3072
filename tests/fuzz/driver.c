/* driver.c - runs a fuzzer's function without libFuzzer.
 *
 *   fuzz_x FILE...             the inputs in these files
 *   fuzz_x --random N [SEED]   N inputs that are made from the seed
 *
 * An input that fails ends the process; its file, or its seed, is the last line that was
 * printed.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t g_data[1 << 16];

static void run_file(const char *name) {
  FILE *file = fopen(name, "rb");
  CHECK_MSG(file != NULL, "%s cannot be read", name);
  size_t size = fread(g_data, 1, sizeof g_data, file);
  fclose(file);
  fprintf(stderr, "%s: %zu bytes\n", name, size);
  (void)LLVMFuzzerTestOneInput(g_data, size);
}

/* Each half of its bytes from few values, as what is small or repeats leads further. */
static void run_random(const char *program, uint64_t seed) {
  test_rng_t rng = test_rng(seed, 0xf022);
  size_t size = (size_t)test_below(&rng, test_below(&rng, 4) == 0 ? 4096 : 256);
  uint64_t values = test_below(&rng, 2) == 0 ? 256 : 1 + test_below(&rng, 256);
  for (size_t i = 0; i < size; i++) {
    g_data[i] = (uint8_t)test_below(&rng, values);
  }
  fprintf(stderr, "replay with: %s --random 1 0x%" PRIx64 "\n", program, seed);
  (void)LLVMFuzzerTestOneInput(g_data, size);
}

int main(int argc, char **argv) {
  test_begin();
  if (argc > 2 && strcmp(argv[1], "--random") == 0) {
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : test_seed();
    for (uint64_t i = 0; i < strtoull(argv[2], NULL, 0); i++) {
      run_random(argv[0], seed + i);
    }
    return 0;
  }
  for (int i = 1; i < argc; i++) {
    run_file(argv[i]);
  }
  return 0;
}
