/* api_space.c - address space of the system's: under a limit, and where the system does
 * not take it back, or locks it. Each test runs in a process of its own; calls of munmap
 * pass here. */
#include "child.h"
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <hakmem/hakmem.h>

int __real_munmap(void *address, size_t size);
int __wrap_munmap(void *address, size_t size);

static bool g_refuses; /* munmap does */

int __wrap_munmap(void *address, size_t size) {
  if (!g_refuses) return __real_munmap(address, size);
  errno = ENOMEM;
  return -1;
}

/* Sanitizers have terabytes mapped, and pages of their own resident. */
static bool is_measurable(void) { return !TEST_ASAN && !TEST_TSAN; }

static double mapped_mib(void) { return (double)test_mapped_bytes() / MIB; }
static double resident_mib(void) { return (double)test_resident_bytes() / MIB; }

/* --- under a limit --------------------------------------------------------------- */

enum {
  LIMIT_MIB = 512
};

static const int g_kinds[] = {RLIMIT_AS, RLIMIT_DATA};

static void limit_to(int kind, size_t bytes) {
  struct rlimit limit;
  CHECK_EQ(getrlimit(kind, &limit), 0);
  limit.rlim_cur = bytes;
  CHECK_EQ(setrlimit(kind, &limit), 0);
}

/* Blocks of 1 KiB until there are no more, or `most`, as a list. */
static size_t fill(void ***list, size_t most) {
  size_t n = 0;
  for (void **block; n < most && (block = hak_alloc(1024)) != NULL; n++) {
    memset(block, 1, 1024);
    *block = *list;
    *list = block;
  }
  return n;
}

/* Gives the first `n` of the list back. */
static void drain(void ***list, size_t n) {
  for (; n > 0 && *list != NULL; n--) {
    void **block = *list;
    *list = *block;
    hak_free(block);
  }
}

