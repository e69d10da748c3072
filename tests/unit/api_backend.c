/* api_backend.c - the library where its blocks are malloc's (HAK_BACKEND_MALLOC): what
 * heaps, budgets, statistics and questions say is as true there. What sanitizers see of
 * it is in tests/sanitizers. */
#include "child.h"
#include "support.h"
#include "threads.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <hakmem/je.h>

#define MIB ((size_t)1 << 20)

static const size_t sizes[] = {1,    8,     17,     100,     1000,
                               5000, 60000, 300000, MIB + 1, 9 * MIB};

/* --- blocks ----------------------------------------------------------------------------
 */

static void blocks__are_mallocs_and_have_the_size_asked_for(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    size_t usable;
    char *block = hak_alloc_usable(sizes[i], &usable);
    CHECK_EQ(usable, sizes[i]);
    CHECK_EQ(hak_usable_size(block), sizes[i]);
    CHECK_EQ(hak_good_size(sizes[i]), sizes[i]);
    CHECK(malloc_usable_size(block) >= sizes[i]);
    CHECK(sizes[i] < 16 || (uintptr_t)block % 16 == 0);
    test_fill(block, sizes[i], i);
    CHECK(hak_heap_of(block + sizes[i] - 1) == hak_heap_default());
    CHECK(hak_heap_of(block + sizes[i]) == NULL);
    CHECK_EQ(hak_free_usable(block), sizes[i]);
    CHECK(hak_heap_of(block) == NULL);
  }
  CHECK_EQ(test_live_blocks(), 0);
}

