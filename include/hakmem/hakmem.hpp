/* hakmem.hpp - hakmem for C++: allocators for containers, an owner for heaps, a
 * memory resource, and unique pointers. Header-only; C++11, the memory resource from
 * C++17. What hakmem.h says holds here too; the library is linked as from C.
 *
 *  - Out of memory throws std::bad_alloc, a number of objects whose size no size_t can
 *    hold std::bad_array_new_length, a bad heap configuration std::invalid_argument.
 *    The functions named try_ give an empty pointer or heap instead.
 *  - Compiled with -fno-exceptions, what would throw prints a line on stderr and
 *    aborts; the functions named try_ are as before. All sources of a program should
 *    be compiled the same way in this respect.
 *  - The new handler is not called, and no operator new is defined or used.
 *  - A parameter of type hak_heap_t * takes NULL for the default heap.
 *  - Blocks for objects of a type count for one place, which has the type's name, in
 *    what the library says of places (docs/SITES.md).
 */
#ifndef HAKMEM_HPP
#define HAKMEM_HPP

#include <hakmem/hakmem.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <type_traits>
#include <utility>

#if __cplusplus >= 201703L && defined(__has_include)
#if __has_include(<memory_resource>)
#include <memory_resource>
#define HAK_HAS_MEMORY_RESOURCE 1
#endif
#endif
#ifndef HAK_HAS_MEMORY_RESOURCE
#define HAK_HAS_MEMORY_RESOURCE 0
#endif

