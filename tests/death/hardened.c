/* hardened.c - what a hardened build does beyond naming misuse: freed blocks are empty
 * and wait, canaries and orders cannot be guessed, and overflows end before the library's
 * records. */
#include "child.h"
#include "threads.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const size_t sizes[] = {1, 64, 500, 2000, 40000, 200000};

static bool is_all(const char *bytes, size_t count, char value) {
  for (size_t i = 0; i < count; i++) {
    if (bytes[i] != value) return false;
  }
  return true;
}

TEST_IN_CHILD(block__that_is_freed_is_empty, 60) {
  test_start();
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    char *block = hak_alloc(sizes[k]), *next = hak_alloc(sizes[k]);
    CHECK(block != NULL && next != NULL);
    size_t usable = hak_usable_size(block);
    CHECK(usable >= sizes[k]);
    memset(block, 0x5a, usable);
    hak_free(block);
    size_t link = sizes[k] > 32768 && usable > 16 ? 16 : 0; /* it did not wait */
    CHECK(is_all(block + link, usable - link, 0));
    hak_free(next);
  }
}

TEST_IN_CHILD(block__is_given_out_empty_whatever_was_there, 60) {
  test_start();
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    for (int round = 0; round < 100; round++) {
      char *block = hak_alloc(sizes[k]);
      CHECK(block != NULL);
      size_t usable = hak_usable_size(block);
      CHECK(is_all(block, usable, 0));
      memset(block, 0x5a, usable);
      hak_free(block);
    }
  }
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(canary__is_another_one_for_each_block, 60) {
  enum {
    COUNT = 1000
  };
  static uint64_t seen[COUNT];
  static char *blocks[COUNT];
  test_start();
  for (size_t i = 0; i < COUNT; i++) {
    blocks[i] = hak_alloc(100);
    CHECK(blocks[i] != NULL);
    memcpy(&seen[i], blocks[i] + hak_usable_size(blocks[i]), sizeof seen[i]);
    CHECK((seen[i] & 0xff) != 0); /* a zero that is written there is seen */
  }
  size_t alike = 0;
  for (size_t i = 0; i < COUNT; i++) {
    for (size_t j = 0; j < i; j++) alike += seen[i] == seen[j];
    hak_free(blocks[i]);
  }
  CHECK_EQ(alike, 0);
}

enum {
  CUT = 256
};
/* How often a fresh block lies right behind the one before it. */
static size_t steps_up(size_t size) {
  static char *blocks[CUT];
  size_t steps = 0;
  for (size_t i = 0; i < CUT; i++) {
    blocks[i] = hak_alloc(size);
    CHECK(blocks[i] != NULL);
    size_t distance = hak_usable_size(blocks[i]) + 8;
    steps += i > 0 && blocks[i] == blocks[i - 1] + distance;
  }
  return steps;
}
TEST_IN_CHILD(order__of_fresh_blocks_is_random, 60) {
  test_start();
  /* In order of address there are 240 and more; at random one of 32 is. */
  size_t steps = steps_up(100);
  CHECK_MSG(steps < CUT / 4, "%zu of %d", steps, CUT);
}

TEST_IN_CHILD(quarantine__keeps_a_freed_block_from_coming_back_at_once, 60) {
  test_start();
  for (int i = 0; i < 1000; i++) {
    char *block = hak_alloc(100);
    hak_free(block);
    char *next = hak_alloc(100);
    CHECK(block != next);
    hak_free(next);
  }
  CHECK_EQ(test_live_blocks(), 0);
}

TEST_IN_CHILD(quarantine__keeps_the_old_place_of_a_block_that_moved, 60) {
  test_start();
  for (int i = 0; i < 1000; i++) {
    char *block = hak_alloc(100), *moved = hak_realloc(block, 400);
    CHECK(moved != NULL && moved != block);
    char *next = hak_alloc(100);
    CHECK(block != next);
    hak_free(next);
    hak_free(moved);
  }
  CHECK_EQ(test_live_blocks(), 0);
}

