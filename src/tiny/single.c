#include "tiny/single.h"

#include <string.h>

#include "base/option.h"
#include "base/report.h"
#include "superslab/clean.h"
#include "superslab/locate.h"
#include "superslab/tails.h"
#include "tiny/capacity.h"
#include "tiny/lean.h"
#include "tiny/slab.h"

/* Blocks of the class end within their last slab, so that they may have a tail. */
HAK_HOT bool has_tail(size_t size) { return size % HAK_SLAB_SIZE != 0; }

/* The slab where a block ends. */
static hak_tail_t tail_of(hak_slab_t *slab, size_t size, unsigned span) {
  hak_superslab_t *ss = hak_slab_superslab(slab);
  const hak_os_t *os = ss->extent.os;
  size_t before = (span - 1) * HAK_SLAB_SIZE;
  return (hak_tail_t){ss, slab->slot + span - 1, 1, hak_os_pages(os, size - before),
                      hak_os_pages(os, size)};
}

/* In a hardened build the span is cleared, or was when its last block was freed. What was
 * written since to the words that the link takes comes behind them, where hak_harden_give
 * finds it. */
static void make_clean(hak_slab_t *slab, size_t size, bool zeroed) {
  if (HAK_CHECKS < 3) return;
  hak_clean_begin(hak_slab_superslab(slab), slab->slot, 0, size, zeroed);
  uint64_t *words = (uint64_t *)(void *)hak_slab_start(slab);
  uint64_t written = words[0] | words[1];
  if (HAK_UNLIKELY(written != 0)) words[2] |= written;
}

/* Of the classes that share spans elsewhere, a heap of samples counts its spans, too:
 * blocks of theirs may lie in depots. */
HAK_HOT bool is_counted(uint32_t cls) { return cls < HAK_SHARED_CLASSES; }

HAK_WARM void *hak_single_new(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls) {
  size_t size = hak_class_size(cls);
  unsigned span = (unsigned)hak_div_up(size, HAK_SLAB_SIZE);
  bool zeroed;
  if (is_counted(cls)) (void)hak_store_begin_span(cache->store, cls);
  hak_slab_t *slab = hak_pool_get(&cache->store->pool, span, HAK_SLAB_SIZE, size,
                                  me->no_grow != 0, &zeroed);
  if (HAK_UNLIKELY(slab == NULL)) {
    if (is_counted(cls)) hak_store_end_span(cache->store, cls);
    return NULL;
  }
  HAK_COUNT(me, slab_fresh, 1);
  hak_lean_note_begun(me);
  if (has_tail(size)) {
    hak_tail_t tail = tail_of(slab, size, span);
    hak_tail_begin(&cache->store->pool, &tail, false);
  }
  char *start = hak_slab_start(slab);
  make_clean(slab, size, zeroed);
  hak_slab_begin_single(slab, cls, span);
  hak_locate_set_class((uintptr_t)start, span, cls);
  hak_slab_tell_starts(slab);
  HAK_COUNT(me, entry_writes, 1);
  hak_registry_set_entries((uintptr_t)start, 1, hak_cache_entry(cache, cls));
  return start;
}

HAK_WARM void hak_single_home(hak_thread_t *me, const hak_cache_t *cache, uint32_t cls,
                              void *block) {
  hak_place_t place = hak_locate((uintptr_t)block);
  hak_slab_t *slab = place.slab;
  if (HAK_UNLIKELY(place.cls == cls && place.start != block)) {
    hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_INTERIOR_POINTER,
                            block, HAK_TEXT_INTERIOR);
    return;
  }
  const void *heap = cache->store->pool.heap;
  if (HAK_UNLIKELY(place.cls != cls || hak_load_relaxed(&place.extent->heap) != heap ||
                   !hak_slab_end_single(slab))) {
    hak_thread_defer_report(me, cache->store->pool.heap, HAK_ERROR_DOUBLE_FREE, block,
                            HAK_TEXT_GONE);
    return;
  }
  /* If it was freed twice, another thread's bin has it too, and is not to give it out. */
  if (HAK_CHECKS >= 3) hak_link_unmark(block);
  hak_link_spoil(block);
  if (!hak_cache_is_shared_way(cache)) cache->holds[cls].taken++;
  if (is_counted(cls)) hak_store_end_span(cache->store, cls);
  HAK_COUNT(me, slab_retired, 1);
  hak_lean_note_given(me);
  unsigned span = hak_slab_span(slab);
  HAK_COUNT(me, entry_writes, 1);
  hak_registry_set_entries((uintptr_t)block, 1, 0);
  hak_locate_set_class((uintptr_t)block, span, HAK_CLASS_NONE);
  hak_clock_refresh();
  if (has_tail(hak_class_size(cls))) {
    hak_tail_hold(hak_slab_superslab(slab), slab->slot);
    hak_tail_t tail = tail_of(slab, hak_class_size(cls), span);
    hak_tail_end(&cache->store->pool, &tail);
    hak_tail_let_go(hak_slab_superslab(slab), slab->slot);
  }
  hak_pool_put(&cache->store->pool, slab, span);
}

/* What the block has no longer is empty in a hardened build, as freed blocks are. */
static void clear_rest(char *start, size_t now, size_t before) {
  if (HAK_CHECKS >= 3) memset(start + now, 0, before - now);
}

HAK_SLOW void hak_single_shrink(hak_thread_t *me, hak_shared_pool_t *pool,
                                hak_slab_t *slab, uint32_t cls) {
  uint32_t was = hak_slab_class(slab);
  size_t before = hak_class_size(was), now = hak_class_size(cls);
  unsigned had = hak_slab_span(slab), span = (unsigned)hak_div_up(now, HAK_SLAB_SIZE);
  char *start = hak_slab_start(slab);
  uint64_t entry = hak_registry_entry(me->registry, (uintptr_t)start);
  hak_clock_refresh();
  hak_tail_hold(hak_slab_superslab(slab), slab->slot);
  if (has_tail(before)) {
    hak_tail_t tail = tail_of(slab, before, had);
    hak_tail_end(pool, &tail);
  }
  clear_rest(start, now, before);
  hak_slab_shrink_single(slab, cls, span);
  hak_locate_set_class((uintptr_t)start, span, cls);
  hak_slab_tell_starts(slab);
  if (entry != 0) {
    HAK_COUNT(me, entry_writes, 1);
    hak_registry_set_entries((uintptr_t)start, 1, hak_entry_of_class(entry, was, cls));
  }
  if (span < had) {
    hak_locate_set_class((uintptr_t)start + span * HAK_SLAB_SIZE, had - span,
                         HAK_CLASS_NONE);
    hak_pool_put(pool, slab + span, had - span);
  }
  if (has_tail(now)) {
    hak_tail_t tail = tail_of(slab, now, span);
    hak_tail_begin(pool, &tail, true);
  }
  hak_tail_let_go(hak_slab_superslab(slab), slab->slot);
}
