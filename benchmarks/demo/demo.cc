/* demo.cc - hakmem_demo_run: the main job on real input, hakmem beside malloc.
 *
 * Measures wall time, peak RSS, page faults and calls to the operating system of
 * the SQLite job (sqlite_main.c) in one thread and in four, in processes of
 * their own that run in turn; then the Google Benchmark workloads of every
 * allocator that is installed. Ends with status 1 if results differ between
 * allocators or a run cannot prove who served it; a lost race is told, and is
 * no failure.
 */
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "compare/os_calls.hpp"
#include "compare/runner.hpp"
#include "compare/statistics.hpp"
#include "compare/table.hpp"
#include "support/bench.h"
#include "support/machine.h"

namespace {

constexpr double MIB = 1048576;

struct Settings {
  std::vector<bench::Program> sqlite, micro;
  std::string words, packages;
  int rounds = 7;
  std::string min_time = "0.03";
};

const char usage[] =
    "usage: hakmem_demo_run --words FILE --packages FILE [--rounds N] [--min-time S]\n"
    "           --sqlite NAME PROGRAM... --micro NAME PROGRAM...\n";

bool parse(int argc, char **argv, Settings *settings) {
  for (int at = 1; at < argc; at++) {
    std::string word = argv[at];
    int values = word == "--sqlite" || word == "--micro" ? 2 : 1;
    if (at + values >= argc) return false;
    std::string value = argv[at + 1];
    if (word == "--sqlite") {
      settings->sqlite.push_back({value, argv[at + 2], {}, {}});
    } else if (word == "--micro") {
      settings->micro.push_back({value, argv[at + 2], {}, {}});
    } else if (word == "--words") {
      settings->words = value;
    } else if (word == "--packages") {
      settings->packages = value;
    } else if (word == "--rounds") {
      settings->rounds = std::atoi(value.c_str());
    } else if (word == "--min-time") {
      settings->min_time = value;
    } else {
      return false;
    }
    at += values;
  }
  return !settings->words.empty() && !settings->packages.empty() &&
         settings->sqlite.size() >= 2 && settings->rounds >= 1;
}

double note(const bench::Report &report, const std::string &name) {
  auto at = report.notes.find(name);
  return at != report.notes.end() ? std::strtod(at->second.c_str(), nullptr) : 0;
}

void print_sqlite_row(const bench::Report &report, const std::string &workload) {
  bench::OsCalls calls;
  std::string reason;
  bool is_counted = bench::count_os_calls(report.program, 0, &calls, &reason);
  std::string counted = is_counted ? std::to_string(bench::sum_of(calls)) : "?";
  std::printf("  %-8s %9.0f ms %9.1f MiB %10s %10.0f   %s\n",
              report.program.label.c_str(), bench::median(report.series.at(workload)),
              note(report, "peak_rss") / MIB, counted.c_str(), note(report, "faults"),
              report.allocator.c_str());
  if (report.notes.count("own_os_calls") != 0) {
    std::printf("  %-8s of the OS calls, the allocator's by its own count: %.0f\n", "",
                note(report, "own_os_calls"));
  }
}

/* One number of threads: the table's part, and what was lost. */
bool run_sqlite(const Settings &settings, const std::string &threads,
                std::vector<std::string> *lost) {
  std::vector<bench::Program> programs = settings.sqlite;
  for (bench::Program &program : programs) {
    program.arguments = {settings.words, settings.packages, threads};
  }
  std::vector<bench::Report> reports;
  std::string workload = "sqlite/" + threads;
  if (!bench::run_interleaved(programs, settings.rounds, "SQLite, threads: " + threads,
                              &reports)) {
    return false;
  }
  std::printf("SQLite, threads: %s\n", threads.c_str());
  std::printf("  %-8s %12s %13s %10s %10s   %s\n", "", "time", "peak RSS", "OS calls",
              "faults", "served by (proven)");
  for (const bench::Report &report : reports) print_sqlite_row(report, workload);
  for (size_t i = 1; i < reports.size(); i++) {
    static const char *const words[] = {"faster", "no difference", "SLOWER"};
    bench::Ratio ratio = bench::ratio_of_pairs(reports[0].series.at(workload),
                                               reports[i].series.at(workload));
    std::printf("  time %s / %s: %.2f [%.2f %.2f], %s\n",
                reports[0].program.label.c_str(), reports[i].program.label.c_str(),
                ratio.median, ratio.low, ratio.high, words[ratio.verdict() + 1]);
    for (const std::string &name : bench::losses(reports[0], reports[i])) {
      lost->push_back(name + " (" + reports[i].program.label + ")");
    }
  }
  std::printf("  results: %zu checksums, the same in every run\n\n",
              reports[0].checks.size());
  return true;
}

bool run_micro(const Settings &settings, std::vector<std::string> *lost) {
  if (settings.micro.size() < 2) return true;
  std::vector<bench::Program> programs = settings.micro;
  for (bench::Program &program : programs) {
    program.arguments = {"--plain", "--benchmark_min_time=" + settings.min_time};
  }
  std::vector<bench::Report> reports;
  if (!bench::run_interleaved(programs, settings.rounds, "Google Benchmark", &reports)) {
    return false;
  }
  std::printf("Google Benchmark, time of one operation\n");
  bench::print_table(reports);
  for (const std::string &name : bench::losses(reports[0], reports[1])) {
    lost->push_back(name + " (" + reports[1].program.label + ")");
  }
  return true;
}

}  // namespace

int main(int argc, char **argv) {
  Settings settings;
  if (!parse(argc, argv, &settings)) {
    std::fputs(usage, stderr);
    return 2;
  }
  uint64_t start = bench_now_ns();
  bench_print_machine();
  std::printf("\n");
  std::vector<std::string> lost;
  bool good = true;
  for (const char *threads : {"1", "4"}) {
    good = good && run_sqlite(settings, threads, &lost);
  }
  std::printf(
      "time: median of %d runs, interleaved; brackets: its 95 %% interval.\n"
      "OS calls: mmap, munmap, mremap, mprotect, madvise and brk of the whole\n"
      "process, counted by the kernel in a run of its own%s.\n"
      "faults: page faults during the job. RSS: with the data that is read.\n\n",
      settings.rounds, good ? "" : " (not reached)");
  good = good && run_micro(settings, &lost);
  std::printf("\n");
  if (!good) {
    std::printf("DEMO FAILED: see the message above.\n");
    return 1;
  }
  const char *first = settings.sqlite[0].label.c_str();
  if (settings.rounds < 7) {
    std::printf("(fewer than 7 runs each: the times say nothing)\n");
  } else if (lost.empty()) {
    std::printf("%s was slower than malloc on no workload.\n", first);
  } else {
    std::printf("%s was slower on:", first);
    for (const std::string &name : lost) std::printf(" %s", name.c_str());
    std::printf("\n");
  }
  std::printf(
      "DEMO OK: same results everywhere, %s proven to have served its runs "
      "(%.0f s).\n",
      first, static_cast<double>(bench_now_ns() - start) / 1e9);
  return 0;
}
