#include "superslab/superslab.h"

#include "base/check.h"
#include "base/option.h"

HAK_SLOW void hak_superslab_init(hak_superslab_t *ss, void *region, uint32_t index,
                                 char *base, const hak_os_t *os) {
  ss->extent.base = base;
  ss->extent.os = os;
  hak_store_relaxed(&ss->free, HAK_ALL_SLOTS);
  /* A record that serves again keeps its place, which somebody who looks an address up
   * late may read now. But some of its pages may have been given back. */
  if (ss->region != region) ss->region = region;
  if (hak_superslab_index(ss) != index) hak_store_relaxed(&ss->index, index);
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    if (ss->slabs[i].slot != i) ss->slabs[i].slot = (uint8_t)i;
  }
}

static void set_bits(hak_atomic_u32_t *word, uint32_t bits, bool on) {
  uint32_t now = hak_load_relaxed(word);
  if (on && (now & bits) != bits) hak_or_relaxed(word, bits);
  if (!on && (now & bits) != 0) hak_and_relaxed(word, ~bits);
}

/* Notes how many pages a slot that the caller has has committed. */
static void set_committed(hak_superslab_t *ss, unsigned slot, size_t pages) {
  uint32_t bit = (uint32_t)1 << slot;
  hak_store_relaxed(&ss->slabs[slot].committed, (uint8_t)pages);
  set_bits(&ss->whole, bit, pages == hak_os_pages(ss->extent.os, HAK_SLAB_SIZE));
  set_bits(&ss->purged, bit, pages == 0);
}

static HAK_SLOW size_t bytes_of_some(const hak_superslab_t *ss, uint32_t slots) {
  uint32_t whole = hak_load_relaxed(&ss->whole) & slots;
  size_t pages = 0;
  for (uint32_t rest = slots & ~whole; rest != 0; rest &= rest - 1) {
    pages += hak_slab_pages(&ss->slabs[hak_lowest_bit(rest)]);
  }
  return hak_count_bits(whole) * HAK_SLAB_SIZE + pages * ss->extent.os->page_size;
}

HAK_HOT size_t bytes_of(const hak_superslab_t *ss, uint32_t slots) {
  uint32_t whole = hak_load_relaxed(&((hak_superslab_t *)ss)->whole) & slots;
  if (whole == HAK_ALL_SLOTS) return HAK_SUPERSLAB_SIZE;
  return slots == 0 ? 0 : bytes_of_some(ss, slots);
}

size_t hak_superslab_bytes(const hak_superslab_t *ss, uint32_t slots) {
  return bytes_of(ss, slots);
}

/* Adds the retained bytes of a transition to a count that all threads share: where
 * several SuperSlabs change together their bytes are added up first. */
static void add_retained(int64_t bytes) {
  if (bytes != 0) hak_note_retained(&hak_slots_retained, bytes);
}

/* Memory of the caller's has no more slots than it has, so its hooks count those in
 * use. */
HAK_HOT void count_used(const hak_superslab_t *ss, int64_t slots) {
  if (HAK_LIKELY(!hak_os_is_fixed(ss->extent.os))) return;
  hak_fixed_os_of(ss->extent.os)->count_used(ss->extent.os, slots);
}

HAK_HOT int64_t take(hak_superslab_t *ss, unsigned first, unsigned count) {
  uint32_t slots = hak_mask32(first, count), free = hak_superslab_free(ss);
  uint32_t retained = hak_superslab_retained(ss);
  hak_assert((free & slots) == slots);
  hak_store_relaxed(&ss->free, free & ~slots);
  count_used(ss, count);
  if ((retained & slots) == 0) return 0;
  hak_store_relaxed(&ss->retained, retained & ~slots);
  return -(int64_t)bytes_of(ss, slots);
}

