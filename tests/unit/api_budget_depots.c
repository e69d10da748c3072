/* api_budget_depots.c - what threads cannot keep of a heap whose limit is far lies in its
 * depots: it serves whoever needs it, and is gone wherever caches are. */
#include "child.h"
#include "support.h"
#include "threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap/heap.h"

enum {
  BLOCKS = 12000,
  MANY = 30000,
  THREADS = 8,
  TIGHT = 5 << 20 /* a limit that is far, with the least quota of one thread */
};

static uint64_t stored_of(hak_heap_t *heap) {
  hak_central_t *centrals = hak_heap_record(heap)->store->centrals;
  uint64_t bytes = 0;
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    bytes += hak_load_relaxed(&centrals[cls].stored) * hak_class_size(cls);
  }
  return bytes;
}

static void frame(hak_heap_t *heap, size_t count, size_t size, size_t spread) {
  static _Thread_local void *blocks[MANY];
  for (size_t i = 0; i < count; i++) {
    blocks[i] = hak_heap_alloc(heap, size + i * 37 % spread);
    CHECK(blocks[i] != NULL);
  }
  for (size_t i = 0; i < count; i++) hak_free(blocks[i]);
}

/* Frames that the quota has no room for, of 1 MiB in all. */
static void fill(hak_heap_t *heap) {
  for (int i = 0; i < 8; i++) frame(heap, BLOCKS, 40, 80);
  CHECK(stored_of(heap) > 0);
}

/* Frames of 2.4 MiB, of which this thread keeps a sixteenth of the limit at most; but in
 * ever more slabs the longer a machine takes for them. */
static void fill_more(hak_heap_t *heap) {
  for (int i = 0; i < 8; i++) frame(heap, MANY, 40, 80);
  CHECK(stored_of(heap) > 0);
}

static hak_heap_t *tight(hak_heap_t *parent, uint32_t flags) {
  return test_heap_make((hak_heap_config_t){
      .parent = parent, .flags = flags, .hard_limit = parent == NULL ? TIGHT : 0});
}

static void *alloc_bytes(hak_heap_t *heap, size_t size) {
  void *block = hak_heap_alloc(heap, size);
  CHECK(block != NULL);
  hak_free(block);
  return NULL;
}

static void *alloc_main(void *arg) { return alloc_bytes(arg, TIGHT - MIB / 2); }
static void *alloc_some_main(void *arg) { return alloc_bytes(arg, 3 * MIB); }

