/* magazine.h - arrays of free blocks, and where empty ones wait.
 *
 * Depends on: base, pages, bin, stray.   Used by: tiny, heap, api.
 *
 * A thread keeps a few empty magazines. The others are on a list of the process, under a
 * lock of its own. Magazines are records of the library's and go at shutdown.
 */
#ifndef HAK_TINY_MAGAZINE_H
#define HAK_TINY_MAGAZINE_H

#include "tiny/bin.h"

/* How many blocks a magazine of the class carries. */
uint32_t hak_magazine_blocks(uint32_t cls);

/* An empty magazine, or NULL if memory is short. */
hak_magazine_t *hak_magazine_get(hak_thread_t *me, const hak_cache_t *cache);
/* Sees to it that at least `count` empty magazines are on the list of the process; false
 * if memory is short. No lock is held. */
bool hak_magazines_prepare(const hak_os_t *os, uint32_t count);
/* Takes back a magazine whose blocks are no longer of interest: it is empty from here on.
 */
void hak_magazine_put(hak_thread_t *me, hak_magazine_t *magazine);
/* Gives the thread's empty magazines to the process. */
void hak_magazines_return(hak_thread_t *me);
/* At shutdown: forgets the empty magazines of the process, whose memory is released. */
void hak_magazines_stop(void);
/* The lock of the process's list, for forks. */
hak_lock_t *hak_magazines_lock(void);

/* Leaves in a magazine only those blocks that say that they are free; see stray.h. */
void hak_magazine_sift(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       hak_magazine_t *magazine);
/* Links a magazine's blocks into a list, HAK_LINK_END if there are none, and empties it.
 */
void *hak_magazine_link(hak_thread_t *me, hak_magazine_t *magazine);

#endif
