/* shadow_heaps.c - heaps of every kind that come and go; see shadow.h */
#include "shadow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

bool shadow_is_below(const shadow_t *shadow, unsigned heap, unsigned above) {
  for (int at = (int)heap; at >= 0; at = shadow->heaps[at].parent) {
    if (at == (int)above) {
      return true;
    }
  }
  return false;
}

bool shadow_may_refuse(const shadow_t *shadow, unsigned heap) {
  for (int at = (int)heap; at >= 0; at = shadow->heaps[at].parent) {
    if (shadow->heaps[at].hard > 0 || shadow->heaps[at].arena >= 0) {
      return true;
    }
  }
  return false;
}

unsigned shadow_pick_heap(shadow_t *shadow) {
  if ((shadow->flags & SHADOW_HEAPS) == 0 || shadow_pick(shadow, 2) == 0) {
    return 0;
  }
  unsigned heap = (unsigned)shadow_pick(shadow, SHADOW_HEAPS_MAX);
  while (shadow->heaps[heap].handle == NULL) {
    heap = (heap + 1) % SHADOW_HEAPS_MAX;
  }
  return heap;
}

static bool has_children(const shadow_t *shadow, unsigned heap) {
  for (unsigned i = 1; i < SHADOW_HEAPS_MAX; i++) {
    if (shadow->heaps[i].handle != NULL && shadow->heaps[i].parent == (int)heap) {
      return true;
    }
  }
  return false;
}

/* ---- What the library calls ------------------------------------------- */

/* Blocks that are live as their heap ends are no fault here; anything else is. */
static void on_report(const hak_error_info_t *info, void *ctx) {
  shadow_t *shadow = ctx;
  CHECK_MSG(info->error == HAK_ERROR_LEAK,
            "reported: %s (%s, %p), at operation %llu (%s)", info->text, info->function,
            info->address, (unsigned long long)shadow->operations,
            shadow_op_name(shadow->current));
}

static shadow_t *g_pressed; /* one shadow of a process has heaps */

/* Makes room by freeing a block of the heap now and then, though never the one that the
 * operation is at. */
static int on_pressure(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  shadow_t *shadow = g_pressed;
  const shadow_heap_t *of = ctx;
  SHADOW_CHECK_THAT(shadow, of->handle == heap || of->handle == NULL);
  SHADOW_CHECK_THAT(shadow, level == HAK_PRESSURE_SOFT || level == HAK_PRESSURE_HARD);
  (void)needed;
  if (of->handle == NULL || shadow->count == 0 || shadow_pick(shadow, 4) != 0) {
    return 0;
  }
  uint32_t place = shadow_pick_block(shadow);
  const shadow_block_t *block = &shadow->blocks[place];
  if (place == shadow->busy ||
      !shadow_is_below(shadow, block->heap, (unsigned)(of - shadow->heaps))) {
    return 0;
  }
  shadow_verify(shadow, block);
  hak_free(shadow_remove(shadow, place).address);
  return 1;
}

static void on_block(const hak_block_event_t *event, void *ctx) {
  shadow_heap_t *heap = ctx;
  CHECK(event->heap == heap->handle);
  switch (event->kind) {
    case HAK_BLOCK_ALLOC:
      heap->seen++;
      heap->last = event->address;
      break;
    case HAK_BLOCK_FREE:
      CHECK(heap->seen > 0 || heap->mixed);
      heap->seen--;
      break;
    case HAK_BLOCK_RESIZE:
      heap->last = event->address;
      break;
    case HAK_BLOCK_ALL_GONE:
      heap->seen = 0;
      break;
  }
}

/* ---- Heaps begin ------------------------------------------------------ */

/* Memory of the caller's that no heap lies in: little and much, aligned and not. */
static int free_arena(const shadow_t *shadow) {
  for (int i = 0; i < SHADOW_ARENAS; i++) {
    bool used = shadow->arena[i] == NULL;
    for (unsigned k = 1; k < SHADOW_HEAPS_MAX; k++) {
      used = used || (shadow->heaps[k].handle != NULL && shadow->heaps[k].arena == i);
    }
    if (!used) {
      return i;
    }
  }
  return -1;
}

static bool has_blocks_in(const shadow_t *shadow, int arena) {
  for (size_t i = 0; i < shadow->count; i++) {
    const shadow_block_t *block = &shadow->blocks[shadow->by_address[i]];
    if (test_is_within(block->address, shadow->arena[arena], shadow->arena_size[arena])) {
      return true;
    }
  }
  return false;
}

