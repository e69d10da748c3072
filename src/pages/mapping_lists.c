#include "pages/mapping_lists.h"

#include "base/bits.h"
#include "base/option.h"
#include "pages/idle.h"

hak_atomic_u64_t hak_mappings_reserved;
hak_mappings_t hak_mappings = {.lock = HAK_LOCK_INIT(HAK_RANK_MAPPINGS)};

static void link_locked(hak_mapping_t **list, hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  mapping->next_used = *list;
  mapping->prev_used = list;
  if (*list != NULL) (*list)->prev_used = &mapping->next_used;
  *list = mapping;
}

static void unlink_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  *mapping->prev_used = mapping->next_used;
  if (mapping->next_used != NULL) mapping->next_used->prev_used = mapping->prev_used;
}

void hak_mapping_pass_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  mapping->who = hak_os_self();
  link_locked(&hak_mappings.passing, mapping);
}

void hak_mapping_unpass_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  unlink_locked(mapping);
  mapping->who = NULL;
}

hak_mapping_t *hak_mapping_others_locked(const hak_os_t *os) {
  hak_lock_assert_held(&hak_mappings.lock);
  hak_mapping_t *mapping = hak_mappings.passing;
  while (mapping != NULL &&
         (mapping->who == hak_os_self() || (os != NULL && mapping->extent.os != os))) {
    mapping = mapping->next_used;
  }
  return mapping;
}

void hak_mapping_use_locked(hak_mapping_t *mapping, void *heap, char *block,
                            size_t size) {
  hak_lock_assert_held(&hak_mappings.lock);
  hak_store_relaxed(&mapping->extent.heap, heap);
  hak_store_relaxed(&mapping->extent.size, size);
  hak_store_relaxed(&mapping->extent.block, block);
  link_locked(&hak_mappings.used, mapping);
}

void hak_mapping_unuse_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  unlink_locked(mapping);
  hak_store_relaxed(&mapping->extent.block, NULL);
  hak_store_relaxed(&mapping->extent.heap, NULL);
}

static unsigned bin_of(size_t reserved) {
  size_t units = reserved >> HAK_SLAB_SHIFT;
  if (units < 8) return (unsigned)units;
  unsigned top = hak_highest_bit(units);
  return (top - 2) * 8 + (unsigned)(units >> (top - 3) & 7);
}

static void bin_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  unsigned bin = bin_of(mapping->reserved);
  hak_mapping_t **list = &hak_mappings.bins[bin];
  mapping->next_fit = *list;
  mapping->prev_fit = list;
  if (*list != NULL) (*list)->prev_fit = &mapping->next_fit;
  *list = mapping;
  hak_mappings.some[bin / 64] |= (uint64_t)1 << bin % 64;
}

static void unbin_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  unsigned bin = bin_of(mapping->reserved);
  *mapping->prev_fit = mapping->next_fit;
  if (mapping->next_fit != NULL) mapping->next_fit->prev_fit = mapping->prev_fit;
  if (hak_mappings.bins[bin] != NULL) return;
  hak_mappings.some[bin / 64] &= ~((uint64_t)1 << bin % 64);
}

/* The youngest of those that are older, or NULL. Looks at few: one that is put in its
 * place too early is only given back a little late. */
static hak_mapping_t *older_locked(const hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  enum {
    LOOKS = 64
  };
  hak_mapping_t *next = hak_mappings.kept;
  for (int i = 0; i < LOOKS && next != NULL; i++, next = next->next) {
    if (next->idle_since <= mapping->idle_since) break;
  }
  return next;
}

void hak_mapping_keep_locked(hak_mapping_t *mapping, bool last) {
  hak_lock_assert_held(&hak_mappings.lock);
  hak_mapping_t *next = last ? NULL : older_locked(mapping);
  hak_mapping_t *prev = next == NULL ? hak_mappings.kept_last : next->prev;
  mapping->prev = prev;
  mapping->next = next;
  if (prev != NULL) prev->next = mapping;
  if (next != NULL) next->prev = mapping;
  if (prev == NULL) hak_mappings.kept = mapping;
  if (next == NULL) hak_mappings.kept_last = mapping;
  mapping->kept = true;
  bin_locked(mapping);
  hak_note_retained(&hak_mappings_retained, (int64_t)hak_mapping_committed(mapping));
}

