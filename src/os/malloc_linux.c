/* malloc_linux.c - what malloc.h declares, for Linux: malloc as glibc and musl have it,
 * the sanitizers of gcc and clang, and valgrind. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "os/malloc.h"

/* Of the sanitizers' run-time libraries. The addresses are NULL where nobody defines
 * them; which of them the program has is known when it is linked or loaded. */
extern void __asan_init(void) __attribute__((weak));
extern void __hwasan_init(void) __attribute__((weak));
extern void __msan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));
extern void __lsan_do_leak_check(void) __attribute__((weak));
extern int __sanitizer_get_ownership(const volatile void *ptr) __attribute__((weak));

extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

enum {
  NATURAL = 16 /* alignment of what malloc gives */
};

/* AddressSanitizer ends a program that asks for 1 TiB, its own surroundings included. */
#define MOST ((size_t)1 << 39)

void *hak_malloc_get(size_t size, size_t alignment, bool zero) {
  if (size > MOST) return NULL;
  if (alignment <= NATURAL) return zero ? calloc(1, size) : malloc(size);
  void *block;
  if (posix_memalign(&block, alignment, size) != 0) return NULL;
  return zero ? memset(block, 0, size) : block;
}

void hak_malloc_put(void *block) { free(block); }

/* Valgrind loads an object of each tool that replaces malloc, besides its own core. */
static bool is_under(const char *tool) {
  const char *loaded = getenv("LD_PRELOAD");
  return loaded != NULL && strstr(loaded, tool) != NULL;
}

static bool is_under_any(void) {
  static const char *const tools[] = {"vgpreload_memcheck", "vgpreload_helgrind",
                                      "vgpreload_drd", "vgpreload_dhat",
                                      "vgpreload_massif"};
  for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++) {
    if (is_under(tools[i])) return true;
  }
  return false;
}

bool hak_malloc_is_watched(void) {
  return __asan_init != NULL || __hwasan_init != NULL || __msan_init != NULL ||
         __tsan_init != NULL || __lsan_do_leak_check != NULL || is_under_any();
}

void hak_malloc_release(void *address) {
  if (__tsan_release != NULL) __tsan_release(address);
}

void hak_malloc_acquire(void *address) {
  if (__tsan_acquire != NULL) __tsan_acquire(address);
}

/* These two report a free of what is not in use, with where it was allocated and freed.
 * They would take a block of malloc's without a word. */
bool hak_malloc_accuse(void *ptr, bool freeing) {
  bool asan = __asan_init != NULL;
  if (!asan && !is_under("vgpreload_memcheck")) return false;
  bool in_use = asan ? __sanitizer_get_ownership(ptr) != 0 : malloc_usable_size(ptr) != 0;
  if (in_use) return false;
  if (freeing) {
    free(ptr);
  } else {
    (void)malloc_usable_size(ptr);
  }
  return freeing || asan;
}
