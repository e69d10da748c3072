/* api.h - what the files of the public interface share.
 *
 * Depends on: everything.   Used by: api.
 */
#ifndef HAK_API_API_H
#define HAK_API_API_H

#include "base/event.h"
#include "heap/heap.h"
#include "heap/lifecycle.h"
#include "heap/thread.h"

/* A block of a size class or of whole pages; NULL and ENOMEM. */
void *hak_api_small(uint32_t cls, bool no_grow);
void *hak_api_large(size_t size, size_t alignment, bool no_grow, bool *zeroed);

/* As hak_api_large, in a mapping of its own whatever the size. */
void *hak_api_mapping(size_t size, size_t alignment, bool no_grow, bool *zeroed);

/* Counts an allocation at a place in the program; NULL is fine. */
HAK_HOT void hak_site_hit(hak_site_t *site) {
  if (site != NULL) hak_add_relaxed((hak_atomic_u64_t *)&site->reserved[0], 1);
}

/* Any size, alignment and flags that hak_allocx takes, already checked. */
void *hak_api_alloc(size_t size, size_t alignment, unsigned flags);
/* True if the alignment is one; else errno = EINVAL. */
bool hak_api_alignment_is_valid(size_t alignment);

/* Where a block lies and its usable size; 0 after a report if it is none. */
size_t hak_api_usable(const void *ptr, hak_place_t *place, const char *function);

/* True for NULL and the default heap. */
bool hak_api_heap_is_valid(hak_heap_t *heap);

#endif
