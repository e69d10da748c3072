/* enclosed.c - blocks of heaps that live in memory of the caller's: no bins, no
 * thread state, no call to the OS; the arena's lock and then an answer.
 */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"
#include "heap/teardown.h"

/* What an arena has found on the way; no lock is held here. */
static void report_corrupt(hak_arena_t *arena, const char *function) {
  const void *corrupt = hak_arena_take_corrupt(arena);
  if (HAK_LIKELY(corrupt == NULL)) return;
  hak_report(HAK_ERROR_CORRUPT_BLOCK, corrupt, hak_api_owner(&arena->tract.extent),
             function, "a freed block was written to");
}

void *hak_api_enclosed_alloc(hak_arena_t *arena, size_t size, size_t alignment,
                             unsigned flags) {
  void *block = hak_arena_alloc(arena, size, alignment);
  report_corrupt(arena, HAK_IN_ALLOC);
  if (HAK_UNLIKELY(block == NULL)) {
    errno = ENOMEM;
    return NULL;
  }
  if ((flags & HAK_ZERO) != 0) memset(block, 0, hak_arena_usable(arena, block));
  return block;
}

static HAK_SLOW void report_not_a_block(hak_arena_t *arena, const void *ptr,
                                        const char *function) {
  hak_arena_chunk_t chunk;
  if (!hak_arena_chunk_at(arena, ptr, &chunk)) {
    hak_api_report_stray(HAK_ERROR_FOREIGN_POINTER, ptr, NULL, function);
    return;
  }
  hak_api_report_stray(chunk.used ? HAK_ERROR_INTERIOR_POINTER : HAK_ERROR_DOUBLE_FREE,
                       ptr, hak_api_owner(&arena->tract.extent), function);
}

size_t hak_api_enclosed_usable(const hak_place_t *place, const void *ptr,
                               const char *function) {
  hak_arena_t *arena = hak_arena_of_extent(place->extent);
  size_t usable = hak_arena_usable(arena, ptr);
  if (HAK_UNLIKELY(usable == 0)) report_not_a_block(arena, ptr, function);
  return usable;
}

/* The last block of a released heap is gone. */
static HAK_SLOW void end_orphan(hak_heap_t *heap, const char *function) {
  hak_thread_t *me = hak_thread_enter();
  if (me == NULL) return;
  hak_teardown_orphan(me, heap);
  hak_thread_leave(me, function);
}

void hak_api_enclosed_free(const hak_place_t *place, void *ptr, const char *function) {
  hak_arena_t *arena = hak_arena_of_extent(place->extent);
  hak_heap_t *heap = hak_heap_of_extent(place->extent);
  if (HAK_UNLIKELY(heap == NULL)) return; /* it went just now, with all its blocks */
  bool orphan = hak_heap_is_orphan(heap);
  if (HAK_UNLIKELY(!hak_arena_free(arena, ptr))) {
    report_not_a_block(arena, ptr, function); /* freed by another just now */
    return;
  }
  report_corrupt(arena, function);
  if (HAK_UNLIKELY(orphan || hak_heap_is_orphan(heap))) end_orphan(heap, function);
}

size_t hak_api_enclosed_resize(const hak_place_t *place, void *ptr, size_t least,
                               size_t want, const char *function) {
  hak_arena_t *arena = hak_arena_of_extent(place->extent);
  size_t usable = hak_arena_resize(arena, ptr, least, want);
  report_corrupt(arena, function);
  return usable;
}