static int use_all(void *kind) {
  void **list = NULL;
  hak_free(hak_alloc(1));
  limit_to(*(const int *)kind, LIMIT_MIB * MIB);
  double room = LIMIT_MIB - mapped_mib();
  errno = 0;
  size_t all = fill(&list, SIZE_MAX);
  CHECK_EQ(errno, ENOMEM);
  CHECK_MSG((double)all / 1024 >= 0.85 * room, "%zu KiB", all);
  for (int round = 0; round < 3; round++) {
    drain(&list, all / 2);
    size_t again = fill(&list, SIZE_MAX);
    CHECK_MSG(again >= all / 2 - all / 40, "round %d: %zu", round, again);
  }
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void limit__is_usable_to_85_percent_again_and_again(void **state) {
  (void)state;
  if (!is_measurable()) skip();
  for (size_t i = 0; i < TEST_COUNT(g_kinds); i++) {
    test_child_must_succeed(use_all, (void *)(uintptr_t)&g_kinds[i], 60);
  }
}

static int leave_room(void *kind) {
  void **list = NULL;
  limit_to(*(const int *)kind, LIMIT_MIB * MIB);
  CHECK_EQ(fill(&list, 240 * 1024), 240 * 1024);
  void *other =
      mmap(NULL, 160 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(other != MAP_FAILED);
  return 0;
}

static void limit__leaves_room_for_others(void **state) {
  (void)state;
  if (!is_measurable()) skip();
  for (size_t i = 0; i < TEST_COUNT(g_kinds); i++) {
    test_child_must_succeed(leave_room, (void *)(uintptr_t)&g_kinds[i], 60);
  }
}

static int grow_large(void *kind) {
  limit_to(*(const int *)kind, LIMIT_MIB * MIB);
  char *block = hak_alloc(300 * MIB);
  CHECK(block != NULL);
  test_fill_sparse((unsigned char *)block, 300 * MIB, 1);
  block = hak_realloc(block, 400 * MIB);
  CHECK(block != NULL);
  CHECK(test_verify_sparse((unsigned char *)block, 300 * MIB, 1));
  hak_free(block);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void large_block__grows_where_two_would_not_fit(void **state) {
  (void)state;
  if (!is_measurable()) skip();
  for (size_t i = 0; i < TEST_COUNT(g_kinds); i++) {
    test_child_must_succeed(grow_large, (void *)(uintptr_t)&g_kinds[i], 60);
  }
}

TEST_IN_CHILD(limit__may_come_and_go_at_any_time, 60) {
  if (!is_measurable()) return;
  void **list = NULL;
  CHECK_EQ(fill(&list, 100 * 1024), 100 * 1024);
  for (int round = 0; round < 4; round++) {
    limit_to(g_kinds[round % 2],
             (size_t)mapped_mib() * MIB); /* hardly anything is left */
    fill(&list, SIZE_MAX);
    CHECK(hak_alloc(64 * MIB) == NULL && errno == ENOMEM);
    CHECK_EQ(hak_check(NULL), 0);
    limit_to(g_kinds[round % 2], RLIM_INFINITY);
    CHECK_EQ(fill(&list, 20 * 1024), 20 * 1024);
  }
  drain(&list, SIZE_MAX);
  CHECK_EQ(hak_shutdown(0), 0);
}

/* --- releases that fail ---------------------------------------------------------- */

enum {
  BLOCKS = 20
};

static void fill_large(char **blocks) {
  for (size_t i = 0; i < BLOCKS; i++) {
    CHECK((blocks[i] = hak_alloc(40 * MIB)) != NULL);
    memset(blocks[i], 1, 4 * MIB);
  }
}

static uint64_t unreleased(void) { return test_stats().unreleased_bytes; }

TEST_IN_CHILD(refused_release__gives_the_pages_back_all_the_same, 60) {
  static char *blocks[BLOCKS];
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_RETAIN_BYTES, 0), 0);
  fill_large(blocks);
  double full = resident_mib();
  g_refuses = true;
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  CHECK_EQ(unreleased(), BLOCKS * 40 * MIB);
  if (is_measurable()) {
    CHECK_MSG(full - resident_mib() > 0.95 * BLOCKS * 4, "%.1f of %.1f MiB went",
              full - resident_mib(), full);
  }
  g_refuses = false;
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(unreleased(), 0);
  CHECK_EQ(hak_shutdown(0), 0);
}

TEST_IN_CHILD(refused_range__serves_again_in_parts, 60) {
  static char *blocks[BLOCKS];
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_RETAIN_BYTES, 0), 0);
  fill_large(blocks);
  g_refuses = true;
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  uint64_t reserves = test_stats().os_reserve;
  unsigned char *small = hak_calloc(1, 34 * MIB), *rest = hak_calloc(1, 40 * MIB);
  CHECK(small != NULL && test_is_zero(small, 34 * MIB));
  CHECK(rest != NULL && test_is_zero(rest, 40 * MIB));
  CHECK_EQ(test_stats().os_reserve, reserves);
  CHECK_EQ(unreleased(), BLOCKS * 40 * MIB - 74 * MIB);
  memset(small, 1, 34 * MIB);
  memset(rest, 2, 40 * MIB);
  g_refuses = false;
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(unreleased(), 0);
  CHECK(small[0] == 1 && small[34 * MIB - 1] == 1 && rest[0] == 2);
  hak_free(small);
  hak_free(rest);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(0), 0);
}

static int end_in_child(void *block) {
  CHECK_EQ(unreleased(), (BLOCKS - 1) * 40 * MIB);
  g_refuses = false;
  hak_free(block);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(unreleased(), 0);
  return hak_shutdown(0);
}

TEST_IN_CHILD(refused_ranges__are_known_to_the_child_of_a_fork, 60) {
  static char *blocks[BLOCKS];
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_RETAIN_BYTES, 0), 0);
  fill_large(blocks);
  g_refuses = true;
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  char *block = hak_alloc(40 * MIB); /* one of the refused ranges */
  CHECK(block != NULL);
  test_child_must_succeed(end_in_child, block, 20);
  CHECK_EQ(end_in_child(block), 0);
}

/* What is cut off for the sake of alignment may be refused too. */
TEST_IN_CHILD(refused_pieces__are_told_and_go_with_the_next_release, 60) {
  const hak_os_t *os = hak_os_default();
  g_refuses = true;
  void *ranges[8];
  for (size_t i = 0; i < TEST_COUNT(ranges); i++) {
    CHECK((ranges[i] = os->reserve(os->ctx, 64 * KIB, 64 * MIB)) != NULL);
  }
  CHECK(unreleased() > 0);
  g_refuses = false;
  for (size_t i = 0; i < TEST_COUNT(ranges); i++) {
    CHECK_EQ(os->release(os->ctx, ranges[i], 64 * KIB), 0);
  }
  CHECK_EQ(unreleased(), 0);
}

/* --- memory that is locked ------------------------------------------------------- */

enum {
  LIVE_MIB = 4
};

