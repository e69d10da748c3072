/* tiny_quota.c - what a thread caches of a heap with a hard limit that is near. */
#include "limited_fixture.h"

#include "tiny/commit.h"

static void *g_most; /* a block that leaves less than an eighth of the limit */

static int setup(void **state) {
  limited_make(state);
  g_most = hak_heap_alloc(g_heap, LIMIT - LIMIT / 8);
  CHECK(g_most != NULL);
  limited_use();
  return 0;
}

static int teardown(void **state) {
  hak_free(g_most);
  return limited_end(state);
}

static void follow(uint32_t cls) { hak_quota_follow(g_me, g_limited, cls); }

static void cut__is_only_a_bin_of_a_heap_with_a_limit(void **state) {
  (void)state;
  CHECK(!hak_capacity_is_cut(&g_cache->holds[g_class]));
  CHECK_EQ(g_cache->holds[g_class].granted, 0);
  hak_quota_follow(g_me, g_cache, g_class);
  CHECK_EQ(bin(g_class)->capacity, 0); /* nothing was granted yet */
  CHECK_EQ(hold(g_class)->quota, HAK_QUOTA_NONE);
  follow(g_class);
  CHECK(hak_capacity_is_cut(hold(g_class)));
  CHECK_EQ(hold(g_class)->quota, QUOTA);
  CHECK_EQ(g_cache->bins[g_class].capacity, hak_capacity_least(g_class));
}

/* A class takes a quarter of what others have left, and no more than a bin has without
 * a limit. */
static void class__takes_a_quarter_of_what_others_have_left(void **state) {
  (void)state;
  static const size_t sizes[] = {50000, 40000, 30000, 1024, 64};
  uint64_t before = granted();
  CHECK_EQ(cached(), before);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    uint32_t cls = hak_class_of(sizes[i]), least = hak_capacity_least(cls);
    uint64_t fits = (QUOTA - granted()) / 4 / (4 * hak_class_size(cls));
    uint64_t blocks = fits < least ? fits : least;
    follow(cls);
    CHECK_EQ(bin(cls)->capacity, blocks);
    CHECK_EQ(hold(cls)->capacity_least, blocks);
    CHECK_EQ(hak_load_relaxed(&bin(cls)->list.room), blocks);
    CHECK_EQ(hold(cls)->granted, 4 * blocks * hak_class_size(cls));
    CHECK_EQ(hak_bin_batch(bin(cls)), blocks == 0 ? 1 : blocks);
    CHECK(hold(cls)->magazine_blocks >= 1 && hold(cls)->magazine_blocks <= blocks + 1);
    before += 4 * blocks * hak_class_size(cls);
    CHECK_EQ(granted(), before);
    CHECK_EQ(cached(), before); /* it is counted in the budget, too */
  }
  CHECK(granted() <= QUOTA);
  follow(g_class); /* and again changes nothing */
  CHECK_EQ(granted(), before);
}

static void quota__of_more_users_is_smaller_and_all_classes_start_anew(void **state) {
  (void)state;
  uint32_t other = hak_class_of(3000);
  follow(g_class);
  follow(other);
  CHECK(bin(other)->capacity > 0);
  hak_budget_count_user(budget(), 99);
  follow(g_class);
  CHECK_EQ(hold(g_class)->quota, LIMIT / 16 / 128); /* a power of two of parts */
  CHECK_EQ(bin(g_class)->capacity, LIMIT / 16 / 128 / 4 / (4 * SIZE));
  CHECK_EQ(bin(other)->capacity, 0);
  CHECK_EQ(hold(other)->quota, HAK_QUOTA_NONE);
  CHECK_EQ(cached(), granted());
  hak_budget_count_user(budget(), -99);
  follow(g_class);
  CHECK_EQ(hold(g_class)->quota, QUOTA);
}

static void grant__that_the_budget_refuses_leaves_one_block_at_a_time(void **state) {
  (void)state;
  uint64_t rest = LIMIT / 16 - cached();
  CHECK(hak_budget_quota_take(budget(), rest));
  follow(g_class);
  CHECK_EQ(bin(g_class)->capacity, 0);
  CHECK_EQ(hold(g_class)->quota, QUOTA);
  CHECK_EQ(hak_bin_batch(bin(g_class)), 1);
  CHECK_EQ(hold(g_class)->magazine_blocks, 1);
  void *block = hak_heap_alloc(g_heap, SIZE);
  CHECK(block != NULL && bin(g_class)->ready == HAK_LINK_END);
  hak_free(block);
  CHECK_EQ(hak_bin_listed(bin(g_class)), 0);
  hak_budget_quota_return(budget(), rest);
}

static void limit__that_goes_leaves_an_ordinary_bin(void **state) {
  (void)state;
  follow(g_class);
  CHECK_EQ(hak_heap_set_limits(g_heap, 0, 0), 0);
  follow(g_class);
  CHECK(!hak_capacity_is_cut(hold(g_class)));
  CHECK_EQ(bin(g_class)->capacity, hak_capacity_least(g_class));
  CHECK_EQ(hold(g_class)->granted, 0);
}

static void limit__that_comes_later_is_followed(void **state) {
  (void)state;
  CHECK_EQ(hak_heap_set_limits(g_heap, 0, 0), 0);
  follow(g_class);
  CHECK_EQ(hold(g_class)->quota, 0);
  CHECK_EQ(hak_heap_set_limits(g_heap, 0, LIMIT), 0);
  follow(g_class);
  CHECK_EQ(hold(g_class)->quota, QUOTA);
}