static int free_hooks(const shadow_t *shadow) {
  for (int i = 0; i < SHADOW_HOOKS; i++) {
    bool used = shadow->hooks[i].ranges > 0;
    for (unsigned k = 1; k < SHADOW_HEAPS_MAX; k++) {
      used = used || (shadow->heaps[k].handle != NULL && shadow->heaps[k].hooks == i);
    }
    if (!used) {
      return i;
    }
  }
  return -1;
}

/* Soft and hard limits from a few slabs to some MiB, or none. */
static void pick_limits(shadow_t *shadow, size_t *soft, size_t *hard) {
  *hard = shadow_pick(shadow, 3) == 0
              ? 0
              : 256 * KIB + (size_t)shadow_pick(shadow, (uint64_t)12 * MIB);
  *soft = 0;
  if (shadow_pick(shadow, 2) == 0) {
    *soft = *hard > 0 ? 1 + (size_t)shadow_pick(shadow, *hard)
                      : 1 + (size_t)shadow_pick(shadow, (uint64_t)8 * MIB);
  }
}

/* What the heap is made of, and what the model knows of it. */
static shadow_heap_t pick_heap_config(shadow_t *shadow, hak_heap_config_t *config) {
  static const unsigned all[] = {HAK_HEAP_SERIAL, HAK_HEAP_NO_PURGE,
                                 HAK_HEAP_REPORT_LEAKS, HAK_HEAP_WATCHED};
  static const char *const names[] = {NULL, "a", "requests",
                                      "a name of more than 31 bytes"};
  shadow_heap_t heap = {.parent = -1, .arena = -1, .hooks = -1};
  for (size_t i = 0; i < TEST_COUNT(all); i++) {
    heap.flags |= shadow_pick(shadow, 4) == 0 ? all[i] : 0;
  }
  config->flags = heap.flags;
  config->name = names[shadow_pick(shadow, TEST_COUNT(names))];
  if (shadow_pick(shadow, 2) == 0) {
    unsigned parent = shadow_pick_heap(shadow);
    heap.parent = parent == 0 && shadow_pick(shadow, 2) == 0 ? -1 : (int)parent;
    config->parent = heap.parent < 0 ? NULL : shadow->heaps[heap.parent].handle;
  }
  uint64_t kind = shadow_pick(shadow, 8);
  if (kind < 2) {
    heap.arena = free_arena(shadow);
  } else if (kind == 2) {
    heap.hooks = free_hooks(shadow);
  }
  if (heap.arena >= 0) {
    config->memory = shadow->arena[heap.arena];
    config->memory_size = shadow->arena_size[heap.arena];
  } else {
    pick_limits(shadow, &config->soft_limit, &config->hard_limit);
    config->huge_pages = (int32_t)shadow_pick(shadow, 3);
    config->reserve = shadow_pick(shadow, 8) == 0 ? 4 * MIB : 0;
    config->prefault = shadow_pick(shadow, 16) == 0 ? 256 * KIB : 0;
    config->os = heap.hooks >= 0 ? &shadow->hooks[heap.hooks].hooks : NULL;
  }
  heap.hard = config->hard_limit;
  heap.most = heap.hard > 0 ? heap.hard : UINT64_MAX;
  return heap;
}

void shadow_step_heap_create(shadow_t *shadow) {
  unsigned place = 1 + (unsigned)shadow_pick(shadow, SHADOW_HEAPS_MAX - 1);
  if ((shadow->flags & SHADOW_HEAPS) == 0 || shadow->heaps[place].handle != NULL) {
    return;
  }
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  shadow_heap_t heap = pick_heap_config(shadow, &config);
  shadow_heap_t *at = &shadow->heaps[place];
  *at = heap;
  config.on_pressure = shadow_pick(shadow, 4) != 0 ? on_pressure : NULL;
  config.ctx = at;
  bool taken = heap.arena >= 0 && has_blocks_in(shadow, heap.arena);
  hak_heap_t *handle = hak_heap_create(&config);
  if (handle == NULL) {
    /* Memory that an ended heap may still have, or a limit, now or above. */
    SHADOW_CHECK_THAT(shadow, errno == (heap.arena >= 0 ? EINVAL : ENOMEM) ||
                                  (shadow->flags & SHADOW_MAY_FAIL) != 0 ||
                                  (errno == ENOMEM && shadow_may_refuse(shadow, place)));
    *at = (shadow_heap_t){.parent = -1, .arena = -1, .hooks = -1};
    return;
  }
  SHADOW_CHECK_THAT(shadow, !taken && errno == TEST_ERRNO);
  SHADOW_CHECK_THAT(shadow, handle != shadow->stale);
  SHADOW_CHECK_THAT(shadow, hak_heap_parent(handle) == config.parent);
  at->handle = handle;
  if ((heap.flags & HAK_HEAP_WATCHED) != 0) {
    SHADOW_CHECK_THAT(shadow, hak_heap_set_block_hook(handle, on_block, at) == 0);
  }
}

