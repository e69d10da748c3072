#include "base/wait.h"

#include <errno.h>
#include <sched.h>
#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum {
  SPINS = 64,
  YIELDS = 16,
  DOUBLINGS = 5, /* of the time that a step sleeps */
  FIRST_NS = 32000
};

HAK_SLOW void hak_wait_step(unsigned *rounds) {
  unsigned round = *rounds;
  if (round < SPINS + YIELDS + DOUBLINGS) ++*rounds;
  if (round < SPINS) {
    hak_cpu_relax();
  } else if (round < SPINS + YIELDS) {
    sched_yield();
  } else {
    int saved = errno;
    nanosleep(&(struct timespec){0, (long)FIRST_NS << (round - SPINS - YIELDS)}, NULL);
    errno = saved;
  }
}

/* --- on one word ----------------------------------------------------------------- */

#if defined(__linux__)

/* The kernel looks at the word before it lets the thread sleep. False if it cannot: some
 * programs live behind a filter of system calls. */
static bool sleep_on(hak_atomic_u32_t *word, uint32_t value) {
  return syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL) == 0 ||
         errno == EAGAIN || errno == EINTR;
}

static void wake(hak_atomic_u32_t *word) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
}

static bool has_one_processor(void) {
  cpu_set_t set; /* of this thread; too small on the largest machines */
  if (sched_getaffinity(0, sizeof set, &set) != 0) return false;
  unsigned count = 0;
  for (int i = 0; i < CPU_SETSIZE && count < 2; i++) count += CPU_ISSET(i, &set) != 0;
  return count == 1;
}

#else

static bool sleep_on(hak_atomic_u32_t *word, uint32_t value) {
  (void)word;
  (void)value;
  return false;
}

static void wake(hak_atomic_u32_t *word) { (void)word; }

static bool has_one_processor(void) { return false; }

#endif

/* What waits only for a word to change has spun before it comes here. */
static void sleep_in_steps(hak_atomic_u32_t *word, uint32_t value) {
  unsigned rounds = SPINS;
  while (hak_load_relaxed(word) == value) hak_wait_step(&rounds);
}

HAK_SLOW void hak_wait_on(hak_atomic_u32_t *word, uint32_t value) {
  int saved = errno;
  if (!sleep_on(word, value)) sleep_in_steps(word, value);
  errno = saved;
}

HAK_SLOW void hak_wake_one(hak_atomic_u32_t *word) {
  int saved = errno;
  wake(word);
  errno = saved;
}

/* What the first thread that asked was told. One that may use fewer processors spins for
 * nothing, but not for long. */
static hak_atomic_u32_t known; /* 0: nobody has asked; 1: one processor; 2: several */

HAK_SLOW bool hak_wait_may_spin(void) {
  uint32_t now = hak_load_relaxed(&known);
  if (now == 0) {
    int saved = errno;
    now = has_one_processor() ? 1 : 2;
    errno = saved;
    hak_store_relaxed(&known, now);
  }
  return now > 1;
}
