/* groups.h - where blocks of the default heap lie that are kept apart.
 *
 * Depends on: learn, pages, superslab, heap.   Used by: lifecycle, teardown, api.
 *
 * What waves.h calls groups: 0 is the default heap itself, each other one a pooled heap
 * without a handle below it, made with the first block that is to lie there. To the
 * program their blocks are the default heap's, and they are used like other heaps:
 * threads have caches of them, and they end at shutdown.
 *
 * Nothing is put into them while the default heap has limits, so that all memory it may
 * have is of use to each request.
 */
#ifndef HAK_HEAP_GROUPS_H
#define HAK_HEAP_GROUPS_H

#include "heap/heap.h"
#include "learn/partition.h"

/* The heap of a group over 0, made if there is none. NULL if memory is short, another
 * thread is making it, or blocks are not to be put there now. May call the OS: no lock
 * held. */
hak_heap_t *hak_group_heap(uint32_t group);

/* At shutdown; in the child of a fork: nobody is making one. */
void hak_groups_stop(void);
void hak_groups_forget_maker(void);

#endif
