/* api_stats.c - hak_stats_get and hak_stats_print. */
#include "child.h"
#include "json.h"
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static test_text_t g_text;

static void print_to_text(hak_heap_t *heap, int format) {
  test_text_clear(&g_text);
  CHECK_EQ(hak_stats_print(heap, format, test_text_add, &g_text), 0);
  CHECK(g_text.length > 0);
}

static void stats__live_counts_are_exact_when_quiet(void **state) {
  (void)state;
  enum {
    BLOCKS = 3000
  };
  static void *blocks[BLOCKS];
  test_rng_t rng = test_rng(test_seed(), 11);
  hak_stats_t start = test_stats();
  uint64_t bytes = 0;
  for (size_t i = 0; i < BLOCKS; i++) {
    blocks[i] = hak_alloc(test_random_size(&rng, i % 100 == 0 ? 8 * MIB : 40 * KIB));
    CHECK(blocks[i] != NULL);
    bytes += hak_usable_size(blocks[i]);
    if (i % 97 == 0) {
      hak_stats_t now = test_stats();
      CHECK_EQ(now.live_blocks, start.live_blocks + i + 1);
      CHECK_EQ(now.live_bytes, start.live_bytes + bytes);
    }
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    bytes -= hak_usable_size(blocks[i]);
    hak_free(blocks[i]);
    if (i % 97 == 0) {
      hak_stats_t now = test_stats();
      CHECK_EQ(now.live_blocks, start.live_blocks + BLOCKS - i - 1);
      CHECK_EQ(now.live_bytes, start.live_bytes + bytes);
    }
  }
  CHECK_EQ(test_live_blocks(), start.live_blocks);
  CHECK_EQ(test_live_bytes(), start.live_bytes);
}

static void stats__count_large_blocks_apart(void **state) {
  (void)state;
  hak_stats_t start = test_stats();
  static const size_t sizes[] = {60000, 100000, 1 << 20, 3 << 20, 50 << 20};
  void *blocks[TEST_COUNT(sizes)];
  uint64_t bytes = 0;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    blocks[i] = hak_alloc(sizes[i]);
    bytes += hak_usable_size(blocks[i]);
  }
  void *small = hak_alloc(56 * KIB);
  hak_stats_t now = test_stats();
  CHECK_EQ(now.large_blocks, start.large_blocks + TEST_COUNT(sizes));
  CHECK_EQ(now.large_bytes, start.large_bytes + bytes);
  CHECK_EQ(now.live_blocks, start.live_blocks + TEST_COUNT(sizes) + 1);
  hak_free(small);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    hak_free(blocks[i]);
  }
  CHECK_EQ(test_stats().large_blocks, start.large_blocks);
  CHECK_EQ(test_stats().large_bytes, start.large_bytes);
}

static void stats__byte_figures_are_consistent(void **state) {
  (void)state;
  void *blocks[200];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc(i * 61);
  }
  for (size_t i = 0; i < TEST_COUNT(blocks); i += 2) {
    hak_free(blocks[i]);
  }
  hak_stats_t s = test_stats();
  CHECK(s.live_bytes > 0 && s.live_blocks >= TEST_COUNT(blocks) / 2);
  CHECK(s.committed_bytes <= s.reserved_bytes);
  CHECK(s.peak_committed_bytes >= s.committed_bytes);
  uint64_t counted = s.committed_bytes + s.untouched_bytes;
  CHECK(s.metadata_bytes > 0 && s.metadata_bytes <= counted);
  CHECK(s.retained_bytes <= counted);
  CHECK(s.live_bytes + s.cached_bytes <= counted);
  CHECK(s.superslabs >= 1);
  CHECK(s.threads >= 1);
  CHECK(s.slabs_active >= 1);
  for (size_t i = 1; i < TEST_COUNT(blocks); i += 2) {
    hak_free(blocks[i]);
  }
}

