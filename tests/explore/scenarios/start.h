/* start.h - how scenarios begin. */
#ifndef EXPLORE_START_H
#define EXPLORE_START_H

#include "scenarios.h"

/* Hooks whose pages are as they were left: whoever wants zeroes writes them, and whoever
 * reads them has to have seen that. */
const struct hak_os *start_hooks(void);
/* The library over these hooks. */
void start_library(void);
/* In a setup: the library's next records lie in memory that whoever makes them has to
 * write zeroes to. */
void start_used_up(void);
/* In a setup: threads have a cache of a heap from their first block of it on, not only if
 * they use it much. */
void start_caching(void);
/* The calling thread has a state of its own. */
void start_thread(void);

#endif
