#include "adapters/rpmalloc_maps.h"

#include <pthread.h>
#include <rpmalloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct map {
  uintptr_t start; /* 0: this entry is not in use */
  size_t size;
} map_t;

/* A span is 256 MiB and blocks over 2 MiB have mappings of their own: thousands
 * are many. */
#define MAPS 65536

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static map_t maps[MAPS];
static size_t maps_used; /* entries at and behind this one were never in use */

static rpmalloc_interface_t table; /* the one that rpmalloc calls through */
static rpmalloc_interface_t original;

static void *map(size_t size, size_t alignment, size_t *offset, size_t *mapped_size) {
  void *block = original.memory_map(size, alignment, offset, mapped_size);
  if (block == NULL) return NULL;
  size_t i = 0;
  pthread_mutex_lock(&lock);
  while (i < maps_used && maps[i].start != 0) i++;
  if (i == MAPS) {
    fprintf(stderr, "rpmalloc: too many mappings to keep a list of\n");
    abort();
  }
  if (i == maps_used) maps_used++;
  maps[i] = (map_t){(uintptr_t)block, size};
  pthread_mutex_unlock(&lock);
  return block;
}

static void unmap(void *address, size_t offset, size_t mapped_size) {
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < maps_used; i++) {
    if (maps[i].start == (uintptr_t)address) maps[i].start = 0;
  }
  pthread_mutex_unlock(&lock);
  original.memory_unmap(address, offset, mapped_size);
}

/* Before main. An empty table is filled with rpmalloc's own functions, and used
 * from then on. Where something was allocated before, rpmalloc keeps the table that
 * it has, and no block is ever proven. */
__attribute__((constructor)) static void listen(void) {
  if (rpmalloc_initialize(&table) != 0 || table.memory_map == NULL) return;
  original = table;
  table.memory_map = map;
  table.memory_unmap = unmap;
}

bool rpmalloc_maps_contain(const void *ptr) {
  bool found = false;
  pthread_mutex_lock(&lock);
  for (size_t i = 0; i < maps_used && !found; i++) {
    found = maps[i].start != 0 && (uintptr_t)ptr - maps[i].start < maps[i].size;
  }
  pthread_mutex_unlock(&lock);
  return found;
}
