/* base_text.c - texts of the program's in lines and strings: cut between characters,
 * escaped, and whole where they are whole. */
#include "support.h"

#include <string.h>

#include "base/text.h"

/* One character each: 1, 2, 3 and 4 bytes. */
static const char *const characters[] = {"a", "\xc3\xa4", "\xe2\x82\xac",
                                         "\xf0\x9f\x98\x80"};

static void character__of_each_length_is_told(void **state) {
  (void)state;
  for (unsigned i = 0; i < TEST_COUNT(characters); i++) {
    CHECK_EQ(hak_text_character(characters[i], i + 1), i + 1);
    CHECK_EQ(hak_text_character(characters[i], i), 0); /* cut off */
  }
  const char *const bad[] = {"\x80",         "\xc0\x80",         "\xc1\xbf",
                             "\xe0\x9f\xbf", "\xed\xa0\x80",     "\xf0\x8f\xbf\xbf",
                             "\xf5\x80\x80", "\xf4\x90\x80\x80", "\xff",
                             "\xc3(",        "\xe2\x82(",        "\xf0\x9f\x98("};
  for (unsigned i = 0; i < TEST_COUNT(bad); i++) {
    CHECK_EQ(hak_text_character(bad[i], strlen(bad[i])), 0);
  }
}

/* Each length of a text of each character, cut to each length. */
static void cut__never_splits_a_character(void **state) {
  (void)state;
  for (unsigned c = 0; c < TEST_COUNT(characters); c++) {
    char text[64] = "";
    for (unsigned i = 0; i < 8; i++) strcat(text, characters[c]);
    size_t length = strlen(text), width = c + 1;
    for (size_t most = 0; most <= length + 2; most++) {
      size_t keep = hak_text_begin(text, length, most);
      size_t from = hak_text_end(text, length, most);
      size_t whole = most > length ? length : most - most % width;
      CHECK_EQ(keep, whole);
      CHECK_EQ(from, length - whole);
      char out[64];
      CHECK_EQ(hak_text_print(out, most + 1, "%s", text), whole);
      CHECK(strlen(out) == whole && memcmp(out, text, whole) == 0);
    }
  }
}

static void cut__keeps_what_is_no_text_within_its_room(void **state) {
  (void)state;
  const char text[] = "\x80\x80\x80\x80\x80\x80\xf0\xff\xff\xe2\xe2\xe2";
  size_t length = sizeof text - 1;
  for (size_t most = 0; most <= length; most++) {
    CHECK_EQ(hak_text_begin(text, length, most), most);
    CHECK_EQ(hak_text_end(text, length, most), length - most);
    char out[64];
    CHECK(hak_text_print(out, most + 1, "%s", text) <= most);
  }
}

static void check_quoted(const char *text, const char *expected) {
  char out[100];
  CHECK_EQ(hak_text_quote(out, sizeof out, text), strlen(expected));
  CHECK_MSG(strcmp(out, expected) == 0, "%s is not %s", out, expected);
}

static void line__keeps_quotes_and_backslashes(void **state) {
  (void)state;
  char out[100];
  const char *expected = "map<a;b, \"c\\d\">\\n\\x1b";
  CHECK_EQ(hak_text_line(out, sizeof out, "map<a;b, \"c\\d\">\n\x1b"), strlen(expected));
  CHECK_MSG(strcmp(out, expected) == 0, "%s is not %s", out, expected);
}

static void quote__keeps_a_text_within_its_line_and_its_quotes(void **state) {
  (void)state;
  check_quoted("", "");
  check_quoted("plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
               "plain \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
  check_quoted("weird \"name\"\n", "weird \\\"name\\\"\\n");
  check_quoted("\\\t\x1b[31m\x7f", "\\\\\\x09\\x1b[31m\\x7f");
  check_quoted("\xff\xc3(\xe2\x82", "\\xff\\xc3(\\xe2\\x82");
  check_quoted("next\xc2\x85line", "next\\u0085line");   /* a control character, too */
  check_quoted("\xe2\x80\xaetxt.exe", "\\u202etxt.exe"); /* it would turn the line */
  check_quoted("\xe2\x80\x8f\xe2\x81\xa6\xe2\x81\xa9\xd8\x9c",
               "\\u200f\\u2066\\u2069\\u061c");
  check_quoted("two\xe2\x80\xa8lines", "two\\u2028lines");
  check_quoted("\xd7\xa9\xe2\x80\x8d\xe2\x80\xaf.\xe2\x81\xa5",
               "\xd7\xa9\xe2\x80\x8d\xe2\x80\xaf.\xe2\x81\xa5");
}

static void quote__says_that_it_left_something_out(void **state) {
  (void)state;
  const char *text = "0\n1\n2\n3\xc3\xa4\xff";
  char whole[64];
  size_t length = hak_text_quote(whole, sizeof whole, text);
  for (size_t room = 4; room < sizeof whole; room++) {
    char out[64];
    memset(out, 'x', sizeof out);
    size_t got = hak_text_quote(out, room, text);
    CHECK(got < room && out[got] == '\0');
    CHECK(room == sizeof out - 1 || out[room] == 'x');
    if (room > length) {
      CHECK(strcmp(out, whole) == 0);
    } else {
      CHECK(got >= 3 && strcmp(out + got - 3, "...") == 0);
      CHECK(memcmp(out, whole, got - 3) == 0);
      CHECK(got < 4 || out[got - 4] != '\\' || (got > 4 && out[got - 5] == '\\'));
    }
  }
}

static void check_json(const char *text, const char *expected) {
  char out[200] = "";
  while (*text != '\0') {
    char escape[HAK_TEXT_ESCAPE_MAX];
    text += hak_text_json(text, escape);
    strcat(out, escape);
  }
  CHECK_MSG(strcmp(out, expected) == 0, "%s is not %s", out, expected);
}

static void json__string_is_valid_whatever_the_text(void **state) {
  (void)state;
  check_json("a\"\\/\n\x01\x7f", "a\\\"\\\\/\\u000a\\u0001\\u007f");
  check_json("\xc3\xa4\xf0\x9f\x98\x80", "\xc3\xa4\xf0\x9f\x98\x80");
  check_json("\xff\xe2\x82", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
  check_json("\xed\xa0\x80.", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd.");
}

TEST_MAIN(T(character__of_each_length_is_told), T(cut__never_splits_a_character),
          T(cut__keeps_what_is_no_text_within_its_room),
          T(line__keeps_quotes_and_backslashes),
          T(quote__keeps_a_text_within_its_line_and_its_quotes),
          T(quote__says_that_it_left_something_out),
          T(json__string_is_valid_whatever_the_text))
