#include "heap/cache_index.h"

#include "heap/bins.h"
#include "heap/threads.h"

/* Who has which index. */
static struct {
  hak_heap_t *heap; /* [lock: heaps] NULL: free */
  uint32_t users;   /* [lock: heaps] threads with a cache there */
} indices[HAK_CACHE_INDICES];
static uint32_t next_index; /* [lock: heaps] where the search for one goes on */
static uint32_t
    indices_ready; /* [lock: heaps] so many have memory in all thread states */

/* Indices are committed so many at a time, in all thread states alike. */
enum {
  INDEX_GROUP = 16
};

void hak_cache_indices_stop(void) {
  /* Nobody has one beyond these: the table's pages are not touched for them. */
  __builtin_memset(indices, 0, indices_ready * sizeof indices[0]);
  next_index = indices_ready = 0;
}

/* --- bins at an index ----------------------------------------------------------- */

static void set_bins_at(hak_thread_t *me, uint32_t index, int64_t at) {
  hak_store_relaxed(&me->bins_at[index], at);
}

static uint64_t entry_of(uint32_t index) {
  size_t offset =
      offsetof(hak_thread_state_t, indices) + index * sizeof(hak_indexed_bins_t);
  return (uint64_t)offset << 16 | HAK_MODE_CACHED;
}

static void move_bins(hak_thread_cache_t *cache, hak_bin_t *to) {
  hak_bins_move(to, cache->cache.bins);
  cache->cache.bins = to;
}

/* The thread cache's bins lie at the index, where the registry's entries lead. */
static void settle(hak_thread_t *me, hak_thread_cache_t *cache, uint32_t index) {
  hak_bin_t *bins = hak_thread_state(me)->indices[index];
  cache->cache.bins = bins;
  cache->cache.entry = entry_of(index);
  /* Release: publishes the bins to hak_cache_bins; their memory may have come just now,
   * with other things in it. */
  hak_store_release(&cache->index, index);
  set_bins_at(me, index, hak_index_to(me, bins));
}

static void enter(hak_thread_t *me, hak_thread_cache_t *cache, uint32_t index) {
  move_bins(cache, hak_thread_state(me)->indices[index]);
  settle(me, cache, index);
}

/* Moves them back to the cache's own record; no bin at the index has room then. */
static void leave(hak_thread_t *me, hak_thread_cache_t *cache) {
  uint32_t index = hak_load_relaxed(&cache->index);
  set_bins_at(me, index, 0);
  move_bins(cache, cache->own);
  cache->cache.entry = 0;
  hak_store_relaxed(&cache->index, HAK_NO_INDEX);
}

void hak_cache_index_hide(hak_thread_t *me, hak_thread_cache_t *cache, bool hidden) {
  uint32_t index = hak_load_relaxed(&cache->index);
  if (index == HAK_NO_INDEX) return;
  set_bins_at(me, index, hidden ? 0 : hak_index_to(me, cache->cache.bins));
}

void hak_cache_index_clear(hak_thread_t *thread, hak_thread_cache_t *cache) {
  uint32_t index = hak_load_relaxed(&cache->index);
  if (index == HAK_NO_INDEX) return;
  set_bins_at(thread, index, 0);
  hak_store_relaxed(&cache->index, HAK_NO_INDEX);
}

void hak_cache_index_leave(hak_thread_t *me, hak_thread_cache_t *cache) {
  uint32_t index = hak_load_relaxed(&cache->index);
  if (index == HAK_NO_INDEX) return;
  hak_bin_t *bins = cache->cache.bins;
  hak_bins_end(bins, HAK_CLASSES);
  hak_cache_index_clear(me, cache);
  hak_lock_acquire(hak_heaps_lock());
  indices[index].users--;
  hak_lock_release(hak_heaps_lock());
}

/* --- who has which --------------------------------------------------------------- */

