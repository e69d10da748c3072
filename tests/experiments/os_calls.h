/* os_calls.h - calls for memory that fail, whoever makes them.
 *
 * The kernel asks a thread of this process before each of them (seccomp's user
 * notification), so it does not matter how an allocator calls the system, or with which
 * library it was linked. Calls for anonymous memory count, and those on what was mapped:
 * mmap, munmap, madvise, mprotect, mremap, brk. Mappings of files and stacks do not.
 */
#ifndef HAKMEM_EXPERIMENTS_OS_CALLS_H
#define HAKMEM_EXPERIMENTS_OS_CALLS_H

#include <stdbool.h>
#include <stddef.h>

/* From now on the calling thread, and those that it begins, are watched. False if the
 * system does not allow that. */
bool os_calls_watch(void);

/* The calls are counted from here on; those from `first` to `last` fail, the first one
 * being number 1. */
void os_calls_begin(size_t first, size_t last);
/* None fails any more. Returns how many there were. */
size_t os_calls_end(void);
/* How many of them failed: an experiment in which none did has shown nothing. */
size_t os_calls_failed(void);

#endif
