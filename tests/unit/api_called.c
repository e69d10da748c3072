/* api_called.c - calls that hooks, callbacks and visitors make where the library calls
 * them: hak_thread_exit leaves the state to the call that goes on, hak_shutdown is
 * refused, and what a hook allocates waits for nobody. */
#include "child.h"
#include "support.h"
#include "threads.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

static unsigned g_calls;

/* As hak_thread_idle: who is called here stays attached. */
static void leave(void) {
  uint64_t before = test_stats().thread_exits;
  g_calls++;
  hak_thread_exit();
  CHECK_EQ(test_stats().thread_exits, before);
}

static int leave_at_limit(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap;
  (void)needed;
  (void)level;
  (void)ctx;
  leave();
  return 0;
}

/* What lies ready for the thread gives way to a guarded block, which passes the soft
 * limit; and then a sample is taken with the thread's state. */
static void exit__at_a_limit_leaves_the_state_to_a_sample(void **state) {
  (void)state;
  HAK_SITE(site);
  void *blocks[100];
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.on_pressure = leave_at_limit});
  test_set(HAK_OPTION_SAMPLE_BYTES, 1);
  for (size_t round = 0; round < 4; round++) {
    test_set(HAK_OPTION_GUARD_SAMPLE, 0);
    CHECK_EQ(hak_heap_set_limits(heap, 0, 4 * MIB), 0);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) blocks[i] = hak_heap_alloc(heap, 64);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
    test_set(HAK_OPTION_GUARD_SAMPLE, 1);
    CHECK_EQ(hak_heap_set_limits(heap, 1, 4 * MIB), 0);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      blocks[i] = hak_heap_alloc_at(heap, 64, &site);
      CHECK(blocks[i] != NULL);
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) hak_free(blocks[i]);
  }
  CHECK(g_calls > 0);
  test_set(HAK_OPTION_SAMPLE_BYTES, 262144);
  test_set(HAK_OPTION_GUARD_SAMPLE, 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* --- a shutdown beside ----------------------------------------------------------------
 */

static pthread_barrier_t g_inside, g_go_on;

static int leave_and_wait(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)leave_at_limit(heap, needed, level, ctx);
  (void)pthread_barrier_wait(&g_inside);
  (void)pthread_barrier_wait(&g_go_on);
  return 0;
}

static void leave_and_wait_at(const hak_block_event_t *event, void *ctx) {
  (void)ctx;
  if (event->kind == HAK_BLOCK_FREE) (void)leave_and_wait(NULL, 0, 0, NULL);
}

static void *meet_the_limit(void *heap) {
  hak_free(hak_alloc(10)); /* is attached before */
  CHECK(hak_heap_alloc(heap, 2 * MIB) == NULL);
  return NULL;
}

static void *free_what_is_watched(void *heap) {
  hak_free(hak_alloc(10));
  hak_free(hak_heap_alloc(heap, 100));
  return NULL;
}

static void shutdown_beside(test_thread_fn *call, hak_heap_t *heap) {
  CHECK_EQ(pthread_barrier_init(&g_inside, NULL, 2), 0);
  CHECK_EQ(pthread_barrier_init(&g_go_on, NULL, 2), 0);
  pthread_t thread;
  test_threads_begin(&thread, 1, call, heap);
  (void)pthread_barrier_wait(&g_inside);
  CHECK_EQ(hak_shutdown(0), EBUSY);
  (void)pthread_barrier_wait(&g_go_on);
  test_threads_end(&thread, 1);
  CHECK_EQ(pthread_barrier_destroy(&g_inside), 0);
  CHECK_EQ(pthread_barrier_destroy(&g_go_on), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

static void exit__at_a_limit_is_no_leave_to_shut_down(void **state) {
  (void)state;
  shutdown_beside(meet_the_limit, test_heap_make((hak_heap_config_t){
                                      .hard_limit = MIB, .on_pressure = leave_and_wait}));
}

static void exit__in_a_block_hook_is_no_leave_to_shut_down(void **state) {
  (void)state;
  hak_heap_t *heap = test_heap(HAK_HEAP_WATCHED, "watched", NULL);
  CHECK_EQ(hak_heap_set_block_hook(heap, leave_and_wait_at, NULL), 0);
  shutdown_beside(free_what_is_watched, heap);
}

/* --- hooks for memory -----------------------------------------------------------------
 */

static int leave_and_commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  (void)ctx;
  hak_thread_exit();
  g_calls++;
  return hak_os_default()->commit(hak_os_default()->ctx, ptr, size, zeroed);
}

static void exit__in_a_hook_for_memory_leaves_the_state_to_the_call(void **state) {
  (void)state;
  hak_os_t os = *hak_os_default();
  os.commit = leave_and_commit;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.os = &os});
  void *blocks[200];
  uint64_t before = test_stats().thread_exits;
  g_calls = 0;
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      blocks[i] = hak_heap_alloc(heap, 1000 + 100 * i);
      CHECK(blocks[i] != NULL);
      test_fill(blocks[i], 1000, i);
    }
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
      CHECK(test_verify(blocks[i], 1000, i));
      hak_free(blocks[i]);
    }
    (void)hak_collect(heap, SIZE_MAX, HAK_COLLECT_ALL);
  }
  CHECK(g_calls > 0);
  CHECK_EQ(test_stats().thread_exits, before);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* Records of heaps are made before any state is asked for. */
