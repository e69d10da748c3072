/* phase.h - whether the library is down, running, or being changed.
 *
 * Depends on: base, thread_state.   Used by: stay, fork, lifecycle.
 *
 * One thread at a time starts or stops the library. Hooks run meanwhile, so that is a
 * phase that others wait for and no lock. A fork is a change too, from a phase to itself.
 *
 * Access: any thread. A fork may leave behind the thread that was at a change, and then
 * nobody would ever be done; so a change is of one process, and none in another.
 */
#ifndef HAK_HEAP_PHASE_H
#define HAK_HEAP_PHASE_H

#include <stdbool.h>

typedef enum hak_phase {
  HAK_PHASE_DOWN = 0,
  HAK_PHASE_RUNNING,
  HAK_PHASE_CHANGING
} hak_phase_t;

/* HAK_PHASE_CHANGING only while a thread of this process is at it. */
hak_phase_t hak_phase(void);
bool hak_phase_is_running(void);
/* The calling thread is at a change, and has come back by way of a hook. */
bool hak_phase_is_mine(void);

/* Waits for a change under way, then begins one; returns the phase before it. Where that
 * is HAK_PHASE_RUNNING and `unless_running`, none is begun. */
hak_phase_t hak_phase_begin(bool unless_running);
/* Ends the change. */
void hak_phase_end(hak_phase_t now);

/* For the length of a fork the library is neither started nor shut down. */
void hak_phase_hold(void);
void hak_phase_unhold(void);

#endif
