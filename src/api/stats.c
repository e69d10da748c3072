/* stats.c - sums over slabs, caches and counters; nothing is kept twice. */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "api/blocks.h"
#include "api/rows.h"
#include "base/lock.h"
#include "heap/fork.h"
#include "os/reservation.h"
#include "pages/meta.h"
#include "pool/large.h"
#include "superslab/region.h"
#include "superslab/retention.h"

/* What is counted of a heap and those below it, or of all; blocks by class. */
typedef struct tally {
  hak_heap_t *within; /* NULL: all heaps */
  hak_heap_t *quiet;  /* under the caller's lease and not used, or NULL */
  hak_blocks_t blocks;
  hak_slot_states_t slots; /* of all SuperSlabs that were ever used */
  uint64_t annexed;        /* of the active ones: an annex's, used or not */
  uint64_t superslabs;     /* those of runs too */
  /* Of a heap only; a process has counters for these, but for large blocks that lie in no
   * slab, run or mapping. */
  uint64_t active, large_blocks;
  uint64_t large_bytes, committed, reserved; /* bytes */
  uint64_t other_blocks, other_bytes;        /* in use, not in slabs, runs or mappings */
  hak_rows_t rows;                           /* of the process only */
  uint64_t mapped;                           /* of the process: usable, in mappings */
} tally_t;

static bool is_within(const tally_t *tally, hak_heap_t *heap) {
  if (tally->within == NULL) return true;
  for (; heap != NULL; heap = hak_heap_above(heap)) {
    if (heap == tally->within) return true;
    /* An orphan without a parent is the default heap's. */
    if (hak_heap_above(heap) == NULL && hak_heap_is_orphan(heap)) {
      return tally->within == hak_heap_get_default();
    }
  }
  return false;
}

static void add_large(tally_t *tally, uint64_t size) {
  tally->large_blocks++;
  tally->large_bytes += size;
}

/* An external region counts as a whole, however much of it is used. */
static void add_reserved(tally_t *tally, const hak_superslab_t *ss) {
  tally->superslabs++;
  if (!hak_os_is_fixed(ss->extent.os)) tally->reserved += HAK_SUPERSLAB_SIZE;
}

static void add_run(tally_t *tally, hak_superslab_t *ss) {
  if (hak_load_relaxed(&ss->extent.block) != (void *)ss->extent.base) return;
  add_large(tally, hak_load_relaxed(&ss->extent.size));
}

static bool add_superslab(hak_superslab_t *ss, void *ctx) {
  tally_t *tally = ctx;
  hak_superslab_add_states(ss, &tally->slots);
  if (tally->within == NULL) hak_rows_add_superslab(&tally->rows, ss);
  /* Acquire: pairs with the release in region.c, which publishes whose it is. */
  uint32_t kind = hak_load_acquire(&ss->extent.kind);
  hak_heap_t *heap = hak_heap_of_extent(&ss->extent);
  if (kind == HAK_EXTENT_EXTERNAL && tally->within == NULL) {
    tally->annexed += HAK_SUPERSLAB_SLABS;
  }
  if (kind == HAK_EXTENT_FREE || heap == NULL || !is_within(tally, heap)) return true;
  add_reserved(tally, ss);
  if (kind == HAK_EXTENT_RUN) {
    if (tally->within != NULL) add_run(tally, ss);
    return true;
  }
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    hak_place_t place = hak_locate((uintptr_t)hak_superslab_slot(ss, i));
    tally->annexed += place.cls == HAK_CLASS_EXTERNAL;
    /* gcc, which sees the whole library in hakmem.c, warns of reads at NULL if only the
     * second comparison says that there is a slab. */
    if (place.slab == NULL || place.slab != &ss->slabs[i]) continue;
    bool small = place.cls < HAK_CLASSES, large = place.cls == HAK_CLASS_LARGE;
    uint32_t carved = hak_slab_carved(place.slab);
    if (small) hak_blocks_add_slab(&tally->blocks, place.slab, place.cls, carved);
    if (large && tally->within != NULL) add_large(tally, hak_large_usable(&place));
    if ((small || large) && tally->within == NULL) {
      hak_rows_add_span(&tally->rows, ss, &place, carved);
    }
  }
  return true;
}

typedef struct cache_tally {
  tally_t *tally;
  hak_thread_t *thread;
} cache_tally_t;

