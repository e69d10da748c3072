#include "superslab/mapping.h"

#include "base/bits.h"
#include "base/check.h"
#include "base/event.h"
#include "base/option.h"
#include "superslab/meta.h"

hak_atomic_u64_t hak_mappings_committed, hak_mappings_reserved;

static hak_lock_t lock = HAK_LOCK_INIT(HAK_RANK_MAPPINGS);
static hak_mapping_t *kept, *kept_last, *records, *used;

hak_lock_t *hak_mappings_lock(void) { return &lock; }

static void use_locked(hak_mapping_t *mapping, void *heap, size_t size) {
  hak_store_relaxed(&mapping->extent.heap, heap);
  hak_store_relaxed(&mapping->extent.size, size);
  hak_store_relaxed(&mapping->extent.block, mapping->extent.base);
  mapping->next_used = used;
  mapping->prev_used = &used;
  if (used != NULL) used->prev_used = &mapping->next_used;
  used = mapping;
}

static void unuse_locked(hak_mapping_t *mapping) {
  *mapping->prev_used = mapping->next_used;
  if (mapping->next_used != NULL) mapping->next_used->prev_used = mapping->prev_used;
  hak_store_relaxed(&mapping->extent.block, NULL);
  hak_store_relaxed(&mapping->extent.heap, NULL);
}

/* In front, as the youngest; or behind all others. */
static void keep_locked(hak_mapping_t *mapping, bool last) {
  hak_mapping_t *prev = last ? kept_last : NULL, *next = last ? NULL : kept;
  mapping->prev = prev;
  mapping->next = next;
  if (prev != NULL) prev->next = mapping;
  if (next != NULL) next->prev = mapping;
  if (prev == NULL) kept = mapping;
  if (next == NULL) kept_last = mapping;
  hak_note_retained(&hak_mappings_retained, (int64_t)mapping->committed);
}

static void unkeep_locked(hak_mapping_t *mapping) {
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
  hak_note_retained(&hak_mappings_retained, -(int64_t)mapping->committed);
}

/* Of the youngest kept mappings the one that wastes least, half of it at most; or
 * NULL. */
