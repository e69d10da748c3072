/* serial.h - the state of a serial heap: bins that go with the heap from thread to
 * thread.
 *
 * Depends on: base, pages, tiny, bins, heap.
 * Used by: kind, fork_caches, lifecycle, collect, api.
 *
 * A serial heap is used by one thread at a time, in an order that the program sees
 * to. The heap has itself what each thread has of another heap: bins, and slabs that are
 * held by a code which is no thread's. Slow paths of the thread that uses the heap work
 * on them as on a thread cache of its own.
 *
 * The registry's entries of its slabs are unowned, so that hak_free finds the state
 * by a slow path; hak_heap_free, which is told the heap, goes by the state's lookup
 * cache.
 *
 * Life: made by the heap's first allocation -> unused from the heap's end on -> of
 * another serial heap. Its pages may go back meanwhile, its address does not.
 *
 * Access: by who has the heap; statistics may read what is atomic.
 */
#ifndef HAK_HEAP_SERIAL_H
#define HAK_HEAP_SERIAL_H

#include "base/check.h"
#include "heap/heap.h"

typedef struct hak_serial {
  hak_link_key_t key;           /* [const] that of all threads */
  hak_pace_t pace;              /* [owner: who has the heap] */
  struct hak_serial_slot *slot; /* [owner: who has the state] see serial.c */
  hak_atomic_u32_t inside; /* full asserts: somebody is at it; see hak_serial_begin */
  /* [const] Which bin serves 8 * i + 1 to 8 * i + 8 bytes. */
  hak_bin_t *bin_of_step[HAK_TINY_STEPS];
  hak_bin_t bins[HAK_CLASSES] __attribute__((aligned(HAK_CACHE_LINE)));
  hak_lookup_t lookup;
  hak_cache_t cache;
  uint64_t grown;
  hak_hold_t holds[HAK_CLASSES];
} hak_serial_t;

/* The heap's state, or NULL if it has none (yet). */
HAK_HOT hak_serial_t *hak_heap_serial(hak_heap_t *heap) {
  /* Acquire: pairs with hak_serial_make, for statistics. */
  return hak_load_acquire(&heap->serial);
}
/* The same for a thread that has the heap, and so has seen the state if there is one. */
HAK_HOT hak_serial_t *hak_heap_own_serial(hak_heap_t *heap) {
  return hak_load_relaxed(&heap->serial);
}

/* Around every use of a state by those who have the heap: with full asserts, a second
 * thread that is at it at the same moment is found. */
HAK_HOT void hak_serial_begin(hak_serial_t *serial) {
  /* Relaxed: whoever passes the heap on orders all that the one before did, this too. */
  hak_assert_full(hak_exchange_relaxed(&serial->inside, 1) == 0);
  (void)serial;
}
HAK_HOT void hak_serial_leave(hak_serial_t *serial) {
  if (HAK_ASSERTS >= 2) hak_store_relaxed(&serial->inside, 0);
}

/* Gives the heap a state; false if memory is short. */
bool hak_serial_make(hak_thread_t *me, hak_heap_t *heap);

/* While hidden, allocations from the heap take the slow path, whatever its bins have. */
void hak_serial_hide(hak_heap_t *heap, bool hidden);

/* The heap's cache, for slow paths of whatever thread has the heap; NULL if memory is
 * short. */
HAK_HOT const hak_cache_t *hak_serial_cache(hak_thread_t *me, hak_heap_t *heap) {
  hak_serial_t *serial = hak_heap_own_serial(heap);
  if (HAK_UNLIKELY(serial == NULL)) {
    if (!hak_serial_make(me, heap)) return NULL;
    serial = hak_heap_own_serial(heap);
  }
  return &serial->cache;
}

/* What the heap keeps goes home to its slabs, as far as others may take it. */
void hak_serial_flush(hak_thread_t *me, hak_heap_t *heap);

/* Forgets what the heap keeps: its blocks are gone. `end`: the state goes too. Under
 * the heap's lease. */
void hak_serial_clear(hak_thread_t *me, hak_heap_t *heap, bool end);
/* The heap is for all threads from here on: others may free its blocks. */
void hak_serial_end(hak_thread_t *me, hak_heap_t *heap);

/* Gives the pages of unused states back, until they are max_bytes, or *looks states were
 * looked at. The bytes. No lock held. */
size_t hak_serials_purge(const hak_os_t *os, size_t max_bytes, size_t *looks);
/* Forgets all states; their memory is about to go. */
void hak_serials_stop(void);

#endif
