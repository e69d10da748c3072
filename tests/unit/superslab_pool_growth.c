/* superslab_pool_growth.c - which SuperSlabs of a heap get huge pages, by what the system
 * is made to say of those before them, and how often it is asked. */
#include "pool_fixture.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "heap/lifecycle.h"
#include "superslab/huge.h"
#include "superslab/pool_growth.h"
#include "superslab/region.h"
#include "superslab/tree.h"

enum {
  PAGE = 4096,
  SUPERSLABS = 64,
  GRANT = 4,
  SLOTS = HAK_SUPERSLAB_SLABS,
  LARGE_HEAP = 16, /* SuperSlabs, that a heap has for its slots to be filled again */
  STRIPPED = 24    /* slots with pages that are given back for a huge one, at most */
};

/* --- the system ----------------------------------------------------------------------
 */

int __real_mincore(void *address, size_t size, unsigned char *pages);
int __real_madvise(void *address, size_t size, int advice);
int __wrap_mincore(void *address, size_t size, unsigned char *pages);
int __wrap_madvise(void *address, size_t size, int advice);

/* What the test took, and how many per cent of it are resident, from the front. */
static struct {
  const char *base;
  unsigned percent;
} g_taken[SUPERSLABS];
static unsigned g_count;
static unsigned g_looks; /* at any of these */
static atomic_bool g_refuses;

int __wrap_mincore(void *address, size_t size, unsigned char *pages) {
  const char *at = address;
  for (unsigned i = 0; i < g_count; i++) {
    if (!test_is_within(at, g_taken[i].base, HAK_SUPERSLAB_SIZE)) continue;
    size_t offset = (size_t)(at - g_taken[i].base);
    if (offset == 0) g_looks++;
    for (size_t done = 0; done < size; done += PAGE) {
      *pages++ = (offset + done) * 100 < g_taken[i].percent * HAK_SUPERSLAB_SIZE;
    }
    return 0;
  }
  return __real_mincore(address, size, pages);
}

int __wrap_madvise(void *address, size_t size, int advice) {
  if (atomic_load(&g_refuses) && advice == MADV_DONTNEED) {
    errno = ENOMEM;
    return -1;
  }
  return __real_madvise(address, size, advice);
}

/* Looks since the last call. */
static unsigned looks(void) {
  unsigned count = g_looks;
  g_looks = 0;
  return count;
}

/* --- the heap ------------------------------------------------------------------------
 */

static int setup(void **state) {
  (void)state;
  test_set(HAK_OPTION_HUGE_PAGES, 1);
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 1);
  test_set(HAK_OPTION_HUGE_GRANT, GRANT);
  test_set(HAK_OPTION_HUGE_MEND, 0);
  test_set(HAK_OPTION_PURGE_MODE, 1);
  test_set(HAK_OPTION_REGION_BYTES, (int64_t)SUPERSLABS * (int64_t)HAK_SUPERSLAB_SIZE);
  CHECK_EQ(hak_init(NULL), 0);
  test_pool_begin();
  g_count = g_looks = 0;
  atomic_store(&g_refuses, false);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  hak_set_event_hook(NULL, NULL);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  return 0;
}

static void note(const hak_superslab_t *ss, unsigned percent) {
  unsigned i = 0;
  while (i < g_count && g_taken[i].base != ss->extent.base) i++;
  CHECK(i < SUPERSLABS);
  g_taken[i].base = ss->extent.base;
  g_taken[i].percent = percent;
  if (i == g_count) g_count++;
}

static void commit(hak_superslab_t *ss, unsigned slots) {
  bool zeroed;
  CHECK(hak_superslab_commit(ss, 0, slots, slots * HAK_SLAB_SIZE / PAGE, false, &zeroed));
}

/* The heap's next SuperSlab, all of which is in use and of which so much will be
 * resident.
 */
