/* api_remap_away.c - remap hooks that move the pages of a block to where no block may be:
 * it comes back, is copied, or is named as lost. */
#include "strict_os.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum {
  PAGE = 4096
};

/* Hooks over the system's own. Ranges are counted; a remap can be told where to go. */
static struct {
  hak_os_t hooks;
  size_t ranges, bytes;
  int remaps;
  bool no_reserve, then_nothing; /* nothing is given, or once pages went away */
  bool no_commit;                /* no pages are given once pages went away */
  int away;                      /* so many remaps go to an odd page */
  bool stuck;                    /* those from such a page are refused */
  bool elsewhere;                /* or lead to another proper place */
  bool beyond; /* a remap goes where no address is; so does what is reserved then */
} g_os;

/* No address of a program is as high, and no page is there. */
static char *nowhere(void) { return (char *)test_opaque((uintptr_t)1 << 56); }

static void *os_reserve(void *ctx, size_t size, size_t alignment) {
  (void)ctx;
  if (g_os.beyond && g_os.stuck && g_os.away == 0) return nowhere();
  if (g_os.no_reserve) return NULL;
  void *base = hak_os_default()->reserve(NULL, size, alignment);
  if (base != NULL) {
    g_os.ranges++;
    g_os.bytes += size;
  }
  return base;
}

static int os_commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  if (g_os.no_commit && g_os.stuck && g_os.away == 0) return ENOMEM;
  if ((char *)ptr == nowhere()) return 0;
  return hak_os_default()->commit(ctx, ptr, size, zeroed);
}

static int os_release(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  CHECK(ptr != NULL && size != 0);
  if ((char *)ptr == nowhere()) return 0;
  if (munmap(ptr, size) != 0) return errno;
  g_os.ranges--;
  g_os.bytes -= size;
  return 0;
}

static void *os_remap(void *ctx, void *ptr, size_t old_size, size_t new_size) {
  (void)ctx;
  static char *came_from;
  g_os.remaps++;
  if (g_os.beyond && !g_os.stuck) {
    if ((char *)ptr == nowhere()) return came_from;
    came_from = ptr;
    return nowhere();
  }
  bool is_away = ((uintptr_t)ptr & (2 * MIB - 1)) != 0;
  if (is_away && g_os.stuck) return NULL;
  char *to = NULL;
  if (!is_away && g_os.away > 0) {
    g_os.away--;
    g_os.no_reserve = g_os.then_nothing;
    came_from = ptr;
    to = hak_os_default()->reserve(NULL, new_size + PAGE, 2 * MIB);
    munmap(to, PAGE);
    to += PAGE;
  } else if (is_away && !g_os.elsewhere) {
    to = mmap(came_from, new_size, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  } else {
    to = hak_os_default()->reserve(NULL, new_size, 2 * MIB);
  }
  CHECK(to != NULL && to != MAP_FAILED);
  void *moved = mremap(ptr, old_size, new_size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
  CHECK(moved == to);
  g_os.bytes += new_size - old_size;
  return moved;
}

static int setup(void **state) {
  (void)state;
  memset(&g_os, 0, sizeof g_os);
  g_os.hooks = *hak_os_default();
  g_os.hooks.reserve = os_reserve;
  g_os.hooks.release = os_release;
  g_os.hooks.remap = os_remap;
  g_os.hooks.commit = os_commit;
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = &g_os.hooks};
  CHECK_EQ(hak_init(&config), 0);
  return 0;
}

static int teardown(void **state) {
  (void)state;
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK_EQ(g_os.ranges, 0);
  CHECK_EQ(g_os.bytes, 0);
  return 0;
}

static const size_t size = 40 << 20, larger = 90 << 20;

static hak_heap_t *make(size_t limit) {
  hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = limit};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  return heap;
}

static unsigned char *make_block(hak_heap_t *heap) {
  unsigned char *block = hak_heap_alloc(heap, size);
  CHECK(block != NULL);
  test_fill_sparse(block, size, 7);
  return block;
}

static void check_heap(hak_heap_t *heap, uint64_t blocks, uint64_t committed) {
  hak_stats_t stats = test_heap_stats(heap);
  CHECK_EQ(stats.live_blocks, blocks);
  CHECK_EQ(stats.large_blocks, blocks);
  CHECK_MSG(
      stats.committed_bytes >= committed && stats.committed_bytes <= committed + MIB,
      "%llu bytes, not %llu", (unsigned long long)stats.committed_bytes,
      (unsigned long long)committed);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_stats().reserved_bytes, g_os.bytes);
}

