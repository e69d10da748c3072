/* external_heap.h - blocks out of memory that the caller brought, and nothing else.
 *
 * Depends on: base, pages, superslab, external_lists.   Used by: external_region, heap.
 *
 * A question about any address, by hak_external_chunk_at, may come while the external
 * heap is closed and its memory goes back to the caller: such questions pass a gate.
 *
 * At the start of the memory lie the map of its chunks and the lists of free ones,
 * behind them blocks, side by side: a block has no header, takes multiples of 16
 * bytes, and can be at any alignment. Once it is open an external heap calls nobody: not
 * the OS, not the library's other parts.
 *
 * An annex is an external heap beside the slabs of an external region, for its large
 * blocks. It differs in this:
 *  - its granules have 4 KiB, and its records lie with the library;
 *  - slots of the region's units are its own or lent, to the region or to a pool. Whose
 *    one is, the registry says (hak_locate), and changes under this lock. What is lent
 *    lies in chunks in use, and counts as no block;
 *  - blocks lie at the upper ends of free chunks, what is lent at their lower ends.
 *
 * Cost of a block that comes or goes: a lock and a fixed number of steps.
 *
 * Life: closed -> open -> closed; records are reused and stay of this type, so that
 * who comes late with a pointer finds a lock and a closed external heap.
 *
 * Invariant, checked by hak_external_is_valid(): the map's and the lists', and the
 * counters are what the map says.
 *
 * Access: see base/lock.h; [const] is while it is open
 */
#ifndef HAK_EXTERNAL_EXTERNAL_HEAP_H
#define HAK_EXTERNAL_EXTERNAL_HEAP_H

#include "base/gate.h"
#include "external/external_lists.h"
#include "pages/external_range.h"
#include "superslab/superslab.h"

/* The least memory that makes an external heap. */
#define HAK_EXTERNAL_MIN (256 * HAK_KIB)

typedef struct hak_external_heap {
  hak_external_range_t range; /* all the memory; its heap is a handle, NULL before
                                 hak_external_set_heap */
  hak_lock_t lock;            /* guards every field marked [lock: external heap], the map,
                                 the lists and the links in free chunks */
  hak_gate_t gate;            /* [any] open while the memory may be looked at */
  bool open;                  /* [lock: external heap] */
  bool borrowed;              /* [owner: who opens or closes it] see hak_os_borrow */
  const hak_fixed_os_t *hooks; /* [const] since it was made; of the region whose annex it
                                  is for good, or NULL */
  void *head;                  /* [const] an annex's map and lists, which it keeps */
  size_t head_size;            /* [const] bytes, 0 while there are none */
  hak_external_map_t map;      /* its words lie in the memory, but for an annex */
  hak_external_lists_t *lists; /* [const] behind the map's words */
  char *base;                  /* [const] the first granule, behind the lists */
  hak_atomic_u64_t blocks, bytes;        /* [lock: external heap] in use; others read them
                                            as statistics */
  hak_atomic_ptr_t corrupt;              /* [any] a free chunk that was written to, or
                                            NULL */
  struct hak_external_heap *next;        /* [const] since it was made; of all records */
  struct hak_external_heap *next_unused; /* [lock: external heaps] */
} hak_external_heap_t;

_Static_assert(offsetof(hak_external_heap_t, range) == 0, "places name extents");

HAK_HOT hak_external_heap_t *hak_external_of_extent(hak_extent_t *extent) {
  return (hak_external_heap_t *)(void *)extent;
}

/* Opens an external heap over `size` bytes, which are then its own. No lookup leads
 * there before hak_external_set_heap. NULL: *error is EINVAL for
 * memory that is too small, too far up, overlaps another external heap's or is the
 * library's own; ENOMEM. May call the OS: no lock held. */
hak_external_heap_t *hak_external_open(const hak_os_t *os, void *memory, size_t size,
                                       int *error);
/* Makes the annex of an external region that has these hooks, closed, or returns NULL. */
hak_external_heap_t *hak_external_make_annex(const hak_os_t *os,
                                             const hak_fixed_os_t *hooks);
/* Opens it in the same way. All units are lent. 0, EINVAL or ENOMEM. */
int hak_external_open_annex(const hak_os_t *os, hak_external_heap_t *annex, void *memory,
                            size_t size);
