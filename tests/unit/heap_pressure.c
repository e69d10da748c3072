/* heap_pressure.c - what a request gives up at a limit, or where the system has no more
 * memory, and what it leaves alone. */
#include "os_fixture.h"

#include <errno.h>
#include <string.h>

#include "heap/groups.h"
#include "heap/kind.h"
#include "heap/pressure.h"
#include "heap/samples.h"
#include "heap/thread.h"
#include "tiny/refill.h"
#include "tiny/size_class.h"

enum {
  BLOCK = 60000, /* a slab each */
  BLOCKS = 60,
  READY = 100
};

/* --- hooks with so much memory and no more -------------------------------------------
 */

static hak_os_t g_strict;
static size_t g_most; /* bytes that may be committed */

static int bounded_commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  if (g_os.committed_bytes > g_most || size > g_most - g_os.committed_bytes)
    return ENOMEM;
  return g_strict.commit(ctx, ptr, size, zeroed);
}

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  g_strict = g_os.hooks;
  g_os.hooks.commit = bounded_commit;
  g_most = SIZE_MAX;
  CHECK_EQ(test_os_init(&g_os), 0);
  test_keep_unused(true);
  return 0;
}

/* No more than there is now. */
static void bound(void) { g_most = g_os.committed_bytes; }

static uint64_t charge_of(hak_heap_t *heap) {
  return test_heap_stats(heap).committed_bytes;
}

static hak_heap_t *make(hak_heap_t *parent, size_t limit) {
  return test_heap_make((hak_heap_config_t){.parent = parent, .hard_limit = limit});
}

/* So many blocks of a slab each, of which each `stays`th stays in use. */
static void leave_free(hak_heap_t *heap, size_t count, size_t stays) {
  void *blocks[BLOCKS];
  CHECK(count <= BLOCKS);
  for (size_t i = 0; i < count; i++) {
    blocks[i] = hak_heap_alloc(heap, BLOCK);
    CHECK(blocks[i] != NULL);
    memset(blocks[i], 1, BLOCK);
  }
  for (size_t i = 0; i < count; i++)
    if (i % stays != 0) hak_free(blocks[i]);
}

static size_t fill(hak_heap_t *heap, size_t size) {
  size_t count = 0;
  for (void *block; (block = hak_heap_alloc(heap, size)) != NULL; count++) {
    if (heap != NULL) CHECK(hak_heap_of(block) == heap);
  }
  CHECK_EQ(errno, ENOMEM);
  return count;
}

/* --- limits ---------------------------------------------------------------------------
 */

