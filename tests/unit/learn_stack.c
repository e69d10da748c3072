/* learn_stack.c - records of stacks: where there is no memory for them, where another
 * thread made them meanwhile, and before there are any. */
#include "support.h"

#include "heap/lifecycle.h"
#include "learn/stack.h"

static void *g_frames[] = {&g_frames[1], &g_frames[0]};
enum {
  ORIGIN = 3,
  DEPTH = TEST_COUNT(g_frames)
};

static bool prepare(void) { return hak_stacks_prepare(hak_lifecycle_os()); }
static uint32_t number(void) { return hak_stack_number(ORIGIN, g_frames, DEPTH); }

/* What comes of the next request for memory. */
enum next {
  GIVEN,
  REFUSED,
  MEANWHILE
};
static enum next g_next;
static uint32_t g_theirs;

void *__real_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment);
void *__wrap_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment);
void *__wrap_hak_meta_alloc(const hak_os_t *os, size_t size, size_t alignment) {
  enum next now = g_next;
  g_next = GIVEN;
  if (now == REFUSED) return NULL;
  if (now == MEANWHILE) {
    CHECK(prepare()); /* as another thread may */
    g_theirs = number();
  }
  return __real_hak_meta_alloc(os, size, alignment);
}

static void stacks__have_no_numbers_where_there_is_no_memory(void **state) {
  (void)state;
  hak_free(hak_alloc(100));
  hak_stacks_stop();
  CHECK_EQ(number(), HAK_STACK_NONE);
  CHECK_EQ(hak_stack_first(ORIGIN), HAK_STACK_NONE);
  g_next = REFUSED;
  CHECK(!prepare());
  CHECK_EQ(number(), HAK_STACK_NONE);
  CHECK(prepare());
  CHECK(number() != HAK_STACK_NONE);
  hak_stacks_stop();
}

static void stacks__that_are_numbered_meanwhile_stay(void **state) {
  (void)state;
  hak_free(hak_alloc(100));
  hak_stacks_stop();
  g_next = MEANWHILE;
  CHECK(prepare());
  CHECK(g_theirs != HAK_STACK_NONE);
  CHECK_EQ(hak_stack_first(ORIGIN), g_theirs);
  CHECK_EQ(hak_stack_read(g_theirs).depth, DEPTH);
  CHECK_EQ(number(), g_theirs);
  hak_stacks_stop();
}

TEST_MAIN(T(stacks__have_no_numbers_where_there_is_no_memory),
          T(stacks__that_are_numbered_meanwhile_stay))
