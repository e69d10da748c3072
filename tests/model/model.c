/* model.c - long random sequences of every operation against a map of what must
 * be true; see tests/support/shadow.h.
 *
 *   model [<seed> [<operations>]]
 *
 * The same seed and count give the same sequence. A failure prints both, and the
 * number and kind of the operation that saw it.
 */
#include "shadow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t g_seed;
static uint64_t g_operations;
static const char *g_program;

static void run(uint64_t seed, unsigned flags, size_t max_blocks, size_t max_size,
                uint64_t operations) {
  shadow_t shadow;
  shadow_open(&shadow, seed, flags, max_blocks);
  shadow.max_size = max_size;
  uint64_t left = operations;
  while (left > 0) {
    uint64_t part = left < 200000 ? left : 200000;
    shadow_run(&shadow, part);
    left -= part;
    CHECK_EQ(hak_check(NULL), 0);
    if (left > 0 && test_below(&shadow.rng, 4) == 0) {
      shadow_empty(&shadow);
      CHECK_EQ(test_live_blocks(), shadow.base_blocks);
    }
  }
  unsigned kinds = 0;
  for (int op = 0; op < SHADOW_OPS; op++) {
    kinds += shadow.done[op] > 0;
  }
  printf("  %" PRIu64 " operations of %u kinds, %" PRIu64 " refused, seed 0x%" PRIx64
         "\n",
         shadow.operations, kinds, shadow.refused, seed);
  CHECK(operations < 100000 || kinds == SHADOW_OPS);
  CHECK(shadow.refused <= shadow.operations / 10);
  shadow_close(&shadow);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), shadow.base_blocks);
  CHECK_EQ(test_live_bytes(), shadow.base_bytes);
}

static void model__all_operations_on_all_tiers(void **state) {
  (void)state;
  run(g_seed, SHADOW_THREAD | SHADOW_ALONE, 1500, 8 * MIB, g_operations / 2);
}

static void model__small_blocks_only(void **state) {
  (void)state;
  run(g_seed + 1, SHADOW_THREAD | SHADOW_ALONE, 20000, 2048, g_operations / 4);
}

static void model__with_options_that_change_on_the_way(void **state) {
  (void)state;
  run(g_seed + 2, SHADOW_OPTIONS | SHADOW_THREAD | SHADOW_ALONE, 1500, 4 * MIB,
      g_operations / 4);
}

/* A limit that is met all the time. */
static void model__with_a_limit(void **state) {
  (void)state;
  enum {
    LIMIT = 12 << 20
  };
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(hak_heap_default(), &stats), 0);
  uint64_t limit = stats.committed_bytes + LIMIT;
  CHECK_EQ(hak_heap_set_limits(NULL, limit - LIMIT / 4, limit), 0);
  run(g_seed + 3, SHADOW_THREAD | SHADOW_ALONE | SHADOW_MAY_FAIL, 1500, 2 * MIB,
      g_operations / 4);
  CHECK_EQ(hak_stats_get(hak_heap_default(), &stats), 0);
  CHECK(stats.committed_bytes <= limit && stats.budget_refused > 0);
  CHECK_EQ(hak_heap_set_limits(NULL, 0, 0), 0);
}

int main(int argc, char **argv) {
  test_begin();
  test_start();
  g_program = argv[0];
  g_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : test_seed();
  g_operations = argc > 2 ? strtoull(argv[2], NULL, 0) : test_scale(500000);
  fprintf(stderr, "replay with: %s 0x%" PRIx64 " %" PRIu64 "\n", g_program, g_seed,
          g_operations);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(model__all_operations_on_all_tiers),
      cmocka_unit_test(model__small_blocks_only),
      cmocka_unit_test(model__with_options_that_change_on_the_way),
      cmocka_unit_test(model__with_a_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
