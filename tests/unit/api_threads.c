/* api_threads.c - first use by many threads, attach and detach, idle, blocks that
 * change threads. */
#include "child.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define FIRST_CALLS 32
#define FIRST_THREADS 64

static bool go_on(hak_heap_t *heap, void *ctx) {
  (void)heap;
  (void)ctx;
  return true;
}

/* The k-th function of the API as a thread's first call; what it leaves works. */
static void first_call(unsigned k) {
  char text[] = "first";
  hak_stats_t stats = {.struct_size = sizeof stats};
  hak_block_t info = {.struct_size = sizeof info};
  switch (k % FIRST_CALLS) {
    case 0:
      hak_free(hak_alloc(k));
      break;
    case 1:
      hak_free(hak_calloc(k, 8));
      break;
    case 2:
      hak_free(hak_realloc(NULL, 100 + k));
      break;
    case 3:
      hak_free(hak_reallocarray(NULL, 4, k));
      break;
    case 4:
      hak_free(NULL);
      break;
    case 5:
      hak_free(hak_aligned_alloc(4096, k));
      break;
    case 6:
      hak_free(hak_aligned_realloc(NULL, 256, k));
      break;
    case 7:
      hak_free_sized(hak_alloc(40), 40);
      break;
    case 8:
      CHECK_EQ(hak_usable_size(NULL), 0);
      break;
    case 9:
      CHECK(hak_good_size(100) >= 100);
      break;
    case 10:
      hak_free(hak_strdup(text));
      break;
    case 11:
      hak_free(hak_strndup(text, 3));
      break;
    case 12:
      hak_free(hak_allocx(NULL, 100, 64, HAK_ZERO, NULL));
      break;
    case 13:
      CHECK(hak_heap_default() != NULL);
      break;
    case 14:
      CHECK(hak_heap_of(text) == NULL);
      break;
    case 15:
      CHECK_EQ(hak_thread_init(), 0);
      break;
    case 16:
      hak_thread_exit();
      break;
    case 17:
      hak_thread_idle();
      break;
    case 18:
      (void)hak_collect(NULL, SIZE_MAX, 0);
      break;
    case 19:
      CHECK(hak_option_get(HAK_OPTION_BIN_BLOCKS) > 0);
      break;
    case 20:
      CHECK_EQ(hak_stats_get(NULL, &stats), 0);
      break;
    case 21:
      CHECK_EQ(hak_ptr_info(text, &info), ENOENT);
      break;
    case 22:
      CHECK_EQ(hak_check(NULL), 0);
      break;
    case 23:
      CHECK_EQ(hak_resize_in_place(NULL, 1, 1), 0);
      break;
    case 24:
      hak_free(hak_heap_alloc(NULL, k));
      break;
    case 25:
      hak_heap_free(NULL, hak_heap_calloc(NULL, k, 3));
      break;
    case 26:
      CHECK_EQ(hak_heap_destroy(hak_heap_default()), EINVAL);
      break;
    case 27:
      CHECK(hak_heap_name(NULL) != NULL);
      break;
    case 28:
      CHECK_EQ(hak_visit_heaps(go_on, NULL), 0);
      break;
    case 29:
      hak_fork_prepare();
      hak_fork_parent();
      break;
    case 30: {
      int error = hak_init(test_config());
      CHECK(error == 0 || error == EALREADY);
      break;
    }
    default: {
      hak_heap_t *heap = hak_heap_create(NULL);
      CHECK(heap != NULL);
      CHECK(hak_heap_alloc(heap, k) != NULL);
      CHECK_EQ(hak_heap_destroy(heap), 0);
    }
  }
}

static void use_a_little(uint64_t tag) {
  void *blocks[50];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc(i * 40);
    CHECK(blocks[i] != NULL);
    test_fill(blocks[i], i * 40, tag + i);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    CHECK(test_verify(blocks[i], i * 40, tag + i));
    hak_free(blocks[i]);
  }
}

typedef struct crowd {
  pthread_barrier_t barrier;
  unsigned shift;
} crowd_t;

typedef struct member {
  crowd_t *crowd;
  unsigned index;
} member_t;

