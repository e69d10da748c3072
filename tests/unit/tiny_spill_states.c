/* tiny_spill_states.c - where a free sends its block, and the bin its lists, by the state
 * of the bin and of what its thread holds. See also tiny_spill.c. */
#include "slab_fixture.h"

#include "superslab/locate.h"
#include "threads.h"
#include "tiny/flush.h"
#include "tiny/lean.h"
#include "tiny/spill.h"
#include "tiny/transfer.h"

enum {
  SIZE = 1024,
  CAPACITY = 64,
  BIN = 32, /* blocks of each list of the bin */
  SPILLING = BIN / 8,
  PATIENCE = 16, /* full lists that go home before the ready one does, too */
  LARGE = 100000 /* bytes; of a single class */
};

/* --- states ------------------------------------------------------------------------- */

/* Tests set options; each begins with those of the first. */
static void reset_options(void) {
  static int64_t lean, growth;
  if (growth == 0) {
    lean = hak_option_get(HAK_OPTION_LEAN_MS);
    growth = hak_option_get(HAK_OPTION_BIN_GROWTH_BYTES);
  }
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, lean), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, growth), 0);
}
static int setup(void **state) {
  reset_options();
  return test_class_setup(state);
}

/* Puts the first blocks of a slab, which are out, onto the lists of this thread's bin;
 * that of frees has room for `room` blocks more. */
static void *list_of(hak_slab_t *slab, uint32_t *from, uint32_t count) {
  uint32_t first = *from;
  *from += count;
  return count == 0 ? HAK_LINK_END : test_slab_batch(slab, first, *from).first;
}
static void set_lists_of(const hak_cache_t *cache, hak_slab_t *slab, uint32_t list,
                         uint32_t room, uint32_t ready, uint32_t spare) {
  hak_bin_t *b = &cache->bins[g_class];
  hak_hold_t *h = &cache->holds[g_class];
  uint32_t from = 0;
  b->list.head = list_of(slab, &from, list);
  hak_store_relaxed(&b->armed, (uint16_t)(list + room));
  hak_store_relaxed(&b->list.room, (int32_t)room);
  b->ready = list_of(slab, &from, ready);
  hak_store_relaxed(&b->ready_count, (uint16_t)ready);
  h->spare = list_of(slab, &from, spare);
  hak_store_relaxed(&h->spare_count, spare);
}
static void set_lists(hak_slab_t *slab, uint32_t list, uint32_t room, uint32_t ready,
                      uint32_t spare) {
  set_lists_of(g_cache, slab, list, room, ready, spare);
}

static void spill(hak_slab_t *slab, uint32_t i) {
  hak_spill_free(g_me, g_cache, g_class, test_slab_block(slab, i));
}
/* As a free that has counted the room down, and found none. */
static void event(hak_slab_t *slab, uint32_t i) {
  hak_store_relaxed(&test_bin()->list.room, -1);
  hak_spill_event(g_me, g_cache, &test_bin()->list, test_slab_block(slab, i));
}

/* A slab all of whose blocks are out, and which nobody holds. This thread may not claim
 * it, unless it is given credit. */
static hak_slab_t *nobodys(void) {
  hak_slab_t *slab = test_slab_full();
  hak_hold_let_go(g_me, g_cache, slab, g_class);
  test_hold()->credit = 0;
  return slab;
}

static uint32_t in_magazine(void) {
  hak_magazine_t *magazine = hak_load_relaxed(&test_hold()->magazine);
  return magazine == NULL ? 0 : hak_load_relaxed(&magazine->count);
}

/* Sends home what the bin has of a slab, and the rest of its blocks, which are out. */
static void home(hak_slab_t *slab, uint32_t from) {
  hak_flush_class(g_me, g_cache, g_class);
  hak_flush_transfer(g_me, g_cache);
  hak_flush_class(g_me, g_cache, g_class);
  test_hold()->credit = 0;
  if (from < CAPACITY) test_slab_home(slab, from, CAPACITY);
}

/* --- the list that becomes the spare one ----------------------------------------------
 */

