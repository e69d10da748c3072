/* aligned.c - 40 sizes at each alignment from 1 byte to 1 GiB: a multiple of it, room for
 * the size, apart from each other, and resized without a change of what they hold. */
#include "experiments.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  ALIGNMENTS = 31,
  SIZES = 40
};

/* 1 byte to some 400 KiB, each about 1.4 times the one before. */
static size_t size_of(size_t i) {
  size_t size = 1;
  for (size_t step = 0; step < i; step++) size += size * 2 / 5 + (step % 2);
  return size;
}

static void list(void) {
  for (size_t i = 0; i < ALIGNMENTS; i++) say_case("aligned/%zu", i);
}

static void run(const char *which) {
  static block_t blocks[SIZES], sorted[SIZES];
  size_t alignment = (size_t)1 << strtoul(which, NULL, 10), served = 0;
  for (size_t i = 0; i < SIZES; i++) {
    size_t size = size_of(i);
    blocks[i] = (block_t){face_aligned(alignment, size), size, i};
    if (blocks[i].at == NULL) continue;
    served++;
    if ((uintptr_t)blocks[i].at % alignment != 0)
      end(WRONG, "%zu bytes: not aligned", size);
    if (face_usable(blocks[i].at) < size) end(WRONG, "%zu bytes: no room for them", size);
    block_fill(blocks[i]);
  }
  memcpy(sorted, blocks, sizeof blocks);
  if (blocks_overlap(sorted, SIZES)) end(DAMAGE, "two blocks overlap");
  for (size_t i = 0; i < SIZES; i++) {
    if (blocks[i].at == NULL) continue;
    if (!block_is_whole(blocks[i])) end(DAMAGE, "a block changed");
    char *at = face_realloc(blocks[i].at, blocks[i].size * 3);
    if (at == NULL) end(REFUSED, "no larger one of %zu bytes", blocks[i].size);
    blocks[i].at = at;
    if (!block_is_whole(blocks[i])) end(DAMAGE, "a resized block changed");
  }
  for (size_t i = 0; i < SIZES; i++) face_free(blocks[i].at);
  if (served < SIZES) end(REFUSED, "%zu of %d", SIZES - served, SIZES);
  end(FINE, "all %d", SIZES);
}

const experiment_t exp_aligned = {"aligned", list, run};
