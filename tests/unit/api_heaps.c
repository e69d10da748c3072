/* api_heaps.c - heaps by handle: blocks of all tiers, what is told of them, many heaps
 * and many threads at once. */
#include "threads.h"
#include "visits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = {1,     8,      16,      48,      100,
                               1000,  1024,   1500,    5000,    20000,
                               32768, 200000, 1 << 20, 3 << 20, 40 << 20};

/* ---- blocks ------------------------------------------------------------- */

static void alloc__blocks_of_all_tiers_are_the_heaps(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, "tiers", NULL);
  unsigned char *blocks[TEST_COUNT(sizes)];
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    blocks[i] = hak_heap_alloc(heap, sizes[i]);
    CHECK(blocks[i] != NULL && hak_heap_of(blocks[i]) == heap);
    CHECK(hak_heap_of(blocks[i] + sizes[i] - 1) == heap);
    test_fill(blocks[i], sizes[i], i);
    void *other = hak_alloc(sizes[i]);
    CHECK(hak_heap_of(other) == hak_heap_default());
    hak_free(other);
  }
  hak_stats_t stats = test_heap_stats(heap);
  CHECK_EQ(stats.live_blocks, TEST_COUNT(sizes));
  CHECK_EQ(stats.large_blocks, 4);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    CHECK(test_verify(blocks[i], sizes[i], i));
    hak_free(blocks[i]);
  }
  CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void alloc__every_entry_point_takes_a_heap(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    size_t size = sizes[i];
    unsigned char *block = hak_heap_calloc(heap, 1, size);
    CHECK(block != NULL && test_is_zero(block, size));
    block = hak_heap_realloc(heap, block, size * 2);
    CHECK(block != NULL && hak_heap_of(block) == heap && test_is_zero(block, size));
    block = hak_realloc(block, size * 3);
    CHECK(block != NULL && hak_heap_of(block) == heap && test_is_zero(block, size));
    hak_free(block);
    block = hak_heap_aligned_alloc(heap, 4096, size);
    CHECK(block != NULL && (uintptr_t)block % 4096 == 0 && hak_heap_of(block) == heap);
    hak_heap_free(heap, block);
    block = hak_allocx(heap, size, 64, HAK_ZERO, NULL);
    CHECK(block != NULL && test_is_zero(block, size) && hak_heap_of(block) == heap);
    block = hak_reallocx(NULL, block, size * 2, 64, HAK_ZERO, NULL);
    CHECK(block != NULL && test_is_zero(block, size * 2) && hak_heap_of(block) == heap);
    hak_free_sized(block, size * 2);
    block = hak_heap_realloc(heap, NULL, size);
    CHECK(hak_heap_of(block) == heap);
    hak_free(block);
  }
  CHECK(hak_heap_alloc(heap, 0) != NULL);
  CHECK_EQ(test_heap_stats(heap).live_blocks, 1);
  void *plain = hak_heap_alloc(NULL, 100);
  CHECK(hak_heap_of(plain) == hak_heap_default());
  hak_free(plain);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* What a container drops and makes again lies where it lay. */
