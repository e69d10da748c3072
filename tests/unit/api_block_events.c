/* api_block_events.c - hak_heap_set_block_hook: each block of a watched heap is told of
 * as it comes, changes its size and goes, whatever kind the heap is of and whichever way
 * the block takes; and no block of another heap is. */
#include "child.h"
#include "support.h"
#include "threads.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
  MOST = 4096
};

/* What a listener believes of a heap, from events alone. */
typedef struct belief {
  hak_heap_t *heap;
  size_t count;
  struct {
    void *address;
    size_t size;
  } blocks[MOST];
  unsigned allocs, frees, resizes, all_gone;
  hak_block_event_t last;
} belief_t;

static size_t find(const belief_t *b, const void *address) {
  size_t i = 0;
  while (i < b->count && b->blocks[i].address != address) i++;
  return i;
}

static void drop(belief_t *b, size_t i, size_t size) {
  CHECK(i < b->count);
  CHECK_EQ(b->blocks[i].size, size);
  b->blocks[i] = b->blocks[--b->count];
}

static void add(belief_t *b, void *address, size_t size) {
  CHECK(b->count < MOST && find(b, address) == b->count);
  CHECK(hak_heap_of(address) == b->heap);
  CHECK_EQ(hak_usable_size(address), size);
  b->blocks[b->count].address = address;
  b->blocks[b->count++].size = size;
}

static void listen(const hak_block_event_t *event, void *ctx) {
  belief_t *b = ctx;
  CHECK_EQ(event->struct_size, sizeof *event);
  CHECK(event->heap == b->heap);
  switch (event->kind) {
    case HAK_BLOCK_ALLOC:
      CHECK(event->size >= event->requested);
      add(b, event->address, event->size);
      b->allocs++;
      break;
    case HAK_BLOCK_FREE:
      drop(b, find(b, event->address), event->size);
      b->frees++;
      break;
    case HAK_BLOCK_RESIZE:
      CHECK(event->size >= event->requested);
      drop(b, find(b, event->old_address), event->old_size);
      add(b, event->address, event->size);
      b->resizes++;
      break;
    case HAK_BLOCK_ALL_GONE:
      b->count = 0;
      b->all_gone++;
      break;
  }
  b->last = *event;
  hak_free(hak_alloc(100)); /* it may use other heaps */
  errno = ERANGE;           /* and need not keep this */
}

static belief_t g_belief;

static hak_heap_t *watch(hak_heap_config_t config) {
  config.flags |= HAK_HEAP_WATCHED;
  hak_heap_t *heap = test_heap_make(config);
  memset(&g_belief, 0, sizeof g_belief);
  g_belief.heap = heap;
  CHECK_EQ(hak_heap_set_block_hook(heap, listen, &g_belief), 0);
  return heap;
}

/* What is believed is what there is. */
static void check_belief(hak_heap_t *heap) {
  hak_stats_t s = test_heap_stats(heap);
  CHECK_EQ(g_belief.count, s.live_blocks);
  size_t bytes = 0;
  for (size_t i = 0; i < g_belief.count; i++) bytes += g_belief.blocks[i].size;
  CHECK_EQ(bytes, s.live_bytes);
}

static void *alloc_somehow(test_rng_t *rng, hak_heap_t *heap, size_t size) {
  HAK_SITE(here);
  switch (test_below(rng, 7)) {
    case 0:
      return hak_heap_calloc(heap, 1, size);
    case 1:
      return hak_heap_aligned_alloc(heap, (size_t)16 << test_below(rng, 6), size);
    case 2:
      return hak_allocx(heap, size, 0, HAK_ZERO, NULL);
    case 3:
      return hak_heap_alloc_at(heap, size, &here);
    case 4:
      return hak_allocx(heap, size, 0, HAK_NO_CACHE, &here);
    case 5:
      return hak_heap_realloc(heap, NULL, size);
    default:
      return hak_heap_alloc(heap, size);
  }
}

