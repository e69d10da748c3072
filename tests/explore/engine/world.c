/* world.c - the memory that a scenario works on: the program's variables, what is local
 * to its threads, and one range of address space for all that the library reserves. It is
 * put back to what the setup left before each execution.
 */
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine.h"
#include "world.h"

/* The executable's variables begin and end here; the linker defines these. */
extern char __data_start[], _end[];

enum {
  BLOCKS = THREADS + 1 /* of thread-local variables: one more for the explorer's thread */
};

typedef struct world {
  int file;
  char *base;  /* what the library reserves comes from here */
  size_t used; /* bytes, now */
  size_t kept; /* bytes, after the setup */
  char *variables, *first_variables;
  size_t local_size;
  char *local[BLOCKS], *kept_local[BLOCKS], *first_local[BLOCKS];
} world_t;

static world_t *w; /* no part of what is put back */

static void die(const char *what) {
  perror(what);
  exit(2);
}

static void map_world(int flags) {
  if (mmap(w->base, WORLD_SIZE, PROT_READ | PROT_WRITE, flags | MAP_FIXED | MAP_NORESERVE,
           w->file, 0) == MAP_FAILED) {
    die("mmap");
  }
}

void world_start(void) {
  w = calloc(1, sizeof *w);
  if (w == NULL) die("calloc");
  w->file = memfd_create("explored", MFD_CLOEXEC);
  if (w->file < 0) die("memfd_create");
  w->base = (char *)WORLD_BASE;
}

static int find_local(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    if (info->dlpi_phdr[i].p_type != PT_TLS) continue;
    w->local_size = info->dlpi_phdr[i].p_memsz;
    *(void **)data = info->dlpi_tls_data;
  }
  return 1; /* the first object is the executable */
}

void world_note_local(unsigned block) {
  void *at = NULL;
  dl_iterate_phdr(find_local, &at);
  w->local[block] = at;
}

static void copy_out(char **variables, char **local) {
  size_t size = (size_t)(_end - __data_start);
  if (*variables == NULL) *variables = malloc(size);
  if (*variables == NULL) die("malloc");
  for (unsigned i = 0; i < BLOCKS && w->local[i] != NULL; i++) {
    if (local[i] == NULL) local[i] = malloc(w->local_size);
    if (local[i] == NULL) die("malloc");
    memcpy(local[i], w->local[i], w->local_size);
  }
  memcpy(*variables, __data_start, size);
}

static void copy_in(const char *variables, char *const *local) {
  for (unsigned i = 0; i < BLOCKS && w->local[i] != NULL; i++) {
    memcpy(w->local[i], local[i], w->local_size);
  }
  memcpy(__data_start, variables, (size_t)(_end - __data_start));
}

void world_first(void) {
  if (w->first_variables == NULL) {
    copy_out(&w->first_variables, w->first_local);
  } else {
    copy_in(w->first_variables, w->first_local);
  }
  if (ftruncate(w->file, 0) != 0 || ftruncate(w->file, (off_t)WORLD_SIZE) != 0) {
    die("ftruncate");
  }
  w->used = 0;
  map_world(MAP_SHARED);
}

/* From here on writes are to pages of the mapping's own, and what is kept is the file. */
void world_keep(void) {
  copy_out(&w->variables, w->kept_local);
  w->kept = w->used;
  map_world(MAP_PRIVATE);
}

void world_restore(void) {
  copy_in(w->variables, w->kept_local);
  if (w->used != 0 && madvise(w->base, w->used, MADV_DONTNEED) != 0) die("madvise");
  w->used = w->kept;
}

void *world_reserve(size_t size, size_t alignment) {
  size_t at = (w->used + alignment - 1) & ~(alignment - 1);
  if (size > WORLD_SIZE - at) return NULL;
  w->used = at + size;
  return w->base + at;
}

bool world_is_new(const void *at) {
  return (const char *)at >= w->base + w->kept && (const char *)at < w->base + w->used;
}