static hak_superslab_t *grow(unsigned percent) {
  hak_superslab_t *ss = hak_pool_new_superslab(&g_pool);
  CHECK(ss != NULL);
  note(ss, percent);
  hak_pool_add_superslab(&g_pool, ss);
  hak_pool_take_locked(&g_pool, ss, 0, SLOTS);
  hak_lock_release(&g_pool.lock);
  return ss;
}

static bool grows_huge(unsigned percent) {
  hak_superslab_t *ss = grow(percent);
  /* With a huge page all is resident, so all is charged; with small ones nothing yet. */
  CHECK_EQ(hak_superslab_committed(ss),
           hak_superslab_is_huge(ss) ? HAK_SUPERSLAB_SIZE : 0);
  return hak_superslab_is_huge(ss);
}

/* How many have huge pages before the next one with small ones. */
static unsigned granted(unsigned percent) {
  unsigned count = 0;
  while (count < SUPERSLABS / 2 && grows_huge(percent)) count++;
  return count;
}

static uint64_t charged(void) { return hak_load_relaxed(&g_pool.budget.charged); }

static void give(hak_superslab_t *ss) { hak_pool_put(&g_pool, &ss->slabs[0], SLOTS); }

/* Blocks of a page, so many per cent of which were cut. */
static void write_blocks(hak_superslab_t *ss, unsigned percent) {
  uint32_t blocks = HAK_SLAB_SIZE / PAGE;
  for (unsigned i = 0; i < SLOTS; i++) {
    hak_slab_set_span(&ss->slabs[i], 1);
    hak_store_relaxed(&ss->slabs[i].capacity, blocks);
    hak_store_relaxed(&ss->slabs[i].carved, blocks * percent / 100);
  }
}

/* --- what comes next -----------------------------------------------------------------
 */

static void next__is_as_the_youngest_is_found(void **state) {
  (void)state;
  CHECK(!grows_huge(59));
  CHECK_EQ(looks(), 0); /* there was none */
  CHECK(!grows_huge(60));
  CHECK_EQ(looks(), 1);
  CHECK(grows_huge(0));
  CHECK_EQ(looks(), 1);
}

/* Half of it is enough where the one before it has become dense. */
static void next__is_as_the_one_before_the_youngest_is_too(void **state) {
  (void)state;
  CHECK(!grows_huge(60));
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 64);
  CHECK(!grows_huge(29));
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 1);
  CHECK(!grows_huge(30)); /* 29 and 60 */
  CHECK(!grows_huge(60)); /* 30 and 29 */
  CHECK(grows_huge(0));   /* 60 */
  CHECK(grows_huge(0));
}

static void next__is_huge_where_half_of_the_youngest_is_there(void **state) {
  (void)state;
  CHECK(!grows_huge(60));
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 64);
  CHECK(!grows_huge(31));
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 1);
  CHECK(grows_huge(0));
}

static void small_heap__is_not_looked_at(void **state) {
  (void)state;
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 2);
  CHECK(!grows_huge(100) && !grows_huge(100));
  CHECK_EQ(looks(), 0);
  g_pool.starts_small = true; /* it counts from 8 on */
  while (hak_load_relaxed(&g_pool.superslabs) < 8) CHECK(!grows_huge(100));
  CHECK_EQ(looks(), 0);
  CHECK(grows_huge(100));
}

/* 1, and then 4 times as many, up to what may be granted; and after those one that is
 * looked at. Nothing is asked meanwhile. */
static void grants__grow_with_each_look_up_to_what_may_be(void **state) {
  (void)state;
  CHECK(!grows_huge(100));
  CHECK(grows_huge(100));
  CHECK_EQ(looks(), 1);
  for (int i = 0; i < GRANT; i++) CHECK(grows_huge(100));
  CHECK_EQ(looks(), 1);
  CHECK(!grows_huge(100));
  CHECK_EQ(looks(), 0);
  CHECK_EQ(granted(100), GRANT);
  CHECK_EQ(looks(), 1);
  CHECK_EQ(granted(0), GRANT); /* and then one that stays sparse */
  CHECK_EQ(looks(), 1);
  CHECK_EQ(granted(0), 0);
  CHECK_EQ(looks(), 1);
}

