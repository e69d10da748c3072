#include "heap/fork.h"

#include <string.h>

#include "base/callee.h"
#include "external/external_heap.h"
#include "external/malloced.h"
#include "heap/fork_caches.h"
#include "heap/give_up.h"
#include "heap/hole_sweep.h"
#include "heap/own_os.h"
#include "heap/phase.h"
#include "heap/stay.h"
#include "heap/teardown.h"
#include "heap/thread_state.h"
#include "heap/threads.h"
#include "learn/origin.h"
#include "os/reservation.h"
#include "pages/external_range.h"
#include "pages/mapping.h"
#include "pages/meta.h"
#include "superslab/pool_prefault.h"
#include "superslab/region.h"
#include "tiny/capacity.h"
#include "tiny/magazine.h"
#include "tiny/reclaim.h"

/* --- locks ----------------------------------------------------------------- */

static void take(hak_lock_t *l) { hak_lock_acquire_unranked(l); }
static void give(hak_lock_t *l) { hak_lock_release_unranked(l); }

/* Of a heap's classes only those are locked that have slabs: the others' locks lie
 * in memory that nobody has touched, and to take them, or only to look at them, would
 * cost a process with thousands of heaps more than the fork. Which classes those are is
 * known under the pool's lock, which comes last: who begins one has marked it as begun,
 * and counted its span, before that. The partial lists' locks share a rank but are taken
 * here by one thread in a fixed order, while nobody holds two. */
static HAK_SLOW void give_heap(hak_heap_t *heap) {
  give(&heap->store->pool.lock);
  for (uint64_t rest = heap->forking; rest != 0; rest &= rest - 1) {
    give(&heap->store->centrals[hak_lowest_bit(rest)].lock);
  }
}

/* Classes with slabs. */
static HAK_SLOW uint64_t classes_with_spans(hak_store_t *store) {
  uint64_t with = 0;
  for (uint64_t rest = hak_load_relaxed(&store->begun); rest != 0; rest &= rest - 1) {
    uint32_t cls = hak_lowest_bit(rest);
    if (hak_load_relaxed(hak_store_spans(store, cls)) != 0) with |= (uint64_t)1 << cls;
  }
  return with;
}

static HAK_SLOW void take_heap(hak_heap_t *heap) {
  for (;;) {
    uint64_t with = classes_with_spans(heap->store);
    if (heap->forking != with) heap->forking = with;
    for (uint64_t rest = with; rest != 0; rest &= rest - 1) {
      take(&heap->store->centrals[hak_lowest_bit(rest)].lock);
    }
    take(&heap->store->pool.lock);
    if ((classes_with_spans(heap->store) & ~with) == 0) return;
    give_heap(heap);
  }
}

/* In the child. A thread that is not there may have been at a heap's caches, or have
 * just put a class's last slab back under a lock that was not taken: nothing hangs on
 * it any more. What is as it should be is not written to, as each page that is has to be
 * copied. */
static HAK_SLOW void free_heap(hak_heap_t *heap) {
  give_heap(heap);
  if (hak_load_relaxed(&heap->lease.held) != HAK_WORD_FREE) hak_lease_reset(&heap->lease);
  hak_pool_forget_visit(&heap->store->pool);
  uint64_t rest = hak_load_relaxed(&heap->store->begun);
  for (; rest != 0; rest &= rest - 1) {
    hak_lock_t *lock = &heap->store->centrals[hak_lowest_bit(rest)].lock;
    if (hak_load_relaxed(&lock->held) != HAK_WORD_FREE) give(lock);
  }
}

static void each_heap(void (*act)(hak_heap_t *heap)) {
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap != NULL) act(heap);
  }
}

static void each_late_lock(void (*act)(hak_lock_t *)) {
  act(hak_malloced_lock());
  act(hak_external_ranges_lock());
  act(hak_pool_queue_lock());
  act(&hak_regions.lock);
  act(hak_mappings_lock());
  act(hak_magazines_lock());
  act(hak_origins_lock());
  act(hak_os_unreleased_lock());
  act(hak_meta_lock());
  act(hak_callees_lock());
}

