/* tiny_slab.c - a slab's life and its list: what each change makes of the counts, of the
 * list and of the word, and what it refuses. */
#include "slab_fixture.h"

#include "tiny/slab.h"

enum {
  SIZE = 1024,
  CAPACITY = 64
};

static void expect_list(void *list, hak_slab_t *slab, uint32_t from, uint32_t to) {
  CHECK(test_list_expect(list, slab, from, to) == HAK_LINK_END);
}

static void expect_word(hak_slab_t *slab, uint64_t word) {
  CHECK_EQ(hak_load_relaxed(&slab->word), word);
}

/* A slab that is held, with blocks `from` to `to` - 1 on its list, the others out. */
static hak_slab_t *make_listed(uint32_t from, uint32_t to) {
  hak_slab_t *slab = test_slab_full();
  hak_batch_t run = test_slab_batch(slab, from, to);
  hak_slab_come_home(g_me, &run, 0);
  return slab;
}

/* A slab that is held, all of whose blocks are on its list. */
static hak_slab_t *make_home(void) { return make_listed(0, CAPACITY); }

/* --- life ------------------------------------------------------------------------- */

static void slab__that_begins_is_held_and_not_carved(void **state) {
  (void)state;
  hak_slab_t *slab = make_listed(0, 5);
  slab->dirty = 1;
  slab->unsure = 2;
  slab->queue = HAK_QUEUE_PARTIAL;
  hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_FREE, 0));
  hak_store_relaxed(&slab->held_back, 3);
  hak_slab_begin(g_cache, slab, hak_class_of(1280), 3);
  expect_word(slab, hak_word_mine(g_cache));
  test_slab_expect(slab, 0, 0, 0);
  CHECK_EQ(hak_slab_capacity(slab), 153); /* 196,608 / 1,280 */
  CHECK_EQ(hak_slab_class(slab), 22);
  CHECK_EQ(hak_list_block_size(&slab->list), 1280);
  CHECK(slab->list.head == HAK_LINK_END);
  CHECK_EQ(hak_slab_span(slab), 3);
  CHECK_EQ(slab->queue, HAK_QUEUE_NONE);
  CHECK_EQ(slab->dirty, 0);
  CHECK_EQ(slab->unsure, 0);
  test_slab_retire(slab);
}

static void single_block__is_out_until_the_first_of_two_ends_it(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_slab_begin_single(slab, hak_class_of(81920), 2);
  CHECK(hak_word_is_full(hak_load_relaxed(&slab->word)));
  test_slab_expect(slab, 1, 1, 0);
  CHECK_EQ(hak_slab_capacity(slab), 1);
  CHECK_EQ(hak_list_block_size(&slab->list), 81920);
  CHECK_EQ(hak_slab_span(slab), 2);
  CHECK(slab->list.head == HAK_LINK_END);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(hak_slab_end_single(slab), i == 0);
    expect_word(slab, hak_word_make(HAK_SLAB_FREE, 0));
    test_slab_expect(slab, 1, 0, 0);
  }
  test_slab_retire(slab);
}

static void slab__that_ends_or_is_forgotten_is_free(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_slab_end(slab);
  expect_word(slab, hak_word_make(HAK_SLAB_FREE, 0));
  CHECK_EQ(hak_slab_class(slab), g_class);
  hak_slab_begin(g_cache, slab, g_class, 1);
  hak_slab_forget(slab);
  expect_word(slab, hak_word_make(HAK_SLAB_FREE, 0));
  CHECK_EQ(hak_slab_class(slab), HAK_CLASS_NONE);
  test_slab_retire(slab);
}

