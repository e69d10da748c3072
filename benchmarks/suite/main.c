/* main.c - runs the workloads of one allocator, each in a process of its own.
 *
 *     hakmem_suite_<allocator> [--scale S] [--tiny] [--list] [--latency]
 *                              [--settle S] [--no-fork] [WORKLOAD | GROUP/ ...]
 *
 * Without a name, all of them; with --latency, those that time single calls, and only
 * those. Prints what benchmarks/compare reads, and as the last
 * line the proof of who served it, if every workload proved it and succeeded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/prove.h"
#include "suite/groups.h"
#include "suite/idle_cost.h"
#include "support/machine.h"

static const suite_group_t *const all_groups[] = {
    &suite_small,  &suite_random,   &suite_mid,    &suite_tree,   &suite_list,
    &suite_frames, &suite_exchange, &suite_larson, &suite_remote, &suite_large,
    &suite_resize, &suite_threads,  &suite_memory, &suite_aging,  &suite_cache,
    &suite_spike,  &suite_fleet,    &suite_pool,   &suite_shapes, &suite_budget,
#ifdef SUITE_SQLITE
    &suite_sqlite,
#endif
#ifdef SUITE_LUA
    &suite_lua,
#endif
    NULL,
};
static const suite_group_t *const latency_groups[] = {&suite_latency, NULL};

typedef struct request {
  const suite_group_t *const *groups; /* to choose from; ends with NULL */
  char **names;                       /* ends with NULL; empty means all */
  bool list, fork, memory;            /* memory: how much is reported too */
} request_t;

/* ---- Which workloads -------------------------------------------------------- */

static bool name_matches(const char *name, const suite_group_t *group,
                         const suite_workload_t *workload) {
  size_t length = strlen(group->name);
  bool of_group = strncmp(name, group->name, length) == 0 && name[length] == '/';
  const char *rest = of_group ? name + length + 1 : name;
  return (of_group && *rest == '\0') || strcmp(rest, workload->name) == 0;
}

static bool is_wanted(const request_t *request, const suite_group_t *group,
                      const suite_workload_t *workload) {
  if (request->names[0] == NULL) return true;
  for (char **name = request->names; *name != NULL; name++) {
    if (name_matches(*name, group, workload)) return true;
  }
  return false;
}

/* The first name that nothing goes by; NULL if there is none. */
static const char *unknown_name(const request_t *request) {
  for (char **name = request->names; *name != NULL; name++) {
    bool known = false;
    for (int g = 0; request->groups[g] != NULL && !known; g++) {
      const suite_group_t *group = request->groups[g];
      for (size_t i = 0; i < group->count && !known; i++) {
        known = name_matches(*name, group, &group->workloads[i]);
      }
    }
    if (!known) return *name;
  }
  return NULL;
}

/* Why this allocator cannot run it; NULL if it can. */
static const char *reason_to_skip(const suite_workload_t *workload) {
  const size_t largest = BENCH_LARGEST_BLOCK;
  if (workload->threads > 1 && BENCH_SINGLE_THREAD) return "needs several threads";
  if (workload->aligned && !BENCH_ALIGNED) return "needs aligned blocks";
  if (workload->heaps > BENCH_HEAPS) return "needs heaps of a kind that it has not";
  if (workload->high > largest) return "needs larger blocks";
  return NULL;
}

/* ---- Running ---------------------------------------------------------------- */

static void run_here(const request_t *request, const suite_workload_t *workload) {
  suite_base();
  bench_prove();
  suite_begin(workload);
  suite_idle_cost_begin(workload->name);
  workload->run(workload);
  if (request->memory) suite_end();
  suite_idle_cost_end();
  bench_prove();
  fflush(stdout);
}

