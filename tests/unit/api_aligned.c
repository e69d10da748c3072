/* api_aligned.c - hak_aligned_alloc: all alignments, all kinds of sizes. */
#include "support.h"

#include <errno.h>

static const size_t sizes[40] = {
    0,    1,    2,     3,     7,     8,     9,     15,    16,     17,
    24,   31,   33,    48,    64,    65,    96,    100,   127,    129,
    200,  255,  256,   500,   1000,  1024,  1025,  2000,  3000,   4096,
    4097, 8000, 10000, 20000, 32768, 32769, 65536, 70000, 200000, 1048577};

static void check_one(size_t alignment, size_t size) {
  errno = TEST_ERRNO;
  unsigned char *block = hak_aligned_alloc(alignment, size);
  CHECK_MSG(block != NULL, "aligned_alloc(%zu, %zu) failed", alignment, size);
  CHECK_EQ(errno, TEST_ERRNO);
  CHECK_MSG((uintptr_t)block % alignment == 0, "aligned_alloc(%zu, %zu) gave %p",
            alignment, size, (void *)block);
  size_t usable = hak_usable_size(block);
  CHECK(usable >= size && usable > 0);
  test_fill_sparse(block, usable, alignment);
  CHECK(test_verify_sparse(block, usable, alignment));
  hak_free(block);
}

static void aligned_alloc__all_alignments_to_1m_by_forty_sizes(void **state) {
  (void)state;
  for (size_t alignment = 1; alignment <= MIB; alignment *= 2) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      check_one(alignment, sizes[i]);
    }
  }
}

static void aligned_alloc__huge_alignments_to_1g(void **state) {
  (void)state;
  static const size_t few[] = {0, 1, 100, 4096, 40000, 200000, 3000000, 40000000};
  for (size_t alignment = 2 * MIB; alignment <= HAK_ALIGNMENT_MAX; alignment *= 2) {
    for (size_t i = 0; i < TEST_COUNT(few); i++) {
      check_one(alignment, few[i]);
    }
  }
}

static void aligned_alloc__many_live_blocks_of_an_alignment_never_overlap(void **state) {
  (void)state;
  enum {
    BLOCKS = 40
  };
  unsigned char *blocks[BLOCKS];
  for (size_t alignment = 16; alignment <= 4 * MIB; alignment *= 2) {
    for (size_t i = 0; i < BLOCKS; i++) {
      blocks[i] = hak_aligned_alloc(alignment, sizes[i] < 70000 ? sizes[i] : 70000);
      CHECK(blocks[i] != NULL && (uintptr_t)blocks[i] % alignment == 0);
      test_fill_sparse(blocks[i], hak_usable_size(blocks[i]), i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
      CHECK(test_verify_sparse(blocks[i], hak_usable_size(blocks[i]), i));
      hak_free(blocks[i]);
    }
  }
}

static void aligned_alloc__zero_is_the_default_alignment(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    unsigned char *block = hak_aligned_alloc(0, sizes[i]);
    CHECK(block != NULL);
    CHECK(sizes[i] < 16 || (uintptr_t)block % 16 == 0);
    hak_free(block);
  }
}

static void aligned_alloc__what_is_no_power_of_two_is_invalid(void **state) {
  (void)state;
  const size_t wrong[] = {3,
                          5,
                          6,
                          7,
                          9,
                          12,
                          24,
                          48,
                          100,
                          1000,
                          4095,
                          4097,
                          (size_t)3 << 28,
                          ((size_t)1 << 30) - 1,
                          ((size_t)1 << 30) + 1,
                          SIZE_MAX,
                          SIZE_MAX - 1,
                          (size_t)PTRDIFF_MAX};
  for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
    size_t alignment = test_opaque(wrong[i]);
    errno = 0;
    CHECK(hak_aligned_alloc(alignment, 64) == NULL);
    CHECK_EQ(errno, EINVAL);
    errno = 0;
    CHECK(hak_aligned_realloc(NULL, alignment, 64) == NULL);
    CHECK_EQ(errno, EINVAL);
    errno = 0;
    CHECK(hak_allocx(NULL, 64, alignment, 0, NULL) == NULL);
    CHECK_EQ(errno, EINVAL);
    errno = 0;
    CHECK(hak_reallocx(NULL, NULL, 64, alignment, 0, NULL) == NULL);
    CHECK_EQ(errno, EINVAL);
  }
}

