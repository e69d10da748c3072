/* header_misuse.c - misuse of heaps at random amid proper use: each is named or refused
 * as hakmem.h says, and nothing of what is alive is touched by it.
 *
 *   header_misuse [<rounds>]   100 misuses a round */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
  HEAPS = 12,
  GONE = 64,
  BLOCKS = 300,
  MISUSES = 100
};

typedef struct block {
  unsigned char *at;
  size_t size;
  uint64_t tag;
  int heap;
} block_t;

static test_rng_t g_rng;
static hak_heap_t *g_heaps[HEAPS]; /* NULL where there is none now */
static int g_parent[HEAPS];        /* -1 = none */
static hak_heap_t *g_gone[GONE];
static size_t g_ended; /* heaps that are gone, so far */
static block_t g_blocks[BLOCKS];
static uint64_t g_tag;
static unsigned g_rounds;

static size_t below(size_t limit) { return (size_t)test_below(&g_rng, limit); }

static hak_heap_t *a_gone(void) { return g_gone[below(g_ended < GONE ? g_ended : GONE)]; }

static int a_live(void) {
  for (;;) {
    int i = (int)below(HEAPS);
    if (g_heaps[i] != NULL) return i;
  }
}

static bool has_children(int heap) {
  for (int i = 0; i < HEAPS; i++) {
    if (g_heaps[i] != NULL && g_parent[i] == heap) return true;
  }
  return false;
}

static block_t *a_block(void) {
  for (int tries = 0; tries < 1000; tries++) {
    block_t *block = &g_blocks[below(BLOCKS)];
    if (block->at != NULL) return block;
  }
  return NULL;
}

/* ---- Proper use -------------------------------------------------------- */

static void put(block_t *block, int heap) {
  block->size = test_random_size(&g_rng, 200000);
  block->at = hak_heap_alloc(g_heaps[heap], block->size);
  CHECK(block->at != NULL);
  block->tag = ++g_tag;
  block->heap = heap;
  test_fill_sparse(block->at, block->size, block->tag);
}

static void take(block_t *block) {
  CHECK(test_verify_sparse(block->at, block->size, block->tag));
  if (below(2) == 0) {
    hak_free(block->at);
  } else {
    hak_heap_free(g_heaps[block->heap], block->at);
  }
  block->at = NULL;
}

static void make(int heap) {
  int parent = (int)below(HEAPS);
  bool below_one = g_heaps[parent] != NULL && below(2) == 0;
  hak_heap_config_t config = {.struct_size = sizeof config,
                              .parent = below_one ? g_heaps[parent] : NULL};
  g_heaps[heap] = hak_heap_create(&config);
  CHECK(g_heaps[heap] != NULL);
  g_parent[heap] = below_one ? parent : -1;
}

static void forget_blocks_of(int heap) {
  for (size_t i = 0; i < BLOCKS; i++) {
    if (g_blocks[i].heap == heap) g_blocks[i].at = NULL;
  }
}

/* No block is asked for meanwhile, so a late free finds its address empty. */
static void end(int heap) {
  block_t *late = a_block();
  unsigned char *address = late != NULL && late->heap == heap ? late->at : NULL;
  CHECK_EQ(hak_heap_destroy(g_heaps[heap]), 0);
  if (address != NULL) {
    unsigned count = g_reports.count;
    hak_free(address);
    CHECK_EQ(g_reports.count, count + 1);
    CHECK(g_reports.last.error == HAK_ERROR_DOUBLE_FREE ||
          g_reports.last.error == HAK_ERROR_FOREIGN_POINTER);
  }
  forget_blocks_of(heap);
  g_gone[g_ended++ % GONE] = g_heaps[heap];
  g_heaps[heap] = NULL;
}

static void use(void) {
  for (int i = 0; i < 40; i++) {
    block_t *block = &g_blocks[below(BLOCKS)];
    if (block->at == NULL) {
      put(block, a_live());
    } else {
      take(block);
    }
  }
  int heap = (int)below(HEAPS);
  if (g_heaps[heap] == NULL) {
    make(heap);
  } else if (heap != 0 && !has_children(heap)) {
    end(heap);
  }
}

/* ---- Misuse ------------------------------------------------------------ */

static void expect(unsigned before, hak_error_t error) {
  CHECK_EQ(g_reports.count, before + 1);
  CHECK_MSG(g_reports.last.error == error, "reported as '%s', not '%s'",
            hak_error_text(g_reports.last.error), hak_error_text(error));
}

#define STALE(call)                           \
  do {                                        \
    unsigned before_ = g_reports.count;       \
    errno = 0;                                \
    CHECK((call) == NULL && errno == EINVAL); \
    expect(before_, HAK_ERROR_STALE_HEAP);    \
  } while (0)

