/* magazine.h - arrays of free blocks, and where empty ones wait.
 *
 * Depends on: base, pages, bin, stray.   Used by: tiny, heap, api.
 *
 * A thread keeps a few empty magazines, and the process those that are left over, under
 * a lock of their own. They are records of the library's and go at shutdown.
 */
#ifndef HAK_TINY_MAGAZINE_H
#define HAK_TINY_MAGAZINE_H

#include "tiny/bin.h"

/* How many blocks a magazine of the class carries. */
uint32_t hak_magazine_blocks(uint32_t cls);

/* An empty magazine, or NULL if memory is short. */
hak_magazine_t *hak_magazine_get(hak_thread_t *me, const hak_cache_t *cache);
/* Sees to it that so many lie ready for whoever needs one first; false if memory is
 * short. No lock held. */
bool hak_magazines_prepare(const hak_os_t *os, uint32_t count);
void hak_magazine_put(hak_thread_t *me, hak_magazine_t *magazine);
/* Gives a thread's few empty ones to the process. */
void hak_magazines_return(hak_thread_t *me);
/* Forgets all of them; their memory has been released. */
void hak_magazines_stop(void);
hak_lock_t *hak_magazines_lock(void);

/* Leaves in a magazine what says that it is free; see stray.h. */
void hak_magazine_sift(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       hak_magazine_t *magazine);
/* Links a magazine's blocks into a list, HAK_LINK_END if there are none, and empties it.
 */
void *hak_magazine_link(hak_thread_t *me, hak_magazine_t *magazine);

#endif
