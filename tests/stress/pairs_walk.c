/* pairs_walk.c - actors that walk, ask, collect, make ready or set: see pairs.h */
#include "pairs.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

/* ---- Walking ---------------------------------------------------------- */

/* The heap is quiet; threads that have caches of it are at work on others. */
static void visit_round(pair_t *pair, test_rng_t *rng) {
  work_some(pair, ACTOR_HAND, 4, rng);
  pen_close(pair->target);
  check_visit(pair, pair->target, pair->target->handle);
  if (pair->target->parent != NULL && pair->kind == KIND_CHILD) {
    check_visit(pair, pair->target, pair->target->parent);
  }
  pen_open(pair->target);
  sched_yield();
}

typedef struct heap_count {
  const pair_t *pair;
  unsigned seen[KINDS];
} heap_count_t;

static bool count_heap(hak_heap_t *heap, void *ctx) {
  heap_count_t *count = ctx;
  for (size_t kind = 0; kind < KINDS; kind++) {
    count->seen[kind] += heap == count->pair->pens[kind].handle;
  }
  return true;
}

static void heaps_round(pair_t *pair, test_rng_t *rng) {
  heap_count_t count = {.pair = pair};
  CHECK_EQ(hak_visit_heaps(count_heap, &count), 0);
  for (size_t kind = 0; kind < KINDS; kind++) CHECK_EQ(count.seen[kind], 1);
  work_some(pair, ACTOR_HAND, 1, rng);
}

static void check_round(pair_t *pair, test_rng_t *rng) {
  CHECK_EQ(hak_check(NULL), 0);
  pen_enter_wait(pair->target);
  CHECK_EQ(hak_check(pair->target->handle), 0);
  pen_leave(pair->target);
  work_some(pair, ACTOR_HAND, 4, rng);
}

/* ---- Asking ----------------------------------------------------------- */

static void swallow(const char *text, size_t length, void *ctx) {
  size_t *sum = ctx;
  *sum += length + (size_t)(text[0] == '\0');
}

/* No figure wraps or passes a limit, whoever is at work. */
static void judge_stats(hak_heap_t *heap) {
  hak_stats_t stats = test_heap_stats(heap);
  CHECK(stats.live_bytes < 64 * GIB && stats.live_blocks < GIB);
  CHECK(stats.committed_bytes < 64 * GIB && stats.cached_bytes < 64 * GIB);
  CHECK_MSG(stats.hard_limit == 0 || stats.committed_bytes <= stats.hard_limit,
            "%llu bytes charged, limit %llu", (unsigned long long)stats.committed_bytes,
            (unsigned long long)stats.hard_limit);
}

static void stats_round(pair_t *pair, test_rng_t *rng) {
  size_t written = 0;
  judge_stats(NULL);
  judge_stats(pair->target->handle);
  if (pair->target->parent != NULL) judge_stats(pair->target->parent);
  hak_heap_t *heap = test_below(rng, 2) == 0 ? NULL : pair->target->handle;
  int format = test_below(rng, 2) == 0 ? HAK_FORMAT_TEXT : HAK_FORMAT_JSON;
  CHECK_EQ(hak_stats_print(heap, format, swallow, &written), 0);
  CHECK(written > 0);
  work_some(pair, ACTOR_HAND, 2, rng);
}

static void ask(uintptr_t address) {
  hak_block_t block = {.struct_size = sizeof block};
  int error = hak_ptr_info((void *)address, &block);
  CHECK(error == 0 || error == ENOENT);
  if (error == 0) {
    CHECK((uintptr_t)block.address <= address);
    CHECK(address - (uintptr_t)block.address < block.size + CANARY);
    CHECK(block.is_start == (address == (uintptr_t)block.address));
  }
  (void)hak_heap_of((void *)address);
  int hint = hak_move_hint((void *)address);
  CHECK(hint == 0 || hint == 1);
}

/* Of a block that this thread has, all answers are exact. */
static void ask_of_own(pair_t *pair, test_rng_t *rng) {
  pen_t *pen = pair->target;
  _Atomic(item_t *) *place = &pen->own[ACTOR_HAND][test_below(rng, OWN)];
  pen_enter_wait(pen);
  item_t *item = atomic_exchange(place, NULL);
  if (item != NULL) {
    hak_block_t block = {.struct_size = sizeof block};
    size_t offset = (size_t)test_below(rng, item->size);
    CHECK_EQ(hak_ptr_info(item->address + offset, &block), 0);
    CHECK(block.address == item->address && block.heap == item->owner);
    CHECK(block.size == hak_usable_size(item->address));
    CHECK(block.is_start == (offset == 0));
    item_verify(item);
  }
  atomic_store(place, item);
  pen_leave(pen);
}

