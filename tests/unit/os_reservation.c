/* os_reservation.c - ranges that the hooks will not take back: remembered, tried again,
 * given up at the end of their hooks. */
#include "strict_os.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "heap/phase.h"
#include "os/reservation.h"

enum {
  RANGES = 1000,
  FIRST = 64, /* notes that need no memory */
  SIZE = 64 << 10
};

static test_os_t g_os, g_own;
static void *g_ranges[RANGES];

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  test_os_open(&g_own, 0);
  CHECK_EQ(test_os_init(&g_os), 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  if (hak_phase_is_running()) CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  test_os_close(&g_os);
  test_os_close(&g_own);
  return 0;
}

static uint64_t unreleased(void) { return hak_load_relaxed(&hak_os_unreleased_bytes); }

static void refuse(test_os_t *os, bool on) {
  test_os_fail(os, on ? TEST_FAIL_FROM_NTH : TEST_FAIL_NONE, 1u << TEST_OS_RELEASE, 1);
}

static void reserve_all(test_os_t *os) {
  for (size_t i = 0; i < RANGES; i++) {
    g_ranges[i] = hak_os_reserve(&os->hooks, SIZE, SIZE);
    CHECK(g_ranges[i] != NULL);
  }
}

static void release_all(test_os_t *os) {
  for (size_t i = 0; i < RANGES; i++) hak_os_release(&os->hooks, g_ranges[i], SIZE);
}

static void refused_ranges__are_remembered_however_many(void **state) {
  (void)state;
  size_t before = g_own.ranges;
  uint64_t bytes = unreleased();
  reserve_all(&g_own);
  refuse(&g_own, true);
  uint64_t calls = test_os_calls(&g_os), failures = g_own.calls[TEST_OS_RELEASE];
  release_all(&g_own);
  /* Nothing was asked for to note them, and what fails is not tried over and over. */
  CHECK_EQ(test_os_calls(&g_os), calls);
  CHECK(g_own.calls[TEST_OS_RELEASE] - failures <= 2 * RANGES);
  CHECK_EQ(unreleased() - bytes, (uint64_t)RANGES * SIZE);
  CHECK_EQ(g_own.ranges, before + RANGES);
  refuse(&g_own, false);
  hak_os_release(&g_own.hooks, hak_os_reserve(&g_own.hooks, SIZE, SIZE), SIZE);
  CHECK(g_own.ranges < before + RANGES); /* the next release takes some along */
  hak_os_retry_releases(true);
  CHECK_EQ(g_own.ranges, before);
  CHECK_EQ(unreleased(), bytes);
}

static void range__that_is_refused_for_good_is_in_nobodys_way(void **state) {
  (void)state;
  uint64_t bytes = unreleased();
  reserve_all(&g_own);
  refuse(&g_own, true);
  void *stuck = hak_os_reserve(&g_os.hooks, SIZE, SIZE);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RELEASE, 1);
  hak_os_release(&g_os.hooks, stuck, SIZE);
  release_all(&g_own);
  refuse(&g_own, false);
  hak_os_retry_releases(true);
  CHECK_EQ(g_own.ranges, 0);
  CHECK_EQ(unreleased() - bytes, SIZE);
  refuse(&g_os, false);
  hak_os_retry_releases(false);
  CHECK_EQ(unreleased(), bytes);
}

/* Of so many ranges that a note more needs memory. */
static void reserve__fails_where_no_note_can_be_had(void **state) {
  (void)state;
  size_t count = 0;
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RESERVE, 1);
  while (count < RANGES &&
         (g_ranges[count] = hak_os_reserve(&g_own.hooks, SIZE, SIZE)) != NULL) {
    count++;
  }
  CHECK_MSG(count > 0 && count < FIRST, "%zu ranges", count);
  CHECK_EQ(g_own.ranges, count);
  CHECK(!hak_os_divide_begin()); /* a second range needs a note, too */
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  size_t library = g_os.ranges;
  CHECK((g_ranges[count++] = hak_os_reserve(&g_own.hooks, SIZE, SIZE)) != NULL);
  CHECK_EQ(g_os.ranges, library + 1);
  CHECK_EQ(test_stats().reserved_bytes, g_os.reserved_bytes);
  CHECK_EQ(test_stats().committed_bytes, g_os.committed_bytes);
  for (size_t i = 0; i < count; i++) hak_os_release(&g_own.hooks, g_ranges[i], SIZE);
  CHECK_EQ(g_own.ranges, 0);
}

