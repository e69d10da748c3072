/* runs.c - the runs over all scenarios. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"

/* Steps that each way of searching a scenario takes at most. */
enum {
  STEPS_SHORT = 200000,
  STEPS_LITMUS = 50000,
  STEPS_LOOK = 20000,
  STEPS_STUBBORN = 2000000, /* by night, for an order that was not caught, in all the
                               scenarios that come to it */
  STEPS_QUICK = 10000,      /* random ones, which find most weakened orders */
  STEPS_WIDE = 40000,       /* in wide scenarios: random ones, and with one preemption */
  PLACES_MORE = 20, /* times as many where a fork or a handler comes to each place */
  RANDOM_MORE = 4   /* times as many random ones where no other way has shown that an
                       order is needed */
};

static bool is_of_explorer(const explore_scenario_t *scenario) {
  return scenario->outcomes != 0 || scenario->is_broken;
}
static uint64_t steps_of(unsigned times) { return (uint64_t)STEPS_SHORT * times; }

/* How much of a search is done that was stopped. */
static void print_share(void) {
  double share = search_share();
  if (share >= 0.01) {
    printf(": about %.0f %%", 100 * share);
  } else if (share > 0) {
    printf(": about one in %.0e", 1 / share);
  }
}

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
  if (end == RUN_EXHAUSTED) printf(": all");
  if (end == RUN_FAILED) printf(": FAILED");
  if (end == RUN_BOUNDED && g->mode == MODE_DEPTH) print_share();
  printf("\n");
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

/* A search that stops after a half of its steps says that it has done about a half. */
static bool is_share_right(uint64_t executions, uint64_t steps) {
  if (executions < 4) return true;
  run_open(g->scenario);
  g->preemptions = 100;
  run_end_t end = run_search(MODE_DEPTH, steps / 2);
  double share = search_share();
  print_run("half", end);
  if (end == RUN_BOUNDED && share > 0.25 && share < 0.75) return true;
  printf("FAILED: %s: a share of %g\n", g->scenario->name, share);
  return false;
}

