/* explore_access.h - how compiled code hands its atomic accesses to the explorer.
 *
 * Used by: replaced/base/atomic.h, litmus tests.
 *
 * Every access in the source becomes a record in the section `explore_sites` of the
 * executable, whether it ever runs or not: so the linker makes the list of accesses.
 */
#ifndef EXPLORE_ACCESS_H
#define EXPLORE_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum explore_order {
  EXPLORE_RELAXED = 0,
  EXPLORE_ACQUIRE = 1,
  EXPLORE_RELEASE = 2,
  EXPLORE_BOTH = 3 /* as a call of the system orders; the library has none */
} explore_order_t;

typedef enum explore_op {
  EXPLORE_LOAD_OP = 0,
  EXPLORE_STORE_OP,
  EXPLORE_ADD,
  EXPLORE_SUB,
  EXPLORE_OR,
  EXPLORE_AND,
  EXPLORE_EXCHANGE,
  EXPLORE_STRONG, /* compare-and-swap */
  EXPLORE_WEAK    /* one that may fail for no reason; the library has none */
} explore_op_t;

/* One access in the source. Inline functions leave one in each file that includes them;
 * the explorer takes those for one. A whole number of cache lines, so that no padding is
 * put between records. */
typedef struct explore_site {
  const char *file;
  const char *function;
  int line;
  explore_op_t op;
  explore_order_t order;
  int number; /* of the place, from 1 on; the explorer's */
} __attribute__((aligned(64))) explore_site_t;

#define EXPLORE_SITE(op, order)                                       \
  static explore_site_t explore_site_here                             \
      __attribute__((section("explore_sites"), used, no_reorder)) = { \
          __FILE__, __func__, __LINE__, op, EXPLORE_##order, 0}

uint64_t explore_load(const explore_site_t *site, const volatile void *at, unsigned size);
void explore_store(const explore_site_t *site, volatile void *at, unsigned size,
                   uint64_t value);
/* Returns what was there before. */
uint64_t explore_modify(const explore_site_t *site, volatile void *at, unsigned size,
                        uint64_t value);
/* *expected becomes what is there if it is something else. */
bool explore_cas(const explore_site_t *site, volatile void *at, unsigned size,
                 uint64_t *expected, uint64_t value);
void explore_wait_for_change(void);
/* The same for a wait that may end because time has passed. */
void explore_pause(void);
/* In place of memset, whose writes the compiler's instrumentation does not show. */
void *explore_memset(void *at, int value, size_t size);

/* The type of what *p holds, without qualifiers. */
#define EXPLORE_TYPE(p) __typeof__((void)0, *(p))
/* The bits of a value of at most 8 bytes, and back. */
#define EXPLORE_BITS(bits, value) __builtin_memcpy(&(bits), &(value), sizeof(value))
#define EXPLORE_VALUE(value, bits) __builtin_memcpy(&(value), &(bits), sizeof(value))

#define EXPLORE_LOAD(p, order)                                                        \
  __extension__({                                                                     \
    EXPLORE_SITE(EXPLORE_LOAD_OP, order);                                             \
    EXPLORE_TYPE(p) explore_is;                                                       \
    uint64_t explore_bits = explore_load(&explore_site_here, (p), sizeof explore_is); \
    EXPLORE_VALUE(explore_is, explore_bits);                                          \
    explore_is;                                                                       \
  })

#define EXPLORE_STORE(p, v, order)                                            \
  __extension__({                                                             \
    EXPLORE_SITE(EXPLORE_STORE_OP, order);                                    \
    EXPLORE_TYPE(p) explore_new = (v);                                        \
    uint64_t explore_bits = 0;                                                \
    EXPLORE_BITS(explore_bits, explore_new);                                  \
    explore_store(&explore_site_here, (p), sizeof explore_new, explore_bits); \
  })

#define EXPLORE_MODIFY(p, v, op, order)                                            \
  __extension__({                                                                  \
    EXPLORE_SITE(EXPLORE_##op, order);                                             \
    EXPLORE_TYPE(p) explore_new = (v);                                             \
    uint64_t explore_bits = 0;                                                     \
    EXPLORE_BITS(explore_bits, explore_new);                                       \
    explore_bits =                                                                 \
        explore_modify(&explore_site_here, (p), sizeof explore_new, explore_bits); \
    EXPLORE_VALUE(explore_new, explore_bits);                                      \
    explore_new;                                                                   \
  })

#define EXPLORE_CAS(p, expected, v, op, order)                                   \
  __extension__({                                                                \
    EXPLORE_SITE(EXPLORE_##op, order);                                           \
    EXPLORE_TYPE(p) explore_new = (v);                                           \
    __auto_type explore_expected = (expected);                                   \
    uint64_t explore_bits = 0, explore_was = 0;                                  \
    EXPLORE_BITS(explore_bits, explore_new);                                     \
    __builtin_memcpy(&explore_was, explore_expected, sizeof explore_new);        \
    bool explore_done = explore_cas(&explore_site_here, (p), sizeof explore_new, \
                                    &explore_was, explore_bits);                 \
    if (!explore_done) {                                                         \
      __builtin_memcpy(explore_expected, &explore_was, sizeof explore_new);      \
    }                                                                            \
    explore_done;                                                                \
  })

#endif
