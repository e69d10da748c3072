/* main.cc - runs the Google Benchmark workloads of one allocator.
 *
 * Takes Google Benchmark's own flags. With --plain as the first argument the
 * output is what hakmem_bench_compare reads: a line "result NAME VALUE ns" per
 * workload, nanoseconds per operation. Either way the run proves before and
 * after who served it.
 */
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstring>

#include "adapters/prove.h"
#include "micro/skipped.hpp"
#include "support/machine.h"

namespace {

class PlainReporter : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context &) override { return true; }

  void ReportRuns(const std::vector<Run> &runs) override {
    for (const Run &run : runs) {
      auto rate = run.counters.find("items_per_second");
      if (rate == run.counters.end() || !(rate->second.value > 0)) continue;
      const std::string &args = run.run_name.args;
      std::printf("result %s%s%s %.4f ns\n", run.run_name.function_name.c_str(),
                  args.empty() ? "" : "/", args.c_str(), 1e9 / rate->second.value);
      std::fflush(stdout);
    }
  }
};

}  // namespace

int main(int argc, char **argv) {
  bool plain = argc > 1 && std::strcmp(argv[1], "--plain") == 0;
  if (plain) {
    argv[1] = argv[0];
    argv++;
    argc--;
  }
  bench_prove();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  if (plain) {
    bench_print_machine();
    for (const std::string &line : skipped()) {
      std::printf("note skipped %s\n", line.c_str());
    }
  }
  PlainReporter reporter;
  size_t count = plain ? benchmark::RunSpecifiedBenchmarks(&reporter)
                       : benchmark::RunSpecifiedBenchmarks();
  if (count == 0) return 1;
  bench_print_proof();
  return 0;
}
