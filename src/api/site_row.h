/* site_row.h - what is known of a place in the program, as reports show it.
 *
 * Depends on: base, learn.   Used by: sites, profile, leaks.
 *
 * Apart from sites.c, so that a program which prints no places links no formats.
 */
#ifndef HAK_API_SITE_ROW_H
#define HAK_API_SITE_ROW_H

#include "learn/origin.h"

/* A place; the texts lie in the record itself. */
typedef struct hak_site_row {
  hak_origin_t origin;
  hak_site_info_t info;
} hak_site_row_t;

/* What is known of the origin of a number, which is below hak_origins_made(). False: no
 * block of it was ever counted. */
bool hak_site_row(uint32_t number, hak_site_row_t *out);

/* Bytes that a title may have, the zero byte included: each of its texts' may become an
 * escape of four. */
#define HAK_SITE_TITLE_MAX 420
/* Writes "name (file:line)", or what there is of it, as part of one line: see
 * hak_text_quote. */
void hak_site_title(const hak_site_row_t *row, char out[HAK_SITE_TITLE_MAX]);

#endif
