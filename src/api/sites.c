/* sites.c - reports of the places in the program that allocate. */
#include "api/sites.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "api/api.h"
#include "api/print.h"
#include "base/option.h"
#include "learn/waves.h"

/* --- visits ------------------------------------------------------------------------- */

int hak_sites_visit(hak_site_visit_fn *visit, void *ctx) {
  if (visit == NULL) return EINVAL;
  hak_stay_t stay = hak_stay_slow();
  uint32_t made = stay == HAK_STAY_NONE ? 0 : hak_origins_made();
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    hak_site_row_t row;
    if (hak_site_row(i, &row) && !visit(&row.info, ctx)) break;
  }
  hak_stay_end(stay);
  return 0;
}

/* --- waves ----------------------------------------------------------------------------
 */

static hak_waves_info_t waves_info(uint32_t made) {
  hak_waves_t told = hak_waves_read();
  hak_waves_info_t info = {.struct_size = sizeof info,
                           .waves = told.count,
                           .moves = told.moves,
                           .peak_bytes = told.peak,
                           .trough_bytes = told.trough,
                           .together_bytes = told.together,
                           .apart_bytes = told.apart,
                           .best_bytes = told.best,
                           .saved_bytes = told.saved};
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    info.places_apart += hak_load_relaxed(&hak_origin_groups[i]) != 0;
  }
  return info;
}

/* An older caller's record is shorter; it gets what it knows. */
enum {
  WAVES_LEAST = offsetof(hak_waves_info_t, saved_bytes)
};

HAK_SLOW int hak_waves_get(hak_waves_info_t *out) {
  if (out == NULL || out->struct_size < WAVES_LEAST) return EINVAL;
  uint32_t size = out->struct_size;
  hak_stay_t stay = hak_stay();
  hak_waves_info_t info = {.waves = 0};
  if (stay != HAK_STAY_NONE) info = waves_info(hak_origins_made());
  info.struct_size = size;
  memcpy(out, &info, size < sizeof info ? size : sizeof info);
  hak_stay_end(stay);
  return 0;
}

static void print_waves(const hak_out_t *out, const hak_waves_info_t *info) {
  if (info->waves == 0) return;
  hak_out_text(out,
               "waves: %" PRIu64 ", the last from %" PRIu64 " to %" PRIu64
               " bytes; it leaves about %" PRIu64
               " bytes if places lie together, %" PRIu64 " as they lie, %" PRIu64
               " at best; %" PRIu32 " places apart, which %s %" PRId64
               " bytes with what is left of earlier waves\n",
               info->waves, info->peak_bytes, info->trough_bytes, info->together_bytes,
               info->apart_bytes, info->best_bytes, info->places_apart,
               info->places_apart > 0 ? "saves" : "would save", info->saved_bytes);
}

/* --- text -----------------------------------------------------------------------------
 */

enum {
  SHOWN = 40 /* places in a text */
};

typedef struct totals {
  uint64_t live_bytes, bytes, samples;
  uint32_t places;
} totals_t;

static totals_t add_up(uint32_t made) {
  totals_t t = {0, 0, 0, 0};
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    hak_site_row_t row;
    if (!hak_site_row(i, &row)) continue;
    t.live_bytes += row.info.live_bytes;
    t.bytes += row.info.bytes;
    t.samples += row.info.samples;
    t.places++;
  }
  return t;
}

/* The place with the most live bytes of those that come after the one of *number, which
 * has `last_bytes`; false if there is none. */
static bool next_largest(uint32_t made, uint64_t last_bytes, uint32_t *number,
                         hak_site_row_t *out) {
  uint32_t last = *number;
  bool found = false;
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    hak_site_row_t row;
    if (!hak_site_row(i, &row)) continue;
    uint64_t bytes = row.info.live_bytes;
    if (bytes > last_bytes || (bytes == last_bytes && i <= last)) continue;
    if (found && bytes <= out->info.live_bytes) continue;
    out->info.live_bytes = bytes;
    *number = i;
    found = true;
  }
  return found && hak_site_row(*number, out);
}

