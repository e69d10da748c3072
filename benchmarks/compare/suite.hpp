/* suite.hpp - measures programs of the suite, workload by workload. */
#ifndef BENCH_COMPARE_SUITE_HPP
#define BENCH_COMPARE_SUITE_HPP

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "compare/instructions.hpp"
#include "compare/os_calls.hpp"
#include "compare/rows.hpp"

namespace bench {

struct Workload {
  std::string name, group, what;
};

/* What is asked for. */
struct SuitePlan {
  int rounds = LEAST_PAIRS;
  bool smoke = false;       /* one round, and sets too small to judge */
  double scale = 1;         /* of rounds, in every workload */
  double seconds = 120;     /* limit of one run */
  std::string filter;       /* a regular expression, searched in "group/name" */
  std::string settle;       /* seconds of light load after each workload; "": default */
  bool latency = false;     /* single calls too */
  bool os_calls = false;    /* and calls to the kernel */
  std::string instructions; /* of which workloads instructions too; as filter */
};

/* By workload, then by program: labels. What could not be counted has the reason. */
template <typename Counts>
struct Counted {
  std::map<std::string, std::map<std::string, Counts>> counts;
  std::map<std::string, std::map<std::string, std::string>> failed;
};

struct Measurement {
  bool is_suite = false;
  SuitePlan plan;
  std::vector<Workload> workloads;
  std::vector<Report> reports;
  std::vector<Report> latency; /* empty where it was not asked for */
  Counted<OsCalls> os_calls;
  Counted<Instructions> instructions;
  std::string began;  /* UTC */
  double seconds = 0; /* that it took */
};

Groups groups_of(const std::vector<Workload> &workloads);

/* False, with the reason on stderr, if the first program fails in a workload or does
 * not know one that matches the filter. What others fail in is kept in their reports.
 * `keep` is called whenever a part is complete: the whole takes hours, and what is there
 * must outlive an interruption. */
bool measure_suite(const std::vector<Program> &programs, Measurement *measurement,
                   const std::function<void()> &keep);

}  // namespace bench

#endif
