#include "superslab/region.h"

#include <sched.h>

#include "base/check.h"
#include "base/event.h"
#include "base/option.h"
#include "superslab/meta.h"

hak_regions_t hak_regions = {.lock = HAK_LOCK_INIT(HAK_RANK_REGIONS)};
hak_atomic_u64_t hak_regions_reserved, hak_regions_head_committed;

enum {
  WORD_BITS = 64
};

/* Acquire, both: pair with the releases in grow. */
static hak_region_t *first_region(void) { return hak_load_acquire(&hak_regions.first); }
static hak_region_t *next_region(hak_region_t *region) {
  return hak_load_acquire(&region->next);
}

static uint32_t ready_count(hak_region_t *region) {
  return hak_load_relaxed(&region->ready);
}

static bool is_free(const hak_region_t *region, uint32_t i) {
  return (region->free[i / WORD_BITS] >> (i % WORD_BITS) & 1) != 0;
}

static void set_free(hak_region_t *region, uint32_t i, bool free) {
  uint64_t bit = (uint64_t)1 << (i % WORD_BITS);
  if (free) {
    region->free[i / WORD_BITS] |= bit;
  } else {
    region->free[i / WORD_BITS] &= ~bit;
  }
}

static uint32_t next_free(const hak_region_t *region, uint32_t i) {
  for (uint32_t w = i / WORD_BITS; w < hak_div_up(region->count, WORD_BITS); w++) {
    uint64_t bits = region->free[w];
    if (w == i / WORD_BITS) bits &= ~(uint64_t)0 << (i % WORD_BITS);
    if (bits != 0) return w * WORD_BITS + hak_lowest_bit(bits);
  }
  return region->count;
}

/* Index of the lowest fitting run, or `count` if there is none. */
static uint32_t find_run(const hak_region_t *region, uint32_t count, size_t alignment) {
  if (region->free_count < count) return region->count;
  size_t step = alignment >> HAK_SUPERSLAB_SHIFT;
  size_t origin = (uintptr_t)region->base >> HAK_SUPERSLAB_SHIFT;
  for (uint32_t i = next_free(region, 0); i < region->count;) {
    uint32_t at = (uint32_t)(hak_align_up(origin + i, step) - origin), n = 0;
    while (n < count && at + n < region->count && is_free(region, at + n)) n++;
    if (n == count) return at;
    if (at + n >= region->count) break;
    i = next_free(region, at + n);
  }
  return region->count;
}

static size_t head_size(uint32_t count) {
  return hak_align_up(sizeof(hak_region_t) + hak_div_up(count, WORD_BITS) * 8,
                      HAK_CACHE_LINE);
}

static void advise(hak_region_t *region, uint32_t from) {
  hak_store_relaxed(&region->huge_from, from);
  if (from == region->count) return;
  size_t before = (size_t)from << HAK_SUPERSLAB_SHIFT;
  size_t all = (size_t)region->count << HAK_SUPERSLAB_SHIFT;
  hak_os_advise_huge(region->os, region->base + before, all - before);
}

/* Huge pages serve processes that have grown; a small one must not pay 2 MiB for
 * its first block, so the first SuperSlabs of the process go without. Asked for
 * when the address space comes, so that no later call has to. */
static void ask_for_huge_pages(hak_region_t *region) {
  int64_t mode = region->small ? 0 : hak_option(HUGE_PAGES);
  if (mode != 0 && !hak_os_may_give()) {
    hak_store_relaxed(&region->huge_from, region->count);
    region->unadvised = true;
    return;
  }
  bool first = hak_load_relaxed(&hak_regions.has_common) == 0;
  uint64_t from = mode == 1 && first ? (uint64_t)hak_option(HUGE_PAGES_AFTER) : 0;
  advise(region, mode != 0 && from < region->count ? (uint32_t)from : region->count);
}

