/* sites.h - how reports of places in the program are written.
 *
 * Depends on: base, learn, api, out, print, site_row.   Used by: profile_pprof,
 * profile_text, profile_heaptrack.
 *
 * Nothing here allocates; origins that come meanwhile may be missed.
 */
#ifndef HAK_API_SITES_H
#define HAK_API_SITES_H

#include "api/out.h"
#include "api/site_row.h"

/* The places of numbers below `made` in a format that profilers read, by stack too where
 * that is asked for and known. */
void hak_profile_pprof(const hak_out_t *out, uint32_t made, bool stacks);
void hak_profile_heap_v2(const hak_out_t *out, uint32_t made, bool stacks);
void hak_profile_folded(const hak_out_t *out, uint32_t made, bool stacks);
void hak_profile_heaptrack(const hak_out_t *out, uint32_t made, bool stacks);

#endif
