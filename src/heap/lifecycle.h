/* lifecycle.h - start and shutdown of the library.
 *
 * Depends on: everything in heap and below.   Used by: thread, api.
 *
 * States: down -> starting -> running -> closing -> down. Only slow paths see
 * them: a thread without a state of its own asks before it gets one.
 */
#ifndef HAK_HEAP_LIFECYCLE_H
#define HAK_HEAP_LIFECYCLE_H

#include "os/os.h"

/* Starts the library if it is not running; false if memory is short. Any number
 * of threads may call at once. */
bool hak_lifecycle_start(void);
bool hak_lifecycle_is_running(void);
/* It ran once and was shut down. */
bool hak_lifecycle_was_shut_down(void);

/* A call into the library that looks at more than its own thread's state stays for its
 * length: then the library is running, and nobody shuts it down meanwhile. Threads that
 * are attached stay by that; the others are counted. */
typedef enum hak_stay {
  HAK_STAY_NONE = 0, /* it is not running */
  HAK_STAY_ATTACHED,
  HAK_STAY_COUNTED
} hak_stay_t;

/* Never starts the library. While it is being started or shut down, waits for the end of
 * that, up to about a second: it may be called in a handler that interrupted it. */
hak_stay_t hak_stay_slow(void);
/* Starts it if need be; HAK_STAY_NONE if memory is short. */
hak_stay_t hak_stay_started_slow(void);
void hak_stay_end_slow(void);

HAK_HOT void hak_stay_end(hak_stay_t stay) {
  if (HAK_UNLIKELY(stay == HAK_STAY_COUNTED)) hak_stay_end_slow();
}

/* As hak_init and hak_shutdown; 0 or an errno. */
int hak_lifecycle_init(const hak_os_t *os, uint32_t flags);
int hak_lifecycle_shutdown(bool force);

/* For the length of a fork the library is neither started nor shut down. In the child
 * those who stay are not there, but for the caller. */
void hak_lifecycle_hold(void);
void hak_lifecycle_unhold(bool child);
/* A thread that is not attached was in a call at the moment of the fork. */
bool hak_lifecycle_lost_calls(void);

/* The hooks in use. */
const hak_os_t *hak_lifecycle_os(void);

#endif
