/* os_fault.c - the library's handler for faults among others': the program's, those of
 * other copies of the library, and those that come in between. Linked with
 * --wrap=sigaction and --wrap=dl_iterate_phdr. */
#include "child.h"

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sys.h"
#include "os/fault.h"

/* --- the system -----------------------------------------------------------------------
 */

static struct {
  int looks, sets;               /* calls of the library and of the test */
  int refused_look, refused_set; /* calls from now on until one is; 0 = none */
  /* Set by somebody as the next call that sets an action begins. */
  const struct sigaction *between;
} g;
static void (*g_ours)(int signal, siginfo_t *info, void *context);

int __real_sigaction(int signal, const struct sigaction *to, struct sigaction *from);
int __wrap_sigaction(int signal, const struct sigaction *to, struct sigaction *from);
int __wrap_sigaction(int signal, const struct sigaction *to, struct sigaction *from) {
  *(to != NULL ? &g.sets : &g.looks) += 1;
  int *refused = to != NULL ? &g.refused_set : &g.refused_look;
  if (*refused > 0 && --*refused == 0) {
    /* Nobody may believe what a call that failed has left. */
    if (from != NULL) *from = (struct sigaction){.sa_sigaction = g_ours};
    errno = EPERM;
    return -1;
  }
  const struct sigaction *between = g.between;
  if (to != NULL && between != NULL) {
    g.between = NULL;
    CHECK_EQ(__real_sigaction(signal, between, NULL), 0);
  }
  return __real_sigaction(signal, to, from);
}

static struct sigaction now(void) {
  struct sigaction action;
  CHECK_EQ(__real_sigaction(SIGSEGV, NULL, &action), 0);
  return action;
}
static bool is_now(void (*handler)(int signal, siginfo_t *info, void *context)) {
  return now().sa_sigaction == handler;
}

/* --- handlers -------------------------------------------------------------------------
 */

static atomic_int g_heard, g_mine, g_late;
static struct sigaction g_saved; /* what there was before `passing` */

static void hear(const void *address, hak_touch_t touch) {
  (void)address;
  (void)touch;
  g_heard++;
}
static void hear_too(const void *address, hak_touch_t touch) { hear(address, touch); }

static void mine(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  (void)context;
  g_mine++;
}
static void late(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)info;
  (void)context;
  g_late++;
}
static void passing(int signal, siginfo_t *info, void *context) {
  g_saved.sa_sigaction(signal, info, context);
}

static void set(void (*handler)(int signal, siginfo_t *info, void *context), int flags) {
  struct sigaction action = {.sa_sigaction = handler};
  action.sa_flags = SA_SIGINFO | flags;
  CHECK_EQ(__real_sigaction(SIGSEGV, &action, &g_saved), 0);
}

/* With `mine` before, the library's handler is set. */
static void begin(void) {
  set(mine, 0);
  hak_fault_watch(hear);
  g_ours = now().sa_sigaction;
  CHECK(g_ours != mine);
  memset(&g, 0, sizeof g);
  errno = TEST_ERRNO;
}

/* --- whoever was there before ---------------------------------------------------------
 */

TEST_IN_CHILD(handler__that_was_there_is_called_each_time, 10) {
  begin();
  for (int i = 1; i < 4; i++) {
    raise(SIGSEGV);
    CHECK(g_mine == i && g_heard == 0); /* nobody's fault, as it was sent */
  }
  hak_fault_unwatch();
  CHECK(is_now(mine) && errno == TEST_ERRNO);
}

static int once(void *ctx) {
  set(mine, (int)SA_RESETHAND);
  hak_fault_watch(hear);
  for (int i = 0; i < *(int *)ctx; i++) raise(SIGSEGV);
  return g_mine == 1 ? 0 : 1;
}
static void handler__that_is_for_once_is_called_once(void **state) {
  (void)state;
  int times = 1;
  test_child_must_succeed(once, &times, 10);
  times = 2;
  CHECK_EQ(test_child_run(once, &times, 10).signal, SIGSEGV);
}

TEST_IN_CHILD(signal__that_is_ignored_stays_ignored, 10) {
  CHECK(signal(SIGSEGV, SIG_IGN) != SIG_ERR);
  hak_fault_watch(hear);
  for (int i = 0; i < 3; i++) raise(SIGSEGV);
}

/* --- the beginning --------------------------------------------------------------------
 */

TEST_IN_CHILD(watch__is_for_one_function_and_costs_nothing_again, 10) {
  begin();
  hak_fault_watch(hear);
  hak_fault_watch(hear_too);
  CHECK(g.looks == 0 && g.sets == 0 && is_now(g_ours));
  raise(SIGSEGV);
  CHECK_EQ(g_mine, 1);
}

