#include "heap/thread_state.h"

#include "base/check.h"
#include "heap/bins.h"
#include "os/guarded.h"
#include "pages/meta.h"

/* Bins that look empty: every alloc and free of a thread without a state leaves
 * its fast path at the branch that is there anyway. The key makes the link of
 * the empty list bad. */
#define BIN \
  { {HAK_LINK_END, 0, 0}, HAK_LINK_END, 0, 0, 0, 0 }

hak_thread_t hak_thread_none = {.mask = UINT64_MAX,
                                .key = {0, UINT64_MAX},
                                .kind = HAK_THREAD_NONE,
                                .bins =
                                    {
#define HAK_TINY_CLASS(cls, size, steps) BIN,
#define HAK_SHARED_CLASS(cls, size, eighths) BIN,
#define HAK_SINGLE_CLASS(cls, size, eighths) BIN,
#include "tiny/size_classes.def"
#undef HAK_TINY_CLASS
#undef HAK_SHARED_CLASS
#undef HAK_SINGLE_CLASS
                                    },
                                .empty = {
#define HAK_TINY_CLASS(cls, size, steps) BIN,
#define HAK_SHARED_CLASS(cls, size, eighths)
#define HAK_SINGLE_CLASS(cls, size, eighths)
#include "tiny/size_classes.def"
#undef HAK_TINY_CLASS
#undef HAK_SHARED_CLASS
#undef HAK_SINGLE_CLASS
                                }};

_Thread_local hak_thread_t *hak_thread_self = &hak_thread_none;

/* Blocks that are whole pages all begin in the same set of the first-level cache; the
 * line that every call reads lies in another one. */
enum {
  STATE_OFFSET = HAK_CACHE_LINE
};

static char *range_of(hak_thread_t *thread) { return (char *)thread - STATE_OFFSET; }

size_t hak_thread_range_size(uint32_t room) {
  size_t bytes = STATE_OFFSET + offsetof(hak_thread_state_t, indices) +
                 room * sizeof(hak_indexed_bins_t);
  return hak_align_up(bytes, HAK_SLAB_SIZE);
}

/* So much of a state's range has memory where the cache indices below `indices` have. */
static size_t bytes_to_index(const hak_os_t *os, uint32_t indices) {
  size_t bytes = STATE_OFFSET + offsetof(hak_thread_state_t, indices) +
                 indices * sizeof(hak_indexed_bins_t);
  return hak_align_up(bytes, os->page_size);
}

void hak_thread_range_release(const hak_os_t *os, char *range, uint32_t room) {
  hak_sub_relaxed(&hak_meta_reserved, hak_thread_range_size(room));
  hak_guarded_unreserve(os, range, hak_thread_range_size(room));
}

hak_thread_t *hak_thread_state_new(const hak_os_t *os, char *range, uint32_t room) {
  size_t need = bytes_to_index(os, 0);
  bool zeroed;
  if (!hak_os_commit(os, range, need, &zeroed)) {
    hak_thread_range_release(os, range, room);
    return NULL;
  }
  if (!zeroed) __builtin_memset(range, 0, need);
  hak_add_relaxed(&hak_meta_committed, need);
  return &((hak_thread_state_t *)(void *)(range + STATE_OFFSET))->thread;
}

void hak_thread_state_release(const hak_os_t *os, hak_thread_t *thread, uint32_t room) {
  uint32_t ready = thread->indices_ready;
  hak_sub_relaxed(&hak_meta_committed, bytes_to_index(os, ready));
  hak_thread_range_release(os, range_of(thread), room);
}

bool hak_thread_state_commit(const hak_os_t *os, hak_thread_t *thread, uint32_t indices) {
  if (indices <= thread->indices_ready) return true;
  size_t have = bytes_to_index(os, thread->indices_ready);
  size_t need = bytes_to_index(os, indices);
  bool zeroed;
  if (need > have) {
    char *from = range_of(thread) + have;
    if (!hak_os_commit(os, from, need - have, &zeroed)) return false;
    if (!zeroed) __builtin_memset(from, 0, need - have);
    hak_add_relaxed(&hak_meta_committed, need - have);
  }
  thread->indices_ready = indices;
  return true;
}

void hak_thread_state_reset(hak_thread_t *thread) {
  hak_store_relaxed(&thread->busy, 0);
  thread->deferred.error = 0;
  thread->to_report = 0;
  thread->no_grow = 0;
  thread->way = (hak_sample_way_t){.left = 0};
  thread->mask = thread->code;
  thread->unowned.head = HAK_LINK_END;
  hak_store_relaxed(&thread->unowned.room, 0);
  thread->trims = 0;
  thread->looks = 0;
  thread->spans = 0;
  thread->dropped = 0;
  hak_store_relaxed(&thread->ended, 0);
  thread->quiet_looks = 0;
  thread->recalled_at = 0;
  thread->recalls = 0;
  thread->pace.given = 1;
  thread->pace.looked_at = 0;
  hak_store_relaxed(&thread->pace.flips, 0);
  hak_store_relaxed(&thread->pace.pops, 0);
  thread->to_empty = 0;
  thread->emptied = 0;
  thread->turns = (hak_turns_t){0};
  thread->sweep_heap = 0;
  thread->quiet_since = 0;
  thread->grown = 0;
  thread->in_hand = 0;
  thread->in_parts = 0;
  hak_holds_forget(thread->holds, thread->begun);
  hak_bins_begin(thread->bins, thread->store);
  hak_bins_end(thread->empty, HAK_TINY_CLASSES);
}

