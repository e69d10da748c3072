/* heap_give_up.c - a thread that has cached blocks of very many heaps gives them up some
 * heaps at a time, with no long call and none left out. */
#include "support.h"

#include <unistd.h>

#include "give_up.h"
#include "heap/hole_sweep.h"
#include "heap/thread.h"
#include "heap/thread_cache.h"
#include "heap/thread_state.h"
#include "pages/idle.h"
#include "tiny/size_class.h"

enum {
  FEW = 20,
  MANY = 3000,
  AT_ONCE = 64, /* heaps in one call, at most */
  SIZE = 48
};

static hak_heap_t *g_heaps[MANY];

/* A block of each heap is in use and one is cached. */
static void make(int count) {
  CHECK_EQ(hak_option_set(HAK_OPTION_HEAP_CACHE_AFTER, 0), 0);
  /* Nothing is due meanwhile, also on a busy machine. */
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 86400000), 0);
  for (int i = 0; i < count; i++) {
    g_heaps[i] = hak_heap_create(NULL);
    CHECK(g_heaps[i] != NULL);
    void *block = hak_heap_alloc(g_heaps[i], SIZE);
    CHECK(block != NULL && hak_heap_alloc(g_heaps[i], SIZE) != NULL);
    hak_free(block);
  }
}

static void end(int count) {
  for (int i = 0; i < count; i++) CHECK_EQ(hak_heap_destroy(g_heaps[i]), 0);
}

static int caching(int count) {
  uint32_t cls = hak_class_of(SIZE);
  int found = 0;
  for (int i = 0; i < count; i++) {
    hak_thread_cache_t *cache =
        hak_cache_find(hak_thread_self, hak_heap_record(g_heaps[i]));
    CHECK(cache != NULL);
    hak_bin_t *bin = &cache->cache.bins[cls];
    found += hak_bin_listed(bin) + bin->ready_count > 0;
  }
  return found;
}

static void heaps__if_few_have_their_turn_in_one_call(void **state) {
  (void)state;
  make(FEW);
  CHECK_EQ(caching(FEW), FEW);
  test_give_up(HAK_CLASSES);
  CHECK_EQ(caching(FEW), 0);
  end(FEW);
}

/* Not before it is due: each class of each heap has one turn while a decay passes. */
static void heaps__have_as_many_turns_as_are_due(void **state) {
  (void)state;
  make(FEW);
  hak_thread_self->turns.owed = 0;
  uint32_t given = 0;
  for (; given < 2 * HAK_CLASSES && caching(FEW) > 0; given++) {
    test_give_up(1);
    if (given < HAK_CLASSES / 2) CHECK(caching(FEW) >= FEW / 4);
  }
  CHECK_EQ(caching(FEW), 0);
  CHECK(given <= HAK_CLASSES);
  end(FEW);
}

/* Calls that are told of no more turns go on; those that are told of more lose none. */
static void heaps__if_many_have_it_in_many_calls_and_none_is_left_out(void **state) {
  (void)state;
  make(MANY);
  CHECK_EQ(caching(MANY), MANY);
  hak_thread_self->turns.owed = 0;
  test_give_up(HAK_CLASSES);
  int left = caching(MANY), calls = 1;
  CHECK_MSG(left < MANY && left >= MANY - AT_ONCE, "%d left", left);
  for (; left > 0 && calls < MANY; calls++) {
    test_give_up(calls % 3 == 0);
    int now = caching(MANY);
    CHECK_MSG(left - now <= AT_ONCE && now <= left, "%d, then %d left", left, now);
    left = now;
  }
  CHECK_EQ(left, 0);
  CHECK(calls >= MANY / AT_ONCE && calls <= 4 * MANY / AT_ONCE);
  end(MANY);
}

/* Somebody else is at it. */
static void heap__in_use_has_its_turn_later(void **state) {
  (void)state;
  make(1);
  hak_heap_t *heap = hak_heap_record(g_heaps[0]);
  hak_heap_lease(heap);
  test_give_up(HAK_CLASSES);
  CHECK_EQ(caching(1), 1);
  hak_heap_unlease(heap);
  test_give_up(0);
  CHECK_EQ(caching(1), 0);
  end(1);
}

/* What the thread holds of its heaps is looked at some heaps at a time, too. */
static void held_slabs__of_many_heaps_are_looked_at_in_many_calls(void **state) {
  (void)state;
  make(MANY);
  hak_thread_t *me = hak_thread_self;
  me->sweep--;
  CHECK(hak_hole_sweep_is_news(me));
  int calls = 0;
  for (uint32_t last = 0; hak_hole_sweep_is_news(me); calls++) {
    CHECK(hak_thread_enter_started() == me);
    hak_hole_sweep_step(me);
    hak_thread_leave(me, "test");
    CHECK(me->sweep_heap <= last + HAK_CACHE_CHUNK);
    last = me->sweep_heap;
  }
  CHECK(calls >= MANY / HAK_CACHE_CHUNK);
  end(MANY);
}

