/* api_small_budgets.c - limits of some hundred KiB: how much of one is usable, what an
 * almost empty heap is charged, and that a cache which frees its oldest blocks when asked
 * stays within its limits and is never refused. */
#include "support.h"

#include <string.h>

static uint64_t charge_of(hak_heap_t *heap) {
  return test_heap_stats(heap).committed_bytes;
}

static uint32_t next(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed >> 8;
}

/* ---- the share of a limit that blocks can have ---------------------------------- */

typedef struct block {
  void *at;
  size_t size;
} block_t;

static block_t g_blocks[1 << 16];

/* Allocates until it gets NULL; the bytes that are live. */
static size_t fill(hak_heap_t *heap, size_t most, size_t *count, uint32_t *seed) {
  size_t live = 0;
  for (;;) {
    size_t size = 16 + next(seed) % (most - 15);
    void *block = hak_heap_alloc(heap, size);
    if (block == NULL) break;
    memset(block, 1, size);
    CHECK(*count < TEST_COUNT(g_blocks));
    g_blocks[(*count)++] = (block_t){block, size};
  }
  for (size_t i = 0; i < *count; i++) live += g_blocks[i].size;
  return live;
}

/* Frees half of the blocks, at random. */
static void free_half(size_t *count, uint32_t *seed) {
  for (size_t n = *count / 2; n > 0; n--) {
    size_t i = next(seed) % *count;
    hak_free(g_blocks[i].at);
    g_blocks[i] = g_blocks[--*count];
  }
}

enum {
  HEAPS = 4,
  ROUNDS = 6
};

/* Per cent of the limit: when the heap is first full, and the mean of some rounds in
 * which a random half is freed and the heap filled with other sizes. */
static void usable(size_t limit, size_t most, double *fresh, double *churned) {
  *fresh = *churned = 0;
  for (uint32_t h = 0; h < HEAPS; h++) {
    hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = limit});
    uint32_t seed = h * 77 + 5;
    size_t count = 0;
    *fresh += (double)fill(heap, most, &count, &seed);
    for (int round = 0; round < ROUNDS; round++) {
      free_half(&count, &seed);
      *churned += (double)fill(heap, most, &count, &seed);
      CHECK(charge_of(heap) <= limit);
    }
    CHECK_EQ(hak_check(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  *fresh *= 100.0 / HEAPS / (double)limit;
  *churned *= 100.0 / HEAPS / ROUNDS / (double)limit;
}

static const size_t limits[] = {256 * KIB, 512 * KIB, MIB, 2 * MIB, 8 * MIB};

/* Of blocks of 16 to 600 bytes the size classes waste 9 %, so 90.8 % is the most. */
static void share__of_small_blocks_is_large(void **state) {
  (void)state;
  static const double least[] = {60, 70, 82, 85, 88};
  for (size_t i = 0; i < TEST_COUNT(limits); i++) {
    double fresh, churned;
    usable(limits[i], 600, &fresh, &churned);
    /* A limit of 64 pages has few blocks of each class: the first one that runs out of
     * blocks is the end. */
    double lost = limits[i] < 512 * KIB ? 10 : 8;
    CHECK_MSG(fresh >= least[i] && churned >= fresh - lost, "%zu KiB: %.1f %%, %.1f %%",
              limits[i] / KIB, fresh, churned);
  }
}

static void share__of_blocks_to_32_KiB_is_large(void **state) {
  (void)state;
  static const double least[] = {35, 50, 60, 65, 80};
  for (size_t i = 0; i < TEST_COUNT(limits); i++) {
    double fresh, churned;
    usable(limits[i], 32 * KIB, &fresh, &churned);
    CHECK_MSG(fresh >= least[i] && churned >= least[i], "%zu KiB: %.1f %%, %.1f %%",
              limits[i] / KIB, fresh, churned);
  }
}

/* ---- what is charged ------------------------------------------------------------- */

static void charge__of_one_block_of_each_class_is_its_pages(void **state) {
  (void)state;
  /* Slabs of former heaps would bring pages along. */
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = MIB});
  CHECK_EQ(charge_of(heap), 0);
  size_t page = 4 * KIB, pages = 0;
  for (size_t size = 16; size <= 64 * KIB; size += size < 128 ? 16 : size / 4) {
    void *block = hak_heap_alloc(heap, size);
    CHECK_MSG(block != NULL, "%zu bytes", size);
    memset(block, 1, size);
    pages += (hak_usable_size(block) + page - 1) / page;
    /* With the heap's own records and that of a SuperSlab. */
    CHECK_MSG(charge_of(heap) <= pages * page + 32 * KIB, "%zu: %llu", size,
              (unsigned long long)charge_of(heap));
  }
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* A slab whose next page is refused is carved on when there is room again. */
static void slab__goes_on_when_there_is_room(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 64 * KIB});
  void *first = hak_heap_alloc(heap, 1000), *other = hak_heap_alloc(heap, 16 * KIB);
  CHECK(first != NULL && other != NULL);
  memset(other, 1, 16 * KIB);
  void *blocks[64];
  size_t count = 0, before;
  while ((blocks[count] = hak_heap_alloc(heap, 1000)) != NULL) {
    memset(blocks[count++], 1, 1000);
  }
  before = count;
  CHECK(before >= 12 && charge_of(heap) <= 64 * KIB);
  hak_free(other); /* its pages go as they are needed */
  while ((blocks[count] = hak_heap_alloc(heap, 1000)) != NULL) {
    memset(blocks[count++], 1, 1000);
    CHECK(charge_of(heap) <= 64 * KIB);
  }
  CHECK_MSG(count >= before + 12, "%zu, %zu", before, count);
  CHECK_EQ(hak_check(heap), 0);
  while (count > 0) hak_free(blocks[--count]);
  hak_free(first);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* A heap that had no limit has pages that it has not carved. They go for blocks of other
 * classes when it has one. */
