#include "superslab/clean.h"

#include <string.h>

#include "os/written.h"

#if HAK_CHECKS >= 3
static uint32_t clean_of(const hak_superslab_t *ss) {
  return hak_load_relaxed(&((hak_superslab_t *)ss)->clean);
}
void hak_clean_note(hak_superslab_t *ss, uint32_t slots) {
  if ((clean_of(ss) & slots) != slots) hak_or_relaxed(&ss->clean, slots);
}
#else
static uint32_t clean_of(const hak_superslab_t *ss) {
  (void)ss;
  return 0;
}
void hak_clean_note(hak_superslab_t *ss, uint32_t slots) {
  (void)ss;
  (void)slots;
}
#endif

static size_t bytes_there(const hak_superslab_t *ss, unsigned slot) {
  const hak_os_t *os = ss->extent.os;
  return hak_os_is_fixed(os) ? HAK_SLAB_SIZE
                             : hak_slab_pages(&ss->slabs[slot]) * os->page_size;
}

void hak_clean_begin(hak_superslab_t *ss, unsigned first, size_t from, size_t bytes,
                     bool zeroed) {
  if (HAK_CHECKS < 3 || from >= bytes) return;
  unsigned had = (unsigned)(from / HAK_SLAB_SIZE);
  unsigned has = (unsigned)hak_div_up(bytes, HAK_SLAB_SIZE);
  uint32_t slots = hak_mask32(first + had, has - had);
  /* Of slots that were said to be zero all pages are, those behind the block's end too:
   * see hak_superslab_commit. */
  uint32_t dirty = zeroed ? 0 : slots & ~clean_of(ss);
  for (; dirty != 0; dirty &= dirty - 1) {
    unsigned slot = hak_lowest_bit(dirty);
    size_t skip = slot == first + had ? from % HAK_SLAB_SIZE : 0;
    size_t there = bytes_there(ss, slot);
    if (there > skip) memset(hak_superslab_slot(ss, slot) + skip, 0, there - skip);
  }
  hak_clean_note(ss, slots);
}

const void *hak_clean_find(const hak_superslab_t *ss, uint32_t slots) {
  if (HAK_CHECKS < 3) return NULL;
  const hak_os_t *os = ss->extent.os;
  slots &= clean_of(ss);
  while (slots != 0) {
    unsigned first = hak_lowest_bit(slots), count = hak_lowest_run(slots);
    /* What was purged of the system's may be touched and reads as zero. */
    if (!hak_os_keeps_zeroes(os)) count = 1;
    size_t bytes =
        hak_os_keeps_zeroes(os) ? count * HAK_SLAB_SIZE : bytes_there(ss, first);
    const void *found = hak_os_find_written(os, hak_superslab_slot(ss, first), bytes);
    if (found != NULL) return found;
    slots &= ~hak_mask32(first, count);
  }
  return NULL;
}
