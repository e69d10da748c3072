/* threads.cc - workloads of two threads; time is wall time.
 *
 * Waiting is a short spin, then a yield, so that the figures mean something on
 * a machine with fewer free processors than threads.
 */
#include <benchmark/benchmark.h>

#include <sched.h>
#include <atomic>
#include <thread>
#include <vector>

#include "adapters/adapter.h"
#include "micro/skipped.hpp"
#include "support/bench.h"

namespace {

template <typename Condition>
void wait_until(Condition condition) {
  for (int spins = 0; !condition(); spins++) {
    if (spins >= 1000) {
      sched_yield();
      spins = 0;
    }
  }
}

/* A ring with one writer and one reader; an entry is a batch of blocks. */
class Ring {
 public:
  static constexpr uint32_t ENTRIES = 64;
  static constexpr int MAX_BATCH = 64;

  void **begin_write() {
    uint32_t at = head_.load(std::memory_order_relaxed);
    wait_until([&] { return at - tail_.load(std::memory_order_acquire) < ENTRIES; });
    return entries_[at % ENTRIES];
  }
  void end_write() { head_.fetch_add(1, std::memory_order_release); }

  /* NULL once the writer has closed the ring and everything was read. */
  void **begin_read() {
    uint32_t at = tail_.load(std::memory_order_relaxed);
    wait_until([&] {
      return head_.load(std::memory_order_acquire) != at ||
             closed_.load(std::memory_order_acquire);
    });
    if (head_.load(std::memory_order_acquire) == at) return nullptr;
    return entries_[at % ENTRIES];
  }
  void end_read() { tail_.fetch_add(1, std::memory_order_release); }

  void close() { closed_.store(true, std::memory_order_release); }

 private:
  alignas(128) std::atomic<uint32_t> head_{0};
  alignas(128) std::atomic<uint32_t> tail_{0};
  alignas(128) std::atomic<bool> closed_{false};
  void *entries_[ENTRIES][MAX_BATCH];
};

/* Measures blocks that are always freed by another thread than the one that
 * allocated them: one thread allocates batches of blocks of 16 to 256 bytes,
 * the other frees them; in batches of 64, and one by one. */
void producer_consumer(benchmark::State &state) {
  int batch = static_cast<int>(state.range(0));
  Ring ring;
  std::thread consumer([&] {
    while (void **blocks = ring.begin_read()) {
      for (int i = 0; i < batch; i++) bench_free(blocks[i]);
      ring.end_read();
    }
  });
  uint64_t random = bench_seed(0);
  for (auto _ : state) {
    void **blocks = ring.begin_write();
    for (int i = 0; i < batch; i++) {
      blocks[i] = bench_alloc(bench_range(&random, 16, 256));
      *static_cast<char *>(blocks[i]) = 1;
    }
    ring.end_write();
  }
  ring.close();
  consumer.join();
  state.SetItemsProcessed(state.iterations() * batch);
}

/* Lets all of a fixed number of threads through together, any number of times. */
class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait() {
    int round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    wait_until([&] { return round_.load(std::memory_order_acquire) != round; });
  }

 private:
  const int threads_;
  alignas(128) std::atomic<int> arrived_{0};
  alignas(128) std::atomic<int> round_{0};
};

/* Measures a server's habit, after Larson and Krishnan: two threads replace
 * blocks of 16 to 1,024 bytes in sets of 5,000, and swap the sets every 50,000
 * operations, so that half of what a thread frees was allocated by the other. */
void larson(benchmark::State &state) {
  constexpr int THREADS = 2, SLOTS = 5000, ROUND = 50000;
  std::vector<char *> sets[THREADS];
  for (auto &set : sets) {
    for (int i = 0; i < SLOTS; i++) set.push_back(static_cast<char *>(bench_alloc(64)));
  }
  Barrier barrier(THREADS);
  std::atomic<bool> stop{false};
  auto churn = [&](std::vector<char *> &set, uint64_t *random) {
    for (int i = 0; i < ROUND; i++) {
      char *&slot = set[bench_range(random, 0, SLOTS - 1)];
      bench_free(slot);
      slot = static_cast<char *>(bench_alloc(bench_range(random, 16, 1024)));
      *slot = 1;
    }
  };
  std::thread second([&] {
    uint64_t random = bench_seed(1);
    for (unsigned round = 0;; round++) {
      barrier.wait();
      if (stop.load(std::memory_order_relaxed)) return;
      churn(sets[(round + 1) % THREADS], &random);
      barrier.wait();
    }
  });
  uint64_t random = bench_seed(0);
  unsigned round = 0;
  for (auto _ : state) {
    barrier.wait();
    churn(sets[round++ % THREADS], &random);
    barrier.wait();
  }
  stop.store(true, std::memory_order_relaxed);
  barrier.wait();
  second.join();
  for (auto &set : sets) {
    for (char *block : set) bench_free(block);
  }
  state.SetItemsProcessed(state.iterations() * ROUND);
}

const bool registered = [] {
  if (BENCH_SINGLE_THREAD) {
    for (const char *name : {"producer_consumer/64", "producer_consumer/1", "larson/2"}) {
      skipped().push_back(std::string(name) + " one thread only");
    }
    return false;
  }
  using benchmark::RegisterBenchmark;
  RegisterBenchmark("producer_consumer", producer_consumer)
      ->Arg(64)
      ->Arg(1)
      ->UseRealTime();
  RegisterBenchmark("larson", larson)->Arg(2)->UseRealTime();
  return true;
}();

}  // namespace
