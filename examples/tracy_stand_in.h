/* tracy_stand_in.h - the part of Tracy's C interface that tracy_heap.c uses, for where
 * Tracy is not installed: it prints what Tracy would be told. */
#ifndef TRACY_STAND_IN_H
#define TRACY_STAND_IN_H

#include <stdio.h>

#define TracyCAllocN(ptr, size, name) \
  printf("tracy: %s: + %p, %zu bytes\n", (name), (ptr), (size_t)(size))
#define TracyCFreeN(ptr, name) printf("tracy: %s: - %p\n", (name), (ptr))
#define TracyCMemoryDiscard(name) printf("tracy: %s: all gone\n", (name))

#endif
