/* api_events.c - hak_set_event_hook. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define EVENTS (HAK_EVENT_LARGE_FREE + 1)

typedef struct seen {
  unsigned count[EVENTS];
  unsigned unknown;
  const void *last_address[EVENTS];
  size_t last_size[EVENTS];
} seen_t;

static seen_t g_seen;

static void record_event(hak_event_t event, const void *address, size_t size, void *ctx) {
  seen_t *seen = ctx;
  if (event < HAK_EVENT_REFILL || event >= EVENTS) {
    seen->unknown++;
    return;
  }
  seen->count[event]++;
  seen->last_address[event] = address;
  seen->last_size[event] = size;
}

static int set_up(void **state) {
  (void)state;
  memset(&g_seen, 0, sizeof g_seen);
  hak_set_event_hook(record_event, &g_seen);
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  hak_set_event_hook(NULL, NULL);
  return 0;
}

static void event_hook__hears_of_no_small_block_that_is_freed(void **state) {
  (void)state;
  enum {
    BLOCKS = 20000
  };
  static void *blocks[BLOCKS];
  hak_heap_t *heaps[] = {NULL, hak_heap_create(NULL)};
  for (size_t h = 0; h < TEST_COUNT(heaps); h++) {
    for (size_t i = 0; i < BLOCKS; i++) blocks[i] = hak_heap_alloc(heaps[h], 200);
    for (size_t i = 0; i < BLOCKS; i++) hak_free(blocks[i]);
  }
  CHECK_EQ(g_seen.count[HAK_EVENT_LARGE_FREE], 0);
  CHECK_EQ(hak_heap_destroy(heaps[1]), 0);
}

static void event_hook__hears_of_refills(void **state) {
  (void)state;
  enum {
    BLOCKS = 4000
  };
  static void *blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++) {
    blocks[i] = hak_alloc(200);
  }
  CHECK(g_seen.count[HAK_EVENT_REFILL] > 0);
  CHECK(g_seen.count[HAK_EVENT_REFILL] < BLOCKS);
  CHECK_MSG(g_seen.last_size[HAK_EVENT_REFILL] == hak_good_size(200), "size %zu",
            g_seen.last_size[HAK_EVENT_REFILL]);
  for (size_t i = 0; i < BLOCKS; i++) {
    hak_free(blocks[i]);
  }
  CHECK_EQ(g_seen.unknown, 0);
}

static void change_errno(hak_event_t event, const void *address, size_t size, void *ctx) {
  record_event(event, address, size, ctx);
  errno = EINTR;
}

static void event_hook__need_not_keep_errno(void **state) {
  (void)state;
  hak_set_event_hook(change_errno, &g_seen);
  errno = TEST_ERRNO;
  void *small = hak_alloc(700), *large = hak_alloc(3 * MIB);
  CHECK_EQ(errno, TEST_ERRNO);
  hak_free(small);
  hak_free(large);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(errno, TEST_ERRNO);
  CHECK(g_seen.count[HAK_EVENT_LARGE_ALLOC] > 0);
}

static void event_hook__hears_of_large_blocks_with_address_and_size(void **state) {
  (void)state;
  static const size_t sizes[] = {100000, 1 << 20, 5 << 20, 60 << 20};
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    void *block = hak_alloc(sizes[i]);
    size_t usable = hak_usable_size(block);
    CHECK_EQ(g_seen.count[HAK_EVENT_LARGE_ALLOC], i + 1);
    CHECK(g_seen.last_address[HAK_EVENT_LARGE_ALLOC] == block);
    CHECK_EQ(g_seen.last_size[HAK_EVENT_LARGE_ALLOC], usable);
    CHECK_EQ(g_seen.count[HAK_EVENT_LARGE_FREE], i);
    hak_free(block);
    CHECK_EQ(g_seen.count[HAK_EVENT_LARGE_FREE], i + 1);
    CHECK(g_seen.last_address[HAK_EVENT_LARGE_FREE] == block);
    CHECK_EQ(g_seen.last_size[HAK_EVENT_LARGE_FREE], usable);
  }
}

static void free_past_caches(void *block) { CHECK_EQ(hak_freex(block, HAK_NO_CACHE), 0); }

static void *free_on_thread(void *block) {
  hak_free(block);
  return NULL;
}

static void free_elsewhere(void *block) {
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, free_on_thread, block), 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
}

static void free_by_a_smaller_one(void *block) { hak_free(hak_realloc(block, 100)); }

/* As many large blocks were told of as they came as were told of as they went. */
static void check_pairs(hak_heap_t *heap, const char *what) {
  static void (*const frees[])(void *) = {hak_free, free_past_caches, free_elsewhere,
                                          free_by_a_smaller_one};
  static const size_t sizes[] = {60000, 200000, 1 << 20, 3 << 20};
  HAK_SITE(site);
  for (size_t i = 0; i < TEST_COUNT(sizes) * TEST_COUNT(frees); i++) {
    size_t size = sizes[i % TEST_COUNT(sizes)];
    memset(&g_seen, 0, sizeof g_seen);
    for (int k = 0; k < 6; k++) {
      void *block =
          k % 2 == 0 ? hak_heap_alloc(heap, size) : hak_heap_alloc_at(heap, size, &site);
      CHECK(block != NULL);
      frees[i / TEST_COUNT(sizes)](block);
    }
    unsigned came = g_seen.count[HAK_EVENT_LARGE_ALLOC];
    CHECK_MSG(came >= 6 && came == g_seen.count[HAK_EVENT_LARGE_FREE],
              "%s, %zu bytes, way %zu: %u came, %u went", what, size,
              i / TEST_COUNT(sizes), came, g_seen.count[HAK_EVENT_LARGE_FREE]);
  }
}

