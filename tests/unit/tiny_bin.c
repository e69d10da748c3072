/* tiny_bin.c - what a registry entry lets pass, codes of threads, and a bin's
 * counts. */
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "external/malloced.h"
#include "heap/thread.h"

enum {
  CODES = 6435 /* of 15 bits, 7 */
};

static uint32_t g_codes[CODES];

static void make_codes(void) {
  uint32_t n = 0;
  for (uint32_t word = 0; word <= HAK_CODE_MASK; word++) {
    if (hak_count_bits(word) == 7) g_codes[n++] = word;
  }
  CHECK_EQ(n, CODES);
}

/* D of the entry of a slab that the thread of a code holds. */
static uint64_t local_entry(uint32_t code) {
  static hak_thread_t thread;
  static hak_slab_t slab;
  thread.code = code;
  return hak_entry_local(&thread, &slab);
}

static void entry__local_passes_its_holder_and_nobody_else(void **state) {
  (void)state;
  make_codes();
  test_rng_t rng = test_rng(test_seed(), 1);
  for (uint32_t i = 0; i < CODES; i++) {
    uint64_t entry = local_entry(g_codes[i]);
    CHECK_EQ(entry & g_codes[i], 0);
    CHECK_EQ(entry & (g_codes[i] | HAK_MODE_CACHED), 0);
    for (int n = 0; n < 100; n++) {
      uint32_t other = g_codes[test_below(&rng, CODES)];
      if (other == g_codes[i]) continue;
      CHECK((entry & other) != 0);
      CHECK((entry & (other | HAK_MODE_CACHED)) != 0);
    }
  }
}

static void entry__cached_passes_everyone_but_those_that_only_free(void **state) {
  (void)state;
  make_codes();
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    uint64_t entry = hak_entry_cached(cls);
    for (uint32_t i = 0; i < CODES; i += 7) {
      CHECK_EQ(entry & g_codes[i], 0);
      CHECK((entry & (g_codes[i] | HAK_MODE_CACHED)) != 0);
    }
  }
}

static void entry__of_nobody_names_a_list_that_never_has_room(void **state) {
  (void)state;
  hak_free(hak_alloc(1));
  hak_thread_t *me = hak_thread_self;
  CHECK_EQ(me->kind, HAK_THREAD_ATTACHED);
  CHECK_EQ(hak_registry_entry(me->registry, (uintptr_t)&g_codes), 0);
  CHECK((char *)me == (char *)&me->unowned);
  CHECK(hak_load_relaxed(&me->unowned.room) <= 0);
}

static void entry__names_its_list_by_the_distance_from_the_thread(void **state) {
  (void)state;
  hak_thread_t *threads = aligned_alloc(HAK_CACHE_LINE, 2 * sizeof *threads);
  hak_slab_t *slabs = aligned_alloc(HAK_CACHE_LINE, 2 * sizeof *slabs);
  CHECK(threads != NULL && slabs != NULL);
  for (int t = 0; t < 2; t++) {
    threads[t].code = 0x7f;
    for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
      int64_t offset = (int64_t)hak_entry_cached(cls) >> 16;
      CHECK((char *)&threads[t] + offset == (char *)&threads[t].bins[cls].list);
    }
    for (int s = 0; s < 2; s++) {
      /* The slab may lie below the thread: the distance has a sign. */
      int64_t offset = (int64_t)hak_entry_local(&threads[t], &slabs[s]) >> 16;
      CHECK((char *)&threads[t] + offset == (char *)&slabs[s].list);
    }
  }
  free(threads);
  free(slabs);
}

static void word__is_mine_whatever_was_pushed_and_not_in_other_states(void **state) {
  (void)state;
  make_codes();
  static hak_thread_t me;
  test_rng_t rng = test_rng(test_seed(), 2);
  for (uint32_t i = 0; i < CODES; i++) {
    me.code = me.cache.code = g_codes[i];
    uint64_t pushed = test_random(&rng) & UINT32_MAX;
    CHECK(hak_word_is_mine(&me.cache, hak_word_mine(&me.cache) | pushed));
    CHECK(!hak_word_is_mine(&me.cache, hak_word_make(HAK_SLAB_FULL, 0) | pushed));
    CHECK(
        !hak_word_is_mine(&me.cache, hak_word_make(HAK_SLAB_PARTIAL, me.code) | pushed));
    uint32_t other = g_codes[(i + 1 + test_below(&rng, CODES - 1)) % CODES];
    CHECK(!hak_word_is_mine(&me.cache, hak_word_make(HAK_SLAB_HELD, other) | pushed));
    uint64_t word = hak_word_mine(&me.cache) | pushed;
    CHECK_EQ(hak_word_state(word), HAK_SLAB_HELD);
    CHECK_EQ(hak_word_remote_count(word), pushed >> 16);
    CHECK_EQ(hak_word_remote_head(word), pushed & 0xffff);
  }
}

