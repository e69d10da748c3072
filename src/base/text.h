/* text.h - texts of the program's in texts of the library's: names are cut between
 * characters, and stay within the line or the string that they stand in.
 *
 * Depends on: compiler.   Used by: option, report, learn, heap, api.
 *
 * Programs name heaps, places and variables as they like, in UTF-8 as a rule. What is no
 * UTF-8 stays as it is in names that programs are given back. Nothing here allocates.
 */
#ifndef HAK_BASE_TEXT_H
#define HAK_BASE_TEXT_H

#include <stdarg.h>

#include "base/compiler.h"

/* Bytes of a character, at most. */
#define HAK_TEXT_CHARACTER_MAX 4

/* Bytes of the character that the text begins with, of `length` bytes; 0 if what it
 * begins with is no UTF-8 (RFC 3629), or is cut off. */
unsigned hak_text_character(const char *text, size_t length);

/* How many bytes of a text of `length` bytes to keep so that they are at most `most` and
 * end between two characters. */
size_t hak_text_begin(const char *text, size_t length, size_t most);
/* The same of its end: where to begin. */
size_t hak_text_end(const char *text, size_t length, size_t most);

/* snprintf, but what has no room is cut between two characters. The length of what was
 * written, without the zero byte. `room` is not 0. */
size_t hak_text_print(char *out, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
size_t hak_text_print_list(char *out, size_t room, const char *format, va_list arguments);

/* Copies a text so that it is part of one line between quotes, as C writes it: quotes,
 * backslashes, control characters, those that reorder or part lines, and bytes that are
 * no UTF-8 are escaped. What has no room is left out, with "..." in its place. The
 * length. `room` is 4 or more. */
size_t hak_text_quote(char *out, size_t room, const char *text);
/* The same for a line where no quotes stand around it: quotes and backslashes stay. */
size_t hak_text_line(char *out, size_t room, const char *text);

/* Bytes that an escape has at most, the zero byte included. */
#define HAK_TEXT_ESCAPE_MAX 7
/* The next piece of a string of JSON: writes how the character that `text` begins with
 * (which is not at its end) stands there, and returns how many bytes of the text that
 * was. What is no UTF-8 stands as U+FFFD, a byte at a time. */
unsigned hak_text_json(const char *text, char out[HAK_TEXT_ESCAPE_MAX]);

#endif
