/* fibers.c - the threads of a scenario. One thread of the system runs them all, each on a
 * stack of its own and with thread-local variables of its own: those of a thread of the
 * system that does nothing else than to have them. So their addresses differ, as the
 * library expects of threads.
 */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "engine.h"
#include "world.h"

enum {
  STACK = 256 * 1024 /* bytes */
};

typedef struct fiber {
  jmp_buf start, here;
  char *stack;
  uintptr_t
      pointer; /* the thread pointer, to which thread-local variables are relative */
} fiber_t;

typedef struct fibers {
  fiber_t fiber[THREADS];
  jmp_buf home;  /* of the explorer, while an execution is under way */
  jmp_buf again; /* of the explorer, while a fiber begins */
  uintptr_t pointer;
  unsigned running; /* THREADS: the explorer */
  sem_t ready;
} fibers_t;

static fibers_t *f;

/* --- the thread pointer ------------------------------------------------------------- */

static uintptr_t pointer_now(void) { return (uintptr_t)__builtin_thread_pointer(); }

#if defined(__x86_64__)
enum {
  CAP_FSGSBASE = 2, /* of AT_HWCAP2: the next instruction is allowed */
  SET_FS = 0x1002   /* of arch_prctl */
};
static void set_pointer(uintptr_t pointer) {
  static int direct = -1;
  if (direct < 0) direct = (getauxval(AT_HWCAP2) & CAP_FSGSBASE) != 0;
  if (direct) {
    __asm__ volatile("wrfsbase %0" ::"r"(pointer) : "memory");
  } else {
    syscall(SYS_arch_prctl, SET_FS, pointer);
  }
}
#else
static void set_pointer(uintptr_t pointer) {
  __asm__ volatile("msr tpidr_el0, %0" ::"r"(pointer) : "memory");
}
#endif

static void run_as(unsigned number) {
  f->running = number;
  set_pointer(number == THREADS ? f->pointer : f->fiber[number].pointer);
}

/* --- who has the variables ---------------------------------------------------------- */

static void *lend(void *arg) {
  unsigned number = (unsigned)(uintptr_t)arg;
  f->fiber[number].pointer = pointer_now();
  world_note_local(number);
  sem_post(&f->ready);
  for (;;) pause();
  return NULL;
}

/* --- stacks ------------------------------------------------------------------------- */

/* The frame of this function stays as long as the process: each execution begins the
 * fiber by a jump into it. */
static void fiber_main(int number) {
  volatile int mine = number;
  if (_setjmp(f->fiber[mine].start) == 0) _longjmp(f->again, 1);
  thread_t *thread = &g->thread[mine];
  thread->fn();
  if (g->scenario->ends) platform_end_thread();
  search_end_thread();
}

static void fiber_begin(int number) {
  ucontext_t context;
  if (_setjmp(f->again) != 0) return;
  getcontext(&context);
  context.uc_stack.ss_sp = f->fiber[number].stack;
  context.uc_stack.ss_size = STACK;
  context.uc_link = NULL;
  makecontext(&context, (void (*)(void))fiber_main, 1, number);
  setcontext(&context);
}

bool fiber_owns(uintptr_t address) {
  uintptr_t stack = (uintptr_t)f->fiber[f->running].stack;
  return f->running != THREADS && address - stack < STACK;
}

static void on_signal(int number, siginfo_t *info, void *context) {
  (void)context;
  if (number == SIGSEGV && info->si_code == SEGV_ACCERR && world_write(info->si_addr)) {
    return;
  }
  if (!g->running) {
    run_as(THREADS);
    signal(number, SIG_DFL);
    raise(number);
    return;
  }
  failed("signal %d: %s", number, strsignal(number));
}

static void catch_signals(void) {
  static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
  stack_t stack = {.ss_sp = malloc(STACK), .ss_size = STACK};
  sigaltstack(&stack, NULL);
  struct sigaction action = {.sa_sigaction = on_signal,
                             .sa_flags = SA_ONSTACK | SA_NODEFER | SA_SIGINFO};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    sigaction(numbers[i], &action, NULL);
  }
}

void fibers_start(void) {
  f = calloc(1, sizeof *f);
  f->running = THREADS;
  f->pointer = pointer_now();
  world_note_local(THREADS);
  sem_init(&f->ready, 0, 0);
  for (int i = 0; i < THREADS; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, lend, (void *)(uintptr_t)i) != 0) {
      perror("pthread_create");
      exit(2);
    }
    sem_wait(&f->ready);
    f->fiber[i].stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    fiber_begin(i);
  }
  catch_signals();
}

/* --- switches ----------------------------------------------------------------------- */

void fiber_switch(thread_t *to) {
  thread_t *from = g->current;
  if (to == NULL) fiber_leave();
  if (_setjmp(f->fiber[from->number].here) != 0) return;
  g->current = to;
  run_as(to->number);
  _longjmp(f->fiber[to->number].here, 1);
}

/* A thread that has not run yet runs up to its first step when it is begun. */
void fibers_run(thread_t *first) {
  if (_setjmp(f->home) == 0) {
    for (unsigned i = 0; i < g->threads; i++) {
      memcpy(f->fiber[i].here, f->fiber[i].start, sizeof(jmp_buf));
    }
    g->current = first;
    g->running = true;
    run_as(first->number);
    _longjmp(f->fiber[first->number].here, 1);
  }
  g->running = false;
  g->current = NULL;
}

_Noreturn void fiber_leave(void) {
  g->running = false;
  run_as(THREADS);
  _longjmp(f->home, 1);
}

void fiber_home(void) { run_as(THREADS); }

void fiber_call_as(unsigned number, void (*fn)(void)) {
  run_as(number);
  fn();
  run_as(THREADS);
}