static void add_cache(hak_thread_cache_t *cache, void *ctx) {
  cache_tally_t *f = ctx;
  /* Acquire: pairs with hak_cache_make. */
  if (hak_load_acquire(&cache->heap_id) == NULL || !is_within(f->tally, cache->heap))
    return;
  /* The thread's own, unless somebody tears the heap down at this moment. */
  bool quiet = cache->heap == f->tally->quiet;
  bool leased = !quiet && f->tally->quiet == NULL && f->thread == hak_thread_self &&
                hak_heap_try_lease(cache->heap);
  bool walk = quiet || (leased && hak_load_relaxed(&cache->heap_id) != NULL);
  hak_blocks_add_bins(&f->tally->blocks, &f->thread->key,
                      hak_cache_bins(f->thread, cache), cache->holds, walk);
  if (leased) hak_heap_unlease(cache->heap);
}

static void add_thread(hak_thread_t *thread, void *ctx) {
  tally_t *tally = ctx;
  if (!hak_load_relaxed(&thread->attached)) return;
  if (is_within(tally, hak_heap_get_default())) {
    hak_blocks_add_bins(&tally->blocks, &thread->key, thread->bins, thread->holds,
                        thread == hak_thread_self);
    hak_blocks_add_quarantine(&tally->blocks, thread);
  }
  cache_tally_t f = {tally, thread};
  hak_caches_visit(thread, add_cache, &f);
}

/* The thread that has the serial heap may be changing its lists at this moment, so they
 * are walked only if the heap is quiet. */
static void add_serial(hak_heap_t *heap, tally_t *tally) {
  hak_serial_t *serial = hak_heap_serial(heap);
  if (serial != NULL) {
    hak_blocks_add_bins(&tally->blocks, &serial->key, serial->bins, serial->holds,
                        heap == tally->quiet);
  }
}

static hak_atomic_u64_t peak_committed;

static uint64_t committed(void) {
  return hak_load_relaxed(&hak_slots_committed) +
         hak_load_relaxed(&hak_mappings_committed) +
         hak_load_relaxed(&hak_meta_committed) + hak_load_relaxed(&hak_os_notes_bytes) +
         hak_load_relaxed(&hak_registry_reserved);
}

/* Memory of the caller's counts for the heap but not for the process, which never asked
 * for it. */
static void add_figures(tally_t *tally, hak_heap_t *heap) {
  hak_kind_figures_t figures = hak_kind_figures(heap);
  bool large = hak_kind_has_slabs(heap);
  *(large ? &tally->large_blocks : &tally->other_blocks) += figures.blocks;
  *(large ? &tally->large_bytes : &tally->other_bytes) += figures.block_bytes;
  if (tally->within == NULL) return;
  tally->committed += figures.memory;
  tally->reserved += figures.memory;
  if (hak_heap_kind(heap) == HAK_KIND_MALLOCED) tally->reserved += figures.block_bytes;
}

/* What a heap is charged covers those below it that are charged to it: what released
 * heaps without a parent left behind, and what lies below memory of the caller's, is
 * not. */
static bool is_charged_to_nobody_else(const tally_t *tally, hak_heap_t *heap) {
  if (hak_heap_is_enclosed(heap)) return true;
  hak_heap_t *above = hak_heap_charged_above(heap);
  return above == NULL || !is_within(tally, above);
}

static HAK_SLOW void add_all(tally_t *tally) {
  hak_region_visit(add_superslab, tally);
  hak_threads_visit(add_thread, tally);
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap == NULL || !hak_heap_is_used(heap) || !is_within(tally, heap)) continue;
    add_figures(tally, heap);
    if (hak_heap_kind(heap) == HAK_KIND_EXTERNAL) continue;
    hak_blocks_add_transfer(&tally->blocks, heap);
    add_serial(heap, tally);
    hak_shared_pool_t *pool = &heap->store->pool;
    if (tally->within == NULL) {
      tally->mapped += hak_load_relaxed(&pool->mapped_bytes);
      continue;
    }
    uint64_t bytes = hak_load_relaxed(&pool->mapped_bytes);
    tally->large_blocks += hak_load_relaxed(&pool->mapped_blocks);
    tally->large_bytes += bytes;
    if (is_charged_to_nobody_else(tally, heap)) {
      tally->committed += hak_load_relaxed(&pool->budget.charged);
    }
    tally->reserved += bytes;
    tally->active += hak_load_relaxed(&pool->taken);
  }
}

static uint64_t above(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

static void fill_blocks(const tally_t *tally, hak_stats_t *s) {
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    uint64_t size = hak_class_size(cls), live = hak_blocks_live(&tally->blocks, cls);
    s->live_blocks += live;
    s->live_bytes += live * size;
    if (hak_class_is_single(cls)) {
      s->large_blocks += live;
      s->large_bytes += live * size;
    }
    s->cached_bytes += hak_blocks_cached(&tally->blocks, cls) * size;
    s->free_bytes += tally->blocks.free[cls] * size;
  }
  s->superslabs = tally->superslabs;
  s->live_blocks += tally->other_blocks;
  s->live_bytes += tally->other_bytes;
}

