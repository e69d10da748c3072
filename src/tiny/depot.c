#include "tiny/depot.h"

#include "base/report.h"
#include "pages/clock.h"
#include "pages/idle.h"
#include "superslab/locate.h"
#include "tiny/home.h"
#include "tiny/single.h"
#include "tiny/stray.h"

enum {
  KEPT_BLOCKS = 8,      /* blocks of a class that are kept where there is no room, */
  KEPT_BYTES = 1 << 14, /* and bytes */
  /* A class's depot has so many times what all bins may have: an eighth of the limit. */
  QUOTAS = 2,
  COUNT_SHIFT = 48
};
/* Bytes that the refills of each user may miss while the bins do not overflow. */
#define MISSED_MOST ((uint64_t)4 << 20)

_Static_assert((HAK_LINK_BAD_BITS & ((uint64_t)0xffff << COUNT_SHIFT)) ==
                   (uint64_t)0xffff << COUNT_SHIFT,
               "a block's address leaves room for a count");

static const hak_depot_list_t none = {HAK_LINK_END, 0};

static void *pack(hak_depot_list_t list) {
  return (void *)((uintptr_t)list.list | (uintptr_t)list.count << COUNT_SHIFT);
}

hak_depot_list_t hak_depot_unpack(const void *word) {
  uint64_t bits = (uintptr_t)word;
  return (hak_depot_list_t){(void *)(bits & (((uint64_t)1 << COUNT_SHIFT) - 1)),
                            (uint32_t)(bits >> COUNT_SHIFT)};
}

static hak_magazine_t **stack_of(const hak_thread_t *me, hak_central_t *central) {
  return &central->depot[me->number % HAK_DEPOT_STACKS];
}

/* The thread's stack, or another one if that is empty. */
static hak_magazine_t **filled_locked(const hak_thread_t *me, hak_central_t *central) {
  hak_lock_assert_held(&central->lock);
  hak_magazine_t **stack = stack_of(me, central);
  for (uint32_t i = 0; *stack == NULL && i < HAK_DEPOT_STACKS; i++) {
    stack = &central->depot[i];
  }
  return stack;
}

/* Takes a list out. If its magazine is empty then, *emptied is that magazine. */
static hak_depot_list_t pop_locked(const hak_thread_t *me, hak_central_t *central,
                                   hak_magazine_t **emptied) {
  hak_lock_assert_held(&central->lock);
  hak_magazine_t **stack = filled_locked(me, central), *top = *stack;
  if (top == NULL) return none;
  uint32_t left = hak_load_relaxed(&top->count) - 1;
  hak_depot_list_t list = hak_depot_unpack(top->blocks[left]);
  hak_store_relaxed(&top->count, left);
  if (left == 0) {
    *stack = top->next;
    *emptied = top;
  }
  hak_store_relaxed(&central->stored, hak_load_relaxed(&central->stored) - list.count);
  central->lists--;
  if (central->lists < central->lists_least) central->lists_least = central->lists;
  return list;
}

/* Puts a list onto a stack. *more is an empty magazine or NULL, and NULL once it is used.
 * False if one is needed and there is none. */
static bool push_locked(hak_central_t *central, hak_magazine_t **stack,
                        hak_depot_list_t list, hak_magazine_t **more) {
  hak_lock_assert_held(&central->lock);
  hak_magazine_t *top = *stack;
  if (top == NULL || hak_load_relaxed(&top->count) == HAK_MAGAZINE_BLOCKS) {
    if (*more == NULL) return false;
    (*more)->next = top;
    *stack = top = *more;
    *more = NULL;
  }
  uint32_t count = hak_load_relaxed(&top->count);
  top->blocks[count] = pack(list);
  hak_store_relaxed(&top->count, count + 1);
  hak_store_relaxed(&central->stored, hak_load_relaxed(&central->stored) + list.count);
  central->lists++;
  return true;
}

static hak_depot_list_t pop(hak_thread_t *me, hak_central_t *central) {
  hak_magazine_t *emptied = NULL;
  hak_lock_acquire(&central->lock);
  hak_depot_list_t list = pop_locked(me, central, &emptied);
  hak_lock_release(&central->lock);
  if (emptied != NULL) hak_magazine_put(me, emptied);
  return list;
}

/* --- going home -------------------------------------------------------------------- */

/* The block of a list that was kept (hak_depot_keep) of a heap of samples. */
static void send_single(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                        void *list) {
  void *block;
  if (HAK_UNLIKELY(hak_list_take_fails(me, cache, &list, &block))) return;
  hak_single_home(me, cache, cls, block);
}

static void send(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                 hak_depot_list_t list) {
  hak_thread_take_in_hand(me, cls, list.count);
  if (HAK_UNLIKELY(hak_store_is_single(cache->store, cls))) {
    send_single(me, cache, cls, list.list);
  } else {
    hak_stray_cut_cycle(me, cache, list.list, list.count);
    hak_home_list(me, cache, cls, list.list, list.count);
  }
  hak_thread_take_in_hand(me, cls, -(int64_t)list.count);
}

