/* model.c - long random sequences of every operation, over heaps of every kind and with
 * threads that pass blocks on, against a map of what must be true; see
 * tests/support/shadow.h.
 *
 *   model [<seed> [<operations>]]
 *   model <seed> <episode> <numbers of operations>
 *
 * The work is cut into episodes. Each begins with the library not yet started, in a
 * child process, and ends with nothing left of it. The same seed gives the same
 * sequences. Of an episode that fails, by a check or a signal, operations are taken out
 * for as long as the rest still fails; then the command is printed that does just this
 * rest, in the process itself.
 */
#include "child.h"
#include "shadow.h"
#include "shrink.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
  TRIES = 300,  /* of making a sequence shorter */
  SECONDS = 60, /* at most, for all of them */
  ALL = SHADOW_THREAD | SHADOW_ALONE | SHADOW_EVERY_BYTE,
  HEAPS = ALL | SHADOW_HEAPS | SHADOW_THREADS | SHADOW_FORKS
};

static const struct kind {
  const char *name;
  unsigned flags;
  size_t max_blocks, max_size;
  bool limited; /* the default heap has a limit, which is met all the time */
  bool learns;
  int64_t guards; /* one block in so many; 0: none */
} kinds[] = {
    {"all tiers", ALL, 1500, 8 * MIB, false, false, 0},
    {"heaps", HEAPS, 2000, 2 * MIB, false, false, 0},
    {"small blocks", ALL | SHADOW_THREADS, 6000, 2048, false, false, 0},
    {"heaps, and options that change", HEAPS | SHADOW_OPTIONS, 1500, 4 * MIB, false,
     false, 0},
    {"a limit", ALL | SHADOW_MAY_FAIL | SHADOW_THREADS, 1500, 2 * MIB, true, false, 0},
    {"heaps of small blocks", HEAPS, 4000, 8 * KIB, false, false, 0},
    {"options that change", ALL | SHADOW_OPTIONS | SHADOW_FORKS, 1500, 4 * MIB, false,
     false, 0},
    {"places that are learned", HEAPS | SHADOW_OPTIONS, 3000, 256 * KIB, false, true, 0},
    {"guarded blocks", HEAPS, 1500, 128 * KIB, false, true, 5},
    {"guarded blocks, and a limit", ALL | SHADOW_MAY_FAIL | SHADOW_THREADS, 1500,
     128 * KIB, true, false, 1},
};

/* What a child says of itself, in memory that both have. */
static struct progress {
  volatile uint64_t at;
  uint64_t refused;
  uint64_t done[SHADOW_OPS];
} * g_progress;

typedef struct episode {
  uint64_t seed;
  unsigned number;
  const uint32_t *steps;
  size_t count;
  bool trace;
  double until; /* no tries after that */
} episode_t;

static uint64_t g_seed, g_operations;
static const char *g_program, *g_strict_text;

/* ---- One episode ------------------------------------------------------ */

/* Where time comes from the sequence, what depends on it replays. */
static uint64_t g_now_ns;
static uint64_t now_ns(void *ctx) {
  (void)ctx;
  g_now_ns += 20000;
  return g_now_ns;
}

static void start(unsigned number) {
  static hak_os_t os;
  os = *hak_os_default();
  os.now_ns = now_ns;
  hak_config_t config = {.struct_size = sizeof config,
                         .flags = HAK_INIT_NO_ENV,
                         .os = number % 2 == 0 ? &os : NULL};
  if (test_is_strict()) {
    test_restart();
  } else {
    CHECK_EQ(hak_init(&config), 0);
  }
}

static void limit_default(bool limited) {
  hak_stats_t stats = test_heap_stats(hak_heap_default());
  uint64_t limit = stats.committed_bytes + 12 * MIB;
  CHECK_EQ(hak_heap_set_limits(NULL, limited ? limit - 3 * MIB : 0, limited ? limit : 0),
           0);
}

static int run_episode(void *ctx) {
  const episode_t *episode = ctx;
  const struct kind *kind = &kinds[episode->number % TEST_COUNT(kinds)];
  static shadow_t shadow;
  start(episode->number);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, kind->learns), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_GUARD_SAMPLE, kind->guards), 0);
  limit_default(kind->limited);
  shadow_open(&shadow, episode->seed, kind->flags, kind->max_blocks);
  shadow.max_size = kind->max_size;
  shadow.at = &g_progress->at;
  shadow.trace = episode->trace;
  for (size_t i = 0; i < episode->count; i++) {
    shadow.operations = episode->steps[i];
    shadow_run(&shadow, 1);
  }
  limit_default(false);
  shadow_close(&shadow);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), shadow.base_blocks);
  CHECK_EQ(test_live_bytes(), shadow.base_bytes);
  CHECK_EQ(hak_shutdown(0), 0);
  g_progress->refused += shadow.refused;
  for (int op = 0; op < SHADOW_OPS; op++) {
    g_progress->done[op] += shadow.done[op];
  }
  return 0;
}

/* ---- Episodes that fail ----------------------------------------------- */

static bool has_failed(const test_child_t *child) {
  return child->timed_out || child->signal != 0 || child->status != 0;
}

static bool still_fails(const uint32_t *steps, size_t count, void *ctx) {
  episode_t part = *(episode_t *)ctx;
  part.steps = steps;
  part.count = count;
  if (test_seconds() > part.until) {
    return false;
  }
  test_child_t child = test_child_run(run_episode, &part, 60);
  return has_failed(&child);
}

