/* os_hooks.c - memory from a source of one's own: here the system's, watched, and
 * closed for a while. While the source refuses, allocations that need it give
 * NULL; what was allocated stays, and all works again once the source does. */
#include <errno.h>
#include <hakmem/hakmem.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const hak_os_t *system_os;
static atomic_bool closed;
static atomic_size_t committed, refused;

/* Hooks are called on any thread, with no lock of the allocator's held. */
static void *reserve(void *context, size_t size, size_t alignment) {
  (void)context;
  if (!atomic_load(&closed)) return system_os->reserve(system_os->ctx, size, alignment);
  atomic_fetch_add(&refused, 1);
  return NULL;
}

static int commit(void *context, void *ptr, size_t size, bool *zeroed) {
  (void)context;
  if (atomic_load(&closed)) {
    atomic_fetch_add(&refused, 1);
    return ENOMEM;
  }
  atomic_fetch_add(&committed, size);
  return system_os->commit(system_os->ctx, ptr, size, zeroed);
}

int main(void) {
  system_os = hak_os_default();
  hak_os_t watched = *system_os; /* the other hooks as they are */
  watched.reserve = reserve;
  watched.commit = commit;
  watched.remap = NULL;
  hak_config_t config;
  memset(&config, 0, sizeof config);
  config.struct_size = sizeof config;
  config.os = &watched;
  if (hak_init(&config) != 0) return 1;

  char *block = hak_alloc(100000);
  if (block == NULL) return 1;
  strcpy(block, "still here");
  printf("open:   %zu KiB committed for a block of 100,000 bytes\n",
         atomic_load(&committed) / 1024);

  atomic_store(&closed, true);
  void *large = hak_alloc(50000000);
  printf("closed: 50,000,000 bytes: %s; the first block: %s; %zu calls refused\n",
         large != NULL ? "given" : strerror(errno), block, atomic_load(&refused));
  if (large != NULL) return 1;

  atomic_store(&closed, false);
  large = hak_alloc(50000000);
  printf("open:   50,000,000 bytes: %s\n", large != NULL ? "given" : strerror(errno));
  hak_free(large);
  hak_free(block);
  return large == NULL;
}