static void ask_round(pair_t *pair, test_rng_t *rng) {
  for (unsigned i = 0; i < SEEN; i++) {
    uintptr_t address = atomic_load_explicit(&pair->seen[i], memory_order_relaxed);
    ask(address);
    if (i % 8 == 0) ask(address + test_below(rng, 64 * KIB));
    if (i % 8 == 1) ask((uintptr_t)test_random(rng) >> test_below(rng, 64));
    if (i % 16 == 2) ask_of_own(pair, rng);
  }
  work_some(pair, ACTOR_HAND, 2, rng);
}

/* ---- Making ready ----------------------------------------------------- */

static void prefault_help(pair_t *pair, unsigned hand, test_rng_t *rng) {
  pen_t *pen = pair->target;
  pen_enter_wait(pen);
  int error = hak_heap_prefault(pen->handle, (1 + (size_t)test_below(rng, 6)) * MIB);
  CHECK(error == 0 || (error == ENOMEM && atomic_load(&pen->may_fail)));
  pen_leave(pen);
  work_some(pair, hand, 4, rng);
}

static void prefault_round(pair_t *pair, test_rng_t *rng) {
  crowd(pair, 3, prefault_help, rng);
  pen_enter_wait(pair->target);
  CHECK_EQ(hak_heap_prefault(pair->target->handle, 0), 0);
  pen_leave(pair->target);
}

static void prewarm_help(pair_t *pair, unsigned hand, test_rng_t *rng) {
  static const size_t sizes[] = {24, 500, 3000, 20000, 70000, 600000, 3 << 20};
  pen_t *pen = pair->target;
  size_t size = sizes[test_below(rng, TEST_COUNT(sizes))];
  size_t count = 1 + (size_t)test_below(rng, size < 4000 ? 200 : 3);
  pen_enter_wait(pen);
  size_t ready = hak_heap_prewarm(pen->handle, size, count);
  CHECK(ready <= count);
  void *block = hak_heap_alloc(pen->handle, size);
  CHECK(block != NULL || atomic_load(&pen->may_fail));
  if (block != NULL) memset(block, 0x5a, size);
  hak_free(block);
  pen_leave(pen);
  work_some(pair, hand, 4, rng);
}

static void prewarm_round(pair_t *pair, test_rng_t *rng) {
  crowd(pair, 3, prewarm_help, rng);
}

/* ---- Giving back ------------------------------------------------------ */

static void collect(pair_t *pair, size_t most, unsigned flags, test_rng_t *rng) {
  pen_enter_wait(pair->target);
  (void)hak_collect(pair->target->handle, most, flags);
  pen_leave(pair->target);
  work_some(pair, ACTOR_HAND, 2, rng);
}

static void collect_round(pair_t *pair, test_rng_t *rng) {
  collect(pair, SIZE_MAX, HAK_COLLECT_ALL, rng);
}

static void collect_some_round(pair_t *pair, test_rng_t *rng) {
  collect(pair, 1 + (size_t)test_below(rng, 2 * MIB), 0, rng);
  (void)hak_collect(NULL, 1 + (size_t)test_below(rng, MIB), 0);
}

static void collect_all_help(pair_t *pair, unsigned hand, test_rng_t *rng) {
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  work_some(pair, hand, 8, rng);
}

static void collect_all_round(pair_t *pair, test_rng_t *rng) {
  crowd(pair, 2, collect_all_help, rng);
}

/* ---- Setting ---------------------------------------------------------- */

static void limits_round(pair_t *pair, test_rng_t *rng) {
  pen_t *pen = pair->target;
  size_t charge = test_heap_stats(pen->handle).committed_bytes;
  size_t hard = charge / 2 + (size_t)test_below(rng, charge + MIB) + 1;
  size_t soft = (size_t)test_below(rng, hard);
  bool enclosed = pen->kind == KIND_ARENA || pen->kind == KIND_PLOT;
  pen_enter_wait(pen);
  CHECK_EQ(hak_heap_set_limits(pen->handle, soft, hard), enclosed ? EINVAL : 0);
  CHECK_EQ(hak_heap_set_limits(pen->handle, hard + 1, hard), EINVAL);
  pen_leave(pen);
  work_some(pair, ACTOR_HAND, 8, rng);
  pen_enter_wait(pen);
  if (!enclosed) CHECK_EQ(hak_heap_set_limits(pen->handle, 0, 0), 0);
  pen_leave(pen);
  work_some(pair, ACTOR_HAND, 4, rng);
}

static atomic_ullong g_events[2];

static void count_event(hak_event_t event, const void *address, size_t size, void *ctx) {
  CHECK(event >= HAK_EVENT_REFILL && event <= HAK_EVENT_LARGE_FREE);
  (void)address;
  (void)size;
  atomic_fetch_add_explicit((atomic_ullong *)ctx, 1, memory_order_relaxed);
}

static void handlers_round(pair_t *pair, test_rng_t *rng) {
  for (unsigned i = 0; i < 2; i++) {
    hak_set_event_hook(count_event, &g_events[i]);
    work_some(pair, ACTOR_HAND, 4, rng);
  }
  if (test_below(rng, 2) == 0) hak_set_event_hook(NULL, NULL);
  work_some(pair, ACTOR_HAND, 4, rng);
}

