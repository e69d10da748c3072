/* owners.cc - hak::heap owns a heap, hak::unique_ptr an object or an array. */
#include <cerrno>
#include <string>
#include <utility>

#include "cxx.hpp"

namespace {

/* ---- Heaps ------------------------------------------------------------ */

static_assert(!std::is_copy_constructible<hak::heap>::value, "one owner");
static_assert(!std::is_copy_assignable<hak::heap>::value, "one owner");
static_assert(std::is_nothrow_move_constructible<hak::heap>::value, "");
static_assert(std::is_nothrow_move_assignable<hak::heap>::value, "");
static_assert(!std::is_convertible<hak::heap, hak_heap_t *>::value, "by get() only");

bool exists(hak_heap_t *handle) { return hak_heap_name(handle) != nullptr; }

void heap__ends_with_its_owner_and_all_its_blocks(void **) {
  hak_heap_t *handle;
  std::uint64_t before = live(nullptr);
  {
    hak::heap heap;
    handle = heap.get();
    CHECK(heap && exists(handle));
    for (int i = 0; i < 1000; i++) CHECK(hak_heap_alloc(handle, 100) != nullptr);
    CHECK_EQ(live(handle), 1000);
  }
  CHECK(!exists(handle));
  CHECK_EQ(live(nullptr), before);
}

void heap__passes_from_owner_to_owner(void **) {
  hak::heap a;
  hak_heap_t *handle = a.get();
  hak::heap b(std::move(a));
  CHECK(!a && a.get() == nullptr && b.get() == handle && exists(handle));
  hak::heap c;
  hak_heap_t *replaced = c.get();
  c = std::move(b);
  CHECK(c.get() == handle && !b && !exists(replaced));
  hak::heap &same = c;
  c = std::move(same);
  CHECK(c.get() == handle && exists(handle));
  swap(a, c);
  CHECK(a.get() == handle && !c);
  c = hak::heap();
  a.swap(c);
  CHECK(c.get() == handle && a && a.get() != handle);
}

void heap__is_made_as_configured(void **) {
  hak::heap parent;
  hak_heap_config_t config = hak::heap_config();
  config.name = "particles";
  config.parent = parent.get();
  hak::heap heap(config);
  CHECK(std::string(hak_heap_name(heap.get())) == "particles");
  CHECK(hak_heap_alloc(heap.get(), 10) != nullptr);
  CHECK_EQ(live(parent.get()), 1);
}

void heap__bad_configurations_are_refused(void **) {
  hak_heap_config_t config = hak::heap_config();
  config.struct_size = 3;
  bool thrown = false;
  try {
    hak::heap heap(config);
  } catch (const std::invalid_argument &) {
    thrown = true;
  }
  CHECK(thrown);
  errno = 0;
  hak::heap empty = hak::heap::try_create(&config);
  CHECK(!empty && errno == EINVAL);
  CHECK(hak::heap::try_create());
}

void heap__reset_release_and_destroy_say_how_they_went(void **) {
  hak::heap parent;
  hak_heap_config_t config = hak::heap_config();
  config.parent = parent.get();
  hak::heap child(config);
  CHECK(hak_heap_alloc(child.get(), 50) != nullptr);
  CHECK_EQ(child.reset(), 0);
  CHECK(child && live(child.get()) == 0);

  CHECK_EQ(parent.destroy(), EBUSY);
  CHECK_EQ(parent.release(), EBUSY);
  CHECK(parent);
  void *block = hak_heap_alloc(child.get(), 50);
  CHECK_EQ(child.release(), 0);
  CHECK(!child && lies_in(block, parent.get()));
  hak_free(block);
  CHECK_EQ(parent.destroy(), 0);
  CHECK(!parent);

  CHECK_EQ(parent.reset(), EINVAL);
  CHECK_EQ(parent.release(), EINVAL);
  CHECK_EQ(parent.destroy(), EINVAL);
}

void heap__can_be_taken_over_and_given_up(void **) {
  hak_heap_t *handle = hak_heap_create(nullptr);
  {
    hak::heap owner = hak::heap::adopt(handle);
    CHECK(owner.detach() == handle);
    CHECK(!owner && owner.detach() == nullptr);
  }
  CHECK(exists(handle));
  { hak::heap owner = hak::heap::adopt(handle); }
  CHECK(!exists(handle));
}

int end_before_children(void *) {
  hak::heap parent;
  hak_heap_config_t config = hak::heap_config();
  config.parent = parent.get();
  hak::heap::try_create(&config).detach();
  return 0;
}

void heap__that_ends_before_its_children_is_named(void **) {
  test_child_must_abort(end_before_children, nullptr,
                        "a hak::heap ends before the heaps made with it as parent",
                        nullptr);
}

int use_empty(void *) {
  hak::heap moved_from, heap(std::move(moved_from));
  hak::heap_allocator<int> in(moved_from);
  return 0;
}

void heap__that_is_empty_is_not_taken_for_the_default_one(void **) {
  test_child_must_abort(use_empty, nullptr, "a hak::heap is used that is empty", nullptr);
}

int outlive_the_library(void *) {
  static hak::heap heap;
  hak::unique_ptr<int> number = hak::make_unique<int>(5);
  number.reset();
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  return 0; /* the heap's owner ends at exit */
}

void heap__owners_may_outlive_the_library(void **) {
  test_child_must_succeed(outlive_the_library, nullptr, 30);
}

/* ---- Unique pointers -------------------------------------------------- */

int g_built, g_ended, g_last_ended;

struct counted {
  explicit counted(int number = 0) : id(number) {
    if (g_built == throw_at) throw std::string("full");
    g_built++;
  }
  ~counted() {
    g_ended++;
    g_last_ended = id;
  }
  counted(const counted &) = delete;
  counted &operator=(const counted &) = delete;

