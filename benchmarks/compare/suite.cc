#include "compare/suite.hpp"

#include <cstdio>
#include <regex>
#include <sstream>

#include "support/bench.h"

namespace bench {

Groups groups_of(const std::vector<Workload> &workloads) {
  Groups groups;
  for (const Workload &workload : workloads) groups[workload.name] = workload.group;
  return groups;
}

static std::string text_of(double number) {
  std::ostringstream text;
  text << number;
  return text.str();
}

static bool fail(const Program &program, const std::string &reason) {
  bench_progress_end();
  std::fprintf(stderr, "%s: %s\n", program.label.c_str(), reason.c_str());
  return false;
}

static bool matches(const Workload &workload, const std::string &filter) {
  return std::regex_search(workload.group + "/" + workload.name, std::regex(filter));
}

/* What the program lists: lines "name group  what". */
static bool list_workloads(const Program &program, const SuitePlan &plan, bool latency,
                           std::vector<Workload> *workloads) {
  Program lister = program;
  std::string output, line, reason;
  if (latency) lister.arguments.push_back("--latency");
  lister.arguments.push_back("--list");
  if (!run_program(lister, plan.seconds, &output, &reason)) return fail(program, reason);
  std::istringstream lines(output);
  while (std::getline(lines, line)) {
    std::istringstream words(line);
    Workload workload;
    words >> workload.name >> workload.group;
    std::getline(words >> std::ws, workload.what);
    if (!workload.group.empty()) workloads->push_back(workload);
  }
  return true;
}

/* Those that the filter names; of single calls, those of the workloads that it names. */
static bool choose_workloads(const Program &program, Measurement *measurement,
                             std::vector<Workload> *latency) {
  const SuitePlan &plan = measurement->plan;
  std::vector<Workload> all, &chosen = measurement->workloads;
  if (!list_workloads(program, plan, false, &all)) return false;
  for (const Workload &workload : all) {
    if (matches(workload, plan.filter)) chosen.push_back(workload);
  }
  if (chosen.empty()) {
    return fail(program, "has no workload that matches '" + plan.filter + "'");
  }
  all.clear();
  if (plan.latency && !list_workloads(program, plan, true, &all)) return false;
  Groups names = groups_of(chosen);
  for (const Workload &workload : all) {
    if (names.count(workload.name) != 0) latency->push_back(workload);
  }
  return true;
}

/* The arguments that make a program run one workload. */
static std::vector<std::string> arguments_for(const SuitePlan &plan, bool latency,
                                              const Workload &workload) {
  std::vector<std::string> arguments{"--scale", text_of(plan.scale)};
  if (plan.smoke) arguments.push_back("--tiny");
  if (!plan.settle.empty()) {
    arguments.insert(arguments.end(), {"--settle", plan.settle});
  }
  if (latency) arguments.push_back("--latency");
  arguments.push_back(workload.name);
  return arguments;
}

static std::vector<Program> programs_for(const std::vector<Program> &programs,
                                         const std::vector<std::string> &arguments) {
  std::vector<Program> asked = programs;
  for (Program &program : asked) {
    program.arguments.insert(program.arguments.end(), arguments.begin(), arguments.end());
  }
  return asked;
}

/* All workloads, interleaved within each. */
static bool run_workloads(const std::vector<Program> &programs, const SuitePlan &plan,
                          bool latency, const std::vector<Workload> &workloads,
                          std::vector<Report> *reports) {
  *reports = reports_of(programs);
  double runs = static_cast<double>(programs.size()) * plan.rounds;
  for (size_t i = 0; i < workloads.size(); i++) {
    Plan one;
    one.rounds = plan.rounds;
    one.seconds = plan.seconds;
    one.what = latency ? "latency" : "suite";
    one.workload = workloads[i].name;
    one.done = static_cast<double>(i) * runs;
    one.of = static_cast<double>(workloads.size()) * runs;
    std::vector<Report> part =
        reports_of(programs_for(programs, arguments_for(plan, latency, workloads[i])));
    if (!run_interleaved(one, &part) || !absorb(part, reports)) return false;
  }
  bench_progress_end();
  return true;
}

/* Calls count(program, workload, &counts, &reason) for every program that was measured
 * in the workload. */
template <typename Counts, typename Count>
static void count_each(const char *what, const std::vector<Workload> &workloads,
                       const std::vector<Report> &reports, Counted<Counts> *counted,
                       Count count) {
  double done = 0, of = static_cast<double>(workloads.size() * reports.size());
  for (const Workload &workload : workloads) {
    for (const Report &report : reports) {
      bench_progress(what, done++, of);
      if (report.failed.count(workload.name) + report.skipped.count(workload.name) > 0) {
        continue;
      }
      Counts counts;
      std::string reason;
      const std::string &label = report.program.label;
      if (count(report.program, workload, &counts, &reason)) {
        counted->counts[workload.name][label] = counts;
      } else {
        counted->failed[workload.name][label] = reason;
      }
    }
  }
  bench_progress_end();
}

/* What the loader and the proof call is in every run, and so in every count alike. */
static void count_calls(const SuitePlan &plan, Measurement *measurement) {
  auto count = [&](const Program &program, const Workload &workload, OsCalls *calls,
                   std::string *reason) {
    return count_os_calls(
        programs_for({program}, arguments_for(plan, false, workload)).front(),
        plan.seconds, calls, reason);
  };
  count_each("OS calls", measurement->workloads, measurement->reports,
             &measurement->os_calls, count);
}

/* Few rounds are enough: nothing is timed, and callgrind is slow. */
static void count_each_instruction(const SuitePlan &plan, Measurement *measurement) {
  double scale = plan.smoke ? plan.scale : 0.02 * plan.scale;
  std::vector<Workload> wanted;
  for (const Workload &workload : measurement->workloads) {
    if (matches(workload, plan.instructions)) wanted.push_back(workload);
  }
  auto count = [&](const Program &program, const Workload &workload,
                   Instructions *instructions, std::string *reason) {
    return count_instructions(program, workload.name, scale, plan.seconds, instructions,
                              reason);
  };
  count_each("instructions", wanted, measurement->reports, &measurement->instructions,
             count);
}

bool measure_suite(const std::vector<Program> &programs, Measurement *measurement,
                   const std::function<void()> &keep) {
  const SuitePlan &plan = measurement->plan;
  std::vector<Workload> latency;
  measurement->is_suite = true;
  if (!choose_workloads(programs.front(), measurement, &latency) ||
      !run_workloads(programs, plan, false, measurement->workloads,
                     &measurement->reports)) {
    return false;
  }
  keep();
  if (!latency.empty() &&
      !run_workloads(programs, plan, true, latency, &measurement->latency)) {
    return false;
  }
  if (!latency.empty()) keep();
  if (plan.os_calls) {
    count_calls(plan, measurement);
    keep();
  }
  if (!plan.instructions.empty()) count_each_instruction(plan, measurement);
  return true;
}

}  // namespace bench
