/* api_heap_serial_moves.c - serial heaps in one hand after another: threads by turns,
 * fibers, a fork; every byte is checked on the way. */
#include "child.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

/* ---- a crowd of blocks ------------------------------------------------------- */

enum {
  CROWD = 3000
};
typedef struct crowd {
  hak_heap_t *heap;
  unsigned char *blocks[CROWD];
  size_t sizes[CROWD];
  test_rng_t rng;
} crowd_t;

static void free_either(crowd_t *crowd, void *block) {
  if (test_below(&crowd->rng, 4) == 0) {
    hak_free(block);
  } else {
    hak_heap_free(crowd->heap, block);
  }
}

/* Some steps of a life; every byte is checked before its block goes or moves. */
static void live(crowd_t *crowd, size_t steps, size_t largest) {
  for (size_t i = 0; i < steps; i++) {
    size_t at = test_below(&crowd->rng, CROWD), old = crowd->sizes[at];
    unsigned char *block = crowd->blocks[at];
    size_t size = 1 + test_random_size(&crowd->rng, largest);
    if (block != NULL) {
      CHECK(test_verify(block, old, at + old));
      if (i % 8 == 0) {
        unsigned char *moved = hak_realloc(block, size);
        CHECK(moved != NULL && hak_heap_of(moved) == crowd->heap);
        test_fill(moved, size, at + size);
        crowd->blocks[at] = moved;
        crowd->sizes[at] = size;
        continue;
      }
      free_either(crowd, block);
      crowd->blocks[at] = NULL;
    }
    if (i % 3 == 0) continue;
    block = hak_heap_alloc(crowd->heap, size);
    CHECK(block != NULL);
    test_fill(block, size, at + size);
    crowd->blocks[at] = block;
    crowd->sizes[at] = size;
  }
}

static size_t count_live(const crowd_t *crowd) {
  size_t count = 0;
  for (size_t i = 0; i < CROWD; i++) count += crowd->blocks[i] != NULL;
  return count;
}

static crowd_t *crowd_new(uint64_t salt) {
  crowd_t *crowd = calloc(1, sizeof *crowd);
  CHECK(crowd != NULL);
  crowd->heap = test_heap(HAK_HEAP_SERIAL, "serial", NULL);
  crowd->rng = test_rng(test_seed(), salt);
  return crowd;
}

static void crowd_end(crowd_t *crowd) {
  for (size_t i = 0; i < CROWD; i++) {
    if (crowd->blocks[i] == NULL) continue;
    CHECK(test_verify(crowd->blocks[i], crowd->sizes[i], i + crowd->sizes[i]));
    free_either(crowd, crowd->blocks[i]);
  }
  CHECK_EQ(test_heap_live_blocks(crowd->heap), 0);
  CHECK_EQ(test_heap_stats(crowd->heap).superslabs, 0);
  CHECK_EQ(hak_heap_destroy(crowd->heap), 0);
  free(crowd);
}

typedef struct seen {
  hak_heap_t *heap;
  size_t count;
} seen_t;

static bool see_block(const hak_block_t *block, void *ctx) {
  seen_t *seen = ctx;
  CHECK(block->is_start && block->heap == seen->heap);
  seen->count++;
  return true;
}

static void crowd__of_blocks_keeps_its_bytes_and_is_counted(void **state) {
  (void)state;
  crowd_t *crowd = crowd_new(1);
  for (int round = 0; round < 6; round++) {
    live(crowd, test_scale(20000), round % 2 == 0 ? 3000 : 100000);
    CHECK_EQ(hak_check(crowd->heap), 0);
    CHECK_EQ(hak_check(NULL), 0);
    if (round % 2 == 0) continue;
    seen_t seen = {crowd->heap, 0};
    CHECK_EQ(hak_heap_visit(crowd->heap, see_block, &seen, 0), 0);
    CHECK_EQ(seen.count, count_live(crowd));
    CHECK_EQ(test_heap_live_blocks(crowd->heap), count_live(crowd));
  }
  crowd_end(crowd);
}

/* ---- moves --------------------------------------------------------------------- */

static void *live_a_while(void *arg) {
  live(arg, 2000, 20000);
  return NULL;
}

