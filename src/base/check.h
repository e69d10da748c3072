/* check.h - asserts that compile in every build, and the report of misuse.
 *
 * Depends on: compiler, atomic.   Used by: everything.
 *
 * hak_assert is for what costs a few instructions, hak_assert_full for what may
 * walk. HAK_ASSERTS: 0 neither is evaluated, 1 the cheap ones, 2 both.
 */
#ifndef HAK_BASE_CHECK_H
#define HAK_BASE_CHECK_H

#include "base/compiler.h"
#include "base/public.h"

#ifndef HAK_ASSERTS
#define HAK_ASSERTS 0
#endif

/* 0 off, 1 default, 2 full: see tiny/link.h. */
#ifndef HAK_CHECKS
#define HAK_CHECKS 1
#endif

_Noreturn void hak_assert_failed(const char *condition, const char *file, int line);

#define hak_assert_if(on, condition)        \
  ((void)(!(on) || HAK_LIKELY(condition) || \
          (hak_assert_failed(#condition, __FILE__, __LINE__), 0)))
#define hak_assert(condition) hak_assert_if(HAK_ASSERTS >= 1, condition)
#define hak_assert_full(condition) hak_assert_if(HAK_ASSERTS >= 2, condition)

/* Reports misuse to the error handler; allocates nothing, holds no lock.
 * `function` is the public function on whose behalf it was found. */
HAK_SLOW void hak_report(hak_error_t error, const void *address, hak_heap_t *heap,
                         const char *function, const char *text);

/* The public function that the calling thread is in, for reports from deep
 * inside it; the default is "hak_free or hak_alloc". */
#define HAK_IN_FREE "hak_free"
#define HAK_IN_FREE_SIZED "hak_free_sized"
#define HAK_IN_ALLOC "hak_alloc"

#endif
