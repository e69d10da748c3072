#include "tiny/magazine.h"

#include "base/option.h"
#include "pages/meta.h"
#include "tiny/stray.h"

uint32_t hak_magazine_blocks(uint32_t cls) {
  uint32_t most = (uint32_t)hak_option(MAGAZINE_BLOCKS);
  uint32_t least = (uint32_t)hak_option(BIN_BLOCKS_MIN);
  uint32_t blocks = (uint32_t)hak_option(BIN_BYTES) / hak_class_size(cls);
  if (blocks < least) blocks = least;
  return blocks < most ? blocks : most;
}

/* Guards the list of empty magazines of the process; threads take and give a few at a
 * time. */
static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_MAGAZINES);
static hak_magazine_t *empties; /* [lock] by `next` */

enum {
  KEPT = 8, /* empty magazines that a thread keeps at most */
  MOVED = 4 /* magazines that change between a thread and the process at a time */
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

/* Makes a magazine, or returns NULL. For a heap in external memory the OS is not asked.
 */
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
    magazine->blocks[HAK_MAGAZINE_BLOCKS - 1] = NULL; /* its last page is there too */
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

void hak_magazine_sift(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                       hak_magazine_t *magazine) {
  uint32_t count = hak_load_relaxed(&magazine->count);
  hak_store_relaxed(&magazine->count,
                    hak_stray_sift(me, cache, cls, magazine->blocks, count));
}
