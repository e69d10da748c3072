/* api_heaps_print.c - all heaps as one text or one JSON: whatever they are called, of
 * whatever kind, and beside threads that make and end some. */
#include "json.h"
#include "text.h"
#include "threads.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A report. */
static test_text_t g_text;

static const char *print(int format) {
  test_text_clear(&g_text);
  CHECK_EQ(hak_heaps_print(format, test_text_add, &g_text), 0);
  if (format == HAK_FORMAT_JSON) test_text_expect_json(&g_text);
  return g_text.bytes;
}

/* The row of a heap. */
static const char *row_of(hak_heap_t *heap) {
  char id[40];
  snprintf(id, sizeof id, "{\"id\":\"%p\"", (void *)heap);
  const char *row = strstr(g_text.bytes, id);
  CHECK_MSG(row != NULL, "no heap %p", (void *)heap);
  CHECK(strstr(row + 1, id) == NULL);
  return row;
}

static uint64_t number(const char *row, const char *member) {
  uint64_t value;
  CHECK_MSG(json_number(row, member, &value), "no %s", member);
  return value;
}

static bool says(const char *row, const char *part) {
  const char *found = strstr(row, part), *end = strchr(row, '\n');
  return found != NULL && (end == NULL || found < end);
}

/* The row says what hak_stats_get says. */
static void check_figures(hak_heap_t *heap) {
  const char *row = row_of(heap);
  hak_stats_t s = test_heap_stats(heap);
  CHECK_EQ(number(row, "used_bytes"), s.committed_bytes);
  CHECK_EQ(number(row, "peak_bytes"), s.peak_committed_bytes);
  CHECK_EQ(number(row, "live_blocks"), s.live_blocks);
  CHECK_EQ(number(row, "live_bytes"), s.live_bytes);
  CHECK_EQ(number(row, "soft_limit"), s.soft_limit);
  CHECK_EQ(number(row, "hard_limit"), s.hard_limit);
  CHECK_EQ(number(row, "refused"), s.budget_refused);
}

static void json__has_the_tree_of_heaps(void **state) {
  (void)state;
  hak_heap_t *top = test_heap(0, "top", NULL), *low = test_heap(0, "low", top);
  hak_heap_t *other = test_heap_make((hak_heap_config_t){
      .name = "other", .parent = top, .soft_limit = 30 * MIB, .hard_limit = 40 * MIB});
  hak_heap_t *lowest = test_heap(0, "lowest", other);
  for (int i = 0; i < 1000; i++) CHECK(hak_heap_alloc(low, 100) != NULL);
  CHECK(hak_heap_alloc(lowest, 3 * MIB) != NULL && hak_heap_alloc(top, 50000) != NULL);
  hak_free(hak_heap_alloc(lowest, 9 * MIB));
  CHECK(hak_heap_alloc(lowest, 50 * MIB) == NULL);
  print(HAK_FORMAT_JSON);
  check_figures(top);
  check_figures(low);
  check_figures(other);
  check_figures(lowest);
  check_figures(hak_heap_default());
  char parent[64];
  snprintf(parent, sizeof parent, "\"parent\":\"%p\",\"depth\":2,", (void *)other);
  CHECK(says(row_of(lowest), parent));
  CHECK(says(row_of(top), "\"name\":\"top\",\"parent\":null,\"depth\":0,"));
  const char *own = strstr(row_of(low), "\"size\":");
  CHECK_EQ(number(own, "size"), hak_good_size(100));
  CHECK_EQ(number(own, "live_blocks"), 1000);
  /* Parents come first, and what is below them next. */
  CHECK(row_of(top) < row_of(low) && row_of(other) < row_of(lowest));
  CHECK_EQ(hak_heap_destroy(lowest), 0);
  CHECK_EQ(hak_heap_destroy(other), 0);
  CHECK_EQ(hak_heap_destroy(low), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
}

static void json__has_heaps_of_every_kind(void **state) {
  (void)state;
  static char small[512 * KIB], nested[300 * KIB];
  char *large = malloc(16 * MIB);
  hak_heap_t *serial = test_heap(HAK_HEAP_SERIAL, "serial", NULL);
  hak_heap_t *external = test_heap_in(small, sizeof small, 0, serial);
  hak_heap_t *region = test_heap_in(large, 16 * MIB, 0, NULL);
  hak_heap_t *below = test_heap(0, "below", region);
  hak_heap_t *enclosed = test_heap_in(nested, sizeof nested, 0, below);
  hak_heap_t *released = test_heap(0, "released", below);
  hak_heap_t *all[] = {serial, external, region, below, enclosed, released};
  for (size_t i = 0; i < TEST_COUNT(all); i++) {
    for (size_t k = 0; k < 20; k++) CHECK(hak_heap_alloc(all[i], 10 + 100 * k) != NULL);
  }
  void *block = hak_heap_alloc(released, 5000);
  CHECK_EQ(hak_heap_release(released), 0);
  print(HAK_FORMAT_JSON);
  for (size_t i = 0; i < TEST_COUNT(all) - 1; i++) check_figures(all[i]);
  CHECK(says(row_of(serial), "\"kind\":\"serial\",\"memory\":\"system\""));
  CHECK(says(row_of(external), "\"kind\":\"external\",\"memory\":\"caller\""));
  CHECK(says(row_of(region), "\"kind\":\"pooled\",\"memory\":\"caller\""));
  CHECK(!says(row_of(below), "\"ended\":true"));
  CHECK(strstr(g_text.bytes, "\"name\":\"released\"") == NULL);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(enclosed), 0);
  CHECK_EQ(hak_heap_destroy(below), 0);
  CHECK_EQ(hak_heap_destroy(region), 0);
  CHECK_EQ(hak_heap_destroy(external), 0);
  CHECK_EQ(hak_heap_destroy(serial), 0);
  free(large);
}

