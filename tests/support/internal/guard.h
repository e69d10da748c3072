/* guard.h - guarded blocks, for tests. */
#ifndef HAKMEM_TEST_GUARD_H
#define HAKMEM_TEST_GUARD_H

#include "pages/cell.h"
#include "support.h"

enum {
  TEST_GUARDED_MOST = 128 /* guarded blocks at once */
};

/* hak_guard_explain says it too, but reads where the code lies. */
static inline bool test_is_guarded(const void *block) {
  hak_cell_facts_t facts;
  return hak_cell_look(block, &facts) != HAK_CELL_FREE;
}
/* One allocation in so many is guarded from here on. */
static inline void test_guard(int64_t one_in) {
  CHECK_EQ(hak_option_set(HAK_OPTION_GUARD_SAMPLE, one_in), 0);
}

#endif
