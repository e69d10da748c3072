/* heap.h - a heap: its SuperSlabs and what all threads share of its classes.
 *
 * Depends on: base, external, pages, pool, superslab, tiny.
 * Used by: serial, thread_state, teardown, lifecycle, collect, pressure, api, own_os.
 *
 * Programs name a heap by a handle: the address of its record with a tag in the bits
 * that no record's address has, above it and below. Records are of this type until
 * shutdown and serve one heap after another, each under the next tag, so a handle that
 * is out of date is told from later ones, whatever lies at the address. A record whose
 * tags are used up is worn: it waits until HAK_HEAPS_WORN of them do, and only then do
 * the tags of the longest worn one begin anew. So a handle is seen again after
 * HAK_HEAPS_WORN * HAK_HANDLE_TAG_MAX later heaps at the soonest, or where no other
 * record can be had. Inside the library a hak_heap_t * is a record, except where it says
 * handle: that is compared, and followed by hak_heap_record alone.
 *
 * Life: unused -> live -> (destroyed -> unused | released -> unused when the last
 * block is gone)
 *
 * Access:  see base/lock.h; [const] is while the heap is live
 */
#ifndef HAK_HEAP_HEAP_H
#define HAK_HEAP_HEAP_H

#include "base/lock.h"
#include "external/external_heap.h"
#include "external/external_region.h"
#include "tiny/bin.h"
#include "tiny/central.h"

#define HAK_HEAP_NAME_MAX 31
/* Heaps that there can be at once, the default heap included. */
#define HAK_HEAPS_MAX ((uint32_t)1 << 16)

typedef enum hak_heap_release {
  HAK_HEAP_KEPT = 0, /* not released */
  HAK_HEAP_ORPHAN,   /* its handle is gone, its blocks are the parent's */
  HAK_HEAP_ENDING    /* likewise, and somebody is at its end */
} hak_heap_release_t;

/* See kind.h. */
typedef enum hak_heap_kind {
  HAK_KIND_POOLED = 0,
  HAK_KIND_SERIAL,
  HAK_KIND_EXTERNAL
} hak_heap_kind_t;

struct hak_heap {
  _Atomic(hak_heap_t *) handle; /* [any] NULL: no program may use it */
  hak_heap_t *serial_handle;    /* [const] likewise of a serial heap with a state; NULL */
  _Atomic(struct hak_serial *) serial; /* [any] see serial.h; or NULL */
  hak_atomic_u32_t index_at; /* [any] where in a thread state the way to its bins is */
  hak_atomic_u32_t kind;     /* [const] hak_heap_kind_t; a serial heap that is released
 is pooled from then on */
  uint32_t index;            /* [const] since the record was made */
  hak_store_t *store;        /* likewise */
  uint32_t tag;              /* [lock: heaps] of the last handle */
  hak_atomic_u32_t released; /* [any] hak_heap_release_t; changes under the lock */
  hak_atomic_u32_t
      caches;        /* [any] threads that have a thread cache of it, or have pinned it */
  hak_lease_t lease; /* [any] see hak_heap_lease */
  _Atomic(hak_heap_t *) parent; /* or NULL; [const] while the heap is live */
  uint32_t children, orphans;   /* [lock: heaps] live and released heaps below it */
  hak_heap_t *next_unused;      /* [lock: heaps] */
  _Atomic(hak_external_heap_t *)
      external; /* all its blocks are there; NULL; [const] while live */
  _Atomic(hak_external_region_t *)
      external_region; /* its SuperSlabs are there; likewise */
  uint64_t forking;    /* bit c: class c's lock is taken for a fork */
  bool unfinished;     /* in the child of a fork: see hak_teardown_finish */
  hak_atomic_u32_t
      resetting; /* [owner: who has the lease] its blocks are about to go, and it stays */
  hak_atomic_u32_t tells_leaks;     /* [const] what is live at its end is reported */
  char name[HAK_HEAP_NAME_MAX + 1]; /* [const] */
} __attribute__((aligned(HAK_CACHE_LINE)));

/* A record's address has bits from HAK_HANDLE_LOW_BITS up to HAK_HANDLE_HIGH_SHIFT. The
 * tag's lower bits lie above them, up to the sign; the others below, so that the first
 * handles of a record are aligned as it is. */
#define HAK_HANDLE_LOW_BITS 6
#define HAK_HANDLE_HIGH_SHIFT 48
#define HAK_HANDLE_HIGH_BITS 15
#define HAK_HANDLE_ADDRESS \
  (((uintptr_t)1 << HAK_HANDLE_HIGH_SHIFT) - ((uintptr_t)1 << HAK_HANDLE_LOW_BITS))
#define HAK_HANDLE_TAG_MAX \
  (((uint32_t)1 << (HAK_HANDLE_LOW_BITS + HAK_HANDLE_HIGH_BITS)) - 1)
/* So many records wait with their tags used up before one of them serves again. */
#define HAK_HEAPS_WORN 64

_Static_assert(sizeof(hak_heap_t) % ((size_t)1 << HAK_HANDLE_LOW_BITS) == 0 &&
                   HAK_CACHE_LINE == 1 << HAK_HANDLE_LOW_BITS,
               "no record's address has the bits of a tag");

/* In the handle of a serial heap: the sign, so that one test tells it and no handle at
 * all from others, before it is followed. */
#define HAK_HANDLE_SERIAL ((uintptr_t)1 << 63)

HAK_HOT bool hak_handle_is_serial(const void *handle) { return (intptr_t)handle < 0; }

