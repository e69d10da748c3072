/* thread_linux.c - a thread of the library's own on Linux, as base/sys.h declares it. It
 * is apart from sys_linux.c so that a program that asks for no such thread links no code
 * that makes one.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"

enum {
  STACK_UNIT = 65536,
  STACK_BYTES = 2 * STACK_UNIT /* address space; hooks and handlers run there too */
};
_Static_assert(sizeof(pthread_t) <= sizeof(uint64_t), "a thread is named by a number");

/* glibc takes what a thread has of thread-local storage out of its stack. That of the
 * program is counted, less than 16 KiB of which is as usual. dl_iterate_phdr, which knows
 * that of all objects, may wait for ever in the child of a fork. */
static HAK_SLOW size_t stack_bytes(void) {
  const ElfW(Phdr) *part = (const void *)getauxval(AT_PHDR);
  size_t tls = 0;
  for (size_t left = getauxval(AT_PHNUM); part != NULL && left > 0; left--, part++) {
    if (part->p_type == PT_TLS) tls = part->p_memsz + part->p_align;
  }
  return STACK_BYTES + ((tls + STACK_UNIT / 4 * 3) & ~(size_t)(STACK_UNIT - 1));
}

static int begin_with(pthread_t *id, pthread_attr_t *attributes, void *(*fn)(void *)) {
  sigset_t all, before;
  sigfillset(&all);
  /* It begins with what its maker blocks. */
  int error = pthread_attr_setstacksize(attributes, stack_bytes());
  if (error != 0 || (error = pthread_sigmask(SIG_SETMASK, &all, &before)) != 0) {
    return error;
  }
  error = pthread_create(id, attributes, fn, NULL);
  /* What is not the program's own needs more than that; a usual stack may do. */
  if (error == EINVAL) error = pthread_create(id, NULL, fn, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

int hak_sys_thread_begin(uint64_t *thread, const char *name, void *(*fn)(void *)) {
  if (hak_sys_is_unloading()) return EAGAIN;
  int saved = errno;
  pthread_attr_t attributes;
  pthread_t id;
  int error = pthread_attr_init(&attributes);
  if (error != 0) return error;
  error = begin_with(&id, &attributes, fn);
  pthread_attr_destroy(&attributes);
  if (error == 0) {
    pthread_setname_np(id, name); /* a nicety */
    *thread = (uint64_t)id;
  }
  errno = saved;
  return error;
}

void hak_sys_thread_join(uint64_t thread) {
  int cancel = hak_sys_forbid_cancel();
  pthread_join((pthread_t)thread, NULL);
  hak_sys_allow_cancel(cancel);
}

HAK_SLOW bool hak_sys_thread_join_within(uint64_t thread, uint64_t ns) {
  enum {
    NS_PER_S = 1000000000
  };
  int cancel = hak_sys_forbid_cancel();
  struct timespec until = {0};
  clock_gettime(CLOCK_REALTIME, &until);
  ns += (uint64_t)until.tv_nsec;
  until.tv_sec += (time_t)(ns / NS_PER_S);
  until.tv_nsec = (long)(ns % NS_PER_S);
  int error = pthread_timedjoin_np((pthread_t)thread, NULL, &until);
  hak_sys_allow_cancel(cancel);
  return error == 0;
}

typedef void(unload_fn)(void);
static _Atomic(unload_fn *) before_unload; /* [any] relaxed: it leads to a function */

void hak_sys_thread_before_unload(void (*fn)(void)) {
  hak_store_relaxed(&before_unload, fn);
}

static __attribute__((destructor)) void end_before_unload(void) {
  hak_sys_begin_unloading();
  unload_fn *fn = hak_load_relaxed(&before_unload);
  if (fn != NULL) fn();
}

/* A first thread that has ended stays as a zombie, and counts, until the others have. */
static HAK_SLOW bool has_first_ended(void) {
  char text[64]; /* "NUMBER (NAME) STATE ...", where a name has at most 15 characters */
  int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t length = read(fd, text, sizeof text - 1);
  close(fd);
  if (length <= 0) return false;
  text[length] = '\0';
  const char *name_end = strrchr(text, ')');
  return name_end != NULL && name_end[1] == ' ' && name_end[2] == 'Z';
}

/* A folder has a link for itself, one from above and one from each folder in it. */
HAK_SLOW bool hak_sys_thread_is_last(void) {
  enum {
    LINKS = 2 + 2 /* the first thread and this one */
  };
  int saved = errno, cancel = hak_sys_forbid_cancel();
  struct stat tasks;
  bool last = stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink == LINKS &&
              has_first_ended();
  hak_sys_allow_cancel(cancel);
  errno = saved;
  return last;
}

_Noreturn void hak_sys_thread_exit_last(void) { exit(0); }
