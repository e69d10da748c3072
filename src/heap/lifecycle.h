/* lifecycle.h - start and shutdown of the library.
 *
 * Depends on: base, external, learn, os, pages, superslab, tiny, cache_index, describe,
 * fork, groups, heap, hole_sweep, own_os, phase, serial, show, stay, thread_end, threads.
 * Used by: maintenance, thread, api.
 *
 * Starts and stops all modules, each by its functions _start and _stop. Only slow paths
 * come here: a thread without a state of its own asks before it gets one.
 */
#ifndef HAK_HEAP_LIFECYCLE_H
#define HAK_HEAP_LIFECYCLE_H

#include "heap/stay.h"
#include "os/os.h"

/* Begins a stay that is counted, of an attached thread too, and before that starts the
 * library if it is not running; HAK_STAY_NONE if memory is short. Any number of threads
 * may call at once. For calls that may call a hook, which may call hak_thread_exit. */
hak_stay_t hak_lifecycle_stay_slow(void);
/* The same; an attached thread is not counted. */
HAK_HOT hak_stay_t hak_lifecycle_stay(void) {
  if (HAK_LIKELY(hak_thread_self->kind == HAK_THREAD_ATTACHED)) return HAK_STAY_ATTACHED;
  return hak_lifecycle_stay_slow();
}

/* As hak_init and hak_shutdown; 0 or an errno. */
int hak_lifecycle_init(const hak_os_t *os, uint32_t flags);
int hak_lifecycle_shutdown(bool force);
/* It ran once and was shut down. */
bool hak_lifecycle_was_shut_down(void);

/* The hooks in use. */
const hak_os_t *hak_lifecycle_os(void);

/* A thread of the library's own, which is not inside while the library is shut down, and
 * ends with it. Only maintenance.c makes one; a program that asks for none does not link
 * it. */
typedef struct hak_companion {
  /* [const] all. `pause`: from here on the thread, if there is one, is outside of the
   * library; false, and nothing is changed, in that thread itself, and if it is inside
   * for long. */
  bool (*pause)(void);
  void (*resume)(void);
  int (*end)(void);
} hak_companion_t;
void hak_lifecycle_accompany(const hak_companion_t *by);

#endif
