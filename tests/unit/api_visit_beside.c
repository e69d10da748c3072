/* api_visit_beside.c - hak_heap_visit and questions about addresses, beside other
 * threads: their caches stay theirs, their blocks stay in their heaps, nobody waits for
 * a visitor, and what is freed at this moment is never read. */
#include "support.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static double seconds(void) { return test_scale(100) / 100.0; }

typedef struct tally {
  size_t blocks, bytes;
} tally_t;

static bool count(const hak_block_t *block, void *ctx) {
  tally_t *tally = ctx;
  tally->blocks++;
  tally->bytes += block->size;
  return true;
}

static tally_t visit(hak_heap_t *heap) {
  tally_t tally = {0, 0};
  CHECK_EQ(hak_heap_visit(heap, count, &tally, 0), 0);
  return tally;
}

/* --- caches stay where they are --------------------------------------------------- */

enum {
  CACHED = 10,
  MOST = 1000
};

typedef struct cacher {
  hak_heap_t *heap;
  size_t size;
  void *freed[CACHED];
  pthread_barrier_t *step;
} cacher_t;

static void *cache_some(void *arg) {
  cacher_t *c = arg;
  for (int i = 0; i < CACHED; i++) {
    CHECK((c->freed[i] = hak_heap_alloc(c->heap, c->size)) != NULL);
    memset(c->freed[i], 1, 8);
  }
  for (int i = 0; i < CACHED; i++) hak_free(c->freed[i]);
  pthread_barrier_wait(c->step);
  pthread_barrier_wait(c->step); /* the visit */
  /* All of it is given again before the bin needs a slow path. */
  uint64_t slow = test_stats().slow_alloc;
  void *taken[MOST];
  size_t found = 0, count = 0;
  while (found < CACHED && count < MOST) {
    void *block = taken[count++] = hak_heap_alloc(c->heap, c->size);
    for (int k = 0; k < CACHED; k++) found += c->freed[k] == block;
  }
  CHECK_EQ(found, CACHED);
  CHECK_EQ(test_stats().slow_alloc, slow);
  while (count > 0) hak_free(taken[--count]);
  return NULL;
}

static void visit__leaves_what_other_threads_cached_with_them(void **state) {
  (void)state;
  static const size_t sizes[] = {16, 200, 1024, 3000};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    pthread_barrier_t step;
    pthread_barrier_init(&step, NULL, 2);
    cacher_t c = {.heap = test_heap(0, "quiet", NULL), .size = sizes[i], .step = &step};
    void *mine[3];
    for (int k = 0; k < 3; k++)
      CHECK((mine[k] = hak_heap_alloc(c.heap, sizes[i])) != NULL);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, cache_some, &c), 0);
    pthread_barrier_wait(&step);
    for (int k = 0; k < 3; k++) CHECK_EQ(visit(c.heap).blocks, 3);
    pthread_barrier_wait(&step);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(visit(c.heap).blocks, 3);
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(hak_heap_destroy(c.heap), 0);
    pthread_barrier_destroy(&step);
  }
}

/* --- threads at work elsewhere ------------------------------------------------------ */

typedef struct worker {
  hak_heap_t *quiet, *busy; /* busy NULL: the default heap */
  uint64_t salt;
  pthread_barrier_t *ready;
} worker_t;

static atomic_bool stop;

enum {
  HELD = 1000
};

static void *work(void *arg) {
  worker_t *w = arg;
  test_rng_t rng = test_rng(test_seed(), w->salt);
  /* It has used the heap that is quiet from now on, and has caches of it. */
  for (size_t size = 16; size < 70000; size *= 2)
    hak_free(hak_heap_alloc(w->quiet, size));
  pthread_barrier_wait(w->ready);
  static _Thread_local unsigned char *held[HELD];
  static _Thread_local size_t size[HELD];
  hak_heap_t *owner = w->busy == NULL ? hak_heap_default() : w->busy;
  while (!atomic_load(&stop)) {
    size_t at = test_below(&rng, HELD);
    if (held[at] != NULL) {
      CHECK(test_verify(held[at], size[at], w->salt ^ at));
      hak_free(held[at]);
      held[at] = NULL;
      continue;
    }
    size[at] = 1 + test_below(&rng, 2000);
    held[at] = w->busy == NULL ? hak_alloc(size[at]) : hak_heap_alloc(w->busy, size[at]);
    CHECK(held[at] != NULL && hak_heap_of(held[at]) == owner);
    test_fill(held[at], size[at], w->salt ^ at);
  }
  for (size_t at = 0; at < HELD; at++) hak_free(held[at]);
  return NULL;
}

