/* blocks.h - what the programs of bad.c, good.c and cxx.cc share. */
#ifndef HAK_TEST_BLOCKS_H
#define HAK_TEST_BLOCKS_H

#define HAK_NO_ATTRIBUTES
#include <hakmem/hakmem.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                            \
  do {                                                                              \
    if (!(condition)) {                                                             \
      fprintf(stderr, "check failed: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(3);                                                                      \
    }                                                                               \
  } while (0)

/* A function that stacks have to name. */
#define APART static __attribute__((noinline))

#ifdef __cplusplus
extern "C" {
#endif

typedef struct case_s {
  const char *name;
  void (*run)(void);
  const char *report;    /* what is to be said; NULL: nothing at all */
  const char *functions; /* that the report's stacks name, with blanks between */
} case_t;

/* Each ends with a case without a name. */
extern const case_t bad_cases[], good_cases[], cxx_cases[];

#ifdef __cplusplus
}
#endif

#endif
