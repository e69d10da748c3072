/* density.h - how much of large blocks is touched, learnt by size.
 *
 * Depends on: base, os.   Used by: mapping, mapping_parts, pool.
 *
 * Huge pages make large blocks 1.5 times as fast that are written to, and make all of a
 * block resident that is touched here and there. Which of the two a block will be is
 * guessed from others of about its size: one that came without pages is remembered, and
 * looked at when the next one comes, or when it is freed. All but one in a few of those
 * that follow have huge pages while nearly all of what was looked at was resident; that
 * one is looked at in its turn.
 *
 * Everything is a statistic of all threads: a lost update makes a worse guess, and the
 * block that is remembered may have gone, so that its address means nothing.
 */
#ifndef HAK_PAGES_DENSITY_H
#define HAK_PAGES_DENSITY_H

#include "os/os.h"

/* A block of so many bytes, which comes without pages, will be touched nearly
 * everywhere. Asks the system at most once. */
bool hak_density_is_dense(const hak_os_t *os, size_t size);

/* A block that came without pages has small ones: it may be the one that is
 * remembered. */
void hak_density_note(char *block, size_t size);

/* A block is freed: if it is the one that is remembered, it is looked at. True if nothing
 * of it was found resident. */
bool hak_density_freed(const hak_os_t *os, char *block, size_t size);

/* A part of a block that may have huge pages is used so far that they cost little. */
HAK_HOT bool hak_density_is_full(size_t used, size_t size) {
  return size - used <= size / 16;
}

#endif
