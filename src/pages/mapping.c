#include "pages/mapping.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/event.h"
#include "base/option.h"
#include "base/wait.h"
#include "os/os_release.h"
#include "pages/mapping_move.h"
#include "pages/meta.h"

hak_atomic_u64_t hak_mappings_committed, hak_mappings_reserved;

static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_MAPPINGS);
static hak_mapping_t *kept, *kept_last, *records;
static hak_mapping_t *used, *passing; /* by next_used */

hak_lock_t *hak_mappings_lock(void) { return &lock; }

static void link_locked(hak_mapping_t **list, hak_mapping_t *mapping) {
  hak_lock_assert_held(&lock);
  mapping->next_used = *list;
  mapping->prev_used = list;
  if (*list != NULL) (*list)->prev_used = &mapping->next_used;
  *list = mapping;
}

static void unlink_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&lock);
  *mapping->prev_used = mapping->next_used;
  if (mapping->next_used != NULL) mapping->next_used->prev_used = mapping->prev_used;
}

static void pass_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&lock);
  mapping->who = hak_os_self();
  link_locked(&passing, mapping);
}

static void unpass_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&lock);
  unlink_locked(mapping);
  mapping->who = NULL;
}

/* A passing one that another thread has. */
static hak_mapping_t *others_locked(const hak_os_t *os) {
  hak_lock_assert_held(&lock);
  hak_mapping_t *mapping = passing;
  while (mapping != NULL &&
         (mapping->who == hak_os_self() || (os != NULL && mapping->extent.os != os))) {
    mapping = mapping->next_used;
  }
  return mapping;
}

static void use_locked(hak_mapping_t *mapping, void *heap, size_t size) {
  hak_lock_assert_held(&lock);
  hak_store_relaxed(&mapping->extent.heap, heap);
  hak_store_relaxed(&mapping->extent.size, size);
  hak_store_relaxed(&mapping->extent.block, mapping->extent.base);
  link_locked(&used, mapping);
}

static void unuse_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&lock);
  unlink_locked(mapping);
  hak_store_relaxed(&mapping->extent.block, NULL);
  hak_store_relaxed(&mapping->extent.heap, NULL);
}

/* In front, as the youngest; or behind all others. */
static HAK_SLOW void keep_locked(hak_mapping_t *mapping, bool last) {
  hak_lock_assert_held(&lock);
  hak_mapping_t *prev = last ? kept_last : NULL, *next = last ? NULL : kept;
  mapping->prev = prev;
  mapping->next = next;
  if (prev != NULL) prev->next = mapping;
  if (next != NULL) next->prev = mapping;
  if (prev == NULL) kept = mapping;
  if (next == NULL) kept_last = mapping;
  hak_note_retained(&hak_mappings_retained, (int64_t)hak_mapping_committed(mapping));
}

static HAK_SLOW void unkeep_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&lock);
  if (mapping->prev != NULL) {
    mapping->prev->next = mapping->next;
  } else {
    kept = mapping->next;
  }
  if (mapping->next != NULL) {
    mapping->next->prev = mapping->prev;
  } else {
    kept_last = mapping->prev;
  }
  hak_note_retained(&hak_mappings_retained, -(int64_t)hak_mapping_committed(mapping));
}

/* Of the youngest kept mappings the one that wastes least, half of it at most; or
 * NULL. */
static hak_mapping_t *find_kept_locked(const hak_os_t *os, size_t size, size_t alignment,
                                       bool no_grow) {
  hak_lock_assert_held(&lock);
  enum {
    LOOKS = 256
  };
  hak_mapping_t *best = NULL;
  int looks = 0;
  for (hak_mapping_t *m = kept; m != NULL && looks < LOOKS; m = m->next, looks++) {
    if (m->extent.os != os || m->reserved < size || m->reserved - size > size ||
        (no_grow && hak_mapping_committed(m) < size) ||
        !hak_is_aligned((uintptr_t)m->extent.base, alignment)) {
      continue;
    }
    if (best == NULL || m->reserved < best->reserved) best = m;
  }
  return best;
}

