#include "external/external_heap.h"

#include <errno.h>

#include "base/check.h"
#include "base/sys.h"
#include "pages/meta.h"
#include "pages/registry.h"

/* Guards the lists of records, by `next` and by `next_unused`. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_EXTERNAL_HEAPS);
static hak_external_heap_t *all, *unused; /* [lock] */

/* --- records --------------------------------------------------------------------- */

static hak_external_heap_t *record_get(const hak_os_t *os) {
  hak_lock_acquire(&lock);
  hak_external_heap_t *external = unused;
  if (external != NULL) unused = external->next_unused;
  hak_lock_release(&lock);
  if (external != NULL) return external;
  external = hak_meta_alloc(os, sizeof *external, HAK_CACHE_LINE);
  if (external == NULL) return NULL;
  hak_lock_init(&external->lock, HAK_RANK_EXTERNAL_HEAP);
  hak_lock_acquire(&lock);
  external->next = all;
  all = external;
  hak_lock_release(&lock);
  return external;
}

static void record_put(hak_external_heap_t *external) {
  hak_lock_acquire(&lock);
  external->next_unused = unused;
  unused = external;
  hak_lock_release(&lock);
}

void hak_externals_each_lock(void (*act)(hak_lock_t *lock), bool list_first) {
  if (list_first) act(&lock);
  for (hak_external_heap_t *external = all; external != NULL; external = external->next)
    act(&external->lock);
  if (!list_first) act(&lock);
}

void hak_externals_recount(void) {
  for (hak_external_heap_t *external = all; external != NULL; external = external->next) {
    hak_gate_recount(&external->gate, 0);
  }
}

/* A fork may come between the two steps of either function: its child then does not
 * return what was not borrowed, and may leave borrowed what it will not use. */
static void borrow(hak_external_heap_t *external, void *memory, size_t size) {
  hak_os_borrow(memory, size);
  hak_compiler_fence();
  external->borrowed = true;
}

static void give_back(hak_external_heap_t *external) {
  if (!external->borrowed) return;
  external->borrowed = false;
  hak_compiler_fence();
  void *memory = hak_load_relaxed(&external->range.extent.block);
  hak_os_return(memory, hak_external_bytes(external));
}

void hak_externals_stop(void) {
  for (hak_external_heap_t *external = all; external != NULL; external = external->next) {
    give_back(external);
  }
  all = unused = NULL;
}

/* --- life -------------------------------------------------------------------------- */

/* Bytes at the start of the memory for the records of so many granules. */
static size_t head_size(size_t granules) {
  size_t words = 2 * hak_external_map_words(granules);
  return hak_align_up(words * sizeof(uint64_t) + hak_external_lists_size(granules),
                      HAK_GRANULE);
}

/* The granules that fit with their records: as many as `size` has room for without
 * records, less what those take. */
static size_t granules_for(size_t size) {
  size_t most = size >> HAK_GRANULE_SHIFT;
  return (size - head_size(most)) >> HAK_GRANULE_SHIFT;
}

static void make_empty(hak_external_heap_t *external) {
  size_t words = hak_external_map_words(external->map.granules);
  for (size_t i = 0; i < words; i++) {
    hak_store_relaxed(&external->map.starts[i], 0);
    hak_store_relaxed(&external->map.used[i], 0);
  }
  hak_external_map_init(&external->map);
  hak_external_lists_fill(external->lists);
  hak_store_relaxed(&external->blocks, 0);
  hak_store_relaxed(&external->granules, 0);
}

static void lay_out(hak_external_heap_t *external, char *start, size_t size) {
  size_t granules = granules_for(size), words = hak_external_map_words(granules);
  external->map.starts = (hak_atomic_u64_t *)(void *)start;
  external->map.used = external->map.starts + words;
  external->map.granules = granules;
  external->lists = (hak_external_lists_t *)(void *)(external->map.used + words);
  external->base = start + head_size(granules);
  *external->lists =
      (hak_external_lists_t){.base = external->base,
                             .map = &external->map,
                             .corrupt = &external->corrupt,
                             .secret = hak_sys_entropy() ^ (uintptr_t)start};
  hak_store_relaxed(&external->corrupt, NULL);
  make_empty(external);
}

HAK_SLOW hak_external_heap_t *hak_external_open(const hak_os_t *os, void *memory,
                                                size_t size, int *error) {
  *error = EINVAL;
  uintptr_t from = (uintptr_t)memory;
  if (size < HAK_EXTERNAL_MIN || from + size < from) return NULL;
  *error = ENOMEM;
  hak_external_heap_t *external = record_get(os);
  if (external == NULL) return NULL;
  /* The memory is written to only once it is known to be nobody else's, bytes that are in
   * no whole granule included. */
  *error = hak_external_range_add(os, &external->range, memory, size);
  if (*error != 0) {
    record_put(external);
    return NULL;
  }
  borrow(external, memory, size);
  uintptr_t start = hak_align_up(from, HAK_GRANULE);
  lay_out(external, (char *)start, hak_align_down(from + size, HAK_GRANULE) - start);
  hak_lock_acquire(&external->lock);
  external->open = true;
  hak_lock_release(&external->lock);
  hak_gate_open(&external->gate);
  return external;
}

