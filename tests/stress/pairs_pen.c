/* pairs_pen.c - see pairs.h */
#include "pairs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

const char *const kind_names[KINDS] = {"default", "plain",   "child",     "serial",
                                       "arena",   "plot",    "own_hooks", "no_purge",
                                       "orphans", "pressure"};

/* ---- Gates ------------------------------------------------------------ */

bool pen_enter(pen_t *pen) {
  if (atomic_load(&pen->wanted) > 0) return false;
  return pen->kind == KIND_SERIAL ? pthread_rwlock_trywrlock(&pen->gate) == 0
                                  : pthread_rwlock_tryrdlock(&pen->gate) == 0;
}

/* Threads at work, which come again and again and never wait, keep off meanwhile. */
static void wait_alone(pen_t *pen) {
  atomic_fetch_add(&pen->wanted, 1);
  CHECK_EQ(pthread_rwlock_wrlock(&pen->gate), 0);
}

void pen_enter_wait(pen_t *pen) {
  if (pen->kind == KIND_SERIAL) {
    wait_alone(pen);
    atomic_fetch_sub(&pen->wanted, 1);
  } else {
    CHECK_EQ(pthread_rwlock_rdlock(&pen->gate), 0);
  }
}

void pen_leave(pen_t *pen) { CHECK_EQ(pthread_rwlock_unlock(&pen->gate), 0); }

void pen_close(pen_t *pen) { wait_alone(pen); }

void pen_open(pen_t *pen) {
  atomic_fetch_sub(&pen->wanted, 1);
  pen_leave(pen);
}

void pen_each(pair_t *pair, pen_t *pen, item_fn *fn, void *ctx) {
  for (size_t hand = 0; hand < HANDS; hand++) {
    for (size_t i = 0; i < OWN; i++) {
      if (atomic_load(&pen->own[hand][i]) != NULL) {
        fn(pair, pen, &pen->own[hand][i], ctx);
      }
    }
  }
  for (size_t i = 0; i < pen->places; i++) {
    if (atomic_load(&pen->shared[i]) != NULL) fn(pair, pen, &pen->shared[i], ctx);
  }
}

void pens_each(pair_t *pair, item_fn *fn, void *ctx) {
  for (size_t kind = 0; kind < KINDS; kind++) pen_each(pair, &pair->pens[kind], fn, ctx);
  pen_each(pair, &pair->loose, fn, ctx);
}

/* ---- Hooks of a heap's own -------------------------------------------- */

static pthread_mutex_t g_hooks_lock = PTHREAD_MUTEX_INITIALIZER;
static pen_hooks_t *g_hooks;

void pen_hooks_begin(void) {
  test_os_t os;
  test_os_open(&os, 0);
  test_os_close(&os);
}

static const hak_os_t *hooks_make(pen_t *pen) {
  pen_hooks_t *hooks = calloc(1, sizeof *hooks);
  CHECK(hooks != NULL);
  test_os_open(&hooks->os, 0);
  pthread_mutex_lock(&g_hooks_lock);
  hooks->next = g_hooks;
  g_hooks = hooks;
  pthread_mutex_unlock(&g_hooks_lock);
  pen->hooks = hooks;
  return &hooks->os.hooks;
}

void pen_hooks_end(pen_t *pen) {
  if (pen->hooks == NULL) return;
  CHECK_EQ(pen->hooks->os.ranges, 0);
  CHECK_EQ(pen->hooks->os.reserved_bytes, 0);
  CHECK_EQ(pen->hooks->os.committed_bytes, 0);
  pen->hooks->calls = test_os_calls(&pen->hooks->os);
  pen->hooks->ended = true;
  pen->hooks = NULL;
}

void pen_hooks_check_all(void) {
  for (pen_hooks_t *hooks = g_hooks; hooks != NULL; hooks = hooks->next) {
    /* Those of a released heap end when its last block goes. */
    CHECK_EQ(hooks->os.ranges, 0);
    if (hooks->ended) CHECK_EQ(test_os_calls(&hooks->os), hooks->calls);
  }
}

/* ---- Heaps ------------------------------------------------------------ */

/* The thread that calls is inside the gate already, unless it resizes a block that the
 * heap before this one has left. */
static int on_pressure(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  pen_t *pen = ctx;
  if (!pen_enter(pen)) return 0;
  test_rng_t rng = test_rng(needed, (uint64_t)level);
  int freed = 0;
  for (unsigned i = 0; i < 8 && heap == pen->handle; i++) {
    size_t place = (size_t)test_below(&rng, pen->places);
    item_t *item = atomic_exchange(&pen->shared[place], NULL);
    if (item == NULL) continue;
    item_free(item, &rng);
    freed = 1;
  }
  pen_leave(pen);
  return freed;
}

