/* calls_linux.c - by which calls a thread came to where it is.
 *
 * The libc says it by the tables that compilers leave for exceptions, where it has that:
 * glibc's backtrace, which asks malloc for memory at its first call. Elsewhere frame
 * pointers are followed, as far as functions keep them: a wrong one leads nowhere,
 * because the system reads what it points to. */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/sys.h"

uint64_t hak_sys_thread(void) { return (uint64_t)syscall(SYS_gettid); }

/* Not in every libc, nor in every program that is linked statically. Visible, although
 * the two-file library hides what it declares. */
extern int backtrace(void **frames, int most)
    __attribute__((weak, visibility("default")));

typedef struct frame {
  struct frame *above;
  void *address;
} frame_t;

static bool read_frame(frame_t *out, const frame_t *at) {
  struct iovec to = {out, sizeof *out}, from = {(void *)(uintptr_t)at, sizeof *at};
  return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)sizeof *out;
}

/* Each frame lies above the one before. */
static size_t follow(void **frames, size_t most, const frame_t *at) {
  frame_t frame;
  size_t depth = 0;
  while (depth < most && (uintptr_t)at % sizeof(void *) == 0 && read_frame(&frame, at) &&
         frame.address != NULL) {
    frames[depth++] = frame.address;
    if (frame.above <= at) break;
    at = frame.above;
  }
  return depth;
}

size_t hak_sys_calls(void **frames, size_t most) {
  int saved = errno;
  size_t depth;
  if (backtrace != NULL) {
    int count = backtrace(frames, (int)most);
    depth = count > 0 ? (size_t)count : 0;
  } else {
    depth = follow(frames, most, __builtin_frame_address(0));
  }
  errno = saved;
  return depth;
}