TEST_IN_CHILD(watch__that_cannot_look_changes_nothing, 10) {
  set(mine, 0);
  errno = TEST_ERRNO;
  g.refused_look = 1;
  hak_fault_watch(hear);
  CHECK(is_now(mine) && g.sets == 0 && errno == TEST_ERRNO);
  /* Nor does one for another function. */
  hak_fault_watch(hear_too);
  CHECK(is_now(mine) && g.sets == 0 && g.looks == 1);
  hak_fault_unwatch();
  CHECK(g.sets == 0 && g.looks == 1);
  hak_fault_watch(hear);
  CHECK(!is_now(mine));
}

TEST_IN_CHILD(watch__that_cannot_set_may_do_so_later, 10) {
  set(mine, 0);
  g.refused_set = 1;
  hak_fault_watch(hear);
  CHECK(is_now(mine));
  hak_fault_unwatch();
  CHECK_EQ(g.sets, 1);
  hak_fault_watch(hear);
  CHECK(!is_now(mine));
  raise(SIGSEGV);
  CHECK_EQ(g_mine, 1);
  hak_fault_unwatch();
  CHECK(is_now(mine));
}

TEST_IN_CHILD(watch__of_an_object_that_goes_begins_nothing, 10) {
  hak_sys_begin_unloading();
  set(mine, 0);
  hak_fault_watch(hear);
  CHECK(is_now(mine) && g.sets == 0);
}

TEST_IN_CHILD(handler__that_comes_in_between_is_handed_to, 10) {
  struct sigaction other = {.sa_sigaction = late, .sa_flags = SA_SIGINFO};
  set(mine, 0);
  g.between = &other;
  hak_fault_watch(hear);
  CHECK(!is_now(late) && !is_now(mine));
  raise(SIGSEGV);
  CHECK(g_late == 1 && g_mine == 0);
  hak_fault_unwatch();
  CHECK(is_now(late));
}

/* --- the end --------------------------------------------------------------------------
 */

TEST_IN_CHILD(unwatch__leaves_what_was_set_later, 10) {
  begin();
  set(passing, 0);
  for (int i = 1; i < 4; i++) {
    hak_fault_unwatch();
    CHECK(is_now(passing) && g.sets == 0);
    /* The library's handler is still called, by that one, and is not set over it. */
    hak_fault_watch(hear);
    CHECK(is_now(passing) && g.sets == 0);
    raise(SIGSEGV);
    CHECK_EQ(g_mine, i);
  }
}

TEST_IN_CHILD(unwatch__that_is_refused_may_be_made_again, 10) {
  begin();
  g.refused_look = 1;
  hak_fault_unwatch();
  CHECK(is_now(g_ours) && g.sets == 0 && errno == TEST_ERRNO);
  g.refused_set = 1;
  hak_fault_unwatch();
  CHECK(is_now(g_ours) && errno == TEST_ERRNO);
  int sets = g.sets;
  hak_fault_watch(hear); /* it is there, and does not hand on to itself */
  CHECK_EQ(g.sets, sets);
  raise(SIGSEGV);
  CHECK_EQ(g_mine, 1);
  hak_fault_unwatch();
  CHECK(is_now(mine));
}

TEST_IN_CHILD(unwatch__puts_back_what_comes_in_between, 10) {
  struct sigaction other = {.sa_sigaction = late, .sa_flags = SA_SIGINFO};
  begin();
  g.between = &other;
  hak_fault_unwatch();
  CHECK(is_now(late));
  hak_fault_watch(hear); /* that one may call the library's handler */
  CHECK(is_now(late));
}

/* --- other copies of the library ------------------------------------------------------
 */

/* As the library has it in its data: a contract between versions. */
typedef struct copy {
  uint64_t marks[2];
  const struct copy *me;
  void (*handler)(int signal, siginfo_t *info, void *context);
  atomic_uint is_set;
  const struct sigaction *_Atomic before;
  struct sigaction actions[2];
} copy_t;

#define MARKS \
  { 0x68616b6d656d2d66u, 0x61756c742d763031u }

static void copy_1(int signal, siginfo_t *info, void *context);
static void copy_2(int signal, siginfo_t *info, void *context);
static copy_t g_copies[2] = {{.marks = MARKS, .me = &g_copies[0], .handler = copy_1},
                             {.marks = MARKS, .me = &g_copies[1], .handler = copy_2}};
static void hand_on(copy_t *copy, int signal, siginfo_t *info, void *context) {
  copy->before->sa_sigaction(signal, info, context);
}
static void copy_1(int signal, siginfo_t *info, void *context) {
  hand_on(&g_copies[0], signal, info, context);
}
static void copy_2(int signal, siginfo_t *info, void *context) {
  hand_on(&g_copies[1], signal, info, context);
}

/* `count` copies have been set after the library's handler. */
static void stack_copies(size_t count) {
  for (size_t i = 0; i < count; i++) {
    set(g_copies[i].handler, 0);
    g_copies[i].actions[0] = g_saved;
    g_copies[i].before = &g_copies[i].actions[0];
  }
}

