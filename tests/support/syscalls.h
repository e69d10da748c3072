/* syscalls.h - calls to the system's memory functions, counted by what they do and by
 * whether the test is inside a call that it watches.
 *
 * A test that uses these is linked with test_wrap_syscalls() (syscalls.cmake): the
 * library's calls of mmap, munmap, mremap and madvise then pass here. */
#ifndef HAKMEM_TEST_SYSCALLS_H
#define HAKMEM_TEST_SYSCALLS_H

#include "support.h"

typedef enum test_syscall {
  TEST_MMAP,
  TEST_MUNMAP,
  TEST_MREMAP,
  TEST_MADVISE,
  TEST_SYSCALLS
} test_syscall_t;

/* Calls of this process so far, by all threads. */
uint64_t test_syscalls(test_syscall_t kind);
/* Of all kinds. */
uint64_t test_syscalls_all(void);
/* Calls that give memory back, or advise. */
uint64_t test_syscalls_giving(void);

/* Page faults of this thread so far that needed no disk. */
uint64_t test_page_faults(void);

#endif /* HAKMEM_TEST_SYSCALLS_H */
