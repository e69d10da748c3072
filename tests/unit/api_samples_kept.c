/* api_samples_kept.c - a few freed samples of each class are kept for the next ones, so
 * that most take no block off a slab, begin none and end none; and what is kept is free
 * to the program. */
#include "child.h"
#include "os_fixture.h"
#include "threads.h"

#include <pthread.h>
#include <unistd.h>

#include "heap/heap.h"
#include "learn/sample.h"
#include "tiny/canary.h"

enum {
  KEPT_MOST = 16384, /* bytes of a block that is kept */
  DECAY_MS = 1000
};

HAK_SITE(place);

static int start(void **state) {
  (void)state;
  test_over_os(0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  return 0;
}
static int end(void **state) {
  (void)state;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK(hak_samples_are_valid());
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 262144), 0);
  test_over_os_end();
  return 0;
}

/* The address is that of no block any more. */
static char *come_and_go(size_t size) {
  char *block = hak_alloc_at(size, &place);
  CHECK(block != NULL);
  test_fill_sparse(block, size, size);
  hak_free(block);
  return block;
}

static void come_and_go_of_all_sizes(void) {
  for (size_t size = 8; size <= 32768; size += size / 8 + 8) (void)come_and_go(size);
}

/* SuperSlabs of the default heap's samples. */
static uint64_t superslabs(void) {
  hak_heap_t *samples = hak_heap_samples(hak_heap_get_default());
  return hak_load_relaxed(&samples->store->pool.superslabs);
}

/* Slots that have blocks, be they kept. */
static uint64_t slots(void) {
  hak_heap_t *samples = hak_heap_samples(hak_heap_get_default());
  return hak_load_relaxed(&samples->store->pool.taken);
}

static bool count_visited(const hak_block_t *block, void *ctx) {
  (void)block;
  ++*(int *)ctx;
  return true;
}

static void sample__that_goes_leaves_its_slab_to_the_next(void **state) {
  (void)state;
  for (size_t size = 16; size + HAK_CANARY_BYTES <= KEPT_MOST; size *= 2) {
    char *first = come_and_go(size);
    uint64_t before = test_stats().slab_fresh;
    for (int i = 0; i < 100; i++) CHECK(come_and_go(size) == first);
    CHECK_EQ(test_stats().slab_fresh, before);
  }
}

static uint64_t cached(void) { return test_heap_stats(hak_heap_default()).cached_bytes; }

static void few_samples__of_a_size_are_kept_and_no_more(void **state) {
  (void)state;
  enum {
    MANY = 40
  };
  (void)come_and_go(100);
  uint64_t one = cached();
  char *blocks[MANY];
  for (int i = 0; i < MANY; i++) CHECK((blocks[i] = hak_alloc_at(100, &place)) != NULL);
  CHECK(cached() < one);
  for (int i = 0; i < 4; i++) hak_free(blocks[i]);
  CHECK(cached() >= one + 3 * 100);
  for (int i = 4; i < MANY; i++) hak_free(blocks[i]);
  CHECK(cached() >= one + 3 * 100 && cached() < one + 10 * 100);
  char *again[4];
  for (int i = 3; i >= 0; i--) CHECK((again[i] = hak_alloc_at(100, &place)) != NULL);
  for (int i = 0; i < 4; i++) hak_free(again[i]);
}

static void kept_blocks__are_free_to_the_program(void **state) {
  (void)state;
  uint64_t live = test_live_blocks(), bytes = test_live_bytes();
  come_and_go_of_all_sizes();
  CHECK(superslabs() > 0);
  CHECK_EQ(test_live_blocks(), live);
  CHECK_EQ(test_live_bytes(), bytes);
  CHECK(test_heap_stats(hak_heap_default()).cached_bytes > 0);
  int visited = 0;
  CHECK_EQ(hak_heap_visit(NULL, count_visited, &visited, 0), 0);
  CHECK_EQ(visited, 0);
  CHECK_EQ(hak_check(NULL), 0);
}

static void two_samples__have_two_blocks(void **state) {
  (void)state;
  (void)come_and_go(100);
  char *first = hak_alloc_at(100, &place), *second = hak_alloc_at(100, &place);
  CHECK(first != NULL && second != NULL && first != second);
  hak_free(first);
  hak_free(second);
  char *third = hak_alloc_at(100, &place);
  CHECK(third == first || third == second);
  hak_free(third);
}

