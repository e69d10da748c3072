/* api_je.c - jemalloc's non-standard functions (hakmem/je.h), and a cache of values that
 * change their size, which is defragmented as Redis does it. */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include <hakmem/je.h>

static size_t read_size(const char *name) {
  size_t value = 0, size = sizeof value;
  CHECK_EQ(mallctl(name, &value, &size, NULL, 0), 0);
  return value;
}

static void mallocx__gives_what_its_flags_say(void **state) {
  (void)state;
  static const size_t sizes[] = {1, 8, 100, 1000, 5000, 70000, 3 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (int lg = 0; lg <= 16; lg++) {
      int flags = MALLOCX_LG_ALIGN(lg) | MALLOCX_ZERO;
      if (lg % 2 != 0) flags |= MALLOCX_TCACHE_NONE;
      size_t good = nallocx(sizes[i], flags);
      unsigned char *block = mallocx(sizes[i], flags);
      CHECK(block != NULL && (uintptr_t)block % ((size_t)1 << lg) == 0);
      CHECK(sallocx(block, 0) >= sizes[i]);
      /* A large block may be a little longer, never shorter. */
      size_t usable = sallocx(block, 0);
      CHECK_MSG(good == usable || (sizes[i] > 60000 && good < usable), "%zu, 2^%d",
                sizes[i], lg);
      CHECK(nallocx(sizes[i], flags & ~MALLOCX_ZERO) <= usable || sizes[i] > 32768);
      CHECK(test_is_zero(block, sallocx(block, 0)));
      memset(block, 0x5a, sallocx(block, 0));
      if (lg % 3 == 0) {
        dallocx(block, flags);
      } else {
        sdallocx(block, sizes[i], flags & ~MALLOCX_ZERO);
      }
    }
  }
  CHECK_EQ(MALLOCX_ALIGN(1), 0);
  CHECK_EQ(MALLOCX_ALIGN(4096), MALLOCX_LG_ALIGN(12));
  CHECK_EQ(nallocx((size_t)PTRDIFF_MAX + 1, 0), 0);
}

static void arena__is_the_one_that_there_is(void **state) {
  (void)state;
  void *block = mallocx(100, MALLOCX_ARENA(0) | MALLOCX_TCACHE(3));
  CHECK(block != NULL && hak_heap_of(block) == hak_heap_default());
  errno = 0;
  CHECK(mallocx(100, MALLOCX_ARENA(1)) == NULL && errno == EINVAL);
  errno = 0;
  CHECK(rallocx(block, 200, MALLOCX_ARENA(7)) == NULL && errno == EINVAL);
  dallocx(block, MALLOCX_ARENA(0));
}

static void rallocx__keeps_contents_and_zeroes_what_is_new(void **state) {
  (void)state;
  for (int none = 0; none < 2; none++) {
    int flags = MALLOCX_ZERO | (none != 0 ? MALLOCX_TCACHE_NONE : 0);
    unsigned char *block = mallocx(100, flags);
    memset(block, 7, sallocx(block, 0));
    size_t before = sallocx(block, 0);
    block = rallocx(block, 9000, flags);
    CHECK(block != NULL && block[0] == 7 && block[before - 1] == 7);
    CHECK(test_is_zero(block + before, sallocx(block, 0) - before));
    dallocx(block, flags);
  }
}

static void xallocx__stays_in_place_and_tells_the_size(void **state) {
  (void)state;
  unsigned char *block = mallocx(100, 0);
  size_t usable = sallocx(block, 0);
  CHECK_EQ(xallocx(block, 90, 0, 0), usable);
  CHECK_EQ(xallocx(block, 5000, 0, 0), usable);
  CHECK_EQ(xallocx(block, 50, SIZE_MAX - 10, 0), usable);
  dallocx(block, 0);
  block = mallocx(2 << 20, MALLOCX_ZERO);
  size_t now = xallocx(block, 1 << 20, 0, 0);
  CHECK(now >= 1 << 20 && now < 2 << 20);
  memset(block, 1, now);
  size_t again = xallocx(block, now, 1 << 20, MALLOCX_ZERO);
  CHECK(again >= now && test_is_zero(block + now, again - now));
  dallocx(block, 0);
}

