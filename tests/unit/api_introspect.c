/* api_introspect.c - hak_ptr_info, hak_heap_of, visits, hints and the check. */
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t sizes[] = {1,     8,      16,      48,      100,     1000,
                               1024,  1500,   5000,    20000,   32768,   33000,
                               65536, 200000, 1 << 20, 1100000, 3 << 20, 40 << 20};

static void ptr_info__finds_a_block_from_its_start_and_from_inside(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    unsigned char *block = hak_alloc(sizes[i]);
    size_t usable = hak_usable_size(block);
    const size_t offsets[] = {0, 1, usable / 3, usable / 2, usable - 1};
    for (size_t k = 0; k < TEST_COUNT(offsets); k++) {
      hak_block_t info = {.struct_size = sizeof info};
      errno = TEST_ERRNO;
      CHECK_EQ(hak_ptr_info(block + offsets[k], &info), 0);
      CHECK_EQ(errno, TEST_ERRNO);
      CHECK_EQ(info.is_start, offsets[k] == 0);
      CHECK(info.address == block);
      CHECK_EQ(info.size, usable);
      CHECK(info.heap == hak_heap_default());
      CHECK(hak_heap_of(block + offsets[k]) == hak_heap_default());
    }
    hak_free(block);
  }
}

static void ptr_info__neighbours_are_told_apart(void **state) {
  (void)state;
  enum {
    BLOCKS = 500
  };
  unsigned char *blocks[BLOCKS];
  for (size_t size = 16; size <= 3000; size = size * 2 + 16) {
    for (size_t i = 0; i < BLOCKS; i++) {
      blocks[i] = hak_alloc(size);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
      hak_block_t info = {.struct_size = sizeof info};
      CHECK_EQ(hak_ptr_info(blocks[i] + size - 1, &info), 0);
      CHECK(info.address == blocks[i]);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
      hak_free(blocks[i]);
    }
  }
}

static int g_static[64];

static void ptr_info__foreign_addresses_are_in_no_block(void **state) {
  (void)state;
  int local[16];
  void *mapped =
      mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  void *libc = malloc(100);
  const uintptr_t foreign[] = {0,
                               1,
                               8,
                               4096,
                               65535,
                               65536,
                               (uintptr_t)local,
                               (uintptr_t)g_static,
                               (uintptr_t)mapped,
                               (uintptr_t)mapped + 5000,
                               (uintptr_t)libc,
                               (uintptr_t)&ptr_info__foreign_addresses_are_in_no_block,
                               (uintptr_t)0x0000800000000000,
                               (uintptr_t)0xffff800000000000,
                               (uintptr_t)0xffffffffffffffff,
                               (uintptr_t)0xdeadbeefdeadbeef,
                               (uintptr_t)1 << 47,
                               (uintptr_t)1 << 48,
                               (uintptr_t)1 << 63};
  for (size_t i = 0; i < TEST_COUNT(foreign); i++) {
    hak_block_t info = {.struct_size = sizeof info};
    CHECK_MSG(hak_ptr_info((void *)foreign[i], &info) == ENOENT, "address 0x%zx",
              (size_t)foreign[i]);
    CHECK(hak_heap_of((void *)foreign[i]) == NULL);
    CHECK_EQ(hak_move_hint((void *)foreign[i]), 0);
  }
  free(libc);
  munmap(mapped, 1 << 20);
}

static void ptr_info__a_block_with_its_high_bits_changed_is_foreign(void **state) {
  (void)state;
  unsigned char *block = hak_alloc(100);
  for (unsigned bit = 47; bit < 64; bit++) {
    uintptr_t wrong = (uintptr_t)block ^ (uintptr_t)1 << bit;
    hak_block_t info = {.struct_size = sizeof info};
    CHECK_EQ(hak_ptr_info((void *)wrong, &info), ENOENT);
    CHECK(hak_heap_of((void *)wrong) == NULL);
  }
  hak_free(block);
}

static void ptr_info__bad_arguments_are_invalid(void **state) {
  (void)state;
  void *block = hak_alloc(10);
  hak_block_t unsized = {.struct_size = 0};
  CHECK_EQ(hak_ptr_info(block, NULL), EINVAL);
  CHECK_EQ(hak_ptr_info(block, &unsized), EINVAL);
  hak_free(block);
}

