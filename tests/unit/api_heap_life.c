/* api_heap_life.c - how heaps begin and end: configurations, handles out of date, what
 * destroy, reset and release leave. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = {1,     8,      16,      48,      100,
                               1000,  1024,   1500,    5000,    20000,
                               32768, 200000, 1 << 20, 3 << 20, 40 << 20};

static void create__bad_configs_are_invalid(void **state) {
  (void)state;
  hak_heap_t *gone = test_heap(0, NULL, NULL);
  CHECK_EQ(hak_heap_destroy(gone), 0);
  hak_heap_config_t small = {.struct_size = 4};
  hak_heap_config_t flags = {.struct_size = sizeof flags, .flags = 0x8000u};
  hak_heap_config_t parent = {.struct_size = sizeof parent, .parent = gone};
  const hak_heap_config_t *bad[] = {&small, &flags, &parent};
  for (size_t i = 0; i < TEST_COUNT(bad); i++) {
    errno = 0;
    CHECK(hak_heap_create(bad[i]) == NULL);
    CHECK_EQ(errno, EINVAL);
  }
}

static void create__name_is_copied_and_cut(void **state) {
  (void)state;
  char name[64];
  memset(name, 'x', sizeof name - 1);
  name[sizeof name - 1] = 0;
  hak_heap_t *heap = test_heap(0, name, NULL), *nameless = hak_heap_create(NULL);
  name[0] = 'y';
  CHECK_EQ(strlen(hak_heap_name(heap)), 31);
  CHECK_EQ(hak_heap_name(heap)[0], 'x');
  CHECK_EQ(hak_heap_name(nameless)[0], 0);
  CHECK(strcmp(hak_heap_name(hak_heap_default()), "default") == 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK(hak_heap_name(heap) == NULL);
  CHECK_EQ(hak_heap_destroy(nameless), 0);
}

static void destroy__takes_all_blocks_and_what_they_cost(void **state) {
  (void)state;
  uint64_t blocks = test_live_blocks(), bytes = test_live_bytes();
  for (int round = 0; round < 3; round++) {
    hak_heap_t *heap = test_heap(0, "short", NULL);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      for (int k = 0; k < 100 && (k == 0 || sizes[i] < 100000); k++) {
        CHECK(hak_heap_alloc(heap, sizes[i]) != NULL);
      }
    }
    CHECK(test_live_blocks() > blocks + 1000);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    CHECK_EQ(test_live_blocks(), blocks);
    CHECK_EQ(test_live_bytes(), bytes);
    CHECK_EQ(hak_check(NULL), 0);
  }
}

static void destroy__million_blocks_go_in_a_fiftieth_of_freeing(void **state) {
  (void)state;
  if (TEST_ASAN || TEST_TSAN || test_is_strict()) return;
  enum {
    BLOCKS = 1000000
  };
  void **blocks = malloc(BLOCKS * sizeof *blocks);
  double best = 0;
  for (int round = 0; round < 3; round++) {
    hak_heap_t *heap = test_heap(0, NULL, NULL);
    for (size_t i = 0; i < BLOCKS; i++) blocks[i] = hak_heap_alloc(heap, 64);
    double start = test_seconds();
    for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
    double freeing = test_seconds() - start;
    for (size_t i = 0; i < BLOCKS; i++) CHECK(hak_heap_alloc(heap, 64) != NULL);
    start = test_seconds();
    CHECK_EQ(hak_heap_destroy(heap), 0);
    double ratio = freeing / (test_seconds() - start);
    if (ratio > best) best = ratio;
  }
  CHECK_MSG(best >= 50, "freeing takes only %.1f times as long", best);
  free(blocks);
}

static void destroy__is_refused_for_what_is_no_heap_or_has_children(void **state) {
  (void)state;
  hak_heap_t *parent = test_heap(0, "parent", NULL),
             *child = test_heap(0, "child", parent);
  CHECK_EQ(hak_heap_destroy(NULL), EINVAL);
  CHECK_EQ(hak_heap_destroy(hak_heap_default()), EINVAL);
  CHECK_EQ(hak_heap_reset(hak_heap_default()), EINVAL);
  CHECK_EQ(hak_heap_release(hak_heap_default()), EINVAL);
  CHECK_EQ(hak_heap_destroy(parent), EBUSY);
  CHECK_EQ(hak_heap_release(parent), EBUSY);
  CHECK_EQ(hak_heap_destroy(child), 0);
  CHECK_EQ(hak_heap_destroy(child), EINVAL);
  CHECK_EQ(hak_heap_reset(child), EINVAL);
  CHECK_EQ(hak_heap_release(child), EINVAL);
  CHECK_EQ(hak_heap_destroy(parent), 0);
}

static void destroy__late_frees_are_diagnosed(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  void *blocks[TEST_COUNT(sizes)];
  for (size_t i = 0; i < TEST_COUNT(sizes); i++)
    blocks[i] = hak_heap_alloc(heap, sizes[i]);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    CHECK(hak_heap_of(blocks[i]) == NULL);
    test_reports_begin();
    hak_free(blocks[i]);
    hak_set_error_handler(NULL, NULL);
    CHECK_EQ(g_reports.count, 1);
    CHECK(g_reports.last.error == HAK_ERROR_DOUBLE_FREE ||
          g_reports.last.error == HAK_ERROR_FOREIGN_POINTER);
  }
}

static void handle__out_of_date_is_diagnosed_everywhere(void **state) {
  (void)state;
  hak_heap_t *stale = test_heap(0, NULL, NULL);
  CHECK_EQ(hak_heap_destroy(stale), 0);
  hak_heap_t *next = test_heap(0, NULL, NULL);
  CHECK(next != stale);
  void *block = hak_heap_alloc(next, 10);
  test_reports_begin();
  errno = 0;
  CHECK(hak_heap_alloc(stale, 10) == NULL && errno == EINVAL);
  CHECK(hak_heap_alloc(stale, 100000) == NULL);
  CHECK(hak_heap_calloc(stale, 1, 10) == NULL && hak_heap_calloc(stale, 1, 5000) == NULL);
  CHECK(hak_heap_realloc(stale, NULL, 10) == NULL);
  CHECK(hak_heap_aligned_alloc(stale, 64, 10) == NULL);
  CHECK(hak_allocx(stale, 10, 0, 0, NULL) == NULL);
  CHECK(hak_reallocx(stale, NULL, 10, 0, 0, NULL) == NULL);
  hak_heap_free(stale, block);
  test_reports_end(9, HAK_ERROR_STALE_HEAP);
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(stale, &stats), EINVAL);
  CHECK_EQ(hak_check(stale), EINVAL);
  errno = 0;
  CHECK_EQ(hak_collect(stale, SIZE_MAX, 0), 0);
  CHECK_EQ(errno, EINVAL);
  CHECK_EQ(test_heap_stats(next).live_blocks, 1);
  CHECK_EQ(hak_heap_destroy(next), 0);
}

static void handle__never_comes_back(void **state) {
  (void)state;
  hak_heap_t *first = test_heap(0, NULL, NULL);
  CHECK_EQ(hak_heap_destroy(first), 0);
  size_t rounds = test_scale(70000) < 70000 ? test_scale(70000) : 70000;
  for (size_t i = 0; i < rounds; i++) {
    hak_heap_t *heap = hak_heap_create(NULL);
    CHECK(heap != NULL && heap != first);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  CHECK_EQ(hak_heap_destroy(first), EINVAL);
}

static void heap_free__another_heaps_block_is_misuse(void **state) {
  (void)state;
  hak_heap_t *a = test_heap(0, "a", NULL), *b = test_heap(0, "b", NULL);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *block = hak_heap_alloc(a, sizes[i]);
    test_reports_begin();
    hak_heap_free(b, block);
    hak_heap_free(NULL, block);
    test_reports_end(2, HAK_ERROR_WRONG_HEAP);
    CHECK(g_reports.last.heap == a);
    errno = TEST_ERRNO;
    hak_heap_free(a, block);
    hak_heap_free(a, NULL);
    CHECK_EQ(errno, TEST_ERRNO);
  }
  CHECK_EQ(test_heap_stats(a).live_blocks, 0);
  CHECK_EQ(hak_heap_destroy(a), 0);
  CHECK_EQ(hak_heap_destroy(b), 0);
}

static void reset__keeps_the_heap_and_its_memory(void **state) {
  (void)state;
  test_keep_unused(true);
  hak_heap_t *heap = test_heap(0, "frame", NULL);
  uint64_t calls = 0;
  for (int frame = 0; frame < 10; frame++) {
    for (int i = 0; i < 20000; i++) {
      size_t size = 16 + (size_t)i % 500;
      void *block = hak_heap_alloc(heap, size);
      CHECK(block != NULL && hak_heap_of(block) == heap);
      memset(block, frame, size);
      if (i % 3 == 0) hak_free(block);
    }
    CHECK(hak_heap_alloc(heap, 300000) != NULL && hak_heap_alloc(heap, 3 << 20) != NULL);
    hak_stats_t stats = test_stats();
    /* The first one that begins with what a whole frame left may still take a slab in
     * another order than that. */
    if (frame > 2) CHECK_EQ(stats.os_reserve + stats.os_commit, calls);
    calls = stats.os_reserve + stats.os_commit;
    uint64_t committed = test_heap_stats(heap).committed_bytes;
    CHECK_EQ(hak_heap_reset(heap), 0);
    stats = test_heap_stats(heap);
    CHECK_EQ(stats.live_blocks, 0);
    CHECK_EQ(stats.live_bytes, 0);
    /* Less the run, of two SuperSlabs with their records. */
    CHECK(stats.superslabs > 0 && stats.committed_bytes + (5 << 20) >= committed);
    CHECK_EQ(hak_check(NULL), 0);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
  test_keep_unused(false);
}

