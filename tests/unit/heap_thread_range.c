/* heap_thread_range.c - address space for states: rows of it, which one thread makes for
 * many, and of which nothing is lost. */
#include "strict_os.h"

#include "heap/thread_range.h"
#include "heap/thread_state.h"
#include "os/guarded.h"
#include "pages/meta.h"

enum {
  EACH = 64,        /* where there is no row one is begun with each so many */
  ROW = EACH / 2,   /* ranges of it */
  ROOM = 16,        /* of states, */
  OTHER_ROOM = 100, /* whose ranges are larger */
  MOST = 200
};

typedef struct range {
  const hak_os_t *os;
  char *start;
  uint32_t room;
} range_t;

static hak_lock_t g_lock = HAK_LOCK_INIT(HAK_RANK_THREADS);
static test_os_t g_os;
static hak_os_t g_hooks; /* g_os's, and g_call before they reserve */
static void (*g_call)(void);
static range_t g_ranges[MOST];
static size_t g_count;
static uint64_t g_reserved;

static void *reserve(void *ctx, size_t size, size_t alignment) {
  void (*call)(void) = g_call;
  g_call = NULL;
  if (call != NULL) call();
  return g_os.hooks.reserve(ctx, size, alignment);
}

/* Each range has a note held; a row is shorter where they are short. */
static void make_notes(void) {
  enum {
    NOTES = 400
  };
  static void *held[NOTES];
  const hak_os_t *os = hak_os_default();
  for (size_t i = 0; i < NOTES; i++) {
    CHECK((held[i] = hak_os_reserve(os, HAK_SLAB_SIZE, HAK_SLAB_SIZE)) != NULL);
  }
  for (size_t i = 0; i < NOTES; i++) hak_os_release(os, held[i], HAK_SLAB_SIZE);
}

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  g_hooks = g_os.hooks;
  g_hooks.reserve = reserve;
  g_call = NULL;
  hak_config_t config = {.struct_size = sizeof config, .flags = HAK_INIT_NO_ENV};
  CHECK_EQ(hak_init(&config), 0);
  make_notes();
  g_count = 0;
  g_reserved = hak_load_relaxed(&hak_meta_reserved);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK_EQ(g_os.ranges, 0);
  test_os_close(&g_os);
  return 0;
}

static uint64_t calls(void) { return hak_load_relaxed(&hak_os_counts.reserve); }

/* Ranges of this room that are reserved, in rows and out of them. */
static uint64_t ranges(uint32_t room) {
  uint64_t bytes = hak_load_relaxed(&hak_meta_reserved) - g_reserved;
  CHECK_EQ(bytes % hak_thread_range_size(room), 0);
  return bytes / hak_thread_range_size(room);
}

/* It overlaps no other one. */
static char *get_from(const hak_os_t *os, uint32_t n, uint32_t room, bool alone) {
  char *start = hak_thread_range_get(os, &g_lock, n, room, alone);
  if (start == NULL) return NULL;
  for (size_t i = 0; i < g_count; i++) {
    const range_t *other = &g_ranges[i];
    CHECK(start >= other->start + hak_thread_range_size(other->room) ||
          start + hak_thread_range_size(room) <= other->start);
  }
  CHECK(g_count < MOST);
  g_ranges[g_count++] = (range_t){os, start, room};
  return start;
}

static void get(uint32_t n, uint32_t room) {
  CHECK(get_from(hak_os_default(), n, room, false) != NULL);
}

/* Nothing else is there, and nothing that a row still has. */
static void release_all(void) {
  hak_thread_rows_release(hak_os_default(), &g_lock);
  while (g_count != 0) {
    const range_t *range = &g_ranges[--g_count];
    hak_thread_range_release(range->os, range->start, range->room);
  }
  CHECK_EQ(hak_load_relaxed(&hak_meta_reserved), g_reserved);
}