HAK_HOT int64_t put(hak_superslab_t *ss, unsigned first, unsigned count, uint64_t now) {
  uint32_t slots = hak_mask32(first, count), free = hak_superslab_free(ss);
  hak_assert((free & slots) == 0);
  uint32_t empty = hak_load_relaxed(&ss->whole) & slots;
  for (uint32_t rest = slots & ~empty; rest != 0; rest &= rest - 1) {
    if (hak_slab_pages(&ss->slabs[hak_lowest_bit(rest)]) != 0)
      empty |= rest & (~rest + 1);
  }
  hak_store_relaxed(&ss->free, free | slots);
  count_used(ss, -(int64_t)count);
  ss->idle_since = now;
  if (empty == 0) return 0;
  hak_store_relaxed(&ss->retained, hak_superslab_retained(ss) | empty);
  return (int64_t)bytes_of(ss, slots);
}

void hak_superslab_take_locked(const hak_lock_t *lock, hak_superslab_t *ss,
                               unsigned first, unsigned count) {
  hak_lock_assert_held(lock);
  add_retained(take(ss, first, count));
}

void hak_superslab_put_locked(const hak_lock_t *lock, hak_superslab_t *ss, unsigned first,
                              unsigned count, uint64_t now) {
  hak_lock_assert_held(lock);
  add_retained(put(ss, first, count, now));
}

void hak_superslab_take_all_locked(const hak_lock_t *lock, hak_superslab_t *ss,
                                   uint32_t superslabs) {
  hak_lock_assert_held(lock);
  int64_t retained = 0;
  for (uint32_t i = 0; i < superslabs; i++) {
    retained += take(&ss[i], 0, HAK_SUPERSLAB_SLABS);
  }
  add_retained(retained);
}

void hak_superslab_put_all_locked(const hak_lock_t *lock, hak_superslab_t *ss,
                                  uint32_t superslabs, uint64_t now) {
  hak_lock_assert_held(lock);
  int64_t retained = 0;
  for (uint32_t i = 0; i < superslabs; i++) {
    retained += put(&ss[i], 0, HAK_SUPERSLAB_SLABS, now);
  }
  add_retained(retained);
}

void hak_superslab_add_states(const hak_superslab_t *ss, hak_slot_states_t *sum) {
  uint32_t free = hak_superslab_free(ss), empty = free & hak_superslab_retained(ss);
  uint32_t purged = free & ~empty & hak_load_relaxed(&ss->purged);
  sum->active += HAK_SUPERSLAB_SLABS - hak_count_bits(free);
  sum->empty += hak_count_bits(empty);
  sum->purged += hak_count_bits(purged);
  sum->unused += hak_count_bits(free & ~empty & ~purged);
}

static void note_committed(int64_t bytes) {
  hak_add_relaxed(&hak_slots_committed, (uint64_t)bytes);
  if (bytes > 0) hak_idle_note_needed((uint64_t)bytes);
}

/* --- charging ----------------------------------------------------------------- */

bool hak_superslab_charge_to(hak_superslab_t *ss, hak_budget_t *budget) {
  hak_assert(hak_superslab_budget(ss) == NULL && hak_load_relaxed(&ss->charged) == 0);
  if (hak_os_is_fixed(ss->extent.os)) return true; /* the caller's own memory */
  if (!hak_budget_charge(budget, sizeof *ss)) return false;
  hak_store_relaxed(&ss->budget, budget);
  return true;
}

bool hak_superslab_charge_all_to(hak_superslab_t *ss, uint32_t superslabs,
                                 hak_budget_t *budget) {
  if (hak_os_is_fixed(ss->extent.os)) return true;
  size_t bytes = superslabs * sizeof *ss;
  for (uint32_t i = 0; i < superslabs; i++) bytes += bytes_of(&ss[i], HAK_ALL_SLOTS);
  if (!hak_budget_charge(budget, bytes)) return false;
  for (uint32_t i = 0; i < superslabs; i++) {
    hak_assert(hak_superslab_budget(&ss[i]) == NULL &&
               hak_load_relaxed(&ss[i].charged) == 0);
    hak_store_relaxed(&ss[i].budget, budget);
    hak_store_relaxed(&ss[i].charged, HAK_ALL_SLOTS);
  }
  return true;
}

size_t hak_superslab_charge(hak_superslab_t *ss) {
  return sizeof *ss + bytes_of(ss, hak_load_relaxed(&ss->charged));
}

