/* bins.h - the bins and holds of a cache at its beginning, and bins that move.
 *
 * Depends on: tiny.   Used by: serial, thread_state, cache_index, thread_cache.
 *
 * Every cache has one bin and one hold of each class, whoever it belongs to: a thread for
 * the default heap, a thread for another heap, or a serial heap. They belong to one
 * thread at a time; statistics may read what is atomic in them meanwhile. Nothing here
 * takes a lock or can fail.
 */
#ifndef HAK_HEAP_BINS_H
#define HAK_HEAP_BINS_H

#include "tiny/bin.h"

/* Bins and holds of a cache that keeps nothing, all HAK_CLASSES of them. */
void hak_bins_init(const hak_cache_t *cache);
/* The same of a thread cache, whose holds are zeroes: each class begins when it is used
 * (tiny/capacity.h). */
void hak_bins_begin(hak_bin_t *bins, hak_store_t *store);
/* The first so many bins have no blocks, and no room. Their block sizes stay. */
void hak_bins_end(hak_bin_t *bins, uint32_t count);
/* Makes holds of which nothing is held such zeroes; touches none that is. `begun`: as in
 * hak_cache_t. */
void hak_holds_forget(hak_hold_t *holds, uint64_t *begun);
/* One bin without blocks, with a capacity of `blocks`. Its block size stays. */
void hak_bin_init(hak_bin_t *bin, uint32_t blocks);
/* Nothing is held of the class. What is derived from the class stays. */
void hak_hold_init(hak_hold_t *hold);
/* All bins go to `to` with their blocks; no bin at `from` has blocks or room after. */
void hak_bins_move(hak_bin_t *to, hak_bin_t *from);

#endif
