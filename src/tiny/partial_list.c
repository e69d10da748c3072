#include "tiny/partial_list.h"

#include "base/bits.h"
#include "base/check.h"
#include "pages/idle.h"
#include "tiny/hole_map.h"

static bool is_carved(const hak_slab_t *slab) {
  return hak_slab_carved((hak_slab_t *)slab) == hak_slab_capacity(slab);
}

enum {
  FIRST = HAK_PARTIAL_LEAVING + 1, /* group of the sparsest slabs that were looked at */
  KINDS = 2, /* for each share: looked at, and behind it not looked at */
  SHARES = (HAK_PARTIAL_GROUPS - FIRST) / KINDS
};

static uint32_t group_of(hak_slab_t *slab, bool looked) {
  uint32_t share = hak_slab_out(slab) * SHARES / hak_slab_capacity(slab);
  return FIRST + (share < SHARES ? share : SHARES - 1) * KINDS + (looked ? 0 : 1);
}
static bool is_looked(uint32_t group) {
  return group != HAK_PARTIAL_LEAVING && (group - FIRST) % KINDS == 0;
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

/* --- counts --------------------------------------------------------------------- */

/* Counts a slab of a group in or out; `out` of its blocks are out. */
static void count_locked(hak_central_t *central, hak_slab_t *slab, uint32_t out,
                         bool in) {
  hak_lock_assert_held(&central->lock);
  uint64_t sign = in ? 1 : UINT64_MAX, capacity = hak_slab_capacity(slab);
  if (slab->group == HAK_PARTIAL_LEAVING) {
    hak_store_relaxed(&central->leaving_out,
                      hak_load_relaxed(&central->leaving_out) + sign * out);
    return;
  }
  hak_store_relaxed(&central->blocks,
                    hak_load_relaxed(&central->blocks) + sign * capacity);
  hak_store_relaxed(&central->room,
                    hak_load_relaxed(&central->room) + sign * (capacity - out));
}

/* --- groups --------------------------------------------------------------------- */

static void add_to_group_locked(hak_central_t *central, hak_slab_t *slab,
                                uint32_t group) {
  hak_lock_assert_held(&central->lock);
  hak_slab_t *first = central->partial[group];
  slab->queue = HAK_QUEUE_PARTIAL;
  slab->group = group & 31;
  slab->aged = 0;
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

/* Those that are due come first. */
static void add_aged_locked(hak_central_t *central, hak_slab_t *slab, uint32_t group) {
  hak_lock_assert_held(&central->lock);
  hak_slab_t *first = central->partial[group];
  add_to_group_locked(central, slab, group);
  slab->aged = 1;
  if (first == NULL) return;
  /* The list is a ring by `prev`, so the last one becomes the first by moving its ends.
   */
  slab->prev->next = NULL;
  slab->next = first;
  central->partial[group] = slab;
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

static void add_carved_locked(hak_central_t *central, hak_slab_t *slab, bool looked) {
  hak_lock_assert_held(&central->lock);
  hak_assert(slab->queue == HAK_QUEUE_NONE);
  central->listed++;
  add_to_group_locked(central, slab, group_of(slab, looked));
  count_locked(central, slab, hak_slab_out(slab), true);
}

void hak_partial_add_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  if (is_carved(slab)) {
    add_carved_locked(central, slab, false);
    hak_idle_note_others();
    return;
  }
  hak_assert(slab->queue == HAK_QUEUE_NONE);
  central->listed++;
  add_uncarved_locked(central, slab);
}

void hak_partial_add_aged_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  hak_assert(slab->queue == HAK_QUEUE_NONE && is_carved(slab));
  central->listed++;
  add_aged_locked(central, slab, group_of(slab, false));
  count_locked(central, slab, hak_slab_out(slab), true);
  hak_idle_note_others();
}

void hak_partial_add_looked_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  add_carved_locked(central, slab, true);
}

