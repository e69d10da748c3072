/* calls.h - callers of the fast paths, compiled apart from what counts them. */
#ifndef GOLDEN_CALLS_H
#define GOLDEN_CALLS_H

#include <stddef.h>

#define GOLDEN_SIZE 48

void *golden_alloc_constant(void);

#endif
