#include "tiny/shelf.h"

#include "base/check.h"

void hak_shelf_add_locked(hak_depot_t *depot, hak_slab_t *slab) {
  hak_assert(slab->queue == HAK_QUEUE_NONE);
  depot->shelved++;
  if (hak_slab_carved(slab) < hak_slab_capacity(slab)) {
    hak_slab_t *first = hak_load_relaxed(&depot->uncarved);
    slab->queue = HAK_QUEUE_UNCARVED;
    slab->prev = NULL;
    slab->next = first;
    if (first != NULL) first->prev = slab;
    hak_store_relaxed(&depot->uncarved, slab);
    return;
  }
  slab->queue = HAK_QUEUE_SHELF;
  slab->next = NULL;
  slab->prev = depot->shelf_last;
  if (depot->shelf_last != NULL) {
    depot->shelf_last->next = slab;
  } else {
    hak_store_relaxed(&depot->shelf, slab);
  }
  depot->shelf_last = slab;
}

void hak_shelf_remove_locked(hak_depot_t *depot, hak_slab_t *slab) {
  bool carved = slab->queue == HAK_QUEUE_SHELF;
  hak_assert(carved || slab->queue == HAK_QUEUE_UNCARVED);
  depot->shelved--;
  if (slab->next != NULL) {
    slab->next->prev = slab->prev;
  } else if (carved) {
    depot->shelf_last = slab->prev;
  }
  if (slab->prev != NULL) {
    slab->prev->next = slab->next;
  } else if (carved) {
    hak_store_relaxed(&depot->shelf, slab->next);
  } else {
    hak_store_relaxed(&depot->uncarved, slab->next);
  }
  slab->queue = HAK_QUEUE_NONE;
}

static bool queue_is_valid(hak_slab_t *first, hak_slab_t *last, hak_slab_queue_t queue,
                           uint32_t *count) {
  hak_slab_t *prev = NULL;
  for (hak_slab_t *slab = first; slab != NULL; prev = slab, slab = slab->next) {
    ++*count;
    uint64_t word = hak_load_relaxed(&slab->word);
    bool carved = hak_slab_carved(slab) == hak_slab_capacity(slab);
    if (slab->queue != queue || slab->prev != prev ||
        hak_load_relaxed(&slab->held_back) != 0 ||
        hak_word_state(word) != HAK_SLAB_SHELVED || hak_word_remote_count(word) != 0 ||
        hak_slab_out(slab) == 0 || hak_slab_out(slab) > hak_slab_carved(slab) ||
        carved != (queue == HAK_QUEUE_SHELF)) {
      return false;
    }
  }
  return queue != HAK_QUEUE_SHELF || last == prev;
}

bool hak_shelf_is_valid(hak_depot_t *depot) {
  uint32_t count = 0;
  hak_lock_acquire(&depot->lock);
  bool valid = queue_is_valid(hak_load_relaxed(&depot->shelf), depot->shelf_last,
                              HAK_QUEUE_SHELF, &count) &&
               queue_is_valid(hak_load_relaxed(&depot->uncarved), NULL,
                              HAK_QUEUE_UNCARVED, &count) &&
               count == depot->shelved;
  hak_lock_release(&depot->lock);
  return valid;
}
