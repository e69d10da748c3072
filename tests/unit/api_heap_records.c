/* api_heap_records.c - heaps and threads cost what they use: what a thread keeps of a
 * heap is earned by use. */
#include "records.h"
#include "support.h"

#include <errno.h>
#include <pthread.h>

enum {
  HEAPS = 64,
  THREADS = 32
};

static hak_heap_t *g_heaps[HEAPS];
static void *g_blocks[THREADS][HEAPS];
static pthread_barrier_t g_step;

static void heaps_make(void) {
  for (size_t i = 0; i < HEAPS; i++) g_heaps[i] = hak_heap_create(NULL);
}
static void heaps_destroy(void) {
  for (size_t i = 0; i < HEAPS; i++) CHECK_EQ(hak_heap_destroy(g_heaps[i]), 0);
}

/* --- the shared way ----------------------------------------------------------------- */

/* Each thread allocates a block of every heap and frees those of the next thread. */
static void *exchange(void *arg) {
  size_t me = (size_t)arg;
  for (size_t i = 0; i < HEAPS; i++) {
    g_blocks[me][i] = hak_heap_alloc(g_heaps[i], 64);
    CHECK(g_blocks[me][i] != NULL && hak_heap_of(g_blocks[me][i]) == g_heaps[i]);
  }
  pthread_barrier_wait(&g_step);
  pthread_barrier_wait(&g_step); /* the blocks were looked at */
  for (size_t i = 0; i < HEAPS; i++) hak_free(g_blocks[(me + 1) % THREADS][i]);
  pthread_barrier_wait(&g_step);
  pthread_barrier_wait(&g_step); /* the figures were taken */
  return NULL;
}