/* The record that a handle leads to. It is the handle's heap only if `handle` in
 * there is the same; the default heap's handle is its record. */
HAK_HOT hak_heap_t *hak_heap_record(const void *handle) {
  return (hak_heap_t *)((uintptr_t)handle & HAK_HANDLE_ADDRESS);
}
/* A record's handle under a tag: 0 is the default heap's alone. */
HAK_HOT uintptr_t hak_handle_make(const hak_heap_t *heap, uint32_t tag) {
  uint32_t high = tag & (((uint32_t)1 << HAK_HANDLE_HIGH_BITS) - 1);
  return (uintptr_t)heap | (uintptr_t)high << HAK_HANDLE_HIGH_SHIFT |
         tag >> HAK_HANDLE_HIGH_BITS;
}
HAK_HOT hak_heap_t *hak_heap_handle(hak_heap_t *heap) {
  return hak_load_relaxed(&heap->handle);
}
/* A heap lives there, or what is left of a released one. Stays so under its lease. */
HAK_HOT bool hak_heap_is_used(hak_heap_t *heap) {
  /* Acquire: pairs with hak_heap_make; its fields are seen. */
  return hak_load_acquire(&heap->handle) != NULL ||
         hak_load_relaxed(&heap->released) == HAK_HEAP_ORPHAN;
}
HAK_HOT hak_heap_t *hak_heap_parent(hak_heap_t *heap) {
  return hak_load_relaxed(&heap->parent);
}
HAK_HOT bool hak_heap_is_orphan(hak_heap_t *heap) {
  return HAK_UNLIKELY(hak_load_relaxed(&heap->released) != HAK_HEAP_KEPT);
}
/* Of a heap in little memory of the caller's; NULL for others. Such a heap has no slabs,
 * no thread caches, and no slot: every call finds its way here. */
HAK_HOT hak_external_heap_t *hak_heap_external(hak_heap_t *heap) {
  return hak_load_relaxed(&heap->external);
}
/* Likewise in much memory: it is a heap like others but for where its SuperSlabs lie. */
HAK_HOT hak_external_region_t *hak_heap_external_region(hak_heap_t *heap) {
  return hak_load_relaxed(&heap->external_region);
}
/* All its blocks lie in memory of the caller's. For statistics too, which may come while
 * the record changes heaps. */
HAK_HOT bool hak_heap_is_enclosed(hak_heap_t *heap) {
  return hak_heap_external(heap) != NULL || hak_heap_external_region(heap) != NULL;
}
/* Where a way lies in a thread state, and what stands there for bins. */
HAK_HOT uint32_t hak_index_at(uint32_t entry) {
  return (uint32_t)(offsetof(hak_thread_t, bins_at) + entry * sizeof(int64_t));
}
HAK_HOT hak_heap_kind_t hak_heap_kind(hak_heap_t *heap) {
  return (hak_heap_kind_t)hak_load_relaxed(&heap->kind);
}

/* The handle that its memory is marked with; stays when the heap is released. */
HAK_HOT void *hak_heap_id(hak_heap_t *heap) { return heap->store->pool.heap; }

/* The heap whose memory an extent is, or NULL. */
HAK_HOT hak_heap_t *hak_heap_of_extent(hak_extent_t *extent) {
  void *mark = hak_load_relaxed(&extent->heap);
  return mark == NULL ? NULL : hak_heap_record(mark);
}
/* The handle under which the program knows the owner of the heap's blocks: a
 * released heap's belong to the nearest heap above it that is not. */
hak_heap_t *hak_heap_owner(hak_heap_t *heap);
/* The heap that is charged what this one is, or NULL. Memory of the caller's is charged
 * to nobody: above a heap that has such memory come those that are charged for the heaps
 * below it. */
hak_heap_t *hak_heap_charged_above(hak_heap_t *heap);

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
/* Release: pairs with is_idle. */
HAK_HOT void hak_heap_unpin(hak_heap_t *heap) { hak_sub_release(&heap->caches, 1); }

/* Nobody else flushes or tears down caches of the heap meanwhile. A lease rather
 * than a lock, since hooks run while it is out; whoever has one takes no other. */
void hak_heap_lease(hak_heap_t *heap);
bool hak_heap_try_lease(hak_heap_t *heap);
void hak_heap_unlease(hak_heap_t *heap);

/* The heap of this index, or NULL if none was ever made. */
hak_heap_t *hak_heap_at(uint32_t index);
/* Indices in use are below. */
uint32_t hak_heaps_made(void);
hak_lock_t *hak_heaps_lock(void);

/* Takes the handle from the program: EBUSY if live heaps lie below it, EINVAL if
 * it is none. Then it is the caller's to end. */
int hak_heap_retire_handle(hak_heap_t *heap, hak_heap_t *handle);
/* Likewise, and the heap is an orphan from then on. */
int hak_heap_release_handle(hak_heap_t *heap, hak_heap_t *handle);
bool hak_heap_has_orphans(hak_heap_t *heap);
/* An orphan of `parent` (NULL: of any) is the caller's to end. */
bool hak_heap_claim_orphan_of(hak_heap_t *heap, const hak_heap_t *parent);
/* It is an orphan again, if it was claimed as one. */
void hak_heap_unclaim_orphan(hak_heap_t *heap);
/* Somebody was making or ending it and is not in this process. O(unused records). */
bool hak_heap_is_ending(hak_heap_t *heap);
/* Its memory is gone: the record waits for another heap. */
void hak_heap_put_record(hak_heap_t *heap);

#endif