static void *g_live[LIVE_MIB * 1024];

static void fill_live(void) {
  for (size_t i = 0; i < TEST_COUNT(g_live); i++) {
    CHECK((g_live[i] = hak_alloc(1024)) != NULL);
    memset(g_live[i], 1, 1024);
  }
}
static void drain_live(void) {
  for (size_t i = 0; i < TEST_COUNT(g_live); i++) hak_free(g_live[i]);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
}

/* False where the process may not lock so much. */
static bool lock_all(int flags) { return is_measurable() && mlockall(flags) == 0; }

static void check_locked(void) {
  double before = resident_mib();
  fill_live();
  double now = resident_mib() - before;
  CHECK_MSG(now <= 2 * LIVE_MIB, "%.1f MiB", now);
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(heap != NULL && hak_heap_alloc(heap, 100) != NULL);
  unsigned char *large = hak_calloc(1, 40 * MIB);
  CHECK(large != NULL && test_is_zero(large, MIB));
  now = resident_mib() - before;
  CHECK_MSG(now <= 2 * LIVE_MIB + 2, "%.1f MiB with a sparse block", now);
  memset(large, 1, 2 * MIB);
  large = hak_realloc(large, 80 * MIB);
  CHECK(large != NULL && large[2 * MIB - 1] == 1 && large[79 * MIB] == 0);
  hak_free(large);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  drain_live();
  now = resident_mib() - before;
  CHECK_MSG(now <= LIVE_MIB / 2.0, "%.1f MiB after all is free", now);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(locked_memory__is_resident_where_it_is_used_only, 60) {
  if (!lock_all(MCL_CURRENT | MCL_FUTURE)) return;
  check_locked();
  check_locked();
  munlockall();
  check_locked();
  if (!lock_all(MCL_FUTURE)) return;
  check_locked();
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
}

TEST_IN_CHILD(memory__that_is_locked_from_now_on_stays_small, 60) {
  hak_free(hak_alloc(1));
  if (!lock_all(MCL_FUTURE)) return;
  check_locked();
}

/* What is touched is locked, as the program wanted. */
TEST_IN_CHILD(locked_memory__is_locked_as_it_is_touched, 60) {
  if (!lock_all(MCL_CURRENT | MCL_FUTURE)) return;
  char *block = hak_alloc(8 * MIB);
  CHECK(block != NULL);
  memset(block, 1, 8 * MIB);
  /* The kernel refuses this for locked pages alone. */
  char *page = (char *)(((uintptr_t)block + MIB) & ~(uintptr_t)4095);
  CHECK(madvise(page, 4096, MADV_DONTNEED) != 0 && errno == EINVAL);
  hak_free(block);
}

TEST_IN_CHILD(limit_of_locked_memory__refuses_and_serves_again, 60) {
  static void *blocks[64 * 1024];
  struct rlimit limit;
  if (!is_measurable()) return;
  CHECK_EQ(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
  if (limit.rlim_max > 32 * MIB) limit.rlim_max = 32 * MIB;
  limit.rlim_cur = limit.rlim_max;
  CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
  if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return;
  if (mlockall(MCL_FUTURE) != 0) return;
  for (int round = 0; round < 3; round++) {
    size_t n = 0;
    errno = 0;
    while (n < TEST_COUNT(blocks) && (blocks[n] = hak_alloc(1024)) != NULL) {
      memset(blocks[n++], 1, 1024);
    }
    CHECK(n < TEST_COUNT(blocks) && errno == ENOMEM);
    CHECK(hak_alloc(64 * MIB) == NULL && errno == ENOMEM);
    while (n > 0) hak_free(blocks[--n]);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    CHECK_EQ(hak_check(NULL), 0);
  }
}

TEST_MAIN_FRESH(T(limit__is_usable_to_85_percent_again_and_again),
                T(limit__leaves_room_for_others),
                T(large_block__grows_where_two_would_not_fit),
                T(limit__may_come_and_go_at_any_time),
                T(refused_release__gives_the_pages_back_all_the_same),
                T(refused_range__serves_again_in_parts),
                T(refused_ranges__are_known_to_the_child_of_a_fork),
                T(refused_pieces__are_told_and_go_with_the_next_release),
                T(locked_memory__is_resident_where_it_is_used_only),
                T(memory__that_is_locked_from_now_on_stays_small),
                T(locked_memory__is_locked_as_it_is_touched),
                T(limit_of_locked_memory__refuses_and_serves_again))
