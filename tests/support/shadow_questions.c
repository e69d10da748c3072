/* shadow_questions.c - operations that ask, and upkeep; see shadow.h */
#include "shadow.h"

#include <errno.h>
#include <string.h>

void shadow_step_usable_size(shadow_t *shadow) {
  const shadow_block_t *block = &shadow->blocks[shadow_pick_block(shadow)];
  SHADOW_CHECK_THAT(shadow, hak_usable_size(block->address) == block->usable);
}

void shadow_step_ptr_info(shadow_t *shadow) {
  const shadow_block_t *block = &shadow->blocks[shadow_pick_block(shadow)];
  size_t offset = (size_t)shadow_pick(shadow, block->usable);
  hak_heap_t *heap = shadow->heaps[block->heap].handle;
  hak_block_t info = HAK_BLOCK_INIT;
  SHADOW_CHECK_THAT(shadow, hak_ptr_info(block->address + offset, &info) == 0);
  SHADOW_CHECK_THAT(shadow, info.address == block->address);
  SHADOW_CHECK_THAT(shadow, info.size == block->usable);
  SHADOW_CHECK_THAT(shadow, info.is_start == (offset == 0));
  SHADOW_CHECK_THAT(shadow, info.heap == heap);
  SHADOW_CHECK_THAT(shadow, hak_heap_of(block->address + offset) == heap);
}

void shadow_step_verify(shadow_t *shadow) {
  shadow_verify(shadow, &shadow->blocks[shadow_pick_block(shadow)]);
}

/* What is refused whatever there is, and changes nothing. */
void shadow_step_refusals(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  hak_heap_t *handle = shadow->heaps[heap].handle;
  size_t absurd = test_opaque((size_t)PTRDIFF_MAX + 1 + (size_t)shadow_pick(shadow, MIB));
  SHADOW_CHECK_THAT(shadow, hak_heap_alloc(handle, absurd) == NULL && errno == ENOMEM);
  SHADOW_CHECK_THAT(shadow, hak_heap_calloc(handle, absurd, 2) == NULL);
  SHADOW_CHECK_THAT(shadow, hak_heap_aligned_alloc(handle, test_opaque(3), 1) == NULL &&
                                errno == EINVAL);
  SHADOW_CHECK_THAT(shadow, hak_allocx(handle, 1, 0, 0x8000u, NULL) == NULL);
  SHADOW_CHECK_THAT(shadow, hak_good_size(absurd) == 0);
  SHADOW_CHECK_THAT(shadow, hak_collect(handle, 1, 0x8000u) == 0 && errno == EINVAL);
  if (shadow->count > 0) {
    void *address = shadow->blocks[shadow_pick_block(shadow)].address;
    SHADOW_CHECK_THAT(shadow, hak_realloc(address, absurd) == NULL && errno == ENOMEM);
    SHADOW_CHECK_THAT(shadow, hak_resize_in_place(address, absurd, absurd) == 0);
    SHADOW_CHECK_THAT(shadow, hak_freex(address, 0x8000u) == EINVAL);
  }
  if (shadow->stale != NULL) {
    hak_stats_t stats = HAK_STATS_INIT;
    SHADOW_CHECK_THAT(shadow, hak_stats_get(shadow->stale, &stats) == EINVAL);
    SHADOW_CHECK_THAT(shadow, hak_heap_destroy(shadow->stale) == EINVAL);
    SHADOW_CHECK_THAT(shadow, hak_heap_reset(shadow->stale) == EINVAL);
    SHADOW_CHECK_THAT(shadow, hak_heap_name(shadow->stale) == NULL);
    SHADOW_CHECK_THAT(shadow, hak_heap_parent(shadow->stale) == NULL);
  }
}

/* ---- Counts ----------------------------------------------------------- */

/* Blocks that lie ready in serial heaps count as live until those are collected. */
static void collect_serial(shadow_t *shadow) {
  for (unsigned i = 1; i < SHADOW_HEAPS_MAX; i++) {
    const shadow_heap_t *heap = &shadow->heaps[i];
    if (heap->handle != NULL && (heap->flags & HAK_HEAP_SERIAL) != 0) {
      (void)hak_collect(heap->handle, SIZE_MAX, HAK_COLLECT_ALL);
    }
  }
}

