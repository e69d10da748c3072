/* tiny_far.c - what a thread caches of a heap whose hard limit is far: as much as without
 * a limit, and no more than its quota. */
#include "limited_fixture.h"

#include "superslab/locate.h"
#include "tiny/depot.h"
#include "tiny/far.h"
#include "tiny/flush.h"

enum {
  MOST = 12000
};

static void *g_blocks[MOST];

static int setup(void **state) {
  limited_make(state);
  limited_use();
  return 0;
}

/* What is kept was granted, and what was granted is within the quota. */
static void check_bounds(void) {
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    if (hold(cls)->far == HAK_FAR_NOT) continue;
    CHECK_MSG(hak_far_kept(g_limited, cls) <= hold(cls)->granted, "class %u", cls);
  }
  CHECK_EQ(granted(), cached());
  CHECK(cached() <= LIMIT / 16);
}

static void burst(size_t size, size_t count, int rounds) {
  for (int r = 0; r < rounds; r++) {
    for (size_t i = 0; i < count; i++) {
      g_blocks[i] = hak_heap_alloc(g_heap, size);
      CHECK(g_blocks[i] != NULL);
    }
    for (size_t i = 0; i < count; i++) hak_free(g_blocks[i]);
  }
}

static uint64_t slow_calls(void) {
  hak_counts_t *counts = &g_me->counts;
  return hak_load_relaxed(&counts->slow_alloc) + hak_load_relaxed(&counts->slow_event);
}
static uint64_t lock_visits(void) { return hak_load_relaxed(&g_me->counts.shelf_visits); }

static void far__class_begins_with_the_bin_of_a_heap_without_limit(void **state) {
  (void)state;
  hak_free(hak_heap_alloc(g_heap, SIZE));
  uint32_t least = hak_capacity_least(g_class);
  CHECK_EQ(hold(g_class)->far, HAK_FAR);
  CHECK(!hak_capacity_is_cut(hold(g_class)));
  CHECK_EQ(bin(g_class)->capacity, least);
  CHECK_EQ(hold(g_class)->quota, QUOTA);
  CHECK_EQ(hold(g_class)->magazine_blocks, g_cache->holds[g_class].magazine_blocks);
  CHECK(hold(g_class)->current != NULL); /* a slab is held between two calls */
  check_bounds();
}

static void bin__grows_until_bursts_stay_in_it(void **state) {
  (void)state;
  burst(SIZE, 300, 100);
  CHECK(bin(g_class)->capacity > hak_capacity_least(g_class));
  uint64_t before = slow_calls(), locks = lock_visits();
  burst(SIZE, 300, 100);
  CHECK_MSG(slow_calls() - before <= 100 * 20, "%llu",
            (unsigned long long)(slow_calls() - before));
  CHECK_EQ(lock_visits(), locks);
  check_bounds();
}

/* Blocks of a slab that a thread holds may be any thread's, by a depot. */
static void slab__that_is_held_is_freed_into_bins(void **state) {
  (void)state;
  burst(SIZE, 40, 1);
  void *block = hak_heap_alloc(g_heap, SIZE);
  hak_slab_t *slab = hak_slab_of(block);
  CHECK(slab == hold(g_class)->current);
  hak_hold_home(g_me, g_limited, (hak_batch_t){slab, block, block, 1});
  CHECK_EQ(slab->queue, HAK_QUEUE_HELD);
  uint64_t entry = hak_registry_entry(g_me->registry, (uintptr_t)block);
  CHECK_EQ(entry, hak_cache_entry(g_limited, g_class));
}

/* Half of the blocks of many slabs are freed, more than the quota. */
static void slabs__beyond_the_quota_are_everybody_s(void **state) {
  (void)state;
  for (size_t i = 0; i < MOST; i++) {
    g_blocks[i] = hak_heap_alloc(g_heap, SIZE);
    CHECK(g_blocks[i] != NULL);
    if (i % 64 == 0) check_bounds();
  }
  for (size_t i = 0; i < MOST; i += 2) {
    hak_free(g_blocks[i]);
    if (i % 64 == 0) check_bounds();
  }
  check_bounds();
  CHECK((uint64_t)hold(g_class)->slabs * HAK_SLAB_SIZE <= QUOTA);
  CHECK(hak_load_relaxed(&g_limited->store->centrals[g_class].groups) != 0);
  for (size_t i = 1; i < MOST; i += 2) hak_free(g_blocks[i]);
  check_bounds();
  CHECK_EQ(hak_check(g_heap), 0);
}