void hak_regions_advise(void) {
  if (!hak_os_may_give() || hak_option(HUGE_PAGES) == 0) return;
  for (hak_region_t *region = first_region(); region != NULL;
       region = next_region(region)) {
    hak_lock_acquire(&hak_regions.lock);
    bool due = region->unadvised && region->os != NULL;
    region->unadvised = false;
    /* SuperSlabs that were used have counted their pages as small ones. */
    uint32_t from = ready_count(region);
    if (from < (uint32_t)hak_option(HUGE_PAGES_AFTER) && region == first_region()) {
      from = (uint32_t)hak_option(HUGE_PAGES_AFTER);
    }
    hak_lock_release(&hak_regions.lock);
    if (due) advise(region, from < region->count ? from : region->count);
  }
}

/* A reservation of about `size` bytes that holds at least `count` SuperSlabs at
 * the alignment; smaller ones are tried where a large one is refused. */
static hak_region_t *region_new(const hak_os_t *os, size_t size, uint32_t count,
                                size_t alignment, bool small) {
  size_t least = hak_align_up(((size_t)count + 1) << HAK_SUPERSLAB_SHIFT, alignment) +
                 (alignment > HAK_SUPERSLAB_SIZE ? alignment : 0);
  least += hak_align_up(count * sizeof(hak_superslab_t), HAK_SUPERSLAB_SIZE) -
           HAK_SUPERSLAB_SIZE;
  if (size < least) size = least;
  char *start = NULL;
  for (;;) {
    start = hak_os_reserve(os, size, HAK_SUPERSLAB_SIZE);
    if (start != NULL || size == least) break;
    size = size / 2 < least ? least : hak_align_down(size / 2, HAK_SUPERSLAB_SIZE);
  }
  if (start == NULL) return NULL;
  uint32_t units = (uint32_t)(size >> HAK_SUPERSLAB_SHIFT);
  size_t head = head_size(units) + units * sizeof(hak_superslab_t);
  uint32_t head_units = (uint32_t)hak_div_up(head, HAK_SUPERSLAB_SIZE);
  size_t first_commit = hak_align_up(head_size(units), os->page_size);
  bool zeroed;
  if (head_units >= units || !hak_registry_cover(os, (uintptr_t)start, size) ||
      !hak_os_commit(os, start, first_commit, &zeroed)) {
    hak_os_release(os, start, size);
    return NULL;
  }
  if (!zeroed) __builtin_memset(start, 0, first_commit);
  hak_region_t *region = (hak_region_t *)(void *)start;
  region->os = os;
  region->small = small;
  region->start = start;
  region->base = start + ((size_t)head_units << HAK_SUPERSLAB_SHIFT);
  region->size = size;
  region->count = units - head_units;
  region->free_count = region->count;
  ask_for_huge_pages(region);
  region->head_committed = first_commit;
  region->superslabs = (hak_superslab_t *)(void *)(start + head_size(units));
  for (uint32_t i = 0; i < region->count; i++) set_free(region, i, true);
  return region;
}

/* The process's own hooks: regions stay until shutdown and grow with what is used. */
static bool is_common(const hak_os_t *os) { return os == hak_registry_os(); }

