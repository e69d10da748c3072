/* pairs_work.c - see pairs.h */
#include "pairs.h"
#include "threads.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- Threads at work -------------------------------------------------- */

/* What was taken out of a place goes back to it, or is no more. */
static item_t *use(pair_t *pair, pen_t *pen, item_t *item, test_rng_t *rng) {
  switch (test_below(rng, 16)) {
    case 0:
    case 1:
    case 2:
      item_resize(pair, pen, item, rng);
      return item;
    case 3:
    case 4:
    case 5:
    case 6:
      return atomic_exchange(&pen->shared[test_below(rng, pen->places)], item);
    case 7:
      item_verify(item);
      return item;
    default:
      item_free(item, rng);
      return NULL;
  }
}

void work_step(pair_t *pair, pen_t *pen, unsigned hand, test_rng_t *rng) {
  _Atomic(item_t *) *place = &pen->own[hand][test_below(rng, OWN)];
  item_t *item = atomic_exchange(place, NULL);
  item = item == NULL ? item_make(pair, pen, rng) : use(pair, pen, item, rng);
  atomic_store(place, item);
}

/* Blocks of released heaps are only resized and freed. */
static void loose_step(pair_t *pair, test_rng_t *rng) {
  pen_t *pen = &pair->loose;
  _Atomic(item_t *) *place = &pen->shared[test_below(rng, pen->places)];
  item_t *item = atomic_exchange(place, NULL);
  if (item == NULL) return;
  if (test_below(rng, 8) == 0) {
    item_resize(pair, pen, item, rng);
    if (!item_share(pen, item)) item_free(item, rng);
  } else {
    item_free(item, rng);
  }
}

void work_some(pair_t *pair, unsigned hand, unsigned steps, test_rng_t *rng) {
  for (unsigned i = 0; i < steps; i++) {
    pen_enter_wait(pair->target);
    work_step(pair, pair->target, hand, rng);
    pen_leave(pair->target);
  }
}

typedef struct hand {
  pair_t *pair;
  unsigned number;
  helper_fn *fn;
  test_rng_t rng;
} hand_t;

/* Half of the steps are on the target where it is open, the others elsewhere. */
static void *work(void *ctx) {
  hand_t *hand = ctx;
  pair_t *pair = hand->pair;
  work_some(pair, hand->number, 2 * OWN, &hand->rng);
  atomic_fetch_add(&pair->started, 1);
  unsigned long long steps = 0;
  for (; !atomic_load(&pair->stop); steps++) {
    uint64_t draw = test_below(&hand->rng, 4 * KINDS);
    pen_t *pen = draw < KINDS ? &pair->pens[draw] : pair->target;
    if (draw >= 3 * KINDS && pen_enter(&pair->loose)) {
      loose_step(pair, &hand->rng);
      pen_leave(&pair->loose);
    }
    if (!pen_enter(pen)) {
      pen = &pair->pens[test_below(&hand->rng, KINDS)];
      if (!pen_enter(pen)) continue;
    }
    work_step(pair, pen, hand->number, &hand->rng);
    pen_leave(pen);
  }
  atomic_fetch_add(&pair->steps, steps);
  return NULL;
}

static void *help(void *ctx) {
  hand_t *hand = ctx;
  hand->fn(hand->pair, hand->number, &hand->rng);
  return NULL;
}

void crowd(pair_t *pair, unsigned count, helper_fn *fn, test_rng_t *rng) {
  pthread_t threads[HELPERS];
  hand_t hands[HELPERS];
  for (unsigned i = 0; i < count; i++) {
    hands[i] = (hand_t){pair, WORKERS + i, fn, test_rng(test_random(rng), i)};
    CHECK_EQ(pthread_create(&threads[i], NULL, help, &hands[i]), 0);
  }
  test_threads_end(threads, count);
}

/* ---- What a heap has -------------------------------------------------- */

typedef struct block_list {
  hak_heap_t *handle;
  size_t count, capacity;
  struct block_entry {
    uintptr_t address;
    size_t size;
  } * entries;
} block_list_t;

static void list_add(block_list_t *list, const void *address, size_t size) {
  if (list->count == list->capacity) {
    list->capacity = 2 * list->capacity + 256;
    list->entries = realloc(list->entries, list->capacity * sizeof *list->entries);
    CHECK(list->entries != NULL);
  }
  list->entries[list->count++] = (struct block_entry){(uintptr_t)address, size};
}

static int compare_entries(const void *a, const void *b) {
  const struct block_entry *x = a, *y = b;
  return (x->address > y->address) - (x->address < y->address);
}

