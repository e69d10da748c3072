#include "learn/waves.h"

#include "base/option.h"
#include "learn/lanes.h"
#include "learn/outgrow.h"
#include "learn/shadow.h"
#include "os/os.h"
#include "pages/registry.h"

enum {
  SAMPLES_KNOWN = 1,   /* of a place, before it is told from others */
  SAMPLES_CHANGED = 8, /* in one wave, to say that it has changed */
  SAMPLES_BEFORE = 4,  /* in the waves before */
  SAMPLES_FEW = 16,    /* of a place; none of them are forgotten with a wave */
  WAVES_IDLE = 2       /* without a use of groups, before they are given up */
};

#define FALL_LEAST ((double)(4 << 20))  /* bytes, of a wave */
#define SAVES_LEAST ((double)(2 << 20)) /* bytes, of a move */
#define APART_MUCH 0.25 /* the same, if it saves PAYS_MANY times as much */
#define PAYS_MANY 3
#define APART_PRICE 0.5 /* of the bytes that come to lie apart, is to be saved on top */
#define JOIN_SHARE 0.25 /* of what a move is to save, where groups have saved as much */
#define FALL_SEEN 1.    /* bytes; less is rounding */
#define RISE_LEAST ((double)(1 << 20)) /* bytes, after which a trough is over */

/* Of the wave that is under way; clocks are those of samples.  */
static struct {
  double live, peak, trough;         /* [lock] bytes */
  uint64_t samples;                  /* [lock] that live */
  uint64_t begin_clock;              /* [lock] the last wave's trough */
  uint64_t peak_clock, trough_clock; /* [lock] */
  uint32_t peaks; /* [lock] tells what was counted for one peak from the rest */
} wave;
static hak_waves_t told;         /* [lock] */
static uint32_t idle;            /* [lock] waves without a use of groups */
static hak_atomic_ptr_t watched; /* [any] a heap's id; its samples count */
static uint32_t led_loosest;     /* [lock] a group */
static hak_atomic_u32_t loosest; /* [lock] the same if it is there; read without it */

void hak_waves_watch(const void *heap_id) {
  /* Relaxed: of samples that come at the same time it does not matter whether they count,
   * since they are asked again as they die: see hak_wave_died_locked. */
  if (hak_load_relaxed(&watched) != heap_id) {
    hak_store_relaxed(&watched, (void *)(uintptr_t)heap_id);
  }
}
uint32_t hak_waves_loosest(void) {
  /* Relaxed: where a block lies meanwhile does no harm. */
  return hak_load_relaxed(&loosest);
}
const void *hak_waves_watched(void) { return hak_load_relaxed(&watched); }

static hak_wave_place_t *place_at(uint32_t origin) {
  return &hak_origin_at(origin)->wave;
}
/* In fact, or on paper. */
static uint32_t group_of(uint32_t origin) { return place_at(origin)->led; }

/* Those that have an origin of their own. */
static uint32_t first_place(void) { return HAK_ORIGIN_OTHERS + 1; }

/* --- what a wave says of each place ------------------------------------------------ */

static void begin_counts(hak_wave_place_t *place) {
  if (place->of_peak == wave.peaks) return;
  place->of_peak = wave.peaks;
  place->gone = place->gone_blocks = 0;
  place->gone_samples = 0;
}

static void begin_survey(uint32_t origin) {
  hak_wave_place_t *place = place_at(origin);
  begin_counts(place);
  place->here = place->here_blocks = 0;
  place->here_samples = 0;
}

/* Bytes at the peak by place, group and size. */
enum {
  CELLS = 1024 /* a power of two */
};
#define KEY_BITS 20
_Static_assert(HAK_ORIGINS *HAK_GROUPS *HAK_SHADOW_SIZES <= 1 << KEY_BITS, "keys");
static struct cell {
  uint32_t tag; /* below the key, of place, group and size; above the last bits of the
                   number of the peak that it is of: it is free if that is another one */
  float bytes;
} cells[CELLS]; /* [lock] */

static uint32_t peak_tag(void) { return wave.peaks << KEY_BITS; }
static uint32_t key_of(const struct cell *cell) {
  return cell->tag & ((1u << KEY_BITS) - 1);
}
static bool is_of_peak(const struct cell *cell) {
  return cell->tag - key_of(cell) == peak_tag();
}
static double cell_bytes(const struct cell *cell) {
  return is_of_peak(cell) ? (double)cell->bytes : 0;
}

