/* api_visit.c - hak_heap_visit shows every block, whatever it lies in, and agrees with
 * the statistics: blocks in slabs, in spans that grew, runs, mappings, and what a
 * released heap left behind. */
#include "support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
  MOST = 512
};

typedef struct seen {
  const void *blocks[MOST];
  size_t sizes[MOST];
  size_t count, stop_at;
  hak_heap_t *heap;
} seen_t;

static bool see(const hak_block_t *block, void *ctx) {
  seen_t *seen = ctx;
  CHECK(block->heap == seen->heap && block->is_start && seen->count < MOST);
  seen->blocks[seen->count] = block->address;
  seen->sizes[seen->count++] = block->size;
  return seen->count != seen->stop_at;
}

static size_t find(const seen_t *seen, const void *block) {
  size_t at = MOST;
  for (size_t i = 0; i < seen->count; i++) {
    if (seen->blocks[i] != block) continue;
    CHECK_EQ(at, MOST); /* shown twice */
    at = i;
  }
  return at;
}

static hak_heap_t *make(hak_heap_t *parent) { return test_heap(0, NULL, parent); }

/* Sizes of every tier; zeroed ones to 1 MiB lie in spans rather than in classes. */
static const size_t sizes[] = {16,     1000,    30000,    70000,
                               900000, 3 << 20, 20 << 20, 70 << 20};

static size_t fill(hak_heap_t *heap, void **blocks) {
  size_t count = 0;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    blocks[count++] = hak_heap_alloc(heap, sizes[i]);
    blocks[count++] = hak_heap_calloc(heap, 1, sizes[i]);
    blocks[count++] = hak_heap_aligned_alloc(heap, 4096, sizes[i]);
    void *grown = hak_heap_alloc(heap, sizes[i] / 2);
    blocks[count++] = hak_realloc(grown, sizes[i]);
  }
  for (size_t i = 0; i < count; i++) CHECK(blocks[i] != NULL);
  return count;
}

static void check_seen(const seen_t *seen, void *const *blocks, size_t count) {
  uint64_t bytes = 0;
  CHECK_EQ(seen->count, count);
  for (size_t i = 0; i < count; i++) {
    size_t at = find(seen, blocks[i]);
    CHECK_MSG(at < MOST, "block %zu of %zu bytes is not shown", i,
              hak_usable_size(blocks[i]));
    CHECK_EQ(seen->sizes[at], hak_usable_size(blocks[i]));
    bytes += seen->sizes[at];
  }
  hak_stats_t stats = test_heap_stats(seen->heap);
  CHECK_EQ(stats.live_blocks, count);
  CHECK_EQ(stats.live_bytes, bytes);
}

