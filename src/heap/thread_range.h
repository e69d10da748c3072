/* thread_range.h - address space for the states of threads.
 *
 * Depends on: base, os, pages, thread_state.   Used by: threads.
 *
 * Where many threads come at once, calls that change the process's mappings stop each
 * other and all page faults. So ranges for states that come later are reserved along with
 * one, in a row, by one thread and before the row in use is used up. Whoever comes too
 * early waits for the next row, a millisecond at most.
 */
#ifndef HAK_HEAP_THREAD_RANGE_H
#define HAK_HEAP_THREAD_RANGE_H

#include "base/lock.h"
#include "os/os.h"

/* A range for the n-th state, which is to have `room` cache indices; with `alone` nothing
 * is reserved for others. NULL if memory is short. `lock` guards the rows, for a fork,
 * too. May call the OS: no lock held. */
char *hak_thread_range_get(const hak_os_t *os, hak_lock_t *lock, uint32_t n,
                           uint32_t room, bool alone);

/* At shutdown: what no state has used. */
void hak_thread_rows_release(const hak_os_t *os, hak_lock_t *lock);
/* In the child of a fork: a row that a lost thread was making never comes. */
void hak_thread_rows_forget_lost_locked(const hak_lock_t *lock);

#endif
