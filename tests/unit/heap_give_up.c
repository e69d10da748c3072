/* heap_give_up.c - a thread that has cached blocks of very many heaps gives them up some
 * heaps at a time, with no long call and none left out. */
#include "support.h"

#include "heap/give_up.h"
#include "heap/thread.h"
#include "heap/thread_cache.h"
#include "heap/thread_state.h"
#include "tiny/size_class.h"

enum {
  FEW = 50,
  MANY = 3000,
  AT_ONCE = 256, /* heaps in one call, at most, where it has as many classes as it may */
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

/* As a slow path does that finds memory idle, when the class is next. */
static void give_up(uint32_t first) {
  hak_thread_t *me = hak_thread_enter_started();
  CHECK(me != NULL);
  me->emptied = first;
  me->to_empty = HAK_IDLE_TURNS;
  hak_give_up_some(me);
  hak_thread_leave(me, "test");
}

static void heaps__if_few_have_their_turn_in_one_call(void **state) {
  (void)state;
  make(FEW);
  CHECK_EQ(caching(FEW), FEW);
  give_up(hak_class_of(SIZE));
  CHECK_EQ(caching(FEW), 0);
  end(FEW);
}

/* Meanwhile calls come whose turn is that of other classes. */
static void heaps__if_many_have_it_in_many_calls_and_none_is_left_out(void **state) {
  (void)state;
  uint32_t cls = hak_class_of(SIZE), other = (cls + HAK_CLASSES / 2) % HAK_CLASSES;
  make(MANY);
  while (hak_thread_self->turns_from != 0) give_up(other); /* what was begun before */
  CHECK_EQ(caching(MANY), MANY);
  give_up(cls);
  int left = caching(MANY), calls = 1;
  CHECK_MSG(left < MANY && left >= MANY - AT_ONCE, "%d left", left);
  for (; left > 0 && calls < MANY; calls++) {
    give_up(other);
    int now = caching(MANY);
    CHECK_MSG(left - now <= AT_ONCE && now < left, "%d, then %d left", left, now);
    left = now;
  }
  CHECK_EQ(left, 0);
  CHECK(calls >= MANY / AT_ONCE);
  end(MANY);
}

/* What was begun with a heap that has ended, and whose record serves another one. */
static void heaps__may_come_and_go_amid_a_pass(void **state) {
  (void)state;
  make(MANY);
  give_up(hak_class_of(SIZE));
  end(MANY);
  give_up(0);
  make(MANY);
  for (int i = 0; i < 2 * MANY && caching(MANY) > 0; i++) give_up(hak_class_of(SIZE));
  CHECK_EQ(caching(MANY), 0);
  CHECK_EQ(hak_check(NULL), 0);
  end(MANY);
}

TEST_MAIN(T(heaps__if_few_have_their_turn_in_one_call),
          T(heaps__if_many_have_it_in_many_calls_and_none_is_left_out),
          T(heaps__may_come_and_go_amid_a_pass))
