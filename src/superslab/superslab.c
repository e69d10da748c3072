#include "superslab/superslab.h"

#include "base/check.h"
#include "base/option.h"

hak_atomic_u64_t hak_slots_committed, hak_slots_retained, hak_mappings_retained;
hak_atomic_u32_t hak_retained_over __attribute__((aligned(HAK_CACHE_LINE)));
hak_atomic_u64_t hak_slots_active, hak_slots_empty, hak_slots_purged;

void hak_note_retained(hak_atomic_u64_t *retained, int64_t bytes) {
  hak_add_relaxed(retained, (uint64_t)bytes);
  uint64_t all =
      hak_load_relaxed(&hak_slots_retained) + hak_load_relaxed(&hak_mappings_retained);
  bool over = all > (uint64_t)hak_option(RETAIN_BYTES);
  /* Two threads may cross the line at once and leave a wrong flag; the next
   * change mends it. */
  if (hak_load_relaxed(&hak_retained_over) != over) {
    hak_store_relaxed(&hak_retained_over, over);
  }
}

void hak_superslab_init(hak_superslab_t *ss, struct hak_region *region, uint32_t index,
                        char *base, const hak_os_t *os) {
  ss->extent.base = base;
  ss->extent.os = os;
  ss->region = region;
  ss->index = index;
  ss->free = HAK_ALL_SLOTS;
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) ss->slabs[i].slot = (uint8_t)i;
}

/* Free slots without pages that had some before. */
static unsigned count_purged(const hak_superslab_t *ss, unsigned first, unsigned count) {
  unsigned n = 0;
  for (unsigned i = first; i < first + count; i++) {
    n += ss->slabs[i].committed == 0 && ss->slabs[i].purged;
  }
  return n;
}

static size_t committed_bytes(const hak_superslab_t *ss, unsigned first, unsigned count) {
  size_t pages = 0;
  for (unsigned i = first; i < first + count; i++) pages += ss->slabs[i].committed;
  return pages * ss->extent.os->page_size;
}

void hak_superslab_take_locked(hak_superslab_t *ss, unsigned first, unsigned count) {
  uint32_t slots = hak_mask32(first, count);
  hak_assert((ss->free & slots) == slots);
  uint32_t empty = ss->retained & slots;
  unsigned purged = count_purged(ss, first, count);
  ss->free &= ~slots;
  ss->retained &= ~slots;
  if (empty != 0) {
    hak_note_retained(&hak_slots_retained, -(int64_t)committed_bytes(ss, first, count));
    hak_sub_relaxed(&hak_slots_empty, hak_count_bits(empty));
  }
  if (purged != 0) hak_sub_relaxed(&hak_slots_purged, purged);
  hak_add_relaxed(&hak_slots_active, count);
}

void hak_superslab_put_locked(hak_superslab_t *ss, unsigned first, unsigned count,
                              uint64_t now) {
  uint32_t slots = hak_mask32(first, count), empty = 0;
  hak_assert((ss->free & slots) == 0);
  for (unsigned i = first; i < first + count; i++) {
    if (ss->slabs[i].committed != 0) empty |= (uint32_t)1 << i;
  }
  unsigned purged = count_purged(ss, first, count);
  ss->free |= slots;
  ss->retained |= empty;
  ss->idle_since = now;
  hak_sub_relaxed(&hak_slots_active, count);
  if (empty != 0) {
    hak_note_retained(&hak_slots_retained, (int64_t)committed_bytes(ss, first, count));
    hak_add_relaxed(&hak_slots_empty, hak_count_bits(empty));
  }
  if (purged != 0) hak_add_relaxed(&hak_slots_purged, purged);
}

