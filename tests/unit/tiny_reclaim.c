/* tiny_reclaim.c - slabs whose holder is not there any more: what is found on their lists
 * is free, and everybody's. The holder is this thread, which has no queue of them. */
#include "slab_fixture.h"

#include "tiny/hole_map.h"
#include "tiny/partial_list.h"
#include "tiny/reclaim.h"

enum {
  SIZE = 1024,
  CAPACITY = 64
};

/* A slab as its holder left it: these blocks on its list. */
static hak_slab_t *make_held(uint32_t from, uint32_t to) {
  hak_slab_t *slab = test_slab_full();
  if (from < to) slab->list.head = test_slab_batch(slab, from, to).first;
  return slab;
}

static void reclaim(hak_slab_t *slab) { hak_reclaim_slab(g_me, g_cache, slab); }

/* The slab's list is these blocks, in address order. */
static void expect_list(hak_slab_t *slab, uint32_t from, uint32_t to) {
  CHECK(test_list_expect(slab->list.head, slab, from, to) == HAK_LINK_END);
}

static void slab__with_free_blocks_lies_on_the_partial_list(void **state) {
  (void)state;
  hak_slab_t *slab = make_held(10, 30);
  hak_slab_set_out(slab, 7, 3); /* whatever the counts were */
  slab->dirty = slab->unsure = 1;
  reclaim(slab);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_PARTIAL, 0));
  CHECK_EQ(slab->queue, HAK_QUEUE_PARTIAL);
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 20);
  CHECK_EQ(hak_load_relaxed(&slab->held_back), 0);
  CHECK_EQ(slab->dirty + slab->unsure, 0);
  CHECK_EQ(hak_registry_entry(g_me->registry, (uintptr_t)test_slab_block(slab, 5)),
           hak_cache_entry(g_cache, g_class));
  CHECK(hak_partial_is_valid(g_central));
  expect_list(slab, 10, 30);
  test_slab_home(slab, 0, 10);
  test_slab_home(slab, 30, CAPACITY);
}

static void blocks__that_others_pushed_are_found_too_and_all_in_order(void **state) {
  (void)state;
  hak_slab_t *slab = make_held(20, 40);
  test_slab_home_elsewhere(slab, 40, 50);
  test_slab_home_elsewhere(slab, 10, 20);
  CHECK_EQ(hak_word_remote_count(hak_load_relaxed(&slab->word)), 20);
  reclaim(slab);
  CHECK_EQ(hak_word_remote_count(hak_load_relaxed(&slab->word)), 0);
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 40);
  expect_list(slab, 10, 50);
  test_slab_home(slab, 0, 10);
  test_slab_home(slab, 50, CAPACITY);
}

static void blocks__that_were_put_away_are_found_too(void **state) {
  (void)state;
  hak_slab_t *slab = make_held(0, 4);
  uint32_t page = (1u << hak_hole_page_shift(slab)) / SIZE; /* blocks in it */
  hak_store_relaxed(&slab->holes, 1u << 2);
  hak_add_relaxed(&hak_hole_bytes, page * SIZE);
  reclaim(slab);
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 4 - page);
  CHECK_EQ(hak_load_relaxed(&slab->holes) + hak_load_relaxed(&hak_hole_bytes), 0);
  void *rest = test_list_expect(slab->list.head, slab, 0, 4);
  CHECK(test_list_expect(rest, slab, 2 * page, 3 * page) == HAK_LINK_END);
  test_slab_home(slab, 4, 2 * page);
  test_slab_home(slab, 3 * page, CAPACITY);
}

/* At the fork their holder was just taking them off the list. */
static void blocks__that_were_being_put_away_are_found_once(void **state) {
  (void)state;
  uint32_t page = 4096 / SIZE; /* blocks in it */
  hak_slab_t *slab = make_held(0, 4 * page);
  hak_store_relaxed(&slab->holes, 1u << 2);
  hak_add_relaxed(&hak_hole_bytes, page * SIZE);
  reclaim(slab);
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 4 * page);
  expect_list(slab, 0, 4 * page);
  test_slab_home(slab, 4 * page, CAPACITY);
}

static void slab__without_free_blocks_is_full(void **state) {
  (void)state;
  hak_slab_t *slab = make_held(0, 0);
  reclaim(slab);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_FULL, 0));
  CHECK_EQ(slab->queue, HAK_QUEUE_NONE);
  CHECK_EQ(hak_slab_out(slab), CAPACITY);
  CHECK_EQ(g_central->listed, 0);
  test_slab_home(slab, 0, CAPACITY);
}

static void slab__all_of_whose_blocks_are_found_is_the_pools(void **state) {
  (void)state;
  hak_slab_t *slab = make_held(0, CAPACITY);
  CHECK_EQ(test_class_spans(), 1);
  reclaim(slab);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_FREE, 0));
  CHECK_EQ(test_class_spans(), 0);
}

static void slab__that_is_carved_in_part_can_be_gone_on_with(void **state) {
  (void)state;
  hak_slab_t *slab = make_held(0, 0);
  hak_store_relaxed(&slab->carved, 10);
  hak_slab_set_out(slab, 10, 0);
  reclaim(slab);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_PARTIAL, 0));
  CHECK(hak_load_relaxed(&g_central->uncarved) == slab);
  CHECK_EQ(hak_slab_out(slab), 10);
  char *block = hak_alloc(SIZE);
  CHECK(block == test_slab_block(slab, 10));
  hak_free(block);
  test_slab_home(slab, 0, 10);
}