static void blocks__move_with_each_change_of_size_and_keep_their_contents(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, "moving", NULL);
  char *block = hak_heap_alloc(heap, 100);
  test_fill(block, 100, 1);
  CHECK(hak_realloc(block, 100) == block);
  CHECK(hak_reallocx(NULL, block, 50, 0, HAK_NO_MOVE, NULL) == block);
  CHECK(hak_reallocx(NULL, block, 101, 0, HAK_NO_MOVE, NULL) == NULL);
  CHECK_EQ(hak_resize_in_place(block, 101, 200), 0);
  CHECK_EQ(hak_resize_in_place(block, 60, 200), 100);
  for (size_t size = 150; size < 4 * MIB; size = size * 3) {
    char *moved = hak_reallocx(NULL, block, size, 64, HAK_ZERO, NULL);
    CHECK(moved != NULL && moved != block);
    CHECK(test_verify(moved, 100, 1) && test_is_zero(moved + 100, size - 100));
    CHECK_EQ((uintptr_t)moved % 64, 0);
    CHECK(hak_heap_of(moved) == heap);
    block = moved;
  }
  block = hak_realloc(block, 99);
  CHECK_EQ(hak_usable_size(block), 99);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void sizes__beyond_what_tools_bear_are_refused(void **state) {
  (void)state;
  const size_t absurd[] = {PTRDIFF_MAX, SIZE_MAX, (size_t)1 << 40};
  for (size_t i = 0; i < TEST_COUNT(absurd); i++) {
    errno = 0;
    CHECK(hak_alloc(test_opaque(absurd[i])) == NULL);
    CHECK_EQ(errno, ENOMEM);
    CHECK(hak_allocx(NULL, test_opaque(absurd[i]), 4096, HAK_ZERO, NULL) == NULL);
  }
  CHECK_EQ(hak_good_size(test_opaque(SIZE_MAX)), 0);
  CHECK_EQ(hak_good_size(test_opaque((size_t)PTRDIFF_MAX + 1)), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

static void resize__beyond_what_tools_bear_leaves_the_block(void **state) {
  (void)state;
  char *block = hak_alloc(1000);
  test_fill(block, 1000, 1);
  const size_t absurd[] = {PTRDIFF_MAX, SIZE_MAX, (size_t)1 << 40};
  for (size_t i = 0; i < TEST_COUNT(absurd); i++) {
    size_t size = test_opaque(absurd[i]);
    for (unsigned flags = 0; flags <= HAK_ZERO; flags += HAK_ZERO) {
      errno = 0;
      CHECK(hak_reallocx(NULL, block, size, 0, flags, NULL) == NULL);
      CHECK_EQ(errno, ENOMEM);
    }
    CHECK_EQ(hak_resize_in_place(block, size, size), 0);
  }
  CHECK(hak_usable_size(block) == 1000 && test_verify(block, 1000, 1));
  CHECK_EQ(test_live_bytes(), 1000);
  hak_free(block);
}

/* An alignment that the block has by chance only, and no other size. */
static void resize__to_an_alignment_moves_what_has_it_not(void **state) {
  (void)state;
  char *block = hak_alloc(1000), *beside = hak_alloc(1000);
  if ((uintptr_t)block % 4096 == 0) { /* of two at most one */
    char *other = block;
    block = beside;
    beside = other;
  }
  CHECK((block = hak_aligned_realloc(block, 4096, 1000)) != NULL);
  CHECK_EQ((uintptr_t)block % 4096, 0);
  CHECK(hak_aligned_realloc(block, 4096, 1000) == block);
  hak_free(block);
  hak_free(beside);
}

/* malloc has no memory for another block: one that shrinks stays what it is. */
TEST_IN_CHILD(resize__where_malloc_has_nothing, 60) {
  char *block = hak_alloc(64 * MIB);
  test_fill_sparse(block, 64 * MIB, 1);
  struct rlimit limit = {MIB, MIB};
  CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
  errno = TEST_ERRNO;
  CHECK(hak_realloc(block, 32 * MIB) == block);
  CHECK_EQ(errno, TEST_ERRNO);
  CHECK_EQ(hak_usable_size(block), 64 * MIB);
  errno = 0;
  CHECK(hak_realloc(block, 65 * MIB) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(hak_aligned_realloc(block, 8 * MIB, 32 * MIB) == NULL && errno == ENOMEM);
  CHECK(hak_alloc(64 * MIB) == NULL);
  CHECK(test_verify_sparse(block, 64 * MIB, 1));
  CHECK_EQ(test_live_bytes(), 64 * MIB);
  CHECK_EQ(hak_check(NULL), 0);
  hak_free(block);
  CHECK_EQ(test_live_blocks(), 0);
}

static void nallocx__says_what_mallocx_gives(void **state) {
  (void)state;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    for (int lg = 0; lg <= 16; lg += 2) {
      for (int zero = 0; zero <= MALLOCX_ZERO; zero += MALLOCX_ZERO) {
        int flags = MALLOCX_LG_ALIGN(lg) | zero;
        void *block = mallocx(sizes[i], flags);
        CHECK_EQ(nallocx(sizes[i], flags), sallocx(block, 0));
        sdallocx(block, nallocx(sizes[i], flags), MALLOCX_LG_ALIGN(lg));
      }
    }
  }
  CHECK_EQ(nallocx(0, 0), 1);
  CHECK_EQ(nallocx((size_t)PTRDIFF_MAX + 1, 0), 0);
}

static void misuse__is_named(void **state) {
  (void)state;
  char *block = hak_alloc(1000), *foreign = malloc(100);
  test_reports_begin();
  hak_free(block + 8);
  test_expect_report(1, HAK_ERROR_INTERIOR_POINTER, block + 8, "hak_free");
  hak_free_sized(block, 1001);
  test_expect_report(2, HAK_ERROR_WRONG_SIZE, block, "hak_free_sized");
  hak_free(foreign);
  test_expect_report(3, HAK_ERROR_FOREIGN_POINTER, foreign, "hak_free");
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  hak_heap_free(heap, block);
  test_expect_report(4, HAK_ERROR_WRONG_HEAP, block, "hak_heap_free");
  hak_free(block);
  hak_free(block);
  test_expect_report(5, HAK_ERROR_FOREIGN_POINTER, block, "hak_free");
  CHECK(strstr(g_reports.last.text, "or in one that was freed") != NULL);
  test_reports_end(5, HAK_ERROR_FOREIGN_POINTER);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  free(foreign);
}

/* --- heaps
 * ------------------------------------------------------------------------------- */

/* Bytes that malloc has given, about; its own books are a little more. */
static size_t from_malloc(void) {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

static void heaps__take_their_blocks_with_them(void **state) {
  (void)state;
  const uint32_t flags[] = {0, HAK_HEAP_SERIAL, HAK_HEAP_NO_PURGE};
  for (size_t i = 0; i < TEST_COUNT(flags); i++) {
    size_t before = from_malloc();
    hak_heap_t *heap = test_heap(flags[i], "many", NULL);
    for (int k = 0; k < 1000; k++) CHECK(hak_heap_alloc(heap, 5000) != NULL);
    CHECK(from_malloc() >= before + 5000 * 1000);
    CHECK_EQ(test_heap_stats(heap).live_bytes, 5000 * 1000);
    CHECK_EQ(hak_heap_reset(heap), 0);
    CHECK(from_malloc() < before + MIB);
    CHECK_EQ(test_heap_stats(heap).live_blocks, 0);
    CHECK(hak_heap_calloc(heap, 3 * MIB, 1) != NULL);
    CHECK_EQ(hak_check(NULL), 0);
    CHECK_EQ(hak_heap_destroy(heap), 0);
    CHECK(from_malloc() < before + MIB);
  }
}

static void heaps__that_are_released_end_with_their_last_block(void **state) {
  (void)state;
  hak_heap_t *top = test_heap(0, "top", NULL), *heap = test_heap(0, "gone", top);
  char *a = hak_heap_alloc(heap, 100), *b = hak_heap_alloc(heap, 200);
  CHECK_EQ(hak_heap_release(heap), 0);
  CHECK(hak_heap_of(a) == top);
  hak_free(a);
  CHECK_EQ(test_heap_stats(top).live_blocks, 1);
  b = hak_realloc(b, 300); /* moves into the heap above, and the other ends */
  CHECK_EQ(test_heap_stats(top).live_bytes, 300);
  hak_free(b);
  CHECK_EQ(test_heap_stats(top).committed_bytes, 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
}

static void heaps__are_charged_for_the_sizes_of_their_blocks(void **state) {
  (void)state;
  hak_heap_config_t config = {.hard_limit = MIB};
  hak_heap_t *top = test_heap_make(config);
  hak_heap_t *heap = test_heap(0, NULL, top);
  char *first = hak_heap_alloc(heap, 100);
  uint64_t charge = test_heap_stats(top).committed_bytes;
  char *second = hak_heap_alloc(heap, 12345);
  CHECK_EQ(test_heap_stats(top).committed_bytes, charge + 12345);
  CHECK(hak_heap_alloc(heap, MIB) == NULL);
  CHECK_EQ(test_heap_stats(top).budget_refused, 1);
  /* The limit is asked before malloc is, which would end a program under a tool. */
  CHECK(hak_heap_alloc(heap, (size_t)1 << 38) == NULL);
  hak_free(second);
  CHECK_EQ(test_heap_stats(top).committed_bytes, charge);
  CHECK_EQ(hak_check(NULL), 0);
  hak_free(first);
  CHECK_EQ(test_heap_stats(top).committed_bytes, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
}

static int give_way(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap, (void)needed, (void)level;
  char **block = ctx;
  bool any = *block != NULL;
  hak_free(*block);
  *block = NULL;
  return any;
}

static void heaps__ask_at_their_limits(void **state) {
  (void)state;
  char *spare = NULL;
  hak_heap_config_t config = {.hard_limit = 4 * MIB,
                              .soft_limit = 3 * MIB,
                              .on_pressure = give_way,
                              .ctx = &spare};
  hak_heap_t *heap = test_heap_make(config);
  spare = hak_heap_alloc(heap, 2 * MIB);
  CHECK(hak_heap_alloc(heap, 3 * MIB) != NULL && spare == NULL); /* the hard one */
  spare = hak_heap_alloc(heap, 1000);
  CHECK(spare == NULL || test_heap_stats(heap).committed_bytes <= 4 * MIB);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static int count_questions(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap, (void)needed, (void)level;
  ++*(int *)ctx;
  return 0;
}

/* The old block and the new one are never charged at once. */
static void heaps__are_charged_the_difference_for_a_resize(void **state) {
  (void)state;
  int questions = 0;
  hak_heap_config_t config = {
      .hard_limit = 4 * MIB, .on_pressure = count_questions, .ctx = &questions};
  hak_heap_t *heap = test_heap_make(config);
  char *block = hak_heap_alloc(heap, 3 * MIB);
  uint64_t charge = test_heap_stats(heap).committed_bytes;
  test_fill(block, 3 * MIB, 1);
  const size_t to[] = {5 * MIB / 2, 7 * MIB / 2, 100, 7 * MIB / 2};
  for (size_t i = 0, kept = 3 * MIB; i < TEST_COUNT(to); i++) {
    char *moved = hak_realloc(block, to[i]);
    CHECK(moved != NULL && moved != block);
    if (to[i] < kept) kept = to[i];
    CHECK(test_verify(moved, kept, 1));
    CHECK_EQ(test_heap_stats(heap).committed_bytes, charge - 3 * MIB + to[i]);
    CHECK_EQ(test_heap_stats(heap).live_bytes, to[i]);
    block = moved;
  }
  CHECK_EQ(questions, 0);
  errno = 0;
  CHECK(hak_realloc(block, 5 * MIB) == NULL && errno == ENOMEM);
  CHECK(questions > 0);
  CHECK_EQ(hak_usable_size(block), 7 * MIB / 2);
  /* A limit that is lower than what there is forbids no shrink, only growth. */
  CHECK_EQ(hak_heap_set_limits(heap, 0, MIB), 0);
  CHECK((block = hak_realloc(block, 3 * MIB)) != NULL);
  CHECK(hak_realloc(block, 3 * MIB + 1) == NULL);
  CHECK_EQ(hak_check(NULL), 0);
  hak_free(block);
  CHECK_EQ(test_heap_stats(heap).committed_bytes, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void heaps__shed_for_growth_at_their_limits(void **state) {
  (void)state;
  char *spare = NULL;
  hak_heap_config_t config = {
      .hard_limit = 4 * MIB, .on_pressure = give_way, .ctx = &spare};
  hak_heap_t *heap = test_heap_make(config);
  char *block = hak_heap_alloc(heap, MIB);
  spare = hak_heap_alloc(heap, 2 * MIB);
  CHECK(hak_reallocx(NULL, block, 3 * MIB, 0, HAK_NO_GROW, NULL) == NULL);
  CHECK(spare != NULL); /* nobody was asked */
  CHECK((block = hak_realloc(block, 3 * MIB)) != NULL && spare == NULL);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static int shrink_it(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap, (void)needed, (void)level;
  char **block = ctx, *old = *block;
  if (hak_usable_size(old) == 100) return 0;
  *block = hak_realloc(old, 100);
  CHECK(*block != NULL && *block != old);
  CHECK(hak_realloc(*block, 200) == NULL); /* growth is forbidden here */
  return 1;
}

static void heaps__may_shrink_blocks_to_make_room(void **state) {
  (void)state;
  char *block = NULL;
  hak_heap_config_t config = {
      .hard_limit = 4 * MIB, .on_pressure = shrink_it, .ctx = &block};
  hak_heap_t *heap = test_heap_make(config);
  block = hak_heap_alloc(heap, 3 * MIB);
  CHECK(hak_heap_alloc(heap, 3 * MIB) != NULL);
  CHECK_EQ(hak_usable_size(block), 100);
  CHECK_EQ(hak_check(NULL), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

/* A block of a released heap would move into the heap above, which has no room for two.
 */
static void heaps__that_are_released_keep_what_cannot_move(void **state) {
  (void)state;
  hak_heap_config_t config = {.hard_limit = 4 * MIB};
  hak_heap_t *top = test_heap_make(config), *heap = test_heap(0, "gone", top);
  char *block = hak_heap_alloc(heap, 3 * MIB);
  CHECK_EQ(hak_heap_release(heap), 0);
  CHECK((block = hak_realloc(block, 5 * MIB / 2)) != NULL);
  CHECK((block = hak_realloc(block, 7 * MIB / 2)) != NULL);
  CHECK(hak_heap_of(block) == top);
  CHECK_EQ(hak_check(NULL), 0);
  hak_free(block);
  CHECK_EQ(test_heap_stats(top).committed_bytes, 0);
  CHECK_EQ(hak_heap_destroy(top), 0);
}

static bool add_block(const hak_block_t *block, void *ctx) {
  CHECK(block->is_start && block->size == hak_usable_size(block->address));
  *(size_t *)ctx += block->size;
  return true;
}

/* --- what a watched heap tells ---------------------------------------------------------
 */

static void remember(const hak_block_event_t *event, void *ctx) {
  *(hak_block_event_t *)ctx = *event;
}

static void watched_heaps__tell_of_a_resize(void **state) {
  (void)state;
  hak_block_event_t last = {.kind = 0};
  hak_heap_t *heap = test_heap(HAK_HEAP_WATCHED, NULL, NULL);
  CHECK_EQ(hak_heap_set_block_hook(heap, remember, &last), 0);
  char *block = hak_heap_alloc(heap, 100);
  char *moved = hak_realloc(block, 50);
  CHECK_EQ(last.kind, HAK_BLOCK_RESIZE);
  CHECK(last.address == moved && last.old_address == block && moved != block);
  CHECK(last.size == 50 && last.requested == 50 && last.old_size == 100);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void visits__find_each_block_once(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  size_t bytes = 0, seen = 0;
  for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
    CHECK(hak_heap_alloc(heap, sizes[i]) != NULL);
    bytes += sizes[i];
  }
  CHECK_EQ(hak_heap_visit(heap, add_block, &seen, 0), 0);
  CHECK_EQ(seen, bytes);
  CHECK_EQ(hak_heap_destroy(heap), 0);
}

static void heaps__with_memory_or_hooks_of_their_own_keep_those(void **state) {
  (void)state;
  static char memory[MIB];
  hak_heap_t *in = test_heap_in(memory, sizeof memory, 0, NULL);
  char *block = hak_heap_alloc(in, 100);
  CHECK(test_is_within(block, memory, sizeof memory) && hak_heap_of(block) == in);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(in), 0);
  hak_heap_config_t config = {.os = hak_os_default()};
  hak_heap_t *over = test_heap_make(config);
  block = hak_heap_alloc(over, 100);
  CHECK_EQ(hak_usable_size(block), 112); /* a size class */
  test_reports_begin();
  hak_free(block + 8);
  test_expect_report(1, HAK_ERROR_INTERIOR_POINTER, block + 8, "hak_free");
  test_reports_end(1, HAK_ERROR_INTERIOR_POINTER);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(over), 0);
}

/* --- threads and life
 * --------------------------------------------------------------------- */

enum {
  THREADS = 4,
  SLOTS = 64,
  ROUNDS = 4000
};
static _Atomic(char *) g_slots[SLOTS];
static hak_heap_t *g_heaps[2];

static void *exchange_thread(void *seed) {
  test_rng_t rng = test_rng(test_seed(), (uintptr_t)seed);
  for (size_t i = 0; i < test_scale(ROUNDS); i++) {
    size_t size = 8 + test_random_size(&rng, 20000);
    char *block = hak_heap_alloc(g_heaps[test_below(&rng, 2)], size);
    CHECK(block != NULL);
    memcpy(block, &size, sizeof size);
    block = atomic_exchange(&g_slots[test_below(&rng, SLOTS)], block);
    if (block == NULL) continue;
    memcpy(&size, block, sizeof size);
    CHECK_EQ(hak_usable_size(block), size);
    size = 8 + test_random_size(&rng, 20000);
    block = hak_realloc(block, size);
    CHECK(block != NULL && hak_usable_size(block) == size);
    hak_free(block);
  }
  return NULL;
}

static void threads__pass_blocks_of_heaps_on(void **state) {
  (void)state;
  g_heaps[1] = test_heap(0, "shared", NULL);
  pthread_t threads[THREADS];
  for (size_t i = 0; i < THREADS; i++) {
    CHECK_EQ(pthread_create(&threads[i], NULL, exchange_thread, (void *)i), 0);
  }
  for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK_EQ(hak_check(NULL), 0);
  for (size_t i = 0; i < SLOTS; i++) {
    if (hak_heap_of(g_slots[i]) == hak_heap_default()) hak_free(g_slots[i]);
    g_slots[i] = NULL;
  }
  CHECK_EQ(hak_heap_destroy(g_heaps[1]), 0);
  CHECK_EQ(test_live_blocks(), 0);
}

static void shutdown__gives_all_blocks_back(void **state) {
  (void)state;
  size_t before = from_malloc();
  hak_heap_t *heap = test_heap(0, NULL, NULL);
  for (int i = 0; i < 100; i++) {
    CHECK(hak_alloc(50000) != NULL && hak_heap_alloc(heap, 50000) != NULL);
  }
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK(from_malloc() < before + MIB);
  test_restart();
  hak_free(hak_alloc(100));
}

static void option__counts_from_the_next_start(void **state) {
  (void)state;
  CHECK_EQ(hak_option_set(HAK_OPTION_BACKEND, HAK_BACKEND_NATIVE), 0);
  CHECK_EQ(hak_good_size(97), 97);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  test_restart();
  hak_free(hak_alloc(97));
  CHECK_EQ(hak_good_size(97), 112);
  CHECK_EQ(hak_option_set(HAK_OPTION_BACKEND, HAK_BACKEND_MALLOC), 0);
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  test_restart();
  hak_free(hak_alloc(97));
  CHECK_EQ(hak_good_size(97), 97);
}

/* Whose blocks there will be is not known yet, and a program may write as far as it was
 * told. */
static void good_size__before_the_start_is_what_any_block_has(void **state) {
  (void)state;
  const size_t asked[] = {0, 1, 97, 30000, 300000, 3 * MIB};
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  for (size_t i = 0; i < TEST_COUNT(asked); i++) {
    size_t good = hak_good_size(asked[i]);
    CHECK_EQ(good, asked[i] == 0 ? 1 : asked[i]);
  }
  test_restart();
  hak_free(hak_alloc(97));
}

int main(void) {
  test_begin();
  CHECK_EQ(hak_option_set(HAK_OPTION_BACKEND, HAK_BACKEND_MALLOC), 0);
  test_start();
  hak_free(hak_alloc(1));
  const struct CMUnitTest tests[] = {
      T(blocks__are_mallocs_and_have_the_size_asked_for),
      T(blocks__move_with_each_change_of_size_and_keep_their_contents),
      T(sizes__beyond_what_tools_bear_are_refused),
      T(resize__beyond_what_tools_bear_leaves_the_block),
      T(resize__to_an_alignment_moves_what_has_it_not),
      T(resize__where_malloc_has_nothing),
      T(misuse__is_named),
      T(heaps__take_their_blocks_with_them),
      T(heaps__that_are_released_end_with_their_last_block),
      T(heaps__are_charged_for_the_sizes_of_their_blocks),
      T(heaps__ask_at_their_limits),
      T(heaps__are_charged_the_difference_for_a_resize),
      T(heaps__shed_for_growth_at_their_limits),
      T(heaps__may_shrink_blocks_to_make_room),
      T(heaps__that_are_released_keep_what_cannot_move),
      T(watched_heaps__tell_of_a_resize),
      T(nallocx__says_what_mallocx_gives),
      T(visits__find_each_block_once),
      T(heaps__with_memory_or_hooks_of_their_own_keep_those),
      T(threads__pass_blocks_of_heaps_on),
      T(shutdown__gives_all_blocks_back),
      T(good_size__before_the_start_is_what_any_block_has),
      T(option__counts_from_the_next_start)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
