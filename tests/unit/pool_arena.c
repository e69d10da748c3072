/* pool_arena.c - blocks out of one piece of memory, held against a shadow: contents,
 * bounds, sizes, counters. */
#include "strict_os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pool/arena.h"
#include "superslab/meta.h"
#include "superslab/registry.h"

static test_os_t g_os;
static int g_heap;

static int setup(void **state) {
  (void)state;
  test_os_open(&g_os, 0);
  return hak_registry_init(&g_os.hooks) ? 0 : -1;
}

static int teardown(void **state) {
  (void)state;
  hak_arenas_forget();
  hak_tracts_forget();
  hak_registry_release();
  hak_meta_release_all();
  test_os_close(&g_os);
  return 0;
}

static hak_arena_t *open_arena(char *memory, size_t size) {
  int error;
  hak_arena_t *arena = hak_arena_open(&g_os.hooks, memory, size, &error);
  CHECK(arena != NULL);
  CHECK_EQ(error, 0);
  hak_arena_mark(arena, &g_heap);
  CHECK(hak_arena_is_valid(arena));
  return arena;
}

static void open__refuses_what_is_too_small_or_wraps(void **state) {
  (void)state;
  int error;
  char *memory = malloc(MIB);
  CHECK(hak_arena_open(&g_os.hooks, memory, HAK_ARENA_MIN - 1, &error) == NULL);
  CHECK_EQ(error, EINVAL);
  CHECK(hak_arena_open(&g_os.hooks, memory, test_opaque(SIZE_MAX), &error) == NULL);
  CHECK_EQ(error, EINVAL);
  CHECK(hak_arena_open(&g_os.hooks, (void *)((uintptr_t)1 << 60), MIB, &error) == NULL);
  CHECK_EQ(error, EINVAL);
  free(memory);
}

static void open__keeps_within_the_memory_at_any_base(void **state) {
  (void)state;
  enum {
    GUARD = 64
  };
  char *memory = malloc(MIB + 2 * GUARD);
  for (size_t shift = 0; shift < GUARD; shift += 7) {
    size_t size = HAK_ARENA_MIN + shift * 13;
    memset(memory, 0x5a, MIB + 2 * GUARD);
    char *base = memory + GUARD + shift;
    hak_arena_t *arena = open_arena(base, size);
    size_t blocks = 0;
    for (char *block; (block = hak_arena_alloc(arena, 64, 1)) != NULL; blocks++) {
      CHECK(block >= base && block + 64 <= base + size);
      memset(block, 0xff, 64);
    }
    CHECK(blocks * 64 >= size * 97 / 100);
    for (char *at = memory; at < base; at++) CHECK_EQ(*at, 0x5a);
    for (char *at = base + size; at < memory + MIB; at++) CHECK_EQ(*at, 0x5a);
    CHECK(hak_arena_is_valid(arena));
    hak_arena_close(arena);
  }
  free(memory);
}

static void close__leaves_a_record_that_knows_no_block(void **state) {
  (void)state;
  char *memory =
      mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  hak_arena_t *arena = open_arena(memory, MIB);
  char *block = hak_arena_alloc(arena, 100, 1);
  CHECK_EQ(hak_registry_find((uintptr_t)block).cls, HAK_CLASS_TRACT);
  hak_arena_close(arena);
  munmap(memory, MIB);
  CHECK_EQ(hak_registry_find((uintptr_t)block).cls, HAK_CLASS_NONE);
  /* Who is late finds a closed arena and touches nothing. */
  CHECK(!hak_arena_free(arena, block));
  CHECK(hak_arena_alloc(arena, 100, 1) == NULL);
  CHECK_EQ(hak_arena_resize(arena, block, 10, 10), 0);
  hak_arena_clear(arena);
  CHECK(hak_arena_is_valid(arena));
  CHECK_EQ(hak_arena_live_blocks(arena), 0);
}

static void clear__makes_one_chunk_of_it(void **state) {
  (void)state;
  char *memory = malloc(MIB);
  hak_arena_t *arena = open_arena(memory, MIB);
  size_t first = 0, again = 0;
  while (hak_arena_alloc(arena, 1000, 1) != NULL) first++;
  hak_arena_clear(arena);
  CHECK_EQ(hak_arena_live_blocks(arena), 0);
  CHECK(hak_arena_is_valid(arena));
  while (hak_arena_alloc(arena, 1000, 1) != NULL) again++;
  CHECK_EQ(again, first);
  hak_arena_close(arena);
  free(memory);
}

/* ---- against a shadow ------------------------------------------------------ */

enum {
  BLOCKS = 600
};
static struct {
  char *at;
  size_t size;
} g_blocks[BLOCKS];

