/* os_memory.c - what a port promises for memory: the default hooks keep the contract of
 * hakmem.h, and hints leave what is in the pages alone. */
#include "support.h"

#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "os/memory.h"
#include "os/os.h"

static const hak_os_t *g_os;

static char *reserve(size_t size, size_t alignment) {
  char *ptr = g_os->reserve(g_os->ctx, size, alignment);
  CHECK(ptr != NULL);
  CHECK_EQ((uintptr_t)ptr % alignment, 0);
  CHECK_EQ((uintptr_t)ptr % g_os->granularity, 0);
  return ptr;
}

static void release(void *ptr, size_t size) {
  CHECK_EQ(g_os->release(g_os->ctx, ptr, size), 0);
}

/* Commits, and says whether the pages read as zero, as the hook says itself. */
static bool commit(char *ptr, size_t size) {
  bool zeroed = false;
  CHECK_EQ(g_os->commit(g_os->ctx, ptr, size, &zeroed), 0);
  CHECK(!zeroed || test_is_zero(ptr, size));
  return zeroed;
}

static void hooks__are_valid_and_know_the_size_of_pages(void **state) {
  (void)state;
  CHECK(hak_os_is_valid(g_os));
  CHECK(g_os == hak_os_default());
  CHECK_EQ(g_os->page_size, sysconf(_SC_PAGESIZE));
}

static void reserve__is_aligned_and_goes_back_as_a_whole(void **state) {
  (void)state;
  char *ranges[16];
  for (size_t alignment = 64 * KIB; alignment <= GIB; alignment *= 2) {
    for (size_t i = 0; i < TEST_COUNT(ranges); i++) {
      size_t size = 64 * KIB * (i + 1);
      ranges[i] = reserve(size, alignment);
      commit(ranges[i], size);
      test_fill_sparse(ranges[i], size, i);
    }
    for (size_t i = 0; i < TEST_COUNT(ranges); i++) {
      CHECK(test_verify_sparse(ranges[i], 64 * KIB * (i + 1), i));
      release(ranges[i], 64 * KIB * (i + 1));
    }
  }
}

static void reserve__of_more_than_there_is_fails(void **state) {
  (void)state;
  CHECK(g_os->reserve(g_os->ctx, test_opaque((size_t)1 << 60), 64 * KIB) == NULL);
  CHECK(g_os->reserve(g_os->ctx, test_opaque(SIZE_MAX / 2 + 1), 2 * MIB) == NULL);
  CHECK(g_os->reserve(g_os->ctx, test_opaque(64 * KIB), (size_t)1 << 62) == NULL);
}

static void purge__gives_pages_back_and_keeps_those_beside_them(void **state) {
  (void)state;
  size_t part = 4 * g_os->page_size;
  char *ptr = reserve(2 * MIB, 2 * MIB);
  commit(ptr, 3 * part);
  for (unsigned i = 0; i < 3; i++) test_fill(ptr + i * part, part, i);
  for (int round = 0; round < 3; round++) {
    CHECK_EQ(g_os->purge(g_os->ctx, ptr + part, part), 0);
    commit(ptr + part, part);
    test_fill(ptr + part, part, 1);
  }
  for (unsigned i = 0; i < 3; i++) CHECK(test_verify(ptr + i * part, part, i));
  release(ptr, 2 * MIB);
}

static void remap__takes_the_content_along(void **state) {
  (void)state;
  if (g_os->remap == NULL) skip();
  size_t size = 2 * MIB, kept = 2 * MIB;
  char *ptr = reserve(size, 2 * MIB);
  commit(ptr, size);
  test_fill_sparse(ptr, kept, 7);
  for (; size < 64 * MIB; size *= 2) {
    /* Something behind it, so that it has to move now and then. */
    char *other = reserve(64 * KIB, 64 * KIB);
    char *moved = g_os->remap(g_os->ctx, ptr, size, size * 2);
    CHECK(moved != NULL);
    CHECK(moved == ptr || (uintptr_t)moved % HAK_OS_REMAP_ALIGNMENT == 0);
    CHECK(test_verify_sparse(moved, kept, 7));
    memset(moved + size, 1, size);
    ptr = moved;
    release(other, 64 * KIB);
  }
  char *smaller = g_os->remap(g_os->ctx, ptr, size, kept);
  CHECK(smaller != NULL && test_verify_sparse(smaller, kept, 7));
  CHECK(g_os->remap(g_os->ctx, smaller, kept, test_opaque((size_t)1 << 60)) == NULL);
  CHECK(test_verify_sparse(smaller, kept, 7));
  release(smaller, kept);
}

static void clock__never_goes_back(void **state) {
  (void)state;
  uint64_t first = g_os->now_ns(g_os->ctx), last = first;
  double end = test_seconds() + 0.1;
  while (test_seconds() < end) {
    uint64_t now = g_os->now_ns(g_os->ctx);
    CHECK(now >= last);
    last = now;
  }
  CHECK(last - first > 50000000 && last - first < 20000000000u);
}

static void hints__leave_the_content_alone(void **state) {
  (void)state;
  size_t size = 8 * MIB;
  char *ptr = reserve(size, 2 * MIB);
  hak_memory_advise_huge(ptr, size);
  commit(ptr, size);
  test_fill_sparse(ptr, size, 3);
  hak_memory_collapse(ptr, size);
  hak_memory_advise_small(ptr + 2 * MIB, size - 2 * MIB);
  hak_memory_advise_huge(ptr, size);
  CHECK(test_verify_sparse(ptr, size, 3));
  release(ptr, size);
}

static int setup(void **state) {
  (void)state;
  g_os = hak_os_default();
  return 0;
}

#define M(function) cmocka_unit_test_setup(function, setup)

TEST_MAIN_FRESH(M(hooks__are_valid_and_know_the_size_of_pages),
                M(reserve__is_aligned_and_goes_back_as_a_whole),
                M(reserve__of_more_than_there_is_fails),
                M(purge__gives_pages_back_and_keeps_those_beside_them),
                M(remap__takes_the_content_along), M(clock__never_goes_back),
                M(hints__leave_the_content_alone))
