/* heaps.c - heaps that come and go under threads that end, go idle and collect.
 *
 * A few workers allocate from heaps that all of them share, free each other's
 * blocks, and check every byte. At the end of a round they stop using the round's
 * heap, and while one of them destroys, resets or releases it the others do what is
 * allowed at that moment: end, go idle, collect, use other heaps. A few workers are
 * born anew each round. In the end nothing is live.
 *
 * Arguments: rounds, threads.
 */
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
  THREADS_MAX = 64,
  SHARED = 64,
  HARD_LIMIT = 1 << 30,
  OWN = 48
};

static size_t g_rounds, g_threads;
static hak_heap_t *g_heap, *g_lasting, *g_limited;
static _Atomic(unsigned char *) g_shared[SHARED];
static pthread_barrier_t g_barrier;

static size_t size_of(const unsigned char *block) {
  return block[0] | (size_t)block[1] << 8 | (size_t)block[2] << 16;
}

static unsigned char *alloc_from(hak_heap_t *heap, test_rng_t *rng) {
  size_t size = 3 + test_random_size(rng, 200000);
  unsigned char *block = hak_heap_alloc(heap, size);
  CHECK(block != NULL);
  test_fill(block, size, size);
  block[0] = (unsigned char)size;
  block[1] = (unsigned char)(size >> 8);
  block[2] = (unsigned char)(size >> 16);
  return block;
}

static void check_and_free(unsigned char *block) {
  static const unsigned char first[3];
  if (block == NULL) return;
  size_t size = size_of(block);
  unsigned char expected[8] = {0};
  test_fill(expected, sizeof expected < size ? sizeof expected : size, size);
  for (size_t i = sizeof first; i < sizeof expected && i < size; i++) {
    CHECK_EQ(block[i], expected[i]);
  }
  hak_free(block);
}

static void use(hak_heap_t *heap, test_rng_t *rng, size_t steps) {
  unsigned char *own[OWN] = {NULL};
  for (size_t i = 0; i < steps; i++) {
    size_t at = test_below(rng, OWN);
    check_and_free(own[at]);
    own[at] = alloc_from(heap, rng);
    if (i % 4 == 0) {
      size_t slot = test_below(rng, SHARED);
      own[at] = atomic_exchange(&g_shared[slot], own[at]);
    }
  }
  for (size_t i = 0; i < OWN; i++) check_and_free(own[i]);
}

/* More than is ever used, of which the heap touches what it needs. */
static char *g_memory;
#define MEMORY_SIZE ((size_t)1 << 30)

/* Every second heap has a limit, or is part of one that has: more than is ever used.
 * Some lie in the program's own memory, unless threads that sleep still have some of the
 * heap before. */
static hak_heap_t *make(size_t round) {
  hak_heap_config_t config = {.struct_size = sizeof config};
  if (round % 3 == 1) {
    hak_heap_t *heap = test_heap_in(g_memory, MEMORY_SIZE, 0, NULL);
    if (heap != NULL) return heap;
  }
  if (round % 2 == 0) config.hard_limit = HARD_LIMIT;
  if (round % 4 == 2) config.parent = g_limited;
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  return heap;
}

static void take_down(size_t round) {
  hak_heap_t *heap = g_heap;
  switch (round % 4) {
    case 0:
      CHECK_EQ(hak_heap_reset(heap), 0);
      CHECK(hak_heap_alloc(heap, 100) != NULL);
      CHECK_EQ(hak_heap_destroy(heap), 0);
      break;
    case 1:
      CHECK_EQ(hak_heap_release(heap), 0);
      for (size_t i = 0; i < SHARED; i++) {
        check_and_free(atomic_exchange(&g_shared[i], NULL));
      }
      break;
    default:
      CHECK_EQ(hak_heap_destroy(heap), 0);
      break;
  }
  if (round % 4 != 1) {
    for (size_t i = 0; i < SHARED; i++) atomic_store(&g_shared[i], NULL);
  }
  g_heap = make(round);
}

/* What a thread may do while a heap that it has used goes. */
static void do_no_harm(test_rng_t *rng) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  switch (test_below(rng, 5)) {
    case 3:
      CHECK_EQ(hak_stats_get(NULL, &stats), 0);
      CHECK_EQ(hak_stats_get(g_lasting, &stats), 0);
      break;
    case 0:
      hak_thread_idle();
      break;
    case 1:
      hak_collect(NULL, 1 << 20, 0);
      break;
    case 2:
      hak_thread_exit();
      break;
    default: {
      void *block = hak_heap_alloc(g_lasting, 1 + test_below(rng, 5000));
      CHECK(block != NULL);
      hak_free(block);
    }
  }
}

typedef struct worker {
  size_t index, first, last; /* rounds */
} worker_t;

static void *work(void *arg) {
  worker_t *worker = arg;
  test_rng_t rng = test_rng(test_seed(), worker->index * 1000003 + worker->first);
  for (size_t round = worker->first; round < worker->last; round++) {
    use(g_heap, &rng, 60 + test_below(&rng, 60));
    pthread_barrier_wait(&g_barrier);
    if (worker->index == round % g_threads) {
      take_down(round);
    } else {
      for (int i = 0; i < 4; i++) do_no_harm(&rng);
    }
    /* In the last round the end of a thread runs beside the teardown. */
    if (round + 1 < worker->last) pthread_barrier_wait(&g_barrier);
  }
  return NULL;
}

static void rounds__leave_nothing_behind(void **state) {
  (void)state;
  uint64_t blocks = test_live_blocks();
  g_limited = make(0);
  g_heap = make(0);
  g_lasting = hak_heap_create(NULL);
  enum {
    SPAN = 8
  };
  for (size_t first = 0; first < g_rounds; first += SPAN) {
    pthread_t threads[THREADS_MAX];
    worker_t workers[THREADS_MAX];
    for (size_t i = 0; i < g_threads; i++) {
      workers[i] = (worker_t){i, first, first + SPAN};
      CHECK_EQ(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    test_threads_end(threads, g_threads);
    CHECK_EQ(hak_check(NULL), 0);
  }
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
  CHECK_EQ(hak_heap_destroy(g_lasting), 0);
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_heap_stats(g_limited).committed_bytes, 0);
  CHECK_EQ(hak_heap_destroy(g_limited), 0);
  CHECK_EQ(test_live_blocks(), blocks);
}

int main(int argc, char **argv) {
  test_begin();
  test_start();
  g_rounds = test_argument(argc, argv, 1, test_scale(800));
  g_threads = test_argument(argc, argv, 2, 4);
  CHECK(g_threads >= 2 && g_threads <= THREADS_MAX);
  pthread_barrier_init(&g_barrier, NULL, (unsigned)g_threads);
  g_memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(g_memory != MAP_FAILED);
  const struct CMUnitTest tests[] = {T(rounds__leave_nothing_behind)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
