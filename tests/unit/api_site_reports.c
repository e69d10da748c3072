/* api_site_reports.c - what the library says of places in the program: visits, text and
 * JSON, and how far its estimates are from the truth. Formats of profilers are read in
 * tests/profiles. */
#include "text.h"
#include "threads.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is known of the place of a name. */
typedef struct wanted {
  const char *name;
  hak_site_info_t info;
  unsigned found, all;
} wanted_t;

static bool look(const hak_site_info_t *info, void *ctx) {
  wanted_t *wanted = ctx;
  CHECK_EQ(info->struct_size, sizeof *info);
  wanted->all++;
  if (strcmp(info->name, wanted->name) != 0) return true;
  CHECK(strstr(info->file, "api_site_reports.c") != NULL && info->line > 0);
  wanted->info = *info;
  wanted->found++;
  return true;
}

static hak_site_info_t info_of(const char *name) {
  wanted_t wanted = {.name = name};
  CHECK_EQ(hak_sites_visit(look, &wanted), 0);
  CHECK_MSG(wanted.found == 1, "%s was visited %u times", name, wanted.found);
  return wanted.info;
}

static void sample_each(void) {
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  /* It acts with the next sample, which is at most so far away. */
  HAK_SITE(before);
  for (int i = 0; i < 100; i++) hak_free(hak_alloc_at(MIB, &before));
}

static void visit__with_each_block_a_sample_is_exact(void **state) {
  (void)state;
  sample_each();
  HAK_SITE(exact);
  void *blocks[100];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc_at(10 + i, &exact);
    CHECK(blocks[i] != NULL);
  }
  for (size_t i = 50; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  hak_site_info_t info = info_of("exact");
  CHECK_EQ(info.blocks, 100);
  CHECK_EQ(info.bytes, 100 * 10 + 99 * 50);
  CHECK_EQ(info.live_blocks, 50);
  CHECK_EQ(info.live_bytes, 50 * 10 + 49 * 25);
  CHECK_EQ(info.live_bytes_low, info.live_bytes);
  CHECK_EQ(info.live_bytes_high, info.live_bytes);
  CHECK_EQ(info.peak_bytes, info.bytes);
  CHECK_EQ(info.samples, 100);
  CHECK_EQ(info.live_samples, 50);
  CHECK_EQ(info.smallest, 10);
  CHECK_EQ(info.largest, 109);
  CHECK_EQ(hak_site_count(&exact), 100);
  for (size_t i = 0; i < 50; i++) hak_free(blocks[i]);
  CHECK_EQ(info_of("exact").live_bytes, 0);
  CHECK_EQ(info_of("exact").live_bytes_high, 0);
}

static void *allocate_here(void *site) { return hak_alloc_at(1000, site); }

static void visit__a_free_on_another_thread_is_seen(void **state) {
  (void)state;
  sample_each();
  HAK_SITE(elsewhere);
  pthread_t thread;
  void *block;
  CHECK_EQ(pthread_create(&thread, NULL, allocate_here, &elsewhere), 0);
  CHECK_EQ(pthread_join(thread, &block), 0);
  CHECK_EQ(info_of("elsewhere").live_bytes, 1000);
  hak_free(block);
  CHECK_EQ(info_of("elsewhere").live_bytes, 0);
  CHECK_EQ(info_of("elsewhere").blocks, 1);
}

static bool stop(const hak_site_info_t *info, void *ctx) {
  (void)info;
  ++*(int *)ctx;
  return false;
}

static void visit__stops_when_it_is_told_to(void **state) {
  (void)state;
  HAK_SITE(one);
  HAK_SITE(two);
  hak_free(hak_alloc_at(10, &one));
  hak_free(hak_alloc_at(10, &two));
  int calls = 0;
  CHECK_EQ(hak_sites_visit(stop, &calls), 0);
  CHECK_EQ(calls, 1);
  CHECK_EQ(hak_sites_visit(NULL, NULL), EINVAL);
}

