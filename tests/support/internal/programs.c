#include "programs.h"

#include "heap/groups.h"
#include "learn/waves.h"
#include "os/os.h"

enum {
  WAVES_LEAST = 4,
  WAVES_MORE = 4,
  KEPT = 800000, /* blocks at a time */
  MEAN = 16384,  /* of the distance of samples, as waves are small */
  USUAL_MEAN = 262144
};

static hak_site_t g_sites[PROGRAM_PLACES];
static struct {
  void *block;
  uint32_t end; /* the wave after which it goes */
} g_blocks[KEPT];

static program_place_t any_place(test_rng_t *rng) {
  static const uint32_t stays[] = {0, 0, 0, 20, 60, 200, 500, 1000, 1000};
  size_t smallest = 16 + (size_t)test_below(rng, test_below(rng, 4) == 0 ? 4000 : 400);
  return (program_place_t){.smallest = smallest,
                           .sizes = 1 + (size_t)test_below(rng, smallest + 300),
                           .weight = 1 + (uint32_t)(64 >> test_below(rng, 7)),
                           .stays = stays[test_below(rng, TEST_COUNT(stays))],
                           .waves = 1 + (uint32_t)test_below(rng, 4),
                           .brief = test_below(rng, 3) == 0 ? 500 : 0};
}

program_t program_any(test_rng_t *rng) {
  program_t p = {.count = 2 + (uint32_t)test_below(rng, PROGRAM_PLACES - 1)};
  p.waves = WAVES_LEAST + (uint32_t)test_below(rng, WAVES_MORE);
  if (test_below(rng, 4) == 0) p.turns = 2 + (uint32_t)test_below(rng, 3);
  if (test_below(rng, 4) == 0) p.rises = (uint32_t)test_below(rng, 300);
  for (uint32_t i = 0; i < p.count; i++) {
    p.places[i] = any_place(rng);
    p.weights += p.places[i].weight;
  }
  return p;
}

void program_make_small(program_t *p, test_rng_t *rng) {
  double bytes = 0;
  for (uint32_t i = 0; i < p->count; i++) {
    const program_place_t *place = &p->places[i];
    double size = (double)place->smallest + (double)place->sizes / 2;
    bytes += place->weight * size * (1000 - place->brief) / 1000;
  }
  double most = 6e6 + (double)test_below(rng, 8000000);
  double mass = most * p->weights / bytes;
  p->mass = mass < PROGRAM_MASS ? (uint32_t)mass : PROGRAM_MASS;
}

/* --- a run -------------------------------------------------------------------------- */

/* The library over the system's own calls, where pages of free blocks go back, in builds
 * too in which the default heap is else the sanitizer's. */
static void begin(int learn) {
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = hak_os_default()};
  CHECK_EQ(hak_init(&config), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, MEAN), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, learn), 0);
}

static double in_use(void) { return (double)test_stats().committed_bytes; }
static void note(program_figures_t *f) {
  double used = in_use();
  f->sum += used;
  if (used > f->peak) f->peak = used;
}

/* The same in a calm. */
static void note_calm(program_figures_t *f) {
  note(f);
  f->calm += in_use();
  f->said += (double)hak_waves_read().saved;
}

static uint32_t choose(const program_t *p, test_rng_t *rng) {
  uint64_t at = test_below(rng, p->weights);
  uint32_t i = 0;
  while (at >= p->places[i].weight) at -= p->places[i++].weight;
  return i;
}

/* A block of the wave; the number of blocks that are kept is `at` before. */
static size_t allocate(const program_t *p, uint32_t wave, test_rng_t *rng, size_t at) {
  uint32_t i = choose(p, rng);
  uint32_t other = p->turns != 0 && wave >= p->turns ? p->count - 1 - i : i;
  const program_place_t *place = &p->places[i], *lives = &p->places[p->roles ? i : other];
  hak_site_t *site = &g_sites[p->roles ? other : i];
  size_t size = place->smallest + (size_t)test_below(rng, place->sizes);
  bool brief = test_below(rng, 1000) < lives->brief;
  bool stays = test_below(rng, 1000) < lives->stays;
  uint32_t more = stays ? 1 + (uint32_t)test_below(rng, lives->waves) : 0;
  char *block = hak_alloc_at(size, site);
  CHECK(block != NULL);
  block[0] = block[size - 1] = 1;
  if (brief || at == KEPT) {
    hak_free(block);
    return at;
  }
  g_blocks[at].block = block;
  g_blocks[at].end = wave + more;
  return at + 1;
}

/* Frees what ends with the wave, in another order than it came; what is left. */
static size_t fall(uint32_t wave, test_rng_t *rng, size_t count) {
  for (size_t i = count; i-- > 1;) {
    size_t j = (size_t)test_below(rng, i + 1);
    void *block = g_blocks[i].block;
    uint32_t end = g_blocks[i].end;
    g_blocks[i] = g_blocks[j];
    g_blocks[j].block = block;
    g_blocks[j].end = end;
  }
  size_t left = 0;
  for (size_t i = 0; i < count; i++) {
    if (g_blocks[i].end <= wave) {
      hak_free(g_blocks[i].block);
    } else {
      g_blocks[left++] = g_blocks[i];
    }
  }
  return left;
}

static uint64_t calls_of_os(void) {
  return hak_load_relaxed(&hak_os_counts.reserve) +
         hak_load_relaxed(&hak_os_counts.purge) +
         hak_load_relaxed(&hak_os_counts.release);
}

program_figures_t program_run(const program_t *p, uint64_t seed, int learn) {
  program_figures_t f = {.moves = 0};
  test_rng_t rng = test_rng(seed, 2);
  begin(learn);
  uint64_t calls = calls_of_os();
  size_t count = 0, calm = p->calm;
  double mass = p->mass > 0 ? p->mass : PROGRAM_MASS;
  for (uint32_t w = 0; w < p->waves; w++) {
    for (size_t i = 0; i < (size_t)mass; i++) count = allocate(p, w, &rng, count);
    note(&f);
    count = fall(w, &rng, count);
    if (p->calm == 0) calm = (size_t)mass;
    for (size_t i = 0; i < calm; i++) hak_free(hak_alloc_at(500, &g_sites[0]));
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    note_calm(&f);
    mass += mass * p->rises / 1000;
  }
  f.calls = calls_of_os() - calls;
  f.moves = hak_waves_read().moves;
  for (uint32_t g = 1; g < HAK_GROUPS; g++) f.apart |= hak_group_at(g) != NULL;
  for (size_t i = 0; i < count; i++) hak_free(g_blocks[i].block);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  return f;
}

void programs_begin(void) {
  for (uint32_t i = 0; i < PROGRAM_PLACES; i++) {
    g_sites[i] = (hak_site_t){"programs.c", 1 + i, NULL, {0}};
  }
}

void programs_end(void) {
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, USUAL_MEAN), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
}
