/* cookbook_servers.c - the recipes of docs/COOKBOOK.md for servers and their like: heaps
 * of tenants and of requests, a cache that gives way, plugins, a leak report, a crash
 * handler. The page shows parts of this file; the rest proves what they promise.
 */
#define _GNU_SOURCE
#include <hakmem/hooks.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cookbook.h"

/* What a child says on the descriptor that it is given; its status. */
static int said_by_child(void (*child_main)(int fd), char *text, size_t room) {
  int ends[2], status;
  MUST(pipe(ends) == 0);
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) child_main(ends[1]);
  close(ends[1]);
  size_t length = 0;
  for (ssize_t n; (n = read(ends[0], text + length, room - 1 - length)) > 0;) {
    length += (size_t)n;
  }
  close(ends[0]);
  MUST(child > 0 && waitpid(child, &status, 0) == child);
  return status;
}

/* ---- Tenants ---- */

typedef struct tenant {
  hak_heap_t *heap;
  unsigned number;
} tenant_t;

static bool tenant_begin(tenant_t *tenant, hak_heap_t *server) {
  char name[32];
  snprintf(name, sizeof name, "tenant %u", tenant->number);
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = name;
  config.parent = server;       /* whose limit all tenants share */
  config.hard_limit = 2u << 20; /* NULL beyond that, for this tenant alone */
  tenant->heap = hak_heap_create(&config);
  if (tenant->heap == NULL) return false;
  hak_heap_set_user(tenant->heap, tenant); /* from any block back to its tenant */
  return true;
}

static tenant_t *tenant_of(const void *block) {
  return hak_heap_user(hak_heap_of(block));
}

static int answer(const tenant_t *tenant, size_t bytes) {
  return hak_heap_alloc(tenant->heap, bytes) != NULL ? 200 : 503;
}

static bool show_heap(hak_heap_t *heap, void *most) {
  hak_stats_t stats = stats_of(heap);
  if (stats.hard_limit != 0) {
    MUST(stats.peak_committed_bytes <= stats.hard_limit);
    if (stats.budget_refused > *(uint64_t *)most) {
      *(uint64_t *)most = stats.budget_refused;
      printf("tenants: %s had %llu requests refused\n", hak_heap_name(heap),
             (unsigned long long)stats.budget_refused);
    }
  }
  return true;
}

static void try_tenants(hak_heap_t *server) {
  static tenant_t tenants[50];
  for (unsigned i = 0; i < 50; i++) {
    tenants[i].number = i;
    MUST(tenant_begin(&tenants[i], server));
  }
  unsigned served[50] = {0}, refused[50] = {0};
  for (unsigned i = 0; i < 50 * 100; i++) {
    tenant_t *tenant = &tenants[i % 50];
    size_t bytes = tenant->number == 7 ? 90000 : 900; /* one wants more than its share */
    if (answer(tenant, bytes) == 200)
      served[tenant->number]++;
    else
      refused[tenant->number]++;
  }
  for (unsigned i = 0; i < 50; i++) MUST((refused[i] > 0) == (i == 7));
  MUST(served[7] > 10);
  MUST(tenant_of(hak_heap_alloc(tenants[9].heap, 10)) == &tenants[9]);
  uint64_t most = 0;
  MUST(hak_visit_heaps(show_heap, &most) == 0 && most == refused[7]);
  for (unsigned i = 0; i < 50; i++) MUST(hak_heap_destroy(tenants[i].heap) == 0);
}

/* ---- Requests ---- */

HAK_DEFINE_HOOKS(parser, hak_heap_current()); /* given to a library once */

typedef struct worker {
  hak_heap_t *heap; /* of the request that the worker serves */
} worker_t;

static bool worker_begin(worker_t *worker, hak_heap_t *server) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "request";
  config.parent = server;
  config.hard_limit = 8u << 20; /* no request takes more */
  worker->heap = hak_heap_create(&config);
  return worker->heap != NULL;
}

static int serve(worker_t *worker, int (*handle)(hak_heap_t *heap, int), int request) {
  hak_heap_t *before = hak_heap_use(worker->heap); /* the parser's blocks too */
  int status = handle(worker->heap, request);
  hak_heap_use(before);
  hak_heap_reset(worker->heap); /* nothing is freed by itself */
  return status;
}

static int handle(hak_heap_t *heap, int request) {
  char *body = hak_heap_alloc(heap, 1000 + (size_t)request % 7 * 20000);
  if (body == NULL) return 503;
  for (int i = 0; i < 100; i++) {
    char *word = parser_strdup("a word of the request that a library keeps");
    if (word == NULL) return 503;
    MUST(hak_heap_of(word) == heap);
  }
  return request % 100 == 99 && hak_heap_alloc(heap, 9u << 20) == NULL ? 503 : 200;
}