static hak_mapping_t *reuse(const hak_os_t *os, size_t size, size_t alignment,
                            bool no_grow) {
  hak_lock_acquire(&lock);
  hak_mapping_t *best = find_kept_locked(os, size, alignment, no_grow);
  if (best != NULL) {
    unkeep_locked(best);
    pass_locked(best);
  }
  hak_lock_release(&lock);
  return best;
}

bool hak_mapping_should_copy(const hak_mapping_t *mapping, size_t size) {
  hak_lock_acquire(&lock);
  hak_mapping_t *best = find_kept_locked(mapping->extent.os, size, HAK_SLAB_SIZE, false);
  bool should = best != NULL && hak_mapping_committed(best) >= size &&
                best->reserved - mapping->reserved >= mapping->reserved / 2;
  hak_lock_release(&lock);
  return should;
}

static void put_record_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&lock);
  mapping->next = records;
  records = mapping;
}

/* Of a passing one, whose addresses are unowned: only the OS has yet to hear of it. */
static HAK_SLOW hak_os_note_t *begin_release(hak_mapping_t *mapping) {
  hak_os_note_t *note = NULL;
  uintptr_t base = (uintptr_t)mapping->extent.base;
  hak_registry_set_extent(base, mapping->reserved, NULL);
  hak_lock_acquire(&lock);
  if (mapping->reserved != 0) {
    note =
        hak_os_release_begin(mapping->extent.os, mapping->extent.base, mapping->reserved);
  }
  hak_sub_relaxed(&hak_mappings_committed, hak_mapping_committed(mapping));
  hak_sub_relaxed(&hak_mappings_reserved, mapping->reserved);
  unpass_locked(mapping);
  put_record_locked(mapping);
  hak_lock_release(&lock);
  return note;
}

static HAK_SLOW void release(hak_mapping_t *mapping) {
  hak_os_release_end(begin_release(mapping));
}

/* Where it was before. */
static HAK_SLOW void put_back(hak_mapping_t *mapping) {
  hak_lock_acquire(&lock);
  unpass_locked(mapping);
  keep_locked(mapping, false);
  hak_lock_release(&lock);
}

/* It comes to a heap, with what it has; false, and nothing changed, if the budget
 * refuses. */
static bool charge_to(hak_mapping_t *mapping, hak_budget_t *budget) {
  if (!hak_budget_charge(budget, hak_mapping_charge(mapping))) return false;
  mapping->budget = budget;
  return true;
}

static void uncharge(hak_mapping_t *mapping) {
  hak_budget_uncharge(mapping->budget, hak_mapping_charge(mapping));
  mapping->budget = NULL;
}

bool hak_mapping_commit_to(hak_mapping_t *mapping, size_t size, bool *zeroed) {
  *zeroed = hak_mapping_committed(mapping) == 0;
  if (hak_mapping_committed(mapping) >= size) return true;
  size_t more = size - hak_mapping_committed(mapping);
  bool zero;
  if (!hak_budget_charge(mapping->budget, more)) return false;
  if (!hak_os_commit(mapping->extent.os,
                     mapping->extent.base + hak_mapping_committed(mapping), more,
                     &zero)) {
    hak_budget_uncharge(mapping->budget, more);
    return false;
  }
  *zeroed = *zeroed && zero;
  hak_store_relaxed(&mapping->committed, size);
  hak_add_relaxed(&hak_mappings_committed, more);
  return true;
}

static hak_mapping_t *record_get(void) {
  hak_lock_acquire(&lock);
  hak_mapping_t *mapping = records;
  if (mapping != NULL) records = mapping->next;
  hak_lock_release(&lock);
  if (mapping != NULL) return mapping;
  return hak_meta_alloc(hak_registry_os(), sizeof *mapping, HAK_CACHE_LINE);
}