TEST_IN_CHILD(exit__in_a_hook_for_records_is_no_leave_to_shut_down, 30) {
  (void)hak_shutdown(HAK_SHUTDOWN_FORCE);
  hak_os_t os = *hak_os_default();
  os.commit = leave_and_commit;
  hak_config_t config = {.struct_size = sizeof config, .os = &os};
  CHECK_EQ(hak_init(&config), 0);
  CHECK_EQ(hak_thread_init(), 0);
  uint64_t before = test_stats().thread_exits;
  g_calls = 0;
  for (int i = 0; i < 100; i++) CHECK(hak_heap_create(NULL) != NULL);
  CHECK(g_calls > 0);
  CHECK_EQ(test_stats().thread_exits, before);
  CHECK_EQ(hak_shutdown(0), 0); /* no stay is left */
}

/* --- a shutdown of one's own ----------------------------------------------------------
 */

static void shut_down(void) {
  g_calls++;
  CHECK_EQ(hak_shutdown(0), EBUSY);
}

static bool shut_down_at_place(const hak_site_info_t *site, void *ctx) {
  (void)site;
  (void)ctx;
  shut_down();
  return true;
}
static bool shut_down_at_heap(hak_heap_t *heap, void *ctx) {
  (void)heap;
  (void)ctx;
  shut_down();
  return false;
}
/* Once in each print: each refusal takes some 20 ms. */
static void shut_down_at_text(const char *text, size_t length, void *ctx) {
  (void)text;
  (void)length;
  bool *told = ctx;
  if (!*told) shut_down();
  *told = true;
}

static void shutdown__by_what_is_called_is_refused(void **state) {
  (void)state;
  HAK_SITE(site);
  void *block = hak_alloc_at(100, &site);
  g_calls = 0;
  CHECK_EQ(hak_sites_visit(shut_down_at_place, NULL), 0);
  CHECK(g_calls > 0);
  CHECK_EQ(hak_visit_heaps(shut_down_at_heap, NULL), 0);
  bool told = false;
  CHECK_EQ(hak_sites_print(HAK_FORMAT_JSON, shut_down_at_text, &told), 0);
  CHECK(told);
  told = false;
  CHECK_EQ(hak_sites_print(HAK_FORMAT_PPROF, shut_down_at_text, &told), 0);
  CHECK(told);
  told = false;
  CHECK_EQ(hak_heaps_print(HAK_FORMAT_JSON, shut_down_at_text, &told), 0);
  CHECK(told);
  told = false;
  CHECK_EQ(hak_learned_save("build", shut_down_at_text, &told), 0);
  CHECK(told);
  hak_free(block);
  CHECK_EQ(hak_check(NULL), 0);
}

/* At a limit and in hooks for memory nothing but the thread's own state says so. */
static int shut_down_at_limit(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap;
  (void)needed;
  (void)level;
  (void)ctx;
  shut_down();
  return 0;
}

static void shutdown__in_a_callback_at_a_limit_is_refused(void **state) {
  (void)state;
  g_calls = 0;
  hak_heap_t *heap = test_heap_make(
      (hak_heap_config_t){.hard_limit = MIB, .on_pressure = shut_down_at_limit});
  CHECK(hak_heap_alloc(heap, 2 * MIB) == NULL);
  CHECK_EQ(g_calls, 1);
  CHECK_EQ(hak_heap_set_limits(heap, MIB / 2, 0), 0);
  void *block = hak_heap_alloc(heap, MIB - 1);
  CHECK(block != NULL);
  CHECK_EQ(g_calls, 2);
  hak_free(block);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

static int shut_down_and_commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  (void)ctx;
  shut_down();
  return hak_os_default()->commit(hak_os_default()->ctx, ptr, size, zeroed);
}
static int shut_down_and_release(void *ctx, void *ptr, size_t size) {
  (void)ctx;
  shut_down();
  return hak_os_default()->release(hak_os_default()->ctx, ptr, size);
}