static void near__class_is_cut_at_its_next_refill_and_far_again_later(void **state) {
  (void)state;
  burst(SIZE, 300, 10);
  void *most = hak_heap_alloc(g_heap, LIMIT - LIMIT / 8);
  CHECK(most != NULL);
  burst(SIZE, 1500, 1); /* more than the bin has */
  CHECK_EQ(hold(g_class)->far, HAK_FAR_NOT);
  CHECK(hak_capacity_is_cut(hold(g_class)));
  CHECK(hold(g_class)->current == NULL && hold(g_class)->slabs == 0);
  CHECK_EQ(hold(g_class)->granted, 4u * bin(g_class)->capacity * SIZE);
  check_bounds();
  hak_free(most);
  hak_collect(g_heap, SIZE_MAX, HAK_COLLECT_ALL);
  burst(SIZE, 300, 1);
  CHECK_EQ(hold(g_class)->far, HAK_FAR);
  check_bounds();
}

static void quota__that_others_have_leaves_a_class_cut(void **state) {
  (void)state;
  uint64_t rest = LIMIT / 16 - cached();
  CHECK(hak_budget_quota_take(budget(), rest));
  burst(SIZE, 300, 2);
  CHECK_EQ(hold(g_class)->far, HAK_FAR_NO_ROOM);
  CHECK_EQ(bin(g_class)->capacity, 0);
  CHECK(hold(g_class)->current == NULL && hold(g_class)->slabs == 0);
  hak_budget_quota_return(budget(), rest);
  CHECK_EQ(granted(), cached());
}

/* Threads that stand still keep most of what all may cache: one that begins has a bin. */
static void quota__that_is_scarce_is_left_to_who_begins(void **state) {
  (void)state;
  uint64_t rest = LIMIT / 16 / 4 * 3 + 1 - cached();
  CHECK(hak_budget_quota_take(budget(), rest));
  burst(SIZE, 300, 100);
  CHECK_EQ(bin(g_class)->capacity, hak_capacity_least(g_class));
  uint32_t other = hak_class_of(100), few = hak_capacity_least(other) / 4;
  uint64_t left = LIMIT / 16 - cached() - 2 * few * hak_class_size(other);
  CHECK(hak_budget_quota_take(budget(), left));
  burst(100 - HAK_CANARY_BYTES, 300, 1);
  CHECK_EQ(bin(other)->capacity, few);
  hak_budget_quota_return(budget(), left + rest);
  check_bounds();
}

/* The quota becomes smaller while the thread has much of it. */
static void quota__of_more_users_takes_back_what_is_too_much(void **state) {
  (void)state;
  burst(SIZE, MOST, 1);
  burst(100, MOST, 3);
  hak_budget_count_user(budget(), 1);
  burst(SIZE, 500, 1);
  CHECK_EQ(hold(g_class)->quota, QUOTA / 2);
  CHECK(granted() <= QUOTA / 2);
  CHECK_EQ(hold(g_class)->far, HAK_FAR);
  check_bounds();
  hak_budget_count_user(budget(), 14);
  burst(SIZE, MOST, 1);
  CHECK(hold(g_class)->quota < HAK_FAR_LEAST && granted() <= hold(g_class)->quota);
  CHECK_EQ(hold(g_class)->far, HAK_FAR_NO_ROOM);
  check_bounds();
  hak_budget_count_user(budget(), -15);
}

/* So many users that the quota of one does not do for slabs. */
enum {
  CROWD = 64,
  SMALL_QUOTA = LIMIT / 16 / CROWD
};

