/* world.c - the memory that a scenario works on: the program's variables, what is local
 * to its threads, and one range of address space for all that the library reserves. It is
 * put back to what the setup left before each execution.
 *
 * Pages may only be read until something writes to one: then it is copied, and put back
 * from that copy before each execution from then on. Executions of a scenario write to
 * the same pages, so that after a few of them none costs a fault.
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
  BLOCKS =
      THREADS + 1, /* of thread-local variables: one more for the explorer's thread */
  PAGES = 16384    /* that the executions of a scenario may write to */
};

typedef struct world {
  char *base;  /* what the library reserves comes from here */
  size_t used; /* bytes, now */
  size_t kept; /* bytes, after the setup */
  char *first_variables;
  size_t local_size;
  char *local[BLOCKS], *kept_local[BLOCKS], *first_local[BLOCKS];
  size_t page;          /* bytes */
  char *written[PAGES]; /* pages, since the setup */
  char *before;         /* what was in them, one after the other */
  size_t pages;
} world_t;

static world_t *w; /* no part of what is put back */

static void die(const char *what) {
  perror(what);
  exit(2);
}

/* Whole pages. What the linker may have in the first one beside variables can be put
 * back, too. */
static char *page_of(void *at) {
  return (char *)((uintptr_t)at & ~(uintptr_t)(w->page - 1));
}
static char *variables(void) { return page_of(__data_start); }
static size_t variables_size(void) {
  return (size_t)(page_of(_end + w->page - 1) - variables());
}

static char *map(void *at, size_t size, int flags) {
  char *ptr = mmap(at, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
  if (ptr == MAP_FAILED) die("mmap");
  return ptr;
}

static void protect(char *at, size_t size, int protection) {
  if (mprotect(at, size, protection) != 0) die("mprotect");
}

void world_start(void) {
  w = calloc(1, sizeof *w);
  if (w == NULL) die("calloc");
  w->base = (char *)WORLD_BASE;
  w->page = (size_t)sysconf(_SC_PAGESIZE);
  w->before = map(NULL, PAGES * w->page, 0);
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

static void copy_local(char *const *to, char *const *from) {
  for (unsigned i = 0; i < BLOCKS && w->local[i] != NULL; i++) {
    memcpy(to[i], from[i], w->local_size);
  }
}

static void start_local(char **copies) {
  for (unsigned i = 0; i < BLOCKS && w->local[i] != NULL; i++) {
    if (copies[i] == NULL) copies[i] = malloc(w->local_size);
    if (copies[i] == NULL) die("malloc");
  }
  copy_local(copies, w->local);
}

void world_first(void) {
  protect(variables(), variables_size(), PROT_READ | PROT_WRITE);
  if (w->first_variables == NULL) {
    w->first_variables = malloc(variables_size());
    if (w->first_variables == NULL) die("malloc");
    memcpy(w->first_variables, variables(), variables_size());
    start_local(w->first_local);
  } else {
    memcpy(variables(), w->first_variables, variables_size());
    copy_local(w->local, w->first_local);
  }
  map(w->base, WORLD_SIZE, MAP_FIXED);
  (void)madvise(w->base, WORLD_SIZE, MADV_NOHUGEPAGE);
  w->used = 0;
  w->pages = 0;
}

void world_keep(void) {
  start_local(w->kept_local);
  w->kept = w->used;
  protect(w->base, WORLD_SIZE, PROT_READ);
  protect(variables(), variables_size(), PROT_READ);
}

static bool is_in(const char *at, const char *from, size_t size) {
  return (uintptr_t)at - (uintptr_t)from < size;
}

bool world_write(void *address) {
  char *at = page_of(address);
  if (!is_in(at, w->base, w->used) && !is_in(at, variables(), variables_size())) {
    return false;
  }
  for (size_t i = 0; i < w->pages; i++) {
    if (w->written[i] == at) return false;
  }
  if (w->pages == PAGES) failed("executions write to too much memory");
  memcpy(w->before + w->pages * w->page, at, w->page);
  w->written[w->pages++] = at;
  return mprotect(at, w->page, PROT_READ | PROT_WRITE) == 0;
}

void world_restore(void) {
  copy_local(w->local, w->kept_local);
  for (size_t i = 0; i < w->pages; i++) {
    memcpy(w->written[i], w->before + i * w->page, w->page);
  }
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
