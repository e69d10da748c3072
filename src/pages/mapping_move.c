#include "pages/mapping_move.h"

#include <string.h>

#include "base/bits.h"
#include "base/check.h"
#include "base/option.h"
#include "os/reservation.h"
#include "pages/clock.h"
#include "pages/density.h"
#include "pages/mapping_parts.h"
#include "pages/registry.h"

/* A block that grows and was written to will be written to again. */
static HAK_SLOW bool is_written(const hak_mapping_t *mapping) {
  return !mapping->advised && hak_option(HUGE_PAGES) == 1 &&
         hak_density_is_written(mapping->extent.os, mapping->extent.base,
                                hak_load_relaxed(&mapping->extent.size));
}

/* The block grows by so many bytes without pages. */
static bool wants_huge(const hak_mapping_t *mapping, size_t more) {
  return more >= HAK_SUPERSLAB_SIZE && !mapping->huge && is_written(mapping);
}

/* A range has pages of one kind, so all of it asks for huge ones; the small ones that are
 * there stay. */
static HAK_SLOW void make_huge(hak_mapping_t *mapping) {
  mapping->huge = true;
  hak_os_advise_huge(mapping->extent.os, mapping->extent.base, mapping->reserved);
}

/* Gives the pages behind the block's first `size` bytes back. */
static HAK_SLOW void purge_tail(hak_mapping_t *mapping, size_t size) {
  size_t tail = hak_mapping_committed(mapping) - size;
  hak_mapping_before_part_goes(mapping, size);
  if (!hak_os_purge(mapping->extent.os, mapping->extent.base + size, tail)) return;
  hak_store_relaxed(&mapping->committed, size);
  hak_sub_relaxed(&hak_mappings_committed, tail);
  hak_budget_uncharge(mapping->budget, tail);
  hak_idle_note_shrunk(tail, hak_clock_cached());
}

/* The block becomes smaller. Its pages go at once beyond an eighth; but if such memory
 * was lately needed again it is kept, as that of blocks that were freed. */
static HAK_SLOW void shrink(hak_mapping_t *mapping, size_t size) {
  size_t tail = hak_mapping_committed(mapping) - size;
  if (tail <= hak_mapping_slack(size)) return;
  hak_clock_refresh();
  uint64_t now = hak_clock_cached();
  if (hak_idle_shrink_allowance(now) < tail ||
      !hak_mapping_cut_used(mapping, size, now)) {
    purge_tail(mapping, size);
  } else {
    hak_idle_allow_least(tail); /* it does not go as a surplus */
  }
}

/* Of what lies behind a block that grows, as units of kept mappings came with it, a
 * quarter of the block may stay, or half where a huge page would be lost: it is likely to
 * grow again. */
static bool has_too_much(const hak_mapping_t *mapping, size_t size) {
  size_t tail = hak_mapping_committed(mapping) - size;
  return tail > size / (mapping->huge ? 2 : 4) &&
         tail > hak_idle_shrink_allowance(hak_clock_cached());
}

/* All pages of the two ask for the same: the one with small ones, which stay, for huge
 * ones. False if that is not wanted. */
static bool make_alike(hak_mapping_t *mapping, hak_mapping_t *next) {
  if (mapping->huge == next->huge) return true;
  if (!is_written(mapping)) return false;
  make_huge(mapping->huge ? next : mapping);
  return true;
}

/* Lengthens the range to `size` bytes at least by the kept mapping behind it, with its
 * pages. False if there is none, or the budget refuses. */
static HAK_SLOW bool extend(hak_mapping_t *mapping, size_t size) {
  bool zeroed;
  hak_mapping_t *next = hak_mapping_take_next(mapping, size);
  if (next == NULL) return false;
  /* What is committed begins at the start and has no holes. */
  if (!hak_mapping_commit_to(mapping, mapping->reserved, &zeroed) ||
      !make_alike(mapping, next) ||
      !hak_budget_charge(mapping->budget, hak_mapping_committed(next))) {
    hak_mapping_untake(next);
    return false;
  }
  hak_mapping_append(mapping, next);
  return true;
}

