/* leak.h - tells LeakSanitizer where blocks lie.
 *
 * Depends on: nothing.   Used by: os, reservation.
 *
 * Pointers in blocks keep what they point at, like those in blocks of the C library.
 * Whether the program has LeakSanitizer is found out when it is linked or loaded, so an
 * ordinary build of the library does for a program that is built with it. In one without,
 * nothing happens.
 */
#ifndef HAK_OS_LEAK_H
#define HAK_OS_LEAK_H

#include <stddef.h>

/* Of sanitizer/lsan_interface.h, which not every compiler brings along. Their addresses
 * are NULL where nobody defines them. */
extern void __lsan_register_root_region(const void *ptr, size_t size)
    __attribute__((weak));
extern void __lsan_unregister_root_region(const void *ptr, size_t size)
    __attribute__((weak));

static inline void hak_leak_root(const void *ptr, size_t size) {
  if (__lsan_register_root_region != NULL) __lsan_register_root_region(ptr, size);
}

static inline void hak_leak_unroot(const void *ptr, size_t size) {
  if (__lsan_unregister_root_region != NULL) __lsan_unregister_root_region(ptr, size);
}

#endif
