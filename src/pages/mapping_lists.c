#include "pages/mapping_lists.h"

#include "base/bits.h"
#include "pages/idle.h"

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

void hak_mapping_use_locked(hak_mapping_t *mapping, void *heap, size_t size) {
  hak_lock_assert_held(&hak_mappings.lock);
  hak_store_relaxed(&mapping->extent.heap, heap);
  hak_store_relaxed(&mapping->extent.size, size);
  hak_store_relaxed(&mapping->extent.block, mapping->extent.base);
  link_locked(&hak_mappings.used, mapping);
}

void hak_mapping_unuse_locked(hak_mapping_t *mapping) {
  hak_lock_assert_held(&hak_mappings.lock);
  unlink_locked(mapping);
  hak_store_relaxed(&mapping->extent.block, NULL);
  hak_store_relaxed(&mapping->extent.heap, NULL);
}

void hak_mapping_keep_locked(hak_mapping_t *mapping, bool last) {
  hak_lock_assert_held(&hak_mappings.lock);
  hak_mapping_t *prev = last ? hak_mappings.kept_last : NULL,
                *next = last ? NULL : hak_mappings.kept;
  mapping->prev = prev;
  mapping->next = next;
  if (prev != NULL) prev->next = mapping;
  if (next != NULL) next->prev = mapping;
  if (prev == NULL) hak_mappings.kept = mapping;
  if (next == NULL) hak_mappings.kept_last = mapping;
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
  hak_note_retained(&hak_mappings_retained, -(int64_t)hak_mapping_committed(mapping));
}

hak_mapping_t *hak_mapping_find_kept_locked(const hak_os_t *os, size_t size,
                                            size_t alignment, bool no_grow) {
  hak_lock_assert_held(&hak_mappings.lock);
  enum {
    LOOKS = 256
  };
  hak_mapping_t *best = NULL;
  int looks = 0;
  for (hak_mapping_t *m = hak_mappings.kept; m != NULL && looks < LOOKS;
       m = m->next, looks++) {
    if (m->extent.os != os || m->reserved < size || m->reserved - size > size ||
        (no_grow && hak_mapping_committed(m) < size) ||
        !hak_is_aligned((uintptr_t)m->extent.base, alignment)) {
      continue;
    }
    if (best == NULL || m->reserved < best->reserved) best = m;
  }
  return best;
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