/* The truth lies within the published bounds of a place in 95 of 100 cases. */
static void bounds__enclose_the_truth_nineteen_times_in_twenty(void **state) {
  (void)state;
  enum {
    PLACES = 1000,
    MEAN = 16384,
    LEAST = 2 * MEAN, /* bytes of a place; others have up to 16 times as many */
  };
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, MEAN), 0);
  static hak_site_t sites[PLACES];
  static char names[PLACES][16];
  unsigned within = 0;
  double sum = 0, truth = 0;
  for (unsigned i = 0; i < PLACES; i++) {
    snprintf(names[i], sizeof names[i], "place %u", i);
    sites[i] = (hak_site_t){.file = __FILE__, .line = i + 1, .name = names[i]};
    size_t size = 16 + i % 200 * 37, live = 0, bytes = (size_t)LEAST << (i / 200);
    void *first = NULL;
    while (live < bytes) {
      void **block = hak_alloc_at(size, &sites[i]);
      CHECK(block != NULL);
      *block = first;
      first = block;
      live += size;
    }
    hak_site_info_t info = info_of(names[i]);
    within += info.live_bytes_low <= live && live <= info.live_bytes_high;
    CHECK(info.live_bytes_low <= info.live_bytes &&
          info.live_bytes <= info.live_bytes_high);
    sum += (double)info.live_bytes;
    truth += (double)live;
    while (first != NULL) {
      void *next = *(void **)first;
      hak_free(first);
      first = next;
    }
    CHECK_EQ(info_of(names[i]).live_bytes, 0);
  }
  CHECK_MSG(within >= PLACES * 93 / 100, "%u of %u within their bounds", within, PLACES);
  /* Without bias: four standard deviations of the sum. */
  CHECK_MSG(fabs(sum - truth) < 4 * sqrt(MEAN * truth), "%.0f instead of %.0f", sum,
            truth);
}

static test_text_t g_text;

/* A heap that has others below cannot end. */
static void samples__stay_where_the_end_of_their_heap_is_refused(void **state) {
  (void)state;
  sample_each();
  HAK_SITE(kept);
  hak_heap_t *heap = test_heap(0, NULL, NULL), *below = test_heap(0, NULL, heap);
  CHECK(hak_heap_alloc_at(heap, 3000, &kept) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), EBUSY);
  test_text_clear(&g_text);
  CHECK_EQ(hak_sites_print(HAK_FORMAT_TEXT, test_text_add, &g_text), 0);
  CHECK(strstr(g_text.bytes, "kept (") != NULL);
  CHECK_EQ(hak_heap_destroy(below), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  test_text_clear(&g_text);
  CHECK_EQ(hak_sites_print(HAK_FORMAT_TEXT, test_text_add, &g_text), 0);
  CHECK(strstr(g_text.bytes, "kept (") == NULL);
}

static void print__text_has_the_largest_places_first(void **state) {
  (void)state;
  sample_each();
  HAK_SITE(smaller);
  HAK_SITE(larger);
  void *a = hak_alloc_at(3000, &smaller), *b = hak_alloc_at(70000, &larger);
  test_text_clear(&g_text);
  CHECK_EQ(hak_sites_print(HAK_FORMAT_TEXT, test_text_add, &g_text), 0);
  const char *first = strstr(g_text.bytes, "larger ("),
             *second = strstr(g_text.bytes, "smaller (");
  CHECK(first != NULL && second != NULL && first < second);
  CHECK(strstr(g_text.bytes, "api_site_reports.c:") != NULL);
  hak_free(a);
  hak_free(b);
}

static void waves__are_told_to_a_record_that_is_long_enough(void **state) {
  (void)state;
  hak_waves_info_t info = HAK_WAVES_INFO_INIT;
  CHECK_EQ(hak_waves_get(NULL), EINVAL);
  CHECK_EQ(hak_waves_get(&info), 0);
  CHECK_EQ(info.struct_size, sizeof info);
  /* One of before the last figure gets what it knows, and nothing else. */
  info.struct_size = offsetof(hak_waves_info_t, saved_bytes);
  info.saved_bytes = 77;
  CHECK_EQ(hak_waves_get(&info), 0);
  CHECK_EQ(info.struct_size, offsetof(hak_waves_info_t, saved_bytes));
  CHECK_EQ(info.saved_bytes, 77);
  info.struct_size--;
  CHECK_EQ(hak_waves_get(&info), EINVAL);
}