/* Blocks of the same size are cached of other heaps and of the default heap meanwhile. */
static void stats__of_a_heap_leave_out_what_is_cached_of_others(void **state) {
  (void)state;
  enum {
    BLOCKS = 60
  };
  hak_heap_t *heap = test_heap(0, "counted", NULL), *other = test_heap(0, "other", NULL);
  hak_heap_t *heaps[] = {other, hak_heap_default()};
  for (size_t h = 0; h < TEST_COUNT(heaps); h++) {
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) blocks[i] = hak_heap_alloc(heaps[h], 100);
    for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  }
  for (size_t i = 0; i < 20; i++) CHECK(hak_heap_alloc(heap, 100) != NULL);
  hak_stats_t s = test_heap_stats(heap);
  CHECK_EQ(s.live_blocks, 20);
  CHECK_EQ(s.live_bytes, 20 * hak_good_size(100));
  CHECK_EQ(test_heap_stats(other).live_blocks, 0);
  CHECK_EQ(hak_heap_destroy(other), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Heaps' SuperSlabs are those of the process, also where a large block lies in some. */
static void stats__superslabs_of_heaps_add_up(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, "large", NULL);
  void *block = hak_alloc(100);
  CHECK(hak_heap_alloc(heap, 100) != NULL && hak_heap_alloc(heap, 3 * MIB) != NULL);
  uint64_t own = test_heap_stats(heap).superslabs;
  CHECK(block != NULL && own == 1 + 2);
  CHECK_EQ(test_stats().superslabs, own + test_heap_stats(hak_heap_default()).superslabs);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  hak_free(block);
}

/* Rows of the process add up, and memory of the caller's is not in them. */
static void check_rows(const char *when) {
  hak_stats_t s = test_stats();
  uint64_t sum = s.live_bytes + s.cached_bytes + s.free_bytes + s.uncarved_bytes +
                 s.class_waste_bytes + s.large_slack_bytes + s.retained_bytes +
                 s.metadata_bytes - s.hole_bytes - s.untouched_bytes - s.foreign_bytes;
  CHECK_MSG(sum == s.committed_bytes, "%s: %llu, not %llu", when, (unsigned long long)sum,
            (unsigned long long)s.committed_bytes);
}

static void stats__of_memory_of_the_callers_are_within_it(void **state) {
  (void)state;
  static const size_t sizes[] = {MIB, 16 * MIB};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *memory = malloc(sizes[i]);
    CHECK(memory != NULL);
    hak_stats_t before = test_stats();
    hak_heap_t *heap = test_heap_in(memory, sizes[i], 0, NULL);
    CHECK(heap != NULL);
    check_rows("made");
    CHECK(hak_heap_alloc(heap, 100) != NULL && hak_heap_alloc(heap, 3000) != NULL);
    CHECK(hak_heap_alloc(heap, 50 * KIB) != NULL);
    check_rows("small blocks");
    if (i > 0) {
      CHECK(hak_heap_alloc(heap, 200 * KIB) != NULL);
      CHECK(hak_heap_calloc(heap, 1, 150 * KIB) != NULL);
      CHECK(hak_heap_alloc(heap, 3 * MIB) != NULL);
      check_rows("large blocks");
    }
    hak_stats_t s = test_heap_stats(heap);
    CHECK(s.reserved_bytes <= sizes[i] && s.committed_bytes <= sizes[i]);
    CHECK(s.committed_bytes <= s.reserved_bytes && s.live_bytes <= s.committed_bytes);
    /* Blocks there are in the process's figures, and taken out of its rows. */
    hak_stats_t all = test_stats();
    CHECK_EQ(all.foreign_bytes - before.foreign_bytes,
             s.live_bytes + s.cached_bytes + s.free_bytes);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    free(memory);
  }
}

static void stats__rows_of_large_spans_add_up(void **state) {
  (void)state;
  static const size_t sizes[] = {70 * KIB, 150 * KIB, 900 * KIB};
  void *blocks[TEST_COUNT(sizes)];
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    blocks[i] = hak_calloc(1, sizes[i]);
    CHECK(blocks[i] != NULL);
    check_rows("large spans");
  }
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) hak_free(blocks[i]);
}

static void stats__without_a_library_fill_no_classes(void **state) {
  (void)state;
  hak_free(hak_alloc(1));
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  hak_class_stats_t row, before;
  memset(&row, 0x5c, sizeof row);
  row.struct_size = sizeof row;
  before = row;
  CHECK_EQ(hak_stats_classes(NULL, &row, 1), 0);
  CHECK_EQ(memcmp(&row, &before, sizeof row), 0);
  test_restart();
}