static void slab__that_is_carved_anew_is_dirty_if_all_its_blocks_have_links(
    void **state) {
  (void)state;
  for (uint8_t unsure = 0; unsure < 3; unsure++) {
    hak_slab_t *slab = make_home();
    slab->dirty = unsure != 0;
    slab->unsure = unsure;
    hak_slab_carve_anew(slab);
    CHECK_EQ(slab->dirty, unsure == 0);
    CHECK_EQ(slab->unsure, 0);
    test_slab_expect(slab, 0, 0, 0);
    CHECK(slab->list.head == HAK_LINK_END);
    expect_word(slab, hak_word_mine(g_cache));
    test_slab_retire(slab);
  }
}

static void restore__makes_a_slab_full_or_partial(void **state) {
  (void)state;
  const struct {
    uint32_t carved, listed;
    hak_slab_state_t state;
  } cases[] = {{CAPACITY, 0, HAK_SLAB_FULL},
               {CAPACITY, 10, HAK_SLAB_PARTIAL},
               {30, 0, HAK_SLAB_PARTIAL},
               {30, 30, HAK_SLAB_PARTIAL}};
  for (size_t i = 0; i < TEST_COUNT(cases); i++) {
    hak_slab_t *slab = test_slab_full();
    hak_slab_begin(g_cache, slab, g_class, 1);
    hak_slab_carve(slab, cases[i].carved);
    hak_slab_set_out(slab, 9, 4); /* whatever the counts were */
    slab->queue = HAK_QUEUE_HELD;
    slab->dirty = slab->unsure = 1;
    uint32_t listed = cases[i].listed;
    void *list = listed == 0 ? HAK_LINK_END : test_slab_batch(slab, 0, listed).first;
    hak_slab_restore(slab, list, listed);
    expect_word(slab, hak_word_make(cases[i].state, 0));
    test_slab_expect(slab, cases[i].carved, cases[i].carved - listed, 0);
    expect_list(slab->list.head, slab, 0, listed);
    CHECK_EQ(slab->queue, HAK_QUEUE_NONE);
    CHECK_EQ(slab->dirty + slab->unsure, 0);
    test_slab_retire(slab);
  }
}

/* --- counts and the list ------------------------------------------------------------ */

static void blocks__that_are_carved_are_out(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_slab_begin(g_cache, slab, g_class, 1);
  hak_slab_carve(slab, 5);
  test_slab_expect(slab, 5, 5, 0);
  hak_slab_carve(slab, 7);
  test_slab_expect(slab, 12, 12, 0);
  hak_slab_set_out(slab, 12, 4);
  test_slab_expect(slab, 12, 12, 4);
  hak_slab_hear_last(slab);
  test_slab_expect(slab, 12, 12, 0);
  hak_slab_begin(g_cache, slab, g_class, 1);
  hak_slab_carve_whole(slab, test_slab_batch(slab, 0, CAPACITY).first);
  test_slab_expect(slab, CAPACITY, 0, 0);
  expect_list(slab->list.head, slab, 0, CAPACITY);
  test_slab_retire(slab);
}

static void run__that_comes_home_lies_before_the_blocks_on_the_list(void **state) {
  (void)state;
  hak_slab_t *slab = make_listed(10, 13);
  test_slab_expect(slab, CAPACITY, 61, 0);
  hak_batch_t run = test_slab_batch(slab, 0, 2);
  CHECK(hak_slab_accepts(g_me, g_cache, &run));
  hak_slab_come_home(g_me, &run, 8);
  test_slab_expect(slab, CAPACITY, 59, 8);
  void *list = test_list_expect(slab->list.head, slab, 0, 2);
  expect_list(list, slab, 10, 13);
  test_deferred_expect(0, NULL);
  test_slab_retire(slab);
}

