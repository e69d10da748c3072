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
  if (mapping->huge) {
    hak_os_advise_huge(os, mapping->extent.base, mapping->reserved);
    return;
  }
  if (mode == 1) hak_density_note(mapping->extent.base, size);
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
static HAK_SLOW void cut_locked(hak_mapping_t *mapping, hak_mapping_t *rest, size_t at) {
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
  rest->who = NULL;
  rest->idle_since = mapping->idle_since;
  hak_store_relaxed(&rest->committed, committed > at ? committed - at : 0);
  if (committed > at) hak_store_relaxed(&mapping->committed, at);
  hak_os_divide_end(mapping->extent.base, mapping->reserved, at);
  mapping->reserved = at;
  hak_registry_set_extent((uintptr_t)rest->extent.base, rest->reserved, &rest->extent);
  hak_mapping_keep_locked(rest, false);
}

HAK_SLOW void hak_mapping_cut(hak_mapping_t *mapping, size_t size) {
  size_t at = hak_align_up(size, HAK_SUPERSLAB_SIZE);
  if (!hak_os_is_divisible(mapping->extent.os) || at < size ||
      mapping->reserved < at + HAK_SUPERSLAB_SIZE ||
      mapping->reserved - size <= hak_mapping_slack(size)) {
    return;
  }
  hak_mapping_t *rest = hak_mapping_new_record();
  if (rest == NULL) return;
  if (!hak_os_divide_begin()) {
    hak_mapping_free_record(rest);
    return;
  }
  hak_lock_acquire(&hak_mappings.lock);
  cut_locked(mapping, rest, at);
  hak_lock_release(&hak_mappings.lock);
}

/* The kept mapping that begins where this one ends, or NULL. */
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
  /* What is committed begins at the start and has no holes; a range whose pages are of
   * two kinds could not be remapped. */
  bool joins = next->kept && next->huge == mapping->huge &&
               (uintptr_t)next->extent.base == end &&
               next->extent.os == mapping->extent.os &&
               (hak_mapping_committed(mapping) == mapping->reserved ||
                hak_mapping_committed(next) == 0);
  return joins ? next : NULL;
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
  one->reserved = size;
  hak_store_relaxed(&one->committed, committed);
  hak_mapping_keep_locked(one, false);
  hak_mapping_put_record_locked(gone);
  return one;
}

HAK_SLOW bool hak_mapping_join_locked(const hak_os_t *os, size_t size) {
  hak_lock_assert_held(&hak_mappings.lock);
  if (!hak_os_is_divisible(os)) return false;
  bool joined = false;
  for (hak_mapping_t *m = hak_mappings.kept; m != NULL; m = m->next) {
    if (m->extent.os != os) continue;
    hak_mapping_t *next;
    while ((next = neighbour_locked(m)) != NULL) {
      m = join_two_locked(m, next);
      joined = true;
    }
    if (joined && hak_mapping_committed(m) >= size) break;
  }
  return joined;
}