static void stats__count_events_and_os_calls(void **state) {
  (void)state;
  hak_stats_t start = test_stats();
  enum {
    BLOCKS = 5000
  };
  static void *blocks[BLOCKS];
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < BLOCKS; i++) {
      blocks[i] = hak_alloc(700);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
      hak_free(blocks[i]);
    }
  }
  void *huge = hak_alloc(200 * MIB);
  CHECK(huge != NULL);
  hak_free(huge);
  hak_thread_exit();
  hak_stats_t now = test_stats();
  CHECK(now.slow_alloc > start.slow_alloc);
  CHECK(now.os_reserve > start.os_reserve);
  uint64_t refills = now.refill_spare + now.refill_magazine + now.refill_transfer +
                     now.refill_partial + now.refill_shelf + now.refill_carve +
                     now.refill_slab;
  CHECK(refills > 0);
  CHECK(now.thread_exits > start.thread_exits);
  CHECK(now.thread_attaches > 0);
}

static void stats_get__bad_arguments_are_invalid(void **state) {
  (void)state;
  CHECK_EQ(hak_stats_get(NULL, NULL), EINVAL);
  hak_stats_t stats = {.struct_size = 0};
  CHECK_EQ(hak_stats_get(NULL, &stats), EINVAL);
}

static void stats_get__writes_no_more_than_the_caller_knows(void **state) {
  (void)state;
  hak_stats_t stats;
  memset(&stats, 0x5c, sizeof stats);
  stats.struct_size = (uint32_t)offsetof(hak_stats_t, cached_bytes);
  CHECK_EQ(hak_stats_get(NULL, &stats), 0);
  CHECK(stats.live_blocks < 1000000);
  const unsigned char *bytes = (const unsigned char *)&stats;
  for (size_t i = offsetof(hak_stats_t, cached_bytes); i < sizeof stats; i++) {
    CHECK_EQ(bytes[i], 0x5c);
  }
}

static void stats_get__of_the_default_heap_is_that_of_the_process(void **state) {
  (void)state;
  void *block = hak_alloc(500);
  hak_stats_t heap = {.struct_size = sizeof heap};
  CHECK_EQ(hak_stats_get(hak_heap_default(), &heap), 0);
  CHECK_EQ(heap.live_blocks, test_live_blocks());
  CHECK_EQ(heap.live_bytes, test_live_bytes());
  hak_free(block);
}

static void stats_print__json_is_valid_and_true(void **state) {
  (void)state;
  void *block = hak_alloc(12345);
  hak_heap_t *heaps[] = {NULL, hak_heap_default()};
  for (size_t i = 0; i < TEST_COUNT(heaps); i++) {
    print_to_text(heaps[i], HAK_FORMAT_JSON);
    test_text_expect_json(&g_text);
    CHECK_EQ(memchr(g_text.bytes, 0, g_text.length) == NULL, true);
    uint64_t value = 0;
    CHECK(json_number(g_text.bytes, "live_blocks", &value));
    CHECK_EQ(value, test_live_blocks());
    CHECK(json_number(g_text.bytes, "live_bytes", &value));
    CHECK_EQ(value, test_live_bytes());
    /* Calls to the system belong to no heap. */
    CHECK(json_number(g_text.bytes, "os_reserve", &value));
    CHECK_EQ(value, heaps[i] == NULL ? test_stats().os_reserve : 0);
  }
  hak_free(block);
}

static void stats_print__text_names_the_main_figures(void **state) {
  (void)state;
  print_to_text(NULL, HAK_FORMAT_TEXT);
  CHECK(strstr(g_text.bytes, "live") != NULL);
  CHECK(strstr(g_text.bytes, "committed") != NULL);
  CHECK(strchr(g_text.bytes, '\n') != NULL);
  CHECK_EQ(g_text.bytes[g_text.length - 1], '\n');
}

