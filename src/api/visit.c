/* visit.c - every block of a heap that the program holds.
 *
 * A block that is out of its slab is in use, or lies in a cache: of some thread, of a
 * serial heap, or on its way between threads. No thread touches another one's caches, so
 * they are only read: the heap is quiet, and its lease keeps out threads that end, go
 * idle or collect. What is found there is noted in memory of the visit's own; then slabs
 * are looked at, one at a time and under the lease again. Between two looks cached blocks
 * may go home, and slabs that are empty to the pool; both say the same of a block.
 *
 * The visitor is called with no lock and no lease held.
 */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "os/reservation.h"
#include "pool/large.h"
#include "superslab/region.h"
#include "tiny/canary.h"
#include "tiny/depot.h"
#include "tiny/hold.h"
#include "tiny/hole_map.h"
#include "tiny/live.h"

enum {
  BLOCKS_MAX = HAK_SLAB_SIZE / 8,
  BITS = 64
};

typedef struct large_block {
  char *start;
  size_t size;
} large_block_t;

/* What was noted of one heap. First all is counted, then it is written down. */
typedef struct notes {
  char *memory; /* NULL: there is nothing to note, or it is not counted yet */
  size_t bytes;
  uintptr_t *cached; /* a table by hash, 0 = empty; mask + 1 places */
  size_t mask, cached_count;
  large_block_t *mappings;
  size_t mappings_count, mappings_noted;
} notes_t;

typedef struct visit {
  hak_thread_t *me;
  hak_heap_t *heap;
  void *heap_id;      /* what extents of the heap's memory name */
  hak_heap_t *handle; /* as the program knows it */
  hak_visit_fn *fn;
  void *ctx;
  bool go_on;
  notes_t notes;
} visit_t;

/* --- caches --------------------------------------------------------------------- */

static void note_cached(visit_t *v, const void *block) {
  notes_t *n = &v->notes;
  if (n->memory == NULL) {
    n->cached_count++;
    return;
  }
  /* At most half of the places are taken, as all blocks were counted. */
  size_t at = (size_t)hak_mix64((uintptr_t)block) & n->mask;
  while (n->cached[at] != 0) at = (at + 1) & n->mask;
  n->cached[at] = (uintptr_t)block;
}

static bool is_cached(const notes_t *n, const void *block) {
  if (n->cached_count == 0) return false;
  size_t at = (size_t)hak_mix64((uintptr_t)block) & n->mask;
  while (n->cached[at] != 0 && n->cached[at] != (uintptr_t)block) at = (at + 1) & n->mask;
  return n->cached[at] != 0;
}

static void note_list(visit_t *v, const void *block, uint32_t most) {
  for (uint32_t i = 0; i < most && block != HAK_LINK_END; i++) {
    const void *next = hak_link_read(&v->me->key, block);
    if (hak_link_is_broken(&v->me->key, block, next)) return;
    note_cached(v, block);
    block = next;
  }
}

static void note_magazine(visit_t *v, hak_magazine_t *magazine) {
  if (magazine == NULL) return;
  uint32_t count = hak_load_relaxed(&magazine->count);
  for (uint32_t i = 0; i < count; i++) note_cached(v, magazine->blocks[i]);
}

static void note_lists(visit_t *v, hak_magazine_t *magazine) {
  uint32_t count = hak_load_relaxed(&magazine->count);
  for (uint32_t i = 0; i < count; i++) {
    hak_depot_list_t list = hak_depot_unpack(magazine->blocks[i]);
    note_list(v, list.list, list.count);
  }
}

/* Nobody takes a list out meanwhile. */
static void note_depot(visit_t *v, hak_central_t *central) {
  if (hak_depot_is_empty(central)) return;
  hak_lock_acquire(&central->lock);
  for (int stack = 0; stack < HAK_DEPOT_STACKS; stack++) {
    hak_magazine_t *magazine = central->depot[stack];
    for (; magazine != NULL; magazine = magazine->next) note_lists(v, magazine);
  }
  hak_lock_release(&central->lock);
}

static HAK_SLOW void note_bins(visit_t *v, hak_bin_t *bins, hak_hold_t *holds) {
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_bin_t *bin = &bins[cls];
    hak_hold_t *hold = &holds[cls];
    note_list(v, bin->list.head, hak_bin_listed(bin));
    note_list(v, bin->ready, hak_load_relaxed(&bin->ready_count));
    note_list(v, hold->spare, hak_load_relaxed(&hold->spare_count));
    note_magazine(v, hak_load_relaxed(&hold->magazine));
  }
}

static void note_thread(hak_thread_t *thread, void *ctx) {
  visit_t *v = ctx;
  if (v->heap->store == v->me->store) {
    if (hak_load_relaxed(&thread->attached)) note_bins(v, thread->bins, thread->holds);
    return;
  }
  hak_thread_cache_t *cache = hak_cache_find(thread, v->heap);
  if (cache != NULL) note_bins(v, hak_cache_bins(thread, cache), cache->holds);
}

