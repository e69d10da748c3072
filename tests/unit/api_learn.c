/* api_learn.c - waves of load whose places are named leave little behind, in a program
 * that changes, with threads, forks, limits and failures; and nothing else changes. */
#include "child.h"
#include "os_fixture.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "heap/heap.h"
#include "learn/sample.h"
#include "learn/waves.h"
#include "superslab/locate.h"

enum {
  MASS = 30000,   /* blocks that go at the end of a wave */
  SHARE = 12,     /* one in so many more stays */
  WAVES_STAY = 3, /* for so many waves */
  KEPT = MASS / SHARE * WAVES_STAY,
  MANY = 60,    /* places whose blocks go, and as many whose blocks stay */
  MEAN = 16384, /* of the distance of samples, as waves are small */
  USUAL_MEAN = 262144
};

/* What may be left, as a multiple of the 2.8 MB that live: much of it is slabs that are
 * used in part. Where nothing is learned it is three times as much. */
#define LITTLE 2.2
/* The same of many places, of which some are known late: 6 where none is. */
#define LITTLE_OF_MANY 4.5

typedef struct load {
  test_rng_t rng;
  void *mass[MASS], *kept[KEPT];
  size_t sizes[KEPT], live; /* bytes of blocks kept */
  size_t at;
} load_t;

static load_t g_load;
HAK_SITE(connection);
HAK_SITE(table);
HAK_SITE(temporary);
static hak_site_t g_many[2 * MANY]; /* blocks of the first half go with their wave */

static void *get(size_t size, hak_site_t *site) {
  void *block = hak_alloc_at(size, site);
  if (block != NULL) memset(block, 1, size);
  return block;
}

static size_t any_size(load_t *load) { return 48 + (size_t)test_below(&load->rng, 650); }

static void keep(load_t *load, hak_site_t *site) {
  size_t *size = &load->sizes[load->at];
  hak_free_sized(load->kept[load->at], *size);
  load->live -= *size;
  *size = any_size(load);
  load->kept[load->at] = get(*size, site);
  if (load->kept[load->at] == NULL) *size = 0;
  load->live += *size;
  load->at = (load->at + 1) % KEPT;
}

/* Ends a wave: its blocks go in another order than they came, and a calm follows. */
static void fall(load_t *load) {
  for (size_t i = MASS; i-- > 1;) {
    size_t j = (size_t)test_below(&load->rng, i + 1);
    void *block = load->mass[i];
    load->mass[i] = load->mass[j];
    load->mass[j] = block;
  }
  for (size_t i = 0; i < MASS; i++) hak_free(load->mass[i]);
  for (int i = 0; i < 20000; i++) hak_free(hak_alloc_at(500, &temporary));
}

/* A wave: `goes` allocates what is gone after it, `stays` what is there for three. */
static void wave(load_t *load, hak_site_t *goes, hak_site_t *stays) {
  for (size_t i = 0; i < MASS; i++) {
    load->mass[i] = get(any_size(load), goes);
    if (i % SHARE == 0) keep(load, stays);
    hak_free(get(64 + (size_t)test_below(&load->rng, 800), &temporary));
  }
  fall(load);
}

/* The same from many places, of which each has a sample or two in a wave. */
static void wave_of_many(load_t *load) {
  for (size_t i = 0; i < MASS; i++) {
    hak_site_t *some = &g_many[test_below(&load->rng, MANY)];
    load->mass[i] = get(any_size(load), some);
    if (i % SHARE == 0) keep(load, &g_many[MANY + test_below(&load->rng, MANY)]);
  }
  fall(load);
}

static void waves(load_t *load, int count) {
  for (int i = 0; i < count; i++) wave(load, &connection, &table);
}

/* Memory of the default heap that is in use, in bytes. */
static double in_use(void) {
  hak_stats_t stats = test_heap_stats(hak_heap_default());
  return (double)(stats.committed_bytes - stats.hole_bytes);
}
/* The same in the calm, as a multiple of what lives. */
static double rest(const load_t *load) {
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  return in_use() / (double)load->live;
}

