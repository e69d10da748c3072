/* report.h - the report of misuse to the program's handler.
 *
 * Depends on: callee, compiler, public, sys, text.   Used by: option, tiny, heap, api.
 */
#ifndef HAK_BASE_REPORT_H
#define HAK_BASE_REPORT_H

#include "base/compiler.h"
#include "base/public.h"

/* Reports misuse to the error handler; allocates nothing, holds no lock.
 * `function` is the public function on whose behalf it was found. */
HAK_SLOW void hak_report(hak_error_t error, const void *address, hak_heap_t *heap,
                         const char *function, const char *text);

/* Longest path of heaps in a report, in bytes. */
#define HAK_REPORT_PATH_MAX 160
/* The same where it is part of a line; see hak_text_quote. */
#define HAK_REPORT_QUOTED_MAX 400
/* The calls that a thread is in as it reports something. A handler may leave them by
 * longjmp: for its length the thread is in none of them, and `back`, unless it is NULL,
 * puts it back if the handler returns. */
typedef struct hak_inside {
  void (*back)(const struct hak_inside *inside);
  void *calls;
  int scope;
  unsigned stays;
} hak_inside_t;
/* Adds to a report what is known of its address and of its heap: info->size, and the text
 * that `path` has room for; and takes the thread out of the calls that it is in. Any
 * thread, no lock held. */
typedef void(hak_describe_fn)(hak_error_info_t *info, char *path, size_t room,
                              hak_inside_t *inside);
/* From here on `fn`, which is always the same, is asked for each report. */
void hak_report_describe_by(hak_describe_fn *fn);

/* Writes to standard error what else is known of a report's address, in lines of its own,
 * behind the line that the default handler writes. Any thread, no lock held. */
typedef void(hak_detail_fn)(const void *address);
void hak_report_detail_by(hak_detail_fn *fn);

/* Texts of reports that more than one place makes. */
#define HAK_TEXT_GONE "no block is there any more"
#define HAK_TEXT_INTERIOR "the address is inside a block, not its start"
#define HAK_TEXT_FREE "the block is free already"
#define HAK_TEXT_WRITTEN "the block was written to since it was freed"
#define HAK_TEXT_LISTED "the block is on a list of free blocks already"

/* NULL, and errno is `error`. */
HAK_SLOW void *hak_fail(int error);

/* What `function` is where a report comes from deep inside one of these. */
#define HAK_IN_FREE "hak_free"
#define HAK_IN_FREE_SIZED "hak_free_sized"
#define HAK_IN_ALLOC "hak_alloc"

#endif
