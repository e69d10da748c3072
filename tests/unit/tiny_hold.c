/* tiny_hold.c - who may touch a slab: the changes of the word, one at a time and
 * then in a race. */
#include "slab_fixture.h"
#include "threads.h"

#include <stdatomic.h>

#include "superslab/locate.h"
#include "tiny/hold.h"

enum {
  SIZE = 1024,
  CAPACITY = 64
};

/* --- the word, one change at a time -------------------------------------------- */

static void remote__batches_of_another_thread_are_taken_once_in_one_list(void **state) {
  (void)state;
  hak_thread_t *me = hak_thread_self;
  hak_slab_t *slab = test_slab_full();
  uint64_t before = test_stats().free_remote;
  test_slab_home_elsewhere(slab, 0, 10);
  test_slab_home_elsewhere(slab, 20, 25);
  CHECK_EQ(test_stats().free_remote - before, 15);
  CHECK_EQ(hak_slab_out(slab), CAPACITY); /* until the holder takes them */
  uint32_t count = 0;
  void *list = hak_slab_take_remote(me, &me->cache, slab, &count), *block;
  CHECK_EQ(count, 15);
  for (uint32_t i = 0; i < 15; i++) {
    CHECK(!hak_list_take_fails(me, &me->cache, &list, &block));
    CHECK(block == test_slab_block(slab, i < 5 ? 20 + i : i - 5));
  }
  CHECK(list == HAK_LINK_END);
  CHECK(hak_slab_take_remote(me, &me->cache, slab, &count) == NULL);
  CHECK_EQ(count, 0);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_mine(&me->cache));
  test_slab_home(slab, 0, CAPACITY);
}

static void let_go__makes_a_slab_full_and_a_claim_takes_it_back(void **state) {
  (void)state;
  hak_thread_t *me = hak_thread_self;
  hak_slab_t *slab = test_slab_full();
  CHECK(
      !hak_hold_claim(me, &me->cache, slab, g_class)); /* it is held, if by this thread */
  hak_hold_let_go(me, &me->cache, slab, g_class);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_FULL, 0));
  CHECK_EQ(me->holds[g_class].credit, 1);
  CHECK(hak_hold_claim(me, &me->cache, slab, g_class));
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_mine(&me->cache));
  CHECK_EQ(me->holds[g_class].credit, 0);
  hak_hold_let_go(me, &me->cache, slab, g_class);
  me->holds[g_class].credit = 0;
  CHECK(!hak_hold_claim(me, &me->cache, slab, g_class)); /* not without credit */
  me->holds[g_class].credit = 1;
  test_slab_home(slab, 0, CAPACITY);
}

static void let_go__keeps_a_slab_whose_blocks_came_home_meanwhile(void **state) {
  (void)state;
  hak_thread_t *me = hak_thread_self;
  hak_slab_t *slab = test_slab_full();
  test_slab_home_elsewhere(slab, 3, 6);
  hak_hold_let_go(me, &me->cache, slab, g_class);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_mine(&me->cache));
  CHECK_EQ(slab->queue, HAK_QUEUE_HELD);
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 3);
  CHECK(hak_hold_is_valid(me, &me->cache)); /* walks the list */
  CHECK_EQ(hak_registry_entry(me->registry, (uintptr_t)test_slab_block(slab, 9)),
           hak_entry_local(me, slab));
  test_slab_home(slab, 0, 3);
  test_slab_home(slab, 6, CAPACITY);
}

static void full_slab__is_shelved_by_the_first_block_that_comes_home(void **state) {
  (void)state;
  hak_thread_t *me = hak_thread_self;
  hak_slab_t *slab = test_slab_full();
  hak_hold_let_go(me, &me->cache, slab, g_class);
  test_slab_home_elsewhere(slab, 0, 1);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_PARTIAL, 0));
  CHECK_EQ(slab->queue, HAK_QUEUE_PARTIAL);
  test_slab_home_elsewhere(slab, 1, CAPACITY - 1);
  CHECK_EQ(hak_slab_out(slab), 1);
  uint64_t retired = test_stats().slab_retired;
  test_slab_home_elsewhere(slab, CAPACITY - 1, CAPACITY);
  CHECK_EQ(test_stats().slab_retired, retired + 1);
  CHECK_EQ(hak_load_relaxed(&g_central->groups), 0);
  CHECK_EQ(hak_locate((uintptr_t)test_slab_block(slab, 0)).cls, HAK_CLASS_NONE);
}

