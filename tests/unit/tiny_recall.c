/* tiny_recall.c - bins that take no block although they have room, so that their thread
 * comes to a slow path. */
#include "slab_fixture.h"

#include "pages/idle.h"
#include "tiny/flush.h"
#include "tiny/recall.h"

enum {
  SIZE = 1024,
  CAPACITY = 64,
  BIN = 32 /* blocks of each list of the bin */
};

static void recall_all(void) {
  g_me->recalled_at = 0;
  hak_recall_slow(g_me, g_cache, HAK_CLASSES);
}

static int32_t room(void) { return hak_load_relaxed(&test_bin()->list.room); }

static void bin__that_is_recalled_gets_its_room_back_with_the_next_free(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_slab_free(slab, 0, 3);
  recall_all();
  CHECK_EQ(room(), 0);
  test_bin_expect(3, 0, 0); /* it has what it had */
  uint64_t events = hak_load_relaxed(&g_me->counts.slow_event);
  hak_store_relaxed(&hak_retained_over, HAK_IDLE_FEW);
  test_slab_free(slab, 3, 4);
  CHECK_EQ(hak_load_relaxed(&g_me->counts.slow_event), events + 1);
  test_bin_expect(4, 0, 0);
  CHECK_EQ(room(), BIN - 4);
  test_slab_free(slab, 4, BIN);
  CHECK_EQ(hak_load_relaxed(&g_me->counts.slow_event), events + 1);
  test_bin_expect(BIN, 0, 0);
  test_slab_home(slab, BIN, CAPACITY);
}

static void bin__that_is_full_or_spills_is_left_alone(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_slab_free(slab, 0, BIN);
  recall_all();
  CHECK_EQ(hak_load_relaxed(&test_bin()->armed), BIN);
  test_slab_free(slab, BIN, BIN + 1); /* the full list is ready now */
  test_bin_expect(1, BIN, 0);
  test_bin()->spilling = 1;
  int32_t before = room();
  recall_all();
  CHECK_EQ(room(), before);
  test_bin()->spilling = 0;
  hak_flush_class(g_me, g_cache, g_class);
  test_slab_home(slab, BIN + 1, CAPACITY);
}

static void bin__that_found_out_is_recalled_again_a_few_times(void **state) {
  (void)state;
  enum {
    AGAIN = 64
  };
  hak_slab_t *slab = test_slab_full();
  test_slab_free(slab, 0, 1);
  recall_all();
  for (int i = 0; i < AGAIN; i++) {
    CHECK_EQ(room(), 0);
    CHECK(hak_recall_ends(g_cache, g_class));
    CHECK_EQ(room(), BIN - 1);
    hak_recall_slow(g_me, g_cache, g_class);
  }
  CHECK_EQ(room(), 0);
  CHECK(hak_recall_ends(g_cache, g_class));
  hak_recall_slow(g_me, g_cache, g_class);
  CHECK_EQ(room(), BIN - 1); /* enough for now */
  test_slab_home(slab, 1, CAPACITY);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(bin__that_is_recalled_gets_its_room_back_with_the_next_free),
                H(bin__that_is_full_or_spills_is_left_alone),
                H(bin__that_found_out_is_recalled_again_a_few_times))
