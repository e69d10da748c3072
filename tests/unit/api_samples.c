/* api_samples.c - blocks that name their place: what is said to be live of each place, in
 * heaps of all kinds, on any thread, through resizes, forks and failures. */
#include "child.h"
#include "os_fixture.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "heap/heap.h"
#include "heap/thread_state.h"
#include "learn/sample.h"
#include "superslab/locate.h"

#define DEFAULT_MEAN 262144

HAK_SITE(one);
HAK_SITE(two);
HAK_SITE(three);

static hak_origin_sums_t sums_of(const hak_site_t *site) {
  uint32_t origin = hak_origin_of(site);
  if (origin == HAK_ORIGIN_NONE) return (hak_origin_sums_t){.blocks = 0};
  return hak_origin_read(origin).sums;
}

/* `mean` 1: each block is a sample, and all sums are exact. */
static int start(uint64_t mean) {
  test_over_os(0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, (int64_t)mean), 0);
  return 0;
}
static int start_exact(void **state) {
  (void)state;
  return start(1);
}
static int start_usual(void **state) {
  (void)state;
  return start(DEFAULT_MEAN);
}
static int end(void **state) {
  (void)state;
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, DEFAULT_MEAN), 0);
  test_over_os_end();
  return 0;
}

static void sample__is_a_block_like_others(void **state) {
  (void)state;
  const size_t sizes[] = {0,     1,     16,      100,     1024,    1025,
                          50000, 60000, 1 << 20, 3 << 20, 40 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    uint64_t live = test_live_blocks();
    errno = TEST_ERRNO;
    void *block = hak_alloc_at(sizes[i], &one);
    CHECK(block != NULL && errno == TEST_ERRNO);
    CHECK_MSG(sums_of(&one).live_samples == 1, "%zu bytes", sizes[i]);
    CHECK(hak_heap_of(block) == hak_heap_default());
    CHECK(hak_usable_size(block) >= sizes[i]);
    test_fill_sparse(block, sizes[i], i);
    CHECK_EQ(test_live_blocks(), live + 1);
    CHECK_EQ(hak_check(NULL), 0);
    CHECK(test_verify_sparse(block, sizes[i], i));
    hak_free(block);
    CHECK_EQ(sums_of(&one).live_samples, 0);
    CHECK_EQ(test_live_blocks(), live);
  }
  for (size_t alignment = 16; alignment <= MIB; alignment *= 4) {
    unsigned char *block = hak_allocx(NULL, 777, alignment, HAK_ZERO, &one);
    CHECK((uintptr_t)block % alignment == 0 && test_is_zero(block, 777));
    CHECK_EQ(sums_of(&one).live_samples, 1);
    hak_free_aligned_sized(block, alignment, 777);
  }
  CHECK_EQ(hak_site_count(&one), TEST_COUNT(sizes) + 9);
}

static bool count_visited(const hak_block_t *block, void *ctx) {
  (void)block;
  ++*(int *)ctx;
  return true;
}

static void place__is_told_apart_and_visited_with_its_heap(void **state) {
  (void)state;
  void *blocks[30];
  for (int i = 0; i < 30; i++) {
    blocks[i] = hak_alloc_at(100 + (size_t)i, i % 3 == 0 ? &one : &two);
  }
  CHECK_EQ(sums_of(&one).live_samples, 10);
  CHECK_EQ(sums_of(&two).live_blocks, 20);
  int visited = 0;
  CHECK_EQ(hak_heap_visit(NULL, count_visited, &visited, 0), 0);
  CHECK_EQ(visited, 30);
  for (int i = 0; i < 30; i++) hak_free(blocks[i]);
  CHECK_EQ(sums_of(&two).live_bytes, 0);
  CHECK_EQ(sums_of(&two).peak_bytes, 20 * 100 + 300);
}

/* A place whose blocks are freed at once has each eighth of its samples followed, and is
 * told as well as others where it begins to keep them. */