static void run__is_accepted_up_to_the_blocks_that_are_out(void **state) {
  (void)state;
  hak_slab_t *slab = make_listed(0, 60);
  hak_batch_t run = test_slab_batch(slab, 60, 64);
  CHECK(hak_slab_accepts(g_me, g_cache, &run));
  hak_slab_set_out(slab, 4, 2); /* those held back are out too */
  CHECK(hak_slab_accepts(g_me, g_cache, &run));
  test_deferred_expect(0, NULL);
  hak_slab_set_out(slab, 3, 2);
  CHECK(!hak_slab_accepts(g_me, g_cache, &run));
  test_deferred_expect(HAK_ERROR_DOUBLE_FREE, run.first);
  test_slab_expect(slab, CAPACITY, 3, 2);
  expect_list(slab->list.head, slab, 0, 60);
  test_slab_retire(slab);
}

static void run__that_begins_or_ends_with_the_first_on_the_list_is_refused(void **state) {
  (void)state;
  hak_slab_t *slab = make_listed(0, 5);
  char *head = test_slab_block(slab, 0), *other = test_slab_block(slab, 9);
  const hak_batch_t runs[] = {{slab, head, other, 2}, {slab, other, head, 2}};
  for (size_t i = 0; i < TEST_COUNT(runs); i++) {
    CHECK(!hak_slab_accepts(g_me, g_cache, &runs[i]));
    test_deferred_expect(HAK_ERROR_DOUBLE_FREE, runs[i].first);
  }
  test_slab_expect(slab, CAPACITY, 59, 0);
  expect_list(slab->list.head, slab, 0, 5);
  test_slab_retire(slab);
}

static void push__without_room_is_undone_unless_no_block_was_out(void **state) {
  (void)state;
  hak_slab_t *slab = make_listed(0, 56);
  char *block = test_slab_block(slab, 60);
  hak_slab_set_out(slab, 8, 7); /* the next push is looked at */
  CHECK(hak_room_is_gone(&slab->list.room));
  CHECK(hak_slab_undo_push(g_me, g_cache, slab, block));
  test_slab_expect(slab, CAPACITY, 8, 7);
  test_deferred_expect(0, NULL);
  hak_slab_set_out(slab, 0, 0);
  CHECK(hak_room_is_gone(&slab->list.room));
  CHECK(!hak_slab_undo_push(g_me, g_cache, slab, block));
  test_slab_expect(slab, CAPACITY, 0, 0);
  test_deferred_expect(HAK_ERROR_DOUBLE_FREE, block);
  expect_list(slab->list.head, slab, 0, 56);
  test_slab_retire(slab);
}

static void list__that_is_taken_leaves_every_carved_block_out(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_slab_begin(g_cache, slab, g_class, 1);
  hak_slab_carve(slab, 30);
  hak_batch_t run = test_slab_batch(slab, 0, 20);
  hak_slab_come_home(g_me, &run, 2);
  expect_list(hak_slab_take_list(slab), slab, 0, 20);
  CHECK(slab->list.head == HAK_LINK_END);
  test_slab_expect(slab, 30, 30, 0);
  CHECK(hak_slab_take_list(slab) == HAK_LINK_END);
  test_slab_retire(slab);
}

static void some__are_taken_from_the_front_and_end_their_list(void **state) {
  (void)state;
  hak_slab_t *slab = make_listed(0, 10);
  uint32_t count = 99;
  CHECK(hak_slab_take_some(g_me, g_cache, slab, 0, &count) == HAK_LINK_END);
  CHECK_EQ(count, 0);
  test_slab_expect(slab, CAPACITY, 54, 0);
  expect_list(hak_slab_take_some(g_me, g_cache, slab, 4, &count), slab, 0, 4);
  CHECK_EQ(count, 4);
  test_slab_expect(slab, CAPACITY, 58, 0);
  expect_list(slab->list.head, slab, 4, 10);
  expect_list(hak_slab_take_some(g_me, g_cache, slab, 7, &count), slab, 4, 10);
  CHECK_EQ(count, 6);
  test_slab_expect(slab, CAPACITY, CAPACITY, 0);
  CHECK(slab->list.head == HAK_LINK_END);
  CHECK(hak_slab_take_some(g_me, g_cache, slab, 7, &count) == HAK_LINK_END);
  CHECK_EQ(count, 0);
  test_slab_retire(slab);
}

