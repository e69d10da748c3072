/* api_memory_large_calls.c - large blocks in memory of the caller's that has whole units
 * of 2 MiB enough: what single calls promise of them, whatever lay there before. */
#include "support.h"

#include <string.h>

static _Alignas(2 * MIB) unsigned char g_buffer[8 * MIB];

static hak_heap_t *make(size_t size) {
  hak_heap_t *heap = test_heap_in(g_buffer, size, 0, NULL);
  CHECK(heap != NULL);
  return heap;
}

/* Nobody empties what is freed, and a block takes what others had. */
static void calloc__is_zero_where_other_blocks_were(void **state) {
  (void)state;
  hak_heap_t *heap = make(8 * MIB);
  static const size_t sizes[] = {60000, 100000, MIB + 1, 4 * MIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *before = hak_heap_alloc(heap, 8 * MIB);
    memset(before, 0xee, 8 * MIB);
    hak_free(before);
    unsigned char *block = hak_heap_calloc(heap, 1, sizes[i]);
    for (size_t at = 0; at < sizes[i]; at++) CHECK_EQ(block[at], 0);
    memset(block, 0xdd, sizes[i]);
    block = hak_reallocx(NULL, block, sizes[i] + 100000, 0, HAK_ZERO, NULL);
    size_t usable = hak_usable_size(block);
    for (size_t at = sizes[i] + 4096; at < usable; at++) CHECK_EQ(block[at], 0);
    hak_free(block);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* The block may be all that there is, and no slab can be had beside it. */
static void realloc__gives_up_what_it_can_in_full_memory(void **state) {
  (void)state;
  hak_heap_t *heap = make(8 * MIB);
  char *block = hak_heap_alloc(heap, 8 * MIB);
  memcpy(block, "kept", 5);
  block = hak_realloc(block, 1000);
  CHECK(block != NULL && strcmp(block, "kept") == 0 && hak_usable_size(block) == 4096);
  CHECK(hak_heap_alloc(heap, 7 * MIB) != NULL && hak_heap_alloc(heap, 100) != NULL);
  CHECK_EQ(hak_check(heap), 0);
  block = hak_realloc(block, 1000); /* by now there is a slab */
  CHECK(strcmp(block, "kept") == 0 && hak_usable_size(block) < 2000);
  char *page = hak_heap_alloc(heap, 100000);
  CHECK(hak_reallocx(NULL, page, 100, 0, HAK_NO_MOVE, NULL) == page);
  CHECK(hak_usable_size(page) == 4096 && hak_realloc(page, 8000) == page);
  /* Slabs have no such alignment. */
  char *aligned = hak_allocx(heap, 100, 128 * KIB, 0, NULL);
  CHECK(hak_reallocx(NULL, aligned, 90, 128 * KIB, 0, NULL) == aligned);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

typedef struct told {
  size_t came, went, bytes; /* bytes: of those that came and did not go */
} told_t;

static void tell(hak_event_t event, const void *address, size_t size, void *ctx) {
  told_t *told = ctx;
  (void)address;
  told->came += event == HAK_EVENT_LARGE_ALLOC;
  told->went += event == HAK_EVENT_LARGE_FREE;
  if (event == HAK_EVENT_LARGE_ALLOC) told->bytes += size;
  if (event == HAK_EVENT_LARGE_FREE) told->bytes -= size;
}

static void events__tell_of_blocks_that_come_and_go(void **state) {
  (void)state;
  static told_t told;
  static const size_t sizes[] = {57345, 65536, 100000, 2 * MIB, 3 * MIB - 1};
  void *blocks[TEST_COUNT(sizes)];
  hak_heap_t *heap = make(8 * MIB);
  hak_set_event_hook(tell, &told);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    blocks[i] = hak_heap_alloc(heap, sizes[i]);
  }
  size_t bytes = told.bytes;
  hak_heap_free(heap, blocks[0]);
  hak_free_sized(blocks[1], sizes[1]);
  for (size_t i = 2; i < TEST_COUNT(sizes); i++) hak_free(blocks[i]);
  hak_set_event_hook(NULL, NULL);
  CHECK(told.came == TEST_COUNT(sizes) && told.went == told.came);
  CHECK(bytes > 5 * MIB && told.bytes == 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Slots that the annex has are no slabs, whether its blocks use them or not. */
static void statistics__count_slabs_alone_as_such(void **state) {
  (void)state;
  uint64_t before = test_stats().slabs_active;
  hak_heap_t *heap = make(8 * MIB);
  void *block = hak_heap_alloc(heap, 8 * MIB - 64 * KIB);
  CHECK_EQ(test_heap_stats(heap).slabs_active, 0);
  CHECK(hak_heap_alloc(heap, 100) != NULL);
  CHECK_EQ(test_heap_stats(heap).slabs_active, 1);
  CHECK_EQ(test_stats().slabs_active, before + 1);
  hak_free(block);
  CHECK_EQ(test_heap_stats(heap).slabs_active, 1);
  CHECK_EQ(test_stats().slabs_active, before + 1);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(calloc__is_zero_where_other_blocks_were),
          T(realloc__gives_up_what_it_can_in_full_memory),
          T(events__tell_of_blocks_that_come_and_go),
          T(statistics__count_slabs_alone_as_such))
