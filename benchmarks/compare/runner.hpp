/* runner.hpp - runs programs in turn and collects what they report (protocol.hpp). */
#ifndef BENCH_COMPARE_RUNNER_HPP
#define BENCH_COMPARE_RUNNER_HPP

#include <map>
#include <string>
#include <vector>

#include "compare/program.hpp"
#include "compare/protocol.hpp"

namespace bench {

/* Fewer pairs than this give no verdict. */
constexpr int LEAST_PAIRS = 7;

/* What one program reported over all rounds; series are by round. */
struct Report {
  Program program;
  std::string allocator;
  std::vector<std::string> names; /* of results, in the order they came */
  std::map<std::string, std::vector<double>> series;
  std::map<std::string, std::string> units, checks, notes;
  std::map<std::string, std::string> skipped, failed; /* by workload: the reason */
  std::map<std::string, std::vector<Point>> points;   /* of the first round */
  std::map<std::string, double> huge; /* share of huge pages, of the first round */
  int proofs = 0;                     /* runs that were proven */
};

struct Plan {
  int rounds = LEAST_PAIRS;
  double seconds = 0; /* limit of one run; 0: none */
  std::string what;   /* for the progress line */
  double done = 0;    /* runs before these, of ... */
  double of = 0;      /* ... so many; 0: these are all */

  /* Not empty: the name of the one workload that is run. Then a program that fails
   * is left out of it, with the reason in `failed`, unless it is the first. */
  std::string workload;
};

/* Empty reports, one per program. */
std::vector<Report> reports_of(const std::vector<Program> &programs);

/* Runs all programs in turn, `rounds` times: A B C, C B A, A B C. False, with the
 * reason on stderr, if a run fails, proves no allocator, or differs from the others
 * in its checks or in the names of its results, those noted as skipped left out. */
bool run_interleaved(const Plan &plan, std::vector<Report> *reports);

/* The same for programs without a plan: fails with any of them. */
bool run_interleaved(const std::vector<Program> &programs, int rounds,
                     const std::string &what, std::vector<Report> *reports);

/* Adds the workloads of `part`, whose reports are of the same programs. False if a
 * program was proven to be served by another allocator than before. */
bool absorb(const std::vector<Report> &part, std::vector<Report> *whole);

}  // namespace bench

#endif
