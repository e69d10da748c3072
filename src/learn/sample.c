#include "learn/sample.h"

#include <string.h>

#include "base/bits.h"
#include "base/option.h"
#include "learn/shadow.h"
#include "learn/waves.h"

enum {
  PLACES = 4096,                   /* of the table, a power of two */
  SAMPLES_MOST = PLACES / 4 * 3,   /* so that searches stay short */
  SAMPLES_MANY = SAMPLES_MOST / 2, /* from here on samples become rarer */
  SAMPLES_STEP = 96,               /* twice as rare with so many more */
  SAMPLES_FEW = SAMPLES_MANY / 4,  /* down to here, and they become more frequent again */
  SAMPLES_KNOWN = 32 /* of a place that are gone, before some are not followed */
};

static _Atomic(hak_sample_t *) table;  /* [lock] PLACES, by hash of the block; or NULL */
static uint32_t live;                  /* [lock] samples in the table */
static hak_atomic_u32_t doublings;     /* [lock] of the mean distance; read without it */
static hak_atomic_u64_t samples_clock; /* [lock] bytes; read without it */
static uint64_t picked_with;           /* [lock] the usual mean distance of late */

/* Bytes after which a thread looks again whether samples are wanted. */
#define LOOK_AGAIN ((int64_t)1 << 26)

/* --- the way to the next one ----------------------------------------------------------
 */

uint64_t hak_samples_mean(void) {
  return (uint64_t)hak_option(SAMPLE_BYTES) << hak_load_relaxed(&doublings);
}

/* A long way is gone in parts, as its ends bring a thread to slow paths (api/site.c). */
static void go_on(hak_sample_way_t *way) {
  int64_t more = way->rest;
  if (way->left > LOOK_AGAIN - more) more = LOOK_AGAIN - way->left;
  way->left += more;
  way->rest -= more;
}

uint64_t hak_sample_due(hak_sample_way_t *way, uint64_t seed) {
  uint64_t mean = hak_samples_mean();
  if (mean == 0) {
    *way = (hak_sample_way_t){.left = LOOK_AGAIN};
    return 0;
  }
  if (mean == 1) {
    *way = (hak_sample_way_t){.left = 0};
    return 1;
  }
  if (way->random == 0) {
    /* The first distance begins before this allocation, which is all of the way so far.
     */
    way->random = hak_mix64(seed) | 1;
    way->mean = mean;
    way->rest = hak_chance_distance(&way->random, mean);
  }
  go_on(way);
  if (way->left >= 0) return 0;
  uint64_t before = way->mean;
  way->mean = mean;
  /* From the end of this block on, as distances have no memory: a block that is longer
   * than many of them costs no more than one. */
  way->left = -1;
  way->rest = hak_chance_distance(&way->random, mean);
  go_on(way);
  return before;
}

HAK_SLOW uint64_t hak_sample_follows_with(const hak_origin_t *origin, uint64_t mean) {
  const float *lived = origin->lived;
  uint64_t gone = origin->sums.samples - origin->sums.live_samples;
  if (mean <= 1 || gone < SAMPLES_KNOWN) return mean;
  double all = 0, most;
  for (uint32_t i = 0; i < HAK_SITE_LIVES; i++) all += (double)lived[i];
  if ((double)lived[0] >= all * 15 / 16) {
    most = 8 * (double)mean;
  } else if ((double)lived[0] + (double)lived[1] >= all * 31 / 32) {
    most = 4 * (double)mean;
  } else {
    return mean;
  }
  /* What the place's live bytes allow. */
  double allowed = most, bytes = origin->sums.live_bytes;
  if (allowed * bytes > 16 * (double)mean * (double)mean) {
    allowed = 16 * (double)mean * (double)mean / bytes;
  }
  return allowed > (double)mean ? (uint64_t)allowed : mean;
}

HAK_SLOW uint64_t hak_sample_follow(hak_asker_t asker, size_t bytes, uint64_t mean,
                                    uint64_t *random) {
  hak_lock_acquire(hak_origins_lock());
  uint64_t with = hak_sample_follows_with(hak_origin_at(asker.origin), mean);
  hak_lock_release(hak_origins_lock());
  if (with == mean) return mean;
  return hak_chance_again(random, bytes, mean, with) ? with : 0;
}

/* --- the table
 * -------------------------------------------------------------------------- */

static uint32_t place_of(const void *block) {
  return (uint32_t)hak_mix64((uintptr_t)block) & (PLACES - 1);
}

