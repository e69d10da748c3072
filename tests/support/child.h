/* child.h - runs a function in a child process and says how that ended. */
#ifndef HAKMEM_TEST_CHILD_H
#define HAKMEM_TEST_CHILD_H

#include "support.h"

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct test_child {
  bool timed_out;
  int signal;        /* 0 where it exited by itself */
  int status;        /* exit status */
  size_t length;     /* bytes in output */
  char output[8192]; /* its stderr, cut to fit, zero-terminated */
} test_child_t;

/* Forks; the child calls function(ctx) and exits with what it returns. The
 * child is killed after `seconds`, in which time is not counted that it was ready to run
 * and others ran. cmocka's signal handlers do not reach it. */
test_child_t test_child_run(int (*function)(void *ctx), void *ctx, double seconds);

/* Checks that a child's function returned 0, and shows its output if not. */
void test_child_must_succeed(int (*function)(void *ctx), void *ctx, double seconds);

/* Checks that the child aborted and printed every one of the texts given; the
 * list ends with NULL. */
void test_child_must_abort(int (*function)(void *ctx), void *ctx, ...);

/* A fork that succeeds. The child is killed if it takes longer than a minute (two under
 * sanitizers), and should end with _exit. */
pid_t test_fork(void);
/* Waits for such a child, and checks that it exited with 0. */
void test_fork_end(pid_t child);

/* Defines the test `name`: what follows, as the body of a function, runs in a child
 * process, and must return within so many seconds. */
#define TEST_IN_CHILD(name, seconds)                      \
  static void name##_body(void);                          \
  static int name##_child(void *ctx) {                    \
    (void)ctx;                                            \
    name##_body();                                        \
    return 0;                                             \
  }                                                       \
  static void name(void **state) {                        \
    (void)state;                                          \
    test_child_must_succeed(name##_child, NULL, seconds); \
  }                                                       \
  static void name##_body(void)

#ifdef __cplusplus
}
#endif

#endif /* HAKMEM_TEST_CHILD_H */
