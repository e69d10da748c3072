#include <hakmem/hakmem.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "heaps.h"

enum {
  STEPS = 200000,
  ROUNDS = 41,
  WARM = 256,
  KEPT = 16384,
  SLOTS_MAX = 8192
};

static hak_heap_t *heap;
static void *slots[SLOTS_MAX];
static uint64_t random_state;

static uint32_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 20);
}

static void pairs_of_serial(size_t size, size_t count) {
  (void)count;
  for (size_t i = 0; i < STEPS; i++) hak_heap_free(heap, hak_heap_alloc(heap, size));
}
static void pairs_of_default(size_t size, size_t count) {
  (void)count;
  for (size_t i = 0; i < STEPS; i++) hak_free(hak_alloc(size));
}

/* Random sizes to `size` in `count` places, each block there for a while. */
static void random_of_serial(size_t size, size_t count) {
  for (size_t i = 0; i < STEPS; i++) {
    void **slot = &slots[next_random() % count];
    hak_heap_free(heap, *slot);
    *slot = hak_heap_alloc(heap, 1 + next_random() % size);
  }
  for (size_t i = 0; i < count; i++) hak_heap_free(heap, slots[i]);
}
static void random_of_default(size_t size, size_t count) {
  for (size_t i = 0; i < STEPS; i++) {
    void **slot = &slots[next_random() % count];
    hak_free(*slot);
    *slot = hak_alloc(1 + next_random() % size);
  }
  for (size_t i = 0; i < count; i++) hak_free(slots[i]);
}

static const struct {
  const char *name;
  void (*of_serial)(size_t size, size_t count), (*of_default)(size_t size, size_t count);
  size_t size, count;
} works[] = {
    {"serial heap: pair of 64 B", pairs_of_serial, pairs_of_default, 64, 0},
    {"serial heap: random to 1 KiB, 256 blocks", random_of_serial, random_of_default,
     1024, 256},
    {"serial heap: random to 1 KiB, 8,192 blocks", random_of_serial, random_of_default,
     1024, 8192},
    {"serial heap: random to 16 KiB, 4,096 blocks", random_of_serial, random_of_default,
     16384, 4096},
};

/* The processor's time and not the clock's: rounds are short, and a pause in one is not
 * made up for by the next. */
static double processor_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double time_of(void (*work)(size_t, size_t), size_t size, size_t count) {
  random_state = 88172645463325252u;
  memset(slots, 0, sizeof slots);
  double start = processor_ns();
  work(size, count);
  return processor_ns() - start;
}

/* Both are what they are in use: some blocks in circulation, and larger than the first
 * SuperSlabs of a heap, which never have huge pages. */
static void warm_up(void) {
  for (size_t i = 0; i < KEPT; i++) {
    if (hak_heap_alloc(heap, 1024) == NULL || hak_alloc(1024) == NULL) die("no memory");
  }
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < WARM; i++) slots[i] = hak_heap_alloc(heap, 64);
    for (int i = 0; i < WARM; i++) {
      if (slots[i] == NULL || hak_heap_of(slots[i]) != heap) die("no block of the heap");
      hak_heap_free(heap, slots[i]);
    }
    for (int i = 0; i < WARM; i++) slots[i] = hak_alloc(64);
    for (int i = 0; i < WARM; i++) hak_free(slots[i]);
  }
}

bool measure_serial(void) {
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = HAK_HEAP_SERIAL};
  heap = hak_heap_create(&config);
  if (heap == NULL) die("no serial heap");
  warm_up();
  bool ok = true;
  for (size_t w = 0; w < sizeof works / sizeof works[0]; w++) {
    double ratios[ROUNDS];
    for (int i = -2; i < ROUNDS; i++) {
      double serial = time_of(works[w].of_serial, works[w].size, works[w].count);
      double other = time_of(works[w].of_default, works[w].size, works[w].count);
      if (i >= 0) ratios[i] = serial / other;
    }
    ok = report(works[w].name, median(ratios, ROUNDS), 1, true) && ok;
  }
  if (hak_heap_destroy(heap) != 0) die("destroy failed");
  return ok;
}
