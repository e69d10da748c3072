/* tiny_main.c - allocates one small block and prints its own RSS in bytes. */
#include <stdio.h>
#include <string.h>

#include "adapters/adapter.h"
#include "support/bench.h"

int main(void) {
  char *block = bench_alloc(100);
  if (block == NULL || (bench_may_ask_any() && !bench_serves(block, 100))) return 3;
  memset(block, 1, 100);
  dprintf(1, "%zu\n", bench_rss());
  return 0;
}
