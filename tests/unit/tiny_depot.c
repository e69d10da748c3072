/* tiny_depot.c - lists of free blocks that lie where any thread may take them, in a heap
 * whose hard limit is far. */
#include "limited_fixture.h"
#include "threads.h"

#include <string.h>

#include "pages/clock.h"
#include "pages/idle.h"
#include "superslab/locate.h"
#include "tiny/depot.h"
#include "tiny/flush.h"
#include "tiny/home.h"
#include "tiny/magazine.h"

enum {
  MOST = 6000,
  SMALL = 64,
  ASKED = SMALL - HAK_CANARY_BYTES, /* what the program may use of such a block */
  LIST = 32
};

static void *g_blocks[MOST];
static hak_central_t *g_store; /* of the class in the limited heap */

static int setup(void **state) {
  limited_make(state);
  limited_use();
  g_store = &g_limited->store->centrals[g_class];
  hak_free(hak_heap_alloc(g_heap, ASKED));
  CHECK_EQ(hold(g_class)->far, HAK_FAR);
  return 0;
}

static void allocate(size_t count) {
  for (size_t i = 0; i < count; i++) {
    g_blocks[i] = hak_heap_alloc(g_heap, ASKED);
    CHECK(g_blocks[i] != NULL);
  }
}
static void release(size_t from, size_t to) {
  for (size_t i = from; i < to; i++) hak_free(g_blocks[i]);
}

/* Links blocks that the test has, as a bin's list. */
static hak_depot_list_t list_of(size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    hak_link_write(&g_me->key, g_blocks[i], i + 1 < to ? g_blocks[i + 1] : HAK_LINK_END);
  }
  return (hak_depot_list_t){g_blocks[from], (uint32_t)(to - from)};
}
static bool put(hak_depot_list_t list) {
  return hak_depot_put(g_me, g_limited, g_class, list);
}
static hak_depot_list_t take(uint32_t most) {
  return hak_depot_take(g_me, g_limited, g_class, most);
}
static void make_room(uint32_t blocks) {
  hak_depot_note_missed(g_limited, g_class, blocks);
}
static void home(hak_depot_list_t list) {
  hak_home_list(g_me, g_limited, g_class, list.list, list.count);
}
static uint64_t stored(void) { return hak_load_relaxed(&g_store->stored); }
/* Counts what lies in the depot. */
static void check_stored(uint64_t blocks, uint32_t lists) {
  uint64_t found_blocks = 0;
  uint32_t found_lists = 0;
  for (int s = 0; s < HAK_DEPOT_STACKS; s++) {
    for (hak_magazine_t *m = g_store->depot[s]; m != NULL; m = m->next) {
      CHECK(hak_load_relaxed(&m->count) > 0);
      for (uint32_t i = 0; i < hak_load_relaxed(&m->count); i++, found_lists++) {
        found_blocks += test_list_length(hak_depot_unpack(m->blocks[i]).list);
      }
    }
  }
  CHECK_EQ(found_blocks, blocks);
  CHECK_EQ(stored(), blocks);
  CHECK_EQ(found_lists, lists);
  CHECK_EQ(g_store->lists, lists);
  CHECK_EQ(hak_depot_is_empty(g_store), blocks == 0);
}

/* --- lists that come and go --------------------------------------------------------- */

static void list__is_taken_as_it_was_put(void **state) {
  (void)state;
  allocate(2 * LIST);
  make_room(2 * LIST);
  hak_depot_list_t first = list_of(0, LIST), second = list_of(LIST, 2 * LIST - 5);
  CHECK(put(first) && put(second));
  check_stored(2 * LIST - 5, 2);
  hak_depot_list_t got = take(LIST); /* the last that was put */
  CHECK(got.list == second.list && got.count == second.count);
  got = take(LIST);
  CHECK(got.list == first.list && got.count == first.count);
  check_stored(0, 0);
  got = take(LIST);
  CHECK(got.list == HAK_LINK_END && got.count == 0);
  home(first);
  home(second);
  release(2 * LIST - 5, 2 * LIST);
}