/* ---- Heaps end -------------------------------------------------------- */

/* Verifies and takes out all blocks of the heap, whose memory goes; or they are the
 * parent's from now on. */
static void drop_blocks(shadow_t *shadow, unsigned heap) {
  for (uint32_t place = 0; place < shadow->max_blocks; place++) {
    const shadow_block_t *block = &shadow->blocks[place];
    if (block->address != NULL && block->heap == heap) {
      shadow_verify(shadow, block);
      (void)shadow_remove(shadow, place);
    }
  }
}

static void move_blocks(shadow_t *shadow, unsigned heap, unsigned to) {
  for (uint32_t place = 0; place < shadow->max_blocks; place++) {
    shadow_block_t *block = &shadow->blocks[place];
    if (block->address != NULL && block->heap == heap) {
      block->heap = (uint8_t)to;
      block->bounded = block->bounded || shadow_may_refuse(shadow, heap);
    }
  }
  shadow->heaps[to].mixed = shadow->heaps[to].mixed || shadow->heaps[heap].blocks > 0;
  shadow->heaps[to].blocks += shadow->heaps[heap].blocks;
  shadow->heaps[to].bytes += shadow->heaps[heap].bytes;
}

static void forget(shadow_t *shadow, unsigned heap) {
  shadow->stale = shadow->heaps[heap].handle;
  for (unsigned i = 0; i < SHADOW_THREADS_MAX; i++) {
    if (shadow->used[i] == shadow->stale) {
      shadow->used[i] = NULL; /* the thread's own answer is not asked for any more */
    }
  }
  shadow->heaps[heap] = (shadow_heap_t){.parent = -1, .arena = -1, .hooks = -1};
}

void shadow_step_heap_destroy(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  hak_heap_t *handle = shadow->heaps[heap].handle;
  if (heap == 0) {
    SHADOW_CHECK_THAT(shadow, hak_heap_destroy(handle) == EINVAL);
    return;
  }
  if (has_children(shadow, heap)) {
    SHADOW_CHECK_THAT(shadow, hak_heap_destroy(handle) == EBUSY);
    return;
  }
  int hooks = shadow->heaps[heap].hooks;
  drop_blocks(shadow, heap);
  SHADOW_CHECK_THAT(shadow, hak_heap_destroy(handle) == 0);
  SHADOW_CHECK_THAT(shadow, hooks < 0 || shadow->hooks[hooks].ranges == 0);
  forget(shadow, heap);
}

void shadow_step_heap_reset(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  hak_heap_t *handle = shadow->heaps[heap].handle;
  if (heap == 0) {
    SHADOW_CHECK_THAT(shadow, hak_heap_reset(handle) == EINVAL);
    return;
  }
  drop_blocks(shadow, heap);
  SHADOW_CHECK_THAT(shadow, hak_heap_reset(handle) == 0);
  SHADOW_CHECK_THAT(shadow, shadow->heaps[heap].seen == 0);
}

void shadow_step_heap_release(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  hak_heap_t *handle = shadow->heaps[heap].handle;
  if (heap == 0 || has_children(shadow, heap)) {
    SHADOW_CHECK_THAT(shadow, hak_heap_release(handle) == (heap == 0 ? EINVAL : EBUSY));
    return;
  }
  int parent = shadow->heaps[heap].parent;
  int arena = shadow->heaps[heap].arena;
  SHADOW_CHECK_THAT(shadow, hak_heap_release(handle) == 0);
  if (parent >= 0) {
    shadow->heaps[parent].inherited +=
        shadow->heaps[heap].inherited + (arena < 0 ? 0 : shadow->arena_size[arena]);
  }
  move_blocks(shadow, heap, parent < 0 ? 0 : (unsigned)parent);
  forget(shadow, heap);
}

/* ---- What is set ------------------------------------------------------ */

