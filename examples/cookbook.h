/* cookbook.h - what the programs of docs/COOKBOOK.md share: they end at the first claim
 * of theirs that does not hold.
 */
#ifndef HAKMEM_COOKBOOK_H
#define HAKMEM_COOKBOOK_H

#include <hakmem/hakmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                     \
  do {                                                                      \
    if (!(condition)) {                                                     \
      fprintf(stderr, "FAIL: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                              \
    }                                                                       \
  } while (0)

static inline hak_stats_t stats_of(hak_heap_t *heap) {
  hak_stats_t stats = HAK_STATS_INIT;
  MUST(hak_stats_get(heap, &stats) == 0);
  return stats;
}

#endif
