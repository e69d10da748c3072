/* api_os_failures.c - the hooks fail at every one of the first calls: call n only,
 * n and all after it, or one in ten at random; by kind and all together, and while heaps
 * come and go. */
#include "child.h"
#include "os_fixture.h"
#include "shadow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POINTS 50
#define HEAP_POINTS 60

typedef struct failure {
  test_os_mode_t mode;
  unsigned kinds;
  uint64_t n;
  void (*workload)(bool may_fail);
} failure_t;

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
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    hak_thread_idle();
  }
  shadow->max_size = 8 * MIB;
}

static shadow_t g_shadow;

static void run_shadow(bool may_fail) {
  if (may_fail) {
    shadow_open(&g_shadow, test_seed(), SHADOW_MAY_FAIL | SHADOW_ALONE, 400);
  } else {
    g_shadow.flags &= ~SHADOW_MAY_FAIL;
  }
  workload(&g_shadow);
  if (!may_fail) {
    shadow_close(&g_shadow);
  }
}

/* ---- Heaps ------------------------------------------------------------ */

enum {
  HEAPS = 8,
  HEAP_BLOCKS = 40
};

typedef struct heap_block {
  unsigned char *address;
  size_t size;
} heap_block_t;

/* Fills a heap in all tiers; what could be had is whole. Half is freed. */
static void fill_heap(hak_heap_t *heap, bool may_fail) {
  heap_block_t blocks[HEAP_BLOCKS];
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)HEAP_BLOCKS);
  for (size_t i = 0; i < HEAP_BLOCKS; i++) {
    size_t size = i == 10 ? 3 * MIB : test_random_size(&rng, 300 * KIB);
    errno = TEST_ERRNO;
    unsigned char *block =
        i % 3 == 0 ? hak_heap_calloc(heap, 1, size) : hak_heap_alloc(heap, size);
    CHECK(may_fail || block != NULL);
    CHECK_EQ(errno, block == NULL ? ENOMEM : TEST_ERRNO);
    if (block != NULL) {
      CHECK(i % 3 != 0 || test_is_zero(block, size < 4096 ? size : 4096));
      test_fill_sparse(block, size, i);
    }
    blocks[i] = (heap_block_t){block, size};
  }
  for (size_t i = 0; i < HEAP_BLOCKS; i++) {
    if (blocks[i].address == NULL) {
      continue;
    }
    CHECK(test_verify_sparse(blocks[i].address, blocks[i].size, i));
    if (i % 2 == 0) {
      hak_heap_free(heap, blocks[i].address);
    }
  }
}

/* Nested heaps, and each way in which one ends. Ending one needs nothing of the
 * system: it may fail only where the library could not even start. */
static void run_heaps(bool may_fail) {
  hak_heap_t *heaps[HEAPS] = {NULL};
  for (size_t i = 0; i < HEAPS; i++) {
    hak_heap_config_t config = {.struct_size = sizeof config,
                                .flags = i % 2 == 1 ? HAK_HEAP_SERIAL : 0,
                                .parent = i < 2 ? NULL : heaps[i / 2]};
    errno = TEST_ERRNO;
    heaps[i] = hak_heap_create(&config);
    CHECK(may_fail || heaps[i] != NULL);
    CHECK_EQ(errno, heaps[i] == NULL ? ENOMEM : TEST_ERRNO);
    if (heaps[i] != NULL) {
      fill_heap(heaps[i], may_fail);
      /* A mapping of its own, which goes with the heap. */
      CHECK(hak_heap_alloc(heaps[i], 36 * MIB) != NULL || may_fail);
    }
    test_os_advance_ms(&g_os, 2000);
    (void)hak_collect(heaps[i], SIZE_MAX, HAK_COLLECT_ALL);
  }
  for (size_t i = HEAPS; i-- > 0;) {
    if (heaps[i] == NULL) {
      continue;
    }
    if (i % 3 == 0) {
      CHECK_EQ(hak_heap_reset(heaps[i]), 0);
      fill_heap(heaps[i], may_fail);
    }
    if (i % 4 == 1) {
      CHECK_EQ(hak_heap_release(heaps[i]), 0);
    } else {
      CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
    }
    if (i % 5 == 0) {
      hak_thread_idle();
    }
  }
}

/* ---- Points of failure ------------------------------------------------ */

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
  if (error != 0) {
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    CHECK_EQ(test_os_init(&g_os), 0);
  }
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 1 << 20), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  failure->workload(true);
  CHECK_EQ(hak_check(NULL), 0);

  /* The hooks work again, and so does everything else. */
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  failure->workload(false);
  CHECK_EQ(hak_check(NULL), 0);
  if (failure->workload == run_shadow) {
    CHECK_EQ(test_live_blocks(), 0);
    CHECK_EQ(test_live_bytes(), 0);
  }
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(g_os.ranges, 0);
  CHECK_EQ(g_os.committed_bytes, 0);
  return 0;
}

static void run_points_of(void (*work)(bool), test_os_mode_t mode, unsigned kinds,
                          unsigned points) {
  unsigned failed = 0;
  for (unsigned n = 1; n <= points; n++) {
    failure_t failure = {mode, kinds, n, work};
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

static void run_points(test_os_mode_t mode, unsigned kinds, unsigned points) {
  run_points_of(run_shadow, mode, kinds, points);
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
    unsigned points = (unsigned)test_scale(8);
    run_points(TEST_FAIL_NTH, 1u << kind, points);
    run_points(TEST_FAIL_FROM_NTH, 1u << kind, points);
    run_points(TEST_FAIL_RANDOM, 1u << kind, points / 2 + 1);
  }
}

static void failure__while_heaps_come_and_go(void **state) {
  (void)state;
  for (int mode = TEST_FAIL_NTH; mode <= TEST_FAIL_RANDOM; mode++) {
    run_points_of(run_heaps, (test_os_mode_t)mode, TEST_OS_ALL_KINDS,
                  (unsigned)test_scale(HEAP_POINTS));
  }
}

TEST_IN_CHILD(heaps__call_the_system_as_often_as_is_failed, 30) {
  test_over_os(0);
  run_heaps(false);
  CHECK(test_os_calls(&g_os) >= HEAP_POINTS);
}

TEST_IN_CHILD(workload__calls_every_hook, 30) {
  test_over_os(0);
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
}

TEST_MAIN_FRESH(T(workload__calls_every_hook), T(failure__of_call_n_only),
                T(failure__of_call_n_and_all_that_follow), T(failure__of_one_call_in_ten),
                T(failure__by_kind_of_hook),
                T(heaps__call_the_system_as_often_as_is_failed),
                T(failure__while_heaps_come_and_go))