static void lists__more_than_a_magazine_names_are_all_there(void **state) {
  (void)state;
  enum {
    LISTS = 2 * HAK_MAGAZINE_BLOCKS + 3
  };
  allocate(LISTS);
  make_room(LISTS);
  for (size_t i = 0; i < LISTS; i++) CHECK(put(list_of(i, i + 1)));
  check_stored(LISTS, LISTS);
  for (size_t i = LISTS; i-- > 0;) {
    hak_depot_list_t got = take(LIST);
    CHECK(got.list == g_blocks[i] && got.count == 1);
    home(got);
  }
  check_stored(0, 0);
}

static void list__that_is_longer_than_asked_for_is_cut(void **state) {
  (void)state;
  allocate(LIST);
  make_room(LIST);
  CHECK(put(list_of(0, LIST)));
  hak_depot_list_t got = take(10);
  CHECK(got.list == g_blocks[0] && got.count == 10);
  CHECK_EQ(test_list_length(got.list), 10);
  check_stored(LIST - 10, 1);
  home(got);
  got = take(LIST);
  CHECK(got.list == g_blocks[10] && got.count == LIST - 10);
  home(got);
}

static void list__that_cannot_be_named_goes_past_the_depot(void **state) {
  (void)state;
  allocate(LIST);
  make_room(LIST);
  hak_magazines_return(g_me);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  uint32_t lists = 0;
  /* Until the records that are left are used up. */
  while (lists < LIST && put(list_of(lists, lists + 1))) lists++;
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  check_stored(lists, lists);
  hak_depot_send_home(g_me, g_limited, g_class);
  check_stored(0, 0);
  for (uint32_t i = lists; i < LIST; i++) home(list_of(i, i + 1));
}

/* --- room ----------------------------------------------------------------------------
 */

static void room__is_what_refills_missed(void **state) {
  (void)state;
  allocate(3 * LIST);
  hak_store_relaxed(hak_store_missed(g_limited->store, g_class), 0);
  CHECK(!put(list_of(0, LIST)));
  check_stored(0, 0);
  make_room(LIST + 3);
  CHECK(put(list_of(0, LIST)));
  CHECK(!put(list_of(LIST, 2 * LIST)));
  CHECK_EQ(g_store->depot_room, LIST + 3);
  check_stored(LIST, 1);
  make_room(LIST);
  CHECK(put(list_of(LIST, 2 * LIST)));
  hak_depot_send_home(g_me, g_limited, g_class);
  CHECK_EQ(g_store->depot_room, 0);
  check_stored(0, 0);
  release(2 * LIST, 3 * LIST);
}

/* LIMIT / 8 for one user. */
static void room__is_an_eighth_of_the_limit_at_most_and_none_for_a_single_burst(
    void **state) {
  (void)state;
  enum {
    PER_USER = (4 << 20) / SMALL
  };
  allocate(LIST);
  hak_store_relaxed(hak_store_missed(g_limited->store, g_class), 0);
  make_room(PER_USER + 1);
  CHECK(!put(list_of(0, LIST)));
  for (int i = 0; i < 2; i++) {
    make_room(PER_USER);
    CHECK(put(list_of(0, LIST)));
    CHECK_EQ(g_store->depot_room, LIMIT / 8 / SMALL);
    home(take(LIST));
    allocate(LIST);
  }
  release(0, LIST);
}

