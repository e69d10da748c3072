/* api_free.c - which way a free takes where the address, the size or the holder is not
 * the usual one: what is named, and that nothing else has changed then. */
#include "support.h"
#include "threads.h"

#include <semaphore.h>
#include <string.h>

#include "base/check.h"
#include "external/malloced.h"
#include "superslab/locate.h"
#include "tiny/size_class.h"

/* Blocks of which nothing was cut yet, in a slab of which something was. */
static void address__behind_what_was_cut_is_no_block(void **state) {
  (void)state;
  if (hak_malloced_is_on()) return;
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  char *block = hak_heap_alloc(heap, 1000);
  hak_place_t place = hak_locate((uintptr_t)block);
  size_t bytes = hak_class_size(place.cls), count = HAK_SLAB_SIZE / bytes;
  char *last = (char *)(uintptr_t)place.start + (count - 1) * bytes;
  CHECK(last > block && hak_locate((uintptr_t)last).cls == place.cls);
  test_reports_begin();
  CHECK_EQ(hak_freex(last, HAK_NO_CACHE), 0);
  test_expect_report(1, HAK_ERROR_DOUBLE_FREE, last, NULL);
  hak_free_aligned_sized(last, 8, 1000);
  test_expect_report(2, HAK_ERROR_DOUBLE_FREE, last, "hak_free_aligned_sized");
  CHECK(hak_realloc(last, 3000) == NULL);
  test_expect_report(3, HAK_ERROR_DOUBLE_FREE, last, "hak_realloc");
  test_reports_end(3, HAK_ERROR_DOUBLE_FREE);
  CHECK_EQ(test_heap_live_blocks(heap), 1);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* A request that goes past the cache leaves what is there to others. */
static void cached__block_is_not_for_a_request_without_the_cache(void **state) {
  (void)state;
  if (hak_malloced_is_on()) return;
  for (size_t size = 100; size < 10000; size *= 5) {
    void *cached = hak_alloc(size);
    hak_free(cached);
    void *block = hak_allocx(NULL, size, 0, HAK_NO_CACHE, NULL);
    CHECK(block != NULL && block != cached);
    hak_free(block);
  }
}

static sem_t g_taken, g_end;
static char *g_blocks[4];

/* Holds its slab, which is partly free, until others have freed into it. */
static void *hold_slab(void *ctx) {
  for (size_t i = 0; i < TEST_COUNT(g_blocks); i++) g_blocks[i] = hak_alloc(24000);
  sem_post(&g_taken);
  while (sem_wait(&g_end) != 0) continue;
  return ctx;
}

static void sized__free_of_a_block_in_anothers_slab_is_looked_at(void **state) {
  (void)state;
  if (hak_malloced_is_on()) return;
  pthread_t thread;
  CHECK(sem_init(&g_taken, 0, 0) == 0 && sem_init(&g_end, 0, 0) == 0);
  hak_free(hak_alloc(100)); /* this thread has a state */
  test_threads_begin(&thread, 1, hold_slab, NULL);
  while (sem_wait(&g_taken) != 0) continue;
  uint64_t live = test_live_blocks();
  test_reports_begin();
  for (unsigned i = 0; i < TEST_COUNT(g_blocks); i++) {
    char *block = g_blocks[i];
    size_t usable = hak_usable_size(block);
    hak_free_sized(block, usable + 1);
    test_expect_report(i + 1, HAK_ERROR_WRONG_SIZE, block, "hak_free_sized");
    CHECK_EQ(hak_usable_size(block), usable);
  }
  test_reports_end(TEST_COUNT(g_blocks), HAK_ERROR_WRONG_SIZE);
  CHECK_EQ(test_live_blocks(), live);
  for (size_t i = 0; i < TEST_COUNT(g_blocks); i++) hak_free_sized(g_blocks[i], 24000);
  CHECK_EQ(test_live_blocks(), live - TEST_COUNT(g_blocks));
  sem_post(&g_end);
  test_threads_end(&thread, 1);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN(T(cached__block_is_not_for_a_request_without_the_cache),
          T(address__behind_what_was_cut_is_no_block),
          T(sized__free_of_a_block_in_anothers_slab_is_looked_at))
