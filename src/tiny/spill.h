/* spill.h - blocks leave a thread's caches for their slabs.
 *
 * Depends on: hold, transfer.   Used by: tiny, heap, api.
 */
#ifndef HAK_TINY_SPILL_H
#define HAK_TINY_SPILL_H

#include "tiny/front.h"

/* Room for a block is made in a bin whose `list` is full. */
void hak_spill_full(hak_thread_t *me, uint32_t cls);

/* All blocks of a bin go home, the way they would if it were full. */
void hak_spill_bin(hak_thread_t *me, uint32_t cls);

/* Blocks go straight to their slabs, whoever holds them; how many slabs that
 * were. */
uint32_t hak_spill_blocks(hak_thread_t *me, uint32_t cls, void **blocks, uint32_t count);

/* Everything that this thread keeps of the class becomes everybody's: bins,
 * magazine, held slabs. */
void hak_spill_class(hak_thread_t *me, uint32_t cls);

/* As above for all classes. */
void hak_spill_all(hak_thread_t *me);

/* As above, and what lies in the heap's transfer slots goes home too. */
void hak_spill_heap(hak_thread_t *me);
/* Only that. Needs no bins. */
void hak_spill_slots(hak_thread_t *me);

/* A block is freed: a slow path that takes any state of bin and mask. */
void hak_spill_free(hak_thread_t *me, uint32_t cls, void *block);

/* A block is freed into a list whose room was gone. */
void hak_spill_event(hak_thread_t *me, hak_list_t *list, void *block);

#endif
