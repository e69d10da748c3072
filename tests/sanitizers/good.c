/* good.c - programs that do nothing wrong, of which no tool may say anything. */
#include "blocks.h"

#include <errno.h>
#include <hakmem/hooks.h>
#include <hakmem/je.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
  MIB = 1 << 20,
  SIZES = 9,
  THREADS = 4,
  ROUNDS = 300
};
static const size_t sizes[SIZES] = {0, 1, 16, 100, 1000, 5000, 70000, MIB + 1, 40 * MIB};

static void fill(void *p, size_t size) {
  CHECK(p != NULL);
  memset(p, 0x5a, size);
}

static void all_sizes(void) {
  for (int i = 0; i < SIZES; i++) {
    char *p = hak_alloc(sizes[i]);
    fill(p, sizes[i]);
    CHECK(sizes[i] == 0 || p[sizes[i] - 1] == 0x5a);
    hak_free(p);
  }
  hak_free(NULL);
}
static void all_usable(void) {
  for (int i = 0; i < SIZES; i++) {
    char *p = hak_alloc(sizes[i]);
    fill(p, hak_usable_size(p));
    CHECK(hak_usable_size(p) >= sizes[i]);
    hak_free_sized(p, hak_usable_size(p));
  }
}
static void good_sizes(void) {
  for (int i = 0; i < SIZES; i++) {
    size_t good = hak_good_size(sizes[i]), usable;
    char *p = hak_alloc_usable(good, &usable);
    CHECK(usable >= good && good >= sizes[i]);
    fill(p, usable);
    CHECK(hak_free_usable(p) == usable);
  }
}
static void jemallocs_sizes(void) {
  for (int i = 1; i < SIZES; i++) {
    for (int lg = 0; lg < 16; lg += 3) {
      size_t good = nallocx(sizes[i], MALLOCX_LG_ALIGN(lg));
      char *p = mallocx(good, MALLOCX_LG_ALIGN(lg));
      fill(p, good);
      sdallocx(p, good, MALLOCX_LG_ALIGN(lg));
      p = mallocx(sizes[i], MALLOCX_LG_ALIGN(lg));
      fill(p, sizes[i]);
      sdallocx(p, nallocx(sizes[i], MALLOCX_LG_ALIGN(lg)), MALLOCX_LG_ALIGN(lg));
    }
  }
}
static void zeroes(void) {
  for (int i = 1; i < SIZES; i++) {
    char *p = hak_calloc(1, sizes[i]),
         *q = hak_allocx(NULL, sizes[i], 64, HAK_ZERO, NULL);
    CHECK(p != NULL && q != NULL);
    for (size_t k = 0; k < sizes[i]; k += 97) CHECK(p[k] == 0 && q[k] == 0);
    hak_free(p);
    hak_free(q);
  }
}
static void alignments(void) {
  for (size_t a = 1; a <= 4 * MIB; a *= 2) {
    char *p = hak_aligned_alloc(a, 100);
    fill(p, 100);
    CHECK((uintptr_t)p % a == 0);
    p = hak_aligned_realloc(p, a, 3000);
    CHECK(p != NULL && (uintptr_t)p % a == 0 && p[99] == 0x5a);
    hak_free_aligned_sized(p, a, 3000);
  }
}
static void grows(void) {
  size_t size = 1;
  char *p = hak_alloc(size);
  fill(p, size);
  for (; size < 8 * MIB; size = size * 3 / 2 + 1) {
    p = hak_realloc(p, size);
    CHECK(p != NULL && p[0] == 0x5a);
    fill(p, size);
  }
  for (; size > 1; size /= 2) p = hak_realloc(p, size);
  hak_free(p);
}
static void grows_with_zeroes(void) {
  char *p = hak_allocx(NULL, 100, 0, HAK_ZERO, NULL);
  for (size_t size = 200; size < MIB; size *= 2) {
    p = hak_reallocx(NULL, p, size, 0, HAK_ZERO, NULL);
    CHECK(p != NULL && p[size - 1] == 0);
  }
  hak_free(p);
}
static void in_place(void) {
  char *p = hak_alloc(1000);
  size_t now = hak_resize_in_place(p, 500, 600);
  CHECK(now >= 500);
  fill(p, hak_usable_size(p));
  void *same = hak_reallocx(NULL, p, 400, 0, HAK_NO_MOVE, NULL);
  CHECK(same == p);
  hak_free(p);
}
static void arrays(void) {
  int *p = hak_reallocarray(NULL, 10, sizeof *p);
  p = hak_reallocarray(p, 1000, sizeof *p);
  fill(p, 1000 * sizeof *p);
  errno = 0;
  CHECK(hak_reallocarray(p, SIZE_MAX / 2, 4) == NULL && errno == ENOMEM);
  hak_free(p);
}
static void strings(void) {
  char *a = hak_strdup("a string"), *b = hak_strndup("a string", 3);
  CHECK(strcmp(a, "a string") == 0 && strcmp(b, "a s") == 0);
  hak_free(a);
  hak_free(b);
}
static void absurd_sizes(void) {
  CHECK(hak_alloc(SIZE_MAX) == NULL && errno == ENOMEM);
  CHECK(hak_alloc(PTRDIFF_MAX) == NULL && errno == ENOMEM);
  CHECK(hak_calloc(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
  CHECK(hak_aligned_alloc(64, PTRDIFF_MAX - 64) == NULL && errno == ENOMEM);
  CHECK(hak_aligned_alloc(3, 100) == NULL && errno == EINVAL);
  char *p = hak_alloc(10);
  CHECK(hak_realloc(p, PTRDIFF_MAX) == NULL && errno == ENOMEM);
  hak_free(p);
}
static void many(void) {
  enum {
    COUNT = 20000
  };
  static char *blocks[COUNT];
  for (int i = 0; i < COUNT; i++) fill(blocks[i] = hak_alloc(8 + i % 200), 8);
  for (int i = 0; i < COUNT; i += 2) hak_free(blocks[i]);
  for (int i = 0; i < COUNT; i += 2) fill(blocks[i] = hak_alloc(300), 300);
  for (int i = 0; i < COUNT; i++) hak_free(blocks[i]);
}

/* --- threads
 * ------------------------------------------------------------------------------ */

static void threads(void *(*fn)(void *)) {
  pthread_t all[THREADS];
  for (intptr_t i = 0; i < THREADS; i++) {
    CHECK(pthread_create(&all[i], NULL, fn, (void *)i) == 0);
  }
  for (int i = 0; i < THREADS; i++) CHECK(pthread_join(all[i], NULL) == 0);
}
static void *churn(void *seed) {
  char *kept[16] = {NULL};
  for (int i = 0; i < ROUNDS; i++) {
    int at = (i * 7 + (int)(intptr_t)seed) % 16;
    hak_free(kept[at]);
    fill(kept[at] = hak_alloc((size_t)(i * 37 % 3000)), 0);
  }
  for (int i = 0; i < 16; i++) hak_free(kept[i]);
  return NULL;
}
static void threads_churn(void) { threads(churn); }

static pthread_mutex_t g_mutex = PTHREAD_MUTEX_INITIALIZER;
static char *g_shelf[64];
static hak_heap_t *g_heap;
static void *swap(void *seed) {
  for (int i = 0; i < ROUNDS; i++) {
    char *mine = hak_heap_alloc(g_heap, 50 + (size_t)i);
    fill(mine, 50);
    pthread_mutex_lock(&g_mutex);
    char **place = &g_shelf[(i + (int)(intptr_t)seed) % 64], *theirs = *place;
    *place = mine;
    pthread_mutex_unlock(&g_mutex);
    if (theirs != NULL) CHECK(theirs[49] == 0x5a);
    hak_free(theirs);
  }
  return NULL;
}
static void empty_shelf(void) {
  for (int i = 0; i < 64; i++) hak_free(g_shelf[i]);
  memset(g_shelf, 0, sizeof g_shelf);
}
static void threads_exchange(void) {
  threads(swap);
  empty_shelf();
}
static void threads_exchange_heap(void) {
  g_heap = hak_heap_create(NULL);
  threads(swap);
  CHECK(hak_heap_destroy(g_heap) == 0);
}
/* A block given on by a lock that the tool sees: its next owner writes where the last one
 * did. */
static void *reuse(void *seed) {
  (void)seed;
  for (int i = 0; i < ROUNDS; i++) {
    char *p = hak_alloc(64);
    fill(p, 64);
    hak_free(p);
  }
  hak_thread_idle();
  return NULL;
}
static void threads_reuse(void) { threads(reuse); }
static void *with_own_heap(void *seed) {
  (void)seed;
  for (int i = 0; i < 20; i++) {
    hak_heap_t *heap = hak_heap_create(NULL);
    for (int k = 0; k < 10; k++) fill(hak_heap_alloc(heap, 100), 100);
    CHECK(hak_heap_destroy(heap) == 0);
  }
  return NULL;
}
static void threads_heaps(void) { threads(with_own_heap); }

/* --- heaps
 * -------------------------------------------------------------------------------- */

static void heap_with(uint32_t flags) {
  hak_heap_config_t config = {.struct_size = sizeof config, .flags = flags, .name = "h"};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  for (int i = 0; i < SIZES; i++) fill(hak_heap_alloc(heap, sizes[i]), sizes[i]);
  char *p = hak_heap_realloc(heap, hak_heap_calloc(heap, 3, 7), 900);
  fill(p, 900);
  CHECK(hak_heap_of(p + 5) == heap && hak_check(heap) == 0);
  hak_heap_free(heap, p);
  CHECK(hak_heap_reset(heap) == 0);
  fill(hak_heap_aligned_alloc(heap, 128, 1000), 1000);
  CHECK(hak_heap_destroy(heap) == 0);
}
static void heap_plain(void) { heap_with(0); }
static void heap_serial(void) { heap_with(HAK_HEAP_SERIAL); }
static void heap_no_purge(void) { heap_with(HAK_HEAP_NO_PURGE); }
static void heap_children(void) {
  hak_heap_t *parent = hak_heap_create(NULL);
  hak_heap_config_t config = {.struct_size = sizeof config, .parent = parent};
  hak_heap_t *child = hak_heap_create(&config), *other = hak_heap_create(&config);
  fill(hak_heap_alloc(child, 100), 100);
  char *p = hak_heap_alloc(other, 100);
  CHECK(hak_heap_release(other) == 0 && hak_heap_of(p) == parent);
  fill(p, 100);
  CHECK(hak_heap_destroy(parent) == EBUSY);
  CHECK(hak_heap_destroy(child) == 0 && hak_heap_destroy(parent) == 0);
}
static void heap_released(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  char *p = hak_heap_alloc(heap, 100), *q = hak_heap_alloc(heap, 2 * MIB);
  CHECK(hak_heap_release(heap) == 0);
  fill(q, 2 * MIB);
  hak_free(p);
  CHECK(hak_heap_of(q) == hak_heap_default());
  q = hak_realloc(q, 3 * MIB);
  hak_free(q);
}
static void heap_limited(void) {
  hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = MIB};
  hak_heap_t *heap = hak_heap_create(&config);
  char *p = hak_heap_alloc(heap, MIB / 2);
  fill(p, MIB / 2);
  errno = 0;
  CHECK(hak_heap_alloc(heap, (size_t)1 << 45) == NULL && errno == ENOMEM);
  CHECK(hak_heap_alloc(heap, MIB) == NULL);
  hak_free(p);
  hak_stats_t stats = HAK_STATS_INIT;
  CHECK(hak_stats_get(heap, &stats) == 0 && stats.budget_refused == 2);
  CHECK(stats.committed_bytes <= MIB && stats.live_blocks == 0);
  CHECK(hak_heap_destroy(heap) == 0);
}
static void heap_limited_resize(void) {
  hak_heap_config_t config = {.struct_size = sizeof config, .hard_limit = 4 * MIB};
  hak_heap_t *heap = hak_heap_create(&config);
  char *p = hak_heap_alloc(heap, 3 * MIB);
  fill(p, 3 * MIB);
  p = hak_realloc(p, 5 * MIB / 2);
  fill(p, 5 * MIB / 2);
  CHECK(hak_heap_destroy(heap) == 0);
}
static char *g_cached;
static int shed(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap, (void)needed, (void)level, (void)ctx;
  hak_free(g_cached);
  bool any = g_cached != NULL;
  g_cached = NULL;
  return any;
}
static void heap_pressure(void) {
  hak_heap_config_t config = {
      .struct_size = sizeof config, .hard_limit = 4 * MIB, .on_pressure = shed};
  hak_heap_t *heap = hak_heap_create(&config);
  fill(g_cached = hak_heap_alloc(heap, 3 * MIB), 100);
  fill(hak_heap_alloc(heap, 2 * MIB), 2 * MIB);
  CHECK(g_cached == NULL && hak_heap_destroy(heap) == 0);
}
static void heap_in_memory_of(size_t bytes) {
  char *memory = malloc(bytes);
  hak_heap_config_t config = {
      .struct_size = sizeof config, .memory = memory, .memory_size = bytes};
  hak_heap_t *heap = hak_heap_create(&config);
  CHECK(heap != NULL);
  char *p = hak_heap_alloc(heap, 1000);
  fill(p, 1000);
  p = hak_realloc(p, 3000);
  fill(p, hak_usable_size(p));
  CHECK(hak_heap_of(p) == heap);
  hak_free(p);
  fill(hak_heap_alloc(heap, 100), 100);
  CHECK(hak_heap_destroy(heap) == 0);
  memset(memory, 0, bytes);
  free(memory);
}
static void heap_in_little_memory(void) { heap_in_memory_of(MIB); }
static void heap_in_large_memory(void) { heap_in_memory_of(16 * MIB); }
static void heap_own_hooks(void) {
  hak_heap_config_t config = {.struct_size = sizeof config, .os = hak_os_default()};
  hak_heap_t *heap = hak_heap_create(&config);
  for (int i = 0; i < SIZES; i++) fill(hak_heap_alloc(heap, sizes[i]), sizes[i]);
  char *p = hak_heap_alloc(heap, 100);
  hak_free(p);
  CHECK(hak_heap_destroy(heap) == 0);
}
static void heap_user(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(hak_heap_set_user(heap, hak_alloc(100)) == 0);
  fill(hak_heap_user(heap), 100);
  hak_free(hak_heap_user(heap));
  CHECK(hak_heap_set_name(heap, "renamed") == 0);
  CHECK(hak_heap_destroy(heap) == 0);
}
static void *give_user(void *heap) {
  int *value = malloc(sizeof *value);
  *value = 5;
  CHECK(hak_heap_set_user(heap, value) == 0);
  return NULL;
}
static void *take_user(void *heap) {
  int *value;
  while ((value = hak_heap_user(heap)) == NULL) usleep(10);
  CHECK(*value == 5);
  free(value);
  return NULL;
}
static void heap_user_published(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  pthread_t threads[2];
  CHECK(pthread_create(&threads[0], NULL, take_user, heap) == 0);
  CHECK(pthread_create(&threads[1], NULL, give_user, heap) == 0);
  for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  CHECK(hak_heap_destroy(heap) == 0);
}
static void heap_current(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  hak_heap_use(heap);
  char *p = hak_heap_alloc(hak_heap_current(), 10);
  fill(p, 10);
  hak_heap_use(NULL);
  CHECK(hak_heap_destroy(heap) == 0);
}
static void heaps_at_exit(void) {
  static char *volatile kept;
  hak_heap_t *heap = hak_heap_create(NULL);
  fill(kept = hak_heap_alloc(heap, 100), 100);
}

/* --- what lives at the end
 * ----------------------------------------------------------------- */

typedef struct node {
  struct node *next;
  char *text;
} node_t;
static node_t *g_list;
static void list_in(hak_heap_t *heap, size_t size) {
  for (int i = 0; i < 20; i++) {
    node_t *node = hak_heap_alloc(heap, size);
    CHECK(node != NULL);
    *node = (node_t){g_list, malloc(10)};
    g_list = node;
  }
}
static void list_tiny(void) { list_in(NULL, sizeof(node_t)); }
static void list_mid(void) { list_in(NULL, 5000); }
static void list_large(void) { list_in(NULL, 2 * MIB); }
static void list_in_heap(void) { list_in(hak_heap_create(NULL), 100); }
static void tables(void) {
  static void **table;
  table = hak_alloc(3 * MIB);
  memset(table, 0, 3 * MIB);
  for (int i = 0; i < 100; i++) table[i * 1000] = i % 2 ? malloc(77) : hak_alloc(77);
}

/* --- questions
 * -------------------------------------------------------------------------------- */

static bool count(const hak_block_t *block, void *ctx) {
  CHECK(block->is_start && block->size >= 100);
  ++*(int *)ctx;
  return true;
}
static void visits(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  for (int i = 0; i < 10; i++) fill(hak_heap_alloc(heap, 100), 100);
  int found = 0;
  CHECK(hak_heap_visit(heap, count, &found, 0) == 0 && found == 10);
  CHECK(hak_heap_destroy(heap) == 0);
}
static void addresses(void) {
  char *p = hak_alloc(1000), *q = malloc(1000);
  hak_block_t block = HAK_BLOCK_INIT;
  CHECK(hak_ptr_info(p + 500, &block) == 0 && block.address == p && !block.is_start);
  CHECK(hak_ptr_info(q, &block) == ENOENT && hak_heap_of(q) == NULL);
  CHECK(hak_heap_of(&block) == NULL);
  hak_free(p);
  CHECK(hak_move_hint(q) == 0);
  free(q);
}
static void ignore_text(const char *text, size_t length, void *ctx) {
  (void)text, (void)length, (void)ctx;
}
static void statistics(void) {
  char *p = hak_alloc(1000);
  hak_stats_t stats = HAK_STATS_INIT;
  CHECK(hak_stats_get(NULL, &stats) == 0 && stats.live_blocks >= 1);
  CHECK(hak_stats_print(NULL, HAK_FORMAT_JSON, ignore_text, NULL) == 0);
  hak_free(p);
  CHECK(hak_stats_get(NULL, &stats) == 0 && stats.live_blocks == 0);
  CHECK(hak_check(NULL) == 0);
}
static void sites(void) {
  for (int i = 0; i < 100; i++) hak_free(hak_alloc_at(1000, HAK_CALLSITE()));
  CHECK(hak_sites_print(HAK_FORMAT_TEXT, ignore_text, NULL) == 0);
}

/* --- life
 * ----------------------------------------------------------------------------------------
 */

static void collects(void) {
  for (int i = 0; i < 50; i++) hak_free(hak_alloc((size_t)i * 1000));
  (void)hak_collect(NULL, SIZE_MAX, HAK_COLLECT_ALL);
  (void)hak_purge_due();
  hak_thread_idle();
  hak_thread_exit();
  hak_free(hak_alloc(100));
}
static void ready(void) {
  hak_heap_t *heap = hak_heap_create(NULL);
  CHECK(hak_heap_prefault(heap, MIB) == 0);
  CHECK(hak_heap_prewarm(heap, 4, 10) == 10 && hak_heap_prewarm(NULL, 3 * MIB, 2) == 2);
  fill(hak_heap_alloc(heap, 4), 4);
  CHECK(hak_heap_destroy(heap) == 0);
}
static void no_grow(void) {
  char *p = hak_allocx(NULL, 1000, 0, HAK_NO_GROW, NULL);
  hak_free(p); /* or there was none ready */
}
static void restart(void) {
  for (int i = 0; i < 3; i++) {
    fill(hak_alloc(100), 100);
    CHECK(hak_shutdown(HAK_SHUTDOWN_FORCE) == 0);
    CHECK(hak_init(NULL) == 0);
  }
}
static void forks(void) {
  char *p = hak_alloc(100);
  hak_heap_t *heap = hak_heap_create(NULL);
  fill(hak_heap_alloc(heap, 100), 100);
  pid_t child = fork();
  if (child == 0) {
    hak_free(p);
    fill(p = hak_alloc(2000), 2000);
    hak_free(p);
    CHECK(hak_heap_destroy(heap) == 0 && hak_check(NULL) == 0);
    _exit(0);
  }
  int status;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  hak_free(p);
  CHECK(hak_heap_destroy(heap) == 0);
}
static void *allocate_by(void *ctx, size_t size) { return hak_heap_alloc(ctx, size); }
static void by_pointers(void) {
  void *(*volatile fn)(void *, size_t) = allocate_by;
  void (*volatile give)(void *) = hak_free;
  char *p = fn(NULL, 64);
  fill(p, 64);
  give(p);
}
static void with_hooks(void) {
  hak_shutdown(HAK_SHUTDOWN_FORCE);
  hak_config_t config = {.struct_size = sizeof config, .os = hak_os_default()};
  CHECK(hak_init(&config) == 0);
  char *p = hak_alloc(1000);
  fill(p, hak_usable_size(p));
  hak_free(p);
}

const case_t good_cases[] = {{"all_sizes", all_sizes, NULL, ""},
                             {"all_usable", all_usable, NULL, ""},
                             {"good_sizes", good_sizes, NULL, ""},
                             {"jemallocs_sizes", jemallocs_sizes, NULL, ""},
                             {"zeroes", zeroes, NULL, ""},
                             {"alignments", alignments, NULL, ""},
                             {"grows", grows, NULL, ""},
                             {"grows_with_zeroes", grows_with_zeroes, NULL, ""},
                             {"in_place", in_place, NULL, ""},
                             {"arrays", arrays, NULL, ""},
                             {"strings", strings, NULL, ""},
                             {"absurd_sizes", absurd_sizes, NULL, ""},
                             {"many", many, NULL, ""},
                             {"threads_churn", threads_churn, NULL, ""},
                             {"threads_exchange", threads_exchange, NULL, ""},
                             {"threads_exchange_heap", threads_exchange_heap, NULL, ""},
                             {"threads_reuse", threads_reuse, NULL, ""},
                             {"threads_heaps", threads_heaps, NULL, ""},
                             {"heap_plain", heap_plain, NULL, ""},
                             {"heap_serial", heap_serial, NULL, ""},
                             {"heap_no_purge", heap_no_purge, NULL, ""},
                             {"heap_children", heap_children, NULL, ""},
                             {"heap_released", heap_released, NULL, ""},
                             {"heap_limited", heap_limited, NULL, ""},
                             {"heap_limited_resize", heap_limited_resize, NULL, ""},
                             {"heap_pressure", heap_pressure, NULL, ""},
                             {"heap_in_little_memory", heap_in_little_memory, NULL, ""},
                             {"heap_in_large_memory", heap_in_large_memory, NULL, ""},
                             {"heap_own_hooks", heap_own_hooks, NULL, ""},
                             {"heap_user", heap_user, NULL, ""},
                             {"heap_user_published", heap_user_published, NULL, ""},
                             {"heap_current", heap_current, NULL, ""},
                             {"heaps_at_exit", heaps_at_exit, NULL, ""},
                             {"list_tiny", list_tiny, NULL, ""},
                             {"list_mid", list_mid, NULL, ""},
                             {"list_large", list_large, NULL, ""},
                             {"list_in_heap", list_in_heap, NULL, ""},
                             {"tables", tables, NULL, ""},
                             {"visits", visits, NULL, ""},
                             {"addresses", addresses, NULL, ""},
                             {"statistics", statistics, NULL, ""},
                             {"sites", sites, NULL, ""},
                             {"collects", collects, NULL, ""},
                             {"ready", ready, NULL, ""},
                             {"no_grow", no_grow, NULL, ""},
                             {"restart", restart, NULL, ""},
                             {"forks", forks, NULL, ""},
                             {"by_pointers", by_pointers, NULL, ""},
                             {"with_hooks", with_hooks, NULL, ""},
                             {NULL, NULL, NULL, NULL}};