/* --- codes of real threads --------------------------------------------------- */

enum {
  THREADS = 20
};

typedef struct attached {
  pthread_barrier_t *barrier;
  uint32_t code;
  uint64_t mask;
} attached_t;

static void *attached_main(void *argument) {
  attached_t *attached = argument;
  CHECK_EQ(hak_thread_init(), 0);
  attached->code = hak_thread_self->code;
  attached->mask = hak_thread_self->mask;
  pthread_barrier_wait(attached->barrier);
  return NULL;
}

static void codes__of_threads_have_weight_7_and_differ(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  attached_t attached[THREADS];
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) {
    attached[i] = (attached_t){&barrier, 0, 0};
    CHECK_EQ(pthread_create(&threads[i], NULL, attached_main, &attached[i]), 0);
  }
  test_threads_end(threads, THREADS);
  pthread_barrier_destroy(&barrier);
  for (int i = 0; i < THREADS; i++) {
    CHECK_EQ(hak_count_bits(attached[i].code), 7);
    CHECK_EQ(attached[i].code & ~HAK_CODE_MASK, 0);
    CHECK_EQ(attached[i].mask, attached[i].code);
    for (int k = 0; k < i; k++) CHECK(attached[k].code != attached[i].code);
  }
}

/* --- a bin ------------------------------------------------------------------- */

static void room__is_gone_at_the_decrement_after_the_last(void **state) {
  (void)state;
  for (int32_t blocks = 0; blocks < 20; blocks++) {
    hak_atomic_i32_t room;
    hak_store_relaxed(&room, blocks);
    for (int32_t i = 0; i < blocks; i++) CHECK(!hak_room_is_gone(&room));
    CHECK(hak_room_is_gone(&room));
    CHECK_EQ(hak_load_relaxed(&room), -1);
    CHECK(hak_room_is_gone(&room));
  }
}

enum {
  BLOCKS = 40
};
static uint64_t blocks[BLOCKS][2];

/* An empty bin with room for all of them. */
static hak_bin_t *begin_bin(hak_thread_t *me) {
  memset(me, 0, sizeof *me);
  me->key = hak_link_key_make(test_seed());
  hak_bin_t *bin = &me->bins[3];
  bin->capacity = BLOCKS;
  bin->list.head = HAK_LINK_END;
  bin->ready = HAK_LINK_END;
  hak_bin_set_room(bin, BLOCKS);
  return bin;
}
static void push(hak_thread_t *me, hak_bin_t *bin, void *block) {
  CHECK(!hak_room_is_gone(&bin->list.room));
  hak_list_push(&me->key, &bin->list, block);
}

static void bin__counts_what_was_pushed_and_gives_it_back_in_order(void **state) {
  (void)state;
  static hak_thread_t me;
  hak_bin_t *bin = begin_bin(&me);
  CHECK_EQ(hak_bin_class(&me, bin), 3);
  CHECK_EQ(hak_bin_capacity(bin), 40);
  CHECK_EQ(hak_bin_listed(bin), 0);
  void *block;
  CHECK(hak_bin_flip_fails(&me.key, bin, &block));
  for (uint32_t i = 0; i < 40; i++) {
    push(&me, bin, blocks[i]);
    CHECK_EQ(hak_bin_listed(bin), i + 1);
    CHECK(bin->list.head == blocks[i]);
  }
  CHECK(hak_room_is_gone(&bin->list.room));
  CHECK_EQ(hak_bin_listed(bin), 40);
  CHECK(!hak_bin_flip_fails(&me.key, bin, &block));
  CHECK(block == blocks[39]);
  CHECK_EQ(hak_load_relaxed(&bin->ready_count), 39);
  CHECK_EQ(hak_bin_listed(bin), 0);
  CHECK_EQ(hak_load_relaxed(&bin->list.room), 40);
  CHECK(bin->list.head == HAK_LINK_END);
  for (int i = 38; i >= 0; i--) {
    CHECK(bin->ready == blocks[i]);
    CHECK(!hak_link_pop_fails(&me.key, &bin->ready, &block));
    CHECK(block == blocks[i]);
  }
  CHECK(hak_link_pop_fails(&me.key, &bin->ready, &block));
}

