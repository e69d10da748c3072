/* api_stacks.c - the calls by which places are reached, as the program says them: asked
 * for with samples only, added up by place and stack, and bounded. The formats are read
 * by their readers in tests/profiles. */
#include "text.h"
#include "threads.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the hook says, by thread. */
static _Thread_local size_t depth_now;
static _Thread_local uintptr_t first_now;
static _Atomic unsigned asked;
static _Atomic size_t most_asked;

/* Frames at addresses that no code has, so that reports have them as they are. */
static size_t hook(void **addresses, size_t most, void *ctx) {
  CHECK(ctx == &asked);
  asked++;
  most_asked = most;
  for (size_t i = 0; i < depth_now && i < most; i++) {
    addresses[i] = (void *)(first_now + 16 * i + 1);
  }
  errno = TEST_ERRNO + 1;
  return depth_now;
}

static void ask_for_stacks(size_t depth, uintptr_t first) {
  depth_now = depth;
  first_now = first;
  asked = 0;
  hak_set_stack_hook(hook, &asked);
}

static void sample_each(void) {
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  /* It acts with the next sample, which is at most so far away. */
  HAK_SITE(before);
  for (int i = 0; i < 100; i++) hak_free(hak_alloc_at(MIB, &before));
}

/* The folded stacks. */
static test_text_t g_text;

static void print(int format) {
  test_text_clear(&g_text);
  CHECK_EQ(hak_sites_print(format, test_text_add, &g_text), 0);
}

/* The sum of the lines that begin so and have the place, and how many they are. */
typedef struct found {
  unsigned lines;
  uint64_t bytes;
} found_t;
static found_t find(const char *begins, const char *place) {
  found_t found = {0, 0};
  print(HAK_FORMAT_FOLDED | HAK_FORMAT_STACKS);
  for (char *line = strtok(g_text.bytes, "\n"); line != NULL; line = strtok(NULL, "\n")) {
    char *name = strstr(line, place);
    if (strncmp(line, begins, strlen(begins)) != 0 || name == NULL) continue;
    found.lines++;
    found.bytes += strtoull(strrchr(line, ' ') + 1, NULL, 10);
  }
  return found;
}
static void check_found(const char *begins, const char *place, unsigned lines,
                        uint64_t bytes) {
  found_t found = find(begins, place);
  if (found.lines == lines && found.bytes == bytes) return;
  print(HAK_FORMAT_FOLDED | HAK_FORMAT_STACKS);
  test_fail(__FILE__, __LINE__, "%s of %s: %u lines with %" PRIu64 " bytes in\n%s",
            begins, place, found.lines, found.bytes, g_text.bytes);
}

static void stacks__are_asked_for_with_samples_only(void **state) {
  (void)state;
  HAK_SITE(rare);
  ask_for_stacks(2, 0x1000);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, (int64_t)MIB), 0);
  for (int i = 0; i < 1000; i++) hak_free(hak_alloc_at(100, &rare));
  CHECK(asked <= 10);
  hak_free(hak_alloc(100)); /* of no place */
  sample_each();
  unsigned before = asked;
  for (int i = 0; i < 100; i++) hak_free(hak_alloc_at(100, &rare));
  CHECK_EQ(asked, before + 100);
  CHECK_EQ(most_asked, 30);
  hak_set_stack_hook(NULL, NULL);
  hak_free(hak_alloc_at(100, &rare));
  CHECK_EQ(asked, before + 100);
}

static void stacks__add_up_to_their_place(void **state) {
  (void)state;
  HAK_SITE(shared);
  sample_each();
  ask_for_stacks(2, 0x1000);
  void *a = hak_alloc_at(100, &shared), *b = hak_alloc_at(50, &shared);
  first_now = 0x2000;
  void *c = hak_alloc_at(7, &shared);
  depth_now = 0; /* the program does not know */
  void *d = hak_alloc_at(3, &shared);
  CHECK(a != NULL && b != NULL && c != NULL && d != NULL);
  check_found("0x1010;0x1000;", "shared", 1, 150);
  check_found("0x2010;0x2000;", "shared", 1, 7);
  check_found("", "shared", 3, 160);
  hak_free(a);
  check_found("0x1010;0x1000;", "shared", 1, 50);
  hak_free(c);
  check_found("0x2010;0x2000;", "shared", 0, 0);
  check_found("", "shared", 2, 53);
  hak_free(b);
  hak_free(d);
  check_found("", "shared", 0, 0);
}

static void stacks__are_of_one_place_each(void **state) {
  (void)state;
  HAK_SITE(one);
  HAK_SITE(another);
  sample_each();
  ask_for_stacks(1, 0x1000);
  void *a = hak_alloc_at(10, &one), *b = hak_alloc_at(20, &another);
  check_found("0x1000;", "one", 1, 10);
  check_found("0x1000;", "another", 1, 20);
  hak_free(a);
  hak_free(b);
}

/* What moves for a place is from there, by whatever way that was reached. */
static void stacks__follow_a_block_that_moves(void **state) {
  (void)state;
  HAK_SITE(old);
  HAK_SITE(moved);
  sample_each();
  ask_for_stacks(1, 0x1000);
  char *block = hak_alloc_at(100, &old);
  CHECK(block != NULL);
  first_now = 0x2000;
  block = hak_realloc_at(block, 100 * KIB, &moved);
  CHECK(block != NULL);
  check_found("", "old", 0, 0);
  check_found("0x2000;", "moved", 1, 100 * KIB);
  block = hak_realloc(block, 200 * KIB);
  CHECK(block != NULL);
  check_found("0x2000;", "moved", 1, 200 * KIB);
  hak_free(block);
}

