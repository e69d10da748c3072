/* sys_linux.c - threads and the process on Linux: what base/sys.h declares. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#if defined(__GLIBC__) && __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define SAYS_ALONE 1
#else
#define SAYS_ALONE 0
#endif

#include "base/bits.h"
#include "base/check.h"
#include "base/sys.h"

/* --- waiting --------------------------------------------------------------------- */

void hak_sys_yield(void) { sched_yield(); /* never fails */ }

void hak_sys_sleep(uint64_t ns) {
  int saved = errno, cancel = hak_sys_forbid_cancel();
  nanosleep(&(struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)},
            NULL);
  hak_sys_allow_cancel(cancel);
  errno = saved;
}

/* As <linux/futex.h> has them, which is not where musl's compilers look. */
enum {
  WAIT_PRIVATE = 0 | 128,
  WAKE_PRIVATE = 1 | 128
};

/* The kernel looks at the word before it lets the thread sleep. It may also refuse: some
 * programs live behind a filter of system calls. */
bool hak_sys_wait(hak_atomic_u32_t *word, uint32_t value) {
  int saved = errno;
  bool ok = syscall(SYS_futex, word, WAIT_PRIVATE, value, NULL) == 0 || errno == EAGAIN ||
            errno == EINTR;
  errno = saved;
  return ok;
}

bool hak_sys_wait_for(hak_atomic_u32_t *word, uint32_t value, uint64_t ns) {
  int saved = errno;
  struct timespec most = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
  bool ok = syscall(SYS_futex, word, WAIT_PRIVATE, value, &most) == 0 ||
            errno == EAGAIN || errno == EINTR || errno == ETIMEDOUT;
  errno = saved;
  return ok;
}

void hak_sys_wake(hak_atomic_u32_t *word) {
  int saved = errno;
  syscall(SYS_futex, word, WAKE_PRIVATE, 1);
  errno = saved;
}

#if HAK_CHECKS == 2 && SAYS_ALONE
const char *const hak_sys_alone = &__libc_single_threaded;
#elif HAK_CHECKS == 2
const char *const hak_sys_alone = "";
#endif

bool hak_sys_has_one_processor(void) {
  cpu_set_t set; /* too small on the largest machines, where the call fails */
  int saved = errno;
  bool known = sched_getaffinity(0, sizeof set, &set) == 0;
  errno = saved;
  unsigned count = 0;
  for (size_t i = 0; known && i < CPU_SETSIZE && count < 2; i++) {
    if (CPU_ISSET(i, &set)) count++;
  }
  return count == 1;
}

/* --- the end of a thread --------------------------------------------------------- */

int hak_sys_forbid_cancel(void) {
  int before;
  pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
  return before;
}

void hak_sys_allow_cancel(int before) { pthread_setcancelstate(before, NULL); }

static pthread_key_t end_key;
static bool has_end_key;

static hak_atomic_u32_t unloading; /* [any] relaxed: it says nothing of other memory */

bool hak_sys_is_unloading(void) { return hak_load_relaxed(&unloading) != 0; }
void hak_sys_begin_unloading(void) { hak_store_relaxed(&unloading, 1); }

bool hak_sys_thread_end_start(void (*fn)(void *state)) {
  if (hak_sys_is_unloading()) return false;
  if (!has_end_key) has_end_key = pthread_key_create(&end_key, fn) == 0;
  return has_end_key;
}

void hak_sys_thread_end_stop(void) {
  if (!has_end_key) return;
  has_end_key = false;
  pthread_key_delete(end_key);
}

/* A key left behind would call into code that is no longer there. */
static __attribute__((destructor)) void stop_at_end(void) {
  hak_sys_begin_unloading();
  hak_sys_thread_end_stop();
}

bool hak_sys_thread_end_set(void *state) {
  return has_end_key && pthread_setspecific(end_key, state) == 0;
}