static void json__has_what_samples_know_of_requests(void **state) {
  (void)state;
  HAK_SITE(here);
  int64_t before = hak_option_get(HAK_OPTION_SAMPLE_BYTES);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  hak_heap_t *heap = test_heap(0, "sampled", NULL);
  for (int i = 0; i < 5000; i++)
    hak_free(hak_alloc_at(100000, &here)); /* a new distance */
  for (int i = 0; i < 10; i++) CHECK(hak_heap_alloc_at(heap, 1100, &here) != NULL);
  print(HAK_FORMAT_JSON);
  const char *sampled = strstr(row_of(heap), "\"sampled\"");
  CHECK(sampled != NULL);
  CHECK_EQ(number(sampled, "blocks"), 10);
  CHECK_EQ(number(sampled, "requested_bytes"), 11000);
  CHECK_EQ(number(sampled, "usable_bytes"), 10 * hak_good_size(1100));
  check_figures(heap);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, before), 0);
}

/* The map has each SuperSlab, with its heap and what its slabs are used for. */
static void json__has_a_map_of_the_memory(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, "mapped", NULL);
  char *block = hak_heap_alloc(heap, 100), *run = hak_heap_alloc(heap, 5 * MIB);
  char *mapping = hak_heap_alloc(heap, 50 * MIB);
  CHECK(block != NULL && run != NULL && mapping != NULL);
  print(HAK_FORMAT_JSON);
  const char *map = strstr(g_text.bytes, "\"superslabs\":[");
  CHECK(map != NULL);
  char address[40], owner[60];
  snprintf(address, sizeof address, "{\"address\":\"%p\"",
           (void *)((uintptr_t)block & ~(uintptr_t)(2 * MIB - 1)));
  snprintf(owner, sizeof owner, "\"use\":\"slabs\",\"heap\":\"%p\"", (void *)heap);
  const char *row = strstr(map, address);
  CHECK(row != NULL && says(row, owner));
  CHECK(number(row, "committed_bytes") > 0);
  char span[40];
  snprintf(span, sizeof span, "\"slabs\":1,\"size\":%zu,\"blocks\":", hak_good_size(100));
  CHECK(says(row, span));
  snprintf(address, sizeof address, "{\"address\":\"%p\",\"use\":\"large\"", (void *)run);
  CHECK(strstr(map, address) != NULL);
  const char *mappings = strstr(map, "\"mappings\":[");
  CHECK(mappings != NULL);
  snprintf(address, sizeof address, "{\"address\":\"%p\",\"heap\":\"%p\"",
           (void *)mapping, (void *)heap);
  row = strstr(mappings, address);
  CHECK(row != NULL);
  CHECK_EQ(number(row, "usable_bytes"), hak_usable_size(mapping));
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static const char *const odd_names[] = {"weird \"name\"\n",
                                        "\\",
                                        "</script><b>&amp;",
                                        "\x01\x02\x1f\x7f\t\r",
                                        "\xff\xfe\x80\xc3(",
                                        "\xed\xa0\x80 \xf4\x90\x80\x80",
                                        "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
                                        "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"
                                        "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac",
                                        "-----------------------------\xf0\x9f\x98\x80"};

static void json__is_valid_whatever_the_names(void **state) {
  (void)state;
  hak_heap_t *heaps[TEST_COUNT(odd_names)];
  for (size_t i = 0; i < TEST_COUNT(odd_names); i++) {
    heaps[i] = test_heap_make((hak_heap_config_t){.name = odd_names[i]});
  }
  print(HAK_FORMAT_JSON);
  CHECK(says(row_of(heaps[0]), "\"name\":\"weird \\\"name\\\"\\u000a\""));
  CHECK(says(row_of(heaps[4]), "\"name\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"));
  CHECK(says(row_of(heaps[7]), "\"name\":\"-----------------------------\","));
  const char *text = print(HAK_FORMAT_TEXT);
  CHECK(strstr(text, "  weird \\\"name\\\"\\n\n") != NULL);
  unsigned lines = 0;
  for (; (text = strchr(text, '\n')) != NULL; text++) lines++;
  CHECK_EQ(lines, 2 + 1 + TEST_COUNT(odd_names));
  for (size_t i = 0; i < TEST_COUNT(odd_names); i++) {
    CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
  }
}

