/* tiny_slab_word.c - who has a slab: every change of its word, what others push onto it,
 * and what the holder makes of that. One thread plays all parts. */
#include "slab_fixture.h"

#include "tiny/slab.h"

enum {
  SIZE = 1024,
  CAPACITY = 64
};

#define FULL hak_word_make(HAK_SLAB_FULL, 0)
#define PARTIAL hak_word_make(HAK_SLAB_PARTIAL, 0)
#define MINE hak_word_mine(g_cache)

static uint64_t word_of(hak_slab_t *slab) { return hak_load_relaxed(&slab->word); }
static void set_word(hak_slab_t *slab, uint64_t word) {
  hak_store_relaxed(&slab->word, word);
}

/* The word of a held slab onto which `count` blocks were pushed, block `first` last. */
static uint64_t pushed(uint32_t first, uint64_t count) {
  return MINE | count << 16 | (first * SIZE / 8 + 1);
}

/* Pushes a run as another thread does that has seen the word as it is. */
static void push_run(const hak_batch_t *run) {
  uint64_t word = word_of(run->slab);
  CHECK(hak_slab_push_remote(g_me, g_cache, run, &word));
}
static void push(hak_slab_t *slab, uint32_t from, uint32_t to) {
  hak_batch_t run = test_slab_batch(slab, from, to);
  push_run(&run);
}

static void come_home(hak_slab_t *slab, uint32_t from, uint32_t to) {
  hak_batch_t run = test_slab_batch(slab, from, to);
  hak_slab_come_home(g_me, &run, 0);
}

static void join(hak_slab_t *slab) { hak_slab_join_remote(g_me, g_cache, slab); }

/* --- others push ------------------------------------------------------------------ */

static void push__adds_its_count_and_lies_before_what_was_pushed(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  uint64_t before = hak_load_relaxed(&g_me->counts.free_remote), word = MINE;
  hak_batch_t run = test_slab_batch(slab, 3, 6);
  CHECK(hak_slab_push_remote(g_me, g_cache, &run, &word));
  CHECK_EQ(word, MINE); /* as it was last seen */
  CHECK_EQ(word_of(slab), pushed(3, 3));
  run = test_slab_batch(slab, 0, 2);
  CHECK(hak_slab_push_remote(g_me, g_cache, &run, &word)); /* it looks again */
  CHECK_EQ(word, pushed(3, 3));
  CHECK_EQ(word_of(slab), pushed(0, 5));
  CHECK_EQ(hak_load_relaxed(&g_me->counts.free_remote) - before, 5);
  test_slab_expect(slab, CAPACITY, CAPACITY, 0);
  CHECK(slab->list.head == HAK_LINK_END);
  void *rest = test_list_expect(test_slab_block(slab, 0), slab, 0, 2);
  CHECK(test_list_expect(rest, slab, 3, 6) == HAK_LINK_END);
  test_slab_retire(slab);
}

static void push__onto_a_slab_that_nobody_holds_fails(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_batch_t run = test_slab_batch(slab, 0, 2);
  const uint64_t words[] = {FULL, PARTIAL, hak_word_make(HAK_SLAB_FREE, 0)};
  for (size_t i = 0; i < TEST_COUNT(words); i++) {
    set_word(slab, words[i]);
    uint64_t seen[] = {words[i], MINE}; /* as it is, and as it was a moment ago */
    for (size_t k = 0; k < TEST_COUNT(seen); k++) {
      CHECK(!hak_slab_push_remote(g_me, g_cache, &run, &seen[k]));
      CHECK_EQ(seen[k], words[i]);
      CHECK_EQ(word_of(slab), words[i]);
    }
  }
  test_deferred_expect(0, NULL);
  test_slab_retire(slab);
}

static void push__of_more_blocks_than_fit_is_reported_and_dropped(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  push(slab, 0, 60);
  push(slab, 60, CAPACITY);
  CHECK_EQ(word_of(slab), pushed(60, CAPACITY));
  test_deferred_expect(0, NULL);
  push(slab, 30, 31);
  CHECK_EQ(word_of(slab), pushed(60, CAPACITY));
  test_deferred_expect(HAK_ERROR_DOUBLE_FREE, test_slab_block(slab, 30));
  test_slab_retire(slab);
}

