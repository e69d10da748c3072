/* api_extended.c - hak_allocx and hak_reallocx: flags, heap parameter, no growth,
 * no moves. */
#include "support.h"

#include <errno.h>
#include <string.h>

static void allocx__unknown_flags_are_invalid(void **state) {
  (void)state;
  const unsigned wrong[] = {0x10u, 0x20u, 0x100u, 0x80000000u, HAK_ZERO | 0x40u, ~0u};
  for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
    errno = 0;
    CHECK(hak_allocx(NULL, 64, 0, wrong[i], NULL) == NULL);
    CHECK_EQ(errno, EINVAL);
    errno = 0;
    CHECK(hak_reallocx(NULL, NULL, 64, 0, wrong[i], NULL) == NULL);
    CHECK_EQ(errno, EINVAL);
  }
}

static void allocx__no_move_is_for_reallocx_only(void **state) {
  (void)state;
  errno = 0;
  CHECK(hak_allocx(NULL, 64, 0, HAK_NO_MOVE, NULL) == NULL);
  CHECK_EQ(errno, EINVAL);
}

static void allocx__takes_null_or_the_default_heap(void **state) {
  (void)state;
  void *a = hak_allocx(NULL, 64, 0, 0, NULL);
  void *b = hak_allocx(hak_heap_default(), 64, 0, 0, NULL);
  CHECK(a != NULL && b != NULL);
  CHECK(hak_heap_of(a) == hak_heap_default());
  CHECK(hak_heap_of(b) == hak_heap_default());
  b = hak_reallocx(hak_heap_default(), b, 6400, 0, 0, NULL);
  CHECK(b != NULL && hak_heap_of(b) == hak_heap_default());
  hak_free(a);
  hak_free(b);
}

static void allocx__every_combination_of_flags_and_alignments_works(void **state) {
  (void)state;
  static const unsigned combinations[] = {0,
                                          HAK_ZERO,
                                          HAK_NO_GROW,
                                          HAK_ZERO | HAK_NO_GROW,
                                          HAK_NO_CACHE,
                                          HAK_NO_CACHE | HAK_ZERO,
                                          HAK_NO_CACHE | HAK_NO_GROW};
  for (size_t i = 0; i < TEST_COUNT(combinations); i++) {
    unsigned flags = combinations[i];
    for (size_t alignment = 0; alignment <= 65536;
         alignment = alignment ? alignment * 2 : 1) {
      for (size_t size = 0; size <= 100000; size = size * 4 + 1) {
        /* So that there is something to give without growth. */
        hak_free(hak_aligned_alloc(alignment, size));
        unsigned char *block = hak_allocx(NULL, size, alignment, flags, NULL);
        if (block == NULL) {
          CHECK((flags & HAK_NO_GROW) != 0);
          continue;
        }
        CHECK(alignment == 0 || (uintptr_t)block % alignment == 0);
        CHECK((flags & HAK_ZERO) == 0 || test_is_zero(block, hak_usable_size(block)));
        memset(block, 0x31, hak_usable_size(block));
        hak_free(block);
      }
    }
  }
}

static void allocx__no_grow_never_calls_the_system(void **state) {
  (void)state;
  static void *blocks[20000];
  size_t count = 0;
  hak_stats_t before = test_stats();
  bool refused = false;
  while (count < TEST_COUNT(blocks)) {
    errno = TEST_ERRNO;
    void *block = hak_allocx(NULL, 64 * KIB, 0, HAK_NO_GROW, NULL);
    if (block == NULL) {
      CHECK_EQ(errno, ENOMEM);
      refused = true;
      break;
    }
    CHECK_EQ(errno, TEST_ERRNO);
    /* Not written to: over a gigabyte may be reserved already. */
    blocks[count++] = block;
  }
  hak_stats_t after = test_stats();
  CHECK_EQ(after.os_reserve, before.os_reserve);
  CHECK_EQ(after.os_commit, before.os_commit);
  CHECK_EQ(after.os_remap, before.os_remap);
  CHECK_MSG(refused, "%zu blocks of 64 KiB without growth", count);
  /* The same without the flag works. */
  void *block = hak_allocx(NULL, 64 * KIB, 0, 0, NULL);
  CHECK(block != NULL);
  hak_free(block);
  for (size_t i = 0; i < count; i++) {
    hak_free(blocks[i]);
  }
}

