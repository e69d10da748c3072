/* harden.h - the last step of each allocation and the first one of each free in a
 * hardened build (HAKMEM_CHECKS=hardened).
 *
 * Depends on: base, os, pages, superslab, pool, tiny, heap, thread_state.
 * Used by: give_up, samples, collect, api.
 *
 *     a block of a list -> hak_harden_give -> the program -> hak_harden_take -> a list
 *
 * While a block is free all its bytes are zero but for the link and its seal, so that a
 * write to it is seen when it is given out; and nothing that it held is there any more.
 * While it is the program's, it ends with its canary.
 *
 * A block over 56 KiB goes back to memory that other blocks are made of. It is known
 * there which of that has to be zero (superslab/clean.h, `clean` of mappings): all of
 * what such blocks left. What is not is cleared as a block gets it.
 *
 * No lock may be held, as reports go straight to the program's handler. Any thread.
 */
#ifndef HAK_HEAP_HARDEN_H
#define HAK_HEAP_HARDEN_H

#include "heap/heap.h"
#include "superslab/locate.h"

/* A block of the class, or of a larger one, that was taken from what is free of the heap
 * (NULL: the default one): it is the program's from here on, zeroed. False, after a
 * report, if that is no free block, or was written to since it was freed; it stays out
 * then. Cost: a look at each of its bytes. */
bool hak_harden_give(hak_heap_t *heap, uint32_t cls, void *block);

/* A large block that was made for the heap, `zeroed` if its pages were said to be: it is
 * the program's from here on, and reads as zero. False, after a report, if it was written
 * to since its memory was free; it stays out then. Cost: a look at each of its pages that
 * is resident; none at pages that a program's hooks have just brought. */
bool hak_harden_give_large(hak_heap_t *heap, void *block, bool zeroed);
/* A large block of `before` bytes has `now` bytes since. Writes its canary, and reports
 * what was written to memory that came to it while that was free. */
void hak_harden_resized(void *block, size_t before, size_t now);

/* A block that the program frees, and that begins at `ptr`, in `place`. False, after a
 * report, if the program has it not, or has written behind it: then nothing has changed.
 * Cost: a write to each of its bytes, if it is of a size class. */
bool hak_harden_take(const hak_place_t *place, void *ptr, const char *function);
/* A block that was taken comes into the calling thread's quarantine, if it is of the
 * default heap. Returns one to be freed now, or NULL. */
void *hak_harden_delay(const hak_place_t *place, void *ptr);
/* Another one, or NULL. */
void *hak_harden_delay_excess(void);
/* Frees what waits in the quarantine of this thread, which has no lease. */
void hak_harden_release(hak_thread_t *me);

#endif
