/* api_watch.c - statistics, visits of heaps and questions about addresses while 32
 * threads allocate and free; and that none of it allocates anything. */
#include "support.h"
#include "threads.h"
#include "visits.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* ---- The C library's malloc, watched ---------------------------------------- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *ptr, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *ptr, size_t size);

static _Thread_local bool t_forbidden;

static void must_be_allowed(void) { CHECK_MSG(!t_forbidden, "malloc was called"); }

void *__wrap_malloc(size_t size) {
  must_be_allowed();
  return __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size) {
  must_be_allowed();
  return __real_calloc(count, size);
}
void *__wrap_realloc(void *ptr, size_t size) {
  must_be_allowed();
  return __real_realloc(ptr, size);
}

/* ---- Heaps that are used ------------------------------------------------------ */

enum {
  HEAPS = 4,
  THREADS = 32,
  LIVE = 200 /* blocks of a thread at most */
};
#define LARGEST ((size_t)3 << 20)

static hak_heap_t *g_heaps[HEAPS]; /* the second is a part of the first */
static atomic_bool g_stop;
static atomic_uint g_running;

static void *mutate(void *argument) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)argument);
  char *blocks[LIVE] = {NULL};
  atomic_fetch_add(&g_running, 1);
  while (!atomic_load(&g_stop)) {
    char **slot = &blocks[test_below(&rng, LIVE)];
    hak_free(*slot);
    *slot = NULL;
    if (test_below(&rng, 8) == 0) continue;
    size_t size = test_random_size(&rng, test_below(&rng, 40) == 0 ? LARGEST : 4000);
    *slot = hak_heap_alloc(g_heaps[test_below(&rng, HEAPS)], size);
    CHECK(*slot != NULL);
  }
  for (size_t i = 0; i < LIVE; i++) hak_free(blocks[i]);
  return NULL;
}

typedef struct text {
  size_t pieces, length;
} text_t;

static void count_text(const char *text, size_t length, void *ctx) {
  text_t *t = ctx;
  CHECK(memchr(text, '\0', length) == NULL);
  t->pieces++;
  t->length += length;
}

static bool count_heap(hak_heap_t *heap, void *ctx) {
  CHECK(hak_heap_name(heap) != NULL);
  ++*(size_t *)ctx;
  return true;
}

/* What threads may have cached counts as live for a while, and the other way round. */
static uint64_t slack(void) { return (uint64_t)THREADS * 8 * MIB; }

static void look(void) {
  static const uint64_t live_most = (uint64_t)THREADS * LIVE * (LARGEST + LARGEST / 4);
  hak_stats_t all = test_heap_stats(NULL);
  CHECK(all.live_bytes <= live_most + slack());
  CHECK(all.threads >= 1 && all.threads <= THREADS + 1);
  CHECK(all.peak_committed_bytes >= all.committed_bytes);
  for (size_t i = 0; i < HEAPS; i++) {
    hak_stats_t one = test_heap_stats(g_heaps[i]);
    CHECK(one.live_bytes <= live_most + slack());
    CHECK(one.live_bytes + one.cached_bytes + one.free_bytes <=
          one.reserved_bytes + slack());
  }
  /* A heap covers those below it, whatever happened between the two looks. */
  hak_stats_t below = test_heap_stats(g_heaps[1]), above = test_heap_stats(g_heaps[0]);
  CHECK(above.live_bytes + slack() >= below.live_bytes);
  text_t text = {0, 0};
  CHECK_EQ(hak_stats_print(NULL, HAK_FORMAT_TEXT, count_text, &text), 0);
  CHECK_EQ(hak_stats_print(g_heaps[0], HAK_FORMAT_JSON, count_text, &text), 0);
  CHECK(text.pieces > 2 && text.length > 500);
  size_t heaps = 0;
  CHECK_EQ(hak_visit_heaps(count_heap, &heaps), 0);
  CHECK_EQ(heaps, HEAPS + 1);
}

static void ask_about(char *mine, size_t size) {
  hak_block_t info = {.struct_size = sizeof info};
  CHECK_EQ(hak_ptr_info(mine + size / 2, &info), 0);
  CHECK(info.address == mine && info.size >= size);
  CHECK(info.heap == g_heaps[0] && hak_heap_of(mine) == g_heaps[0]);
  (void)hak_move_hint(mine);
  CHECK_EQ(hak_ptr_info(&info, &info), ENOENT);
  /* Neighbours come and go; whatever is said of them is consistent. */
  for (ptrdiff_t at = -(ptrdiff_t)(4 * MIB); at < (ptrdiff_t)(4 * MIB); at += 30000) {
    const char *address = (const char *)((uintptr_t)mine + (uintptr_t)at);
    if (hak_ptr_info(address, &info) != 0) continue;
    CHECK((char *)info.address <= address && address < (char *)info.address + info.size);
  }
}

static void watching__works_beside_32_threads_and_allocates_nothing(void **state) {
  (void)state;
  for (size_t i = 0; i < HEAPS; i++) {
    hak_heap_config_t config = {.struct_size = sizeof config,
                                .name = "watched",
                                .parent = i == 1 ? g_heaps[0] : NULL};
    g_heaps[i] = hak_heap_create(&config);
    CHECK(g_heaps[i] != NULL);
  }
  char *mine = hak_heap_alloc(g_heaps[0], 1000);
  pthread_t threads[THREADS];
  test_threads_begin_numbered(threads, THREADS, mutate);
  while (atomic_load(&g_running) < THREADS) {}
  double end = test_seconds() + 2;
  size_t looks = 0;
  t_forbidden = true;
  for (; looks < 20 || (test_seconds() < end && looks < 2000); looks++) {
    look();
    ask_about(mine, 1000);
    if (looks % 16 == 0) CHECK_EQ(hak_check(NULL), 0);
  }
  t_forbidden = false;
  atomic_store(&g_stop, true);
  test_threads_end(threads, THREADS);
  printf("%zu looks\n", looks);
  /* Quiet: exact again. */
  CHECK_EQ(test_heap_stats(g_heaps[0]).live_blocks, 1);
  CHECK_EQ(test_heap_stats(g_heaps[1]).live_blocks, 0);
  CHECK_EQ(test_heap_stats(g_heaps[2]).live_bytes, 0);
  hak_free(mine);
  CHECK_EQ(test_live_blocks(), 0);
  for (size_t i = HEAPS; i > 0; i--) CHECK_EQ(hak_heap_destroy(g_heaps[i - 1]), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* ---- Visits of blocks ------------------------------------------------------------ */

static void visit__is_exact_when_quiet_whatever_threads_have_cached(void **state) {
  (void)state;
  hak_heap_t *heap = hak_heap_create(NULL);
  test_rng_t rng = test_rng(test_seed(), 99);
  enum {
    BLOCKS = 3000
  };
  static void *blocks[BLOCKS];
  size_t count = 0, bytes = 0;
  for (size_t i = 0; i < BLOCKS; i++) {
    blocks[i] = hak_heap_alloc(heap, test_random_size(&rng, MIB));
    CHECK(blocks[i] != NULL);
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    if (test_below(&rng, 3) == 0) {
      count++;
      bytes += hak_usable_size(blocks[i]);
    } else {
      hak_free(blocks[i]);
      blocks[i] = NULL;
    }
  }
  t_forbidden = true;
  size_t shown = test_visit_live(heap, count);
  t_forbidden = false;
  CHECK_EQ(shown, bytes);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(watching__works_beside_32_threads_and_allocates_nothing),
          T(visit__is_exact_when_quiet_whatever_threads_have_cached))