/* Another number, that of no cell. */
static void next_peak(void) {
  wave.peaks++;
  if (peak_tag() != 0) return;
  __builtin_memset(cells, 0, sizeof cells);
  wave.peaks++;
}

static void count_cell(const hak_wave_sample_t *sample, int sign) {
  uint32_t size = hak_shadow_size_of(sample->bytes / sample->blocks);
  uint32_t place = sample->origin * HAK_GROUPS + sample->led;
  uint32_t key = place * HAK_SHADOW_SIZES + size;
  uint32_t at = key * 2654435761u >> 22;
  for (uint32_t i = 0; i < 32; i++, at = (at + 1) % CELLS) {
    if (!is_of_peak(&cells[at])) cells[at] = (struct cell){key | peak_tag(), 0};
    if (key_of(&cells[at]) != key) continue;
    cells[at].bytes += (float)(sign * sample->bytes);
    if (cells[at].bytes < 0) cells[at].bytes = 0;
    return;
  }
}

/* Older ones have outlived a wave: they lie among others that did, as a rule. */
static bool is_of_wave(const hak_wave_sample_t *sample) {
  return sample->clock > wave.begin_clock && sample->clock <= wave.peak_clock;
}

static hak_shadow_left_t left; /* [lock] while a wave is evaluated */

static void survey(const hak_wave_sample_t *sample) {
  if (sample->clock <= wave.peak_clock) {
    left.bytes[hak_shadow_wave_of(sample->clock)][sample->led] += sample->bytes;
  }
  if (!is_of_wave(sample)) return;
  hak_wave_place_t *place = place_at(sample->origin);
  count_cell(sample, 1);
  place->here += sample->bytes;
  place->here_blocks += sample->blocks;
  place->here_samples++;
}

/* The samples say so clearly another share than was known that the place has changed: by
 * three standard deviations of what chance does, and a twentieth. */
static bool has_changed(const hak_wave_place_t *place, double samples) {
  if (samples < SAMPLES_CHANGED || place->seen < SAMPLES_BEFORE) return false;
  double before = (double)(place->stayed / place->seen);
  double now = place->here_samples / samples, change = now - before;
  double q = (before + now) / 2;
  return change * change > 9 * q * (1 - q) / samples + 0.0025;
}

/* Of a place that has few samples in a wave, as most have in a program of many places, as
 * many waves count as it takes to know it. */
static float kept_of(float seen) { return seen < SAMPLES_FEW ? 1 : 0.5F; }

static void learn(uint32_t origin) {
  hak_wave_place_t *place = place_at(origin);
  double samples = (double)place->here_samples + place->gone_samples;
  if (has_changed(place, samples)) {
    place->bytes = place->stays = place->blocks = 0;
    place->seen = place->stayed = 0;
  }
  place->bytes = place->bytes / 2 + place->here + place->gone;
  place->stays = place->stays / 2 + place->here;
  place->blocks = place->blocks / 2 + place->here_blocks + place->gone_blocks;
  float kept = kept_of(place->seen);
  place->seen = place->seen * kept + (float)samples;
  place->stayed = place->stayed * kept + (float)place->here_samples;
}

static bool is_known(const hak_wave_place_t *place) {
  return place->seen >= SAMPLES_KNOWN;
}

double hak_wave_share(const hak_wave_place_t *place) {
  return is_known(place) ? (double)(place->stayed / place->seen) : -1;
}

/* --- what is done about it --------------------------------------------------------- */

typedef struct plan {
  hak_bucket_t all, buckets[HAK_BUCKETS], groups[HAK_GROUPS];
  uint8_t cluster_of[HAK_BUCKETS];
  uint32_t clusters, unit;
  double bytes_in[HAK_GROUPS][HAK_GROUPS]; /* of a cluster's places, by group */
  double places, seen, stayed;             /* that are known; their samples */
  double chi_squared;                      /* of the places' shares against that of all */
  double variance;                         /* of it, if the places are alike */
} plan_t;
static plan_t plan;     /* [lock] while one is made */
static uint32_t chosen; /* [lock] groups of its clusters, as moved_bytes has them */