static void some__are_those_before_a_broken_link_and_the_rest_stay_out(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) skip(); /* no link is known to be broken */
  hak_slab_t *slab = make_listed(0, 10);
  hak_link_spoil(test_slab_block(slab, 3));
  uint32_t count;
  expect_list(hak_slab_take_some(g_me, g_cache, slab, 8, &count), slab, 0, 3);
  CHECK_EQ(count, 3);
  test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, test_slab_block(slab, 3));
  test_slab_expect(slab, CAPACITY, CAPACITY, 0);
  CHECK(slab->list.head == HAK_LINK_END);
  test_slab_retire(slab);
}

/* --- slabs that are home by the count -------------------------------------------------
 */

static void all_home__is_true_if_every_carved_block_has_a_link(void **state) {
  (void)state;
  hak_slab_t *slab = make_home();
  CHECK(hak_slab_all_home(g_me, g_cache, slab));
  expect_list(slab->list.head, slab, 0, CAPACITY);
  /* Others are not looked at. */
  hak_link_spoil(test_slab_block(slab, 30));
  hak_store_relaxed(&slab->carved, 30);
  CHECK(hak_slab_all_home(g_me, g_cache, slab));
  test_slab_expect(slab, 30, 0, 0);
  test_deferred_expect(0, NULL);
  test_slab_retire(slab);
}

static void all_home__keeps_a_block_out_that_has_no_link(void **state) {
  (void)state;
  hak_slab_t *slab = make_home();
  hak_link_spoil(test_slab_block(slab, 5));
  if (HAK_CHECKS == 0) {
    CHECK(hak_slab_all_home(g_me, g_cache, slab));
    test_slab_retire(slab);
    return;
  }
  slab->unsure = 1; /* blocks that a fork has lost have none either */
  CHECK(hak_slab_all_home(g_me, g_cache, slab));
  test_deferred_expect(0, NULL);
  slab->unsure = 0;
  CHECK(!hak_slab_all_home(g_me, g_cache, slab));
  test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, test_slab_block(slab, 5));
  test_slab_expect(slab, CAPACITY, 1, 0);
  void *list = test_list_expect(slab->list.head, slab, 0, 5);
  expect_list(list, slab, 6, CAPACITY);
  test_slab_retire(slab);
}

/* Of blocks of `bytes`, of which the last has no link. */
static bool looks_all_home(size_t bytes) {
  hak_slab_t *slab = test_slab_full();
  hak_slab_begin(g_cache, slab, hak_class_of(bytes), 1);
  uint32_t capacity = hak_slab_capacity(slab);
  hak_slab_carve_whole(slab, test_slab_batch(slab, 0, capacity).first);
  hak_link_spoil(test_slab_block(slab, capacity - 1));
  bool all = hak_slab_all_home(g_me, g_cache, slab);
  test_deferred_expect(all ? 0 : HAK_ERROR_CORRUPT_BLOCK,
                       all ? NULL : test_slab_block(slab, capacity - 1));
  CHECK_EQ(hak_slab_out(slab), all ? 0 : 1);
  test_slab_retire(slab);
  return all;
}

static void all_home__looks_at_small_blocks_in_full_checks_only(void **state) {
  (void)state;
  CHECK_EQ(looks_all_home(256), HAK_CHECKS == 0);
  CHECK_EQ(looks_all_home(224), HAK_CHECKS < 2);
  CHECK_EQ(looks_all_home(16), HAK_CHECKS < 2);
}

/* --- the checker ------------------------------------------------------------------- */

static bool is_valid(hak_slab_t *slab) { return hak_slab_is_valid(g_me, g_cache, slab); }

