/* thread_end.h - a thread gets a state, and gives it up.
 *
 * Depends on: base, superslab, tiny, give_up, thread_state, threads.
 * Used by: describe, lifecycle, thread.
 *
 * Destructors of the thread that run later may still allocate and free: then the thread
 * uses the shared state (threads.h), so that nothing is made that nobody would take down.
 */
#ifndef HAK_HEAP_THREAD_END_H
#define HAK_HEAP_THREAD_END_H

#include "heap/thread_state.h"

/* Gives the calling thread, which has none, a state of its own; false if memory is short.
 * The library runs, and stays. May call the OS: no lock held. */
bool hak_thread_begin(void);
/* The calling thread gives all that it keeps to everybody, and its state to the next
 * thread; it may get another one. No lock held. */
void hak_thread_end(hak_thread_t *me);
/* The same among the thread's destructors, for hak_threads_start: it gets no state any
 * more. */
void hak_thread_at_end(void *state);
/* The calling thread gets no state. */
bool hak_thread_is_ending(void);

/* Reports the misuse that slow paths found, if any, on behalf of `function`: the last
 * thing that a call does with its state. `leave` (or NULL) gives the state back before a
 * handler of the program runs. */
void hak_thread_report(hak_thread_t *me, const char *function, void (*leave)(void));

#endif
