/* superslab_pool_slots.c - slots of a pool's SuperSlabs come and go, and its tree, its
 * queue and its counts follow. */
#include "pool_fixture.h"

#include "heap/lifecycle.h"
#include "superslab/pool_slots.h"
#include "superslab/region.h"
#include "superslab/tree.h"

static int setup(void **state) {
  (void)state;
  test_over_os(0);
  test_pool_begin();
  return 0;
}

/* A SuperSlab that comes to the pool with all slots free, and without pages. */
static hak_superslab_t *add_new(void) {
  hak_superslab_t *ss = hak_region_acquire(hak_lifecycle_os(), 1, HAK_SUPERSLAB_SIZE,
                                           HAK_EXTENT_SLABS, g_pool.heap, false);
  CHECK(ss != NULL && hak_superslab_charge_to(ss, &g_pool.budget));
  hak_pool_add_superslab(&g_pool, ss);
  hak_lock_release(&g_pool.lock);
  return ss;
}

static void take(hak_superslab_t *ss, unsigned first, unsigned span) {
  hak_lock_acquire(&g_pool.lock);
  hak_pool_take_locked(&g_pool, ss, first, span);
  hak_lock_release(&g_pool.lock);
}

static void commit(hak_superslab_t *ss, unsigned first, unsigned span) {
  bool zeroed;
  size_t pages = span * HAK_SLAB_SIZE / hak_lifecycle_os()->page_size;
  CHECK(hak_superslab_commit(ss, first, span, pages, false, &zeroed));
}

static void put(hak_superslab_t *ss, unsigned first, unsigned span, uint64_t now) {
  hak_lock_acquire(&g_pool.lock);
  hak_pool_put_locked(&g_pool, ss, first, span, now);
  hak_lock_release(&g_pool.lock);
}

static uint64_t taken(void) { return hak_load_relaxed(&g_pool.taken); }
static uint64_t superslabs(void) { return hak_load_relaxed(&g_pool.superslabs); }

static void superslab__that_is_added_is_in_the_tree_with_all_slots_free(void **state) {
  (void)state;
  hak_superslab_t *ss = add_new();
  CHECK(g_pool.root == ss && ss->queue == NULL);
  CHECK_EQ(ss->run, HAK_SUPERSLAB_SLABS);
  CHECK_EQ(hak_superslab_free(ss), HAK_ALL_SLOTS);
  CHECK_EQ(superslabs(), 1);
  CHECK_EQ(taken(), 0);
  CHECK_EQ(g_pool.empty, 0);
  take(ss, 0, 1);
  CHECK(hak_pool_is_valid(&g_pool));
}

static void take__counts_slots_and_shortens_the_run(void **state) {
  (void)state;
  hak_superslab_t *ss = add_new();
  take(ss, 4, 8);
  CHECK_EQ(taken(), 8);
  CHECK_EQ(hak_superslab_free(ss), 0xfffff00f);
  CHECK_EQ(ss->run, 20);
  CHECK_EQ(hak_tree_run(g_pool.root), 20);
  take(ss, 12, 20);
  CHECK_EQ(ss->run, 4);
  CHECK_EQ(taken(), 28);
  CHECK(hak_pool_is_valid(&g_pool));
}

static void slots__with_pages_are_empty_and_queued_until_they_are_taken(void **state) {
  (void)state;
  hak_superslab_t *ss = add_new();
  take(ss, 0, 8);
  commit(ss, 0, 4);
  CHECK_EQ(g_pool.empty, 0);
  put(ss, 0, 6, 77);
  CHECK_EQ(taken(), 2);
  CHECK_EQ(g_pool.empty, 4); /* the other two have no pages */
  CHECK_EQ(ss->idle_since, 77);
  CHECK(ss->queue == &g_pool.retained && g_pool.retained.first == ss);
  take(ss, 0, 2);
  CHECK_EQ(g_pool.empty, 2);
  CHECK(ss->queue == &g_pool.retained);
  take(ss, 2, 2);
  CHECK_EQ(g_pool.empty, 0);
  CHECK(ss->queue == NULL && g_pool.retained.first == NULL);
  CHECK(hak_pool_is_valid(&g_pool));
}

