/* sites.h - what is known of places in the program, as reports show it.
 *
 * Depends on: base, learn, api.   Used by: profile, leaks.
 *
 * Nothing here allocates; origins that come meanwhile may be missed.
 */
#ifndef HAK_API_SITES_H
#define HAK_API_SITES_H

#include "learn/origin.h"

/* A place; the texts lie in the record itself. */
typedef struct hak_site_row {
  hak_origin_t origin;
  hak_site_info_t info;
} hak_site_row_t;

/* What is known of the origin of a number, which is below hak_origins_made(). False: no
 * block of it was ever counted. */
bool hak_site_row(uint32_t number, hak_site_row_t *out);

/* Writes "name (file:line)", or what there is of it; cut to `room` characters. */
void hak_site_title(const hak_site_row_t *row, char *out, size_t room);

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
