/* step.c - runs each fast path once, one instruction at a time, and prints where the
 * processor was: a line "steps FUNCTION ADDRESS..." each.
 *
 * A child warms up and stops before each call; this process then steps it from the
 * function's first instruction until it returns.
 */
#include <elf.h>
#include <hakmem/hakmem.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"

#define WARM_BLOCKS 64
#define LONGEST 10000 /* instructions; no fast path has so many */

static void *blocks[WARM_BLOCKS];
static hak_heap_t *heap, *serial;
static void *volatile result;
HAK_SITE(site);

/* ---- What is stepped -------------------------------------------------------- */

static void call_alloc(void) { result = hak_alloc((size_t)GOLDEN_SIZE); }
static void call_alloc_at(void) { result = hak_alloc_at((size_t)GOLDEN_SIZE, &site); }
static void call_alloc_named(void) {
  result = hak_alloc_named((size_t)GOLDEN_SIZE, &site);
}
static void call_site_of_caller(void) { result = hak_site_of_caller(blocks); }
static void call_alloc_constant(void) { result = golden_alloc_constant(); }
static void call_free(void) { hak_free(blocks[0]); }
static void call_free_sized(void) { hak_free_sized(blocks[1], GOLDEN_SIZE); }
static void call_heap_alloc(void) { result = hak_heap_alloc(heap, (size_t)GOLDEN_SIZE); }
static void call_heap_alloc_at(void) {
  result = hak_heap_alloc_at(heap, (size_t)GOLDEN_SIZE, &site);
}
static void call_serial_alloc(void) {
  result = hak_heap_alloc(serial, (size_t)GOLDEN_SIZE);
}
static void call_serial_free(void) { hak_heap_free(serial, result); }

static const struct {
  const char *name;
  uintptr_t entry;
  void (*call)(void);
} calls[] = {
    {"hak_alloc", (uintptr_t)hak_alloc, call_alloc},
    {"hak_alloc_at", (uintptr_t)hak_alloc_at, call_alloc_at},
    {"hak_alloc_named", (uintptr_t)hak_alloc_named, call_alloc_named},
    {"hak_site_of_caller", (uintptr_t)hak_site_of_caller, call_site_of_caller},
    {"golden_alloc_constant", (uintptr_t)golden_alloc_constant, call_alloc_constant},
    {"hak_free", (uintptr_t)hak_free, call_free},
    {"hak_free_sized", (uintptr_t)hak_free_sized, call_free_sized},
    {"hak_heap_alloc", (uintptr_t)hak_heap_alloc, call_heap_alloc},
    {"hak_heap_alloc_at", (uintptr_t)hak_heap_alloc_at, call_heap_alloc_at},
    {"hak_heap_alloc_serial", (uintptr_t)hak_heap_alloc, call_serial_alloc},
    {"hak_heap_free_serial", (uintptr_t)hak_heap_free, call_serial_free},
};
#define CALLS (sizeof calls / sizeof calls[0])

static void warm_up_heap(hak_heap_t *which) {
  void *some[WARM_BLOCKS];
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < WARM_BLOCKS; i++) {
      some[i] = hak_heap_alloc(which, GOLDEN_SIZE);
      if (some[i] == NULL) abort();
    }
    for (int i = WARM_BLOCKS / 2; i < WARM_BLOCKS; i++) hak_heap_free(which, some[i]);
  }
}

/* Leaves bins half full, so that neither direction meets an end. */
static void warm_up(void) {
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = HAK_HEAP_SERIAL};
  heap = hak_heap_create(NULL);
  serial = hak_heap_create(&config);
  if (heap == NULL || serial == NULL) abort();
  warm_up_heap(heap);
  warm_up_heap(serial);
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < WARM_BLOCKS; i++) {
      blocks[i] = hak_alloc(GOLDEN_SIZE);
      if (blocks[i] == NULL) abort();
    }
    for (int i = WARM_BLOCKS / 2; i < WARM_BLOCKS; i++) hak_free(blocks[i]);
  }
}

static void run_calls(void) {
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(77);
  warm_up();
  for (size_t i = 0; i < CALLS; i++) {
    /* Once as it is, so that the stepped call does not meet its first time. */
    (void)hak_site_of_caller(blocks);
    result = hak_alloc_at(GOLDEN_SIZE, &site);
    hak_free(result);
    hak_free(hak_heap_alloc(heap, GOLDEN_SIZE));
    result = hak_heap_alloc(serial, GOLDEN_SIZE);
    hak_heap_free(serial, result);
    result = hak_heap_alloc(serial, GOLDEN_SIZE);
    raise(SIGSTOP);
    calls[i].call();
  }
  _exit(0);
}

/* ---- The one who steps ------------------------------------------------------ */

typedef struct place {
  uintptr_t at, stack, returns_to; /* the last is true at a function's entry only */
} place_t;

static place_t read_place(pid_t child) {
  struct user_regs_struct registers;
  struct iovec out = {&registers, sizeof registers};
  if (ptrace(PTRACE_GETREGSET, child, (void *)NT_PRSTATUS, &out) != 0) {
    perror("reading registers");
    exit(1);
  }
#if defined(__x86_64__)
  uintptr_t top = (uintptr_t)ptrace(PTRACE_PEEKDATA, child, (void *)registers.rsp, NULL);
  return (place_t){registers.rip, registers.rsp, top};
#elif defined(__aarch64__)
  return (place_t){registers.pc, registers.sp, registers.regs[30]};
#else
#error "no registers are known here"
#endif
}

/* False if the child did not stop as it was meant to. */
static int step(pid_t child) {
  int status = 0;
  return ptrace(PTRACE_SINGLESTEP, child, NULL, NULL) == 0 &&
         waitpid(child, &status, 0) == child && WIFSTOPPED(status) &&
         WSTOPSIG(status) == SIGTRAP;
}

static int step_through(pid_t child, size_t i) {
  place_t place = read_place(child);
  for (int n = 0; place.at != calls[i].entry; n++) {
    if (n == LONGEST || !step(child)) return 0;
    place = read_place(child);
  }
  uintptr_t end = place.returns_to, stack = place.stack;
  printf("steps %s", calls[i].name);
  for (int n = 0; place.at != end || place.stack < stack; n++) {
    printf(" %lx", (unsigned long)place.at);
    if (n == LONGEST || !step(child)) return 0;
    place = read_place(child);
  }
  printf("\n");
  return 1;
}

int main(void) {
  pid_t child = fork();
  if (child < 0) return 1;
  if (child == 0) run_calls();
  for (size_t i = 0; i < CALLS; i++) {
    int status = 0;
    if (i > 0) ptrace(PTRACE_CONT, child, NULL, NULL);
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) {
      fprintf(stderr, "the child cannot be traced, or ended\n");
      return WIFEXITED(status) && WEXITSTATUS(status) == 77 ? 77 : 1;
    }
    if (!step_through(child, i)) {
      fprintf(stderr, "%s: lost the way\n", calls[i].name);
      return 1;
    }
  }
  kill(child, SIGKILL);
  return 0;
}