static void superslab__that_is_wholly_free_goes_back_to_its_region(void **state) {
  (void)state;
  hak_superslab_t *first = add_new(), *second = add_new();
  take(first, 0, 32);
  take(second, 0, 2);
  commit(second, 0, 2);
  put(second, 0, 1, 5);
  CHECK_EQ(superslabs(), 2);
  put(second, 1, 1, 6);
  CHECK_EQ(superslabs(), 1);
  CHECK_EQ(taken(), 32);
  CHECK_EQ(g_pool.empty, 0);
  CHECK(g_pool.root == first && g_pool.retained.first == NULL);
  CHECK_EQ(hak_load_relaxed(&second->extent.kind), HAK_EXTENT_FREE);
  CHECK(second->queue == &hak_regions.retained); /* with the pages that it has */
  CHECK(hak_pool_is_valid(&g_pool) && hak_regions_are_valid());
}

static void kept_superslabs__stay_until_they_need_not(void **state) {
  (void)state;
  hak_superslab_t *ss = add_new();
  hak_lock_acquire(&g_pool.lock);
  g_pool.kept_superslabs = 1;
  g_pool.keeps_free = true;
  hak_lock_release(&g_pool.lock);
  take(ss, 0, 3);
  put(ss, 0, 3, 1);
  CHECK_EQ(superslabs(), 1);
  CHECK_EQ(taken(), 0);
  CHECK_EQ(ss->run, HAK_SUPERSLAB_SLABS);
  hak_lock_acquire(&g_pool.lock);
  hak_pool_give_bare_locked(&g_pool, 2);
  CHECK_EQ(superslabs(), 1);
  g_pool.kept_superslabs = 0;
  hak_pool_give_bare_locked(&g_pool, 3);
  hak_lock_release(&g_pool.lock);
  CHECK_EQ(superslabs(), 0);
  CHECK(g_pool.root == NULL);
  CHECK(hak_regions_are_valid());
}

static void queue__has_what_changed_last_at_its_end(void **state) {
  (void)state;
  hak_superslab_t *ss[3];
  for (int i = 0; i < 3; i++) {
    ss[i] = add_new();
    take(ss[i], 0, 4);
    commit(ss[i], 0, 4);
  }
  for (int i = 0; i < 3; i++) put(ss[i], 0, 1, 10 + (uint64_t)i);
  CHECK(g_pool.retained.first == ss[0] && g_pool.retained.last == ss[2]);
  put(ss[0], 1, 1, 20);
  CHECK(g_pool.retained.first == ss[1] && g_pool.retained.last == ss[0]);
  CHECK_EQ(g_pool.empty, 4);
  CHECK(hak_pool_is_valid(&g_pool));
}

/* However often something of it becomes idle. */
static void pool__waits_once_to_give_pages_back(void **state) {
  (void)state;
  hak_superslab_t *ss = add_new();
  take(ss, 0, 4);
  commit(ss, 0, 4);
  put(ss, 0, 1, 10);
  put(ss, 1, 1, 10);
  uint64_t before = UINT64_MAX;
  CHECK(hak_pool_queue_visit(&before) == &g_pool.link);
  CHECK(hak_pool_queue_visit(&before) == NULL);
  hak_pool_queue_leave(&g_pool.link, 10);
  CHECK(hak_pool_is_valid(&g_pool));
}

static void each_run__takes_or_puts_exactly_the_bits(void **state) {
  (void)state;
  static const uint32_t slots = 0x80f0060d;
  hak_superslab_t *ss = add_new();
  hak_lock_acquire(&g_pool.lock);
  hak_pool_each_run_locked(&g_pool, ss, slots, 1, false);
  CHECK_EQ(hak_superslab_free(ss), ~slots);
  hak_pool_each_run_locked(&g_pool, ss, 0x80000005, 2, true);
  CHECK_EQ(hak_superslab_free(ss), ~slots | 0x80000005);
  /* Counts and runs are the caller's business. */
  CHECK_EQ(taken(), 0);
  hak_pool_each_run_locked(&g_pool, ss, slots & ~0x80000005u, 3, true);
  CHECK_EQ(hak_superslab_free(ss), HAK_ALL_SLOTS);
  hak_lock_release(&g_pool.lock);
}

#define P(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(P(superslab__that_is_added_is_in_the_tree_with_all_slots_free),
                P(take__counts_slots_and_shortens_the_run),
                P(slots__with_pages_are_empty_and_queued_until_they_are_taken),
                P(superslab__that_is_wholly_free_goes_back_to_its_region),
                P(kept_superslabs__stay_until_they_need_not),
                P(queue__has_what_changed_last_at_its_end),
                P(pool__waits_once_to_give_pages_back),
                P(each_run__takes_or_puts_exactly_the_bits))
