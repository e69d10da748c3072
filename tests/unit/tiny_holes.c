/* tiny_holes.c - slabs on the partial list are looked through: which of their pages go,
 * what misuse, refusals and frees meanwhile make of that, and how far a look goes. */
#include "slab_fixture.h"

#include "tiny/capacity.h"
#include "tiny/hole_map.h"
#include "tiny/holes.h"
#include "tiny/partial_list.h"

enum {
  SIZE = 1024,
  CAPACITY = 64,
  PAGE = 4096,
  PER_PAGE = PAGE / SIZE
};

static hak_slab_t *g_beside; /* whose blocks others free while its pages go, or NULL */
static uint32_t g_from, g_to;
static int (*g_purge)(void *ctx, void *ptr, size_t size);

static int purge(void *ctx, void *ptr, size_t size) {
  hak_slab_t *slab = g_beside;
  g_beside = NULL;
  if (slab != NULL) test_slab_home_elsewhere(slab, g_from, g_to);
  return g_purge(ctx, ptr, size);
}

/* What was purged may be written to at once, as with the system's own hooks. */
static int setup(void **state) {
  test_os_open(&g_os, TEST_OS_PURGE_NOOP);
  g_purge = g_os.hooks.purge;
  g_os.hooks.purge = purge;
  CHECK_EQ(test_os_init(&g_os), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0);
  CHECK_EQ(hak_thread_init(), 0);
  g_me = hak_thread_self;
  g_cache = &g_me->cache;
  CHECK_EQ(g_cache->store->pool.os->page_size, PAGE);
  g_class = hak_class_of((size_t)(uintptr_t)*state);
  hak_capacity_begin(g_cache, g_class);
  g_central = &g_cache->store->centrals[g_class];
  return 0;
}

/* A slab on the partial list, of which these blocks are out. */
static hak_slab_t *listed(uint32_t out_from, uint32_t out_to) {
  hak_slab_t *slab = test_slab_full();
  if (out_from > 0) test_slab_home(slab, 0, out_from);
  if (out_to < hak_slab_capacity(slab)) {
    test_slab_home(slab, out_to, hak_slab_capacity(slab));
  }
  hak_hold_list_all(g_me, g_cache, g_class);
  CHECK_EQ(slab->queue, HAK_QUEUE_PARTIAL);
  return slab;
}

static hak_hole_bounds_t all(void) {
  return (hak_hole_bounds_t){.bytes = SIZE_MAX, .slabs = SIZE_MAX, .all = true};
}

/* Pages that a look gives back. */
static size_t look(void) {
  hak_hole_bounds_t bounds = all();
  CHECK(hak_holes_look(g_me, g_cache, g_class, &bounds));
  CHECK(!bounds.aged);
  CHECK_EQ(bounds.given % PAGE, 0);
  CHECK(hak_partial_is_valid(g_central));
  return bounds.given / PAGE;
}

static size_t hole_pages(void) { return hak_load_relaxed(&hak_hole_bytes) / PAGE; }

static hak_slab_t *due(void) {
  hak_lock_acquire(&g_central->lock);
  hak_slab_t *slab = hak_partial_due_locked(g_central, true);
  hak_lock_release(&g_central->lock);
  return slab;
}

static void pages__go_once_and_others_when_more_is_free(void **state) {
  (void)state;
  hak_slab_t *slab = listed(6, 3 * CAPACITY / 4);
  CHECK_EQ(look(), 1 + CAPACITY / 4 / PER_PAGE);
  CHECK_EQ(hole_pages(), 1 + CAPACITY / 4 / PER_PAGE);
  CHECK_EQ(test_list_length(slab->list.head), 2); /* the others lie in holes */
  CHECK_EQ(look(), 0);
  test_slab_home(slab, 6, CAPACITY / 2);
  uint64_t purges = g_os.calls[TEST_OS_PURGE];
  CHECK_EQ(look(), CAPACITY / 4 / PER_PAGE + CAPACITY / 4 / PER_PAGE - 1);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], purges + 1);
  CHECK_EQ(hole_pages(), 3 * CAPACITY / 4 / PER_PAGE);
  CHECK_EQ(hak_hole_map_count(slab), hole_pages());
  test_slab_home(slab, CAPACITY / 2, 3 * CAPACITY / 4);
  CHECK_EQ(hole_pages(), 0);
}

