/* api_realloc.c - hak_realloc, hak_reallocarray and hak_resize_in_place. */
#include "support.h"

#include <errno.h>
#include <string.h>

/* Calls that were made of the system. */
static uint64_t os_calls(void) {
  hak_stats_t s = {.struct_size = sizeof s};
  CHECK_EQ(hak_stats_get(NULL, &s), 0);
  return s.os_reserve + s.os_release + s.os_commit + s.os_purge + s.os_remap +
         s.os_advise;
}

/* Sizes on both sides of every tier's border. */
static const size_t edges[] = {1,       8,       16,       17,      100,     128,
                               129,     1024,    1025,     4096,    32768,   32769,
                               65536,   65537,   100000,   262144,  1048576, 1048577,
                               2097152, 5000000, 33554432, 40000000};

static void realloc__keeps_contents_between_all_tiers(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(edges); i++) {
    for (size_t j = 0; j < TEST_COUNT(edges); j++) {
      size_t from = edges[i], to = edges[j], least = from < to ? from : to;
      unsigned char *block = hak_alloc(from);
      CHECK(block != NULL);
      test_fill_sparse(block, from, i);
      errno = TEST_ERRNO;
      unsigned char *moved = hak_realloc(block, to);
      CHECK(moved != NULL);
      CHECK_EQ(errno, TEST_ERRNO);
      CHECK_MSG(test_verify_sparse_prefix(moved, from, least, i), "%zu to %zu", from, to);
      size_t usable = hak_usable_size(moved);
      CHECK(usable >= to);
      test_fill_sparse(moved, usable, j);
      CHECK(test_verify_sparse(moved, usable, j));
      hak_free(moved);
    }
  }
}

static void realloc__grows_a_byte_at_a_time(void **state) {
  (void)state;
  unsigned char *block = NULL;
  for (size_t size = 1; size <= 70000; size += size < 3000 ? 1 : 211) {
    block = hak_realloc(block, size);
    CHECK(block != NULL);
    CHECK(size == 1 || block[0] == 0x5a);
    block[0] = 0x5a;
    block[size - 1] = 0x5a;
  }
  hak_free(block);
}

static void realloc__of_null_allocates(void **state) {
  (void)state;
  uint64_t blocks = test_live_blocks();
  void *a = hak_realloc(NULL, 100), *b = hak_reallocarray(NULL, 10, 10);
  void *c = hak_aligned_realloc(NULL, 256, 100),
       *d = hak_reallocx(NULL, NULL, 100, 0, 0, NULL);
  CHECK(a != NULL && b != NULL && c != NULL && d != NULL);
  CHECK_EQ((uintptr_t)c % 256, 0);
  CHECK_EQ(test_live_blocks(), blocks + 4);
  hak_free(a);
  hak_free(b);
  hak_free(c);
  hak_free(d);
}

static void realloc__to_zero_acts_as_one_and_never_frees(void **state) {
  (void)state;
  uint64_t blocks = test_live_blocks();
  static const size_t sizes[] = {1, 100, 5000, 100000, 3 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    unsigned char *block = hak_alloc(sizes[i]);
    block[0] = 0x42;
    block = hak_realloc(block, test_opaque(0));
    CHECK(block != NULL);
    CHECK_EQ(block[0], 0x42);
    CHECK_EQ(test_live_blocks(), blocks + 1);
    block = hak_reallocarray(block, test_opaque(0), 8);
    CHECK(block != NULL);
    CHECK_EQ(block[0], 0x42);
    block = hak_reallocx(NULL, block, test_opaque(0), 0, 0, NULL);
    CHECK(block != NULL);
    CHECK_EQ(block[0], 0x42);
    CHECK_EQ(test_live_blocks(), blocks + 1);
    hak_free(block);
  }
  void *unique = hak_realloc(NULL, 0);
  CHECK(unique != NULL);
  hak_free(unique);
}

static void realloc__failure_leaves_the_old_block_untouched(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(edges); i++) {
    unsigned char *block = hak_alloc(edges[i]);
    size_t usable = hak_usable_size(block);
    test_fill_sparse(block, usable, i);
    const size_t absurd[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX,
                             (size_t)PTRDIFF_MAX - 4096, (size_t)1 << 50};
    for (size_t k = 0; k < TEST_COUNT(absurd); k++) {
      size_t size = test_opaque(absurd[k]);
      errno = 0;
      CHECK(hak_realloc(block, size) == NULL);
      CHECK_EQ(errno, ENOMEM);
      errno = 0;
      CHECK(hak_aligned_realloc(block, 4096, size) == NULL);
      CHECK_EQ(errno, ENOMEM);
      errno = 0;
      CHECK(hak_reallocx(NULL, block, size, 0, 0, NULL) == NULL);
      CHECK_EQ(errno, ENOMEM);
    }
    errno = 0;
    CHECK(hak_reallocarray(block, test_opaque(SIZE_MAX / 2), 3) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0; /* as a product that wraps it would be 2 */
    CHECK(hak_reallocarray(block, test_opaque(SIZE_MAX / 2 + 2), 2) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(hak_aligned_realloc(block, 48, 100) == NULL);
    CHECK_EQ(errno, EINVAL);
    errno = 0;
    CHECK(hak_reallocx(NULL, block, 100, 0, 0x80000000u, NULL) == NULL);
    CHECK_EQ(errno, EINVAL);
    CHECK_EQ(hak_usable_size(block), usable);
    CHECK(test_verify_sparse(block, usable, i));
    hak_free(block);
  }
}

static void realloc__within_the_usable_size_stays_in_place(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(edges); i++) {
    unsigned char *block = hak_alloc(edges[i]);
    size_t usable = hak_usable_size(block);
    CHECK(hak_realloc(block, usable) == block);
    CHECK(hak_realloc(block, edges[i]) == block);
    hak_free(block);
  }
}

