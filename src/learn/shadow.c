#include "learn/shadow.h"

enum {
  WAVES = HAK_SHADOW_WAVES,
  SIZES = HAK_SHADOW_SIZES,
  HEAPS = HAK_GROUPS + 2
};
#define TOGETHER HAK_GROUPS     /* the heap of all */
#define FILLED (HAK_GROUPS + 1) /* of group 0, and what fills its holes */

/* Of a wave, in one heap and of one size; see shadow.h. */
typedef struct layer {
  float fresh, older;               /* F, O */
  float fresh_blocks, older_blocks; /* k, h */
  float share;                      /* p at its trough */
  float bytes;                      /* that lived then */
} layer_t;

typedef struct shadow {
  layer_t layers[HEAPS][SIZES][WAVES];
  float resident[HEAPS][SIZES];                   /* bytes, at the last trough */
  double left_then[HEAPS][WAVES], live[HEAPS];    /* bytes, at each wave's, and now */
  double peak[HEAPS][SIZES], stays[HEAPS][SIZES]; /* of the wave that is added */
  uint64_t ends[WAVES];                           /* clocks of the waves' peaks */
  uint32_t ended;                                 /* waves that are known */
  uint32_t fills; /* the group whose blocks take holes of group 0 first, or 0 */
} shadow_t;
static shadow_t *s; /* [lock] */

/* Bytes that a block takes for each that is asked for. */
#define ROUNDED 1.09
/* Bytes of a group's slabs that are used in part; measured. */
static const double used_in_part = 5 * 65536.;

/* Bytes of the smallest block of a size. */
static double size_at(uint32_t size) {
  static const double part[4] = {16, 19, 22.6, 26.9};
  return part[size % 4] * (double)(1u << (size / 4));
}

uint32_t hak_shadow_size_of(double bytes) {
  uint32_t size = 0;
  while (size + 4 < SIZES && bytes >= size_at(size + 4)) size += 4;
  while (size + 1 < SIZES && bytes >= size_at(size + 1)) size++;
  return size;
}

/* With the one that is about to end. */
static uint32_t waves(void) { return s->ended < WAVES ? s->ended + 1 : WAVES; }

/* With as many known as there is room for, the oldest two are about to be one. */
uint32_t hak_shadow_wave_of(uint64_t clock) {
  uint32_t i = 0;
  while (i < s->ended && clock > s->ends[i]) i++;
  return s->ended == WAVES && i > 0 ? i - 1 : i;
}

static double at_most(double x, double most) { return x < most ? x : most; }
static double at_least_0(double x) { return x > 0 ? x : 0; }

/* The share of pages that keep one of k blocks, each of which stays with a chance of p.
 */
static double kept_share(double p, double k) {
  if (p <= 0 || k <= 0) return 0;
  if (k < 1) return k * at_most(p, 1);
  return 1 - hak_power(1 - at_most(p, 1), k);
}

/* Bytes that waves below `count` keep. */
static HAK_SLOW double kept_of(uint32_t h, uint32_t size, const double *remains,
                               uint32_t count) {
  double kept = 0;
  for (uint32_t i = 0; i < count; i++) {
    const layer_t *l = &s->layers[h][size][i];
    double p = l->share * remains[i];
    kept += l->fresh * kept_share(p, l->fresh_blocks) +
            at_least_0(l->older - kept) * kept_share(p, l->older_blocks);
  }
  return kept;
}

static void merge_oldest(layer_t *layers) {
  layer_t *a = &layers[0], *b = &layers[1];
  float fresh = a->fresh + b->fresh;
  if (fresh > 0) {
    a->share = (a->share * a->fresh + b->share * b->fresh) / fresh;
    a->fresh_blocks = (a->fresh_blocks * a->fresh + b->fresh_blocks * b->fresh) / fresh;
  }
  a->fresh = fresh;
  a->older = a->older_blocks = 0;
  a->bytes += b->bytes;
  for (uint32_t i = 1; i + 1 < WAVES; i++) layers[i] = layers[i + 1];
  layers[WAVES - 1] = (layer_t){.fresh = 0};
}

HAK_SLOW void hak_shadow_begin(uint32_t fills) {
  s->fills = fills;
  __builtin_memset(s->peak, 0, sizeof s->peak);
  __builtin_memset(s->stays, 0, sizeof s->stays);
}

static bool is_filled_by(uint32_t group) { return group == 0 || group == s->fills; }

static void add_to(uint32_t h, uint32_t size, double bytes, double share) {
  s->peak[h][size] += bytes;
  s->stays[h][size] += bytes * share;
}

HAK_SLOW void hak_shadow_add(uint32_t group, uint32_t size, double bytes, double share) {
  add_to(group, size, bytes, share);
  add_to(TOGETHER, size, bytes, share);
  if (is_filled_by(group)) add_to(FILLED, size, bytes, share);
}

