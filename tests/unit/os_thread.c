/* os_thread.c - a thread of the library's own that cannot be had. Linked with
 * --wrap=pthread_create and --wrap=pthread_attr_init. */
#include "child.h"

#include <errno.h>
#include <pthread.h>

#include "base/sys.h"

static int g_attr_error, g_create_error, g_created;

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
  CHECK_EQ(hak_sys_thread_begin(&thread, "test", use_stack), 0);
  hak_sys_thread_join(thread);
  CHECK_EQ(hak_load_relaxed(&g_ran), 1);
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
                T(thread__is_not_begun_while_the_object_goes))