static void realloc__of_an_aligned_block_keeps_contents(void **state) {
  (void)state;
  for (size_t alignment = 16; alignment <= 8 * MIB; alignment *= 2) {
    for (size_t size = 24; size <= 300000; size = size * 7) {
      unsigned char *block = hak_aligned_alloc(alignment, size);
      CHECK(block != NULL);
      test_fill_sparse(block, size, size);
      block = hak_realloc(block, size * 3);
      CHECK(block != NULL && test_verify_sparse(block, size, size));
      block = hak_aligned_realloc(block, alignment, size * 4);
      CHECK(block != NULL && (uintptr_t)block % alignment == 0);
      CHECK(test_verify_sparse(block, size, size));
      block = hak_aligned_realloc(block, alignment, size / 2);
      CHECK(block != NULL && (uintptr_t)block % alignment == 0);
      CHECK(test_verify_sparse_prefix(block, size, size / 2, size));
      hak_free(block);
    }
  }
}

static void realloc__shrinking_a_large_block_gives_its_bytes_back(void **state) {
  (void)state;
  static const size_t sizes[] = {1 << 20, 8 << 20, 64 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    uint64_t bytes = test_live_bytes();
    unsigned char *block = hak_alloc(sizes[i]);
    block = hak_realloc(block, 100);
    CHECK(block != NULL);
    /* In place or moved: a megabyte may not stay behind for a hundred bytes. */
    CHECK(test_live_bytes() - bytes <= sizes[i] / 2);
    hak_free(block);
    CHECK_EQ(test_live_bytes(), bytes);
  }
}

static void realloc__of_huge_blocks_moves_pages_and_keeps_every_byte(void **state) {
  (void)state;
  size_t size = 5 * MIB;
  unsigned char *block = hak_alloc(size);
  test_fill(block, size, 1);
  while (size < 160 * MIB) {
    size_t next = size * 2 + 12345;
    block = hak_realloc(block, next);
    CHECK(block != NULL);
    CHECK(test_verify(block, size, 1));
    test_fill(block, next, 1);
    size = next;
  }
  while (size > 3 * MIB) {
    size /= 3;
    block = hak_realloc(block, size);
    CHECK(block != NULL);
    CHECK(test_verify(block, size, 1));
  }
  hak_free(block);
}

/* What earlier ones left behind is used again, not kept beside what the next takes. */
static void realloc__of_one_huge_block_after_another_needs_the_memory_of_one(
    void **state) {
  (void)state;
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  uint64_t start = test_stats().committed_bytes;
  for (int round = 0; round < 6; round++) {
    size_t size = 64;
    unsigned char *block = hak_alloc(size);
    test_fill(block, size, 7);
    while (size < 32 * MIB) {
      block = hak_realloc(block, 2 * size);
      CHECK(block != NULL);
      CHECK(test_verify(block, 64, 7));
      size *= 2;
      block[size - 1] = (unsigned char)round;
    }
    hak_free(block);
  }
  uint64_t more = test_stats().committed_bytes - start;
  CHECK_MSG(more <= 80 * MIB, "%llu bytes more", (unsigned long long)more);
}

/* A buffer that grows by doubling, from few bytes to many, and goes, again and again:
 * what was given back when it went is needed, and stays from then on. */
static void realloc__of_buffers_that_grow_in_rounds_costs_no_call_after_some(
    void **state) {
  (void)state;
  if (test_is_strict()) return; /* those hooks look at what they are given */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 86400000), 0); /* nothing is old */
  uint64_t calls = 0;
  for (size_t part = 1; part <= 2; part++) { /* by doubling, or by a half */
    for (int round = 0; round < 12; round++) {
      if (round == 6) calls = os_calls();
      size_t size = 64;
      unsigned char *block = hak_alloc(size);
      while (size < 32 * MIB) {
        size_t next = size + size / part;
        block = hak_realloc(block, next);
        CHECK(block != NULL);
        memset(block + size, round, next - size);
        size = next;
      }
      CHECK(block[16 * MIB] == round && block[64] == round);
      hak_free(block);
    }
    CHECK_EQ(os_calls(), calls);
  }
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 1000), 0);
}

