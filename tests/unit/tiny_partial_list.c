/* tiny_partial_list.c - queues of partly free slabs: wholly carved ones in groups, the
 * fullest first and in each the oldest first, and partly carved ones, the youngest first.
 * Records only. */
#include "support.h"

#include <string.h>

#include "tiny/partial_list.h"
#include "tiny/slab.h"

enum {
  SLABS = 5,
  CAPACITY = 10,
  FULLEST = HAK_PARTIAL_GROUPS - 1 /* of those that were not looked through */
};

static hak_central_t g_central;
static hak_slab_t g_slabs[SLABS];

/* All slabs have half of their capacity carved, or all of it, and one block free. */
static int begin(uint32_t carved) {
  memset(&g_central, 0, sizeof g_central);
  memset(g_slabs, 0, sizeof g_slabs);
  hak_lock_init(&g_central.lock, HAK_RANK_PARTIAL_LIST);
  for (size_t i = 0; i < SLABS; i++) {
    hak_store_relaxed(&g_slabs[i].capacity, CAPACITY);
    hak_store_relaxed(&g_slabs[i].carved, carved);
    hak_store_relaxed(&g_slabs[i].word, hak_word_make(HAK_SLAB_PARTIAL, 0));
    hak_slab_set_out(&g_slabs[i], carved - 1, 0);
  }
  return 0;
}

static int setup_carved(void **state) {
  (void)state;
  return begin(CAPACITY);
}

static int setup_uncarved(void **state) {
  (void)state;
  return begin(CAPACITY / 2);
}

static void add(size_t i) {
  hak_lock_acquire(&g_central.lock);
  hak_partial_add_locked(&g_central, &g_slabs[i]);
  hak_lock_release(&g_central.lock);
}

static void remove_slab(size_t i) {
  hak_lock_acquire(&g_central.lock);
  hak_partial_remove_locked(&g_central, &g_slabs[i]);
  hak_lock_release(&g_central.lock);
  CHECK_EQ(g_slabs[i].queue, HAK_QUEUE_NONE);
}

static hak_slab_t *first(void) {
  hak_lock_acquire(&g_central.lock);
  hak_slab_t *slab = hak_partial_first_locked(&g_central);
  hak_lock_release(&g_central.lock);
  return slab;
}

/* The queue is these slabs, by their digits, and the list is valid with them. */
static void expect(hak_slab_t *slab, const char *digits) {
  for (size_t i = 0; digits[i] != 0; i++, slab = slab->next) {
    CHECK(slab == &g_slabs[digits[i] - '0']);
    if (i > 0) CHECK(slab->prev == &g_slabs[digits[i - 1] - '0']);
  }
  CHECK(slab == NULL);
  CHECK_EQ(g_central.listed, strlen(digits));
  CHECK(hak_partial_is_valid(&g_central));
}

static void expect_carved(const char *digits) {
  CHECK(hak_load_relaxed(&g_central.uncarved) == NULL);
  expect(first(), digits);
}

static void expect_uncarved(const char *digits) {
  CHECK(hak_load_relaxed(&g_central.groups) == 0 && first() == NULL);
  expect(hak_load_relaxed(&g_central.uncarved), digits);
}

/* All but `out` blocks of a listed slab are home. */
static void set_out(size_t i, uint32_t out) {
  hak_lock_acquire(&g_central.lock);
  uint32_t before = hak_slab_out(&g_slabs[i]);
  hak_slab_set_out(&g_slabs[i], out, 0);
  hak_partial_regroup_locked(&g_central, &g_slabs[i], before);
  hak_lock_release(&g_central.lock);
}

/* These slabs serve, in this order, if each is taken when it comes first. */
static void expect_served(const char *digits) {
  for (size_t i = 0; digits[i] != 0; i++) {
    CHECK(hak_partial_is_valid(&g_central));
    size_t slab = (size_t)(first() - g_slabs);
    CHECK_EQ(slab, digits[i] - '0');
    remove_slab(slab);
  }
  CHECK(first() == NULL);
}

static void carved_slabs__are_in_the_order_in_which_they_came(void **state) {
  (void)state;
  expect_carved("");
  for (size_t i = 0; i < SLABS; i++) add(i);
  CHECK_EQ(g_slabs[2].queue, HAK_QUEUE_PARTIAL);
  expect_carved("01234");
  remove_slab(2);
  expect_carved("0134");
  remove_slab(0);
  expect_carved("134");
  remove_slab(4);
  expect_carved("13");
  add(0);
  expect_carved("130");
  remove_slab(3);
  remove_slab(0);
  remove_slab(1);
  expect_carved("");
}

