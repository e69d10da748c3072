/* api_profile_bounds.c - a profile at a mean distance of 512 KiB, in 100 runs that differ
 * in what is sampled: of each place the bytes that really live are within the bounds that
 * are said of them in 95 runs of 100, be there many samples of it or hardly one.
 *
 * The same of places whose blocks live for a short time, most of which are not followed.
 *
 * With HAKMEM_TEST_FIGURES in the environment what came of each place is printed. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap/thread_state.h"

enum {
  RUNS = 100,
  MEAN = 512 << 10, /* bytes */
  PLACES = 8,
  BLOCKS = 1 << 18 /* at most, of all places */
};

/* A place allocates `bytes` in blocks of smallest + 0 to sizes - 1 bytes, of which so
 * many in a thousand are freed. */
static const struct kind {
  const char *name;
  size_t bytes, smallest, sizes;
  uint32_t freed;
} g_kinds[PLACES] = {
    {"many small blocks", 24 << 20, 100, 400, 0},
    {"half are freed", 16 << 20, 200, 2000, 500},
    {"most are freed", 24 << 20, 100, 800, 950},
    {"small and large", 24 << 20, 16, 200000, 300},
    {"large blocks", 24 << 20, 1 << 20, 2 << 20, 0},
    {"a few samples", 2 << 20, 64, 1000, 0},
    {"hardly a sample", 300 << 10, 64, 200, 0},
    {"one block", 256 << 10, 256 << 10, 1, 0},
};

static hak_site_t g_sites[PLACES];
static struct block {
  void *start;
  uint32_t size, place;
} g_blocks[BLOCKS];

/* Of all runs. */
static struct seen {
  unsigned within, above; /* bounds were right; the truth was above them */
  double off, truth;      /* bytes: sums of what was said too much, and of what lived */
  double squares;         /* of what was said too much or too little */
  double width;           /* of bounds */
} g_seen[PLACES];

static size_t allocate(test_rng_t *rng) {
  size_t count = 0, left[PLACES];
  uint32_t busy = PLACES;
  for (uint32_t i = 0; i < PLACES; i++) left[i] = g_kinds[i].bytes;
  while (busy > 0) {
    uint32_t i = (uint32_t)test_below(rng, PLACES);
    const struct kind *kind = &g_kinds[i];
    if (left[i] == 0) continue;
    size_t size = kind->smallest + (size_t)test_below(rng, kind->sizes);
    void *start = hak_alloc_at(size, &g_sites[i]);
    CHECK(start != NULL && count < BLOCKS);
    g_blocks[count++] = (struct block){start, (uint32_t)size, i};
    left[i] = left[i] > size ? left[i] - size : 0;
    busy -= left[i] == 0;
  }
  return count;
}

/* Frees what each place frees; what is left. */
static size_t free_some(test_rng_t *rng, size_t count) {
  size_t left = 0;
  for (size_t i = 0; i < count; i++) {
    if (test_below(rng, 1000) < g_kinds[g_blocks[i].place].freed) {
      hak_free(g_blocks[i].start);
    } else {
      g_blocks[left++] = g_blocks[i];
    }
  }
  return left;
}

static bool compare(const hak_site_info_t *info, void *ctx) {
  const double *live = ctx;
  uint32_t i = info->line - 1;
  CHECK(i < PLACES && strcmp(info->name, g_kinds[i].name) == 0);
  double low = (double)info->live_bytes_low, high = (double)info->live_bytes_high;
  double off = (double)info->live_bytes - live[i];
  g_seen[i].within += low <= live[i] && live[i] <= high;
  g_seen[i].above += live[i] > high;
  g_seen[i].off += off;
  g_seen[i].squares += off * off;
  g_seen[i].truth += live[i];
  g_seen[i].width += high - low;
  return true;
}

static void run(uint64_t seed) {
  test_rng_t rng = test_rng(seed, 1);
  /* Other distances from sample to sample, from the one after the next sample on. */
  hak_free(hak_alloc_at(16, &g_sites[0]));
  hak_thread_self->way.random = test_random(&rng) | 1;
  size_t count = free_some(&rng, allocate(&rng));
  double live[PLACES] = {0};
  for (size_t i = 0; i < count; i++) live[g_blocks[i].place] += g_blocks[i].size;
  CHECK_EQ(hak_sites_visit(compare, live), 0);
  for (size_t i = 0; i < count; i++) hak_free(g_blocks[i].start);
}

static void print(const struct kind *kind, const struct seen *seen) {
  double mean = seen->truth / RUNS;
  printf(
      "%-18s %7.2f MB live, within bounds in %u of %u runs (above in %u), off by %+.1f "
      "%% in the mean, deviation %.1f %%, bounds %.0f %% wide\n",
      kind->name, mean / 1e6, seen->within, RUNS, seen->above,
      100 * seen->off / seen->truth, 100 * sqrt(seen->squares / RUNS) / mean,
      100 * seen->width / seen->truth);
}

