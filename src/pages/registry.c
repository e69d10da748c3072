#include "pages/registry.h"

#include "base/check.h"
#include "os/guarded.h"

hak_atomic_u64_t hak_registry_reserved;

_Atomic(hak_registry_t *) hak_registry_table;
static const hak_os_t *root_os;

const hak_os_t *hak_registry_os(void) { return root_os; }

static HAK_SLOW void *reserve_zeroed(const hak_os_t *os, size_t size) {
  void *ptr = hak_guarded_reserve(os, size, HAK_SLAB_SIZE);
  if (ptr == NULL) return NULL;
  bool zeroed;
  if (!hak_os_commit(os, ptr, size, &zeroed)) {
    hak_guarded_unreserve(os, ptr, size);
    return NULL;
  }
  if (!zeroed) __builtin_memset(ptr, 0, size);
  hak_add_relaxed(&hak_registry_reserved, size);
  return ptr;
}

static HAK_SLOW void give_back(void *ptr, size_t size) {
  hak_guarded_release(root_os, ptr, size);
  hak_sub_relaxed(&hak_registry_reserved, size);
}

/* Gives a leaf back that was never used, as another thread was faster. */
static HAK_SLOW void give_back_unused(void *ptr, size_t size) {
  hak_guarded_unreserve(root_os, ptr, size);
  hak_sub_relaxed(&hak_registry_reserved, size);
}

#define ROOT_SIZE hak_align_up(sizeof(hak_registry_t), HAK_SLAB_SIZE)
#define LEAF_SIZE hak_align_up(sizeof(hak_leaf_t), HAK_SLAB_SIZE)

bool hak_registry_start(const hak_os_t *os) {
  hak_registry_t *registry = reserve_zeroed(os, ROOT_SIZE);
  if (registry == NULL) return false;
  root_os = os;
  hak_store_release(&hak_registry_table, registry);
  return true;
}

/* Leaves that no call has need of any more wait here for the next one. */
static _Atomic(hak_leaf_t *) spares[HAK_SPARE_LEAVES];
static hak_atomic_u32_t spares_out; /* leaves that calls have put aside for themselves */

static HAK_SLOW hak_leaf_t *take_spare(void) {
  hak_leaf_t *leaf = NULL;
  /* Acquire: pairs with hak_registry_done; the leaf's zeroes are seen. */
  for (int i = 0; i < HAK_SPARE_LEAVES && leaf == NULL; i++) {
    leaf = hak_exchange_acquire(&spares[i], NULL);
  }
  return leaf;
}

HAK_SLOW void hak_registry_stop(void) {
  hak_registry_t *registry = hak_load_relaxed(&hak_registry_table);
  if (registry == NULL) return;
  hak_store_relaxed(&hak_registry_table, NULL);
  for (int i = 0; i < HAK_SPARE_LEAVES; i++) {
    hak_leaf_t *spare = take_spare();
    if (spare != NULL) give_back(spare, LEAF_SIZE);
  }
  for (size_t i = 0; i < HAK_REGISTRY_LEAVES; i++) {
    hak_leaf_t *leaf = hak_registry_leaf(registry, i);
    if (leaf != NULL) give_back(leaf, LEAF_SIZE);
  }
  give_back(registry, ROOT_SIZE);
}

HAK_SLOW bool hak_registry_prepare(size_t size, hak_spare_leaves_t *own) {
  *own = (hak_spare_leaves_t){{NULL, NULL}};
  if (size > (size_t)1 << HAK_LEAF_SHIFT) return false;
  for (int i = 0; i < HAK_SPARE_LEAVES; i++) {
    own->leaf[i] = take_spare();
    if (own->leaf[i] == NULL) own->leaf[i] = reserve_zeroed(root_os, LEAF_SIZE);
    if (own->leaf[i] == NULL) {
      hak_registry_done(own);
      return false;
    }
    hak_add_relaxed(&spares_out, 1);
  }
  return true;
}