static void record_put(hak_mapping_t *mapping) {
  hak_lock_acquire(&lock);
  put_record_locked(mapping);
  hak_lock_release(&lock);
}

/* A passing one without pages. */
static HAK_SLOW hak_mapping_t *map_new(const hak_os_t *os, size_t size,
                                       size_t alignment) {
  size_t reserved = hak_align_up(size, HAK_SLAB_SIZE);
  if (alignment < HAK_SUPERSLAB_SIZE) alignment = HAK_SUPERSLAB_SIZE;
  if (reserved < size) return NULL;
  hak_mapping_t *mapping = record_get();
  if (mapping == NULL) return NULL;
  char *base = hak_os_reserve(os, reserved, alignment);
  if (base != NULL && !hak_registry_cover(os, (uintptr_t)base, reserved)) {
    hak_os_unreserve(os, base, reserved);
    base = NULL;
  }
  if (base == NULL) {
    record_put(mapping);
    return NULL;
  }
  mapping->extent.base = base;
  mapping->extent.os = os;
  hak_store_relaxed(&mapping->extent.block, NULL);
  hak_store_relaxed(&mapping->extent.kind, HAK_EXTENT_MAPPING);
  mapping->reserved = reserved;
  hak_store_relaxed(&mapping->committed, 0);
  mapping->advised = mapping->lost = false;
  hak_lock_acquire(&lock);
  hak_add_relaxed(&hak_mappings_reserved, reserved);
  pass_locked(mapping);
  hak_lock_release(&lock);
  if (hak_option(HUGE_PAGES) != 0) hak_os_advise_huge(os, base, reserved);
  hak_registry_set_extent((uintptr_t)base, reserved, &mapping->extent);
  return mapping;
}

/* A kept one; what the budget or the OS refuses to make fit stays where it is. */
static hak_mapping_t *reuse_charged(const hak_os_t *os, hak_budget_t *budget, size_t size,
                                    size_t alignment, bool no_grow, bool *zeroed) {
  hak_mapping_t *mapping = reuse(os, size, alignment, no_grow);
  if (mapping == NULL) return NULL;
  if (charge_to(mapping, budget)) {
    if (hak_mapping_commit_to(mapping, size, zeroed)) return mapping;
    uncharge(mapping);
  }
  put_back(mapping);
  return NULL;
}

/* Charged before anything is asked for: a request that is refused leaves nothing. */
static hak_mapping_t *new_charged(const hak_os_t *os, hak_budget_t *budget, size_t size,
                                  size_t alignment, bool *zeroed) {
  size_t bytes = size + sizeof(hak_mapping_t);
  if (bytes < size || !hak_budget_charge(budget, bytes)) return NULL;
  hak_mapping_t *mapping = map_new(os, size, alignment);
  if (mapping != NULL && hak_os_commit(os, mapping->extent.base, size, zeroed)) {
    hak_lock_acquire(&lock);
    mapping->budget = budget;
    hak_store_relaxed(&mapping->committed, size);
    hak_add_relaxed(&hak_mappings_committed, size);
    hak_lock_release(&lock);
    return mapping;
  }
  if (mapping != NULL) hak_os_unreserve_end(begin_release(mapping));
  hak_budget_uncharge(budget, bytes);
  return NULL;
}

hak_mapping_t *hak_mapping_acquire(const hak_os_t *os, hak_budget_t *budget, void *heap,
                                   size_t size, size_t alignment, bool no_grow,
                                   bool *zeroed) {
  hak_mapping_t *mapping = reuse_charged(os, budget, size, alignment, no_grow, zeroed);
  if (mapping == NULL && !no_grow) {
    mapping = new_charged(os, budget, size, alignment, zeroed);
  }
  if (mapping == NULL) return NULL;
  hak_lock_acquire(&lock);
  unpass_locked(mapping);
  use_locked(mapping, heap, size);
  hak_lock_release(&lock);
  return mapping;
}

