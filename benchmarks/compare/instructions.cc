#include "compare/instructions.hpp"

#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace bench {

/* A file of the benchmarks that is no allocator: adapters' headers are inlined into
 * workloads, what is compiled beside them stands for an allocator. */
static bool is_of_benchmarks(const std::string &file) {
  if (file.find("/benchmarks/") == std::string::npos) return false;
  return file.find("/benchmarks/adapters/") == std::string::npos || file.back() != 'c';
}

static bool has(const std::string &name, const char *part) {
  return name.find(part) != std::string::npos;
}

/* "key=value"; the keys that end one call's lines are those of the next thing. */
static bool split(const std::string &line, std::string *key, std::string *value) {
  size_t equals = line.find('=');
  if (equals == std::string::npos) return false;
  *key = line.substr(0, equals);
  *value = line.substr(equals + 1);
  return true;
}

static double second_number(const std::string &line) {
  std::istringstream words(line);
  std::string position;
  double cost = 0;
  words >> position >> cost;
  return cost;
}

bool read_callgrind(const std::string &path, CallCosts *costs, std::string *reason) {
  std::ifstream file(path);
  std::string line, key, value, caller_file, callee_file, callee;
  bool seen = false;
  while (std::getline(file, line)) {
    if (!split(line, &key, &value)) continue;
    if (key == "fl") {
      caller_file = value;
      seen |= is_of_benchmarks(value);
    } else if (key == "fn") {
      callee_file.clear();
    } else if (key == "cfi" || key == "cfl") {
      callee_file = value;
    } else if (key == "cfn") {
      callee = value;
    } else if (key == "calls") {
      double calls = std::strtod(value.c_str(), nullptr);
      std::getline(file, line);
      const std::string &to = callee_file.empty() ? caller_file : callee_file;
      bool leaves = is_of_benchmarks(caller_file) && !is_of_benchmarks(to);
      callee_file.clear();
      if (!leaves || has(callee, "usable")) continue;
      if (has(callee, "free")) {
        costs->frees += calls;
        costs->in_frees += second_number(line);
      } else if (has(callee, "alloc")) {
        costs->allocations += calls;
        costs->in_allocations += second_number(line);
      }
    }
  }
  if (!seen)
    *reason =
        "no function of the benchmarks is seen: no debug information that valgrind can "
        "read";
  return seen;
}

/* One run under callgrind, what it wrote read and removed. */
static bool run_callgrind(const Program &program, const std::string &workload,
                          double scale, double seconds, CallCosts *costs,
                          std::string *reason) {
  const char *folder = getenv("TMPDIR");
  std::string path =
      std::string(folder != nullptr ? folder : "/tmp") + "/hakmem-callgrind-XXXXXX";
  int file = mkstemp(path.data());
  if (file < 0) {
    *reason = "no temporary file";
    return false;
  }
  close(file);
  std::ostringstream scale_text;
  scale_text << scale;
  Program traced = program;
  traced.path = "/usr/bin/env";
  traced.arguments = {"valgrind",
                      "--quiet",
                      "--tool=callgrind",
                      "--compress-strings=no",
                      "--compress-pos=no",
                      "--callgrind-out-file=" + path,
                      program.path,
                      "--no-fork",
                      "--scale",
                      scale_text.str(),
                      workload};
  std::string output;
  bool good = run_program(traced, seconds, &output, reason) &&
              read_callgrind(path, costs, reason);
  unlink(path.c_str());
  return good;
}

/* What twice the rounds cost more, in calls and instructions. */
static bool count_difference(const Program &program, const std::string &workload,
                             double scale, double seconds, CallCosts *more,
                             std::string *reason) {
  CallCosts once, twice;
  if (!run_callgrind(program, workload, scale, seconds, &once, reason) ||
      !run_callgrind(program, workload, 2 * scale, seconds, &twice, reason)) {
    return false;
  }
  more->allocations = twice.allocations - once.allocations;
  more->frees = twice.frees - once.frees;
  more->in_allocations = twice.in_allocations - once.in_allocations;
  more->in_frees = twice.in_frees - once.in_frees;
  return true;
}

bool count_instructions(const Program &program, const std::string &workload, double scale,
                        double seconds, Instructions *counted, std::string *reason) {
  CallCosts more;
  /* A workload has a least number of rounds, below which scales are all the same. */
  for (int attempt = 0; attempt < 3 && more.allocations + more.frees <= 0; attempt++) {
    if (!count_difference(program, workload, scale, seconds, &more, reason)) return false;
    scale *= 4;
  }
  counted->allocations = more.allocations;
  counted->frees = more.frees;
  if (more.allocations > 0) {
    counted->per_allocation = more.in_allocations / more.allocations;
  }
  if (more.frees > 0) counted->per_free = more.in_frees / more.frees;
  if (more.allocations > 0 || more.frees > 0) return true;
  *reason = "no more calls at twice the scale";
  return false;
}

}  // namespace bench