/* What is counted of the heap's blocks besides. Memory of the caller's has no canaries.
 */
static uint64_t beyond(const shadow_t *shadow, unsigned heap) {
  uint64_t bytes = 0;
  for (size_t i = 0; shadow->beyond != 0 && i < shadow->count; i++) {
    const shadow_block_t *block = &shadow->blocks[shadow->by_address[i]];
    bool brought = false;
    for (unsigned k = 0; k < SHADOW_ARENAS; k++) {
      brought = brought ||
                test_is_within(block->address, shadow->arena[k], shadow->arena_size[k]);
    }
    if (block->heap == heap && !brought) bytes += shadow->beyond;
  }
  return bytes;
}

static void judge_heap(shadow_t *shadow, unsigned place) {
  shadow_heap_t *heap = &shadow->heaps[place];
  hak_stats_t stats = test_heap_stats(heap->handle);
  uint64_t blocks = 0, bytes = 0, brought = 0;
  for (unsigned i = 0; i < SHADOW_HEAPS_MAX; i++) {
    if (shadow->heaps[i].handle != NULL && shadow_is_below(shadow, i, place)) {
      blocks += shadow->heaps[i].blocks;
      bytes += shadow->heaps[i].bytes + beyond(shadow, i);
      /* Memory of the caller's is committed, and charged to nobody. */
      brought += shadow->heaps[i].inherited;
      brought +=
          shadow->heaps[i].arena < 0 ? 0 : shadow->arena_size[shadow->heaps[i].arena];
    }
  }
  CHECK_MSG(stats.live_blocks == blocks && stats.live_bytes == bytes,
            "heap %u has %llu blocks of %llu bytes, not %llu of %llu, at operation %llu",
            place, (unsigned long long)stats.live_blocks,
            (unsigned long long)stats.live_bytes, (unsigned long long)blocks,
            (unsigned long long)bytes, (unsigned long long)shadow->operations);
  CHECK_MSG(heap->most == UINT64_MAX || stats.committed_bytes <= heap->most + brought,
            "heap %u is charged %llu of %llu bytes, at operation %llu", place,
            (unsigned long long)stats.committed_bytes, (unsigned long long)heap->most,
            (unsigned long long)shadow->operations);
  if (heap->hard > 0 && stats.committed_bytes <= heap->hard) {
    heap->most = heap->hard;
  }
  SHADOW_CHECK_THAT(shadow, (heap->flags & HAK_HEAP_WATCHED) == 0 || heap->mixed ||
                                heap->seen == heap->blocks);
}

void shadow_step_counts(shadow_t *shadow) {
  if ((shadow->flags & SHADOW_ALONE) == 0) {
    return;
  }
  shadow_others_idle(shadow);
  collect_serial(shadow);
  hak_stats_t stats = test_stats();
  CHECK_EQ(stats.live_blocks, shadow->base_blocks + shadow->count);
  uint64_t bytes = shadow->base_bytes + shadow->bytes + beyond(shadow, 0);
  for (unsigned i = 1; i < SHADOW_HEAPS_MAX; i++) {
    if (shadow->heaps[i].handle != NULL) bytes += beyond(shadow, i);
  }
  CHECK_EQ(stats.live_bytes, bytes);
  for (unsigned i = 1; i < SHADOW_HEAPS_MAX; i++) {
    if (shadow->heaps[i].handle != NULL) {
      judge_heap(shadow, i);
    }
  }
}

typedef struct visit {
  const shadow_t *shadow;
  unsigned heap;
  size_t blocks;
} visit_t;

static bool visit_block(const hak_block_t *block, void *ctx) {
  visit_t *visit = ctx;
  const shadow_block_t *known = shadow_find(visit->shadow, block->address);
  CHECK_MSG(known != NULL, "%p + %zu is shown, and not live", block->address,
            block->size);
  CHECK_EQ(known->usable, block->size);
  CHECK_EQ(known->heap, visit->heap);
  CHECK(block->is_start && block->heap == visit->shadow->heaps[visit->heap].handle);
  visit->blocks++;
  return true;
}

