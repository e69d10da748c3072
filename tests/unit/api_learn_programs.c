/* api_learn_programs.c - programs that nobody chose: places with lives of all kinds, in
 * waves, generated from numbers. With the learner none of them has much more memory in
 * use than without, at its peaks and in the mean, and all of them ask no more of the
 * system; and what it says to save is what is measured, for programs of one kind each and
 * for generated ones, whether it acts or only watches.
 *
 * With HAKMEM_TEST_FIGURES in the environment each program's figures are printed. */
#include "programs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
  MASS_OF_KIND = 100000, /* blocks of a wave */
  FIRST = 7 /* program: it moves places, so the shortest run has one that does */
};
#define PARTS ((double)(2 << 20)) /* bytes; see compare */

#define STAYS_FOR(waves) 1000, waves, 0
#define GOES 0, 0, 0
#define BRIEF 0, 0, 1000

/* Programs of one kind each; figures of a place are those of program_place_t. */
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

/* What a single program may have more of: a fifth at its peak and a tenth in the mean,
 * with what slabs take that are used in part, which in programs as small as these is not
 * little beside that. One in 25 has more than 3 in 100 at its peak. */
static void compare(uint64_t number, const program_figures_t *without,
                    const program_figures_t *with, uint32_t looks) {
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

static void add_shadow(shadow_t *sum, const char *name, const program_figures_t f[2]) {
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

static void kinds__save_what_was_said(void **state) {
  (void)state;
  size_t rounds = test_scale(1);
  shadow_t all = {0, 0, 0};
  programs_begin();
  for (size_t i = 0; i < rounds * TEST_COUNT(g_kinds); i++) {
    size_t number = i % TEST_COUNT(g_kinds);
    program_t p = kind(number);
    program_figures_t f[2] = {program_run(&p, i, 0), program_run(&p, i, 1)};
    add_shadow(&all, g_kinds[number].name, f);
  }
  programs_end();
  check_shadow(&all);
}

static size_t need_little_more(size_t programs, bool small) {
  size_t moved = 0;
  program_figures_t all[2] = {{.moves = 0}, {.moves = 0}};
  programs_begin();
  shadow_t shadow = {0, 0, 0};
  for (uint64_t number = FIRST; number < FIRST + programs; number++) {
    test_rng_t rng = test_rng(number, 1);
    program_t p = program_any(&rng);
    if (small) program_make_small(&p, &rng);
    program_figures_t f[2] = {program_run(&p, number, 0), program_run(&p, number, 1)};
    compare(number, &f[0], &f[1], 2 * p.waves);
    moved += f[1].moves > 0;
    add_shadow(&shadow, "generated", f);
    for (int learn = 0; learn < 2; learn++) {
      all[learn].sum += f[learn].sum;
      all[learn].calls += f[learn].calls;
      all[learn].peak += f[learn].peak;
    }
  }
  programs_end();
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