static void free_somehow(test_rng_t *rng, hak_heap_t *heap, void *block) {
  switch (test_below(rng, 4)) {
    case 0:
      hak_heap_free(heap, block);
      break;
    case 1:
      hak_free_sized(block, hak_usable_size(block));
      break;
    case 2:
      CHECK_EQ(hak_freex(block, HAK_NO_CACHE), 0);
      break;
    default:
      hak_free(block);
  }
}

static void use(hak_heap_t *heap, size_t most, uint64_t salt) {
  enum {
    BLOCKS = 64
  };
  void *blocks[BLOCKS] = {NULL};
  test_rng_t rng = test_rng(test_seed(), salt);
  for (size_t i = 0; i < test_scale(3000); i++) {
    size_t k = test_below(&rng, BLOCKS), size = test_random_size(&rng, most);
    errno = TEST_ERRNO;
    if (blocks[k] == NULL) {
      blocks[k] = alloc_somehow(&rng, heap, size);
      if (blocks[k] != NULL) CHECK_EQ(errno, TEST_ERRNO);
    } else if (test_below(&rng, 3) == 0) {
      void *block = hak_realloc(blocks[k], size);
      if (block != NULL) blocks[k] = block;
    } else if (test_below(&rng, 8) == 0) {
      (void)hak_resize_in_place(blocks[k], 1, size);
    } else {
      free_somehow(&rng, heap, blocks[k]);
      CHECK_EQ(errno, TEST_ERRNO);
      blocks[k] = NULL;
    }
    if (i % 256 == 0) check_belief(heap);
  }
  check_belief(heap);
  CHECK(g_belief.allocs > 0 && g_belief.frees > 0);
  for (size_t k = 0; k < BLOCKS; k++) hak_free(blocks[k]);
  CHECK_EQ(g_belief.count, 0);
  check_belief(heap);
  CHECK_EQ(hak_check(NULL), 0);
}

static void end(hak_heap_t *heap) {
  CHECK(hak_heap_alloc(heap, 50) != NULL);
  errno = TEST_ERRNO;
  CHECK_EQ(hak_heap_reset(heap), 0);
  CHECK_EQ(errno, TEST_ERRNO);
  CHECK_EQ(g_belief.all_gone, 1);
  CHECK(hak_heap_alloc(heap, 50) != NULL);
  CHECK_EQ(g_belief.count, 1);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(errno, TEST_ERRNO);
  CHECK_EQ(g_belief.all_gone, 2);
  CHECK_EQ(hak_heap_set_block_hook(heap, listen, &g_belief), EINVAL);
}