static void begin_load(load_t *load) {
  memset(load, 0, sizeof *load);
  load->rng = test_rng(1, 2);
}
static void end_load(load_t *load) {
  for (size_t i = 0; i < KEPT; i++) hak_free(load->kept[i]);
}

static int begin(void **state, int learn) {
  (void)state;
  test_over_os(0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, MEAN), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, learn), 0);
  begin_load(&g_load);
  return 0;
}
static int start(void **state) { return begin(state, 1); }
static int start_off(void **state) { return begin(state, 0); }
static int end(void **state) {
  (void)state;
  end_load(&g_load);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK(hak_samples_are_valid());
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, USUAL_MEAN), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
  test_over_os_end();
  return 0;
}

static bool is_apart(const hak_site_t *site) {
  return hak_load_relaxed(&hak_origin_groups[hak_origin_of(site)]) != 0;
}

static bool add_saved(const hak_site_info_t *info, void *ctx) {
  *(int64_t *)ctx += info->saved_bytes;
  if (strcmp(info->name, "table") == 0) CHECK(info->saved_bytes > (int64_t)MIB);
  return true;
}

static bool note_site(const hak_site_info_t *info, void *ctx) {
  bool stays = strcmp(info->name, "table") == 0;
  ++*(int *)ctx;
  CHECK_EQ(info->group != 0, stays);
  if (stays) CHECK(info->stays_permille > 900);
  if (strcmp(info->name, "connection") == 0) CHECK_EQ(info->stays_permille, 0);
  return true;
}

static void waves__leave_little_once_those_from_before_are_gone(void **state) {
  (void)state;
  for (int i = 0; i < 6; i++) {
    wave(&g_load, &connection, &table);
    double ratio = rest(&g_load);
    CHECK_MSG(i < WAVES_STAY || ratio <= LITTLE, "%.2f after wave %d", ratio, i);
  }
  CHECK(is_apart(&table) && !is_apart(&connection) && !is_apart(&temporary));
  hak_waves_info_t info = HAK_WAVES_INFO_INIT;
  CHECK_EQ(hak_waves_get(&info), 0);
  CHECK(info.places_apart == 1 && info.moves >= 1 && info.peak_bytes > 8 * MIB);
  CHECK(info.trough_bytes < info.peak_bytes / 2);
  CHECK(info.apart_bytes < info.together_bytes / 2);
  /* The places' parts of what is saved are the whole. */
  int64_t saved = 0;
  CHECK_EQ(hak_sites_visit(add_saved, &saved), 0);
  CHECK(info.saved_bytes > (int64_t)MIB);
  CHECK_MSG(llabs(saved - info.saved_bytes) <= 1000, "%lld of %lld", (long long)saved,
            (long long)info.saved_bytes);
  int found = 0;
  CHECK_EQ(hak_sites_visit(note_site, &found), 0);
  CHECK_EQ(found, 3);
}

/* Before anything is known of a place that only grows, it has a lane of its own. */
static void wave__that_is_the_first_leaves_little_too(void **state) {
  (void)state;
  for (size_t i = 0; i < MASS; i++) {
    g_load.mass[i] = get(3 * any_size(&g_load), &connection);
    if (i % SHARE == 0) keep(&g_load, &table);
  }
  CHECK(hak_waves_read().count == 0 && is_apart(&table));
  fall(&g_load);
  double ratio = rest(&g_load);
  CHECK(hak_waves_read().count == 1 && is_apart(&table));
  /* 7.5 without. */
  CHECK_MSG(ratio <= 6.5, "%.2f", ratio);
}

static void waves__of_many_places_leave_little_once_each_has_a_few_samples(void **state) {
  (void)state;
  for (uint32_t i = 0; i < 2 * MANY; i++) {
    g_many[i] = (hak_site_t){"many.c", 1 + i, NULL, {0}};
  }
  for (int i = 0; i < 14; i++) wave_of_many(&g_load);
  int apart = 0, wrong = 0;
  for (uint32_t i = 0; i < MANY; i++) {
    wrong += is_apart(&g_many[i]);
    apart += is_apart(&g_many[MANY + i]);
  }
  double ratio = rest(&g_load);
  CHECK_MSG(ratio <= LITTLE_OF_MANY, "%.2f", ratio);
  CHECK_MSG(apart >= MANY * 9 / 10 && wrong == 0, "%d, and %d others", apart, wrong);
}

