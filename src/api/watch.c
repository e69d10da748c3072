/* watch.c - heaps of which a hook of the program's hears each block.
 *
 * No thread caches blocks of a watched heap (thread_cache.c), so the heap has no cache
 * index, the registry's entries for its slabs are unowned, and each allocation and free
 * takes a slow path: there `watched` is asked, in the record's first line. A block is
 * told of after it was made and before it is freed, so to a listener no two blocks are at
 * one address at the same time.
 */
#include <errno.h>

#include "api/api.h"

/* A released heap has no handle, and is no heap of the program's any more. */
static void tell(hak_heap_t *heap, hak_block_event_t *event) {
  void *ctx;
  hak_block_event_fn *fn = (hak_block_event_fn *)hak_callee_get(&heap->listener, &ctx);
  event->heap = hak_heap_handle(heap);
  if (fn == NULL || event->heap == NULL) return;
  hak_stay_t stay = hak_stay_slow();
  int saved = errno;
  event->struct_size = sizeof *event;
  fn(event, ctx);
  errno = saved;
  hak_stay_end(stay);
}

void hak_api_tell_alloc(hak_heap_t *heap, void *block, size_t requested,
                        const hak_site_t *site) {
  hak_block_event_t event = {.kind = HAK_BLOCK_ALLOC,
                             .address = block,
                             .size = hak_usable_size(block),
                             .requested = requested,
                             .site = site};
  tell(heap, &event);
}

void *hak_api_watched_alloc(hak_heap_t *heap, size_t size, size_t alignment,
                            unsigned flags, const hak_site_t *site) {
  void *block = hak_api_alloc_untold(heap, size, alignment, flags);
  if (block != NULL) hak_api_tell_alloc(heap, block, size, site);
  return block;
}

void hak_api_tell_free(hak_heap_t *heap, void *ptr, size_t usable) {
  hak_block_event_t event = {.kind = HAK_BLOCK_FREE, .address = ptr, .size = usable};
  tell(heap, &event);
}

void hak_api_tell_resize(hak_heap_t *heap, void *old, size_t old_size, void *block,
                         size_t requested, const hak_site_t *site) {
  if (HAK_LIKELY(heap == NULL || !hak_heap_is_watched(heap))) return;
  hak_block_event_t event = {.kind = HAK_BLOCK_RESIZE,
                             .address = block,
                             .size = hak_usable_size(block),
                             .requested = requested,
                             .old_address = old,
                             .old_size = old_size,
                             .site = site};
  tell(heap, &event);
}

hak_farewell_t hak_api_farewell(hak_heap_t *heap) {
  hak_farewell_t farewell = {.handle = hak_heap_handle(heap)};
  if (hak_heap_is_watched(heap)) {
    farewell.fn = (hak_block_event_fn *)hak_callee_get(&heap->listener, &farewell.ctx);
  }
  return farewell;
}

void hak_api_tell_all_gone(const hak_farewell_t *farewell) {
  if (farewell->fn == NULL) return;
  hak_block_event_t event = {
      .struct_size = sizeof event, .kind = HAK_BLOCK_ALL_GONE, .heap = farewell->handle};
  int saved = errno;
  farewell->fn(&event, farewell->ctx);
  errno = saved;
}

int hak_heap_set_block_hook(hak_heap_t *handle, hak_block_event_fn *fn, void *ctx) {
  hak_heap_t *heap = hak_api_heap(handle);
  if (heap == NULL) return handle == NULL ? ENOMEM : EINVAL;
  if (!hak_heap_is_watched(heap)) return EINVAL;
  hak_callee_set(&heap->listener, (hak_any_fn *)fn, ctx);
  return 0;
}
