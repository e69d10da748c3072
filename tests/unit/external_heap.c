/* external_heap.c - blocks out of one piece of memory, held against a shadow: contents,
 * bounds, sizes, counters. */
#include "registry_fixture.h"
#include "threads.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/wait.h"
#include "external/external_heap.h"
#include "pages/meta.h"
#include "pages/registry.h"
#include "superslab/locate.h"

static int g_heap;

static int teardown(void **state) {
  hak_externals_stop();
  return test_registry_teardown(state);
}

static hak_external_heap_t *open_external(char *memory, size_t size) {
  int error;
  hak_external_heap_t *external = hak_external_open(&g_os.hooks, memory, size, &error);
  CHECK(external != NULL);
  CHECK_EQ(error, 0);
  hak_external_set_heap(external, &g_heap);
  CHECK(hak_external_is_valid(external));
  return external;
}

static void open__refuses_what_is_too_small_or_wraps(void **state) {
  (void)state;
  int error;
  char *memory = malloc(MIB);
  CHECK(hak_external_open(&g_os.hooks, memory, HAK_EXTERNAL_MIN - 1, &error) == NULL);
  CHECK_EQ(error, EINVAL);
  CHECK(hak_external_open(&g_os.hooks, memory, test_opaque(SIZE_MAX), &error) == NULL);
  CHECK_EQ(error, EINVAL);
  CHECK(hak_external_open(&g_os.hooks, (void *)((uintptr_t)1 << 60), MIB, &error) ==
        NULL);
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
    size_t size = HAK_EXTERNAL_MIN + shift * 13;
    memset(memory, 0x5a, MIB + 2 * GUARD);
    char *base = memory + GUARD + shift;
    hak_external_heap_t *external = open_external(base, size);
    size_t blocks = 0;
    for (char *block; (block = hak_external_alloc(external, 64, 1)) != NULL; blocks++) {
      CHECK(block >= base && block + 64 <= base + size);
      memset(block, 0xff, 64);
    }
    CHECK(blocks * 64 >= size * 97 / 100);
    for (char *at = memory; at < base; at++) CHECK_EQ(*at, 0x5a);
    for (char *at = base + size; at < memory + MIB; at++) CHECK_EQ(*at, 0x5a);
    CHECK(hak_external_is_valid(external));
    hak_external_close(external);
  }
  free(memory);
}

static void close__leaves_a_record_that_knows_no_block(void **state) {
  (void)state;
  char *memory =
      mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  hak_external_heap_t *external = open_external(memory, MIB);
  char *block = hak_external_alloc(external, 100, 1);
  CHECK_EQ(hak_locate((uintptr_t)block).cls, HAK_CLASS_EXTERNAL);
  hak_external_close(external);
  munmap(memory, MIB);
  CHECK_EQ(hak_locate((uintptr_t)block).cls, HAK_CLASS_NONE);
  /* Who is late finds a closed external heap and touches nothing. */
  CHECK(!hak_external_free(external, block));
  CHECK(hak_external_alloc(external, 100, 1) == NULL);
  CHECK_EQ(hak_external_resize(external, block, 10, 10), 0);
  hak_external_clear(external);
  CHECK(hak_external_is_valid(external));
  CHECK_EQ(hak_external_live_blocks(external), 0);
}