/* What was cut of the last one that was granted says as much as a look. */
static void grants__go_on_while_the_last_was_written_to(void **state) {
  (void)state;
  CHECK(!grows_huge(100));
  hak_superslab_t *ss = grow(100);
  CHECK(hak_superslab_is_huge(ss));
  for (int i = 0; i < GRANT; i++) CHECK(hak_superslab_is_huge(ss = grow(100)));
  (void)looks();
  write_blocks(ss, 75);
  for (int i = 0; i < GRANT; i++) CHECK(hak_superslab_is_huge(ss = grow(100)));
  /* It is asked once for each grant: what is written by the end of one. */
  CHECK_EQ(looks(), 0);
  write_blocks(ss, 50);
  CHECK(!grows_huge(0));
}

/* Not within a grant, nor before as many were granted as may be. */
static void grants__are_no_more_for_what_was_written_early(void **state) {
  (void)state;
  hak_superslab_t *small = grow(100), *ss = grow(100);
  CHECK(!hak_superslab_is_huge(small) && hak_superslab_is_huge(ss));
  write_blocks(ss, 100);
  note(small, 10);
  CHECK(!grows_huge(100)); /* though what was granted is full, it was only a first try */
  CHECK(grows_huge(100));
  for (int i = 0; i < GRANT; i++) {
    CHECK(hak_superslab_is_huge(ss = grow(100)));
    write_blocks(ss, i == GRANT - 1 ? 0 : 100);
  }
  CHECK(!grows_huge(100));
}

/* --- what is not looked at, and what stays -------------------------------------------
 */

static void heap__that_has_a_wish_of_its_own_is_not_looked_at(void **state) {
  (void)state;
  CHECK(!grows_huge(100));
  g_pool.huge_pages = HAK_HUGE_NEVER;
  CHECK(!grows_huge(100));
  g_pool.huge_pages = HAK_HUGE_ALWAYS;
  CHECK(grows_huge(100));
  g_pool.huge_pages = HAK_HUGE_DEFAULT;
  test_set(HAK_OPTION_HUGE_PAGES, 0);
  CHECK(!grows_huge(100));
  test_set(HAK_OPTION_HUGE_PAGES, 2);
  CHECK(grows_huge(100));
  CHECK_EQ(looks(), 0);
}

static void heap__without_room_has_small_pages(void **state) {
  (void)state;
  CHECK(!grows_huge(100));
  hak_budget_set_limits(&g_pool.budget, SIZE_MAX, HAK_ROOM_FOR_HUGE_PAGES);
  CHECK(!grows_huge(100));
  hak_budget_set_limits(&g_pool.budget, SIZE_MAX, 2 * HAK_ROOM_FOR_HUGE_PAGES);
  CHECK(grows_huge(100));
}

/* There is none, and nothing has changed. */
static void superslab__that_the_heap_cannot_pay_for_goes_back(void **state) {
  (void)state;
  hak_budget_set_limits(&g_pool.budget, SIZE_MAX, sizeof(hak_superslab_t) - 1);
  CHECK(hak_pool_new_superslab(&g_pool) == NULL);
  CHECK(hak_regions_are_valid());
  CHECK_EQ(hak_regions.in_use, 0);
  CHECK_EQ(charged(), 0);
}

static void superslab__that_there_is_no_address_space_for_is_none(void **state) {
  (void)state;
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  CHECK(hak_pool_new_superslab(&g_pool) == NULL);
  hak_os_leave(before);
  CHECK_EQ(charged(), 0);
}

static size_t g_purged;
static unsigned g_purges;

static void on_event(hak_event_t event, const void *address, size_t size, void *ctx) {
  (void)address;
  (void)ctx;
  if (event != HAK_EVENT_PURGE) return;
  g_purged = size;
  g_purges++;
}

/* One with so many slots that have small pages comes back to a heap whose youngest is as
 * dense as that. */
