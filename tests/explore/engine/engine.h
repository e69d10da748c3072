/* engine.h - what the parts of the explorer share.
 *
 *   main.c      arguments, the runs, what is printed
 *   weaken.c    the list of accesses, and the run that weakens each in turn
 *   search.c    which thread goes next: depth first, or by random priorities
 *   place.c     the same where a fork or a handler comes to each place
 *   sharing.c   which accesses are steps
 *   replay.c    an execution in writing
 *   model.c     what a load may return, and what happens before what
 *   races.c     accesses of the compiled code that are not atomic
 *   fibers.c    threads of a scenario: one thread of the system runs them all
 *   world.c     memory: what a setup leaves, and how it is put back
 *   platform.c  what the library asks of the system
 *
 * Everything that changes while a scenario is explored is in engine_t, which is no part
 * of the memory that is put back before each execution.
 */
#ifndef EXPLORE_ENGINE_H
#define EXPLORE_ENGINE_H

#include <setjmp.h>
#include <stddef.h>

#include "runs.h"

enum {
  THREADS = EXPLORE_THREADS,
  LOCATIONS = 60000, /* atomic ones that an execution may touch */
  STEPS = 100000,    /* atomic accesses of an execution; one with more does not end */
  PLAIN = 2000000    /* other accesses of an execution, likewise */
};

/* A count for each thread. */
typedef struct clock {
  uint32_t of[THREADS];
} clock_t_;

/* What an acquire gets from a release: all that happened before, and which stores an
 * older one may not be read in place of any more. */
typedef struct message {
  clock_t_ clock;
  uint32_t locations;
  uint32_t seen[]; /* by location: the oldest store that may still be read */
} message_t;

typedef struct store {
  uint64_t value;
  const message_t *message; /* or NULL: a load of it acquires nothing */
  uint32_t thread;
  bool unknown; /* by code that is not atomic: the value is in memory by now */
} store_t;

typedef struct location {
  uintptr_t address;
  uint32_t size;  /* bytes */
  uint32_t count; /* stores, in the order in which they replace each other */
  uint32_t room;
  store_t *stores;
  /* Of the search: the last transitions here, by their number from 1 on; 0: none. */
  uint32_t last_write, last_read[THREADS];
} location_t;

/* What a thread is about to do, as far as others may notice. */
typedef struct pending {
  uint32_t location; /* or NOWHERE */
  bool writes;
} pending_t;

#define NOWHERE UINT32_MAX
/* A fork: it depends on all that others do. */
#define EVERYWHERE (UINT32_MAX - 1)

typedef struct seen {
  uint32_t location, store;
} seen_t;

typedef struct thread {
  unsigned number;
  bool begun, ended, asleep; /* asleep: until hak_sys_wake comes for the word */
  uintptr_t word;
  pending_t pending;
  clock_t_ clock;
  uint32_t view[LOCATIONS]; /* by location: the oldest store that may still be read */
  /* What was looked at since the last wait; and what has to change before it goes on. */
  seen_t looked[32], awaited[32];
  uint32_t looked_at, awaits;
  bool is_timed;    /* what it awaits need not come, as time passes */
  uint32_t hurries; /* so many waits are over at once, as time has passed */
  /* Of the search: transitions that its next one depends on. */
  clock_t_ after;
  uint32_t priority;
  void (*fn)(void);
} thread_t;

/* A choice of an execution. */
typedef struct node {
  bool is_thread; /* else which of `count` values a load returns */
  uint8_t chosen, count;
  uint8_t enabled, backtrack, done, sleep; /* threads, a bit each */
} node_t;

typedef struct transition {
  clock_t_ after;
  uint32_t node, location;
  uint8_t thread;
  bool writes;
} transition_t;

typedef enum ending {
  ENDING_WHOLE = 0,
  ENDING_REDUNDANT, /* others like it were explored */
  ENDING_FAILED
} ending_t;

typedef struct engine {
  const explore_scenario_t *scenario;
  int weakened; /* number of the access that counts as relaxed; 0: none */
  explore_mode_t mode;
  int preemptions, stale;
  uint64_t seed, random;
  bool prints; /* each step */

  /* --- one execution --- */
  bool running;      /* accesses are the scenario's */
  thread_t *current; /* in its own time */
  thread_t thread[THREADS];
  unsigned threads;
  ending_t ending;
  char failure[512];
  uint32_t steps, plain;
  int preempted, stale_loads, hastes;
  bool forked;     /* one thread is left */
  uint32_t direct; /* atomic accesses of a thread that is alone, and what it waited */
  location_t location[LOCATIONS];
  uint32_t locations;
  transition_t transition[STEPS];
  uint32_t transitions;
  uint32_t last_of[THREADS]; /* a thread's last transition, from 1 on; 0: none */
  uint32_t last_everywhere;  /* the same of one that all others depend on */
  uint8_t sleep;             /* threads whose next step leads to nothing new */
  bool came;                 /* the fork, or the handler, to where it was to come */
  bool handling;             /* the handler is running */
  uint32_t others;           /* steps of other threads than the first */
  uint32_t accesses;         /* of the first thread's, outside of its handler */

  /* --- the search --- */
  node_t node[2 * STEPS];
  uint32_t depth, length; /* choices of this execution; those that are given */
  uint32_t fresh;         /* nodes from here on were not there in the last execution */
  uint32_t change[16], changes; /* steps at which a random priority falls */
  uint32_t longest;             /* steps of the longest execution so far */
  uint32_t place;               /* the fork comes after so many steps of others; the
                                   handler, before so many accesses, from 1 on */
  bool late;                    /* the fork was prepared before these steps */
  uint32_t most_accesses;       /* `accesses` of any execution so far */
  uint32_t focus;               /* steps before the weakened access, at least; 0: it was
                                   not reached */
  uint64_t outcomes;
  uint64_t executions, redundant, all_steps;

  /* --- accesses in the source --- */
  uint8_t *reached; /* by number: bit 0 in this scenario */
} engine_t;