static void each_known(void (*act)(uint32_t origin, hak_wave_place_t *place)) {
  uint32_t made = hak_origins_made();
  for (uint32_t i = first_place(); i < made; i++) {
    hak_wave_place_t *place = place_at(i);
    if (is_known(place)) act(i, place);
  }
}

static void add_to_all(uint32_t origin, hak_wave_place_t *place) {
  (void)origin;
  hak_bucket_t figures = {place->bytes, place->stays, place->blocks};
  hak_bucket_add(&plan.all, &figures);
  plan.places++;
  plan.seen += (double)place->seen;
  plan.stayed += (double)place->stayed;
}

/* A place is what its samples say, and one more that says of it what all say of all:
 * little evidence is not taken for more than that. */
static void add_to_plan(uint32_t origin, hak_wave_place_t *place) {
  double mean = plan.all.bytes > 0 ? plan.all.stays / plan.all.bytes : 0;
  double share = ((double)place->stayed + mean) / ((double)place->seen + 1);
  hak_bucket_t figures = {place->bytes, share * place->bytes, place->blocks};
  place->bucket = (uint8_t)hak_bucket_of(share);
  hak_bucket_add(&plan.buckets[place->bucket], &figures);
  hak_bucket_add(&plan.groups[group_of(origin)], &figures);
  double all = plan.stayed / plan.seen;
  double off = (double)place->stayed - all * (double)place->seen;
  if (all <= 0 || all >= 1) return;
  double q = all * (1 - all), spread = (double)place->seen * q;
  plan.chi_squared += off * off / spread;
  plan.variance += 2 + (1 - 6 * q) / spread; /* that of a square of a binomial */
}

/* That places differ as much is not a matter of chance: then chi squared had a mean of
 * about the number of places, and a variance of twice that, and more where samples are
 * few. Six standard deviations, as there is a wave after a wave, and few samples are far
 * from normal. */
static bool is_significant(void) {
  double excess = plan.chi_squared - plan.places;
  return excess > 0 && excess * excess > 36 * plan.variance;
}

static void add_to_clusters(uint32_t origin, hak_wave_place_t *place) {
  plan.bytes_in[plan.cluster_of[place->bucket]][group_of(origin)] += place->bytes;
}

/* Bytes of places that move if cluster c is in group code >> 2c & 3; more than all if two
 * are in one. Group 0 has blocks of places that are not known, too: it is not to be that
 * of which most stays. */
static double moved_bytes(uint32_t code) {
  uint32_t taken = 0;
  double moved = plan.clusters > 1 && (code & 3) == 0 ? SAVES_LEAST : 0;
  for (uint32_t c = 0; c < plan.clusters; c++) {
    uint32_t group = code >> (2 * c) & 3;
    if ((taken >> group & 1) != 0) return 1e30;
    taken |= 1u << group;
    for (uint32_t g = 0; g < HAK_GROUPS; g++) {
      if (g != group) moved += plan.bytes_in[c][g];
    }
  }
  return moved;
}
_Static_assert(HAK_GROUPS == 4, "two bits say which");

/* The groups of the clusters, so that least moves. */
static uint32_t choose_groups(void) {
  double least = 1e30;
  uint32_t found = 0;
  for (uint32_t code = 0; code < 1u << (2 * plan.clusters); code++) {
    double moved = moved_bytes(code);
    if (moved >= least) continue;
    least = moved;
    found = code;
  }
  return found;
}

static void move_to(uint32_t origin, uint32_t group) {
  place_at(origin)->led = (uint8_t)group;
}

static void move_to_chosen(uint32_t origin, hak_wave_place_t *place) {
  move_to(origin, chosen >> (2 * plan.cluster_of[place->bucket]) & 3);
}

static void move_all_back(void) {
  uint32_t made = hak_origins_made();
  for (uint32_t i = first_place(); i < made; i++) move_to(i, 0);
  led_loosest = 0;
  idle = 0;
}

/* What is led on paper is led in fact if the learner acts; else nothing is. */
static void publish(void) {
  bool acts = hak_option(LEARN) != 0;
  uint32_t made = hak_origins_made();
  for (uint32_t i = first_place(); i < made; i++) {
    uint32_t group = acts ? group_of(i) : 0;
    if (hak_load_relaxed(&hak_origin_groups[i]) == group) continue;
    told.moves++;
    hak_store_relaxed(&hak_origin_groups[i], (uint8_t)group);
  }
  hak_store_relaxed(&loosest, acts ? led_loosest : 0);
}

