/* idle.h - how many bytes are committed in memory that nobody uses, and how many of them
 * may stay.
 *
 * Depends on: base, clock, rent.   Used by: mapping, mapping_lists, superslab.
 *
 * Two lines say what becomes of idle memory. Up to the floor it stays for ever. Between
 * the floor and the ceiling it goes once it is old. What lies beyond the ceiling goes at
 * once, because the program may be about to sleep for good:
 *
 *     used    = committed - idle - holes
 *     floor   = max(RETAIN_BYTES, used / RETAIN_SHARE), at most RETAIN_BYTES_MAX
 *     ceiling = max(max(floor, used) + allowance, idle - credit),
 *                                                       at most RETAIN_BYTES_MAX
 *
 * What a heap is told to keep (hak_heap_prefault, HAK_HEAP_NO_PURGE) counts as used. The
 * allowance is what it was a mistake to give back at once, and the credit is what such
 * mistakes may cost (rent.h).
 *
 * Thread-safe: all counts are atomic; the lines are estimates of one moment.
 */
#ifndef HAK_PAGES_IDLE_H
#define HAK_PAGES_IDLE_H

#include "pages/rent.h"

/* Bytes committed in all slots, in slots that nobody uses, in mappings in use and kept,
 * and in mappings that nobody uses. */
HAK_EXTERN hak_atomic_u64_t hak_slots_committed, hak_slots_retained;
HAK_EXTERN hak_atomic_u64_t hak_mappings_committed, hak_mappings_retained;

/* Bytes of pages in use that were given back; see tiny/hole_map.h. */
HAK_EXTERN hak_atomic_u64_t hak_hole_bytes;

typedef enum hak_idle_level {
  HAK_IDLE_FEW = 0, /* no more than the floor */
  HAK_IDLE_SOME,    /* more than the floor: what is old is to go */
  HAK_IDLE_SURPLUS  /* so far beyond the ceiling that it pays to give back at once */
} hak_idle_level_t;
/* hak_idle_level_t, as of the last change. It is a word of its own that changes seldom,
 * so that slow paths may read it as often as they like. */
HAK_EXTERN hak_atomic_u32_t hak_retained_over;
/* Adds to, or with a negative number takes from, the bytes of slots or mappings
 * that nobody uses. */
void hak_note_retained(hak_atomic_u64_t *retained, int64_t bytes);
/* Whether something may be given back that is no idle memory: pages of free blocks. It
 * makes the level HAK_IDLE_SOME at least, so that slow paths look at the clock. */
typedef enum hak_idle_others {
  HAK_IDLE_NO_OTHERS = 0,
  HAK_IDLE_OTHERS_SEEN, /* those that there are are being looked at, or are to be */
  HAK_IDLE_OTHERS_NEW   /* some came since the last look began */
} hak_idle_others_t;
HAK_EXTERN hak_atomic_u32_t hak_idle_others; /* hak_idle_others_t */
void hak_idle_set_others(hak_idle_others_t others);
/* Some came. They are not worth a look while there is no more memory than may lie idle
 * for ever. */
HAK_SLOW void hak_idle_note_others_slow(void);
HAK_HOT void hak_idle_note_others(void) {
  /* Relaxed: a look that misses some finds them the next time. */
  if (HAK_UNLIKELY(hak_load_relaxed(&hak_idle_others) != HAK_IDLE_OTHERS_NEW)) {
    hak_idle_note_others_slow();
  }
}
/* Bytes of records that wait with their pages for the next heap or thread, and the least
 * that these have been since somebody set it (policy: of changes at once it may miss
 * some). More than RETAIN_BYTES make the level HAK_IDLE_SOME at least. */
HAK_EXTERN hak_atomic_u64_t hak_idle_records, hak_idle_records_least;
HAK_SLOW void hak_idle_note_records(int64_t bytes);
/* How many bytes that is more than RETAIN_BYTES. */
uint64_t hak_idle_beyond(hak_atomic_u64_t *bytes);
/* At shutdown, when all memory has been released: the counts begin anew. */
void hak_idle_stop(void);
/* Bytes committed in memory that nobody uses. */
HAK_HOT uint64_t hak_retained_bytes(void) {
  return hak_load_relaxed(&hak_slots_retained) + hak_load_relaxed(&hak_mappings_retained);
}
/* Bytes of them that a pool keeps for its own needs; and a change of these. */
HAK_EXTERN hak_atomic_u64_t hak_slots_kept;
void hak_note_kept(int64_t bytes);
/* Bytes of them that may go. */
HAK_HOT uint64_t hak_idle_bytes(void) {
  uint64_t retained = hak_retained_bytes(), kept = hak_load_relaxed(&hak_slots_kept);
  return retained > kept ? retained - kept : 0;
}

/* The two lines, in bytes. The ceiling is UINT64_MAX where nothing goes at once. */
uint64_t hak_idle_floor(void);
uint64_t hak_idle_ceiling(void);
/* Where the level stands now; also brings hak_retained_over up to date. */
hak_idle_level_t hak_idle_look(void);
/* PURGE_DECAY_MS in nanoseconds. */
uint64_t hak_idle_decay(void);
/* Of `all` things that are each to have a turn within a decay, how many have it when so
 * many ns have passed since the last ones had; HAK_IDLE_TURNS at most, as more would be
 * too much for one call. */
enum {
  HAK_IDLE_TURNS = 16
};
uint32_t hak_idle_turns(uint64_t passed, uint32_t all);
/* So many classes of what threads share have had their turn. */
HAK_EXTERN hak_atomic_u32_t hak_idle_turned;

/* --- what it was a mistake to give back -------------------------------------------- */

/* What was given back before it was old: of what lies idle, and of what lies behind
 * blocks that became smaller. The second has an allowance only. */
HAK_EXTERN hak_rent_t hak_idle_surplus, hak_idle_shrunk;
/* Bytes that were committed so far, in slots and mappings. */
HAK_EXTERN hak_atomic_u64_t hak_idle_touched;

/* Bytes of that kind are needed. */
void hak_idle_needed_slow(hak_rent_t *rent, uint64_t bytes);

/* Bytes were given back at once at the time `now`, because they lay beyond the ceiling.
 */
void hak_idle_note_given(uint64_t bytes, uint64_t now);
/* Bytes of slots or mappings were committed. */
HAK_HOT void hak_idle_note_needed(uint64_t bytes) {
  hak_add_relaxed(&hak_idle_touched, bytes);
  if (HAK_UNLIKELY(hak_rent_is_open(&hak_idle_surplus))) {
    hak_idle_needed_slow(&hak_idle_surplus, bytes);
  }
}
/* So many bytes were made ready for a need that is to come: it grows by these too, up to
 * what is committed; or it is to be no less than these. */
void hak_idle_allow(uint64_t bytes);
void hak_idle_allow_least(uint64_t bytes);
/* The allowance in bytes, halved for the decays that have passed until `now`. */
uint64_t hak_idle_allowance(uint64_t now);

/* The same of what lay behind blocks that became smaller, or of which blocks become
 * larger by so much: what is within its allowance stays. */
void hak_idle_note_shrunk(uint64_t bytes, uint64_t now);
HAK_HOT void hak_idle_note_grown(uint64_t bytes) {
  if (HAK_UNLIKELY(hak_rent_is_open(&hak_idle_shrunk))) {
    hak_idle_needed_slow(&hak_idle_shrunk, bytes);
  }
}
uint64_t hak_idle_shrink_allowance(uint64_t now);

#endif