/* How often the fork under way was prepared: two threads that start the library may both
 * register the handlers, and who calls them by hand may not know that they are
 * registered. Changed by the thread that is at the fork, while others wait for the phase.
 */
static unsigned prepared;

/* All locks, in the order of their ranks. */
HAK_SLOW void hak_forking_prepare(void) {
  hak_phase_hold();
  if (prepared++ > 0) return;
  take(hak_threads_lock());
  take(hak_heaps_lock());
  each_heap(take_heap);
  hak_externals_each_lock(take, true);
  each_late_lock(take);
}

static void give_all(void (*heap)(hak_heap_t *heap)) {
  each_late_lock(give);
  hak_externals_each_lock(give, false);
  each_heap(heap);
  give(hak_heaps_lock());
  give(hak_threads_lock());
}

void hak_forking_parent(void) {
  if (--prepared > 0) return;
  give_all(give_heap);
  hak_phase_unhold();
}

/* --- what is lost ---------------------------------------------------------- */

/* Bytes on lists of threads that were in a slow path, at this fork and at those before.
 */
static hak_atomic_u64_t lost_cached;
/* Bytes that such threads were giving back to the OS, or had just been given by it. */
static hak_atomic_u64_t lost_ranges;

uint64_t hak_forking_lost_bytes(void) {
  return hak_load_relaxed(&lost_cached) + hak_load_relaxed(&lost_ranges);
}

static void count_cache(hak_thread_cache_t *cache, void *ctx) {
  if (hak_load_relaxed(&cache->heap_id) == NULL) return;
  uint64_t bytes = hak_reclaim_cached(hak_cache_bins(ctx, cache), cache->holds);
  hak_add_relaxed(&lost_cached, bytes);
}

/* --- threads that are not there -------------------------------------------- */

/* A thread that was in a slow path is torn: its lists may be in any state. A bit for each
 * code, while the child deals with the fork. */
enum {
  BITS = 64
};
static uint64_t torn[(HAK_CODE_MASK + 1) / BITS];

static bool is_torn(uint32_t code) { return (torn[code / BITS] >> code % BITS & 1) != 0; }

static void note_torn(hak_thread_t *state, void *any) {
  if (!hak_threads_is_lost(state) || hak_load_relaxed(&state->busy) == 0) return;
  torn[state->code / BITS] |= (uint64_t)1 << state->code % BITS;
  *(bool *)any = true;
}

static void count_lists(hak_thread_t *state, void *ctx) {
  (void)ctx;
  if (!hak_threads_is_lost(state)) return;
  uint64_t cached = hak_reclaim_cached(state->bins, state->holds);
  hak_add_relaxed(&lost_cached, cached + state->in_hand);
  hak_caches_visit(state, count_cache, state);
}

static void drop_torn(hak_thread_t *state, void *ctx) {
  if (!is_torn(state->code)) return;
  count_lists(state, ctx);
  hak_fork_drop_caches(state);
  hak_threads_reset(state);
  state->empties = NULL;
  state->empty_count = 0;
}

static HAK_SLOW void mend_bins(const hak_thread_t *state, hak_bin_t *bins,
                               hak_hold_t *holds) {
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_reclaim_mark_unsure(&holds[cls]);
    hak_reclaim_mend(state, &bins[cls]);
  }
}

static HAK_SLOW void mend_cache(hak_thread_cache_t *cache, void *state) {
  if (hak_load_relaxed(&cache->heap_id) == NULL) return;
  mend_bins(state, hak_cache_bins(state, cache), cache->holds);
}

/* The lists of a thread that was outside of slow paths are whole, or can be mended. */
static HAK_SLOW void leave_whole(hak_thread_t *state, void *ctx) {
  (void)ctx;
  if (!hak_threads_is_lost(state) || is_torn(state->code)) return;
  if (state == hak_threads_shared()) return; /* it goes on serving threads */
  mend_bins(state, state->bins, state->holds);
  hak_caches_visit(state, mend_cache, state);
  hak_give_up_at_end(state);
}

