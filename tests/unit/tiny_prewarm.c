/* tiny_prewarm.c - blocks that are made ready: no more than are missing, all of their
 * pages touched, and those that were ready count. */
#include "slab_fixture.h"

#include <string.h>

#include "tiny/prewarm.h"

enum {
  SIZE = 1024,
  CAPACITY = 64
};

static int teardown(void **state) {
  hak_thread_idle();
  CHECK_EQ(test_class_spans(), 0);
  return test_class_teardown(state);
}

static size_t prewarm(size_t count) {
  return hak_prewarm_class(g_me, g_cache, g_class, count);
}

static uint32_t slabs_held(void) { return g_cache->holds[g_class].slabs; }

static void slabs__are_cut_as_a_whole_until_there_are_enough(void **state) {
  (void)state;
  CHECK_EQ(prewarm(0), 0);
  CHECK_EQ(slabs_held(), 0);
  CHECK_EQ(prewarm(1), 1);
  CHECK_EQ(slabs_held(), 1);
  CHECK_EQ(prewarm(CAPACITY), CAPACITY);
  CHECK_EQ(slabs_held(), 1);
  CHECK_EQ(prewarm(CAPACITY + 1), CAPACITY + 1);
  CHECK_EQ(slabs_held(), 2);
  CHECK_EQ(prewarm(5 * CAPACITY), 5 * CAPACITY);
  CHECK_EQ(slabs_held(), 5);
  for (hak_slab_t *slab = g_cache->holds[g_class].first; slab != NULL;
       slab = slab->next) {
    CHECK_EQ(hak_slab_out(slab), 0);
    CHECK_EQ(hak_slab_carved(slab), CAPACITY);
    CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_mine(g_cache));
  }
  CHECK(hak_hold_is_valid(g_me, g_cache)); /* walks their lists */
}

static void blocks__that_are_ready_are_given_without_a_new_slab(void **state) {
  (void)state;
  static void *blocks[3 * CAPACITY];
  CHECK_EQ(prewarm(3 * CAPACITY), 3 * CAPACITY);
  hak_stats_t before = test_stats();
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_alloc(SIZE);
  hak_stats_t after = test_stats();
  CHECK_EQ(after.slab_fresh, before.slab_fresh);
  CHECK_EQ(after.os_commit, before.os_commit);
  CHECK_EQ(after.refill_partial, before.refill_partial + 3);
  CHECK_EQ(after.live_blocks, 3 * CAPACITY);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
}

/* On the three lists of the bin, and of slabs that are held. */
static void blocks__that_the_thread_has_count(void **state) {
  (void)state;
  hak_bin_t *bin = &g_cache->bins[g_class];
  hak_hold_t *hold = &g_cache->holds[g_class];
  hak_slab_t *slab = test_slab_full(), *held = test_slab_full();
  bin->ready = test_slab_batch(slab, 0, 10).first;
  hak_store_relaxed(&bin->ready_count, 10);
  hold->spare = test_slab_batch(slab, 10, 30).first;
  hak_store_relaxed(&hold->spare_count, 20);
  bin->list.head = test_slab_batch(slab, 30, 33).first;
  hak_store_relaxed(&bin->list.room, (int32_t)hak_bin_capacity(bin) - 3);
  test_slab_home(held, 0, 40);
  CHECK_EQ(slabs_held(), 1);
  CHECK_EQ(prewarm(10 + 20 + 3 + 40), 73);
  CHECK_EQ(slabs_held(), 1);
  CHECK_EQ(prewarm(74), 74);
  CHECK_EQ(slabs_held(), 2);
  test_slab_home(slab, 33, CAPACITY);
  test_slab_home(held, 40, CAPACITY);
}

static void refusal__of_memory_tells_how_many_there_are(void **state) {
  (void)state;
  CHECK_EQ(prewarm(CAPACITY), CAPACITY);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  size_t count = prewarm(100000);
  CHECK_EQ(prewarm(100000), count);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(count >= CAPACITY && count % CAPACITY == 0);
  CHECK_EQ(count, (size_t)slabs_held() * CAPACITY);
  CHECK_EQ(prewarm(count + 1), count + 1);
}

static void touch__writes_a_byte_of_each_page_and_no_word_of_the_librarys(void **state) {
  (void)state;
  enum {
    BYTES = 3 * 4096 + 100
  };
  static unsigned char block[BYTES + 1];
  memset(block, 0xff, sizeof block);
  hak_prewarm_touch(block, BYTES);
  for (size_t i = 0; i <= BYTES; i++) {
    bool is_touched = i == 16 || i == 16 + 4096 || i == 16 + 2 * 4096 ||
                      i == 16 + 3 * 4096 || i == BYTES - 1;
    CHECK_EQ(block[i], is_touched ? 0 : 0xff);
  }
  memset(block, 0xff, sizeof block);
  hak_prewarm_touch(block, 8);
  hak_prewarm_touch(block, 16);
  for (size_t i = 0; i < 32; i++) CHECK_EQ(block[i], 0xff);
}

#define H(function) TEST_OF_CLASS_ENDED(function, SIZE, teardown)

TEST_MAIN_FRESH(H(slabs__are_cut_as_a_whole_until_there_are_enough),
                H(blocks__that_are_ready_are_given_without_a_new_slab),
                H(blocks__that_the_thread_has_count),
                H(refusal__of_memory_tells_how_many_there_are),
                T(touch__writes_a_byte_of_each_page_and_no_word_of_the_librarys))