void shadow_step_heap_limits(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  shadow_heap_t *at = &shadow->heaps[heap];
  size_t soft, hard;
  if (heap == 0 || at->arena >= 0) {
    return;
  }
  pick_limits(shadow, &soft, &hard);
  SHADOW_CHECK_THAT(shadow, hak_heap_set_limits(at->handle, 2, 1) == EINVAL);
  SHADOW_CHECK_THAT(shadow, hak_heap_set_limits(at->handle, soft, hard) == 0);
  hak_stats_t stats = test_heap_stats(at->handle);
  SHADOW_CHECK_THAT(shadow, stats.soft_limit == soft && stats.hard_limit == hard);
  at->hard = hard;
  at->most = hard == 0                      ? UINT64_MAX
             : stats.committed_bytes > hard ? stats.committed_bytes
                                            : hard;
}

void shadow_step_heap_names(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  shadow_heap_t *at = &shadow->heaps[heap];
  SHADOW_CHECK_THAT(shadow, hak_heap_user(at->handle) == at->user);
  at->user = &shadow->heaps[shadow_pick(shadow, SHADOW_HEAPS_MAX)];
  SHADOW_CHECK_THAT(shadow, hak_heap_set_user(at->handle, at->user) == 0);
  if (heap != 0) {
    char name[16];
    snprintf(name, sizeof name, "n%u", (unsigned)shadow_pick(shadow, 1000));
    SHADOW_CHECK_THAT(shadow, hak_heap_set_name(at->handle, name) == 0);
    SHADOW_CHECK_THAT(shadow, strcmp(hak_heap_name(at->handle), name) == 0);
  }
}

void shadow_step_heap_use(shadow_t *shadow) {
  hak_heap_t *was = shadow->used[shadow->thread];
  hak_heap_t *is = shadow->heaps[shadow_pick_heap(shadow)].handle;
  SHADOW_CHECK_THAT(shadow, was == NULL || hak_heap_current() == was);
  (void)hak_heap_use(is);
  SHADOW_CHECK_THAT(shadow, hak_heap_current() == is);
  shadow->used[shadow->thread] = is;
}

/* ---- All of them ------------------------------------------------------ */

void shadow_heaps_open(shadow_t *shadow) {
  static const struct {
    size_t size, shift;
  } arenas[SHADOW_ARENAS] = {{256 * KIB, 0}, {300 * KIB + 77, 33}, {MIB, 4096},
                             {3 * MIB, 0},   {10 * MIB, 16},       {12 * MIB, 0}};
  for (unsigned i = 0; i < SHADOW_HEAPS_MAX; i++) {
    shadow->heaps[i] = (shadow_heap_t){.parent = -1, .arena = -1, .hooks = -1};
  }
  shadow->heaps[0].handle = hak_heap_default();
  shadow->heaps[0].most = UINT64_MAX;
  if ((shadow->flags & SHADOW_HEAPS) == 0) {
    return;
  }
  g_pressed = shadow;
  hak_set_error_handler(on_report, shadow);
  for (size_t i = 0; i < SHADOW_ARENAS; i++) {
    char *memory = mmap(NULL, arenas[i].size + 8192, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    shadow->arena[i] = (unsigned char *)memory + arenas[i].shift;
    shadow->arena_size[i] = arenas[i].size;
  }
  for (size_t i = 0; i < SHADOW_HOOKS; i++) {
    test_os_open(&shadow->hooks[i], 0);
  }
}

/* Children go before their parents. What heaps in memory of the caller's had stays
 * mapped: threads of theirs may not have ended. */
void shadow_heaps_close(shadow_t *shadow) {
  if ((shadow->flags & SHADOW_HEAPS) == 0) {
    return;
  }
  for (bool some = true; some;) {
    some = false;
    for (unsigned i = 1; i < SHADOW_HEAPS_MAX; i++) {
      if (shadow->heaps[i].handle != NULL) {
        some = true;
        if (!has_children(shadow, i)) {
          SHADOW_CHECK_THAT(shadow, hak_heap_destroy(shadow->heaps[i].handle) == 0);
          forget(shadow, i);
        }
      }
    }
  }
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  for (size_t i = 0; i < SHADOW_HOOKS; i++) {
    SHADOW_CHECK_THAT(shadow, shadow->hooks[i].ranges == 0);
    test_os_close(&shadow->hooks[i]);
  }
  hak_set_error_handler(NULL, NULL);
}
