#include "superslab/shared_pool.h"

#include "base/check.h"
#include "base/event.h"
#include "base/option.h"
#include "base/wait.h"
#include "pages/idle.h"
#include "superslab/clean.h"
#include "superslab/fit.h"
#include "superslab/huge.h"
#include "superslab/locate.h"
#include "superslab/pool_growth.h"
#include "superslab/region.h"
#include "superslab/tails.h"
#include "superslab/tree.h"

typedef hak_superslab_t node_t;

/* The lowest start of `span` free slots at the alignment, or -1. */
static int find_slots(uint32_t free, unsigned span, size_t alignment) {
  uint32_t starts = hak_run_starts(free, span);
  unsigned step = (unsigned)(alignment >> HAK_SLAB_SHIFT);
  if (step > 1) {
    uint32_t aligned = 0;
    for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i += step) aligned |= (uint32_t)1 << i;
    starts &= aligned;
  }
  return starts == 0 ? -1 : (int)hak_lowest_bit(starts);
}

void hak_pool_init(hak_shared_pool_t *pool, const hak_os_t *os, void *heap) {
  hak_lock_init(&pool->lock, HAK_RANK_POOL);
  pool->os = os;
  pool->heap = heap;
  hak_budget_init(&pool->budget);
}

void hak_pool_pass_on(hak_shared_pool_t *pool, const hak_os_t *os, void *heap) {
  hak_lock_acquire(&pool->lock);
  hak_assert(pool->root == NULL && pool->runs == NULL);
  pool->os = os;
  pool->heap = heap;
  pool->keeps_all = false;
  hak_lock_release(&pool->lock);
}

/* Slots whose pages are there already, among the SuperSlabs that have some; looks
 * at a few. */
static node_t *find_committed_locked(hak_shared_pool_t *pool, unsigned span,
                                     size_t alignment, size_t pages, int *first) {
  hak_lock_assert_held(&pool->lock);
  enum {
    LOOKS = 64
  };
  node_t *ss = pool->retained.last;
  for (int i = 0; ss != NULL && i < LOOKS; i++, ss = ss->prev) {
    *first = hak_superslab_find(ss, hak_superslab_free(ss), span, alignment, pages);
    if (*first >= 0) return ss;
  }
  return NULL;
}

/* The slot where an empty SuperSlab is begun with. */
static int first_slot(const hak_shared_pool_t *pool, unsigned span, unsigned step) {
  unsigned slot = pool->colour % HAK_SUPERSLAB_SLABS;
  if (slot + span > HAK_SUPERSLAB_SLABS) return 0;
  return (int)hak_align_down(slot, step);
}

static node_t *find_locked(hak_shared_pool_t *pool, unsigned span, size_t alignment,
                           size_t pages, int *first) {
  hak_lock_assert_held(&pool->lock);
  if (HAK_UNLIKELY(pool->fits) && span == 1 && alignment == HAK_SLAB_SIZE) {
    return hak_fit_find_locked(pool, pages, first);
  }
  node_t *ss = hak_tree_lowest(pool->root, span);
  if (ss == NULL) return NULL;
  *first = find_slots(hak_superslab_free(ss), span, alignment);
  if (*first >= 0) return ss;
  /* An aligned span may not fit where the run is long enough; twice its length always
   * does. */
  unsigned sure = span + (unsigned)(alignment >> HAK_SLAB_SHIFT) - 1;
  ss = sure <= HAK_SUPERSLAB_SLABS ? hak_tree_lowest(pool->root, sure) : NULL;
  if (ss != NULL) *first = find_slots(hak_superslab_free(ss), span, alignment);
  return ss;
}