static void text__moves_heaps_in_below_their_parents(void **state) {
  (void)state;
  hak_heap_t *top = test_heap(0, "top", NULL), *low = test_heap(0, "low", top);
  hak_heap_t *last = test_heap(0, "last", NULL);
  const char *text = print(HAK_FORMAT_TEXT);
  const char *a = strstr(text, "  top\n"), *b = strstr(text, "    low\n");
  CHECK(a != NULL && b != NULL && a < b && strstr(text, "  last\n") != NULL);
  CHECK_EQ(hak_heap_destroy(low), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
  CHECK_EQ(hak_heap_destroy(last), 0);
}

static void json__has_thousands_of_heaps(void **state) {
  (void)state;
  enum {
    HEAPS = 3000,
    DEEP = 200
  };
  static hak_heap_t *heaps[HEAPS];
  for (size_t i = 0; i < HEAPS; i++) {
    heaps[i] = test_heap(0, "one of many", i > 0 && i < DEEP ? heaps[i - 1] : NULL);
    CHECK(hak_heap_alloc(heaps[i], 100) != NULL);
  }
  print(HAK_FORMAT_JSON);
  unsigned rows = 0;
  for (const char *at = g_text.bytes; (at = strstr(at, "{\"id\":\"")) != NULL; at++)
    rows++;
  CHECK_EQ(rows, HEAPS + 1);
  CHECK_EQ(number(row_of(heaps[0]), "live_blocks"), DEEP);
  CHECK_EQ(number(row_of(heaps[DEEP - 1]), "depth"), DEEP - 1);
  for (size_t i = HEAPS; i-- > 0;) CHECK_EQ(hak_heap_destroy(heaps[i]), 0);
}

/* ---- beside threads --------------------------------------------------------------- */

static atomic_bool g_stop;

static void *come_and_go(void *number_of_thread) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)number_of_thread);
  while (!g_stop) {
    hak_heap_t *top = test_heap(0, "top", NULL), *low = test_heap(0, "low", top);
    hak_heap_t *serial = test_heap(HAK_HEAP_SERIAL, "serial", low);
    for (int i = 0; i < 20; i++) {
      const char *name = odd_names[test_below(&rng, TEST_COUNT(odd_names))];
      CHECK_EQ(hak_heap_set_name(low, name), 0);
      hak_heap_t *heap = i % 3 == 0 ? top : i % 3 == 1 ? low : serial;
      void *block = hak_heap_alloc(heap, test_random_size(&rng, 3 * MIB));
      if (i % 2 == 0) hak_free(block);
    }
    CHECK_EQ(hak_heap_destroy(serial), 0);
    CHECK_EQ(hak_heap_release(low), 0);
    CHECK_EQ(hak_heap_destroy(top), 0);
  }
  return NULL;
}

/* Each row's parent stands above it. */
static void check_parents(void) {
  const char *at = g_text.bytes;
  while ((at = strstr(at, "{\"id\":\"")) != NULL) {
    const char *parent = strstr(at, "\"parent\":");
    CHECK(parent != NULL);
    at++;
    if (strncmp(parent, "\"parent\":null", 13) == 0) continue;
    char id[60];
    snprintf(id, sizeof id, "{\"id\":%.*s,", (int)(strchr(parent, ',') - parent - 9),
             parent + 9);
    const char *above = strstr(g_text.bytes, id);
    CHECK_MSG(above != NULL && above < at, "no parent %s", id);
  }
}

static void json__is_valid_beside_threads(void **state) {
  (void)state;
  enum {
    THREADS = 4,
    ROUNDS = 40
  };
  pthread_t threads[THREADS];
  g_stop = false;
  test_threads_begin_numbered(threads, THREADS, come_and_go);
  for (size_t i = 0; i < test_scale(ROUNDS); i++) {
    print(HAK_FORMAT_JSON);
    check_parents();
    print(HAK_FORMAT_TEXT);
  }
  g_stop = true;
  test_threads_end(threads, THREADS);
  print(HAK_FORMAT_JSON);
  check_figures(hak_heap_default());
}

static void print__refuses_other_formats_and_works_without_a_library(void **state) {
  (void)state;
  CHECK_EQ(hak_heaps_print(HAK_FORMAT_PPROF, test_text_add, &g_text), EINVAL);
  CHECK_EQ(hak_heaps_print(-1, test_text_add, &g_text), EINVAL);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  print(HAK_FORMAT_JSON);
  CHECK(strstr(g_text.bytes, "\"heaps\":[]") != NULL);
  print(HAK_FORMAT_TEXT);
  test_restart();
}

TEST_MAIN(T(json__has_the_tree_of_heaps), T(json__has_heaps_of_every_kind),
          T(json__has_what_samples_know_of_requests), T(json__has_a_map_of_the_memory),
          T(json__is_valid_whatever_the_names),
          T(text__moves_heaps_in_below_their_parents), T(json__has_thousands_of_heaps),
          T(json__is_valid_beside_threads),
          T(print__refuses_other_formats_and_works_without_a_library))