/* Memory for notes that cannot be committed goes back. */
static void notes__that_come_to_nothing_leave_no_range(void **state) {
  (void)state;
  size_t count = 0, library = g_os.ranges;
  uint64_t bytes = unreleased();
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_COMMIT, 1);
  while (count < RANGES &&
         (g_ranges[count] = hak_os_reserve(&g_own.hooks, SIZE, SIZE)) != NULL) {
    count++;
  }
  CHECK(count > 0 && count < FIRST && g_os.ranges == library);
  CHECK_EQ(unreleased(), bytes);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  for (size_t i = 0; i < count; i++) hak_os_release(&g_own.hooks, g_ranges[i], SIZE);
  CHECK_EQ(g_own.ranges, 0);
}

static void notes__are_what_there_is_before_the_start(void **state) {
  (void)state;
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  size_t count = 0;
  while (count < RANGES &&
         (g_ranges[count] = hak_os_reserve(&g_own.hooks, SIZE, SIZE)) != NULL) {
    count++;
  }
  CHECK_EQ(count, FIRST);
  while (count > 0) hak_os_release(&g_own.hooks, g_ranges[--count], SIZE);
  CHECK_EQ(g_own.ranges, 0);
}

/* Calls of hooks where they are made ahead: others that come meanwhile find notes. */
static unsigned g_chunks;
static void *g_meanwhile[FIRST];
static size_t g_count;

static void *reserve_amid(void *ctx, size_t size, size_t alignment) {
  if (g_chunks++ == 0) {
    for (g_count = 0; g_count < FIRST / 4; g_count++) {
      g_meanwhile[g_count] = hak_os_reserve(&g_own.hooks, SIZE, SIZE);
      CHECK(g_meanwhile[g_count] != NULL);
    }
    CHECK_EQ(g_chunks, 1);
  }
  return g_os.hooks.reserve(ctx, size, alignment);
}

static void notes__are_made_ahead_by_one(void **state) {
  (void)state;
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  hak_os_t hooks = g_os.hooks;
  hooks.reserve = reserve_amid;
  g_chunks = 0;
  hak_os_start(&hooks);
  for (size_t i = 0; i < RANGES; i++) {
    g_ranges[i] = hak_os_reserve(&g_own.hooks, SIZE, SIZE);
    CHECK(g_ranges[i] != NULL);
  }
  CHECK_EQ(g_count, FIRST / 4);
  CHECK_EQ(g_chunks, 2);
  for (size_t i = 0; i < g_count; i++) {
    hak_os_release(&g_own.hooks, g_meanwhile[i], SIZE);
  }
  release_all(&g_own);
  hak_os_stop();
  CHECK_EQ(g_own.ranges, 0);
  CHECK_EQ(g_os.ranges, 0);
}

/* Hooks that do not keep the alignment: there are no more notes. */
static void *reserve_askew(void *ctx, size_t size, size_t alignment) {
  char *range = g_os.hooks.reserve(ctx, size, alignment);
  return range == NULL ? NULL : range + 8;
}
static int release_askew(void *ctx, void *ptr, size_t size) {
  return g_os.hooks.release(ctx, (char *)ptr - 8, size);
}
static void notes__that_lie_askew_go_back(void **state) {
  (void)state;
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  hak_os_t hooks = g_os.hooks;
  hooks.reserve = reserve_askew;
  hooks.release = release_askew;
  hak_os_start(&hooks);
  size_t count = 0;
  while ((g_ranges[count] = hak_os_reserve(&g_own.hooks, SIZE, SIZE)) != NULL) count++;
  CHECK_EQ(count, FIRST);
  CHECK_EQ(g_os.ranges, 0);
  while (count > 0) hak_os_release(&g_own.hooks, g_ranges[--count], SIZE);
  hak_os_stop();
  CHECK_EQ(g_own.ranges, 0);
}

/* All of them come at the moment when one wants the first note that is not there. */
static unsigned g_depth;

static void *reserve_beside(void *ctx, size_t size, size_t alignment) {
  if (++g_depth < 4) {
    void *range = hak_os_reserve(&g_own.hooks, SIZE, SIZE);
    CHECK(range != NULL);
    g_meanwhile[g_count++] = range;
  }
  g_chunks++;
  return g_os.hooks.reserve(ctx, size, alignment);
}

