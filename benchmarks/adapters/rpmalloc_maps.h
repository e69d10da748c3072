/* rpmalloc_maps.h - which memory rpmalloc got from the system.
 *
 * rpmalloc has no function that says whether an address is its own. It maps all
 * its memory through a table of functions; this stands between two of them and
 * keeps a list. The functions behind them are rpmalloc's, so nothing else changes.
 */
#ifndef BENCH_ADAPTERS_RPMALLOC_MAPS_H
#define BENCH_ADAPTERS_RPMALLOC_MAPS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

bool rpmalloc_maps_contain(const void *ptr);

#ifdef __cplusplus
}
#endif

#endif
