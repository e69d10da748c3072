/* shadow_ops.c - one function per kind of operation; see shadow.h */
#include "shadow.h"

#include <errno.h>
#include <string.h>

/* Options that may change at any moment of a run, and up to where: enough to
 * reach every branch, small enough for a test machine. */
static const struct {
  hak_option_t option;
  int64_t most;
} changeable[] = {
    {HAK_OPTION_BIN_BLOCKS, 256},
    {HAK_OPTION_BIN_BLOCKS_MIN, 64},
    {HAK_OPTION_BIN_BYTES, 1048576},
    {HAK_OPTION_CARVE_BYTES, 65536},
    {HAK_OPTION_MAGAZINE_BLOCKS, 62},
    {HAK_OPTION_TRANSFER_MAGAZINES, 16},
    {HAK_OPTION_HELD_SLABS, 100},
    {HAK_OPTION_TRIM_REFILLS, 1000},
    {HAK_OPTION_MID_SPAN_SLABS, 8},
    {HAK_OPTION_REGION_BYTES, 64 << 20},
    {HAK_OPTION_HUGE_PAGES, 1},
    {HAK_OPTION_PURGE_MODE, 1},
    {HAK_OPTION_PURGE_DECAY_MS, 10},
    {HAK_OPTION_RETAIN_BYTES, 32 << 20},
    {HAK_OPTION_HUGE_RETAIN_BYTES, 64 << 20},
    {HAK_OPTION_LARGE_MAX_BYTES, 32 << 20},
    {HAK_OPTION_COLLECT_SLABS, 65536},
};

static size_t random_size(shadow_t *shadow) {
  /* Now and then beyond the largest size that comes from SuperSlabs. */
  if (test_below(&shadow->rng, 20000) == 0 && shadow->max_size >= 8 * MIB) {
    return 8 * MIB + (size_t)test_below(&shadow->rng, 40 * MIB);
  }
  return test_random_size(&shadow->rng, shadow->max_size);
}

static size_t random_alignment(shadow_t *shadow) {
  unsigned most = test_below(&shadow->rng, 100) == 0 ? 23 : 13;
  return (size_t)1 << test_below(&shadow->rng, most);
}

static size_t random_index(shadow_t *shadow) {
  return (size_t)test_below(&shadow->rng, shadow->count);
}

/* Judges what an allocating call gave; true if there is a block. */
static bool accept(shadow_t *shadow, const void *address, bool may_refuse) {
  if (address == NULL) {
    SHADOW_CHECK_THAT(shadow, errno == ENOMEM);
    SHADOW_CHECK_THAT(shadow, may_refuse || (shadow->flags & SHADOW_MAY_FAIL) != 0);
    shadow->refused++;
    return false;
  }
  SHADOW_CHECK_THAT(shadow, errno == TEST_ERRNO);
  return true;
}

static void add_if_given(shadow_t *shadow, void *address, size_t size, size_t alignment) {
  if (accept(shadow, address, false)) {
    shadow_add(shadow, address, size, alignment);
  }
}

static void step_alloc(shadow_t *shadow) {
  size_t size = random_size(shadow);
  add_if_given(shadow, hak_alloc(size), size, 1);
}

static void step_calloc(shadow_t *shadow) {
  size_t size = random_size(shadow), count = 1 + (size_t)test_below(&shadow->rng, 8);
  size /= count;
  unsigned char *address = hak_calloc(count, size);
  if (accept(shadow, address, false)) {
    SHADOW_CHECK_THAT(shadow, test_is_zero(address, count * size));
    shadow_add(shadow, address, count * size, 1);
  }
}

/* After a call that may have moved block `index`: the map follows. */
static void follow(shadow_t *shadow, size_t index, void *address, size_t size,
                   size_t alignment, bool may_refuse) {
  if (!accept(shadow, address, may_refuse)) {
    shadow_verify(shadow, &shadow->blocks[index]);
    return;
  }
  shadow_block_t old = shadow_remove(shadow, index);
  shadow_verify_kept(shadow, &old, address, size);
  shadow_add(shadow, address, size, alignment);
}