static void quota__that_is_small_does_for_bins(void **state) {
  (void)state;
  hak_budget_count_user(budget(), CROWD - 1);
  burst(SIZE, 1000, 1);
  check_bounds();
  burst(SIZE, 1000, 29);
  CHECK_EQ(hold(g_class)->quota, SMALL_QUOTA);
  CHECK_EQ(hold(g_class)->far, HAK_FAR_NO_ROOM);
  check_bounds();
  CHECK(hold(g_class)->first == NULL && hold(g_class)->current == NULL);
  CHECK(bin(g_class)->capacity > 0);
  uint64_t before = slow_calls(), locks = lock_visits();
  burst(SIZE, 1000, 30);
  CHECK_EQ(lock_visits(), locks);
  uint64_t lists = 1000 / bin(g_class)->capacity + 2;
  CHECK_MSG(slow_calls() - before <= 30 * 2 * lists, "%llu",
            (unsigned long long)(slow_calls() - before));
  hak_budget_count_user(budget(), 1 - CROWD);
}

/* As many as two lists have, in any order: no list goes into the depot and comes back. */
static void frames__that_fit_into_both_lists_stay_there(void **state) {
  (void)state;
  hak_budget_count_user(budget(), CROWD - 1);
  burst(SIZE, 1000, 30);
  uint32_t list = bin(g_class)->capacity;
  CHECK(list >= 4);
  burst(SIZE, 2 * list - 2, 60);
  CHECK_EQ(bin(g_class)->capacity, list);
  uint64_t refills = hak_load_relaxed(&g_me->counts.slow_alloc);
  burst(SIZE, 2 * list - 2, 10);
  CHECK_EQ(hak_load_relaxed(&g_me->counts.slow_alloc), refills);
  hak_budget_count_user(budget(), 1 - CROWD);
}

/* The slabs that a class had leave their quota to bins. */
static void slabs__that_went_leave_their_quota(void **state) {
  (void)state;
  for (size_t i = 0; i < MOST; i++) {
    g_blocks[i] = hak_heap_alloc(g_heap, SIZE);
    CHECK(g_blocks[i] != NULL);
  }
  size_t i = 0;
  for (; i < MOST && hold(g_class)->far == HAK_FAR; i += 2) hak_free(g_blocks[i]);
  CHECK_EQ(hold(g_class)->far, HAK_FAR_NO_ROOM);
  CHECK_EQ(hold(g_class)->granted, hak_far_kept(g_limited, g_class));
  check_bounds();
  for (size_t j = 1; j < i; j += 2) hak_free(g_blocks[j]);
  for (; i < MOST; i++) hak_free(g_blocks[i]);
}

/* Its bins serve the thread, so it comes to no refill. */
static void quota__of_more_users_is_seen_by_a_thread_that_refills_nothing(void **state) {
  (void)state;
  burst(SIZE, 300, 10);
  CHECK_EQ(hold(g_class)->quota, QUOTA);
  burst(SIZE, 8, 200); /* what is too much for both lists goes into the depot */
  hak_budget_count_user(budget(), 3);
  uint64_t carved = hak_load_relaxed(&g_me->counts.refill_carve);
  for (int i = 0; i < 2000 && hold(g_class)->quota == QUOTA; i++) burst(SIZE, 8, 1);
  CHECK(hold(g_class)->quota != QUOTA);
  CHECK_EQ(hak_load_relaxed(&g_me->counts.refill_carve), carved);
  CHECK(granted() <= QUOTA / 4);
  hak_budget_count_user(budget(), -3);
}

static void limit__that_goes_leaves_an_ordinary_bin(void **state) {
  (void)state;
  burst(SIZE, 300, 10);
  CHECK_EQ(hak_heap_set_limits(g_heap, 0, 0), 0);
  burst(SIZE, MOST, 1);
  CHECK_EQ(hold(g_class)->far, HAK_FAR_NOT);
  CHECK_EQ(hold(g_class)->quota, 0);
  CHECK_EQ(hold(g_class)->granted, 0);
  CHECK_EQ(granted(), cached());
}

static void reset__gives_back_what_was_granted(void **state) {
  (void)state;
  burst(SIZE, 300, 10);
  CHECK(cached() > 0);
  CHECK_EQ(hak_heap_reset(g_heap), 0);
  CHECK_EQ(cached(), 0);
  CHECK_EQ(granted(), 0);
  burst(SIZE, 300, 10);
  check_bounds();
}