TEST_IN_CHILD(quarantine__is_bounded_and_ends_with_a_collection, 60) {
  enum {
    COUNT = 20000
  };
  static char *blocks[COUNT];
  test_start();
  for (size_t i = 0; i < COUNT; i++) CHECK((blocks[i] = hak_alloc(1000)) != NULL);
  for (size_t i = 0; i < COUNT; i++) hak_free(blocks[i]);
  CHECK_EQ(test_live_blocks(), 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  /* All of them serve again, if none waits any more. */
  size_t committed = test_stats().committed_bytes;
  CHECK_MSG(committed < 4 << 20, "%zu KiB", committed >> 10);
  CHECK_EQ(hak_check(NULL), 0);
}

static void *free_all(void *blocks) {
  for (char **each = blocks; *each != NULL; each++) hak_free(*each);
  return NULL;
}
TEST_IN_CHILD(quarantine__of_a_thread_ends_with_it, 60) {
  static char *blocks[101];
  test_start();
  for (size_t i = 0; i < 100; i++) CHECK((blocks[i] = hak_alloc(1000)) != NULL);
  test_thread_run(free_all, blocks);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* How many different blocks a program meets that has one at a time. */
static size_t blocks_met(void) {
  enum {
    PAIRS = 2000
  };
  static char *met[PAIRS];
  size_t count = 0;
  for (size_t i = 0; i < PAIRS; i++) {
    char *block = hak_alloc(100);
    size_t at = 0;
    while (at < count && met[at] != block) at++;
    if (at == count) met[count++] = block;
    hak_free(block);
  }
  return count;
}
TEST_IN_CHILD(quarantine__holds_as_many_as_the_option_says, 60) {
  test_start();
  size_t with = blocks_met();
  CHECK_EQ(hak_option_set(HAK_OPTION_QUARANTINE_BYTES, 0), 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  size_t without = blocks_met();
  CHECK_MSG(with > 200 && without < 100, "%zu, %zu", with, without);
}

/* --- guards ------------------------------------------------------------------------- */

/* The range of memory around an address that may be written to without a break, by what
 * the system says; *guarded: on both sides lies one that may not be touched. */
typedef struct range {
  uintptr_t from, to;
  bool guarded;
} range_t;
static range_t range_around(const void *address) {
  range_t range = {0, 0, false};
  uintptr_t at = (uintptr_t)address, guard_end = 0;
  bool before = false; /* the range begins where a guard ends */
  char line[512];
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL);
  while (fgets(line, sizeof line, maps) != NULL) {
    unsigned long from, to;
    char rights[8];
    CHECK_EQ(sscanf(line, "%lx-%lx %7s", &from, &to, rights), 3);
    bool none = strncmp(rights, "---", 3) == 0;
    if (from != range.to || none) {
      if (range.to > at) { /* it was the one, and ends here */
        range.guarded = before && none && from == range.to;
        break;
      }
      range.from = from;
      before = from == guard_end;
    }
    range.to = none ? 0 : to;
    if (none) guard_end = to;
  }
  fclose(maps);
  return range;
}

static uintptr_t g_want; /* where the fault is to be */
static void on_fault(int signal, siginfo_t *info, void *context) {
  (void)signal;
  (void)context;
  _exit((uintptr_t)info->si_addr == g_want ? 0 : 1);
}

/* Writes on and on from a block, or down from it, until a fault. */
static void write_until_a_guard(ptrdiff_t step) {
  test_start();
  char *block = hak_alloc(100);
  CHECK(block != NULL);
  range_t range = range_around(block);
  CHECK(range.guarded && range.to - range.from <= (size_t)64 << 20);
  g_want = step > 0 ? range.to : range.from - 1;
  struct sigaction action = {.sa_flags = SA_SIGINFO};
  action.sa_sigaction = on_fault;
  CHECK_EQ(sigaction(SIGSEGV, &action, NULL), 0);
  for (volatile char *at = block;; at += step) *at = 0x41;
}
TEST_IN_CHILD(overflow__without_an_end_stops_at_a_guard, 60) { write_until_a_guard(1); }
TEST_IN_CHILD(underflow__without_an_end_stops_at_a_guard, 60) { write_until_a_guard(-1); }

/* --- misuse and failure, after which the program goes on ------------------------------
 */

/* A canary more does not make them small. */
TEST_IN_CHILD(resize__of_absurd_sizes_changes_nothing, 60) {
  static const size_t from[] = {100, 40000, 200000, 3 * MIB, 40 * MIB};
  static const size_t absurd[] = {SIZE_MAX, SIZE_MAX - 7, (size_t)PTRDIFF_MAX + 1,
                                  (size_t)1 << 50};
  static char memory[MIB];
  test_start();
  hak_heap_t *in = test_heap_in(memory, sizeof memory, 0, NULL);
  hak_heap_t *heaps[] = {NULL, in};
  for (size_t k = 0; k < 2 * TEST_COUNT(from); k++) {
    hak_heap_t *heap = heaps[k % 2];
    size_t size = heap == NULL ? from[k / 2] : 100 * (k / 2 + 1);
    char *block = hak_heap_alloc(heap, size);
    CHECK(block != NULL);
    size_t usable = hak_usable_size(block);
    test_fill_sparse(block, usable, k);
    for (size_t i = 0; i < TEST_COUNT(absurd); i++) {
      size_t to = test_opaque(absurd[i]);
      CHECK(hak_alloc(to) == NULL && hak_heap_alloc(heap, to) == NULL);
      CHECK(hak_realloc(block, to) == NULL);
      CHECK(hak_reallocx(NULL, block, to, 0, HAK_NO_MOVE, NULL) == NULL);
      CHECK_EQ(hak_resize_in_place(block, to, to), 0);
    }
    CHECK_EQ(hak_usable_size(block), usable);
    CHECK(test_verify_sparse(block, usable, k));
    hak_free(block);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

static void count_frees(const hak_block_event_t *event, void *ctx) {
  *(unsigned *)ctx += event->kind == HAK_BLOCK_FREE;
}

TEST_IN_CHILD(free__that_is_reported_does_nothing_else, 60) {
  test_start();
  unsigned frees = 0;
  hak_heap_t *watched = test_heap(HAK_HEAP_WATCHED, "watched", NULL);
  CHECK_EQ(hak_heap_set_block_hook(watched, count_frees, &frees), 0);
  hak_heap_t *const heaps[] = {NULL, watched};
  unsigned reports = 0;
  test_reports_begin();
  for (size_t i = 0; i < TEST_COUNT(heaps); i++) {
    uint64_t live = test_live_blocks();
    frees = 0;
    char *block = hak_heap_alloc(heaps[i], 100), *other = hak_heap_alloc(heaps[i], 200);
    char *stay = hak_heap_alloc(heaps[i], 100), *stays = hak_heap_alloc(heaps[i], 200);
    size_t usable = hak_usable_size(block);
    test_fill(block, usable, 1);
    hak_free(NULL);
    hak_free_sized(NULL, 8);
    hak_free(block + 16);
    test_expect_report(++reports, HAK_ERROR_INTERIOR_POINTER, block + 16, "hak_free");
    hak_free_sized(block, usable + 1);
    test_expect_report(++reports, HAK_ERROR_WRONG_SIZE, block, "hak_free_sized");
    CHECK_EQ(hak_freex(block + 16, HAK_NO_CACHE), 0);
    test_expect_report(++reports, HAK_ERROR_INTERIOR_POINTER, block + 16, "hak_freex");
    CHECK(test_verify(block, usable, 1) && frees == 0);
    CHECK_EQ(hak_freex(block, HAK_NO_CACHE), 0);
    CHECK_EQ(hak_freex(block, HAK_NO_CACHE), 0);
    test_expect_report(++reports, HAK_ERROR_DOUBLE_FREE, block, "hak_freex");
    hak_free(other);
    hak_free(other);
    test_expect_report(++reports, HAK_ERROR_DOUBLE_FREE, other, "hak_free");
    CHECK(hak_realloc(other, 300) == NULL);
    test_expect_report(++reports, HAK_ERROR_DOUBLE_FREE, other, "hak_realloc");
    CHECK(hak_realloc(other + 16, 300) == NULL);
    test_expect_report(++reports, HAK_ERROR_INTERIOR_POINTER, other + 16, "hak_realloc");
    CHECK_EQ(frees, heaps[i] == NULL ? 0 : 2);
    hak_free(stay);
    hak_free(stays);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); /* they have waited */
    CHECK_EQ(test_live_blocks(), live);
    CHECK_EQ(hak_check(NULL), 0);
  }
  CHECK_EQ(hak_heap_destroy(watched), 0);
  char *block = hak_alloc(100);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  hak_free(block);
  test_expect_report(++reports, HAK_ERROR_AFTER_SHUTDOWN, block, "hak_free");
  CHECK_EQ(hak_freex(block, HAK_NO_CACHE), 0);
  test_expect_report(++reports, HAK_ERROR_AFTER_SHUTDOWN, block, "hak_freex");
}

TEST_IN_CHILD(overflow__of_a_block_of_any_size_is_named_as_it_is_freed, 60) {
  static const size_t all[] = {1, 100, 2000, 40000, 200000, 3 * MIB, 40 * MIB};
  test_start();
  for (size_t k = 0; k < TEST_COUNT(all); k++) {
    char *block = hak_alloc(all[k]);
    CHECK(block != NULL);
    block[hak_usable_size(block)] ^= 0x41;
    test_reports_begin();
    hak_free(block);
    test_reports_end_at(HAK_ERROR_OVERFLOW, block);
  }
}

TEST_IN_CHILD(write__to_a_block_that_waits_is_named_as_its_thread_gives_it_up, 60) {
  test_start();
  char *block = hak_alloc(100);
  CHECK(block != NULL);
  hak_free(block);
  block[50] = 0x41;
  test_reports_begin();
  hak_thread_idle();
  test_reports_end_at(HAK_ERROR_CORRUPT_BLOCK, block);
}

/* They end with a page, and not with a canary. */
/* A slab that goes to the pool is written over by others, so it is looked at before. */
TEST_IN_CHILD(write__to_a_small_block_is_named_as_its_slab_gets_empty, 60) {
  enum {
    COUNT = 3000
  };
  static char *blocks[COUNT];
  static const size_t small[] = {24, 100, 1000, 5000, 30000};
  test_start();
  for (size_t k = 0; k < TEST_COUNT(small); k++) {
    for (size_t at = 0; at < small[k]; at += small[k] / 2 - 1) {
      hak_heap_t *heap = test_heap(0, "heap", NULL);
      for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = hak_heap_alloc(heap, small[k]);
        CHECK(blocks[i] != NULL);
      }
      test_reports_begin();
      char *written = blocks[COUNT / 2];
      hak_free(written);
      written[at] ^= 0x41;
      for (size_t i = 0; i < COUNT; i++) {
        if (i != COUNT / 2) hak_free(blocks[i]);
      }
      hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
      CHECK_MSG(g_reports.count == 1, "%zu: %u reports", small[k], g_reports.count);
      CHECK_EQ(g_reports.last.error, HAK_ERROR_CORRUPT_BLOCK);
      CHECK(g_reports.last.address == written);
      CHECK_EQ(hak_check(heap), 0);
      CHECK_EQ(hak_heap_destroy(heap), 0);
    }
  }
}

/* The slab went home whole, and may be another class's by then. */
TEST_IN_CHILD(write__to_a_small_block_is_named_as_its_memory_serves_again, 60) {
  enum {
    COUNT = 2000
  };
  static char *blocks[COUNT];
  static const size_t small[] = {64, 1000, 16000};
  test_start();
  test_keep_unused(true); /* what went back may not be there */
  for (size_t k = 0; k < 2 * TEST_COUNT(small); k++) {
    size_t size = small[k / 2], next = k % 2 == 0 ? size : 200;
    hak_heap_t *heap = test_heap(0, "heap", NULL);
    unsigned named = 0;
    for (size_t try = 0; try < 10; try++) {
      size_t count = COUNT - try * 100;
      for (size_t i = 0; i < count; i++) blocks[i] = hak_heap_alloc(heap, size);
      for (size_t i = 0; i < count; i++) hak_free(blocks[i]);
      char *written = blocks[count / 2] + size / 2;
      test_reports_begin();
      *written ^= 0x41;
      for (size_t i = 0; i < COUNT; i++) blocks[i] = hak_heap_alloc(heap, next);
      /* Named, or not served yet. */
      CHECK_MSG(g_reports.count > 0 || *written == 0x41, "%zu: silent", size);
      named += g_reports.count > 0;
      for (size_t i = 0; i < COUNT; i++) hak_free(blocks[i]);
    }
    CHECK_MSG(named > 0 || next != size, "%zu: never", size);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

TEST_IN_CHILD(guarded__blocks_come_and_go_without_a_report, 60) {
  test_start();
  CHECK_EQ(hak_option_set(HAK_OPTION_GUARD_SAMPLE, 1), 0);
  test_reports_begin();
  for (int i = 0; i < 200; i++) {
    char *blocks[20];
    for (size_t k = 0; k < TEST_COUNT(blocks); k++) {
      CHECK((blocks[k] = hak_alloc(100)) != NULL);
      memset(blocks[k], 0x5a, 100);
    }
    for (size_t k = 0; k < TEST_COUNT(blocks); k++) hak_free(blocks[k]);
  }
  CHECK_EQ(g_reports.count, 0);
  CHECK_EQ(test_live_blocks(), 0);
}

/* It is emptied as it is closed, and not by a call more: until then its margins tell who
 * wrote beside it. */
TEST_IN_CHILD(guarded__block_that_is_freed_is_emptied_once, 60) {
  test_start();
  CHECK_EQ(hak_option_set(HAK_OPTION_GUARD_SAMPLE, 1), 0);
  hak_free(hak_alloc(8184));
  uint64_t purges = test_stats().os_purge;
  for (int i = 0; i < 20; i++) hak_free(hak_alloc(8184)); /* 8 KiB with a canary */
  CHECK_EQ(test_stats().os_purge, purges);
}

/* What a block gets beside what it had is empty, as is what it had too much. */
TEST_IN_CHILD(resize__of_a_large_block_in_place_leaves_no_old_contents, 60) {
  static const size_t large[] = {200000, 3000000, 50000000}; /* span, run, mapping */
  test_start();
  for (size_t k = 0; k < TEST_COUNT(large); k++) {
    size_t size = large[k], less = size - 70000;
    char *block = hak_calloc(1, size);
    CHECK(block != NULL);
    memset(block, 0x5a, size);
    CHECK(hak_resize_in_place(block, less, less) != 0);
    CHECK(hak_resize_in_place(block, size, size) != 0);
    CHECK(is_all(block, less, 0x5a));
    size_t usable = hak_usable_size(block);
    CHECK(is_all(block + less + 4096, usable - less - 4096, 0));
    hak_free(block);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

/* Blocks that end with their heap are not emptied, and who writes to them while they live
 * does no wrong. */
TEST_IN_CHILD(check__takes_no_block_of_a_heap_that_ended_for_a_late_write, 60) {
  test_start();
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(heap != NULL);
  char *block = hak_heap_alloc(heap, 50000000);
  CHECK(block != NULL);
  memset(block, 0x5a, 5000000);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  test_reports_begin();
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(g_reports.count, 0);
}

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      T(block__that_is_freed_is_empty),
      T(block__is_given_out_empty_whatever_was_there),
      T(canary__is_another_one_for_each_block),
      T(order__of_fresh_blocks_is_random),
      T(quarantine__keeps_a_freed_block_from_coming_back_at_once),
      T(quarantine__keeps_the_old_place_of_a_block_that_moved),
      T(quarantine__is_bounded_and_ends_with_a_collection),
      T(quarantine__of_a_thread_ends_with_it),
      T(quarantine__holds_as_many_as_the_option_says),
      T(overflow__without_an_end_stops_at_a_guard),
      T(underflow__without_an_end_stops_at_a_guard),
      T(resize__of_absurd_sizes_changes_nothing),
      T(free__that_is_reported_does_nothing_else),
      T(overflow__of_a_block_of_any_size_is_named_as_it_is_freed),
      T(write__to_a_block_that_waits_is_named_as_its_thread_gives_it_up),
      T(write__to_a_small_block_is_named_as_its_slab_gets_empty),
      T(write__to_a_small_block_is_named_as_its_memory_serves_again),
      T(guarded__blocks_come_and_go_without_a_report),
      T(guarded__block_that_is_freed_is_emptied_once),
      T(resize__of_a_large_block_in_place_leaves_no_old_contents),
      T(check__takes_no_block_of_a_heap_that_ended_for_a_late_write),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
