#include "compare/runner.hpp"

#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "compare/statistics.hpp"
#include "support/bench.h"

namespace bench {

void execute(const Program &program) {
  for (const auto &[name, value] : program.environment) {
    setenv(name.c_str(), value.c_str(), 1);
  }
  std::vector<char *> argv{const_cast<char *>(program.path.c_str())};
  for (const std::string &argument : program.arguments) {
    argv.push_back(const_cast<char *>(argument.c_str()));
  }
  argv.push_back(nullptr);
  execv(program.path.c_str(), argv.data());
  std::fprintf(stderr, "%s: %s\n", program.path.c_str(), std::strerror(errno));
}

static bool fail(const Program &program, const std::string &reason) {
  bench_progress_end();
  std::fprintf(stderr, "%s: %s\n", program.label.c_str(), reason.c_str());
  return false;
}

/* The whole standard output of one run; false if it did not end with status 0. */
static bool capture(const Program &program, std::string *output) {
  int ends[2];
  if (pipe(ends) != 0) return fail(program, "no pipe");
  std::fflush(stdout);
  pid_t child = fork();
  if (child < 0) return fail(program, "no process");
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    execute(program);
    _exit(127);
  }
  close(ends[1]);
  char text[4096];
  for (ssize_t got; (got = read(ends[0], text, sizeof text)) != 0;) {
    if (got > 0) {
      output->append(text, static_cast<size_t>(got));
    } else if (errno != EINTR) {
      break;
    }
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
  std::ostringstream reason;
  reason << "the run ended with " << (WIFSIGNALED(status) ? "signal " : "status ")
         << (WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  return fail(program, reason.str());
}

static bool read_line(const std::string &line, Report *report, size_t round) {
  std::istringstream words(line);
  std::string kind, name, rest;
  words >> kind >> name;
  if (kind == "result") {
    double value = 0;
    std::string unit;
    if (!(words >> value >> unit)) return fail(report->program, "cannot read: " + line);
    auto &series = report->series[name];
    if (round == 0 && series.empty()) report->names.push_back(name);
    series.push_back(value);
    report->units[name] = unit;
    if (series.size() != round + 1) {
      return fail(report->program, name + " was not reported once in every run");
    }
  } else if (kind == "check" || kind == "note") {
    std::getline(words >> std::ws, rest);
    if (kind == "note") {
      report->notes[name] = rest;
    } else if (auto [at, fresh] = report->checks.emplace(name, rest);
               !fresh && at->second != rest) {
      return fail(report->program,
                  name + " differs between runs: " + at->second + ", " + rest);
    }
  } else if (kind == "allocator") {
    std::string version, proven;
    words >> version >> proven;
    if (proven == "proven") report->allocator = name + " " + version;
  }
  return true;
}

static bool run_once(Report *report, size_t round) {
  std::string output, line;
  if (!capture(report->program, &output)) return false;
  report->allocator.clear();
  std::istringstream lines(output);
  while (std::getline(lines, line)) {
    if (!read_line(line, report, round)) return false;
  }
  for (const std::string &name : report->names) {
    if (report->series[name].size() != round + 1) {
      return fail(report->program, name + " is missing in a run");
    }
  }
  if (report->names.empty()) return fail(report->program, "reported no result");
  if (report->allocator.empty()) {
    return fail(report->program, "no proof of the allocator that served it");
  }
  return true;
}

/* What must be the same whoever allocates. */
static bool agree(const Report &a, const Report &b) {
  if (a.checks != b.checks) {
    for (const auto &[name, text] : a.checks) {
      auto at = b.checks.find(name);
      std::string other = at == b.checks.end() ? "nothing" : at->second;
      if (other != text) {
        return fail(b.program, "check " + name + ": " + other + ", but " +
                                   a.program.label + ": " + text);
      }
    }
    return fail(b.program, "has more checks than " + a.program.label);
  }
  if (a.names != b.names) {
    return fail(b.program, "reports other workloads than " + a.program.label);
  }
  return true;
}

bool run_interleaved(const std::vector<Program> &programs, int rounds,
                     const std::string &what, std::vector<Report> *reports) {
  reports->clear();
  for (const Program &program : programs) {
    reports->emplace_back();
    reports->back().program = program;
  }
  double done = 0, of = static_cast<double>(programs.size()) * rounds;
  for (int round = 0; round < rounds; round++) {
    for (Report &report : *reports) {
      bench_progress(what.c_str(), done++, of);
      if (!run_once(&report, static_cast<size_t>(round))) return false;
    }
    for (const Report &report : *reports) {
      if (!agree(reports->front(), report)) return false;
    }
  }
  bench_progress_end();
  return true;
}

std::vector<std::string> losses(const Report &first, const Report &other) {
  std::vector<std::string> names;
  for (const std::string &name : first.names) {
    Ratio ratio = ratio_of_pairs(first.series.at(name), other.series.at(name));
    if (ratio.verdict() > 0) names.push_back(name);
  }
  return names;
}

static void print_row(const std::vector<Report> &reports, const std::string &name,
                      int column, std::vector<std::vector<double>> *ratios) {
  static const char *const verdicts[] = {"better", "no diff", "WORSE"};
  const auto &own = reports.front().series.at(name);
  std::printf("%-4s %*.2f", reports.front().units.at(name).c_str(), column, median(own));
  for (size_t i = 1; i < reports.size(); i++) {
    const auto &series = reports[i].series.at(name);
    Ratio ratio = ratio_of_pairs(own, series);
    (*ratios)[i].push_back(ratio.median);
    std::printf(" | %*.2f %6.2f [%.2f %.2f] %-7s", column, median(series), ratio.median,
                ratio.low, ratio.high, verdicts[ratio.verdict() + 1]);
  }
  std::printf("\n");
}

void print_table(const std::vector<Report> &reports) {
  const Report &first = reports.front();
  const char *label = first.program.label.c_str();
  int width = 14, column = 10;
  for (const std::string &name : first.names) {
    width = std::max(width, static_cast<int>(name.size()));
  }
  for (const Report &report : reports) {
    column = std::max(column, static_cast<int>(report.program.label.size()));
  }
  std::printf("%-*s %-4s %*s", width, "workload", "", column, label);
  for (size_t i = 1; i < reports.size(); i++) {
    std::printf(" | %*s  ratio [spread]        ", column,
                reports[i].program.label.c_str());
  }
  std::printf("\n");
  std::vector<std::vector<double>> ratios(reports.size());
  for (const std::string &name : first.names) {
    std::printf("%-*s ", width, name.c_str());
    print_row(reports, name, column, &ratios);
  }
  std::printf("%-*s %-4s %*s", width, "geometric mean", "", column, "");
  for (size_t i = 1; i < reports.size(); i++) {
    std::printf(" | %*s %6.2f %-20s", column, "", geometric_mean(ratios[i]), "");
  }
  std::printf(
      "\n\nratio: %s / other, median of %zu interleaved pairs; below 1 = %s is better.\n"
      "spread: 95 %% interval of the median; 'no diff': it holds 1.\n",
      label, first.series.at(first.names.front()).size(), label);
  for (const Report &report : reports) {
    std::printf("%s was served by: %s (proven)\n", report.program.label.c_str(),
                report.allocator.c_str());
  }
}

}  // namespace bench
