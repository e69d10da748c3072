/* compiler.h - what C11 lacks: marks for hot and cold code, hints, layout.
 *
 * Depends on: nothing.   Used by: everything.
 */
#ifndef HAK_BASE_COMPILER_H
#define HAK_BASE_COMPILER_H

/* Who ports the library to another platform adds it here. Before all includes, of which
 * other platforms may lack some. */
#if !defined(__linux__) || !(defined(__x86_64__) || defined(__aarch64__)) || \
    __SIZEOF_POINTER__ != 8 || !defined(__GNUC__)
#error "hakmem: Linux on x86-64 or aarch64 only, with gcc or clang; see docs/PORTING.md"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Always inline, in a module's header: the fast path. */
#define HAK_HOT static inline __attribute__((always_inline))
/* Never inline, out of the way of hot code, and compiled for size: of cold functions gcc
 * makes small ones unasked. */
#if defined(__clang__)
#define HAK_SLOW __attribute__((noinline, cold, minsize))
#else
#define HAK_SLOW __attribute__((noinline, cold))
#endif
/* Never inline, but run often enough to be laid out with the hot code. */
#define HAK_WARM __attribute__((noinline))
/* Public entry points that are hot: a cache line's start keeps them in one fetch. None is
 * ever inlined, see public.h. */
#define HAK_ENTRY __attribute__((aligned(64)))
/* Declares data that files of the library share. Hidden, so that its address is computed
 * and not loaded: the option of the compiler that hides what is defined says nothing of
 * declarations. */
#define HAK_EXTERN extern __attribute__((visibility("hidden")))

#define HAK_LIKELY(x) __builtin_expect(!!(x), 1)
#define HAK_UNLIKELY(x) __builtin_expect(!!(x), 0)

/* The compiler knows nothing of the value from here on. */
#define HAK_OPAQUE(x) __asm__("" : "+r"(x))

/* Before each access by a sum: on x86-64 that is a part of the access then, and no
 * instruction of its own; elsewhere it is made once. */
#if defined(__x86_64__)
#define HAK_EACH_SUM(x) HAK_OPAQUE(x)
#else
#define HAK_EACH_SUM(x) ((void)0)
#endif

#define HAK_CACHE_LINE 64
#define HAK_KIB ((size_t)1024)
#define HAK_MIB (1024 * HAK_KIB)
#define HAK_GIB (1024 * HAK_MIB)

#define HAK_CONTAINER_OF(ptr, type, member) \
  ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
