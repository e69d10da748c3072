/* program.c - stops in `stop` with heaps and blocks of every kind, for gdb to look at. */
#include <hakmem/hakmem.h>
#include <hakmem/sites.h>

#include <stdlib.h>

/* What gdb.py asks about. */
hak_heap_t *volatile g_server, *volatile g_requests, *volatile g_serial,
                                                         *volatile g_plugin;
hak_heap_t *volatile g_ended;
char *volatile g_used, *volatile g_freed, *volatile g_large;
char *volatile g_mapping, *volatile g_run, *volatile g_external,
                                               *volatile g_external_freed;
char *volatile g_default, *volatile g_sample, *volatile g_serial_freed;
char *volatile g_annexed;
static char g_memory[512 << 10];
static _Alignas(2 << 20) char g_much[8 << 20];

void stop(void) __attribute__((noinline));
void stop(void) { __asm__ volatile("" ::: "memory"); }

static hak_heap_t *make(const char *name, hak_heap_t *parent, unsigned flags) {
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = name;
  config.parent = parent;
  config.flags = flags;
  hak_heap_t *heap = hak_heap_create(&config);
  if (heap == NULL) exit(2);
  return heap;
}

int main(void) {
  (void)hak_option_set(HAK_OPTION_SAMPLE_BYTES, 1);
  g_server = make("server", NULL, 0);
  g_requests = make("requests\n", g_server, 0);
  g_serial = make("script", NULL, HAK_HEAP_SERIAL);
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = "plugin";
  config.memory = g_memory;
  config.memory_size = sizeof g_memory;
  g_plugin = hak_heap_create(&config);
  config.name = "buffers";
  config.memory = g_much;
  config.memory_size = sizeof g_much;
  hak_heap_t *buffers = hak_heap_create(&config);
  if (buffers == NULL) return 6;
  g_ended = make("ended", NULL, 0);
  if (hak_heap_destroy(g_ended) != 0) return 3;
  if (hak_heap_set_limits(g_server, 0, (size_t)200 << 20) != 0) return 4;
  char *blocks[2000];
  for (int i = 0; i < 2000; i++) blocks[i] = (hak_heap_alloc)(g_requests, 100);
  g_used = blocks[1000];
  /* These go home as the thread lets go of what it cached, others' blocks between them.
   */
  for (int i = 1; i < 800; i += 2) hak_free(blocks[i]);
  hak_thread_idle();
  g_freed = blocks[401];
  g_large = (hak_heap_alloc)(g_server, 300000);
  g_run = (hak_heap_alloc)(g_server, (size_t)5 << 20);
  g_mapping = (hak_heap_alloc)(g_server, (size_t)50 << 20);
  g_external = (hak_heap_alloc)(g_plugin, 1000);
  g_external_freed = (hak_heap_alloc)(g_plugin, 1000);
  /* Behind a slab, in a unit that has both and in others. */
  g_annexed = (hak_heap_alloc)(buffers, sizeof g_much - 65536);
  if ((hak_heap_alloc)(buffers, 100) == NULL) return 7;
  char *last = (hak_heap_alloc)(g_plugin, 1000);
  hak_free(g_external_freed);
  for (int i = 0; i < 1000; i++) (hak_free)(hak_alloc(300000));
  HAK_SITE(sampled_here);
  g_sample = hak_heap_alloc_at(g_server, 1100, &sampled_here);
  g_serial_freed = (hak_heap_alloc)(g_serial, 48);
  hak_free(g_serial_freed);
  g_default = (hak_alloc)(64);
  stop();
  hak_free(last);
  return g_used != NULL && g_sample != NULL ? 0 : 5;
}
