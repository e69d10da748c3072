/* api_resize_samples.c - sampled blocks that are resized: what is said of their places
 * where the resize fails, where the block is no sample any more, and where it moves to
 * a heap of which somebody hears. */
#include "os_fixture.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "heap/heap.h"
#include "learn/sample.h"
#include "superslab/locate.h"

#define DEFAULT_MEAN 262144
#define HUGE_SIZE ((size_t)1 << 50) /* of which there is never so much */

HAK_SITE(place);

static hak_origin_sums_t sums(void) {
  uint32_t origin = hak_origin_of(&place);
  if (origin == HAK_ORIGIN_NONE) return (hak_origin_sums_t){.blocks = 0};
  return hak_origin_read(origin).sums;
}

/* Each block is a sample. */
static int start(void **state) {
  (void)state;
  test_over_os(0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  return 0;
}
static int end(void **state) {
  (void)state;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, DEFAULT_MEAN), 0);
  test_over_os_end();
  return 0;
}

static bool is_among_samples(const void *block) {
  return hak_heap_is_samples(hak_heap_of_extent(hak_locate((uintptr_t)block).extent));
}

static void resize__that_fails_leaves_the_sample_as_it_was(void **state) {
  (void)state;
  const size_t sizes[] = {60, 50000, 200000, 3 * MIB, 40 * MIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *block = hak_alloc_at(sizes[i], &place);
    CHECK(block != NULL);
    CHECK_EQ(hak_resize_in_place(block, HUGE_SIZE, HUGE_SIZE), 0);
    CHECK_EQ(sums().live_bytes, sizes[i]);
    CHECK(hak_reallocx(NULL, block, HUGE_SIZE, 0, HAK_NO_MOVE, NULL) == NULL);
    CHECK(hak_realloc_at(block, HUGE_SIZE, &place) == NULL);
    CHECK(sums().live_samples == 1 && sums().live_bytes == sizes[i]);
    CHECK(hak_samples_are_valid());
    hak_free(block);
    CHECK_EQ(sums().live_samples, 0);
  }
}

/* Its heap was released, and the sample forgotten; the block lives on among samples. */
static void block__that_is_no_sample_any_more_becomes_none(void **state) {
  (void)state;
  const size_t sizes[] = {300, 3000, 200000};
  hak_heap_t *parent = test_heap(0, "parent", NULL);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    hak_heap_t *heap = test_heap(0, "sampled", parent);
    char *block = hak_allocx(heap, sizes[i], 0, 0, &place);
    CHECK(block != NULL && is_among_samples(block));
    CHECK_EQ(hak_heap_release(heap), 0);
    CHECK_EQ(sums().live_samples, 0);
    size_t usable = hak_usable_size(block);
    CHECK_EQ(hak_resize_in_place(block, sizes[i], usable), usable);
    CHECK(hak_reallocx(NULL, block, HUGE_SIZE, 0, HAK_NO_MOVE, NULL) == NULL);
    CHECK(hak_realloc(block, sizes[i]) == block);
    CHECK_EQ(sums().live_samples, 0);
    CHECK(hak_samples_are_valid());
    CHECK((block = hak_realloc(block, 2 * sizes[i])) != NULL);
    CHECK(hak_heap_of(block) == parent);
    CHECK_EQ(sums().live_samples, 0);
    hak_free(block);
  }
  CHECK_EQ(hak_heap_destroy(parent), 0);
}

/* No byte is picked by a resize that names no place. */
static void growth__for_no_place_stands_for_as_many_blocks(void **state) {
  (void)state;
  enum {
    SIZE = 200
  };
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1 << 20), 0);
  char *block = NULL;
  for (int i = 0; i < 1000000 && sums().live_samples == 0; i++) {
    hak_free(block);
    block = hak_alloc_at(SIZE, &place);
  }
  CHECK_EQ(sums().live_samples, 1);
  double blocks = sums().live_blocks;
  CHECK(blocks > 1000 && is_among_samples(block));
  CHECK((block = hak_realloc(block, 100 * SIZE)) != NULL);
  CHECK_EQ(sums().live_samples, 1);
  CHECK_MSG(sums().live_blocks == blocks, "%f of %f", sums().live_blocks, blocks);
  CHECK(sums().live_bytes > 99 * SIZE * blocks);
  /* For its place it is one of those that are as large. */
  CHECK((block = hak_realloc_at(block, 1000 * SIZE, &place)) != NULL);
  CHECK(sums().live_blocks < blocks / 100);
  hak_free(block);
  CHECK_EQ(sums().live_samples, 0);
}