/* A block of a slab that this thread holds, or may claim, goes home of it. */
static void spare_list__leaves_one_block_to_a_slab_of_this_thread(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0);
  hak_slab_t *slab = nobodys();
  set_lists(slab, BIN, 0, 1, 0);
  test_hold()->credit = 1;
  spill(slab, BIN + 1);
  test_bin_expect(1, 1, BIN - 1);
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 1);
  CHECK_EQ(slab->queue, HAK_QUEUE_HELD);
  home(slab, BIN + 2);
}

static void spare_list__is_whole_where_no_slab_may_be_claimed(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0);
  hak_slab_t *slab = nobodys();
  set_lists(slab, BIN, 0, 1, 0);
  spill(slab, BIN + 1);
  test_bin_expect(1, 1, BIN);
  CHECK_EQ(hak_slab_out(slab), CAPACITY);
  CHECK(hak_word_is_full(hak_load_relaxed(&slab->word)));
  home(slab, BIN + 2);
}

static void spare_list__keeps_a_stray_pointer_for_the_look_of_later(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) skip(); /* nothing looks at blocks */
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0);
  hak_slab_t *slab = nobodys();
  set_lists(slab, BIN, 0, 1, 0);
  void *first = test_bin()->list.head;
  char *inside = test_slab_block(slab, BIN + 2) + SIZE / 2;
  hak_link_write(&g_me->key, inside, hak_link_read(&g_me->key, first));
  test_bin()->list.head = inside;
  test_hold()->credit = 1;
  spill(slab, BIN + 1);
  CHECK(test_hold()->spare == inside);
  CHECK_EQ(hak_slab_out(slab), CAPACITY);
  test_deferred_expect(0, NULL);
  test_hold()->spare = first;
  hak_link_write(&g_me->key, first, hak_link_read(&g_me->key, inside));
  home(slab, BIN + 2);
}

static void spare_list__with_a_broken_link_sends_no_block_home(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) skip(); /* nothing looks at links */
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0);
  hak_slab_t *slab = nobodys();
  set_lists(slab, BIN, 0, 1, 0);
  *(uint64_t *)test_bin()->list.head = 0x4141414141414141;
  test_hold()->credit = 1;
  spill(slab, BIN + 1);
  test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, test_slab_block(slab, 0));
  CHECK_EQ(hak_slab_out(slab), CAPACITY);
  CHECK(test_hold()->spare == HAK_LINK_END);
  hak_store_relaxed(&test_hold()->spare_count, 0);
  home(slab, BIN + 2);
  test_slab_home(slab, 0, BIN);
}

/* --- lists that are full --------------------------------------------------------------
 */

static void ready_list__that_has_blocks_stays_where_the_bin_may_not_grow(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 0), 0);
  hak_slab_t *slab = nobodys();
  set_lists(slab, BIN, 0, 3, 0);
  test_hold()->taken = 20;
  spill(slab, BIN + 3);
  test_bin_expect(1, 3, BIN);
  home(slab, BIN + 4);
}

/* The lists are that much longer then, and stay where they are. */
static void list__of_a_bin_that_grows_stays(void **state) {
  (void)state;
  hak_slab_t *slab = nobodys();
  set_lists(slab, BIN, 0, 3, 0);
  test_hold()->taken = 20;
  spill(slab, BIN + 3);
  test_bin_expect(BIN + 1, 3, 0);
  CHECK_EQ(hak_bin_capacity(test_bin()), BIN + 11);
  home(slab, BIN + 4);
}

static void thread__is_lean_from_the_third_full_list_on(void **state) {
  (void)state;
  hak_slab_t *slab = nobodys();
  set_lists(slab, BIN, 0, BIN / 4, 0);
  spill(slab, BIN + BIN / 4);
  CHECK_EQ(test_hold()->lean, HAK_LEAN_NOT);
  test_bin_expect(1, BIN / 4, BIN);
  home(slab, BIN + BIN / 4 + 1);
  hak_slab_t *mine = test_slab_full();
  set_lists(mine, BIN, 0, BIN / 4, BIN / 4);
  spill(mine, BIN + BIN / 2);
  CHECK(test_hold()->lean != HAK_LEAN_NOT);
  test_bin_expect(1, 0, 0);
  CHECK_EQ(test_bin()->spilling, 1); /* its blocks were this thread's own */
  CHECK_EQ(hak_load_relaxed(&test_bin()->armed), SPILLING);
  CHECK_EQ(hak_slab_out(mine), CAPACITY - BIN - BIN / 2);
  home(mine, BIN + BIN / 2 + 1);
}

