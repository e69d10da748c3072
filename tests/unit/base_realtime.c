/* base_realtime.c - a thread of a real-time class beside an ordinary one, on one
 * processor: whenever the first waits without sleeping, the second, which has what it
 * waits for, does not run at all. Skipped where the system does not permit the class. */
#include "child.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/resource.h>

#include "heap/heap.h"
#include "os/turn.h"

enum {
  NOT_PERMITTED = 77,
  ROUNDS = 200
};

typedef struct kind {
  const char *name;
  void (*take)(void);
  void (*give)(void);
} kind_t;

static hak_lock_t g_lock = HAK_LOCK_INIT(HAK_RANK_POOL);
static hak_turn_t g_turn;
static hak_heap_t *g_heap;

static void take_lock(void) { hak_lock_acquire(&g_lock); }
static void give_lock(void) { hak_lock_release(&g_lock); }
static void take_heap(void) { hak_heap_lease(g_heap); }
static void give_heap(void) { hak_heap_unlease(g_heap); }
static void take_turn(void) { CHECK(hak_turn_take(&g_turn)); }
static void give_turn(void) { hak_turn_give(&g_turn, true); }

static const kind_t kinds[] = {
    {"lock", take_lock, give_lock},
    {"lease of a heap", take_heap, give_heap},
    {"turn", take_turn, give_turn},
};

static sem_t g_ask, g_taken, g_given;

static void await(sem_t *semaphore) {
  while (sem_wait(semaphore) != 0) CHECK_EQ(errno, EINTR);
}

/* The real-time thread runs as soon as it is posted that the thing is taken. */
static void *ordinary_main(void *argument) {
  const kind_t *kind = argument;
  for (int i = 0; i < ROUNDS; i++) {
    await(&g_ask);
    kind->take();
    sem_post(&g_taken);
    kind->give();
    sem_post(&g_given);
  }
  return NULL;
}

static double processor_seconds(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static bool use_one_processor(void) {
  cpu_set_t all, one;
  if (sched_getaffinity(0, sizeof all, &all) != 0) return false;
  CPU_ZERO(&one);
  for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++) {
    if (CPU_ISSET(i, &all)) CPU_SET(i, &one);
  }
  return sched_setaffinity(0, sizeof one, &one) == 0;
}

static int be(int class, int priority) {
  struct sched_param how = {.sched_priority = priority};
  return sched_setscheduler(0, class, &how);
}

static int realtime_child(void *ctx) {
  (void)ctx;
  g_heap = hak_heap_record(hak_heap_create(NULL));
  CHECK(g_heap != NULL);
  if (!use_one_processor()) return NOT_PERMITTED;
  for (size_t i = 0; i < TEST_COUNT(kinds); i++) {
    pthread_t ordinary;
    sem_init(&g_ask, 0, 0);
    sem_init(&g_taken, 0, 0);
    sem_init(&g_given, 0, 0);
    CHECK_EQ(pthread_create(&ordinary, NULL, ordinary_main, (void *)(uintptr_t)&kinds[i]),
             0);
    if (be(SCHED_FIFO, 1) != 0) return NOT_PERMITTED;
    double cost = processor_seconds();
    for (int n = 0; n < ROUNDS; n++) {
      sem_post(&g_ask);
      await(&g_taken);
      kinds[i].take();
      kinds[i].give();
      await(&g_given);
    }
    cost = processor_seconds() - cost;
    CHECK_EQ(be(SCHED_OTHER, 0), 0);
    pthread_join(ordinary, NULL);
    /* The kernel would end the first wait that only yields after about a second. */
    CHECK_MSG(cost < 0.5, "%s: %d rounds took %.3f s of the processor", kinds[i].name,
              ROUNDS, cost);
  }
  return 0;
}

static void realtime__thread_on_one_processor_lets_the_holder_run(void **state) {
  (void)state;
  test_child_t child = test_child_run(realtime_child, NULL, 60);
  if (!child.timed_out && child.signal == 0 && child.status == NOT_PERMITTED) {
    printf("no real-time class is permitted here\n");
    skip();
  }
  CHECK_MSG(!child.timed_out && child.signal == 0 && child.status == 0,
            "timed out %d, signal %d, status %d: %s", child.timed_out, child.signal,
            child.status, child.output);
}

TEST_MAIN_FRESH(T(realtime__thread_on_one_processor_lets_the_holder_run))