static void heap_default__is_never_null_and_always_the_same(void **state) {
  (void)state;
  hak_heap_t *heap = hak_heap_default();
  CHECK(heap != NULL);
  hak_free(hak_alloc(1));
  CHECK(hak_heap_default() == heap);
}

/* ---- Visits ----------------------------------------------------------- */

typedef struct visited {
  const void *address;
  size_t size;
} visited_t;

typedef struct visits {
  visited_t *found;
  size_t count, capacity, stop_after;
} visits_t;

static bool record_visit(const hak_block_t *block, void *ctx) {
  visits_t *visits = ctx;
  CHECK(visits->count < visits->capacity);
  CHECK(block->is_start && block->heap == hak_heap_default());
  visits->found[visits->count++] = (visited_t){block->address, block->size};
  return visits->count != visits->stop_after;
}

static int by_address(const void *a, const void *b) {
  const visited_t *x = a, *y = b;
  return x->address < y->address ? -1 : x->address > y->address;
}

static visits_t visit_all(void) {
  visits_t visits = {.capacity = 100000};
  visits.found = calloc(visits.capacity, sizeof *visits.found);
  CHECK_EQ(hak_heap_visit(NULL, record_visit, &visits, 0), 0);
  qsort(visits.found, visits.count, sizeof *visits.found, by_address);
  return visits;
}

static void heap_visit__finds_exactly_the_live_blocks(void **state) {
  (void)state;
  enum {
    BLOCKS = 6000
  };
  static visited_t live[BLOCKS];
  visits_t base = visit_all();
  CHECK_EQ(base.count, test_live_blocks());
  test_rng_t rng = test_rng(test_seed(), 3);
  size_t count = 0;
  for (size_t i = 0; i < BLOCKS; i++) {
    size_t size = test_random_size(&rng, i % 200 == 0 ? 6 * MIB : 40 * KIB);
    live[count].address = hak_alloc(size);
    live[count].size = hak_usable_size(live[count].address);
    /* Holes of all kinds: freed at once, freed later, never freed. */
    if (i % 3 == 0) {
      hak_free((void *)live[count].address);
    } else {
      count++;
    }
    if (i % 5 == 0 && count > 10) {
      size_t victim = (size_t)test_below(&rng, count);
      hak_free((void *)live[victim].address);
      live[victim] = live[--count];
    }
  }
  visits_t visits = visit_all();
  CHECK_EQ(visits.count, base.count + count);
  for (size_t i = 1; i < visits.count; i++) {
    CHECK((const char *)visits.found[i - 1].address + visits.found[i - 1].size <=
          (const char *)visits.found[i].address);
  }
  for (size_t i = 0; i < count; i++) {
    visited_t *found =
        bsearch(&live[i], visits.found, visits.count, sizeof *visits.found, by_address);
    CHECK(found != NULL);
    CHECK_EQ(found->size, live[i].size);
  }
  for (size_t i = 0; i < count; i++) {
    hak_free((void *)live[i].address);
  }
  visits_t end = visit_all();
  CHECK_EQ(end.count, base.count);
  free(base.found);
  free(visits.found);
  free(end.found);
}

static void heap_visit__stops_when_told(void **state) {
  (void)state;
  void *blocks[10];
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    blocks[i] = hak_alloc(64);
  }
  visited_t room[16];
  visits_t visits = {.found = room, .capacity = 16, .stop_after = 3};
  CHECK_EQ(hak_heap_visit(hak_heap_default(), record_visit, &visits, 0), 0);
  CHECK_EQ(visits.count, 3);
  for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
    hak_free(blocks[i]);
  }
}

static void heap_visit__bad_arguments_are_invalid(void **state) {
  (void)state;
  visits_t visits = {0};
  CHECK_EQ(hak_heap_visit(NULL, NULL, NULL, 0), EINVAL);
  CHECK_EQ(hak_heap_visit(NULL, record_visit, &visits, 0x80u), EINVAL);
}