/* --- slots and slabs of torn threads ---------------------------------------- */

static void forget_spans(hak_heap_t *heap) {
  for (uint32_t cls = 0; cls < HAK_SHARED_CLASSES; cls++) {
    hak_atomic_u32_t *spans = hak_store_spans(heap->store, cls);
    if (hak_load_relaxed(spans) != 0) hak_store_relaxed(spans, 0);
  }
}

static bool is_of_torn(uint64_t word) {
  return hak_word_state(word) == HAK_SLAB_HELD &&
         is_torn((uint32_t)(word >> HAK_WORD_HOLDER_SHIFT) & HAK_CODE_MASK);
}

static hak_heap_t *heap_of(hak_superslab_t *ss) {
  hak_heap_t *heap = hak_heap_of_extent(&ss->extent);
  bool ok = heap != NULL && hak_heap_id(heap) == hak_load_relaxed(&ss->extent.heap);
  return ok ? heap : NULL;
}

/* Calls `look` for slabs and large blocks. Returns the slots that are neither theirs nor
 * free. */
static uint32_t each_slab(hak_superslab_t *ss, hak_heap_t *heap,
                          void (*look)(hak_heap_t *heap, hak_slab_t *slab, void *ctx),
                          void *ctx) {
  uint32_t taken = ~hak_superslab_free(ss), unowned = 0;
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS;) {
    hak_slab_t *slab = &ss->slabs[i];
    bool used = hak_word_state(hak_load_relaxed(&slab->word)) != HAK_SLAB_FREE ||
                hak_slab_class(slab) == HAK_CLASS_LARGE;
    if ((taken >> i & 1) == 0 || !used) {
      unowned |= taken & (uint32_t)1 << i++;
      continue;
    }
    i += hak_slab_span(slab) > 0 ? hak_slab_span(slab) : 1; /* read before it may go */
    look(heap, slab, ctx);
  }
  return unowned;
}

static void count_span(hak_heap_t *heap, hak_slab_t *slab, void *ctx) {
  (void)ctx;
  uint32_t cls = hak_slab_class(slab);
  if (hak_class_is_single(cls)) return;
  hak_add_relaxed(hak_store_spans(heap->store, cls), 1);
}

/* True for a SuperSlab of a run that a lost thread was getting or giving back: the run's
 * first SuperSlab names no block. */
static bool is_no_block(hak_superslab_t *ss) {
  void *block = hak_load_relaxed(&ss->extent.block);
  if (block == NULL || block == (void *)ss->extent.base) return block == NULL;
  hak_extent_t *head = hak_registry_extent((uintptr_t)block);
  return head == NULL || hak_load_relaxed(&head->kind) != HAK_EXTENT_RUN ||
         hak_load_relaxed(&head->block) != block;
}

/* An annex has the slot, and it changes hands under locks alone. */
static bool is_annexed(const hak_superslab_t *ss, unsigned slot) {
  return hak_locate((uintptr_t)hak_superslab_slot(ss, slot)).cls == HAK_CLASS_EXTERNAL;
}

/* Slots that a lost thread was getting or giving back, or making ready or purging, which
 * have no contents: whether they have pages is known once these are purged. Where the OS
 * refuses they stay out of use. */
static HAK_SLOW bool recover_slots(hak_superslab_t *ss, void *ctx) {
  uint64_t *bytes = ctx, lost = 0;
  uint32_t kind = hak_load_relaxed(&ss->extent.kind);
  bool run = kind == HAK_EXTENT_RUN && is_no_block(ss);
  hak_heap_t *heap = kind == HAK_EXTENT_SLABS || run ? heap_of(ss) : NULL;
  if (heap == NULL && !run) return true;
  hak_superslab_mend(ss);
  if (run && heap != NULL) hak_pool_forget_run(&heap->store->pool, ss);
  uint32_t slots = run ? HAK_ALL_SLOTS : each_slab(ss, heap, count_span, NULL);
  if (slots == 0) return true;
  bool whole = run || !hak_pool_contains(&heap->store->pool, ss);
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    if ((slots >> i & 1) == 0 || is_annexed(ss, i)) continue;
    uint64_t left = hak_superslab_purge_lost(ss, i, 1);
    if (!whole && left == 0) hak_pool_put(&heap->store->pool, &ss->slabs[i], 1);
    lost += left;
  }
  if (whole && lost == 0) hak_region_give(ss, 1, hak_clock_cached());
  *bytes += lost;
  return true;
}