static void place__of_brief_lives_costs_few_samples(void **state) {
  (void)state;
  enum {
    BLOCKS = 400000,
    SIZE = 400,
    KEPT = 100000
  };
  static void *kept[KEPT];
  HAK_SITE(brief);
  double followed = 0, bytes = (double)BLOCKS * SIZE;
  for (int i = 0; i < BLOCKS; i++) {
    void *block = hak_alloc_at(SIZE, &brief);
    hak_heap_t *heap = hak_heap_of_extent(hak_locate((uintptr_t)block).extent);
    CHECK(heap != NULL);
    followed += hak_heap_is_samples(heap);
    hak_free(block);
  }
  hak_origin_sums_t sums = sums_of(&brief);
  CHECK_MSG(followed < 32 + 2 * bytes / DEFAULT_MEAN / 8, "%.0f", followed);
  double off = sums.bytes - bytes;
  CHECK_MSG(off * off < 25 * DEFAULT_MEAN * bytes, "%.0f of %.0f", sums.bytes, bytes);
  CHECK(sums.live_bytes == 0 && sums.samples > 400);
  for (int i = 0; i < KEPT; i++) kept[i] = hak_alloc_at(SIZE, &brief);
  bytes = (double)KEPT * SIZE;
  off = sums_of(&brief).live_bytes - bytes;
  /* 16 times the mean squared more, until they are known to stay. */
  double most = 25. * DEFAULT_MEAN * (bytes + 16. * DEFAULT_MEAN);
  CHECK_MSG(off * off < most, "%.0f of %.0f", off, bytes);
  CHECK(sums_of(&brief).live_samples > 100 && sums_of(&brief).peak_bytes >= bytes / 2);
  for (int i = 0; i < KEPT; i++) hak_free(kept[i]);
  CHECK(hak_samples_are_valid());
}

static void estimate__is_within_five_deviations(void **state) {
  (void)state;
  enum {
    BLOCKS = 100000
  };
  static void *a[BLOCKS], *b[BLOCKS];
  double bytes = 0;
  for (int i = 0; i < BLOCKS; i++) {
    size_t size = 16 + (size_t)i % 700;
    a[i] = hak_alloc_at(size, &one);
    b[i] = hak_alloc_at(size, &two);
    hak_free(hak_alloc_at(size, &three));
    bytes += (double)size;
  }
  const hak_site_t *sites[] = {&one, &two};
  for (int i = 0; i < 2; i++) {
    hak_origin_sums_t sums = sums_of(sites[i]);
    double off = sums.live_bytes - bytes;
    CHECK_MSG(off * off < 25 * DEFAULT_MEAN * bytes, "%.0f of %.0f", sums.live_bytes,
              bytes);
    CHECK(sums.live_variance > 0.5 * DEFAULT_MEAN * bytes);
    CHECK(sums.live_variance < 2. * DEFAULT_MEAN * bytes);
    double blocks = (double)hak_site_count(sites[i]) / BLOCKS;
    CHECK_MSG(blocks > 0.4 && blocks < 1.8, "%f", blocks);
  }
  CHECK(sums_of(&three).live_bytes == 0 && sums_of(&three).samples > 50);
  for (int i = 0; i < BLOCKS; i++) {
    hak_free(a[i]);
    hak_free(b[i]);
  }
  CHECK(sums_of(&one).live_bytes == 0 && sums_of(&two).live_bytes == 0);
}

static void *free_thread(void *block) {
  hak_free(block);
  return NULL;
}

static void sample__is_seen_to_be_freed_on_any_thread(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    void *block = hak_alloc_at(200, &one);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, free_thread, block), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(sums_of(&one).live_samples, 0);
  }
}

enum {
  THREADS = 3,
  EXCHANGED = 64
};
static _Atomic(void *) g_exchange[EXCHANGED];

/* Each takes what another one left, and resizes or frees it. */
static void *exchange_thread(void *argument) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)argument);
  hak_site_t *const sites[] = {&one, &two, &three};
  for (size_t i = 0; i < test_scale(20000); i++) {
    hak_site_t *site = sites[test_below(&rng, 3)];
    void *block = hak_alloc_at(1 + (size_t)test_below(&rng, 2000), site);
    size_t at = (size_t)test_below(&rng, EXCHANGED);
    block = atomic_exchange(&g_exchange[at], block);
    if (block != NULL && i % 8 == 0) {
      void *moved = hak_realloc_at(block, 1 + (size_t)test_below(&rng, 4000), site);
      if (moved != NULL) block = moved;
    }
    hak_free(block);
  }
  return NULL;
}