/* An empty record for so many SuperSlabs, or a new one. */
static hak_region_t *own_record(uint32_t count) {
  hak_region_t *region;
  hak_lock_acquire(&hak_regions.lock);
  for (region = first_region(); region != NULL; region = next_region(region)) {
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
  char *start;
  while ((start = hak_os_reserve(os, size, HAK_SUPERSLAB_SIZE)) == NULL && size > least) {
    size = size / 2 < least ? least : hak_align_down(size / 2, HAK_SUPERSLAB_SIZE);
  }
  if (start == NULL) return (own_t){NULL, NULL, 0, 0};
  uint32_t units = (uint32_t)(size >> HAK_SUPERSLAB_SHIFT);
  hak_region_t *region =
      hak_registry_cover(os, (uintptr_t)start, size) ? own_record(units) : NULL;
  if (region == NULL) {
    hak_os_release(os, start, size);
  }
  return (own_t){region, start, size, units};
}

static void init_records(hak_region_t *region, uint32_t from, uint32_t to, char *base,
                         const hak_os_t *os) {
  for (uint32_t i = from; i < to; i++) {
    hak_superslab_init(&region->superslabs[i], region, i,
                       base + ((size_t)i << HAK_SUPERSLAB_SHIFT), os);
  }
}

static void link_locked(hak_region_t *region) {
  if (hak_regions.last != NULL) {
    /* Release, both: publish the region to hak_region_visit. */
    hak_store_release(&hak_regions.last->next, region);
  } else {
    hak_store_release(&hak_regions.first, region);
  }
  hak_regions.last = region;
}

/* Called with the lock held. */
static void add_own(const own_t *own, const hak_os_t *os) {
  hak_region_t *region = own->region;
  region->os = os;
  region->start = region->base = own->start;
  region->size = own->size;
  region->count = region->free_count = own->units;
  hak_store_relaxed(&region->huge_from, own->units);
  for (uint32_t i = 0; i < own->units; i++) set_free(region, i, true);
  if (!region->reviving) link_locked(region);
  region->reviving = false;
  hak_add_relaxed(&hak_regions_reserved, region->size);
}

/* As grow, for a heap's own hooks. */
static bool grow_own(const hak_os_t *os, uint32_t count, size_t alignment) {
  hak_lock_release(&hak_regions.lock);
  size_t size = hak_align_down((size_t)hak_option(ARENA_BYTES), HAK_SUPERSLAB_SIZE);
  own_t own = own_region_new(os, size, count, alignment);
  hak_lock_acquire(&hak_regions.lock);
  if (own.region != NULL) add_own(&own, os);
  return own.region != NULL;
}

bool hak_region_lay(const hak_os_t *os, char *base, uint32_t count) {
  hak_region_t *region = own_record(count);
  if (region == NULL) return false;
  init_records(region, 0, count, base, os);
  /* Nothing was reserved for it. */
  own_t own = {region, base, 0, count};
  hak_lock_acquire(&hak_regions.lock);
  add_own(&own, os);
  /* Release: pairs with hak_region_visit, which reads the records. */
  hak_store_release(&region->ready, count);
  hak_lock_release(&hak_regions.lock);
  return true;
}

/* Adds a region with room for the run; true if it may be there now. */
static bool grow(const hak_os_t *os, uint32_t count, size_t alignment, bool small) {
  if (hak_os_is_fixed(os)) return false;
  if (!is_common(os)) return grow_own(os, count, alignment);
  size_t size = hak_regions.next_size;
  if (size == 0) size = (size_t)hak_option(ARENA_BYTES);
  hak_lock_release(&hak_regions.lock);
  size = hak_align_down(size, HAK_SUPERSLAB_SIZE);
  hak_region_t *region = region_new(os, size, count, alignment, small);
  hak_lock_acquire(&hak_regions.lock);
  if (region == NULL) return false;
  size_t next = size * 2, most = (size_t)hak_option(ARENA_BYTES_MAX);
  hak_regions.next_size = next < most ? next : most;
  link_locked(region);
  if (!small) hak_store_relaxed(&hak_regions.has_common, 1);
  hak_add_relaxed(&hak_regions_reserved, region->size);
  hak_add_relaxed(&hak_regions_head_committed, region->head_committed);
  return true;
}

void hak_region_prepare(const hak_os_t *os) {
  hak_lock_acquire(&hak_regions.lock);
  if (first_region() == NULL) grow(os, 1, HAK_SUPERSLAB_SIZE, false);
  hak_lock_release(&hak_regions.lock);
}

/* Takes a run out of its region's map. Its records up to the last one must be
 * committed before they are touched; *commit_from and *commit_to tell what is
 * missing. */
static void take_run_locked(hak_region_t *region, uint32_t at, uint32_t count) {
  for (uint32_t i = at; i < at + count; i++) {
    set_free(region, i, false);
    if (i < ready_count(region)) {
      hak_superslab_t *ss = &region->superslabs[i];
      if (ss->queue != NULL) hak_superslab_dequeue(ss);
    }
  }
  region->free_count -= count;
  hak_regions.in_use += count;
}

static void untake_run_locked(hak_region_t *region, uint32_t at, uint32_t count) {
  for (uint32_t i = at; i < at + count; i++) {
    set_free(region, i, true);
    if (i < ready_count(region) && hak_superslab_retained(&region->superslabs[i]) != 0) {
      hak_superslab_enqueue(&hak_regions.retained, &region->superslabs[i]);
    }
  }
  region->free_count += count;
  hak_regions.in_use -= count;
}

/* Makes the records of the first `count` SuperSlabs usable; called and returns
 * with the lock held, which it drops for the OS. */
static bool ready_records(hak_region_t *region, uint32_t count) {
  while (ready_count(region) < count) {
    size_t need = (size_t)((char *)&region->superslabs[count] - (char *)region);
    size_t have = region->head_committed;
    if (region->records == 0 && have < need) {
      size_t want = hak_align_up(need, region->os->page_size) - have;
      bool zeroed;
      hak_lock_release(&hak_regions.lock);
      bool ok = hak_os_commit(region->os, (char *)region + have, want, &zeroed);
      if (ok && !zeroed) __builtin_memset((char *)region + have, 0, want);
      hak_lock_acquire(&hak_regions.lock);
      if (!ok) return false;
      region->head_committed = have + want;
      hak_add_relaxed(&hak_regions_head_committed, want);
    }
    init_records(region, ready_count(region), count, region->base, region->os);
    /* Release: pairs with hak_region_visit, which reads the records. */
    hak_store_release(&region->ready, count);
  }
  return true;
}

/* Of a run that was taken out of its region's map: names its owner and lets go of the
 * lock. */
static void hand_out(hak_superslab_t *ss, uint32_t count, hak_extent_kind_t kind,
                     void *heap) {
  hak_superslab_take_all_locked(ss, count);
  for (uint32_t i = 0; i < count; i++) {
    hak_store_relaxed(&ss[i].extent.heap, heap);
    hak_store_relaxed(&ss[i].extent.block, NULL);
    hak_store_relaxed(&ss[i].extent.kind, kind);
  }
  hak_lock_release(&hak_regions.lock);
  for (uint32_t i = 0; i < count; i++) {
    hak_registry_set_extent((uintptr_t)ss[i].extent.base, HAK_SUPERSLAB_SIZE,
                            &ss[i].extent);
  }
  hak_event_emit(HAK_EVENT_SUPERSLAB_NEW, ss->extent.base,
                 (size_t)count << HAK_SUPERSLAB_SHIFT);
}

static hak_superslab_t *acquire(const hak_os_t *os, uint32_t count, size_t alignment,
                                hak_extent_kind_t kind, void *heap, bool small,
                                bool no_grow) {
  hak_region_t *region;
  uint32_t at = 0;
  hak_lock_acquire(&hak_regions.lock);
  for (bool grown = false;; grown = true) {
    for (region = first_region(); region != NULL; region = next_region(region)) {
      if (region->os != os || region->small != (small && is_common(os))) continue;
      at = find_run(region, count, alignment);
      if (at < region->count) break;
    }
    if (region != NULL) break;
    if (no_grow || grown || !grow(os, count, alignment, small)) {
      hak_lock_release(&hak_regions.lock);
      return NULL;
    }
  }
  take_run_locked(region, at, count);
  /* Committing records drops the lock; one thread at a time does it. */
  while (ready_count(region) < at + count && hak_regions.readying) {
    hak_lock_release(&hak_regions.lock);
    hak_cpu_relax();
    hak_lock_acquire(&hak_regions.lock);
  }
  if (ready_count(region) < at + count) {
    bool ok = !no_grow;
    if (ok) {
      hak_regions.readying = true;
      ok = ready_records(region, at + count);
      hak_regions.readying = false;
    }
    if (!ok) {
      untake_run_locked(region, at, count);
      hak_lock_release(&hak_regions.lock);
      return NULL;
    }
  }
  hak_superslab_t *ss = &region->superslabs[at];
  hand_out(ss, count, kind, heap);
  return ss;
}

hak_superslab_t *hak_region_acquire(const hak_os_t *os, uint32_t count, size_t alignment,
                                    hak_extent_kind_t kind, void *heap, bool no_grow) {
  return acquire(os, count, alignment, kind, heap, false, no_grow);
}

hak_superslab_t *hak_region_acquire_small(const hak_os_t *os, uint32_t count,
                                          size_t alignment, hak_extent_kind_t kind,
                                          void *heap, bool no_grow) {
  return acquire(os, count, alignment, kind, heap, true, no_grow);
}

hak_superslab_t *hak_region_acquire_committed(const hak_os_t *os, void *heap,
                                              unsigned slots) {
  enum {
    LOOKS = 64
  };
  hak_lock_acquire(&hak_regions.lock);
  hak_superslab_t *ss = hak_regions.retained.last;
  int looks = 0;
  while (ss != NULL && looks < LOOKS &&
         (ss->extent.os != os || hak_longest_run(hak_load_relaxed(&ss->whole)) < slots)) {
    looks++;
    ss = ss->prev;
  }
  if (ss == NULL || looks == LOOKS) {
    hak_lock_release(&hak_regions.lock);
    return NULL;
  }
  take_run_locked(ss->region, ss->index, 1);
  hand_out(ss, 1, HAK_EXTENT_SLABS, heap);
  return ss;
}

static void give_locked(hak_superslab_t *ss, uint32_t count, uint64_t now) {
  for (uint32_t i = 0; i < count; i++) {
    hak_store_relaxed(&ss[i].extent.kind, HAK_EXTENT_FREE);
    hak_store_relaxed(&ss[i].extent.heap, NULL);
  }
  hak_superslab_uncharge_all(ss, count);
  hak_superslab_put_all_locked(ss, count, now);
  untake_run_locked(ss->region, ss->index, count);
}

void hak_region_give(hak_superslab_t *ss, uint32_t count, uint64_t now) {
  hak_lock_acquire(&hak_regions.lock);
  give_locked(ss, count, now);
  hak_lock_release(&hak_regions.lock);
}

size_t hak_region_purge(uint64_t before, size_t max_bytes, size_t *slabs) {
  size_t given = 0;
  hak_lock_acquire(&hak_regions.lock);
  while (given < max_bytes && *slabs >= HAK_SUPERSLAB_SLABS) {
    hak_superslab_t *ss = hak_regions.retained.first;
    if (ss == NULL || ss->idle_since > before) break;
    uint64_t idle_since = ss->idle_since;
    take_run_locked(ss->region, ss->index, 1);
    hak_superslab_take_locked(ss, 0, HAK_SUPERSLAB_SLABS);
    hak_lock_release(&hak_regions.lock);
    *slabs -= HAK_SUPERSLAB_SLABS;
    unsigned first = 0;
    size_t got = 0;
    /* Within one slab of the bound, from the front. */
    while (first < HAK_SUPERSLAB_SLABS && given + got < max_bytes) {
      unsigned n = HAK_SUPERSLAB_SLABS - first;
      size_t left = max_bytes - given - got;
      if (left < (size_t)n << HAK_SLAB_SHIFT) {
        n = (unsigned)hak_div_up(left, HAK_SLAB_SIZE);
      }
      got += hak_superslab_purge(ss, first, n);
      first += n;
    }
    given += got;
    if (got > 0) {
      hak_event_emit(HAK_EVENT_SUPERSLAB_RELEASE, ss->extent.base, HAK_SUPERSLAB_SIZE);
      hak_event_emit(HAK_EVENT_PURGE, ss->extent.base, got);
    }
    hak_lock_acquire(&hak_regions.lock);
    hak_superslab_put_locked(ss, 0, HAK_SUPERSLAB_SLABS, idle_since);
    untake_run_locked(ss->region, ss->index, 1);
    if (got == 0) break; /* the OS refuses: do not go round for ever */
  }
  hak_lock_release(&hak_regions.lock);
  return given;
}

void hak_region_visit(bool (*visit)(hak_superslab_t *ss, void *ctx), void *ctx) {
  for (hak_region_t *region = first_region(); region != NULL;
       region = next_region(region)) {
    uint32_t ready = hak_load_acquire(&region->ready);
    for (uint32_t i = 0; i < ready; i++) {
      if (!visit(&region->superslabs[i], ctx)) return;
    }
  }
}

/* All its SuperSlabs are out of the map, for good. Another thread that gives pages of
 * one back is done with it soon; if not, it is in the parent of a fork. */
static bool empty_locked(hak_region_t *region) {
  enum {
    TRIES = 100000
  };
  for (int i = 0; region->free_count < region->count; i++) {
    if (i == TRIES) return false;
    hak_lock_release(&hak_regions.lock);
    sched_yield();
    hak_lock_acquire(&hak_regions.lock);
  }
  take_run_locked(region, 0, region->count);
  hak_regions.in_use -= region->count;
  for (uint32_t i = 0; i < ready_count(region); i++) {
    hak_superslab_take_locked(&region->superslabs[i], 0, HAK_SUPERSLAB_SLABS);
    hak_superslab_forget(&region->superslabs[i]);
  }
  return true;
}

static void end_own(hak_region_t *region) {
  uintptr_t base = (uintptr_t)region->base;
  hak_registry_set_extent(base, (size_t)region->count << HAK_SUPERSLAB_SHIFT, NULL);
  hak_sub_relaxed(&hak_regions_reserved, region->size);
  hak_os_release(region->os, region->start, region->size);
  hak_lock_acquire(&hak_regions.lock);
  hak_store_relaxed(&region->ready, 0);
  region->count = 0;
  region->start = NULL;
  region->os = NULL;
  hak_lock_release(&hak_regions.lock);
}

bool hak_regions_end(const hak_os_t *os) {
  bool all = true;
  hak_region_t *region = first_region();
  for (; region != NULL; region = next_region(region)) {
    hak_lock_acquire(&hak_regions.lock);
    bool its = region->os == os, empty = its && empty_locked(region);
    hak_lock_release(&hak_regions.lock);
    if (empty) end_own(region);
    all = all && its == empty;
  }
  return all;
}

bool hak_regions_are_valid(void) {
  bool valid = true;
  hak_lock_acquire(&hak_regions.lock);
  uint32_t in_use = 0;
  for (hak_region_t *region = first_region(); region != NULL;
       region = next_region(region)) {
    uint32_t free_count = 0;
    for (uint32_t i = 0; i < region->count; i++) {
      bool free = is_free(region, i);
      free_count += free;
      if (i >= ready_count(region)) continue;
      hak_superslab_t *ss = &region->superslabs[i];
      if (free &&
          (hak_load_relaxed(&ss->extent.kind) != HAK_EXTENT_FREE ||
           hak_superslab_free(ss) != HAK_ALL_SLOTS || !hak_superslab_is_valid(ss))) {
        valid = false;
      }
    }
    if (free_count != region->free_count) valid = false;
    in_use += region->count - free_count;
  }
  if (in_use != hak_regions.in_use) valid = false;
  hak_lock_release(&hak_regions.lock);
  return valid;
}

void hak_regions_release(void) {
  for (hak_region_t *region = first_region(); region != NULL;) {
    hak_region_t *next = next_region(region);
    hak_sub_relaxed(&hak_regions_reserved, region->start == NULL ? 0 : region->size);
    hak_sub_relaxed(&hak_regions_head_committed, region->head_committed);
    if (region->start != NULL) hak_os_release(region->os, region->start, region->size);
    region = next;
  }
  hak_store_relaxed(&hak_regions.first, NULL);
  hak_regions.last = NULL;
  hak_regions.next_size = 0;
  hak_store_relaxed(&hak_regions.has_common, 0);
  hak_regions.in_use = 0;
  hak_regions.retained = (hak_superslab_queue_t){NULL, NULL};
}