/* Nobody has written to most of what lives: it is not resident, and yet counts so. */
static void stats__do_not_fall_below_each_other_with_blocks_untouched(void **state) {
  (void)state;
  void *block = mallocx((size_t)64 << 20, 0);
  CHECK(read_size("stats.allocated") >= (size_t)64 << 20);
  CHECK(read_size("stats.active") >= read_size("stats.allocated"));
  CHECK(read_size("stats.resident") >= read_size("stats.active"));
  CHECK(read_size("stats.mapped") >= read_size("stats.resident"));
  dallocx(block, 0);
}

static void mallctl__knows_its_names_and_sizes(void **state) {
  (void)state;
  uint64_t epoch = 1;
  size_t size = sizeof epoch;
  CHECK_EQ(mallctl("epoch", &epoch, &size, &epoch, sizeof epoch), 0);
  void *block = mallocx(1 << 20, 0);
  CHECK(read_size("stats.allocated") >= 1 << 20);
  CHECK(read_size("stats.active") >= read_size("stats.allocated"));
  CHECK(read_size("stats.resident") >= read_size("stats.active"));
  CHECK(read_size("stats.mapped") >= read_size("stats.resident"));
  CHECK(read_size("stats.metadata") > 0);
  (void)read_size("stats.retained");
  CHECK_EQ(read_size("arenas.quantum"), 16);
  CHECK(read_size("arenas.page") >= 4096);
  unsigned count = 0;
  size = sizeof count;
  CHECK_EQ(mallctl("arenas.narenas", &count, &size, NULL, 0), 0);
  CHECK_EQ(count, 1);
  const char *version = NULL;
  size = sizeof version;
  CHECK_EQ(mallctl("version", &version, &size, NULL, 0), 0);
  CHECK(strstr(version, "hakmem") != NULL);
  dallocx(block, 0);
  CHECK_EQ(mallctl("thread.tcache.flush", NULL, NULL, NULL, 0), 0);
  CHECK_EQ(mallctl("arena.0.decay", NULL, NULL, NULL, 0), 0);
  CHECK_EQ(mallctl("arena.4096.purge", NULL, NULL, NULL, 0), 0);
  CHECK_EQ(mallctl("arena.1.purge", NULL, NULL, NULL, 0), EFAULT);
  CHECK_EQ(mallctl("arena.0.reset", NULL, NULL, NULL, 0), ENOENT);
  CHECK_EQ(mallctl("stats.arenas.0.nthreads", NULL, NULL, NULL, 0), ENOENT);
  CHECK_EQ(mallctl("no.such.name", NULL, NULL, NULL, 0), ENOENT);
  CHECK_EQ(mallctl("stats.active", NULL, NULL, &count, sizeof count), EPERM);
  size = sizeof count;
  CHECK_EQ(mallctl("stats.active", &count, &size, NULL, 0), EINVAL);
}

