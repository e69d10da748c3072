/* heap_threads.c - states of threads: that each serves one thread after the other and
 * none is lost, and hooks that call the library while it makes one. */
#include "os_fixture.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include <hakmem/introspect.h>

#include "child.h"
#include "heap/heap.h"
#include "heap/kind.h"
#include "heap/thread.h"
#include "heap/thread_cache.h"
#include "heap/threads.h"
#include "os/guarded.h"
#include "pages/meta.h"

enum {
  FEW = 6
};

static hak_thread_t *g_states[FEW];
static hak_thread_t *g_tls[FEW];

static void get_all(uint32_t most) {
  for (int i = 0; i < FEW; i++) {
    g_states[i] = hak_threads_get(&g_tls[i]);
    CHECK(g_states[i] != NULL && g_states[i]->number <= most);
    for (int j = 0; j < i; j++) CHECK(g_states[j] != g_states[i]);
  }
}

static void put_all(void) {
  for (int i = 0; i < FEW; i++) hak_threads_put(g_states[i]);
}

static uint32_t highest(void) {
  uint32_t number = 0;
  for (int i = 0; i < FEW; i++)
    number = g_states[i]->number > number ? g_states[i]->number : number;
  return number;
}

/* Some of those that wait have no pages, as time was short. */
static void states__that_wait_serve_before_more_are_made(void **state) {
  (void)state;
  hak_free(hak_alloc(100));
  get_all(UINT32_MAX);
  uint32_t most = highest();
  for (size_t bare = 0; bare <= FEW; bare++) {
    put_all();
    size_t looks = bare;
    CHECK(hak_threads_try_memory());
    (void)hak_threads_purge(SIZE_MAX, &looks);
    hak_threads_end_memory();
    get_all(most);
  }
  for (int i = 0; i < 100; i++) {
    hak_thread_t *one = g_states[0];
    hak_threads_put(one);
    CHECK((g_states[0] = hak_threads_get(&g_tls[0])) == one);
  }
  hak_thread_t *tls, *next = hak_threads_get(&tls);
  CHECK(next != NULL && next->number == most + 1); /* no number is lost */
  hak_threads_put(next);
  put_all();
  CHECK_EQ(hak_check(NULL), 0);
}

static void *use_and_end(void *handle) {
  for (int i = 0; i < 100; i++) hak_free(hak_heap_alloc(handle, 100));
  CHECK(hak_cache_find(hak_thread_self, hak_heap_record(handle)) != NULL);
  return NULL;
}

static void users__of_a_heap_end_with_their_threads(void **state) {
  (void)state;
  hak_heap_t *handle = test_heap(0, NULL, NULL), *heap = hak_heap_record(handle);
  test_thread_run(use_and_end, handle);
  CHECK_EQ(hak_load_relaxed(&heap->caches), 0);
  CHECK_EQ(hak_load_relaxed(&heap->store->pool.budget.users), 0);
  /* So it ends with its last block, of which no thread keeps anything. */
  void *block = hak_heap_alloc(handle, 100);
  CHECK_EQ(hak_heap_release(handle), 0);
  CHECK(hak_heap_is_orphan(heap));
  hak_free(block);
  CHECK(!hak_heap_is_orphan(heap));
}

/* --- pages of a young thread --------------------------------------------------------
 */

static pthread_barrier_t g_crowd;

typedef struct young {
  size_t sizes, blocks; /* of 64 bytes and more, each twice the last; of each */
  uint64_t faults;
} young_t;

static void *be_young(void *ctx) {
  enum {
    MOST = 100
  };
  young_t *young = ctx;
  void *blocks[MOST] = {NULL};
  size_t all = young->sizes * young->blocks;
  struct rusage before, after;
  getrusage(RUSAGE_THREAD, &before);
  for (size_t i = 0; i < all; i++) {
    blocks[i] = hak_alloc((size_t)64 << i % young->sizes);
    CHECK(blocks[i] != NULL);
    *(char *)blocks[i] = 1;
  }
  getrusage(RUSAGE_THREAD, &after);
  young->faults = (uint64_t)(after.ru_minflt - before.ru_minflt);
  pthread_barrier_wait(&g_crowd);
  for (size_t i = 0; i < all; i++) hak_free(blocks[i]);
  return NULL;
}

/* The fewest faults of threads that come one after the other, and stay. The others bring
 * what all threads share: records of SuperSlabs, leaves of the registry. */
