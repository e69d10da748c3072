/* child.h - runs a function in a child process and says how that ended. */
#ifndef HAKMEM_TEST_CHILD_H
#define HAKMEM_TEST_CHILD_H

#include "support.h"

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
 * child is killed after `seconds`. cmocka's signal handlers do not reach it. */
test_child_t test_child_run(int (*function)(void *ctx), void *ctx, double seconds);

/* Checks that a child's function returned 0, and shows its output if not. */
void test_child_must_succeed(int (*function)(void *ctx), void *ctx, double seconds);

/* Checks that the child aborted and printed every one of the texts given; the
 * list ends with NULL. */
void test_child_must_abort(int (*function)(void *ctx), void *ctx, ...);

#ifdef __cplusplus
}
#endif

#endif /* HAKMEM_TEST_CHILD_H */