static void stacks__deeper_than_thirty_are_cut(void **state) {
  (void)state;
  HAK_SITE(deep);
  sample_each();
  ask_for_stacks(1000, 0x1000);
  void *block = hak_alloc_at(100, &deep);
  check_found("0x11d0;0x11c0;", "deep", 1, 100); /* the thirtieth is the outermost */
  hak_free(block);
}

static void stacks__beyond_their_number_are_the_places(void **state) {
  (void)state;
  enum {
    STACKS = 1100
  };
  static void *blocks[STACKS];
  HAK_SITE(many);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0); /* so that there are none yet */
  hak_set_stack_hook(NULL, NULL);
  sample_each();
  ask_for_stacks(1, 0x1000);
  for (size_t i = 0; i < STACKS; i++) {
    first_now = 0x1000 + 16 * i;
    blocks[i] = hak_alloc_at(10, &many);
    CHECK(blocks[i] != NULL);
  }
  check_found("0x", "many", 1024, 10240);
  check_found("", "many", 1025, 11000);
  for (size_t i = 0; i < STACKS; i++) hak_free(blocks[i]);
  check_found("", "many", 0, 0);
}

static void stacks__keep_errno(void **state) {
  (void)state;
  HAK_SITE(quiet);
  sample_each();
  ask_for_stacks(1, 0x1000);
  errno = TEST_ERRNO;
  hak_free(hak_alloc_at(100, &quiet));
  CHECK_EQ(errno, TEST_ERRNO);
  void *block = hak_alloc_at(100, &quiet);
  asked = 0;
  for (size_t size = 2000; size < 4 * MIB; size *= 3) { /* moves, and stays */
    block = hak_realloc_at(block, size, &quiet);
    block = hak_realloc_at(block, size - size / 8, &quiet);
  }
  CHECK(asked > 0);
  CHECK_EQ(errno, TEST_ERRNO);
  hak_free(block);
}

static void print__by_stack_is_for_profiles_alone(void **state) {
  (void)state;
  const int wrong[] = {HAK_FORMAT_TEXT | HAK_FORMAT_STACKS, HAK_FORMAT_STACKS + 6,
                       HAK_FORMAT_JSON | HAK_FORMAT_STACKS, 2 * HAK_FORMAT_STACKS, -1};
  for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
    test_text_clear(&g_text);
    CHECK_EQ(hak_sites_print(wrong[i], test_text_add, &g_text), EINVAL);
    CHECK_EQ(g_text.length, 0);
  }
  for (int format = HAK_FORMAT_PPROF; format <= HAK_FORMAT_HEAPTRACK; format++) {
    print(format | HAK_FORMAT_STACKS);
  }
}

/* Each thread comes by ways of its own, and some that all use. */
static void *use_places(void *number) {
  HAK_SITE(crowded);
  uintptr_t own = 0x10000 * (1 + (uintptr_t)number);
  depth_now = 1;
  for (uintptr_t i = 0; i < 200; i++) {
    first_now = i % 2 == 0 ? own + 16 * (i % 10) : 0x1000;
    void *block = hak_alloc_at(32, &crowded);
    CHECK(block != NULL);
    hak_free(block);
  }
  return NULL;
}

static void stacks__of_threads_beside_a_report(void **state) {
  (void)state;
  pthread_t threads[4];
  sample_each();
  ask_for_stacks(1, 0x1000);
  test_threads_begin_numbered(threads, TEST_COUNT(threads), use_places);
  for (int i = 0; i < 20; i++) print(HAK_FORMAT_PPROF | HAK_FORMAT_STACKS);
  test_threads_end(threads, TEST_COUNT(threads));
  check_found("", "crowded", 0, 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* glibc's; other libcs have none. */
extern int backtrace(void **frames, int most) __attribute__((weak));
static void *g_frames[30];
static int g_frames_seen;

static size_t walk(void **addresses, size_t most, void *ctx) {
  (void)ctx;
  g_frames_seen = backtrace(g_frames, TEST_COUNT(g_frames));
  memcpy(addresses, g_frames, most * sizeof addresses[0]);
  return (size_t)g_frames_seen;
}

/* Frees its block before it says where it returns to, so that its frame is there while
 * the block is allocated. */
static __attribute__((noinline)) void *use_one(hak_site_t *site) {
  hak_free(hak_alloc_at(10, site));
  return __builtin_return_address(0);
}

static void stacks__reach_the_program_through_the_library(void **state) {
  (void)state;
  if (backtrace == NULL) skip();
  HAK_SITE(walked);
  sample_each();
  hak_set_stack_hook(walk, NULL);
  void *here = use_one(&walked);
  hak_set_stack_hook(NULL, NULL);
  bool found = false;
  for (int i = 0; i < g_frames_seen; i++) found = found || g_frames[i] == here;
  CHECK(found);
}

static void stacks__are_forgotten_by_a_shutdown(void **state) {
  (void)state;
  HAK_SITE(again);
  sample_each();
  ask_for_stacks(1, 0x1000);
  CHECK(hak_alloc_at(10, &again) != NULL);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  check_found("", "again", 0, 0);
  void *block = NULL;
  sample_each();
  block = hak_alloc_at(10, &again);
  check_found("0x1000;", "again", 1, 10);
  hak_free(block);
  hak_set_stack_hook(NULL, NULL);
}

TEST_MAIN(T(stacks__are_asked_for_with_samples_only), T(stacks__add_up_to_their_place),
          T(stacks__are_of_one_place_each), T(stacks__follow_a_block_that_moves),
          T(stacks__deeper_than_thirty_are_cut),
          T(stacks__beyond_their_number_are_the_places), T(stacks__keep_errno),
          T(print__by_stack_is_for_profiles_alone), T(stacks__of_threads_beside_a_report),
          T(stacks__reach_the_program_through_the_library),
          T(stacks__are_forgotten_by_a_shutdown))
