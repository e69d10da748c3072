/* json.hpp - a measurement as JSON: everything that was measured, and what it came to.
 *
 * Names of programs are their labels; medians, ratios and spreads are those of the
 * printed table. What is not known is left out, never 0. benchmarks/report reads it.
 */
#ifndef BENCH_COMPARE_JSON_HPP
#define BENCH_COMPARE_JSON_HPP

#include <string>

#include "compare/suite.hpp"

namespace bench {

/* False, with the reason on stderr, if the file cannot be written. */
bool write_json(const std::string &path, const Measurement &measurement);

}  // namespace bench

#endif
