/* containers.cc - the standard's containers over hak::allocator and
 * hak::heap_allocator: where their blocks lie, and what moves, swaps and copies do. */
#include <atomic>
#include <deque>
#include <forward_list>
#include <list>
#include <map>
#include <mutex>
#include <scoped_allocator>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cxx.hpp"

namespace {

std::atomic<unsigned> g_news;

} /* namespace */

/* Not to be used by any container over hakmem. Out of line, for a compiler that sees
 * free() in them takes it for a mistake. */
__attribute__((noinline)) void *operator new(std::size_t size) {
  g_news++;
  void *block = std::malloc(size == 0 ? 1 : size);
  if (block == nullptr) throw std::bad_alloc();
  return block;
}
__attribute__((noinline)) void operator delete(void *block) noexcept { std::free(block); }
__attribute__((noinline)) void operator delete(void *block, std::size_t) noexcept {
  std::free(block);
}

namespace {

template <class T>
using in_heap = hak::heap_allocator<T>;
template <class T>
using in_hakmem = hak::allocator<T>;

template <template <class> class A>
struct kinds {
  using pair = std::pair<const int, int>;
  using vector = std::vector<int, A<int>>;
  using wides = std::vector<wide, A<wide>>;
  using bits = std::vector<bool, A<bool>>;
  using deque = std::deque<int, A<int>>;
  using list = std::list<int, A<int>>;
  using forward_list = std::forward_list<int, A<int>>;
  using string = std::basic_string<char, std::char_traits<char>, A<char>>;
  using set = std::set<int, std::less<int>, A<int>>;
  using map = std::map<int, int, std::less<int>, A<pair>>;
  using unordered_set =
      std::unordered_set<int, std::hash<int>, std::equal_to<int>, A<int>>;
  using unordered_map =
      std::unordered_map<int, int, std::hash<int>, std::equal_to<int>, A<pair>>;
};

/* ---- The same operations on every container --------------------------- */

template <class C>
auto put(C &c, int i, int) -> decltype(c.push_back(typename C::value_type(i)), void()) {
  c.push_back(typename C::value_type(i));
}
template <class C>
auto put(C &c, int i, int) -> decltype(c.push_front(i), c.before_begin(), void()) {
  c.push_front(i);
}
template <class C>
auto put(C &c, int i, int) -> decltype(c.insert(i), typename C::key_type(), void()) {
  c.insert(i);
}
template <class C>
auto put(C &c, int i, int) -> decltype(typename C::mapped_type(), void()) {
  c[i] = i * 2;
}

constexpr int many = 1000; /* more than any container keeps in itself */

template <class C>
void fill(C &c, int from) {
  for (int i = from; i < from + many; i++) put(c, i, 0);
}

template <class C>
hak_heap_t *home(const C &c) {
  return c.get_allocator().heap();
}

template <class C>
void check_all_of_it(const hak::heap &a, const hak::heap &b) {
  using allocator = typename C::allocator_type;
  const allocator in_a(a), in_b(b);
  unsigned news = g_news;
  std::uint64_t elsewhere = live(hak_heap_default());
  {
    C first(in_a);
    fill(first, 0);
    CHECK(home(first) == a.get());
    std::uint64_t held = live(a.get());
    CHECK(held > 0);

    C copy(first);
    CHECK(home(copy) == a.get() && copy == first);
    CHECK(live(a.get()) > held);
    C copy_in_b(first, in_b);
    CHECK(home(copy_in_b) == b.get() && copy_in_b == first);
    CHECK(live(b.get()) > 0);

    held = live(a.get());
    C moved(std::move(copy));
    CHECK(home(moved) == a.get() && moved == first);
    CHECK(live(a.get()) >= held);
    C moved_to_b(std::move(moved), in_b);
    CHECK(home(moved_to_b) == b.get() && moved_to_b == first);

    C target(in_b);
    fill(target, many);
    target = first;
    CHECK(home(target) == b.get() && target == first);

    C taker(in_b);
    fill(taker, 2 * many);
    C second(first);
    taker = std::move(second);
    CHECK(home(taker) == a.get() && taker == first);

    C other(in_b);
    fill(other, many);
    const C other_copy(other);
    using std::swap;
    swap(taker, other);
    CHECK(home(taker) == b.get() && home(other) == a.get());
    CHECK(taker == other_copy && other == first);
    fill(taker, 3 * many);
    fill(other, 3 * many);
    swap(other, other);
    CHECK(home(other) == a.get());

    first.clear();
    fill(first, 5);
  }
  CHECK_EQ(live(a.get()), 0);
  CHECK_EQ(live(b.get()), 0);
  CHECK_EQ(live(hak_heap_default()), elsewhere);
  CHECK_EQ(g_news, news);
}

void containers__blocks_lie_in_the_heap_and_leave_with_it(void **) {
  hak::heap a, b;
  using k = kinds<in_heap>;
  check_all_of_it<k::vector>(a, b);
  check_all_of_it<k::wides>(a, b);
  check_all_of_it<k::bits>(a, b);
  check_all_of_it<k::deque>(a, b);
  check_all_of_it<k::list>(a, b);
  check_all_of_it<k::forward_list>(a, b);
  check_all_of_it<k::string>(a, b);
  check_all_of_it<k::set>(a, b);
  check_all_of_it<k::map>(a, b);
  check_all_of_it<k::unordered_set>(a, b);
  check_all_of_it<k::unordered_map>(a, b);
  CHECK_EQ(hak_check(nullptr), 0);
}

template <class C>
void check_default() {
  static_assert(std::is_empty<typename C::allocator_type>::value, "no state");
  std::uint64_t before = live(nullptr);
  unsigned news = g_news;
  {
    C first;
    fill(first, 0);
    CHECK(live(nullptr) > before);
    C copy(first), moved(std::move(first));
    CHECK(copy == moved);
    C target;
    target = copy;
    target = std::move(moved);
    using std::swap;
    swap(target, copy);
    CHECK(target == copy);
  }
  CHECK_EQ(live(nullptr), before);
  CHECK_EQ(g_news, news);
}

void containers__without_a_heap_lie_in_the_default_one(void **) {
  using k = kinds<in_hakmem>;
  check_default<k::vector>();
  check_default<k::wides>();
  check_default<k::bits>();
  check_default<k::deque>();
  check_default<k::list>();
  check_default<k::forward_list>();
  check_default<k::string>();
  check_default<k::set>();
  check_default<k::map>();
  check_default<k::unordered_set>();
  check_default<k::unordered_map>();
}

/* ---- What allocators promise ------------------------------------------ */

void allocator__traits_are_those_of_one_without_state(void **) {
  using traits = std::allocator_traits<hak::allocator<int>>;
  static_assert(traits::propagate_on_container_move_assignment::value, "");
  static_assert(std::is_same<traits::rebind_alloc<char>, hak::allocator<char>>::value,
                "");
  static_assert(std::is_trivially_destructible<hak::allocator<int>>::value, "");
  using k = kinds<in_hakmem>;
  static_assert(std::is_nothrow_move_assignable<k::vector>::value, "");
  static_assert(std::is_nothrow_move_constructible<k::list>::value, "");
  static_assert(sizeof(k::vector) == sizeof(std::vector<int>), "");
  CHECK(hak::allocator<int>() == hak::allocator<char>());
  CHECK(!(hak::allocator<int>() != hak::allocator<char>()));
}

void heap_allocator__traits_let_heaps_travel_with_blocks(void **) {
  using traits = std::allocator_traits<hak::heap_allocator<int>>;
  static_assert(traits::propagate_on_container_move_assignment::value, "");
  static_assert(traits::propagate_on_container_swap::value, "");
  static_assert(!traits::propagate_on_container_copy_assignment::value, "");
#if __cplusplus >= 201703L
  static_assert(!traits::is_always_equal::value, "");
#endif
  using k = kinds<in_heap>;
  static_assert(std::is_nothrow_move_assignable<k::vector>::value, "");
  static_assert(std::is_nothrow_move_assignable<k::string>::value, "");
  static_assert(std::is_nothrow_move_assignable<k::list>::value, "");
  static_assert(!std::is_default_constructible<hak::heap_allocator<int>>::value,
                "a heap has to be named");
  static_assert(!std::is_constructible<hak::heap_allocator<int>, hak::heap>::value,
                "a temporary heap would be gone before its blocks");
  hak::heap heap;
  hak::heap_allocator<int> in(heap);
  CHECK(traits::select_on_container_copy_construction(in) == in);
}

void heap_allocator__is_equal_where_the_heap_is(void **) {
  hak::heap a, b;
  hak::heap_allocator<int> in_a(a);
  hak::heap_allocator<double> also(a.get()), rebound(in_a), in_b(b);
  CHECK(in_a == also && in_a == rebound && in_a != in_b);
  hak::heap_allocator<int> none(nullptr), by_name(hak_heap_default());
  CHECK(none == by_name && by_name == none && none == none && none != in_a &&
        in_a != none);
}

void heap_allocator__takes_the_default_heap_too(void **) {
  std::uint64_t before = live(nullptr);
  std::vector<int, in_heap<int>> numbers(100, 7, nullptr);
  CHECK(lies_in(numbers.data(), hak_heap_default()));
  CHECK_EQ(live(nullptr), before + 1);
}

void heap_allocator__a_heap_is_named_by_its_owner(void **) {
  hak::heap heap;
  std::vector<int, in_heap<int>> numbers(heap);
  numbers.assign(100, 1);
  std::map<int, int, std::less<int>, in_heap<std::pair<const int, int>>> squares(
      std::less<int>(), heap);
  squares[3] = 9;
  CHECK(lies_in(numbers.data(), heap.get()));
  CHECK(lies_in(&*squares.begin(), heap.get()));
}

template <class A>
void check_sizes(A allocator) {
  using value = typename A::value_type;
  for (std::size_t count = 0; count < 40000; count = count * 2 + 1) {
    value *block = allocator.allocate(count);
    CHECK(block != nullptr);
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(block) % alignof(value), 0);
    CHECK(hak_usable_size(block) >= count * sizeof(value));
    std::memset(static_cast<void *>(block), 0x5a, count * sizeof(value));
    allocator.deallocate(block, count);
  }
}

