/* tiny_magazine.c - empty magazines go from thread to process and back, and what becomes
 * of a full one's blocks. */
#include "slab_fixture.h"

#include "heap/thread_cache.h"
#include "pages/meta.h"
#include "pages/registry.h"
#include "tiny/magazine.h"

enum {
  SIZE = 1280, /* over HAK_TINY_MAX: blocks say that they are free */
  KEPT = 8,    /* empty magazines that a thread keeps at most */
  MOVED = 4    /* magazines that change between a thread and the process at a time */
};

static uint32_t count_of(hak_magazine_t *magazine) {
  return hak_load_relaxed(&magazine->count);
}

static hak_magazine_t *get(void) {
  hak_magazine_t *magazine = hak_magazine_get(g_me, g_cache);
  CHECK(magazine != NULL);
  CHECK_EQ(count_of(magazine), 0);
  return magazine;
}

/* The thread's empty magazines, which are counted. */
static void expect_empties(uint32_t count) {
  uint32_t n = 0;
  for (hak_magazine_t *m = g_me->empties; m != NULL; m = m->next) n++;
  CHECK_EQ(n, count);
  CHECK_EQ(g_me->empty_count, count);
}

/* --- how much they carry --------------------------------------------------------------
 */

static void blocks__are_the_bins_bytes_between_two_bounds(void **state) {
  (void)state;
  const struct {
    size_t size; /* bytes */
    uint32_t blocks;
  } cases[] = {{16, 62},  {1024, 62}, {1280, 51}, {2048, 32},
               {7168, 9}, {8192, 8},  {10240, 8}, {57344, 8}};
  for (size_t i = 0; i < TEST_COUNT(cases); i++) {
    CHECK_EQ(hak_magazine_blocks(hak_class_of(cases[i].size)), cases[i].blocks);
  }
  CHECK_EQ(hak_option_set(HAK_OPTION_MAGAZINE_BLOCKS, 5), 0);
  CHECK_EQ(hak_magazine_blocks(hak_class_of(16)), 5);
  CHECK_EQ(hak_magazine_blocks(hak_class_of(57344)), 5); /* the upper bound wins */
  CHECK_EQ(hak_option_set(HAK_OPTION_MAGAZINE_BLOCKS, 62), 0);
}

/* --- where empty ones wait
 * -------------------------------------------------------------- */

static void thread__gets_the_magazine_that_it_put_last_and_finds_it_empty(void **state) {
  (void)state;
  expect_empties(0);
  hak_magazine_t *a = get(), *b = get();
  CHECK(a != b);
  CHECK_EQ((uintptr_t)a % HAK_CACHE_LINE, 0);
  hak_store_relaxed(&a->count, 62);
  hak_magazine_put(g_me, a);
  hak_magazine_put(g_me, b);
  expect_empties(2);
  CHECK(get() == b);
  CHECK(get() == a);
  expect_empties(0);
}

static void thread__that_has_too_many_gives_some_to_the_process(void **state) {
  (void)state;
  hak_magazine_t *own[KEPT + 1];
  for (int i = 0; i <= KEPT; i++) own[i] = get();
  for (int i = 0; i < KEPT; i++) hak_magazine_put(g_me, own[i]);
  expect_empties(KEPT);
  hak_magazine_put(g_me, own[KEPT]);
  expect_empties(KEPT + 1 - MOVED);
  for (int i = KEPT - MOVED; i >= 0; i--) CHECK(get() == own[i]);
  expect_empties(0);
  /* Those of the process come back together, and in the order that they had. */
  for (int i = KEPT; i > KEPT - MOVED; i--) {
    CHECK(get() == own[i]);
    expect_empties((uint32_t)(i - (KEPT - MOVED) - 1));
  }
  expect_empties(0);
}

static void thread__takes_a_few_of_many_from_the_process(void **state) {
  (void)state;
  CHECK(hak_magazines_prepare(hak_registry_os(), MOVED + 2));
  uint64_t records = hak_load_relaxed(&hak_meta_committed);
  (void)get();
  expect_empties(MOVED - 1);
  for (int i = 0; i < MOVED - 1; i++) (void)get();
  (void)get();
  expect_empties(1); /* there were two more */
  (void)get();
  expect_empties(0);
  CHECK_EQ(hak_load_relaxed(&hak_meta_committed), records);
}

static void thread__that_returns_its_magazines_has_none(void **state) {
  (void)state;
  hak_magazines_return(g_me);
  hak_magazine_t *own[3] = {get(), get(), get()};
  for (int i = 0; i < 3; i++) hak_magazine_put(g_me, own[i]);
  hak_magazines_return(g_me);
  expect_empties(0);
  hak_magazine_t *first = get();
  expect_empties(2);
  CHECK(first == own[2] && get() == own[1] && get() == own[0]);
}

/* --- memory for new ones --------------------------------------------------------------
 */

static void prepare__makes_as_many_as_are_missing(void **state) {
  (void)state;
  CHECK(hak_magazines_prepare(hak_registry_os(), 3));
  hak_magazine_t *all[MOVED];
  CHECK(hak_magazines_prepare(hak_registry_os(), 2)); /* there are three */
  for (int i = 0; i < 3; i++) all[i] = get();
  expect_empties(0);
  hak_magazine_put(g_me, all[0]);
  hak_magazines_return(g_me);
  CHECK(hak_magazines_prepare(hak_registry_os(), 2));
  CHECK(get() == all[0]);
  expect_empties(1); /* the new one */
  CHECK(get() != all[0]);
  expect_empties(0);
}