/* Brings a SuperSlab in. Returns with the lock held if it did. */
static node_t *grow(hak_shared_pool_t *pool, unsigned span, size_t alignment,
                    uint8_t turn, int *first) {
  node_t *ss = hak_pool_new_superslab(pool);
  if (ss != NULL) {
    hak_pool_add_superslab(pool, ss);
    *first = first_slot(pool, span, (unsigned)(alignment >> HAK_SLAB_SHIFT));
  } else {
    hak_lock_acquire(&pool->lock);
    if (hak_pool_borrow_locked(pool, span, alignment)) {
      ss = find_locked(pool, span, alignment, 0, first);
    }
  }
  if (hak_load_relaxed(&pool->growing) == turn) hak_store_relaxed(&pool->growing, 0);
  if (ss == NULL) hak_lock_release(&pool->lock);
  return ss;
}

/* Finds room in the pool, or brings a SuperSlab in. Returns with the lock held if there
 * is room. Threads that find none at the same moment would each bring one: those that
 * come later wait, but not for ever, for the one that grows may wait for them in a hook.
 * Whoever has waited in vain grows the pool instead, and the others wait for it: all of
 * them have waited as long where the system had another thread run.
 */
static node_t *find_or_grow(hak_shared_pool_t *pool, unsigned span, size_t alignment,
                            size_t pages, int *first) {
  enum {
    STEPS = 84, /* about a millisecond */
    TURNS = 16  /* of others that one waits for */
  };
  uint8_t seen = 0;
  for (unsigned rounds = 0, turns = 0;;) {
    hak_lock_acquire(&pool->lock);
    node_t *ss = find_locked(pool, span, alignment, pages, first);
    if (ss != NULL) return ss;
    uint8_t turn = hak_load_relaxed(&pool->growing);
    if (turn != seen && turns++ < TURNS) rounds = 0;
    seen = turn;
    bool wait = turn != 0 && rounds < STEPS;
    if (!wait) {
      turn = turn == UINT8_MAX ? 1 : (uint8_t)(turn + 1);
      hak_store_relaxed(&pool->growing, turn);
    }
    hak_lock_release(&pool->lock);
    if (!wait) return grow(pool, span, alignment, turn, first);
    while (rounds < STEPS && hak_load_relaxed(&pool->growing) == seen) {
      hak_wait_step(&rounds);
    }
  }
}

/* Finds slots where nothing may be asked for: those that have their pages, here or
 * among the free SuperSlabs of the process. Returns with the lock held if there are
 * some. */
static node_t *find_without_os(hak_shared_pool_t *pool, unsigned span, size_t alignment,
                               size_t pages, int *first) {
  hak_lock_acquire(&pool->lock);
  node_t *ss = find_committed_locked(pool, span, alignment, pages, first);
  if (ss != NULL) return ss;
  hak_lock_release(&pool->lock);
  ss = hak_region_acquire_committed(pool->os, pool->heap, span, alignment, pages);
  if (ss == NULL) return NULL;
  if (!hak_superslab_charge_to(ss, &pool->budget)) {
    hak_region_give(ss, 1, hak_clock_cached());
    return NULL;
  }
  hak_pool_add_superslab(pool, ss);
  *first = hak_superslab_find(ss, HAK_ALL_SLOTS, span, alignment, pages);
  return ss;
}

/* Takes slots that were found, with their first `pages` pages. Called with the lock held,
 * which it lets go of. */
static hak_slab_t *take_locked(hak_shared_pool_t *pool, node_t *ss, unsigned first,
                               unsigned span, size_t pages, bool no_grow, bool *zeroed) {
  hak_lock_assert_held(&pool->lock);
  hak_pool_take_locked(pool, ss, first, span);
  hak_lock_release(&pool->lock);
  if (!no_grow) hak_pool_refill(pool, ss);
  if (!hak_tail_commit(ss, first, span, pages, no_grow, zeroed)) {
    hak_pool_put(pool, &ss->slabs[first], span);
    return NULL;
  }
  return &ss->slabs[first];
}

/* `no_grow`: from slots that have their pages. */
static hak_slab_t *get(hak_shared_pool_t *pool, unsigned span, size_t alignment,
                       size_t pages, bool no_grow, bool *zeroed) {
  int first = 0;
  node_t *ss;
  if (HAK_UNLIKELY(no_grow)) {
    ss = find_without_os(pool, span, alignment, pages, &first);
  } else {
    hak_clock_refresh();
    ss = find_or_grow(pool, span, alignment, pages, &first);
  }
  if (ss == NULL) return NULL;
  return take_locked(pool, ss, (unsigned)first, span, pages, no_grow, zeroed);
}