static void aligned_alloc__powers_of_two_beyond_the_maximum_are_invalid(void **state) {
  (void)state;
  for (unsigned bit = 31; bit < 64; bit++) {
    size_t alignment = test_opaque((size_t)1 << bit);
    errno = 0;
    CHECK(hak_aligned_alloc(alignment, 64) == NULL);
    CHECK_EQ(errno, EINVAL);
    errno = 0;
    CHECK(hak_allocx(NULL, 64, alignment, 0, NULL) == NULL);
    CHECK_EQ(errno, EINVAL);
  }
}

static void aligned_alloc__a_size_that_does_not_fit_with_the_alignment_fails(
    void **state) {
  (void)state;
  for (size_t alignment = 16; alignment <= HAK_ALIGNMENT_MAX; alignment *= 4) {
    const size_t absurd[] = {SIZE_MAX, SIZE_MAX - alignment + 1, (size_t)PTRDIFF_MAX,
                             (size_t)PTRDIFF_MAX - alignment + 1};
    for (size_t i = 0; i < TEST_COUNT(absurd); i++) {
      errno = 0;
      CHECK(hak_aligned_alloc(alignment, test_opaque(absurd[i])) == NULL);
      CHECK_EQ(errno, ENOMEM);
    }
  }
}

static void aligned_realloc__keeps_the_alignment_while_it_grows(void **state) {
  (void)state;
  for (size_t alignment = 32; alignment <= 4 * MIB; alignment *= 8) {
    unsigned char *block = NULL;
    size_t last = 0;
    for (size_t size = 10; size < 3000000; size = size * 3) {
      block = hak_aligned_realloc(block, alignment, size);
      CHECK(block != NULL && (uintptr_t)block % alignment == 0);
      CHECK(test_verify_sparse(block, last, alignment));
      test_fill_sparse(block, size, alignment);
      last = size;
    }
    hak_free(block);
  }
}

/* Their pages could move to any place that is aligned to 2 MiB. */
static void aligned_realloc__keeps_the_alignment_of_blocks_whose_pages_could_move(
    void **state) {
  (void)state;
  unsigned char *blocks[4];
  const size_t alignment = 64 * MIB;
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_aligned_alloc(alignment, 40 * MIB);
    CHECK(blocks[i] != NULL);
    test_fill_sparse(blocks[i], 40 * MIB, i);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_aligned_realloc(blocks[i], alignment, 90 * MIB);
    CHECK(blocks[i] != NULL && (uintptr_t)blocks[i] % alignment == 0);
    CHECK(test_verify_sparse_prefix(blocks[i], 40 * MIB, 40 * MIB, i));
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
}

static void aligned_alloc__blocks_are_found_by_ptr_info(void **state) {
  (void)state;
  for (size_t alignment = 16; alignment <= 16 * MIB; alignment *= 4) {
    unsigned char *block = hak_aligned_alloc(alignment, 1000);
    hak_block_t info = {.struct_size = sizeof info};
    CHECK_EQ(hak_ptr_info(block + 999, &info), 0);
    CHECK(info.address == block && !info.is_start);
    hak_free(block);
  }
}

TEST_MAIN(T(aligned_alloc__all_alignments_to_1m_by_forty_sizes),
          T(aligned_alloc__huge_alignments_to_1g),
          T(aligned_alloc__many_live_blocks_of_an_alignment_never_overlap),
          T(aligned_alloc__zero_is_the_default_alignment),
          T(aligned_alloc__what_is_no_power_of_two_is_invalid),
          T(aligned_alloc__powers_of_two_beyond_the_maximum_are_invalid),
          T(aligned_alloc__a_size_that_does_not_fit_with_the_alignment_fails),
          T(aligned_realloc__keeps_the_alignment_while_it_grows),
          T(aligned_realloc__keeps_the_alignment_of_blocks_whose_pages_could_move),
          T(aligned_alloc__blocks_are_found_by_ptr_info))