typedef struct pages_sum {
  uint64_t committed, holes; /* bytes */
} pages_sum_t;

static bool add_pages(hak_superslab_t *ss, void *ctx) {
  pages_sum_t *sum = ctx;
  sum->committed += hak_superslab_committed(ss);
  for (unsigned i = 0; i < HAK_SUPERSLAB_SLABS; i++) {
    uint32_t holes = hak_load_relaxed(&ss->slabs[i].holes);
    sum->holes += hak_count_bits(holes) * ss->extent.os->page_size;
  }
  return true;
}

/* A torn thread may have been about to change the count of what is committed. */
static void recount_committed(void) {
  pages_sum_t sum = {0, 0};
  hak_region_visit(add_pages, &sum);
  hak_store_relaxed(&hak_slots_committed, sum.committed);
  hak_store_relaxed(&hak_hole_bytes, sum.holes);
}

static void reclaim_slab(hak_heap_t *heap, hak_slab_t *slab, void *me) {
  if (!is_of_torn(hak_load_relaxed(&slab->word))) return;
  hak_cache_t cache = hak_fork_cache_for_others(me, heap);
  hak_reclaim_slab(me, &cache, slab);
}

static HAK_SLOW bool reclaim_slabs(hak_superslab_t *ss, void *me) {
  hak_heap_t *heap =
      hak_load_relaxed(&ss->extent.kind) == HAK_EXTENT_SLABS ? heap_of(ss) : NULL;
  if (heap != NULL) each_slab(ss, heap, reclaim_slab, me);
  return true;
}

/* --- charges ----------------------------------------------------------------- */

static void forget_charge(hak_heap_t *heap) {
  hak_budget_forget(&heap->store->pool.budget);
}

static bool charge_superslab(hak_superslab_t *ss, void *ctx) {
  (void)ctx;
  hak_budget_t *budget = hak_superslab_budget(ss);
  if (budget != NULL) hak_budget_recharge(budget, hak_superslab_charge(ss));
  return true;
}

/* Mappings in use are charged to a heap, here and below. */
static bool charge_mapping(hak_mapping_t *mapping, void *ctx) {
  (void)ctx;
  hak_budget_recharge(hak_mapping_budget(mapping), hak_mapping_charge(mapping));
  return true;
}

static void charge_malloced(hak_heap_t *heap) {
  hak_malloced_t *malloced = hak_heap_malloced(heap);
  if (malloced != NULL) hak_malloced_recharge(malloced);
}

static bool mend_superslab(hak_superslab_t *ss, void *ctx) {
  (void)ctx;
  hak_superslab_mend(ss);
  return true;
}

/* What a torn thread was about to charge or to take off is not known; what there is, is,
 * once the bits say the same of slots as their pages. */
static void recount_charges(void) {
  hak_region_visit(mend_superslab, NULL);
  each_heap(forget_charge);
  hak_region_visit(charge_superslab, NULL);
  hak_mapping_visit(charge_mapping, NULL);
  each_heap(charge_malloced);
}

static void forget_mapped(hak_heap_t *heap) {
  hak_store_relaxed(&heap->store->pool.mapped_blocks, 0);
  hak_store_relaxed(&heap->store->pool.mapped_bytes, 0);
}

static bool count_mapped(hak_mapping_t *mapping, void *ctx) {
  (void)ctx;
  hak_shared_pool_t *pool = &hak_heap_of_extent(&mapping->extent)->store->pool;
  hak_add_relaxed(&pool->mapped_blocks, 1);
  hak_add_relaxed(&pool->mapped_bytes, hak_load_relaxed(&mapping->extent.size));
  return true;
}

