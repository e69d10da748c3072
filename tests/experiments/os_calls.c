#include "os_calls.h"

#include "experiments.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static _Atomic int listener = -1;
static _Atomic bool counts;
static _Atomic size_t calls, fail_first, fail_last, failed;

static bool is_for_memory(const struct seccomp_data *call) {
  switch (call->nr) {
    case SYS_mmap:
      return (call->args[3] & MAP_ANONYMOUS) != 0 && (call->args[3] & MAP_STACK) == 0;
    case SYS_brk:
      return call->args[0] != 0;
    default:
      return true;
  }
}

/* The answer to one call. */
static void answer(const struct seccomp_notif *asked, struct seccomp_notif_resp *reply) {
  memset(reply, 0, sizeof *reply);
  reply->id = asked->id;
  reply->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  if (!atomic_load(&counts) || !is_for_memory(&asked->data)) return;
  size_t number = atomic_fetch_add(&calls, 1) + 1;
  if (number < atomic_load(&fail_first) || number > atomic_load(&fail_last)) return;
  reply->flags = 0;
  atomic_fetch_add(&failed, 1);
  if (asked->data.nr == SYS_brk) {
    reply->val = syscall(SYS_brk, 0); /* a break that stays where it is */
  } else {
    reply->error = -ENOMEM;
  }
}

/* Is not watched itself, as it began before. */
static void *attend(void *nothing) {
  struct seccomp_notif asked;
  struct seccomp_notif_resp reply;
  int file;
  while ((file = atomic_load(&listener)) < 0) sched_yield();
  for (;;) {
    memset(&asked, 0, sizeof asked);
    if (ioctl(file, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) {
      if (errno == EINTR || errno == ENOENT) continue;
      return nothing;
    }
    answer(&asked, &reply);
    ioctl(file, SECCOMP_IOCTL_NOTIF_SEND, &reply);
  }
}

bool os_calls_watch(void) {
#ifdef ARCHITECTURE
#define ASK(number)                                  \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), \
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)
  static struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      ASK(SYS_mmap),
      ASK(SYS_munmap),
      ASK(SYS_madvise),
      ASK(SYS_mprotect),
      ASK(SYS_mremap),
      ASK(SYS_brk),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  static const struct sock_fprog filter = {COUNT(rules), rules};
  unsigned long thread;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  thread_begin(&thread, attend, NULL);
  long file = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                      SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter);
  if (file < 0) return false;
  atomic_store(&listener, (int)file);
  return true;
#else
  return false;
#endif
}

void os_calls_begin(size_t first, size_t last) {
  atomic_store(&calls, 0);
  atomic_store(&fail_first, first);
  atomic_store(&fail_last, last);
  atomic_store(&counts, true);
}

size_t os_calls_end(void) {
  atomic_store(&counts, false);
  return atomic_load(&calls);
}

size_t os_calls_failed(void) { return atomic_load(&failed); }
