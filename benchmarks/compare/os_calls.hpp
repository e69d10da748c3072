/* os_calls.hpp - counts the memory calls that a program makes to the kernel.
 *
 * The same yardstick for every allocator, whatever it counts itself: mmap, munmap,
 * mremap, mprotect, madvise and brk, in all threads and processes, from the program's
 * first instruction (so the loader's few are in it). Works by a seccomp filter that
 * stops the traced program at these calls only; it is slower while it is
 * counted, so time is never taken in the same run.
 */
#ifndef BENCH_COMPARE_OS_CALLS_HPP
#define BENCH_COMPARE_OS_CALLS_HPP

#include <map>
#include <string>

#include "compare/program.hpp"

namespace bench {

/* By the call's name; kinds that were not called are there with 0. */
using OsCalls = std::map<std::string, long>;

long sum_of(const OsCalls &calls);

/* Runs the program once, its output dropped. False, with the reason, where tracing is
 * not allowed, or the run fails or does not end within `seconds` (0: no limit). */
bool count_os_calls(const Program &program, double seconds, OsCalls *calls,
                    std::string *reason);

}  // namespace bench

#endif
