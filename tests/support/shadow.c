/* shadow.c - the map of live blocks; see shadow.h */
#include "shadow.h"

#include <stdlib.h>
#include <string.h>

static const char *const op_names[SHADOW_OPS] = {"alloc",
                                                 "calloc",
                                                 "realloc_grow",
                                                 "realloc_shrink",
                                                 "realloc_null",
                                                 "reallocarray",
                                                 "aligned_alloc",
                                                 "aligned_realloc",
                                                 "allocx",
                                                 "reallocx",
                                                 "reallocx_no_move",
                                                 "resize_in_place",
                                                 "free",
                                                 "free_sized",
                                                 "free_aligned_sized",
                                                 "strdup",
                                                 "alloc_at",
                                                 "usable_size",
                                                 "ptr_info",
                                                 "verify",
                                                 "wave",
                                                 "counts",
                                                 "check",
                                                 "collect",
                                                 "idle",
                                                 "exit",
                                                 "option"};

/* How often an operation is drawn, in parts of the sum. */
static const unsigned weights[SHADOW_OPS] = {[SHADOW_ALLOC] = 120,
                                             [SHADOW_CALLOC] = 40,
                                             [SHADOW_REALLOC_GROW] = 30,
                                             [SHADOW_REALLOC_SHRINK] = 20,
                                             [SHADOW_REALLOC_NULL] = 6,
                                             [SHADOW_REALLOCARRAY] = 10,
                                             [SHADOW_ALIGNED_ALLOC] = 20,
                                             [SHADOW_ALIGNED_REALLOC] = 8,
                                             [SHADOW_ALLOCX] = 20,
                                             [SHADOW_REALLOCX] = 10,
                                             [SHADOW_REALLOCX_NO_MOVE] = 8,
                                             [SHADOW_RESIZE_IN_PLACE] = 10,
                                             [SHADOW_FREE] = 170,
                                             [SHADOW_FREE_SIZED] = 30,
                                             [SHADOW_FREE_ALIGNED_SIZED] = 10,
                                             [SHADOW_STRDUP] = 10,
                                             [SHADOW_ALLOC_AT] = 6,
                                             [SHADOW_USABLE_SIZE] = 10,
                                             [SHADOW_PTR_INFO] = 10,
                                             [SHADOW_VERIFY] = 20,
                                             [SHADOW_WAVE] = 1,
                                             [SHADOW_COUNTS] = 1,
                                             [SHADOW_CHECK] = 1,
                                             [SHADOW_COLLECT] = 1,
                                             [SHADOW_IDLE] = 1,
                                             [SHADOW_EXIT] = 1,
                                             [SHADOW_OPTION] = 1};

const char *shadow_op_name(shadow_op_t op) {
  return op < SHADOW_OPS ? op_names[op] : "?";
}

void shadow_open(shadow_t *shadow, uint64_t seed, unsigned flags, size_t max_blocks) {
  memset(shadow, 0, sizeof *shadow);
  shadow->rng = test_rng(seed, 0x5ade);
  shadow->flags = flags;
  shadow->max_size = 8 * MIB;
  shadow->max_bytes = 192 * MIB;
  shadow->max_blocks = max_blocks;
  shadow->blocks = calloc(max_blocks, sizeof *shadow->blocks);
  shadow->by_address = calloc(max_blocks, sizeof *shadow->by_address);
  CHECK(shadow->blocks != NULL && shadow->by_address != NULL);
  shadow->next_tag = seed;
  if ((flags & SHADOW_ALONE) != 0) {
    hak_stats_t stats = test_stats();
    shadow->base_blocks = stats.live_blocks;
    shadow->base_bytes = stats.live_bytes;
  }
}

