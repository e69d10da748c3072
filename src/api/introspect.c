/* introspect.c - what is at an address, which blocks are in use, whether all
 * invariants hold. */
#include <errno.h>

#include "api/api.h"
#include "base/check.h"
#include "pool/large.h"
#include "superslab/region.h"
#include "tiny/hold.h"

/* --- heaps ------------------------------------------------------------------- */

hak_heap_t *hak_heap_of(const void *ptr) {
  hak_block_t block = {.struct_size = sizeof block};
  return hak_ptr_info(ptr, &block) == 0 ? block.heap : NULL;
}

int hak_visit_heaps(hak_heap_visit_fn *visit, void *ctx) {
  if (visit == NULL) return EINVAL;
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    hak_heap_t *handle = heap == NULL ? NULL : hak_heap_handle(heap);
    if (handle != NULL && !visit(handle, ctx)) break;
  }
  return 0;
}

/* --- one address ---------------------------------------------------------------- */

int hak_ptr_info(const void *ptr, hak_block_t *out) {
  if (out == NULL || out->struct_size < sizeof *out) return EINVAL;
  hak_place_t place = hak_registry_find((uintptr_t)ptr);
  size_t offset = (size_t)((const char *)ptr - place.start), size;
  char *start = place.start;
  if (place.cls < HAK_CLASSES) {
    uint32_t index = hak_class_index(place.cls, offset);
    size = hak_class_size(place.cls);
    /* The tail of a span, and what was never cut into blocks, is in none. */
    if (index >= hak_slab_carved(place.slab)) return ENOENT;
    start += index * size;
  } else if (place.cls == HAK_CLASS_LARGE) {
    size = hak_large_usable(&place);
    if (offset >= size) return ENOENT;
  } else if (place.cls == HAK_CLASS_TRACT) {
    hak_arena_t *arena = hak_arena_of_extent(place.extent);
    hak_arena_chunk_t chunk;
    if (!hak_arena_chunk_at(arena, ptr, &chunk) || !chunk.used) return ENOENT;
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

/* Slabs with less than this share of their blocks out are worth emptying. */
enum {
  MOSTLY_FREE_SHARE = 4
};

int hak_move_hint(const void *ptr) {
  hak_place_t place = hak_registry_find((uintptr_t)ptr);
  if (place.cls >= HAK_CLASSES) return 0;
  uint32_t carved = hak_slab_carved(place.slab), out = hak_slab_out(place.slab);
  return carved == place.slab->capacity && out * MOSTLY_FREE_SHARE < carved;
}

/* --- all blocks ------------------------------------------------------------------- */

enum {
  BLOCKS_MAX = HAK_SLAB_SIZE / 8,
  BITS = 64
};

typedef struct visit {
  hak_thread_t *me;
  void *mark;         /* of the heap's memory */
  hak_heap_t *handle; /* as the program knows it */
  hak_visit_fn *fn;
  void *ctx;
  bool go_on;
} visit_t;

static void mark_list(const visit_t *v, hak_slab_t *slab, const void *block,
                      uint64_t *free) {
  const char *start = hak_slab_start(slab);
  for (uint32_t i = 0; i < slab->capacity && block != HAK_LINK_END; i++) {
    uint32_t index =
        hak_class_index(hak_slab_class(slab), (size_t)((const char *)block - start));
    if (index >= slab->capacity) return;
    free[index / BITS] |= (uint64_t)1 << (index % BITS);
    block = hak_link_read(&v->me->key, block);
    if (hak_link_is_bad(&v->me->key, block)) return;
  }
}

static void visit_slab(visit_t *v, hak_slab_t *slab) {
  uint64_t free[BLOCKS_MAX / BITS] = {0};
  char *start = hak_slab_start(slab);
  mark_list(v, slab, slab->list.head, free);
  uint32_t remote = hak_word_remote_head(hak_load_relaxed(&slab->word));
  if (remote != 0) mark_list(v, slab, start + ((size_t)(remote - 1) << 3), free);
  for (uint32_t i = 0; i < hak_slab_carved(slab) && v->go_on; i++) {
    if ((free[i / BITS] >> (i % BITS) & 1) != 0) continue;
    hak_block_t block = {sizeof block, true, start + (size_t)i * slab->list.block_size,
                         slab->list.block_size, v->handle};
    v->go_on = v->fn(&block, v->ctx);
  }
}

static void visit_one(visit_t *v, char *start, size_t size) {
  hak_block_t block = {sizeof block, true, start, size, v->handle};
  v->go_on = v->fn(&block, v->ctx);
}

static bool visit_enclosed(char *block, size_t size, void *ctx) {
  visit_t *v = ctx;
  visit_one(v, block, size);
  return v->go_on;
}

static bool visit_superslab(hak_superslab_t *ss, void *ctx) {
  visit_t *v = ctx;
  if (hak_load_relaxed(&ss->extent.heap) != v->mark) return true;
  if (hak_load_relaxed(&ss->extent.kind) == HAK_EXTENT_RUN) {
    if (hak_load_relaxed(&ss->extent.block) == (void *)ss->extent.base) {
      visit_one(v, ss->extent.base, hak_load_relaxed(&ss->extent.size));
    }
    return v->go_on;
  }
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS && v->go_on; i++) {
    hak_place_t place = hak_registry_find((uintptr_t)hak_superslab_slot(ss, i));
    if (place.slab != &ss->slabs[i]) continue;
    if (place.cls < HAK_CLASSES) visit_slab(v, place.slab);
    if (place.cls == HAK_CLASS_LARGE) {
      visit_one(v, place.start, hak_large_usable(&place));
    }
  }
  return v->go_on;
}

static bool visit_mapping(hak_mapping_t *mapping, void *ctx) {
  visit_t *v = ctx;
  if (hak_load_relaxed(&mapping->extent.heap) == v->mark) {
    visit_one(v, mapping->extent.base, hak_load_relaxed(&mapping->extent.size));
  }
  return v->go_on;
}

/* The heap is quiet, so what its threads have cached may be sent home for them:
 * a block that is in no slab is then in use. */
static void flush_thread(hak_thread_t *thread, void *ctx) {
  if (hak_load_relaxed(&thread->attached)) hak_thread_flush_one(thread, ctx);
}

static void visit_heap(visit_t *v, hak_heap_t *heap) {
  hak_arena_t *arena = hak_heap_arena(heap);
  if (arena != NULL) {
    hak_arena_visit(arena, visit_enclosed, v);
    return;
  }
  hak_threads_visit(flush_thread, heap);
  hak_thread_flush_heap(v->me, heap);
  v->mark = hak_heap_mark(heap);
  hak_region_visit(visit_superslab, v);
  if (v->go_on) hak_mapping_visit(visit_mapping, v);
}

/* What released heaps below a heap have is its own. */
static void visit_orphans(visit_t *v, hak_heap_t *heap) {
  for (uint32_t i = 0; i < hak_heaps_made() && v->go_on; i++) {
    hak_heap_t *orphan = hak_heap_at(i);
    if (orphan != NULL && hak_heap_is_orphan(orphan) &&
        hak_heap_owner(orphan) == hak_heap_handle(heap)) {
      visit_heap(v, orphan);
    }
  }
}

int hak_heap_visit(hak_heap_t *handle, hak_visit_fn *visit, void *ctx, unsigned flags) {
  if (visit == NULL || flags != 0) return EINVAL;
  hak_heap_t *heap = hak_api_heap(handle);
  if (heap == NULL) return handle == NULL ? ENOMEM : EINVAL;
  hak_thread_t *me = hak_thread_enter();
  if (me == NULL) return ENOMEM;
  visit_t v = {me, NULL, hak_heap_handle(heap), visit, ctx, true};
  visit_heap(&v, heap);
  visit_orphans(&v, heap);
  hak_thread_leave(me, "hak_heap_visit");
  return 0;
}

/* --- all invariants ------------------------------------------------------------------
 */

static bool broken(hak_heap_t *heap, const char *text) {
  hak_report(HAK_ERROR_BAD_STATE, NULL, heap, "hak_check", text);
  return false;
}

static bool check_heap(hak_heap_t *heap, bool named) {
  bool ok = true;
  hak_heap_t *handle = hak_heap_handle(heap);
  if (!hak_heap_is_valid(heap)) ok = broken(handle, "a pool or shelf is wrong");
  hak_thread_t *me = hak_thread_self;
  if (me->kind != HAK_THREAD_ATTACHED) return ok;
  /* What a serial heap keeps is its user's, who names it. */
  bool mine = heap->store == me->store ||
              ((named || !heap->is_serial) && hak_front_is_made(me, heap));
  if (!mine || !hak_front_enter(me, heap)) return ok;
  if (!hak_hold_is_valid(me))
    ok = broken(handle, "a slab that this thread holds is wrong");
  hak_front_default(me);
  return ok;
}

/* Under the lease, so that the heap stays. */
static bool check_used(hak_heap_t *heap, bool named) {
  hak_heap_lease(heap);
  bool ok = !hak_heap_is_used(heap) || check_heap(heap, named);
  hak_heap_unlease(heap);
  return ok;
}

int hak_check(hak_heap_t *handle) {
  if (!hak_lifecycle_is_running()) return handle == NULL ? 0 : EINVAL;
  hak_heap_t *heap = hak_api_heap(handle);
  if (heap == NULL) return EINVAL;
  bool ok = true;
  if (!hak_regions_are_valid()) ok = broken(NULL, "a region's map is wrong");
  if (handle != NULL) return check_used(heap, true) && ok ? 0 : EFAULT;
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    heap = hak_heap_at(i);
    if (heap != NULL && !check_used(heap, false)) ok = false;
  }
  return ok ? 0 : EFAULT;
}