/* What all threads share of a class has no page while one thread works within its quota.
 */
static void central_cache__is_not_written_to_for_one_thread(void **state) {
  (void)state;
  uint32_t cls = hak_class_of(700);
  burst(700, 10, 3);
  hak_depot_note_missed(g_limited, cls, 1); /* as refills do */
  const hak_store_t *store = g_limited->store;
  CHECK(hak_load_relaxed(hak_store_spans(store, cls)) != 0);
  CHECK(hak_load_relaxed(hak_store_missed(store, cls)) != 0);
  CHECK(test_is_zero(&store->centrals[cls], sizeof *store->centrals));
}

/* --- what is granted, asked for by itself ------------------------------------------- */

/* All that the class was granted does for what it needs, whatever others have. */
static void grant__that_does_is_not_asked_for_again(void **state) {
  (void)state;
  burst(SIZE, 40, 1);
  uint64_t had = hold(g_class)->granted, rest = LIMIT / 16 - cached();
  CHECK(had > 0);
  CHECK(hak_budget_quota_take(budget(), rest));
  CHECK(hak_capacity_widen(g_limited, g_class, had));
  CHECK(!hak_capacity_widen(g_limited, g_class, had + 1));
  CHECK_EQ(hold(g_class)->granted, had);
  hak_budget_quota_return(budget(), rest);
  /* Nor is it more than this thread's quota. */
  uint64_t quota = hold(g_class)->quota;
  hold(g_class)->quota = granted() + 10;
  CHECK(hak_capacity_widen(g_limited, g_class, had + 10));
  CHECK(!hak_capacity_widen(g_limited, g_class, had + 11));
  CHECK_EQ(hold(g_class)->granted, had + 10);
  hold(g_class)->quota = quota;
  check_bounds();
}

/* What a class is granted ahead is left out where others have too much of it; and if they
 * have more, nothing is granted. */
static void grant__is_what_others_leave(void **state) {
  (void)state;
  enum {
    OTHERS = 1540000, /* less than three quarters of what all may have */
    LEFT = LIMIT / 16 - OTHERS
  };
  burst(SIZE, 40, 1);
  uint64_t others = OTHERS - cached(), had = hold(g_class)->granted;
  CHECK(hak_budget_quota_take(budget(), others));
  CHECK(!hak_capacity_widen(g_limited, g_class, had + LEFT + 1));
  CHECK_EQ(hold(g_class)->granted, had);
  CHECK_EQ(cached(), OTHERS);
  CHECK(hak_capacity_widen(g_limited, g_class, had + LEFT - 1000));
  CHECK_EQ(hold(g_class)->granted, had + LEFT - 1000);
  CHECK_EQ(cached(), OTHERS + LEFT - 1000);
  hak_budget_quota_return(budget(), others);
}

/* With room for 512 blocks in each list the depot serves. */
static void bin__that_a_depot_serves_as_well_does_not_grow(void **state) {
  (void)state;
  enum {
    SMALL = 16,
    BLOCKS = 512,
    FACTOR = 8 /* of the limit: so the quota would do for more */
  };
  uint32_t cls = hak_class_of(SMALL);
  CHECK_EQ(hak_heap_set_limits(g_heap, 0, (size_t)LIMIT * FACTOR), 0);
  burst(SMALL - HAK_CANARY_BYTES, 10, 1);
  uint32_t capacity = bin(cls)->capacity;
  for (uint16_t more = 0; more < 2; more++) {
    bin(cls)->capacity = (uint16_t)(BLOCKS - 1 + 2 * more);
    hold(cls)->taken = 100000;
    hold(cls)->patience = 0;
    CHECK_EQ(hak_capacity_grow(g_limited, cls), 1 - more);
  }
  *g_limited->grown -= 3 * SMALL;
  bin(cls)->capacity = (uint16_t)capacity;
}