static void moves__from_thread_to_thread_lose_nothing(void **state) {
  (void)state;
  crowd_t *crowd = crowd_new(2);
  for (int round = 0; round < 10; round++) {
    live(crowd, 1000, 20000);
    test_thread_run(live_a_while, crowd);
    CHECK_EQ(hak_check(crowd->heap), 0);
  }
  CHECK_EQ(test_heap_live_blocks(crowd->heap), count_live(crowd));
  crowd_end(crowd);
}

typedef struct baton {
  pthread_mutex_t lock;
  crowd_t *crowd;
  size_t turns;
} baton_t;

static void *take_turns(void *arg) {
  baton_t *baton = arg;
  for (size_t i = 0; i < baton->turns; i++) {
    pthread_mutex_lock(&baton->lock);
    live(baton->crowd, 20, 5000);
    pthread_mutex_unlock(&baton->lock);
    if (i % 16 == 0) hak_thread_idle();
  }
  return NULL;
}

static void *look_on(void *arg) {
  atomic_bool *stop = arg;
  hak_stats_t stats = {.struct_size = sizeof stats};
  while (!atomic_load(stop)) {
    hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    CHECK_EQ(hak_stats_get(NULL, &stats), 0);
    CHECK_EQ(hak_check(NULL), 0);
    hak_thread_exit();
  }
  return NULL;
}

static void turns__under_a_lock_while_others_collect_and_look(void **state) {
  (void)state;
  crowd_t *crowd = crowd_new(3);
  baton_t baton = {.crowd = crowd, .turns = test_scale(400)};
  CHECK_EQ(pthread_mutex_init(&baton.lock, NULL), 0);
  pthread_t threads[4], looker;
  atomic_bool stop = false;
  CHECK_EQ(pthread_create(&looker, NULL, look_on, &stop), 0);
  test_threads_begin(threads, TEST_COUNT(threads), take_turns, &baton);
  test_threads_end(threads, TEST_COUNT(threads));
  atomic_store(&stop, true);
  pthread_join(looker, NULL);
  CHECK_EQ(hak_check(crowd->heap), 0);
  crowd_end(crowd);
}

static ucontext_t g_home, g_fibers[2];
static crowd_t *g_crowds[2];

static void fiber(int which) {
  for (;;) {
    live(g_crowds[which], 200, 5000);
    swapcontext(&g_fibers[which], &g_home);
  }
}

static void *resume_both(void *arg) {
  for (int i = 0; i < 4; i++) swapcontext(&g_home, &g_fibers[i % 2]);
  return arg;
}

static void fibers__carry_their_heaps_across_threads(void **state) {
  (void)state;
  if (TEST_ASAN || TEST_TSAN) return; /* they do not follow such jumps */
  enum {
    STACK = 256 * 1024
  };
  static char stacks[2][STACK];
  for (int i = 0; i < 2; i++) {
    g_crowds[i] = crowd_new(10 + (uint64_t)i);
    CHECK_EQ(getcontext(&g_fibers[i]), 0);
    g_fibers[i].uc_stack.ss_sp = stacks[i];
    g_fibers[i].uc_stack.ss_size = STACK;
    g_fibers[i].uc_link = NULL;
    makecontext(&g_fibers[i], (void (*)(void))fiber, 1, i);
  }
  for (int round = 0; round < 20; round++) test_thread_run(resume_both, NULL);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(hak_check(g_crowds[i]->heap), 0);
    crowd_end(g_crowds[i]);
  }
}

/* ---- a fork --------------------------------------------------------------------- */

static void fork__child_goes_on_with_the_heap(void **state) {
  (void)state;
  if (TEST_TSAN) return; /* it does not follow forks of threaded programs */
  crowd_t *crowd = crowd_new(20);
  live(crowd, 2000, 20000);
  pid_t pid = test_fork();
  if (pid == 0) {
    live(crowd, 2000, 20000);
    crowd_end(crowd);
    _exit(hak_check(NULL) == 0 ? 0 : 1);
  }
  test_fork_end(pid);
  live(crowd, 2000, 20000);
  crowd_end(crowd);
}

TEST_MAIN(T(crowd__of_blocks_keeps_its_bytes_and_is_counted),
          T(moves__from_thread_to_thread_lose_nothing),
          T(turns__under_a_lock_while_others_collect_and_look),
          T(fibers__carry_their_heaps_across_threads),
          T(fork__child_goes_on_with_the_heap))
