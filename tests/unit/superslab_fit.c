/* superslab_fit.c - slots that are chosen by their pages: which one a block gets, and how
 * many that are empty keep their pages. */
#include "pool_fixture.h"

#include "superslab/tails.h"

enum {
  PAGE = 4096
};

static int setup(void **state) {
  (void)state;
  test_over_os(0);
  test_pool_begin();
  g_pool.fits = true;
  return 0;
}

static hak_slab_t *get(size_t pages) {
  bool zeroed;
  hak_slab_t *slab =
      hak_pool_get(&g_pool, 1, HAK_SLAB_SIZE, pages * PAGE, false, &zeroed);
  CHECK(slab != NULL && hak_pool_is_valid(&g_pool));
  CHECK(hak_slab_pages(slab) >= pages);
  return slab;
}

static void put(hak_slab_t *slab) {
  hak_pool_put(&g_pool, slab, 1);
  CHECK(hak_pool_is_valid(&g_pool));
}

static void block__gets_the_slot_whose_pages_are_next_to_its_own(void **state) {
  (void)state;
  hak_slab_t *rest = get(1), *four = get(4), *eight = get(8), *twelve = get(12);
  put(four);
  put(eight);
  put(twelve);
  CHECK(get(12) == twelve);
  CHECK(get(7) == eight);
  CHECK_EQ(hak_slab_pages(eight), 8);
  put(eight);
  CHECK(get(6) == four); /* for eight pages are a third too many */
  CHECK_EQ(hak_slab_pages(four), 6);
  put(rest);
}

static void block__takes_no_slot_with_far_too_many_pages(void **state) {
  (void)state;
  hak_slab_t *rest = get(1), *large = get(16);
  put(large);
  hak_slab_t *small = get(2);
  CHECK(small != large);
  CHECK_EQ(hak_slab_pages(small), 2);
  CHECK(get(13) == large);
  put(rest);
}

/* The pool grows for nothing. */
static void block__takes_any_slot_before_a_superslab_comes(void **state) {
  (void)state;
  hak_slab_t *slabs[HAK_SUPERSLAB_SLABS];
  for (int i = 0; i < HAK_SUPERSLAB_SLABS; i++) slabs[i] = get(16);
  put(slabs[20]);
  put(slabs[9]);
  CHECK(get(1) == slabs[9]);
  CHECK(get(1) == slabs[20]);
  CHECK_EQ(hak_load_relaxed(&g_pool.superslabs), 1);
  CHECK(get(1) != NULL);
  CHECK_EQ(hak_load_relaxed(&g_pool.superslabs), 2);
}

static void spans__of_several_slots_are_the_lowest(void **state) {
  (void)state;
  hak_slab_t *first = get(1), *second = get(1), *third = get(16);
  put(third);
  put(second);
  bool zeroed;
  CHECK(hak_pool_get(&g_pool, 2, HAK_SLAB_SIZE, PAGE, false, &zeroed) == second);
  put(first);
}

static void empty_slots__beyond_a_few_give_their_pages_back(void **state) {
  (void)state;
  enum {
    SLOTS = 3 * HAK_SUPERSLAB_SLABS,
    FREED = 40
  };
  hak_slab_t *slabs[SLOTS];
  for (int i = 0; i < SLOTS; i++) slabs[i] = get(16);
  for (int i = 0; i < FREED; i++) put(slabs[2 * i]);
  CHECK_EQ(g_pool.empty, FREED);
  /* One call looks at one SuperSlab. */
  for (int i = 0; i < SLOTS / HAK_SUPERSLAB_SLABS; i++) hak_pool_purge_surplus(&g_pool);
  CHECK_EQ(g_pool.empty, 2 + (SLOTS - FREED) / 8);
  CHECK(hak_pool_is_valid(&g_pool));
  uint64_t purges = g_os.calls[TEST_OS_PURGE];
  hak_pool_purge_surplus(&g_pool);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], purges);
}

static void other_pools__keep_what_they_have(void **state) {
  (void)state;
  g_pool.fits = false;
  hak_slab_t *slabs[HAK_SUPERSLAB_SLABS];
  for (int i = 0; i < HAK_SUPERSLAB_SLABS; i++) slabs[i] = get(16);
  for (int i = 1; i < HAK_SUPERSLAB_SLABS; i++) put(slabs[i]);
  hak_pool_purge_surplus(&g_pool);
  CHECK_EQ(g_pool.empty, HAK_SUPERSLAB_SLABS - 1);
  CHECK(get(1) == slabs[1]);
  g_pool.fits = true;
  g_pool.keeps_all = true;
  hak_pool_purge_surplus(&g_pool);
  CHECK_EQ(g_pool.empty, HAK_SUPERSLAB_SLABS - 2);
  g_pool.keeps_all = false;
}

/* A tail of so many pages behind a block of one page goes if all such tails are more than
 * a sixteenth of what is in use. */
static void tails__may_be_a_sixteenth(void **state) {
  (void)state;
  enum {
    TAKEN = 16
  };
  hak_slab_t *slabs[HAK_SUPERSLAB_SLABS];
  for (int i = 0; i < HAK_SUPERSLAB_SLABS; i++) slabs[i] = get(16);
  for (int i = TAKEN; i < HAK_SUPERSLAB_SLABS; i++) put(slabs[i]);
  hak_tail_t tails[2];
  for (int i = 0; i < 2; i++) {
    hak_superslab_t *ss = hak_slab_superslab(slabs[i]);
    tails[i] = (hak_tail_t){ss, slabs[i]->slot, 1, 1, 1};
    hak_tail_begin(&g_pool, &tails[i], false);
  }
  CHECK_EQ(hak_slab_pages(slabs[0]), 16);
  CHECK_EQ(hak_slab_pages(slabs[1]), 1);
  for (int i = 0; i < 2; i++) hak_tail_end(&g_pool, &tails[i]);
  CHECK_EQ(hak_load_relaxed(&g_pool.tail_bytes), 0);
}

#define F(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(F(block__gets_the_slot_whose_pages_are_next_to_its_own),
                F(block__takes_no_slot_with_far_too_many_pages),
                F(block__takes_any_slot_before_a_superslab_comes),
                F(spans__of_several_slots_are_the_lowest),
                F(empty_slots__beyond_a_few_give_their_pages_back),
                F(other_pools__keep_what_they_have), F(tails__may_be_a_sixteenth))