static void try_requests(hak_heap_t *server) {
  worker_t worker;
  MUST(worker_begin(&worker, server));
  int refused = 0;
  for (int i = 0; i < 2000; i++) refused += serve(&worker, handle, i) == 503;
  hak_stats_t stats = stats_of(worker.heap);
  MUST(refused == 20 && stats.live_blocks == 0);
  MUST(stats.committed_bytes < 512u << 10);
  printf("requests: 2,000 in %llu KiB, 20 that were too large refused\n",
         (unsigned long long)stats.committed_bytes >> 10);
  MUST(hak_heap_destroy(worker.heap) == 0);
}

/* ---- A cache that gives way ---- */

typedef struct entry {
  struct entry *next; /* the next younger one */
  size_t bytes;
} entry_t;

typedef struct cache {
  hak_heap_t *heap;
  pthread_mutex_t lock; /* of what follows */
  entry_t *oldest, *youngest;
} cache_t;

/* On the thread that allocates, inside its call: so never allocate from the heap with
 * the lock held. */
static int cache_shed(hak_heap_t *heap, size_t needed, int level, void *ctx) {
  (void)heap;
  (void)level;
  cache_t *cache = ctx;
  size_t freed = 0;
  pthread_mutex_lock(&cache->lock);
  while (freed < needed && cache->oldest != NULL) {
    entry_t *entry = cache->oldest;
    cache->oldest = entry->next;
    if (cache->oldest == NULL) cache->youngest = NULL;
    freed += entry->bytes;
    hak_free(entry);
  }
  pthread_mutex_unlock(&cache->lock);
  return freed > 0; /* 1: try again */
}

static bool cache_begin(cache_t *cache, hak_heap_t *server) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "cache";
  config.parent = server;
  config.soft_limit = 6u << 20; /* where it is to stay */
  config.hard_limit = 8u << 20; /* what it never exceeds */
  config.on_pressure = cache_shed;
  config.ctx = cache;
  pthread_mutex_init(&cache->lock, NULL);
  cache->oldest = cache->youngest = NULL;
  cache->heap = hak_heap_create(&config);
  return cache->heap != NULL;
}

static bool cache_add(cache_t *cache, size_t bytes) {
  entry_t *entry = hak_heap_alloc(cache->heap, sizeof *entry + bytes); /* may evict */
  if (entry == NULL) return false;
  entry->next = NULL;
  entry->bytes = bytes;
  pthread_mutex_lock(&cache->lock);
  if (cache->youngest != NULL)
    cache->youngest->next = entry;
  else
    cache->oldest = entry;
  cache->youngest = entry;
  pthread_mutex_unlock(&cache->lock);
  return true;
}

static void *fill_cache(void *cache) {
  for (size_t i = 0; i < 20000; i++) MUST(cache_add(cache, 100 + i * 37 % 4000));
  return NULL;
}

static void try_cache(hak_heap_t *server) {
  static cache_t cache;
  MUST(cache_begin(&cache, server));
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) {
    MUST(pthread_create(&threads[i], NULL, fill_cache, &cache) == 0);
  }
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  hak_stats_t stats = stats_of(cache.heap);
  MUST(stats.peak_committed_bytes <= stats.hard_limit && stats.budget_refused == 0);
  /* A thread may evict what another's eviction has made needless: 3.7 to 6.1 MiB were
   * seen in 80 runs on a busy machine. */
  MUST(stats.live_bytes > 2u << 20);
  printf("cache: 80 MiB went through, none refused; %.1f MiB are in it, %.1f at most\n",
         (double)stats.live_bytes / (1 << 20),
         (double)stats.peak_committed_bytes / (1 << 20));
  MUST(hak_heap_destroy(cache.heap) == 0);
  pthread_mutex_destroy(&cache.lock);
}

/* ---- Plugins ---- */

/* What a plugin knows of its host's memory: no name of hakmem's. */
typedef struct host_memory {
  void *ctx;
  void *(*alloc)(void *ctx, size_t size);
  void *(*resize)(void *ctx, void *ptr, size_t size);
  void (*free)(void *ctx, void *ptr);
} host_memory_t;

static host_memory_t plugin_memory(hak_heap_t *heap) {
  return (host_memory_t){heap, hak_hook_alloc, hak_hook_realloc, hak_hook_free};
}

static hak_heap_t *plugin_load(const char *name) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = name;
  config.hard_limit = 4u << 20;
  config.flags = HAK_HEAP_REPORT_LEAKS; /* so its author hears of it */
  return hak_heap_create(&config);
}

static void plugin_unload(hak_heap_t *heap) { hak_heap_destroy(heap); }

static size_t plugin_main(const host_memory_t *memory) {
  char *list = NULL;
  size_t size = 16;
  for (;; size *= 2) {
    char *more = memory->resize(memory->ctx, list, size);
    if (more == NULL) break;
    list = more;
  }
  memory->free(memory->ctx, memory->alloc(memory->ctx, 100));
  return size; /* and forgets its list */
}

static unsigned leaks;

static void count_leaks(const hak_error_info_t *info, void *ctx) {
  (void)ctx;
  leaks += info->error == HAK_ERROR_LEAK;
}

