#include "pages/mapping.h"

#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "base/event.h"
#include "base/option.h"
#include "base/wait.h"
#include "os/reservation.h"
#include "os/written.h"
#include "pages/cell.h"
#include "pages/clock.h"
#include "pages/density.h"
#include "pages/idle.h"
#include "pages/mapping_parts.h"
#include "pages/registry.h"

hak_lock_t *hak_mappings_lock(void) { return &hak_mappings.lock; }

static hak_mapping_t *reuse(const hak_os_t *os, size_t size, size_t alignment,
                            bool no_grow) {
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_t *best = hak_mapping_find_kept_locked(os, size, alignment, no_grow);
  bool full = best != NULL && hak_mapping_committed(best) >= size;
  if (!full && !no_grow && hak_mapping_join_locked(os, size)) {
    best = hak_mapping_find_kept_locked(os, size, alignment, no_grow);
  }
  if (best != NULL) {
    hak_mapping_unkeep_locked(best);
    hak_mapping_pass_locked(best);
  }
  hak_lock_release(&hak_mappings.lock);
  return best;
}

/* The addresses of a passing mapping are made unowned, and its record is free: only the
 * OS has yet to hear of it. */
static HAK_SLOW hak_os_note_t *begin_release(hak_mapping_t *mapping) {
  hak_os_note_t *note = NULL;
  uintptr_t base = (uintptr_t)mapping->extent.base;
  hak_registry_set_extent(base, mapping->reserved, NULL);
  hak_lock_acquire(&hak_mappings.lock);
  if (mapping->reserved != 0) {
    note =
        hak_os_release_begin(mapping->extent.os, mapping->extent.base, mapping->reserved);
  }
  hak_sub_relaxed(&hak_mappings_committed, hak_mapping_committed(mapping));
  hak_sub_relaxed(&hak_mappings_reserved, mapping->reserved);
  hak_mapping_unpass_locked(mapping);
  hak_mapping_put_record_locked(mapping);
  hak_lock_release(&hak_mappings.lock);
  return note;
}

static HAK_SLOW void release(hak_mapping_t *mapping) {
  hak_os_release_end(begin_release(mapping));
}

/* Puts a passing mapping back in front of the kept ones. */
static HAK_SLOW void put_back(hak_mapping_t *mapping) {
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_unpass_locked(mapping);
  hak_mapping_keep_locked(mapping, false);
  hak_lock_release(&hak_mappings.lock);
}

static void uncharge(hak_mapping_t *mapping) {
  hak_budget_uncharge(mapping->budget, hak_mapping_charge(mapping));
  mapping->budget = NULL;
}

/* Gives the pages at the end of a passing mapping back; how many bytes. */
static size_t purge_end(hak_mapping_t *mapping, size_t bytes) {
  if (bytes == 0) return 0;
  if (bytes > hak_mapping_committed(mapping)) bytes = hak_mapping_committed(mapping);
  size_t left = hak_mapping_committed(mapping) - bytes;
  char *from = mapping->extent.base + left;
  if (left > 0) {
    hak_mapping_before_part_goes(mapping, left);
    if (!hak_os_purge(mapping->extent.os, from, bytes)) return 0;
    hak_lock_acquire(&hak_mappings.lock);
    hak_sub_relaxed(&hak_mappings_committed, bytes);
    hak_store_relaxed(&mapping->committed, left);
    hak_lock_release(&hak_mappings.lock);
  } else {
    hak_add_relaxed(&hak_os_counts.purged_bytes, bytes);
  }
  hak_event_emit(HAK_EVENT_PURGE, from, bytes);
  return bytes;
}

/* How many bytes go at the end of a mapping of which so many should: as much of that, or
 * as little `more`, as leaves huge pages whole. */
static size_t part_to_go(const hak_mapping_t *mapping, size_t bytes, bool more) {
  size_t committed = hak_mapping_committed(mapping);
  if (bytes >= committed) return committed;
  if (!mapping->huge) return bytes;
  size_t left = more ? hak_align_down(committed - bytes, HAK_SUPERSLAB_SIZE)
                     : hak_align_up(committed - bytes, HAK_SUPERSLAB_SIZE);
  return left < committed ? committed - left : bytes;
}

