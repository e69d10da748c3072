/* superslab_recover.c - SuperSlabs that threads which a fork has lost had taken out of
 * their regions' maps: as they leave them, and what becomes of them. Nothing is allocated
 * from the library, which runs over hooks of the test. */
#include "os_fixture.h"

#include "heap/lifecycle.h"
#include "superslab/region.h"
#include "superslab/region_release.h"

static char g_heap, g_lost; /* addresses for a heap, and for a thread */

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_REGION_BYTES, 32 * (int64_t)MIB), 0);
  return test_os_init(&g_os);
}

static hak_superslab_t *acquire(void) {
  return hak_region_acquire(hak_lifecycle_os(), 1, HAK_SUPERSLAB_SIZE, HAK_EXTENT_RUN,
                            &g_heap, false);
}

/* A free one, all of whose pages are there, or none. */
static hak_superslab_t *make_free(bool pages) {
  hak_superslab_t *ss = acquire();
  bool zeroed;
  CHECK(ss != NULL);
  CHECK(!pages || hak_superslab_commit(ss, 0, HAK_SUPERSLAB_SLABS,
                                       HAK_SUPERSLAB_SIZE / ss->extent.os->page_size,
                                       false, &zeroed));
  hak_region_give(ss, 1, 5);
  CHECK_EQ(hak_superslab_retained(ss), pages ? HAK_ALL_SLOTS : 0);
  return ss;
}

static void take_out(hak_region_t *region, uint32_t index) {
  hak_lock_acquire(&hak_regions.lock);
  hak_region_take_run_locked(region, index, 1);
  hak_lock_release(&hak_regions.lock);
}

/* By the thread, which then gives its pages back. */
static void begin_purge(hak_superslab_t *ss, const void *thread) {
  hak_lock_acquire(&hak_regions.lock);
  hak_region_take_run_locked(hak_region_of(ss), hak_superslab_index(ss), 1);
  hak_superslab_take_locked(&hak_regions.lock, ss, 0, HAK_SUPERSLAB_SLABS);
  ss->purging = thread;
  hak_lock_release(&hak_regions.lock);
}

static uint64_t recover(bool inside) {
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  uint64_t lost = hak_regions_recover(inside);
  hak_os_leave(before);
  CHECK(hak_regions_are_valid());
  return lost;
}

static bool is_free(hak_superslab_t *ss) {
  return hak_region_is_free(hak_region_of(ss), hak_superslab_index(ss));
}

static void purge__that_is_lost_is_done_and_the_superslab_serves_again(void **state) {
  (void)state;
  hak_superslab_t *ss = make_free(true);
  begin_purge(ss, &g_lost);
  CHECK(!is_free(ss));
  CHECK_EQ(recover(false), 0);
  CHECK(is_free(ss) && ss->purging == NULL);
  CHECK_EQ(hak_superslab_committed(ss), 0);
  CHECK_EQ(hak_regions.in_use, 0);
  CHECK(acquire() == ss);
}

static void purge__that_is_lost_and_refused_takes_the_superslab_with_it(void **state) {
  (void)state;
  hak_superslab_t *ss = make_free(true);
  begin_purge(ss, &g_lost);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_PURGE, 1);
  CHECK_EQ(recover(false), HAK_SUPERSLAB_SIZE);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(!is_free(ss) && ss->purging == NULL);
  CHECK_EQ(hak_superslab_committed(ss), HAK_SUPERSLAB_SIZE);
  CHECK(acquire() != ss);
}

/* Nobody knows how far the hook is that the fork was inside of, so none is called. */
static void purge__that_is_lost_stays_so_inside_a_hook(void **state) {
  (void)state;
  hak_superslab_t *full = make_free(true);
  begin_purge(full, &g_lost);
  hak_superslab_t *bare = make_free(false);
  begin_purge(bare, &g_lost);
  uint64_t purges = g_os.calls[TEST_OS_PURGE];
  CHECK_EQ(recover(true), HAK_SUPERSLAB_SIZE);
  CHECK_EQ(g_os.calls[TEST_OS_PURGE], purges);
  CHECK(!is_free(full) && !is_free(bare));
  CHECK(full->purging == NULL && bare->purging == NULL);
}

static void purge__of_this_thread_goes_on(void **state) {
  (void)state;
  hak_superslab_t *ss = make_free(true);
  begin_purge(ss, hak_os_self());
  CHECK_EQ(recover(true), 0);
  CHECK(!is_free(ss) && ss->purging == hak_os_self());
  CHECK_EQ(recover(false), 0);
  CHECK(!is_free(ss) && ss->purging == hak_os_self());
  CHECK_EQ(hak_superslab_committed(ss), HAK_SUPERSLAB_SIZE);
  ss->purging = NULL;
}

/* They were taken out of the map, and no more. */
static void superslabs__that_a_lost_thread_was_about_to_have_are_free(void **state) {
  (void)state;
  hak_superslab_t *ss = make_free(true);
  hak_region_t *region = hak_region_of(ss);
  uint32_t fresh = region->count - 1;
  uint64_t retained = test_stats().retained_bytes;
  take_out(region, hak_superslab_index(ss));
  take_out(region, fresh);
  CHECK(hak_region_ready(region) <= fresh);
  CHECK_EQ(recover(false), 0);
  CHECK(is_free(ss) && hak_region_is_free(region, fresh));
  CHECK_EQ(hak_superslab_retained(ss), HAK_ALL_SLOTS);
  CHECK(hak_regions.retained.first == ss && hak_regions.retained.last == ss);
  CHECK(ss->prev == NULL && ss->next == NULL);
  CHECK_EQ(test_stats().retained_bytes, retained);
  CHECK_EQ(hak_regions.in_use, 0);
}

/* A lost thread was filling it in. */
static void records__of_no_region_have_nothing_to_give_back(void **state) {
  (void)state;
  hak_superslab_t *ss = make_free(false);
  hak_region_t *region = hak_region_of(ss);
  hak_regions_release_all();
  CHECK(region->os == NULL && region->count == 0);
  region->count = region->records;
  CHECK_EQ(recover(false), 0);
  CHECK(region->free_count == 0 && hak_regions.in_use == 0);
  region->count = 0;
}

#define R(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(R(purge__that_is_lost_is_done_and_the_superslab_serves_again),
                R(purge__that_is_lost_and_refused_takes_the_superslab_with_it),
                R(purge__that_is_lost_stays_so_inside_a_hook),
                R(purge__of_this_thread_goes_on),
                R(superslabs__that_a_lost_thread_was_about_to_have_are_free),
                R(records__of_no_region_have_nothing_to_give_back))