static void print__an_unknown_format_is_refused(void **state) {
  (void)state;
  CHECK_EQ(hak_sites_print(-1, test_text_add, &g_text), EINVAL);
  CHECK_EQ(hak_sites_print(HAK_FORMAT_HEAPTRACK + 1, test_text_add, &g_text), EINVAL);
  CHECK_EQ(hak_stats_print(NULL, HAK_FORMAT_PPROF, test_text_add, &g_text), EINVAL);
}

/* Every format beside threads that allocate: no crash, nothing torn. */
static atomic_bool g_stop;
static void *allocate_on(void *site) {
  unsigned size = 1;
  while (!g_stop) {
    hak_free(hak_alloc_at(size, site));
    size = size * 7 % 5003;
  }
  return NULL;
}

static void print__works_beside_threads(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1000), 0);
  HAK_SITE(busy);
  pthread_t threads[3];
  g_stop = false;
  for (size_t i = 0; i < TEST_COUNT(threads); i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, allocate_on, &busy), 0);
  }
  for (int round = 0; round < 20; round++) {
    for (int format = HAK_FORMAT_TEXT; format <= HAK_FORMAT_HEAPTRACK; format++) {
      test_text_clear(&g_text);
      CHECK_EQ(hak_sites_print(format, test_text_add, &g_text), 0);
    }
  }
  g_stop = true;
  test_threads_end(threads, TEST_COUNT(threads));
  CHECK_EQ(info_of("busy").live_bytes, 0);
}

typedef struct told {
  hak_heap_t *heap;
  unsigned here, there, all;
} told_t;

static void hear(const hak_error_info_t *info, void *ctx) {
  told_t *told = ctx;
  CHECK_EQ(info->error, HAK_ERROR_LEAK);
  CHECK(info->heap == told->heap && hak_heap_of(info->address) == told->heap);
  told->all++;
  told->here += strstr(info->text, "3 blocks, 999 bytes in all, of here (") == info->text;
  told->there +=
      strstr(info->text, "1 block, 70000 bytes in all, of there (") == info->text;
  if (strstr(info->text, "api_site_reports.c:") != NULL) {
    CHECK(strstr(info->text, " live at the end of \"level\"") != NULL);
  }
}

static void leaks__name_the_places_that_are_known(void **state) {
  (void)state;
  sample_each();
  HAK_SITE(here);
  HAK_SITE(there);
  for (int sampled = 0; sampled < 2; sampled++) {
    hak_heap_config_t config = {
        .struct_size = sizeof config, .flags = HAK_HEAP_REPORT_LEAKS, .name = "level"};
    hak_heap_t *heap = hak_heap_create(&config);
    told_t told = {.heap = heap};
    for (int i = 0; i < 3; i++) {
      void *block =
          sampled ? hak_heap_alloc_at(heap, 333, &here) : hak_heap_alloc(heap, 333);
      CHECK(block != NULL);
    }
    CHECK(hak_heap_calloc_at(heap, 7, 10000, &there) != NULL);
    hak_heap_free(heap, hak_heap_alloc_at(heap, 50, &there));
    hak_set_error_handler(hear, &told);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    hak_set_error_handler(NULL, NULL);
    CHECK_EQ(told.here, sampled);
    CHECK_EQ(told.there, 1);
    CHECK_EQ(told.all, 3 + sampled);
  }
  CHECK_EQ(info_of("here").live_bytes, 0);
}