static char *resize_here(hak_mapping_t *mapping, size_t size) {
  size_t before = hak_load_relaxed(&mapping->extent.size);
  bool shrinks = size < before;
  bool zeroed;
  if (size > mapping->reserved && !extend(mapping, size)) return NULL;
  size_t committed = hak_mapping_committed(mapping);
  size_t more = size > committed ? size - committed : 0;
  if (wants_huge(mapping, more)) make_huge(mapping);
  /* The block may have been smaller for a while, and its last pages purged. */
  if (!hak_mapping_commit_to(mapping, size, &zeroed)) return NULL;
  hak_idle_note_grown(more);
  hak_store_relaxed(&mapping->extent.size, size);
  if (shrinks) {
    if (HAK_CHECKS >= 3) memset(mapping->extent.base + size, 0, before - size);
    shrink(mapping, size);
  } else if (has_too_much(mapping, size)) {
    purge_tail(mapping, size);
  }
  return mapping->extent.base;
}

/* The place of a mapping's pages while they move. */
typedef struct pages {
  char *base;
  size_t size;
} pages_t;

/* True if a block may be where the pages are: addresses of blocks are known to the
 * registry, and their mappings begin with a unit. */
static HAK_SLOW bool may_be_at(const pages_t *at, hak_spare_leaves_t *own) {
  return hak_is_aligned((uintptr_t)at->base, HAK_SUPERSLAB_SIZE) &&
         hak_registry_cover_moved((uintptr_t)at->base, at->size, own);
}

/* A fork does not know from here on where the pages are, and the block must not be
 * found at its old address once they have moved. */
static void begin_move(hak_mapping_t *mapping) {
  hak_lock_acquire(&hak_mappings.lock);
  mapping->who = hak_os_self();
  hak_lock_release(&hak_mappings.lock);
  hak_registry_set_extent((uintptr_t)mapping->extent.base, mapping->reserved, NULL);
}

static HAK_SLOW void end_move(hak_mapping_t *mapping, const pages_t *at, size_t size) {
  hak_add_relaxed(&hak_mappings_reserved, at->size - mapping->reserved);
  hak_add_relaxed(&hak_mappings_committed, at->size - hak_mapping_committed(mapping));
  mapping->extent.base = at->base;
  mapping->reserved = at->size;
  /* What a program's hooks add to a range may have anything in it. */
  mapping->clean = mapping->clean && hak_os_keeps_zeroes(mapping->extent.os);
  hak_store_relaxed(&mapping->committed, at->size);
  hak_store_relaxed(&mapping->extent.size, size);
  hak_store_relaxed(&mapping->extent.block, at->base);
  hak_registry_set_extent((uintptr_t)at->base, at->size, &mapping->extent);
  hak_lock_acquire(&hak_mappings.lock);
  mapping->who = NULL;
  hak_lock_release(&hak_mappings.lock);
}

/* Copies the contents of pages that lie where no block may be, and that hooks do not
 * take back, into new pages, *at, which are charged. False if there is no memory for
 * them. */
static HAK_SLOW bool copy_on(hak_mapping_t *mapping, pages_t *at, size_t reserved,
                             hak_spare_leaves_t *own) {
  const hak_os_t *os = mapping->extent.os;
  bool zeroed;
  if (!hak_budget_charge(mapping->budget, reserved)) return false;
  pages_t to = {hak_os_reserve(os, reserved, HAK_SUPERSLAB_SIZE), reserved};
  if (to.base == NULL || !may_be_at(&to, own) ||
      !hak_os_commit(os, to.base, reserved, &zeroed)) {
    if (to.base != NULL) hak_os_unreserve(os, to.base, reserved);
    hak_budget_uncharge(mapping->budget, reserved);
    return false;
  }
  __builtin_memcpy(to.base, at->base, at->size < reserved ? at->size : reserved);
  hak_os_release(os, at->base, at->size);
  *at = to;
  return true;
}

/* Gives up the block, whose contents nobody gets at any more. */
static HAK_SLOW void lose(hak_mapping_t *mapping, const pages_t *at) {
  static const pages_t nowhere = {NULL, 0};
  hak_os_release(mapping->extent.os, at->base, at->size);
  mapping->lost = true;
  end_move(mapping, &nowhere, 0);
}

