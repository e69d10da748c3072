/* crowd.h - many threads that do the same work, and the locked instructions that the
 * allocator executes in them.
 */
#ifndef TESTS_SCALING_CROWD_H
#define TESTS_SCALING_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct member {
  unsigned index, threads;
  uint64_t random;
  uint64_t operations; /* set by the work: allocations with their frees */
  void *shared;        /* what `make` returned */
} member_t;

typedef struct workload {
  const char *name;
  void *(*make)(unsigned threads);          /* before the threads start */
  void (*warm_up)(member_t *);              /* not counted */
  void (*work)(member_t *);                 /* counted */
  void (*unmake)(void *, unsigned threads); /* when they have ended */
} workload_t;

extern const workload_t churn, pairs, larson;

/* Locked instructions per 1,000 operations, all threads together. */
double crowd_locked(const workload_t *workload, unsigned threads);

/* Waits until all threads of the crowd are here. */
void crowd_meet(void);

/* xorshift64, evenly from low to high, both included. */
uint32_t crowd_range(uint64_t *random, uint32_t low, uint32_t high);

/* Lets others run now and then; a place to call from while waiting. */
void crowd_wait(uint32_t *spins);

/* An allocation whose first byte is written; aborts if there is none. */
char *crowd_alloc(size_t size);

#endif
