/* api_resize_class.c - resizes that a warm thread serves itself from the bins of its
 * classes, and those that it leaves to others. */
#include "support.h"

#include <pthread.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"

/* Full checks look at each block first, and blocks that are malloc's have no classes. */
static bool serves(void) { return HAK_CHECKS < 3 && !hak_malloced_is_on(); }

/* A block of the size will lie ready, in a heap of which the thread has a cache. */
static void warm(hak_heap_t *heap, size_t size) {
  enum {
    OFTEN = 16
  };
  void *blocks[OFTEN];
  for (int i = 0; i < OFTEN; i++) blocks[i] = hak_heap_alloc(heap, size);
  for (int i = 0; i < OFTEN; i++) hak_free(blocks[i]);
  hak_free(hak_heap_alloc(heap, size));
}

static const size_t sizes[] = {8, 16, 40, 100, 256, 600, 1024, 1500, 4096, 9000};

static void moves_between_all(hak_heap_t *heap) {
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (size_t j = 0; j < TEST_COUNT(sizes); j++) {
      size_t from = sizes[i], to = sizes[j], least = from < to ? from : to;
      warm(heap, to);
      unsigned char *block = hak_heap_alloc(heap, from);
      test_fill(block, from, i);
      unsigned char *moved = hak_api_resize_class(block, to);
      /* Now and then a bin sends its thread the long way. */
      if (moved == NULL) moved = hak_api_resize_class(block, to);
      CHECK_MSG((moved != NULL) == serves(), "%zu to %zu", from, to);
      if (moved == NULL) moved = block;
      CHECK(test_verify(moved, least, i));
      CHECK(moved == block || hak_usable_size(moved) >= to);
      CHECK(hak_heap_of(moved) == (heap == NULL ? hak_heap_of(block) : heap));
      hak_free(moved);
    }
  }
}

static void resize_class__serves_a_warm_thread_in_each_kind_of_heap(void **state) {
  (void)state;
  hak_heap_t *plain = hak_heap_create(NULL);
  hak_heap_t *limited = test_heap_make((hak_heap_config_t){.hard_limit = 64 << 20});
  hak_heap_t *serial = test_heap(HAK_HEAP_SERIAL, "serial", NULL);
  uint64_t blocks = test_live_blocks();
  moves_between_all(NULL);
  CHECK_EQ(test_live_blocks(), blocks);
  hak_heap_t *heaps[] = {plain, limited, serial};
  for (size_t i = 0; i < TEST_COUNT(heaps); i++) {
    moves_between_all(heaps[i]);
    CHECK_EQ(test_heap_stats(heaps[i]).live_blocks, 0);
    CHECK_EQ(hak_check(heaps[i]), 0);
    CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
  }
}

static void resize_class__leaves_a_block_whose_class_does_where_it_is(void **state) {
  (void)state;
  if (!serves()) return;
  hak_heap_t *heap = hak_heap_create(NULL);
  warm(heap, 200);
  char *block = hak_heap_alloc(heap, 200); /* of 224 bytes */
  CHECK(hak_api_resize_class(block, 224) == block);
  CHECK(hak_api_resize_class(block, 113) == block);
  CHECK(hak_api_resize_class(block, 1) == NULL || hak_usable_size(block) == 224);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* What is no matter of bins is left alone. */
static void is_left(void *block, size_t size) {
  size_t usable = hak_usable_size(block);
  unsigned char first = *(unsigned char *)block;
  CHECK(hak_api_resize_class(block, size) == NULL);
  CHECK_EQ(hak_usable_size(block), usable);
  CHECK_EQ(*(unsigned char *)block, first);
}

static void hear(const hak_block_event_t *event, void *ctx) {
  *(unsigned *)ctx += event->kind == HAK_BLOCK_ALLOC;
}

static void resize_class__leaves_blocks_that_others_are_told_of(void **state) {
  (void)state;
  hak_heap_t *watched = test_heap(HAK_HEAP_WATCHED, "watched", NULL);
  unsigned heard = 0;
  CHECK_EQ(hak_heap_set_block_hook(watched, hear, &heard), 0);
  warm(watched, 500);
  unsigned before = heard;
  char *block = hak_heap_alloc(watched, 100);
  memset(block, 7, 100);
  is_left(block, 500);
  is_left(block, 100);
  CHECK_EQ(heard, before + 1);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(watched), 0);

  hak_heap_t *parent = hak_heap_create(NULL);
  hak_heap_t *released = test_heap(0, "released", parent);
  warm(released, 100);
  warm(released, 500);
  block = hak_heap_alloc(released, 100);
  memset(block, 7, 100);
  CHECK_EQ(hak_heap_release(released), 0);
  is_left(block, 500);
  block = hak_realloc(block, 500); /* into the parent */
  CHECK(block != NULL && hak_heap_of(block) == parent && block[99] == 7);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(parent), 0);
}

