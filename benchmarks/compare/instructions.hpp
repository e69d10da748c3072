/* instructions.hpp - counts the instructions of the allocator's own calls.
 *
 * Runs a workload of the suite twice under callgrind, the second time with twice the
 * rounds, and takes the difference, so that what happens once (start, first touch of
 * memory, the workload's sets) is left out. Counted are calls from the benchmarks' own
 * files to functions that allocate or free, with all that these call: the workload's
 * own loop is not in it. Where a workload's sets are much larger than its rounds, what is
 * freed at the end differs between the runs and blurs the figure. Needs valgrind, and
 * debug information in the program.
 *
 * An inline part of an allocator's header is not seen as a call, and would make its
 * figures wrong; none of those that are compared has one.
 */
#ifndef BENCH_COMPARE_INSTRUCTIONS_HPP
#define BENCH_COMPARE_INSTRUCTIONS_HPP

#include <string>

#include "compare/program.hpp"

namespace bench {

struct Instructions {
  double allocations = 0, frees = 0;       /* calls in the difference */
  double per_allocation = 0, per_free = 0; /* instructions, 0 where nothing was called */
};

/* `program` takes "--no-fork --scale S WORKLOAD". False, with the reason, if that
 * cannot be run or shows no calls. */
bool count_instructions(const Program &program, const std::string &workload, double scale,
                        double seconds, Instructions *counted, std::string *reason);

/* Adds up what a file written by callgrind says of such calls; for tests too. */
struct CallCosts {
  double allocations = 0, frees = 0, in_allocations = 0, in_frees = 0;
};
bool read_callgrind(const std::string &path, CallCosts *costs, std::string *reason);

}  // namespace bench

#endif
