/* api_release_beside.c - the end of released heaps beside those who give their memory
 * back: whatever takes its time, the heap's record serves no other heap before, budgets
 * come back to zero, and no live block is touched. Hooks that wait force the moment. */
#include "support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static hak_os_t g_os;

/* One call of a hook waits while `hold` is set, and says so; not longer than it takes
 * the others to do what must not wait for it. */
static atomic_bool g_armed, g_hold, g_inside;
static atomic_size_t g_least; /* of ranges whose calls are meant, bytes */

static void wait_if_armed(size_t size) {
  if (size < atomic_load(&g_least) || !atomic_exchange(&g_armed, false)) return;
  atomic_store(&g_inside, true);
  for (int i = 0; i < 3000 && atomic_load(&g_hold); i++) usleep(1000);
}

static int slow_release(void *ctx, void *ptr, size_t size) {
  wait_if_armed(size);
  return hak_os_default()->release(ctx, ptr, size);
}
static int slow_purge(void *ctx, void *ptr, size_t size) {
  wait_if_armed(size);
  return hak_os_default()->purge(ctx, ptr, size);
}

static void arm(size_t least) {
  atomic_store(&g_least, least);
  atomic_store(&g_hold, true);
  atomic_store(&g_inside, false);
  atomic_store(&g_armed, true);
}

static int setup(void **state) {
  (void)state;
  atomic_store(&g_armed, false);
  hak_option_set(HAK_OPTION_HEAP_CACHE_AFTER, 0); /* the first block is cached */
  g_os = *hak_os_default();
  g_os.release = slow_release;
  g_os.purge = slow_purge;
  g_os.remap = NULL;
  hak_config_t config = {.struct_size = sizeof config, .os = &g_os};
  return hak_init(&config);
}
static int teardown(void **state) {
  (void)state;
  hak_option_set(HAK_OPTION_RETAIN_BYTES, 16 << 20);
  hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 1000);
  hak_option_set(HAK_OPTION_HEAP_CACHE_AFTER, 8);
  return hak_shutdown(0);
}

static hak_heap_t *limited(hak_heap_t *parent, size_t hard) {
  return test_heap_make((hak_heap_config_t){.parent = parent, .hard_limit = hard});
}

static uint64_t charge_of(hak_heap_t *heap) {
  return test_heap_stats(heap).committed_bytes;
}

static void *free_one(void *block) {
  hak_free(block);
  return NULL;
}

static void wait_until_inside(void) {
  for (int i = 0; i < 3000 && !atomic_load(&g_inside); i++) usleep(1000);
  CHECK(atomic_load(&g_inside));
}

static void check_empty(hak_heap_t *heap) {
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(charge_of(heap), 0);
  void *block = hak_heap_alloc(heap, 8 << 20);
  CHECK(block != NULL);
  hak_free(block);
}

/* Of two last blocks one takes its time to go; the other, freed meanwhile, is not the
 * last one. */
static void last_blocks(size_t slow_size, size_t least) {
  enum {
    NEXT = 8,
    LIMIT = 1 << 30
  };
  hak_heap_t *one = limited(NULL, LIMIT), *two = limited(NULL, LIMIT);
  hak_heap_t *heap = limited(one, 0);
  void *slow = hak_heap_alloc(heap, slow_size), *quick = hak_heap_alloc(heap, 100);
  CHECK(slow != NULL && quick != NULL);
  CHECK_EQ(hak_heap_release(heap), 0);
  arm(least);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, free_one, slow), 0);
  wait_until_inside();
  hak_free(quick);
  hak_thread_idle();
  /* Heaps that would get the record, had the heap ended. */
  hak_heap_t *next[NEXT];
  for (int i = 0; i < NEXT; i++) next[i] = limited(two, 0);
  atomic_store(&g_hold, false);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  check_empty(one);
  check_empty(two);
  for (int i = 0; i < NEXT; i++) check_empty(next[i]);
  for (int i = 0; i < NEXT; i++) CHECK_EQ(hak_heap_destroy(next[i]), 0);
  CHECK_EQ(hak_heap_destroy(one), 0);
  CHECK_EQ(hak_heap_destroy(two), 0);
}

static void release__a_mapping_that_takes_its_time_is_not_yet_gone(void **state) {
  (void)state;
  last_blocks(300 << 20, 256 << 20);
}

/* The look for idle memory, behind a free, finds the heap's own. */
static void release__a_purge_behind_a_free_works_on_no_other_heap(void **state) {
  (void)state;
  hak_option_set(HAK_OPTION_RETAIN_BYTES, 0);
  hak_option_set(HAK_OPTION_PURGE_DECAY_MS, 0);
  enum {
    BLOCKS = 60,
    SIZE = 50000
  };
  hak_heap_t *parent = limited(NULL, 0), *heap = limited(parent, 0);
  void *quick = hak_heap_alloc(heap, SIZE);
  void *slow = hak_heap_calloc(heap, 1, 900000);
  CHECK(slow != NULL && quick != NULL);
  memset(slow, 1, 900000);
  CHECK_EQ(hak_heap_release(heap), 0);
  arm(1);
  pthread_t thread;
  CHECK_EQ(pthread_create(&thread, NULL, free_one, slow), 0);
  wait_until_inside();
  hak_free(quick);
  hak_thread_idle();
  hak_heap_t *next[4];
  char *blocks[4][BLOCKS];
  for (int h = 0; h < 4; h++) {
    next[h] = limited(NULL, 0);
    for (int i = 0; i < BLOCKS; i++) {
      CHECK((blocks[h][i] = hak_heap_alloc(next[h], SIZE)) != NULL);
      test_fill(blocks[h][i], SIZE, (uint64_t)h * BLOCKS + (uint64_t)i);
    }
  }
  atomic_store(&g_hold, false);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  for (int h = 0; h < 4; h++) {
    for (int i = 0; i < BLOCKS; i++) {
      CHECK(test_verify(blocks[h][i], SIZE, (uint64_t)h * BLOCKS + (uint64_t)i));
      CHECK(hak_heap_of(blocks[h][i]) == next[h]);
    }
    CHECK_EQ(hak_heap_destroy(next[h]), 0);
  }
  hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  check_empty(parent);
  CHECK_EQ(hak_heap_destroy(parent), 0);
}