static void *crowd_thread(void *argument) {
  member_t *me = argument;
  pthread_barrier_wait(&me->crowd->barrier);
  first_call(me->index / (me->crowd->shift % 7 + 1) + me->crowd->shift);
  use_a_little(me->index);
  return NULL;
}

static int crowd_child(void *ctx) {
  crowd_t crowd = {.shift = *(unsigned *)ctx};
  member_t members[FIRST_THREADS];
  pthread_t threads[FIRST_THREADS];
  pthread_barrier_init(&crowd.barrier, NULL, FIRST_THREADS);
  for (unsigned i = 0; i < FIRST_THREADS; i++) {
    members[i] = (member_t){&crowd, i};
    CHECK_EQ(pthread_create(&threads[i], NULL, crowd_thread, &members[i]), 0);
  }
  test_threads_end(threads, FIRST_THREADS);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  return 0;
}

static void first_use__by_64_threads_at_a_barrier_over_the_whole_api(void **state) {
  (void)state;
  for (unsigned shift = 0; shift < test_scale(60); shift++) {
    test_child_must_succeed(crowd_child, &shift, 20);
  }
}

static int lone_first_child(void *ctx) {
  unsigned k = *(unsigned *)ctx;
  first_call(k);
  use_a_little(k);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  return 0;
}

static void first_use__may_be_any_function(void **state) {
  (void)state;
  for (unsigned k = 0; k < FIRST_CALLS; k++) {
    test_child_must_succeed(lone_first_child, &k, 10);
  }
}

/* ---- With the library running ----------------------------------------- */

static void join_all(pthread_t *threads, size_t count) {
  test_threads_end(threads, count);
}

static void *init_exit_thread(void *argument) {
  (void)argument;
  for (int i = 0; i < 30; i++) {
    errno = TEST_ERRNO;
    CHECK_EQ(hak_thread_init(), 0);
    CHECK_EQ(hak_thread_init(), 0);
    use_a_little((uint64_t)i);
    hak_thread_exit();
    hak_thread_exit();
    CHECK_EQ(errno, TEST_ERRNO);
    if (i % 3 == 0) {
      use_a_little((uint64_t)i); /* attaches again by itself */
    }
  }
  return NULL;
}

TEST_IN_CHILD(thread__may_leave_and_come_back_any_number_of_times, 20) {
  test_start();
  hak_free(hak_alloc(1));
  pthread_t threads[8];
  test_threads_begin(threads, TEST_COUNT(threads), init_exit_thread, NULL);
  join_all(threads, TEST_COUNT(threads));
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(test_stats().threads, 1);
}

#define SHARED 20000

typedef struct shared {
  void *blocks[SHARED];
  size_t size;
  pthread_barrier_t allocated, done;
  bool idle;
} shared_t;

static shared_t g_shared;

static void *give_thread(void *argument) {
  shared_t *s = argument;
  for (size_t i = 0; i < SHARED; i++) {
    s->blocks[i] = hak_alloc(s->size);
    CHECK(s->blocks[i] != NULL);
    test_fill(s->blocks[i], s->size, i);
  }
  if (s->idle) {
    hak_thread_idle();
  }
  pthread_barrier_wait(&s->allocated);
  /* Sleeps while others free its blocks, if it lives that long. */
  pthread_barrier_wait(&s->done);
  return NULL;
}

TEST_IN_CHILD(remote_free__blocks_of_a_sleeping_thread_serve_others, 30) {
  test_start();
  /* Nothing becomes due while a busy machine takes its time. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 3600000), 0);
  static const size_t sizes[] = {16, 64, 400, 2000};
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    shared_t *s = &g_shared;
    s->size = sizes[k];
    s->idle = k % 2 == 1;
    pthread_barrier_init(&s->allocated, NULL, 2);
    pthread_barrier_init(&s->done, NULL, 2);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, give_thread, s), 0);
    pthread_barrier_wait(&s->allocated);
    for (size_t i = 0; i < SHARED; i++) {
      CHECK(test_verify(s->blocks[i], s->size, i));
      hak_free(s->blocks[i]);
    }
    CHECK_EQ(hak_check(NULL), 0);
    /* The other thread sleeps; its memory serves this one all the same. */
    uint64_t committed = test_stats().committed_bytes;
    for (size_t i = 0; i < SHARED; i++) {
      s->blocks[i] = hak_alloc(s->size);
      test_fill(s->blocks[i], s->size, i);
    }
    CHECK_MSG(test_stats().committed_bytes <= committed + committed / 10 + 2 * MIB,
              "committed %llu, then %llu", (unsigned long long)committed,
              (unsigned long long)test_stats().committed_bytes);
    for (size_t i = 0; i < SHARED; i++) {
      CHECK(test_verify(s->blocks[i], s->size, i));
      hak_free(s->blocks[i]);
    }
    pthread_barrier_wait(&s->done);
    pthread_join(thread, NULL);
    CHECK_EQ(test_live_blocks(), 0);
    CHECK_EQ(test_live_bytes(), 0);
  }
}