static uint32_t index_of(hak_heap_t *heap) {
  uint32_t at = hak_load_relaxed(&heap->index_at), first = hak_index_at(HAK_INDEX_FIRST);
  return at >= first ? (at - first) / (uint32_t)sizeof(int64_t) : HAK_NO_INDEX;
}

static void assign_locked(hak_heap_t *heap, uint32_t index) {
  hak_lock_assert_held(hak_heaps_lock());
  indices[index].heap = heap;
  indices[index].users = 0;
  hak_store_relaxed(&heap->index_at, hak_index_at(HAK_INDEX_FIRST + index));
}

/* The heap's index, which is to have one more user; or a free one; or none. */
static uint32_t enter_locked(hak_heap_t *heap) {
  hak_lock_assert_held(hak_heaps_lock());
  uint32_t index = index_of(heap);
  for (uint32_t i = 0; index == HAK_NO_INDEX && i < indices_ready; i++) {
    if (indices[i].heap != NULL) continue;
    index = i;
    assign_locked(heap, i);
  }
  if (index != HAK_NO_INDEX) indices[index].users++;
  return index;
}

/* A free index, or that of the heap, with memory in all states; or none. */
static uint32_t seek_free(hak_thread_cache_t *cache) {
  uint32_t index = HAK_NO_INDEX;
  for (;;) {
    hak_lock_acquire(hak_heaps_lock());
    index = enter_locked(cache->heap);
    uint32_t ready = indices_ready;
    hak_lock_release(hak_heaps_lock());
    if (index != HAK_NO_INDEX || ready == HAK_CACHE_INDICES) break;
    if (!hak_threads_commit_indices(ready + INDEX_GROUP)) break;
    hak_lock_acquire(hak_heaps_lock());
    if (indices_ready == ready) indices_ready = ready + INDEX_GROUP;
    hak_lock_release(hak_heaps_lock());
  }
  return index;
}

void hak_cache_index_begin(hak_thread_t *me, hak_thread_cache_t *cache) {
  uint32_t index = seek_free(cache);
  bool has_one = index != HAK_NO_INDEX;
  hak_bins_begin(has_one ? hak_thread_state(me)->indices[index] : cache->own,
                 cache->heap->store);
  if (has_one) settle(me, cache, index);
}

void hak_cache_index_free(hak_heap_t *heap) {
  hak_lock_acquire(hak_heaps_lock());
  uint32_t index = index_of(heap);
  if (index != HAK_NO_INDEX) indices[index].heap = NULL;
  hak_store_relaxed(&heap->index_at, hak_index_at(HAK_INDEX_NONE));
  hak_lock_release(hak_heaps_lock());
}

/* --- indices that change hands --------------------------------------------------- */

/* No entry names the index's bins any more: frees of the heap's blocks take the slow
 * path. Slabs that this thread holds keep naming their own list. */
static bool forget_entries(hak_superslab_t *ss, void *entry) {
  hak_registry_forget_entries((uintptr_t)ss->extent.base, HAK_SUPERSLAB_SLABS,
                              *(uint64_t *)entry, HAK_CLASSES * sizeof(hak_bin_t));
  return true;
}

/* True if only this thread has a cache at the index, in *cache. */
static bool is_alone_locked(hak_thread_t *me, uint32_t index,
                            hak_thread_cache_t **cache) {
  hak_lock_assert_held(hak_heaps_lock());
  if (indices[index].heap == NULL || indices[index].users != 1) return false;
  *cache = hak_cache_find(me, indices[index].heap);
  return *cache != NULL && hak_load_relaxed(&(*cache)->index) == index;
}

/* An index that only this thread has a cache at, of the heap *loser. */
static uint32_t find_victim(hak_thread_t *me, hak_heap_t **loser) {
  hak_thread_cache_t *victim;
  uint32_t index = HAK_NO_INDEX;
  hak_lock_acquire(hak_heaps_lock());
  for (uint32_t i = 0; i < indices_ready && index == HAK_NO_INDEX; i++) {
    if (is_alone_locked(me, next_index, &victim)) {
      index = next_index;
      *loser = indices[index].heap;
    }
    next_index = (next_index + 1) % indices_ready;
  }
  hak_lock_release(hak_heaps_lock());
  return index;
}

