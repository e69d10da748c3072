#include "base/text.h"

#include <stdio.h>
#include <string.h>

static bool continues(char byte) { return ((unsigned char)byte & 0xc0) == 0x80; }

/* What the second byte of a character may be, besides a byte that continues: neither an
 * overlong form, nor a surrogate, nor beyond U+10FFFF. */
static bool may_follow(unsigned char first, unsigned char second) {
  switch (first) {
    case 0xe0:
      return second >= 0xa0;
    case 0xed:
      return second < 0xa0;
    case 0xf0:
      return second >= 0x90;
    case 0xf4:
      return second < 0x90;
    default:
      return true;
  }
}

/* Bytes of a character that begins with this one; 0: none does. */
static unsigned bytes_of(unsigned char first) {
  if (first < 0x80) return 1;
  if (first < 0xc2) return 0;
  if (first < 0xe0) return 2;
  if (first < 0xf0) return 3;
  return first < 0xf5 ? HAK_TEXT_CHARACTER_MAX : 0;
}

HAK_SLOW unsigned hak_text_character(const char *text, size_t length) {
  if (length == 0) return 0;
  unsigned bytes = bytes_of((unsigned char)text[0]);
  if (bytes <= 1) return bytes;
  if (length < bytes || !may_follow((unsigned char)text[0], (unsigned char)text[1])) {
    return 0;
  }
  for (unsigned i = 1; i < bytes; i++) {
    if (!continues(text[i])) return 0;
  }
  return bytes;
}

HAK_SLOW size_t hak_text_begin(const char *text, size_t length, size_t most) {
  if (length <= most) return length;
  for (size_t back = 1; back < HAK_TEXT_CHARACTER_MAX && back <= most; back++) {
    size_t at = most - back;
    if (hak_text_character(text + at, length - at) > back) return at;
    if (!continues(text[at])) break;
  }
  return most;
}

HAK_SLOW size_t hak_text_end(const char *text, size_t length, size_t most) {
  if (length <= most) return 0;
  size_t from = length - most;
  for (size_t back = 1; back < HAK_TEXT_CHARACTER_MAX && back <= from; back++) {
    size_t at = from - back;
    unsigned bytes = hak_text_character(text + at, length - at);
    if (bytes > back) return at + bytes;
    if (!continues(text[at])) break;
  }
  return from;
}

size_t hak_text_print_list(char *out, size_t room, const char *format,
                           va_list arguments) {
  int wanted = vsnprintf(out, room, format, arguments);
  if (wanted <= 0) return 0;
  if ((size_t)wanted < room) return (size_t)wanted;
  /* What was cut off is not known: a character that is not whole counts as cut. */
  size_t length = room - 1;
  for (size_t back = 1; back < HAK_TEXT_CHARACTER_MAX && back <= length; back++) {
    char byte = out[length - back];
    if (continues(byte)) continue;
    if (bytes_of((unsigned char)byte) > back) length -= back;
    break;
  }
  out[length] = '\0';
  return length;
}

HAK_SLOW size_t hak_text_print(char *out, size_t room, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  size_t length = hak_text_print_list(out, room, format, arguments);
  va_end(arguments);
  return length;
}

/* The value of a whole character of 2 or 3 bytes; 0 for others. */
static unsigned value_of(const char *text, unsigned bytes) {
  const unsigned char *at = (const unsigned char *)text;
  if (bytes == 2) return (at[0] & 0x1fu) << 6 | (at[1] & 0x3fu);
  if (bytes != 3) return 0;
  return (at[0] & 0xfu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
}

/* Of a character past ASCII: it ends the line, or changes the order in which others are
 * shown, those behind the quotes included. */
static bool is_control(unsigned value) {
  return (value >= 0x80 && value < 0xa0) || value == 0x61c || value == 0x200e ||
         value == 0x200f || (value >= 0x2028 && value <= 0x202e) ||
         (value >= 0x2066 && value <= 0x2069);
}

/* How the character that the text begins with, of `bytes` bytes or 0, stands in a line,
 * between quotes if `quoted`; the length of `out`. */
static unsigned escape_one(const char *text, unsigned bytes, bool quoted,
                           char out[HAK_TEXT_ESCAPE_MAX]) {
  unsigned char c = (unsigned char)text[0];
  bool control = c < ' ' || c == 0x7f;
  unsigned value = value_of(text, bytes);
  if (is_control(value)) {
    return (unsigned)snprintf(out, HAK_TEXT_ESCAPE_MAX, "\\u%04x", value & 0xffff);
  }
  if (c == '\n') return (unsigned)snprintf(out, HAK_TEXT_ESCAPE_MAX, "\\n");
  if (quoted && (c == '"' || c == '\\')) {
    return (unsigned)snprintf(out, HAK_TEXT_ESCAPE_MAX, "\\%c", c);
  }
  if (bytes == 0 || control) {
    return (unsigned)snprintf(out, HAK_TEXT_ESCAPE_MAX, "\\x%02x", (unsigned)c);
  }
  memcpy(out, text, bytes);
  out[bytes] = '\0';
  return bytes;
}

static HAK_SLOW size_t copy(char *out, size_t room, const char *text, bool quoted) {
  static const char cut[] = "...";
  size_t at = 0, whole = 0, left = strlen(text);
  while (left > 0) {
    char escape[HAK_TEXT_ESCAPE_MAX];
    unsigned bytes = hak_text_character(text, left);
    unsigned length = escape_one(text, bytes, quoted, escape);
    if (at + length >= room) {
      memcpy(out + whole, cut, sizeof cut);
      return whole + sizeof cut - 1;
    }
    memcpy(out + at, escape, length);
    at += length;
    if (at + sizeof cut <= room) whole = at;
    text += bytes == 0 ? 1 : bytes;
    left -= bytes == 0 ? 1 : bytes;
  }
  out[at] = '\0';
  return at;
}

size_t hak_text_quote(char *out, size_t room, const char *text) {
  return copy(out, room, text, true);
}

size_t hak_text_line(char *out, size_t room, const char *text) {
  return copy(out, room, text, false);
}

HAK_SLOW unsigned hak_text_json(const char *text, char out[HAK_TEXT_ESCAPE_MAX]) {
  unsigned char c = (unsigned char)text[0];
  /* The zero byte ends the text, and continues no character. */
  unsigned bytes = hak_text_character(text, strnlen(text, HAK_TEXT_CHARACTER_MAX));
  if (bytes == 0) {
    memcpy(out, "\xef\xbf\xbd", HAK_TEXT_CHARACTER_MAX);
    return 1;
  }
  if (c == '"' || c == '\\') {
    snprintf(out, HAK_TEXT_ESCAPE_MAX, "\\%c", c);
  } else if (c < ' ' || c == 0x7f) {
    snprintf(out, HAK_TEXT_ESCAPE_MAX, "\\u%04x", (unsigned)c);
  } else {
    memcpy(out, text, bytes);
    out[bytes] = '\0';
  }
  return bytes;
}
