/* api_core.c - hak_alloc, hak_free, sizes and alignment of plain blocks. */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t least_alignment(size_t size) {
  size_t alignment = 1;
  while (alignment * 2 <= size && alignment < 16) {
    alignment *= 2;
  }
  return alignment;
}

static void alloc__every_size_to_40k_has_all_its_bytes_writable(void **state) {
  (void)state;
  for (size_t size = 0; size <= 40 * KIB; size += size < 2048 ? 1 : 13) {
    unsigned char *block = hak_alloc(size);
    CHECK(block != NULL);
    size_t usable = hak_usable_size(block);
    CHECK_MSG(usable >= size && usable > 0, "%zu asked, %zu usable", size, usable);
    test_fill(block, usable, size);
    CHECK(test_verify(block, usable, size));
    hak_free(block);
  }
}

static void alloc__large_and_huge_sizes_have_all_their_bytes_writable(void **state) {
  (void)state;
  static const size_t deltas[] = {0, 1, 4095, 4096, 65535};
  for (size_t base = 32 * KIB; base <= 128 * MIB; base *= 2) {
    for (size_t d = 0; d < TEST_COUNT(deltas); d++) {
      unsigned char *block = hak_alloc(base + deltas[d]);
      CHECK(block != NULL);
      size_t usable = hak_usable_size(block);
      CHECK(usable >= base + deltas[d]);
      test_fill_sparse(block, usable, base);
      CHECK(test_verify_sparse(block, usable, base));
      hak_free(block);
    }
  }
}

static void alloc__small_blocks_are_aligned_to_the_power_of_two_that_fits(void **state) {
  (void)state;
  void *blocks[64];
  for (size_t size = 1; size <= 600; size++) {
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      blocks[i] = hak_alloc(size);
      CHECK_EQ((uintptr_t)blocks[i] % least_alignment(size), 0);
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      hak_free(blocks[i]);
    }
  }
}

static void alloc__blocks_of_power_of_two_size_are_aligned_to_it_up_to_4k(void **state) {
  (void)state;
  void *blocks[128];
  for (size_t size = 1; size <= 4096; size *= 2) {
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      blocks[i] = hak_alloc(size);
      CHECK_EQ((uintptr_t)blocks[i] % size, 0);
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      hak_free(blocks[i]);
    }
  }
}