static void explain(const episode_t *episode, uint32_t *steps,
                    const test_child_t *child) {
  char text[4096];
  /* What came after the failure played no part, unless it failed at the very end. */
  size_t count =
      (size_t)g_progress->at < episode->count ? (size_t)g_progress->at : episode->count;
  fprintf(stderr, "episode %u (%s) fails, %s signal %d, at operation %zu: %s\n",
          episode->number, kinds[episode->number % TEST_COUNT(kinds)].name,
          child->timed_out ? "hangs," : "", child->signal, count, child->output);
  episode_t timed = *episode;
  timed.until = test_seconds() + SECONDS;
  if (!still_fails(steps, count, &timed)) {
    count = episode->count;
  }
  count = shrink(steps, count, still_fails, &timed, TRIES);
  shrink_print(steps, count, text, sizeof text);
  const char *strict = g_strict_text == NULL ? "" : g_strict_text;
  fprintf(stderr,
          "%zu operations are left of it; replay with: %s%s%s%s 0x%" PRIx64 " %u %s\n",
          count, strict[0] == '\0' ? "" : "HAKMEM_TEST_STRICT=", strict,
          strict[0] == '\0' ? "" : " ", g_program, episode->seed, episode->number, text);
}

/* ---- Tests ------------------------------------------------------------ */

static uint64_t episode_seed(unsigned number) {
  test_rng_t rng = test_rng(g_seed, number);
  return test_random(&rng);
}

static void model__every_answer_is_what_the_map_says(void **state) {
  (void)state;
  uint64_t length = g_operations / 40;
  length = length < 20000 ? 20000 : length > 1000000 ? 1000000 : length;
  uint32_t *steps = malloc((size_t)length * sizeof *steps);
  CHECK(steps != NULL);
  unsigned number = 0;
  for (uint64_t left = g_operations; left > 0; number++) {
    episode_t episode = {episode_seed(number),
                         number,
                         steps,
                         (size_t)(left < length ? left : length),
                         false,
                         0};
    for (size_t i = 0; i < episode.count; i++) {
      steps[i] = (uint32_t)i;
    }
    test_child_t child = test_child_run(run_episode, &episode, 600);
    fprintf(stderr, "  episode %u (%s)\n", number,
            kinds[number % TEST_COUNT(kinds)].name);
    if (has_failed(&child)) {
      explain(&episode, steps, &child);
      CHECK(!"an episode fails");
    }
    left -= episode.count;
  }
  free(steps);
  unsigned done = 0;
  for (int op = 0; op < SHADOW_OPS; op++) {
    done += g_progress->done[op] > 0;
  }
  printf("  %" PRIu64 " operations of %u kinds in %u episodes, %" PRIu64 " refused\n",
         g_operations, done, number, g_progress->refused);
  CHECK(g_operations < 200000 || done == SHADOW_OPS);
  CHECK(g_progress->refused <= g_operations / 5);
}

static bool has_both(const uint32_t *steps, size_t count, void *ctx) {
  unsigned found = 0;
  ++*(unsigned *)ctx;
  for (size_t i = 0; i < count; i++) {
    found += steps[i] == 17 || steps[i] == 30303;
  }
  return found == 2;
}

static void shrink__leaves_what_the_failure_needs(void **state) {
  (void)state;
  static uint32_t steps[50000];
  char text[64];
  unsigned tries = 0;
  for (uint32_t i = 0; i < 50000; i++) {
    steps[i] = i;
  }
  CHECK_EQ(shrink(steps, 50000, has_both, &tries, TRIES), 2);
  CHECK(tries < 100);
  shrink_print(steps, 2, text, sizeof text);
  CHECK(strcmp(text, "17,30303") == 0);
}

static void shrink__reads_what_it_prints(void **state) {
  (void)state;
  static const uint32_t steps[] = {0, 1, 2, 7, 9, 10};
  uint32_t read[8];
  char text[64];
  shrink_print(steps, TEST_COUNT(steps), text, sizeof text);
  CHECK(strcmp(text, "0-2,7,9-10") == 0);
  CHECK_EQ(shrink_parse(text, read, TEST_COUNT(read)), TEST_COUNT(steps));
  CHECK(memcmp(steps, read, sizeof steps) == 0);
  CHECK_EQ(shrink_parse("1,,2", read, TEST_COUNT(read)), 0);
}

static int replay(char **argv) {
  static uint32_t steps[1000000];
  episode_t episode = {strtoull(argv[1], NULL, 0),
                       (unsigned)atoi(argv[2]),
                       steps,
                       shrink_parse(argv[3], steps, TEST_COUNT(steps)),
                       true,
                       0};
  return episode.count == 0 ? 2 : run_episode(&episode);
}

int main(int argc, char **argv) {
  g_strict_text = getenv("HAKMEM_TEST_STRICT");
  g_strict_text = g_strict_text == NULL ? NULL : strdup(g_strict_text);
  test_begin();
  g_program = argv[0];
  g_progress = mmap(NULL, sizeof *g_progress, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(g_progress != MAP_FAILED);
  if (argc > 3) {
    return replay(argv);
  }
  g_seed = argc > 1 ? strtoull(argv[1], NULL, 0) : test_seed();
  g_operations = argc > 2 ? strtoull(argv[2], NULL, 0) : test_scale(320000);
  fprintf(stderr, "replay with: %s 0x%" PRIx64 " %" PRIu64 "\n", g_program, g_seed,
          g_operations);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(shrink__leaves_what_the_failure_needs),
      cmocka_unit_test(shrink__reads_what_it_prints),
      cmocka_unit_test(model__every_answer_is_what_the_map_says),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
