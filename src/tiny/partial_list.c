#include "tiny/partial_list.h"

#include "base/bits.h"
#include "base/check.h"

static bool is_carved(const hak_slab_t *slab) {
  return hak_slab_carved((hak_slab_t *)slab) == hak_slab_capacity(slab);
}

static uint32_t group_of(hak_slab_t *slab) {
  uint32_t group = hak_slab_out(slab) * HAK_PARTIAL_GROUPS / hak_slab_capacity(slab);
  return group < HAK_PARTIAL_GROUPS ? group : HAK_PARTIAL_GROUPS - 1;
}

/* --- the queue of partly carved slabs ------------------------------------------- */

static void add_uncarved_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  hak_slab_t *first = hak_load_relaxed(&central->uncarved);
  slab->queue = HAK_QUEUE_UNCARVED;
  slab->prev = NULL;
  slab->next = first;
  if (first != NULL) first->prev = slab;
  hak_store_relaxed(&central->uncarved, slab);
}

static void remove_uncarved_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  if (slab->next != NULL) slab->next->prev = slab->prev;
  if (slab->prev != NULL) {
    slab->prev->next = slab->next;
  } else {
    hak_store_relaxed(&central->uncarved, slab->next);
  }
}

/* --- groups --------------------------------------------------------------------- */

static void add_to_group_locked(hak_central_t *central, hak_slab_t *slab,
                                uint32_t group) {
  hak_lock_assert_held(&central->lock);
  hak_slab_t *first = central->partial[group];
  slab->queue = HAK_QUEUE_PARTIAL;
  slab->group = group & (HAK_PARTIAL_GROUPS - 1);
  slab->next = NULL;
  if (first != NULL) {
    slab->prev = first->prev;
    first->prev->next = slab;
    first->prev = slab;
    return;
  }
  slab->prev = slab;
  central->partial[group] = slab;
  hak_store_relaxed(&central->groups, hak_load_relaxed(&central->groups) | 1u << group);
}

static void remove_from_group_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  uint32_t group = slab->group;
  hak_slab_t *first = central->partial[group], *next = slab->next;
  if (slab != first) {
    slab->prev->next = next;
    (next != NULL ? next : first)->prev = slab->prev;
    return;
  }
  central->partial[group] = next;
  if (next != NULL) {
    next->prev = slab->prev;
    return;
  }
  hak_store_relaxed(&central->groups,
                    hak_load_relaxed(&central->groups) & ~(1u << group));
}

/* --- the list --------------------------------------------------------------------- */

void hak_partial_add_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  hak_assert(slab->queue == HAK_QUEUE_NONE);
  central->listed++;
  if (is_carved(slab)) {
    add_to_group_locked(central, slab, group_of(slab));
  } else {
    add_uncarved_locked(central, slab);
  }
}

void hak_partial_remove_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  hak_assert(slab->queue == HAK_QUEUE_PARTIAL || slab->queue == HAK_QUEUE_UNCARVED);
  central->listed--;
  if (slab->queue == HAK_QUEUE_PARTIAL) {
    remove_from_group_locked(central, slab);
  } else {
    remove_uncarved_locked(central, slab);
  }
  slab->queue = HAK_QUEUE_NONE;
}

void hak_partial_regroup_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  if (slab->queue != HAK_QUEUE_PARTIAL) return;
  /* The division of group_of is only done where the group changes. */
  uint32_t capacity = hak_slab_capacity(slab);
  if (hak_slab_out(slab) * HAK_PARTIAL_GROUPS - slab->group * capacity < capacity) return;
  remove_from_group_locked(central, slab);
  add_to_group_locked(central, slab, group_of(slab));
}

hak_slab_t *hak_partial_first_locked(const hak_central_t *central) {
  hak_lock_assert_held(&central->lock);
  uint32_t groups = hak_load_relaxed(&((hak_central_t *)central)->groups);
  return groups == 0 ? NULL : central->partial[hak_highest_bit(groups)];
}

void hak_partial_forget_locked(hak_central_t *central) {
  hak_lock_assert_held(&central->lock);
  hak_store_relaxed(&central->groups, 0);
  hak_store_relaxed(&central->uncarved, NULL);
  for (int i = 0; i < HAK_PARTIAL_GROUPS; i++) central->partial[i] = NULL;
  central->listed = 0;
}

/* --- checks ----------------------------------------------------------------------- */

static bool slab_is_valid(hak_slab_t *slab, hak_slab_queue_t queue) {
  uint64_t word = hak_load_relaxed(&slab->word);
  return slab->queue == queue && is_carved(slab) == (queue == HAK_QUEUE_PARTIAL) &&
         hak_load_relaxed(&slab->held_back) == 0 &&
         hak_word_state(word) == HAK_SLAB_PARTIAL && hak_word_remote_count(word) == 0 &&
         hak_slab_out(slab) != 0 && hak_slab_out(slab) <= hak_slab_carved(slab);
}

static bool uncarved_is_valid_locked(hak_central_t *central, uint32_t *count) {
  hak_lock_assert_held(&central->lock);
  hak_slab_t *prev = NULL, *slab = hak_load_relaxed(&central->uncarved);
  for (; slab != NULL; prev = slab, slab = slab->next) {
    ++*count;
    if (!slab_is_valid(slab, HAK_QUEUE_UNCARVED) || slab->prev != prev) return false;
  }
  return true;
}

static bool group_is_valid_locked(hak_central_t *central, uint32_t group,
                                  uint32_t *count) {
  hak_lock_assert_held(&central->lock);
  hak_slab_t *first = central->partial[group], *last = NULL;
  if ((first != NULL) != (hak_load_relaxed(&central->groups) >> group & 1)) return false;
  for (hak_slab_t *slab = first; slab != NULL; last = slab, slab = slab->next) {
    ++*count;
    if (!slab_is_valid(slab, HAK_QUEUE_PARTIAL) || slab->group != group ||
        group_of(slab) != group || (last != NULL && slab->prev != last)) {
      return false;
    }
  }
  return first == NULL || first->prev == last;
}

bool hak_partial_is_valid(hak_central_t *central) {
  uint32_t count = 0;
  hak_lock_acquire(&central->lock);
  bool valid = uncarved_is_valid_locked(central, &count);
  for (uint32_t group = 0; valid && group < HAK_PARTIAL_GROUPS; group++) {
    valid = group_is_valid_locked(central, group, &count);
  }
  valid = valid && count == central->listed;
  hak_lock_release(&central->lock);
  return valid;
}