/* The second one is there before the first is used up, and a third before the second. */
static void rows__follow_each_other_and_each_is_used_up(void **state) {
  (void)state;
  if (HAK_GUARD_BYTES != 0) skip(); /* a row is one range there */
  uint64_t before = calls();
  uint32_t n = EACH;
  get(n, ROOM);
  CHECK_EQ(calls() - before, 1);
  CHECK_EQ(ranges(ROOM), ROW);
  /* 31 are left; with half of those gone whoever comes makes the next one. */
  for (n++; n < EACH + ROW / 2; n++) get(n, ROOM);
  CHECK_EQ(calls() - before, 1);
  get(n, ROOM);
  CHECK_EQ(calls() - before, 2);
  uint32_t second = n / 2;
  CHECK_EQ(ranges(ROOM), ROW + second);
  for (n++; n < EACH + ROW + second / 2 - 1; n++) get(n, ROOM);
  CHECK_EQ(calls() - before, 2);
  get(n, ROOM);
  CHECK_EQ(calls() - before, 3);
  CHECK_EQ(ranges(ROOM), ROW + second + n / 2);
  release_all();
}

static void row__serves_states_of_its_room_alone(void **state) {
  (void)state;
  if (HAK_GUARD_BYTES != 0) skip();
  get(EACH, ROOM);
  uint64_t before = calls(), held = hak_load_relaxed(&hak_meta_reserved);
  get(EACH + 1, OTHER_ROOM);
  CHECK_EQ(calls() - before, 1);
  CHECK_EQ(hak_load_relaxed(&hak_meta_reserved) - held,
           hak_thread_range_size(OTHER_ROOM));
  /* A row behind the first, and one for which there is no place: it goes back. */
  get(2 * EACH, OTHER_ROOM);
  held = hak_load_relaxed(&hak_meta_reserved);
  get(3 * EACH, OTHER_ROOM);
  CHECK_EQ(calls() - before, 3);
  CHECK_EQ(hak_load_relaxed(&hak_meta_reserved) - held,
           hak_thread_range_size(OTHER_ROOM));
  before = calls();
  for (uint32_t n = EACH + 1; n < EACH + ROW / 2; n++) get(n, ROOM);
  CHECK_EQ(calls(), before); /* the first is still there */
  release_all();
}

static void range__that_is_refused_leaves_nothing(void **state) {
  (void)state;
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RESERVE, 1);
  for (uint32_t n = EACH; n < 2 * EACH + 2; n++) {
    CHECK(get_from(&g_hooks, n, ROOM, n % 2 == 1) == NULL);
  }
  CHECK_EQ(ranges(ROOM), 0);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK(get_from(&g_hooks, EACH + 1, ROOM, false) != NULL);
  CHECK_EQ(ranges(ROOM), 1);
  release_all();
}

/* --- while a row is being made --------------------------------------------------------
 */

/* Others wait a while for the row, and make none. */
static void ask_amid_making(void) {
  CHECK(get_from(&g_hooks, EACH + 1, ROOM, true) != NULL);
  get(2 * EACH, ROOM);
  CHECK_EQ(ranges(ROOM), 2);
}

static void row__is_made_by_one(void **state) {
  (void)state;
  g_call = ask_amid_making;
  CHECK(get_from(&g_hooks, EACH, ROOM, false) != NULL);
  CHECK_EQ(g_count, 3);
  CHECK_EQ(ranges(ROOM), 3);
  get(3 * EACH, ROOM); /* nobody makes one any more */
  CHECK_EQ(ranges(ROOM), HAK_GUARD_BYTES != 0 ? 4 : 3 + 3 * EACH / 2);
  release_all();
}

static void ask_after_loss(void) {
  hak_lock_acquire(&g_lock);
  hak_thread_rows_forget_lost_locked(&g_lock);
  hak_lock_release(&g_lock);
  get(2 * EACH, ROOM);
  CHECK_EQ(ranges(ROOM), HAK_GUARD_BYTES != 0 ? 1 : EACH);
}

static void row__that_a_lost_thread_was_making_is_made_by_another(void **state) {
  (void)state;
  g_call = ask_after_loss;
  CHECK(get_from(&g_hooks, EACH, ROOM, false) != NULL);
  CHECK_EQ(g_count, 2);
  release_all();
}

#define R(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      R(rows__follow_each_other_and_each_is_used_up),
      R(row__serves_states_of_its_room_alone),
      R(range__that_is_refused_leaves_nothing),
      R(row__is_made_by_one),
      R(row__that_a_lost_thread_was_making_is_made_by_another),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
