/* shadow_blocks.c - operations on blocks; see shadow.h */
#include "shadow.h"

#include <errno.h>
#include <string.h>

static size_t random_alignment(shadow_t *shadow) {
  unsigned most = shadow_pick(shadow, 100) == 0 ? 23 : 13;
  return (size_t)1 << shadow_pick(shadow, most);
}

/* The handle of a heap; NULL, which stands for the default heap, now and then. */
static hak_heap_t *handle_of(shadow_t *shadow, unsigned heap) {
  return heap == 0 && shadow_pick(shadow, 2) == 0 ? NULL : shadow->heaps[heap].handle;
}

/* A watched heap's hook heard of what the program was given. */
static void require_told(shadow_t *shadow, unsigned heap, const void *address) {
  const shadow_heap_t *of = &shadow->heaps[heap];
  SHADOW_CHECK_THAT(shadow, (of->flags & HAK_HEAP_WATCHED) == 0 || of->last == address);
}

static void add_if_given(shadow_t *shadow, unsigned heap, void *address, size_t size,
                         size_t alignment) {
  if (shadow_accept(shadow, address, shadow_may_refuse(shadow, heap))) {
    require_told(shadow, heap, address);
    shadow_add(shadow, heap, address, size, alignment);
  }
}

/* ---- New blocks ------------------------------------------------------- */

void shadow_step_alloc(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  size_t size = shadow_pick_size(shadow);
  void *address = heap == 0 && shadow_pick(shadow, 4) != 0
                      ? hak_alloc(size)
                      : hak_heap_alloc(handle_of(shadow, heap), size);
  add_if_given(shadow, heap, address, size, 1);
}

void shadow_step_alloc_usable(shadow_t *shadow) {
  size_t size = shadow_pick_size(shadow), usable = 1;
  size_t good = hak_good_size(size);
  void *address = hak_alloc_usable(size, &usable);
  SHADOW_CHECK_THAT(shadow, usable == hak_usable_size(address));
  SHADOW_CHECK_THAT(shadow, good >= size && (address == NULL || usable >= good));
  add_if_given(shadow, 0, address, size, 1);
}

void shadow_step_calloc(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  size_t size = shadow_pick_size(shadow), count = 1 + (size_t)shadow_pick(shadow, 8);
  size /= count;
  unsigned char *address = heap == 0
                               ? hak_calloc(count, size)
                               : hak_heap_calloc(handle_of(shadow, heap), count, size);
  SHADOW_CHECK_THAT(shadow, address == NULL || test_is_zero(address, count * size));
  add_if_given(shadow, heap, address, count * size, 1);
}

void shadow_step_realloc_null(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  size_t size = shadow_pick_size(shadow);
  void *address = heap == 0 ? hak_realloc(NULL, size)
                            : hak_heap_realloc(handle_of(shadow, heap), NULL, size);
  add_if_given(shadow, heap, address, size, 1);
}

void shadow_step_aligned_alloc(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  size_t alignment = random_alignment(shadow), size = shadow_pick_size(shadow);
  void *address = heap == 0
                      ? hak_aligned_alloc(alignment, size)
                      : hak_heap_aligned_alloc(handle_of(shadow, heap), alignment, size);
  add_if_given(shadow, heap, address, size, alignment);
}

/* A place in the program, or none. A record's count may be kept per thread or shared:
 * only one shadow at a time has them. */
static hak_site_t *random_site(shadow_t *shadow) {
  static hak_site_t sites[] = {{"shadow.c", 1, "nodes", {0}},
                               {"shadow.c", 2, "text", {0}},
                               {"shadow.c", 3, NULL, {0}},
                               {NULL, 0, "types", {0}},
                               {"shadow.c", 5, "rare", {0}}};
  bool named = (shadow->flags & SHADOW_ALONE) != 0 && shadow_pick(shadow, 8) != 0;
  return named ? &sites[shadow_pick(shadow, TEST_COUNT(sites))] : NULL;
}

