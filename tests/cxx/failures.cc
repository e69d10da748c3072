/* failures.cc - out of memory at each of the first calls of the hooks, absurd counts,
 * and heaps that are gone: exceptions, and nothing lost. */
#include <cerrno>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "cxx.hpp"

namespace {

template <class T>
using in_heap = hak::heap_allocator<T>;
using text = std::basic_string<char, std::char_traits<char>, in_heap<char>>;

/* What a program does; whatever is thrown, all it held is given back. */
void work(hak_heap_t *heap) {
  std::map<int, wide, std::less<int>, in_heap<std::pair<const int, wide>>> map(
      std::less<int>(), heap);
  std::unordered_map<int, int, std::hash<int>, std::equal_to<int>,
                     in_heap<std::pair<const int, int>>>
      table(8, std::hash<int>(), std::equal_to<int>(), heap);
  std::vector<text, in_heap<text>> texts(heap);
  std::list<int, in_heap<int>> list(heap);
  for (int i = 0; i < 300; i++) {
    map.emplace(i, i);
    table[i] = i;
    texts.push_back(text(static_cast<std::size_t>(i * 40), 'x', heap));
    list.push_back(i);
  }
  hak::unique_ptr<text[]> none;
  hak::unique_ptr<wide[]> wides = hak::make_unique_in<wide[]>(heap, 20000);
  std::vector<char, in_heap<char>> large(heap);
  large.resize(5 << 20);
  std::vector<text, in_heap<text>> copy(texts);
  CHECK(copy == texts);
}

int failing_child(void *ctx) {
  static test_os_t os;
  std::uint64_t n = *static_cast<std::uint64_t *>(ctx);
  test_os_open(&os, 0);
  CHECK_EQ(test_os_init(&os), 0);
  hak::heap heap;
  bool thrown = false;
  test_os_fail(&os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, n);
  try {
    work(heap.get());
  } catch (const std::bad_alloc &) {
    thrown = true;
  }
  CHECK_EQ(live(heap.get()), 0);
  bool is_made = static_cast<bool>(hak::heap::try_create());
  try {
    hak::heap another;
    CHECK(is_made); /* the hooks get no better by themselves */
  } catch (const std::bad_alloc &) {
    CHECK(thrown);
  }
  test_os_fail(&os, TEST_FAIL_NONE, 0, 0);
  work(heap.get());
  CHECK_EQ(live(heap.get()), 0);
  CHECK_EQ(hak_check(nullptr), 0);
  return thrown ? 0 : 100;
}

void failures__at_any_call_are_exceptions_and_nothing_is_lost(void **) {
  unsigned thrown = 0;
  for (std::uint64_t n = 1; n < 60; n += 1 + n / 5) {
    test_child_t child = test_child_run(failing_child, &n, 60);
    CHECK_MSG(!child.timed_out && child.signal == 0 &&
                  (child.status == 0 || child.status == 100),
              "n = %d: %s", static_cast<int>(n), child.output);
    if (child.status == 100) break; /* so many calls were not made */
    thrown++;
  }
  CHECK(thrown > 5);
}

constexpr std::size_t most = static_cast<std::size_t>(-1);

template <class Exception, class Call>
bool throws(Call call) {
  try {
    call();
  } catch (const Exception &exception) {
    return typeid(exception) == typeid(Exception);
  }
  return false;
}

template <class A>
void check_absurd(A a) {
  const std::size_t size = sizeof(typename A::value_type);
  CHECK(throws<std::bad_alloc>([&] { (void)a.allocate(test_opaque(most / size)); }));
  CHECK(throws<std::bad_alloc>([&] { (void)a.allocate(test_opaque(most / size / 2)); }));
  if (size == 1) return;
  for (std::size_t count : {most / size + 1, most / 2 + 2, most}) {
    CHECK(
        throws<std::bad_array_new_length>([&] { (void)a.allocate(test_opaque(count)); }));
  }
}

void failures__absurd_counts_are_exceptions(void **) {
  hak::heap heap;
  check_absurd(hak::allocator<char>());
  check_absurd(hak::allocator<int>());
  check_absurd(hak::allocator<wide>());
  check_absurd(hak::heap_allocator<char>(heap));
  check_absurd(hak::heap_allocator<int>(heap));
  check_absurd(hak::heap_allocator<wide>(heap));
  CHECK(throws<std::bad_array_new_length>(
      [] { hak::make_unique<int[]>(test_opaque(most / 2)); }));
  CHECK(throws<std::bad_alloc>([] { hak::make_unique<int[]>(test_opaque(most / 8)); }));
  CHECK(throws<std::bad_array_new_length>(
      [&] { hak::make_unique_in<int[]>(heap, test_opaque(most / 2)); }));
  CHECK(hak::try_make_unique<int[]>(test_opaque(most / 2)) == nullptr);
  CHECK(hak::try_make_unique<int[]>(test_opaque(most / 8)) == nullptr);
  CHECK(hak::try_make_unique_in<int[]>(heap, test_opaque(most / 2)) == nullptr);
  CHECK(hak::try_make_unique_in<int[]>(heap, test_opaque(most / 8)) == nullptr);
  CHECK_EQ(live(heap.get()), 0);
}

void failures__a_heap_that_is_gone_is_reported_and_thrown(void **) {
  test_reports_t reports = {};
  hak_set_error_handler(test_count_report, &reports);
  hak::heap heap;
  hak::heap_allocator<int> in(heap);
  CHECK_EQ(heap.destroy(), 0);
  CHECK(throws<std::bad_alloc>([&] { (void)in.allocate(10); }));
  CHECK_EQ(reports.count, 1);
  CHECK_EQ(reports.last.error, HAK_ERROR_STALE_HEAP);
  CHECK(hak::try_make_unique_in<int>(in.heap(), 5) == nullptr);
  CHECK_EQ(reports.count, 2);
  hak_set_error_handler(nullptr, nullptr);
}

void failures__a_container_that_outlives_its_heap_is_reported(void **) {
  test_reports_t reports = {};
  hak_set_error_handler(test_count_report, &reports);
  {
    hak::heap heap;
    std::vector<int, in_heap<int>> numbers(heap);
    numbers.assign(1000, 1);
    CHECK_EQ(heap.destroy(), 0);
  }
  CHECK_EQ(reports.count, 1);
  CHECK_EQ(reports.last.error, HAK_ERROR_DOUBLE_FREE);
  hak_set_error_handler(nullptr, nullptr);
}

void failures__a_wrong_count_at_deallocate_is_reported(void **) {
  test_reports_t reports = {};
  hak_set_error_handler(test_count_report, &reports);
  hak::allocator<wide> wides;
  wide *block = wides.allocate(1);
  wides.deallocate(block, 100);
  CHECK_EQ(reports.count, 1);
  CHECK_EQ(reports.last.error, HAK_ERROR_WRONG_SIZE);
  wides.deallocate(block, 1);
  CHECK_EQ(reports.count, 1);
  hak_set_error_handler(nullptr, nullptr);
}

} /* namespace */

TEST_MAIN_FRESH(TEST(failures__at_any_call_are_exceptions_and_nothing_is_lost),
                TEST(failures__absurd_counts_are_exceptions),
                TEST(failures__a_heap_that_is_gone_is_reported_and_thrown),
                TEST(failures__a_container_that_outlives_its_heap_is_reported),
                TEST(failures__a_wrong_count_at_deallocate_is_reported))
