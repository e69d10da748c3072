#include "tiny/transfer.h"

#include "base/option.h"
#include "tiny/capacity.h"
#include "tiny/home.h"
#include "tiny/stray.h"

enum {
  BLOCKS_SCATTERED = 16 /* blocks of a magazine that nobody is likely to take */
};

/* How many places may be filled: those from the first on. */
static int32_t places_open(const hak_central_t *central) {
  int32_t open = HAK_TRANSFER_PLACES - hak_load_relaxed(&central->shut);
  int32_t most = (int32_t)hak_option(TRANSFER_MAGAZINES);
  return open < most ? open : most;
}

uint32_t hak_transfer_empty(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                            hak_magazine_t *magazine) {
  hak_magazine_sift(me, cache, cls, magazine);
  uint32_t count = hak_load_relaxed(&magazine->count);
  hak_store_relaxed(&magazine->count, 0);
  return hak_home_blocks(me, cache, cls, magazine->blocks, count);
}

HAK_SLOW void hak_transfer_send(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                                hak_magazine_t *magazine) {
  int64_t count = hak_load_relaxed(&magazine->count);
  hak_thread_take_in_hand(me, cls, count);
  hak_transfer_empty(me, cache, cls, magazine);
  hak_thread_take_in_hand(me, cls, -count);
  hak_magazine_put(me, magazine);
}

/* Shuts half of the open places, and sends home the magazines there: nobody has taken one
 * since the last look. */
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
    if (magazine != NULL) hak_transfer_send(me, cache, cls, magazine);
  }
}

/* Puts this thread's magazine, which is full, into a free place, or sends its blocks home
 * if there is none. */
static HAK_WARM void hand_over(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  hak_hold_t *hold = &cache->holds[cls];
  hak_central_t *central = &cache->store->centrals[cls];
  hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
  uint32_t count = hak_load_relaxed(&magazine->count);
  hak_thread_take_in_hand(me, cls, count);
  hak_store_relaxed(&hold->magazine, NULL);
  HAK_COUNT(me, free_batched, count);
  int32_t hint = hak_load_relaxed(&central->hint), open = places_open(central);
  for (int32_t i = hint < 0 ? 0 : hint; i < open; i++) {
    hak_magazine_t *none = NULL;
    if (hak_load_relaxed(&central->places[i]) != NULL) continue;
    /* Release: publishes the magazine to hak_transfer_take. */
    if (hak_cas_release(&central->places[i], &none, magazine)) {
      hak_thread_take_in_hand(me, cls, -(int64_t)count);
      hak_store_relaxed(&central->hint, i + 1);
      return;
    }
  }
  uint32_t slabs = hak_transfer_empty(me, cache, cls, magazine);
  hak_thread_take_in_hand(me, cls, -(int64_t)count);
  hak_store_relaxed(&hold->magazine, magazine);
  /* A magazine whose blocks are of few slabs keeps few from becoming free, so others like
   * it may lie in the places. */
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
    if (magazine == NULL) { /* memory is short */
      hak_home_blocks(me, cache, cls, &block, 1);
      return;
    }
    /* Release: publishes its zeroes to hak_blocks_add_bins. */
    hak_store_release(&hold->magazine, magazine);
    hak_capacity_begin(cache, cls);
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

/* Notes that a magazine was taken, and opens as many places again as are open. If all are
 * open already, only the hint is written. */
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
      if (!hak_capacity_is_cut(&cache->holds[cls])) {
        cache->holds[cls].magazine_blocks = hak_magazine_blocks(cls);
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