static void held_slab__that_is_given_up_lies_on_the_shelf_and_serves_a_refill(
    void **state) {
  (void)state;
  hak_thread_t *me = hak_thread_self;
  hak_slab_t *slab = test_slab_full();
  test_slab_home(slab, 10, 20);
  CHECK_EQ(me->holds[g_class].slabs, 1);
  test_slab_home_elsewhere(slab, 30, 33); /* joins the list when it is listed */
  hak_hold_list_all(me, &me->cache, g_class);
  CHECK_EQ(me->holds[g_class].slabs, 0);
  CHECK_EQ(hak_slab_out(slab), CAPACITY - 13);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_PARTIAL, 0));
  uint64_t partial = test_stats().refill_shelf, fresh = test_stats().slab_fresh;
  for (int i = 0; i < 13; i++) {
    char *block = hak_alloc(SIZE);
    CHECK(hak_slab_of(block) == slab);
  }
  CHECK_EQ(test_stats().refill_shelf, partial + 1);
  CHECK_EQ(test_stats().slab_fresh, fresh);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_FULL, 0));
  test_slab_home(slab, 0, CAPACITY);
}

/* --- the queue of held slabs ------------------------------------------------------ */

/* What becomes of a slab does not depend on how many went home before. */
static void never_lean(void) { CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0); }

/* A slab that this thread cuts, of which so many blocks are cut, and out. */
static hak_slab_t *slab_current(uint32_t carved) {
  hak_slab_t *slab = hak_hold_new(g_me, g_cache, g_class);
  CHECK(slab != NULL);
  hak_slab_carve(slab, carved);
  test_hold()->current = slab;
  return slab;
}

static void slab__all_of_whose_blocks_came_home_is_cut_anew_or_goes(void **state) {
  (void)state;
  never_lean();
  hak_slab_t *first = test_slab_full(), *second = test_slab_full();
  test_slab_home(first, 0, CAPACITY);
  CHECK(test_hold()->current == first); /* there was no other to cut */
  CHECK_EQ(first->queue, HAK_QUEUE_NONE);
  CHECK_EQ(hak_slab_carved(first), 0);
  uint64_t retired = test_stats().slab_retired;
  test_slab_home(second, 0, CAPACITY);
  CHECK_EQ(test_stats().slab_retired, retired + 1);
  CHECK_EQ(test_class_spans(), 1);
  CHECK(test_hold()->current == first);
  CHECK_EQ(test_hold()->slabs, 0);
}

/* With few blocks out; once its thread holds more than it should. */
static void slab__with_few_blocks_out_is_given_up_where_many_are_held(void **state) {
  (void)state;
  never_lean();
  hak_slab_t *slab[2] = {test_slab_full(), test_slab_full()};
  for (int i = 0; i < 2; i++) test_slab_home(slab[i], 0, CAPACITY / 2);
  CHECK_EQ(test_hold()->slabs, 2);
  CHECK(test_hold()->slabs_most >= 2);
  test_slab_home(slab[0], CAPACITY / 2, CAPACITY - 1);
  CHECK_EQ(slab[0]->queue, HAK_QUEUE_HELD);
  CHECK_EQ(test_hold()->pins, 1); /* they may lie in the bin */
  test_hold()->pins = 0;
  test_hold()->slabs_most = 1;
  test_slab_home(slab[1], CAPACITY / 2, CAPACITY - 1);
  CHECK_EQ(slab[1]->queue, HAK_QUEUE_PARTIAL);
  CHECK_EQ(test_hold()->slabs, 1);
  CHECK_EQ(test_hold()->pins, 0);
  for (int i = 0; i < 2; i++) test_slab_home(slab[i], CAPACITY - 1, CAPACITY);
}

static void current_slab__stays_when_others_are_given_up(void **state) {
  (void)state;
  never_lean();
  enum {
    SLABS = 4,
    SPARSE = CAPACITY / 4 - 1 /* blocks out; many enough not to be heard of */
  };
  hak_slab_t *current = slab_current(SPARSE), *slab[SLABS];
  for (int i = 0; i < SLABS; i++) {
    slab[i] = test_slab_full();
    test_slab_home(slab[i], SPARSE, CAPACITY);
  }
  hak_hold_list(g_me, g_cache, g_class, 1);
  CHECK_EQ(slab[0]->queue, HAK_QUEUE_PARTIAL);
  CHECK(test_hold()->current == current);
  /* A refill leaves sparse ones behind, but for two. */
  CHECK(hak_hold_dequeue(g_me, g_cache, g_class) == slab[2]);
  CHECK_EQ(slab[1]->queue, HAK_QUEUE_PARTIAL);
  CHECK(test_hold()->current == current);
  hak_hold_requeue(g_cache, slab[2], g_class);
  CHECK(hak_hold_is_valid(g_me, g_cache));
  /* It goes as one of the queue. */
  test_slab_home(current, 0, 1);
  hak_hold_list(g_me, g_cache, g_class, UINT32_MAX);
  CHECK(test_hold()->current == NULL);
  CHECK_EQ(current->queue, HAK_QUEUE_UNCARVED);
  test_slab_home(current, 1, SPARSE);
  for (int i = 0; i < SLABS; i++) test_slab_home(slab[i], 0, SPARSE);
}

