/* api_guarded.c - guarded blocks are blocks like others: how often they come, in which
 * heaps, what they are charged, and how many there are at once. What becomes of them
 * beside threads, in forks and where the system refuses is in api_guarded_beside.c; what
 * they find is the subject of tests/death/guarded.c. */
#include "child.h"
#include "guard.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- what is guarded ------------------------------------------------------------------
 */

static size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* Rounds of the tests with 100 %. */
static const size_t sizes[] = {0,    1,    8,     9,     16,    100,  1024,
                               1025, 4096, 10000, 32768, 50000, 57344};

TEST_IN_CHILD(block__is_one_like_others, 60) {
  test_guard(1);
  for (int round = 0; round < 20; round++) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      uint64_t live = test_live_blocks();
      size_t size = sizes[i] == 0 ? 1 : sizes[i];
      errno = TEST_ERRNO;
      char *block = hak_alloc(sizes[i]);
      CHECK(block != NULL && errno == TEST_ERRNO && test_is_guarded(block));
      CHECK_EQ((uintptr_t)block % (size > 8 ? 16 : 8), 0);
      CHECK_EQ(hak_usable_size(block), size);
      CHECK(hak_heap_of(block) == hak_heap_default());
      CHECK(test_is_zero(block, size)); /* whatever was there before */
      test_fill(block, size, i);
      CHECK_EQ(test_live_blocks(), live + 1);
      hak_block_t info = HAK_BLOCK_INIT;
      CHECK_EQ(hak_ptr_info(block + size - 1, &info), 0);
      CHECK(info.address == block && info.size == size && info.is_start == (size == 1));
      /* A hardened build has its canary's bytes, though not here. */
      CHECK_EQ(hak_ptr_info(block + size + (TEST_CHECKS < 3 ? 0 : 8), &info), ENOENT);
      CHECK_EQ(hak_ptr_info(block - 1, &info), ENOENT);
      CHECK_EQ(hak_resize_in_place(block, size, size + 100), size);
      CHECK_EQ(hak_resize_in_place(block, size + 1, size + 1), 0);
      CHECK(test_verify(block, size, i));
      CHECK_EQ(hak_check(NULL), 0);
      hak_free(block);
      CHECK_EQ(test_live_blocks(), live);
      CHECK_EQ(hak_ptr_info(block, &info), ENOENT);
    }
  }
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(block__lies_at_an_end_of_its_pages_by_chance, 60) {
  test_guard(1);
  size_t left = 0, right = 0;
  for (int i = 0; i < 1000; i++) {
    char *block = hak_alloc(100);
    left += (uintptr_t)block % page() == 0;
    right += ((uintptr_t)block + 112) % page() == 0;
    hak_free(block);
  }
  CHECK_EQ(left + right, 1000);
  CHECK_MSG(left > 300 && right > 300, "%zu and %zu", left, right);
}

TEST_IN_CHILD(block__has_the_alignment_that_was_asked_for, 60) {
  test_guard(1);
  for (size_t alignment = 8; alignment <= 65536; alignment *= 2) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      char *block = hak_aligned_alloc(alignment, sizes[i]);
      CHECK(block != NULL && (uintptr_t)block % alignment == 0);
      CHECK_EQ(test_is_guarded(block), alignment <= page());
      memset(block, 1, sizes[i]);
      hak_free_aligned_sized(block, alignment, sizes[i]);
    }
  }
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(realloc__moves_and_keeps_the_contents, 60) {
  test_guard(1);
  char *block = NULL;
  size_t had = 0;
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      size_t size = sizes[i] == 0 ? 1 : sizes[i];
      char *next = hak_realloc(block, size);
      CHECK(next != NULL && next != block && test_is_guarded(next));
      CHECK_EQ(hak_usable_size(next), size);
      for (size_t k = 0; k < size && k < had; k++) CHECK(next[k] == (char)k);
      for (size_t k = 0; k < size; k++) next[k] = (char)k;
      block = next;
      had = size;
    }
  }
  /* Out of the sizes that are guarded, and back. */
  block = hak_realloc(block, 3 * MIB);
  CHECK(block != NULL && !test_is_guarded(block) && block[5] == 5);
  block = hak_realloc(block, 200);
  CHECK(block != NULL && test_is_guarded(block) && block[5] == 5);
  hak_free(block);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(zeroes__are_asked_for, 60) {
  test_guard(1);
  for (int i = 0; i < 500; i++) {
    size_t size = 1 + (size_t)i * 50;
    char *block =
        (i & 1) != 0 ? hak_calloc(1, size) : hak_allocx(NULL, size, 64, HAK_ZERO, NULL);
    CHECK(block != NULL && test_is_guarded(block) && test_is_zero(block, size));
    memset(block, 0x5a, size);
    hak_free(block);
  }
  char *block = hak_alloc(10);
  memset(block, 7, 10);
  block = hak_reallocx(NULL, block, 4000, 0, HAK_ZERO, NULL);
  CHECK(block != NULL && block[9] == 7 && test_is_zero(block + 10, 3990));
  hak_free(block);
}