static void step(hak_arena_t *arena, test_rng_t *rng, size_t i, size_t most) {
  size_t size = test_random_size(rng, most);
  if (g_blocks[i].at == NULL) {
    size_t alignment = (size_t)1 << test_below(rng, test_below(rng, 4) == 0 ? 14 : 5);
    char *block = hak_arena_alloc(arena, size, alignment);
    if (block == NULL) return;
    CHECK_EQ((uintptr_t)block % alignment, 0);
    CHECK(hak_arena_usable(arena, block) >= size);
    CHECK(hak_arena_usable(arena, block) < size + 16 + (size == 0));
    g_blocks[i].at = block;
    g_blocks[i].size = size;
    test_fill(block, size, i);
    return;
  }
  char *block = g_blocks[i].at;
  CHECK(test_verify(block, g_blocks[i].size, i));
  hak_arena_chunk_t chunk;
  CHECK(hak_arena_chunk_at(arena, block + g_blocks[i].size / 2, &chunk));
  CHECK(chunk.used && chunk.start == block);
  CHECK_EQ(chunk.size, hak_arena_usable(arena, block));
  if (test_below(rng, 4) == 0) {
    size_t now = hak_arena_resize(arena, block, size, size + size / 2);
    if (now == 0) return;
    CHECK(now >= size && now < size + size / 2 + 16 + (size == 0));
    size_t kept = now < g_blocks[i].size ? now : g_blocks[i].size;
    CHECK(test_verify(block, kept, i));
    g_blocks[i].size = now;
    test_fill(block, now, i);
    return;
  }
  CHECK(hak_arena_free(arena, block));
  CHECK(!hak_arena_free(arena, block));
  CHECK_EQ(hak_arena_usable(arena, block), 0);
  g_blocks[i].at = NULL;
}

static void check_counters(hak_arena_t *arena) {
  uint64_t blocks = 0, bytes = 0;
  for (size_t i = 0; i < BLOCKS; i++) {
    if (g_blocks[i].at == NULL) continue;
    blocks++;
    bytes += hak_arena_usable(arena, g_blocks[i].at);
  }
  CHECK_EQ(hak_arena_live_blocks(arena), blocks);
  CHECK_EQ(hak_arena_live_bytes(arena), bytes);
  CHECK(hak_arena_is_valid(arena));
}

static void blocks__of_all_sizes_keep_their_contents(void **state) {
  (void)state;
  static const size_t sizes[] = {HAK_ARENA_MIN, MIB, 9 * MIB};
  static const size_t most[] = {2000, 100000, 3000000};
  test_rng_t rng = test_rng(test_seed(), 35);
  for (size_t s = 0; s < TEST_COUNT(sizes); s++) {
    char *memory = malloc(sizes[s]);
    hak_arena_t *arena = open_arena(memory, sizes[s]);
    memset(g_blocks, 0, sizeof g_blocks);
    for (size_t n = 0; n < test_scale(s == 2 ? 10000 : 60000); n++) {
      step(arena, &rng, (size_t)test_below(&rng, BLOCKS), most[s]);
      if (n % 1000 == 0) check_counters(arena);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
      if (g_blocks[i].at != NULL) CHECK(hak_arena_free(arena, g_blocks[i].at));
      g_blocks[i].at = NULL;
    }
    check_counters(arena);
    /* All of it is one chunk again. */
    CHECK(hak_arena_alloc(arena, sizes[s] * 96 / 100, 1) != NULL);
    hak_arena_close(arena);
    free(memory);
  }
}

static void free__of_what_is_no_block_changes_nothing(void **state) {
  (void)state;
  char *memory = malloc(MIB);
  hak_arena_t *arena = open_arena(memory, MIB);
  char *block = hak_arena_alloc(arena, 5000, 1);
  CHECK(!hak_arena_free(arena, block + 16) && !hak_arena_free(arena, block + 1));
  CHECK(!hak_arena_free(arena, memory) && !hak_arena_free(arena, memory + MIB));
  CHECK(!hak_arena_free(arena, block + 5008)); /* the free chunk behind it */
  CHECK(!hak_arena_free(arena, NULL));
  CHECK_EQ(hak_arena_live_blocks(arena), 1);
  CHECK(hak_arena_is_valid(arena));
  hak_arena_close(arena);
  free(memory);
}

#define ARENA_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

TEST_MAIN_FRESH(ARENA_TEST(open__refuses_what_is_too_small_or_wraps),
                ARENA_TEST(open__keeps_within_the_memory_at_any_base),
                ARENA_TEST(close__leaves_a_record_that_knows_no_block),
                ARENA_TEST(clear__makes_one_chunk_of_it),
                ARENA_TEST(blocks__of_all_sizes_keep_their_contents),
                ARENA_TEST(free__of_what_is_no_block_changes_nothing))
