/* cache.c - a cache that forgets what was used least of late.
 *
 * Measures what is resident beside what the cache holds, in the mean of the second half
 * of the work: values of random sizes, as many small as large ones by doublings, so that
 * those that go and those that come are hardly ever of one class. Half of the keys fit;
 * some are asked for more often than others. Every page of every value is written.
 */
#include "suite/groups.h"

enum {
  LOOKS = 32, /* at memory; the second half of them counts */
  FIT_OF = 2  /* one key in so many fits into the cache */
};

typedef struct entry {
  char *value;         /* NULL: not in the cache */
  uint32_t size;       /* of the value */
  uint32_t prev, next; /* in the order of use; of all that are in the cache */
} entry_t;

typedef struct cache {
  entry_t *entries; /* by key; behind them the two ends of the order */
  uint32_t keys;
  size_t requested, limit; /* bytes */
  uint64_t random;
} cache_t;

static void unlink_entry(cache_t *cache, uint32_t key) {
  const entry_t *entry = &cache->entries[key];
  cache->entries[entry->prev].next = entry->next;
  cache->entries[entry->next].prev = entry->prev;
}

static void link_first(cache_t *cache, uint32_t key) {
  entry_t *ends = &cache->entries[cache->keys], *entry = &cache->entries[key];
  entry->prev = cache->keys;
  entry->next = ends->next;
  cache->entries[entry->next].prev = key;
  ends->next = key;
}

static void forget(cache_t *cache, uint32_t key) {
  entry_t *entry = &cache->entries[key];
  unlink_entry(cache, key);
  bench_free(entry->value);
  entry->value = NULL;
  cache->requested -= entry->size;
}

/* A key of which the lower ones come more often; returns the bytes that were allocated.
 */
static uint32_t ask(cache_t *cache, const suite_workload_t *self) {
  uint64_t part = bench_random(&cache->random);
  uint32_t key = (uint32_t)(((part * part >> 32) * cache->keys) >> 32);
  entry_t *entry = &cache->entries[key];
  if (entry->value != NULL) {
    unlink_entry(cache, key);
    link_first(cache, key);
    return 0;
  }
  entry->size = suite_size_of_doublings(&cache->random, self->low, self->high);
  while (cache->requested > 0 && cache->requested + entry->size > cache->limit) {
    forget(cache, cache->entries[cache->keys].prev);
  }
  entry->value = suite_alloc_written(entry->size);
  cache->requested += entry->size;
  link_first(cache, key);
  return entry->size;
}

/* The operations say how often all of the cache is replaced. */
static void run_cache(const suite_workload_t *self) {
  cache_t cache = {.limit = suite_set(96u * MIB), .random = bench_seed(0)};
  double time = 0, blocks = 0, sum = 0;
  size_t mean = (size_t)self->high * 3 / 2 / suite_doublings(self->low, self->high);
  cache.keys = (uint32_t)(cache.limit / mean) * FIT_OF;
  size_t records = (cache.keys + 1) * sizeof *cache.entries;
  size_t bytes = (size_t)suite_rounds((double)cache.limit / LOOKS * self->operations,
                                      (uint32_t)(cache.limit / LOOKS * 4));
  cache.entries = bench_records(records);
  cache.entries[cache.keys].prev = cache.entries[cache.keys].next = cache.keys;
  for (uint32_t number = 0; number < LOOKS; number++) {
    double start = suite_now();
    for (size_t done = 0; done < bytes;) {
      uint32_t size = ask(&cache, self);
      blocks += size != 0;
      done += size + self->low; /* where all keys fit nothing is allocated any more */
    }
    time += suite_now() - start;
    suite_point();
    if (number >= LOOKS / 2) sum += suite_per_requested(cache.requested);
  }
  suite_time("op", time, blocks);
  suite_figure("rss_per_requested", sum / (LOOKS - LOOKS / 2), "x");
  while (cache.requested > 0) forget(&cache, cache.entries[cache.keys].prev);
  bench_records_free(cache.entries, records);
}

static const suite_workload_t workloads[] = {
    {.name = "cache_small",
     .what = "96 MiB of values of 32 bytes to 4 KiB; those that were used least go",
     .run = run_cache,
     .operations = 40,
     .low = 32,
     .high = 4096},
    {.name = "cache_mixed",
     .what = "the same of 64 bytes to 64 KiB",
     .run = run_cache,
     .operations = 80,
     .low = 64,
     .high = 65536},
    {.name = "cache_large",
     .what = "the same of 1 KiB to 1 MiB",
     .run = run_cache,
     .operations = 80,
     .low = KIB,
     .high = MIB},
};

const suite_group_t suite_cache = SUITE_GROUP("aging", workloads);
