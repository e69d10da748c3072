/* api_leaks.c - a heap that was asked to tells at its end what is still live in it. */
#include "support.h"
#include "threads.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "child.h"

/* The texts of all reports, one a line. */
typedef struct told {
  unsigned count;
  hak_heap_t *heap;
  const char *name;
  char text[4096];
} told_t;

static void listen(const hak_error_info_t *info, void *ctx) {
  told_t *told = ctx;
  CHECK_EQ(info->error, HAK_ERROR_LEAK);
  CHECK(info->heap == told->heap);
  hak_block_t block = {.struct_size = sizeof block};
  CHECK_EQ(hak_ptr_info(info->address, &block), 0);
  CHECK(block.is_start && block.heap == info->heap);
  told->name = hak_heap_name(info->heap);
  CHECK(strcmp(info->function, "hak_heap_destroy") == 0);
  size_t used = strlen(told->text);
  snprintf(told->text + used, sizeof told->text - used, "%s\n", info->text);
  told->count++;
}

static hak_heap_t *make(hak_heap_t *parent) {
  return test_heap(HAK_HEAP_REPORT_LEAKS, NULL, parent);
}

static told_t g_told;

static void end(hak_heap_t *heap) {
  memset(&g_told, 0, sizeof g_told);
  g_told.heap = heap;
  hak_set_error_handler(listen, &g_told);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  hak_set_error_handler(NULL, NULL);
}

static void expect(uint64_t blocks, size_t size) {
  char line[128];
  snprintf(line, sizeof line, "%" PRIu64 " block%s of %zu bytes %s live", blocks,
           blocks == 1 ? "" : "s", hak_good_size(size), blocks == 1 ? "was" : "were");
  CHECK_MSG(strstr(g_told.text, line) != NULL, "'%s' is not in: %s", line, g_told.text);
}

static void check_each_size(uint32_t flags) {
  static const struct {
    size_t size, made, freed;
  } rows[] = {{16, 1000, 0},  {96, 5000, 4997}, {1000, 300, 299},
              {5000, 50, 10}, {30000, 20, 20},  {100000, 5, 1}};
  hak_heap_config_t config = {.struct_size = sizeof config,
                              .flags = HAK_HEAP_REPORT_LEAKS | flags};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    void *blocks[5000];
    for (size_t k = 0; k < rows[i].made; k++) {
      blocks[k] = hak_heap_alloc(heap, rows[i].size);
      CHECK(blocks[k] != NULL);
    }
    for (size_t k = 0; k < rows[i].freed; k++) hak_free(blocks[k]);
  }
  end(heap);
  CHECK_EQ(g_told.count, 5);
  for (size_t i = 0; i < TEST_COUNT(rows); i++) {
    if (rows[i].made > rows[i].freed) {
      expect(rows[i].made - rows[i].freed, rows[i].size);
    }
  }
}

static void leaks__are_counted_for_each_size(void **state) {
  (void)state;
  check_each_size(0);
}

static void leaks__of_serial_heaps_are_counted_too(void **state) {
  (void)state;
  check_each_size(HAK_HEAP_SERIAL);
}

/* Ends a heap with two live blocks, of so many bytes in all, that are told in one line.
 */
static void end_with_two(hak_heap_t *heap, size_t bytes) {
  char line[128];
  snprintf(line, sizeof line, "2 blocks, %zu bytes in all, were live", bytes);
  end(heap);
  CHECK_EQ(g_told.count, 1);
  CHECK_MSG(strstr(g_told.text, line) != NULL, "'%s' is not: %s", line, g_told.text);
}

static void leaks__of_large_blocks_are_told_together(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  void *a = hak_heap_alloc(heap, 5 << 20), *b = hak_heap_alloc(heap, 40 << 20);
  hak_free(hak_heap_alloc(heap, 3 << 20));
  end_with_two(heap, hak_usable_size(a) + hak_usable_size(b));
}

static void leaks__in_memory_of_the_callers_are_told_together(void **state) {
  (void)state;
  static char memory[1 << 20];
  hak_heap_t *heap = test_heap_in(memory, sizeof memory, HAK_HEAP_REPORT_LEAKS, NULL);
  CHECK(heap != NULL);
  void *a = hak_heap_alloc(heap, 100), *b = hak_heap_alloc(heap, 5000);
  hak_free(hak_heap_alloc(heap, 3000));
  end_with_two(heap, hak_usable_size(a) + hak_usable_size(b));
}

/* Large memory has size classes, and is told like others'. */
static void leaks__in_large_memory_are_told_by_size(void **state) {
  (void)state;
  static char memory[12 << 20];
  hak_heap_t *heap = test_heap_in(memory, sizeof memory, HAK_HEAP_REPORT_LEAKS, NULL);
  CHECK(heap != NULL);
  for (size_t i = 0; i < 3; i++) CHECK(hak_heap_alloc(heap, 100) != NULL);
  hak_free(hak_heap_alloc(heap, 3000));
  char line[128];
  snprintf(line, sizeof line, "3 blocks of %zu bytes were live", hak_good_size(100));
  end(heap);
  CHECK_EQ(g_told.count, 1);
  CHECK_MSG(strstr(g_told.text, line) != NULL, "'%s' is not: %s", line, g_told.text);
}

static void *use(void *argument) {
  void **heap_and_block = argument;
  void *blocks[500];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_heap_alloc(heap_and_block[0], 64);
  }
  for (size_t i = 1; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  heap_and_block[1] = blocks[0];
  return NULL;
}

static pthread_barrier_t g_used, g_ended;

static void *use_and_stay(void *argument) {
  (void)use(argument);
  pthread_barrier_wait(&g_used);
  pthread_barrier_wait(&g_ended);
  return NULL;
}