/* The block is copied to a place of its own instead, as without remap. */
static void block__that_comes_back_is_copied_by_realloc(void **state) {
  (void)state;
  hak_heap_t *heap = make(0);
  unsigned char *block = make_block(heap);
  g_os.away = 1;
  unsigned char *grown = hak_realloc(block, larger);
  CHECK(grown != NULL && g_os.remaps == 2);
  CHECK(test_verify_sparse_prefix(grown, size, size, 7));
  CHECK_EQ(hak_usable_size(grown), larger);
  check_heap(heap, 1, larger);
  hak_free(grown);
  check_heap(heap, 0, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* A limit has no room for two: the old block is untouched. */
static void block__that_comes_back_is_untouched_where_no_copy_fits(void **state) {
  (void)state;
  hak_heap_t *heap = make(100 * MIB);
  unsigned char *block = make_block(heap);
  g_os.away = 2;
  errno = 0;
  CHECK(hak_realloc(block, larger) == NULL && errno == ENOMEM);
  CHECK(hak_heap_of(block) == heap);
  CHECK(test_verify_sparse(block, size, 7));
  check_heap(heap, 1, size);
  hak_free(block);
  check_heap(heap, 0, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Of such an address the library could keep no word. */
static void block__that_is_sent_where_no_address_is_comes_back(void **state) {
  (void)state;
  hak_heap_t *heap = make(0);
  unsigned char *block = make_block(heap);
  g_os.beyond = true;
  unsigned char *grown = hak_realloc(block, larger);
  CHECK(grown != NULL && grown != block && g_os.remaps == 2);
  CHECK(test_verify_sparse_prefix(grown, size, size, 7));
  check_heap(heap, 1, larger);
  hak_free(grown);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void block__that_does_not_come_back_is_copied_from_where_it_is(void **state) {
  (void)state;
  for (int elsewhere = 0; elsewhere < 2; elsewhere++) {
    hak_heap_t *heap = make(0);
    unsigned char *block = make_block(heap);
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); /* nothing kept would do */
    g_os.away = 1;
    g_os.stuck = elsewhere == 0;
    g_os.elsewhere = elsewhere != 0;
    unsigned char *grown = hak_realloc(block, larger);
    CHECK(grown != NULL);
    CHECK(((uintptr_t)grown & (2 * MIB - 1)) == 0);
    CHECK(test_verify_sparse_prefix(grown, size, size, 7));
    CHECK(hak_heap_of(grown) == heap);
    test_fill_sparse(grown, larger, 8);
    check_heap(heap, 1, larger);
    g_os.stuck = g_os.elsewhere = false;
    grown = hak_realloc(grown, larger + 30 * MIB); /* it is a block like any other */
    CHECK(test_verify_sparse_prefix(grown, larger, larger, 8));
    hak_free(grown);
    check_heap(heap, 0, 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void block__that_is_lost_is_named_and_gone(void **state) {
  (void)state;
  hak_heap_t *heap = make(100 * MIB), *unlimited = make(0);
  enum {
    BY_RESERVE,
    BY_LIMIT,
    BY_COMMIT,
    BY_ADDRESS,
    WAYS
  };
  for (int way = 0; way < WAYS; way++) {
    hak_heap_t *its = way == BY_LIMIT ? heap : unlimited;
    unsigned char *block = make_block(its);
    uint64_t blocks = test_live_blocks(), bytes = test_live_bytes();
    g_os.away = 1;
    g_os.stuck = true;
    g_os.then_nothing = way == BY_RESERVE;
    g_os.no_commit = way == BY_COMMIT;
    g_os.beyond = way == BY_ADDRESS;
    int remaps = g_os.remaps;
    test_reports_begin();
    errno = 0;
    CHECK(hak_realloc(block, larger) == NULL && errno == ENOMEM);
    CHECK(g_reports.last.heap == its);
    test_expect_report(1, HAK_ERROR_BAD_STATE, block, "hak_realloc");
    test_reports_end(1, HAK_ERROR_BAD_STATE);
    CHECK_EQ(g_os.remaps - remaps, 2); /* tried once, and back */
    g_os.stuck = g_os.no_reserve = g_os.then_nothing = g_os.no_commit = false;
    g_os.beyond = false;
    CHECK(hak_heap_of(block) == NULL);
    CHECK_EQ(test_live_blocks(), blocks - 1);
    CHECK_EQ(test_live_bytes(), bytes - size);
    check_heap(its, 0, 0);
    hak_free(make_block(its));
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_destroy(unlimited), 0);
}

TEST_MAIN_FRESH(
    cmocka_unit_test_setup_teardown(block__that_comes_back_is_copied_by_realloc, setup,
                                    teardown),
    cmocka_unit_test_setup_teardown(
        block__that_comes_back_is_untouched_where_no_copy_fits, setup, teardown),
    cmocka_unit_test_setup_teardown(block__that_is_sent_where_no_address_is_comes_back,
                                    setup, teardown),
    cmocka_unit_test_setup_teardown(
        block__that_does_not_come_back_is_copied_from_where_it_is, setup, teardown),
    cmocka_unit_test_setup_teardown(block__that_is_lost_is_named_and_gone, setup,
                                    teardown))
