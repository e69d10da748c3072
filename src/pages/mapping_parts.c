#include "pages/mapping_parts.h"

#include "base/bits.h"
#include "base/option.h"
#include "os/reservation.h"
#include "pages/density.h"
#include "pages/meta.h"
#include "pages/registry.h"

hak_mapping_t *hak_mapping_new_record(void) {
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_t *mapping = hak_mapping_get_record_locked();
  hak_lock_release(&hak_mappings.lock);
  if (mapping != NULL) return mapping;
  return hak_meta_alloc(hak_registry_os(), sizeof *mapping, HAK_CACHE_LINE);
}

void hak_mapping_free_record(hak_mapping_t *mapping) {
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_put_record_locked(mapping);
  hak_lock_release(&hak_mappings.lock);
}

void hak_mapping_choose_pages(hak_mapping_t *mapping, size_t size) {
  const hak_os_t *os = mapping->extent.os;
  int64_t mode = hak_option(HUGE_PAGES);
  mapping->huge = mode == 2 || (mode == 1 && hak_density_is_dense(os, size));
  if (mode == 1) hak_density_note(mapping->extent.base, size, mapping->huge);
  if (mapping->huge) {
    hak_os_advise_huge(os, mapping->extent.base, mapping->reserved);
    return;
  }
  if (hak_os_is_huge_unasked(os)) {
    hak_os_advise_small(os, mapping->extent.base, mapping->reserved);
  }
}

void hak_mapping_before_part_goes(hak_mapping_t *mapping, size_t left) {
  if (!mapping->huge || left % HAK_SUPERSLAB_SIZE == 0 || !hak_os_may_give()) return;
  hak_os_advise_small(mapping->extent.os, mapping->extent.base, mapping->reserved);
  mapping->huge = false;
}

static char *end_of(const hak_mapping_t *mapping) {
  return mapping->extent.base + mapping->reserved;
}

/* All of a cut under one hold of the lock, so that a fork finds one mapping or two. */
static HAK_SLOW void cut_locked(hak_mapping_t *mapping, hak_mapping_t *rest, size_t at,
                                uint64_t since) {
  hak_lock_assert_held(&hak_mappings.lock);
  size_t committed = hak_mapping_committed(mapping);
  rest->extent.base = mapping->extent.base + at;
  rest->extent.os = mapping->extent.os;
  hak_store_relaxed(&rest->extent.block, NULL);
  hak_store_relaxed(&rest->extent.heap, NULL);
  hak_store_relaxed(&rest->extent.kind, HAK_EXTENT_MAPPING);
  rest->reserved = mapping->reserved - at;
  rest->budget = NULL;
  rest->advised = rest->lost = false;
  rest->huge = mapping->huge;
  rest->clean = mapping->clean;
  rest->emptied = false;
  rest->who = NULL;
  rest->idle_since = since;
  hak_store_relaxed(&rest->committed, committed > at ? committed - at : 0);
  if (committed > at) hak_store_relaxed(&mapping->committed, at);
  hak_os_divide_end(mapping->extent.base, mapping->reserved, at);
  mapping->reserved = at;
  hak_registry_set_extent((uintptr_t)rest->extent.base, rest->reserved, &rest->extent);
  hak_mapping_keep_locked(rest, false);
}

/* Cuts the mapping, which the caller has, if it is worth it. The rest has been idle since
 * `since`. Returns the bytes that it has committed. */
static HAK_SLOW size_t cut(hak_mapping_t *mapping, size_t size, uint64_t since) {
  size_t at = hak_align_up(size, HAK_SUPERSLAB_SIZE);
  if (!hak_os_is_divisible(mapping->extent.os) ||
      mapping->reserved < at + HAK_SUPERSLAB_SIZE ||
      mapping->reserved - size <= hak_mapping_slack(size)) {
    return 0;
  }
  hak_mapping_t *rest = hak_mapping_new_record();
  if (rest == NULL) return 0;
  if (!hak_os_divide_begin()) {
    hak_mapping_free_record(rest);
    return 0;
  }
  hak_lock_acquire(&hak_mappings.lock);
  cut_locked(mapping, rest, at, since);
  size_t bytes = hak_mapping_committed(rest);
  hak_lock_release(&hak_mappings.lock);
  return bytes;
}

HAK_SLOW void hak_mapping_cut(hak_mapping_t *mapping, size_t size) {
  (void)cut(mapping, size, mapping->idle_since);
}

HAK_SLOW bool hak_mapping_cut_used(hak_mapping_t *mapping, size_t size, uint64_t now) {
  size_t keeps = (size_t)hak_option(HUGE_RETAIN_BYTES);
  if (mapping->advised || mapping->extent.os != hak_registry_os() ||
      mapping->reserved - size > keeps) {
    return false;
  }
  hak_budget_uncharge(mapping->budget, cut(mapping, size, now));
  return hak_mapping_committed(mapping) < size + HAK_SUPERSLAB_SIZE;
}

