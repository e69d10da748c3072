/* heap_refusals.c - memory for the library's own records ends at any place of an
 * operation: that is out of memory and nothing worse, and the same works as soon as there
 * is some. */
#include "os_fixture.h"
#include "threads.h"

#include <errno.h>

#include "child.h"
#include "heap/give_up.h"
#include "heap/lifecycle.h"
#include "heap/samples.h"
#include "heap/serial.h"
#include "heap/thread.h"
#include "heap/thread_cache.h"
#include "pages/meta.h"

enum {
  STEP = 64 * 1024, /* so much memory for records comes at a time over hooks like these */
  SMALL = 64,       /* records of less than a page, and those of whole pages, */
  PAGE = 4096,      /* are cut from different memory */
  PLENTY = 48 * 1024, /* of each kind, for all that an operation needs */
  UNIT = 2 << 20
};

/* The system refuses all but so many calls. */
static void refuse_after(uint64_t calls) {
  test_os_fail(&g_os, TEST_FAIL_FROM_NTH, TEST_OS_ALL_KINDS, calls + 1);
}
static void refuse_none(void) { test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0); }

static size_t cut(size_t size, size_t most) {
  size_t count = 0;
  while (count < most && hak_meta_alloc(hak_lifecycle_os(), size, size) != NULL) count++;
  return count;
}

/* From here on the system refuses all, and there is memory for `bytes` of records that
 * are cut in multiples of `size`. */
static void leave(size_t size, size_t bytes) {
  refuse_after(0);
  cut(size, SIZE_MAX);
  refuse_none();
  uint64_t reserved = hak_load_relaxed(&hak_meta_reserved);
  CHECK_EQ(cut(size, 1), 1);
  bool has_head = hak_load_relaxed(&hak_meta_reserved) != reserved;
  refuse_after(0);
  size_t left = STEP / size - 1 - has_head;
  CHECK(bytes / size <= left);
  CHECK_EQ(cut(size, left - bytes / size), left - bytes / size);
}

/* --- operations: true if they made what they were to
 * ------------------------------------ */

enum {
  UNITS = 4
};
static _Alignas(UNIT) char g_memory[2][(UNITS + 2) * UNIT];
static test_os_t g_own;
static hak_heap_t *g_heap;