/* See hak_mapping_purge. `more`: rather than less. */
static HAK_SLOW size_t purge_kept(uint64_t before, size_t max_bytes, size_t *slabs,
                                  bool more) {
  size_t given = 0;
  while (given < max_bytes && max_bytes - given >= HAK_SLAB_SIZE && *slabs > 0) {
    hak_lock_acquire(&hak_mappings.lock);
    hak_mapping_t *mapping = hak_mappings.kept_last;
    if (mapping != NULL && mapping->idle_since > before) mapping = NULL;
    if (mapping != NULL) {
      hak_mapping_unkeep_locked(mapping);
      hak_mapping_pass_locked(mapping);
    }
    hak_lock_release(&hak_mappings.lock);
    if (mapping == NULL) break;
    size_t most = (max_bytes - given) >> HAK_SLAB_SHIFT; /* slabs */
    if (most > *slabs) most = *slabs;
    size_t bytes = part_to_go(mapping, most << HAK_SLAB_SHIFT, more);
    bool all = bytes == hak_mapping_committed(mapping);
    size_t looked = hak_div_up(bytes, HAK_SLAB_SIZE);
    *slabs -= looked < *slabs ? looked : *slabs;
    size_t got = purge_end(mapping, bytes);
    given += got;
    if (all) {
      release(mapping);
      continue;
    }
    hak_lock_acquire(&hak_mappings.lock);
    hak_mapping_unpass_locked(mapping);
    /* What is refused is not in the way of others, nor due again at once. */
    if (got == 0) mapping->idle_since = hak_clock_cached();
    hak_mapping_keep_locked(mapping, got != 0);
    hak_lock_release(&hak_mappings.lock);
    break; /* to the bound, or the OS refuses */
  }
  return given;
}

size_t hak_mapping_piece(void) {
  hak_lock_acquire(&hak_mappings.lock);
  const hak_mapping_t *oldest = hak_mappings.kept_last;
  bool huge = oldest != NULL && oldest->huge;
  hak_lock_release(&hak_mappings.lock);
  return huge ? HAK_SUPERSLAB_SIZE : HAK_SLAB_SIZE;
}

HAK_SLOW void hak_mapping_make_room(size_t more) {
  hak_lock_acquire(&hak_mappings.lock);
  uint64_t excess = hak_mapping_note_use_locked(more, hak_clock_cached());
  hak_lock_release(&hak_mappings.lock);
  if (excess == 0 || !hak_os_may_give()) return;
  size_t slabs = SIZE_MAX;
  purge_kept(UINT64_MAX, hak_align_up(excess, HAK_SLAB_SIZE), &slabs, true);
}

bool hak_mapping_commit_to(hak_mapping_t *mapping, size_t size, bool *zeroed) {
  size_t committed = hak_mapping_committed(mapping);
  size_t more = size > committed ? size - committed : 0;
  *zeroed = committed == 0;
  hak_mapping_make_room(more);
  if (more == 0) return true;
  bool zero;
  if (!hak_budget_charge(mapping->budget, more)) return false;
  if (!hak_os_commit(mapping->extent.os, mapping->extent.base + committed, more, &zero)) {
    hak_budget_uncharge(mapping->budget, more);
    return false;
  }
  *zeroed = *zeroed && zero;
  mapping->clean = mapping->clean && zero;
  hak_store_relaxed(&mapping->committed, size);
  hak_add_relaxed(&hak_mappings_committed, more);
  hak_idle_note_needed(more);
  return true;
}

/* A new mapping without pages, which passes. */
static HAK_SLOW hak_mapping_t *map_new(const hak_os_t *os, size_t size,
                                       size_t alignment) {
  size_t reserved = hak_align_up(size, HAK_SLAB_SIZE);
  if (alignment < HAK_SUPERSLAB_SIZE) alignment = HAK_SUPERSLAB_SIZE;
  if (reserved < size) return NULL;
  hak_mapping_t *mapping = hak_mapping_new_record();
  if (mapping == NULL) return NULL;
  char *base = hak_os_reserve(os, reserved, alignment);
  if (base != NULL && !hak_registry_cover(os, (uintptr_t)base, reserved)) {
    hak_os_unreserve(os, base, reserved);
    base = NULL;
  }
  if (base == NULL) {
    hak_mapping_free_record(mapping);
    return NULL;
  }
  mapping->extent.base = base;
  mapping->extent.os = os;
  hak_store_relaxed(&mapping->extent.block, NULL);
  hak_store_relaxed(&mapping->extent.kind, HAK_EXTENT_MAPPING);
  mapping->reserved = reserved;
  hak_store_relaxed(&mapping->committed, 0);
  mapping->advised = mapping->lost = mapping->clean = mapping->emptied = false;
  hak_lock_acquire(&hak_mappings.lock);
  hak_add_relaxed(&hak_mappings_reserved, reserved);
  hak_mapping_pass_locked(mapping);
  hak_lock_release(&hak_mappings.lock);
  hak_mapping_choose_pages(mapping, size);
  hak_registry_set_extent((uintptr_t)base, reserved, &mapping->extent);
  return mapping;
}

