// use.cpp - the headers and the library from C++.
#include <hakmem/hakmem.hpp>

#include <cstdio>
#include <new>
#include <string>
#include <vector>

int main() {
  void *place = hak_aligned_alloc(alignof(std::string), sizeof(std::string));
  if (place == nullptr) return 1;
  std::string *text = new (place) std::string("hello from C++");
  std::puts(text->c_str());
  text->~basic_string();
  hak_free_aligned_sized(place, alignof(std::string), sizeof(std::string));
  void *named = hak_alloc_at(64, HAK_CALLSITE());
  if (named == nullptr) return 2;
  hak_free(named);
  hak::heap heap;
  std::vector<int, hak::heap_allocator<int>> numbers(100, 7, heap);
  if (hak_heap_of(numbers.data()) != heap.get()) return 3;
  hak::unique_ptr<int[]> zeros = hak::make_unique<int[]>(10);
  return zeros[9];
}