void hak_superslab_uncharge_all(hak_superslab_t *ss, uint32_t superslabs) {
  hak_budget_t *budget = NULL;
  size_t bytes = 0;
  for (uint32_t i = 0; i < superslabs; i++) {
    if (hak_superslab_budget(&ss[i]) == NULL) continue;
    hak_assert(budget == NULL || hak_superslab_budget(&ss[i]) == budget);
    budget = hak_superslab_budget(&ss[i]);
    bytes += hak_superslab_charge(&ss[i]);
    hak_store_relaxed(&ss[i].charged, 0);
    hak_store_relaxed(&ss[i].budget, NULL);
  }
  hak_budget_uncharge(budget, bytes);
}

/* Charges the pages that slots of the caller have brought along; false if that is
 * refused. */
static bool charge_slots(hak_superslab_t *ss, uint32_t slots) {
  uint32_t rest = slots & ~hak_load_relaxed(&ss->charged);
  if (HAK_LIKELY(rest == 0) || hak_superslab_budget(ss) == NULL) return true;
  if (!hak_budget_charge(hak_superslab_budget(ss), bytes_of(ss, rest))) return false;
  set_bits(&ss->charged, rest, true);
  return true;
}

/* --- pages ---------------------------------------------------------------------- */

bool hak_superslab_commit(hak_superslab_t *ss, unsigned first, unsigned count,
                          size_t pages, bool no_grow, bool *zeroed) {
  const hak_os_t *os = ss->extent.os;
  if (hak_os_is_fixed(os)) {
    *zeroed = false;
    return true;
  }
  size_t per_slab = hak_os_pages(os, HAK_SLAB_SIZE);
  uint32_t touched =
      hak_mask32(first, (unsigned)hak_div_up(pages * os->page_size, HAK_SLAB_SIZE));
  uint32_t was_zero = hak_load_relaxed(&ss->zero) & touched;
  if (!charge_slots(ss, hak_mask32(first, count))) return false;
  /* Of all slots: whoever has them may write to pages that are there without asking. */
  set_bits(&ss->zero, hak_mask32(first, count), false);
  if ((hak_load_relaxed(&ss->whole) & touched) == touched) {
    *zeroed = was_zero == touched;
    return true;
  }
  bool all_zero = true;
  for (unsigned i = first; i < first + count && pages > 0;) {
    size_t want = pages < per_slab ? pages : per_slab;
    hak_slab_t *slab = &ss->slabs[i];
    if (hak_slab_pages(slab) != 0 && (was_zero >> i & 1) == 0) all_zero = false;
    if (hak_slab_pages(slab) >= want) {
      pages -= want;
      i++;
      continue;
    }
    if (no_grow) return false;
    /* One call for this slab's rest and all uncommitted slabs right behind it. */
    char *from = hak_superslab_slot(ss, i) + hak_slab_pages(slab) * os->page_size;
    size_t run = want - hak_slab_pages(slab), left = pages - want;
    unsigned end = i + 1;
    while (end < first + count && left > 0 && hak_slab_pages(&ss->slabs[end]) == 0) {
      size_t more = left < per_slab ? left : per_slab;
      run += more;
      left -= more;
      end++;
    }
    bool zero;
    if (!hak_budget_charge(hak_superslab_budget(ss), run * os->page_size)) return false;
    if (!hak_os_commit(os, from, run * os->page_size, &zero)) {
      hak_budget_uncharge(hak_superslab_budget(ss), run * os->page_size);
      return false;
    }
    note_committed((int64_t)(run * os->page_size));
    all_zero = all_zero && zero;
    if (!zero) hak_superslab_soil(ss, hak_mask32(i, end - i));
    for (; i < end; i++) {
      want = pages < per_slab ? pages : per_slab;
      set_committed(ss, i, want);
      pages -= want;
    }
  }
  *zeroed = all_zero;
  return true;
}