static bool made(hak_heap_t *heap) {
  CHECK(heap != NULL || errno == ENOMEM);
  if (heap == NULL) return false;
  CHECK(hak_heap_record(heap)->store->centrals != NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  return true;
}

static bool make_plain(void) { return made(hak_heap_create(NULL)); }

static bool make_below(void) {
  hak_heap_config_t config = {
      .struct_size = sizeof config, .name = "below", .parent = g_heap};
  return made(hak_heap_create(&config));
}

static hak_heap_t *make_in(int which, size_t size) {
  hak_heap_config_t config = {
      .struct_size = sizeof config, .memory = g_memory[which], .memory_size = size};
  return hak_heap_create(&config);
}
/* A neighbour, so that what leads to the addresses is there. */
static void little_begin(void) { CHECK(make_in(0, UNIT / 2) != NULL); }
static void units_begin(void) { CHECK(make_in(0, UNITS * UNIT) != NULL); }
static bool make_in_little(void) { return made(make_in(1, UNIT / 2)); }
static bool make_in_units(void) {
  hak_heap_t *heap = make_in(1, sizeof g_memory[1]);
  if (heap != NULL)
    CHECK(hak_cache_at(hak_thread_self, hak_heap_record(heap)->index) != NULL);
  return made(heap);
}

static bool make_reserved(void) {
  hak_heap_config_t config = {.struct_size = sizeof config, .reserve = 40 * UNIT};
  hak_heap_t *heap = hak_heap_create(&config);
  /* The address space that it was promised is there. */
  if (heap != NULL) test_os_fail(&g_os, TEST_FAIL_FROM_NTH, 1u << TEST_OS_RESERVE, 1);
  for (int i = 0; heap != NULL && i < 39 * UNIT / 50000; i++)
    CHECK(hak_heap_alloc(heap, 40000) != NULL);
  return made(heap);
}

static bool make_over_own(void) {
  hak_heap_config_t config = {.struct_size = sizeof config, .os = &g_own.hooks};
  return made(hak_heap_create(&config));
}

static void heap_begin(void) { g_heap = test_heap(0, NULL, NULL); }

/* The next heap's record needs another chunk of records. */
static void heaps_begin(void) {
  heap_begin();
  while (hak_heaps_made() % 256 != 0) test_heap(0, NULL, NULL);
}

/* All ways that come by each heap. */
static int use_heaps(void *ctx) {
  (void)ctx;
  hak_heap_t *heap = test_heap(0, NULL, g_heap), *below = test_heap(0, NULL, heap);
  CHECK(hak_heap_alloc(below, 100) != NULL);
  CHECK_EQ(hak_heap_set_limits(heap, 0, UNIT), 0);
  CHECK(hak_heap_alloc(heap, 2 * UNIT) == NULL); /* what others could give up is sought */
  CHECK_EQ(hak_heap_release(below), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  hak_thread_t *me = hak_thread_enter_started();
  hak_give_up_unused(me);
  hak_thread_leave(me, "test");
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

/* The number of a record without memory is lost, and no heap is found there. */
static unsigned g_lost;

static bool make_far(void) {
  uint32_t before = hak_heaps_made();
  bool done = make_plain();
  if (!done && hak_heaps_made() != before) {
    refuse_none();
    g_lost++;
    CHECK(hak_heap_at(before) == NULL);
    test_child_must_succeed(use_heaps, NULL, 60);
    (void)use_heaps(NULL);
  }
  return done;
}

static bool make_samples(void) {
  return hak_samples_heap(hak_heap_record(g_heap)) != NULL;
}

/* Blocks from a serial heap without a state, which have to come out of one. */
static void serial_begin(void) { g_heap = test_heap(HAK_HEAP_SERIAL, NULL, NULL); }

static bool use_serial(void) {
  void *block = hak_heap_alloc(g_heap, 100);
  CHECK(block != NULL || errno == ENOMEM);
  hak_heap_free(g_heap, block);
  return hak_heap_serial(hak_heap_record(g_heap)) != NULL;
}

static void *use_once(void *heap) {
  CHECK(hak_heap_alloc(heap, 100) != NULL);
  return NULL;
}

/* The heap has memory, and the thread nothing of it yet; with any block it may get a
 * cache.
 */
static void used_begin(void) {
  heaps_begin();
  g_heap = test_heap(0, NULL, NULL);
  test_thread_run(use_once, g_heap);
}

static bool use_often(void) {
  hak_heap_t *heap = hak_heap_record(g_heap);
  for (int i = 0; i < 40; i++) {
    char *block = hak_heap_alloc(g_heap, 100);
    CHECK(block != NULL && hak_heap_of(block) == g_heap);
    hak_heap_free(g_heap, block);
  }
  return hak_cache_find(hak_thread_self, heap) != NULL;
}

/* --- refusals
 * --------------------------------------------------------------------------- */

/* More blocks than there are records of at a time. */
static bool use_malloced(void) {
  void *blocks[300];
  size_t count = 0;
  while (count < TEST_COUNT(blocks) &&
         (blocks[count] = hak_heap_alloc(g_heap, 100)) != NULL)
    count++;
  bool done = count == TEST_COUNT(blocks);
  CHECK(done || errno == ENOMEM);
  while (count > 0) hak_free(blocks[--count]);
  CHECK_EQ(test_heap_live_blocks(g_heap), 0);
  return done;
}

typedef struct operation {
  const char *name;
  void (*begin)(void); /* with all the memory that there is */
  bool (*act)(void);
  bool is_malloced; /* where blocks are malloc's */
} operation_t;

static void choose_backend(bool is_malloced) {
  int64_t backend = is_malloced ? HAK_BACKEND_MALLOC : HAK_BACKEND_NATIVE;
  CHECK_EQ(hak_option_set(HAK_OPTION_BACKEND, backend), 0);
}

/* Whether it was done with so many bytes of small records, of those of whole pages, and
 * so many calls of the system. */
static bool is_done_with(const operation_t *operation, size_t small, size_t pages,
                         uint64_t calls) {
  choose_backend(operation->is_malloced);
  test_over_os(TEST_OS_PAGE_64K);
  test_os_open(&g_own, 0);
  hak_free(hak_alloc(100)); /* the thread has a state */
  if (operation->begin != NULL) operation->begin();
  leave(SMALL, small);
  leave(PAGE, pages);
  refuse_after(calls);
  bool done = operation->act();
  refuse_none();
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_MSG(operation->act(), "%s: %zu bytes and %zu of pages were too little",
            operation->name, small, pages);
  CHECK_EQ(hak_check(NULL), 0);
  test_over_os_end();
  test_os_close(&g_own);
  return done;
}

static void refuse_each(const operation_t *operation) {
  bool done = false;
  uint64_t calls = 0;
  for (; !done; calls += !done) {
    CHECK_MSG(calls < 10, "%s is refused always", operation->name);
    done = is_done_with(operation, PLENTY, PLENTY, calls);
  }
  /* With the calls that it needs besides those for records. */
  done = false;
  for (size_t at = 0; !done && at <= PLENTY; at += SMALL)
    done = is_done_with(operation, at, PLENTY, calls);
  CHECK(done);
  done = false;
  for (size_t at = 0; !done && at <= PLENTY; at += PAGE)
    done = is_done_with(operation, PLENTY, at, calls);
  CHECK(done);
}

static void records__of_which_any_is_refused_are_out_of_memory_and_no_more(void **state) {
  (void)state;
  const operation_t operations[] = {
      {"a heap", NULL, make_plain, false},
      {"a heap of another chunk", heaps_begin, make_far, false},
      {"a heap below", heap_begin, make_below, false},
      {"a heap in little memory", little_begin, make_in_little, false},
      {"a heap in whole units", units_begin, make_in_units, false},
      {"a heap with memory from the start", NULL, make_reserved, false},
      {"a heap over hooks", NULL, make_over_own, false},
      {"a heap of samples", heap_begin, make_samples, false},
      {"a cache", used_begin, use_often, false},
      {"a heap of malloc's blocks", NULL, make_plain, true},
      {"malloc's blocks", heap_begin, use_malloced, true},
      {"a serial heap's state", serial_begin, use_serial, false},
  };
  for (size_t i = 0; i < TEST_COUNT(operations); i++) refuse_each(&operations[i]);
  CHECK(g_lost > 0);
}

/* --- starts ----------------------------------------------------------------------------
 */

typedef struct start {
  test_os_mode_t mode;
  bool is_malloced;
} start_t;

/* With memory from the start, which is a wish. */
static int start_child(void *ctx) {
  const start_t *start = ctx;
  bool done = false;
  choose_backend(start->is_malloced);
  CHECK_EQ(hak_option_set(HAK_OPTION_PREWARM_BYTES, 3 * UNIT), 0);
  for (uint64_t n = 1; !done; n++) {
    CHECK(n < 100);
    test_os_open(&g_os, 0);
    test_os_fail(&g_os, start->mode, TEST_OS_ALL_KINDS & ~(1u << TEST_OS_RELEASE), n);
    hak_config_t config = {
        .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = &g_os.hooks};
    int error = hak_init(&config);
    done = g_os.failures == 0;
    CHECK(error == 0 || (error == ENOMEM && !done));
    refuse_none();
    if (error != 0) {
      CHECK_EQ(hak_stay(), HAK_STAY_NONE);
      CHECK_EQ(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL), 0);
      CHECK_EQ(g_os.ranges, 0);
      CHECK_EQ(hak_init(&config), 0);
    }
    char *block = hak_alloc(100), *large = hak_alloc(5 * UNIT);
    CHECK(block != NULL && large != NULL);
    hak_free(block);
    hak_free(large);
    CHECK_EQ(hak_check(NULL), 0);
    test_over_os_end();
  }
  return 0;
}

static void start__of_which_any_call_is_refused_is_whole_or_none(void **state) {
  (void)state;
  start_t starts[] = {{TEST_FAIL_NTH, false},
                      {TEST_FAIL_FROM_NTH, false},
                      {TEST_FAIL_NTH, true},
                      {TEST_FAIL_FROM_NTH, true}};
  for (size_t i = 0; i < TEST_COUNT(starts); i++)
    test_child_must_succeed(start_child, &starts[i], 60);
}

TEST_MAIN_FRESH(T(records__of_which_any_is_refused_are_out_of_memory_and_no_more),
                T(start__of_which_any_call_is_refused_is_whole_or_none))
