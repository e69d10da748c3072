/* plot.h - memory that the caller brought, large enough for SuperSlabs: the whole
 * units of 2 MiB in it are one heap's.
 *
 * Depends on: base, os, budget, tract, region.   Used by: superslab, heap, api.
 *
 * To the heap a plot is a set of page hooks that nobody calls: the memory is there
 * already, what it contains is not known, and no page of it comes or goes. A region
 * is laid over its units, with all records, when it is opened. What lies in front of
 * the first unit and behind the last one serves nothing, but is the heap's as well: a
 * tract without a mark covers all of it, so that nobody else's memory overlaps.
 *
 * Its SuperSlabs have no committed pages, are charged to nobody, and lie in no queue
 * of what could be given back. When few of its slots are free the heap has a hard
 * limit, which it never meets: threads then cache a share of it and no more.
 *
 * Life: closed -> open -> closed; records are reused and stay of this type, so that who
 * comes late with an address finds hooks.
 *
 * Access: [const] while it is open
 *         [tracts] under the lock of the tracts
 *         [any]   atomic
 */
#ifndef HAK_SUPERSLAB_PLOT_H
#define HAK_SUPERSLAB_PLOT_H

#include "superslab/budget.h"
#include "superslab/tract.h"

/* Memory with fewer whole units is no plot: blocks of each class and size would find
 * too little. */
#define HAK_PLOT_UNITS_MIN 4

typedef struct hak_plot {
  hak_os_t os;                  /* [const] since it was made; the same in all */
  hak_tract_t tract;            /* all of the memory; without a heap */
  hak_budget_t *budget;         /* [const] of the heap, while it serves one; or NULL */
  uint64_t slots;               /* [const] in whole units */
  hak_atomic_u64_t used;        /* [any] of them are not free */
  struct hak_plot *next;        /* of all records; [tracts] */
  struct hak_plot *next_unused; /* [tracts] */
} hak_plot_t;

_Static_assert(offsetof(hak_plot_t, os) == 0, "heaps know plots by their hooks");

HAK_HOT hak_plot_t *hak_plot_of(const hak_os_t *os) { return (hak_plot_t *)(void *)os; }

/* Whole units in `size` bytes at an address; 0 where the range wraps around. */
size_t hak_plot_units(const void *memory, size_t size);

/* Opens one over memory with enough units, for a heap with this budget. NULL: *error is
 * EINVAL for memory that lies too far up, overlaps another heap's or is the library's
 * own; ENOMEM. May call the process's hooks `os`: no lock held. */
hak_plot_t *hak_plot_open(const hak_os_t *os, void *memory, size_t size, int *error);
/* The heap that it serves, before its first SuperSlab is used; NULL once none is. */
void hak_plot_serve(hak_plot_t *plot, hak_budget_t *budget);
/* Nothing of it is known any more, and nothing in the memory is looked at again. All of
 * its SuperSlabs are free. */
void hak_plot_close(hak_plot_t *plot);

/* In the child of a fork: threads that are not there were making heaps, or ending some.
 */
void hak_plots_close_unserved(void);

/* So many more of its slots are in use, or fewer. A pool's or the regions' lock is
 * held. */
void hak_plot_count(const hak_os_t *os, int64_t slots);

/* Bytes by which one thread's bins may grow with demand: a share of the whole for each
 * thread that uses it. */
uint64_t hak_plot_share(const hak_os_t *os);

/* All of the memory. */
HAK_HOT size_t hak_plot_bytes(hak_plot_t *plot) {
  return hak_load_relaxed(&plot->tract.extent.size);
}

/* At shutdown: the records are about to go, the memory is its owners' again. */
void hak_plots_forget(void);

#endif
