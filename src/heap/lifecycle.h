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

/* As hak_init and hak_shutdown; 0 or an errno. */
int hak_lifecycle_init(const hak_os_t *os, uint32_t flags);
int hak_lifecycle_shutdown(bool force);

/* The hooks in use. */
const hak_os_t *hak_lifecycle_os(void);

#endif
