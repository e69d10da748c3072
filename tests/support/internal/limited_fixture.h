/* limited_fixture.h - this thread's cache of a heap with a hard limit. */
#ifndef HAKMEM_TEST_LIMITED_FIXTURE_H
#define HAKMEM_TEST_LIMITED_FIXTURE_H

#include "slab_fixture.h"

#include "heap/thread_cache.h"
#include "tiny/quota.h"

enum {
  LIMIT = 32 << 20,
  QUOTA = LIMIT / 16, /* of one user */
  SIZE = 1024
};

static hak_heap_t *g_heap;
static const hak_cache_t *g_limited; /* this thread's cache of that heap */

static inline void limited_make(void **state) {
  CHECK_EQ(test_class_setup(state), 0);
  g_heap = test_heap_make((hak_heap_config_t){.hard_limit = LIMIT});
}

/* This thread is a user from here on. */
static inline void limited_use(void) {
  hak_free(hak_heap_alloc(g_heap, 16));
  g_limited = hak_cache_get(g_me, hak_heap_record(g_heap));
  CHECK(g_limited != NULL);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) hak_capacity_begin(g_limited, cls);
}

static inline int limited_end(void **state) {
  CHECK_EQ(hak_heap_destroy(g_heap), 0);
  return test_class_teardown(state);
}

static inline hak_budget_t *budget(void) { return &g_limited->store->pool.budget; }
static inline uint64_t cached(void) { return hak_load_relaxed(&budget()->cached); }
static inline hak_bin_t *bin(uint32_t cls) { return &g_limited->bins[cls]; }
static inline hak_hold_t *hold(uint32_t cls) { return &g_limited->holds[cls]; }
static inline uint64_t granted(void) { return hak_capacity_quotas(g_limited->holds); }

#endif
