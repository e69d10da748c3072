/* api_tails.c - pages behind the ends of blocks: a collection takes them while other
 * threads use the blocks, a heap at its limit does so too, and none are made resident by
 * huge pages. Each case runs in a child of its own. */
#include "child.h"
#include "threads.h"

#include <string.h>

enum {
  BLOCKS_MOST = 100000
};
static unsigned char *g_blocks[BLOCKS_MOST];

static hak_stats_t stats(void) {
  hak_stats_t s = {.struct_size = sizeof s};
  CHECK_EQ(hak_stats_get(NULL, &s), 0);
  return s;
}

/* ---- what is collected --------------------------------------------------------- */

/* Blocks from `least` to `most` bytes come and go in random order; `count` are left. All
 * of each is written to. */
static void age(size_t count, size_t least, size_t most, size_t rounds) {
  test_rng_t rng = test_rng(test_seed(), 1);
  for (size_t i = 0; i < rounds; i++) {
    size_t at = i < count ? i : (size_t)test_below(&rng, count);
    size_t size = least + (size_t)test_below(&rng, most - least + 1);
    hak_free(g_blocks[at]);
    g_blocks[at] = hak_alloc(size);
    CHECK(g_blocks[at] != NULL);
    memset(g_blocks[at], (int)at, size);
    g_blocks[at][0] = g_blocks[at][size - 1] = (unsigned char)(at + 1);
  }
}

static void check_and_free(size_t count) {
  for (size_t i = 0; i < count; i++) {
    CHECK_EQ(g_blocks[i][0], (unsigned char)(i + 1));
    CHECK_EQ(g_blocks[i][8192], (unsigned char)i);
    hak_free(g_blocks[i]);
    g_blocks[i] = NULL;
  }
}

TEST_IN_CHILD(collect__all_takes_what_lies_behind_runs_and_spans, 60) {
  static const struct {
    size_t count, least, most;
  } mixes[] = {
      {30, MIB, 5 * MIB}, {100, 60 * KIB, 1000 * KIB}, {300, 60 * KIB, 200 * KIB}};
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, 0), 0);
  for (size_t m = 0; m < TEST_COUNT(mixes); m++) {
    age(mixes[m].count, mixes[m].least, mixes[m].most, mixes[m].count * 4);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    hak_stats_t s = stats();
    CHECK_MSG(s.large_slack_bytes + s.class_waste_bytes <= s.live_bytes / 64,
              "%zu of %zu KiB behind blocks", (size_t)s.large_slack_bytes / KIB,
              (size_t)s.live_bytes / KIB);
    CHECK_EQ(hak_check(NULL), 0);
    check_and_free(mixes[m].count);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

/* ---- beside threads that use the blocks ---------------------------------------- */

enum {
  WORKERS = 3,
  TURNS = 600,
  EACH = 24
};
static _Atomic unsigned g_at_work;

/* Blocks of all tiers are begun, resized and freed; what they hold is theirs. */
static void *work(void *ctx) {
  test_rng_t rng = test_rng(test_seed(), 2 + (uint64_t)(uintptr_t)ctx);
  unsigned char *blocks[EACH] = {NULL};
  size_t sizes[EACH] = {0};
  for (unsigned i = 0; i < TURNS; i++) {
    size_t at = (size_t)test_below(&rng, EACH);
    size_t size = 20 * KIB + (size_t)test_below(&rng, i % 8 == 0 ? 3 * MIB : 300 * KIB);
    if (blocks[at] != NULL) {
      CHECK_EQ(blocks[at][0], (unsigned char)at);
      CHECK_EQ(blocks[at][sizes[at] - 1], (unsigned char)at);
    }
    if (i % 3 == 0) {
      hak_free(blocks[at]);
      blocks[at] = hak_alloc(size);
    } else {
      blocks[at] = hak_realloc(blocks[at], size);
    }
    CHECK(blocks[at] != NULL);
    blocks[at][0] = blocks[at][size - 1] = (unsigned char)at;
    sizes[at] = size;
  }
  for (size_t at = 0; at < EACH; at++) hak_free(blocks[at]);
  g_at_work--;
  return NULL;
}

TEST_IN_CHILD(collect__takes_no_page_of_a_block_that_others_resize, 120) {
  pthread_t threads[WORKERS];
  g_at_work = WORKERS;
  test_threads_begin_numbered(threads, WORKERS, work);
  while (g_at_work != 0) (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  test_threads_end(threads, WORKERS);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(stats().live_bytes, 0);
}

/* ---- at a limit ---------------------------------------------------------------- */

/* Fills the heap with blocks of a size, and empties it; how many bytes there were. */
static size_t had_of(hak_heap_t *heap, size_t size) {
  size_t count = 0, bytes = 0;
  while ((g_blocks[count] = hak_heap_alloc(heap, size)) != NULL) {
    g_blocks[count][0] = g_blocks[count][size - 1] = 1;
    bytes += hak_usable_size(g_blocks[count++]);
    CHECK(count < BLOCKS_MOST);
  }
  for (size_t i = 0; i < count; i++) hak_free(g_blocks[i]);
  return bytes;
}

/* Whatever sizes there were before: slots that bring pages along are no reason to refuse.
 */
TEST_IN_CHILD(limit__is_had_by_any_size_after_any_other, 60) {
  static const size_t sizes[] = {33000,     20000,      5000,  33000,       40000,
                                 70 * KIB,  5000,       90000, 3 * MIB / 4, 1000,
                                 150 * KIB, 1500 * KIB, 45000, 5 * MIB / 2, 68 * KIB};
  const size_t limit = 16 * MIB;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = limit});
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    size_t had = had_of(heap, sizes[i]), lost = MIB + sizes[i];
    CHECK_MSG(had + lost >= limit, "%zu KiB in blocks of %zu", had / KIB, sizes[i]);
  }
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* A heap that keeps what it has, of which nothing is live, serves any size as well: what
 * it keeps is in the way of its own blocks. */
