/* api_idle.c - threads that stop: what those that went idle or ended had cached serves
 * others and goes back to the system; what one that just stops keeps is bounded. Each
 * case runs in a child of its own. */
#include "child.h"
#include "syscalls.h"
#include "threads.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
  THREADS = 200,
  SLEEPERS = 20
};

static const size_t sizes[] = {16, 48, 100, 500, 1024, 3000, 8000, 32768, 100000};
#define PER_SIZE ((size_t)256 << 10)
/* Bytes that a thread keeps which dropped all that it had, and stopped; IDLE.md. */
#define STOPPED_MOST ((uint64_t)1 << 20)

/* Bytes of each size; what a thread that is busy leaves in its caches. */
static void use(size_t bytes) {
  static _Thread_local void *blocks[16384];
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      size_t count = bytes / sizes[i];
      if (count > TEST_COUNT(blocks)) count = TEST_COUNT(blocks);
      for (size_t k = 0; k < count; k++) {
        blocks[k] = hak_alloc(sizes[i]);
        CHECK(blocks[k] != NULL);
        memset(blocks[k], 1, sizes[i]);
      }
      for (size_t k = 0; k < count; k++) hak_free(blocks[k]);
    }
  }
}

typedef enum leave {
  LEAVE_IDLE,
  LEAVE_END,
  LEAVE_STOP
} leave_t;

typedef struct crowd {
  leave_t leave;
  size_t bytes;
  pthread_barrier_t done, end;
} crowd_t;

static void *member(void *argument) {
  crowd_t *crowd = argument;
  use(crowd->bytes);
  if (crowd->leave == LEAVE_END) return NULL;
  if (crowd->leave == LEAVE_IDLE) hak_thread_idle();
  pthread_barrier_wait(&crowd->done);
  pthread_barrier_wait(&crowd->end);
  return NULL;
}

static void begin(crowd_t *crowd, pthread_t *threads, unsigned count) {
  bool stay = crowd->leave != LEAVE_END;
  pthread_barrier_init(&crowd->done, NULL, count + 1);
  pthread_barrier_init(&crowd->end, NULL, count + 1);
  for (unsigned i = 0; i < count; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, member, crowd), 0);
    /* One after the other, so that each has its own memory. */
    if (!stay) pthread_join(threads[i], NULL);
  }
  if (stay) pthread_barrier_wait(&crowd->done);
}

static void end(crowd_t *crowd, pthread_t *threads, unsigned count) {
  if (crowd->leave == LEAVE_END) return;
  pthread_barrier_wait(&crowd->end);
  test_threads_end(threads, count);
}

/* ---- What 200 threads had serves the next one ------------------------------ */

static void *next_thread(void *argument) {
  size_t bytes = *(const size_t *)argument;
  hak_free(hak_alloc(1)); /* its own state */
  uint64_t calls = test_syscalls_all();
  /* All that is free, of a size that none of them used. */
  size_t count = 0;
  static void *blocks[1 << 18];
  for (size_t given = 0; given < bytes; given += 2048) {
    blocks[count] = hak_alloc(2048);
    CHECK(blocks[count] != NULL);
    count++;
  }
  CHECK_MSG(test_syscalls_all() == calls, "%llu system calls for %zu bytes",
            (unsigned long long)(test_syscalls_all() - calls), bytes);
  for (size_t i = 0; i < count; i++) hak_free(blocks[i]);
  return NULL;
}

static int serve_child(void *ctx) {
  crowd_t crowd = {.leave = *(leave_t *)ctx, .bytes = PER_SIZE};
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 3600000), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_PAGES, 0), 0); /* asking for them is a call */
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, 0), 0);    /* threads keep what they had */
  hak_free(hak_alloc(1));
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  uint64_t before = test_stats().committed_bytes - test_stats().metadata_bytes;
  static pthread_t threads[THREADS];
  unsigned count = (unsigned)test_scale(THREADS);
  if (count > THREADS) count = THREADS;
  begin(&crowd, threads, count);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK(test_stats().cached_bytes == 0);
  uint64_t left = test_stats().retained_bytes;
  CHECK(left > MIB);
  size_t most = (size_t)left * 9 / 10;
  if (most > 400 * MIB) most = 400 * MIB;
  pthread_t next;
  CHECK_EQ(pthread_create(&next, NULL, next_thread, &most), 0);
  CHECK_EQ(pthread_join(next, NULL), 0);
  uint64_t grown = test_stats().committed_bytes - test_stats().metadata_bytes - before;
  uint64_t given = 0;
  given += hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  printf("%s: %llu KiB left, %llu KiB given back\n",
         crowd.leave == LEAVE_IDLE ? "idle" : "ended", (unsigned long long)grown / 1024,
         (unsigned long long)given / 1024);
  CHECK_MSG(given >= grown / 100 * 95, "%llu of %llu", (unsigned long long)given,
            (unsigned long long)grown);
  end(&crowd, threads, count);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void idle__memory_of_200_threads_serves_the_next_and_95_percent_goes_back(
    void **state) {
  (void)state;
  leave_t leave = LEAVE_IDLE;
  test_child_must_succeed(serve_child, &leave, 60);
}

static void ended__memory_of_200_threads_serves_the_next_and_95_percent_goes_back(
    void **state) {
  (void)state;
  leave_t leave = LEAVE_END;
  test_child_must_succeed(serve_child, &leave, 60);
}

