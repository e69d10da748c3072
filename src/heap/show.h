/* show.h - statistics that are printed as the process ends.
 *
 * Depends on: base, describe.   Used by: lifecycle, api.
 */
#ifndef HAK_HEAP_SHOW_H
#define HAK_HEAP_SHOW_H

/* Prints what the option SHOW_STATS says, once in a process. Asks by the functions that
 * programs have for it. No lock held. */
void hak_show_stats(void);

#endif
