/* explore.h - what a scenario is, and what it may call.
 *
 * A scenario is a small program around modules of the library: a setup that runs once,
 * up to four threads, and a check after all of them. The explorer runs the threads in
 * every order that counts, each time from the memory that the setup left, and lets each
 * load return every value that the memory model allows it. See
 * docs/internals/EXPLORER.md.
 */
#ifndef EXPLORE_H
#define EXPLORE_H

#include "explore_access.h"

enum {
  EXPLORE_THREADS = 4 /* at most, in one scenario */
};

typedef struct explore_scenario {
  const char *name;
  void (*setup)(void); /* or NULL; nothing of it is explored */
  void (*thread[EXPLORE_THREADS])(void);
  void (*check)(void); /* or NULL; after the threads, which have all been joined */
  bool ends;    /* threads end as threads of a program do, and detach from the library */
  bool is_wide; /* it need not find every weakened order that it comes to: it is long, or
                   the order is for others than those who look here */
  int stale;    /* loads of an execution that may return an old value; 0: 3 */
  int hasty;  /* waits of an execution in which so much time may pass that a thread gives
                 them up though nothing has changed; 0: none */
  bool forks; /* the first thread calls explore_fork, and finds the others between any
                 two writes of theirs */
  bool child_waits; /* for a while, for what its thread was at itself when it forked; in
                       other scenarios a wait of the child is a failure */
  /* A signal handler of the first thread's: comes once, before any of its accesses, plain
   * ones too. Or NULL. */
  void (*handler)(void);
  /* For tests of the explorer itself. */
  uint64_t outcomes; /* the set that explore_outcome has to be called with */
  bool is_broken;    /* a failure has to be found */
} explore_scenario_t;

/* Fails the execution. */
_Noreturn void explore_fail(const char *what, const char *file, int line);
#define EXPLORE_CHECK(condition) \
  ((condition) ? (void)0 : explore_fail(#condition, __FILE__, __LINE__))

/* In a check: the execution came out as one of 64. */
void explore_outcome(unsigned outcome);

/* The calling thread, the first one, is the child of a fork from here on: the others are
 * where they are, and take no further step. */
void explore_fork(void);

/* Of the SuperSlab at the address: whether it was last advised to have huge pages, and
 * whether pages of it went since it was last made one. */
bool explore_is_advised_huge(const void *at);
bool explore_has_holes(const void *at);

/* In a setup: runs `fn` as thread `number` does, with what is local to that thread. */
void explore_as(unsigned number, void (*fn)(void));

extern const explore_scenario_t *const explore_scenarios[]; /* up to a NULL */

#endif
