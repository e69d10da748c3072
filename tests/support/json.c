/* json.c - see json.h */
#include "json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
  const char *text;
  size_t length, at;
  int depth;
} reader_t;

static int peek(const reader_t *r) {
  return r->at < r->length ? (unsigned char)r->text[r->at] : -1;
}

static bool take(reader_t *r, int c) {
  if (peek(r) != c) {
    return false;
  }
  r->at++;
  return true;
}

static void skip_space(reader_t *r) {
  while (take(r, ' ') || take(r, '\t') || take(r, '\n') || take(r, '\r')) {}
}

static bool take_word(reader_t *r, const char *word) {
  size_t n = strlen(word);
  if (r->length - r->at < n || memcmp(r->text + r->at, word, n) != 0) {
    return false;
  }
  r->at += n;
  return true;
}

static bool take_digits(reader_t *r) {
  size_t start = r->at;
  while (isdigit(peek(r))) {
    r->at++;
  }
  return r->at > start;
}

static bool take_number(reader_t *r) {
  (void)take(r, '-');
  if (!take(r, '0') && !take_digits(r)) {
    return false;
  }
  if (take(r, '.') && !take_digits(r)) {
    return false;
  }
  if (peek(r) == 'e' || peek(r) == 'E') {
    r->at++;
    if (!take(r, '+')) {
      (void)take(r, '-');
    }
    return take_digits(r);
  }
  return true;
}

/* The rest of a character whose first byte, which was taken, is no ASCII. */
static bool take_continuation(reader_t *r, int first) {
  int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
  int least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  int most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (first < 0xc2 || first > 0xf4) {
    return false;
  }
  for (int i = 0; i < more; i++, r->at++) {
    int c = peek(r);
    if (c < (i == 0 ? least : 0x80) || c > (i == 0 ? most : 0xbf)) {
      return false;
    }
  }
  return true;
}

static bool take_string(reader_t *r) {
  if (!take(r, '"')) {
    return false;
  }
  while (!take(r, '"')) {
    int c = peek(r);
    if (c < 0x20) {
      return false;
    }
    r->at++;
    if (c >= 0x80 && !take_continuation(r, c)) {
      return false;
    }
    if (c != '\\') {
      continue;
    }
    c = peek(r);
    if (c <= 0 || strchr("\"\\/bfnrtu", c) == NULL) {
      return false;
    }
    r->at++;
    for (int i = 0; c == 'u' && i < 4; i++, r->at++) {
      if (!isxdigit(peek(r))) {
        return false;
      }
    }
  }
  return true;
}

static bool take_value(reader_t *r);

static bool take_members(reader_t *r, int close, bool named) {
  r->at++;
  skip_space(r);
  if (take(r, close)) {
    return true;
  }
  do {
    skip_space(r);
    if (named) {
      if (!take_string(r)) {
        return false;
      }
      skip_space(r);
      if (!take(r, ':')) {
        return false;
      }
    }
    if (!take_value(r)) {
      return false;
    }
    skip_space(r);
  } while (take(r, ','));
  return take(r, close);
}

static bool take_value(reader_t *r) {
  if (r->depth > 64) {
    return false;
  }
  skip_space(r);
  r->depth++;
  bool valid;
  switch (peek(r)) {
    case '{':
      valid = take_members(r, '}', true);
      break;
    case '[':
      valid = take_members(r, ']', false);
      break;
    case '"':
      valid = take_string(r);
      break;
    case 't':
      valid = take_word(r, "true");
      break;
    case 'f':
      valid = take_word(r, "false");
      break;
    case 'n':
      valid = take_word(r, "null");
      break;
    default:
      valid = take_number(r);
      break;
  }
  r->depth--;
  return valid;
}

bool json_is_valid(const char *text, size_t length, size_t *at) {
  reader_t r = {text, length, 0, 0};
  bool valid = take_value(&r);
  if (valid) {
    skip_space(&r);
    valid = r.at == length;
  }
  *at = r.at;
  return valid;
}

bool json_number(const char *text, const char *member, uint64_t *value) {
  char name[64];
  snprintf(name, sizeof name, "\"%s\"", member);
  const char *found = strstr(text, name);
  if (found == NULL) {
    return false;
  }
  found += strlen(name);
  found += strspn(found, " \t\r\n:");
  if (!isdigit((unsigned char)*found)) {
    return false;
  }
  *value = strtoull(found, NULL, 10);
  return true;
}