struct alignas(16) sixteen {
  char bytes[16];
};
struct alignas(4096) page {
  char bytes[4096];
};

void allocator__gives_every_size_and_alignment(void **) {
  hak::heap heap;
  check_sizes(hak::allocator<char>());
  check_sizes(hak::allocator<double>());
  check_sizes(hak::allocator<wide>());
  check_sizes(hak::allocator<page>());
  check_sizes(hak::heap_allocator<char>(heap));
  check_sizes(hak::heap_allocator<wide>(heap));
  check_sizes(hak::heap_allocator<page>(heap));
  hak::allocator<sixteen>().deallocate(hak::allocator<sixteen>().allocate(1), 1);
  CHECK_EQ(live(heap.get()), 0);
}

/* ---- Containers of containers ----------------------------------------- */

template <class T>
using scoped = std::scoped_allocator_adaptor<hak::heap_allocator<T>>;
using text = std::basic_string<char, std::char_traits<char>, in_heap<char>>;
using texts = std::vector<text, scoped<text>>;
using library = std::map<int, texts, std::less<int>, scoped<std::pair<const int, texts>>>;

void heap_allocator__inner_containers_lie_in_the_same_heap(void **) {
  hak::heap heap;
  std::uint64_t elsewhere = live(hak_heap_default());
  {
    library shelves{scoped<std::pair<const int, texts>>(heap)};
    for (int i = 0; i < 100; i++) {
      shelves[i % 10].emplace_back("a text that is too long to lie in the string");
    }
    CHECK(lies_in(shelves[3][4].data(), heap.get()));
    CHECK(live(heap.get()) >= 120);
    CHECK_EQ(live(hak_heap_default()), elsewhere);
    library copy(shelves);
    CHECK(copy == shelves && lies_in(copy[3][4].data(), heap.get()));
  }
  CHECK_EQ(live(heap.get()), 0);
}