static void push__of_the_block_that_was_pushed_last_is_reported_and_dropped(
    void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  push(slab, 5, 8);
  char *head = test_slab_block(slab, 5), *other = test_slab_block(slab, 20);
  const hak_batch_t runs[] = {{slab, head, other, 2}, {slab, other, head, 2}};
  for (size_t i = 0; i < TEST_COUNT(runs); i++) {
    push_run(&runs[i]);
    CHECK_EQ(word_of(slab), pushed(5, 3));
    test_deferred_expect(HAK_ERROR_DOUBLE_FREE, runs[i].first);
  }
  CHECK(test_list_expect(head, slab, 5, 8) == HAK_LINK_END);
  test_slab_retire(slab);
}

/* --- the holder takes what was pushed -------------------------------------------------
 */

static void take__gets_all_that_was_pushed_once_and_it_stays_out(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  uint32_t count = 99;
  CHECK(hak_slab_take_remote(g_me, g_cache, slab, &count) == NULL);
  CHECK_EQ(count, 0);
  push(slab, 10, 14);
  push(slab, 63, CAPACITY);
  void *list = hak_slab_take_remote(g_me, g_cache, slab, &count);
  CHECK_EQ(count, 5);
  list = test_list_expect(list, slab, 63, CAPACITY);
  CHECK(test_list_expect(list, slab, 10, 14) == HAK_LINK_END);
  CHECK_EQ(word_of(slab), MINE);
  test_slab_expect(slab, CAPACITY, CAPACITY, 0);
  CHECK(hak_slab_take_remote(g_me, g_cache, slab, &count) == NULL);
  CHECK_EQ(count, 0);
  push(slab, 7, 8); /* a single one */
  list = hak_slab_take_remote(g_me, g_cache, slab, &count);
  CHECK_EQ(count, 1);
  CHECK(test_list_expect(list, slab, 7, 8) == HAK_LINK_END);
  test_slab_retire(slab);
}

static void take__gets_nothing_if_more_was_pushed_than_is_out(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_slab_set_out(slab, 3, 1);
  push(slab, 0, 3);
  uint32_t count = 99;
  CHECK(hak_slab_take_remote(g_me, g_cache, slab, &count) == test_slab_block(slab, 0));
  CHECK_EQ(count, 3);
  test_deferred_expect(0, NULL);
  hak_slab_set_out(slab, 2, 1);
  push(slab, 0, 3);
  CHECK(hak_slab_take_remote(g_me, g_cache, slab, &count) == NULL);
  CHECK_EQ(count, 0);
  CHECK_EQ(word_of(slab), MINE);
  test_deferred_expect(HAK_ERROR_DOUBLE_FREE, test_slab_block(slab, 0));
  test_slab_expect(slab, CAPACITY, 2, 1);
  test_slab_retire(slab);
}

static void join__puts_what_was_pushed_before_the_list(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  come_home(slab, 20, 24);
  join(slab); /* nothing was pushed */
  test_slab_expect(slab, CAPACITY, 60, 0);
  push(slab, 0, 3);
  push(slab, 8, 10);
  join(slab);
  test_slab_expect(slab, CAPACITY, 55, 0);
  CHECK_EQ(word_of(slab), MINE);
  void *list = test_list_expect(slab->list.head, slab, 8, 10);
  list = test_list_expect(list, slab, 0, 3);
  CHECK(test_list_expect(list, slab, 20, 24) == HAK_LINK_END);
  test_slab_retire(slab);
}

static void join__takes_as_many_as_were_counted(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  come_home(slab, 20, 24);
  hak_batch_t run = test_slab_batch(slab, 0, 5);
  run.count = 2; /* its list is longer */
  uint64_t word = MINE;
  CHECK(hak_slab_push_remote(g_me, g_cache, &run, &word));
  join(slab);
  test_slab_expect(slab, CAPACITY, 58, 0);
  void *list = test_list_expect(slab->list.head, slab, 0, 2);
  CHECK(test_list_expect(list, slab, 20, 24) == HAK_LINK_END);
  test_slab_retire(slab);
}

