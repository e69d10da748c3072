/* skipped.hpp - workloads that this executable leaves out, and why.
 *
 * Workloads are registered before main; main prints these lines.
 */
#ifndef BENCH_MICRO_SKIPPED_HPP
#define BENCH_MICRO_SKIPPED_HPP

#include <string>
#include <vector>

inline std::vector<std::string> &skipped() {
  static std::vector<std::string> list;
  return list;
}

#endif