/* Lookups lead there from here on: it is the memory of the heap with this handle. */
void hak_external_set_heap(hak_external_heap_t *external, void *handle);
/* Lookups lead there no more. */
HAK_HOT void hak_external_leave_heap(hak_external_heap_t *external) {
  hak_store_relaxed(&external->range.extent.heap, NULL);
}
/* Closes the external heap. Nothing of it is known any more, and nothing in the memory
 * is looked at again. */
void hak_external_close(hak_external_heap_t *external);
/* Frees all blocks; in an annex all units are lent then. */
void hak_external_clear(hak_external_heap_t *external);

/* A block of `size` bytes at a multiple of `alignment`, a power of two. NULL if there
 * is no room. */
void *hak_external_alloc(hak_external_heap_t *external, size_t size, size_t alignment);
void *hak_external_alloc_locked(hak_external_heap_t *external, size_t size,
                                size_t alignment);
/* Slots of an annex are lent, so many bytes from a multiple of `alignment` on, of a slot
 * at least: their start, or NULL. */
char *hak_external_lend_locked(hak_external_heap_t *external, size_t size,
                               size_t alignment);
/* Slots side by side that are lent are the annex's. */
void hak_external_take_back_locked(hak_external_heap_t *external, const char *start,
                                   size_t size);
/* Frees a block; false if no block in use starts there. */
bool hak_external_free(hak_external_heap_t *external, const void *block);
/* Makes a block at least `least` bytes large, `want` if there is room behind it or it
 * shrinks; the usable size, or 0 and nothing changed. */
size_t hak_external_resize(hak_external_heap_t *external, void *block, size_t least,
                           size_t want);
/* A free chunk that the calls before have found to be written to, or NULL; once. */
HAK_HOT const void *hak_external_take_corrupt(hak_external_heap_t *external) {
  if (HAK_LIKELY(hak_load_relaxed(&external->corrupt) == NULL)) return NULL;
  return hak_exchange_relaxed(&external->corrupt, NULL);
}

/* Usable size of the block in use that starts there, else 0. Takes no lock. */
size_t hak_external_usable(const hak_external_heap_t *external, const void *block);

/* The chunk that an address lies in. False if that is none of the external heap's blocks.
 * Takes no lock. O(its size / 1 KiB). */
typedef struct hak_external_chunk {
  char *start;
  size_t size; /* bytes */
  bool used;
} hak_external_chunk_t;
bool hak_external_chunk_at(hak_external_heap_t *external, const void *address,
                           hak_external_chunk_t *chunk);

/* Calls `visit` for each block in use while it returns true. The external heap is quiet.
 */
void hak_external_visit(const hak_external_heap_t *external,
                        bool (*visit)(char *block, size_t size, void *ctx), void *ctx);

HAK_HOT size_t hak_external_bytes(hak_external_heap_t *external) {
  return hak_load_relaxed(&external->range.extent.size);
}
HAK_HOT uint64_t hak_external_live_blocks(hak_external_heap_t *external) {
  return hak_load_relaxed(&external->blocks);
}
HAK_HOT uint64_t hak_external_live_bytes(hak_external_heap_t *external) {
  return hak_load_relaxed(&external->bytes);
}

/* No block is in use. Under the lock: of two threads, one of which frees the last block
 * and then looks whether the heap is released, and one of which releases it and then
 * looks here, one sees what the other did. */
bool hak_external_is_empty(hak_external_heap_t *external);

bool hak_external_is_valid(hak_external_heap_t *external);

/* Calls `act` for the lock of the list of external heaps, and for those of all external
 * heaps, before which or after which the first comes; for fork. */
void hak_externals_each_lock(void (*act)(hak_lock_t *lock), bool list_first);
/* In the child of a fork: no question is under way. */
void hak_externals_recount(void);
/* In the child of a fork: those that lost threads were opening or closing are closed, and
 * so the memory is its owner's. */
void hak_externals_close_unserved(void);
/* Forgets all external heaps, at shutdown: the records are about to go, the memory is
 * its owners' again. */
void hak_externals_stop(void);

#endif
