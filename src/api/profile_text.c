/* profile_text.c - places and stacks for jeprof (heap_v2), and as folded stacks. */
#include <inttypes.h>

#include "api/profile.h"
#include "api/sites.h"
#include "base/text.h"
#include "learn/chance.h"

/* --- heap_v2 -------------------------------------------------------------------------
 *
 * Stacks are addresses. A place has none, so it gets one that no code has, and its title
 * stands in the section of symbols before. With stacks there is no such section, as
 * readers would look nowhere else: they find names in the program, which they are given.
 */

#define ADDRESS(number) (UINT64_C(1) << 55 | (uint64_t)(number) << 4)

/* Readers divide by the chance of a sample, 1 - exp(-average size / mean). */
static void figures(const hak_out_t *out, uint64_t blocks, uint64_t bytes,
                    const char *format) {
  size_t average = blocks == 0 ? 0 : (size_t)(bytes / blocks);
  double chance = average == 0 ? 1 : hak_chance_of(average, 1);
  hak_out_text(out, format, (uint64_t)((double)blocks * chance + 0.5),
               (uint64_t)((double)bytes * chance + 0.5));
}

static HAK_SLOW void heap_v2_figures(const hak_out_t *out, const hak_profile_row_t *row) {
  figures(out, row->live_blocks, row->live_bytes, "  t*: %" PRIu64 ": %" PRIu64);
  figures(out, row->blocks, row->bytes, " [%" PRIu64 ": %" PRIu64 "]\n");
}

static void heap_v2_symbol(const hak_profile_row_t *row, void *out) {
  char title[HAK_SITE_TITLE_MAX];
  hak_site_title(&row->place, title);
  hak_out_text(out, "0x%016" PRIx64 " %s\n", ADDRESS(row->number), title);
}

static void add_up(const hak_profile_row_t *row, void *sum) {
  hak_profile_row_t *all = sum;
  all->live_blocks += row->live_blocks;
  all->live_bytes += row->live_bytes;
  all->blocks += row->blocks;
  all->bytes += row->bytes;
}

static void heap_v2_row(const hak_profile_row_t *row, void *out) {
  hak_out_text(out, "@");
  if (row->depth == 0) hak_out_text(out, " 0x%016" PRIx64, ADDRESS(row->number));
  for (uint32_t i = 0; i < row->depth; i++) {
    hak_out_text(out, " 0x%016" PRIxPTR, (uintptr_t)row->frames[i]);
  }
  hak_out_text(out, "\n");
  heap_v2_figures(out, row);
}

/* As the system has it: readers look for the program's name. */
static void heap_v2_map(const hak_code_map_t *map, void *out) {
  hak_out_text(out, "%" PRIx64 "-%" PRIx64 " r-xp %08" PRIx64 " 00:00 0 ", map->start,
               map->end, map->offset);
  char path[HAK_SITE_TITLE_MAX];
  hak_text_line(path, sizeof path, map->path);
  hak_out_text(out, "%s\n", path);
}

HAK_SLOW void hak_profile_heap_v2(const hak_out_t *out, uint32_t made, bool stacks) {
  void *to = (void *)(uintptr_t)out;
  hak_profile_row_t sum = {.number = 0};
  hak_profile_each(made, false, add_up, &sum);
  if (!stacks) {
    hak_out_text(out, "--- symbol\nbinary=hakmem\n");
    hak_profile_each(made, false, heap_v2_symbol, to);
    hak_out_text(out, "---\n--- heap\n");
  }
  hak_out_text(out, "heap_v2/1\n");
  heap_v2_figures(out, &sum);
  hak_profile_each(made, stacks, heap_v2_row, to);
  hak_out_text(out, "\nMAPPED_LIBRARIES:\n");
  if (stacks) hak_code_maps(heap_v2_map, to);
}

/* --- folded stacks ---------------------------------------------------------------- */

typedef struct folded {
  const hak_out_t *out;
  hak_profile_maps_t maps;
} folded_t;

static void only_one_frame(char *title) {
  for (char *c = title; *c != '\0'; c++) {
    if (*c == ';') *c = ','; /* it would end the frame */
  }
}

static void folded_map(const hak_code_map_t *map, void *folded) {
  folded_t *f = folded;
  hak_profile_maps_add(&f->maps, map);
}

/* "file+0xaddress", by the file's own addresses, which addr2line and its like read and
 * which are the same in each run. */
static void folded_frame(const folded_t *f, const void *returns) {
  const char *call = (const char *)returns - 1;
  uint32_t i = hak_profile_map_of(&f->maps, call);
  if (i == f->maps.count) {
    hak_out_text(f->out, "0x%" PRIxPTR ";", (uintptr_t)call);
    return;
  }
  char name[sizeof f->maps.maps[i].name];
  hak_text_line(name, sizeof name, f->maps.maps[i].name);
  only_one_frame(name);
  hak_out_text(f->out, "%s+0x%" PRIx64 ";", name, (uintptr_t)call - f->maps.maps[i].base);
}

static HAK_SLOW void folded_row(const hak_profile_row_t *row, void *folded) {
  const folded_t *f = folded;
  if (row->live_bytes == 0) return;
  for (uint32_t i = row->depth; i > 0; i--) folded_frame(f, row->frames[i - 1]);
  char title[HAK_SITE_TITLE_MAX], file[HAK_SITE_TITLE_MAX];
  hak_site_title(&row->place, title);
  only_one_frame(title);
  hak_text_line(file, sizeof file, row->place.info.file);
  only_one_frame(file);
  hak_out_text(f->out, "%s%s", file, file[0] == '\0' ? "" : ";");
  hak_out_text(f->out, "%s %" PRIu64 "\n", title, row->live_bytes);
}

void hak_profile_folded(const hak_out_t *out, uint32_t made, bool stacks) {
  folded_t f = {.out = out};
  if (stacks) hak_code_maps(folded_map, &f);
  hak_profile_each(made, stacks, folded_row, &f);
}
