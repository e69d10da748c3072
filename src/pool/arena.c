#include "pool/arena.h"

#include <errno.h>

#include "base/check.h"
#include "superslab/meta.h"
#include "superslab/registry.h"

static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_ARENAS);
static hak_arena_t *all, *unused; /* [arenas] */

/* --- records --------------------------------------------------------------------- */

static hak_arena_t *record_get(const hak_os_t *os) {
  hak_lock_acquire(&lock);
  hak_arena_t *arena = unused;
  if (arena != NULL) unused = arena->next_unused;
  hak_lock_release(&lock);
  if (arena != NULL) return arena;
  arena = hak_meta_alloc(os, sizeof *arena, HAK_CACHE_LINE);
  if (arena == NULL) return NULL;
  hak_lock_init(&arena->lock, HAK_RANK_ARENA);
  hak_lock_acquire(&lock);
  arena->next = all;
  all = arena;
  hak_lock_release(&lock);
  return arena;
}

static void record_put(hak_arena_t *arena) {
  hak_lock_acquire(&lock);
  arena->next_unused = unused;
  unused = arena;
  hak_lock_release(&lock);
}

void hak_arenas_each_lock(void (*act)(hak_lock_t *lock), bool list_first) {
  if (list_first) act(&lock);
  for (hak_arena_t *arena = all; arena != NULL; arena = arena->next) act(&arena->lock);
  if (!list_first) act(&lock);
}

void hak_arenas_recount(void) {
  for (hak_arena_t *arena = all; arena != NULL; arena = arena->next) {
    hak_gate_recount(&arena->gate, 0);
  }
}

void hak_arenas_forget(void) {
  for (hak_arena_t *arena = all; arena != NULL; arena = arena->next) {
    if (arena->open) hak_os_return(arena->map.starts, hak_arena_bytes(arena));
  }
  all = unused = NULL;
}

/* --- life -------------------------------------------------------------------------- */

/* Bytes at the start of the memory for the records of so many granules. */
static size_t head_size(size_t granules) {
  size_t words = 2 * hak_arena_map_words(granules);
  return hak_align_up(words * sizeof(uint64_t) + hak_arena_lists_size(granules),
                      HAK_GRANULE);
}

/* As many granules as fit with their records: what `size` has room for without them,
 * less what those take. */
static size_t granules_for(size_t size) {
  size_t most = size >> HAK_GRANULE_SHIFT;
  return (size - head_size(most)) >> HAK_GRANULE_SHIFT;
}

static void make_empty(hak_arena_t *arena) {
  size_t words = hak_arena_map_words(arena->map.granules);
  for (size_t i = 0; i < words; i++) {
    hak_store_relaxed(&arena->map.starts[i], 0);
    hak_store_relaxed(&arena->map.used[i], 0);
  }
  hak_arena_map_init(&arena->map);
  hak_arena_lists_fill(arena->lists);
  hak_store_relaxed(&arena->blocks, 0);
  hak_store_relaxed(&arena->granules, 0);
}

static void lay_out(hak_arena_t *arena, char *start, size_t size) {
  size_t granules = granules_for(size), words = hak_arena_map_words(granules);
  arena->map.starts = (hak_atomic_u64_t *)(void *)start;
  arena->map.used = arena->map.starts + words;
  arena->map.granules = granules;
  arena->lists = (hak_arena_lists_t *)(void *)(arena->map.used + words);
  arena->base = start + head_size(granules);
  *arena->lists = (hak_arena_lists_t){.base = arena->base,
                                      .map = &arena->map,
                                      .corrupt = &arena->corrupt,
                                      .secret = hak_os_entropy() ^ (uintptr_t)start};
  hak_store_relaxed(&arena->corrupt, NULL);
  make_empty(arena);
}

hak_arena_t *hak_arena_open(const hak_os_t *os, void *memory, size_t size, int *error) {
  *error = EINVAL;
  uintptr_t from = (uintptr_t)memory;
  if (size < HAK_ARENA_MIN || from + size < from) return NULL;
  uintptr_t start = hak_align_up(from, HAK_GRANULE);
  size = hak_align_down(from + size, HAK_GRANULE) - start;
  *error = ENOMEM;
  hak_arena_t *arena = record_get(os);
  if (arena == NULL) return NULL;
  /* The memory is written to only once it is known to be nobody else's. */
  *error = hak_tract_add(os, &arena->tract, (void *)start, size);
  if (*error != 0) {
    record_put(arena);
    return NULL;
  }
  hak_os_borrow((void *)start, size);
  lay_out(arena, (char *)start, size);
  hak_lock_acquire(&arena->lock);
  arena->open = true;
  hak_lock_release(&arena->lock);
  hak_gate_open(&arena->gate);
  return arena;
}