hak_slab_t *hak_pool_get(hak_shared_pool_t *pool, unsigned span, size_t alignment,
                         size_t bytes, bool no_grow, bool *zeroed) {
  size_t pages = hak_os_pages(pool->os, bytes);
  if (hak_pool_is_enclosed(pool)) {
    return get(pool, span, alignment, pages, false, zeroed);
  }
  hak_slab_t *slab = get(pool, span, alignment, pages, no_grow, zeroed);
  /* The lowest slots may have no pages where others have some that are paid for. */
  if (HAK_UNLIKELY(slab == NULL) && !no_grow && hak_budget_is_limited(&pool->budget)) {
    slab = get(pool, span, alignment, pages, true, zeroed);
  }
  return slab;
}

/* No more of the pool's slots are free than a SuperSlab has. */
static bool has_few_free_locked(const hak_shared_pool_t *pool) {
  hak_lock_assert_held(&pool->lock);
  uint64_t taken = hak_load_relaxed(&((hak_shared_pool_t *)pool)->taken);
  uint64_t superslabs = hak_load_relaxed(&((hak_shared_pool_t *)pool)->superslabs);
  return superslabs * HAK_SUPERSLAB_SLABS <= taken + HAK_SUPERSLAB_SLABS;
}

hak_slab_t *hak_pool_get_roomy(hak_shared_pool_t *pool, unsigned span, unsigned room,
                               size_t bytes, bool *zeroed) {
  enum {
    MANY = 8 /* SuperSlabs: to become empty again they need small holes to be filled */
  };
  if (pool->fits || hak_budget_is_limited(&pool->budget) ||
      hak_load_relaxed(&pool->superslabs) >= MANY) {
    return NULL;
  }
  size_t pages = hak_os_pages(pool->os, bytes);
  int first;
  hak_clock_refresh();
  hak_lock_acquire(&pool->lock);
  node_t *ss = find_locked(pool, room, HAK_SLAB_SIZE, pages, &first);
  bool grows = ss == NULL && has_few_free_locked(pool);
  if (ss == NULL) hak_lock_release(&pool->lock);
  if (grows) ss = find_or_grow(pool, room, HAK_SLAB_SIZE, pages, &first);
  if (ss == NULL) return NULL;
  return take_locked(pool, ss, (unsigned)first, span, pages, false, zeroed);
}

void hak_pool_put(hak_shared_pool_t *pool, hak_slab_t *slab, unsigned span) {
  node_t *ss = hak_slab_superslab(slab);
  hak_lock_acquire(&pool->lock);
  hak_pool_put_locked(pool, ss, slab->slot, span, hak_clock_cached());
  hak_lock_release(&pool->lock);
}

bool hak_pool_extend(hak_shared_pool_t *pool, hak_slab_t *slab, unsigned span,
                     unsigned more) {
  node_t *ss = hak_slab_superslab(slab);
  unsigned first = slab->slot + span;
  if (first + more > HAK_SUPERSLAB_SLABS) return false;
  uint32_t slots = hak_mask32(first, more);
  hak_lock_acquire(&pool->lock);
  bool fits = (hak_superslab_free(ss) & slots) == slots;
  if (fits) hak_pool_take_locked(pool, ss, first, more);
  hak_lock_release(&pool->lock);
  return fits;
}

/* Slabs whose pages are not to be kept. */
static uint64_t surplus_slabs_locked(const hak_shared_pool_t *pool) {
  hak_lock_assert_held(&pool->lock);
  if (pool->readying != 0) return 0;
  uint64_t has = hak_pool_in_use_locked(pool) + pool->empty;
  return has > pool->kept_slabs ? has - pool->kept_slabs : 0;
}

/* A SuperSlab that stays the heap's has small pages when it is used again, even if all
 * its pages go: it is not known how much of it will be. */
