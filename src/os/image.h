/* image.h - where in the program's file a code address lies.
 *
 * Depends on: nothing.   Used by: learn.
 *
 * A program is loaded somewhere else in each run. How far an address is from where the
 * file with the library in it was loaded stays the same, and is what tools that know of
 * source lines ask for. Linkers for ELF say where that is; no lock is taken for it, and
 * no loader asked. Code of other shared objects is in no such file.
 */
#ifndef HAK_OS_IMAGE_H
#define HAK_OS_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Their addresses are the file's first byte in memory and the first one behind it; NULL
 * where the linker does not know of them. */
extern const char __ehdr_start __attribute__((weak, visibility("hidden")));
extern const char _end __attribute__((weak, visibility("hidden")));

/* *offset: bytes from the beginning of the file that the library is part of. False if
 * the address is not in it. */
static inline bool hak_image_find(uintptr_t address, uintptr_t *offset) {
  uintptr_t first = (uintptr_t)&__ehdr_start, end = (uintptr_t)&_end;
  *offset = address - first;
  return first != 0 && address >= first && address < end;
}

#endif