static hak_superslab_t *come_back(unsigned slots, unsigned percent) {
  hak_superslab_t *young = grow(percent);
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 64);
  hak_superslab_t *ss = grow(100);
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 1);
  commit(ss, slots);
  give(ss);
  hak_lock_acquire(&g_pool.lock);
  g_pool.youngest = young; /* as if it had come last */
  hak_lock_release(&g_pool.lock);
  hak_set_event_hook(on_event, NULL);
  g_purges = 0;
  CHECK(grow(100) == ss);
  return ss;
}

static void few_small_pages__go_for_a_huge_one(void **state) {
  (void)state;
  hak_superslab_t *ss = come_back(STRIPPED, 100);
  CHECK(hak_superslab_is_huge(ss));
  CHECK_EQ(hak_superslab_committed(ss), HAK_SUPERSLAB_SIZE);
  CHECK_EQ(g_purges, 1);
  CHECK_EQ(g_purged, STRIPPED * HAK_SLAB_SIZE);
}

static void small_pages__that_are_many_stay(void **state) {
  (void)state;
  hak_superslab_t *ss = come_back(STRIPPED + 1, 100);
  CHECK(!hak_superslab_is_huge(ss));
  CHECK_EQ(hak_superslab_committed(ss), (STRIPPED + 1) * HAK_SLAB_SIZE);
  CHECK_EQ(g_purges, 0);
}

static void small_pages__stay_in_a_heap_that_is_not_dense(void **state) {
  (void)state;
  hak_superslab_t *ss = come_back(STRIPPED, 20);
  CHECK(!hak_superslab_is_huge(ss));
  CHECK_EQ(hak_superslab_committed(ss), STRIPPED * HAK_SLAB_SIZE);
  CHECK_EQ(g_purges, 0);
}

static void small_pages__stay_where_the_system_takes_none(void **state) {
  (void)state;
  atomic_store(&g_refuses, true);
  hak_superslab_t *ss = come_back(STRIPPED, 100);
  CHECK(!hak_superslab_is_huge(ss));
  CHECK_EQ(hak_superslab_committed(ss), STRIPPED * HAK_SLAB_SIZE);
  CHECK_EQ(g_purges, 0);
}

/* Its pages are all there, and say nothing of how the heap grows. */
static void huge_page__that_comes_along_is_no_sign(void **state) {
  (void)state;
  CHECK(!grows_huge(10));
  g_pool.huge_pages = HAK_HUGE_ALWAYS;
  hak_superslab_t *ss = grow(100);
  g_pool.huge_pages = HAK_HUGE_DEFAULT;
  give(ss);
  CHECK(grow(100) == ss);
  CHECK(hak_superslab_is_huge(ss));
  CHECK_EQ(hak_superslab_committed(ss), HAK_SUPERSLAB_SIZE);
  CHECK(!grows_huge(100));
}

/* Those that stay are looked at as if it had never been there. */
static void superslab__that_goes_is_not_looked_at(void **state) {
  (void)state;
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 64);
  hak_superslab_t *gone = grow(100), *settled = grow(100), *young = grow(30);
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 1);
  give(gone);
  CHECK(g_pool.settled == settled && g_pool.youngest == young);
  hak_superslab_t *granted = grow(100);
  CHECK(hak_superslab_is_huge(granted)); /* 30 and 100 */
  CHECK(g_pool.granted == granted);
  give(settled);
  CHECK(g_pool.settled == NULL && g_pool.youngest == young);
  CHECK(g_pool.granted == granted);
  give(young);
  give(granted);
  CHECK(g_pool.youngest == NULL && g_pool.granted == NULL);
  (void)looks();
  (void)grow(0);
  CHECK_EQ(looks(), 0);
}

/* --- what came with small pages ------------------------------------------------------
 */

