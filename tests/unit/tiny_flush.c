/* tiny_flush.c - what a thread cache keeps is given up: a bin, a class, a part at a time,
 * and what lies in the transfer cache. */
#include "slab_fixture.h"

#include "superslab/locate.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/home.h"
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

/* --- misuse on the way home ----------------------------------------------------------
 */

/* Blocks 0 to 2, then this pointer. */
static void *list_with_stray(hak_slab_t *slab, void *stray) {
  void *list = test_slab_batch(slab, 0, 3).first;
  hak_link_write(&g_me->key, stray, HAK_LINK_END);
  hak_link_write(&g_me->key, test_slab_block(slab, 2), stray);
  return list;
}

static void break_link(void *block) { *(uint64_t *)block = 0x4141414141414141; }

/* The blocks before what is no block go home, and nothing else does. */
static void expect_three_home(hak_slab_t *slab, int error, const void *stray) {
  test_deferred_expect(error, stray);
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 3);
  CHECK_EQ(test_list_length(slab->list.head), 3);
  test_slab_home(slab, 3, CAPACITY);
}

typedef enum way {
  WAY_HELD,   /* the thread keeps the class as usual */
  WAY_SHARED, /* it shares its slabs */
  WAY_CUT     /* as a heap with a limit has it */
} way_t;

static void flush_by(way_t way, void *list, uint32_t count) {
  hak_hold_t *hold = test_hold();
  uint32_t shared = hold->shared;
  if (way == WAY_SHARED) hold->shared = 0;
  if (way == WAY_CUT) hold->quota = HAK_QUOTA_NONE;
  (void)hak_flush_list(g_me, g_cache, g_class, list, count);
  hold->shared = shared;
  hold->quota = 0;
}

static void pointers__that_are_no_blocks_are_reported_on_each_way_home(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) return; /* nothing looks at blocks */
  for (way_t way = WAY_HELD; way <= WAY_CUT; way++) {
    hak_slab_t *slab = test_slab_full();
    char *inside = test_slab_block(slab, 7) + 8;
    flush_by(way, list_with_stray(slab, inside), 4);
    expect_three_home(slab, HAK_ERROR_INTERIOR_POINTER, inside);
    /* As the first one, too. */
    slab = test_slab_full();
    inside = test_slab_block(slab, 7) + 8;
    hak_link_write(&g_me->key, inside, test_slab_batch(slab, 0, 3).first);
    flush_by(way, inside, 4);
    expect_three_home(slab, HAK_ERROR_INTERIOR_POINTER, inside);
    hak_flush_class(g_me, g_cache, g_class);
  }
}

static void links__that_are_broken_are_reported_on_each_way_home(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) return; /* nothing looks at links */
  for (way_t way = WAY_HELD; way <= WAY_CUT; way++) {
    hak_slab_t *slab = test_slab_full();
    void *list = list_with_stray(slab, test_slab_block(slab, 3));
    break_link(test_slab_block(slab, 3));
    flush_by(way, list, 4);
    expect_three_home(slab, HAK_ERROR_CORRUPT_BLOCK, test_slab_block(slab, 3));
    slab = test_slab_full();
    break_link(test_slab_block(slab, 3));
    flush_by(way, test_slab_block(slab, 3), 1);
    test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, test_slab_block(slab, 3));
    CHECK_EQ(hak_slab_out(slab), CAPACITY);
    test_slab_home(slab, 0, CAPACITY);
    hak_flush_class(g_me, g_cache, g_class);
  }
}

/* The lock of the partial list may be another thread's. */
static void flush__of_shared_blocks_leaves_a_lock_alone_that_it_has_not(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_lock_acquire(&g_central->lock);
  flush_by(WAY_SHARED, test_slab_batch(slab, 0, 3).first, 3);
  bool was_free = hak_word_try(&g_central->lock.held);
  hak_lock_release(&g_central->lock);
  CHECK(!was_free);
  void *blocks[3];
  (void)test_slab_batch(slab, 3, 6);
  for (uint32_t i = 0; i < 3; i++) blocks[i] = test_slab_block(slab, 3 + i);
  hak_lock_acquire(&g_central->lock);
  (void)hak_home_blocks(g_me, g_cache, g_class, blocks, 3);
  was_free = hak_word_try(&g_central->lock.held);
  hak_lock_release(&g_central->lock);
  CHECK(!was_free);
  test_slab_home(slab, 6, CAPACITY);
}

/* In a heap whose limit is near what goes home takes no magazine. */
static void list__that_is_longer_than_a_magazine_goes_home_as_a_whole(void **state) {
  (void)state;
  hak_slab_t *slabs[2] = {test_slab_full(), test_slab_full()};
  hak_batch_t first = test_slab_batch(slabs[0], 0, CAPACITY - 1);
  hak_batch_t second = test_slab_batch(slabs[1], 0, CAPACITY - 1);
  hak_link_write(&g_me->key, first.last, second.first);
  flush_by(WAY_CUT, first.first, first.count + second.count);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(hak_slab_out(slabs[i]), 1);
    test_slab_home(slabs[i], CAPACITY - 1, CAPACITY);
  }
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(bin__that_is_flushed_is_empty_and_its_blocks_are_home),
                H(list__that_is_longer_than_it_says_is_reported),
                H(class__that_is_flushed_leaves_nothing_with_the_thread),
                H(work__is_done_a_part_at_a_time_and_ends),
                H(transfer__of_the_heap_goes_home_without_bins),
                H(pointers__that_are_no_blocks_are_reported_on_each_way_home),
                H(links__that_are_broken_are_reported_on_each_way_home),
                H(flush__of_shared_blocks_leaves_a_lock_alone_that_it_has_not),
                H(list__that_is_longer_than_a_magazine_goes_home_as_a_whole))