static void events__tell_all_of_heaps_of_every_kind(void **state) {
  (void)state;
  static char small[512 * KIB];
  hak_heap_t *parent = test_heap(0, "parent", NULL);
  char *large =
      mmap(NULL, 24 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(large != MAP_FAILED);
  const hak_heap_config_t configs[] = {
      {.name = "pooled"},
      {.name = "below", .parent = parent},
      {.name = "serial", .flags = HAK_HEAP_SERIAL},
      {.name = "limited", .hard_limit = 12 * MIB},
      {.name = "kept", .flags = HAK_HEAP_NO_PURGE, .prefault = 1 * MIB},
      {.name = "external", .memory = small, .memory_size = sizeof small},
      {.name = "region", .memory = large, .memory_size = 24 * MIB},
      {.name = "hooks", .os = hak_os_default()}};
  for (size_t i = 0; i < TEST_COUNT(configs); i++) {
    hak_heap_t *heap = watch(configs[i]);
    use(heap, configs[i].memory == small ? 8 * KIB : 3 * MIB, i);
    CHECK_EQ(hak_heap_prewarm(heap, 100, 10), 10);
    CHECK_EQ(g_belief.count, 0);
    end(heap);
  }
  CHECK_EQ(hak_heap_destroy(parent), 0);
  munmap(large, 24 * MIB);
}

static void events__say_what_was_asked_and_where(void **state) {
  (void)state;
  HAK_SITE(here);
  hak_heap_t *heap = watch((hak_heap_config_t){.name = "watched"});
  char *block = hak_heap_alloc_at(heap, 100, &here);
  CHECK_EQ(g_belief.last.requested, 100);
  CHECK(g_belief.last.site == &here);
  CHECK(g_belief.last.address == block);
  block = hak_heap_realloc_at(heap, block, 101, &here);
  CHECK_EQ(g_belief.last.kind, HAK_BLOCK_RESIZE);
  CHECK_EQ(g_belief.last.requested, 101);
  CHECK(g_belief.last.site == &here && g_belief.last.old_address == block);
  block = hak_realloc(block, 5000); /* copied: a new one comes, the old one goes */
  CHECK_EQ(g_belief.last.kind, HAK_BLOCK_FREE);
  CHECK_EQ(g_belief.allocs, 2);
  hak_free(block);
  CHECK(g_belief.last.site == NULL);
  CHECK_EQ(g_belief.last.requested, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Reads and writes each block that goes; *ctx is how many were as their owner left them.
 */
static void scribble(const hak_block_event_t *event, void *ctx) {
  if (event->kind != HAK_BLOCK_FREE) return;
  unsigned char *block = event->address;
  CHECK_EQ(hak_usable_size(block), event->size);
  size_t same = 0;
  while (same < event->size && block[same] == 0x5a) same++;
  *(size_t *)ctx += same == event->size;
  memset(block, 0xa5, event->size);
}

static void events__a_block_that_goes_is_still_as_the_program_left_it(void **state) {
  (void)state;
  static const size_t sizes[] = {10, 100, 5000, 60000, 300000, 2 * MIB};
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.flags = HAK_HEAP_WATCHED});
  size_t whole = 0, freed = 0;
  CHECK_EQ(hak_heap_set_block_hook(heap, scribble, &whole), 0);
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (int way = 0; way < 4; way++) {
      void *block = hak_heap_alloc(heap, sizes[i]);
      CHECK(block != NULL);
      memset(block, 0x5a, hak_usable_size(block));
      if (way == 0) hak_free(block);
      if (way == 1) hak_free_sized(block, sizes[i]);
      if (way == 2) hak_heap_free(heap, block);
      if (way == 3) CHECK_EQ(hak_freex(block, HAK_NO_CACHE), 0);
      freed++;
    }
  }
  CHECK_EQ(whole, freed);
  CHECK_EQ(hak_check(heap), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* Grows a block until the heap's limit refuses; returns the size that it came to. */
static size_t grow(hak_heap_t *heap) {
  size_t size = MIB;
  char *block = hak_heap_alloc(heap, size), *next;
  CHECK(block != NULL);
  block[0] = 7;
  while ((next = hak_realloc(block, size + MIB)) != NULL) {
    block = next;
    size += MIB;
    CHECK_EQ(block[0], 7);
  }
  hak_free(block);
  return size;
}

/* A block that grows by pages never needs its memory twice. */
static void realloc__of_a_watched_heap_grows_as_far_as_of_another(void **state) {
  (void)state;
  hak_heap_config_t config = {.name = "grows", .hard_limit = 64 * MIB};
  hak_heap_t *other = test_heap_make(config), *heap = watch(config);
  size_t size = grow(heap);
  CHECK_EQ(size, grow(other));
  CHECK(g_belief.resizes > 0 && g_belief.allocs == g_belief.frees);
  CHECK_EQ(g_belief.count, 0);
  check_belief(heap);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_destroy(other), 0);
}

static void events__of_a_released_heap_end(void **state) {
  (void)state;
  hak_heap_t *heap = watch((hak_heap_config_t){.name = "released"});
  void *block = hak_heap_alloc(heap, 100);
  CHECK_EQ(hak_heap_release(heap), 0);
  hak_free(block); /* the default heap's by now */
  CHECK_EQ(g_belief.frees, 0);
  CHECK_EQ(g_belief.all_gone, 0);
  hak_heap_t *next = test_heap_make((hak_heap_config_t){.flags = HAK_HEAP_WATCHED});
  hak_free(hak_heap_alloc(next, 100));
  CHECK_EQ(g_belief.allocs, 1); /* no hook is inherited from the record's last heap */
  CHECK_EQ(hak_heap_destroy(next), 0);
}

/* The listener never heard of blocks that come with another heap, so it does not hear of
 * their frees; a copy of one is a block like any other. */
static void events__of_blocks_that_a_release_brings_begin_with_a_copy(void **state) {
  (void)state;
  hak_heap_t *heap = watch((hak_heap_config_t){.name = "watched"});
  hak_heap_t *below = test_heap(0, "below", heap);
  char *goes = hak_heap_alloc(below, 100), *moves = hak_heap_alloc(below, 100);
  moves[0] = 7;
  CHECK_EQ(hak_heap_release(below), 0);
  CHECK(hak_heap_of(goes) == heap && hak_heap_of(moves) == heap);
  hak_free(goes);
  CHECK_EQ(g_belief.allocs + g_belief.frees + g_belief.resizes, 0);
  moves = hak_realloc(moves, 5000);
  CHECK(moves != NULL && moves[0] == 7);
  CHECK_EQ(g_belief.allocs, 1);
  CHECK_EQ(g_belief.frees, 0);
  check_belief(heap);
  hak_free(moves);
  CHECK_EQ(g_belief.count, 0);
  check_belief(heap);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void hook__is_for_watched_heaps_only(void **state) {
  (void)state;
  memset(&g_belief, 0, sizeof g_belief);
  hak_heap_t *heap = test_heap(0, "other", NULL);
  CHECK_EQ(hak_heap_set_block_hook(heap, listen, &g_belief), EINVAL);
  CHECK_EQ(hak_heap_set_block_hook(NULL, listen, &g_belief), EINVAL);
  hak_heap_t *watched = watch((hak_heap_config_t){.parent = heap});
  hak_free(hak_heap_alloc(heap, 100));
  hak_free(hak_alloc(100));
  CHECK_EQ(g_belief.allocs + g_belief.frees, 0);
  CHECK_EQ(hak_heap_set_block_hook(watched, NULL, NULL), 0);
  hak_free(hak_heap_alloc(watched, 100));
  CHECK_EQ(g_belief.allocs + g_belief.frees, 0);
  CHECK_EQ(hak_heap_destroy(watched), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* ---- threads ---------------------------------------------------------------------- */

static atomic_llong g_blocks, g_bytes, g_heard;

static void count(const hak_block_event_t *event, void *ctx) {
  (void)ctx;
  g_heard++;
  long long size = (long long)event->size, old = (long long)event->old_size;
  bool comes = event->kind == HAK_BLOCK_ALLOC, goes = event->kind == HAK_BLOCK_FREE;
  atomic_fetch_add(&g_blocks, comes - goes);
  atomic_fetch_add(&g_bytes, goes ? -size : size - old);
}

static _Atomic(void *) g_slots[256];
static hak_heap_t *g_heap;

/* Threads free each other's blocks. */
static void *exchange(void *number) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)number);
  for (size_t i = 0; i < test_scale(20000); i++) {
    void *block = hak_heap_alloc(g_heap, test_random_size(&rng, 20000));
    if (block != NULL && test_below(&rng, 8) == 0) {
      void *moved = hak_realloc(block, test_random_size(&rng, 40000));
      if (moved != NULL) block = moved;
    }
    hak_free(atomic_exchange(&g_slots[test_below(&rng, TEST_COUNT(g_slots))], block));
  }
  return NULL;
}

static void run_threads(void) {
  enum {
    THREADS = 4
  };
  pthread_t threads[THREADS];
  test_threads_begin_numbered(threads, THREADS, exchange);
  test_threads_end(threads, THREADS);
}

static void free_slots(void) {
  for (size_t i = 0; i < TEST_COUNT(g_slots); i++) {
    hak_free(atomic_exchange(&g_slots[i], NULL));
  }
}

static void events__of_all_threads_add_up(void **state) {
  (void)state;
  g_heap = test_heap_make(
      (hak_heap_config_t){.flags = HAK_HEAP_WATCHED, .hard_limit = 64 * MIB});
  g_blocks = g_bytes = 0;
  CHECK_EQ(hak_heap_set_block_hook(g_heap, count, NULL), 0);
  run_threads();
  hak_stats_t s = test_heap_stats(g_heap);
  CHECK_EQ(g_blocks, s.live_blocks);
  CHECK_EQ(g_bytes, s.live_bytes);
  free_slots();
  CHECK_EQ(g_blocks, 0);
  CHECK_EQ(g_bytes, 0);
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static atomic_bool g_stop;

static void *set_and_unset(void *ctx) {
  (void)ctx;
  while (!g_stop) {
    CHECK_EQ(hak_heap_set_block_hook(g_heap, count, NULL), 0);
    CHECK_EQ(hak_heap_set_block_hook(g_heap, NULL, NULL), 0);
  }
  return NULL;
}

static void hook__can_be_set_beside_threads(void **state) {
  (void)state;
  pthread_t setter;
  g_heap = test_heap_make((hak_heap_config_t){.flags = HAK_HEAP_WATCHED});
  g_stop = false;
  g_heard = 0;
  test_threads_begin(&setter, 1, set_and_unset, NULL);
  /* Until the system has them run beside each other. */
  do {
    run_threads();
  } while (g_heard == 0);
  g_stop = true;
  test_threads_end(&setter, 1);
  free_slots();
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
}

static void child__hears_of_its_blocks(void **state) {
  (void)state;
  hak_heap_t *heap = watch((hak_heap_config_t){.name = "forked"});
  void *before = hak_heap_alloc(heap, 100);
  pid_t child = test_fork();
  if (child == 0) {
    hak_free(before);
    hak_free(hak_heap_alloc(heap, 200));
    _exit(g_belief.allocs == 2 && g_belief.frees == 2 ? 0 : 1);
  }
  test_fork_end(child);
  CHECK_EQ(g_belief.allocs, 1);
  hak_free(before);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* What lives on is not told to have gone. */
static void end__that_is_refused_is_not_told(void **state) {
  (void)state;
  static belief_t belief;
  hak_heap_t *heap = test_heap(HAK_HEAP_WATCHED, NULL, NULL);
  hak_heap_t *below = test_heap(0, NULL, heap);
  belief = (belief_t){.heap = heap};
  CHECK_EQ(hak_heap_set_block_hook(heap, listen, &belief), 0);
  char *block = hak_heap_alloc(heap, 100);
  CHECK_EQ(hak_heap_destroy(heap), EBUSY);
  CHECK_EQ(hak_heap_release(heap), EBUSY);
  CHECK_EQ(belief.all_gone, 0);
  hak_free(block);
  CHECK_EQ(belief.frees, 1);
  CHECK_EQ(hak_heap_destroy(below), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(belief.all_gone, 1);
}

TEST_MAIN(T(events__tell_all_of_heaps_of_every_kind),
          T(events__say_what_was_asked_and_where),
          T(events__a_block_that_goes_is_still_as_the_program_left_it),
          T(events__of_a_released_heap_end),
          T(realloc__of_a_watched_heap_grows_as_far_as_of_another),
          T(events__of_blocks_that_a_release_brings_begin_with_a_copy),
          T(hook__is_for_watched_heaps_only), T(events__of_all_threads_add_up),
          T(hook__can_be_set_beside_threads), T(child__hears_of_its_blocks),
          T(end__that_is_refused_is_not_told))