/* The index's heap goes on without it; true if it could be taken. Under the lease of
 * that heap, which may be about to go. */
static bool evict(hak_thread_t *me, uint32_t index, const hak_heap_t *loser) {
  hak_thread_cache_t *victim = NULL;
  hak_lock_acquire(hak_heaps_lock());
  bool ok = indices[index].heap == loser && is_alone_locked(me, index, &victim);
  /* From here on no other thread enters the index for this heap. */
  if (ok) hak_store_relaxed(&victim->heap->index_at, hak_index_at(HAK_INDEX_NONE));
  hak_lock_release(hak_heaps_lock());
  if (!ok) return false;
  uint64_t entry = victim->cache.entry;
  leave(me, victim);
  hak_pool_visit(&victim->heap->store->pool, forget_entries, &entry);
  return true;
}

/* The index of a heap that only this thread uses passes to another heap, unless that has
 * one by now; the other heap's index, or none. */
static uint32_t rob(hak_thread_t *me, hak_heap_t *heap) {
  hak_heap_t *loser = NULL; /* read under the lock: the heap may have ended since */
  uint32_t index = find_victim(me, &loser);
  if (index == HAK_NO_INDEX) return HAK_NO_INDEX;
  if (!hak_thread_lease(me, loser)) return HAK_NO_INDEX;
  bool ok = evict(me, index, loser);
  if (ok) {
    hak_lock_acquire(hak_heaps_lock());
    indices[index].heap = NULL;
    if (index_of(heap) == HAK_NO_INDEX) assign_locked(heap, index);
    index = index_of(heap);
    indices[index].users++;
    hak_lock_release(hak_heaps_lock());
  }
  hak_heap_unlease(loser);
  return ok ? index : HAK_NO_INDEX;
}

HAK_SLOW void hak_cache_index_seek(hak_thread_t *me, hak_thread_cache_t *cache) {
  cache->lonely = 0;
  uint32_t index = seek_free(cache);
  if (index == HAK_NO_INDEX) index = rob(me, cache->heap);
  if (index != HAK_NO_INDEX) enter(me, cache, index);
}

/* --- in the child of a fork -------------------------------------------------- */

uint64_t hak_cache_index_entry(hak_heap_t *heap) {
  uint32_t index = index_of(heap);
  return index == HAK_NO_INDEX ? 0 : entry_of(index);
}

static void drop_bins(hak_thread_t *thread, uint32_t index) {
  if (index >= indices_ready) return;
  hak_bin_t *bins = hak_thread_state(thread)->indices[index];
  hak_bins_end(bins, HAK_CLASSES);
  set_bins_at(thread, index, 0);
}

HAK_SLOW void hak_cache_index_drop(hak_thread_t *thread, hak_thread_cache_t *cache) {
  drop_bins(thread, hak_load_relaxed(&cache->index));
  drop_bins(thread, index_of(cache->heap));
  hak_store_relaxed(&cache->index, HAK_NO_INDEX);
}

void hak_cache_indices_recount(void) {
  for (uint32_t i = 0; i < indices_ready; i++) {
    indices[i].users = 0;
    hak_heap_t *heap = indices[i].heap;
    if (heap == NULL || index_of(heap) == i) continue;
    /* A thread was taking it from this heap. */
    uint64_t entry = entry_of(i);
    hak_pool_visit(&heap->store->pool, forget_entries, &entry);
    indices[i].heap = NULL;
  }
}

void hak_cache_index_recount(hak_thread_cache_t *cache) {
  uint32_t index = hak_load_relaxed(&cache->index);
  if (index != HAK_NO_INDEX) indices[index].users++;
}
