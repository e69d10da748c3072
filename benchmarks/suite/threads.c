#include "suite/threads.h"

#include <stdio.h>
#include <stdlib.h>

#include "suite/suite.h"

pthread_t suite_thread_start(void *(*run)(void *), void *argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, run, argument) != 0) {
    fprintf(stderr, "no thread\n");
    exit(1);
  }
  return thread;
}

void suite_thread_join(pthread_t thread) { pthread_join(thread, NULL); }

typedef struct member {
  const suite_team_t *team;
  uint32_t index;
  pthread_barrier_t *barrier;
} member_t;

/* The first thread takes the time before it arrives where all start, so that no
 * work can escape the measurement. */
static double work(const member_t *self) {
  const suite_team_t *team = self->team;
  if (team->prepare != NULL) team->prepare(team->context, self->index);
  pthread_barrier_wait(self->barrier);
  double start = suite_now();
  pthread_barrier_wait(self->barrier);
  team->run(team->context, self->index);
  pthread_barrier_wait(self->barrier);
  double time = suite_now() - start;
  if (team->finish != NULL) team->finish(team->context, self->index);
  return time;
}

static void *run_member(void *argument) {
  work(argument);
  return NULL;
}

double suite_team_run(const suite_team_t *team, uint32_t count) {
  static member_t members[SUITE_MAX_THREADS];
  static pthread_t threads[SUITE_MAX_THREADS];
  pthread_barrier_t barrier;
  if (count < 1 || count > SUITE_MAX_THREADS) abort();
  pthread_barrier_init(&barrier, NULL, count);
  for (uint32_t i = 0; i < count; i++) {
    members[i] = (member_t){team, i, &barrier};
    if (i > 0) threads[i] = suite_thread_start(run_member, &members[i]);
  }
  double time = work(&members[0]);
  for (uint32_t i = 1; i < count; i++) suite_thread_join(threads[i]);
  pthread_barrier_destroy(&barrier);
  return time;
}