void shadow_step_allocx(shadow_t *shadow) {
  static const unsigned all[] = {HAK_ZERO, HAK_NO_GROW, HAK_NO_CACHE};
  unsigned flags = 0, heap = shadow_pick_heap(shadow);
  for (size_t i = 0; i < TEST_COUNT(all); i++) {
    flags |= shadow_pick(shadow, 2) != 0 ? all[i] : 0;
  }
  size_t alignment = shadow_pick(shadow, 2) != 0 ? random_alignment(shadow) : 0;
  size_t size = shadow_pick_size(shadow);
  hak_site_t *site = random_site(shadow);
  unsigned char *address =
      hak_allocx(handle_of(shadow, heap), size, alignment, flags, site);
  bool may_refuse = shadow_may_refuse(shadow, heap) || (flags & HAK_NO_GROW) != 0;
  if (shadow_accept(shadow, address, may_refuse)) {
    if ((flags & HAK_ZERO) != 0) {
      SHADOW_CHECK_THAT(shadow, test_is_zero(address, hak_usable_size(address)));
    }
    require_told(shadow, heap, address);
    shadow_add(shadow, heap, address, size, alignment == 0 ? 1 : alignment);
  }
}

void shadow_step_strdup(shadow_t *shadow) {
  char text[512];
  size_t length = (size_t)shadow_pick(shadow, sizeof text - 1);
  memset(text, 'h', length);
  text[length] = '\0';
  size_t most = (size_t)shadow_pick(shadow, sizeof text);
  bool bounded = shadow_pick(shadow, 2) != 0;
  char *copy = bounded ? hak_strndup(text, most) : hak_strdup(text);
  size_t expected = bounded && most < length ? most : length;
  if (shadow_accept(shadow, copy, shadow_may_refuse(shadow, 0))) {
    SHADOW_CHECK_THAT(shadow, strlen(copy) == expected);
    SHADOW_CHECK_THAT(shadow, memcmp(copy, text, expected) == 0);
    shadow_add(shadow, 0, copy, expected + 1, 1);
  }
}

void shadow_step_alloc_at(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  size_t size = shadow_pick_size(shadow);
  hak_site_t *site = random_site(shadow);
  void *address = heap == 0 ? hak_alloc_at(size, site)
                            : hak_heap_alloc_at(handle_of(shadow, heap), size, site);
  add_if_given(shadow, heap, address, size, 1);
}

/* Many blocks of one size at once, and half of them back: fills bins, turns
 * slabs over, makes partly free ones. */
void shadow_step_wave(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  size_t room = (shadow->max_blocks - shadow->count) / 2;
  size_t size = 1 + (size_t)shadow_pick(shadow, 2048);
  size_t count = (size_t)shadow_pick(shadow, room + 1);
  for (size_t i = 0; i < count; i++) {
    errno = TEST_ERRNO;
    add_if_given(shadow, heap, hak_heap_alloc(shadow->heaps[heap].handle, size), size, 1);
  }
  for (size_t i = 0; i < count / 2 && shadow->count > 0; i++) {
    errno = TEST_ERRNO;
    shadow_step_free(shadow);
  }
}

/* ---- Blocks that change ----------------------------------------------- */

/* After a call that may have moved the block: the map follows. */
static void follow(shadow_t *shadow, uint32_t place, void *address, size_t size,
                   size_t alignment, bool may_refuse) {
  const shadow_block_t *block = &shadow->blocks[place];
  may_refuse = may_refuse || block->bounded || shadow_may_refuse(shadow, block->heap);
  if (!shadow_accept(shadow, address, may_refuse)) {
    shadow_verify(shadow, block);
    return;
  }
  shadow_block_t old = shadow_remove(shadow, place);
  shadow_verify_kept(shadow, &old, address, size);
  shadow_add(shadow, old.heap, address, size, alignment);
}

static uint32_t pick_to_change(shadow_t *shadow) {
  shadow->busy = shadow_pick_block(shadow);
  return shadow->busy;
}

static size_t grown_size(shadow_t *shadow, const shadow_block_t *block) {
  size_t most = block->size < 64 ? 256 : block->size;
  size_t size = block->size + (size_t)shadow_pick(shadow, most + 1);
  return size > shadow->max_size * 2 ? block->size : size;
}

