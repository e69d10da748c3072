/* external.c - blocks of heaps that live in memory of the caller's, or in the annex of
 * one: no bins, no thread state, no call to the OS; the external heap's lock and then an
 * answer.
 */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "base/event.h"
#include "base/report.h"
#include "heap/teardown.h"

/* Reports the freed block that the call before has found to be written to, if any. No
 * lock is held here. */
static void report_corrupt(hak_external_heap_t *external, const char *function) {
  const void *corrupt = hak_external_take_corrupt(external);
  if (HAK_LIKELY(corrupt == NULL)) return;
  hak_report(HAK_ERROR_CORRUPT_BLOCK, corrupt, hak_api_owner(&external->range.extent),
             function, "a freed block was written to");
}

void *hak_api_external_alloc(hak_heap_t *heap, size_t size, size_t alignment,
                             unsigned flags) {
  hak_external_heap_t *external = hak_heap_external(heap);
  if (HAK_UNLIKELY(external == NULL)) return hak_fail(ENOMEM); /* ended at this moment */
  void *block = hak_external_alloc(external, size, alignment);
  report_corrupt(external, HAK_IN_ALLOC);
  if (HAK_UNLIKELY(block == NULL)) return hak_fail(ENOMEM);
  if ((flags & HAK_ZERO) != 0) memset(block, 0, hak_external_usable(external, block));
  return block;
}

void *hak_api_annex_alloc(hak_heap_t *heap, size_t size, size_t alignment) {
  return hak_external_region_alloc(hak_heap_external_region(heap), size, alignment);
}

void hak_api_annex_report(hak_heap_t *heap, const char *function) {
  hak_external_heap_t *annex = hak_heap_annex(heap);
  if (annex != NULL) report_corrupt(annex, function);
}

static HAK_SLOW void report_not_a_block(hak_external_heap_t *external, const void *ptr,
                                        const char *function) {
  hak_external_chunk_t chunk;
  if (!hak_external_chunk_at(external, ptr, &chunk)) {
    hak_api_report_stray(HAK_ERROR_FOREIGN_POINTER, ptr, NULL, function);
    return;
  }
  hak_api_report_stray(chunk.used ? HAK_ERROR_INTERIOR_POINTER : HAK_ERROR_DOUBLE_FREE,
                       ptr, hak_api_owner(&external->range.extent), function);
}

size_t hak_api_external_usable(const hak_place_t *place, const void *ptr,
                               const char *function) {
  hak_external_heap_t *external = hak_external_of_extent(place->extent);
  size_t usable = hak_external_usable(external, ptr);
  if (HAK_UNLIKELY(usable == 0)) report_not_a_block(external, ptr, function);
  return usable;
}

/* The last block of a released heap is gone. */
static HAK_SLOW void end_orphan(hak_heap_t *heap, const char *function) {
  hak_thread_t *me = hak_thread_enter();
  hak_teardown_orphan(me, heap);
  hak_thread_leave(me, function);
}

void hak_api_external_free(const hak_place_t *place, void *ptr, size_t usable,
                           const char *function) {
  hak_external_heap_t *external = hak_external_of_extent(place->extent);
  hak_heap_t *heap = hak_heap_of_extent(place->extent);
  if (HAK_UNLIKELY(heap == NULL)) return; /* it went just now, with all its blocks */
  bool orphan = hak_heap_is_orphan(heap), large = hak_kind_has_slabs(heap);
  if (HAK_UNLIKELY(!hak_external_free(external, ptr))) {
    report_not_a_block(external, ptr, function); /* freed by another just now */
    return;
  }
  report_corrupt(external, function);
  if (HAK_UNLIKELY(orphan || hak_heap_is_orphan(heap))) end_orphan(heap, function);
  if (large) hak_event_emit(HAK_EVENT_LARGE_FREE, ptr, usable);
}

size_t hak_api_external_resize(const hak_place_t *place, void *ptr, size_t least,
                               size_t want, const char *function) {
  hak_external_heap_t *external = hak_external_of_extent(place->extent);
  size_t usable = hak_external_resize(external, ptr, least, want);
  report_corrupt(external, function);
  return usable;
}
