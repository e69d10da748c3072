#include "text.h"

#include "json.h"

#include <string.h>

void test_text_clear(test_text_t *text) {
  text->length = text->pieces = 0;
  text->bytes[0] = '\0';
}

void test_text_add(const char *bytes, size_t length, void *ctx) {
  test_text_t *text = ctx;
  CHECK(text->length + length < sizeof text->bytes);
  memcpy(text->bytes + text->length, bytes, length);
  text->length += length;
  text->bytes[text->length] = '\0';
  text->pieces++;
}

void test_text_expect_json(const test_text_t *text) {
  size_t at;
  if (!json_is_valid(text->bytes, text->length, &at)) {
    test_fail(__FILE__, __LINE__, "wrong at %zu: %.40s", at, text->bytes + at);
  }
}