static void clear__makes_one_chunk_of_it(void **state) {
  (void)state;
  char *memory = malloc(MIB);
  hak_external_heap_t *external = open_external(memory, MIB);
  size_t first = 0, again = 0;
  while (hak_external_alloc(external, 1000, 1) != NULL) first++;
  hak_external_clear(external);
  CHECK_EQ(hak_external_live_blocks(external), 0);
  CHECK(hak_external_is_valid(external));
  while (hak_external_alloc(external, 1000, 1) != NULL) again++;
  CHECK_EQ(again, first);
  hak_external_close(external);
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

static void step(hak_external_heap_t *external, test_rng_t *rng, size_t i, size_t most) {
  size_t size = test_random_size(rng, most);
  if (g_blocks[i].at == NULL) {
    size_t alignment = (size_t)1 << test_below(rng, test_below(rng, 4) == 0 ? 14 : 5);
    char *block = hak_external_alloc(external, size, alignment);
    if (block == NULL) return;
    CHECK_EQ((uintptr_t)block % alignment, 0);
    CHECK(hak_external_usable(external, block) >= size);
    CHECK(hak_external_usable(external, block) < size + 16 + (size == 0));
    g_blocks[i].at = block;
    g_blocks[i].size = size;
    test_fill(block, size, i);
    return;
  }
  char *block = g_blocks[i].at;
  CHECK(test_verify(block, g_blocks[i].size, i));
  hak_external_chunk_t chunk;
  CHECK(hak_external_chunk_at(external, block + g_blocks[i].size / 2, &chunk));
  CHECK(chunk.used && chunk.start == block);
  CHECK_EQ(chunk.size, hak_external_usable(external, block));
  if (test_below(rng, 4) == 0) {
    size_t now = hak_external_resize(external, block, size, size + size / 2);
    if (now == 0) return;
    CHECK(now >= size && now < size + size / 2 + 16 + (size == 0));
    size_t kept = now < g_blocks[i].size ? now : g_blocks[i].size;
    CHECK(test_verify(block, kept, i));
    g_blocks[i].size = now;
    test_fill(block, now, i);
    return;
  }
  CHECK(hak_external_free(external, block));
  CHECK(!hak_external_free(external, block));
  CHECK_EQ(hak_external_usable(external, block), 0);
  g_blocks[i].at = NULL;
}

static void check_counters(hak_external_heap_t *external) {
  uint64_t blocks = 0, bytes = 0;
  for (size_t i = 0; i < BLOCKS; i++) {
    if (g_blocks[i].at == NULL) continue;
    blocks++;
    bytes += hak_external_usable(external, g_blocks[i].at);
  }
  CHECK_EQ(hak_external_live_blocks(external), blocks);
  CHECK_EQ(hak_external_live_bytes(external), bytes);
  CHECK(hak_external_is_valid(external));
}

static void blocks__of_all_sizes_keep_their_contents(void **state) {
  (void)state;
  static const size_t sizes[] = {HAK_EXTERNAL_MIN, MIB, 9 * MIB};
  static const size_t most[] = {2000, 100000, 3000000};
  test_rng_t rng = test_rng(test_seed(), 35);
  for (size_t s = 0; s < TEST_COUNT(sizes); s++) {
    char *memory = malloc(sizes[s]);
    hak_external_heap_t *external = open_external(memory, sizes[s]);
    memset(g_blocks, 0, sizeof g_blocks);
    for (size_t n = 0; n < test_scale(s == 2 ? 10000 : 60000); n++) {
      step(external, &rng, (size_t)test_below(&rng, BLOCKS), most[s]);
      if (n % 1000 == 0) check_counters(external);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
      if (g_blocks[i].at != NULL) CHECK(hak_external_free(external, g_blocks[i].at));
      g_blocks[i].at = NULL;
    }
    check_counters(external);
    /* All of it is one chunk again. */
    CHECK(hak_external_alloc(external, sizes[s] * 96 / 100, 1) != NULL);
    hak_external_close(external);
    free(memory);
  }
}

static void free__of_what_is_no_block_changes_nothing(void **state) {
  (void)state;
  char *memory = malloc(MIB);
  hak_external_heap_t *external = open_external(memory, MIB);
  char *block = hak_external_alloc(external, 5000, 1);
  CHECK(!hak_external_free(external, block + 16) &&
        !hak_external_free(external, block + 1));
  CHECK(!hak_external_free(external, memory) &&
        !hak_external_free(external, memory + MIB));
  CHECK(!hak_external_free(external, block + 5008)); /* the free chunk behind it */
  CHECK(!hak_external_free(external, NULL));
  CHECK(!hak_external_free(external, external->base - 16));
  CHECK_EQ(hak_external_live_blocks(external), 1);
  CHECK(hak_external_is_valid(external));
  hak_external_close(external);
  free(memory);
}

/* The lists are made anew from the map while a block joins the free memory on both sides:
 * the map has to say then how long the block is with what lay behind it. */
static void free__beside_memory_that_was_written_to_keeps_other_blocks(void **state) {
  (void)state;
  enum {
    SIZE = 16 * 1024, /* its length is in words of the map of its own */
    COUNT = 8
  };
  unsigned char *memory = malloc(MIB), *blocks[COUNT];
  hak_external_heap_t *external = open_external((char *)memory, MIB);
  for (size_t i = 0; i < COUNT; i++) {
    blocks[i] = hak_external_alloc(external, SIZE, 1);
    CHECK(blocks[i] != NULL);
    test_fill(blocks[i], SIZE, i);
  }
  CHECK(hak_external_free(external, blocks[1]));
  CHECK(hak_external_free(external, blocks[3]));
  blocks[1][3] ^= 0x5a;
  CHECK(hak_external_free(external, blocks[2]));
  CHECK(hak_external_take_corrupt(external) == blocks[1]);
  CHECK(hak_external_is_valid(external));
  for (size_t i = 0; i < COUNT; i += i == 0 ? 4 : 1) {
    CHECK(test_verify(blocks[i], SIZE, i));
    CHECK_EQ(hak_external_usable(external, blocks[i]), SIZE);
    CHECK(hak_external_free(external, blocks[i]));
  }
  CHECK(hak_external_is_valid(external));
  hak_external_close(external);
  free(memory);
}

static void alloc__of_absurd_sizes_is_refused(void **state) {
  (void)state;
  char *memory = malloc(MIB);
  hak_external_heap_t *external = open_external(memory, MIB);
  static const size_t sizes[] = {MIB, SIZE_MAX, SIZE_MAX - 15, (size_t)1 << 63,
                                 SIZE_MAX / 16 + 2};
  char *block = hak_external_alloc(external, 100, 1);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    CHECK(hak_external_alloc(external, test_opaque(sizes[i]), 1) == NULL);
    CHECK_EQ(hak_external_resize(external, block, test_opaque(sizes[i]), SIZE_MAX), 0);
  }
  CHECK_EQ(hak_external_live_blocks(external), 1);
  hak_external_close(external);
  free(memory);
}

