#include "base/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/callee.h"
#include "base/sys.h"
#include "base/text.h"

static hak_callee_t handler; /* NULL: the default one */
/* [any] relaxed: it leads to a function; NULL before the library was started once */
static _Atomic(hak_describe_fn *) describe;

static _Atomic(hak_detail_fn *) detail; /* [any] the same */

void hak_report_describe_by(hak_describe_fn *fn) { hak_store_relaxed(&describe, fn); }
void hak_report_detail_by(hak_detail_fn *fn) { hak_store_relaxed(&detail, fn); }

const char *hak_error_text(hak_error_t error) {
  switch (error) {
    case HAK_ERROR_DOUBLE_FREE:
      return "double free";
    case HAK_ERROR_FOREIGN_POINTER:
      return "foreign pointer";
    case HAK_ERROR_INTERIOR_POINTER:
      return "interior pointer";
    case HAK_ERROR_WRONG_SIZE:
      return "wrong size";
    case HAK_ERROR_WRONG_ALIGNMENT:
      return "wrong alignment";
    case HAK_ERROR_CORRUPT_BLOCK:
      return "corrupt free block";
    case HAK_ERROR_AFTER_SHUTDOWN:
      return "use after shutdown";
    case HAK_ERROR_BAD_OPTION:
      return "bad option";
    case HAK_ERROR_BAD_STATE:
      return "broken invariant";
    case HAK_ERROR_STALE_HEAP:
      return "stale heap";
    case HAK_ERROR_WRONG_HEAP:
      return "wrong heap";
    case HAK_ERROR_LEAK:
      return "leak";
    case HAK_ERROR_OVERFLOW:
      return "overflow";
  }
  return "unknown error";
}

static HAK_SLOW void report_and_abort(const hak_error_info_t *info, void *ctx) {
  (void)ctx;
  char text[1600], where[80] = "", heap[40 + HAK_REPORT_QUOTED_MAX] = "";
  /* The address of a bad option is that of its text. */
  if (info->address != NULL && info->error != HAK_ERROR_BAD_OPTION) {
    int used = snprintf(where, sizeof where, "address %p, ", info->address);
    if (info->size != 0) {
      snprintf(where + used, sizeof where - (size_t)used, "%zu bytes, ", info->size);
    }
  }
  if (info->heap != NULL) {
    char *end = heap + snprintf(heap, sizeof heap, "heap %p \"", (void *)info->heap);
    size_t quoted = hak_text_quote(end, HAK_REPORT_QUOTED_MAX, info->heap_path);
    if (quoted == 0) end -= 2;
    strcpy(end + quoted, quoted == 0 ? ", " : "\", ");
  }
  size_t length = hak_text_print(text, sizeof text - 1, "hakmem: %s: %s%sin %s: %s",
                                 hak_error_text(info->error), where, heap, info->function,
                                 info->text);
  text[length] = '\n';
  hak_sys_write(text, length + 1);
  hak_detail_fn *more = hak_load_relaxed(&detail);
  if (more != NULL && info->error != HAK_ERROR_BAD_OPTION) more(info->address);
  if (info->error != HAK_ERROR_BAD_OPTION && info->error != HAK_ERROR_LEAK) {
    hak_sys_abort();
  }
}

void hak_error_ignore(const hak_error_info_t *info, void *ctx) {
  (void)info;
  (void)ctx;
}

void hak_set_error_handler(hak_error_fn *fn, void *ctx) {
  hak_callee_set(&handler, (hak_any_fn *)fn, ctx);
}

HAK_SLOW void hak_report(hak_error_t error, const void *address, hak_heap_t *heap,
                         const char *function, const char *text) {
  void *ctx;
  char path[HAK_REPORT_PATH_MAX] = "";
  hak_error_fn *fn = (hak_error_fn *)hak_callee_get(&handler, &ctx);
  hak_error_info_t info = {.struct_size = sizeof info,
                           .error = error,
                           .address = address,
                           .heap = heap,
                           .function = function,
                           .text = text,
                           .heap_path = path};
  hak_describe_fn *known = hak_load_relaxed(&describe);
  hak_inside_t inside = {.back = NULL};
  if (known != NULL && error != HAK_ERROR_BAD_OPTION) {
    known(&info, path, sizeof path, &inside);
  }
  if (fn == NULL) fn = report_and_abort;
  fn(&info, ctx);
  if (inside.back != NULL) inside.back(&inside);
}

HAK_SLOW void *hak_fail(int error) {
  errno = error;
  return NULL;
}
