/* origin.h - the places in the program that allocate, as the library knows them.
 *
 * Depends on: base, os, pages.   Used by: sample, heap, api.
 *
 * A place in the program has a static record of the program's, a hak_site_t. The library
 * keeps what it knows of the place in a record of its own, an origin, since the object
 * that has the static record may be unloaded at any time: the library reads it only in
 * calls that were given it, and keeps copies of its texts. Of the site's words the first
 * is the origin's number, the second says which start of the library gave the number.
 *
 * A record of the library's own stands for a place that is known by a code address alone
 * (api/caller.c). It has no texts; its last word says which address that is.
 *
 * The number of no origin is 0, as in a new site. Each origin is in a group (waves.h), at
 * first in group 0, which is where blocks lie that nobody keeps apart.
 *
 * The first places, about HAK_ORIGINS, have an origin each; all others share one, and so
 * does a place for which there was no memory when it first allocated. Records stay until
 * shutdown. A place of an object that is loaded again at the same address is the same
 * one.
 *
 * Access: see base/lock.h; [lock] is the lock of this module.
 */
#ifndef HAK_LEARN_ORIGIN_H
#define HAK_LEARN_ORIGIN_H

#include "base/lock.h"
#include "base/public.h"
#include "pages/meta.h"

#define HAK_ORIGINS 4096
#define HAK_ORIGIN_NONE 0u
/* Of all places that have no origin of their own. */
#define HAK_ORIGIN_OTHERS 1u

/* What is known of a place. Sums over samples: each has no bias, and a standard deviation
 * of about the square root of (mean distance of samples * the sum of bytes). */
typedef struct hak_origin_sums {
  double blocks, bytes;                              /* allocated so far */
  double live_blocks, live_bytes;                    /* of them not freed yet */
  double live_variance;                              /* of live_bytes, in bytes squared */
  double peak_bytes;                                 /* the largest live_bytes so far */
  uint64_t samples, live_samples, smallest, largest; /* seen; bytes of a block */
} hak_origin_sums_t;

/* What waves.c has learned of a place; those of a wave are of what lived at its peak. */
typedef struct hak_wave_place {
  double bytes, stays, blocks; /* [lock] at peaks, and of them after troughs; older waves
                                  count half as much each */
  double gone, here;           /* [lock] bytes of the wave: freed by now; found there */
  double gone_blocks, here_blocks;
  float seen, stayed; /* [lock] the samples that `bytes` and `stays` are from */
  uint32_t gone_samples, of_peak; /* [lock] `gone` is of this peak */
  uint16_t here_samples;
  uint8_t bucket; /* [lock] see partition.h */
  uint8_t led;    /* [lock] the group it is in, or would be if the learner acted */
  float saved;    /* [lock] bytes: its part of what groups save, see waves.h */
} hak_wave_place_t;

typedef struct hak_origin {
  const hak_site_t *site; /* [const] its address; not to be followed */
  uint32_t line;          /* [const] */
  uint32_t name_at;       /* [const] where the name begins in `text` */
  char text[96];          /* [const] the end of the file, and the beginning of the name,
                             with a zero behind each; "" where there is none */
  hak_origin_sums_t sums; /* [lock] */
  hak_wave_place_t wave;  /* [lock] */
  float lived[HAK_SITE_LIVES]; /* [lock] bytes that were freed, by how long they lived
                                  (sample.h); old ones may count less */
} hak_origin_t;

_Static_assert(sizeof(hak_origin_t) <= 300, "bytes for each place of the program");

HAK_HOT const char *hak_origin_file(const hak_origin_t *origin) { return origin->text; }
HAK_HOT const char *hak_origin_name(const hak_origin_t *origin) {
  return origin->text + origin->name_at;
}

/* [any] The group of each origin; changes under the lock. Relaxed: blocks of an old group
 * are of the same owner. 0 for no origin. */
HAK_EXTERN hak_atomic_u8_t hak_origin_groups[HAK_ORIGINS];

/* The origin's number that a site was given, since the start or before; for fast paths,
 * which need not know. */
HAK_HOT uint64_t hak_origin_word(const hak_site_t *site) {
  return hak_load_relaxed((hak_atomic_u64_t *)(uintptr_t)&site->reserved[0]);
}
/* The complement of the address where the calls of a place return to, in a record of one
 * that is known by it alone; 0 in all others. */
HAK_HOT hak_atomic_u64_t *hak_origin_address_word(const hak_site_t *site) {
  return (hak_atomic_u64_t *)(uintptr_t)&site->reserved[3];
}
/* That address, or 0. Relaxed: a record that the caller was given has it already. */
HAK_HOT uintptr_t hak_origin_address(const hak_site_t *site) {
  uint64_t word = hak_load_relaxed(hak_origin_address_word(site));
  return word == 0 ? 0 : (uintptr_t)~word;
}
/* The number of the site's origin; HAK_ORIGIN_NONE if it was given none since the start,
 * or is NULL. */
uint32_t hak_origin_of(const hak_site_t *site);
/* The same, but a site that has none is given one. May call the OS, once for each site at
 * most: no lock held. */
uint32_t hak_origin_make(const hak_os_t *os, hak_site_t *site);

/* The record of an origin's number that is not 0. */
hak_origin_t *hak_origin_at(uint32_t number);
/* Numbers in use are below. */
uint32_t hak_origins_made(void);
/* Guards the sums, and the table of sample.h. For fork, too. */
hak_lock_t *hak_origins_lock(void) __attribute__((const));

/* At shutdown: forgets all origins, whose memory is about to go. */
void hak_origins_stop(void);

#endif
