/* api_calloc.c - zeroed memory: hak_calloc and HAK_ZERO. */
#include "support.h"

#include "strict_os.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Every class once: each size that differs from its good size starts a new one. */
#define FOR_EACH_CLASS(size, limit) \
  for (size_t size = 1; size <= (limit); size = hak_good_size(size) + 1)

static void calloc__is_zero_in_every_class_after_fill_and_free(void **state) {
  (void)state;
  enum {
    BLOCKS = 64
  };
  static void *blocks[BLOCKS];
  FOR_EACH_CLASS(size, 1 * MIB) {
    size_t count = size > 32 * KIB ? 4 : BLOCKS;
    for (int round = 0; round < 2; round++) {
      for (size_t i = 0; i < count; i++) {
        blocks[i] = hak_calloc(1, size);
        CHECK(blocks[i] != NULL);
        CHECK_MSG(test_is_zero(blocks[i], size), "calloc of %zu is not zero", size);
      }
      for (size_t i = 0; i < count; i++) {
        memset(blocks[i], 0xee, hak_usable_size(blocks[i]));
        hak_free(blocks[i]);
      }
    }
  }
}

static void calloc__is_zero_after_plain_blocks_were_filled_and_freed(void **state) {
  (void)state;
  FOR_EACH_CLASS(size, 4 * MIB) {
    void *blocks[16];
    size_t count = size > 32 * KIB ? 2 : TEST_COUNT(blocks);
    for (size_t i = 0; i < count; i++) {
      blocks[i] = hak_alloc(size);
      memset(blocks[i], 0xee, hak_usable_size(blocks[i]));
    }
    for (size_t i = 0; i < count; i++) {
      hak_free(blocks[i]);
    }
    for (size_t i = 0; i < count; i++) {
      blocks[i] = hak_calloc(size, 1);
      CHECK_MSG(test_is_zero(blocks[i], size), "calloc of %zu is not zero", size);
    }
    for (size_t i = 0; i < count; i++) {
      hak_free(blocks[i]);
    }
  }
}

static void calloc__is_zero_after_memory_was_given_back_and_taken_again(void **state) {
  (void)state;
  for (int round = 0; round < 3; round++) {
    enum {
      BLOCKS = 40
    };
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
      blocks[i] = hak_alloc(100 * KIB * (1 + i % 20));
      memset(blocks[i], 0xcc, hak_usable_size(blocks[i]));
    }
    for (size_t i = 0; i < BLOCKS; i++) {
      hak_free(blocks[i]);
    }
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    for (size_t i = 0; i < BLOCKS; i++) {
      blocks[i] = hak_calloc(1, 90 * KIB * (1 + i % 20));
      CHECK(test_is_zero(blocks[i], 90 * KIB * (1 + i % 20)));
    }
    for (size_t i = 0; i < BLOCKS; i++) {
      hak_free(blocks[i]);
    }
  }
}

static void calloc__count_times_size_bytes_are_usable(void **state) {
  (void)state;
  for (size_t count = 1; count < 70; count += 3) {
    for (size_t size = 1; size < 3000; size = size * 2 + 1) {
      unsigned char *block = hak_calloc(count, size);
      CHECK(block != NULL && hak_usable_size(block) >= count * size);
      CHECK(test_is_zero(block, count * size));
      memset(block, 0x11, hak_usable_size(block));
      hak_free(block);
    }
  }
}