static void before_slots_go(hak_shared_pool_t *pool, node_t *ss, uint32_t slots) {
  if (hak_pool_is_huge_everywhere(pool)) {
    hak_huge_before_slots_go(ss, slots);
  } else {
    hak_huge_before_part_goes(ss);
  }
}

/* Gives the pages of slots that the caller has taken back. */
static size_t purge_slots(hak_shared_pool_t *pool, node_t *ss, uint32_t slots) {
  size_t given = 0;
  while (slots != 0) {
    unsigned first = hak_lowest_bit(slots), count = hak_lowest_run(slots);
    slots &= ~hak_mask32(first, count);
    before_slots_go(pool, ss, hak_mask32(first, count));
    size_t got = hak_superslab_purge(ss, first, count);
    if (HAK_UNLIKELY(hak_superslab_is_huge(ss))) { /* see hak_huge_after_part_went */
      before_slots_go(pool, ss, hak_mask32(first, count));
    }
    if (got == 0) break;
    given += got;
    hak_event_emit(HAK_EVENT_PURGE, hak_superslab_slot(ss, first), got);
  }
  return given;
}

/* A SuperSlab counts as so many slabs of those that may be looked at: to bring the tree
 * up to date twice costs more than to look at a few slabs. */
enum {
  VISIT_SLABS = 128
};

/* The SuperSlab that gives pages back next: the one that has been idle for longest, but
 * for those that would have to split huge pages and have not been idle for long enough.
 * Looks at a few. */
static node_t *first_to_purge_locked(const hak_shared_pool_t *pool,
                                     hak_pool_idle_t idle) {
  hak_lock_assert_held(&pool->lock);
  enum {
    LOOKS = 32
  };
  node_t *ss = pool->retained.first;
  for (int i = 0; ss != NULL && ss->idle_since <= idle.before && i < LOOKS; i++) {
    if (ss->idle_since <= idle.split || !hak_superslab_is_huge(ss)) return ss;
    ss = ss->next;
  }
  return NULL;
}

static size_t purge(hak_shared_pool_t *pool, hak_pool_idle_t idle, bool kept,
                    size_t max_bytes, size_t *slabs) {
  size_t given = 0, visits = *slabs / VISIT_SLABS + 1;
  hak_lock_acquire(&pool->lock);
  for (; *slabs > 0 && given < max_bytes && visits > 0; visits--) {
    node_t *ss = first_to_purge_locked(pool, idle);
    if (ss == NULL) break;
    uint64_t idle_since = ss->idle_since;
    size_t most = (max_bytes - given - 1) / HAK_SLAB_SIZE + 1;
    uint64_t surplus = kept ? UINT64_MAX : surplus_slabs_locked(pool);
    if (most > *slabs) most = *slabs;
    if (most > surplus) most = surplus;
    if (most == 0) break;
    uint32_t slots = hak_superslab_retained(ss);
    while (hak_count_bits(slots) > most) slots &= ~hak_highest_one(slots);
    hak_pool_take_in_hand_locked(pool, ss, slots);
    hak_lock_release(&pool->lock);
    *slabs -= hak_count_bits(slots);
    size_t got = purge_slots(pool, ss, slots);
    given += got;
    hak_lock_acquire(&pool->lock);
    hak_pool_put_in_hand_locked(pool, ss, slots, idle_since);
    if (got == 0) break; /* the OS refuses: do not go round for ever */
  }
  if (pool->retained.first == NULL) hak_pool_give_bare_locked(pool, hak_clock_cached());
  hak_lock_release(&pool->lock);
  return given;
}

size_t hak_pool_purge(hak_shared_pool_t *pool, uint64_t before, size_t max_bytes,
                      size_t *slabs) {
  return purge(pool, (hak_pool_idle_t){before, before, true}, false, max_bytes, slabs);
}

