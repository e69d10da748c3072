/* threads.c - what threads leave behind, how many fare on one processor, and how long it
 * takes if all come at once. */
#include "experiments.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* --- ends: 8,000 threads, each of which frees in a destructor that runs late -------- */

enum {
  AT_ONCE = 8,
  LATE = 3 /* rounds of destructors; PTHREAD_DESTRUCTOR_ITERATIONS is 4 */
};

static pthread_key_t late_key;
static _Thread_local int late_round;
static _Atomic(char *) left_by_another;

static void late(void *block) {
  if (late_round++ < LATE) {
    pthread_setspecific(late_key, block);
    return;
  }
  face_free(block);
  face_free(face_alloc(200));
}

static void *live_and_die(void *nothing) {
  char *blocks[40];
  for (size_t i = 0; i < COUNT(blocks); i++) blocks[i] = face_alloc(16 + 40 * i);
  face_free(atomic_exchange(&left_by_another, blocks[0]));
  for (size_t i = 2; i < COUNT(blocks); i++) face_free(blocks[i]);
  pthread_setspecific(late_key, blocks[1]);
  return nothing;
}

static void live(size_t count) {
  unsigned long threads[AT_ONCE];
  for (size_t done = 0; done < count; done += AT_ONCE) {
    for (size_t i = 0; i < AT_ONCE; i++) thread_begin(&threads[i], live_and_die, NULL);
    for (size_t i = 0; i < AT_ONCE; i++) thread_end(threads[i]);
  }
  face_collect();
}

static void list_ends(void) { say_case("ends"); }

static void run_ends(const char *which) {
  (void)which;
  size_t count = 8000;
  if (pthread_key_create(&late_key, late) != 0) end(SKIPPED, "no key");
  live(count / 4);
  size_t before = resident_bytes();
  live(count);
  size_t after = resident_bytes();
  end_with(after > before ? (double)(after - before) / (double)count : 0, "bytes");
}

const experiment_t exp_ends = {"ends", list_ends, run_ends};

/* --- crowd: 64 threads on one processor, which hand each other their blocks --------- */

enum {
  CROWD = 64,
  SLOTS = 1024
};

static _Atomic(char *) slots[SLOTS];
static _Atomic bool stop;
static _Atomic uint64_t operations, longest;

static void *swap(void *seed) {
  uint64_t state = (uintptr_t)seed, done = 0, worst = 0;
  while (!atomic_load(&stop)) {
    uint64_t random = random_next(&state), start = clock_ns();
    for (size_t i = 0; i < 16; i++) {
      char *block = face_alloc(16 + (random >> 20) % 1000);
      if (block == NULL) end(REFUSED, "no memory");
      block[0] = 1;
      face_free(atomic_exchange(&slots[(random >> i) % SLOTS], block));
    }
    uint64_t took = clock_ns() - start;
    if (took > worst) worst = took;
    done += 16;
  }
  atomic_fetch_add(&operations, done);
  uint64_t seen = atomic_load(&longest);
  while (worst > seen && !atomic_compare_exchange_weak(&longest, &seen, worst)) {}
  return NULL;
}

/* Operations in a second of so many threads. */
static double rate(size_t threads) {
  unsigned long members[CROWD];
  atomic_store(&stop, false);
  atomic_store(&operations, 0);
  atomic_store(&longest, 0);
  uint64_t start = clock_ns(), wanted = exp_is_brief ? 200000000u : 2000000000u;
  for (uintptr_t i = 0; i < threads; i++) {
    thread_begin(&members[i], swap, (void *)(i + 1));
  }
  nanosleep(
      &(struct timespec){(time_t)(wanted / 1000000000u), (long)(wanted % 1000000000u)},
      NULL);
  atomic_store(&stop, true);
  for (size_t i = 0; i < threads; i++) thread_end(members[i]);
  return (double)atomic_load(&operations) / (double)(clock_ns() - start) * 1e9;
}

static void list_crowd(void) {
  say_case("crowd/share");
  say_case("crowd/longest");
}

static void run_crowd(const char *which) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu() >= 0 ? (size_t)sched_getcpu() : 0, &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) end(SKIPPED, "no affinity");
  double alone = rate(1), together = rate(CROWD);
  if (which[0] == 's') end_with(100 * together / alone, "%");
  end_with((double)atomic_load(&longest) / 1e6, "ms");
}

const experiment_t exp_crowd = {"crowd", list_crowd, run_crowd};

/* --- storm: 1,000 threads that come at once ------------------------------------------
 */

static pthread_barrier_t go, bye;

static void *arrive(void *nothing) {
  char *blocks[100];
  pthread_barrier_wait(&go);
  for (size_t i = 0; i < COUNT(blocks); i++) {
    blocks[i] = face_alloc((size_t)16 << i % 8);
    if (blocks[i] != NULL) blocks[i][0] = 1;
  }
  for (size_t i = 0; i < COUNT(blocks); i++) face_free(blocks[i]);
  pthread_barrier_wait(&bye);
  return nothing;
}

static double storm(size_t count) {
  static unsigned long threads[1000];
  pthread_barrier_init(&go, NULL, (unsigned)count + 1);
  pthread_barrier_init(&bye, NULL, (unsigned)count + 1);
  for (size_t i = 0; i < count; i++) thread_begin(&threads[i], arrive, NULL);
  uint64_t start = clock_ns();
  pthread_barrier_wait(&go);
  pthread_barrier_wait(&bye);
  double took = (double)(clock_ns() - start);
  for (size_t i = 0; i < count; i++) thread_end(threads[i]);
  return took;
}

static void list_storm(void) { say_case("storm"); }

/* The first storm of a process is what is measured: threads and memory are all fresh. */
static void run_storm(const char *which) {
  (void)which;
  end_with(storm(exp_is_brief ? 200 : 1000) / 1e6, "ms");
}

const experiment_t exp_storm = {"storm", list_storm, run_storm};
