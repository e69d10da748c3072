/* api_memory_units.c - heaps in memory of the caller's that has whole units of 2 MiB
 * enough: they are heaps like others, fast paths included, and stay inside. */
#include "records.h"
#include "visits.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum {
  UNIT = 2 << 20,
  UNITS = 16,
  ALL = UNITS * UNIT
};

static _Alignas(UNIT) unsigned char g_buffer[ALL + UNIT];

static hak_heap_t *make(size_t size) {
  hak_heap_t *heap = test_heap_in(g_buffer, size, 0, NULL);
  CHECK(heap != NULL);
  return heap;
}

static void refuse(void *memory, size_t size) {
  errno = 0;
  CHECK(test_heap_in(memory, size, 0, NULL) == NULL);
  CHECK_EQ(errno, EINVAL);
}

/* ---- which memory ------------------------------------------------------------ */

/* Heaps with SuperSlabs have size classes; smaller memory has exact sizes. */
static bool has_units(void *memory, size_t size) {
  hak_heap_t *heap = test_heap_in(memory, size, 0, NULL);
  CHECK(heap != NULL);
  void *block = hak_heap_alloc(heap, 1000);
  bool has = hak_usable_size(block) == hak_good_size(1000);
  CHECK_EQ(test_heap_stats(heap).superslabs, has);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  return has;
}

static void memory__of_8_mib_aligned_or_10_mib_anywhere_is_enough(void **state) {
  (void)state;
  CHECK(has_units(g_buffer, 8 * MIB));
  CHECK(!has_units(g_buffer, 8 * MIB - 1));
  CHECK(!has_units(g_buffer + 1, 8 * MIB));
  CHECK(has_units(g_buffer + 1, 10 * MIB - 1));
  CHECK(has_units(g_buffer + UNIT - 1, 8 * MIB + 1));
  CHECK(!has_units(g_buffer + 12345, MIB));
}

static void memory__of_another_heap_or_of_hakmem_is_refused(void **state) {
  (void)state;
  unsigned char *memory = g_buffer + UNIT / 2;
  size_t size = 5 * UNIT;
  hak_heap_t *heap = test_heap_in(memory, size, 0, NULL);
  CHECK(heap != NULL);
  refuse(memory, size);
  refuse(g_buffer, ALL);
  refuse(memory, MIB);                        /* in front of the first unit */
  refuse(memory + size - 256 * KIB, 8 * MIB); /* behind the last */
  refuse(memory + UNIT, 256 * KIB);
  refuse(g_buffer, UNIT / 2 + 16);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  unsigned char *block = hak_alloc(40 * MIB);
  refuse(block, 40 * MIB);
  hak_free(block);
  refuse(g_buffer, test_opaque(SIZE_MAX));
  refuse((void *)test_opaque((size_t)1 << 60), 64 * MIB);
  refuse((void *)test_opaque(SIZE_MAX - 64 * MIB), 64 * MIB);
  CHECK(has_units(g_buffer, ALL));
}

/* What is left over in units that it shares with others is known as the heap's, whose
 * large blocks may lie there. */