static void leaks__what_threads_have_cached_is_none(void **state) {
  (void)state;
  enum {
    THREADS = 4
  };
  pthread_barrier_init(&g_used, NULL, THREADS + 1);
  pthread_barrier_init(&g_ended, NULL, THREADS + 1);
  hak_heap_t *heap = make(NULL);
  void *job[THREADS + 1][2];
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) {
    job[i][0] = heap;
    CHECK_EQ(pthread_create(&threads[i], NULL, use_and_stay, job[i]), 0);
  }
  pthread_barrier_wait(&g_used);
  job[THREADS][0] = heap;
  (void)use(job[THREADS]);
  hak_free(job[0][1]); /* a block of another thread's */
  end(heap);
  pthread_barrier_wait(&g_ended);
  test_threads_end(threads, THREADS);
  CHECK_EQ(g_told.count, 1);
  expect(THREADS, 64);
}

static void leaks__a_heap_that_was_emptied_has_none(void **state) {
  (void)state;
  hak_heap_t *heap = make(NULL);
  for (int i = 0; i < 1000; i++) hak_free(hak_heap_alloc(heap, (size_t)i * 50));
  end(heap);
  CHECK_EQ(g_told.count, 0);

  heap = make(NULL);
  for (int i = 0; i < 1000; i++) CHECK(hak_heap_alloc(heap, 100) != NULL);
  CHECK_EQ(hak_heap_reset(heap), 0);
  end(heap);
  CHECK_EQ(g_told.count, 0);
}

static void leaks__are_told_of_heaps_only_that_were_asked_and_ended(void **state) {
  (void)state;
  hak_heap_t *parent = make(NULL);
  hak_heap_config_t config = {.struct_size = sizeof config, .parent = parent};
  hak_heap_t *child = hak_heap_create(&config);
  CHECK(hak_heap_alloc(child, 10) != NULL && hak_heap_alloc(parent, 10) != NULL);
  test_reports_t reports = {0};
  hak_set_error_handler(test_count_report, &reports);
  CHECK_EQ(hak_heap_destroy(parent), EBUSY);
  CHECK_EQ(hak_heap_destroy(child), 0);
  CHECK_EQ(reports.count, 0);
  end(parent);
  CHECK_EQ(g_told.count, 1);
  expect(1, 10);
}

static void leaks__of_a_released_heap_are_told_by_the_one_above(void **state) {
  (void)state;
  hak_heap_t *parent = make(NULL), *child = make(parent);
  for (int i = 0; i < 7; i++) CHECK(hak_heap_alloc(child, 48) != NULL);
  CHECK_EQ(hak_heap_release(child), 0);
  end(parent);
  CHECK_EQ(g_told.count, 1);
  expect(7, 48);
}

/* Whoever hears of a leak can look at the heap and at the block. */
static void read_leak(const hak_error_info_t *info, void *ctx) {
  unsigned *read = ctx;
  CHECK(strcmp(hak_heap_name(info->heap), "level 2") == 0);
  CHECK(strstr(info->text, " live at the end of \"level 2\"") != NULL);
  CHECK_EQ(*(const unsigned char *)info->address, 0x5a);
  ++*read;
}

static void leaks__name_the_heap_and_a_block_of_each_size(void **state) {
  (void)state;
  static char memory[1 << 20];
  for (int kind = 0; kind < 3; kind++) {
    hak_heap_config_t config = {.struct_size = sizeof config, .name = "level 2"};
    config.flags = HAK_HEAP_REPORT_LEAKS | (kind == 1 ? HAK_HEAP_SERIAL : 0);
    config.memory = kind == 2 ? memory : NULL;
    config.memory_size = kind == 2 ? sizeof memory : 0;
    hak_heap_t *heap = hak_heap_create(&config);
    CHECK(heap != NULL);
    static const size_t sizes[] = {10, 333, 335, 100000, 300000, 2000000};
    size_t count = kind == 2 ? 4 : TEST_COUNT(sizes);
    for (size_t i = 0; i < count; i++) {
      unsigned char *block = hak_heap_alloc(heap, sizes[i]);
      CHECK(block != NULL);
      *block = 0x5a;
    }
    unsigned read = 0;
    hak_set_error_handler(read_leak, &read);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    hak_set_error_handler(NULL, NULL);
    CHECK_EQ(read, kind == 2 ? 1 : 5);
  }
}

static int tell_child(void *ctx) {
  (void)ctx;
  hak_set_error_handler(NULL, NULL);
  hak_heap_t *heap = make(NULL);
  CHECK(hak_heap_alloc(heap, 32) != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  return 0;
}

static void leaks__are_a_line_and_no_end_by_default(void **state) {
  (void)state;
  test_child_t child = test_child_run(tell_child, NULL, 20);
  CHECK_EQ(child.signal, 0);
  CHECK_EQ(child.status, 0);
  CHECK_MSG(
      strncmp(child.output, "hakmem: leak: address ", 22) == 0 &&
          strstr(child.output, "1 block of 32 bytes was live at the end: 0x") != NULL,
      "said: %s", child.output);
}

TEST_MAIN(T(leaks__are_counted_for_each_size), T(leaks__of_serial_heaps_are_counted_too),
          T(leaks__of_large_blocks_are_told_together),
          T(leaks__in_memory_of_the_callers_are_told_together),
          T(leaks__in_large_memory_are_told_by_size),
          T(leaks__what_threads_have_cached_is_none),
          T(leaks__a_heap_that_was_emptied_has_none),
          T(leaks__are_told_of_heaps_only_that_were_asked_and_ended),
          T(leaks__of_a_released_heap_are_told_by_the_one_above),
          T(leaks__name_the_heap_and_a_block_of_each_size),
          T(leaks__are_a_line_and_no_end_by_default))