void hak_mapping_advise(hak_mapping_t *mapping, bool huge) {
  mapping->advised = true;
  if (huge) {
    hak_os_advise_huge(mapping->extent.os, mapping->extent.base, mapping->reserved);
  } else {
    hak_os_advise_small(mapping->extent.os, mapping->extent.base, mapping->reserved);
  }
}

void hak_mapping_give(hak_mapping_t *mapping, uint64_t now) {
  /* What came from a heap's own hooks goes back at once: the heap may be at its end. */
  bool shared = mapping->extent.os == hak_registry_os() && !mapping->advised &&
                mapping->reserved <= (size_t)hak_option(HUGE_RETAIN_BYTES);
  bool keep = !mapping->lost && (shared || !hak_os_may_give());
  hak_lock_acquire(&lock);
  unuse_locked(mapping);
  if (keep) {
    uncharge(mapping);
    mapping->idle_since = now;
    keep_locked(mapping, false);
  } else {
    pass_locked(mapping);
  }
  hak_lock_release(&lock);
  if (keep) return;
  hak_budget_t *budget = mapping->budget;
  size_t bytes = hak_mapping_charge(mapping);
  mapping->budget = NULL;
  release(mapping);
  hak_budget_uncharge(budget, bytes);
}

/* Of those in use one of the heap; NULL: one whose block is none any more. */
static hak_mapping_t *mapping_of(const void *heap) {
  hak_lock_acquire(&lock);
  hak_mapping_t *mapping = used;
  for (; mapping != NULL; mapping = mapping->next_used) {
    const void *names = heap == NULL ? hak_load_relaxed(&mapping->extent.block)
                                     : hak_load_relaxed(&mapping->extent.heap);
    if (names == heap) break;
  }
  hak_lock_release(&lock);
  return mapping;
}

void hak_mappings_give_all(const void *heap) {
  hak_mapping_t *mapping;
  while ((mapping = mapping_of(heap)) != NULL) {
    hak_mapping_give(mapping, hak_os_now(hak_registry_os()));
  }
}

/* Gives the pages at the end of a passing mapping back; how many bytes. */
static size_t purge_end(hak_mapping_t *mapping, size_t bytes) {
  if (bytes > hak_mapping_committed(mapping)) bytes = hak_mapping_committed(mapping);
  size_t left = hak_mapping_committed(mapping) - bytes;
  char *from = mapping->extent.base + left;
  if (left > 0) {
    if (!hak_os_purge(mapping->extent.os, from, bytes)) return 0;
    hak_lock_acquire(&lock);
    hak_sub_relaxed(&hak_mappings_committed, bytes);
    hak_store_relaxed(&mapping->committed, left);
    hak_lock_release(&lock);
  } else {
    hak_add_relaxed(&hak_os_counts.purged_bytes, bytes);
  }
  hak_event_emit(HAK_EVENT_PURGE, from, bytes);
  return bytes;
}

HAK_SLOW void hak_mappings_end(const hak_os_t *os) {
  unsigned rounds = 0;
  for (;;) {
    hak_lock_acquire(&lock);
    hak_mapping_t *mapping = kept;
    while (mapping != NULL && mapping->extent.os != os) mapping = mapping->next;
    if (mapping != NULL) {
      unkeep_locked(mapping);
      pass_locked(mapping);
    }
    bool wait = mapping == NULL && others_locked(os) != NULL;
    hak_lock_release(&lock);
    if (mapping != NULL) {
      release(mapping);
    } else if (wait) {
      hak_wait_step(&rounds);
    } else {
      return;
    }
  }
}