static void ask_the_gone(void) {
  hak_heap_t *gone = a_gone();
  size_t size = test_random_size(&g_rng, 3 << 20);
  switch (below(6)) {
    case 0:
      STALE(hak_heap_alloc(gone, size));
      break;
    case 1:
      STALE(hak_heap_calloc(gone, 1, size));
      break;
    case 2:
      STALE(hak_heap_realloc(gone, NULL, size));
      break;
    case 3:
      STALE(hak_heap_aligned_alloc(gone, 64, size));
      break;
    case 4:
      STALE(hak_allocx(gone, size, 0, HAK_ZERO, NULL));
      break;
    default:
      STALE(hak_reallocx(gone, NULL, size, 32, 0, NULL));
  }
}

static void end_what_cannot_end(void) {
  unsigned before = g_reports.count;
  hak_heap_t *gone = a_gone();
  CHECK_EQ(hak_heap_destroy(gone), EINVAL);
  CHECK_EQ(hak_heap_release(gone), EINVAL);
  CHECK_EQ(hak_heap_reset(gone), EINVAL);
  CHECK_EQ(hak_heap_destroy(hak_heap_default()), EINVAL);
  CHECK_EQ(hak_heap_release(hak_heap_default()), EINVAL);
  CHECK_EQ(hak_heap_reset(hak_heap_default()), EINVAL);
  int heap = a_live();
  if (has_children(heap)) {
    CHECK_EQ(hak_heap_destroy(g_heaps[heap]), EBUSY);
    CHECK_EQ(hak_heap_release(g_heaps[heap]), EBUSY);
  }
  CHECK_EQ(g_reports.count, before);
}

static void free_wrongly(void) {
  block_t *block = a_block();
  if (block == NULL) return;
  unsigned before = g_reports.count;
  int other = a_live();
  int local;
  switch (below(5)) {
    case 0:
      hak_heap_free(a_gone(), block->at);
      expect(before, HAK_ERROR_STALE_HEAP);
      break;
    case 1:
      if (other == block->heap) break;
      hak_heap_free(g_heaps[other], block->at);
      expect(before, HAK_ERROR_WRONG_HEAP);
      break;
    case 2:
      hak_heap_free(NULL, block->at);
      expect(before, HAK_ERROR_WRONG_HEAP);
      break;
    case 3:
      hak_heap_free(g_heaps[other], &local);
      expect(before, HAK_ERROR_FOREIGN_POINTER);
      break;
    default:
      hak_free_sized(block->at, hak_usable_size(block->at) + 1 + below(5000));
      expect(before, HAK_ERROR_WRONG_SIZE);
  }
  CHECK(test_verify_sparse(block->at, block->size, block->tag));
}

static void make_wrongly(void) {
  hak_heap_config_t config = {.struct_size = sizeof config};
  switch (below(3)) {
    case 0:
      config.parent = a_gone();
      break;
    case 1:
      config.struct_size = (uint32_t)below(8);
      break;
    default:
      config.flags = 1u << 31;
  }
  errno = 0;
  CHECK(hak_heap_create(&config) == NULL);
  CHECK_EQ(errno, EINVAL);
}

static void misuse__at_random_is_named_and_hurts_nothing_alive(void **state) {
  (void)state;
  test_print_seed();
  test_reports_begin();
  static void (*const misuses[])(void) = {ask_the_gone, end_what_cannot_end, free_wrongly,
                                          make_wrongly};
  for (unsigned round = 0; round < g_rounds; round++) {
    g_rng = test_rng(test_seed(), round);
    for (int i = 0; i < HEAPS; i++) {
      if (g_heaps[i] == NULL) make(i);
    }
    for (int i = HEAPS - 1; i > 0; i--) {
      if (!has_children(i)) end(i);
    }
    for (int i = 0; i < MISUSES; i++) {
      use();
      misuses[below(TEST_COUNT(misuses))]();
    }
    uint64_t live = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
      if (g_blocks[i].at == NULL) continue;
      live++;
      CHECK(hak_heap_of(g_blocks[i].at) == g_heaps[g_blocks[i].heap]);
    }
    CHECK_EQ(test_live_blocks(), live);
    unsigned before = g_reports.count;
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(g_reports.count, before);
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    if (g_blocks[i].at != NULL) take(&g_blocks[i]);
  }
  CHECK_EQ(test_live_blocks(), 0);
  CHECK(g_reports.count > g_rounds * MISUSES / 4);
  hak_set_error_handler(NULL, NULL);
}

int main(int argc, char **argv) {
  test_begin();
  g_rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : (unsigned)test_scale(50);
  test_start();
  const struct CMUnitTest tests[] = {
      T(misuse__at_random_is_named_and_hurts_nothing_alive)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
