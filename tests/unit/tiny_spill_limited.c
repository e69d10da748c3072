/* tiny_spill_limited.c - where a full list of the bin goes in a heap with a hard limit,
 * where what threads keep is within quotas. See also tiny_spill_states.c. */
#include "limited_fixture.h"

#include "tiny/depot.h"
#include "tiny/flush.h"
#include "tiny/lean.h"
#include "tiny/spill.h"

enum {
  BIN = 32 /* blocks of each list of the bin */
};

static int setup(void **state) {
  limited_make(state);
  limited_use();
  test_set(HAK_OPTION_BIN_GROWTH_BYTES, 0); /* a full list does not make the bin grow */
  return 0;
}

/* Blocks of the limited heap, which are out. */
static void *g_blocks[3 * BIN];

static void *chain(uint32_t from, uint32_t to) {
  for (uint32_t i = from; i < to; i++) {
    hak_link_write(&g_me->key, g_blocks[i], i + 1 < to ? g_blocks[i + 1] : HAK_LINK_END);
  }
  return from == to ? HAK_LINK_END : g_blocks[from];
}

/* The bin has a full list of the first blocks, and so many of those behind them ready. */
static void limited_lists(uint32_t ready) {
  hak_bin_t *b = bin(g_class);
  if (g_blocks[0] == NULL) {
    for (size_t i = 0; i < TEST_COUNT(g_blocks); i++) {
      CHECK((g_blocks[i] = hak_heap_alloc(g_heap, SIZE)) != NULL);
    }
  }
  hak_flush_blocks(g_me, g_limited, g_class); /* what refills brought beyond them */
  b->capacity = BIN;
  b->list.head = chain(0, BIN);
  hak_bin_set_room(b, BIN);
  hak_store_relaxed(&b->list.room, 0);
  b->ready = chain(BIN, BIN + ready);
  hak_store_relaxed(&b->ready_count, (uint16_t)ready);
}
static uint64_t stored(void) {
  return hak_load_relaxed(&g_limited->store->centrals[g_class].stored);
}
static void limited_spill(uint32_t i) {
  hak_spill_free(g_me, g_limited, g_class, g_blocks[i]);
}
static void limited_home(void) {
  hak_flush_class(g_me, g_limited, g_class);
  hak_flush_transfer(g_me, g_limited);
  hak_flush_class(g_me, g_limited, g_class);
  g_blocks[0] = NULL;
}

/* The bin asked for more, and may not grow: what comes and goes is to fit into both lists
 * and so what is left of the ready one goes to the depot, and the full one is ready. */
static void depot__gets_what_is_left_of_the_ready_list_if_the_bin_asked(void **state) {
  (void)state;
  for (int asks = 0; asks < 2; asks++) {
    limited_lists(3);
    hak_depot_note_missed(g_limited, g_class, 4 * BIN);
    hold(g_class)->taken = 20;
    hold(g_class)->patience = asks != 0 ? 0 : 1;
    limited_spill(3 * BIN - 1);
    CHECK_EQ(stored(), asks != 0 ? 3 : BIN);
    CHECK_EQ(test_list_length(bin(g_class)->ready), asks != 0 ? BIN : 3);
    CHECK(bin(g_class)->ready == g_blocks[asks != 0 ? 0 : BIN]);
    for (uint32_t i = BIN + 3; i < 3 * BIN - 1; i++) hak_free(g_blocks[i]);
    limited_home();
    CHECK_EQ(stored(), 0);
  }
}

/* A ready list with more blocks than the full one, or with a broken link, stays. */
static void depot__gets_the_full_list_where_the_ready_one_is_longer(void **state) {
  (void)state;
  limited_lists(BIN + 2);
  hak_depot_note_missed(g_limited, g_class, 4 * BIN);
  hold(g_class)->taken = 20;
  hold(g_class)->patience = 0;
  limited_spill(3 * BIN - 1);
  CHECK_EQ(stored(), BIN);
  CHECK(bin(g_class)->ready == g_blocks[BIN]);
  CHECK_EQ(test_list_length(bin(g_class)->ready), BIN + 2);
  for (uint32_t i = 2 * BIN + 2; i < 3 * BIN - 1; i++) hak_free(g_blocks[i]);
  limited_home();
}