static void heaps__that_share_units_know_their_blocks(void **state) {
  (void)state;
  unsigned char *memory = g_buffer + MIB, *end = memory + 5 * UNIT;
  for (int order = 0; order < 2; order++) {
    hak_heap_t *heap = test_heap_in(memory, (size_t)(end - memory), 0, NULL);
    hak_heap_t *cache = test_heap_in(g_buffer, MIB, 0, NULL);
    hak_heap_t *behind = test_heap_in(end, MIB, 0, NULL);
    CHECK(heap != NULL && cache != NULL && behind != NULL);
    void *a = hak_heap_alloc(heap, 500), *b = hak_heap_alloc(cache, 500);
    void *c = hak_heap_alloc(behind, 500);
    CHECK(hak_heap_of(a) == heap && hak_heap_of(b) == cache && hak_heap_of(c) == behind);
    CHECK(test_is_within(a, g_buffer + UNIT, 4 * UNIT));
    CHECK(hak_heap_of(memory) == NULL && hak_heap_of(end - 1) == NULL);
    test_reports_begin();
    hak_free(memory);
    test_reports_end_at(HAK_ERROR_DOUBLE_FREE, memory);
    hak_heap_t *first = order == 0 ? heap : cache, *last = order == 0 ? cache : heap;
    CHECK_EQ(hak_heap_destroy(first), 0);
    CHECK(hak_heap_of(c) == behind && hak_heap_of(order == 0 ? b : a) == last);
    CHECK_EQ(hak_heap_destroy(behind), 0);
    CHECK_EQ(hak_heap_destroy(last), 0);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

/* ---- how much of it serves ---------------------------------------------------- */

static void blocks_of_64__take_85_percent_of_16_mib(void **state) {
  (void)state;
  static const size_t shifts[] = {0, 1, 12345, UNIT - 1};
  for (size_t i = 0; i < TEST_COUNT(shifts); i++) {
    unsigned char *memory = g_buffer + shifts[i];
    size_t size = 16 * MIB + (shifts[i] == 0 ? 0 : UNIT), count = 0;
    hak_heap_t *heap = test_heap_in(memory, size, 0, NULL);
    CHECK(heap != NULL);
    for (unsigned char *block; (block = hak_heap_alloc(heap, 64)) != NULL; count++) {
      CHECK(test_is_within(block, memory, size) &&
            test_is_within(block + 63, memory, size));
      memset(block, 0xff, 64);
    }
    CHECK_EQ(errno, ENOMEM);
    CHECK_MSG(count * 64 * 100 >= 16 * MIB * 85, "%zu blocks", count);
    CHECK_EQ(test_heap_stats(heap).live_blocks, count);
    CHECK_EQ(hak_check(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static size_t live_at_first_null(size_t size, unsigned churn, uint64_t salt) {
  hak_heap_t *heap = make(size);
  size_t live = test_live_at_first_null(heap, churn, salt);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  return live;
}

static void random_sizes__are_live_in_70_percent_of_16_mib(void **state) {
  (void)state;
  static const unsigned churns[] = {0, 2, 3, 10};
  for (size_t i = 0; i < test_scale(40); i++) {
    size_t live = live_at_first_null(16 * MIB, churns[i % 4], i);
    CHECK_MSG(live * 100 >= 16 * MIB * 70, "%zu bytes, churn %u", live, churns[i % 4]);
    live = live_at_first_null(8 * MIB, churns[i % 4], i);
    CHECK_MSG(live * 100 >= 8 * MIB * 65, "%zu bytes, churn %u", live, churns[i % 4]);
  }
}

static void exhaustion__is_null_and_passes(void **state) {
  (void)state;
  hak_heap_t *heap = make(ALL);
  static void *blocks[ALL / 4096 + 1];
  for (size_t size = 4096; size <= ALL; size *= 8) {
    size_t count = 0;
    while ((blocks[count] = hak_heap_alloc(heap, size)) != NULL) count++;
    CHECK_EQ(errno, ENOMEM);
    CHECK_MSG(count * size >= (size_t)ALL / 100 * 85, "%zu of %zu", count, size);
    errno = TEST_ERRNO;
    for (size_t i = 0; i < count; i++) hak_free(blocks[i]);
    CHECK_EQ(errno, TEST_ERRNO);
  }
  CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- every function ------------------------------------------------------------- */

/* What the memory contains when it comes is unowned promise. */
static void blocks__work_with_every_function(void **state) {
  (void)state;
  memset(g_buffer, 0xa5, sizeof g_buffer);
  hak_heap_t *heap = make(ALL);
  for (size_t size = 1; size < 9 * MIB; size += size / 2 + 1) {
    unsigned char *block = hak_heap_calloc(heap, 1, size);
    CHECK(block != NULL && test_is_within(block, g_buffer, ALL));
    CHECK(test_is_zero(block, size) && hak_heap_of(block) == heap);
    test_fill(block, size, size);
    block = hak_realloc(block, size * 2);
    CHECK(block != NULL && hak_heap_of(block) == heap && test_verify(block, size, size));
    CHECK(hak_resize_in_place(block, size, size * 2) >= size);
    CHECK(test_verify(block, size, size));
    block = hak_realloc(block, size + 100);
    block = hak_aligned_realloc(block, 4096, size + 100);
    CHECK(block != NULL && (uintptr_t)block % 4096 == 0);
    CHECK(test_verify(block, size, size));
    hak_block_t info = {.struct_size = sizeof info};
    CHECK_EQ(hak_ptr_info(block + size - 1, &info), 0);
    CHECK(info.address == block && info.heap == heap && info.is_start == (size == 1));
    CHECK_EQ(info.size, hak_usable_size(block));
    memset(block, 0xa5, hak_usable_size(block));
    hak_free_aligned_sized(block, 4096, size + 100);
    block = hak_allocx(heap, size, 256, HAK_ZERO | HAK_NO_GROW, NULL);
    CHECK(block != NULL && (uintptr_t)block % 256 == 0);
    size_t had = hak_usable_size(block);
    CHECK(test_is_zero(block, had));
    memset(block, 0xa5, had);
    block = hak_reallocx(NULL, block, had + 16, 256, HAK_ZERO, NULL);
    CHECK(block != NULL && block[had - 1] == 0xa5 &&
          test_is_within(block, g_buffer, ALL));
    CHECK(test_is_zero(block + had, hak_usable_size(block) - had));
    memset(block, 0xa5, had + 16);
    hak_heap_free(heap, block);
    hak_free(hak_heap_realloc(heap, NULL, size));
  }
  CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

typedef struct held {
  unsigned char *block;
  size_t size;
} held_t;

/* Whatever it is that the block becomes, what both sizes have of its bytes stays. */
static void resize(hak_heap_t *heap, held_t *held, size_t size, unsigned flags,
                   size_t alignment) {
  unsigned char *moved =
      hak_reallocx(heap, held->block, size, alignment, flags | HAK_ZERO, NULL);
  if (moved == NULL) {
    CHECK_EQ(errno, ENOMEM);
    return;
  }
  size_t kept = held->size < size ? held->size : size;
  CHECK(test_is_within(moved, g_buffer, sizeof g_buffer));
  CHECK(alignment == 0 || (uintptr_t)moved % alignment == 0);
  CHECK(test_verify_sparse_prefix(moved, held->size, kept, held->size));
  *held = (held_t){moved, size};
  test_fill_sparse(moved, size, size);
}

/* Near the end of the memory most of the time. */
static void blocks__stay_whole_whatever_comes(void **state) {
  (void)state;
  static held_t all[3000];
  test_rng_t rng = test_rng(test_seed(), 91);
  memset(g_buffer, 0xa5, sizeof g_buffer);
  unsigned char *memory = g_buffer + 777;
  for (uint32_t serial = 0; serial < 2; serial++) {
    memset(all, 0, sizeof all);
    hak_heap_t *heap = test_heap_in(memory, 6 * UNIT, serial * HAK_HEAP_SERIAL, NULL);
    CHECK(heap != NULL);
    for (size_t n = 0; n < test_scale(200000); n++) {
      held_t *held = &all[test_below(&rng, TEST_COUNT(all))];
      size_t size =
          1 + test_random_size(&rng, test_below(&rng, 50) == 0 ? 3 * MIB : 8192);
      size_t alignment = test_below(&rng, 4) != 0 ? 0 : (size_t)1 << test_below(&rng, 20);
      unsigned flags = test_below(&rng, 4) == 0 ? HAK_NO_GROW : 0;
      if (held->block != NULL) {
        CHECK(test_verify_sparse(held->block, held->size, held->size));
        if (test_below(&rng, 3) != 0) {
          if (n % 2 == 0) hak_free(held->block);
          if (n % 2 != 0) hak_heap_free(heap, held->block);
          held->block = NULL;
        } else {
          if (test_below(&rng, 4) == 0) flags |= HAK_NO_MOVE;
          resize(NULL, held, size, flags, alignment);
        }
        continue;
      }
      held->block = hak_allocx(heap, size, alignment, flags | HAK_ZERO, NULL);
      if (held->block == NULL) continue;
      CHECK(test_is_within(held->block, g_buffer, sizeof g_buffer));
      CHECK(test_is_zero(held->block, hak_usable_size(held->block)));
      held->size = size;
      test_fill_sparse(held->block, size, size);
      if (n % 20000 == 0) CHECK_EQ(hak_check(heap), 0);
      if (n % 50000 == 0) hak_thread_idle();
    }
    size_t live = 0;
    for (size_t i = 0; i < TEST_COUNT(all); i++) live += all[i].block != NULL;
    CHECK_EQ(test_heap_live_blocks(heap), live);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void large_blocks__of_any_size_and_alignment_lie_inside(void **state) {
  (void)state;
  hak_heap_t *heap = make(ALL);
  for (size_t alignment = 4096; alignment <= 16 * MIB; alignment *= 2) {
    for (size_t size = MIB; size <= 12 * MIB; size += 11 * MIB / 4) {
      unsigned char *block = hak_heap_aligned_alloc(heap, alignment, size);
      CHECK(block != NULL && (uintptr_t)block % alignment == 0);
      CHECK(test_is_within(block, g_buffer, ALL));
      CHECK(test_is_within(block + hak_usable_size(block) - 1, g_buffer, ALL));
      test_fill_sparse(block, size, size);
      CHECK(test_verify_sparse(block, size, size));
      hak_free(block);
    }
  }
  unsigned char *all = hak_heap_alloc(heap, ALL);
  CHECK(all == g_buffer && hak_heap_alloc(heap, 1) == NULL);
  CHECK(hak_heap_of(all + ALL - 1) == heap);
  errno = 0;
  CHECK(hak_realloc(all, ALL + 1) == NULL && errno == ENOMEM);
  CHECK(hak_realloc(all, 3 * MIB) == all && hak_heap_alloc(heap, 10 * MIB) != NULL);
  CHECK(hak_heap_alloc(heap, test_opaque(PTRDIFF_MAX)) == NULL);
  CHECK(hak_heap_alloc(heap, (size_t)1 << 46) == NULL);
  CHECK(hak_heap_aligned_alloc(heap, GIB, 1) == NULL ||
        (uintptr_t)g_buffer % GIB > GIB - ALL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void reset__makes_all_of_it_free(void **state) {
  (void)state;
  hak_heap_t *heap = make(ALL);
  for (int round = 0; round < 3; round++) {
    while (hak_heap_alloc(heap, 1000) != NULL) {}
    CHECK_EQ(hak_heap_reset(heap), 0);
    CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
    CHECK(hak_heap_alloc(heap, ALL) != NULL);
    CHECK_EQ(hak_heap_reset(heap), 0);
  }
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void visit_and_stats__say_what_is_live(void **state) {
  (void)state;
  hak_stats_t before = test_stats();
  hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = 9 * MIB};
  hak_heap_t *parent = hak_heap_create(&config);
  hak_heap_t *heap = test_heap_in(g_buffer + 1, ALL, 0, parent);
  CHECK(heap != NULL);
  void *blocks[50];
  for (size_t i = 0; i < 50; i++) blocks[i] = hak_heap_alloc(heap, i * i * 400);
  for (size_t i = 0; i < 50; i += 2) hak_free(blocks[i]);
  CHECK(test_visit_live(heap, 25) > 0);
  hak_stats_t stats = test_heap_stats(heap);
  CHECK_EQ(stats.committed_bytes, ALL);
  CHECK_EQ(stats.reserved_bytes, ALL);
  CHECK_EQ(stats.hard_limit, 0);
  CHECK_EQ(test_heap_stats(parent).live_blocks, 25);
  CHECK_EQ(test_heap_stats(parent).committed_bytes, ALL);
  hak_stats_t now = test_stats();
  CHECK_EQ(now.live_blocks, before.live_blocks + 25);
  CHECK(now.committed_bytes < before.committed_bytes + 8 * MIB);
  CHECK(now.reserved_bytes < before.reserved_bytes + 8 * MIB);
  CHECK_EQ(now.retained_bytes, before.retained_bytes);
  CHECK_EQ(hak_heap_destroy(parent), EBUSY);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_destroy(parent), 0);
  CHECK_EQ(test_live_blocks(), before.live_blocks);
}

/* The memory is unowned charge; what heaps below it take of the system is. */
static void budget__above_covers_heaps_below_but_not_the_memory(void **state) {
  (void)state;
  hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = 4 * MIB};
  hak_heap_t *top = hak_heap_create(&config);
  static const size_t sizes[] = {MIB, ALL};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    hak_heap_t *heap = test_heap_in(g_buffer, sizes[i], 0, top);
    CHECK(heap != NULL && hak_heap_alloc(heap, sizes[i] / 2) != NULL);
    hak_heap_t *below = test_heap(0, NULL, heap);
    CHECK(hak_heap_alloc(below, 3 * MIB) != NULL);
    CHECK(hak_heap_alloc(below, 3 * MIB) == NULL);
    uint64_t charged = test_heap_stats(below).committed_bytes;
    CHECK(charged > 3 * MIB && charged <= 4 * MIB);
    CHECK_EQ(test_heap_stats(heap).committed_bytes, sizes[i] + charged);
    CHECK_EQ(test_heap_stats(top).committed_bytes, sizes[i] + charged);
    CHECK_EQ(hak_heap_destroy(below), 0);
    CHECK_EQ(hak_heap_set_limits(heap, 0, 16 * MIB), EINVAL);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    CHECK_EQ(test_heap_stats(top).committed_bytes, 0);
  }
  CHECK_EQ(hak_heap_destroy(top), 0);
}

static void wishes__that_need_no_more_memory_are_granted(void **state) {
  (void)state;
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = HAK_HEAP_NO_PURGE};
  config.reserve = GIB;
  config.prefault = 10 * GIB;
  config.memory = g_buffer;
  config.memory_size = ALL;
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  CHECK_EQ(hak_heap_prefault(heap, MIB), 0);
  CHECK_EQ(hak_heap_prewarm(heap, 100, 1000), 1000);
  CHECK_EQ(hak_heap_prewarm(heap, 5 * MIB, 2), 2);
  errno = 0;
  CHECK(hak_heap_prewarm(heap, ALL, 2) == 1 && errno == ENOMEM);
  hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(hak_heap_alloc(heap, 30 * MIB) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  config.hard_limit = ALL;
  CHECK(hak_heap_create(&config) == NULL && errno == EINVAL);
}

static void serial_heap__has_its_fast_paths_there(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_in(g_buffer, ALL, HAK_HEAP_SERIAL, NULL);
  CHECK(heap != NULL);
  for (int round = 0; round < 3; round++) {
    static void *blocks[5000];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      blocks[i] = hak_heap_alloc(heap, 1 + i % 4000);
      CHECK(test_is_within(blocks[i], g_buffer, ALL));
    }
    CHECK_EQ(test_heap_live_blocks(heap), TEST_COUNT(blocks));
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      if (i % 2 == 0) hak_heap_free(heap, blocks[i]);
      if (i % 2 != 0) hak_free(blocks[i]);
    }
    while (hak_heap_alloc(heap, 300) != NULL) {}
    CHECK_EQ(hak_heap_reset(heap), 0);
    CHECK(hak_heap_alloc(heap, ALL) != NULL);
    CHECK_EQ(hak_heap_reset(heap), 0);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- misuse, and the end ---------------------------------------------------------- */

static void misuse__is_named(void **state) {
  (void)state;
  hak_heap_t *heap = make(ALL);
  char *block = hak_heap_alloc(heap, 200), *large = hak_heap_alloc(heap, 5 * MIB);
  test_reports_begin();
  hak_heap_free(NULL, block);
  test_reports_end_at(HAK_ERROR_WRONG_HEAP, block);
  test_reports_begin();
  hak_free_sized(block, 2000);
  test_reports_end_at(HAK_ERROR_WRONG_SIZE, block);
  test_reports_begin();
  hak_free(large + 4096);
  test_reports_end_at(HAK_ERROR_INTERIOR_POINTER, large + 4096);
  hak_free(large);
  test_reports_begin();
  hak_free(large);
  test_reports_end_at(HAK_ERROR_DOUBLE_FREE, large);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  test_reports_of_gone(heap, block, make(ALL));
}

static void destroy__leaves_the_memory_to_its_owner(void **state) {
  (void)state;
  enum {
    SIZE = 21 << 20
  };
  char *memory =
      mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  hak_heap_t *heap = test_heap_in(memory + 3, SIZE - 3, 0, NULL);
  void *block = NULL;
  for (size_t i = 0; i < 10000; i++) block = hak_heap_alloc(heap, i % 1000);
  CHECK(hak_heap_alloc(heap, 3 * MIB) != NULL);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  /* Nobody looks at it any more. */
  CHECK_EQ(mprotect(memory, SIZE, PROT_NONE), 0);
  CHECK(hak_heap_of(block) == NULL);
  hak_block_t info = {.struct_size = sizeof info};
  CHECK_EQ(hak_ptr_info(memory + SIZE / 2, &info), ENOENT);
  CHECK_EQ(hak_check(NULL), 0);
  test_stats();
  hak_thread_idle();
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  heap = make(ALL);
  for (size_t i = 0; i < 10000; i++) CHECK(hak_heap_alloc(heap, i % 1000) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(munmap(memory, SIZE), 0);
  hak_free(hak_alloc(100));
}

static void release__gives_the_memory_back_with_the_last_block(void **state) {
  (void)state;
  hak_heap_t *parent = test_heap(0, NULL, NULL);
  hak_heap_t *heap = test_heap_in(g_buffer, ALL, 0, parent);
  char *block = hak_heap_alloc(heap, 100), *last = hak_heap_alloc(heap, 7 * MIB);
  CHECK_EQ(hak_heap_release(heap), 0);
  CHECK(hak_heap_of(block) == parent);
  CHECK_EQ(test_heap_stats(parent).live_blocks, 2);
  refuse(g_buffer, ALL);
  hak_free(block);
  last = hak_realloc(last, ALL + 1); /* too large there: it moves to the parent */
  CHECK(last != NULL && hak_heap_of(last) == parent);
  CHECK(!test_is_within(last, g_buffer, ALL));
  heap = test_heap_in(g_buffer, ALL, 0, parent);
  CHECK(heap != NULL && hak_heap_alloc(heap, 10) != NULL);
  CHECK_EQ(hak_heap_release(heap), 0);
  CHECK_EQ(hak_heap_destroy(parent), 0); /* and what was released below it */
  heap = make(ALL);
  CHECK_EQ(hak_heap_release(heap), 0); /* empty: at once */
  heap = make(ALL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Records of heaps, external regions and regions are used again, whatever the sizes. */
static void heaps__in_turn_need_no_more_records(void **state) {
  (void)state;
  for (size_t n = 0; n < 50; n++) {
    hak_heap_t *heap = make((4 + n % 12) * UNIT);
    CHECK(hak_heap_alloc(heap, 100) != NULL);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  uint64_t metadata = test_record_bytes();
  for (size_t n = 0; n < test_scale(2000); n++) {
    hak_heap_t *heap = test_heap_in(g_buffer + n % 3, (4 + n % 12) * UNIT, 0, NULL);
    CHECK(n % 12 == 0 || heap != NULL);
    CHECK(heap == NULL || hak_heap_alloc(heap, 1 + n) != NULL);
    if (heap != NULL) CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  /* Pages of the one heap's records are touched as classes are used. */
  CHECK(test_record_bytes() <= metadata + 32 * KIB);
}

TEST_MAIN(T(memory__of_8_mib_aligned_or_10_mib_anywhere_is_enough),
          T(memory__of_another_heap_or_of_hakmem_is_refused),
          T(heaps__that_share_units_know_their_blocks),
          T(blocks_of_64__take_85_percent_of_16_mib),
          T(random_sizes__are_live_in_70_percent_of_16_mib),
          T(exhaustion__is_null_and_passes), T(blocks__work_with_every_function),
          T(blocks__stay_whole_whatever_comes),
          T(large_blocks__of_any_size_and_alignment_lie_inside),
          T(reset__makes_all_of_it_free), T(visit_and_stats__say_what_is_live),
          T(budget__above_covers_heaps_below_but_not_the_memory),
          T(wishes__that_need_no_more_memory_are_granted),
          T(serial_heap__has_its_fast_paths_there), T(misuse__is_named),
          T(destroy__leaves_the_memory_to_its_owner),
          T(release__gives_the_memory_back_with_the_last_block),
          T(heaps__in_turn_need_no_more_records))