static void carved_slabs__serve_the_fullest_first(void **state) {
  (void)state;
  static const uint32_t out[SLABS] = {2, 9, 1, 5, 9};
  for (size_t i = 0; i < SLABS; i++) {
    hak_slab_set_out(&g_slabs[i], out[i], 0);
    add(i);
  }
  expect_served("14302");
}

static void carved_slabs__sink_as_their_blocks_come_home(void **state) {
  (void)state;
  for (size_t i = 0; i < SLABS; i++) add(i);
  set_out(0, 1);
  set_out(3, 4);
  set_out(1, 8);
  expect_served("24130");
  for (size_t i = 0; i < SLABS; i++) add(i);
  set_out(2, 4);
  set_out(2, 4);
  set_out(2, 10); /* after misuse blocks may count as out again */
  expect_served("42130");
}

/* Looks through the slabs that are due, by their digits. */
static void expect_due(bool all, const char *digits) {
  hak_lock_acquire(&g_central.lock);
  for (size_t i = 0; digits[i] != 0; i++) {
    hak_slab_t *slab = hak_partial_due_locked(&g_central, all);
    CHECK(slab == &g_slabs[digits[i] - '0']);
    hak_partial_looked_locked(&g_central, slab);
  }
  CHECK(hak_partial_due_locked(&g_central, all) == NULL);
  hak_lock_release(&g_central.lock);
  CHECK(hak_partial_is_valid(&g_central));
}

static bool age(void) {
  hak_lock_acquire(&g_central.lock);
  bool any = hak_partial_age_locked(&g_central);
  hak_lock_release(&g_central.lock);
  CHECK(hak_partial_is_valid(&g_central));
  return any;
}

static void carved_slabs__are_due_when_they_have_waited_and_once(void **state) {
  (void)state;
  CHECK(!age());
  for (size_t i = 0; i < 3; i++) add(i);
  expect_due(false, "");
  CHECK(age());
  add(3);
  set_out(1, 8); /* it is new again */
  expect_due(false, "02");
  expect_due(false, "");
  CHECK(age());
  set_out(2, 2);
  add(4);
  expect_due(false, "13");
  expect_due(true, "24"); /* the sparsest first */
  CHECK(!age());
  expect_served("03412"); /* the fullest first, looked through or not */
}

static void carved_slabs__that_were_looked_through_serve_after_others(void **state) {
  (void)state;
  for (size_t i = 0; i < 3; i++) add(i);
  expect_due(true, "012");
  add(3);
  set_out(1, 9); /* changed by nothing, but told of */
  expect_served("3102");
}

static void uncarved_slabs__have_the_youngest_in_front(void **state) {
  (void)state;
  for (size_t i = 0; i < SLABS; i++) add(i);
  CHECK_EQ(g_slabs[2].queue, HAK_QUEUE_UNCARVED);
  expect_uncarved("43210");
  remove_slab(4);
  expect_uncarved("3210");
  remove_slab(2);
  expect_uncarved("310");
  remove_slab(0);
  expect_uncarved("31");
  add(2);
  expect_uncarved("231");
}

/* The slab begins to leave, or may not. */
static bool leave(size_t i) {
  hak_lock_acquire(&g_central.lock);
  bool may = hak_partial_may_leave_locked(&g_central, &g_slabs[i]);
  if (may) {
    hak_store_relaxed(&g_slabs[i].word, hak_word_make(HAK_SLAB_PARTIAL, HAK_CODE_MASK));
    hak_partial_leave_locked(&g_central, &g_slabs[i]);
  }
  hak_lock_release(&g_central.lock);
  CHECK(hak_partial_is_valid(&g_central));
  return may;
}

static void slab__leaves_where_the_others_have_room(void **state) {
  (void)state;
  static const uint32_t out[SLABS] = {2, 3, 6, 2, 9};
  for (size_t i = 0; i < SLABS; i++) {
    hak_slab_set_out(&g_slabs[i], out[i], 0);
    add(i);
  }
  CHECK_EQ(hak_load_relaxed(&g_central.blocks), 50);
  CHECK_EQ(hak_load_relaxed(&g_central.room), 28);
  CHECK(!leave(4)); /* seven eighths full */
  CHECK(!leave(2)); /* too full beside the others */
  CHECK(leave(0));
  CHECK(leave(1));
  CHECK_EQ(hak_load_relaxed(&g_central.leaving_out), 5);
  CHECK_EQ(hak_load_relaxed(&g_central.room), 13);
  CHECK(!leave(3)); /* 13 blocks of room, 8 of them its own, for 7 */
  set_out(0, 1);
  CHECK_EQ(hak_load_relaxed(&g_central.leaving_out), 4);
  set_out(1, 1);
  CHECK(leave(3));
  expect_served("42013"); /* slabs that are leaving serve last */
  CHECK_EQ(hak_load_relaxed(&g_central.leaving_out), 0);
  CHECK_EQ(hak_load_relaxed(&g_central.room), 0);
}