static void calloc__products_that_overflow_are_out_of_memory(void **state) {
  (void)state;
  static const size_t pairs[][2] = {
      {SIZE_MAX, 2},           {2, SIZE_MAX},
      {SIZE_MAX / 2 + 1, 2},   {(size_t)1 << 32, (size_t)1 << 32},
      {SIZE_MAX, SIZE_MAX},    {(size_t)1 << 33, ((size_t)1 << 31) + 1},
      {SIZE_MAX / 16 + 1, 16}, {3, SIZE_MAX / 3 + 1},
      {SIZE_MAX / 4, 4},       {(size_t)PTRDIFF_MAX / 2 + 1, 2}};
  for (size_t i = 0; i < TEST_COUNT(pairs); i++) {
    size_t count = test_opaque(pairs[i][0]), size = test_opaque(pairs[i][1]);
    errno = 0;
    CHECK(hak_calloc(count, size) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(hak_reallocarray(NULL, count, size) == NULL);
    CHECK_EQ(errno, ENOMEM);
  }
}

static void calloc__of_nothing_many_times_is_a_unique_block(void **state) {
  (void)state;
  void *a = hak_calloc(0, test_opaque(SIZE_MAX)),
       *b = hak_calloc(test_opaque(SIZE_MAX), 0), *c = hak_calloc(0, 0);
  CHECK(a != NULL && b != NULL && c != NULL && a != b && b != c && a != c);
  hak_free(a);
  hak_free(b);
  hak_free(c);
}

static void allocx__zero_reaches_to_the_usable_size(void **state) {
  (void)state;
  FOR_EACH_CLASS(size, 2 * MIB) {
    void *dirty = hak_alloc(size);
    size_t usable = hak_usable_size(dirty);
    memset(dirty, 0xdd, usable);
    hak_free(dirty);
    size_t asked = size > 9 ? size - 1 : size;
    unsigned char *block = hak_allocx(NULL, asked, 0, HAK_ZERO, NULL);
    CHECK(block != NULL);
    CHECK_MSG(test_is_zero(block, hak_usable_size(block)),
              "HAK_ZERO of %zu is not zero up to %zu", asked, hak_usable_size(block));
    hak_free(block);
  }
}

static void allocx__zero_holds_for_aligned_blocks(void **state) {
  (void)state;
  for (size_t alignment = 16; alignment <= 4 * MIB; alignment *= 4) {
    for (size_t size = 1; size <= 512 * KIB; size = size * 5 + 3) {
      unsigned char *block = hak_aligned_alloc(alignment, size);
      memset(block, 0xdd, hak_usable_size(block));
      hak_free(block);
      block = hak_allocx(NULL, size, alignment, HAK_ZERO, NULL);
      CHECK(block != NULL && (uintptr_t)block % alignment == 0);
      CHECK(test_is_zero(block, hak_usable_size(block)));
      hak_free(block);
    }
  }
}

static void reallocx__zero_clears_what_grew(void **state) {
  (void)state;
  static const size_t sizes[] = {10,    100,    1000,    3000,   20000,
                                 60000, 300000, 3 << 20, 9 << 20};
  /* Make sure that what is grown into was dirty. */
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *dirty[3];
    for (size_t k = 0; k < TEST_COUNT(dirty); k++) {
      dirty[k] = hak_alloc(sizes[i]);
      memset(dirty[k], 0x77, hak_usable_size(dirty[k]));
    }
    for (size_t k = 0; k < TEST_COUNT(dirty); k++) {
      hak_free(dirty[k]);
    }
  }
  unsigned char *block = hak_allocx(NULL, 1, 0, HAK_ZERO, NULL);
  size_t usable = hak_usable_size(block);
  test_fill(block, usable, 1);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    block = hak_reallocx(NULL, block, sizes[i], 0, HAK_ZERO, NULL);
    CHECK(block != NULL);
    size_t now = hak_usable_size(block);
    CHECK(now >= usable);
    CHECK(test_verify(block, usable, i + 1));
    CHECK_MSG(test_is_zero(block + usable, now - usable),
              "grown to %zu: bytes %zu to %zu are not zero", sizes[i], usable, now);
    usable = now;
    test_fill(block, usable, i + 2);
  }
  hak_free(block);
}

static void reallocx__zero_that_is_refused_changes_nothing(void **state) {
  (void)state;
  static _Alignas(4096) char small[256 * KIB];
  size_t size = 8 * MIB;
  char *large =
      mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(large != MAP_FAILED);
  hak_heap_t *heaps[] = {test_heap_in(small, sizeof small, 0, NULL),
                         test_heap_in(large, size, 0, NULL)};
  for (size_t i = 0; i < TEST_COUNT(heaps); i++) {
    char *block = hak_heap_alloc(heaps[i], 100 * KIB);
    CHECK(block != NULL);
    test_fill(block, 100 * KIB, i);
    CHECK(hak_reallocx(heaps[i], block, 16 * MIB, 0, HAK_ZERO, NULL) == NULL);
    CHECK(test_verify(block, 100 * KIB, i));
    CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
  }
  CHECK_EQ(munmap(large, size), 0);
}