/* Bytes that go back as one. */
static uint32_t unit_of_purge(void) {
  const hak_os_t *os = hak_registry_os();
  if (os == NULL) os = hak_os_default(); /* no heap is there */
  bool by_pages = hak_option(PURGE_HOLES) != 0 && hak_os_keeps_zeroes(os);
  return by_pages ? (uint32_t)os->page_size : HAK_SLAB_UNIT;
}

static void make_plan(void) {
  plan = (plan_t){.unit = unit_of_purge()};
  each_known(add_to_all);
  each_known(add_to_plan);
}

static double cost_of_groups(void) {
  double cost = 0;
  for (uint32_t g = 0; g < HAK_GROUPS; g++)
    cost += hak_group_cost(&plan.groups[g], plan.unit);
  return cost;
}

static double cost_together(void) {
  hak_bucket_t all = {0, 0, 0};
  for (uint32_t b = 0; b < HAK_BUCKETS; b++) hak_bucket_add(&all, &plan.buckets[b]);
  return hak_group_cost(&all, plan.unit);
}

/* Bytes of the clusters that would lie apart, at peaks. Holes that they leave in the heap
 * are of no use to others, and theirs are not to the heap: that much higher a peak may
 * be. Places of which least stays do not count, as they fill the heap's holes first. */
static double bytes_apart(void) {
  double bytes = 0;
  for (uint32_t c = 0; c + 1 < plan.clusters; c++) {
    if ((chosen >> (2 * c) & 3) == 0) continue;
    for (uint32_t g = 0; g < HAK_GROUPS; g++) bytes += plan.bytes_in[c][g];
  }
  return bytes;
}

/* The same of those that do now: what they cost has been weighed. */
static double bytes_apart_now(void) {
  double bytes = 0;
  for (uint32_t g = 1; g < HAK_GROUPS; g++) {
    if (g != hak_waves_loosest()) bytes += plan.groups[g].bytes;
  }
  return bytes;
}

/* What it costs at peaks that so many bytes lie apart. */
static double price_of(double bytes) {
  double more = bytes - bytes_apart_now();
  return more > 0 ? more * APART_PRICE : 0;
}

/* Chooses a partition, and groups, that save more than `much` and what they cost at
 * peaks; false if there are none. First the one that leaves least behind; where too much
 * would lie apart for it, one in which that has a price. How much may lie apart goes by
 * what all of it saves, not by what a place adds that joins it. */
static bool choose(double together, double apart, double much) {
  for (uint32_t i = 0; i < 2; i++) {
    double best = hak_partition(plan.buckets, plan.unit, i * APART_PRICE, plan.cluster_of,
                                &plan.clusters);
    if (apart - best <= much) return false;
    __builtin_memset(plan.bytes_in, 0, sizeof plan.bytes_in);
    each_known(add_to_clusters);
    chosen = choose_groups();
    double bytes = bytes_apart();
    double most = bytes * PAYS_MANY <= together - best ? APART_MUCH : HAK_APART_MOST;
    if (bytes > plan.all.bytes * most) continue;
    if (apart - best <= much + price_of(bytes)) continue;
    hak_outgrow_allow(most);
    return true;
  }
  return false;
}

/* What a move can save at most: bytes that are resident and do not live. The shadow,
 * which says how many are, knows which sizes share slabs; the model of partition.h does
 * not, and says too much of places whose sizes differ. */
static double may_save(void) { return hak_shadow_apart() - wave.trough; }

/* Moves places if that saves much by what is known of the last waves, and back if it has
 * saved little in some of them. */