static void pages__that_are_not_carved_serve_other_classes(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 0});
  void *blocks[8];
  for (size_t i = 0; i < 8; i++) blocks[i] = hak_heap_alloc(heap, (i + 1) * 112);
  CHECK_EQ(hak_heap_set_limits(heap, 0, charge_of(heap)), 0);
  hak_stats_t before = test_heap_stats(heap);
  void *block = hak_heap_alloc(heap, 20 * KIB);
  CHECK(block != NULL && charge_of(heap) <= before.committed_bytes);
  memset(block, 1, 20 * KIB);
  /* The slabs that were cut are carved on. */
  for (int i = 0; i < 8; i++) memset(hak_heap_alloc(heap, 112), 1, 112);
  for (size_t i = 0; i < 8; i++) hak_free(blocks[i]);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- caches that free their oldest blocks --------------------------------------- */

typedef struct fifo {
  size_t first, count, held, calls;
  bool vain; /* it frees nothing */
} fifo_t;

static block_t *at(fifo_t *fifo, size_t i) {
  return &g_blocks[(fifo->first + i) % TEST_COUNT(g_blocks)];
}

/* As the example of docs/BUDGETS.md. */
static int shed(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap;
  (void)level;
  fifo_t *fifo = ctx;
  fifo->calls++;
  size_t freed = 0;
  for (; !fifo->vain && freed < needed && fifo->count > 0; fifo->first++, fifo->count--) {
    hak_free(at(fifo, 0)->at);
    freed += at(fifo, 0)->size;
  }
  fifo->held -= freed;
  return freed > 0;
}

static bool add(fifo_t *fifo, hak_heap_t *heap, size_t size) {
  void *block = hak_heap_alloc(heap, size);
  if (block == NULL) return false;
  CHECK(fifo->count < TEST_COUNT(g_blocks));
  *at(fifo, fifo->count++) = (block_t){block, size};
  fifo->held += size;
  return true;
}