namespace hak {

class heap;

namespace detail {

/* What every block of 16 bytes and more has, and smaller ones as far as they need it. */
constexpr std::size_t natural_alignment = 16;

[[noreturn]] inline void stop(const char *why) noexcept {
  std::fprintf(stderr, "hakmem: %s\n", why);
  std::abort();
}

#if defined(__cpp_exceptions) || defined(__EXCEPTIONS) || defined(_CPPUNWIND)
[[noreturn]] inline void no_memory() { throw std::bad_alloc(); }
[[noreturn]] inline void too_many() { throw std::bad_array_new_length(); }
[[noreturn]] inline void bad_config() {
  throw std::invalid_argument("hak::heap: bad configuration");
}
#else
[[noreturn]] inline void no_memory() {
  stop("out of memory, in a program without exceptions");
}
[[noreturn]] inline void too_many() {
  stop("too many objects asked for, in a program without exceptions");
}
[[noreturn]] inline void bad_config() {
  stop("bad configuration of a heap, in a program without exceptions");
}
#endif

template <class T>
constexpr bool fits(std::size_t count) noexcept {
  return count <= static_cast<std::size_t>(-1) / sizeof(T);
}

/* The name of a type as the compiler writes it, at most name_most characters of it: what
 * differs between its text of text_of<T>() and of text_of<void>(). */
#if defined(__GNUC__) || defined(__clang__)
constexpr std::size_t name_most = 95;

template <class T>
constexpr const char *text_of() noexcept {
  return __PRETTY_FUNCTION__;
}
template <class T>
constexpr std::size_t length_of() noexcept {
  return sizeof __PRETTY_FUNCTION__;
}
constexpr std::size_t find_void(const char *text, std::size_t at) noexcept {
  return text[at] == 'v' && text[at + 1] == 'o' && text[at + 2] == 'i' &&
                 text[at + 3] == 'd'
             ? at
             : find_void(text, at + 1);
}
constexpr std::size_t name_begin = find_void(text_of<void>(), 0);
constexpr std::size_t name_length(std::size_t more) noexcept {
  return more + 4 < name_most ? more + 4 : name_most;
}

template <std::size_t... I>
struct indices {};
template <std::size_t N, std::size_t... I>
struct make_indices : make_indices<N - 1, N - 1, I...> {};
template <std::size_t... I>
struct make_indices<0, I...> {
  using type = indices<I...>;
};

template <class T, class I>
struct name_text;
template <class T, std::size_t... I>
struct name_text<T, indices<I...>> {
  static constexpr char text[sizeof...(I) + 1] = {text_of<T>()[name_begin + I]..., 0};
};
template <class T, std::size_t... I>
constexpr char name_text<T, indices<I...>>::text[sizeof...(I) + 1];

template <class T>
constexpr const char *type_name() noexcept {
  return name_text<T, typename make_indices<name_length(length_of<T>() -
                                                        length_of<void>())>::type>::text;
}
#else
template <class T>
constexpr const char *type_name() noexcept {
  return nullptr;
}
#endif

template <class T>
hak_site_t *record_of() noexcept {
  static hak_site_t record = {nullptr, 0, type_name<T>(), {0, 0, 0, 0}};
  return &record;
}

} /* namespace detail */

/* The record of the place that blocks for objects of a type count for, const or not: its
 * name is the type's, its file NULL. */
template <class T>
hak_site_t *site_of() noexcept {
  return detail::record_of<typename std::remove_cv<T>::type>();
}

namespace detail {

/* Room for `count` objects whose size fits; NULL if there is none. */
template <class T>
void *try_room(std::size_t count) noexcept {
  return alignof(T) > natural_alignment
             ? hak_aligned_alloc_at(alignof(T), count * sizeof(T), site_of<T>())
             : hak_alloc_named(count * sizeof(T), site_of<T>());
}
template <class T>
void *try_room(std::size_t count, hak_heap_t *heap) noexcept {
  return alignof(T) > natural_alignment
             ? hak_heap_aligned_alloc_at(heap, alignof(T), count * sizeof(T),
                                         site_of<T>())
             : hak_heap_alloc_at(heap, count * sizeof(T), site_of<T>());
}

/* As try_room(count) or try_room(count, heap), any count; never NULL. */
template <class T, class... Heap>
T *room(std::size_t count, Heap... heap) {
  if (!fits<T>(count)) too_many();
  void *place = try_room<T>(count, heap...);
  if (place == nullptr) no_memory();
  return static_cast<T *>(place);
}

template <class T>
void give_back(void *place, std::size_t count) noexcept {
  if (alignof(T) > natural_alignment) {
    hak_free_aligned_sized(place, alignof(T), count * sizeof(T));
  } else {
    hak_free_sized(place, count * sizeof(T));
  }
}

} /* namespace detail */

/* ---- Heaps ------------------------------------------------------------ */

/* A configuration with all defaults, to be changed before it is given to a heap. */
inline hak_heap_config_t heap_config() noexcept {
  hak_heap_config_t config = hak_heap_config_t();
  config.struct_size = sizeof config;
  return config;
}

/* Owns a heap: move-only, and the heap goes with it. What lies in the heap must not be
 * used after, so containers over a heap are declared after it. If a heap made with this
 * one as parent lives longer, the program ends; if the library was shut down before, the
 * destructor does nothing. An owner is empty when it was made of nullptr, to be given a
 * heap later, when it was moved from, or when try_create could not make a heap: then
 * get() is NULL, and to allocate through the owner ends the program, so that nothing
 * comes from the default heap unasked. */
class heap {
 public:
  heap() : handle_(make(nullptr)) {}
  explicit heap(const hak_heap_config_t &config) : handle_(make(&config)) {}
  heap(std::nullptr_t) noexcept : handle_(nullptr) {}

  /* As the constructor; empty on failure, with errno = ENOMEM or EINVAL. */
  static heap try_create(const hak_heap_config_t *config = nullptr) noexcept {
    return heap(hak_heap_create(config));
  }
  /* Takes over a heap that hak_heap_create made; the default heap has no owner. */
  static heap adopt(hak_heap_t *handle) noexcept { return heap(handle); }

  heap(const heap &) = delete;
  heap &operator=(const heap &) = delete;
  heap(heap &&other) noexcept : handle_(other.detach()) {}
  heap &operator=(heap &&other) noexcept {
    heap taken(std::move(other));
    taken.swap(*this);
    return *this;
  }
  ~heap() {
    if (handle_ != nullptr && hak_heap_destroy(handle_) == EBUSY) {
      detail::stop("a hak::heap ends before the heaps made with it as parent");
    }
  }

  hak_heap_t *get() const noexcept { return handle_; }
  explicit operator bool() const noexcept { return handle_ != nullptr; }