/* Nothing was allocated before the fork, so that the child has an untouched heap. */
static bool run_apart(const request_t *request, const suite_workload_t *workload) {
  pid_t child = fork();
  if (child == 0) {
    run_here(request, workload);
    _exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return false;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  fprintf(stderr, "%s: %s ended with %s %d\n", bench_name(), workload->name,
          WIFSIGNALED(status) ? "signal" : "status",
          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  return false;
}

/* Runs one workload; false if it failed. */
static bool run_one(const request_t *request, const suite_workload_t *workload) {
  const char *reason = reason_to_skip(workload);
  if (reason != NULL) printf("note skipped %s %s\n", workload->name, reason);
  fflush(stdout);
  if (reason != NULL) return true;
  if (request->fork) return run_apart(request, workload);
  run_here(request, workload);
  return true;
}

static int run_all(const request_t *request) {
  int failed = 0;
  for (int g = 0; request->groups[g] != NULL; g++) {
    const suite_group_t *group = request->groups[g];
    for (size_t i = 0; i < group->count; i++) {
      const suite_workload_t *workload = &group->workloads[i];
      if (!is_wanted(request, group, workload)) continue;
      if (request->list) {
        printf("%s %s  %s\n", workload->name, group->name, workload->what);
      } else {
        failed += !run_one(request, workload);
      }
    }
  }
  return failed;
}

/* ---- The command line ------------------------------------------------------- */

static int usage(const char *program) {
  fprintf(
      stderr,
      "usage: %s [OPTION...] [WORKLOAD | GROUP/ ...]\n\n"
      "  --scale S   how much work; 1, the default, takes a minute for all\n"
      "  --tiny      memory workloads shrink their sets and waits too: a test, no "
      "measurement\n"
      "  --latency   the workloads that time single calls, and only those\n"
      "  --settle S  seconds of light load after each workload: 0, 1 (default), 5, 15\n"
      "  --no-fork   every workload in this process, for profilers\n"
      "  --list      prints name, group and what is measured, and runs nothing\n",
      program);
  return 2;
}

static void print_notes(void) {
  char version[64];
  bench_print_machine();
  bench_version(version, sizeof version);
  printf("note allocator %s %s\n", bench_name(), version);
  printf("note scale %g\n", suite_scale);
  if (suite_tiny) printf("note tiny sets of the memory group are too small to judge\n");
}

int main(int argc, char **argv) {
  /* Not malloc's, which may be the allocator under test. */
  static char buffer[8192];
  request_t request = {all_groups, argv + 1, false, true, true};
  (void)argc;
  setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
  for (; *request.names != NULL && strncmp(*request.names, "--", 2) == 0;
       request.names++) {
    if (strcmp(*request.names, "--scale") == 0 && request.names[1] != NULL) {
      suite_scale = strtod(*++request.names, NULL);
    } else if (strcmp(*request.names, "--settle") == 0 && request.names[1] != NULL) {
      suite_settle = (uint32_t)strtoul(*++request.names, NULL, 10);
#ifdef SUITE_IDLE_COST
    } else if (strcmp(*request.names, "--demand") == 0 && request.names[1] != NULL) {
      suite_idle_cost_open(*++request.names);
#endif
    } else if (strcmp(*request.names, "--tiny") == 0) {
      suite_tiny = true;
    } else if (strcmp(*request.names, "--list") == 0) {
      request.list = true;
    } else if (strcmp(*request.names, "--latency") == 0) {
      request.groups = latency_groups;
      request.memory = false;
    } else if (strcmp(*request.names, "--no-fork") == 0) {
      request.fork = false;
    } else {
      return usage(argv[0]);
    }
  }
  if (!(suite_scale > 0 && suite_scale <= 100)) return usage(argv[0]);
  const char *unknown = unknown_name(&request);
  if (unknown != NULL) {
    fprintf(stderr, "%s: no workload or group %s\n", argv[0], unknown);
    return 2;
  }
  if (!request.list) print_notes();
  if (run_all(&request) > 0) return 1;
  if (!request.list) bench_print_proof();
  return 0;
}
