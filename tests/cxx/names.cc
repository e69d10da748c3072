/* names.cc - blocks for objects of a type count for one place, which has its name. */
#include <hakmem/sites.h>

#include <cstring>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "cxx.hpp"

namespace {

struct here {
  int x[3];
};
struct derived : here {};

template <class T>
const char *name_of() {
  return hak::site_of<T>()->name;
}
template <class T>
std::uint64_t count_of() {
  return hak_site_count(hak::site_of<T>());
}

void names__are_those_of_the_types(void **) {
  CHECK(std::strcmp(name_of<int>(), "int") == 0);
  CHECK(std::strcmp(name_of<const int>(), "int") == 0);
  CHECK(std::strcmp(name_of<void *>(), "void*") == 0 ||
        std::strcmp(name_of<void *>(), "void *") == 0);
  CHECK(std::strstr(name_of<here>(), "here") != nullptr);
  CHECK(std::strstr(name_of<std::vector<here>>(), "vector<") != nullptr);
  CHECK(hak::site_of<int>() == hak::site_of<const int>());
  CHECK(hak::site_of<here>() != hak::site_of<derived>());
}

void names__that_are_long_are_cut(void **) {
  using longer =
      std::map<std::string, std::map<std::string, std::map<std::string, std::string>>>;
  std::size_t length = std::strlen(name_of<longer>());
  CHECK(length > 60 && length < 100);
}

void allocators__count_for_the_type(void **) {
  hak::heap heap;
  hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1); /* counts are exact */
  std::uint64_t before = count_of<here>();
  {
    std::vector<here, hak::allocator<here>> a(10);
    std::vector<here, hak::heap_allocator<here>> b(10, here(), heap);
    hak::unique_ptr<here> c = hak::make_unique<here>();
    hak::unique_ptr<here[]> d = hak::make_unique_in<here[]>(heap, 5);
    hak::unique_ptr<here> e = hak::try_make_unique<here>();
    CHECK(!a.empty() && !b.empty() && c && d && e);
  }
  CHECK_EQ(count_of<here>() - before, 5);
  CHECK_EQ(count_of<derived>(), 0);
}

void sites__calls_may_name_the_namespace(void **) {
  void *block = ::hak_alloc(10);
  block = ::hak_realloc(block, 1000);
  CHECK(block != nullptr);
  hak_free(block);
  auto in_a_lambda = []() { return hak_strdup("text"); };
  char *text = in_a_lambda();
  CHECK(std::strcmp(text, "text") == 0);
  hak_free(text);
}

void resource__counts_for_the_record_that_it_was_given(void **) {
#if HAK_HAS_MEMORY_RESOURCE
  HAK_SITE(records);
  hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1);
  hak::heap heap;
  hak::memory_resource named(heap, &records), other(heap);
  CHECK(named == other);
  std::pmr::vector<int> a(100, 1, &named);
  std::pmr::vector<int> b(100, 1, &other);
  CHECK_EQ(hak_site_count(&records), 1);
#endif
}

} /* namespace */

TEST_MAIN(TEST(names__are_those_of_the_types), TEST(names__that_are_long_are_cut),
          TEST(allocators__count_for_the_type), TEST(sites__calls_may_name_the_namespace),
          TEST(resource__counts_for_the_record_that_it_was_given))
