/* visits.c - see visits.h */
#include "visits.h"

bool test_visit_block(const hak_block_t *block, void *ctx) {
  test_visit_t *visit = ctx;
  CHECK(block->heap == visit->heap && block->is_start);
  CHECK(hak_heap_of(block->address) == visit->heap);
  CHECK_EQ(hak_usable_size(block->address), block->size);
  visit->count++;
  visit->bytes += block->size;
  return true;
}

size_t test_visit_live(hak_heap_t *heap, size_t count) {
  test_visit_t visit = {.heap = heap};
  CHECK_EQ(hak_heap_visit(heap, test_visit_block, &visit, 0), 0);
  CHECK_EQ(visit.count, count);
  hak_stats_t stats = test_heap_stats(heap);
  CHECK_EQ(stats.live_blocks, count);
  CHECK_EQ(stats.live_bytes, visit.bytes);
  return visit.bytes;
}
