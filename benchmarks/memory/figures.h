/* figures.h - what the memory scenarios share: the list of them, and how a
 * figure is printed and judged.
 *
 * Bounds are hakmem's. A run on another allocator prints the same figures for
 * comparison and judges nothing.
 */
#ifndef BENCH_MEMORY_FIGURES_H
#define BENCH_MEMORY_FIGURES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/adapter.h"
#include "support/bench.h"

#define KIB ((size_t)1024)
#define MIB ((size_t)1024 * 1024)

/* Each runs in a process of its own. `scale` is 1 for the full amount of work;
 * less is for continuous integration. Bounds do not depend on it. */
typedef struct scenario {
  const char *name;
  void (*run)(double scale);
  const char *what;
} scenario_t;

extern const scenario_t scenarios[];
extern const size_t scenario_count;

void run_blowup(double scale);
void run_sleeper(double scale);
void run_sleeper_in_order(double scale);
void run_hoard(double scale);
void run_churn(double scale);
void run_mixed(double scale);
void run_foreign(double scale);
void run_drain(double scale);
void run_maps(double scale);
void run_large(double scale);
void run_register(double scale);
void run_tiny(double scale);

/* Prints a figure that has no bound. */
void figure(const char *what, double value, const char *unit);

/* Prints a figure and whether it keeps its bound. */
void figure_at_most(const char *what, double value, double bound, const char *unit);
void figure_at_least(const char *what, double value, double bound, const char *unit);

/* Says why a figure cannot be had here. */
void figure_missing(const char *what, const char *why);

double in_mib(size_t bytes);

/* A block of this size with every page of it written. Exits when out of memory. */
void *alloc_filled(size_t size);

/* What the allocator has counted; all zero where it counts nothing. */
bench_counts_t counts_now(void);

pthread_t start_thread(void *(*run)(void *), void *argument);

/* RSS beyond `start`, 0 if below. */
size_t rss_since(size_t start);

#endif
