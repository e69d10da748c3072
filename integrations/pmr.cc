/* pmr.cc - containers of std::pmr, and a pool of the standard's, over a heap. */
#include <hakmem/hakmem.hpp>
#include <list>
#include <map>
#include <memory_resource>
#include <string>

#include "measure.h"

static std::string work(std::pmr::memory_resource *memory) {
  std::pmr::unsynchronized_pool_resource pool(memory);
  std::pmr::map<int, std::pmr::list<std::pmr::string>> texts(&pool);
  for (int i = 0; i < 3000; i++) {
    texts[i * 31 % 97].emplace_back(std::size_t(i % 80), char('a' + i % 26));
    if (i % 5 == 0) texts.erase(i % 89);
  }
  std::string result;
  for (const auto &entry : texts) result.append(entry.second.front()).append(1, ';');
  return result;
}

static void measure_rounds_over(std::pmr::memory_resource *memory, unsigned long rounds) {
  for (unsigned long i = 0; i < rounds; i++) {
    long from = measure_now();
    work(memory);
    measure_round(from);
  }
}

static int measure(unsigned long rounds) {
  if (!measure_is_ours()) {
    measure_rounds_over(std::pmr::new_delete_resource(), rounds);
    return measure_end("pmr", 0);
  }
  hak::heap heap;
  hak::memory_resource memory(heap);
  measure_rounds_over(&memory, rounds);
  hak_stats_t stats = HAK_STATS_INIT;
  if (hak_stats_get(heap.get(), &stats) != 0) return 1;
  return measure_end("pmr", stats.peak_committed_bytes);
}

int main() {
  if (measure_rounds() > 0) return measure(measure_rounds());
  std::string expected = work(std::pmr::new_delete_resource()), result;
  for (std::size_t limit = 64 << 10;; limit += limit / 4) {
    /* glue: a heap with a name and a budget, and a resource over it. */
    hak_heap_config_t config = hak::heap_config();
    config.name = "pmr";
    config.hard_limit = limit;
    hak::heap heap(config);
    hak::memory_resource memory(heap);
    /* glue end */
    bool refused = false;
    try {
      result = work(&memory);
    } catch (const std::bad_alloc &) {
      refused = true;
    }
    hak_stats_t stats = HAK_STATS_INIT;
    if (hak_stats_get(heap.get(), &stats) != 0 || stats.live_blocks != 0 ||
        stats.peak_committed_bytes > limit) {
      return 1;
    }
    std::printf("pmr: within %zu KiB: %s\n", limit >> 10,
                refused ? "std::bad_alloc" : "the result is new's");
    if (!refused) break;
  }
  return result == expected ? 0 : 1;
}
