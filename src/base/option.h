/* option.h - the current values of the options, for slow paths of every layer.
 *
 * Depends on: atomic, public, report, sys, text.   Used by: everything; written by
 * hak_option_set only.
 */
#ifndef HAK_BASE_OPTION_H
#define HAK_BASE_OPTION_H

#include "base/atomic.h"
#include "base/public.h"

HAK_EXTERN hak_atomic_i64_t hak_option_values[HAK_OPTION_COUNT];

/* Relaxed: an option acts from some slow path on; which one does not matter. */
#define hak_option(id) hak_load_relaxed(&hak_option_values[HAK_OPTION_##id])

/* Sets options from HAKMEM_* variables. */
void hak_options_read_environment(void);
/* [any] relaxed, as each is reported by whoever takes it away: what of the options could
 * not be used at the start. */
HAK_EXTERN hak_atomic_u32_t hak_options_wrong;
#define HAK_OPTIONS_WRONG_VARIABLE 1u
#define HAK_OPTIONS_WRONG_BACKEND 2u
/* Reports it, after the start: the handler may leave by longjmp, so nothing is to be held
 * or half done. */
void hak_options_report(void);
/* Variables that it would look at are there: before the start, for who has to know what
 * options may come to be. */
bool hak_options_are_in_environment(void);

#endif