HAK_SLOW void hak_pool_purge_surplus(hak_shared_pool_t *pool) {
  hak_lock_acquire(&pool->lock);
  size_t slabs = hak_fit_surplus_locked(pool);
  hak_lock_release(&pool->lock);
  if (slabs == 0) return;
  (void)hak_pool_purge(pool, UINT64_MAX, SIZE_MAX, &slabs);
}

size_t hak_pool_purge_kept(hak_shared_pool_t *pool, size_t max_bytes) {
  size_t slabs = SIZE_MAX;
  hak_pool_idle_t any = {UINT64_MAX, UINT64_MAX, true};
  return purge(pool, any, true, max_bytes, &slabs);
}

/* Looks at a pool that keeps what it has, or whose hooks refuse: so many in a decay, or
 * one in so many ns, which is not long where the decay is set to less meanwhile. */
enum {
  VAIN_PER_DECAY = 32,
  VAIN_NS_MOST = 100000000
};

size_t hak_pool_purge_oldest(hak_pool_idle_t idle, size_t max_bytes, size_t *slabs,
                             bool *any) {
  uint64_t vain = hak_idle_decay() / VAIN_PER_DECAY + 1;
  if (vain > VAIN_NS_MOST) vain = VAIN_NS_MOST;
  uint64_t latest = idle.again ? idle.before + vain : idle.before, next = latest;
  hak_pool_link_t *link = hak_pool_queue_visit(&next);
  *any = link != NULL;
  if (link == NULL) return 0;
  hak_shared_pool_t *pool = HAK_CONTAINER_OF(link, hak_shared_pool_t, link);
  if (next < idle.before) idle.before = next;
  size_t given = purge(pool, idle, false, max_bytes, slabs);
  hak_lock_acquire(&pool->lock);
  const node_t *first = pool->retained.first;
  uint64_t oldest = first == NULL ? UINT64_MAX : first->idle_since;
  /* What became idle since `before` is not due, and would be found again at once. */
  if (given == 0 && oldest <= latest) {
    uint64_t now = hak_clock_cached();
    oldest = (now > latest ? now : latest) + vain;
  }
  hak_pool_queue_leave(link, oldest);
  hak_lock_release(&pool->lock);
  return given;
}

void hak_pool_forget_visit(hak_shared_pool_t *pool) {
  /* Nobody else is there. Most pools are as they should be, and stay untouched: where a
   * process has thousands each has a page, which is to be copied otherwise. */
  if (hak_load_relaxed(&pool->growing) == 0 && pool->link.visitor == NULL) return;
  hak_lock_acquire(&pool->lock);
  hak_store_relaxed(&pool->growing, 0);
  const node_t *first = pool->retained.first;
  if (hak_pool_queue_forget_visit(&pool->link) && first != NULL) {
    hak_pool_queue_add(&pool->link, first->idle_since);
  }
  hak_lock_release(&pool->lock);
}

bool hak_pool_contains(hak_shared_pool_t *pool, const hak_superslab_t *ss) {
  hak_lock_acquire(&pool->lock);
  const node_t *node = pool->root;
  while (node != NULL && node != ss) {
    node = ss->extent.base < node->extent.base ? node->left : node->right;
  }
  hak_lock_release(&pool->lock);
  return node != NULL;
}

static bool visit_tree(node_t *ss, bool (*visit)(hak_superslab_t *ss, void *ctx),
                       void *ctx) {
  return ss == NULL || (visit_tree(ss->left, visit, ctx) && visit(ss, ctx) &&
                        visit_tree(ss->right, visit, ctx));
}

void hak_pool_visit(hak_shared_pool_t *pool,
                    bool (*visit)(hak_superslab_t *ss, void *ctx), void *ctx) {
  hak_lock_acquire(&pool->lock);
  visit_tree(pool->root, visit, ctx);
  hak_lock_release(&pool->lock);
}

/* --- the end of all blocks ------------------------------------------------- */

void hak_pool_add_run(hak_shared_pool_t *pool, hak_superslab_t *ss) {
  hak_lock_acquire(&pool->lock);
  ss->prev = NULL;
  ss->next = pool->runs;
  if (ss->next != NULL) ss->next->prev = ss;
  pool->runs = ss;
  hak_lock_release(&pool->lock);
}

