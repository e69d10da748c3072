// use.cpp - the header and the library from C++.
#include <hakmem/hakmem.h>

#include <cstdio>
#include <new>
#include <string>

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
  return 0;
}