/* Records are cut from memory of the library's. */
static void open__that_is_refused_leaves_no_record(void **state) {
  (void)state;
  char *memory = malloc(MIB);
  hak_external_heap_t *external = open_external(memory, MIB);
  uint64_t records = 0;
  for (size_t i = 0; i < 5000; i++) {
    int error;
    CHECK(hak_external_open(&g_os.hooks, memory, MIB / 2, &error) == NULL);
    CHECK_EQ(error, EINVAL);
    if (i == 0) records = hak_load_relaxed(&hak_meta_committed);
  }
  CHECK_EQ(hak_load_relaxed(&hak_meta_committed), records);
  hak_external_close(external);
  free(memory);
}

static hak_atomic_u32_t g_closed;

static void *close_it(void *external) {
  hak_external_close(external);
  hak_store_release(&g_closed, 1);
  return NULL;
}

/* However long that takes; if the end did not wait it would come within the time. */
static void close__waits_for_who_looks_at_the_map(void **state) {
  (void)state;
  enum {
    STEPS = 185 /* the last hundred take a millisecond each */
  };
  char *memory = malloc(MIB);
  hak_external_heap_t *external = open_external(memory, MIB);
  char *block = hak_external_alloc(external, 100, 1);
  hak_external_chunk_t chunk;
  CHECK(hak_external_chunk_at(external, block + 50, &chunk) && chunk.start == block);
  CHECK(hak_gate_enter(&external->gate)); /* as a look does */
  pthread_t thread;
  test_threads_begin(&thread, 1, close_it, external);
  unsigned rounds = 0;
  for (int i = 0; i < STEPS && hak_load_acquire(&g_closed) == 0; i++) {
    hak_wait_step(&rounds);
  }
  CHECK_EQ(hak_load_acquire(&g_closed), 0);
  hak_gate_leave(&external->gate);
  test_threads_end(&thread, 1);
  CHECK(!hak_external_chunk_at(external, block + 50, &chunk));
  free(memory);
}

