/* steps: measures how many instructions single calls execute once a workload has found
 * its steady state: the median, and the longest calls. Counted one by one, by a parent
 * that lets this process go step by step; what the kernel does is not in it. Repeatable,
 * but for where the system puts memory. A step may take 50 us where the machine is a
 * virtual one: frames_10000 then takes a minute.
 *
 *   hakmem_bench_steps [WORKLOAD...]     all of them, if none is named
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__x86_64__) || !defined(__linux__)
int main(void) {
  puts("steps: left out: x86-64 on Linux only");
  return 77;
}
#else
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hakmem/hakmem.h>

#include "support/bench.h"

/* ---- The workloads: a warm-up, a stop, and what is counted ------------------------- */

typedef struct workload {
  const char *name;
  uint32_t low, high, slots;
  uint32_t warm, counted; /* rounds */
  void (*run)(const struct workload *self, void **slots, uint32_t rounds,
              uint64_t *random);
} workload_t;

/* A round replaces one block. */
static void replace(const workload_t *self, void **slots, uint32_t rounds,
                    uint64_t *random) {
  for (uint32_t i = 0; i < rounds; i++) {
    void **slot = &slots[bench_range(random, 0, self->slots - 1)];
    hak_free(*slot);
    *slot = hak_alloc(bench_range(random, self->low, self->high));
  }
}

/* A round allocates all and frees all, in the order of allocation. */
static void frame(const workload_t *self, void **slots, uint32_t rounds,
                  uint64_t *random) {
  for (uint32_t i = 0; i < rounds; i++) {
    for (uint32_t k = 0; k < self->slots; k++) {
      hak_free(slots[k]);
      slots[k] = NULL;
    }
    for (uint32_t k = 0; k < self->slots; k++) {
      slots[k] = hak_alloc(bench_range(random, self->low, self->high));
    }
  }
}

static const workload_t workloads[] = {
    {"random_256", 16, 1024, 256, 200000, 1000, replace},
    {"random_8192", 16, 1024, 8192, 400000, 1000, replace},
    {"random_100k", 16, 1024, 100000, 1000000, 1000, replace},
    {"mid_1024", 1024, 32768, 1024, 200000, 1000, replace},
    {"large_64", 65536, 1048576, 64, 20000, 500, replace},
    {"frames_1000", 16, 256, 1000, 100, 1, frame},
    {"frames_10000", 16, 256, 10000, 40, 1, frame},
};

static void work(const workload_t *self) {
  void **slots = calloc(self->slots, sizeof *slots);
  uint64_t random = bench_seed(0);
  if (slots == NULL) _exit(1);
  self->run(self, slots, self->warm, &random);
  raise(SIGSTOP);
  self->run(self, slots, self->counted, &random);
  _exit(0);
}

/* ---- Counting ------------------------------------------------------------------------
 */

enum {
  CALLS = 1 << 20
};

typedef struct calls {
  uint32_t *steps;
  size_t count;
  uint32_t most_alloc, most_free;
} calls_t;

static int by_size(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

static void fail(const char *what) {
  fprintf(stderr, "steps: %s: %s\n", what, strerror(errno));
  exit(errno == EPERM || errno == ENOSYS ? 77 : 1);
}

/* Steps a stopped child to its end; false if that was not a good one. */
static bool count_calls(pid_t child, calls_t *calls) {
  const uint64_t alloc = (uintptr_t)&hak_alloc, release = (uintptr_t)&hak_free;
  uint64_t back = 0;
  uint32_t steps = 0, *most = NULL;
  int status = 0;
  for (;;) {
    struct user_regs_struct at;
    if (ptrace(PTRACE_GETREGS, child, NULL, &at) != 0) fail("registers");
    if (back == 0 && (at.rip == alloc || at.rip == release)) {
      errno = 0;
      back = (uint64_t)ptrace(PTRACE_PEEKDATA, child, (void *)(uintptr_t)at.rsp, NULL);
      if (errno != 0) fail("return address");
      most = at.rip == alloc ? &calls->most_alloc : &calls->most_free;
      steps = 0;
    } else if (back != 0 && at.rip == back) {
      if (calls->count < CALLS) calls->steps[calls->count++] = steps;
      if (steps > *most) *most = steps;
      back = 0;
    }
    steps++;
    if (ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) != 0) fail("a step");
    if (waitpid(child, &status, 0) != child) fail("waiting");
    if (WIFEXITED(status)) return WEXITSTATUS(status) == 0;
    if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) return false;
  }
}

static void measure(const workload_t *self) {
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) fail("a process");
  if (child == 0) {
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(77);
    work(self);
  }
  int status;
  if (waitpid(child, &status, 0) != child) fail("waiting");
  if (WIFEXITED(status)) {
    fprintf(stderr, "steps: left out: processes may not be traced here\n");
    exit(77);
  }
  calls_t calls = {calloc(CALLS, sizeof(uint32_t)), 0, 0, 0};
  if (calls.steps == NULL) fail("memory");
  if (!count_calls(child, &calls) || calls.count == 0) {
    fprintf(stderr, "steps: %s did not end well\n", self->name);
    exit(1);
  }
  qsort(calls.steps, calls.count, sizeof *calls.steps, by_size);
  printf("%-14s %9zu %7u %8u %8u %11u %10u\n", self->name, calls.count,
         calls.steps[calls.count / 2], calls.steps[calls.count * 99 / 100],
         calls.steps[calls.count * 999 / 1000], calls.most_alloc, calls.most_free);
  free(calls.steps);
}

int main(int argc, char **argv) {
  printf("%-14s %9s %7s %8s %8s %11s %10s   instructions\n", "workload", "calls", "p50",
         "p99", "p99.9", "most: alloc", "most: free");
  int found = 0;
  for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
    bool wanted = argc == 1;
    for (int k = 1; k < argc; k++) wanted |= strcmp(argv[k], workloads[i].name) == 0;
    if (!wanted) continue;
    measure(&workloads[i]);
    found++;
  }
  if (found == 0) fprintf(stderr, "steps: no such workload\n");
  return found == 0;
}
#endif