/* What is ready would be lost: a pop of it failed because its first link is bad. */
static void list__does_not_flip_while_something_is_ready(void **state) {
  (void)state;
  static hak_thread_t me;
  hak_bin_t *bin = begin_bin(&me);
  for (int i = 0; i < 3; i++) push(&me, bin, blocks[i]);
  void *block;
  CHECK(!hak_bin_flip_fails(&me.key, bin, &block));
  push(&me, bin, blocks[3]);
  CHECK(hak_bin_flip_fails(&me.key, bin, &block));
  CHECK(bin->ready == blocks[1] && bin->list.head == blocks[3]);
  CHECK_EQ(hak_bin_listed(bin), 1);
}

/* Its block would be given out again and again. */
static void list__that_is_one_block_freed_twice_does_not_flip(void **state) {
  (void)state;
  static hak_thread_t me;
  hak_bin_t *bin = begin_bin(&me);
  for (int i = 0; i < 2; i++) push(&me, bin, blocks[0]);
  void *block;
  if (HAK_CHECKS == 0) return;
  CHECK(hak_bin_flip_fails(&me.key, bin, &block));
  CHECK(bin->ready == HAK_LINK_END && bin->list.head == blocks[0]);
}

/* So a thread that its bins serve comes to a slow path. */
static void pop__fails_where_a_look_is_due(void **state) {
  (void)state;
  static hak_thread_t me;
  hak_bin_t *bin = begin_bin(&me);
  hak_atomic_i32_t flips;
  hak_store_relaxed(&flips, 1);
  void *block;
  push(&me, bin, blocks[0]);
  CHECK(!hak_bin_pop_is_due(&me.key, &flips, bin, &block) && block == blocks[0]);
  push(&me, bin, blocks[1]);
  CHECK(hak_bin_pop_is_due(&me.key, &flips, bin, &block));
  CHECK(bin->list.head == blocks[1]);
  CHECK(!hak_bin_pop_fails(&me.key, bin, &block) && block == blocks[1]);
}

/* A bin of 40 blocks of a class over HAK_TINY_MAX, in a thread of no library. */
static hak_bin_t *mid_bin(hak_thread_t *me) {
  hak_bin_t *bin = &me->bins[HAK_TINY_CLASSES];
  memset(me, 0, sizeof *me);
  me->key = hak_link_key_make(test_seed());
  bin->capacity = 40;
  bin->list.head = HAK_LINK_END;
  bin->ready = HAK_LINK_END;
  hak_bin_set_room(bin, 40);
  return bin;
}

static void bin__of_larger_blocks_gives_the_last_one_first_and_has_its_room_back(
    void **state) {
  (void)state;
  static hak_thread_t me;
  static uint64_t freed[40][2], ready[2];
  hak_bin_t *bin = mid_bin(&me);
  void *block;
  CHECK(hak_bin_pop_mid_fails(&me.key, bin, &block));
  hak_link_write(&me.key, ready, HAK_LINK_END);
  bin->ready = ready;
  for (uint32_t i = 0; i < 40; i++) {
    CHECK(!hak_room_is_gone(&bin->list.room));
    hak_list_push(&me.key, &bin->list, freed[i]);
  }
  for (uint32_t i = 40; i-- > 0;) {
    CHECK(!hak_bin_take_fails(&me.key, bin, HAK_TINY_CLASSES, &block));
    CHECK(block == freed[i]);
    CHECK_EQ(hak_bin_listed(bin), i);
    CHECK_EQ(hak_load_relaxed(&bin->list.room), 40 - i);
  }
  CHECK(hak_bin_pop_last_fails(&me.key, bin, &block));
  CHECK_EQ(hak_load_relaxed(&bin->list.room), 40);
  CHECK(!hak_bin_take_fails(&me.key, bin, HAK_TINY_CLASSES, &block));
  CHECK(block == ready);
  CHECK_EQ(hak_load_relaxed(&bin->list.room), 40); /* it was not on the list */
  CHECK(hak_bin_pop_mid_fails(&me.key, bin, &block));
}

/* What is ready is not taken past a list whose first block is no free one: a refill is
 * to report it. */
static void bin__of_larger_blocks_gives_none_while_its_list_is_bad(void **state) {
  (void)state;
  static hak_thread_t me;
  static uint64_t bad[2], ready[2];
  hak_bin_t *bin = mid_bin(&me);
  void *block;
  hak_link_write(&me.key, ready, HAK_LINK_END);
  bin->ready = ready;
  hak_list_push(&me.key, &bin->list, bad);
  hak_link_spoil(bad);
  bool fails = hak_bin_pop_mid_fails(&me.key, bin, &block);
  if (HAK_CHECKS != 0) CHECK(fails && bin->ready == ready && bin->list.head == bad);
}