void heap_allocator__shares_objects_from_a_heap(void **) {
  hak::heap heap;
  {
    std::shared_ptr<wide> shared =
        std::allocate_shared<wide>(hak::heap_allocator<wide>(heap), 5);
    std::shared_ptr<wide> second(shared);
    CHECK_EQ(live(heap.get()), 1);
    std::shared_ptr<int> plain = std::allocate_shared<int>(hak::allocator<int>(), 6);
    CHECK_EQ(second->value + *plain, 11);
  }
  CHECK_EQ(live(heap.get()), 0);
}

/* ---- Random operations, against the standard's own --------------------- */

void containers__any_sequence_of_moves_swaps_and_copies_is_right(void **) {
  enum {
    SLOTS = 12,
    HEAPS = 3
  };
  using ours = std::vector<int, in_heap<int>>;
  hak::heap heaps[HEAPS];
  test_print_seed();
  test_rng_t rng = test_rng(test_seed(), 77);
  {
    std::vector<ours> real;
    std::vector<std::vector<int>> model(SLOTS);
    std::vector<hak_heap_t *> where;
    for (int i = 0; i < SLOTS; i++) {
      real.emplace_back(in_heap<int>(heaps[i % HEAPS]));
      where.push_back(heaps[i % HEAPS].get());
    }
    for (std::size_t step = 0; step < test_scale(20000); step++) {
      std::size_t i = test_below(&rng, SLOTS), j = test_below(&rng, SLOTS);
      switch (test_below(&rng, 6)) {
        case 0:
          real[i] = real[j];
          model[i] = model[j];
          break;
        case 1:
          if (i == j) break;
          real[i] = std::move(real[j]);
          real[j].clear();
          model[i] = model[j];
          model[j].clear();
          where[i] = where[j];
          break;
        case 2:
          swap(real[i], real[j]);
          std::swap(model[i], model[j]);
          std::swap(where[i], where[j]);
          break;
        case 3:
          real[i] = ours(real[j], heaps[0]);
          model[i] = model[j];
          where[i] = heaps[0].get();
          break;
        case 4:
          real[i].resize(test_below(&rng, 300), static_cast<int>(step));
          model[i].resize(real[i].size(), static_cast<int>(step));
          break;
        default:
          real[i].clear();
          real[i].shrink_to_fit();
          model[i].clear();
      }
      CHECK(real[i].size() == model[i].size() &&
            std::equal(real[i].begin(), real[i].end(), model[i].begin()));
      CHECK(home(real[i]) == where[i] && home(real[j]) == where[j]);
      CHECK(real[i].capacity() == 0 || lies_in(real[i].data(), where[i]));
    }
  }
  for (const hak::heap &heap : heaps) CHECK_EQ(live(heap.get()), 0);
}

