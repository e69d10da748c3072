#include "scaling/crowd.h"

#include <hakmem/hakmem.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_THREADS 64

/* Of the calling thread; the library's wrappers count here (base/atomic.h). */
_Thread_local uint64_t hak_atomics_counted;

static const workload_t *current;
static pthread_barrier_t barrier;
static member_t members[MAX_THREADS];
static uint64_t counted[MAX_THREADS];

void crowd_meet(void) { pthread_barrier_wait(&barrier); }

uint32_t crowd_range(uint64_t *random, uint32_t low, uint32_t high) {
  uint64_t x = *random;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  *random = x;
  return low + (uint32_t)((x >> 32) * (high - low + 1) >> 32);
}

void crowd_wait(uint32_t *spins) {
  if (++*spins % 64 == 0) sched_yield();
}

char *crowd_alloc(size_t size) {
  char *block = hak_alloc(size);
  if (block == NULL) {
    fprintf(stderr, "no memory\n");
    abort();
  }
  *block = 1;
  return block;
}

static void *run_member(void *argument) {
  member_t *me = argument;
  current->warm_up(me);
  crowd_meet();
  uint64_t start = hak_atomics_counted;
  current->work(me);
  counted[me->index] = hak_atomics_counted - start;
  crowd_meet();
  return NULL;
}

double crowd_locked(const workload_t *workload, unsigned threads) {
  pthread_t handles[MAX_THREADS];
  void *shared = workload->make(threads);
  current = workload;
  pthread_barrier_init(&barrier, NULL, threads);
  for (unsigned i = 0; i < threads; i++) {
    members[i] = (member_t){i, threads, 0x9e3779b97f4a7c15u * (i + 1), 0, shared};
    if (pthread_create(&handles[i], NULL, run_member, &members[i]) != 0) abort();
  }
  uint64_t locked = 0, operations = 0;
  for (unsigned i = 0; i < threads; i++) {
    pthread_join(handles[i], NULL);
    locked += counted[i];
    operations += members[i].operations;
  }
  pthread_barrier_destroy(&barrier);
  workload->unmake(shared, threads);
  return 1000.0 * (double)locked / (double)operations;
}