static void waves__leave_much_where_the_learner_only_watches(void **state) {
  (void)state;
  waves(&g_load, WAVES_STAY + 1);
  double ratio = rest(&g_load);
  CHECK_MSG(ratio > 2 * LITTLE, "%.2f", ratio);
  hak_waves_t told = hak_waves_read();
  CHECK(told.count >= WAVES_STAY && told.moves == 0);
  CHECK(!is_apart(&table) && !is_apart(&connection));
  /* It says what would be saved. */
  CHECK_EQ(told.apart, told.together);
  CHECK(told.saved > (int64_t)MIB);
  CHECK(told.best < told.together / 2);
  hak_waves_info_t info = HAK_WAVES_INFO_INIT;
  CHECK_EQ(hak_waves_get(&info), 0);
  CHECK(info.waves == told.count && info.best_bytes == told.best);
  CHECK_EQ(info.places_apart, 0);
}

static void place__that_changes_is_learned_anew_in_three_waves(void **state) {
  (void)state;
  waves(&g_load, 4);
  CHECK(is_apart(&table) != is_apart(&connection));
  for (int i = 0; i < 3; i++) wave(&g_load, &table, &connection);
  CHECK(is_apart(&table) != is_apart(&connection));
  double ratio = rest(&g_load);
  CHECK_MSG(ratio <= LITTLE, "%.2f", ratio);
}

/* Which blocks stay is a matter of chance: nothing is moved, and nothing costs memory. */
static uint64_t peak_of_chance(int learn) {
  static hak_site_t sites[4] = {{"a.c", 1, NULL, {0}},
                                {"a.c", 2, NULL, {0}},
                                {"a.c", 3, NULL, {0}},
                                {"a.c", 4, NULL, {0}}};
  begin(NULL, learn);
  load_t *load = &g_load;
  for (int w = 0; w < 5; w++) {
    for (size_t i = 0; i < MASS; i++) {
      if (load->mass[i] == NULL) load->mass[i] = get(any_size(load), &sites[i % 4]);
    }
    for (size_t i = 0; i < MASS; i++) {
      if (test_below(&load->rng, 5) == 0) continue;
      hak_free(load->mass[i]);
      load->mass[i] = NULL;
    }
    for (int i = 0; i < 20000; i++) hak_free(hak_alloc_at(500, &temporary));
  }
  CHECK(hak_waves_read().count >= 3);
  CHECK_EQ(hak_waves_read().moves, 0);
  for (size_t i = 0; i < MASS; i++) hak_free(load->mass[i]);
  uint64_t peak = test_heap_stats(hak_heap_default()).peak_committed_bytes;
  end(NULL);
  return peak;
}

static void chance__moves_nothing_and_costs_nothing(void **state) {
  (void)state;
  /* On a busy machine a thread may become lean at another block, which is a slab or two.
   */
  double with = (double)peak_of_chance(1), without = (double)peak_of_chance(0);
  CHECK_MSG(with <= 1.01 * without && without <= 1.01 * with, "%.0f, %.0f without", with,
            without);
}

/* Two places whose blocks go, but for one in 16 of the first, and one whose blocks stay.
 * The most bytes that are in use. */
