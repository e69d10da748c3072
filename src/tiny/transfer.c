#include "tiny/transfer.h"

#include "base/option.h"
#include "pages/meta.h"
#include "tiny/hold.h"
#include "tiny/quota.h"
#include "tiny/spill.h"
#include "tiny/stray.h"

/* Guards the list of empty magazines of the process; threads take and give a few at a
 * time. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_MAGAZINES);
static hak_magazine_t *empties; /* [lock] by `next` */

enum {
  KEPT = 8,
  MOVED = 4,
  BLOCKS_SCATTERED = 16
};

hak_lock_t *hak_magazines_lock(void) { return &lock; }
void hak_magazines_stop(void) { empties = NULL; }

static void give_locked(hak_thread_t *me) {
  hak_lock_assert_held(&lock);
  hak_magazine_t *magazine = me->empties;
  me->empties = magazine->next;
  me->empty_count--;
  magazine->next = empties;
  empties = magazine;
}

void hak_magazines_return(hak_thread_t *me) {
  if (me->empties == NULL) return;
  hak_lock_acquire(&lock);
  while (me->empties != NULL) give_locked(me);
  hak_lock_release(&lock);
}

/* On behalf of a heap in memory of the caller's the OS is not asked. */
static hak_magazine_t *magazine_new(hak_thread_t *me, const hak_cache_t *cache) {
  bool asks = !hak_pool_is_enclosed(&cache->store->pool);
  hak_os_scope_t before = hak_os_enter(asks ? hak_os_scope : HAK_OS_BARRED);
  hak_magazine_t *magazine =
      hak_meta_alloc(me->store->pool.os, sizeof *magazine, HAK_CACHE_LINE);
  hak_os_leave(before);
  return magazine;
}

hak_magazine_t *hak_magazine_get(hak_thread_t *me, const hak_cache_t *cache) {
  if (me->empties == NULL) {
    hak_lock_acquire(&lock);
    for (int i = 0; i < MOVED && empties != NULL; i++) {
      hak_magazine_t *magazine = empties;
      empties = magazine->next;
      magazine->next = me->empties;
      me->empties = magazine;
      me->empty_count++;
    }
    hak_lock_release(&lock);
  }
  hak_magazine_t *magazine = me->empties;
  if (magazine != NULL) {
    me->empties = magazine->next;
    me->empty_count--;
  } else {
    magazine = magazine_new(me, cache);
  }
  return magazine;
}

bool hak_magazines_prepare(const hak_os_t *os, uint32_t count) {
  uint32_t ready = 0;
  hak_lock_acquire(&lock);
  for (hak_magazine_t *m = empties; m != NULL && ready < count; m = m->next) ready++;
  hak_lock_release(&lock);
  for (; ready < count; ready++) {
    hak_magazine_t *magazine = hak_meta_alloc(os, sizeof *magazine, HAK_CACHE_LINE);
    if (magazine == NULL) return false;
    hak_lock_acquire(&lock);
    magazine->next = empties;
    empties = magazine;
    hak_lock_release(&lock);
  }
  return true;
}

void hak_magazine_put(hak_thread_t *me, hak_magazine_t *magazine) {
  hak_store_relaxed(&magazine->count, 0);
  magazine->next = me->empties;
  me->empties = magazine;
  if (++me->empty_count <= KEPT) return;
  hak_lock_acquire(&lock);
  for (int i = 0; i < MOVED; i++) give_locked(me);
  hak_lock_release(&lock);
}

void *hak_magazine_link(hak_thread_t *me, hak_magazine_t *magazine) {
  uint32_t count = hak_load_relaxed(&magazine->count);
  if (HAK_UNLIKELY(count == 0)) return HAK_LINK_END;
  for (uint32_t i = 0; i + 1 < count; i++) {
    hak_link_write(&me->key, magazine->blocks[i], magazine->blocks[i + 1]);
  }
  hak_link_write(&me->key, magazine->blocks[count - 1], HAK_LINK_END);
  hak_store_relaxed(&magazine->count, 0);
  return magazine->blocks[0];
}

static int32_t places_open(const hak_central_t *central) {
  int32_t open = HAK_TRANSFER_PLACES - hak_load_relaxed(&central->shut);
  int32_t most = (int32_t)hak_option(TRANSFER_MAGAZINES);
  return open < most ? open : most;
}

void hak_magazine_sift(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       hak_magazine_t *magazine) {
  uint32_t count = hak_load_relaxed(&magazine->count);
  hak_store_relaxed(&magazine->count,
                    hak_stray_sift(me, cache, cls, magazine->blocks, count));
}

uint32_t hak_magazine_empty(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                            hak_magazine_t *magazine) {
  hak_magazine_sift(me, cache, cls, magazine);
  uint32_t count = hak_load_relaxed(&magazine->count);
  hak_store_relaxed(&magazine->count, 0);
  return hak_spill_blocks(me, cache, cls, magazine->blocks, count);
}

