/* heap_record.h - the records of heaps, and the handles that lead to them.
 *
 * Depends on: base, external, pages, tiny.   Used by: heap.
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
 * Access:  see base/lock.h; [const] is while the heap is live
 */
#ifndef HAK_HEAP_HEAP_RECORD_H
#define HAK_HEAP_HEAP_RECORD_H

#include "base/callee.h"
#include "base/lock.h"
#include "external/external_heap.h"
#include "external/external_region.h"
#include "external/malloced.h"
#include "tiny/bin.h"
#include "tiny/central.h"

#define HAK_HEAP_NAME_MAX 31
#define HAK_HEAP_NAME_WORDS ((HAK_HEAP_NAME_MAX + 1) / sizeof(uint64_t))
/* Heaps that there can be at once, the default heap included. */
#define HAK_HEAPS_MAX ((uint32_t)1 << 16)

typedef enum hak_heap_release {
  HAK_HEAP_KEPT = 0, /* not released */
  HAK_HEAP_ORPHAN,   /* its handle is gone, its blocks are the parent's */
  HAK_HEAP_ENDING,   /* an orphan that somebody is at the end of */
  HAK_HEAP_GROUP,    /* it never had a handle: blocks of the default heap that are kept
                        apart lie in it, until shutdown; see groups.h */
  HAK_HEAP_SAMPLES   /* it never had a handle: sampled blocks of the parent's lie in it,
                        until the parent ends, or is released, and then it is an orphan */
} hak_heap_release_t;

/* See kind.h. */
typedef enum hak_heap_kind {
  HAK_KIND_POOLED = 0,
  HAK_KIND_SERIAL,
  HAK_KIND_EXTERNAL,
  HAK_KIND_MALLOCED
} hak_heap_kind_t;

struct hak_heap {
  _Atomic(hak_heap_t *) handle; /* [any] NULL: no program may use it */
  hak_heap_t
      *serial_handle; /* [const] the same for a serial heap with a state; or NULL */
  _Atomic(struct hak_serial *) serial; /* [any] see serial.h; or NULL */
  hak_atomic_u32_t
      index_at; /* [any] where in a thread state an entry leads to its bins */
  /* [const] hak_heap_kind_t; a serial heap that is released is pooled from then on, and
   * so is a record that no heap has */
  hak_atomic_u32_t kind;
  uint32_t index;            /* [const] since the record was made */
  hak_atomic_u32_t watched;  /* [const] no thread caches its blocks; see `listener` */
  hak_store_t *store;        /* [const] since the record was made */
  uint32_t tag;              /* [lock: heaps] of the last handle */
  hak_atomic_u32_t released; /* [any] hak_heap_release_t; changes under the lock */
  hak_atomic_u32_t
      caches;        /* [any] threads that have a thread cache of it, or have pinned it */
  hak_lease_t lease; /* [any] see hak_heap_lease */
  _Atomic(hak_heap_t *) parent;  /* or NULL; [const] while the heap is live */
  uint32_t children, orphans;    /* [lock: heaps] live and released heaps below it */
  _Atomic(hak_heap_t *) samples; /* [any] see samples.h; or NULL */
  hak_heap_t *next_unused;       /* [lock: heaps] */
  _Atomic(hak_external_heap_t *)
      external; /* all its blocks are there; NULL; [const] while live */
  _Atomic(hak_external_region_t *)
      external_region; /* its SuperSlabs are there; NULL; [const] while live */
  /* [any] its blocks are malloc's; NULL; once made it stays for the record's later heaps
   */
  _Atomic(hak_malloced_t *) malloced;
  /* [any] 1: its pages went back; written by who has the unused record, and relaxed, as
   * others look for statistics */
  hak_atomic_u32_t bare;
  bool waits;       /* [lock: heaps] for another heap */
  uint64_t forking; /* bit c: class c's lock is taken for a fork */
  bool unfinished;  /* in the child of a fork: see hak_teardown_finish */
  hak_atomic_u32_t
      resetting; /* [owner: who has the lease] its blocks are about to go, and it stays */
  hak_atomic_u32_t tells_leaks; /* [const] what is live at its end is reported */
  hak_atomic_u32_t
      turned_at;            /* [any] when its transfer caches had a turn; see give_up.c */
  hak_callee_t listener;    /* [any] of a watched heap: hears of each block */
  hak_atomic_ptr_t user;    /* [any] the program's own */
  hak_atomic_u32_t name_at; /* [any] which of the names is the heap's */
  /* [owner: who renames it] the other one is written, and then is the heap's */
  /* and reads as text; in words, as others may copy it while the record changes heaps */
  hak_atomic_u64_t names[2][HAK_HEAP_NAME_WORDS];
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
/* Where an entry of `bins_of` and `bins_at` lies in a thread state. */
HAK_HOT uint32_t hak_index_at(uint32_t entry) {
  size_t at = entry < HAK_INDEX_FIRST
                  ? offsetof(hak_thread_t, bins_of)
                  : offsetof(hak_thread_t, bins_at) - HAK_INDEX_FIRST * sizeof(int64_t);
  return (uint32_t)(at + entry * sizeof(int64_t));
}

/* The heap of this index, or NULL if none was ever made. */
hak_heap_t *hak_heap_at(uint32_t index);
/* Indices in use are below. */
uint32_t hak_heaps_made(void);
hak_lock_t *hak_heaps_lock(void);

/* A record that serves the next heap: one that waits with tags left, else a new one, and
 * a worn one once enough of them wait or no other can be had; NULL if memory is short.
 * `geometry` is that of all classes, and stays with a record. May call the OS: no lock
 * held. */
hak_heap_t *hak_heap_record_get(const hak_os_t *os, const hak_geometry_t *geometry);
/* A new record, whose tags begin; or NULL. */
hak_heap_t *hak_heap_record_new(const hak_os_t *os, const hak_geometry_t *geometry);
/* From here on the record waits for another heap. */
void hak_heap_record_put_locked(hak_heap_t *heap);
/* It waits for another heap. */
bool hak_heap_record_is_unused_locked(const hak_heap_t *heap);

/* Gives back what threads keep for heaps of this index, while no such heap can come:
 * hak_threads_purge_caches. */
typedef size_t hak_heap_purge_caches_fn(uint32_t index, size_t *looks);
/* Gives the pages of records that wait back, and before them what threads keep for their
 * heaps, until they are max_bytes; each call to the OS costs one of *looks. The bytes.
 * Handles that are out of date are told as before. No lock held. */
size_t hak_heap_records_purge(const hak_os_t *os, size_t max_bytes, size_t *looks,
                              hak_heap_purge_caches_fn *purge_caches);

/* At shutdown: forgets all records, whose memory is about to go. */
void hak_heap_records_stop(void);

#endif
