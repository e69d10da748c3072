/* pairs_alone.c - what needs a process to itself: see pairs.h */
#include "pairs.h"
#include "threads.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* ---- hak_shutdown beside threads that come and go --------------------- */

enum {
  COMERS = 2,
  LIFE_STEPS = 48,
  LATE_LIVES = TEST_TSAN ? 2 : 4
};

static int g_foreign;
static atomic_ullong g_lives, g_foreign_frees;
static pthread_key_t g_last_key;

/* What is free here or there when the library is gone is foreign then; nothing else may
 * be wrong. */
static void on_foreign(const hak_error_info_t *info, void *ctx) {
  (void)ctx;
  CHECK_MSG(
      info->error == HAK_ERROR_FOREIGN_POINTER || info->error == HAK_ERROR_AFTER_SHUTDOWN,
      "%s reports '%s' (%s)", info->function, hak_error_text(info->error), info->text);
  atomic_fetch_add(&g_foreign_frees, 1);
}

/* A heap of the thread's own from its beginning to its end; the thread is attached. */
static void use_heap(pair_t *pair, test_rng_t *rng) {
  pen_t pen;
  memset(&pen, 0, sizeof pen);
  pen_init(&pen, pair->kind, SHARED, rng);
  CHECK(pen_make(&pen, rng));
  for (unsigned i = 0; i < LIFE_STEPS; i++) {
    pen_enter_wait(&pen);
    work_step(pair, &pen, 0, rng);
    pen_leave(&pen);
  }
  for (size_t i = 0; i < OWN + pen.places; i++) {
    _Atomic(item_t *) *place = i < OWN ? &pen.own[0][i] : &pen.shared[i - OWN];
    item_t *item = atomic_exchange(place, NULL);
    if (item == NULL) continue;
    if (pen.kind == KIND_DEFAULT || test_below(rng, 2) == 0) {
      item_free(item, rng);
    } else {
      item_verify(item);
      item_forget(item);
    }
  }
  pen_end(&pen);
}

static void use_first_block(test_rng_t *rng) {
  size_t size = 1 + test_random_size(rng, 3 * MIB);
  void *block = hak_alloc(size);
  CHECK(block != NULL);
  test_fill(block, size, 7);
  CHECK(hak_heap_of(block) == hak_heap_default());
  CHECK(test_verify(block, size, 7));
  hak_free(block);
}

static bool see_heap(hak_heap_t *heap, void *ctx) {
  *(bool *)ctx |= heap == NULL;
  return true;
}

/* All that one may do without having allocated, and that attaches nobody: the library may
 * go at any moment of it. */
static void ask_unattached(pair_t *pair, test_rng_t *rng) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  hak_block_t block = {.struct_size = sizeof block};
  bool null = false;
  for (unsigned i = 0; i < 20; i++) {
    uintptr_t address = test_below(rng, 2) == 0
                            ? atomic_load(&pair->seen[test_below(rng, SEEN)])
                            : (uintptr_t)test_random(rng) >> test_below(rng, 64);
    int error = hak_ptr_info((void *)address, &block);
    CHECK(error == 0 || error == ENOENT);
    (void)hak_heap_of((void *)address);
    (void)hak_move_hint((void *)address);
    hak_free(&g_foreign);
  }
  CHECK_EQ(hak_stats_get(NULL, &stats), 0);
  CHECK_EQ(hak_visit_heaps(see_heap, &null), 0);
  CHECK(!null);
  CHECK_EQ(hak_check(NULL), 0);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  hak_thread_idle();
  hak_thread_exit();
}

/* The block is not looked at: the library may have gone since. */
static void late_life(void *value) {
  static _Thread_local unsigned round;
  (void)hak_alloc(100 + 1000 * round);
  hak_free(&g_foreign);
  if (++round < LATE_LIVES) pthread_setspecific(g_last_key, value);
}

typedef struct life {
  pair_t *pair;
  test_rng_t rng;
} life_t;

static void *live(void *ctx) {
  life_t *life = ctx;
  switch (test_below(&life->rng, 5)) {
    case 0:
      ask_unattached(life->pair, &life->rng);
      break;
    case 1:
      CHECK_EQ(pthread_setspecific(g_last_key, life), 0);
      use_first_block(&life->rng);
      break;
    case 2:
      use_first_block(&life->rng);
      break;
    default:
      CHECK_EQ(hak_thread_init(), 0);
      use_heap(life->pair, &life->rng);
      if (test_below(&life->rng, 2) == 0) hak_thread_exit();
      break;
  }
  atomic_fetch_add(&g_lives, 1);
  return NULL;
}

