/* api_os_failures.c - the hooks fail at every one of the first calls: call n only,
 * n and all after it, or one in ten at random; by kind and all together. */
#include "child.h"
#include "shadow.h"
#include "strict_os.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POINTS 50

typedef struct failure {
  test_os_mode_t mode;
  unsigned kinds;
  uint64_t n;
} failure_t;

static test_os_t g_os;

/* A fixed sequence that calls every hook: all tiers, growth and shrinking of
 * mappings, memory given back in between. NULL is right at any moment. */
static void workload(shadow_t *shadow) {
  shadow_run(shadow, 150);
  shadow->max_size = 40 * MIB;
  for (int i = 0; i < 4; i++) {
    errno = TEST_ERRNO;
    unsigned char *huge = hak_alloc((size_t)(34 + i) * MIB);
    if (huge != NULL) {
      test_fill_sparse(huge, 34 * MIB, 1);
      unsigned char *grown = hak_realloc(huge, 60 * MIB);
      huge = grown != NULL ? grown : huge;
      CHECK(test_verify_sparse(huge, 34 * MIB, 1));
      unsigned char *shrunk = hak_realloc(huge, 5 * MIB);
      huge = shrunk != NULL ? shrunk : huge;
      CHECK(test_verify_sparse_prefix(huge, 34 * MIB, 5 * MIB, 1));
      hak_free(huge);
    } else {
      CHECK_EQ(errno, ENOMEM);
    }
    shadow_run(shadow, 150);
    test_os_advance_ms(&g_os, 5000);
    (void)hak_collect(NULL, SIZE_MAX, 0);
    hak_thread_idle();
  }
  shadow->max_size = 8 * MIB;
}

static int failure_child(void *ctx) {
  const failure_t *failure = ctx;
  test_os_open(&g_os, 0);
  g_os.rng = test_rng(test_seed(), failure->n * 31 + failure->kinds);
  test_os_fail(&g_os, failure->mode, failure->kinds,
               failure->mode == TEST_FAIL_RANDOM ? 10 : failure->n);
  int error = test_os_init(&g_os);
  CHECK(error == 0 || error == ENOMEM);
  for (int tries = 0; error != 0 && tries < 3; tries++) {
    error = test_os_init(&g_os);
    CHECK(error == 0 || error == ENOMEM);
  }
  shadow_t shadow;
  if (error != 0) {
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    CHECK_EQ(test_os_init(&g_os), 0);
  }
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 1 << 20), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  shadow_open(&shadow, test_seed(), SHADOW_MAY_FAIL | SHADOW_ALONE, 400);
  workload(&shadow);
  CHECK_EQ(hak_check(NULL), 0);

  /* The hooks work again, and so does everything else. */
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  shadow.flags &= ~SHADOW_MAY_FAIL;
  workload(&shadow);
  shadow_close(&shadow);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(test_live_bytes(), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(g_os.ranges, 0);
  CHECK_EQ(g_os.committed_bytes, 0);
  return 0;
}

static void run_points(test_os_mode_t mode, unsigned kinds, unsigned points) {
  unsigned failed = 0;
  for (unsigned n = 1; n <= points; n++) {
    failure_t failure = {mode, kinds, n};
    test_child_t child = test_child_run(failure_child, &failure, 30);
    if (child.timed_out || child.signal != 0 || child.status != 0) {
      /* All points are tried: the pattern of failures says where to look. */
      fprintf(stderr, "mode %d, kinds 0x%x, n %u: %s signal %d: %s\n", (int)mode, kinds,
              n, child.timed_out ? "hangs," : "", child.signal, child.output);
      failed++;
    }
  }
  CHECK_EQ(failed, 0);
}

static void failure__of_call_n_only(void **state) {
  (void)state;
  run_points(TEST_FAIL_NTH, TEST_OS_ALL_KINDS, POINTS);
}

static void failure__of_call_n_and_all_that_follow(void **state) {
  (void)state;
  run_points(TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, POINTS);
}

static void failure__of_one_call_in_ten(void **state) {
  (void)state;
  run_points(TEST_FAIL_RANDOM, TEST_OS_ALL_KINDS, POINTS);
}

static void failure__by_kind_of_hook(void **state) {
  (void)state;
  for (unsigned kind = 0; kind < TEST_OS_KINDS; kind++) {
    unsigned points = (unsigned)test_scale(20);
    run_points(TEST_FAIL_NTH, 1u << kind, points);
    run_points(TEST_FAIL_FROM_NTH, 1u << kind, points);
    run_points(TEST_FAIL_RANDOM, 1u << kind, points / 2 + 1);
  }
}

static int reaches_child(void *ctx) {
  (void)ctx;
  test_os_open(&g_os, 0);
  CHECK_EQ(test_os_init(&g_os), 0);
  shadow_t shadow;
  shadow_open(&shadow, test_seed(), SHADOW_ALONE, 400);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 1 << 20), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  workload(&shadow);
  shadow_close(&shadow);
  uint64_t sum = test_os_calls(&g_os);
  fprintf(stderr,
          "calls: reserve %llu, release %llu, commit %llu, purge %llu, remap %llu\n",
          (unsigned long long)g_os.calls[0], (unsigned long long)g_os.calls[1],
          (unsigned long long)g_os.calls[2], (unsigned long long)g_os.calls[3],
          (unsigned long long)g_os.calls[4]);
  /* Otherwise the tests above would fail calls that never come. */
  CHECK_MSG(sum >= POINTS, "only %llu calls", (unsigned long long)sum);
  for (unsigned kind = 0; kind < TEST_OS_KINDS; kind++) {
    CHECK_MSG(g_os.calls[kind] > 0, "hook %u is never called", kind);
  }
  return 0;
}

static void workload__calls_every_hook(void **state) {
  (void)state;
  test_child_must_succeed(reaches_child, NULL, 30);
}

TEST_MAIN_FRESH(T(workload__calls_every_hook), T(failure__of_call_n_only),
                T(failure__of_call_n_and_all_that_follow), T(failure__of_one_call_in_ten),
                T(failure__by_kind_of_hook))
