/* producers.c - 16 threads allocate, one frees all of it: the resident set, at a moment
 * when all rings are full, beside what lives then. */
#include "experiments.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
  PRODUCERS = 16,
  RING = 4096
};

typedef struct ring {
  _Atomic size_t written, read;
  block_t blocks[RING];
} ring_t;

static ring_t rings[PRODUCERS];
static size_t rounds;

static void *produce(void *number) {
  ring_t *ring = &rings[(uintptr_t)number];
  uint64_t state = (uintptr_t)number;
  for (size_t i = 0; i < rounds; i++) {
    while (i - atomic_load(&ring->read) == RING) sched_yield();
    size_t size = 32 + random_next(&state) % 1000;
    block_t block = {face_alloc(size), size, i};
    if (block.at == NULL) end(REFUSED, "no memory");
    for (size_t at = 0; at < size; at += 16) block.at[at] = 1;
    ring->blocks[i % RING] = block;
    atomic_store(&ring->written, i + 1);
  }
  return NULL;
}

/* Frees all but the last RING blocks of each producer, which are what lives. */
static void *consume(void *nothing) {
  for (size_t open = PRODUCERS; open > 0;) {
    open = 0;
    for (size_t p = 0; p < PRODUCERS; p++) {
      ring_t *ring = &rings[p];
      size_t read = atomic_load(&ring->read), written = atomic_load(&ring->written);
      size_t last = rounds - RING;
      if (read < last) open++;
      for (; read < written && read < last; read++) {
        face_free(ring->blocks[read % RING].at);
        atomic_store(&ring->read, read + 1);
      }
    }
    sched_yield();
  }
  return nothing;
}

static void list(void) { say_case("producers"); }

static void run(const char *which) {
  (void)which;
  unsigned long threads[PRODUCERS + 1];
  rounds = RING * (exp_is_brief ? 8u : 64u);
  for (size_t p = 0; p < PRODUCERS; p++) {
    for (size_t i = 0; i < RING; i++) rings[p].blocks[i].size = 1; /* resident */
  }
  size_t before = resident_bytes(), live = 0;
  for (uintptr_t p = 0; p < PRODUCERS; p++) thread_begin(&threads[p], produce, (void *)p);
  thread_begin(&threads[PRODUCERS], consume, NULL);
  for (size_t i = 0; i <= PRODUCERS; i++) thread_end(threads[i]);
  for (size_t p = 0; p < PRODUCERS; p++) {
    for (size_t i = 0; i < RING; i++) live += rings[p].blocks[i].size;
  }
  end_with((double)(resident_bytes() - before) / (double)live, "x");
}

const experiment_t exp_producers = {"producers", list, run};
