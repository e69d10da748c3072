/* runs.c - the runs over all scenarios. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"

/* Steps that each way of searching a scenario takes at most. */
enum {
  STEPS_SHORT = 200000,
  STEPS_LONG = 20000000,
  STEPS_LITMUS = 50000,
  STEPS_LOOK = 20000,
  STEPS_STUBBORN = 2000000, /* by night, where an order was not caught */
  STEPS_QUICK = 10000,      /* random ones, which find most weakened orders */
  STEPS_WIDE = 40000,       /* in wide scenarios: random ones, and with one preemption */
  PLACES_MORE = 20, /* times as many where a fork or a handler comes to each place */
  RANDOM_MORE = 4   /* times as many random ones where no other way has shown that an
                       order is needed */
};

static bool is_of_explorer(const explore_scenario_t *scenario) {
  return scenario->outcomes != 0 || scenario->is_broken;
}
static uint64_t steps_of(bool is_long) { return is_long ? STEPS_LONG : STEPS_SHORT; }

static void print_run(const char *how, run_end_t end) {
  printf("%-28s %-7s %9llu executions (%llu redundant) up to %u steps, %d old loads",
         g->scenario->name, how, (unsigned long long)g->executions,
         (unsigned long long)g->redundant, g->longest, g->stale);
  if (g->mode == MODE_RANDOM) {
    printf(", seed %llu", (unsigned long long)g->seed);
  } else if (g->mode == MODE_PLACES) {
    printf(", places");
  } else if (g->preemptions >= 0) {
    printf(", %d preemptions", g->preemptions);
  }
  printf("%s\n", end == RUN_EXHAUSTED ? ": all" : end == RUN_BOUNDED ? "" : ": FAILED");
  fflush(stdout);
}

/* --- tests of the explorer -----------------------------------------------------------
 */

static bool is_as_expected(run_end_t end) {
  const explore_scenario_t *scenario = g->scenario;
  if (scenario->is_broken) {
    if (end == RUN_FAILED) printf("  found: %s\n", g->failure);
    if (end != RUN_FAILED) printf("FAILED: %s: not found\n", scenario->name);
    return end == RUN_FAILED;
  }
  if (end == RUN_FAILED) {
    run_print_failure();
    return false;
  }
  if (g->outcomes == scenario->outcomes) return true;
  printf("FAILED: %s: outcomes %#llx, should be %#llx\n", scenario->name,
         (unsigned long long)g->outcomes, (unsigned long long)scenario->outcomes);
  return false;
}

int run_litmus(bool is_long) {
  int wrong = 0;
  for (const explore_scenario_t *const *at = explore_scenarios; *at != NULL; at++) {
    if (!is_of_explorer(*at)) continue;
    for (int reduced = 1; reduced >= 0; reduced--) {
      run_open(*at);
      if (!reduced) g->preemptions = 100;
      run_end_t end = run_search(MODE_DEPTH, steps_of(is_long));
      print_run(reduced ? "reduced" : "whole", end);
      wrong += !is_as_expected(end);
    }
    run_open(*at);
    run_end_t end = run_search(MODE_RANDOM, STEPS_LITMUS);
    print_run("random", end);
    wrong += !is_as_expected(end);
  }
  return wrong == 0 ? 0 : 1;
}

/* --- scenarios -----------------------------------------------------------------------
 */

static bool has_places(const explore_scenario_t *scenario) {
  return scenario->forks || scenario->handler != NULL;
}

static run_end_t search_depth(uint64_t steps, bool prints) {
  static const int preemptions[] = {-1, 1, 2};
  run_end_t end = RUN_BOUNDED;
  for (size_t i = 0; i < sizeof preemptions / sizeof preemptions[0]; i++) {
    g->preemptions = preemptions[i];
    end = run_search(MODE_DEPTH, steps);
    if (prints) print_run("depth", end);
    if (end == RUN_FAILED || (end == RUN_EXHAUSTED && preemptions[i] < 0)) break;
  }
  return end;
}

/* One way after the other: all orders, as far as the steps go; all with one preemption
 * and with two, where most faults are; random ones. Of a fork or a handler instead of the
 * first three: all places. */
