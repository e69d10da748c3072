#include "learn/stack.h"

#include <string.h>

#include "base/bits.h"

enum {
  STACKS = 1024, /* numbers from 1 on */
  PLACES = 2048  /* of the table of hashes, a power of two; half of it stays free */
};

typedef struct table {
  uint32_t made;               /* [lock] records in use */
  uint16_t by_hash[PLACES];    /* [lock] numbers; 0: free */
  uint16_t first[HAK_ORIGINS]; /* [lock] by origin */
  hak_stack_record_t records[STACKS];
} table_t;

/* [lock] Set once, under the lock; read without it to see whether it is there. */
static _Atomic(table_t *) table;

bool hak_stacks_prepare(const hak_os_t *os) {
  /* Relaxed: who uses the table takes the lock. */
  if (hak_load_relaxed(&table) != NULL) return true;
  table_t *memory = hak_meta_alloc(os, sizeof *memory, HAK_CACHE_LINE);
  if (memory == NULL) return false;
  hak_lock_acquire(hak_origins_lock());
  /* Of two threads that come at once one has got memory in vain; it stays unused. */
  if (hak_load_relaxed(&table) == NULL) hak_store_relaxed(&table, memory);
  hak_lock_release(hak_origins_lock());
  return true;
}

static hak_stack_record_t *record_of(table_t *all, uint32_t number) {
  return &all->records[number - 1];
}

static uint32_t hash_of(uint32_t origin, void *const *frames, size_t depth) {
  uint64_t hash = hak_mix64(origin);
  for (size_t i = 0; i < depth; i++) hash = hak_mix64(hash ^ (uintptr_t)frames[i]);
  return (uint32_t)hash & (PLACES - 1);
}

static bool is_same(const hak_stack_record_t *record, uint32_t origin,
                    void *const *frames, size_t depth) {
  return record->origin == origin && record->depth == depth &&
         memcmp(record->frames, frames, depth * sizeof frames[0]) == 0;
}

static uint32_t add_locked(table_t *all, uint32_t origin, void *const *frames,
                           size_t depth) {
  hak_lock_assert_held(hak_origins_lock());
  if (all->made == STACKS) return HAK_STACK_NONE;
  uint32_t number = ++all->made;
  hak_stack_record_t *record = record_of(all, number);
  record->origin = origin;
  record->depth = (uint32_t)depth;
  memcpy(record->frames, frames, depth * sizeof frames[0]);
  record->next = all->first[origin];
  all->first[origin] = (uint16_t)number;
  return number;
}

HAK_SLOW uint32_t hak_stack_number(uint32_t origin, void *const *frames, size_t depth) {
  if (depth > HAK_STACK_FRAMES) depth = HAK_STACK_FRAMES;
  uint32_t at = hash_of(origin, frames, depth);
  hak_lock_acquire(hak_origins_lock());
  table_t *all = hak_load_relaxed(&table);
  uint32_t number = HAK_STACK_NONE;
  /* Ends at a free place: there are more of them than records. */
  while (all != NULL && (number = all->by_hash[at]) != HAK_STACK_NONE &&
         !is_same(record_of(all, number), origin, frames, depth)) {
    at = (at + 1) & (PLACES - 1);
  }
  if (all != NULL && number == HAK_STACK_NONE) {
    number = add_locked(all, origin, frames, depth);
    all->by_hash[at] = (uint16_t)number;
  }
  hak_lock_release(hak_origins_lock());
  return number;
}

void hak_stack_count_locked(uint32_t stack, double blocks, double bytes) {
  hak_lock_assert_held(hak_origins_lock());
  if (HAK_LIKELY(stack == HAK_STACK_NONE)) return;
  hak_stack_record_t *record = record_of(hak_load_relaxed(&table), stack);
  record->samples++;
  record->blocks += blocks;
  record->bytes += bytes;
}

void hak_stack_live_locked(uint32_t stack, int sign, double blocks, double bytes) {
  hak_lock_assert_held(hak_origins_lock());
  if (HAK_LIKELY(stack == HAK_STACK_NONE)) return;
  hak_stack_record_t *record = record_of(hak_load_relaxed(&table), stack);
  record->live_samples += (uint32_t)sign;
  record->live_blocks += sign * blocks;
  record->live_bytes += sign * bytes;
  if (record->live_samples == 0) record->live_blocks = record->live_bytes = 0;
}

uint32_t hak_stack_first(uint32_t origin) {
  hak_lock_acquire(hak_origins_lock());
  table_t *all = hak_load_relaxed(&table);
  uint32_t first = all == NULL ? HAK_STACK_NONE : all->first[origin];
  hak_lock_release(hak_origins_lock());
  return first;
}

hak_stack_record_t hak_stack_read(uint32_t stack) {
  hak_lock_acquire(hak_origins_lock());
  hak_stack_record_t copy = *record_of(hak_load_relaxed(&table), stack);
  hak_lock_release(hak_origins_lock());
  return copy;
}

void hak_stacks_stop(void) { hak_store_relaxed(&table, NULL); }