HAK_SLOW void hak_registry_done(hak_spare_leaves_t *own) {
  for (int i = 0; i < HAK_SPARE_LEAVES; i++) {
    hak_leaf_t *leaf = own->leaf[i];
    if (leaf == NULL) continue;
    own->leaf[i] = NULL;
    hak_sub_relaxed(&spares_out, 1);
    hak_leaf_t *none = NULL;
    /* Release: publishes the leaf's zeroes to take_spare. */
    for (int k = 0; k < HAK_SPARE_LEAVES && leaf != NULL; k++, none = NULL) {
      if (hak_cas_release(&spares[k], &none, leaf)) leaf = NULL;
    }
    if (leaf != NULL) give_back_unused(leaf, LEAF_SIZE);
  }
}

uint64_t hak_registry_forget_lost(void) {
  return hak_exchange_relaxed(&spares_out, 0) * (uint64_t)LEAF_SIZE;
}

static hak_leaf_t *take_own(hak_spare_leaves_t *own) {
  for (int i = 0; own != NULL && i < HAK_SPARE_LEAVES; i++) {
    hak_leaf_t *leaf = own->leaf[i];
    if (leaf == NULL) continue;
    own->leaf[i] = NULL;
    hak_sub_relaxed(&spares_out, 1);
    return leaf;
  }
  return NULL;
}

HAK_SLOW bool hak_registry_cover_moved(uintptr_t address, size_t size,
                                       hak_spare_leaves_t *own) {
  hak_registry_t *registry = hak_registry_root();
  uintptr_t last = address + size - 1;
  if (last < address || last >> HAK_ADDRESS_BITS != 0) return false;
  for (size_t i = address >> HAK_LEAF_SHIFT; i <= last >> HAK_LEAF_SHIFT; i++) {
    if (hak_registry_leaf(registry, i) != NULL) continue;
    hak_leaf_t *leaf = take_own(own);
    if (leaf == NULL) leaf = reserve_zeroed(root_os, LEAF_SIZE);
    if (leaf == NULL) leaf = take_spare();
    if (leaf == NULL) return false;
    int64_t none = 0, distance = (char *)leaf - (char *)registry->absent;
    /* Release: pairs with hak_registry_leaf. */
    if (!hak_cas_release(&registry->leaf[i], &none, distance)) {
      give_back_unused(leaf, LEAF_SIZE);
    }
  }
  return true;
}

bool hak_registry_cover(const hak_os_t *os, uintptr_t address, size_t size) {
  (void)os;
  return hak_registry_cover_moved(address, size, NULL);
}

static hak_leaf_t *leaf_of(uintptr_t address) {
  hak_leaf_t *leaf = hak_registry_leaf(hak_registry_root(), address >> HAK_LEAF_SHIFT);
  hak_assert(leaf != NULL);
  return leaf;
}

void hak_registry_set_extent(uintptr_t address, size_t size, hak_extent_t *extent) {
  for (size_t done = 0; done < size; done += HAK_SUPERSLAB_SIZE) {
    hak_registry_set_unit(address + done, extent);
  }
}

/* Calls come for ranges that may cross leaves; each part lies in one. */
static size_t part_in_leaf(uintptr_t address, size_t count) {
  size_t left = HAK_LEAF_SLABS - hak_leaf_slab(address);
  return count < left ? count : left;
}

/* The pages that lie in the table's part as a whole. */
static void purge_part(void *part, size_t bytes) {
  uintptr_t from = hak_align_up((uintptr_t)part, root_os->page_size);
  uintptr_t end = hak_align_down((uintptr_t)part + bytes, root_os->page_size);
  if (from < end) hak_os_purge(root_os, (void *)from, end - from);
}

HAK_SLOW void hak_registry_purge(uintptr_t address, size_t size) {
  if (!hak_os_may_give() || !hak_os_keeps_zeroes(root_os)) return;
  for (size_t count = size >> HAK_SLAB_SHIFT; count > 0;) {
    size_t part = part_in_leaf(address, count);
    hak_leaf_t *leaf = leaf_of(address);
    size_t slab = hak_leaf_slab(address);
    purge_part((void *)&leaf->words[slab], part * sizeof leaf->words[0]);
    purge_part((void *)&leaf->note[slab], part * sizeof leaf->note[0]);
    address += part << HAK_SLAB_SHIFT;
    count -= part;
  }
}

