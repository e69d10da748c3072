/* api_learn_programs.c - programs that nobody chose: places with lives of all kinds, in
 * waves, generated from numbers. With the learner none of them has much more memory in
 * use than without, at its peaks and in the mean, and all of them ask no more of the
 * system; and what it says to save is what is measured, for programs of one kind each and
 * for generated ones, whether it acts or only watches.
 *
 * With HAKMEM_TEST_FIGURES in the environment each program's figures are printed. */
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "learn/waves.h"
#include "os/os.h"

enum {
  PLACES = 8,
  MASS = 16000, /* blocks of a wave */
  MASS_OF_KIND = 100000,
  KEPT = 8 * MASS_OF_KIND,
  WAVES_LEAST = 4,
  WAVES_MORE = 4,
  FIRST = 7,    /* program: it moves places, so the shortest run has one that does */
  MEAN = 16384, /* of the distance of samples, as waves are small */
  USUAL_MEAN = 262144
};
#define PARTS ((double)(2 << 20)) /* bytes; see compare */

/* What becomes of a place's blocks. */
typedef struct place {
  size_t smallest, sizes; /* bytes */
  uint32_t weight;        /* of its blocks among all */
  uint32_t stays;         /* in thousandths: a block outlives its wave */
  uint32_t waves;         /* that a block which stays lives for, at most */
  uint32_t brief;         /* in thousandths: a block is freed at once */
} place_t;

typedef struct program {
  place_t places[PLACES];
  uint32_t count, weights, waves;
  uint32_t turns; /* the wave from which on places have each other's lives; 0: never */
  bool roles;     /* ... and each other's weights: their blocks, that is */
  uint32_t mass;  /* blocks of a wave; 0: MASS */
  uint32_t rises; /* in thousandths: how much larger a wave is than the one before */
} program_t;

/* Memory in use, in bytes, and what is asked of the system. */
typedef struct figures {
  double peak, sum;
  double calm, said; /* after waves: in use; what is said to be saved */
  uint64_t calls, moves;
} figures_t;

static hak_site_t g_sites[PLACES];
static struct {
  void *block;
  uint32_t end; /* the wave after which it goes */
} g_blocks[KEPT];

static place_t any_place(test_rng_t *rng) {
  static const uint32_t stays[] = {0, 0, 0, 20, 60, 200, 500, 1000, 1000};
  size_t smallest = 16 + (size_t)test_below(rng, test_below(rng, 4) == 0 ? 4000 : 400);
  return (place_t){.smallest = smallest,
                   .sizes = 1 + (size_t)test_below(rng, smallest + 300),
                   .weight = 1 + (uint32_t)(64 >> test_below(rng, 7)),
                   .stays = stays[test_below(rng, TEST_COUNT(stays))],
                   .waves = 1 + (uint32_t)test_below(rng, 4),
                   .brief = test_below(rng, 3) == 0 ? 500 : 0};
}

static program_t any_program(test_rng_t *rng) {
  program_t p = {.count = 2 + (uint32_t)test_below(rng, PLACES - 1)};
  p.waves = WAVES_LEAST + (uint32_t)test_below(rng, WAVES_MORE);
  if (test_below(rng, 4) == 0) p.turns = 2 + (uint32_t)test_below(rng, 3);
  if (test_below(rng, 4) == 0) p.rises = (uint32_t)test_below(rng, 300);
  for (uint32_t i = 0; i < p.count; i++) {
    p.places[i] = any_place(rng);
    p.weights += p.places[i].weight;
  }
  return p;
}

/* Its waves leave 6 to 14 MB alive, enough for the learner to act, with few blocks: many
 * programs take little time, and in small ones what it costs weighs most. */
static void make_small(program_t *p, test_rng_t *rng) {
  double bytes = 0;
  for (uint32_t i = 0; i < p->count; i++) {
    const place_t *place = &p->places[i];
    double size = (double)place->smallest + (double)place->sizes / 2;
    bytes += place->weight * size * (1000 - place->brief) / 1000;
  }
  double most = 6e6 + (double)test_below(rng, 8000000);
  double mass = most * p->weights / bytes;
  p->mass = mass < MASS ? (uint32_t)mass : MASS;
}

