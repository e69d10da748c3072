#include "heap/thread_cache.h"

#include "base/check.h"
#include "base/option.h"
#include "heap/serial.h"
#include "heap/teardown.h"
#include "pages/meta.h"
#include "tiny/capacity.h"
#include "tiny/flush.h"
#include "tiny/magazine.h"

/* Who has which slot; under the heaps' lock. */
static struct {
  hak_heap_t *heap; /* NULL: free */
  uint32_t users;   /* threads with a thread cache there */
} indices[HAK_CACHE_INDICES];
static uint32_t next_index;    /* where the search for one goes on */
static uint32_t indices_ready; /* so many have memory in all thread states */

enum {
  NO_INDEX = HAK_CACHE_INDICES
};

void hak_cache_indices_stop(void) {
  __builtin_memset(indices, 0, sizeof indices);
  next_index = indices_ready = 0;
}

/* --- one thread cache ------------------------------------------------------------- */

/* Field by field: statistics may read some of them at this moment. */
static void hold_init(hak_hold_t *hold) {
  hold->first = hold->last = hold->current = NULL;
  hak_store_relaxed(&hold->magazine, NULL);
  hold->spare = HAK_LINK_END;
  hak_store_relaxed(&hold->spare_count, 0);
  hold->slabs = 0;
  hold->credit = 0;
  hold->given = hold->given_before = 0;
  hold->surplus_periods = 0;
  hold->pins = 0;
  hold->taken = 0;
  hold->seen = 0;
  hold->quota = 0;
}

static void bin_init(hak_bin_t *bin, uint32_t blocks) {
  bin->list.head = HAK_LINK_END;
  bin->ready = HAK_LINK_END;
  bin->capacity = (uint16_t)blocks;
  hak_bin_set_room(bin, blocks);
  bin->spilling = 0;
  hak_store_relaxed(&bin->ready_count, 0);
}

void hak_cache_init(hak_bin_t *bins, hak_hold_t *holds, hak_store_t *store) {
  bool limited = hak_budget_is_limited(&store->pool.budget);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    uint32_t blocks = limited ? 0 : hak_capacity_least(cls);
    bins[cls].list.block_size = hak_class_size(cls);
    bin_init(&bins[cls], blocks);
    hold_init(&holds[cls]);
    holds[cls].capacity_least = blocks;
    holds[cls].quota = limited ? HAK_QUOTA_NONE : 0;
    holds[cls].magazine_blocks = hak_magazine_blocks(cls);
    if (hak_class_is_single(cls)) continue;
    uint32_t slabs = (uint32_t)hak_option(HELD_SLABS) / store->geometry[cls].span_next;
    holds[cls].slabs_most = slabs < 16 ? 16 : slabs;
  }
}

static hak_thread_cache_t *cache_new(hak_thread_t *me, hak_heap_t *heap) {
  const hak_os_t *os = me->store->pool.os;
  _Atomic(hak_cache_chunk_t *) *index =
      &hak_thread_state(me)->chunks[heap->index / HAK_CACHE_CHUNK];
  hak_cache_chunk_t *chunk = hak_load_relaxed(index);
  if (chunk == NULL) {
    chunk = hak_meta_alloc(os, sizeof *chunk, HAK_CACHE_LINE);
    if (chunk == NULL) return NULL;
    /* Release, both: publish to hak_cache_at. */
    hak_store_release(index, chunk);
  }
  hak_thread_cache_t *cache = hak_meta_alloc(os, sizeof *cache, HAK_CACHE_LINE);
  if (cache == NULL) return NULL;
  cache->heap = heap;
  hak_store_relaxed(&cache->index, NO_INDEX);
  hak_store_release(&chunk->caches[heap->index % HAK_CACHE_CHUNK], cache);
  return cache;
}

static void set_bins_at(hak_thread_t *me, uint32_t index, int64_t at) {
  hak_store_relaxed(&me->bins_at[HAK_INDEX_FIRST + index], at);
}

static void copy_bins(hak_bin_t *to, hak_bin_t *from) {
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    to[cls].list.head = from[cls].list.head;
    to[cls].list.block_size = from[cls].list.block_size;
    to[cls].capacity = from[cls].capacity;
    to[cls].ready = from[cls].ready;
    to[cls].spilling = from[cls].spilling;
    hak_store_relaxed(&to[cls].list.room, hak_load_relaxed(&from[cls].list.room));
    hak_store_relaxed(&to[cls].armed, hak_load_relaxed(&from[cls].armed));
    hak_store_relaxed(&to[cls].ready_count, hak_load_relaxed(&from[cls].ready_count));
  }
}

