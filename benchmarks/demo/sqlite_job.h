/* sqlite_job.h - the work that SQLite does in the demo: data sets, SQL, checksums. */
#ifndef BENCH_DEMO_SQLITE_JOB_H
#define BENCH_DEMO_SQLITE_JOB_H

#include <stddef.h>
#include <stdint.h>

/* A text file cut into lines; the memory is no allocator's. */
typedef struct job_lines {
  char *text;
  const char **start; /* of each line */
  uint32_t *length;   /* without the line's end */
  size_t count;
} job_lines_t;

/* Exits on failure. */
void job_read_lines(const char *path, job_lines_t *out);

/* One connection's share of the work: of all lines the part-th of `parts`. */
typedef struct job {
  const job_lines_t *words;
  const job_lines_t *packages; /* a JSON array with one object a line */
  unsigned part, parts;
  uint64_t checksum; /* of every row of every query */
  uint64_t rows;     /* how many those were */
} job_t;

/* Builds, indexes, joins, updates and deletes in an in-memory database of its
 * own. Exits with SQLite's message on failure. */
void job_run(job_t *job);

#endif
