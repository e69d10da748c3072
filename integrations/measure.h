/* measure.h - one run of an integration for compare.py: its work so many times, over
 * hakmem or over libc's malloc, and what that took: all of it, and a round whose time a
 * quarter of the rounds stay below, since what else the machine does disturbs the others
 * more. The program says itself which library its malloc is in.
 */
#ifndef HAKMEM_INTEGRATION_MEASURE_H
#define HAKMEM_INTEGRATION_MEASURE_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

/* How often the work is to be done; 0: this is no such run. */
static inline unsigned long measure_rounds(void) {
  const char *rounds = getenv("INTEGRATION_ROUNDS");
  return rounds == NULL ? 0 : strtoul(rounds, NULL, 10);
}

static inline bool measure_is_ours(void) { return getenv("INTEGRATION_LIBC") == NULL; }

/* Processor time of rounds, in nanoseconds; beyond the last place they are not kept. */
enum {
  MEASURE_ROUNDS = 1 << 16
};
static long measure_of[MEASURE_ROUNDS];
static unsigned measure_done;

static inline long measure_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (long)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* A round that began at `from` is over. */
static inline void measure_round(long from) {
  if (measure_done < MEASURE_ROUNDS) measure_of[measure_done++] = measure_now() - from;
}

static inline int measure_order(const void *a, const void *b) {
  const long *x = (const long *)a, *y = (const long *)b;
  return *x < *y ? -1 : *x > *y;
}

static inline double measure_quarter(void) {
  if (measure_done == 0) return 0;
  qsort(measure_of, measure_done, sizeof measure_of[0], measure_order);
  return (double)measure_of[measure_done / 4] / 1e9;
}

/* The library that has the program's malloc: libc, or one that was loaded before it. */
static inline const char *measure_malloc(void) {
  Dl_info info;
  void *found = dlsym(RTLD_DEFAULT, "malloc");
  if (found == NULL || dladdr(found, &info) == 0 || info.dli_fname == NULL) return "?";
  return info.dli_fname;
}

/* KiB that were resident at most since the program began: getrusage would count what its
 * parent had. */
static inline long measure_resident(void) {
  char line[256];
  long kib = -1;
  FILE *status = fopen("/proc/self/status", "r");
  if (status == NULL) return kib;
  while (fgets(line, sizeof line, status) != NULL &&
         sscanf(line, "VmHWM: %ld", &kib) != 1) {}
  fclose(status);
  return kib;
}

/* After the work, which `peak` bytes of a heap served. 0, or 1 if they did not. */
static inline int measure_end(const char *name, unsigned long long peak) {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0 || measure_is_ours() != (peak > 0)) return 1;
  double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  long resident = measure_resident(); /* before qsort allocates */
  printf("measured %s %.4f %.9f %ld %s\n", name, cpu, measure_quarter(), resident,
         measure_is_ours() ? "hakmem" : measure_malloc());
  return 0;
}

#endif
