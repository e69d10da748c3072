/* random.c - blocks of mixed sizes that live for a random time.
 *
 * Measures replacements in random slots: of few blocks that stay in the processor's
 * first cache, of some thousands, and of so many that most are in no cache.
 */
#include "suite/groups.h"
#include "suite/slots.h"

/* Compiled once for each way to touch a block. */
static inline void replace(const suite_workload_t *self, suite_touch_t touch) {
  suite_slots_t slots;
  uint32_t times = suite_rounds(self->operations, 10000);
  suite_slots_fill(&slots, self, 0, touch);
  suite_slots_replace(&slots, times / 2, touch);
  double start = suite_now();
  suite_slots_replace(&slots, times, touch);
  suite_time("op", suite_now() - start, times);
  suite_slots_empty(&slots);
}

static void run_write(const suite_workload_t *self) { replace(self, SUITE_WRITE); }
static void run_untouched(const suite_workload_t *self) {
  replace(self, SUITE_UNTOUCHED);
}
static void run_read_write(const suite_workload_t *self) {
  replace(self, SUITE_READ_WRITE);
}

static const suite_workload_t workloads[] = {
    {.name = "random_256",
     .what = "blocks of 16 to 1,024 bytes in 256 random slots",
     .run = run_write,
     .operations = 20e6,
     .slots = 256,
     .low = 16,
     .high = 1024},
    {.name = "random_8192",
     .what = "blocks of 16 to 1,024 bytes in 8,192 random slots",
     .run = run_write,
     .operations = 15e6,
     .slots = 8192,
     .low = 16,
     .high = 1024},
    {.name = "random_200k",
     .what = "blocks of 16 to 1,024 bytes in 200,000 random slots, not touched",
     .run = run_untouched,
     .operations = 4e6,
     .slots = 200000,
     .low = 16,
     .high = 1024},
    {.name = "random_200k_touched",
     .what = "the same, each block written at first and read before it is freed",
     .run = run_read_write,
     .operations = 3e6,
     .slots = 200000,
     .low = 16,
     .high = 1024},
    {.name = "random_small_8192",
     .what = "blocks of 16 to 128 bytes in 8,192 random slots",
     .run = run_write,
     .operations = 15e6,
     .slots = 8192,
     .low = 16,
     .high = 128},
    {.name = "random_small_1m",
     .what = "blocks of 16 to 128 bytes in a million random slots, written and read",
     .run = run_read_write,
     .operations = 3e6,
     .slots = 1000000,
     .low = 16,
     .high = 128},
};

const suite_group_t suite_random = SUITE_GROUP("random", workloads);
