/* api_recall.c - idle memory that falls due goes back although each call of the program
 * ends in a bin, and threads that are busy hardly notice. Each case runs in a child of
 * its own. */
#include "child.h"
#include "threads.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
  DECAY_MS = 200,
  REQUEST_BLOCKS = 50,
  DECAYS_MOST = 100 /* a machine that is busy may take some */
};
#define MASS ((size_t)64 << 20)

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A request that bins serve, if there were some of its kind before. */
static bool mid; /* of blocks over 1 KiB, allocated and freed one by one */
static void serve(test_rng_t *rng) {
  void *blocks[REQUEST_BLOCKS];
  for (size_t i = 0; mid && i < REQUEST_BLOCKS; i++) {
    void *block = hak_alloc(1025 + (size_t)test_below(rng, 1000));
    CHECK(block != NULL);
    hak_free(block);
  }
  if (mid) return;
  for (size_t i = 0; i < REQUEST_BLOCKS; i++) {
    blocks[i] = hak_alloc(16 + (size_t)test_below(rng, 1000));
    CHECK(blocks[i] != NULL);
  }
  for (size_t i = 0; i < REQUEST_BLOCKS; i++) hak_free(blocks[i]);
}

/* MASS bytes of the heap, or of the default one, written and freed. */
static void spike(hak_heap_t *heap, size_t size) {
  static void *blocks[MASS / 1024];
  size_t count = MASS / size;
  for (size_t i = 0; i < count; i++) {
    blocks[i] = heap == NULL ? hak_alloc(size) : hak_heap_alloc(heap, size);
    CHECK(blocks[i] != NULL);
    memset(blocks[i], 1, size);
  }
  for (size_t i = 0; i < count; i++) hak_free(blocks[i]);
}

typedef enum mass {
  MASS_OF_SMALL,
  MASS_OF_LARGE,
  MASS_OF_HEAP,
  MASS_OF_ENDED_HEAP,
  MASS_BESIDE_MID
} mass_t;

static int calm_child(void *ctx) {
  mass_t mass = *(mass_t *)ctx;
  test_rng_t rng = test_rng(test_seed(), mass);
  test_start();
  mid = mass == MASS_BESIDE_MID;
  /* All waits for its age, which begins with the calm. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 3600000), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  for (int i = 0; i < 1000; i++) serve(&rng);
  if (mass == MASS_OF_SMALL || mass == MASS_BESIDE_MID) {
    spike(NULL, 1024);
  } else if (mass == MASS_OF_LARGE) {
    spike(NULL, 200 * KIB);
  } else {
    hak_heap_t *heap = hak_heap_create(NULL);
    CHECK(heap != NULL);
    spike(heap, 1024);
    if (mass == MASS_OF_ENDED_HEAP) CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  CHECK(test_stats().retained_bytes >= MASS / 2);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS), 0);
  double end = seconds() + DECAYS_MOST * DECAY_MS * 1e-3;
  while (test_stats().retained_bytes > 6 * MIB) {
    CHECK_MSG(seconds() < end, "%llu bytes are idle",
              (unsigned long long)test_stats().retained_bytes);
    serve(&rng);
    usleep(5000);
  }
  return 0;
}

static void memory__that_is_due_goes_although_bins_serve_all(void **state) {
  (void)state;
  static const mass_t masses[] = {MASS_OF_SMALL, MASS_OF_LARGE, MASS_OF_HEAP,
                                  MASS_OF_ENDED_HEAP, MASS_BESIDE_MID};
  for (size_t i = 0; i < TEST_COUNT(masses); i++) {
    mass_t mass = masses[i];
    test_child_must_succeed(calm_child, &mass, 60);
  }
}

/* A block of each of many slabs lies in bins, magazines and the transfer cache when all
 * are freed in random order. */
static int caches_child(void *ctx) {
  enum {
    BLOCKS = 65536
  };
  static void *blocks[BLOCKS];
  test_rng_t rng = test_rng(test_seed(), 0);
  test_start();
  hak_heap_t *heap = *(bool *)ctx ? hak_heap_create(NULL) : NULL;
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS), 0);
  for (int i = 0; i < 1000; i++) serve(&rng);
  uint64_t before = test_stats().committed_bytes;
  for (size_t i = 0; i < BLOCKS; i++) {
    size_t size = 16 + (size_t)test_below(&rng, 2000);
    blocks[i] = heap == NULL ? hak_alloc(size) : hak_heap_alloc(heap, size);
    CHECK(blocks[i] != NULL);
    memset(blocks[i], 1, size);
  }
  for (size_t i = BLOCKS; i > 0; i--) {
    size_t which = (size_t)test_below(&rng, i);
    hak_free(blocks[which]);
    blocks[which] = blocks[i - 1];
  }
  double end = seconds() + DECAYS_MOST * DECAY_MS * 1e-3;
  while (test_stats().committed_bytes > before + 6 * MIB) {
    CHECK_MSG(seconds() < end, "%llu bytes are committed, %llu were",
              (unsigned long long)test_stats().committed_bytes,
              (unsigned long long)before);
    serve(&rng);
    usleep(2000);
  }
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void blocks__that_are_kept_for_a_decay_pin_nothing(void **state) {
  (void)state;
  for (int own_heap = 0; own_heap < 2; own_heap++) {
    bool ctx = own_heap != 0;
    test_child_must_succeed(caches_child, &ctx, 60);
  }
}

