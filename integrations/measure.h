/* measure.h - one run of an integration for compare.py: its work so many times, over
 * hakmem or over libc's malloc, and what that took. The program says itself which library
 * its malloc is in.
 */
#ifndef HAKMEM_INTEGRATION_MEASURE_H
#define HAKMEM_INTEGRATION_MEASURE_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

/* How often the work is to be done; 0: this is no such run. */
static inline unsigned long measure_rounds(void) {
  const char *rounds = getenv("INTEGRATION_ROUNDS");
  return rounds == NULL ? 0 : strtoul(rounds, NULL, 10);
}

static inline bool measure_is_ours(void) { return getenv("INTEGRATION_LIBC") == NULL; }

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
  printf("measured %s %.4f %ld %s\n", name, cpu, measure_resident(),
         measure_is_ours() ? "hakmem" : measure_malloc());
  return 0;
}

#endif
