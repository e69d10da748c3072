/* resource.cc - hak::memory_resource beneath the containers of std::pmr. */
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "cxx.hpp"

#if !HAK_HAS_MEMORY_RESOURCE
#error "the standard library has no <memory_resource>"
#endif

namespace {

void resource__containers_and_what_they_hold_lie_in_the_heap(void **) {
  hak::heap heap;
  hak::memory_resource resource(heap);
  CHECK(resource.heap() == heap.get());
  std::uint64_t elsewhere = live(hak_heap_default());
  {
    std::pmr::map<int, std::pmr::vector<std::pmr::string>> shelves(&resource);
    std::pmr::unordered_map<std::pmr::string, int> index(&resource);
    std::pmr::list<wide> wides(&resource);
    for (int i = 0; i < 200; i++) {
      shelves[i % 10].emplace_back("a text that is too long to lie in the string");
      index.emplace(std::to_string(i) + " makes a key that is long enough", i);
      wides.emplace_back(i);
    }
    CHECK(lies_in(shelves[3][7].data(), heap.get()));
    CHECK(lies_in(&wides.back(), heap.get()));
    CHECK(live(heap.get()) > 800);
    CHECK_EQ(live(hak_heap_default()), elsewhere);
  }
  CHECK_EQ(live(heap.get()), 0);
}

void resource__containers_keep_their_heap_when_they_are_moved_to(void **) {
  hak::heap a, b;
  hak::memory_resource in_a(a), in_b(b), also_a(a);
  {
    std::pmr::vector<int> from({1, 2, 3}, &in_a), same({4}, &also_a), to({5}, &in_b);
    const int *data = from.data();
    same = std::move(from);
    CHECK(same.data() == data); /* equal resources: the block changes hands */
    to = std::move(same);
    CHECK(lies_in(to.data(), b.get()) && to.size() == 3 && to[2] == 3);
    std::pmr::vector<int> copy(to);
    CHECK(copy == to && copy.get_allocator().resource() != &in_b);
  }
  CHECK_EQ(live(a.get()), 0);
  CHECK_EQ(live(b.get()), 0);
}

void resource__is_equal_where_the_heap_is(void **) {
  hak::heap a, b;
  hak::memory_resource in_a(a), also_a(a.get()), in_b(b), none, null(nullptr),
      by_name(hak_heap_default());
  CHECK(in_a.is_equal(in_a) && in_a.is_equal(also_a) && in_a == also_a);
  CHECK(!in_a.is_equal(in_b) && in_a != in_b && !none.is_equal(in_b));
  CHECK(none.is_equal(null) && none.is_equal(by_name) && by_name.is_equal(null));
  CHECK(!in_a.is_equal(*std::pmr::new_delete_resource()));
  CHECK(!std::pmr::new_delete_resource()->is_equal(in_a));
  static_assert(!std::is_constructible<hak::memory_resource, hak::heap>::value,
                "a temporary heap would be gone before its blocks");
}

void resource__gives_every_size_and_alignment(void **) {
  hak::heap heap;
  hak::memory_resource in_heap(heap), in_default;
  std::uint64_t before = live(hak_heap_default());
  for (std::pmr::memory_resource *resource : {&in_heap, &in_default}) {
    for (std::size_t alignment = 1; alignment <= 4096; alignment *= 2) {
      for (std::size_t size : {0, 1, 3, 8, 16, 24, 100, 5000, 70000, 3000000}) {
        void *block = resource->allocate(size, alignment);
        CHECK_EQ(reinterpret_cast<std::uintptr_t>(block) % alignment, 0);
        CHECK(hak_usable_size(block) >= size);
        std::memset(block, 0x5a, size);
        resource->deallocate(block, size, alignment);
      }
    }
  }
  CHECK_EQ(live(heap.get()), 0);
  CHECK_EQ(live(hak_heap_default()), before);
}

void resource__feeds_those_of_the_standard(void **) {
  hak::heap heap;
  hak::memory_resource resource(heap);
  {
    std::pmr::monotonic_buffer_resource frame(&resource);
    std::pmr::unsynchronized_pool_resource pool(&frame);
    std::pmr::vector<std::pmr::string> texts(&pool);
    for (int i = 0; i < 500; i++) texts.emplace_back(60, 'x');
    CHECK(lies_in(texts.data(), heap.get()) || hak_ptr_info(texts.data(), nullptr) != 0);
    CHECK(live(heap.get()) > 0);
  }
  CHECK_EQ(live(heap.get()), 0);
}

void resource__throws_when_no_size_could_be_had(void **) {
  hak::heap heap;
  hak::memory_resource resource(heap);
  int caught = 0;
  for (std::size_t alignment : {8, 64}) {
    try {
      (void)resource.allocate(test_opaque(SIZE_MAX), alignment);
    } catch (const std::bad_alloc &) {
      caught++;
    }
  }
  CHECK_EQ(caught, 2);
}

} /* namespace */

TEST_MAIN(TEST(resource__containers_and_what_they_hold_lie_in_the_heap),
          TEST(resource__containers_keep_their_heap_when_they_are_moved_to),
          TEST(resource__is_equal_where_the_heap_is),
          TEST(resource__gives_every_size_and_alignment),
          TEST(resource__feeds_those_of_the_standard),
          TEST(resource__throws_when_no_size_could_be_had))