void shadow_step_realloc_grow(shadow_t *shadow) {
  uint32_t place = pick_to_change(shadow);
  const shadow_block_t *block = &shadow->blocks[place];
  size_t size = grown_size(shadow, block);
  void *address = shadow_pick(shadow, 2) == 0
                      ? hak_realloc(block->address, size)
                      : hak_heap_realloc(NULL, block->address, size);
  follow(shadow, place, address, size, 1, false);
}

/* Never fails, whatever the system does. */
void shadow_step_realloc_shrink(shadow_t *shadow) {
  uint32_t place = pick_to_change(shadow);
  const shadow_block_t *block = &shadow->blocks[place];
  size_t size = (size_t)shadow_pick(shadow, block->size + 1);
  void *address = hak_realloc(block->address, size);
  SHADOW_CHECK_THAT(shadow, address != NULL);
  follow(shadow, place, address, size, 1, false);
}

void shadow_step_reallocarray(shadow_t *shadow) {
  uint32_t place = pick_to_change(shadow);
  size_t count = 1 + (size_t)shadow_pick(shadow, 16);
  size_t size = shadow_pick_size(shadow) / count;
  void *address = hak_reallocarray(shadow->blocks[place].address, count, size);
  follow(shadow, place, address, count * size, 1, false);
}

void shadow_step_aligned_realloc(shadow_t *shadow) {
  uint32_t place = pick_to_change(shadow);
  size_t alignment = random_alignment(shadow), size = shadow_pick_size(shadow);
  void *address = hak_aligned_realloc(shadow->blocks[place].address, alignment, size);
  follow(shadow, place, address, size, alignment, false);
}

static void change(shadow_t *shadow, bool no_move) {
  uint32_t place = pick_to_change(shadow);
  const shadow_block_t *block = &shadow->blocks[place];
  const shadow_block_t before = *block;
  unsigned flags = (unsigned)shadow_pick(shadow, 4); /* HAK_ZERO, HAK_NO_GROW */
  size_t size = no_move ? grown_size(shadow, block) : shadow_pick_size(shadow);
  size_t alignment = no_move ? 0 : random_alignment(shadow);
  hak_site_t *site = random_site(shadow);
  unsigned char *address = hak_reallocx(NULL, block->address, size, alignment,
                                        flags | (no_move ? HAK_NO_MOVE : 0), site);
  SHADOW_CHECK_THAT(shadow, !no_move || address == NULL || address == before.address);
  if (address != NULL && (flags & HAK_ZERO) != 0) {
    size_t usable = hak_usable_size(address);
    SHADOW_CHECK_THAT(shadow,
                      usable <= before.usable ||
                          test_is_zero(address + before.usable, usable - before.usable));
  }
  follow(shadow, place, address, size, alignment == 0 ? 1 : alignment,
         no_move || (flags & HAK_NO_GROW) != 0);
}

void shadow_step_reallocx(shadow_t *shadow) { change(shadow, false); }
void shadow_step_reallocx_no_move(shadow_t *shadow) { change(shadow, true); }

void shadow_step_realloc_at(shadow_t *shadow) {
  uint32_t place = pick_to_change(shadow);
  size_t size = shadow_pick_size(shadow);
  hak_site_t *site = random_site(shadow);
  void *address = hak_realloc_at(shadow->blocks[place].address, size, site);
  follow(shadow, place, address, size, 1, false);
}

void shadow_step_resize_in_place(shadow_t *shadow) {
  uint32_t place = pick_to_change(shadow);
  const shadow_block_t *block = &shadow->blocks[place];
  size_t least = shadow_pick(shadow, 2) != 0
                     ? grown_size(shadow, block)
                     : (size_t)shadow_pick(shadow, block->size + 1);
  size_t want = least + (size_t)shadow_pick(shadow, least + 1);
  size_t usable = hak_resize_in_place(block->address, least, want);
  if (usable == 0) {
    SHADOW_CHECK_THAT(shadow, hak_usable_size(block->address) == block->usable);
    shadow_verify(shadow, block);
    return;
  }
  SHADOW_CHECK_THAT(shadow, usable >= least);
  SHADOW_CHECK_THAT(shadow, hak_usable_size(block->address) == usable);
  shadow_block_t old = shadow_remove(shadow, place);
  size_t size = want < usable ? want : usable;
  shadow_verify_kept(shadow, &old, old.address, size);
  /* Moving was forbidden, so the alignment holds. */
  shadow_add(shadow, old.heap, old.address, size, old.alignment);
}

