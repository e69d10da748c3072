/* new_delete.cc - new_delete.h puts all of the program's new and delete on hakmem. */
#include <hakmem/new_delete.h>

#include <csignal>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "cxx.hpp"

namespace {

/* The compiler may leave out a new and its delete; not these. */
template <class T>
T *seen(T *object) {
  __asm__ volatile("" : : "r"(object) : "memory");
  return object;
}

bool is_ours(const void *block) { return lies_in(block, hak_heap_default()); }

void new__every_form_gives_blocks_of_hakmem(void **) {
  std::uint64_t before = live(nullptr);
  int *one = seen(new int(5)), *many = seen(new int[100]());
  int *quiet = seen(new (std::nothrow) int(6)), *quiet_many = new (std::nothrow) int[7];
  CHECK(is_ours(one) && is_ours(many) && is_ours(quiet) && is_ours(quiet_many));
  CHECK_EQ(live(nullptr), before + 4);
  for (std::size_t size = 0; size < 40; size++) {
    void *block = seen(::operator new(size));
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(block) % 16, 0);
    ::operator delete(block);
  }
  delete one;
  delete[] many;
  delete quiet;
  delete[] quiet_many;
  delete seen(static_cast<int *>(nullptr));
  CHECK_EQ(live(nullptr), before);
}

void new__containers_and_threads_use_it(void **) {
  std::uint64_t before = live(nullptr);
  {
    std::vector<std::string> texts(100, std::string(100, 'x'));
    CHECK(is_ours(texts.data()) && is_ours(texts[5].data()));
    std::shared_ptr<int> shared = std::make_shared<int>(5);
    CHECK(is_ours(shared.get()));
    std::unique_ptr<std::string> other;
    std::thread([&] { other.reset(new std::string(1000, 'y')); }).join();
    CHECK(is_ours(other->data()));
  }
  CHECK_EQ(live(nullptr), before);
}

/* From C++17 on. */
void new__types_that_are_aligned_more_are(void **) {
#ifdef __cpp_aligned_new
  std::uint64_t before = live(nullptr);
  wide *one = seen(new wide(1)), *many = seen(new wide[10]);
  wide *quiet = seen(new (std::nothrow) wide(2));
  CHECK(is_ours(one) && is_ours(many) && is_ours(quiet));
  delete one;
  delete[] many;
  delete quiet;
  CHECK_EQ(live(nullptr), before);
#endif
}

std::size_t g_asked;
void ask_twice() {
  if (++g_asked == 2) std::set_new_handler(nullptr);
}

void new__asks_the_handler_before_it_throws(void **) {
  volatile std::size_t too_much = static_cast<std::size_t>(-1) / 4;
  g_asked = 0;
  std::set_new_handler(ask_twice);
  bool thrown = false;
  try {
    seen(::operator new(too_much));
  } catch (const std::bad_alloc &) {
    thrown = true;
  }
  CHECK(thrown && g_asked == 2);
  CHECK(seen(::operator new(too_much, std::nothrow)) == nullptr);
  std::set_new_handler([] { throw std::bad_alloc(); });
  CHECK(seen(::operator new(too_much, std::nothrow)) == nullptr);
  std::set_new_handler(nullptr);
}

int wrong_size_child(void *) {
  ::operator delete(seen(::operator new(10)), static_cast<std::size_t>(5000));
  return 0;
}

void delete__with_a_wrong_size_is_named(void **) {
  test_child_t child = test_child_run(wrong_size_child, nullptr, 60);
  CHECK_EQ(child.signal, SIGABRT);
  CHECK(std::strstr(child.output, "hak_free_sized") != nullptr);
}

} /* namespace */

TEST_MAIN(TEST(new__every_form_gives_blocks_of_hakmem),
          TEST(new__containers_and_threads_use_it),
          TEST(new__types_that_are_aligned_more_are),
          TEST(new__asks_the_handler_before_it_throws),
          TEST(delete__with_a_wrong_size_is_named))
