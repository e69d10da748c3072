/* shadow.c - the map of live blocks, and how operations are drawn; see shadow.h */
#include "shadow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHADOW_NAME(id, name, weight) #name,
#define SHADOW_WEIGHT(id, name, weight) weight,
#define SHADOW_FUNCTION(id, name, weight) shadow_step_##name,

static const char *const op_names[SHADOW_OPS] = {SHADOW_OPERATIONS(SHADOW_NAME)};
static const unsigned weights[SHADOW_OPS] = {SHADOW_OPERATIONS(SHADOW_WEIGHT)};
static void (*const steps[SHADOW_OPS])(shadow_t *) = {SHADOW_OPERATIONS(SHADOW_FUNCTION)};

const char *shadow_op_name(shadow_op_t op) {
  return op < SHADOW_OPS ? op_names[op] : "?";
}

/* ---- Drawing ---------------------------------------------------------- */

static uint64_t pick_from_input(shadow_t *shadow, uint64_t limit) {
  uint64_t value = 0;
  for (uint64_t rest = limit - 1; rest > 0; rest >>= 8) {
    uint8_t byte = 0;
    if (shadow->input_left > 0) {
      byte = *shadow->input++;
      shadow->input_left--;
    }
    value = value << 8 | byte;
  }
  return value % limit;
}

uint64_t shadow_pick(shadow_t *shadow, uint64_t limit) {
  if (limit <= 1) {
    return 0;
  }
  return shadow->input != NULL ? pick_from_input(shadow, limit)
                               : test_below(&shadow->rng, limit);
}

static shadow_op_t draw(shadow_t *shadow) {
  if (shadow->input != NULL) {
    return (shadow_op_t)shadow_pick(shadow, SHADOW_OPS);
  }
  static unsigned sum;
  if (sum == 0) {
    for (int i = 0; i < SHADOW_OPS; i++) {
      sum += weights[i];
    }
  }
  unsigned at = (unsigned)shadow_pick(shadow, sum);
  for (int i = 0; i < SHADOW_OPS; i++) {
    if (at < weights[i]) {
      return (shadow_op_t)i;
    }
    at -= weights[i];
  }
  return SHADOW_ALLOC;
}

size_t shadow_pick_size(shadow_t *shadow) {
  static const struct {
    unsigned permille;
    size_t limit;
  } tiers[] = {{450, 128},       {750, 1 * KIB}, {940, 16 * KIB},
               {990, 128 * KIB}, {999, 1 * MIB}, {1000, 8 * MIB}};
  unsigned at = (unsigned)shadow_pick(shadow, 1000);
  size_t limit = shadow->max_size;
  for (size_t i = 0; i < TEST_COUNT(tiers); i++) {
    if (at < tiers[i].permille) {
      limit = tiers[i].limit;
      break;
    }
  }
  /* Now and then beyond the largest size that comes from SuperSlabs. */
  if (at == 999 && shadow->max_size >= 8 * MIB && shadow_pick(shadow, 50) == 0) {
    return 8 * MIB + (size_t)shadow_pick(shadow, 40 * MIB);
  }
  if (limit >= MIB) {
    limit >>= shadow_pick(shadow, 5); /* the less, the larger */
  }
  limit = limit > shadow->max_size ? shadow->max_size : limit;
  return (size_t)shadow_pick(shadow, limit + 1);
}

/* The first place from `place` on that is taken, or is free, around the end. */
static uint32_t next_place(const shadow_t *shadow, size_t place, bool taken) {
  size_t words = (shadow->max_blocks + 63) / 64;
  uint64_t mask = UINT64_MAX << (place % 64);
  for (size_t i = place / 64;; i = (i + 1) % words) {
    uint64_t word = (taken ? shadow->taken[i] : ~shadow->taken[i]) & mask;
    size_t found = word == 0 ? SIZE_MAX : i * 64 + (size_t)__builtin_ctzll(word);
    if (found < shadow->max_blocks) {
      return (uint32_t)found;
    }
    mask = UINT64_MAX;
  }
}

uint32_t shadow_pick_block(shadow_t *shadow) {
  SHADOW_CHECK_THAT(shadow, shadow->count > 0);
  return next_place(shadow, (size_t)shadow_pick(shadow, shadow->max_blocks), true);
}