static void move_bins(hak_thread_cache_t *cache, hak_bin_t *to) {
  hak_bin_t *from = cache->cache.bins;
  copy_bins(to, from);
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) bin_init(&from[cls], 0);
  cache->cache.bins = to;
}

void hak_cache_hide(hak_thread_t *me, hak_heap_t *heap, bool hidden) {
  if (me->kind != HAK_THREAD_ATTACHED || heap->store == me->store) return;
  hak_thread_cache_t *cache = hak_cache_find(me, heap);
  uint32_t index = cache == NULL ? NO_INDEX : hak_load_relaxed(&cache->index);
  if (index != NO_INDEX)
    set_bins_at(me, index, hidden ? 0 : hak_index_to(cache->cache.bins));
}

static uint64_t entry_of_index(uint32_t index) {
  size_t offset =
      offsetof(hak_thread_state_t, indices) + index * sizeof(hak_indexed_bins_t);
  return (uint64_t)offset << 16 | HAK_MODE_CACHED;
}

/* Moves the thread cache's bins to the slot, where the registry's entries lead. */
static void enter_index(hak_thread_t *me, hak_thread_cache_t *cache, uint32_t index) {
  hak_bin_t *bins = hak_thread_state(me)->indices[index];
  move_bins(cache, bins);
  cache->cache.entry = entry_of_index(index);
  hak_store_relaxed(&cache->index, index);
  set_bins_at(me, index, hak_index_to(bins));
}

/* And back; nothing there has room then. */
static void leave_index(hak_thread_t *me, hak_thread_cache_t *cache) {
  uint32_t index = hak_load_relaxed(&cache->index);
  set_bins_at(me, index, 0);
  move_bins(cache, cache->own);
  cache->cache.entry = 0;
  hak_store_relaxed(&cache->index, NO_INDEX);
}

static uint32_t index_of(hak_heap_t *heap) {
  uint32_t at = (hak_load_relaxed(&heap->index_at) - hak_index_at(0)) / sizeof(int64_t);
  return at >= HAK_INDEX_FIRST ? at - HAK_INDEX_FIRST : NO_INDEX;
}

static void assign_locked(hak_heap_t *heap, uint32_t index) {
  hak_lock_assert_held(hak_heaps_lock());
  indices[index].heap = heap;
  indices[index].users = 0;
  hak_store_relaxed(&heap->index_at, hak_index_at(HAK_INDEX_FIRST + index));
}

/* The heap's slot, which is to have one more user; or a free one; or none. */
static uint32_t enter_locked(hak_heap_t *heap) {
  hak_lock_assert_held(hak_heaps_lock());
  uint32_t index = index_of(heap);
  for (uint32_t i = 0; index == NO_INDEX && i < indices_ready; i++) {
    if (indices[i].heap != NULL) continue;
    index = i;
    assign_locked(heap, i);
  }
  if (index != NO_INDEX) indices[index].users++;
  return index;
}

static void seek_free_index(hak_thread_t *me, hak_thread_cache_t *cache) {
  uint32_t index = NO_INDEX;
  for (;;) {
    hak_lock_acquire(hak_heaps_lock());
    index = enter_locked(cache->heap);
    uint32_t ready = indices_ready;
    hak_lock_release(hak_heaps_lock());
    if (index != NO_INDEX || ready == HAK_CACHE_INDICES) break;
    if (!hak_threads_commit_indices(ready + HAK_CACHE_INDEX_GROUP)) break;
    hak_lock_acquire(hak_heaps_lock());
    if (indices_ready == ready) indices_ready = ready + HAK_CACHE_INDEX_GROUP;
    hak_lock_release(hak_heaps_lock());
  }
  if (index != NO_INDEX) enter_index(me, cache, index);
}

hak_thread_cache_t *hak_cache_make(hak_thread_t *me, hak_heap_t *heap) {
  hak_thread_cache_t *cache = hak_cache_at(me, heap->index);
  if (cache == NULL) cache = cache_new(me, heap);
  if (cache == NULL) return NULL;
  cache->grown = 0;
  hak_assert(hak_load_relaxed(&cache->index) == NO_INDEX);
  cache->cache = (hak_cache_t){cache->own, cache->holds,  heap->store, 0,
                               NULL,       &cache->grown, me->code};
  cache->lonely = 0;
  hak_budget_count_user(&heap->store->pool.budget, 1);
  hak_cache_init(cache->own, cache->holds, heap->store);
  hak_store_relaxed(&cache->mark, hak_heap_id(heap));
  hak_add_relaxed(&heap->caches, 1);
  seek_free_index(me, cache);
  return cache;
}