static void limit__that_refuses_leaves_heaps_alone_that_it_does_not_cover(void **state) {
  (void)state;
  hak_heap_t *top = make(NULL, 4 * MIB), *low = make(top, 0), *beside = make(NULL, 0);
  CHECK(hak_heap_alloc(low, BLOCK) != NULL);
  leave_free(beside, BLOCKS, 8);
  uint64_t before = charge_of(beside);
  CHECK(before >= BLOCKS * BLOCK);
  CHECK(fill(top, BLOCK) > 0);
  CHECK(hak_heap_alloc(low, MIB) == NULL);
  CHECK_EQ(charge_of(beside), before);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Each of a heap, the heap above and a heap beside it has what another one needs. */
static void limit__that_refuses_takes_from_each_heap_that_it_covers(void **state) {
  (void)state;
  for (int from = 0; from < 3; from++) {
    for (int to = 0; to < 3; to++) {
      hak_heap_t *top = make(NULL, 5 * MIB);
      hak_heap_t *heaps[] = {top, make(top, 0), make(top, 0)};
      leave_free(heaps[from], BLOCKS, 16);
      CHECK(charge_of(top) > 3 * MIB);
      void *block = hak_heap_alloc(heaps[to], 4 * MIB);
      CHECK_MSG(block != NULL, "what %d has free is not given to %d", from, to);
      CHECK(charge_of(top) <= 5 * MIB);
      CHECK_EQ(test_heap_stats(top).budget_refused, 0);
      CHECK_EQ(hak_heap_destroy(heaps[1]), 0);
      CHECK_EQ(hak_heap_destroy(heaps[2]), 0);
      CHECK_EQ(hak_heap_destroy(top), 0);
    }
  }
}

/* Another thread may be at work there. */
static void limit__that_refuses_leaves_what_serial_heaps_cache(void **state) {
  (void)state;
  hak_heap_t *top = make(NULL, 2 * MIB), *serial = test_heap(HAK_HEAP_SERIAL, "s", top);
  void *blocks[200];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++)
    CHECK((blocks[i] = hak_heap_alloc(serial, 100)) != NULL);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_heap_free(serial, blocks[i]);
  uint64_t cached = test_heap_stats(serial).cached_bytes;
  CHECK(cached > 0);
  CHECK(fill(top, BLOCK) > 0);
  CHECK_EQ(test_heap_stats(serial).cached_bytes, cached);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Groups are the default heap's. */
static void limit__that_refuses_gives_no_block_of_another_heap(void **state) {
  (void)state;
  enum {
    SIZE = 1000
  };
  int64_t learn = hak_option_get(HAK_OPTION_LEARN);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 1), 0);
  hak_free(hak_alloc(SIZE));
  hak_heap_t *group = hak_group_heap(1);
  CHECK(group != NULL);
  void *blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++) {
    hak_thread_t *me = hak_thread_enter();
    CHECK(me != NULL);
    blocks[i] = hak_refill_bin(me, hak_kind_cache(me, group), hak_class_of(SIZE));
    hak_thread_leave(me, "test");
    CHECK(blocks[i] != NULL);
  }
  for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  hak_heap_t *heap = make(NULL, 512 * KIB);
  CHECK(fill(heap, SIZE) > 400); /* each of this heap */
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, learn), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* --- callbacks ------------------------------------------------------------------------
 */

static void *g_to_free;

static int free_one_and_bound(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap;
  (void)needed;
  (void)level;
  ++*(unsigned *)ctx;
  hak_free(g_to_free);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  bound();
  return 1;
}

/* The limit is in the way first, then the system: that is no refusal by the limit. */
static void callback__that_frees_what_the_system_then_lacks_is_asked_once(void **state) {
  (void)state;
  unsigned calls = 0;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){
      .hard_limit = 8 * MIB, .on_pressure = free_one_and_bound, .ctx = &calls});
  g_to_free = hak_heap_alloc(heap, 5 * MIB);
  CHECK(g_to_free != NULL);
  CHECK(hak_heap_alloc(heap, 6 * MIB) == NULL && errno == ENOMEM);
  CHECK_EQ(calls, 1);
  CHECK_EQ(test_heap_stats(heap).budget_refused, 0);
  g_most = SIZE_MAX;
  CHECK(hak_heap_alloc(heap, 6 * MIB) != NULL);
  CHECK_EQ(hak_check(NULL), 0);
}

/* The limit is set anew and passed anew, as others may do meanwhile; in the end that
 * stops. */
static int limit_and_grow(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  enum {
    STOPS = 1000
  };
  CHECK(needed > 0);
  CHECK_EQ(level, HAK_PRESSURE_SOFT);
  unsigned calls = ++*(unsigned *)ctx;
  if (calls > STOPS) return 0;
  CHECK_EQ(hak_heap_set_limits(heap, MIB, 0), 0);
  CHECK_EQ(hak_heap_prefault(heap, calls % 2 == 0 ? 0 : MIB), 0);
  return 1;
}

static void callback__that_has_the_limit_passed_anew_is_not_asked_without_end(
    void **state) {
  (void)state;
  unsigned calls = 0;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){
      .soft_limit = MIB, .on_pressure = limit_and_grow, .ctx = &calls});
  hak_heap_t *below = make(heap, 0);
  for (int i = 0; i < 2; i++) {
    calls = 0;
    CHECK(hak_heap_alloc(i == 0 ? heap : below, 2 * MIB) != NULL);
    CHECK_MSG(calls > 0 && calls <= HAK_PRESSURE_ROUNDS, "%u", calls);
  }
  /* Nor is it forgotten. */
  CHECK_EQ(hak_heap_prefault(heap, 2 * MIB), 0);
  calls = 0;
  hak_free(hak_heap_alloc(below, 2 * MIB));
  CHECK(calls > 0);
  CHECK_EQ(hak_check(NULL), 0);
}