static void stays(char *block, size_t least, size_t most) {
  CHECK(hak_api_resize_class(block, least - 1) == NULL);
  CHECK(hak_api_resize_class(block, least) == block);
  CHECK(hak_api_resize_class(block, most) == block);
  CHECK(hak_api_resize_class(block, most + 1) == NULL);
}

enum {
  PAGE = 4096
};

/* The least size for which a block of so many usable bytes is left as it is. */
static size_t least_of(size_t usable) {
  size_t size = usable - PAGE + 1;
  while (usable - (size - 1) < PAGE + hak_api_growth_slack(size - 1)) size--;
  return size;
}

static void resize_class__leaves_large_blocks_where_their_pages_do(void **state) {
  (void)state;
  if (!serves()) return;
  warm(NULL, 500);
  char *single =
      hak_alloc(100000); /* of 114,688 bytes; the next smaller class has 98,304 */
  stays(single, 98305, 114688);
  char *large = hak_realloc(single, 150 * PAGE); /* that may grow again */
  CHECK_EQ(hak_usable_size(large), 150 * PAGE);
  CHECK_EQ(least_of(150 * PAGE), 591811);
  stays(large, least_of(150 * PAGE), 150 * PAGE);
  CHECK(hak_api_resize_class(large + PAGE, 149 * PAGE) == NULL);
  hak_free(large);
  CHECK(hak_api_resize_class(large, 150 * PAGE) == NULL);
  large = hak_alloc(3 << 20);
  CHECK_EQ(least_of(3 << 20), (3 << 20) - PAGE - (64 << 10) + 1);
  stays(large, least_of(3 << 20), 3 << 20);
  hak_free(large);
  hak_heap_t *watched = test_heap(HAK_HEAP_WATCHED, "watched", NULL);
  large = hak_heap_alloc(watched, 3 << 20);
  CHECK(hak_api_resize_class(large, 3 << 20) == NULL);
  hak_free(large);
  CHECK_EQ(hak_heap_destroy(watched), 0);
}

/* Once it has pages of its own a buffer has moved to where it can grow. */
static void resize_class__is_all_that_a_buffer_of_many_steps_needs(void **state) {
  (void)state;
  enum {
    OWN = 64 << 10,
    MOST = 1 << 20,
    STEP = 1000
  };
  if (!serves()) return;
  for (int round = 0; round < 3; round++) {
    char *block = hak_alloc(1);
    unsigned moves = 0, served = 0;
    for (size_t size = STEP; size <= MOST; size += STEP) {
      char *now = hak_api_resize_class(block, size);
      served += now != NULL;
      if (now == NULL) now = hak_realloc(block, size);
      CHECK(now != NULL);
      if (size > OWN) moves += now != block;
      block = now;
      block[size - 1] = 1;
    }
    CHECK(moves <= 1);
    CHECK(served > MOST / STEP - 150); /* 46 classes, and 64 times a 32nd more */
    hak_free(block);
  }
}

/* Grows a block of the heap from 200 to 900 KiB by so many bytes at a time; how often it
 * got more. It has `most` bytes more than it was asked to have, at most, besides a page,
 * and no slab for their sake. */
static unsigned grows(hak_heap_t *heap, size_t step, size_t most) {
  enum {
    SLAB = 64 << 10
  };
  unsigned times = 0;
  size_t size = 200 << 10;
  char *block = hak_realloc(hak_heap_alloc(heap, SLAB), size); /* to where it can grow */
  size_t usable = hak_usable_size(block);
  while ((size += step) <= 900 << 10) {
    block = hak_realloc(block, size);
    CHECK(block != NULL);
    size_t now = hak_usable_size(block);
    CHECK(now >= size && now - size < PAGE + (most == 0 ? 0 : size / most));
    CHECK(now <= (size + SLAB - 1) / SLAB * SLAB);
    times += now != usable;
    usable = now;
  }
  size = usable - (64 << 10);
  block = hak_realloc(block, size);
  CHECK_EQ(hak_usable_size(block), (size + PAGE - 1) / PAGE * PAGE);
  hak_free(block);
  return times;
}

