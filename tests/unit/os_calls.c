/* os_calls.c - how the library calls hooks: errno stays the program's, pages are zero
 * only where a hook has said so, and a thread that may not ask does not. */
#include "support.h"

#include <errno.h>

#include "base/option.h"
#include "os/os.h"
#include "os/reservation.h"

enum {
  SIZE = 64 << 10
};

/* Hooks that count calls, change errno, and do what they are told. */
static int g_calls;
static bool g_fail;
static char *g_range;           /* what a reservation gives */
static size_t g_released;       /* bytes */
static char g_memory[4 * SIZE]; /* never touched */

static int called(void) {
  g_calls++;
  errno = EINTR;
  return g_fail ? -1 : 0;
}
static void *reserve(void *ctx, size_t size, size_t alignment) {
  (void)ctx;
  (void)size;
  (void)alignment;
  return called() == 0 ? g_range : NULL;
}
static int release(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  CHECK(ptr == g_range);
  g_released += size;
  return called();
}
static int commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  (void)ctx;
  (void)ptr;
  (void)size;
  (void)zeroed; /* it says nothing */
  return called();
}
static int purge(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  (void)ptr;
  (void)size;
  return called();
}
static void *remap(void *ctx, void *ptr, size_t old_size, size_t new_size) {
  (void)ctx;
  (void)old_size;
  (void)new_size;
  return called() == 0 ? ptr : NULL;
}

static uint64_t now_ns(void *ctx) {
  (void)ctx;
  called();
  return 1;
}

static const hak_os_t g_os = {.struct_size = sizeof g_os,
                              .page_size = 4096,
                              .granularity = SIZE,
                              .reserve = reserve,
                              .release = release,
                              .commit = commit,
                              .purge = purge,
                              .remap = remap,
                              .now_ns = now_ns};

static int setup(void **state) {
  (void)state;
  g_calls = 0;
  g_fail = false;
  g_released = 0;
  g_range = (char *)hak_align_up((uintptr_t)g_memory, SIZE);
  errno = TEST_ERRNO;
  return 0;
}

static void calls__keep_errno_whether_they_fail_or_not(void **state) {
  (void)state;
  bool zeroed;
  for (int i = 0; i < 2; i++) {
    g_fail = i == 1;
    CHECK_EQ(hak_os_commit(&g_os, g_range, SIZE, &zeroed), !g_fail);
    CHECK_EQ(errno, TEST_ERRNO);
    CHECK_EQ(hak_os_purge(&g_os, g_range, SIZE), !g_fail);
    CHECK_EQ(errno, TEST_ERRNO);
    CHECK_EQ(hak_os_remap(&g_os, g_range, SIZE, SIZE) != NULL, !g_fail);
    CHECK_EQ(errno, TEST_ERRNO);
    CHECK_EQ(hak_os_reserve(&g_os, SIZE, SIZE) != NULL, !g_fail);
    CHECK_EQ(errno, TEST_ERRNO);
    if (!g_fail) hak_os_release(&g_os, g_range, SIZE);
    CHECK_EQ(errno, TEST_ERRNO);
    CHECK_EQ(hak_os_now(&g_os), 1);
    CHECK_EQ(errno, TEST_ERRNO);
  }
  CHECK_EQ(g_calls, 11);
}

static void commit__is_zero_only_if_the_hook_says_so(void **state) {
  (void)state;
  bool zeroed = true;
  CHECK(hak_os_commit(&g_os, g_range, SIZE, &zeroed));
  CHECK(!zeroed);
}

static void hooks__have_pages_that_slabs_can_be_made_of(void **state) {
  (void)state;
  hak_os_t os = *hak_os_default();
  for (size_t size = 1; size <= MIB; size *= 2) {
    os.page_size = os.granularity = size;
    CHECK_EQ(hak_os_is_valid(&os), size >= 4 * KIB && size <= 64 * KIB);
  }
  os.granularity = 64 * KIB;
  os.page_size = 12 * KIB;
  CHECK(!hak_os_is_valid(&os));
  os.page_size = 16 * KIB;
  CHECK(hak_os_is_valid(&os));
  os.granularity = 4 * KIB;
  CHECK(!hak_os_is_valid(&os));
}

static void barred__nothing_is_asked_for(void **state) {
  (void)state;
  bool zeroed;
  hak_os_scope_t before = hak_os_enter(HAK_OS_BARRED);
  CHECK(hak_os_reserve(&g_os, SIZE, SIZE) == NULL);
  CHECK(!hak_os_commit(&g_os, g_range, SIZE, &zeroed));
  CHECK(!hak_os_purge(&g_os, g_range, SIZE));
  CHECK(hak_os_remap(&g_os, g_range, SIZE, SIZE) == NULL);
  hak_os_leave(before);
  CHECK_EQ(g_calls, 0);
}

static void manual__nothing_is_given_back_by_an_allocation(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  CHECK(!hak_os_purge(&g_os, g_range, SIZE));
  CHECK_EQ(g_calls, 0);
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  CHECK(hak_os_purge(&g_os, g_range, SIZE));
  hak_os_leave(before);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 1), 0);
  CHECK(hak_os_purge(&g_os, g_range, SIZE));
  CHECK_EQ(g_calls, 2);
}

static void reserve__of_a_range_that_is_not_aligned_goes_back(void **state) {
  (void)state;
  g_range += 4096;
  CHECK(hak_os_reserve(&g_os, SIZE, SIZE) == NULL);
  CHECK_EQ(g_released, SIZE);
  CHECK(hak_os_reserve(&g_os, SIZE, 4096) == g_range);
  hak_os_release(&g_os, g_range, SIZE);
  CHECK_EQ(g_released, 2 * SIZE);
}

static void refused_range__serves_nobody_elses_request(void **state) {
  (void)state;
  char *first = hak_os_reserve(&g_os, SIZE, SIZE);
  CHECK(first == g_range);
  g_fail = true;
  hak_os_release(&g_os, first, SIZE);
  g_fail = false;
  hak_os_t others = g_os;
  int ctx;
  others.ctx = &ctx;
  g_range += SIZE;
  CHECK(hak_os_reserve(&others, SIZE, SIZE) == g_range);
  CHECK(hak_os_reserve(&g_os, SIZE, SIZE) == g_range); /* its pages have not gone */
}

#define M(function) cmocka_unit_test_setup(function, setup)

TEST_MAIN_FRESH(M(calls__keep_errno_whether_they_fail_or_not),
                M(commit__is_zero_only_if_the_hook_says_so),
                M(hooks__have_pages_that_slabs_can_be_made_of),
                M(barred__nothing_is_asked_for),
                M(manual__nothing_is_given_back_by_an_allocation),
                M(reserve__of_a_range_that_is_not_aligned_goes_back),
                M(refused_range__serves_nobody_elses_request))
