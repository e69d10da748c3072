/* fault_linux.c - faults on Linux: SIGSEGV.
 *
 * Several objects of a process may each have a copy of the library, and each copy's
 * handler hands faults on to the one that was there before it. A copy that ends while
 * another one's handler lies over its own is taken out of that chain, or the other one
 * would call code that is unloaded. So copies find each other: each has one record, to
 * which its handler's address leads. The object that has the code there is searched for
 * it, and the record has marks, its own address and that of the handler in it. Its layout
 * is a contract between versions; another layout needs other marks.
 */
#include <errno.h>
#include <link.h>
#include <signal.h>
#include <ucontext.h>

#include "base/atomic.h"
#include "base/sys.h"
#include "os/fault.h"

typedef void(action_fn)(int signal, siginfo_t *info, void *context);

typedef struct copy {
  uint64_t marks[2];       /* [const] */
  const struct copy *me;   /* [const] */
  action_fn *handler;      /* [const] */
  hak_atomic_u32_t is_set; /* [any] relaxed: others may call the handler */
  /* [any] who handled faults before: one of the two, or the system; at first NULL.
   * Handlers read it at any time, so the one that it leads to is not written to. */
  _Atomic(const struct sigaction *) before;
  struct sigaction actions[2];
} copy_t;

#define MARKS 0x68616b6d656d2d66u, 0x61756c742d763031u

static action_fn on_fault;

static _Atomic(hak_fault_fn *) watcher; /* [any] relaxed: it leads to a function */
static copy_t this_copy = {.marks = {MARKS}, .me = &this_copy, .handler = on_fault};
static const struct sigaction by_system = {.sa_handler = SIG_DFL};

/* No handler, whatever flags say. */
static bool is_plain(const struct sigaction *action) {
  return action->sa_handler == SIG_DFL || action->sa_handler == SIG_IGN;
}

static const struct sigaction *before_of(const copy_t *copy) {
  /* Acquire: pairs with set_before, which fills the action in. */
  const struct sigaction *before = hak_load_acquire(&copy->before);
  return before == NULL ? &by_system : before;
}

static HAK_SLOW void set_before(copy_t *copy, const struct sigaction *before) {
  bool first = hak_load_relaxed(&copy->before) != &copy->actions[0];
  struct sigaction *unused = &copy->actions[first ? 0 : 1];
  *unused = *before;
  /* Release: pairs with before_of. */
  hak_store_release(&copy->before, unused);
}

/* --- a fault --------------------------------------------------------------------------
 */

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
static void pass_to_system(int signal, bool sent, bool ignored) {
  if (sent && ignored) return;
  sigaction(signal, &by_system, NULL);
  if (sent) raise(signal);
}

static void pass_on(int signal, siginfo_t *info, void *context) {
  const struct sigaction *next = before_of(&this_copy);
  action_fn *with_info = next->sa_sigaction;
  int flags = next->sa_flags;
  if (is_plain(next)) {
    pass_to_system(signal, info->si_code <= 0, next->sa_handler == SIG_IGN);
    return;
  }
  if ((flags & (int)SA_RESETHAND) != 0) {
    const struct sigaction *once = next;
    (void)hak_cas_relaxed(&this_copy.before, &once, &by_system);
  }
  if ((flags & (int)SA_SIGINFO) != 0) {
    with_info(signal, info, context);
  } else {
    next->sa_handler(signal);
  }
}

static void on_fault(int signal, siginfo_t *info, void *context) {
  int saved = errno;
  hak_fault_fn *fn = hak_load_relaxed(&watcher);
  if (fn != NULL && info->si_code > 0) fn(info->si_addr, touch_of(context));
  errno = saved;
  pass_on(signal, info, context);
}

/* --- other copies ---------------------------------------------------------------------
 */

typedef struct search {
  action_fn *handler; /* whose record is wanted */
  copy_t *found;      /* or NULL */
} search_t;

/* In the data of an object as it was linked. Others may be writing to what lies there,
 * but not to what is compared. */
static HAK_SLOW __attribute__((no_sanitize("thread", "address"))) copy_t *find_in(
    uintptr_t from, uintptr_t to, action_fn *handler) {
  from = (from + _Alignof(copy_t) - 1) & ~(uintptr_t)(_Alignof(copy_t) - 1);
  for (; from < to && to - from >= sizeof(copy_t); from += _Alignof(copy_t)) {
    static const uint64_t marks[2] = {MARKS};
    const volatile uint64_t *words = (const volatile uint64_t *)from;
    if (words[0] != marks[0] || words[1] != marks[1]) continue;
    copy_t *copy = (copy_t *)from;
    if (copy->me == copy && copy->handler == handler) return copy;
  }
  return NULL;
}

