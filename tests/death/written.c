/* written.c - writes to freed blocks over 56 KiB, which a hardened build finds when their
 * memory serves again, or by hak_check: in every size, at any place, by any thread, and
 * whatever became of the memory. */
#include "child.h"
#include "threads.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const size_t sizes[] = {57 * KIB,  64 * KIB,   100 * KIB,  200 * KIB,
                               500 * KIB, 1000 * KIB, 1025 * KIB, 2000 * KIB,
                               3 << 20,   5 << 20,    8 << 20,    40 << 20};
enum {
  PLACES = 3,
  TRIES = 6 /* blocks that may be given out before the one with the write */
};

static unsigned g_count;
static hak_error_info_t g_first;

static void listen(const hak_error_info_t *info, void *ctx) {
  (void)ctx;
  if (g_count++ == 0) g_first = *info;
}

static void begin(void) {
  test_start();
  hak_set_error_handler(listen, NULL);
  CHECK_EQ(hak_option_set(HAK_OPTION_GUARD_SAMPLE, 0), 0);
}

static size_t place_of(size_t usable, int place) {
  return place == 0 ? 0 : place == 1 ? usable / 2 : usable - 1;
}

static void *write_to(void *at) {
  *(volatile char *)at ^= 0x41; /* there may be a link */
  return NULL;
}

/* What is said where the write has met the link of a block in a thread's cache. */
static const char *const at_link = "a free block was written to, or freed twice";

/* The first report is of that line. */
static void expect_named(const char *at, size_t size, const char *function) {
  CHECK_MSG(g_count >= 1, "%zu: silent", size);
  CHECK_EQ(g_first.error, HAK_ERROR_CORRUPT_BLOCK);
  bool named = strcmp(g_first.text, "the block was written to since it was freed") == 0 ||
               strcmp(g_first.text, at_link) == 0;
  CHECK_MSG(named, "%zu: %s", size, g_first.text);
  CHECK_MSG(strcmp(g_first.function, function) == 0, "%zu: %s", size, g_first.function);
  const char *line = (const char *)((uintptr_t)at & ~(uintptr_t)63);
  CHECK_MSG(g_first.address == line, "%zu: %p for %p", size, g_first.address,
            (void *)line);
}

static void fill(char *block) {
  size_t usable = hak_usable_size(block);
  for (size_t i = 0; i < usable; i += 512) block[i] = 0x5a;
  block[usable - 1] = 0x5a;
}
static bool is_empty(const char *block) {
  size_t usable = hak_usable_size(block);
  for (size_t i = 0; i < usable; i++) {
    if (block[i] != 0) return false;
  }
  return true;
}

static bool is_in(const char *at, char *block) {
  return test_is_within(at, block, hak_usable_size(block));
}

static hak_heap_t *g_heap;
static unsigned g_flags;

static char *get(size_t size) {
  char *block = g_flags == 0 ? hak_heap_alloc(g_heap, size)
                             : hak_allocx(g_heap, size, 0, g_flags, NULL);
  CHECK(block != NULL);
  return block;
}

/* Blocks of that size are given out, all of them empty, until one would have had the
 * write in it. */
static void reuse(const char *at, size_t size) {
  char *blocks[TRIES];
  int count = 0;
  while (count < TRIES && g_count == 0) {
    blocks[count] = get(size);
    CHECK_MSG(!is_in(at, blocks[count]), "%zu: given out", size);
    CHECK(is_empty(blocks[count]));
    count++;
  }
  expect_named(at, size, "hak_alloc");
  while (count > 0) hak_free(blocks[--count]);
}

typedef void(act_fn)(char *at, size_t size);

/* In each size and at each place: a block is freed, `act` writes to it, and it is named.
 */
static void in_all_sizes(act_fn *act, size_t most) {
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    size_t size = sizes[k];
    /* What trusts nobody takes the pages of larger ones as soon as they are free. */
    if (size > (test_is_strict() && MIB < most ? MIB : most)) continue;
    for (int place = 0; place < PLACES; place++) {
      g_count = 0;
      char *block = get(size);
      char *at = block + place_of(hak_usable_size(block), place);
      fill(block);
      hak_free(block);
      CHECK_MSG(g_count == 0, "%zu: %s", size, g_first.text);
      act(at, size);
    }
  }
  g_count = 0;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(g_count, 0);
}

static void here(char *at, size_t size) {
  write_to(at);
  reuse(at, size);
}
TEST_IN_CHILD(write__to_a_freed_large_block_is_named_when_its_memory_serves_again, 60) {
  begin();
  in_all_sizes(here, SIZE_MAX);
}
TEST_IN_CHILD(write__to_a_freed_large_block_of_another_heap_names_the_heap, 60) {
  begin();
  g_heap = test_heap(0, NULL, NULL);
  in_all_sizes(here, 8 * MIB);
  CHECK(g_first.heap == g_heap);
}
TEST_IN_CHILD(write__to_a_freed_large_block_of_a_serial_heap_is_named, 60) {
  begin();
  g_heap = test_heap(HAK_HEAP_SERIAL, NULL, NULL);
  in_all_sizes(here, 8 * MIB);
}