/* How much threads keep, where blocks come from, what is given back when. */
static const struct {
  hak_option_t option;
  int64_t most;
} changing[] = {{HAK_OPTION_BIN_BLOCKS, 256},
                {HAK_OPTION_BIN_BLOCKS_MIN, 64},
                {HAK_OPTION_BIN_BYTES, 1 << 20},
                {HAK_OPTION_BIN_GROWTH_BYTES, 32 << 20},
                {HAK_OPTION_CARVE_BYTES, 64 << 10},
                {HAK_OPTION_MAGAZINE_BLOCKS, 62},
                {HAK_OPTION_TRANSFER_MAGAZINES, 16},
                {HAK_OPTION_HELD_SLABS, 100},
                {HAK_OPTION_TRIM_REFILLS, 1000},
                {HAK_OPTION_MID_SPAN_SLABS, 8},
                {HAK_OPTION_PURGE_MODE, 1},
                {HAK_OPTION_PURGE_DECAY_MS, 10},
                {HAK_OPTION_RETAIN_BYTES, 32 << 20},
                {HAK_OPTION_HUGE_RETAIN_BYTES, 64 << 20},
                {HAK_OPTION_LARGE_MAX_BYTES, 8 << 20},
                {HAK_OPTION_COLLECT_SLABS, 65536},
                {HAK_OPTION_GUARD_SAMPLE, 100}};

static void options_round(pair_t *pair, test_rng_t *rng) {
  size_t k = (size_t)test_below(rng, TEST_COUNT(changing));
  hak_option_info_t info = {.struct_size = sizeof info};
  CHECK_EQ(hak_option_describe(changing[k].option, &info), 0);
  int64_t most = changing[k].most < info.max ? changing[k].most : info.max;
  uint64_t range = most > info.min ? (uint64_t)(most - info.min) + 1 : 1;
  int64_t value = info.min + (int64_t)test_below(rng, range);
  if (test_below(rng, 4) == 0) value = info.default_value;
  CHECK_EQ(hak_option_set(changing[k].option, value), 0);
  work_some(pair, ACTOR_HAND, 4, rng);
}

/* ---- Heaps below ------------------------------------------------------ */

/* What is released below the target belongs to it from then on. */
static void below_help(pair_t *pair, unsigned hand, test_rng_t *rng) {
  (void)hand;
  pen_t *pen = pair->target;
  item_t *items[8];
  hak_heap_config_t config = {.struct_size = sizeof config};
  if (test_below(rng, 2) == 0) config.hard_limit = 8 * MIB;
  pen_enter_wait(pen);
  config.parent = pen->handle;
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  pen_leave(pen);
  /* Meanwhile the target has a heap below it, so that it cannot end. */
  for (size_t i = 0; i < TEST_COUNT(items); i++) {
    items[i] = item_make_in(pair, heap, true, rng);
  }
  pen_enter_wait(pen);
  bool destroy = test_below(rng, 3) == 0;
  for (size_t i = 0; i < TEST_COUNT(items); i++) {
    if (items[i] == NULL) continue;
    item_verify(items[i]);
    if (destroy) item_forget(items[i]);
  }
  CHECK_EQ(destroy ? hak_heap_destroy(heap) : hak_heap_release(heap), 0);
  for (size_t i = 0; i < TEST_COUNT(items) && !destroy; i++) {
    if (items[i] == NULL) continue;
    item_orphan(items[i], pen->handle);
    if (!item_share(pen, items[i])) item_free(items[i], rng);
  }
  pen_leave(pen);
}

static void below_round(pair_t *pair, test_rng_t *rng) {
  crowd(pair, 2, below_help, rng);
  work_some(pair, ACTOR_HAND, 4, rng);
}

const actor_t walk_actors[] = {
    {"visit", visit_round, ALL_KINDS, 0},
    {"visit_heaps", heaps_round, ALL_KINDS, 0},
    {"check", check_round, ALL_KINDS, 0},
    {"stats", stats_round, ALL_KINDS, 0},
    {"ptr_info", ask_round, ALL_KINDS, 0},
    {"prefault", prefault_round, ALL_KINDS, 0},
    {"prewarm", prewarm_round, ALL_KINDS, 0},
    {"collect", collect_round, ALL_KINDS, 0},
    {"collect_some", collect_some_round, ALL_KINDS, 0},
    {"collect_all", collect_all_round, ALL_KINDS, 0},
    {"set_limits", limits_round, ALL_KINDS, ACTOR_LIMITS},
    {"event_hook", handlers_round, ALL_KINDS, 0},
    {"option_set", options_round, ALL_KINDS, 0},
    {"heaps_below", below_round, ALL_KINDS, 0},
};
const size_t walk_actor_count = TEST_COUNT(walk_actors);
