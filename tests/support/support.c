/* support.c - see support.h */
#include "support.h"

#include "strict_os.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static pthread_t g_main_thread;
static pid_t g_main_process;
static uint64_t g_seed = 0x68616b6d656d0001u;
static unsigned g_scale = 100;
static char g_program[256] = "test";
static char g_only[128];
static char g_replay[160], g_argument[32];
static bool g_strict;
static char g_strict_text[64];
static unsigned g_strict_flags;
static test_os_t g_strict_os;
static hak_config_t g_config;

/* ---- Checks ----------------------------------------------------------- */

void test_fail(const char *file, int line, const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  fprintf(stderr, "%s:%d: check failed: %s\n", file, line, text);
  fflush(NULL);
  if (getpid() == g_main_process && pthread_equal(pthread_self(), g_main_thread)) {
    test_print_seed();
    _fail(file, line);
  }
  abort();
}

size_t test_opaque(size_t value) {
  volatile size_t v = value;
  return v;
}

/* ---- Random numbers --------------------------------------------------- */

static uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t test_seed(void) { return g_seed; }

test_rng_t test_rng(uint64_t seed, uint64_t salt) {
  return (test_rng_t){mix(seed ^ mix(salt + 0x9e3779b97f4a7c15u))};
}

uint64_t test_random(test_rng_t *rng) {
  rng->state += 0x9e3779b97f4a7c15u;
  return mix(rng->state);
}

uint64_t test_below(test_rng_t *rng, uint64_t limit) {
  return limit == 0 ? 0 : test_random(rng) % limit;
}

size_t test_random_size(test_rng_t *rng, size_t max) {
  static const struct {
    unsigned percent;
    size_t limit;
  } tiers[] = {{40, 128}, {70, 1 * KIB}, {90, 32 * KIB}, {98, 1 * MIB}, {100, 8 * MIB}};
  unsigned draw = (unsigned)test_below(rng, 100);
  size_t limit = max;
  for (size_t i = 0; i < TEST_COUNT(tiers); i++) {
    if (draw < tiers[i].percent) {
      limit = tiers[i].limit;
      break;
    }
  }
  if (limit > max) {
    limit = max;
  }
  return (size_t)test_below(rng, limit + 1);
}

void test_replay(const char *only, const char *argument) {
  snprintf(g_replay, sizeof g_replay, "%s%s",
           only == NULL ? "" : " HAKMEM_TEST_ONLY=", only == NULL ? "" : only);
  snprintf(g_argument, sizeof g_argument, "%s%s", argument == NULL ? "" : " ",
           argument == NULL ? "" : argument);
}

void test_print_seed(void) {
  fprintf(stderr, "replay with: HAKMEM_TEST_SEED=0x%" PRIx64 "%s%s%s %s%s\n", g_seed,
          g_strict ? " HAKMEM_TEST_STRICT=" : "", g_strict_text, g_replay, g_program,
          g_argument);
}

size_t test_scale(size_t count) {
  uint64_t n = (uint64_t)count * g_scale / 100;
  if (TEST_TSAN) {
    n /= 10;
  } else if (TEST_ASAN) {
    n /= 3;
  }
  return n == 0 ? 1 : (size_t)n;
}

/* ---- Byte patterns ---------------------------------------------------- */

static uint64_t pattern_word(uint64_t tag, size_t index) {
  return (tag + 1) * 0x9e3779b97f4a7c15u + (uint64_t)index * 0xd6e8feb86659fd93u;
}

void test_fill(void *block, size_t size, uint64_t tag) {
  unsigned char *bytes = block;
  size_t words = size / 8;
  for (size_t i = 0; i < words; i++) {
    uint64_t w = pattern_word(tag, i);
    memcpy(bytes + i * 8, &w, 8);
  }
  uint64_t w = pattern_word(tag, words);
  memcpy(bytes + words * 8, &w, size - words * 8);
}

bool test_verify(const void *block, size_t size, uint64_t tag) {
  const unsigned char *bytes = block;
  size_t words = size / 8;
  for (size_t i = 0; i < words; i++) {
    uint64_t found;
    memcpy(&found, bytes + i * 8, 8);
    if (found != pattern_word(tag, i)) {
      return false;
    }
  }
  uint64_t w = pattern_word(tag, words);
  return memcmp(bytes + words * 8, &w, size - words * 8) == 0;
}

