/* groups.h - the groups of workloads. A large one is in several parts, each in a file
 * of its own. */
#ifndef BENCH_SUITE_GROUPS_H
#define BENCH_SUITE_GROUPS_H

#include "suite/suite.h"

extern const suite_group_t suite_small;
extern const suite_group_t suite_random;
extern const suite_group_t suite_mid;
extern const suite_group_t suite_tree;
extern const suite_group_t suite_list;
extern const suite_group_t suite_frames;
extern const suite_group_t suite_exchange;
extern const suite_group_t suite_larson; /* of exchange */
extern const suite_group_t suite_remote; /* of exchange */
extern const suite_group_t suite_large;
extern const suite_group_t suite_resize; /* of large */
extern const suite_group_t suite_threads;
extern const suite_group_t suite_memory;
extern const suite_group_t suite_aging;
extern const suite_group_t suite_cache; /* of aging */
extern const suite_group_t suite_spike;
extern const suite_group_t suite_fleet;
extern const suite_group_t suite_pool;
extern const suite_group_t suite_shapes;
extern const suite_group_t suite_budget;
extern const suite_group_t suite_sqlite; /* of programs */
extern const suite_group_t suite_lua;    /* of programs */

/* Not among the others: single calls, with --latency. */
extern const suite_group_t suite_latency;

/* Of more groups than one: each thread replaces blocks in random slots of its own. */
void suite_run_slots(const suite_workload_t *self);

#endif