static void exchange__of_one_block_leaves_little_with_each_thread_and_heap(void **state) {
  (void)state;
  enum {
    RECORDS = 1024 /* bytes for a thread and heap */
  };
  heaps_make();
  pthread_barrier_init(&g_step, NULL, THREADS + 1);
  pthread_t threads[THREADS];
  uint64_t before = test_record_bytes();
  for (size_t i = 0; i < THREADS; i++)
    CHECK_EQ(pthread_create(&threads[i], NULL, exchange, (void *)i), 0);
  pthread_barrier_wait(&g_step);
  /* Blocks of all threads lie side by side; but a thread that finds the slab in another's
   * hands takes a new one. */
  uint64_t slabs = 0;
  for (size_t i = 0; i < HEAPS; i++) {
    CHECK_EQ(test_heap_stats(g_heaps[i]).live_blocks, THREADS);
    slabs += test_heap_stats(g_heaps[i]).slabs_active;
  }
  CHECK_MSG(slabs <= HEAPS * THREADS / 4, "%llu slabs", (unsigned long long)slabs);
  pthread_barrier_wait(&g_step);
  pthread_barrier_wait(&g_step);
  for (size_t i = 0; i < HEAPS; i++) {
    CHECK_EQ(test_heap_stats(g_heaps[i]).live_blocks, 0);
    CHECK_EQ(test_heap_stats(g_heaps[i]).cached_bytes, 0);
  }
  uint64_t records = test_record_bytes() - before;
  uint64_t states = (uint64_t)THREADS * 64 * KIB; /* of the threads themselves */
  CHECK_MSG(records < states + HEAPS * THREADS * RECORDS, "%llu bytes of records",
            (unsigned long long)records);
  pthread_barrier_wait(&g_step);
  for (size_t i = 0; i < THREADS; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  pthread_barrier_destroy(&g_step);
  heaps_destroy();
  CHECK_EQ(hak_check(NULL), 0);
}

static void cache__of_a_heap_comes_with_the_ninth_block(void **state) {
  (void)state;
  hak_heap_t *heap = hak_heap_create(NULL);
  int64_t after = hak_option_get(HAK_OPTION_HEAP_CACHE_AFTER);
  CHECK_EQ(after, 8);
  for (int64_t i = 0; i < after / 2; i++) {
    hak_free(hak_heap_alloc(heap, 64)); /* two: it comes and goes */
    CHECK_EQ(test_heap_stats(heap).cached_bytes, 0);
  }
  /* A slow machine may have counted them for two times: then some more are needed. */
  for (int64_t i = 0; i < 1000 && test_heap_stats(heap).cached_bytes == 0; i++) {
    hak_free(hak_heap_alloc(heap, 64));
  }
  CHECK(test_heap_stats(heap).cached_bytes > 0);
  CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* The first blocks of a heap lie in slabs that nobody's bins are named for. */
static void blocks__of_the_shared_way_are_freed_into_bins_once_there_are_some(
    void **state) {
  (void)state;
  hak_heap_config_t limited = {.hard_limit = 64 << 20};
  for (int kind = 0; kind < 2; kind++) {
    hak_heap_t *heap =
        test_heap_make(kind == 0 ? (hak_heap_config_t){.name = "plain"} : limited);
    void *early = hak_heap_alloc(heap, 64);
    for (int64_t i = 0; i < 1000 && test_heap_stats(heap).cached_bytes == 0; i++) {
      hak_free(hak_heap_alloc(heap, 200));
    }
    CHECK(test_heap_stats(heap).cached_bytes > 0);
    hak_free(early); /* the slow way: from here on the bin is named */
    void *block = hak_heap_alloc(heap, 64);
    uint64_t before = test_stats().slow_free;
    for (int i = 0; i < 100; i++) {
      hak_free(block);
      block = hak_heap_alloc(heap, 64);
    }
    CHECK_EQ(test_stats().slow_free, before);
    hak_free(block);
    CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void shared_way__of_every_class_serves_and_adds_up(void **state) {
  (void)state;
  hak_option_set(HAK_OPTION_HEAP_CACHE_AFTER, 200);
  hak_heap_t *heap = hak_heap_create(NULL);
  enum {
    ROUNDS = 90
  };
  void *blocks[ROUNDS];
  for (size_t i = 0; i < ROUNDS; i++) {
    size_t size = (size_t)8 << i % 17;
    blocks[i] = hak_heap_alloc(heap, size);
    CHECK(blocks[i] != NULL && hak_heap_of(blocks[i]) == heap);
    test_fill(blocks[i], size, i);
  }
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_heap_stats(heap).live_blocks, ROUNDS);
  for (size_t i = 0; i < ROUNDS; i++) {
    CHECK(test_verify(blocks[i], (size_t)8 << i % 17, i));
    hak_free(blocks[i]);
  }
  CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
  CHECK_EQ(test_heap_stats(heap).superslabs, 0); /* nothing holds a slab */
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  hak_option_set(HAK_OPTION_HEAP_CACHE_AFTER, 8);
}

/* --- what goes back ----------------------------------------------------------------- */

static void records__of_ended_heaps_go_back_with_a_collection(void **state) {
  (void)state;
  enum {
    MANY = 500
  };
  static hak_heap_t *heaps[MANY];
  uint64_t before = 0;
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < MANY; i++) {
      hak_heap_config_t config = {.struct_size = sizeof config,
                                  .flags = i % 4 == 0 ? HAK_HEAP_SERIAL : 0};
      heaps[i] = hak_heap_create(&config);
      for (size_t size = 16; size < 4096; size *= 2) {
        unsigned char *block = hak_heap_alloc(heaps[i], size);
        CHECK(block != NULL);
        test_fill(block, size, i);
        CHECK(test_verify(block, size, i));
      }
    }
    for (size_t i = 0; i < MANY; i++) CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
    uint64_t used = test_record_bytes();
    CHECK_EQ(hak_check(NULL), 0);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    uint64_t left = test_record_bytes();
    /* The hooks of a program promise nothing of purged pages: there they stay. */
    if (!test_is_strict()) CHECK(left + MANY * (uint64_t)(16 * KIB) < used);
    if (round == 0) before = left;
    /* When regions go, and how large the next one is, depends on the clock. */
    CHECK_MSG(left <= before + MIB, "%llu bytes of records, then %llu",
              (unsigned long long)before, (unsigned long long)left);
    /* Handles of ended heaps lead nowhere. */
    for (size_t i = 0; i < MANY; i++) CHECK_EQ(hak_heap_destroy(heaps[i]), EINVAL);
    CHECK_EQ(hak_check(NULL), 0);
  }
}

/* The cache of the shared way is of one class, and looks at all classes leave it alone.
 */
static void shared_way__with_a_look_at_each_refill_serves(void **state) {
  (void)state;
  int64_t before = hak_option_get(HAK_OPTION_TRIM_REFILLS);
  CHECK_EQ(hak_option_set(HAK_OPTION_TRIM_REFILLS, 1), 0);
  heaps_make();
  for (size_t round = 0; round < 4; round++) {
    for (size_t i = 0; i < HEAPS; i++) {
      void *block = hak_heap_alloc(g_heaps[i], 16 << (round * 2));
      CHECK(block != NULL && hak_heap_of(block) == g_heaps[i]);
    }
  }
  CHECK_EQ(hak_check(NULL), 0);
  heaps_destroy();
  CHECK_EQ(hak_option_set(HAK_OPTION_TRIM_REFILLS, before), 0);
}

TEST_MAIN(T(shared_way__with_a_look_at_each_refill_serves),
          T(records__of_ended_heaps_go_back_with_a_collection),
          T(exchange__of_one_block_leaves_little_with_each_thread_and_heap),
          T(cache__of_a_heap_comes_with_the_ninth_block),
          T(blocks__of_the_shared_way_are_freed_into_bins_once_there_are_some),
          T(shared_way__of_every_class_serves_and_adds_up))
