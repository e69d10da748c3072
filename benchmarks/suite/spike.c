/* spike.c - load that comes in waves, with calm between.
 *
 * Measures how much of a mass of short-lived blocks stays resident when it is gone and
 * the few long-lived blocks that were allocated among it live on: the resident set
 * 2.5 seconds into a calm of light load, divided by the bytes that live then, in the mean
 * of the spikes. Nobody asks for memory back. The long-lived blocks lie among the others
 * or in a heap of their own.
 */
#include "suite/groups.h"
#include "suite/population.h"

enum {
  AMONG,   /* the others */
  OWN_HEAP /* of the blocks that last */
};

enum {
  LASTING_OF = 40, /* one block in so many lasts, until the next spike but one */
  SPIKES = 5,
  GENERATIONS = 2
};

typedef struct spikes {
  suite_population_t mass, lasting[GENERATIONS];
  bench_heap_t *heap; /* of lasting blocks; NULL: that of all */
} spikes_t;

static char *alloc_lasting(spikes_t *spikes, uint32_t size) {
  if (spikes->heap == NULL) return suite_alloc_written(size);
  char *block = bench_heap_alloc(spikes->heap, size);
  for (size_t at = 0; at < size; at += 4096) block[at] = 1;
  block[size - 1] = 1;
  return block;
}

/* Allocates `bytes`, frees what does not last, the first half first. */
static void surge(spikes_t *spikes, const suite_workload_t *self, size_t bytes,
                  suite_population_t *lasting) {
  suite_population_t *mass = &spikes->mass;
  while (mass->requested < bytes && !suite_population_is_full(mass)) {
    uint32_t size = bench_range(&mass->random, self->low, self->high);
    bool lasts = bench_range(&mass->random, 1, LASTING_OF) == 1;
    if (lasts && !suite_population_is_full(lasting)) {
      suite_population_take(lasting, alloc_lasting(spikes, size), size);
    } else {
      suite_population_add(mass, size);
    }
  }
  while (mass->count > 0) suite_population_remove(mass, mass->count / 2);
}

static void run_spikes(const suite_workload_t *self) {
  spikes_t spikes = {.heap = NULL};
  size_t bytes = suite_set(128u * MIB), requested = 0;
  uint32_t rounds = suite_rounds(SPIKES, 2);
  uint32_t blocks = (uint32_t)(bytes / ((self->low + self->high) / 2)) / 10 * 11 + 100;
  double sum = 0, time = 0;
  if (self->variant == OWN_HEAP) spikes.heap = bench_heap_new();
  suite_population_start(&spikes.mass, blocks, 0);
  for (uint32_t i = 0; i < GENERATIONS; i++) {
    suite_population_start(&spikes.lasting[i], blocks / LASTING_OF * 2, 1 + i);
  }
  for (uint32_t i = 0; i < rounds; i++) {
    suite_population_t *lasting = &spikes.lasting[i % GENERATIONS];
    double start = suite_now();
    while (lasting->count > 0) suite_population_remove(lasting, lasting->count - 1);
    surge(&spikes, self, bytes, lasting);
    time += suite_now() - start;
    suite_point();
    suite_light_load(2.5);
    suite_point();
    requested = spikes.lasting[0].requested + spikes.lasting[1].requested;
    sum += suite_per_requested(requested);
  }
  suite_time("op", time, (double)bytes / ((self->low + self->high) / 2.0) * rounds);
  suite_figure("calm_per_requested", sum / rounds, "x");
  for (uint32_t i = 0; i < GENERATIONS; i++) suite_population_end(&spikes.lasting[i]);
  suite_population_end(&spikes.mass);
  if (spikes.heap != NULL) bench_heap_destroy(spikes.heap);
}

static const suite_workload_t workloads[] = {
    {.name = "spike_small",
     .what = "spikes of 128 MiB in blocks of 16 to 512 bytes, of which 1 in 40 lasts",
     .run = run_spikes,
     .low = 16,
     .high = 512},
    {.name = "spike_mixed",
     .what = "the same with blocks of 16 to 4,000 bytes",
     .run = run_spikes,
     .low = 16,
     .high = 4000},
    {.name = "spike_heap",
     .what = "the same, those that last in a heap of their own",
     .run = run_spikes,
     .low = 16,
     .high = 4000,
     .variant = OWN_HEAP,
     .heaps = 1},
};

const suite_group_t suite_spike = SUITE_GROUP("spike", workloads);
