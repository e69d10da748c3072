/* stay.h - calls during which nobody shuts the library down.
 *
 * Depends on: base, phase, thread_state.   Used by: fork, lifecycle.
 *
 * A call into the library that looks at more than its own thread's state stays for its
 * length: then the library is running, and nobody shuts it down meanwhile. Threads that
 * are attached stay by that; the others are counted, and all that call the program.
 */
#ifndef HAK_HEAP_STAY_H
#define HAK_HEAP_STAY_H

#include "heap/thread_state.h"

typedef enum hak_stay {
  HAK_STAY_NONE = 0, /* it is not running */
  HAK_STAY_ATTACHED,
  HAK_STAY_COUNTED
} hak_stay_t;

/* Begins a stay that is counted, of an attached thread too; never starts the library.
 * While it is being started or shut down, waits for the end of that, up to about a
 * second: it may be called in a handler that interrupted it. For calls that call the
 * program: what it does there may not shut the library down below them. */
hak_stay_t hak_stay_slow(void);
/* How many stays of this thread are counted now. */
extern _Thread_local uint16_t hak_stays_counted;
/* The same as hak_stay_slow; an attached thread is not counted. */
HAK_HOT hak_stay_t hak_stay(void) {
  if (HAK_LIKELY(hak_thread_self->kind == HAK_THREAD_ATTACHED)) return HAK_STAY_ATTACHED;
  return hak_stay_slow();
}
/* Begins a stay that is counted; false, at once, if the library is not running. */
bool hak_stay_try(void);

void hak_stay_end_slow(void);
HAK_HOT void hak_stay_end(hak_stay_t stay) {
  if (HAK_UNLIKELY(stay == HAK_STAY_COUNTED)) hak_stay_end_slow();
}

/* This thread has so many counted stays from here on, fewer where the library is going or
 * has gone; returns how many it had. To end one that is not there any more is nothing. */
unsigned hak_stays_of_mine(unsigned count);

/* True in a hook, a callback or a visitor, as far as that is known: the library has
 * called the program, and goes on with what it has there. */
bool hak_stay_is_inside(void);

/* For start and shutdown: from here on calls may stay, or not. */
void hak_stays_open(void);
void hak_stays_close(void);
/* After hak_stays_close: waits for a while until nobody stays; false if somebody still
 * does. */
bool hak_stays_wait(void);
/* In the child of a fork: those who stayed are not there, but for the caller. True if
 * there were others. */
bool hak_stays_recount(void);

#endif
