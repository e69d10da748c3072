/* pairs_item.c - see pairs.h */
#include "pairs.h"

#include <errno.h>
#include <string.h>

#define DENSE_LIMIT (64 * KIB)
#define MOST (40 * MIB)

/* ---- Contents --------------------------------------------------------- */

static void fill(item_t *item) {
  item->dense = item->size <= DENSE_LIMIT || (item->size <= MIB && item->id % 8 == 0);
  if (item->dense) {
    test_fill(item->address, item->size, item->id);
  } else {
    test_fill_sparse(item->address, item->size, item->id);
  }
}

static void require_whole(const item_t *item, const void *address, size_t kept) {
  bool whole = item->dense ? test_verify(address, kept, item->id)
               : kept == item->size
                   ? test_verify_sparse(address, kept, item->id)
                   : test_verify_sparse_prefix(address, item->size, kept, item->id);
  CHECK_MSG(whole, "block %p of %zu bytes (id 0x%llx) was changed, seen at %p",
            (void *)item->address, item->size, (unsigned long long)item->id, address);
}

void item_verify(const item_t *item) {
  require_whole(item, item->address, item->size);
  hak_heap_t *heap = hak_heap_of(item->address);
  CHECK_MSG(heap == item->owner, "block %p of %zu bytes is of heap %p, not %p%s",
            (void *)item->address, item->size, (void *)heap, (void *)item->owner,
            item->orphan ? " (released)" : "");
}

/* ---- Making ----------------------------------------------------------- */

/* All tiers; mappings beyond 32 MiB seldom, as they take long to touch. Where blocks over
 * 2 MiB are mappings too there are more of these. */
static size_t draw_size(test_rng_t *rng) {
  uint64_t draw = test_below(rng, TEST_TSAN ? 100000 : 3000);
  if (draw == 0) return 33 * MIB + (size_t)test_below(rng, MOST - 33 * MIB);
  draw %= 1000;
  if (draw < 12) return MIB + (size_t)test_below(rng, 5 * MIB);
  if (draw < 50) return 56 * KIB + (size_t)test_below(rng, MIB - 56 * KIB);
  if (draw < 200) return 1 * KIB + (size_t)test_below(rng, 56 * KIB);
  return 1 + (size_t)test_below(rng, draw < 600 ? 200 : 1024);
}

static void note_address(pair_t *pair, const void *address) {
  size_t at = atomic_fetch_add_explicit(&pair->seen_next, 1, memory_order_relaxed) % SEEN;
  atomic_store_explicit(&pair->seen[at], (uintptr_t)address, memory_order_relaxed);
}

static unsigned char *draw_block(hak_heap_t *heap, size_t size, test_rng_t *rng) {
  bool is_default = heap == hak_heap_default();
  size_t alignment = (size_t)1 << test_below(rng, test_below(rng, 50) == 0 ? 20 : 13);
  unsigned char *block;
  switch (test_below(rng, 8)) {
    case 0:
      block = is_default ? hak_calloc(1, size) : hak_heap_calloc(heap, 1, size);
      CHECK(block == NULL || test_is_zero(block, size));
      return block;
    case 1:
      block = is_default ? hak_aligned_alloc(alignment, size)
                         : hak_heap_aligned_alloc(heap, alignment, size);
      CHECK(((uintptr_t)block & (alignment - 1)) == 0);
      return block;
    case 2:
      block = hak_allocx(heap, size, alignment, HAK_ZERO, NULL);
      CHECK(block == NULL || test_is_zero(block, size));
      CHECK(((uintptr_t)block & (alignment - 1)) == 0);
      return block;
    case 3:
      return is_default ? hak_realloc(NULL, size) : hak_heap_realloc(heap, NULL, size);
    default:
      return is_default ? hak_alloc(size) : hak_heap_alloc(heap, size);
  }
}

/* ---- Notes of blocks -------------------------------------------------- */

/* More than all tables and hands have at a time. */
#define MOST_ITEMS 8192

/* Not malloc's: a fork's child could wait for a lock of a sanitizer's malloc that a
 * thread which is not there has had. */
static struct {
  item_t item;
  atomic_bool taken;
} g_items[MOST_ITEMS];

static item_t *note_take(uint64_t id) {
  for (size_t i = 0; i < MOST_ITEMS; i++) {
    size_t place = (size_t)(id + i) % MOST_ITEMS;
    if (!atomic_exchange(&g_items[place].taken, true)) return &g_items[place].item;
  }
  test_fail(__FILE__, __LINE__, "%d blocks are noted at once", MOST_ITEMS);
}

static void note_return(item_t *item) {
  size_t place = ((size_t)((char *)item - (char *)g_items)) / sizeof g_items[0];
  CHECK_MSG(atomic_exchange(&g_items[place].taken, false), "a block is noted no more");
}