enum {
  WAY_PLAIN,
  WAY_PLACE,
  WAY_ZERO,
  WAY_HEAP,
  WAY_SERIAL,
  WAYS
};
static hak_heap_t *g_heaps[WAYS];
static void *take(int way, size_t size) {
  HAK_SITE(site);
  if (way == WAY_PLACE) return hak_alloc_at(size, &site);
  if (way == WAY_ZERO) return hak_calloc(1, size);
  return g_heaps[way] == NULL ? hak_alloc(size) : hak_heap_alloc(g_heaps[way], size);
}
static void give(int way, void *block) {
  if (way == WAY_SERIAL) {
    hak_heap_free(g_heaps[way], block);
  } else {
    hak_free(block);
  }
}

/* The last one freed is the first one that is allocated again: it lies in the processor's
 * caches. In a hardened build what is freed waits. */
static void alloc__of_larger_blocks_takes_what_was_freed_last(void **state) {
  (void)state;
  enum {
    WARM = 16,
    TAKEN = 4
  };
  static const size_t sizes[] = {1025, 1100, 4096, 5000, 30000, 57344};
  if (HAK_CHECKS >= 3 || hak_malloced_is_on()) return;
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 0), 0); /* samples lie elsewhere */
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.flags = HAK_HEAP_SERIAL;
  CHECK((g_heaps[WAY_HEAP] = hak_heap_create(NULL)) != NULL);
  CHECK((g_heaps[WAY_SERIAL] = hak_heap_create(&config)) != NULL);
  for (int way = 0; way < WAYS; way++) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
      void *got[WARM];
      for (int k = 0; k < WARM; k++) CHECK((got[k] = take(way, sizes[i])) != NULL);
      for (int k = 0; k < WARM; k++) give(way, got[k]);
      for (int k = 0; k < TAKEN; k++) got[k] = take(way, sizes[i]);
      for (int k = 0; k < TAKEN; k++) give(way, got[k]);
      for (int k = TAKEN; k-- > 0;) {
        void *block = take(way, sizes[i]);
        CHECK_MSG(block == got[k], "way %d, %zu bytes, block %d", way, sizes[i], k);
      }
      for (int k = 0; k < TAKEN; k++) give(way, got[k]);
    }
  }
  CHECK_EQ(hak_heap_destroy(g_heaps[WAY_HEAP]), 0);
  CHECK_EQ(hak_heap_destroy(g_heaps[WAY_SERIAL]), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_SAMPLE_BYTES, 262144), 0);
}

/* A flip stands for HAK_POPS_OF_FLIP of them, and once one is due all are. */
static void blocks__that_are_larger_count_as_flips(void **state) {
  (void)state;
  enum {
    FLIPS = 3
  };
  hak_pace_t pace = {.given = 1};
  hak_store_relaxed(&pace.flips, FLIPS);
  hak_store_relaxed(&pace.pops, HAK_POPS_OF_FLIP);
  for (int i = 0; i < (FLIPS + 1) * HAK_POPS_OF_FLIP; i++) CHECK(!hak_pace_is_due(&pace));
  for (int i = 0; i < 3; i++) CHECK(hak_pace_is_due(&pace));
  hak_store_relaxed(&pace.flips, FLIPS); /* as a look does */
  for (int i = 0; i < FLIPS * HAK_POPS_OF_FLIP; i++) CHECK(!hak_pace_is_due(&pace));
  CHECK(hak_pace_is_due(&pace));
}

TEST_MAIN(T(entry__local_passes_its_holder_and_nobody_else),
          T(entry__cached_passes_everyone_but_those_that_only_free),
          T(entry__of_nobody_names_a_list_that_never_has_room),
          T(entry__names_its_list_by_the_distance_from_the_thread),
          T(word__is_mine_whatever_was_pushed_and_not_in_other_states),
          T(codes__of_threads_have_weight_7_and_differ),
          T(room__is_gone_at_the_decrement_after_the_last),
          T(bin__counts_what_was_pushed_and_gives_it_back_in_order),
          T(list__does_not_flip_while_something_is_ready),
          T(list__that_is_one_block_freed_twice_does_not_flip),
          T(pop__fails_where_a_look_is_due),
          T(bin__of_larger_blocks_gives_the_last_one_first_and_has_its_room_back),
          T(bin__of_larger_blocks_gives_none_while_its_list_is_bad),
          T(alloc__of_larger_blocks_takes_what_was_freed_last),
          T(blocks__that_are_larger_count_as_flips))
