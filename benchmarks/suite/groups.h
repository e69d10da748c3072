/* groups.h - the groups of workloads, each in a file of its own name. */
#ifndef BENCH_SUITE_GROUPS_H
#define BENCH_SUITE_GROUPS_H

#include "suite/suite.h"

extern const suite_group_t suite_small;
extern const suite_group_t suite_random;
extern const suite_group_t suite_mid;
extern const suite_group_t suite_tree;

/* Of more groups than one: each thread replaces blocks in random slots of its own. */
void suite_run_slots(const suite_workload_t *self);

#endif