static void realloc__by_small_steps_gets_a_little_more_than_it_asks_for(void **state) {
  (void)state;
  if (!serves()) return;
  unsigned times = grows(NULL, 1000, 32);
  CHECK_MSG(times < 70, "%u times", times); /* 175 pages */
  /* What grows by more gets no more, and limits count each page. */
  CHECK(grows(NULL, 50000, 0) >= 13);
  hak_heap_t *limited = test_heap_make((hak_heap_config_t){.hard_limit = 64 << 20});
  CHECK_EQ(grows(limited, 1000, 0), 175);
  CHECK_EQ(hak_heap_destroy(limited), 0);
}

static void resize_class__leaves_large_blocks_and_none(void **state) {
  (void)state;
  warm(NULL, 500);
  static char outside[64];
  char *large = hak_alloc(3 << 20), *block = hak_alloc(2000);
  is_left(large, 500);
  CHECK(hak_api_resize_class(outside, 500) == NULL);
  CHECK(hak_api_resize_class(block + 16, 500) == NULL);
  CHECK(hak_api_resize_class(block, 0) == NULL);
  CHECK(hak_api_resize_class(block, 100000) == NULL);
  CHECK(hak_api_resize_class(block, SIZE_MAX) == NULL);
  hak_free(large);
  hak_free(block);
}

static char *g_block, *g_spare;
static unsigned g_asked;

static int resize_inside(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap, (void)needed, (void)level, (void)ctx;
  if (g_asked++ > 0) return 0;
  hak_free(g_spare); /* what lay ready went home before */
  is_left(g_block, 300);
  CHECK(hak_realloc(g_block, 300) == NULL); /* nor may the heap be asked in here */
  return 0;
}

static void resize_class__takes_nothing_inside_of_a_callback(void **state) {
  (void)state;
  hak_heap_t *above = test_heap_make(
      (hak_heap_config_t){.hard_limit = 8 << 20, .on_pressure = resize_inside});
  hak_heap_t *asks = test_heap(0, "asks", above), *other = test_heap(0, "other", above);
  warm(other, 100);
  warm(other, 300);
  g_block = hak_heap_alloc(other, 100);
  g_spare = hak_heap_alloc(other, 300);
  memset(g_block, 7, 100);
  CHECK(hak_heap_alloc(asks, 64 << 20) == NULL);
  CHECK_EQ(g_asked, 1);
  CHECK_EQ(hak_heap_destroy(asks), 0);
  CHECK_EQ(hak_heap_destroy(other), 0);
  CHECK_EQ(hak_heap_destroy(above), 0);
}

/* It has no registry to look at yet. */
static void *resize_first(void *block) { return hak_realloc(block, 200); }

static void resize_class__leaves_the_first_call_of_a_thread_alone(void **state) {
  (void)state;
  char *block = hak_alloc(100);
  memset(block, 7, 100);
  pthread_t thread;
  void *moved;
  CHECK_EQ(pthread_create(&thread, NULL, resize_first, block), 0);
  CHECK_EQ(pthread_join(thread, &moved), 0);
  CHECK(moved != NULL && ((char *)moved)[0] == 7 && ((char *)moved)[99] == 7);
  CHECK(hak_usable_size(moved) >= 200);
  hak_free(moved);
}

TEST_MAIN(T(resize_class__serves_a_warm_thread_in_each_kind_of_heap),
          T(resize_class__leaves_a_block_whose_class_does_where_it_is),
          T(resize_class__leaves_blocks_that_others_are_told_of),
          T(resize_class__leaves_large_blocks_where_their_pages_do),
          T(resize_class__is_all_that_a_buffer_of_many_steps_needs),
          T(realloc__by_small_steps_gets_a_little_more_than_it_asks_for),
          T(resize_class__leaves_large_blocks_and_none),
          T(resize_class__leaves_the_first_call_of_a_thread_alone),
          T(resize_class__takes_nothing_inside_of_a_callback))
