#include "superslab/region_growth.h"

#include "base/option.h"
#include "os/reservation.h"
#include "pages/meta.h"
#include "superslab/huge.h"

static size_t head_size(uint32_t count) {
  return hak_align_up(sizeof(hak_region_t) + hak_div_up(count, HAK_REGION_WORD_BITS) * 8,
                      HAK_CACHE_LINE);
}

/* Reserves *size bytes that the registry covers. Smaller ones, of at least `least` bytes,
 * are tried where a large one is refused or leaves no room for what covers it; *size is
 * then what was got. NULL if memory is short. */
static char *reserve_covered(const hak_os_t *os, size_t *size, size_t least) {
  for (;;) {
    char *start = hak_os_reserve(os, *size, HAK_SUPERSLAB_SIZE);
    if (start != NULL) {
      if (hak_registry_cover(os, (uintptr_t)start, *size)) return start;
      hak_os_unreserve(os, start, *size);
    }
    if (*size == least) return NULL;
    *size = *size / 2 < least ? least : hak_align_down(*size / 2, HAK_SUPERSLAB_SIZE);
  }
}

/* A reservation of about `size` bytes that holds at least `count` SuperSlabs at
 * the alignment. */
static hak_region_t *region_new(const hak_os_t *os, size_t size, uint32_t count,
                                size_t alignment) {
  size_t least = hak_align_up(((size_t)count + 1) << HAK_SUPERSLAB_SHIFT, alignment) +
                 (alignment > HAK_SUPERSLAB_SIZE ? alignment : 0);
  least += hak_align_up(count * sizeof(hak_superslab_t), HAK_SUPERSLAB_SIZE) -
           HAK_SUPERSLAB_SIZE;
  if (size < least) size = least;
  char *start = reserve_covered(os, &size, least);
  if (start == NULL) return NULL;
  uint32_t units = (uint32_t)(size >> HAK_SUPERSLAB_SHIFT);
  size_t head = head_size(units) + units * sizeof(hak_superslab_t);
  uint32_t head_units = (uint32_t)hak_div_up(head, HAK_SUPERSLAB_SIZE);
  size_t first_commit = hak_align_up(head_size(units), os->page_size);
  bool zeroed;
  if (head_units >= units || !hak_os_commit(os, start, first_commit, &zeroed)) {
    hak_os_unreserve(os, start, size);
    return NULL;
  }
  if (!zeroed) __builtin_memset(start, 0, first_commit);
  hak_region_t *region = (hak_region_t *)(void *)start;
  region->os = os;
  region->start = start;
  region->base = start + ((size_t)head_units << HAK_SUPERSLAB_SHIFT);
  region->size = size;
  region->count = units - head_units;
  region->free_count = region->count;
  hak_huge_begin_region(region);
  region->head_committed = first_commit;
  region->superslabs = (hak_superslab_t *)(void *)(start + head_size(units));
  for (uint32_t i = 0; i < region->count; i++) hak_region_set_free(region, i, true);
  return region;
}

/* An empty record for so many SuperSlabs, or a new one. */
static hak_region_t *own_record(uint32_t count) {
  hak_region_t *region;
  hak_lock_acquire(&hak_regions.lock);
  for (region = hak_region_first(); region != NULL; region = hak_region_next(region)) {
    if (region->os != NULL || region->records < count || region->reviving) continue;
    region->reviving = true;
    break;
  }
  hak_lock_release(&hak_regions.lock);
  if (region != NULL) return region;
  size_t size = head_size(count) + count * sizeof(hak_superslab_t);
  region = hak_meta_alloc(hak_registry_os(), size, HAK_CACHE_LINE);
  if (region == NULL) return NULL;
  region->records = count;
  region->superslabs = (hak_superslab_t *)(void *)((char *)region + head_size(count));
  return region;
}

/* A region over a heap's own hooks, to be. */
typedef struct own {
  hak_region_t *region; /* NULL: memory is short */
  char *start;
  size_t size;
  uint32_t units;
} own_t;

static own_t own_region_new(const hak_os_t *os, size_t size, uint32_t count,
                            size_t alignment) {
  size_t least = (size_t)count << HAK_SUPERSLAB_SHIFT;
  if (alignment > HAK_SUPERSLAB_SIZE) least += alignment;
  if (size < least) size = least;
  char *start = reserve_covered(os, &size, least);
  if (start == NULL) return (own_t){NULL, NULL, 0, 0};
  uint32_t units = (uint32_t)(size >> HAK_SUPERSLAB_SHIFT);
  hak_region_t *region = own_record(units);
  if (region == NULL) hak_os_unreserve(os, start, size);
  return (own_t){region, start, size, units};
}