/* What is ready stays ready, and what is held stays held. */
static void heap__without_a_limit_keeps_what_it_has(void **state) {
  (void)state;
  if (HAK_CHECKS >= 3) skip(); /* freed blocks are put away, and no slab is carved */
  CHECK_EQ(hak_heap_set_limits(g_heap, 0, 0), 0);
  follow(g_class);
  hak_free(hak_heap_alloc(g_heap, SIZE));
  const void *ready = bin(g_class)->ready, *current = hold(g_class)->current;
  const void *list = bin(g_class)->list.head;
  CHECK(list != HAK_LINK_END && current != NULL);
  follow(g_class);
  hak_quota_look(g_me, g_limited, g_class);
  CHECK(bin(g_class)->ready == ready && bin(g_class)->list.head == list);
  CHECK(hold(g_class)->current == current);
}

static void slabs__are_not_held_between_two_calls(void **state) {
  (void)state;
  static void *blocks[500];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_heap_alloc(g_heap, SIZE);
    CHECK(blocks[i] != NULL);
    CHECK(hold(g_class)->first == NULL && hold(g_class)->current == NULL);
    CHECK_EQ(hold(g_class)->credit, 0);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    hak_free(blocks[i]);
    CHECK_EQ(hold(g_class)->slabs, 0);
  }
  CHECK(granted() <= QUOTA);
}

/* It is cut for the limit, and not since the thread has had little of it. */
static void class__that_is_cut_does_not_share_slabs_from_then_on(void **state) {
  (void)state;
  CHECK_EQ(hold(g_class)->shared, HAK_SHARED_NOT);
  void *block = hak_heap_alloc(g_heap, SIZE - HAK_CANARY_BYTES);
  CHECK(hak_capacity_is_cut(hold(g_class)));
  CHECK_EQ(hold(g_class)->shared, HAK_SHARED_NOT);
  hak_free(block);
}

/* The thread has had little of it, and so shares its slabs, but a bin has room for less
 * than such a thread gets elsewhere. */
static void class__that_is_shared_and_cut_gets_no_more_than_its_bin_may_keep(
    void **state) {
  (void)state;
  void *blocks[20];
  hak_budget_count_user(budget(), 99999);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_heap_alloc(g_heap, SIZE - HAK_CANARY_BYTES);
  }
  CHECK_EQ(bin(g_class)->capacity, 0);
  for (size_t i = 1; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  for (size_t i = 1; i < TEST_COUNT(blocks); i++) {
    hold(g_class)->shared = 4;
    CHECK(hak_capacity_is_shared(g_limited, g_class));
    blocks[i] = hak_heap_alloc(g_heap, SIZE - HAK_CANARY_BYTES);
    CHECK_EQ(hak_load_relaxed(&bin(g_class)->ready_count), 0);
  }
  hold(g_class)->shared = HAK_SHARED_NOT;
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  hak_budget_count_user(budget(), -99999);
}

/* What has no page gets one, for a block at a time; what has pages is carved so far. */
static void pages__come_one_at_a_time(void **state) {
  (void)state;
  enum {
    OF_PAGE = 4096 / SIZE
  };
  follow(g_class);
  hak_slab_t *slab = hak_hold_new(g_me, g_limited, g_class);
  CHECK_EQ(hak_commit_bytes(g_limited, slab), 4096);
  CHECK_EQ(hak_commit_blocks(g_me, g_limited, slab, 1), 1);
  CHECK_EQ(hak_commit_blocks(g_me, g_limited, slab, 2 * OF_PAGE), OF_PAGE);
  CHECK_EQ(hak_commit_bytes(g_limited, slab), 4096);
  hak_slab_carve(slab, OF_PAGE);
  CHECK_EQ(hak_commit_blocks(g_me, g_limited, slab, 2 * OF_PAGE), OF_PAGE);
  CHECK_EQ(hak_commit_bytes(g_limited, slab), 2 * 4096);
  hak_slab_carve_anew(slab);
  CHECK_EQ(hak_commit_blocks(g_me, g_limited, slab, 4 * OF_PAGE), 2 * OF_PAGE);
  hak_hold_retire(g_me, g_limited, slab);
}

#define Q(function)                                                   \
  cmocka_unit_test_prestate_setup_teardown(function, setup, teardown, \
                                           (void *)(uintptr_t)SIZE)

TEST_MAIN_FRESH(Q(pages__come_one_at_a_time),
                Q(class__that_is_cut_does_not_share_slabs_from_then_on),
                Q(class__that_is_shared_and_cut_gets_no_more_than_its_bin_may_keep),
                Q(cut__is_only_a_bin_of_a_heap_with_a_limit),
                Q(class__takes_a_quarter_of_what_others_have_left),
                Q(quota__of_more_users_is_smaller_and_all_classes_start_anew),
                Q(grant__that_the_budget_refuses_leaves_one_block_at_a_time),
                Q(limit__that_goes_leaves_an_ordinary_bin),
                Q(limit__that_comes_later_is_followed),
                Q(heap__without_a_limit_keeps_what_it_has),
                Q(slabs__are_not_held_between_two_calls))
