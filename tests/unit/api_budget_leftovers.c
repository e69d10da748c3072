/* api_budget_leftovers.c - what a heap at its limit has left of blocks that are free
 * again serves any request: of every tier, whatever tier the blocks were of, and
 * whichever heap below the limit they were of. */
#include "support.h"
#include "threads.h"

#include <string.h>

/* Sizes in bytes, both ends included; a limit has at least three of the largest. */
typedef struct tier {
  const char *name;
  size_t least, most;
} tier_t;

static const tier_t tiers[] = {
    {"small", 16, 600},          {"mid", KIB, 56 * KIB}, {"single", 57 * KIB, 320 * KIB},
    {"large", MIB + 1, 3 * MIB}, {"any", 16, 2 * MIB},
};
enum {
  TIERS = TEST_COUNT(tiers)
};
static const size_t limits[] = {MIB, 2 * MIB, 8 * MIB, 32 * MIB};

static void *g_blocks[1 << 18];

/* Fills the heap with blocks of a tier until several in a row are refused; how many. */
static size_t fill(hak_heap_t *heap, const tier_t *tier, size_t limit, test_rng_t *rng) {
  enum {
    REFUSED_MOST = 6
  };
  size_t count = 0, most = tier->most < limit / 3 ? tier->most : limit / 3;
  size_t least = tier->least < most ? tier->least : most;
  for (int refused = 0; refused < REFUSED_MOST;) {
    size_t size = least + (size_t)test_below(rng, most - least + 1);
    void *block = hak_heap_alloc(heap, size);
    if (block == NULL) {
      refused++;
      continue;
    }
    CHECK(count < TEST_COUNT(g_blocks));
    memset(block, 1, size < 64 ? size : 64);
    g_blocks[count++] = block;
  }
  return count;
}

/* Frees the blocks, from either end or at random. */
static void free_all(size_t count, unsigned order, test_rng_t *rng) {
  for (size_t left = count; left > 0; left--) {
    size_t i = order == 0 ? count - left : left - 1;
    if (order == 2) {
      i = (size_t)test_below(rng, left);
      void *block = g_blocks[i];
      g_blocks[i] = g_blocks[left - 1];
      g_blocks[left - 1] = block;
      i = left - 1;
    }
    hak_free(g_blocks[i]);
  }
}

/* Requests of a heap of which nothing is live. The largest one leaves room for the
 * records and for what classes add. */
static void check_served(hak_heap_t *heap, size_t limit, const char *after) {
  size_t room = limit - 128 * KIB;
  const size_t requests[] = {100,      KIB,          20 * KIB,          room / 4,
                             room / 2, room / 4 * 3, room / 8 * 7 + 77, room};
  for (size_t i = TEST_COUNT(requests); i > 0; i--) {
    void *block = hak_heap_alloc(heap, requests[i - 1]);
    CHECK_MSG(block != NULL, "%zu bytes of %zu KiB, after %s blocks", requests[i - 1],
              limit / KIB, after);
    hak_free(block);
  }
}

/* ---- one heap -----------------------------------------------------------------------
 */