static void print_text(const hak_out_t *out, uint32_t made) {
  totals_t t = add_up(made);
  hak_print_title(out, "places that allocate");
  hak_out_text(out,
               "%" PRIu32 " place%s, %" PRIu64 " live bytes, %" PRIu64
               " bytes allocated; estimates from %" PRIu64 " samples\n",
               t.places, t.places == 1 ? "" : "s", t.live_bytes, t.bytes, t.samples);
  if (t.places == 0) return;
  hak_waves_info_t waves = waves_info(made);
  print_waves(out, &waves);
  hak_out_text(out, "%12s %25s %10s %12s %14s %6s %12s  %s\n", "live bytes",
               "95 %: from - to", "blocks", "peak bytes", "allocated", "stays", "saves",
               "place");
  uint64_t bytes = UINT64_MAX;
  uint32_t number = 0;
  hak_site_row_t row;
  for (int i = 0; i < SHOWN && next_largest(made, bytes, &number, &row); i++) {
    char title[HAK_SITE_TITLE_MAX];
    hak_site_title(&row, title);
    const hak_site_info_t *info = &row.info;
    bytes = info->live_bytes;
    hak_out_text(out,
                 "%12" PRIu64 " %12" PRIu64 "-%-12" PRIu64 " %10" PRIu64 " %12" PRIu64
                 " %14" PRIu64 " ",
                 bytes, info->live_bytes_low, info->live_bytes_high, info->live_blocks,
                 info->peak_bytes, info->bytes);
    if (info->stays_permille < 0) {
      hak_out_text(out, "%6s", "-");
    } else {
      hak_out_text(out, "%4" PRId32 " %%", (info->stays_permille + 5) / 10);
    }
    hak_out_text(out, " %12" PRId64 "  %s%s\n", info->saved_bytes, title,
                 info->group == 0 ? "" : ", apart");
  }
  if (t.places > SHOWN) {
    hak_out_text(out, "and %" PRIu32 " more\n", t.places - (uint32_t)SHOWN);
  }
}

/* --- JSON ------------------------------------------------------------------------------
 */

static void print_json(const hak_out_t *out, uint32_t made) {
  hak_out_text(out, "{");
  hak_print_head(out, "hakmem sites");
  hak_out_text(out, "\"sample_bytes\":%" PRId64 ",\"sites\":[", hak_option(SAMPLE_BYTES));
  const char *between = "";
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    hak_site_row_t row;
    if (!hak_site_row(i, &row)) continue;
    const hak_site_info_t *info = &row.info;
    hak_out_text(out, "%s\n{", between);
    between = ",";
    hak_out_text(out, "\"file\":");
    hak_out_json(out, info->file);
    hak_out_text(out, ",\"line\":%" PRIu32 ",\"name\":", info->line);
    hak_out_json(out, info->name);
#define FIELD(name) hak_out_text(out, ",\"" #name "\":%" PRIu64, info->name)
    FIELD(live_bytes);
    FIELD(live_bytes_low);
    FIELD(live_bytes_high);
    FIELD(live_blocks);
    FIELD(peak_bytes);
    FIELD(bytes);
    FIELD(blocks);
    FIELD(samples);
    FIELD(live_samples);
    FIELD(smallest);
    FIELD(largest);
#undef FIELD
    hak_out_text(out,
                 ",\"stays_permille\":%" PRId32 ",\"group\":%" PRIu32
                 ",\"saved_bytes\":%" PRId64 ",\"lived_permille\":[",
                 info->stays_permille, info->group, info->saved_bytes);
    for (uint32_t k = 0; k < HAK_SITE_LIVES; k++) {
      hak_out_text(out, "%s%" PRIu32, k == 0 ? "" : ",", info->lived_permille[k]);
    }
    hak_out_text(out, "]}");
  }
  hak_waves_info_t waves = waves_info(made);
  hak_out_text(out,
               "],\n\"waves\":{\"waves\":%" PRIu64 ",\"moves\":%" PRIu64
               ",\"places_apart\":%" PRIu32,
               waves.waves, waves.moves, waves.places_apart);
#define FIELD(name) hak_out_text(out, ",\"" #name "\":%" PRIu64, waves.name)
  FIELD(peak_bytes);
  FIELD(trough_bytes);
  FIELD(together_bytes);
  FIELD(apart_bytes);
  FIELD(best_bytes);
#undef FIELD
  hak_out_text(out, ",\"saved_bytes\":%" PRId64 "}}\n", waves.saved_bytes);
}

static HAK_SLOW void print(int format, const hak_out_t *out, uint32_t made) {
  bool stacks = (format & HAK_FORMAT_STACKS) != 0;
  switch (format & ~HAK_FORMAT_STACKS) {
    case HAK_FORMAT_TEXT:
      print_text(out, made);
      break;
    case HAK_FORMAT_JSON:
      print_json(out, made);
      break;
    case HAK_FORMAT_PPROF:
      hak_profile_pprof(out, made, stacks);
      break;
    case HAK_FORMAT_HEAP_V2:
      hak_profile_heap_v2(out, made, stacks);
      break;
    case HAK_FORMAT_FOLDED:
      hak_profile_folded(out, made, stacks);
      break;
    default:
      hak_profile_heaptrack(out, made, stacks);
  }
}

int hak_sites_print(int format, hak_write_fn *write, void *ctx) {
  int kind = format & ~HAK_FORMAT_STACKS;
  if (kind < HAK_FORMAT_TEXT || kind > HAK_FORMAT_HEAPTRACK) return EINVAL;
  if (kind != format && kind < HAK_FORMAT_PPROF) return EINVAL;
  hak_out_t out = hak_out_to(write, ctx);
  hak_stay_t stay = hak_stay_slow();
  uint32_t none = HAK_ORIGIN_OTHERS;
  print(format, &out, stay == HAK_STAY_NONE ? none : hak_origins_made());
  hak_stay_end(stay);
  return 0;
}