/* Bins serve them all, the last block first. */
TEST_IN_CHILD(pairs__of_a_heap_are_guarded_as_often_as_asked, 60) {
  enum {
    ONE_IN = 500,
    PAIRS = 200000
  };
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  for (int i = 0; i < PAIRS; i++) hak_free(hak_heap_alloc_at(heap, 100, NULL));
  test_guard(ONE_IN);
  int guarded = 0;
  for (int i = 0; i < PAIRS; i++) {
    void *block = hak_heap_alloc_at(heap, 100, NULL);
    guarded += test_is_guarded(block);
    hak_free(block);
  }
  CHECK_MSG(guarded > PAIRS / ONE_IN / 2 && guarded < 3 * PAIRS / ONE_IN, "%d", guarded);
}

/* Where nobody may ask the system none is guarded. */
TEST_IN_CHILD(no_grow__is_never_guarded, 60) {
  test_guard(1);
  hak_free(hak_alloc(100));
  CHECK(hak_heap_prewarm(NULL, 100, 10) >= 10);
  void *block = hak_allocx(NULL, 100, 0, HAK_NO_GROW, NULL);
  CHECK(block != NULL && !test_is_guarded(block));
  hak_free(block);
}

/* --- how often, and how many -----------------------------------------------------------
 */

TEST_IN_CHILD(option__is_off_and_none_is_guarded, 60) {
  test_guard(-1); /* as it is by default */
  hak_stats_t before = test_stats();
  for (int i = 0; i < 200000; i++) {
    void *block = hak_alloc((size_t)i % 500);
    if (TEST_CHECKS < 3) CHECK(!test_is_guarded(block));
    hak_free(block);
  }
  hak_stats_t after = test_stats();
  if (TEST_CHECKS < 3) CHECK(after.reserved_bytes < before.reserved_bytes + 256 * MIB);
}