/* Nobody has taken a magazine since the last look: keep fewer in the slots. */
static void shut_half(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                      hak_central_t *central, int32_t open) {
  hak_hold_t *hold = &cache->holds[cls];
  if (open <= 1 && hold->magazine_blocks > BLOCKS_SCATTERED) {
    hold->magazine_blocks = BLOCKS_SCATTERED;
  }
  if (open <= 0) return;
  int32_t left = open / 2;
  hak_store_relaxed(&central->shut, HAK_TRANSFER_PLACES - left);
  for (int32_t i = HAK_TRANSFER_PLACES - 1; i >= left; i--) {
    if (hak_load_relaxed(&central->places[i]) == NULL) continue;
    /* Acquire: pairs with the release in hand_over. */
    hak_magazine_t *magazine = hak_exchange_acquire(&central->places[i], NULL);
    if (magazine == NULL) continue;
    hak_magazine_empty(me, cache, cls, magazine);
    hak_magazine_put(me, magazine);
  }
}

/* This thread's magazine is full: into a slot, or home. */
static HAK_WARM void hand_over(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_central_t *central = &cache->store->centrals[cls];
  hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
  uint32_t count = hak_load_relaxed(&magazine->count);
  hak_store_relaxed(&hold->magazine, NULL);
  HAK_COUNT(me, free_batched, count);
  int32_t hint = hak_load_relaxed(&central->hint), open = places_open(central);
  for (int32_t i = hint < 0 ? 0 : hint; i < open; i++) {
    hak_magazine_t *none = NULL;
    if (hak_load_relaxed(&central->places[i]) != NULL) continue;
    /* Release: publishes the magazine to hak_transfer_take. */
    if (hak_cas_release(&central->places[i], &none, magazine)) {
      hak_store_relaxed(&central->hint, i + 1);
      return;
    }
  }
  uint32_t slabs = hak_magazine_empty(me, cache, cls, magazine);
  if (hak_load_relaxed(&hold->magazine) == NULL) {
    hak_store_relaxed(&hold->magazine, magazine);
  } else {
    hak_magazine_put(me, magazine);
  }
  /* In address order magazines pin few slabs and may lie. */
  if (slabs * 4 <= count) return;
  if (hak_load_relaxed(&central->takes) == 0) {
    shut_half(me, cache, cls, central, open);
  } else {
    hak_store_relaxed(&central->takes, 0);
  }
}

void hak_transfer_add(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                      void *block) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
  if (HAK_UNLIKELY(magazine == NULL)) {
    magazine = hak_magazine_get(me, cache);
    if (magazine == NULL) { /* no memory for one: straight home */
      hak_spill_blocks(me, cache, cls, &block, 1);
      return;
    }
    hak_store_relaxed(&hold->magazine, magazine);
  }
  uint32_t count = hak_load_relaxed(&magazine->count);
  if (hak_stray_tells(cls)) hak_link_write(&me->key, block, HAK_LINK_END);
  magazine->blocks[count] = block;
  hak_store_relaxed(&magazine->count, count + 1);
  if (HAK_UNLIKELY(count + 1 >= hold->magazine_blocks)) hand_over(me, cache, cls);
}

hak_magazine_t *hak_transfer_take_any(hak_central_t *central) {
  for (int32_t i = HAK_TRANSFER_PLACES - 1; i >= 0; i--) {
    if (hak_load_relaxed(&central->places[i]) == NULL) continue;
    /* Acquire: pairs with the release in hand_over. */
    hak_magazine_t *magazine = hak_exchange_acquire(&central->places[i], NULL);
    if (magazine != NULL) return magazine;
  }
  return NULL;
}

/* A magazine was taken: slots are opened again, and no more than a word is
 * written where nothing changes. */
static void note_take(hak_central_t *central, int32_t place) {
  hak_store_relaxed(&central->hint, place);
  if (hak_load_relaxed(&central->takes) == 0) hak_store_relaxed(&central->takes, 1);
  int32_t shut = hak_load_relaxed(&central->shut);
  if (HAK_LIKELY(shut == 0)) return;
  int32_t open = 2 * (HAK_TRANSFER_PLACES - shut);
  hak_store_relaxed(&central->shut,
                    open < HAK_TRANSFER_PLACES ? HAK_TRANSFER_PLACES - open : 0);
}

hak_magazine_t *hak_transfer_take_slow(const hak_cache_t *cache, uint32_t cls) {
  hak_central_t *central = &cache->store->centrals[cls];
  int32_t hint = hak_load_relaxed(&central->hint);
  if (hint <= 0) {
    if (HAK_UNLIKELY(hak_load_relaxed(&central->shut) == HAK_TRANSFER_PLACES)) {
      hak_store_relaxed(&central->shut, HAK_TRANSFER_PLACES - 1);
      if (!hak_quota_is_cut(&cache->holds[cls])) {
        cache->holds[cls].magazine_blocks = hak_hold_magazine_blocks(cls);
      }
    }
    return NULL;
  }
  int32_t from = hint > HAK_TRANSFER_PLACES ? HAK_TRANSFER_PLACES - 1 : hint - 1;
  for (int32_t i = from; i >= 0; i--) {
    if (hak_load_relaxed(&central->places[i]) == NULL) continue;
    /* Acquire: pairs with the release in hand_over. */
    hak_magazine_t *magazine = hak_exchange_acquire(&central->places[i], NULL);
    if (magazine == NULL) continue;
    note_take(central, i);
    return magazine;
  }
  hak_store_relaxed(&central->hint, 0);
  return NULL;
}