static void link_locked(hak_region_t *region) {
  hak_lock_assert_held(&hak_regions.lock);
  if (hak_regions.last != NULL) {
    /* Release, both: publish the region to hak_region_visit. */
    hak_store_release(&hak_regions.last->next, region);
  } else {
    hak_store_release(&hak_regions.first, region);
  }
  hak_regions.last = region;
}

/* Links the region, or brings its record back to life. */
static void add_own_locked(const own_t *own, const hak_os_t *os) {
  hak_lock_assert_held(&hak_regions.lock);
  hak_region_t *region = own->region;
  region->os = os;
  region->start = region->base = own->start;
  region->size = own->size;
  region->count = region->free_count = own->units;
  region->huge_from = own->units;
  for (uint32_t i = 0; i < own->units; i++) hak_region_set_free(region, i, true);
  if (!region->reviving) link_locked(region);
  region->reviving = false;
  hak_add_relaxed(&hak_regions_reserved, region->size);
}

/* Adds a region over a heap's own hooks. Drops the lock for the OS. */
static bool grow_own_locked(const hak_os_t *os, uint32_t count, size_t alignment) {
  hak_lock_assert_held(&hak_regions.lock);
  hak_lock_release(&hak_regions.lock);
  size_t size = hak_align_down((size_t)hak_option(REGION_BYTES), HAK_SUPERSLAB_SIZE);
  own_t own = own_region_new(os, size, count, alignment);
  hak_lock_acquire(&hak_regions.lock);
  if (own.region != NULL) add_own_locked(&own, os);
  return own.region != NULL;
}

bool hak_region_lay(const hak_os_t *os, char *base, uint32_t count) {
  hak_region_t *region = own_record(count);
  if (region == NULL) return false;
  region->huge_from = count;
  hak_region_init_records(region, 0, count, base, os);
  /* Nothing was reserved for it. */
  own_t own = {region, base, 0, count};
  hak_lock_acquire(&hak_regions.lock);
  add_own_locked(&own, os);
  /* Release: pairs with hak_region_visit, which reads the records. */
  hak_store_release(&region->ready, count);
  hak_lock_release(&hak_regions.lock);
  return true;
}

hak_turn_t *hak_region_turn(const hak_os_t *os) {
  if (hak_os_is_fixed(os)) return NULL;
  if (hak_region_is_common(os)) {
    return hak_turn_take(&hak_regions.growing) ? &hak_regions.growing : NULL;
  }
  hak_turn_t *turn = &hak_regions.growing_own;
  if (!hak_turn_try(turn)) {
    /* Relaxed: if it is out of date, one more or one less waits. */
    bool same = hak_load_relaxed(&hak_regions.own) == os;
    if (!same || !hak_turn_take(turn)) return NULL;
  }
  hak_store_relaxed(&hak_regions.own, os);
  return turn;
}

bool hak_region_grow_locked(const hak_os_t *os, uint32_t count, size_t alignment) {
  hak_lock_assert_held(&hak_regions.lock);
  if (hak_os_is_fixed(os)) return false;
  if (!hak_region_is_common(os)) return grow_own_locked(os, count, alignment);
  size_t size = hak_regions.next_size;
  if (size == 0) size = (size_t)hak_option(REGION_BYTES);
  hak_lock_release(&hak_regions.lock);
  size = hak_align_down(size, HAK_SUPERSLAB_SIZE);
  hak_region_t *region = region_new(os, size, count, alignment);
  hak_lock_acquire(&hak_regions.lock);
  if (region == NULL) return false;
  size_t next = size * 2, most = (size_t)hak_option(REGION_BYTES_MAX);
  hak_regions.next_size = next < most ? next : most;
  link_locked(region);
  hak_add_relaxed(&hak_regions_reserved, region->size);
  hak_add_relaxed(&hak_regions_head_committed, region->head_committed);
  return true;
}

void hak_region_prepare(const hak_os_t *os) {
  hak_lock_acquire(&hak_regions.lock);
  if (hak_region_first() == NULL) hak_region_grow_locked(os, 1, HAK_SUPERSLAB_SIZE);
  hak_lock_release(&hak_regions.lock);
}