static void samples__of_several_threads_add_up(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 4096), 0);
  pthread_t threads[THREADS];
  for (uintptr_t i = 0; i < THREADS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, exchange_thread, (void *)i), 0);
  }
  for (int i = 0; i < THREADS; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK(sums_of(&one).samples > 0 && sums_of(&two).samples > 0);
  for (int i = 0; i < EXCHANGED; i++) hak_free(g_exchange[i]);
  CHECK_EQ(sums_of(&one).live_samples, 0);
  CHECK_EQ(sums_of(&two).live_samples, 0);
  CHECK_EQ(sums_of(&three).live_samples, 0);
}

static void resize__keeps_the_place(void **state) {
  (void)state;
  unsigned char *block = hak_alloc_at(100, &one);
  const size_t sizes[] = {110, 500, 20, 70000, 3 << 20, 50 << 20, 60 << 20, 2 << 20, 64};
  test_fill(block, 20, 5);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    block = hak_realloc(block, sizes[i]);
    CHECK(block != NULL && test_verify(block, 20, 5));
    CHECK_MSG(sums_of(&one).live_samples == 1, "%zu bytes", sizes[i]);
    CHECK_EQ(sums_of(&one).live_bytes, sizes[i]);
    CHECK_EQ(hak_check(NULL), 0);
  }
  CHECK_EQ(hak_resize_in_place(block, 60, 60) >= 60, true);
  CHECK_EQ(sums_of(&one).live_bytes, 60);
  CHECK(hak_reallocx(NULL, block, 9000, 0, HAK_NO_MOVE, NULL) == NULL);
  CHECK_EQ(sums_of(&one).live_bytes, 60);
  hak_free(block);
  CHECK_EQ(sums_of(&one).live_samples, 0);
}

static void heap__has_its_samples_until_its_end(void **state) {
  (void)state;
  int (*const ends[])(hak_heap_t *) = {hak_heap_destroy, hak_heap_reset,
                                       hak_heap_release};
  for (size_t k = 0; k < TEST_COUNT(ends); k++) {
    for (uint32_t flags = 0; flags <= HAK_HEAP_SERIAL; flags += HAK_HEAP_SERIAL) {
      hak_heap_t *heap = test_heap(flags, "sampled", NULL);
      void *last = NULL;
      for (int i = 0; i < 20; i++) {
        last = hak_allocx(heap, 300, 0, 0, &one);
        CHECK(hak_heap_of(last) == heap);
      }
      CHECK_EQ(sums_of(&one).live_samples, 20);
      CHECK_EQ(test_heap_live_blocks(heap), 20);
      hak_free(last);
      CHECK_EQ(test_heap_live_blocks(heap), 19);
      last = hak_allocx(heap, 300, 0, 0, &one);
      CHECK_EQ(ends[k](heap), 0);
      CHECK_EQ(sums_of(&one).live_samples, 0);
      CHECK_EQ(hak_check(NULL), 0);
      if (ends[k] == hak_heap_release) hak_free(last);
      if (ends[k] == hak_heap_reset) CHECK_EQ(hak_heap_destroy(heap), 0);
    }
  }
}

static void heap__that_is_released_ends_with_its_last_sample(void **state) {
  (void)state;
  hak_heap_t *parent = test_heap(0, "parent", NULL),
             *heap = test_heap(0, "sampled", parent);
  void *blocks[20];
  for (int i = 0; i < 20; i++) {
    blocks[i] = hak_allocx(heap, 300, 0, 0, &one);
    CHECK(blocks[i] != NULL);
  }
  CHECK_EQ(hak_heap_release(heap), 0);
  for (int i = 0; i < 20; i++) {
    CHECK(hak_heap_of(blocks[i]) == parent);
    hak_free(blocks[i]);
  }
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(test_heap_stats(parent).committed_bytes, 0);
  CHECK_EQ(hak_heap_destroy(parent), 0);
}