static void mend__gives_dense_ones_huge_pages_one_at_a_time(void **state) {
  (void)state;
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 64);
  hak_superslab_t *ss[5];
  static const unsigned percent[] = {100, 10, 100, 100, 100};
  for (size_t i = 0; i < TEST_COUNT(ss); i++) ss[i] = grow(percent[i]);
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 1);
  CHECK(grows_huge(100));
  CHECK(!hak_superslab_is_huge(ss[0])); /* it is not wanted */
  test_set(HAK_OPTION_HUGE_MEND, 1);
  unsigned mended[] = {1, 1, 2, 3}; /* the second is sparse */
  for (size_t i = 0; i < TEST_COUNT(mended); i++) {
    CHECK(grows_huge(100));
    unsigned huge = 0;
    for (size_t k = 0; k < TEST_COUNT(ss); k++) huge += hak_superslab_is_huge(ss[k]);
    CHECK_EQ(huge, mended[i]);
  }
  CHECK(!hak_superslab_is_huge(ss[1]));
}

/* Then it begins anew. */
static void mend__comes_to_the_end_of_the_heap(void **state) {
  (void)state;
  test_set(HAK_OPTION_HUGE_MEND, 1);
  hak_superslab_t *ss = grow(100);
  CHECK(grows_huge(100));
  CHECK(hak_superslab_is_huge(ss));
  for (int i = 0; i < GRANT; i++) {
    g_pool.mended_to = ss->extent.base + (HAK_SUPERSLAB_SIZE << 20);
    CHECK(hak_tree_above(g_pool.root, g_pool.mended_to) == NULL);
    CHECK(grows_huge(100));
    CHECK(g_pool.mended_to == NULL);
  }
}

/* Only a heap that was found dense is mended, and not one that is to be huge anyway. */
static void mend__is_of_heaps_that_were_found_dense(void **state) {
  (void)state;
  test_set(HAK_OPTION_HUGE_MEND, 1);
  hak_superslab_t *ss = grow(100);
  test_set(HAK_OPTION_HUGE_PAGES, 2);
  CHECK(grows_huge(100));
  CHECK(!hak_superslab_is_huge(ss));
  CHECK_EQ(looks(), 0);
}

/* --- slots that are taken into use again ---------------------------------------------
 */

/* A heap of so many SuperSlabs, the first of which has lost all but some of its pages. */
static hak_superslab_t *shrunk(unsigned superslabs, unsigned left) {
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 64);
  hak_superslab_t *ss = grow(100);
  while (hak_load_relaxed(&g_pool.superslabs) < superslabs) (void)grow(100);
  test_set(HAK_OPTION_HUGE_PAGES_AFTER, 1);
  commit(ss, SLOTS);
  hak_pool_put(&g_pool, &ss->slabs[left], SLOTS - left);
  size_t slabs = SIZE_MAX;
  CHECK_EQ(hak_pool_purge(&g_pool, UINT64_MAX, SIZE_MAX, &slabs),
           (SLOTS - left) * HAK_SLAB_SIZE);
  CHECK_EQ(hak_load_relaxed(&ss->parts), HAK_PARTS_GONE);
  return ss;
}

static void refill__brings_a_huge_page_and_counts_all_of_it(void **state) {
  (void)state;
  hak_superslab_t *ss = shrunk(LARGE_HEAP, SLOTS / 4);
  hak_pool_refill(&g_pool, ss);
  CHECK(hak_superslab_is_huge(ss));
  CHECK_EQ(hak_superslab_committed(ss), HAK_SUPERSLAB_SIZE);
  CHECK_EQ(g_pool.empty, SLOTS - SLOTS / 4);
  CHECK(hak_pool_is_valid(&g_pool));
}

/* It keeps what it has, and is asked about the next time. */
static void refill__changes_nothing_where(hak_superslab_t *ss) {
  size_t bytes = hak_superslab_committed(ss);
  bool huge = hak_superslab_is_huge(ss);
  hak_pool_refill(&g_pool, ss);
  CHECK_EQ(hak_load_relaxed(&ss->parts), HAK_PARTS_GONE);
  CHECK_EQ(hak_superslab_is_huge(ss), huge);
  CHECK_EQ(hak_superslab_committed(ss), bytes);
  CHECK(hak_pool_is_valid(&g_pool));
}