static void release__blocks_live_on_as_the_parents(void **state) {
  (void)state;
  for (int with_parent = 0; with_parent < 2; with_parent++) {
    uint64_t before = test_live_blocks();
    hak_heap_t *parent = with_parent ? test_heap(0, "parent", NULL) : NULL;
    hak_heap_t *owner = with_parent ? parent : hak_heap_default();
    hak_heap_t *heap = test_heap(0, "child", parent);
    unsigned char *blocks[TEST_COUNT(sizes)];
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      blocks[i] = hak_heap_alloc(heap, sizes[i]);
      test_fill(blocks[i], sizes[i], i);
    }
    CHECK_EQ(hak_heap_release(heap), 0);
    CHECK_EQ(hak_heap_release(heap), EINVAL);
    CHECK_EQ(test_heap_stats(owner).live_blocks - (with_parent ? 0 : before),
             TEST_COUNT(sizes));
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      CHECK(hak_heap_of(blocks[i]) == owner);
      CHECK(test_verify(blocks[i], sizes[i], i));
      if (i % 2 == 0) {
        blocks[i] = hak_realloc(blocks[i], sizes[i] * 3);
        CHECK(hak_heap_of(blocks[i]) == owner && test_verify(blocks[i], sizes[i], i));
      }
      hak_free(blocks[i]);
    }
    CHECK_EQ(test_live_blocks(), before);
    CHECK_EQ(test_heap_stats(owner).live_blocks - (with_parent ? 0 : before), 0);
    if (with_parent) CHECK_EQ(hak_heap_destroy(parent), 0);
    CHECK_EQ(hak_check(NULL), 0);
  }
}