static size_t grown_size(shadow_t *shadow, const shadow_block_t *block) {
  size_t most = block->size < 64 ? 256 : block->size;
  size_t size = block->size + (size_t)test_below(&shadow->rng, most + 1);
  return size > shadow->max_size * 2 ? block->size : size;
}

static void step_realloc(shadow_t *shadow, bool grow) {
  size_t index = random_index(shadow);
  const shadow_block_t *block = &shadow->blocks[index];
  size_t size = grow ? grown_size(shadow, block)
                     : (size_t)test_below(&shadow->rng, block->size + 1);
  follow(shadow, index, hak_realloc(block->address, size), size, 1, false);
}

static void step_reallocarray(shadow_t *shadow) {
  size_t index = random_index(shadow);
  size_t count = 1 + (size_t)test_below(&shadow->rng, 16);
  size_t size = random_size(shadow) / count;
  void *address = hak_reallocarray(shadow->blocks[index].address, count, size);
  follow(shadow, index, address, count * size, 1, false);
}

static void step_aligned_alloc(shadow_t *shadow) {
  size_t alignment = random_alignment(shadow), size = random_size(shadow);
  add_if_given(shadow, hak_aligned_alloc(alignment, size), size, alignment);
}

static void step_aligned_realloc(shadow_t *shadow) {
  size_t index = random_index(shadow);
  size_t alignment = random_alignment(shadow), size = random_size(shadow);
  void *address = hak_aligned_realloc(shadow->blocks[index].address, alignment, size);
  follow(shadow, index, address, size, alignment, false);
}

static void step_allocx(shadow_t *shadow) {
  static hak_site_t site = {__FILE__, __LINE__, "shadow", {0, 0, 0, 0}};
  unsigned flags = (unsigned)test_below(&shadow->rng, 4); /* HAK_ZERO, HAK_NO_GROW */
  size_t alignment = test_below(&shadow->rng, 2) != 0 ? random_alignment(shadow) : 0;
  size_t size = random_size(shadow);
  hak_heap_t *heap = test_below(&shadow->rng, 2) != 0 ? hak_heap_default() : NULL;
  /* A record's count may be kept per thread or shared: only one of them here. */
  hak_site_t *here = (shadow->flags & SHADOW_ALONE) != 0 ? &site : NULL;
  unsigned char *address = hak_allocx(heap, size, alignment, flags, here);
  if (accept(shadow, address, (flags & HAK_NO_GROW) != 0)) {
    if ((flags & HAK_ZERO) != 0) {
      SHADOW_CHECK_THAT(shadow, test_is_zero(address, hak_usable_size(address)));
    }
    shadow_add(shadow, address, size, alignment == 0 ? 1 : alignment);
  }
}

static void step_reallocx(shadow_t *shadow, bool no_move) {
  size_t index = random_index(shadow);
  const shadow_block_t *block = &shadow->blocks[index];
  unsigned flags = (unsigned)test_below(&shadow->rng, 4);
  size_t size = no_move ? grown_size(shadow, block) : random_size(shadow);
  size_t alignment = no_move ? 0 : random_alignment(shadow);
  void *address = hak_reallocx(NULL, block->address, size, alignment,
                               flags | (no_move ? HAK_NO_MOVE : 0), NULL);
  SHADOW_CHECK_THAT(shadow, !no_move || address == NULL || address == block->address);
  follow(shadow, index, address, size, alignment == 0 ? 1 : alignment,
         no_move || (flags & HAK_NO_GROW) != 0);
}

static void step_resize_in_place(shadow_t *shadow) {
  size_t index = random_index(shadow);
  const shadow_block_t *block = &shadow->blocks[index];
  size_t least = test_below(&shadow->rng, 2) != 0
                     ? grown_size(shadow, block)
                     : (size_t)test_below(&shadow->rng, block->size + 1);
  size_t want = least + (size_t)test_below(&shadow->rng, least + 1);
  size_t usable = hak_resize_in_place(block->address, least, want);
  if (usable == 0) {
    SHADOW_CHECK_THAT(shadow, hak_usable_size(block->address) == block->usable);
    shadow_verify(shadow, block);
    return;
  }
  SHADOW_CHECK_THAT(shadow, usable >= least);
  SHADOW_CHECK_THAT(shadow, hak_usable_size(block->address) == usable);
  shadow_block_t old = shadow_remove(shadow, index);
  size_t size = want < usable ? want : usable;
  shadow_verify_kept(shadow, &old, old.address, size);
  /* Moving was forbidden, so the alignment holds. */
  shadow_add(shadow, old.address, size, old.alignment);
}

