/* api_budgets.c - limits of heaps: nothing is charged beyond them, what a request
 * does at one, callbacks, nesting, and that nothing stays charged in the end. */
#include "support.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static hak_heap_t *make(hak_heap_t *parent, size_t soft, size_t hard) {
  return test_heap_make(
      (hak_heap_config_t){.parent = parent, .soft_limit = soft, .hard_limit = hard});
}

static hak_heap_t *make_with(size_t soft, size_t hard, hak_pressure_fn *fn, void *ctx) {
  return test_heap_make((hak_heap_config_t){
      .soft_limit = soft, .hard_limit = hard, .on_pressure = fn, .ctx = ctx});
}
static uint64_t charge_of(hak_heap_t *heap) {
  return test_heap_stats(heap).committed_bytes;
}

static void collect(void) { (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); }

/* Blocks in a list through their first words. */
static size_t fill(hak_heap_t *heap, size_t size, void **list) {
  size_t count = 0;
  for (void **block; (block = hak_heap_alloc(heap, size)) != NULL; count++) {
    *block = *list;
    *list = block;
  }
  CHECK_EQ(errno, ENOMEM);
  return count;
}
static void free_list(void **list) {
  while (*list != NULL) {
    void **block = *list;
    *list = *block;
    hak_free(block);
  }
}

/* ---- limits ---------------------------------------------------------------- */

static const size_t sizes[] = {16,      48,      100,     1024,    1500,
                               5000,    20000,   32768,   50000,   200000,
                               1 << 20, 1500000, 3 << 20, 5 << 20, 40 << 20};