static void *bear(void *ctx) {
  life_t *parent = ctx;
  while (!atomic_load(&parent->pair->stop)) {
    life_t life = {parent->pair, test_rng(test_random(&parent->rng), 3)};
    test_thread_run(live, &life);
  }
  return NULL;
}

/* A second one that would shut down, and is never attached itself. */
static void *shut(void *ctx) {
  pair_t *pair = ctx;
  while (!atomic_load(&pair->stop)) {
    int error = hak_shutdown(0);
    CHECK(error == 0 || error == EBUSY || error == EINVAL);
    sched_yield();
  }
  return NULL;
}

int restart_run(void *ctx) {
  enum {
    LEAST_LIVES = 6
  };
  pair_t *pair = ctx;
  pthread_t comers[COMERS], shutter;
  life_t parents[COMERS];
  unsigned gone = 0;
  CHECK_EQ(pthread_key_create(&g_last_key, late_life), 0);
  pen_hooks_begin();
  test_start();
  hak_set_error_handler(on_foreign, NULL);
  for (unsigned i = 0; i < COMERS; i++) {
    parents[i] = (life_t){pair, test_rng(pair->seed, i)};
    CHECK_EQ(pthread_create(&comers[i], NULL, bear, &parents[i]), 0);
  }
  CHECK_EQ(pthread_create(&shutter, NULL, shut, pair), 0);
  double end = test_seconds() + pair->seconds;
  while (test_seconds() < end || atomic_load(&g_lives) < LEAST_LIVES) {
    CHECK_EQ(hak_thread_init(), 0);
    void *block = hak_alloc(64);
    CHECK(block != NULL);
    test_fill(block, 64, pair->rounds);
    CHECK(test_verify(block, 64, pair->rounds));
    hak_free(block);
    int error = hak_shutdown(0);
    CHECK(error == 0 || error == EBUSY);
    gone += error == 0;
    pair->rounds++;
    if (error != 0) sched_yield();
  }
  atomic_store(&pair->stop, true);
  test_threads_end(comers, COMERS);
  CHECK_EQ(pthread_join(shutter, NULL), 0);
  int error = hak_shutdown(0);
  CHECK(error == 0 || error == EINVAL);
  pen_hooks_check_all();
  fprintf(stderr, "%u of %u shutdowns, %llu lives\n", gone, pair->rounds,
          (unsigned long long)atomic_load(&g_lives));
  return 0;
}

/* ---- Budgets when the last blocks of released heaps go ---------------- */

enum {
  PARENTS = 2,
  FREERS = 3,
  ORPHANS = 4,   /* released heaps of a parent in each round */
  LAST = FREERS, /* blocks of each */
  LOOK_EVERY = 4
};

static hak_heap_t *g_top, *g_parents[PARENTS];
static void *g_last[PARENTS][ORPHANS][LAST];
static pthread_barrier_t g_begin, g_end;
static atomic_bool g_no_more;
static atomic_uint g_at[PARENTS * ORPHANS]; /* threads that have come to that heap */

static hak_heap_t *make_level(hak_heap_t *parent, size_t limit) {
  return test_heap_make((hak_heap_config_t){.parent = parent, .hard_limit = limit});
}

/* Spans, runs and mappings; one page of each is touched. Every fourth heap has one whose
 * pages are all there, so that it takes long to give back: the others are gone by then.
 */
static void make_last(hak_heap_t *parent, void **blocks, test_rng_t *rng) {
  static const size_t sizes[] = {100 * KIB, 700 * KIB, 1500 * KIB, 3 * MIB, 9 * MIB};
  hak_heap_t *heap = make_level(parent, test_below(rng, 2) == 0 ? 0 : 64 * MIB);
  size_t size = sizes[test_below(rng, TEST_COUNT(sizes))];
  size_t slow = test_below(rng, 4 * LAST);
  for (size_t i = 0; i < LAST; i++) {
    size_t bytes = i == slow ? 24 * MIB : size;
    bool zero = test_below(rng, 2) == 0;
    blocks[i] = zero ? hak_heap_calloc(heap, 1, bytes) : hak_heap_alloc(heap, bytes);
    CHECK(blocks[i] != NULL);
    if (i == slow) test_fill_sparse(blocks[i], bytes, i);
    test_fill(blocks[i], 64, i);
  }
  CHECK_EQ(hak_heap_release(heap), 0);
  for (size_t i = 0; i < LAST; i++) CHECK(hak_heap_of(blocks[i]) == parent);
}