enum {
  BLOCKS = 60
};
static void use(hak_heap_t *heap) {
  void *blocks[BLOCKS];
  for (int k = 0; k < BLOCKS; k++)
    CHECK((blocks[k] = hak_heap_alloc(heap, SIZE)) != NULL);
  for (int k = 0; k < BLOCKS; k++) hak_free(blocks[k]);
}

/* A thread that has used heaps one after the other, and goes on with another one, of
 * which it keeps so much that it needs refills, however much its bin has grown. */
static void heaps__give_up_what_was_cached_while_another_serves(void **state) {
  (void)state;
  enum {
    ROUNDS_MOST = 20000,
    KEPT = 16
  };
  void **kept = NULL;
  int64_t decay = hak_option_get(HAK_OPTION_PURGE_DECAY_MS);
  make(MANY);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 50), 0);
  for (int i = 0; i < MANY; i++) use(g_heaps[i]);
  int rounds = 0;
  for (; rounds < ROUNDS_MOST && caching(MANY) > 0; rounds++) {
    use(hak_heap_default());
    for (int i = 0; i < KEPT; i++) {
      void **block = hak_alloc(SIZE);
      CHECK(block != NULL);
      *block = kept;
      kept = block;
    }
    usleep(1000);
  }
  CHECK_MSG(rounds < ROUNDS_MOST, "%d heaps are cached", caching(MANY));
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_DECAY_MS, decay), 0);
  while (kept != NULL) {
    void **block = kept;
    kept = *block;
    hak_free(block);
  }
  end(MANY);
}

/* Sweeps that find nothing do not keep the rest of the turns from coming. */
static void turns__that_are_owed_have_later_calls_come(void **state) {
  (void)state;
  make(MANY);
  /* Turns that bring nothing tell nobody. */
  while (caching(MANY) > 0) test_give_up(HAK_CLASSES);
  hak_thread_t *me = hak_thread_self;
  me->turns.owed = MANY * HAK_CLASSES;
  hak_idle_set_others(HAK_IDLE_NO_OTHERS);
  hak_shared_pool_t *pool = &hak_heap_get_default()->store->pool;
  hak_thread_trim_slow(pool);
  CHECK(me->turns.owed > 0);
  CHECK_EQ(hak_load_relaxed(&hak_idle_others), HAK_IDLE_OTHERS_NEW);
  CHECK(hak_load_relaxed(&hak_retained_over) != HAK_IDLE_FEW);
  end(MANY);
}

/* So that its turn comes, though nothing else lies idle. */
static void heap__is_noted_when_a_thread_caches_its_blocks(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_RETAIN_BYTES, 0), 0);
  make(1);
  hak_idle_set_others(HAK_IDLE_NO_OTHERS);
  for (int i = 0; i < BLOCKS; i++) CHECK(hak_heap_alloc(g_heaps[0], SIZE) != NULL);
  CHECK_EQ(hak_load_relaxed(&hak_idle_others), HAK_IDLE_OTHERS_NEW);
  CHECK(hak_load_relaxed(&hak_retained_over) != HAK_IDLE_FEW);
  end(1);
}

/* What was begun with a heap that has ended, and whose record serves another one. */
static void heaps__may_come_and_go_amid_a_pass(void **state) {
  (void)state;
  make(MANY);
  test_give_up(HAK_CLASSES);
  end(MANY);
  test_give_up(0);
  make(MANY);
  for (int i = 0; i < 2 * MANY && caching(MANY) > 0; i++) test_give_up(HAK_CLASSES);
  CHECK_EQ(caching(MANY), 0);
  CHECK_EQ(hak_check(NULL), 0);
  end(MANY);
}

TEST_MAIN(T(heaps__if_few_have_their_turn_in_one_call),
          T(heaps__have_as_many_turns_as_are_due),
          T(heaps__if_many_have_it_in_many_calls_and_none_is_left_out),
          T(heap__in_use_has_its_turn_later),
          T(held_slabs__of_many_heaps_are_looked_at_in_many_calls),
          T(heaps__give_up_what_was_cached_while_another_serves),
          T(turns__that_are_owed_have_later_calls_come),
          T(heap__is_noted_when_a_thread_caches_its_blocks),
          T(heaps__may_come_and_go_amid_a_pass))
