#include <hakmem/hakmem.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "scaling/crowd.h"

/* ---- churn: each thread replaces blocks of its own ---------------------------- */

#define CHURN_SLOTS 256
#define CHURN_ROUNDS 100000

typedef char *churn_slots_t[CHURN_SLOTS];

static void *churn_make(unsigned threads) {
  return calloc(threads, sizeof(churn_slots_t));
}

static void churn_replace(member_t *me, uint64_t rounds) {
  char **slots = ((churn_slots_t *)me->shared)[me->index];
  for (uint64_t i = 0; i < rounds; i++) {
    char **slot = &slots[crowd_range(&me->random, 0, CHURN_SLOTS - 1)];
    hak_free(*slot);
    *slot = crowd_alloc(crowd_range(&me->random, 16, 1024));
  }
  me->operations += rounds;
}

static void churn_warm_up(member_t *me) {
  churn_replace(me, CHURN_ROUNDS / 2);
  me->operations = 0;
}

static void churn_work(member_t *me) { churn_replace(me, CHURN_ROUNDS); }

static void churn_unmake(void *shared, unsigned threads) {
  churn_slots_t *slots = shared;
  for (unsigned i = 0; i < threads; i++) {
    for (unsigned k = 0; k < CHURN_SLOTS; k++) hak_free(slots[i][k]);
  }
  free(shared);
}

const workload_t churn = {"churn", churn_make, churn_warm_up, churn_work, churn_unmake};

/* ---- pairs: one thread of two allocates, the other frees ---------------------- */

#define RING 64
#define BATCH 64
#define PAIR_BATCHES 4000

typedef struct ring {
  _Alignas(128) _Atomic(uint32_t) head;
  _Alignas(128) _Atomic(uint32_t) tail;
  void *batches[RING][BATCH];
} ring_t;

static void *pairs_make(unsigned threads) {
  ring_t *rings = aligned_alloc(_Alignof(ring_t), threads / 2 * sizeof *rings);
  for (unsigned i = 0; i < threads / 2; i++) {
    atomic_init(&rings[i].head, 0);
    atomic_init(&rings[i].tail, 0);
  }
  return rings;
}

static void produce(ring_t *ring, uint64_t *random, uint32_t batches) {
  uint32_t at = atomic_load_explicit(&ring->head, memory_order_relaxed), spins = 0;
  for (uint32_t end = at + batches; at != end; at++) {
    while (at - atomic_load_explicit(&ring->tail, memory_order_acquire) == RING) {
      crowd_wait(&spins);
    }
    for (unsigned i = 0; i < BATCH; i++) {
      ring->batches[at % RING][i] = crowd_alloc(crowd_range(random, 16, 256));
    }
    atomic_store_explicit(&ring->head, at + 1, memory_order_release);
  }
}

static void consume(ring_t *ring, uint32_t batches) {
  uint32_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed), spins = 0;
  for (uint32_t end = at + batches; at != end; at++) {
    while (at == atomic_load_explicit(&ring->head, memory_order_acquire)) {
      crowd_wait(&spins);
    }
    for (unsigned i = 0; i < BATCH; i++) hak_free(ring->batches[at % RING][i]);
    atomic_store_explicit(&ring->tail, at + 1, memory_order_release);
  }
}

static void pairs_pass(member_t *me, uint32_t batches) {
  ring_t *ring = &((ring_t *)me->shared)[me->index / 2];
  if (me->index % 2 == 0) {
    produce(ring, &me->random, batches);
    me->operations = (uint64_t)batches * BATCH;
  } else {
    consume(ring, batches);
  }
}

static void pairs_warm_up(member_t *me) { pairs_pass(me, PAIR_BATCHES / 2); }
static void pairs_work(member_t *me) { pairs_pass(me, PAIR_BATCHES); }

static void pairs_unmake(void *shared, unsigned threads) {
  (void)threads;
  free(shared);
}

const workload_t pairs = {"pairs", pairs_make, pairs_warm_up, pairs_work, pairs_unmake};

/* ---- larson: threads replace blocks and pass the sets on ---------------------- */

#define SET 1000
#define SWAPS 10
#define SWAP_ROUNDS 10000

typedef char *set_t[SET];

static void *larson_make(unsigned threads) {
  set_t *sets = calloc(threads, sizeof *sets);
  for (unsigned i = 0; i < threads; i++) {
    for (unsigned k = 0; k < SET; k++) sets[i][k] = crowd_alloc(64);
  }
  return sets;
}

/* Each swap, everybody works on the set of the next thread. */
static void larson_swaps(member_t *me, unsigned swaps) {
  for (unsigned swap = 0; swap < swaps; swap++) {
    char **set = ((set_t *)me->shared)[(me->index + swap) % me->threads];
    for (unsigned i = 0; i < SWAP_ROUNDS; i++) {
      char **slot = &set[crowd_range(&me->random, 0, SET - 1)];
      hak_free(*slot);
      *slot = crowd_alloc(crowd_range(&me->random, 16, 1024));
    }
    crowd_meet();
  }
  me->operations = (uint64_t)swaps * SWAP_ROUNDS;
}

static void larson_warm_up(member_t *me) { larson_swaps(me, SWAPS / 2); }
static void larson_work(member_t *me) { larson_swaps(me, SWAPS); }

static void larson_unmake(void *shared, unsigned threads) {
  set_t *sets = shared;
  for (unsigned i = 0; i < threads; i++) {
    for (unsigned k = 0; k < SET; k++) hak_free(sets[i][k]);
  }
  free(shared);
}

const workload_t larson = {"larson", larson_make, larson_warm_up, larson_work,
                           larson_unmake};