int hak_superslab_find(const hak_superslab_t *ss, uint32_t among, unsigned span,
                       size_t alignment, size_t pages) {
  size_t per_slab = hak_os_pages(ss->extent.os, HAK_SLAB_SIZE), rest = pages % per_slab;
  unsigned full = (unsigned)(pages / per_slab);
  uint32_t starts = hak_run_starts(among, span);
  if (full > 0) starts &= hak_run_starts(hak_load_relaxed(&ss->whole), full);
  for (uint32_t left = starts; left != 0; left &= left - 1) {
    unsigned first = hak_lowest_bit(left);
    if (hak_is_aligned((size_t)first << HAK_SLAB_SHIFT, alignment) &&
        (rest == 0 || hak_slab_pages(&ss->slabs[first + full]) >= rest)) {
      return (int)first;
    }
  }
  return -1;
}

HAK_SLOW void hak_superslab_commit_huge(hak_superslab_t *ss) {
  const hak_os_t *os = ss->extent.os;
  bool zeroed;
  if (bytes_of(ss, HAK_ALL_SLOTS) != 0 ||
      !hak_budget_charge(hak_superslab_budget(ss), HAK_SUPERSLAB_SIZE)) {
    return;
  }
  if (!hak_os_commit(os, ss->extent.base, HAK_SUPERSLAB_SIZE, &zeroed)) {
    hak_budget_uncharge(hak_superslab_budget(ss), HAK_SUPERSLAB_SIZE);
    return;
  }
  if (hak_superslab_budget(ss) != NULL) set_bits(&ss->charged, HAK_ALL_SLOTS, true);
  note_committed((int64_t)HAK_SUPERSLAB_SIZE);
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    set_committed(ss, i, hak_os_pages(os, HAK_SLAB_SIZE));
  }
  set_bits(&ss->zero, HAK_ALL_SLOTS, zeroed);
  if (!zeroed) hak_superslab_soil(ss, HAK_ALL_SLOTS);
}

/* Slots from `first` on, below `limit`, whose pages may go in one call: all of them but
 * those without pages at the end, where the system may be asked for pages that it never
 * gave; else as long as each one's pages reach the next one's. */
static HAK_SLOW unsigned end_of_purge(const hak_superslab_t *ss, unsigned first,
                                      unsigned limit) {
  const hak_os_t *os = ss->extent.os;
  bool gaps = hak_os_keeps_zeroes(os);
  unsigned end = first + 1;
  for (unsigned i = end; i < limit; i++) {
    size_t pages = hak_slab_pages(&ss->slabs[i]);
    bool joins = hak_slab_pages(&ss->slabs[i - 1]) == hak_os_pages(os, HAK_SLAB_SIZE);
    if (!gaps && (pages == 0 || !joins)) break;
    if (pages != 0) end = i + 1;
  }
  return end;
}

HAK_SLOW size_t hak_superslab_purge_tail(hak_superslab_t *ss, unsigned first,
                                         unsigned count, size_t pages) {
  const hak_os_t *os = ss->extent.os;
  size_t per_slab = hak_os_pages(os, HAK_SLAB_SIZE), given = 0, charged = 0;
  uint32_t was_charged = hak_load_relaxed(&ss->charged);
  for (unsigned i = first; i < first + count;) {
    size_t keep = pages < per_slab ? pages : per_slab;
    pages -= keep;
    if (hak_slab_pages(&ss->slabs[i]) <= keep) {
      i++;
      continue;
    }
    unsigned end = pages == 0 ? end_of_purge(ss, i, first + count) : i + 1;
    char *from = hak_superslab_slot(ss, i) + keep * os->page_size;
    char *to = hak_superslab_slot(ss, end - 1) +
               hak_slab_pages(&ss->slabs[end - 1]) * os->page_size;
    size_t run = bytes_of(ss, hak_mask32(i, end - i)) - keep * os->page_size;
    if (hak_os_purge_loose(os, from, (size_t)(to - from), run)) {
      given += run;
      for (unsigned k = i; k < end; k++) {
        size_t kept = k == i ? keep : 0;
        if (hak_slab_pages(&ss->slabs[k]) == 0) continue;
        if ((was_charged >> k & 1) != 0) charged += hak_slab_pages(&ss->slabs[k]) - kept;
        set_committed(ss, k, kept);
        set_bits(&ss->zero, (uint32_t)1 << k, false);
      }
    }
    i = end;
  }
  note_committed(-(int64_t)given);
  hak_budget_uncharge(hak_superslab_budget(ss), charged * os->page_size);
  return given;
}