/* One in `mean` within a third, for programs of two kinds. */
static void check_rate(int64_t mean, bool pairs) {
  enum {
    KEPT = 1000
  };
  static void *kept[KEPT];
  size_t count = test_scale((size_t)mean * 1000), guarded = 0;
  if (count < (size_t)mean * 200) count = (size_t)mean * 200;
  test_rng_t rng = test_rng(test_seed(), 1);
  test_guard(mean);
  for (size_t i = 0; i < count; i++) {
    uint64_t r = test_random(&rng);
    void **place = &kept[pairs ? 0 : r % KEPT];
    void *block = hak_alloc(16 + (r >> 32) % 1000);
    CHECK(block != NULL);
    guarded += test_is_guarded(block);
    hak_free(*place);
    *place = block;
  }
  for (size_t i = 0; i < KEPT; i++) {
    hak_free(kept[i]);
    kept[i] = NULL;
  }
  double rate = (double)guarded * (double)mean / (double)count;
  CHECK_MSG(rate > 0.67 && rate < 1.5, "%.2f times 1 in %lld, %s", rate, (long long)mean,
            pairs ? "pairs" : "kept blocks");
}
TEST_IN_CHILD(rate__is_what_the_option_says, 120) {
  check_rate(100, true);
  check_rate(100, false);
  check_rate(1000, true);
  check_rate(1000, false);
  test_guard(0);
  for (int i = 0; i < 100000; i++) {
    void *block = hak_alloc(100);
    CHECK(!test_is_guarded(block));
    hak_free(block);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

/* Or of many short threads more blocks would be guarded than the option says. */
static void *alloc_first(void *guarded) {
  void *block = hak_alloc(100);
  *(bool *)guarded = test_is_guarded(block);
  hak_free(block);
  return NULL;
}
static bool is_first_guarded(void) {
  bool guarded;
  test_thread_run(alloc_first, &guarded);
  return guarded;
}
TEST_IN_CHILD(first__block_of_a_thread_is_guarded_only_where_all_are, 60) {
  test_guard(1000000);
  for (int i = 0; i < 20; i++) CHECK(!is_first_guarded());
  test_guard(1);
  CHECK(is_first_guarded());
}

TEST_IN_CHILD(blocks__beyond_the_most_are_ordinary_ones, 60) {
  static void *blocks[2 * TEST_GUARDED_MOST];
  test_guard(1);
  hak_stats_t before = test_stats();
  for (int round = 0; round < 3; round++) {
    size_t guarded = 0;
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      blocks[i] = hak_alloc(50000);
      CHECK(blocks[i] != NULL);
      guarded += test_is_guarded(blocks[i]);
    }
    CHECK_EQ(guarded, TEST_GUARDED_MOST);
    CHECK_EQ(hak_check(NULL), 0);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
    CHECK_EQ(test_live_blocks(), 0);
  }
  CHECK_EQ(hak_check(NULL), 0);
  /* What waits has no pages. */
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(test_stats().committed_bytes < before.committed_bytes + 4 * MIB);
}

TEST_IN_CHILD(block__that_is_freed_waits_for_as_many_as_there_may_be, 60) {
  static char *seen[TEST_GUARDED_MOST];
  test_guard(1);
  for (size_t i = 0; i < 10 * TEST_GUARDED_MOST; i++) {
    char *block = hak_alloc(1 + i % 1000);
    for (size_t k = 0; k < TEST_GUARDED_MOST; k++) {
      /* Cells are far larger. */
      CHECK(seen[k] == NULL || block + MIB < seen[k] || block > seen[k] + MIB);
    }
    seen[i % TEST_GUARDED_MOST] = block;
    hak_free(block);
    CHECK(test_is_guarded(block)); /* it is remembered */
  }
}

/* --- heaps ----------------------------------------------------------------------------
 */

static bool count_block(const hak_block_t *block, void *count) {
  CHECK(block->is_start && test_is_guarded(block->address));
  ++*(size_t *)count;
  return true;
}

static void use_heap(hak_heap_t *heap) {
  char *blocks[20];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_heap_alloc(heap, 1 + i * 500);
    CHECK(blocks[i] != NULL && test_is_guarded(blocks[i]));
    CHECK(hak_heap_of(blocks[i]) == heap);
    memset(blocks[i], 1, 1 + i * 500);
  }
  size_t count = 0;
  CHECK_EQ(hak_heap_visit(heap, count_block, &count, 0), 0);
  CHECK_EQ(count, TEST_COUNT(blocks));
  CHECK_EQ(test_heap_live_blocks(heap), TEST_COUNT(blocks));
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t i = 0; i < TEST_COUNT(blocks); i += 2) hak_free(blocks[i]);
  CHECK_EQ(test_heap_live_blocks(heap), TEST_COUNT(blocks) / 2);
}

TEST_IN_CHILD(heap__has_guarded_blocks_until_its_end, 60) {
  test_guard(1);
  for (int round = 0; round < 3; round++) {
    for (uint32_t flags = 0; flags <= HAK_HEAP_SERIAL; flags += HAK_HEAP_SERIAL) {
      hak_heap_t *parent = test_heap(0, "parent", NULL);
      hak_heap_t *heap = test_heap(flags, "heap", parent);
      use_heap(heap);
      CHECK_EQ(hak_heap_reset(heap), 0);
      CHECK_EQ(test_heap_live_blocks(heap), 0);
      use_heap(heap);
      CHECK_EQ(hak_check(NULL), 0);
      CHECK_EQ(hak_heap_destroy(heap), 0);
      CHECK_EQ(hak_heap_destroy(parent), 0);
      CHECK_EQ(hak_check(NULL), 0);
    }
  }
  CHECK_EQ(test_live_blocks(), 0);
}

