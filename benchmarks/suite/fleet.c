/* fleet.c - sizes as fleets of servers allocate them, in places that live short or long.
 *
 * Measures what is resident beside what was asked for while blocks of the sizes that
 * servers use come and go. The sizes are the mean of the ten profiles of
 * google/fleetbench, of allocations and of live objects apart: what is allocated often
 * beside how many of it live dies soon. Each size has two places, of which one has 95 %
 * of the allocations and 5 % of the live blocks, so that short-lived and long-lived
 * blocks of one size lie side by side. Every page of every block is written; looks at
 * memory are not timed.
 */
#include "suite/groups.h"
#include "suite/population.h"
#include "suite/threads.h"

enum {
  SIZES = 11,
  PLACES = 2, /* of each size: where blocks die soon, and where they live long */
  MOST_THREADS = 4,
  LOOKS = 24 /* at memory; the second half of them counts */
};

typedef struct profile {
  uint32_t most;         /* bytes; the least is one more than the size before has */
  uint32_t rate, living; /* of 10,000 allocations, of 10,000 live blocks */
} profile_t;

static const profile_t profiles[SIZES] = {
    {16, 1130, 750},   {32, 2310, 2630}, {48, 1860, 1510}, {64, 1190, 1250},
    {128, 1550, 1990}, {256, 780, 750},  {1024, 710, 600}, {4096, 320, 360},
    {8192, 100, 110},  {32768, 30, 40},  {262144, 20, 10},
};

typedef struct fleet {
  suite_population_t places[MOST_THREADS][SIZES][PLACES];
  uint64_t random[MOST_THREADS];
  uint32_t blocks;        /* that each thread has */
  uint32_t rounds;        /* of each thread, until the next look */
  uint32_t chosen[10000]; /* a size by chance; the same for all threads */
} fleet_t;

static fleet_t fleet;

/* Small sizes are likelier than large ones within a profile's range. */
static uint32_t size_of(uint32_t which, uint64_t *random) {
  uint32_t least = which == 0 ? 1 : profiles[which - 1].most + 1;
  uint32_t most = profiles[which].most;
  return bench_range(random, least, bench_range(random, least, most));
}

static void prepare(void *context, uint32_t index) {
  (void)context;
  uint64_t *random = &fleet.random[index];
  *random = bench_seed(index);
  for (uint32_t which = 0; which < SIZES; which++) {
    for (uint32_t place = 0; place < PLACES; place++) {
      uint32_t share = place == 0 ? 5 : 95; /* % of those that live */
      uint64_t parts = (uint64_t)fleet.blocks * profiles[which].living * share;
      uint32_t count = (uint32_t)(parts / 1000000) + 1;
      suite_population_t *all = &fleet.places[index][which][place];
      suite_population_start(all, count, 0);
      while (!suite_population_is_full(all)) {
        suite_population_add(all, size_of(which, random));
      }
    }
  }
}

static void replace(void *context, uint32_t index) {
  (void)context;
  uint64_t random = fleet.random[index];
  for (uint32_t i = 0; i < fleet.rounds; i++) {
    uint32_t which = fleet.chosen[bench_range(&random, 0, 9999)];
    uint32_t place = bench_range(&random, 1, 100) <= 95 ? 0 : 1;
    suite_population_t *all = &fleet.places[index][which][place];
    suite_population_remove(all, bench_range(&random, 0, all->count - 1));
    suite_population_add(all, size_of(which, &random));
  }
  fleet.random[index] = random;
}

static size_t requested_by(uint32_t threads) {
  size_t bytes = 0;
  for (uint32_t i = 0; i < threads; i++) {
    for (uint32_t which = 0; which < SIZES; which++) {
      for (uint32_t place = 0; place < PLACES; place++) {
        bytes += fleet.places[i][which][place].requested;
      }
    }
  }
  return bytes;
}

static void choose_sizes(void) {
  uint32_t at = 0;
  for (uint32_t which = 0; which < SIZES; which++) {
    for (uint32_t i = 0; i < profiles[which].rate; i++) fleet.chosen[at++] = which;
  }
}

static void run_fleet(const suite_workload_t *self) {
  uint32_t threads = self->threads > 1 ? self->threads : 1;
  double time = 0, sum = 0;
  choose_sizes();
  fleet.blocks = (uint32_t)suite_set(self->slots) / threads;
  fleet.rounds = suite_rounds(self->operations / LOOKS, fleet.blocks / 2);
  for (uint32_t look = 0; look < LOOKS; look++) {
    suite_team_t team = {look == 0 ? prepare : NULL, replace, NULL, &fleet};
    time += suite_team_run(&team, threads);
    suite_point();
    if (look >= LOOKS / 2) sum += suite_per_requested(requested_by(threads));
  }
  suite_time("op", time, (double)fleet.rounds * LOOKS * threads);
  suite_figure("rss_per_requested", sum / (LOOKS / 2), "x");
  for (uint32_t i = 0; i < threads; i++) {
    for (uint32_t which = 0; which < SIZES; which++) {
      for (uint32_t place = 0; place < PLACES; place++) {
        suite_population_end(&fleet.places[i][which][place]);
      }
    }
  }
}

static const suite_workload_t workloads[] = {
    {.name = "fleet_1t",
     .what =
         "150,000 blocks of the sizes of fleets, in short-lived and long-lived places",
     .run = run_fleet,
     .operations = 8e6,
     .slots = 150000,
     .high = 262144},
    {.name = "fleet_4t",
     .what = "the same by four threads that have a quarter of the blocks each",
     .run = run_fleet,
     .operations = 2e6,
     .slots = 150000,
     .high = 262144,
     .threads = 4},
};

const suite_group_t suite_fleet = SUITE_GROUP("fleet", workloads);