void hak_partial_remove_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  hak_assert(slab->queue == HAK_QUEUE_PARTIAL || slab->queue == HAK_QUEUE_UNCARVED);
  central->listed--;
  if (slab->queue == HAK_QUEUE_PARTIAL) {
    count_locked(central, slab, hak_slab_out(slab), false);
    remove_from_group_locked(central, slab);
  } else {
    remove_uncarved_locked(central, slab);
  }
  slab->queue = HAK_QUEUE_NONE;
}

void hak_partial_regroup_locked(hak_central_t *central, hak_slab_t *slab, uint32_t out) {
  hak_lock_assert_held(&central->lock);
  if (slab->queue != HAK_QUEUE_PARTIAL) return;
  uint64_t home =
      (uint64_t)out - hak_slab_out(slab); /* after misuse below 0, modulo 2^64 */
  if (HAK_UNLIKELY(slab->group == HAK_PARTIAL_LEAVING)) {
    hak_store_relaxed(&central->leaving_out,
                      hak_load_relaxed(&central->leaving_out) - home);
    return;
  }
  hak_store_relaxed(&central->room, hak_load_relaxed(&central->room) + home);
  /* The division of group_of is only done where the group changes. */
  uint32_t capacity = hak_slab_capacity(slab);
  uint32_t from = (uint32_t)(slab->group - FIRST) / KINDS * capacity;
  bool anew = slab->aged != 0 || is_looked(slab->group);
  if (!anew && hak_slab_out(slab) * SHARES - from < capacity) return;
  remove_from_group_locked(central, slab);
  add_to_group_locked(central, slab, group_of(slab, false));
  if (anew) hak_idle_note_others();
}

/* --- what is to be looked through --------------------------------------------------- */

hak_slab_t *hak_partial_due_locked(const hak_central_t *central, bool all) {
  hak_lock_assert_held(&central->lock);
  for (uint32_t group = FIRST + 1; group < HAK_PARTIAL_GROUPS; group += KINDS) {
    hak_slab_t *first = central->partial[group];
    if (first != NULL && (all || first->aged != 0)) return first;
  }
  return NULL;
}

HAK_SLOW void hak_partial_looked_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  remove_from_group_locked(central, slab);
  add_to_group_locked(central, slab, group_of(slab, true));
}

bool hak_partial_age_locked(hak_central_t *central) {
  hak_lock_assert_held(&central->lock);
  bool any = false;
  for (uint32_t group = FIRST + 1; group < HAK_PARTIAL_GROUPS; group += KINDS) {
    hak_slab_t *first = central->partial[group];
    if (first == NULL) continue;
    any = true;
    hak_slab_t *slab = first->prev;
    for (; slab->aged == 0 && slab != first; slab = slab->prev) slab->aged = 1;
    slab->aged = 1;
  }
  return any;
}

/* --- slabs that are leaving --------------------------------------------------------- */

bool hak_partial_might_leave(hak_central_t *central, hak_slab_t *slab) {
  enum {
    SHARE = 8
  };
  uint64_t out = hak_slab_out(slab), capacity = hak_slab_capacity(slab);
  if (hak_slab_carved(slab) != capacity || out * SHARE >= (SHARE - 1) * capacity) {
    return false;
  }
  /* Stale counts do no harm: the caller looks again under the lock, or the slab is left
   * alone until it is asked about again. */
  uint64_t blocks = hak_load_relaxed(&central->blocks);
  uint64_t room = hak_load_relaxed(&central->room);
  uint64_t used = blocks > room ? blocks - room : 0;
  if (out * SHARE * blocks > capacity * (SHARE * used + blocks)) return false;
  /* The free blocks of a listed slab are no room for those that are out of it. */
  return hak_word_state(hak_load_relaxed(&slab->word)) != HAK_SLAB_PARTIAL ||
         room >= hak_load_relaxed(&central->leaving_out) + capacity;
}

bool hak_partial_may_leave_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  return slab->queue == HAK_QUEUE_PARTIAL && slab->group != HAK_PARTIAL_LEAVING &&
         hak_partial_might_leave(central, slab);
}

