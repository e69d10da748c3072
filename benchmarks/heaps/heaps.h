/* heaps.h - what the parts of hakmem_bench_heaps share. */
#ifndef HEAPS_H
#define HEAPS_H

#include <stdbool.h>
#include <stddef.h>

_Noreturn void die(const char *what);
/* Sorts the values. */
double median(double *values, size_t count);
/* Prints a line; false if the bound is missed. */
bool report(const char *name, double value, double bound, bool at_most);

/* Serial heaps beside the default heap: hak_heap_alloc and hak_heap_free against
 * hak_alloc and hak_free, the processor's time by turns; the median of the ratios. */
bool measure_serial(void);

/* Heaps in memory of the caller's beside others: 1, 2 and 4 threads on one heap. */
bool measure_enclosed(void);

#endif