TEST_IN_CHILD(limit__of_a_heap_that_keeps_its_memory_is_had_by_any_size, 60) {
  static const size_t sizes[] = {200, 700, 9000, 60000, 400000, 3 * MIB, 9000, 5 * MIB};
  const size_t limit = 16 * MIB;
  for (size_t k = 0; k < 2; k++) {
    hak_heap_config_t config = {.hard_limit = limit};
    if (k == 0) config.flags = HAK_HEAP_NO_PURGE;
    if (k == 1) config.prefault = 8 * MIB;
    hak_heap_t *heap = test_heap_make(config);
    for (size_t i = 0; i < 2 * TEST_COUNT(sizes); i++) {
      size_t size = sizes[i % TEST_COUNT(sizes)], had = had_of(heap, size);
      CHECK_MSG(had + limit / 4 + size >= limit, "%zu KiB in blocks of %zu", had / KIB,
                size);
    }
    CHECK_EQ(hak_check(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

/* ---- blocks that shrink -------------------------------------------------------- */

/* Each leaves its SuperSlabs for the next one. */
TEST_IN_CHILD(shrinking__blocks_leave_room_for_the_next, 60) {
  enum {
    BLOCKS = 24
  };
  size_t live = 0, peak = 0;
  for (size_t i = 0; i < BLOCKS; i++) {
    unsigned char *block = hak_alloc(20 * MIB);
    CHECK(block != NULL);
    memset(block, (int)i, 20 * MIB);
    hak_stats_t s = stats();
    if (s.committed_bytes > peak) peak = (size_t)s.committed_bytes;
    g_blocks[i] = hak_realloc(block, MIB);
    CHECK(g_blocks[i] != NULL && g_blocks[i][0] == i && g_blocks[i][MIB - 1] == i);
    live += MIB;
  }
  CHECK_MSG(peak <= live + 20 * MIB + 20 * MIB / 2, "%zu KiB", peak / KIB);
  for (size_t i = 0; i < BLOCKS; i++) hak_free(g_blocks[i]);
  CHECK_EQ(hak_check(NULL), 0);
}

/* ---- what a heap is to keep ------------------------------------------------------ */

/* Blocks of the heap that can be had of what it has. */
static size_t count_ready(hak_heap_t *heap) {
  size_t ready = 0;
  while (ready < 100 && hak_allocx(heap, 896 * KIB, 0, HAK_NO_GROW, NULL) != NULL)
    ready++;
  return ready;
}

static void fill_and_free(hak_heap_t *heap, size_t count, bool collect) {
  for (size_t i = 0; i < count; i++)
    CHECK((g_blocks[i] = hak_heap_alloc(heap, 80 * KIB)));
  if (collect) (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  for (size_t i = 0; i < count; i++) hak_free(g_blocks[i]);
}

TEST_IN_CHILD(prefaulted__memory_stays_behind_blocks_too, 60) {
  size_t ready[2];
  for (int collect = 0; collect < 2; collect++) {
    hak_heap_t *heap = hak_heap_create(NULL);
    CHECK_EQ(hak_heap_prefault(heap, 18 * MIB), 0);
    fill_and_free(heap, 120, collect != 0);
    ready[collect] = count_ready(heap);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  CHECK(ready[0] > 10);
  CHECK_EQ(ready[1], ready[0]);
}

/* Another heap below the same limit is refused. */
TEST_IN_CHILD(kept__memory_is_not_taken_for_another_heap, 60) {
  size_t ready[2];
  for (int full = 0; full < 2; full++) {
    hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
    config.hard_limit = 40 * MIB;
    hak_heap_t *above = hak_heap_create(&config);
    config = (hak_heap_config_t){
        .struct_size = sizeof config, .parent = above, .flags = HAK_HEAP_NO_PURGE};
    hak_heap_t *keeps = hak_heap_create(&config);
    config.flags = 0;
    hak_heap_t *takes = hak_heap_create(&config);
    CHECK(keeps != NULL && takes != NULL);
    for (size_t i = 0; i < 20; i++)
      CHECK((g_blocks[i] = hak_heap_alloc(keeps, 896 * KIB)));
    for (size_t i = 0; i < 20; i++) hak_free(g_blocks[i]);
    for (size_t i = 0; i < 100; i++)
      CHECK((g_blocks[i] = hak_heap_alloc(keeps, 80 * KIB)));
    if (full != 0) {
      while (hak_heap_alloc(takes, 100000) != NULL) {}
    }
    for (size_t i = 0; i < 100; i++) hak_free(g_blocks[i]);
    ready[full] = count_ready(keeps);
    CHECK_EQ(hak_heap_destroy(takes), 0);
    CHECK_EQ(hak_heap_destroy(keeps), 0);
    CHECK_EQ(hak_heap_destroy(above), 0);
  }
  CHECK(ready[0] > 10);
  CHECK(ready[1] >= ready[0]);
}

/* ---- huge pages ---------------------------------------------------------------- */

/* Blocks that fill their slabs in part, and SuperSlabs: what they leave is not made
 * resident. */
TEST_IN_CHILD(spans__with_long_ends_cost_what_is_written, 60) {
  if (TEST_ASAN || TEST_TSAN) return; /* what they note of it is resident, too */
  if (HAK_CHECKS >= 3) return;        /* canaries lie at the ends */
  static const size_t sizes[] = {81861, 87591, 131447, 197263, 262145, 544239, 666714};
  const size_t bytes = 32 * MIB;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    hak_heap_t *heap = hak_heap_create(NULL);
    CHECK(heap != NULL);
    size_t before = test_resident_bytes(), count = bytes / sizes[i];
    for (size_t k = 0; k < count; k++) {
      g_blocks[k] = hak_heap_alloc(heap, sizes[i]);
      CHECK(g_blocks[k] != NULL);
      memset(g_blocks[k], 1, sizes[i]);
    }
    size_t more = test_resident_bytes() - before;
    CHECK_MSG(more < bytes + bytes / 8, "%zu KiB for %zu blocks of %zu", more / KIB,
              count, sizes[i]);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  }
}

TEST_MAIN(T(collect__all_takes_what_lies_behind_runs_and_spans),
          T(collect__takes_no_page_of_a_block_that_others_resize),
          T(limit__is_had_by_any_size_after_any_other),
          T(limit__of_a_heap_that_keeps_its_memory_is_had_by_any_size),
          T(shrinking__blocks_leave_room_for_the_next),
          T(prefaulted__memory_stays_behind_blocks_too),
          T(kept__memory_is_not_taken_for_another_heap),
          T(spans__with_long_ends_cost_what_is_written))
