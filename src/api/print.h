/* print.h - statistics as text or JSON.
 *
 * Depends on: base, heap, tiny, out.   Used by: sites, tree.
 */
#ifndef HAK_API_PRINT_H
#define HAK_API_PRINT_H

#include "api/out.h"
#include "base/public.h"

/* The members that each report in JSON begins with, a comma behind each: what it is, of
 * which library and process, and when. docs/VIEW.md has them. */
void hak_print_head(const hak_out_t *out, const char *format);

/* The line that each report in text begins with: the library's version, and what it is.
 */
void hak_print_title(const hak_out_t *out, const char *what);

/* Every field of the record as members of an object of JSON, with commas between them; or
 * as lines of text, without those that are 0 but for the first few. */
void hak_print_fields(const hak_out_t *out, const hak_stats_t *stats, bool json);

#endif
