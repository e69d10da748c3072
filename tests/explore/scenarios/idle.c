/* idle.c - memory that lies idle goes back as threads free, look at what is due, give up
 * what they cached, or are lean, while others use the same memory, end, or end the heap.
 */
#include "pages/idle.h"
#include "base/option.h"
#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/give_up.h"
#include "heap/heap.h"
#include "heap/thread.h"
#include "start.h"
#include "superslab/retention.h"
#include "superslab/shared_pool.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/hold.h"
#include "tiny/lean.h"
#include "tiny/spill.h"

enum {
  SIZE = 8192,
  BLOCKS = 4,
  LARGE = 128 * 1024 /* two slots that nobody caches */
};

static hak_heap_t *heap;
static uint64_t *blocks[2][BLOCKS];
static void *large[2];

static uint64_t *allocate(hak_heap_t *from, size_t size) {
  uint64_t *block = from == NULL ? hak_alloc(size) : hak_heap_alloc(from, size);
  EXPLORE_CHECK(block != NULL);
  block[0] = block[1] = 77;
  return block;
}
static void allocate_all(unsigned thread, hak_heap_t *from) {
  for (int i = 0; i < BLOCKS; i++) blocks[thread][i] = allocate(from, SIZE);
}
static void free_all(unsigned thread) {
  for (int i = 0; i < BLOCKS; i++) hak_free(blocks[thread][i]);
}
static void all_well(void) { EXPLORE_CHECK(hak_check(NULL) == 0); }
static void nothing(void) {}

/* Whatever lies idle is due at once, and any free looks for it. */
static void start_due(void) {
  static const struct {
    int option;
    int64_t value;
  } set[] = {{HAK_OPTION_PURGE_DECAY_MS, 0},
             {HAK_OPTION_RETAIN_BYTES, 0},
             {HAK_OPTION_RETAIN_SHARE, 0}};
  for (size_t i = 0; i < sizeof set / sizeof set[0]; i++) {
    EXPLORE_CHECK(hak_option_set(set[i].option, set[i].value) == 0);
  }
  start_library();
  start_caching();
}
static void look_soon(void) { hak_thread_self->foreign_frees = UINT32_MAX - 1; }
static void attach(void) {
  start_thread();
  look_soon();
}

/* --- frees that look at idle memory ------------------------------------------------
 */

static void have_0(void) {
  attach();
  allocate_all(0, NULL);
  EXPLORE_CHECK(hak_freex(blocks[0][BLOCKS - 1], HAK_NO_CACHE) == 0);
  large[0] = allocate(NULL, LARGE);
}
static void have_1(void) {
  attach();
  allocate_all(1, NULL);
  EXPLORE_CHECK(hak_freex(blocks[1][BLOCKS - 1], HAK_NO_CACHE) == 0);
}
/* Two slots of the default heap lie idle, which nobody has looked at yet. */
static void leave_idle(void) {
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 100) == 0);
  hak_free(large[0]);
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0) == 0);
  EXPLORE_CHECK(hak_load_relaxed(&hak_retained_over) != HAK_IDLE_FEW);
  look_soon();
}
static void start_idle(void) {
  start_due();
  explore_as(0, have_0);
  explore_as(1, have_1);
  explore_as(0, leave_idle);
  explore_as(1, look_soon);
}
/* A block of a slab that the other thread holds: the free is not the fast one. */
static void free_foreign(void) { hak_free(blocks[1][0]); }
static void use_idle(void) { large[1] = allocate(NULL, LARGE); }
static void used(void) {
  all_well();
  EXPLORE_CHECK(((uint64_t *)large[1])[0] == 77);
}
const explore_scenario_t look_use = {.name = "look.use",
                                     .setup = start_idle,
                                     .is_wide = true,
                                     .thread = {free_foreign, use_idle},
                                     .check = used};
static void free_foreign_0(void) { hak_free(blocks[0][0]); }
const explore_scenario_t look_twice = {.name = "look.twice",
                                       .setup = start_idle,
                                       .is_wide = true,
                                       .thread = {free_foreign, free_foreign_0},
                                       .check = all_well};