void hak_pool_remove_run(hak_shared_pool_t *pool, hak_superslab_t *ss) {
  hak_lock_acquire(&pool->lock);
  if (ss->next != NULL) ss->next->prev = ss->prev;
  if (ss->prev != NULL) {
    ss->prev->next = ss->next;
  } else {
    pool->runs = ss->next;
  }
  hak_lock_release(&pool->lock);
}

void hak_pool_forget_run(hak_shared_pool_t *pool, const hak_superslab_t *ss) {
  hak_lock_acquire(&pool->lock);
  node_t *run = pool->runs;
  while (run != NULL && run != ss) run = run->next;
  hak_lock_release(&pool->lock);
  if (run != NULL) hak_pool_remove_run(pool, run);
}

/* Makes no address of the SuperSlab a block's any more. */
static void clear_superslab(node_t *ss, hak_pool_gone_t *gone) {
  size_t holes = 0;
  uintptr_t base = (uintptr_t)ss->extent.base;
  hak_registry_set_entries(base, HAK_SUPERSLAB_SLABS, 0);
  hak_locate_set_class(base, HAK_SUPERSLAB_SLABS, HAK_CLASS_NONE);
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    hak_slab_t *slab = &ss->slabs[i];
    if ((hak_superslab_free(ss) >> i & 1) == 0 &&
        hak_slab_class(slab) == HAK_CLASS_LARGE) {
      gone->large_blocks++;
      gone->large_bytes += hak_load_relaxed(&slab->usable);
    }
    holes += hak_slab_clear_holes(slab);
    hak_slab_forget(slab);
  }
  hak_superslab_soil(ss, ~hak_superslab_free(ss));
  hak_sub_relaxed(&hak_hole_bytes, holes * ss->extent.os->page_size);
}

static HAK_SLOW void clear_kept_locked(hak_shared_pool_t *pool, node_t *ss, uint64_t now,
                                       hak_pool_gone_t *gone) {
  hak_lock_assert_held(&pool->lock);
  if (ss == NULL) return;
  clear_superslab(ss, gone);
  hak_pool_each_run_locked(pool, ss, ~hak_superslab_free(ss), now, true);
  hak_pool_requeue_locked(pool, ss);
  pool->empty += hak_count_bits(hak_superslab_retained(ss));
  ss->run = HAK_SUPERSLAB_SLABS;
  clear_kept_locked(pool, ss->left, now, gone);
  clear_kept_locked(pool, ss->right, now, gone);
  hak_tree_update(ss);
}

static void clear_given_locked(hak_shared_pool_t *pool, uint64_t now,
                               hak_pool_gone_t *gone) {
  hak_lock_assert_held(&pool->lock);
  pool->youngest = pool->settled = pool->granted = NULL;
  pool->huge_granted = pool->huge_left = 0;
  pool->mended_to = NULL;
  while (pool->root != NULL) {
    node_t *ss = pool->root;
    pool->root = hak_tree_merge(ss->left, ss->right);
    clear_superslab(ss, gone);
    hak_pool_each_run_locked(pool, ss, hak_superslab_free(ss), now, false);
    if (ss->queue != NULL) hak_superslab_dequeue(ss);
    hak_region_give(ss, 1, now);
  }
  hak_store_relaxed(&pool->superslabs, 0);
}

/* Takes the lock when no other thread gives pages of the pool back. */
static void acquire_alone(hak_shared_pool_t *pool) {
  unsigned rounds = 0;
  hak_lock_acquire(&pool->lock);
  while (!hak_pool_queue_remove(&pool->link)) {
    hak_lock_release(&pool->lock);
    hak_wait_step(&rounds);
    hak_lock_acquire(&pool->lock);
  }
}