size_t hak_superslab_purge(hak_superslab_t *ss, unsigned first, unsigned count) {
  return hak_superslab_purge_tail(ss, first, count, 0);
}

HAK_SLOW void hak_superslab_mend(hak_superslab_t *ss) {
  hak_store_relaxed(&ss->tails, 0);
  for (uint32_t taken = ~hak_superslab_free(ss); taken != 0; taken &= taken - 1) {
    unsigned slot = hak_lowest_bit(taken);
    uint32_t bit = (uint32_t)1 << slot;
    size_t pages = hak_slab_pages(&ss->slabs[slot]);
    set_bits(&ss->whole, bit, pages == hak_os_pages(ss->extent.os, HAK_SLAB_SIZE));
    if (pages != 0) set_bits(&ss->purged, bit, false);
  }
}

HAK_SLOW size_t hak_superslab_purge_lost(hak_superslab_t *ss, unsigned first,
                                         unsigned count) {
  hak_superslab_purge(ss, first, count);
  return bytes_of(ss, hak_mask32(first, count));
}

HAK_SLOW void hak_superslab_forget(hak_superslab_t *ss) {
  note_committed(-(int64_t)bytes_of(ss, HAK_ALL_SLOTS));
  size_t holes = 0;
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    set_committed(ss, i, 0);
    holes += hak_slab_clear_holes(&ss->slabs[i]);
  }
  hak_sub_relaxed(&hak_hole_bytes, holes * ss->extent.os->page_size);
  hak_store_relaxed(&ss->purged, 0);
  hak_store_relaxed(&ss->zero, 0);
  hak_superslab_soil(ss, HAK_ALL_SLOTS);
  hak_store_relaxed(&ss->free, HAK_ALL_SLOTS);
}

void hak_superslab_enqueue(hak_superslab_queue_t *queue, hak_superslab_t *ss) {
  hak_superslab_t *first = queue->first;
  bool oldest = first != NULL && ss->idle_since < first->idle_since;
  ss->queue = queue;
  ss->next = oldest ? first : NULL;
  ss->prev = oldest ? NULL : queue->last;
  if (oldest) {
    first->prev = ss;
    queue->first = ss;
    return;
  }
  if (queue->last != NULL) {
    queue->last->next = ss;
  } else {
    queue->first = ss;
  }
  queue->last = ss;
}

void hak_superslab_dequeue(hak_superslab_t *ss) {
  hak_superslab_queue_t *queue = ss->queue;
  if (ss->next != NULL) {
    ss->next->prev = ss->prev;
  } else {
    queue->last = ss->prev;
  }
  if (ss->prev != NULL) {
    ss->prev->next = ss->next;
  } else {
    queue->first = ss->next;
  }
  ss->queue = NULL;
}

bool hak_superslab_is_valid(const hak_superslab_t *ss) {
  uint32_t free = hak_superslab_free(ss), has_pages = hak_superslab_retained(ss);
  if ((has_pages & ~free) != 0 || (hak_load_relaxed(&ss->tails) & free) != 0)
    return false;
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    if ((free >> i & 1) == 0) continue; /* whoever has it may be changing it */
    bool retained = (has_pages >> i & 1) != 0;
    size_t pages = hak_slab_pages(&ss->slabs[i]);
    bool whole = (hak_load_relaxed(&ss->whole) >> i & 1) != 0;
    bool purged = (hak_load_relaxed(&ss->purged) >> i & 1) != 0;
    if (retained != (pages != 0) || (purged && pages != 0) ||
        whole != (pages == hak_os_pages(ss->extent.os, HAK_SLAB_SIZE))) {
      return false;
    }
  }
  if (hak_superslab_budget(ss) == NULL && hak_load_relaxed(&ss->charged) != 0)
    return false;
  return has_pages == 0 || ss->queue != NULL;
}