static void limit__holds_for_samples(void **state) {
  (void)state;
  const size_t limit = 4 * MIB;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = limit});
  size_t count = 0;
  for (void *block; (block = hak_allocx(heap, 500, 0, 0, &one)) != NULL; count++) {
    CHECK(test_heap_stats(heap).committed_bytes <= limit);
    if (count % 64 == 0) CHECK_EQ(hak_check(NULL), 0);
  }
  CHECK_EQ(errno, ENOMEM);
  CHECK_MSG(count * 500 > limit * 3 / 4, "%zu", count);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(sums_of(&one).live_samples, 0);
}

/* The same sums after the same calls. */
static hak_origin_sums_t sequence(void) {
  test_over_os(0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 4096), 0);
  test_rng_t rng = test_rng(1, 2);
  void *blocks[64] = {0};
  for (int i = 0; i < 50000; i++) {
    size_t at = (size_t)test_below(&rng, 64);
    hak_free(blocks[at]);
    blocks[at] = hak_alloc_at(1 + (size_t)test_below(&rng, 3000), &three);
  }
  hak_origin_sums_t sums = sums_of(&three);
  test_over_os_end();
  return sums;
}

static void samples__are_the_same_after_the_same_calls(void **state) {
  (void)state;
  hak_origin_sums_t first = sequence(), second = sequence();
  CHECK(first.samples > 10000);
  CHECK(memcmp(&first, &second, sizeof first) == 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, DEFAULT_MEAN), 0);
}

static void *g_inherited;
static int child(void *ctx) {
  (void)ctx;
  CHECK_EQ(sums_of(&one).live_samples, 1);
  hak_free(g_inherited);
  CHECK_EQ(sums_of(&one).live_samples, 0);
  hak_free(hak_alloc_at(100, &one));
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void fork__leaves_both_with_the_samples(void **state) {
  (void)state;
  g_inherited = hak_alloc_at(100, &one);
  test_child_must_succeed(child, NULL, 20);
  CHECK_EQ(sums_of(&one).live_samples, 1);
  hak_free(g_inherited);
}

static void failures__leave_blocks_without_samples(void **state) {
  (void)state;
  for (uint64_t n = 1; n < 40; n++) {
    start(1);
    test_os_fail(&g_os, n % 2 != 0 ? TEST_FAIL_NTH : TEST_FAIL_FROM_NTH,
                 TEST_OS_ALL_KINDS, (n + 1) / 2);
    void *blocks[8];
    for (size_t i = 0; i < 8; i++) {
      size_t size = (size_t)60 << (2 * i);
      blocks[i] = hak_alloc_at(size, &one);
      if (blocks[i] == NULL) continue;
      test_fill_sparse(blocks[i], size, i);
      void *moved = hak_realloc(blocks[i], size * 2);
      if (moved != NULL) blocks[i] = moved;
      CHECK(test_verify_sparse_prefix(blocks[i], size, 8, i));
    }
    CHECK_EQ(hak_check(NULL), 0);
    for (size_t i = 0; i < 8; i++) hak_free(blocks[i]);
    CHECK_EQ(sums_of(&one).live_samples, 0);
    test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
    void *block = hak_alloc_at(100, &one);
    CHECK(block != NULL);
    CHECK_EQ(sums_of(&one).live_samples, 1);
    hak_free(block);
    end(NULL);
  }
}

static void samples__of_none_and_without_a_place_are_none(void **state) {
  (void)state;
  hak_free(hak_alloc_at(100, NULL));
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 0), 0);
  for (int i = 0; i < 100; i++) hak_free(hak_alloc_at(10 * MIB, &one));
  uint64_t samples = sums_of(&one).samples;
  for (int i = 0; i < 100; i++) hak_free(hak_alloc_at(100, &one));
  CHECK_EQ(sums_of(&one).samples, samples);
}

/* More live than the table takes: the rest are blocks like others, and all is as it was
 * once they are gone. */
