/* tiny_lean.c - what a thread keeps of a class that comes to free only, and how often. */
#include "slab_fixture.h"

#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/lean.h"

enum {
  SIZE = 1024,
  CAPACITY = 64, /* blocks of a slab */
  BIN = 32,      /* blocks of each list of the bin */
  SLABS = 5,
  BLOCKS = SLABS * CAPACITY - CAPACITY / 2, /* the last slab is cut in part */
  BURSTS = 4
};

/* The bin stays as it is, however much overflows. */
static void set_period(int64_t ms) {
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, ms), 0);
}

static void burst(uint32_t blocks) {
  static void *block[BLOCKS];
  for (uint32_t i = 0; i < blocks; i++) {
    block[i] = hak_alloc(SIZE);
    CHECK(block[i] != NULL);
  }
  for (uint32_t i = 0; i < blocks; i++) hak_free(block[i]);
}

/* Blocks that lie in the bin. */
static uint32_t cached(void) {
  return test_list_length(test_bin()->list.head) + test_list_length(test_bin()->ready) +
         test_list_length(test_hold()->spare);
}

static void burst__that_is_dropped_leaves_few_blocks_and_no_slab_to_cut(void **state) {
  (void)state;
  set_period(3600000);
  for (int i = 0; i < BURSTS; i++) {
    burst(BLOCKS);
    CHECK(test_hold()->lean != HAK_LEAN_NOT);
    CHECK(cached() <= hak_lean_kept(g_cache, g_class));
    CHECK(test_bin()->ready == HAK_LINK_END);
    CHECK(test_hold()->current == NULL);
    CHECK(hak_load_relaxed(&g_central->spans) <= 1);
    CHECK(hak_hold_is_valid(g_me, g_cache));
  }
  /* Four times in a row; the fifth burst leaves what a thread that works on keeps. */
  burst(BLOCKS);
  CHECK_EQ(test_hold()->lean, HAK_LEAN_NOT);
  CHECK(test_hold()->current != NULL || cached() > hak_lean_kept(g_cache, g_class));
  CHECK(hak_hold_is_valid(g_me, g_cache));
}

static void period__of_zero_leaves_everything_in_place(void **state) {
  (void)state;
  set_period(0);
  burst(BLOCKS);
  CHECK_EQ(test_hold()->lean, HAK_LEAN_NOT);
  CHECK(hak_load_relaxed(&g_central->spans) >= 1);
  CHECK(test_hold()->current != NULL || cached() > hak_lean_kept(g_cache, g_class));
}

static void lean__ends_with_the_next_refill(void **state) {
  (void)state;
  set_period(3600000);
  burst(BLOCKS);
  CHECK(test_hold()->lean != HAK_LEAN_NOT);
  void *block[2 * BIN];
  for (int i = 0; i < 2 * BIN; i++) block[i] = hak_alloc(SIZE);
  CHECK_EQ(test_hold()->lean, HAK_LEAN_NOT);
  CHECK_EQ(test_bin()->spilling, 0);
  set_period(0);
  for (int i = 0; i < 2 * BIN; i++) hak_free(block[i]);
  CHECK(cached() > hak_lean_kept(g_cache, g_class)); /* the bin is what it was */
}

/* The current slab has blocks in use: it is held, and the thread hears of it when they
 * come home. */
static void current_slab__goes_to_the_pool_with_its_last_block(void **state) {
  (void)state;
  set_period(3600000);
  static void *block[BLOCKS];
  for (int i = 0; i < BLOCKS; i++) block[i] = hak_alloc(SIZE);
  hak_slab_t *current = test_hold()->current;
  CHECK(current != NULL);
  int kept = 0; /* blocks of the current slab, which is the youngest */
  for (int i = 0; i < BLOCKS; i++) {
    if (hak_slab_of(block[i]) == current) {
      block[kept++] = block[i];
    } else {
      hak_free(block[i]);
    }
  }
  CHECK(kept > BIN / 2);
  CHECK(test_hold()->current == current);
  for (int i = 0; i < kept; i++) hak_free(block[i]);
  CHECK(test_hold()->current == NULL);
  CHECK(hak_hold_is_valid(g_me, g_cache));
}

static void bin__that_had_grown_is_small_again_but_for_bursts_in_a_row(void **state) {
  (void)state;
  set_period(1);
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 1 << 20), 0);
  hak_bin_t *bin = test_bin();
  for (int i = 0; i < 2; i++) {
    test_hold()->taken = BIN;
    CHECK(hak_capacity_grow(g_cache, g_class) > 0);
    CHECK(hak_bin_capacity(bin) > BIN);
    CHECK(hak_lean_begins(g_cache, g_class));
    CHECK_EQ(test_hold()->lean, i == 0 ? HAK_LEAN_ANEW : HAK_LEAN);
    hak_lean_shrink(g_cache, g_class);
    CHECK_EQ(test_hold()->lean, HAK_LEAN);
    CHECK_EQ(hak_bin_capacity(bin) == BIN, i == 0);
  }
  hak_flush_class(g_me, g_cache, g_class);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(burst__that_is_dropped_leaves_few_blocks_and_no_slab_to_cut),
                H(period__of_zero_leaves_everything_in_place),
                H(lean__ends_with_the_next_refill),
                H(current_slab__goes_to_the_pool_with_its_last_block),
                H(bin__that_had_grown_is_small_again_but_for_bursts_in_a_row))