static void leave_heap(hak_thread_cache_t *cache) {
  hak_store_relaxed(&cache->mark, NULL);
  hak_budget_count_user(&cache->heap->store->pool.budget, -1);
  hak_heap_unpin(cache->heap);
}

/* No thread cache: nothing is held, so credit is 0 and never changes. */
static hak_hold_t no_holds[HAK_CLASSES];

hak_cache_t hak_cache_bare(hak_thread_t *me, hak_heap_t *heap) {
  return (hak_cache_t){me->bins, no_holds, heap->store, 0, NULL, NULL, me->code};
}

/* --- giving up ---------------------------------------------------------------- */

static void flush(hak_thread_t *me, hak_thread_cache_t *cache, bool leave) {
  hak_heap_t *heap = cache->heap;
  if (hak_load_relaxed(&cache->mark) == NULL) return;
  hak_heap_lease(heap);
  /* Still set: then the heap has not gone meanwhile. */
  if (hak_load_relaxed(&cache->mark) != NULL) {
    bool orphan = hak_heap_is_orphan(heap);
    /* Nobody takes what lies in a released heap's transfer cache. */
    (orphan ? hak_flush_heap : hak_flush_all)(me, &cache->cache);
    uint32_t index = hak_load_relaxed(&cache->index);
    leave = leave || orphan;
    if (leave && index != NO_INDEX) {
      leave_index(me, cache);
      hak_lock_acquire(hak_heaps_lock());
      indices[index].users--;
      hak_lock_release(hak_heaps_lock());
    }
    if (leave) leave_heap(cache);
  }
  hak_heap_unlease(heap);
  if (hak_heap_is_orphan(heap)) hak_teardown_orphan(me, heap);
}

void hak_cache_flush(hak_thread_t *me, hak_heap_t *heap) {
  hak_thread_cache_t *cache = hak_cache_at(me, heap->index);
  if (cache != NULL) flush(me, cache, false);
}

void hak_cache_leave(hak_thread_t *me, hak_heap_t *heap) {
  hak_thread_cache_t *cache = hak_cache_at(me, heap->index);
  if (cache != NULL) flush(me, cache, true);
}

void hak_cache_drain(hak_thread_t *me, hak_heap_t *heap) {
  if (heap->store == me->store) {
    hak_flush_heap(me, &me->cache);
    return;
  }
  hak_thread_cache_t *cache = hak_cache_find(me, heap);
  if (cache != NULL) {
    hak_flush_heap(me, &cache->cache);
  } else {
    hak_cache_t bare = hak_cache_bare(me, heap);
    hak_flush_transfer(me, &bare);
  }
}

void hak_caches_visit(hak_thread_t *thread,
                      void (*visit)(hak_thread_cache_t *cache, void *ctx), void *ctx) {
  uint32_t made = hak_heaps_made();
  for (uint32_t first = 0; first < made; first += HAK_CACHE_CHUNK) {
    uint32_t c = first / HAK_CACHE_CHUNK;
    /* Acquire, both: pair with cache_new. */
    hak_cache_chunk_t *chunk = hak_load_acquire(&hak_thread_state(thread)->chunks[c]);
    for (uint32_t i = 0; chunk != NULL && i < HAK_CACHE_CHUNK; i++) {
      hak_thread_cache_t *cache = hak_load_acquire(&chunk->caches[i]);
      if (cache != NULL) visit(cache, ctx);
    }
  }
}

typedef struct flushing {
  hak_thread_t *me;
  bool leave;
} flushing_t;

static void flush_one(hak_thread_cache_t *cache, void *ctx) {
  const flushing_t *f = ctx;
  flush(f->me, cache, f->leave);
}

static void flush_all(hak_thread_t *me, bool leave) {
  flushing_t f = {me, leave};
  hak_caches_visit(me, flush_one, &f);
}

void hak_caches_flush(hak_thread_t *me) { flush_all(me, false); }
void hak_caches_leave(hak_thread_t *me) { flush_all(me, true); }

/* --- slots that change hands -------------------------------------------------- */

