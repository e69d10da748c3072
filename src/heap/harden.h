/* harden.h - the last step of each allocation and the first one of each free in a
 * hardened build (HAKMEM_CHECKS=hardened).
 *
 * Depends on: base, pages, superslab, pool, tiny, heap, thread_state.
 * Used by: give_up, samples, collect, api.
 *
 *     a block of a list -> hak_harden_give -> the program -> hak_harden_take -> a list
 *
 * While a block of a size class is free all its bytes are zero but for the link and its
 * seal, so that a write to it is seen when it is given out; and nothing that it held is
 * there any more. While it is the program's, it ends with its canary.
 *
 * Large blocks have canaries, and are cleared as they go and as they come.
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

/* Ends a large block that the program gets with its canary, after clearing it unless it
 * is `zeroed`. */
void hak_harden_give_large(void *block, bool zeroed);
/* Writes the canary of a large block of so many bytes, which has a new size or place. */
void hak_harden_resized(void *block, size_t bytes);

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

/* Clears a large block that the caller has claimed. */
void hak_harden_clear_large(const hak_place_t *place);

#endif
