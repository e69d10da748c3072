/* heap.h - a heap: its SuperSlabs and what all threads share of its classes.
 *
 * Depends on: base, pages, pool, heap_record.
 * Used by: own_os, serial, thread_state, teardown, lifecycle, collect, pressure, api.
 *
 * Life: unused -> live -> (destroyed -> unused | released -> unused when the last
 * block is gone)
 *
 * Access:  see base/lock.h; [const] is while the heap is live
 */
#ifndef HAK_HEAP_HEAP_H
#define HAK_HEAP_HEAP_H

#include "heap/heap_record.h"

HAK_HOT hak_heap_t *hak_heap_handle(hak_heap_t *heap) {
  return hak_load_relaxed(&heap->handle);
}
/* `handle` names the heap. One instruction where gcc makes two. */
HAK_HOT bool hak_heap_is_named(hak_heap_t *heap, const hak_heap_t *handle) {
#if defined(__x86_64__)
  bool is;
  __asm__("cmpq %1, %2"
          : "=@cce"(is)
          : "r"(handle), "m"(*(void **)(void *)&heap->handle));
  return is;
#else
  return hak_heap_handle(heap) == handle;
#endif
}
/* A heap lives there, or what is left of a released one. Stays so under its lease. */
HAK_HOT bool hak_heap_is_used(hak_heap_t *heap) {
  /* Acquire: pairs with hak_heap_make; its fields are seen. */
  if (hak_load_acquire(&heap->handle) != NULL) return true;
  /* Acquire: the same of a heap that never has a handle. */
  uint32_t released = hak_load_acquire(&heap->released);
  return released == HAK_HEAP_ORPHAN || released >= HAK_HEAP_GROUP;
}
/* The heap that it is part of, or NULL. */
HAK_HOT hak_heap_t *hak_heap_above(hak_heap_t *heap) {
  return hak_load_relaxed(&heap->parent);
}
HAK_HOT bool hak_heap_is_orphan(hak_heap_t *heap) {
  uint32_t released = hak_load_relaxed(&heap->released);
  return HAK_UNLIKELY(released != HAK_HEAP_KEPT) && released < HAK_HEAP_GROUP;
}
/* Sampled blocks of the heap above it lie there; see samples.h. */
HAK_HOT bool hak_heap_is_samples(hak_heap_t *heap) {
  return HAK_UNLIKELY(hak_load_relaxed(&heap->released) == HAK_HEAP_SAMPLES);
}
/* Blocks of the default heap are kept apart there; see groups.h. */
HAK_HOT bool hak_heap_is_group(hak_heap_t *heap) {
  return HAK_UNLIKELY(hak_load_relaxed(&heap->released) == HAK_HEAP_GROUP);
}
/* The program knows its blocks as those of the nearest heap above that has a handle. */
HAK_HOT bool hak_heap_is_anothers(hak_heap_t *heap) {
  return HAK_UNLIKELY(hak_load_relaxed(&heap->released) != HAK_HEAP_KEPT);
}
/* Of a heap in little memory of the caller's; NULL for others. Such a heap has no slabs,
 * no thread caches and no cache index: every call asks for it. */
HAK_HOT hak_external_heap_t *hak_heap_external(hak_heap_t *heap) {
  return hak_load_relaxed(&heap->external);
}
/* Of a heap in much memory of the caller's; NULL for others. It is a heap like others but
 * for where its SuperSlabs lie. */
HAK_HOT hak_external_region_t *hak_heap_external_region(hak_heap_t *heap) {
  return hak_load_relaxed(&heap->external_region);
}
/* Where large blocks of such a heap lie; NULL for others. */
HAK_HOT hak_external_heap_t *hak_heap_annex(hak_heap_t *heap) {
  hak_external_region_t *region = hak_heap_external_region(heap);
  return region == NULL ? NULL : region->annex;
}
/* Of a heap whose blocks are malloc's; or what such a heap left in the record; or NULL.
 */
HAK_HOT hak_malloced_t *hak_heap_malloced(hak_heap_t *heap) {
  return hak_load_relaxed(&heap->malloced);
}
/* All its blocks lie in memory of the caller's. For statistics too, which may come while
 * the record changes heaps. */
HAK_HOT bool hak_heap_is_enclosed(hak_heap_t *heap) {
  return hak_heap_external(heap) != NULL || hak_heap_external_region(heap) != NULL;
}
/* Each of its blocks comes and goes by a slow path, and can be told of; see
 * api/watch.c. */
HAK_HOT bool hak_heap_is_watched(hak_heap_t *heap) {
  return HAK_UNLIKELY(hak_load_relaxed(&heap->watched) != 0);
}
HAK_HOT hak_heap_kind_t hak_heap_kind(hak_heap_t *heap) {
  return (hak_heap_kind_t)hak_load_relaxed(&heap->kind);
}

/* The handle that stands in the extents of its memory; stays when the heap is released.
 */
HAK_HOT void *hak_heap_id(hak_heap_t *heap) { return heap->store->pool.heap; }

/* The heap whose memory an extent is, or NULL. */
HAK_HOT hak_heap_t *hak_heap_of_extent(hak_extent_t *extent) {
  void *id = hak_load_relaxed(&extent->heap);
  return id == NULL ? NULL : hak_heap_record(id);
}
/* The handle under which the program knows the owner of the heap's blocks: those of a
 * released heap, or one of samples, belong to the nearest heap above it that is neither.
 */