/* A mapping that was kept and passes is cut to what a block of `size` bytes needs, or
 * gives pages back that the block is not to have. */
static HAK_SLOW void fit(hak_mapping_t *mapping, size_t size) {
  hak_mapping_cut(mapping, size);
  size_t committed = hak_mapping_committed(mapping);
  size_t tail = committed > size ? committed - size : 0;
  if (tail <= hak_mapping_slack(size)) return;
  /* If blocks grow into what was given back behind them it stays. */
  uint64_t now = hak_clock_cached();
  if (hak_idle_shrink_allowance(now) >= tail) return;
  hak_idle_note_shrunk(purge_end(mapping, tail), now);
}

/* A mapping that was kept and passes comes to a heap, which is charged its record and its
 * pages; it is made to fit only then. Pages that the block does not need are given back
 * where the budget has no room for them. */
static bool charge_fitting(hak_mapping_t *mapping, hak_budget_t *budget, size_t size,
                           bool no_grow) {
  size_t committed = hak_mapping_committed(mapping);
  size_t needed = committed < size ? committed : size;
  if (!hak_budget_charge(budget, needed + sizeof *mapping)) return false;
  if (!no_grow) fit(mapping, size);
  size_t more = hak_mapping_committed(mapping) - needed;
  if (!hak_budget_charge(budget, more) && purge_end(mapping, more) == 0) {
    hak_budget_uncharge(budget, needed + sizeof *mapping);
    return false;
  }
  mapping->budget = budget;
  return true;
}

/* A mapping that has lost most of its pages is chosen for anew. */
static void choose_again(hak_mapping_t *mapping, size_t size) {
  size_t committed = hak_mapping_committed(mapping);
  bool many = committed > size / 2 || size - committed < HAK_SUPERSLAB_SIZE;
  if (mapping->huge || many) return;
  hak_mapping_choose_pages(mapping, size);
}

/* In a hardened build all of a mapping that comes into use is cleared, unless it was. */
static void make_clean(hak_mapping_t *mapping, bool zeroed) {
  if (HAK_CHECKS < 3) return;
  if (!mapping->clean && !zeroed) {
    memset(mapping->extent.base, 0, hak_mapping_committed(mapping));
  }
  mapping->clean = true;
  mapping->emptied = false;
}

/* A kept mapping with the pages that are asked for. One that the budget or the OS
 * refuses to make fit stays where it is. */
static hak_mapping_t *reuse_charged(const hak_os_t *os, hak_budget_t *budget, size_t size,
                                    size_t alignment, bool no_grow, bool *zeroed) {
  hak_mapping_t *mapping = reuse(os, size, alignment, no_grow);
  if (mapping == NULL) return NULL;
  if (charge_fitting(mapping, budget, size, no_grow)) {
    choose_again(mapping, size);
    if (hak_mapping_commit_to(mapping, size, zeroed)) {
      make_clean(mapping, *zeroed);
      return mapping;
    }
    uncharge(mapping);
  }
  put_back(mapping);
  return NULL;
}

/* A new mapping with its pages. It is charged before anything is asked for: a request
 * that is refused leaves nothing. */
static hak_mapping_t *new_charged(const hak_os_t *os, hak_budget_t *budget, size_t size,
                                  size_t alignment, bool *zeroed) {
  size_t bytes = size + sizeof(hak_mapping_t);
  if (!hak_budget_charge(budget, bytes)) return NULL;
  hak_mapping_make_room(size);
  hak_mapping_t *mapping = map_new(os, size, alignment);
  if (mapping != NULL && hak_os_commit(os, mapping->extent.base, size, zeroed)) {
    hak_lock_acquire(&hak_mappings.lock);
    mapping->budget = budget;
    hak_store_relaxed(&mapping->committed, size);
    hak_add_relaxed(&hak_mappings_committed, size);
    hak_lock_release(&hak_mappings.lock);
    hak_idle_note_needed(size);
    make_clean(mapping, *zeroed);
    return mapping;
  }
  if (mapping != NULL) hak_os_unreserve_end(begin_release(mapping));
  hak_budget_uncharge(budget, bytes);
  return NULL;
}

