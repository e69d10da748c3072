/* huge.h - which SuperSlabs ask the system for huge pages.
 *
 * Depends on: base, region_map.
 * Used by: pool_growth, pool_prefault, region, shared_pool, tails, tiny, pool.
 *
 * A region asks for small pages as it is reserved, and single SuperSlabs of it for huge
 * ones. So the system splits a region's range into pieces: at most two more for each run
 * of SuperSlabs side by side with huge pages. Their number is bounded by
 * HAK_HUGE_PIECES, because a process may have 65,530 ranges, and then can neither map
 * nor unmap.
 *
 * What a SuperSlab asks for changes only where all its slots have one owner, with one
 * exception: before some of its pages are given back it asks for small ones, whoever has
 * the others, or the kernel's thread for huge pages (khugepaged) would fill the hole.
 */
#ifndef HAK_SUPERSLAB_HUGE_H
#define HAK_SUPERSLAB_HUGE_H

#include "superslab/region_map.h"

/* Runs of SuperSlabs with huge pages, at most. */
#define HAK_HUGE_PIECES 8192

/* SuperSlabs that ask for huge pages, and runs of them side by side; statistics. */
HAK_EXTERN hak_atomic_u64_t hak_huge_superslabs, hak_huge_pieces;

/* The SuperSlab, all of whose slots the caller has, asks for huge pages or for small
 * ones from now on; the pages that it has stay. Where nothing may be advised now, or
 * there are too many pieces, it keeps what it asks for. Returns whether it asks for huge
 * ones. One call of the system if something changes. No lock held. */
bool hak_huge_set(hak_superslab_t *ss, bool huge);

/* The same of one that has no pages. Where it had small ones, their page table may be
 * there still, and the system would go on filling it: so a huge page comes at once. */
bool hak_huge_begin(hak_superslab_t *ss, bool huge);

/* A SuperSlab with small pages, most of which are resident, gets a huge one in their
 * place, whoever has its slots. Not if pages of it have been given back since it had
 * none. If some are just going they may be filled again, and cost memory until they go
 * the next time. Takes the system up to a millisecond. The caller keeps its region from
 * going (hak_regions_visit_begin); others may use the SuperSlab by now. No lock held. */
void hak_huge_mend(hak_superslab_t *ss);

/* The same of a SuperSlab that has few pages left and is being taken into use again
 * (HAK_PARTS_BACK). The caller has a slot of it. True if it may have a huge page now, and
 * with it pages in all slots. */
bool hak_huge_again(hak_superslab_t *ss);

/* Pages of the SuperSlab are about to be given back while others stay. No lock held. */
void hak_huge_before_part_goes(hak_superslab_t *ss);
/* The same, if some slot but these has pages. */
void hak_huge_before_slots_go(hak_superslab_t *ss, uint32_t slots);
/* They have gone. If the SuperSlab was taken into use again at the same moment, and got a
 * huge page (hak_huge_again), it asks for small ones after all. */
HAK_HOT void hak_huge_after_part_went(hak_superslab_t *ss) {
  /* Relaxed: who asked the system for huge pages before these went there did so after the
   * change, and the system lets one thread after the other change the address space. */
  if (HAK_UNLIKELY(hak_superslab_is_huge(ss))) hak_huge_before_part_goes(ss);
}
/* hak_superslab_purge_tail between the two. */
size_t hak_huge_purge_tail(hak_superslab_t *ss, unsigned first, unsigned count,
                           size_t pages);

/* A new region, which nobody knows yet, asks for the pages that its SuperSlabs begin
 * with. */
void hak_huge_begin_region(hak_region_t *region, const hak_os_t *os);
/* Regions that could not ask when they came, as nothing may be advised in allocations
 * where purging is manual, do so now. No lock held. */
void hak_regions_advise(void);
/* The region is about to go: it counts no more. */
void hak_huge_end_region_locked(hak_region_t *region);

#endif
