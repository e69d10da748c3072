/* syscalls.c - see syscalls.h */
#include "syscalls.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>

void *__real_mmap(void *address, size_t size, int protection, int flags, int fd,
                  off_t offset);
int __real_munmap(void *address, size_t size);
void *__real_mremap(void *address, size_t size, size_t new_size, int flags, ...);
int __real_madvise(void *address, size_t size, int advice);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd,
                  off_t offset);
int __wrap_munmap(void *address, size_t size);
void *__wrap_mremap(void *address, size_t size, size_t new_size, int flags, ...);
int __wrap_madvise(void *address, size_t size, int advice);

static atomic_uint_fast64_t counts[TEST_SYSCALLS];

static void count(test_syscall_t kind) { atomic_fetch_add(&counts[kind], 1); }

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd,
                  off_t offset) {
  count(TEST_MMAP);
  return __real_mmap(address, size, protection, flags, fd, offset);
}

int __wrap_munmap(void *address, size_t size) {
  count(TEST_MUNMAP);
  return __real_munmap(address, size);
}

void *__wrap_mremap(void *address, size_t size, size_t new_size, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  void *to = (flags & MREMAP_FIXED) != 0 ? va_arg(arguments, void *) : NULL;
  va_end(arguments);
  count(TEST_MREMAP);
  return __real_mremap(address, size, new_size, flags, to);
}

int __wrap_madvise(void *address, size_t size, int advice) {
  count(TEST_MADVISE);
  return __real_madvise(address, size, advice);
}

uint64_t test_syscalls(test_syscall_t kind) { return atomic_load(&counts[kind]); }

uint64_t test_syscalls_all(void) {
  uint64_t all = 0;
  for (int kind = 0; kind < TEST_SYSCALLS; kind++) {
    all += test_syscalls((test_syscall_t)kind);
  }
  return all;
}

uint64_t test_syscalls_giving(void) {
  return test_syscalls(TEST_MUNMAP) + test_syscalls(TEST_MADVISE);
}

uint64_t test_page_faults(void) {
  struct rusage usage;
  CHECK_EQ(getrusage(RUSAGE_THREAD, &usage), 0);
  return (uint64_t)usage.ru_minflt;
}