static void what__nobody_took_for_a_decay_goes_home(void **state) {
  (void)state;
  uint64_t decay = hak_idle_decay() / 1000000;
  allocate(4 * LIST);
  make_room(4 * LIST);
  for (size_t i = 0; i < 4; i++) CHECK(put(list_of(i * LIST, (i + 1) * LIST)));
  test_os_advance_ms(&g_os, decay + 1);
  hak_clock_refresh();
  /* The first put was a look, and three came since. */
  hak_depot_send_unused(g_me, g_limited, g_class);
  check_stored(3 * LIST, 3);
  hak_depot_list_t used = take(LIST);
  CHECK(put(used));
  hak_depot_send_unused(g_me, g_limited, g_class); /* no decay has passed */
  check_stored(3 * LIST, 3);
  test_os_advance_ms(&g_os, decay + 1);
  hak_clock_refresh();
  hak_depot_send_unused(g_me, g_limited, g_class);
  check_stored(LIST, 1);
  test_os_advance_ms(&g_os, decay + 1);
  hak_clock_refresh();
  used = take(LIST);
  CHECK(put(used)); /* this is a look too; the list was taken meanwhile */
  check_stored(LIST, 1);
  test_os_advance_ms(&g_os, decay + 1);
  hak_clock_refresh();
  hak_depot_send_unused(g_me, g_limited, g_class);
  check_stored(0, 0);
  CHECK_EQ(hak_check(g_heap), 0);
}

/* --- bins ----------------------------------------------------------------------------
 */

static void burst(size_t count, int rounds) {
  for (int r = 0; r < rounds; r++) {
    allocate(count);
    release(0, count);
  }
}

/* Frames of more blocks than the quota of a small limit has room for. */
static void frames__find_their_blocks_in_the_depot_without_touching_slabs(void **state) {
  (void)state;
  CHECK_EQ(hak_heap_set_limits(g_heap, 0, 5 * MIB), 0);
  burst(MOST, 12);
  CHECK(hold(g_class)->far != HAK_FAR_NOT);
  CHECK(stored() > 0);
  hak_counts_t before = g_me->counts;
  burst(MOST, 12);
  hak_counts_t *now = &g_me->counts;
  CHECK_EQ(hak_load_relaxed(&now->refill_carve), hak_load_relaxed(&before.refill_carve));
  CHECK_EQ(hak_load_relaxed(&now->shelf_visits), hak_load_relaxed(&before.shelf_visits));
  CHECK_EQ(hak_load_relaxed(&now->free_shelved), hak_load_relaxed(&before.free_shelved));
  uint64_t slow =
      hak_load_relaxed(&now->slow_alloc) - hak_load_relaxed(&before.slow_alloc);
  CHECK_MSG(slow <= 12 * MOST / LIST, "%llu", (unsigned long long)slow);
  CHECK(cached() <= 5 * MIB / 16);
  CHECK_EQ(hak_check(g_heap), 0);
}

static void blocks__that_lie_there_are_cached_and_not_live(void **state) {
  (void)state;
  allocate(LIST);
  make_room(LIST);
  uint64_t live = test_heap_stats(g_heap).live_blocks;
  CHECK(put(list_of(0, LIST)));
  CHECK_EQ(test_heap_stats(g_heap).live_blocks, live - LIST);
  CHECK_EQ(hak_check(g_heap), 0);
  hak_depot_send_home(g_me, g_limited, g_class);
  CHECK_EQ(test_heap_stats(g_heap).live_blocks, live - LIST);
}

/* --- when it is emptied ----------------------------------------------------------------
 */

static void fill(void) {
  allocate(4 * LIST);
  make_room(4 * LIST);
  for (size_t i = 0; i < 4; i++) CHECK(put(list_of(i * LIST, (i + 1) * LIST)));
  check_stored(4 * LIST, 4);
}
/* Calls that come to a refill of the class, and to an overflow. */
static void look(void) {
  allocate(200);
  release(0, 200);
}

static void limit__that_is_near_empties_it_at_the_next_refill(void **state) {
  (void)state;
  fill();
  void *most = hak_heap_alloc(g_heap, LIMIT - LIMIT / 8);
  CHECK(most != NULL);
  fill();
  look();
  CHECK_EQ(hold(g_class)->far, HAK_FAR_NOT);
  check_stored(0, 0);
  hak_free(most);
}

static void limit__that_is_met_empties_it(void **state) {
  (void)state;
  fill();
  CHECK(hak_heap_alloc(g_heap, LIMIT) == NULL);
  check_stored(0, 0);
}

