/* parts.c - how records of the upper layers are published to those who look without a
 * lock: phases, heaps, thread states and their caches, regions, places of the program.
 */
#include <string.h>

#include "hakmem/hakmem.h"
#include "heap/heap.h"
#include "heap/phase.h"
#include "heap/stay.h"
#include "heap/thread_cache.h"
#include "heap/threads.h"
#include "learn/origin.h"
#include "pages/meta.h"
#include "pages/registry.h"
#include "start.h"
#include "superslab/region.h"
#include "superslab/region_growth.h"
#include "superslab/region_release.h"

static void start_attached(void) {
  start_library();
  explore_as(0, start_thread);
  start_used_up();
}

/* --- phases: one thread at a time starts or stops -------------------------------------
 */

static uint32_t made; /* by whoever is at a change; not atomic */

static void begin_once(void) {
  if (hak_phase_begin(true) == HAK_PHASE_RUNNING) {
    EXPLORE_CHECK(made == 1);
    return;
  }
  made++;
  hak_phase_end(HAK_PHASE_RUNNING);
}
static void look_phase(void) {
  if (hak_phase_is_running()) EXPLORE_CHECK(made == 1);
  if (hak_phase() == HAK_PHASE_RUNNING) EXPLORE_CHECK(made == 1);
}
static void change_back(void) {
  hak_phase_t before = hak_phase_begin(false);
  EXPLORE_CHECK(made == (before == HAK_PHASE_RUNNING));
  made = before != HAK_PHASE_RUNNING;
  hak_phase_end(made == 1 ? HAK_PHASE_RUNNING : HAK_PHASE_DOWN);
}
const explore_scenario_t phase_start = {.name = "phase.start",
                                        .thread = {begin_once, begin_once, look_phase}};
static void change_and_back(void) {
  change_back();
  change_back();
}
const explore_scenario_t phase_change = {.name = "phase.change",
                                         .thread = {change_back, change_and_back}};

/* --- a shutdown waits for calls of threads that are not attached
 * ------------------------- */

static void running(void) {
  (void)hak_phase_begin(false);
  made = 1;
  hak_stays_open();
  hak_phase_end(HAK_PHASE_RUNNING);
}
static void end_if_quiet(void) {
  hak_phase_t before = hak_phase_begin(false);
  EXPLORE_CHECK(before == HAK_PHASE_RUNNING);
  hak_stays_close();
  if (hak_stays_wait()) made = 0;
  hak_phase_end(made == 1 ? HAK_PHASE_RUNNING : HAK_PHASE_DOWN);
}
static void call(void) {
  hak_stay_t stay = hak_stay();
  if (stay == HAK_STAY_NONE) return;
  EXPLORE_CHECK(stay == HAK_STAY_COUNTED && made == 1);
  hak_stay_end(stay);
}
const explore_scenario_t phase_stay = {
    .name = "phase.stay", .setup = running, .thread = {end_if_quiet, call, call}};

/* --- records of heaps ------------------------------------------------------------------
 */

static const hak_os_t *hooks;
/* There is room for records, but not for a chunk of heaps, whose maker reserves memory
 * for it: who uses the chunk without having seen that races with it. */
static void leave_room(size_t bytes) {
  hooks = start_hooks();
  EXPLORE_CHECK(hak_meta_alloc(hooks, (size_t)256 * 1024 - bytes, 64) != NULL);
  EXPLORE_CHECK(hak_meta_alloc_pages(hooks, 4096) != NULL);
}
static void have_hooks(void) { leave_room((size_t)56 * 1024); }
/* Room for one chunk: of two that make one at once the second reserves memory, and may be
 * the one whose chunk is kept. */
static void have_room_for_one(void) { leave_room((size_t)80 * 1024); }
static void make_record(void) { EXPLORE_CHECK(hak_heap_record_new(hooks, NULL) != NULL); }
static void look_at_record(uint32_t index) {
  hak_heap_t *heap = hak_heap_at(index);
  if (heap != NULL) EXPLORE_CHECK(heap->index == index && heap->store->centrals != NULL);
}
static void look_at_records(void) {
  look_at_record(0);
  look_at_record(1);
}
static void two_records(void) {
  EXPLORE_CHECK(hak_heap_at(0) != NULL && hak_heap_at(1) != NULL);
}
const explore_scenario_t heap_record = {
    .name = "heap.record",
    .setup = have_hooks,
    .thread = {make_record, make_record, look_at_records},
    .check = two_records};
const explore_scenario_t heap_record_twice = {.name = "heap.record_twice",
                                              .setup = have_room_for_one,
                                              .thread = {make_record, make_record},
                                              .check = two_records};