static uint64_t faults_of_young(size_t sizes, size_t blocks) {
  enum {
    CROWD = 8
  };
  pthread_t threads[CROWD];
  young_t young[CROWD];
  uint64_t least = UINT64_MAX;
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL); /* no state has pages */
  pthread_barrier_init(&g_crowd, NULL, CROWD);
  for (size_t i = 0; i < CROWD; i++) {
    young[i] = (young_t){sizes, blocks, 0};
    CHECK_EQ(pthread_create(&threads[i], NULL, be_young, &young[i]), 0);
  }
  for (size_t i = 0; i < CROWD; i++) {
    CHECK_EQ(pthread_join(threads[i], NULL), 0);
    if (young[i].faults < least) least = young[i].faults;
  }
  pthread_barrier_destroy(&g_crowd);
  return least;
}

static void young_thread__touches_two_pages_and_those_of_its_blocks(void **state) {
  (void)state;
  if (TEST_ASAN || TEST_TSAN || HAK_CHECKS >= 3 || test_is_strict()) skip();
  if (TEST_EMULATED) skip(); /* the faults there are QEMU's */
  uint64_t one = faults_of_young(1, 1), many = faults_of_young(6, 12);
  printf("%llu faults for a block, %llu for 72\n", (unsigned long long)one,
         (unsigned long long)many);
  CHECK(one <= 2 + 1);
  /* 12 of each size fill 13 pages, and a little more is linked. */
  CHECK(many <= 2 + 18);
}

/* --- released heaps
 * ----------------------------------------------------------------------- */

static pthread_barrier_t g_step;
static hak_heap_t *g_heap;

static void *keep_cache(void *ctx) {
  (void)ctx;
  use_and_end(g_heap);
  hak_heap_t *heap = hak_heap_record(g_heap);
  (void)hak_collect(g_heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(hak_kind_is_empty(heap));
  CHECK(hak_cache_find(hak_thread_self, heap) != NULL);
  pthread_barrier_wait(&g_step);
  pthread_barrier_wait(&g_step);
  hak_thread_idle();
  CHECK(hak_cache_find(hak_thread_self, heap) == NULL);
  pthread_barrier_wait(&g_step);
  pthread_barrier_wait(&g_step);
  return NULL;
}

static void orphan__without_blocks_waits_for_who_has_a_cache_of_it(void **state) {
  (void)state;
  CHECK_EQ(pthread_barrier_init(&g_step, NULL, 2), 0);
  g_heap = test_heap(0, NULL, NULL);
  hak_heap_t *heap = hak_heap_record(g_heap);
  pthread_t thread;
  test_threads_begin(&thread, 1, keep_cache, NULL);
  pthread_barrier_wait(&g_step);
  CHECK_EQ(hak_heap_release(g_heap), 0);
  CHECK(hak_heap_is_orphan(heap));
  CHECK_EQ(hak_load_relaxed(&heap->caches), 1);
  pthread_barrier_wait(&g_step); /* the thread goes idle, */
  pthread_barrier_wait(&g_step);
  CHECK(!hak_heap_is_orphan(heap)); /* which is the heap's end */
  CHECK_EQ(hak_load_relaxed(&heap->caches), 0);
  pthread_barrier_wait(&g_step);
  test_threads_end(&thread, 1);
}

static void orphan__without_blocks_waits_for_those_below_it(void **state) {
  (void)state;
  hak_heap_t *above = test_heap(0, NULL, NULL), *below = test_heap(0, NULL, above);
  hak_heap_t *first = hak_heap_record(above), *second = hak_heap_record(below);
  void *block = hak_heap_alloc(below, 100);
  CHECK_EQ(hak_heap_release(below), 0);
  CHECK_EQ(hak_heap_release(above), 0);
  CHECK(hak_kind_is_empty(first) && hak_heap_is_orphan(first));
  CHECK_EQ(hak_check(NULL), 0);
  hak_free(block);
  CHECK(!hak_heap_is_orphan(second) && !hak_heap_is_orphan(first));
  CHECK_EQ(hak_check(NULL), 0);
}

/* --- hooks that call the library
 * ---------------------------------------------------------- */

static hak_os_t g_hooks;
static unsigned g_calls;
static bool g_inside;
static void (*g_call)(void);

static void *reserve(void *ctx, size_t size, size_t alignment) {
  if (!g_inside && g_call != NULL) {
    g_inside = true;
    g_calls++;
    g_call();
    g_inside = false;
  }
  return g_os.hooks.reserve(ctx, size, alignment);
}

static void init_over_calls(void (*call)(void)) {
  test_os_open(&g_os, 0);
  g_hooks = g_os.hooks;
  g_hooks.reserve = reserve;
  g_call = call;
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = &g_hooks};
  CHECK_EQ(hak_init(&config), 0);
}

static bool never_heap(hak_heap_t *heap, void *ctx) {
  (void)heap;
  (void)ctx;
  test_fail(__FILE__, __LINE__, "there is no heap");
}