hak_mapping_t *hak_mapping_acquire(const hak_os_t *os, hak_budget_t *budget, void *heap,
                                   size_t size, size_t alignment, bool no_grow,
                                   bool *zeroed) {
  hak_clock_refresh();
  hak_mapping_t *mapping = reuse_charged(os, budget, size, alignment, no_grow, zeroed);
  if (mapping == NULL && !no_grow) {
    mapping = new_charged(os, budget, size, alignment, zeroed);
  }
  if (mapping == NULL) return NULL;
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_unpass_locked(mapping);
  hak_mapping_use_locked(mapping, heap, mapping->extent.base, size);
  hak_lock_release(&hak_mappings.lock);
  return mapping;
}

void hak_mapping_advise(hak_mapping_t *mapping, bool huge) {
  mapping->advised = true;
  mapping->huge = huge;
  if (huge) {
    hak_os_advise_huge(mapping->extent.os, mapping->extent.base, mapping->reserved);
  } else {
    hak_os_advise_small(mapping->extent.os, mapping->extent.base, mapping->reserved);
  }
}

void hak_mapping_give(hak_mapping_t *mapping, uint64_t now) {
  if (mapping->guarded) {
    hak_cell_end(mapping);
    return;
  }
  /* What came from a heap's own hooks goes back at once: the heap may be at its end. */
  bool shared = mapping->extent.os == hak_registry_os() && !mapping->advised &&
                mapping->reserved <= (size_t)hak_option(HUGE_RETAIN_BYTES);
  mapping->clean = mapping->clean && mapping->emptied;
  bool keep = !mapping->lost && (shared || !hak_os_may_give());
  (void)hak_density_freed(mapping->extent.os, mapping->extent.base,
                          hak_load_relaxed(&mapping->extent.size));
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_unuse_locked(mapping);
  if (keep) {
    uncharge(mapping);
    mapping->idle_since = now;
    hak_mapping_keep_locked(mapping, false);
  } else {
    hak_mapping_pass_locked(mapping);
  }
  hak_lock_release(&hak_mappings.lock);
  if (keep) return;
  hak_budget_t *budget = mapping->budget;
  size_t bytes = hak_mapping_charge(mapping);
  mapping->budget = NULL;
  release(mapping);
  hak_budget_uncharge(budget, bytes);
}

/* A mapping in use that the heap has; if `heap` is NULL, one whose block is none any
 * more. */
static hak_mapping_t *mapping_of(const void *heap) {
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_t *mapping = hak_mappings.used;
  for (; mapping != NULL; mapping = mapping->next_used) {
    const void *names = heap == NULL ? hak_load_relaxed(&mapping->extent.block)
                                     : hak_load_relaxed(&mapping->extent.heap);
    if (names == heap) break;
  }
  hak_lock_release(&hak_mappings.lock);
  return mapping;
}

void hak_mappings_give_all(const void *heap) {
  hak_mapping_t *mapping;
  while ((mapping = mapping_of(heap)) != NULL) {
    hak_mapping_give(mapping, hak_os_now(hak_registry_os()));
  }
}

HAK_SLOW void hak_mappings_end(const hak_os_t *os) {
  unsigned rounds = 0;
  for (;;) {
    hak_lock_acquire(&hak_mappings.lock);
    hak_mapping_t *mapping = hak_mappings.kept;
    while (mapping != NULL && mapping->extent.os != os) mapping = mapping->next;
    if (mapping != NULL) {
      hak_mapping_unkeep_locked(mapping);
      hak_mapping_pass_locked(mapping);
    }
    bool wait = mapping == NULL && hak_mapping_others_locked(os) != NULL;
    hak_lock_release(&hak_mappings.lock);
    if (mapping != NULL) {
      release(mapping);
    } else if (wait) {
      hak_wait_step(&rounds);
    } else {
      return;
    }
  }
}

uint64_t hak_mapping_oldest(void) {
  hak_lock_acquire(&hak_mappings.lock);
  const hak_mapping_t *oldest = hak_mappings.kept_last;
  uint64_t since = oldest == NULL ? UINT64_MAX : oldest->idle_since;
  hak_lock_release(&hak_mappings.lock);
  return since;
}

HAK_SLOW size_t hak_mapping_purge(uint64_t before, size_t max_bytes, size_t *slabs) {
  size_t given = purge_kept(before, max_bytes, slabs, false);
  /* Where all has been idle for long, or is not wanted, earlier use counts no more. */
  hak_lock_acquire(&hak_mappings.lock);
  if (hak_mappings.kept == NULL) hak_mappings.peak = hak_mappings.peak_before = 0;
  hak_lock_release(&hak_mappings.lock);
  return given;
}

