/* world.h - of world.c, for fibers.c. */
#ifndef EXPLORE_WORLD_H
#define EXPLORE_WORLD_H

#include <stdbool.h>

/* The calling thread's variables are those of this block: a scenario's thread, or
 * THREADS for the explorer's own. */
void world_note_local(unsigned block);
/* Something is about to write here; false if it may not, or might have anyway. */
bool world_write(void *address);

#endif