static void calloc__is_zero_when_purged_pages_keep_their_contents(void **state) {
  (void)state;
  /* The library is started afresh over hooks whose purge does nothing. */
  static test_os_t os;
  test_os_open(&os, TEST_OS_PURGE_NOOP);
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(test_os_init(&os), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
  for (int round = 0; round < 3; round++) {
    FOR_EACH_CLASS(size, 1 * MIB) {
      void *block = hak_alloc(size);
      memset(block, 0xaa, hak_usable_size(block));
      hak_free(block);
    }
    test_os_advance_ms(&os, 5000);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    FOR_EACH_CLASS(size, 1 * MIB) {
      unsigned char *block = hak_calloc(1, size);
      CHECK_MSG(test_is_zero(block, size), "calloc of %zu is not zero", size);
      hak_free(block);
    }
  }
  CHECK_MSG(os.calls[TEST_OS_PURGE] > 0, "nothing was ever purged");
  CHECK_EQ(hak_shutdown(0), 0);
  test_os_close(&os);
  test_restart();
}

/* Pages of a block that are there. */
static size_t resident(const char *block, size_t size) {
  size_t pages = 0;
  FILE *maps = fopen("/proc/self/pagemap", "rb");
  CHECK(maps != NULL);
  CHECK_EQ(fseek(maps, (long)((uintptr_t)block / 4096 * 8), SEEK_SET), 0);
  for (size_t i = 0; i < size / 4096; i++) {
    uint64_t entry = 0;
    CHECK_EQ(fread(&entry, sizeof entry, 1, maps), 1);
    pages += entry >> 63;
  }
  fclose(maps);
  return pages;
}

static void calloc__of_sparse_arrays_touches_nothing(void **state) {
  (void)state;
  const size_t sizes[] = {16 * MIB, 64 * MIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *block = hak_alloc(sizes[i]);
    memset(block, 0xee, sizes[i]);
    hak_free(block);
    char *again = hak_calloc(1, sizes[i]);
    CHECK(again == block); /* its pages have old contents */
    /* Strict hooks look at what they are given. */
    if (!test_is_strict()) CHECK_EQ(resident(again, sizes[i]), 0);
    again[sizes[i] / 2] = 1;
    CHECK(again[0] == 0 && again[sizes[i] - 1] == 0);
    hak_free(again);
  }
}

static uint64_t g_looks;

/* In place of the C library's. */
int mincore(void *start, size_t size, unsigned char *pages) {
  g_looks++;
  return (int)syscall(SYS_mincore, start, size, pages);
}

static uint64_t purges(void) {
  hak_stats_t s = {.struct_size = sizeof s};
  CHECK_EQ(hak_stats_get(NULL, &s), 0);
  return s.os_purge;
}

/* Blocks that come again and again to slots with old contents: pages that nobody touched
 * do not come for the sake of being cleared, and the system is seldom asked for them. */
static void calloc__of_blocks_that_are_hardly_touched_leaves_them_so(void **state) {
  (void)state;
  if (test_is_strict()) return;
  enum {
    SLOTS = 16
  };
  /* Blocks within a huge page are cleared. */
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.huge_pages = HAK_HUGE_NEVER});
  test_rng_t rng = test_rng(test_seed(), 3);
  static char *blocks[SLOTS];
  uint64_t looks = 0;
  for (int i = 0; i < 2000; i++) {
    if (i == 1000) looks = g_looks;
    char **slot = &blocks[test_below(&rng, SLOTS)];
    hak_free(*slot);
    size_t size = 64 * KIB + test_below(&rng, MIB);
    *slot = hak_heap_calloc(heap, 1, size);
    size_t at = test_below(&rng, size);
    CHECK((*slot)[0] == 0 && (*slot)[at] == 0 && (*slot)[size - 1] == 0);
    (*slot)[at] = (*slot)[0] = 1;
  }
  size_t pages = 0;
  for (int i = 0; i < SLOTS; i++) {
    if (blocks[i] == NULL) continue;
    pages += resident(blocks[i], hak_usable_size(blocks[i]) & ~(size_t)4095);
    hak_free(blocks[i]);
    blocks[i] = NULL;
  }
  CHECK_MSG(pages <= SLOTS * 8, "%zu pages", pages);
  looks = g_looks - looks;
  CHECK_MSG(looks >= 60 && looks <= 300, "%u looks at 1,000 blocks", (unsigned)looks);
  hak_heap_destroy(heap);
}

/* A table that grows has what it had, and pages of the rest only where it is used; that
 * is zero where it lies in what a freed block has left, too. */
static void reallocx__zero_touches_little_of_what_is_to_be_zero(void **state) {
  (void)state;
  if (test_is_strict()) return;
  enum {
    HAD = 3 * MIB - 100,
    HAS = 48 * MIB
  };
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.huge_pages = HAK_HUGE_NEVER});
  for (unsigned full = 0; full < 2; full++) {
    unsigned char *block = hak_heap_alloc(heap, HAD);
    size_t had = hak_usable_size(block);
    test_fill(block, had, full);
    if (full) {
      void *before = hak_heap_alloc(heap, HAS);
      memset(before, 0x77, HAS);
      hak_free(before);
    }
    block = hak_reallocx(heap, block, HAS, 0, HAK_ZERO, NULL);
    size_t from = (had + 4095) & ~(size_t)4095, rest = HAS - from;
    size_t pages = resident((char *)block + from, rest);
    CHECK_MSG(full || pages <= 32, "%zu pages", pages);
    CHECK(test_verify(block, had, full));
    CHECK(test_is_zero(block + had, hak_usable_size(block) - had));
    hak_free(block);
  }
  hak_heap_destroy(heap);
}