bool shadow_accept(shadow_t *shadow, const void *address, bool may_refuse) {
  if (address == NULL) {
    SHADOW_CHECK_THAT(shadow, errno == ENOMEM);
    SHADOW_CHECK_THAT(shadow, may_refuse || (shadow->flags & SHADOW_MAY_FAIL) != 0);
    shadow->refused++;
    return false;
  }
  SHADOW_CHECK_THAT(shadow, errno == TEST_ERRNO);
  return true;
}

/* ---- The map ---------------------------------------------------------- */

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

const shadow_block_t *shadow_find(const shadow_t *shadow, const void *address) {
  size_t at = position_of(shadow, address);
  if (at == shadow->count) {
    return NULL;
  }
  const shadow_block_t *block = &shadow->blocks[shadow->by_address[at]];
  return block->address == address ? block : NULL;
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

static bool is_whole(const shadow_t *shadow) {
  return (shadow->flags & SHADOW_EVERY_BYTE) != 0;
}

/* Contents, and what the program may use beyond them. */
static void fill(const shadow_t *shadow, const shadow_block_t *block) {
  if (is_whole(shadow)) {
    test_fill(block->address, block->size, block->tag);
  } else {
    test_fill_sparse(block->address, block->size, block->tag);
  }
  if (block->usable - block->size <= 4096) {
    memset(block->address + block->size, 0x6b, block->usable - block->size);
  }
}

void shadow_add(shadow_t *shadow, unsigned heap, void *address, size_t size,
                size_t alignment) {
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
  SHADOW_CHECK_THAT(shadow, hak_heap_of(address) == shadow->heaps[heap].handle);

  size_t at = position_of(shadow, address);
  require_apart(shadow, at, address, usable);
  uint32_t place =
      next_place(shadow, (size_t)shadow_pick(shadow, shadow->max_blocks), false);
  memmove(shadow->by_address + at + 1, shadow->by_address + at,
          (shadow->count - at) * sizeof *shadow->by_address);
  shadow->by_address[at] = place;
  shadow->taken[place / 64] |= (uint64_t)1 << (place % 64);
  shadow->blocks[place] = (shadow_block_t){address,
                                           size,
                                           usable,
                                           alignment,
                                           shadow->next_tag++,
                                           (uint8_t)heap,
                                           shadow->heaps[heap].arena >= 0};
  fill(shadow, &shadow->blocks[place]);
  shadow->count++;
  shadow->bytes += usable;
  shadow->heaps[heap].blocks++;
  shadow->heaps[heap].bytes += usable;
}

shadow_block_t shadow_remove(shadow_t *shadow, uint32_t place) {
  shadow_block_t block = shadow->blocks[place];
  size_t at = position_of(shadow, block.address);
  SHADOW_CHECK_THAT(shadow, shadow->by_address[at] == place);
  memmove(shadow->by_address + at, shadow->by_address + at + 1,
          (shadow->count - at - 1) * sizeof *shadow->by_address);
  shadow->taken[place / 64] &= ~((uint64_t)1 << (place % 64));
  shadow->blocks[place].address = NULL;
  shadow->count--;
  shadow->bytes -= block.usable;
  shadow->heaps[block.heap].blocks--;
  shadow->heaps[block.heap].bytes -= block.usable;
  return block;
}

void shadow_verify(shadow_t *shadow, const shadow_block_t *block) {
  bool same = is_whole(shadow)
                  ? test_verify(block->address, block->size, block->tag)
                  : test_verify_sparse(block->address, block->size, block->tag);
  CHECK_MSG(same, "contents of block %p (%zu bytes) changed, seen at operation %llu (%s)",
            (void *)block->address, block->size, (unsigned long long)shadow->operations,
            shadow_op_name(shadow->current));
}

void shadow_verify_all(shadow_t *shadow) {
  for (size_t i = 0; i < shadow->count; i++) {
    shadow_verify(shadow, &shadow->blocks[shadow->by_address[i]]);
  }
}

void shadow_verify_kept(shadow_t *shadow, const shadow_block_t *block,
                        const void *address, size_t size) {
  size_t kept = size < block->size ? size : block->size;
  bool same;
  if (is_whole(shadow)) {
    same = test_verify(address, kept, block->tag);
  } else {
    same = kept == block->size
               ? test_verify_sparse(address, block->size, block->tag)
               : test_verify_sparse_prefix(address, block->size, kept, block->tag);
  }
  CHECK_MSG(same, "contents of %p (%zu bytes) not kept at %p (%zu), operation %llu (%s)",
            (void *)block->address, block->size, address, size,
            (unsigned long long)shadow->operations, shadow_op_name(shadow->current));
}

/* ---- Runs ------------------------------------------------------------- */

void shadow_open(shadow_t *shadow, uint64_t seed, unsigned flags, size_t max_blocks) {
  memset(shadow, 0, sizeof *shadow);
  shadow->seed = seed;
  shadow->rng = test_rng(seed, 0x5ade);
  shadow->flags = flags;
  shadow->max_size = 8 * MIB;
  shadow->max_bytes = 96 * MIB;
  shadow->max_blocks = max_blocks;
  shadow->blocks = calloc(max_blocks, sizeof *shadow->blocks);
  shadow->taken = calloc((max_blocks + 63) / 64, sizeof *shadow->taken);
  shadow->by_address = calloc(max_blocks, sizeof *shadow->by_address);
  CHECK(shadow->blocks != NULL && shadow->taken != NULL && shadow->by_address != NULL);
  shadow->busy = UINT32_MAX;
  shadow->next_tag = seed;
  shadow_heaps_open(shadow);
  if ((flags & SHADOW_ALONE) != 0) {
    hak_stats_t stats = test_stats();
    shadow->base_blocks = stats.live_blocks;
    shadow->base_bytes = stats.live_bytes;
    /* Hardened builds have a canary behind each block. */
    void *block = hak_alloc(100);
    if (block != NULL) {
      shadow->beyond =
          test_stats().live_bytes - stats.live_bytes - hak_usable_size(block);
    }
    hak_free(block);
  }
}

void shadow_open_bytes(shadow_t *shadow, const uint8_t *input, size_t size,
                       unsigned flags, size_t max_blocks) {
  shadow_open(shadow, 0, flags, max_blocks);
  shadow->input = input;
  shadow->input_left = size;
}

void shadow_one(shadow_t *shadow) {
  if (shadow->input == NULL) {
    shadow->rng = test_rng(shadow->seed, shadow->operations);
  } else if (shadow->input_left == 0) {
    shadow->left = 0;
    return;
  }
  shadow_op_t op = draw(shadow);
  if (shadow->count == shadow->max_blocks || shadow->bytes > shadow->max_bytes) {
    op = SHADOW_FREE;
  } else if (shadow->count == 0 && op >= SHADOW_REALLOC_GROW && op <= SHADOW_VERIFY) {
    op = SHADOW_ALLOC;
  }
  shadow->left--;
  shadow->operations++;
  shadow->done[op]++;
  if (shadow->at != NULL) {
    *shadow->at = shadow->operations;
  }
  shadow->current = op;
  if (shadow->trace) {
    fprintf(stderr, "%llu %s, thread %u\n", (unsigned long long)shadow->operations,
            op_names[op], shadow->thread);
  }
  shadow->busy = UINT32_MAX;
  errno = TEST_ERRNO;
  steps[op](shadow);
}

void shadow_run(shadow_t *shadow, uint64_t operations) {
  shadow->left = operations;
  while (shadow->left > 0) {
    if (shadow->thread == 0) {
      shadow_one(shadow);
    } else {
      shadow_crew_work(shadow);
    }
  }
}

void shadow_empty(shadow_t *shadow) {
  while (shadow->count > 0) {
    uint32_t place = shadow_pick_block(shadow);
    shadow_verify(shadow, &shadow->blocks[place]);
    hak_free(shadow_remove(shadow, place).address);
  }
}

void shadow_close(shadow_t *shadow) {
  shadow_crew_end(shadow);
  shadow_empty(shadow);
  shadow_heaps_close(shadow);
  free(shadow->blocks);
  free(shadow->taken);
  free(shadow->by_address);
}
