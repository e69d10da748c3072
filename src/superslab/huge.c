#include "superslab/huge.h"

#include "base/check.h"
#include "base/option.h"

hak_atomic_u64_t hak_huge_superslabs, hak_huge_pieces;

static bool is_huge_at_locked(hak_region_t *region, int64_t i) {
  hak_lock_assert_held(&hak_regions.lock);
  if (i < 0 || i >= (int64_t)region->count) return false;
  if (i >= (int64_t)hak_region_ready(region)) return i >= (int64_t)region->huge_from;
  return hak_superslab_is_huge(&region->superslabs[i]);
}

/* Notes what the SuperSlab asks for; false, and nothing changed, if there would be too
 * many pieces. */
static bool note_locked(hak_superslab_t *ss, bool huge) {
  hak_lock_assert_held(&hak_regions.lock);
  hak_region_t *region = hak_region_of(ss);
  int sides = is_huge_at_locked(region, (int64_t)hak_superslab_index(ss) - 1) +
              is_huge_at_locked(region, (int64_t)hak_superslab_index(ss) + 1);
  int64_t more = huge ? 1 - sides : sides - 1;
  if (more > 0 && hak_load_relaxed(&hak_huge_pieces) >= HAK_HUGE_PIECES) return false;
  hak_store_relaxed(&ss->huge, huge);
  hak_add_relaxed(&hak_huge_pieces, (uint64_t)more);
  hak_add_relaxed(&hak_huge_superslabs, huge ? 1 : 0 - (uint64_t)1);
  return true;
}

/* Only hints: if the system refuses, pages are of the other size. */
static void advise(const hak_superslab_t *ss, bool huge) {
  if (huge) {
    hak_os_advise_huge(ss->extent.os, ss->extent.base, HAK_SUPERSLAB_SIZE);
  } else {
    hak_os_advise_small(ss->extent.os, ss->extent.base, HAK_SUPERSLAB_SIZE);
  }
}

bool hak_huge_set(hak_superslab_t *ss, bool huge) {
  if (hak_superslab_is_huge(ss) == huge || !hak_os_may_give()) {
    return hak_superslab_is_huge(ss);
  }
  hak_lock_acquire(&hak_regions.lock);
  bool changed = note_locked(ss, huge);
  hak_lock_release(&hak_regions.lock);
  if (changed) advise(ss, huge);
  return changed ? huge : !huge;
}

bool hak_huge_begin(hak_superslab_t *ss, bool huge) {
  /* Relaxed: whoever had the slots before gave them up under a lock. */
  bool in_parts = hak_load_relaxed(&ss->parts) != HAK_PARTS_STAY;
  bool had_small =
      in_parts || (!hak_superslab_is_huge(ss) && hak_load_relaxed(&ss->purged) != 0);
  if (in_parts) hak_store_relaxed(&ss->parts, HAK_PARTS_STAY);
  bool is_huge = hak_huge_set(ss, huge);
  if (is_huge && had_small)
    hak_os_collapse(ss->extent.os, ss->extent.base, HAK_SUPERSLAB_SIZE);
  return is_huge;
}

/* A huge page takes the place of what small ones it has, if `parts` is how it is. */
static bool collapse(hak_superslab_t *ss, hak_parts_t parts) {
  if (!hak_os_may_give()) return false;
  hak_lock_acquire(&hak_regions.lock);
  bool may = !hak_superslab_is_huge(ss) && hak_load_relaxed(&ss->parts) == parts &&
             note_locked(ss, true);
  if (may) hak_store_relaxed(&ss->parts, HAK_PARTS_STAY);
  hak_lock_release(&hak_regions.lock);
  if (!may) return false;
  advise(ss, true);
  hak_os_collapse(ss->extent.os, ss->extent.base, HAK_SUPERSLAB_SIZE);
  /* Who gives a part of it back meanwhile may have asked for small pages before this
   * thread has asked for a huge one. Relaxed: who comes later asks later, too. */
  if (hak_superslab_is_huge(ss)) return true;
  advise(ss, false);
  return false;
}

void hak_huge_mend(hak_superslab_t *ss) { (void)collapse(ss, HAK_PARTS_STAY); }