static void visit_beside(hak_heap_t *busy) {
  enum {
    WORKERS = 2,
    BLOCKS = 500
  };
  hak_heap_t *quiet = test_heap(0, "quiet", NULL);
  for (int i = 0; i < BLOCKS; i++) CHECK(hak_heap_alloc(quiet, 100) != NULL);
  pthread_barrier_t ready;
  pthread_barrier_init(&ready, NULL, WORKERS + 1);
  worker_t w[WORKERS];
  pthread_t threads[WORKERS];
  atomic_store(&stop, false);
  test_reports_begin();
  for (int i = 0; i < WORKERS; i++) {
    w[i] = (worker_t){quiet, busy, (uint64_t)i * 7919 + 1, &ready};
    CHECK_EQ(pthread_create(&threads[i], NULL, work, &w[i]), 0);
  }
  pthread_barrier_wait(&ready);
  for (double end = test_seconds() + seconds(); test_seconds() < end;) {
    CHECK_EQ(visit(quiet).blocks, BLOCKS);
  }
  atomic_store(&stop, true);
  test_threads_end(threads, WORKERS);
  test_reports_end(0, 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(quiet), 0);
  pthread_barrier_destroy(&ready);
}

static void visit__beside_threads_at_work_on_another_heap(void **state) {
  (void)state;
  hak_heap_t *busy = test_heap(0, "busy", NULL);
  visit_beside(busy);
  CHECK_EQ(hak_heap_destroy(busy), 0);
}

static void visit__beside_threads_at_work_on_the_default_heap(void **state) {
  (void)state;
  visit_beside(NULL);
}

/* Threads that end, or go idle, are no users of the heap. */
static void *cache_and_end(void *arg) {
  pthread_barrier_t *ready = arg;
  void *blocks[64];
  for (int i = 0; i < 64; i++) blocks[i] = hak_alloc(40 + (size_t)i * 30);
  for (int i = 0; i < 64; i++) hak_free(blocks[i]);
  pthread_barrier_wait(ready);
  hak_thread_idle();
  return NULL;
}

static void visit__of_the_default_heap_beside_threads_that_end(void **state) {
  (void)state;
  enum {
    THREADS = 4
  };
  hak_thread_idle();
  size_t blocks = visit(NULL).blocks;
  for (size_t round = test_scale(100); round > 0; round--) {
    pthread_barrier_t ready;
    pthread_barrier_init(&ready, NULL, THREADS + 1);
    pthread_t threads[THREADS];
    test_threads_begin(threads, THREADS, cache_and_end, &ready);
    pthread_barrier_wait(&ready);
    CHECK_EQ(visit(NULL).blocks, blocks);
    test_threads_end(threads, THREADS);
    pthread_barrier_destroy(&ready);
  }
}

/* --- nobody waits for a visitor -------------------------------------------------------
 */

typedef struct meanwhile {
  atomic_bool visiting, done;
} meanwhile_t;

static void *use_every_tier(void *arg) {
  meanwhile_t *m = arg;
  static const size_t sizes[] = {100, 5000, 100000, 3 << 20, 40 << 20};
  hak_heap_t *heap = test_heap(0, "other", NULL);
  while (!atomic_load(&m->visiting)) usleep(100);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *block = hak_heap_alloc(heap, sizes[i]);
    CHECK(block != NULL);
    hak_free(block);
  }
  hak_thread_idle();
  CHECK_EQ(hak_heap_destroy(heap), 0);
  atomic_store(&m->done, true);
  return NULL;
}