static void queues__do_not_mix(void **state) {
  (void)state;
  hak_store_relaxed(&g_slabs[1].carved, CAPACITY - 1);
  hak_slab_set_out(&g_slabs[1], 3, 0);
  for (size_t i = 0; i < 3; i++) add(i);
  CHECK(first() == &g_slabs[0]);
  CHECK(g_slabs[0].next == &g_slabs[2] && g_slabs[2].next == NULL);
  CHECK(hak_load_relaxed(&g_central.uncarved) == &g_slabs[1]);
  CHECK(g_slabs[1].next == NULL);
  CHECK_EQ(g_central.listed, 3);
  CHECK(hak_partial_is_valid(&g_central));
}

/* Breaks the list in one place, sees it found, and mends it. */
#define EXPECT_INVALID(breaking, mending)     \
  do {                                        \
    breaking;                                 \
    CHECK(!hak_partial_is_valid(&g_central)); \
    mending;                                  \
    CHECK(hak_partial_is_valid(&g_central));  \
  } while (0)

static void check__finds_a_slab_that_should_not_be_there(void **state) {
  (void)state;
  for (size_t i = 0; i < 3; i++) add(i);
  hak_slab_t *slab = &g_slabs[1];
  uint64_t word = hak_load_relaxed(&slab->word);
  EXPECT_INVALID(hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_FULL, 0)),
                 hak_store_relaxed(&slab->word, word));
  EXPECT_INVALID(
      hak_store_relaxed(&slab->word, word | (uint64_t)1 << HAK_WORD_COUNT_SHIFT),
      hak_store_relaxed(&slab->word, word));
  EXPECT_INVALID(hak_slab_set_out(slab, 0, 0), hak_slab_set_out(slab, 9, 0));
  EXPECT_INVALID(hak_slab_set_out(slab, 11, 0), hak_slab_set_out(slab, 9, 0));
  EXPECT_INVALID(hak_slab_set_out(slab, 9, 1), hak_slab_set_out(slab, 9, 0));
  EXPECT_INVALID(hak_store_relaxed(&slab->carved, 9),
                 hak_store_relaxed(&slab->carved, CAPACITY));
  EXPECT_INVALID(slab->queue = HAK_QUEUE_UNCARVED, slab->queue = HAK_QUEUE_PARTIAL);
  EXPECT_INVALID(slab->prev = NULL, slab->prev = &g_slabs[0]);
  EXPECT_INVALID(g_slabs[0].prev = slab, g_slabs[0].prev = &g_slabs[2]);
  EXPECT_INVALID(hak_slab_set_out(slab, 4, 0), hak_slab_set_out(slab, 9, 0));
  EXPECT_INVALID(slab->group = 1, slab->group = FULLEST);
  EXPECT_INVALID(hak_store_relaxed(&g_central.groups, 3u << (FULLEST - 1)),
                 hak_store_relaxed(&g_central.groups, 1u << FULLEST));
  EXPECT_INVALID(slab->aged = 1, slab->aged = 0); /* the one before it is not */
  EXPECT_INVALID(hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_PARTIAL, 1)),
                 hak_store_relaxed(&slab->word, word));
  EXPECT_INVALID(hak_store_relaxed(&g_central.room, 2),
                 hak_store_relaxed(&g_central.room, 3));
  EXPECT_INVALID(hak_store_relaxed(&g_central.blocks, 29),
                 hak_store_relaxed(&g_central.blocks, 30));
  EXPECT_INVALID(hak_store_relaxed(&g_central.leaving_out, 1),
                 hak_store_relaxed(&g_central.leaving_out, 0));
  EXPECT_INVALID(g_central.listed++, g_central.listed--);
}

#define C(function) cmocka_unit_test_setup(function, setup_carved)
#define U(function) cmocka_unit_test_setup(function, setup_uncarved)

TEST_MAIN_FRESH(C(carved_slabs__are_in_the_order_in_which_they_came),
                C(carved_slabs__serve_the_fullest_first),
                C(carved_slabs__sink_as_their_blocks_come_home),
                C(carved_slabs__are_due_when_they_have_waited_and_once),
                C(carved_slabs__that_were_looked_through_serve_after_others),
                C(slab__leaves_where_the_others_have_room),
                U(uncarved_slabs__have_the_youngest_in_front), C(queues__do_not_mix),
                C(check__finds_a_slab_that_should_not_be_there))
