/* fibers.c - a shared object whose fibers change threads between two calls of the
 * library, which it contains; link-time optimisation sees all of it at once.
 *
 * Each function that a fiber runs calls a public function on one thread, switches, and
 * calls it on the next one: were it inlined, the address of thread-local data would be
 * the first thread's for all of them. */
#include <hakmem/hakmem.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

enum {
  THREADS = 4,
  ROUNDS = 2000,
  FIBERS = 40,
  STACK = 64 * 1024,
  SIZE = 200
};

typedef struct fiber {
  ucontext_t self, *back;
  void *stack;
  int id, done, frees;
} fiber_t;

int fibers_main(void);
void fiber_walk(fiber_t *fiber);
void fiber_churn(fiber_t *fiber);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t all;
static int bad;

__attribute__((noinline)) static void go_on(fiber_t *fiber) {
  swapcontext(&fiber->self, fiber->back);
}

static void enter(unsigned low, unsigned high) {
  fiber_t *fiber = (fiber_t *)((uintptr_t)high << 32 | low);
  if (fiber->id < 0) {
    fiber_walk(fiber);
  } else {
    fiber_churn(fiber);
  }
  fiber->done = 1;
  go_on(fiber);
}

static int make(fiber_t *fiber, int id, void *stack) {
  fiber->id = id;
  fiber->stack = stack;
  if (stack == NULL || getcontext(&fiber->self) != 0) return 0;
  fiber->self.uc_stack.ss_sp = stack;
  fiber->self.uc_stack.ss_size = STACK;
  makecontext(&fiber->self, (void (*)(void))enter, 2, (unsigned)(uintptr_t)fiber,
              (unsigned)((uintptr_t)fiber >> 32));
  return 1;
}

static void resume(fiber_t *fiber) {
  ucontext_t here;
  fiber->back = &here;
  swapcontext(&here, &fiber->self);
}

/* --- one fiber, from thread to thread -------------------------------------------- */

static fiber_t walker;
static pthread_barrier_t turn;

static unsigned char *made[THREADS][2];

/* Several calls of one function between two switches: what they share is kept by the
 * compiler if it can be. */
void fiber_walk(fiber_t *fiber) {
  for (int i = 0; i < THREADS; i++) {
    if (fiber->frees) {
      hak_free(made[i][0]);
      hak_free(made[i][1]);
    } else {
      made[i][0] = hak_alloc(SIZE);
      made[i][1] = hak_alloc(SIZE);
    }
    go_on(fiber);
  }
}

/* Threads have the fiber in turn, and none ends before the last has had it. */
static void *walk_main(void *argument) {
  int mine = *(int *)argument;
  for (int i = 0; i < THREADS; i++) {
    if (i == mine) resume(&walker);
    pthread_barrier_wait(&turn);
  }
  return NULL;
}

static uint64_t attaches(void) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  return hak_stats_get(NULL, &stats) == 0 ? stats.thread_attaches : 0;
}

/* Each thread's first call gives it a state, if it is that thread that is looked at. */
static int every_thread_is_attached_by_the_fiber(int frees) {
  static char stack[STACK];
  pthread_t threads[THREADS];
  int number[THREADS];
  hak_free(hak_alloc(1)); /* on this thread, too */
  uint64_t before = attaches();
  pthread_barrier_init(&turn, NULL, THREADS);
  walker = (fiber_t){.frees = frees};
  if (!make(&walker, -1, stack)) return 0;
  for (int i = 0; i < THREADS; i++) {
    number[i] = i;
    if (pthread_create(&threads[i], NULL, walk_main, &number[i]) != 0) return 0;
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  resume(&walker); /* to its end */
  uint64_t got = attaches() - before;
  printf("a fiber that %s on %d threads attached %d\n", frees ? "frees" : "allocates",
         THREADS, (int)got);
  return got == THREADS && walker.done;
}

/* --- many at once ---------------------------------------------------------------- */

static fiber_t fibers[FIBERS], *queue[FIBERS];
static int queued, finished;

static void verify(const unsigned char *block, int id) {
  for (int at = 0; at < SIZE; at++) {
    if (block[at] != id) __atomic_add_fetch(&bad, 1, __ATOMIC_RELAXED);
  }
}

void fiber_churn(fiber_t *fiber) {
  for (int i = 0; i < ROUNDS; i++) {
    unsigned char *first = hak_alloc(SIZE), *second = hak_alloc(SIZE);
    memset(first, fiber->id, SIZE);
    memset(second, fiber->id, SIZE);
    go_on(fiber);
    unsigned char *third = hak_alloc(SIZE);
    memset(third, fiber->id, SIZE);
    verify(first, fiber->id);
    verify(second, fiber->id);
    hak_free(first);
    hak_free(second);
    go_on(fiber);
    verify(third, fiber->id);
    hak_free(third);
  }
}

static void *churn_main(void *argument) {
  (void)argument;
  pthread_barrier_wait(&all);
  for (;;) {
    pthread_mutex_lock(&lock);
    int over = finished == FIBERS;
    fiber_t *fiber = queued > 0 ? queue[--queued] : NULL;
    pthread_mutex_unlock(&lock);
    if (over) return NULL;
    if (fiber == NULL) continue;
    resume(fiber);
    pthread_mutex_lock(&lock);
    if (fiber->done) {
      finished++;
    } else {
      /* To the other end, so that others have it next. */
      memmove(&queue[1], &queue[0], (size_t)queued++ * sizeof queue[0]);
      queue[0] = fiber;
    }
    pthread_mutex_unlock(&lock);
  }
}

static int many_fibers_keep_their_contents(void) {
  static char stacks[FIBERS][STACK];
  pthread_t threads[THREADS];
  pthread_barrier_init(&all, NULL, THREADS);
  for (int i = 0; i < FIBERS; i++) {
    if (!make(&fibers[i], i, stacks[i])) return 0;
    queue[queued++] = &fibers[i];
  }
  for (int i = 0; i < THREADS; i++) {
    if (pthread_create(&threads[i], NULL, churn_main, NULL) != 0) return 0;
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  hak_stats_t stats = {.struct_size = sizeof stats};
  hak_stats_get(NULL, &stats);
  printf("%d fibers: %d bytes wrong, %d blocks live\n", FIBERS, bad,
         (int)stats.live_blocks);
  return bad == 0 && stats.live_blocks == 0 && hak_check(NULL) == 0;
}

int fibers_main(void) {
  int ok = every_thread_is_attached_by_the_fiber(0) &&
           every_thread_is_attached_by_the_fiber(1) && many_fibers_keep_their_contents();
  return ok ? 0 : 1;
}