static bool wait_for_the_other(const hak_block_t *block, void *ctx) {
  (void)block;
  meanwhile_t *m = ctx;
  atomic_store(&m->visiting, true);
  for (int i = 0; i < 30000 && !atomic_load(&m->done); i++) usleep(1000);
  return true;
}

static void visit__lets_others_use_every_tier_while_the_visitor_runs(void **state) {
  (void)state;
  static const size_t sizes[] = {100, 100000, 3 << 20, 40 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    hak_heap_t *heap = test_heap(0, "visited", NULL);
    CHECK(hak_heap_alloc(heap, sizes[i]) != NULL);
    meanwhile_t m = {false, false};
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, use_every_tier, &m), 0);
    CHECK_EQ(hak_heap_visit(heap, wait_for_the_other, &m, 0), 0);
    CHECK(atomic_load(&m.done));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

/* --- any address, at any moment --------------------------------------------------------
 */

static _Atomic(char *) asked;

static void *ask(void *arg) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)arg);
  while (!atomic_load(&stop)) {
    char *at = atomic_load(&asked) + test_below(&rng, 5 << 20);
    hak_block_t block = {.struct_size = sizeof block};
    int error = hak_ptr_info(at, &block);
    CHECK(error == 0 || error == ENOENT);
    if (error == 0) CHECK((char *)block.address <= at);
    (void)hak_heap_of(at);
  }
  return NULL;
}

static void ask_beside(void (*change)(void)) {
  pthread_t threads[2];
  atomic_store(&stop, false);
  test_threads_begin_numbered(threads, 2, ask);
  for (double end = test_seconds() + seconds(); test_seconds() < end;) change();
  atomic_store(&stop, true);
  test_threads_end(threads, 2);
  CHECK_EQ(hak_check(NULL), 0);
}

static void come_and_go(void) {
  static const size_t sizes[] = {900000, 3 << 20, 5 << 20, 40 << 20, 512 << 20};
  static size_t turn;
  void *block = hak_alloc(sizes[turn++ % TEST_COUNT(sizes)]);
  CHECK(block != NULL);
  atomic_store(&asked, (char *)block);
  hak_free(block);
}

static void ptr_info__of_blocks_that_come_and_go(void **state) {
  (void)state;
  ask_beside(come_and_go);
}

/* The memory is the test's, and gone as soon as the heap is. */
static void make_and_unmap(void) {
  static const size_t sizes[] = {1 << 20, 24 << 20};
  static size_t turn;
  size_t size = sizes[turn++ % TEST_COUNT(sizes)];
  char *memory =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  hak_heap_t *heap = test_heap_in(memory, size, 0, NULL);
  CHECK(heap != NULL);
  atomic_store(&asked, memory);
  for (int i = 0; i < 50; i++) CHECK(hak_heap_alloc(heap, 1000) != NULL);
  CHECK_EQ(hak_heap_reset(heap), 0);
  CHECK(hak_heap_alloc(heap, 1000) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(munmap(memory, size), 0);
}

static void ptr_info__of_callers_memory_that_is_unmapped(void **state) {
  (void)state;
  ask_beside(make_and_unmap);
}

static void end_heaps(void) {
  hak_heap_t *heap = test_heap(0, "short", NULL);
  for (int i = 0; i < 20; i++)
    CHECK(hak_heap_alloc(heap, 1000 + (size_t)i * 999) != NULL);
  atomic_store(&asked, (char *)hak_heap_alloc(heap, 3 << 20));
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void ptr_info__of_heaps_that_end(void **state) {
  (void)state;
  ask_beside(end_heaps);
}

TEST_MAIN(T(visit__leaves_what_other_threads_cached_with_them),
          T(visit__beside_threads_at_work_on_another_heap),
          T(visit__beside_threads_at_work_on_the_default_heap),
          T(visit__of_the_default_heap_beside_threads_that_end),
          T(visit__lets_others_use_every_tier_while_the_visitor_runs),
          T(ptr_info__of_blocks_that_come_and_go),
          T(ptr_info__of_callers_memory_that_is_unmapped), T(ptr_info__of_heaps_that_end))