hak_heap_t *hak_heap_owner(hak_heap_t *heap);
/* The heap that is charged what this one is, or NULL. Memory of the caller's is charged
 * to nobody: above a heap that has such memory come those that are charged for the heaps
 * below it. */
hak_heap_t *hak_heap_charged_above(hak_heap_t *heap);

/* Never NULL. The string stays until the heap is renamed a second time. */
HAK_HOT const char *hak_heap_name_of(hak_heap_t *heap) {
  /* Acquire: pairs with hak_heap_rename. */
  return (const char *)(void *)heap->names[hak_load_acquire(&heap->name_at)];
}
/* Copies the name for whoever does not know that the heap stays. Then the heap's handle
 * is looked at again: if it is the same, the copy is of that heap's names, and of one of
 * them if nobody renamed the heap twice meanwhile. */
void hak_heap_copy_name(hak_heap_t *heap, char out[HAK_HEAP_NAME_MAX + 1]);
/* Cut to HAK_HEAP_NAME_MAX bytes, between two characters; NULL: no name. One thread at a
 * time for a heap. */
void hak_heap_rename(hak_heap_t *heap, const char *name);

/* The default heap; NULL before the library has started. */
hak_heap_t *hak_heap_get_default(void);

/* Makes the default heap; false if memory is short. */
bool hak_heaps_start(const hak_os_t *os);
/* Forgets all heaps; their memory is about to go. */
void hak_heaps_stop(void);

/* What a new heap is to have: a name or NULL, a heap above it or NULL; an external heap
 * or an external region if its blocks lie in one; the hooks that its memory comes from,
 * for as long as it lives, or NULL for the process's. */
typedef struct hak_heap_plan {
  const char *name;
  hak_heap_t *parent;
  hak_external_heap_t *external;
  hak_external_region_t *external_region;
  const hak_os_t *os;
  hak_heap_kind_t kind;
  uint32_t state_bytes; /* of a serial heap's state; or 0 */
  int32_t huge_pages;   /* HAK_HUGE_* */
  bool is_watched;      /* see hak_heap_is_watched */
  bool is_small;        /* it will have little memory; see hak_store_class */
  /* HAK_HEAP_SAMPLES or HAK_HEAP_GROUP: it gets no handle, and is that of its parent's */
  hak_heap_release_t serves;
} hak_heap_plan_t;

/* NULL if memory is short. */
hak_heap_t *hak_heap_make(const hak_os_t *os, const hak_heap_plan_t *plan);

/* Whoever gives the heap's memory back, or looks at the heap after, pins it first, while
 * there still is a block: a released heap does not end before it is unpinned (see
 * hak_teardown_unpin). The default heap never ends. */
HAK_HOT bool hak_heap_pin(hak_heap_t *heap) {
  if (heap == hak_heap_get_default()) return false;
  /* Relaxed: what makes the heap empty, after, publishes it to claim_idle. */
  hak_add_relaxed(&heap->caches, 1);
  return true;
}
/* Whoever is the last to unpin a heap sees that another thread has released it. */
HAK_HOT void hak_heap_unpin(hak_heap_t *heap) {
  /* Release: pairs with is_idle, and with the acquire below. */
  hak_sub_release(&heap->caches, 1);
  /* Acquire: pairs with the release above, of those who were there before. */
  (void)hak_load_acquire(&heap->caches);
}

/* Nobody else flushes or tears down caches of the heap meanwhile. A lease rather
 * than a lock, since hooks run while it is out; whoever has one takes no other. */
void hak_heap_lease(hak_heap_t *heap);
bool hak_heap_try_lease(hak_heap_t *heap);
void hak_heap_unlease(hak_heap_t *heap);

/* Takes the handle from the program: 0, EBUSY if live heaps lie below, or EINVAL if it is
 * no handle. From then on the heap is the caller's to end. */
int hak_heap_retire_handle(hak_heap_t *heap, hak_heap_t *handle);
/* True if that would succeed now. */
bool hak_heap_may_retire(hak_heap_t *heap, hak_heap_t *handle);
/* The same, but the heap is an orphan from then on. */
int hak_heap_release_handle(hak_heap_t *heap, hak_heap_t *handle);
/* A heap's heap of samples; NULL: there is none, or it is being made. */
hak_heap_t *hak_heap_samples(hak_heap_t *heap);
/* From here on the caller makes it, and sets it, or NULL if it could not; false if there
 * is one, or another thread makes it. */
bool hak_heap_begin_samples(hak_heap_t *heap);
void hak_heap_set_samples(hak_heap_t *heap, hak_heap_t *samples);
/* In the child of a fork: nobody is making one. */
void hak_heap_forget_maker(hak_heap_t *heap);
/* Of a released heap: that of its samples, if it has one, is an orphan from here on. It
 * or NULL. */
hak_heap_t *hak_heap_release_samples(hak_heap_t *heap);
/* Heaps without a handle lie below it. */
bool hak_heap_has_orphans(hak_heap_t *heap);
/* From here on an orphan of `parent` (NULL: of any), or what has its samples, is the
 * caller's to end; false if it is none, or another thread's. */
bool hak_heap_claim_orphan_of(hak_heap_t *heap, const hak_heap_t *parent);
/* The heap is an orphan again, if it was claimed as one. */
void hak_heap_unclaim_orphan(hak_heap_t *heap);
/* In the child of a fork: a thread that is not there was making or ending the heap.
 * O(unused records). */
bool hak_heap_is_ending(hak_heap_t *heap);
/* Its memory is gone: the record waits for another heap. */
void hak_heap_put_record(hak_heap_t *heap);

#endif