#define STAYS_FOR(waves) 1000, waves, 0
#define GOES 0, 0, 0
#define BRIEF 0, 0, 1000

/* Programs of one kind each; figures of a place are those of place_t. */
static const struct {
  const char *name;
  program_t program;
} g_kinds[] = {
    {"spikes",
     {.places = {{40, 500, 12, GOES}, {40, 500, 1, STAYS_FOR(3)}, {32, 500, 4, BRIEF}},
      .count = 3}},
    {"compiler",
     {.places = {{48, 1, 15, GOES},
                 {64, 64, 9, GOES},
                 {96, 300, 6, GOES},
                 {80, 100, 2, STAYS_FOR(3)},
                 {24, 60, 10, BRIEF},
                 {16, 60, 2, STAYS_FOR(3)}},
      .count = 6}},
    {"roles",
     {.places = {{40, 500, 12, GOES}, {40, 500, 1, STAYS_FOR(3)}},
      .count = 2,
      .turns = 4,
      .roles = true}},
    {"game",
     {.places = {{32, 200, 26, GOES},
                 {32, 1600, 4, GOES},
                 {48, 300, 1, STAYS_FOR(20)},
                 {16, 600, 6, BRIEF}},
      .count = 4}},
    {"part stays",
     {.places = {{40, 400, 16, 60, 3, 0},
                 {40, 400, 8, GOES},
                 {40, 400, 1, STAYS_FOR(3)},
                 {32, 500, 16, BRIEF}},
      .count = 4}},
    {"chance",
     {.places = {{32, 570, 1, 100, 2, 0},
                 {32, 570, 1, 100, 2, 0},
                 {32, 570, 1, 100, 2, 0},
                 {32, 570, 1, 100, 2, 0}},
      .count = 4}},
};

static program_t kind(size_t number) {
  program_t p = g_kinds[number].program;
  p.mass = MASS_OF_KIND;
  p.waves = p.roles ? 10 : 6;
  for (uint32_t i = 0; i < p.count; i++) p.weights += p.places[i].weight;
  return p;
}

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
static void note(figures_t *f) {
  double used = in_use();
  f->sum += used;
  if (used > f->peak) f->peak = used;
}

/* The same in a calm. */
static void note_calm(figures_t *f) {
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
  const place_t *place = &p->places[i], *lives = &p->places[p->roles ? i : other];
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

static figures_t run(const program_t *p, uint64_t seed, int learn) {
  figures_t f = {.moves = 0};
  test_rng_t rng = test_rng(seed, 2);
  begin(learn);
  uint64_t calls = calls_of_os();
  size_t count = 0;
  double mass = p->mass > 0 ? p->mass : MASS;
  for (uint32_t w = 0; w < p->waves; w++) {
    for (size_t i = 0; i < (size_t)mass; i++) count = allocate(p, w, &rng, count);
    note(&f);
    count = fall(w, &rng, count);
    for (size_t i = 0; i < (size_t)mass; i++) hak_free(hak_alloc_at(500, &g_sites[0]));
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
    note_calm(&f);
    mass += mass * p->rises / 1000;
  }
  f.calls = calls_of_os() - calls;
  f.moves = hak_waves_read().moves;
  for (size_t i = 0; i < count; i++) hak_free(g_blocks[i].block);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  return f;
}

/* What a single program may have more of: a fifth at its peak and a tenth in the mean,
 * with what slabs take that are used in part, which in programs as small as these is not
 * little beside that. One in 25 has more than 3 in 100 at its peak. */
static void compare(uint64_t number, const figures_t *without, const figures_t *with,
                    uint32_t looks) {
  if (getenv("HAKMEM_TEST_FIGURES") != NULL) {
    printf("%llu: peak %.1f %.1f mean %.1f %.1f calls %llu %llu moves %llu\n",
           (unsigned long long)number, without->peak / 1e6, with->peak / 1e6,
           without->sum / looks / 1e6, with->sum / looks / 1e6,
           (unsigned long long)without->calls, (unsigned long long)with->calls,
           (unsigned long long)with->moves);
  }
  CHECK_MSG(with->peak <= 1.2 * without->peak + PARTS,
            "program %llu: a peak of %.0f, %.0f without", (unsigned long long)number,
            with->peak, without->peak);
  CHECK_MSG(with->sum <= 1.1 * without->sum + (double)looks * PARTS,
            "program %llu: %.0f in the mean, %.0f without", (unsigned long long)number,
            with->sum / looks, without->sum / looks);
}

/* What is said to be saved, to watch or to act, against what is in use without and with
 * the learner; sums over all calms. */
typedef struct shadow {
  double saved, watching, acting;
} shadow_t;

static void add_shadow(shadow_t *sum, const char *name, const figures_t f[2]) {
  shadow_t one = {f[0].calm - f[1].calm, f[0].said, f[1].said};
  if (getenv("HAKMEM_TEST_FIGURES") != NULL) {
    printf("%s: saved %.1f, said %.1f and %.1f\n", name, one.saved / 1e6,
           one.watching / 1e6, one.acting / 1e6);
  }
  sum->saved += one.saved;
  sum->watching += one.watching;
  sum->acting += one.acting;
}

static void check_shadow(const shadow_t *sum) {
  printf("saved %.1f MB, said %.1f watching and %.1f acting\n", sum->saved / 1e6,
         sum->watching / 1e6, sum->acting / 1e6);
  CHECK(fabs(sum->watching / sum->saved - 1) <= 0.15);
  CHECK(fabs(sum->acting / sum->saved - 1) <= 0.15);
}

static void name_places(void) {
  for (uint32_t i = 0; i < PLACES; i++) {
    g_sites[i] = (hak_site_t){"programs.c", 1 + i, NULL, {0}};
  }
}

static void usual_options(void) {
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, USUAL_MEAN), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
}