static void shutdown__in_a_hook_for_memory_is_refused(void **state) {
  (void)state;
  hak_os_t os = *hak_os_default();
  os.commit = shut_down_and_commit;
  os.release = shut_down_and_release;
  g_calls = 0;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.os = &os});
  void *block = hak_heap_alloc(heap, 100);
  CHECK(block != NULL);
  CHECK(g_calls > 0);
  hak_free(block);
  g_calls = 0;
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK(g_calls > 0);
  CHECK_EQ(hak_check(NULL), 0);
}

/* --- a thread that has no state of its own ---------------------------------------------
 */

static pthread_key_t g_late;

static int allocate_and_commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  (void)ctx;
  void *block = hak_alloc(100);
  CHECK(block != NULL);
  hak_free(block);
  g_calls++;
  return hak_os_default()->commit(hak_os_default()->ctx, ptr, size, zeroed);
}

/* Comes once more each time, until the library's destructor has been there. */
static void allocate_late(void *heap) {
  enum {
    ROUNDS = 3
  };
  static unsigned rounds;
  if (++rounds < ROUNDS) {
    CHECK_EQ(pthread_setspecific(g_late, heap), 0);
    return;
  }
  for (size_t size = 100; size < 64 * MIB; size *= 4) {
    void *block = hak_heap_alloc(heap, size);
    CHECK(block != NULL);
    hak_free(block);
  }
}

static void *end_late(void *heap) {
  hak_free(hak_alloc(10)); /* is attached before */
  CHECK_EQ(pthread_setspecific(g_late, heap), 0);
  return NULL;
}

/* A thread that ends calls `late` with a heap whose pages come by `commit`. */
static void call_late(void (*late)(void *heap),
                      int (*commit)(void *ctx, void *ptr, size_t size, bool *zeroed)) {
  hak_os_t os = *hak_os_default();
  os.commit = commit;
  hak_heap_t *heap = test_heap_make((hak_heap_config_t){.os = &os});
  CHECK_EQ(pthread_key_create(&g_late, late), 0);
  g_calls = 0;
  test_thread_run(end_late, heap);
  CHECK(g_calls > 0);
  CHECK_EQ(pthread_key_delete(g_late), 0);
  CHECK_EQ(hak_heap_destroy(heap), 0);
  CHECK_EQ(hak_check(NULL), 0);
}

TEST_IN_CHILD(allocation__in_a_hook_of_an_ending_thread_does_not_wait_for_itself, 30) {
  call_late(allocate_late, allocate_and_commit);
}

/* --- a fork there ----------------------------------------------------------------------
 */

static bool g_forked; /* in the child, and while one is awaited */

static int fork_and_commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  (void)ctx;
  if (!g_forked) {
    g_forked = true;
    g_calls++;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child != 0) {
      int status = -1;
      CHECK_EQ(waitpid(child, &status, 0), child);
      CHECK_EQ(status, 0);
      g_forked = false;
    }
  }
  return hak_os_default()->commit(hak_os_default()->ctx, ptr, size, zeroed);
}

/* Goes on in each child with the call that forked. */
static void fill_late(void *heap) {
  enum {
    ROUNDS = 3,
    BLOCKS = 64
  };
  static unsigned rounds;
  static size_t sizes[BLOCKS];
  static char *blocks[BLOCKS];
  if (++rounds < ROUNDS) {
    CHECK_EQ(pthread_setspecific(g_late, heap), 0);
    return;
  }
  bool ok = true;
  for (size_t i = 0; i < BLOCKS; i++) {
    sizes[i] = (size_t)100 << i % 16;
    blocks[i] = hak_heap_alloc(heap, sizes[i]);
    ok = ok && blocks[i] != NULL;
    if (ok) test_fill(blocks[i], sizes[i], i);
  }
  for (size_t i = 0; ok && i < BLOCKS; i++) {
    ok = test_verify(blocks[i], sizes[i], i);
    hak_free(blocks[i]);
  }
  ok = ok && hak_check(NULL) == 0;
  if (g_forked) _exit(ok ? 0 : 1);
  CHECK(ok);
}

TEST_IN_CHILD(fork__in_a_hook_of_an_ending_thread_leaves_the_call_its_state, 60) {
  call_late(fill_late, fork_and_commit);
}

TEST_MAIN(T(exit__at_a_limit_leaves_the_state_to_a_sample),
          T(exit__at_a_limit_is_no_leave_to_shut_down),
          T(exit__in_a_block_hook_is_no_leave_to_shut_down),
          T(exit__in_a_hook_for_memory_leaves_the_state_to_the_call),
          T(exit__in_a_hook_for_records_is_no_leave_to_shut_down),
          T(shutdown__by_what_is_called_is_refused),
          T(shutdown__in_a_callback_at_a_limit_is_refused),
          T(shutdown__in_a_hook_for_memory_is_refused),
          T(allocation__in_a_hook_of_an_ending_thread_does_not_wait_for_itself),
          T(fork__in_a_hook_of_an_ending_thread_leaves_the_call_its_state))
