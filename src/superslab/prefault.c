#include "superslab/prefault.h"

#include "base/option.h"
#include "superslab/region.h"

bool hak_prefault_slots(hak_superslab_t *ss, unsigned first, unsigned count) {
  const hak_os_t *os = ss->extent.os;
  size_t page = os->page_size;
  bool zeroed;
  if (count == HAK_SUPERSLAB_SLABS && !ss->region->small && hak_option(HUGE_PAGES) != 0) {
    hak_os_collapse(os, ss->extent.base, HAK_SUPERSLAB_SIZE);
  }
  if (!hak_superslab_commit(ss, first, count, count * (HAK_SLAB_SIZE / page), false,
                            &zeroed)) {
    return false;
  }
  char *start = hak_superslab_slot(ss, first);
  for (size_t at = 0; at < count * HAK_SLAB_SIZE; at += page) {
    ((volatile char *)start)[at] = 0;
  }
  hak_registry_set_entries((uintptr_t)start, count, 0);
  hak_registry_set_class((uintptr_t)start, count, HAK_CLASS_NONE);
  return true;
}
