/* sqlite_main.c - one SQLite run on one allocator.
 *
 * Measures a real program: SQLite, given the allocator's functions through
 * SQLITE_CONFIG_MALLOC, works on a word list and on Debian's packages, in one
 * thread or in several with a database each. Reports the wall time of the whole
 * job, the peak RSS of the process, its page faults, and checksums of all
 * query results.
 *
 *     hakmem_sqlite_<allocator> WORDS PACKAGES.json THREADS
 *
 * SQLite's own settings are its defaults, for every allocator the same; so its
 * memory statistics, and the lock they need, are on.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "demo/sqlite_job.h"
#include "demo/sqlite_memory.h"
#include "support/machine.h"

enum {
  MAX_THREADS = 16
};

static void *run_thread(void *job) {
  job_run(job);
  return NULL;
}

int main(int argc, char **argv) {
  unsigned threads = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
  if (threads < 1 || threads > MAX_THREADS) {
    fprintf(stderr, "usage: %s WORDS PACKAGES.json THREADS (1 to %d)\n", argv[0],
            MAX_THREADS);
    return 2;
  }
  job_lines_t words, packages;
  job_read_lines(argv[1], &words);
  job_read_lines(argv[2], &packages);
  bench_print_machine();
  bench_prove();
  start_sqlite();

  job_t jobs[MAX_THREADS];
  pthread_t handles[MAX_THREADS];
  uint64_t faults = bench_minor_faults(), start = bench_now_ns();
  for (unsigned i = 0; i < threads; i++) {
    jobs[i] = (job_t){&words, &packages, i, threads, 0, 0};
    if (i > 0 && pthread_create(&handles[i], NULL, run_thread, &jobs[i]) != 0) {
      fprintf(stderr, "no thread\n");
      return 1;
    }
  }
  job_run(&jobs[0]);
  for (unsigned i = 1; i < threads; i++) pthread_join(handles[i], NULL);
  double milliseconds = (double)(bench_now_ns() - start) / 1e6;

  printf("result sqlite/%u %.3f ms\n", threads, milliseconds);
  for (unsigned i = 0; i < threads; i++) {
    printf("check sqlite/%u/part%u %016llx of %llu rows\n", threads, i,
           (unsigned long long)jobs[i].checksum, (unsigned long long)jobs[i].rows);
  }
  printf("note peak_rss %zu\n", bench_peak_rss());
  printf("note faults %llu\n", (unsigned long long)(bench_minor_faults() - faults));
  bench_counts_t counts;
  if (bench_read_counts(&counts)) {
    printf("note own_os_calls %llu\n", (unsigned long long)counts.os_calls);
  }
  prove_sqlite();
  bench_print_proof();
  return 0;
}
