/* tiny_size_class.c - which sizes share a class: the tables against arithmetic. */
#include "support.h"

#include "tiny/bin.h"

/* The smallest class that the full checks leave; their mark needs two words. */
#define LEAST_CLASS (HAK_CHECKS >= 2 ? 1u : 0u)

/* Classes per doubling, worked out anew. */
static uint32_t next_size(uint32_t size) {
  uint32_t from = 128;
  while (size >= from * 2) from *= 2;
  return size + from / (from == 1024 || from == 2048 ? 8 : 4);
}

static uint32_t naive_class_of(size_t size) {
  uint32_t cls = LEAST_CLASS;
  while (hak_class_size(cls) < size) cls++;
  return cls;
}

static void class_sizes__rise_as_the_header_says(void **state) {
  (void)state;
  static const uint32_t small[] = {8, 16, 32, 48, 64, 80, 96, 112, 128};
  for (uint32_t cls = 0; cls < TEST_COUNT(small); cls++) {
    CHECK_EQ(hak_class_size(cls), small[cls]);
  }
  for (uint32_t cls = 9; cls < HAK_CLASSES; cls++) {
    CHECK_EQ(hak_class_size(cls), next_size(hak_class_size(cls - 1)));
  }
  CHECK_EQ(hak_class_size(HAK_TINY_CLASSES - 1), HAK_TINY_MAX);
  CHECK_EQ(hak_class_size(HAK_SHARED_CLASSES - 1), HAK_MID_MAX);
  CHECK_EQ(hak_class_size(HAK_CLASSES - 1), HAK_CLASS_MAX);
}

static void class_of__is_the_smallest_that_fits_for_every_size(void **state) {
  (void)state;
  uint32_t cls = LEAST_CLASS;
  for (size_t size = 1; size <= HAK_CLASS_MAX; size++) {
    if (hak_class_size(cls) < size) cls++;
    CHECK_EQ(hak_class_of(size), cls);
  }
  CHECK_EQ(cls, HAK_CLASSES - 1);
}

static void class_of_step__is_the_class_of_the_steps_last_size(void **state) {
  (void)state;
  for (size_t i = 0; i < HAK_TINY_STEPS; i++) {
    CHECK_EQ(hak_tiny_class_of_step[i], naive_class_of(8 * i + 8));
  }
}

static void bin_offset_of_step__names_the_bin_of_the_steps_class(void **state) {
  (void)state;
  for (size_t i = 0; i < HAK_TINY_STEPS; i++) {
    uint32_t cls = hak_tiny_class_of_step[i];
    size_t offset = offsetof(hak_thread_t, bins) + cls * sizeof(hak_bin_t);
    CHECK_EQ(hak_bin_offset_of_step[i], offset);
    CHECK_EQ(hak_entry_cached(cls) >> 16, offset);
  }
}

static void waste__is_at_most_a_fifth_above_128_bytes_and_a_ninth_of_1_to_4_KiB(
    void **state) {
  (void)state;
  for (size_t size = 113; size <= HAK_CLASS_MAX; size++) {
    size_t block = hak_class_size(hak_class_of(size));
    size_t share = size > KIB && size <= 4 * KIB ? 9 : 5;
    CHECK_MSG((block - size) * share <= block, "%zu bytes in a block of %zu", size,
              block);
  }
}

static void class_index__is_exact_for_every_class_and_offset(void **state) {
  (void)state;
  /* Every offset that a shared span has. */
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    uint32_t size = hak_class_size(cls), index = 0, into = 0;
    for (size_t offset = 0; offset < (size_t)1 << 19; offset++) {
      /* No CHECK_EQ: this is 20 million times. */
      if (hak_class_index(cls, offset) != index ||
          hak_class_is_start(cls, offset) != (into == 0)) {
        CHECK_EQ(hak_class_index(cls, offset), index);
        CHECK_EQ(hak_class_is_start(cls, offset), into == 0);
      }
      if (++into == size) {
        into = 0;
        index++;
      }
    }
  }
}

static void class_index__is_exact_at_block_borders_to_a_mebibyte(void **state) {
  (void)state;
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    uint32_t size = hak_class_size(cls);
    for (uint32_t i = 1; (size_t)i * size < MIB; i++) {
      size_t at = (size_t)i * size;
      CHECK_EQ(hak_class_index(cls, at - 1), i - 1);
      CHECK_EQ(hak_class_index(cls, at), i);
      CHECK(hak_class_is_start(cls, at) && !hak_class_is_start(cls, at - 1));
    }
  }
}

