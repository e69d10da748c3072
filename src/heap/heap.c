#include "heap/heap.h"

#include "base/option.h"
#include "pool/mid.h"
#include "superslab/meta.h"
#include "tiny/shelf.h"

static _Atomic(hak_heap_t *) default_heap;

hak_heap_t *hak_heap_get_default(void) {
  /* Acquire: pairs with hak_heap_make_default. */
  return hak_load_acquire(&default_heap);
}

hak_heap_t *hak_heap_make(const hak_os_t *os) {
  hak_heap_t *heap = hak_meta_alloc(os, sizeof *heap, 2 * HAK_CACHE_LINE);
  if (heap == NULL) return NULL;
  hak_pool_init(&heap->store.pool, os, heap);
  unsigned most = (unsigned)hak_option(MID_SPAN_SLABS);
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    hak_depot_t *depot = &heap->store.depots[cls];
    hak_lock_init(&depot->lock, HAK_RANK_SHELF);
    size_t size = hak_class_size(cls);
    depot->span_first = 1;
    depot->span_next =
        (uint8_t)(size <= HAK_TINY_MAX ? 1 : hak_mid_span_busy(size, most));
  }
  return heap;
}

bool hak_heap_make_default(const hak_os_t *os) {
  hak_heap_t *heap = hak_heap_make(os);
  hak_store_release(&default_heap, heap);
  return heap != NULL;
}

void hak_heap_forget_default(void) { hak_store_relaxed(&default_heap, NULL); }

bool hak_heap_is_valid(hak_heap_t *heap) {
  if (!hak_pool_is_valid(&heap->store.pool)) return false;
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    if (!hak_shelf_is_valid(&heap->store.depots[cls])) return false;
  }
  return true;
}