/* Release: publishes the external heap's records to hak_locate. */
void hak_external_set_heap(hak_external_heap_t *external, void *handle) {
  hak_store_release(&external->range.extent.heap, handle);
}

static HAK_SLOW void close_memory(hak_external_heap_t *external) {
  hak_external_leave_heap(external);
  hak_lock_acquire(&external->lock);
  external->open = false;
  hak_lock_release(&external->lock);
  hak_gate_close(&external->gate);
  (void)hak_gate_wait(&external->gate, 0);
  give_back(external);
  hak_external_range_remove(&external->range);
  hak_store_relaxed(&external->blocks, 0);
  hak_store_relaxed(&external->granules, 0);
}

void hak_external_close(hak_external_heap_t *external) {
  close_memory(external);
  record_put(external);
}

/* Records that have no memory then are nobody's. */
HAK_SLOW void hak_externals_close_unserved(void) {
  unused = NULL;
  for (hak_external_heap_t *external = all; external != NULL; external = external->next) {
    bool served = hak_load_relaxed(&external->range.extent.heap) != NULL;
    if (hak_external_bytes(external) > 0 && !served) close_memory(external);
    if (hak_external_bytes(external) == 0) record_put(external);
  }
}

void hak_external_clear(hak_external_heap_t *external) {
  hak_lock_acquire(&external->lock);
  if (external->open) make_empty(external);
  hak_lock_release(&external->lock);
}

/* --- blocks ------------------------------------------------------------------------ */

/* Granules for a block of `size` bytes; 0 if there are never so many. */
static size_t granules_of(const hak_external_heap_t *external, size_t size) {
  if (size > external->map.granules << HAK_GRANULE_SHIFT) return 0;
  return size == 0 ? 1 : hak_div_up(size, HAK_GRANULE);
}

static void *address_of(const hak_external_heap_t *external, size_t at) {
  return external->base + (at << HAK_GRANULE_SHIFT);
}

/* The granule of an address, or one beyond all if it is in none. */
static size_t granule_at(const hak_external_heap_t *external, const void *address) {
  size_t offset = (size_t)((const char *)address - external->base);
  return (const char *)address < external->base ? SIZE_MAX : offset >> HAK_GRANULE_SHIFT;
}

static bool is_block(const hak_external_heap_t *external, const void *address,
                     size_t *at) {
  *at = granule_at(external, address);
  return *at < external->map.granules &&
         hak_is_aligned((uintptr_t)address, HAK_GRANULE) &&
         hak_external_map_is_start(&external->map, *at) &&
         hak_external_map_is_used(&external->map, *at);
}

/* One writer at a time: the counters are read without the lock. */
static void count_locked(hak_external_heap_t *external, int64_t blocks,
                         int64_t granules) {
  hak_lock_assert_held(&external->lock);
  hak_count_own(&external->blocks, (uint64_t)blocks);
  hak_count_own(&external->granules, (uint64_t)granules);
}

static void add_free_locked(hak_external_heap_t *external, size_t at, size_t length) {
  hak_lock_assert_held(&external->lock);
  if (length == 0) return;
  hak_external_map_set(&external->map, at, length, false);
  hak_external_lists_insert(external->lists, at, length);
}

static void *alloc_locked(hak_external_heap_t *external, size_t length, size_t step) {
  hak_lock_assert_held(&external->lock);
  if (!external->open) return NULL;
  size_t block;
  size_t at = hak_external_lists_find(external->lists, length, step, &block);
  if (at == external->map.granules) return NULL;
  size_t have = hak_external_map_length(&external->map, at), lead = block - at;
  hak_external_lists_remove(external->lists, at, have);
  add_free_locked(external, block + length, have - lead - length);
  hak_external_map_set(&external->map, block, length, true);
  add_free_locked(external, at, lead);
  count_locked(external, 1, (int64_t)length);
  return address_of(external, block);
}

void *hak_external_alloc(hak_external_heap_t *external, size_t size, size_t alignment) {
  size_t length = granules_of(external, size);
  size_t step = alignment <= HAK_GRANULE ? 1 : alignment >> HAK_GRANULE_SHIFT;
  if (length == 0) return NULL;
  hak_lock_acquire(&external->lock);
  void *block = alloc_locked(external, length, step);
  hak_lock_release(&external->lock);
  return block;
}

/* The chunk in use at `at`, with what is free behind it: taken off its list and joined.
 * The map says so at once, as the lists may be made anew from it. */
static size_t join_next_locked(hak_external_heap_t *external, size_t at, size_t length) {
  hak_lock_assert_held(&external->lock);
  size_t next = at + length;
  if (hak_external_map_is_used(&external->map, next)) return length;
  size_t more = hak_external_map_length(&external->map, next);
  hak_external_lists_remove(external->lists, next, more);
  hak_external_map_join(&external->map, next);
  hak_external_map_set(&external->map, at, length + more, true);
  return length + more;
}