int run_litmus(unsigned times) {
  int wrong = 0;
  for (const explore_scenario_t *const *at = explore_scenarios; *at != NULL; at++) {
    if (!is_of_explorer(*at)) continue;
    for (int reduced = 1; reduced >= 0; reduced--) {
      run_open(*at);
      if (!reduced) g->preemptions = 100;
      run_end_t end = run_search(MODE_DEPTH, steps_of(times));
      print_run(reduced ? "reduced" : "whole", end);
      wrong += !is_as_expected(end);
      if (reduced || end != RUN_EXHAUSTED) continue;
      wrong += !is_share_right(g->executions, g->all_steps);
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

/* What was searched of a scenario beside random orders. */
typedef enum extent {
  EXTENT_PART = 0, /* less than any of these */
  EXTENT_ONE,      /* all orders of one preemption, but not of two */
  EXTENT_TWO,      /* of two */
  EXTENT_PLACES,   /* all places of the fork or of the handler */
  EXTENT_WHOLE,    /* all orders */
  EXTENTS
} extent_t;

static run_end_t search_depth(uint64_t steps, bool prints, extent_t *extent) {
  static const int preemptions[] = {-1, 1, 2};
  static const extent_t extents[] = {EXTENT_WHOLE, EXTENT_ONE, EXTENT_TWO};
  run_end_t end = RUN_BOUNDED;
  for (size_t i = 0; i < sizeof preemptions / sizeof preemptions[0]; i++) {
    g->preemptions = preemptions[i];
    end = run_search(MODE_DEPTH, steps);
    if (prints) print_run("depth", end);
    if (end == RUN_EXHAUSTED) *extent = extents[i];
    if (end == RUN_FAILED || *extent == EXTENT_WHOLE) break;
    /* Two take longer than one. */
    if (preemptions[i] == 1 && end == RUN_BOUNDED) break;
  }
  return end;
}

/* One way after the other: all orders, as far as the steps go; all with one preemption
 * and with two, where most faults are; random ones. Of a fork or a handler instead of the
 * first three: all places. */
static run_end_t search_all(uint64_t steps, bool prints, extent_t *extent) {
  run_end_t end;
  *extent = EXTENT_PART;
  if (has_places(g->scenario)) {
    end = run_search(MODE_PLACES, PLACES_MORE * steps);
    if (prints) print_run("places", end);
    if (end == RUN_EXHAUSTED) *extent = EXTENT_PLACES;
    if (end == RUN_EXHAUSTED && g->threads == 1) return end;
  } else {
    end = search_depth(steps, prints, extent);
    if (*extent == EXTENT_WHOLE) return end;
  }
  if (end == RUN_FAILED) return end;
  end = run_search(MODE_RANDOM, steps);
  if (prints) print_run("random", end);
  return end;
}

/* For each scenario, in their order, how far it was searched. */
static void print_extents(const extent_t *extent) {
  static const char *const what[EXTENTS] = {
      [EXTENT_WHOLE] = "in all orders",
      [EXTENT_PLACES] = "at all places of a fork or of a handler",
      [EXTENT_TWO] = "in all orders of two preemptions, and some of more",
      [EXTENT_ONE] = "in all orders of one preemption, and some of more",
      [EXTENT_PART] = "in some orders, not even all of one preemption"};
  for (unsigned kind = EXTENTS; kind-- > 0;) {
    unsigned count = 0;
    for (size_t i = 0; explore_scenarios[i] != NULL; i++) {
      count += !is_of_explorer(explore_scenarios[i]) && extent[i] == kind;
    }
    printf("%u scenarios were searched %s%s", count, what[kind],
           count != 0 && kind < EXTENT_TWO ? ":" : "");
    for (size_t i = 0; kind < EXTENT_TWO && explore_scenarios[i] != NULL; i++) {
      if (is_of_explorer(explore_scenarios[i]) || extent[i] != kind) continue;
      printf(" %s", explore_scenarios[i]->name);
    }
    printf("\n");
  }
}

static size_t scenarios_count(void) {
  size_t count = 0;
  while (explore_scenarios[count] != NULL) count++;
  return count;
}

int run_scenarios(unsigned times, const char *only) {
  int wrong = 0, run = 0;
  extent_t *extent = calloc(scenarios_count(), sizeof *extent);
  if (extent == NULL) abort();
  for (size_t i = 0; explore_scenarios[i] != NULL; i++) {
    const explore_scenario_t *scenario = explore_scenarios[i];
    if (is_of_explorer(scenario)) continue;
    if (only != NULL && strcmp(scenario->name, only) != 0) continue;
    run_open(scenario);
    if (search_all(steps_of(times), true, &extent[i]) == RUN_FAILED) {
      run_print_failure();
      wrong++;
    }
    run++;
  }
  if (run == 0) fprintf(stderr, "hakmem_explore: there is no scenario %s\n", only);
  if (only == NULL) print_extents(extent);
  free(extent);
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
    extent_t extent;
    caught = search_all(STEPS_SHORT, false, &extent) == RUN_FAILED ||
             (!brief && run_search(MODE_RANDOM, RANDOM_MORE * STEPS_SHORT) == RUN_FAILED);
  }
  g->weakened = 0;
  return caught;
}

/* The same with so many steps, whatever the scenario says of itself. */
static bool fails_in_the_end(const explore_scenario_t *scenario, int site,
                             uint64_t steps) {
  extent_t extent;
  run_open(scenario);
  g->weakened = site;
  bool caught = search_all(steps, false, &extent) == RUN_FAILED;
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

/* --- by night: what was not caught, once more ----------------------------------------
 */

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* In each scenario that comes to it, as long in all whether these are few or many: but no
 * less in any than others are searched. */
static void weaken_again(int site, unsigned times, findings_t *all) {
  char text[256];
  double before = seconds();
  size_t count = scenarios_count(), some = 0, tried = 0;
  for (size_t i = 0; i < count; i++) some += all->reached[i * numbers() + (size_t)site];
  if (some == 0) return;
  uint64_t steps = (uint64_t)STEPS_STUBBORN * times / some;
  if (steps < STEPS_SHORT) steps = STEPS_SHORT;
  for (size_t i = 0; i < count && all->of[site].by == NULL; i++) {
    if (!all->reached[i * numbers() + (size_t)site]) continue;
    tried++;
    if (fails_in_the_end(explore_scenarios[i], site, steps)) {
      note_caught(&all->of[site], explore_scenarios[i]);
    }
  }
  site_print(site_of(site), text, sizeof text);
  printf("once more: %s: %s in %zu scenarios, of %llu steps each way, in %.0f s\n", text,
         all->of[site].by != NULL ? "caught" : "not caught", tried,
         (unsigned long long)steps, seconds() - before);
  fflush(stdout);
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

static void weaken_all(unsigned times, findings_t *all) {
  for (size_t i = 0; explore_scenarios[i] != NULL; i++) {
    if (is_of_explorer(explore_scenarios[i])) continue;
    weaken_in(explore_scenarios[i], &all->reached[i * numbers()], all);
    if (times > 1) print_progress(explore_scenarios[i], all);
  }
  for (int i = 1; times > 1 && i <= sites_count(); i++) {
    if (is_asked(i) && all->of[i].by == NULL) weaken_again(i, times, all);
  }
}

int run_weaken(unsigned times, const char *accepted) {
  findings_t all = {.of = calloc(numbers(), sizeof *all.of),
                    .reached = calloc(numbers(), scenarios_count()),
                    .accepted = accepted};
  if (all.of == NULL || all.reached == NULL) abort();
  weaken_all(times, &all);
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