static void heap_visit__the_heap_works_on_afterwards(void **state) {
  (void)state;
  for (int i = 0; i < 50; i++) {
    unsigned char *block = hak_alloc(333);
    test_fill(block, 333, 8);
    visits_t visits = visit_all();
    CHECK(visits.count >= 1);
    free(visits.found);
    CHECK(test_verify(block, 333, 8));
    hak_free(block);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

static bool count_heap(hak_heap_t *heap, void *ctx) {
  unsigned *counts = ctx;
  counts[0]++;
  counts[1] += heap == hak_heap_default();
  return true;
}

static void visit_heaps__finds_the_default_heap_once(void **state) {
  (void)state;
  unsigned counts[2] = {0, 0};
  CHECK_EQ(hak_visit_heaps(count_heap, counts), 0);
  CHECK_EQ(counts[0], 1);
  CHECK_EQ(counts[1], 1);
  CHECK_EQ(hak_visit_heaps(NULL, NULL), EINVAL);
}

/* ---- Hints and the check ---------------------------------------------- */

static void move_hint__names_lone_blocks_of_slabs_that_are_mostly_free(void **state) {
  (void)state;
  enum {
    BLOCKS = 20000
  };
  static void *blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++) {
    blocks[i] = hak_alloc(256);
  }
  unsigned dense = 0, sparse = 0, left = 0;
  for (size_t i = 0; i < BLOCKS; i++) {
    dense += (unsigned)hak_move_hint(blocks[i]);
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    if (i % 500 != 0) {
      hak_free(blocks[i]);
      blocks[i] = NULL;
    }
  }
  hak_thread_idle();
  for (size_t i = 0; i < BLOCKS; i += 500) {
    left++;
    sparse += (unsigned)hak_move_hint(blocks[i]);
  }
  CHECK_MSG(dense <= BLOCKS / 20, "%u of %u blocks in full slabs", dense, BLOCKS);
  CHECK_MSG(sparse >= left * 3 / 4, "%u of %u lone blocks", sparse, left);
  for (size_t i = 0; i < BLOCKS; i += 500) {
    hak_free(blocks[i]);
  }
}

enum {
  MOVED_BLOCKS = 40000
};
static char *g_moved[MOVED_BLOCKS];

static size_t moved_size(size_t i) { return 40 + i * 7 % 361; }

/* Fills slabs of several classes and leaves one block in five; returns how many. */
static size_t moved_begin(hak_heap_t *heap) {
  test_rng_t rng = test_rng(test_seed(), 7);
  size_t left = 0;
  for (size_t i = 0; i < MOVED_BLOCKS; i++) {
    g_moved[i] = hak_heap_alloc(heap, moved_size(i));
    test_fill(g_moved[i], moved_size(i), (unsigned)i);
  }
  for (size_t i = 0; i < MOVED_BLOCKS; i++) {
    if (test_below(&rng, 5) == 0) {
      left++;
    } else {
      hak_free(g_moved[i]);
      g_moved[i] = NULL;
    }
  }
  hak_thread_idle();
  return left;
}

/* Moves every block for which the hint is 1; returns how many. */
static size_t moved_pass(hak_heap_t *heap) {
  size_t moved = 0;
  for (size_t i = 0; i < MOVED_BLOCKS; i++) {
    if (g_moved[i] == NULL || !hak_move_hint(g_moved[i])) continue;
    char *to = hak_heap_alloc(heap, moved_size(i));
    memcpy(to, g_moved[i], moved_size(i));
    hak_free(g_moved[i]);
    g_moved[i] = to;
    moved++;
  }
  return moved;
}

static void moved_end(void) {
  for (size_t i = 0; i < MOVED_BLOCKS; i++) {
    if (g_moved[i] == NULL) continue;
    CHECK(test_verify(g_moved[i], moved_size(i), (unsigned)i));
    hak_free(g_moved[i]);
  }
}

/* The slabs in use are nearly full after two passes, each of which moves a block at most
 * once; a third pass has nothing left to do. */
static void check_passes(hak_heap_t *heap) {
  size_t left = moved_begin(heap);
  uint64_t before = test_heap_stats(heap).slabs_active;
  size_t moved = moved_pass(heap);
  hak_thread_idle();
  moved += moved_pass(heap);
  hak_thread_idle();
  size_t third = moved_pass(heap);
  uint64_t after = test_heap_stats(heap).slabs_active;
  CHECK_EQ(hak_check(heap), 0);
  CHECK_MSG(moved < left, "%zu moves for %zu blocks", moved, left);
  CHECK_MSG(third <= left / 50, "%zu of %zu blocks are moved again", third, left);
  CHECK_MSG(after * 3 < before, "%llu slabs of %llu are left", (unsigned long long)after,
            (unsigned long long)before);
  moved_end();
}

static void move_hint__passes_empty_sparse_slabs_and_end(void **state) {
  (void)state;
  check_passes(hak_heap_default());
}

static void move_hint__serves_other_heaps_too(void **state) {
  (void)state;
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(heap != NULL);
  check_passes(heap);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Blocks that are not moved although the hint is 1 keep nothing from serving. */
static void move_hint__slabs_serve_again_if_nothing_moves(void **state) {
  (void)state;
  size_t left = moved_begin(hak_heap_default()), hinted = 0;
  for (size_t i = 0; i < MOVED_BLOCKS; i++) {
    hinted += g_moved[i] != NULL && hak_move_hint(g_moved[i]);
  }
  CHECK_MSG(hinted > left / 2, "%zu of %zu blocks", hinted, left);
  uint64_t before = test_stats().slabs_active;
  for (size_t i = 0; i < MOVED_BLOCKS; i++) {
    if (g_moved[i] != NULL) continue;
    g_moved[i] = hak_alloc(moved_size(i));
    test_fill(g_moved[i], moved_size(i), (unsigned)i);
  }
  uint64_t after = test_stats().slabs_active;
  CHECK_MSG(after <= before + before / 8, "%llu slabs after %llu",
            (unsigned long long)after, (unsigned long long)before);
  CHECK_EQ(hak_check(NULL), 0);
  moved_end();
}

static void move_hint__never_reads_the_block(void **state) {
  (void)state;
  unsigned char *block = hak_aligned_alloc(4096, 4096 * 4);
  CHECK_EQ(mprotect(block, 4096 * 4, PROT_NONE), 0);
  int hint = hak_move_hint(block);
  hak_block_t info = {.struct_size = sizeof info};
  int error = hak_ptr_info(block + 100, &info);
  CHECK_EQ(mprotect(block, 4096 * 4, PROT_READ | PROT_WRITE), 0);
  size_t usable = hak_usable_size(block); /* full checks look whether it is free */
  CHECK(hint == 0 || hint == 1);
  CHECK_EQ(error, 0);
  CHECK(usable >= 4096 * 4);
  hak_free(block);
}

static void check__finds_nothing_wrong_at_any_time(void **state) {
  (void)state;
  enum {
    BLOCKS = 2000
  };
  static void *blocks[BLOCKS];
  test_rng_t rng = test_rng(test_seed(), 4);
  test_reports_t reports = {0};
  hak_set_error_handler(test_count_report, &reports);
  for (size_t i = 0; i < test_scale(40000); i++) {
    size_t at = (size_t)test_below(&rng, BLOCKS);
    if (blocks[at] != NULL) {
      hak_free(blocks[at]);
      blocks[at] = NULL;
    } else {
      blocks[at] = hak_alloc(test_random_size(&rng, 200 * KIB));
    }
    if (i % 1000 == 0) {
      CHECK_EQ(hak_check(i % 2000 == 0 ? NULL : hak_heap_default()), 0);
    }
  }
  for (size_t i = 0; i < BLOCKS; i++) {
    hak_free(blocks[i]);
  }
  CHECK_EQ(hak_check(NULL), 0);
  hak_set_error_handler(NULL, NULL);
  CHECK_EQ(reports.count, 0);
}

TEST_MAIN(T(ptr_info__finds_a_block_from_its_start_and_from_inside),
          T(ptr_info__neighbours_are_told_apart),
          T(ptr_info__foreign_addresses_are_in_no_block),
          T(ptr_info__a_block_with_its_high_bits_changed_is_foreign),
          T(ptr_info__bad_arguments_are_invalid),
          T(heap_default__is_never_null_and_always_the_same),
          T(heap_visit__finds_exactly_the_live_blocks), T(heap_visit__stops_when_told),
          T(heap_visit__bad_arguments_are_invalid),
          T(heap_visit__the_heap_works_on_afterwards),
          T(visit_heaps__finds_the_default_heap_once),
          T(move_hint__names_lone_blocks_of_slabs_that_are_mostly_free),
          T(move_hint__passes_empty_sparse_slabs_and_end),
          T(move_hint__serves_other_heaps_too),
          T(move_hint__slabs_serve_again_if_nothing_moves),
          T(move_hint__never_reads_the_block), T(check__finds_nothing_wrong_at_any_time))
