/* cxx.cc - the same through what C++ has over hakmem. */
#include "blocks.h"

#include <hakmem/hakmem.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

template <class T>
using vector = std::vector<T, hak::allocator<T>>;

APART int read_at(const volatile int *p) { return *p; }

APART void cxx_uaf_vector() {
  vector<int> v(100, 1);
  const int *first = v.data();
  v.resize(10000);
  read_at(first);
}
APART void cxx_over_vector() {
  vector<int> v(100, 1);
  read_at(v.data() + 100);
}
APART void cxx_uaf_heap() {
  const int *first;
  {
    hak::heap heap;
    std::vector<int, hak::heap_allocator<int>> v(hak::heap_allocator<int>(heap.get()));
    v.assign(100, 1);
    first = v.data();
  }
  read_at(first);
}
APART void cxx_leak() {
  hak::allocator<int> allocator;
  int *volatile p = allocator.allocate(100);
  *p = 1;
  p = nullptr;
}

APART void cxx_containers() {
  using string = std::basic_string<char, std::char_traits<char>, hak::allocator<char>>;
  std::map<int, string, std::less<int>, hak::allocator<std::pair<const int, string>>> map;
  for (int i = 0; i < 200; i++) map[i] = string(static_cast<size_t>(i), 'x');
  for (int i = 0; i < 200; i += 2) map.erase(i);
  CHECK(map[51].size() == 51);
}
APART void cxx_heap() {
  hak::heap heap;
  std::vector<int, hak::heap_allocator<int>> v(hak::heap_allocator<int>(heap.get()));
  for (int i = 0; i < 1000; i++) v.push_back(i);
  CHECK(v[999] == 999);
}
APART void cxx_shared() {
  auto p = std::allocate_shared<int>(hak::allocator<int>(), 7);
  std::shared_ptr<int> q = p;
  p.reset();
  CHECK(*q == 7);
}

extern "C" const case_t cxx_cases[] = {
    {"cxx_uaf_vector", cxx_uaf_vector, "heap-use-after-free", "read_at cxx_uaf_vector"},
    {"cxx_over_vector", cxx_over_vector, "heap-buffer-overflow",
     "read_at cxx_over_vector"},
    {"cxx_uaf_heap", cxx_uaf_heap, "heap-use-after-free", "read_at cxx_uaf_heap"},
    {"cxx_leak", cxx_leak, "detected memory leaks", "cxx_leak"},
    {"cxx_containers", cxx_containers, nullptr, ""},
    {"cxx_heap", cxx_heap, nullptr, ""},
    {"cxx_shared", cxx_shared, nullptr, ""},
    {nullptr, nullptr, nullptr, nullptr}};
