/* adapter.h - the one face that every allocator shows to the benchmarks.
 *
 * Each executable is compiled for one allocator: BENCH_ADAPTER names the header
 * beside this one that implements the functions below, all static inline, so
 * that a workload calls the allocator itself and nothing in between.
 *
 *   bench_alloc, bench_free, bench_realloc, bench_calloc, bench_usable_size
 *   bench_name      the allocator's name, one word
 *   bench_version   its version, asked of the library that was linked
 *   bench_serves    true if the allocator itself says that the block is its own
 *   bench_may_ask_any  true if bench_serves may be asked about any address
 *   bench_collect   asks it to give free memory back
 *   bench_thread_idle  says that this thread is about to block for long
 *   bench_read_counts  the allocator's own event counts; false where it has none
 *
 *   bench_aligned_alloc  a block at a multiple of a power of two; bench_free frees it
 *
 * where BENCH_HEAPS is not 0, which threads may allocate from a heap (1: the one
 * that made it, 2 or more: any), and heaps have other memory than bench_alloc:
 *
 *   bench_heap_t, bench_heap_new, bench_heap_alloc, bench_heap_destroy
 *   bench_heap_limited  a heap with a limit in bytes, where BENCH_HEAPS is 3
 *
 * and macros, which are defined here for adapters that leave them out:
 *
 *   BENCH_SINGLE_THREAD  1 if only one thread may call it; else 0
 *   BENCH_ALIGNED        0 if it has no aligned blocks; else 1
 *   BENCH_LARGEST_BLOCK  the largest size that it serves; else SIZE_MAX
 *
 * A workload that needs more than they allow is left out, and said so in a line
 * "note skipped NAME reason". No adapter needs a call when a thread starts or ends.
 *
 * Compiles as C11 and as C++17.
 */
#ifndef BENCH_ADAPTERS_ADAPTER_H
#define BENCH_ADAPTERS_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct bench_counts {
  uint64_t os_calls; /* calls that reach the kernel; accounting is none */
  uint64_t superslabs;
  uint64_t lock_contended;
  uint64_t entry_writes;
  uint64_t shelf_visits;
} bench_counts_t;

#include BENCH_ADAPTER

#ifndef BENCH_HEAPS
#define BENCH_HEAPS 0
typedef void bench_heap_t;
static inline bench_heap_t *bench_heap_new(void) { return NULL; }
static inline void *bench_heap_alloc(bench_heap_t *heap, size_t size) {
  (void)heap;
  (void)size;
  return NULL;
}
static inline void bench_heap_destroy(bench_heap_t *heap) { (void)heap; }
#endif
#ifndef BENCH_ALIGNED
#define BENCH_ALIGNED 1
#endif
#ifndef BENCH_SINGLE_THREAD
#define BENCH_SINGLE_THREAD 0
#endif
#ifndef BENCH_LARGEST_BLOCK
#define BENCH_LARGEST_BLOCK SIZE_MAX
#endif

#endif