bool test_is_zero(const void *block, size_t size) {
  const unsigned char *bytes = block;
  return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

bool test_is_within(const void *address, const void *memory, size_t size) {
  return (size_t)((const char *)address - (const char *)memory) < size;
}

#define SPARSE_LIMIT ((size_t)32 << 10)
#define SPARSE_END ((size_t)4096)

void test_fill_sparse(void *block, size_t size, uint64_t tag) {
  unsigned char *bytes = block;
  if (size <= SPARSE_LIMIT) {
    test_fill(block, size, tag);
    return;
  }
  test_fill(bytes, SPARSE_END, tag);
  for (size_t at = SPARSE_END; at + 8 <= size - SPARSE_END; at += 4096) {
    uint64_t w = pattern_word(tag, at);
    memcpy(bytes + at, &w, 8);
  }
  test_fill(bytes + size - SPARSE_END, SPARSE_END, ~tag);
}

bool test_verify_sparse(const void *block, size_t size, uint64_t tag) {
  const unsigned char *bytes = block;
  if (size <= SPARSE_LIMIT) {
    return test_verify(block, size, tag);
  }
  for (size_t at = SPARSE_END; at + 8 <= size - SPARSE_END; at += 4096) {
    uint64_t w = pattern_word(tag, at);
    if (memcmp(bytes + at, &w, 8) != 0) {
      return false;
    }
  }
  return test_verify(bytes, SPARSE_END, tag) &&
         test_verify(bytes + size - SPARSE_END, SPARSE_END, ~tag);
}

bool test_verify_sparse_prefix(const void *block, size_t size, size_t kept,
                               uint64_t tag) {
  const unsigned char *bytes = block;
  if (kept > size) {
    kept = size;
  }
  if (size <= SPARSE_LIMIT) {
    return test_verify(block, kept, tag);
  }
  size_t end = kept < size - SPARSE_END ? kept : size - SPARSE_END;
  for (size_t at = SPARSE_END; at + 8 <= end; at += 4096) {
    uint64_t w = pattern_word(tag, at);
    if (memcmp(bytes + at, &w, 8) != 0) {
      return false;
    }
  }
  return test_verify(bytes, kept < SPARSE_END ? kept : SPARSE_END, tag);
}

typedef struct note {
  uint64_t size, tag;
} note_t;
_Static_assert(sizeof(note_t) == TEST_NOTED, "support.h says so");

void *test_fill_noted(void *block, size_t size, uint64_t tag) {
  note_t note = {size, tag};
  memcpy(block, &note, sizeof note);
  test_fill_sparse((char *)block + sizeof note, size - sizeof note, tag);
  return block;
}

size_t test_check_noted(const void *block) {
  note_t note;
  memcpy(&note, block, sizeof note);
  CHECK(test_verify_sparse((const char *)block + sizeof note, note.size - sizeof note,
                           note.tag));
  CHECK(hak_usable_size(block) >= note.size);
  return note.size;
}

/* ---- The library in a test -------------------------------------------- */

const hak_config_t *test_config(void) { return g_strict ? &g_config : NULL; }

bool test_is_strict(void) { return g_strict; }

void test_set(hak_option_t option, int64_t value) {
  CHECK_EQ(hak_option_set(option, value), 0);
}

void test_keep_unused(bool keep) {
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, keep ? 86400000 : 500), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, keep ? 0 : 1), 0);
}

void test_start(void) {
  if (g_strict) {
    test_restart();
  }
}

void test_restart(void) {
  if (g_strict) {
    int error = hak_init(&g_config);
    CHECK_EQ(error, 0);
  }
}

hak_stats_t test_heap_stats(hak_heap_t *heap) {
  hak_stats_t stats;
  memset(&stats, 0, sizeof stats);
  stats.struct_size = sizeof stats;
  int error = hak_stats_get(heap, &stats);
  CHECK_EQ(error, 0);
  return stats;
}
hak_stats_t test_stats(void) { return test_heap_stats(NULL); }

hak_heap_t *test_heap_make(hak_heap_config_t config) {
  config.struct_size = sizeof config;
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  return heap;
}

hak_heap_t *test_heap(uint32_t flags, const char *name, hak_heap_t *parent) {
  hak_heap_t *heap =
      test_heap_make((hak_heap_config_t){.flags = flags, .name = name, .parent = parent});
  CHECK(strncmp(hak_heap_name(heap), name == NULL ? "" : name, 31) == 0);
  return heap;
}

hak_heap_t *test_heap_in(void *memory, size_t size, uint32_t flags, hak_heap_t *parent) {
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = flags};
  config.name = "enclosed";
  config.parent = parent;
  config.memory = memory;
  config.memory_size = size;
  return hak_heap_create(&config);
}

uint64_t test_heap_live_blocks(hak_heap_t *heap) {
  hak_collect(heap, SIZE_MAX,
              HAK_COLLECT_ALL); /* what serial heaps keep counts as live until then */
  return test_heap_stats(heap).live_blocks;
}

size_t test_live_at_first_null(hak_heap_t *heap, unsigned churn, uint64_t salt) {
  static void *blocks[1 << 16];
  static size_t sizes[1 << 16];
  test_rng_t rng = test_rng(test_seed(), salt);
  size_t count = 0, live = 0;
  for (;;) {
    size_t ask = 16 + (size_t)test_below(&rng, 8 * 1024 - 16 + 1);
    void *block = hak_heap_alloc(heap, ask);
    if (block == NULL) break;
    memset(block, 0xff, ask);
    CHECK(count < TEST_COUNT(blocks));
    blocks[count] = block;
    sizes[count++] = ask;
    live += ask;
    if (churn == 0 || test_below(&rng, churn) != 0) continue;
    size_t victim = (size_t)test_below(&rng, count);
    hak_free(blocks[victim]);
    live -= sizes[victim];
    blocks[victim] = blocks[--count];
    sizes[victim] = sizes[count];
  }
  CHECK_EQ(hak_check(heap), 0);
  return live;
}