static run_end_t search_all(uint64_t steps, bool prints) {
  run_end_t end;
  if (has_places(g->scenario)) {
    end = run_search(MODE_PLACES, PLACES_MORE * steps);
    if (prints) print_run("places", end);
    if (end == RUN_EXHAUSTED && g->threads == 1) return end;
  } else {
    end = search_depth(steps, prints);
    if (end == RUN_EXHAUSTED && g->preemptions < 0) return end;
  }
  if (end == RUN_FAILED) return end;
  end = run_search(MODE_RANDOM, steps);
  if (prints) print_run("random", end);
  return end;
}

static int explore_one(const explore_scenario_t *scenario, bool is_long) {
  run_open(scenario);
  if (search_all(steps_of(is_long), true) != RUN_FAILED) return 0;
  run_print_failure();
  return 1;
}

int run_scenarios(bool is_long, const char *only) {
  int wrong = 0, run = 0;
  for (const explore_scenario_t *const *at = explore_scenarios; *at != NULL; at++) {
    if (is_of_explorer(*at) || (only != NULL && strcmp((*at)->name, only) != 0)) continue;
    wrong += explore_one(*at, is_long);
    run++;
  }
  if (run == 0) fprintf(stderr, "hakmem_explore: there is no scenario %s\n", only);
  return wrong == 0 && run != 0 ? 0 : 1;
}

/* --- each acquire and release relaxed ------------------------------------------------
 */

/* What is known of an access. */
typedef struct finding {
  bool reached, reached_by_wide;
  const explore_scenario_t *by; /* which fails without the order; or NULL */
  uint64_t executions;
  char failure[512];
} finding_t;

/* All accesses, and which scenarios come to which. */
typedef struct findings {
  finding_t *of;        /* by number */
  uint8_t *reached;     /* by scenario and number */
  const char *accepted; /* the list's file */
} findings_t;

static size_t numbers(void) { return (size_t)sites_count() + 1; }

static explore_mode_t mode_of(const explore_scenario_t *scenario) {
  return has_places(scenario) ? MODE_PLACES : MODE_DEPTH;
}

/* The accesses that a scenario comes to, in a few executions of either kind. */
static void look(const explore_scenario_t *scenario, uint8_t *reached) {
  memset(g->reached, 0, numbers());
  run_open(scenario);
  if (run_search(mode_of(scenario), STEPS_LOOK) == RUN_FAILED ||
      run_search(MODE_RANDOM, STEPS_LOOK) == RUN_FAILED) {
    run_print_failure();
    exit(1);
  }
  memcpy(reached, g->reached, numbers());
}

/* A line of the list says "folder/file.c function access: reason". */
static bool is_accepted(const char *list, const explore_site_t *site) {
  char text[256], name[256];
  site_name(site, name, sizeof name);
  FILE *file = fopen(list, "r");
  if (file == NULL) {
    perror(list);
    exit(2);
  }
  bool found = false;
  size_t length = strlen(name);
  while (!found && fgets(text, sizeof text, file) != NULL) {
    found = strncmp(text, name, length) == 0 && text[length] == ':';
  }
  fclose(file);
  return found;
}

/* `brief`: there is a reason why it should not. */
static bool fails(const explore_scenario_t *scenario, int site, bool brief) {
  run_open(scenario);
  g->weakened = site;
  bool is_wide = scenario->is_wide;
  bool caught = run_search(MODE_RANDOM, is_wide ? STEPS_WIDE : STEPS_QUICK) == RUN_FAILED;
  if (!caught && is_wide) {
    g->preemptions = 1;
    caught = run_search(mode_of(scenario), STEPS_WIDE) == RUN_FAILED;
  } else if (!caught) {
    caught = search_all(STEPS_SHORT, false) == RUN_FAILED ||
             (!brief && run_search(MODE_RANDOM, RANDOM_MORE * STEPS_SHORT) == RUN_FAILED);
  }
  g->weakened = 0;
  return caught;
}

/* The same with more steps, whatever the scenario says of itself. */
static bool fails_in_the_end(const explore_scenario_t *scenario, int site) {
  run_open(scenario);
  g->weakened = site;
  bool caught = run_search(MODE_RANDOM, STEPS_STUBBORN) == RUN_FAILED ||
                search_all(STEPS_STUBBORN, false) == RUN_FAILED;
  g->weakened = 0;
  return caught;
}

static bool is_asked(int site) {
  return site_of(site)->order != EXPLORE_RELAXED && site_is_library(site_of(site));
}

static void note_caught(finding_t *finding, const explore_scenario_t *scenario) {
  finding->by = scenario;
  finding->executions = g->executions;
  snprintf(finding->failure, sizeof finding->failure, "%s", g->failure);
}