/* ---- What a thread keeps that just stops ---------------------------------------- */

/* Of a class that it used: three lists, at the least capacity of a bin; a slab that is
 * being cut, or the span of a mid class; and a few in its magazine. What its bins have
 * grown by with demand comes to it. */
static size_t bound_of_class(size_t size) {
  size_t blocks = (size_t)hak_option_get(HAK_OPTION_BIN_BYTES) / size;
  size_t most = (size_t)hak_option_get(HAK_OPTION_BIN_BLOCKS);
  size_t least = (size_t)hak_option_get(HAK_OPTION_BIN_BLOCKS_MIN);
  if (blocks > most) blocks = most;
  if (blocks < least) blocks = least;
  if (size > 32768) return 0;
  size_t span = (size_t)(size <= 2048 ? 1 : size <= 8192 ? 4 : 8) * 65536;
  return 3 * blocks * size + span;
}

TEST_IN_CHILD(stopped__a_thread_keeps_no_more_than_its_bounded_cache, 60) {
  crowd_t crowd = {.leave = LEAVE_STOP, .bytes = PER_SIZE};
  hak_free(hak_alloc(1));
  uint64_t before = test_stats().committed_bytes - test_stats().metadata_bytes;
  static pthread_t threads[SLEEPERS];
  begin(&crowd, threads, SLEEPERS);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  size_t bound = (size_t)hak_option_get(HAK_OPTION_BIN_GROWTH_BYTES);
  size_t all = (size_t)hak_option_get(HAK_OPTION_BIN_GROWTH_ALL_BYTES);
  bound = bound * SLEEPERS < all ? bound * SLEEPERS : all;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    bound += SLEEPERS * bound_of_class(hak_good_size(sizes[i]));
  }
  uint64_t kept = test_stats().committed_bytes - test_stats().metadata_bytes - before;
  printf("%d threads that stopped keep %llu KiB, bound %zu KiB\n", SLEEPERS,
         (unsigned long long)kept / 1024, bound / 1024);
  CHECK_MSG(kept <= bound, "%llu kept, more than %zu", (unsigned long long)kept, bound);
  /* Their blocks are free all the same, and counted so. */
  CHECK_EQ(test_live_blocks(), 0);
  end(&crowd, threads, SLEEPERS);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_stats().committed_bytes - test_stats().metadata_bytes <= before, true);
}

/* ---- Documents that are parsed and dropped -------------------------------------- */

enum {
  NODES = 40000
};

/* One after the other, each in its own thread: many small nodes, few large ones. */
static void document(test_rng_t *rng) {
  static void *nodes[NODES];
  for (int i = 0; i < NODES; i++) {
    uint64_t kind = test_below(rng, 100);
    size_t most = kind < 90 ? 200 : kind < 99 ? 3000 : 25000;
    size_t size = 24 + (size_t)test_below(rng, most);
    CHECK((nodes[i] = hak_alloc(size)) != NULL);
    memset(nodes[i], 1, size);
  }
  for (int i = 0; i < NODES; i++) hak_free(nodes[i]);
}

static test_rng_t document_rng;
static pthread_mutex_t document_lock = PTHREAD_MUTEX_INITIALIZER;

static void *reader(void *argument) {
  crowd_t *crowd = argument;
  pthread_mutex_lock(&document_lock);
  document(&document_rng);
  document(&document_rng);
  pthread_mutex_unlock(&document_lock);
  pthread_barrier_wait(&crowd->done);
  pthread_barrier_wait(&crowd->end);
  return NULL;
}

/* What threads keep that have dropped their documents and stand still, each. */
static uint64_t kept_by_readers(int64_t lean_ms) {
  crowd_t crowd = {.leave = LEAVE_STOP};
  document_rng = test_rng(test_seed(), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEAN_MS, lean_ms), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 0), 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  uint64_t before = test_stats().committed_bytes;
  pthread_t threads[SLEEPERS];
  pthread_barrier_init(&crowd.done, NULL, SLEEPERS + 1);
  pthread_barrier_init(&crowd.end, NULL, SLEEPERS + 1);
  for (int i = 0; i < SLEEPERS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, reader, &crowd), 0);
  }
  pthread_barrier_wait(&crowd.done);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  uint64_t after = test_stats().committed_bytes;
  CHECK_EQ(test_live_blocks(), 0);
  end(&crowd, threads, SLEEPERS);
  return after > before ? (after - before) / SLEEPERS : 0;
}

TEST_IN_CHILD(stopped__threads_that_dropped_all_keep_little, 60) {
  hak_free(hak_alloc(1));
  uint64_t lean = kept_by_readers(3600000), fat = kept_by_readers(0);
  printf("a thread that stopped keeps %llu KiB, or %llu\n",
         (unsigned long long)lean / 1024, (unsigned long long)fat / 1024);
  CHECK_MSG(lean <= STOPPED_MOST, "%llu bytes kept", (unsigned long long)lean);
  CHECK_MSG(lean < fat / 3 * 2, "%llu and %llu bytes kept", (unsigned long long)lean,
            (unsigned long long)fat);
}

TEST_MAIN_FRESH(T(idle__memory_of_200_threads_serves_the_next_and_95_percent_goes_back),
                T(ended__memory_of_200_threads_serves_the_next_and_95_percent_goes_back),
                T(stopped__a_thread_keeps_no_more_than_its_bounded_cache),
                T(stopped__threads_that_dropped_all_keep_little))
