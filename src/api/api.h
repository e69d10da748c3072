/* api.h - what the files of the public interface share.
 *
 * Depends on: everything.   Used by: api.
 */
#ifndef HAK_API_API_H
#define HAK_API_API_H

#include "base/event.h"
#include "heap/heap.h"
#include "heap/kind.h"
#include "heap/lifecycle.h"
#include "heap/serial.h"
#include "heap/thread.h"
#include "superslab/locate.h"

/* A parameter `heap` is a record here, NULL for the default heap. */

/* A block of a size class or of whole pages; NULL and ENOMEM. */
void *hak_api_small(hak_heap_t *heap, uint32_t cls, bool no_grow);
void *hak_api_large(hak_heap_t *heap, size_t size, size_t alignment, bool no_grow,
                    bool *zeroed);

/* As hak_api_large, in a mapping of its own whatever the size. */
void *hak_api_mapping(hak_heap_t *heap, size_t size, size_t alignment, bool no_grow,
                      bool *zeroed);

/* A block of the class that the bin has, or NULL. What lies there and is no block is
 * reported, so no lock is held. */
void *hak_api_pop(const hak_link_key_t *key, hak_bin_t *bin, uint32_t cls);
/* A block of the class from what this thread has ready of the heap (not NULL), or
 * NULL. */
void *hak_api_ready(hak_heap_t *heap, uint32_t cls);

/* Of heaps in memory of the caller's. A block, or NULL and ENOMEM; its usable size, 0
 * after a report if it is none; a free and a resize of one that is known to be. */
void *hak_api_external_alloc(hak_heap_t *heap, size_t size, size_t alignment,
                             unsigned flags);
size_t hak_api_external_usable(const hak_place_t *place, const void *ptr,
                               const char *function);
void hak_api_external_free(const hak_place_t *place, void *ptr, const char *function);
size_t hak_api_external_resize(const hak_place_t *place, void *ptr, size_t least,
                               size_t want, const char *function);

/* What the fast path of hak_heap_alloc leaves over of serial heaps: any size. */
void *hak_api_serial_alloc(hak_heap_t *handle, size_t size);

/* Counts an allocation at a place in the program; NULL is fine. */
HAK_HOT void hak_site_hit(hak_site_t *site) {
  if (site != NULL) hak_add_relaxed((hak_atomic_u64_t *)&site->reserved[0], 1);
}

/* Any size, alignment and flags that hak_allocx takes, already checked. */
void *hak_api_alloc(hak_heap_t *heap, size_t size, size_t alignment, unsigned flags);
/* hak_heap_prefault of a record. */
int hak_api_prefault(hak_heap_t *heap, size_t bytes);
/* Any realloc of a block, already checked. */
void *hak_api_resize(void *ptr, size_t size, size_t alignment, unsigned flags,
                     const char *function);
/* True if the alignment is one; else errno = EINVAL. */
bool hak_api_alignment_is_valid(size_t alignment);

/* `ptr` is no block that is in use: it was freed, lies inside of one, or is not ours. */
void hak_api_report_stray(hak_error_t error, const void *ptr, hak_heap_t *owner,
                          const char *function);

/* hak_stay for a call that is given a block: HAK_STAY_NONE comes after a report, as no
 * block is ours while the library is not running. */
void hak_api_report_not_running(const void *ptr, const char *function);
HAK_HOT hak_stay_t hak_api_stay(const void *ptr, const char *function) {
  hak_stay_t stay = hak_stay();
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) hak_api_report_not_running(ptr, function);
  return stay;
}

/* Where a block lies and its usable size; 0 after a report if it is none. */
size_t hak_api_usable(const void *ptr, hak_place_t *place, const char *function);

/* The record of the heap that a program names, of the default heap for NULL; NULL if
 * it is gone, or the library could not start. */
hak_heap_t *hak_api_heap(hak_heap_t *handle);
/* Likewise where a block is asked for on behalf of `function`: one that is gone is
 * reported; errno is set. */
hak_heap_t *hak_api_heap_or_report(hak_heap_t *handle, const char *function);
/* Blocks of a heap that the program holds, by class where they have one. */
typedef struct hak_live {
  uint64_t blocks[HAK_CLASSES];
  uint64_t other_blocks, other_bytes; /* large, or in memory of the caller's */
} hak_live_t;

/* Exact, for a heap that nobody uses at this moment; allocates nothing. */
void hak_api_count_live(hak_heap_t *heap, hak_live_t *out);

/* Who the program thinks has the place's memory; NULL for none. */
hak_heap_t *hak_api_owner(hak_extent_t *extent);

#endif
