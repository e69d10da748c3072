/* groups.h - where blocks of the default heap lie that are kept apart.
 *
 * Depends on: base, learn, pages, superslab, heap.   Used by: lifecycle, pressure,
 * collect, teardown, api.
 *
 * What waves.h calls groups: 0 is the default heap itself, each other one a pooled heap
 * without a handle below it, made with the first block that is to lie there. To the
 * program their blocks are the default heap's, and they are used like other heaps:
 * threads have caches of them, and they end at shutdown.
 *
 * Nothing is put into them while the default heap has limits. What is free in them serves
 * requests to the default heap that nothing else can serve (heap/pressure.h), so all
 * memory that it may have is of use to each request.
 */
#ifndef HAK_HEAP_GROUPS_H
#define HAK_HEAP_GROUPS_H

#include "base/option.h"
#include "heap/heap.h"
#include "learn/partition.h"

/* In the place of a group's heap: a thread makes it. */
#define HAK_GROUP_MAKING ((hak_heap_t *)1)
/* [any] The heaps of groups; or NULL, as of group 0. Written by groups.c alone. */
HAK_EXTERN _Atomic(hak_heap_t *) hak_groups[HAK_GROUPS];

/* The heap of a group, if there is one; else NULL, as for group 0. */
HAK_HOT hak_heap_t *hak_group_at(uint32_t group) {
  /* Acquire: pairs with make. */
  hak_heap_t *heap = hak_load_acquire(&hak_groups[group]);
  return HAK_UNLIKELY((uintptr_t)heap <= (uintptr_t)HAK_GROUP_MAKING) ? NULL : heap;
}
/* Whether blocks of the default heap are put into groups: not while it has limits, or
 * nothing is to be kept apart. */
HAK_HOT bool hak_groups_take(hak_heap_t *default_heap) {
  return hak_option(LEARN) != 0 &&
         !hak_budget_is_limited(&default_heap->store->pool.budget);
}
/* The heap of a group if there is one and blocks are to be put there now; else NULL. */
HAK_HOT hak_heap_t *hak_group_made(uint32_t group) {
  hak_heap_t *heap = hak_group_at(group);
  return HAK_LIKELY(heap != NULL) && hak_groups_take(hak_heap_above(heap)) ? heap : NULL;
}
/* The heap of a group over 0, made if there is none. NULL if memory is short, another
 * thread is making it, or blocks are not to be put there now. May call the OS: no lock
 * held. */
hak_heap_t *hak_group_heap(uint32_t group);

/* Heaps whose blocks are `heap`'s own to the program: where its samples lie and, of the
 * default heap, each group. NULL if there is none; `part` < HAK_HEAP_PARTS. */
#define HAK_HEAP_PARTS HAK_GROUPS
hak_heap_t *hak_heap_part(hak_heap_t *heap, uint32_t part);

/* At shutdown; in the child of a fork: nobody is making one. */
void hak_groups_stop(void);
void hak_groups_forget_maker(void);

#endif
