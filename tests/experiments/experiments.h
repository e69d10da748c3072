/* experiments.h - what the experiments share: their list, and how a case ends.
 *
 * A case runs in a process of its own. It ends with one line on stdout,
 *
 *   outcome NAME [TEXT]     see outcome_t
 *   value NUMBER UNIT
 *
 * or with none, by a signal or by never ending, which table.py sees. Nothing here
 * allocates by malloc, for which some of the allocators stand in.
 */
#ifndef HAKMEM_EXPERIMENTS_H
#define HAKMEM_EXPERIMENTS_H

#include "face.h"

#include <stdarg.h>
#include <stdint.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* How a case ends that ends by itself. */
typedef enum outcome {
  FINE,    /* all is as it must be; after misuse: nothing was noticed, nor broken */
  UNSET,   /* the right answer, and errno does not say why */
  WRONG,   /* an answer that no allocator may give */
  DAMAGE,  /* a byte of a block changed, or two blocks overlap */
  REFUSED, /* no service after a failure that is over */
  HUNG,    /* a part of it did not end */
  SKIPPED  /* it cannot be tried here */
} outcome_t;

typedef struct experiment {
  const char *name;
  void (*list)(void);             /* says each case's name by say_case */
  void (*run)(const char *which); /* what follows the experiment's name and '/' */
} experiment_t;

extern const experiment_t exp_misuse, exp_wild, exp_absurd, exp_aligned, exp_failures,
    exp_forks, exp_mappings, exp_ends, exp_producers, exp_crowd, exp_storm, exp_zeroes,
    exp_memory, exp_objects;

/* Less work, for a look at whether all is well: EXPERIMENTS_BRIEF=1. */
extern bool exp_is_brief;

/* The path of this program. */
extern const char *exp_program;

void say_case(const char *format, ...) __attribute__((format(printf, 1, 2)));
void end(outcome_t outcome, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));
void end_with(double value, const char *unit) __attribute__((noreturn));

/* --- blocks ---------------------------------------------------------------------- */

typedef struct block {
  char *at;
  size_t size;
  uint64_t tag; /* what it is filled with depends on it */
} block_t;

/* Writes both ends of the block and a few bytes in each page, and looks at them again. */
void block_fill(block_t block);
bool block_is_whole(block_t block);
/* Sorts them by address; true if two of them overlap. NULLs are none. */
bool blocks_overlap(block_t *blocks, size_t count);

/* --- the process ----------------------------------------------------------------- */

uint64_t random_next(uint64_t *state);
uint64_t clock_ns(void);
size_t resident_bytes(void);
/* Lines of the process's map of its address space. */
size_t mappings(void);
/* Memory that no allocator knows of; never NULL. */
void *own_memory(size_t size);
/* One more thread, which begins for certain; and its end. */
void thread_begin(unsigned long *thread, void *(*function)(void *), void *argument);
void thread_end(unsigned long thread);
/* Runs it in a thread, and waits for that. */
void elsewhere(void *(*function)(void *), void *argument);

#endif