  int id;
  static int throw_at;
};
int counted::throw_at = -1;

void start_counting(int throw_at) {
  g_built = g_ended = 0;
  counted::throw_at = throw_at;
}

static_assert(sizeof(hak::unique_ptr<int>) == sizeof(int *), "no state");

void unique_ptr__object_ends_and_its_block_comes_back(void **) {
  hak::heap heap;
  std::uint64_t before = live(nullptr);
  start_counting(-1);
  {
    hak::unique_ptr<counted> a = hak::make_unique<counted>(7);
    hak::unique_ptr<counted> b = hak::make_unique_in<counted>(heap, 8);
    hak::unique_ptr<counted> c = hak::try_make_unique_in<counted>(heap.get(), 9);
    hak::unique_ptr<counted> d = hak::try_make_unique<counted>(10);
    CHECK_EQ(a->id + b->id + c->id + d->id, 34);
    CHECK(lies_in(a.get(), hak_heap_default()) && lies_in(b.get(), heap.get()) &&
          lies_in(c.get(), heap.get()) && lies_in(d.get(), hak_heap_default()));
    b = std::move(a);
    CHECK_EQ(g_last_ended, 8);
    b.reset();
    CHECK_EQ(g_last_ended, 7);
  }
  CHECK_EQ(g_ended, 4);
  CHECK_EQ(live(nullptr), before);
  CHECK_EQ(live(heap.get()), 0);
}

void unique_ptr__block_comes_back_when_the_constructor_throws(void **) {
  hak::heap heap;
  std::uint64_t before = live(nullptr);
  start_counting(0);
  int caught = 0;
  for (int i = 0; i < 4; i++) {
    try {
      if (i == 0) hak::make_unique<counted>(1);
      if (i == 1) hak::make_unique_in<counted>(heap, 1);
      if (i == 2) hak::try_make_unique<counted>(1);
      if (i == 3) hak::try_make_unique_in<counted>(heap, 1);
    } catch (const std::string &) {
      caught++;
    }
  }
  CHECK_EQ(caught, 4);
  CHECK_EQ(g_ended, 0);
  CHECK_EQ(live(nullptr), before);
  CHECK_EQ(live(heap.get()), 0);
}

void unique_ptr__array_ends_backwards(void **) {
  hak::heap heap;
  std::uint64_t before = live(nullptr);
  start_counting(-1);
  {
    hak::unique_ptr<counted[]> a = hak::make_unique<counted[]>(20);
    hak::unique_ptr<counted[]> b = hak::make_unique_in<counted[]>(heap, 30);
    CHECK_EQ(a.get_deleter().length(), 20);
    CHECK(lies_in(b.get(), heap.get()));
    for (int i = 0; i < 20; i++) a[static_cast<std::size_t>(i)].id = i + 1;
    a.reset();
    CHECK_EQ(g_ended, 20);
    CHECK_EQ(g_last_ended, 1);
    a = std::move(b);
    CHECK_EQ(a.get_deleter().length(), 30);
  }
  CHECK_EQ(g_ended, 50);
  hak::unique_ptr<int[]> zeros = hak::try_make_unique<int[]>(1000);
  for (std::size_t i = 0; i < 1000; i++) CHECK_EQ(zeros[i], 0);
  zeros.reset();
  CHECK(hak::make_unique<counted[]>(0) != nullptr);
  CHECK(hak::try_make_unique_in<int[]>(heap, 10) != nullptr);
  CHECK_EQ(live(nullptr), before);
  CHECK_EQ(live(heap.get()), 0);
}

void unique_ptr__elements_end_when_a_later_one_throws(void **) {
  std::uint64_t before = live(nullptr);
  start_counting(13);
  bool caught = false;
  try {
    hak::make_unique<counted[]>(20);
  } catch (const std::string &) {
    caught = true;
  }
  CHECK(caught);
  CHECK_EQ(g_built, 13);
  CHECK_EQ(g_ended, 13);
  CHECK_EQ(live(nullptr), before);
  start_counting(-1);
}

struct shape {
  virtual ~shape() {}
  virtual int corners() const = 0;
};
struct named {
  virtual ~named() {}
  long name = 3;
};
struct square : named, shape {
  explicit square(counted *) {}
  int corners() const override { return 4; }
  counted member{99};
};
struct plain_base {
  int a;
};
struct plain_derived : plain_base {
  int b;
};

void unique_ptr__base_anywhere_in_the_object_owns_it(void **) {
  std::uint64_t before = live(nullptr);
  start_counting(-1);
  {
    hak::unique_ptr<square> derived = hak::make_unique<square>(nullptr);
    const void *start = derived.get();
    hak::unique_ptr<const shape> base(std::move(derived));
    CHECK(static_cast<const void *>(base.get()) != start);
    CHECK_EQ(base->corners(), 4);
  }
  CHECK_EQ(g_ended, 1);
  CHECK_EQ(g_last_ended, 99);
  CHECK_EQ(live(nullptr), before);
  static_assert(
      !std::is_convertible<hak::deleter<plain_derived>, hak::deleter<plain_base>>::value,
      "the object's end would be unknown");
  static_assert(std::is_convertible<hak::deleter<plain_base>,
                                    hak::deleter<const plain_base>>::value,
                "");
  static_assert(!std::is_convertible<hak::deleter<const plain_base>,
                                     hak::deleter<plain_base>>::value,
                "");
  static_assert(
      std::is_convertible<hak::deleter<int[]>, hak::deleter<const int[]>>::value, "");
  static_assert(
      !std::is_convertible<hak::deleter<square[]>, hak::deleter<named[]>>::value,
      "elements have the size of the derived class");
}

void unique_ptr__types_keep_their_alignment_and_const(void **) {
  std::uint64_t before = live(nullptr);
  {
    hak::unique_ptr<wide> one = hak::make_unique<wide>(4);
    hak::unique_ptr<wide[]> some = hak::make_unique<wide[]>(5);
    hak::unique_ptr<const wide> fixed = hak::make_unique<const wide>(6);
    hak::unique_ptr<const int[]> numbers = hak::make_unique<const int[]>(5);
    hak::unique_ptr<const wide> also(std::move(one));
    CHECK_EQ(also->value + fixed->value + some[4].value + numbers[4], 10);
  }
  CHECK_EQ(live(nullptr), before);
}

void deleter__without_a_length_gives_the_block_back(void **) {
  std::uint64_t before = live(nullptr);
  hak::unique_ptr<char[]> text(hak_strdup("a text"));
  CHECK(text[2] == 't');
  text.reset();
  hak::deleter<int>()(nullptr);
  hak::deleter<int[]>(3)(nullptr);
  CHECK_EQ(live(nullptr), before);
}

} /* namespace */

TEST_MAIN(TEST(heap__ends_with_its_owner_and_all_its_blocks),
          TEST(heap__passes_from_owner_to_owner), TEST(heap__is_made_as_configured),
          TEST(heap__bad_configurations_are_refused),
          TEST(heap__reset_release_and_destroy_say_how_they_went),
          TEST(heap__can_be_taken_over_and_given_up),
          TEST(heap__that_ends_before_its_children_is_named),
          TEST(heap__that_is_empty_is_not_taken_for_the_default_one),
          TEST(heap__owners_may_outlive_the_library),
          TEST(unique_ptr__object_ends_and_its_block_comes_back),
          TEST(unique_ptr__block_comes_back_when_the_constructor_throws),
          TEST(unique_ptr__array_ends_backwards),
          TEST(unique_ptr__elements_end_when_a_later_one_throws),
          TEST(unique_ptr__base_anywhere_in_the_object_owns_it),
          TEST(unique_ptr__types_keep_their_alignment_and_const),
          TEST(deleter__without_a_length_gives_the_block_back))
