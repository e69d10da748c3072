/* tiny_recall.c - bins that take no block although they have room, so that their thread
 * comes to a slow path. */
#include "slab_fixture.h"

#include "heap/thread_cache.h"
#include "os/os.h"
#include "pages/idle.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/recall.h"
#include "tiny/refill.h"

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

/* No thread gives up what it has for a limit, or on behalf of who may not give. */
static void bin__is_left_alone_where_nothing_is_to_go(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_slab_free(slab, 0, 3);
  hak_cache_t bare = hak_cache_bare(g_me, hak_heap_get_default());
  g_me->recalled_at = 0;
  hak_recall_slow(g_me, &bare, HAK_CLASSES);
  CHECK_EQ(g_me->recalled_at, 0);
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  hak_recall_slow(g_me, g_cache, HAK_CLASSES);
  hak_os_leave(before);
  CHECK_EQ(g_me->recalled_at, 0);
  CHECK_EQ(room(), BIN - 3);
  test_hold()->quota = HAK_QUOTA_NONE;
  recall_all();
  CHECK_EQ(room(), BIN - 3);
  test_hold()->quota = 0;
  hak_store_relaxed(&hak_retained_over, HAK_IDLE_FEW);
  hak_recall_look(g_me, g_cache);
  CHECK_EQ(room(), BIN - 3);
  g_me->recalls = 1;
  hak_recall_slow(g_me, g_cache, HAK_CLASSES); /* of no class */
  CHECK_EQ(g_me->recalls, 1);
  test_slab_home(slab, 3, CAPACITY);
}

static void bin__that_may_take_nothing_gets_no_room_back(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_slab_free(slab, 0, 3);
  recall_all();
  test_bin()->spilling = 1;
  CHECK(!hak_recall_ends(g_cache, g_class));
  test_bin()->spilling = 0;
  test_hold()->quota = HAK_QUOTA_NONE;
  CHECK(!hak_recall_ends(g_cache, g_class));
  test_hold()->quota = 0;
  CHECK_EQ(room(), 0);
  CHECK(hak_recall_ends(g_cache, g_class));
  CHECK_EQ(room(), BIN - 3);
  test_slab_free(slab, 3, BIN);
  CHECK(!hak_recall_ends(g_cache, g_class)); /* it is full */
  CHECK_EQ(room(), 0);
  hak_flush_class(g_me, g_cache, g_class);
  test_slab_home(slab, BIN, CAPACITY);
}

/* What its record says is from before. */
static void class__that_has_not_begun_is_recalled_too(void **state) {
  (void)state;
  uint32_t cls = g_class + 1;
  hak_bin_t *bin = &g_cache->bins[cls];
  hak_hold_t *hold = &g_cache->holds[cls];
  CHECK(!hak_capacity_is_begun(g_cache, cls));
  hold->quota = HAK_QUOTA_NONE;
  CHECK(hak_load_relaxed(&bin->list.room) > 0);
  recall_all();
  CHECK_EQ(hak_load_relaxed(&bin->list.room), 0);
  hold->quota = 0;
  hak_capacity_begin(g_cache, cls);
  CHECK(hak_recall_ends(g_cache, cls));
}

/* Threads without a state of their own share one. */
static void state__that_is_shared_is_not_told_to_empty_anything(void **state) {
  (void)state;
  g_me->to_empty = 0;
  g_me->kind = HAK_THREAD_NONE;
  recall_all();
  g_me->kind = HAK_THREAD_ATTACHED;
  CHECK_EQ(g_me->to_empty, 0);
  recall_all();
  CHECK(g_me->to_empty > 0);
}

/* Flips that are few are not made more. */
static void flips__that_are_few_stay_so(void **state) {
  (void)state;
  recall_all();
  g_me->recalls = 0;
  int32_t left = g_me->guard.flips;
  hak_store_relaxed(&g_cache->pace->flips, 2);
  hak_recall_slow(g_me, g_cache, g_class);
  CHECK_EQ(hak_load_relaxed(&g_cache->pace->flips), 2);
  CHECK_EQ(g_me->guard.flips, left);
}