static void held_slab__goes_to_the_shelf_once_it_has_not_changed(void **state) {
  (void)state;
  never_lean();
  uint32_t page = (uint32_t)(g_cache->store->pool.os->page_size / SIZE);
  hak_slab_t *current = slab_current(CAPACITY / 2);
  hak_slab_t *still = test_slab_full(), *full = test_slab_full();
  test_slab_home(current, 0, page);
  test_slab_home(still, 0, page);
  test_slab_home(full, 0, page - 1);
  CHECK(hak_hold_list_still(g_me, g_cache, g_class)); /* seen the first time */
  CHECK_EQ(still->queue, HAK_QUEUE_HELD);
  test_slab_home(still, page, page + 1);
  CHECK(hak_hold_list_still(g_me, g_cache, g_class));
  CHECK_EQ(still->queue, HAK_QUEUE_HELD);
  test_slab_home_elsewhere(still, page + 1, page + 2);
  CHECK(hak_hold_list_still(g_me, g_cache, g_class));
  CHECK_EQ(still->queue, HAK_QUEUE_HELD);
  CHECK(!hak_hold_list_still(g_me, g_cache, g_class));
  CHECK_EQ(still->queue, HAK_QUEUE_PARTIAL);
  CHECK_EQ(full->queue, HAK_QUEUE_HELD);    /* no page of it may be free */
  CHECK_EQ(current->queue, HAK_QUEUE_HELD); /* it serves anyway */
  test_slab_home(current, page, CAPACITY / 2);
  test_slab_home(still, page + 2, CAPACITY);
  test_slab_home(full, page - 1, CAPACITY);
}

/* --- threads that end ------------------------------------------------------------- */

static void *alloc_main(void *argument) {
  void **block = argument;
  *block = hak_alloc(SIZE);
  CHECK(*block != NULL);
  return NULL;
}

static void slab__partly_carved_by_an_ended_thread_serves_the_next(void **state) {
  (void)state;
  void *blocks[CAPACITY];
  test_thread_run(alloc_main, &blocks[0]);
  uint64_t fresh = test_stats().slab_fresh;
  hak_slab_t *slab = hak_slab_of(blocks[0]);
  CHECK_EQ(slab->queue, HAK_QUEUE_UNCARVED);
  for (int i = 1; i < CAPACITY; i++) {
    test_thread_run(alloc_main, &blocks[i]);
    CHECK(hak_slab_of(blocks[i]) == slab);
  }
  CHECK_EQ(test_stats().slab_fresh, fresh);
  for (int i = 0; i < CAPACITY; i++) hak_free(blocks[i]);
}

/* --- a race ------------------------------------------------------------------------- */

static _Atomic(hak_slab_t *) g_offered;
static atomic_bool g_done;

/* Brings the first blocks of each slab home while its holder lets go of it. */
static void *racer_main(void *argument) {
  (void)argument;
  CHECK_EQ(hak_thread_init(), 0);
  while (!atomic_load(&g_done)) {
    hak_slab_t *slab = atomic_exchange(&g_offered, NULL);
    if (slab == NULL) continue;
    test_slab_home(slab, 0, 5);
    test_slab_home(slab, 5, 6);
    atomic_store(&g_done, true);
  }
  return NULL;
}

static void let_go__loses_no_batch_that_is_pushed_meanwhile(void **state) {
  (void)state;
  hak_thread_t *me = hak_thread_self;
  test_rng_t rng = test_rng(test_seed(), 1);
  for (size_t n = test_scale(3000); n > 0; n--) {
    hak_slab_t *slab = test_slab_full();
    atomic_store(&g_done, false);
    pthread_t racer;
    CHECK_EQ(pthread_create(&racer, NULL, racer_main, NULL), 0);
    atomic_store(&g_offered, slab);
    while (n % 2 == 0 && atomic_load(&g_offered) != NULL) hak_cpu_relax();
    for (uint64_t i = test_below(&rng, 60); i > 0; i--) hak_cpu_relax();
    hak_hold_let_go(me, &me->cache, slab, g_class);
    pthread_join(racer, NULL);
    /* Whoever has it now: no block but these six is home, and none is lost. */
    test_slab_home(slab, 6, CAPACITY);
    hak_hold_list_all(me, &me->cache, g_class);
    CHECK_EQ(test_class_spans(), 0);
    CHECK(hak_hold_is_valid(me, &me->cache));
  }
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(remote__batches_of_another_thread_are_taken_once_in_one_list),
                H(let_go__makes_a_slab_full_and_a_claim_takes_it_back),
                H(let_go__keeps_a_slab_whose_blocks_came_home_meanwhile),
                H(full_slab__is_shelved_by_the_first_block_that_comes_home),
                H(held_slab__that_is_given_up_lies_on_the_shelf_and_serves_a_refill),
                H(slab__all_of_whose_blocks_came_home_is_cut_anew_or_goes),
                H(slab__with_few_blocks_out_is_given_up_where_many_are_held),
                H(current_slab__stays_when_others_are_given_up),
                H(held_slab__goes_to_the_shelf_once_it_has_not_changed),
                H(slab__partly_carved_by_an_ended_thread_serves_the_next),
                H(let_go__loses_no_batch_that_is_pushed_meanwhile))