/* Each count and list by itself. */
static void check__finds_what_is_wrong(void **state) {
  (void)state;
  char *memory = malloc(MIB);
  hak_external_heap_t *external = open_external(memory, MIB);
  CHECK(hak_external_alloc(external, 1000, 1) != NULL);
  hak_add_relaxed(&external->blocks, 1);
  CHECK(!hak_external_is_valid(external));
  hak_sub_relaxed(&external->blocks, 1);
  hak_add_relaxed(&external->bytes, 16);
  CHECK(!hak_external_is_valid(external));
  hak_sub_relaxed(&external->bytes, 16);
  external->lists->rows ^= 1;
  CHECK(!hak_external_is_valid(external));
  external->lists->rows ^= 1;
  CHECK(hak_external_is_valid(external));
  /* The end of all is in use, or a free chunk there would be joined with what follows. */
  size_t end = external->map.granules;
  hak_atomic_u64_t *word = &external->map.starts[end / 64];
  uint64_t before = hak_load_relaxed(word);
  hak_store_relaxed(word, before & ~((uint64_t)1 << end % 64));
  CHECK(!hak_external_is_valid(external));
  hak_store_relaxed(word, before);
  CHECK(hak_external_is_valid(external));
  hak_external_close(external);
  free(memory);
}

/* Who looks takes no lock: a chunk whose length is about to change is none. */
static void chunk__that_is_seen_amid_a_change_is_not_told_of(void **state) {
  (void)state;
  char *memory = malloc(MIB);
  hak_external_heap_t *external = open_external(memory, MIB);
  hak_external_chunk_t chunk;
  const char *inside = external->base + MIB / 2;
  CHECK(hak_external_chunk_at(external, inside, &chunk) && !chunk.used);
  hak_atomic_u64_t *length = &external->map.used[1];
  uint64_t before = hak_load_relaxed(length);
  CHECK_EQ(before, external->map.granules);
  hak_store_relaxed(length, before + 1);
  CHECK(!hak_external_chunk_at(external, inside, &chunk));
  hak_store_relaxed(length, MIB / 4 / 16);
  CHECK(!hak_external_chunk_at(external, inside, &chunk));
  hak_store_relaxed(length, before);
  CHECK(hak_external_chunk_at(external, inside, &chunk));
  hak_external_close(external);
  free(memory);
}

/* Records that are cut now find no memory. */
static void use_up_records(void) {
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, 1);
  for (size_t size = 4096; size >= 16; size /= 2)
    while (hak_meta_alloc(&g_os.hooks, size, 16) != NULL) {}
}

static void open__without_memory_for_a_record_is_refused(void **state) {
  (void)state;
  int error = 0;
  char *memory = malloc(MIB);
  use_up_records();
  CHECK(hak_external_open(&g_os.hooks, memory, MIB, &error) == NULL);
  CHECK_EQ(error, ENOMEM);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  hak_external_close(open_external(memory, MIB));
  free(memory);
}

/* As in the child of a fork amid the beginning or end of a heap. */
static void close_unserved__leaves_alone_what_serves_a_heap(void **state) {
  (void)state;
  char *memory = malloc(3 * MIB);
  int error;
  hak_external_heap_t *served = open_external(memory, MIB);
  hak_external_heap_t *lost = hak_external_open(&g_os.hooks, memory + MIB, MIB, &error);
  CHECK(lost != NULL);
  char *block = hak_external_alloc(served, 100, 1);
  hak_externals_close_unserved();
  CHECK_EQ(hak_external_bytes(lost), 0);
  CHECK(hak_external_usable(served, block) >= 100);
  hak_external_heap_t *next[2];
  for (size_t i = 0; i < 2; i++) {
    next[i] = open_external(memory + (i + 1) * MIB, MIB);
    CHECK(next[i] != served);
  }
  CHECK(hak_external_is_valid(served));
  CHECK_EQ(hak_external_live_blocks(served), 1);
  for (size_t i = 0; i < 2; i++) hak_external_close(next[i]);
  hak_external_close(served);
  free(memory);
}