bool hak_samples_prepare(const hak_os_t *os) {
  /* Relaxed: who uses the table takes the lock. */
  if (hak_load_relaxed(&table) != NULL) return true;
  size_t size = PLACES * sizeof(hak_sample_t);
  char *memory = hak_meta_alloc(os, size + hak_shadow_bytes, HAK_CACHE_LINE);
  if (memory == NULL) return false;
  hak_lock_acquire(hak_origins_lock());
  /* Of two threads that come at once one has got memory in vain; it stays unused. */
  if (hak_load_relaxed(&table) == NULL) {
    hak_shadow_start(memory + size);
    hak_store_relaxed(&table, (hak_sample_t *)(void *)memory);
  }
  hak_lock_release(hak_origins_lock());
  return true;
}

/* The place of the block in the table, or the free place that ends the search for it. */
static hak_sample_t *find_locked(const void *block) {
  hak_lock_assert_held(hak_origins_lock());
  hak_sample_t *all = hak_load_relaxed(&table);
  uint32_t i = place_of(block);
  while (all[i].block != NULL && all[i].block != block) i = (i + 1) & (PLACES - 1);
  return &all[i];
}

/* Frees a place, and moves up those behind it that are found by way of it. */
static void close_locked(hak_sample_t *at) {
  hak_lock_assert_held(hak_origins_lock());
  hak_sample_t *all = hak_load_relaxed(&table);
  uint32_t hole = (uint32_t)(at - all), i = hole;
  live--;
  for (;;) {
    i = (i + 1) & (PLACES - 1);
    if (all[i].block == NULL) break;
    uint32_t from = place_of(all[i].block);
    /* Its search begins behind the hole. */
    if (((i - from) & (PLACES - 1)) < ((i - hole) & (PLACES - 1))) continue;
    all[hole] = all[i];
    hole = i;
  }
  all[hole] = (hak_sample_t){.block = NULL};
}

/* --- sums
 * -------------------------------------------------------------------------------- */

void hak_sample_grow(hak_sample_t *sample, size_t size) {
  double chance = hak_chance_of(size, sample->mean);
  if (chance > sample->chance) sample->chance = chance;
}

/* Adds a sample to the sums of what is live, or takes it out. */
static void count_live_locked(const hak_sample_t *sample, bool comes) {
  hak_lock_assert_held(hak_origins_lock());
  hak_origin_sums_t *sums = &hak_origin_at(sample->origin)->sums;
  double p = sample->chance, sign = comes ? 1 : -1;
  double bytes = (double)sample->size / p;
  hak_stack_live_locked(sample->stack, comes ? 1 : -1, 1 / p, bytes);
  sums->live_samples += comes ? 1 : UINT64_MAX;
  if (sums->live_samples == 0) { /* nothing is left of rounding */
    sums->live_blocks = sums->live_bytes = sums->live_variance = 0;
    return;
  }
  sums->live_blocks += sign / p;
  sums->live_bytes += sign * bytes;
  sums->live_variance += sign * bytes * bytes * (1 - p);
  /* One of brief blocks stands for more than its place has at a time. */
  if (sums->live_bytes > sums->peak_bytes && !sample->brief) {
    sums->peak_bytes = sums->live_bytes;
  }
}

/* A block was picked with a chance, be it followed or not. */
static void count_new_locked(hak_asker_t asker, uint64_t size, double chance) {
  hak_lock_assert_held(hak_origins_lock());
  hak_origin_sums_t *sums = &hak_origin_at(asker.origin)->sums;
  if (sums->samples++ == 0 || size < sums->smallest) sums->smallest = size;
  if (size > sums->largest) sums->largest = size;
  double blocks = 1 / chance;
  sums->blocks += blocks;
  sums->bytes += blocks * (double)size;
  hak_stack_count_locked(asker.stack, blocks, blocks * (double)size);
}

/* All places together have asked for more; the clock then. */
static uint64_t count_clock_locked(uint64_t size, uint64_t mean) {
  hak_lock_assert_held(hak_origins_lock());
  uint64_t clock = hak_load_relaxed(&samples_clock) + (size > mean ? size : mean);
  hak_store_relaxed(&samples_clock, clock);
  picked_with = mean;
  return clock;
}

/* --- samples
 * ------------------------------------------------------------------------------ */

/* For waves.h: what a sample says of the blocks of the heap that share slabs. One that
 * stands for many times as much as others says nothing: blocks that live briefly are
 * little of a peak, and the samples' error would be more than that. */