void shadow_step_visit(shadow_t *shadow) {
  visit_t visit = {shadow, shadow_pick_heap(shadow), 0};
  const shadow_heap_t *heap = &shadow->heaps[visit.heap];
  if ((shadow->flags & SHADOW_ALONE) == 0 ||
      (visit.heap == 0 && shadow->base_blocks > 0)) {
    return;
  }
  int error = hak_heap_visit(heap->handle, visit_block, &visit, 0);
  SHADOW_CHECK_THAT(
      shadow, error == 0 || (error == ENOMEM && (shadow->flags & SHADOW_MAY_FAIL) != 0));
  SHADOW_CHECK_THAT(shadow, error != 0 || visit.blocks == heap->blocks);
}

static bool visit_heap(hak_heap_t *heap, void *ctx) {
  visit_t *visit = ctx;
  for (unsigned i = 0; i < SHADOW_HEAPS_MAX; i++) {
    visit->blocks += visit->shadow->heaps[i].handle == heap;
  }
  visit->heap++;
  return true;
}

void shadow_step_visit_heaps(shadow_t *shadow) {
  visit_t visit = {shadow, 0, 0};
  size_t heaps = 0;
  if ((shadow->flags & SHADOW_ALONE) == 0) {
    return;
  }
  for (unsigned i = 0; i < SHADOW_HEAPS_MAX; i++) {
    heaps += shadow->heaps[i].handle != NULL;
  }
  SHADOW_CHECK_THAT(shadow, hak_visit_heaps(visit_heap, &visit) == 0);
  SHADOW_CHECK_THAT(shadow, visit.heap == heaps && visit.blocks == heaps);
}

void shadow_step_check(shadow_t *shadow) {
  hak_heap_t *one = shadow->heaps[shadow_pick_heap(shadow)].handle;
  hak_heap_t *heap = shadow_pick(shadow, 2) == 0 ? NULL : one;
  SHADOW_CHECK_THAT(shadow, hak_check(heap) == 0);
}

/* ---- Reports ---------------------------------------------------------- */

static void count_text(const char *text, size_t length, void *ctx) {
  (void)text;
  *(size_t *)ctx += length;
}

void shadow_step_print(shadow_t *shadow) {
  size_t length = 0;
  int error = 0;
  int format = shadow_pick(shadow, 2) == 0 ? HAK_FORMAT_TEXT : HAK_FORMAT_JSON;
  hak_waves_info_t waves = {.struct_size = sizeof waves};
  switch (shadow_pick(shadow, 5)) {
    case 0:
      error = hak_heaps_print(format, count_text, &length);
      break;
    case 1:
      /* Some formats have nothing to say where no place is known. */
      error = hak_sites_print((int)shadow_pick(shadow, 5), count_text, &length);
      length = 1;
      break;
    case 2:
      error = hak_learned_save("model", count_text, &length);
      break;
    case 3:
      error = hak_waves_get(&waves);
      length = 1;
      break;
    default:
      error = hak_stats_print(shadow->heaps[shadow_pick_heap(shadow)].handle, format,
                              count_text, &length);
      break;
  }
  SHADOW_CHECK_THAT(
      shadow, error == 0 || (error == ENOMEM && (shadow->flags & SHADOW_MAY_FAIL) != 0));
  SHADOW_CHECK_THAT(shadow, error != 0 || length > 0);
}

/* ---- Upkeep ----------------------------------------------------------- */

static unsigned collect_flags(shadow_t *shadow) {
  return shadow_pick(shadow, 2) != 0 ? HAK_COLLECT_ALL : 0;
}

static size_t collect_bytes(shadow_t *shadow) {
  return shadow_pick(shadow, 2) != 0 ? 256 * KIB : SIZE_MAX;
}

void shadow_step_purge_due(shadow_t *shadow) {
  int due = hak_purge_due();
  SHADOW_CHECK_THAT(shadow, due >= -1);
  if (due == 0) {
    (void)hak_collect(NULL, SIZE_MAX, 0);
  }
}

void shadow_step_collect(shadow_t *shadow) {
  size_t bytes = collect_bytes(shadow);
  (void)hak_collect(NULL, bytes, collect_flags(shadow));
}

void shadow_step_collect_heap(shadow_t *shadow) {
  hak_heap_t *heap = shadow->heaps[shadow_pick_heap(shadow)].handle;
  size_t bytes = collect_bytes(shadow);
  (void)hak_collect(heap, bytes, collect_flags(shadow));
}