static void numbers_of_names__do_what_the_names_do(void **state) {
  (void)state;
  size_t mib[4] = {9, 9, 9, 9}, count = TEST_COUNT(mib);
  CHECK_EQ(mallctlnametomib("stats.active", mib, &count), 0);
  CHECK_EQ(count, 2);
  CHECK_EQ(mib[2], 9);
  size_t active = 0, size = sizeof active;
  CHECK_EQ(mallctlbymib(mib, 2, &active, &size, NULL, 0), 0);
  CHECK(active >= read_size("stats.allocated"));
  CHECK_EQ(mallctlbymib(mib, 1, &active, &size, NULL, 0), ENOENT);
  CHECK_EQ(mallctlbymib(mib, 3, &active, &size, NULL, 0), ENOENT);
  CHECK_EQ(mallctlbymib(mib, 0, &active, &size, NULL, 0), ENOENT);
  CHECK_EQ(mallctlbymib(mib, 2, &active, &size, &active, size), EPERM);
  mib[0] = 1000;
  CHECK_EQ(mallctlbymib(mib, 2, &active, &size, NULL, 0), ENOENT);

  count = TEST_COUNT(mib);
  CHECK_EQ(mallctlnametomib("arena.7.decay", mib, &count), 0);
  CHECK_EQ(count, 3);
  CHECK_EQ(mib[1], 7);
  CHECK_EQ(mallctlbymib(mib, 3, NULL, NULL, NULL, 0), EFAULT);
  mib[1] = 0;
  CHECK_EQ(mallctlbymib(mib, 3, NULL, NULL, NULL, 0), 0);
  CHECK_EQ(mallctlbymib(mib, 3, NULL, NULL, &size, sizeof size), EPERM);
  mib[1] = MALLCTL_ARENAS_ALL;
  CHECK_EQ(mallctlbymib(mib, 3, NULL, NULL, NULL, 0), 0);

  intptr_t ms = 0, fresh = 250, now = 0;
  size = sizeof ms;
  count = 2;
  CHECK_EQ(mallctlnametomib("arenas.dirty_decay_ms", mib, &count), 0);
  CHECK_EQ(mallctlbymib(mib, 2, &ms, &size, &fresh, sizeof fresh), 0);
  CHECK_EQ(mallctlbymib(mib, 2, &now, &size, &ms, sizeof ms), 0);
  CHECK_EQ(now, 250);

  mib[0] = mib[1] = 9;
  count = 1;
  CHECK_EQ(mallctlnametomib("arena.4096.purge", mib, &count), 0);
  CHECK(count == 1 && mib[0] != 9 && mib[1] == 9);
}

/* What docs/JEMALLOC.md has is known both ways, and nothing else is. */
static void numbers_of_names__are_there_for_each_name(void **state) {
  (void)state;
  static const char *const names[] = {
      "epoch",           "version",          "background_thread",
      "stats.allocated", "stats.active",     "stats.resident",
      "stats.metadata",  "stats.mapped",     "stats.retained",
      "arenas.narenas",  "arenas.page",      "arenas.quantum",
      "opt.narenas",     "thread.arena",     "arenas.dirty_decay_ms",
      "arena.0.purge",   "arena.4096.decay", "thread.tcache.flush",
      "thread.idle"};
  size_t mib[4], count;
  for (size_t i = 0; i < TEST_COUNT(names); i++) {
    count = TEST_COUNT(mib);
    CHECK_MSG(mallctlnametomib(names[i], mib, &count) == 0, "%s", names[i]);
    CHECK_EQ(mallctlbymib(mib, count, NULL, NULL, NULL, 0),
             mallctl(names[i], NULL, NULL, NULL, 0));
  }
  static const char *const others[] = {"",       "arena",         "arena.",
                                       "stats",  "arena.0",       "arena.x.purge",
                                       "epochs", "arena.0.reset", "no.such.name"};
  for (size_t i = 0; i < TEST_COUNT(others); i++) {
    count = TEST_COUNT(mib);
    CHECK_MSG(mallctlnametomib(others[i], mib, &count) == ENOENT, "%s", others[i]);
    CHECK_EQ(mallctl(others[i], NULL, NULL, NULL, 0), ENOENT);
  }
  CHECK_EQ(mallctl("arena.99999999999999999999.purge", NULL, NULL, NULL, 0), EFAULT);
}

