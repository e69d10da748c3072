/* print.h - statistics as text or JSON.
 *
 * Depends on: base, tiny, out.   Used by: tree.
 */
#ifndef HAK_API_PRINT_H
#define HAK_API_PRINT_H

#include "api/out.h"
#include "base/public.h"

/* Every field of the record: as lines of text, or as members of an object of JSON with
 * commas between them. */
void hak_print_fields(const hak_out_t *out, const hak_stats_t *stats, bool json);

#endif