/* Its SuperSlab keeps a huge page, if it has one. */
static void slab__without_a_free_page_is_left_alone(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  for (uint32_t i = 0; i < CAPACITY; i += 2) test_slab_home(slab, i, i + 1);
  hak_hold_list_all(g_me, g_cache, g_class);
  CHECK_EQ(hak_load_relaxed(&hak_slab_superslab(slab)->parts), HAK_PARTS_STAY);
  CHECK_EQ(look(), 0);
  CHECK_EQ(hak_load_relaxed(&hak_slab_superslab(slab)->parts), HAK_PARTS_STAY);
  CHECK(due() == NULL);
  for (uint32_t i = 1; i < CAPACITY; i += 2) test_slab_home(slab, i, i + 1);
}

static void page__that_the_system_keeps_is_no_hole(void **state) {
  (void)state;
  hak_slab_t *slab = listed(CAPACITY / 2, CAPACITY);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_PURGE, 1);
  CHECK_EQ(look(), 0);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hole_pages(), 0);
  CHECK_EQ(test_list_length(slab->list.head), CAPACITY / 2);
  test_slab_home(slab, CAPACITY / 2, CAPACITY);
}

/* A fork may have lost blocks of it. */
static void slab__that_is_unsure_keeps_its_pages(void **state) {
  (void)state;
  hak_slab_t *slab = listed(CAPACITY / 2, CAPACITY);
  slab->unsure = 1;
  CHECK_EQ(look(), 0);
  CHECK_EQ(hole_pages(), 0);
  slab->unsure = 0;
  test_slab_home(slab, CAPACITY / 2, CAPACITY);
}

/* Whoever takes what is on the list reports it. There are as many as there should be. */
static void list__that_is_not_of_the_slabs_blocks_gives_no_page_back(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  uint32_t capacity = hak_slab_capacity(slab), half = capacity / 2;
  test_slab_home(slab, 0, half);
  hak_hold_list_all(g_me, g_cache, g_class);
  uint64_t purges = g_os.calls[TEST_OS_PURGE];
  char *end = hak_slab_start(slab) + HAK_SLAB_SIZE;
  /* Inside a block, and behind the last one, where none fits. */
  char *strays[] = {test_slab_block(slab, half - 1) + 8, test_slab_block(slab, capacity)};
  for (size_t i = 0; i < TEST_COUNT(strays); i++) {
    if (strays[i] >= end) continue;
    char *last = test_slab_block(slab, half - 2);
    hak_link_write(&g_me->key, strays[i], HAK_LINK_END);
    hak_link_write(&g_me->key, last, strays[i]);
    CHECK_EQ(look(), 0);
    CHECK(due() == NULL);
    hak_link_write(&g_me->key, last, test_slab_block(slab, half - 1));
    hak_link_write(&g_me->key, test_slab_block(slab, half - 1), HAK_LINK_END);
    test_slab_home(slab, capacity - 1 - (uint32_t)i, capacity - (uint32_t)i);
  }
  CHECK_EQ(hole_pages(), 0);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], purges);
  test_slab_home(slab, half, hak_slab_capacity(slab) - (strays[1] < end ? 2 : 1));
}

/* --- frees meanwhile -------------------------------------------------------------------
 */

static void slab__of_which_blocks_come_home_meanwhile_is_looked_at_again(void **state) {
  (void)state;
  hak_slab_t *slab = listed(CAPACITY / 2, CAPACITY);
  g_beside = slab;
  g_from = CAPACITY / 2;
  g_to = 3 * CAPACITY / 4;
  CHECK_EQ(look(), 3 * CAPACITY / 4 / PER_PAGE); /* by two looks */
  CHECK(g_beside == NULL);
  CHECK_EQ(hole_pages(), 3 * CAPACITY / 4 / PER_PAGE);
  test_slab_home(slab, 3 * CAPACITY / 4, CAPACITY);
}

static void slab__all_of_whose_blocks_come_home_meanwhile_is_free(void **state) {
  (void)state;
  g_beside = listed(CAPACITY / 2, CAPACITY);
  g_from = CAPACITY / 2;
  g_to = CAPACITY;
  CHECK_EQ(look(), CAPACITY / 2 / PER_PAGE);
  CHECK_EQ(hole_pages(), 0);
  CHECK_EQ(test_class_spans(), 0);
  CHECK_EQ(g_central->listed, 0);
}

