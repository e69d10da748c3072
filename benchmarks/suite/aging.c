/* aging.c - programs that run for long: what is resident beside what they asked for.
 *
 * Measures a server whose sessions come and go, sizes that drift, survivors of masses
 * that die, and two threads that exchange messages. Every page of every block is
 * written. The figure is the mean of the resident set over the second half of the work,
 * divided by the bytes that the program has asked for and not freed, rounding by the
 * allocator not included; looks at memory are not timed.
 */
#include "suite/groups.h"
#include "suite/population.h"
#include "suite/ring.h"

enum {
  LOOKS = 32 /* at memory; the second half of them counts */
};

/* Sizes of a server: most are small, few are large; about 600 bytes in the mean. */
static uint32_t server_size(uint64_t *random) {
  uint32_t kind = bench_range(random, 1, 100);
  if (kind <= 90) return bench_range(random, 16, 256);
  if (kind <= 99) return bench_range(random, 256, 4096);
  return bench_range(random, 4096, 65536);
}

typedef struct looks {
  double sum;
  uint32_t count;
} looks_t;

static void look(looks_t *looks, uint32_t number, size_t requested) {
  suite_point();
  if (number < LOOKS / 2) return;
  double ratio = suite_per_requested(requested);
  looks->sum += ratio;
  looks->count++;
}

static void report(const looks_t *looks) {
  suite_figure("rss_per_requested", looks->sum / looks->count, "x");
}

/* ---- A server ---------------------------------------------------------------- */

enum {
  SESSION_BLOCKS = 40, /* of a session at most; half of it in the mean */
  REQUEST_BLOCKS = 20, /* for a request, freed at its end */
  MOST_THREADS = 4
};

typedef struct session {
  char *blocks[SESSION_BLOCKS];
  uint32_t count;
  size_t requested;
} session_t;

typedef struct server {
  session_t *sessions[MOST_THREADS]; /* of each thread */
  uint64_t random[MOST_THREADS];
  size_t requested[MOST_THREADS];
  uint32_t slots;    /* sessions of each thread */
  uint32_t requests; /* of each thread, until the next look */
} server_t;

static void end_session(session_t *session) {
  for (uint32_t i = 0; i < session->count; i++) bench_free(session->blocks[i]);
  session->count = 0;
  session->requested = 0;
}

static void begin_session(session_t *session, uint64_t *random) {
  session->count = bench_range(random, 1, SESSION_BLOCKS);
  for (uint32_t i = 0; i < session->count; i++) {
    uint32_t size = server_size(random);
    session->blocks[i] = suite_alloc_written(size);
    session->requested += size;
  }
}

/* Each request has blocks of its own; every fourth ends a session and begins another. */
static void serve(void *context, uint32_t index) {
  server_t *server = context;
  session_t *sessions = server->sessions[index];
  uint64_t random = server->random[index];
  char *own[REQUEST_BLOCKS];
  for (uint32_t i = 0; i < server->requests; i++) {
    for (int k = 0; k < REQUEST_BLOCKS; k++) {
      own[k] = suite_alloc_written(server_size(&random));
    }
    if (i % 4 == 0) {
      session_t *session = &sessions[bench_range(&random, 0, server->slots - 1)];
      server->requested[index] -= session->requested;
      end_session(session);
      begin_session(session, &random);
      server->requested[index] += session->requested;
    }
    for (int k = 0; k < REQUEST_BLOCKS; k++) bench_free(own[k]);
  }
  server->random[index] = random;
}