bool hak_superslab_commit(hak_superslab_t *ss, unsigned first, unsigned count,
                          size_t pages, bool no_grow, bool *zeroed) {
  const hak_os_t *os = ss->extent.os;
  size_t per_slab = HAK_SLAB_SIZE / os->page_size;
  bool all_zero = true;
  for (unsigned i = first; i < first + count && pages > 0;) {
    size_t want = pages < per_slab ? pages : per_slab;
    hak_slab_t *slab = &ss->slabs[i];
    if (slab->committed != 0 && !slab->zero) all_zero = false;
    slab->zero = 0;
    if (slab->committed >= want) {
      pages -= want;
      i++;
      continue;
    }
    if (no_grow) return false;
    /* One call for this slab's rest and all uncommitted slabs right behind it. */
    char *from = hak_superslab_slot(ss, i) + slab->committed * os->page_size;
    size_t run = want - slab->committed, left = pages - want;
    unsigned end = i + 1;
    while (end < first + count && left > 0 && ss->slabs[end].committed == 0) {
      size_t more = left < per_slab ? left : per_slab;
      run += more;
      left -= more;
      end++;
    }
    bool zero;
    if (!hak_os_commit(os, from, run * os->page_size, &zero)) return false;
    hak_add_relaxed(&hak_slots_committed, run * os->page_size);
    all_zero = all_zero && zero;
    for (; i < end; i++) {
      want = pages < per_slab ? pages : per_slab;
      ss->slabs[i].committed = (uint8_t)want;
      pages -= want;
    }
  }
  *zeroed = all_zero;
  return true;
}

void hak_superslab_commit_huge(hak_superslab_t *ss) {
  const hak_os_t *os = ss->extent.os;
  bool zeroed;
  if (committed_bytes(ss, 0, HAK_SUPERSLAB_SLABS) != 0 ||
      !hak_os_commit(os, ss->extent.base, HAK_SUPERSLAB_SIZE, &zeroed)) {
    return;
  }
  hak_add_relaxed(&hak_slots_committed, HAK_SUPERSLAB_SIZE);
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    ss->slabs[i].committed = (uint8_t)(HAK_SLAB_SIZE / os->page_size);
    ss->slabs[i].zero = zeroed;
  }
}

size_t hak_superslab_purge_tail(hak_superslab_t *ss, unsigned first, unsigned count,
                                size_t pages) {
  const hak_os_t *os = ss->extent.os;
  size_t per_slab = HAK_SLAB_SIZE / os->page_size, given = 0;
  for (unsigned i = first; i < first + count;) {
    size_t keep = pages < per_slab ? pages : per_slab;
    pages -= keep;
    hak_slab_t *slab = &ss->slabs[i];
    if (slab->committed <= keep) {
      i++;
      continue;
    }
    char *from = hak_superslab_slot(ss, i) + keep * os->page_size;
    size_t run = slab->committed - keep;
    unsigned end = i + 1;
    /* Pages of the next slab follow on only if this one's reach its end. */
    while (end < first + count && pages == 0 && ss->slabs[end].committed != 0 &&
           ss->slabs[end - 1].committed == per_slab) {
      run += ss->slabs[end].committed;
      end++;
    }
    if (hak_os_purge(os, from, run * os->page_size)) {
      given += run * os->page_size;
      for (unsigned k = i; k < end; k++) {
        ss->slabs[k].committed = k == i ? (uint8_t)keep : 0;
        ss->slabs[k].zero = 0;
        if (ss->slabs[k].committed == 0) ss->slabs[k].purged = 1;
      }
    }
    i = end;
  }
  hak_sub_relaxed(&hak_slots_committed, given);
  return given;
}

size_t hak_superslab_purge(hak_superslab_t *ss, unsigned first, unsigned count) {
  return hak_superslab_purge_tail(ss, first, count, 0);
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
  if ((ss->retained & ~ss->free) != 0) return false;
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    bool free = (ss->free >> i & 1) != 0, retained = (ss->retained >> i & 1) != 0;
    if (free && retained != (ss->slabs[i].committed != 0)) return false;
  }
  return ss->retained == 0 || ss->queue != NULL;
}