static void join__gives_up_what_lies_behind_a_broken_link(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) skip(); /* no link is known to be broken */
  hak_slab_t *slab = test_slab_full();
  come_home(slab, 20, 24);
  push(slab, 0, 5);
  hak_link_spoil(test_slab_block(slab, 2));
  join(slab);
  test_slab_expect(slab, CAPACITY, 58, 0);
  test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, test_slab_block(slab, 2));
  void *list = test_list_expect(slab->list.head, slab, 0, 2);
  CHECK(test_list_expect(list, slab, 20, 24) == HAK_LINK_END);
  push(slab, 40, 42);
  hak_link_spoil(test_slab_block(slab, 40)); /* the first: nothing comes home */
  join(slab);
  test_slab_expect(slab, CAPACITY, 58, 0);
  test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, test_slab_block(slab, 40));
  CHECK(slab->list.head == test_slab_block(slab, 0));
  CHECK_EQ(word_of(slab), MINE);
  test_slab_retire(slab);
}

static void refill__makes_what_was_pushed_the_list(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  CHECK(!hak_slab_refill_remote(g_me, g_cache, slab));
  CHECK(slab->list.head == HAK_LINK_END);
  push(slab, 4, 9);
  CHECK(hak_slab_refill_remote(g_me, g_cache, slab));
  CHECK_EQ(word_of(slab), MINE);
  test_slab_expect(slab, CAPACITY, 59, 0);
  CHECK(test_list_expect(slab->list.head, slab, 4, 9) == HAK_LINK_END);
  test_slab_retire(slab);
}

/* --- let go and claimed
 * ----------------------------------------------------------------- */

static void let_go__makes_a_held_slab_full(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  CHECK(hak_slab_let_go(g_me, g_cache, slab));
  CHECK_EQ(word_of(slab), FULL);
  test_slab_expect(slab, CAPACITY, CAPACITY, 0);
  test_slab_retire(slab);
}

static void let_go__fails_where_blocks_came_home_which_are_the_list(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  push(slab, 0, 6);
  CHECK(!hak_slab_let_go(g_me, g_cache, slab));
  CHECK_EQ(word_of(slab), MINE);
  test_slab_expect(slab, CAPACITY, 58, 0);
  CHECK(test_list_expect(slab->list.head, slab, 0, 6) == HAK_LINK_END);
  test_slab_retire(slab);
}

static void claim__takes_a_full_slab_and_no_other(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  CHECK(hak_slab_let_go(g_me, g_cache, slab));
  CHECK(hak_slab_claim(g_cache, slab));
  CHECK_EQ(word_of(slab), MINE);
  const uint64_t others[] = {MINE, pushed(3, 1), PARTIAL, hak_word_make(HAK_SLAB_FREE, 0),
                             hak_word_make(HAK_SLAB_HELD, g_cache->code ^ 3)};
  for (size_t i = 0; i < TEST_COUNT(others); i++) {
    set_word(slab, others[i]);
    CHECK(!hak_word_is_full(word_of(slab)));
    CHECK(!hak_slab_claim(g_cache, slab));
    CHECK_EQ(word_of(slab), others[i]);
  }
  test_slab_retire(slab);
}

/* --- under the lock of the partial list
 * -------------------------------------------------- */

static void full_to_partial__makes_the_run_the_list(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  CHECK(hak_slab_let_go(g_me, g_cache, slab));
  hak_batch_t run = test_slab_batch(slab, 7, 10);
  hak_link_write(&g_me->key, run.last,
                 test_slab_block(slab, 50)); /* the run ends there */
  uint64_t word = FULL;
  hak_lock_acquire(&g_central->lock);
  CHECK(hak_slab_full_to_partial_locked(g_me, g_cache, &run, &word));
  hak_lock_release(&g_central->lock);
  CHECK_EQ(word_of(slab), PARTIAL);
  test_slab_expect(slab, CAPACITY, 61, 0);
  CHECK(test_list_expect(slab->list.head, slab, 7, 10) == HAK_LINK_END);
  test_deferred_expect(0, NULL);
  test_slab_retire(slab);
}

static void full_to_partial__fails_where_another_was_first(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_batch_t run = test_slab_batch(slab, 7, 10);
  uint64_t word = FULL;
  hak_lock_acquire(&g_central->lock);
  CHECK(!hak_slab_full_to_partial_locked(g_me, g_cache, &run, &word));
  hak_lock_release(&g_central->lock);
  CHECK_EQ(word, MINE);
  CHECK_EQ(word_of(slab), MINE);
  test_slab_expect(slab, CAPACITY, CAPACITY, 0);
  CHECK(slab->list.head == HAK_LINK_END);
  test_slab_retire(slab);
}