#if HAK_CHECKS == 2
void hak_registry_set_starts(uintptr_t address, size_t count, uint64_t inverse,
                             uint64_t cut) {
  hak_registry_t *registry = hak_registry_root();
  uint64_t phase = 0 - address * inverse, limit = address + cut;
  for (; count > 0; count--, address += HAK_SLAB_SIZE) {
    hak_leaf_t *leaf = hak_registry_leaf(registry, address >> HAK_LEAF_SHIFT);
    if (leaf == NULL) return; /* a slab of a test's */
    hak_leaf_words_t *words = &leaf->words[hak_leaf_slab(address)];
    /* Relaxed: see the head of registry.h. */
    hak_store_relaxed(&words->limit, limit);
    hak_store_relaxed(&words->inverse, inverse);
    hak_store_relaxed(&words->phase, phase);
  }
}
#endif

void hak_registry_set_notes(uintptr_t address, size_t count, uint32_t first,
                            uint32_t step) {
  while (count > 0) {
    hak_atomic_u16_t *note = &leaf_of(address)->note[hak_leaf_slab(address)];
    size_t part = part_in_leaf(address, count);
    /* Relaxed: see the head of registry.h. */
    for (hak_atomic_u16_t *end = note + part; note < end; note++, first += step) {
      hak_store_relaxed(note, (uint16_t)first);
    }
    if (HAK_CHECKS == 2) hak_registry_set_starts(address, part, 0, 0);
    address += part << HAK_SLAB_SHIFT;
    count -= part;
  }
}

void hak_registry_set_entries(uintptr_t address, size_t count, uint64_t entry) {
  while (count > 0) {
    hak_leaf_words_t *at = &leaf_of(address)->words[hak_leaf_slab(address)];
    size_t part = part_in_leaf(address, count);
    /* Relaxed: see the head of registry.h. */
    for (hak_leaf_words_t *end = at + part; at < end; at++) {
      hak_store_relaxed(&at->entry, entry);
    }
    address += part << HAK_SLAB_SHIFT;
    count -= part;
  }
}

void hak_registry_forget_entries(uintptr_t address, size_t count, uint64_t first,
                                 size_t bytes) {
  for (size_t i = 0; i < count; i++) {
    uintptr_t at = address + (i << HAK_SLAB_SHIFT);
    hak_atomic_u64_t *entry = &leaf_of(at)->words[hak_leaf_slab(at)].entry;
    uint64_t value = hak_load_relaxed(entry), distance = value - first;
    bool named = (distance & 0xffff) == 0 && distance >> 16 < bytes;
    /* The entry may change meanwhile, and the change is lost: 0 is right as well, only
     * slower. */
    if (named) hak_store_relaxed(entry, 0);
  }
}

hak_extent_t *hak_registry_extent(uintptr_t address) {
  return hak_load_acquire(&leaf_of(address)->extent[hak_leaf_unit(address)]);
}

hak_external_range_link_t *hak_registry_external(uintptr_t address) {
  return &leaf_of(address)->range[hak_leaf_unit(address)];
}

HAK_SLOW void hak_registry_visit_tables(void (*visit)(void *table, size_t size,
                                                      void *ctx),
                                        void *ctx) {
  enum {
    AT_ONCE = HAK_SLAB_SIZE / sizeof(int64_t) /* leaves, by what is resident of them */
  };
  hak_registry_t *registry = hak_registry_root();
  if (registry == NULL) return;
  visit(registry, ROOT_SIZE, ctx);
  for (int i = 0; i < HAK_SPARE_LEAVES; i++) {
    hak_leaf_t *spare = hak_load_relaxed(&spares[i]); /* its address alone is used */
    if (spare != NULL) visit(spare, LEAF_SIZE, ctx);
  }
  for (size_t first = 0; first < HAK_REGISTRY_LEAVES; first += AT_ONCE) {
    if (hak_os_resident(root_os, &registry->leaf[first], HAK_SLAB_SIZE) == 0) continue;
    for (size_t i = first; i < first + AT_ONCE; i++) {
      hak_leaf_t *leaf = hak_registry_leaf(registry, i);
      if (leaf != NULL) visit(leaf, LEAF_SIZE, ctx);
    }
  }
}