static void leftovers__of_each_tier_serve_every_tier(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 1);
  for (size_t l = 0; l < TEST_COUNT(limits); l++) {
    hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = limits[l]});
    for (unsigned round = 0; round < 3 * TIERS; round++) {
      const tier_t *tier = &tiers[round % TIERS];
      free_all(fill(heap, tier, limits[l], &rng), round / TIERS, &rng);
      check_served(heap, limits[l], tier->name);
    }
    CHECK_EQ(hak_check(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

/* One request right after the blocks of a tier: none before it has made room. */
static void leftovers__serve_one_request_of_most_of_the_limit(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 2);
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 8 * MIB});
  for (unsigned round = 0; round < 20 * TIERS; round++) {
    const tier_t *tier = &tiers[round % TIERS];
    free_all(fill(heap, tier, 8 * MIB, &rng), 2, &rng);
    size_t size = 6 * MIB + (size_t)test_below(&rng, 2 * MIB - 64 * KIB);
    void *block = hak_heap_alloc(heap, size);
    CHECK_MSG(block != NULL, "%zu bytes after %s blocks", size, tier->name);
    memset(block, 1, size);
    hak_free(block);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Free SuperSlabs bring pages along. A heap that cannot pay for all of them in a slab
 * uses those that it can pay for. */
static void pages__of_other_heaps_are_no_reason_to_refuse(void **state) {
  (void)state;
  hak_heap_t *other = test_heap_make((hak_heap_config_t){.hard_limit = 0});
  test_rng_t rng = test_rng(test_seed(), 3);
  for (int round = 0; round < 8; round++) {
    size_t count = 0;
    while (count < 64) g_blocks[count++] = hak_heap_alloc(other, 60 * KIB);
    free_all(count, 0, &rng);
    hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 64 * KIB});
    for (size_t size = 100; size <= 8000; size *= 3) {
      void *block = hak_heap_alloc(heap, size);
      CHECK_MSG(block != NULL, "%zu bytes", size);
      memset(block, 1, size);
    }
    CHECK_EQ(hak_check(heap), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
  CHECK_EQ(hak_heap_destroy(other), 0);
}

/* A block that grows in place near the limit does not pay for pages behind its end. */
static void block__grows_over_what_is_left(void **state) {
  (void)state;
  test_rng_t rng = test_rng(test_seed(), 4);
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 8 * MIB});
  for (unsigned round = 0; round < 4 * TIERS; round++) {
    free_all(fill(heap, &tiers[round % TIERS], 8 * MIB, &rng), 2, &rng);
    char *block = hak_heap_alloc(heap, 3 * MIB);
    CHECK(block != NULL);
    block[0] = 'a';
    block[3 * MIB - 1] = 'z';
    char *grown = hak_realloc(block, 4 * MIB - 100 * KIB);
    CHECK_MSG(grown != NULL, "after %s blocks", tiers[round % TIERS].name);
    CHECK(grown[0] == 'a' && grown[3 * MIB - 1] == 'z');
    hak_free(grown);
  }
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- several heaps below one limit --------------------------------------------------
 */

/* A request of any heap below the limit is served with what the others have left, and the
 * heap of the limit itself. */
static void leftovers__of_children_and_siblings_serve_each_other(void **state) {
  (void)state;
  const size_t limit = 8 * MIB;
  test_rng_t rng = test_rng(test_seed(), 5);
  hak_heap_t *heaps[4];
  heaps[0] = test_heap_make((hak_heap_config_t){.hard_limit = limit});
  for (size_t i = 1; i < 4; i++) {
    hak_heap_t *parent = i == 3 ? heaps[2] : heaps[0];
    heaps[i] = test_heap_make((hak_heap_config_t){.parent = parent});
  }
  for (unsigned round = 0; round < 4 * 4 * TIERS; round++) {
    const tier_t *tier = &tiers[round / 16];
    free_all(fill(heaps[round % 4], tier, limit, &rng), round % 3, &rng);
    size_t size = 5 * MIB + (size_t)test_below(&rng, 2 * MIB);
    hak_heap_t *asking = heaps[round / 4 % 4];
    void *block = hak_heap_alloc(asking, size);
    CHECK_MSG(block != NULL, "%zu bytes from %u after %s blocks of %u", size,
              round / 4 % 4, tier->name, round % 4);
    hak_free(block);
  }
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t i = 4; i > 0; i--) CHECK_EQ(hak_heap_destroy(heaps[i - 1]), 0);
}

/* ---- other threads ------------------------------------------------------------------
 */

typedef struct worker {
  hak_heap_t *heap;
  const tier_t *tier;
  size_t limit;
  bool idles;
} worker_t;

static void *fill_and_free(void *arg) {
  worker_t *w = arg;
  test_rng_t rng = test_rng(test_seed(), 6);
  free_all(fill(w->heap, w->tier, w->limit, &rng), 2, &rng);
  if (w->idles) hak_thread_idle();
  return NULL;
}

static void leftovers__of_threads_that_ended_serve_every_tier(void **state) {
  (void)state;
  for (size_t l = 0; l < TEST_COUNT(limits); l++) {
    worker_t w = {.limit = limits[l]};
    w.heap = test_heap_make((hak_heap_config_t){.hard_limit = w.limit});
    for (unsigned round = 0; round < 2 * TIERS; round++) {
      w.tier = &tiers[round % TIERS];
      w.idles = round % 2 == 0;
      test_thread_run(fill_and_free, &w);
      check_served(w.heap, w.limit, w.tier->name);
    }
    CHECK_EQ(hak_heap_destroy(w.heap), 0);
  }
}

TEST_MAIN(cmocka_unit_test(leftovers__of_each_tier_serve_every_tier),
          cmocka_unit_test(leftovers__serve_one_request_of_most_of_the_limit),
          cmocka_unit_test(pages__of_other_heaps_are_no_reason_to_refuse),
          cmocka_unit_test(block__grows_over_what_is_left),
          cmocka_unit_test(leftovers__of_children_and_siblings_serve_each_other),
          cmocka_unit_test(leftovers__of_threads_that_ended_serve_every_tier))
