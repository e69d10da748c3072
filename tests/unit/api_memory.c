/* api_memory.c - heaps in memory of the caller's: how much of it serves, at any base;
 * every function on their blocks; misuse; what is left when they go. */
#include "visits.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static _Alignas(4096) unsigned char g_buffer[4 << 20];

static hak_heap_t *make_in(void *memory, size_t size, hak_heap_t *parent) {
  return test_heap_in(memory, size, 0, parent);
}

static hak_heap_t *make(size_t size) {
  hak_heap_t *heap = make_in(g_buffer, size, NULL);
  CHECK(heap != NULL);
  return heap;
}

/* ---- creation ------------------------------------------------------------- */

static void refuse(void *memory, size_t size) {
  errno = 0;
  CHECK(make_in(memory, size, NULL) == NULL);
  CHECK_EQ(errno, EINVAL);
}

static void create__bad_memory_is_refused(void **state) {
  (void)state;
  refuse(NULL, MIB);
  refuse(g_buffer, 0);
  refuse(g_buffer, 256 * KIB - 1);
  refuse(g_buffer, test_opaque(SIZE_MAX));
  refuse((void *)test_opaque(SIZE_MAX - MIB), MIB);
  refuse((void *)test_opaque((size_t)1 << 60), MIB);
}

static void create__memory_of_another_heap_or_of_hakmem_is_refused(void **state) {
  (void)state;
  hak_heap_t *heap = make_in(g_buffer + MIB, MIB, NULL);
  CHECK(heap != NULL);
  refuse(g_buffer + MIB, MIB);
  refuse(g_buffer + MIB / 2, MIB);
  refuse(g_buffer + 2 * MIB - 16, MIB);
  refuse(g_buffer, sizeof g_buffer);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  static const size_t sizes[] = {600 << 10, 3 << 20, 40 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *block = hak_alloc(sizes[i]);
    CHECK(block != NULL);
    refuse(block, sizes[i]);
    hak_free(block);
  }
  heap = make_in(g_buffer, sizeof g_buffer, NULL);
  CHECK(heap != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* By a byte too, which neither heap would have used; of little memory and of much. */
static void create__memory_that_overlaps_another_heaps_is_refused(void **state) {
  (void)state;
  enum {
    SIZE = 300000,
    MUCH = 11 << 20,
    LEAST = 256 << 10
  };
  static char buffer[MUCH + 2 * SIZE];
  static const size_t sizes[] = {SIZE, MUCH - 5};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *memory = buffer + SIZE + 3;
    hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
    config.memory = memory;
    config.memory_size = sizes[i];
    hak_heap_t *heap = hak_heap_create(&config);
    CHECK(heap != NULL);
    for (size_t bytes = 1; bytes < 40; bytes++) {
      refuse(memory + sizes[i] - bytes, LEAST);
      refuse(memory + bytes - LEAST, LEAST);
    }
    config.memory = memory - LEAST;
    config.memory_size = LEAST;
    hak_heap_t *beside = hak_heap_create(&config);
    CHECK(beside != NULL && hak_heap_alloc(beside, 100) != NULL);
    CHECK_EQ(hak_heap_destroy(beside), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void create__an_older_and_shorter_config_still_works(void **state) {
  (void)state;
  hak_heap_config_t config = {.memory = g_buffer, .memory_size = 1};
  config.struct_size = offsetof(hak_heap_config_t, soft_limit);
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  void *block = hak_heap_alloc(heap, 100);
  CHECK(!test_is_within(block, g_buffer, sizeof g_buffer));
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- how much of it serves ------------------------------------------------- */

static const size_t shifts[] = {0, 1, 7, 16, 100, 4095, 65536, 70001, 1000001};

static void blocks_of_64__take_85_percent_of_1_mib_at_any_base(void **state) {
  (void)state;
  for (size_t s = 0; s < TEST_COUNT(shifts); s++) {
    unsigned char *memory = g_buffer + shifts[s];
    hak_heap_t *heap = make_in(memory, MIB, NULL);
    CHECK(heap != NULL);
    size_t count = 0;
    for (unsigned char *block; (block = hak_heap_alloc(heap, 64)) != NULL; count++) {
      CHECK(test_is_within(block, memory, MIB) &&
            test_is_within(block + 63, memory, MIB));
      CHECK_EQ((uintptr_t)block % 16, 0);
      memset(block, 0xff, 64);
    }
    CHECK_EQ(errno, ENOMEM);
    CHECK_MSG(count * 64 * 100 >= MIB * 85, "%zu blocks", count);
    CHECK_EQ(test_heap_stats(heap).live_blocks, count);
    CHECK_EQ(hak_check(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static const unsigned churns[] = {0, 2, 3, 10};

static size_t live_at_first_null(unsigned char *memory, size_t size, unsigned churn,
                                 uint64_t salt) {
  hak_heap_t *heap = make_in(memory, size, NULL);
  CHECK(heap != NULL);
  size_t live = test_live_at_first_null(heap, churn, salt);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  return live;
}

static void random_sizes__are_live_in_70_percent_of_1_mib(void **state) {
  (void)state;
  for (size_t i = 0; i < test_scale(200); i++) {
    size_t live = live_at_first_null(g_buffer + shifts[i % 9], MIB, churns[i % 4], i);
    CHECK_MSG(live * 100 >= MIB * 70, "%zu bytes, churn %u", live, churns[i % 4]);
  }
}

static void random_sizes__are_live_in_55_percent_of_256_kib(void **state) {
  (void)state;
  for (size_t i = 0; i < test_scale(400); i++) {
    size_t live =
        live_at_first_null(g_buffer + shifts[i % 9], 256 * KIB, churns[i % 4], i);
    CHECK_MSG(live * 100 >= 256 * KIB * 55, "%zu bytes, churn %u", live, churns[i % 4]);
  }
}

static void exhaustion__is_null_and_passes(void **state) {
  (void)state;
  hak_heap_t *heap = make(256 * KIB);
  errno = 0;
  CHECK(hak_heap_alloc(heap, 256 * KIB) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(hak_heap_calloc(heap, test_opaque(SIZE_MAX), 2) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(hak_heap_aligned_alloc(heap, 4096, 251 * KIB) == NULL && errno == ENOMEM);
  CHECK(hak_heap_aligned_alloc(heap, 3, 16) == NULL && errno == EINVAL);
  CHECK(hak_heap_alloc(heap, test_opaque(PTRDIFF_MAX)) == NULL);
  void *all = hak_heap_alloc(heap, 240 * KIB);
  CHECK(all != NULL && hak_heap_alloc(heap, 32 * KIB) == NULL);
  errno = TEST_ERRNO;
  hak_free(all);
  CHECK_EQ(errno, TEST_ERRNO);
  all = hak_heap_alloc(heap, 240 * KIB);
  CHECK(all != NULL);
  errno = 0;
  CHECK(hak_realloc(all, MIB) == NULL && errno == ENOMEM);
  CHECK_EQ(hak_usable_size(all), 240 * KIB);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- every function -------------------------------------------------------- */

static void blocks__work_with_every_function(void **state) {
  (void)state;
  hak_heap_t *heap = make(sizeof g_buffer);
  memset(g_buffer + 2 * MIB, 0xee, MIB); /* not zero below calloc */
  for (size_t size = 1; size < MIB / 4; size += size / 3 + 1) {
    unsigned char *block = hak_heap_calloc(heap, 1, size);
    CHECK(block != NULL && test_is_zero(block, size) && hak_heap_of(block) == heap);
    CHECK(hak_usable_size(block) >= size && hak_usable_size(block) < size + 16);
    test_fill(block, size, size);
    block = hak_realloc(block, size * 2);
    CHECK(block != NULL && hak_heap_of(block) == heap && test_verify(block, size, size));
    CHECK_EQ(hak_resize_in_place(block, size, size), hak_usable_size(block));
    CHECK(test_verify(block, size, size));
    block = hak_aligned_realloc(block, 4096, size + 100);
    CHECK((uintptr_t)block % 4096 == 0 && test_verify(block, size, size));
    hak_block_t info = {.struct_size = sizeof info};
    CHECK_EQ(hak_ptr_info(block + size - 1, &info), 0);
    CHECK(info.address == block && info.heap == heap && info.is_start == (size == 1));
    CHECK_EQ(info.size, hak_usable_size(block));
    hak_free_aligned_sized(block, 4096, size + 100);
    CHECK_EQ(hak_ptr_info(block, &info), ENOENT);
    block = hak_heap_aligned_alloc(heap, 64, size);
    CHECK((uintptr_t)block % 64 == 0);
    hak_free_sized(block, size);
    block = hak_allocx(heap, size, 256, HAK_ZERO | HAK_NO_GROW, NULL);
    CHECK((uintptr_t)block % 256 == 0 && test_is_zero(block, hak_usable_size(block)));
    size_t had = hak_usable_size(block);
    memset(block, 0xee, had);
    block = hak_reallocx(NULL, block, size * 2 + 16, 256, HAK_ZERO, NULL);
    CHECK(block[had - 1] == 0xee && test_is_zero(block + had, size * 2 + 16 - had));
    hak_heap_free(heap, block);
    hak_free(hak_heap_realloc(heap, NULL, size));
  }
  CHECK(hak_heap_alloc(heap, 0) != NULL);
  CHECK_EQ(hak_move_hint(hak_heap_alloc(heap, 8)), 0);
  CHECK_EQ(test_heap_stats(heap).live_blocks, 2);
  hak_collect(heap, SIZE_MAX, 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void no_move__stays_or_fails(void **state) {
  (void)state;
  hak_heap_t *heap = make(MIB);
  char *block = hak_heap_alloc(heap, 1000), *wall = hak_heap_alloc(heap, 16);
  CHECK(hak_reallocx(NULL, block, 2000, 0, HAK_NO_MOVE, NULL) == NULL);
  CHECK_EQ(hak_resize_in_place(block, 2000, 3000), 0);
  CHECK_EQ(hak_usable_size(block), 1008);
  hak_free(wall);
  CHECK(hak_reallocx(NULL, block, 2000, 0, HAK_NO_MOVE, NULL) == block);
  CHECK_EQ(hak_resize_in_place(block, 5000, 2 * MIB), hak_usable_size(block));
  CHECK(hak_usable_size(block) > 900 * KIB);
  CHECK(hak_realloc(block, 0) == block);
  CHECK_EQ(hak_usable_size(block), 16);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void visit_and_stats__say_what_is_live(void **state) {
  (void)state;
  uint64_t before = test_live_blocks();
  hak_heap_t *parent = hak_heap_create(NULL);
  hak_heap_t *heap = make_in(g_buffer, MIB, parent);
  void *blocks[50];
  for (size_t i = 0; i < 50; i++) blocks[i] = hak_heap_alloc(heap, 100 * i);
  for (size_t i = 0; i < 50; i += 2) hak_free(blocks[i]);
  CHECK(test_visit_live(heap, 25) > 0);
  hak_stats_t stats = test_heap_stats(heap);
  CHECK(stats.committed_bytes == stats.reserved_bytes && stats.committed_bytes == MIB);
  CHECK_EQ(test_heap_stats(parent).live_blocks, 25);
  CHECK_EQ(test_live_blocks(), before + 25);
  CHECK_EQ(hak_heap_destroy(parent), EBUSY);
  CHECK_EQ(hak_heap_reset(heap), 0);
  CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
  CHECK(hak_heap_alloc(heap, 900 * KIB) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_destroy(parent), 0);
  CHECK_EQ(test_live_blocks(), before);
}

/* ---- misuse --------------------------------------------------------------- */

static void misuse__is_named_at_the_call(void **state) {
  (void)state;
  hak_heap_t *heap = make(MIB);
  char *block = hak_heap_alloc(heap, 200), *next = hak_heap_alloc(heap, 200);
  test_reports_begin();
  hak_free(block + 16);
  test_reports_end_at(HAK_ERROR_INTERIOR_POINTER, block + 16);
  CHECK(g_reports.last.heap == heap);
  test_reports_begin();
  hak_free(block + 1);
  test_reports_end_at(HAK_ERROR_INTERIOR_POINTER, block + 1);
  test_reports_begin();
  hak_free_sized(block, 209);
  test_reports_end_at(HAK_ERROR_WRONG_SIZE, block);
  test_reports_begin();
  hak_heap_free(NULL, block);
  test_reports_end_at(HAK_ERROR_WRONG_HEAP, block);
  test_reports_begin();
  hak_free(g_buffer); /* the heap's own records */
  test_reports_end_at(HAK_ERROR_FOREIGN_POINTER, g_buffer);
  test_reports_begin();
  hak_free(g_buffer + MIB); /* behind the heap, in the same unit */
  test_reports_end_at(HAK_ERROR_FOREIGN_POINTER, g_buffer + MIB);
  hak_free(block);
  test_reports_begin();
  hak_free(block);
  test_reports_end_at(HAK_ERROR_DOUBLE_FREE, block);
  test_reports_begin();
  CHECK(hak_realloc(block, 10) == NULL);
  test_reports_end_at(HAK_ERROR_DOUBLE_FREE, block);
  hak_free(next);
  test_reports_begin();
  hak_free(next); /* part of a larger free chunk by now */
  test_reports_end_at(HAK_ERROR_DOUBLE_FREE, next);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void write_after_free__is_named_and_not_followed(void **state) {
  (void)state;
  hak_heap_t *heap = make(MIB);
  char *blocks[20];
  for (size_t i = 0; i < 20; i++) blocks[i] = hak_heap_alloc(heap, 112);
  for (size_t i = 0; i < 20; i += 2) hak_free(blocks[i]);
  memset(blocks[8], 0x41, 16);
  test_reports_begin();
  for (size_t i = 0; i < 20; i += 2) {
    blocks[i] = hak_heap_alloc(heap, 112);
    CHECK(blocks[i] != NULL);
  }
  hak_set_error_handler(NULL, NULL);
  CHECK_EQ(g_reports.count, 1);
  CHECK_EQ(g_reports.last.error, HAK_ERROR_CORRUPT_BLOCK);
  CHECK(g_reports.last.heap == heap);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void handle__of_a_heap_that_is_gone_is_diagnosed(void **state) {
  (void)state;
  hak_heap_t *heap = make(MIB);
  void *block = hak_heap_alloc(heap, 100);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  test_reports_of_gone(heap, block, make(MIB));
}

/* ---- where the memory is ---------------------------------------------------- */

enum {
  PIECES = 12,
  PIECE = 300001
};

static void heaps__side_by_side_in_one_buffer_know_their_blocks(void **state) {
  (void)state;
  hak_heap_t *heaps[PIECES] = {NULL};
  unsigned char *blocks[PIECES] = {NULL};
  test_rng_t rng = test_rng(test_seed(), 41);
  for (size_t n = 0; n < test_scale(2000); n++) {
    size_t i = (size_t)test_below(&rng, PIECES);
    unsigned char *memory = g_buffer + i * PIECE;
    if (heaps[i] == NULL) {
      heaps[i] = make_in(memory, PIECE, NULL);
      CHECK(heaps[i] != NULL);
      blocks[i] = hak_heap_alloc(heaps[i], 1 + (size_t)test_below(&rng, 200000));
      CHECK(test_is_within(blocks[i], memory, PIECE));
    } else {
      if (test_below(&rng, 2) == 0) hak_free(blocks[i]);
      CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
      heaps[i] = NULL;
    }
    for (size_t k = 0; k < PIECES; k++) {
      CHECK(hak_heap_of(blocks[k]) == heaps[k]);
    }
  }
  for (size_t i = 0; i < PIECES; i++) {
    if (heaps[i] != NULL) CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

static void *map(size_t size) {
  void *memory =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return memory;
}

static void destroy__leaves_the_memory_to_its_owner(void **state) {
  (void)state;
  enum {
    SIZE = 5 << 20
  };
  char *memory = map(SIZE);
  hak_heap_t *heap = make_in(memory + 3, SIZE - 3, NULL);
  void *block = NULL;
  for (size_t i = 0; i < 1000; i++) block = hak_heap_alloc(heap, 1000);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  /* Nobody looks at it any more. */
  CHECK_EQ(mprotect(memory, SIZE, PROT_NONE), 0);
  CHECK(hak_heap_of(block) == NULL);
  hak_block_t info = {.struct_size = sizeof info};
  CHECK_EQ(hak_ptr_info(memory + SIZE / 2, &info), ENOENT);
  CHECK_EQ(hak_check(NULL), 0);
  test_stats();
  hak_collect(NULL, SIZE_MAX, 0);
  hak_heap_t *other = make(MIB);
  CHECK(hak_heap_alloc(other, 1000) != NULL);
  CHECK_EQ(hak_heap_destroy(other), 0);
  CHECK_EQ(munmap(memory, SIZE), 0);
  hak_free(hak_alloc(100));
}

static void memory__may_be_a_mapping_of_huge_pages(void **state) {
  (void)state;
  enum {
    SIZE = 4 << 20
  };
  void *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
  char *mapped = NULL;
  if (memory == MAP_FAILED) { /* none are set aside here: ask for transparent ones */
    mapped = map(2 * SIZE);
    memory = (void *)(((uintptr_t)mapped + SIZE - 1) & ~(uintptr_t)(SIZE - 1));
    madvise(memory, SIZE, MADV_HUGEPAGE);
  }
  hak_heap_t *heap = make_in(memory, SIZE, NULL);
  CHECK(heap != NULL);
  size_t live = 0;
  for (unsigned char *block; (block = hak_heap_alloc(heap, 3000)) != NULL; live += 3000) {
    memset(block, 1, 3000);
  }
  CHECK(live >= SIZE / 100 * 95);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(mapped != NULL ? munmap(mapped, 2 * SIZE) : munmap(memory, SIZE), 0);
}

static void memory__behind_a_large_block_in_its_last_unit_is_known(void **state) {
  (void)state;
  char *large = hak_alloc(40 * MIB + 64 * KIB);
  CHECK(large != NULL);
  char *behind = large + hak_usable_size(large);
  void *memory = mmap(behind, MIB, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (memory != MAP_FAILED) { /* else others are there */
    hak_heap_t *heap = make_in(memory, MIB, NULL);
    CHECK(heap != NULL);
    void *block = hak_heap_alloc(heap, 5000);
    CHECK(hak_heap_of(block) == heap);
    hak_free(large);
    large = NULL;
    CHECK(hak_heap_of(block) == heap);
    hak_free(block);
    CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    munmap(memory, MIB);
  }
  hak_free(large);
}

static void release__gives_the_memory_back_with_the_last_block(void **state) {
  (void)state;
  hak_heap_t *parent = hak_heap_create(NULL);
  hak_heap_t *heap = make_in(g_buffer, MIB, parent);
  char *block = hak_heap_alloc(heap, 100), *last = hak_heap_alloc(heap, 100);
  CHECK_EQ(hak_heap_release(heap), 0);
  CHECK(hak_heap_of(block) == parent);
  CHECK_EQ(test_heap_stats(parent).live_blocks, 2);
  refuse(g_buffer, MIB);
  hak_free(block);
  last = hak_realloc(last, MIB); /* too large there: it moves to the parent */
  CHECK(last != NULL && hak_heap_of(last) == parent);
  CHECK(hak_heap_of(g_buffer + MIB / 2) == NULL);
  heap = make_in(g_buffer, MIB, parent);
  CHECK(heap != NULL && hak_heap_alloc(heap, 10) != NULL);
  CHECK_EQ(hak_heap_release(heap), 0);
  CHECK_EQ(hak_heap_destroy(parent), 0); /* and what was released below it */
  heap = make(MIB);
  CHECK_EQ(hak_heap_release(heap), 0); /* empty: at once */
  heap = make(MIB);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(create__bad_memory_is_refused),
          T(create__memory_of_another_heap_or_of_hakmem_is_refused),
          T(create__memory_that_overlaps_another_heaps_is_refused),
          T(create__an_older_and_shorter_config_still_works),
          T(blocks_of_64__take_85_percent_of_1_mib_at_any_base),
          T(random_sizes__are_live_in_70_percent_of_1_mib),
          T(random_sizes__are_live_in_55_percent_of_256_kib),
          T(exhaustion__is_null_and_passes), T(blocks__work_with_every_function),
          T(no_move__stays_or_fails), T(visit_and_stats__say_what_is_live),
          T(misuse__is_named_at_the_call), T(write_after_free__is_named_and_not_followed),
          T(handle__of_a_heap_that_is_gone_is_diagnosed),
          T(heaps__side_by_side_in_one_buffer_know_their_blocks),
          T(destroy__leaves_the_memory_to_its_owner),
          T(memory__may_be_a_mapping_of_huge_pages),
          T(memory__behind_a_large_block_in_its_last_unit_is_known),
          T(release__gives_the_memory_back_with_the_last_block))
