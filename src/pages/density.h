/* density.h - how much of large blocks is touched, learnt by size.
 *
 * Depends on: base, os.   Used by: mapping, mapping_move, mapping_parts, pool, api.
 *
 * Huge pages make large blocks 1.5 times as fast that are written to, and make all of a
 * block resident that is touched here and there. Which of the two a block will be is
 * guessed from others of about its size: one that came without pages is remembered, and
 * looked at when the next one comes, or when it is freed. All but one in a few of those
 * that follow have huge pages while nearly all of what was looked at was resident; that
 * one is looked at in its turn. Where none of its size was seen a block is taken to be as
 * those of half its size are.
 *
 * Blocks that are to read as zero, and have pages with old contents, are another such
 * guess, and learnt in the same way.
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

/* A block that came without pages has huge or small ones: it may be the one that is
 * remembered. */
void hak_density_note(char *block, size_t size, bool huge);
/* The same of a block of pages that read as zero, which is to do so. */
void hak_density_note_zero(char *block, size_t size);

/* The end of a block's first `size` bytes is resident to a share that is called dense. */
bool hak_density_is_written(const hak_os_t *os, char *block, size_t size);

/* A block is freed: if it is the one that is remembered, it is looked at. True if nothing
 * of it was found resident. */
bool hak_density_freed(const hak_os_t *os, char *block, size_t size);

/* How a block of pages with old contents is made to read as zero. */
typedef enum hak_density_way {
  HAK_DENSITY_CLEAR, /* it is written to: most of it is resident, and will be needed */
  HAK_DENSITY_RENEW  /* its pages go, and come again as they are touched */
} hak_density_way_t;

/* The way that costs least for such a block. To write to a resident page costs a tenth of
 * what it costs to touch a new one (0.2 us and 1.7), so pages that are there are cleared
 * if they are half of the block or more, and those that are not there do not come for the
 * sake of being cleared. Nor do those stay that are there for it alone, of a block that
 * was cleared and then hardly written to: some lines of it are read. Of blocks of `large`
 * bytes or more pages go all the same, until such blocks were seen to be written to
 * nearly everywhere. Asks the system at most once, and where the last blocks of the size
 * were all alike only of one in a few. */
hak_density_way_t hak_density_way(const hak_os_t *os, char *block, size_t size,
                                  size_t large);

/* A part of a block that may have huge pages is used so far that they cost little. */
HAK_HOT bool hak_density_is_full(size_t used, size_t size) {
  return size - used <= size / 16;
}

#endif
