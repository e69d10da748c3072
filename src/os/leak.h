/* leak.h - tells LeakSanitizer where blocks lie.
 *
 * Depends on: nothing.   Used by: os, reservation.
 *
 * Pointers in blocks keep what they point at, like those in blocks of the C library. In
 * builds without LeakSanitizer nothing happens.
 */
#ifndef HAK_OS_LEAK_H
#define HAK_OS_LEAK_H

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#define hak_leak_root(ptr, size) __lsan_register_root_region((ptr), (size))
#define hak_leak_unroot(ptr, size) __lsan_unregister_root_region((ptr), (size))
#else
#define hak_leak_root(ptr, size) ((void)(ptr), (void)(size))
#define hak_leak_unroot(ptr, size) ((void)(ptr), (void)(size))
#endif

#endif