static void note_caches(visit_t *v) {
  hak_threads_visit(note_thread, v);
  hak_serial_t *serial = hak_heap_serial(v->heap);
  if (serial != NULL) note_bins(v, serial->bins, serial->holds);
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    if (!hak_store_has_spans(v->heap->store, cls)) continue;
    hak_central_t *central = &v->heap->store->centrals[cls];
    for (int i = 0; i < HAK_TRANSFER_PLACES; i++) {
      /* Relaxed: it was put there before the heap was quiet, or under the lease. */
      note_magazine(v, hak_load_relaxed(&central->places[i]));
    }
    note_depot(v, central);
  }
}

static bool note_mapping(hak_mapping_t *mapping, void *ctx) {
  visit_t *v = ctx;
  notes_t *n = &v->notes;
  if (hak_load_relaxed(&mapping->extent.heap) != v->heap_id) return true;
  if (n->memory == NULL) {
    n->mappings_count++;
  } else if (n->mappings_noted < n->mappings_count) {
    n->mappings[n->mappings_noted++] =
        (large_block_t){hak_load_relaxed(&mapping->extent.block),
                        hak_load_relaxed(&mapping->extent.size)};
  }
  return true;
}

static void note_all(visit_t *v) {
  note_caches(v);
  hak_mapping_visit(note_mapping, v);
}

/* Memory for what was counted; false if it is short. */
static bool notes_make(notes_t *n) {
  size_t places = 1;
  while (places < 2 * n->cached_count) places *= 2;
  size_t table = places * sizeof(uintptr_t);
  size_t bytes =
      hak_align_up(table + n->mappings_count * sizeof(large_block_t), HAK_SLAB_SIZE);
  const hak_os_t *os = hak_registry_os();
  char *memory = hak_os_reserve(os, bytes, HAK_SLAB_SIZE);
  bool zeroed;
  if (memory == NULL) return false;
  if (!hak_os_commit(os, memory, bytes, &zeroed)) {
    hak_os_unreserve(os, memory, bytes);
    return false;
  }
  if (!zeroed) memset(memory, 0, table);
  n->memory = memory;
  n->bytes = bytes;
  n->cached = (uintptr_t *)(void *)memory;
  n->mask = places - 1;
  n->mappings = (large_block_t *)(void *)(memory + table);
  return true;
}

/* Under the heap's lease. */
static bool notes_take(visit_t *v) {
  v->notes = (notes_t){.memory = NULL};
  note_all(v);
  if (v->notes.cached_count == 0 && v->notes.mappings_count == 0) return true;
  if (!notes_make(&v->notes)) return false;
  note_all(v);
  return true;
}

static void notes_release(notes_t *n) {
  if (n->memory != NULL) hak_os_unreserve(hak_registry_os(), n->memory, n->bytes);
}

/* --- blocks ---------------------------------------------------------------------- */

static void visit_one(visit_t *v, char *start, size_t size) {
  hak_block_t block = {sizeof block, true, start, size, v->handle};
  v->go_on = v->fn(&block, v->ctx);
}

/* What one slab has. */
typedef struct look {
  char *start;
  uint32_t size, carved;            /* of small blocks; carved 0: there are none */
  size_t large;                     /* usable bytes of a large block, or 0 */
  uint64_t free[BLOCKS_MAX / BITS]; /* by index: on a list of the slab */
} look_t;

static void mark_list(const visit_t *v, hak_slab_t *slab, const void *block,
                      look_t *look) {
  uint32_t cls = hak_slab_class(slab);
  for (uint32_t i = 0; i < look->carved && block != HAK_LINK_END; i++) {
    size_t offset = (size_t)((const char *)block - look->start);
    if (offset >= (size_t)hak_slab_span(slab) << HAK_SLAB_SHIFT) return;
    uint32_t index = hak_class_index(cls, offset);
    if (index >= look->carved || !hak_class_is_start(cls, offset)) return;
    const void *next = hak_link_read(&v->me->key, block);
    if (hak_link_is_broken(&v->me->key, block, next)) return;
    look->free[index / BITS] |= (uint64_t)1 << (index % BITS);
    block = next;
  }
}

static void mark_away(hak_slab_t *slab, look_t *look) {
  if (!hak_hole_map_any(slab)) return;
  unsigned shift = hak_hole_page_shift(slab);
  for (uint32_t i = 0; i < look->carved; i++) {
    if (hak_hole_has(slab, shift, (size_t)i * look->size)) {
      look->free[i / BITS] |= (uint64_t)1 << (i % BITS);
    }
  }
}

static void look_at_blocks(const visit_t *v, hak_slab_t *slab, look_t *look) {
  look->carved = hak_slab_carved(slab);
  look->size = hak_class_size(hak_slab_class(slab));
  memset(look->free, 0, hak_div_up(look->carved, BITS) * sizeof look->free[0]);
  mark_list(v, slab, slab->list.head, look);
  /* Relaxed: what was pushed there was before the heap was quiet, or under the lease. */
  uint32_t remote = hak_word_remote_head(hak_load_relaxed(&slab->word));
  if (remote != 0) {
    mark_list(v, slab, look->start + ((size_t)(remote - 1) << 3), look);
  }
  mark_away(slab, look);
}