/* --- a bin that spills -----------------------------------------------------------------
 */

static void ready_list__goes_home_once_patience_is_used_up(void **state) {
  (void)state;
  for (uint16_t before = PATIENCE - 2; before <= PATIENCE; before++) {
    hak_slab_t *slab = test_slab_full();
    set_lists(slab, SPILLING, 0, 3, 0);
    test_bin()->spilling = before;
    test_hold()->current = slab; /* its blocks are not passed on */
    spill(slab, SPILLING + 3);
    CHECK_EQ(hak_slab_out(slab), CAPACITY - SPILLING - (before == PATIENCE - 1 ? 3 : 0));
    test_bin_expect(1, before == PATIENCE - 1 ? 0 : 3, 0);
    CHECK_EQ(test_bin()->spilling, before < PATIENCE ? before + 1 : PATIENCE);
    home(slab, SPILLING + 4);
    test_bin()->spilling = 0;
  }
}

/* What a limit that came or went has emptied. */
static void list__that_was_emptied_meanwhile_takes_blocks_as_before(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_hold()->current = slab;
  set_lists(slab, 0, 0, 2, 0);
  test_bin()->spilling = 1;
  spill(slab, 2);
  CHECK_EQ(test_bin()->spilling, 1);
  test_bin_expect(1, 2, 0);
  home(slab, 3);
}

static void list__that_was_told_to_have_no_room_takes_more(void **state) {
  (void)state;
  hak_slab_t *slab = nobodys();
  set_lists(slab, 3, 0, 0, 0);
  spill(slab, 3);
  test_bin_expect(4, 0, 0);
  CHECK_EQ(hak_load_relaxed(&test_bin()->armed), BIN);
  event(slab, 4); /* its list reads as full then, of what was armed */
  home(slab, 5);
}

static void bin__that_spills_takes_blocks_up_to_its_room(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_hold()->current = slab;
  set_lists(slab, 1, SPILLING - 1, 0, 0);
  test_bin()->spilling = 3;
  spill(slab, 1);
  test_bin_expect(2, 0, 0);
  CHECK_EQ(test_bin()->spilling, 3);
  CHECK_EQ(hak_slab_out(slab), CAPACITY);
  home(slab, 2);
}

/* Frees a block into a bin that spills and has room. True if it stays there; else it is
 * put into the magazine. It is taken out again. */
static bool stays(hak_slab_t *slab) {
  set_lists(slab, 0, SPILLING, 0, 0);
  spill(slab, CAPACITY - 1);
  bool stays = test_bin()->list.head != HAK_LINK_END;
  CHECK_EQ(in_magazine(), stays ? 0 : 1);
  hak_magazine_t *magazine = hak_load_relaxed(&test_hold()->magazine);
  if (magazine != NULL) hak_store_relaxed(&magazine->count, 0);
  set_lists(slab, 0, SPILLING, 0, 0);
  return stays;
}

/* Blocks of slabs that this thread has, or may claim, stay; others are gathered. */
static void bin__that_spills_takes_blocks_of_slabs_of_this_thread_only(void **state) {
  (void)state;
  hak_hold_t *hold = test_hold();
  hak_slab_t *mine = test_slab_full(), *slab = nobodys();
  test_bin()->spilling = 1;
  CHECK(!stays(slab));
  hold->current = mine;
  CHECK(!stays(slab));
  CHECK(stays(mine));
  hold->current = NULL;
  hak_hold_requeue(g_cache, mine, g_class);
  CHECK(!stays(slab));
  CHECK(stays(mine));
  CHECK(hak_hold_dequeue(g_me, g_cache, g_class) == mine);
  hold->credit = 1;
  CHECK(stays(slab));
  uint64_t word = hak_load_relaxed(&slab->word);
  hak_store_relaxed(&slab->word, hak_word_make(HAK_SLAB_HELD, 0x2aaa)); /* another's */
  CHECK(!stays(slab));
  hak_store_relaxed(&slab->word, word);
  test_bin()->spilling = 0;
  home(mine, 0);
  test_slab_home(slab, 0, CAPACITY);
}