static void try_plugins(void) {
  hak_set_error_handler(count_leaks, NULL);
  for (int i = 0; i < 10; i++) {
    hak_heap_t *heap = plugin_load("plugin");
    MUST(heap != NULL);
    host_memory_t memory = plugin_memory(heap);
    MUST(plugin_main(&memory) == 4u << 20);
    plugin_unload(heap);
  }
  hak_set_error_handler(NULL, NULL);
  MUST(leaks == 10);
  printf("plugins: loaded 10 times, what each forgot is named and gone\n");
}

/* ---- A leak report ---- */

/* What the program has not given back of the default heap, as it ends. */
static bool tell_block(const hak_block_t *block, void *ctx) {
  unsigned *told = ctx;
  if (++*told <= 10) fprintf(stderr, "%zu bytes at %p\n", block->size, block->address);
  return true;
}

static void tell_leaks(void) { /* its threads have ended, or stand still */
  unsigned told = 0;
  hak_heap_visit(NULL, tell_block, &told, 0);
  if (told == 0) return;
  fprintf(stderr, "%u blocks were not freed\n", told);
  hak_sites_print(HAK_FORMAT_TEXT, NULL, NULL); /* by place, where places are named */
}

static void watch_leaks(void) { atexit(tell_leaks); } /* first thing in main() */

static void leak(int fd) {
  dup2(fd, 2);
  watch_leaks();
  hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1);
  HAK_SITE(sessions);
  for (int i = 0; i < 12; i++) MUST(hak_alloc_at(100, &sessions) != NULL);
  exit(0);
}

static void try_leaks(void) {
  static char text[65536];
  MUST(said_by_child(leak, text, sizeof text) == 0);
  MUST(strstr(text, "\n12 blocks were not freed\n") != NULL);
  MUST(strstr(text, "sessions (") != NULL);
  printf("leaks: what the program forgets is told as it ends, by place\n");
}

/* ---- A crash handler ---- */

/* Functions that may be called in a handler: no stdio, no malloc. */
static void put_piece(const char *text, size_t length, void *ctx) {
  (void)ctx;
  if (write(2, text, length) < 0) return;
}
static void put(const char *text) { put_piece(text, strlen(text), NULL); }

static void put_number(uintptr_t number, unsigned base) {
  char digits[24] = {0};
  size_t at = sizeof digits - 1;
  do {
    digits[--at] = "0123456789abcdef"[number % base];
    number /= base;
  } while (number != 0);
  put(base == 16 ? "0x" : "");
  put(digits + at);
}

/* "server/tenant 7" */
static void put_path(hak_heap_t *heap) {
  hak_heap_t *parent = hak_heap_parent(heap);
  if (parent != NULL) {
    put_path(parent);
    put("/");
  }
  put(hak_heap_name(heap));
}

static void describe(const void *address) {
  hak_block_t block = HAK_BLOCK_INIT;
  if (hak_ptr_info(address, &block) != 0) return; /* in no block */
  put_number((uintptr_t)address, 16);
  put(" is byte ");
  put_number((uintptr_t)address - (uintptr_t)block.address, 10);
  put(" of a block of ");
  put_number(block.size, 10);
  put(", heap ");
  put_path(block.heap);
  put("\n");
}

static void on_crash(int signal, siginfo_t *info, void *context) {
  (void)context; /* its registers hold addresses, too: describe them in the same way */
  put("crash\n");
  describe(info->si_addr);
  hak_stats_print(NULL, HAK_FORMAT_TEXT, put_piece, NULL);
  raise(signal); /* SA_RESETHAND: the default action, a core */
}

static void watch_crashes(void) {
  static char stack[64 << 10]; /* a thread's own may be what is used up */
  sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
  struct sigaction action = {.sa_sigaction = on_crash};
  action.sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND);
  sigaction(SIGSEGV, &action, NULL);
  sigaction(SIGBUS, &action, NULL);
}

/* A child that writes where it may not, in the middle of a block of a tenant. */
static void crash(int fd) {
  dup2(fd, 2);
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "server";
  tenant_t tenant = {.number = 7};
  MUST(tenant_begin(&tenant, hak_heap_create(&config)));
  char *block = hak_heap_aligned_alloc(tenant.heap, 4096, 100000);
  MUST(block != NULL && mprotect(block + 8192, 4096, PROT_NONE) == 0);
  watch_crashes();
  *(volatile char *)(block + 8200) = 1;
  _exit(0);
}

static void try_crash(void) {
  static char text[65536];
  int status = said_by_child(crash, text, sizeof text);
  MUST(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
  MUST(strstr(text, " is byte 8200 of a block of ") != NULL);
  MUST(strstr(text, ", heap server/tenant 7\n") != NULL);
  MUST(strstr(text, "live") != NULL);
  printf("crash: %.*s\n", (int)strcspn(text + 6, "\n"), text + 6);
}

int main(void) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "server";
  config.hard_limit = 64u << 20;
  hak_heap_t *server = hak_heap_create(&config);
  MUST(server != NULL);
  try_tenants(server);
  try_requests(server);
  try_cache(server);
  try_plugins();
  try_leaks();
  try_crash();
  MUST(hak_heap_destroy(server) == 0 && hak_check(NULL) == 0);
  return stats_of(NULL).live_blocks == 0 ? 0 : 1;
}
