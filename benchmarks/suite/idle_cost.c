#include "suite/idle_cost.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "demand.h"
#include "pages/idle.h"
#include "suite/suite.h"

static FILE *file;
static pthread_t watcher;
static hak_atomic_u32_t over;

/* The sums so far, in bytes, each for a decay. */
static struct sums {
  demand_t demand;
  double idle, floor, used, touched;
  double holes; /* bytes, at the last look */
  uint64_t began, last;
} sums;
static const char *name;

static uint64_t in_use(uint64_t idle, uint64_t holes) {
  uint64_t all =
      hak_load_relaxed(&hak_slots_committed) + hak_load_relaxed(&hak_mappings_committed);
  return all > idle + holes ? all - idle - holes : 0;
}

/* Pages of free blocks that went one by one are touched anew without a commit. */
static double touched(uint64_t holes) {
  if ((double)holes < sums.holes) sums.touched += sums.holes - (double)holes;
  sums.holes = (double)holes;
  return sums.touched + (double)hak_load_relaxed(&hak_idle_touched);
}

static void look(uint64_t now) {
  uint64_t idle = hak_idle_bytes(), holes = hak_load_relaxed(&hak_hole_bytes);
  uint64_t used = in_use(idle, holes), floor = hak_idle_floor();
  double decays = (double)(now - sums.last) / (double)hak_idle_decay();
  sums.last = now;
  sums.idle += (double)idle * decays;
  sums.floor += (double)(idle < floor ? idle : floor) * decays;
  sums.used += (double)used * decays;
  double all = touched(holes);
  demand_at(&sums.demand, now, used);
  if (file != NULL) {
    fprintf(file, "%s %.4f %llu %llu %.0f\n", name, (double)(now - sums.began) / 1e9,
            (unsigned long long)used, (unsigned long long)idle, all);
  }
}

static void *watch(void *unused) {
  (void)unused;
  while (hak_load_relaxed(&over) == 0) {
    look((uint64_t)suite_now());
    bench_sleep_ms(1);
  }
  return NULL;
}

void suite_idle_cost_open(const char *path) {
  file = fopen(path, "w");
  if (file == NULL) {
    perror(path);
    exit(2);
  }
}

void suite_idle_cost_begin(const char *workload) {
  bench_free(bench_alloc(1)); /* the library runs */
  name = workload;
  sums = (struct sums){.idle = 0};
  sums.began = sums.last = (uint64_t)suite_now();
  demand_begin(&sums.demand, hak_idle_decay());
  hak_store_relaxed(&over, 0);
  if (pthread_create(&watcher, NULL, watch, NULL) != 0) abort();
}

void suite_idle_cost_end(void) {
  hak_store_relaxed(&over, 1);
  pthread_join(watcher, NULL);
  look((uint64_t)suite_now());
  double least = demand_least(&sums.demand), all = touched((uint64_t)sums.holes);
  suite_figure("idle_least", least / MIB, "MiB");
  suite_figure("idle_cost", (all + sums.idle - sums.floor) / least, "x");
  suite_figure("idle_floor", sums.floor / least, "x");
  suite_figure("all_cost", (all + sums.idle + sums.used) / (least + sums.used), "x");
  demand_end(&sums.demand);
  if (file != NULL) fflush(file);
}