bool hak_huge_again(hak_superslab_t *ss) { return collapse(ss, HAK_PARTS_BACK); }

void hak_huge_before_part_goes(hak_superslab_t *ss) {
  /* Relaxed: who has part of the slots sees both as the last change under the lock left
   * them, or a change that comes at the same time, which is undone by who made it or by
   * hak_huge_after_part_went. */
  bool huge = hak_superslab_is_huge(ss);
  if (!huge && hak_load_relaxed(&ss->parts) == HAK_PARTS_GONE) return;
  hak_lock_acquire(&hak_regions.lock);
  hak_store_relaxed(&ss->parts, HAK_PARTS_GONE);
  bool changed = hak_superslab_is_huge(ss) && hak_os_may_give() && note_locked(ss, false);
  hak_lock_release(&hak_regions.lock);
  if (changed) advise(ss, false);
}

HAK_WARM size_t hak_huge_purge_tail(hak_superslab_t *ss, unsigned first, unsigned count,
                                    size_t pages) {
  hak_huge_before_part_goes(ss);
  size_t given = hak_superslab_purge_tail(ss, first, count, pages);
  hak_huge_after_part_went(ss);
  return given;
}

void hak_huge_before_slots_go(hak_superslab_t *ss, uint32_t slots) {
  for (uint32_t rest = ~slots; rest != 0; rest &= rest - 1) {
    if (hak_slab_pages(&ss->slabs[hak_lowest_bit(rest)]) == 0) continue;
    hak_huge_before_part_goes(ss);
    return;
  }
}

/* --- regions ------------------------------------------------------------------------ */

/* The region's range is one piece, so that the ranges of SuperSlabs that ask for other
 * pages, and then for these again, become one with what lies around them. */
static void begin(hak_region_t *region, const hak_os_t *os, uint32_t from) {
  size_t before = (size_t)from << HAK_SUPERSLAB_SHIFT;
  size_t all = (size_t)region->count << HAK_SUPERSLAB_SHIFT;
  if (hak_option(HUGE_PAGES) == 2) {
    hak_os_advise_huge(os, region->base + before, all - before);
  } else if (hak_option(HUGE_PAGES) == 1 || hak_os_is_huge_unasked(os)) {
    hak_os_advise_small(os, region->start, region->size);
  }
}

/* SuperSlabs from here on begin with huge pages. */
static void note_from(hak_region_t *region, uint32_t from) {
  bool huge = hak_option(HUGE_PAGES) == 2 && from < region->count;
  region->huge_from = huge ? from : region->count;
  if (!huge) return;
  hak_add_relaxed(&hak_huge_pieces, 1);
  hak_add_relaxed(&hak_huge_superslabs, region->count - from);
}

void hak_huge_begin_region(hak_region_t *region, const hak_os_t *os) {
  region->unadvised = !hak_os_may_give();
  note_from(region, region->unadvised ? region->count : 0);
  if (!region->unadvised) begin(region, os, 0);
}

HAK_SLOW void hak_regions_advise(void) {
  if (!hak_os_may_give()) return;
  uint64_t visit = hak_regions_visit_begin();
  for (hak_region_t *region = hak_region_first(); region != NULL;
       region = hak_region_next(region)) {
    hak_lock_acquire(&hak_regions.lock);
    bool due = region->os != NULL && region->unadvised;
    if (due) region->unadvised = false;
    /* SuperSlabs that were used have counted their pages as small ones. */
    uint32_t from = hak_region_ready(region);
    if (due) note_from(region, from);
    hak_lock_release(&hak_regions.lock);
    if (due) begin(region, region->os, from);
  }
  hak_regions_visit_end(visit);
}

void hak_huge_end_region_locked(hak_region_t *region) {
  hak_lock_assert_held(&hak_regions.lock);
  for (int64_t i = 0; i < (int64_t)region->count; i++) {
    if (!is_huge_at_locked(region, i)) continue;
    hak_sub_relaxed(&hak_huge_superslabs, 1);
    if (!is_huge_at_locked(region, i - 1)) hak_sub_relaxed(&hak_huge_pieces, 1);
  }
}
