/* shadow.h - a model of what an allocator promises, and random operations that
 * hold the library against it.
 *
 * The map knows every live block: its range, alignment, usable size and a
 * pattern in its bytes. Each operation is drawn from a seeded generator, done,
 * and judged: no overlap, alignment, contents, usable size, errno. One shadow
 * belongs to one thread.
 */
#ifndef HAKMEM_TEST_SHADOW_H
#define HAKMEM_TEST_SHADOW_H

#include "support.h"

#define SHADOW_MAY_FAIL 0x01u /* NULL with ENOMEM is right at any moment */
#define SHADOW_OPTIONS 0x02u  /* change options on the way */
#define SHADOW_THREAD 0x04u   /* idle and leave the library on the way */
#define SHADOW_ALONE 0x08u    /* nobody else uses the library: counts are exact */

typedef enum shadow_op {
  SHADOW_ALLOC,
  SHADOW_CALLOC,
  SHADOW_REALLOC_GROW,
  SHADOW_REALLOC_SHRINK,
  SHADOW_REALLOC_NULL,
  SHADOW_REALLOCARRAY,
  SHADOW_ALIGNED_ALLOC,
  SHADOW_ALIGNED_REALLOC,
  SHADOW_ALLOCX,
  SHADOW_REALLOCX,
  SHADOW_REALLOCX_NO_MOVE,
  SHADOW_RESIZE_IN_PLACE,
  SHADOW_FREE,
  SHADOW_FREE_SIZED,
  SHADOW_FREE_ALIGNED_SIZED,
  SHADOW_STRDUP,
  SHADOW_ALLOC_AT,
  SHADOW_USABLE_SIZE,
  SHADOW_PTR_INFO,
  SHADOW_VERIFY,
  SHADOW_WAVE,
  SHADOW_COUNTS,
  SHADOW_CHECK,
  SHADOW_COLLECT,
  SHADOW_IDLE,
  SHADOW_EXIT,
  SHADOW_OPTION,
  SHADOW_OPS
} shadow_op_t;

typedef struct shadow_block {
  unsigned char *address;
  size_t size; /* bytes that carry the pattern */
  size_t usable;
  size_t alignment;
  uint64_t tag;
} shadow_block_t;

typedef struct shadow {
  test_rng_t rng;
  unsigned flags;
  size_t max_size;  /* of one block */
  size_t max_bytes; /* of all live blocks */
  size_t max_blocks;
  shadow_block_t *blocks; /* unordered */
  uint32_t *by_address;   /* indices into blocks, sorted */
  size_t count, bytes;
  uint64_t next_tag, base_blocks, base_bytes;
  uint64_t operations, refused;
  uint64_t done[SHADOW_OPS];
  shadow_op_t current;
} shadow_t;

void shadow_open(shadow_t *shadow, uint64_t seed, unsigned flags, size_t max_blocks);
void shadow_run(shadow_t *shadow, uint64_t operations);
/* Verifies and frees every block. */
void shadow_empty(shadow_t *shadow);
/* shadow_empty, and the map goes. */
void shadow_close(shadow_t *shadow);

/* ---- The map, for shadow_ops.c ---------------------------------------- */

#define SHADOW_CHECK_THAT(shadow, condition)                     \
  CHECK_MSG(condition, "%s, at operation %llu (%s)", #condition, \
            (unsigned long long)(shadow)->operations, shadow_op_name((shadow)->current))

const char *shadow_op_name(shadow_op_t op);
void shadow_step(shadow_t *shadow, shadow_op_t op);
/* Enters a new block and fills it; the first `size` bytes are its contents. */
void shadow_add(shadow_t *shadow, void *address, size_t size, size_t alignment);
/* Takes a block out of the map; its bytes are not looked at. */
shadow_block_t shadow_remove(shadow_t *shadow, size_t index);
void shadow_verify(shadow_t *shadow, const shadow_block_t *block);
/* As before a change from `block` to `size` bytes: what must have been kept. */
void shadow_verify_kept(shadow_t *shadow, const shadow_block_t *block,
                        const void *address, size_t size);

#endif /* HAKMEM_TEST_SHADOW_H */
