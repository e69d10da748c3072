/* sys.h - what the library needs of the platform for threads and the process.
 *
 * Depends on: atomic.   Used by: check, wait, report, option, external, heap.
 *
 * Only declared here, so that the lowest folder can wait and report; src/os implements
 * it, for Linux in sys_linux.c and thread_linux.c. What it needs for memory is in
 * os/os.h. docs/PORTING.md says of each function what a port has to promise.
 *
 * Every function may be called by any thread, and keeps errno unless it is said; what
 * registers something with the platform may let that allocate.
 */
#ifndef HAK_BASE_SYS_H
#define HAK_BASE_SYS_H

#include "base/atomic.h"

/* --- waiting --------------------------------------------------------------------- */

/* Lets another thread run, if one of the same or a higher priority is ready. */
void hak_sys_yield(void);
/* Sleeps for about `ns` nanoseconds; less if a signal comes. */
void hak_sys_sleep(uint64_t ns);

/* Sleeps while *word is `value`: until hak_sys_wake, or for no reason. False, at once, if
 * the platform cannot do that; the caller then polls. */
bool hak_sys_wait(hak_atomic_u32_t *word, uint32_t value);
/* The same, but sleeps for `ns` nanoseconds at most. */
bool hak_sys_wait_for(hak_atomic_u32_t *word, uint32_t value, uint64_t ns);
/* Wakes one thread that sleeps on the word. Reads nothing there: it may be gone. */
void hak_sys_wake(hak_atomic_u32_t *word);

/* What it points to is not 0 while the process has the calling thread alone, and no other
 * one comes to be but by a call of that thread's. Always 0 where the platform does not
 * say it. For full checks. */
HAK_EXTERN const char *const hak_sys_alone;
HAK_HOT bool hak_sys_is_alone(void) { return *hak_sys_alone != 0; }

/* The calling thread has one processor to run on. False if that is not known. */
bool hak_sys_has_one_processor(void);

/* --- the end of a thread --------------------------------------------------------- */

/* From here to hak_sys_allow_cancel with what it gives, the thread is not ended by others
 * where it waits or asks the system. What the library has begun would stay as it is, and
 * a free does not return then. The functions here see to that by themselves. */
int hak_sys_forbid_cancel(void);
void hak_sys_allow_cancel(int before);

/* From now on `fn` is called by every thread that ends, in that thread, with what it last
 * passed to hak_sys_thread_end_set; not if that was NULL or nothing. Other code of the
 * thread may run after it, and may call the library. False if the platform has no room
 * for it, or is unloading. Nothing happens if it is started already. */
bool hak_sys_thread_end_start(void (*fn)(void *state));
/* No thread begins to call `fn` any more; one that is ending may be in it. Also happens
 * when the object that the library is part of is unloaded. */
void hak_sys_thread_end_stop(void);
/* False, and nothing is changed, if it is not started or there is no memory for it; never
 * for NULL where the thread has set something else before. */
bool hak_sys_thread_end_set(void *state);

/* --- a thread of the library's own ------------------------------------------------ */

/* Begins a thread that runs `fn`, with a small stack, no signals, and a name of at most
 * 15 characters; *thread is for hak_sys_thread_join, which waits for its end and has to
 * be called. 0, or an error number, and there is no thread. */
int hak_sys_thread_begin(uint64_t *thread, const char *name, void *(*fn)(void *));
void hak_sys_thread_join(uint64_t thread);
/* The same, but waits for about `ns` nanoseconds at most; false if the thread has not
 * ended by then, and then it is to be called again. */
bool hak_sys_thread_join_within(uint64_t thread, uint64_t ns);
/* From now on `fn` is called as the object is unloaded that the library is part of, or
 * as the process ends: such a thread must not go on in code that is gone. */
void hak_sys_thread_before_unload(void (*fn)(void));
/* In such a thread: the process's first thread has ended, and all others but this one, so
 * that the process would end if the library had no thread. False where the platform does
 * not say it. */
bool hak_sys_thread_is_last(void);
/* Ends the process as its last thread does. */
_Noreturn void hak_sys_thread_exit_last(void);

/* Nanoseconds of a clock that never goes back, to tell lengths of some microseconds. */
uint64_t hak_sys_fine_ns(void);

/* --- the process ------------------------------------------------------------------- */

/* A number of 47 bits that no other process has now; another one in the child of a fork.
 */
uint64_t hak_sys_process(void);

/* For the rest of the process's life: `prepare` runs before a fork, then `parent` and
 * `child` after it, all in the thread that forks, and as close to the fork as can be.
 * False if there is no room for them. True where there are no forks; false while
 * unloading. */
bool hak_sys_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
/* From now on `parent` and `child` run after those handlers of the program's that were
 * registered before hak_sys_at_fork was called: `child` calls hooks, which may wait for
 * what such a handler gives up. */
void hak_sys_fork_after_others(void);

/* As the process ends by exit() or by the return of main, calls `fn`, the one that was
 * given last; also when the object that the library is part of is unloaded. Destructors
 * of the program's may run after it, and may call the library. */
typedef void(hak_sys_end_fn)(void);
void hak_sys_at_end(hak_sys_end_fn *fn);

/* The object that the library is part of is being unloaded, or the process ends: what
 * would need the library's code later is not begun any more. Destructors of the object's
 * may still run, and may call the library. */
bool hak_sys_is_unloading(void);
/* Said by the library's own destructors, each as it begins. */
void hak_sys_begin_unloading(void);

/* Calls `fn` with each "NAME=value" of the environment; with none where the program has
 * more rights than who starts it and sets them. The text is there for the length of the
 * call. The program does not change the environment meanwhile. */
void hak_sys_environment(void (*fn)(const char *variable, bool arg), bool arg);

/* Bits that differ from run to run where the platform offers them. Good enough to make
 * guesses fail, not for keys. */
uint64_t hak_sys_entropy(void);
/* `count` random words, fit for keys; where the system has none yet, made of
 * hak_sys_entropy(). */
void hak_sys_random(uint64_t *words, unsigned count);

/* A number that no other thread of the process has now. */
uint64_t hak_sys_thread(void);
/* The return addresses of the calls that the thread is in, the innermost first, `most` at
 * most; how many. As far as the platform can say it without a library of its own: calls
 * of functions without what that takes may be missing, and all behind them. May allocate
 * from malloc, for the first time. No lock held. */
size_t hak_sys_calls(void **frames, size_t most);

/* Writes to standard error, in one piece if the platform takes it, so that lines of
 * several threads do not mix. What cannot be written is dropped. */
void hak_sys_write(const char *text, size_t length);

/* Ends the process at once, as abort() does. */
_Noreturn void hak_sys_abort(void);

#endif