static void ready_list__stays_where_a_block_goes_past_the_bin(void **state) {
  (void)state;
  hak_slab_t *slab = nobodys();
  set_lists(slab, 0, SPILLING, 2, 0);
  test_bin()->spilling = 1;
  spill(slab, 3);
  test_bin_expect(0, 2, 0);
  CHECK_EQ(in_magazine(), 1);
  /* Blocks on the list of frees would stay there for good. */
  set_lists(slab, 1, SPILLING - 1, 2, 0);
  spill(slab, 4);
  test_bin_expect(0, 0, 0);
  home(slab, 5);
}

/* A list that is full takes the ready one's place if the bin keeps what it has. */
static void event__of_a_bin_that_spills_sends_its_list_home(void **state) {
  (void)state;
  hak_slab_t *mine = test_slab_full(), *slab = nobodys();
  set_lists(mine, SPILLING, 0, 0, 0);
  test_bin()->spilling = 1;
  event(slab, 0);
  CHECK_EQ(hak_slab_out(mine), CAPACITY - SPILLING);
  test_bin_expect(1, 0, 0);
  CHECK_EQ(test_bin()->spilling, 2);
  CHECK_EQ(in_magazine(), 0);
  home(mine, SPILLING);
  test_slab_home(slab, 1, CAPACITY);
}

static void slabs__that_are_few_stay_held(void **state) {
  (void)state;
  hak_slab_t *slabs[8], *slab = nobodys();
  for (size_t i = 0; i < TEST_COUNT(slabs); i++) {
    slabs[i] = test_slab_full();
    test_slab_home(slabs[i], 0, CAPACITY / 2);
  }
  set_lists(slab, BIN, 0, 0, 0);
  spill(slab, BIN);
  test_bin_expect(1, BIN, 0);
  CHECK_EQ(test_hold()->slabs, TEST_COUNT(slabs));
  home(slab, BIN + 1);
  for (size_t i = 0; i < TEST_COUNT(slabs); i++) {
    test_slab_home(slabs[i], CAPACITY / 2, CAPACITY);
  }
}

/* --- single classes --------------------------------------------------------------------
 */

static void single_block__waits_on_the_one_list_while_there_is_room(void **state) {
  (void)state;
  uint32_t cls = hak_class_of(LARGE);
  hak_bin_t *b = &g_cache->bins[cls];
  void *blocks[3];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_alloc(LARGE);
  uint64_t taken = hak_load_relaxed(&g_cache->store->pool.taken);
  b->capacity = 2;
  hak_bin_set_room(b, 2);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    hak_spill_free(g_me, g_cache, cls, blocks[i]);
    CHECK_EQ(hak_bin_listed(b), i < 2 ? i + 1 : 2);
    CHECK(b->ready == HAK_LINK_END);
  }
  CHECK(hak_load_relaxed(&g_cache->store->pool.taken) < taken);
  CHECK(b->list.head == blocks[1]);
  /* By an event, too. */
  void *block = hak_alloc(LARGE), *other = hak_alloc(LARGE), *third = hak_alloc(LARGE);
  hak_free(block);
  hak_free(other);
  void *head = b->list.head;
  hak_spill_event(g_me, g_cache, &b->list, third);
  CHECK(b->list.head == head && b->ready == HAK_LINK_END);
  hak_flush_bin(g_me, g_cache, cls);
  b->capacity = 0;
  hak_bin_set_room(b, 0);
}

/* --- a thread that drops what it has
 * ---------------------------------------------------- */

static void begin_drop(void) {
  g_me->spans = 0;
  g_me->dropped = HAK_LEAN_DROPPED;
}