/* --- the parent ends while a released heap is being ended ------------------------------
 */

typedef struct ender {
  hak_heap_t *heap;
  pthread_barrier_t *step;
} ender_t;

/* Has the heap's last block, cached; when it goes idle the heap ends. */
static void *end_by_going_idle(void *arg) {
  ender_t *e = arg;
  hak_free(hak_heap_alloc(e->heap, 100));
  pthread_barrier_wait(e->step);
  pthread_barrier_wait(e->step); /* it is released */
  hak_thread_idle();
  return NULL;
}

static void *set_free_later(void *arg) {
  (void)arg;
  usleep(200000);
  atomic_store(&g_hold, false);
  return NULL;
}

static void destroy__waits_for_released_heaps_that_others_end(void **state) {
  (void)state;
  hak_os_t own = g_os;
  hak_heap_t *top = limited(NULL, 1 << 30), *parent = limited(top, 0);
  hak_heap_config_t config = {.struct_size = sizeof config, .parent = parent, .os = &own};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  pthread_barrier_t step;
  pthread_barrier_init(&step, NULL, 2);
  ender_t e = {heap, &step};
  pthread_t thread, later;
  CHECK_EQ(pthread_create(&thread, NULL, end_by_going_idle, &e), 0);
  pthread_barrier_wait(&step);
  CHECK_EQ(hak_heap_release(heap), 0);
  arm(1 << 20);
  pthread_barrier_wait(&step);
  wait_until_inside();
  CHECK_EQ(pthread_create(&later, NULL, set_free_later, NULL), 0);
  /* It is not back before the heap below has gone. */
  CHECK_EQ(hak_heap_destroy(parent), 0);
  CHECK(!atomic_load(&g_hold));
  hak_heap_t *next = limited(NULL, 0);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(pthread_join(later, NULL), 0);
  check_empty(top);
  check_empty(next);
  CHECK_EQ(hak_heap_destroy(next), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
  pthread_barrier_destroy(&step);
}

/* --- as it comes
 * ------------------------------------------------------------------------ */

static _Atomic(void *) g_handed;
static atomic_int g_round, g_done;

static void *free_when_told(void *arg) {
  (void)arg;
  for (int round = 1;; round++) {
    int now;
    while ((now = atomic_load(&g_round)) != round) {
      if (now < 0) return NULL;
    }
    hak_free(atomic_load(&g_handed));
    atomic_store(&g_done, round);
  }
}

static void release__two_threads_free_the_last_blocks_at_once(void **state) {
  (void)state;
  static const size_t sizes[] = {40, 900, 9000, 100000, 900000, 3 << 20, 40 << 20};
  pthread_t thread;
  atomic_store(&g_round, 0);
  CHECK_EQ(pthread_create(&thread, NULL, free_when_told, NULL), 0);
  int rounds = (int)test_scale(3000);
  for (int round = 1; round <= rounds; round++) {
    hak_heap_t *one = limited(NULL, 1 << 30), *two = limited(NULL, 1 << 30);
    hak_heap_t *heap = limited(one, 0);
    void *theirs = hak_heap_alloc(heap, sizes[round % (int)TEST_COUNT(sizes)]);
    void *mine = hak_heap_alloc(heap, sizes[round / 7 % (int)TEST_COUNT(sizes)]);
    CHECK(theirs != NULL && mine != NULL);
    CHECK_EQ(hak_heap_release(heap), 0);
    atomic_store(&g_handed, theirs);
    atomic_store(&g_round, round);
    for (volatile int i = 0; i < round * 37 % 2000; i++) {}
    hak_free(mine);
    hak_heap_t *next = limited(two, 0);
    while (atomic_load(&g_done) != round) {}
    hak_thread_idle();
    CHECK_EQ(charge_of(two), 0);
    CHECK_EQ(charge_of(next), 0);
    if (round % 64 == 0) CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(hak_heap_destroy(next), 0);
    CHECK_EQ(hak_heap_destroy(two), 0);
    CHECK_EQ(hak_heap_destroy(one), 0);
  }
  atomic_store(&g_round, -1);
  CHECK_EQ(pthread_join(thread, NULL), 0);
}

#define R(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
  test_begin();
  const struct CMUnitTest tests[] = {
      R(release__a_mapping_that_takes_its_time_is_not_yet_gone),
      R(release__a_purge_behind_a_free_works_on_no_other_heap),
      R(destroy__waits_for_released_heaps_that_others_end),
      R(release__two_threads_free_the_last_blocks_at_once)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
