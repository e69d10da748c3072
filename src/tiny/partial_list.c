#include "tiny/partial_list.h"

#include "base/check.h"

void hak_partial_add_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  hak_assert(slab->queue == HAK_QUEUE_NONE);
  central->listed++;
  if (hak_slab_carved(slab) < hak_slab_capacity(slab)) {
    hak_slab_t *first = hak_load_relaxed(&central->uncarved);
    slab->queue = HAK_QUEUE_UNCARVED;
    slab->prev = NULL;
    slab->next = first;
    if (first != NULL) first->prev = slab;
    hak_store_relaxed(&central->uncarved, slab);
    return;
  }
  slab->queue = HAK_QUEUE_PARTIAL;
  slab->next = NULL;
  slab->prev = central->partial_last;
  if (central->partial_last != NULL) {
    central->partial_last->next = slab;
  } else {
    hak_store_relaxed(&central->partial, slab);
  }
  central->partial_last = slab;
}

void hak_partial_remove_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  bool carved = slab->queue == HAK_QUEUE_PARTIAL;
  hak_assert(carved || slab->queue == HAK_QUEUE_UNCARVED);
  central->listed--;
  if (slab->next != NULL) {
    slab->next->prev = slab->prev;
  } else if (carved) {
    central->partial_last = slab->prev;
  }
  if (slab->prev != NULL) {
    slab->prev->next = slab->next;
  } else if (carved) {
    hak_store_relaxed(&central->partial, slab->next);
  } else {
    hak_store_relaxed(&central->uncarved, slab->next);
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
        hak_word_state(word) != HAK_SLAB_PARTIAL || hak_word_remote_count(word) != 0 ||
        hak_slab_out(slab) == 0 || hak_slab_out(slab) > hak_slab_carved(slab) ||
        carved != (queue == HAK_QUEUE_PARTIAL)) {
      return false;
    }
  }
  return queue != HAK_QUEUE_PARTIAL || last == prev;
}

bool hak_partial_is_valid(hak_central_t *central) {
  uint32_t count = 0;
  hak_lock_acquire(&central->lock);
  bool valid = queue_is_valid(hak_load_relaxed(&central->partial), central->partial_last,
                              HAK_QUEUE_PARTIAL, &count) &&
               queue_is_valid(hak_load_relaxed(&central->uncarved), NULL,
                              HAK_QUEUE_UNCARVED, &count) &&
               count == central->listed;
  hak_lock_release(&central->lock);
  return valid;
}