/* Position of the first block at or above `address`. */
static size_t position_of(const shadow_t *shadow, const unsigned char *address) {
  size_t low = 0, high = shadow->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (shadow->blocks[shadow->by_address[middle]].address < address) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static void require_apart(shadow_t *shadow, size_t at, const unsigned char *address,
                          size_t usable) {
  if (at < shadow->count) {
    const shadow_block_t *next = &shadow->blocks[shadow->by_address[at]];
    CHECK_MSG(next->address >= address + usable,
              "%p + %zu overlaps the live block %p + %zu, at operation %llu (%s)",
              (const void *)address, usable, (void *)next->address, next->usable,
              (unsigned long long)shadow->operations, shadow_op_name(shadow->current));
  }
  if (at > 0) {
    const shadow_block_t *before = &shadow->blocks[shadow->by_address[at - 1]];
    CHECK_MSG(before->address + before->usable <= address,
              "%p + %zu overlaps the live block %p + %zu, at operation %llu (%s)",
              (const void *)address, usable, (void *)before->address, before->usable,
              (unsigned long long)shadow->operations, shadow_op_name(shadow->current));
  }
}

void shadow_add(shadow_t *shadow, void *address, size_t size, size_t alignment) {
  SHADOW_CHECK_THAT(shadow, address != NULL);
  SHADOW_CHECK_THAT(shadow, shadow->count < shadow->max_blocks);
  size_t least = size >= 16 ? 16 : 1;
  while (least * 2 <= size && least < 16) {
    least *= 2;
  }
  alignment = alignment > least ? alignment : least;
  SHADOW_CHECK_THAT(shadow, ((uintptr_t)address & (alignment - 1)) == 0);
  size_t usable = hak_usable_size(address);
  SHADOW_CHECK_THAT(shadow, usable >= size && usable > 0);

  size_t at = position_of(shadow, address);
  require_apart(shadow, at, address, usable);
  memmove(shadow->by_address + at + 1, shadow->by_address + at,
          (shadow->count - at) * sizeof *shadow->by_address);
  shadow->by_address[at] = (uint32_t)shadow->count;
  shadow->blocks[shadow->count] =
      (shadow_block_t){address, size, usable, alignment, shadow->next_tag++};
  test_fill_sparse(address, size, shadow->blocks[shadow->count].tag);
  /* The bytes beyond what was asked for are the program's too. */
  if (usable - size > 0 && usable - size <= 4096) {
    memset((char *)address + size, 0x6b, usable - size);
  }
  shadow->count++;
  shadow->bytes += usable;
}

shadow_block_t shadow_remove(shadow_t *shadow, size_t index) {
  shadow_block_t block = shadow->blocks[index];
  size_t at = position_of(shadow, block.address);
  SHADOW_CHECK_THAT(shadow, shadow->by_address[at] == index);
  memmove(shadow->by_address + at, shadow->by_address + at + 1,
          (shadow->count - at - 1) * sizeof *shadow->by_address);
  shadow->count--;
  if (index != shadow->count) {
    /* The last block takes the place of the one that goes. */
    shadow->blocks[index] = shadow->blocks[shadow->count];
    size_t moved = 0;
    size_t low = 0, high = shadow->count;
    while (low < high) {
      moved = (low + high) / 2;
      const unsigned char *a = shadow->by_address[moved] == shadow->count
                                   ? shadow->blocks[index].address
                                   : shadow->blocks[shadow->by_address[moved]].address;
      if (a == shadow->blocks[index].address) {
        break;
      }
      if (a < shadow->blocks[index].address) {
        low = moved + 1;
      } else {
        high = moved;
      }
    }
    SHADOW_CHECK_THAT(shadow, shadow->by_address[moved] == shadow->count);
    shadow->by_address[moved] = (uint32_t)index;
  }
  shadow->bytes -= block.usable;
  return block;
}

void shadow_verify(shadow_t *shadow, const shadow_block_t *block) {
  CHECK_MSG(test_verify_sparse(block->address, block->size, block->tag),
            "contents of block %p (%zu bytes) changed, seen at operation %llu (%s)",
            (void *)block->address, block->size, (unsigned long long)shadow->operations,
            shadow_op_name(shadow->current));
}

void shadow_verify_kept(shadow_t *shadow, const shadow_block_t *block,
                        const void *address, size_t size) {
  bool kept = size >= block->size
                  ? test_verify_sparse(address, block->size, block->tag)
                  : test_verify_sparse_prefix(address, block->size, size, block->tag);
  CHECK_MSG(kept, "contents of %p (%zu bytes) not kept at %p (%zu), operation %llu (%s)",
            (void *)block->address, block->size, address, size,
            (unsigned long long)shadow->operations, shadow_op_name(shadow->current));
}

static shadow_op_t draw(shadow_t *shadow) {
  unsigned sum = 0;
  for (int i = 0; i < SHADOW_OPS; i++) {
    sum += weights[i];
  }
  unsigned at = (unsigned)test_below(&shadow->rng, sum);
  for (int i = 0; i < SHADOW_OPS; i++) {
    if (at < weights[i]) {
      return (shadow_op_t)i;
    }
    at -= weights[i];
  }
  return SHADOW_ALLOC;
}

void shadow_run(shadow_t *shadow, uint64_t operations) {
  for (uint64_t i = 0; i < operations; i++) {
    shadow_op_t op = draw(shadow);
    if (shadow->count == shadow->max_blocks || shadow->bytes > shadow->max_bytes) {
      op = SHADOW_FREE;
    }
    shadow->operations++;
    shadow->done[op]++;
    shadow->current = op;
    shadow_step(shadow, op);
  }
}

void shadow_empty(shadow_t *shadow) {
  while (shadow->count > 0) {
    size_t index = (size_t)test_below(&shadow->rng, shadow->count);
    shadow_verify(shadow, &shadow->blocks[index]);
    hak_free(shadow_remove(shadow, index).address);
  }
}

void shadow_close(shadow_t *shadow) {
  shadow_empty(shadow);
  free(shadow->blocks);
  free(shadow->by_address);
}