static void notes__of_which_many_were_made_at_once_go_back(void **state) {
  (void)state;
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  size_t count = 0;
  while ((g_ranges[count] = hak_os_reserve(&g_own.hooks, SIZE, SIZE)) != NULL) count++;
  CHECK_EQ(count, FIRST);
  hak_os_t hooks = g_os.hooks;
  hooks.reserve = reserve_beside;
  g_chunks = g_depth = 0;
  g_count = 0;
  hak_os_start(&hooks);
  void *last = hak_os_reserve(&g_own.hooks, SIZE, SIZE);
  CHECK(last != NULL);
  CHECK_EQ(g_chunks, 4);
  CHECK_EQ(g_count, 3);
  CHECK_EQ(g_os.ranges, 1); /* one serves all */
  hak_os_release(&g_own.hooks, last, SIZE);
  while (g_count > 0) hak_os_release(&g_own.hooks, g_meanwhile[--g_count], SIZE);
  while (count > 0) hak_os_release(&g_own.hooks, g_ranges[--count], SIZE);
  hak_os_stop();
  CHECK_EQ(g_own.ranges, 0);
  CHECK_EQ(g_os.ranges, 0);
}

/* --- ranges in a row ------------------------------------------------------------ */

static void row__is_released_range_by_range(void **state) {
  (void)state;
  const hak_os_t *systems = hak_os_default();
  uint64_t releases = hak_load_relaxed(&hak_os_counts.release);
  uint32_t count = 4;
  char *row = hak_os_reserve_row(systems, SIZE, SIZE, &count);
  CHECK(row != NULL && count == 4);
  memset(row, 1, (size_t)count * SIZE);
  hak_os_release(systems, row + SIZE, SIZE);
  row[0] = row[2 * SIZE] = row[4 * SIZE - 1] = 2;
  hak_os_release(systems, row, SIZE);
  hak_os_release(systems, row + 3 * SIZE, SIZE);
  hak_os_release(systems, row + 2 * SIZE, SIZE);
  CHECK_EQ(hak_load_relaxed(&hak_os_counts.release), releases + 4);
}

static void row__is_one_range_of_hooks_that_are_not_divisible(void **state) {
  (void)state;
  uint32_t count = 4;
  char *row = hak_os_reserve_row(&g_own.hooks, SIZE, SIZE, &count);
  CHECK(row != NULL && count == 1);
  CHECK_EQ(g_own.reserved_bytes, SIZE);
  hak_os_release(&g_own.hooks, row, SIZE);
  test_os_fail(&g_own, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RESERVE, 1);
  size_t calls = g_own.calls[TEST_OS_RESERVE];
  CHECK(hak_os_reserve_row(&g_own.hooks, SIZE, SIZE, &count) == NULL);
  CHECK_EQ(g_own.calls[TEST_OS_RESERVE], calls + 1); /* there is no shorter row */
  test_os_fail(&g_own, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(g_own.ranges, 0);
}

/* As many as there are notes for. */
static void row__is_shorter_where_notes_are_short(void **state) {
  (void)state;
  const hak_os_t *systems = hak_os_default();
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  uint32_t count = 2 * FIRST;
  char *row = hak_os_reserve_row(systems, SIZE, SIZE, &count);
  CHECK(row != NULL);
  CHECK_EQ(count, FIRST);
  CHECK(hak_os_reserve(systems, SIZE, SIZE) == NULL);
  for (uint32_t i = 0; i < count; i++) hak_os_release(systems, row + i * SIZE, SIZE);
  /* More than the system has: one range then, and no note is lost. With TSan there is no
   * place for that one either, and QEMU has 20 GB of records for it. */
  for (int i = 0; i < FIRST && !TEST_TSAN && !TEST_EMULATED; i++) {
    count = 16;
    row = hak_os_reserve_row(systems, (size_t)1 << 44, SIZE, &count);
    CHECK(row != NULL && count == 1);
    hak_os_release(systems, row, (size_t)1 << 44);
  }
}

/* --- threads that a fork leaves behind ---------------------------------------------- */

static void *begin_release(void *range) {
  CHECK(hak_os_release_begin(&g_own.hooks, range, SIZE) != NULL);
  return NULL;
}

/* What a thread had in hand that is gone is tried again; what the caller has is its own.
 */
static void forget__leaves_ranges_to_those_who_are_there(void **state) {
  (void)state;
  uint64_t bytes = unreleased();
  void *range = hak_os_reserve(&g_own.hooks, SIZE, SIZE);
  void *own = hak_os_reserve(&g_own.hooks, SIZE, SIZE);
  hak_os_note_t *note = hak_os_release_begin(&g_own.hooks, own, SIZE);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, begin_release, range), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(hak_os_forget_lost(), 0);
  CHECK_EQ(unreleased() - bytes, SIZE);
  hak_os_unreserve_end(note);
  CHECK_EQ(g_own.ranges, 1);
  hak_os_retry_releases(true);
  CHECK_EQ(g_own.ranges, 0);
  CHECK_EQ(unreleased(), bytes);
}

