/* sqlite.c - a real program: SQLite, given the allocator's functions.
 *
 * Measures the demo's job (demo/sqlite_job.h) on a quarter of its data, one thread:
 * tables and indexes built, joined, changed and checked, in memory. Wall time of the
 * whole, by row of its results; their checksum must be the same for all.
 */
#include <inttypes.h>
#include <stdio.h>

#include "demo/sqlite_job.h"
#include "demo/sqlite_memory.h"
#include "suite/groups.h"

static void run_sqlite(const suite_workload_t *self) {
  job_lines_t words, packages;
  char text[64];
  uint32_t rounds = suite_rounds(self->operations, 1);
  job_read_lines(SUITE_WORDS, &words);
  job_read_lines(SUITE_PACKAGES, &packages);
  job_t job = {&words, &packages, 0, suite_tiny ? 40 : 4, 0, 0};
  start_sqlite();
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
