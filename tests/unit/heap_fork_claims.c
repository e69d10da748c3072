/* heap_fork_claims.c - a fork finds threads between claiming a large block and giving its
 * memory back: in the child the block is gone, and its memory serves on. */
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>

#include "child.h"
#include "heap/kind.h"
#include "heap/thread.h"
#include "pool/large.h"
#include "superslab/huge.h"
#include "superslab/locate.h"

static const size_t g_sizes[] = {300 * KIB, 5 * MIB, 40 * MIB};

enum {
  KINDS = sizeof g_sizes / sizeof *g_sizes
};

static char *g_blocks[KINDS];
static pthread_barrier_t g_claimed, g_forked;

static void *claim(void *arg) {
  hak_place_t place = hak_locate((uintptr_t)arg);
  hak_thread_t *me = hak_thread_enter();
  CHECK(me != NULL && hak_large_claim(&place));
  pthread_barrier_wait(&g_claimed);
  pthread_barrier_wait(&g_forked);
  size_t usable = hak_large_usable(&place);
  hak_thread_count_large(me, -1, -(int64_t)usable);
  hak_large_free(&hak_heap_of_extent(place.extent)->store->pool, &place);
  hak_thread_leave(me, "hak_free");
  return NULL;
}

static void check_gone(hak_heap_t *heap, char *const *blocks) {
  CHECK_EQ(hak_check(NULL), 0);
  CHECK(hak_kind_is_empty(hak_heap_record(heap)));
  for (int i = 0; i < KINDS; i++) CHECK(hak_heap_of(blocks[i]) == NULL);
  CHECK_EQ(test_heap_stats(heap).large_blocks, 0);
}

static int child_of(void *ctx) {
  hak_heap_t *heap = ctx;
  check_gone(heap, g_blocks);
  for (int i = 0; i < KINDS; i++) {
    char *block = hak_heap_calloc(heap, 1, g_sizes[i]);
    CHECK(block != NULL && test_is_zero(block, g_sizes[i]));
    test_fill_sparse(block, g_sizes[i], 3);
    CHECK(test_verify_sparse(block, g_sizes[i], 3));
    hak_free(block);
  }
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void fork__amid_frees_of_large_blocks_brings_them_to_their_end(void **state) {
  (void)state;
  CHECK_EQ(pthread_barrier_init(&g_claimed, NULL, KINDS + 1), 0);
  CHECK_EQ(pthread_barrier_init(&g_forked, NULL, KINDS + 1), 0);
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  pthread_t threads[KINDS];
  for (int i = 0; i < KINDS; i++) {
    g_blocks[i] = hak_heap_calloc(heap, 1, g_sizes[i]);
    CHECK(g_blocks[i] != NULL);
    CHECK_EQ(pthread_create(&threads[i], NULL, claim, g_blocks[i]), 0);
  }
  pthread_barrier_wait(&g_claimed);
  test_child_must_succeed(child_of, heap, 60);
  pthread_barrier_wait(&g_forked);
  test_threads_end(threads, KINDS);
  check_gone(heap, g_blocks);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* --- records of external heaps ------------------------------------------------------ */

static char g_memory[512 * KIB];

static hak_heap_t *external_heap(void) {
  hak_heap_config_t config = {
      .struct_size = sizeof config, .memory = g_memory, .memory_size = sizeof g_memory};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  return heap;
}

static int finish_child(void *ctx) {
  hak_heap_t *record = ctx;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK(hak_load_relaxed(&record->external) == NULL);
  /* The memory is the program's again, and serves another heap. */
  hak_heap_t *heap = external_heap();
  void *block = hak_heap_alloc(heap, 1000);
  CHECK(block != NULL);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

/* What a thread does that ends an external heap, up to where it waits for a lock that a
 * fork has. */
static void begin_end(hak_heap_t *record, bool ends) {
  hak_external_heap_t *external = hak_heap_external(record);
  if (ends) {
    CHECK_EQ(hak_heap_retire_handle(record, hak_heap_handle(record)), 0);
  } else {
    hak_store_relaxed(&record->resetting, 1);
  }
  hak_store_relaxed(&record->external, NULL);
  hak_external_close(external);
}

static int lost_child(void *ctx) {
  hak_heap_t *record = hak_heap_record(external_heap());
  begin_end(record, *(const bool *)ctx);
  CHECK_EQ(hak_check(NULL), 0); /* others may look at it meanwhile */
  test_child_must_succeed(finish_child, record, 60);
  return 0;
}

static void fork__amid_the_end_of_an_external_heap_brings_it_to_its_end(void **state) {
  (void)state;
  bool ends = true;
  test_child_must_succeed(lost_child, &ends, 60);
}

static void fork__amid_a_reset_of_an_external_heap_that_ends_leaves_it(void **state) {
  (void)state;
  bool ends = false;
  test_child_must_succeed(lost_child, &ends, 60);
}

/* --- records of regions --------------------------------------------------------------
 */

enum {
  RUNS = 8 /* more than lie in a region */
};

static _Atomic bool g_waits;

void __real_hak_huge_begin_region(hak_region_t *region, const hak_os_t *os);
void __wrap_hak_huge_begin_region(hak_region_t *region, const hak_os_t *os);
/* The range stands in the region's record, which is not added yet. */
void __wrap_hak_huge_begin_region(hak_region_t *region, const hak_os_t *os) {
  __real_hak_huge_begin_region(region, os);
  if (!atomic_exchange(&g_waits, false)) return;
  CHECK(region->reviving && region->os == NULL);
  pthread_barrier_wait(&g_claimed);
  pthread_barrier_wait(&g_forked);
}

static void *take_regions(void *ctx) {
  void *blocks[RUNS];
  (void)ctx;
  for (int i = 0; i < RUNS; i++) {
    blocks[i] = hak_alloc(20 * MIB);
    CHECK(blocks[i] != NULL);
  }
  for (int i = 0; i < RUNS; i++) hak_free(blocks[i]);
  return NULL;
}

static int stop_child(void *ctx) {
  (void)ctx;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  (void)take_regions(NULL);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void shutdown__after_a_fork_amid_the_making_of_a_region(void **state) {
  (void)state;
  CHECK_EQ(pthread_barrier_init(&g_claimed, NULL, 2), 0);
  CHECK_EQ(pthread_barrier_init(&g_forked, NULL, 2), 0);
  (void)take_regions(NULL);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); /* leaves empty records */
  g_waits = true;
  pthread_t thread;
  test_threads_begin(&thread, 1, take_regions, NULL);
  pthread_barrier_wait(&g_claimed);
  test_child_must_succeed(stop_child, NULL, 60);
  pthread_barrier_wait(&g_forked);
  test_threads_end(&thread, 1);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN(T(fork__amid_frees_of_large_blocks_brings_them_to_their_end),
          T(fork__amid_the_end_of_an_external_heap_brings_it_to_its_end),
          T(fork__amid_a_reset_of_an_external_heap_that_ends_leaves_it),
          T(shutdown__after_a_fork_amid_the_making_of_a_region))
