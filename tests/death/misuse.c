/* misuse.c - 72 processes that misuse a block and go on: 12 kinds of misuse, 3
 * sizes, in a quiet and in a busy process.
 *
 * After the misuse each allocates and frees thousands of blocks, as programs do,
 * and looks for a live block that was given twice. The outcome:
 *
 *   named        aborted with one of the library's texts: what is wanted
 *   silent       nothing showed, and no block was given twice
 *   overlap      a block was given that lies in another one, and nothing showed
 *                to the end: what an interior pointer can do
 *   given twice  the same block was given to two owners: what must never be
 *   crash, hang  ended by a fault, or not at all
 *
 *   misuse [<kind> <size> <busy>]   runs one case and shows what it says
 */
#include "child.h"
#include "threads.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef TEST_CHECKS
#define TEST_CHECKS \
  1 /* HAKMEM_CHECKS of the library: 0 off, 1 default, 2 full, 3 hardened */
#endif

#define GIVEN_TWICE 70
#define OVERLAP 71
#define UNNAMED 72

typedef enum kind {
  DOUBLE_LOCAL,
  DOUBLE_LOCAL_OTHER_BETWEEN,
  DOUBLE_REMOTE,
  DOUBLE_REMOTE_LOCAL,
  DOUBLE_LOCAL_REMOTE,
  DOUBLE_TWO_THREADS,
  DOUBLE_ENDED_OWNER,
  DOUBLE_ENDED_OWNER_CHURN,
  INTERIOR_LOCAL,
  INTERIOR_REMOTE,
  WRITE_LOCAL,
  WRITE_REMOTE,
  KINDS
} kind_t;

static const char *const kind_names[KINDS] = {"double free, local",
                                              "double free, another free between",
                                              "double free, remote",
                                              "double free, remote then local",
                                              "double free, local then remote",
                                              "double free, by two other threads",
                                              "double free, owner ended",
                                              "double free, owner ended, churn",
                                              "interior pointer, local",
                                              "interior pointer, remote",
                                              "write after free, local",
                                              "write after free, remote"};

static const size_t sizes[] = {32, 1024, 32768};

typedef struct misuse {
  kind_t kind;
  size_t size;
  bool busy;
} misuse_t;

/* ---- Live blocks ------------------------------------------------------ */

#define MOST 20000

typedef struct live {
  char *address;
  size_t size;
} live_t;

static live_t g_live[2 * MOST];
static live_t g_sorted[2 * MOST];
static size_t g_count;

static int by_address(const void *a, const void *b) {
  const live_t *x = a, *y = b;
  return x->address < y->address ? -1 : x->address > y->address;
}

static bool g_overlap;

static void look_for_overlap(void) {
  memcpy(g_sorted, g_live, g_count * sizeof *g_live);
  qsort(g_sorted, g_count, sizeof *g_sorted, by_address);
  for (size_t i = 1; i < g_count; i++) {
    const live_t *a = &g_sorted[i - 1], *b = &g_sorted[i];
    if (a->address == b->address) {
      fprintf(stderr, "given twice: %p\n", (void *)b->address);
      fflush(NULL);
      _Exit(GIVEN_TWICE);
    }
    g_overlap |= a->address + a->size > b->address;
  }
}

static char *keep(size_t size) {
  char *block = hak_alloc(size);
  if (block != NULL) {
    /* As a program would: what lies under a block given twice is overwritten. */
    memset(block, 0x22, size < 64 ? size : 64);
    g_live[g_count++] = (live_t){block, size};
  }
  return block;
}

/* ---- What a busy process did before ----------------------------------- */

static void free_in_some_order(live_t *blocks, size_t count, unsigned order) {
  test_rng_t rng = test_rng(test_seed(), order);
  for (size_t i = 0; i < count; i++) {
    size_t at = order % 3 == 0 ? i : order % 3 == 1 ? count - 1 - i : i;
    if (order % 3 == 2) {
      size_t other = i + (size_t)test_below(&rng, count - i);
      live_t swap = blocks[i];
      blocks[i] = blocks[other];
      blocks[other] = swap;
    }
    hak_free(blocks[at].address);
  }
}

/* Waves of blocks, freed in bulk: slabs that are current, full, partly free and
 * empty; and some blocks that stay. */
static void churn(size_t size) {
  size_t wave = size > 4096 ? 600 : 4000;
  for (unsigned round = 0; round < 4; round++) {
    size_t start = g_count;
    for (size_t i = 0; i < wave; i++) {
      (void)keep(i % 16 == 15 ? size * 2 : size);
    }
    size_t stay = wave / 50;
    free_in_some_order(g_live + start + stay, wave - stay, round);
    g_count = start + stay;
  }
}

/* ---- The misuse ------------------------------------------------------- */

static void *free_thread(void *block) {
  hak_free(block);
  return NULL;
}

static void *free_twice_thread(void *block) {
  hak_free(block);
  hak_free(block);
  return NULL;
}

