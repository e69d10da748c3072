/* strict_os.c - the suite's own strict hooks: a breach of the contract must not
 * pass them. */
#include "strict_os.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "child.h"

static test_os_t g_os;

typedef enum breach {
  NO_BREACH,
  DOUBLE_COMMIT,
  COMMIT_OUTSIDE,
  COMMIT_PART_OF_A_PAGE,
  PURGE_OF_RESERVED,
  PURGE_TWICE,
  RELEASE_OF_A_PART,
  RELEASE_TWICE,
  REMAP_UNCOMMITTED,
  SMALL_ALIGNMENT,
  NO_ZEROED,
  TOUCH_RESERVED,
  TOUCH_PURGED,
  TOUCH_RELEASED,
  BREACHES
} breach_t;

static const char *const texts[BREACHES] = {"",
                                            "is committed already",
                                            "not inside a reservation",
                                            "not a multiple of the page size",
                                            "is not committed",
                                            "is not committed",
                                            "not a whole range",
                                            "not a whole range",
                                            "not committed as a whole",
                                            "bad alignment",
                                            "zeroed is NULL",
                                            NULL,
                                            NULL,
                                            NULL};

static int breach_child(void *ctx) {
  breach_t breach = *(breach_t *)ctx;
  test_os_open(&g_os, 0);
  const hak_os_t *os = &g_os.hooks;
  bool zeroed = false;
  char *p = os->reserve(os->ctx, MIB, 2 * MIB);
  CHECK(p != NULL && (uintptr_t)p % (2 * MIB) == 0);
  CHECK_EQ(os->commit(os->ctx, p, 65536, &zeroed), 0);
  CHECK(zeroed && test_is_zero(p, 65536));
  memset(p, 1, 65536);
  CHECK_EQ(os->purge(os->ctx, p + 4096, 8192), 0);
  CHECK_EQ(g_os.committed_bytes, 65536 - 8192);
  switch (breach) {
    case DOUBLE_COMMIT:
      (void)os->commit(os->ctx, p, 8192, &zeroed);
      break;
    case COMMIT_OUTSIDE:
      (void)os->commit(os->ctx, p + MIB - 4096, 8192, &zeroed);
      break;
    case COMMIT_PART_OF_A_PAGE:
      (void)os->commit(os->ctx, p + 65536, 100, &zeroed);
      break;
    case PURGE_OF_RESERVED:
      (void)os->purge(os->ctx, p + 65536, 4096);
      break;
    case PURGE_TWICE:
      (void)os->purge(os->ctx, p + 4096, 4096);
      break;
    case RELEASE_OF_A_PART:
      (void)os->release(os->ctx, p, 65536);
      break;
    case RELEASE_TWICE:
      CHECK_EQ(os->release(os->ctx, p, MIB), 0);
      (void)os->release(os->ctx, p, MIB);
      break;
    case REMAP_UNCOMMITTED:
      (void)os->remap(os->ctx, p, MIB, 2 * MIB);
      break;
    case SMALL_ALIGNMENT:
      (void)os->reserve(os->ctx, MIB, 4096);
      break;
    case NO_ZEROED:
      (void)os->commit(os->ctx, p + 65536, 4096, NULL);
      break;
    case TOUCH_RESERVED:
      *(volatile char *)(p + 65536) = 1;
      break;
    case TOUCH_PURGED:
      *(volatile char *)(p + 5000) = 1;
      break;
    case TOUCH_RELEASED:
      CHECK_EQ(os->release(os->ctx, p, MIB), 0);
      *(volatile char *)p = 1;
      break;
    default:
      CHECK_EQ(os->commit(os->ctx, p + 4096, 8192, &zeroed), 0);
      CHECK(!zeroed && !test_is_zero(p + 4096, 8192));
      CHECK_EQ(p[0], 1);
      CHECK_EQ(os->release(os->ctx, p, MIB), 0);
      CHECK_EQ(g_os.ranges, 0);
      CHECK_EQ(g_os.committed_bytes, 0);
      break;
  }
  return 0;
}

