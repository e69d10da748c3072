/* heap_fork_claims.c - a fork finds threads between claiming a large block and giving its
 * memory back: in the child the block is gone, and its memory serves on. */
#include "support.h"
#include "threads.h"

#include <pthread.h>

#include "child.h"
#include "heap/kind.h"
#include "heap/thread.h"
#include "pool/large.h"
#include "superslab/locate.h"

static const size_t g_sizes[] = {300 * KIB, 5 * MIB, 40 * MIB};

enum {
  KINDS = sizeof g_sizes / sizeof *g_sizes
};

static char *g_blocks[KINDS];
static pthread_barrier_t g_claimed, g_forked;

static void *claim(void *arg) {
  hak_place_t place = hak_locate((uintptr_t)arg);
  hak_thread_t *me = hak_thread_enter();
  CHECK(me != NULL && hak_large_claim(&place));
  pthread_barrier_wait(&g_claimed);
  pthread_barrier_wait(&g_forked);
  size_t usable = hak_large_usable(&place);
  hak_thread_count_large(me, -1, -(int64_t)usable);
  hak_large_free(&hak_heap_of_extent(place.extent)->store->pool, &place);
  hak_thread_leave(me, "hak_free");
  return NULL;
}

static void check_gone(hak_heap_t *heap, char *const *blocks) {
  CHECK_EQ(hak_check(NULL), 0);
  CHECK(hak_kind_is_empty(hak_heap_record(heap)));
  for (int i = 0; i < KINDS; i++) CHECK(hak_heap_of(blocks[i]) == NULL);
  CHECK_EQ(test_heap_stats(heap).large_blocks, 0);
}

static int child_of(void *ctx) {
  hak_heap_t *heap = ctx;
  check_gone(heap, g_blocks);
  for (int i = 0; i < KINDS; i++) {
    char *block = hak_heap_calloc(heap, 1, g_sizes[i]);
    CHECK(block != NULL && test_is_zero(block, g_sizes[i]));
    test_fill_sparse(block, g_sizes[i], 3);
    CHECK(test_verify_sparse(block, g_sizes[i], 3));
    hak_free(block);
  }
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
  return 0;
}

static void fork__amid_frees_of_large_blocks_brings_them_to_their_end(void **state) {
  (void)state;
  CHECK_EQ(pthread_barrier_init(&g_claimed, NULL, KINDS + 1), 0);
  CHECK_EQ(pthread_barrier_init(&g_forked, NULL, KINDS + 1), 0);
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  pthread_t threads[KINDS];
  for (int i = 0; i < KINDS; i++) {
    g_blocks[i] = hak_heap_calloc(heap, 1, g_sizes[i]);
    CHECK(g_blocks[i] != NULL);
    CHECK_EQ(pthread_create(&threads[i], NULL, claim, g_blocks[i]), 0);
  }
  pthread_barrier_wait(&g_claimed);
  test_child_must_succeed(child_of, heap, 60);
  pthread_barrier_wait(&g_forked);
  test_threads_end(threads, KINDS);
  check_gone(heap, g_blocks);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

TEST_MAIN(T(fork__amid_frees_of_large_blocks_brings_them_to_their_end))