/* Release: publishes the arena's records to hak_registry_find. */
void hak_arena_mark(hak_arena_t *arena, void *heap) {
  hak_store_release(&arena->tract.extent.heap, heap);
}

void hak_arena_close(hak_arena_t *arena) {
  hak_store_relaxed(&arena->tract.extent.heap, NULL);
  hak_lock_acquire(&arena->lock);
  arena->open = false;
  hak_lock_release(&arena->lock);
  hak_gate_close(&arena->gate);
  (void)hak_gate_wait(&arena->gate, 0);
  hak_os_return(arena->map.starts, hak_arena_bytes(arena));
  hak_tract_remove(&arena->tract);
  hak_store_relaxed(&arena->blocks, 0);
  hak_store_relaxed(&arena->granules, 0);
  record_put(arena);
}

void hak_arena_clear(hak_arena_t *arena) {
  hak_lock_acquire(&arena->lock);
  if (arena->open) make_empty(arena);
  hak_lock_release(&arena->lock);
}

/* --- blocks ------------------------------------------------------------------------ */

/* Granules for a block of `size` bytes; 0 if there are never so many. */
static size_t granules_of(const hak_arena_t *arena, size_t size) {
  if (size > arena->map.granules << HAK_GRANULE_SHIFT) return 0;
  return size == 0 ? 1 : hak_div_up(size, HAK_GRANULE);
}

static void *address_of(const hak_arena_t *arena, size_t at) {
  return arena->base + (at << HAK_GRANULE_SHIFT);
}

/* The granule of an address, or one beyond all if it is in none. */
static size_t granule_at(const hak_arena_t *arena, const void *address) {
  size_t offset = (size_t)((const char *)address - arena->base);
  return (const char *)address < arena->base ? SIZE_MAX : offset >> HAK_GRANULE_SHIFT;
}

static bool is_block(const hak_arena_t *arena, const void *address, size_t *at) {
  *at = granule_at(arena, address);
  return *at < arena->map.granules && hak_is_aligned((uintptr_t)address, HAK_GRANULE) &&
         hak_arena_map_is_start(&arena->map, *at) &&
         hak_arena_map_is_used(&arena->map, *at);
}

/* One writer at a time: the counters are read without the lock. */
static void count_locked(hak_arena_t *arena, int64_t blocks, int64_t granules) {
  hak_count_own(&arena->blocks, (uint64_t)blocks);
  hak_count_own(&arena->granules, (uint64_t)granules);
}

static void add_free_locked(hak_arena_t *arena, size_t at, size_t length) {
  if (length == 0) return;
  hak_arena_map_set(&arena->map, at, length, false);
  hak_arena_lists_insert(arena->lists, at, length);
}

static void *alloc_locked(hak_arena_t *arena, size_t length, size_t step) {
  if (!arena->open) return NULL;
  size_t block;
  size_t at = hak_arena_lists_find(arena->lists, length, step, &block);
  if (at == arena->map.granules) return NULL;
  size_t have = hak_arena_map_length(&arena->map, at), lead = block - at;
  hak_arena_lists_remove(arena->lists, at, have);
  add_free_locked(arena, block + length, have - lead - length);
  hak_arena_map_set(&arena->map, block, length, true);
  add_free_locked(arena, at, lead);
  count_locked(arena, 1, (int64_t)length);
  return address_of(arena, block);
}

void *hak_arena_alloc(hak_arena_t *arena, size_t size, size_t alignment) {
  size_t length = granules_of(arena, size);
  size_t step = alignment <= HAK_GRANULE ? 1 : alignment >> HAK_GRANULE_SHIFT;
  if (length == 0) return NULL;
  hak_lock_acquire(&arena->lock);
  void *block = alloc_locked(arena, length, step);
  hak_lock_release(&arena->lock);
  return block;
}

/* The chunk at `at`, with what is free behind it: taken off its list and joined. */
static size_t join_next_locked(hak_arena_t *arena, size_t at, size_t length) {
  size_t next = at + length;
  if (hak_arena_map_is_used(&arena->map, next)) return length;
  size_t more = hak_arena_map_length(&arena->map, next);
  hak_arena_lists_remove(arena->lists, next, more);
  hak_arena_map_join(&arena->map, next);
  return length + more;
}

