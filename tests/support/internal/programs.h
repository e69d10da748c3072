/* programs.h - programs that nobody chose: places with lives of all kinds, in waves of
 * load; and what one of them needs of memory, with the learner or without. */
#ifndef HAKMEM_TEST_PROGRAMS_H
#define HAKMEM_TEST_PROGRAMS_H

#include "support.h"

enum {
  PROGRAM_PLACES = 8,
  PROGRAM_MASS = 16000 /* blocks of a wave, if it does not say */
};

/* What becomes of a place's blocks. */
typedef struct program_place {
  size_t smallest, sizes; /* bytes */
  uint32_t weight;        /* of its blocks among all */
  uint32_t stays;         /* in thousandths: a block outlives its wave */
  uint32_t waves;         /* that a block which stays lives for, at most */
  uint32_t brief;         /* in thousandths: a block is freed at once */
} program_place_t;

typedef struct program {
  program_place_t places[PROGRAM_PLACES];
  uint32_t count, weights, waves;
  uint32_t turns; /* the wave from which on places have each other's lives; 0: never */
  bool roles;     /* ... and each other's weights: their blocks, that is */
  uint32_t mass;  /* blocks of a wave; 0: PROGRAM_MASS */
  uint32_t calm;  /* allocations after it, which go at once; 0: as many */
  uint32_t rises; /* in thousandths: how much larger a wave is than the one before */
} program_t;

/* Memory in use, in bytes, and what is asked of the system. */
typedef struct program_figures {
  double peak, sum;  /* of two looks at each wave, one at its peak */
  double calm, said; /* after waves: in use; what is said to be saved */
  uint64_t calls, moves;
  bool apart; /* blocks lay apart, if only on trial */
} program_figures_t;

program_t program_any(test_rng_t *rng);
/* Its waves leave 6 to 14 MB alive, enough for the learner to act, with few blocks: many
 * programs take little time, and in small ones what the learner costs weighs most. */
void program_make_small(program_t *p, test_rng_t *rng);

/* Runs it in a library of its own, with the option LEARN. Where pages of free blocks go
 * back, so in builds too in which the default heap is else the sanitizer's. */
program_figures_t program_run(const program_t *p, uint64_t seed, int learn);
/* Once, before the first and after the last one. */
void programs_begin(void);
void programs_end(void);

#endif