/* The quota bounds it, and not what threads exchange. */
static void bin__of_larger_blocks_grows_where_they_are_exchanged(void **state) {
  (void)state;
  enum {
    LARGE = 3000
  };
  uint32_t cls = hak_class_of(LARGE);
  burst(LARGE - HAK_CANARY_BYTES, 4, 1);
  CHECK(cls >= HAK_TINY_CLASSES);
  CHECK_EQ(hold(cls)->far, HAK_FAR);
  hak_store_relaxed(&g_limited->store->centrals[cls].takes, 1);
  hold(cls)->taken = 20;
  hold(cls)->patience = 0;
  CHECK(hak_capacity_grow(g_limited, cls) > 0);
  hak_store_relaxed(&g_limited->store->centrals[cls].takes, 0);
}

/* A bin of a single class grows by what went home, as far as the quota goes; one that is
 * cut does not. Such bins note no more than a few blocks that were brought. */
static void bin__of_a_single_class_grows_within_the_quota(void **state) {
  (void)state;
  enum {
    LARGE = 100000,
    OFTEN = 16
  };
  uint32_t cls = hak_class_of(LARGE);
  hak_free(hak_heap_alloc(g_heap, LARGE));
  CHECK_EQ(bin(cls)->capacity, 0);
  CHECK_EQ(hold(cls)->far, HAK_FAR);
  for (int i = 0; i < 3 * OFTEN; i++) {
    hold(cls)->taken = 0;
    hak_capacity_grow_single(g_me, g_limited, cls);
    CHECK(hold(cls)->given <= OFTEN);
  }
  CHECK_EQ(bin(cls)->capacity, 0);
  for (int far = 0; far < 2; far++) {
    hold(cls)->far = far != 0 ? HAK_FAR : HAK_FAR_NOT;
    /* The clock may tell of a new tick meanwhile, which leaves half of it. */
    for (int i = 0; i < 2 * OFTEN && bin(cls)->capacity == 0; i++) {
      hold(cls)->taken = 1;
      hak_capacity_grow_single(g_me, g_limited, cls);
    }
    CHECK_EQ(bin(cls)->capacity, far);
  }
  hak_flush_class(g_me, g_limited, cls);
}

/* --- a class that is cut as there was no room --------------------------------------- */

static void follow(uint32_t cls) { hak_quota_follow(g_me, g_limited, cls); }

static void class__without_room_is_tried_again_after_many_looks(void **state) {
  (void)state;
  enum {
    LOOKS = 512
  };
  uint64_t rest = LIMIT / 16 - cached();
  CHECK(hak_budget_quota_take(budget(), rest));
  follow(g_class);
  CHECK_EQ(hold(g_class)->far, HAK_FAR_NO_ROOM);
  hak_budget_quota_return(budget(), rest);
  for (int i = 0; i < LOOKS - 1; i++) follow(g_class);
  CHECK_EQ(hold(g_class)->far, HAK_FAR_NO_ROOM);
  follow(g_class);
  CHECK_EQ(hold(g_class)->far, HAK_FAR);
  CHECK_EQ(bin(g_class)->capacity, hak_capacity_least(g_class));
  /* One that has its bin keeps what lies there. */
  burst(SIZE, 10, 1);
  hak_quota_let_go(g_me, g_limited, g_class);
  hold(g_class)->far = HAK_FAR_NO_ROOM;
  hold(g_class)->far_looks = LOOKS - 1;
  const void *list = bin(g_class)->list.head;
  CHECK(list != HAK_LINK_END);
  follow(g_class);
  CHECK_EQ(hold(g_class)->far, HAK_FAR);
  CHECK(bin(g_class)->list.head == list);
  check_bounds();
}

/* --- classes that others of the thread follow ----------------------------------------
 */

static uint64_t stored(uint32_t cls) {
  return hak_load_relaxed(&g_limited->store->centrals[cls].stored);
}

