/* wild.c - a million values that are no blocks of ours, given to every function
 * that takes one: each is named at once, nothing crashes. */
#include "child.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>

static uintptr_t g_ours[32];
static char *g_mapped;
static char *g_libc;

#define MAPPED ((size_t)8 << 20)

/* Values of all sorts; most of them meet the registry somewhere. */
static uintptr_t wild_value(test_rng_t *rng) {
  uint64_t r = test_random(rng);
  uintptr_t ours = g_ours[r % TEST_COUNT(g_ours)];
  uint64_t s = test_random(rng);
  switch (test_below(rng, 12)) {
    case 0:
      return (uintptr_t)s;
    case 1:
      return (uintptr_t)(s >> 17); /* user space */
    case 2:
      return (uintptr_t)(s >> 17) & ~(uintptr_t)15; /* and aligned */
    case 3:
      return (uintptr_t)(s % 65536); /* near NULL */
    case 4:
      return (uintptr_t)0 - (uintptr_t)(s % 65536) - 1; /* near the end */
    case 5:
      return ours ^ (uintptr_t)1 << (40 + s % 24); /* a bit wrong */
    case 6:
      return ours + (uintptr_t)(s % (64 * GIB)); /* near ours */
    case 7:
      return ours - (uintptr_t)(s % (64 * GIB));
    case 8:
      return (uintptr_t)&r - (uintptr_t)(s % 4096); /* the stack */
    case 9:
      return (uintptr_t)g_mapped + (uintptr_t)(s % MAPPED);
    case 10:
      return (uintptr_t)g_libc + (uintptr_t)(s % 4096);
    default:
      return (uintptr_t)(s << 47) | (uintptr_t)(s >> 40); /* non-canonical */
  }
}

static bool is_ours(uintptr_t value) {
  hak_block_t info = {.struct_size = sizeof info};
  int error = hak_ptr_info((void *)value, &info);
  CHECK(error == 0 || error == ENOENT);
  return error == 0;
}

/* Memory of the library's own where no block is now: what was wrong with the
 * pointer can only be guessed. */
static bool may_have_been_ours(uintptr_t value) {
  for (size_t i = 0; i < TEST_COUNT(g_ours); i++) {
    uintptr_t distance = value > g_ours[i] ? value - g_ours[i] : g_ours[i] - value;
    if (distance < GIB) {
      return true;
    }
  }
  return false;
}

static void try_one(uintptr_t value) {
  void *p = (void *)value;
  unsigned before = g_reports.count;
  hak_free(p);
  CHECK_MSG(g_reports.count == before + 1, "free of 0x%" PRIxPTR " gave %u reports",
            value, g_reports.count - before);
  const hak_error_info_t *last = &g_reports.last;
  bool foreign = last->error == HAK_ERROR_FOREIGN_POINTER && last->heap == NULL;
  bool guessed =
      last->error == HAK_ERROR_DOUBLE_FREE || last->error == HAK_ERROR_INTERIOR_POINTER;
  CHECK_MSG(last->address == p && (foreign || (guessed && may_have_been_ours(value))),
            "free of 0x%" PRIxPTR " was reported as %s at %p", value,
            hak_error_text(last->error), last->address);
  CHECK_EQ(hak_usable_size(p), 0);
  CHECK_EQ(g_reports.count, before + 2);
  CHECK(hak_realloc(p, 100) == NULL);
  CHECK_EQ(g_reports.count, before + 3);
  hak_free_sized(p, 16);
  CHECK_EQ(g_reports.count, before + 4);
  CHECK(hak_heap_of(p) == NULL);
  CHECK_EQ(hak_move_hint(p), 0);
  CHECK_EQ(g_reports.count, before + 4);
}

TEST_IN_CHILD(wild_pointers__are_named_at_once_and_nothing_crashes, 120) {
  test_start();
  for (size_t i = 0; i < TEST_COUNT(g_ours); i++) {
    g_ours[i] = (uintptr_t)hak_alloc((size_t)16 << i % 20);
  }
  g_mapped =
      mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  g_libc = malloc(4096);
  test_reports_begin();
  test_rng_t rng = test_rng(test_seed(), 45);
  uint64_t tried = 0;
  for (size_t i = 0; i < test_scale(1000000); i++) {
    uintptr_t value = wild_value(&rng);
    if (value != 0 && !is_ours(value)) {
      try_one(value);
      tried++;
    }
  }
  CHECK_MSG(tried > test_scale(1000000) / 2, "only %" PRIu64 " values were foreign",
            tried);
  CHECK_EQ(g_reports.count, tried * 4);
  hak_set_error_handler(NULL, NULL);
  for (size_t i = 0; i < TEST_COUNT(g_ours); i++) {
    hak_free((void *)g_ours[i]);
  }
  free(g_libc);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
}

TEST_IN_CHILD(wild_pointers__are_named_before_first_use, 10) {
  test_reports_begin();
  int local = 0;
  /* The very first call is a wrong one. */
  hak_free(&local);
  CHECK_EQ(g_reports.count, 1);
  CHECK_EQ(g_reports.last.error, HAK_ERROR_FOREIGN_POINTER);
  CHECK_EQ(hak_usable_size(&local), 0);
  CHECK(hak_realloc(&local, 10) == NULL);
  CHECK_EQ(g_reports.count, 3);
  hak_free(hak_alloc(10));
  CHECK_EQ(g_reports.count, 3);
}

/* Any byte of a block, and blocks that are free: looking is always safe. */
TEST_IN_CHILD(looking__at_any_address_is_safe, 60) {
  test_start();
  hak_set_error_handler(hak_error_ignore, NULL);
  test_rng_t rng = test_rng(test_seed(), 46);
  for (size_t i = 0; i < test_scale(100000); i++) {
    size_t size = test_random_size(&rng, MIB);
    char *block = hak_alloc(size);
    size_t usable = hak_usable_size(block);
    char *inside = block + test_below(&rng, usable);
    if (i % 2 == 0) {
      hak_free(block);
    }
    hak_block_t info = {.struct_size = sizeof info};
    (void)hak_ptr_info(inside, &info);
    (void)hak_heap_of(inside);
    (void)hak_usable_size(inside);
    (void)hak_move_hint(inside);
    if (i % 2 == 1) {
      hak_free(block);
    }
  }
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(test_live_blocks(), 0);
}

TEST_MAIN_FRESH(T(wild_pointers__are_named_before_first_use),
                T(wild_pointers__are_named_at_once_and_nothing_crashes),
                T(looking__at_any_address_is_safe))