static int count_call(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap;
  (void)needed;
  (void)level;
  ++*(unsigned *)ctx;
  return 0;
}

/* Nobody has its handle any more, and its blocks may grow. */
static void callback__of_a_released_heap_is_not_called(void **state) {
  (void)state;
  for (int released = 0; released < 2; released++) {
    unsigned calls = 0;
    hak_heap_t *heap = test_heap_make((hak_heap_config_t){
        .soft_limit = 1500 * KIB, .on_pressure = count_call, .ctx = &calls});
    void *block = hak_heap_alloc(heap, 1200 * KIB);
    CHECK(block != NULL);
    if (released != 0) CHECK_EQ(hak_heap_release(heap), 0);
    CHECK(hak_resize_in_place(block, 1800 * KIB, 1800 * KIB) >= 1800 * KIB);
    CHECK_EQ(calls, 1 - released);
    hak_free(block);
    if (released == 0) CHECK_EQ(hak_heap_destroy(heap), 0);
    CHECK_EQ(hak_check(NULL), 0);
  }
}

/* As samples do whose blocks lie ready. */
static unsigned g_depth;
static int cross_inside(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)needed;
  (void)level;
  CHECK_EQ(g_depth++, 0);
  CHECK_EQ(hak_heap_set_limits(heap, MIB, 0), 0);
  CHECK_EQ(hak_heap_prefault(heap, MIB), 0);
  CHECK(hak_load_relaxed(&hak_budget_alarms) > 0);
  hak_pressure_soft(hak_heap_record(heap));
  g_depth--;
  ++*(unsigned *)ctx;
  return 0;
}

static void callback__of_a_soft_limit_is_not_called_inside_itself(void **state) {
  (void)state;
  unsigned calls = 0;
  hak_heap_t *heap = test_heap_make(
      (hak_heap_config_t){.soft_limit = MIB, .on_pressure = cross_inside, .ctx = &calls});
  CHECK(hak_heap_alloc(heap, 2 * MIB) != NULL);
  CHECK_EQ(calls, 1);
  CHECK_EQ(hak_check(NULL), 0);
}

/* --- requests of parts ----------------------------------------------------------------
 */

static void *refused_by_top(hak_heap_t *heap, const void *top, hak_budget_call_t *call) {
  (void)heap;
  hak_heap_t *record = hak_heap_record((hak_heap_t *)(uintptr_t)top);
  call->refused_by = &record->store->pool.budget;
  return NULL;
}

static void *nothing(hak_heap_t *heap, const void *top, hak_budget_call_t *call) {
  (void)heap;
  (void)top;
  (void)call;
  return NULL;
}

static void *refused_and_nothing(hak_heap_t *heap, const void *top,
                                 hak_budget_call_t *call) {
  (void)refused_by_top(heap, top, call);
  CHECK(hak_pressure_request(heap, READY, nothing, top) == NULL);
  return NULL;
}

/* A limit was in the way, whatever else was tried after that. */
static void request__whose_part_the_system_refuses_is_refused_by_its_limit(void **state) {
  (void)state;
  unsigned calls = 0;
  hak_heap_t *top = test_heap_make((hak_heap_config_t){
      .hard_limit = 4 * MIB, .on_pressure = count_call, .ctx = &calls});
  hak_heap_t *heap = hak_heap_record(top);
  CHECK(hak_pressure_request(heap, READY, nothing, top) == NULL);
  CHECK_EQ(calls, 0);
  CHECK(hak_pressure_request(heap, READY, refused_and_nothing, top) == NULL);
  CHECK_EQ(calls, 1);
  CHECK_EQ(test_heap_stats(top).budget_refused, 1);
}

/* --- what is not there -----------------------------------------------------------------
 */

static bool g_closed;
static uint32_t g_missing = UINT32_MAX;

hak_thread_t *__real_hak_thread_enter_slow(void);
hak_thread_t *__wrap_hak_thread_enter_slow(void);
hak_thread_t *__wrap_hak_thread_enter_slow(void) {
  return g_closed ? NULL : __real_hak_thread_enter_slow();
}
hak_heap_t *__real_hak_heap_at(uint32_t index);
hak_heap_t *__wrap_hak_heap_at(uint32_t index);
hak_heap_t *__wrap_hak_heap_at(uint32_t index) {
  return index == g_missing ? NULL : __real_hak_heap_at(index);
}