/* --- how far a look goes --------------------------------------------------------------
 */

static void look__ends_where_its_bounds_are(void **state) {
  (void)state;
  hak_slab_t *slabs[3];
  for (int i = 0; i < 3; i++) slabs[i] = listed(CAPACITY / 2, CAPACITY);
  hak_hole_bounds_t bounds = all();
  bounds.slabs = 1;
  CHECK(!hak_holes_look(g_me, g_cache, g_class, &bounds));
  CHECK_EQ(bounds.slabs, 0);
  CHECK_EQ(hole_pages(), CAPACITY / 2 / PER_PAGE);
  bounds = all();
  bounds.bytes = PAGE; /* but for the rest of one slab */
  CHECK(!hak_holes_look(g_me, g_cache, g_class, &bounds));
  CHECK_EQ(hole_pages(), 2 * (CAPACITY / 2 / PER_PAGE));
  bounds = all();
  bounds.end = 1; /* long ago, but calls get on */
  CHECK(!hak_holes_look(g_me, g_cache, g_class, &bounds));
  CHECK_EQ(hole_pages(), 3 * (CAPACITY / 2 / PER_PAGE));
  CHECK(due() == NULL);
  bounds = all();
  CHECK(hak_holes_look(g_me, g_cache, g_class, &bounds));
  for (int i = 0; i < 3; i++) test_slab_home(slabs[i], CAPACITY / 2, CAPACITY);
}

/* By its count alone. */
static void look__costs_little_where_no_page_can_be_free(void **state) {
  (void)state;
  enum {
    SLABS = 3,
    WORK = 20 /* less than it is to look one through */
  };
  hak_slab_t *slabs[SLABS];
  for (int i = 0; i < SLABS; i++) slabs[i] = listed(PER_PAGE - 1, CAPACITY);
  hak_hole_bounds_t bounds = all();
  bounds.slabs = WORK;
  CHECK(hak_holes_look(g_me, g_cache, g_class, &bounds));
  CHECK_EQ(bounds.slabs, WORK - SLABS - 1);
  CHECK(due() == NULL);
  for (int i = 0; i < SLABS; i++) test_slab_home(slabs[i], PER_PAGE - 1, CAPACITY);
}

static void slabs__are_due_after_the_look_that_sees_them_first(void **state) {
  (void)state;
  hak_hole_bounds_t bounds = all();
  bounds.all = false;
  CHECK(hak_holes_look(g_me, g_cache, g_class, &bounds));
  CHECK(!bounds.aged);
  hak_slab_t *slab = listed(CAPACITY / 2, CAPACITY);
  CHECK(hak_holes_look(g_me, g_cache, g_class, &bounds));
  CHECK(bounds.aged);
  CHECK_EQ(hole_pages(), 0);
  bounds.aged = false;
  CHECK(hak_holes_look(g_me, g_cache, g_class, &bounds));
  CHECK(!bounds.aged);
  CHECK_EQ(hole_pages(), CAPACITY / 2 / PER_PAGE);
  test_slab_home(slab, CAPACITY / 2, CAPACITY);
}

#define H_OF(function, size)                                                    \
  cmocka_unit_test_prestate_setup_teardown(function, setup, test_slab_teardown, \
                                           (void *)(uintptr_t)(size))
#define H(function) H_OF(function, SIZE)

TEST_MAIN_FRESH(H(pages__go_once_and_others_when_more_is_free),
                H(slab__without_a_free_page_is_left_alone),
                H(page__that_the_system_keeps_is_no_hole),
                H(slab__that_is_unsure_keeps_its_pages),
                H(list__that_is_not_of_the_slabs_blocks_gives_no_page_back),
                H_OF(list__that_is_not_of_the_slabs_blocks_gives_no_page_back, 3072),
                H(slab__of_which_blocks_come_home_meanwhile_is_looked_at_again),
                H(slab__all_of_whose_blocks_come_home_meanwhile_is_free),
                H(look__ends_where_its_bounds_are),
                H(look__costs_little_where_no_page_can_be_free),
                H(slabs__are_due_after_the_look_that_sees_them_first))