static void event_hook__hears_of_each_large_block_twice(void **state) {
  (void)state;
  int64_t before = hak_option_get(HAK_OPTION_SAMPLE_BYTES);
  check_pairs(NULL, "default");
  static const uint32_t flags[] = {0, HAK_HEAP_SERIAL, HAK_HEAP_WATCHED};
  for (size_t i = 0; i < TEST_COUNT(flags); i++) {
    hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
    config.flags = flags[i];
    hak_heap_t *heap = hak_heap_create(&config);
    check_pairs(heap, "heap");
    CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1), 0);
    check_pairs(heap, "samples");
    CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, before), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
  }
}

static void event_hook__hears_of_no_large_block_that_is_refused(void **state) {
  (void)state;
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.hard_limit = 128 * KIB;
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(hak_heap_alloc(heap, 200000) == NULL);
  CHECK(hak_heap_alloc(heap, 8 * MIB) == NULL); /* of no class */
  CHECK_EQ(g_seen.count[HAK_EVENT_LARGE_ALLOC], 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void event_hook__hears_of_superslabs_and_purges(void **state) {
  (void)state;
  enum {
    BLOCKS = 600
  };
  static void *blocks[BLOCKS];
  for (size_t i = 0; i < BLOCKS; i++) {
    blocks[i] = hak_alloc(60 * KIB);
    CHECK(blocks[i] != NULL);
    memset(blocks[i], 1, 60 * KIB);
  }
  CHECK(g_seen.count[HAK_EVENT_SUPERSLAB_NEW] >= 10);
  CHECK(g_seen.last_size[HAK_EVENT_SUPERSLAB_NEW] % (2 * MIB) == 0);
  CHECK((uintptr_t)g_seen.last_address[HAK_EVENT_SUPERSLAB_NEW] % (2 * MIB) == 0);
  for (size_t i = 0; i < BLOCKS; i++) {
    hak_free(blocks[i]);
  }
  size_t given = hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_MSG(given > 0, "nothing was given back");
  CHECK(g_seen.count[HAK_EVENT_PURGE] + g_seen.count[HAK_EVENT_SUPERSLAB_RELEASE] > 0);
  CHECK_EQ(g_seen.unknown, 0);
}

static void event_hook__hears_nothing_when_unset(void **state) {
  (void)state;
  hak_set_event_hook(NULL, NULL);
  for (size_t size = 16; size < 4 * MIB; size *= 2) {
    hak_free(hak_alloc(size));
  }
  for (int i = 0; i < EVENTS; i++) {
    CHECK_EQ(g_seen.count[i], 0);
  }
}

static void event_hook__hears_nothing_on_fast_paths(void **state) {
  (void)state;
  for (int i = 0; i < 10; i++) {
    hak_free(hak_alloc(96));
  }
  memset(&g_seen, 0, sizeof g_seen);
  for (int i = 0; i < 20; i++) {
    hak_free(hak_alloc(96));
  }
  unsigned sum = 0;
  for (int i = 0; i < EVENTS; i++) {
    sum += g_seen.count[i];
  }
  CHECK_MSG(sum <= 1, "%u events in 20 pairs", sum);
}

#define M(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

TEST_MAIN(M(event_hook__hears_of_no_small_block_that_is_freed),
          M(event_hook__hears_of_refills), M(event_hook__need_not_keep_errno),
          M(event_hook__hears_of_large_blocks_with_address_and_size),
          M(event_hook__hears_of_each_large_block_twice),
          M(event_hook__hears_of_no_large_block_that_is_refused),
          M(event_hook__hears_of_superslabs_and_purges),
          M(event_hook__hears_nothing_when_unset),
          M(event_hook__hears_nothing_on_fast_paths))