static hak_mapping_t *find_kept_locked(const hak_os_t *os, size_t size, size_t alignment,
                                       bool no_grow) {
  enum {
    LOOKS = 256
  };
  hak_mapping_t *best = NULL;
  int looks = 0;
  for (hak_mapping_t *m = kept; m != NULL && looks < LOOKS; m = m->next, looks++) {
    if (m->extent.os != os || m->reserved < size || m->reserved - size > size ||
        (no_grow && m->committed < size) ||
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
  if (best != NULL) unkeep_locked(best);
  hak_lock_release(&lock);
  return best;
}

/* A kept mapping would do for a block that outgrows its own. By so much larger than
 * that, that copying stays as cheap by byte as it is for any buffer that grows. */
static bool should_copy(const hak_mapping_t *mapping, size_t size) {
  hak_lock_acquire(&lock);
  hak_mapping_t *best = find_kept_locked(mapping->extent.os, size, HAK_SLAB_SIZE, false);
  bool should = best != NULL && best->committed >= size &&
                best->reserved - mapping->reserved >= mapping->reserved / 2;
  hak_lock_release(&lock);
  return should;
}

static void release(hak_mapping_t *mapping) {
  uintptr_t base = (uintptr_t)mapping->extent.base;
  hak_registry_set_extent(base, mapping->reserved, NULL);
  hak_sub_relaxed(&hak_mappings_committed, mapping->committed);
  hak_sub_relaxed(&hak_mappings_reserved, mapping->reserved);
  hak_os_release(mapping->extent.os, mapping->extent.base, mapping->reserved);
  hak_lock_acquire(&lock);
  mapping->next = records;
  records = mapping;
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

static bool commit_to(hak_mapping_t *mapping, size_t size, bool *zeroed) {
  *zeroed = mapping->committed == 0;
  if (mapping->committed >= size) return true;
  size_t more = size - mapping->committed;
  bool zero;
  if (!hak_budget_charge(mapping->budget, more)) return false;
  if (!hak_os_commit(mapping->extent.os, mapping->extent.base + mapping->committed, more,
                     &zero)) {
    hak_budget_uncharge(mapping->budget, more);
    return false;
  }
  *zeroed = *zeroed && zero;
  mapping->committed = size;
  hak_add_relaxed(&hak_mappings_committed, more);
  return true;
}

static hak_mapping_t *map_new(const hak_os_t *os, size_t size, size_t alignment) {
  size_t reserved = hak_align_up(size, HAK_SLAB_SIZE);
  if (alignment < HAK_SUPERSLAB_SIZE) alignment = HAK_SUPERSLAB_SIZE;
  if (reserved < size) return NULL;
  hak_lock_acquire(&lock);
  hak_mapping_t *mapping = records;
  if (mapping != NULL) records = mapping->next;
  hak_lock_release(&lock);
  if (mapping == NULL) {
    mapping = hak_meta_alloc(hak_registry_os(), sizeof *mapping, HAK_CACHE_LINE);
  }
  if (mapping == NULL) return NULL;
  char *base = hak_os_reserve(os, reserved, alignment);
  if (base != NULL && !hak_registry_cover(os, (uintptr_t)base, reserved)) {
    hak_os_release(os, base, reserved);
    base = NULL;
  }
  if (base == NULL) {
    hak_lock_acquire(&lock);
    mapping->next = records;
    records = mapping;
    hak_lock_release(&lock);
    return NULL;
  }
  hak_add_relaxed(&hak_mappings_reserved, reserved);
  mapping->extent.base = base;
  mapping->extent.os = os;
  hak_store_relaxed(&mapping->extent.block, NULL);
  hak_store_relaxed(&mapping->extent.kind, HAK_EXTENT_MAPPING);
  mapping->reserved = reserved;
  mapping->committed = 0;
  mapping->advised = false;
  if (hak_option(HUGE_PAGES) != 0) hak_os_advise_huge(os, base, reserved);
  hak_registry_set_extent((uintptr_t)base, reserved, &mapping->extent);
  return mapping;
}

/* A kept one with more pages than the budget has room for stays where it is. */
static hak_mapping_t *reuse_charged(const hak_os_t *os, hak_budget_t *budget, size_t size,
                                    size_t alignment, bool no_grow) {
  hak_mapping_t *mapping = reuse(os, size, alignment, no_grow);
  if (mapping == NULL || charge_to(mapping, budget)) return mapping;
  hak_lock_acquire(&lock);
  keep_locked(mapping, false);
  hak_lock_release(&lock);
  return NULL;
}

hak_mapping_t *hak_mapping_acquire(const hak_os_t *os, hak_budget_t *budget, void *heap,
                                   size_t size, size_t alignment, bool no_grow,
                                   bool *zeroed) {
  hak_mapping_t *mapping = reuse_charged(os, budget, size, alignment, no_grow);
  if (mapping == NULL && !no_grow) {
    mapping = map_new(os, size, alignment);
    if (mapping != NULL && !charge_to(mapping, budget)) {
      release(mapping);
      mapping = NULL;
    }
  }
  if (mapping == NULL) return NULL;
  if (!commit_to(mapping, size, zeroed)) {
    uncharge(mapping);
    release(mapping);
    return NULL;
  }
  hak_lock_acquire(&lock);
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
  bool keep = shared || !hak_os_may_give();
  hak_lock_acquire(&lock);
  unuse_locked(mapping);
  if (keep) {
    uncharge(mapping);
    mapping->idle_since = now;
    keep_locked(mapping, false);
  }
  hak_lock_release(&lock);
  if (keep) return;
  hak_budget_t *budget = mapping->budget;
  size_t bytes = hak_mapping_charge(mapping);
  mapping->budget = NULL;
  release(mapping);
  hak_budget_uncharge(budget, bytes);
}

static hak_mapping_t *mapping_of(const void *heap) {
  hak_lock_acquire(&lock);
  hak_mapping_t *mapping = used;
  while (mapping != NULL && hak_load_relaxed(&mapping->extent.heap) != heap) {
    mapping = mapping->next_used;
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

void hak_mappings_give_claimed(void) {
  for (;;) {
    hak_lock_acquire(&lock);
    hak_mapping_t *mapping = used;
    while (mapping != NULL && hak_load_relaxed(&mapping->extent.block) != NULL) {
      mapping = mapping->next_used;
    }
    hak_lock_release(&lock);
    if (mapping == NULL) return;
    hak_mapping_give(mapping, hak_os_now(hak_registry_os()));
  }
}

char *hak_mapping_resize(hak_mapping_t *mapping, size_t size, bool may_move) {
  const hak_os_t *os = mapping->extent.os;
  char *base = mapping->extent.base;
  bool zeroed;
  if (size <= mapping->reserved && size > mapping->reserved / 2) {
    if (!commit_to(mapping, size, &zeroed)) return NULL;
    hak_store_relaxed(&mapping->extent.size, size);
    return base;
  }
  size_t reserved = hak_align_up(size, HAK_SLAB_SIZE);
  if (reserved < size) return NULL;
  if (!may_move) {
    if (size > mapping->reserved) return NULL;
    /* It may have been smaller still for a while. */
    if (!commit_to(mapping, size, &zeroed)) return NULL;
    /* Smaller: the pages go, the address space stays. */
    size_t tail = mapping->committed > size ? mapping->committed - size : 0;
    if (tail > 0 && hak_os_purge(os, base + size, tail)) {
      mapping->committed = size;
      hak_sub_relaxed(&hak_mappings_committed, tail);
      hak_budget_uncharge(mapping->budget, tail);
    }
    hak_store_relaxed(&mapping->extent.size, size);
    return base;
  }
  /* Else memory that is kept would lie idle while the block takes as much again. Where
   * there is a limit both would have to fit for a while. */
  if (!hak_budget_is_limited(mapping->budget) && should_copy(mapping, size)) return NULL;
  /* The block must not be found at its old address once the pages have moved,
   * and remap wants the whole range committed. */
  size_t old_reserved = mapping->reserved;
  size_t more = reserved > old_reserved ? reserved - old_reserved : 0;
  if (!hak_registry_prepare(reserved) || !commit_to(mapping, old_reserved, &zeroed) ||
      !hak_budget_charge(mapping->budget, more)) {
    return NULL;
  }
  hak_registry_set_extent((uintptr_t)base, old_reserved, NULL);
  char *moved = hak_os_remap(os, base, old_reserved, reserved);
  if (moved != NULL && !hak_registry_cover(os, (uintptr_t)moved, reserved)) {
    char *back = hak_os_remap(os, moved, reserved, old_reserved);
    moved = NULL;
    if (back != NULL) base = back;
  }
  if (moved != NULL) {
    base = moved;
    hak_add_relaxed(&hak_mappings_reserved, reserved - old_reserved);
    hak_add_relaxed(&hak_mappings_committed, reserved - old_reserved);
    mapping->reserved = mapping->committed = reserved;
    hak_store_relaxed(&mapping->extent.size, size);
    if (reserved < old_reserved) {
      hak_budget_uncharge(mapping->budget, old_reserved - reserved);
    }
  } else {
    hak_budget_uncharge(mapping->budget, more);
  }
  mapping->extent.base = base;
  hak_store_relaxed(&mapping->extent.block, base);
  hak_registry_set_extent((uintptr_t)base, mapping->reserved, &mapping->extent);
  return moved;
}

/* Gives the pages at the end of a kept mapping back; how many bytes. */
static size_t purge_end(hak_mapping_t *mapping, size_t bytes) {
  if (bytes > mapping->committed) bytes = mapping->committed;
  size_t left = mapping->committed - bytes;
  char *from = mapping->extent.base + left;
  if (left > 0) {
    if (!hak_os_purge(mapping->extent.os, from, bytes)) return 0;
    hak_sub_relaxed(&hak_mappings_committed, bytes);
    mapping->committed = left;
  } else {
    hak_add_relaxed(&hak_os_counts.purged_bytes, bytes);
  }
  hak_event_emit(HAK_EVENT_PURGE, from, bytes);
  return bytes;
}

void hak_mappings_end(const hak_os_t *os) {
  for (;;) {
    hak_lock_acquire(&lock);
    hak_mapping_t *mapping = kept;
    while (mapping != NULL && mapping->extent.os != os) mapping = mapping->next;
    if (mapping != NULL) unkeep_locked(mapping);
    hak_lock_release(&lock);
    if (mapping == NULL) return;
    release(mapping);
  }
}

size_t hak_mapping_purge(uint64_t before, size_t max_bytes, size_t *slabs) {
  size_t given = 0;
  while (max_bytes - given >= HAK_SLAB_SIZE && *slabs > 0) {
    hak_lock_acquire(&lock);
    hak_mapping_t *mapping = kept_last;
    if (mapping != NULL && mapping->idle_since > before) mapping = NULL;
    if (mapping != NULL) unkeep_locked(mapping);
    hak_lock_release(&lock);
    if (mapping == NULL) break;
    size_t units = (max_bytes - given) >> HAK_SLAB_SHIFT;
    if (units > *slabs) units = *slabs;
    size_t has = hak_div_up(mapping->committed, HAK_SLAB_SIZE);
    bool all = has <= units;
    size_t got = purge_end(mapping, all ? has * HAK_SLAB_SIZE : units * HAK_SLAB_SIZE);
    *slabs -= all ? has : units;
    given += got;
    if (all) {
      release(mapping);
      continue;
    }
    hak_lock_acquire(&lock);
    keep_locked(mapping, true);
    hak_lock_release(&lock);
    break; /* to the bound, or the OS refuses */
  }
  return given;
}

void hak_mapping_visit(bool (*visit)(hak_mapping_t *mapping, void *ctx), void *ctx) {
  hak_lock_acquire(&lock);
  for (hak_mapping_t *m = used; m != NULL && visit(m, ctx); m = m->next_used) {}
  hak_lock_release(&lock);
}

void hak_mappings_release(void) {
  while (used != NULL) {
    hak_mapping_t *mapping = used;
    unuse_locked(mapping);
    release(mapping);
  }
  while (kept != NULL) {
    hak_mapping_t *mapping = kept;
    unkeep_locked(mapping);
    release(mapping);
  }
  records = NULL;
}
