/* arena.h - blocks out of memory that the caller brought, and nothing else.
 *
 * Depends on: base, os, tract, arena_map, arena_lists.   Used by: heap, api.
 *
 * Who asks about any address, by hak_arena_chunk_at, may come while the arena is closed
 * and its memory goes back to the caller: such looks pass a gate.
 *
 * At the start of the memory lie the map of its chunks and the lists of free ones,
 * behind them blocks, side by side: a block has no header, takes multiples of 16
 * bytes, and can be at any alignment. Once it is open an arena calls nobody: not the
 * OS, not the library's other parts.
 *
 * Cost of a block that comes or goes: a lock and a fixed number of steps.
 *
 * Life: closed -> open -> closed; records are reused and stay of this type, so that
 * who comes late with a pointer finds a lock and a closed arena.
 *
 * Invariant, checked by hak_arena_is_valid(): the map's and the lists', and the
 * counters are what the map says.
 *
 * Access: [const] while it is open
 *         [arena] under its lock
 */
#ifndef HAK_POOL_ARENA_H
#define HAK_POOL_ARENA_H

#include "base/gate.h"
#include "pool/arena_lists.h"
#include "superslab/tract.h"

/* The least memory that makes an arena. */
#define HAK_ARENA_MIN (256 * HAK_KIB)

typedef struct hak_arena {
  hak_tract_t tract; /* all the memory; its heap is the mark */
  hak_lock_t lock;
  hak_gate_t gate;               /* open while the memory may be looked at */
  bool open;                     /* [arena] */
  hak_arena_map_t map;           /* in the memory */
  hak_arena_lists_t *lists;      /* [const] likewise; behind them the first granule */
  char *base;                    /* [const] the first granule */
  hak_atomic_u64_t blocks;       /* in use; [arena] */
  hak_atomic_u64_t granules;     /* in use; [arena] */
  hak_atomic_ptr_t corrupt;      /* a free chunk that was written to, or NULL; [arena] */
  struct hak_arena *next;        /* of all records; [const] since it was made */
  struct hak_arena *next_unused; /* [arenas] */
} hak_arena_t;

_Static_assert(offsetof(hak_arena_t, tract) == 0, "places name extents");

HAK_HOT hak_arena_t *hak_arena_of_extent(hak_extent_t *extent) {
  return (hak_arena_t *)(void *)extent;
}

/* Opens one over `size` bytes, which are then its own. No lookup leads there before it
 * has its mark, the handle of a heap. NULL: *error is EINVAL for memory that is too
 * small, too far up, overlaps another arena's or is the library's own; ENOMEM. May call
 * the OS: no lock held. */
hak_arena_t *hak_arena_open(const hak_os_t *os, void *memory, size_t size, int *error);
void hak_arena_mark(hak_arena_t *arena, void *heap);
/* Nothing of it is known any more, and nothing in the memory is looked at again. */
void hak_arena_close(hak_arena_t *arena);
/* All blocks go. */
void hak_arena_clear(hak_arena_t *arena);

/* `alignment` is a power of two. NULL if there is no room. */
void *hak_arena_alloc(hak_arena_t *arena, size_t size, size_t alignment);
/* False if no block in use starts there. */
bool hak_arena_free(hak_arena_t *arena, const void *block);
/* Makes a block at least `least` bytes large, `want` if there is room behind it or it
 * shrinks; the usable size, or 0 and nothing changed. */
size_t hak_arena_resize(hak_arena_t *arena, void *block, size_t least, size_t want);
/* A free chunk that the calls before have found to be written to, or NULL; once. */
HAK_HOT const void *hak_arena_take_corrupt(hak_arena_t *arena) {
  if (HAK_LIKELY(hak_load_relaxed(&arena->corrupt) == NULL)) return NULL;
  return hak_exchange_relaxed(&arena->corrupt, NULL);
}

/* Usable size of the block in use that starts there, else 0. Takes no lock. */
size_t hak_arena_usable(const hak_arena_t *arena, const void *block);

/* The chunk that an address lies in. False if that is none of the arena's blocks.
 * Takes no lock. O(its size / 1 KiB). */
typedef struct hak_arena_chunk {
  char *start;
  size_t size; /* bytes */
  bool used;
} hak_arena_chunk_t;
bool hak_arena_chunk_at(hak_arena_t *arena, const void *address,
                        hak_arena_chunk_t *chunk);

/* Calls `visit` for each block in use while it returns true. The arena is quiet. */
void hak_arena_visit(const hak_arena_t *arena,
                     bool (*visit)(char *block, size_t size, void *ctx), void *ctx);

HAK_HOT size_t hak_arena_bytes(hak_arena_t *arena) {
  return hak_load_relaxed(&arena->tract.extent.size);
}
HAK_HOT uint64_t hak_arena_live_blocks(hak_arena_t *arena) {
  return hak_load_relaxed(&arena->blocks);
}
HAK_HOT uint64_t hak_arena_live_bytes(hak_arena_t *arena) {
  return hak_load_relaxed(&arena->granules) << HAK_GRANULE_SHIFT;
}

bool hak_arena_is_valid(hak_arena_t *arena);

/* For fork: the lock of the list of arenas, and all of theirs. */
void hak_arenas_each_lock(void (*act)(hak_lock_t *lock), bool list_first);
/* In the child of a fork: nobody is looking. */
void hak_arenas_recount(void);
/* At shutdown: the records are about to go, the memory is its owners' again. */
void hak_arenas_forget(void);

#endif
