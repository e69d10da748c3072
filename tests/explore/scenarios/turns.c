/* turns.c - what one thread does at a time: whoever comes next sees what the one before
 * it left. Tails of blocks, sweeps for holes, the maintenance thread's begin and end,
 * audits of budgets.
 */
#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/heap.h"
#include "heap/hole_sweep.h"
#include "heap/maintenance.h"
#include "heap/teardown.h"
#include "heap/thread.h"
#include "heap/threads.h"
#include "start.h"
#include "superslab/retention.h"
#include "superslab/tails.h"

static uint32_t done; /* by whoever has the turn; not atomic */

/* --- a block's end --------------------------------------------------------------------
 */

enum {
  SLOT = 5
};
static hak_superslab_t superslab;

static void change_end(void) {
  hak_tail_hold(&superslab, SLOT);
  done++;
  hak_tail_let_go(&superslab, SLOT);
}
/* Another block's bit lies in the same word. */
static void change_other(void) {
  hak_tail_hold(&superslab, SLOT + 1);
  hak_tail_let_go(&superslab, SLOT + 1);
}
static void two_changes(void) {
  EXPLORE_CHECK(done == 2 && hak_load_relaxed(&superslab.tails) == 0);
}
const explore_scenario_t turn_tail = {.name = "turn.tail",
                                      .thread = {change_end, change_end, change_other},
                                      .check = two_changes};

/* --- memory of all states of threads --------------------------------------------------
 */

static void have_memory(void) {
  if (!hak_threads_try_memory()) return;
  done++;
  hak_threads_end_memory();
}
static void one_had_memory(void) { EXPLORE_CHECK(done >= 1 && done <= 3); }
const explore_scenario_t turn_memory = {.name = "turn.memory",
                                        .thread = {have_memory, have_memory, have_memory},
                                        .check = one_had_memory};

/* --- sweeps for holes -----------------------------------------------------------------
 */

static void start_attached(void) {
  start_library();
  explore_as(0, start_thread);
  explore_as(1, start_thread);
}
static void sweep(void) { (void)hak_hole_sweep_all(hak_thread_self, SIZE_MAX); }
const explore_scenario_t turn_sweep = {
    .name = "turn.sweep", .setup = start_attached, .thread = {sweep, sweep}};

/* --- the maintenance thread, whose begin the explorer's system refuses ----------------
 */

static void maintain(void) {
  (void)hak_maintenance_begin(1000);
  (void)hak_maintenance_begin(2000);
}
const explore_scenario_t turn_maintenance = {
    .name = "turn.maintenance", .setup = start_library, .thread = {maintain, maintain}};

/* --- audits ---------------------------------------------------------------------------
 */

static void audit(void) { EXPLORE_CHECK(hak_check(NULL) == 0); }
static void use_memory(void) {
  start_thread();
  EXPLORE_CHECK(hak_alloc(100) != NULL);
}
static void start_used(void) {
  start_library();
  explore_as(0, use_memory);
}
const explore_scenario_t turn_audit = {
    .name = "turn.audit", .is_wide = true, .setup = start_used, .thread = {audit, audit}};

/* --- spans whose tails go while others come -------------------------------------------
 */

enum {
  LARGE = 1200 * 1024, /* no thread caches it */
  LARGER = 1300 * 1024
};
static void *first;
static char *second;

static void have_large(void) {
  start_thread();
  first = hak_alloc(LARGE);
  EXPLORE_CHECK(first != NULL);
}
static void start_large(void) {
  start_library();
  explore_as(0, have_large);
  explore_as(1, start_thread);
}
/* A longer one lies where the first one was. */
static void free_and_have_larger(void) {
  hak_free(first);
  second = hak_alloc(LARGER);
  EXPLORE_CHECK(second != NULL);
  second[LARGER - 1] = 7;
}
static void collect(void) { (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); }
static void second_is_whole(void) { EXPLORE_CHECK(second[LARGER - 1] == 7); }
const explore_scenario_t turn_span = {.name = "turn.span",
                                      .is_wide = true,
                                      .setup = start_large,
                                      .thread = {free_and_have_larger, collect},
                                      .check = second_is_whole};

/* --- heaps that end with their last large block ---------------------------------------
 */

enum {
  MAPPED = 64 << 20
};
static hak_heap_t *heap;
static char *mapped;

static void have_mapped(void) {
  start_thread();
  mapped = hak_heap_alloc(heap, MAPPED);
  EXPLORE_CHECK(mapped != NULL);
}
static void start_mapped(void) {
  start_library();
  heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
  explore_as(0, have_mapped);
  explore_as(1, start_thread);
}
static void free_mapped(void) {
  mapped[0] = 1;
  hak_free(mapped);
}
static void release(void) { EXPLORE_CHECK(hak_heap_release(heap) == 0); }
static void well(void) { EXPLORE_CHECK(hak_check(NULL) == 0); }
const explore_scenario_t turn_mapped = {.name = "turn.mapped",
                                        .is_wide = true,
                                        .setup = start_mapped,
                                        .thread = {free_mapped, release},
                                        .check = well};

/* --- a released heap that another thread still looks at
 * ---------------------------------
 *
 * Its hooks are its own, so that its pool forgets them as it ends.
 */

static hak_os_t own;
static hak_heap_t *record;
static void *last;

static void have_last(void) {
  start_thread();
  last = hak_heap_alloc(heap, 100);
  EXPLORE_CHECK(last != NULL);
}
static void start_own(void) {
  start_library();
  own = *start_hooks();
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.os = &own;
  heap = hak_heap_create(&config);
  EXPLORE_CHECK(heap != NULL);
  record = hak_heap_record(heap);
  explore_as(0, start_thread);
}
static void start_pinned(void) {
  start_own();
  explore_as(1, have_last);
  explore_as(0, release);
}
static void end_if_idle(void) { hak_teardown_orphan(hak_thread_self, record); }
/* As a free does that brings the last block home, and then looks at what is due. */
static void free_and_look(void) {
  bool pinned = hak_heap_pin(record);
  EXPLORE_CHECK(pinned);
  EXPLORE_CHECK(hak_freex(last, HAK_NO_CACHE) == 0);
  (void)hak_retention_is_time(&record->store->pool);
  hak_teardown_unpin(hak_thread_self, record);
}
const explore_scenario_t turn_pinned = {.name = "turn.pinned",
                                        .setup = start_pinned,
                                        .thread = {end_if_idle, free_and_look},
                                        .check = well};

/* The same where the last block has a mapping of its own. */
static void start_pinned_mapped(void) {
  start_own();
  explore_as(1, have_mapped);
  explore_as(0, release);
}
static void free_mapped_and_look(void) {
  bool pinned = hak_heap_pin(record);
  EXPLORE_CHECK(pinned);
  hak_free(mapped);
  (void)hak_retention_is_time(&record->store->pool);
  hak_teardown_unpin(hak_thread_self, record);
}
const explore_scenario_t turn_pinned_mapped = {
    .name = "turn.pinned_mapped",
    .setup = start_pinned_mapped,
    .thread = {end_if_idle, free_mapped_and_look},
    .check = well};
