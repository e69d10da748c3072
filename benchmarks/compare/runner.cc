#include "compare/runner.hpp"

#include <algorithm>
#include <cstdio>

#include "support/bench.h"

namespace bench {

std::vector<Report> reports_of(const std::vector<Program> &programs) {
  std::vector<Report> reports;
  for (const Program &program : programs) {
    reports.emplace_back();
    reports.back().program = program;
  }
  return reports;
}

/* Adds one run to the report; false, with the reason, if they do not fit. */
static bool add_run(const Run &run, size_t round, Report *report, std::string *reason) {
  for (const Figure &figure : run.figures) {
    auto &series = report->series[figure.name];
    if (round == 0) report->names.push_back(figure.name);
    series.push_back(figure.value);
    report->units.emplace(figure.name, figure.unit);
    if (series.size() != round + 1 || report->units[figure.name] != figure.unit) {
      *reason = figure.name + " was not reported alike in every run";
      return false;
    }
  }
  if (run.figures.size() != report->names.size()) {
    *reason = "not every run reported the same results";
    return false;
  }
  for (const auto &[name, text] : run.checks) {
    auto [at, fresh] = report->checks.emplace(name, text);
    if (fresh || at->second == text) continue;
    *reason = name + " differs between runs: " + at->second + ", " + text;
    return false;
  }
  if (round == 0) {
    report->points = run.points;
    report->huge = run.huge;
  }
  for (const auto &[name, text] : run.notes) report->notes[name] = text;
  for (const auto &[name, text] : run.skipped) report->skipped[name] = text;
  if (run.allocator.empty()) return true; /* no figures either */
  if (!report->allocator.empty() && report->allocator != run.allocator) {
    *reason = "served by " + run.allocator + ", before by " + report->allocator;
    return false;
  }
  report->allocator = run.allocator;
  report->proofs++;
  return true;
}

static bool has(const std::vector<std::string> &names, const std::string &name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/* A result of one that the other neither has nor says it skipped; or nothing. */
static std::string missing(const Report &from, const Report &in) {
  for (const std::string &name : in.names) {
    if (!has(from.names, name) && why_skipped(from.skipped, name) == nullptr) return name;
  }
  return "";
}

/* What must be the same whoever allocates. */
static bool agree(const Report &first, const Report &other, std::string *reason) {
  for (const auto &[name, text] : first.checks) {
    if (why_skipped(other.skipped, name) != nullptr) continue;
    auto at = other.checks.find(name);
    std::string found = at == other.checks.end() ? "nothing" : at->second;
    if (found == text) continue;
    *reason =
        "check " + name + ": " + found + ", but " + first.program.label + ": " + text;
    return false;
  }
  for (const auto &[name, text] : other.checks) {
    if (first.checks.count(name) != 0 || why_skipped(first.skipped, name) != nullptr) {
      continue;
    }
    *reason = "has more checks than " + first.program.label + ": " + name + " " + text;
    return false;
  }
  std::string lacks = missing(other, first), more = missing(first, other);
  if (lacks.empty() && more.empty()) return true;
  *reason = "reports other workloads than " + first.program.label + ": " +
            (lacks.empty() ? more + " is more" : lacks + " is missing");
  return false;
}

/* Keeps nothing of a program but why it failed. */
static void leave_out(const std::string &workload, const std::string &reason,
                      Report *report) {
  Report empty;
  empty.program = report->program;
  empty.failed[workload] = reason;
  *report = empty;
}

/* True if the comparison goes on without this program. */
static bool forgive(const Plan &plan, const std::string &reason, bool is_first,
                    Report *report) {
  bench_progress_end();
  std::fprintf(stderr, "%s: %s%s%s\n", report->program.label.c_str(),
               plan.workload.c_str(), plan.workload.empty() ? "" : ": ", reason.c_str());
  if (plan.workload.empty() || is_first) return false;
  leave_out(plan.workload, reason, report);
  return true;
}

static bool run_once(const Plan &plan, size_t round, Report *report,
                     std::string *reason) {
  std::string output;
  Run run;
  return run_program(report->program, plan.seconds, &output, reason) &&
         read_run(output, &run, reason) && add_run(run, round, report, reason);
}

bool run_interleaved(const Plan &plan, std::vector<Report> *reports) {
  size_t count = reports->size();
  double of = plan.of > 0 ? plan.of : static_cast<double>(count) * plan.rounds;
  double done = plan.done;
  std::string reason;
  for (int round = 0; round < plan.rounds; round++) {
    for (size_t turn = 0; turn < count; turn++) {
      /* Every other round backwards: none has always the same neighbour before it. */
      size_t i = round % 2 == 0 ? turn : count - 1 - turn;
      Report &report = (*reports)[i];
      bench_progress(plan.what.c_str(), done++, of);
      if (!report.failed.empty()) continue;
      if (!run_once(plan, static_cast<size_t>(round), &report, &reason) &&
          !forgive(plan, reason, i == 0, &report)) {
        return false;
      }
    }
    for (Report &report : *reports) {
      if (!report.failed.empty()) continue;
      if (!agree(reports->front(), report, &reason) &&
          !forgive(plan, reason, false, &report)) {
        return false;
      }
    }
  }
  if (plan.of <= 0) bench_progress_end();
  return true;
}

bool run_interleaved(const std::vector<Program> &programs, int rounds,
                     const std::string &what, std::vector<Report> *reports) {
  Plan plan;
  plan.rounds = rounds;
  plan.what = what;
  *reports = reports_of(programs);
  return run_interleaved(plan, reports);
}

bool absorb(const std::vector<Report> &part, std::vector<Report> *whole) {
  for (size_t i = 0; i < whole->size(); i++) {
    const Report &from = part[i];
    Report &to = (*whole)[i];
    if (!from.allocator.empty() && !to.allocator.empty() &&
        from.allocator != to.allocator) {
      std::fprintf(stderr, "%s: served by %s, before by %s\n", to.program.label.c_str(),
                   from.allocator.c_str(), to.allocator.c_str());
      return false;
    }
    if (!from.allocator.empty()) to.allocator = from.allocator;
    to.proofs += from.proofs;
    to.names.insert(to.names.end(), from.names.begin(), from.names.end());
    to.series.insert(from.series.begin(), from.series.end());
    to.units.insert(from.units.begin(), from.units.end());
    to.checks.insert(from.checks.begin(), from.checks.end());
    to.skipped.insert(from.skipped.begin(), from.skipped.end());
    to.failed.insert(from.failed.begin(), from.failed.end());
    to.points.insert(from.points.begin(), from.points.end());
    to.huge.insert(from.huge.begin(), from.huge.end());
    for (const auto &[name, text] : from.notes) to.notes[name] = text;
  }
  return true;
}

}  // namespace bench
