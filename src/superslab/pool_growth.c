#include "superslab/pool_growth.h"

#include "base/option.h"
#include "superslab/region.h"

hak_superslab_t *hak_pool_bring(hak_shared_pool_t *pool, uint32_t count, size_t alignment,
                                hak_extent_kind_t kind, bool no_grow, bool *huge) {
  *huge = false;
  if (pool->huge_pages == HAK_HUGE_NEVER) {
    return hak_region_acquire_small(pool->os, count, alignment, kind, pool->heap,
                                    no_grow);
  }
  hak_superslab_t *ss =
      hak_region_acquire(pool->os, count, alignment, kind, pool->heap, no_grow);
  if (ss == NULL) return NULL;
  bool always = pool->huge_pages == HAK_HUGE_ALWAYS;
  if (always && !no_grow && !hak_superslab_is_huge(ss)) {
    hak_os_advise_huge(pool->os, ss->extent.base, (size_t)count << HAK_SUPERSLAB_SHIFT);
  }
  *huge = !no_grow && (always || hak_superslab_is_huge(ss)) &&
          hak_budget_room(&pool->budget) >= HAK_ROOM_FOR_HUGE_PAGES;
  return ss;
}

/* The first slabs of many threads are touched here and there only: a thousand that come
 * at once would wait for the zeroes of huge pages that none of them fills. */
enum {
  CROWD = 32,        /* threads */
  CROWDS_FIRST = 512 /* KiB of each that are small pages */
};

static bool is_of_a_crowd(hak_shared_pool_t *pool, uint64_t superslabs) {
  uint64_t users = hak_load_relaxed(&pool->budget.users);
  return users >= CROWD && hak_option(HUGE_PAGES) < 2 &&
         superslabs * (HAK_SUPERSLAB_SIZE / HAK_KIB) < users * CROWDS_FIRST;
}

static bool wants_small_pages(hak_shared_pool_t *pool) {
  /* Without huge pages all pages are small, and one kind of region serves all. */
  if (pool->huge_pages != HAK_HUGE_DEFAULT || hak_option(HUGE_PAGES) == 0) return false;
  uint64_t superslabs = hak_load_relaxed(&pool->superslabs);
  return (pool->starts_small && superslabs < (uint64_t)hak_option(HUGE_PAGES_AFTER)) ||
         is_of_a_crowd(pool, superslabs) ||
         hak_budget_room(&pool->budget) < HAK_ROOM_FOR_HUGE_PAGES;
}

hak_superslab_t *hak_pool_new_superslab(hak_shared_pool_t *pool) {
  hak_superslab_t *ss = NULL;
  bool small = wants_small_pages(pool), huge = false;
  if (small) {
    ss = hak_region_acquire_small(pool->os, 1, HAK_SUPERSLAB_SIZE, HAK_EXTENT_SLABS,
                                  pool->heap, true);
    /* Pages that are there cost nothing, whatever their size. */
    if (ss == NULL) {
      ss = hak_region_acquire_committed(pool->os, pool->heap, HAK_SUPERSLAB_SLABS);
    }
    if (ss == NULL) {
      ss = hak_region_acquire_small(pool->os, 1, HAK_SUPERSLAB_SIZE, HAK_EXTENT_SLABS,
                                    pool->heap, false);
    }
  }
  if (ss == NULL) {
    ss = hak_pool_bring(pool, 1, HAK_SUPERSLAB_SIZE, HAK_EXTENT_SLABS, false, &huge);
  }
  if (ss == NULL) return NULL;
  if (!hak_superslab_charge_to(ss, &pool->budget)) {
    hak_region_give(ss, 1, hak_clock_cached());
    return NULL;
  }
  if (huge && !small) hak_superslab_commit_huge(ss);
  return ss;
}