static void depot__serves_a_thread_that_meets_the_limit(void **state) {
  (void)state;
  hak_heap_t *heap = tight(NULL, 0);
  fill_more(heap);
  CHECK(test_heap_stats(heap).committed_bytes > TIGHT - 3 * MIB);
  test_thread_run(alloc_some_main, heap);
  CHECK_EQ(stored_of(heap), 0);
  CHECK_EQ(test_heap_stats(heap).budget_refused, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void depot__of_a_child_serves_another_child_at_the_parent_s_limit(void **state) {
  (void)state;
  hak_heap_t *top = tight(NULL, 0), *a = tight(top, 0), *b = tight(top, 0);
  fill_more(a);
  CHECK(test_heap_stats(top).committed_bytes > TIGHT - 3 * MIB);
  test_thread_run(alloc_some_main, b);
  CHECK_EQ(stored_of(a), 0);
  CHECK_EQ(hak_heap_destroy(a), 0);
  CHECK_EQ(hak_heap_destroy(b), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
}

static void serial__heap_has_depots_too(void **state) {
  (void)state;
  hak_heap_t *heap = tight(NULL, HAK_HEAP_SERIAL);
  fill(heap);
  CHECK_EQ(hak_check(heap), 0);
  (void)alloc_main(heap);
  CHECK_EQ(stored_of(heap), 0);
  fill(heap);
  CHECK_EQ(hak_heap_reset(heap), 0);
  CHECK_EQ(stored_of(heap), 0);
  fill(heap);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* In memory of the caller's, below a limit: what lies in depots there is no other's, but
 * serves when that memory is used up. */
static void external__heap_has_depots_too(void **state) {
  (void)state;
  const size_t size = 24 * MIB;
  void *memory = aligned_alloc(2 * MIB, size);
  CHECK(memory != NULL);
  hak_heap_t *top = test_heap_make((hak_heap_config_t){.hard_limit = 64 * MIB});
  hak_heap_t *heap = test_heap_in(memory, size, 0, top);
  for (int i = 0; i < 8; i++) frame(heap, BLOCKS, 400, 800);
  CHECK_EQ(hak_check(heap), 0);
  void *block = hak_heap_alloc(heap, size - 3 * MIB);
  CHECK(block != NULL);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
  free(memory);
}

static bool count_block(const hak_block_t *block, void *ctx) {
  (void)block;
  ++*(size_t *)ctx;
  return true;
}

static void visit__sees_no_block_that_lies_in_a_depot(void **state) {
  (void)state;
  hak_heap_t *heap = tight(NULL, 0);
  void *kept = hak_heap_alloc(heap, 100);
  fill(heap);
  size_t count = 0;
  CHECK_EQ(hak_heap_visit(heap, count_block, &count, 0), 0);
  CHECK_EQ(count, 1);
  hak_stats_t stats = test_heap_stats(heap);
  CHECK_EQ(stats.live_blocks, 1);
  CHECK(stats.cached_bytes >= stored_of(heap));
  hak_free(kept);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void charge__is_nothing_once_all_is_free_and_threads_have_gone(void **state) {
  (void)state;
  hak_heap_t *heap = tight(NULL, 0);
  fill(heap);
  hak_thread_idle();
  CHECK_EQ(stored_of(heap), 0);
  fill(heap);
  (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK_EQ(stored_of(heap), 0);
  CHECK_EQ(test_heap_stats(heap).committed_bytes, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void released__heap_goes_with_what_lies_in_its_depots(void **state) {
  (void)state;
  uint64_t before = test_stats().committed_bytes;
  hak_heap_t *heap = tight(NULL, 0);
  void *last = hak_heap_alloc(heap, 100);
  fill(heap);
  CHECK_EQ(hak_heap_release(heap), 0);
  hak_free(last);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  CHECK(test_stats().committed_bytes <= before + MIB / 2);
}

/* Slabs that a thread without a cache of the heap takes one block from keep the bins that
 * their other blocks go to: frees of these would take the slow path. */
static void *one_main(void *arg) {
  hak_free(hak_heap_alloc(arg, 48));
  return NULL;
}
static void slab__that_a_thread_without_a_cache_used_stays_fast(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.hard_limit = 64 * MIB});
  frame(heap, 600, 48, 1);
  hak_thread_idle();
  static void *blocks[600];
  for (size_t i = 0; i < 300; i++) blocks[i] = hak_heap_alloc(heap, 48);
  hak_thread_idle(); /* the slab is on the partial list */
  test_thread_run(one_main, heap);
  uint64_t before = test_stats().slow_free;
  for (size_t i = 0; i < 300; i++) hak_free(blocks[i]);
  CHECK_EQ(test_stats().slow_free, before);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void fork__leaves_a_child_with_depots_that_serve(void **state) {
  (void)state;
  hak_heap_t *heap = tight(NULL, 0);
  fill(heap);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    bool well = stored_of(heap) > 0 && hak_check(heap) == 0;
    frame(heap, BLOCKS, 40, 80);
    void *block = hak_heap_alloc(heap, TIGHT - MIB);
    well = well && block != NULL && stored_of(heap) == 0;
    hak_free(block);
    well = well && hak_heap_destroy(heap) == 0;
    _exit(well ? 0 : 1);
  }
  int status;
  CHECK_EQ(waitpid(pid, &status, 0), pid);
  CHECK_EQ(status, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* The default heap's records serve again after a shutdown. */
TEST_IN_CHILD(shutdown__leaves_no_list_in_a_depot, 60) {
  hak_heap_t *heap = hak_heap_default();
  CHECK_EQ(hak_heap_set_limits(heap, 0, TIGHT), 0);
  for (int i = 0; i < 8; i++) frame(heap, BLOCKS, 40, 80);
  CHECK(stored_of(heap) > 0);
  CHECK_EQ(hak_shutdown(0), 0);
  test_restart();
  CHECK_EQ(stored_of(hak_heap_default()), 0);
  frame(hak_heap_default(), BLOCKS, 40, 80);
  CHECK_EQ(hak_check(NULL), 0);
}

/* ---- many threads -------------------------------------------------------------------
 */

typedef struct crowd {
  hak_heap_t *top, *children[2];
  _Atomic(void *) shared[64];
  atomic_bool over;
} crowd_t;

static crowd_t g_crowd;

static void check_limits(void) {
  hak_budget_t *budget = &hak_heap_record(g_crowd.top)->store->pool.budget;
  uint64_t limit = hak_load_relaxed(&budget->hard);
  CHECK(hak_load_relaxed(&budget->charged) <= limit);
  CHECK(hak_load_relaxed(&budget->cached) <= limit / 16);
}

/* Each block says whose it is for as long as it lives. */
static void *crowd_main(void *arg) {
  size_t me = (size_t)(uintptr_t)arg, count = 6000;
  uint64_t **blocks = calloc(count, sizeof *blocks);
  CHECK(blocks != NULL);
  for (size_t round = 0; round < test_scale(10); round++) {
    hak_heap_t *heap = g_crowd.children[(me + round / 3) % 2];
    for (size_t i = 0; i < count; i++) {
      blocks[i] = hak_heap_alloc(heap, 16 + (i * 61 + me) % 180); /* or NULL */
      if (blocks[i] != NULL) blocks[i][0] = (uintptr_t)blocks[i] ^ me;
    }
    check_limits();
    void *large = round % 4 == 3 ? hak_heap_alloc(heap, 12 * MIB) : NULL;
    for (size_t i = 0; i < count; i++) {
      if (blocks[i] == NULL) continue;
      CHECK_EQ(blocks[i][0], (uintptr_t)blocks[i] ^ me);
      void *other =
          i % 97 == 0 ? atomic_exchange(&g_crowd.shared[i % 64], blocks[i]) : blocks[i];
      hak_free(other);
    }
    hak_free(large);
    if (round % 5 == 4 && me % 3 == 0) hak_thread_idle();
  }
  free(blocks);
  return NULL;
}

/* What may be done beside threads at work: looks, collections, limits that change. */
static void *beside_main(void *arg) {
  (void)arg;
  for (unsigned i = 0; !atomic_load(&g_crowd.over); i++) {
    hak_heap_t *heap = g_crowd.children[i % 2];
    (void)test_heap_stats(heap);
    if (i % 4 == 0) (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
    if (i % 8 == 1) CHECK_EQ(hak_heap_set_limits(heap, 0, (i % 3) * 24 * MIB), 0);
  }
  return NULL;
}

static void crowd__has_each_block_once_and_keeps_the_limits(void **state) {
  (void)state;
  g_crowd.top = test_heap_make((hak_heap_config_t){.hard_limit = 48 * MIB});
  for (int i = 0; i < 2; i++) {
    g_crowd.children[i] = test_heap_make((hak_heap_config_t){.parent = g_crowd.top});
  }
  pthread_t threads[THREADS], beside;
  test_threads_begin(&beside, 1, beside_main, NULL);
  test_threads_begin_numbered(threads, THREADS, crowd_main);
  test_threads_end(threads, THREADS);
  atomic_store(&g_crowd.over, true);
  test_threads_end(&beside, 1);
  for (size_t i = 0; i < TEST_COUNT(g_crowd.shared); i++) {
    hak_free(atomic_exchange(&g_crowd.shared[i], NULL));
  }
  for (int i = 0; i < 2; i++) {
    CHECK_EQ(hak_check(g_crowd.children[i]), 0);
    CHECK_EQ(test_heap_live_blocks(g_crowd.children[i]), 0);
    CHECK_EQ(hak_heap_destroy(g_crowd.children[i]), 0);
  }
  CHECK_EQ(hak_heap_destroy(g_crowd.top), 0);
}

TEST_MAIN(T(depot__serves_a_thread_that_meets_the_limit),
          T(depot__of_a_child_serves_another_child_at_the_parent_s_limit),
          T(serial__heap_has_depots_too), T(external__heap_has_depots_too),
          T(visit__sees_no_block_that_lies_in_a_depot),
          T(charge__is_nothing_once_all_is_free_and_threads_have_gone),
          T(released__heap_goes_with_what_lies_in_its_depots),
          T(slab__that_a_thread_without_a_cache_used_stays_fast),
          T(fork__leaves_a_child_with_depots_that_serve),
          T(crowd__has_each_block_once_and_keeps_the_limits),
          T(shutdown__leaves_no_list_in_a_depot))
