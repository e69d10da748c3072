/* out.h - how reports are written, a piece of text at a time.
 *
 * Depends on: base.   Used by: print, sites, profile, tree.
 *
 * Nothing here allocates.
 */
#ifndef HAK_API_OUT_H
#define HAK_API_OUT_H

#include "base/compiler.h"
#include "base/public.h"

/* Where a report goes. */
typedef struct hak_out {
  hak_write_fn *write;
  void *ctx;
} hak_out_t;

/* Where a program's reports go; standard error for NULL as `write`. */
hak_out_t hak_out_to(hak_write_fn *write, void *ctx);

/* Text, at most 511 bytes; what is longer is cut between two characters. */
void hak_out_text(const hak_out_t *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A text of the program's as a string of JSON, with its quotes; always valid. */
void hak_out_json(const hak_out_t *out, const char *text);

#endif
