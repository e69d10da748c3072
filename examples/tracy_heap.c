/* tracy_heap.c - the blocks of a heap in the memory view of the profiler Tracy
 * (https://github.com/wolfpld/tracy), under the heap's name.
 *
 * Compiled with -DTRACY_ENABLE where Tracy's headers are found, and linked with its
 * client, this talks to the profiler. Without them it prints what it would say. */
#include <hakmem/hakmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(TRACY_ENABLE) && defined(__has_include)
#if __has_include(<tracy/TracyC.h>)
#include <tracy/TracyC.h>
#define WITH_TRACY 1
#endif
#endif
#ifndef WITH_TRACY
#define WITH_TRACY 0
#include "tracy_stand_in.h"
#endif

/* Tracy knows a pool by the address of its name, which has to stay: `ctx` is a copy. */
static void tell_tracy(const hak_block_event_t *event, void *ctx) {
  const char *name = ctx;
  switch (event->kind) {
    case HAK_BLOCK_ALLOC:
      TracyCAllocN(event->address, event->size, name);
      break;
    case HAK_BLOCK_FREE:
      TracyCFreeN(event->address, name);
      break;
    case HAK_BLOCK_RESIZE:
      TracyCFreeN(event->old_address, name);
      TracyCAllocN(event->address, event->size, name);
      break;
    case HAK_BLOCK_ALL_GONE: /* Tracy 0.12 or newer */
#ifdef TracyCMemoryDiscard
      TracyCMemoryDiscard(name);
#endif
      break;
  }
}

/* A heap whose blocks Tracy shows; NULL if memory is short. */
static hak_heap_t *tracy_heap(const char *name) {
  char *pool = malloc(strlen(name) + 1);
  if (pool == NULL) return NULL;
  strcpy(pool, name);
  hak_heap_config_t config = HAK_HEAP_CONFIG_INIT;
  config.name = name;
  config.flags = HAK_HEAP_WATCHED;
  hak_heap_t *heap = hak_heap_create(&config);
  if (heap != NULL) (void)hak_heap_set_block_hook(heap, tell_tracy, pool);
  return heap;
}

int main(void) {
  if (!WITH_TRACY) puts("without Tracy: this is what it would be told");
  hak_heap_t *heap = tracy_heap("particles");
  if (heap == NULL) return 1;
  char *block = hak_heap_alloc(heap, 1000);
  char *larger = block == NULL ? NULL : hak_realloc(block, 1 << 20);
  if (larger == NULL) return 1;
  hak_free(larger);
  if (hak_heap_alloc(heap, 64) == NULL) return 1;
  return hak_heap_destroy(heap); /* with what is still there */
}