/* A place whose texts break lines, strings and characters breaks no report. */
static void print__keeps_odd_texts_within_their_lines(void **state) {
  (void)state;
  static hak_site_t odd = {"dir/\n;\"\xff.c", 7, "na\nme \"x\";\t\xc3", {0}};
  static char file[130] = "", name[130] = "";
  for (int i = 0; i < 30; i++) {
    strcat(file, "\xe2\x82\xac");
    strcat(name, "\xf0\x9f\x98\x80");
  }
  static hak_site_t wide = {file, 8, name, {0}};
  sample_each();
  void *a = hak_alloc_at(100, &odd), *b = hak_alloc_at(100, &wide);
  test_text_clear(&g_text);
  CHECK_EQ(hak_sites_print(HAK_FORMAT_TEXT, test_text_add, &g_text), 0);
  CHECK(strstr(g_text.bytes, "na\\nme \"x\";\\x09\\xc3 (dir/\\n;\"\\xff.c:7)\n") != NULL);
  test_text_clear(&g_text);
  CHECK_EQ(hak_sites_print(HAK_FORMAT_JSON, test_text_add, &g_text), 0);
  CHECK(strstr(g_text.bytes, "\"name\":\"na\\u000ame \\\"x\\\";\\u0009\xef\xbf\xbd\"") !=
        NULL);
  CHECK(strstr(g_text.bytes, "\"name\":\"\xf0\x9f\x98\x80") != NULL);
  CHECK(strstr(g_text.bytes, "\"file\":\"\xe2\x82\xac") != NULL); /* cut, but whole */
  test_text_clear(&g_text);
  CHECK_EQ(hak_sites_print(HAK_FORMAT_FOLDED, test_text_add, &g_text), 0);
  CHECK(strstr(g_text.bytes, "dir/\\n,\"\\xff.c;na\\nme ") != NULL);
  hak_free(a);
  hak_free(b);
}

static void check_lived(const char *name, uint32_t kind, uint32_t permille) {
  hak_site_info_t info = info_of(name);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < HAK_SITE_LIVES; i++) sum += info.lived_permille[i];
  CHECK_MSG(info.lived_permille[kind] == permille && (sum + 1 >= 1000 && sum <= 1001),
            "%u of %s are of kind %u, of %u in all", info.lived_permille[kind], name,
            kind, sum);
}

/* By what named places allocate meanwhile. A resize ends no life, a reset does. */
static void lives__are_told_apart_by_bytes(void **state) {
  (void)state;
  sample_each();
  HAK_SITE(brief);
  HAK_SITE(longer);
  HAK_SITE(between);
  HAK_SITE(reset);
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(heap != NULL);
  for (int i = 0; i < 10; i++) hak_free(hak_alloc_at(100, &brief));
  check_lived("brief", 0, 1000);
  void *block = hak_alloc_at(100, &longer), *more = hak_alloc_at(300, &longer);
  CHECK(hak_heap_alloc_at(heap, 100, &reset) != NULL);
  for (int i = 0; i < 3; i++) hak_free(hak_alloc_at(MIB, &between));
  block = hak_realloc(block, 300);
  CHECK(block != NULL && more != NULL);
  hak_site_info_t info = info_of("longer");
  for (uint32_t i = 0; i < HAK_SITE_LIVES; i++) CHECK_EQ(info.lived_permille[i], 0);
  hak_free(block);
  check_lived("longer", 2, 1000); /* 2 to 16 MiB */
  CHECK_EQ(hak_heap_destroy(heap), 0);
  check_lived("reset", 2, 1000);
  for (int i = 0; i < 20; i++) hak_free(hak_alloc_at(MIB, &between));
  hak_free(more);
  check_lived("longer", 3, 500);
}

/* Places are there anew after a shutdown, in a new beginning. */
static void shutdown__forgets_places(void **state) {
  (void)state;
  HAK_SITE(again);
  hak_free(hak_alloc_at(10, &again));
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  wanted_t wanted = {.name = "again"};
  CHECK_EQ(hak_sites_visit(look, &wanted), 0);
  CHECK_EQ(wanted.all, 0);
  CHECK_EQ(hak_site_count(&again), 0);
  hak_free(hak_alloc_at(10, &again));
  CHECK_EQ(hak_sites_visit(look, &wanted), 0);
  CHECK_EQ(wanted.found, 1);
}

TEST_MAIN(T(visit__with_each_block_a_sample_is_exact),
          T(visit__a_free_on_another_thread_is_seen), T(visit__stops_when_it_is_told_to),
          T(bounds__enclose_the_truth_nineteen_times_in_twenty),
          T(samples__stay_where_the_end_of_their_heap_is_refused),
          T(print__text_has_the_largest_places_first),
          T(waves__are_told_to_a_record_that_is_long_enough),
          T(print__an_unknown_format_is_refused), T(print__works_beside_threads),
          T(leaks__name_the_places_that_are_known),
          T(print__keeps_odd_texts_within_their_lines), T(lives__are_told_apart_by_bytes),

          T(shutdown__forgets_places))
