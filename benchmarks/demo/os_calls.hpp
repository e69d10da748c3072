/* os_calls.hpp - counts the memory calls that a program makes to the kernel.
 *
 * The same yardstick for every allocator, whatever it counts itself: mmap,
 * munmap, mremap, madvise and brk, in all threads, from the program's first
 * instruction (so the loader's few are in it). Works by a seccomp filter that
 * stops the traced program at these calls only; it is slower while it is
 * counted, so time is never taken in the same run.
 */
#ifndef BENCH_DEMO_OS_CALLS_HPP
#define BENCH_DEMO_OS_CALLS_HPP

#include "compare/runner.hpp"

namespace bench {

/* Runs the program once, its output dropped. -1 where tracing is not allowed, or
 * the run fails. */
long count_os_calls(const Program &program);

}  // namespace bench

#endif
