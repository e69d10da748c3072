/* clock.h - a clock that stands still but when the test says otherwise. */
#ifndef HAKMEM_TEST_CLOCK_H
#define HAKMEM_TEST_CLOCK_H

#include <stdint.h>

/* For hooks' now_ns. */
uint64_t test_clock_ns(void *ctx);
/* It goes on by so much; a negative time is what a thread sees that read it before. Not
 * beside threads that read it. */
void test_pass_ms(int64_t ms);

#endif /* HAKMEM_TEST_CLOCK_H */