static void act(double together, double apart, double best, bool lanes) {
  double much = SAVES_LEAST + wave.peak / 20;
  bool pays = together - apart > much;
  idle = pays ? 0 : idle + 1;
  /* Lanes were a guess, which one wave refutes. */
  if (lanes && !(pays && is_significant())) idle = WAVES_IDLE;
  double in_lanes = lanes ? bytes_apart_now() : 0;
  if (in_lanes > 0 && in_lanes <= plan.all.bytes * HAK_APART_MOST) {
    hak_outgrow_allow(HAK_APART_MOST);
  }
  /* Where groups pay, a place that was not known before joins those that are like it. */
  if (pays) much *= JOIN_SHARE;
  if (may_save() > much && apart - best > much && is_significant() &&
      choose(together, apart, much)) {
    each_known(move_to_chosen);
    led_loosest = chosen >> (2 * (plan.clusters - 1)) & 3;
    idle = 0;
  } else if (idle >= WAVES_IDLE) {
    move_all_back();
  }
  publish();
}

/* Bytes resident for each that keeps them so; set before tell_saved. */
static double rate_together, rates[HAK_GROUPS]; /* [lock] */

static void tell_saved(const hak_wave_sample_t *sample) {
  if (sample->clock > wave.peak_clock) return;
  place_at(sample->origin)->saved +=
      (float)(sample->bytes * (rate_together - rates[sample->led]));
}

/* What the wave said of all places, those that are not known too. */
typedef struct total {
  double bytes, samples, stayed;
} total_t;

static total_t total_of(uint32_t made) {
  total_t t = {0, 0, 0};
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    const hak_wave_place_t *place = place_at(i);
    t.bytes += place->here + place->gone;
    t.samples += (double)place->here_samples + place->gone_samples;
    t.stayed += (double)place->here_samples;
  }
  return t;
}

/* Each place is what its samples say, and one more that says what all say. Places for
 * which there was no cell are taken to be of the sizes of the others. */
static void add_cells(uint32_t made) {
  total_t t = total_of(made);
  double in_cells = 0, mean = t.samples > 0 ? t.stayed / t.samples : 0;
  for (uint32_t i = 0; i < CELLS; i++) in_cells += cell_bytes(&cells[i]);
  for (uint32_t i = 0; i < CELLS; i++) {
    double bytes = cell_bytes(&cells[i]);
    if (bytes <= 0) continue;
    uint32_t led = key_of(&cells[i]) / HAK_SHADOW_SIZES;
    const hak_wave_place_t *place = place_at(led / HAK_GROUPS);
    double seen = (double)place->here_samples + place->gone_samples;
    double share = ((double)place->here_samples + mean) / (seen + 1);
    hak_shadow_add(led % HAK_GROUPS, key_of(&cells[i]) % HAK_SHADOW_SIZES,
                   bytes * t.bytes / in_cells, share);
  }
}

/* Before places move: those of the wave lie where they are led now. */
static void tell_shadow(const hak_wave_now_t *now, uint32_t made) {
  hak_shadow_begin(led_loosest);
  add_cells(made);
  hak_shadow_end(&left, wave.peak_clock, unit_of_purge());
  rate_together = hak_shadow_together_rate();
  for (uint32_t g = 0; g < HAK_GROUPS; g++) rates[g] = hak_shadow_rate(g);
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) place_at(i)->saved = 0;
  now->each(tell_saved);
  told.saved = (int64_t)hak_shadow_saves();
}

/* Of what a wave was known by, half is from those before it. */
static uint64_t of_one_wave(double bytes) { return (uint64_t)(bytes / 2); }

/* Places whose blocks lie in other heaps had lanes, too: no wave will say anything of
 * them. */
static HAK_SLOW void leave_unseen_lanes(uint32_t made) {
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) {
    hak_wave_place_t *place = place_at(i);
    if (place->led == HAK_LANE && place->seen <= 0) place->led = 0;
  }
}

/* At the trough. */
static HAK_SLOW void evaluate(const hak_wave_now_t *now) {
  uint32_t made = hak_origins_made();
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < made; i++) begin_survey(i);
  __builtin_memset(&left, 0, sizeof left);
  now->each(survey);
  tell_shadow(now, made);
  bool lanes = hak_lanes_end(); /* who has one is not known yet */
  for (uint32_t i = first_place(); i < made; i++) learn(i);
  if (lanes) leave_unseen_lanes(made);
  make_plan();
  double together = cost_together(), apart = cost_of_groups();
  double best =
      hak_partition(plan.buckets, plan.unit, 0, plan.cluster_of, &plan.clusters);
  told.count++;
  told.peak = (uint64_t)wave.peak;
  told.trough = (uint64_t)wave.trough;
  told.together = of_one_wave(together);
  told.apart = of_one_wave(hak_option(LEARN) != 0 ? apart : together);
  told.best = of_one_wave(best);
  act(together, apart, best, lanes);
}

