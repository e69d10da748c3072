/* pool_mid.c - the geometry of spans for blocks of 1 to 56 KiB. */
#include "support.h"

#include "pool/mid.h"
#include "superslab/slab.h"
#include "tiny/size_class.h"

enum {
  SPAN_MAX = 8
};

static bool wastes_little(size_t block_size, unsigned span) {
  size_t bytes = span * HAK_SLAB_SIZE, tail = bytes % block_size;
  return tail * 16 <= bytes;
}

static void span_least__is_the_smallest_that_wastes_a_sixteenth_at_most(void **state) {
  (void)state;
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    size_t size = hak_class_size(cls);
    unsigned least = hak_mid_span_least(size);
    CHECK(least >= 1 && least <= SPAN_MAX);
    CHECK_MSG(wastes_little(size, least), "%zu bytes in %u slabs", size, least);
    for (unsigned span = 1; span < least; span++) CHECK(!wastes_little(size, span));
  }
}

static void span_busy__wastes_a_sixteenth_at_most_for_every_bound(void **state) {
  (void)state;
  for (uint32_t cls = HAK_TINY_CLASSES; cls < HAK_SHARED_CLASSES; cls++) {
    size_t size = hak_class_size(cls);
    unsigned least = hak_mid_span_least(size), before = 0;
    for (unsigned most = 1; most <= SPAN_MAX; most++) {
      unsigned span = hak_mid_span_busy(size, most);
      CHECK_MSG(wastes_little(size, span), "%zu bytes in %u slabs", size, span);
      CHECK(span >= least);
      CHECK(span <= most || span == least);
      CHECK(span >= before); /* a higher bound never gives less */
      before = span;
    }
  }
}

static void span_busy__grows_with_the_block(void **state) {
  (void)state;
  for (uint32_t cls = HAK_TINY_CLASSES; cls < HAK_SHARED_CLASSES; cls++) {
    size_t size = hak_class_size(cls);
    unsigned span = hak_mid_span_busy(size, SPAN_MAX);
    if (size <= 2 * KIB) CHECK_EQ(span, hak_mid_span_least(size));
    if (size > 2 * KIB) CHECK(span >= 3);
    if (size > 8 * KIB) CHECK(span >= 5);
  }
  CHECK_EQ(hak_mid_span_busy(4 * KIB, SPAN_MAX), 4);
  CHECK_EQ(hak_mid_span_busy(32 * KIB, SPAN_MAX), 8);
}

/* Sizes, offsets and counts of a span have to fit where they are kept. */
static void spans__fit_the_slabs_word(void **state) {
  (void)state;
  for (uint32_t cls = HAK_TINY_CLASSES; cls < HAK_SHARED_CLASSES; cls++) {
    size_t size = hak_class_size(cls);
    size_t bytes = hak_mid_span_busy(size, SPAN_MAX) * HAK_SLAB_SIZE;
    CHECK(bytes / size <= UINT16_MAX);
    size_t last_block = (bytes / size - 1) * size;
    CHECK(last_block / 8 + 1 <= UINT16_MAX);
    CHECK(bytes <= (size_t)1 << 19);
  }
}

TEST_MAIN_FRESH(T(span_least__is_the_smallest_that_wastes_a_sixteenth_at_most),
                T(span_busy__wastes_a_sixteenth_at_most_for_every_bound),
                T(span_busy__grows_with_the_block), T(spans__fit_the_slabs_word))