static void resize_in_place__never_moves_and_says_the_new_size(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(edges); i++) {
    for (size_t j = 0; j < TEST_COUNT(edges); j++) {
      unsigned char *block = hak_alloc(edges[i]);
      size_t before = hak_usable_size(block),
             least = edges[i] < edges[j] ? edges[i] : edges[j];
      test_fill_sparse(block, edges[i], 3);
      size_t usable = hak_resize_in_place(block, edges[j], edges[j] + edges[j] / 2);
      CHECK(usable == 0 || usable >= edges[j]);
      CHECK_EQ(hak_usable_size(block), usable == 0 ? before : usable);
      CHECK(
          test_verify_sparse_prefix(block, edges[i], usable == 0 ? edges[i] : least, 3));
      if (usable != 0) {
        test_fill_sparse(block, usable, 4);
        CHECK(test_verify_sparse(block, usable, 4));
      }
      hak_free(block);
    }
  }
  CHECK_EQ(hak_check(NULL), 0);
}

static void resize_in_place__grows_again_after_it_shrank(void **state) {
  (void)state;
  /* Pages that went when it shrank must be there again. */
  static const size_t sizes[] = {500000, 6 << 20, 40 << 20, 100 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    unsigned char *block = hak_alloc(sizes[i]);
    for (size_t part = 16; part >= 1; part /= 2) {
      size_t usable = hak_resize_in_place(block, sizes[i] / part, sizes[i] / part);
      if (usable != 0) {
        test_fill_sparse(block, usable, part);
        CHECK(test_verify_sparse(block, usable, part));
      }
    }
    hak_free(block);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

/* What was never written is what lay there before, and is moved along: also what full
 * checks know a block by that was freed at the very address to which it comes. */
static void realloc__of_what_was_never_written_is_no_free(void **state) {
  (void)state;
  if (TEST_ASAN) return; /* it looks at what was freed */
  for (size_t size = 100; size <= 30000; size *= 2) {
    uint64_t *freed = hak_alloc(size);
    hak_free(freed);
    uint64_t *block = hak_alloc(200000);
    CHECK(block != NULL);
    block[1] = ((volatile uint64_t *)freed)[1];
    uint64_t *moved = hak_realloc(block, size);
    CHECK(moved != NULL);
    CHECK_EQ(hak_usable_size(moved), hak_good_size(size));
    hak_free(moved);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

static void resize_in_place__to_what_the_block_has_succeeds(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(edges); i++) {
    unsigned char *block = hak_alloc(edges[i]);
    size_t usable = hak_usable_size(block);
    CHECK(hak_resize_in_place(block, usable, usable) == usable);
    CHECK(hak_resize_in_place(block, edges[i], usable) == usable);
    hak_free(block);
  }
}

static void resize_in_place__of_absurd_sizes_changes_nothing(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(edges); i++) {
    unsigned char *block = hak_alloc(edges[i]);
    size_t usable = hak_usable_size(block);
    CHECK_EQ(hak_resize_in_place(block, test_opaque(SIZE_MAX), SIZE_MAX), 0);
    CHECK_EQ(hak_resize_in_place(block, test_opaque((size_t)PTRDIFF_MAX + 1), SIZE_MAX),
             0);
    CHECK_EQ(hak_resize_in_place(block, (size_t)1 << 46, (size_t)1 << 46), 0);
    CHECK_EQ(hak_usable_size(block), usable);
    hak_free(block);
  }
  CHECK_EQ(hak_resize_in_place(NULL, 1, 1), 0);
}

static void resize_in_place__serves_at_least_where_want_is_absurd(void **state) {
  (void)state;
  unsigned char *block = hak_alloc(100);
  size_t usable = hak_resize_in_place(block, 100, SIZE_MAX);
  CHECK(usable >= 100);
  CHECK_EQ(hak_usable_size(block), usable);
  hak_free(block);
}

TEST_MAIN(T(realloc__keeps_contents_between_all_tiers),
          T(realloc__grows_a_byte_at_a_time), T(realloc__of_null_allocates),
          T(realloc__to_zero_acts_as_one_and_never_frees),
          T(realloc__failure_leaves_the_old_block_untouched),
          T(realloc__within_the_usable_size_stays_in_place),
          T(realloc__of_an_aligned_block_keeps_contents),
          T(realloc__shrinking_a_large_block_gives_its_bytes_back),
          T(realloc__of_huge_blocks_moves_pages_and_keeps_every_byte),
          T(realloc__of_one_huge_block_after_another_needs_the_memory_of_one),
          T(realloc__of_buffers_that_grow_in_rounds_costs_no_call_after_some),
          T(realloc__of_what_was_never_written_is_no_free),
          T(resize_in_place__never_moves_and_says_the_new_size),
          T(resize_in_place__grows_again_after_it_shrank),
          T(resize_in_place__to_what_the_block_has_succeeds),
          T(resize_in_place__of_absurd_sizes_changes_nothing),
          T(resize_in_place__serves_at_least_where_want_is_absurd))
