/* mid.c - blocks of 1 to 52 KiB, by one thread and by several at once.
 *
 * Measures sizes at which allocators change from small bins to something slower.
 * Each thread has slots of its own.
 */
#include "suite/groups.h"
#include "suite/slots.h"
#include "suite/threads.h"

typedef struct churn {
  const suite_workload_t *self;
  uint32_t times;
  suite_slots_t slots[SUITE_MAX_THREADS];
} churn_t;

static void prepare(void *context, uint32_t index) {
  churn_t *churn = context;
  suite_slots_fill(&churn->slots[index], churn->self, index, SUITE_WRITE);
  suite_slots_replace(&churn->slots[index], churn->times / 4, SUITE_WRITE);
}

static void replace(void *context, uint32_t index) {
  churn_t *churn = context;
  suite_slots_replace(&churn->slots[index], churn->times, SUITE_WRITE);
}

static void empty(void *context, uint32_t index) {
  churn_t *churn = context;
  suite_slots_empty(&churn->slots[index]);
}

void suite_run_slots(const suite_workload_t *self) {
  static churn_t churn;
  uint32_t threads = self->threads > 1 ? self->threads : 1;
  churn.self = self;
  churn.times = suite_rounds(self->operations, 1000);
  suite_team_t team = {prepare, replace, empty, &churn};
  double time = suite_team_run(&team, threads);
  suite_time("op", time, (double)churn.times * threads);
}

static const suite_workload_t workloads[] = {
    {.name = "mid_256",
     .what = "blocks of 1 to 8 KiB in 256 random slots",
     .run = suite_run_slots,
     .operations = 10e6,
     .slots = 256,
     .low = 1024,
     .high = 8192},
    {.name = "mid_256_2t",
     .what = "the same by two threads",
     .run = suite_run_slots,
     .operations = 8e6,
     .slots = 256,
     .low = 1024,
     .high = 8192,
     .threads = 2},
    {.name = "mid_4096",
     .what = "blocks of 1 to 8 KiB in 4,096 random slots",
     .run = suite_run_slots,
     .operations = 8e6,
     .slots = 4096,
     .low = 1024,
     .high = 8192},
    {.name = "mid_4096_2t",
     .what = "the same by two threads",
     .run = suite_run_slots,
     .operations = 8e6,
     .slots = 4096,
     .low = 1024,
     .high = 8192,
     .threads = 2},
    {.name = "mid_32k",
     .what = "blocks of 1 to 32 KiB in 1,024 random slots",
     .run = suite_run_slots,
     .operations = 8e6,
     .slots = 1024,
     .low = 1024,
     .high = 32768},
    {.name = "mid_32k_2t",
     .what = "the same by two threads",
     .run = suite_run_slots,
     .operations = 8e6,
     .slots = 1024,
     .low = 1024,
     .high = 32768,
     .threads = 2},
    {.name = "mid_large",
     .what = "blocks of 8 to 32 KiB in 256 random slots",
     .run = suite_run_slots,
     .operations = 8e6,
     .slots = 256,
     .low = 8192,
     .high = 32768},
    {.name = "mid_large_2t",
     .what = "the same by two threads",
     .run = suite_run_slots,
     .operations = 6e6,
     .slots = 256,
     .low = 8192,
     .high = 32768,
     .threads = 2},
    {.name = "mid_large_4t",
     .what = "the same by four threads",
     .run = suite_run_slots,
     .operations = 5e6,
     .slots = 256,
     .low = 8192,
     .high = 32768,
     .threads = 4},
    {.name = "mid_large_8t",
     .what = "the same by eight threads",
     .run = suite_run_slots,
     .operations = 2.5e6,
     .slots = 256,
     .low = 8192,
     .high = 32768,
     .threads = 8},
    {.name = "mid_52k",
     .what = "blocks of 8 to 52 KiB in 256 random slots",
     .run = suite_run_slots,
     .operations = 4e6,
     .slots = 256,
     .low = 8192,
     .high = 53248},
};

const suite_group_t suite_mid = SUITE_GROUP("mid", workloads);
