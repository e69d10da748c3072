/* exchange.c - blocks that are always freed by another thread.
 *
 * Measures how blocks come home: some threads allocate and pass on what others free,
 * one by one and in batches of 64. Wall time from start to end, by block; sizes of 16
 * to 256 bytes.
 */
#include "suite/groups.h"
#include "suite/ring.h"

typedef struct exchange {
  suite_ring_t *rings;
  uint32_t writers, readers; /* one of them is 1; the others have a ring each */
  uint32_t low, high;
  uint32_t batch;   /* blocks in it */
  uint32_t batches; /* of each writer */
} exchange_t;

static void write_batch(const exchange_t *exchange, suite_ring_t *ring,
                        uint64_t *random) {
  void **batch = suite_ring_begin_write(ring);
  for (uint32_t i = 0; i < exchange->batch; i++) {
    batch[i] = suite_alloc(bench_range(random, exchange->low, exchange->high));
  }
  suite_ring_end_write(ring);
}

static void write_rings(const exchange_t *exchange, suite_ring_t *rings, uint32_t count,
                        uint64_t random) {
  for (uint32_t i = 0; i < exchange->batches; i++) {
    write_batch(exchange, &rings[i % count], &random);
  }
  for (uint32_t i = 0; i < count; i++) suite_ring_close(&rings[i]);
}

static void read_rings(const exchange_t *exchange, suite_ring_t *rings, uint32_t count) {
  uint32_t spins = 0, open = count;
  while (open > 0) {
    bool idle = true;
    open = count;
    for (uint32_t k = 0; k < count; k++) {
      void **batch = suite_ring_try_read(&rings[k]);
      if (batch == NULL) {
        open -= suite_ring_is_over(&rings[k]);
        continue;
      }
      for (uint32_t i = 0; i < exchange->batch; i++) bench_free(batch[i]);
      suite_ring_end_read(&rings[k]);
      idle = false;
    }
    if (idle) suite_wait(&spins);
  }
}

static void take_part(void *context, uint32_t index) {
  const exchange_t *exchange = context;
  uint32_t writers = exchange->writers, readers = exchange->readers;
  if (index < writers) {
    write_rings(exchange, &exchange->rings[index], readers, bench_seed(index));
  } else {
    read_rings(exchange, &exchange->rings[index - writers], writers);
  }
}

enum {
  FROM_ONE,
  TO_ONE
};

/* `slots`: the blocks in a batch. */
static void run_exchange(const suite_workload_t *self) {
  uint32_t others = self->threads - 1;
  exchange_t exchange = {.writers = self->variant == TO_ONE ? others : 1,
                         .readers = self->variant == TO_ONE ? 1 : others,
                         .low = self->low,
                         .high = self->high,
                         .batch = self->slots};
  exchange.rings = suite_rings(others, self->slots);
  exchange.batches = suite_rounds(self->operations / self->slots / exchange.writers, 100);
  suite_team_t team = {.run = take_part, .context = &exchange};
  double time = suite_team_run(&team, self->threads);
  suite_time("op", time, (double)exchange.batches * exchange.batch * exchange.writers);
  suite_rings_free(exchange.rings, others);
}

/* ---- A chain ---------------------------------------------------------------- */

/* Reads the blocks of one ring and puts them into the next. */
static void pass_on(const exchange_t *exchange) {
  suite_ring_t *from = &exchange->rings[0], *to = &exchange->rings[1];
  uint64_t sum = 0;
  for (void **batch; (batch = suite_ring_begin_read(from)) != NULL;) {
    void **copy = suite_ring_begin_write(to);
    for (uint32_t i = 0; i < exchange->batch; i++) {
      sum += *(unsigned char *)batch[i];
      copy[i] = batch[i];
    }
    suite_ring_end_write(to);
    suite_ring_end_read(from);
  }
  suite_ring_close(to);
  suite_sink = sum;
}

static void be_a_link(void *context, uint32_t index) {
  const exchange_t *exchange = context;
  if (index == 0) {
    write_rings(exchange, &exchange->rings[0], 1, bench_seed(0));
  } else if (index == 1) {
    pass_on(exchange);
  } else {
    read_rings(exchange, &exchange->rings[1], 1);
  }
}

static void run_chain(const suite_workload_t *self) {
  exchange_t exchange = {.rings = suite_rings(2, self->slots),
                         .low = self->low,
                         .high = self->high,
                         .batch = self->slots,
                         .batches = suite_rounds(self->operations / self->slots, 100)};
  suite_team_t team = {.run = be_a_link, .context = &exchange};
  double time = suite_team_run(&team, self->threads);
  suite_time("op", time, (double)exchange.batches * exchange.batch);
  suite_rings_free(exchange.rings, 2);
}

/* ---- The ring alone ---------------------------------------------------------- */