static void limit__that_goes_empties_it(void **state) {
  (void)state;
  fill();
  CHECK_EQ(hak_heap_set_limits(g_heap, 0, 0), 0);
  look();
  check_stored(0, 0);
}

static void collect__empties_it(void **state) {
  (void)state;
  fill();
  (void)hak_collect(g_heap, SIZE_MAX, HAK_COLLECT_ALL);
  check_stored(0, 0);
}

/* What is left of a ready list is counted, as what it had was counted when it came. */
static void bin__that_is_stored_is_counted_anew(void **state) {
  (void)state;
  hak_bin_t *b = bin(g_class);
  hak_flush_blocks(g_me, g_limited, g_class);
  hak_depot_send_home(g_me, g_limited, g_class);
  allocate(1);
  uint32_t ready = test_list_length(b->ready);
  CHECK(ready >= 3);
  for (size_t i = 1; i < 3; i++) g_blocks[i] = hak_heap_alloc(g_heap, ASKED);
  hak_free(g_blocks[0]);
  make_room(MOST);
  hak_flush_store(g_me, g_limited, g_class);
  check_stored(ready - 2 + 1, 2);
  CHECK(b->ready == HAK_LINK_END && b->list.head == HAK_LINK_END);
  CHECK_EQ(hak_load_relaxed(&b->list.room), b->capacity);
  release(1, 3);
}

/* A part at a time, as the calls of a maintenance thread do. */
static void work__bounds_what_goes_home_at_once(void **state) {
  (void)state;
  fill();
  size_t work = LIST + 10;
  hak_depot_send_some(g_me, g_limited, g_class, &work);
  CHECK_EQ(work, 0);
  check_stored(3 * LIST - 10, 3);
  work = HAK_MAGAZINE_BLOCKS + 1;
  CHECK(!hak_flush_transfer_some(g_me, g_limited, &work));
  check_stored(3 * LIST - 11, 3);
  work = SIZE_MAX;
  CHECK(hak_flush_transfer_some(g_me, g_limited, &work));
  check_stored(0, 0);
}

static void reset__forgets_it(void **state) {
  (void)state;
  fill();
  CHECK_EQ(hak_heap_reset(g_heap), 0);
  check_stored(0, 0);
  CHECK_EQ(g_store->depot_room, 0);
  CHECK_EQ(hak_load_relaxed(hak_store_missed(g_limited->store, g_class)), 0);
}

static void *put_main(void *argument) {
  (void)argument;
  hak_free(hak_heap_alloc(g_heap, 16));
  const hak_cache_t *cache = hak_cache_get(hak_thread_self, hak_heap_record(g_heap));
  hak_quota_follow_slow(hak_thread_self, cache, g_class); /* it takes nothing out */
  CHECK(cache->holds[g_class].far != HAK_FAR_NOT);
  hak_depot_list_t list = list_of(0, LIST);
  CHECK(hak_depot_put(hak_thread_self, cache, g_class, list));
  if (argument != NULL) hak_thread_idle();
  return NULL;
}

/* Threads have stacks of their own, unless they are many. */
static void thread__that_ends_or_idles_sends_home_what_it_put_there(void **state) {
  (void)state;
  int idles = 1;
  for (int round = 0; round < 2; round++) {
    allocate(2 * LIST);
    make_room(2 * LIST);
    CHECK(put(list_of(LIST, 2 * LIST)));
    test_thread_run(put_main, round == 0 ? NULL : &idles);
    check_stored(LIST, 1);
    hak_thread_idle();
    check_stored(0, 0);
    hak_quota_follow_slow(g_me, g_limited, g_class);
  }
}

/* The thread has credit, so it may claim the slab that its list comes home to; it must
 * not hold it when it has gone. */
