/* check.h - asserts that compile in every build, and how much is checked.
 *
 * Depends on: compiler, sys.   Used by: everything.
 *
 * hak_assert is for what costs a few instructions, hak_assert_full for what may
 * walk. HAK_ASSERTS: 0 neither is evaluated, 1 the cheap ones, 2 both.
 */
#ifndef HAK_BASE_CHECK_H
#define HAK_BASE_CHECK_H

#include "base/compiler.h"

#ifndef HAK_ASSERTS
#define HAK_ASSERTS 0
#endif

/* 0 off, 1 default, 2 full, 3 hardened: see tiny/link.h. */
#ifndef HAK_CHECKS
#define HAK_CHECKS 1
#endif

/* Bytes at the end of each block that are the library's: its canary (tiny/canary.h). */
#define HAK_CANARY_BYTES ((size_t)(HAK_CHECKS >= 3 ? 8 : 0))

_Noreturn void hak_assert_failed(const char *condition, const char *file, int line);

#define hak_assert_if(on, condition)        \
  ((void)(!(on) || HAK_LIKELY(condition) || \
          (hak_assert_failed(#condition, __FILE__, __LINE__), 0)))
#define hak_assert(condition) hak_assert_if(HAK_ASSERTS >= 1, condition)
#define hak_assert_full(condition) hak_assert_if(HAK_ASSERTS >= 2, condition)

#endif
