/* table.hpp - what a comparison comes to, on a terminal. */
#ifndef BENCH_COMPARE_TABLE_HPP
#define BENCH_COMPARE_TABLE_HPP

#include <string>
#include <vector>

#include "compare/rows.hpp"

namespace bench {

/* A row per result: the first program's median, the best peer where there are two or
 * more, and for each other program its median, the ratio first / other with its spread,
 * and the verdict. With many programs only the ratio and a mark for the verdict. */
void print_table(const std::vector<Report> &reports, const Groups &groups = {});

/* Names of the results on which the first program is slower than another. */
std::vector<std::string> losses(const Report &first, const Report &other);

}  // namespace bench

#endif