/* ---- Threads ----------------------------------------------------------- */

void heap_allocator__containers_end_on_other_threads_than_they_grew_on(void **) {
  using list = std::list<text, scoped<text>>;
  hak::heap heap;
  {
    std::mutex lock;
    std::vector<list> waiting;
    auto work = [&](int id) {
      for (std::size_t i = 0; i < test_scale(400); i++) {
        list mine{scoped<text>(heap)};
        for (int k = 0; k < 20; k++) {
          mine.emplace_back(static_cast<std::size_t>(10 + 10 * k),
                            static_cast<char>('a' + id));
        }
        std::vector<list> theirs;
        {
          std::lock_guard<std::mutex> guard(lock);
          if (waiting.size() > 8) theirs.swap(waiting);
          waiting.push_back(std::move(mine));
        }
        for (const list &one : theirs) {
          for (const text &t : one) CHECK(t.size() >= 10 && t.front() == t.back());
        }
      }
      hak_thread_idle();
    };
    std::thread threads[4];
    for (int i = 0; i < 4; i++) threads[i] = std::thread(work, i);
    for (std::thread &thread : threads) thread.join();
  }
  CHECK_EQ(live(heap.get()), 0);
  CHECK_EQ(hak_check(heap.get()), 0);
}

} /* namespace */

TEST_MAIN(TEST(containers__blocks_lie_in_the_heap_and_leave_with_it),
          TEST(containers__without_a_heap_lie_in_the_default_one),
          TEST(allocator__traits_are_those_of_one_without_state),
          TEST(heap_allocator__traits_let_heaps_travel_with_blocks),
          TEST(heap_allocator__is_equal_where_the_heap_is),
          TEST(heap_allocator__takes_the_default_heap_too),
          TEST(heap_allocator__a_heap_is_named_by_its_owner),
          TEST(allocator__gives_every_size_and_alignment),
          TEST(heap_allocator__inner_containers_lie_in_the_same_heap),
          TEST(heap_allocator__shares_objects_from_a_heap),
          TEST(containers__any_sequence_of_moves_swaps_and_copies_is_right),
          TEST(heap_allocator__containers_end_on_other_threads_than_they_grew_on))
