/* prefault.h - pages that are there before they are needed.
 *
 * Depends on: base, os, superslab, registry.   Used by: shared_pool.
 */
#ifndef HAK_SUPERSLAB_PREFAULT_H
#define HAK_SUPERSLAB_PREFAULT_H

#include "superslab/superslab.h"

/* Commits slots that the caller has taken, makes their pages and what the registry
 * says of them resident. False if memory is short. No lock held. */
bool hak_prefault_slots(hak_superslab_t *ss, unsigned first, unsigned count);

#endif