static void alloc_at__takes_first_what_was_freed_last(void **state) {
  (void)state;
  enum {
    BLOCKS = 8,
    USES = 1000 /* the thread has bins of the heap then */
  };
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  void *blocks[BLOCKS];
  for (int i = 0; i < USES; i++) hak_free(hak_heap_alloc(heap, 100));
  for (size_t i = 0; i < BLOCKS; i++) CHECK((blocks[i] = hak_heap_alloc(heap, 100)));
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  for (size_t i = BLOCKS; i > 0; i--) {
    void *block = hak_heap_alloc_at(heap, 100, NULL);
    CHECK(block != NULL && (TEST_CHECKS >= 3 || block == blocks[i - 1]));
  }
  CHECK_EQ(test_heap_stats(heap).live_blocks, BLOCKS);
  CHECK_EQ(hak_check(heap), 0);
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void alloc__absurd_sizes_and_alignments_are_refused(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  errno = 0;
  CHECK(hak_heap_alloc(heap, test_opaque(SIZE_MAX)) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(hak_heap_alloc(heap, test_opaque((size_t)PTRDIFF_MAX + 1)) == NULL);
  CHECK_EQ(errno, ENOMEM);
  errno = 0;
  CHECK(hak_heap_calloc(heap, test_opaque(SIZE_MAX), 16) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(hak_heap_aligned_alloc(heap, 3, 16) == NULL && errno == EINVAL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void no_grow__of_a_heap_never_calls_the_system(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  uint64_t before = test_stats().os_reserve + test_stats().os_commit;
  hak_free(hak_allocx(heap, 100, 0, HAK_NO_GROW, NULL)); /* what was there may serve it */
  CHECK_EQ(test_stats().os_reserve + test_stats().os_commit, before);
  hak_free(hak_heap_alloc(heap, 100));
  void *block = hak_allocx(heap, 100, 0, HAK_NO_GROW, NULL);
  CHECK(block != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- introspection ---------------------------------------------------------- */

static void visit__shows_the_heaps_blocks_and_no_others(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, NULL, NULL), *other = test_heap(0, NULL, NULL);
  size_t bytes = 0, count = 0;
  void *freed[64];
  size_t n_freed = 0;
  for (size_t i = 0; i < 500; i++) {
    void *block = hak_heap_alloc(heap, sizes[i % TEST_COUNT(sizes)] % 300000);
    CHECK(hak_heap_alloc(other, 10) != NULL);
    if (i % 10 == 0) {
      freed[n_freed++] = block;
    } else {
      bytes += hak_usable_size(block);
      count++;
    }
  }
  for (size_t i = 0; i < n_freed; i++) hak_free(freed[i]);
  CHECK_EQ(test_visit_live(heap, count), bytes);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  test_visit_t visit = {.heap = heap};
  CHECK_EQ(hak_heap_visit(heap, test_visit_block, &visit, 0), EINVAL);
  CHECK_EQ(visit.count, 0);
  CHECK_EQ(hak_heap_destroy(other), 0);
}

typedef struct seen_heaps {
  hak_heap_t *wanted;
  size_t count, found; /* of all heaps, and of the wanted one */
} seen_heaps_t;

static bool see_heap(hak_heap_t *heap, void *ctx) {
  seen_heaps_t *seen = ctx;
  seen->count++;
  if (heap == seen->wanted) seen->found++;
  return true;
}

static void visit_heaps__shows_live_ones(void **state) {
  (void)state;
  seen_heaps_t before = {NULL, 0, 0};
  CHECK_EQ(hak_visit_heaps(see_heap, &before), 0);
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  seen_heaps_t seen = {heap, 0, 0};
  CHECK_EQ(hak_visit_heaps(see_heap, &seen), 0);
  CHECK_EQ(seen.count, before.count + 1);
  CHECK_EQ(seen.found, 1);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  seen = (seen_heaps_t){heap, 0, 0};
  CHECK_EQ(hak_visit_heaps(see_heap, &seen), 0);
  CHECK_EQ(seen.count, before.count);
  CHECK_EQ(seen.found, 0);
}

static void stats__cover_heaps_below(void **state) {
  (void)state;
  hak_heap_t *top = test_heap(0, "top", NULL),
             *low = test_heap(0, "low", test_heap(0, "mid", top));
  hak_heap_t *beside = test_heap(0, "beside", NULL);
  CHECK(hak_heap_alloc(top, 64) && hak_heap_alloc(low, 64) && hak_heap_alloc(beside, 64));
  CHECK_EQ(test_heap_stats(top).live_blocks, 2);
  CHECK_EQ(test_heap_stats(low).live_blocks, 1);
  CHECK_EQ(test_heap_stats(beside).live_blocks, 1);
  CHECK_EQ(test_heap_stats(top).superslabs, 2);
  CHECK(test_heap_stats(top).committed_bytes > test_heap_stats(low).committed_bytes);
  CHECK_EQ(hak_heap_release(low), 0);
  CHECK_EQ(test_heap_stats(top).live_blocks, 2);
  CHECK_EQ(hak_heap_destroy(beside), 0);
}

/* ---- many -------------------------------------------------------------------- */

static void many__ten_thousand_live_heaps_cost_little(void **state) {
  (void)state;
  size_t count = TEST_ASAN || TEST_TSAN || test_is_strict() ? 1000 : 10000;
  hak_heap_t **heaps = malloc(count * sizeof *heaps);
  void **blocks = malloc(count * sizeof *blocks);
  memset(heaps, 0, count * sizeof *heaps);
  memset(blocks, 0, count * sizeof *blocks);
  size_t start = test_resident_bytes();
  for (size_t i = 0; i < count; i++) CHECK((heaps[i] = hak_heap_create(NULL)) != NULL);
  size_t empty = test_resident_bytes();
  for (size_t i = 0; i < count; i++) {
    blocks[i] = hak_heap_alloc(heaps[i], 40);
    CHECK(blocks[i] != NULL);
    memset(blocks[i], (int)i, 40);
  }
  size_t one = test_resident_bytes();
  if (!TEST_ASAN && !TEST_TSAN && !test_is_strict()) {
    CHECK_MSG(empty - start <= count * 8 * KIB, "an empty heap takes %zu bytes",
              (empty - start) / count);
    CHECK_MSG(one - start <= count * 72 * KIB, "a heap with a block takes %zu bytes",
              (one - start) / count);
  }
  for (size_t i = 0; i < count; i++) {
    CHECK(hak_heap_of(blocks[i]) == heaps[i]);
    CHECK_EQ(((unsigned char *)blocks[i])[39], i & 0xff);
  }
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t i = 0; i < count; i++) CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
  free(heaps);
  free(blocks);
}

/* Far more heaps than slots, each used so much that slots change hands. */
static void many__heaps_without_slots_work_and_slots_pass_on(void **state) {
  (void)state;
  enum {
    HEAPS = 1400,
    KEPT = 8
  };
  static hak_heap_t *heaps[HEAPS];
  static unsigned char *kept[HEAPS][KEPT];
  uint64_t before = test_live_blocks();
  hak_option_set(HAK_OPTION_HEAP_CACHE_AFTER, 0); /* each heap has a cache at once */
  for (size_t h = 0; h < HEAPS; h++) CHECK((heaps[h] = hak_heap_create(NULL)) != NULL);
  test_rng_t rng = test_rng(test_seed(), 77);
  size_t busy = HEAPS - 20, rounds = TEST_ASAN || TEST_TSAN ? 100 : 600;
  for (size_t round = 0; round < rounds; round++) {
    for (size_t h = round % 100 == 0 ? 0 : busy; h < HEAPS; h++) {
      for (size_t k = 0; k < KEPT; k++) {
        size_t size = 8 + test_below(&rng, round % 3 == 0 ? 4000 : 200);
        unsigned char *old = kept[h][k];
        if (old != NULL) CHECK(hak_heap_of(old) == heaps[h] && old[0] == h % 251);
        hak_free(old);
        kept[h][k] = hak_heap_alloc(heaps[h], size);
        CHECK(kept[h][k] != NULL && hak_heap_of(kept[h][k]) == heaps[h]);
        kept[h][k][0] = (unsigned char)(h % 251);
      }
    }
  }
  CHECK_EQ(test_live_blocks() - before, HEAPS * KEPT);
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t h = 0; h < HEAPS; h++) {
    for (size_t k = 0; k < KEPT && h % 2 == 0; k++) hak_free(kept[h][k]);
    CHECK_EQ(test_heap_stats(heaps[h]).live_blocks, h % 2 == 0 ? 0 : KEPT);
    CHECK_EQ(hak_heap_destroy(heaps[h]), 0);
  }
  hak_option_set(HAK_OPTION_HEAP_CACHE_AFTER, 8);
  CHECK_EQ(test_live_blocks(), before);
}

/* ---- threads ------------------------------------------------------------------ */

typedef struct job {
  hak_heap_t *heap;
  void **blocks;
  size_t count;
} job_t;

static void *free_all(void *arg) {
  job_t *job = arg;
  for (size_t i = 0; i < job->count; i++) hak_free(job->blocks[i]);
  return NULL;
}

static void *alloc_all(void *arg) {
  job_t *job = arg;
  for (size_t i = 0; i < job->count; i++) {
    job->blocks[i] = hak_heap_alloc(job->heap, 16 + i % 600);
    CHECK(job->blocks[i] != NULL);
  }
  return NULL;
}

static void threads__allocate_and_free_in_one_heap(void **state) {
  (void)state;
  static void *blocks[30000];
  hak_heap_t *heap = test_heap(0, "shared", NULL);
  job_t job = {heap, blocks, TEST_COUNT(blocks)};
  for (int round = 0; round < 3; round++) {
    test_thread_run(alloc_all, &job);
    test_thread_run(free_all, &job);
    CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
    test_thread_run(alloc_all, &job);
    free_all(&job);
    alloc_all(&job);
    test_thread_run(free_all, &job);
  }
  alloc_all(&job);
  CHECK_EQ(hak_heap_release(heap), 0);
  test_thread_run(free_all, &job);
  CHECK_EQ(hak_check(NULL), 0);
}

static void release__last_frees_of_other_threads_give_the_memory_back(void **state) {
  (void)state;
  static void *blocks[3000];
  for (int round = 0; round < 50; round++) {
    hak_heap_t *heap = test_heap(0, NULL, NULL);
    job_t job = {heap, blocks, TEST_COUNT(blocks)};
    test_thread_run(alloc_all, &job);
    uint64_t superslabs = test_stats().superslabs;
    CHECK_EQ(hak_heap_release(heap), 0);
    test_thread_run(free_all, &job);
    CHECK(test_stats().superslabs < superslabs);
  }
}

TEST_MAIN(T(alloc__blocks_of_all_tiers_are_the_heaps),
          T(alloc__every_entry_point_takes_a_heap),
          T(alloc_at__takes_first_what_was_freed_last),
          T(alloc__absurd_sizes_and_alignments_are_refused),
          T(no_grow__of_a_heap_never_calls_the_system),
          T(visit__shows_the_heaps_blocks_and_no_others), T(visit_heaps__shows_live_ones),
          T(stats__cover_heaps_below), T(many__ten_thousand_live_heaps_cost_little),
          T(many__heaps_without_slots_work_and_slots_pass_on),
          T(threads__allocate_and_free_in_one_heap),
          T(release__last_frees_of_other_threads_give_the_memory_back))
