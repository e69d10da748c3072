/* remote.c - two threads that have only memory in common.
 *
 * Measures a list that one thread builds and another frees as a whole; a thread that
 * frees one size that it never allocates while it works with another; and threads that
 * write to small blocks of their own all the time, which is slow if an allocator
 * gives two threads blocks in one cache line.
 */
#include <stdatomic.h>

#include "suite/groups.h"
#include "suite/ring.h"
#include "suite/slots.h"

/* ---- A wave ----------------------------------------------------------------- */

typedef struct item {
  struct item *next;
} item_t;

typedef struct wave {
  const suite_workload_t *self;
  _Alignas(128) _Atomic(item_t *) list;
  uint32_t rounds;
  double build, free;
} wave_t;

enum {
  COLD = 2 /* waves that do not count */
};

static void build_waves(wave_t *wave) {
  const suite_workload_t *self = wave->self;
  uint64_t random = bench_seed(0);
  for (uint32_t round = 0; round < wave->rounds; round++) {
    double start = suite_now();
    item_t *list = NULL;
    for (uint32_t i = 0; i < self->slots; i++) {
      item_t *item = bench_alloc(bench_range(&random, self->low, self->high));
      item->next = list;
      list = item;
    }
    if (round >= COLD) wave->build += suite_now() - start;
    atomic_store_explicit(&wave->list, list, memory_order_release);
    uint32_t spins = 0;
    while (atomic_load_explicit(&wave->list, memory_order_acquire) != NULL) {
      suite_wait(&spins);
    }
  }
}

static void free_waves(wave_t *wave) {
  for (uint32_t round = 0; round < wave->rounds; round++) {
    item_t *list;
    uint32_t spins = 0;
    while ((list = atomic_load_explicit(&wave->list, memory_order_acquire)) == NULL) {
      suite_wait(&spins);
    }
    double start = suite_now();
    while (list != NULL) {
      item_t *next = list->next;
      bench_free(list);
      list = next;
    }
    if (round >= COLD) wave->free += suite_now() - start;
    atomic_store_explicit(&wave->list, NULL, memory_order_release);
  }
}

static void take_part_in_waves(void *context, uint32_t index) {
  if (index == 0) {
    build_waves(context);
  } else {
    free_waves(context);
  }
}

static void run_wave(const suite_workload_t *self) {
  wave_t wave = {.self = self, .rounds = suite_rounds(self->operations, COLD + 1)};
  suite_team_t team = {.run = take_part_in_waves, .context = &wave};
  suite_team_run(&team, self->threads);
  double items = (double)self->slots * (wave.rounds - COLD);
  suite_time("build", wave.build, items);
  suite_time("free", wave.free, items);
}

/* ---- Frees of one size, work with another ------------------------------------ */

enum {
  GIVEN = 64 /* bytes in a block that is only freed */
};

typedef struct gift {
  const suite_workload_t *self;
  suite_ring_t *ring;
  uint32_t batches;
  suite_slots_t slots; /* of the thread that frees */
} gift_t;

static void prepare_gifts(void *context, uint32_t index) {
  gift_t *gift = context;
  if (index == 1) suite_slots_fill(&gift->slots, gift->self, index, SUITE_WRITE);
}

static void exchange_gifts(void *context, uint32_t index) {
  gift_t *gift = context;
  if (index == 0) {
    for (uint32_t i = 0; i < gift->batches; i++) {
      void **batch = suite_ring_begin_write(gift->ring);
      for (int k = 0; k < SUITE_BATCH; k++) batch[k] = suite_alloc(GIVEN);
      suite_ring_end_write(gift->ring);
    }
    suite_ring_close(gift->ring);
    return;
  }
  for (void **batch; (batch = suite_ring_begin_read(gift->ring)) != NULL;) {
    for (int k = 0; k < SUITE_BATCH; k++) {
      bench_free(batch[k]);
      suite_slots_replace(&gift->slots, 1, SUITE_WRITE);
    }
    suite_ring_end_read(gift->ring);
  }
}

static void end_gifts(void *context, uint32_t index) {
  gift_t *gift = context;
  if (index == 1) suite_slots_empty(&gift->slots);
}

static void run_gifts(const suite_workload_t *self) {
  gift_t gift = {.self = self,
                 .ring = suite_rings(1, SUITE_BATCH),
                 .batches = suite_rounds(self->operations / SUITE_BATCH, 100)};
  suite_team_t team = {prepare_gifts, exchange_gifts, end_gifts, &gift};
  double time = suite_team_run(&team, self->threads);
  suite_time("op", time, (double)gift.batches * SUITE_BATCH);
  suite_rings_free(gift.ring, 1);
}

/* ---- False sharing ----------------------------------------------------------- */

enum {
  ACTIVE, /* each thread writes to blocks that it allocates itself */
  PASSIVE /* and first frees one of neighbours that one thread has allocated */
};

enum {
  WRITES = 2000 /* to a block before it is replaced */
};

typedef struct sharing {
  char *blocks[SUITE_MAX_THREADS]; /* where it starts */
  uint32_t rounds, size;
} sharing_t;

/* By itself and aligned, so that the loop is the same in every allocator's program. */
__attribute__((noinline, aligned(64))) static void write_to(volatile char *block) {
  for (int i = 0; i < WRITES; i++) block[i % 8]++;
}

static void write_often(void *context, uint32_t index) {
  sharing_t *sharing = context;
  if (sharing->blocks[index] != NULL) bench_free(sharing->blocks[index]);
  for (uint32_t round = 0; round < sharing->rounds; round++) {
    char *block = suite_alloc(sharing->size);
    write_to(block);
    bench_free(block);
  }
}

static void run_sharing(const suite_workload_t *self) {
  sharing_t sharing = {.rounds = suite_rounds(self->operations / WRITES, 100),
                       .size = self->high};
  for (uint32_t i = 0; i < self->threads && self->variant == PASSIVE; i++) {
    sharing.blocks[i] = suite_alloc(sharing.size);
  }
  suite_team_t team = {.run = write_often, .context = &sharing};
  double time = suite_team_run(&team, self->threads);
  suite_time("write", time, (double)sharing.rounds * WRITES * self->threads);
}

static const suite_workload_t workloads[] = {
    {.name = "remote_wave",
     .what = "a list of 200,000 blocks of 16 to 128 bytes built here, freed there",
     .run = run_wave,
     .operations = 25,
     .slots = 200000,
     .low = 16,
     .high = 128,
     .threads = 2},
    {.name = "remote_free_only",
     .what = "a thread frees blocks of another's and replaces blocks of other sizes",
     .run = run_gifts,
     .operations = 6e6,
     .slots = 256,
     .low = 128,
     .high = 512,
     .threads = 2},
    {.name = "sharing_active",
     .what = "two threads write to small blocks that each allocates for itself",
     .run = run_sharing,
     .operations = 400e6,
     .high = 8,
     .threads = 2,
     .variant = ACTIVE},
    {.name = "sharing_passive",
     .what = "the same, after each thread has freed one of two neighbours",
     .run = run_sharing,
     .operations = 400e6,
     .high = 8,
     .threads = 2,
     .variant = PASSIVE},
};

const suite_group_t suite_remote = SUITE_GROUP("exchange", workloads);
