/* guarded.c - misuse of guarded blocks is named where it happens: each kind for blocks of
 * several sizes, with the block, its heap, its place, and the calls by which it came and
 * went; and then the fault goes on to whoever handles it. */
#include "child.h"
#include "threads.h"

#include <hakmem/sites.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The places of this file are named where it says so. */
#undef hak_alloc
#undef hak_realloc

static void to_nobody(const char *text, size_t length, void *ctx) {
  (void)text;
  (void)length;
  (void)ctx;
}
static bool is_guarded(const void *block) {
  return hak_guard_explain(block, to_nobody, NULL);
}

static void guard_all(void) { CHECK_EQ(hak_option_set(HAK_OPTION_GUARD_SAMPLE, 1), 0); }

/* A block whose end (or, `left`, whose beginning) is as near to that of a page as its
 * alignment allows. */
static char *block_of(size_t size, bool left) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  for (;;) {
    char *block = hak_alloc(size);
    CHECK(block != NULL && is_guarded(block));
    if (((uintptr_t)block % page == 0) == left || size % page == 0) return block;
    hak_free(block);
  }
}

/* What the child has to print, from the expected fault on; it writes it down before. */
static void expect(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void expect(const char *format, ...) {
  char text[1000];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  CHECK(length > 0 && (size_t)length < sizeof text);
  dprintf(STDERR_FILENO, "expected\n%s<\n", text);
}

/* Where an access is not known to be a write or a read the text says so. */
#if defined(__x86_64__)
#define READ "a read"
#define WRITE "a write"
#else
#define READ "an access"
#define WRITE "an access"
#endif

#define LINE "hakmem: %s: address %p, %zu bytes, heap %p \"default\", in %s\n"

static void expect_fault(const char *kind, const void *at, size_t size, const char *how,
                         const char *where, const void *block, const char *state) {
  expect(LINE
         "hakmem: %p is %s the guarded block %p of %zu bytes%s\nhakmem: allocated by "
         "thread %d:\n",
         kind, at, size, (void *)hak_heap_default(), how, at, where, block, size, state,
         (int)gettid());
}

/* --- the kinds ------------------------------------------------------------------------
 */

typedef struct kind {
  const char *name;
  void (*misuse)(size_t size);
  bool faults;       /* else it is reported to the error handler, which aborts */
  bool freed;        /* and has two stacks */
  const char *error; /* what stands in the line of a report */
} kind_t;

/* The first byte behind the block that is not its own page's. */
static char *behind(char *block, size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  return (char *)(((uintptr_t)block + size + page - 1) & ~(page - 1));
}

static void overflow(size_t size, bool write) {
  char *block = block_of(size, false);
  volatile char *at = behind(block, size);
  char where[80];
  size_t bytes = (size_t)((const char *)at - block) - size + 1;
  snprintf(where, sizeof where, "%zu byte%s behind the end of", bytes,
           bytes == 1 ? "" : "s");
  CHECK(bytes <= 16);
  expect_fault("overflow", (const void *)at, size, write ? WRITE : READ, where, block,
               "");
  if (write) {
    *at = 1;
  } else {
    (void)*at;
  }
}
static void overflow_write(size_t size) { overflow(size, true); }
static void overflow_read(size_t size) { overflow(size, false); }

static void underflow(size_t size, bool write) {
  char *block = block_of(size, true);
  volatile char *at = block - 1;
  expect_fault("underflow", (const void *)at, size, write ? WRITE : READ, "1 byte before",
               block, "");
  if (write) {
    *at = 1;
  } else {
    (void)*at;
  }
}
static void underflow_write(size_t size) { underflow(size, true); }
static void underflow_read(size_t size) { underflow(size, false); }

static void after_free(size_t size, size_t at, bool write) {
  char *block = block_of(size, false);
  char where[40];
  snprintf(where, sizeof where, "byte %zu of", at);
  hak_free(block);
  expect_fault("use after free", block + at, size, write ? WRITE : READ, where, block,
               ", which was freed");
  volatile char *used = block + at;
  if (write) {
    *used = 1;
  } else {
    (void)*used;
  }
}
static void write_after_free(size_t size) { after_free(size, size / 2, true); }
static void read_after_free(size_t size) { after_free(size, size - 1, false); }
static void read_after_realloc(size_t size) {
  char *block = block_of(size, true);
  CHECK(hak_realloc(block, size + 1) != NULL);
  expect_fault("use after free", block, size, READ, "byte 0 of", block,
               ", which was freed");
  (void)*(volatile char *)block;
}

static void *free_it(void *block) {
  hak_free(block);
  return NULL;
}
static void write_after_free_by_another(size_t size) {
  char *block = block_of(size, true);
  test_thread_run(free_it, block);
  expect_fault("use after free", block, size, WRITE, "byte 0 of", block,
               ", which was freed");
  *(volatile char *)block = 1;
}

static void free_twice(size_t size) {
  char *block = block_of(size, false);
  hak_free(block);
  hak_free(block);
}
static void free_twice_by_another(size_t size) {
  char *block = block_of(size, false);
  test_thread_run(free_it, block);
  hak_free(block);
}
static void realloc_freed(size_t size) {
  char *block = block_of(size, false);
  hak_free(block);
  (void)hak_realloc(block, size + 1);
}
static void usable_of_freed(size_t size) {
  char *block = block_of(size, false);
  hak_free(block);
  (void)hak_usable_size(block);
}
static void free_inside(size_t size) { hak_free(block_of(size, true) + size - 1); }
static void free_behind(size_t size) { hak_free(block_of(size, true) + size); }
static void free_before(size_t size) { hak_free(block_of(size, false) - 16); }
static void overflow_in_serial_heap(size_t size) {
  hak_heap_t *heap = test_heap(HAK_HEAP_SERIAL, "default", NULL);
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *block;
  do {
    block = hak_heap_alloc(heap, size);
    CHECK(block != NULL && is_guarded(block));
  } while ((uintptr_t)block % page != 0 && size % page != 0);
  *(volatile char *)(block + size) = 0;
  hak_free(block);
}
static void free_sized_wrong(size_t size) {
  hak_free_sized(block_of(size, false), size + 1);
}
/* What lies in the block's own pages is looked at when it is freed. */
static void overflow_a_little(size_t size) {
  char *block = block_of(size, true);
  *(volatile char *)(block + size) = 0;
  hak_free(block);
}
static void underflow_a_little(size_t size) {
  char *block = block_of(size, false);
  *(volatile char *)(block - 1) = 0;
  hak_free(block);
}

static const kind_t kinds[] = {
    {"a write behind the block", overflow_write, true, false, NULL},
    {"a read behind the block", overflow_read, true, false, NULL},
    {"a write before the block", underflow_write, true, false, NULL},
    {"a read before the block", underflow_read, true, false, NULL},
    {"a write after the free", write_after_free, true, true, NULL},
    {"a read after the free", read_after_free, true, true, NULL},
    {"a read after a realloc", read_after_realloc, true, true, NULL},
    {"a write after another's free", write_after_free_by_another, true, true, NULL},
    {"a double free", free_twice, false, true,
     "in hak_free: no block is there any more\n"},
    {"a double free by another thread", free_twice_by_another, false, true,
     "in hak_free: no block is there any more\n"},
    {"a realloc of a freed block", realloc_freed, false, true,
     "in hak_realloc: no block is there any more\n"},
    {"the size of a freed block", usable_of_freed, false, true,
     "in hak_usable_size: no block is there any more\n"},
    {"a free inside the block", free_inside, false, false,
     "in hak_free: the address is inside a block, not its start\n"},
    {"a free behind the block", free_behind, false, false,
     "in hak_free: the address is in no block of ours\n"},
    {"a free before the block", free_before, false, false,
     "in hak_free: the address is in no block of ours\n"},
    {"a sized free, too large", free_sized_wrong, false, false,
     "in hak_free_sized: the size given is larger than the block\n"},
    {"a write behind the block, in its page", overflow_a_little, false, false,
     "in hak_free: the bytes behind the block were written to\n"},
    {"a write behind a block of a serial heap", overflow_in_serial_heap, false, false,
     "in hak_free: the bytes behind the block were written to\n"},
    {"a write before the block, in its page", underflow_a_little, false, false,
     "in hak_free: the bytes before the block were written to\n"},
};

static const size_t sizes[] = {2, 100, 5000, 50000};

typedef struct a_case {
  const kind_t *kind;
  size_t size;
} a_case_t;

static int misuse(void *ctx) {
  const a_case_t *c = ctx;
  guard_all();
  c->kind->misuse(c->size);
  return 0;
}

/* The text between "expected\n" and "<\n" comes once more behind it. */
static bool is_as_expected(const char *output) {
  static const char begin[] = "expected\n";
  const char *from = strstr(output, begin);
  if (from == NULL) return false;
  from += sizeof begin - 1;
  const char *to = strstr(from, "<\n");
  if (to == NULL) return false;
  size_t length = (size_t)(to - from);
  return strncmp(to + 2, from, length) == 0;
}

static size_t count_of(const char *text, const char *what) {
  size_t count = 0;
  for (; (text = strstr(text, what)) != NULL; text++) count++;
  return count;
}

/* The executable's own functions are in each stack, as "FILE+0xADDRESS". */
static bool has_stacks(const char *output, size_t count) {
  return count_of(output, "hakmem: allocated by thread ") ==
             1 + (count_of(output, "<\n")) &&
         count_of(output, "hakmem: freed by thread ") == count - 1 &&
         count_of(output, "hakmem: freed ") == count - 1 &&
         count_of(output, "guarded+0x") >= count;
}

static void check_case(const a_case_t *c) {
  const kind_t *kind = c->kind;
  test_child_t child = test_child_run(misuse, (void *)(uintptr_t)c, 60);
  /* A sanitizer's handler comes after the library's, and ends the process otherwise. */
  int want = kind->faults ? SIGSEGV : SIGABRT;
  bool sanitized = TEST_ASAN || TEST_TSAN;
  bool ended = sanitized ? child.signal != 0 || child.status != 0 : child.signal == want;
  CHECK_MSG(ended, "%s, %zu bytes: signal %d, status %d: %s", kind->name, c->size,
            child.signal, child.status, child.output);
  bool named = kind->faults ? is_as_expected(child.output)
                            : strstr(child.output, kind->error) != NULL &&
                                  strstr(child.output, "\"default\"") != NULL;
  CHECK_MSG(named, "%s, %zu bytes: %s", kind->name, c->size, child.output);
  CHECK_MSG(has_stacks(child.output, kind->freed ? 2 : 1), "%s, %zu bytes: %s",
            kind->name, c->size, child.output);
}

static void misuse__of_each_kind_is_named_at_once(void **state) {
  (void)state;
  for (size_t k = 0; k < TEST_COUNT(kinds); k++) {
    for (size_t s = 0; s < TEST_COUNT(sizes); s++) {
      check_case(&(a_case_t){&kinds[k], sizes[s]});
    }
  }
}

/* --- what else is said ----------------------------------------------------------------
 */

static int use_of_a_place(void *ctx) {
  (void)ctx;
  HAK_SITE(particles);
  guard_all();
  char *block = hak_alloc_at(100, &particles);
  CHECK(block != NULL && is_guarded(block));
  hak_free(block);
  (void)*(volatile char *)block;
  return 0;
}
static void report__names_the_place(void **state) {
  (void)state;
  test_child_t child = test_child_run(use_of_a_place, NULL, 60);
  CHECK_MSG(strstr(child.output, "of 100 bytes, which was freed, place particles ") &&
                strstr(child.output, "guarded.c:"),
            "%s", child.output);
}

static int use_after_destroy(void *ctx) {
  guard_all();
  hak_heap_t *heap = test_heap(0, "level", NULL);
  char *block = hak_heap_alloc(heap, 100);
  CHECK(block != NULL && is_guarded(block));
  CHECK_EQ(ctx != NULL ? hak_heap_destroy(heap) : hak_heap_reset(heap), 0);
  (void)*(volatile char *)block;
  return 0;
}
static void block__of_a_heap_that_ended_faults(void **state) {
  (void)state;
  for (int destroyed = 0; destroyed < 2; destroyed++) {
    test_child_t child =
        test_child_run(use_after_destroy, destroyed != 0 ? &child : NULL, 60);
    CHECK_MSG(strstr(child.output, "hakmem: use after free: address ") &&
                  strstr(child.output, "hakmem: freed with all blocks of its heap\n"),
              "%s", child.output);
    CHECK_EQ(strstr(child.output, "\"level\"") != NULL, destroyed == 0);
  }
}

static size_t two_frames(void **frames, size_t most, void *ctx) {
  CHECK(most >= 2);
  frames[0] = (void *)0x1001;
  frames[1] = ctx;
  return 2;
}
static int use_with_hook(void *ctx) {
  (void)ctx;
  hak_set_stack_hook(two_frames, (void *)0x2002);
  guard_all();
  char *block = hak_alloc(100);
  hak_free(block);
  (void)*(volatile char *)block;
  return 0;
}
static void stacks__are_those_of_the_hook(void **state) {
  (void)state;
  test_child_t child = test_child_run(use_with_hook, NULL, 60);
  CHECK_MSG(count_of(child.output, ":\nhakmem:   0x1001\nhakmem:   0x2002\n") == 2, "%s",
            child.output);
}

/* --- whose the fault is ---------------------------------------------------------------
 */

static sigjmp_buf g_out;
static volatile sig_atomic_t g_seen;
static void *volatile g_where;

static void leave_plain(int number) {
  g_seen = number;
  siglongjmp(g_out, 1);
}
static void leave_with_info(int number, siginfo_t *info, void *context) {
  (void)context;
  g_where = info->si_addr;
  leave_plain(number);
}

static void install(bool with_info, int flags) {
  struct sigaction action = {.sa_flags = flags};
  if (with_info) action.sa_sigaction = leave_with_info;
  if (with_info) action.sa_flags |= SA_SIGINFO;
  if (!with_info) action.sa_handler = leave_plain;
  CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
}

static void touch_freed(void) {
  char *block = block_of(100, true);
  hak_free(block);
  g_seen = 0;
  g_where = NULL;
  if (sigsetjmp(g_out, 1) == 0) {
    *(volatile char *)block = 1;
    CHECK(false);
  }
  CHECK_EQ(g_seen, SIGSEGV);
  CHECK(g_where == NULL || g_where == block);
}

TEST_IN_CHILD(handler__that_was_there_before_gets_the_fault, 60) {
  install(true, 0);
  guard_all();
  for (int i = 0; i < 3; i++) {
    touch_freed();
    CHECK(g_where != NULL);
  }
}
TEST_IN_CHILD(handler__without_information_gets_the_fault, 60) {
  install(false, SA_NODEFER);
  guard_all();
  for (int i = 0; i < 3; i++) touch_freed();
}
/* One that the program sets later is alone with it, and may ask. */
TEST_IN_CHILD(handler__that_is_set_later_comes_first, 60) {
  guard_all();
  hak_free(hak_alloc(1));
  install(true, 0);
  touch_freed();
  CHECK(is_guarded(g_where));
  struct sigaction now;
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(sigaction(SIGSEGV, NULL, &now), 0);
  CHECK(now.sa_sigaction == leave_with_info);
}
TEST_IN_CHILD(handler__goes_with_the_library, 60) {
  struct sigaction before, during, after;
  CHECK_EQ(sigaction(SIGSEGV, NULL, &before), 0);
  hak_free(hak_alloc(1));
  CHECK_EQ(sigaction(SIGSEGV, NULL, &during), 0);
  CHECK(during.sa_sigaction == before.sa_sigaction); /* nobody asked for one */
  for (int round = 0; round < 3; round++) {
    guard_all();
    CHECK(is_guarded(hak_alloc(1000)));
    CHECK_EQ(sigaction(SIGSEGV, NULL, &during), 0);
    CHECK(during.sa_sigaction != before.sa_sigaction);
    CHECK_EQ(hak_shutdown(0), 0);
    CHECK_EQ(sigaction(SIGSEGV, NULL, &after), 0);
    CHECK(after.sa_sigaction == before.sa_sigaction);
  }
}

static int other_fault(void *ctx) {
  guard_all();
  CHECK(is_guarded(hak_alloc(1)));
  if (ctx != NULL) {
    raise(SIGSEGV);
  } else {
    *(volatile char *)test_opaque(16) = 1;
  }
  return 0;
}
static void fault__that_is_nobodys_is_not_spoken_of(void **state) {
  (void)state;
  for (int sent = 0; sent < 2; sent++) {
    test_child_t child = test_child_run(other_fault, sent != 0 ? &child : NULL, 60);
    CHECK(TEST_ASAN || TEST_TSAN || child.signal == SIGSEGV);
    CHECK_MSG(strstr(child.output, "hakmem:") == NULL, "%s", child.output);
  }
}
static int ignored_signal(void *ctx) {
  struct sigaction ignore = {.sa_flags = ctx == NULL ? 0 : SA_SIGINFO};
  ignore.sa_handler = SIG_IGN; /* whose flags say nothing */
  CHECK_EQ(sigaction(SIGSEGV, &ignore, NULL), 0);
  guard_all();
  CHECK(is_guarded(hak_alloc(1)));
  raise(SIGSEGV);
  return 0;
}
static void signal__that_was_ignored_is(void **state) {
  test_child_must_succeed(ignored_signal, NULL, 60);
  test_child_must_succeed(ignored_signal, state, 60);
}

/* A program that has replaced the library's handler and gone back to none: the next run
 * has it again. */
TEST_IN_CHILD(handler__that_was_replaced_is_set_again_where_there_is_none, 60) {
  guard_all();
  CHECK(is_guarded(hak_alloc(1)));
  install(true, 0);
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK(signal(SIGSEGV, SIG_DFL) != SIG_ERR);
  guard_all();
  CHECK(is_guarded(hak_alloc(1)));
  struct sigaction now;
  CHECK_EQ(sigaction(SIGSEGV, NULL, &now), 0);
  CHECK(now.sa_handler != SIG_DFL);
}

/* Handlers' stacks are often SIGSTKSZ bytes, as it once was, with the frame of a signal
 * in them, which is half of it where registers are many. */
#if defined(__OPTIMIZE__)
enum {
  OLD_SIGSTKSZ = 8192,
  FRAME = 3400 /* bytes, with all registers of x86-64 but the newest's tiles */
};
static size_t used_of(const unsigned char *stack, size_t size) {
  size_t unused = 0;
  while (unused < size && stack[unused] == 0xa5) unused++;
  return size - unused;
}
TEST_IN_CHILD(handler__needs_little_stack, 60) {
  if (TEST_ASAN || TEST_TSAN) return; /* their code needs more */
  static unsigned char stack[128 << 10];
  size_t used[2];
  install(true, SA_ONSTACK);
  CHECK_EQ(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL), 0);
  guard_all();
  for (int round = 0; round < 2; round++) {
    touch_freed(); /* the loader has bound what is called */
    memset(stack, 0xa5, sizeof stack);
    if (round == 0) {
      if (sigsetjmp(g_out, 1) == 0) raise(SIGSEGV);
    } else {
      touch_freed();
    }
    used[round] = used_of(stack, sizeof stack);
  }
  CHECK_MSG(used[1] - used[0] + FRAME < OLD_SIGSTKSZ, "%zu bytes and %zu", used[1],
            used[0]);
}
#define STACK_TESTS , T(handler__needs_little_stack)
#else
#define STACK_TESTS
#endif

/* A program whose handler of errors goes on has a heap that is whole. */
TEST_IN_CHILD(handler_of_errors__that_returns_leaves_all_whole, 60) {
  guard_all();
  test_reports_begin();
  for (size_t k = 0; k < TEST_COUNT(kinds); k++) {
    if (!kinds[k].faults) kinds[k].misuse(100);
  }
  CHECK_EQ(g_reports.count, 11);
  CHECK_EQ(hak_check(NULL), 0);
  hak_set_error_handler(NULL, NULL);
}

TEST_MAIN(T(misuse__of_each_kind_is_named_at_once), T(report__names_the_place),
          T(block__of_a_heap_that_ended_faults), T(stacks__are_those_of_the_hook),
          T(handler__that_was_there_before_gets_the_fault),
          T(handler__without_information_gets_the_fault),
          T(handler__that_is_set_later_comes_first), T(handler__goes_with_the_library),
          T(fault__that_is_nobodys_is_not_spoken_of), T(signal__that_was_ignored_is),
          T(handler__that_was_replaced_is_set_again_where_there_is_none),
          T(handler_of_errors__that_returns_leaves_all_whole) STACK_TESTS)
