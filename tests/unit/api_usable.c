/* api_usable.c - sizes that come with a block or go with it, and blocks past the thread's
 * cache. */
#include "support.h"
#include "threads.h"

#include <errno.h>
#include <string.h>

static const size_t g_sizes[] = {
    0,     1,     8,      9,       100,           1024,    1025,    5000,
    57344, 57345, 100000, 1 << 20, (1 << 20) + 1, 5 << 20, 40 << 20};

static void usable_size__of_every_block_is_its_class(void **state) {
  (void)state;
  for (size_t size = 1; size <= 70000; size += size < 2000 ? 1 : 997) {
    void *blocks[3];
    for (int i = 0; i < 3; i++) {
      blocks[i] = hak_alloc(size);
      CHECK_EQ(hak_usable_size(blocks[i]), hak_good_size(size));
    }
    for (int i = 0; i < 3; i++) hak_free(blocks[i]);
  }
}

static void *ask_elsewhere(void *block) {
  CHECK_EQ(hak_usable_size(block), hak_good_size(1000)); /* not attached */
  void *own = hak_alloc(50);
  CHECK_EQ(hak_usable_size(block), hak_good_size(1000));
  hak_free(own);
  CHECK_EQ(hak_free_usable(block), hak_good_size(1000));
  return NULL;
}

static void usable_size__is_the_same_in_other_threads_and_heaps(void **state) {
  (void)state;
  hak_heap_t *heaps[3] = {NULL, test_heap_make((hak_heap_config_t){.name = "other"}),
                          test_heap_make((hak_heap_config_t){.flags = HAK_HEAP_SERIAL})};
  for (size_t i = 0; i < TEST_COUNT(heaps); i++) {
    test_thread_run(ask_elsewhere, hak_heap_alloc(heaps[i], 1000));
  }
  for (size_t i = 1; i < TEST_COUNT(heaps); i++) CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
}

static void alloc_usable__tells_what_usable_size_says(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(g_sizes); i++) {
    size_t usable = 1;
    char *block = hak_alloc_usable(g_sizes[i], &usable);
    CHECK(block != NULL && usable >= g_sizes[i]);
    CHECK_EQ(usable, hak_usable_size(block));
    block[0] = block[usable - 1] = 1;
    CHECK_EQ(hak_free_usable(block), usable);
  }
  size_t usable = 1;
  volatile size_t most = PTRDIFF_MAX; /* else the compiler says what is wrong */
  errno = 0;
  CHECK(hak_alloc_usable(most + 1, &usable) == NULL && errno == ENOMEM);
  CHECK_EQ(usable, 0);
  CHECK_EQ(hak_free_usable(NULL), 0);
}

static uint64_t cached(void) { return test_stats().cached_bytes; }

static void no_cache__leaves_nothing_in_the_thread_s_cache(void **state) {
  (void)state;
  enum {
    COUNT = 300
  };
  static void *blocks[COUNT];
  for (size_t i = 0; i < TEST_COUNT(g_sizes); i++) {
    size_t count = g_sizes[i] > 200000 ? 3 : COUNT;
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    uint64_t before = cached(), live = test_stats().live_blocks;
    for (size_t k = 0; k < count; k++) {
      blocks[k] = hak_allocx(NULL, g_sizes[i], 0, HAK_NO_CACHE, NULL);
      CHECK(blocks[k] != NULL && hak_usable_size(blocks[k]) >= g_sizes[i]);
    }
    CHECK_EQ(cached(), before);
    CHECK_EQ(test_stats().live_blocks, live + count);
    for (size_t k = 0; k < count; k++) CHECK_EQ(hak_freex(blocks[k], HAK_NO_CACHE), 0);
    CHECK_EQ(cached(), before);
    CHECK_EQ(test_stats().live_blocks, live);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

/* Blocks of both kinds in the same slabs, freed in both ways. */
static void no_cache__and_cached_blocks_mix(void **state) {
  (void)state;
  enum {
    COUNT = 4000
  };
  static void *blocks[COUNT];
  hak_heap_t *heaps[4] = {NULL, test_heap_make((hak_heap_config_t){.name = "other"}),
                          test_heap_make((hak_heap_config_t){.hard_limit = 64 * MIB}),
                          test_heap_make((hak_heap_config_t){.flags = HAK_HEAP_SERIAL})};
  test_rng_t rng = test_rng(test_seed(), 3);
  for (size_t h = 0; h < TEST_COUNT(heaps); h++) {
    for (int round = 0; round < 4; round++) {
      for (size_t i = 0; i < COUNT; i++) {
        size_t size = 1 + test_random_size(&rng, 700) % 700;
        unsigned flags = test_random(&rng) % 2 == 0 ? HAK_NO_CACHE : 0;
        blocks[i] = hak_allocx(heaps[h], size, 0, flags, NULL);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], (int)i, hak_usable_size(blocks[i]));
      }
      for (size_t i = 0; i < COUNT; i++) {
        CHECK_EQ(*(unsigned char *)blocks[i], (unsigned char)i);
        blocks[i] = hak_reallocx(heaps[h], blocks[i], 900, 0, HAK_NO_CACHE, NULL);
        unsigned flags = test_random(&rng) % 2 == 0 ? HAK_NO_CACHE : 0;
        CHECK_EQ(hak_freex(blocks[i], flags), 0);
      }
    }
    CHECK_EQ(hak_check(heaps[h]), 0);
    CHECK_EQ(
        test_heap_stats(heaps[h] == NULL ? hak_heap_default() : heaps[h]).live_blocks, 0);
  }
  for (size_t i = 1; i < TEST_COUNT(heaps); i++) CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
}

static void freex__refuses_unknown_flags_and_frees_nothing(void **state) {
  (void)state;
  void *block = hak_alloc(100);
  CHECK_EQ(hak_freex(block, HAK_ZERO), EINVAL);
  CHECK_EQ(hak_freex(block, HAK_NO_CACHE | 0x100u), EINVAL);
  CHECK_EQ(hak_freex(block, 0), 0);
  CHECK_EQ(hak_freex(NULL, HAK_NO_CACHE), 0);
}

static void misuse__is_reported_once_and_by_name(void **state) {
  (void)state;
  char *block = hak_alloc(100);
  char local;
  test_reports_begin();
  CHECK_EQ(hak_free_usable(block + 16), 0);
  test_reports_end_at(HAK_ERROR_INTERIOR_POINTER, block + 16);
  test_reports_begin();
  CHECK_EQ(hak_usable_size(&local), 0);
  test_reports_end_at(HAK_ERROR_FOREIGN_POINTER, &local);
  test_reports_begin();
  CHECK_EQ(hak_freex(block + 16, HAK_NO_CACHE), 0);
  test_reports_end_at(HAK_ERROR_INTERIOR_POINTER, block + 16);
  CHECK_EQ(hak_free_usable(block), hak_good_size(100));
}

TEST_MAIN(T(usable_size__of_every_block_is_its_class),
          T(usable_size__is_the_same_in_other_threads_and_heaps),
          T(alloc_usable__tells_what_usable_size_says),
          T(no_cache__leaves_nothing_in_the_thread_s_cache),
          T(no_cache__and_cached_blocks_mix),
          T(freex__refuses_unknown_flags_and_frees_nothing),
          T(misuse__is_reported_once_and_by_name))