static bool is_in_wave(const hak_sample_t *sample) {
  return sample->heap_id == hak_waves_watched() && sample->size <= HAK_WAVE_BLOCK_MOST &&
         !sample->brief;
}
static hak_wave_sample_t wave_sample(const hak_sample_t *sample) {
  double blocks = hak_sample_stands_for(sample);
  return (hak_wave_sample_t){.origin = sample->origin,
                             .led = sample->led,
                             .blocks = blocks,
                             .bytes = blocks * (double)sample->size,
                             .clock = sample->clock};
}
static void each_in_wave(hak_wave_sample_fn *fn) {
  const hak_sample_t *all = hak_load_relaxed(&table);
  for (uint32_t i = 0; i < PLACES; i++) {
    if (all[i].block == NULL || !is_in_wave(&all[i])) continue;
    hak_wave_sample_t sample = wave_sample(&all[i]);
    fn(&sample);
  }
}
static hak_wave_now_t wave_now(void) {
  return (hak_wave_now_t){hak_load_relaxed(&samples_clock), picked_with, each_in_wave};
}

/* Samples become rarer or more frequent with how many there are. */
static void adapt_locked(void) {
  hak_lock_assert_held(hak_origins_lock());
  uint32_t now = hak_load_relaxed(&doublings);
  if (live > SAMPLES_MANY + now * SAMPLES_STEP) {
    hak_store_relaxed(&doublings, now + 1);
  } else if (live < SAMPLES_FEW && now > 0) {
    hak_store_relaxed(&doublings, now - 1);
  }
}

/* The block is freed, and lived as long as it did. Of very many the old ones count half,
 * so that a float can tell of one more. */
static void count_life_locked(const hak_sample_t *sample) {
  hak_lock_assert_held(hak_origins_lock());
  float *lived = hak_origin_at(sample->origin)->lived;
  uint64_t life = hak_load_relaxed(&samples_clock) - sample->clock;
  uint32_t kind = 0;
  while (kind < HAK_SITE_LIVES - 1 && life >= HAK_LIFE_MOST(kind)) kind++;
  float bytes = (float)(hak_sample_stands_for(sample) * (double)sample->size);
  lived[kind] += bytes;
  if (lived[kind] < bytes * (1 << 20)) return;
  for (uint32_t i = 0; i < HAK_SITE_LIVES; i++) lived[i] /= 2;
}

/* Takes a sample out of the table and of the sums. */
static void remove_locked(hak_sample_t *at) {
  hak_lock_assert_held(hak_origins_lock());
  hak_sample_t gone = *at;
  count_live_locked(at, false);
  close_locked(at);
  hak_wave_now_t now = wave_now();
  if (is_in_wave(&gone)) {
    hak_wave_sample_t sample = wave_sample(&gone);
    hak_wave_died_locked(&sample, &now);
  } else if (gone.brief) {
    hak_wave_passes_locked(&now);
  }
}

/* Another sample of the same address is of a heap that has ended and is not forgotten
 * yet. */
static void insert_locked(const hak_sample_t *sample) {
  hak_lock_assert_held(hak_origins_lock());
  hak_sample_t *at = find_locked(sample->block);
  if (at->block != NULL) {
    remove_locked(at);
    at = find_locked(sample->block);
  }
  if (live >= PLACES - 1) return; /* searches end at a free place */
  *at = *sample;
  live++;
  count_live_locked(sample, true);
  if (!is_in_wave(sample)) return;
  hak_wave_sample_t born = wave_sample(sample);
  hak_wave_now_t now = wave_now();
  hak_wave_born_locked(&born, &now);
}

bool hak_sample_add(hak_asker_t asker, const void *block, size_t size, uint64_t mean,
                    uint64_t followed, const void *heap_id) {
  double picked = hak_chance_of(size, mean);
  double chance = followed == mean ? picked : hak_chance_of(size, followed);
  hak_lock_acquire(hak_origins_lock());
  bool room = live < SAMPLES_MOST && hak_load_relaxed(&table) != NULL;
  if (room) {
    hak_sample_t sample = {.block = block,
                           .heap_id = heap_id,
                           .size = size,
                           .chance = chance,
                           .mean = followed,
                           .clock = count_clock_locked(size, mean),
                           .origin = asker.origin,
                           .stack = (uint16_t)asker.stack,
                           .led = hak_origin_at(asker.origin)->wave.led,
                           .brief = followed > mean};
    count_new_locked(asker, size, picked);
    insert_locked(&sample);
    adapt_locked();
  }
  hak_lock_release(hak_origins_lock());
  return room;
}

