#include "heap/fork_caches.h"

#include "heap/cache_index.h"
#include "heap/serial.h"
#include "heap/thread_cache.h"
#include "heap/threads.h"
#include "tiny/capacity.h"

hak_cache_t hak_fork_cache_for_others(hak_thread_t *me, hak_heap_t *heap) {
  if (heap->store == me->store) return me->cache;
  hak_cache_t cache = hak_cache_bare(me, heap);
  cache.entry = hak_cache_index_entry(heap);
  return cache;
}

/* --- drop ------------------------------------------------------------------------ */

static void drop_cache(hak_thread_cache_t *cache, void *thread) {
  if (hak_load_relaxed(&cache->heap_id) == NULL) return;
  hak_cache_index_drop(thread, cache);
  hak_store_relaxed(&cache->heap_id, NULL);
}

void hak_fork_drop_caches(hak_thread_t *thread) {
  hak_caches_visit(thread, drop_cache, thread);
}

/* --- bytes that bins have grown by ---------------------------------------------- */

static void add_grown(hak_thread_cache_t *cache, void *bytes) {
  if (hak_load_relaxed(&cache->heap_id) != NULL) *(uint64_t *)bytes += cache->grown;
}

uint64_t hak_fork_grown_bytes(hak_thread_t *thread) {
  uint64_t bytes = thread->grown;
  hak_caches_visit(thread, add_grown, &bytes);
  return bytes;
}

uint64_t hak_fork_grown_bytes_serial(void) {
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    hak_serial_t *serial = heap == NULL ? NULL : hak_heap_serial(heap);
    if (serial != NULL) bytes += serial->grown;
  }
  return bytes;
}

/* --- who has a cache of which heap ----------------------------------------------- */

static void forget_users(hak_heap_t *heap) {
  if (hak_load_relaxed(&heap->caches) != 0) hak_store_relaxed(&heap->caches, 0);
  hak_atomic_u32_t *users = &heap->store->pool.budget.users;
  if (hak_load_relaxed(users) != 0) hak_store_relaxed(users, 0);
  hak_atomic_u64_t *cached = &heap->store->pool.budget.cached;
  if (hak_load_relaxed(cached) != 0) hak_store_relaxed(cached, 0);
}

static void count_user(hak_heap_t *heap, const hak_hold_t *holds) {
  hak_budget_t *budget = &heap->store->pool.budget;
  hak_add_relaxed(&heap->caches, 1);
  hak_budget_count_user(budget, 1);
  hak_budget_quota_retake(budget, hak_capacity_quotas(holds));
}

static void count_serial(hak_heap_t *heap) {
  hak_serial_t *serial = hak_heap_serial(heap);
  if (serial != NULL) count_user(heap, serial->holds);
}

static void each_heap(void (*act)(hak_heap_t *heap)) {
  for (uint32_t i = 0; i < hak_heaps_made(); i++) {
    hak_heap_t *heap = hak_heap_at(i);
    if (heap != NULL) act(heap);
  }
}

static void count_cache(hak_thread_cache_t *cache, void *ctx) {
  (void)ctx;
  if (hak_load_relaxed(&cache->heap_id) == NULL) return;
  count_user(cache->heap, cache->holds);
  hak_cache_index_recount(cache);
}

static void count_caches(hak_thread_t *thread, void *ctx) {
  hak_budget_quota_retake(&thread->store->pool.budget,
                          hak_capacity_quotas(thread->holds));
  hak_caches_visit(thread, count_cache, ctx);
}

HAK_SLOW void hak_fork_recount_caches(void) {
  each_heap(forget_users);
  each_heap(count_serial);
  if (hak_thread_self->kind == HAK_THREAD_ATTACHED) {
    hak_budget_count_user(&hak_heap_get_default()->store->pool.budget, 1);
  }
  hak_cache_indices_recount();
  hak_threads_visit(count_caches, NULL);
}