/* Sends so many lists home, of the thread's own stack first. */
static void send_lists(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       uint32_t count) {
  hak_central_t *central = &cache->store->centrals[cls];
  for (; count > 0; count--) {
    hak_depot_list_t list = pop(me, central);
    if (list.list == HAK_LINK_END) return;
    send(me, cache, cls, list);
  }
}

HAK_SLOW void hak_depot_send_home(hak_thread_t *me, const hak_cache_t *cache,
                                  uint32_t cls) {
  hak_central_t *central = &cache->store->centrals[cls];
  if (HAK_LIKELY(hak_depot_is_empty(central))) return;
  hak_lock_acquire(&central->lock);
  uint32_t lists = central->lists;
  central->depot_room = 0;
  hak_lock_release(&central->lock);
  send_lists(me, cache, cls, lists);
}

HAK_SLOW void hak_depot_send_own(hak_thread_t *me, const hak_cache_t *cache,
                                 uint32_t cls) {
  hak_central_t *central = &cache->store->centrals[cls];
  if (HAK_LIKELY(hak_depot_is_empty(central))) return;
  uint32_t lists = 0;
  uint64_t blocks = 0;
  hak_lock_acquire(&central->lock);
  hak_magazine_t *magazine = *stack_of(me, central);
  for (; magazine != NULL; magazine = magazine->next) {
    uint32_t count = hak_load_relaxed(&magazine->count);
    for (uint32_t i = 0; i < count; i++) {
      blocks += hak_depot_unpack(magazine->blocks[i]).count;
    }
    lists += count;
  }
  central->depot_room -= blocks < central->depot_room ? blocks : central->depot_room;
  hak_lock_release(&central->lock);
  send_lists(me, cache, cls, lists);
}

/* Once in a decay: what nobody took since the last look is to go home, and the room that
 * it had goes. Returns so many lists. */
static uint32_t look_locked(hak_central_t *central) {
  hak_lock_assert_held(&central->lock);
  uint64_t now = hak_clock_cached();
  if (HAK_LIKELY(now - central->looked_at < hak_idle_decay())) return 0;
  uint32_t unused = central->lists_least, lists = central->lists;
  uint64_t stored = hak_load_relaxed(&central->stored);
  uint64_t less = lists > 0 ? stored / lists * unused : 0;
  central->depot_room -= less < central->depot_room ? less : central->depot_room;
  central->lists_least = lists - unused;
  central->looked_at = now;
  return unused;
}

void hak_depot_send_unused(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_central_t *central = &cache->store->centrals[cls];
  if (HAK_LIKELY(hak_depot_is_empty(central))) return;
  hak_lock_acquire(&central->lock);
  uint32_t lists = look_locked(central);
  hak_lock_release(&central->lock);
  send_lists(me, cache, cls, lists);
}

/* Others may put more there meanwhile, which is not waited for. */
HAK_SLOW void hak_depot_send_some(hak_thread_t *me, const hak_cache_t *cache,
                                  uint32_t cls, size_t *work) {
  hak_central_t *central = &cache->store->centrals[cls];
  uint64_t left = hak_load_relaxed(&central->stored);
  while (*work > 0 && left > 0) {
    uint32_t most = *work < UINT32_MAX ? (uint32_t)*work : UINT32_MAX;
    hak_depot_list_t list = hak_depot_take(me, cache, cls, most);
    if (list.list == HAK_LINK_END) return;
    *work -= list.count;
    left -= list.count < left ? list.count : left;
    send(me, cache, cls, list);
  }
}

HAK_SLOW void hak_depot_clear(hak_thread_t *me, hak_central_t *central) {
  while (pop(me, central).list != HAK_LINK_END) {}
  hak_lock_acquire(&central->lock);
  central->depot_room = 0;
  hak_lock_release(&central->lock);
}

/* --- lists that come and go ----------------------------------------------------------
 */

void hak_depot_note_missed(const hak_cache_t *cache, uint32_t cls, uint32_t blocks) {
  hak_add_relaxed(hak_store_missed(cache->store, cls), blocks);
}

/* Makes room for what was missed since the last time. */
static void widen_locked(const hak_cache_t *cache, uint32_t cls, hak_central_t *central) {
  hak_lock_assert_held(&central->lock);
  uint64_t size = hak_class_size(cls), quota = cache->holds[cls].quota;
  uint64_t missed = hak_exchange_relaxed(hak_store_missed(cache->store, cls), 0);
  uint64_t users = hak_load_relaxed(&cache->store->pool.budget.users), parts = 1;
  if (missed * size > MISSED_MOST * users) return;
  while (parts < users) parts *= 2;
  uint64_t most = QUOTAS * parts * quota / size, room = central->depot_room + missed;
  if (room > most) room = most;
  if (room > central->depot_room) central->depot_room = room;
}