/* Under the heap's lease, so that nothing goes home meanwhile; the SuperSlab may have
 * left the heap before. */
static void look_at(const visit_t *v, hak_superslab_t *ss, unsigned slot, look_t *look) {
  look->carved = 0;
  look->large = 0;
  if (!hak_thread_lease(v->me, v->heap)) return;
  if (hak_load_relaxed(&ss->extent.heap) == v->heap_id &&
      hak_load_relaxed(&ss->extent.kind) == HAK_EXTENT_SLABS) {
    hak_place_t place = hak_locate((uintptr_t)hak_superslab_slot(ss, slot));
    look->start = place.start;
    if (place.slab == &ss->slabs[slot] && place.cls < HAK_CLASSES) {
      look_at_blocks(v, place.slab, look);
    } else if (place.slab == &ss->slabs[slot] && place.cls == HAK_CLASS_LARGE) {
      look->large = hak_large_usable(&place);
    }
  }
  hak_heap_unlease(v->heap);
}

static HAK_SLOW void visit_slab(visit_t *v, hak_superslab_t *ss, unsigned slot) {
  look_t look;
  look_at(v, ss, slot, &look);
  if (look.large != 0) visit_one(v, look.start, hak_canary_below(look.large));
  for (uint32_t i = 0; i < look.carved && v->go_on; i++) {
    char *block = look.start + (size_t)i * look.size;
    if ((look.free[i / BITS] >> (i % BITS) & 1) == 0 && !is_cached(&v->notes, block) &&
        hak_live_is(&ss->slabs[slot], block)) {
      visit_one(v, block, hak_canary_below(look.size));
    }
  }
}

static bool visit_superslab(hak_superslab_t *ss, void *ctx) {
  visit_t *v = ctx;
  /* What lay idle in caches may go home, and its SuperSlab be another heap's block now.
   * Acquire: pairs with the release in region.c, which publishes whose it is. */
  uint32_t kind = hak_load_acquire(&ss->extent.kind);
  if (hak_load_relaxed(&ss->extent.heap) != v->heap_id) return true;
  if (kind == HAK_EXTENT_RUN) {
    if (hak_load_relaxed(&ss->extent.block) == (void *)ss->extent.base) {
      visit_one(v, ss->extent.base, hak_canary_below(hak_load_relaxed(&ss->extent.size)));
    }
    return v->go_on;
  }
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS && v->go_on; i++) visit_slab(v, ss, i);
  return v->go_on;
}

static bool visit_block(char *block, size_t size, void *ctx) {
  visit_t *v = ctx;
  visit_one(v, block, size);
  return v->go_on;
}

/* 0 or ENOMEM. `used`: a released heap, which may be at its end, is there no more. */
static int visit_heap(visit_t *v, hak_heap_t *heap) {
  if (!hak_kind_has_slabs(heap)) {
    hak_kind_visit(heap, visit_block, v);
    return 0;
  }
  /* What this thread has is its own: fewer blocks to note. */
  hak_kind_flush(v->me, heap);
  if (!hak_thread_lease(v->me, heap)) return EBUSY; /* in a hook, and being changed */
  bool used = hak_heap_is_used(heap), ok = true;
  v->heap = heap;
  v->heap_id = hak_heap_id(heap);
  if (used) ok = notes_take(v);
  hak_heap_unlease(heap);
  if (!used) return 0;
  if (!ok) return ENOMEM;
  hak_region_visit(visit_superslab, v);
  for (size_t i = 0; i < v->notes.mappings_noted && v->go_on; i++) {
    visit_one(v, v->notes.mappings[i].start, hak_canary_below(v->notes.mappings[i].size));
  }
  notes_release(&v->notes);
  if (v->go_on) hak_kind_visit(heap, visit_block, v);
  return 0;
}

/* What heaps without a handle below a heap have is its own. */
static int visit_orphans(visit_t *v, hak_heap_t *heap) {
  int error = 0;
  for (uint32_t i = 0; i < hak_heaps_made() && v->go_on && error == 0; i++) {
    hak_heap_t *orphan = hak_heap_at(i);
    if (orphan != NULL && hak_heap_is_anothers(orphan) &&
        hak_heap_owner(orphan) == hak_heap_handle(heap)) {
      error = visit_heap(v, orphan);
    }
  }
  return error;
}

int hak_heap_visit(hak_heap_t *handle, hak_visit_fn *visit, void *ctx, unsigned flags) {
  if (visit == NULL || flags != 0) return EINVAL;
  hak_heap_t *heap = hak_api_heap(handle);
  if (heap == NULL) return handle == NULL ? ENOMEM : EINVAL;
  hak_thread_t *me = hak_thread_enter();
  if (me == NULL) return ENOMEM;
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  visit_t v = {
      .me = me, .handle = hak_heap_handle(heap), .fn = visit, .ctx = ctx, .go_on = true};
  int error = visit_heap(&v, heap);
  if (error == 0) error = visit_orphans(&v, heap);
  hak_os_leave(before);
  hak_thread_leave(me, "hak_heap_visit");
  return error;
}