static double peak_where_part_stays(int learn) {
  static void *goes[2 * MASS];
  static hak_site_t some = {"b.c", 1, NULL, {0}}, none = {"b.c", 2, NULL, {0}};
  begin(NULL, learn);
  load_t *load = &g_load;
  double peak = 0;
  for (int w = 0; w < 6; w++) {
    size_t count = 0;
    for (size_t i = 0; i < MASS; i++) {
      if (i % 16 == 0) {
        keep(load, &some);
        keep(load, &table);
      } else {
        goes[count++] = get(any_size(load), &some);
      }
      if (i % 2 == 0) goes[count++] = get(any_size(load), &none);
      hak_free(get(64 + (size_t)test_below(&load->rng, 800), &temporary));
    }
    double used = in_use();
    if (used > peak) peak = used;
    for (size_t i = 0; i < count; i++) hak_free(goes[i]);
    for (int i = 0; i < 20000; i++) hak_free(hak_alloc_at(500, &temporary));
    (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  }
  CHECK(hak_waves_read().count >= 4);
  if (learn != 0) {
    CHECK(is_apart(&none) && !is_apart(&some));
    CHECK(hak_waves_loosest() != 0);
  }
  end(NULL);
  return peak;
}

static void places__whose_blocks_all_go_fill_holes_first(void **state) {
  (void)state;
  if (HAK_CHECKS >= 3) skip(); /* what is freed waits, and leaves no holes meanwhile */
  /* A third more if they did not. */
  double without = peak_where_part_stays(0), with = peak_where_part_stays(1);
  CHECK_MSG(with <= 1.03 * without + MIB, "%.0f, %.0f without", with, without);
}

static bool count_visited(const hak_block_t *block, void *ctx) {
  (void)block;
  ++*(size_t *)ctx;
  return true;
}

static void groups__are_the_default_heap_to_the_program(void **state) {
  (void)state;
  waves(&g_load, 4);
  CHECK(is_apart(&table));
  size_t visited = 0;
  CHECK_EQ(hak_heap_visit(NULL, count_visited, &visited, 0), 0);
  CHECK_EQ(visited, KEPT);
  CHECK_EQ(test_live_blocks(), KEPT);
  CHECK_EQ(test_heap_stats(hak_heap_default()).live_blocks, KEPT);
  CHECK_EQ(hak_check(hak_heap_default()), 0);
  for (size_t i = 0; i < KEPT; i++) {
    CHECK(hak_heap_of(g_load.kept[i]) == hak_heap_default());
    g_load.kept[i] = hak_realloc(g_load.kept[i], 2 * g_load.sizes[i]);
    CHECK(((char *)g_load.kept[i])[g_load.sizes[i] - 1] == 1);
    g_load.sizes[i] *= 2;
    CHECK(hak_heap_of(g_load.kept[i]) == hak_heap_default());
  }
  CHECK_EQ(test_live_blocks(), KEPT);
}

/* In all ways that a block is asked for by its place. */
static void blocks__that_lie_apart_are_what_was_asked_for(void **state) {
  (void)state;
  waves(&g_load, 4);
  CHECK(is_apart(&table));
  unsigned char *zero = hak_calloc_at(10, 100, &table);
  CHECK(zero != NULL && test_is_zero(zero, 1000));
  for (size_t alignment = 16; alignment <= 65536; alignment *= 8) {
    void *block = hak_allocx(NULL, 333, alignment, 0, &table);
    CHECK(block != NULL && (uintptr_t)block % alignment == 0);
    hak_free_aligned_sized(block, alignment, 333);
  }
  size_t sizes[] = {0, 1, 1024, 1025, 57344, 57345, 1 << 20, 5 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    char *block = hak_alloc_at(sizes[i], &table);
    CHECK(block != NULL && hak_usable_size(block) >= sizes[i]);
    CHECK(hak_heap_of(block) == hak_heap_default());
    block = hak_realloc_at(block, sizes[i] + 3000, &table);
    CHECK(block != NULL);
    memset(block, 2, sizes[i] + 3000);
    CHECK_EQ(hak_check(NULL), 0);
    hak_free(block);
  }
  hak_free(zero);
}

static bool lies_apart(const void *block) {
  hak_heap_t *heap = hak_heap_of_extent(hak_locate((uintptr_t)block).extent);
  return hak_heap_is_group(heap) || hak_heap_is_samples(heap);
}

/* Though a block of the default heap's is ready. */
static void blocks__of_all_sizes_lie_apart(void **state) {
  (void)state;
  enum {
    BLOCKS = 20
  };
  waves(&g_load, 4);
  CHECK(is_apart(&table));
  const size_t sizes[] = {100, 1024, 1025, 3000, 20000, 57344};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *blocks[BLOCKS];
    for (size_t k = 0; k < BLOCKS; k++) blocks[k] = hak_alloc(sizes[i]);
    for (size_t k = 0; k < BLOCKS; k++) hak_free(blocks[k]);
    for (size_t k = 0; k < BLOCKS; k++) {
      blocks[k] = hak_alloc_at(sizes[i], &table);
      CHECK_MSG(lies_apart(blocks[k]), "%zu bytes", sizes[i]);
    }
    for (size_t k = 0; k < BLOCKS; k++) hak_free(blocks[k]);
  }
}