static void hard__never_refuses_a_cache_that_frees_its_oldest(void **state) {
  (void)state;
  static const struct {
    size_t least, most;
  } sizes[] = {{16, 600}, {256, 4096}, {20000, 35000}, {16, 32768}, {16, 16}};
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    fifo_t fifo = {0};
    size_t limit = MIB;
    hak_heap_t *heap = test_heap_make(
        (hak_heap_config_t){.hard_limit = limit, .on_pressure = shed, .ctx = &fifo});
    uint32_t seed = 1;
    for (size_t bytes = 0; bytes < 5 * limit;) {
      size_t size = sizes[k].least + next(&seed) % (sizes[k].most - sizes[k].least + 1);
      CHECK_MSG(add(&fifo, heap, size), "%zu bytes with %zu held", size, fifo.held);
      bytes += size;
    }
    CHECK_MSG(fifo.held >= limit / 3, "%zu", fifo.held);
    CHECK_EQ(test_heap_stats(heap).budget_refused, 0);
    CHECK_EQ(hak_check(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

/* Large old blocks, small new ones: what the callback frees is of another class. */
static void hard__gives_larger_blocks_rather_than_none(void **state) {
  (void)state;
  fifo_t fifo = {0};
  hak_heap_t *heap = test_heap_make(
      (hak_heap_config_t){.hard_limit = MIB, .on_pressure = shed, .ctx = &fifo});
  while (fifo.calls == 0) CHECK(add(&fifo, heap, 1000));
  /* Old and young ones change places, so that no page becomes free. */
  uint32_t seed = 1;
  for (size_t i = fifo.count; i-- > 1;) {
    block_t *a = at(&fifo, i), *b = at(&fifo, next(&seed) % (i + 1)), t = *a;
    *a = *b;
    *b = t;
  }
  for (int i = 0; i < 500; i++) CHECK(add(&fifo, heap, 24));
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void soft__holds_a_cache_near_it(void **state) {
  (void)state;
  fifo_t fifo = {0};
  size_t limit = 2 * MIB;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){
      .soft_limit = limit, .hard_limit = 4 * MIB, .on_pressure = shed, .ctx = &fifo});
  uint32_t seed = 1;
  for (int i = 0; i < 20000; i++) {
    CHECK(add(&fifo, heap, 256 + next(&seed) % 4000));
    CHECK_MSG(charge_of(heap) <= limit + limit / 8, "%llu after %zu calls",
              (unsigned long long)charge_of(heap), fifo.calls);
  }
  CHECK_MSG(fifo.calls > 10 && fifo.held > limit / 3, "%zu, %zu", fifo.calls, fifo.held);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void soft__is_crossed_again_after_it_was_kept(void **state) {
  (void)state;
  fifo_t fifo = {.vain = true};
  hak_heap_t *heap = test_heap_make(
      (hak_heap_config_t){.soft_limit = MIB, .on_pressure = shed, .ctx = &fifo});
  for (int i = 1; i <= 3; i++) {
    void *block = hak_heap_alloc(heap, 1200 * KIB);
    CHECK(block != NULL);
    CHECK_EQ(fifo.calls, 2 * i - 1);
    /* It is still above, and grows. */
    void *more = hak_heap_alloc(heap, 200 * KIB);
    CHECK_EQ(fifo.calls, 2 * i);
    hak_free(block);
    hak_free(more);
    hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
    CHECK(charge_of(heap) <= MIB - MIB / 16);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(share__of_small_blocks_is_large), T(share__of_blocks_to_32_KiB_is_large),
          T(charge__of_one_block_of_each_class_is_its_pages),
          T(slab__goes_on_when_there_is_room),
          T(pages__that_are_not_carved_serve_other_classes),
          T(hard__never_refuses_a_cache_that_frees_its_oldest),
          T(hard__gives_larger_blocks_rather_than_none), T(soft__holds_a_cache_near_it),
          T(soft__is_crossed_again_after_it_was_kept))