static void drop__leaves_classes_alone_of_which_the_thread_has_nothing(void **state) {
  (void)state;
  uint32_t never = hak_class_of(48), none = hak_class_of(96), other = hak_class_of(200);
  hak_capacity_begin(g_cache, none);
  hak_free(hak_alloc(200 - HAK_CANARY_BYTES));
  CHECK(!hak_capacity_is_begun(g_cache, never));
  hak_slab_t *slab = nobodys();
  begin_drop();
  g_me->dropped = 0;
  spill(slab, 0); /* no drop */
  CHECK_EQ(g_cache->holds[other].lean, HAK_LEAN_NOT);
  CHECK_EQ(g_cache->bins[other].spilling, 0);
  begin_drop();
  spill(slab, 1);
  CHECK_EQ(g_me->dropped, 0);
  CHECK(g_cache->holds[other].lean != HAK_LEAN_NOT);
  CHECK_EQ(g_cache->bins[never].spilling, 0);
  CHECK(!hak_capacity_is_begun(g_cache, never));
  CHECK_EQ(g_cache->bins[none].spilling, 0);
  CHECK_EQ(g_cache->holds[none].lean, HAK_LEAN_NOT);
  home(slab, 2);
}

static void drop__of_an_event_comes_only_when_it_is_due(void **state) {
  (void)state;
  uint32_t other = hak_class_of(200);
  hak_free(hak_alloc(200 - HAK_CANARY_BYTES));
  hak_slab_t *slab = nobodys();
  set_lists(slab, BIN, 0, 0, 0);
  event(slab, BIN);
  CHECK_EQ(g_cache->holds[other].lean, HAK_LEAN_NOT);
  begin_drop();
  set_lists(slab, BIN, 0, 0, 0);
  event(slab, BIN);
  CHECK(g_cache->holds[other].lean != HAK_LEAN_NOT);
  home(slab, BIN + 1);
}

static void drop__leaves_what_is_gathered(void **state) {
  (void)state;
  uint32_t other = hak_class_of(200);
  hak_free(hak_alloc(200 - HAK_CANARY_BYTES));
  hak_slab_t *slab = nobodys();
  test_bin()->spilling = HAK_BIN_GATHERS;
  spill(slab, 0);
  spill(slab, 1);
  CHECK_EQ(in_magazine(), 2);
  begin_drop();
  spill(slab, 2);
  CHECK(g_cache->holds[other].lean != HAK_LEAN_NOT);
  CHECK_EQ(test_bin()->spilling, HAK_BIN_GATHERS);
  CHECK_EQ(in_magazine(), 3);
  home(slab, 3);
}

#define H(function)                                                             \
  cmocka_unit_test_prestate_setup_teardown(function, setup, test_slab_teardown, \
                                           (void *)(uintptr_t)SIZE)

TEST_MAIN_FRESH(H(spare_list__leaves_one_block_to_a_slab_of_this_thread),
                H(spare_list__is_whole_where_no_slab_may_be_claimed),
                H(spare_list__keeps_a_stray_pointer_for_the_look_of_later),
                H(spare_list__with_a_broken_link_sends_no_block_home),
                H(ready_list__that_has_blocks_stays_where_the_bin_may_not_grow),
                H(list__of_a_bin_that_grows_stays),
                H(thread__is_lean_from_the_third_full_list_on),
                H(ready_list__goes_home_once_patience_is_used_up),
                H(list__that_was_emptied_meanwhile_takes_blocks_as_before),
                H(list__that_was_told_to_have_no_room_takes_more),
                H(bin__that_spills_takes_blocks_up_to_its_room),
                H(bin__that_spills_takes_blocks_of_slabs_of_this_thread_only),
                H(ready_list__stays_where_a_block_goes_past_the_bin),
                H(event__of_a_bin_that_spills_sends_its_list_home),
                H(slabs__that_are_few_stay_held),
                H(single_block__waits_on_the_one_list_while_there_is_room),
                H(drop__leaves_classes_alone_of_which_the_thread_has_nothing),
                H(drop__of_an_event_comes_only_when_it_is_due),
                H(drop__leaves_what_is_gathered))