static void run_server(const suite_workload_t *self) {
  static server_t server;
  looks_t looks = {0};
  double time = 0;
  uint32_t threads = self->threads > 1 ? self->threads : 1;
  server.slots = (uint32_t)suite_set(self->slots);
  server.requests = suite_rounds(self->operations / LOOKS, server.slots / 2);
  size_t bytes = server.slots * sizeof(session_t);
  for (uint32_t i = 0; i < threads; i++) {
    server.sessions[i] = bench_records(bytes);
    server.random[i] = bench_seed(i);
  }
  suite_team_t team = {NULL, serve, NULL, &server};
  for (uint32_t number = 0; number < LOOKS; number++) {
    time += suite_team_run(&team, threads);
    size_t requested = 0;
    for (uint32_t i = 0; i < threads; i++) requested += server.requested[i];
    look(&looks, number, requested);
  }
  suite_time("request", time, (double)server.requests * LOOKS * threads);
  report(&looks);
  for (uint32_t i = 0; i < threads; i++) {
    for (uint32_t k = 0; k < server.slots; k++) end_session(&server.sessions[i][k]);
    bench_records_free(server.sessions[i], bytes);
  }
}

/* ---- Drift --------------------------------------------------------------------- */

/* Blocks of `low` to 1.5 x `low` bytes, where `low` grows and comes back; the operations
 * say how often all of them are replaced before it changes. */
static void run_drift(const suite_workload_t *self) {
  suite_population_t all;
  looks_t looks = {0};
  size_t live = suite_set(48u * MIB);
  double time = 0, blocks = 0;
  size_t bytes = (size_t)suite_rounds((double)live * self->operations, (uint32_t)live);
  suite_population_start(&all, (uint32_t)(live / self->low) + 1, 0);
  for (uint32_t number = 0; number < LOOKS; number++) {
    uint32_t steps = number < LOOKS / 2 ? number : LOOKS - number;
    uint32_t low = self->low;
    for (uint32_t i = 0; i < steps; i++) low += low / 3;
    size_t done = 0;
    double start = suite_now();
    while (done < bytes) {
      uint32_t size = bench_range(&all.random, low, low + low / 2);
      while (all.requested + size > live) suite_population_remove_any(&all);
      suite_population_add(&all, size);
      done += size;
      blocks++;
    }
    time += suite_now() - start;
    look(&looks, number, all.requested);
  }
  suite_time("op", time, blocks);
  report(&looks);
  suite_population_end(&all);
}

/* ---- Survivors ----------------------------------------------------------------- */

/* Masses of which one in a hundred survives, and survivors of which the oldest go. */
static void run_survivors(const suite_workload_t *self) {
  enum {
    KEPT_OF = 100
  };
  suite_population_t mass;
  looks_t looks = {0};
  size_t bytes = suite_set(32u * MIB);
  double time = 0, blocks = 0;
  uint32_t rounds = suite_rounds(self->operations, LOOKS) / LOOKS;
  suite_population_start(&mass, (uint32_t)(bytes / self->low), 0);
  for (uint32_t number = 0; number < LOOKS; number++) {
    double start = suite_now();
    for (uint32_t i = 0; i < rounds; i++) {
      size_t limit = mass.requested + bytes;
      uint32_t first = mass.count;
      while (mass.requested < limit && !suite_population_is_full(&mass)) {
        suite_population_add(&mass, bench_range(&mass.random, self->low, self->high));
      }
      blocks += mass.count - first;
      suite_population_thin(&mass, first, KEPT_OF);
      while (mass.requested > bytes / 10) suite_population_remove_any(&mass);
    }
    time += suite_now() - start;
    look(&looks, number, mass.requested);
  }
  suite_time("op", time, blocks);
  report(&looks);
  suite_light_load(1);
  suite_figure("settled_per_requested", suite_per_requested(mass.requested), "x");
  suite_population_end(&mass);
}

/* ---- Messages ------------------------------------------------------------------ */

enum {
  MOST_HELD = 1024
};

typedef struct correspondent {
  suite_ring_t *out, *in;
  char *held[MOST_HELD]; /* messages; `slots` of them */
  uint64_t random;
  uint32_t at;
} correspondent_t;

typedef struct exchange {
  const suite_workload_t *self;
  correspondent_t each[2];
  uint32_t batches;
} exchange_t;