static void fill_heap(hak_heap_t *heap, hak_stats_t *s) {
  tally_t tally;
  memset(&tally, 0, sizeof tally);
  tally.within = heap;
  add_all(&tally);
  s->large_blocks = tally.large_blocks;
  s->large_bytes = tally.large_bytes;
  s->live_blocks = tally.large_blocks;
  s->live_bytes = tally.large_bytes;
  fill_blocks(&tally, s);
  s->committed_bytes = tally.committed;
  uint64_t peak = hak_load_relaxed(&heap->store->pool.budget.peak);
  s->peak_committed_bytes = peak > tally.committed ? peak : tally.committed;
  hak_budget_t *budget = &heap->store->pool.budget;
  uint64_t soft = hak_load_relaxed(&budget->soft), hard = hak_load_relaxed(&budget->hard);
  s->soft_limit = soft == HAK_BUDGET_NONE ? 0 : soft;
  /* An external region that is short of slots has a hard limit that no program set. */
  s->hard_limit = hard == HAK_BUDGET_NONE || hak_heap_is_enclosed(heap) ? 0 : hard;
  s->budget_refused = hak_load_relaxed(&budget->refused);
  s->reserved_bytes = tally.reserved;
  s->slabs_active = above(tally.active, tally.annexed);
}

void hak_api_count_live(hak_heap_t *heap, hak_live_t *out) {
  tally_t tally;
  memset(&tally, 0, sizeof tally);
  tally.within = tally.quiet = heap;
  hak_heap_lease(heap);
  add_all(&tally);
  hak_heap_unlease(heap);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    out->blocks[cls] = hak_blocks_live(&tally.blocks, cls);
  }
  out->other_blocks = tally.large_blocks + tally.other_blocks;
  out->other_bytes = tally.large_bytes + tally.other_bytes;
}

/* Read while they change, differences may be off, but not below zero. */
static void fill_rows(const tally_t *tally, hak_stats_t *s) {
  const hak_rows_t *rows = &tally->rows;
  uint64_t mapped = above(hak_load_relaxed(&hak_mappings_committed),
                          hak_load_relaxed(&hak_mappings_retained));
  s->uncarved_bytes = above(rows->taken, rows->large + rows->carved + rows->waste);
  s->class_waste_bytes = rows->waste;
  s->large_slack_bytes = above(rows->large + mapped, rows->usable + tally->mapped);
  s->foreign_bytes = rows->foreign + tally->other_bytes + tally->large_bytes;
  s->untouched_bytes = rows->untouched;
  s->hole_bytes = rows->holes;
}

static void fill_process(hak_stats_t *s) {
  tally_t tally;
  memset(&tally, 0, sizeof tally);
  add_all(&tally);
  hak_rows_add_mappings(&tally.rows);
  hak_rows_add_registry(&tally.rows);
  hak_rows_add_heaps(&tally.rows);
  tally.rows.records += hak_load_relaxed(&hak_meta_uncut);
  fill_rows(&tally, s);
  s->committed_bytes =
      above(committed(), s->untouched_bytes + s->hole_bytes + tally.rows.records);
  uint64_t peak = hak_load_relaxed(&peak_committed);
  while (s->committed_bytes > peak &&
         !hak_cas_relaxed(&peak_committed, &peak, s->committed_bytes)) {}
  s->peak_committed_bytes = hak_load_relaxed(&peak_committed);
  s->retained_bytes = hak_retained_bytes();
  s->metadata_bytes = hak_load_relaxed(&hak_meta_committed) +
                      hak_load_relaxed(&hak_os_notes_bytes) +
                      hak_load_relaxed(&hak_registry_reserved);
  s->metadata_bytes = above(s->metadata_bytes, tally.rows.records);
  s->reserved_bytes =
      hak_load_relaxed(&hak_regions_reserved) + hak_load_relaxed(&hak_mappings_reserved) +
      hak_load_relaxed(&hak_cells_bytes) + hak_load_relaxed(&hak_meta_reserved) +
      hak_load_relaxed(&hak_os_notes_bytes) + hak_load_relaxed(&hak_registry_reserved);
  s->slabs_active = above(tally.slots.active, tally.annexed);
  s->slabs_empty = tally.slots.empty;
  s->slabs_purged = tally.slots.purged;
  s->slabs_unused = tally.slots.unused;
  hak_counts_t counts;
  memset(&counts, 0, sizeof counts);
  uint32_t attached;
  hak_threads_sum(&counts, &attached);
  s->threads = attached;
#define HAK_COUNTER(name) s->name = hak_load_relaxed(&counts.name);
#include "tiny/counters.def"
#undef HAK_COUNTER
  s->large_blocks += tally.large_blocks;
  s->large_bytes += tally.large_bytes;
  /* Read while they change, the sums may be off, but not below zero. */
  if ((int64_t)s->large_blocks < 0) s->large_blocks = 0;
  if ((int64_t)s->large_bytes < 0) s->large_bytes = 0;
  s->live_blocks = s->large_blocks;
  s->live_bytes = s->large_bytes;
  fill_blocks(&tally, s);
}