static void alloc__live_blocks_of_each_class_never_overlap(void **state) {
  (void)state;
  enum {
    BLOCKS = 300
  };
  static unsigned char *blocks[BLOCKS];
  for (size_t size = 1; size <= 64 * KIB; size = hak_good_size(size) + 1) {
    for (size_t i = 0; i < BLOCKS; i++) {
      blocks[i] = hak_alloc(size);
      CHECK(blocks[i] != NULL);
      test_fill(blocks[i], hak_usable_size(blocks[i]), i);
    }
    /* Free every third and take them again: reused blocks count as well. */
    for (size_t i = 0; i < BLOCKS; i += 3) {
      hak_free(blocks[i]);
    }
    for (size_t i = 0; i < BLOCKS; i += 3) {
      blocks[i] = hak_alloc(size);
      CHECK(blocks[i] != NULL);
      test_fill(blocks[i], hak_usable_size(blocks[i]), i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
      CHECK_MSG(test_verify(blocks[i], hak_usable_size(blocks[i]), i),
                "block %zu of size %zu was overwritten", i, size);
      hak_free(blocks[i]);
    }
  }
}

static void alloc__size_zero_gives_unique_blocks(void **state) {
  (void)state;
  void *a = hak_alloc(0), *b = hak_alloc(0), *c = hak_calloc(0, 8), *d = hak_calloc(8, 0);
  void *e = hak_aligned_alloc(64, 0), *f = hak_allocx(NULL, 0, 0, 0, NULL);
  void *all[] = {a, b, c, d, e, f};
  for (size_t i = 0; i < TEST_COUNT(all); i++) {
    CHECK(all[i] != NULL);
    for (size_t j = 0; j < i; j++) {
      CHECK(all[i] != all[j]);
    }
  }
  CHECK_EQ((uintptr_t)e % 64, 0);
  for (size_t i = 0; i < TEST_COUNT(all); i++) {
    hak_free(all[i]);
  }
}

static void alloc__size_zero_shares_its_bin_with_the_smallest_class(void **state) {
  (void)state;
  static void *blocks[2000];
  uint64_t live = test_live_blocks();
  for (int round = 0; round < 20; round++) {
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      blocks[i] = hak_alloc(i % 3 == 0 ? 0 : 8);
      CHECK(blocks[i] != NULL);
      memset(blocks[i], 0x7f, 8);
    }
    CHECK_EQ(test_live_blocks(), live + TEST_COUNT(blocks));
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      hak_free(blocks[i]);
    }
    CHECK_EQ(test_live_blocks(), live);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

static void alloc__sizes_over_ptrdiff_max_are_out_of_memory_at_once(void **state) {
  (void)state;
  const size_t sizes[] = {(size_t)PTRDIFF_MAX + 1,
                          (size_t)PTRDIFF_MAX + 4096,
                          SIZE_MAX / 2 + 2,
                          SIZE_MAX - 65536,
                          SIZE_MAX - 4095,
                          SIZE_MAX - 15,
                          SIZE_MAX - 1,
                          SIZE_MAX};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    size_t size = test_opaque(sizes[i]);
    uint64_t reserves = test_stats().os_reserve;
    errno = 0;
    CHECK(hak_alloc(size) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(hak_calloc(1, size) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(hak_aligned_alloc(64, size) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(hak_aligned_alloc(GIB, size) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(hak_allocx(NULL, size, 0, HAK_ZERO, NULL) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(hak_alloc_at(size, NULL) == NULL);
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(test_stats().os_reserve, reserves);
    CHECK_EQ(hak_good_size(size), 0);
  }
  CHECK_EQ(hak_good_size(PTRDIFF_MAX), 0); /* whole pages would be more */
}

static void alloc__sizes_no_machine_has_are_out_of_memory(void **state) {
  (void)state;
  const size_t sizes[] = {
      (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX - 1, (size_t)PTRDIFF_MAX - 65536,
      (size_t)1 << 62,     (size_t)1 << 50,         (size_t)1 << 48};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    size_t size = test_opaque(sizes[i]);
    errno = 0;
    CHECK(hak_alloc(size) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(hak_aligned_alloc(GIB, size) == NULL);
    CHECK_EQ(errno, ENOMEM);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

static void alloc__success_and_free_leave_errno_alone(void **state) {
  (void)state;
  static const size_t sizes[] = {0,    1,     16,     100,     1024,
                                 5000, 32768, 100000, 3 << 20, 80 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    errno = TEST_ERRNO;
    void *block = hak_alloc(sizes[i]);
    CHECK(block != NULL);
    CHECK_EQ(errno, TEST_ERRNO);
    hak_free(block);
    CHECK_EQ(errno, TEST_ERRNO);
    block = hak_calloc(1, sizes[i]);
    CHECK_EQ(errno, TEST_ERRNO);
    hak_free_sized(block, sizes[i]);
    CHECK_EQ(errno, TEST_ERRNO);
  }
  hak_free(NULL);
  CHECK_EQ(errno, TEST_ERRNO);
}

static void free__null_is_nothing(void **state) {
  (void)state;
  uint64_t blocks = test_live_blocks();
  hak_free(NULL);
  hak_free_sized(NULL, 0);
  hak_free_sized(NULL, 16);
  hak_free_aligned_sized(NULL, 64, 16);
  CHECK_EQ(test_live_blocks(), blocks);
}

static void usable_size__of_null_is_zero(void **state) {
  (void)state;
  CHECK_EQ(hak_usable_size(NULL), 0);
}

static void good_size__is_the_usable_size_of_such_a_block(void **state) {
  (void)state;
  for (size_t size = 0; size <= 4 * MIB; size += size < 4096 ? 1 : size / 37) {
    void *block = hak_alloc(size);
    CHECK(block != NULL);
    size_t good = hak_good_size(size);
    CHECK_MSG(good == hak_usable_size(block), "good_size(%zu) is %zu, usable %zu", size,
              good, hak_usable_size(block));
    hak_free(block);
  }
}

static void good_size__is_monotonic_and_of_itself_the_same(void **state) {
  (void)state;
  size_t last = 0;
  for (size_t size = 0; size <= 2 * MIB; size += size < 40000 ? 1 : 101) {
    size_t good = hak_good_size(size);
    CHECK(good >= size && good >= last);
    CHECK_MSG(hak_good_size(good) == good, "good_size(%zu) is %zu, of that %zu", size,
              good, hak_good_size(good));
    last = good;
  }
}

static void good_size__wastes_at_most_a_fifth_above_128_bytes(void **state) {
  (void)state;
  size_t page = test_config() != NULL ? test_config()->os->page_size : 4 * KIB;
  for (size_t size = 129; size <= 2 * MIB; size += size <= 32 * KIB ? 1 : 127) {
    size_t good = hak_good_size(size);
    /* Blocks of more than 56 KiB are cut in pages, however large those are. */
    bool fits = (good - size) * 5 <= good || (size > 32 * KIB && good - size < page);
    CHECK_MSG(fits, "%zu takes %zu", size, good);
  }
}

static void free_sized__takes_every_size_from_asked_to_usable(void **state) {
  (void)state;
  for (size_t size = 0; size <= 300; size += 7) {
    size_t usable = hak_good_size(size);
    for (size_t given = size; given <= usable; given++) {
      hak_free_sized(hak_alloc(size), given);
    }
  }
  static const size_t large[] = {1000,   5000,   33000,   70000,   524280,  524288,
                                 524289, 600000, 1000000, 1 << 20, 40 << 20};
  for (size_t i = 0; i < TEST_COUNT(large); i++) {
    size_t usable = hak_good_size(large[i]);
    hak_free_sized(hak_alloc(large[i]), large[i]);
    hak_free_sized(hak_alloc(large[i]), usable);
    hak_free_sized(hak_alloc(large[i]), usable - 1);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

static void free_aligned_sized__takes_what_aligned_alloc_gave(void **state) {
  (void)state;
  for (size_t alignment = 1; alignment <= MIB; alignment *= 2) {
    for (size_t size = 1; size < 200000; size = size * 3 + 1) {
      void *block = hak_aligned_alloc(alignment, size);
      CHECK(block != NULL);
      hak_free_aligned_sized(block, alignment, size);
    }
  }
  hak_free_aligned_sized(hak_alloc(40), 0, 40);
  CHECK_EQ(hak_check(NULL), 0);
}

static void alloc__what_was_freed_is_used_again(void **state) {
  (void)state;
  /* A hundred times the memory of the process's whole external heap passes through. */
  uint64_t before = test_stats().reserved_bytes;
  for (int round = 0; round < 2000; round++) {
    void *blocks[8];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      blocks[i] = hak_alloc((size_t)1 << (6 + 2 * i));
      CHECK(blocks[i] != NULL);
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      hak_free(blocks[i]);
    }
  }
  uint64_t after = test_stats().reserved_bytes;
  CHECK_MSG(after <= before + 64 * MIB, "reserved grew from %llu to %llu",
            (unsigned long long)before, (unsigned long long)after);
}

static void alloc_at__site_counts_its_allocations(void **state) {
  (void)state;
  HAK_SITE(particles);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0); /* counts are exact */
  CHECK_EQ(hak_site_count(&particles), 0);
  CHECK(strcmp(particles.name, "particles") == 0);
  for (int i = 0; i < 100; i++) {
    hak_free(hak_alloc_at(32, &particles));
  }
  hak_free(hak_allocx(NULL, 64, 0, 0, &particles));
  CHECK_EQ(hak_site_count(&particles), 101);
  hak_site_t *here = HAK_CALLSITE();
  CHECK(here != NULL && here->file != NULL && here->line > 0);
  void *block = hak_alloc_at(10, here);
  CHECK(block != NULL);
  hak_free(block);
  CHECK_EQ(hak_site_count(here), 1);
  hak_free(hak_alloc_at(10, NULL));
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 262144), 0);
}

TEST_MAIN(T(alloc__every_size_to_40k_has_all_its_bytes_writable),
          T(alloc__large_and_huge_sizes_have_all_their_bytes_writable),
          T(alloc__small_blocks_are_aligned_to_the_power_of_two_that_fits),
          T(alloc__blocks_of_power_of_two_size_are_aligned_to_it_up_to_4k),
          T(alloc__live_blocks_of_each_class_never_overlap),
          T(alloc__size_zero_gives_unique_blocks),
          T(alloc__size_zero_shares_its_bin_with_the_smallest_class),
          T(alloc__sizes_over_ptrdiff_max_are_out_of_memory_at_once),
          T(alloc__sizes_no_machine_has_are_out_of_memory),
          T(alloc__success_and_free_leave_errno_alone), T(free__null_is_nothing),
          T(usable_size__of_null_is_zero),
          T(good_size__is_the_usable_size_of_such_a_block),
          T(good_size__is_monotonic_and_of_itself_the_same),
          T(good_size__wastes_at_most_a_fifth_above_128_bytes),
          T(free_sized__takes_every_size_from_asked_to_usable),
          T(free_aligned_sized__takes_what_aligned_alloc_gave),
          T(alloc__what_was_freed_is_used_again),
          T(alloc_at__site_counts_its_allocations))