/* --- states of threads, and their caches
 * ------------------------------------------------ */

static hak_thread_t *threads[2];

static void look_at_state(hak_thread_t *state, void *ctx) {
  (void)ctx;
  EXPLORE_CHECK(state->registry != NULL);
}
static void look_at_states(void) { hak_threads_visit(look_at_state, NULL); }
const explore_scenario_t threads_first = {
    .name = "threads.first", .is_wide = true, .thread = {start_library, look_at_states}};
const explore_scenario_t threads_attach = {.name = "threads.attach",
                                           .setup = start_library,
                                           .thread = {start_thread, look_at_states}};

/* A state that lost its pages gets them again, and is shown anew. */
static void come_and_go(void) {
  start_thread();
  hak_thread_exit();
}
static void start_bare(void) {
  EXPLORE_CHECK(hak_init(NULL) == 0);
  explore_as(0, come_and_go);
  size_t looks = SIZE_MAX;
  EXPLORE_CHECK(hak_threads_try_memory());
  EXPLORE_CHECK(hak_threads_purge(SIZE_MAX, &looks) != 0);
  hak_threads_end_memory();
}
const explore_scenario_t threads_revive = {.name = "threads.revive",
                                           .setup = start_bare,
                                           .thread = {start_thread, look_at_states}};

/* Nobody takes the pages of states that others look at. */
static void start_left(void) {
  EXPLORE_CHECK(hak_init(NULL) == 0);
  explore_as(0, come_and_go);
}
static void purge_states(void) {
  size_t looks = SIZE_MAX;
  EXPLORE_CHECK(hak_threads_try_memory());
  (void)hak_threads_purge(SIZE_MAX, &looks);
  hak_threads_end_memory();
}
static void look_at_states_twice(void) {
  look_at_states();
  look_at_states();
}
/* One that has its pages again stays, and who looks at it has not seen how it got them.
 */
const explore_scenario_t threads_revive_purge = {
    .name = "threads.revive_purge",
    .setup = start_bare,
    .thread = {come_and_go, purge_states, look_at_states}};
/* The same where nothing is given back any more. */
static void start_refusing(void) {
  start_bare();
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_PURGE_MODE, 0) == 0);
}
const explore_scenario_t threads_purge_refused = {
    .name = "threads.purge_refused",
    .setup = start_refusing,
    .thread = {come_and_go, purge_states, look_at_states}};
const explore_scenario_t threads_purge = {.name = "threads.purge",
                                          .setup = start_left,
                                          .thread = {purge_states, look_at_states_twice}};

static hak_heap_t *heap, *heaps_record;
static void note_0(void) {
  start_thread();
  threads[0] = hak_thread_self;
}
static void start_heap(void) {
  start_library();
  explore_as(0, note_0);
  heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
  heaps_record = hak_heap_record(heap);
  start_used_up();
}
static void make_cache(void) {
  EXPLORE_CHECK(hak_cache_make(hak_thread_self, heaps_record) != NULL);
}
static void look_at_cache(hak_thread_cache_t *cache, void *ctx) {
  (void)ctx;
  EXPLORE_CHECK(cache->heap == heaps_record);
  if (hak_load_acquire(&cache->heap_id) == NULL) return;
  EXPLORE_CHECK(cache->cache.store == heaps_record->store);
}
static void look_at_caches(void) { hak_caches_visit(threads[0], look_at_cache, NULL); }
static void look_for_cache(void) {
  hak_thread_cache_t *cache = hak_cache_at(threads[0], heaps_record->index);
  if (cache == NULL) return;
  EXPLORE_CHECK(cache->heap == heaps_record);
  if (hak_load_acquire(&cache->heap_id) == NULL) return;
  /* Its bins may lie in memory that came just now, which is a race if they are not seen;
   * what statistics read there is of different moments. The last one, as the first may
   * lie on a page with what there was before. */
  (void)hak_bin_listed(&hak_cache_bins(threads[0], cache)[HAK_CLASSES - 1]);
}
const explore_scenario_t cache_visit = {.name = "thread_cache.visit",
                                        .setup = start_heap,
                                        .thread = {make_cache, look_at_caches}};
const explore_scenario_t cache_at = {.name = "thread_cache.at",
                                     .setup = start_heap,
                                     .thread = {make_cache, look_for_cache}};