static void class_coarse__leaves_out_what_lies_halfway(void **state) {
  (void)state;
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    uint32_t size = hak_class_size(cls);
    /* Four classes to the doubling: multiples of 256 to 2 KiB, and of 512 to 4 KiB. */
    uint32_t step = size <= KIB || size > 4 * KIB ? 1 : size <= 2 * KIB ? 256 : 512;
    uint32_t expected = size % step == 0 ? cls : cls + 1;
    CHECK_EQ(hak_class_coarse(cls), expected);
    CHECK_EQ(hak_class_size(hak_class_coarse(cls)) % step, 0);
  }
}

static void powers_of_two__are_classes_of_their_own(void **state) {
  (void)state;
  for (size_t size = LEAST_CLASS == 0 ? 8 : 16; size <= HAK_CLASS_MAX; size *= 2) {
    CHECK_EQ(hak_class_size(hak_class_of(size)), size);
  }
}

static void class_of_aligned__is_the_smallest_class_of_multiples(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 1);
  for (size_t alignment = 1; alignment <= HAK_SLAB_SIZE; alignment *= 2) {
    for (int n = 0; n < 3000; n++) {
      size_t size = (size_t)test_below(&rng, HAK_CLASS_MAX + 1);
      if (n < 300) size = (size_t)n;
      uint32_t cls = LEAST_CLASS;
      while (hak_class_size(cls) < size ||
             (cls < HAK_SHARED_CLASSES && hak_class_size(cls) % alignment != 0)) {
        cls++;
      }
      CHECK_EQ(hak_class_of_aligned(size, alignment), cls);
    }
  }
  /* Every class is somebody's answer for its own size. */
  for (uint32_t cls = LEAST_CLASS; cls < HAK_CLASSES; cls++) {
    CHECK_EQ(hak_class_of_aligned(hak_class_size(cls), 1), cls);
  }
}

static void class_of_aligned__says_when_there_is_none(void **state) {
  (void)state;
  CHECK_EQ(hak_class_of_aligned(HAK_CLASS_MAX + 1, 1), HAK_CLASSES);
  CHECK_EQ(hak_class_of_aligned(1, HAK_SLAB_SIZE * 2), HAK_CLASSES);
  CHECK_EQ(hak_class_of_aligned(SIZE_MAX, HAK_SLAB_SIZE), HAK_CLASSES);
  CHECK_EQ(hak_class_of_aligned(HAK_CLASS_MAX, HAK_SLAB_SIZE), HAK_CLASSES - 1);
  CHECK_EQ(hak_class_of_aligned(HAK_MID_MAX, 8192), HAK_SHARED_CLASSES - 1);
}

static void class_askew__has_the_bits_that_no_block_has(void **state) {
  (void)state;
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    size_t size = hak_class_size(cls), all = 0;
    /* Spans begin with slabs; blocks with a span to themselves do too. */
    for (size_t at = 0; !hak_class_is_single(cls) && at <= HAK_MIB; at += size) all |= at;
    CHECK_EQ(hak_class_askew[cls] & all, 0);
    size_t lowest = hak_class_is_single(cls) ? HAK_SLAB_SIZE : size & (0 - size);
    CHECK_EQ(hak_class_askew[cls], lowest - 1);
  }
}

TEST_MAIN_FRESH(T(class_sizes__rise_as_the_header_says),
                T(class_of__is_the_smallest_that_fits_for_every_size),
                T(class_of_step__is_the_class_of_the_steps_last_size),
                T(bin_offset_of_step__names_the_bin_of_the_steps_class),
                T(waste__is_at_most_a_fifth_above_128_bytes_and_a_ninth_of_1_to_4_KiB),
                T(class_index__is_exact_for_every_class_and_offset),
                T(class_index__is_exact_at_block_borders_to_a_mebibyte),
                T(class_coarse__leaves_out_what_lies_halfway),
                T(powers_of_two__are_classes_of_their_own),
                T(class_of_aligned__is_the_smallest_class_of_multiples),
                T(class_of_aligned__says_when_there_is_none),
                T(class_askew__has_the_bits_that_no_block_has))