/* Memory that no heap has any more; that of a released one may be in use for long. */
static bool lend_memory(pen_t *pen, hak_heap_config_t *config) {
  for (size_t i = 0; i <= pen->memories && i < MEMORIES; i++) {
    if (i == pen->memories) {
      char *memory = mmap(NULL, pen->memory_size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      CHECK(memory != MAP_FAILED);
      pen->memory[pen->memories++] = memory;
    }
    config->memory = pen->memory[i];
    config->memory_size = pen->memory_size;
    pen->handle = hak_heap_create(config);
    if (pen->handle != NULL) return true;
    CHECK_EQ(errno, EINVAL);
  }
  return false;
}

static void make_parent(pen_t *pen) {
  hak_heap_config_t config = {.struct_size = sizeof config, .name = "parent"};
  config.soft_limit = 64 * MIB;
  config.hard_limit = 96 * MIB;
  pen->parent = hak_heap_create(&config);
  CHECK(pen->parent != NULL);
}

bool pen_make(pen_t *pen, test_rng_t *rng) {
  hak_heap_config_t config = {.struct_size = sizeof config};
  config.name = kind_names[pen->kind];
  bool below = pen->kind == KIND_CHILD || pen->kind == KIND_ORPHANS;
  if (below && pen->parent == NULL) make_parent(pen);
  config.parent = pen->parent;
  switch (pen->kind) {
    case KIND_DEFAULT:
      pen->handle = hak_heap_default();
      return true;
    case KIND_CHILD:
      config.hard_limit = 24 * MIB;
      break;
    case KIND_SERIAL:
      config.flags = HAK_HEAP_SERIAL;
      break;
    case KIND_HOOKS:
      config.os = hooks_make(pen);
      break;
    case KIND_NO_PURGE:
      config.flags = HAK_HEAP_NO_PURGE;
      break;
    case KIND_PRESSURE:
      config.soft_limit = 6 * MIB;
      config.hard_limit = 12 * MIB + (size_t)test_below(rng, 100000);
      config.on_pressure = on_pressure;
      config.ctx = pen;
      break;
    case KIND_ARENA:
    case KIND_PLOT:
      return lend_memory(pen, &config);
    default:
      break;
  }
  pen->handle = hak_heap_create(&config);
  CHECK(pen->handle != NULL);
  return true;
}

void pen_init(pen_t *pen, kind_t kind, size_t places, test_rng_t *rng) {
  pen->kind = kind;
  pen->places = places;
  CHECK_EQ(pthread_rwlock_init(&pen->gate, NULL), 0);
  pen->memory_size = kind == KIND_ARENA ? 256 * KIB + (size_t)test_below(rng, 4 * MIB)
                                        : 18 * MIB + 4096 * (size_t)test_below(rng, 1024);
  bool may_fail = kind == KIND_CHILD || kind == KIND_ARENA || kind == KIND_PLOT ||
                  kind == KIND_ORPHANS || kind == KIND_PRESSURE;
  atomic_store(&pen->may_fail, may_fail);
}

void pens_open(pair_t *pair) {
  test_rng_t rng = test_rng(pair->seed, 1);
  for (size_t kind = 0; kind < KINDS; kind++) {
    pen_init(&pair->pens[kind], (kind_t)kind, SHARED, &rng);
    CHECK(pen_make(&pair->pens[kind], &rng));
  }
  /* Its items need no order among threads: any kind but a serial one will do. */
  pen_init(&pair->loose, KIND_PLAIN, LOOSE, &rng);
}

void pen_end(pen_t *pen) {
  if (pen->kind != KIND_DEFAULT) CHECK_EQ(hak_heap_destroy(pen->handle), 0);
  pen_hooks_end(pen);
  if (pen->parent != NULL) CHECK_EQ(hak_heap_destroy(pen->parent), 0);
  pen->parent = NULL;
  pen->handle = NULL;
  for (size_t i = 0; i < pen->memories; i++) {
    /* Nothing of the library's looks at it any more. */
    CHECK_EQ(munmap(pen->memory[i], pen->memory_size), 0);
  }
  CHECK_EQ(pthread_rwlock_destroy(&pen->gate), 0);
}

void pens_close(pair_t *pair) {
  for (size_t kind = 0; kind < KINDS; kind++) pen_end(&pair->pens[kind]);
}