HAK_SLOW void hak_pool_clear(hak_shared_pool_t *pool, bool keep, hak_pool_gone_t *gone) {
  hak_clock_refresh();
  uint64_t now = hak_clock_cached();
  acquire_alone(pool);
  pool->empty = 0;
  if (keep) {
    clear_kept_locked(pool, pool->root, now, gone);
  } else {
    clear_given_locked(pool, now, gone);
  }
  pool->keeps_free = keep;
  if (!keep) pool->kept_slabs = pool->kept_superslabs = pool->in_hand = 0;
  hak_store_relaxed(&pool->taken, 0);
  hak_store_relaxed(&pool->run_bytes, 0);
  hak_store_relaxed(&pool->tail_bytes, 0);
  hak_store_relaxed(&pool->tails_came, 0);
  hak_pool_kept_changed_locked(pool);
  while (pool->runs != NULL) {
    node_t *ss = pool->runs;
    pool->runs = ss->next;
    uint64_t size = hak_load_relaxed(&ss->extent.size);
    uint32_t n = (uint32_t)hak_div_up(size, HAK_SUPERSLAB_SIZE);
    gone->large_blocks++;
    gone->large_bytes += size;
    for (uint32_t i = 0; i < n; i++) {
      hak_store_relaxed(&ss[i].extent.block, NULL);
      hak_superslab_soil(&ss[i], HAK_ALL_SLOTS);
    }
    hak_region_give(ss, n, now);
  }
  hak_lock_release(&pool->lock);
}

static HAK_SLOW bool subtree_is_valid_locked(const hak_shared_pool_t *pool,
                                             const node_t *node, uint64_t *nodes,
                                             uint64_t *taken, uint64_t *annexed) {
  hak_lock_assert_held(&pool->lock);
  if (node == NULL) return true;
  if (hak_pool_is_enclosed(pool)) *annexed += hak_locate_annexed(node);
  uint32_t run = node->run;
  if (hak_tree_run(node->left) > run) run = hak_tree_run(node->left);
  if (hak_tree_run(node->right) > run) run = hak_tree_run(node->right);
  *nodes += 1;
  *taken += HAK_SUPERSLAB_SLABS - hak_count_bits(hak_superslab_free(node));
  return node->tree_run == run &&
         node->run == hak_longest_run(hak_superslab_free(node)) &&
         hak_load_relaxed(&node->extent.heap) == pool->heap &&
         (pool->keeps_free || hak_superslab_free(node) != HAK_ALL_SLOTS) &&
         hak_superslab_is_valid(node) &&
         (node->left == NULL || node->left->extent.base < node->extent.base) &&
         (node->right == NULL || node->right->extent.base > node->extent.base) &&
         subtree_is_valid_locked(pool, node->left, nodes, taken, annexed) &&
         subtree_is_valid_locked(pool, node->right, nodes, taken, annexed);
}

static const void *find_written_locked(const hak_shared_pool_t *pool, const node_t *ss) {
  hak_lock_assert_held(&pool->lock);
  if (ss == NULL) return NULL;
  const void *found = hak_clean_find(ss, hak_superslab_free(ss));
  if (found == NULL) found = find_written_locked(pool, ss->left);
  return found != NULL ? found : find_written_locked(pool, ss->right);
}

HAK_SLOW const void *hak_pool_find_written(hak_shared_pool_t *pool) {
  if (HAK_CHECKS < 3) return NULL;
  hak_lock_acquire(&pool->lock);
  const void *found = find_written_locked(pool, pool->root);
  hak_lock_release(&pool->lock);
  return found;
}

bool hak_pool_is_valid(hak_shared_pool_t *pool) {
  uint64_t nodes = 0, taken = 0, annexed = 0;
  hak_lock_acquire(&pool->lock);
  bool valid = subtree_is_valid_locked(pool, pool->root, &nodes, &taken, &annexed) &&
               nodes == hak_load_relaxed(&pool->superslabs) &&
               taken == hak_load_relaxed(&pool->taken) &&
               (!hak_pool_is_enclosed(pool) || annexed == pool->in_hand) &&
               hak_pool_kept_is_counted_locked(pool) &&
               (pool->retained.first == NULL || pool->link.queued);
  hak_lock_release(&pool->lock);
  return valid;
}
