/* start.h - how scenarios begin. */
#ifndef EXPLORE_START_H
#define EXPLORE_START_H

#include "scenarios.h"

struct hak_heap;

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

/* Blocks of a class in the heap, NULL for the default one, that are not in a slab's list:
 * in the hands of threads, or in what they keep. */
uint32_t start_count_out(struct hak_heap *heap, uint32_t cls);

#endif