static void full_to_partial__reports_more_blocks_than_were_carved(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_slab_begin(g_cache, slab, g_class, 1);
  hak_slab_carve(slab, 2);
  set_word(slab, FULL);
  hak_batch_t run = test_slab_batch(slab, 0, 3);
  uint64_t word = FULL;
  hak_lock_acquire(&g_central->lock);
  CHECK(hak_slab_full_to_partial_locked(g_me, g_cache, &run, &word));
  hak_lock_release(&g_central->lock);
  test_deferred_expect(HAK_ERROR_DOUBLE_FREE, run.first);
  test_slab_expect(slab, 2, 0, 0);
  test_slab_retire(slab);
}

static bool held_to_partial(hak_slab_t *slab) {
  hak_lock_acquire(&g_central->lock);
  bool is_partial = hak_slab_held_to_partial_locked(g_me, g_cache, slab);
  hak_lock_release(&g_central->lock);
  return is_partial;
}

static void held_to_partial__joins_what_was_pushed(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  come_home(slab, 20, 24);
  push(slab, 0, 3);
  CHECK(held_to_partial(slab));
  CHECK_EQ(word_of(slab), PARTIAL);
  test_slab_expect(slab, CAPACITY, 57, 0);
  void *list = test_list_expect(slab->list.head, slab, 0, 3);
  CHECK(test_list_expect(list, slab, 20, 24) == HAK_LINK_END);
  test_slab_retire(slab);
}

static void held_to_partial__fails_where_every_block_is_home(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  come_home(slab, 0, 60);
  push(slab, 60, CAPACITY);
  CHECK(!held_to_partial(slab));
  CHECK_EQ(word_of(slab), MINE);
  test_slab_expect(slab, CAPACITY, 0, 0);
  if (HAK_CHECKS != 0) { /* one that is not free, although it counts as home */
    hak_link_spoil(test_slab_block(slab, 9));
    CHECK(held_to_partial(slab));
    CHECK_EQ(word_of(slab), PARTIAL);
    test_slab_expect(slab, CAPACITY, 1, 0);
    test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, test_slab_block(slab, 9));
  }
  test_slab_retire(slab);
}

static void partial__becomes_full_with_its_list_taken_or_held_as_it_is(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  come_home(slab, 5, 15);
  CHECK(held_to_partial(slab));
  hak_lock_acquire(&g_central->lock);
  hak_slab_partial_to_held_locked(g_cache, slab);
  CHECK_EQ(word_of(slab), MINE);
  test_slab_expect(slab, CAPACITY, 54, 0);
  CHECK(slab->list.head == test_slab_block(slab, 5));
  CHECK(hak_slab_held_to_partial_locked(g_me, g_cache, slab));
  void *list = hak_slab_partial_to_full_locked(g_cache, slab);
  hak_lock_release(&g_central->lock);
  CHECK_EQ(word_of(slab), FULL);
  CHECK(test_list_expect(list, slab, 5, 15) == HAK_LINK_END);
  CHECK(slab->list.head == HAK_LINK_END);
  test_slab_expect(slab, CAPACITY, CAPACITY, 0);
  test_slab_retire(slab);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(push__adds_its_count_and_lies_before_what_was_pushed),
                H(push__onto_a_slab_that_nobody_holds_fails),
                H(push__of_more_blocks_than_fit_is_reported_and_dropped),
                H(push__of_the_block_that_was_pushed_last_is_reported_and_dropped),
                H(take__gets_all_that_was_pushed_once_and_it_stays_out),
                H(take__gets_nothing_if_more_was_pushed_than_is_out),
                H(join__puts_what_was_pushed_before_the_list),
                H(join__takes_as_many_as_were_counted),
                H(join__gives_up_what_lies_behind_a_broken_link),
                H(refill__makes_what_was_pushed_the_list),
                H(let_go__makes_a_held_slab_full),
                H(let_go__fails_where_blocks_came_home_which_are_the_list),
                H(claim__takes_a_full_slab_and_no_other),
                H(full_to_partial__makes_the_run_the_list),
                H(full_to_partial__fails_where_another_was_first),
                H(full_to_partial__reports_more_blocks_than_were_carved),
                H(held_to_partial__joins_what_was_pushed),
                H(held_to_partial__fails_where_every_block_is_home),
                H(partial__becomes_full_with_its_list_taken_or_held_as_it_is))