static void *alloc_thread(void *argument) {
  void **blocks = argument;
  size_t size = (size_t)blocks[0];
  for (size_t i = 0; i < 16; i++) {
    blocks[i] = hak_alloc(size);
  }
  return NULL;
}

static void commit(const misuse_t *m) {
  void *blocks[16];
  blocks[0] = (void *)m->size;
  if (m->kind == DOUBLE_ENDED_OWNER || m->kind == DOUBLE_ENDED_OWNER_CHURN) {
    test_thread_run(alloc_thread, blocks);
  } else {
    (void)alloc_thread(blocks);
  }
  for (size_t i = 0; i < 16; i++) {
    if (i != 7 && i != 9) {
      g_live[g_count++] = (live_t){blocks[i], m->size};
    }
  }
  char *victim = blocks[7], *other = blocks[9];
  size_t inside = m->size == 32 ? 16 : m->size / 2;
  switch (m->kind) {
    case DOUBLE_LOCAL:
      (void)free_twice_thread(victim);
      break;
    case DOUBLE_LOCAL_OTHER_BETWEEN:
      hak_free(victim);
      hak_free(other);
      hak_free(victim);
      return;
    case DOUBLE_REMOTE:
      test_thread_run(free_twice_thread, victim);
      break;
    case DOUBLE_REMOTE_LOCAL:
      test_thread_run(free_thread, victim);
      hak_free(victim);
      break;
    case DOUBLE_LOCAL_REMOTE:
      hak_free(victim);
      test_thread_run(free_thread, victim);
      break;
    case DOUBLE_TWO_THREADS:
      test_thread_run(free_thread, victim);
      test_thread_run(free_thread, victim);
      break;
    case DOUBLE_ENDED_OWNER_CHURN:
      churn(m->size);
      (void)free_twice_thread(victim);
      break;
    case DOUBLE_ENDED_OWNER:
      (void)free_twice_thread(victim);
      break;
    case INTERIOR_LOCAL:
      hak_free(victim + inside);
      break;
    case INTERIOR_REMOTE:
      test_thread_run(free_thread, victim + inside);
      break;
    case WRITE_LOCAL:
      hak_free(victim);
      memset(victim, 0x41, m->size);
      break;
    case WRITE_REMOTE:
      test_thread_run(free_thread, victim);
      memset(victim, 0x41, m->size);
      break;
    default:
      break;
  }
  if (m->kind == INTERIOR_LOCAL || m->kind == INTERIOR_REMOTE) {
    g_live[g_count++] = (live_t){victim, m->size};
  }
  g_live[g_count++] = (live_t){other, m->size};
}

static void *spill_thread(void *argument) {
  size_t size = *(size_t *)argument;
  char *blocks[300];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc(size);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    hak_free(blocks[i]);
  }
  return NULL;
}

/* 20,000 blocks more, in waves. */
static void go_on(size_t size) {
  size_t wave = size > 4096 ? 2000 : 5000, start = g_count;
  for (unsigned round = 0; round < 4; round++) {
    for (size_t i = 0; i < wave; i++) {
      (void)keep(i % 32 == 31 ? size * 2 : i % 32 == 15 ? size / 2 : size);
      if (i == 20 || i == 200) {
        look_for_overlap();
      }
    }
    look_for_overlap();
    free_in_some_order(g_live + start, g_count - start, round);
    g_count = start;
    if (round == 1) {
      test_thread_run(spill_thread, &size);
    }
  }
  hak_thread_idle();
  for (size_t i = 0; i < wave; i++) {
    (void)keep(size);
  }
  look_for_overlap();
}

static int misuse_child(void *ctx) {
  const misuse_t *m = ctx;
  test_start();
  hak_set_error_handler(NULL, NULL);
  if (m->busy) {
    churn(m->size);
  }
  commit(m);
  go_on(m->size);
  return g_overlap ? OVERLAP : 0;
}

/* The same in a program whose handler returns: the call that found the misuse is
 * dropped, and the program goes on. */
static int survivor_child(void *ctx) {
  const misuse_t *m = ctx;
  test_start();
  test_reports_begin();
  if (m->busy) {
    churn(m->size);
  }
  commit(m);
  go_on(m->size);
  return g_overlap ? OVERLAP : g_reports.count > 0 ? 0 : UNNAMED;
}

/* ---- Outcomes --------------------------------------------------------- */

typedef enum outcome {
  NAMED,
  SILENT,
  OVERLAPS,
  TWICE,
  CRASH,
  HANG,
  OUTCOMES
} outcome_t;

static const char *const outcome_names[OUTCOMES] = {"named",       "silent", "overlap",
                                                    "GIVEN TWICE", "CRASH",  "HANG"};

static const hak_error_t fitting[] = {HAK_ERROR_DOUBLE_FREE, HAK_ERROR_FOREIGN_POINTER,
                                      HAK_ERROR_INTERIOR_POINTER,
                                      HAK_ERROR_CORRUPT_BLOCK};