/* A text says whose figures these are, and has no row of 0 but the first five. */
static void stats_print__text_says_whose_and_leaves_out_what_is_zero(void **state) {
  (void)state;
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "server";
  hak_heap_t *server = hak_heap_create(&config);
  config.name = "a\"b";
  config.parent = server;
  config.hard_limit = 1 << 20;
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(server != NULL && heap != NULL);
  print_to_text(heap, HAK_FORMAT_TEXT);
  char head[64];
  snprintf(head, sizeof head, "hakmem %d.%d.%d: heap \"server/a\\\"b\"\n",
           HAK_VERSION_MAJOR, HAK_VERSION_MINOR, HAK_VERSION_PATCH);
  CHECK_MSG(strncmp(g_text.bytes, head, strlen(head)) == 0, "says: %s", g_text.bytes);
  static const char *const rows[] = {"  live_bytes ", "  live_blocks ", "  cached_bytes ",
                                     "  free_bytes ", "  committed_bytes "};
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    CHECK_MSG(strstr(g_text.bytes, rows[i]) != NULL, "no %s in: %s", rows[i],
              g_text.bytes);
  }
  CHECK(strstr(g_text.bytes, "  hard_limit ") != NULL);
  CHECK(strstr(g_text.bytes, "os_reserve") == NULL);
  print_to_text(NULL, HAK_FORMAT_TEXT);
  CHECK(strstr(g_text.bytes, ": the process\n") != NULL);
  CHECK(strstr(g_text.bytes, "os_reserve") != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_destroy(server), 0);
}

static void stats_print__unknown_formats_are_invalid(void **state) {
  (void)state;
  test_text_clear(&g_text);
  CHECK_EQ(hak_stats_print(NULL, 2, test_text_add, &g_text), EINVAL);
  CHECK_EQ(hak_stats_print(NULL, -1, test_text_add, &g_text), EINVAL);
  CHECK_EQ(g_text.pieces, 0);
}

static void stats_print__allocates_nothing(void **state) {
  (void)state;
  hak_stats_t before = test_stats();
  for (int i = 0; i < 50; i++) {
    print_to_text(NULL, i % 2 == 0 ? HAK_FORMAT_TEXT : HAK_FORMAT_JSON);
  }
  hak_stats_t after = test_stats();
  CHECK_EQ(memcmp(&before, &after, sizeof before), 0);
}

static int print_to_stderr_child(void *ctx) {
  (void)ctx;
  return hak_stats_print(NULL, HAK_FORMAT_TEXT, NULL, NULL);
}

static void stats_print__without_a_writer_goes_to_stderr(void **state) {
  (void)state;
  test_child_t child = test_child_run(print_to_stderr_child, NULL, 10);
  CHECK_EQ(child.status, 0);
  CHECK(strstr(child.output, "live") != NULL);
}

static void json__the_validator_tells_right_from_wrong(void **state) {
  (void)state;
  static const char *const right[] = {
      "{}", "[1,-2.5e+3,\"a\\n\\u00e9\",null,true,{\"a\":[]}]", " 0 "};
  static const char *const wrong[] = {"",          "{",   "{\"a\":}", "[1,]",
                                      "{\"a\" 1}", "01",  "1 2",      "\"\n\"",
                                      "{'a':1}",   "nul", "[1}",      "-"};
  size_t at;
  for (size_t i = 0; i < TEST_COUNT(right); i++) {
    CHECK_MSG(json_is_valid(right[i], strlen(right[i]), &at), "%s", right[i]);
  }
  for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
    CHECK_MSG(!json_is_valid(wrong[i], strlen(wrong[i]), &at), "%s", wrong[i]);
  }
}

TEST_MAIN(T(json__the_validator_tells_right_from_wrong),
          T(stats__live_counts_are_exact_when_quiet), T(stats__count_large_blocks_apart),
          T(stats__byte_figures_are_consistent),
          T(stats__of_a_heap_leave_out_what_is_cached_of_others),
          T(stats__superslabs_of_heaps_add_up),
          T(stats__of_memory_of_the_callers_are_within_it),
          T(stats__rows_of_large_spans_add_up),
          T(stats__without_a_library_fill_no_classes),
          T(stats__count_events_and_os_calls), T(stats_get__bad_arguments_are_invalid),
          T(stats_get__writes_no_more_than_the_caller_knows),
          T(stats_get__of_the_default_heap_is_that_of_the_process),
          T(stats_print__json_is_valid_and_true),
          T(stats_print__text_names_the_main_figures),
          T(stats_print__text_says_whose_and_leaves_out_what_is_zero),
          T(stats_print__unknown_formats_are_invalid), T(stats_print__allocates_nothing),
          T(stats_print__without_a_writer_goes_to_stderr))
