#include "superslab/pool_growth.h"

#include "base/option.h"
#include "superslab/huge.h"
#include "superslab/region.h"

/* What the heap wants of SuperSlabs that will be dense, or will not be. */
static bool wants_huge(hak_shared_pool_t *pool, bool dense) {
  int64_t mode = hak_option(HUGE_PAGES);
  if (pool->huge_pages == HAK_HUGE_NEVER) return false;
  if (hak_budget_room(&pool->budget) < HAK_ROOM_FOR_HUGE_PAGES) return false;
  if (pool->huge_pages == HAK_HUGE_ALWAYS) return true;
  return mode == 2 || (mode == 1 && dense);
}

bool hak_pool_choose_pages(hak_shared_pool_t *pool, hak_superslab_t *ss, bool dense) {
  if (hak_os_is_fixed(ss->extent.os)) return false;
  if (hak_superslab_committed(ss) == 0) {
    return hak_huge_set(ss, wants_huge(pool, dense));
  }
  if (pool->huge_pages != HAK_HUGE_DEFAULT) hak_huge_set(ss, wants_huge(pool, dense));
  return false;
}

/* --- momentum ----------------------------------------------------------------------- */

/* SuperSlabs that are granted when the first one was found dense. */
enum {
  GRANT_FIRST = 4
};

/* Takes one of those that are granted, or learns where the SuperSlab lies that is to be
 * looked at; NULL: there is none. */
static bool take_granted(hak_shared_pool_t *pool, char **probe) {
  hak_lock_acquire(&pool->lock);
  bool granted = pool->huge_left > 0;
  if (granted) pool->huge_left--;
  *probe = pool->probe == NULL ? NULL : pool->probe->extent.base;
  hak_lock_release(&pool->lock);
  return granted;
}

static void grant(hak_shared_pool_t *pool, bool dense) {
  uint32_t most = (uint32_t)hak_option(HUGE_GRANT);
  hak_lock_acquire(&pool->lock);
  uint32_t next = pool->huge_granted == 0 ? GRANT_FIRST : pool->huge_granted * 2;
  if (next > most) next = most;
  pool->huge_granted = dense ? next : 0;
  pool->huge_left = dense ? next - 1 : 0;
  if (dense) pool->probe = NULL;
  hak_lock_release(&pool->lock);
}

/* The heap's next SuperSlab for slabs will be touched nearly everywhere. */
static bool will_be_dense(hak_shared_pool_t *pool) {
  if (hak_option(HUGE_PAGES) != 1 || pool->huge_pages != HAK_HUGE_DEFAULT ||
      hak_load_relaxed(&pool->superslabs) < (uint64_t)hak_option(HUGE_PAGES_AFTER)) {
    return false;
  }
  char *probe;
  if (take_granted(pool, &probe)) return true;
  if (probe == NULL) return false;
  /* If it has gone meanwhile the answer is of no use, and does no harm. */
  int64_t resident = hak_os_resident(pool->os, probe, HAK_SUPERSLAB_SIZE);
  if (resident < 0) return false;
  bool dense = resident * 100 >= (int64_t)HAK_SUPERSLAB_SIZE * hak_option(HUGE_DENSITY);
  grant(pool, dense);
  return dense;
}

hak_superslab_t *hak_pool_new_superslab(hak_shared_pool_t *pool) {
  hak_superslab_t *ss = hak_region_acquire(pool->os, 1, HAK_SUPERSLAB_SIZE,
                                           HAK_EXTENT_SLABS, pool->heap, false);
  if (ss == NULL) return NULL;
  if (!hak_superslab_charge_to(ss, &pool->budget)) {
    hak_region_give(ss, 1, hak_clock_cached());
    return NULL;
  }
  bool bare = hak_superslab_committed(ss) == 0;
  if (hak_pool_choose_pages(pool, ss, bare && will_be_dense(pool))) {
    hak_superslab_commit_huge(ss);
  } else if (bare) {
    hak_lock_acquire(&pool->lock);
    pool->probe = ss;
    hak_lock_release(&pool->lock);
  }
  return ss;
}
