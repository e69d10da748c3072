/* fork_hooks.c - the first thread forks inside of a hook or a callback of the program's,
 * which the library calls in the middle of something; others are anywhere. The child ends
 * what its thread was at, and goes on.
 */
#include "hakmem/hakmem.h"
#include "hakmem/introspect.h"
#include "heap/fork.h"
#include "heap/heap.h"
#include "heap/thread_state.h"
#include "start.h"

enum {
  SIZE = 8192,
  OTHER = 1024, /* of which there is no slab yet */
  LARGE = 128 * 1024,
  MAPPED = 3 << 20, /* with a mapping of its own, if LARGE_MAX says so */
  LARGE_MAX = 1 << 20,
  LIMIT = 1 << 20,
  BLOCKS = 3
};

static hak_heap_t *heap, *limited;
static uint64_t *blocks[2][BLOCKS];
static hak_thread_t *forker;

/* --- hooks that fork, once ------------------------------------------------------- */

typedef enum where {
  NOWHERE_YET = 0,
  IN_RESERVE,
  IN_COMMIT,
  IN_PURGE,
  IN_RELEASE,
  IN_EVENT
} where_t;
static where_t armed;
static bool forked;

static void fork_here(void) {
  armed = NOWHERE_YET;
  hak_forking_prepare();
  explore_fork();
  hak_forking_child();
  forked = true;
}
static void come_to(where_t where) {
  if (hak_thread_self == forker && armed == where) fork_here();
}
static hak_os_t hooks;
static const hak_os_t *plain;
static void *reserve(void *ctx, size_t size, size_t alignment) {
  come_to(IN_RESERVE);
  return plain->reserve(ctx, size, alignment);
}
static int commit(void *ctx, void *ptr, size_t size, bool *zeroed) {
  come_to(IN_COMMIT);
  return plain->commit(ctx, ptr, size, zeroed);
}
static int purge(void *ctx, void *ptr, size_t size) {
  come_to(IN_PURGE);
  return plain->purge(ctx, ptr, size);
}
static int release(void *ctx, void *ptr, size_t size) {
  come_to(IN_RELEASE);
  return plain->release(ctx, ptr, size);
}
static void on_event(hak_event_t event, const void *address, size_t size, void *ctx) {
  (void)event, (void)address, (void)size, (void)ctx;
  come_to(IN_EVENT);
}
static const hak_os_t *forking_hooks(void) {
  plain = start_hooks();
  hooks = *plain;
  hooks.reserve = reserve;
  hooks.commit = commit;
  hooks.purge = purge;
  hooks.release = release;
  return &hooks;
}

/* --- the beginning --------------------------------------------------------------- */

static void have(unsigned thread) {
  start_thread();
  for (int i = 0; i < BLOCKS; i++) blocks[thread][i] = start_new_block_of_77(heap, SIZE);
}
static void have_0(void) {
  have(0);
  forker = hak_thread_self;
}
static void have_1(void) { have(1); }
static void start_with(const hak_os_t *os) {
  EXPLORE_CHECK(hak_option_set(HAK_OPTION_LARGE_MAX_BYTES, LARGE_MAX) == 0);
  hak_config_t config = HAK_CONFIG_INIT;
  config.os = os;
  EXPLORE_CHECK(hak_init(&config) == 0);
}
static void start(void) {
  start_with(forking_hooks());
  explore_as(0, have_0);
  explore_as(1, have_1);
}
/* The heap alone has them. */
static void start_own(void) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  start_library();
  start_caching();
  config.os = forking_hooks();
  heap = hak_heap_create(&config);
  EXPLORE_CHECK(heap != NULL);
  explore_as(0, have_0);
  explore_as(1, have_1);
}

/* --- the child ------------------------------------------------------------------- */