TEST_IN_CHILD(heap__that_is_released_ends_with_its_last_block, 60) {
  test_guard(1);
  hak_heap_t *heap = test_heap(0, "released", NULL);
  char *block = hak_heap_alloc(heap, 100), *other = hak_heap_alloc(heap, 100);
  CHECK(test_is_guarded(block) && test_is_guarded(other));
  CHECK_EQ(hak_heap_release(heap), 0);
  memset(block, 1, 100);
  hak_free(block);
  char *moved = hak_realloc(other, 5000);
  CHECK(moved != NULL && hak_heap_of(moved) == hak_heap_default());
  hak_free(moved);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(limit__holds_for_guarded_blocks, 60) {
  enum {
    LIMIT = 1 << 20
  };
  static void *blocks[20000];
  test_guard(1);
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = LIMIT});
  uint64_t empty = test_heap_stats(heap).committed_bytes;
  for (int round = 0; round < 3; round++) {
    size_t count = 0, guarded = 0;
    while (count < TEST_COUNT(blocks)) {
      void *block = hak_heap_alloc(heap, 3000);
      if (block == NULL) break;
      guarded += test_is_guarded(block);
      blocks[count++] = block;
      CHECK(test_heap_stats(heap).committed_bytes <= LIMIT);
    }
    CHECK(count > 100 && guarded > 20);
    CHECK_EQ(hak_check(NULL), 0);
    for (size_t i = 0; i < count; i++) hak_free(blocks[i]);
    (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
    CHECK_EQ(test_heap_live_blocks(heap), 0);
    CHECK_EQ(hak_check(NULL), 0);
  }
  void *block = hak_heap_alloc(heap, 10);
  CHECK(test_is_guarded(block));
  uint64_t with = test_heap_stats(heap).committed_bytes;
  hak_free(block);
  CHECK(test_heap_stats(heap).committed_bytes + page() <= with);
  CHECK_EQ(hak_heap_reset(heap), 0);
  CHECK(test_heap_stats(heap).committed_bytes <= empty + 64 * KIB);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(heaps__in_other_memory_have_none, 60) {
  static char memory[1 << 20];
  test_guard(1);
  hak_os_t os = *hak_os_default();
  hak_heap_t *in = test_heap_in(memory, sizeof memory, 0, NULL);
  hak_heap_t *over = test_heap_make((hak_heap_config_t){.os = &os});
  for (int i = 0; i < 100; i++) {
    void *a = hak_heap_alloc(in, 100), *b = hak_heap_alloc(over, 100);
    CHECK(a != NULL && b != NULL && !test_is_guarded(a) && !test_is_guarded(b));
  }
  CHECK_EQ(hak_heap_destroy(in), 0);
  CHECK_EQ(hak_heap_destroy(over), 0);
}

static void count_event(const hak_block_event_t *event, void *ctx) {
  unsigned *counts = ctx;
  counts[event->kind]++;
}
TEST_IN_CHILD(heap__that_is_watched_tells_of_them, 60) {
  unsigned counts[8] = {0};
  test_guard(1);
  hak_heap_t *heap = test_heap(HAK_HEAP_WATCHED, "watched", NULL);
  CHECK_EQ(hak_heap_set_block_hook(heap, count_event, counts), 0);
  void *block = hak_heap_alloc(heap, 100);
  CHECK(test_is_guarded(block));
  hak_free(block);
  CHECK_EQ(counts[HAK_BLOCK_ALLOC], 1);
  CHECK_EQ(counts[HAK_BLOCK_FREE], 1);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_IN_CHILD(serial__sizes_are_those_asked_for, 60) {
  test_guard(1);
  hak_heap_t *heap = test_heap(HAK_HEAP_SERIAL, "serial", NULL);
  for (size_t size = 1; size < 3000; size += size < 200 ? 1 : 77) {
    void *blocks[] = {hak_heap_alloc(heap, size), hak_heap_calloc(heap, 1, size),
                      hak_allocx(heap, size, 0, 0, NULL)};
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      CHECK(test_is_guarded(blocks[i]));
      CHECK_EQ(hak_usable_size(blocks[i]), size);
      hak_free(blocks[i]);
    }
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void add_length(const char *text, size_t length, void *ctx) {
  (void)text;
  *(size_t *)ctx += length;
}
static bool explains(const void *address) {
  size_t length = 0;
  bool known = hak_guard_explain(address, add_length, &length);
  CHECK_EQ(known, length > 0);
  return known;
}
TEST_IN_CHILD(explanation__is_given_for_blocks_alone, 60) {
  test_guard(1);
  int local;
  CHECK(!explains(NULL) && !explains(&local) && !explains((void *)~(uintptr_t)0));
  char *block = hak_alloc(10);
  CHECK(explains(block) && explains(block + 5000) && explains(block - 5000));
  CHECK(!explains(block + 4 * MIB)); /* no block was there yet */
  hak_free(block);
  CHECK(explains(block));
  CHECK_EQ(hak_shutdown(0), 0);
  CHECK(!explains(block));
}

static void before_ours(int signal) { (void)signal; }
TEST_IN_CHILD(handler__interrupts_calls_as_the_one_before_did, 60) {
  struct sigaction now = {.sa_handler = SIG_DFL};
  for (int restarts = 0; restarts < 2; restarts++) {
    struct sigaction before = {.sa_handler = before_ours,
                               .sa_flags = restarts != 0 ? (int)SA_RESTART : 0};
    CHECK_EQ(sigaction(SIGSEGV, &before, NULL), 0);
    test_guard(1);
    hak_free(hak_alloc(10));
    CHECK_EQ(sigaction(SIGSEGV, NULL, &now), 0);
    CHECK(now.sa_handler != before_ours);
    CHECK_EQ((now.sa_flags & (int)SA_RESTART) != 0, restarts);
    CHECK_EQ(hak_shutdown(0), 0);
  }
  struct sigaction none = {.sa_handler = SIG_DFL};
  CHECK_EQ(sigaction(SIGSEGV, &none, NULL), 0);
  test_guard(1);
  hak_free(hak_alloc(10));
  CHECK_EQ(sigaction(SIGSEGV, NULL, &now), 0);
  CHECK((now.sa_flags & (int)SA_RESTART) != 0);
}

/* A program may write as far as it was told that it may. */
TEST_IN_CHILD(good_size__is_what_guarded_blocks_have, 20) {
  test_guard(0);
  CHECK(hak_good_size(97) > 97);
  test_guard(1);
  for (size_t size = 0; size < 70000; size += size / 8 + 1) {
    size_t good = hak_good_size(size);
    char *block = hak_alloc(size);
    CHECK(block != NULL && good >= size && hak_usable_size(block) >= good);
    memset(block, 1, good);
    hak_free(block);
  }
}

TEST_IN_CHILD(prewarm__writes_to_nothing_beside_guarded_blocks, 20) {
  test_guard(1);
  hak_heap_t *heap = test_heap(HAK_HEAP_SERIAL, "serial", NULL);
  for (size_t size = 0; size <= 20; size++) {
    CHECK_EQ(hak_heap_prewarm(heap, size, 3), 3);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Those that grow end with their pages or before; what lies behind their ends stays. */
TEST_IN_CHILD(reallocx__zero_writes_to_nothing_beside_guarded_blocks, 20) {
  enum {
    HAS = 9 * 4096 + 100
  };
  test_reports_begin();
  for (unsigned round = 0; round < 32; round++) {
    size_t had = 100 + round * 1000;
    test_guard(0);
    unsigned char *block = hak_alloc(had);
    had = hak_usable_size(block);
    test_fill(block, had, round);
    test_guard(1);
    block = hak_reallocx(NULL, block, HAS, 0, HAK_ZERO, NULL);
    CHECK(test_is_guarded(block));
    CHECK(test_verify(block, had, round));
    CHECK(test_is_zero(block + had, HAS - had));
    hak_free(block);
  }
  CHECK_EQ(g_reports.count, 0);
}

static pthread_barrier_t g_locked, g_said;
static void *lock_stderr(void *ctx) {
  flockfile(stderr);
  pthread_barrier_wait(&g_locked);
  pthread_barrier_wait(&g_said);
  funlockfile(stderr);
  return ctx;
}

/* As a handler of a crash may find it. */
TEST_IN_CHILD(explanation__waits_for_nobody_who_writes_to_stderr, 20) {
  pthread_t thread;
  test_guard(1);
  char *block = hak_alloc(10);
  CHECK(test_is_guarded(block));
  pthread_barrier_init(&g_locked, NULL, 2);
  pthread_barrier_init(&g_said, NULL, 2);
  test_threads_begin(&thread, 1, lock_stderr, NULL);
  pthread_barrier_wait(&g_locked);
  CHECK(hak_guard_explain(block, NULL, NULL));
  pthread_barrier_wait(&g_said);
  test_threads_end(&thread, 1);
  hak_free(block);
}

TEST_MAIN(T(block__is_one_like_others), T(block__lies_at_an_end_of_its_pages_by_chance),
          T(block__has_the_alignment_that_was_asked_for),
          T(realloc__moves_and_keeps_the_contents), T(zeroes__are_asked_for),
          T(pairs__of_a_heap_are_guarded_as_often_as_asked), T(no_grow__is_never_guarded),
          T(option__is_off_and_none_is_guarded), T(rate__is_what_the_option_says),
          T(first__block_of_a_thread_is_guarded_only_where_all_are),
          T(blocks__beyond_the_most_are_ordinary_ones),
          T(block__that_is_freed_waits_for_as_many_as_there_may_be),
          T(heap__has_guarded_blocks_until_its_end),
          T(heap__that_is_released_ends_with_its_last_block),
          T(limit__holds_for_guarded_blocks), T(heaps__in_other_memory_have_none),
          T(heap__that_is_watched_tells_of_them), T(serial__sizes_are_those_asked_for),
          T(explanation__is_given_for_blocks_alone),
          T(handler__interrupts_calls_as_the_one_before_did),
          T(good_size__is_what_guarded_blocks_have),
          T(prewarm__writes_to_nothing_beside_guarded_blocks),
          T(reallocx__zero_writes_to_nothing_beside_guarded_blocks),
          T(explanation__waits_for_nobody_who_writes_to_stderr))