static void step_free(shadow_t *shadow, shadow_op_t how) {
  size_t index = random_index(shadow);
  shadow_verify(shadow, &shadow->blocks[index]);
  shadow_block_t block = shadow_remove(shadow, index);
  size_t size =
      block.size + (size_t)test_below(&shadow->rng, block.usable - block.size + 1);
  if (how == SHADOW_FREE_SIZED) {
    hak_free_sized(block.address, size);
  } else if (how == SHADOW_FREE_ALIGNED_SIZED) {
    hak_free_aligned_sized(block.address, block.alignment, size);
  } else {
    hak_free(block.address);
  }
  SHADOW_CHECK_THAT(shadow, errno == TEST_ERRNO);
}

static void step_strdup(shadow_t *shadow) {
  char text[512];
  size_t length = (size_t)test_below(&shadow->rng, sizeof text - 1);
  memset(text, 'h', length);
  text[length] = '\0';
  size_t most = (size_t)test_below(&shadow->rng, sizeof text);
  bool bounded = test_below(&shadow->rng, 2) != 0;
  char *copy = bounded ? hak_strndup(text, most) : hak_strdup(text);
  size_t expected = bounded && most < length ? most : length;
  if (accept(shadow, copy, false)) {
    SHADOW_CHECK_THAT(shadow, strlen(copy) == expected);
    SHADOW_CHECK_THAT(shadow, memcmp(copy, text, expected) == 0);
    shadow_add(shadow, copy, expected + 1, 1);
  }
}

static void step_alloc_at(shadow_t *shadow) {
  size_t size = random_size(shadow);
  HAK_SITE(elsewhere);
  bool alone = (shadow->flags & SHADOW_ALONE) != 0;
  add_if_given(shadow, hak_alloc_at(size, alone ? &elsewhere : NULL), size, 1);
}

static void step_usable_size(shadow_t *shadow) {
  const shadow_block_t *block = &shadow->blocks[random_index(shadow)];
  SHADOW_CHECK_THAT(shadow, hak_usable_size(block->address) == block->usable);
}

static void step_ptr_info(shadow_t *shadow) {
  const shadow_block_t *block = &shadow->blocks[random_index(shadow)];
  size_t offset = (size_t)test_below(&shadow->rng, block->usable);
  hak_block_t info = {.struct_size = sizeof info};
  SHADOW_CHECK_THAT(shadow, hak_ptr_info(block->address + offset, &info) == 0);
  SHADOW_CHECK_THAT(shadow, info.address == block->address);
  SHADOW_CHECK_THAT(shadow, info.size == block->usable);
  SHADOW_CHECK_THAT(shadow, info.is_start == (offset == 0));
  SHADOW_CHECK_THAT(shadow, info.heap == hak_heap_default());
  SHADOW_CHECK_THAT(shadow, hak_heap_of(block->address) == hak_heap_default());
  int hint = hak_move_hint(block->address);
  SHADOW_CHECK_THAT(shadow, hint == 0 || hint == 1);
}

/* Many blocks of one size at once, and half of them back: fills bins, turns
 * slabs over, makes partly free ones. */
static void step_wave(shadow_t *shadow) {
  size_t room = (shadow->max_blocks - shadow->count) / 2;
  size_t size = 1 + (size_t)test_below(&shadow->rng, 2048);
  size_t count = (size_t)test_below(&shadow->rng, room + 1);
  for (size_t i = 0; i < count; i++) {
    errno = TEST_ERRNO;
    add_if_given(shadow, hak_alloc(size), size, 1);
  }
  for (size_t i = 0; i < count / 2 && shadow->count > 0; i++) {
    errno = TEST_ERRNO;
    step_free(shadow, SHADOW_FREE);
  }
}

static void step_counts(shadow_t *shadow) {
  if ((shadow->flags & SHADOW_ALONE) == 0) {
    return;
  }
  hak_stats_t stats = test_stats();
  uint64_t bytes = 0;
  for (size_t i = 0; i < shadow->count; i++) {
    bytes += shadow->blocks[i].usable;
  }
  CHECK_EQ(stats.live_blocks, shadow->base_blocks + shadow->count);
  CHECK_EQ(stats.live_bytes, shadow->base_bytes + bytes);
}