  /* Blocks without a type: as hak_heap_alloc, hak_heap_aligned_alloc and hak_heap_free,
   * with NULL when out of memory. */
  void *alloc(std::size_t size) const noexcept { return (hak_heap_alloc)(full(), size); }
  void *alloc(std::size_t size, std::size_t alignment) const noexcept {
    return (hak_heap_aligned_alloc)(full(), alignment, size);
  }
  void(free)(void *place) const noexcept {
    if (place != nullptr) hak_heap_free(full(), place);
  }

  /* hak_heap_reset, _release and _destroy: 0 or an errno value. After the last two the
   * owner is empty, unless they failed. EINVAL for an empty owner. */
  int reset() noexcept { return hak_heap_reset(handle_); }
  int release() noexcept { return ended(hak_heap_release(handle_)); }
  int destroy() noexcept { return ended(hak_heap_destroy(handle_)); }

  /* The heap stays, this owner is empty. */
  hak_heap_t *detach() noexcept {
    hak_heap_t *handle = handle_;
    handle_ = nullptr;
    return handle;
  }
  void swap(heap &other) noexcept { std::swap(handle_, other.handle_); }
  friend void swap(heap &a, heap &b) noexcept { a.swap(b); }

  /* As get(), for what is about to allocate: an empty owner ends the program. */
  hak_heap_t *full() const noexcept {
    if (handle_ == nullptr) detail::stop("a hak::heap is used that is empty");
    return handle_;
  }

 private:
  explicit heap(hak_heap_t *handle) noexcept : handle_(handle) {}

  static hak_heap_t *make(const hak_heap_config_t *config) {
    hak_heap_t *handle = hak_heap_create(config);
    if (handle != nullptr) return handle;
    if (errno == EINVAL) detail::bad_config();
    detail::no_memory();
  }
  int ended(int error) noexcept {
    if (error == 0) handle_ = nullptr;
    return error;
  }

  hak_heap_t *handle_;
};

/* Makes a heap this thread's current one (hak_heap_use) to the end of the scope. */
class heap_scope {
 public:
  explicit heap_scope(hak_heap_t *heap) noexcept : before_(hak_heap_use(heap)) {}
  explicit heap_scope(const heap &owner) noexcept : before_(hak_heap_use(owner.full())) {}
  explicit heap_scope(heap &&owner) = delete; /* gone before its blocks */
  heap_scope(const heap_scope &) = delete;
  heap_scope &operator=(const heap_scope &) = delete;
  ~heap_scope() { hak_heap_use(before_); }

 private:
  hak_heap_t *before_;
};

namespace detail {

inline hak_heap_t *handle_of(hak_heap_t *handle) noexcept { return handle; }
inline hak_heap_t *handle_of(const heap &owner) noexcept { return owner.full(); }
hak_heap_t *handle_of(heap &&owner) = delete; /* gone before its blocks */

inline bool is_same_heap(hak_heap_t *a, hak_heap_t *b) noexcept {
  return a == b || (a == nullptr && b == hak_heap_default()) ||
         (b == nullptr && a == hak_heap_default());
}

} /* namespace detail */

/* ---- Allocators ------------------------------------------------------- */

/* Blocks of the default heap, given back with their size. Has no state. */
template <class T>
class allocator {
 public:
  using value_type = T;
  using propagate_on_container_move_assignment = std::true_type;
  using is_always_equal = std::true_type;

  allocator() noexcept = default;
  template <class U>
  allocator(const allocator<U> &) noexcept {}