static void free_locked(hak_external_heap_t *external, size_t at) {
  hak_lock_assert_held(&external->lock);
  size_t length = hak_external_map_length(&external->map, at);
  count_locked(external, -1, -(int64_t)length);
  length = join_next_locked(external, at, length);
  if (at > 0) {
    size_t before = hak_external_map_before(&external->map, at);
    if (!hak_external_map_is_used(&external->map, before)) {
      hak_external_lists_remove(external->lists, before, at - before);
      hak_external_map_join(&external->map, at);
      length += at - before;
      at = before;
    }
  }
  add_free_locked(external, at, length);
}

bool hak_external_free(hak_external_heap_t *external, const void *block) {
  size_t at;
  hak_lock_acquire(&external->lock);
  bool ok = external->open && is_block(external, block, &at);
  if (ok) free_locked(external, at);
  hak_lock_release(&external->lock);
  return ok;
}

static size_t resize_locked(hak_external_heap_t *external, size_t at, size_t least,
                            size_t want) {
  hak_lock_assert_held(&external->lock);
  size_t old = hak_external_map_length(&external->map, at), room = old, next = at + old;
  if (!hak_external_map_is_used(&external->map, next)) {
    room += hak_external_map_length(&external->map, next);
  }
  if (least > room) return 0;
  if (want > room) want = room;
  if (want == old) return old;
  size_t all_of_it = join_next_locked(external, at, old);
  add_free_locked(external, at + want, all_of_it - want);
  hak_external_map_set(&external->map, at, want, true);
  count_locked(external, 0, (int64_t)want - (int64_t)old);
  return want;
}

size_t hak_external_resize(hak_external_heap_t *external, void *block, size_t least,
                           size_t want) {
  size_t at, most = external->map.granules;
  size_t from = granules_of(external, least), to = granules_of(external, want), now = 0;
  if (from == 0) return 0;
  if (to == 0) to = most;
  hak_lock_acquire(&external->lock);
  if (external->open && is_block(external, block, &at))
    now = resize_locked(external, at, from, to);
  hak_lock_release(&external->lock);
  return now << HAK_GRANULE_SHIFT;
}

bool hak_external_is_empty(hak_external_heap_t *external) {
  hak_lock_acquire(&external->lock);
  bool empty = hak_external_live_blocks(external) == 0;
  hak_lock_release(&external->lock);
  return empty;
}

/* --- looking ------------------------------------------------------------------------ */

size_t hak_external_usable(const hak_external_heap_t *external, const void *block) {
  size_t at;
  if (!is_block(external, block, &at)) return 0;
  return hak_external_map_length(&external->map, at) << HAK_GRANULE_SHIFT;
}

static bool chunk_at(const hak_external_heap_t *external, const void *address,
                     hak_external_chunk_t *chunk) {
  size_t asked = granule_at(external, address);
  if (asked >= external->map.granules) return false;
  size_t at = hak_external_map_around(&external->map, asked);
  size_t length = hak_external_map_length(&external->map, at);
  /* Nothing changes of a block in use; elsewhere the map may be read in the middle of a
   * change. */
  if (length > external->map.granules - at || asked - at >= length) return false;
  chunk->start = address_of(external, at);
  chunk->size = length << HAK_GRANULE_SHIFT;
  chunk->used = hak_external_map_is_used(&external->map, at);
  return true;
}

bool hak_external_chunk_at(hak_external_heap_t *external, const void *address,
                           hak_external_chunk_t *chunk) {
  if (!hak_gate_enter(&external->gate)) return false;
  bool found = chunk_at(external, address, chunk);
  hak_gate_leave(&external->gate);
  return found;
}

void hak_external_visit(const hak_external_heap_t *external,
                        bool (*visit)(char *block, size_t size, void *ctx), void *ctx) {
  for (size_t at = 0; at < external->map.granules;) {
    size_t length = hak_external_map_length(&external->map, at);
    if (hak_external_map_is_used(&external->map, at) &&
        !visit(address_of(external, at), length << HAK_GRANULE_SHIFT, ctx)) {
      return;
    }
    at += length;
  }
}

static bool is_valid_locked(hak_external_heap_t *external) {
  hak_lock_assert_held(&external->lock);
  const hak_external_map_t *map = &external->map;
  if (!hak_external_map_is_valid(map) || !hak_external_lists_are_valid(external->lists)) {
    return false;
  }
  uint64_t blocks = 0, granules = 0;
  for (size_t at = 0; at < map->granules; at += hak_external_map_length(map, at)) {
    if (!hak_external_map_is_used(map, at)) continue;
    blocks++;
    granules += hak_external_map_length(map, at);
  }
  return blocks == hak_load_relaxed(&external->blocks) &&
         granules == hak_load_relaxed(&external->granules);
}

bool hak_external_is_valid(hak_external_heap_t *external) {
  hak_lock_acquire(&external->lock);
  bool valid = !external->open || is_valid_locked(external);
  hak_lock_release(&external->lock);
  return valid;
}
