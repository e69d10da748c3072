/* list.c - all scenarios. */
#include <stddef.h>

#include "explore.h"
#include "scenarios.h"

#define SCENARIO(name) &name,
const explore_scenario_t *const explore_scenarios[] = {EXPLORE_ALL(SCENARIO) NULL};
