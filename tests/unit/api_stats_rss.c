/* api_stats_rss.c - statistics that explain the resident set: the rows add up to what is
 * committed, and that to the pages that came with the allocator. */
#include "child.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Resident bytes that no file backs, exact. */
static size_t resident(void) {
  static char text[8192];
  int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
  CHECK(file >= 0);
  ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  CHECK(length > 0);
  text[length] = '\0';
  const char *line = strstr(text, "\nAnonymous:");
  CHECK(line != NULL);
  return (size_t)strtoull(line + strlen("\nAnonymous:"), NULL, 10) * KIB;
}

static uint64_t sum_of_rows(const hak_stats_t *s) {
  return s->live_bytes + s->cached_bytes + s->free_bytes + s->uncarved_bytes +
         s->class_waste_bytes + s->large_slack_bytes + s->retained_bytes +
         s->metadata_bytes - s->hole_bytes - s->untouched_bytes - s->foreign_bytes;
}

/* Before the first block: resident, and what the library has for itself by then. */
static size_t g_start;
static uint64_t g_committed;

static void begin(void) {
  g_committed = test_stats().committed_bytes;
  g_start = resident();
}

/* What the test itself, the C library and stacks of threads add meanwhile. */
#define SLACK (512 * KIB)

static void check_rows(const char *when) {
  hak_stats_t s = test_stats();
  CHECK_EQ(sum_of_rows(&s), s.committed_bytes);
  if (TEST_ASAN || TEST_TSAN) return; /* what they keep is resident too */
  size_t rss = resident() - g_start;
  uint64_t committed = s.committed_bytes - g_committed;
  uint64_t far = committed > rss ? committed - rss : rss - committed;
  CHECK_MSG(far <= SLACK + rss * 3 / 100, "%s: committed %llu KiB, resident %zu KiB",
            when, (unsigned long long)committed / KIB, rss / KIB);
}

enum {
  BLOCKS = 20000
};
static char *g_blocks[BLOCKS];

static void fill_blocks(test_rng_t *rng, size_t count, size_t low, size_t high) {
  for (size_t i = 0; i < count; i++) {
    size_t size = low + test_random(rng) % (high - low + 1);
    g_blocks[i] = hak_alloc(size);
    CHECK(g_blocks[i] != NULL);
    memset(g_blocks[i], 1, size);
  }
}

static void free_blocks(size_t first, size_t step, size_t count) {
  for (size_t i = first; i < count; i += step) {
    hak_free(g_blocks[i]);
    g_blocks[i] = NULL;
  }
}

/* Fills, frees three of four, and all, and purges, with a look at each step. */
static void live_in_steps(size_t count, size_t low, size_t high) {
  test_rng_t rng = test_rng(test_seed(), 1);
  memset(g_blocks, 1, sizeof g_blocks);
  begin();
  fill_blocks(&rng, count, low, high);
  check_rows("filled");
  for (size_t first = 1; first < 4; first++) free_blocks(first, 4, count);
  check_rows("three quarters freed");
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  check_rows("collected");
  free_blocks(0, 4, count);
  check_rows("all freed");
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  check_rows("all freed and collected");
}

TEST_IN_CHILD(rows__explain_small_blocks, 60) { live_in_steps(BLOCKS, 16, 1000); }
TEST_IN_CHILD(rows__explain_mid_blocks, 60) { live_in_steps(3000, KIB, 32 * KIB); }
TEST_IN_CHILD(rows__explain_large_blocks_written, 60) {
  live_in_steps(60, 64 * KIB, 3 * MIB);
}
TEST_IN_CHILD(rows__explain_mappings_written, 60) { live_in_steps(8, 5 * MIB, 20 * MIB); }

TEST_IN_CHILD(rows__explain_sparse_array, 60) {
  enum {
    TOUCHED = 64
  };
  const size_t apart = 64 * MIB;
  begin();
  char *array = hak_alloc(TOUCHED * apart);
  CHECK(array != NULL);
  for (size_t i = 0; i < TOUCHED; i++) array[i * apart] = 1;
  check_rows("sparse");
  hak_stats_t s = test_stats();
  CHECK(s.untouched_bytes > 3 * (TOUCHED * apart) / 4);
  CHECK(s.live_bytes >= TOUCHED * apart);
  hak_free(array);
  check_rows("sparse, freed");
}

static void *use_blocks(void *arg) {
  test_rng_t rng = test_rng(test_seed(), (uint64_t)(uintptr_t)arg);
  char *blocks[1000];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    size_t size = 16 + test_random(&rng) % 4000;
    blocks[i] = hak_alloc(size);
    CHECK(blocks[i] != NULL);
    memset(blocks[i], 1, size);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i += 2) hak_free(blocks[i]);
  return NULL;
}

TEST_IN_CHILD(rows__explain_threads_that_end, 60) {
  begin();
  for (uintptr_t i = 0; i < 16; i++) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, use_blocks, (void *)i), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
  }
  check_rows("threads that ended");
}

/* Where blocks move there are tables ready for their new places. */
TEST_IN_CHILD(rows__explain_blocks_that_move, 60) {
  begin();
  char *block = NULL;
  for (size_t size = 2 * MIB; size <= 32 * MIB; size += size / 2) {
    block = hak_realloc(block, size);
    CHECK(block != NULL);
    memset(block, 1, size);
  }
  check_rows("a block that grew");
  hak_free(block);
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  check_rows("a block that grew, collected");
}

/* Of a heap's records hardly anything is touched before it has blocks of many sizes. */
TEST_IN_CHILD(rows__explain_many_heaps, 60) {
  enum {
    HEAPS = 1000
  };
  static hak_heap_t *heaps[HEAPS];
  memset(heaps, 1, sizeof heaps);
  begin();
  for (size_t i = 0; i < HEAPS; i++) {
    heaps[i] = hak_heap_create(NULL);
    CHECK(heaps[i] != NULL);
  }
  check_rows("heaps without a block");
  for (size_t i = 0; i < HEAPS; i++) {
    char *block = hak_heap_alloc(heaps[i], 100);
    CHECK(block != NULL);
    *block = 1;
  }
  check_rows("heaps with a block");
  for (size_t i = 0; i < HEAPS; i++) CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
  check_rows("heaps that ended");
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  check_rows("heaps that ended, collected");
}

TEST_MAIN(T(rows__explain_small_blocks), T(rows__explain_mid_blocks),
          T(rows__explain_large_blocks_written), T(rows__explain_mappings_written),
          T(rows__explain_sparse_array), T(rows__explain_threads_that_end),
          T(rows__explain_blocks_that_move), T(rows__explain_many_heaps))
