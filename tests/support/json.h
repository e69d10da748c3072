/* json.h - just enough of a parser to judge what hak_stats_print writes. */
#ifndef HAKMEM_TEST_JSON_H
#define HAKMEM_TEST_JSON_H

#include "support.h"

/* True if the text is one JSON value (RFC 8259) in UTF-8 and nothing else but white
 * space; otherwise *at is the offset of the first wrong byte. */
bool json_is_valid(const char *text, size_t length, size_t *at);

/* The number behind the first member of that name; false if there is none. */
bool json_number(const char *text, const char *member, uint64_t *value);

#endif /* HAKMEM_TEST_JSON_H */