static void visit__shows_blocks_of_every_kind_once(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  void *blocks[MOST];
  size_t count = fill(heap, blocks);
  seen_t seen = {.heap = heap};
  CHECK_EQ(hak_heap_visit(heap, see, &seen, 0), 0);
  check_seen(&seen, blocks, count);

  for (size_t i = 0; i < count; i += 2) hak_free(blocks[i]);
  for (size_t i = 0; i < count / 2; i++) blocks[i] = blocks[2 * i + 1];
  memset(&seen, 0, sizeof seen);
  seen.heap = heap;
  CHECK_EQ(hak_heap_visit(heap, see, &seen, 0), 0);
  check_seen(&seen, blocks, count / 2);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void visit__ends_at_any_block_that_it_is_told_to(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  void *blocks[MOST];
  size_t count = fill(heap, blocks);
  for (size_t stop = 1; stop <= count; stop++) {
    seen_t seen = {.heap = heap, .stop_at = stop};
    CHECK_EQ(hak_heap_visit(heap, see, &seen, 0), 0);
    CHECK_EQ(seen.count, stop);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void visit__shows_what_a_released_heap_left_as_the_parents(void **state) {
  (void)state;
  hak_heap_t *parent = make(NULL), *child = make(parent), *grandchild = make(child);
  void *blocks[MOST];
  size_t count = fill(parent, blocks);
  count += fill(child, blocks + count);
  count += fill(grandchild, blocks + count);
  CHECK_EQ(hak_heap_release(grandchild), 0);
  CHECK_EQ(hak_heap_release(child), 0);
  seen_t seen = {.heap = parent};
  CHECK_EQ(hak_heap_visit(parent, see, &seen, 0), 0);
  check_seen(&seen, blocks, count);
  CHECK_EQ(hak_heap_destroy(parent), 0);
}

/* Those of another heap, or of one above, are not shown. */
static void visit__shows_what_a_released_heap_left_to_nobody_else(void **state) {
  (void)state;
  hak_heap_t *top = make(NULL), *parent = make(top), *other = make(NULL);
  hak_heap_t *child = make(parent);
  void *block = hak_heap_alloc(child, 100), *own = hak_heap_alloc(other, 100);
  CHECK(block != NULL && own != NULL);
  CHECK_EQ(hak_heap_release(child), 0);
  seen_t seen = {.heap = other};
  CHECK_EQ(hak_heap_visit(other, see, &seen, 0), 0);
  check_seen(&seen, &own, 1);
  seen = (seen_t){.heap = top};
  CHECK_EQ(hak_heap_visit(top, see, &seen, 0), 0);
  CHECK_EQ(seen.count, 0);
  seen = (seen_t){.heap = parent};
  CHECK_EQ(hak_heap_visit(parent, see, &seen, 0), 0);
  check_seen(&seen, &block, 1);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(parent), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
  CHECK_EQ(hak_heap_destroy(other), 0);
}

/* Large memory of the caller's has large blocks beside its slabs: a visit that ends at a
 * small one does not go on there. */
static void visit__ends_before_large_blocks_of_the_callers_memory(void **state) {
  (void)state;
  enum {
    BYTES = 16 << 20
  };
  char *memory = malloc(BYTES);
  hak_heap_t *heap = test_heap_in(memory, BYTES, 0, NULL);
  CHECK(heap != NULL);
  void *blocks[MOST];
  size_t count = 0;
  for (; count < 3; count++) blocks[count] = hak_heap_alloc(heap, 100);
  for (; count < 6; count++) blocks[count] = hak_heap_alloc(heap, 300 * KIB);
  for (size_t i = 0; i < count; i++) CHECK(blocks[i] != NULL);
  for (size_t stop = 1; stop <= count; stop++) {
    seen_t seen = {.heap = heap, .stop_at = stop};
    CHECK_EQ(hak_heap_visit(heap, see, &seen, 0), 0);
    CHECK_EQ(seen.count, stop);
  }
  seen_t seen = {.heap = heap};
  CHECK_EQ(hak_heap_visit(heap, see, &seen, 0), 0);
  check_seen(&seen, blocks, count);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  free(memory);
}

static pthread_barrier_t g_step;

static void *cache_and_wait(void *arg) {
  void *blocks[20];
  (void)arg;
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_alloc(200);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  pthread_barrier_wait(&g_step);
  pthread_barrier_wait(&g_step); /* the visit */
  return NULL;
}

static void visit__of_the_default_heap_shows_nothing_that_threads_cache(void **state) {
  (void)state;
  seen_t before = {.heap = hak_heap_default()};
  CHECK_EQ(hak_heap_visit(NULL, see, &before, 0), 0);
  pthread_t thread;
  CHECK_EQ(pthread_barrier_init(&g_step, NULL, 2), 0);
  CHECK_EQ(pthread_create(&thread, NULL, cache_and_wait, NULL), 0);
  pthread_barrier_wait(&g_step);
  seen_t seen = {.heap = hak_heap_default()};
  CHECK_EQ(hak_heap_visit(NULL, see, &seen, 0), 0);
  pthread_barrier_wait(&g_step);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  pthread_barrier_destroy(&g_step);
  CHECK_EQ(seen.count, before.count);
}

TEST_MAIN(T(visit__shows_blocks_of_every_kind_once),
          T(visit__ends_at_any_block_that_it_is_told_to),
          T(visit__shows_what_a_released_heap_left_as_the_parents),
          T(visit__shows_what_a_released_heap_left_to_nobody_else),
          T(visit__ends_before_large_blocks_of_the_callers_memory),
          T(visit__of_the_default_heap_shows_nothing_that_threads_cache))
