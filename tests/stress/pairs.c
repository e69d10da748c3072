/* pairs.c - every function that walks or ends something, beside threads at work on the
 * same heap and on others, for heaps of every kind.
 *
 * A pair is an actor (see pairs_walk.c, pairs_end.c) and the kind of its target. Each
 * runs in a process of its own, for a moment by default and for longer every night:
 * threads allocate, verify, resize, hand on and free blocks of all tiers in the target
 * and in heaps of all other kinds, while the actor does its part. Where the contract
 * demands a quiet heap threads keep off the target at that moment, with all that they
 * have cached of it, and work on the others. In the end contents, owners, counts and
 * budgets are right, nothing is charged, and nothing was reported.
 *
 *   pairs [<milliseconds of each pair>]
 *
 * Pairs run in an order that depends on the seed; what is random in one depends on the
 * seed and its name only, so HAKMEM_TEST_ONLY replays it.
 */
#include "pairs.h"
#include "child.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
  ACTORS_MAX = 40,
  NAME_SIZE = 96,
  CHILD_SECONDS = 60 /* the machine may be busy with other tests */
};

typedef struct cell {
  const actor_t *actor;
  kind_t kind;
  char name[NAME_SIZE];
  bool ran, held;
} cell_t;

/* What a pair's process says of itself. */
typedef struct note {
  unsigned rounds;
  unsigned long long steps;
} note_t;

static double g_seconds;
static const char *g_argument; /* as given, for the replay */
static cell_t g_cells[ACTORS_MAX * KINDS];
static struct CMUnitTest g_tests[ACTORS_MAX * KINDS + 1];
static size_t g_count;
static note_t *g_notes;
static pair_t g_pair;

static uint64_t hash(const char *name) {
  uint64_t sum = 0xcbf29ce484222325u;
  for (; *name != '\0'; name++) sum = (sum ^ (unsigned char)*name) * 0x100000001b3u;
  return sum;
}

static int run_cell(void *ctx) {
  const cell_t *cell = ctx;
  g_pair.actor = cell->actor;
  g_pair.kind = cell->kind;
  g_pair.seed = test_seed() ^ hash(cell->name);
  g_pair.seconds = g_seconds;
  int status =
      (cell->actor->flags & ACTOR_ALONE) != 0 ? restart_run(&g_pair) : pair_run(&g_pair);
  note_t *note = &g_notes[cell - g_cells];
  note->rounds = g_pair.rounds;
  note->steps = atomic_load(&g_pair.steps);
  return status;
}

static void pair__holds(void **state) {
  cell_t *cell = *state;
  cell->ran = true;
  test_replay(cell->name, g_argument);
  test_child_must_succeed(run_cell, cell, CHILD_SECONDS + 10 * g_seconds);
  cell->held = true;
}

static void budgets__are_whole_after_races_for_the_last_blocks(void **state) {
  (void)state;
  test_replay(__func__, g_argument);
  test_child_must_succeed(orphans_run, &g_seconds, CHILD_SECONDS + 100 * g_seconds);
}

static void add_actor(const actor_t *actor) {
  for (size_t kind = 0; kind < KINDS; kind++) {
    if ((actor->kinds & KIND_BIT(kind)) == 0) continue;
    cell_t *cell = &g_cells[g_count];
    cell->actor = actor;
    cell->kind = (kind_t)kind;
    snprintf(cell->name, sizeof cell->name, "%s__holds_beside_threads_at_work_on_%s",
             actor->name, kind_names[kind]);
    g_tests[g_count++] = (struct CMUnitTest){
        .name = cell->name, .test_func = pair__holds, .initial_state = cell};
  }
}

static void shuffle(void) {
  test_rng_t rng = test_rng(test_seed(), 0);
  for (size_t i = g_count; i > 1; i--) {
    size_t k = (size_t)test_below(&rng, i);
    struct CMUnitTest test = g_tests[i - 1];
    g_tests[i - 1] = g_tests[k];
    g_tests[k] = test;
  }
}

/* One row for each actor, rounds of each kind; 'FAILED' where one did not hold. */
static void print_table(void) {
  fprintf(stderr, "%-20s", "rounds beside");
  for (size_t kind = 0; kind < KINDS; kind++) fprintf(stderr, " %9s", kind_names[kind]);
  const actor_t *last = NULL;
  unsigned long long steps = 0;
  size_t next = 0;
  for (size_t i = 0; i < g_count; i++) {
    const cell_t *cell = &g_cells[i];
    if (cell->actor != last) {
      fprintf(stderr, "\n%-20s", cell->actor->name);
      last = cell->actor;
      next = 0;
    }
    for (; next < cell->kind; next++) fprintf(stderr, " %9s", "");
    next = (size_t)cell->kind + 1;
    if (!cell->ran) {
      fprintf(stderr, " %9s", "-");
    } else if (!cell->held) {
      fprintf(stderr, " %9s", "FAILED");
    } else {
      fprintf(stderr, " %9u", g_notes[i].rounds);
    }
    steps += g_notes[i].steps;
  }
  fprintf(stderr, "\n%llu steps of threads at work\n", steps);
}

int main(int argc, char **argv) {
  test_begin();
  double usual = (double)test_scale(6000) * (TEST_TSAN ? 5 : 1) / 1e5;
  g_argument = argc > 1 ? argv[1] : NULL;
  g_seconds = argc > 1 ? strtod(argv[1], NULL) / 1e3 : usual;
  g_notes = mmap(NULL, sizeof *g_notes * TEST_COUNT(g_cells), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(g_notes != MAP_FAILED);
  test_print_seed();
  for (size_t i = 0; i < walk_actor_count; i++) add_actor(&walk_actors[i]);
  for (size_t i = 0; i < end_actor_count; i++) add_actor(&end_actors[i]);
  shuffle();
  g_tests[g_count] =
      (struct CMUnitTest)T(budgets__are_whole_after_races_for_the_last_blocks);
  int failed = _cmocka_run_group_tests("pairs", g_tests, g_count + 1, NULL, NULL);
  print_table();
  return failed;
}
