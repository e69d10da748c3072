/* serial.c - serial heaps that pass from thread to thread, beside all that may go on
 * at the same time.
 *
 * Each heap stands on a table of blocks with a lock. Workers take a table, do some
 * allocations, frees and resizes there, every byte checked, and leave it to whoever
 * comes next; now and then a heap is reset, destroyed or released and made anew. In
 * between they use the default heap, go idle, end, collect, and read statistics.
 * Released blocks are freed without any order. In the end nothing is live.
 *
 * Arguments: turns of each worker, threads.
 */
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
  THREADS_MAX = 64,
  TABLES = 6,
  BLOCKS = 400,
  LOOSE = 256 /* blocks that released heaps have left */
};

typedef struct entry {
  unsigned char *block;
  size_t size;
} entry_t;

typedef struct table {
  pthread_mutex_t lock;
  hak_heap_t *heap;
  entry_t entries[BLOCKS];
} table_t;

static size_t g_turns, g_threads;
static table_t g_tables[TABLES];
static _Atomic(unsigned char *) g_loose[LOOSE];

static hak_heap_t *make(void) {
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = HAK_HEAP_SERIAL};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  return heap;
}

static void fill(entry_t *entry, unsigned char *block, size_t size) {
  CHECK(block != NULL);
  *entry = (entry_t){block, size};
  test_fill(block, size, size);
}

static void verify(const entry_t *entry) {
  CHECK(test_verify(entry->block, entry->size, entry->size));
}

static void step(table_t *table, test_rng_t *rng) {
  entry_t *entry = &table->entries[test_below(rng, BLOCKS)];
  size_t size = 1 + test_random_size(rng, 150000);
  if (entry->block == NULL) {
    bool zero = test_below(rng, 5) == 0;
    unsigned char *block =
        zero ? hak_heap_calloc(table->heap, 1, size) : hak_heap_alloc(table->heap, size);
    CHECK(block != NULL && (!zero || test_is_zero(block, size)));
    fill(entry, block, size);
    return;
  }
  verify(entry);
  switch (test_below(rng, 8)) {
    case 0:
      fill(entry, hak_realloc(entry->block, size), size);
      CHECK(hak_heap_of(entry->block) == table->heap);
      return;
    case 1:
      hak_free(entry->block);
      break;
    default:
      hak_heap_free(table->heap, entry->block);
  }
  entry->block = NULL;
}

/* The heap ends, one way or another; its blocks go, or become everybody's. */
static void turn_over(table_t *table, test_rng_t *rng) {
  uint64_t way = test_below(rng, 3);
  if (way == 0) CHECK_EQ(hak_heap_reset(table->heap), 0);
  if (way == 1) CHECK_EQ(hak_heap_destroy(table->heap), 0);
  if (way == 2) {
    CHECK_EQ(hak_heap_release(table->heap), 0);
    for (size_t i = 0; i < BLOCKS; i++) {
      entry_t *entry = &table->entries[i];
      if (entry->block == NULL) continue;
      verify(entry);
      hak_free(atomic_exchange(&g_loose[test_below(rng, LOOSE)], entry->block));
    }
  }
  for (size_t i = 0; i < BLOCKS; i++) table->entries[i].block = NULL;
  if (way != 0) table->heap = make();
}

static void do_no_harm(test_rng_t *rng) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  switch (test_below(rng, 24)) {
    case 0:
      hak_thread_idle();
      break;
    case 1:
      hak_collect(NULL, 1 << 20, 0);
      break;
    case 2:
      hak_thread_exit();
      break;
    case 3:
      CHECK_EQ(hak_stats_get(NULL, &stats), 0);
      break;
    case 4:
      CHECK_EQ(hak_check(NULL), 0);
      break;
    default: {
      void *block = hak_alloc(1 + test_below(rng, 5000));
      CHECK(block != NULL);
      hak_free(atomic_exchange(&g_loose[test_below(rng, LOOSE)], block));
    }
  }
}

static void *work(void *arg) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)arg);
  for (size_t turn = 0; turn < g_turns; turn++) {
    table_t *table = &g_tables[test_below(&rng, TABLES)];
    pthread_mutex_lock(&table->lock);
    for (uint64_t steps = test_below(&rng, 60); steps > 0; steps--) step(table, &rng);
    if (test_below(&rng, 64) == 0) CHECK_EQ(hak_check(table->heap), 0);
    if (test_below(&rng, 128) == 0) hak_collect(table->heap, SIZE_MAX, HAK_COLLECT_ALL);
    if (test_below(&rng, 128) == 0) turn_over(table, &rng);
    pthread_mutex_unlock(&table->lock);
    do_no_harm(&rng);
  }
  return NULL;
}

static void turns__leave_nothing_behind(void **state) {
  (void)state;
  uint64_t before = test_live_blocks();
  for (size_t t = 0; t < TABLES; t++) {
    CHECK_EQ(pthread_mutex_init(&g_tables[t].lock, NULL), 0);
    g_tables[t].heap = make();
  }
  pthread_t threads[THREADS_MAX];
  test_threads_begin_numbered(threads, g_threads, work);
  test_threads_end(threads, g_threads);
  for (size_t t = 0; t < TABLES; t++) {
    table_t *table = &g_tables[t];
    CHECK_EQ(hak_check(table->heap), 0);
    for (size_t i = 0; i < BLOCKS; i++) {
      if (table->entries[i].block == NULL) continue;
      verify(&table->entries[i]);
      hak_heap_free(table->heap, table->entries[i].block);
    }
    hak_collect(table->heap, SIZE_MAX, HAK_COLLECT_ALL);
    CHECK_EQ(test_heap_stats(table->heap).live_blocks, 0);
    CHECK_EQ(hak_heap_destroy(table->heap), 0);
  }
  for (size_t i = 0; i < LOOSE; i++) hak_free(atomic_exchange(&g_loose[i], NULL));
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), before);
}

int main(int argc, char **argv) {
  test_begin();
  test_start();
  g_turns = test_argument(argc, argv, 1, test_scale(6000));
  g_threads = test_argument(argc, argv, 2, 4);
  CHECK(g_threads >= 2 && g_threads <= THREADS_MAX);
  const struct CMUnitTest tests[] = {T(turns__leave_nothing_behind)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