static void strict_hooks__let_no_breach_pass(void **state) {
  (void)state;
  breach_t breach = NO_BREACH;
  test_child_must_succeed(breach_child, &breach, 10);
  for (int b = 1; b < BREACHES; b++) {
    breach = (breach_t)b;
    test_child_t child = test_child_run(breach_child, &breach, 10);
    CHECK_MSG(child.signal != 0 || child.status != 0, "breach %d passed", b);
    if (texts[b] != NULL) {
      CHECK_EQ(child.signal, SIGABRT);
      CHECK_MSG(strstr(child.output, texts[b]) != NULL, "breach %d said: %s", b,
                child.output);
    }
  }
}

static void strict_hooks__fail_by_plan(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  const hak_os_t *os = &g_os.hooks;
  test_os_fail(&g_os, TEST_FAIL_NTH, 1u << TEST_OS_RESERVE, 2);
  void *a = os->reserve(os->ctx, 65536, 65536);
  void *b = os->reserve(os->ctx, 65536, 65536);
  void *c = os->reserve(os->ctx, 65536, 65536);
  CHECK(a != NULL && b == NULL && c != NULL);
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RELEASE, 1);
  CHECK_EQ(os->release(os->ctx, a, 65536), EINVAL);
  CHECK_EQ(os->release(os->ctx, c, 65536), EINVAL);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(os->release(os->ctx, a, 65536), 0);
  CHECK_EQ(os->release(os->ctx, c, 65536), 0);
  CHECK_EQ(g_os.failures, 3);
  test_os_close(&g_os);
}

static void strict_hooks__remap_moves_contents_and_records(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  const hak_os_t *os = &g_os.hooks;
  bool zeroed = false;
  char *p = os->reserve(os->ctx, MIB, 2 * MIB);
  CHECK_EQ(os->commit(os->ctx, p, MIB, &zeroed), 0);
  test_fill(p, MIB, 1);
  char *q = os->remap(os->ctx, p, MIB, 4 * MIB);
  CHECK(q != NULL && (uintptr_t)q % (2 * MIB) == 0);
  CHECK(test_verify(q, MIB, 1));
  CHECK(test_is_zero(q + MIB, 3 * MIB));
  q = os->remap(os->ctx, q, 4 * MIB, 65536);
  CHECK(q != NULL && test_verify(q, 65536, 1));
  CHECK_EQ(g_os.committed_bytes, 65536);
  CHECK_EQ(os->release(os->ctx, q, 65536), 0);
  test_os_close(&g_os);
}

static void strict_hooks__far_addresses_are_far_apart(void **state) {
  (void)state;
  test_os_open(&g_os, TEST_OS_FAR);
  const hak_os_t *os = &g_os.hooks;
  uintptr_t low = UINTPTR_MAX, high = 0;
  void *ranges[8];
  for (size_t i = 0; i < TEST_COUNT(ranges); i++) {
    ranges[i] = os->reserve(os->ctx, 32 * MIB, 2 * MIB);
    CHECK(ranges[i] != NULL);
    uintptr_t at = (uintptr_t)ranges[i];
    low = at < low ? at : low;
    high = at > high ? at : high;
  }
  CHECK_MSG(high - low > 64 * GIB, "only %zu apart", (size_t)(high - low));
  for (size_t i = 0; i < TEST_COUNT(ranges); i++) {
    CHECK_EQ(os->release(os->ctx, ranges[i], 32 * MIB), 0);
  }
  test_os_close(&g_os);
}

TEST_MAIN_FRESH(T(strict_hooks__let_no_breach_pass), T(strict_hooks__fail_by_plan),
                T(strict_hooks__remap_moves_contents_and_records),
                T(strict_hooks__far_addresses_are_far_apart))