static void *taken(hak_thread_t *me, hak_heap_t *heap, const void *request) {
  (void)me;
  (void)heap;
  return (void *)(uintptr_t)request;
}

/* As where another thread shuts it down. */
static void request__fails_where_the_library_is_closed(void **state) {
  (void)state;
  unsigned calls = 0;
  hak_heap_t *top = test_heap_make(
      (hak_heap_config_t){.soft_limit = MIB, .on_pressure = count_call, .ctx = &calls});
  hak_heap_t *heap = hak_heap_record(top);
  hak_budget_call_t call;
  hak_budget_call_begin(&call);
  CHECK(hak_pressure_take(heap, taken, NULL, top, false, &call) == top);
  hak_thread_self->kind = HAK_THREAD_NONE;
  g_closed = true;
  void *block = hak_pressure_take(heap, taken, NULL, top, false, &call);
  hak_budget_call_end(&call);
  hak_thread_self->kind = HAK_THREAD_ATTACHED;
  CHECK(block == NULL);
  /* Nothing can be given up then at a soft limit; it is told of. */
  CHECK_EQ(hak_heap_prefault(top, 2 * MIB), 0);
  hak_thread_self->kind = HAK_THREAD_NONE;
  hak_pressure_soft(heap);
  g_closed = false;
  hak_thread_self->kind = HAK_THREAD_ATTACHED;
  CHECK_EQ(calls, 1);
}

/* The number of a heap whose record found no memory is lost. */
static void limit__that_refuses_goes_past_numbers_without_a_heap(void **state) {
  (void)state;
  hak_heap_t *top = make(NULL, 4 * MIB), *lost = make(NULL, 0), *low = make(top, 0);
  leave_free(low, BLOCKS, 16);
  g_missing = hak_heap_record(lost)->index;
  CHECK(hak_heap_alloc(top, 3 * MIB) != NULL);
  g_missing = UINT32_MAX;
  CHECK_EQ(hak_check(NULL), 0);
}

/* What a heap has ready is given in a callback of a heap above it if that is serial:
 * another thread may be at it. Else nothing is, of heaps that the limit covers. */
static bool g_serial, g_asked;

static int take_what_is_ready(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)needed;
  (void)level;
  (void)ctx;
  void *block = hak_heap_alloc(heap, READY);
  CHECK_EQ(block != NULL, g_serial);
  if (block != NULL) hak_free(block);
  g_asked = true;
  return 0;
}

static void callback__has_what_a_serial_heap_above_has_ready_and_no_more(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    g_serial = (i & 1) != 0;
    hak_heap_t *top =
        test_heap_make((hak_heap_config_t){.flags = g_serial ? HAK_HEAP_SERIAL : 0,
                                           .hard_limit = 4 * MIB,
                                           .on_pressure = take_what_is_ready});
    hak_heap_t *below = make(top, 0), *asks = hak_heap_record(below);
    CHECK(hak_heap_alloc(below, READY) != NULL);
    void *blocks[200];
    for (size_t k = 0; k < TEST_COUNT(blocks); k++)
      CHECK((blocks[k] = hak_heap_alloc(top, READY)) != NULL);
    for (size_t k = 0; k < TEST_COUNT(blocks); k++) hak_free(blocks[k]);
    /* A request for a block of `below` that is sampled is one of a heap of its own. */
    if (i >= 2) asks = hak_samples_heap(asks);
    CHECK(asks != NULL);
    g_asked = false;
    CHECK(hak_pressure_request(asks, 5 * MIB, refused_by_top, top) == NULL);
    CHECK(g_asked);
    CHECK_EQ(hak_heap_destroy(below), 0);
    CHECK_EQ(hak_heap_destroy(top), 0);
    CHECK_EQ(hak_check(NULL), 0);
  }
}

/* --- the system has no more ----------------------------------------------------------
 */