static void bounds__enclose_what_lives_of_each_place_in_95_of_100_runs(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, MEAN), 0);
  for (uint32_t i = 0; i < PLACES; i++) {
    g_sites[i] = (hak_site_t){"profile.c", 1 + i, g_kinds[i].name, {0}};
  }
  for (uint64_t seed = 1; seed <= RUNS; seed++) run(seed);
  unsigned all = 0;
  for (uint32_t i = 0; i < PLACES; i++) {
    const struct seen *seen = &g_seen[i];
    all += seen->within;
    if (getenv("HAKMEM_TEST_FIGURES") != NULL) print(&g_kinds[i], seen);
    /* Three standard deviations of 100 runs. */
    CHECK_MSG(seen->within >= RUNS * 88 / 100, "%s: within bounds in %u of %u runs",
              g_kinds[i].name, seen->within, RUNS);
  }
  printf("%u of %u within their bounds\n", all, RUNS * PLACES);
  CHECK(all >= RUNS * PLACES * 95 / 100);
}

/* Places of which each keeps its last `window` bytes. Lives are short of 2 MiB. */
static const struct brief {
  const char *name;
  size_t window;
} g_briefs[] = {{"brief: 1 MB", 1 << 20},
                {"brief: 400 KB", 400 << 10},
                {"brief: 50 KB", 50 << 10},
                {"brief: none", 0}};

enum {
  BRIEFS = sizeof g_briefs / sizeof g_briefs[0],
  BRIEF_LOOKS = 400,
  BRIEF_BYTES = 6 << 20, /* from one look to the next */
  RING = 1 << 14
};

static struct ring {
  struct block blocks[RING];
  size_t first, count, bytes;
} g_rings[BRIEFS];

static void let_go(struct ring *ring, size_t window) {
  while (ring->bytes > window) {
    struct block *oldest = &ring->blocks[ring->first];
    hak_free(oldest->start);
    ring->bytes -= oldest->size;
    ring->first = (ring->first + 1) % RING;
    ring->count--;
  }
}

static void pass_blocks(test_rng_t *rng, size_t bytes) {
  while (bytes > 0) {
    /* The larger the window, the more comes. */
    uint32_t i = (uint32_t)test_below(rng, 8);
    i = i < 4 ? 0 : i < 6 ? 1 : i - 4;
    size_t size = 200 + (size_t)test_below(rng, 1000);
    void *start = hak_alloc_at(size, &g_sites[i]);
    struct ring *ring = &g_rings[i];
    CHECK(start != NULL && ring->count < RING);
    size_t at = (ring->first + ring->count++) % RING;
    ring->blocks[at] = (struct block){start, (uint32_t)size, i};
    ring->bytes += size;
    let_go(ring, g_briefs[i].window);
    bytes -= size < bytes ? size : bytes;
  }
}

static bool compare_brief(const hak_site_info_t *info, void *ctx) {
  (void)ctx;
  uint32_t i = info->line - 101;
  if (i >= BRIEFS) return true;
  double low = (double)info->live_bytes_low, high = (double)info->live_bytes_high;
  double live = (double)g_rings[i].bytes, off = (double)info->live_bytes - live;
  g_seen[i].within += low <= live && live <= high;
  g_seen[i].above += live > high;
  g_seen[i].width += high - low;
  g_seen[i].off += off;
  g_seen[i].squares += off * off;
  g_seen[i].truth += live;
  return true;
}

static void bounds__enclose_what_lives_of_places_of_brief_lives(void **state) {
  (void)state;
  test_rng_t rng = test_rng(1, 2);
  memset(g_seen, 0, sizeof g_seen);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, MEAN / 4), 0);
  for (uint32_t i = 0; i < BRIEFS; i++) {
    g_sites[i] = (hak_site_t){"profile.c", 101 + i, g_briefs[i].name, {0}};
  }
  pass_blocks(&rng, (size_t)BRIEF_BYTES * 10);
  for (uint32_t look = 0; look < BRIEF_LOOKS; look++) {
    pass_blocks(&rng, BRIEF_BYTES);
    CHECK_EQ(hak_sites_visit(compare_brief, NULL), 0);
  }
  for (uint32_t i = 0; i < BRIEFS; i++) {
    const struct seen *seen = &g_seen[i];
    double truth = seen->truth / BRIEF_LOOKS, off = seen->off / BRIEF_LOOKS;
    double deviation = sqrt(seen->squares / BRIEF_LOOKS);
    if (getenv("HAKMEM_TEST_FIGURES") != NULL) {
      printf(
          "%-14s %5.0f KB live, within bounds in %u of %u (above in %u, %.0f KB wide), "
          "off by %+.0f KB in the mean, deviation %.0f KB\n",
          g_briefs[i].name, truth / 1e3, seen->within, BRIEF_LOOKS, seen->above,
          seen->width / BRIEF_LOOKS / 1e3, off / 1e3, deviation / 1e3);
    }
    CHECK_MSG(seen->within >= BRIEF_LOOKS * 93 / 100, "%s: within bounds in %u of %u",
              g_briefs[i].name, seen->within, BRIEF_LOOKS);
    /* Four deviations of the mean of all looks. */
    CHECK_MSG(off * off * BRIEF_LOOKS <= 16 * deviation * deviation + 1,
              "%s: off by %.0f of %.0f bytes in the mean", g_briefs[i].name, off, truth);
  }
  for (uint32_t i = 0; i < BRIEFS; i++) let_go(&g_rings[i], 0);
}

TEST_MAIN(T(bounds__enclose_what_lives_of_each_place_in_95_of_100_runs),
          T(bounds__enclose_what_lives_of_places_of_brief_lives))
