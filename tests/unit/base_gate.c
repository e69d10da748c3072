/* base_gate.c - who looks at something enters while the gate is open and is waited for;
 * who comes later is refused. */
#include "threads.h"

#include "base/gate.h"

static hak_gate_t g_gate;

static void gate__is_closed_at_first_and_refuses(void **state) {
  (void)state;
  hak_gate_t gate = {0};
  CHECK(!hak_gate_enter(&gate));
  CHECK_EQ(hak_gate_inside(&gate), 0);
  CHECK(hak_gate_wait(&gate, 1));
}

static void inside__is_how_many_entered_and_did_not_leave(void **state) {
  (void)state;
  hak_gate_t gate = {0};
  hak_gate_open(&gate);
  CHECK_EQ(hak_gate_inside(&gate), 0);
  CHECK(hak_gate_enter(&gate) && hak_gate_enter(&gate));
  CHECK_EQ(hak_gate_inside(&gate), 2);
  hak_gate_close(&gate);
  CHECK(!hak_gate_enter(&gate)); /* and is not counted */
  CHECK_EQ(hak_gate_inside(&gate), 2);
  hak_gate_leave(&gate);
  CHECK(!hak_gate_wait(&gate, 3));
  hak_gate_leave(&gate);
  CHECK(hak_gate_wait(&gate, 3));
  hak_gate_open(&gate);
  CHECK(hak_gate_enter(&gate));
  CHECK_EQ(hak_gate_inside(&gate), 1);
}

static void open_and_close__twice_are_as_good_as_once(void **state) {
  (void)state;
  hak_gate_t gate = {0};
  hak_gate_close(&gate);
  CHECK(!hak_gate_enter(&gate));
  hak_gate_open(&gate);
  hak_gate_open(&gate);
  CHECK(hak_gate_enter(&gate));
  CHECK_EQ(hak_gate_inside(&gate), 1);
  hak_gate_close(&gate);
  hak_gate_close(&gate);
  CHECK(!hak_gate_enter(&gate));
  CHECK_EQ(hak_gate_inside(&gate), 1);
  hak_gate_leave(&gate);
  CHECK(hak_gate_wait(&gate, 1));
}

static void recount__keeps_whether_it_is_open(void **state) {
  (void)state;
  hak_gate_t gate = {0};
  hak_gate_open(&gate);
  for (int i = 0; i < 5; i++) CHECK(hak_gate_enter(&gate));
  hak_gate_recount(&gate, 1);
  CHECK_EQ(hak_gate_inside(&gate), 1);
  CHECK(hak_gate_enter(&gate));
  hak_gate_close(&gate);
  hak_gate_recount(&gate, 0);
  CHECK_EQ(hak_gate_inside(&gate), 0);
  CHECK(!hak_gate_enter(&gate));
}

/* --- a thing that comes and goes ---------------------------------------------------- */

enum {
  THREADS = 3
};

static hak_atomic_ptr_t g_thing; /* NULL: it is gone */
static hak_atomic_u32_t g_stop, g_looks;

static void *look(void *ctx) {
  while (hak_load_relaxed(&g_stop) == 0) {
    if (!hak_gate_enter(&g_gate)) continue;
    int *thing = hak_load_relaxed(&g_thing);
    CHECK(thing != NULL);
    CHECK_EQ(*thing, 42); /* ThreadSanitizer looks, too */
    hak_gate_leave(&g_gate);
    hak_add_relaxed(&g_looks, 1);
  }
  return ctx;
}

static void thing__is_there_for_everybody_who_is_inside(void **state) {
  (void)state;
  static int thing;
  pthread_t threads[THREADS];
  test_threads_begin(threads, THREADS, look, NULL);
  size_t looks = test_scale(100000);
  for (size_t n = 0; hak_load_relaxed(&g_looks) < looks; n++) {
    thing = 42;
    hak_store_relaxed(&g_thing, &thing);
    hak_gate_open(&g_gate);
    for (size_t i = 0; i < n % 32; i++) hak_cpu_relax();
    hak_gate_close(&g_gate);
    CHECK(hak_gate_wait(&g_gate, 0));
    hak_store_relaxed(&g_thing, NULL);
    thing = 0;
  }
  hak_store_relaxed(&g_stop, 1);
  test_threads_end(threads, THREADS);
  CHECK_EQ(hak_gate_inside(&g_gate), 0);
}

TEST_MAIN(T(gate__is_closed_at_first_and_refuses),
          T(inside__is_how_many_entered_and_did_not_leave),
          T(open_and_close__twice_are_as_good_as_once),
          T(recount__keeps_whether_it_is_open),
          T(thing__is_there_for_everybody_who_is_inside))