/* --- waves ------------------------------------------------------------------------- */

static void begin_rise(const hak_wave_now_t *now) {
  wave.peak = wave.trough = wave.live;
  wave.peak_clock = wave.trough_clock = now->clock;
  next_peak();
}

/* The fall from the peak stands out. */
static bool is_wave(uint64_t mean) {
  double fall = wave.peak - wave.trough;
  return wave.trough <= wave.peak / 2 && fall >= FALL_LEAST &&
         fall * fall >= 25 * (double)mean * wave.peak;
}

/* Load rises again, or has stayed for a while. */
static bool is_over(const hak_wave_now_t *now) {
  return wave.live > wave.trough * 9 / 8 + RISE_LEAST ||
         (double)(now->clock - wave.trough_clock) > wave.peak / 4;
}

static void follow(const hak_wave_now_t *now) {
  if (wave.live > wave.peak || wave.peaks == 0) {
    begin_rise(now);
  } else if (wave.live < wave.trough - FALL_SEEN) {
    wave.trough = wave.live;
    wave.trough_clock = now->clock;
  } else if (is_wave(now->mean) && is_over(now)) {
    evaluate(now);
    hak_outgrow_begin(wave.trough_clock, led_loosest, wave.peak);
    wave.begin_clock = wave.trough_clock;
    begin_rise(now);
  }
}

/* `sign` -1: the place has a block of the peak again, which was resized. */
static void count_gone(const hak_wave_sample_t *sample, int sign) {
  if (!is_of_wave(sample)) return;
  hak_wave_place_t *place = place_at(sample->origin);
  begin_counts(place);
  if (sign < 0 && place->gone_samples == 0) return;
  count_cell(sample, sign);
  place->gone += sign * sample->bytes;
  place->gone_blocks += sign * sample->blocks;
  place->gone_samples += (uint32_t)sign;
  if (place->gone < 0) place->gone = 0; /* it has grown */
}

void hak_wave_born_locked(const hak_wave_sample_t *sample, const hak_wave_now_t *now) {
  hak_lock_assert_held(hak_origins_lock());
  count_gone(sample, -1);
  wave.samples++;
  wave.live += sample->bytes;
  if (told.count == 0) {
    double peak = wave.live > wave.peak ? wave.live : wave.peak;
    hak_lane_born(sample->origin, sample->bytes, peak);
  } else {
    uint32_t origin = hak_outgrow_born(sample, now, wave.live);
    if (origin != HAK_ORIGIN_NONE) {
      move_to(origin, 0);
      publish();
    }
  }
  follow(now);
}

void hak_wave_died_locked(const hak_wave_sample_t *sample, const hak_wave_now_t *now) {
  hak_lock_assert_held(hak_origins_lock());
  if (wave.samples == 0) return; /* its heap was not watched when it was born */
  count_gone(sample, 1);
  hak_outgrow_died(sample);
  wave.samples--;
  /* What goes later goes with the wave, which will tell. */
  if (told.count == 0 && wave.live > wave.peak / 2) {
    hak_lane_died(sample->origin, sample->bytes);
  }
  wave.live -= sample->bytes;
  if (wave.samples == 0 || wave.live < 0) wave.live = 0; /* nothing is left of rounding */
  follow(now);
}

void hak_wave_passes_locked(const hak_wave_now_t *now) {
  hak_lock_assert_held(hak_origins_lock());
  if (wave.samples > 0) follow(now);
}

hak_waves_t hak_waves_read(void) {
  hak_lock_acquire(hak_origins_lock());
  hak_waves_t copy = told;
  hak_lock_release(hak_origins_lock());
  return copy;
}

void hak_waves_stop(void) {
  __builtin_memset(&wave, 0, sizeof wave);
  told = (hak_waves_t){.count = 0};
  idle = 0;
  led_loosest = 0;
  hak_lanes_stop();
  hak_outgrow_stop();
  hak_shadow_stop();
  __builtin_memset(cells, 0, sizeof cells);
  hak_store_relaxed(&watched, NULL);
  hak_store_relaxed(&loosest, 0);
}
