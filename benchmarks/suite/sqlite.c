/* sqlite.c - a real program: SQLite, given the allocator's functions.
 *
 * Measures the demo's job (demo/sqlite_job.h) on a quarter of its data, one thread:
 * tables and indexes built, joined, changed and checked, in memory. Wall time of the
 * whole, by row of its results; their checksum must be the same for all.
 */
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapters/prove.h"
#include "demo/sqlite_job.h"
#include "suite/groups.h"

static void *sqlite_alloc(int size) { return bench_alloc((size_t)size); }
static void sqlite_free(void *ptr) { bench_free(ptr); }
static void *sqlite_realloc(void *ptr, int size) {
  return bench_realloc(ptr, (size_t)size);
}
static int sqlite_size(void *ptr) {
  return ptr != NULL ? (int)bench_usable_size(ptr) : 0;
}
static int sqlite_roundup(int size) { return (size + 7) & ~7; }
static int sqlite_start(void *context) {
  (void)context;
  return SQLITE_OK;
}
static void sqlite_stop(void *context) { (void)context; }

static const sqlite3_mem_methods methods = {
    sqlite_alloc,   sqlite_free,  sqlite_realloc, sqlite_size,
    sqlite_roundup, sqlite_start, sqlite_stop,    NULL};

/* That SQLite really uses it: its blocks are the allocator's. */
static void prove_sqlite(void) {
  static const int sizes[] = {40, 1000, 5000, 100000};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    void *block = sqlite3_malloc(sizes[i]);
    bench_prove_block(block, (size_t)sizes[i]);
    sqlite3_free(block);
  }
}

static void run_sqlite(const suite_workload_t *self) {
  job_lines_t words, packages;
  char text[64];
  uint32_t rounds = suite_rounds(self->operations, 1);
  job_read_lines(SUITE_WORDS, &words);
  job_read_lines(SUITE_PACKAGES, &packages);
  job_t job = {&words, &packages, 0, suite_tiny ? 40 : 4, 0, 0};
  if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK ||
      sqlite3_initialize() != SQLITE_OK) {
    fprintf(stderr, "SQLite refuses the allocator\n");
    exit(1);
  }
  prove_sqlite();
  double start = suite_now();
  for (uint32_t i = 0; i < rounds; i++) job_run(&job);
  suite_time("row", suite_now() - start, (double)job.rows * rounds);
  snprintf(text, sizeof text, "%016" PRIx64 " of %" PRIu64 " rows", job.checksum,
           job.rows);
  suite_check(text);
  prove_sqlite();
  sqlite3_shutdown();
}

static const suite_workload_t workloads[] = {
    {.name = "sqlite",
     .what = "SQLite builds, joins and changes tables of words and packages in memory",
     .run = run_sqlite,
     .operations = 1,
     .high = MIB,
     .keeps = true}, /* the job's data stay mapped */
};

const suite_group_t suite_sqlite = SUITE_GROUP("programs", workloads);