static outcome_t judge(const test_child_t *child) {
  if (child->timed_out) {
    return HANG;
  }
  for (size_t i = 0; child->signal == SIGABRT && i < TEST_COUNT(fitting); i++) {
    char text[64];
    snprintf(text, sizeof text, "hakmem: %s: address 0x", hak_error_text(fitting[i]));
    if (strstr(child->output, text) != NULL) {
      return NAMED;
    }
  }
  if (child->signal == 0 && child->status == GIVEN_TWICE) {
    return TWICE;
  }
  if (child->signal == 0 && child->status == OVERLAP) {
    return OVERLAPS;
  }
  return child->signal == 0 && child->status == 0 ? SILENT : CRASH;
}

/* Shown below the table. */
static char g_crashes[16384];

static void note_crash(const misuse_t *m, const test_child_t *child) {
  size_t used = strlen(g_crashes);
  snprintf(g_crashes + used, sizeof g_crashes - used,
           "crash: %s, %zu, %s: signal %d, status %d, said: %.200s\n",
           kind_names[m->kind], m->size, m->busy ? "busy" : "quiet", child->signal,
           child->status, child->output);
}

static void misuse__is_named_never_hangs_and_never_gives_a_block_twice(void **state) {
  (void)state;
  unsigned counts[OUTCOMES] = {0};
  printf("%-36s %14s %14s %14s   (quiet/busy)\n", "", "32", "1024", "32768");
  for (int kind = 0; kind < KINDS; kind++) {
    printf("%-36s", kind_names[kind]);
    for (size_t s = 0; s < TEST_COUNT(sizes); s++) {
      char cell[64] = "";
      for (int busy = 0; busy < 2; busy++) {
        misuse_t m = {(kind_t)kind, sizes[s], busy != 0};
        test_child_t child = test_child_run(misuse_child, &m, 10);
        outcome_t outcome = judge(&child);
        counts[outcome]++;
        snprintf(cell + strlen(cell), sizeof cell - strlen(cell), "%s%s", busy ? "/" : "",
                 outcome_names[outcome]);
        if (outcome == CRASH) {
          note_crash(&m, &child);
        }
      }
      printf(" %14s", cell);
    }
    printf("\n");
  }
  for (int o = 0; o < OUTCOMES; o++) {
    printf("%s %u  ", outcome_names[o], counts[o]);
  }
  printf("\n%s", g_crashes);
  fflush(stdout);
  if (TEST_CHECKS >= 1) {
    CHECK_EQ(counts[HANG], 0);
    CHECK_EQ(counts[TWICE], 0);
    CHECK_MSG(counts[NAMED] >= (TEST_CHECKS >= 2 ? 72 : 60), "%u of 72 named",
              counts[NAMED]);
  }
}

static void misuse__reported_to_a_handler_that_returns_is_survived(void **state) {
  (void)state;
  unsigned unnamed = 0;
  for (int kind = 0; kind < KINDS; kind++) {
    for (size_t s = 0; s < TEST_COUNT(sizes); s++) {
      for (int busy = 0; busy < 2; busy++) {
        misuse_t m = {(kind_t)kind, sizes[s], busy != 0};
        test_child_t child = test_child_run(survivor_child, &m, 20);
        if (TEST_CHECKS == 0) {
          continue;
        }
        CHECK_MSG(!child.timed_out && child.signal == 0 && child.status != GIVEN_TWICE,
                  "%s, %zu, %s: %s, signal %d, status %d: %s", kind_names[kind], sizes[s],
                  busy ? "busy" : "quiet", child.timed_out ? "hangs" : "ended",
                  child.signal, child.status, child.output);
        unnamed += child.status == UNNAMED;
      }
    }
  }
  CHECK_MSG(TEST_CHECKS == 0 || unnamed <= (TEST_CHECKS >= 2 ? 0 : 12), "%u not named",
            unnamed);
}

static void the_aftermath__of_no_misuse_is_silent(void **state) {
  (void)state;
  for (size_t s = 0; s < TEST_COUNT(sizes); s++) {
    for (int busy = 0; busy < 2; busy++) {
      misuse_t m = {KINDS, sizes[s], busy != 0};
      test_child_t child = test_child_run(misuse_child, &m, 20);
      CHECK_MSG(judge(&child) == SILENT, "%s: %s", outcome_names[judge(&child)],
                child.output);
    }
  }
}

int main(int argc, char **argv) {
  test_begin();
  if (argc == 4) {
    misuse_t m = {(kind_t)atoi(argv[1]), (size_t)atol(argv[2]), atoi(argv[3]) != 0};
    return misuse_child(&m);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_aftermath__of_no_misuse_is_silent),
      cmocka_unit_test(misuse__is_named_never_hangs_and_never_gives_a_block_twice),
      cmocka_unit_test(misuse__reported_to_a_handler_that_returns_is_survived),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