  T *allocate(std::size_t count) { return detail::room<T>(count); }
  void deallocate(T *place, std::size_t count) noexcept {
    detail::give_back<T>(place, count);
  }
};

template <class T, class U>
bool operator==(const allocator<T> &, const allocator<U> &) noexcept {
  return true;
}
template <class T, class U>
bool operator!=(const allocator<T> &, const allocator<U> &) noexcept {
  return false;
}

/* Blocks of one heap, which has to be named. Two are equal if their heap is the same.
 *
 * A block stays in its heap for life. So a container that takes blocks over takes their
 * heap along: moved and swapped containers do, whatever their heaps were, without a copy
 * and without an exception. A container that makes new blocks makes them in its own heap:
 * one that is assigned a copy keeps its heap, and the copy of a container has the heap of
 * the original unless another heap is named. (A container that is to keep its heap when
 * another is moved to it is one of std::pmr over a hak::memory_resource.) */
template <class T>
class heap_allocator {
 public:
  using value_type = T;
  using propagate_on_container_copy_assignment = std::false_type;
  using propagate_on_container_move_assignment = std::true_type;
  using propagate_on_container_swap = std::true_type;
  using is_always_equal = std::false_type;

  heap_allocator(hak_heap_t *heap) noexcept : heap_(heap) {}
  heap_allocator(const hak::heap &owner) noexcept : heap_(detail::handle_of(owner)) {}
  heap_allocator(hak::heap &&owner) = delete; /* gone before its blocks */
  template <class U>
  heap_allocator(const heap_allocator<U> &other) noexcept : heap_(other.heap()) {}

  T *allocate(std::size_t count) { return detail::room<T>(count, heap_); }
  void deallocate(T *place, std::size_t count) noexcept {
    detail::give_back<T>(place, count);
  }

  hak_heap_t *heap() const noexcept { return heap_; }

 private:
  hak_heap_t *heap_;
};

template <class T, class U>
bool operator==(const heap_allocator<T> &a, const heap_allocator<U> &b) noexcept {
  return detail::is_same_heap(a.heap(), b.heap());
}
template <class T, class U>
bool operator!=(const heap_allocator<T> &a, const heap_allocator<U> &b) noexcept {
  return !(a == b);
}

/* Blocks of the heap that a function of the program's names, such as the one of a
 * subsystem, or hak_heap_current. Has no state and can be made without arguments, which
 * containers ask for that make their allocators themselves:
 *
 *     hak_heap_t *json_heap();
 *     template <class T>
 *     using json_allocator = hak::allocator_of<T, json_heap>;
 *
 * The function is called for each allocation, may give NULL for the default heap, and may
 * give another heap at another time: a block stays in its heap, and goes back there. */
template <class T, hak_heap_t *(*Heap)()>
class allocator_of {
 public:
  using value_type = T;
  using propagate_on_container_move_assignment = std::true_type;
  using is_always_equal = std::true_type;
  template <class U>
  struct rebind {
    using other = allocator_of<U, Heap>;
  };

  allocator_of() noexcept = default;
  template <class U>
  allocator_of(const allocator_of<U, Heap> &) noexcept {}

  T *allocate(std::size_t count) { return detail::room<T>(count, Heap()); }
  void deallocate(T *place, std::size_t count) noexcept {
    detail::give_back<T>(place, count);
  }
};

template <class T, class U, hak_heap_t *(*Heap)()>
bool operator==(const allocator_of<T, Heap> &, const allocator_of<U, Heap> &) noexcept {
  return true;
}
template <class T, class U, hak_heap_t *(*Heap)()>
bool operator!=(const allocator_of<T, Heap> &, const allocator_of<U, Heap> &) noexcept {
  return false;
}

#if HAK_HAS_MEMORY_RESOURCE

/* A heap as a std::pmr::memory_resource; the default heap if none is named. It does not
 * own the heap. What it allocates counts for the place whose record is given, if one is.
 * It is equal to each resource over the same heap; where the program is compiled without
 * RTTI, to itself only. */
class memory_resource : public std::pmr::memory_resource {
 public:
  memory_resource() noexcept : heap_(nullptr), site_(nullptr) {}
  explicit memory_resource(hak_heap_t *heap, hak_site_t *site = nullptr) noexcept
      : heap_(heap), site_(site) {}
  explicit memory_resource(const hak::heap &owner, hak_site_t *site = nullptr) noexcept
      : heap_(detail::handle_of(owner)), site_(site) {}
  explicit memory_resource(hak::heap &&owner,
                           hak_site_t *site = nullptr) = delete; /* gone too early */
  memory_resource(const memory_resource &) = default;
  memory_resource &operator=(const memory_resource &) = default;

