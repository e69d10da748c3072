/* mapping_lists.h - the records of mappings, and the lists that they are in.
 *
 * Depends on: base, budget, extent, idle.   Used by: mapping, mapping_parts.
 *
 * A record is in one list: used, kept, passing, or that of free records. One that a
 * thread is at on the way from list to list passes: so the end of its hooks waits for it,
 * and the child of a fork finds it.
 *
 * Kept ones are in two orders: by age, so that the longest idle go back first, and in
 * bins of sizes that differ by an eighth at most, so that the best fit is found without
 * a look at those that do not fit.
 *
 * Invariant: what is counted as retained in mappings is what kept ones have committed.
 *
 * Access:  see base/lock.h. The owner of a mapping is the thread by which it passes, or
 *          the one that resizes its block.
 */
#ifndef HAK_PAGES_MAPPING_LISTS_H
#define HAK_PAGES_MAPPING_LISTS_H

#include "base/lock.h"
#include "pages/budget.h"
#include "pages/extent.h"

typedef struct hak_mapping {
  hak_extent_t extent;  /* block = its start while in use, size = usable bytes */
  hak_budget_t *budget; /* [owner] that of the heap that has it: charged the record and
                           what is committed; NULL while nobody has it */
  size_t reserved;      /* [owner] bytes */
  hak_atomic_u64_t committed; /* [owner] bytes from the start */
  uint64_t idle_since;        /* [lock: mappings] ns; of a kept one */
  bool advised;               /* [owner] its pages are as one heap wants them: not to be
                                 kept */
  bool huge;                  /* [owner] huge pages were asked for there */
  bool lost;                  /* [owner] of one in use: see hak_mapping_resize */
  bool clean;                 /* [owner] in a hardened build: its committed pages read as
                                 zero, but for a block that is there, or for what somebody
                                 wrote who had no right to */
  bool emptied;             /* [owner] the same: whoever frees its block has cleared it */
  bool guarded;             /* [const] it is a cell's: see cell.h */
  const void *who;          /* [lock: mappings] the thread that it passes by, or whose
                               call moves its pages */
  struct hak_mapping *next; /* [lock: mappings] kept, the youngest first; or free */
  struct hak_mapping *prev; /* [lock: mappings] kept */
  struct hak_mapping *next_fit, **prev_fit;   /* [lock: mappings] kept, in its bin */
  bool kept;                                  /* [lock: mappings] */
  struct hak_mapping *next_used, **prev_used; /* [lock: mappings] in use, for the walkers;
                                                 or passing */
} hak_mapping_t;

_Static_assert(offsetof(hak_mapping_t, extent) == 0, "the registry names extents");

/* Bins of kept mappings by their reserved size: eight for each doubling. */
#define HAK_MAPPING_BINS 256
#define HAK_MAPPING_BIN_WORDS (HAK_MAPPING_BINS / 64)

/* All mappings of the process. */
typedef struct hak_mappings {
  hak_lock_t lock; /* guards every field marked [lock: mappings], here and in records, and
                      the extents of mappings, but for those of passing ones */
  hak_mapping_t *kept;                    /* [lock: mappings] the youngest, by `next` */
  hak_mapping_t *kept_last;               /* [lock: mappings] the oldest */
  hak_mapping_t *records;                 /* [lock: mappings] free ones by `next` */
  hak_mapping_t *used;                    /* [lock: mappings] by `next_used` */
  hak_mapping_t *passing;                 /* [lock: mappings] by `next_used` */
  hak_mapping_t *bins[HAK_MAPPING_BINS];  /* [lock: mappings] kept, by `next_fit` */
  uint64_t some[HAK_MAPPING_BIN_WORDS];   /* [lock: mappings] a bit for each bin that
                                             is not empty */
  uint64_t peak, peak_before, peak_since; /* [lock: mappings] most bytes in use since
                                             that time in ns, and in the span of time
                                             before */
} hak_mappings_t;

HAK_EXTERN hak_mappings_t hak_mappings;
/* Bytes of address space of mappings in use and kept. */
HAK_EXTERN hak_atomic_u64_t hak_mappings_reserved;

HAK_HOT size_t hak_mapping_committed(const hak_mapping_t *mapping) {
  return hak_load_relaxed(&((hak_mapping_t *)mapping)->committed);
}

/* Puts a mapping that is in no list into that of passing ones, in the name of the
 * calling thread; or takes it out. */
void hak_mapping_pass_locked(hak_mapping_t *mapping);
void hak_mapping_unpass_locked(hak_mapping_t *mapping);
/* A passing one that another thread has, over these hooks or over any (NULL); or NULL. */
hak_mapping_t *hak_mapping_others_locked(const hak_os_t *os);

/* Puts a mapping that is in no list into that of mappings in use, with a block of
 * `size` bytes of `heap` that starts there; or takes it out. */
void hak_mapping_use_locked(hak_mapping_t *mapping, void *heap, char *block, size_t size);
void hak_mapping_unuse_locked(hak_mapping_t *mapping);

/* Puts a mapping that is in no list into that of kept ones, by its age, or behind all
 * others if `last`; or takes it out. */
void hak_mapping_keep_locked(hak_mapping_t *mapping, bool last);
void hak_mapping_unkeep_locked(hak_mapping_t *mapping);
/* The smallest kept mapping that is large enough and has the pages, or the one that has
 * most of them, or NULL. `no_grow`: all pages are there. One that cannot be cut wastes
 * half of itself at most. Looks at few whose pages are there, and at 256 at most. */
hak_mapping_t *hak_mapping_find_kept_locked(const hak_os_t *os, size_t size,
                                            size_t alignment, bool no_grow);

/* What is more than a block needs may stay with it if it is no more than this. */
HAK_HOT size_t hak_mapping_slack(size_t size) { return size / 8; }
/* Notes that `more` bytes come into use. Returns how many bytes are too many then: all
 * that there are may be as many as have been in use at one time lately, within one or
 * two times PURGE_DECAY_MS, or an eighth more than are in use. */
size_t hak_mapping_note_use_locked(uint64_t more, uint64_t now);

/* Puts the record of a mapping that is in no list into that of free ones; or takes one
 * out, or NULL. */
void hak_mapping_put_record_locked(hak_mapping_t *mapping);
hak_mapping_t *hak_mapping_get_record_locked(void);

#endif