enum {
  FREE = 4096, /* bytes of each chunk that is free */
  MORE = 4320  /* of a request: chunks so long are on the same list */
};

/* Free chunks of that many bytes, each between blocks; the last of them. */
static char *make_holes(hak_external_heap_t *external, size_t count) {
  static char *blocks[200];
  CHECK(2 * count <= TEST_COUNT(blocks));
  for (size_t i = 0; i < 2 * count; i++)
    CHECK((blocks[i] = hak_external_alloc(external, FREE, 1)) != NULL);
  for (size_t i = 0; i < 2 * count; i += 2) CHECK(hak_external_free(external, blocks[i]));
  return blocks[2 * count - 2];
}

/* However many that are a little too short come before. */
static void alloc__finds_a_chunk_that_is_long_enough(void **state) {
  (void)state;
  char *memory = malloc(MIB);
  hak_external_heap_t *external = open_external(memory, MIB);
  make_holes(external, 100);
  CHECK(hak_external_alloc(external, MORE, 1) != NULL);
  CHECK(hak_external_is_valid(external));
  hak_external_close(external);
  free(memory);
}

/* There is no list of chunks for them. A chunk of two granules is free. */
static void alloc__at_absurd_alignments_is_refused(void **state) {
  (void)state;
  char *memory = malloc(MIB);
  hak_external_heap_t *external = open_external(memory, MIB);
  char *hole = hak_external_alloc(external, 32, 1);
  CHECK(hole != NULL && hak_external_alloc(external, 16, 1) != NULL);
  CHECK(hak_external_free(external, hole));
  for (unsigned shift = 30; shift < 64; shift++)
    CHECK(hak_external_alloc(external, 16, (size_t)1 << shift) == NULL);
  CHECK(hak_external_is_valid(external));
  hak_external_close(external);
  free(memory);
}

static void alloc__looks_no_further_than_a_chunk_that_was_written_to(void **state) {
  (void)state;
  char *memory = malloc(MIB);
  hak_external_heap_t *external = open_external(memory, MIB);
  char *last = make_holes(external, 10);
  while (hak_external_alloc(external, MORE, 1) != NULL) {}
  CHECK_EQ(hak_external_usable(external, last), 0);
  memset(last, 0x41, 16); /* its links */
  CHECK(hak_external_alloc(external, MORE, 1) == NULL);
  hak_external_close(external);
  free(memory);
}

#define E(f) cmocka_unit_test_setup_teardown(f, test_registry_setup, teardown)

TEST_MAIN_FRESH(E(open__refuses_what_is_too_small_or_wraps),
                E(open__keeps_within_the_memory_at_any_base),
                E(close__leaves_a_record_that_knows_no_block),
                E(clear__makes_one_chunk_of_it),
                E(blocks__of_all_sizes_keep_their_contents),
                E(free__of_what_is_no_block_changes_nothing),
                E(free__beside_memory_that_was_written_to_keeps_other_blocks),
                E(alloc__of_absurd_sizes_is_refused),
                E(open__that_is_refused_leaves_no_record),
                E(open__without_memory_for_a_record_is_refused),
                E(close_unserved__leaves_alone_what_serves_a_heap),
                E(alloc__finds_a_chunk_that_is_long_enough),
                E(alloc__looks_no_further_than_a_chunk_that_was_written_to),
                E(alloc__at_absurd_alignments_is_refused), E(check__finds_what_is_wrong),
                E(chunk__that_is_seen_amid_a_change_is_not_told_of),
                E(close__waits_for_who_looks_at_the_map))
