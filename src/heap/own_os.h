/* own_os.h - page hooks of a heap's own.
 *
 * Depends on: base, os, pages, superslab, heap.   Used by: kind, fork, lifecycle.
 *
 * A heap has a copy of its hooks for its life, and nobody calls the copy after the heap's
 * end. A thread that comes late with an address may still look at the copy's page size,
 * so a copy stays and serves later heaps with the same page size.
 *
 * Life: taken -> ending (the heap has gone, ranges may still be there) -> unused -> taken
 *
 * Thread-safe: the heaps' lock guards the list of copies and their states.
 */
#ifndef HAK_HEAP_OWN_OS_H
#define HAK_HEAP_OWN_OS_H

#include "os/os.h"

/* A copy of the hooks, in memory from the process's hooks `os`; NULL if that is short. No
 * lock held. */
const hak_os_t *hak_own_os_get(const hak_os_t *os, const hak_os_t *hooks);
/* The copy serves no heap. */
void hak_own_os_put(const hak_os_t *copy);

/* The heap is about to let go of the copy. */
void hak_own_os_mark_ending(const hak_os_t *copy);
/* The heap has let go: gives all ranges back, waits for threads that are inside the
 * hooks, and then nobody calls them any more. No lock held. */
void hak_own_os_end(const hak_os_t *copy);

/* In the child of a fork: brings to an end what threads that are not there were ending.
 */
void hak_own_os_finish(void);
/* At shutdown: forgets all copies; their memory is about to go. */
void hak_own_os_stop(void);

#endif
