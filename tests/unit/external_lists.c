/* external_lists.c - free chunks by size: what is found, what is said of links
 * that were written over. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "external/external_lists.h"

enum {
  GRANULES = 8192
};

static hak_atomic_u64_t g_words[2 * (GRANULES / 64 + 1)];
static _Alignas(64) char g_memory[GRANULES * 16];
static hak_external_map_t g_map;
static hak_external_lists_t *g_lists;
static hak_atomic_ptr_t g_corrupt;

/* Blocks in use of one granule between free chunks of the lengths given. */
static void begin(const size_t *lengths, size_t count) {
  memset(g_words, 0, sizeof g_words);
  hak_store_relaxed(&g_corrupt, NULL);
  g_map = (hak_external_map_t){g_words, g_words + hak_external_map_words(GRANULES),
                               GRANULES, HAK_GRANULE_SHIFT};
  hak_external_map_init(&g_map);
  size_t at = 0;
  for (size_t i = 0; i < count; i++) {
    hak_external_map_set(&g_map, at + lengths[i], 1, true);
    hak_external_map_set(&g_map, at, lengths[i], false);
    at += lengths[i] + 1;
  }
  hak_external_map_set(&g_map, at, GRANULES - at, true);
  free(g_lists);
  g_lists = calloc(1, hak_external_lists_size(GRANULES));
  g_lists->base = g_memory;
  g_lists->map = &g_map;
  g_lists->secret = 0x123456789abcdef1;
  g_lists->corrupt = &g_corrupt;
  hak_external_lists_fill(g_lists);
  CHECK(hak_external_lists_are_valid(g_lists));
}

static void find__of_every_length_gives_a_chunk_that_has_room(void **state) {
  (void)state;
  for (size_t length = 1; length < 1500; length++) {
    size_t lengths[] = {length - 1 > 0 ? length - 1 : 1, length, 3 * length / 2 + 1,
                        2000};
    begin(lengths, TEST_COUNT(lengths));
    size_t block, at = hak_external_lists_find(g_lists, length, 1, &block);
    CHECK(at < GRANULES && block == at);
    CHECK(hak_external_map_length(&g_map, at) >= length);
  }
}

static void find__takes_the_only_chunk_although_its_list_has_smaller_ones(void **state) {
  (void)state;
  /* All in one list: lengths of 1024 to 1087 share it. */
  size_t lengths[] = {1030, 1080, 1025, 1026};
  begin(lengths, TEST_COUNT(lengths));
  size_t block;
  CHECK_EQ(hak_external_lists_find(g_lists, 1079, 1, &block), 1031);
  CHECK_EQ(hak_external_lists_find(g_lists, 1081, 1, &block), GRANULES);
  CHECK_EQ(hak_external_lists_find(g_lists, GRANULES + 1, 1, &block), GRANULES);
  CHECK_EQ(hak_external_lists_find(g_lists, SIZE_MAX, 64, &block), GRANULES);
}

static void find__of_an_alignment_gives_a_place_inside_the_chunk(void **state) {
  (void)state;
  size_t lengths[] = {100, 300, 700};
  for (size_t step = 1; step <= 256; step *= 2) {
    for (size_t length = 1; length < 200; length += 7) {
      begin(lengths, TEST_COUNT(lengths));
      size_t block = 0, at = hak_external_lists_find(g_lists, length, step, &block);
      CHECK(at < GRANULES);
      CHECK_EQ(((uintptr_t)g_memory + block * 16) % (step * 16), 0);
      CHECK(block >= at && block + length <= at + hak_external_map_length(&g_map, at));
    }
  }
}

static void remove__of_all_in_any_order_leaves_no_list(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 32);
  enum {
    COUNT = 200
  };
  for (size_t round = 0; round < test_scale(100); round++) {
    size_t lengths[COUNT], at[COUNT], order[COUNT];
    for (size_t i = 0, next = 0; i < COUNT; i++) {
      lengths[i] = 1 + (size_t)test_below(&rng, 38);
      at[i] = next;
      order[i] = i;
      next += lengths[i] + 1;
    }
    begin(lengths, COUNT);
    for (size_t i = COUNT; i > 0; i--) {
      size_t pick = (size_t)test_below(&rng, i), which = order[pick];
      order[pick] = order[i - 1];
      hak_external_lists_remove(g_lists, at[which], lengths[which]);
      hak_external_map_set(&g_map, at[which], lengths[which], true);
      if (i % 20 == 0) CHECK(hak_external_lists_are_valid(g_lists));
    }
    CHECK_EQ(g_lists->rows, 0);
    CHECK(hak_external_lists_are_valid(g_lists));
    CHECK(hak_load_relaxed(&g_corrupt) == NULL);
  }
}

static void remove__names_the_chunk_that_was_written_to_and_goes_on(void **state) {
  (void)state;
  size_t lengths[] = {5, 5, 5, 5};
  for (size_t victim = 0; victim < 4; victim++) {
    for (size_t word = 0; word < 2; word++) {
      begin(lengths, 4);
      memset(g_memory + victim * 6 * 16 + word * 8, 0x41, 8);
      CHECK(!hak_external_lists_are_valid(g_lists));
      for (size_t i = 0; i < 4; i++) {
        hak_external_lists_remove(g_lists, i * 6, 5);
        hak_external_map_set(&g_map, i * 6, 5, true);
      }
      CHECK(hak_external_lists_are_valid(g_lists));
      CHECK(hak_load_relaxed(&g_corrupt) == (void *)(g_memory + victim * 6 * 16));
    }
  }
}

TEST_MAIN_FRESH(T(find__of_every_length_gives_a_chunk_that_has_room),
                T(find__takes_the_only_chunk_although_its_list_has_smaller_ones),
                T(find__of_an_alignment_gives_a_place_inside_the_chunk),
                T(remove__of_all_in_any_order_leaves_no_list),
                T(remove__names_the_chunk_that_was_written_to_and_goes_on))