uint64_t hak_sys_fine_ns(void) {
  struct timespec now = {0}; /* it may be refused */
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* --- the process ------------------------------------------------------------------- */

/* The child of a fork may have its parent's number, as each space of such numbers has a
 * first one. Such forks are counted. */
static hak_atomic_u32_t parent_id, same_ids; /* [any] relaxed: every thread has them */

static uint32_t id_now(void) { return (uint32_t)getpid(); }

uint64_t hak_sys_process(void) {
  enum {
    ID_BITS = 23, /* the kernel has numbers to 2^22 */
    COUNT_BITS = 24
  };
  uint64_t same = hak_load_relaxed(&same_ids) & (((uint32_t)1 << COUNT_BITS) - 1);
  return same << ID_BITS | id_now();
}

/* Handlers that are registered first are the last before a fork and the first after it:
 * those of the program may use the library, and wait for threads that do. So they are
 * registered as the object is loaded, and do nothing until there is something to call.
 * Others are registered later, for programs whose handlers are to be the first. */
typedef void(fork_fn)(void);
static _Atomic(fork_fn *) at_prepare, at_parent, at_child; /* [any] */
static hak_atomic_u32_t has_early, has_late;               /* [any] 1: registered */
static hak_atomic_u32_t after_others; /* [any] relaxed: nothing hangs on it */

/* [any] Something of the thread that is between `prepare` and what follows it, which lets
 * one thread through. Others may be there for whom there was nothing to call. Relaxed: a
 * thread looks for itself. */
static hak_atomic_ptr_t forking;
static bool is_late; /* [owner: that thread] the later handlers have begun */

static bool is_mine(void) { return hak_load_relaxed(&forking) == (void *)&errno; }

static void before_fork(bool late) {
  /* Acquire: pairs with hak_sys_at_fork. */
  fork_fn *prepare = hak_load_acquire(&at_prepare);
  if (prepare == NULL || is_mine()) return;
  prepare();
  hak_store_relaxed(&forking, (void *)&errno);
  is_late = late;
}

static void after_fork(bool late, fork_fn *fn) {
  if (!is_mine() || is_late != late) return;
  hak_store_relaxed(&forking, NULL);
  fn();
}

static void early_prepare(void) {
  hak_store_relaxed(&parent_id, id_now());
  before_fork(false);
}
static void early_parent(void) { after_fork(false, hak_load_relaxed(&at_parent)); }
static void early_child(void) {
  if (id_now() == hak_load_relaxed(&parent_id)) hak_add_relaxed(&same_ids, 1);
  after_fork(false, hak_load_relaxed(&at_child));
}

static void late_prepare(void) {
  if (hak_load_relaxed(&after_others) != 0) before_fork(true);
}
static void late_parent(void) { after_fork(true, hak_load_relaxed(&at_parent)); }
static void late_child(void) { after_fork(true, hak_load_relaxed(&at_child)); }

static bool hear(hak_atomic_u32_t *has, fork_fn *prepare, fork_fn *parent,
                 fork_fn *child) {
  /* Acquire and release pair with each other. Two threads may be here at once, and both
   * wait for a fork that is under way: to pass before it ends would be to start the
   * library in the middle of it. Handlers that are registered twice do their work once.
   */
  if (hak_load_acquire(has) != 0) return true;
  if (pthread_atfork(prepare, parent, child) != 0) return false;
  hak_store_release(has, 1);
  return true;
}
static bool hear_early(void) {
  return hear(&has_early, early_prepare, early_parent, early_child);
}

enum {
  FIRST = 101 /* of the priorities that programs may use */
};
static __attribute__((constructor(FIRST))) void begin_to_hear(void) { hear_early(); }

bool hak_sys_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
  if (hak_sys_is_unloading()) return false;
  /* First, as every fork that begins once the later handlers are registered is to call
   * them: no other wait keeps it and what the caller does next apart. */
  hak_store_relaxed(&at_parent, parent);
  hak_store_relaxed(&at_child, child);
  hak_store_release(&at_prepare, prepare); /* pairs with before_fork */
  return hear_early() && hear(&has_late, late_prepare, late_parent, late_child);
}

void hak_sys_fork_after_others(void) { hak_store_relaxed(&after_others, 1); }

/* [any] relaxed: it leads to a function */
static _Atomic(hak_sys_end_fn *) at_end;

void hak_sys_at_end(hak_sys_end_fn *fn) { hak_store_relaxed(&at_end, fn); }

static __attribute__((destructor)) void call_at_end(void) {
  hak_sys_end_fn *fn = hak_load_relaxed(&at_end);
  if (fn != NULL) fn();
}

void hak_sys_environment(void (*fn)(const char *variable, bool arg), bool arg) {
  if (getauxval(AT_SECURE) != 0) return; /* who starts the program has fewer rights */
  for (char **at = environ; at != NULL && *at != NULL; at++) fn(*at, arg);
}

void hak_sys_write(const char *text, size_t length) {
  int saved = errno, cancel = hak_sys_forbid_cancel();
  while (length > 0) {
    ssize_t n = write(STDERR_FILENO, text, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text += n;
    length -= (size_t)n;
  }
  hak_sys_allow_cancel(cancel);
  errno = saved;
}

_Noreturn void hak_sys_abort(void) { abort(); }

uint64_t hak_sys_entropy(void) {
  uint64_t bits = 0;
  uint64_t random[2]; /* what the kernel gives need not be aligned */
  const void *given = (const void *)getauxval(AT_RANDOM);
  if (given != NULL) {
    memcpy(random, given, sizeof random);
    bits = random[0] ^ hak_mix64(random[1]);
  }
  struct timespec now = {0};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return hak_mix64(bits ^ (uint64_t)now.tv_nsec ^ (uintptr_t)&bits);
}

HAK_SLOW void hak_sys_random(uint64_t *words, unsigned count) {
  int saved = errno, cancel = hak_sys_forbid_cancel();
  size_t bytes = count * sizeof *words;
  if (getrandom(words, bytes, GRND_NONBLOCK) != (ssize_t)bytes) {
    for (unsigned i = 0; i < count; i++) words[i] = hak_mix64(hak_sys_entropy() + i);
  }
  hak_sys_allow_cancel(cancel);
  errno = saved;
}