/* Nobody may ask the system: the block is one like others from here on. */
static void no_grow__may_leave_it_none(void **state) {
  (void)state;
  char *block = hak_alloc_at(100, &place), *plain = hak_alloc(5000);
  CHECK(is_among_samples(block));
  test_fill(block, 100, 1);
  hak_free(plain);
  CHECK((block = hak_reallocx(NULL, block, 5000, 0, HAK_NO_GROW, NULL)) != NULL);
  CHECK(test_verify(block, 100, 1));
  CHECK_EQ(sums().live_samples, is_among_samples(block));
  CHECK(hak_samples_are_valid());
  hak_free(block);
  CHECK_EQ(sums().live_samples, 0);
}

static unsigned g_heard;
static void count_events(const hak_block_event_t *event, void *ctx) {
  *(const void **)ctx = event->address;
  g_heard += event->kind == HAK_BLOCK_ALLOC;
}

/* It moves into the heap that it was released to. */
static void hook__of_the_heap_above_hears_of_a_block_that_comes(void **state) {
  (void)state;
  const void *last = NULL;
  hak_heap_t *parent = test_heap(HAK_HEAP_WATCHED, "watched", NULL);
  CHECK_EQ(hak_heap_set_block_hook(parent, count_events, &last), 0);
  const size_t sizes[] = {300, 100000, 3 * MIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    hak_heap_t *heap = test_heap(0, "sampled", parent);
    char *block = hak_allocx(heap, sizes[i], 0, 0, &place);
    CHECK(block != NULL && is_among_samples(block));
    test_fill_sparse(block, sizes[i], 1);
    CHECK_EQ(hak_heap_release(heap), 0);
    g_heard = 0;
    char *moved = hak_realloc(block, 3 * sizes[i]);
    CHECK(moved != NULL && test_verify_sparse_prefix(moved, sizes[i], sizes[i] / 2, 1));
    if (moved != block) {
      CHECK_MSG(g_heard == 1 && last == moved, "%u for %zu bytes", g_heard, sizes[i]);
      CHECK(!is_among_samples(moved));
    }
    hak_free(moved);
  }
  CHECK_EQ(hak_heap_destroy(parent), 0);
}

static pthread_key_t g_late;
static char *g_block;

/* The library's own destructor has run: the thread has no state, and gets none. */
static void resize_late(void *value) {
  static _Thread_local int calls;
  if (calls++ < 2) {
    pthread_setspecific(g_late, value);
    return;
  }
  g_block = hak_realloc(g_block, 5000);
}
static void *end_late(void *arg) {
  hak_free(hak_alloc(100));
  pthread_setspecific(g_late, &g_late);
  return arg;
}

static void thread__without_a_state_makes_it_a_block_like_others(void **state) {
  (void)state;
  CHECK_EQ(pthread_key_create(&g_late, resize_late), 0);
  uint64_t blocks = test_live_blocks(), bytes = test_live_bytes();
  g_block = hak_alloc_at(100, &place);
  test_fill(g_block, 100, 1);
  test_thread_run(end_late, NULL);
  CHECK(g_block != NULL && hak_usable_size(g_block) >= 5000);
  CHECK(test_verify(g_block, 100, 1));
  CHECK_EQ(sums().live_samples, is_among_samples(g_block));
  CHECK(hak_samples_are_valid());
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), blocks + 1);
  CHECK_EQ(test_live_bytes(), bytes + hak_usable_size(g_block));
  hak_free(g_block);
  CHECK_EQ(sums().live_samples, 0);
  CHECK_EQ(test_live_blocks(), blocks);
  CHECK_EQ(pthread_key_delete(g_late), 0);
}

/* --- other blocks that are no samples ------------------------------------------------
 */

/* What is a part of another request is picked and counted, and asks for nothing more. */
static unsigned g_asked;
static int alloc_inside(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap;
  (void)needed;
  (void)level;
  (void)ctx;
  char *block = hak_alloc_at(100, &place);
  CHECK(block != NULL && !is_among_samples(block));
  hak_free(block);
  g_asked++;
  return 0;
}
static void callback__of_a_limit_has_no_samples(void **state) {
  (void)state;
  hak_heap_t *heap =
      test_heap_make((hak_heap_config_t){.hard_limit = MIB, .on_pressure = alloc_inside});
  char *block = hak_alloc_at(100, &place);
  CHECK(is_among_samples(block));
  hak_free(block);
  double counted = sums().blocks;
  CHECK(hak_heap_alloc(heap, 2 * MIB) == NULL);
  CHECK_EQ(g_asked, 1);
  CHECK(sums().blocks > counted);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

#define S(function) cmocka_unit_test_setup_teardown(function, start, end)

TEST_MAIN_FRESH(S(resize__that_fails_leaves_the_sample_as_it_was),
                S(block__that_is_no_sample_any_more_becomes_none),
                S(growth__for_no_place_stands_for_as_many_blocks),
                S(no_grow__may_leave_it_none),
                S(hook__of_the_heap_above_hears_of_a_block_that_comes),
                S(thread__without_a_state_makes_it_a_block_like_others),
                S(callback__of_a_limit_has_no_samples))
