#include "api/site_row.h"

#include <inttypes.h>

#include "base/option.h"
#include "base/text.h"
#include "learn/sample.h"
#include "learn/waves.h"

static uint64_t rounded(double x) { return x < 0.5 ? 0 : (uint64_t)(x + 0.5); }

/* To about a part in a million, by Newton's rule; libm is not needed. */
static double root_of(double x) {
  if (x <= 0) return 0;
  double root = x > 1 ? x : 1;
  for (int i = 0; i < 64; i++) {
    double next = (root + x / root) / 2;
    if (root - next < root / 1e7) return next;
    root = next;
  }
  return root;
}

/* In thousandths; -1: not known. */
static int32_t stays(const hak_origin_t *origin) {
  double share = hak_wave_share(&origin->wave);
  return share < 0 ? -1 : (int32_t)(1000 * share + 0.5);
}

/* Between which bounds the live bytes lie 95 times in 100. With v the variance and w = v
 * / bytes, what a sample stands for on average, the upper one is the value whose own
 * standard deviation, the root of w * value, takes it to the estimate by 1.96 times:
 * right for few samples too, and for none. For few samples the same is too high a lower
 * one: where one is seen in a twentieth of all looks, most of what is live is less than a
 * tenth of w. So that is the lower bound of a count that is Poisson's, bytes / w, in
 * Wilson and Hilferty's approximation. */
static void bound(const hak_origin_t *origin, hak_site_info_t *info) {
  const double z = 1.96;
  const hak_origin_sums_t *sums = &origin->sums;
  double bytes = sums->live_bytes, v = sums->live_variance;
  double mean = (double)hak_sample_follows_with(origin, hak_samples_mean());
  double w = sums->live_samples > 0 ? v / bytes : mean > 1 ? mean : 0;
  double high = bytes + z * z * w / 2 + z * root_of(v + z * z * w * w / 4);
  double count = v > 0 ? bytes * bytes / v : 0, low = bytes;
  if (count > 0) {
    double root = 1 - 1 / (9 * count) - z / (3 * root_of(count));
    low = root > 0 ? bytes * root * root * root : 0;
  }
  info->live_bytes_low = rounded(low);
  info->live_bytes_high = rounded(high);
}

/* In thousandths. */
static void lives(const hak_origin_t *origin, hak_site_info_t *info) {
  double all = 0;
  for (uint32_t i = 0; i < HAK_SITE_LIVES; i++) all += origin->lived[i];
  for (uint32_t i = 0; i < HAK_SITE_LIVES && all > 0; i++) {
    info->lived_permille[i] = (uint32_t)(1000 * origin->lived[i] / all + 0.5);
  }
}

HAK_SLOW bool hak_site_row(uint32_t number, hak_site_row_t *out) {
  out->origin = hak_origin_read(number);
  const hak_origin_sums_t *sums = &out->origin.sums;
  out->info = (hak_site_info_t){.struct_size = sizeof out->info,
                                .line = out->origin.line,
                                .file = hak_origin_file(&out->origin),
                                .name = hak_origin_name(&out->origin),
                                .blocks = rounded(sums->blocks),
                                .bytes = rounded(sums->bytes),
                                .live_blocks = rounded(sums->live_blocks),
                                .live_bytes = rounded(sums->live_bytes),
                                .peak_bytes = rounded(sums->peak_bytes),
                                .samples = sums->samples,
                                .live_samples = sums->live_samples,
                                .smallest = sums->smallest,
                                .largest = sums->largest,
                                .stays_permille = stays(&out->origin),
                                .group = hak_load_relaxed(&hak_origin_groups[number]),
                                .saved_bytes = (int64_t)out->origin.wave.saved};
  bound(&out->origin, &out->info);
  lives(&out->origin, &out->info);
  return number != HAK_ORIGIN_OTHERS || sums->samples > 0;
}

void hak_site_title(const hak_site_row_t *row, char out[HAK_SITE_TITLE_MAX]) {
  const hak_site_info_t *info = &row->info;
  size_t room = HAK_SITE_TITLE_MAX;
  size_t at = hak_text_line(out, room, info->name);
  if (info->file[0] == '\0') return;
  bool named = info->name[0] != '\0';
  if (named) at += hak_text_print(out + at, room - at, " (");
  at += hak_text_line(out + at, room - at, info->file);
  if (named || info->line != 0) {
    at += hak_text_print(out + at, room - at, ":%" PRIu32, info->line);
  }
  if (named) hak_text_print(out + at, room - at, ")");
}