/* Else a thread that worked, and from then on is served by its bins, would never look. */
static void flips__are_few_before_a_look_once_no_bin_is_recalled(void **state) {
  (void)state;
  enum {
    MOST = 32,
    SOON = 4
  };
  hak_store_relaxed(&hak_retained_over, HAK_IDLE_FEW);
  hak_recall_look(g_me, g_cache);
  CHECK_EQ(hak_load_relaxed(&g_cache->pace->flips), MOST);
  recall_all();
  CHECK_EQ(hak_load_relaxed(&g_cache->pace->flips), MOST);
  g_me->recalls = 0;
  hak_recall_slow(g_me, g_cache, g_class);
  CHECK_EQ(hak_load_relaxed(&g_cache->pace->flips), SOON);
  /* Looks that follow each other at once become rarer, those long after the last do not
   * wait. */
  hak_store_relaxed(&hak_retained_over, HAK_IDLE_SOME);
  g_me->pace.looked_at = 0;
  hak_recall_look(g_me, g_cache);
  CHECK_EQ(hak_load_relaxed(&g_cache->pace->flips), 1);
  for (int i = 0; i < 6; i++) {
    hak_recall_look(g_me, g_cache);
  }
  CHECK(hak_load_relaxed(&g_cache->pace->flips) >= 1);
  CHECK(hak_load_relaxed(&g_cache->pace->flips) <= MOST);
  hak_store_relaxed(&hak_retained_over, HAK_IDLE_FEW);
}

/* The same thread uses a serial heap, whose cache has flips of its own. */
static void flips__of_another_cache_have_their_own_pace(void **state) {
  (void)state;
  hak_pace_t pace = {.given = 1};
  hak_cache_t other = *g_cache;
  other.pace = &pace;
  hak_store_relaxed(&hak_retained_over, HAK_IDLE_SOME);
  g_me->pace.looked_at = 0;
  hak_recall_look(g_me, g_cache);
  CHECK_EQ(g_me->pace.given, 1);
  uint64_t looked_at = g_me->pace.looked_at;
  for (int i = 0; i < 6; i++) {
    hak_recall_look(g_me, &other);
  }
  CHECK(pace.looked_at >= looked_at);
  CHECK_EQ(g_me->pace.given, 1);
  CHECK_EQ(g_me->pace.looked_at, looked_at);
  hak_store_relaxed(&hak_retained_over, HAK_IDLE_FEW);
}

/* A block is there, and its allocation is a slow path all the same. */
static void flip__that_is_due_is_a_slow_path(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  test_slab_free(slab, 0, 3);
  hak_store_relaxed(&g_cache->pace->flips, 0);
  void *block;
  hak_bin_t *bin = test_bin();
  CHECK(hak_bin_pop_is_due(&g_me->key, &g_cache->pace->flips, bin, &block));
  test_bin_expect(3, 0, 0);
  block = hak_refill_bin(g_me, g_cache, g_class);
  CHECK(block != NULL);
  CHECK(hak_load_relaxed(&g_cache->pace->flips) > 0);
  test_slab_free(slab, 2, 3); /* the last that came is the first that went */
  hak_flush_class(g_me, g_cache, g_class);
  test_slab_home(slab, 3, CAPACITY);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(bin__that_is_recalled_gets_its_room_back_with_the_next_free),
                H(bin__that_is_full_or_spills_is_left_alone),
                H(bin__that_found_out_is_recalled_again_a_few_times),
                H(bin__is_left_alone_where_nothing_is_to_go),
                H(bin__that_may_take_nothing_gets_no_room_back),
                H(class__that_has_not_begun_is_recalled_too),
                H(state__that_is_shared_is_not_told_to_empty_anything),
                H(flips__that_are_few_stay_so),
                H(flips__are_few_before_a_look_once_no_bin_is_recalled),
                H(flips__of_another_cache_have_their_own_pace),
                H(flip__that_is_due_is_a_slow_path))