static void nallocx__says_0_where_no_block_can_be(void **state) {
  (void)state;
  CHECK_EQ(nallocx(10, MALLOCX_LG_ALIGN(40)), 0);
  CHECK(mallocx(10, MALLOCX_LG_ALIGN(40)) == NULL);
  CHECK_EQ(nallocx(PTRDIFF_MAX, 0), 0);
  CHECK_EQ(nallocx(PTRDIFF_MAX, MALLOCX_ZERO), 0);
  CHECK(mallocx(PTRDIFF_MAX, MALLOCX_ZERO) == NULL);
}

/* Programs use all that nallocx says, whichever flags they pass to mallocx. */
static void nallocx__never_says_more_than_a_block_has(void **state) {
  (void)state;
  static const size_t sizes[] = {1,      8,      15,      96,      4089,   19388,
                                 36101,  40952,  65535,   65536,   123230, 132723,
                                 176054, 198897, 1000000, 1048577, 2700013};
  static const int64_t samples[] = {0, 2};
  int64_t sample = hak_option_get(HAK_OPTION_GUARD_SAMPLE);
  for (size_t i = 0; i < TEST_COUNT(sizes) * TEST_COUNT(samples); i++) {
    size_t size = sizes[i / TEST_COUNT(samples)];
    CHECK_EQ(hak_option_set(HAK_OPTION_GUARD_SAMPLE, samples[i % TEST_COUNT(samples)]),
             0);
    for (int kind = 0; kind < 2 * 21; kind++) {
      int flags = MALLOCX_LG_ALIGN(kind / 2) | (kind % 2 != 0 ? MALLOCX_ZERO : 0);
      size_t good = nallocx(size, flags);
      void *block = mallocx(size, flags);
      CHECK(block != NULL && good >= size);
      CHECK_MSG(good <= sallocx(block, 0), "%zu, 2^%d: %zu of %zu", size, kind / 2, good,
                sallocx(block, 0));
      dallocx(block, flags);
    }
  }
  CHECK_EQ(hak_option_set(HAK_OPTION_GUARD_SAMPLE, sample), 0);
  CHECK(nallocx(0, MALLOCX_LG_ALIGN(17)) != 0);
}

static void xallocx__never_shrinks_a_block_that_fits(void **state) {
  (void)state;
  static const size_t sizes[] = {5000, 70000, 2700013, 24 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *block = mallocx(sizes[i], 0);
    CHECK(block != NULL);
    CHECK(xallocx(block, 100, SIZE_MAX - 100, 0) >= sizes[i]);
    CHECK(sallocx(block, 0) >= sizes[i]);
    dallocx(block, 0);
  }
}

static void active__is_never_less_than_allocated(void **state) {
  (void)state;
  for (int i = 0; i < 20; i++) {
    hak_heap_t *heap = hak_heap_create(NULL);
    CHECK(heap != NULL && hak_heap_alloc(heap, 100) != NULL);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    size_t allocated = read_size("stats.allocated"), active = read_size("stats.active");
    CHECK_MSG(active >= allocated && active <= (size_t)1 << 40, "%zu of %zu", active,
              allocated);
  }
}

static void mallctl__sets_what_can_be_set(void **state) {
  (void)state;
  intptr_t ms = 0, fresh = 250;
  size_t size = sizeof ms;
  CHECK_EQ(mallctl("arenas.dirty_decay_ms", &ms, &size, &fresh, sizeof fresh), 0);
  CHECK_EQ(ms, 500);
  CHECK_EQ(hak_option_get(HAK_OPTION_PURGE_DECAY_MS), 250);
  fresh = -1;
  CHECK_EQ(mallctl("arenas.dirty_decay_ms", NULL, NULL, &fresh, sizeof fresh), EFAULT);
  CHECK_EQ(mallctl("arenas.dirty_decay_ms", NULL, NULL, &ms, sizeof ms), 0);
  bool on = true, off = false;
  CHECK_EQ(mallctl("background_thread", &on, &size, NULL, 0), EPERM);
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(mallctl("background_thread", NULL, NULL, &on, sizeof on), 0);
  }
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(mallctl("background_thread", NULL, NULL, &off, sizeof off), 0);
  }
}

