/* main.c - the explorer's arguments and runs.
 *
 *   hakmem_explore [LONG] litmus       tests of the explorer itself
 *   hakmem_explore [LONG] scenarios [NAME]
 *                                      all orders within the bounds, then random ones; of
 *                                      all scenarios, or of one
 *   hakmem_explore [LONG] weaken ACCEPTED
 *                                      each acquire and release relaxed in turn
 *                                      LONG: --long, or --long=TIMES, bounds so many
 *                                      times as wide, and other random orders each time
 *   hakmem_explore accesses            the list of accesses
 *   hakmem_explore one NAME [--weaken NUMBER] [--preemptions COUNT] [--stale COUNT]
 *                           [--steps MOST | --random MOST [--seed SEED] | --places MOST]
 *                           [--replay CHOICES]
 *                                      one scenario; --replay prints each step
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"
#include "runs.h"

engine_t *g;
static jmp_buf *checking; /* where a failure of a check goes */

_Noreturn void failed(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(g->failure, sizeof g->failure, format, arguments);
  va_end(arguments);
  g->ending = ENDING_FAILED;
  if (g->running) fiber_leave();
  if (checking != NULL) longjmp(*checking, 1);
  fprintf(stderr, "%s: %s, in its setup\n", g->scenario->name, g->failure);
  exit(2);
}

_Noreturn void explore_fail(const char *what, const char *file, int line) {
  const char *name = strrchr(file, '/');
  failed("%s (%s:%d)", what, name != NULL ? name + 1 : file, line);
}

void explore_outcome(unsigned outcome) { g->outcomes |= (uint64_t)1 << outcome; }

void explore_as(unsigned number, void (*fn)(void)) { fiber_call_as(number, fn); }

/* --- one scenario --------------------------------------------------------------------
 */

static void check(void) {
  jmp_buf here;
  if (g->ending != ENDING_WHOLE || g->scenario->check == NULL) return;
  checking = &here;
  if (setjmp(here) == 0) g->scenario->check();
  checking = NULL;
  fiber_home();
}

static void begin_threads(void) {
  for (unsigned i = 0; i < g->threads; i++) {
    thread_t *thread = &g->thread[i];
    thread->number = i;
    thread->begun = i == 0;
    thread->ended = thread->asleep = false;
    thread->pending = (pending_t){NOWHERE, false};
    memset(&thread->clock, 0, sizeof thread->clock);
    memset(&thread->after, 0, sizeof thread->after);
    thread->clock.of[i] = 1;
    thread->looked_at = thread->awaits = thread->hurries = 0;
    thread->fn = g->scenario->thread[i];
  }
}

static void execute(void) {
  world_restore();
  races_begin();
  model_begin();
  search_begin();
  begin_threads();
  g->ending = ENDING_WHOLE;
  fibers_run(&g->thread[0]);
  check();
}

/* A search of all orders of which an eighth of the steps did less than a 64th: it would
 * not come to its end, and all that it looks at is near its first execution. With
 * preemptions counted more is done than the share says. */
static bool is_hopeless(uint64_t steps, bool *asked) {
  if (g->mode != MODE_DEPTH || g->preemptions >= 0) return false;
  if (*asked || g->all_steps < steps / 8) return false;
  *asked = true;
  return search_share() < 1.0 / 64;
}

static run_end_t search_once(uint64_t steps) {
  bool asked = false;
  search_reset();
  do {
    execute();
    if (g->ending == ENDING_FAILED) {
      g->executions++;
      return RUN_FAILED;
    }
    if (!search_next()) return RUN_EXHAUSTED;
  } while (g->all_steps < steps && !is_hopeless(steps, &asked));
  return RUN_BOUNDED;
}

run_end_t run_search(explore_mode_t mode, uint64_t steps) {
  g->mode = mode;
  run_end_t end;
  do {
    end = search_once(steps);
    /* All places are steps, whatever is shared. */
  } while (end == RUN_EXHAUSTED && mode == MODE_DEPTH && sharing_grew());
  return end;
}

/* Which locations are shared. A failure will come again. */
static void learn(void) {
  enum {
    ROUNDS = 8,
    STEPS_OF_ONE = 2000
  };
  sharing_forget();
  for (int i = 0; i < ROUNDS && (i < 2 || sharing_grew()); i++) {
    (void)run_search(MODE_RANDOM, STEPS_OF_ONE);
  }
  g->outcomes = 0;
}

static void set_up(const explore_scenario_t *scenario) {
  world_first();
  g->scenario = scenario;
  g->threads = 0;
  while (g->threads < THREADS && scenario->thread[g->threads] != NULL) g->threads++;
  if (scenario->setup != NULL) scenario->setup();
  world_keep();
}

/* The scenario's memory is what its setup leaves, and no choice is made yet. */
void run_open(const explore_scenario_t *scenario) {
  bool is_new = scenario != g->scenario;
  g->weakened = 0;
  g->forked = false;
  if (is_new) set_up(scenario);
  g->outcomes = 0;
  g->stale = scenario->stale != 0 ? scenario->stale : 3;
  g->preemptions = -1;
  if (is_new) learn();
}

