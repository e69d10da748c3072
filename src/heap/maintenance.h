/* maintenance.h - a thread of the library's own that gives back what is due, if the
 * program asks for one.
 *
 * Depends on: base, os, superslab, give_up, hole_sweep, lifecycle, records, stay,
 * thread, thread_end.
 * Used by: api.
 *
 * Life: none -> running -> (paused -> running)* -> none
 *
 * The thread is never attached. It works behind a gate, which a shutdown closes first: so
 * it is not inside while the library goes, and goes on if the library stays. A thread is
 * of one process: the child of a fork has none.
 *
 * Thread-safe.
 */
#ifndef HAK_HEAP_MAINTENANCE_H
#define HAK_HEAP_MAINTENANCE_H

#include <stdbool.h>
#include <stdint.h>

/* Begins the thread. 0, EALREADY if there is one, EBUSY while one begins or ends, or what
 * the platform says. The library runs, and stays. No lock held. */
int hak_maintenance_begin(uint64_t period_ns);
/* Ends it, and returns when it has ended. 0, EINVAL if there is none, EBUSY while one
 * begins or ends, EDEADLK in the thread itself. */
int hak_maintenance_end(void);

#endif
