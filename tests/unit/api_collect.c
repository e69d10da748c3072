/* api_collect.c - hak_collect: its bound in bytes, its bound in time, and that it comes
 * to everything in the end. Memory is address space that hooks say to be committed, so
 * that there can be much of it. Each case runs in a child of its own. */
#include "child.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define SLAB ((size_t)65536)

/* ---- Hooks without work --------------------------------------------------- */

static int commit_nothing(void *ctx, void *ptr, size_t size, bool *zeroed) {
  (void)ctx;
  (void)ptr;
  (void)size;
  *zeroed = false;
  return 0;
}

static int purge_nothing(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  (void)ptr;
  (void)size;
  return 0;
}

static double cpu_ms(void) {
  struct timespec now;
  CHECK_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
  return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* A region goes back to the system as a whole, in one call, whose time depends on the
 * machine: what is bounded is the time beside it. */
static double g_release_ms;

static int release_timed(void *ctx, void *ptr, size_t size) {
  double start = cpu_ms();
  int result = hak_os_default()->release(ctx, ptr, size);
  g_release_ms += cpu_ms() - start;
  return result;
}

static void start_manual(void) {
  hak_os_t os = *hak_os_default();
  os.release = release_timed;
  os.commit = commit_nothing;
  os.purge = purge_nothing;
  os.remap = NULL;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, 0), 0);
  /* All that is idle is due. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_SHARE, 0), 0);
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = &os};
  CHECK_EQ(hak_init(&config), 0);
}

/* ---- Time ------------------------------------------------------------------ */

/* The clock runs on while a machine below this one takes its time: so many calls of a
 * series are left out. */
enum {
  LEFT_OUT = 2
};
static double g_worst[LEFT_OUT + 1]; /* the largest first */
static size_t g_calls;

static void note(double ms) {
  g_calls++;
  for (int i = 0; i <= LEFT_OUT; i++) {
    if (ms <= g_worst[i]) continue;
    double less = g_worst[i];
    g_worst[i] = ms;
    ms = less;
  }
}

static size_t timed_collect(hak_heap_t *heap, size_t max_bytes) {
  double start = cpu_ms();
  g_release_ms = 0;
  size_t given = hak_collect(heap, max_bytes, 0);
  note(cpu_ms() - start - g_release_ms);
  CHECK_MSG(given < max_bytes || given - max_bytes < SLAB, "%zu of %zu", given,
            max_bytes);
  return given;
}

static bool g_slow;

static void check_times(const char *what) {
  double worst = g_worst[LEFT_OUT];
  printf("%s: %zu calls, at most %.3f ms (%.3f with outliers)\n", what, g_calls, worst,
         g_worst[0]);
#if defined(NDEBUG)
  if (!TEST_ASAN && !TEST_TSAN && !TEST_EMULATED && worst > 1.0) g_slow = true;
#endif
  memset(g_worst, 0, sizeof g_worst);
  g_calls = 0;
}

/* Until `vain` calls in a row gave nothing, for all then is given; the sum. */
static size_t collect_all(hak_heap_t *heap, size_t vain) {
  size_t sum = 0;
  for (size_t i = 0; i < vain; i++) {
    size_t given = timed_collect(heap, SIZE_MAX);
    sum += given;
    if (given > 0) i = 0;
  }
  CHECK_EQ(test_stats().retained_bytes, 0);
  return sum;
}

enum {
  SLOW = 77,
  TRIES = 5
};

/* What is slow by itself is so every time. */
static void must_be_quick(int (*function)(void *ctx), void *ctx) {
  int tries = 0;
  test_child_t child;
  do {
    child = test_child_run(function, ctx, 60);
  } while (child.status == SLOW && ++tries < TRIES);
  CHECK_MSG(!child.timed_out && child.signal == 0 && child.status == 0,
            "signal %d, status %d (%d: slow): %s", child.signal, child.status, SLOW,
            child.output);
}

/* ---- A million slabs --------------------------------------------------------- */

/* Or fewer, where tests do less; never more, which there is no room for below. */
enum {
  BLOCKS_MOST = 1000000
};
static void *g_blocks[BLOCKS_MOST];

static size_t million(void) {
  size_t slabs = test_scale(BLOCKS_MOST);
  return slabs < BLOCKS_MOST ? slabs : BLOCKS_MOST;
}
#define MILLION_BYTES (million() * SLAB)

static int free_superslabs_child(void *ctx) {
  (void)ctx;
  start_manual();
  size_t count = MILLION_BYTES / (2 * MIB);
  for (size_t i = 0; i < count; i++) {
    g_blocks[i] = hak_alloc(2 * MIB);
    CHECK(g_blocks[i] != NULL);
  }
  for (size_t i = 0; i < count; i++) hak_free(g_blocks[i]);
  uint64_t retained = test_stats().retained_bytes;
  CHECK(retained >= count * 2 * MIB);
  CHECK_EQ(collect_all(NULL, 2), retained);
  check_times("free SuperSlabs");
  return g_slow ? SLOW : 0;
}

static int free_slabs_child(void *ctx) {
  bool own = *(bool *)ctx;
  size_t quota = own ? 10 : 1;
  /* Blocks pass no bin, which would write to them. */
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 0), 0);
  start_manual();
  hak_heap_t *heap = own ? hak_heap_create(NULL) : hak_heap_default();
  size_t count = MILLION_BYTES / SLAB / quota;
  for (size_t i = 0; i < count; i++) {
    g_blocks[i] = hak_heap_alloc(heap, SLAB);
    CHECK(g_blocks[i] != NULL);
  }
  /* Holes of one slab, in every SuperSlab. */
  for (size_t i = 0; i < count; i += 4) hak_free(g_blocks[i]);
  hak_thread_idle();
  uint64_t retained = test_stats().retained_bytes;
  CHECK(retained >= count / 4 * SLAB);
  CHECK_EQ(collect_all(own ? heap : NULL, 2), retained);
  check_times("slabs of SuperSlabs in use");
  /* Nothing to find among as many. */
  for (int i = 0; i < 100; i++) CHECK_EQ(timed_collect(NULL, SIZE_MAX), 0);
  check_times("nothing free");
  CHECK_EQ(hak_check(NULL), 0);
  return g_slow ? SLOW : 0;
}

