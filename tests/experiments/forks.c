/* forks.c - forks in a program whose other threads allocate and free all the time. The
 * child allocates and frees, and ends; one that does not is counted. */
#include "experiments.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  THREADS = 3,
  SLOTS = 512,
  HUNG_AT_MOST = 5, /* then the rest is taken to be alike */
  PATIENCE = 5      /* seconds of processor time of nobody: a child that works is done */
};

static _Atomic(char *) slots[SLOTS];

static void step(uint64_t *state) {
  uint64_t random = random_next(state);
  size_t size = random % 50 == 0 ? 100000 : 1 + random / 64 % 2000;
  char *block = face_alloc(size);
  if (block == NULL) return;
  block[0] = 1;
  face_free(atomic_exchange(&slots[(random >> 32) % SLOTS], block));
}

static void *churn(void *seed) {
  uint64_t state = (uintptr_t)seed;
  for (;;) step(&state);
  return NULL;
}

static void child(void) {
  uint64_t state = (uint64_t)getpid();
  for (int i = 0; i < 3000; i++) step(&state);
  face_collect();
  _exit(0);
}

/* False if it hangs. */
static bool await(pid_t process, int *status) {
  for (int i = 0; i < PATIENCE * 200; i++) {
    if (waitpid(process, status, WNOHANG) == process) return true;
    nanosleep(&(struct timespec){0, 5000000}, NULL);
  }
  kill(process, SIGKILL);
  waitpid(process, status, 0);
  return false;
}

static void list(void) { say_case("forks"); }

static void run(const char *which) {
  (void)which;
  int forks = exp_is_brief ? 20 : 120, done = 0, hung = 0, failed = 0;
  unsigned long thread;
  for (uintptr_t i = 0; i < THREADS; i++) thread_begin(&thread, churn, (void *)(i + 1));
  for (; done < forks && hung < HUNG_AT_MOST; done++) {
    int status = 0;
    nanosleep(&(struct timespec){0, 2000000}, NULL);
    pid_t process = fork();
    if (process < 0) end(SKIPPED, "no fork");
    if (process == 0) child();
    if (!await(process, &status)) {
      hung++;
    } else if (status != 0) {
      failed++;
    }
  }
  if (hung > 0) end(HUNG, "%d of %d", hung, done);
  if (failed > 0) end(WRONG, "%d of %d children failed", failed, done);
  end(FINE, "0 of %d", done);
}

const experiment_t exp_forks = {"forks", list, run};
