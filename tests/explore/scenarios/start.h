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
/* In a setup: the library, and a heap of which threads have a cache from their first
 * block on. */
struct hak_heap *start_with_heap(void);
/* The calling thread has a state of its own. */
void start_thread(void);

/* A block of the heap, NULL for the default one; there is memory for it. */
void *start_new_block(struct hak_heap *heap, size_t size);
/* The same with both of its first words 77, for those who look for them later. */
uint64_t *start_new_block_of_77(struct hak_heap *heap, size_t size);

/* Blocks of a class in the heap, NULL for the default one, that are not in a slab's list:
 * in the hands of threads, or in what they keep. */
uint32_t start_count_out(struct hak_heap *heap, uint32_t cls);

#endif
