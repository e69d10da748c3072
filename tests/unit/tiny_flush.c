/* tiny_flush.c - what a thread cache keeps is given up: a bin, a class, a part at a time,
 * and what lies in the transfer cache. */
#include "slab_fixture.h"

#include "superslab/locate.h"
#include "tiny/flush.h"
#include "tiny/magazine.h"
#include "tiny/partial_list.h"
#include "tiny/transfer.h"

enum {
  SIZE = 1024,
  CAPACITY = 64,
  BIN = 32 /* blocks of each list of the bin */
};

static void bin__that_is_flushed_is_empty_and_its_blocks_are_home(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_bin()->ready = test_slab_batch(slab, 0, 3).first;
  hak_store_relaxed(&test_bin()->ready_count, 3);
  test_hold()->spare = test_slab_batch(slab, 3, 8).first;
  hak_store_relaxed(&test_hold()->spare_count, 5);
  test_slab_free(slab, 8, 15);
  test_bin_expect(7, 3, 5);
  hak_flush_bin(g_me, g_cache, g_class);
  test_bin_expect(0, 0, 0);
  CHECK_EQ(hak_load_relaxed(&test_bin()->list.room), BIN);
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 15);
  CHECK_EQ(test_list_length(slab->list.head), 15);
  test_slab_home(slab, 15, CAPACITY);
}

static void list__that_is_longer_than_it_says_is_reported(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_bin()->ready = test_slab_batch(slab, 0, 6).first;
  hak_store_relaxed(&test_bin()->ready_count, 4);
  hak_flush_bin(g_me, g_cache, g_class);
  test_deferred_expect(HAK_ERROR_DOUBLE_FREE, test_slab_block(slab, 4));
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 4);
  test_slab_home(slab, 4, CAPACITY);
}

static void class__that_is_flushed_leaves_nothing_with_the_thread(void **state) {
  (void)state;
  hak_slab_t *held = test_slab_full(), *full = test_slab_full();
  void *block = hak_alloc(SIZE); /* of a third slab, which is current now */
  CHECK(test_hold()->current != NULL);
  test_slab_home(held, 0, 10);
  test_slab_free(full, 0, 5);
  hak_transfer_add(g_me, g_cache, g_class, test_slab_batch(full, 5, 6).first);
  CHECK(hak_load_relaxed(&test_hold()->magazine) != NULL);
  CHECK_EQ(test_hold()->slabs, 1);
  hak_flush_class(g_me, g_cache, g_class);
  test_bin_expect(0, 0, 0);
  CHECK(hak_load_relaxed(&test_hold()->magazine) == NULL);
  CHECK(test_hold()->first == NULL && test_hold()->current == NULL);
  CHECK_EQ(test_hold()->slabs, 0);
  CHECK_EQ(test_bin()->spilling, 0);
  CHECK_EQ(hak_slab_out(held), CAPACITY - 10);
  CHECK_EQ(hak_slab_out(full), CAPACITY - 6);
  CHECK_EQ(held->queue, HAK_QUEUE_PARTIAL);
  CHECK_EQ(full->queue, HAK_QUEUE_PARTIAL);
  CHECK_EQ(hak_slab_of(block)->queue, HAK_QUEUE_UNCARVED);
  CHECK_EQ(g_central->listed, 3);
  CHECK(hak_partial_is_valid(g_central));
  hak_free(block);
  test_slab_home(held, 10, CAPACITY);
  test_slab_home(full, 6, CAPACITY);
}

static void work__is_done_a_part_at_a_time_and_ends(void **state) {
  (void)state;
  hak_slab_t *slabs[2] = {test_slab_full(), test_slab_full()};
  test_hold()->spare = test_slab_batch(slabs[0], 0, 30).first;
  hak_store_relaxed(&test_hold()->spare_count, 30);
  test_bin()->ready = test_slab_batch(slabs[0], 30, 60).first;
  hak_store_relaxed(&test_bin()->ready_count, 30);
  test_slab_free(slabs[1], 0, 30);
  size_t work = HAK_MAGAZINE_BLOCKS; /* too little to begin with */
  CHECK(!hak_flush_some(g_me, g_cache, &work));
  test_bin_expect(30, 30, 30);
  work = 70;
  CHECK(!hak_flush_some(g_me, g_cache, &work));
  CHECK_EQ(work, 0);
  test_bin_expect(20, 0, 0);
  CHECK_EQ(hak_slab_out(slabs[0]), CAPACITY - 60);
  CHECK_EQ(hak_slab_out(slabs[1]), CAPACITY - 10);
  CHECK_EQ(g_me->mask & HAK_MODE_CACHED, 0); /* frees do not fill bins meanwhile */
  CHECK_EQ(g_me->in_parts, 0);
  work = 200;
  CHECK(hak_flush_some(g_me, g_cache, &work));
  CHECK_EQ(work, 200 - 20 - 2); /* blocks, and the two slabs that were held */
  test_bin_expect(0, 0, 0);
  CHECK(test_hold()->first == NULL && test_hold()->current == NULL);
  CHECK_EQ(g_central->listed, 2);
  g_me->mask = g_me->code;
  test_slab_home(slabs[0], 60, CAPACITY);
  test_slab_home(slabs[1], 30, CAPACITY);
}

static void transfer__of_the_heap_goes_home_without_bins(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_FULL, 0));
  hak_magazine_t *magazine = hak_magazine_get(g_me, g_cache);
  CHECK(magazine != NULL);
  (void)test_slab_batch(slab, 0, 20);
  for (uint32_t i = 0; i < 20; i++) magazine->blocks[i] = test_slab_block(slab, i);
  hak_store_relaxed(&magazine->count, 20);
  hak_store_relaxed(&g_central->places[3], magazine);
  hak_flush_transfer(g_me, g_cache);
  CHECK(hak_load_relaxed(&g_central->places[3]) == NULL);
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 20);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_PARTIAL, 0));
  test_slab_home(slab, 20, CAPACITY);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(bin__that_is_flushed_is_empty_and_its_blocks_are_home),
                H(list__that_is_longer_than_it_says_is_reported),
                H(class__that_is_flushed_leaves_nothing_with_the_thread),
                H(work__is_done_a_part_at_a_time_and_ends),
                H(transfer__of_the_heap_goes_home_without_bins))