uint32_t hak_caches_visit_chunk(hak_thread_t *thread, uint32_t first,
                                void (*visit)(hak_thread_cache_t *cache, void *ctx),
                                void *ctx) {
  uint32_t made = hak_heaps_made();
  if (hak_load_relaxed(&thread->chunks) == 0 || first >= made) return 0;
  /* Acquire, both: pair with cache_new. */
  hak_cache_chunk_t *chunk =
      hak_load_acquire(hak_thread_chunk(thread, first / HAK_CACHE_CHUNK));
  uint32_t all = made - first < HAK_CACHE_CHUNK ? made - first : HAK_CACHE_CHUNK;
  for (uint32_t i = 0; chunk != NULL && i < all; i++) {
    hak_thread_cache_t *cache = hak_load_acquire(&chunk->caches[i]);
    if (cache != NULL) visit(cache, ctx);
  }
  return all == HAK_CACHE_CHUNK ? first + HAK_CACHE_CHUNK : 0;
}

void hak_caches_visit(hak_thread_t *thread,
                      void (*visit)(hak_thread_cache_t *cache, void *ctx), void *ctx) {
  uint32_t first = 0;
  do {
    first = hak_caches_visit_chunk(thread, first, visit, ctx);
  } while (first != 0);
}

/* Threads may use the state that is shared, beside their own. */
HAK_SLOW bool hak_thread_lease(hak_thread_t *me, hak_heap_t *heap) {
  if (hak_load_relaxed(&me->busy) > 1 || hak_load_relaxed(&hak_thread_self->busy) > 1) {
    return hak_heap_try_lease(heap);
  }
  hak_heap_lease(heap);
  return true;
}

/* --- pages of what nobody uses -------------------------------------------------------
 */

HAK_SLOW bool hak_thread_cache_purge(const hak_os_t *os, hak_thread_cache_t *cache,
                                     size_t *looks, size_t *given) {
  if (cache == NULL || cache->heap == NULL) return true;
  hak_assert(hak_load_relaxed(&cache->heap_id) == NULL);
  if (*looks == 0) return false;
  --*looks;
  if (hak_meta_purge(os, cache, sizeof *cache)) *given += sizeof *cache;
  return true;
}

HAK_SLOW bool hak_thread_caches_purge(const hak_os_t *os, hak_thread_t *thread,
                                      size_t *looks, size_t *given) {
  if (hak_load_relaxed(&thread->chunks) == 0) return true;
  for (uint32_t c = 0; c < HAK_CACHE_CHUNKS; c++) {
    hak_cache_chunk_t *chunk = hak_load_relaxed(hak_thread_chunk(thread, c));
    for (uint32_t i = 0; chunk != NULL && i < HAK_CACHE_CHUNK; i++) {
      hak_thread_cache_t *cache = hak_load_relaxed(&chunk->caches[i]);
      if (!hak_thread_cache_purge(os, cache, looks, given)) return false;
    }
  }
  return true;
}

hak_cache_chunk_t *hak_thread_state_strip(hak_thread_t *thread) {
  hak_cache_chunk_t *chunks = NULL;
  if (hak_load_relaxed(&thread->chunks) == 0) return NULL;
  for (uint32_t c = 0; c < HAK_CACHE_CHUNKS; c++) {
    hak_cache_chunk_t *chunk = hak_load_relaxed(hak_thread_chunk(thread, c));
    if (chunk == NULL) continue;
    chunk->next = chunks;
    chunks = chunk;
  }
  return chunks;
}

size_t hak_thread_state_purge(const hak_os_t *os, hak_thread_t *thread) {
  size_t bytes = bytes_to_index(os, thread->indices_ready);
  return hak_meta_purge(os, range_of(thread), bytes) ? bytes : 0;
}

void hak_thread_state_dress(hak_thread_t *thread, hak_cache_chunk_t *chunks,
                            uint32_t indices, size_t bytes) {
  if (bytes != 0) hak_meta_reuse(bytes);
  if (indices != 0) thread->indices_ready = indices;
  if (chunks != NULL) hak_store_relaxed(&thread->chunks, 1);
  for (; chunks != NULL; chunks = chunks->next) {
    hak_store_relaxed(hak_thread_chunk(thread, chunks->number), chunks);
  }
}