/* Mappings whose blocks a torn thread was freeing go. The counts of heaps are made anew
 * after that, as to give a mapping changes charges, which were counted before. */
static void recover_mappings(void) {
  hak_mappings_give_all(NULL);
  each_heap(forget_mapped);
  hak_mapping_visit(count_mapped, NULL);
}

/* --- the child --------------------------------------------------------------- */

/* The state that the child does the following work with. */
static hak_thread_t *worker(void) {
  hak_thread_t *me = hak_thread_self;
  return me->kind == HAK_THREAD_ATTACHED ? me : hak_threads_shared();
}

/* True if lost threads had slots of some pool; they need not have been in a slow path. */
static bool forget_all_lost(void) {
  bool any = false;
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap != NULL && hak_pool_forget_lost(&heap->store->pool)) any = true;
  }
  return any;
}

/* Ranges of address space that lost threads were reserving or releasing, and records that
 * they had taken from one list and not yet put on another. */
static void recover_ranges(bool inside) {
  uint64_t lost = hak_os_forget_lost();
  if (!inside) lost += hak_registry_forget_lost();
  lost += hak_mappings_recover(inside);
  lost += hak_regions_recover(inside);
  hak_add_relaxed(&lost_ranges, lost);
}

static void settle(bool lost_calls) {
  bool any = lost_calls;
  hak_thread_t *me = worker(), *shared = hak_threads_shared();
  /* What lost threads were giving back goes back, also where purging is manual. */
  hak_os_scope_t before = hak_os_enter(HAK_OS_GIVING);
  hak_threads_visit(note_torn, &any);
  if (any) hak_threads_visit(drop_torn, NULL);
  recover_ranges(false);
  if (forget_all_lost()) any = true;
  if (any) {
    uint64_t lost = 0;
    each_heap(forget_spans);
    recount_charges();
    recover_mappings();
    hak_region_visit(recover_slots, &lost);
    hak_add_relaxed(&lost_ranges, lost);
  }
  recount_committed();
  hak_teardown_finish(me);
  hak_own_os_finish();
  hak_external_regions_close_unserved();
  hak_externals_close_unserved();
  if (any) hak_region_visit(reclaim_slabs, me);
  hak_threads_visit(leave_whole, NULL);
  memset(torn, 0, sizeof torn);
  hak_threads_forget_lost(true);
  hak_capacity_recount(hak_fork_grown_bytes(me) +
                       (me == shared ? 0 : hak_fork_grown_bytes(shared)) +
                       hak_fork_grown_bytes_serial());
  hak_fork_recount_caches();
  hak_teardown_orphans(me);
  hak_os_leave(before);
}

/* Nobody is left who would give up the tails that others held. */
static bool free_tails(hak_superslab_t *ss, void *ctx) {
  (void)ctx;
  hak_store_relaxed(&ss->tails, 0);
  return true;
}

/* The thread forked in a hook, so it is in a slow path itself, with its own state or with
 * the shared one: what others have stays as it is, and only locks are freed. A callback
 * at a limit is outside. */
static bool is_inside(void) {
  return hak_load_relaxed(&hak_thread_self->busy) != 0 ||
         !hak_threads_is_lost(hak_threads_shared());
}

HAK_SLOW void hak_forking_child(void) {
  if (--prepared > 0) return;
  hak_regions_forget_others();
  hak_meta_forget_others();
  give_all(free_heap);
  hak_hole_sweep_forget_lost();
  hak_externals_recount();
  hak_store_relaxed(&hak_budget_auditing, 0);
  bool lost_calls = hak_stays_recount();
  hak_phase_unhold();
  if (!hak_phase_is_running()) return;
  if (is_inside()) {
    hak_threads_visit(count_lists, NULL);
    recover_ranges(true);
    hak_region_visit(free_tails, NULL);
    hak_threads_forget_lost(false);
  } else {
    settle(lost_calls);
  }
}
