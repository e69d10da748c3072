/* list.c - lists whose blocks come from a heap that has been in use for long.
 *
 * Measures what is left of locality and speed when free memory is spread at random:
 * after a million replacements in random slots, half or all of the slots' blocks are
 * freed, and a list is built from what was freed, walked and destroyed. And queues,
 * in which each block lives as long as 100,000 others. Each node is written and read.
 */
#include "suite/groups.h"
#include "suite/slots.h"

typedef struct item {
  struct item *next;
  uint64_t number;
} item_t;

typedef struct times {
  double churn, build, walk, destroy;
} times_t;

/* A list of `count` items of 16 to 128 bytes. */
static void use_list(uint32_t count, uint64_t *random, times_t *times) {
  double start = suite_now();
  item_t *list = NULL;
  for (uint32_t i = 0; i < count; i++) {
    item_t *item = bench_alloc(bench_range(random, 16, 128));
    item->next = list;
    item->number = i;
    list = item;
  }
  double built = suite_now();
  uint64_t sum = 0;
  for (item_t *item = list; item != NULL; item = item->next) sum += item->number;
  suite_sink += sum;
  double walked = suite_now();
  while (list != NULL) {
    item_t *next = list->next;
    bench_free(list);
    list = next;
  }
  times->destroy += suite_now() - walked;
  times->walk += walked - built;
  times->build += built - start;
}

/* The variant tells which part of the slots is freed before a list is built: 1 of
 * so many. */
static void run_aged(const suite_workload_t *self) {
  enum {
    REPLACED = 1000000
  };
  suite_slots_t slots;
  times_t times = {0, 0, 0, 0};
  uint32_t rounds = suite_rounds(self->operations, 1);
  uint32_t freed = self->slots / self->variant;
  suite_slots_fill(&slots, self, 0, SUITE_WRITE);
  for (uint32_t round = 0; round < rounds; round++) {
    double start = suite_now();
    suite_slots_replace(&slots, REPLACED, SUITE_WRITE);
    times.churn += suite_now() - start;
    bench_shuffle((void **)slots.blocks, slots.count, &slots.random);
    for (uint32_t i = 0; i < freed; i++) bench_free(slots.blocks[i]);
    use_list(self->slots, &slots.random, &times);
    for (uint32_t i = 0; i < freed; i++) {
      size_t size = bench_range(&slots.random, self->low, self->high);
      slots.blocks[i] = suite_alloc(size);
    }
  }
  suite_slots_empty(&slots);
  double items = (double)self->slots * rounds;
  suite_time("churn", times.churn, (double)REPLACED * rounds);
  suite_time("build", times.build, items);
  suite_time("walk", times.walk, items);
  suite_time("destroy", times.destroy, items);
}

/* Replaces all blocks, in the order in which they were allocated. */
static void turn_over(suite_slots_t *slots) {
  uint64_t random = slots->random;
  for (uint32_t i = 0; i < slots->count; i++) {
    bench_free(slots->blocks[i]);
    slots->blocks[i] = suite_alloc(bench_range(&random, slots->low, slots->high));
  }
  slots->random = random;
}

static void run_queue(const suite_workload_t *self) {
  suite_slots_t slots;
  uint32_t rounds = suite_rounds(self->operations / self->slots, 1);
  suite_slots_fill(&slots, self, 0, SUITE_WRITE);
  for (int i = 0; i < 2; i++) turn_over(&slots);
  double start = suite_now();
  for (uint32_t i = 0; i < rounds; i++) turn_over(&slots);
  suite_time("op", suite_now() - start, (double)slots.count * rounds);
  suite_slots_empty(&slots);
}

static const suite_workload_t workloads[] = {
    {.name = "list_aged_half",
     .what = "lists built from every second block of a churned heap",
     .run = run_aged,
     .operations = 5,
     .slots = 200000,
     .low = 16,
     .high = 256,
     .variant = 2},
    {.name = "list_aged_all",
     .what = "lists built after all blocks of a churned heap were freed at random",
     .run = run_aged,
     .operations = 5,
     .slots = 200000,
     .low = 16,
     .high = 256,
     .variant = 1},
    {.name = "queue_128",
     .what = "a queue of 100,000 blocks of 16 to 128 bytes",
     .run = run_queue,
     .operations = 12e6,
     .slots = 100000,
     .low = 16,
     .high = 128},
    {.name = "queue_1024",
     .what = "a queue of 100,000 blocks of 16 to 1,024 bytes",
     .run = run_queue,
     .operations = 6e6,
     .slots = 100000,
     .low = 16,
     .high = 1024},
};

const suite_group_t suite_list = SUITE_GROUP("list", workloads);