static void refill__is_not_of_small_heaps(void **state) {
  (void)state;
  refill__changes_nothing_where(shrunk(LARGE_HEAP - 1, 1));
}

static void refill__is_not_of_what_has_many_pages(void **state) {
  (void)state;
  refill__changes_nothing_where(shrunk(LARGE_HEAP, SLOTS / 4 + 1));
}

/* So it is where a heap wanted huge pages, and got them with what there was. */
static void refill__is_not_of_what_has_huge_pages(void **state) {
  (void)state;
  hak_superslab_t *ss = shrunk(LARGE_HEAP, 1);
  CHECK(hak_huge_set(ss, true));
  refill__changes_nothing_where(ss);
}

static void refill__is_not_of_heaps_with_many_empty_slots(void **state) {
  (void)state;
  hak_superslab_t *ss = shrunk(LARGE_HEAP, 1), *other = grow(0);
  commit(other, SLOTS);
  hak_pool_put(&g_pool, &other->slabs[1], SLOTS / 4 + 1);
  refill__changes_nothing_where(ss);
}

/* It counts as the one that came last. */
static void refill__with_small_pages_is_looked_at(void **state) {
  (void)state;
  hak_superslab_t *ss = shrunk(LARGE_HEAP, 1);
  note(g_pool.youngest, 10);
  hak_pool_refill(&g_pool, ss);
  CHECK(!hak_superslab_is_huge(ss));
  CHECK_EQ(hak_superslab_committed(ss), HAK_SLAB_SIZE);
  note(ss, 100);
  CHECK(grows_huge(0));
}

/* There are as many ranges with huge pages as there may be. */
static void refill__that_may_have_no_huge_page_fills_nothing(void **state) {
  (void)state;
  hak_superslab_t *ss = shrunk(LARGE_HEAP, 1);
  hak_store_relaxed(&hak_huge_pieces, HAK_HUGE_PIECES);
  hak_pool_refill(&g_pool, ss);
  hak_store_relaxed(&hak_huge_pieces, 0);
  CHECK(!hak_superslab_is_huge(ss));
  CHECK_EQ(hak_superslab_committed(ss), HAK_SLAB_SIZE);
  CHECK_EQ(g_pool.empty, 0);
}

#define G(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(
    G(next__is_as_the_youngest_is_found),
    G(next__is_as_the_one_before_the_youngest_is_too),
    G(next__is_huge_where_half_of_the_youngest_is_there), G(small_heap__is_not_looked_at),
    G(grants__grow_with_each_look_up_to_what_may_be),
    G(grants__go_on_while_the_last_was_written_to),
    G(grants__are_no_more_for_what_was_written_early),
    G(heap__that_has_a_wish_of_its_own_is_not_looked_at),
    G(heap__without_room_has_small_pages),
    G(superslab__that_the_heap_cannot_pay_for_goes_back),
    G(superslab__that_there_is_no_address_space_for_is_none),
    G(few_small_pages__go_for_a_huge_one), G(small_pages__that_are_many_stay),
    G(small_pages__stay_in_a_heap_that_is_not_dense),
    G(small_pages__stay_where_the_system_takes_none),
    G(huge_page__that_comes_along_is_no_sign), G(superslab__that_goes_is_not_looked_at),
    G(mend__gives_dense_ones_huge_pages_one_at_a_time),
    G(mend__comes_to_the_end_of_the_heap), G(mend__is_of_heaps_that_were_found_dense),
    G(refill__brings_a_huge_page_and_counts_all_of_it), G(refill__is_not_of_small_heaps),
    G(refill__is_not_of_what_has_many_pages), G(refill__is_not_of_what_has_huge_pages),
    G(refill__is_not_of_heaps_with_many_empty_slots),
    G(refill__with_small_pages_is_looked_at),
    G(refill__that_may_have_no_huge_page_fills_nothing))
