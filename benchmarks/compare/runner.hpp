/* runner.hpp - runs programs in turn and collects what they report.
 *
 * A program reports on its standard output, one thing a line:
 *
 *     result NAME VALUE UNIT          a figure; smaller is better
 *     check NAME TEXT                 must be the same in every run of every program
 *     note NAME TEXT                  kept, not compared
 *     allocator NAME VERSION proven   once, at the end; a run without it fails
 *
 * Other lines are ignored.
 */
#ifndef BENCH_COMPARE_RUNNER_HPP
#define BENCH_COMPARE_RUNNER_HPP

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace bench {

struct Program {
  std::string label;
  std::string path;
  std::vector<std::string> arguments;
  std::vector<std::pair<std::string, std::string>> environment;
};

/* What one program reported over all rounds; series are by round. */
struct Report {
  Program program;
  std::string allocator;
  std::vector<std::string> names; /* of results, in the order they came */
  std::map<std::string, std::vector<double>> series;
  std::map<std::string, std::string> units, checks, notes;
};

/* Replaces this process's image, with the environment set; returns on failure. */
void execute(const Program &program);

/* Runs all programs in turn, `rounds` times: A B A B. False, with the reason on
 * stderr, if a run fails, proves no allocator, or differs from the others in
 * its checks or in the names of its results. */
bool run_interleaved(const std::vector<Program> &programs, int rounds,
                     const std::string &what, std::vector<Report> *reports);

/* Prints a table: a row per workload; the first program's median and for each
 * other its median, the ratio first / other with its spread, and the verdict. */
void print_table(const std::vector<Report> &reports);

/* Names of the results on which the first program is slower than another. */
std::vector<std::string> losses(const Report &first, const Report &other);

}  // namespace bench

#endif