static void release__ends_the_limits_of_the_heap(void **state) {
  (void)state;
  hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = 4 * MIB};
  hak_heap_t *heap = hak_heap_create(&config);
  char *block = hak_heap_alloc(heap, 3 * MIB);
  CHECK(block != NULL);
  CHECK_EQ(hak_resize_in_place(block, 4 * MIB, 4 * MIB), 0);
  CHECK_EQ(hak_heap_release(heap), 0);
  CHECK_EQ(hak_resize_in_place(block, 4 * MIB, 4 * MIB), 4 * MIB);
  hak_free(block);
  CHECK_EQ(hak_check(NULL), 0);
}

static void release__orphans_go_with_their_parent(void **state) {
  (void)state;
  uint64_t before = test_live_blocks();
  hak_heap_t *top = test_heap(0, "top", NULL), *mid = test_heap(0, "mid", top),
             *low = test_heap(0, "low", mid);
  void *a = hak_heap_alloc(low, 100), *b = hak_heap_alloc(mid, 1000000);
  CHECK(a != NULL && b != NULL);
  CHECK_EQ(hak_heap_release(low), 0);
  CHECK(hak_heap_of(a) == mid);
  CHECK_EQ(hak_heap_release(mid), 0);
  CHECK(hak_heap_of(a) == top && hak_heap_of(b) == top);
  CHECK_EQ(test_heap_stats(top).live_blocks, 2);
  CHECK_EQ(hak_heap_destroy(top), 0);
  CHECK(hak_heap_of(a) == NULL && hak_heap_of(b) == NULL);
  CHECK_EQ(test_live_blocks(), before);
}

TEST_MAIN(T(create__bad_configs_are_invalid), T(create__name_is_copied_and_cut),
          T(destroy__takes_all_blocks_and_what_they_cost),
          T(destroy__million_blocks_go_in_a_fiftieth_of_freeing),
          T(destroy__is_refused_for_what_is_no_heap_or_has_children),
          T(destroy__late_frees_are_diagnosed),
          T(handle__out_of_date_is_diagnosed_everywhere), T(handle__never_comes_back),
          T(heap_free__another_heaps_block_is_misuse),
          T(reset__keeps_the_heap_and_its_memory),
          T(release__blocks_live_on_as_the_parents),
          T(release__ends_the_limits_of_the_heap),
          T(release__orphans_go_with_their_parent))