static void free_locked(hak_arena_t *arena, size_t at) {
  size_t length = hak_arena_map_length(&arena->map, at);
  count_locked(arena, -1, -(int64_t)length);
  length = join_next_locked(arena, at, length);
  if (at > 0) {
    size_t before = hak_arena_map_before(&arena->map, at);
    if (!hak_arena_map_is_used(&arena->map, before)) {
      hak_arena_lists_remove(arena->lists, before, at - before);
      hak_arena_map_join(&arena->map, at);
      length += at - before;
      at = before;
    }
  }
  add_free_locked(arena, at, length);
}

bool hak_arena_free(hak_arena_t *arena, const void *block) {
  size_t at;
  hak_lock_acquire(&arena->lock);
  bool ok = arena->open && is_block(arena, block, &at);
  if (ok) free_locked(arena, at);
  hak_lock_release(&arena->lock);
  return ok;
}

static size_t resize_locked(hak_arena_t *arena, size_t at, size_t least, size_t want) {
  size_t old = hak_arena_map_length(&arena->map, at), room = old, next = at + old;
  if (!hak_arena_map_is_used(&arena->map, next)) {
    room += hak_arena_map_length(&arena->map, next);
  }
  if (least > room) return 0;
  if (want > room) want = room;
  if (want == old) return old;
  size_t all_of_it = join_next_locked(arena, at, old);
  add_free_locked(arena, at + want, all_of_it - want);
  hak_arena_map_set(&arena->map, at, want, true);
  count_locked(arena, 0, (int64_t)want - (int64_t)old);
  return want;
}

size_t hak_arena_resize(hak_arena_t *arena, void *block, size_t least, size_t want) {
  size_t at, most = arena->map.granules;
  size_t from = granules_of(arena, least), to = granules_of(arena, want), now = 0;
  if (from == 0) return 0;
  if (to == 0) to = most;
  hak_lock_acquire(&arena->lock);
  if (arena->open && is_block(arena, block, &at))
    now = resize_locked(arena, at, from, to);
  hak_lock_release(&arena->lock);
  return now << HAK_GRANULE_SHIFT;
}

/* --- looking ------------------------------------------------------------------------ */

size_t hak_arena_usable(const hak_arena_t *arena, const void *block) {
  size_t at;
  if (!is_block(arena, block, &at)) return 0;
  return hak_arena_map_length(&arena->map, at) << HAK_GRANULE_SHIFT;
}

static bool chunk_at(const hak_arena_t *arena, const void *address,
                     hak_arena_chunk_t *chunk) {
  size_t asked = granule_at(arena, address);
  if (asked >= arena->map.granules) return false;
  size_t at = hak_arena_map_around(&arena->map, asked);
  size_t length = hak_arena_map_length(&arena->map, at);
  /* Of a block in use nothing changes; elsewhere the map may be read in between. */
  if (length > arena->map.granules - at || asked - at >= length) return false;
  chunk->start = address_of(arena, at);
  chunk->size = length << HAK_GRANULE_SHIFT;
  chunk->used = hak_arena_map_is_used(&arena->map, at);
  return true;
}

bool hak_arena_chunk_at(hak_arena_t *arena, const void *address,
                        hak_arena_chunk_t *chunk) {
  if (!hak_gate_enter(&arena->gate)) return false;
  bool found = chunk_at(arena, address, chunk);
  hak_gate_leave(&arena->gate);
  return found;
}

void hak_arena_visit(const hak_arena_t *arena,
                     bool (*visit)(char *block, size_t size, void *ctx), void *ctx) {
  for (size_t at = 0; at < arena->map.granules;) {
    size_t length = hak_arena_map_length(&arena->map, at);
    if (hak_arena_map_is_used(&arena->map, at) &&
        !visit(address_of(arena, at), length << HAK_GRANULE_SHIFT, ctx)) {
      return;
    }
    at += length;
  }
}

static bool is_valid_locked(hak_arena_t *arena) {
  const hak_arena_map_t *map = &arena->map;
  if (!hak_arena_map_is_valid(map) || !hak_arena_lists_are_valid(arena->lists)) {
    return false;
  }
  uint64_t blocks = 0, granules = 0;
  for (size_t at = 0; at < map->granules; at += hak_arena_map_length(map, at)) {
    if (!hak_arena_map_is_used(map, at)) continue;
    blocks++;
    granules += hak_arena_map_length(map, at);
  }
  return blocks == hak_load_relaxed(&arena->blocks) &&
         granules == hak_load_relaxed(&arena->granules);
}

bool hak_arena_is_valid(hak_arena_t *arena) {
  hak_lock_acquire(&arena->lock);
  bool valid = !arena->open || is_valid_locked(arena);
  hak_lock_release(&arena->lock);
  return valid;
}