static bool lies_in_a_group(const void *block) {
  hak_heap_t *heap = hak_heap_of_extent(hak_locate((uintptr_t)block).extent);
  return heap != NULL && hak_heap_is_group(heap);
}

/* It moves within its group, while that has blocks of its size and may be given more. */
static void blocks__that_are_resized_stay_apart_where_they_may(void **state) {
  (void)state;
  waves(&g_load, 4);
  CHECK(is_apart(&table));
  char *plain = hak_alloc(100), *block = hak_alloc_at(100, &table);
  while (!lies_in_a_group(block)) block = hak_alloc_at(100, &table); /* not a sample */
  CHECK((plain = hak_realloc(plain, 3000)) != NULL && !lies_apart(plain));
  CHECK((block = hak_realloc(block, 3000)) != NULL && lies_in_a_group(block));
  CHECK((block = hak_realloc(block, 300000)) != NULL && !lies_in_a_group(block));
  hak_free(block);
  block = hak_alloc_at(100, &table);
  while (!lies_in_a_group(block)) block = hak_alloc_at(100, &table);
  CHECK_EQ(hak_heap_set_limits(NULL, 0, GIB), 0);
  CHECK((block = hak_realloc(block, 3000)) != NULL && !lies_apart(block));
  CHECK_EQ(hak_heap_set_limits(NULL, 0, 0), 0);
  CHECK_EQ(hak_check(NULL), 0);
  hak_free(block);
  hak_free(plain);
}

static hak_waves_t sequence(void) {
  start(NULL);
  waves(&g_load, 2);
  hak_waves_t told = hak_waves_read();
  end(NULL);
  return told;
}

static void waves__are_the_same_after_the_same_calls(void **state) {
  (void)state;
  hak_waves_t first = sequence(), second = sequence();
  CHECK(first.count >= 1 && first.moves >= 1);
  CHECK_EQ(memcmp(&first, &second, sizeof first), 0);
}

static void limit__of_the_default_heap_holds(void **state) {
  (void)state;
  waves(&g_load, 4);
  CHECK(is_apart(&table));
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  uint64_t limit = test_heap_stats(hak_heap_default()).committed_bytes + 4 * MIB;
  CHECK_EQ(hak_heap_set_limits(NULL, 0, limit), 0);
  size_t count = 0;
  for (; count < MASS; count++) {
    g_load.mass[count] = get(any_size(&g_load), count % 2 == 0 ? &table : &connection);
    if (g_load.mass[count] == NULL) break;
  }
  CHECK_MSG(count > 1000 && count < MASS, "%zu", count);
  uint64_t bytes = test_heap_stats(hak_heap_default()).committed_bytes;
  CHECK_MSG(bytes <= limit, "%llu", (unsigned long long)bytes);
  while (count > 0) hak_free(g_load.mass[--count]);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_set_limits(NULL, 0, 0), 0);
  waves(&g_load, 1);
  CHECK(rest(&g_load) <= LITTLE);
}

/* At a limit of what there is, with half of the blocks that lie apart free. */
static void free_blocks__of_groups_serve_the_default_heap(void **state) {
  (void)state;
  enum {
    APART = 20000,
    SIZE = 700
  };
  static void *blocks[APART], *others[APART / 4];
  waves(&g_load, 4);
  CHECK(is_apart(&table));
  for (size_t i = 0; i < APART; i++) CHECK((blocks[i] = get(SIZE, &table)) != NULL);
  for (size_t i = 0; i < APART / 4; i++) CHECK((others[i] = hak_alloc(2 * SIZE)) != NULL);
  uint64_t limit = test_heap_stats(hak_heap_default()).committed_bytes;
  CHECK_EQ(hak_heap_set_limits(NULL, 0, limit), 0);
  while (hak_alloc(SIZE) != NULL) continue; /* leaked on purpose: shutdown has them */
  for (size_t i = 1; i < APART; i += 2) hak_free(blocks[i]);
  /* A block that lies apart grows where the default heap has room, ... */
  for (size_t i = 0; i < APART / 4; i++) hak_free(others[i]);
  for (size_t i = 0; i < APART; i += 8) {
    CHECK((blocks[i] = hak_realloc(blocks[i], 2 * SIZE)) != NULL);
  }
  /* ... and what is free there is not out of reach. */
  size_t count = 0;
  while (hak_alloc(SIZE) != NULL) count++;
  CHECK_MSG(count >= APART / 8, "%zu", count);
  CHECK(test_heap_stats(hak_heap_default()).committed_bytes <= limit);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_set_limits(NULL, 0, 0), 0);
}