static void step_option(shadow_t *shadow) {
  if ((shadow->flags & SHADOW_OPTIONS) == 0) {
    return;
  }
  size_t k = (size_t)test_below(&shadow->rng, TEST_COUNT(changeable));
  hak_option_info_t info = {.struct_size = sizeof info};
  SHADOW_CHECK_THAT(shadow, hak_option_describe(changeable[k].option, &info) == 0);
  int64_t most = changeable[k].most < info.max ? changeable[k].most : info.max;
  int64_t value =
      info.min + (int64_t)test_below(&shadow->rng, (uint64_t)(most - info.min) + 1);
  if (test_below(&shadow->rng, 4) == 0) {
    value = info.default_value;
  }
  SHADOW_CHECK_THAT(shadow, hak_option_set(changeable[k].option, value) == 0);
}

static void step_thread(shadow_t *shadow, shadow_op_t op) {
  if ((shadow->flags & SHADOW_THREAD) == 0) {
    return;
  }
  if (op == SHADOW_IDLE) {
    hak_thread_idle();
  } else {
    hak_thread_exit();
  }
}

void shadow_step(shadow_t *shadow, shadow_op_t op) {
  errno = TEST_ERRNO;
  switch (op) {
    case SHADOW_CALLOC:
      step_calloc(shadow);
      return;
    case SHADOW_REALLOC_NULL: {
      size_t size = random_size(shadow);
      add_if_given(shadow, hak_realloc(NULL, size), size, 1);
      return;
    }
    case SHADOW_ALIGNED_ALLOC:
      step_aligned_alloc(shadow);
      return;
    case SHADOW_ALLOCX:
      step_allocx(shadow);
      return;
    case SHADOW_STRDUP:
      step_strdup(shadow);
      return;
    case SHADOW_ALLOC_AT:
      step_alloc_at(shadow);
      return;
    case SHADOW_WAVE:
      step_wave(shadow);
      return;
    case SHADOW_COUNTS:
      step_counts(shadow);
      return;
    case SHADOW_CHECK:
      SHADOW_CHECK_THAT(shadow, hak_check(NULL) == 0);
      return;
    case SHADOW_COLLECT:
      (void)hak_collect(NULL, test_below(&shadow->rng, 2) != 0 ? 256 * KIB : SIZE_MAX,
                        test_below(&shadow->rng, 2) != 0 ? HAK_COLLECT_ALL : 0);
      return;
    case SHADOW_IDLE:
    case SHADOW_EXIT:
      step_thread(shadow, op);
      return;
    case SHADOW_OPTION:
      step_option(shadow);
      return;
    default:
      break;
  }
  /* What follows needs a block. */
  if (shadow->count == 0) {
    op = SHADOW_ALLOC;
  }
  switch (op) {
    case SHADOW_REALLOC_GROW:
      step_realloc(shadow, true);
      return;
    case SHADOW_REALLOC_SHRINK:
      step_realloc(shadow, false);
      return;
    case SHADOW_REALLOCARRAY:
      step_reallocarray(shadow);
      return;
    case SHADOW_ALIGNED_REALLOC:
      step_aligned_realloc(shadow);
      return;
    case SHADOW_REALLOCX:
      step_reallocx(shadow, false);
      return;
    case SHADOW_REALLOCX_NO_MOVE:
      step_reallocx(shadow, true);
      return;
    case SHADOW_RESIZE_IN_PLACE:
      step_resize_in_place(shadow);
      return;
    case SHADOW_FREE:
    case SHADOW_FREE_SIZED:
    case SHADOW_FREE_ALIGNED_SIZED:
      step_free(shadow, op);
      return;
    case SHADOW_USABLE_SIZE:
      step_usable_size(shadow);
      return;
    case SHADOW_PTR_INFO:
      step_ptr_info(shadow);
      return;
    case SHADOW_VERIFY:
      shadow_verify(shadow, &shadow->blocks[random_index(shadow)]);
      return;
    default:
      step_alloc(shadow);
      return;
  }
}