static void kinds__save_what_was_said(void **state) {
  (void)state;
  size_t rounds = test_scale(1);
  shadow_t all = {0, 0, 0};
  name_places();
  for (size_t i = 0; i < rounds * TEST_COUNT(g_kinds); i++) {
    size_t number = i % TEST_COUNT(g_kinds);
    program_t p = kind(number);
    figures_t f[2] = {run(&p, i, 0), run(&p, i, 1)};
    add_shadow(&all, g_kinds[number].name, f);
  }
  usual_options();
  check_shadow(&all);
}

static size_t need_little_more(size_t programs, bool small) {
  size_t moved = 0;
  figures_t all[2] = {{.moves = 0}, {.moves = 0}};
  name_places();
  shadow_t shadow = {0, 0, 0};
  for (uint64_t number = FIRST; number < FIRST + programs; number++) {
    test_rng_t rng = test_rng(number, 1);
    program_t p = any_program(&rng);
    if (small) make_small(&p, &rng);
    figures_t f[2] = {run(&p, number, 0), run(&p, number, 1)};
    compare(number, &f[0], &f[1], 2 * p.waves);
    moved += f[1].moves > 0;
    add_shadow(&shadow, "generated", f);
    for (int learn = 0; learn < 2; learn++) {
      all[learn].sum += f[learn].sum;
      all[learn].calls += f[learn].calls;
      all[learn].peak += f[learn].peak;
    }
  }
  usual_options();
  printf("saved %.1f MB, said %.1f watching and %.1f acting\n", shadow.saved / 1e6,
         shadow.watching / 1e6, shadow.acting / 1e6);
  printf("%zu of %zu moved places; %.3f of the memory, %.3f of the calls\n", moved,
         programs, all[1].sum / all[0].sum, (double)all[1].calls / (double)all[0].calls);
  CHECK(all[1].sum <= 1.02 * all[0].sum && all[1].peak <= 1.03 * all[0].peak);
  CHECK((double)all[1].calls <= 1.25 * (double)all[0].calls);
  return moved;
}

static void programs__need_little_more_with_the_learner(void **state) {
  (void)state;
  CHECK(need_little_more(test_scale(8), false) > 0);
}

static void small_programs__need_little_more_with_the_learner(void **state) {
  (void)state;
  (void)need_little_more(test_scale(16), true);
}

TEST_MAIN_FRESH(T(kinds__save_what_was_said),
                T(programs__need_little_more_with_the_learner),
                T(small_programs__need_little_more_with_the_learner))
