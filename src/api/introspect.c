/* introspect.c - which heaps there are, what is at an address. */
#include <errno.h>

#include "api/api.h"
#include "pool/large.h"
#include "tiny/canary.h"
#include "tiny/leave.h"

/* --- heaps ------------------------------------------------------------------- */

hak_heap_t *hak_heap_of(const void *ptr) {
  hak_block_t block = {.struct_size = sizeof block};
  return hak_ptr_info(ptr, &block) == 0 ? block.heap : NULL;
}

int hak_visit_heaps(hak_heap_visit_fn *visit, void *ctx) {
  if (visit == NULL) return EINVAL;
  hak_stay_t stay = hak_stay_slow();
  uint32_t made = stay == HAK_STAY_NONE ? 0 : hak_heaps_made();
  for (uint32_t i = 0; i < made; i++) {
    hak_heap_t *heap = hak_heap_at(i);
    hak_heap_t *handle = heap == NULL ? NULL : hak_heap_handle(heap);
    if (handle != NULL && !visit(handle, ctx)) break;
  }
  hak_stay_end(stay);
  return 0;
}

/* --- one address ---------------------------------------------------------------- */

static int ptr_info(const void *ptr, hak_block_t *out) {
  hak_place_t place;
  size_t size;
  bool malloced = hak_malloced_is_on() && hak_api_malloced_place(ptr, &place, &size);
  if (HAK_LIKELY(!malloced)) hak_locate_into((uintptr_t)ptr, &place);
  size_t offset = (size_t)((const char *)ptr - place.start);
  char *start = place.start;
  if (malloced) {
    /* All is known. */
  } else if (place.cls < HAK_CLASSES) {
    uint32_t index = hak_class_index(place.cls, offset);
    size = hak_canary_below(hak_class_size(place.cls));
    /* The tail of a span, and what was never cut into blocks, is in none. */
    if (index >= hak_slab_carved(place.slab)) return ENOENT;
    start += index * hak_class_size(place.cls);
  } else if (place.cls == HAK_CLASS_LARGE) {
    size = hak_canary_below(hak_large_usable(&place));
    if (offset >= size + HAK_CANARY_BYTES) return ENOENT;
  } else if (place.cls == HAK_CLASS_EXTERNAL) {
    hak_external_heap_t *external = hak_external_of_extent(place.extent);
    hak_external_chunk_t chunk;
    if (!hak_external_chunk_at(external, ptr, &chunk) || !chunk.used) return ENOENT;
    start = chunk.start;
    size = chunk.size;
  } else {
    return ENOENT;
  }
  *out = (hak_block_t){.struct_size = sizeof *out,
                       .is_start = ptr == (const void *)start,
                       .address = start,
                       .size = size,
                       .heap = hak_api_owner(place.extent)};
  return 0;
}

int hak_ptr_info(const void *ptr, hak_block_t *out) {
  if (out == NULL || out->struct_size < sizeof *out) return EINVAL;
  hak_stay_t stay = hak_stay();
  int error = stay == HAK_STAY_NONE ? ENOENT : ptr_info(ptr, out);
  hak_stay_end(stay);
  return error;
}

/* --- moving blocks ---------------------------------------------------------------- */

/* Of a heap that is not the default one: while it has its lease it stays. */
static bool leave_heap(hak_thread_t *me, hak_heap_t *heap, const hak_place_t *place) {
  if (!hak_kind_has_thread_caches(heap) || !hak_heap_try_lease(heap)) return false;
  bool leaving = false;
  if (hak_heap_is_used(heap) && !hak_heap_is_orphan(heap) &&
      hak_load_relaxed(&place->extent->heap) == hak_heap_id(heap)) {
    hak_thread_cache_t *found = hak_cache_find(me, heap);
    hak_cache_t bare = hak_cache_bare(me, heap);
    leaving = hak_leave(me, found != NULL ? &found->cache : &bare, found == NULL,
                        place->slab, place->cls);
  }
  hak_heap_unlease(heap);
  return leaving;
}

static bool move_hint(const void *ptr) {
  hak_place_t place = hak_locate((uintptr_t)ptr);
  if (place.cls >= HAK_SHARED_CLASSES) return false;
  if (hak_leave_begun(place.slab)) return true;
  hak_heap_t *heap = hak_heap_of_extent(place.extent);
  if (heap == NULL || !hak_leave_pays(heap->store, place.slab, place.cls)) return false;
  hak_thread_t *me = hak_thread_enter();
  if (me == NULL) return false;
  bool leaving = heap->store == me->store
                     ? hak_leave(me, &me->cache, false, place.slab, place.cls)
                     : leave_heap(me, heap, &place);
  hak_thread_leave(me, "hak_move_hint");
  return leaving;
}

int hak_move_hint(const void *ptr) {
  hak_stay_t stay = hak_stay();
  bool hint = stay != HAK_STAY_NONE && move_hint(ptr);
  hak_stay_end(stay);
  return hint;
}