static void end_size(uint32_t h, uint32_t size, const double *remains, uint32_t count,
                     uint32_t unit) {
  layer_t *all = s->layers[h][size], *l = &all[count - 1];
  double older = 0;
  for (uint32_t i = 0; i + 1 < count; i++) older += (double)all[i].bytes * remains[i];
  double kept = kept_of(h, size, remains, count - 1);
  double peak = s->peak[h][size],
         most = older + peak; /* resident at the peak, at least */
  if (most < s->resident[h][size]) most = s->resident[h][size];
  *l = (layer_t){.bytes = (float)s->stays[h][size]};
  if (peak > 0) {
    double blocks = unit / (size_at(size) * ROUNDED) + (unit < HAK_SLAB_UNIT ? 1 : 0);
    if (blocks < 1) blocks = 1;
    l->older = (float)at_most(kept, most);
    l->fresh = (float)(most - l->older);
    double holes = at_least_0(l->older - older), room = l->fresh + holes;
    if (room > peak) blocks *= peak / room;
    l->fresh_blocks = (float)blocks;
    l->older_blocks = l->older > 0 ? (float)(blocks * holes / l->older) : 0;
    l->share = (float)(s->stays[h][size] / peak);
  }
  s->resident[h][size] = (float)kept_of(h, size, remains, count);
}

static HAK_SLOW void end_heap(uint32_t h, const double *left, uint32_t count,
                              uint32_t unit) {
  double remains[WAVES];
  s->live[h] = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (i + 1 == count) s->left_then[h][i] = left[i];
    remains[i] = left[i] > 0 ? at_most(left[i] / s->left_then[h][i], 1) : 0;
    s->live[h] += left[i];
  }
  for (uint32_t size = 0; size < SIZES; size++) end_size(h, size, remains, count, unit);
}

static void make_room(void) {
  if (s->ended < WAVES) return;
  for (uint32_t h = 0; h < HEAPS; h++) {
    for (uint32_t size = 0; size < SIZES; size++) merge_oldest(s->layers[h][size]);
    s->left_then[h][0] += s->left_then[h][1];
    for (uint32_t i = 1; i + 1 < WAVES; i++) s->left_then[h][i] = s->left_then[h][i + 1];
  }
  for (uint32_t i = 0; i + 1 < WAVES; i++) s->ends[i] = s->ends[i + 1];
}

HAK_SLOW void hak_shadow_end(const hak_shadow_left_t *left, uint64_t clock,
                             uint32_t unit) {
  uint32_t count = waves();
  make_room();
  double all[WAVES] = {0}, filled[WAVES] = {0};
  for (uint32_t g = 0; g < HAK_GROUPS; g++) {
    double of_group[WAVES];
    for (uint32_t i = 0; i < count; i++) {
      of_group[i] = left->bytes[i][g];
      all[i] += of_group[i];
      if (is_filled_by(g)) filled[i] += of_group[i];
    }
    end_heap(g, of_group, count, unit);
  }
  end_heap(TOGETHER, all, count, unit);
  end_heap(FILLED, filled, count, unit);
  s->ends[count - 1] = clock;
  s->ended = count;
}

static double kept_in(uint32_t h) {
  double bytes = 0;
  for (uint32_t size = 0; size < SIZES; size++) bytes += (double)s->resident[h][size];
  return bytes;
}
static double in_slabs(uint32_t h) {
  bool is_apart = h < HAK_GROUPS && h != 0;
  return is_apart && s->live[h] > 0 ? used_in_part : 0;
}

double hak_shadow_resident(uint32_t group) { return kept_in(group) + in_slabs(group); }
double hak_shadow_apart(void) {
  double bytes = 0;
  for (uint32_t g = 0; g < HAK_GROUPS; g++) bytes += hak_shadow_resident(g);
  return bytes;
}

/* As blocks are a little larger than was asked for; and a group of few bytes has few
 * slabs that are used in part. */
static double taken_by(uint32_t h) {
  double bytes = kept_in(h);
  return bytes * ROUNDED + at_most(in_slabs(h), bytes);
}
static double rate_of(uint32_t h) {
  return s->live[h] > 0 ? taken_by(h) / s->live[h] : 0;
}

HAK_SLOW double hak_shadow_saves(void) {
  double bytes = taken_by(TOGETHER) - taken_by(FILLED);
  for (uint32_t g = 1; g < HAK_GROUPS; g++) {
    if (!is_filled_by(g)) bytes -= taken_by(g);
  }
  return bytes;
}
double hak_shadow_together_rate(void) { return rate_of(TOGETHER); }
double hak_shadow_rate(uint32_t group) {
  return rate_of(is_filled_by(group) ? FILLED : group);
}

const size_t hak_shadow_bytes = sizeof(shadow_t);
void hak_shadow_start(void *zeroes) { s = zeroes; }
void hak_shadow_stop(void) { s = NULL; }