enum {
  SPARE = 2 * SUITE_RING, /* blocks that go round: no block is written while it is read */
  SPARE_BYTES = 192
};

/* Writes to blocks that were there before, and frees none. */
static void only_pass(void *context, uint32_t index) {
  const exchange_t *exchange = context;
  suite_ring_t *ring = exchange->rings;
  if (index == 1) {
    uintptr_t sum = 0;
    for (void **batch; (batch = suite_ring_begin_read(ring)) != NULL;) {
      for (uint32_t i = 0; i < exchange->batch; i++) sum += (uintptr_t)batch[i];
      suite_ring_end_read(ring);
    }
    suite_sink = sum;
    return;
  }
  char *spare = bench_records(SPARE * SPARE_BYTES);
  uint64_t random = bench_seed(0), size = 0;
  uint32_t next = 0;
  for (uint32_t i = 0; i < exchange->batches; i++) {
    void **batch = suite_ring_begin_write(ring);
    for (uint32_t k = 0; k < exchange->batch; k++, next++) {
      size += bench_range(&random, exchange->low, exchange->high);
      char *block = &spare[next % SPARE * SPARE_BYTES];
      *block = 1;
      batch[k] = block;
    }
    suite_ring_end_write(ring);
  }
  suite_ring_close(ring);
  suite_sink = size;
  bench_records_free(spare, SPARE * SPARE_BYTES);
}

/* Of interest beside the other figures, and the same for all allocators: so it has a
 * unit of its own, and is in no total. */
static void run_ring(const suite_workload_t *self) {
  exchange_t exchange = {.rings = suite_rings(1, self->slots),
                         .low = self->low,
                         .high = self->high,
                         .batch = self->slots,
                         .batches = suite_rounds(self->operations / self->slots, 100)};
  suite_team_t team = {.run = only_pass, .context = &exchange};
  double time = suite_team_run(&team, self->threads);
  suite_figure("op", time / ((double)exchange.batches * exchange.batch), "ns_ring");
  suite_rings_free(exchange.rings, 1);
}

static const suite_workload_t workloads[] = {
    {.name = "exchange_none",
     .what = "exchange_1to1 without allocator: what the ring itself costs",
     .run = run_ring,
     .operations = 15e6,
     .slots = 64,
     .low = 16,
     .high = 256,
     .threads = 2},
    {.name = "exchange_none_single",
     .what = "exchange_1to1_single without allocator",
     .run = run_ring,
     .operations = 4e6,
     .slots = 1,
     .low = 16,
     .high = 256,
     .threads = 2},
    {.name = "exchange_1to1",
     .what = "one thread allocates batches of 64 blocks, another frees them",
     .run = run_exchange,
     .operations = 15e6,
     .slots = 64,
     .low = 16,
     .high = 256,
     .threads = 2,
     .variant = FROM_ONE},
    {.name = "exchange_1to1_single",
     .what = "one thread allocates blocks one by one, another frees them",
     .run = run_exchange,
     .operations = 4e6,
     .slots = 1,
     .low = 16,
     .high = 256,
     .threads = 2,
     .variant = FROM_ONE},
    {.name = "exchange_1to7",
     .what = "one thread allocates batches of 64 blocks, seven others free them",
     .run = run_exchange,
     .operations = 10e6,
     .slots = 64,
     .low = 16,
     .high = 256,
     .threads = 8,
     .variant = FROM_ONE},
    {.name = "exchange_1to7_single",
     .what = "one thread allocates blocks one by one, seven others free them",
     .run = run_exchange,
     .operations = 700e3,
     .slots = 1,
     .low = 16,
     .high = 256,
     .threads = 8,
     .variant = FROM_ONE},
    {.name = "exchange_7to1",
     .what = "seven threads allocate batches of 64 blocks, one other frees them",
     .run = run_exchange,
     .operations = 10e6,
     .slots = 64,
     .low = 16,
     .high = 256,
     .threads = 8,
     .variant = TO_ONE},
    {.name = "exchange_7to1_single",
     .what = "seven threads allocate blocks one by one, one other frees them",
     .run = run_exchange,
     .operations = 2e6,
     .slots = 1,
     .low = 16,
     .high = 256,
     .threads = 8,
     .variant = TO_ONE},
    {.name = "exchange_chain",
     .what = "batches of 64 blocks allocated by one thread, read by the next, freed by "
             "a third",
     .run = run_chain,
     .operations = 8e6,
     .slots = 64,
     .low = 16,
     .high = 256,
     .threads = 3},
    {.name = "exchange_chain_single",
     .what = "blocks, one by one, allocated by one thread, read by the next, freed by a "
             "third",
     .run = run_chain,
     .operations = 500e3,
     .slots = 1,
     .low = 16,
     .high = 256,
     .threads = 3},
};

const suite_group_t suite_exchange = SUITE_GROUP("exchange", workloads);
