/* integrate.h - what the integrations share: the same work over libc's memory and over a
 * heap of hakmem's with a budget, then over and over with calls that fail.
 *
 * What to copy from an integration is what stands between its marks `glue`.
 */
#ifndef HAKMEM_INTEGRATE_H
#define HAKMEM_INTEGRATE_H

#include <hakmem/hooks.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

#define RESULT_MAX 4096

#define MUST(condition)                                                     \
  do {                                                                      \
    if (!(condition)) {                                                     \
      fprintf(stderr, "FAIL: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                              \
    }                                                                       \
  } while (0)

/* The call of this number, counted from 1, fails; 0 for none. */
static unsigned long g_calls, g_fail_at;
static inline bool fails(void) { return ++g_calls == g_fail_at; }
/* What a library is given: a function whose calls may fail, but where times are taken the
 * glue's own, which is what a program copies. */
#define HOOK(plain, failing) (measure_rounds() > 0 ? (plain) : (failing))

typedef struct integration {
  const char *name;
  size_t limit; /* bytes, the heap's budget */
  /* Puts the library on hakmem; takes it off, with all that the library keeps. */
  void (*begin)(void);
  void (*end)(void);
  /* Real work; 0, and its result as text, or an error of the library's. */
  int (*work)(char result[RESULT_MAX]);
  const char *fault; /* what the library does without memory, if no error; or NULL */
} integration_t;

static hak_heap_t *g_heap;
/* The library keeps blocks for good, until the heap ends. */
static bool g_keeps;

static inline hak_stats_t heap_stats(void) {
  hak_stats_t stats = HAK_STATS_INIT;
  MUST(hak_stats_get(g_heap, &stats) == 0);
  return stats;
}

/* The n-th call fails, for every n to the number of calls that the work takes; beyond 300
 * for some of them. The work gives an error, or the right result. */
static inline void fail_each_call(const integration_t *of, const char *expected) {
  static char result[RESULT_MAX];
  unsigned long errors = 0, runs = 0;
  for (unsigned long n = 1;; n += n < 300 ? 1 : n / 8) {
    g_calls = 0;
    g_fail_at = n;
    int error = of->work(result);
    g_fail_at = 0;
    if (g_calls < n) break;
    runs++;
    if (error != 0) errors++;
    MUST(error != 0 || strcmp(result, expected) == 0);
  }
  printf("%s: %lu runs with a call that fails: %lu errors, the others right\n", of->name,
         runs, errors);
}

static inline void make_heap(const integration_t *of) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = of->name;
  config.hard_limit = of->limit;
  g_heap = hak_heap_create(&config);
  MUST(g_heap != NULL);
}

static inline int measure(const integration_t *of, unsigned long rounds) {
  static char result[RESULT_MAX];
  if (measure_is_ours()) {
    make_heap(of);
    of->begin();
  }
  for (unsigned long i = 0; i < rounds; i++) {
    long from = measure_now();
    MUST(of->work(result) == 0);
    measure_round(from);
  }
  return measure_end(of->name, g_heap != NULL ? heap_stats().peak_committed_bytes : 0);
}

/* What the work gives over libc's memory. In a process of its own, because some libraries
 * take functions only before their first allocation. */
static inline void expect(const integration_t *of, char expected[RESULT_MAX]) {
  int ends[2], status;
  MUST(pipe(ends) == 0);
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    MUST(of->work(expected) == 0);
    MUST(write(ends[1], expected, RESULT_MAX) == RESULT_MAX);
    _exit(0);
  }
  close(ends[1]);
  ssize_t length = 0;
  for (ssize_t n = 1; n > 0 && length<RESULT_MAX; length += n> 0 ? n : 0) {
    n = read(ends[0], expected + length, (size_t)(RESULT_MAX - length));
  }
  close(ends[0]);
  MUST(child > 0 && waitpid(child, &status, 0) == child && status == 0);
  MUST(length == RESULT_MAX);
}

static inline int integrate(const integration_t *of) {
  static char expected[RESULT_MAX], result[RESULT_MAX];
  if (measure_rounds() > 0) return measure(of, measure_rounds());
  expect(of, expected);

  make_heap(of);
  of->begin();
  MUST(of->work(result) == 0);
  MUST(strcmp(result, expected) == 0);
  hak_stats_t stats = heap_stats();
  MUST(stats.peak_committed_bytes > 0 && stats.peak_committed_bytes <= of->limit);
  printf("%s: the result is libc's; %.1f MiB at most of %.1f, %llu blocks kept\n",
         hak_heap_name(g_heap), (double)stats.peak_committed_bytes / (1 << 20),
         (double)of->limit / (1 << 20), (unsigned long long)stats.live_blocks);
  if (of->fault == NULL) {
    fail_each_call(of, expected);
  } else {
    printf("%s: no call fails here: %s\n", of->name, of->fault);
  }
  of->end();
  MUST(g_keeps || heap_stats().live_blocks == 0);
  MUST(hak_heap_destroy(g_heap) == 0);
  return 0;
}

#endif
