/* tiny_home.c - blocks go straight home to their slabs: an array of them in runs, a list
 * as far as it should be long. */
#include "slab_fixture.h"

#include "tiny/home.h"

enum {
  SIZE = 1024,
  CAPACITY = 64
};

static void blocks__go_home_in_runs_of_one_slab(void **state) {
  (void)state;
  hak_slab_t *slabs[2] = {test_slab_full(), test_slab_full()};
  void *blocks[12];
  for (uint32_t i = 0; i < 12; i++) {
    blocks[i] = test_slab_block(slabs[i / 4 % 2], i); /* four, four and four */
    hak_link_write(&g_me->key, blocks[i], HAK_LINK_END);
  }
  CHECK_EQ(hak_home_blocks(g_me, g_cache, g_class, blocks, 12), 3);
  CHECK_EQ(hak_slab_out(slabs[0]), CAPACITY - 8);
  CHECK_EQ(hak_slab_out(slabs[1]), CAPACITY - 4);
  CHECK_EQ(test_list_length(slabs[0]->list.head), 8);
  CHECK_EQ(test_list_length(slabs[1]->list.head), 4);
  CHECK_EQ(hak_home_blocks(g_me, g_cache, g_class, blocks, 0), 0);
  test_slab_home(slabs[0], 4, 8);
  test_slab_home(slabs[0], 12, CAPACITY);
  test_slab_home(slabs[1], 0, 4);
  test_slab_home(slabs[1], 8, CAPACITY);
}

static void list__goes_home_as_far_as_it_should_be_long(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_home_list(g_me, g_cache, g_class, test_slab_batch(slab, 0, 63).first, 63);
  CHECK_EQ(hak_slab_out(slab), 1); /* more than a magazine has */
  test_deferred_expect(0, NULL);
  test_slab_home(slab, 63, 64);
  slab = test_slab_full();
  hak_home_list(g_me, g_cache, g_class, test_slab_batch(slab, 0, 5).first, 3);
  CHECK_EQ(hak_slab_out(slab), 61);
  test_deferred_expect(HAK_ERROR_DOUBLE_FREE, test_slab_block(slab, 3));
  test_slab_home(slab, 3, 64);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(blocks__go_home_in_runs_of_one_slab),
                H(list__goes_home_as_far_as_it_should_be_long))
