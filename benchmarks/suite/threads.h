/* threads.h - threads that start, work and end together.
 *
 * Where a thread waits for another, it spins a little and then yields, so that the
 * figures mean something on a machine with fewer free processors than threads.
 */
#ifndef BENCH_SUITE_THREADS_H
#define BENCH_SUITE_THREADS_H

#include <pthread.h>
#include <sched.h>
#include <stdint.h>

enum {
  SUITE_MAX_THREADS = 64
};

/* Exits if there is no thread to be had. */
pthread_t suite_thread_start(void *(*run)(void *), void *argument);
void suite_thread_join(pthread_t thread);

/* One step of waiting; `spins` counts them and starts with 0. */
static inline void suite_wait(uint32_t *spins) {
  if (++*spins >= 1000) {
    sched_yield();
    *spins = 0;
  }
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

/* What each thread of a team does. `prepare` and `finish` may be NULL; they are not
 * timed, and happen in the same thread as `run`. */
typedef struct suite_team {
  void (*prepare)(void *context, uint32_t index);
  void (*run)(void *context, uint32_t index);
  void (*finish)(void *context, uint32_t index);
  void *context;
} suite_team_t;

/* Lets `count` threads, of which the caller is the one with index 0, do this;
 * nanoseconds from the moment when all were prepared until the last one was done. */
double suite_team_run(const suite_team_t *team, uint32_t count);

#endif