static void hard__is_met_by_every_tier_and_never_passed(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    size_t limit = sizes[i] * 3 < 6 * MIB ? 6 * MIB : sizes[i] * 3;
    hak_heap_t *heap = make(NULL, 0, limit);
    CHECK_EQ(test_heap_stats(heap).hard_limit, limit);
    for (int round = 0; round < 2; round++) {
      void *list = NULL;
      size_t count = fill(heap, sizes[i], &list);
      CHECK_MSG(count >= 2 && count * sizes[i] >= limit / 2, "%zu of %zu", count,
                sizes[i]);
      CHECK(charge_of(heap) <= limit);
      free_list(&list);
      CHECK_EQ(hak_check(heap), 0);
    }
    CHECK(test_heap_stats(heap).budget_refused == 2);
    collect();
    CHECK_EQ(charge_of(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void hard__is_met_by_every_entry_point(void **state) {
  (void)state;
  enum {
    LIMIT = 4 << 20
  };
  hak_heap_t *heap = make(NULL, 0, LIMIT);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *keep[64], *block;
    size_t n = 0, size = sizes[i];
    while (n < 64 && (block = hak_heap_calloc(heap, 1, size)) != NULL) {
      CHECK(test_is_zero(block, size));
      keep[n++] = block;
      CHECK(charge_of(heap) <= LIMIT);
      block = hak_heap_realloc(heap, block, size * 2);
      CHECK(charge_of(heap) <= LIMIT);
      if (block != NULL) keep[n - 1] = block;
      block = hak_heap_aligned_alloc(heap, 8192, size);
      CHECK(charge_of(heap) <= LIMIT);
      hak_free(block);
      block = hak_allocx(heap, size, 64, HAK_ZERO, NULL);
      CHECK(block == NULL || test_is_zero(block, size));
      hak_free(block);
    }
    while (n > 0) hak_free(keep[--n]);
  }
  errno = 0;
  CHECK(hak_heap_alloc(heap, 5 << 20) == NULL && errno == ENOMEM);
  void *block = hak_heap_alloc(heap, 1 << 20);
  test_fill(block, 1 << 20, 1);
  /* Growth in place, by moving pages and by copying: all refused, the block is kept. */
  errno = 0;
  CHECK(hak_realloc(block, 8 << 20) == NULL && errno == ENOMEM);
  CHECK_EQ(hak_resize_in_place(block, 8 << 20, 8 << 20), 0);
  CHECK(hak_reallocx(heap, block, 8 << 20, 0, HAK_NO_MOVE, NULL) == NULL);
  CHECK(test_verify(block, 1 << 20, 1));
  hak_free(block);
  collect();
  CHECK_EQ(charge_of(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void growth__of_one_block_ends_at_the_limit(void **state) {
  (void)state;
  enum {
    LIMIT = 24 << 20
  };
  hak_heap_t *heap = make(NULL, 0, LIMIT);
  size_t size = 1000;
  char *block = hak_heap_alloc(heap, size), *grown;
  memset(block, 7, size);
  while ((grown = hak_realloc(block, size + size / 4)) != NULL) {
    block = grown;
    size += size / 4;
    CHECK(charge_of(heap) <= LIMIT);
    CHECK(block[0] == 7 && block[999] == 7);
  }
  CHECK_MSG(size >= LIMIT / 2 - LIMIT / 8, "%zu", size);
  CHECK(block[0] == 7 && block[999] == 7);
  hak_free(block);
  collect();
  CHECK_EQ(charge_of(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void budget__serves_nine_tenths_as_kilobytes(void **state) {
  (void)state;
  static const size_t limits[] = {4 * MIB, 5 * MIB + 4097, 16 * MIB, 150 * MIB};
  for (size_t i = 0; i < TEST_COUNT(limits); i++) {
    hak_heap_t *heap = make(NULL, 0, limits[i]);
    void *list = NULL;
    size_t count = fill(heap, KIB, &list);
    CHECK_MSG(count * KIB >= limits[i] / 10 * 9, "%zu KiB of %zu", count,
              limits[i] / KIB);
    free_list(&list);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

typedef struct cacher {
  hak_heap_t *heap;
  pthread_barrier_t *cached, *done;
} cacher_t;

/* Caches what it can of many classes, and sleeps. */
static void *cache(void *arg) {
  cacher_t *c = arg;
  enum {
    BLOCKS = 40
  };
  void *blocks[BLOCKS];
  for (size_t size = 16; size <= 32 * KIB; size *= 2) {
    size_t n = 0;
    for (; n < BLOCKS && n * size < 64 * KIB; n++) {
      blocks[n] = hak_heap_alloc(c->heap, size);
      if (blocks[n] == NULL) break;
    }
    while (n > 0) hak_free(blocks[--n]);
  }
  pthread_barrier_wait(c->cached);
  pthread_barrier_wait(c->done);
  hak_thread_idle();
  return NULL;
}

/* One after the other: those who come first would take more, and none wakes to give
 * it back. */
static void budget__less_what_others_cache_serves_one_thread(void **state) {
  (void)state;
  enum {
    THREADS = 32
  };
  size_t limit = 16 * MIB;
  hak_heap_t *heap = make(NULL, 0, limit);
  pthread_barrier_t cached, done;
  pthread_barrier_init(&cached, NULL, 2);
  pthread_barrier_init(&done, NULL, THREADS + 1);
  cacher_t cacher = {heap, &cached, &done};
  pthread_t threads[THREADS];
  for (size_t i = 0; i < THREADS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, cache, &cacher), 0);
    pthread_barrier_wait(&cached);
  }
  void *list = NULL;
  size_t count = fill(heap, KIB, &list);
  CHECK_MSG(count * KIB >= limit / 10 * 9 - limit / 16, "%zu KiB", count);
  free_list(&list);
  pthread_barrier_wait(&done);
  test_threads_end(threads, THREADS);
  collect();
  CHECK_EQ(charge_of(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  pthread_barrier_destroy(&cached);
  pthread_barrier_destroy(&done);
}

static void memory__of_former_owners_is_charged_as_it_is_used(void **state) {
  (void)state;
  /* Free SuperSlabs and a kept mapping with all their pages lie ready. */
  hak_heap_t *before = hak_heap_create(NULL);
  void *list = NULL;
  for (int i = 0; i < 8000; i++) {
    void **block = hak_heap_alloc(before, KIB);
    memset(block, 1, KIB);
    *block = list;
    list = block;
  }
  memset(hak_heap_alloc(before, 40 * MIB), 1, 40 * MIB);
  CHECK_EQ(hak_heap_destroy(before), 0);
  hak_heap_t *heap = make(NULL, 0, 512 * KIB);
  list = NULL;
  CHECK(fill(heap, KIB, &list) >= 400);
  CHECK(charge_of(heap) <= 512 * KIB);
  free_list(&list);
  CHECK(hak_heap_alloc(heap, 39 * MIB) == NULL);
  CHECK_EQ(hak_heap_set_limits(heap, 0, 39 * MIB + 512 * KIB), 0);
  void *block = hak_heap_alloc(heap, 39 * MIB);
  CHECK(block != NULL && charge_of(heap) <= 39 * MIB + 512 * KIB);
  hak_free(block);
  collect();
  CHECK_EQ(charge_of(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void limits__are_set_and_taken_away_in_use(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL, 0, 0);
  void *list = NULL;
  for (int i = 0; i < 3000; i++) {
    void **block = hak_heap_alloc(heap, KIB);
    *block = list;
    list = block;
  }
  uint64_t used = charge_of(heap);
  CHECK(used >= 3000 * KIB);
  CHECK_EQ(hak_heap_set_limits(heap, 0, MIB), 0);
  CHECK_EQ(test_heap_stats(heap).hard_limit, MIB);
  void *more = NULL;
  (void)fill(heap, KIB, &more);
  CHECK(charge_of(heap) <= used);
  free_list(&list);
  free_list(&more);
  CHECK(fill(heap, KIB, &list) >= 800);
  CHECK(charge_of(heap) <= MIB);
  CHECK_EQ(hak_heap_set_limits(heap, 0, 0), 0);
  CHECK_EQ(test_heap_stats(heap).hard_limit, 0);
  void *large = hak_heap_alloc(heap, 8 * MIB);
  CHECK(large != NULL);
  hak_free(large);
  free_list(&list);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_set_limits(heap, 2 * MIB, MIB), EINVAL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_set_limits(heap, 0, MIB), EINVAL);
  hak_heap_config_t bad = {.struct_size = sizeof bad, .soft_limit = 2, .hard_limit = 1};
  CHECK(hak_heap_create(&bad) == NULL && errno == EINVAL);
}

/* What a thread had not used of the heap while there was a limit is as it is in heaps
 * that never had one. */
static void limits__that_are_gone_leave_bins_that_keep_blocks(void **state) {
  (void)state;
  int64_t growth = hak_option_get(HAK_OPTION_BIN_GROWTH_BYTES);
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, 0), 0);
  for (int reset = 0; reset < 2; reset++) {
    hak_heap_t *heap = make(NULL, 0, 64 * MIB);
    hak_free(hak_heap_alloc(heap, reset == 0 ? 16 : 100));
    if (reset != 0) CHECK_EQ(hak_heap_reset(heap), 0);
    CHECK_EQ(hak_heap_set_limits(heap, 0, 0), 0);
    void *blocks[20];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_heap_alloc(heap, 100);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
    CHECK(test_heap_stats(heap).cached_bytes >= TEST_COUNT(blocks) * 100);
    CHECK_EQ(hak_check(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  CHECK_EQ(hak_option_set(HAK_OPTION_BIN_GROWTH_BYTES, growth), 0);
}

static void default_heap__can_have_limits(void **state) {
  (void)state;
  uint64_t used = charge_of(hak_heap_default()), limit = used + 8 * MIB;
  CHECK_EQ(hak_heap_set_limits(NULL, 0, limit), 0);
  void *list = NULL;
  for (void **block; (block = hak_alloc(KIB)) != NULL;) {
    *block = list;
    list = block;
  }
  CHECK_EQ(errno, ENOMEM);
  CHECK(charge_of(hak_heap_default()) <= limit);
  CHECK(hak_alloc(9 * MIB) == NULL);
  free_list(&list);
  CHECK_EQ(hak_heap_set_limits(NULL, 0, 0), 0);
  void *block = hak_alloc(20 * MIB);
  CHECK(block != NULL);
  hak_free(block);
  for (int i = 0; i < 1000; i++) hak_free(hak_alloc(KIB));
  CHECK_EQ(hak_check(NULL), 0);
}

/* ---- nesting ----------------------------------------------------------------- */

static void nesting__each_level_covers_what_lies_below(void **state) {
  (void)state;
  hak_heap_t *top = make(NULL, 0, 8 * MIB), *middle = make(top, 0, 6 * MIB);
  hak_heap_t *low = make(middle, 0, 4 * MIB), *plain = make(top, 0, 0);
  void *a = NULL, *b = NULL, *c = NULL;
  CHECK(fill(low, KIB, &a) * KIB >= 4 * MIB / 10 * 9);
  CHECK(fill(middle, KIB, &b) * KIB >= 3 * MIB / 2);
  CHECK(fill(plain, KIB, &c) * KIB >= 3 * MIB / 2);
  CHECK(charge_of(low) <= 4 * MIB && charge_of(middle) <= 6 * MIB);
  CHECK(charge_of(top) <= 8 * MIB);
  CHECK_EQ(charge_of(top), charge_of(middle) + charge_of(plain));
  CHECK(test_heap_stats(low).budget_refused == 1 &&
        test_heap_stats(middle).budget_refused == 1);
  CHECK(test_heap_stats(top).budget_refused == 1 &&
        test_heap_stats(plain).budget_refused == 0);
  CHECK(hak_heap_alloc(top, 300 * KIB) == NULL);
  /* What is free below makes room above, whoever has it cached. */
  free_list(&c);
  CHECK(fill(top, 100 * KIB, &c) >= 12);
  free_list(&c);
  CHECK_EQ(hak_heap_destroy(low), 0);
  CHECK(charge_of(top) <= 4 * MIB);
  CHECK(fill(plain, KIB, &c) * KIB >= 4 * MIB);
  CHECK_EQ(hak_heap_reset(plain), 0);
  CHECK(charge_of(plain) >= 4 * MIB); /* its memory stays */
  CHECK_EQ(hak_heap_destroy(plain), 0);
  free_list(&b);
  collect();
  CHECK_EQ(charge_of(top), 0);
  CHECK_EQ(hak_heap_destroy(middle), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
}

static void release__leaves_the_charge_with_the_parent(void **state) {
  (void)state;
  hak_heap_t *top = make(NULL, 0, 8 * MIB), *low = make(top, 0, 4 * MIB);
  void *list = NULL;
  CHECK(fill(low, 10 * KIB, &list) >= 300);
  void *large = hak_heap_alloc(top, 1200 * KIB);
  uint64_t charge = charge_of(top);
  CHECK_EQ(hak_heap_release(low), 0);
  CHECK(charge_of(top) <= charge && charge_of(top) >= charge - 128 * KIB);
  CHECK(hak_heap_alloc(top, 5 * MIB) == NULL);
  /* A block that grows does so at the cost of the parent. */
  large = hak_realloc(large, 2 * MIB);
  CHECK(large != NULL && charge_of(top) <= 8 * MIB);
  free_list(&list);
  hak_free(large);
  collect();
  CHECK_EQ(charge_of(top), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
}

/* ---- callbacks ----------------------------------------------------------------- */

typedef struct pressure {
  hak_heap_t *heap; /* that it must be called for */
  unsigned calls, kinds;
  size_t needed;
  int answer;
  unsigned answers;   /* so often */
  void *list, *other; /* to be freed at the first call; a block of another heap */
  hak_heap_t *other_heap, *below;
} pressure_t;

static int on_pressure(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  pressure_t *p = ctx;
  CHECK(heap == p->heap);
  CHECK(level == HAK_PRESSURE_SOFT || level == HAK_PRESSURE_HARD);
  p->calls++;
  p->kinds |= (unsigned)level;
  p->needed = needed;
  for (size_t size = 16; size <= 3 * MIB; size *= 8) {
    errno = 0;
    CHECK(hak_heap_alloc(heap, size) == NULL && errno == ENOMEM);
    CHECK(hak_heap_calloc(heap, 1, size) == NULL);
    CHECK(hak_heap_aligned_alloc(heap, 64, size) == NULL);
    if (p->below != NULL) CHECK(hak_heap_alloc(p->below, size) == NULL);
  }
  if (p->other_heap != NULL && p->other == NULL) {
    p->other = hak_heap_alloc(p->other_heap, 100 * KIB);
    CHECK(p->other != NULL);
  }
  free_list(&p->list);
  for (size_t size = 16; size <= 3 * MIB; size *= 8) {
    CHECK(hak_heap_alloc(heap, size) == NULL);
  }
  hak_free(hak_alloc(5000));
  collect();
  hak_stats_t stats = test_heap_stats(heap);
  CHECK(stats.hard_limit == 0 || stats.committed_bytes <= stats.hard_limit);
  return p->calls <= p->answers ? p->answer : 0;
}

enum {
  ROUNDS = 64 /* of one request, as docs/BUDGETS.md says */
};

static void pressure__is_asked_sixty_four_times_at_most(void **state) {
  (void)state;
  pressure_t p = {.answer = 1, .answers = 1000};
  p.heap = make_with(0, MIB, on_pressure, &p);
  void *list = NULL;
  CHECK(fill(p.heap, KIB, &list) > 0);
  CHECK(p.calls == ROUNDS && p.kinds == HAK_PRESSURE_HARD && p.needed == KIB);
  p.calls = 0;
  CHECK(hak_heap_alloc(p.heap, 3 * MIB) == NULL);
  CHECK(p.calls == ROUNDS && p.needed == 3 * MIB);
  p.calls = 0;
  void *grown = list;
  list = *(void **)list;
  CHECK(hak_realloc(grown, 2 * MIB) == NULL);
  CHECK(p.calls == ROUNDS && p.needed == 2 * MIB);
  p.calls = 0;
  p.answers = 0;
  CHECK(hak_heap_alloc(p.heap, 600 * KIB) == NULL);
  CHECK(p.calls == 1);
  p.calls = 0;
  CHECK(hak_allocx(p.heap, 600 * KIB, 0, HAK_NO_GROW, NULL) == NULL);
  CHECK(hak_heap_alloc(p.heap, test_opaque(SIZE_MAX)) == NULL);
  CHECK(p.calls == 0);
  hak_free(grown);
  free_list(&list);
  CHECK_EQ(hak_heap_destroy(p.heap), 0);
}

static void pressure__that_frees_makes_the_request_succeed(void **state) {
  (void)state;
  static const size_t wanted[] = {KIB, 20000, 300000, 3 * MIB};
  for (size_t i = 0; i < TEST_COUNT(wanted); i++) {
    pressure_t p = {.answer = 1, .answers = 1, .other_heap = make(NULL, 0, 0)};
    p.heap = make_with(0, 4 * MIB, on_pressure, &p);
    for (int n = 0; n < 3500; n++) {
      void **block = hak_heap_alloc(p.heap, KIB);
      CHECK(block != NULL);
      *block = p.list;
      p.list = block;
    }
    void *list = NULL, **block = NULL;
    CHECK_EQ(p.calls, 0);
    while (p.calls == 0 && (block = hak_heap_alloc(p.heap, wanted[i])) != NULL) {
      *block = list;
      list = block;
    }
    CHECK_EQ(p.calls, 1);
    CHECK(block != NULL && p.list == NULL && p.other != NULL);
    CHECK(charge_of(p.heap) <= 4 * MIB);
    /* And again there is what a fast path gives. */
    hak_free(hak_heap_alloc(p.heap, 64));
    CHECK(hak_heap_alloc(p.heap, 64) != NULL);
    CHECK_EQ(hak_heap_destroy(p.heap), 0);
    CHECK_EQ(hak_heap_destroy(p.other_heap), 0);
  }
}

static void pressure__is_that_of_the_level_in_the_way(void **state) {
  (void)state;
  pressure_t p = {0};
  p.heap = make_with(0, 4 * MIB, on_pressure, &p);
  hak_heap_config_t config = {.struct_size = sizeof config, .parent = p.heap};
  config.hard_limit = 32 * MIB;
  pressure_t never = {0};
  config.on_pressure = on_pressure;
  config.ctx = &never;
  hak_heap_t *low = hak_heap_create(&config);
  never.heap = low;
  p.below = low;
  CHECK(hak_heap_alloc(low, 6 * MIB) == NULL);
  CHECK(p.calls == 1 && never.calls == 0);
  CHECK_EQ(hak_heap_set_limits(low, 0, MIB), 0);
  CHECK(hak_heap_alloc(low, 2 * MIB) == NULL);
  CHECK(p.calls == 1 && never.calls == 1);
  /* A released heap asks no more; its parent does. */
  CHECK_EQ(hak_heap_set_limits(low, 0, 0), 0);
  void *block = hak_heap_alloc(low, MIB);
  CHECK_EQ(hak_heap_release(low), 0);
  p.below = NULL;
  CHECK(hak_realloc(block, 5 * MIB) == NULL);
  CHECK(p.calls == 2 && never.calls == 1);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(p.heap), 0);
}

/* Two heaps that each ask the other when they are full. */
static hak_heap_t *g_pair[2];
static unsigned g_depth, g_deepest;
static int ask_other(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)level;
  (void)ctx;
  if (++g_depth > g_deepest) g_deepest = g_depth;
  CHECK(hak_heap_alloc(g_pair[heap == g_pair[0]], needed) == NULL);
  g_depth--;
  return 1;
}

static void pressure__that_meets_another_limit_does_not_recurse(void **state) {
  (void)state;
  for (int i = 0; i < 2; i++) g_pair[i] = make_with(0, MIB, ask_other, NULL);
  CHECK(hak_heap_alloc(g_pair[0], 2 * MIB) == NULL);
  CHECK_EQ(g_deepest, 2);
  CHECK_EQ(g_depth, 0);
  for (int i = 0; i < 2; i++) CHECK_EQ(hak_heap_destroy(g_pair[i]), 0);
}

static void soft__gives_back_and_asks_at_each_step_without_failing(void **state) {
  (void)state;
  pressure_t p = {0}; /* nothing is freed */
  p.heap = make_with(2 * MIB, 0, on_pressure, &p);
  CHECK_EQ(test_heap_stats(p.heap).soft_limit, 2 * MIB);
  void *list = NULL;
  for (int i = 0; i < 6000; i++) {
    void **block = hak_heap_alloc(p.heap, KIB);
    CHECK(block != NULL);
    *block = list;
    list = block;
  }
  /* Each 32 KiB of growth is a step, in which one or two slabs' pages come. */
  CHECK_MSG(p.calls >= 50, "%u", p.calls);
  /* Strict hooks are asked for fewer pages at a time. */
  if (!test_is_strict()) CHECK_MSG(p.calls <= 4 * MIB / (32 * KIB), "%u", p.calls);
  CHECK(p.kinds == HAK_PRESSURE_SOFT && p.needed > 3 * MIB);
  free_list(&list);
  collect();
  CHECK_EQ(charge_of(p.heap), 0);
  /* Free memory that the heap keeps is given back rather than anybody asked. */
  void *blocks[20];
  for (int i = 0; i < 20; i++) blocks[i] = hak_heap_alloc(p.heap, 60 * KIB);
  void *last = hak_heap_alloc(p.heap, 60 * KIB);
  p.calls = 0;
  for (int i = 0; i < 20; i++) hak_free(blocks[i]);
  CHECK(charge_of(p.heap) >= MIB);
  void *large = hak_heap_alloc(p.heap, MIB + 512 * KIB);
  CHECK(large != NULL && p.calls == 0);
  CHECK(charge_of(p.heap) < 2 * MIB);
  hak_free(last);
  hak_free(large);
  large = hak_heap_alloc(p.heap, 5 * MIB);
  CHECK(large != NULL && p.calls == 1 && p.needed >= 3 * MIB);
  CHECK_EQ(hak_heap_destroy(p.heap), 0);
}

static size_t g_refused;
static void count_refusals(hak_event_t event, const void *address, size_t size,
                           void *ctx) {
  (void)address;
  (void)ctx;
  if (event != HAK_EVENT_BUDGET_REFUSED) return;
  CHECK_EQ(size, 3 * MIB);
  g_refused++;
}

static void event__says_what_was_refused(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL, 0, MIB);
  hak_set_event_hook(count_refusals, NULL);
  CHECK(hak_heap_alloc(heap, 3 * MIB) == NULL);
  hak_free(hak_heap_alloc(heap, 1000));
  hak_set_event_hook(NULL, NULL);
  CHECK_EQ(g_refused, 1);
  CHECK_EQ(test_heap_stats(heap).budget_refused, 1);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(hard__is_met_by_every_tier_and_never_passed),
          T(hard__is_met_by_every_entry_point), T(growth__of_one_block_ends_at_the_limit),
          T(budget__serves_nine_tenths_as_kilobytes),
          T(budget__less_what_others_cache_serves_one_thread),
          T(memory__of_former_owners_is_charged_as_it_is_used),
          T(limits__are_set_and_taken_away_in_use),
          T(limits__that_are_gone_leave_bins_that_keep_blocks),
          T(default_heap__can_have_limits), T(nesting__each_level_covers_what_lies_below),
          T(release__leaves_the_charge_with_the_parent),
          T(pressure__is_asked_sixty_four_times_at_most),
          T(pressure__that_frees_makes_the_request_succeed),
          T(pressure__is_that_of_the_level_in_the_way),
          T(pressure__that_meets_another_limit_does_not_recurse),
          T(soft__gives_back_and_asks_at_each_step_without_failing),
          T(event__says_what_was_refused))
