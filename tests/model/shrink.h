/* shrink.h - makes a sequence that fails as short as it can. */
#ifndef HAKMEM_TEST_SHRINK_H
#define HAKMEM_TEST_SHRINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the operations of these numbers, in this order, still fail. */
typedef bool shrink_fn(const uint32_t *steps, size_t count, void *ctx);

/* Takes operations out as long as the rest fails, halves first and single ones last.
 * Calls `fails` at most `tries` times; returns how many operations are left. */
size_t shrink(uint32_t *steps, size_t count, shrink_fn *fails, void *ctx, unsigned tries);

/* The numbers as text, "3,17-20,99", and back. The text is cut where `size` ends. */
void shrink_print(const uint32_t *steps, size_t count, char *text, size_t size);
/* Fills at most `room` numbers and returns how many there are; 0 for what is no list. */
size_t shrink_parse(const char *text, uint32_t *steps, size_t room);

#endif /* HAKMEM_TEST_SHRINK_H */