/* A heap that may take the record of one that has just ended, below the other parent. */
static void take_record(hak_heap_t *parent, test_rng_t *rng) {
  hak_heap_t *heap = make_level(parent, 0);
  void *block = hak_heap_alloc(heap, 100 + (size_t)test_below(rng, 3 * MIB));
  CHECK(block != NULL);
  bool destroy = test_below(rng, 2) == 0;
  CHECK_EQ(destroy ? hak_heap_destroy(heap) : hak_heap_release(heap), 0);
  if (!destroy) hak_free(block);
}

/* The blocks of one heap are freed by all threads at once. */
static void *free_last(void *ctx) {
  size_t me = (size_t)(uintptr_t)ctx;
  test_rng_t rng = test_rng(test_seed(), 77 + me);
  for (;;) {
    pthread_barrier_wait(&g_begin);
    if (atomic_load(&g_no_more)) return NULL;
    for (size_t i = 0; i < PARENTS * ORPHANS; i++) {
      atomic_fetch_add(&g_at[i], 1);
      while (atomic_load(&g_at[i]) % FREERS != 0 && test_below(&rng, 1000) != 0) {}
      void *block = g_last[i % PARENTS][i / PARENTS][me];
      CHECK(test_verify(block, 64, me));
      hak_free(block);
      if (test_below(&rng, 2) == 0) take_record(g_parents[(i + 1) % PARENTS], &rng);
    }
    hak_thread_idle();
    pthread_barrier_wait(&g_end);
  }
}

static uint64_t charge(hak_heap_t *heap) { return test_heap_stats(heap).committed_bytes; }

/* All have freed what they had, and are idle; what is free stays charged until it is
 * collected. */
static void look(void) {
  hak_thread_idle();
  (void)hak_collect(g_top, SIZE_MAX, HAK_COLLECT_ALL);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t i = 0; i < PARENTS; i++) CHECK_EQ(charge(g_parents[i]), 0);
  CHECK_EQ(charge(g_top), 0);
}

static void end_levels(test_rng_t *rng) {
  if (rng != NULL) {
    /* Some have blocks of released heaps still. */
    void *blocks[LAST];
    make_last(g_parents[0], blocks, rng);
  }
  for (size_t i = 0; i < PARENTS; i++) {
    CHECK_EQ(hak_heap_destroy(g_parents[i]), 0);
  }
  CHECK_EQ(charge(g_top), 0);
  CHECK_EQ(hak_heap_destroy(g_top), 0);
}

static void make_levels(void) {
  g_top = make_level(NULL, 1 * GIB);
  for (size_t i = 0; i < PARENTS; i++) g_parents[i] = make_level(g_top, 512 * MIB);
}

int orphans_run(void *ctx) {
  double end = test_seconds() + *(const double *)ctx * 50;
  test_rng_t rng = test_rng(test_seed(), 99);
  pthread_t threads[FREERS];
  test_start();
  CHECK_EQ(hak_option_set(HAK_OPTION_LARGE_MAX_BYTES, 2 << 20), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_HUGE_RETAIN_BYTES, 1 << 20), 0);
  make_levels();
  pthread_barrier_init(&g_begin, NULL, FREERS + 1);
  pthread_barrier_init(&g_end, NULL, FREERS + 1);
  test_threads_begin_numbered(threads, FREERS, free_last);
  unsigned round = 0;
  for (; round < 2 * LOOK_EVERY || test_seconds() < end; round++) {
    for (size_t i = 0; i < PARENTS * ORPHANS; i++) {
      make_last(g_parents[i % PARENTS], g_last[i % PARENTS][i / PARENTS], &rng);
    }
    pthread_barrier_wait(&g_begin);
    pthread_barrier_wait(&g_end);
    if (round % LOOK_EVERY == LOOK_EVERY - 1) look();
    if (round % (16 * LOOK_EVERY) == 0) {
      end_levels(&rng);
      make_levels();
    }
  }
  atomic_store(&g_no_more, true);
  pthread_barrier_wait(&g_begin);
  test_threads_end(threads, FREERS);
  look();
  end_levels(NULL);
  CHECK_EQ(test_live_blocks(), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  fprintf(stderr, "%u rounds\n", round);
  return 0;
}