void shadow_step_prefault(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  size_t bytes = shadow_pick(shadow, 2) == 0 ? 0 : (size_t)shadow_pick(shadow, MIB);
  int error = hak_heap_prefault(shadow->heaps[heap].handle, bytes);
  SHADOW_CHECK_THAT(shadow, error == 0 || (error == ENOMEM &&
                                           (shadow_may_refuse(shadow, heap) ||
                                            (shadow->flags & SHADOW_MAY_FAIL) != 0)));
}

void shadow_step_prewarm(shadow_t *shadow) {
  unsigned heap = shadow_pick_heap(shadow);
  size_t size = shadow_pick_size(shadow);
  size_t count = (size_t)shadow_pick(shadow, size < 16 * KIB ? 100 : 4);
  size_t ready = hak_heap_prewarm(shadow->heaps[heap].handle, size, count);
  SHADOW_CHECK_THAT(shadow, ready <= count && (ready == count || errno == ENOMEM));
}

/* Options that may change at any moment of a run, and up to where: enough to
 * reach every branch, small enough for a test machine. */
static const struct {
  hak_option_t option;
  int64_t most;
} changeable[] = {
    {HAK_OPTION_BIN_BLOCKS, 256},
    {HAK_OPTION_BIN_BLOCKS_MIN, 64},
    {HAK_OPTION_BIN_BYTES, 1048576},
    {HAK_OPTION_BIN_GROWTH_BLOCKS, 8192},
    {HAK_OPTION_CARVE_BYTES, 65536},
    {HAK_OPTION_COMMIT_BYTES, 2097152},
    {HAK_OPTION_MAGAZINE_BLOCKS, 62},
    {HAK_OPTION_TRANSFER_MAGAZINES, 16},
    {HAK_OPTION_HEAP_CACHE_AFTER, 200},
    {HAK_OPTION_HELD_SLABS, 100},
    {HAK_OPTION_TRIM_REFILLS, 1000},
    {HAK_OPTION_LEAN_MS, 10},
    {HAK_OPTION_MID_SPAN_SLABS, 8},
    {HAK_OPTION_REGION_BYTES, 64 << 20},
    {HAK_OPTION_HUGE_PAGES, 1},
    {HAK_OPTION_HUGE_MEND, 1},
    {HAK_OPTION_PURGE_MODE, 1},
    {HAK_OPTION_PURGE_HOLES, 1},
    {HAK_OPTION_PURGE_DECAY_MS, 10},
    {HAK_OPTION_PURGE_SURPLUS, 1},
    {HAK_OPTION_PURGE_CALL_US, 300},
    {HAK_OPTION_RETAIN_BYTES, 32 << 20},
    {HAK_OPTION_RETAIN_SHARE, 64},
    {HAK_OPTION_HUGE_RETAIN_BYTES, 64 << 20},
    {HAK_OPTION_ZERO_PURGE_BYTES, 8 << 20},
    {HAK_OPTION_LARGE_MAX_BYTES, 32 << 20},
    {HAK_OPTION_COLLECT_SLABS, 65536},
    {HAK_OPTION_SAMPLE_BYTES, 262144},
    {HAK_OPTION_LEARN, 1},
    {HAK_OPTION_GUARD_SAMPLE, 100},
};

void shadow_step_option(shadow_t *shadow) {
  if ((shadow->flags & SHADOW_OPTIONS) == 0) {
    return;
  }
  size_t k = (size_t)shadow_pick(shadow, TEST_COUNT(changeable));
  hak_option_info_t info = HAK_OPTION_INFO_INIT;
  SHADOW_CHECK_THAT(shadow, hak_option_describe(changeable[k].option, &info) == 0);
  int64_t most = changeable[k].most < info.max ? changeable[k].most : info.max;
  int64_t value =
      info.min + (int64_t)shadow_pick(shadow, (uint64_t)(most - info.min) + 1);
  if (shadow_pick(shadow, 4) == 0) {
    value = info.default_value;
  }
  SHADOW_CHECK_THAT(shadow, hak_option_set(changeable[k].option, value) == 0);
  SHADOW_CHECK_THAT(shadow, hak_option_get(changeable[k].option) == value);
}
