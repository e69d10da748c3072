/* heap.h - a heap: its SuperSlabs and what all threads share of its classes.
 *
 * Depends on: base, os, superslab, tiny, pool.   Used by: api.
 *
 * Everything that belongs to a heap lies in this record, so that there can be
 * more than one; the default heap is made at start like any other.
 */
#ifndef HAK_HEAP_HEAP_H
#define HAK_HEAP_HEAP_H

#include "tiny/depot.h"

struct hak_heap {
  hak_store_t store;
};

/* The default heap; NULL before the library has started. */
hak_heap_t *hak_heap_get_default(void);

/* A heap's record, or NULL. */
hak_heap_t *hak_heap_make(const hak_os_t *os);
bool hak_heap_make_default(const hak_os_t *os);
void hak_heap_forget_default(void);

/* Walks the heap's invariants that hold at any time. */
bool hak_heap_is_valid(hak_heap_t *heap);

#endif