const explore_scenario_t look_exit = {.name = "look.exit",
                                      .setup = start_idle,
                                      .is_wide = true,
                                      .ends = true,
                                      .thread = {free_foreign, nothing},
                                      .check = all_well};

/* What is due is another heap's, which ends. */
static void have_heap(void) {
  attach();
  allocate_all(0, heap);
  allocate_all(1, NULL);
  EXPLORE_CHECK(hak_freex(blocks[1][BLOCKS - 1], HAK_NO_CACHE) == 0);
  large[0] = allocate(heap, LARGE);
}
static void start_idle_heap(void) {
  start_due();
  heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
  explore_as(0, attach);
  explore_as(1, have_heap);
  explore_as(1, leave_idle);
  explore_as(0, look_soon);
}
static void destroy(void) { EXPLORE_CHECK(hak_heap_destroy(heap) == 0); }
static void reset(void) { EXPLORE_CHECK(hak_heap_reset(heap) == 0); }
const explore_scenario_t look_destroy = {.name = "look.destroy",
                                         .setup = start_idle_heap,
                                         .is_wide = true,
                                         .thread = {free_foreign, destroy},
                                         .check = all_well};
const explore_scenario_t look_reset = {.name = "look.reset",
                                       .setup = start_idle_heap,
                                       .is_wide = true,
                                       .thread = {free_foreign, reset},
                                       .check = all_well};

/* --- the pool alone, in few steps --------------------------------------------------
 */

static hak_shared_pool_t *pool;
static void *span;
static void have_pool(void) {
  start_thread();
  allocate_all(0, NULL);
  pool = &hak_heap_get_default()->store->pool;
  bool zeroed;
  hak_slab_t *slab =
      hak_pool_get(pool, 2, HAK_SLAB_SIZE, 2 * HAK_SLAB_SIZE, false, &zeroed);
  EXPLORE_CHECK(slab != NULL);
  hak_pool_put(pool, slab, 2);
}
static void start_pool(void) {
  start_library();
  explore_as(0, have_pool);
  explore_as(1, start_thread);
  explore_as(2, start_thread);
}
static void purge(void) {
  size_t slabs = SIZE_MAX;
  bool any;
  hak_pool_idle_t all = {UINT64_MAX - 1, UINT64_MAX - 1, false};
  (void)hak_pool_purge_oldest(all, SIZE_MAX, &slabs, &any);
}
static void get_span(void) {
  bool zeroed;
  hak_slab_t *slab =
      hak_pool_get(pool, 2, HAK_SLAB_SIZE, 2 * HAK_SLAB_SIZE, false, &zeroed);
  EXPLORE_CHECK(slab != NULL);
  uint64_t *words = (uint64_t *)(void *)hak_slab_start(slab);
  if (zeroed) EXPLORE_CHECK(words[0] == 0);
  words[0] = 7;
  span = words;
}
static void span_is_whole(void) {
  EXPLORE_CHECK(*(uint64_t *)span == 7 && hak_pool_is_valid(pool));
}
const explore_scenario_t pool_purge = {.name = "pool.purge",
                                       .setup = start_pool,
                                       .thread = {purge, get_span},
                                       .check = span_is_whole};
static void pool_is_valid(void) { EXPLORE_CHECK(hak_pool_is_valid(pool)); }
const explore_scenario_t pool_purge_twice = {.name = "pool.purge_twice",
                                             .setup = start_pool,
                                             .thread = {purge, purge},
                                             .check = pool_is_valid};

/* --- a thread is told to give up what it has cached --------------------------------
 */