static void list_sort(block_list_t *list) {
  if (list->count == 0) return;
  qsort(list->entries, list->count, sizeof *list->entries, compare_entries);
}

static void list_item(pair_t *pair, pen_t *pen, _Atomic(item_t *) *place, void *ctx) {
  (void)pair;
  (void)pen;
  block_list_t *list = ctx;
  const item_t *item = atomic_load(place);
  if (item->owner != list->handle) return;
  list_add(list, item->address, hak_usable_size(item->address));
}

static bool list_block(const hak_block_t *block, void *ctx) {
  block_list_t *list = ctx;
  CHECK(block->is_start);
  CHECK(block->heap == list->handle);
  list_add(list, block->address, block->size);
  return true;
}

static void compare_lists(const block_list_t *model, const block_list_t *shown) {
  for (size_t i = 0, j = 0; i < model->count || j < shown->count; i++, j++) {
    CHECK_MSG(j < shown->count && (i == model->count || model->entries[i].address >=
                                                            shown->entries[j].address),
              "a block of %zu bytes is not shown (%zu of %zu are)",
              model->entries[i].size, shown->count, model->count);
    CHECK_MSG(i < model->count && model->entries[i].address == shown->entries[j].address,
              "%p (%zu bytes) is shown, where no block is (%zu shown, %zu are there)",
              (void *)shown->entries[j].address, shown->entries[j].size, shown->count,
              model->count);
    CHECK_EQ(shown->entries[j].size, model->entries[i].size);
  }
}

void check_visit(pair_t *pair, pen_t *pen, hak_heap_t *handle) {
  block_list_t model = {.handle = handle}, shown = {.handle = handle};
  if (pen == NULL) {
    pens_each(pair, list_item, &model);
  } else {
    pen_each(pair, pen, list_item, &model);
  }
  CHECK_EQ(hak_heap_visit(handle, list_block, &shown, 0), 0);
  list_sort(&model);
  list_sort(&shown);
  compare_lists(&model, &shown);
  free(model.entries);
  free(shown.entries);
}

/* ---- The end of a pair ------------------------------------------------ */

static bool lies_in(const pen_t *pen, uintptr_t address) {
  for (size_t i = 0; i < pen->memories; i++) {
    if (address - (uintptr_t)pen->memory[i] < pen->memory_size) return true;
  }
  return false;
}

/* Blocks in little memory of the caller's have none, nor do large ones in much of it,
 * whose size tells them apart: that of a class is a multiple of 16. So it is with those
 * that a released heap left there, whoever has them now. */
static bool has_canary(const pair_t *pair, const struct block_entry *block) {
  if (lies_in(&pair->pens[KIND_ARENA], block->address)) return false;
  return (block->size + CANARY) % 16 == 0 ||
         !lies_in(&pair->pens[KIND_PLOT], block->address);
}

/* All threads have ended, so counts are exact; what heaps below have is theirs too. */
static void check_counts(pair_t *pair, pen_t *pen) {
  block_list_t model = {.handle = pen->handle};
  pens_each(pair, list_item, &model);
  uint64_t bytes = 0;
  for (size_t i = 0; i < model.count; i++) {
    bytes += model.entries[i].size;
    if (has_canary(pair, &model.entries[i])) bytes += CANARY;
  }
  /* What a serial heap has ready counts as live until it is collected. */
  (void)hak_collect(pen->handle, SIZE_MAX, HAK_COLLECT_ALL);
  hak_stats_t stats = test_heap_stats(pen->handle);
  CHECK_EQ(stats.live_blocks, model.count);
  CHECK_EQ(stats.live_bytes, bytes);
  free(model.entries);
}

/* Two threads at once free what is left, so that many a heap's last block is freed beside
 * another of it. */
static void free_rest(pair_t *pair, unsigned hand, test_rng_t *rng) {
  (void)hand;
  for (size_t i = 0; i <= KINDS; i++) {
    pen_t *pen = i == KINDS ? &pair->loose : &pair->pens[i];
    pen_enter_wait(pen);
    for (size_t k = 0; k < HANDS * OWN + pen->places; k++) {
      _Atomic(item_t *) *place =
          k < HANDS * OWN ? &pen->own[k / OWN][k % OWN] : &pen->shared[k - HANDS * OWN];
      item_t *item = atomic_exchange(place, NULL);
      if (item != NULL) item_free(item, rng);
    }
    pen_leave(pen);
  }
}

