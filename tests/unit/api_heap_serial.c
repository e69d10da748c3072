/* api_heap_serial.c - heaps for one thread at a time: blocks of all tiers, the two ways
 * to free them, limits, misuse, the ways in which such a heap ends. */
#include "records.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = {1,      8,      16,      48,      100,     1000,
                               1024,   1500,   5000,    20000,   32768,   40000,
                               200000, 700000, 1 << 20, 3 << 20, 40 << 20};

static hak_heap_t *make(hak_heap_t *parent) {
  return test_heap(HAK_HEAP_SERIAL, "serial", parent);
}

/* ---- blocks ---------------------------------------------------------------- */

static void alloc__every_tier_and_entry_point_serves_the_heap(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      size_t size = sizes[i];
      unsigned char *block = hak_heap_alloc(heap, size);
      CHECK(block != NULL && hak_heap_of(block) == heap);
      test_fill(block, size, i);
      block = hak_realloc(block, size * 2);
      CHECK(block != NULL && hak_heap_of(block) == heap && test_verify(block, size, i));
      hak_heap_free(heap, block);
      block = hak_heap_calloc(heap, 1, size);
      CHECK(block != NULL && test_is_zero(block, size) && hak_heap_of(block) == heap);
      CHECK(hak_usable_size(block) >= size);
      hak_free(block);
      block = hak_heap_aligned_alloc(heap, 4096, size);
      CHECK(block != NULL && (uintptr_t)block % 4096 == 0 && hak_heap_of(block) == heap);
      hak_heap_free(heap, block);
      block = hak_allocx(heap, size, 64, HAK_ZERO, NULL);
      CHECK(block != NULL && test_is_zero(block, size) && hak_heap_of(block) == heap);
      hak_free_sized(block, size);
      block = hak_heap_realloc(heap, NULL, size);
      CHECK(hak_heap_of(block) == heap);
      hak_free_aligned_sized(block, 8, size);
    }
  }
  CHECK_EQ(test_heap_live_blocks(heap), 0);
  CHECK_EQ(hak_check(heap), 0);
  void *empty = hak_heap_alloc(heap, 0);
  CHECK(empty != NULL);
  CHECK_EQ(test_heap_live_blocks(heap), 1);
  hak_heap_free(heap, empty);
  hak_heap_free(heap, hak_heap_alloc(heap, 0));
  hak_heap_free(heap, NULL);
  errno = 0;
  CHECK(hak_heap_alloc(heap, test_opaque(SIZE_MAX)) == NULL && errno == ENOMEM);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

