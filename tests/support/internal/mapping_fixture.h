/* mapping_fixture.h - a library whose mappings are asked for directly, in small pages,
 * and a budget for them. */
#ifndef HAKMEM_TEST_MAPPING_FIXTURE_H
#define HAKMEM_TEST_MAPPING_FIXTURE_H

#include "support.h"

#include "heap/lifecycle.h"
#include "os/os.h"
#include "pages/mapping.h"
#include "pages/mapping_move.h"
#include "pages/mapping_ranges.h"
#include "pages/meta.h"

static hak_budget_t g_budget;

static inline void mapping_begin(void) {
  test_set(HAK_OPTION_HUGE_PAGES, 0);
  test_set(HAK_OPTION_PURGE_MODE, 1);
  test_set(HAK_OPTION_PURGE_DECAY_MS, 86400000); /* nothing is forgotten meanwhile */
  CHECK_EQ(hak_init(NULL), 0);
  hak_budget_init(&g_budget);
  hak_budget_begin(&g_budget, NULL);
}

static inline void mapping_end(void) {
  CHECK_EQ(hak_shutdown(HAK_SHUTDOWN_FORCE), 0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_committed), 0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), 0);
  CHECK_EQ(hak_load_relaxed(&hak_mappings_reserved), 0);
  test_set(HAK_OPTION_PURGE_MODE, 1);
  test_set(HAK_OPTION_PURGE_DECAY_MS, 1000);
}

#define CHECK_KEPT(bytes) CHECK_EQ(hak_load_relaxed(&hak_mappings_retained), bytes)
/* By one block, with its record. */
#define CHECK_CHARGED(bytes) \
  CHECK_EQ(hak_load_relaxed(&g_budget.charged), (bytes) + sizeof(hak_mapping_t))
#define CHECK_UNCHARGED() CHECK_EQ(hak_load_relaxed(&g_budget.charged), 0)

static inline hak_mapping_t *acquire(const hak_os_t *os, hak_budget_t *budget,
                                     size_t size, bool no_grow) {
  bool zeroed;
  return hak_mapping_acquire(os, budget, NULL, size, HAK_SLAB_SIZE, no_grow, &zeroed);
}

static inline hak_mapping_t *get(size_t size) {
  hak_mapping_t *m = acquire(hak_lifecycle_os(), NULL, size, false);
  CHECK(m != NULL && hak_load_relaxed(&m->extent.size) == size);
  return m;
}

static inline hak_mapping_t *get_charged(size_t size) {
  hak_mapping_t *m = acquire(hak_lifecycle_os(), &g_budget, size, false);
  CHECK(m != NULL);
  CHECK_CHARGED(size);
  return m;
}

static inline void give(hak_mapping_t *m) { hak_mapping_give(m, 1); }

#endif
