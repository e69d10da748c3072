/* cxx.hpp - what the tests of hakmem.hpp share. Included last: cmocka has a
 * macro `fail`. */
#ifndef HAKMEM_TEST_CXX_HPP
#define HAKMEM_TEST_CXX_HPP

#include <hakmem/hakmem.hpp>

#include <cstdint>
#include <cstring>

#include "child.h"
#include "strict_os.h"

/* Blocks of the heap that the program holds. */
inline std::uint64_t live(hak_heap_t *heap) {
  hak_stats_t stats;
  std::memset(&stats, 0, sizeof stats);
  stats.struct_size = sizeof stats;
  CHECK_EQ(hak_stats_get(heap, &stats), 0);
  return stats.live_blocks;
}

inline bool lies_in(const void *block, hak_heap_t *heap) {
  return hak_heap_of(block) == heap;
}

/* A cache line and more: what no block has by itself. */
struct alignas(128) wide {
  wide(int v = 0) : value(v) {
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(this) % alignof(wide), 0);
  }
  wide(const wide &other) : wide(other.value) {}
  wide &operator=(const wide &) = default;
  friend bool operator==(const wide &a, const wide &b) { return a.value == b.value; }
  friend bool operator<(const wide &a, const wide &b) { return a.value < b.value; }

  int value;
};

#endif /* HAKMEM_TEST_CXX_HPP */
