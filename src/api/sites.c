/* sites.c - reports of the places in the program that allocate. */
#include "api/sites.h"

#include <errno.h>
#include <inttypes.h>

#include "api/api.h"
#include "base/option.h"

/* --- visits ------------------------------------------------------------------------- */

int hak_sites_visit(hak_site_visit_fn *visit, void *ctx) {
  if (visit == NULL) return EINVAL;
  hak_stay_t stay = hak_stay();
  uint32_t made = stay == HAK_STAY_NONE ? 0 : hak_origins_made();
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    hak_site_row_t row;
    if (hak_site_row(i, &row) && !visit(&row.info, ctx)) break;
  }
  hak_stay_end(stay);
  return 0;
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
  hak_out_text(out,
               "hakmem %u: %" PRIu32 " places, %" PRIu64 " live bytes, %" PRIu64
               " bytes allocated; estimates from %" PRIu64 " samples\n",
               (unsigned)HAK_VERSION, t.places, t.live_bytes, t.bytes, t.samples);
  if (t.places == 0) return;
  hak_out_text(out, "%12s %25s %10s %12s %14s  %s\n", "live bytes", "95 %: from - to",
               "blocks", "peak bytes", "allocated", "place");
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
                 " %14" PRIu64 "  ",
                 bytes, info->live_bytes_low, info->live_bytes_high, info->live_blocks,
                 info->peak_bytes, info->bytes);
    hak_out_text(out, "%s\n", title);
  }
  if (t.places > SHOWN) {
    hak_out_text(out, "and %" PRIu32 " more\n", t.places - (uint32_t)SHOWN);
  }
}

/* --- JSON ------------------------------------------------------------------------------
 */

static void print_json(const hak_out_t *out, uint32_t made) {
  hak_out_text(out, "{\"version\":%u,\"sample_bytes\":%" PRId64 ",\"sites\":[",
               (unsigned)HAK_VERSION, hak_option(SAMPLE_BYTES));
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
    hak_out_text(out, "}");
  }
  hak_out_text(out, "]}\n");
}

static void print(int format, const hak_out_t *out, uint32_t made) {
  switch (format) {
    case HAK_FORMAT_TEXT:
      print_text(out, made);
      break;
    case HAK_FORMAT_JSON:
      print_json(out, made);
      break;
    case HAK_FORMAT_PPROF:
      hak_profile_pprof(out, made);
      break;
    case HAK_FORMAT_HEAP_V2:
      hak_profile_heap_v2(out, made);
      break;
    default:
      hak_profile_folded(out, made);
  }
}

int hak_sites_print(int format, hak_write_fn *write, void *ctx) {
  if (format < HAK_FORMAT_TEXT || format > HAK_FORMAT_FOLDED) return EINVAL;
  hak_out_t out = hak_out_to(write, ctx);
  hak_stay_t stay = hak_stay();
  uint32_t none = HAK_ORIGIN_OTHERS;
  print(format, &out, stay == HAK_STAY_NONE ? none : hak_origins_made());
  hak_stay_end(stay);
  return 0;
}