/* The kept mapping that begins where this one ends and may become a part of it, or
 * NULL. */
static hak_mapping_t *neighbour_locked(const hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  uintptr_t end = (uintptr_t)end_of(mapping);
  if (end % HAK_SUPERSLAB_SIZE != 0 || end >> HAK_ADDRESS_BITS != 0 ||
      hak_registry_leaf(hak_registry_root(), end >> HAK_LEAF_SHIFT) == NULL) {
    return NULL;
  }
  hak_extent_t *extent = hak_registry_extent(end);
  if (extent == NULL || hak_load_relaxed(&extent->kind) != HAK_EXTENT_MAPPING) {
    return NULL;
  }
  hak_mapping_t *next = (hak_mapping_t *)(void *)extent;
  bool joins = next->kept && (uintptr_t)next->extent.base == end &&
               next->extent.os == mapping->extent.os;
  return joins ? next : NULL;
}

/* What is committed of a mapping begins at its start and has no holes; a range whose
 * pages are of two kinds could not be remapped. */
static bool may_be_one(const hak_mapping_t *low, const hak_mapping_t *high) {
  return low->huge == high->huge && (hak_mapping_committed(low) == low->reserved ||
                                     hak_mapping_committed(high) == 0);
}

/* Two kept mappings side by side become one, which has the record of the younger one.
 */
static HAK_SLOW hak_mapping_t *join_two_locked(hak_mapping_t *low, hak_mapping_t *high) {
  hak_lock_assert_held(&hak_mappings.lock);
  hak_mapping_t *one = low->idle_since < high->idle_since ? high : low;
  hak_mapping_t *gone = one == low ? high : low;
  char *base = low->extent.base;
  size_t first = low->reserved, size = first + high->reserved;
  uint64_t committed = hak_mapping_committed(low) + hak_mapping_committed(high);
  hak_mapping_unkeep_locked(low);
  hak_mapping_unkeep_locked(high);
  hak_os_join(base, first, size);
  hak_registry_set_extent((uintptr_t)gone->extent.base, gone->reserved, &one->extent);
  one->extent.base = base;
  one->huge = low->huge;
  one->clean = low->clean && high->clean;
  one->reserved = size;
  hak_store_relaxed(&one->committed, committed);
  hak_mapping_keep_locked(one, false);
  hak_mapping_put_record_locked(gone);
  return one;
}

HAK_SLOW hak_mapping_t *hak_mapping_take_next(const hak_mapping_t *mapping, size_t size) {
  if (mapping->advised || !hak_os_is_divisible(mapping->extent.os)) return NULL;
  size_t more = size - mapping->reserved;
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_t *next = neighbour_locked(mapping);
  if (next != NULL && next->reserved < more) next = NULL;
  if (next != NULL) {
    hak_mapping_unkeep_locked(next);
    hak_mapping_pass_locked(next);
  }
  hak_lock_release(&hak_mappings.lock);
  if (next != NULL) hak_mapping_cut(next, more);
  return next;
}

/* All under one hold of the lock, so that a fork finds two mappings or one. */
HAK_SLOW void hak_mapping_append(hak_mapping_t *mapping, hak_mapping_t *next) {
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_unpass_locked(next);
  size_t first = mapping->reserved, size = first + next->reserved;
  uint64_t committed = hak_mapping_committed(mapping) + hak_mapping_committed(next);
  hak_os_join(mapping->extent.base, first, size);
  hak_registry_set_extent((uintptr_t)next->extent.base, next->reserved, &mapping->extent);
  mapping->reserved = size;
  mapping->clean = mapping->clean && next->clean;
  hak_store_relaxed(&mapping->committed, committed);
  hak_mapping_put_record_locked(next);
  hak_lock_release(&hak_mappings.lock);
}

HAK_SLOW void hak_mapping_untake(hak_mapping_t *next) {
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_unpass_locked(next);
  hak_mapping_keep_locked(next, false);
  hak_lock_release(&hak_mappings.lock);
}

HAK_SLOW bool hak_mapping_join_locked(const hak_os_t *os, size_t size) {
  hak_lock_assert_held(&hak_mappings.lock);
  if (!hak_os_is_divisible(os)) return false;
  bool joined = false;
  for (hak_mapping_t *m = hak_mappings.kept; m != NULL; m = m->next) {
    if (m->extent.os != os) continue;
    hak_mapping_t *next;
    while ((next = neighbour_locked(m)) != NULL && may_be_one(m, next)) {
      m = join_two_locked(m, next);
      joined = true;
    }
    if (joined && hak_mapping_committed(m) >= size) break;
  }
  return joined;
}
