/* main.c - memory figures of one allocator.
 *
 * Measures memory, not time: how much stays resident, how many calls reach the
 * operating system, how often threads meet, in situations that are known to be
 * hard for allocators. One scenario a process.
 *
 *     hakmem_memory_<allocator> [--scale X] [--show] [SCENARIO...]
 *
 * Without a scenario, all of them. Ends with status 1 if a bound is broken; with
 * --show, bounds are printed and not judged.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/prove.h"
#include "memory/figures.h"
#include "support/machine.h"

const scenario_t scenarios[] = {
    {"blowup", run_blowup, "a consumer frees all but 1 in 1,000 of a producer's blocks"},
    {"sleeper", run_sleeper, "500 MB by a thread that then sleeps, freed by two others"},
    {"sleeper2", run_sleeper_in_order, "the same, freed in the order of allocation"},
    {"hoard", run_hoard, "a thread frees 90 % of 200 MB and sleeps, another allocates"},
    {"churn", run_churn, "2,000 short-lived threads pass half of their blocks on"},
    {"mixed", run_mixed, "100,000 random replacements in 256 slots"},
    {"foreign", run_foreign, "10^7 allocations and frees by 8 threads that swap blocks"},
    {"drain", run_drain, "everything freed, threads idle or gone, memory given back"},
    {"maps", run_maps, "the kernel's mappings over 4 GiB of churn"},
    {"large", run_large, "large blocks that come and go in turn"},
    {"register", run_register, "what a 1 GiB block costs beside its page faults"},
    {"tiny", run_tiny, "a static program with one small allocation"},
};
const size_t scenario_count = sizeof scenarios / sizeof scenarios[0];

static bool judging;
static int broken;

/* ---- Figures ---------------------------------------------------------------- */

static void print_figure(const char *mark, const char *what, double value,
                         const char *unit) {
  bench_progress_end();
  printf("  %-4s %-52s %10.*f %s", mark, what, value < 10 ? 2 : 1, value, unit);
}

void figure(const char *what, double value, const char *unit) {
  print_figure("", what, value, unit);
  printf("\n");
}

static void judge(const char *what, double value, const char *unit, bool good,
                  const char *side, double bound) {
  print_figure(!judging ? "" : good ? "PASS" : "FAIL", what, value, unit);
  printf(" (%s %g)\n", side, bound);
  if (judging && !good) broken++;
}

void figure_at_most(const char *what, double value, double bound, const char *unit) {
  judge(what, value, unit, value <= bound, "at most", bound);
}

void figure_at_least(const char *what, double value, double bound, const char *unit) {
  judge(what, value, unit, value >= bound, "at least", bound);
}

void figure_missing(const char *what, const char *why) {
  bench_progress_end();
  printf("  %-4s %-52s %10s (%s)\n", judging ? "FAIL" : "", what, "-", why);
  if (judging) broken++;
}

/* ---- Helpers of the scenarios ----------------------------------------------- */

double in_mib(size_t bytes) { return (double)bytes / (double)MIB; }

void *alloc_filled(size_t size) {
  char *block = bench_alloc(size);
  if (block == NULL) {
    fprintf(stderr, "out of memory\n");
    exit(1);
  }
  for (size_t i = 0; i < size; i += 64) block[i] = 1;
  block[size - 1] = 1;
  return block;
}

bench_counts_t counts_now(void) {
  bench_counts_t counts;
  memset(&counts, 0, sizeof counts);
  bench_read_counts(&counts);
  return counts;
}

pthread_t start_thread(void *(*run)(void *), void *argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, run, argument) != 0) {
    fprintf(stderr, "no thread\n");
    exit(1);
  }
  return thread;
}

size_t rss_since(size_t start) {
  size_t now = bench_rss();
  return now > start ? now - start : 0;
}

/* ---- Running ---------------------------------------------------------------- */

/* In a child, so that no scenario sees what another left behind. The proof comes
 * last: before, it would change what `start` means. */
static bool run_apart(const scenario_t *scenario, double scale) {
  printf("%s: %s\n", scenario->name, scenario->what);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    scenario->run(scale);
    bench_prove();
    fflush(stdout);
    _exit(broken > 0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) return false;
  if (WIFEXITED(status) && WEXITSTATUS(status) <= 1) return WEXITSTATUS(status) == 0;
  printf("  FAIL the scenario ended with %s %d\n",
         WIFSIGNALED(status) ? "signal" : "status",
         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  return false;
}

static bool is_wanted(const scenario_t *scenario, char **names) {
  if (*names == NULL) return true;
  for (; *names != NULL; names++) {
    if (strcmp(*names, scenario->name) == 0) return true;
  }
  return false;
}

static int usage(const char *program) {
  fprintf(stderr, "usage: %s [--scale X] [--show] [SCENARIO...]\n\nscenarios:\n",
          program);
  for (size_t i = 0; i < scenario_count; i++) {
    fprintf(stderr, "  %-10s %s\n", scenarios[i].name, scenarios[i].what);
  }
  return 2;
}

int main(int argc, char **argv) {
  double scale = 1;
  char **names = argv + 1;
  (void)argc;
  judging = strcmp(bench_name(), "hakmem") == 0;
  for (; *names != NULL && strncmp(*names, "--", 2) == 0; names++) {
    if (strcmp(*names, "--show") == 0) {
      judging = false;
    } else if (strcmp(*names, "--scale") == 0 && names[1] != NULL) {
      scale = strtod(*++names, NULL);
    } else {
      return usage(argv[0]);
    }
  }
  if (!(scale > 0 && scale <= 1)) return usage(argv[0]);
  bench_print_machine();
  int ran = 0, failed = 0;
  for (size_t i = 0; i < scenario_count; i++) {
    if (!is_wanted(&scenarios[i], names)) continue;
    ran++;
    failed += !run_apart(&scenarios[i], scale);
  }
  if (ran == 0) return usage(argv[0]);
  bench_print_proof();
  if (judging) {
    printf("MEMORY %s: %d of %d scenarios keep their bounds\n",
           failed == 0 ? "OK" : "FAILED", ran - failed, ran);
  }
  return failed > 0;
}