static void memory__that_is_short_means_fewer_magazines_or_none(void **state) {
  (void)state;
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RESERVE, 1);
  CHECK(!hak_magazines_prepare(hak_registry_os(), 1000000));
  uint32_t made = 0;
  while (hak_magazine_get(g_me, g_cache) != NULL) made++;
  CHECK(made > 0 && made < 1000); /* what the records' memory had room for */
  expect_empties(0);
  CHECK(!hak_magazines_prepare(hak_registry_os(), 1));
  CHECK(hak_magazines_prepare(hak_registry_os(), 0));
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  (void)get();
}

static void heap__in_external_memory_does_not_ask_the_os(void **state) {
  (void)state;
  static char memory[(HAK_EXTERNAL_REGION_UNITS_MIN + 1) * HAK_SUPERSLAB_SIZE];
  hak_heap_t *heap = test_heap_in(memory, sizeof memory, 0, NULL);
  CHECK(heap != NULL);
  hak_free(hak_heap_alloc(heap, 16)); /* this thread is a user from here on */
  const hak_cache_t *enclosed = hak_cache_get(g_me, hak_heap_record(heap));
  uint64_t calls = test_os_calls(&g_os);
  uint32_t made = 0;
  while (hak_magazine_get(g_me, enclosed) != NULL) CHECK(++made < 2000);
  CHECK_EQ(test_os_calls(&g_os), calls);
  (void)get(); /* the default heap may ask */
  CHECK(test_os_calls(&g_os) > calls);
  CHECK(hak_magazine_get(g_me, enclosed) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void stop__forgets_the_magazines_of_the_process(void **state) {
  (void)state;
  hak_magazine_t *magazine = get();
  hak_magazine_put(g_me, magazine);
  hak_magazines_return(g_me);
  hak_magazines_stop();
  CHECK(get() != magazine);
}

static void lock__is_that_of_the_process_and_free(void **state) {
  (void)state;
  hak_lock_t *lock = hak_magazines_lock();
  CHECK(hak_lock_try(lock));
  hak_lock_release(lock);
  CHECK(lock == hak_magazines_lock());
}

/* --- what is in one
 * --------------------------------------------------------------------- */

/* A magazine with the first `count` blocks of the slab, each free. */
static hak_magazine_t *make_full(hak_slab_t *slab, uint32_t count) {
  hak_magazine_t *magazine = get();
  (void)test_slab_batch(slab, 0, count);
  for (uint32_t i = 0; i < count; i++) magazine->blocks[i] = test_slab_block(slab, i);
  hak_store_relaxed(&magazine->count, count);
  return magazine;
}

static void link__makes_a_list_in_the_magazines_order_and_empties_it(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  const uint32_t counts[] = {1, 2, 40};
  for (size_t i = 0; i < TEST_COUNT(counts); i++) {
    hak_magazine_t *magazine = make_full(slab, counts[i]);
    for (uint32_t k = 0; k < counts[i]; k++) hak_link_spoil(magazine->blocks[k]);
    void *list = hak_magazine_link(g_me, magazine);
    CHECK(test_list_expect(list, slab, 0, counts[i]) == HAK_LINK_END);
    CHECK_EQ(count_of(magazine), 0);
    CHECK(hak_magazine_link(g_me, magazine) == HAK_LINK_END);
    hak_magazine_put(g_me, magazine);
  }
  hak_hold_retire(g_me, g_cache, slab);
}

static void sift__leaves_the_blocks_that_say_that_they_are_free(void **state) {
  (void)state;
  hak_slab_t *slab = test_slab_full();
  hak_magazine_t *magazine = make_full(slab, 5);
  hak_link_spoil(test_slab_block(slab, 1));
  hak_magazine_sift(g_me, g_cache, g_class, magazine);
  CHECK_EQ(count_of(magazine), HAK_CHECKS == 0 ? 5 : 4);
  if (HAK_CHECKS != 0) {
    for (uint32_t i = 0; i < 4; i++) {
      CHECK(magazine->blocks[i] == test_slab_block(slab, i == 0 ? 0 : i + 1));
    }
    test_deferred_expect(HAK_ERROR_CORRUPT_BLOCK, test_slab_block(slab, 1));
  }
  hak_magazine_put(g_me, magazine);
  hak_hold_retire(g_me, g_cache, slab);
}

#define H(function) TEST_OF_SLABS(function, SIZE)

TEST_MAIN_FRESH(H(blocks__are_the_bins_bytes_between_two_bounds),
                H(thread__gets_the_magazine_that_it_put_last_and_finds_it_empty),
                H(thread__that_has_too_many_gives_some_to_the_process),
                H(thread__takes_a_few_of_many_from_the_process),
                H(thread__that_returns_its_magazines_has_none),
                H(prepare__makes_as_many_as_are_missing),
                H(memory__that_is_short_means_fewer_magazines_or_none),
                H(heap__in_external_memory_does_not_ask_the_os),
                H(stop__forgets_the_magazines_of_the_process),
                H(lock__is_that_of_the_process_and_free),
                H(link__makes_a_list_in_the_magazines_order_and_empties_it),
                H(sift__leaves_the_blocks_that_say_that_they_are_free))
