/* sqlite_memory.h - SQLite over the adapter's allocator. Included by one file of a
 * program, as the adapter's functions are inline. */
#ifndef BENCH_DEMO_SQLITE_MEMORY_H
#define BENCH_DEMO_SQLITE_MEMORY_H

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapters/prove.h"
#include "support/bench.h"

static void *sqlite_alloc(int size) { return bench_alloc((size_t)size); }
static void sqlite_free(void *ptr) { bench_free(ptr); }
static void *sqlite_realloc(void *ptr, int size) {
  return bench_realloc(ptr, (size_t)size);
}
static int sqlite_size(void *ptr) {
  return ptr != NULL ? (int)bench_usable_size(ptr) : 0;
}
static int sqlite_roundup(int size) { return (size + 7) & ~7; }
static int sqlite_start(void *context) {
  (void)context;
  return SQLITE_OK;
}
static void sqlite_stop(void *context) { (void)context; }

static const sqlite3_mem_methods sqlite_methods = {
    sqlite_alloc,   sqlite_free,  sqlite_realloc, sqlite_size,
    sqlite_roundup, sqlite_start, sqlite_stop,    NULL};

/* That SQLite really uses it: its blocks are the allocator's. */
static void prove_sqlite(void) {
  static const int sizes[] = {40, 1000, 5000, 100000};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    void *block = sqlite3_malloc(sizes[i]);
    bench_prove_block(block, (size_t)sizes[i]);
    sqlite3_free(block);
  }
}

/* Before its first use. Exits if SQLite refuses, or does not use it. */
static void start_sqlite(void) {
  if (sqlite3_config(SQLITE_CONFIG_MALLOC, &sqlite_methods) != SQLITE_OK ||
      sqlite3_initialize() != SQLITE_OK) {
    fprintf(stderr, "SQLite refuses the allocator\n");
    exit(1);
  }
  prove_sqlite();
}

#endif
