/* text.h - what a report writes, piece by piece, as one text. */
#ifndef HAKMEM_TEST_TEXT_H
#define HAKMEM_TEST_TEXT_H

#include "support.h"

typedef struct test_text {
  size_t length, pieces;
  char bytes[4 << 20]; /* a zero behind the last one */
} test_text_t;

void test_text_clear(test_text_t *text);
/* For functions that print: adds a piece to the test_text_t that ctx is. */
void test_text_add(const char *bytes, size_t length, void *ctx);
/* Fails unless the text is one JSON value. */
void test_text_expect_json(const test_text_t *text);

#endif /* HAKMEM_TEST_TEXT_H */