void run_print_failure(void) {
  printf("FAILED: %s: %s\n  replay: hakmem_explore one %s --stale %d", g->scenario->name,
         g->failure, g->scenario->name, g->stale);
  if (g->weakened != 0) printf(" --weaken %d", g->weakened);
  printf(" --replay '");
  replay_print();
  printf("'\n");
}

/* --- arguments -----------------------------------------------------------------------
 */

static const explore_scenario_t *find(const char *name) {
  for (const explore_scenario_t *const *at = explore_scenarios; *at != NULL; at++) {
    if (strcmp((*at)->name, name) == 0) return *at;
  }
  fprintf(stderr, "no scenario '%s'; these are:", name);
  for (const explore_scenario_t *const *at = explore_scenarios; *at != NULL; at++) {
    fprintf(stderr, " %s", (*at)->name);
  }
  fprintf(stderr, "\n");
  exit(2);
}

static int run_replay(const char *choices) {
  g->mode = MODE_REPLAY;
  g->prints = true;
  search_reset();
  replay_read(choices);
  execute();
  bool failed_again = g->ending == ENDING_FAILED;
  printf("%s\n", failed_again ? g->failure : "nothing failed");
  return failed_again ? 1 : 0;
}

static int run_one(int argc, char **argv) {
  const char *choices = NULL;
  uint64_t steps = UINT64_MAX;
  explore_mode_t mode = MODE_DEPTH;
  if (argc < 1) return 2;
  const explore_scenario_t *scenario = find(argv[0]);
  run_open(scenario);
  for (int i = 1; i + 1 < argc; i += 2) {
    const char *value = argv[i + 1];
    if (strcmp(argv[i], "--weaken") == 0) g->weakened = atoi(value);
    if (strcmp(argv[i], "--stale") == 0) g->stale = atoi(value);
    if (strcmp(argv[i], "--preemptions") == 0) g->preemptions = atoi(value);
    if (strcmp(argv[i], "--seed") == 0) g->seed = strtoull(value, NULL, 0);
    bool random = strcmp(argv[i], "--random") == 0;
    bool places = strcmp(argv[i], "--places") == 0;
    if (random) mode = MODE_RANDOM;
    if (places) mode = MODE_PLACES;
    if (random || places || strcmp(argv[i], "--steps") == 0) {
      steps = strtoull(value, NULL, 0);
    }
    if (strcmp(argv[i], "--replay") == 0) choices = value;
  }
  if (choices != NULL) return run_replay(choices);
  run_end_t end = run_search(mode, steps);
  printf(
      "%s: %llu executions, %llu of them redundant, the longest of %u steps, "
      "outcomes %#llx\n",
      scenario->name, (unsigned long long)g->executions, (unsigned long long)g->redundant,
      g->longest, (unsigned long long)g->outcomes);
  if (end == RUN_FAILED) run_print_failure();
  return end == RUN_FAILED ? 1 : 0;
}

/* Addresses, by which the library sorts, are the same in each run. */
static void fix_addresses(char **argv) {
  int now = personality(0xffffffff);
  if (now == -1 || (now & ADDR_NO_RANDOMIZE) != 0) return;
  if (personality((unsigned long)now | ADDR_NO_RANDOMIZE) == -1) return;
  execv("/proc/self/exe", argv);
}

/* How many times as wide bounds are: 1, and more if the first argument says so. */
static unsigned times_of(const char *argument) {
  enum {
    TIMES_LONG = 20
  };
  if (argument == NULL || strncmp(argument, "--long", 6) != 0) return 1;
  int times = argument[6] == '=' ? atoi(argument + 7) : TIMES_LONG;
  return times > 1 ? (unsigned)times : 2;
}

int main(int argc, char **argv) {
  fix_addresses(argv);
  g = calloc(1, sizeof *g);
  if (g == NULL) return 2;
  world_start();
  races_start();
  model_start();
  sharing_start();
  replay_start();
  sites_start();
  g->reached = calloc((size_t)sites_count() + 1, 1);
  fibers_start();
  world_first();
  unsigned times = times_of(argv[1]);
  g->seed = times > 1 ? (uint64_t)time(NULL) : 1;
  int first = times > 1 ? 2 : 1;
  const char *what = argc > first ? argv[first] : "";
  if (strcmp(what, "litmus") == 0) return run_litmus(times);
  if (strcmp(what, "scenarios") == 0) {
    return run_scenarios(times, argc > first + 1 ? argv[first + 1] : NULL);
  }
  if (strcmp(what, "weaken") == 0 && argc > first + 1) {
    return run_weaken(times, argv[first + 1]);
  }
  if (strcmp(what, "accesses") == 0) return run_accesses();
  if (strcmp(what, "one") == 0) return run_one(argc - first - 1, argv + first + 1);
  fprintf(stderr, "hakmem_explore: see the head of tests/explore/engine/main.c\n");
  return 2;
}
