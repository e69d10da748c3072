/* no_exceptions.cc - compiled with -fno-exceptions and -fno-rtti: all works but out of
 * memory, which says so and aborts; the functions named try_ go on. */
#include <string>
#include <vector>

#include "cxx.hpp"

#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "to be compiled without exceptions and RTTI"
#endif

namespace {

constexpr std::size_t most = static_cast<std::size_t>(-1);

struct base {
  virtual ~base() {}
};
struct cache {
  virtual ~cache() {}
};
struct derived : cache, base {};

void no_exceptions__everything_else_works(void **) {
  hak::heap heap;
  std::uint64_t before = live(nullptr);
  {
    std::vector<int, hak::heap_allocator<int>> numbers(heap);
    numbers.assign(1000, 5);
    std::vector<wide, hak::allocator<wide>> wides(10);
    hak::unique_ptr<base> object = hak::make_unique_in<derived>(heap);
    hak::unique_ptr<int[]> array = hak::make_unique<int[]>(10);
    CHECK_EQ(live(heap.get()), 2);
#if HAK_HAS_MEMORY_RESOURCE
    hak::memory_resource resource(heap), another(heap);
    std::pmr::string text("a text that is too long to lie in the string", &resource);
    CHECK(lies_in(text.data(), heap.get()));
    CHECK(resource.is_equal(resource) && !resource.is_equal(another));
#endif
  }
  CHECK_EQ(live(nullptr), before);
  CHECK_EQ(live(heap.get()), 0);
}

void no_exceptions__what_is_named_try_goes_on(void **) {
  CHECK(hak::try_make_unique<int[]>(test_opaque(most / 8)) == nullptr);
  CHECK(hak::try_make_unique<int[]>(test_opaque(most / 2)) == nullptr);
  hak_heap_config_t config = hak::heap_config();
  config.struct_size = 3;
  CHECK(!hak::heap::try_create(&config));
}

int too_much(void *) {
  hak::allocator<char> bytes;
  return bytes.allocate(test_opaque(most / 2)) != nullptr;
}
int too_many(void *) {
  hak::allocator<int> numbers;
  return numbers.allocate(test_opaque(most / 2)) != nullptr;
}
int bad_config(void *) {
  hak_heap_config_t config = hak::heap_config();
  config.struct_size = 3;
  hak::heap heap(config);
  return 0;
}

void no_exceptions__what_would_throw_says_so_and_aborts(void **) {
  test_child_must_abort(too_much, nullptr,
                        "hakmem: out of memory, in a program without exceptions",
                        nullptr);
  test_child_must_abort(
      too_many, nullptr,
      "hakmem: too many objects asked for, in a program without exceptions", nullptr);
  test_child_must_abort(
      bad_config, nullptr,
      "hakmem: bad configuration of a heap, in a program without exceptions", nullptr);
}

} /* namespace */

TEST_MAIN(TEST(no_exceptions__everything_else_works),
          TEST(no_exceptions__what_is_named_try_goes_on),
          TEST(no_exceptions__what_would_throw_says_so_and_aborts))
