/* api_guarded_calls.c - guarded blocks and what the program has called meanwhile: its
 * hook for stacks, which may come back to the library by way of malloc, its hook for
 * events, callbacks of limits, and handlers of faults. */
#include "child.h"
#include "guard.h"
#include "text.h"
#include "threads.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "heap/thread_state.h"

/* --- linked with --wrap=write and --wrap=hak_origins_stop ------------------------------
 */

static char *g_touched; /* by the first write, if any */
static unsigned g_writes;
static unsigned g_told; /* faults that were written of */
static sigjmp_buf *g_back;

ssize_t __real_write(int file, const void *text, size_t size);
ssize_t __wrap_write(int file, const void *text, size_t size);
ssize_t __wrap_write(int file, const void *text, size_t size) {
  g_writes += file == STDERR_FILENO;
  if (file != STDERR_FILENO || g_touched == NULL) return __real_write(file, text, size);
  static const char begins[] = "hakmem: use after free";
  g_told += size > sizeof begins && memcmp(text, begins, sizeof begins - 1) == 0;
  if (g_told > 1 || size <= sizeof begins) return (ssize_t)size;
  sigjmp_buf here, *before = g_back;
  g_back = &here;
  if (sigsetjmp(here, 1) == 0) *(volatile char *)g_touched = 1;
  g_back = before;
  return (ssize_t)size;
}

static void to_nobody(const char *text, size_t length, void *ctx) {
  (void)text;
  (void)length;
  (void)ctx;
}

static const char *g_asked; /* about it when places have ended, and blocks have not */
static bool g_known;

void __real_hak_origins_stop(void);
void __wrap_hak_origins_stop(void);
void __wrap_hak_origins_stop(void) {
  __real_hak_origins_stop();
  if (g_asked != NULL) g_known = hak_guard_explain(g_asked, to_nobody, NULL);
}

/* What is said of the block. */
static test_text_t g_text;
static const char *explained(const void *block) {
  test_text_clear(&g_text);
  CHECK(hak_guard_explain(block, test_text_add, &g_text));
  return g_text.bytes;
}

/* --- stacks ---------------------------------------------------------------------------
 */

typedef struct calls {
  unsigned asked;
  void *given; /* freed by the hook */
} calls_t;

static size_t call_back(void **frames, size_t most, void *ctx) {
  calls_t *calls = ctx;
  CHECK(most >= 1 && ++calls->asked < 10);
  for (size_t size = 10; size < 50000; size *= 3) {
    void *block = hak_alloc(size);
    CHECK(block != NULL && !test_is_guarded(block));
    hak_free(block);
  }
  hak_free(calls->given);
  calls->given = NULL;
  frames[0] = (void *)0x1001;
  return 1;
}
TEST_IN_CHILD(hook__that_calls_the_library_is_asked_once, 60) {
  calls_t calls = {0, NULL};
  hak_free(hak_alloc(1)); /* the thread has a state */
  test_guard(1);
  char *given = hak_alloc(100);
  CHECK(test_is_guarded(given));
  calls.given = given;
  hak_set_stack_hook(call_back, &calls);
  char *block = hak_alloc(100);
  CHECK(test_is_guarded(block));
  CHECK_EQ(calls.asked, 1);
  CHECK(strstr(explained(block), "0x1001") != NULL);
  CHECK(strstr(explained(given), "by calls that are not known") != NULL);
  hak_set_stack_hook(NULL, NULL);
  hak_free(block);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Threads without a state, each of which asks while the other one does. */
static void *alloc_one(void *block) {
  *(char **)block = hak_alloc(100);
  return NULL;
}
static size_t ask_another(void **frames, size_t most, void *ctx) {
  calls_t *calls = ctx;
  CHECK(most >= 1);
  if (++calls->asked == 1) test_thread_run(alloc_one, &calls->given);
  frames[0] = (void *)0x1001;
  return 1;
}
TEST_IN_CHILD(hook__is_asked_of_each_thread_without_a_state, 60) {
  calls_t calls = {0, NULL};
  char *block;
  test_guard(1);
  hak_set_stack_hook(ask_another, &calls);
  test_thread_run(alloc_one, &block);
  CHECK_EQ(calls.asked, 2);
  CHECK(strstr(explained(block), "0x1001") != NULL);
  CHECK(strstr(explained(calls.given), "0x1001") != NULL);
  hak_set_stack_hook(NULL, NULL);
}

/* An address in the last file whose code is mapped; its path. */
static uintptr_t last_code(char *path, size_t room) {
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  char line[1000], name[1000];
  uintptr_t last = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    uintptr_t start;
    int got =
        sscanf(line, "%" SCNxPTR "-%*x %*2cx%*c %*x %*s %*u /%990[^\n]", &start, name);
    if (got < 2) continue;
    last = start;
    snprintf(path, room, "/%s+0x", name);
  }
  fclose(maps);
  return last;
}
static size_t one_frame(void **frames, size_t most, void *ctx) {
  CHECK(most >= 1);
  frames[0] = ctx;
  return 1;
}
TEST_IN_CHILD(call__is_in_the_file_that_has_its_code, 60) {
  static char path[1010];
  uintptr_t code = last_code(path, sizeof path);
  CHECK(code != 0);
  hak_set_stack_hook(one_frame, (void *)(code + 17));
  test_guard(1);
  char *block = hak_alloc(100);
  CHECK_MSG(strstr(explained(block), path) != NULL, "%s, not in %s", g_text.bytes, path);
  hak_set_stack_hook(NULL, NULL);
}