/* Free slots in SuperSlabs of another heap, which nobody caches. */
static void memory__of_another_heap_serves_small_blocks_and_large_ones(void **state) {
  (void)state;
  hak_heap_t *other = make(NULL, 0);
  hak_free(hak_alloc(16));
  leave_free(other, BLOCKS, 8);
  bound();
  CHECK(hak_alloc(2 * MIB) != NULL);
  /* Something was found the last time. */
  g_most = SIZE_MAX;
  leave_free(other, BLOCKS, 8);
  bound();
  size_t count = fill(NULL, 1000);
  CHECK_MSG(count * 1000 >= BLOCKS / 2 * BLOCK, "%zu KiB", count);
  /* And now nothing. */
  g_most = SIZE_MAX;
  leave_free(other, BLOCKS, 8);
  bound();
  CHECK(hak_alloc(2 * MIB) != NULL);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Small ones are not served at once after a look in vain, but for ever they are not
 * refused. */
static void memory__of_another_heap_is_found_some_time_after_a_look_in_vain(
    void **state) {
  (void)state;
  enum {
    REFUSALS_MOST = 64
  };
  hak_heap_t *other = make(NULL, 0);
  hak_free(hak_alloc(16));
  bound();
  (void)fill(NULL, 1000);
  g_most = SIZE_MAX;
  leave_free(other, BLOCKS, 8);
  bound();
  int refusals = 0;
  while (hak_alloc(1000) == NULL && refusals <= REFUSALS_MOST) refusals++;
  CHECK_MSG(refusals <= REFUSALS_MOST, "%d refusals", refusals);
  CHECK_EQ(hak_check(NULL), 0);
}

/* A free mapping is as good as the system's memory, however often there was none. */
static void memory__that_is_free_serves_small_blocks_at_once(void **state) {
  (void)state;
  hak_heap_t *other = make(NULL, 0);
  hak_free(hak_alloc(16));
  void *mapping = hak_heap_alloc(other, 40 * MIB);
  CHECK(mapping != NULL);
  bound();
  (void)fill(NULL, 1000);
  hak_free(mapping);
  CHECK(hak_alloc(1000) != NULL);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Where not the limit but the system refuses, the kept memory would be of no use. */
static void memory__that_is_kept_stays_where_the_system_refuses(void **state) {
  (void)state;
  enum {
    SIZE = 250000 /* more than two of the blocks that are free, none beside another */
  };
  hak_heap_t *heap = test_heap(HAK_HEAP_NO_PURGE, "kept", NULL);
  leave_free(heap, 30, 2);
  leave_free(heap, 30, 2);
  uint64_t before = charge_of(heap);
  CHECK_EQ(hak_heap_set_limits(heap, 0, before + SIZE + 30 * KIB), 0);
  bound();
  CHECK(hak_heap_alloc(heap, SIZE) == NULL && errno == ENOMEM);
  CHECK_EQ(charge_of(heap), before);
  CHECK_EQ(test_heap_stats(heap).budget_refused, 0);
}

#define P(function) \
  cmocka_unit_test_setup_teardown(function, setup, test_over_os_teardown)

TEST_MAIN_FRESH(P(limit__that_refuses_leaves_heaps_alone_that_it_does_not_cover),
                P(limit__that_refuses_takes_from_each_heap_that_it_covers),
                P(limit__that_refuses_leaves_what_serial_heaps_cache),
                P(limit__that_refuses_gives_no_block_of_another_heap),
                P(callback__that_frees_what_the_system_then_lacks_is_asked_once),
                P(callback__that_has_the_limit_passed_anew_is_not_asked_without_end),
                P(callback__of_a_released_heap_is_not_called),
                P(callback__of_a_soft_limit_is_not_called_inside_itself),
                P(request__whose_part_the_system_refuses_is_refused_by_its_limit),
                P(request__fails_where_the_library_is_closed),
                P(limit__that_refuses_goes_past_numbers_without_a_heap),
                P(callback__has_what_a_serial_heap_above_has_ready_and_no_more),
                P(memory__of_another_heap_serves_small_blocks_and_large_ones),
                P(memory__of_another_heap_is_found_some_time_after_a_look_in_vain),
                P(memory__that_is_free_serves_small_blocks_at_once),
                P(memory__that_is_kept_stays_where_the_system_refuses))