/* As a program does that moves blocks to give memory back. */
void shadow_step_move(shadow_t *shadow) {
  uint32_t place = pick_to_change(shadow);
  const shadow_block_t *block = &shadow->blocks[place];
  int hint = hak_move_hint(block->address);
  SHADOW_CHECK_THAT(shadow, hint == 0 || hint == 1);
  if (hint == 0 && shadow_pick(shadow, 4) != 0) {
    return;
  }
  unsigned heap = block->heap;
  unsigned char *address = hak_allocx(shadow->heaps[heap].handle, block->size,
                                      block->alignment, HAK_NO_CACHE, NULL);
  if (shadow_accept(shadow, address, shadow_may_refuse(shadow, heap))) {
    memcpy(address, block->address, block->size);
    shadow_block_t old = shadow_remove(shadow, place);
    SHADOW_CHECK_THAT(shadow, hak_freex(old.address, HAK_NO_CACHE) == 0);
    shadow_verify_kept(shadow, &old, address, old.size);
    shadow_add(shadow, heap, address, old.size, old.alignment);
  }
}

/* ---- Blocks that go --------------------------------------------------- */

static shadow_block_t take(shadow_t *shadow) {
  uint32_t place = shadow_pick_block(shadow);
  shadow_verify(shadow, &shadow->blocks[place]);
  return shadow_remove(shadow, place);
}

static size_t size_of_free(shadow_t *shadow, const shadow_block_t *block) {
  return block->size + (size_t)shadow_pick(shadow, block->usable - block->size + 1);
}

void shadow_step_free(shadow_t *shadow) {
  shadow_block_t block = take(shadow);
  hak_free(block.address);
  SHADOW_CHECK_THAT(shadow, errno == TEST_ERRNO);
}

void shadow_step_free_sized(shadow_t *shadow) {
  shadow_block_t block = take(shadow);
  hak_free_sized(block.address, size_of_free(shadow, &block));
  SHADOW_CHECK_THAT(shadow, errno == TEST_ERRNO);
}

void shadow_step_free_aligned_sized(shadow_t *shadow) {
  shadow_block_t block = take(shadow);
  size_t size = size_of_free(shadow, &block);
  hak_free_aligned_sized(block.address, block.alignment, size);
  SHADOW_CHECK_THAT(shadow, errno == TEST_ERRNO);
}

void shadow_step_free_usable(shadow_t *shadow) {
  shadow_block_t block = take(shadow);
  SHADOW_CHECK_THAT(shadow, hak_free_usable(block.address) == block.usable);
  SHADOW_CHECK_THAT(shadow, errno == TEST_ERRNO);
}

void shadow_step_freex(shadow_t *shadow) {
  shadow_block_t block = take(shadow);
  unsigned flags = shadow_pick(shadow, 2) != 0 ? HAK_NO_CACHE : 0;
  SHADOW_CHECK_THAT(shadow, hak_freex(block.address, flags) == 0);
  SHADOW_CHECK_THAT(shadow, errno == TEST_ERRNO);
}

void shadow_step_heap_free(shadow_t *shadow) {
  shadow_block_t block = take(shadow);
  hak_heap_free(handle_of(shadow, block.heap), block.address);
  SHADOW_CHECK_THAT(shadow, errno == TEST_ERRNO);
}

void shadow_step_empty(shadow_t *shadow) {
  shadow_empty(shadow);
  if ((shadow->flags & SHADOW_ALONE) != 0) {
    SHADOW_CHECK_THAT(shadow, hak_check(NULL) == 0);
  }
}