/* The same where blocks before them were written to everywhere, so that pages were
 * cleared for the first of these. */
static void calloc__of_hardly_touched_blocks_after_full_ones_leaves_them_so(
    void **state) {
  (void)state;
  if (test_is_strict()) return;
  enum {
    SLOTS = 16,
    SIZE = 600 * KIB
  };
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.huge_pages = HAK_HUGE_NEVER});
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 86400000), 0);
  static char *blocks[SLOTS];
  for (int round = 0; round < 40; round++) {
    size_t pages = 0;
    for (int i = 0; i < SLOTS; i++) {
      CHECK((blocks[i] = hak_heap_calloc(heap, 1, SIZE)) != NULL);
      CHECK(test_is_zero(blocks[i], 4096));
      memset(blocks[i], 0xee, round < 4 ? SIZE : 100);
      pages += resident(blocks[i], SIZE & ~(size_t)4095);
    }
    for (int i = 0; i < SLOTS; i++) hak_free(blocks[i]);
    CHECK_MSG(round < 39 || pages <= SLOTS * 8, "%zu pages", pages);
  }
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 1), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 1000), 0);
  hak_heap_destroy(heap);
}

/* Pages of blocks that are written to are cleared, which costs a tenth. */
static void calloc__of_blocks_that_are_written_to_gives_no_pages_back(void **state) {
  (void)state;
  if (test_is_strict()) return;
  const size_t sizes[] = {100 * KIB, MIB, 3 * MIB, 12 * MIB, 50 * MIB};
  /* Nothing goes because it lies idle. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 86400000), 0);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    uint64_t before = 0;
    for (int round = 0; round < 20; round++) {
      if (round == 6) before = purges();
      char *block = hak_calloc(1, sizes[i]);
      CHECK(test_is_zero(block, sizes[i]));
      memset(block, 0xee, sizes[i]);
      hak_free(block);
    }
    CHECK_EQ(purges(), before);
  }
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 1), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 1000), 0);
}

/* After many blocks that hardly were. */
static void calloc__of_blocks_that_are_written_to_again_gives_no_pages_back(
    void **state) {
  (void)state;
  if (test_is_strict()) return;
  enum {
    SIZE = 700 * KIB
  };
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 86400000), 0);
  uint64_t before = 0;
  for (int round = 0; round < 100; round++) {
    if (round == 60) before = purges();
    char *block = hak_calloc(1, SIZE);
    CHECK(test_is_zero(block, round < 30 ? 1 : SIZE));
    memset(block, 0xee, round < 30 ? 1 : SIZE);
    hak_free(block);
    if (round == 30) CHECK_MSG(purges() > 10, "%u purges", (unsigned)purges());
  }
  CHECK_EQ(purges(), before);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 1), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 1000), 0);
}

TEST_MAIN(/* First, before others teach that blocks are written to everywhere. */
          T(reallocx__zero_touches_little_of_what_is_to_be_zero),
          T(calloc__is_zero_in_every_class_after_fill_and_free),
          T(calloc__of_sparse_arrays_touches_nothing),
          T(calloc__of_blocks_that_are_hardly_touched_leaves_them_so),
          T(calloc__of_hardly_touched_blocks_after_full_ones_leaves_them_so),
          T(calloc__of_blocks_that_are_written_to_gives_no_pages_back),
          T(calloc__of_blocks_that_are_written_to_again_gives_no_pages_back),
          T(calloc__is_zero_after_plain_blocks_were_filled_and_freed),
          T(calloc__is_zero_after_memory_was_given_back_and_taken_again),
          T(calloc__count_times_size_bytes_are_usable),
          T(calloc__products_that_overflow_are_out_of_memory),
          T(calloc__of_nothing_many_times_is_a_unique_block),
          T(allocx__zero_reaches_to_the_usable_size),
          T(allocx__zero_holds_for_aligned_blocks), T(reallocx__zero_clears_what_grew),
          T(reallocx__zero_that_is_refused_changes_nothing),
          T(calloc__is_zero_when_purged_pages_keep_their_contents))
