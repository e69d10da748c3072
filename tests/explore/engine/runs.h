/* runs.h - the runs of the explorer; see main.c. */
#ifndef EXPLORE_RUNS_H
#define EXPLORE_RUNS_H

#include "explore.h"

typedef enum explore_mode {
  MODE_DEPTH = 0, /* depth first */
  MODE_RANDOM,
  MODE_PLACES, /* where a scenario forks, or has a handler: at each place, one after the
                  other, and else as few changes of thread as there can be */
  MODE_REPLAY
} explore_mode_t;

typedef enum run_end {
  RUN_EXHAUSTED = 0, /* all executions within the bounds */
  RUN_BOUNDED,       /* as many steps as were asked for */
  RUN_FAILED
} run_end_t;

void run_open(const explore_scenario_t *scenario);
/* Executions that take about so many steps together, from g->seed where they are random.
 */
run_end_t run_search(explore_mode_t mode, uint64_t steps);
void run_print_failure(void);

/* Each returns what the process does. Bounds are so many times as wide as by day. */
int run_litmus(unsigned times);
int run_scenarios(unsigned times, const char *only);
int run_weaken(unsigned times, const char *accepted);
int run_accesses(void);

#endif
