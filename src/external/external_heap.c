#include "external/external_heap.h"

#include <errno.h>

#include "base/check.h"
#include "base/sys.h"
#include "pages/meta.h"
#include "superslab/locate.h"

/* Guards the lists of records, by `next` and by `next_unused`. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_EXTERNAL_HEAPS);
static hak_external_heap_t *all, *unused; /* [lock] */

enum {
  PAGE_SHIFT = 12, /* of an annex's granules */
  PAGE = 1 << PAGE_SHIFT,
  UNIT = HAK_SUPERSLAB_SIZE >> PAGE_SHIFT /* granules */
};

/* --- records --------------------------------------------------------------------- */

static HAK_SLOW hak_external_heap_t *record_new(const hak_os_t *os,
                                                const hak_fixed_os_t *hooks) {
  hak_external_heap_t *external = hak_meta_alloc(os, sizeof *external, HAK_CACHE_LINE);
  if (external == NULL) return NULL;
  external->hooks = hooks;
  hak_lock_init(&external->lock, HAK_RANK_EXTERNAL_HEAP);
  hak_lock_acquire(&lock);
  external->next = all;
  all = external;
  hak_lock_release(&lock);
  return external;
}

static HAK_SLOW hak_external_heap_t *record_get(const hak_os_t *os) {
  hak_lock_acquire(&lock);
  hak_external_heap_t *external = unused;
  if (external != NULL) unused = external->next_unused;
  hak_lock_release(&lock);
  return external != NULL ? external : record_new(os, NULL);
}