HAK_SLOW const void *hak_mappings_find_written(void) {
  if (HAK_CHECKS < 3) return NULL;
  const void *found = NULL;
  hak_lock_acquire(&hak_mappings.lock);
  for (hak_mapping_t *m = hak_mappings.kept; m != NULL && found == NULL; m = m->next) {
    bool all = hak_os_keeps_zeroes(m->extent.os);
    size_t bytes = all ? m->reserved : hak_mapping_committed(m);
    if (m->clean) found = hak_os_find_written(m->extent.os, m->extent.base, bytes);
  }
  hak_lock_release(&hak_mappings.lock);
  return found;
}

/* Takes a mapping out of the counts. Its record serves no other mapping, because the
 * registry may name it somewhere. */
static uint64_t give_up_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  hak_sub_relaxed(&hak_mappings_committed, hak_mapping_committed(mapping));
  hak_sub_relaxed(&hak_mappings_reserved, mapping->reserved);
  mapping->who = NULL;
  return hak_mapping_committed(mapping);
}

/* Counts the bytes of mappings in use and kept ones anew: lost threads may have been
 * counting some. */
static HAK_SLOW void recount_locked(void) {
  hak_lock_assert_held(&hak_mappings.lock);
  uint64_t committed = 0, reserved = 0;
  for (hak_mapping_t *mapping = hak_mappings.used; mapping != NULL;
       mapping = mapping->next_used) {
    committed += hak_mapping_committed(mapping);
    reserved += mapping->reserved;
  }
  for (hak_mapping_t *mapping = hak_mappings.kept; mapping != NULL;
       mapping = mapping->next) {
    committed += hak_mapping_committed(mapping);
    reserved += mapping->reserved;
  }
  hak_store_relaxed(&hak_mappings_committed, committed);
  hak_store_relaxed(&hak_mappings_reserved, reserved);
}

HAK_SLOW uint64_t hak_mappings_recover(bool inside) {
  uint64_t lost = 0;
  hak_mapping_t *mapping, *next;
  hak_lock_acquire(&hak_mappings.lock);
  while ((mapping = hak_mapping_others_locked(NULL)) != NULL) {
    mapping->budget = NULL;
    if (inside) {
      hak_mapping_unpass_locked(mapping);
      lost += give_up_locked(mapping);
    } else {
      hak_lock_release(&hak_mappings.lock);
      release(mapping);
      hak_lock_acquire(&hak_mappings.lock);
    }
  }
  for (mapping = hak_mappings.used; mapping != NULL; mapping = next) {
    next = mapping->next_used;
    if (mapping->who == NULL || mapping->who == hak_os_self()) continue;
    hak_mapping_unuse_locked(mapping);
    mapping->budget = NULL;
    lost += give_up_locked(mapping);
  }
  if (!inside) recount_locked();
  hak_lock_release(&hak_mappings.lock);
  hak_cells_recover();
  return lost;
}

void hak_mapping_visit(bool (*visit)(hak_mapping_t *mapping, void *ctx), void *ctx) {
  hak_lock_acquire(&hak_mappings.lock);
  for (hak_mapping_t *m = hak_mappings.used; m != NULL && visit(m, ctx);
       m = m->next_used) {}
  hak_lock_release(&hak_mappings.lock);
}

HAK_SLOW void hak_mappings_stop(void) {
  hak_mapping_t *mapping;
  do {
    hak_lock_acquire(&hak_mappings.lock);
    mapping = hak_mappings.used != NULL ? hak_mappings.used : hak_mappings.kept;
    if (mapping != NULL) {
      if (mapping == hak_mappings.used) {
        hak_mapping_unuse_locked(mapping);
      } else {
        hak_mapping_unkeep_locked(mapping);
      }
      if (mapping->guarded) { /* its range goes with all cells */
        hak_sub_relaxed(&hak_mappings_committed, hak_mapping_committed(mapping));
      } else {
        hak_mapping_pass_locked(mapping);
      }
    }
    hak_lock_release(&hak_mappings.lock);
    if (mapping != NULL && !mapping->guarded) release(mapping);
  } while (mapping != NULL);
  hak_cells_stop();
  hak_mappings.records = NULL;
  hak_mappings.peak = hak_mappings.peak_before = hak_mappings.peak_since = 0;
}
