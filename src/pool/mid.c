#include "pool/mid.h"

#include "superslab/slab.h"

enum {
  WASTE_SHARE = 16,
  SPAN_MAX = 8
};

/* Blocks above the first bound share spans of four slabs, above the second of
 * eight: refills and claims then come once in so many blocks. */
#define FOUR_SLABS_ABOVE (2 * HAK_KIB)
#define EIGHT_SLABS_ABOVE (8 * HAK_KIB)

unsigned hak_mid_span_least(size_t block_size) {
  for (unsigned span = 1; span < SPAN_MAX; span++) {
    size_t bytes = span * HAK_SLAB_SIZE;
    if (bytes % block_size <= bytes / WASTE_SHARE) return span;
  }
  return SPAN_MAX;
}

unsigned hak_mid_span_busy(size_t block_size, unsigned most) {
  unsigned least = hak_mid_span_least(block_size);
  unsigned want = block_size > EIGHT_SLABS_ABOVE  ? 8
                  : block_size > FOUR_SLABS_ABOVE ? 4
                                                  : 1;
  if (want > most) want = most;
  while (want > least &&
         (want * HAK_SLAB_SIZE) % block_size > want * HAK_SLAB_SIZE / WASTE_SHARE) {
    want--;
  }
  return want > least ? want : least;
}
