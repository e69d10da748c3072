/* arena.h - the system's memory in the test's own: a program that runs in it has neither
 * page faults nor calls of the system, so thousands of programs take seconds. What the
 * library counts is as it is over the system: pages that it gives back read as zero, and
 * a page is resident if it was written to since. No time passes, so the same calls come
 * to the same figures.
 *
 * A test that uses it is linked with test_wrap_arena() (syscalls.cmake). One thread. */
#ifndef HAKMEM_TEST_ARENA_H
#define HAKMEM_TEST_ARENA_H

#include "support.h"

/* Bytes; systems whose pages are others have no arena. */
#define TEST_ARENA_PAGE 4096

/* From now on the library's calls are served from the arena, or again by the system. The
 * library is not running. */
void test_arena_begin(void);
void test_arena_end(void);

#endif