uint64_t test_live_blocks(void) { return test_stats().live_blocks; }

uint64_t test_live_bytes(void) { return test_stats().live_bytes; }

void test_count_report(const hak_error_info_t *info, void *ctx) {
  test_reports_t *reports = ctx;
  reports->count++;
  reports->last = *info;
}

test_reports_t g_reports;

void test_reports_begin(void) {
  memset(&g_reports, 0, sizeof g_reports);
  hak_set_error_handler(test_count_report, &g_reports);
}

void test_reports_end(unsigned count, hak_error_t error) {
  hak_set_error_handler(NULL, NULL);
  CHECK_EQ(g_reports.count, count);
  if (count > 0) CHECK_EQ(g_reports.last.error, error);
}

void test_reports_end_at(hak_error_t error, const void *address) {
  test_reports_end(1, error);
  CHECK(g_reports.last.address == address);
}

void test_reports_of_gone(hak_heap_t *heap, void *block, hak_heap_t *other) {
  test_reports_begin();
  CHECK(hak_heap_alloc(heap, 100) == NULL);
  test_reports_end_at(HAK_ERROR_STALE_HEAP, NULL);
  CHECK_EQ(hak_heap_destroy(other), 0);
  test_reports_begin();
  hak_free(block);
  test_reports_end_at(HAK_ERROR_FOREIGN_POINTER, block);
}

int test_reports_setup(void **state) {
  (void)state;
  test_reports_begin();
  return 0;
}

int test_reports_teardown(void **state) {
  (void)state;
  hak_set_error_handler(NULL, NULL);
  return 0;
}

void test_expect_report(unsigned count, hak_error_t error, const void *address,
                        const char *function) {
  CHECK_EQ(g_reports.count, count);
  CHECK_MSG(g_reports.last.error == error, "reported as '%s', not '%s'",
            hak_error_text(g_reports.last.error), hak_error_text(error));
  CHECK(g_reports.last.address == address);
  CHECK_MSG(function == NULL || strcmp(g_reports.last.function, function) == 0,
            "'%s' is not '%s'", g_reports.last.function, function);
  CHECK(g_reports.last.text != NULL && g_reports.last.text[0] != '\0');
  CHECK(strchr(g_reports.last.text, '\n') == NULL);
  CHECK(g_reports.last.struct_size >= sizeof(hak_error_info_t));
}

/* ---- main ------------------------------------------------------------- */

double test_seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* The n-th number of the process's statm. */
static size_t statm_bytes(size_t n) {
  size_t pages[2] = {0, 0};
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file != NULL && fscanf(file, "%zu %zu", &pages[0], &pages[1]) == 2);
  fclose(file);
  return pages[n] * (size_t)sysconf(_SC_PAGESIZE);
}

size_t test_mapped_bytes(void) { return statm_bytes(0); }

size_t test_resident_bytes(void) { return statm_bytes(1); }

size_t test_argument(int argc, char **argv, int i, size_t otherwise) {
  return argc > i ? strtoul(argv[i], NULL, 10) : otherwise;
}

void test_begin(void) {
  g_main_thread = pthread_self();
  g_main_process = getpid();
  ssize_t length = readlink("/proc/self/exe", g_program, sizeof g_program - 1);
  if (length > 0) {
    g_program[length] = '\0';
  }
  const char *only = getenv("HAKMEM_TEST_ONLY");
  if (only != NULL) {
    /* cmocka keeps the pointer, and the variable goes. */
    snprintf(g_only, sizeof g_only, "%s", only);
    cmocka_set_test_filter(g_only);
  }
  const char *seed = getenv("HAKMEM_TEST_SEED");
  if (seed != NULL) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    g_seed = strcmp(seed, "random") == 0
                 ? mix((uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 30)
                 : strtoull(seed, NULL, 0);
  }
  const char *scale = getenv("HAKMEM_TEST_SCALE");
  if (scale != NULL) {
    g_scale = (unsigned)strtoul(scale, NULL, 10);
  }
  const char *strict = getenv("HAKMEM_TEST_STRICT");
  if (strict != NULL && strict[0] != '\0' && strcmp(strict, "0") != 0) {
    g_strict = true;
    snprintf(g_strict_text, sizeof g_strict_text, "%s", strict);
    g_strict_flags = test_os_parse(strict);
    test_os_open(&g_strict_os, g_strict_flags);
    g_config = (hak_config_t){.struct_size = sizeof g_config, .os = &g_strict_os.hooks};
  }
  /* Blocks that are guarded by chance are the subject of tests that ask for them. */
  (void)hak_option_set(HAK_OPTION_GUARD_SAMPLE, 0);
  unsetenv("HAKMEM_TEST_ONLY");
  unsetenv("HAKMEM_TEST_SEED");
  unsetenv("HAKMEM_TEST_SCALE");
  unsetenv("HAKMEM_TEST_STRICT");
  if (seed != NULL) {
    test_print_seed();
  }
}
