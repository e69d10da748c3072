/* main.cc - hakmem_bench_compare: which of two or more programs is faster, and
 * is the difference one?
 *
 * Measures nothing itself: it runs benchmark programs interleaved, A B A B, and
 * compares what they report, pair by pair. The programs may be builds for
 * different allocators, two builds of one, or one build under two settings.
 */
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "compare/runner.hpp"

static const char usage[] =
    "usage: hakmem_bench_compare [--pairs N] PROGRAM PROGRAM... [-- ARGUMENT...]\n"
    "\n"
    "  --pairs N          runs of each program, at least 7 (the default)\n"
    "  --as LABEL         name in the table of the next program\n"
    "  --env NAME=VALUE   environment of the next program; may be repeated\n"
    "  -- ARGUMENT...     passed to every program\n"
    "\n"
    "The first program is compared with each of the others. For instance, what an\n"
    "option does:\n"
    "\n"
    "  hakmem_bench_compare --as carve-16k --env HAKMEM_CARVE_BYTES=16384 \\\n"
    "      ./hakmem_micro_hakmem ./hakmem_micro_hakmem -- --plain\n";

static int misused(const std::string &text) {
  std::fprintf(stderr, "%s\n\n%s", text.c_str(), usage);
  return 2;
}

int main(int argc, char **argv) {
  std::vector<bench::Program> programs;
  bench::Program next;
  int rounds = 7;
  int at = 1;
  for (; at < argc && std::string(argv[at]) != "--"; at++) {
    std::string word = argv[at];
    if (word == "--help") {
      std::fputs(usage, stdout);
      return 0;
    }
    if (word.rfind("--", 0) != 0) {
      next.path = word;
      if (next.label.empty()) next.label = word.substr(word.rfind('/') + 1);
      programs.push_back(next);
      next = {};
      continue;
    }
    if (at + 1 >= argc) return misused(word + " needs a value");
    std::string value = argv[++at];
    if (word == "--pairs") {
      rounds = std::atoi(value.c_str());
      if (rounds < 7) return misused("fewer than 7 pairs say nothing");
    } else if (word == "--as") {
      next.label = value;
    } else if (word == "--env" && value.find('=') != std::string::npos) {
      size_t equals = value.find('=');
      next.environment.emplace_back(value.substr(0, equals), value.substr(equals + 1));
    } else {
      return misused("unknown: " + word + " " + value);
    }
  }
  if (programs.size() < 2) return misused("two programs at least");
  for (at++; at < argc; at++) {
    for (bench::Program &program : programs) program.arguments.emplace_back(argv[at]);
  }
  std::vector<bench::Report> reports;
  if (!bench::run_interleaved(programs, rounds, "comparing", &reports)) return 1;
  bench::print_table(reports);
  return 0;
}