static void samples__beyond_the_table_are_ordinary_blocks(void **state) {
  (void)state;
  enum {
    MANY = 12000
  };
  static void *blocks[MANY];
  for (size_t i = 0; i < MANY; i++) {
    CHECK((blocks[i] = hak_alloc_at(40 + i % 100, i % 2 == 0 ? &one : &two)) != NULL);
  }
  uint64_t live = sums_of(&one).live_samples + sums_of(&two).live_samples;
  CHECK_MSG(live > 500 && live <= 3072, "%llu", (unsigned long long)live);
  CHECK_EQ(test_live_blocks(), MANY);
  CHECK(hak_samples_are_valid());
  for (size_t i = 0; i < MANY; i += 3) { /* some are resized while it is full */
    CHECK((blocks[i] = hak_realloc(blocks[i], 300 + i % 500)) != NULL);
  }
  CHECK(hak_samples_are_valid());
  for (size_t i = 0; i < MANY; i++) hak_free(blocks[i]);
  CHECK(hak_samples_are_valid());
  CHECK(sums_of(&one).live_samples == 0 && sums_of(&two).live_samples == 0);
  CHECK(sums_of(&one).live_bytes == 0 && sums_of(&two).live_bytes == 0);
}

/* The memory of a sample that was written to serves one that is to be zero. */
static void calloc__of_a_place_reads_zero_where_a_sample_was(void **state) {
  (void)state;
  const size_t sizes[] = {100, 2000, 20000, 60000, 1 << 20, 5 << 20};
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    size_t size = sizes[k];
    for (int i = 0; i < 3; i++) {
      unsigned char *block = hak_alloc_at(size, &one);
      memset(block, 0xa5, size);
      hak_free(block);
      block = hak_calloc_at(1, size, &one);
      CHECK_MSG(test_is_zero(block, size), "%zu bytes", size);
      CHECK_EQ(sums_of(&one).live_samples, 1);
      memset(block, 0xa5, size);
      hak_free(block);
      unsigned char *zero = hak_allocx(NULL, size, 256, HAK_ZERO, &one);
      CHECK_MSG(test_is_zero(zero, size), "%zu bytes, aligned", size);
      hak_free(zero);
    }
  }
}

/* Places, too, come in chunks; blocks of all of them, and of the next chunk's first. */
static void places__at_the_border_of_a_chunk_have_records(void **state) {
  (void)state;
  enum {
    SITES = 3 * 64 + 2
  };
  static hak_site_t sites[SITES];
  static void *blocks[SITES];
  for (size_t i = 0; i < SITES; i++) {
    sites[i] = (hak_site_t){"chunk.c", (uint32_t)i + 1, NULL, {0}};
    blocks[i] = hak_alloc_at(100 + i, &sites[i]);
  }
  for (size_t i = 0; i < SITES; i++) {
    uint32_t number = hak_origin_of(&sites[i]);
    CHECK(number > HAK_ORIGIN_OTHERS && hak_origin_at(number)->line == i + 1);
    CHECK(i == 0 || number == hak_origin_of(&sites[i - 1]) + 1);
    CHECK_EQ(sums_of(&sites[i]).live_bytes, 100 + i);
    hak_free(blocks[i]);
    CHECK_EQ(sums_of(&sites[i]).live_samples, 0);
  }
}

/* Samples at both ends of slabs, and of the spans that larger classes have. */
static void samples__fill_slabs_to_their_borders(void **state) {
  (void)state;
  const size_t sizes[] = {16, 1024, 8192, 57344, 65536};
  enum {
    BLOCKS = 600
  };
  static void *blocks[BLOCKS];
  for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
    size_t count = sizes[k] > 8192 ? BLOCKS / 10 : BLOCKS;
    for (size_t i = 0; i < count; i++) {
      CHECK((blocks[i] = hak_alloc_at(sizes[k], &one)) != NULL);
      test_fill_sparse(blocks[i], sizes[k], i);
    }
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(sums_of(&one).live_samples, count);
    for (size_t i = 0; i < count; i++) {
      CHECK(test_verify_sparse(blocks[i], sizes[k], i));
      CHECK(hak_heap_of(blocks[i]) == hak_heap_default());
      hak_free(blocks[i]);
    }
    CHECK_EQ(sums_of(&one).live_samples, 0);
  }
}

/* A sample grows and shrinks where it lies: its sums follow, it is one sample, and the
 * growth of one is not sampled again. */