/* Moves the pages to a place of `reserved` bytes; *at says where they are then. False
 * if they are where they were. On the way both sizes are charged, or the larger one; in
 * the end the pages that there are, or none if they are lost. */
static HAK_SLOW bool move_pages(hak_mapping_t *mapping, pages_t *at, size_t reserved,
                                hak_spare_leaves_t *own) {
  const hak_os_t *os = mapping->extent.os;
  pages_t old = *at;
  size_t charged = reserved > old.size ? reserved : old.size;
  pages_t moved = {hak_os_remap(os, old.base, old.size, reserved), reserved};
  if (moved.base == NULL) {
    hak_budget_uncharge(mapping->budget, charged - old.size);
    return false;
  }
  *at = moved;
  if (may_be_at(at, own)) {
    hak_budget_uncharge(mapping->budget, charged - reserved);
    return true;
  }
  pages_t back = {hak_os_remap(os, moved.base, reserved, old.size), old.size};
  if (back.base != NULL) *at = back;
  if (back.base == old.base) {
    hak_budget_uncharge(mapping->budget, charged - old.size);
    return false;
  }
  if (!copy_on(mapping, at, reserved, own)) lose(mapping, at);
  hak_budget_uncharge(mapping->budget, charged);
  return true;
}

static HAK_SLOW char *move(hak_mapping_t *mapping, size_t size) {
  size_t reserved = hak_align_up(size, HAK_SLAB_SIZE), old = mapping->reserved;
  size_t more = reserved > old ? reserved - old : 0;
  bool huge = wants_huge(mapping, more);
  hak_spare_leaves_t own;
  bool zeroed;
  if (!hak_registry_prepare(reserved, &own)) return NULL;
  /* Remap wants the whole range committed. */
  if (!hak_mapping_commit_to(mapping, old, &zeroed) ||
      !hak_budget_charge(mapping->budget, more)) {
    hak_registry_done(&own);
    return NULL;
  }
  hak_mapping_make_room(more);
  pages_t at = {mapping->extent.base, old};
  begin_move(mapping);
  bool moved = move_pages(mapping, &at, reserved, &own);
  hak_registry_done(&own);
  if (mapping->lost) return NULL;
  end_move(mapping, &at, moved ? size : hak_load_relaxed(&mapping->extent.size));
  if (!moved) return NULL;
  hak_idle_note_needed(more);
  hak_idle_note_grown(more);
  if (huge) make_huge(mapping);
  return at.base;
}

/* True if a kept mapping would do for a block that outgrows its own. The block grows by
 * so much that copying stays as cheap by byte as it is for any buffer that grows. */
static bool should_copy(const hak_mapping_t *mapping, size_t size) {
  hak_lock_acquire(&hak_mappings.lock);
  hak_mapping_t *best =
      hak_mapping_find_kept_locked(mapping->extent.os, size, HAK_SLAB_SIZE, false);
  if ((best == NULL || hak_mapping_committed(best) < size) &&
      hak_mapping_join_locked(mapping->extent.os, size)) {
    best = hak_mapping_find_kept_locked(mapping->extent.os, size, HAK_SLAB_SIZE, false);
  }
  bool should = best != NULL && hak_mapping_committed(best) >= size &&
                size > mapping->reserved &&
                size - mapping->reserved >= mapping->reserved / 2;
  hak_lock_release(&hak_mappings.lock);
  return should;
}

char *hak_mapping_resize(hak_mapping_t *mapping, size_t size, bool may_move) {
  if (mapping->guarded) return NULL;
  if (hak_align_up(size, HAK_SLAB_SIZE) < size) return NULL;
  bool fits = size <= mapping->reserved && size > mapping->reserved / 2;
  if (fits || !may_move) return resize_here(mapping, size);
  /* Growing in place would leave kept memory idle while the block takes as much again.
   * Under a limit the copy and the original would have to fit together for a while, so
   * there the pages move. */
  if (!hak_budget_is_limited(mapping->budget) && should_copy(mapping, size)) {
    return NULL;
  }
  return move(mapping, size);
}