static void *claim_main(void *argument) {
  CHECK_EQ(hak_thread_init(), 0);
  const hak_cache_t *cache = hak_cache_get(hak_thread_self, hak_heap_record(g_heap));
  hak_quota_follow_slow(hak_thread_self, cache, g_class);
  cache->holds[g_class].credit = 1;
  hak_slab_t *slab = hak_slab_of(g_blocks[0]);
  CHECK(hak_word_is_full(hak_load_relaxed(&slab->word)));
  CHECK(hak_depot_put(hak_thread_self, cache, g_class, list_of(0, LIST)));
  if (argument != NULL) {
    hak_thread_idle();
    CHECK_EQ(hak_word_state(hak_load_relaxed(&slab->word)), HAK_SLAB_PARTIAL);
  }
  return NULL;
}
static void thread__that_gave_all_up_holds_no_slab(void **state) {
  (void)state;
  int idles = 1;
  for (int round = 0; round < 2; round++) {
    allocate(4000);
    make_room(LIST);
    hak_slab_t *slab = hak_slab_of(g_blocks[0]);
    test_thread_run(claim_main, round == 0 ? NULL : &idles);
    CHECK_EQ(hak_word_state(hak_load_relaxed(&slab->word)), HAK_SLAB_PARTIAL);
    release(LIST, 4000);
    CHECK_EQ(hak_heap_reset(g_heap), 0);
    hak_quota_follow_slow(g_me, g_limited, g_class);
  }
}

static void stack__of_another_thread_serves_as_well(void **state) {
  (void)state;
  allocate(LIST);
  make_room(LIST);
  uint32_t other = (g_me->number + 1) % HAK_DEPOT_STACKS;
  CHECK(put(list_of(0, LIST)));
  g_store->depot[other] = g_store->depot[g_me->number % HAK_DEPOT_STACKS];
  g_store->depot[g_me->number % HAK_DEPOT_STACKS] = NULL;
  check_stored(LIST, 1);
  hak_depot_list_t got = take(LIST);
  CHECK(got.list == g_blocks[0] && got.count == LIST);
  home(got);
  check_stored(0, 0);
}

/* --- misuse --------------------------------------------------------------------------
 */

/* A block that was written to while it lay there ends its list, as in a bin. */
static void block__that_was_written_to_is_reported_when_it_is_taken(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) return;
  allocate(LIST);
  make_room(LIST);
  CHECK(put(list_of(0, LIST)));
  memset(g_blocks[5], 0x5a, sizeof(uint64_t));
  hak_depot_list_t got = take(10);
  CHECK_EQ(got.count, 5);
  CHECK(g_me->deferred.block == g_blocks[5]);
  g_me->deferred = (struct hak_deferred){0, NULL, NULL, NULL};
  g_me->to_report = 0;
  check_stored(0, 0);
  CHECK_EQ(hak_heap_reset(g_heap), 0);
}

static int end(void **state) {
  hak_depot_send_home(g_me, g_limited, g_class);
  CHECK_EQ(hak_check(g_heap), 0);
  return limited_end(state);
}

#define F(function) \
  cmocka_unit_test_prestate_setup_teardown(function, setup, end, (void *)(uintptr_t)SMALL)

TEST_MAIN_FRESH(F(list__is_taken_as_it_was_put),
                F(lists__more_than_a_magazine_names_are_all_there),
                F(list__that_is_longer_than_asked_for_is_cut),
                F(list__that_cannot_be_named_goes_past_the_depot),
                F(room__is_what_refills_missed),
                F(room__is_an_eighth_of_the_limit_at_most_and_none_for_a_single_burst),
                F(what__nobody_took_for_a_decay_goes_home),
                F(frames__find_their_blocks_in_the_depot_without_touching_slabs),
                F(blocks__that_lie_there_are_cached_and_not_live),
                F(limit__that_is_near_empties_it_at_the_next_refill),
                F(limit__that_is_met_empties_it), F(limit__that_goes_empties_it),
                F(collect__empties_it), F(bin__that_is_stored_is_counted_anew),
                F(work__bounds_what_goes_home_at_once), F(reset__forgets_it),
                F(thread__that_ends_or_idles_sends_home_what_it_put_there),
                F(thread__that_gave_all_up_holds_no_slab),
                F(stack__of_another_thread_serves_as_well),
                F(block__that_was_written_to_is_reported_when_it_is_taken))