void hak_sample_count(hak_asker_t asker, size_t size, uint64_t mean) {
  double chance = hak_chance_of(size, mean);
  hak_lock_acquire(hak_origins_lock());
  (void)count_clock_locked(size, mean);
  count_new_locked(asker, size, chance);
  hak_lock_release(hak_origins_lock());
}

static bool take(const void *block, bool freed, hak_sample_t *out) {
  hak_lock_acquire(hak_origins_lock());
  hak_sample_t *at = hak_load_relaxed(&table) == NULL ? NULL : find_locked(block);
  bool found = at != NULL && at->block != NULL;
  if (found) {
    *out = *at;
    if (freed) count_life_locked(at);
    remove_locked(at);
    adapt_locked();
  }
  hak_lock_release(hak_origins_lock());
  return found;
}

bool hak_sample_take(const void *block, hak_sample_t *out) {
  return take(block, false, out);
}

bool hak_sample_remove(const void *block) {
  hak_sample_t gone;
  return take(block, true, &gone);
}

void hak_sample_put(const hak_sample_t *sample) {
  hak_lock_acquire(hak_origins_lock());
  /* There is room: places are more than samples and threads in between. */
  insert_locked(sample);
  hak_lock_release(hak_origins_lock());
}

void hak_sample_put_new(const hak_sample_t *sample) {
  hak_lock_acquire(hak_origins_lock());
  hak_asker_t asker = {sample->origin, sample->stack};
  count_new_locked(asker, sample->size, sample->chance);
  insert_locked(sample);
  hak_lock_release(hak_origins_lock());
}

void hak_samples_forget(const void *heap_id) {
  hak_lock_acquire(hak_origins_lock());
  hak_sample_t *all = hak_load_relaxed(&table);
  /* Where one goes, another may come into its place. */
  for (uint32_t i = 0; all != NULL && i < PLACES;) {
    if (all[i].block != NULL && all[i].heap_id == heap_id) {
      count_life_locked(&all[i]);
      remove_locked(&all[i]);
    } else {
      i++;
    }
  }
  hak_lock_release(hak_origins_lock());
}

uint64_t hak_samples_clock(void) { return hak_load_relaxed(&samples_clock); }

/* --- looks
 * ---------------------------------------------------------------------------------- */

hak_origin_t hak_origin_read(uint32_t number) {
  hak_lock_acquire(hak_origins_lock());
  hak_origin_t copy = *hak_origin_at(number);
  hak_lock_release(hak_origins_lock());
  return copy;
}

HAK_SLOW void hak_samples_visit(bool (*visit)(const hak_sample_t *sample, void *ctx),
                                void *ctx) {
  enum {
    AT_ONCE = 32 /* samples that are copied under the lock */
  };
  for (uint32_t i = 0; i < PLACES; i += AT_ONCE) {
    hak_sample_t some[AT_ONCE];
    hak_lock_acquire(hak_origins_lock());
    hak_sample_t *all = hak_load_relaxed(&table);
    if (all != NULL) memcpy(some, &all[i], sizeof some);
    hak_lock_release(hak_origins_lock());
    if (all == NULL) return;
    for (uint32_t k = 0; k < AT_ONCE; k++) {
      if (some[k].block != NULL && !visit(&some[k], ctx)) return;
    }
  }
}

HAK_SLOW bool hak_samples_are_valid(void) {
  hak_lock_acquire(hak_origins_lock());
  hak_sample_t *all = hak_load_relaxed(&table);
  uint64_t counted = 0, said = 0;
  bool found = true;
  for (uint32_t i = 0; all != NULL && i < PLACES; i++) {
    if (all[i].block == NULL) continue;
    counted++;
    found = found && find_locked(all[i].block) == &all[i];
  }
  uint32_t origins = hak_origins_made();
  for (uint32_t i = HAK_ORIGIN_OTHERS; i < origins; i++) {
    said += hak_origin_at(i)->sums.live_samples;
  }
  bool valid = found && counted == live && said == live;
  hak_lock_release(hak_origins_lock());
  return valid;
}

void hak_samples_stop(void) {
  hak_store_relaxed(&table, NULL);
  live = 0;
  hak_store_relaxed(&doublings, 0);
  hak_store_relaxed(&samples_clock, 0);
  picked_with = 0;
  hak_waves_stop();
  hak_stacks_stop();
}
