/* api_heap_slabs.c - what a thread holds of a heap is the heap's: slabs that it takes
 * up and gives up beside those of the default heap. */
#include "support.h"

#include <stdlib.h>

/* Random frees over far more slabs of a class than a thread keeps, in two heaps and
 * the default one by turns: what is given up must be of the heap it is counted for. */
static void frees__at_random_over_many_slabs_stay_with_their_heap(void **state) {
  (void)state;
  enum {
    OWNERS = 3,
    SIZE = 512
  };
  size_t count = test_is_strict() || TEST_TSAN || TEST_ASAN ? 40000 : 80000;
  hak_heap_t *heaps[OWNERS] = {hak_heap_default(), hak_heap_create(NULL),
                               hak_heap_create(NULL)};
  uint64_t before = test_live_blocks();
  void **blocks = malloc(OWNERS * count * sizeof *blocks);
  CHECK(blocks != NULL);
  for (size_t i = 0; i < OWNERS * count; i++) {
    blocks[i] = hak_heap_alloc(heaps[i % OWNERS], SIZE);
    CHECK(blocks[i] != NULL && hak_heap_of(blocks[i]) == heaps[i % OWNERS]);
  }
  test_rng_t rng = test_rng(test_seed(), 5);
  for (size_t left = OWNERS * count; left > OWNERS * count / 10; left--) {
    size_t at = test_below(&rng, left);
    hak_free(blocks[at]);
    blocks[at] = blocks[left - 1];
    if (left % 10000 == 0) CHECK_EQ(hak_check(NULL), 0);
  }
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks() - before, OWNERS * count / 10);
  for (size_t i = 0; i < OWNERS * count / 10; i++) hak_free(blocks[i]);
  hak_thread_idle();
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t i = 1; i < OWNERS; i++) {
    hak_stats_t stats = {.struct_size = sizeof stats};
    CHECK_EQ(hak_stats_get(heaps[i], &stats), 0);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_EQ(stats.superslabs, 0);
    CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
  }
  CHECK_EQ(test_live_blocks(), before);
  free(blocks);
}

TEST_MAIN(T(frees__at_random_over_many_slabs_stay_with_their_heap))