#define NULL_FOR_NOW(call)                                     \
  do {                                                         \
    errno = 0;                                                 \
    CHECK_MSG((call) == NULL && errno == ENOMEM, "%s", #call); \
  } while (0)

static hak_site_t g_site = {.file = __FILE__, .line = 1, .name = "a hook"};

static void ask_amid_start(void) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(NULL, &stats), 0);
  CHECK_EQ(stats.live_blocks, 0);
  CHECK(hak_heap_of(&g_calls) == NULL);
  CHECK(hak_heap_name(NULL) == NULL && hak_heap_user(NULL) == NULL);
  CHECK_EQ(hak_usable_size(NULL), 0);
  CHECK_EQ(hak_resize_in_place(NULL, 1, 1), 0);
  CHECK_EQ(hak_heap_set_limits(NULL, 0, 1), ENOMEM);
  CHECK_EQ(hak_heap_set_name(NULL, "name"), ENOMEM);
  CHECK_EQ(hak_heap_prefault(NULL, 1), ENOMEM);
  CHECK_EQ(hak_heap_prewarm(NULL, 100, 1), 0);
  CHECK_EQ(hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL), 0);
  CHECK_EQ(hak_stats_classes(NULL, NULL, 0), 0);
  CHECK(hak_visit_heaps(never_heap, NULL) == 0);
  CHECK_EQ(hak_purge_due(), -1);
  CHECK(hak_maintenance_start(1000) != 0);
  hak_waves_info_t waves = {.struct_size = sizeof waves};
  CHECK_EQ(hak_waves_get(&waves), 0);
  CHECK_EQ(hak_check(NULL), 0);
  hak_thread_idle();
  hak_thread_exit();
}

static void use_amid_start(void) {
  NULL_FOR_NOW(hak_alloc(100));
  NULL_FOR_NOW(hak_alloc(20000));
  NULL_FOR_NOW(hak_alloc(3 << 20));
  NULL_FOR_NOW(hak_calloc(1, 100));
  NULL_FOR_NOW(hak_realloc(NULL, 100));
  NULL_FOR_NOW(hak_alloc_at(100, &g_site));
  NULL_FOR_NOW(hak_heap_alloc_at(NULL, 100, &g_site));
  NULL_FOR_NOW(hak_aligned_alloc(4096, 100));
  NULL_FOR_NOW(hak_heap_alloc(NULL, 100));
  NULL_FOR_NOW(hak_heap_aligned_alloc(NULL, 64, 100));
  NULL_FOR_NOW(hak_strdup("text"));
  NULL_FOR_NOW(hak_heap_create(NULL));
  hak_free(NULL);
  CHECK(hak_thread_init() != 0);
  CHECK_EQ(hak_shutdown(0), EBUSY);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), EBUSY);
  ask_amid_start();
}

TEST_IN_CHILD(start__serves_nobody_who_calls_from_a_hook, 20) {
  init_over_calls(use_amid_start);
  CHECK(g_calls > 0);
  g_call = NULL;
  hak_free(hak_alloc(100));
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  test_os_close(&g_os);
}

static void *g_block;

static void allocate(void) { g_block = hak_alloc(100); }

/* Its state is being made when a hook needs one. */
static void *attach(void *ctx) {
  (void)ctx;
  g_calls = 0;
  g_call = allocate;
  char *block = hak_alloc(100);
  g_call = NULL;
  CHECK(block != NULL && g_block != NULL && g_block != block);
  CHECK_EQ(g_calls, 1);
  CHECK_EQ(hak_threads_others(), 0);
  CHECK_EQ(test_stats().threads, 1);
  hak_free(block);
  hak_free(g_block);
  return NULL;
}

TEST_IN_CHILD(attach__amid_which_a_hook_allocates_is_one, 20) {
  init_over_calls(NULL);
  test_thread_run(attach, NULL);
  CHECK_EQ(hak_threads_others(), 0);
  CHECK_EQ(test_stats().threads, 0);
  CHECK_EQ(test_stats().live_blocks, 0);
  CHECK_EQ(hak_load_relaxed(&hak_heap_get_default()->store->pool.budget.users), 0);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  test_os_close(&g_os);
}

/* The library's own thread, in a hook. */
static atomic_uint g_asked;
static pthread_t g_main;

static int purge(void *ctx, void *address, size_t size) {
  if (!pthread_equal(pthread_self(), g_main) && atomic_load(&g_asked) == 0) {
    CHECK_EQ(hak_maintenance_stop(), EDEADLK);
    CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), EBUSY);
    atomic_fetch_add(&g_asked, 1);
  }
  return g_os.hooks.purge(ctx, address, size);
}