/* Of what is freed each 300th block stays, and the requests that follow are of one shape,
 * so that no bin is ever full or empty. */
TEST_IN_CHILD(holes__that_are_due_go_although_bins_serve_all, 60) {
  enum {
    SIZE = 100,
    BLOCKS = MASS / SIZE,
    STAY = 300
  };
  static void *blocks[BLOCKS];
  if (test_is_strict()) return; /* there are no holes where hooks promise no zeroes */
  test_start();
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS), 0);
  for (size_t i = 0; i < BLOCKS; i++) {
    blocks[i] = hak_alloc(SIZE);
    CHECK(blocks[i] != NULL);
    memset(blocks[i], 1, SIZE);
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    if (i % STAY != 0) hak_free(blocks[i]);
  }
  double end = seconds() + DECAYS_MOST * DECAY_MS * 1e-3;
  while (test_stats().hole_bytes < MASS / 2) {
    CHECK_MSG(seconds() < end, "%llu bytes are holes",
              (unsigned long long)test_stats().hole_bytes);
    void *request[REQUEST_BLOCKS];
    for (size_t i = 0; i < REQUEST_BLOCKS; i++) CHECK((request[i] = hak_alloc(SIZE)));
    for (size_t i = 0; i < REQUEST_BLOCKS; i++) hak_free(request[i]);
    usleep(5000);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

/* What was freed last is given out again, so that no list is ever used up. */
TEST_IN_CHILD(memory__that_is_due_goes_although_the_last_block_serves_all, 60) {
  enum {
    PAIRS = 20000
  };
  test_start();
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 3600000), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  spike(heap, 1024);
  for (int i = 0; i < PAIRS; i++) hak_free(hak_heap_alloc_at(heap, 100, NULL));
  CHECK(test_stats().retained_bytes >= MASS / 2);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, DECAY_MS), 0);
  double end = seconds() + DECAYS_MOST * DECAY_MS * 1e-3;
  while (test_stats().retained_bytes > 6 * MIB) {
    CHECK_MSG(seconds() < end, "%llu bytes are idle",
              (unsigned long long)test_stats().retained_bytes);
    for (int i = 0; i < PAIRS; i++) hak_free(hak_heap_alloc_at(heap, 100, NULL));
    usleep(5000);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

/* In each 64th of a decay a thread that is busy leaves its bins so often at most. */
TEST_IN_CHILD(threads__that_are_busy_are_seldom_called, 60) {
  enum {
    PAIRS = 2000000,
    EACH = 64 + 52
  };
  test_rng_t rng = test_rng(test_seed(), 0);
  test_start();
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 3600000), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  for (int i = 0; i < 1000; i++) serve(&rng);
  spike(NULL, 200 * KIB);
  CHECK(test_stats().retained_bytes >= MASS / 2);
  uint64_t before = test_stats().slow_event + test_stats().slow_alloc;
  for (int i = 0; i < PAIRS; i++) hak_free(hak_alloc(1 + (size_t)test_below(&rng, 256)));
  uint64_t calls = test_stats().slow_event + test_stats().slow_alloc - before;
  CHECK_MSG(calls <= 2 * EACH, "%llu slow paths", (unsigned long long)calls);
}

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(memory__that_is_due_goes_although_bins_serve_all),
      cmocka_unit_test(blocks__that_are_kept_for_a_decay_pin_nothing),
      cmocka_unit_test(holes__that_are_due_go_although_bins_serve_all),
      cmocka_unit_test(memory__that_is_due_goes_although_the_last_block_serves_all),
      cmocka_unit_test(threads__that_are_busy_are_seldom_called),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