void hak_mapping_unkeep_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  if (mapping->prev != NULL) {
    mapping->prev->next = mapping->next;
  } else {
    hak_mappings.kept = mapping->next;
  }
  if (mapping->next != NULL) {
    mapping->next->prev = mapping->prev;
  } else {
    hak_mappings.kept_last = mapping->prev;
  }
  mapping->kept = false;
  unbin_locked(mapping);
  hak_note_retained(&hak_mappings_retained, -(int64_t)hak_mapping_committed(mapping));
}

/* The first bin from this one on that has mappings, or HAK_MAPPING_BINS. */
static unsigned next_bin_locked(unsigned bin) {
  hak_lock_assert_held(&hak_mappings.lock);
  for (unsigned word = bin / 64; word < HAK_MAPPING_BIN_WORDS; word++) {
    uint64_t some = hak_mappings.some[word];
    if (word == bin / 64) some &= ~(uint64_t)0 << bin % 64;
    if (some != 0) return word * 64 + hak_lowest_bit(some);
  }
  return HAK_MAPPING_BINS;
}

/* The mapping is better for a block of `size` bytes: it has more of its pages, or has
 * them all and is smaller. */
static bool is_better(const hak_mapping_t *mapping, const hak_mapping_t *best,
                      size_t size) {
  if (best == NULL) return true;
  size_t has = hak_mapping_committed(mapping), had = hak_mapping_committed(best);
  if (has >= size && had >= size) return mapping->reserved < best->reserved;
  return has > had;
}

hak_mapping_t *hak_mapping_find_kept_locked(const hak_os_t *os, size_t size,
                                            size_t alignment, bool no_grow) {
  hak_lock_assert_held(&hak_mappings.lock);
  enum {
    LOOKS = 256
  };
  hak_mapping_t *best = NULL;
  bool cut = !no_grow && hak_os_is_divisible(os);
  int looks = 0;
  unsigned bin = next_bin_locked(bin_of(size));
  for (; bin < HAK_MAPPING_BINS; bin = next_bin_locked(bin + 1)) {
    hak_mapping_t *m = hak_mappings.bins[bin];
    for (; m != NULL && looks < LOOKS; m = m->next_fit, looks++) {
      if (m->extent.os != os || m->reserved < size ||
          (!cut && m->reserved - size > size) ||
          (no_grow && hak_mapping_committed(m) < size) ||
          !hak_is_aligned((uintptr_t)m->extent.base, alignment)) {
        continue;
      }
      if (is_better(m, best, size)) best = m;
    }
    if (looks == LOOKS || (best != NULL && hak_mapping_committed(best) >= size)) break;
  }
  return best;
}

size_t hak_mapping_note_use_locked(uint64_t more, uint64_t now) {
  hak_lock_assert_held(&hak_mappings.lock);
  hak_mappings_t *all = &hak_mappings;
  uint64_t span = (uint64_t)hak_option(PURGE_DECAY_MS) * 1000000; /* ns */
  uint64_t passed = now - all->peak_since;
  if (passed >= span) {
    all->peak_before = passed < 2 * span ? all->peak : 0;
    all->peak = 0;
    all->peak_since = now;
  }
  uint64_t committed = hak_load_relaxed(&hak_mappings_committed) + more;
  uint64_t retained = hak_load_relaxed(&hak_mappings_retained);
  uint64_t used = committed > retained ? committed - retained : 0;
  /* What is too large to be kept says nothing of what is worth keeping. */
  bool counts = more <= (uint64_t)hak_option(HUGE_RETAIN_BYTES);
  if (counts && used > all->peak) all->peak = used;
  uint64_t most = used + hak_mapping_slack(used);
  if (all->peak > most) most = all->peak;
  if (all->peak_before > most) most = all->peak_before;
  return committed > most ? committed - most : 0;
}

void hak_mapping_put_record_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  mapping->next = hak_mappings.records;
  hak_mappings.records = mapping;
}

hak_mapping_t *hak_mapping_get_record_locked(void) {
  hak_lock_assert_held(&hak_mappings.lock);
  hak_mapping_t *mapping = hak_mappings.records;
  if (mapping != NULL) hak_mappings.records = mapping->next;
  return mapping;
}