static void allocx__no_grow_serves_from_what_is_there(void **state) {
  (void)state;
  /* A block was just freed, so one of its size is there. */
  for (size_t size = 16; size <= 32 * KIB; size *= 2) {
    hak_free(hak_alloc(size));
    void *block = hak_allocx(NULL, size, 0, HAK_NO_GROW, NULL);
    CHECK_MSG(block != NULL, "no block of %zu although one was freed", size);
    hak_free(block);
  }
}

static void reallocx__no_grow_leaves_the_old_block_when_it_refuses(void **state) {
  (void)state;
  unsigned char *block = hak_alloc(1000);
  test_fill(block, 1000, 5);
  errno = 0;
  void *grown = hak_reallocx(NULL, block, 900 * MIB, 0, HAK_NO_GROW, NULL);
  CHECK(grown == NULL);
  CHECK_EQ(errno, ENOMEM);
  CHECK(test_verify(block, 1000, 5));
  hak_free(block);
}

static void reallocx__no_move_keeps_the_address_or_refuses(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 7);
  unsigned refused = 0, grown = 0;
  for (size_t i = 0; i < test_scale(20000); i++) {
    size_t from = test_random_size(&rng, MIB), to = test_random_size(&rng, MIB);
    unsigned char *block = hak_alloc(from);
    test_fill_sparse(block, from, i);
    size_t usable = hak_usable_size(block);
    errno = TEST_ERRNO;
    void *same = hak_reallocx(NULL, block, to, 0, HAK_NO_MOVE, NULL);
    if (same == NULL) {
      CHECK_EQ(errno, ENOMEM);
      CHECK(to > usable || from > to);
      CHECK_EQ(hak_usable_size(block), usable);
      CHECK(test_verify_sparse(block, from, i));
      refused++;
    } else {
      CHECK(same == block);
      CHECK_EQ(errno, TEST_ERRNO);
      CHECK(hak_usable_size(block) >= to);
      CHECK(test_verify_sparse_prefix(block, from, from < to ? from : to, i));
      grown += to > from;
    }
    hak_free(block);
  }
  CHECK_MSG(refused > 0 && grown > 0, "%u refused, %u grown", refused, grown);
}

static void reallocx__no_move_within_the_usable_size_succeeds(void **state) {
  (void)state;
  for (size_t size = 1; size <= 4 * MIB; size = size * 3) {
    void *block = hak_alloc(size);
    size_t usable = hak_usable_size(block);
    CHECK(hak_reallocx(NULL, block, usable, 0, HAK_NO_MOVE, NULL) == block);
    CHECK(hak_reallocx(NULL, block, size, 0, HAK_NO_MOVE, NULL) == block);
    hak_free(block);
  }
}

static void reallocx__no_move_with_an_alignment_the_block_lacks_refuses(void **state) {
  (void)state;
  void *blocks[8];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc(48);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    if ((uintptr_t)blocks[i] % 4096 != 0) {
      errno = 0;
      CHECK(hak_reallocx(NULL, blocks[i], 48, 4096, HAK_NO_MOVE, NULL) == NULL);
      CHECK_EQ(errno, ENOMEM);
    }
    hak_free(blocks[i]);
  }
}

static void reallocx__gives_the_alignment_asked_for(void **state) {
  (void)state;
  for (size_t alignment = 32; alignment <= 2 * MIB; alignment *= 4) {
    for (size_t size = 10; size < 500000; size *= 9) {
      unsigned char *block = hak_alloc(size);
      test_fill_sparse(block, size, 9);
      block = hak_reallocx(NULL, block, size * 2, alignment, 0, NULL);
      CHECK(block != NULL && (uintptr_t)block % alignment == 0);
      CHECK(test_verify_sparse(block, size, 9));
      hak_free(block);
    }
  }
}

TEST_MAIN(T(allocx__unknown_flags_are_invalid), T(allocx__no_move_is_for_reallocx_only),
          T(allocx__takes_null_or_the_default_heap),
          T(allocx__every_combination_of_flags_and_alignments_works),
          T(allocx__no_grow_never_calls_the_system),
          T(allocx__no_grow_serves_from_what_is_there),
          T(reallocx__no_grow_leaves_the_old_block_when_it_refuses),
          T(reallocx__no_move_keeps_the_address_or_refuses),
          T(reallocx__no_move_within_the_usable_size_succeeds),
          T(reallocx__no_move_with_an_alignment_the_block_lacks_refuses),
          T(reallocx__gives_the_alignment_asked_for))