item_t *item_make_in(pair_t *pair, hak_heap_t *heap, bool may_fail, test_rng_t *rng) {
  size_t size = draw_size(rng);
  errno = TEST_ERRNO;
  unsigned char *block = draw_block(heap, size, rng);
  if (block == NULL) {
    CHECK_EQ(errno, ENOMEM);
    CHECK_MSG(may_fail, "no block of %zu bytes in a heap without limits", size);
    return NULL;
  }
  CHECK_EQ(errno, TEST_ERRNO);
  CHECK(hak_usable_size(block) >= size);
  uint64_t id = test_random(rng);
  item_t *item = note_take(id);
  *item = (item_t){.address = block, .size = size, .id = id, .owner = heap};
  fill(item);
  CHECK_MSG(hak_heap_of(block) == heap, "a new block of %zu bytes is another heap's",
            size);
  note_address(pair, block + test_below(rng, size));
  return item;
}

bool item_share(pen_t *pen, item_t *item) {
  for (size_t i = 0; i < pen->places; i++) {
    size_t place = (i + item->id) % pen->places;
    item_t *nothing = NULL;
    if (atomic_compare_exchange_strong(&pen->shared[place], &nothing, item)) return true;
  }
  return false;
}

static void share_or_free(pen_t *pen, item_t *item, test_rng_t *rng) {
  if (!item_share(pen, item)) item_free(item, rng);
}

enum {
  BATCH = 6
};

/* A heap is made below the pen's, and released with what it has; others may be freeing
 * the first of its blocks before the last is known to them. */
static item_t *make_orphans(pair_t *pair, pen_t *pen, test_rng_t *rng) {
  hak_heap_config_t config = {.struct_size = sizeof config, .parent = pen->handle};
  if (test_below(rng, 2) == 0) config.hard_limit = 16 * MIB;
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  item_t *items[BATCH];
  size_t count = 0;
  for (size_t i = 0; i < BATCH; i++) {
    item_t *item = item_make_in(pair, heap, true, rng);
    if (item != NULL) items[count++] = item;
  }
  CHECK_EQ(hak_heap_release(heap), 0);
  for (size_t i = 0; i < count; i++) {
    item_orphan(items[i], pen->handle);
    if (i > 0) share_or_free(pen, items[i], rng);
  }
  return count == 0 ? NULL : items[0];
}

item_t *item_make(pair_t *pair, pen_t *pen, test_rng_t *rng) {
  if (pen->kind == KIND_ORPHANS) return make_orphans(pair, pen, rng);
  return item_make_in(pair, pen->handle, atomic_load(&pen->may_fail), rng);
}

/* ---- Changing and ending ---------------------------------------------- */

static size_t draw_resize(const item_t *item, test_rng_t *rng) {
  if (test_below(rng, 4) == 0) return draw_size(rng);
  size_t size = 1 + (size_t)test_below(rng, 2 * item->size + 16);
  return size < MOST ? size : MOST;
}

/* True if the size has changed; contents are kept up to the smaller of both. */
static bool change_size(pair_t *pair, pen_t *pen, item_t *item, size_t size,
                        test_rng_t *rng) {
  size_t kept = size < item->size ? size : item->size;
  if (test_below(rng, 3) == 0) {
    size_t usable = hak_resize_in_place(item->address, size, size + 100);
    if (usable == 0) return false;
    CHECK(usable >= size && hak_usable_size(item->address) == usable);
    require_whole(item, item->address, kept);
    return true;
  }
  unsigned char *moved = hak_realloc(item->address, size);
  if (moved == NULL) {
    CHECK(item->orphan || atomic_load(&pen->may_fail));
    return false;
  }
  require_whole(item, moved, kept);
  item->address = moved;
  note_address(pair, moved);
  return true;
}

void item_resize(pair_t *pair, pen_t *pen, item_t *item, test_rng_t *rng) {
  item_verify(item);
  size_t size = draw_resize(item, rng);
  if (change_size(pair, pen, item, size, rng)) {
    item->size = size;
    item->id = test_random(rng);
    fill(item);
  }
  item_verify(item);
}

void item_free(item_t *item, test_rng_t *rng) {
  item_verify(item);
  switch (test_below(rng, 4)) {
    case 0:
      hak_free_sized(item->address, item->size);
      break;
    case 1:
      if (!item->orphan) {
        hak_heap_free(item->owner, item->address);
        break;
      } /* fall through */
    default:
      hak_free(item->address);
      break;
  }
  note_return(item);
}

void item_forget(item_t *item) { note_return(item); }

void item_orphan(item_t *item, hak_heap_t *owner) {
  item->owner = owner;
  item->orphan = true;
}