/* Nobody would take out of a depot what the heap needs. */
static void limit__that_is_near_leaves_nothing_in_depots(void **state) {
  (void)state;
  uint32_t other = hak_class_of(700), cls[] = {g_class, other};
  burst(SIZE, 20, 1);
  burst(700, 20, 1);
  for (size_t i = 0; i < TEST_COUNT(cls); i++) {
    CHECK_EQ(hold(cls[i])->far, HAK_FAR);
    hak_depot_note_missed(g_limited, cls[i], 100);
  }
  void *most = hak_heap_alloc(g_heap, LIMIT - LIMIT / 8);
  CHECK(most != NULL);
  hak_budget_count_user(budget(), 1); /* of another quota */
  follow(g_class);
  CHECK_EQ(hold(g_class)->far, HAK_FAR_NOT);
  for (size_t i = 0; i < TEST_COUNT(cls); i++) {
    CHECK_EQ(stored(cls[i]), 0);
    CHECK(bin(cls[i])->list.head == HAK_LINK_END && bin(cls[i])->ready == HAK_LINK_END);
  }
  hak_budget_count_user(budget(), -1);
  hak_free(most);
}

/* Those that were cached without a limit, and those that have a grant and no bin. */
static void classes__of_another_quota_give_up_what_they_have(void **state) {
  (void)state;
  uint32_t other = hak_class_of(700), third = hak_class_of(100);
  CHECK_EQ(hak_heap_set_limits(g_heap, 0, 0), 0);
  follow(g_class);
  follow(other);
  burst(700, 20, 1);
  CHECK(bin(other)->capacity != 0 && hold(other)->granted == 0);
  CHECK_EQ(hak_heap_set_limits(g_heap, 0, LIMIT), 0);
  CHECK(hak_budget_quota_take(budget(), 1000));
  hold(third)->granted = 1000;
  hold(third)->quota = HAK_QUOTA_NONE;
  bin(third)->capacity = 0;
  follow(g_class);
  CHECK_EQ(bin(other)->capacity, 0);
  CHECK(bin(other)->list.head == HAK_LINK_END);
  CHECK_EQ(hold(third)->granted, 0);
  CHECK_EQ(granted(), cached());
}

static void classes__that_have_not_begun_do_not_begin(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = LIMIT});
  hak_free(hak_heap_alloc(heap, SIZE));
  const hak_cache_t *cache = hak_cache_get(g_me, hak_heap_record(heap));
  uint32_t other = hak_class_of(700);
  CHECK(cache != NULL && !hak_capacity_is_begun(cache, other));
  hak_budget_count_user(&cache->store->pool.budget, 1);
  hak_quota_follow(g_me, cache, g_class);
  CHECK_EQ(cache->holds[g_class].quota, QUOTA / 2);
  CHECK(!hak_capacity_is_begun(cache, other));
  hak_budget_count_user(&cache->store->pool.budget, -1);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

#define F(function)                                                      \
  cmocka_unit_test_prestate_setup_teardown(function, setup, limited_end, \
                                           (void *)(uintptr_t)SIZE)

TEST_MAIN_FRESH(
    F(far__class_begins_with_the_bin_of_a_heap_without_limit),
    F(bin__grows_until_bursts_stay_in_it), F(slab__that_is_held_is_freed_into_bins),
    F(slabs__beyond_the_quota_are_everybody_s),
    F(near__class_is_cut_at_its_next_refill_and_far_again_later),
    F(quota__that_others_have_leaves_a_class_cut),
    F(quota__that_is_scarce_is_left_to_who_begins),
    F(quota__of_more_users_takes_back_what_is_too_much),
    F(quota__that_is_small_does_for_bins), F(frames__that_fit_into_both_lists_stay_there),
    F(slabs__that_went_leave_their_quota),
    F(quota__of_more_users_is_seen_by_a_thread_that_refills_nothing),
    F(limit__that_goes_leaves_an_ordinary_bin), F(reset__gives_back_what_was_granted),
    F(central_cache__is_not_written_to_for_one_thread),
    F(grant__that_does_is_not_asked_for_again), F(grant__is_what_others_leave),
    F(bin__that_a_depot_serves_as_well_does_not_grow),
    F(bin__of_larger_blocks_grows_where_they_are_exchanged),
    F(bin__of_a_single_class_grows_within_the_quota),
    F(class__without_room_is_tried_again_after_many_looks),
    F(limit__that_is_near_leaves_nothing_in_depots),
    F(classes__of_another_quota_give_up_what_they_have),
    F(classes__that_have_not_begun_do_not_begin))
