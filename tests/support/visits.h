/* visits.h - what a visit shows of a heap, held against the library's other answers. */
#ifndef HAKMEM_TEST_VISITS_H
#define HAKMEM_TEST_VISITS_H

#include "support.h"

typedef struct test_visit {
  hak_heap_t *heap;
  size_t count, bytes; /* of blocks that were shown */
} test_visit_t;

/* For hak_heap_visit with a test_visit_t: counts the block, and checks that it is one of
 * the heap's, from its start to its size. */
bool test_visit_block(const hak_block_t *block, void *visit);

/* Visits the heap, and checks that so many blocks are shown and that statistics name as
 * many, and as many bytes. Returns these bytes. */
size_t test_visit_live(hak_heap_t *heap, size_t count);

#endif /* HAKMEM_TEST_VISITS_H */
