#include "base/wait.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#include "base/atomic.h"

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
