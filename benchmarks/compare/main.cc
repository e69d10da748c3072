/* main.cc - hakmem_bench_compare: which of two or more programs is faster, and
 * is the difference one?
 *
 * Measures nothing itself: it runs benchmark programs interleaved, A B A B, and
 * compares what they report, pair by pair. The programs may be builds for
 * different allocators, two builds of one, or one build under two settings.
 */
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "compare/json.hpp"
#include "compare/table.hpp"
#include "support/bench.h"

namespace {

const char usage[] =
    "usage: hakmem_bench_compare [OPTION...] PROGRAM PROGRAM... [-- ARGUMENT...]\n"
    "\n"
    "  --pairs N          runs of each program, at least 7 (the default)\n"
    "  --smoke            one run of each, to see that all work: no verdicts\n"
    "  --json FILE        writes all that was measured\n"
    "  --timeout SECONDS  limit of one run (of a workload of the suite: 120)\n"
    "  -- ARGUMENT...     passed to every program\n"
    "\n"
    "before a program:\n"
    "  --as LABEL         its name in the table\n"
    "  --env NAME=VALUE   its environment; may be repeated\n"
    "  --role ROLE        peer (the default), variant (another build of the first\n"
    "                     program) or yardstick; only peers can be the best peer\n"
    "\n"
    "programs of the suite, hakmem_suite_<allocator>:\n"
    "  --suite            workload by workload, each run a process of its own; a\n"
    "                     workload that one fails in is left out of its ratios\n"
    "  --filter REGEX     only workloads whose group/name matches\n"
    "  --scale S          how much work; 1 is the full run\n"
    "  --settle S         seconds of light load after each workload: 0, 1, 5 or 15\n"
    "  --latency          times of single calls too\n"
    "  --os-calls         calls to the kernel too, by kind\n"
    "  --instructions REGEX\n"
    "                     instructions of one allocation and one free too, of these\n"
    "                     workloads (needs valgrind; slow)\n"
    "\n"
    "The first program is compared with each of the others. For instance, what an\n"
    "option does:\n"
    "\n"
    "  hakmem_bench_compare --as carve-16k --env HAKMEM_CARVE_BYTES=16384 \\\n"
    "      ./hakmem_micro_hakmem ./hakmem_micro_hakmem -- --plain\n";

struct Command {
  std::vector<bench::Program> programs;
  bench::SuitePlan plan;
  bool suite = false;
  double seconds = 0;
  std::string json;
};

bool is_regex(const std::string &text) {
  try {
    std::regex regex(text);
  } catch (const std::regex_error &) {
    return false;
  }
  return true;
}

bool read_seconds(const std::string &text, double *value) {
  char *end;
  *value = std::strtod(text.c_str(), &end);
  return !text.empty() && *end == '\0' && *value > 0 && *value < 1e6;
}

/* What is wrong with an option that stands for itself or has a value; "" if nothing. */
std::string read_flag(const std::string &word, Command *command, bool *known) {
  *known = true;
  if (word == "--smoke") {
    command->plan.smoke = true;
  } else if (word == "--suite") {
    command->suite = true;
  } else if (word == "--latency") {
    command->plan.latency = true;
  } else if (word == "--os-calls") {
    command->plan.os_calls = true;
  } else {
    *known = false;
  }
  return "";
}

std::string read_option(const std::string &word, const std::string &value,
                        Command *command, bench::Program *next) {
  static const std::map<std::string, bench::Role> roles = {
      {"peer", bench::Role::PEER},
      {"variant", bench::Role::VARIANT},
      {"yardstick", bench::Role::YARDSTICK}};
  if (word == "--pairs") {
    command->plan.rounds = std::atoi(value.c_str());
    if (command->plan.rounds < bench::LEAST_PAIRS) {
      return "fewer than 7 pairs say nothing";
    }
  } else if (word == "--as") {
    next->label = value;
  } else if (word == "--env" && value.find('=') != std::string::npos) {
    size_t equals = value.find('=');
    next->environment.emplace_back(value.substr(0, equals), value.substr(equals + 1));
  } else if (word == "--role" && roles.count(value) != 0) {
    next->role = roles.at(value);
  } else if (word == "--json") {
    command->json = value;
  } else if (word == "--timeout" && read_seconds(value, &command->seconds)) {
    command->plan.seconds = command->seconds;
  } else if (word == "--settle" &&
             value.find_first_not_of("0123456789") == std::string::npos) {
    command->plan.settle = value;
  } else if (word == "--scale" && read_seconds(value, &command->plan.scale)) {
    return "";
  } else if (word == "--filter" && is_regex(value)) {
    command->plan.filter = value;
  } else if (word == "--instructions" && is_regex(value)) {
    command->plan.instructions = value;
  } else {
    return "unknown: " + word + " " + value;
  }
  return "";
}

/* Programs of one name are told apart by their number. */
void number_labels(std::vector<bench::Program> *programs) {
  std::map<std::string, int> seen;
  for (bench::Program &program : *programs) {
    int number = ++seen[program.label];
    if (number > 1) program.label += "-" + std::to_string(number);
  }
}

/* What is wrong with the whole; "" if nothing. */
std::string complain(const Command &command) {
  if (command.programs.size() < 2) return "two programs at least";
  const bench::SuitePlan &plan = command.plan;
  bool asks_for_suite = plan.latency || plan.os_calls || !plan.instructions.empty() ||
                        !plan.filter.empty() || plan.scale != 1 || !plan.settle.empty();
  if (asks_for_suite && !command.suite) {
    return "--filter, --scale, --settle, --latency, --os-calls and --instructions need "
           "--suite";
  }
  /* Found out now, and not in hours. */
  std::string folder = command.json.substr(0, command.json.rfind('/') + 1);
  if (!command.json.empty() && access(folder.empty() ? "." : folder.c_str(), W_OK) != 0) {
    return "cannot write " + command.json;
  }
  return "";
}

std::string parse(int argc, char **argv, Command *command) {
  bench::Program next;
  int at = 1;
  for (; at < argc && std::string(argv[at]) != "--"; at++) {
    std::string word = argv[at];
    if (word.rfind("--", 0) != 0) {
      next.path = word;
      if (next.label.empty()) next.label = word.substr(word.rfind('/') + 1);
      command->programs.push_back(next);
      next = {};
      continue;
    }
    bool known = false;
    std::string wrong = read_flag(word, command, &known);
    if (known) continue;
    if (at + 1 >= argc) return word + " needs a value";
    wrong = read_option(word, argv[++at], command, &next);
    if (!wrong.empty()) return wrong;
  }
  for (at++; at < argc; at++) {
    for (bench::Program &program : command->programs) {
      program.arguments.emplace_back(argv[at]);
    }
  }
  if (command->plan.smoke) command->plan.rounds = 1;
  number_labels(&command->programs);
  return complain(*command);
}

std::string time_now() {
  char text[32];
  std::time_t now = std::time(nullptr);
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

bool measure(const Command &command, bench::Measurement *measurement) {
  uint64_t start = bench_now_ns();
  auto keep = [&] {
    measurement->seconds = static_cast<double>(bench_now_ns() - start) / 1e9;
    return command.json.empty() || bench::write_json(command.json, *measurement);
  };
  if (command.suite) {
    return bench::measure_suite(command.programs, measurement, keep) && keep();
  }
  bench::Plan plan;
  plan.rounds = command.plan.rounds;
  plan.seconds = command.seconds;
  plan.what = "comparing";
  measurement->reports = bench::reports_of(command.programs);
  return bench::run_interleaved(plan, &measurement->reports) && keep();
}

}  // namespace

int main(int argc, char **argv) {
  if (argc == 2 && std::string(argv[1]) == "--help") {
    std::fputs(usage, stdout);
    return 0;
  }
  Command command;
  std::string wrong = parse(argc, argv, &command);
  if (!wrong.empty()) {
    std::fprintf(stderr, "%s\n\n%s", wrong.c_str(), usage);
    return 2;
  }
  bench::Measurement measurement;
  measurement.plan = command.plan;
  measurement.began = time_now();
  if (!measure(command, &measurement)) return 1;
  bench::print_table(measurement.reports, bench::groups_of(measurement.workloads));
  return 0;
}