static void check_leaves(size_t copies) {
  hak_fault_unwatch();
  CHECK(is_now(g_copies[copies - 1].handler) && g.sets == 0);
  CHECK(g_copies[0].before->sa_sigaction == mine);
  /* A handler may be reading the action that there was. */
  CHECK(g_copies[0].actions[0].sa_sigaction == g_ours);
  for (size_t i = 1; i < copies; i++) {
    CHECK(g_copies[i].before->sa_sigaction == g_copies[i - 1].handler);
  }
  raise(SIGSEGV);
  CHECK_EQ(g_mine, 1);
}
TEST_IN_CHILD(unwatch__leaves_the_chain_of_copies, 10) {
  begin();
  stack_copies(1);
  check_leaves(1);
}
TEST_IN_CHILD(unwatch__leaves_a_long_chain_of_copies, 10) {
  begin();
  stack_copies(2);
  check_leaves(2);
}
TEST_IN_CHILD(unwatch__that_finds_no_copy_leaves_the_handler_in_use, 10) {
  static const struct sigaction none = {.sa_handler = SIG_DFL};
  begin();
  stack_copies(1);
  g_copies[0].before = &none; /* it hands on to nobody */
  hak_fault_unwatch();
  CHECK(g_copies[0].before == &none && is_now(copy_1));
  hak_fault_watch(hear);
  CHECK_EQ(g.sets, 0);
}

/* Objects that the loader tells of. */
static struct dl_phdr_info *g_objects;
static size_t g_object_count;

typedef int(object_fn)(struct dl_phdr_info *object, size_t size, void *ctx);
int __real_dl_iterate_phdr(object_fn *fn, void *ctx);
int __wrap_dl_iterate_phdr(object_fn *fn, void *ctx);
int __wrap_dl_iterate_phdr(object_fn *fn, void *ctx) {
  if (g_objects == NULL) return __real_dl_iterate_phdr(fn, ctx);
  int stop = 0;
  for (size_t i = 0; i < g_object_count && stop == 0; i++) {
    stop = fn(&g_objects[i], sizeof g_objects[i], ctx);
  }
  return stop;
}

#define PART(type, flags, at, size)                                                      \
  {                                                                                      \
    .p_type = (type), .p_flags = (flags), .p_vaddr = (uintptr_t)(at), .p_memsz = (size), \
    .p_filesz = (size)                                                                   \
  }

/* Only the data of the object with the handler's code is read. */
TEST_IN_CHILD(copies__are_looked_for_in_data_alone, 10) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  void *closed = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(closed != MAP_FAILED);
  static uint64_t empty[64];
  const ElfW(Phdr) other[] = {PART(PT_NOTE, PF_R, (uintptr_t)copy_1, 1),
                              PART(PT_LOAD, PF_R | PF_W, closed, page)};
  const ElfW(Phdr) parts[] = {PART(PT_LOAD, PF_X, closed, page),
                              PART(PT_LOAD, PF_R | PF_X, (uintptr_t)copy_1 - 8, 16),
                              PART(PT_GNU_STACK, PF_R | PF_W, closed, page),
                              PART(PT_LOAD, PF_R | PF_W, empty, sizeof empty),
                              PART(PT_LOAD, PF_R | PF_W, g_copies, sizeof g_copies),
                              PART(PT_LOAD, PF_R | PF_W, empty, sizeof empty)};
  struct dl_phdr_info objects[] = {{.dlpi_phdr = other, .dlpi_phnum = TEST_COUNT(other)},
                                   {.dlpi_phdr = parts, .dlpi_phnum = TEST_COUNT(parts)},
                                   {.dlpi_phdr = other, .dlpi_phnum = TEST_COUNT(other)}};
  begin();
  stack_copies(1);
  g_object_count = TEST_COUNT(objects);
  g_objects = objects;
  hak_fault_unwatch();
  g_objects = NULL;
  CHECK(is_now(copy_1) && g_copies[0].before->sa_sigaction == mine);
}

TEST_MAIN_FRESH(
    T(handler__that_was_there_is_called_each_time),
    T(handler__that_is_for_once_is_called_once), T(signal__that_is_ignored_stays_ignored),
    T(watch__is_for_one_function_and_costs_nothing_again),
    T(watch__that_cannot_look_changes_nothing), T(watch__that_cannot_set_may_do_so_later),
    T(watch__of_an_object_that_goes_begins_nothing),
    T(handler__that_comes_in_between_is_handed_to), T(unwatch__leaves_what_was_set_later),
    T(unwatch__that_is_refused_may_be_made_again),
    T(unwatch__puts_back_what_comes_in_between), T(unwatch__leaves_the_chain_of_copies),
    T(unwatch__leaves_a_long_chain_of_copies),
    T(unwatch__that_finds_no_copy_leaves_the_handler_in_use),
    T(copies__are_looked_for_in_data_alone))