static void no_grow__of_a_heap_without_memory_never_calls_the_system(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  uint64_t before = test_stats().os_reserve + test_stats().os_commit;
  CHECK(hak_allocx(heap, 100, 0, HAK_NO_GROW, NULL) == NULL);
  CHECK_EQ(test_stats().os_reserve + test_stats().os_commit, before);
  hak_heap_free(heap, hak_heap_alloc(heap, 100));
  CHECK(hak_allocx(heap, 100, 0, HAK_NO_GROW, NULL) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Waves of one size, far more than bins keep, freed in three orders. */
static void waves__of_blocks_come_home_in_any_order(void **state) {
  (void)state;
  enum {
    WAVE = 20000
  };
  hak_heap_t *heap = make(NULL);
  size_t count = test_scale(WAVE) < WAVE ? test_scale(WAVE) : WAVE;
  void **blocks = malloc(count * sizeof *blocks);
  test_rng_t rng = test_rng(test_seed(), 4);
  for (size_t round = 0; round < 9; round++) {
    size_t size = round < 6 ? 64 : 2000;
    for (size_t i = 0; i < count; i++) {
      blocks[i] = hak_heap_alloc(heap, size);
      CHECK(blocks[i] != NULL);
      memset(blocks[i], (int)i, size);
    }
    for (size_t i = 0; i < count; i++) {
      size_t left = count - i, at = round % 3 == 0 ? i : round % 3 == 1 ? left - 1 : 0;
      if (round % 3 == 2) {
        size_t random = test_below(&rng, left);
        void *last = blocks[left - 1];
        blocks[left - 1] = blocks[random];
        blocks[random] = last;
        at = left - 1;
      }
      hak_heap_free(heap, blocks[at]);
    }
    CHECK_EQ(hak_check(heap), 0);
  }
  CHECK_EQ(test_heap_live_blocks(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  free(blocks);
}

/* ---- the end ----------------------------------------------------------------- */

static void reset__gives_the_same_memory_again(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  test_keep_unused(true);
  uint64_t reserves = 0, commits = 0;
  for (int frame = 0; frame < 6; frame++) {
    for (size_t i = 0; i < 5000; i++) {
      void *block = hak_heap_alloc(heap, 16 + i % 500);
      CHECK(block != NULL && hak_heap_of(block) == heap);
      memset(block, frame, 16);
      if (i % 3 == 0) hak_heap_free(heap, block);
    }
    hak_stats_t stats = test_stats();
    /* How far ahead a slab is cut depends on the time that refills take. */
    CHECK(frame <= 1 || stats.os_commit <= commits + 2);
    if (frame > 1) CHECK_EQ(stats.os_reserve, reserves);
    reserves = stats.os_reserve;
    commits = stats.os_commit;
    CHECK_EQ(hak_heap_reset(heap), 0);
    CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
    CHECK_EQ(hak_check(heap), 0);
  }
  test_keep_unused(false);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

typedef struct part {
  void **blocks;
  size_t count;
} part_t;

static void *free_part(void *arg) {
  part_t *part = arg;
  for (size_t i = 0; i < part->count; i++) hak_free(part->blocks[i]);
  return NULL;
}

static void release__leaves_blocks_that_all_threads_free_at_once(void **state) {
  (void)state;
  enum {
    THREADS = 4,
    EACH = 2000
  };
  static void *blocks[THREADS * EACH];
  uint64_t before = test_live_blocks();
  for (int round = 0; round < 4; round++) {
    hak_heap_t *parent = round % 2 == 0 ? NULL : make(NULL), *heap = make(parent);
    hak_heap_t *owner = parent == NULL ? hak_heap_default() : parent;
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      size_t size = i % 500 == 0 ? 100000 : 1 + i % 2000;
      CHECK((blocks[i] = hak_heap_alloc(heap, size)) != NULL);
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i += 3) {
      hak_heap_free(heap, blocks[i]);
      blocks[i] = NULL;
    }
    CHECK_EQ(hak_heap_release(heap), 0);
    CHECK(hak_heap_of(blocks[1]) == owner);
    CHECK_EQ(hak_check(NULL), 0);
    pthread_t threads[THREADS];
    part_t parts[THREADS];
    for (size_t t = 0; t < THREADS; t++) {
      parts[t] = (part_t){blocks + t * EACH, EACH};
      CHECK_EQ(pthread_create(&threads[t], NULL, free_part, &parts[t]), 0);
    }
    test_threads_end(threads, THREADS);
    CHECK_EQ(test_live_blocks(), before);
    if (parent != NULL) CHECK_EQ(hak_heap_destroy(parent), 0);
  }
}

static void *end_it(void *arg) {
  CHECK_EQ(hak_heap_destroy(arg), 0);
  return NULL;
}

static void destroy__by_another_thread_takes_all_blocks(void **state) {
  (void)state;
  uint64_t blocks = test_live_blocks(), bytes = test_live_bytes();
  for (int round = 0; round < 20; round++) {
    hak_heap_t *heap = make(NULL);
    for (size_t i = 0; i < 2000; i++) {
      void *block = hak_heap_alloc(heap, sizes[i % TEST_COUNT(sizes)] % 300000);
      CHECK(block != NULL);
      if (i % 2 == 0) hak_heap_free(heap, block);
    }
    test_thread_run(end_it, heap);
    CHECK_EQ(test_live_blocks(), blocks);
    CHECK_EQ(test_live_bytes(), bytes);
    CHECK_EQ(hak_check(NULL), 0);
  }
}

static void records__serve_serial_and_shared_heaps_by_turns(void **state) {
  (void)state;
  for (int round = 0; round < 200; round++) {
    hak_heap_t *heap = round % 3 == 0 ? hak_heap_create(NULL) : make(NULL);
    void *block = hak_heap_alloc(heap, 40), *other = hak_heap_alloc(heap, 40);
    CHECK(hak_heap_of(block) == heap && hak_heap_of(other) == heap);
    hak_heap_free(heap, block);
    hak_free(other);
    CHECK_EQ(test_heap_live_blocks(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

/* ---- limits ------------------------------------------------------------------- */

typedef struct pressure {
  hak_heap_t *heap;
  void *kept;
  int calls, inside;
} pressure_t;

static int on_pressure(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  pressure_t *p = ctx;
  CHECK(heap == p->heap && needed > 0 && level == HAK_PRESSURE_HARD);
  p->calls++;
  p->inside += hak_heap_alloc(heap, 64) != NULL;
  int freed = p->kept != NULL;
  hak_heap_free(heap, p->kept);
  p->kept = NULL;
  return freed;
}

static uint64_t charge_of(hak_heap_t *heap) {
  return test_heap_stats(heap).committed_bytes;
}

static void limit__of_a_serial_heap_is_kept_and_its_callback_may_free(void **state) {
  (void)state;
  pressure_t p = {0};
  size_t limit = 4 * MIB;
  hak_heap_config_t config = {.struct_size = sizeof config,
                              .flags = HAK_HEAP_SERIAL,
                              .hard_limit = limit,
                              .on_pressure = on_pressure,
                              .ctx = &p};
  p.heap = hak_heap_create(&config);
  CHECK(p.heap != NULL);
  for (int round = 0; round < 3; round++) {
    static void *blocks[8192];
    size_t count = 0;
    p.calls = 0;
    p.kept = hak_heap_alloc(p.heap, 500000);
    CHECK(p.kept != NULL);
    while (p.calls == 0) {
      blocks[count] = hak_heap_alloc(p.heap, KIB);
      CHECK(blocks[count++] != NULL);
    }
    CHECK_EQ(p.calls, 1);
    while ((blocks[count] = hak_heap_alloc(p.heap, KIB)) != NULL) count++;
    CHECK_EQ(p.calls, 2);
    CHECK_EQ(p.inside, 0);
    CHECK_MSG(count * KIB >= limit / 10 * 9, "only %zu KiB", count);
    CHECK(charge_of(p.heap) <= limit);
    CHECK_EQ(hak_check(p.heap), 0);
    for (size_t i = 0; i < count; i++) hak_heap_free(p.heap, blocks[i]);
    void *again = hak_heap_alloc(p.heap, KIB);
    CHECK(again != NULL);
    hak_heap_free(p.heap, again);
    CHECK_EQ(test_heap_live_blocks(p.heap), 0);
    CHECK_EQ(charge_of(p.heap), 0);
  }
  CHECK_EQ(hak_heap_destroy(p.heap), 0);
}

static int on_soft(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  pressure_t *p = ctx;
  CHECK(needed > 0 && level == HAK_PRESSURE_SOFT);
  p->calls++;
  p->inside += hak_heap_alloc(heap, 100) != NULL;
  return 0;
}

/* A serial heap whose callback counts in p what it did. */
static hak_heap_t *make_soft(pressure_t *p) {
  return test_heap_make((hak_heap_config_t){
      .flags = HAK_HEAP_SERIAL, .soft_limit = 2 * MIB, .on_pressure = on_soft, .ctx = p});
}

/* A sample lies in a heap of its own below the serial one. */
static void limit__that_a_sample_passes_forbids_the_heap_to_its_callback(void **state) {
  (void)state;
  pressure_t p = {0};
  int64_t before = hak_option_get(HAK_OPTION_SAMPLE_BYTES);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  hak_heap_t *heap = make_soft(&p);
  CHECK(hak_heap_alloc(heap, 100) != NULL);
  for (int i = 0; i < 30; i++) {
    CHECK(hak_heap_alloc_at(heap, 200000, HAK_CALLSITE()) != NULL);
  }
  CHECK(p.calls > 0);
  CHECK_EQ(p.inside, 0);
  CHECK(hak_heap_alloc(heap, 100) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, before), 0);
}

/* Of its bins nothing is ready: blocks that are would be given. */
static void limit__of_a_serial_parent_forbids_it_to_its_callback(void **state) {
  (void)state;
  pressure_t p = {0};
  hak_heap_t *parent = make_soft(&p);
  CHECK(hak_heap_alloc(parent, 5000) != NULL);
  hak_heap_config_t below = {.struct_size = sizeof below, .parent = parent};
  hak_heap_t *child = hak_heap_create(&below);
  CHECK(child != NULL);
  for (int i = 0; i < 30; i++) CHECK(hak_heap_alloc(child, 200000) != NULL);
  CHECK(p.calls > 0);
  CHECK_EQ(p.inside, 0);
  CHECK(hak_heap_alloc(parent, 100) != NULL);
  CHECK_EQ(hak_heap_destroy(child), 0);
  CHECK_EQ(hak_heap_destroy(parent), 0);
}

/* ---- misuse ------------------------------------------------------------------ */

static void misuse__of_handles_and_foreign_blocks_is_named(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL), *other = make(NULL), *shared = hak_heap_create(NULL);
  int on_stack = 0;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *blocks[] = {hak_heap_alloc(other, sizes[i]), hak_heap_alloc(shared, sizes[i]),
                      hak_alloc(sizes[i])};
    void *own = hak_heap_alloc(heap, sizes[i]);
    test_reports_begin();
    for (int k = 0; k < 3; k++) hak_heap_free(heap, blocks[k]);
    hak_heap_free(shared, own);
    hak_heap_free(NULL, own);
    test_reports_end(5, HAK_ERROR_WRONG_HEAP);
    CHECK(strcmp(g_reports.last.function, "hak_heap_free") == 0);
    for (int k = 0; k < 3; k++) hak_free(blocks[k]);
    hak_heap_free(heap, own);
  }
  void *block = hak_heap_alloc(heap, 10);
  test_reports_begin();
  hak_heap_free(heap, &on_stack);
  hak_heap_free(heap, (void *)((uintptr_t)block + ((uintptr_t)1 << 48)));
  hak_heap_free(heap, (void *)((uintptr_t)block + ((uintptr_t)1 << 63)));
  hak_heap_free(heap, (void *)(uintptr_t)8);
  hak_heap_free(heap, (void *)UINTPTR_MAX);
  test_reports_end(5, HAK_ERROR_FOREIGN_POINTER);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  test_reports_begin();
  errno = 0;
  CHECK(hak_heap_alloc(heap, 10) == NULL && errno == EINVAL);
  CHECK(hak_heap_alloc(heap, 10000) == NULL);
  CHECK(hak_heap_calloc(heap, 1, 10) == NULL);
  void *live = hak_alloc(10);
  hak_heap_free(heap, live);
  hak_free(live);
  test_reports_end(4, HAK_ERROR_STALE_HEAP);
  hak_heap_t *next = make(NULL);
  CHECK(next != heap);
  test_reports_begin();
  CHECK(hak_heap_alloc(next, 10) != NULL && hak_heap_alloc(heap, 10) == NULL);
  test_reports_end(1, HAK_ERROR_STALE_HEAP);
  CHECK_EQ(hak_heap_destroy(next), 0);
  CHECK_EQ(hak_heap_destroy(other), 0);
  CHECK_EQ(hak_heap_destroy(shared), 0);
}

static void misuse__random_values_freed_are_never_followed(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  hak_heap_free(heap, hak_heap_alloc(heap, 100));
  test_rng_t rng = test_rng(test_seed(), 6);
  size_t count = test_scale(200000);
  hak_set_error_handler(hak_error_ignore, NULL);
  for (size_t i = 0; i < count; i++) {
    uintptr_t value = test_random(&rng) >> test_below(&rng, 64);
    if (hak_heap_of((void *)value) == NULL) hak_heap_free(heap, (void *)value);
  }
  hak_set_error_handler(NULL, NULL);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- many ---------------------------------------------------------------- */

static void many__heaps_at_once_each_have_their_blocks(void **state) {
  (void)state;
  size_t count = TEST_ASAN || TEST_TSAN || test_is_strict() ? 1000 : 10000;
  hak_heap_t **heaps = malloc(count * sizeof *heaps);
  unsigned char **blocks = malloc(count * sizeof *blocks);
  uint64_t before = test_record_bytes();
  for (size_t i = 0; i < count; i++) heaps[i] = make(NULL);
  for (size_t i = 0; i < count; i++) {
    CHECK((blocks[i] = hak_heap_alloc(heaps[i], 40)) != NULL);
    memset(blocks[i], (int)i, 40);
    hak_heap_free(heaps[i], hak_heap_alloc(heaps[i], 5000));
  }
  uint64_t each = (test_record_bytes() - before) / count;
  CHECK_MSG(each <= 72 * KIB, "%llu bytes of metadata each", (unsigned long long)each);
  for (size_t i = 0; i < count; i++) {
    CHECK(hak_heap_of(blocks[i]) == heaps[i] && blocks[i][39] == (i & 0xff));
    if (i % 2 == 0) hak_heap_free(heaps[i], blocks[i]);
    CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
  }
  CHECK_EQ(hak_check(NULL), 0);
  free(heaps);
  free(blocks);
}

static void shutdown__takes_serial_heaps_along(void **state) {
  (void)state;
  for (int round = 0; round < 5; round++) {
    hak_heap_t *heap = make(NULL);
    for (size_t size = 1; size < 50 * MIB; size *= 5) {
      CHECK(hak_heap_alloc(heap, size) != NULL);
    }
    CHECK_EQ(hak_shutdown(0), 0);
    test_restart();
    CHECK_EQ(test_live_blocks(), 0);
  }
}

TEST_MAIN(T(alloc__every_tier_and_entry_point_serves_the_heap),
          T(no_grow__of_a_heap_without_memory_never_calls_the_system),
          T(waves__of_blocks_come_home_in_any_order),
          T(reset__gives_the_same_memory_again),
          T(release__leaves_blocks_that_all_threads_free_at_once),
          T(destroy__by_another_thread_takes_all_blocks),
          T(records__serve_serial_and_shared_heaps_by_turns),
          T(limit__of_a_serial_heap_is_kept_and_its_callback_may_free),
          T(limit__that_a_sample_passes_forbids_the_heap_to_its_callback),
          T(limit__of_a_serial_parent_forbids_it_to_its_callback),
          T(misuse__of_handles_and_foreign_blocks_is_named),
          T(misuse__random_values_freed_are_never_followed),
          T(many__heaps_at_once_each_have_their_blocks),
          T(shutdown__takes_serial_heaps_along))
