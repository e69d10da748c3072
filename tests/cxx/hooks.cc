/* hooks.cc - allocators over a function that names the heap, the heap of a scope, owners
 * that begin empty, and blocks without a type. */
#include <hakmem/hooks.h>

#include <csignal>
#include <deque>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "cxx.hpp"

namespace {

hak::heap g_heap = nullptr; /* made when the program has begun */

hak_heap_t *the_heap() { return g_heap.get(); }

template <class T>
using of_the_heap = hak::allocator_of<T, the_heap>;
template <class T>
using of_the_scope = hak::allocator_of<T, hak_heap_current>;
using text = std::basic_string<char, std::char_traits<char>, of_the_heap<char>>;

HAK_DEFINE_HOOKS(lib, the_heap());

/* A template that makes its allocators itself, as JSON libraries and entity systems do.
 */
template <template <class> class Allocator>
struct tree {
  using traits = std::allocator_traits<Allocator<int>>;
  using node_allocator = typename traits::template rebind_alloc<tree>;

  static tree *make() {
    node_allocator allocator;
    tree *node = std::allocator_traits<node_allocator>::allocate(allocator, 1);
    std::allocator_traits<node_allocator>::construct(allocator, node);
    return node;
  }
  static void end(tree *node) {
    node_allocator allocator;
    std::allocator_traits<node_allocator>::destroy(allocator, node);
    std::allocator_traits<node_allocator>::deallocate(allocator, node, 1);
  }
  std::map<int, std::vector<wide, Allocator<wide>>, std::less<int>,
           Allocator<std::pair<const int, std::vector<wide, Allocator<wide>>>>>
      children;
};

void allocator_of__is_made_without_arguments(void **) {
  static_assert(std::is_empty<of_the_heap<int>>::value, "no state");
  static_assert(std::is_nothrow_default_constructible<of_the_heap<int>>::value, "");
  static_assert(std::is_same<std::allocator_traits<of_the_heap<int>>::rebind_alloc<char>,
                             of_the_heap<char>>::value,
                "");
  CHECK(of_the_heap<int>() == of_the_heap<char>());
  CHECK(!(of_the_heap<int>() != of_the_heap<char>()));
  g_heap = hak::heap();
  {
    std::vector<int, of_the_heap<int>> numbers(100, 1);
    CHECK(lies_in(numbers.data(), g_heap.get()));
    std::unordered_map<int, text, std::hash<int>, std::equal_to<int>,
                       of_the_heap<std::pair<const int, text>>>
        texts;
    for (int i = 0; i < 100; i++) texts[i] = "a text that does not fit into its object";
    CHECK(lies_in(texts[5].data(), g_heap.get()));
    auto copy = texts;
    auto moved = std::move(texts);
    CHECK(copy == moved);
    using node = tree<of_the_heap>;
    node *root = node::make();
    CHECK(lies_in(root, g_heap.get()));
    for (int i = 0; i < 10; i++) root->children[i].resize(10);
    CHECK(lies_in(root->children[3].data(), g_heap.get()));
    node::end(root);
  }
  CHECK_EQ(live(g_heap.get()), 0);
  g_heap = nullptr;
}

void allocator_of__blocks_go_back_where_they_came_from(void **) {
  hak::heap a, b;
  {
    std::list<int, of_the_scope<int>> numbers;
    {
      hak::heap_scope in_a(a);
      numbers.push_back(1);
      {
        hak::heap_scope in_b(b.get());
        numbers.push_back(2);
      }
      numbers.push_back(3);
    }
    numbers.push_back(4);
    CHECK(lies_in(&numbers.front(), a.get()));
    CHECK(lies_in(&*std::next(numbers.begin()), b.get()));
    CHECK(lies_in(&numbers.back(), hak_heap_default()));
    CHECK_EQ(live(a.get()), 2);
  }
  CHECK_EQ(live(a.get()), 0);
  CHECK_EQ(live(b.get()), 0);
  CHECK(hak_heap_current() == nullptr);
}

void heap__begins_empty_and_is_made_later(void **) {
  hak::heap heap = nullptr;
  CHECK(!heap && heap.get() == nullptr);
  CHECK_EQ(heap.reset(), EINVAL);
  heap = hak::heap(hak::heap_config());
  CHECK(heap.alloc(10) != nullptr);
  heap = nullptr;
  CHECK(!heap);
}

void heap__gives_and_takes_blocks_without_a_type(void **) {
  hak_heap_config_t config = hak::heap_config();
  config.hard_limit = 1 << 20;
  hak::heap heap(config);
  void *a = heap.alloc(100), *b = heap.alloc(100, 4096);
  CHECK(lies_in(a, heap.get()) && lies_in(b, heap.get()));
  CHECK_EQ(reinterpret_cast<std::uintptr_t>(b) % 4096, 0);
  CHECK(heap.alloc(2 << 20) == nullptr && errno == ENOMEM);
  heap.free(a);
  heap.free(b);
  heap.free(nullptr);
  CHECK_EQ(live(heap.get()), 0);
}

int empty_child(void *) {
  hak::heap heap = nullptr;
  heap.alloc(10);
  return 0;
}

void heap__that_is_empty_gives_no_blocks(void **) {
  test_child_t child = test_child_run(empty_child, nullptr, 60);
  CHECK_EQ(child.signal, SIGABRT);
  CHECK(std::strstr(child.output, "a hak::heap is used that is empty") != nullptr);
}

void hooks__are_functions_of_any_library(void **) {
  g_heap = hak::heap();
  void *(*give)(std::size_t) = lib_malloc;
  void (*take)(void *) = lib_free;
  void *block = give(100);
  CHECK(lies_in(block, g_heap.get()));
  take(block);
  g_heap = nullptr;
}

} /* namespace */

TEST_MAIN(TEST(allocator_of__is_made_without_arguments),
          TEST(allocator_of__blocks_go_back_where_they_came_from),
          TEST(heap__begins_empty_and_is_made_later),
          TEST(heap__gives_and_takes_blocks_without_a_type),
          TEST(heap__that_is_empty_gives_no_blocks),
          TEST(hooks__are_functions_of_any_library))