TEST_IN_CHILD(maintenance__is_not_ended_by_its_own_thread, 60) {
  g_main = pthread_self();
  test_os_open(&g_os, 0);
  g_hooks = g_os.hooks;
  g_hooks.purge = purge;
  hak_config_t config = {
      .struct_size = sizeof config, .flags = HAK_INIT_NO_ENV, .os = &g_hooks};
  CHECK_EQ(hak_init(&config), 0);
  CHECK_EQ(hak_option_set(HAK_OPTION_PURGE_SURPLUS, 0), 0);
  CHECK_EQ(hak_maintenance_start(1), 0);
  while (atomic_load(&g_asked) == 0) {
    /* More than may stay each time, as this thread's calls may have given back what was
     * there before; and too large for bins, in which nothing is idle. */
    void *blocks[8];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_alloc(3 * MIB);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
    test_os_advance_ms(&g_os, 1000);
    usleep(1000);
  }
  CHECK_EQ(hak_maintenance_stop(), 0);
  CHECK_EQ(hak_shutdown(0), 0);
  test_os_close(&g_os);
}

/* --- many at once ------------------------------------------------------------------ */

enum {
  MANY = 200,
  WITH_ROOM = 64 /* states whose address space is reserved for each alone */
};
static pthread_barrier_t g_one_there, g_end;

static void *stay(void *ctx) {
  (void)ctx;
  hak_free(hak_alloc(100));
  pthread_barrier_wait(&g_one_there);
  pthread_barrier_wait(&g_end);
  return NULL;
}

static uint64_t reserves_of_many(void) {
  static pthread_t threads[MANY];
  uint64_t before = hak_load_relaxed(&hak_os_counts.reserve);
  for (size_t i = 0; i < MANY; i++) {
    test_threads_begin(&threads[i], 1, stay, NULL);
    pthread_barrier_wait(&g_one_there);
  }
  uint64_t calls = hak_load_relaxed(&hak_os_counts.reserve) - before;
  pthread_barrier_wait(&g_end);
  test_threads_end(threads, MANY);
  return calls;
}

/* Where each asks the system for address space many at once stop each other. */
TEST_IN_CHILD(threads__share_calls_of_the_system, 60) {
  CHECK_EQ(pthread_barrier_init(&g_one_there, NULL, 2), 0);
  CHECK_EQ(pthread_barrier_init(&g_end, NULL, MANY + 1), 0);
  for (int round = 0; round < 2; round++) {
    hak_config_t config = {.struct_size = sizeof config, .flags = HAK_INIT_NO_ENV};
    CHECK_EQ(hak_init(&config), 0);
    uint64_t calls = reserves_of_many();
    if (HAK_GUARD_BYTES == 0) {
      CHECK_MSG(calls <= WITH_ROOM + (MANY - WITH_ROOM) / 4, "%u calls", (unsigned)calls);
    } else {
      CHECK(calls >= MANY); /* each has guards around it */
    }
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(hak_shutdown(0), 0);
    CHECK_EQ(hak_load_relaxed(&hak_meta_reserved), 0);
  }
}

/* What a thread has kept for long goes home where memory lies idle. */
static void kept_blocks__stay_while_little_lies_idle(void **state) {
  (void)state;
  hak_free(hak_alloc(100));
  hak_thread_t *me = hak_thread_self;
  uint32_t level = hak_load_relaxed(&hak_retained_over);
  me->to_empty = 1;
  hak_store_relaxed(&hak_retained_over, HAK_IDLE_FEW);
  hak_thread_trim(&me->store->pool);
  CHECK_EQ(me->to_empty, 1);
  hak_store_relaxed(&hak_retained_over, HAK_IDLE_SOME);
  hak_thread_trim(&me->store->pool);
  CHECK_EQ(me->to_empty, 0);
  hak_store_relaxed(&hak_retained_over, level);
}

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      T(states__that_wait_serve_before_more_are_made),
      T(kept_blocks__stay_while_little_lies_idle),
      T(young_thread__touches_two_pages_and_those_of_its_blocks),
      T(users__of_a_heap_end_with_their_threads),
      T(orphan__without_blocks_waits_for_who_has_a_cache_of_it),
      T(orphan__without_blocks_waits_for_those_below_it),
  };
  const struct CMUnitTest fresh[] = {
      T(start__serves_nobody_who_calls_from_a_hook),
      T(attach__amid_which_a_hook_allocates_is_one),
      T(maintenance__is_not_ended_by_its_own_thread),
      T(threads__share_calls_of_the_system),
  };
  int failed = cmocka_run_group_tests(fresh, NULL, NULL);
  test_start();
  return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
