/* tiny_leave.c - slabs whose blocks the program moves elsewhere: which of them leave, and
 * what the thread gives up for that. */
#include "slab_fixture.h"

#include "heap/thread_cache.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/leave.h"

enum {
  SIZE = 1024,
  CAPACITY = 64,
  OUT = 2 /* blocks of a slab that is to leave */
};

/* A slab on the partial list with few blocks out. */
static hak_slab_t *slab_listed(void) {
  hak_slab_t *slab = test_slab_full();
  hak_hold_let_go(g_me, g_cache, slab, g_class);
  test_slab_home_elsewhere(slab, OUT, CAPACITY);
  CHECK_EQ(hak_load_relaxed(&slab->word), hak_word_make(HAK_SLAB_PARTIAL, 0));
  return slab;
}

/* A slab in the queue of those that this thread holds, as empty. */
static hak_slab_t *slab_held(void) {
  hak_slab_t *slab = test_slab_full();
  test_slab_home(slab, OUT, CAPACITY);
  CHECK_EQ(slab->queue, HAK_QUEUE_HELD);
  return slab;
}

static bool is_mine(hak_slab_t *slab) {
  return hak_load_relaxed(&slab->word) == hak_word_mine(g_cache);
}

static bool leave(hak_slab_t *slab) {
  bool leaves = hak_leave(g_me, g_cache, false, slab, g_class);
  CHECK_EQ(hak_leave_begun(slab), leaves);
  return leaves;
}

static uint64_t leaving_out(void) { return hak_load_relaxed(&g_central->leaving_out); }

static void slabs__leave_once_while_others_have_room(void **state) {
  (void)state;
  hak_slab_t *slabs[3] = {slab_listed(), slab_listed(), slab_listed()};
  CHECK(leave(slabs[0]));
  CHECK(leave(slabs[0])); /* it does */
  CHECK_EQ(leaving_out(), OUT);
  CHECK(leave(slabs[1]));
  CHECK_EQ(leaving_out(), 2 * OUT);
  CHECK(!leave(slabs[2])); /* where would its blocks go */
  CHECK_EQ(leaving_out(), 2 * OUT);
  for (int i = 0; i < 3; i++) test_slab_home(slabs[i], 0, OUT);
  CHECK_EQ(leaving_out(), 0);
}

/* It was another class's when the program asked. */
static void slab__of_another_class_stays(void **state) {
  (void)state;
  uint32_t other = g_class + 1;
  hak_capacity_begin(g_cache, other);
  hak_central_t *central = &g_cache->store->centrals[other];
  hak_slab_t *slab = slab_listed();
  hak_store_relaxed(&central->blocks, 10 * CAPACITY);
  hak_store_relaxed(&central->room, 10 * CAPACITY);
  CHECK(!hak_leave(g_me, g_cache, false, slab, other));
  CHECK(!hak_leave_begun(slab));
  hak_store_relaxed(&central->blocks, 0);
  hak_store_relaxed(&central->room, 0);
  test_slab_home(slab, 0, OUT);
}

/* What this thread has cached of the class goes with the first one. */
static void bin__goes_home_with_the_first_slab_only(void **state) {
  (void)state;
  hak_slab_t *slabs[3] = {slab_listed(), slab_listed(), slab_listed()};
  hak_slab_t *cached[2] = {test_slab_full(), test_slab_full()};
  test_slab_free(cached[0], 0, 3);
  test_bin_expect(3, 0, 0);
  CHECK(leave(slabs[0]));
  test_bin_expect(0, 0, 0);
  test_slab_free(cached[1], 0, 3);
  test_bin_expect(3, 0, 0);
  CHECK(leave(slabs[1]));
  test_bin_expect(3, 0, 0);
  hak_flush_class(g_me, g_cache, g_class);
  for (int i = 0; i < 2; i++) test_slab_home(cached[i], 3, CAPACITY);
  for (int i = 0; i < 3; i++) test_slab_home(slabs[i], 0, OUT);
}

/* Copies may come from it. */
static void slab__that_is_the_only_one_held_stays_so(void **state) {
  (void)state;
  hak_slab_t *listed[2] = {slab_listed(), slab_listed()}, *held = slab_held();
  hak_slab_t *cached = test_slab_full();
  test_slab_free(cached, 0, 3);
  CHECK(!leave(held));
  CHECK(is_mine(held));
  test_bin_expect(3, 0, 0);
  hak_flush_bin(g_me, g_cache, g_class);
  test_slab_home(cached, 3, CAPACITY);
  CHECK_EQ(test_hold()->slabs, 1);
  CHECK(leave(listed[0]));
  CHECK(is_mine(held));
  hak_slab_t *other = slab_held();
  CHECK(leave(held)); /* both are listed, where they are compared */
  CHECK_EQ(test_hold()->slabs, 0);
  test_slab_home(held, 0, OUT);
  test_slab_home(other, 0, OUT);
  for (int i = 0; i < 2; i++) test_slab_home(listed[i], 0, OUT);
}

static void slab__that_another_thread_holds_costs_this_one_nothing(void **state) {
  (void)state;
  hak_slab_t *mine[2] = {slab_held(), slab_held()}, *other = test_slab_full();
  hak_store_relaxed(&other->word, hak_word_make(HAK_SLAB_HELD, g_cache->code ^ 1));
  CHECK(!leave(other));
  CHECK_EQ(test_hold()->slabs, 2);
  CHECK(is_mine(mine[0]) && is_mine(mine[1]));
  hak_store_relaxed(&other->word, hak_word_mine(g_cache));
  test_slab_home(other, 0, CAPACITY);
  for (int i = 0; i < 2; i++) test_slab_home(mine[i], 0, OUT);
}

/* As of a heap of which the thread has no cache. */
static void leave__without_a_cache_gives_nothing_up(void **state) {
  (void)state;
  hak_cache_t bare = hak_cache_bare(g_me, hak_heap_get_default());
  hak_slab_t *listed[2] = {slab_listed(), slab_listed()}, *held = slab_held();
  hak_slab_t *cached = test_slab_full();
  test_slab_free(cached, 0, 3);
  CHECK(!hak_leave(g_me, &bare, true, held, g_class));
  CHECK(hak_leave(g_me, &bare, true, listed[0], g_class));
  test_bin_expect(3, 0, 0);
  CHECK(is_mine(held));
  hak_flush_class(g_me, g_cache, g_class);
  test_slab_home(held, 0, OUT);
  test_slab_home(cached, 3, CAPACITY);
  for (int i = 0; i < 2; i++) test_slab_home(listed[i], 0, OUT);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(slabs__leave_once_while_others_have_room),
                H(slab__of_another_class_stays),
                H(bin__goes_home_with_the_first_slab_only),
                H(slab__that_is_the_only_one_held_stays_so),
                H(slab__that_another_thread_holds_costs_this_one_nothing),
                H(leave__without_a_cache_gives_nothing_up))