static void list__is_followed_as_far_as_it_can_be_one_of_the_slab(void **state) {
  (void)state;
  hak_slab_t *other = test_slab_full();
  for (int broken = 0; broken < 5; broken++) {
    hak_slab_t *slab = make_held(0, 8);
    char *third = test_slab_block(slab, 2);
    const hak_link_key_t *key = &g_me->key;
    if (broken == 0) hak_link_write(key, third, test_slab_block(slab, 1)); /* a circle */
    if (broken == 1) hak_link_write(key, third, test_slab_block(slab, 5) + 16);
    if (broken == 2) hak_link_write(key, third, test_slab_block(other, 5));
    if (broken == 3) *(uint64_t *)(void *)third = 0x4141414141414141;
    uint32_t carved = broken == 4 ? CAPACITY / 2 : CAPACITY;
    hak_store_relaxed(&slab->carved, carved);
    if (broken == 4) hak_link_write(key, third, test_slab_block(slab, carved));
    reclaim(slab);
    uint32_t found = 3; /* the third is free, if not what is behind it */
    CHECK_EQ(hak_slab_out(slab), carved - found);
    expect_list(slab, 0, found);
    test_slab_home(slab, found, carved);
  }
  test_slab_home(other, 0, CAPACITY);
}

static void unsure__are_all_slabs_that_the_thread_may_have_been_at(void **state) {
  (void)state;
  hak_slab_t slabs[3] = {{.unsure = 0}, {.unsure = HAK_UNSURE_MAX}, {.unsure = 4}};
  hak_hold_t hold = {.first = &slabs[0], .last = &slabs[1], .current = &slabs[2]};
  slabs[0].next = &slabs[1];
  hak_reclaim_mark_unsure(&hold);
  CHECK_EQ(slabs[0].unsure, 1);
  CHECK_EQ(slabs[1].unsure, HAK_UNSURE_MAX); /* no more than that is counted */
  CHECK_EQ(slabs[2].unsure, 5);
  slabs[2].queue = HAK_QUEUE_HELD; /* then it is in the queue, and once is enough */
  hak_reclaim_mark_unsure(&hold);
  CHECK_EQ(slabs[0].unsure, 2);
  CHECK_EQ(slabs[2].unsure, 5);
  hold.current = NULL;
  hak_reclaim_mark_unsure(&hold);
  CHECK_EQ(slabs[0].unsure, 3);
}

static void cached__are_the_bytes_of_three_lists_and_the_magazine(void **state) {
  (void)state;
  static hak_bin_t bins[HAK_CLASSES];
  static hak_hold_t holds[HAK_CLASSES];
  static hak_magazine_t magazine;
  CHECK_EQ(hak_reclaim_cached(bins, holds), 0);
  hak_bin_set_room(&bins[g_class], 32);
  hak_store_relaxed(&bins[g_class].list.room, 30); /* two are on it */
  CHECK_EQ(hak_reclaim_cached(bins, holds), 2 * SIZE);
  hak_store_relaxed(&bins[g_class].ready_count, 5);
  CHECK_EQ(hak_reclaim_cached(bins, holds), 7 * SIZE);
  hak_store_relaxed(&holds[g_class].spare_count, 11);
  CHECK_EQ(hak_reclaim_cached(bins, holds), 18 * SIZE);
  hak_store_relaxed(&magazine.count, 3);
  hak_store_relaxed(&holds[g_class].magazine, &magazine);
  CHECK_EQ(hak_reclaim_cached(bins, holds), 21 * SIZE);
  hak_store_relaxed(&bins[0].ready_count, 10);
  CHECK_EQ(hak_reclaim_cached(bins, holds), 21 * SIZE + 10 * hak_class_size(0));
}

/* The thread has taken the first block off what it had freed, and makes the others the
 * list to allocate from. */
static void bin__that_was_being_flipped_has_no_block_twice(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  for (uint32_t count = 1; count <= 3; count++) {
    for (int step = 0; step < 3; step++) {
      hak_batch_t batch = test_slab_batch(slab, 0, count);
      char *second = count == 1 ? HAK_LINK_END : test_slab_block(slab, 1);
      hak_bin_t bin = {.list = {.head = batch.first}, .ready = HAK_LINK_END};
      if (step >= 1) hak_link_unmark(batch.first);
      if (step >= 2) bin.ready = second;
      hak_reclaim_mend(g_me, &bin);
      /* Where blocks have no marks one that was taken last is not told from one that was
       * not: nobody has it yet. */
      char *head = step > 0 && HAK_CHECKS >= 2 ? second : test_slab_block(slab, 0);
      if (step == 2 && count > 1) head = HAK_LINK_END;
      CHECK(bin.ready == (step < 2 ? HAK_LINK_END : second));
      CHECK(bin.list.head == head);
    }
  }
  hak_bin_t empty = {.list = {.head = HAK_LINK_END}, .ready = test_slab_block(slab, 1)};
  hak_reclaim_mend(g_me, &empty);
  CHECK(empty.list.head == HAK_LINK_END && empty.ready == test_slab_block(slab, 1));
  test_slab_home(slab, 0, CAPACITY);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(slab__with_free_blocks_lies_on_the_partial_list),
                H(blocks__that_others_pushed_are_found_too_and_all_in_order),
                H(blocks__that_were_put_away_are_found_too),
                H(blocks__that_were_being_put_away_are_found_once),
                H(slab__without_free_blocks_is_full),
                H(slab__all_of_whose_blocks_are_found_is_the_pools),
                H(slab__that_is_carved_in_part_can_be_gone_on_with),
                H(list__is_followed_as_far_as_it_can_be_one_of_the_slab),
                H(unsure__are_all_slabs_that_the_thread_may_have_been_at),
                H(bin__that_was_being_flipped_has_no_block_twice),
                H(cached__are_the_bytes_of_three_lists_and_the_magazine))
