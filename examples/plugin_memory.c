/* plugin_memory.c - a plugin that gets its memory from its host: a heap that lies in a
 * buffer of the caller's, metadata included. It can neither take more nor leave
 * anything behind, and the host wipes it by taking the buffer back.
 *
 * Prints what it proves: every block lies inside the buffer, when that is full an
 * allocation gives NULL, no call to the system is made for it, and when the heap is
 * destroyed the buffer is the host's again.
 */
#define _POSIX_C_SOURCE 200809L
#include <hakmem/hakmem.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>

enum {
  BUFFER_BYTES = 1 << 20
};

static alignas(4096) char buffer[BUFFER_BYTES];

static int is_inside(const void *block, size_t size) {
  const char *at = block;
  return at >= buffer && at + size <= buffer + BUFFER_BYTES;
}

static unsigned long long os_calls(void) {
  hak_stats_t s;
  memset(&s, 0, sizeof s);
  s.struct_size = sizeof s;
  hak_stats_get(NULL, &s);
  return s.os_reserve + s.os_release + s.os_commit + s.os_purge + s.os_remap;
}

/* ---- The plugin: knows nothing but the heap that it was given ---- */

typedef struct node {
  struct node *next;
  size_t size;
} node_t;

/* Allocates until there is no more; the blocks, and how many bytes they have. */
static node_t *fill(hak_heap_t *heap, size_t *bytes, unsigned *blocks) {
  node_t *list = NULL;
  unsigned seed = 1;
  *bytes = *blocks = 0;
  for (;;) {
    seed = seed * 1664525u + 1013904223u;
    size_t size = sizeof(node_t) + (seed >> 8) % 2000;
    node_t *node = hak_heap_alloc(heap, size);
    if (node == NULL) return list;
    memset(node, 0xab, size);
    node->next = list;
    node->size = size;
    list = node;
    *bytes += size;
    ++*blocks;
  }
}

static int all_inside(const node_t *list) {
  int ok = 1;
  for (; list != NULL; list = list->next) ok &= is_inside(list, list->size);
  return ok;
}

/* ---- The host ---- */

int main(void) {
  hak_heap_config_t config;
  memset(&config, 0, sizeof config);
  config.struct_size = sizeof config;
  config.name = "plugin";
  config.memory = buffer;
  config.memory_size = sizeof buffer;
  hak_heap_t *heap = hak_heap_create(&config);
  if (heap == NULL) return 1;
  hak_free(hak_alloc(1)); /* the thread's own state is the thread's */

  int ok = 1;
  unsigned long long calls = os_calls();
  for (int load = 1; load <= 3; load++) {
    size_t bytes;
    unsigned blocks;
    node_t *list = fill(heap, &bytes, &blocks);
    printf("load %d: %u blocks, %zu KiB of %d KiB, then NULL\n", load, blocks,
           bytes / 1024, BUFFER_BYTES / 1024);
    ok &= all_inside(list) && bytes > BUFFER_BYTES / 2;
    if (load == 1) {
      while (list != NULL) { /* block by block: also by hak_free */
        node_t *next = list->next;
        hak_free(list);
        list = next;
      }
    } else if (load == 2) {
      ok &= hak_heap_reset(heap) == 0; /* or all at once */
    }
  }
  printf("every block lay in the buffer; %llu calls to the system\n", os_calls() - calls);
  ok &= os_calls() == calls;
  ok &= hak_heap_destroy(heap) == 0;
  memset(buffer, 0, sizeof buffer); /* the host's again */
  return ok ? 0 : 1;
}