static void sample__that_grows_in_place_is_one_sample(void **state) {
  (void)state;
  unsigned char *block = hak_alloc_at(1000, &one);
  uint64_t taken = sums_of(&one).samples;
  size_t usable = hak_usable_size(block);
  for (size_t size = 900; size <= usable; size += 8) {
    CHECK_EQ(hak_resize_in_place(block, size, size), usable);
    CHECK_EQ(sums_of(&one).live_bytes, size);
    CHECK(hak_realloc_at(block, size, &two) == block);
    CHECK_EQ(sums_of(&one).live_samples, 1);
    CHECK_EQ(sums_of(&two).live_samples, 0);
  }
  CHECK_EQ(sums_of(&one).samples, taken);
  hak_free(block);
  CHECK_EQ(sums_of(&one).live_bytes, 0);
  /* A block that is none grows where it lies by bytes of a place: it moves and is one. */
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 0), 0);
  for (int i = 0; i < 80; i++) hak_free(hak_alloc_at(MIB, &three));
  unsigned char *plain = hak_alloc(4 * MIB);
  test_fill_sparse(plain, 4 * MIB, 3);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
  for (int i = 0; i < 80; i++) hak_free(hak_alloc_at(MIB, &three));
  uint64_t others = sums_of(&two).live_samples;
  plain = hak_realloc_at(plain, 6 * MIB, &two);
  CHECK(plain != NULL && test_verify_sparse_prefix(plain, 4 * MIB, 4 * MIB / 2, 3));
  CHECK_EQ(sums_of(&two).live_samples, others + 1);
  CHECK_EQ(hak_check(NULL), 0);
  hak_free(plain);
  CHECK_EQ(sums_of(&two).live_samples, others);
}

/* Most are taken as they were freed last; a block that stays leaves the next one to what
 * lies ready. */
static void bytes__count_where_a_bin_changes_its_lists(void **state) {
  (void)state;
  hak_heap_t *heap = hak_heap_create(NULL);
  hak_heap_t *heaps[] = {NULL, heap};
  void *stay[50] = {NULL};
  for (size_t h = 0; h < TEST_COUNT(heaps); h++) {
    for (size_t i = 0; i < 4 * TEST_COUNT(stay); i++) {
      int64_t before = hak_thread_self->way.left;
      void *block = hak_heap_alloc_at(heaps[h], 100, &one);
      int64_t after = hak_thread_self->way.left;
      CHECK_MSG(after == before - 100 || after > before, "block %zu", i);
      if (i % 4 != 0) {
        hak_free(block);
      } else {
        stay[i / 4] = block;
      }
    }
    for (size_t i = 0; i < TEST_COUNT(stay); i++) hak_free(stay[i]);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

#define EXACT(function) cmocka_unit_test_setup_teardown(function, start_exact, end)
#define USUAL(function) cmocka_unit_test_setup_teardown(function, start_usual, end)

TEST_MAIN_FRESH(EXACT(sample__is_a_block_like_others),
                EXACT(place__is_told_apart_and_visited_with_its_heap),
                USUAL(place__of_brief_lives_costs_few_samples),
                USUAL(estimate__is_within_five_deviations),
                EXACT(sample__is_seen_to_be_freed_on_any_thread),
                EXACT(samples__of_several_threads_add_up), EXACT(resize__keeps_the_place),
                EXACT(heap__has_its_samples_until_its_end),
                EXACT(heap__that_is_released_ends_with_its_last_sample),
                EXACT(limit__holds_for_samples),
                T(samples__are_the_same_after_the_same_calls),
                EXACT(fork__leaves_both_with_the_samples),
                T(failures__leave_blocks_without_samples),
                EXACT(samples__of_none_and_without_a_place_are_none),
                EXACT(samples__beyond_the_table_are_ordinary_blocks),
                EXACT(calloc__of_a_place_reads_zero_where_a_sample_was),
                EXACT(places__at_the_border_of_a_chunk_have_records),
                EXACT(samples__fill_slabs_to_their_borders),
                EXACT(sample__that_grows_in_place_is_one_sample),
                USUAL(bytes__count_where_a_bin_changes_its_lists))