/* Sends a batch, takes one, and lets go of the oldest messages that it holds. */
static void correspond(void *context, uint32_t index) {
  exchange_t *exchange = context;
  correspondent_t *self = &exchange->each[index];
  uint32_t low = exchange->self->low, high = exchange->self->high;
  for (uint32_t i = 0; i < exchange->batches; i++) {
    void **batch = suite_ring_begin_write(self->out);
    for (uint32_t k = 0; k < self->out->batch; k++) {
      batch[k] = suite_alloc_written(bench_range(&self->random, low, high));
    }
    suite_ring_end_write(self->out);
    batch = suite_ring_begin_read(self->in);
    for (uint32_t k = 0; k < self->in->batch; k++) {
      bench_free(self->held[self->at]);
      self->held[self->at] = batch[k];
      self->at = (self->at + 1) % exchange->self->slots;
    }
    suite_ring_end_read(self->in);
  }
}

static void run_messages(const suite_workload_t *self) {
  enum {
    BATCH = 16
  };
  exchange_t *exchange = bench_records(sizeof *exchange);
  suite_ring_t *rings = suite_rings(2, BATCH);
  looks_t looks = {0};
  double time = 0;
  uint32_t mean = (self->low + self->high) / 2;
  exchange->self = self;
  exchange->batches =
      suite_rounds(self->operations / LOOKS / BATCH, 2 * self->slots / BATCH);
  for (uint32_t i = 0; i < 2; i++) {
    correspondent_t *one = &exchange->each[i];
    one->out = &rings[i];
    one->in = &rings[1 - i];
    one->random = bench_seed(i);
    for (uint32_t k = 0; k < self->slots; k++) one->held[k] = suite_alloc_written(mean);
  }
  suite_team_t team = {NULL, correspond, NULL, exchange};
  for (uint32_t number = 0; number < LOOKS; number++) {
    time += suite_team_run(&team, 2);
    look(&looks, number, (size_t)2 * self->slots * mean);
  }
  suite_time("message", time, 2.0 * exchange->batches * BATCH * LOOKS);
  report(&looks);
  for (uint32_t i = 0; i < 2; i++) {
    for (uint32_t k = 0; k < self->slots; k++) bench_free(exchange->each[i].held[k]);
  }
  suite_rings_free(rings, 2);
  bench_records_free(exchange, sizeof *exchange);
}

static const suite_workload_t workloads[] = {
    {.name = "aging_server",
     .what = "5,000 sessions of 1 to 40 blocks that end at random, 60 MiB, and requests",
     .run = run_server,
     .operations = 400e3,
     .slots = 5000,
     .low = 16,
     .high = 65536},
    {.name = "aging_server_4t",
     .what = "the same by four threads with 1,250 sessions each",
     .run = run_server,
     .operations = 100e3,
     .slots = 1250,
     .low = 16,
     .high = 65536,
     .threads = 4},
    {.name = "aging_drift",
     .what = "48 MiB in blocks whose sizes grow from 32 bytes to 4 KiB and shrink again",
     .run = run_drift,
     .operations = 4,
     .low = 32,
     .high = 4800},
    {.name = "aging_survivors",
     .what = "masses of 32 MiB in blocks of 16 to 1,000 bytes, of which 1 % survive",
     .run = run_survivors,
     .operations = 96,
     .low = 16,
     .high = 1000},
    {.name = "aging_messages",
     .what = "two threads that send each other blocks of 16 to 2,048 bytes, 2 MiB live",
     .run = run_messages,
     .operations = 8e6,
     .slots = 1024,
     .low = 16,
     .high = 2048,
     .threads = 2},
    {.name = "aging_messages_32k",
     .what = "two threads that send each other blocks of 1 to 32 KiB, 2 MiB live",
     .run = run_messages,
     .operations = 1e6,
     .slots = 64,
     .low = KIB,
     .high = 32 * KIB,
     .threads = 2},
};

const suite_group_t suite_aging = SUITE_GROUP("aging", workloads);