static bool fits_locked(const hak_cache_t *cache, uint32_t cls, hak_central_t *central,
                        uint32_t blocks) {
  hak_lock_assert_held(&central->lock);
  uint64_t all = hak_load_relaxed(&central->stored) + blocks;
  if (HAK_UNLIKELY(all > central->depot_room) &&
      hak_load_relaxed(hak_store_missed(cache->store, cls)) != 0) {
    widen_locked(cache, cls, central);
  }
  return all <= central->depot_room;
}

/* Puts a list there, where `asks` only if there is room for it. */
static bool put(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                hak_depot_list_t list, bool asks, uint32_t *surplus) {
  hak_central_t *central = &cache->store->centrals[cls];
  hak_magazine_t *more = NULL;
  bool done = false;
  for (int tries = 0; tries < 2 && !done; tries++) {
    hak_lock_acquire(&central->lock);
    bool fits = !asks || fits_locked(cache, cls, central, list.count);
    done = fits && push_locked(central, stack_of(me, central), list, &more);
    if (done) *surplus = look_locked(central);
    hak_lock_release(&central->lock);
    if (!fits) break;
    if (HAK_UNLIKELY(!done)) more = hak_magazine_get(me, cache);
    if (!done && more == NULL) break; /* memory is short */
  }
  if (HAK_UNLIKELY(more != NULL)) hak_magazine_put(me, more);
  return done;
}

bool hak_depot_put(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                   hak_depot_list_t list) {
  uint32_t surplus = 0;
  bool done = put(me, cache, cls, list, true, &surplus);
  if (HAK_UNLIKELY(surplus > 0)) send_lists(me, cache, cls, surplus);
  return done;
}

hak_depot_list_t hak_depot_take(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                                uint32_t most) {
  hak_central_t *central = &cache->store->centrals[cls];
  hak_depot_list_t list = pop(me, central);
  if (HAK_LIKELY(list.count <= most)) return list;
  hak_depot_list_t rest = {HAK_LINK_END, list.count - most};
  list.count = hak_list_cut(me, cache, list.list, most, &rest.list);
  uint32_t surplus = 0;
  if (rest.list != HAK_LINK_END && !put(me, cache, cls, rest, false, &surplus)) {
    send(me, cache, cls, rest);
  }
  return list.count == 0 ? none : list;
}

/* --- a block that is kept
 * ------------------------------------------------------------------ */

/* Freed again, it is on a list still. */
static HAK_SLOW bool is_kept_locked(hak_central_t *central, const void *block) {
  hak_lock_assert_held(&central->lock);
  for (uint32_t i = 0; i < HAK_DEPOT_STACKS; i++) {
    const hak_magazine_t *top = central->depot[i];
    uint32_t count = top == NULL ? 0 : hak_load_relaxed(&top->count);
    for (uint32_t k = 0; k < count; k++) {
      if (hak_depot_unpack(top->blocks[k]).list == block) return true;
    }
  }
  return false;
}

/* Blocks of the class; 0: none is kept, as what lies there has its pages. */
static uint32_t kept_most(uint32_t cls) {
  uint32_t blocks = KEPT_BYTES / hak_class_size(cls);
  return blocks < KEPT_BLOCKS ? blocks : KEPT_BLOCKS;
}

HAK_WARM bool hak_depot_keep(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                             void *block, bool is_free) {
  hak_central_t *central = &cache->store->centrals[cls];
  hak_magazine_t *more = NULL;
  bool kept = false, again = false;
  if (kept_most(cls) == 0) return false;
  if (hak_depot_is_empty(central)) more = hak_magazine_get(me, cache);
  hak_lock_acquire(&central->lock);
  if (HAK_UNLIKELY(is_free)) {
    again = is_kept_locked(central, block);
  } else if (central->lists < kept_most(cls)) {
    hak_link_write(&me->key, block, HAK_LINK_END);
    hak_magazine_t **stack = filled_locked(me, central);
    kept = push_locked(central, stack, (hak_depot_list_t){block, 1}, &more);
  }
  hak_lock_release(&central->lock);
  if (more != NULL) hak_magazine_put(me, more);
  if (HAK_LIKELY(!again)) return kept;
  hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_DOUBLE_FREE, block,
                          HAK_TEXT_FREE);
  return true;
}

HAK_WARM void *hak_depot_take_kept(hak_thread_t *me, const hak_cache_t *cache,
                                   uint32_t cls) {
  hak_depot_list_t list = hak_depot_take(me, cache, cls, 1);
  void *block;
  if (list.list == HAK_LINK_END) return NULL;
  if (HAK_UNLIKELY(hak_link_pop_fails(&me->key, &list.list, &block))) {
    hak_list_report_bad(me, cache, block);
  } else if (HAK_UNLIKELY(hak_stray_refuses(cls, block))) {
    hak_stray_report(me, cache, block);
  } else {
    return block;
  }
  return NULL;
}
