#include "api/profile.h"

#include <string.h>

#include "base/text.h"

/* --- rows --------------------------------------------------------------------------- */

static uint64_t rounded(double x) { return x < 0.5 ? 0 : (uint64_t)(x + 0.5); }

static void give(hak_profile_row_t *row, const hak_origin_sums_t *sums,
                 hak_profile_row_fn *fn, void *ctx) {
  row->blocks = rounded(sums->blocks);
  row->bytes = rounded(sums->bytes);
  row->live_blocks = rounded(sums->live_blocks);
  row->live_bytes = rounded(sums->live_bytes);
  row->samples = sums->samples;
  row->live_samples = sums->live_samples;
  fn(row, ctx);
}

/* Takes a stack's sums out of what is left of its place. Other threads may have changed
 * either in between. */
static void take_out(hak_origin_sums_t *left, const hak_origin_sums_t *sums) {
  left->samples -= sums->samples < left->samples ? sums->samples : left->samples;
  left->live_samples -=
      sums->live_samples < left->live_samples ? sums->live_samples : left->live_samples;
  left->blocks -= sums->blocks;
  left->bytes -= sums->bytes;
  left->live_blocks -= sums->live_blocks;
  left->live_bytes -= sums->live_bytes;
  /* Nothing is left of rounding. */
  if (left->samples == 0) left->blocks = left->bytes = 0;
  if (left->live_samples == 0) left->live_blocks = left->live_bytes = 0;
}

static void each_stack(hak_profile_row_t *row, hak_origin_sums_t *left,
                       hak_profile_row_fn *fn, void *ctx) {
  for (uint32_t stack = hak_stack_first(row->number); stack != HAK_STACK_NONE;) {
    hak_stack_record_t record = hak_stack_read(stack);
    hak_origin_sums_t sums = {.blocks = record.blocks,
                              .bytes = record.bytes,
                              .live_blocks = record.live_blocks,
                              .live_bytes = record.live_bytes,
                              .samples = record.samples,
                              .live_samples = record.live_samples};
    row->stack = stack;
    row->depth = record.depth;
    row->frames = record.frames;
    give(row, &sums, fn, ctx);
    take_out(left, &sums);
    stack = record.next;
  }
  row->stack = row->depth = 0;
  row->frames = NULL;
}

HAK_SLOW void hak_profile_each(uint32_t made, bool stacks, hak_profile_row_fn *fn,
                               void *ctx) {
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    hak_profile_row_t row = {.number = i};
    if (!hak_site_row(i, &row.place)) continue;
    hak_origin_sums_t left = row.place.origin.sums;
    bool by_stack = stacks && hak_stack_first(i) != HAK_STACK_NONE;
    if (by_stack) each_stack(&row, &left, fn, ctx);
    if (!by_stack || left.samples > 0 || left.live_samples > 0) {
      give(&row, &left, fn, ctx);
    }
  }
}

/* --- code --------------------------------------------------------------------------- */

void hak_profile_maps_add(hak_profile_maps_t *maps, const hak_code_map_t *map) {
  if (maps->count == sizeof maps->maps / sizeof maps->maps[0]) return;
  uint32_t i = maps->count++;
  const char *slash = strrchr(map->path, '/');
  maps->maps[i].start = map->start;
  maps->maps[i].end = map->end;
  maps->maps[i].base = map->base;
  hak_text_line(maps->maps[i].name, sizeof maps->maps[i].name,
                slash == NULL ? map->path : slash + 1);
}

uint32_t hak_profile_map_of(const hak_profile_maps_t *maps, const void *address) {
  uint64_t at = (uintptr_t)address;
  uint32_t i = 0;
  while (i < maps->count && (at < maps->maps[i].start || at >= maps->maps[i].end)) i++;
  return i;
}
