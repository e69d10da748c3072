/* single.cc - workloads of one thread.
 *
 * Time is the thread's CPU time, the kernel's part included. The first byte of
 * every block is written, as any program would. One operation is one
 * allocation and one free. Steady state is meant: each workload runs a few
 * times before it counts, so that no first touch of memory is in the figure.
 */
#include <benchmark/benchmark.h>

#include <vector>

#include "adapters/adapter.h"
#include "micro/skipped.hpp"
#include "support/bench.h"

namespace {

inline char *alloc_touched(size_t size) {
  char *block = static_cast<char *>(bench_alloc(size));
  *block = 1;
  return block;
}

constexpr int WARM_UP = 4;

/* Measures the shortest life of a block: allocated and freed at once, always of
 * one size. */
void pair(benchmark::State &state) {
  size_t size = static_cast<size_t>(state.range(0));
  auto once = [size] {
    char *block = alloc_touched(size);
    benchmark::DoNotOptimize(block);
    bench_free(block);
  };
  for (int i = 0; i < WARM_UP; i++) once();
  for (auto _ : state) once();
  state.SetItemsProcessed(state.iterations());
}

/* Measures a burst: 100 blocks of one size allocated, then all freed, the last
 * one first. */
void batch(benchmark::State &state) {
  constexpr int COUNT = 100;
  size_t size = static_cast<size_t>(state.range(0));
  char *blocks[COUNT];
  auto once = [&] {
    for (char *&block : blocks) block = alloc_touched(size);
    benchmark::ClobberMemory();
    for (int i = COUNT; i-- > 0;) bench_free(blocks[i]);
  };
  for (int i = 0; i < WARM_UP; i++) once();
  for (auto _ : state) once();
  state.SetItemsProcessed(state.iterations() * COUNT);
}

/* Replaces blocks in random slots by blocks of random sizes, 256 times an
 * iteration. */
void replace_at_random(benchmark::State &state, uint32_t slots, uint32_t low,
                       uint32_t high) {
  constexpr int COUNT = 256;
  std::vector<char *> blocks(slots);
  uint64_t random = bench_seed(0);
  for (char *&block : blocks) block = alloc_touched(bench_range(&random, low, high));
  auto replace = [&](int count) {
    for (int i = 0; i < count; i++) {
      char *&slot = blocks[bench_range(&random, 0, slots - 1)];
      bench_free(slot);
      slot = alloc_touched(bench_range(&random, low, high));
    }
  };
  replace(static_cast<int>(slots) * WARM_UP);
  for (auto _ : state) replace(COUNT);
  for (char *block : blocks) bench_free(block);
  state.SetItemsProcessed(state.iterations() * COUNT);
}

/* Measures small blocks of mixed sizes (16 to 1,024 bytes) that live for a
 * random time; 256 slots stay in the processor's first cache, 8,192 do not. */
void random_mixed(benchmark::State &state) {
  replace_at_random(state, static_cast<uint32_t>(state.range(0)), 16, 1024);
}

/* Measures blocks of 1 to 32 KiB, 4,096 of them live: where allocators change
 * from small bins to something slower. */
void mid_random(benchmark::State &state) {
  replace_at_random(state, static_cast<uint32_t>(state.range(0)), 1024, 32768);
}

const bool registered = [] {
  using benchmark::RegisterBenchmark;
  auto add = [](const char *name, void (*run)(benchmark::State &)) {
    auto *workload = RegisterBenchmark(name, run);
    for (size_t size : {16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576}) {
      if (size <= BENCH_LARGEST_BLOCK) {
        workload->Arg(static_cast<int64_t>(size));
      } else {
        skipped().push_back(std::string(name) + "/" + std::to_string(size) +
                            " no blocks of this size");
      }
    }
  };
  add("pair", pair);
  add("batch", batch);
  return true;
}();

BENCHMARK(random_mixed)->Arg(256)->Arg(8192);
BENCHMARK(mid_random)->Arg(4096);

}  // namespace
