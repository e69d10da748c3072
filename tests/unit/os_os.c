/* os_os.c - the hooks as the library calls them: not at all where a thread may ask the
 * system for nothing, or where the hooks have none, and counted as they are called. */
#include "strict_os.h"

#include <errno.h>

#include "os/os.h"

static test_os_t g_os;
static char *g_range; /* of 64 KiB, of g_os, committed */

enum {
  SIZE = 64 << 10
};

static uint64_t count(hak_atomic_u64_t *counter) { return hak_load_relaxed(counter); }

static void open_range(unsigned flags) {
  bool zeroed;
  test_os_open(&g_os, flags);
  g_range = g_os.hooks.reserve(g_os.hooks.ctx, SIZE, SIZE);
  CHECK(g_range != NULL);
  CHECK(hak_os_commit(&g_os.hooks, g_range, SIZE, &zeroed));
}
static void close_range(void) {
  CHECK_EQ(g_os.hooks.release(g_os.hooks.ctx, g_range, SIZE), 0);
  test_os_close(&g_os);
}

static void barred_thread__asks_the_hooks_for_nothing(void **state) {
  (void)state;
  open_range(0);
  const hak_os_t *own = hak_os_default();
  char *pages = own->reserve(own->ctx, SIZE, SIZE);
  CHECK(pages != NULL);
  pages[0] = 1;
  uint64_t calls = test_os_calls(&g_os), advised = count(&hak_os_counts.advise),
           looks = count(&hak_os_counts.look),
           purged = count(&hak_os_counts.purged_bytes),
           purges = count(&hak_os_counts.purge);
  bool zeroed = true;
  errno = TEST_ERRNO;
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  CHECK(!hak_os_commit(&g_os.hooks, g_range, SIZE, &zeroed) && !zeroed);
  CHECK(!hak_os_purge(&g_os.hooks, g_range, SIZE));
  CHECK(hak_os_remap(&g_os.hooks, g_range, SIZE, 2 * SIZE) == NULL);
  hak_os_advise_huge(own, pages, SIZE);
  hak_os_advise_small(own, pages, SIZE);
  hak_os_collapse(own, pages, SIZE);
  CHECK_EQ(hak_os_resident(own, pages, SIZE), -1);
  hak_os_leave(before);
  CHECK(test_os_calls(&g_os) == calls && errno == TEST_ERRNO);
  CHECK(count(&hak_os_counts.advise) == advised && count(&hak_os_counts.look) == looks);
  CHECK_EQ(count(&hak_os_counts.purge), purges);
  CHECK_EQ(count(&hak_os_counts.purged_bytes), purged);
  CHECK(hak_os_resident(own, pages, SIZE) > 0);
  hak_os_advise_small(own, pages, SIZE);
  CHECK(count(&hak_os_counts.advise) == advised + 1);
  CHECK(count(&hak_os_counts.look) == looks + 1);
  CHECK_EQ(own->release(own->ctx, pages, SIZE), 0);
  close_range();
}

/* The platform may know nothing of pages that somebody else's hooks have. */
static void platform__is_told_of_its_own_pages_alone(void **state) {
  (void)state;
  open_range(0);
  uint64_t advised = count(&hak_os_counts.advise), looks = count(&hak_os_counts.look);
  hak_os_advise_huge(&g_os.hooks, g_range, SIZE);
  hak_os_advise_small(&g_os.hooks, g_range, SIZE);
  hak_os_collapse(&g_os.hooks, g_range, SIZE);
  CHECK_EQ(hak_os_resident(&g_os.hooks, g_range, SIZE), -1);
  CHECK(count(&hak_os_counts.advise) == advised && count(&hak_os_counts.look) == looks);
  CHECK(!hak_os_is_huge_unasked(&g_os.hooks));
  CHECK(hak_os_limit(&g_os.hooks) == SIZE_MAX && hak_os_total(&g_os.hooks) == SIZE_MAX);
  close_range();
}

static void remap__is_asked_of_hooks_that_have_it(void **state) {
  (void)state;
  open_range(TEST_OS_NO_REMAP);
  uint64_t calls = count(&hak_os_counts.remap), failures = count(&hak_os_counts.failures);
  CHECK(hak_os_remap(&g_os.hooks, g_range, SIZE, 2 * SIZE) == NULL);
  CHECK_EQ(count(&hak_os_counts.remap), calls);
  CHECK_EQ(count(&hak_os_counts.failures), failures);
  close_range();
}

static void calls__are_counted_as_they_end(void **state) {
  (void)state;
  open_range(0);
  uint64_t purges = count(&hak_os_counts.purge),
           failures = count(&hak_os_counts.failures),
           bytes = count(&hak_os_counts.purged_bytes);
  CHECK(hak_os_purge(&g_os.hooks, g_range, SIZE / 2));
  CHECK_EQ(count(&hak_os_counts.purge), purges + 1);
  CHECK_EQ(count(&hak_os_counts.purged_bytes), bytes + SIZE / 2);
  CHECK_EQ(count(&hak_os_counts.failures), failures);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_PURGE, 1);
  CHECK(!hak_os_purge(&g_os.hooks, g_range + SIZE / 2, SIZE / 2));
  CHECK_EQ(count(&hak_os_counts.purge), purges + 2);
  CHECK_EQ(count(&hak_os_counts.purged_bytes), bytes + SIZE / 2);
  CHECK_EQ(count(&hak_os_counts.failures), failures + 1);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  close_range();
}

TEST_MAIN_FRESH(T(barred_thread__asks_the_hooks_for_nothing),
                T(platform__is_told_of_its_own_pages_alone),
                T(remap__is_asked_of_hooks_that_have_it),
                T(calls__are_counted_as_they_end))
