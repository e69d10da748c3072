/* rows.hpp - what the reports of a comparison come to: a row per result, the best
 * peer of each, and totals. */
#ifndef BENCH_COMPARE_ROWS_HPP
#define BENCH_COMPARE_ROWS_HPP

#include <map>
#include <string>
#include <vector>

#include "compare/runner.hpp"
#include "compare/statistics.hpp"

namespace bench {

struct Row {
  std::string name, group, unit;
  std::vector<const std::vector<double> *> series; /* by program; NULL: not measured */
  std::vector<Ratio> ratios; /* by program: first / program, [0] of no meaning */

  /* The peer with the smallest median, 0 if there is none, and each program by it.
   * The choice is made from the same runs, which favours the peers. */
  size_t best = 0;
  std::vector<Ratio> to_best;
};

/* Groups by workload, the part of a result's name before the first '/'. */
using Groups = std::map<std::string, std::string>;

std::vector<Row> rows_of(const std::vector<Report> &reports, const Groups &groups);

std::string workload_of(const std::string &result);

/* What totals are made of: a unit in which means make sense (ns, MiB, x, faults), or of
 * the MiB those that are peaks, or those after seconds of light load. */
const std::vector<std::string> &kinds_of_totals();
bool is_of_kind(const Row &row, const std::string &kind);

/* Of all rows of a group and kind: each round gives one geometric mean of the rows'
 * ratios, and the total is the middle of these. */
struct Total {
  std::string group; /* "" for all rows */
  std::string kind;
  size_t of = 0;      /* the program on top of the ratio */
  size_t against = 0; /* the other one; 0: each row's best peer */
  Ratio ratio;
  size_t better = 0, no_difference = 0, worse = 0; /* rows, by their own verdicts */
  size_t rows() const { return better + no_difference + worse; }
};

/* Of every kind, all rows first, then by group: the first program against each other one,
 * and it and its variants against the best peers. */
std::vector<Total> totals_of(const std::vector<Row> &rows,
                             const std::vector<Report> &reports);

/* The word for a ratio's verdict; "-" where too few pairs give none. */
const char *word_for(const Ratio &ratio);

}  // namespace bench

#endif
