/* superslab_pool_queue.c - pools that wait to give pages back: which is next, which has
 * left the queue, and who visits one. No library runs: the links are the test's own. */
#include "support.h"

#include "os/os.h"
#include "superslab/pool_queue.h"

static hak_pool_link_t g_a, g_b, g_c;

static int setup(void **state) {
  (void)state;
  g_a = g_b = g_c = (hak_pool_link_t){0};
  hak_pool_queue_stop();
  return 0;
}

static hak_pool_link_t *visit(uint64_t before) { return hak_pool_queue_visit(&before); }

static void visit__is_of_the_one_that_has_waited_longest(void **state) {
  (void)state;
  uint64_t before = 100;
  CHECK(hak_pool_queue_visit(&before) == NULL && before == 100);
  hak_pool_queue_add(&g_a, 10);
  hak_pool_queue_add(&g_b, 20);
  hak_pool_queue_add(&g_c, 15);
  before = 9;
  CHECK(hak_pool_queue_visit(&before) == NULL);
  CHECK_EQ(before, 9);
  before = 12; /* before the next one */
  CHECK(hak_pool_queue_visit(&before) == &g_a);
  CHECK_EQ(before, 12);
  before = 100;
  CHECK(hak_pool_queue_visit(&before) == &g_c);
  CHECK_EQ(before, 20);
  before = 100; /* there is no other */
  CHECK(hak_pool_queue_visit(&before) == &g_b);
  CHECK_EQ(before, 100);
  CHECK_EQ(hak_pool_queue_oldest(), UINT64_MAX);
}

static void visited_pool__waits_again_only_with_something_to_give(void **state) {
  (void)state;
  hak_pool_queue_add(&g_a, 10);
  hak_pool_queue_add(&g_b, 20);
  CHECK(visit(100) == &g_a);
  hak_pool_queue_leave(&g_a, UINT64_MAX);
  CHECK(!g_a.queued && g_a.visitor == NULL);
  CHECK(visit(100) == &g_b);
  CHECK(visit(UINT64_MAX) == NULL);
  hak_pool_queue_leave(&g_b, 30);
  CHECK(g_b.queued);
  CHECK_EQ(hak_pool_queue_oldest(), 30);
}

static void remove__leaves_the_others(void **state) {
  (void)state;
  hak_pool_queue_add(&g_a, 10);
  hak_pool_queue_add(&g_b, 20);
  CHECK(hak_pool_queue_remove(&g_c)); /* it was never there */
  CHECK_EQ(hak_pool_queue_oldest(), 10);
  hak_pool_queue_add(&g_c, 15);
  CHECK(hak_pool_queue_remove(&g_c) && !g_c.queued);
  CHECK(hak_pool_queue_remove(&g_b));
  CHECK_EQ(hak_pool_queue_oldest(), 10);
  CHECK(hak_pool_queue_remove(&g_a));
  CHECK_EQ(hak_pool_queue_oldest(), UINT64_MAX);
  hak_pool_queue_add(&g_b, 5);
  CHECK(visit(100) == &g_b);
}

/* A thread that ends its heap while it visits it takes it out of nothing. */
static void remove__by_the_visitor_leaves_the_others(void **state) {
  (void)state;
  hak_pool_queue_add(&g_a, 10);
  hak_pool_queue_add(&g_b, 20);
  CHECK(visit(100) == &g_a);
  CHECK(hak_pool_queue_remove(&g_a));
  CHECK(g_a.queued); /* until the visit ends */
  CHECK_EQ(hak_pool_queue_oldest(), 20);
}

static void visit__of_another_thread_is_in_the_way(void **state) {
  (void)state;
  hak_pool_queue_add(&g_a, 10);
  CHECK(visit(100) == &g_a);
  g_a.visitor = &g_c; /* an address for another thread */
  CHECK(!hak_pool_queue_remove(&g_a));
  CHECK(hak_pool_queue_forget_visit(&g_a));
  CHECK(g_a.visitor == NULL && !g_a.queued);
  CHECK(hak_pool_queue_remove(&g_a));
}

/* In the child of a fork the thread that forked goes on with what it was at. */
static void forget__leaves_a_visit_of_ones_own(void **state) {
  (void)state;
  hak_pool_queue_add(&g_a, 10);
  CHECK(visit(100) == &g_a);
  CHECK(!hak_pool_queue_forget_visit(&g_a));
  CHECK(g_a.visitor == hak_os_self() && g_a.queued);
  CHECK(!hak_pool_queue_forget_visit(&g_b)); /* that nobody visits */
}

#define Q(function) cmocka_unit_test_setup(function, setup)

TEST_MAIN_FRESH(Q(visit__is_of_the_one_that_has_waited_longest),
                Q(visited_pool__waits_again_only_with_something_to_give),
                Q(remove__leaves_the_others), Q(remove__by_the_visitor_leaves_the_others),
                Q(visit__of_another_thread_is_in_the_way),
                Q(forget__leaves_a_visit_of_ones_own))