  hak_heap_t *heap() const noexcept { return heap_; }

 protected:
  void *do_allocate(std::size_t bytes, std::size_t alignment) override {
    void *place = is_natural(bytes, alignment)
                      ? hak_heap_alloc_at(heap_, bytes, site_)
                      : hak_heap_aligned_alloc_at(heap_, alignment, bytes, site_);
    if (place == nullptr) detail::no_memory();
    return place;
  }
  void do_deallocate(void *place, std::size_t bytes, std::size_t alignment) override {
    if (is_natural(bytes, alignment)) {
      hak_free_sized(place, bytes);
    } else {
      hak_free_aligned_sized(place, alignment, bytes);
    }
  }
  bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
#if defined(__cpp_rtti) || defined(__GXX_RTTI) || defined(_CPPRTTI)
    const memory_resource *resource = dynamic_cast<const memory_resource *>(&other);
    return resource != nullptr && detail::is_same_heap(heap_, resource->heap_);
#else
    return this == &other;
#endif
  }

 private:
  static bool is_natural(std::size_t bytes, std::size_t alignment) noexcept {
    return alignment <= detail::natural_alignment && alignment <= bytes;
  }

  hak_heap_t *heap_;
  hak_site_t *site_;
};

#endif

/* ---- Unique pointers -------------------------------------------------- */

/* Ends an object in a block of hakmem's, of any heap. A pointer to a base class may own
 * an object of a derived one if the base's destructor is virtual; it need not lie at
 * the start of the object. */
template <class T>
class deleter {
 public:
  deleter() noexcept = default;
  template <class U, class = typename std::enable_if<
                         std::is_convertible<U *, T *>::value &&
                         (std::has_virtual_destructor<T>::value ||
                          std::is_same<typename std::remove_cv<U>::type,
                                       typename std::remove_cv<T>::type>::value)>::type>
  deleter(const deleter<U> &) noexcept {}

  void operator()(T *object) const noexcept {
    static_assert(sizeof(T) > 0, "the type is incomplete here");
    if (object != nullptr) end(object, std::has_virtual_destructor<T>());
  }

 private:
  using plain = typename std::remove_cv<T>::type;

  static void end(T *object, std::true_type) noexcept {
    void *place = dynamic_cast<void *>(const_cast<plain *>(object));
    object->~T();
    hak_free(place);
  }
  static void end(T *object, std::false_type) noexcept {
    object->~T();
    detail::give_back<T>(const_cast<plain *>(object), 1);
  }
};

/* The same for arrays, whose length the deleter knows. A deleter made without a length
 * gives the block back and ends no elements. A pointer whose array is replaced by reset()
 * keeps the old length: assign another pointer instead. */
template <class T>
class deleter<T[]> {
 public:
  deleter() noexcept : length_(0) {}
  explicit deleter(std::size_t length) noexcept : length_(length) {}
  template <class U, class = typename std::enable_if<
                         std::is_convertible<U (*)[], T (*)[]>::value>::type>
  deleter(const deleter<U[]> &other) noexcept : length_(other.length()) {}

  void operator()(T *elements) const noexcept {
    static_assert(sizeof(T) > 0, "the type is incomplete here");
    if (elements == nullptr) return;
    for (std::size_t i = length_; i > 0; i--) elements[i - 1].~T();
    void *place = const_cast<typename std::remove_cv<T>::type *>(elements);
    if (length_ > 0) {
      detail::give_back<T>(place, length_);
    } else {
      hak_free(place);
    }
  }
  std::size_t length() const noexcept { return length_; }

 private:
  std::size_t length_;
};

/* For arrays: hak::unique_ptr<T[]>. */
template <class T>
using unique_ptr = std::unique_ptr<T, deleter<T>>;

namespace detail {

/* Owns a block until what is built in it is complete. */
template <class T>
class guard {
 public:
  explicit guard(void *place) noexcept : at_(static_cast<T *>(place)), built_(0) {}
  guard(const guard &) = delete;
  guard &operator=(const guard &) = delete;
  ~guard() {
    if (at_ == nullptr) return;
    while (built_ > 0) at_[--built_].~T();
    hak_free(const_cast<typename std::remove_cv<T>::type *>(at_));
  }

