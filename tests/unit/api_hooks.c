/* api_hooks.c - hooks of one heap, and of the heap that a thread uses (hooks.h). */
#include <hakmem/hooks.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "threads.h"

static hak_heap_t *g_heap;
static unsigned g_asked;

static hak_heap_t *asked(void) {
  g_asked++;
  return g_heap;
}

HAK_DEFINE_HOOKS(lib, g_heap);
HAK_DEFINE_HOOKS(each, asked());
HAK_DEFINE_HOOKS(own, hak_heap_current());
HAK_DEFINE_HOOKS_WITH(frees, g_heap, HAK_HOOKS_ZERO_FREES);

static uint64_t live(hak_heap_t *heap) {
  hak_stats_t stats = {.struct_size = sizeof stats};
  CHECK_EQ(hak_stats_get(heap, &stats), 0);
  return stats.live_blocks;
}

static int begin(void **state) {
  (void)state;
  hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = 8 * MIB};
  g_heap = hak_heap_create(&config);
  return g_heap == NULL;
}

static int end(void **state) {
  (void)state;
  CHECK_EQ(live(g_heap), 0);
  CHECK(hak_heap_current() == NULL);
  return hak_heap_destroy(g_heap);
}

static void hooks__every_function_allocates_from_the_heap(void **state) {
  (void)state;
  void *block[9];
  block[0] = lib_malloc(100);
  block[1] = lib_calloc(10, 10);
  block[2] = lib_realloc(NULL, 100);
  block[3] = lib_reallocarray(NULL, 10, 10);
  block[4] = lib_strdup("a string");
  block[5] = lib_strndup("a string", 3);
  block[6] = lib_aligned_alloc(256, 100);
  CHECK_EQ(lib_posix_memalign(&block[7], 512, 100), 0);
  block[8] = lib_realloc_sized(NULL, 0, 100);
  for (size_t i = 0; i < TEST_COUNT(block); i++) {
    CHECK(block[i] != NULL && hak_heap_of(block[i]) == g_heap);
  }
  CHECK(strcmp(block[4], "a string") == 0 && strcmp(block[5], "a s") == 0);
  CHECK((uintptr_t)block[6] % 256 == 0 && (uintptr_t)block[7] % 512 == 0);
  for (size_t i = 0; i < 100; i++) CHECK_EQ(((char *)block[1])[i], 0);
  CHECK(lib_usable_size(block[0]) >= 100);

  memset(block[0], 7, 100);
  block[0] = lib_realloc_sized(block[0], 100, 5000);
  CHECK(block[0] != NULL && hak_heap_of(block[0]) == g_heap);
  CHECK_EQ(((char *)block[0])[99], 7);
  lib_free_sized(block[0], 5000);
  for (size_t i = 1; i < TEST_COUNT(block); i++) lib_free(block[i]);
  lib_free(NULL);
}