/* The indices that are committed at once are used up, so that the next brings memory. */
static void use_indices(void) {
  enum {
    AT_ONCE = 16
  };
  for (int i = 0; i < AT_ONCE; i++) {
    hak_heap_t *user = hak_heap_create(NULL);
    EXPLORE_CHECK(user != NULL);
    EXPLORE_CHECK(hak_cache_make(hak_thread_self, hak_heap_record(user)) != NULL);
  }
  heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
  heaps_record = hak_heap_record(heap);
}
static void start_index(void) {
  start_library();
  explore_as(0, note_0);
  explore_as(0, use_indices);
}
const explore_scenario_t cache_index = {.name = "thread_cache.index",
                                        .setup = start_index,
                                        .thread = {make_cache, look_for_cache}};

/* --- regions and their records
 * ---------------------------------------------------------- */

static void use_memory(void) { EXPLORE_CHECK(hak_alloc(100) != NULL); }
/* The records of all that come are made; those that are somebody's say whose. */
static bool look_at_superslab(hak_superslab_t *ss, void *ctx) {
  (void)ctx;
  EXPLORE_CHECK(ss->extent.base != NULL);
  if (hak_load_acquire(&ss->extent.kind) != HAK_EXTENT_SLABS) return true;
  hak_heap_t *owner = hak_heap_of_extent(&ss->extent);
  EXPLORE_CHECK(owner != NULL && owner->store->pool.huge_pages == HAK_HUGE_DEFAULT);
  return true;
}
static void look_at_regions(void) { hak_region_visit(look_at_superslab, NULL); }
const explore_scenario_t region_visit = {.name = "region.visit",
                                         .setup = start_attached,
                                         .thread = {use_memory, look_at_regions}};

/* The owner is as new as its SuperSlab. */
static void use_other_heap(void) {
  heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
  EXPLORE_CHECK(hak_heap_alloc(heap, 100) != NULL);
}
static void start_region(void) {
  start_library();
  explore_as(0, start_thread);
  explore_as(0, use_memory);
  start_used_up();
}
const explore_scenario_t region_owner = {.name = "region.owner",
                                         .setup = start_region,
                                         .thread = {use_other_heap, look_at_regions}};

/* A second region comes behind the first: over hooks of a heap's own, or in memory of
 * the caller's. */
static hak_os_t own;
static char *memory;
static void start_own(void) {
  start_region();
  own = *start_hooks();
  memory = own.reserve(own.ctx, HAK_SUPERSLAB_SIZE, HAK_SUPERSLAB_SIZE);
  EXPLORE_CHECK(memory != NULL);
}
static void have_own_region(void) {
  void *owner = hak_heap_get_default();
  EXPLORE_CHECK(hak_region_acquire(&own, 1, HAK_SUPERSLAB_SIZE, HAK_EXTENT_RUN, owner,
                                   false) != NULL);
}
static void lay_region(void) { EXPLORE_CHECK(hak_region_lay(&own, memory, 1)); }
const explore_scenario_t region_second = {.name = "region.second",
                                          .setup = start_own,
                                          .thread = {have_own_region, look_at_regions}};
const explore_scenario_t region_lay = {
    .name = "region.lay", .setup = start_own, .thread = {lay_region, look_at_regions}};
/* The record served before, for other memory. */
static void start_ended(void) {
  start_own();
  lay_region();
  hak_regions_end(&own);
  memory = own.reserve(own.ctx, HAK_SUPERSLAB_SIZE, HAK_SUPERSLAB_SIZE);
  EXPLORE_CHECK(memory != NULL);
}
const explore_scenario_t region_lay_again = {.name = "region.lay_again",
                                             .setup = start_ended,
                                             .thread = {lay_region, look_at_regions}};

/* --- places of the program
 * --------------------------------------------------------------- */

static hak_site_t place = {.file = "file.c", .line = 7};

static void make_origin(void) {
  uint32_t number = hak_origin_make(hak_registry_os(), &place);
  EXPLORE_CHECK(number != HAK_ORIGIN_NONE);
  EXPLORE_CHECK(hak_origin_at(number)->line == 7);
}
static void look_at_origin(void) {
  uint32_t number = hak_origin_of(&place);
  if (number != HAK_ORIGIN_NONE) EXPLORE_CHECK(hak_origin_at(number)->line == 7);
}
static uint32_t origins_before;
static void start_origins(void) {
  start_library();
  origins_before = hak_origins_made();
  start_used_up();
}
static void look_at_origins(void) {
  uint32_t count = hak_origins_made();
  if (count > origins_before) EXPLORE_CHECK(hak_origin_at(count - 1)->line == 7);
}
const explore_scenario_t origin_make = {
    .name = "origin.make",
    .setup = start_origins,
    .thread = {make_origin, make_origin, look_at_origin}};
const explore_scenario_t origins_made = {.name = "origin.made",
                                         .setup = start_origins,
                                         .thread = {make_origin, look_at_origins}};
