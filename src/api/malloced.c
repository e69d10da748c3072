/* malloced.c - blocks that are malloc's: no bins, no thread state, no memory of the
 * library's but for records; limits are asked as for any other block.
 *
 * Every frame on the way to malloc keeps a frame pointer (CMakeLists.txt): sanitizers
 * follow those from malloc to the program, to say who allocated a block.
 */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "base/report.h"
#include "heap/pressure.h"
#include "heap/teardown.h"
#include "os/malloc.h"

HAK_SLOW bool hak_api_malloced_decides(void) {
  hak_stay_t stay = hak_lifecycle_stay();
  bool on = stay != HAK_STAY_NONE && hak_malloced_is_on();
  hak_stay_end(stay);
  return on;
}

/* --- allocation ----------------------------------------------------------------------
 */

typedef struct request {
  size_t size, alignment;
  bool zero, no_grow;
} request_t;

static void *take(hak_heap_t *heap, const request_t *r) {
  return hak_malloced_alloc(hak_heap_malloced(heap), r->size, r->alignment, r->zero);
}

/* Other heaps below the limit that refused may have caches to give up. */
static void *attempt(hak_heap_t *heap, const void *request, hak_budget_call_t *call) {
  const request_t *r = request;
  hak_thread_t *me = hak_thread_enter();
  void *block = take(heap, r);
  if (HAK_UNLIKELY(block == NULL && call->refused_by != NULL && !r->no_grow)) {
    hak_pressure_relieve(me, heap, call->refused_by);
    call->refused_by = NULL;
    block = take(heap, r);
  }
  if (r->no_grow) call->refused_by = NULL;
  hak_thread_leave(me, HAK_IN_ALLOC);
  return block;
}

static void *alloc_malloced(hak_heap_t *heap, size_t size, size_t alignment,
                            unsigned flags) {
  if (HAK_UNLIKELY(size > PTRDIFF_MAX)) return hak_fail(ENOMEM);
  hak_stay_t stay = hak_lifecycle_stay();
  if (HAK_UNLIKELY(stay == HAK_STAY_NONE)) return hak_fail(ENOMEM);
  if (heap == NULL) heap = hak_heap_get_default();
  request_t request = {size == 0 ? 1 : size, alignment, (flags & HAK_ZERO) != 0,
                       (flags & HAK_NO_GROW) != 0};
  void *block = hak_pressure_request(heap, request.size, attempt, &request);
  hak_stay_end(stay);
  return block;
}

void *hak_api_alloc_elsewhere(hak_heap_t *heap, size_t size, size_t alignment,
                              unsigned flags) {
  if (heap != NULL && hak_heap_kind(heap) == HAK_KIND_EXTERNAL) {
    return hak_api_external_alloc(heap, size, alignment, flags);
  }
  return alloc_malloced(heap, size, alignment, flags);
}

/* --- blocks ----------------------------------------------------------------------------
 */

bool hak_api_malloced_place(const void *ptr, hak_place_t *place, size_t *size) {
  hak_malloced_found_t found;
  if (!hak_malloced_find(ptr, &found)) return false;
  place->extent = &found.owner->extent;
  place->slab = NULL;
  place->start = found.start;
  place->cls = HAK_CLASS_MALLOCED;
  *size = found.size;
  return true;
}

static bool frees(const char *function) {
  return strcmp(function, "hak_usable_size") != 0 &&
         strcmp(function, "hak_resize_in_place") != 0;
}

HAK_SLOW void hak_api_malloced_report(const void *ptr, const char *function) {
  if (hak_malloc_accuse((void *)(uintptr_t)ptr, frees(function))) return;
  hak_place_t place;
  size_t size;
  bool inside = hak_api_malloced_place(ptr, &place, &size);
  if (inside) {
    hak_api_report_stray(HAK_ERROR_INTERIOR_POINTER, ptr, hak_api_owner(place.extent),
                         function);
  } else { /* nothing is kept of a freed block */
    hak_report(HAK_ERROR_FOREIGN_POINTER, ptr, NULL, function,
               "the address is in no block of ours, or in one that was freed");
  }
}

void hak_api_malloced_free(const hak_place_t *place, void *ptr, const char *function) {
  hak_heap_t *heap = hak_heap_of_extent(place->extent);
  hak_thread_t *me = hak_thread_enter();
  bool freed = hak_malloced_free(ptr);
  if (freed && HAK_UNLIKELY(hak_heap_is_orphan(heap))) hak_teardown_orphan(me, heap);
  hak_thread_leave(me, function);
  if (HAK_UNLIKELY(!freed))
    hak_api_malloced_report(ptr, function); /* by another just now */
}