extern engine_t *g;

/* --- weaken.c --- */
void sites_start(void);
int sites_count(void);
const explore_site_t *site_of(int number);
/* The order of the access as it counts now. */
explore_order_t site_order(const explore_site_t *site);
bool site_is_library(const explore_site_t *site);
/* "folder/file.c function access", and the same with the line. */
void site_name(const explore_site_t *site, char *text, size_t size);
void site_print(const explore_site_t *site, char *text, size_t size);

/* --- search.c --- */
/* The current thread is about to do this. Returns when it may. */
void search_step(pending_t pending);
/* The same for an access, which is a step if threads share the location. */
void search_access(uintptr_t address, pending_t pending);
/* Whatever the current thread writes, a fork may come before it. */
bool search_fork_may_come(void);
/* The current thread is one of these. */
bool search_goes_on(uint8_t threads);
/* The current thread has nothing more to do. */
void search_end_thread(void);
/* Which of `count` values, 0 the newest. */
unsigned search_choose(unsigned count);
/* Another thread, which slept, goes on after this one. */
void search_order(thread_t *after);
/* Prepares an execution; the next choices after it. False: there are none left. */
void search_begin(void);
bool search_next(void);
/* How much of a search depth first is done that was stopped, of 1: an estimate. */
double search_share(void);
/* Begins anew, in g->mode. */
void search_reset(void);

/* --- place.c --- */
void place_reset(void); /* a search begins */
void place_begin(void); /* an execution does */
/* The next place; false if there is none. */
bool place_next(void);
/* The thread that takes the next step. */
unsigned place_choose(uint8_t enabled);
/* The current thread is about to access something: its handler may come first. */
void place_interrupt(void);

/* --- sharing.c --- */
void sharing_start(void);
void sharing_forget(void);
/* Notes an access of the current thread; true if it is a step of the search. */
bool sharing_is_step(uintptr_t address, bool writes);
/* Locations are shared whose accesses are no steps yet; they become steps. */
bool sharing_grew(void);
void sharing_adopt(void);

/* --- replay.c --- */
void replay_start(void);
void replay_begin(void);
void replay_note_access(void);
void replay_note_old(unsigned choice);
/* The thread that makes the next access, and which value the last one gets. */
unsigned replay_thread(void);
unsigned replay_old(void);
/* The handler came before the access that is next. */
void replay_note_handler(void);
void replay_print(void);
void replay_read(const char *text);

/* --- model.c --- */
void model_start(void);
void model_begin(void);
bool model_is_alone(void);
bool model_is_enabled(const thread_t *thread);
/* It is not, but time may pass for it. */
bool model_may_hurry(const thread_t *thread);
void model_resume(thread_t *thread);
/* A plain store went over the location. */
void model_overwrite(uint32_t location);
bool model_wait(void *word, uint32_t value);
void model_wake(void *word);

/* --- races.c --- */
void races_start(void);
void races_begin(void);
typedef enum access {
  PLAIN_READ = 0,
  PLAIN_WRITE,
  ATOMIC_READ,
  ATOMIC_WRITE,
  RESERVED
} access_t;
/* The current thread has reserved this range, which is nobody else's. */
void race_reserve(const void *at, size_t size);
void race_check(uintptr_t address, size_t size, access_t access);
/* The number of the atomic location at the address, made with `make`. */
uint32_t race_location(uintptr_t address, uint32_t size);

/* --- fibers.c --- */
void fibers_start(void);
void fiber_switch(thread_t *to); /* NULL: the explorer itself */
/* Runs the first of the threads until all are done or the execution is left. */
void fibers_run(thread_t *first);
_Noreturn void fiber_leave(void); /* ends the execution, from wherever it is */
void fiber_call_as(unsigned number, void (*fn)(void));
void fiber_home(void);              /* from a call that was left */
bool fiber_owns(uintptr_t address); /* an address of its stack */

/* --- world.c --- */
/* All that the library reserves lies here. */
#define WORLD_BASE ((uintptr_t)0x100000000000)
#define WORLD_SIZE ((size_t)64 << 30)
void world_start(void);
void world_first(void); /* as the process began */
void world_keep(void);  /* what a setup left */
void world_restore(void);
void *world_reserve(size_t size, size_t alignment);
/* Reserved in this execution. */
bool world_is_new(const void *at);

/* --- platform.c --- */
void platform_end_thread(void); /* the current one */

_Noreturn void failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