/* --- events and limits ----------------------------------------------------------------
 */

static void expect_block(hak_event_t event, const void *address, size_t size, void *ctx) {
  (void)size;
  if (event != HAK_EVENT_LARGE_ALLOC) return;
  CHECK(address != NULL);
  ++*(unsigned *)ctx;
}
TEST_IN_CHILD(event__is_of_a_block_that_there_is, 60) {
  unsigned events = 0;
  test_guard(1);
  hak_set_event_hook(expect_block, &events);
  for (int i = 0; i < 2 * TEST_GUARDED_MOST; i++) CHECK(hak_alloc(100) != NULL);
  CHECK_EQ(events, TEST_GUARDED_MOST);
  hak_set_event_hook(NULL, NULL);
}

static int count_call(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap;
  (void)needed;
  CHECK_EQ(level, HAK_PRESSURE_SOFT);
  ++*(unsigned *)ctx;
  return 0;
}
/* Both blocks are there for a moment. */
TEST_IN_CHILD(realloc__that_makes_a_block_smaller_asks_for_no_room, 60) {
  unsigned calls = 0;
  hak_heap_t *heap =
      test_heap_make((hak_heap_config_t){.on_pressure = count_call, .ctx = &calls});
  test_guard(1);
  char *block = hak_heap_alloc(heap, 20000);
  CHECK(test_is_guarded(block));
  uint64_t charged = test_heap_stats(heap).committed_bytes;
  CHECK_EQ(hak_heap_set_limits(heap, (size_t)charged + 100, 0), 0);
  block = hak_realloc(block, 100);
  CHECK(block != NULL && test_is_guarded(block));
  CHECK_EQ(calls, 0);
  char *other = hak_heap_alloc(heap, 30000);
  CHECK(test_is_guarded(other));
  CHECK(calls > 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* --- how often, after a time in which nobody wanted any --------------------------------
 */

static size_t guarded_of(size_t count) {
  void *blocks[100];
  size_t guarded = 0;
  for (size_t i = 0; i < count; i++) {
    blocks[i] = hak_alloc(60000); /* few lie ready */
    CHECK(blocks[i] != NULL);
    guarded += test_is_guarded(blocks[i]);
  }
  for (size_t i = 0; i < count; i++) hak_free(blocks[i]);
  return guarded;
}
static void alloc_many(size_t count) {
  static void *blocks[1000];
  for (size_t i = 0; i < count; i++) {
    void **place = &blocks[i % TEST_COUNT(blocks)];
    hak_free(*place);
    *place = hak_alloc(16);
  }
}
TEST_IN_CHILD(way__begins_with_the_first_block_of_a_time_in_which_they_are_wanted, 60) {
  test_guard(0);
  alloc_many(300000);
  test_guard(1000);
  size_t guarded = guarded_of(100);
  CHECK_MSG(guarded < 10, "%zu", guarded);
  /* Once more, after a time that would take long. */
  hak_thread_self->guard.left -= (int64_t)1 << 40;
  guarded = guarded_of(100);
  CHECK_MSG(guarded < 10, "%zu", guarded);
}

static void *alloc_several(void *guarded) {
  *(size_t *)guarded = guarded_of(10);
  return NULL;
}
TEST_IN_CHILD(thread__that_is_new_has_none_guarded_before_its_way_is_over, 60) {
  test_guard(1000000000);
  for (int i = 0; i < 20; i++) {
    size_t guarded;
    test_thread_run(alloc_several, &guarded);
    CHECK_EQ(guarded, 0);
  }
}

static size_t count_asked(void **frames, size_t most, void *ctx) {
  (void)frames;
  (void)most;
  ++*(unsigned *)ctx;
  return 0;
}
TEST_IN_CHILD(hook__is_asked_of_no_block_that_is_too_large, 60) {
  unsigned asked = 0;
  test_guard(1);
  hak_set_stack_hook(count_asked, &asked);
  for (size_t size = 64 * KIB + 1; size <= 3 * MIB; size += size / 3) {
    char *block = hak_alloc(size);
    CHECK(block != NULL && !test_is_guarded(block));
    memset(block, 1, size);
    hak_free(block);
  }
  CHECK_EQ(asked, 0);
  hak_set_stack_hook(NULL, NULL);
}

TEST_IN_CHILD(hook__is_not_asked_where_the_library_cannot_start, 60) {
  if (TEST_ASAN || TEST_TSAN) return; /* they need memory themselves */
  unsigned asked = 0;
  struct rlimit all, none;
  hak_free(hak_alloc(1));
  CHECK_EQ(hak_shutdown(0), 0);
  test_guard(1);
  hak_set_stack_hook(count_asked, &asked);
  CHECK_EQ(getrlimit(RLIMIT_AS, &all), 0);
  none = (struct rlimit){.rlim_cur = 0, .rlim_max = all.rlim_max};
  CHECK_EQ(setrlimit(RLIMIT_AS, &none), 0);
  CHECK(hak_alloc(100) == NULL);
  CHECK_EQ(setrlimit(RLIMIT_AS, &all), 0);
  CHECK_EQ(asked, 0);
  hak_set_stack_hook(NULL, NULL);
}

/* --- faults, and the end --------------------------------------------------------------
 */

static void leave(int signal) {
  (void)signal;
  siglongjmp(*g_back, 1);
}
/* By a handler that lets itself be interrupted. */
TEST_IN_CHILD(fault__while_one_is_told_of_is_not_told_of, 60) {
  if (TEST_TSAN) return; /* whose own handler lets nothing interrupt it */
  struct sigaction action = {.sa_handler = leave, .sa_flags = SA_NODEFER};
  CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
  test_guard(1);
  char *block = hak_alloc(100);
  CHECK(test_is_guarded(block));
  hak_free(block);
  sigjmp_buf here;
  g_back = &here;
  g_touched = block;
  if (sigsetjmp(here, 1) == 0) *(volatile char *)block = 1;
  g_touched = NULL;
  CHECK_EQ(g_told, 1);
}

/* The handler is called by the library's, and not for a fault in that. */
TEST_IN_CHILD(fault__that_is_nobodys_goes_on_to_the_handler, 60) {
  struct sigaction action = {.sa_handler = leave};
  CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
  test_guard(1);
  CHECK(test_is_guarded(hak_alloc(100)));
  sigjmp_buf here;
  volatile int left = 0;
  g_back = &here;
  if (sigsetjmp(here, 1) != 0) left++;
  if (left == 0) *(volatile char *)test_opaque(16) = 1;
  CHECK_EQ(left, 1);
  CHECK_EQ(g_writes, 0);
}

/* A thread of the program's that faults beside a shutdown may ask at any time. */
TEST_IN_CHILD(explanation__knows_no_place_when_places_have_ended, 60) {
  HAK_SITE(place);
  test_guard(1);
  char *block = hak_alloc_at(100, &place);
  CHECK(test_is_guarded(block));
  CHECK(strstr(explained(block), "place place") != NULL);
  g_asked = block;
  CHECK_EQ(hak_shutdown(0), 0);
  g_asked = NULL;
  CHECK(g_known);
}

TEST_MAIN(T(hook__that_calls_the_library_is_asked_once),
          T(hook__is_asked_of_each_thread_without_a_state),
          T(call__is_in_the_file_that_has_its_code),
          T(event__is_of_a_block_that_there_is),
          T(realloc__that_makes_a_block_smaller_asks_for_no_room),
          T(way__begins_with_the_first_block_of_a_time_in_which_they_are_wanted),
          T(thread__that_is_new_has_none_guarded_before_its_way_is_over),
          T(hook__is_asked_of_no_block_that_is_too_large),
          T(hook__is_not_asked_where_the_library_cannot_start),
          T(fault__while_one_is_told_of_is_not_told_of),
          T(fault__that_is_nobodys_goes_on_to_the_handler),
          T(explanation__knows_no_place_when_places_have_ended))
