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

/* Sets options from HAKMEM_* variables; reports what it cannot use. */
void hak_options_read_environment(void);
/* Variables that it would look at are there: before the start, for who has to know what
 * options may come to be. */
bool hak_options_are_in_environment(void);

#endif
