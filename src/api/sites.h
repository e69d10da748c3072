/* sites.h - how reports of places in the program are written.
 *
 * Depends on: api, base, site_row.   Used by: profile.
 *
 * Nothing here allocates; origins that come meanwhile may be missed.
 */
#ifndef HAK_API_SITES_H
#define HAK_API_SITES_H

#include "api/site_row.h"

/* Where a report goes. */
typedef struct hak_out {
  hak_write_fn *write;
  void *ctx;
} hak_out_t;
/* Text, at most 511 characters. */
void hak_out_text(const hak_out_t *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The places of numbers below `made` in a format that profilers read. */
void hak_profile_pprof(const hak_out_t *out, uint32_t made);
void hak_profile_heap_v2(const hak_out_t *out, uint32_t made);
void hak_profile_folded(const hak_out_t *out, uint32_t made);

#endif