static void collect__gives_back_what_is_kept(void **state) {
  (void)state;
  come_and_go_of_all_sizes();
  CHECK(superslabs() > 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(superslabs(), 0);
  come_and_go_of_all_sizes();
  (void)hak_collect(hak_heap_default(), SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(superslabs(), 0);
}

static void limit__of_the_heap_has_what_is_kept(void **state) {
  (void)state;
  come_and_go_of_all_sizes();
  CHECK(superslabs() > 0);
  uint64_t limit = test_heap_stats(hak_heap_default()).committed_bytes + MIB;
  CHECK_EQ(hak_heap_set_limits(NULL, 0, limit), 0);
  void *first = NULL;
  for (void **block; (block = hak_alloc(2000)) != NULL; first = block) *block = first;
  CHECK_EQ(superslabs(), 0);
  CHECK(test_heap_stats(hak_heap_default()).committed_bytes <= limit);
  while (first != NULL) {
    void *next = *(void **)first;
    hak_free(first);
    first = next;
  }
  CHECK_EQ(hak_heap_set_limits(NULL, 0, 0), 0);
}

/* While the thread goes on with other things. */
static void decay__gives_back_what_is_kept(void **state) {
  (void)state;
  enum {
    BLOCKS = 20000,
    STEPS_MOST = 4000
  };
  static void *blocks[BLOCKS];
  int64_t decay = hak_option_get(HAK_OPTION_PURGE_DECAY_MS);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS), 0);
  come_and_go_of_all_sizes();
  CHECK(superslabs() > 0);
  int steps = 0;
  for (; steps < STEPS_MOST && superslabs() > 0; steps++) {
    if (steps % 200 == 0) { /* there is idle memory, which threads look for */
      for (int i = 0; i < BLOCKS; i++) CHECK((blocks[i] = hak_alloc(1000)) != NULL);
      for (int i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
    }
    for (int i = 0; i < 500; i++) CHECK((blocks[i] = hak_alloc(40)) != NULL);
    for (int i = 0; i < 500; i++) hak_free(blocks[i]);
    test_os_advance_ms(&g_os, DECAY_MS / 64);
  }
  CHECK_MSG(superslabs() == 0, "after %d steps", steps);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, decay), 0);
}

static void second_free__of_a_kept_block_is_named(void **state) {
  (void)state;
  for (size_t size = 16; size <= KEPT_MOST; size *= 4) {
    void *block = hak_alloc_at(size, &place);
    hak_free(block);
    test_reports_begin();
    hak_free(block);
    test_reports_end_at(HAK_ERROR_DOUBLE_FREE, block);
    CHECK_EQ(hak_check(NULL), 0);
    void *next = hak_alloc_at(size, &place), *other = hak_alloc_at(size, &place);
    CHECK(next != NULL && other != NULL && next != other);
    void *both[] = {next, other};
    for (int i = 0; i < 2; i++) hak_free(both[i]);
    for (int i = 0; i < 2; i++) {
      test_reports_begin();
      hak_free(both[i]);
      test_reports_end_at(HAK_ERROR_DOUBLE_FREE, both[i]);
    }
  }
}

/* Heaps of the program's end with their last block. */
static void other_heaps__keep_none(void **state) {
  (void)state;
  hak_heap_t *heap = hak_heap_create(NULL);
  void *block = hak_allocx(heap, 100, 0, 0, &place);
  CHECK_EQ(hak_heap_release(heap), 0);
  uint64_t superslabs_before = test_stats().superslabs;
  hak_free(block);
  CHECK(test_stats().superslabs < superslabs_before);
}

/* What is kept is free in the child of a fork, too, and goes as elsewhere. */
static void fork__child_has_what_is_kept(void **state) {
  (void)state;
  come_and_go_of_all_sizes();
  uint64_t before = cached();
  CHECK(before > 2 * KEPT_MOST);
  pid_t child = test_fork();
  if (child == 0) {
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(test_live_blocks(), 0);
    CHECK_EQ(cached(), before);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    CHECK_EQ(superslabs(), 0);
    _exit(0);
  }
  test_fork_end(child);
}

/* Up to 16 KiB, wherever they lie: with a slab of their size, or a span to themselves. */
static void kept_blocks__are_of_all_sizes_to_16_kib(void **state) {
  (void)state;
  for (size_t size = 1000; size + HAK_CANARY_BYTES <= KEPT_MOST; size += 1000) {
    (void)come_and_go(size);
    CHECK_MSG(slots() > 0, "%zu bytes", size);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    CHECK_EQ(slots(), 0);
  }
  (void)come_and_go(KEPT_MOST + 1);
  CHECK_EQ(slots(), 0);
}

static void *come_and_go_thread(void *unused) {
  (void)unused;
  for (int i = 0; i < 300; i++) come_and_go_of_all_sizes();
  return NULL;
}

static void threads__keep_blocks_side_by_side(void **state) {
  (void)state;
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, come_and_go_thread, NULL), 0);
  }
  for (int i = 0; i < 50; i++) {
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    come_and_go_of_all_sizes();
  }
  for (int i = 0; i < 3; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
}

#define S(function) cmocka_unit_test_setup_teardown(function, start, end)

TEST_MAIN_FRESH(S(sample__that_goes_leaves_its_slab_to_the_next),
                S(few_samples__of_a_size_are_kept_and_no_more),
                S(kept_blocks__are_free_to_the_program), S(two_samples__have_two_blocks),
                S(collect__gives_back_what_is_kept),
                S(limit__of_the_heap_has_what_is_kept), S(decay__gives_back_what_is_kept),
                S(second_free__of_a_kept_block_is_named), S(other_heaps__keep_none),
                S(fork__child_has_what_is_kept),
                S(kept_blocks__are_of_all_sizes_to_16_kib),
                S(threads__keep_blocks_side_by_side))