HAK_SLOW size_t hak_mapping_purge(uint64_t before, size_t max_bytes, size_t *slabs) {
  size_t given = 0;
  while (max_bytes - given >= HAK_SLAB_SIZE && *slabs > 0) {
    hak_lock_acquire(&lock);
    hak_mapping_t *mapping = kept_last;
    if (mapping != NULL && mapping->idle_since > before) mapping = NULL;
    if (mapping != NULL) {
      unkeep_locked(mapping);
      pass_locked(mapping);
    }
    hak_lock_release(&lock);
    if (mapping == NULL) break;
    size_t units = (max_bytes - given) >> HAK_SLAB_SHIFT;
    if (units > *slabs) units = *slabs;
    size_t has = hak_div_up(hak_mapping_committed(mapping), HAK_SLAB_SIZE);
    bool all = has <= units;
    size_t got = purge_end(mapping, all ? has * HAK_SLAB_SIZE : units * HAK_SLAB_SIZE);
    *slabs -= all ? has : units;
    given += got;
    if (all) {
      release(mapping);
      continue;
    }
    hak_lock_acquire(&lock);
    unpass_locked(mapping);
    keep_locked(mapping, true);
    hak_lock_release(&lock);
    break; /* to the bound, or the OS refuses */
  }
  return given;
}

/* The record serves no other mapping: somewhere the registry may name it. */
static uint64_t give_up_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&lock);
  hak_sub_relaxed(&hak_mappings_committed, hak_mapping_committed(mapping));
  hak_sub_relaxed(&hak_mappings_reserved, mapping->reserved);
  mapping->who = NULL;
  return hak_mapping_committed(mapping);
}

/* Of mappings in use and kept ones: which bytes lost threads were counting is not known.
 */
static HAK_SLOW void recount_locked(void) {
  hak_lock_assert_held(&lock);
  uint64_t committed = 0, reserved = 0;
  for (hak_mapping_t *mapping = used; mapping != NULL; mapping = mapping->next_used) {
    committed += hak_mapping_committed(mapping);
    reserved += mapping->reserved;
  }
  for (hak_mapping_t *mapping = kept; mapping != NULL; mapping = mapping->next) {
    committed += hak_mapping_committed(mapping);
    reserved += mapping->reserved;
  }
  hak_store_relaxed(&hak_mappings_committed, committed);
  hak_store_relaxed(&hak_mappings_reserved, reserved);
}

HAK_SLOW uint64_t hak_mappings_recover(bool inside) {
  uint64_t lost = 0;
  hak_mapping_t *mapping, *next;
  hak_lock_acquire(&lock);
  while ((mapping = others_locked(NULL)) != NULL) {
    mapping->budget = NULL;
    if (inside) {
      unlink_locked(mapping);
      lost += give_up_locked(mapping);
    } else {
      hak_lock_release(&lock);
      release(mapping);
      hak_lock_acquire(&lock);
    }
  }
  for (mapping = used; mapping != NULL; mapping = next) {
    next = mapping->next_used;
    if (mapping->who == NULL || mapping->who == hak_os_self()) continue;
    unuse_locked(mapping);
    mapping->budget = NULL;
    lost += give_up_locked(mapping);
  }
  if (!inside) recount_locked();
  hak_lock_release(&lock);
  return lost;
}

void hak_mapping_visit(bool (*visit)(hak_mapping_t *mapping, void *ctx), void *ctx) {
  hak_lock_acquire(&lock);
  for (hak_mapping_t *m = used; m != NULL && visit(m, ctx); m = m->next_used) {}
  hak_lock_release(&lock);
}

HAK_SLOW void hak_mappings_stop(void) {
  hak_mapping_t *mapping;
  do {
    hak_lock_acquire(&lock);
    mapping = used != NULL ? used : kept;
    if (mapping != NULL) {
      if (mapping == used) {
        unuse_locked(mapping);
      } else {
        unkeep_locked(mapping);
      }
      pass_locked(mapping);
    }
    hak_lock_release(&lock);
    if (mapping != NULL) release(mapping);
  } while (mapping != NULL);
  records = NULL;
}