static void record_put(hak_external_heap_t *external) {
  if (external->hooks != NULL) return; /* its region keeps it */
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

/* Bytes for the records of so many granules. */
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

/* The first whole unit of the memory. */
static size_t first_unit(const hak_external_heap_t *external) {
  uintptr_t base = (uintptr_t)external->base;
  return (hak_align_up(base, HAK_SUPERSLAB_SIZE) - base) >> external->map.shift;
}

/* All units of an annex are lent: what lies in front of them and behind is free. */
static HAK_SLOW void lend_all(hak_external_heap_t *external) {
  hak_external_map_t *map = &external->map;
  size_t at = first_unit(external);
  if (at > 0) hak_external_map_set(map, 0, at, false);
  for (; map->granules - at >= UNIT; at += UNIT)
    hak_external_map_set(map, at, UNIT, true);
  if (at < map->granules) hak_external_map_set(map, at, map->granules - at, false);
}

static HAK_SLOW void make_empty(hak_external_heap_t *external) {
  size_t words = hak_external_map_words(external->map.granules);
  for (size_t i = 0; i < words; i++) {
    hak_store_relaxed(&external->map.starts[i], 0);
    hak_store_relaxed(&external->map.used[i], 0);
  }
  hak_external_map_init(&external->map);
  if (external->hooks != NULL) lend_all(external);
  hak_external_lists_fill(external->lists);
  hak_store_relaxed(&external->blocks, 0);
  hak_store_relaxed(&external->bytes, 0);
}

/* Granules of 2^shift bytes from `base` on, whose records lie at `head`. */
static HAK_SLOW void lay_out(hak_external_heap_t *external, void *head, char *base,
                             size_t granules, unsigned shift) {
  size_t words = hak_external_map_words(granules);
  external->map.starts = head;
  external->map.used = external->map.starts + words;
  external->map.granules = granules;
  external->map.shift = shift;
  external->lists = (hak_external_lists_t *)(void *)(external->map.used + words);
  external->base = base;
  *external->lists =
      (hak_external_lists_t){.base = external->base,
                             .map = &external->map,
                             .corrupt = &external->corrupt,
                             .secret = hak_sys_entropy() ^ (uintptr_t)base};
  hak_store_relaxed(&external->corrupt, NULL);
  make_empty(external);
}

static HAK_SLOW void lay_out_little(hak_external_heap_t *external, uintptr_t from,
                                    uintptr_t end) {
  char *start = (char *)hak_align_up(from, HAK_GRANULE);
  size_t granules = granules_for(hak_align_down(end, HAK_GRANULE) - (uintptr_t)start);
  lay_out(external, start, start + head_size(granules), granules, HAK_GRANULE_SHIFT);
}

static HAK_SLOW void lay_out_annex(hak_external_heap_t *external, uintptr_t from,
                                   uintptr_t end) {
  char *base = (char *)hak_align_up(from, PAGE);
  size_t granules = (hak_align_down(end, PAGE) - (uintptr_t)base) >> PAGE_SHIFT;
  lay_out(external, external->head, base, granules, PAGE_SHIFT);
}

/* Records for an annex in so much memory. Those that are too small for the next annex are
 * lost: each has twice the size of the one before. */
static HAK_SLOW bool has_head(const hak_os_t *os, hak_external_heap_t *external,
                              size_t size) {
  size_t need = head_size(size >> PAGE_SHIFT);
  if (external->head_size >= need) return true;
  size_t bytes = (size_t)2 << hak_highest_bit(need);
  void *head = hak_meta_alloc(os, bytes, HAK_CACHE_LINE);
  if (head == NULL) return false;
  external->head = head;
  external->head_size = bytes;
  return true;
}

static HAK_SLOW int open_memory(const hak_os_t *os, hak_external_heap_t *external,
                                void *memory, size_t size) {
  uintptr_t from = (uintptr_t)memory;
  /* The memory is written to only once it is known to be nobody else's, bytes that are in
   * no whole granule included. */
  int error = hak_external_range_add(os, &external->range, memory, size);
  if (error != 0) return error;
  borrow(external, memory, size);
  if (external->hooks == NULL) {
    lay_out_little(external, from, from + size);
  } else {
    lay_out_annex(external, from, from + size);
  }
  hak_lock_acquire(&external->lock);
  external->open = true;
  hak_lock_release(&external->lock);
  hak_gate_open(&external->gate);
  return 0;
}

HAK_SLOW hak_external_heap_t *hak_external_open(const hak_os_t *os, void *memory,
                                                size_t size, int *error) {
  *error = EINVAL;
  uintptr_t from = (uintptr_t)memory;
  if (size < HAK_EXTERNAL_MIN || from + size < from) return NULL;
  *error = ENOMEM;
  hak_external_heap_t *external = record_get(os);
  if (external == NULL) return NULL;
  *error = open_memory(os, external, memory, size);
  if (*error == 0) return external;
  record_put(external);
  return NULL;
}

hak_external_heap_t *hak_external_make_annex(const hak_os_t *os,
                                             const hak_fixed_os_t *hooks) {
  return record_new(os, hooks);
}

HAK_SLOW int hak_external_open_annex(const hak_os_t *os, hak_external_heap_t *annex,
                                     void *memory, size_t size) {
  return has_head(os, annex, size) ? open_memory(os, annex, memory, size) : ENOMEM;
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
  hak_store_relaxed(&external->bytes, 0);
}

void hak_external_close(hak_external_heap_t *external) {
  close_memory(external);
  record_put(external);
}

/* Records that have no memory then are nobody's. Annexes are for their regions to close.
 */
HAK_SLOW void hak_externals_close_unserved(void) {
  unused = NULL;
  for (hak_external_heap_t *external = all; external != NULL; external = external->next) {
    if (external->hooks != NULL) continue;
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
  if (size > external->map.granules << external->map.shift) return 0;
  return size == 0 ? 1 : ((size - 1) >> external->map.shift) + 1;
}

static void *address_of(const hak_external_heap_t *external, size_t at) {
  return external->base + (at << external->map.shift);
}

/* The granule of an address, or one beyond all if it is in none. */
static size_t granule_at(const hak_external_heap_t *external, const void *address) {
  size_t offset = (size_t)((const char *)address - external->base);
  return (const char *)address < external->base ? SIZE_MAX
                                                : offset >> external->map.shift;
}

/* The chunk in use at `at` is lent. */
static bool is_lent(const hak_external_heap_t *external, size_t at) {
  if (external->hooks == NULL) return false;
  return hak_locate((uintptr_t)address_of(external, at)).cls != HAK_CLASS_EXTERNAL;
}

HAK_HOT bool is_block(const hak_external_heap_t *external, const void *address,
                      size_t *at) {
  *at = granule_at(external, address);
  return *at < external->map.granules &&
         (const char *)address == address_of(external, *at) &&
         hak_external_map_is_start(&external->map, *at) &&
         hak_external_map_is_used(&external->map, *at);
}

/* One writer at a time: the counters are read without the lock. */
static void count_locked(hak_external_heap_t *external, int64_t blocks,
                         int64_t granules) {
  hak_lock_assert_held(&external->lock);
  hak_count_own(&external->blocks, (uint64_t)blocks);
  hak_count_own(&external->bytes, (uint64_t)granules << external->map.shift);
  /* To the region more is in use, or less. */
  if (external->hooks != NULL) external->hooks->count_used(&external->hooks->os, 0);
}

static void add_free_locked(hak_external_heap_t *external, size_t at, size_t length) {
  hak_lock_assert_held(&external->lock);
  if (length == 0) return;
  hak_external_map_set(&external->map, at, length, false);
  hak_external_lists_insert(external->lists, at, length);
}

/* The last multiple of `step` granules of the address where a block ends before `end`. */
static size_t highest(const hak_external_heap_t *external, size_t end, size_t length,
                      size_t step) {
  size_t origin = (uintptr_t)external->base >> external->map.shift;
  return hak_align_down(origin + end - length, step) - origin;
}

/* A chunk in use, where a block may lie that is so long; the end of all if there is none.
 */
static HAK_WARM size_t take_locked(hak_external_heap_t *external, size_t length,
                                   size_t step, bool high) {
  hak_lock_assert_held(&external->lock);
  if (!external->open) return external->map.granules;
  size_t block;
  size_t at = hak_external_lists_find(external->lists, length, step, &block);
  if (at == external->map.granules) return at;
  size_t have = hak_external_map_length(&external->map, at);
  if (high) block = highest(external, at + have, length, step);
  size_t lead = block - at;
  hak_external_lists_remove(external->lists, at, have);
  add_free_locked(external, block + length, have - lead - length);
  hak_external_map_set(&external->map, block, length, true);
  add_free_locked(external, at, lead);
  return block;
}

static size_t step_of(const hak_external_heap_t *external, size_t alignment) {
  size_t step = alignment >> external->map.shift;
  return step == 0 ? 1 : step;
}

void *hak_external_alloc_locked(hak_external_heap_t *external, size_t size,
                                size_t alignment) {
  hak_lock_assert_held(&external->lock);
  size_t length = granules_of(external, size), step = step_of(external, alignment);
  if (length == 0) return NULL;
  size_t at = take_locked(external, length, step, external->hooks != NULL);
  if (at == external->map.granules) return NULL;
  count_locked(external, 1, (int64_t)length);
  return address_of(external, at);
}

void *hak_external_alloc(hak_external_heap_t *external, size_t size, size_t alignment) {
  hak_lock_acquire(&external->lock);
  void *block = hak_external_alloc_locked(external, size, alignment);
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

/* The chunk in use is free, one with those beside it. */
static HAK_WARM void put_locked(hak_external_heap_t *external, size_t at, size_t length) {
  hak_lock_assert_held(&external->lock);
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

static void free_locked(hak_external_heap_t *external, size_t at) {
  hak_lock_assert_held(&external->lock);
  size_t length = hak_external_map_length(&external->map, at);
  count_locked(external, -1, -(int64_t)length);
  put_locked(external, at, length);
}

/* Slots in units alone are lent: what lies in front of the first one or behind the last
 * one is put back, once something else was found. */
static HAK_SLOW size_t take_slots_locked(hak_external_heap_t *external, size_t length,
                                         size_t step) {
  hak_lock_assert_held(&external->lock);
  size_t end = external->map.granules, first = first_unit(external);
  size_t at = take_locked(external, length, step, false);
  if (at == end || (at >= first && at < end - (end - first) % UNIT)) return at;
  size_t other = take_slots_locked(external, length, step);
  put_locked(external, at, length);
  return other;
}

HAK_SLOW char *hak_external_lend_locked(hak_external_heap_t *external, size_t size,
                                        size_t alignment) {
  hak_lock_assert_held(&external->lock);
  size_t at =
      take_slots_locked(external, size >> PAGE_SHIFT, step_of(external, alignment));
  return at == external->map.granules ? NULL : address_of(external, at);
}

/* Of the chunk in use that has the granule, one starts there. */
static HAK_SLOW void split(hak_external_map_t *map, size_t at) {
  size_t start = hak_external_map_around(map, at);
  if (start == at) return;
  size_t end = start + hak_external_map_length(map, start);
  hak_external_map_set(map, start, at - start, true);
  hak_external_map_set(map, at, end - at, true);
}

HAK_SLOW void hak_external_take_back_locked(hak_external_heap_t *external,
                                            const char *start, size_t size) {
  hak_lock_assert_held(&external->lock);
  hak_external_map_t *map = &external->map;
  size_t at = granule_at(external, start), end = at + (size >> PAGE_SHIFT);
  split(map, at);
  split(map, end);
  for (size_t next = at + hak_external_map_length(map, at); next < end;) {
    size_t after = next + hak_external_map_length(map, next);
    hak_external_map_join(map, next);
    next = after;
  }
  put_locked(external, at, end - at);
}

/* What was a block before may be lent by now. */
static bool is_block_locked(const hak_external_heap_t *external, const void *block,
                            size_t *at) {
  hak_lock_assert_held(&((hak_external_heap_t *)external)->lock);
  return external->open && is_block(external, block, at) && !is_lent(external, *at);
}

bool hak_external_free(hak_external_heap_t *external, const void *block) {
  size_t at;
  hak_lock_acquire(&external->lock);
  bool ok = is_block_locked(external, block, &at);
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
  if (is_block_locked(external, block, &at)) now = resize_locked(external, at, from, to);
  hak_lock_release(&external->lock);
  return now << external->map.shift;
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
  return hak_external_map_length(&external->map, at) << external->map.shift;
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
  chunk->size = length << external->map.shift;
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

HAK_SLOW void hak_external_visit(const hak_external_heap_t *external,
                                 bool (*visit)(char *block, size_t size, void *ctx),
                                 void *ctx) {
  for (size_t at = 0; at < external->map.granules;) {
    size_t length = hak_external_map_length(&external->map, at);
    if (hak_external_map_is_used(&external->map, at) && !is_lent(external, at) &&
        !visit(address_of(external, at), length << external->map.shift, ctx)) {
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
    if (!hak_external_map_is_used(map, at) || is_lent(external, at)) continue;
    blocks++;
    granules += hak_external_map_length(map, at);
  }
  return blocks == hak_load_relaxed(&external->blocks) &&
         granules << map->shift == hak_load_relaxed(&external->bytes);
}

bool hak_external_is_valid(hak_external_heap_t *external) {
  hak_lock_acquire(&external->lock);
  bool valid = !external->open || is_valid_locked(external);
  hak_lock_release(&external->lock);
  return valid;
}