static void weaken_in(const explore_scenario_t *scenario, uint8_t *reached,
                      findings_t *all) {
  look(scenario, reached);
  for (int i = 1; i <= sites_count(); i++) {
    finding_t *finding = &all->of[i];
    if (!reached[i] || !is_asked(i)) continue;
    *(scenario->is_wide ? &finding->reached_by_wide : &finding->reached) = true;
    if (finding->by != NULL) continue;
    if (fails(scenario, i, is_accepted(all->accepted, site_of(i)))) {
      note_caught(finding, scenario);
    }
  }
}

/* --- by night: what was not caught, once more
 * -------------------------------------------
 */

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void weaken_again_in(const explore_scenario_t *scenario, const uint8_t *reached,
                            findings_t *all) {
  char text[256];
  for (int i = 1; i <= sites_count(); i++) {
    if (!reached[i] || !is_asked(i) || all->of[i].by != NULL) continue;
    double before = seconds();
    bool caught = fails_in_the_end(scenario, i);
    if (caught) note_caught(&all->of[i], scenario);
    site_print(site_of(i), text, sizeof text);
    printf("%s %s, by %s, in %.0f s\n",
           caught ? "caught late:   " : "not caught yet:", text, scenario->name,
           seconds() - before);
    fflush(stdout);
  }
}

static void print_progress(const explore_scenario_t *scenario, const findings_t *all) {
  int caught = 0;
  for (int i = 1; i <= sites_count(); i++) caught += all->of[i].by != NULL;
  printf("%-28s %d caught so far, in %.0f s\n", scenario->name, caught, seconds());
  fflush(stdout);
}

typedef struct tally {
  int all, caught, accepted, wrong, wide, not_reached;
} tally_t;

static void print_finding(const finding_t *finding, int number, const char *accepted,
                          tally_t *tally) {
  char text[256];
  site_print(site_of(number), text, sizeof text);
  tally->all++;
  if (finding->by != NULL) {
    tally->caught++;
    printf("caught       %s, by %s in %llu: %s\n", text, finding->by->name,
           (unsigned long long)finding->executions, finding->failure);
  } else if (is_accepted(accepted, site_of(number))) {
    tally->accepted++;
    printf("accepted     %s\n", text);
  } else if (finding->reached) {
    tally->wrong++;
    printf("NOT CAUGHT   %s (--weaken %d)\n", text, number);
  } else if (finding->reached_by_wide) {
    tally->wide++;
    printf("wide only    %s\n", text);
  } else {
    tally->not_reached++;
    printf("not reached  %s\n", text);
  }
}

static void weaken_all(bool is_long, findings_t *all) {
  uint8_t *reached = all->reached;
  for (const explore_scenario_t *const *at = explore_scenarios; *at != NULL; at++) {
    if (is_of_explorer(*at)) continue;
    weaken_in(*at, reached, all);
    reached += numbers();
    if (is_long) print_progress(*at, all);
  }
  reached = all->reached;
  for (const explore_scenario_t *const *at = explore_scenarios; is_long && *at != NULL;
       at++) {
    if (is_of_explorer(*at)) continue;
    weaken_again_in(*at, reached, all);
    reached += numbers();
  }
}

int run_weaken(bool is_long, const char *accepted) {
  size_t scenarios = 0;
  while (explore_scenarios[scenarios] != NULL) scenarios++;
  findings_t all = {.of = calloc(numbers(), sizeof *all.of),
                    .reached = calloc(numbers(), scenarios),
                    .accepted = accepted};
  if (all.of == NULL || all.reached == NULL) abort();
  weaken_all(is_long, &all);
  tally_t tally = {0};
  for (int i = 1; i <= sites_count(); i++) {
    if (is_asked(i)) print_finding(&all.of[i], i, accepted, &tally);
  }
  printf(
      "%d acquires and releases: %d caught, %d accepted, %d NOT CAUGHT, %d reached by "
      "wide scenarios only, %d not reached (seed %llu)\n",
      tally.all, tally.caught, tally.accepted, tally.wrong, tally.wide, tally.not_reached,
      (unsigned long long)g->seed);
  free(all.reached);
  free(all.of);
  return tally.wrong == 0 ? 0 : 1;
}

int run_accesses(void) {
  char text[256];
  for (int i = 1; i <= sites_count(); i++) {
    site_print(site_of(i), text, sizeof text);
    printf("%4d %s\n", i, text);
  }
  return 0;
}
