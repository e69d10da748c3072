/* locked.c - what threads cost one another, on a machine with fewer processors than
 * threads: the locked instructions per operation with 2, 8 and 64 threads. On many
 * processors each may wait for a cache line of another; none of them should become
 * more frequent because there are more threads.
 *
 * Failed attempts and the taking of locks count. Each figure is the middle one of
 * three processes, as what threads do depends on when they run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "scaling/crowd.h"

/* Growth that is no growth: a quarter, and one instruction per 1,000 operations, which
 * is what a thread does once (an attach, its first slabs) spread over a short run. */
#define FACTOR 1.25
#define ADDEND 1.0

#define RUNS 3

/* In a process of its own, so that no figure depends on the one before. */
static double locked_apart(const workload_t *workload, unsigned threads) {
  double *figure = mmap(NULL, sizeof *figure, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(figure != MAP_FAILED);
  fflush(stdout);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    *figure = crowd_locked(workload, threads);
    _exit(0);
  }
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
  double value = *figure;
  munmap(figure, sizeof *figure);
  return value;
}

static int order(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double locked(const workload_t *workload, unsigned threads) {
  double figures[RUNS];
  for (int i = 0; i < RUNS; i++) figures[i] = locked_apart(workload, threads);
  qsort(figures, RUNS, sizeof figures[0], order);
  printf("%-8s %2u threads: %7.2f locked instructions per 1,000 operations\n",
         workload->name, threads, figures[RUNS / 2]);
  return figures[RUNS / 2];
}

/* On a busy machine threads wait in the middle of things, and pass on less at a time:
 * what grows with threads does so each time. */
static void does_not_grow(const workload_t *workload) {
  enum {
    TRIES = 3
  };
  for (int i = 0; i < TRIES; i++) {
    double few = locked(workload, 2);
    double some = locked(workload, 8), many = locked(workload, 64);
    if (some <= few * FACTOR + ADDEND && many <= few * FACTOR + ADDEND) return;
  }
  fail_msg("%s: grew in each of %d tries", workload->name, TRIES);
}

static void churn__locked_instructions_do_not_grow_with_threads(void **state) {
  (void)state;
  does_not_grow(&churn);
}

static void pairs__locked_instructions_do_not_grow_with_threads(void **state) {
  (void)state;
  does_not_grow(&pairs);
  /* A block that changes threads has to be passed on: no count, no proof. */
  assert_true(locked_apart(&pairs, 2) > 0);
}

static void larson__locked_instructions_do_not_grow_with_threads(void **state) {
  (void)state;
  does_not_grow(&larson);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(churn__locked_instructions_do_not_grow_with_threads),
      cmocka_unit_test(pairs__locked_instructions_do_not_grow_with_threads),
      cmocka_unit_test(larson__locked_instructions_do_not_grow_with_threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
