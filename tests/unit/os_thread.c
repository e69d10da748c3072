/* os_thread.c - a thread of the library's own that cannot be had. Linked with
 * --wrap=pthread_create and --wrap=pthread_attr_init. */
#include "child.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <unistd.h>

#include "base/sys.h"

static int g_attr_error, g_create_error, g_created;
static bool g_small_refused;

int __real_pthread_attr_init(pthread_attr_t *attributes);
int __wrap_pthread_attr_init(pthread_attr_t *attributes);
int __wrap_pthread_attr_init(pthread_attr_t *attributes) {
  return g_attr_error != 0 ? g_attr_error : __real_pthread_attr_init(attributes);
}

typedef void *(thread_fn)(void *);
int __real_pthread_create(pthread_t *id, const pthread_attr_t *how, thread_fn *fn,
                          void *ctx);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *how, thread_fn *fn,
                          void *ctx);
int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *how, thread_fn *fn,
                          void *ctx) {
  g_created++;
  if (g_small_refused && how != NULL) return EINVAL;
  return g_create_error != 0 ? g_create_error : __real_pthread_create(id, how, fn, ctx);
}

static hak_atomic_u32_t g_ran;
static void *run(void *ctx) {
  hak_add_relaxed(&g_ran, 1);
  return ctx;
}

static void thread__that_cannot_be_made_is_told_and_names_none(void **state) {
  (void)state;
  uint64_t thread = TEST_ERRNO;
  errno = TEST_ERRNO;
  g_attr_error = ENOMEM;
  CHECK_EQ(hak_sys_thread_begin(&thread, "test", run), ENOMEM);
  CHECK(g_created == 0 && thread == TEST_ERRNO);
  g_attr_error = 0;
  g_create_error = EAGAIN;
  CHECK_EQ(hak_sys_thread_begin(&thread, "test", run), EAGAIN);
  CHECK(g_created == 1 && thread == TEST_ERRNO);
  g_create_error = 0;
  CHECK_EQ(hak_sys_thread_begin(&thread, "test", run), 0);
  hak_sys_thread_join(thread);
  CHECK(hak_load_relaxed(&g_ran) == 1 && errno == TEST_ERRNO);
}

/* More than the thread is to have of a stack; glibc takes it from there. */
static _Thread_local volatile char g_large_tls[256 << 10];
static void *use_stack(void *ctx) {
  volatile char bytes[100 << 10];
  for (size_t at = 0; at < sizeof bytes; at += 4096) bytes[at] = 1;
  g_large_tls[0] = bytes[4096];
  hak_add_relaxed(&g_ran, (uint32_t)g_large_tls[0]);
  return ctx;
}

static void thread__has_its_stack_beside_large_thread_local_storage(void **state) {
  (void)state;
  uint64_t thread = TEST_ERRNO;
  hak_store_relaxed(&g_ran, 0);
  g_created = 0;
  CHECK_EQ(hak_sys_thread_begin(&thread, "test", use_stack), 0);
  hak_sys_thread_join(thread);
  CHECK(hak_load_relaxed(&g_ran) == 1 && g_created == 1);
}

/* As where libraries, or what is kept for them, have much of it. */
static void thread__has_a_usual_stack_where_a_small_one_is_refused(void **state) {
  (void)state;
  uint64_t thread = TEST_ERRNO;
  hak_store_relaxed(&g_ran, 0);
  g_small_refused = true;
  CHECK_EQ(hak_sys_thread_begin(&thread, "test", use_stack), 0);
  hak_sys_thread_join(thread);
  g_small_refused = false;
  CHECK_EQ(hak_load_relaxed(&g_ran), 1);
}

/* The lock of the loader's that the thread holds nobody frees in the child. */
static pthread_barrier_t g_inside, g_go_on;
static int wait_inside(struct dl_phdr_info *object, size_t size, void *ctx) {
  (void)object;
  (void)size;
  (void)ctx;
  (void)pthread_barrier_wait(&g_inside);
  (void)pthread_barrier_wait(&g_go_on);
  return 1;
}
static void *look_at_objects(void *ctx) {
  (void)dl_iterate_phdr(wait_inside, NULL);
  return ctx;
}

static void thread__begins_in_the_child_of_a_fork_beside_the_loader(void **state) {
  (void)state;
  if (TEST_TSAN || TEST_ASAN) return; /* which look at objects themselves at a fork */
  pthread_t thread;
  CHECK_EQ(pthread_barrier_init(&g_inside, NULL, 2), 0);
  CHECK_EQ(pthread_barrier_init(&g_go_on, NULL, 2), 0);
  CHECK_EQ(pthread_create(&thread, NULL, look_at_objects, NULL), 0);
  (void)pthread_barrier_wait(&g_inside);
  pid_t pid = test_fork();
  if (pid == 0) {
    uint64_t own;
    alarm(10);
    CHECK_EQ(hak_sys_thread_begin(&own, "test", run), 0);
    hak_sys_thread_join(own);
    _exit(0);
  }
  test_fork_end(pid);
  (void)pthread_barrier_wait(&g_go_on);
  CHECK_EQ(pthread_join(thread, NULL), 0);
  CHECK_EQ(pthread_barrier_destroy(&g_inside), 0);
  CHECK_EQ(pthread_barrier_destroy(&g_go_on), 0);
}

TEST_IN_CHILD(thread__is_not_begun_while_the_object_goes, 10) {
  uint64_t thread = TEST_ERRNO;
  g_created = 0;
  hak_sys_begin_unloading();
  CHECK_EQ(hak_sys_thread_begin(&thread, "test", run), EAGAIN);
  CHECK(g_created == 0 && thread == TEST_ERRNO);
}

TEST_MAIN_FRESH(T(thread__that_cannot_be_made_is_told_and_names_none),
                T(thread__has_its_stack_beside_large_thread_local_storage),
                T(thread__has_a_usual_stack_where_a_small_one_is_refused),
                T(thread__begins_in_the_child_of_a_fork_beside_the_loader),
                T(thread__is_not_begun_while_the_object_goes))
