/* idle_cost.h - what a workload pays for idle memory, beside the least that it could.
 *
 * hakmem_suite_idle_cost runs the workloads of the suite, and a thread beside them notes
 * a thousand times a second how much memory is in use and how much lies idle in the
 * library. Of this demand docs/MEMORY.md says what it costs at least. Each workload
 * reports, beside its other figures,
 *
 *     idle_least  what the demand costs at least
 *     idle_cost   (bytes touched + idle bytes x decays - what the floor keeps) / least
 *     idle_floor  what the floor keeps / least
 *     all_cost    the first with the floor and what is in use / least with what is in use
 *
 * and with --demand FILE before the workloads writes what it noted: a line
 * "<workload> <seconds> <in use> <idle> <touched>", in bytes.
 */
#ifndef BENCH_SUITE_IDLE_COST_H
#define BENCH_SUITE_IDLE_COST_H

#ifdef SUITE_IDLE_COST
/* Where to write what is noted; NULL: nowhere. */
void suite_idle_cost_open(const char *path);
/* Before a workload, and when all its other figures are reported. */
void suite_idle_cost_begin(const char *workload);
void suite_idle_cost_end(void);
#else
static inline void suite_idle_cost_begin(const char *workload) { (void)workload; }
static inline void suite_idle_cost_end(void) {}
#endif

#endif