static void go_on(void) {
  if (!forked) return; /* what the other one gave up served, and no hook was called */
  EXPLORE_CHECK(hak_check(NULL) == 0);
  for (int i = 0; i < BLOCKS; i++) {
    EXPLORE_CHECK(blocks[0][i][0] == 77 && blocks[0][i][1] == 77);
    hak_free(blocks[0][i]);
  }
  for (int i = 0; i < BLOCKS; i++) blocks[0][i] = start_new_block_of_77(heap, SIZE);
  for (int i = 0; i < BLOCKS; i++) hak_free(blocks[0][i]);
  hak_free(start_new_block_of_77(heap, LARGE));
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  if (heap != NULL) EXPLORE_CHECK(hak_heap_destroy(heap) == 0);
  EXPLORE_CHECK(hak_check(NULL) == 0);
}
static void fork_in(where_t where, size_t size) {
  armed = where;
  uint64_t *block = start_new_block_of_77(heap, size);
  EXPLORE_CHECK(block[0] == 77);
  hak_free(block);
  go_on();
}
static void reserve_mapped(void) { fork_in(IN_RESERVE, MAPPED); }
static void commit_slab(void) { fork_in(IN_COMMIT, OTHER); }
static void commit_large(void) { fork_in(IN_COMMIT, LARGE); }
static void purge_all(void) {
  hak_free(start_new_block_of_77(heap, LARGE));
  armed = IN_PURGE;
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  go_on();
}
static void release_mapped(void) {
  uint64_t *block = start_new_block_of_77(heap, MAPPED);
  armed = IN_RELEASE;
  hak_free(block);
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  go_on();
}

/* --- what the other one does ----------------------------------------------------- */

static void alloc_new(void) { (void)start_new_block_of_77(heap, OTHER); }
static void alloc_large(void) { (void)start_new_block_of_77(heap, LARGE); }
static void free_and_idle(void) {
  for (int i = 0; i < BLOCKS; i++) hak_free(blocks[1][i]);
  hak_thread_idle();
}
static void free_and_collect(void) {
  free_and_idle();
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
}
static void come_and_go(void) {
  hak_heap_t *made = hak_heap_create(NULL);
  if (made != NULL) (void)hak_heap_destroy(made);
}

#define HOOK_SCENARIO(id, begin, forks_in, ...)                        \
  const explore_scenario_t fork_hook_##id = {.name = "fork_hook." #id, \
                                             .setup = begin,           \
                                             .forks = true,            \
                                             .child_waits = true,      \
                                             .is_wide = true,          \
                                             .thread = {forks_in, __VA_ARGS__}}
HOOK_SCENARIO(commit, start, commit_slab, alloc_new);
HOOK_SCENARIO(commit_large, start, commit_large, alloc_large);
HOOK_SCENARIO(commit_idle, start, commit_slab, free_and_idle);
HOOK_SCENARIO(commit_heap, start, commit_slab, come_and_go);
HOOK_SCENARIO(reserve, start, reserve_mapped, alloc_large);
HOOK_SCENARIO(purge, start, purge_all, free_and_collect);
HOOK_SCENARIO(release, start, release_mapped, free_and_collect);
HOOK_SCENARIO(own_commit, start_own, commit_slab, alloc_new);
HOOK_SCENARIO(own_commit_idle, start_own, commit_slab, free_and_idle);
HOOK_SCENARIO(own_purge, start_own, purge_all, free_and_collect);

/* --- events ---------------------------------------------------------------------- */

static void start_event(void) {
  start();
  hak_set_event_hook(on_event, NULL);
}
static void refill(void) { fork_in(IN_EVENT, OTHER); }
HOOK_SCENARIO(event, start_event, refill, free_and_idle);

/* --- a callback of pressure, which is outside of the library --------------------- */

static int on_pressure(hak_heap_t *of, size_t needed, int level, void *ctx) {
  (void)of, (void)needed, (void)level, (void)ctx;
  if (hak_thread_self != forker || forked) return 0;
  fork_here();
  EXPLORE_CHECK(hak_check(NULL) == 0);
  return 1;
}
static void start_limited(void) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  start_library();
  config.hard_limit = LIMIT;
  config.on_pressure = on_pressure;
  limited = hak_heap_create(&config);
  EXPLORE_CHECK(limited != NULL);
  explore_as(0, have_0);
  explore_as(1, have_1);
}
static void meet_limit(void) {
  void *block = hak_heap_alloc(limited, LIMIT);
  EXPLORE_CHECK(block == NULL);
  EXPLORE_CHECK(hak_heap_destroy(limited) == 0);
  go_on();
}
static void use_limited(void) {
  uint64_t *block = hak_heap_alloc(limited, LARGE);
  if (block != NULL) hak_free(block);
}
HOOK_SCENARIO(pressure, start_limited, meet_limit, free_and_idle);
HOOK_SCENARIO(pressure_beside, start_limited, meet_limit, use_limited);