static void slab__is_valid_if_its_counts_say_what_is_listed(void **state) {
  (void)state;
  hak_slab_t *slab = make_listed(0, 10);
  CHECK(is_valid(slab));
  hak_slab_set_out(slab, 53, 0);
  CHECK(!is_valid(slab)); /* a block is nowhere */
  slab->unsure = 1;
  CHECK(is_valid(slab));
  slab->unsure = 0;
  hak_slab_set_out(slab, 55, 0);
  CHECK(!is_valid(slab)); /* a block is out, and on the list */
  hak_slab_set_out(slab, 54, 0);
  hak_store_relaxed(&slab->capacity, CAPACITY - 1);
  CHECK(!is_valid(slab));
  hak_store_relaxed(&slab->capacity, CAPACITY);
  hak_slab_set_out(slab, CAPACITY + 1, 0);
  CHECK(!is_valid(slab));
  hak_slab_set_out(slab, 3, 0); /* fewer than are carved and not listed */
  hak_store_relaxed(&slab->carved, 9);
  CHECK(!is_valid(slab)); /* block 9 is on the list, and was never carved */
  test_slab_retire(slab);
}

static void slab__is_valid_if_its_list_has_blocks_of_it_only(void **state) {
  (void)state;
  hak_slab_t *slab = make_listed(0, 3);
  char *strays[] = {test_slab_block(slab, 5) + 8, test_slab_block(slab, CAPACITY),
                    test_slab_block(slab, 0) - SIZE};
  for (size_t i = 0; i < TEST_COUNT(strays); i++) {
    hak_link_write(&g_me->key, test_slab_block(slab, 2), strays[i]);
    CHECK(!is_valid(slab));
  }
  hak_link_write(&g_me->key, test_slab_block(slab, 2), test_slab_block(slab, 0));
  CHECK(!is_valid(slab)); /* it comes back to itself */
  hak_link_write(&g_me->key, test_slab_block(slab, 2), HAK_LINK_END);
  CHECK(is_valid(slab));
  test_slab_retire(slab);
}

static void slab__is_valid_if_it_is_held_for_the_cache(void **state) {
  (void)state;
  hak_slab_t *slab = make_listed(0, 61);
  uint64_t mine = hak_word_mine(g_cache), pushed = (uint64_t)1 << HAK_WORD_COUNT_SHIFT;
  hak_store_relaxed(&slab->word, mine + 3 * pushed + 1);
  CHECK(is_valid(slab));
  hak_store_relaxed(&slab->word, mine + 4 * pushed + 1);
  CHECK(!is_valid(slab)); /* more were pushed than are out */
  hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_PARTIAL, 0));
  CHECK(!is_valid(slab));
  hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_HELD, g_cache->code ^ 3));
  CHECK(!is_valid(slab));
  test_slab_retire(slab);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(slab__that_begins_is_held_and_not_carved),
                H(single_block__is_out_until_the_first_of_two_ends_it),
                H(slab__that_ends_or_is_forgotten_is_free),
                H(slab__that_is_carved_anew_is_dirty_if_all_its_blocks_have_links),
                H(restore__makes_a_slab_full_or_partial),
                H(blocks__that_are_carved_are_out),
                H(run__that_comes_home_lies_before_the_blocks_on_the_list),
                H(run__is_accepted_up_to_the_blocks_that_are_out),
                H(run__that_begins_or_ends_with_the_first_on_the_list_is_refused),
                H(push__without_room_is_undone_unless_no_block_was_out),
                H(list__that_is_taken_leaves_every_carved_block_out),
                H(some__are_taken_from_the_front_and_end_their_list),
                H(some__are_those_before_a_broken_link_and_the_rest_stay_out),
                H(all_home__is_true_if_every_carved_block_has_a_link),
                H(all_home__keeps_a_block_out_that_has_no_link),
                H(all_home__looks_at_small_blocks_in_full_checks_only),
                H(slab__is_valid_if_its_counts_say_what_is_listed),
                H(slab__is_valid_if_its_list_has_blocks_of_it_only),
                H(slab__is_valid_if_it_is_held_for_the_cache))