static void count_text(void *ctx, const char *text) { *(size_t *)ctx += strlen(text); }

static void stats_print__writes_pieces_of_text(void **state) {
  (void)state;
  size_t text = 0, json = 0;
  malloc_stats_print(count_text, &text, "");
  malloc_stats_print(count_text, &json, "aJ");
  CHECK(text > 1000 && json > 1000);
}

/* ---- a cache that is defragmented -------------------------------------------------- */

enum {
  SMALL = 150,
  LARGE = 300,
  MOST = 140000,
  LIVE_MOST = 12 << 20 /* bytes; what is over goes, at random */
};

typedef struct value {
  void *block;
  size_t size;
} value_t;

static value_t g_values[MOST];
static size_t g_count, g_live;

static void evict(uint64_t *seed) {
  *seed = *seed * 6364136223846793005u + 1442695040888963407u;
  value_t *value = &g_values[(*seed >> 33) % g_count];
  dallocx(value->block, 0);
  g_live -= value->size;
  *value = g_values[--g_count];
}

static void fill(size_t size, size_t count, uint64_t *seed) {
  for (size_t i = 0; i < count; i++) {
    void *block = mallocx(size, 0);
    CHECK(block != NULL && g_count < MOST);
    memset(block, (int)size, size);
    g_values[g_count++] = (value_t){block, sallocx(block, 0)};
    g_live += sallocx(block, 0);
    while (g_live > LIVE_MOST) evict(seed);
  }
}

/* One pass over all values; returns how many have moved. */
static size_t defragment(void) {
  size_t moved = 0;
  for (size_t i = 0; i < g_count; i++) {
    value_t *value = &g_values[i];
    if (get_defrag_hint(value->block) == 0) continue;
    void *block = mallocx(value->size, MALLOCX_TCACHE_NONE);
    CHECK(block != NULL);
    memcpy(block, value->block, value->size);
    dallocx(value->block, MALLOCX_TCACHE_NONE);
    value->block = block;
    moved++;
  }
  return moved;
}

static void defragmentation__brings_memory_near_what_is_live(void **state) {
  (void)state;
  uint64_t seed = 14;
  fill(SMALL, 140000, &seed);
  fill(LARGE, 34000, &seed);
  (void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
  size_t before = read_size("stats.active");
  CHECK_MSG(before * 10 > g_live * 12, "%zu of %zu", before, g_live);
  size_t moved = 0;
  for (int pass = 0; pass < 4; pass++) moved += defragment();
  CHECK(moved > 0);
  (void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0);
  size_t after = read_size("stats.active");
  CHECK_MSG(after * 10 <= g_live * 11, "%zu of %zu, %zu before", after, g_live, before);
  for (size_t i = 0; i < g_count; i++) {
    const unsigned char *bytes = g_values[i].block;
    CHECK(bytes[0] == bytes[SMALL - 1]);
    dallocx(g_values[i].block, 0);
  }
  g_count = g_live = 0;
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_MAIN(T(mallocx__gives_what_its_flags_say), T(arena__is_the_one_that_there_is),
          T(rallocx__keeps_contents_and_zeroes_what_is_new),
          T(xallocx__stays_in_place_and_tells_the_size),
          T(xallocx__never_shrinks_a_block_that_fits),
          T(nallocx__says_0_where_no_block_can_be),
          T(nallocx__never_says_more_than_a_block_has),
          T(active__is_never_less_than_allocated),
          T(stats__do_not_fall_below_each_other_with_blocks_untouched),
          T(mallctl__knows_its_names_and_sizes), T(mallctl__sets_what_can_be_set),
          T(numbers_of_names__do_what_the_names_do),
          T(numbers_of_names__are_there_for_each_name),
          T(stats_print__writes_pieces_of_text),
          T(defragmentation__brings_memory_near_what_is_live))