static void depot__gets_the_full_list_where_the_ready_one_is_broken(void **state) {
  (void)state;
  if (HAK_CHECKS == 0) skip(); /* nothing looks at links */
  limited_lists(3);
  hak_depot_note_missed(g_limited, g_class, 4 * BIN);
  uint64_t *second = (uint64_t *)g_blocks[BIN + 1], kept = *second;
  *second = 0x4141414141414141;
  hold(g_class)->taken = 20;
  hold(g_class)->patience = 0;
  limited_spill(3 * BIN - 1);
  *second = kept;
  CHECK_EQ(stored(), BIN);
  CHECK(bin(g_class)->ready == g_blocks[BIN]);
  test_deferred_expect(0, NULL);
  for (uint32_t i = BIN + 3; i < 3 * BIN - 1; i++) hak_free(g_blocks[i]);
  limited_home();
}

/* The class was granted two lists, so a third full one goes home at once. */
static void spare_list__has_no_blocks_where_the_quota_does_for_two(void **state) {
  (void)state;
  limited_lists(3);
  hold(g_class)->far = HAK_FAR_NO_ROOM;
  hold(g_class)->taken = 0;
  hak_store_relaxed(hak_store_missed(g_limited->store, g_class), 0);
  g_limited->store->centrals[g_class].depot_room = 0;
  limited_spill(3 * BIN - 1);
  CHECK_EQ(stored(), 0);
  CHECK_EQ(hak_load_relaxed(&hold(g_class)->spare_count), 0);
  CHECK(hold(g_class)->spare == HAK_LINK_END);
  CHECK_EQ(test_list_length(bin(g_class)->ready), 3);
  CHECK_EQ(hak_bin_listed(bin(g_class)), 1);
  CHECK(bin(g_class)->spilling > 0 && bin(g_class)->spilling != HAK_BIN_GATHERS);
  /* The bin takes blocks on, though it spills, and none goes into a magazine. */
  hak_quota_let_go(g_me, g_limited, g_class);
  limited_spill(3 * BIN - 2);
  CHECK_EQ(hak_bin_listed(bin(g_class)), 2);
  CHECK(hak_load_relaxed(&hold(g_class)->magazine) == NULL ||
        hak_load_relaxed(&hold(g_class)->magazine->count) == 0);
  for (uint32_t i = BIN + 3; i < 3 * BIN - 2; i++) hak_free(g_blocks[i]);
  limited_home();
}

/* What it keeps of the class is within a quota anyway. */
static void drop__leaves_classes_that_are_cut(void **state) {
  (void)state;
  limited_lists(3);
  hold(g_class)->far = HAK_FAR_NO_ROOM;
  hak_quota_let_go(g_me, g_limited, g_class);
  uint32_t other = hak_class_of(200);
  void *block = hak_heap_alloc(g_heap, 200 - HAK_CANARY_BYTES);
  g_me->spans = 0;
  g_me->dropped = HAK_LEAN_DROPPED; /* a drop is due */
  hak_spill_free(g_me, g_limited, other, block);
  CHECK(hold(other)->lean != HAK_LEAN_NOT);
  CHECK_EQ(hold(g_class)->lean, HAK_LEAN_NOT);
  CHECK_EQ(bin(g_class)->spilling, 0);
  CHECK_EQ(hak_bin_listed(bin(g_class)), BIN);
  CHECK_EQ(test_list_length(bin(g_class)->ready), 3);
  for (uint32_t i = BIN + 3; i < 3 * BIN; i++) hak_free(g_blocks[i]);
  limited_home();
}

#define L(function)                                                      \
  cmocka_unit_test_prestate_setup_teardown(function, setup, limited_end, \
                                           (void *)(uintptr_t)SIZE)

TEST_MAIN_FRESH(L(depot__gets_what_is_left_of_the_ready_list_if_the_bin_asked),
                L(depot__gets_the_full_list_where_the_ready_one_is_longer),
                L(depot__gets_the_full_list_where_the_ready_one_is_broken),
                L(spare_list__has_no_blocks_where_the_quota_does_for_two),
                L(drop__leaves_classes_that_are_cut))