static void hooks__failures_are_those_of_the_heap(void **state) {
  (void)state;
  void *kept = lib_malloc(100), *out = &out;
  volatile size_t too_many = SIZE_MAX / 2;
  CHECK(lib_malloc(16 * MIB) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(lib_realloc(kept, 16 * MIB) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(lib_calloc(too_many, 3) == NULL && errno == ENOMEM);
  errno = 0;
  CHECK(lib_reallocarray(kept, too_many, 3) == NULL && errno == ENOMEM);
  CHECK(lib_aligned_alloc(3, 100) == NULL && errno == EINVAL);
  /* POSIX: the result says it, errno and *out stay. */
  errno = TEST_ERRNO;
  CHECK_EQ(lib_posix_memalign(&out, 24, 100), EINVAL);
  CHECK_EQ(lib_posix_memalign(&out, 4, 100), EINVAL);
  CHECK_EQ(lib_posix_memalign(&out, 0, 100), EINVAL);
  CHECK_EQ(lib_posix_memalign(&out, 64, 16 * MIB), ENOMEM);
  CHECK(errno == TEST_ERRNO && out == &out);
  lib_free(kept);
}

static void hooks__realloc_to_zero_frees_where_that_is_asked_for(void **state) {
  (void)state;
  void *block = lib_realloc(lib_malloc(100), 0);
  CHECK(block != NULL && live(g_heap) == 1);
  lib_free(block);

  CHECK(frees_realloc(frees_malloc(100), 0) == NULL);
  CHECK(frees_realloc_sized(frees_malloc(100), 100, 0) == NULL);
  CHECK(frees_reallocarray(frees_malloc(100), 0, 8) == NULL);
  CHECK(frees_reallocarray(frees_malloc(100), 8, 0) == NULL);
  CHECK(frees_realloc(NULL, 0) == NULL);
  CHECK_EQ(live(g_heap), 0);
  block = frees_realloc(NULL, 10);
  CHECK(block != NULL && hak_heap_of(block) == g_heap);
  frees_free(block);
}

static void hooks__the_heap_is_asked_for_at_each_allocation(void **state) {
  (void)state;
  g_asked = 0;
  void *first = each_malloc(10);
  CHECK_EQ(g_asked, 1);
  hak_heap_t *kept = g_heap;
  g_heap = NULL; /* the default heap */
  void *second = each_strdup("of the default heap");
  CHECK_EQ(g_asked, 2);
  /* A block stays in its heap, and is freed without asking. */
  first = each_realloc(first, 10000);
  g_heap = kept;
  CHECK(hak_heap_of(first) == g_heap);
  CHECK(hak_heap_of(second) == hak_heap_default());
  g_asked = 0;
  each_free(first);
  each_free(second);
  CHECK_EQ(g_asked, 0);
}

static void hooks__with_a_pointer_take_the_heap_as_it(void **state) {
  (void)state;
  void *a = hak_hook_alloc(g_heap, 100);
  void *b = hak_hook_calloc(g_heap, 10, 10);
  void *c = hak_hook_realloc(g_heap, NULL, 10);
  void *d = hak_hook_resize(g_heap, NULL, 5, 100); /* 5: Lua's kind of object */
  CHECK_EQ(live(g_heap), 4);
  c = hak_hook_realloc(g_heap, c, 10000);
  d = hak_hook_resize(g_heap, d, 100, 10000);
  CHECK_EQ(live(g_heap), 4);
  CHECK(hak_hook_resize(g_heap, d, 10000, 0) == NULL);
  CHECK(hak_hook_resize(g_heap, NULL, 0, 0) == NULL);
  hak_hook_free(g_heap, a);
  hak_hook_free(g_heap, b);
  hak_hook_free(g_heap, c);
  void *e = hak_hook_alloc(NULL, 10);
  CHECK(hak_heap_of(e) == hak_heap_default());
  hak_hook_free(NULL, e);
}

/* ---- The heap that a thread uses --------------------------------------- */

static void current__is_what_the_thread_was_given(void **state) {
  (void)state;
  errno = TEST_ERRNO;
  CHECK(hak_heap_current() == NULL);
  CHECK(hak_heap_use(g_heap) == NULL);
  CHECK(hak_heap_current() == g_heap);
  void *of_heap = own_malloc(10), *of_default = hak_alloc(10);
  CHECK(hak_heap_of(of_heap) == g_heap);
  CHECK(hak_heap_of(of_default) == hak_heap_default());
  CHECK(hak_heap_use(NULL) == g_heap);
  CHECK_EQ(errno, TEST_ERRNO);
  void *after = own_malloc(10);
  CHECK(hak_heap_of(after) == hak_heap_default());
  own_free(of_heap);
  own_free(of_default);
  own_free(after);
}

static void *other_thread(void *ctx) {
  CHECK(hak_heap_current() == NULL);
  CHECK(hak_heap_use(ctx) == NULL);
  hak_thread_exit(); /* nothing that is given up is the program's choice */
  CHECK(hak_heap_current() == ctx);
  void *block = own_malloc(100);
  CHECK(hak_heap_of(block) == ctx);
  return block;
}

static void *use_and_free(void *ctx) {
  own_free(other_thread(ctx));
  return NULL;
}

static void current__each_thread_has_its_own(void **state) {
  (void)state;
  hak_heap_t *mine = hak_heap_create(NULL);
  CHECK(hak_heap_use(mine) == NULL);
  test_thread_run(use_and_free, g_heap);
  CHECK(hak_heap_current() == mine);
  test_thread_run(use_and_free, g_heap);
  CHECK(hak_heap_use(NULL) == mine);
  CHECK_EQ(hak_heap_destroy(mine), 0);
}

static void current__a_heap_that_is_gone_is_reported(void **state) {
  (void)state;
  hak_heap_t *gone = hak_heap_create(NULL);
  hak_heap_use(gone);
  CHECK_EQ(hak_heap_destroy(gone), 0);
  test_reports_begin();
  CHECK(own_malloc(10) == NULL && errno == EINVAL);
  test_reports_end(1, HAK_ERROR_STALE_HEAP);
  CHECK(hak_heap_use(NULL) == gone);
}

#define HOOKS(name) cmocka_unit_test_setup_teardown(name, begin, end)

TEST_MAIN(HOOKS(hooks__every_function_allocates_from_the_heap),
          HOOKS(hooks__failures_are_those_of_the_heap),
          HOOKS(hooks__realloc_to_zero_frees_where_that_is_asked_for),
          HOOKS(hooks__the_heap_is_asked_for_at_each_allocation),
          HOOKS(hooks__with_a_pointer_take_the_heap_as_it),
          HOOKS(current__is_what_the_thread_was_given),
          HOOKS(current__each_thread_has_its_own),
          HOOKS(current__a_heap_that_is_gone_is_reported))