/* No entry names the slot's bins any more: frees of the heap's blocks take the
 * slow path. Slabs that this thread holds keep naming their own list. */
static bool forget_entries(hak_superslab_t *ss, void *ctx) {
  const hak_cache_t *cache = ctx;
  hak_registry_forget_entries((uintptr_t)ss->extent.base, HAK_SUPERSLAB_SLABS,
                              cache->entry, HAK_CLASSES * sizeof(hak_bin_t));
  return true;
}

/* True if only this thread has a thread cache in the slot; *thread cache is that one. */
static bool is_alone_locked(hak_thread_t *me, uint32_t index,
                            hak_thread_cache_t **cache) {
  hak_lock_assert_held(hak_heaps_lock());
  if (indices[index].heap == NULL || indices[index].users != 1) return false;
  *cache = hak_cache_find(me, indices[index].heap);
  return *cache != NULL && hak_load_relaxed(&(*cache)->index) == index;
}

static uint32_t find_victim(hak_thread_t *me, hak_thread_cache_t **victim) {
  uint32_t index = NO_INDEX;
  hak_lock_acquire(hak_heaps_lock());
  for (uint32_t i = 0; i < indices_ready && index == NO_INDEX; i++) {
    if (is_alone_locked(me, next_index, victim)) index = next_index;
    next_index = (next_index + 1) % indices_ready;
  }
  hak_lock_release(hak_heaps_lock());
  return index;
}

/* The slot's heap goes on without it; true if it could be taken. Under the lease of
 * that heap, which may be about to go. */
static bool evict(hak_thread_t *me, uint32_t index, hak_thread_cache_t *expected) {
  hak_thread_cache_t *victim = NULL;
  hak_lock_acquire(hak_heaps_lock());
  bool ok = is_alone_locked(me, index, &victim) && victim == expected;
  /* From here on no other thread enters the slot for this heap. */
  if (ok) hak_store_relaxed(&victim->heap->index_at, hak_index_at(HAK_INDEX_NONE));
  hak_lock_release(hak_heaps_lock());
  if (!ok) return false;
  hak_cache_t old = victim->cache;
  leave_index(me, victim);
  hak_pool_visit(&victim->heap->store->pool, forget_entries, &old);
  return true;
}

/* A slot of a heap that only this thread uses passes to another heap, unless that
 * has one by now; its slot or none. */
static uint32_t rob_index(hak_thread_t *me, hak_heap_t *heap) {
  hak_thread_cache_t *victim = NULL;
  uint32_t index = find_victim(me, &victim);
  if (index == NO_INDEX) return NO_INDEX;
  hak_heap_t *loser = victim->heap;
  hak_heap_lease(loser);
  bool ok = evict(me, index, victim);
  if (ok) {
    hak_lock_acquire(hak_heaps_lock());
    indices[index].heap = NULL;
    if (index_of(heap) == NO_INDEX) assign_locked(heap, index);
    index = index_of(heap);
    indices[index].users++;
    hak_lock_release(hak_heaps_lock());
  }
  hak_heap_unlease(loser);
  return ok ? index : NO_INDEX;
}

void hak_cache_seek_index(hak_thread_t *me, hak_thread_cache_t *cache) {
  cache->lonely = 0;
  seek_free_index(me, cache);
  if (hak_load_relaxed(&cache->index) != NO_INDEX) return;
  uint32_t index = rob_index(me, cache->heap);
  if (index != NO_INDEX) enter_index(me, cache, index);
}

/* --- teardown ----------------------------------------------------------------- */

void hak_cache_clear(hak_thread_t *me, hak_thread_t *thread, hak_heap_t *heap, bool end) {
  hak_thread_cache_t *cache = hak_cache_find(thread, heap);
  if (cache == NULL) return;
  hak_budget_quota_return(&heap->store->pool.budget,
                          hak_capacity_quotas(cache->cache.bins, cache->holds));
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) {
    hak_hold_t *hold = &cache->holds[cls];
    hak_bin_t *bin = &cache->cache.bins[cls];
    hak_magazine_t *magazine = hak_load_relaxed(&hold->magazine);
    bool is_cut = hak_capacity_is_cut(hold);
    bin_init(bin, end || is_cut ? 0 : hak_bin_capacity(bin));
    hold_init(hold);
    hold->quota = is_cut ? HAK_QUOTA_NONE : 0;
    if (magazine != NULL) hak_magazine_put(me, magazine);
  }
  if (!end) return;
  hak_capacity_give_back(&cache->grown);
  uint32_t index = hak_load_relaxed(&cache->index);
  if (index != NO_INDEX) {
    set_bins_at(thread, index, 0);
    hak_store_relaxed(&cache->index, NO_INDEX);
  }
  leave_heap(cache);
}