static void check_nothing_charged(const pen_t *pen) {
  bool keeps = pen->kind == KIND_ARENA || pen->kind == KIND_PLOT;
  if (!keeps && pen->kind != KIND_NO_PURGE) {
    CHECK_MSG(test_heap_stats(pen->handle).committed_bytes == 0,
              "%s: %llu bytes stay committed with every block freed",
              kind_names[pen->kind],
              (unsigned long long)test_heap_stats(pen->handle).committed_bytes);
  }
  CHECK_EQ(test_heap_stats(pen->handle).live_blocks, 0);
  if (pen->parent != NULL) CHECK_EQ(test_heap_stats(pen->parent).committed_bytes, 0);
}

static void end_world(pair_t *pair, test_rng_t *rng) {
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t kind = 0; kind < KINDS; kind++) {
    pen_t *pen = &pair->pens[kind];
    CHECK_EQ(hak_heap_prefault(pen->handle, 0), 0);
    check_visit(pair, NULL, pen->handle);
    check_counts(pair, pen);
    if (pen->parent != NULL) check_visit(pair, NULL, pen->parent);
  }
  crowd(pair, 2, free_rest, rng);
  for (size_t kind = 0; kind < KINDS; kind++) {
    (void)hak_collect(pair->pens[kind].handle, SIZE_MAX, HAK_COLLECT_ALL);
  }
  hak_thread_idle();
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t kind = 0; kind < KINDS; kind++) check_nothing_charged(&pair->pens[kind]);
  pens_close(pair);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(test_live_bytes(), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  pen_hooks_check_all();
}

/* ---- A pair ----------------------------------------------------------- */

static void on_error(const hak_error_info_t *info, void *ctx) {
  const pair_t *pair = ctx;
  test_fail(__FILE__, __LINE__, "%s reports '%s' (%s) at %p, beside %s",
            info->function == NULL ? "?" : info->function, hak_error_text(info->error),
            info->text, info->address, pair->actor->name);
}

/* Options that decide which ways are taken; each pair has some of them. */
static void set_options(const pair_t *pair, test_rng_t *rng) {
  if (test_below(rng, 4) != 0) {
    CHECK_EQ(hak_option_set(HAK_OPTION_LARGE_MAX_BYTES, 2 << 20), 0);
  }
  if (test_below(rng, 3) == 0) {
    int64_t sample = 1 + (int64_t)test_below(rng, 100);
    CHECK_EQ(hak_option_set(HAK_OPTION_GUARD_SAMPLE, sample), 0);
  }
  switch (test_below(rng, 4)) {
    case 0:
      break;
    case 1: /* memory comes and goes all the time */
      CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0), 0);
      CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
      CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_RETAIN_BYTES, 4 << 20), 0);
      break;
    case 2:
      CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_MODE, 0), 0);
      break;
    default: /* most threads share one state */
      if ((pair->actor->flags & ACTOR_ATTACHED) != 0) break;
      CHECK_EQ(hak_option_set(HAK_OPTION_MAX_THREADS, 3), 0);
      break;
  }
}

static void act(pair_t *pair, test_rng_t *rng) {
  enum {
    LEAST_ROUNDS = 2
  };
  while (atomic_load(&pair->started) < WORKERS) sched_yield();
  double end = test_seconds() + pair->seconds;
  for (pair->rounds = 0; pair->rounds < LEAST_ROUNDS || test_seconds() < end;
       pair->rounds++) {
    pair->actor->round(pair, rng);
  }
}

int pair_run(void *ctx) {
  pair_t *pair = ctx;
  test_rng_t rng = test_rng(pair->seed, 2);
  pen_hooks_begin();
  test_start();
  hak_set_error_handler(on_error, pair);
  set_options(pair, &rng);
  pens_open(pair);
  pair->target = &pair->pens[pair->kind];
  if ((pair->actor->flags & ACTOR_LIMITS) != 0)
    atomic_store(&pair->target->may_fail, true);
  pthread_t threads[WORKERS];
  hand_t hands[WORKERS];
  for (unsigned i = 0; i < WORKERS; i++) {
    hands[i] = (hand_t){pair, i, NULL, test_rng(pair->seed, 10 + i)};
    CHECK_EQ(pthread_create(&threads[i], NULL, work, &hands[i]), 0);
  }
  work_some(pair, ACTOR_HAND, OWN, &rng);
  act(pair, &rng);
  atomic_store(&pair->stop, true);
  test_threads_end(threads, WORKERS);
  end_world(pair, &rng);
  return 0;
}