static load_t g_loads[2];
static void *load_thread(void *argument) {
  load_t *load = argument;
  begin_load(load);
  waves(load, 3);
  return NULL;
}

static void threads__share_what_is_learned(void **state) {
  (void)state;
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, load_thread, &g_loads[i]), 0);
  }
  for (int i = 0; i < 2; i++) CHECK_EQ(pthread_join(threads[i], NULL), 0);
  CHECK_EQ(hak_check(NULL), 0);
  end_load(&g_loads[0]); /* on a thread that allocated none of them */
  end_load(&g_loads[1]);
  CHECK_EQ(test_live_blocks(), 0);
}

static int child(void *ctx) {
  (void)ctx;
  wave(&g_load, &connection, &table);
  CHECK(rest(&g_load) <= LITTLE);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void fork__goes_on_with_what_was_learned(void **state) {
  (void)state;
  waves(&g_load, 4);
  test_child_must_succeed(child, NULL, 60);
  waves(&g_load, 1);
  CHECK(rest(&g_load) <= LITTLE);
}

static void failures__leave_places_where_they_are(void **state) {
  (void)state;
  test_os_fail(&g_os, TEST_FAIL_RANDOM, TEST_OS_ALL_KINDS, 20);
  waves(&g_load, 3);
  test_os_fail(&g_os, TEST_FAIL_NONE, 0, 0);
  CHECK_EQ(hak_check(NULL), 0);
}

static void shutdown__forgets_what_was_learned(void **state) {
  (void)state;
  waves(&g_load, 2);
  CHECK(is_apart(&table));
  end_load(&g_load);
  test_over_os_end();
  test_over_os(0);
  begin_load(&g_load);
  hak_free(get(100, &table));
  CHECK(!is_apart(&table));
  CHECK_EQ(hak_waves_read().count, 0);
}

/* --- what was learned, in another run -------------------------------------------------
 */

static struct {
  char bytes[4096];
  size_t length;
} g_saved;

static void save(const char *bytes, size_t length, void *ctx) {
  CHECK(ctx == &g_saved && g_saved.length + length <= sizeof g_saved.bytes);
  memcpy(g_saved.bytes + g_saved.length, bytes, length);
  g_saved.length += length;
}
static void save_learned(void) {
  waves(&g_load, 2);
  g_saved.length = 0;
  CHECK_EQ(hak_learned_save("1.0", save, &g_saved), 0);
}
static int load_saved(const char *build) {
  const char *why = NULL;
  int error = hak_learned_load(build, g_saved.bytes, g_saved.length, &why);
  CHECK(why != NULL && (error == 0) == (why[0] == '\0'));
  return error;
}
/* The library starts anew. */
static void run_again(void) {
  end_load(&g_load);
  test_over_os_end();
  test_over_os(0);
  begin_load(&g_load);
}

static void learned__is_known_in_the_next_run(void **state) {
  (void)state;
  wave(&g_load, &connection, &table);
  double first = rest(&g_load);
  save_learned();
  run_again();
  CHECK_EQ(load_saved("1.0"), 0);
  CHECK_EQ(load_saved("1.0"), EALREADY);
  wave(&g_load, &connection, &table);
  CHECK(is_apart(&table) && !is_apart(&connection));
  CHECK_MSG(rest(&g_load) < first / 2, "%.2f, %.2f before", rest(&g_load), first);
  CHECK_EQ(hak_check(NULL), 0);
}

static void learned__of_no_place_is_loaded_once_too(void **state) {
  (void)state;
  g_saved.length = 0;
  CHECK_EQ(hak_learned_save("1.0", save, &g_saved), 0);
  CHECK_EQ(load_saved("1.0"), 0);
  CHECK_EQ(load_saved("1.0"), EALREADY);
  waves(&g_load, 2);
  CHECK_EQ(hak_check(NULL), 0);
}

static void learned__reaches_places_that_have_allocated(void **state) {
  (void)state;
  save_learned();
  run_again();
  hak_free(get(100, &table));
  hak_free(get(100, &connection));
  CHECK(!is_apart(&table));
  CHECK_EQ(load_saved("1.0"), 0);
  CHECK(is_apart(&table) && !is_apart(&connection));
}

static void learned__moves_nothing_where_the_learner_only_watches(void **state) {
  (void)state;
  save_learned();
  CHECK_EQ(hak_option_set(HAK_OPTION_LEARN, 0), 0);
  run_again();
  CHECK_EQ(load_saved("1.0"), 0);
  hak_free(get(100, &table));
  CHECK(!is_apart(&table));
}

static void learned__of_another_build_is_refused(void **state) {
  (void)state;
  save_learned();
  CHECK_EQ(load_saved("1.1"), ESTALE);
  CHECK_EQ(load_saved(NULL), ESTALE);
  CHECK_EQ(hak_learned_save(NULL, NULL, NULL), EINVAL);
  CHECK_EQ(hak_learned_load("1.0", NULL, 0, NULL), EINVAL);
  CHECK_EQ(load_saved("1.0"), 0);
}

static void learned__that_is_damaged_is_refused(void **state) {
  (void)state;
  save_learned();
  size_t length = g_saved.length;
  for (size_t bit = 0; bit < 8 * length; bit++) {
    g_saved.bytes[bit / 8] ^= (char)(1 << bit % 8);
    CHECK_MSG(load_saved("1.0") == EINVAL, "bit %zu", bit);
    g_saved.bytes[bit / 8] ^= (char)(1 << bit % 8);
  }
  for (g_saved.length = 0; g_saved.length < length; g_saved.length++) {
    CHECK_MSG(load_saved("1.0") == EINVAL, "%zu bytes", g_saved.length);
  }
  test_rng_t rng = test_rng(3, 4);
  for (int i = 0; i < 2000; i++) { /* all behind the header, and a length, by chance */
    size_t some = 16 + (size_t)test_below(&rng, 300);
    for (size_t at = 16; at < some; at++) g_saved.bytes[at] = (char)test_below(&rng, 256);
    g_saved.length = some;
    CHECK_EQ(load_saved("1.0"), EINVAL);
  }
  CHECK_EQ(hak_check(NULL), 0);
}

#define L(function) cmocka_unit_test_setup_teardown(function, start, end)

TEST_MAIN_FRESH(
    L(waves__leave_little_once_those_from_before_are_gone),
    L(wave__that_is_the_first_leaves_little_too),
    L(waves__of_many_places_leave_little_once_each_has_a_few_samples),
    cmocka_unit_test_setup_teardown(waves__leave_much_where_the_learner_only_watches,
                                    start_off, end),
    L(place__that_changes_is_learned_anew_in_three_waves),
    T(chance__moves_nothing_and_costs_nothing),
    T(places__whose_blocks_all_go_fill_holes_first),
    L(groups__are_the_default_heap_to_the_program),
    L(blocks__that_lie_apart_are_what_was_asked_for), L(blocks__of_all_sizes_lie_apart),
    L(blocks__that_are_resized_stay_apart_where_they_may),
    T(waves__are_the_same_after_the_same_calls), L(limit__of_the_default_heap_holds),
    L(free_blocks__of_groups_serve_the_default_heap), L(threads__share_what_is_learned),
    L(fork__goes_on_with_what_was_learned), L(failures__leave_places_where_they_are),
    L(shutdown__forgets_what_was_learned), L(learned__is_known_in_the_next_run),
    L(learned__of_no_place_is_loaded_once_too),
    L(learned__reaches_places_that_have_allocated),
    L(learned__moves_nothing_where_the_learner_only_watches),
    L(learned__of_another_build_is_refused), L(learned__that_is_damaged_is_refused))
