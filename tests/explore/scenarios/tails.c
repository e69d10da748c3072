/* tails.c - spans that come out of a shared pool.
 *
 * Whoever takes what lies behind the ends of blocks reads records of spans that
 * begin at this moment: it must not take what the span before it did not need, and this
 * one does. And of threads that find a pool empty one brings a SuperSlab in.
 */
#include "superslab/tails.h"
#include "hakmem/hakmem.h"
#include "heap/heap.h"
#include "heap/thread.h"
#include "pool/large.h"
#include "start.h"
#include "tiny/commit.h"
#include "tiny/hold.h"

static hak_shared_pool_t *pool;
static char *end; /* the last byte of the span that begins */

static hak_thread_t *me(void) { return hak_thread_self; }
static const hak_cache_t *mine(void) { return &hak_thread_self->cache; }

/* A block keeps the SuperSlab in the pool. */
static void attach(void) {
  start_thread();
  pool = &hak_heap_get_default()->store->pool;
  EXPLORE_CHECK(hak_alloc(100) != NULL);
}
static void take_tails(void) {
  hak_tail_came(pool, HAK_SLAB_SIZE);
  (void)hak_tail_take_all(pool, hak_class_bytes, SIZE_MAX, true, true);
}
static void nothing_taken(void) { EXPLORE_CHECK(*end == 7); }

/* --- slabs of small blocks ------------------------------------------------------------
 */

enum {
  BEFORE = 8192, /* bytes of blocks; eight of the later ones need half of the slab */
  LATER = 4096
};

static hak_slab_t *new_slab(size_t size) {
  hak_slab_t *slab = hak_hold_new(me(), mine(), hak_class_of(size));
  EXPLORE_CHECK(slab != NULL && hak_slab_span(slab) == 1);
  EXPLORE_CHECK(hak_commit_whole(me(), mine(), slab));
  return slab;
}
static void have_slab(void) {
  attach();
  hak_slab_t *slab = new_slab(BEFORE);
  end = hak_slab_start(slab) + HAK_SLAB_SIZE - 1;
  hak_hold_retire(me(), mine(), slab);
}
static void start_slab(void) {
  start_library();
  explore_as(0, have_slab);
}
static void begin_slab(void) {
  hak_slab_t *slab = new_slab(LATER);
  EXPLORE_CHECK(hak_slab_start(slab) + HAK_SLAB_SIZE - 1 == end);
  *end = 7;
}
const explore_scenario_t tail_slab = {.name = "tail.slab",
                                      .setup = start_slab,
                                      .thread = {begin_slab, take_tails},
                                      .check = nothing_taken};

/* --- large blocks ---------------------------------------------------------------------
 */

enum {
  SHORT = 68 * 1024, /* both have two slots */
  LONG = 124 * 1024
};

static char *new_span(size_t size) {
  bool zeroed;
  char *block = hak_large_alloc(pool, size, HAK_SLAB_SIZE, false, &zeroed);
  EXPLORE_CHECK(block != NULL);
  return block;
}
static void end_span(char *block) {
  hak_place_t place = hak_locate((uintptr_t)block);
  EXPLORE_CHECK(hak_large_claim(&place));
  hak_large_free(pool, &place);
}
static void have_span(void) {
  attach();
  char *block = new_span(LONG);
  end = block + LONG - 1;
  end_span(block);
  EXPLORE_CHECK(new_span(SHORT) == block); /* with all pages of the one before */
  end_span(block);
}
static void start_span(void) {
  start_library();
  explore_as(0, have_span);
}
static void begin_span(void) {
  EXPLORE_CHECK(new_span(LONG) + LONG - 1 == end);
  *end = 7;
}
const explore_scenario_t tail_span = {.name = "tail.span",
                                      .setup = start_span,
                                      .thread = {begin_span, take_tails},
                                      .check = nothing_taken};

/* --- a pool that grows ----------------------------------------------------------------
 */

static hak_slab_t *got[2];

static void get_slab(unsigned thread) {
  bool zeroed;
  got[thread] = hak_pool_get(pool, 1, HAK_SLAB_SIZE, HAK_SLAB_SIZE, false, &zeroed);
  EXPLORE_CHECK(got[thread] != NULL);
  *hak_slab_start(got[thread]) = (char)thread;
}
static void get_0(void) { get_slab(0); }
static void get_1(void) { get_slab(1); }
/* A heap of its own has nothing yet. */
static void start_pool(void) {
  start_library();
  explore_as(0, start_thread);
  explore_as(1, start_thread);
  hak_heap_t *heap = hak_heap_create(NULL);
  EXPLORE_CHECK(heap != NULL);
  pool = &hak_heap_record(heap)->store->pool;
}
static void grown_once(void) {
  EXPLORE_CHECK(got[0] != got[1] && hak_pool_is_valid(pool));
  EXPLORE_CHECK(hak_load_relaxed(&pool->growing) == 0);
  EXPLORE_CHECK(hak_load_relaxed(&pool->superslabs) == 1);
}
const explore_scenario_t pool_grow = {.name = "pool.grow",
                                      .setup = start_pool,
                                      .thread = {get_0, get_1},
                                      .check = grown_once};