TEST_IN_CHILD(write__to_a_freed_large_block_is_named_by_who_asks_for_zeroes, 60) {
  begin();
  g_flags = HAK_ZERO;
  in_all_sizes(here, SIZE_MAX);
}

static void elsewhere(char *at, size_t size) {
  test_thread_run(write_to, at);
  reuse(at, size);
}
TEST_IN_CHILD(write__by_another_thread_is_named, 60) {
  begin();
  in_all_sizes(elsewhere, SIZE_MAX);
}

/* The memory serves once more before the write. */
static void later(char *at, size_t size) {
  char *blocks[TRIES];
  bool met = false;
  for (int i = 0; i < TRIES; i++) {
    blocks[i] = get(size);
    fill(blocks[i]);
    met = met || is_in(at, blocks[i]);
  }
  for (int i = 0; i < TRIES; i++) hak_free(blocks[i]);
  CHECK_MSG(met, "%zu", size);
  CHECK_EQ(g_count, 0);
  write_to(at);
  for (int i = 0; i < TRIES && g_count == 0; i++) {
    blocks[i] = get(size);
    CHECK_MSG(!is_in(at, blocks[i]), "%zu: given out", size);
  }
  expect_named(at, size, "hak_alloc");
}
TEST_IN_CHILD(write__after_a_second_life_of_the_memory_is_named, 60) {
  begin();
  in_all_sizes(later, 8 * MIB);
}

static void by_check(char *at, size_t size) {
  (void)hak_collect(NULL, 0, 0);
  hak_thread_idle(); /* what this thread kept goes home */
  unsigned char there;
  void *page = (void *)((uintptr_t)at & ~(uintptr_t)4095);
  if (mincore(page, 1, &there) != 0 && errno == ENOMEM) return; /* it is gone for good */
  write_to(at);
  CHECK_EQ(hak_check(NULL), EFAULT);
  expect_named(at, size, "hak_check");
  *at = 0;
}
TEST_IN_CHILD(write__to_a_freed_large_block_is_named_by_a_check, 60) {
  begin();
  char *neighbour = get(60 * KIB); /* whose heap keeps its SuperSlab */
  in_all_sizes(by_check, SIZE_MAX);
  hak_free(neighbour);
}

/* All that can be given back is, but for the range of addresses, of which a neighbour
 * keeps hold. */
static unsigned g_purged;
static void purged(char *at, size_t size) {
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  unsigned char there = 0;
  void *page = (void *)((uintptr_t)at & ~(uintptr_t)4095);
  if (mincore(page, 1, &there) != 0) return;
  CHECK_MSG((there & 1) == 0, "%zu", size);
  g_purged++;
  write_to(at);
  for (int i = 0; i < 64 && g_count == 0; i++) {
    char *block = get(size);
    CHECK(!is_in(at, block));
  }
  expect_named(at, size, "hak_alloc");
}
TEST_IN_CHILD(write__to_memory_that_was_given_back_is_named, 60) {
  if (test_is_strict()) return; /* it ends the program */
  begin();
  char *neighbour = get(60 * KIB);
  in_all_sizes(purged, 4 * MIB);
  CHECK_MSG(g_purged >= 3 * 6, "%u", g_purged);
  hak_free(neighbour);
}

/* The memory serves small blocks next. */
static void by_small_ones(char *at, size_t size) {
  hak_thread_idle();
  write_to(at);
  for (int i = 0; i < 200000 && g_count == 0; i++) CHECK(hak_alloc(2000) != NULL);
  expect_named(at, size, "hak_alloc");
}
TEST_IN_CHILD(write__to_memory_that_small_blocks_get_is_named, 60) {
  if (test_is_strict())
    return; /* slabs that get more pages may be full of garbage there */
  begin();
  in_all_sizes(by_small_ones, 1000 * KIB);
}

/* A block that is made smaller leaves nothing behind, and grows into what is looked at.
 */
TEST_IN_CHILD(rest__of_a_large_block_that_shrinks_is_empty_and_looked_at, 60) {
  static const size_t from[] = {1000 * KIB, 3 << 20, 48 << 20};
  begin();
  for (size_t k = 0; k < TEST_COUNT(from); k++) {
    g_count = 0;
    char *block = hak_calloc(1, from[k]);
    CHECK(block != NULL);
    fill(block);
    size_t half = from[k] - from[k] / 32;
    size_t now = hak_resize_in_place(block, half, half);
    CHECK(now >= half && now < from[k]);
    char *rest = block + now + 8; /* behind the canary */
    for (size_t i = 0; i < from[k] - now - 8; i++) CHECK(rest[i] == 0);
    CHECK_EQ(hak_resize_in_place(block, from[k], from[k]) >= from[k], 1);
    CHECK_EQ(g_count, 0);
    now = hak_resize_in_place(block, half, half);
    write_to(rest);
    (void)hak_resize_in_place(block, from[k], from[k]);
    expect_named(rest, from[k], "hak_alloc");
    hak_free(block);
  }
}