  template <class... Args>
  void build(Args &&...args) {
    void *place = const_cast<typename std::remove_cv<T>::type *>(at_ + built_);
    ::new (place) T(std::forward<Args>(args)...);
    built_++;
  }
  T *complete() noexcept {
    T *at = at_;
    at_ = nullptr;
    return at;
  }

 private:
  T *at_;
  std::size_t built_;
};

template <class T, class... Args>
unique_ptr<T> build(void *place, Args &&...args) {
  if (place == nullptr) return unique_ptr<T>();
  guard<T> block(place);
  block.build(std::forward<Args>(args)...);
  return unique_ptr<T>(block.complete());
}

template <class T>
unique_ptr<T[]> build_array(void *place, std::size_t length) {
  if (place == nullptr) return unique_ptr<T[]>();
  guard<T> block(place);
  for (std::size_t i = 0; i < length; i++) block.build();
  return unique_ptr<T[]>(block.complete(), deleter<T[]>(length));
}

/* The return types of what makes an object and of what makes an array. */
template <class T>
struct made {
  using object = unique_ptr<T>;
};
template <class T>
struct made<T[]> {
  using element = T;
  using array = unique_ptr<T[]>;
};
template <class T, std::size_t N>
struct made<T[N]> {};

} /* namespace detail */

/* An object in a block of the default heap, or of a heap (a hak_heap_t * or a
 * hak::heap). If its constructor throws, the block goes back, and the caller gets the
 * exception. */
template <class T, class... Args>
typename detail::made<T>::object make_unique(Args &&...args) {
  return detail::build<T>(detail::room<typename std::remove_cv<T>::type>(1),
                          std::forward<Args>(args)...);
}
template <class T, class Heap, class... Args>
typename detail::made<T>::object make_unique_in(Heap &&where, Args &&...args) {
  hak_heap_t *heap = detail::handle_of(std::forward<Heap>(where));
  return detail::build<T>(detail::room<typename std::remove_cv<T>::type>(1, heap),
                          std::forward<Args>(args)...);
}

/* The same; an empty pointer when out of memory. */
template <class T, class... Args>
typename detail::made<T>::object try_make_unique(Args &&...args) {
  return detail::build<T>(detail::try_room<T>(1), std::forward<Args>(args)...);
}
template <class T, class Heap, class... Args>
typename detail::made<T>::object try_make_unique_in(Heap &&where, Args &&...args) {
  hak_heap_t *heap = detail::handle_of(std::forward<Heap>(where));
  return detail::build<T>(detail::try_room<T>(1, heap), std::forward<Args>(args)...);
}

/* An array, its elements value-initialised: make_unique<int[]>(100) is 100 zeros. */
template <class T>
typename detail::made<T>::array make_unique(std::size_t length) {
  using element = typename detail::made<T>::element;
  return detail::build_array<element>(
      detail::room<typename std::remove_cv<element>::type>(length), length);
}
template <class T, class Heap>
typename detail::made<T>::array make_unique_in(Heap &&where, std::size_t length) {
  using element = typename detail::made<T>::element;
  hak_heap_t *heap = detail::handle_of(std::forward<Heap>(where));
  return detail::build_array<element>(
      detail::room<typename std::remove_cv<element>::type>(length, heap), length);
}
template <class T>
typename detail::made<T>::array try_make_unique(std::size_t length) {
  using element = typename detail::made<T>::element;
  if (!detail::fits<element>(length)) return unique_ptr<T>();
  return detail::build_array<element>(detail::try_room<element>(length), length);
}
template <class T, class Heap>
typename detail::made<T>::array try_make_unique_in(Heap &&where, std::size_t length) {
  using element = typename detail::made<T>::element;
  hak_heap_t *heap = detail::handle_of(std::forward<Heap>(where));
  if (!detail::fits<element>(length)) return unique_ptr<T>();
  return detail::build_array<element>(detail::try_room<element>(length, heap), length);
}

} /* namespace hak */

#endif /* HAKMEM_HPP */
