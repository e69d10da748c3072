/* new_delete.h - puts all of a program's new and delete on hakmem's default heap.
 *
 * To be included in one source file of a program in C++11 or newer, and in no header: it
 * defines the replaceable operators, all of them, for the whole program and for the
 * shared libraries that it loads. Nothing else of hakmem defines or replaces an operator.
 *
 *  - What new gives, delete and hak_free take, on any thread; what malloc gives is free's
 *    as before. Deletes with a size pass it on, so a wrong one is named.
 *  - Out of memory calls the new handler, as the standard says, then throws
 *    std::bad_alloc; the nothrow forms give NULL. With -fno-exceptions it prints a line
 * on stderr and aborts where it would throw.
 *  - Blocks are aligned to __STDCPP_DEFAULT_NEW_ALIGNMENT__ (16) whatever their size, as
 *    compilers take for granted: those of less than 16 bytes take 16.
 *  - With HAKMEM_NEW_CALLERS defined before it, each new names the place that calls it
 *    (HAK_CALLER in hakmem.h), so that the program's memory is told apart by that, and
 *    the option LEARN has places to learn of.
 */
#ifndef HAKMEM_NEW_DELETE_H
#define HAKMEM_NEW_DELETE_H

#include <hakmem/hakmem.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>

/* Never inlined: a compiler that sees hak_free in a delete takes it for a mistake. */
#if defined(__GNUC__)
#define HAK_OPERATOR __attribute__((__noinline__))
#else
#define HAK_OPERATOR
#endif

namespace hak {
namespace detail {

/* A block for new; NULL where neither memory nor a new handler helps. */
template <class Alloc>
void *new_block(Alloc alloc) {
  for (;;) {
    void *block = alloc();
    if (block != nullptr) return block;
    std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) return nullptr;
    handler(); /* makes room, throws, or ends the program */
  }
}

inline std::size_t new_size(std::size_t size) noexcept { return size < 16 ? 16 : size; }

inline void *new_throws(void *block) {
  if (block != nullptr) return block;
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
  throw std::bad_alloc();
#else
  std::fputs("hakmem: out of memory, in a program without exceptions\n", stderr);
  std::abort();
#endif
}

/* The record of the operator's caller, in an operator that is to name it. */
#ifdef HAKMEM_NEW_CALLERS
#define HAK_NEW_CALLER() HAK_CALLER()
#else
#define HAK_NEW_CALLER() nullptr
#endif

inline void *new_bytes(std::size_t size, hak_site_t *site) {
#ifdef HAKMEM_NEW_CALLERS
  return hak_alloc_named(size, site);
#else
  (void)site;
  return (hak_alloc)(size);
#endif
}

inline void *new_plain(std::size_t size, hak_site_t *site) {
  return new_block([=] { return new_bytes(new_size(size), site); });
}

inline void *new_nothrow(std::size_t size, hak_site_t *site) noexcept {
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
  try {
    return new_plain(size, site);
  } catch (...) {
    return nullptr;
  }
#else
  return new_plain(size, site);
#endif
}

#ifdef __cpp_aligned_new
inline void *new_aligned_bytes(std::size_t alignment, std::size_t size,
                               hak_site_t *site) {
#ifdef HAKMEM_NEW_CALLERS
  return hak_aligned_alloc_at(alignment, size, site);
#else
  (void)site;
  return (hak_aligned_alloc)(alignment, size);
#endif
}

inline void *new_aligned(std::size_t size, std::align_val_t alignment, hak_site_t *site) {
  return new_block([=] {
    return new_aligned_bytes(static_cast<std::size_t>(alignment), new_size(size), site);
  });
}

inline void *new_aligned_nothrow(std::size_t size, std::align_val_t alignment,
                                 hak_site_t *site) noexcept {
#if defined(__cpp_exceptions) || defined(__EXCEPTIONS)
  try {
    return new_aligned(size, alignment, site);
  } catch (...) {
    return nullptr;
  }
#else
  return new_aligned(size, alignment, site);
#endif
}
#endif

} /* namespace detail */
} /* namespace hak */

HAK_OPERATOR void *operator new(std::size_t size) {
  return hak::detail::new_throws(hak::detail::new_plain(size, HAK_NEW_CALLER()));
}
HAK_OPERATOR void *operator new[](std::size_t size) {
  return hak::detail::new_throws(hak::detail::new_plain(size, HAK_NEW_CALLER()));
}
HAK_OPERATOR void *operator new(std::size_t size, const std::nothrow_t &) noexcept {
  return hak::detail::new_nothrow(size, HAK_NEW_CALLER());
}
HAK_OPERATOR void *operator new[](std::size_t size, const std::nothrow_t &) noexcept {
  return hak::detail::new_nothrow(size, HAK_NEW_CALLER());
}

HAK_OPERATOR void operator delete(void *block) noexcept { hak_free(block); }
HAK_OPERATOR void operator delete[](void *block) noexcept { hak_free(block); }
HAK_OPERATOR void operator delete(void *block, const std::nothrow_t &) noexcept {
  hak_free(block);
}
HAK_OPERATOR void operator delete[](void *block, const std::nothrow_t &) noexcept {
  hak_free(block);
}

/* Called by C++14 and newer, and defined for all, as parts of a program may be those. */
#ifndef __cpp_sized_deallocation
void operator delete(void *block, std::size_t size) noexcept;
void operator delete[](void *block, std::size_t size) noexcept;
#endif
HAK_OPERATOR void operator delete(void *block, std::size_t size) noexcept {
  hak_free_sized(block, size);
}
HAK_OPERATOR void operator delete[](void *block, std::size_t size) noexcept {
  hak_free_sized(block, size);
}

#ifdef __cpp_aligned_new
HAK_OPERATOR void *operator new(std::size_t size, std::align_val_t alignment) {
  return hak::detail::new_throws(
      hak::detail::new_aligned(size, alignment, HAK_NEW_CALLER()));
}
HAK_OPERATOR void *operator new[](std::size_t size, std::align_val_t alignment) {
  return hak::detail::new_throws(
      hak::detail::new_aligned(size, alignment, HAK_NEW_CALLER()));
}
HAK_OPERATOR void *operator new(std::size_t size, std::align_val_t alignment,
                                const std::nothrow_t &) noexcept {
  return hak::detail::new_aligned_nothrow(size, alignment, HAK_NEW_CALLER());
}
HAK_OPERATOR void *operator new[](std::size_t size, std::align_val_t alignment,
                                  const std::nothrow_t &) noexcept {
  return hak::detail::new_aligned_nothrow(size, alignment, HAK_NEW_CALLER());
}

HAK_OPERATOR void operator delete(void *block, std::align_val_t) noexcept {
  hak_free(block);
}
HAK_OPERATOR void operator delete[](void *block, std::align_val_t) noexcept {
  hak_free(block);
}
HAK_OPERATOR void operator delete(void *block, std::align_val_t,
                                  const std::nothrow_t &) noexcept {
  hak_free(block);
}
HAK_OPERATOR void operator delete[](void *block, std::align_val_t,
                                    const std::nothrow_t &) noexcept {
  hak_free(block);
}
HAK_OPERATOR void operator delete(void *block, std::size_t size,
                                  std::align_val_t alignment) noexcept {
  hak_free_aligned_sized(block, static_cast<std::size_t>(alignment), size);
}
HAK_OPERATOR void operator delete[](void *block, std::size_t size,
                                    std::align_val_t alignment) noexcept {
  hak_free_aligned_sized(block, static_cast<std::size_t>(alignment), size);
}
#endif

#undef HAK_OPERATOR

#endif /* HAKMEM_NEW_DELETE_H */