HAK_SLOW void hak_partial_leave_locked(hak_central_t *central, hak_slab_t *slab) {
  hak_lock_assert_held(&central->lock);
  count_locked(central, slab, hak_slab_out(slab), false);
  remove_from_group_locked(central, slab);
  add_to_group_locked(central, slab, HAK_PARTIAL_LEAVING);
  count_locked(central, slab, hak_slab_out(slab), true);
}

/* --- what serves, and the end ------------------------------------------------------- */

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
  hak_store_relaxed(&central->leaving_out, 0);
  hak_store_relaxed(&central->blocks, 0);
  hak_store_relaxed(&central->room, 0);
}

/* --- checks ----------------------------------------------------------------------- */

/* What a walk over the queues counts. */
typedef struct walked {
  uint32_t listed;
  uint64_t blocks, room, leaving_out;
} walked_t;

static HAK_SLOW bool slab_is_valid(hak_slab_t *slab, hak_slab_queue_t queue) {
  uint64_t word = hak_load_relaxed(&slab->word);
  bool leaving = queue == HAK_QUEUE_PARTIAL && slab->group == HAK_PARTIAL_LEAVING;
  if (queue != HAK_QUEUE_PARTIAL && hak_hole_map_any(slab)) return false;
  if (hak_hole_map_blocks(slab) > hak_slab_carved(slab) - hak_slab_out(slab))
    return false;
  return slab->queue == queue && is_carved(slab) == (queue == HAK_QUEUE_PARTIAL) &&
         hak_load_relaxed(&slab->held_back) == 0 &&
         word == hak_word_make(HAK_SLAB_PARTIAL, leaving ? HAK_CODE_MASK : 0) &&
         hak_slab_out(slab) != 0 && hak_slab_out(slab) <= hak_slab_carved(slab);
}

static bool uncarved_is_valid_locked(hak_central_t *central, walked_t *walked) {
  hak_lock_assert_held(&central->lock);
  hak_slab_t *prev = NULL, *slab = hak_load_relaxed(&central->uncarved);
  for (; slab != NULL; prev = slab, slab = slab->next) {
    walked->listed++;
    if (!slab_is_valid(slab, HAK_QUEUE_UNCARVED) || slab->prev != prev) return false;
  }
  return true;
}

static bool group_is_valid_locked(hak_central_t *central, uint32_t group,
                                  walked_t *walked) {
  hak_lock_assert_held(&central->lock);
  hak_slab_t *first = central->partial[group], *last = NULL;
  if ((first != NULL) != (hak_load_relaxed(&central->groups) >> group & 1)) return false;
  for (hak_slab_t *slab = first; slab != NULL; last = slab, slab = slab->next) {
    walked->listed++;
    uint32_t capacity = hak_slab_capacity(slab), out = hak_slab_out(slab);
    if (group == HAK_PARTIAL_LEAVING) {
      walked->leaving_out += out;
    } else {
      walked->blocks += capacity;
      walked->room += capacity - out;
    }
    if (!slab_is_valid(slab, HAK_QUEUE_PARTIAL) || slab->group != group ||
        (group != HAK_PARTIAL_LEAVING && group_of(slab, is_looked(group)) != group) ||
        (last != NULL && (slab->prev != last || slab->aged > last->aged))) {
      return false;
    }
  }
  return first == NULL || first->prev == last;
}

HAK_SLOW bool hak_partial_is_valid(hak_central_t *central) {
  walked_t walked = {0};
  hak_lock_acquire(&central->lock);
  bool valid = uncarved_is_valid_locked(central, &walked);
  for (uint32_t group = 0; valid && group < HAK_PARTIAL_GROUPS; group++) {
    valid = group_is_valid_locked(central, group, &walked);
  }
  valid = valid && walked.listed == central->listed &&
          walked.leaving_out == hak_load_relaxed(&central->leaving_out) &&
          walked.blocks == hak_load_relaxed(&central->blocks) &&
          walked.room == hak_load_relaxed(&central->room);
  hak_lock_release(&central->lock);
  return valid;
}