static void fill_os(hak_stats_t *s) {
  s->os_reserve = hak_load_relaxed(&hak_os_counts.reserve);
  s->os_release = hak_load_relaxed(&hak_os_counts.release);
  s->os_commit = hak_load_relaxed(&hak_os_counts.commit);
  s->os_purge = hak_load_relaxed(&hak_os_counts.purge);
  s->os_remap = hak_load_relaxed(&hak_os_counts.remap);
  s->os_advise = hak_load_relaxed(&hak_os_counts.advise);
  s->os_failures = hak_load_relaxed(&hak_os_counts.failures);
  s->purged_bytes = hak_load_relaxed(&hak_os_counts.purged_bytes);
  s->lock_contended = hak_load_relaxed(&hak_lock_contended);
  s->fork_lost_bytes = hak_forking_lost_bytes();
  s->unreleased_bytes = hak_load_relaxed(&hak_os_unreleased_bytes) +
                        hak_load_relaxed(&hak_os_counts.stray_bytes);
}

/* An older caller's record is shorter; it gets what it knows. */
enum {
  STATS_LEAST = 2 * sizeof(uint32_t) + sizeof(uint64_t)
};

static HAK_SLOW int stats_get(hak_heap_t *heap, hak_stats_t *out, bool running) {
  hak_heap_t *record = NULL;
  if (heap != NULL && (record = hak_api_heap(heap)) == NULL) return EINVAL;
  uint32_t known = out->struct_size;
  hak_stats_t stats;
  memset(&stats, 0, sizeof stats);
  if (record != NULL) {
    fill_heap(record, &stats);
  } else {
    fill_os(&stats);
    if (running) fill_process(&stats);
  }
  stats.struct_size = known;
  memcpy(out, &stats, known < sizeof stats ? known : sizeof stats);
  return 0;
}

int hak_stats_get(hak_heap_t *heap, hak_stats_t *out) {
  if (out == NULL || out->struct_size < STATS_LEAST) return EINVAL;
  hak_stay_t stay = hak_stay();
  int error = stats_get(heap, out, stay != HAK_STAY_NONE);
  hak_stay_end(stay);
  return error;
}

/* --- by size class -------------------------------------------------------------- */

static void fill_class(const tally_t *tally, uint32_t cls, hak_class_stats_t *out) {
  out->size = hak_class_size(cls);
  out->live_blocks = hak_blocks_live(&tally->blocks, cls);
  out->cached_blocks = hak_blocks_cached(&tally->blocks, cls);
  out->free_blocks = tally->blocks.free[cls];
}

/* The records lie struct_size bytes apart, as the caller's are. */
static void fill_classes(hak_heap_t *heap, hak_class_stats_t *out, size_t count) {
  tally_t tally;
  memset(&tally, 0, sizeof tally);
  tally.within = heap;
  add_all(&tally);
  uint32_t size = out->struct_size;
  for (size_t cls = 0; cls < count && cls < HAK_CLASSES; cls++) {
    hak_class_stats_t *row = (hak_class_stats_t *)(void *)((char *)out + cls * size);
    row->struct_size = size;
    row->reserved = 0;
    fill_class(&tally, (uint32_t)cls, row);
  }
}

/* Records that lie so many bytes apart can be filled. */
static bool are_rows_valid(const hak_class_stats_t *out) {
  return out != NULL && hak_is_aligned((uintptr_t)out, _Alignof(hak_class_stats_t)) &&
         out->struct_size >= sizeof *out &&
         out->struct_size % _Alignof(hak_class_stats_t) == 0;
}

size_t hak_stats_classes(hak_heap_t *handle, hak_class_stats_t *out, size_t count) {
  hak_heap_t *heap = handle == NULL ? NULL : hak_api_heap(handle);
  if ((count > 0 && !are_rows_valid(out)) || (handle != NULL && heap == NULL)) {
    errno = EINVAL;
    return 0;
  }
  hak_stay_t stay = hak_stay();
  if (count > 0 && stay != HAK_STAY_NONE) fill_classes(heap, out, count);
  hak_stay_end(stay);
  return stay == HAK_STAY_NONE ? 0 : HAK_CLASSES;
}