void hak_cache_free_index(hak_heap_t *heap) {
  hak_lock_acquire(hak_heaps_lock());
  uint32_t index = index_of(heap);
  if (index != NO_INDEX) indices[index].heap = NULL;
  hak_store_relaxed(&heap->index_at, hak_index_at(HAK_INDEX_NONE));
  hak_lock_release(hak_heaps_lock());
}

/* --- in the child of a fork -------------------------------------------------- */

hak_cache_t hak_cache_for_others(hak_thread_t *me, hak_heap_t *heap) {
  if (heap->store == me->store) return me->cache;
  hak_cache_t bare = hak_cache_bare(me, heap);
  uint32_t index = index_of(heap);
  if (index != NO_INDEX) bare.entry = entry_of_index(index);
  return bare;
}

static void drop_bins(hak_thread_t *thread, uint32_t index) {
  if (index >= indices_ready) return;
  hak_bin_t *bins = hak_thread_state(thread)->indices[index];
  for (uint32_t cls = 0; cls < HAK_CLASSES; cls++) bin_init(&bins[cls], 0);
  set_bins_at(thread, index, 0);
}

static void drop_cache(hak_thread_cache_t *cache, void *ctx) {
  hak_thread_t *thread = ctx;
  if (hak_load_relaxed(&cache->mark) == NULL) return;
  /* It may have been on its way to or from a slot. */
  drop_bins(thread, hak_load_relaxed(&cache->index));
  drop_bins(thread, index_of(cache->heap));
  hak_store_relaxed(&cache->index, NO_INDEX);
  hak_store_relaxed(&cache->mark, NULL);
}

void hak_caches_drop(hak_thread_t *thread) {
  hak_caches_visit(thread, drop_cache, thread);
}

static void count_cache(hak_thread_cache_t *cache, void *ctx) {
  (void)ctx;
  if (hak_load_relaxed(&cache->mark) == NULL) return;
  hak_add_relaxed(&cache->heap->caches, 1);
  hak_budget_t *budget = &cache->heap->store->pool.budget;
  hak_budget_count_user(budget, 1);
  hak_budget_quota_retake(budget, hak_capacity_quotas(cache->cache.bins, cache->holds));
  uint32_t index = hak_load_relaxed(&cache->index);
  if (index != NO_INDEX) indices[index].users++;
}

static void count_caches(hak_thread_t *thread, void *ctx) {
  hak_budget_quota_retake(&thread->store->pool.budget,
                          hak_capacity_quotas(thread->bins, thread->holds));
  hak_caches_visit(thread, count_cache, ctx);
}

void hak_caches_recount(void) {
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap == NULL) continue;
    if (hak_load_relaxed(&heap->caches) != 0) hak_store_relaxed(&heap->caches, 0);
    hak_atomic_u32_t *users = &heap->store->pool.budget.users;
    if (hak_load_relaxed(users) != 0) hak_store_relaxed(users, 0);
    hak_atomic_u64_t *cached = &heap->store->pool.budget.cached;
    if (hak_load_relaxed(cached) != 0) hak_store_relaxed(cached, 0);
  }
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    const hak_serial_t *serial = heap == NULL ? NULL : hak_heap_serial(heap);
    if (serial == NULL) continue;
    hak_add_relaxed(&heap->caches, 1);
    hak_budget_count_user(&heap->store->pool.budget, 1);
    hak_budget_quota_retake(&heap->store->pool.budget,
                            hak_capacity_quotas(serial->bins, serial->holds));
  }
  if (hak_thread_self->kind == HAK_THREAD_ATTACHED) {
    hak_budget_count_user(&hak_heap_get_default()->store->pool.budget, 1);
  }
  for (uint32_t i = 0; i < indices_ready; i++) {
    indices[i].users = 0;
    hak_heap_t *heap = indices[i].heap;
    if (heap == NULL || index_of(heap) == i) continue;
    /* A thread was taking it from this heap. */
    hak_cache_t old = {.entry = entry_of_index(i)};
    hak_pool_visit(&heap->store->pool, forget_entries, &old);
    indices[i].heap = NULL;
  }
  hak_threads_visit(count_caches, NULL);
}