TEST_IN_CHILD(blocks__that_shrink_and_grow_keep_what_they_had, 60) {
  static const size_t most[] = {1000 * KIB, 3900 * KIB};
  static const size_t least[] = {520 * KIB, 2 * MIB + 20 * KIB}; /* end within a slab */
  begin();
  for (size_t k = 0; k < TEST_COUNT(most); k++) {
    char *block = hak_calloc(1, most[k]);
    CHECK(block != NULL);
    fill(block);
    CHECK(hak_resize_in_place(block, least[k], least[k]) < most[k]);
    CHECK(hak_resize_in_place(block, most[k], most[k]) >= most[k]);
    for (size_t i = 0; i < least[k]; i += 512) CHECK(block[i] == 0x5a);
    hak_free(block);
  }
  CHECK_EQ(g_count, 0);
}

/* What was in use when a heap ended was not cleared, and is no fault. */
TEST_IN_CHILD(blocks__that_end_with_their_heap_are_not_taken_for_written_to, 60) {
  begin();
  for (int round = 0; round < 3; round++) {
    hak_heap_t *heap = test_heap(0, NULL, NULL);
    for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
      char *block = hak_heap_alloc(heap, sizes[k]);
      CHECK(block != NULL && is_empty(block));
      fill(block);
    }
    if (round == 1) CHECK_EQ(hak_heap_reset(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    CHECK_EQ(hak_check(NULL), 0);
  }
  for (int i = 0; i < 100000; i++) CHECK(hak_alloc(1000) != NULL);
  CHECK_EQ(g_count, 0);
}

/* Large blocks that come, change and go, of all sizes and beside small ones, are not
 * taken for written to. */
TEST_IN_CHILD(blocks__of_all_sizes_that_come_and_go_are_empty, 120) {
  enum {
    LIVE = 24,
    ROUNDS = 4000
  };
  static char *live[LIVE];
  begin();
  uint64_t random = 1;
  for (int i = 0; i < ROUNDS; i++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    size_t at = (random >> 33) % LIVE, k = (random >> 40) % TEST_COUNT(sizes);
    size_t size = k < 2 ? 100 + (random >> 50) : sizes[k] > 5 << 20 ? sizes[2] : sizes[k];
    if ((random >> 60) < 3 && live[at] != NULL) {
      char *moved = hak_realloc(live[at], size);
      CHECK(moved != NULL);
      live[at] = moved;
    } else {
      hak_free(live[at]);
      live[at] = hak_alloc(size);
      CHECK(live[at] != NULL && is_empty(live[at]));
    }
    fill(live[at]);
    if (i % 500 == 0) (void)hak_collect(NULL, SIZE_MAX, i % 1000 ? HAK_COLLECT_ALL : 0);
    if (i % 1000 == 7) CHECK_EQ(hak_check(NULL), 0);
  }
  CHECK_MSG(g_count == 0, "%s in %s", g_first.text, g_first.function);
}

/* Nobody looks at what large blocks leave in memory of the caller's. */
TEST_IN_CHILD(zeroes__of_the_callers_memory_are_such, 60) {
  static _Alignas(2 << 20) char memory[8 << 20];
  begin();
  hak_heap_config_t config = {
      .struct_size = sizeof config, .memory = memory, .memory_size = sizeof memory};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  char *block = hak_heap_alloc(heap, sizeof memory);
  memset(block, 0x5a, sizeof memory);
  hak_free(block);
  block = hak_heap_calloc(heap, 1, 1 << 20);
  CHECK(is_empty(block));
}

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      T(write__to_a_freed_large_block_is_named_when_its_memory_serves_again),
      T(write__to_a_freed_large_block_of_another_heap_names_the_heap),
      T(write__to_a_freed_large_block_of_a_serial_heap_is_named),
      T(write__to_a_freed_large_block_is_named_by_who_asks_for_zeroes),
      T(write__by_another_thread_is_named),
      T(write__after_a_second_life_of_the_memory_is_named),
      T(write__to_a_freed_large_block_is_named_by_a_check),
      T(write__to_memory_that_was_given_back_is_named),
      T(write__to_memory_that_small_blocks_get_is_named),
      T(rest__of_a_large_block_that_shrinks_is_empty_and_looked_at),
      T(blocks__that_shrink_and_grow_keep_what_they_had),
      T(blocks__that_end_with_their_heap_are_not_taken_for_written_to),
      T(blocks__of_all_sizes_that_come_and_go_are_empty),
      T(zeroes__of_the_callers_memory_are_such),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
