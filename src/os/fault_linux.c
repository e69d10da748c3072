/* fault_linux.c - faults on Linux: SIGSEGV. */
#include <errno.h>
#include <signal.h>
#include <ucontext.h>

#include "base/atomic.h"
#include "os/fault.h"

static _Atomic(hak_fault_fn *) watcher; /* [any] relaxed: it leads to a function */
static struct sigaction before;         /* [const] while the library's handler is set */
static bool is_set;                     /* [owner: who begins or ends to watch] */

static hak_touch_t touch_of(const void *context) {
#if defined(__x86_64__)
  enum {
    WRITE_BIT = 2 /* of the page fault's error code */
  };
  const ucontext_t *c = context;
  return (c->uc_mcontext.gregs[REG_ERR] & WRITE_BIT) != 0 ? HAK_TOUCH_WRITE
                                                          : HAK_TOUCH_READ;
#else
  (void)context;
  return HAK_TOUCH_UNKNOWN;
#endif
}

/* The touch is tried again as soon as this returns, and ends the process; a signal that
 * somebody sent has to be sent again. */
static void pass_to_system(int signal, bool sent) {
  if (sent && before.sa_handler == SIG_IGN) return;
  struct sigaction none = {.sa_handler = SIG_DFL};
  sigaction(signal, &none, NULL);
  if (sent) raise(signal);
}

static void pass_on(int signal, siginfo_t *info, void *context) {
  struct sigaction next = before;
  bool with_info = (next.sa_flags & SA_SIGINFO) != 0;
  if (!with_info && (next.sa_handler == SIG_DFL || next.sa_handler == SIG_IGN)) {
    pass_to_system(signal, info->si_code <= 0);
    return;
  }
  if ((next.sa_flags & (int)SA_RESETHAND) != 0) before.sa_handler = SIG_DFL;
  if ((next.sa_flags & (int)SA_RESETHAND) != 0) before.sa_flags = 0;
  if (with_info) {
    next.sa_sigaction(signal, info, context);
  } else {
    next.sa_handler(signal);
  }
}

static void on_fault(int signal, siginfo_t *info, void *context) {
  int saved = errno;
  hak_fault_fn *fn = hak_load_relaxed(&watcher);
  if (fn != NULL && info->si_code > 0) fn(info->si_addr, touch_of(context));
  errno = saved;
  pass_on(signal, info, context);
}

/* On the handlers' stack, if the program has one, and with the mask of the handler that
 * comes next. A handler of ours that others call by now stays where it is. */
void hak_fault_watch(hak_fault_fn *fn) {
  if (hak_load_relaxed(&watcher) == fn) return;
  int saved = errno;
  hak_fault_fn *none = NULL;
  if (hak_cas_relaxed(&watcher, &none, fn) && !is_set &&
      sigaction(SIGSEGV, NULL, &before) == 0) {
    struct sigaction ours = {.sa_mask = before.sa_mask};
    ours.sa_sigaction = on_fault;
    /* Where nobody listens, a signal that somebody sends interrupts no call. */
    bool is_plain = before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN;
    int kept = before.sa_flags & (int)(SA_NODEFER | SA_RESTART);
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK | kept | (is_plain ? SA_RESTART : 0);
    is_set = sigaction(SIGSEGV, &ours, NULL) == 0;
  }
  errno = saved;
}

void hak_fault_unwatch(void) {
  int saved = errno;
  struct sigaction now;
  hak_store_relaxed(&watcher, NULL);
  if (is_set && sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction == on_fault) {
    is_set = sigaction(SIGSEGV, &before, NULL) != 0;
  }
  errno = saved;
}

/* Also when the object is unloaded that the library is part of. */
static __attribute__((destructor)) void unwatch_at_end(void) { hak_fault_unwatch(); }