static void reserved__in_vain_goes_back_where_purging_is_manual_too(void **state) {
  (void)state;
  int64_t mode = hak_option_get(HAK_OPTION_PURGE_MODE);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  void *kept = hak_os_reserve(&g_own.hooks, SIZE, SIZE);
  void *vain = hak_os_reserve(&g_own.hooks, SIZE, SIZE);
  uint64_t bytes = unreleased();
  hak_os_release(&g_own.hooks, kept, SIZE);
  CHECK_EQ(g_own.ranges, 2);
  CHECK_EQ(unreleased() - bytes, SIZE);
  hak_os_retry_releases(true);
  CHECK_EQ(g_own.ranges, 2);
  hak_os_unreserve(&g_own.hooks, vain, SIZE);
  CHECK_EQ(g_own.ranges, 1); /* and takes nothing along */
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(g_own.ranges, 0);
  CHECK_EQ(unreleased(), bytes);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, mode), 0);
}

/* --- the system's own ranges: linked with --wrap=munmap ------------------------------
 */

static bool g_keep; /* nothing is unmapped */

int __real_munmap(void *address, size_t size);
int __wrap_munmap(void *address, size_t size);
int __wrap_munmap(void *address, size_t size) {
  if (!g_keep) return __real_munmap(address, size);
  errno = ENOMEM;
  return -1;
}

static void range__that_the_system_keeps_serves_again_part_by_part(void **state) {
  (void)state;
  const hak_os_t *systems = hak_os_default();
  uint64_t bytes = unreleased();
  char *range = hak_os_reserve(systems, 4 * SIZE, SIZE);
  CHECK(range != NULL);
  g_keep = true;
  hak_os_release(systems, range, 4 * SIZE);
  g_keep = false;
  for (int part = 0; part < 3; part++) {
    CHECK_EQ(unreleased() - bytes, (4 - part) * SIZE);
    CHECK(hak_os_reserve(systems, SIZE, SIZE) == range + part * SIZE);
  }
  /* The last one goes along with another. */
  for (int part = 0; part < 3; part++) {
    hak_os_release(systems, range + part * SIZE, SIZE);
    CHECK_EQ(unreleased(), bytes);
  }
}

static void range__that_the_system_keeps_is_not_purged_where_purging_is_manual(
    void **state) {
  (void)state;
  const hak_os_t *systems = hak_os_default();
  int64_t mode = hak_option_get(HAK_OPTION_PURGE_MODE);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  uint64_t bytes = unreleased();
  void *range = hak_os_reserve(systems, SIZE, SIZE);
  CHECK(range != NULL);
  uint64_t purges = hak_load_relaxed(&hak_os_counts.purge);
  g_keep = true;
  hak_os_unreserve(systems, range, SIZE);
  g_keep = false;
  CHECK_EQ(hak_load_relaxed(&hak_os_counts.purge), purges);
  CHECK_EQ(unreleased() - bytes, SIZE);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, mode), 0);
  hak_os_retry_releases(true);
  CHECK_EQ(unreleased(), bytes);
}

static void range__of_memory_that_never_goes_is_not_released(void **state) {
  (void)state;
  hak_os_t fixed = g_own.hooks;
  fixed.flags |= HAK_OS_FIXED;
  void *range = hak_os_reserve(&g_own.hooks, SIZE, SIZE);
  hak_os_unreserve(&fixed, range, SIZE);
  hak_os_release(&fixed, range, SIZE);
  CHECK_EQ(g_own.ranges, 1);
  hak_os_release(&g_own.hooks, range, SIZE);
  CHECK_EQ(g_own.ranges, 0);
}

static void barred_thread__reserves_nothing(void **state) {
  (void)state;
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  CHECK(hak_os_reserve(&g_own.hooks, SIZE, SIZE) == NULL);
  CHECK(!hak_os_divide_begin());
  hak_os_leave(before);
  CHECK_EQ(test_os_calls(&g_own), 0);
}

