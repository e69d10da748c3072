#include "api/out.h"

#include <stdarg.h>
#include <string.h>

#include "base/sys.h"
#include "base/text.h"

/* Past stdio: a handler of a crash may call this while a thread that has stderr's lock
 * waits, and what stdio buffers is lost at an abort. */
static void write_stderr(const char *text, size_t length, void *ctx) {
  (void)ctx;
  hak_sys_write(text, length);
}

hak_out_t hak_out_to(hak_write_fn *write, void *ctx) {
  return (hak_out_t){write == NULL ? write_stderr : write, ctx};
}

void hak_out_text(const hak_out_t *out, const char *format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  size_t length = hak_text_print_list(text, sizeof text, format, arguments);
  va_end(arguments);
  if (length > 0) out->write(text, length, out->ctx);
}

void hak_out_json(const hak_out_t *out, const char *text) {
  char piece[128];
  size_t length = 0;
  piece[length++] = '"';
  while (*text != '\0') {
    char escape[HAK_TEXT_ESCAPE_MAX];
    text += hak_text_json(text, escape);
    size_t more = strlen(escape);
    if (length + more >= sizeof piece) { /* with room for the last quote */
      out->write(piece, length, out->ctx);
      length = 0;
    }
    memcpy(piece + length, escape, more);
    length += more;
  }
  piece[length++] = '"';
  out->write(piece, length, out->ctx);
}
