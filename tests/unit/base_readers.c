/* base_readers.c - who looks is counted for those who would take what is looked at; who
 * is in the middle of a look at a fork is counted no more in the child, and does not
 * count there. */
#include "child.h"
#include "support.h"

#include "base/readers.h"

static hak_readers_t g_readers;
static uint64_t g_entered;

static void none__is_true_when_all_who_entered_have_left(void **state) {
  (void)state;
  hak_readers_t readers = {0};
  CHECK(hak_readers_none(&readers));
  uint64_t first = hak_readers_enter(&readers), second = hak_readers_enter(&readers);
  CHECK(!hak_readers_none(&readers));
  hak_readers_leave(&readers, first);
  CHECK(!hak_readers_none(&readers));
  hak_readers_leave(&readers, second);
  CHECK(hak_readers_none(&readers));
}

/* Of a turn, and of the one after it, somebody may be left. */
static void turns__pass_when_those_who_came_before_have_left(void **state) {
  (void)state;
  hak_readers_t readers = {0};
  uint32_t since = hak_readers_turn(&readers);
  CHECK(hak_readers_left(hak_readers_turn(&readers), since));
  uint64_t look = hak_readers_enter(&readers);
  since = hak_readers_turn(&readers);
  for (int i = 0; i < 10; i++) {
    CHECK(!hak_readers_left(hak_readers_turn(&readers), since));
    CHECK(!hak_readers_none(&readers));
  }
  for (int i = 0; i < 10; i++) {
    uint64_t next = hak_readers_enter(&readers);
    hak_readers_leave(&readers, look);
    look = next;
    CHECK(!hak_readers_none(&readers));
    (void)hak_readers_turn(&readers);
  }
  CHECK(hak_readers_left(hak_readers_turn(&readers), since));
  hak_readers_leave(&readers, look);
  CHECK(hak_readers_none(&readers));
}

/* As the child of a fork does, whose handlers come before the look goes on. */
static int leave_in_child(void *ctx) {
  (void)ctx;
  hak_readers_reset(&g_readers);
  hak_readers_leave(&g_readers, g_entered);
  CHECK(hak_readers_none(&g_readers));
  uint64_t entered = hak_readers_enter(&g_readers);
  CHECK(!hak_readers_none(&g_readers));
  hak_readers_leave(&g_readers, entered);
  CHECK(hak_readers_none(&g_readers));
  return 0;
}

static void leave__of_the_parent_s_look_counts_nothing_in_the_child(void **state) {
  (void)state;
  g_entered = hak_readers_enter(&g_readers);
  test_child_must_succeed(leave_in_child, NULL, 20);
  CHECK(!hak_readers_none(&g_readers));
  hak_readers_leave(&g_readers, g_entered);
  CHECK(hak_readers_none(&g_readers));
}

TEST_MAIN(T(none__is_true_when_all_who_entered_have_left),
          T(turns__pass_when_those_who_came_before_have_left),
          T(leave__of_the_parent_s_look_counts_nothing_in_the_child))