static void release__that_succeeds_is_followed_by_no_purge(void **state) {
  (void)state;
  const hak_os_t *systems = hak_os_default();
  uint64_t purges = hak_load_relaxed(&hak_os_counts.purge);
  hak_os_release(systems, hak_os_reserve(systems, SIZE, SIZE), SIZE);
  CHECK_EQ(hak_load_relaxed(&hak_os_counts.purge), purges);
}

/* Whoever is faster takes what another call was to try. */
static unsigned g_nested;

static int release_and_retry(void *ctx, void *ptr, size_t size) {
  if (g_nested++ == 0) hak_os_retry_releases(true);
  return g_own.hooks.release(ctx, ptr, size);
}
static void retry__ends_where_others_have_tried_all(void **state) {
  (void)state;
  hak_os_t hooks = g_own.hooks;
  hooks.release = release_and_retry;
  refuse(&g_own, true);
  g_nested = 1;
  for (int i = 0; i < 3; i++) {
    hak_os_release(&hooks, hak_os_reserve(&hooks, SIZE, SIZE), SIZE);
  }
  refuse(&g_own, false);
  CHECK_EQ(g_own.ranges, 3);
  g_nested = 0;
  hak_os_retry_releases(true);
  CHECK_EQ(g_own.ranges, 0);
  CHECK_EQ(g_nested, 3);
}

static void end__tries_a_few_times_and_then_never_again(void **state) {
  (void)state;
  uint64_t bytes = unreleased();
  void *first = hak_os_reserve(&g_own.hooks, SIZE, SIZE);
  void *second = hak_os_reserve(&g_own.hooks, SIZE, SIZE);
  test_os_fail(&g_own, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RELEASE, 1);
  hak_os_release(&g_own.hooks, first, SIZE);
  hak_os_release(&g_own.hooks, second, SIZE);
  hak_os_end(&g_own.hooks);
  uint64_t calls = test_os_calls(&g_own);
  CHECK(calls < 40);
  refuse(&g_own, false);
  hak_os_retry_releases(true);
  hak_os_release(&g_os.hooks, hak_os_reserve(&g_os.hooks, SIZE, SIZE), SIZE);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK_EQ(test_os_calls(&g_own), calls);
  CHECK_EQ(g_own.ranges, 2);
  CHECK_EQ(unreleased() - bytes, 2 * SIZE);
  /* They are the test's own now. */
  CHECK_EQ(g_own.hooks.release(&g_own, first, SIZE), 0);
  CHECK_EQ(g_own.hooks.release(&g_own, second, SIZE), 0);
}

static void shutdown__offers_again_what_was_refused_to_the_next_start(void **state) {
  (void)state;
  uint64_t bytes = unreleased();
  void *range = hak_os_reserve(&g_os.hooks, SIZE, SIZE);
  refuse(&g_os, true);
  hak_os_release(&g_os.hooks, range, SIZE);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK(g_os.ranges > 1); /* not one has gone */
  CHECK(unreleased() - bytes > SIZE);
  refuse(&g_os, false);
  CHECK_EQ(test_os_init(&g_os), 0);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK_EQ(g_os.ranges, 0);
  CHECK_EQ(unreleased(), bytes);
}

#define M(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

TEST_MAIN_FRESH(M(refused_ranges__are_remembered_however_many),
                M(range__that_is_refused_for_good_is_in_nobodys_way),
                M(reserve__fails_where_no_note_can_be_had),
                M(notes__that_come_to_nothing_leave_no_range),
                M(notes__are_what_there_is_before_the_start),
                M(notes__are_made_ahead_by_one),
                M(notes__of_which_many_were_made_at_once_go_back),
                M(row__is_released_range_by_range),
                M(row__is_one_range_of_hooks_that_are_not_divisible),
                M(row__is_shorter_where_notes_are_short),
                M(forget__leaves_ranges_to_those_who_are_there),
                M(reserved__in_vain_goes_back_where_purging_is_manual_too),
                M(notes__that_lie_askew_go_back),
                M(range__that_the_system_keeps_serves_again_part_by_part),
                M(range__that_the_system_keeps_is_not_purged_where_purging_is_manual),
                M(range__of_memory_that_never_goes_is_not_released),
                M(barred_thread__reserves_nothing),
                M(release__that_succeeds_is_followed_by_no_purge),
                M(retry__ends_where_others_have_tried_all),
                M(end__tries_a_few_times_and_then_never_again),
                M(shutdown__offers_again_what_was_refused_to_the_next_start))