static HAK_SLOW int look_at(struct dl_phdr_info *object, size_t size, void *ctx) {
  (void)size;
  search_t *search = ctx;
  bool has_code = false;
  const ElfW(Phdr) *end = object->dlpi_phdr + object->dlpi_phnum;
  for (const ElfW(Phdr) *part = object->dlpi_phdr; part < end; part++) {
    uintptr_t at = object->dlpi_addr + part->p_vaddr;
    if (part->p_type == PT_LOAD && (uintptr_t)search->handler - at < part->p_memsz)
      has_code = true;
  }
  for (const ElfW(Phdr) *part = object->dlpi_phdr; has_code && part < end; part++) {
    uintptr_t at = object->dlpi_addr + part->p_vaddr;
    if (part->p_type == PT_LOAD && (part->p_flags & PF_W) != 0 && search->found == NULL)
      search->found = find_in(at, at + part->p_filesz, search->handler);
  }
  return has_code;
}

/* `now` is the process's handler. Looks for the copy that hands faults on to this one,
 * along the copies' handlers, and lets it hand them on to whoever comes next. False if
 * there is none, or it lies behind a handler that is no copy's. */
static HAK_SLOW bool leave_chain(const struct sigaction *now) {
  enum {
    MOST = 1000 /* copies; some program may have made a ring of them */
  };
  for (int i = 0; i < MOST && !is_plain(now); i++) {
    search_t search = {now->sa_sigaction, NULL};
    dl_iterate_phdr(look_at, &search);
    copy_t *other = search.found;
    if (other == NULL) return false;
    now = before_of(other);
    if (now->sa_sigaction != on_fault) continue;
    set_before(other, before_of(&this_copy));
    return true;
  }
  return false;
}

/* --- begin and end --------------------------------------------------------------------
 */

/* On the handlers' stack, if the program has one, and with the mask of the handler that
 * comes next. What was there is what the system says as it is replaced: it may have
 * changed since the first look, which the handler has to have before. */
static HAK_SLOW void install(void) {
  struct sigaction before, replaced;
  if (sigaction(SIGSEGV, NULL, &before) != 0) return;
  set_before(&this_copy, &before);
  struct sigaction ours = {.sa_mask = before.sa_mask};
  ours.sa_sigaction = on_fault;
  /* Where nobody listens, a signal that somebody sends interrupts no call. */
  int kept = before.sa_flags & (int)(SA_NODEFER | SA_RESTART);
  ours.sa_flags = SA_SIGINFO | SA_ONSTACK | kept | (is_plain(&before) ? SA_RESTART : 0);
  if (sigaction(SIGSEGV, &ours, &replaced) != 0) return;
  if (replaced.sa_sigaction != before.sa_sigaction) set_before(&this_copy, &replaced);
  hak_store_relaxed(&this_copy.is_set, 1);
}

/* A handler of ours that others may call by now stays where it is. None can where there
 * is no handler any more. */
static HAK_SLOW bool is_in_place(void) {
  struct sigaction now;
  return hak_load_relaxed(&this_copy.is_set) != 0 &&
         !(sigaction(SIGSEGV, NULL, &now) == 0 && is_plain(&now));
}

void hak_fault_watch(hak_fault_fn *fn) {
  if (hak_load_relaxed(&watcher) == fn || hak_sys_is_unloading()) return;
  int saved = errno;
  hak_fault_fn *none = NULL;
  if (hak_cas_relaxed(&watcher, &none, fn) && !is_in_place()) install();
  errno = saved;
}

/* True if nobody calls the handler any more, as far as that is known. */
static HAK_SLOW bool remove_handler(void) {
  struct sigaction now, replaced;
  if (sigaction(SIGSEGV, NULL, &now) != 0) return false;
  if (now.sa_sigaction != on_fault) return leave_chain(&now);
  if (sigaction(SIGSEGV, before_of(&this_copy), &replaced) != 0) return false;
  if (replaced.sa_sigaction == on_fault) return true;
  /* Somebody came in between, and comes first again. */
  sigaction(SIGSEGV, &replaced, NULL);
  return leave_chain(&replaced);
}

void hak_fault_unwatch(void) {
  int saved = errno;
  hak_store_relaxed(&watcher, NULL);
  if (hak_load_relaxed(&this_copy.is_set) != 0 && remove_handler())
    hak_store_relaxed(&this_copy.is_set, 0);
  errno = saved;
}

/* Also when the object is unloaded that the library is part of. Destructors that run
 * later begin nothing anew. */
static __attribute__((destructor)) void unwatch_at_end(void) {
  hak_sys_begin_unloading();
  hak_fault_unwatch();
}