enum {
  SOME_CLASSES = HAK_SHARED_CLASSES
};
static void freed_0(void) {
  free_all(0);
  hak_thread_self->to_empty = SOME_CLASSES;
  /* As the clock stands still, no turns of heaps come to be due. */
  hak_thread_self->turns.owed = (uint64_t)hak_heaps_made() * HAK_CLASSES;
}
static void have_cached(void) {
  start_thread();
  allocate_all(0, heap);
}
static void have_cached_1(void) {
  start_thread();
  allocate_all(1, heap);
}
static void free_1(void) { free_all(1); }
static void start_cached(void) {
  heap = start_with_heap();
  explore_as(0, have_cached);
  explore_as(1, have_cached_1);
  explore_as(0, freed_0);
  explore_as(1, free_1);
}
static void trim(void) { hak_thread_trim_slow(&hak_thread_self->store->pool); }
const explore_scenario_t recall_destroy = {.name = "recall.destroy",
                                           .setup = start_cached,
                                           .is_wide = true,
                                           .thread = {trim, destroy},
                                           .check = all_well};
static void release(void) { EXPLORE_CHECK(hak_heap_release(heap) == 0); }
const explore_scenario_t recall_release = {.name = "recall.release",
                                           .setup = start_cached,
                                           .is_wide = true,
                                           .thread = {trim, release},
                                           .check = all_well};
const explore_scenario_t recall_exit = {.name = "recall.exit",
                                        .setup = start_cached,
                                        .is_wide = true,
                                        .ends = true,
                                        .thread = {trim, nothing},
                                        .check = all_well};

/* A heap asks back what others cached of it, because a request meets its limit. */
static void start_limited(void) {
  start_cached();
  EXPLORE_CHECK(hak_heap_set_limits(heap, 0, 256 * 1024) == 0);
}
static void want_large(void) {
  void *block = hak_heap_alloc(heap, LARGE);
  if (block != NULL) hak_free(block);
}
static void idle(void) { hak_thread_idle(); }
const explore_scenario_t recall_limit = {.name = "recall.limit",
                                         .setup = start_limited,
                                         .is_wide = true,
                                         .thread = {want_large, idle},
                                         .check = all_well};

/* --- lean threads ------------------------------------------------------------------
 */

static uint32_t cls;
static hak_slab_t *slab;

static void have_slab(void) {
  start_thread();
  cls = hak_class_of(SIZE);
  slab = hak_hold_new(hak_thread_self, &hak_thread_self->cache, cls);
  EXPLORE_CHECK(slab != NULL && hak_slab_capacity(slab) == 2 * BLOCKS);
  hak_slab_carve(slab, hak_slab_capacity(slab));
  hak_hold_let_go(hak_thread_self, &hak_thread_self->cache, slab, cls);
  for (int i = 0; i < BLOCKS; i++) {
    for (int t = 0; t < 2; t++) {
      blocks[t][i] = (uint64_t *)(void *)(hak_slab_start(slab) + (2 * i + t) * SIZE);
    }
  }
}
/* It allocates no more, and gives up what it has. */
static void be_lean(void) {
  hak_capacity_begin(&hak_thread_self->cache, cls);
  hak_thread_self->holds[cls].lean = HAK_LEAN;
  hak_thread_self->bins[cls].spilling = 1;
}
static void start_lean(void) {
  start_library();
  explore_as(0, have_slab);
  explore_as(1, start_thread);
  explore_as(0, be_lean);
}
static void home(unsigned thread) {
  for (int i = 0; i < BLOCKS; i++) {
    blocks[thread][i][0] = blocks[thread][i][1] = 99;
    hak_spill_free(hak_thread_self, &hak_thread_self->cache, cls, blocks[thread][i]);
  }
  hak_flush_class(hak_thread_self, &hak_thread_self->cache, cls);
}
static void home_0(void) { home(0); }
static void home_1(void) { home(1); }
/* Whoever brings the last block home gives the slab back. */
static void slab_is_free(void) {
  all_well();
  EXPLORE_CHECK(hak_word_state(hak_load_relaxed(&slab->word)) == HAK_SLAB_FREE);
  EXPLORE_CHECK(hak_load_relaxed(&hak_heap_get_default()->store->pool.taken) == 0);
}
const explore_scenario_t lean_home = {.name = "lean.home",
                                      .setup = start_lean,
                                      .thread = {home_0, home_1},
                                      .check = slab_is_free};