static void collect__takes_at_most_a_millisecond_with_a_million_slabs(void **state) {
  (void)state;
  must_be_quick(free_superslabs_child, NULL);
  bool own = false;
  must_be_quick(free_slabs_child, &own);
  own = true;
  must_be_quick(free_slabs_child, &own);
}

/* ---- Caches ------------------------------------------------------------------- */

static int caches_child(void *ctx) {
  (void)ctx;
  start_manual();
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0); /* the last burst's blocks stay */
  /* Bins of all classes grow with bursts that come back. */
  for (int round = 0; round < 20; round++) {
    size_t count = 0;
    for (size_t size = 8; size <= 32768; size += size < 128 ? 8 : size / 4) {
      size_t burst = 2 * MIB / size;
      if (burst > 3000) burst = 3000;
      for (size_t i = 0; i < burst; i++) g_blocks[count++] = hak_alloc(size);
    }
    for (size_t i = 0; i < count; i++) hak_free(g_blocks[i]);
  }
  uint64_t cached = test_stats().cached_bytes;
  CHECK_MSG(cached > 4 * MIB, "%llu", (unsigned long long)cached);
  size_t calls = 0;
  while (test_stats().cached_bytes > 0 && calls++ < 2000) (void)timed_collect(NULL, 0);
  check_times("caches");
  CHECK_EQ(test_stats().cached_bytes, 0);
  (void)collect_all(NULL, 2);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_check(NULL), 0);
  return g_slow ? SLOW : 0;
}

static void collect__empties_large_caches_a_part_at_a_time(void **state) {
  (void)state;
  must_be_quick(caches_child, NULL);
}

/* ---- Heaps ---------------------------------------------------------------------- */

enum {
  HEAPS = 3000
};
static hak_heap_t *g_heaps[HEAPS];

static int heaps_child(void *ctx) {
  (void)ctx;
  start_manual();
  size_t count = test_scale(HEAPS);
  for (size_t i = 0; i < count && i < HEAPS; i++) {
    g_heaps[i] = hak_heap_create(NULL);
    CHECK(g_heaps[i] != NULL);
    g_blocks[i] = hak_heap_alloc(g_heaps[i], 100);
    for (size_t size = 16; size <= 4096; size *= 2) {
      hak_free(hak_heap_alloc(g_heaps[i], size));
    }
    hak_free(hak_heap_alloc(g_heaps[i], 200000));
  }
  (void)collect_all(NULL, count);
  check_times("heaps");
  CHECK_EQ(hak_check(NULL), 0);
  return g_slow ? SLOW : 0;
}

static void collect__takes_heaps_in_turn(void **state) {
  (void)state;
  must_be_quick(heaps_child, NULL);
}

/* ---- Bounds in bytes --------------------------------------------------------------- */

static void fill_and_free(test_rng_t *rng) {
  size_t count = 0;
  for (; count < 300; count++) {
    g_blocks[count] = hak_alloc(test_random_size(rng, 4 * MIB));
    CHECK(g_blocks[count] != NULL);
  }
  g_blocks[count++] = hak_alloc(50 * MIB);
  g_blocks[count++] = hak_alloc(90 * MIB);
  for (size_t i = 0; i < count; i++) hak_free(g_blocks[i]);
  hak_thread_idle();
}

TEST_IN_CHILD(collect__keeps_its_bound_within_a_slab_on_every_tier, 60) {
  start_manual();
  test_rng_t rng = test_rng(test_seed(), 3);
  for (int round = 0; round < 10; round++) {
    fill_and_free(&rng);
    for (size_t calls = 0; test_stats().retained_bytes > 0; calls++) {
      CHECK(calls < 5000);
      uint64_t before = test_stats().committed_bytes;
      size_t most = SLAB + test_below(&rng, 8 * MIB);
      size_t given = timed_collect(NULL, most);
      CHECK_EQ(before - test_stats().committed_bytes, given);
      CHECK_MSG(given > 0, "nothing of %zu", most);
    }
  }
  CHECK_EQ(hak_collect(NULL, 0, 0), 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
}

TEST_IN_CHILD(collect__all_has_no_bound_but_bytes, 30) {
  start_manual();
  test_rng_t rng = test_rng(test_seed(), 4);
  CHECK_EQ(hak_option_set(HAK_OPTION_COLLECT_SLABS, 32), 0);
  fill_and_free(&rng);
  CHECK(hak_collect(NULL, SIZE_MAX, 0) <= 32 * SLAB);
  uint64_t left = test_stats().retained_bytes;
  CHECK(left > 0);
  CHECK_EQ(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL), left);
  CHECK_EQ(test_stats().retained_bytes, 0);
  errno = 0;
  CHECK_EQ(hak_collect(NULL, SIZE_MAX, 2), 0);
  CHECK_EQ(errno, EINVAL);
}

TEST_MAIN_FRESH(T(collect__takes_at_most_a_millisecond_with_a_million_slabs),
                T(collect__empties_large_caches_a_part_at_a_time),
                T(collect__takes_heaps_in_turn),
                T(collect__keeps_its_bound_within_a_slab_on_every_tier),
                T(collect__all_has_no_bound_but_bytes))
