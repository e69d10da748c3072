/* thread_linux.c - a thread of the library's own on Linux, as base/sys.h declares it. It
 * is apart from sys_linux.c so that a program that asks for no such thread links no code
 * that makes one.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "base/sys.h"

enum {
  STACK_BYTES =
      131072 /* address space; hooks and handlers of the program run there too */
};
_Static_assert(sizeof(pthread_t) <= sizeof(uint64_t), "a thread is named by a number");

static int begin_with(pthread_t *id, pthread_attr_t *attributes, void *(*fn)(void *)) {
  sigset_t all, before;
  sigfillset(&all);
  /* It begins with what its maker blocks. */
  int error = pthread_attr_setstacksize(attributes, STACK_BYTES);
  if (error != 0 || (error = pthread_sigmask(SIG_SETMASK, &all, &before)) != 0) {
    return error;
  }
  error = pthread_create(id, attributes, fn, NULL);
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