static void *allocate_and_end_thread(void *argument) {
  shared_t *s = argument;
  for (size_t i = 0; i < SHARED; i++) {
    s->blocks[i] = hak_alloc(s->size);
    test_fill(s->blocks[i], s->size, i);
  }
  /* Half go back and stay in this thread's caches until it ends. */
  for (size_t i = 0; i < SHARED; i += 2) {
    hak_free(s->blocks[i]);
  }
  if (s->idle) {
    hak_thread_exit();
  }
  return NULL;
}

TEST_IN_CHILD(thread__that_ended_leaves_nothing_unusable, 20) {
  test_start();
  hak_free(hak_alloc(1));
  for (int round = 0; round < 4; round++) {
    shared_t *s = &g_shared;
    s->size = 100;
    s->idle = round % 2 == 0;
    test_thread_run(allocate_and_end_thread, s);
    CHECK_EQ(test_stats().threads, 1);
    CHECK_EQ(test_live_blocks(), SHARED / 2);
    for (size_t i = 1; i < SHARED; i += 2) {
      CHECK(test_verify(s->blocks[i], s->size, i));
      hak_free(s->blocks[i]);
    }
    CHECK_EQ(test_live_blocks(), 0);
    CHECK_EQ(hak_check(NULL), 0);
  }
}

static void *count_thread(void *argument) {
  shared_t *s = argument;
  hak_free(hak_alloc(16));
  pthread_barrier_wait(&s->allocated);
  pthread_barrier_wait(&s->done);
  return NULL;
}

TEST_IN_CHILD(stats__count_the_threads_attached, 10) {
  test_start();
  hak_free(hak_alloc(1));
  CHECK_EQ(test_stats().threads, 1);
  pthread_t threads[5];
  pthread_barrier_init(&g_shared.allocated, NULL, 6);
  pthread_barrier_init(&g_shared.done, NULL, 6);
  test_threads_begin(threads, 5, count_thread, &g_shared);
  pthread_barrier_wait(&g_shared.allocated);
  CHECK_EQ(test_stats().threads, 6);
  pthread_barrier_wait(&g_shared.done);
  join_all(threads, 5);
  CHECK_EQ(test_stats().threads, 1);
  CHECK(test_stats().thread_attaches >= 6);
  CHECK(test_stats().thread_exits >= 5);
}

TEST_IN_CHILD(idle__makes_all_that_a_thread_cached_everybodys, 10) {
  test_start();
  static void *blocks[2000];
  for (int round = 0; round < 20; round++) {
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      blocks[i] = hak_alloc(1 + i % 900);
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      hak_free(blocks[i]);
    }
    errno = TEST_ERRNO;
    hak_thread_idle();
    hak_thread_idle();
    CHECK_EQ(errno, TEST_ERRNO);
    CHECK_EQ(test_live_blocks(), 0);
    CHECK_MSG(test_stats().cached_bytes <= 64 * KIB, "%llu bytes cached while idle",
              (unsigned long long)test_stats().cached_bytes);
  }
}

TEST_MAIN_FRESH(T(first_use__may_be_any_function),
                T(first_use__by_64_threads_at_a_barrier_over_the_whole_api),
                T(thread__may_leave_and_come_back_any_number_of_times),
                T(remote_free__blocks_of_a_sleeping_thread_serve_others),
                T(thread__that_ended_leaves_nothing_unusable),
                T(stats__count_the_threads_attached),
                T(idle__makes_all_that_a_thread_cached_everybodys))
