// whole_program.hpp - what the two whole programs share: claims that are counted if they
// do not hold, and heaps with a name and a budget below another one.
#ifndef HAKMEM_WHOLE_PROGRAM_HPP
#define HAKMEM_WHOLE_PROGRAM_HPP

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <hakmem/hakmem.hpp>

namespace {

std::atomic<int> failures{0};

void check(bool holds, const char *claim) {
  if (holds) return;
  std::printf("FAIL: %s\n", claim);
  failures++;
}

hak_stats_t stats(hak_heap_t *heap) {
  hak_stats_t figures = HAK_STATS_INIT;
  check(hak_stats_get(heap, &figures) == 0, "statistics of a live heap");
  return figures;
}

hak::heap make_heap(const char *name, const hak::heap &parent, std::size_t limit,
                    std::uint32_t flags = 0) {
  hak_heap_config_t config = hak::heap_config();
  config.name = name;
  config.parent = parent ? parent.get() : nullptr;
  config.hard_limit = limit;
  config.flags = flags;
  return hak::heap(config);
}

}  // namespace

#endif
